#include "store/turn.h"

#include "base/arena.h"
#include "store/pg.h"

/* Nothing is written, not even a lock, where it is not due. A little less than
 * the period: the clocks that ask do not tick at the same moment. */
static const struct pg_stmt turn_move = { "turn_move",
	"UPDATE clock_turn SET at = now() WHERE name = $1"
	" AND at <= now() - $2::bigint * 0.9 * interval '1 ms'",
	2 };
static const struct pg_stmt turn_make = { "turn_make",
	"INSERT INTO clock_turn (name) SELECT $1 WHERE NOT EXISTS"
	" (SELECT FROM clock_turn WHERE name = $1) ON CONFLICT DO NOTHING",
	1 };

enum rc
turn_take(struct pg *pg, const char *name, int64_t every_ms,
    struct arena *arena, struct err *e)
{
	for (int i = 0; i < 2; i++) {
		struct pg_args args = { 0 }, name_only = { 0 };
		struct pg_rows rows;
		enum rc rc;

		pg_arg_str(&args, name);
		pg_arg_int(&args, every_ms);
		rc =
		    pg_exec(pg, PG_PRIMARY, &turn_move, &args, arena, &rows, e);
		if (rc != RC_OK || rows.affected > 0)
			return rc;
		pg_arg_str(&name_only, name);
		rc = pg_exec(
		    pg, PG_PRIMARY, &turn_make, &name_only, arena, &rows, e);
		if (rc != RC_OK)
			return rc;
		if (rows.affected == 0)
			break;
	}
	return err_set(e, RC_NONE, "no_turn", "%s: not now", name);
}
