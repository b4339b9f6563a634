#include "base/form.h"

#include "base/arena.h"
#include "base/text.h"

const char *
fields_get(const struct fields *fields, const char *name)
{
	for (int i = 0; i < fields->n; i++) {
		if (strcmp(fields->f[i].name, name) == 0)
			return fields->f[i].value;
	}
	return NULL;
}

/* Bytes up to c, which is taken off *s as well. */
static struct span
span_until(struct span *s, char c)
{
	const char *end = s->n == 0 ? NULL : memchr(s->p, c, s->n);
	struct span out = { s->p, end == NULL ? s->n : (size_t)(end - s->p) };
	size_t taken = end == NULL ? s->n : out.n + 1;

	if (taken > 0) {
		s->p += taken;
		s->n -= taken;
	}
	return out;
}

/* As many fields as could be in s, so that the array is allocated once. */
static int
fields_bound(struct span s, char separator, int max)
{
	int n = 1;

	for (size_t i = 0; i < s.n && n < max; i++)
		n += s.p[i] == separator;
	return n < max ? n : max;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* NULL where the result is not text. */
static const char *
form_decode(struct span s, struct arena *arena)
{
	char *out;
	size_t n = 0;

	if (s.n == 0)
		return "";
	out = arena_alloc(arena, s.n + 1);
	for (size_t i = 0; i < s.n; i++) {
		int hi, lo;

		if (s.p[i] == '%' && i + 2 < s.n &&
		    (hi = hex_digit(s.p[i + 1])) >= 0 &&
		    (lo = hex_digit(s.p[i + 2])) >= 0) {
			out[n++] = (char)(hi * 16 + lo);
			i += 2;
		} else {
			out[n++] = s.p[i] == '+' ? ' ' : s.p[i];
		}
	}
	out[n] = '\0';
	if (memchr(out, '\0', n) != NULL || !utf8_valid(out, n))
		return NULL;
	return out;
}

enum rc
form_parse(struct span s, int max, struct arena *arena, struct fields *out,
    struct err *e)
{
	struct field *f;
	int bound, n = 0;

	*out = (struct fields){ 0 };
	if (s.n == 0)
		return RC_OK;
	bound = fields_bound(s, '&', max);
	f = arena_alloc(arena, (size_t)bound * sizeof *f);
	while (s.n > 0) {
		struct span value = span_until(&s, '&');
		struct span name = span_until(&value, '=');

		if (name.n == 0 && value.n == 0)
			continue;
		if (n == bound)
			return err_set(e, RC_INVALID, "too_many_fields",
			    "More than %d fields", max);
		f[n].name = form_decode(name, arena);
		f[n].value = form_decode(value, arena);
		if (f[n].name == NULL || f[n].value == NULL)
			return err_set(e, RC_INVALID, "bad_encoding",
			    "A field is not valid UTF-8 text");
		n++;
	}
	*out = (struct fields){ n, f };
	return RC_OK;
}

static struct span
span_trim(struct span s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

static bool
span_text(struct span s)
{
	return s.n == 0 ||
	       (memchr(s.p, '\0', s.n) == NULL && utf8_valid(s.p, s.n));
}

enum rc
cookie_parse(struct span s, int max, struct arena *arena, struct fields *out,
    struct err *e)
{
	struct field *f;
	int bound, n = 0;

	*out = (struct fields){ 0 };
	if (s.n == 0)
		return RC_OK;
	bound = fields_bound(s, ';', max);
	f = arena_alloc(arena, (size_t)bound * sizeof *f);
	while (s.n > 0) {
		struct span value = span_until(&s, ';');
		size_t whole = value.n;
		struct span name = span_until(&value, '=');
		bool pair = name.n < whole;

		name = span_trim(name);
		value = span_trim(value);
		if (value.n >= 2 && value.p[0] == '"' &&
		    value.p[value.n - 1] == '"') {
			value.p++;
			value.n -= 2;
		}
		if (!pair || name.n == 0 || !span_text(name) ||
		    !span_text(value))
			continue;
		if (n == bound)
			return err_set(e, RC_INVALID, "too_many_cookies",
			    "More than %d cookies", max);
		f[n].name = arena_strndup(arena, name.p, name.n);
		f[n].value =
		    value.n == 0 ? "" : arena_strndup(arena, value.p, value.n);
		n++;
	}
	*out = (struct fields){ n, f };
	return RC_OK;
}
