/*
 * JSON of strangers (messages of a queue). Whatever jread takes, jansson takes
 * as well; read as one value or member by member it is the same text, and the
 * strings are jansson's.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/jread.h"
#include "tests/fuzz/fuzz.h"

#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what))                                                   \
			abort();                                               \
	} while (0)

/* In step with what jansson made of it. */
static void
walk(struct jread *j, const json_t *as, struct arena *arena)
{
	struct span name;
	size_t i = 0;

	if (jread_is(j, '{')) {
		MUST(json_is_object(as) && jread_object(j));
		/* A name may come twice, and jansson keeps the last. */
		while (jread_member(j, &name))
			(void)jread_value(j);
	} else if (jread_is(j, '[')) {
		MUST(json_is_array(as) && jread_array(j));
		for (; jread_item(j); i++)
			walk(j, json_array_get(as, i), arena);
		MUST(i == json_array_size(as));
	} else if (jread_is(j, '"')) {
		const char *s = jread_string(j, arena);

		MUST(s != NULL && strcmp(s, json_string_value(as)) == 0);
	} else {
		MUST(jread_value(j).n > 0 && !json_is_string(as));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct span text = { (const char *)data, n };
	struct arena *arena = arena_new();
	struct jread j = jread_new(text);
	struct span value = jread_value(&j), name;
	json_t *as;

	MUST(value.n <= n);
	if (jread_end(&j)) {
		MUST(value.n > 0);
		as = json_loadb(text.p, n, JSON_DECODE_ANY, NULL);
		MUST(as != NULL);
		j = jread_new(text);
		walk(&j, as, arena);
		MUST(jread_end(&j));
		json_decref(as);
	} else { /* as a reader of a few members meets it */
		j = jread_new(text);
		if (jread_object(&j)) {
			while (jread_member(&j, &name))
				(void)jread_string(&j, arena);
		}
		MUST(!jread_end(&j));
	}
	arena_free(arena);
	return 0;
}
