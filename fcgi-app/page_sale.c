#include "fcgi-app/page_int.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum sale_when { SALE_UPCOMING, SALE_RUNNING, SALE_ENDED };

static bool
all_closed(const json_t *items)
{
	size_t n = json_array_size(items);

	for (size_t i = 0; i < n; i++) {
		if (!span_is(
			page_str(json_array_get(items, i), "state"), "closed"))
			return false;
	}
	return n > 0;
}

static enum rc
sale_when(const json_t *view, int64_t now_ms, bool *closed,
    enum sale_when *when, struct err *e)
{
	int64_t starts, ends;

	if (time_parse(page_str(view, "startsAt").p, now_ms, &starts) != 0 ||
	    time_parse(page_str(view, "endsAt").p, now_ms, &ends) != 0)
		return err_set(e, RC_FAIL, "bad_record",
		    "sale without startsAt or endsAt");
	*closed = all_closed(json_object_get(view, "items"));
	*when = *closed || now_ms >= ends ? SALE_ENDED
		: now_ms < starts         ? SALE_UPCOMING
					  : SALE_RUNNING;
	return RC_OK;
}

/* Where it is bought: the same address for everybody, to a private page. */
static void
sale_buy(json_t *item, int64_t sale_id, bool can)
{
	char url[96];

	view_bool(item, "buy_url", false);
	if (!can)
		return;
	(void)snprintf(url, sizeof url, "/buy/%lld/%lld?variant=%lld",
	    (long long)sale_id, (long long)page_num(item, "productId", 0),
	    (long long)page_num(item, "variantId", 0));
	view_span(item, "buy_url", span_of(url));
	view_num(item, "sale_id", sale_id);
}

static void
sale_item(const struct page_ctx *ctx, json_t *item, const char *code)
{
	json_t *image = json_object_get(item, "image");
	int64_t price = page_num(item, "price", 0);
	bool open = span_is(page_str(item, "state"), "open");
	int64_t left = page_num(item, "stock", -1);
	char url[48];

	snprintf(url, sizeof url, "/products/%lld",
	    (long long)page_num(item, "productId", 0));
	view_str(item, "url", url, strlen(url));
	view_initial(item, page_str(item, "title"));
	view_optional(item, "variantTitle");
	view_price(item, "price_text", price, code);
	view_before(ctx, item, price, page_num(item, "regularPrice", 0), code);
	view_bool(item, "sold_out", open && left == 0);
	if (!json_is_object(image) || !view_image(image))
		view_bool(item, "image", false);
	view_count(ctx, item, "limit_text", TX_SALE_LIMIT_ONE,
	    TX_SALE_LIMIT_OTHER, page_num(item, "limit", 1));
	view_bool(item, "left_text", false);
	if (open && left > 0)
		view_count(ctx, item, "left_text", TX_SALE_LEFT_ONE,
		    TX_SALE_LEFT_OTHER, left);
	else if (span_is(page_str(item, "state"), "draft"))
		view_count(ctx, item, "left_text", TX_SALE_PIECES_ONE,
		    TX_SALE_PIECES_OTHER, page_num(item, "allotment", 0));
}

static void
sale_head(const struct page_ctx *ctx, json_t *view)
{
	struct span title = page_str(view, "title");
	const struct page_arg args[] = { { "title", title } };
	struct page_head head = { .title = title, .site = true };
	const json_t *items = json_object_get(view, "items");
	struct strbuf sb;
	char path[48];

	snprintf(path, sizeof path, "/flash-sale/%lld",
	    (long long)page_num(view, "id", 0));
	head.path = span_of(path);
	for (size_t i = 0; i < json_array_size(items) && head.image.n == 0; i++)
		head.image = page_str(
		    json_object_get(json_array_get(items, i), "image"), "url");
	strbuf_init(&sb, 128);
	page_fill(&sb, ctx->text[TX_SALE_DESCRIPTION], 1, args);
	head.description = strbuf_span(&sb);
	view_head(ctx, view, &head);
	strbuf_release(&sb);
}

enum rc
page_sale_render(const struct page_ctx *ctx, struct span sale, int64_t now_ms,
    struct strbuf *out, struct err *e)
{
	static const struct {
		const char *name;
		enum page_text text;
	} states[] = {
		[SALE_UPCOMING] = { "upcoming", TX_SALE_UPCOMING },
		[SALE_RUNNING] = { "running", TX_SALE_RUNNING },
		[SALE_ENDED] = { "ended", TX_SALE_ENDED },
	};
	enum sale_when when = SALE_ENDED;
	struct span currency;
	bool closed = false;
	char code[16];
	json_t *view, *items;
	enum rc rc;

	if ((rc = page_parse(sale, &view, e)) != RC_OK)
		return rc;
	if ((rc = sale_when(view, now_ms, &closed, &when, e)) != RC_OK) {
		json_decref(view);
		return rc;
	}
	currency = page_str(view, "currency");
	snprintf(code, sizeof code, "%s",
	    currency.n > 0 ? currency.p : ctx->currency);
	items = json_object_get(view, "items");
	for (size_t i = 0; i < json_array_size(items); i++) {
		json_t *item = json_array_get(items, i);

		sale_item(ctx, item, code);
		view_loading(item, i < 4, i == 0);
		sale_buy(item, page_num(view, "id", 0),
		    when != SALE_ENDED && !page_true(item, "sold_out") &&
			!span_is(page_str(item, "state"), "closed"));
	}
	view_bool(view, "has_items", json_array_size(items) > 0);
	view_span(view, "state", span_of(states[when].name));
	view_span(view, "state_text", span_of(ctx->text[states[when].text]));
	view_bool(view, "ended", when == SALE_ENDED);
	/* A sale closed before its end stays closed: no clock for the script.
	 */
	view_bool(view, "clock", !closed);
	view_date(
	    ctx, view, "starts_text", page_str(view, "startsAt"), TX_DATE_TIME);
	view_date(
	    ctx, view, "ends_text", page_str(view, "endsAt"), TX_DATE_TIME);
	sale_head(ctx, view);
	return page_finish(ctx, "sale", view, out, e);
}
