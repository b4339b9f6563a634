#include "fcgi-app/page_buy.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/form.h"
#include "fcgi-app/page_int.h"
#include "shop/money.h"

/*
 * Cart, checkout, and the page that confirms a purchase in a sale. A view is
 * made as in page_view.c: what a section asks for is always set.
 */

/* ---- what is said */

enum tone { TONE_GOOD, TONE_BAD };

static const struct words {
	const char *code;
	enum tone tone;
	enum page_text text;
} words[] = {
	{ "added", TONE_GOOD, TX_SAY_ADDED },
	{ "updated", TONE_GOOD, TX_SAY_UPDATED },
	{ "removed", TONE_GOOD, TX_SAY_REMOVED },
	{ "sold_out", TONE_BAD, TX_SAY_SOLD_OUT },
	{ "limit_reached", TONE_BAD, TX_SAY_LIMIT_REACHED },
	{ "sale_not_started", TONE_BAD, TX_SAY_SALE_NOT_STARTED },
	{ "sale_ended", TONE_BAD, TX_SAY_SALE_ENDED },
	{ "busy", TONE_BAD, TX_SAY_BUSY },
	{ "stale_form", TONE_BAD, TX_SAY_STALE_FORM },
	{ "out_of_stock", TONE_BAD, TX_SAY_OUT_OF_STOCK },
	{ "total_changed", TONE_BAD, TX_SAY_TOTAL_CHANGED },
	{ "payment_in_progress", TONE_BAD, TX_SAY_PAYMENT_IN_PROGRESS },
	{ "wrong_state", TONE_BAD, TX_SAY_WRONG_STATE },
	{ "bad_quantity", TONE_BAD, TX_SAY_BAD_QUANTITY },
	{ "not_for_sale", TONE_BAD, TX_SAY_NOT_FOR_SALE },
	{ "cart_full", TONE_BAD, TX_SAY_CART_FULL },
	{ "too_many_tries", TONE_BAD, TX_SAY_TOO_MANY },
	{ "", TONE_BAD, TX_SAY_OTHER },
};

static void
view_say(const struct page_ctx *ctx, json_t *view, const char *code)
{
	const struct words *w = words;
	json_t *say;

	view_bool(view, "say", false);
	if (code == NULL || *code == '\0')
		return;
	while (*w->code != '\0' && strcmp(w->code, code) != 0)
		w++;
	say = json_object();
	view_span(say, "kind", span_of(w->tone == TONE_GOOD ? "good" : "bad"));
	view_span(
	    say, "role", span_of(w->tone == TONE_GOOD ? "status" : "alert"));
	view_span(say, "text", span_of(ctx->text[w->text]));
	view_bool(say, "link", false);
	json_object_set_new_nocheck(view, "say", say);
}

/* The sandbox's tokens (DESIGN 4.2), the chosen one checked. */
static void
view_tokens(const struct page_ctx *ctx, json_t *view, const char *chosen)
{
	static const struct {
		const char *token;
		enum page_text text;
	} tokens[] = { { "tok_ok", TX_PAY_TOK_OK },
		{ "tok_declined", TX_PAY_TOK_DECLINED },
		{ "tok_slow", TX_PAY_TOK_SLOW },
		{ "tok_lost", TX_PAY_TOK_LOST } };
	enum { N = sizeof tokens / sizeof tokens[0] };
	json_t *list = json_array();
	size_t at = 0;

	for (size_t i = 0; i < N; i++) {
		if (chosen != NULL && strcmp(chosen, tokens[i].token) == 0)
			at = i;
	}
	for (size_t i = 0; i < N; i++) {
		json_t *one = json_object();

		view_span(one, "value", span_of(tokens[i].token));
		view_span(one, "label", span_of(ctx->text[tokens[i].text]));
		view_bool(one, "checked", i == at);
		json_array_append_new(list, one);
	}
	json_object_set_new_nocheck(view, "tokens", list);
}

void
view_form(
    const struct page_ctx *ctx, json_t *view, const struct page_form *form)
{
	const char *chosen =
	    form->sent == NULL ? NULL : fields_get(form->sent, "payment_token");

	view_span(view, "form_token", span_of(form->token));
	view_bool(view, "form_key", false);
	if (form->key != NULL)
		view_span(view, "form_key", span_of(form->key));
	view_bool(view, "sandbox", form->sandbox);
	view_tokens(ctx, view, chosen);
	view_say(ctx, view, form->say);
}

void
view_sums(const struct page_ctx *ctx, json_t *view, const char *currency)
{
	int64_t shipping = page_num(view, "shipping", 0);
	int64_t tax = page_num(view, "tax", 0);

	view_price(
	    view, "subtotal_text", page_num(view, "subtotal", 0), currency);
	view_price(view, "shipping_text", shipping, currency);
	if (shipping == 0)
		view_span(view, "shipping_text",
		    span_of(ctx->text[TX_SHIPPING_FREE]));
	view_bool(view, "tax_text", false);
	if (tax > 0)
		view_price(view, "tax_text", tax, currency);
	view_price(view, "total_text", page_num(view, "total", 0), currency);
}

static void
head(const struct page_ctx *ctx, json_t *view, enum page_text title)
{
	const struct page_head head = { .title = span_of(ctx->text[title]),
		.noindex = true,
		.site = true };

	view_head(ctx, view, &head);
}

static void
view_currency(const struct page_ctx *ctx, const json_t *view, char code[16])
{
	struct span currency = page_str(view, "currency");

	(void)snprintf(
	    code, 16, "%s", currency.n > 0 ? currency.p : ctx->currency);
}

static void
view_product_url(json_t *obj)
{
	char url[48];

	(void)snprintf(url, sizeof url, "/products/%lld",
	    (long long)page_num(obj, "productId", 0));
	view_span(obj, "url", span_of(url));
}

static void
view_picture(json_t *obj, bool first)
{
	json_t *image = json_object_get(obj, "image");

	view_initial(obj, page_str(obj, "title"));
	if (!json_is_object(image) || !view_image(image))
		view_bool(obj, "image", false);
	view_loading(obj, first, first);
}

static void
view_each(const struct page_ctx *ctx, json_t *obj, int64_t price,
    const char *currency)
{
	struct strbuf sb;

	strbuf_init(&sb, 32);
	money_format(&sb, price, currency);
	view_text(
	    ctx, obj, "each_text", TX_CART_EACH, "price", strbuf_span(&sb));
	strbuf_release(&sb);
}

/* ---- cart */

struct notes {
	json_t *line, *list;
	struct strbuf *ids; /* for aria-describedby */
};

/* The text has been set as the line's "note". */
static void
note_add(const struct notes *notes)
{
	size_t n = json_array_size(notes->list) + 1;
	json_t *note = json_object();

	json_object_set_nocheck(
	    note, "text", json_object_get(notes->line, "note"));
	view_num(note, "n", (int64_t)n);
	json_array_append_new(notes->list, note);
	if (notes->ids->len > 0)
		strbuf_addc(notes->ids, ' ');
	strbuf_addf(notes->ids, "n-%lld-%zu",
	    (long long)page_num(notes->line, "variantId", 0), n);
}

/* Why it cannot be ordered as it is, and what has changed. */
static void
line_notes(const struct page_ctx *ctx, json_t *line, const char *currency)
{
	struct span problem = page_str(line, "problem");
	int64_t was = page_num(line, "priceWas", -1);
	struct strbuf ids, price;
	const struct notes notes = { line, json_array(), &ids };

	strbuf_init(&ids, 32);
	strbuf_init(&price, 32);
	if (span_is(problem, "sold_out"))
		view_span(line, "note", span_of(ctx->text[TX_NOTE_SOLD_OUT]));
	else if (span_is(problem, "not_enough"))
		view_count(ctx, line, "note", TX_NOTE_FEW_ONE,
		    TX_NOTE_FEW_OTHER, page_num(line, "stock", 0));
	else if (problem.n > 0)
		view_span(line, "note", span_of(ctx->text[TX_NOTE_GONE]));
	if (problem.n > 0)
		note_add(&notes);
	if (was >= 0) {
		money_format(&price, was, currency);
		view_text(ctx, line, "note", TX_NOTE_PRICE, "price",
		    strbuf_span(&price));
		note_add(&notes);
	}
	json_object_set_new_nocheck(line, "notes", notes.list);
	view_sb(line, "described", &ids);
	strbuf_release(&price);
	strbuf_release(&ids);
}

static void
cart_lines(const struct page_ctx *ctx, json_t *view, const char *currency)
{
	json_t *lines = json_object_get(view, "lines");
	size_t n = json_array_size(lines);

	for (size_t i = 0; i < n; i++) {
		json_t *line = json_array_get(lines, i);

		view_product_url(line);
		view_picture(line, i == 0);
		view_optional(line, "variantTitle");
		view_each(ctx, line, page_num(line, "price", 0), currency);
		view_price(
		    line, "sum_text", page_num(line, "total", 0), currency);
		line_notes(ctx, line, currency);
	}
	view_bool(view, "has_lines", n > 0);
	view_bool(view, "can_buy", page_true(view, "ready"));
}

enum rc
page_cart_render(const struct page_ctx *ctx, struct span cart,
    const struct page_form *form, struct strbuf *out, struct err *e)
{
	char code[16];
	json_t *view;
	enum rc rc = page_parse(cart, &view, e);

	if (rc != RC_OK)
		return rc;
	view_currency(ctx, view, code);
	cart_lines(ctx, view, code);
	view_sums(ctx, view, code);
	view_form(ctx, view, form);
	head(ctx, view, TX_CART_TITLE);
	return page_finish(ctx, "cart", view, out, e);
}

static json_t *
variant_find(const json_t *view, int64_t variant)
{
	const json_t *variants = json_object_get(view, "variants");

	for (size_t i = 0; i < json_array_size(variants); i++) {
		json_t *one = json_array_get(variants, i);

		if (page_num(one, "id", 0) == variant)
			return one;
	}
	return NULL;
}

/* The one that was chosen, as "line" of the page. */
static void
add_line(const struct page_ctx *ctx, json_t *view, const json_t *variant,
    const char *currency)
{
	json_t *line = json_object();
	json_t *image = json_array_get(json_object_get(view, "images"), 0);

	json_object_set_nocheck(line, "title", json_object_get(view, "title"));
	json_object_set_nocheck(line, "productId", json_object_get(view, "id"));
	json_object_set_nocheck(
	    line, "variantId", json_object_get(variant, "id"));
	json_object_set_nocheck(
	    line, "variantTitle", json_object_get(variant, "title"));
	/* A product's only variant has no name that says anything. */
	if (json_array_size(json_object_get(view, "variants")) < 2)
		view_span(line, "variantTitle", (struct span){ 0 });
	if (image != NULL)
		json_object_set_nocheck(line, "image", image);
	json_object_set_nocheck(
	    line, "stock", json_object_get(variant, "stock"));
	json_object_set_nocheck(
	    line, "available", json_object_get(variant, "available"));
	view_stock(ctx, line);
	view_product_url(line);
	view_picture(line, true);
	view_each(ctx, line, page_num(variant, "price", 0), currency);
	json_object_set_new_nocheck(view, "line", line);
}

enum rc
page_cart_add_render(const struct page_ctx *ctx, struct span product,
    int64_t variant, int64_t quantity, const struct page_form *form,
    struct strbuf *out, struct err *e)
{
	const json_t *chosen = NULL;
	char code[16];
	json_t *view;
	enum rc rc = page_parse(product, &view, e);

	if (rc != RC_OK)
		return rc;
	view_currency(ctx, view, code);
	json_object_set_nocheck(view, "productId", json_object_get(view, "id"));
	if (variant == 0 &&
	    json_array_size(json_object_get(view, "variants")) == 1)
		chosen = json_array_get(json_object_get(view, "variants"), 0);
	else if (variant != 0 &&
		 (chosen = variant_find(view, variant)) == NULL) {
		json_decref(view);
		return err_set(e, RC_NONE, "product_not_found",
		    "No such variant of this product");
	}
	view_choices(ctx, view, code);
	view_bool(view, "choose", chosen == NULL);
	view_bool(view, "line", false);
	if (chosen != NULL)
		add_line(ctx, view, chosen, code);
	view_num(view, "quantity", quantity);
	view_form(ctx, view, form);
	head(ctx, view, TX_ADD_TITLE);
	return page_finish(ctx, "cart_add", view, out, e);
}

/* ---- checkout */

static const struct page_field {
	const char *name, *type, *autocomplete;
	enum page_text label;
	int max;
	bool required, narrow;
} fields[] = {
	{ "email", "email", "email", TX_FIELD_EMAIL, 254, true, false },
	{ "name", "text", "shipping name", TX_FIELD_NAME, 200, true, false },
	{ "line1", "text", "shipping address-line1", TX_FIELD_LINE1, 200, true,
	    false },
	{ "line2", "text", "shipping address-line2", TX_FIELD_LINE2, 200, false,
	    false },
	{ "postal_code", "text", "shipping postal-code", TX_FIELD_POSTAL_CODE,
	    20, true, true },
	{ "city", "text", "shipping address-level2", TX_FIELD_CITY, 100, true,
	    false },
	{ "region", "text", "shipping address-level1", TX_FIELD_REGION, 100,
	    false, false },
	{ "country", "text", "shipping country", TX_FIELD_COUNTRY, 2, true,
	    true },
};

static json_t *
field_view(const struct page_ctx *ctx, const struct page_field *field,
    const char *value, const char *wrong)
{
	struct span label = span_of(ctx->text[field->label]);
	json_t *one = json_object();

	view_span(one, "name", span_of(field->name));
	view_span(one, "label", label);
	view_span(one, "type", span_of(field->type));
	view_span(one, "autocomplete", span_of(field->autocomplete));
	view_num(one, "max", field->max);
	view_span(one, "value", span_of(value != NULL ? value : ""));
	view_bool(one, "required", field->required);
	view_bool(one, "narrow", field->narrow);
	view_bool(one, "error", false);
	if (wrong != NULL)
		view_text(ctx, one, "error",
		    strcmp(wrong, "missing") == 0 ? TX_ERROR_MISSING
						  : TX_ERROR_INVALID,
		    "field", label);
	return one;
}

static const char *
check_of(const char *name, int n, const struct page_check checks[])
{
	for (int i = 0; i < n; i++) {
		if (strcmp(checks[i].name, name) == 0)
			return checks[i].wrong;
	}
	return NULL;
}

static void
checkout_fields(const struct page_ctx *ctx, json_t *view, const char *email,
    int n, const struct page_check checks[], const struct fields *sent)
{
	json_t *contact = json_array(), *address = json_array();
	json_t *errors = json_array();

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		const char *value = sent == NULL
					? i == 0 ? email : NULL
					: fields_get(sent, fields[i].name);
		const char *wrong = check_of(fields[i].name, n, checks);
		json_t *one = field_view(ctx, &fields[i], value, wrong);

		if (wrong != NULL)
			json_array_append(errors, one);
		json_array_append_new(i == 0 ? contact : address, one);
	}
	view_bool(view, "has_errors", json_array_size(errors) > 0);
	json_object_set_new_nocheck(view, "contact", contact);
	json_object_set_new_nocheck(view, "address", address);
	json_object_set_new_nocheck(view, "errors", errors);
}

enum rc
page_checkout_render(const struct page_ctx *ctx, struct span cart,
    const char *email, int n, const struct page_check checks[],
    const struct page_form *form, struct strbuf *out, struct err *e)
{
	char code[16];
	json_t *view;
	enum rc rc = page_parse(cart, &view, e);

	if (rc != RC_OK)
		return rc;
	view_currency(ctx, view, code);
	cart_lines(ctx, view, code);
	view_sums(ctx, view, code);
	view_text(ctx, view, "place_text", TX_CHECKOUT_PLACE, "total",
	    page_str(view, "total_text"));
	view_bool(view, "guest", email == NULL);
	checkout_fields(ctx, view, email, n, checks, form->sent);
	view_form(ctx, view, form);
	head(ctx, view, TX_CHECKOUT_TITLE);
	return page_finish(ctx, "checkout", view, out, e);
}

/* ---- confirming a purchase in a sale */

/* The item that is meant, or NULL: it is not here, or more than one is. */
static json_t *
sale_item_find(const json_t *view, int64_t product, int64_t variant)
{
	const json_t *items = json_object_get(view, "items");
	json_t *found = NULL;

	for (size_t i = 0; i < json_array_size(items); i++) {
		json_t *item = json_array_get(items, i);

		if (page_num(item, "productId", 0) != product ||
		    (variant != 0 && page_num(item, "variantId", 0) != variant))
			continue;
		if (found != NULL)
			return NULL;
		found = item;
	}
	return found;
}

/* Why it cannot be bought now, as a code, or NULL. The shop's own answer to
 * the purchase decides; this is what can be said before. */
static const char *
sale_closed_why(const json_t *view, const json_t *item, int64_t now_ms)
{
	int64_t starts, ends;

	if (span_is(page_str(item, "state"), "closed") ||
	    time_parse(page_str(view, "endsAt").p, now_ms, &ends) != 0 ||
	    now_ms >= ends)
		return "sale_ended";
	if (time_parse(page_str(view, "startsAt").p, now_ms, &starts) != 0 ||
	    now_ms < starts || span_is(page_str(item, "state"), "draft"))
		return "sale_not_started";
	return NULL;
}

static void
confirm_line(const struct page_ctx *ctx, json_t *view, json_t *item,
    const char *currency)
{
	int64_t price = page_num(item, "price", 0);

	view_product_url(item);
	view_picture(item, true);
	view_optional(item, "variantTitle");
	view_price(item, "price_text", price, currency);
	view_before(
	    ctx, item, price, page_num(item, "regularPrice", 0), currency);
	view_count(ctx, item, "limit_text", TX_SALE_LIMIT_ONE,
	    TX_SALE_LIMIT_OTHER, page_num(item, "limit", 1));
	view_text(ctx, view, "buy_text", TX_CONFIRM_BUY, "price",
	    page_str(item, "price_text"));
	json_object_set_nocheck(view, "line", item);
}

enum rc
page_confirm_render(const struct page_ctx *ctx, struct span sale,
    int64_t product, int64_t variant, int64_t now_ms,
    const struct page_form *form, struct strbuf *out, struct err *e)
{
	struct page_form said = *form;
	const char *why;
	char code[16], url[96];
	json_t *view, *item;
	enum rc rc = page_parse(sale, &view, e);

	if (rc != RC_OK)
		return rc;
	if ((item = sale_item_find(view, product, variant)) == NULL) {
		json_decref(view);
		return err_set(
		    e, RC_NONE, "sale_not_found", "This is not in that sale");
	}
	view_currency(ctx, view, code);
	confirm_line(ctx, view, item, code);
	why = sale_closed_why(view, item, now_ms);
	if (why != NULL && (said.say == NULL || *said.say == '\0'))
		said.say = why;
	view_bool(view, "can_buy", why == NULL);
	(void)snprintf(url, sizeof url, "/buy/%lld/%lld?variant=%lld",
	    (long long)page_num(view, "id", 0), (long long)product,
	    (long long)page_num(item, "variantId", 0));
	view_span(view, "action", span_of(url));
	(void)snprintf(url, sizeof url, "/flash-sale/%lld",
	    (long long)page_num(view, "id", 0));
	view_span(view, "sale_url", span_of(url));
	view_form(ctx, view, &said);
	head(ctx, view, TX_CONFIRM_TITLE);
	return page_finish(ctx, "confirm", view, out, e);
}
