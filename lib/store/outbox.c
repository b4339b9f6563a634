/*
 * The outbox is a table (sql/0004_tasks.sql); queue_pg.c is how workers take
 * from it. A row is written with its cause and has no life of its own before
 * that commits.
 *
 * Written twice it is one task: its id is unique. One that was finished or is
 * dead is not written again either. That look is no lock: a task finished in
 * that very moment may come back, and ends at task_finish().
 */
#include "store/outbox.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "store/pg.h"
#include "store/redis.h"

static const struct task_type types[] = {
	{ "decrease_stock", "inventory", "high" },
	{ "release_stock", "inventory", "high" },
	{ "process_payment", "payment", "high" },
	{ "refund_payment", "payment", "high" },
	{ "process_image", "image", "normal" },
	{ "order_confirmation", "email", "low" },
	{ "send_email", "email", "low" },
	{ "track_event", "analytics", "low" },
	{ "order_placed", "analytics", "low" },
	{ "purge", "housekeeping", "normal" },
};

/* A bit each in outbox_waker.noted. */
const char *const task_queues[] = { "inventory", "payment", "email", "image",
	"analytics", "housekeeping", NULL };
enum { QUEUES = sizeof task_queues / sizeof task_queues[0] - 1, WAKE_MS = 50 };

static const struct pg_stmt outbox_insert = { "outbox_insert",
	"INSERT INTO outbox (task_id, queue, type, priority, aggregate, data,"
	"  visible_at)"
	" SELECT t.id, t.queue, t.type, t.priority, coalesce(t.data ->>"
	"  'orderId', ''), t.data,"
	"  CASE WHEN t.delay < 0 THEN 'infinity'"
	"  ELSE clock_timestamp() + t.delay * interval '1 ms' END"
	" FROM jsonb_to_recordset($1::jsonb) AS t(id text, queue text,"
	"  type text, priority text, data jsonb, delay bigint)"
	" WHERE NOT EXISTS (SELECT FROM finished_task f WHERE f.task_id = t.id)"
	"  AND NOT EXISTS (SELECT FROM dead_task d WHERE d.task_id = t.id)"
	" ON CONFLICT (task_id) DO NOTHING",
	1 };
static const struct pg_stmt outbox_due = { "outbox_due",
	"UPDATE outbox SET visible_at = clock_timestamp()"
	" WHERE task_id = $1 AND visible_at = 'infinity'",
	1 };
/* A task that is due already may be in somebody's hands: it stays. */
static const struct pg_stmt outbox_delete = { "outbox_delete",
	"DELETE FROM outbox WHERE task_id = $1 AND visible_at = 'infinity'",
	1 };
static const struct pg_stmt task_finished = { "task_finished",
	"INSERT INTO finished_task (task_id) VALUES ($1)"
	" ON CONFLICT DO NOTHING",
	1 };

static const struct pg_stmt finished_purge = { "finished_task_purge",
	"DELETE FROM finished_task WHERE task_id = ANY(ARRAY("
	"SELECT task_id FROM finished_task f"
	" WHERE finished_at < now() - interval '14 days'"
	" AND NOT EXISTS (SELECT FROM outbox o WHERE o.task_id = f.task_id)"
	" AND NOT EXISTS (SELECT FROM dead_task d WHERE d.task_id = f.task_id)"
	" ORDER BY finished_at LIMIT $1))",
	1 };

const struct pg_stmt *const outbox_statements[] = { &outbox_due, &outbox_delete,
	&task_finished, NULL };

const struct task_type *
task_type(const char *type)
{
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (strcmp(types[i].type, type) == 0)
			return &types[i];
	}
	return NULL;
}

void
task_id(const char *type, const char *key, char id[TASK_ID_CHARS + 1])
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state st;

	(void)crypto_hash_sha256_init(&st);
	/* With the NUL: "ab" "c" is not "a" "bc". */
	(void)crypto_hash_sha256_update(
	    &st, (const unsigned char *)type, strlen(type) + 1);
	(void)crypto_hash_sha256_update(
	    &st, (const unsigned char *)key, strlen(key));
	(void)crypto_hash_sha256_final(&st, hash);
	text_hex(hash, TASK_ID_CHARS / 2, id);
}

enum rc
outbox_write(struct pg *pg, int n, const struct outbox_task tasks[],
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct strbuf sb;
	enum rc rc;

	if (n == 0)
		return RC_OK;
	strbuf_init(&sb, (size_t)n * 256);
	for (int i = 0; i < n; i++) {
		const struct task_type *t = task_type(tasks[i].type);
		char id[TASK_ID_CHARS + 1];

		assert(t != NULL);
		task_id(tasks[i].type, tasks[i].key, id);
		/* data is JSON: it is put in as it is. */
		strbuf_addf(&sb,
		    "%c{\"id\":\"%s\",\"queue\":\"%s\",\"type\":\"%s\","
		    "\"priority\":\"%s\",\"delay\":%lld,\"data\":%s}",
		    i == 0 ? '[' : ',', id, t->queue, t->type, t->priority,
		    (long long)tasks[i].delay_ms, tasks[i].data);
	}
	strbuf_addc(&sb, ']');
	pg_arg_str(&args, sb.s);
	rc = pg_exec(pg, PG_PRIMARY, &outbox_insert, &args, arena, NULL, e);
	strbuf_release(&sb);
	return rc;
}

static enum rc
by_id(struct pg *pg, const struct pg_stmt *st, const char *type,
    const char *key, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	char id[TASK_ID_CHARS + 1];

	assert(task_type(type) != NULL);
	task_id(type, key, id);
	pg_arg_str(&args, id);
	return pg_exec(pg, PG_PRIMARY, st, &args, arena, NULL, e);
}

enum rc
outbox_show(struct pg *pg, const char *type, const char *key,
    struct arena *arena, struct err *e)
{
	return by_id(pg, &outbox_due, type, key, arena, e);
}

enum rc
outbox_drop(struct pg *pg, const char *type, const char *key,
    struct arena *arena, struct err *e)
{
	return by_id(pg, &outbox_delete, type, key, arena, e);
}

enum rc
task_finish(struct pg *pg, const char *id, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, id);
	rc = pg_exec(pg, PG_PRIMARY, &task_finished, &args, arena, &rows, e);
	if (rc == RC_OK && rows.affected == 0)
		return err_set(e, RC_NONE, "task_finished",
		    "task %s has had its effect", id);
	return rc;
}

enum rc
finished_task_purge(
    struct pg *pg, int max, struct arena *arena, int64_t *n, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, max);
	rc = pg_exec(pg, PG_PRIMARY, &finished_purge, &args, arena, &rows, e);
	if (rc == RC_OK)
		*n = rows.affected;
	return rc;
}

void
outbox_note(struct outbox_waker *waker, const char *queue)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		if (strcmp(task_queues[i], queue) == 0) {
			waker->noted |= 1U << i;
			return;
		}
	}
	assert(false && "a queue that is none");
}

void
outbox_wake(
    struct outbox_waker *waker, struct redis *redis, struct arena *arena)
{
	int64_t now;
	struct redis_reply reply;
	char names[128] = "";
	size_t len = 0;

	if (waker->noted == 0)
		return;
	now = clock_mono_ms();
	if (now < waker->not_before)
		return;
	for (unsigned i = 0; i < QUEUES; i++) {
		if ((waker->noted & 1U << i) != 0)
			len += (size_t)snprintf(names + len, sizeof names - len,
			    "%s%s", len > 0 ? " " : "", task_queues[i]);
	}
	waker->noted = 0;
	waker->not_before = now + WAKE_MS;
	/* Not told: they poll. */
	(void)!redis_callv(redis, NULL, arena, &reply, NULL, "PUBLISH",
	    "queue:wake", names, NULL);
}
