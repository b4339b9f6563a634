#include "fcgi-app/page_int.h"

#include <stdio.h>
#include <string.h>

#include "base/mustache.h"
#include "base/text.h"
#include "shop/money.h"

/*
 * All strings here come from a record (jansson has checked their UTF-8) or
 * from texts (checked at loading), so the _nocheck functions are used: this is
 * the hot path of a page that is not in the cache.
 */

void
page_fill(struct strbuf *out, const char *pattern, int n,
    const struct page_arg args[])
{
	const char *open, *close;

	for (; (open = strchr(pattern, '{')) != NULL; pattern = close + 1) {
		struct span name;
		int i;

		strbuf_add(out, pattern, (size_t)(open - pattern));
		pattern = open;
		if ((close = strchr(open, '}')) == NULL)
			break;
		name = (struct span){ open + 1, (size_t)(close - open - 1) };
		for (i = 0; i < n && !span_is(name, args[i].name); i++)
			;
		if (i < n)
			strbuf_addspan(out, args[i].value);
		else
			strbuf_add(out, open, name.n + 2);
	}
	strbuf_adds(out, pattern);
}

/* ---- reading */

enum rc
page_parse(struct span record, json_t **out, struct err *e)
{
	json_error_t je;

	*out = json_loadb(record.p, record.n, 0, &je);
	if (*out == NULL) {
		return err_set(e, RC_FAIL, "bad_record",
		    "record at byte %d: %s", je.position, je.text);
	}
	if (json_is_object(*out))
		return RC_OK;
	json_decref(*out);
	*out = NULL;
	return err_set(e, RC_FAIL, "bad_record", "record is not an object");
}

struct span
page_str(const json_t *obj, const char *key)
{
	const json_t *value = json_object_get(obj, key);

	if (!json_is_string(value))
		return (struct span){ "", 0 };
	return (
	    struct span){ json_string_value(value), json_string_length(value) };
}

int64_t
page_num(const json_t *obj, const char *key, int64_t dflt)
{
	const json_t *value = json_object_get(obj, key);

	return json_is_integer(value) ? json_integer_value(value) : dflt;
}

bool
page_true(const json_t *obj, const char *key)
{
	return json_is_true(json_object_get(obj, key));
}

/* ---- adding */

void
view_str(json_t *obj, const char *key, const char *s, size_t n)
{
	json_object_set_new_nocheck(obj, key, json_stringn_nocheck(s, n));
}

void
view_span(json_t *obj, const char *key, struct span s)
{
	view_str(obj, key, s.n == 0 ? "" : s.p, s.n);
}

void
view_sb(json_t *obj, const char *key, struct strbuf *sb)
{
	view_str(obj, key, sb->s, sb->len);
	strbuf_reset(sb);
}

void
view_bool(json_t *obj, const char *key, bool b)
{
	json_object_set_new_nocheck(obj, key, json_boolean(b));
}

void
view_num(json_t *obj, const char *key, int64_t n)
{
	json_object_set_new_nocheck(obj, key, json_integer(n));
}

void
view_optional(json_t *obj, const char *key)
{
	if (!json_is_string(json_object_get(obj, key)))
		view_str(obj, key, "", 0);
}

void
view_text(const struct page_ctx *ctx, json_t *obj, const char *key,
    enum page_text text, const char *arg, struct span value)
{
	const struct page_arg args[] = { { arg, value } };
	struct strbuf sb;

	strbuf_init(&sb, 64);
	page_fill(&sb, ctx->text[text], 1, args);
	view_sb(obj, key, &sb);
	strbuf_release(&sb);
}

static void
view_text_num(const struct page_ctx *ctx, json_t *obj, const char *key,
    enum page_text text, int64_t n)
{
	char num[24];

	snprintf(num, sizeof num, "%lld", (long long)n);
	view_text(ctx, obj, key, text, "n", span_of(num));
}

void
view_count(const struct page_ctx *ctx, json_t *obj, const char *key,
    enum page_text one, enum page_text other, int64_t n)
{
	view_text_num(ctx, obj, key, n == 1 ? one : other, n);
}

/* ---- money */

void
view_price(json_t *obj, const char *key, int64_t minor, const char *currency)
{
	struct strbuf sb;

	strbuf_init(&sb, 24);
	money_format(&sb, minor, currency);
	view_sb(obj, key, &sb);
	strbuf_release(&sb);
}

void
view_before(const struct page_ctx *ctx, json_t *obj, int64_t price,
    int64_t compare_at, const char *currency)
{
	/* Rounded down, so that nothing is called cheaper than it is; at most
	 * MONEY_MAX * 100, far below an int64_t's bound. */
	int64_t cut =
	    compare_at > price ? (compare_at - price) * 100 / compare_at : 0;

	if (compare_at > price)
		view_price(obj, "before", compare_at, currency);
	else
		view_bool(obj, "before", false);
	if (cut > 0)
		view_text_num(ctx, obj, "discount", TX_DISCOUNT, cut);
	else
		view_bool(obj, "discount", false);
}

/* ---- stars */

static void
stars_label(const struct page_ctx *ctx, json_t *obj, const char *number)
{
	view_text(
	    ctx, obj, "label", TX_RATING_LABEL, "rating", span_of(number));
}

void
view_stars(const struct page_ctx *ctx, json_t *obj, const json_t *rating)
{
	int64_t count = page_num(rating, "count", 0);
	double average = json_number_value(json_object_get(rating, "average"));
	char number[16];
	json_t *stars;

	if (count <= 0 || !(average >= 1.0 && average <= 5.0)) {
		view_bool(obj, "stars", false);
		return;
	}
	stars = json_object();
	snprintf(number, sizeof number, "%.1f", average);
	view_str(stars, "average", number, strlen(number));
	view_num(stars, "half", (int64_t)(average * 2.0 + 0.5));
	view_num(stars, "count", count);
	stars_label(ctx, stars, number);
	view_count(ctx, stars, "count_text", TX_REVIEW_COUNT_ONE,
	    TX_REVIEW_COUNT_OTHER, count);
	json_object_set_new_nocheck(obj, "stars", stars);
}

void
view_stars_of(const struct page_ctx *ctx, json_t *obj, int64_t rating)
{
	char number[2] = { '1', '\0' };

	if (rating < 1)
		rating = 1;
	if (rating > 5)
		rating = 5;
	number[0] = (char)('0' + rating);
	view_num(obj, "half", rating * 2);
	stars_label(ctx, obj, number);
}

/* ---- pictures */

static bool
is_word(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z') || c >= 0x80;
}

void
view_initial(json_t *obj, struct span title)
{
	size_t i = 0, n;

	while (i < title.n && !is_word((unsigned char)title.p[i]))
		i++;
	n = i < title.n ? utf8_sequence(title.p + i, title.n - i) : 0;
	if (n == 1 && title.p[i] >= 'a' && title.p[i] <= 'z') {
		char upper = (char)(title.p[i] - 'a' + 'A');

		view_str(obj, "initial", &upper, 1);
	} else {
		view_str(obj, "initial", title.p + i, n);
	}
}

/* An address that a page may name. */
static bool
is_picture_url(struct span url)
{
	return span_starts(url, "https://") || span_starts(url, "http://") ||
	       (span_starts(url, "/") && !span_starts(url, "//"));
}

/* In a srcset, where blanks and commas part the candidates, too. */
static bool
is_candidate(const json_t *variant, const char *format)
{
	struct span url = page_str(variant, "url");

	return span_is(page_str(variant, "format"), format) &&
	       page_num(variant, "width", 0) > 0 && is_picture_url(url) &&
	       strcspn(url.p, ", \t\r\n\f") == url.n;
}

/* "/a.320.webp 320w, /a.640.webp 640w" as a member of sources, or false. */
static bool
view_srcset(json_t *sources, const json_t *variants, const char *format)
{
	struct strbuf sb;
	bool some;

	strbuf_init(&sb, 512);
	for (size_t i = 0; i < json_array_size(variants); i++) {
		const json_t *v = json_array_get(variants, i);

		if (!is_candidate(v, format))
			continue;
		if (sb.len > 0)
			strbuf_adds(&sb, ", ");
		strbuf_addspan(&sb, page_str(v, "url"));
		strbuf_addf(&sb, " %lldw", (long long)page_num(v, "width", 0));
	}
	some = sb.len > 0;
	if (some)
		view_sb(sources, format, &sb);
	else
		view_bool(sources, format, false);
	strbuf_release(&sb);
	return some;
}

bool
view_image(json_t *image)
{
	const json_t *variants = json_object_get(image, "variants");
	int64_t w = page_num(image, "width", 0);
	int64_t h = page_num(image, "height", 0);
	json_t *sources = json_object();
	bool avif = view_srcset(sources, variants, "avif");
	bool webp = view_srcset(sources, variants, "webp");
	char cover[32];

	/* It covers a square: how much wider than that it is drawn. */
	(void)snprintf(cover, sizeof cover, "%.2f",
	    w > h && h > 0 ? (double)w / (double)h : 1.0);
	view_span(sources, "cover", span_of(cover));
	if (avif || webp)
		json_object_set_nocheck(image, "sources", sources);
	else
		view_bool(image, "sources", false);
	json_decref(sources);
	view_num(image, "w", w > 0 ? w : 800);
	view_num(image, "h", h > 0 ? h : 800);
	return is_picture_url(page_str(image, "url"));
}

void
view_loading(json_t *obj, bool eager, bool first)
{
	view_bool(obj, "eager", eager);
	view_bool(obj, "first", first);
}

void
add_absolute(const struct page_ctx *ctx, struct strbuf *out, struct span url)
{
	if (span_starts(url, "/"))
		strbuf_adds(out, ctx->base_url);
	strbuf_addspan(out, url);
}

void
add_search_url(struct strbuf *out, struct span q)
{
	strbuf_adds(out, "/products?q=");
	strbuf_add_urlarg(out, q.p, q.n);
}

/* ---- dates */

static bool
digits(const char *s, int n, int *out)
{
	*out = 0;
	for (; n > 0; n--, s++) {
		if (*s < '0' || *s > '9')
			return false;
		*out = *out * 10 + (*s - '0');
	}
	return true;
}

/* The contract's times are UTC, so what is written there is what is shown. */
void
view_date(const struct page_ctx *ctx, json_t *obj, const char *key,
    struct span rfc3339, enum page_text pattern)
{
	int year, month, day, hour, minute;
	struct page_arg args[4];
	struct strbuf sb;
	char day_s[4];

	if (rfc3339.n < 20 || !digits(rfc3339.p, 4, &year) ||
	    !digits(rfc3339.p + 5, 2, &month) || month < 1 || month > 12 ||
	    !digits(rfc3339.p + 8, 2, &day) || day < 1 || day > 31 ||
	    !digits(rfc3339.p + 11, 2, &hour) ||
	    !digits(rfc3339.p + 14, 2, &minute)) {
		view_bool(obj, key, false);
		return;
	}
	snprintf(day_s, sizeof day_s, "%d", day % 100);
	args[0] = (struct page_arg){ "day", span_of(day_s) };
	args[1] = (struct page_arg){ "month", span_of(ctx->month[month - 1]) };
	args[2] = (struct page_arg){ "year", { rfc3339.p, 4 } };
	args[3] = (struct page_arg){ "time", { rfc3339.p + 11, 5 } };
	strbuf_init(&sb, 64);
	page_fill(&sb, ctx->text[pattern], 4, args);
	view_sb(obj, key, &sb);
	strbuf_release(&sb);
}

/* ---- cards */

static void
card_price(const struct page_ctx *ctx, json_t *item)
{
	const json_t *price = json_object_get(item, "price");
	struct span currency = page_str(item, "currency");
	const char *code = currency.n > 0 ? currency.p : ctx->currency;
	int64_t min = page_num(price, "min", 0);
	int64_t max = page_num(price, "max", min);

	if (max > min) {
		struct strbuf sb;

		strbuf_init(&sb, 24);
		money_format(&sb, min, code);
		view_text(ctx, item, "price_text", TX_FROM_PRICE, "price",
		    strbuf_span(&sb));
		strbuf_release(&sb);
		/* Which of the prices was crossed out? Nobody could tell. */
		view_before(ctx, item, min, 0, code);
		return;
	}
	view_price(item, "price_text", min, code);
	view_before(ctx, item, min, page_num(item, "compareAtPrice", 0), code);
}

void
view_card(const struct page_ctx *ctx, json_t *item)
{
	json_t *image = json_object_get(item, "image");
	char url[48];

	snprintf(url, sizeof url, "/products/%lld",
	    (long long)page_num(item, "id", 0));
	view_str(item, "url", url, strlen(url));
	view_initial(item, page_str(item, "title"));
	view_optional(item, "vendor");
	view_bool(item, "sold_out", !page_true(item, "available"));
	if (image == NULL || !json_is_object(image) || !view_image(image))
		view_bool(item, "image", false);
	card_price(ctx, item);
	view_stars(ctx, item, json_object_get(item, "rating"));
}

size_t
view_cards(const struct page_ctx *ctx, json_t *view, size_t eager)
{
	json_t *products = json_object_get(view, "products");
	size_t n = json_array_size(products);

	for (size_t i = 0; i < n; i++) {
		json_t *item = json_array_get(products, i);

		view_card(ctx, item);
		view_loading(item, i < eager, i == 0 && eager > 0);
	}
	view_bool(view, "has_products", n > 0);
	return n;
}

/* ---- head and end */

void
view_head(
    const struct page_ctx *ctx, json_t *view, const struct page_head *head)
{
	json_t *page = json_object();
	struct strbuf sb;

	strbuf_init(&sb, 128);
	strbuf_addspan(&sb, head->title);
	if (head->site) {
		strbuf_adds(&sb, " · ");
		strbuf_adds(&sb, ctx->name);
	}
	view_sb(page, "title", &sb);
	view_span(page, "og_title", head->title);
	view_span(page, "description", head->description);
	view_optional(page, "description");
	view_bool(page, "noindex", head->noindex);
	view_bool(page, "canonical", false);
	view_bool(page, "image", false);
	if (head->path.n > 0) {
		strbuf_adds(&sb, ctx->base_url);
		strbuf_addspan(&sb, head->path);
		view_sb(page, "canonical", &sb);
	}
	if (head->image.n > 0) {
		add_absolute(ctx, &sb, head->image);
		view_sb(page, "image", &sb);
	}
	view_span(page, "og_type",
	    span_of(head->og_type != NULL ? head->og_type : "website"));
	json_object_set_new_nocheck(view, "page", page);
	strbuf_release(&sb);
}

enum rc
page_show(const struct page_ctx *ctx, const char *name, const json_t *view,
    struct strbuf *out, struct err *e)
{
	const json_t *stack[] = { ctx->globals, view };

	return mustache_render(ctx->set, name, 2, stack, out, e);
}

enum rc
page_finish(const struct page_ctx *ctx, const char *name, json_t *view,
    struct strbuf *out, struct err *e)
{
	enum rc rc = page_show(ctx, name, view, out, e);

	json_decref(view);
	return rc;
}
