/*
 * page_int - what the page_*.c files share: the context, the texts that C
 * fills in, and helpers that hang what a template needs onto a parsed record.
 *
 * A page is made so: the record is parsed once, members are added in place
 * (prices as text, addresses, stars), and the templates read the record itself.
 * A member that a section asks for is always set, to false or "" where there
 * is nothing: otherwise a list's item would show its parent's.
 */
#ifndef FCGI_APP_PAGE_INT_H
#define FCGI_APP_PAGE_INT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "fcgi-app/page.h"

/* The texts that C needs: key in text.LANG.json, upper case here. */
#define PAGE_TEXTS(X)                                                          \
	X(HOME_TITLE, "home_title")                                            \
	X(HOME_DESCRIPTION, "home_description")                                \
	X(LIST_TITLE, "list_title")                                            \
	X(LIST_DESCRIPTION, "list_description")                                \
	X(FOUND_TITLE, "found_title")                                          \
	X(FOUND_DESCRIPTION, "found_description")                              \
	X(NONE_FOUND, "none_found")                                            \
	X(HOME, "home")                                                        \
	X(FROM_PRICE, "from_price")                                            \
	X(DISCOUNT, "discount")                                                \
	X(SOLD_OUT, "sold_out")                                                \
	X(IN_STOCK, "in_stock")                                                \
	X(FEW_LEFT_ONE, "few_left_one")                                        \
	X(FEW_LEFT_OTHER, "few_left_other")                                    \
	X(NOT_FOR_SALE, "not_for_sale")                                        \
	X(VARIANT, "variant")                                                  \
	X(PICTURE_N, "picture_n")                                              \
	X(REVIEW_COUNT_ONE, "review_count_one")                                \
	X(REVIEW_COUNT_OTHER, "review_count_other")                            \
	X(RATING_LABEL, "rating_label")                                        \
	X(ANONYMOUS, "anonymous")                                              \
	X(NEWEST_REVIEWS, "newest_reviews")                                    \
	X(SALE_UPCOMING, "sale_upcoming")                                      \
	X(SALE_RUNNING, "sale_running")                                        \
	X(SALE_ENDED, "sale_ended")                                            \
	X(SALE_DESCRIPTION, "sale_description")                                \
	X(SALE_LIMIT_ONE, "sale_limit_one")                                    \
	X(SALE_LIMIT_OTHER, "sale_limit_other")                                \
	X(SALE_LEFT_ONE, "sale_left_one")                                      \
	X(SALE_LEFT_OTHER, "sale_left_other")                                  \
	X(SALE_PIECES_ONE, "sale_pieces_one")                                  \
	X(SALE_PIECES_OTHER, "sale_pieces_other")                              \
	X(DATE, "date")                                                        \
	X(DATE_TIME, "date_time")                                              \
	X(CART_TITLE, "cart_title")                                            \
	X(CART_EACH, "cart_each")                                              \
	X(NOTE_GONE, "note_gone")                                              \
	X(NOTE_SOLD_OUT, "note_sold_out")                                      \
	X(NOTE_FEW_ONE, "note_few_one")                                        \
	X(NOTE_FEW_OTHER, "note_few_other")                                    \
	X(NOTE_PRICE, "note_price")                                            \
	X(ADD_TITLE, "add_title")                                              \
	X(CHECKOUT_TITLE, "checkout_title")                                    \
	X(CHECKOUT_PLACE, "checkout_place")                                    \
	X(FIELD_EMAIL, "field_email")                                          \
	X(FIELD_NAME, "field_name")                                            \
	X(FIELD_LINE1, "field_line1")                                          \
	X(FIELD_LINE2, "field_line2")                                          \
	X(FIELD_CITY, "field_city")                                            \
	X(FIELD_REGION, "field_region")                                        \
	X(FIELD_POSTAL_CODE, "field_postal_code")                              \
	X(FIELD_COUNTRY, "field_country")                                      \
	X(ERROR_MISSING, "error_missing")                                      \
	X(ERROR_INVALID, "error_invalid")                                      \
	X(SHIPPING_FREE, "shipping_free")                                      \
	X(PAY_TOK_OK, "pay_tok_ok")                                            \
	X(PAY_TOK_DECLINED, "pay_tok_declined")                                \
	X(PAY_TOK_SLOW, "pay_tok_slow")                                        \
	X(PAY_TOK_LOST, "pay_tok_lost")                                        \
	X(ORDER_TITLE, "order_title")                                          \
	X(ORDER_EXPIRES, "order_expires")                                      \
	X(STEP_PENDING, "step_pending")                                        \
	X(STEP_RESERVED, "step_reserved")                                      \
	X(STEP_PAID, "step_paid")                                              \
	X(STEP_FULFILLED, "step_fulfilled")                                    \
	X(NOW_PENDING, "now_pending")                                          \
	X(NOW_RESERVED, "now_reserved")                                        \
	X(NOW_DECLINED, "now_declined")                                        \
	X(NOW_PAID, "now_paid")                                                \
	X(NOW_FULFILLED, "now_fulfilled")                                      \
	X(NOW_CANCELLED, "now_cancelled")                                      \
	X(NOW_REFUNDED, "now_refunded")                                        \
	X(WHY_DECLINED, "why_declined")                                        \
	X(WHY_EXPIRED, "why_expired")                                          \
	X(WHY_OUT_OF_STOCK, "why_out_of_stock")                                \
	X(WHY_BY_BUYER, "why_by_buyer")                                        \
	X(CONFIRM_TITLE, "confirm_title")                                      \
	X(CONFIRM_BUY, "confirm_buy")                                          \
	X(SAY_ADDED, "say_added")                                              \
	X(SAY_UPDATED, "say_updated")                                          \
	X(SAY_REMOVED, "say_removed")                                          \
	X(SAY_SOLD_OUT, "say_sold_out")                                        \
	X(SAY_LIMIT_REACHED, "say_limit_reached")                              \
	X(SAY_SALE_NOT_STARTED, "say_sale_not_started")                        \
	X(SAY_SALE_ENDED, "say_sale_ended")                                    \
	X(SAY_BUSY, "say_busy")                                                \
	X(SAY_STALE_FORM, "say_stale_form")                                    \
	X(SAY_OUT_OF_STOCK, "say_out_of_stock")                                \
	X(SAY_TOTAL_CHANGED, "say_total_changed")                              \
	X(SAY_PAYMENT_IN_PROGRESS, "say_payment_in_progress")                  \
	X(SAY_WRONG_STATE, "say_wrong_state")                                  \
	X(SAY_BAD_QUANTITY, "say_bad_quantity")                                \
	X(SAY_NOT_FOR_SALE, "say_not_for_sale")                                \
	X(SAY_CART_FULL, "say_cart_full")                                      \
	X(SAY_TOO_MANY, "say_too_many_tries")                                  \
	X(SAY_OTHER, "say_other")                                              \
	X(ERROR_400_TITLE, "error_400_title")                                  \
	X(ERROR_400_TEXT, "error_400_text")                                    \
	X(ERROR_404_TITLE, "error_404_title")                                  \
	X(ERROR_404_TEXT, "error_404_text")                                    \
	X(ERROR_405_TITLE, "error_405_title")                                  \
	X(ERROR_405_TEXT, "error_405_text")                                    \
	X(ERROR_500_TITLE, "error_500_title")                                  \
	X(ERROR_500_TEXT, "error_500_text")                                    \
	X(ERROR_503_TITLE, "error_503_title")                                  \
	X(ERROR_503_TEXT, "error_503_text")

enum page_text {
#define X(id, key) TX_##id,
	PAGE_TEXTS(X)
#undef X
	    TX_COUNT
};

struct page_ctx {
	struct mustache *set;
	json_t *globals; /* {"t", "shop", "assets"}: for sections; plain tags of
			    these are filled in when a template is loaded */
	json_t *texts;   /* in globals */
	json_t *shop;    /* in globals */
	json_t *manifest; /* in globals, as "assets": name -> hashed name */
	const char *text[TX_COUNT]; /* borrowed from texts */
	const char *month[12];
	char *name, *base_url, *currency, *language;
};

/* One {name} of a text and what stands there. */
struct page_arg {
	const char *name;
	struct span value;
};

/* Append pattern with its {name}s filled in; plain text, not escaped. */
void page_fill(struct strbuf *out, const char *pattern, int n,
    const struct page_arg args[]);

/* ---- reading a record */
enum rc page_parse(struct span record, json_t **out, struct err *e);
struct span page_str(const json_t *obj, const char *key); /* else empty */
int64_t page_num(const json_t *obj, const char *key, int64_t dflt);
bool page_true(const json_t *obj, const char *key);

/* ---- adding to it */
void view_str(json_t *obj, const char *key, const char *s, size_t n);
void view_span(json_t *obj, const char *key, struct span s);
void view_sb(json_t *obj, const char *key, struct strbuf *sb); /* resets sb */
void view_bool(json_t *obj, const char *key, bool b);
void view_num(json_t *obj, const char *key, int64_t n);
/* A text that may be missing: then "", which a section skips and a tag shows as
 * nothing. */
void view_optional(json_t *obj, const char *key);

/* pattern by count: one for 1, else other; with {n}. */
void view_count(const struct page_ctx *ctx, json_t *obj, const char *key,
    enum page_text one, enum page_text other, int64_t n);

/* A text with one {arg}. */
void view_text(const struct page_ctx *ctx, json_t *obj, const char *key,
    enum page_text text, const char *arg, struct span value);

void view_price(
    json_t *obj, const char *key, int64_t minor, const char *currency);

/* "before" and "discount" where compare_at is above price, else false. */
void view_before(const struct page_ctx *ctx, json_t *obj, int64_t price,
    int64_t compare_at, const char *currency);

/* "stars": {"half","label","count","count_text","average"}, or false. */
void view_stars(const struct page_ctx *ctx, json_t *obj, const json_t *rating);

/* "half" and "label" of one review's rating, 1..5. */
void view_stars_of(const struct page_ctx *ctx, json_t *obj, int64_t rating);

/* "initial": what stands where a picture would. */
void view_initial(json_t *obj, struct span title);

/*
 * Make a picture's record fit for a page: "w" and "h"; "sources" ("avif",
 * "webp", each a srcset or false; "cover") or false where it has no variants. Safe to ask
 * twice. False where it cannot be shown: no address, or not http(s) and not our
 * own path.
 */
bool view_image(json_t *image);

/* When a picture is loaded: "eager": in sight at once, else lazily; "first":
 * before anything else. */
void view_loading(json_t *obj, bool eager, bool first);

/* An item of a list: address, price, picture, badges. */
void view_card(const struct page_ctx *ctx, json_t *item);

/* "products" of a list as cards, the first ones eager; "has_products". Its
 * length. */
size_t view_cards(const struct page_ctx *ctx, json_t *view, size_t eager);

/* "stock_class" and "stock_text" of what has "stock" and "available". */
void view_stock(const struct page_ctx *ctx, json_t *variant);

/* A product's variants as choices of a form; "can_buy", "one". */
void view_choices(const struct page_ctx *ctx, json_t *view, const char *code);

/* An RFC 3339 time as a date, or date and time; false where it is not one. */
void view_date(const struct page_ctx *ctx, json_t *obj, const char *key,
    struct span rfc3339, enum page_text pattern);

/* /products?q=..., appended. */
void add_search_url(struct strbuf *out, struct span q);

/* A picture's address for other sites, appended. */
void add_absolute(
    const struct page_ctx *ctx, struct strbuf *out, struct span url);

/*
 * "page": what the document's head says. Any span may be empty: not said.
 * path: of the canonical address, already percent-encoded; empty: none (and
 * then no Open Graph). site: put the shop's name after the title.
 */
struct page_head {
	struct span title, description, path, image;
	const char *og_type; /* NULL: "website" */
	bool noindex;
	bool site;
};
void view_head(
    const struct page_ctx *ctx, json_t *view, const struct page_head *head);

/* Render a view; out is as it was on an error. */
enum rc page_show(const struct page_ctx *ctx, const char *name,
    const json_t *view, struct strbuf *out, struct err *e);

/* The same; takes view. */
enum rc page_finish(const struct page_ctx *ctx, const char *name, json_t *view,
    struct strbuf *out, struct err *e);

/* page_private.c: each has a template and a title; looked at when the context
 * is loaded. Ends with NULL. */
extern const char *const page_private_names[];
const char *page_private_title(const struct page_ctx *ctx, const char *name);

/* JSON-LD, for a <script>: see page_jsonld.c. product is the plain record
 * with what page_product.c added. */
void jsonld_product(
    const struct page_ctx *ctx, const json_t *product, struct strbuf *out);
void jsonld_site(const struct page_ctx *ctx, struct strbuf *out);

#endif
