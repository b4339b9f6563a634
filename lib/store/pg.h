/*
 * pg - PostgreSQL: prepared statements with deadlines on one connection to the
 * primary and, if configured, one to a read replica.
 *
 * One struct pg per process, made after fork(); each connection is opened when
 * first needed and opened again when it broke. Every call ends by its
 * deadline: a connection whose answer did not come in time is closed, never
 * reused and never cancelled (what became of the statement is then unknown to
 * the caller: RC_RETRY, code "pg_timeout").
 */
#ifndef STORE_PG_H
#define STORE_PG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;
struct doing;
struct pg;

struct pg_opts {
	const char *url;         /* primary, postgres://...; copied */
	const char *replica_url; /* NULL or "": none; copied */
	int connect_ms;          /* deadline to connect */
	int query_ms;            /* deadline of a statement unless said else */
	bool pooler;             /* behind PgBouncer in transaction mode: no named
	                            statements, no session settings */
	bool by_index;           /* plan without sequential scans where an
	                            index can do it, whatever a table's
	                            statistics say */
	const char *app_name;    /* shown in pg_stat_activity; copied */
	struct doing *doing;     /* NULL: nobody watches */
};

struct pg *pg_new(const struct pg_opts *opts); /* connects nowhere yet */
void pg_free(struct pg *pg);                   /* NULL is allowed */

/*
 * A statement. Const tables of these stand in the files that use them; name is
 * unique in the program and becomes the prepared statement's name.
 */
struct pg_stmt {
	const char *name;
	const char *sql; /* $1 ... $n */
	int params;
};

/* A parameter in text form. NULL p is SQL NULL. Not NUL-terminated? Then n
 * counts; p must end with a NUL all the same (libpq's text format). */
#define PG_MAX_PARAMS 24
struct pg_args {
	int n;
	const char *v[PG_MAX_PARAMS];
	char num[PG_MAX_PARAMS][24]; /* room for the numbers */
};

void pg_arg_str(struct pg_args *args, const char *s); /* NULL: SQL NULL */
void pg_arg_int(struct pg_args *args, int64_t n);
void pg_arg_bool(struct pg_args *args, bool b);

/* A result, copied into an arena. */
struct pg_rows {
	int n;          /* rows */
	int cols;
	int64_t affected; /* by INSERT, UPDATE, DELETE, MERGE; else 0 */
	const struct span *cell; /* n * cols; p NULL: SQL NULL; p ends with NUL */
};

static inline struct span
pg_cell(const struct pg_rows *rows, int row, int col)
{
	return rows->cell[row * rows->cols + col];
}
/* 0 and "" for SQL NULL; the value must be what the name says (assert). */
int64_t pg_int(const struct pg_rows *rows, int row, int col);
bool pg_bool(const struct pg_rows *rows, int row, int col);
const char *pg_str(const struct pg_rows *rows, int row, int col);

enum pg_node { PG_PRIMARY, PG_REPLICA };

/*
 * Run a prepared statement. PG_REPLICA without a replica, or with one that does
 * not answer, is the primary's (a broken replica is asked again after 1 s).
 * RC_RETRY: no connection, deadline ("pg_timeout"), serialisation or deadlock,
 * admin shutdown, too many connections. RC_REFUSED: an integrity constraint,
 * code "unique_violation", "check_violation", "foreign_key_violation" or
 * "exclusion_violation", msg the constraint's name. RC_FAIL: anything else.
 * *out (may be NULL) is set on RC_OK only.
 */
enum rc pg_exec(struct pg *pg, enum pg_node node, const struct pg_stmt *st,
    const struct pg_args *args, struct arena *arena, struct pg_rows *out,
    struct err *e);

/* The same with a deadline of its own (see clock.h). */
enum rc pg_exec_by(struct pg *pg, enum pg_node node, const struct pg_stmt *st,
    const struct pg_args *args, int64_t deadline, struct arena *arena,
    struct pg_rows *out, struct err *e);

/*
 * Plain SQL on the primary without parameters, one or several statements; for
 * migrations and tools. ms: deadline, 0 for none.
 */
enum rc pg_run(struct pg *pg, const char *sql, int ms, struct err *e);

/*
 * A transaction on the primary. Between begin and end every pg_exec on
 * PG_PRIMARY belongs to it. pg_commit: RC_RETRY with code "pg_unknown" where
 * the connection broke at COMMIT: it may or may not have happened.
 * pg_rollback never fails: at worst it closes the connection. A statement that
 * failed within a transaction must be followed by pg_rollback.
 */
enum rc pg_begin(struct pg *pg, struct err *e);
enum rc pg_commit(struct pg *pg, struct err *e);
void pg_rollback(struct pg *pg);

/*
 * How far a node is, as a WAL position (bytes), for "at least this new"
 * (DESIGN 5.3). On the primary: at or after everything committed before the
 * call. On the replica: what its next statement will see at the least.
 * PG_REPLICA without a reachable replica: RC_NONE.
 */
enum rc pg_position(struct pg *pg, enum pg_node node, int64_t *lsn,
    struct err *e);

bool pg_has_replica(const struct pg *pg);

/*
 * COPY ... FROM STDIN on the primary, inside a transaction. data: rows in
 * COPY's text format (see pg_copy_field). RC_INVALID where a row is refused.
 */
enum rc pg_copy_begin(struct pg *pg, const char *copy_sql, struct err *e);
enum rc pg_copy_data(struct pg *pg, struct span data, struct err *e);
enum rc pg_copy_end(struct pg *pg, struct err *e);
struct strbuf;
/* One field, escaped; NULL p: \N. The caller adds tabs and newlines. */
void pg_copy_field(struct strbuf *out, struct span field);

/* Liveness of each node for /readyz: RC_OK, or RC_RETRY with why. */
enum rc pg_ping(struct pg *pg, enum pg_node node, struct err *e);

/* Statements sent since pg_new, for metrics and tests. */
struct pg_stats {
	int64_t queries, errors, reconnects, timeouts;
};
struct pg_stats pg_stats(const struct pg *pg);

#endif
