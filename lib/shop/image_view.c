/*
 * What is stored of a variant is its key, so that pictures can move behind
 * another address: the address is made here, when the record is.
 */
#include "shop/image_int.h"

#include <string.h>

#include "base/conf.h"
#include "base/text.h"
#include "shop/shop.h"

enum {
	WIDEST_IN_PRODUCT = 1280,
	WIDEST_IN_LIST = 640,
	LEAST_WIDTH = 16,
	MOST_WIDTH = 16383
};

int
image_widths(const char *s, int out[IMAGER_WIDTHS])
{
	for (int n = 0; n < IMAGER_WIDTHS;) {
		size_t len = strcspn(s, ",");
		struct span part = { s, len };
		int64_t width;

		while (part.n > 0 && part.p[0] == ' ') {
			part.p++;
			part.n--;
		}
		while (part.n > 0 && part.p[part.n - 1] == ' ')
			part.n--;
		if (!text_int(part, n == 0 ? LEAST_WIDTH : out[n - 1] + 1,
			MOST_WIDTH, &width))
			return 0;
		out[n++] = (int)width;
		if (s[len] == '\0')
			return n;
		s += len + 1;
	}
	return 0;
}

static int64_t
width_of(const json_t *variant)
{
	return json_integer_value(json_object_get(variant, "width"));
}

static bool
is_webp(const json_t *variant)
{
	const char *s = json_string_value(json_object_get(variant, "format"));

	return s != NULL && strcmp(s, "webp") == 0;
}

/* The widest that every browser can show and that is not too wide; else the
 * first there is. */
static json_t *
main_variant(const json_t *variants, int64_t widest)
{
	json_t *best = json_array_get(variants, 0), *v;
	size_t i;

	json_array_foreach(variants, i, v)
	{
		if (is_webp(v) && (!is_webp(best) || width_of(v) <= widest))
			best = v;
	}
	return best;
}

/* A list needs no more, and there are many pictures in it. */
static void
keep_small(json_t *variants)
{
	for (size_t i = json_array_size(variants); i > 1; i--) {
		const json_t *v = json_array_get(variants, i - 1);
		const json_t *least = json_array_get(variants, 0);

		if (width_of(v) > WIDEST_IN_LIST &&
		    width_of(v) > width_of(least))
			(void)json_array_remove(variants, i - 1);
	}
}

static void
address_set(json_t *variant, const char *base)
{
	const char *key = json_string_value(json_object_get(variant, "key"));
	const char *slash = base[strlen(base) - 1] == '/' ? "" : "/";

	(void)json_object_set_new_nocheck(variant, "url",
	    json_sprintf("%s%s%s", base, slash, key == NULL ? "" : key));
	(void)json_object_del(variant, "key");
	(void)json_object_del(variant, "bytes");
}

void
image_publish(const struct shop *shop, json_t *image, enum image_place place)
{
	const char *base = conf_str(shop->conf, "media", "base_url");
	json_t *variants = json_object_get(image, "variants"), *v;
	size_t i;

	if (json_array_size(variants) == 0) {
		(void)json_object_del(image, "variants");
		return;
	}
	if (place == IMAGE_IN_LIST)
		keep_small(variants);
	json_array_foreach(variants, i, v)
	{
		address_set(v, base);
	}
	v = main_variant(variants,
	    place == IMAGE_IN_LIST ? WIDEST_IN_LIST : WIDEST_IN_PRODUCT);
	(void)json_object_set(image, "url", json_object_get(v, "url"));
	(void)json_object_set(image, "width", json_object_get(v, "width"));
	(void)json_object_set(image, "height", json_object_get(v, "height"));
}
