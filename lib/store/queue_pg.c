/*
 * pg: - the outbox itself as the queue.
 *
 *	due        visible_at <= now()
 *	leased     lease set, visible_at = lease_until: it is due again by
 *	           itself when the lease ends
 *	delayed    no lease, visible_at in the future
 *	hidden     visible_at = 'infinity' (outbox_show)
 *
 * so that one index (queue, visible_at, id) serves all of it. A claim is one
 * statement for a whole batch with SKIP LOCKED: receivers never wait for each
 * other. ARRAY(...) and not IN (...): a plan may run the sub-query of an IN
 * more than once and then claims more than LIMIT; and a join would be planned
 * for a LIMIT nobody knows, by reading the whole table.
 *
 * The receipt is random and one per claim: whoever settles names it, so that
 * one who lost his lease settles nothing.
 *
 * now() where an index is asked, since it does not change within a statement;
 * clock_timestamp() is not used even for writing: outside of a transaction both
 * are the same.
 *
 * Does not wait (wait_ms): who wants to be woken listens to Redis's queue:wake.
 */
#include "store/queue_pg.h"

#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/text.h"
#include "store/pg.h"
#include "store/queue_int.h"

static const struct pg_stmt receive = { "queue_receive",
	"WITH " QUEUE_LAZY ", due(ids) AS MATERIALIZED (SELECT ARRAY("
	"  SELECT id FROM outbox"
	"  WHERE queue = $1 AND visible_at <= now()"
	"  ORDER BY visible_at, id LIMIT $2 FOR UPDATE SKIP LOCKED)),"
	" taken AS (UPDATE outbox o SET lease = $3, receives = receives + 1,"
	"   visible_at = now() + $4::bigint * interval '1 ms',"
	"   lease_until = now() + $4::bigint * interval '1 ms'"
	"  FROM due, lazy WHERE o.id = ANY(due.ids)"
	"  RETURNING array_position(due.ids, o.id) AS place, o.task_id, o.type,"
	"   o.priority, floor(extract(epoch FROM o.created_at) * 1000)::bigint"
	"   AS created, o.data::text AS data, o.receives, o.aggregate)"
	" SELECT task_id, type, priority, created, data, receives, aggregate"
	" FROM taken"
	" ORDER BY place",
	4 };

/* $1: {task,...}; $2: {receipt,...} */
static const struct pg_stmt extend = { "queue_extend",
	"WITH " QUEUE_LAZY " UPDATE outbox o"
	" SET visible_at = now() + $3::bigint * interval '1 ms',"
	"  lease_until = now() + $3::bigint * interval '1 ms'"
	" FROM lazy, unnest($1::text[], $2::text[]) AS t(id, lease)"
	" WHERE o.task_id = t.id AND o.lease = t.lease"
	" RETURNING o.task_id, o.lease",
	3 };

static const struct pg_stmt done = { "queue_done",
	"WITH " QUEUE_LAZY " DELETE FROM outbox o USING lazy,"
	" unnest($1::text[], $2::text[]) AS t(id, lease) WHERE o.task_id = "
	"t.id AND o.lease = t.lease"
	" RETURNING o.task_id, o.lease",
	2 };

static const struct pg_stmt return_unstarted = { "queue_return_unstarted",
	"UPDATE outbox SET lease = NULL, lease_until = NULL,"
	" visible_at = now() + $3::bigint * interval '1 ms',"
	" receives = greatest(receives - 1, 0)"
	" WHERE task_id = $1 AND lease = $2",
	3 };

static const struct pg_stmt return_failed = { "queue_return_failed",
	"UPDATE outbox SET lease = NULL, lease_until = NULL,"
	" visible_at = now() + $4::bigint * interval '1 ms',"
	" last_error = $3, history = " QUEUE_HISTORY
	" WHERE task_id = $1 AND lease = $2",
	4 };

/* There already: it was sent back by a person and died again in a way that
 * left the old row; nothing of either is lost. */
static const struct pg_stmt bury = { "queue_bury",
	"WITH gone AS (DELETE FROM outbox WHERE task_id = $1 AND lease = $2"
	"  RETURNING *, " QUEUE_HISTORY " AS full_history)"
	" INSERT INTO dead_task AS d (task_id, queue, type, priority, "
	"aggregate,"
	"  data, created_at, receives, error, history)"
	" SELECT task_id, queue, type, priority, aggregate, data, created_at,"
	"  receives, full_history -> 0 ->> 'error', full_history FROM gone"
	" ON CONFLICT (task_id) DO UPDATE SET died_at = now(),"
	"  receives = d.receives + excluded.receives,"
	"  history = d.history || excluded.history",
	3 };

static const struct pg_stmt stats = { "queue_stats",
	"SELECT (SELECT count(*) FROM outbox WHERE queue = $1"
	"  AND visible_at <= now()),"
	" (SELECT count(*) FROM outbox WHERE queue = $1 AND lease IS NOT NULL"
	"  AND visible_at > now()),"
	" (SELECT count(*) FROM outbox WHERE queue = $1 AND lease IS NULL"
	"  AND visible_at > now() AND visible_at < 'infinity'),"
	" (SELECT coalesce(max(extract(epoch FROM now() - visible_at)) * 1000, "
	"0)"
	"  ::bigint FROM (SELECT visible_at FROM outbox WHERE queue = $1"
	"  AND visible_at <= now() ORDER BY visible_at LIMIT 1) o),"
	" (SELECT count(*) FROM dead_task WHERE queue = $1)",
	1 };

static enum rc
pgq_receive(struct queue *queue, int max, int wait_ms, struct arena *arena,
    struct task **out, int *n, struct err *e)
{
	int64_t start = clock_mono_ms();
	struct pg_args args = { 0 };
	struct pg_rows rows;
	struct task *tasks;
	char *receipt = arena_alloc(arena, 33);
	enum rc rc;

	(void)wait_ms;
	text_random_id(receipt);
	pg_arg_str(&args, queue->name);
	pg_arg_int(&args, max);
	pg_arg_str(&args, receipt);
	pg_arg_int(&args, queue->opts.visibility_ms);
	rc = pg_exec(
	    queue->opts.pg, PG_PRIMARY, &receive, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	tasks = arena_calloc(arena, (size_t)rows.n + 1, sizeof *tasks);
	for (int i = 0; i < rows.n; i++)
		tasks[i] = (struct task){
			.id = pg_str(&rows, i, 0),
			.type = pg_str(&rows, i, 1),
			.queue = arena_strdup(arena, queue->name),
			.priority = pg_str(&rows, i, 2),
			.created_ms = pg_int(&rows, i, 3),
			.data = pg_cell(&rows, i, 4),
			.receives = (int)pg_int(&rows, i, 5),
			.aggregate = pg_str(&rows, i, 6),
			.receipt = receipt,
			/* From before it was asked for: rather too early. */
			.lease_until_ms = start + queue->opts.visibility_ms,
		};
	*out = tasks;
	*n = rows.n;
	return RC_OK;
}

/* "{a,b}" of what needs no quotes: ids and receipts are hex digits. */
static const char *
list_of(
    int n, const struct task *const tasks[], bool receipts, struct arena *arena)
{
	char *s = arena_strdup(arena, "{");

	for (int i = 0; i < n; i++)
		s = arena_concat(arena, s, i == 0 ? "" : ",",
		    receipts ? tasks[i]->receipt : tasks[i]->id, NULL);
	return arena_concat(arena, s, "}", NULL);
}

/* $1 and $2 of a statement about several. */
static void
args_leases(struct pg_args *args, int n, const struct task *const tasks[],
    struct arena *arena)
{
	pg_arg_str(args, list_of(n, tasks, false, arena));
	pg_arg_str(args, list_of(n, tasks, true, arena));
}

static enum rc
lease_lost(const struct task *task, struct err *e)
{
	return err_set(
	    e, RC_NONE, "lease_lost", "task %s: the lease is lost", task->id);
}

static bool
is_among(const struct pg_rows *rows, const struct task *task)
{
	for (int i = 0; i < rows->n; i++) {
		if (strcmp(pg_str(rows, i, 0), task->id) == 0 &&
		    strcmp(pg_str(rows, i, 1), task->receipt) == 0)
			return true;
	}
	return false;
}

static enum rc
pgq_extend(struct queue *queue, int n, struct task *tasks[], bool lost[],
    struct arena *arena, struct err *e)
{
	int64_t start = clock_mono_ms();
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	args_leases(&args, n, (const struct task *const *)tasks, arena);
	pg_arg_int(&args, queue->opts.visibility_ms);
	rc = pg_exec(
	    queue->opts.pg, PG_PRIMARY, &extend, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	for (int i = 0; i < n; i++) {
		bool held = is_among(&rows, tasks[i]);

		if (held)
			tasks[i]->lease_until_ms =
			    start + queue->opts.visibility_ms;
		else
			rc = lease_lost(tasks[i], e);
		if (lost != NULL)
			lost[i] = !held;
	}
	return rc;
}

/* The statements that settle: $1 the task, $2 the receipt. */
static enum rc
settle(struct queue *queue, const struct pg_stmt *st, struct pg_args *args,
    const struct task *task, struct arena *arena, struct err *e)
{
	struct pg_rows rows;
	enum rc rc =
	    pg_exec(queue->opts.pg, PG_PRIMARY, st, args, arena, &rows, e);

	if (rc == RC_OK && rows.affected == 0)
		return lease_lost(task, e);
	return rc;
}

static enum rc
pgq_done(struct queue *queue, int n, const struct task *const tasks[],
    bool lost[], struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	args_leases(&args, n, tasks, arena);
	rc = pg_exec(queue->opts.pg, PG_PRIMARY, &done, &args, arena, &rows, e);
	for (int i = 0; i < n && (rc == RC_OK || rc == RC_NONE); i++) {
		bool held = is_among(&rows, tasks[i]);

		if (!held)
			rc = lease_lost(tasks[i], e);
		if (lost != NULL)
			lost[i] = !held;
	}
	return rc;
}

static enum rc
pgq_return(struct queue *queue, const struct task *task, int64_t delay_ms,
    const char *why, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, task->id);
	pg_arg_str(&args, task->receipt);
	if (why != NULL)
		pg_arg_str(&args, why);
	pg_arg_int(&args, delay_ms);
	if (why == NULL)
		return settle(queue, &return_unstarted, &args, task, arena, e);
	return settle(queue, &return_failed, &args, task, arena, e);
}

static enum rc
pgq_bury(struct queue *queue, const struct task *task, const char *why,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, task->id);
	pg_arg_str(&args, task->receipt);
	pg_arg_str(&args, why);
	return settle(queue, &bury, &args, task, arena, e);
}

static enum rc
pgq_stats(struct queue *queue, struct arena *arena, struct queue_stats *out,
    struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, queue->name);
	rc =
	    pg_exec(queue->opts.pg, PG_PRIMARY, &stats, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	*out = (struct queue_stats){
		.depth = pg_int(&rows, 0, 0),
		.in_flight = pg_int(&rows, 0, 1),
		.delayed = pg_int(&rows, 0, 2),
		.oldest_ms = pg_int(&rows, 0, 3),
		.dead = pg_int(&rows, 0, 4),
	};
	return RC_OK;
}

const struct queue_driver queue_pg_driver = {
	.scheme = "pg:",
	.receive = pgq_receive,
	.extend = pgq_extend,
	.done = pgq_done,
	.give_back = pgq_return,
	.bury = pgq_bury,
	.stats = pgq_stats,
};

const struct pg_stmt *const queue_statements[] = { &receive, &extend, &done,
	&return_unstarted, &return_failed, &bury, NULL };

/* ---- what a person does with it */

/* $2: of that type; $3: with that in an error; $4: that one ("": any); dead
 * from $5 to $6 */
#define REDRIVEN                                                               \
	" FROM dead_task WHERE queue = $1 AND ($2 = '' OR type = $2)"          \
	" AND ($3 = '' OR position($3 IN error) > 0 OR EXISTS (SELECT FROM"    \
	"  jsonb_array_elements(history) h"                                    \
	"  WHERE position($3 IN h ->> 'error') > 0))"                          \
	" AND ($4 = '' OR task_id = $4)"                                       \
	" AND died_at >= to_timestamp($5::bigint / 1000.0)"                    \
	" AND died_at <= to_timestamp($6::bigint / 1000.0)"

#define BACK_TO_QUEUE                                                          \
	" back AS (INSERT INTO outbox (task_id, queue, type, priority, "       \
	"  aggregate, data, created_at, visible_at, last_error, history)"      \
	"  SELECT task_id, queue, type, priority, aggregate, data,"            \
	"   created_at, now(), error, history FROM dead ON CONFLICT "          \
	"(task_id) DO NOTHING)"                                                \
	" SELECT queue FROM dead"

static const struct pg_stmt redrive = { "queue_redrive",
	"WITH dead AS (DELETE FROM dead_task WHERE task_id = ANY(ARRAY("
	"  SELECT task_id" REDRIVEN
	"  ORDER BY died_at LIMIT $7 FOR UPDATE SKIP LOCKED))"
	" RETURNING *)," BACK_TO_QUEUE,
	7 };
static const struct pg_stmt redrive_look = { "queue_redrive_look",
	"SELECT type, error, count(*)" REDRIVEN
	" GROUP BY type, error ORDER BY count(*) DESC, type, error",
	6 };
static const struct pg_stmt revive = { "queue_revive",
	"WITH dead AS (DELETE FROM dead_task WHERE task_id = $1"
	" RETURNING *)," BACK_TO_QUEUE,
	1 };
static const struct pg_stmt hurry = { "queue_hurry",
	"UPDATE outbox SET visible_at = least(visible_at, now())"
	" WHERE task_id = $1 AND lease IS NULL AND visible_at < 'infinity'"
	" RETURNING queue",
	1 };
static const struct pg_stmt whereabouts = { "queue_whereabouts",
	"SELECT lease IS NOT NULL FROM outbox WHERE task_id = $1", 1 };

static const struct pg_stmt peek_live = { "queue_peek",
	"SELECT task_id, type, CASE WHEN shipped_at IS NOT NULL THEN 'sent'"
	"  WHEN lease IS NOT NULL AND visible_at >"
	"  now() THEN 'in_flight' WHEN visible_at <= now() THEN 'due'"
	"  WHEN visible_at = 'infinity' THEN 'hidden' ELSE 'delayed' END,"
	" receives, to_char(created_at" QUEUE_RFC3339 ","
	" CASE WHEN visible_at = 'infinity' THEN 'hidden'"
	"  ELSE to_char(visible_at" QUEUE_RFC3339 " END,"
	" last_error, history::text, data::text FROM outbox WHERE queue = $1"
	" ORDER BY visible_at, id LIMIT $2",
	2 };
static const struct pg_stmt peek_dead = { "queue_peek_dead",
	"SELECT task_id, type, 'dead', receives, "
	"to_char(created_at" QUEUE_RFC3339 ", to_char(died_at" QUEUE_RFC3339
	", error, history::text, data::text"
	" FROM dead_task WHERE queue = $1 ORDER BY died_at DESC LIMIT $2",
	2 };

enum rc
queue_pg_peek(struct pg *pg, const char *name, bool dead, int max,
    struct arena *arena, struct queue_peek **out, int *n, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	struct queue_peek *list;
	enum rc rc;

	pg_arg_str(&args, name);
	pg_arg_int(&args, max);
	rc = pg_exec(pg, PG_PRIMARY, dead ? &peek_dead : &peek_live, &args,
	    arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	list = arena_calloc(arena, (size_t)rows.n + 1, sizeof *list);
	for (int i = 0; i < rows.n; i++)
		list[i] = (struct queue_peek){
			.id = pg_str(&rows, i, 0),
			.type = pg_str(&rows, i, 1),
			.state = pg_str(&rows, i, 2),
			.receives = pg_int(&rows, i, 3),
			.created = pg_str(&rows, i, 4),
			.at = pg_str(&rows, i, 5),
			.error = pg_str(&rows, i, 6),
			.history = pg_cell(&rows, i, 7),
			.data = pg_cell(&rows, i, 8),
		};
	*out = list;
	*n = rows.n;
	return RC_OK;
}

enum rc
queue_pg_retry(struct pg *pg, const char *id, struct arena *arena,
    const char **name, struct err *e)
{
	const struct pg_stmt *const ways[] = { &revive, &hurry };
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, id);
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		rc = pg_exec(pg, PG_PRIMARY, ways[i], &args, arena, &rows, e);
		if (rc != RC_OK)
			return rc;
		if (rows.n > 0) {
			*name = pg_str(&rows, 0, 0);
			return RC_OK;
		}
	}
	rc = pg_exec(pg, PG_PRIMARY, &whereabouts, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_NONE, "no_such_task",
		    "%s: no such task: done, or never written", id);
	return pg_bool(&rows, 0, 0)
		   ? err_set(e, RC_REFUSED, "in_flight",
			 "%s: a worker has it in hand", id)
		   : err_set(e, RC_REFUSED, "hidden",
			 "%s: it becomes due when the order's stock is "
			 "reserved",
			 id);
}

static void
redrive_args(struct pg_args *args, const struct queue_redrive *what)
{
	pg_arg_str(args, what->name);
	pg_arg_str(args, what->type == NULL ? "" : what->type);
	pg_arg_str(args, what->error == NULL ? "" : what->error);
	pg_arg_str(args, what->id == NULL ? "" : what->id);
	pg_arg_int(args, what->died_since_ms);
	pg_arg_int(args, what->died_before_ms);
}

enum rc
queue_pg_redrive_look(struct pg *pg, const struct queue_redrive *what,
    struct arena *arena, struct queue_redrive_group **out, int *n,
    struct err *e)
{
	struct pg_args args = { 0 };
	struct queue_redrive_group *list;
	struct pg_rows rows;
	enum rc rc;

	redrive_args(&args, what);
	rc = pg_exec(pg, PG_PRIMARY, &redrive_look, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	list = arena_calloc(arena, (size_t)rows.n + 1, sizeof *list);
	for (int i = 0; i < rows.n; i++)
		list[i] =
		    (struct queue_redrive_group){ .type = pg_str(&rows, i, 0),
			    .error = pg_str(&rows, i, 1),
			    .n = pg_int(&rows, i, 2) };
	*out = list;
	*n = rows.n;
	return RC_OK;
}

enum rc
queue_pg_redrive(struct pg *pg, const struct queue_redrive *what,
    struct arena *arena, int64_t *moved, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	redrive_args(&args, what);
	pg_arg_int(&args, what->max);
	rc = pg_exec(pg, PG_PRIMARY, &redrive, &args, arena, &rows, e);
	if (rc == RC_OK)
		*moved = rows.n;
	return rc;
}
