/*
 * JSON Lines: a product a line, in the shape of import.h. Unknown members are
 * passed over; a member of the wrong type is a fault.
 */
#include "shop/import_int.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "shop/money.h"

enum { MAX_LINE = 8 << 20 };

static const struct import_names names = {
	.handle = "handle",
	.title = "title",
	.description = "description",
	.vendor = "vendor",
	.type = "type",
	.tags = "tags",
	.option = "variants.options",
	.sku = "variants.sku",
	.price = "variants.compareAtPrice",
	.barcode = "variants.barcode",
	.image = "images.url",
	.alt = "images.alt",
	.seo_title = "seo.title",
	.seo_description = "seo.description",
	.review = "reviews",
};

/* The value as a string in the arena; "" where it is absent or null. */
static const char *
text_of(struct import *im, int64_t line, const char *name, const json_t *v)
{
	if (v == NULL || json_is_null(v))
		return "";
	if (!json_is_string(v)) {
		import_wrong(im, line, name, "must be a string");
		return "";
	}
	if (strlen(json_string_value(v)) != json_string_length(v)) {
		import_wrong(im, line, name, "holds a NUL: remove it");
		return "";
	}
	return arena_strdup(im->arena, json_string_value(v));
}

static const char *
member(struct import *im, int64_t line, const json_t *o, const char *name,
    const char *shown)
{
	return text_of(im, line, shown, json_object_get(o, name));
}

/* Absent or null: *out is left alone. */
static void
number(struct import *im, int64_t line, const json_t *v, const char *shown,
    int64_t min, int64_t max, int64_t *out)
{
	if (v == NULL || json_is_null(v))
		return;
	if (!json_is_integer(v) || json_integer_value(v) < min ||
	    json_integer_value(v) > max)
		import_wrong(im, line, shown,
		    "must be a whole number from %lld to %lld", (long long)min,
		    (long long)max);
	else
		*out = json_integer_value(v);
}

/* An array or nothing: NULL. */
static const json_t *
list(struct import *im, int64_t line, const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);

	if (v == NULL || json_is_null(v))
		return NULL;
	if (!json_is_array(v)) {
		import_wrong(im, line, name, "must be an array");
		return NULL;
	}
	return v;
}

static void
read_names(struct import *im, struct import_product *p, const json_t *o)
{
	const json_t *tags = list(im, p->line, o, "tags"), *v;
	const json_t *options = list(im, p->line, o, "options");
	size_t i;

	json_array_foreach(tags, i, v)
	{
		const char *tag = text_of(im, p->line, "tags", v);

		if (tag[0] == '\0')
			continue;
		if (p->n_tags == IMPORT_MAX_TAGS) {
			import_wrong(im, p->line, "tags", "more than %d",
			    IMPORT_MAX_TAGS);
			break;
		}
		p->tag[p->n_tags++] = tag;
	}
	json_array_foreach(options, i, v)
	{
		if (p->n_options == IMPORT_MAX_OPTIONS) {
			import_wrong(im, p->line, "options", "more than %d",
			    IMPORT_MAX_OPTIONS);
			break;
		}
		if (json_is_object(v))
			v = json_object_get(v, "name");
		p->option[p->n_options++] = text_of(im, p->line, "options", v);
	}
}

static void
read_variant(struct import *im, struct import_product *p, const json_t *o)
{
	struct import_variant *v = import_more_variant(im, p, p->line);
	const json_t *options = list(im, p->line, o, "options"), *option;
	const char *sku, *image;
	size_t i;

	if (v == NULL)
		return;
	if (!json_is_integer(json_object_get(o, "price")))
		import_wrong(im, p->line, "variants.price",
		    "must be a whole number of the currency's smallest unit"
		    " (1250 for 12.50)");
	number(im, p->line, json_object_get(o, "price"), "variants.price", 0,
	    MONEY_MAX, &v->price);
	number(im, p->line, json_object_get(o, "compareAtPrice"),
	    "variants.compareAtPrice", 0, MONEY_MAX, &v->compare_at);
	number(im, p->line, json_object_get(o, "stock"), "variants.stock", 0,
	    IMPORT_MAX_STOCK, &v->stock);
	number(im, p->line, json_object_get(o, "grams"), "variants.grams", 0,
	    1000000000, &v->grams);
	sku = member(im, p->line, o, "sku", "variants.sku");
	v->sku = sku[0] == '\0' ? NULL : sku;
	v->barcode = member(im, p->line, o, "barcode", "variants.barcode");
	image = member(im, p->line, o, "image", "variants.image");
	v->image = image[0] == '\0' ? NULL : image;
	json_array_foreach(options, i, option)
	{
		if (v->n_options == IMPORT_MAX_OPTIONS)
			break; /* more than the product has: noted later */
		v->option[v->n_options++] =
		    text_of(im, p->line, "variants.options", option);
	}
}

static void
read_image(struct import *im, struct import_product *p, const json_t *o)
{
	const char *src = member(im, p->line, o, "url", "images.url");
	int before = p->n_images;

	import_add_image(im, p, p->line, src,
	    member(im, p->line, o, "alt", "images.alt"), 0);
	if (p->n_images == before)
		return;
	struct import_image *image = &p->image[before];

	number(im, p->line, json_object_get(o, "width"), "images.width", 1,
	    100000, &image->width);
	number(im, p->line, json_object_get(o, "height"), "images.height", 1,
	    100000, &image->height);
	if (image->width == 0 || image->height == 0)
		image->width = image->height = 0; /* both or none */
}

static void
read_review(struct import *im, struct import_product *p, const json_t *o)
{
	struct import_review *r = import_more_review(im, p, p->line);
	int64_t ms;

	if (r == NULL)
		return;
	r->author = member(im, p->line, o, "author", "reviews.author");
	r->title = member(im, p->line, o, "title", "reviews.title");
	r->body = member(im, p->line, o, "body", "reviews.body");
	number(im, p->line, json_object_get(o, "rating"), "reviews.rating", 1,
	    5, &r->rating);
	r->created_at =
	    member(im, p->line, o, "createdAt", "reviews.createdAt");
	if (r->created_at[0] == '\0')
		r->created_at = NULL;
	else if (strlen(r->created_at) < 20 ||
		 time_parse(r->created_at, 0, &ms) != 0)
		import_wrong(im, p->line, "reviews.createdAt",
		    "\"%.40s\" is not a time such as 2026-01-31T09:00:00Z",
		    r->created_at);
}

/* Objects of an array, each read by fn. */
static void
each(struct import *im, struct import_product *p, const json_t *o,
    const char *name,
    void (*fn)(struct import *, struct import_product *, const json_t *))
{
	const json_t *array = list(im, p->line, o, name), *v;
	size_t i;

	json_array_foreach(array, i, v)
	{
		if (json_is_object(v))
			fn(im, p, v);
		else
			import_wrong(im, p->line, name, "must hold objects");
	}
}

static void
read_head(struct import *im, struct import_product *p, const json_t *o)
{
	const json_t *seo = json_object_get(o, "seo");
	const char *currency = member(im, p->line, o, "currency", "currency");

	p->key = p->handle = member(im, p->line, o, "handle", "handle");
	p->title = member(im, p->line, o, "title", "title");
	p->description = member(im, p->line, o, "description", "description");
	p->vendor = member(im, p->line, o, "vendor", "vendor");
	p->type = member(im, p->line, o, "type", "type");
	p->status = member(im, p->line, o, "status", "status");
	if (p->status[0] == '\0')
		p->status = "active";
	if (strcmp(p->status, "active") != 0 &&
	    strcmp(p->status, "draft") != 0 &&
	    strcmp(p->status, "archived") != 0)
		import_wrong(im, p->line, "status",
		    "\"%.40s\" is none of active, draft, archived", p->status);
	if (currency[0] != '\0' && strcmp(currency, im->currency) != 0)
		import_wrong(im, p->line, "currency",
		    "the prices are in %.10s, the shop sells in %s: convert"
		    " them, or set [shop] currency",
		    currency, im->currency);
	if (seo != NULL && !json_is_object(seo) && !json_is_null(seo))
		import_wrong(im, p->line, "seo", "must be an object");
	p->seo_title = member(im, p->line, seo, "title", "seo.title");
	p->seo_description =
	    member(im, p->line, seo, "description", "seo.description");
}

static enum rc
read_line(
    struct import *im, int64_t line, const struct strbuf *text, struct err *e)
{
	struct import_product *p = arena_calloc(im->arena, 1, sizeof *p);
	json_error_t why;
	json_t *o =
	    json_loadb(text->s, text->len, JSON_REJECT_DUPLICATES, &why);

	p->line = line;
	if (!json_is_object(o)) {
		import_wrong(im, line, NULL,
		    o == NULL ? "not JSON near column %d: %s"
			      : "not a JSON object: one product a line",
		    why.column, why.text);
		json_decref(o);
		return RC_OK;
	}
	read_head(im, p, o);
	read_names(im, p, o);
	each(im, p, o, "variants", read_variant);
	each(im, p, o, "images", read_image);
	each(im, p, o, "reviews", read_review);
	json_decref(o);
	/* A picture that only a variant names is one of the product's too. */
	for (int i = 0; i < p->n_variants; i++) {
		if (p->variant[i].image != NULL)
			import_add_image(
			    im, p, line, p->variant[i].image, "", 0);
	}
	return import_give(im, p, e);
}

static bool
is_blank(const struct strbuf *text)
{
	return text->s[strspn(text->s, " \t\r")] == '\0';
}

enum rc
import_read_jsonl(struct import *im, struct err *e)
{
	struct strbuf text;
	char buf[65536];
	int64_t line = 1;
	enum rc rc = RC_OK;
	ssize_t n = 1;

	im->names = &names;
	strbuf_init(&text, 8192);
	while (rc == RC_OK && n > 0 && !import_enough(im)) {
		n = import_read_bytes(im, buf, sizeof buf);
		if (n < 0) {
			rc = err_set(e, RC_FAIL, "unreadable",
			    "%s: cannot be read: %s", im->file,
			    strerror(errno));
			break;
		}
		for (ssize_t i = 0; i < n || (n == 0 && i == 0);) {
			const char *end =
			    memchr(buf + i, '\n', (size_t)(n - i));
			ssize_t stop = end == NULL ? n : end - buf;

			strbuf_add(&text, buf + i, (size_t)(stop - i));
			i = stop + 1;
			if (text.len > MAX_LINE) {
				import_wrong(im, line, NULL,
				    "a line of more than 8 MiB: one product"
				    " a line");
				goto out;
			}
			if (end == NULL && n > 0)
				break;
			if (!is_blank(&text))
				rc = read_line(im, line, &text, e);
			strbuf_reset(&text);
			arena_reset(im->arena);
			line++;
			if (rc != RC_OK || import_enough(im))
				goto out;
		}
	}
out:
	strbuf_release(&text);
	return rc;
}
