#include "fcgi-app/page_int.h"

#include <stdio.h>

#include "shop/money.h"

/*
 * schema.org as search engines read it ("Product snippet", "Merchant listing"
 * in Google's Search Central; BreadcrumbList; WebSite). Written by hand rather
 * than by json_dumps: strbuf_add_json writes '<' as \u003c, so no record can
 * end the <script> it stands in.
 */

static void
ld_value(struct strbuf *out, const char *before, struct span s)
{
	strbuf_adds(out, before);
	strbuf_addc(out, '"');
	strbuf_add_json(out, s.p, s.n);
	strbuf_addc(out, '"');
}

static void
ld_url(const struct page_ctx *ctx, struct strbuf *out, const char *before,
    struct span url)
{
	strbuf_adds(out, before);
	strbuf_addc(out, '"');
	if (span_starts(url, "/"))
		strbuf_add_json(out, ctx->base_url, strlen(ctx->base_url));
	strbuf_add_json(out, url.p, url.n);
	strbuf_addc(out, '"');
}

static void
ld_availability(struct strbuf *out, bool available)
{
	strbuf_adds(out, ",\"availability\":\"https://schema.org/");
	strbuf_adds(out, available ? "InStock\"" : "OutOfStock\"");
}

static void
ld_offers(const struct page_ctx *ctx, const json_t *product, struct strbuf *out,
    const char *path)
{
	const json_t *variants = json_object_get(product, "variants");
	const json_t *price = json_object_get(product, "price");
	struct span currency = page_str(product, "currency");
	const char *code = currency.n > 0 ? currency.p : ctx->currency;
	int64_t min = page_num(price, "min", 0);
	size_t n = json_array_size(variants);

	if (n > 1) {
		strbuf_adds(out, ",\"offers\":{\"@type\":\"AggregateOffer\","
				 "\"lowPrice\":\"");
		money_decimal(out, min, code);
		strbuf_adds(out, "\",\"highPrice\":\"");
		money_decimal(out, page_num(price, "max", min), code);
		strbuf_addf(out, "\",\"offerCount\":%zu", n);
	} else {
		strbuf_adds(
		    out, ",\"offers\":{\"@type\":\"Offer\",\"price\":\"");
		money_decimal(out, min, code);
		strbuf_adds(out, "\"");
	}
	ld_value(out, ",\"priceCurrency\":", span_of(code));
	ld_availability(out, page_true(product, "available"));
	ld_url(ctx, out, ",\"url\":", span_of(path));
	strbuf_addc(out, '}');
}

static void
ld_reviews(
    const struct page_ctx *ctx, const json_t *product, struct strbuf *out)
{
	const json_t *rating = json_object_get(product, "rating");
	const json_t *reviews = json_object_get(product, "reviews");
	int64_t count = page_num(rating, "count", 0);
	double average = json_number_value(json_object_get(rating, "average"));

	if (count <= 0)
		return;
	strbuf_addf(out,
	    ",\"aggregateRating\":{\"@type\":\"AggregateRating\","
	    "\"ratingValue\":\"%.1f\",\"reviewCount\":%lld,"
	    "\"bestRating\":5,\"worstRating\":1}",
	    average, (long long)count);
	if (json_array_size(reviews) == 0)
		return;
	strbuf_adds(out, ",\"review\":[");
	for (size_t i = 0; i < json_array_size(reviews); i++) {
		const json_t *review = json_array_get(reviews, i);
		struct span author = page_str(review, "author");
		struct span at = page_str(review, "createdAt");

		strbuf_addf(out,
		    "%s{\"@type\":\"Review\",\"reviewRating\":{\"@type\":"
		    "\"Rating\",\"ratingValue\":%lld,\"bestRating\":5}",
		    i > 0 ? "," : "", (long long)page_num(review, "rating", 5));
		ld_value(out, ",\"author\":{\"@type\":\"Person\",\"name\":",
		    author.n > 0 ? author : span_of(ctx->text[TX_ANONYMOUS]));
		strbuf_addc(out, '}');
		if (page_str(review, "title").n > 0)
			ld_value(out, ",\"name\":", page_str(review, "title"));
		if (page_str(review, "body").n > 0)
			ld_value(
			    out, ",\"reviewBody\":", page_str(review, "body"));
		if (at.n >= 10) {
			ld_value(out,
			    ",\"datePublished\":", (struct span){ at.p, 10 });
		}
		strbuf_addc(out, '}');
	}
	strbuf_addc(out, ']');
}

static void
ld_crumb(const struct page_ctx *ctx, struct strbuf *out, int position,
    struct span name, const char *path)
{
	strbuf_addf(out, "%s{\"@type\":\"ListItem\",\"position\":%d",
	    position > 1 ? "," : "", position);
	ld_value(out, ",\"name\":", name);
	ld_url(ctx, out, ",\"item\":", span_of(path));
	strbuf_addc(out, '}');
}

void
jsonld_product(
    const struct page_ctx *ctx, const json_t *product, struct strbuf *out)
{
	const json_t *images = json_object_get(product, "images");
	struct span summary = page_str(product, "summary");
	char path[48];

	snprintf(path, sizeof path, "/products/%lld",
	    (long long)page_num(product, "id", 0));
	strbuf_adds(out, "{\"@context\":\"https://schema.org\",\"@graph\":["
			 "{\"@type\":\"Product\"");
	ld_url(ctx, out, ",\"@id\":", span_of(path));
	ld_url(ctx, out, ",\"url\":", span_of(path));
	ld_value(out, ",\"name\":", page_str(product, "title"));
	if (summary.n > 0)
		ld_value(out, ",\"description\":", summary);
	if (page_str(product, "vendor").n > 0) {
		ld_value(out, ",\"brand\":{\"@type\":\"Brand\",\"name\":",
		    page_str(product, "vendor"));
		strbuf_addc(out, '}');
	}
	if (page_str(product, "type").n > 0)
		ld_value(out, ",\"category\":", page_str(product, "type"));
	if (page_str(product, "sku").n > 0)
		ld_value(out, ",\"sku\":", page_str(product, "sku"));
	if (json_array_size(images) > 0) {
		for (size_t i = 0; i < json_array_size(images); i++)
			ld_url(ctx, out, i == 0 ? ",\"image\":[" : ",",
			    page_str(json_array_get(images, i), "url"));
		strbuf_addc(out, ']');
	}
	ld_offers(ctx, product, out, path);
	ld_reviews(ctx, product, out);
	strbuf_adds(
	    out, "},{\"@type\":\"BreadcrumbList\",\"itemListElement\":[");
	ld_crumb(ctx, out, 1, span_of(ctx->text[TX_HOME]), "/");
	ld_crumb(ctx, out, 2, span_of(ctx->text[TX_LIST_TITLE]), "/products");
	ld_crumb(ctx, out, 3, page_str(product, "title"), path);
	strbuf_adds(out, "]}]}");
}

void
jsonld_site(const struct page_ctx *ctx, struct strbuf *out)
{
	strbuf_adds(out, "{\"@context\":\"https://schema.org\",\"@type\":"
			 "\"WebSite\"");
	ld_value(out, ",\"name\":", span_of(ctx->name));
	ld_url(ctx, out, ",\"url\":", span_of("/"));
	ld_url(ctx, out,
	    ",\"potentialAction\":{\"@type\":\"SearchAction\",\"target\":"
	    "{\"@type\":\"EntryPoint\",\"urlTemplate\":",
	    span_of("/products?q={q}"));
	strbuf_adds(out, "},\"query-input\":\"required name=q\"}}");
}
