/*
 * Strict in what may become a key or a name (id, type), since both go to logs
 * and tables; RFC 8259 is jansson's business. It takes no \u0000 and no number
 * beyond 64 bits or a double's range, and neither would jsonb or we.
 */
#include "store/task_envelope.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/outbox.h"
#include "store/queue.h"

enum { SHOWN_MAX = 8192 }; /* of an unreadable body */

/* RFC 3339 with milliseconds. */
static void
add_time(struct strbuf *out, int64_t wall_ms)
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;
	char buf[40];

	if (wall_ms < 0 || gmtime_r(&t, &tm) == NULL ||
	    strftime(buf, sizeof buf, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		strbuf_adds(out, "1970-01-01T00:00:00.000Z");
	else
		strbuf_addf(out, "%s.%03dZ", buf, (int)(wall_ms % 1000));
}

static void
add_string(struct strbuf *out, const char *name, const char *value)
{
	strbuf_addf(out, "\"%s\":\"", name);
	strbuf_add_json(out, value, strlen(value));
	strbuf_adds(out, "\",");
}

/*
 * As it is, but U+FFFE and U+FFFF, which SQS refuses as XML does, are escaped:
 * in JSON they can stand in strings only.
 */
static void
add_data(struct strbuf *out, struct span data)
{
	const char *p = data.p, *end = data.p + data.n, *at;

	while (p < end && (at = memchr(p, '\xef', (size_t)(end - p))) != NULL) {
		bool escape = end - at >= 3 && at[1] == '\xbf' &&
			      (at[2] == '\xbe' || at[2] == '\xbf');

		strbuf_add(out, p, (size_t)(at - p));
		if (escape)
			strbuf_adds(
			    out, at[2] == '\xbe' ? "\\ufffe" : "\\uffff");
		else
			strbuf_addc(out, *at);
		p = at + (escape ? 3 : 1);
	}
	strbuf_add(out, p, (size_t)(end - p));
}

void
task_envelope_write(const struct task *task, struct strbuf *out)
{
	strbuf_addc(out, '{');
	add_string(out, "id", task->id);
	add_string(out, "type", task->type);
	add_string(out, "priority", task->priority);
	strbuf_adds(out, "\"createdAt\":\"");
	add_time(out, task->created_ms);
	strbuf_adds(out, "\",\"data\":");
	add_data(out, task->data);
	strbuf_addc(out, '}');
}

/* ---- reading */

static enum rc
bad(struct err *e, const char *what)
{
	return err_set(e, RC_INVALID, "bad_task", "no task: %s", what);
}

static bool
is_made_of(const char *s, size_t n, const char *extra)
{
	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			(c >= 'A' && c <= 'Z') || strchr(extra, c) != NULL))
			return false;
	}
	return true;
}

static bool
is_id(const char *s)
{
	return strlen(s) == TASK_ID_CHARS &&
	       strspn(s, "0123456789abcdef") == TASK_ID_CHARS;
}

static char *
hash_of(struct span body, struct arena *arena)
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	char *id = arena_alloc(arena, TASK_ID_CHARS + 1);

	(void)crypto_hash_sha256(
	    hash, (const unsigned char *)(body.n == 0 ? "" : body.p), body.n);
	text_hex(hash, TASK_ID_CHARS / 2, id);
	return id;
}

/* NULL: there, and wrong. */
static const char *
read_id(const json_t *member, struct span body, struct arena *arena)
{
	const char *id;

	if (member == NULL)
		return hash_of(body, arena);
	id = json_string_value(member);
	return id != NULL && is_id(id) ? arena_strdup(arena, id) : NULL;
}

static const char *
read_type(const json_t *member, struct arena *arena)
{
	const char *type = json_string_value(member);
	size_t n = type == NULL ? 0 : strlen(type);

	if (n == 0 || n > TASK_TYPE_MAX || !is_made_of(type, n, "_.-:"))
		return NULL;
	return arena_strdup(arena, type);
}

static const char *
read_priority(const json_t *member, const char *type)
{
	static const char *const known[] = { "high", "normal", "low" };
	const char *s = json_string_value(member);
	const struct task_type *row = task_type(type);

	for (size_t i = 0; s != NULL && i < sizeof known / sizeof *known; i++) {
		if (strcmp(s, known[i]) == 0)
			return known[i];
	}
	return row == NULL ? "normal" : row->priority;
}

static bool
read_time(const json_t *member, int64_t *out)
{
	const char *s = json_string_value(member);
	int64_t now = clock_wall_ms();

	*out = now;
	if (member == NULL)
		return true;
	/* time_parse() knows "now" and distances, too. */
	return s != NULL && *s >= '0' && *s <= '9' &&
	       time_parse(s, now, out) == 0;
}

static struct span
read_data(const json_t *member, struct arena *arena)
{
	char *text = json_dumps(member, JSON_COMPACT);
	struct span data;

	if (text == NULL)
		xmalloc_failed();
	data = span_of(arena_strdup(arena, text));
	free(text);
	return data;
}

static enum rc
read_members(const json_t *root, struct span body, struct arena *arena,
    struct task *task, struct err *e)
{
	const json_t *data = json_object_get(root, "data");
	struct task t = { .queue = "", .aggregate = "", .receipt = "" };

	if (!json_is_object(root))
		return bad(e, "not a JSON object");
	t.id = read_id(json_object_get(root, "id"), body, arena);
	if (t.id == NULL)
		return bad(e, "id: 32 lower-case hex digits are wanted");
	t.type = read_type(json_object_get(root, "type"), arena);
	if (t.type == NULL)
		return bad(e, "type: a word is wanted");
	t.priority = read_priority(json_object_get(root, "priority"), t.type);
	if (!read_time(json_object_get(root, "createdAt"), &t.created_ms))
		return bad(e, "createdAt: a time as of RFC 3339 is wanted");
	if (!json_is_object(data))
		return bad(e, "data: a JSON object is wanted");
	t.data = read_data(data, arena);
	*task = t;
	return RC_OK;
}

enum rc
task_envelope_read(
    struct span body, struct arena *arena, struct task *task, struct err *e)
{
	json_t *root;
	enum rc rc;

	if (body.n == 0)
		return bad(e, "an empty message");
	root = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL);
	if (root == NULL)
		return bad(e, "not JSON");
	rc = read_members(root, body, arena, task, e);
	json_decref(root);
	return rc;
}

/* ---- what is none */

/* Bytes that are no text, and NUL, which jsonb does not take, are shown as ?.
 */
static void
add_as_text(struct strbuf *out, struct span s)
{
	for (size_t at = 0; at < s.n;) {
		size_t len = utf8_sequence(s.p + at, s.n - at);

		if (len == 0 || s.p[at] == '\0') {
			strbuf_addc(out, '?');
			at++;
		} else {
			strbuf_add_json(out, s.p + at, len);
			at += len;
		}
	}
}

void
task_envelope_unreadable(
    struct span body, struct arena *arena, struct task *task)
{
	struct span shown = { body.p,
		body.n < SHOWN_MAX ? body.n
				   : utf8_cut(body.p, body.n, SHOWN_MAX) };
	struct strbuf sb;

	strbuf_init(&sb, shown.n + 32);
	strbuf_adds(&sb, "{\"body\":\"");
	add_as_text(&sb, shown);
	strbuf_adds(&sb, "\"}");
	*task = (struct task){
		.id = hash_of(body, arena),
		.type = "unreadable",
		.queue = "",
		.priority = "normal",
		.aggregate = "",
		.created_ms = clock_wall_ms(),
		.data = { arena_memdup(arena, sb.s, sb.len + 1), sb.len },
		.receipt = "",
	};
	strbuf_release(&sb);
}
