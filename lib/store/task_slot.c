/*
 * A free slot is chosen at random, so that those who look at the same moment
 * seldom choose the same one; who loses looks again. Nothing is waited for: the
 * row of a slot is only locked by who takes it.
 */
#include "store/task_slot.h"

#include "base/arena.h"
#include "store/pg.h"
#include "store/queue_int.h"

enum { TRIES = 4 };

static const struct pg_stmt take = { "slot_take",
	"WITH " QUEUE_LAZY ", free AS MATERIALIZED (SELECT s FROM lazy,"
	"  generate_series(1, $2::int) s WHERE NOT EXISTS (SELECT FROM"
	"   task_slot t WHERE t.type = $1 AND t.slot = s AND t.until > now())"
	"  ORDER BY random() LIMIT 1),"
	" taken AS (INSERT INTO task_slot AS t (type, slot, holder, until)"
	"  SELECT $1, s, $3, now() + $4::bigint * interval '1 ms' FROM free"
	"  ON CONFLICT (type, slot) DO UPDATE SET holder = excluded.holder,"
	"   until = excluded.until WHERE t.until <= now() RETURNING 1)"
	" SELECT (SELECT count(*) FROM free), (SELECT count(*) FROM taken)",
	4 };
static const struct pg_stmt extend = { "slot_extend",
	"WITH " QUEUE_LAZY " UPDATE task_slot SET"
	" until = now() + $2::bigint * interval '1 ms' FROM lazy"
	" WHERE holder = $1",
	2 };
static const struct pg_stmt give = { "slot_give",
	"WITH " QUEUE_LAZY
	" DELETE FROM task_slot USING lazy WHERE holder = $1",
	1 };

enum rc
slot_take(struct pg *pg, const char *type, int limit, const char *holder,
    int64_t lease_ms, struct arena *arena, struct err *e)
{
	for (int i = 0; i < TRIES; i++) {
		struct pg_args args = { 0 };
		struct pg_rows rows;
		enum rc rc;

		pg_arg_str(&args, type);
		pg_arg_int(&args, limit);
		pg_arg_str(&args, holder);
		pg_arg_int(&args, lease_ms);
		rc = pg_exec(pg, PG_PRIMARY, &take, &args, arena, &rows, e);
		if (rc != RC_OK || pg_int(&rows, 0, 1) > 0)
			return rc;
		if (pg_int(&rows, 0, 0) == 0)
			break;
	}
	return err_set(e, RC_NONE, "no_slot",
	    "%s: %d are being worked on already", type, limit);
}

enum rc
slot_extend(struct pg *pg, const char *holder, int64_t lease_ms,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, holder);
	pg_arg_int(&args, lease_ms);
	rc = pg_exec(pg, PG_PRIMARY, &extend, &args, arena, &rows, e);
	if (rc == RC_OK && rows.affected == 0)
		return err_set(e, RC_NONE, "slot_lost", "the slot was lost");
	return rc;
}

enum rc
slot_give(struct pg *pg, const char *holder, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, holder);
	return pg_exec(pg, PG_PRIMARY, &give, &args, arena, NULL, e);
}
