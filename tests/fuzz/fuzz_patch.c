/*
 * A body of PUT /api/products/<id>: whatever it is, it is judged without harm,
 * and what was let through keeps the rules that SQL relies on.
 */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "shop/catalog_patch.h"
#include "tests/fuzz/fuzz.h"

static void
check_text(const char *s)
{
	assert(s == NULL || utf8_valid(s, strlen(s)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new();
	struct span body = { (const char *)data, n };
	struct catalog_patch patch;
	struct err e;

	if (catalog_patch_read(body, arena, &patch, &e) == RC_OK) {
		const json_t *v;
		size_t i;

		assert(patch.title == NULL || patch.title[0] != '\0');
		check_text(patch.title);
		check_text(patch.description);
		check_text(patch.tags);
		json_array_foreach (patch.variants, i, v) {
			const json_t *price = json_object_get(v, "price");

			assert(price == NULL || json_is_integer(price));
			assert(json_integer_value(price) >= 0 &&
			    json_integer_value(price) <= CATALOG_MAX_PRICE);
		}
	} else {
		assert(e.code[0] != '\0' && e.msg[0] != '\0');
	}
	catalog_patch_release(&patch);
	arena_free(arena);
	return 0;
}
