/*
 * A task that is done leaves nothing behind that says when it was written: so
 * who has done it counts it for that minute too. Those that are not done yet
 * are there to be counted.
 */
#include "store/queue_rate.h"

#include "base/arena.h"
#include "store/pg.h"
#include "store/queue_int.h"

static const struct pg_stmt add = { "queue_rate_add",
	"WITH " QUEUE_LAZY " INSERT INTO queue_minute AS m"
	" (queue, minute, came, done, failed)"
	" SELECT $1, $2::bigint, $3::bigint, $4::bigint, $5::bigint FROM lazy"
	" ON CONFLICT (queue, minute) DO UPDATE SET"
	"  came = m.came + excluded.came, done = m.done + excluded.done,"
	"  failed = m.failed + excluded.failed",
	5 };
static const struct pg_stmt read_rate = { "queue_rate_read",
	"WITH w AS (SELECT date_trunc('minute', now()) AS upto),"
	" m AS (SELECT came, done, failed FROM queue_minute, w"
	"  WHERE queue = $1 AND minute < floor(extract(epoch FROM upto) / 60)"
	"  AND minute >= floor(extract(epoch FROM upto) / 60) - $2::int),"
	" t AS (SELECT created_at FROM outbox WHERE queue = $1"
	"  UNION ALL SELECT created_at FROM dead_task WHERE queue = $1)"
	" SELECT (SELECT coalesce(sum(came), 0)::bigint FROM m) +"
	"  (SELECT count(*) FROM t, w WHERE created_at < upto AND"
	"   created_at >= upto - $2::int * interval '1 min'),"
	" (SELECT coalesce(sum(done), 0)::bigint FROM m),"
	" (SELECT coalesce(sum(failed), 0)::bigint FROM m)",
	2 };
static const struct pg_stmt purge = { "queue_rate_purge",
	"DELETE FROM queue_minute"
	" WHERE minute < floor(extract(epoch FROM now()) / 60) - 1440",
	0 };

enum rc
queue_rate_add(struct pg *pg, const struct queue_count *count,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, count->queue);
	pg_arg_int(&args, count->minute);
	pg_arg_int(&args, count->came);
	pg_arg_int(&args, count->done);
	pg_arg_int(&args, count->failed);
	return pg_exec(pg, PG_PRIMARY, &add, &args, arena, NULL, e);
}

enum rc
queue_rate_read(struct pg *pg, const char *queue, struct arena *arena,
    struct queue_rate *out, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, queue);
	pg_arg_int(&args, QUEUE_RATE_MINUTES);
	rc = pg_exec(pg, PG_PRIMARY, &read_rate, &args, arena, &rows, e);
	if (rc == RC_OK)
		*out = (struct queue_rate){ .in = pg_int(&rows, 0, 0),
			.out = pg_int(&rows, 0, 1),
			.failed = pg_int(&rows, 0, 2) };
	return rc;
}

enum rc
queue_rate_purge(struct pg *pg, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	return pg_exec(pg, PG_PRIMARY, &purge, &args, arena, NULL, e);
}
