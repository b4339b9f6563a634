/*
 * page_buy - the pages of buying: cart, checkout, confirming a purchase in a
 * sale, an order. Each is for one person and never kept by a cache; functions
 * of what they are given, no I/O, like page.h.
 */
#ifndef FCGI_APP_PAGE_BUY_H
#define FCGI_APP_PAGE_BUY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct fields;
struct json_t;
struct page_ctx;
struct strbuf;

/* What the form on such a page carries, and what is to be said above it. */
struct page_form {
	const char *token; /* form_token (guard.h) */
	const char *key;   /* idempotency key, made anew for each page; NULL:
			      none */
	const char *say;   /* a code: "sold_out", "added"; NULL or "": nothing.
			      One without words of its own gets general ones */
	bool sandbox;      /* payments are the sandbox's: offer its tokens */
	const struct fields *sent; /* shown again after a mistake; NULL */
};

/* Each appends a document to *out, which is left as it was on an error. cart:
 * the JSON of shop/cart.h. */
enum rc page_cart_render(const struct page_ctx *ctx, struct span cart,
    const struct page_form *form, struct strbuf *out, struct err *e);

/* Before something goes into the cart. product: catalog_get. variant 0: not
 * chosen. RC_NONE: it has no such variant. */
enum rc page_cart_add_render(const struct page_ctx *ctx, struct span product,
    int64_t variant, int64_t quantity, const struct page_form *form,
    struct strbuf *out, struct err *e);

/* What a person fills in at the checkout. */
struct page_check {        /* of one field; in the order of the form */
	const char *name;  /* of the form's field: "email", "line1" */
	const char *wrong; /* "missing", "invalid"; NULL: it is right */
};

/* email: of the account; NULL: a guest. */
enum rc page_checkout_render(const struct page_ctx *ctx, struct span cart,
    const char *email, int n, const struct page_check checks[],
    const struct page_form *form, struct strbuf *out, struct err *e);

/* GET /buy/<sale>/<product>. sale: the record of shop/sale.h. variant 0: the
 * sale's only one of that product. RC_NONE: not in this sale. */
enum rc page_confirm_render(const struct page_ctx *ctx, struct span sale,
    int64_t product, int64_t variant, int64_t now_ms,
    const struct page_form *form, struct strbuf *out, struct err *e);

/* order: the JSON of shop/order.h. access: a guest's token, or "". */
enum rc page_order_render(const struct page_ctx *ctx, struct span order,
    const char *access, const struct page_form *form, struct strbuf *out,
    struct err *e);

/* What both files use: the form's members, what is said, the sums. */
void view_form(const struct page_ctx *ctx, struct json_t *view,
    const struct page_form *form);
void view_sums(
    const struct page_ctx *ctx, struct json_t *view, const char *currency);

#endif
