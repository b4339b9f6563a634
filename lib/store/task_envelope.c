/*
 * Strict in what may become a key or a name (id, type), since both go to logs
 * and tables; what JSON is, and what jsonb takes of it, is jread's business.
 * The data stays as it was written.
 */
#include "store/task_envelope.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/jread.h"
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

/* What is wanted of one; NULL: not there, or no string where one is wanted. */
struct members {
	const char *id, *type, *priority, *created;
	struct span data;
	unsigned seen; /* a bit each */
};

static const char *const names[] = { "id", "type", "priority", "createdAt",
	"data" };
enum { ID, TYPE, PRIORITY, CREATED, DATA, NAMES };

static bool
saw(const struct members *m, int which)
{
	return (m->seen & 1U << which) != 0;
}

/* false: one of them comes twice. */
static bool
take_member(
    struct jread *j, struct span name, struct arena *arena, struct members *out)
{
	const char **const strings[] = { &out->id, &out->type, &out->priority,
		&out->created };
	int i = 0;

	while (i < NAMES && !span_is(name, names[i]))
		i++;
	if (i == NAMES) {
		(void)jread_value(j);
		return true;
	}
	if (saw(out, i))
		return false;
	out->seen |= 1U << i;
	if (i != DATA)
		*strings[i] = jread_string(j, arena);
	else
		out->data = jread_value(j);
	return true;
}

static enum rc
read_members(
    struct span body, struct arena *arena, struct members *out, struct err *e)
{
	struct jread j = jread_new(body);
	struct span name;

	*out = (struct members){ 0 };
	if (!jread_object(&j))
		return bad(e, "not a JSON object");
	while (jread_member(&j, &name)) {
		if (!take_member(&j, name, arena, out))
			return bad(e, "a member comes twice");
	}
	return jread_end(&j) ? RC_OK : bad(e, "not JSON");
}

static const char *
read_priority(const char *s, const char *type)
{
	static const char *const known[] = { "high", "normal", "low" };
	const struct task_type *row = task_type(type);

	for (size_t i = 0; s != NULL && i < sizeof known / sizeof *known; i++) {
		if (strcmp(s, known[i]) == 0)
			return known[i];
	}
	return row == NULL ? "normal" : row->priority;
}

static bool
is_type(const char *s)
{
	size_t n = s == NULL ? 0 : strlen(s);

	return n > 0 && n <= TASK_TYPE_MAX && is_made_of(s, n, "_.-:");
}

static bool
read_time(const struct members *m, int64_t *out)
{
	const char *s = m->created;
	int64_t now = clock_wall_ms();

	*out = now;
	if (!saw(m, CREATED))
		return true;
	/* time_parse() knows "now" and distances, too. */
	return s != NULL && *s >= '0' && *s <= '9' &&
	       time_parse(s, now, out) == 0;
}

enum rc
task_envelope_read(
    struct span body, struct arena *arena, struct task *task, struct err *e)
{
	struct task t = { .queue = "", .aggregate = "", .receipt = "" };
	struct members m;
	enum rc rc = read_members(body, arena, &m, e);

	if (rc != RC_OK)
		return rc;
	t.id = saw(&m, ID) ? m.id : hash_of(body, arena);
	if (t.id == NULL || !is_id(t.id))
		return bad(e, "id: 32 lower-case hex digits are wanted");
	if (!is_type(m.type))
		return bad(e, "type: a word is wanted");
	t.type = m.type;
	t.priority = read_priority(m.priority, t.type);
	if (!read_time(&m, &t.created_ms))
		return bad(e, "createdAt: a time as of RFC 3339 is wanted");
	if (m.data.n == 0 || *m.data.p != '{')
		return bad(e, "data: a JSON object is wanted");
	t.data =
	    (struct span){ arena_strndup(arena, m.data.p, m.data.n), m.data.n };
	*task = t;
	return RC_OK;
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
