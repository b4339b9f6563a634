/*
 * Templates and data: up to five parts of the input, separated by a line of
 * "====": JSON, then the templates main, p, q and r.
 *
 * What is held beside "nothing breaks": the output is UTF-8, rendering twice
 * gives the same, a refused rendering leaves the buffer as it was, and an
 * indented partial is the partial with each of its lines indented before it is
 * compiled (the specification's words, done the slow way).
 */
#define _GNU_SOURCE /* memmem */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mustache.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "tests/fuzz/fuzz.h"

enum { PARTS = 5 };

static const char *const names[PARTS] = { "", "main", "p", "q", "r" };

#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what))                                                   \
			abort();                                               \
	} while (0)

static int
split(struct span in, struct span parts[PARTS])
{
	static const char mark[] = "\n====\n";
	int n = 0;

	while (n < PARTS - 1) {
		const char *at =
		    in.n == 0 ? NULL
			      : memmem(in.p, in.n, mark, sizeof mark - 1);

		if (at == NULL)
			break;
		size_t len = (size_t)(at - in.p);

		parts[n++] = (struct span){ in.p, len };
		in.p = at + sizeof mark - 1;
		in.n -= len + sizeof mark - 1;
	}
	parts[n++] = in;
	return n;
}

static enum rc
render(const struct mustache *set, const char *name, const json_t *data,
    struct strbuf *out)
{
	const json_t *ctx[] = { data };
	struct err e = ERR_INIT;
	enum rc rc = mustache_render(set, name, 1, ctx, out, &e);

	MUST(rc == RC_OK || (rc == RC_FAIL && e.msg[0] != '\0'));
	MUST(rc == RC_OK || out->len == 0);
	MUST(utf8_valid(out->s, out->len));
	return rc;
}

/* Not with parents: their arguments lose the indentation of where they stand,
 * but for text on the line of the tag itself. */
static void
indented(struct mustache *set, struct span text, const json_t *data)
{
	static const char tag[] = " \t{{>p}}";
	struct strbuf slow, a, b;
	enum rc rc;

	strbuf_init(&slow, text.n * 2);
	strbuf_init(&a, 0);
	strbuf_init(&b, 0);
	for (size_t i = 0; i < text.n; i++) {
		if (i == 0 || text.p[i - 1] == '\n')
			strbuf_add(&slow, " \t", 2);
		strbuf_addc(&slow, text.p[i]);
	}
	if (mustache_add(set, "slow", slow.s, slow.len, NULL) == RC_OK &&
	    mustache_add(set, "fast", tag, sizeof tag - 1, NULL) == RC_OK) {
		rc = render(set, "slow", data, &a);
		/* The partial itself takes one level of the depth. */
		if (render(set, "fast", data, &b) == RC_OK)
			MUST(rc == RC_OK && a.len == b.len &&
			     memcmp(a.s, b.s, a.len) == 0);
	}
	strbuf_release(&slow);
	strbuf_release(&a);
	strbuf_release(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
	struct span parts[PARTS] = { 0 };
	int count = split((struct span){ (const char *)in, n }, parts);
	struct mustache *set = mustache_new();
	json_t *data = json_loadb(
	    parts[0].p, parts[0].n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	bool parents = false;
	struct strbuf out, again;
	int good = 0;

	strbuf_init(&out, 0);
	strbuf_init(&again, 0);
	for (int i = 1; i < count; i++) {
		struct err e = ERR_INIT;
		enum rc rc =
		    mustache_add(set, names[i], parts[i].p, parts[i].n, &e);

		MUST(rc == RC_OK || (rc == RC_INVALID && e.msg[0] != '\0'));
		if (rc == RC_OK)
			good++;
		parents =
		    parents || memchr(parts[i].p, '<', parts[i].n) != NULL;
	}
	enum rc checked = mustache_check(set, NULL);

	MUST(checked == RC_OK || checked == RC_INVALID);
	if (data != NULL && good > 0 && good == count - 1) {
		enum rc rc = render(set, "main", data, &out);

		MUST(render(set, "main", data, &again) == rc);
		MUST(out.len == again.len &&
		     memcmp(out.s, again.s, out.len) == 0);
		if (count > 2 && !parents)
			indented(set, parts[2], data);
	}
	strbuf_release(&out);
	strbuf_release(&again);
	json_decref(data);
	mustache_free(set);
	return 0;
}
