#include "fcgi-app/page_buy.h"

#include <stdio.h>
#include <string.h>

#include "fcgi-app/page_int.h"

/*
 * An order, as its buyer sees it. What he may do is judged by the order's
 * record; the shop judges again when he does it.
 */

enum { STEPS = 4 };

static const struct state {
	const char *name;
	int step; /* how many are done; -1: no steps are shown */
	bool unpaid;
	bool end; /* nothing more is waited for */
	enum page_text now;
} states[] = {
	{ "pending", 1, true, false, TX_NOW_PENDING },
	{ "reserved", 2, true, false, TX_NOW_RESERVED },
	{ "paid", 3, false, true, TX_NOW_PAID },
	{ "fulfilled", 4, false, true, TX_NOW_FULFILLED },
	{ "cancelled", -1, false, true, TX_NOW_CANCELLED },
	{ "refunded", -1, false, true, TX_NOW_REFUNDED },
};

static const struct {
	const char *reason;
	enum page_text text;
} reasons[] = {
	{ "declined", TX_WHY_DECLINED },
	{ "expired", TX_WHY_EXPIRED },
	{ "out_of_stock", TX_WHY_OUT_OF_STOCK },
	{ "by_buyer", TX_WHY_BY_BUYER },
};

static const struct state *
state_of(const json_t *view)
{
	struct span name = page_str(view, "status");

	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
		if (span_is(name, states[i].name))
			return &states[i];
	}
	return NULL;
}

static void
order_steps(const struct page_ctx *ctx, json_t *view, const struct state *state)
{
	static const enum page_text labels[STEPS] = { TX_STEP_PENDING,
		TX_STEP_RESERVED, TX_STEP_PAID, TX_STEP_FULFILLED };
	json_t *steps = json_array();

	for (int i = 0; i < STEPS; i++) {
		json_t *step = json_object();

		view_span(step, "label", span_of(ctx->text[labels[i]]));
		view_bool(step, "done", i < state->step);
		view_bool(step, "now", i + 1 == state->step);
		json_array_append_new(steps, step);
	}
	json_object_set_new_nocheck(view, "steps", steps);
	view_bool(view, "has_steps", state->step >= 0);
}

/* The provider's words, or why it was cancelled. */
static void
order_problem(const struct page_ctx *ctx, json_t *view, bool declined)
{
	struct span why = page_str(json_object_get(view, "payment"), "error");
	struct span reason = page_str(view, "reason");

	view_bool(view, "problem", false);
	if (declined)
		view_span(view, "problem",
		    why.n > 0 ? why : span_of(ctx->text[TX_WHY_DECLINED]));
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
		if (span_is(page_str(view, "status"), "cancelled") &&
		    span_is(reason, reasons[i].reason))
			view_span(view, "problem",
			    span_of(ctx->text[reasons[i].text]));
	}
}

static void
order_items(json_t *view, const char *currency)
{
	json_t *items = json_object_get(view, "items");
	int64_t subtotal = 0;

	for (size_t i = 0; i < json_array_size(items); i++) {
		json_t *item = json_array_get(items, i);
		int64_t sum =
		    page_num(item, "price", 0) * page_num(item, "quantity", 0);
		char url[48];

		(void)snprintf(url, sizeof url, "/products/%lld",
		    (long long)page_num(item, "productId", 0));
		view_span(item, "url", span_of(url));
		view_optional(item, "variantTitle");
		view_price(item, "sum_text", sum, currency);
		subtotal += sum;
	}
	view_num(view, "subtotal", subtotal);
}

/* Where the script asks how it stands. The token is one of ours: nothing in
 * it need be escaped in an address. */
static void
order_watch(json_t *view, const char *access)
{
	char api[160];

	(void)snprintf(api, sizeof api, "/api/orders/%s%s%s",
	    page_str(view, "id").p, *access != '\0' ? "?t=" : "", access);
	view_span(view, "api", span_of(api));
	view_span(view, "payment_status",
	    page_str(json_object_get(view, "payment"), "status"));
}

static void
order_expires(const struct page_ctx *ctx, json_t *view, bool unpaid)
{
	view_bool(view, "expires_text", false);
	if (!unpaid)
		return;
	view_date(ctx, view, "time", page_str(view, "expiresAt"), TX_DATE_TIME);
	if (page_str(view, "time").n > 0)
		view_text(ctx, view, "expires_text", TX_ORDER_EXPIRES, "time",
		    page_str(view, "time"));
}

enum rc
page_order_render(const struct page_ctx *ctx, struct span order,
    const char *access, const struct page_form *form, struct strbuf *out,
    struct err *e)
{
	struct page_head head = { .noindex = true, .site = true };
	const struct state *state;
	char currency[16];
	json_t *view;
	bool declined;
	enum rc rc = page_parse(order, &view, e);

	if (rc != RC_OK)
		return rc;
	if ((state = state_of(view)) == NULL) {
		json_decref(view);
		return err_set(e, RC_FAIL, "bad_record", "order's status");
	}
	(void)snprintf(
	    currency, sizeof currency, "%s", page_str(view, "currency").p);
	declined = strcmp(state->name, "reserved") == 0 &&
		   span_is(page_str(json_object_get(view, "payment"), "status"),
		       "declined");
	order_steps(ctx, view, state);
	order_problem(ctx, view, declined);
	order_items(view, currency);
	order_watch(view, access);
	order_expires(ctx, view, state->unpaid);
	view_sums(ctx, view, currency);
	view_date(
	    ctx, view, "date_text", page_str(view, "createdAt"), TX_DATE_TIME);
	view_bool(view, "can_cancel", state->unpaid);
	view_bool(view, "can_pay", declined);
	view_bool(view, "watch", !state->end);
	view_span(view, "access", span_of(access));
	view_span(view, "now_text",
	    span_of(ctx->text[declined ? TX_NOW_DECLINED : state->now]));
	head.title = span_of(ctx->text[TX_ORDER_TITLE]);
	view_span(view, "heading", head.title);
	view_form(ctx, view, form);
	view_head(ctx, view, &head);
	return page_finish(ctx, "order", view, out, e);
}
