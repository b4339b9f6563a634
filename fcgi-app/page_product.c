#include "fcgi-app/page_int.h"

#include <stdio.h>
#include <string.h>

#include "shop/money.h"

enum { MANY_TAGS = 20, FEW_LEFT = 3 };

/* What may be said of a stock: never more than the record does. */
void
view_stock(const struct page_ctx *ctx, json_t *variant)
{
	int64_t stock = page_num(variant, "stock", 0);

	if (!page_true(variant, "available") || stock <= 0) {
		view_span(variant, "stock_class", span_of("out"));
		view_span(
		    variant, "stock_text", span_of(ctx->text[TX_SOLD_OUT]));
	} else if (stock <= FEW_LEFT) {
		view_span(variant, "stock_class", span_of("few"));
		view_count(ctx, variant, "stock_text", TX_FEW_LEFT_ONE,
		    TX_FEW_LEFT_OTHER, stock);
	} else {
		view_span(variant, "stock_class", span_of("in"));
		view_span(
		    variant, "stock_text", span_of(ctx->text[TX_IN_STOCK]));
	}
}

/* "S / blue, $25.00, only 2 left": the words of a choice; "out": it cannot be
 * chosen. "can_buy": at least one can. */
void
view_choices(const struct page_ctx *ctx, json_t *view, const char *code)
{
	json_t *variants = json_object_get(view, "variants");
	size_t n = json_array_size(variants);
	bool some = false;
	struct strbuf sb;

	strbuf_init(&sb, 64);
	for (size_t i = 0; i < n; i++) {
		json_t *variant = json_array_get(variants, i);
		bool out;

		view_stock(ctx, variant);
		out = span_is(page_str(variant, "stock_class"), "out");
		some = some || !out;
		view_bool(variant, "out", out);
		strbuf_addspan(&sb, page_str(variant, "title"));
		strbuf_adds(&sb, ", ");
		money_format(&sb, page_num(variant, "price", 0), code);
		if (!span_is(page_str(variant, "stock_class"), "in")) {
			strbuf_adds(&sb, ", ");
			strbuf_addspan(&sb, page_str(variant, "stock_text"));
		}
		view_sb(variant, "choice_text", &sb);
	}
	strbuf_release(&sb);
	view_bool(view, "can_buy", some);
	json_object_set_new_nocheck(view, "one", json_false());
	if (n == 1)
		json_object_set_nocheck(
		    view, "one", json_array_get(variants, 0));
}

/* The row's cells: "head" is the first option's value, "rest" the others'.
 * columns: how many options the product has. */
static void
variant_cells(json_t *variant, size_t columns)
{
	json_t *options = json_object_get(variant, "options");
	json_t *rest = json_array();

	if (columns == 0) {
		json_object_set_nocheck(
		    variant, "head", json_object_get(variant, "title"));
	} else {
		json_t *head = json_array_get(options, 0);

		view_bool(variant, "head", false);
		if (head != NULL)
			json_object_set_nocheck(variant, "head", head);
	}
	for (size_t i = 1; i < columns; i++) {
		json_t *value = json_array_get(options, i);

		if (value != NULL)
			json_array_append(rest, value);
		else
			json_array_append_new(rest, json_string(""));
	}
	json_object_set_new_nocheck(variant, "rest", rest);
}

static void
product_variants(const struct page_ctx *ctx, json_t *view, const char *code)
{
	json_t *options = json_object_get(view, "options");
	json_t *variants = json_object_get(view, "variants");
	size_t n = json_array_size(variants);
	size_t columns = json_array_size(options);
	json_t *names = json_array();

	for (size_t i = 0; i < columns; i++)
		json_array_append(
		    names, json_object_get(json_array_get(options, i), "name"));
	if (columns == 0)
		json_array_append_new(
		    names, json_string_nocheck(ctx->text[TX_VARIANT]));
	json_object_set_new_nocheck(view, "option_names", names);
	for (size_t i = 0; i < n; i++) {
		json_t *variant = json_array_get(variants, i);
		int64_t price = page_num(variant, "price", 0);

		view_price(variant, "price_text", price, code);
		view_before(ctx, variant, price,
		    page_num(variant, "compareAtPrice", 0), code);
		variant_cells(variant, columns);
	}
	view_choices(ctx, view, code);
	view_bool(view, "single", n <= 1);
	view_bool(view, "sku", false);
	if (n == 1) {
		view_span(
		    view, "sku", page_str(json_array_get(variants, 0), "sku"));
		view_optional(view, "sku");
	}
	if (n <= 1)
		view_stock(ctx, view);
}

/* The price over all variants, and what it was where that is one figure. */
static void
product_price(const struct page_ctx *ctx, json_t *view, const char *code)
{
	const json_t *variants = json_object_get(view, "variants");
	const json_t *price = json_object_get(view, "price");
	int64_t min = page_num(price, "min", 0);
	int64_t max = page_num(price, "max", min), before = 0;
	struct strbuf sb;

	strbuf_init(&sb, 32);
	money_decimal(&sb, min, code);
	view_sb(view, "price_decimal", &sb);
	money_format(&sb, min, code);
	if (max > min) {
		view_text(ctx, view, "price_text", TX_FROM_PRICE, "price",
		    strbuf_span(&sb));
	} else {
		view_sb(view, "price_text", &sb);
		for (size_t i = 0; i < json_array_size(variants); i++) {
			int64_t was = page_num(
			    json_array_get(variants, i), "compareAtPrice", 0);

			if (i == 0)
				before = was;
			if (was != before)
				before = 0;
		}
	}
	view_before(ctx, view, min, before, code);
	strbuf_release(&sb);
}

/* Pictures that cannot be shown go; the rest get numbers and words. */
static void
product_images(const struct page_ctx *ctx, json_t *view)
{
	json_t *images = json_object_get(view, "images");
	struct span title = page_str(view, "title");
	char num[24], total[24];
	size_t n;

	for (size_t i = json_array_size(images); i > 0; i--) {
		if (!view_image(json_array_get(images, i - 1)))
			json_array_remove(images, i - 1);
	}
	n = json_array_size(images);
	snprintf(total, sizeof total, "%zu", n);
	for (size_t i = 0; i < n; i++) {
		json_t *image = json_array_get(images, i);
		struct span alt = page_str(image, "alt");
		struct page_arg args[] = { { "n", { 0 } },
			{ "total", span_of(total) } };
		struct strbuf sb;

		snprintf(num, sizeof num, "%zu", i + 1);
		args[0].value = span_of(num);
		view_span(image, "n", span_of(num));
		view_span(image, "alt_text", alt.n > 0 ? alt : title);
		view_loading(image, i == 0, i == 0);
		if (n > 1) {
			strbuf_init(&sb, 32);
			page_fill(&sb, ctx->text[TX_PICTURE_N], 2, args);
			view_sb(image, "label", &sb);
			strbuf_release(&sb);
		}
	}
	view_bool(view, "has_images", n > 0);
	view_bool(view, "many_images", n > 1);
}

static void
product_details(json_t *view)
{
	const json_t *tags = json_object_get(view, "tags");
	size_t n = json_array_size(tags);
	json_t *links = json_array();
	struct strbuf sb;

	strbuf_init(&sb, 64);
	for (size_t i = 0; i < n && i < MANY_TAGS; i++) {
		json_t *tag = json_array_get(tags, i), *link;

		if (!json_is_string(tag) || json_string_length(tag) == 0)
			continue;
		link = json_object();
		json_object_set_nocheck(link, "name", tag);
		add_search_url(&sb, (struct span){ json_string_value(tag),
					json_string_length(tag) });
		view_sb(link, "url", &sb);
		json_array_append_new(links, link);
	}
	view_bool(view, "has_tags", json_array_size(links) > 0);
	json_object_set_new_nocheck(view, "tag_links", links);
	view_bool(view, "vendor_url", false);
	if (page_str(view, "vendor").n > 0) {
		add_search_url(&sb, page_str(view, "vendor"));
		view_sb(view, "vendor_url", &sb);
	}
	view_optional(view, "vendor");
	view_optional(view, "type");
	view_bool(view, "has_details",
	    page_true(view, "has_tags") || page_str(view, "vendor").n > 0 ||
		page_str(view, "type").n > 0 || page_str(view, "sku").n > 0);
	strbuf_release(&sb);
}

static void
product_reviews(const struct page_ctx *ctx, json_t *view)
{
	json_t *reviews = json_object_get(view, "reviews");
	const json_t *rating = json_object_get(view, "rating");
	size_t n = json_array_size(reviews);
	char num[24];

	view_stars(ctx, view, rating);
	view_bool(view, "has_reviews", n > 0);
	view_bool(view, "newest_text", false);
	if (n > 0 && page_num(rating, "count", 0) > (int64_t)n) {
		snprintf(num, sizeof num, "%zu", n);
		view_text(ctx, view, "newest_text", TX_NEWEST_REVIEWS, "n",
		    span_of(num));
	}
	for (size_t i = 0; i < n; i++) {
		json_t *review = json_array_get(reviews, i);
		struct span author = page_str(review, "author");

		view_stars_of(ctx, review, page_num(review, "rating", 5));
		view_span(review, "who",
		    author.n > 0 ? author : span_of(ctx->text[TX_ANONYMOUS]));
		view_optional(review, "title");
		view_optional(review, "body");
		view_date(ctx, review, "date_text",
		    page_str(review, "createdAt"), TX_DATE);
	}
}

/* The summary is the description's beginning as plain text. Beside the picture
 * it stands only where the description has more to say. */
static void
product_lead(json_t *view)
{
	struct span summary = page_str(view, "summary");
	struct span description = page_str(view, "description");

	view_span(view, "lead",
	    description.n > 2 * summary.n ? summary : (struct span){ 0 });
	view_optional(view, "description");
}

static void
product_head(const struct page_ctx *ctx, json_t *view)
{
	const json_t *seo = json_object_get(view, "seo");
	const json_t *image =
	    json_array_get(json_object_get(view, "images"), 0);
	struct page_head head = { .og_type = "product", .site = true };
	char path[48];

	snprintf(path, sizeof path, "/products/%lld",
	    (long long)page_num(view, "id", 0));
	head.path = span_of(path);
	head.title = page_str(seo, "title");
	if (head.title.n == 0)
		head.title = page_str(view, "title");
	head.description = page_str(seo, "description");
	if (head.description.n == 0)
		head.description = page_str(view, "summary");
	if (head.description.n == 0)
		head.description = page_str(view, "title");
	head.image = page_str(image, "url");
	view_head(ctx, view, &head);
}

enum rc
page_product_view(const struct page_ctx *ctx, struct span product, json_t **out,
    struct err *e)
{
	char code[16]; /* outlives what is done to the record */
	struct span currency;
	struct strbuf sb;
	json_t *view;
	enum rc rc;

	if ((rc = page_parse(product, &view, e)) != RC_OK)
		return rc;
	currency = page_str(view, "currency");
	snprintf(code, sizeof code, "%s",
	    currency.n > 0 ? currency.p : ctx->currency);
	view_initial(view, page_str(view, "title"));
	product_images(ctx, view);
	product_variants(ctx, view, code);
	product_price(ctx, view, code);
	product_details(view);
	product_head(ctx, view);
	strbuf_init(&sb, 4096);
	jsonld_product(ctx, view, &sb); /* before reviews get their words */
	view_sb(view, "jsonld", &sb);
	strbuf_release(&sb);
	product_reviews(ctx, view);
	product_lead(view);
	*out = view;
	return RC_OK;
}

enum rc
page_product_show(const struct page_ctx *ctx, const json_t *view,
    struct strbuf *out, struct err *e)
{
	return page_show(ctx, "product", view, out, e);
}

enum rc
page_product_render(const struct page_ctx *ctx, struct span product,
    struct strbuf *out, struct err *e)
{
	json_t *view;
	enum rc rc;

	if ((rc = page_product_view(ctx, product, &view, e)) != RC_OK)
		return rc;
	return page_finish(ctx, "product", view, out, e);
}
