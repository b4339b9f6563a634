/*
 *	preamble CRLF
 *	--boundary padding CRLF  head CRLF CRLF  body
 *	CRLF --boundary padding CRLF  head CRLF CRLF  body
 *	CRLF --boundary-- padding [CRLF epilogue]
 *
 * The CRLF before a boundary is the boundary's, not the body's. It may also be
 * the empty line that ends a head (a part with no body at all), so the search
 * for the next boundary begins there.
 */
#define _GNU_SOURCE /* memmem */
#include "base/multipart.h"

#include <assert.h>
#include <stdio.h>
#include <strings.h>

#include "base/arena.h"
#include "base/text.h"

static enum rc
bad(struct err *e, const char *why)
{
	return err_set(e, RC_INVALID, "bad_multipart",
	    "The body is not multipart as RFC 2046 says: %s", why);
}

static void
skip(struct span *s, size_t n)
{
	s->p += n;
	s->n -= n;
}

static void
skip_blanks(struct span *s)
{
	while (s->n > 0 && (*s->p == ' ' || *s->p == '\t'))
		skip(s, 1);
}

/* RFC 9110, section 5.6.2 */
static bool
is_token_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* A token at the front, taken off; n 0: there is none. */
static struct span
take_token(struct span *s)
{
	struct span out = { s->p, 0 };

	while (s->n > 0 && is_token_char(*s->p)) {
		skip(s, 1);
		out.n++;
	}
	return out;
}

static bool
token_is(struct span a, const char *lower)
{
	return a.n == strlen(lower) && strncasecmp(a.p, lower, a.n) == 0;
}

/*
 * A value at the front, taken off: a token, or what stands between quotes. In
 * quotes only \" and \\ stand for something else: browsers put a path's
 * backslashes there as they are. NULL: it is neither. In the arena.
 */
static const char *
take_value(struct span *s, struct arena *arena)
{
	struct span token;
	char *out;
	size_t n = 0;

	if (s->n == 0 || *s->p != '"') {
		token = take_token(s);
		return token.n == 0 ? NULL
				    : arena_strndup(arena, token.p, token.n);
	}
	skip(s, 1);
	out = arena_alloc(arena, s->n + 1);
	for (; s->n > 0 && *s->p != '"'; skip(s, 1)) {
		if (*s->p == '\\' && s->n > 1 &&
		    (s->p[1] == '"' || s->p[1] == '\\'))
			skip(s, 1);
		if (*s->p == '\0')
			return NULL;
		out[n++] = *s->p;
	}
	if (s->n == 0)
		return NULL;
	skip(s, 1);
	out[n] = '\0';
	return out;
}

/* "; name=value" at the front, taken off. 1, 0 at the end, -1: neither. */
static int
take_param(
    struct span *s, struct arena *arena, struct span *name, const char **value)
{
	skip_blanks(s);
	if (s->n == 0)
		return 0;
	if (*s->p != ';')
		return -1;
	skip(s, 1);
	skip_blanks(s);
	if (s->n == 0)
		return 0; /* a semicolon too many: some clients */
	*name = take_token(s);
	if (name->n == 0 || s->n == 0 || *s->p != '=')
		return -1;
	skip(s, 1);
	*value = take_value(s, arena);
	return *value == NULL ? -1 : 1;
}

/* ---- the boundary */

/* bchars, not ending in a space (RFC 2046, 5.1.1). */
static bool
boundary_ok(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > MULTIPART_BOUNDARY || s[n - 1] == ' ')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!(s[i] >= '0' && s[i] <= '9') &&
		    !(s[i] >= 'a' && s[i] <= 'z') &&
		    !(s[i] >= 'A' && s[i] <= 'Z') &&
		    strchr("'()+_,-./:=? ", s[i]) == NULL)
			return false;
	}
	return true;
}

static enum rc
find_boundary(struct span s, struct arena *arena,
    char out[MULTIPART_BOUNDARY + 1], struct err *e)
{
	const char *value, *found = NULL;
	struct span name;
	int more;

	while ((more = take_param(&s, arena, &name, &value)) == 1) {
		if (!token_is(name, "boundary"))
			continue;
		if (found != NULL)
			break;
		found = value;
	}
	if (more != 0 || found == NULL || !boundary_ok(found))
		return err_set(e, RC_INVALID, "bad_boundary",
		    "Content-Type: multipart/form-data needs one boundary of 1 "
		    "to %d characters",
		    MULTIPART_BOUNDARY);
	memcpy(out, found, strlen(found) + 1);
	return RC_OK;
}

enum rc
multipart_boundary(
    const char *content_type, char out[MULTIPART_BOUNDARY + 1], struct err *e)
{
	static const char want[] = "multipart/form-data";
	struct span s = span_of(content_type);
	struct arena *arena;
	enum rc rc;

	out[0] = '\0';
	skip_blanks(&s);
	if (s.n < sizeof want - 1 ||
	    strncasecmp(s.p, want, sizeof want - 1) != 0 ||
	    (s.n > sizeof want - 1 &&
		strchr("; \t", s.p[sizeof want - 1]) == NULL))
		return err_set(e, RC_INVALID, "unsupported_media_type",
		    "Content-Type must be %s", want);
	skip(&s, sizeof want - 1);
	arena = arena_new();
	rc = find_boundary(s, arena, out, e);
	arena_free(arena);
	return rc;
}

/* ---- a part's head */

struct head {
	bool disposition, type, encoding; /* seen */
	struct part part;
};

/* May be shown and compared. */
static bool
is_text(const char *s)
{
	for (const char *p = s; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	}
	return utf8_valid(s, strlen(s));
}

static enum rc
bad_part(struct err *e, const char *why)
{
	return err_set(e, RC_INVALID, "bad_part", "A part of the body %s", why);
}

/* form-data; name="file"; filename="a.jpg". filename* is not for forms
 * (RFC 7578, 4.2): passed over like any parameter that is not known. */
static enum rc
read_disposition(
    struct span s, struct head *head, struct arena *arena, struct err *e)
{
	struct part *part = &head->part;
	const char *value;
	struct span name;
	int more;

	if (!token_is(take_token(&s), "form-data"))
		return bad_part(e, "is not of a form: Content-Disposition must "
				   "be form-data");
	while ((more = take_param(&s, arena, &name, &value)) == 1) {
		const char **to = token_is(name, "name")       ? &part->name
				  : token_is(name, "filename") ? &part->filename
							       : NULL;

		if (to == NULL)
			continue;
		if (*to != NULL)
			return bad_part(e, "has a name twice");
		if (!is_text(value))
			return err_set(e, RC_INVALID, "bad_encoding",
			    "A part's name is not UTF-8 text");
		*to = value;
	}
	if (more < 0)
		return bad_part(e, "has a Content-Disposition that cannot be "
				   "read");
	if (part->name == NULL)
		return bad_part(e, "has no name");
	return RC_OK;
}

/* "Image/JPEG; x=y" -> "image/jpeg" */
static enum rc
read_type(struct span s, struct head *head, struct arena *arena, struct err *e)
{
	size_t n = 0;
	char *out;

	while (n < s.n && strchr("; \t", s.p[n]) == NULL) {
		if (!is_token_char(s.p[n]) && s.p[n] != '/')
			return bad_part(
			    e, "has a Content-Type that cannot be read");
		n++;
	}
	out = arena_strndup(arena, s.p, n);
	for (char *p = out; *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
	head->part.type = out;
	return RC_OK;
}

/* Parts come as they are (RFC 7578, 4.7). */
static enum rc
read_encoding(struct span s, struct err *e)
{
	struct span token = take_token(&s);

	if (token_is(token, "binary") || token_is(token, "8bit") ||
	    token_is(token, "7bit"))
		return RC_OK;
	return bad_part(e, "has a Content-Transfer-Encoding: send it as it is");
}

/* One "Name: value", without its CRLF. */
static enum rc
read_field(
    struct span line, struct head *head, struct arena *arena, struct err *e)
{
	struct span name = take_token(&line);
	bool *seen;

	if (name.n == 0 || line.n == 0 || *line.p != ':')
		return bad(e, "a part's head has a line that is no field");
	skip(&line, 1);
	skip_blanks(&line);
	seen = token_is(name, "content-disposition") ? &head->disposition
	       : token_is(name, "content-type")      ? &head->type
	       : token_is(name, "content-transfer-encoding") ? &head->encoding
							     : NULL;
	if (seen == NULL)
		return RC_OK;
	if (*seen)
		return bad_part(e, "has a field twice");
	*seen = true;
	if (seen == &head->disposition)
		return read_disposition(line, head, arena, e);
	if (seen == &head->type)
		return read_type(line, head, arena, e);
	return read_encoding(line, e);
}

/*
 * The head at the front of *s, taken off up to the CRLF of the empty line that
 * ends it. An empty head is that line alone.
 */
static enum rc
read_head(struct span *s, struct head *head, struct arena *arena, struct err *e)
{
	size_t left = MULTIPART_HEAD;
	enum rc rc;

	while (s->n < 2 || memcmp(s->p, "\r\n", 2) != 0) {
		size_t within = s->n < left ? s->n : left;
		const char *lf = memchr(s->p, '\n', within);
		struct span line;

		if (lf == NULL && s->n > left)
			return err_set(e, RC_INVALID, "part_head_too_large",
			    "A part's head has more than %d bytes",
			    MULTIPART_HEAD);
		if (lf == NULL)
			return err_set(e, RC_INVALID, "multipart_cut",
			    "The body ends within a part's head");
		line = (struct span){ s->p, (size_t)(lf - s->p) };
		skip(s, line.n + 1);
		left -= line.n + 1;
		if (line.n == 0 || line.p[line.n - 1] != '\r')
			return bad(e, "a line of a part's head ends without "
				      "CR LF");
		line.n--;
		if (memchr(line.p, '\r', line.n) != NULL ||
		    memchr(line.p, '\0', line.n) != NULL)
			return bad(e, "a part's head has a CR or NUL");
		if ((rc = read_field(line, head, arena, e)) != RC_OK)
			return rc;
	}
	return head->disposition ? RC_OK
				 : bad_part(e, "has no Content-Disposition");
}

/* ---- boundaries */

/* Behind "--boundary": what follows, taken off. */
static enum rc
after_boundary(struct span *s, bool *last, struct err *e)
{
	*last = s->n >= 2 && memcmp(s->p, "--", 2) == 0;
	if (*last)
		skip(s, 2);
	skip_blanks(s);
	if (s->n == 0 && *last)
		return RC_OK;
	if (s->n == 0 || (s->n == 1 && *s->p == '\r'))
		return err_set(e, RC_INVALID, "multipart_cut",
		    "The body ends at a boundary that is not the last");
	if (s->n < 2 || memcmp(s->p, "\r\n", 2) != 0)
		return bad(e, "a line begins like a boundary and goes on "
			      "otherwise");
	skip(s, 2);
	return RC_OK;
}

/* *s: from a CRLF before the next boundary on, or from the body's beginning.
 * What stands before it; *s goes behind "--boundary". */
static enum rc
until_boundary(
    struct span *s, struct span delimiter, struct span *before, struct err *e)
{
	const char *at =
	    s->n == 0 ? NULL : memmem(s->p, s->n, delimiter.p, delimiter.n);

	if (at == NULL)
		return err_set(e, RC_INVALID, "multipart_cut",
		    "The body ends before its last boundary");
	*before = (struct span){ s->p, (size_t)(at - s->p) };
	skip(s, before->n + delimiter.n);
	return RC_OK;
}

/* From behind a part's boundary line to behind the next "--boundary". */
static enum rc
read_part(struct span *s, struct span delimiter, struct part *out,
    struct arena *arena, struct err *e)
{
	struct head head = { .part = { .type = "" } };
	struct span body;
	enum rc rc;

	if ((rc = read_head(s, &head, arena, e)) != RC_OK ||
	    (rc = until_boundary(s, delimiter, &body, e)) != RC_OK)
		return rc;
	if (body.n > 0) /* the empty line's CRLF */
		skip(&body, 2);
	*out = head.part;
	out->body = body;
	return RC_OK;
}

enum rc
multipart_parse(struct span body, const char *boundary, int max,
    struct arena *arena, struct parts *out, struct err *e)
{
	char text[MULTIPART_BOUNDARY + 5];
	struct span delimiter = { text,
		(size_t)snprintf(text, sizeof text, "\r\n--%s", boundary) };
	struct span first = { text + 2, delimiter.n - 2 };
	struct span before;
	struct part *p;
	bool last;
	int n = 0;
	enum rc rc;

	assert(delimiter.n < sizeof text); /* multipart_boundary() made it */
	*out = (struct parts){ 0 };
	if (body.n >= first.n && memcmp(body.p, first.p, first.n) == 0)
		skip(&body, first.n);
	else if ((rc = until_boundary(&body, delimiter, &before, e)) != RC_OK)
		return rc;
	p = arena_alloc(arena, (size_t)max * sizeof *p);
	for (;;) {
		if ((rc = after_boundary(&body, &last, e)) != RC_OK)
			return rc;
		if (last)
			break;
		if (n == max)
			return err_set(e, RC_INVALID, "too_many_parts",
			    "The form has more than %d parts", max);
		if ((rc = read_part(&body, delimiter, &p[n], arena, e)) !=
		    RC_OK)
			return rc;
		n++;
	}
	*out = (struct parts){ n, p };
	return RC_OK;
}

enum rc
parts_one(const struct parts *parts, const char *name, const struct part **out,
    struct err *e)
{
	*out = NULL;
	for (int i = 0; i < parts->n; i++) {
		if (strcmp(parts->p[i].name, name) != 0)
			continue;
		if (*out != NULL)
			return err_set(e, RC_INVALID, "duplicate_field",
			    "The form has the field \"%s\" twice", name);
		*out = &parts->p[i];
	}
	return RC_OK;
}
