/*
 * catalog_patch - the rules of a partial update of a product: which members it
 * may have, and what each may be. No database: a body is judged whole before
 * anything is written.
 */
#ifndef SHOP_CATALOG_PATCH_H
#define SHOP_CATALOG_PATCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;

#define CATALOG_MAX_PRICE INT64_C(100000000000000)
enum { CATALOG_MAX_VARIANTS = 1000 };

/* NULL: the member is left as it is. */
struct catalog_patch {
	json_t *tree; /* owns the strings below */
	const char *title, *vendor, *type, *status;
	const char *seo_title, *seo_description;
	const char *description, *summary; /* in the arena */
	const char *tags;                  /* JSON, in the arena */
	const json_t *variants;            /* an array, or NULL */
	bool stock_only; /* nothing but stock is touched */
};

/*
 * Read a body into *out, to be released in any case. RC_INVALID: "invalid_json"
 * (not a JSON object), "invalid_field" (msg names the member and what it must
 * be). Variants are checked for what they are, not for whose.
 */
enum rc catalog_patch_read(struct span body, struct arena *arena,
    struct catalog_patch *out, struct err *e);
void catalog_patch_release(struct catalog_patch *patch);

#endif
