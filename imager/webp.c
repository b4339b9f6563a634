/*
 * Google's WebP container: "RIFF", size, "WEBP", then chunks of a name, a size
 * and bytes, padded to an even number. What a still picture needs is one of VP8
 * and VP8L; VP8X is a header for the rest, without which ALPH is not allowed.
 */
#include "imager/webp.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { HEADER = 12, CHUNK = 8, FLAG_ALPHA = 0x10 };

static size_t
size_at(const unsigned char *p)
{
	return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 |
	       (size_t)p[3] << 24;
}

static bool
is(const unsigned char *chunk, const char *name)
{
	return memcmp(chunk, name, 4) == 0;
}

static bool
needed(const unsigned char *chunk, bool alpha)
{
	return is(chunk, "VP8 ") || is(chunk, "VP8L") || is(chunk, "ALPH") ||
	       (alpha && is(chunk, "VP8X"));
}

/* All chunks whole, nothing animated; *alpha: there is an ALPH. */
static bool
well_built(const unsigned char *p, size_t n, bool *alpha)
{
	size_t at = HEADER;

	*alpha = false;
	if (n < HEADER || !is(p, "RIFF") || !is(p + 8, "WEBP"))
		return false;
	while (n - at >= CHUNK) {
		size_t size = size_at(p + at + 4);

		size += size % 2;
		if (size > n - at - CHUNK || is(p + at, "ANIM") ||
		    (is(p + at, "VP8X") && size < 10))
			return false;
		*alpha = *alpha || is(p + at, "ALPH");
		at += CHUNK + size;
	}
	return at == n;
}

size_t
webp_strip(unsigned char *p, size_t n)
{
	size_t to = HEADER;
	bool alpha;

	if (!well_built(p, n, &alpha))
		return n;
	for (size_t at = HEADER, size; at < n; at += size) {
		size = size_at(p + at + 4);
		size += CHUNK + size % 2; /* + the padding */
		if (!needed(p + at, alpha))
			continue;
		memmove(p + to, p + at, size);
		if (is(p + to, "VP8X"))
			p[to + CHUNK] = FLAG_ALPHA;
		to += size;
	}
	for (int i = 0; i < 4; i++)
		p[4 + i] = (unsigned char)((to - 8) >> 8 * i);
	return to;
}
