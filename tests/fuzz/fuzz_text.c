/*
 * The small parsers and escapers of base: they agree with each other, and what
 * they write is safe in its place.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "tests/fuzz/fuzz.h"

#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what))                                                   \
			abort();                                               \
	} while (0)

static void
utf8(const char *s, size_t n)
{
	size_t i = 0, len;

	while (i < n && (len = utf8_sequence(s + i, n - i)) > 0)
		i += len;
	MUST((i == n) == utf8_valid(s, n));
	if (i < n)
		return;
	for (size_t max = 0; max <= n && max < 40; max++)
		MUST(utf8_valid(s, utf8_cut(s, n, max)));
}

static void
escapes(const char *s, size_t n)
{
	struct strbuf sb;

	strbuf_init(&sb, 0);
	strbuf_add_html(&sb, s, n);
	MUST(sb.len >= n && strpbrk(sb.s, "<>\"'") == NULL);
	strbuf_reset(&sb);
	strbuf_add_json(&sb, s, n);
	MUST(sb.len >= n && strpbrk(sb.s, "<>&\n") == NULL);
	strbuf_reset(&sb);
	strbuf_add_urlarg(&sb, s, n);
	MUST(sb.len >= n && strpbrk(sb.s, " &=/?#+") == NULL);
	strbuf_release(&sb);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *s = (const char *)data;
	char copy[64];
	int64_t out;

	utf8(s, n);
	escapes(s, n);
	if (text_int((struct span){ s, n }, -5, 5000, &out))
		MUST(out >= -5 && out <= 5000);
	if (n < sizeof copy) {
		memcpy(copy, s, n);
		copy[n] = '\0';
		(void)time_parse(copy, 1700000000000, &out);
	}
	return 0;
}
