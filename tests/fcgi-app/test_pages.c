#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "fcgi-app/page.h"

static struct page_ctx *ctx;
static struct strbuf out;
static struct err e;

static const char *
source_dir(void)
{
	const char *dir = getenv("srcdir");

	return dir != NULL ? dir : ".";
}

static enum rc
load(const char *templates, const char *assets, const char *name,
    const char *currency)
{
	const struct page_opts opts = { .templates = templates,
		.assets = assets,
		.name = name,
		.base_url = "https://souk.example/",
		.currency = currency,
		.language = "en" };

	page_ctx_free(ctx);
	return page_ctx_load(&opts, &ctx, &e);
}

static void
setup(void)
{
	char dir[4096];

	ctx = NULL;
	strbuf_init(&out, 0);
	snprintf(dir, sizeof dir, "%s/templates", source_dir());
	ck_assert_msg(load(dir, NULL, "Souk", "USD") == RC_OK, "%s", e.msg);
}

static void
teardown(void)
{
	page_ctx_free(ctx);
	strbuf_release(&out);
}

/* A product with one variant; members may be replaced. */
static json_t *
a_product(void)
{
	json_t *product = json_pack(
	    "{s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:[],s:s,s:s,s:{s:i,s:i},s:[],"
	    "s:[{s:i,s:n,s:s,s:[],s:i,s:n,s:i,s:b,s:n}],s:[],s:{s:n,s:i},"
	    "s:[],s:i,s:b,s:{s:s,s:s},s:i,s:s,s:s}",
	    "id", 42, "handle", "mug", "title", "Blue mug", "description",
	    "<p>Thrown by hand.</p>", "summary", "Thrown by hand.", "vendor",
	    "", "type", "", "tags", "status", "active", "currency", "USD",
	    "price", "min", 2550, "max", 2550, "options", "variants", "id", 7,
	    "sku", "title", "Default", "options", "price", 2550,
	    "compareAtPrice", "stock", 9, "available", 1, "imageId", "images",
	    "rating", "average", "count", 0, "reviews", "stock", 9, "available",
	    1, "seo", "title", "", "description", "", "version", 1, "createdAt",
	    "2026-11-01T00:00:00Z", "updatedAt", "2026-11-01T00:00:00Z");

	ck_assert_ptr_nonnull(product);
	return product;
}

static json_t *
variant_of(json_t *product, size_t i)
{
	return json_array_get(json_object_get(product, "variants"), i);
}

/* Takes product. */
static const char *
page_of(json_t *product)
{
	char *s = json_dumps(product, JSON_COMPACT);

	strbuf_reset(&out);
	ck_assert_msg(page_product_render(ctx, span_of(s), &out, &e) == RC_OK,
	    "%s", e.msg);
	free(s);
	json_decref(product);
	return out.s;
}

static bool
has(const char *page, const char *what)
{
	return strstr(page, what) != NULL;
}

#define ck_has(page, what) ck_assert_msg(has(page, what), "no %s", what)
#define ck_has_not(page, what) ck_assert_msg(!has(page, what), "has %s", what)

/* What stands in the page's JSON-LD script; gives. */
static json_t *
jsonld_of(const char *page)
{
	static const char open[] = "<script type=\"application/ld+json\">";
	const char *from = strstr(page, open), *to;
	json_t *ld;

	ck_assert_ptr_nonnull(from);
	from += strlen(open);
	to = strstr(from, "</script>");
	ck_assert_ptr_nonnull(to);
	ld = json_loadb(from, (size_t)(to - from), 0, NULL);
	ck_assert_msg(ld != NULL, "JSON-LD does not parse");
	return ld;
}

static json_t *
ld_product(json_t *ld)
{
	return json_array_get(json_object_get(ld, "@graph"), 0);
}

static const char hostile[] = "</script><script>alert('x')</script>\"{{t.home}}"
			      "&<b>";

START_TEST(hostile_title_is_text_everywhere)
{
	json_t *product = a_product(), *ld;
	const char *page;

	json_object_set_new(product, "title", json_string(hostile));
	json_object_set_new(product, "vendor", json_string(hostile));
	json_object_set_new(product, "tags", json_pack("[s]", hostile));
	json_object_set_new(product, "images",
	    json_pack("[{s:i,s:s,s:s,s:n,s:n}]", "id", 1, "url",
		"https://p.example/\"><script>", "alt", hostile, "width",
		"height"));
	page = page_of(product);
	ck_has_not(page, "<script>");
	ck_has_not(page, "<b>");
	ck_has(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;"
		     "{{t.home}}&amp;&lt;b&gt;");
	ld = jsonld_of(page);
	ck_assert_str_eq(
	    json_string_value(json_object_get(ld_product(ld), "name")),
	    hostile);
	json_decref(ld);
}
END_TEST

START_TEST(picture_of_another_scheme_is_left_out)
{
	static const char *const urls[] = { "javascript:alert(1)",
		"data:image/png;base64,AAAA", "//evil.example/x.png", "x.png",
		"" };

	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		json_t *product = a_product();
		const char *page;

		json_object_set_new(product, "images",
		    json_pack("[{s:i,s:s,s:s,s:n,s:n}]", "id", 1, "url",
			urls[i], "alt", "", "width", "height"));
		page = page_of(product);
		ck_has_not(page, "<img");
		ck_has(page, "class=\"tile-letter\" role=\"img\"");
		ck_has(page, ">B</span>");
	}
}
END_TEST

/* As catalog.h says: two widths in two formats, and what cannot be named in a
 * srcset. */
static json_t *
pictures(void)
{
	static const char variants[] =
	    "[{\"format\":\"webp\",\"width\":320,\"height\":240,"
	    "\"url\":\"/media/a.webp\"},"
	    "{\"format\":\"avif\",\"width\":320,\"height\":240,"
	    "\"url\":\"/media/a.avif\"},"
	    "{\"format\":\"webp\",\"width\":640,\"height\":480,"
	    "\"url\":\"https://cdn.example/b&c.webp\"},"
	    "{\"format\":\"webp\",\"width\":800,\"height\":600,"
	    "\"url\":\"/media/a b.webp\"},"
	    "{\"format\":\"webp\",\"width\":900,\"height\":600,"
	    "\"url\":\"/media/a,b.webp\"},"
	    "{\"format\":\"webp\",\"width\":0,\"height\":0,"
	    "\"url\":\"/media/zero.webp\"},"
	    "{\"format\":\"webp\",\"width\":1280,\"height\":960,"
	    "\"url\":\"javascript:x.webp\"}]";
	json_t *first = json_pack("{s:i,s:s,s:s,s:i,s:i,s:o}", "id", 1, "url",
	    "https://cdn.example/b&c.webp", "alt", "", "width", 640, "height",
	    480, "variants", json_loads(variants, 0, NULL));
	json_t *second = json_pack("{s:i,s:s,s:s,s:n,s:n}", "id", 2, "url",
	    "https://p.example/x.jpg", "alt", "Side", "width", "height");

	return json_pack("[o,o]", first, second);
}

START_TEST(a_picture_with_variants_offers_them)
{
	json_t *product = a_product(), *ld;
	const char *page;

	json_object_set_new(product, "images", pictures());
	page = page_of(product);
	ck_has(page,
	    "<picture><source type=\"image/avif\" "
	    "srcset=\"/media/a.avif 320w\" sizes=\"(min-width: 76rem) "
	    "calc(38rem * 1.33), ");
	ck_has(page,
	    "<source type=\"image/webp\" srcset=\"/media/a.webp 320w, "
	    "https://cdn.example/b&amp;c.webp 640w\" sizes=\"");
	ck_has(page, "<img src=\"https://cdn.example/b&amp;c.webp\" "
		     "alt=\"Blue mug\" data-letter=\"B\" width=\"640\" "
		     "height=\"480\" fetchpriority=\"high\" "
		     "decoding=\"async\"></picture>");
	/* One that is somebody else's: as it is. */
	ck_has(page, "</span>\n<img src=\"https://p.example/x.jpg\" "
		     "alt=\"Side\" data-letter=\"B\" width=\"800\" "
		     "height=\"800\" loading=\"lazy\" "
		     "decoding=\"async\">\n");
	ld = jsonld_of(page);
	ck_assert_str_eq(
	    json_string_value(json_array_get(
		json_object_get(ld_product(ld), "image"), 0)),
	    "https://cdn.example/b&c.webp");
	json_decref(ld);
	ck_has(page, "<meta property=\"og:image\" "
		     "content=\"https://cdn.example/b&amp;c.webp\">");
}
END_TEST

START_TEST(the_first_picture_of_a_list_comes_first)
{
	const struct page_list all = { NULL, NULL };
	json_t *list = json_loads("{\"products\":[],\"next\":null}", 0, NULL);
	json_t *images = pictures();
	int lazy = 0, high = 0;
	char *text;

	for (int i = 1; i <= 6; i++)
		json_array_append_new(json_object_get(list, "products"),
		    json_pack("{s:i,s:s,s:s,s:{s:i,s:i},s:b,s:O}", "id", i,
			"title", "Mug", "currency", "USD", "price", "min", 1,
			"max", 1, "available", 1, "image",
			json_array_get(images, 0)));
	text = json_dumps(list, 0);
	ck_assert_int_eq(
	    page_list_render(ctx, &all, span_of(text), &out, &e), RC_OK);
	for (const char *p = out.s; (p = strstr(p, "<img ")) != NULL; p++) {
		const char *end = strchr(p, '>');
		const char *found = strstr(p, "loading=\"lazy\"");

		lazy += found != NULL && found < end;
		found = strstr(p, "fetchpriority=\"high\"");
		high += found != NULL && found < end;
	}
	ck_assert_int_eq(high, 1);
	ck_assert_int_eq(lazy, 2); /* four are in sight */
	ck_has(out.s, "<picture><source type=\"image/avif\"");
	free(text);
	json_decref(images);
	json_decref(list);
}
END_TEST

START_TEST(head_is_made_from_the_record)
{
	json_t *product = a_product();
	const char *page;

	json_object_set_new(product, "images",
	    json_pack("[{s:i,s:s,s:s,s:i,s:i}]", "id", 1, "url",
		"/media/mug.jpg", "alt", "", "width", 640, "height", 480));
	page = page_of(product);
	ck_has(page, "<title>Blue mug · Souk</title>");
	ck_has(page, "<link rel=\"canonical\" "
		     "href=\"https://souk.example/products/42\">");
	ck_has(page, "<meta name=\"description\" content=\"Thrown by hand.\">");
	ck_has(page, "<meta property=\"og:image\" "
		     "content=\"https://souk.example/media/mug.jpg\">");
	ck_has(page, "<meta property=\"product:price:amount\" "
		     "content=\"25.50\">");
	ck_has(page, "<img src=\"/media/mug.jpg\" alt=\"Blue mug\" "
		     "data-letter=\"B\" width=\"640\" height=\"480\" "
		     "fetchpriority=\"high\"");
	product = a_product();
	json_object_set_new(product, "seo",
	    json_pack("{s:s,s:s}", "title", "A mug", "description", "Is blue"));
	page = page_of(product);
	ck_has(page, "<title>A mug · Souk</title>");
	ck_has(page, "content=\"Is blue\"");
	ck_has(page, "<h1>Blue mug</h1>");
}
END_TEST

START_TEST(price_is_shown_and_what_it_was)
{
	json_t *product = a_product(), *ld, *offers;
	const char *page;

	json_object_set_new(
	    variant_of(product, 0), "compareAtPrice", json_integer(3000));
	page = page_of(product);
	ck_has(page, "<span class=\"now\">$25.50</span>");
	ck_has(page, "$30.00</s>");
	ck_has(page, "−15 %"); /* exactly 15 */
	ld = jsonld_of(page);
	offers = json_object_get(ld_product(ld), "offers");
	ck_assert_str_eq(
	    json_string_value(json_object_get(offers, "@type")), "Offer");
	ck_assert_str_eq(
	    json_string_value(json_object_get(offers, "price")), "25.50");
	json_decref(ld);

	/* A price that rose is no discount. */
	product = a_product();
	json_object_set_new(
	    variant_of(product, 0), "compareAtPrice", json_integer(2000));
	page = page_of(product);
	ck_has_not(page, "</s>");
	ck_has_not(page, "badge-cut");
}
END_TEST

START_TEST(currency_without_minor_units_has_no_decimals)
{
	json_t *product = a_product(), *ld;
	const char *page;

	json_object_set_new(product, "currency", json_string("KRW"));
	json_object_set_new(product, "price",
	    json_pack("{s:i,s:i}", "min", 12000, "max", 12000));
	page = page_of(product);
	ck_has(page, "₩12,000");
	ld = jsonld_of(page);
	ck_assert_str_eq(
	    json_string_value(json_object_get(
		json_object_get(ld_product(ld), "offers"), "price")),
	    "12000");
	json_decref(ld);
}
END_TEST

START_TEST(variants_are_a_table)
{
	json_t *product = a_product(), *ld, *offers;
	const char *page;

	json_object_set_new(product, "options",
	    json_pack("[{s:s,s:[s,s]},{s:s,s:[s]}]", "name", "Size", "values",
		"S", "L", "name", "Glaze", "values", "Ink"));
	json_object_set_new(product, "variants",
	    json_pack("[{s:i,s:s,s:s,s:[s,s],s:i,s:i,s:i,s:b},"
		      "{s:i,s:s,s:s,s:[s,s],s:i,s:n,s:i,s:b}]",
		"id", 7, "sku", "M-S", "title", "S / Ink", "options", "S",
		"Ink", "price", 2550, "compareAtPrice", 5100, "stock", 0,
		"available", 0, "id", 8, "sku", "M-L", "title", "L / Ink",
		"options", "L", "Ink", "price", 4000, "compareAtPrice", "stock",
		2, "available", 1));
	json_object_set_new(
	    product, "price", json_pack("{s:i,s:i}", "min", 2550, "max", 4000));
	page = page_of(product);
	ck_has(
	    page, "<th scope=\"col\">Size</th>\n<th scope=\"col\">Glaze</th>");
	ck_has(page, "<th scope=\"row\">S</th>\n<td>Ink</td>");
	ck_has(page, "From $25.50");
	ck_has(page, "<span class=\"stock stock-out\">Sold out</span>");
	ck_has(page, "<span class=\"stock stock-few\">Only 2 left</span>");
	ck_has_not(page, "badge-cut"); /* of which of the prices? */
	ld = jsonld_of(page);
	offers = json_object_get(ld_product(ld), "offers");
	ck_assert_str_eq(json_string_value(json_object_get(offers, "@type")),
	    "AggregateOffer");
	ck_assert_str_eq(
	    json_string_value(json_object_get(offers, "highPrice")), "40.00");
	json_decref(ld);
}
END_TEST

START_TEST(second_variant_does_not_show_what_the_first_cost)
{
	json_t *product = a_product();
	const char *page, *row;

	json_object_set_new(product, "options",
	    json_pack("[{s:s,s:[s,s]}]", "name", "Size", "values", "S", "L"));
	json_object_set_new(product, "variants",
	    json_pack(
		"[{s:s,s:[s],s:i,s:i,s:i,s:b},{s:s,s:[s],s:i,s:n,s:i,s:b}]",
		"title", "S", "options", "S", "price", 2550, "compareAtPrice",
		5100, "stock", 9, "available", 1, "title", "L", "options", "L",
		"price", 2550, "compareAtPrice", "stock", 9, "available", 1));
	page = page_of(product);
	row = strstr(page, "<th scope=\"row\">L</th>");
	ck_assert_ptr_nonnull(row);
	ck_has_not(row, "$51.00");
}
END_TEST

START_TEST(sold_out_is_said_to_people_and_machines)
{
	json_t *product = a_product();
	const char *page;

	json_object_set_new(product, "stock", json_integer(0));
	json_object_set_new(product, "available", json_false());
	page = page_of(product);
	ck_has(page, "<p class=\"stock stock-out\">Sold out</p>");
	ck_has(page, "https://schema.org/OutOfStock");
	ck_has_not(page, "https://schema.org/InStock");
}
END_TEST

START_TEST(no_review_is_no_rating)
{
	const char *page = page_of(a_product());

	ck_has(page, "No reviews yet.");
	ck_has_not(page, "class=\"stars");
	ck_has_not(page, "aggregateRating");
}
END_TEST

START_TEST(reviews_are_shown_with_their_stars)
{
	json_t *product = a_product(), *ld;
	const char *page;

	json_object_set_new(product, "rating",
	    json_pack("{s:f,s:i}", "average", 4.25, "count", 12));
	json_object_set_new(product, "reviews",
	    json_pack("[{s:i,s:s,s:i,s:s,s:s,s:s},{s:i,s:s,s:i,s:s,s:s,s:s}]",
		"id", 1, "author", "민지", "rating", 5, "title",
		"정말 <예뻐요>", "body", "색이 깊습니다.", "createdAt",
		"2026-11-03T10:00:00Z", "id", 2, "author", "", "rating", 1,
		"title", "", "body", "No.", "createdAt", "not a time"));
	page = page_of(product);
	ck_has(page, "정말 &lt;예뻐요&gt;");
	ck_has(page, "aria-label=\"5 out of 5 stars\"");
	ck_has(page, "stars s-2\" role=\"img\" aria-label=\"1 out of 5");
	ck_has(page, "<time datetime=\"2026-11-03T10:00:00Z\">3 November 2026");
	ck_has_not(page, "not a time\">");
	ck_has(page, "A customer");
	ck_has(page, "12 reviews. The 2 newest are shown.");
	ck_has(page, "stars s-9\""); /* 4.25 is nearer to 4.5 than to 4 */
	ld = jsonld_of(page);
	ck_assert_str_eq(
	    json_string_value(json_object_get(
		json_object_get(
		    json_array_get(
			json_object_get(ld_product(ld), "review"), 0),
		    "author"),
		"name")),
	    "민지");
	json_decref(ld);
}
END_TEST

START_TEST(record_that_breaks_its_contract_is_our_fault)
{
	static const char *const bad[] = { "", "[]", "{", "null",
		"{\"title\":\"\\ud800\"}" };

	strbuf_adds(&out, "before");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		ck_assert_int_eq(
		    page_product_render(ctx, span_of(bad[i]), &out, &e),
		    RC_FAIL);
		ck_assert_int_eq(
		    page_sale_render(ctx, span_of(bad[i]), 0, &out, &e),
		    RC_FAIL);
	}
	ck_assert_str_eq(out.s, "before");
	/* Members that are missing or of another type cost words, not the page.
	 */
	ck_assert_int_eq(
	    page_product_render(ctx,
		span_of("{\"id\":\"x\",\"variants\":7,\"images\":{},"
			"\"reviews\":[null],\"price\":[],\"tags\":[1]}"),
		&out, &e),
	    RC_OK);
}
END_TEST

static const char one_card[] =
    "{\"products\":[{\"id\":1,\"handle\":\"a\",\"title\":\"<Mug>\","
    "\"vendor\":\"\",\"currency\":\"USD\",\"price\":{\"min\":100,\"max\":100},"
    "\"compareAtPrice\":null,\"image\":null,\"available\":false,"
    "\"rating\":{\"average\":null,\"count\":0}}],\"next\":\"a b&c\"}";

START_TEST(list_has_cards_and_a_next_page)
{
	const struct page_list all = { NULL, NULL };

	ck_assert_int_eq(
	    page_list_render(ctx, &all, span_of(one_card), &out, &e), RC_OK);
	ck_has(out.s, "<a class=\"card-link\" href=\"/products/1\">");
	ck_has(out.s, "&lt;Mug&gt;");
	ck_has(out.s, "badge-out");
	ck_has(out.s, "href=\"/products?after=a%20b%26c\" rel=\"next\"");
	ck_has(out.s, "href=\"https://souk.example/products\"");
	ck_has_not(out.s, "noindex");
	ck_has_not(out.s, "rel=\"first\"");
	ck_has(out.s, "type=\"search\" value=\"\"");
}
END_TEST

START_TEST(search_keeps_its_words)
{
	const struct page_list query = { "tea & \"mugs\"", "c1" };

	ck_assert_int_eq(
	    page_list_render(ctx, &query, span_of(one_card), &out, &e), RC_OK);
	ck_has(out.s, "value=\"tea &amp; &quot;mugs&quot;\"");
	ck_has(out.s, "<h1>Results for “tea &amp; &quot;mugs&quot;”</h1>");
	ck_has(out.s, "href=\"/products?q=tea%20%26%20%22mugs%22&amp;"
		      "after=a%20b%26c\" rel=\"next\"");
	ck_has(
	    out.s, "href=\"/products?q=tea%20%26%20%22mugs%22\" rel=\"first\"");
	ck_has(out.s, "noindex, follow");
}
END_TEST

START_TEST(search_without_a_result_says_so)
{
	const struct page_list query = { "zzz", NULL };

	ck_assert_int_eq(
	    page_list_render(ctx, &query,
		span_of("{\"products\":[],\"next\":null}"), &out, &e),
	    RC_OK);
	ck_has(out.s, "Nothing matches “zzz”.");
	ck_has_not(out.s, "class=\"pager\"");
}
END_TEST

static const char sale[] =
    "{\"id\":7,\"title\":\"Big <sale>\",\"startsAt\":\"2026-11-20T18:00:00Z\","
    "\"endsAt\":\"2026-11-21T18:00:00Z\",\"currency\":\"USD\",\"items\":[{"
    "\"productId\":42,\"variantId\":7,\"title\":\"Mug\",\"variantTitle\":\"\","
    "\"price\":1000,\"regularPrice\":2550,\"allotment\":9,\"limit\":2,"
    "\"image\":null,"
    "\"state\":\"%s\",\"stock\":%s}],\"version\":1}";

START_TEST(sale_says_where_in_time_it_is)
{
	static const struct {
		const char *now, *state, *left, *class, *text;
	} cases[] = {
		{ "2026-11-20T17:59:59Z", "draft", "9", "sale-upcoming",
		    "Starts soon" },
		{ "2026-11-20T18:00:00Z", "open", "5", "sale-running",
		    "On now" },
		{ "2026-11-21T18:00:00Z", "open", "0", "sale-ended", "Ended" },
		{ "2026-11-20T19:00:00Z", "closed", "0", "sale-ended",
		    "Ended" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char record[1024];
		int64_t now;

		snprintf(
		    record, sizeof record, sale, cases[i].state, cases[i].left);
		ck_assert_int_eq(time_parse(cases[i].now, 0, &now), 0);
		strbuf_reset(&out);
		ck_assert_int_eq(
		    page_sale_render(ctx, span_of(record), now, &out, &e),
		    RC_OK);
		ck_has(out.s, cases[i].class);
		ck_has(out.s, cases[i].text);
		ck_has(out.s, "20 November 2026, 18:00 UTC</time>");
		ck_has(out.s, "Big &lt;sale&gt;");
		ck_has(out.s, "$25.50</s>");
		/* Closed is not sold out. */
		ck_assert_int_eq(has(out.s, "badge-out"),
		    strcmp(cases[i].left, "0") == 0 &&
			strcmp(cases[i].state, "open") == 0);
		ck_assert_int_eq(has(out.s, "9 pieces"),
		    strcmp(cases[i].state, "draft") == 0);
		ck_assert_int_eq(
		    has(out.s, "5 left"), strcmp(cases[i].left, "5") == 0);
		/* Closed early: the script must not open it again. */
		ck_assert_int_eq(has(out.s, "data-starts"),
		    strcmp(cases[i].state, "closed") != 0);
	}
}
END_TEST

START_TEST(error_page_needs_no_record)
{
	page_error_render(ctx, 404, "abc", &out);
	ck_has(out.s, "<h1>This page is not here</h1>");
	ck_has_not(out.s, "abc");
	strbuf_reset(&out);
	page_error_render(ctx, 503, "<id>", &out);
	ck_has(out.s, "<code>&lt;id&gt;</code>");
	strbuf_reset(&out);
	page_error_render(ctx, 418, NULL, &out);
	ck_has(out.s, "That request was not clear");
	strbuf_reset(&out);
	page_error_render(NULL, 500, "abc", &out);
	ck_has(out.s, "<!DOCTYPE html>");
}
END_TEST

START_TEST(home_and_robots_name_the_shop)
{
	json_t *ld;

	ck_assert_int_eq(
	    page_home_render(ctx, span_of(one_card), &out, &e), RC_OK);
	ck_has(out.s, "<title>Souk: ");
	ld = jsonld_of(out.s);
	ck_assert_str_eq(json_string_value(json_object_get(ld, "url")),
	    "https://souk.example/");
	json_decref(ld);
	strbuf_reset(&out);
	page_robots_render(ctx, &out);
	ck_has(out.s, "\nSitemap: https://souk.example/sitemap.xml\n");
}
END_TEST

START_TEST(sitemap_is_one_file_or_an_index)
{
	static const char data[] = "{\"files\":%d,\"products\":[{\"id\":9,"
				   "\"updatedAt\":\"2026-11-01T00:00:00Z\"}]}";
	char buf[200];

	snprintf(buf, sizeof buf, data, 1);
	ck_assert_int_eq(
	    page_sitemap_render(ctx, 0, span_of(buf), &out, &e), RC_OK);
	ck_has(out.s, "<loc>https://souk.example/products/9</loc>"
		      "<lastmod>2026-11-01T00:00:00Z</lastmod>");
	strbuf_reset(&out);
	snprintf(buf, sizeof buf, data, 2);
	ck_assert_int_eq(
	    page_sitemap_render(ctx, 0, span_of(buf), &out, &e), RC_OK);
	ck_has(out.s, "<loc>https://souk.example/sitemap-2.xml</loc>");
	ck_has_not(out.s, "/products/9");
	strbuf_reset(&out);
	ck_assert_int_eq(
	    page_sitemap_render(ctx, 2, span_of(buf), &out, &e), RC_OK);
	ck_has(out.s, "/products/9");
	ck_has_not(out.s, "<loc>https://souk.example/</loc>");
}
END_TEST

/* ---- loading */

static char folder[64];

static void
write_file(const char *name, const char *text)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

/* A folder of templates that each are one line, and the real texts. */
static void
given_templates(const char *product)
{
	static const char *const others[] = { "home.mustache", "list.mustache",
		"sale.mustache", "error.mustache", "cart.mustache",
		"cart_add.mustache", "checkout.mustache", "confirm.mustache",
		"order.mustache", "account.mustache", "login.mustache",
		"password_forgot.mustache", "password_reset.mustache",
		"register.mustache" };
	char command[8192];

	snprintf(folder, sizeof folder, "/tmp/souk-pages.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(command, sizeof command,
	    "cp '%s/templates/text.en.json' '%s' && chmod -R u+w '%s'",
	    source_dir(), folder, folder);
	ck_assert_int_eq(system(command), 0);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		write_file(others[i], "x");
	write_file("product.mustache", product);
}

static void
remove_templates(void)
{
	char command[200];

	snprintf(command, sizeof command, "rm -r '%s'", folder);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(constant_tags_are_filled_in_and_escaped)
{
	given_templates("{{ shop.name }}|{{{shop.name}}}|{{&t.home}}|"
			"{{assets.souk.css}}|{{assets.other.js}}|{{title}}");
	write_file("manifest.json", "{\"souk.css\":\"souk.abc.css\"}");
	ck_assert_msg(
	    load(folder, folder, "<{{title}}>", "USD") == RC_OK, "%s", e.msg);
	ck_assert_str_eq(page_of(a_product()),
	    "&lt;&#123;&#123;title}}&gt;|<&#123;&#123;title}}>|Home|"
	    "/static/souk.abc.css|/static/other.js|Blue mug");
	remove_templates();
}
END_TEST

static const struct {
	const char *template, *file, *text, *message;
} bad_loads[] = {
	{ "a\n{{t.prise}}", NULL, NULL,
	    "product.mustache:2: no text called t.prise" },
	{ "a\n{{#x}}", NULL, NULL, "product" },
	{ "{{>parts/gone}}", NULL, NULL, "parts/gone" },
	{ "x", "manifest.json", "{", "manifest.json:1" },
	{ "x", "text.en.json", "{}", "no text called" },
	{ "x", "text.en.json", "[]", "must be one JSON object" },
};

START_TEST(bad_template_or_text_is_refused_with_its_place)
{
	given_templates(bad_loads[_i].template);
	if (bad_loads[_i].file != NULL)
		write_file(bad_loads[_i].file, bad_loads[_i].text);
	ck_assert_int_eq(load(folder, folder, "Souk", "USD"), RC_INVALID);
	ck_assert_ptr_null(ctx);
	ck_assert_msg(has(e.msg, bad_loads[_i].message), "%s", e.msg);
	remove_templates();
}
END_TEST

/* What docs/templates.md promises a translator. */
START_TEST(another_language_needs_only_its_texts)
{
	struct page_opts opts = { .templates = folder,
		.name = "Souk",
		.base_url = "https://souk.example",
		.currency = "KRW",
		.language = "ko" };
	json_t *product = a_product(), *texts, *months;
	char path[200];

	given_templates("{{#reviews}}{{date_text}}{{/reviews}}|"
			"{{stars.count_text}}|{{shop.language}}");
	snprintf(path, sizeof path, "%s/text.en.json", folder);
	texts = json_load_file(path, 0, NULL);
	ck_assert_ptr_nonnull(texts);
	json_object_set_new(
	    texts, "date", json_string("{year}년 {month} {day}일"));
	json_object_set_new(
	    texts, "review_count_other", json_string("후기 {n}개"));
	months = json_object_get(texts, "months");
	json_array_set_new(months, 10, json_string("11월"));
	snprintf(path, sizeof path, "%s/text.ko.json", folder);
	ck_assert_int_eq(json_dump_file(texts, path, 0), 0);
	json_decref(texts);
	page_ctx_free(ctx);
	ck_assert_int_eq(page_ctx_load(&opts, &ctx, &e), RC_OK);
	json_object_set_new(product, "rating",
	    json_pack("{s:i,s:i}", "average", 5, "count", 2));
	json_object_set_new(product, "reviews",
	    json_pack("[{s:i,s:s,s:s}]", "rating", 5, "author", "민지",
		"createdAt", "2026-11-03T10:00:00Z"));
	ck_assert_str_eq(page_of(product), "2026년 11월 3일|후기 2개|ko");
	remove_templates();
}
END_TEST

START_TEST(missing_folder_or_language_is_refused)
{
	ck_assert_int_eq(load("/nonexistent", NULL, "Souk", "USD"), RC_FAIL);
	ck_assert_ptr_null(ctx);
	const struct page_opts opts = { .templates = "/tmp",
		.name = "Souk",
		.base_url = "http://x",
		.currency = "USD",
		.language = "../etc" };
	ck_assert_int_eq(page_ctx_load(&opts, &ctx, &e), RC_INVALID);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("pages");
	TCase *tc = tcase_create("render");
	TCase *files = tcase_create("load");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, hostile_title_is_text_everywhere);
	tcase_add_test(tc, picture_of_another_scheme_is_left_out);
	tcase_add_test(tc, a_picture_with_variants_offers_them);
	tcase_add_test(tc, the_first_picture_of_a_list_comes_first);
	tcase_add_test(tc, head_is_made_from_the_record);
	tcase_add_test(tc, price_is_shown_and_what_it_was);
	tcase_add_test(tc, currency_without_minor_units_has_no_decimals);
	tcase_add_test(tc, variants_are_a_table);
	tcase_add_test(tc, second_variant_does_not_show_what_the_first_cost);
	tcase_add_test(tc, sold_out_is_said_to_people_and_machines);
	tcase_add_test(tc, no_review_is_no_rating);
	tcase_add_test(tc, reviews_are_shown_with_their_stars);
	tcase_add_test(tc, record_that_breaks_its_contract_is_our_fault);
	tcase_add_test(tc, list_has_cards_and_a_next_page);
	tcase_add_test(tc, search_keeps_its_words);
	tcase_add_test(tc, search_without_a_result_says_so);
	tcase_add_test(tc, sale_says_where_in_time_it_is);
	tcase_add_test(tc, error_page_needs_no_record);
	tcase_add_test(tc, home_and_robots_name_the_shop);
	tcase_add_test(tc, sitemap_is_one_file_or_an_index);
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(files, setup, teardown);
	tcase_add_test(files, constant_tags_are_filled_in_and_escaped);
	tcase_add_loop_test(files,
	    bad_template_or_text_is_refused_with_its_place, 0,
	    (int)(sizeof bad_loads / sizeof *bad_loads));
	tcase_add_test(files, another_language_needs_only_its_texts);
	tcase_add_test(files, missing_folder_or_language_is_refused);
	suite_add_tcase(suite, files);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
