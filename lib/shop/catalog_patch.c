#include "shop/catalog_patch.h"

#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "shop/catalog_int.h"
#include "shop/richtext.h"

static enum rc
bad_field(struct err *e, const char *name, const char *want)
{
	return err_set(
	    e, RC_INVALID, "invalid_field", "%s: must be %s", name, want);
}

/* A string member of at most max characters; absent: *out stays. */
static enum rc
take_text(const json_t *tree, const char *name, size_t min, size_t max,
    const char **out, struct err *e)
{
	const json_t *v = json_object_get(tree, name);

	if (v == NULL)
		return RC_OK;
	const char *s = json_string_value(v);
	size_t chars = 0;

	if (s == NULL)
		return bad_field(e, name, "a string");
	if (strlen(s) != json_string_length(v))
		return bad_field(e, name, "text without NUL");
	for (const char *p = s; *p != '\0'; p++)
		chars += ((unsigned char)*p & 0xc0) != 0x80;
	if (chars < min || chars > max)
		return err_set(e, RC_INVALID, "invalid_field",
		    "%s: must have %zu to %zu characters", name, min, max);
	*out = s;
	return RC_OK;
}

/* The same where it is shown as it is: HTML and a terminal allow no control
 * characters, and a name of nothing but spaces cannot be seen. */
static enum rc
take_string(const json_t *tree, const char *name, size_t min, size_t max,
    const char **out, struct err *e)
{
	const char *s = NULL;
	enum rc rc = take_text(tree, name, min, max, &s, e);

	if (rc != RC_OK || s == NULL)
		return rc;
	if (!text_plain(s))
		return bad_field(e, name, "text without control characters");
	if (min > 0 && text_blank(s))
		return bad_field(e, name, "more than spaces");
	*out = s;
	return RC_OK;
}

static enum rc
take_status(struct catalog_patch *p, struct err *e)
{
	enum rc rc = take_string(p->tree, "status", 0, 20, &p->status, e);

	if (rc != RC_OK || p->status == NULL ||
	    strcmp(p->status, "active") == 0 ||
	    strcmp(p->status, "draft") == 0 ||
	    strcmp(p->status, "archived") == 0)
		return rc;
	return bad_field(e, "status", "active, draft or archived");
}

static enum rc
take_tags(struct catalog_patch *p, struct arena *arena, struct err *e)
{
	const json_t *tags = json_object_get(p->tree, "tags"), *tag;
	size_t i;

	if (tags == NULL)
		return RC_OK;
	if (!json_is_array(tags) || json_array_size(tags) > 250)
		return bad_field(e, "tags", "an array of at most 250 strings");
	json_array_foreach(tags, i, tag)
	{
		const char *s = json_string_value(tag);

		if (s == NULL || *s == '\0' || strlen(s) > 255 ||
		    strlen(s) != json_string_length(tag))
			return bad_field(
			    e, "tags", "an array of strings of 1 to 255 bytes");
	}
	p->tags = catalog_dump(json_incref((json_t *)(uintptr_t)tags), arena).p;
	return RC_OK;
}

static enum rc
take_description(struct catalog_patch *p, struct arena *arena, struct err *e)
{
	const char *raw = NULL;
	enum rc rc = take_text(p->tree, "description", 0, 200000, &raw, e);

	if (rc != RC_OK || raw == NULL)
		return rc;
	return richtext_clean(
	    span_of(raw), arena, &p->description, &p->summary, e);
}

/* A whole number within bounds; null allowed where nullable. */
static enum rc
check_number(const json_t *v, const char *name, int64_t max, bool nullable,
    struct err *e)
{
	if (v == NULL || (nullable && json_is_null(v)))
		return RC_OK;
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    json_integer_value(v) > max)
		return err_set(e, RC_INVALID, "invalid_field",
		    "variants.%s: must be a whole number from 0 to %lld%s",
		    name, (long long)max, nullable ? ", or null" : "");
	return RC_OK;
}

static enum rc
check_variant(struct catalog_patch *p, const json_t *v, struct err *e)
{
	const json_t *sku = json_object_get(v, "sku");
	const char *s = NULL;
	enum rc rc;

	if (!json_is_integer(json_object_get(v, "id")))
		return bad_field(
		    e, "variants", "objects with the \"id\" of a variant");
	if (sku != NULL && !json_is_null(sku) &&
	    (rc = take_string(v, "sku", 1, 255, &s, e)) != RC_OK)
		return rc;
	if ((rc = check_number(json_object_get(v, "price"), "price",
		 CATALOG_MAX_PRICE, false, e)) != RC_OK ||
	    (rc = check_number(json_object_get(v, "compareAtPrice"),
		 "compareAtPrice", CATALOG_MAX_PRICE, true, e)) != RC_OK ||
	    (rc = check_number(json_object_get(v, "stock"), "stock", INT32_MAX,
		 false, e)) != RC_OK)
		return rc;
	if (sku != NULL || json_object_get(v, "price") != NULL ||
	    json_object_get(v, "compareAtPrice") != NULL)
		p->stock_only = false;
	return RC_OK;
}

static enum rc
take_variants(struct catalog_patch *p, struct err *e)
{
	const json_t *v;
	enum rc rc;
	size_t i;

	p->variants = json_object_get(p->tree, "variants");
	if (p->variants == NULL)
		return RC_OK;
	if (!json_is_array(p->variants) ||
	    json_array_size(p->variants) > CATALOG_MAX_VARIANTS)
		return bad_field(e, "variants", "an array of objects");
	json_array_foreach(p->variants, i, v)
	{
		if ((rc = check_variant(p, v, e)) != RC_OK)
			return rc;
	}
	return RC_OK;
}

static enum rc
take_seo(struct catalog_patch *p, struct err *e)
{
	const json_t *seo = json_object_get(p->tree, "seo");
	enum rc rc;

	if (seo == NULL)
		return RC_OK;
	if (!json_is_object(seo))
		return bad_field(e, "seo", "an object");
	if ((rc = take_string(seo, "title", 0, 500, &p->seo_title, e)) != RC_OK)
		return rc;
	return take_string(seo, "description", 0, 1000, &p->seo_description, e);
}

static enum rc
patch_check(struct catalog_patch *p, struct arena *arena, struct err *e)
{
	enum rc rc;

	if ((rc = take_string(p->tree, "title", 1, 500, &p->title, e)) !=
		RC_OK ||
	    (rc = take_string(p->tree, "vendor", 0, 255, &p->vendor, e)) !=
		RC_OK ||
	    (rc = take_string(p->tree, "type", 0, 255, &p->type, e)) != RC_OK ||
	    (rc = take_status(p, e)) != RC_OK ||
	    (rc = take_tags(p, arena, e)) != RC_OK ||
	    (rc = take_seo(p, e)) != RC_OK ||
	    (rc = take_description(p, arena, e)) != RC_OK)
		return rc;
	p->stock_only = p->title == NULL && p->vendor == NULL &&
			p->type == NULL && p->status == NULL &&
			p->tags == NULL && p->seo_title == NULL &&
			p->seo_description == NULL && p->description == NULL;
	return take_variants(p, e);
}

enum rc
catalog_patch_read(struct span body, struct arena *arena,
    struct catalog_patch *out, struct err *e)
{
	json_error_t why;

	*out = (struct catalog_patch){ 0 };
	out->tree = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(out->tree))
		return err_set(e, RC_INVALID, "invalid_json",
		    "The body must be a JSON object: %s",
		    out->tree == NULL ? why.text : "it is something else");
	return patch_check(out, arena, e);
}

void
catalog_patch_release(struct catalog_patch *patch)
{
	json_decref(patch->tree);
	*patch = (struct catalog_patch){ 0 };
}
