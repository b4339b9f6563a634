/*
 * By id and not by lease: a task that is done is done, whoever has its row.
 * What a queue elsewhere brings may have no row, since it was sent by somebody
 * else or was finished long ago.
 */
#include "store/queue_record.h"

#include <string.h>

#include "base/arena.h"
#include "store/pg.h"
#include "store/queue_int.h"

/* Written so that no index can be for it: the one that begins with the queue
 * would be read from end to end, for ten tasks among all that wait. */
#define OF_QUEUE "(queue = $2) IS TRUE"

/* How often it was received, with this time; for which there is a row. */
static const struct pg_stmt received = { "record_received",
	"WITH " QUEUE_LAZY " UPDATE outbox SET receives = receives + 1"
	" FROM lazy WHERE task_id = ANY($1::text[]) AND " OF_QUEUE
	" RETURNING task_id, receives",
	2 };
static const struct pg_stmt adopt = { "record_adopt",
	"INSERT INTO outbox (task_id, queue, type, priority, aggregate, data,"
	"  receives, shipped_at, visible_at)"
	" VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7::int, now(),"
	"  now() + $8::bigint * interval '1 ms')"
	" ON CONFLICT (task_id) DO NOTHING",
	8 };
static const struct pg_stmt unstarted = { "record_unstarted",
	"UPDATE outbox SET receives = greatest(receives - 1, 0)"
	" WHERE task_id = $1",
	1 };
static const struct pg_stmt finished = { "record_done",
	"WITH " QUEUE_LAZY " DELETE FROM outbox USING lazy"
	" WHERE task_id = ANY($1::text[]) AND " OF_QUEUE,
	2 };

/* It is known to be alive: not to be sent again for that long. */
static const struct pg_stmt failed = { "record_failed",
	"UPDATE outbox SET last_error = $3, history = " QUEUE_HISTORY
	", visible_at = CASE WHEN shipped_at IS NULL THEN visible_at"
	"  ELSE now() + $2::bigint * interval '1 ms' END"
	" WHERE task_id = $1",
	3 };

/* Without a row it is buried as it came. */
static const struct pg_stmt bury = { "record_bury",
	"WITH gone AS (DELETE FROM outbox WHERE task_id = $1"
	"  RETURNING *, " QUEUE_HISTORY " AS full_history),"
	" came AS (SELECT task_id, queue, type, priority, aggregate, data,"
	"   created_at, greatest(receives, $9::int) AS receives,"
	"   full_history FROM gone"
	"  UNION ALL SELECT $1, $2, $4, $5, $6, $7::jsonb,"
	"   to_timestamp($8::bigint / 1000.0), $9::int,"
	"   jsonb_build_array(jsonb_build_object('at', "
	"to_char(now()" QUEUE_RFC3339
	", 'error', $3::text)) WHERE NOT EXISTS (SELECT FROM gone)"
	"   AND NOT EXISTS (SELECT FROM finished_task WHERE task_id = $1))"
	" INSERT INTO dead_task AS d (task_id, queue, type, priority, "
	"aggregate,"
	"  data, created_at, receives, error, history)"
	" SELECT task_id, queue, type, priority, aggregate, data, created_at,"
	"  receives, full_history -> 0 ->> 'error', full_history FROM came"
	" ON CONFLICT (task_id) DO UPDATE SET died_at = now(),"
	"  receives = d.receives + excluded.receives,"
	"  history = d.history || excluded.history",
	9 };

/* The oldest that the queue has: no service says how old its oldest is. */
static const struct pg_stmt stats = { "record_stats",
	"SELECT (SELECT count(*) FROM outbox WHERE queue = $1"
	"  AND visible_at <= now() AND shipped_at IS NULL),"
	" (SELECT count(*) FROM dead_task WHERE queue = $1),"
	" (SELECT coalesce(max(extract(epoch FROM now() - shipped_at)) * 1000,"
	"  0)::bigint FROM (SELECT shipped_at FROM outbox WHERE queue = $1"
	"  AND shipped_at IS NOT NULL ORDER BY id LIMIT 1) o)",
	1 };

static const char *
ids_of(int n, const struct task *const tasks[], struct arena *arena)
{
	char *s = arena_strdup(arena, "{");

	for (int i = 0; i < n; i++) /* hex digits: no quotes */
		s = arena_concat(
		    arena, s, i == 0 ? "" : ",", tasks[i]->id, NULL);
	return arena_concat(arena, s, "}", NULL);
}

enum rc
record_received(struct pg *pg, int n, struct task tasks[], struct arena *arena,
    struct err *e)
{
	const struct task *list[QUEUE_BATCH];
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	for (int i = 0; i < n; i++)
		list[i] = &tasks[i];
	pg_arg_str(&args, ids_of(n, list, arena));
	pg_arg_str(&args, tasks[0].queue);
	rc = pg_exec(pg, PG_PRIMARY, &received, &args, arena, &rows, e);
	for (int r = 0; rc == RC_OK && r < rows.n; r++) {
		for (int i = 0; i < n; i++) {
			if (strcmp(tasks[i].id, pg_str(&rows, r, 0)) == 0)
				tasks[i].receives = (int)pg_int(&rows, r, 1);
		}
	}
	return rc;
}

enum rc
record_adopt(struct pg *pg, const struct task *task, int64_t resend_ms,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, task->id);
	pg_arg_str(&args, task->queue);
	pg_arg_str(&args, task->type);
	pg_arg_str(&args, task->priority);
	pg_arg_str(&args, task->aggregate);
	pg_arg_str(&args, arena_strndup(arena, task->data.p, task->data.n));
	pg_arg_int(&args, task->receives);
	pg_arg_int(&args, resend_ms);
	return pg_exec(pg, PG_PRIMARY, &adopt, &args, arena, NULL, e);
}

enum rc
record_unstarted(
    struct pg *pg, const struct task *task, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, task->id);
	return pg_exec(pg, PG_PRIMARY, &unstarted, &args, arena, NULL, e);
}

enum rc
record_done(struct pg *pg, int n, const struct task *const tasks[],
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, ids_of(n, tasks, arena));
	pg_arg_str(&args, tasks[0]->queue);
	return pg_exec(pg, PG_PRIMARY, &finished, &args, arena, NULL, e);
}

enum rc
record_failed(struct pg *pg, const struct task *task, int64_t alive_ms,
    const char *why, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, task->id);
	pg_arg_int(&args, alive_ms);
	pg_arg_str(&args, why);
	return pg_exec(pg, PG_PRIMARY, &failed, &args, arena, NULL, e);
}

enum rc
record_bury(struct pg *pg, const struct task *task, const char *why,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, task->id);
	pg_arg_str(&args, task->queue);
	pg_arg_str(&args, why);
	pg_arg_str(&args, task->type);
	pg_arg_str(&args, task->priority);
	pg_arg_str(&args, task->aggregate);
	pg_arg_str(&args, arena_strndup(arena, task->data.p, task->data.n));
	pg_arg_int(&args, task->created_ms);
	pg_arg_int(&args, task->receives);
	return pg_exec(pg, PG_PRIMARY, &bury, &args, arena, NULL, e);
}

enum rc
record_stats(struct pg *pg, const char *name, struct arena *arena,
    struct queue_stats *out, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, name);
	rc = pg_exec(pg, PG_PRIMARY, &stats, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	out->unsent = pg_int(&rows, 0, 0);
	out->dead = pg_int(&rows, 0, 1);
	out->oldest_ms = pg_int(&rows, 0, 2);
	return RC_OK;
}

const struct pg_stmt *const record_statements[] = { &received, &adopt,
	&unstarted, &finished, &failed, &bury, NULL };
