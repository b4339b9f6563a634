/*
 * Forms with files. The first line is the Content-Type, the rest the body. What
 * comes out lies in the body, in order, holds no boundary, and written down
 * again is the same form.
 */
#define _GNU_SOURCE /* memmem */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/multipart.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "tests/fuzz/fuzz.h"

#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what))                                                   \
			abort();                                               \
	} while (0)

enum { MAX = 4 };

static void
quoted(struct strbuf *out, const char *name, const char *value)
{
	if (value == NULL)
		return;
	strbuf_addf(out, "; %s=\"", name);
	for (; *value != '\0'; value++) {
		if (*value == '"' || *value == '\\')
			strbuf_addc(out, '\\');
		strbuf_addc(out, *value);
	}
	strbuf_addc(out, '"');
}

static void
write_again(const struct parts *parts, const char *boundary, struct strbuf *out)
{
	for (int i = 0; i < parts->n; i++) {
		const struct part *p = &parts->p[i];

		strbuf_addf(
		    out, "--%s\r\nContent-Disposition: form-data", boundary);
		quoted(out, "name", p->name);
		quoted(out, "filename", p->filename);
		if (*p->type != '\0')
			strbuf_addf(out, "\r\nContent-Type: %s", p->type);
		strbuf_adds(out, "\r\n\r\n");
		strbuf_addspan(out, p->body);
		strbuf_adds(out, "\r\n");
	}
	strbuf_addf(out, "--%s--\r\n", boundary);
}

static void
check(struct span body, const struct parts *parts, const char *boundary)
{
	const char *at = body.p;
	struct strbuf delimiter;

	strbuf_init(&delimiter, 80);
	strbuf_addf(&delimiter, "\r\n--%s", boundary);
	MUST(parts->n >= 0 && parts->n <= MAX);
	for (int i = 0; i < parts->n; i++) {
		const struct part *p = &parts->p[i];

		MUST(p->body.n == 0 || p->body.p >= at);
		if (p->body.n > 0)
			at = p->body.p + p->body.n;
		MUST(at <= body.p + body.n);
		MUST(p->body.n == 0 || memmem(p->body.p, p->body.n, delimiter.s,
					   delimiter.len) == NULL);
		MUST(utf8_valid(p->name, strlen(p->name)));
		MUST(p->filename == NULL ||
		     utf8_valid(p->filename, strlen(p->filename)));
	}
	strbuf_release(&delimiter);
}

static bool
same(const char *a, const char *b)
{
	return a == NULL ? b == NULL : b != NULL && strcmp(a, b) == 0;
}

static void
check_again(
    const struct parts *parts, const char *boundary, struct arena *arena)
{
	struct parts again;
	struct strbuf sb;

	strbuf_init(&sb, 256);
	write_again(parts, boundary, &sb);
	/* Unless escaping made a head too long. */
	if (multipart_parse(strbuf_span(&sb), boundary, MAX, arena, &again,
		NULL) == RC_OK) {
		MUST(again.n == parts->n);
		for (int i = 0; i < again.n; i++) {
			const struct part *a = &again.p[i], *b = &parts->p[i];

			MUST(same(a->name, b->name));
			MUST(same(a->filename, b->filename));
			MUST(same(a->type, b->type));
			MUST(span_eq(a->body, b->body));
		}
	} else {
		MUST(sb.len > MULTIPART_HEAD);
	}
	strbuf_release(&sb);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *s = (const char *)data;
	const char *lf = n == 0 ? NULL : memchr(s, '\n', n);
	char boundary[MULTIPART_BOUNDARY + 1];
	struct arena *arena;
	struct parts parts;
	struct span body;

	if (lf == NULL)
		return 0;
	arena = arena_new();
	body = (struct span){ lf + 1, n - (size_t)(lf + 1 - s) };
	if (multipart_boundary(arena_strndup(arena, s, (size_t)(lf - s)),
		boundary, NULL) == RC_OK) {
		enum rc rc =
		    multipart_parse(body, boundary, MAX, arena, &parts, NULL);

		MUST(rc == RC_OK || (rc == RC_INVALID && parts.n == 0));
		check(body, &parts, boundary);
		if (rc == RC_OK)
			check_again(&parts, boundary, arena);
	}
	arena_free(arena);
	return 0;
}
