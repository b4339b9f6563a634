/*
 * Query strings, forms and cookies. The first byte chooses which; what comes
 * out is text, within its cap, and no longer than what went in.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/form.h"
#include "base/text.h"
#include "tests/fuzz/fuzz.h"

#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what))                                                   \
			abort();                                               \
	} while (0)

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena;
	struct span s;
	struct fields f;
	size_t bytes = 0;
	enum rc rc;

	if (n == 0)
		return 0;
	arena = arena_new();
	s = (struct span){ (const char *)data + 1, n - 1 };
	rc = data[0] % 2 == 0 ? form_parse(s, 8, arena, &f, NULL)
			      : cookie_parse(s, 8, arena, &f, NULL);
	MUST(rc == RC_OK || (rc == RC_INVALID && f.n == 0));
	MUST(f.n >= 0 && f.n <= 8);
	for (int i = 0; i < f.n; i++) {
		size_t name = strlen(f.f[i].name);
		size_t value = strlen(f.f[i].value);

		MUST(utf8_valid(f.f[i].name, name));
		MUST(utf8_valid(f.f[i].value, value));
		MUST(fields_get(&f, f.f[i].name) != NULL);
		bytes += name + value;
	}
	MUST(bytes <= n);
	arena_free(arena);
	return 0;
}
