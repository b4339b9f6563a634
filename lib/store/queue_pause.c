#include "store/queue_pause.h"

#include <string.h>

#include "base/arena.h"
#include "store/pg.h"

static const struct pg_stmt pause_insert = { "queue_pause",
	"INSERT INTO queue_pause (queue) VALUES ($1) ON CONFLICT DO NOTHING",
	1 };
static const struct pg_stmt pause_delete = { "queue_resume",
	"DELETE FROM queue_pause WHERE queue = $1", 1 };
static const struct pg_stmt pause_list = { "queue_paused",
	"SELECT queue FROM queue_pause ORDER BY queue", 0 };

static enum rc
change(struct pg *pg, const struct pg_stmt *st, const char *name,
    const char *already, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, name);
	rc = pg_exec(pg, PG_PRIMARY, st, &args, arena, &rows, e);
	if (rc == RC_OK && rows.affected == 0)
		return err_set(
		    e, RC_NONE, "no_change", "%s: is %s", name, already);
	return rc;
}

enum rc
queue_pause(struct pg *pg, const char *name, struct arena *arena, struct err *e)
{
	return change(pg, &pause_insert, name, "paused already", arena, e);
}

enum rc
queue_resume(
    struct pg *pg, const char *name, struct arena *arena, struct err *e)
{
	return change(pg, &pause_delete, name, "not paused", arena, e);
}

enum rc
queue_paused(struct pg *pg, struct arena *arena, const char *const **names,
    struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	const char **list;
	enum rc rc;

	rc = pg_exec(pg, PG_PRIMARY, &pause_list, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	list = arena_calloc(arena, (size_t)rows.n + 1, sizeof *list);
	for (int i = 0; i < rows.n; i++)
		list[i] = pg_str(&rows, i, 0);
	*names = list;
	return RC_OK;
}

bool
queue_is_among(const char *const *names, const char *name)
{
	for (; *names != NULL; names++) {
		if (strcmp(*names, name) == 0)
			return true;
	}
	return false;
}
