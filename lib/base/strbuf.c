#include "base/strbuf.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xmalloc.h"

void
strbuf_init(struct strbuf *sb, size_t hint)
{
	sb->cap = hint < 32 ? 32 : hint + 1;
	sb->s = xmalloc(sb->cap);
	sb->s[0] = '\0';
	sb->len = 0;
}

void
strbuf_release(struct strbuf *sb)
{
	free(sb->s);
	*sb = (struct strbuf){ 0 };
}

void
strbuf_reset(struct strbuf *sb)
{
	strbuf_trunc(sb, 0);
}

void
strbuf_grow(struct strbuf *sb, size_t extra)
{
	assert(extra < SIZE_MAX / 2 - sb->len);
	size_t need = sb->len + extra + 1;

	if (need <= sb->cap)
		return;
	size_t cap = sb->cap < 32 ? 32 : sb->cap;

	while (cap < need)
		cap *= 2;
	sb->s = xrealloc(sb->s, cap);
	sb->cap = cap;
}

void
strbuf_trunc(struct strbuf *sb, size_t len)
{
	assert(len <= sb->len);
	sb->len = len;
	sb->s[len] = '\0';
}

void
strbuf_add(struct strbuf *sb, const void *p, size_t n)
{
	if (n >= sb->cap - sb->len)
		strbuf_grow(sb, n);
	if (n > 0)
		memcpy(sb->s + sb->len, p, n);
	sb->len += n;
	sb->s[sb->len] = '\0';
}

char *
strbuf_room(struct strbuf *sb, size_t n)
{
	char *at;

	if (n >= sb->cap - sb->len)
		strbuf_grow(sb, n);
	at = sb->s + sb->len;
	sb->len += n;
	sb->s[sb->len] = '\0';
	return at;
}

void
strbuf_adds(struct strbuf *sb, const char *s)
{
	strbuf_add(sb, s, strlen(s));
}

void
strbuf_addspan(struct strbuf *sb, struct span s)
{
	strbuf_add(sb, s.p, s.n);
}

void
strbuf_addc(struct strbuf *sb, char c)
{
	if (sb->cap - sb->len < 2)
		strbuf_grow(sb, 1);
	sb->s[sb->len++] = c;
	sb->s[sb->len] = '\0';
}

void
strbuf_vaddf(struct strbuf *sb, const char *fmt, va_list ap)
{
	va_list again;

	va_copy(again, ap);
	int n = vsnprintf(sb->s + sb->len, sb->cap - sb->len, fmt, ap);

	assert(n >= 0);
	if ((size_t)n >= sb->cap - sb->len) {
		strbuf_grow(sb, (size_t)n);
		(void)vsnprintf(sb->s + sb->len, sb->cap - sb->len, fmt, again);
	}
	va_end(again);
	sb->len += (size_t)n;
}

void
strbuf_addf(struct strbuf *sb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(sb, fmt, ap);
	va_end(ap);
}

/* What stands for c in HTML, or NULL for itself. */
static const char *
html_entity(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

/*
 * True where none of eight bytes has an entity; false also for '#'. Two tests
 * do for five characters: '<' and '>' differ in one bit, '"', '&' and '\'' in
 * two. Most text has none: about three times as fast as byte by byte.
 */
static bool
html_plain8(const char *s)
{
	const uint64_t ones = 0x0101010101010101, high = ones << 7;
	uint64_t x, angle, quote;

	memcpy(&x, s, sizeof x);
	angle = (x | ones * 0x02) ^ ones * '>';
	quote = (x | ones * 0x05) ^ ones * '\'';
	/* A byte of either is zero (the classic test, exact for "any"). */
	angle = (angle - ones) & ~angle;
	quote = (quote - ones) & ~quote;
	return ((angle | quote) & high) == 0;
}

void
strbuf_add_html(struct strbuf *sb, const char *s, size_t n)
{
	size_t from = 0;

	for (size_t i = 0; i < n; i++) {
		while (n - i > 8 && html_plain8(s + i))
			i += 8;
		const char *entity = html_entity(s[i]);

		if (entity == NULL)
			continue;
		strbuf_add(sb, s + from, i - from);
		strbuf_adds(sb, entity);
		from = i + 1;
	}
	strbuf_add(sb, s + from, n - from);
}

void
strbuf_add_urlarg(struct strbuf *sb, const char *s, size_t n)
{
	static const char digits[] = "0123456789ABCDEF";

	strbuf_grow(sb, n * 3);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || c == '-' || c == '.' ||
		    c == '_' || c == '~') {
			strbuf_addc(sb, (char)c);
		} else {
			char hex[3] = { '%', digits[c >> 4], digits[c & 15] };

			strbuf_add(sb, hex, sizeof hex);
		}
	}
}

/*
 * '<', '>' and '&' are written as escapes too, so that a "</script>" in a
 * product's title ends no script element (JSON-LD).
 */
void
strbuf_add_json(struct strbuf *sb, const char *s, size_t n)
{
	size_t from = 0;

	strbuf_grow(sb, n + 16);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		bool slash = c == '"' || c == '\\';

		if (!slash && c >= 0x20 && c != 0x7f && c != '<' && c != '>' &&
		    c != '&')
			continue;
		strbuf_add(sb, s + from, i - from);
		from = i + 1;
		if (slash) {
			strbuf_addc(sb, '\\');
			strbuf_addc(sb, (char)c);
		} else if (c == '\n') {
			strbuf_add(sb, "\\n", 2);
		} else {
			strbuf_addf(sb, "\\u%04x", c);
		}
	}
	strbuf_add(sb, s + from, n - from);
}

struct span
strbuf_span(const struct strbuf *sb)
{
	return (struct span){ sb->s, sb->len };
}
