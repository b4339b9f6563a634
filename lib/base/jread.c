#include "base/jread.h"

#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/text.h"

enum { NUMBER_MAX = 63 }; /* characters; nobody writes a longer one */

struct jread
jread_new(struct span text)
{
	return (struct jread){ .p = text.p, .end = text.p + text.n };
}

static bool
fail(struct jread *j)
{
	j->bad = true;
	j->p = j->end;
	return false;
}

/* The next character that is no white space; 0: none. */
static char
next(struct jread *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' ||
				    *j->p == '\n' || *j->p == '\r'))
		j->p++;
	return j->p < j->end ? *j->p : '\0';
}

bool
jread_is(struct jread *j, char first)
{
	return next(j) == first;
}

/* ---- strings */

static int
hex4(const char *p)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];

		v *= 16;
		if (c >= '0' && c <= '9')
			v += c - '0';
		else if (c >= 'a' && c <= 'f')
			v += c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			v += c - 'A' + 10;
		else
			return -1;
	}
	return v;
}

/* At "\u": the character, a surrogate with its other half; 0: none that may
 * stand there. */
static int
unicode(const char *p, const char *end)
{
	int v, low;

	if (end - p < 6 || (v = hex4(p + 2)) <= 0 || (v & 0xfc00) == 0xdc00)
		return 0;
	if ((v & 0xfc00) != 0xd800)
		return v;
	if (end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return 0;
	low = hex4(p + 8);
	if (low < 0 || (low & 0xfc00) != 0xdc00)
		return 0;
	return 0x10000 + ((v & 0x3ff) << 10) + (low & 0x3ff);
}

/* How long the escape at p is; 0: none. */
static size_t
escape_length(const char *p, const char *end)
{
	int c;

	if (end - p < 2)
		return 0;
	if (p[1] != 'u')
		return p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL ? 2
									  : 0;
	c = unicode(p, end);
	return c == 0 ? 0 : c < 0x10000 ? 6 : 12;
}

/* What is between the quotes; *escaped: there are escapes in it. */
static bool
string(struct jread *j, struct span *raw, bool *escaped)
{
	const char *start, *p, *end = j->end;

	if (next(j) != '"')
		return fail(j);
	*escaped = false;
	start = p = j->p + 1;
	while (p < end && *p != '"') {
		size_t n = 1;

		if (*p == '\\') {
			*escaped = true;
			n = escape_length(p, end);
		} else if ((unsigned char)*p < 0x20) {
			n = 0;
		} else if ((unsigned char)*p >= 0x80) {
			n = utf8_sequence(p, (size_t)(end - p));
		}
		if (n == 0)
			return fail(j);
		p += n;
	}
	if (p >= end)
		return fail(j);
	*raw = (struct span){ start, (size_t)(p - start) };
	j->p = p + 1;
	return true;
}

static char *
put_utf8(char *w, int c)
{
	if (c < 0x80) {
		*w++ = (char)c;
		return w;
	}
	if (c < 0x800) {
		*w++ = (char)(0xc0 | c >> 6);
	} else {
		if (c < 0x10000) {
			*w++ = (char)(0xe0 | c >> 12);
		} else {
			*w++ = (char)(0xf0 | c >> 18);
			*w++ = (char)(0x80 | (c >> 12 & 0x3f));
		}
		*w++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*w++ = (char)(0x80 | (c & 0x3f));
	return w;
}

static int
escaped_char(const char *p, const char *end)
{
	switch (p[1]) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'u':
		return unicode(p, end);
	default:
		return p[1];
	}
}

/* Of a string that has been judged: never longer than it is. */
static const char *
decode(struct span raw, struct arena *arena)
{
	char *out = arena_alloc(arena, raw.n + 1), *w = out;
	const char *end = raw.p + raw.n;

	for (const char *p = raw.p; p < end;) {
		if (*p != '\\') {
			*w++ = *p++;
			continue;
		}
		w = put_utf8(w, escaped_char(p, end));
		p += escape_length(p, end);
	}
	*w = '\0';
	return out;
}

const char *
jread_string(struct jread *j, struct arena *arena)
{
	struct span raw;
	bool escaped;

	if (next(j) != '"') {
		(void)jread_value(j);
		return NULL;
	}
	if (!string(j, &raw, &escaped))
		return NULL;
	return escaped ? decode(raw, arena)
		       : arena_strndup(arena, raw.p, raw.n);
}

/* ---- numbers and words */

static size_t
digits(struct jread *j)
{
	const char *start = j->p;

	while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
		j->p++;
	return (size_t)(j->p - start);
}

/* Is it within what jansson keeps? */
static bool
has_range(const char *p, size_t n, bool real)
{
	char buf[NUMBER_MAX + 1], *end;

	if (n > NUMBER_MAX)
		return false;
	if (!real && n < 18)
		return true;
	memcpy(buf, p, n);
	buf[n] = '\0';
	errno = 0;
	if (real) {
		double d = strtod(buf, &end);

		return errno == 0 || (d > -1 && d < 1); /* it became 0 */
	}
	(void)strtoll(buf, &end, 10);
	return errno == 0;
}

static bool
number(struct jread *j)
{
	const char *start = j->p;
	bool real = false;
	char first;

	if (*j->p == '-')
		j->p++;
	first = j->p < j->end ? *j->p : '\0';
	if (digits(j) == 0 ||
	    (first == '0' && j->p - start > (*start == '-' ? 2 : 1))) /* 01 */
		return fail(j);
	if (j->p < j->end && *j->p == '.') {
		real = true;
		j->p++;
		if (digits(j) == 0)
			return fail(j);
	}
	if (j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
		real = true;
		j->p++;
		if (j->p < j->end && (*j->p == '+' || *j->p == '-'))
			j->p++;
		if (digits(j) == 0)
			return fail(j);
	}
	return has_range(start, (size_t)(j->p - start), real) || fail(j);
}

static bool
word(struct jread *j, const char *w)
{
	size_t n = strlen(w);

	if ((size_t)(j->end - j->p) < n || memcmp(j->p, w, n) != 0)
		return fail(j);
	j->p += n;
	return true;
}

/* ---- objects and arrays */

static bool
enter(struct jread *j, char open)
{
	if (next(j) != open || j->depth == JREAD_DEPTH)
		return fail(j);
	j->p++;
	j->depth++;
	j->fresh = true;
	return true;
}

/* To the next value or name; false: behind the bracket that closes. */
static bool
more(struct jread *j, char close)
{
	char c = next(j);

	if (c == close && j->depth > 0) {
		j->p++;
		j->depth--;
		j->fresh = false;
		return false;
	}
	if (!j->fresh) {
		if (c != ',')
			return fail(j);
		j->p++;
	}
	j->fresh = false;
	return next(j) != '\0' || fail(j);
}

bool
jread_object(struct jread *j)
{
	return enter(j, '{');
}

bool
jread_member(struct jread *j, struct span *name)
{
	bool escaped;

	if (!more(j, '}') || !string(j, name, &escaped))
		return false;
	if (next(j) != ':')
		return fail(j);
	j->p++;
	return true;
}

bool
jread_array(struct jread *j)
{
	return enter(j, '[');
}

bool
jread_item(struct jread *j)
{
	return more(j, ']');
}

struct span
jread_value(struct jread *j)
{
	char first = next(j);
	const char *start = j->p;
	struct span part;
	bool escaped;

	switch (first) {
	case '{':
		(void)jread_object(j);
		while (jread_member(j, &part))
			(void)jread_value(j);
		break;
	case '[':
		(void)jread_array(j);
		while (jread_item(j))
			(void)jread_value(j);
		break;
	case '"':
		(void)string(j, &part, &escaped);
		break;
	case 't':
		(void)word(j, "true");
		break;
	case 'f':
		(void)word(j, "false");
		break;
	case 'n':
		(void)word(j, "null");
		break;
	default:
		if (first == '-' || (first >= '0' && first <= '9'))
			(void)number(j);
		else
			(void)fail(j);
	}
	if (j->bad)
		return (struct span){ "", 0 };
	return (struct span){ start, (size_t)(j->p - start) };
}

bool
jread_end(struct jread *j)
{
	return !j->bad && j->depth == 0 && next(j) == '\0' && j->p == j->end;
}
