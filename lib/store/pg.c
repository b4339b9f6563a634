/*
 * How it works: each node (primary, replica) is one libpq connection in
 * non-blocking mode. A call sends, then polls the socket until the answer is
 * whole or the deadline has come; a connection that missed a deadline, or that
 * libpq calls bad, is closed and opened again by the next call. What was
 * prepared is remembered per connection, in a list of statement names (a few
 * dozen at most).
 *
 * Not tried again here: a statement on a connection that broke under it. Only
 * one sent on a connection that turns out to have been dead before (a server
 * restarted while nobody asked) is sent once more, and only when it fails at
 * once with nothing of the answer read and no transaction open; see exec_node().
 * Even that repeats a write that could have been carried out by a server which
 * died in that very moment, so it is for reads: PG_REPLICA, or statements that
 * begin with SELECT.
 */
#include "store/pg.h"

#include <assert.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/doing.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"

enum { MAX_PREPARED = 256, RETRY_MS = 1000, DOWN_MS = 100 };

struct node {
	char *url; /* NULL: there is none */
	PGconn *conn;
	const struct pg_stmt *prepared[MAX_PREPARED];
	int n_prepared;
	int64_t not_before; /* mono ms: do not connect before */
	char why[256];      /* the last failure to connect */
	bool used;          /* answered something since it was opened */
};

struct pg {
	struct node primary, replica;
	int connect_ms, query_ms;
	bool by_index;
	bool pooler;
	char *app_name;
	struct doing *doing;
	bool in_transaction;
	struct pg_stats stats;
};

/* ---- making and closing */

struct pg *
pg_new(const struct pg_opts *opts)
{
	struct pg *pg = xcalloc(1, sizeof *pg);

	pg->primary.url = xstrdup(opts->url);
	if (opts->replica_url != NULL && opts->replica_url[0] != '\0')
		pg->replica.url = xstrdup(opts->replica_url);
	pg->connect_ms = opts->connect_ms;
	pg->query_ms = opts->query_ms;
	pg->by_index = opts->by_index;
	pg->pooler = opts->pooler;
	pg->app_name =
	    xstrdup(opts->app_name == NULL ? "souk" : opts->app_name);
	pg->doing = opts->doing;
	return pg;
}

static void
node_close(struct node *node)
{
	PQfinish(node->conn); /* NULL is allowed */
	node->conn = NULL;
	node->n_prepared = 0;
	node->used = false;
}

void
pg_free(struct pg *pg)
{
	if (pg == NULL)
		return;
	node_close(&pg->primary);
	node_close(&pg->replica);
	free(pg->primary.url);
	free(pg->replica.url);
	free(pg->app_name);
	free(pg);
}

bool
pg_has_replica(const struct pg *pg)
{
	return pg->replica.url != NULL;
}

struct pg_stats
pg_stats(const struct pg *pg)
{
	return pg->stats;
}

/* ---- errors */

/* What the caller does next, by SQLSTATE (PostgreSQL, appendix A). */
static enum rc
state_rc(const char *state)
{
	static const char *const retry[] = { "08", "40", "53", "57P", "55P03",
		"25006" };

	for (size_t i = 0; i < sizeof retry / sizeof *retry; i++) {
		if (strncmp(state, retry[i], strlen(retry[i])) == 0)
			return RC_RETRY; /* connection, serialisation, resources,
			                    shutdown, lock timeout, a primary
			                    that was demoted */
	}
	if (strcmp(state, "57014") == 0)
		return RC_RETRY; /* statement_timeout */
	if (strncmp(state, "23", 2) == 0)
		return RC_REFUSED;
	if (strncmp(state, "22", 2) == 0)
		return RC_INVALID; /* data exception */
	return RC_FAIL;
}

static const char *
state_code(const char *state)
{
	static const struct {
		const char *state, *code;
	} codes[] = { { "23505", "unique_violation" },
		{ "23514", "check_violation" },
		{ "23503", "foreign_key_violation" },
		{ "23P01", "exclusion_violation" },
		{ "23502", "not_null_violation" },
		{ "57014", "pg_timeout" }, { "55P03", "pg_locked" },
		{ "25006", "pg_read_only" } };

	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		if (strcmp(state, codes[i].state) == 0)
			return codes[i].code;
	}
	return "pg_error";
}

static enum rc
result_error(struct pg *pg, const char *what, const PGresult *res,
    struct err *e)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *msg = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *constraint =
	    PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);

	pg->stats.errors++;
	if (state == NULL)
		return err_set(e, RC_RETRY, "pg_down",
		    "PostgreSQL: connection lost during %s", what);
	enum rc rc = state_rc(state);

	if (rc == RC_REFUSED && constraint != NULL)
		return err_set(e, rc, state_code(state), "%s", constraint);
	return err_set(e, rc, state_code(state), "PostgreSQL: %s: %s (%s)",
	    what, msg == NULL ? "error" : msg, state);
}

/* ---- connecting */

static enum rc
wait_socket(PGconn *conn, short events, int64_t deadline)
{
	struct pollfd fd = { .fd = PQsocket(conn), .events = events };

	for (;;) {
		int left = deadline_left_ms(deadline);

		if (left == 0)
			return RC_RETRY;
		int n = poll(&fd, 1, left);

		if (n > 0)
			return RC_OK;
		/* 0 or EINTR: look at the clock again */
	}
}

static bool
connect_by(PGconn *conn, int64_t deadline)
{
	PostgresPollingStatusType st = PGRES_POLLING_WRITING;

	while (st != PGRES_POLLING_OK) {
		if (st == PGRES_POLLING_FAILED || PQsocket(conn) < 0)
			return false;
		if (wait_socket(conn,
			st == PGRES_POLLING_READING ? POLLIN : POLLOUT,
			deadline) != RC_OK)
			return false;
		st = PQconnectPoll(conn);
	}
	return true;
}

/*
 * Session settings go as start-up options, without a round trip. PgBouncer in
 * transaction mode refuses them, and a setting would outlive our transaction:
 * there they belong to the role (ALTER ROLE ... SET statement_timeout).
 */
static PGconn *
connect_start(struct pg *pg, const struct node *node)
{
	char options[192];
	const char *keys[] = { "dbname", "fallback_application_name",
		"client_encoding", pg->pooler ? NULL : "options", NULL };
	const char *values[] = { node->url, pg->app_name, "UTF8", options,
		NULL };

	(void)snprintf(options, sizeof options,
	    "-c statement_timeout=%d -c lock_timeout=%d "
	    "-c idle_in_transaction_session_timeout=60000 "
	    "-c TimeZone=UTC%s",
	    pg->query_ms, pg->query_ms,
	    pg->by_index ? " -c enable_seqscan=off" : "");
	return PQconnectStartParams(keys, values, 1);
}

/* Of an address that it cannot read libpq repeats all, its password too. */
static const char *
connect_why(const struct node *node)
{
	bool plain = strpbrk(node->url, ":=") == NULL; /* a database's name */
	PQconninfoOption *o = plain ? NULL : PQconninfoParse(node->url, NULL);
	const char *why =
	    node->conn == NULL ? "" : PQerrorMessage(node->conn);

	if (o == NULL && !plain)
		return "its address cannot be read: it is "
		       "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, what is "
		       "special in a password as %XX";
	PQconninfoFree(o);
	return *why == '\0' ? "no answer within the deadline" : why;
}

static void
ignore_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

static enum rc
node_open(struct pg *pg, struct node *node, int64_t deadline, struct err *e)
{
	int64_t now = clock_mono_ms();
	int64_t limit = now + pg->connect_ms;

	if (node->conn != NULL) {
		if (PQstatus(node->conn) == CONNECTION_OK)
			return RC_OK;
		node_close(node);
		assert(node != &pg->primary || !pg->in_transaction);
	}
	if (now < node->not_before)
		return err_set(e, RC_RETRY, "pg_down", "PostgreSQL: %s",
		    node->why);
	doing_set(pg->doing, "pg connect", NULL);
	node->conn = connect_start(pg, node);
	if (node->conn != NULL &&
	    connect_by(node->conn, limit < deadline ? limit : deadline) &&
	    PQsetnonblocking(node->conn, 1) == 0) {
		(void)PQsetNoticeReceiver(node->conn, ignore_notice, NULL);
		if (pg->stats.queries > 0)
			pg->stats.reconnects++;
		return RC_OK;
	}
	const char *why = connect_why(node);
	enum rc rc =
	    err_set(e, RC_RETRY, "pg_down", "PostgreSQL: cannot connect: %s",
		why);
	(void)snprintf(node->why, sizeof node->why, "cannot connect: %s", why);
	node_close(node);
	node->not_before = clock_mono_ms() +
	    (node == &pg->replica ? RETRY_MS : DOWN_MS);
	pg->stats.errors++;
	return rc;
}

/* ---- sending and receiving */

static enum rc
timed_out(struct pg *pg, struct node *node, const char *what, struct err *e)
{
	pg->stats.timeouts++;
	node_close(node);
	return err_set(e, RC_RETRY, "pg_timeout",
	    "PostgreSQL: no answer to %s within the deadline", what);
}

static enum rc
lost(struct pg *pg, struct node *node, const char *what, struct err *e)
{
	enum rc rc = err_set(e, RC_RETRY, "pg_down",
	    "PostgreSQL: connection lost during %s: %s", what,
	    PQerrorMessage(node->conn));

	pg->stats.errors++;
	node_close(node);
	return rc;
}

static enum rc
flush(struct pg *pg, struct node *node, const char *what, int64_t deadline,
    struct err *e)
{
	for (;;) {
		int n = PQflush(node->conn);

		if (n == 0)
			return RC_OK;
		if (n < 0)
			return lost(pg, node, what, e);
		if (wait_socket(node->conn, POLLIN | POLLOUT, deadline) !=
		    RC_OK)
			return timed_out(pg, node, what, e);
		if (!PQconsumeInput(node->conn))
			return lost(pg, node, what, e);
	}
}

/* The next result, NULL at the end of a command's results. */
static enum rc
next_result(struct pg *pg, struct node *node, const char *what,
    int64_t deadline, PGresult **out, struct err *e)
{
	while (PQisBusy(node->conn)) {
		if (wait_socket(node->conn, POLLIN, deadline) != RC_OK)
			return timed_out(pg, node, what, e);
		if (!PQconsumeInput(node->conn))
			return lost(pg, node, what, e);
	}
	*out = PQgetResult(node->conn);
	return RC_OK;
}

/*
 * All results of one command; the last one is given (PQclear), but the first
 * error wins. NULL only with an error.
 */
static enum rc
collect(struct pg *pg, struct node *node, const char *what, int64_t deadline,
    PGresult **out, struct err *e)
{
	PGresult *keep = NULL;
	enum rc rc;

	if ((rc = flush(pg, node, what, deadline, e)) != RC_OK)
		return rc;
	for (;;) {
		PGresult *res = NULL;

		rc = next_result(pg, node, what, deadline, &res, e);
		if (rc != RC_OK) {
			PQclear(keep);
			return rc;
		}
		if (res == NULL)
			break;
		if (keep != NULL &&
		    PQresultStatus(keep) == PGRES_FATAL_ERROR) {
			PQclear(res);
			continue;
		}
		PQclear(keep);
		keep = res;
		ExecStatusType st = PQresultStatus(res);

		if (st == PGRES_COPY_IN || st == PGRES_COPY_OUT ||
		    st == PGRES_COPY_BOTH)
			break;
	}
	if (keep == NULL || PQstatus(node->conn) != CONNECTION_OK) {
		PQclear(keep);
		return lost(pg, node, what, e);
	}
	node->used = true;
	*out = keep;
	return RC_OK;
}

/* Is it an answer, or an error? Clears an error. A primary that was demoted
 * goes on to answer: its successor is found by a new connection alone. An error
 * without SQLSTATE is libpq's own (it had no memory for the answer): what the
 * server has done or prepared we do not know, so that this connection is not
 * used again. */
static enum rc
judge(struct pg *pg, struct node *node, const char *what, PGresult *res,
    struct err *e)
{
	ExecStatusType st = PQresultStatus(res);
	const char *state;

	if (st == PGRES_TUPLES_OK || st == PGRES_COMMAND_OK ||
	    st == PGRES_COPY_IN)
		return RC_OK;
	enum rc rc = result_error(pg, what, res, e);

	state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	if (state == NULL || strcmp(state, "25006") == 0)
		node_close(node);
	PQclear(res);
	return rc;
}

static void
rows_copy(struct arena *arena, const PGresult *res, struct pg_rows *out)
{
	int n = PQntuples(res), cols = PQnfields(res);
	size_t total = (size_t)n * (size_t)cols;
	struct span *cell = arena_alloc(arena, total * sizeof *cell);

	for (int r = 0; r < n; r++) {
		for (int c = 0; c < cols; c++) {
			struct span *s = &cell[r * cols + c];

			*s = (struct span){ NULL, 0 };
			if (PQgetisnull(res, r, c))
				continue;
			s->n = (size_t)PQgetlength(res, r, c);
			s->p =
			    arena_strndup(arena, PQgetvalue(res, r, c), s->n);
		}
	}
	*out = (struct pg_rows){ .n = n, .cols = cols, .cell = cell };
}

static int64_t
affected(PGresult *res)
{
	int64_t n = 0;

	(void)text_int(span_of(PQcmdTuples(res)), 0, INT64_MAX, &n);
	return n;
}

/* ---- statements */

static bool
is_prepared(const struct node *node, const struct pg_stmt *st)
{
	for (int i = 0; i < node->n_prepared; i++) {
		if (node->prepared[i] == st)
			return true;
	}
	return false;
}

static enum rc
prepare(struct pg *pg, struct node *node, const struct pg_stmt *st,
    int64_t deadline, struct err *e)
{
	PGresult *res;
	enum rc rc;

	if (is_prepared(node, st))
		return RC_OK;
	assert(node->n_prepared < MAX_PREPARED);
	if (!PQsendPrepare(node->conn, st->name, st->sql, 0, NULL))
		return lost(pg, node, st->name, e);
	if ((rc = collect(pg, node, st->name, deadline, &res, e)) != RC_OK ||
	    (rc = judge(pg, node, st->name, res, e)) != RC_OK)
		return rc;
	PQclear(res);
	node->prepared[node->n_prepared++] = st;
	return RC_OK;
}

static enum rc
send_stmt(struct pg *pg, struct node *node, const struct pg_stmt *st,
    const struct pg_args *args, int64_t deadline, struct err *e)
{
	const char *const *values = args == NULL ? NULL : args->v;
	enum rc rc;
	int ok;

	if (pg->pooler) {
		ok = PQsendQueryParams(node->conn, st->sql, st->params, NULL,
		    values, NULL, NULL, 0);
	} else {
		if ((rc = prepare(pg, node, st, deadline, e)) != RC_OK)
			return rc;
		doing_set(pg->doing, "pg", st->name);
		ok = PQsendQueryPrepared(
		    node->conn, st->name, st->params, values, NULL, NULL, 0);
	}
	return ok ? RC_OK : lost(pg, node, st->name, e);
}

static enum rc
exec_once(struct pg *pg, struct node *node, const struct pg_stmt *st,
    const struct pg_args *args, int64_t deadline, struct arena *arena,
    struct pg_rows *out, struct err *e)
{
	PGresult *res;
	enum rc rc;

	if ((rc = node_open(pg, node, deadline, e)) != RC_OK)
		return rc;
	doing_set(pg->doing, "pg", st->name);
	pg->stats.queries++;
	if ((rc = send_stmt(pg, node, st, args, deadline, e)) != RC_OK ||
	    (rc = collect(pg, node, st->name, deadline, &res, e)) != RC_OK ||
	    (rc = judge(pg, node, st->name, res, e)) != RC_OK)
		return rc;
	if (out != NULL) {
		rows_copy(arena, res, out);
		out->affected = affected(res);
	}
	PQclear(res);
	return RC_OK;
}

/* See the top of the file: once more, where it can do no harm. */
static enum rc
exec_node(struct pg *pg, struct node *node, const struct pg_stmt *st,
    const struct pg_args *args, int64_t deadline, struct arena *arena,
    struct pg_rows *out, struct err *e)
{
	bool kept = node->conn != NULL && node->used;
	enum rc rc =
	    exec_once(pg, node, st, args, deadline, arena, out, e);

	if (rc == RC_RETRY && kept && node->conn == NULL &&
	    strcmp(e == NULL ? "pg_down" : e->code, "pg_down") == 0 &&
	    !pg->in_transaction && strncasecmp(st->sql, "SELECT", 6) == 0)
		rc = exec_once(pg, node, st, args, deadline, arena, out, e);
	return rc;
}

enum rc
pg_exec_by(struct pg *pg, enum pg_node which, const struct pg_stmt *st,
    const struct pg_args *args, int64_t deadline, struct arena *arena,
    struct pg_rows *out, struct err *e)
{
	struct err local;

	assert((args == NULL ? 0 : args->n) == st->params);
	if (e == NULL)
		e = &local;
	if (which == PG_REPLICA && pg->replica.url != NULL) {
		enum rc rc = exec_node(pg, &pg->replica, st, args, deadline,
		    arena, out, e);

		if (rc != RC_RETRY || deadline_left_ms(deadline) == 0)
			return rc;
		pg->replica.not_before = clock_mono_ms() + RETRY_MS;
	}
	if (pg->in_transaction && pg->primary.conn == NULL)
		return err_set(e, RC_RETRY, "pg_down",
		    "PostgreSQL: the connection was lost in a transaction");
	return exec_node(
	    pg, &pg->primary, st, args, deadline, arena, out, e);
}

enum rc
pg_exec(struct pg *pg, enum pg_node which, const struct pg_stmt *st,
    const struct pg_args *args, struct arena *arena, struct pg_rows *out,
    struct err *e)
{
	return pg_exec_by(pg, which, st, args, deadline_in(pg->query_ms),
	    arena, out, e);
}

static enum rc
run_by(struct pg *pg, const char *sql, const char *what, int64_t deadline,
    struct err *e)
{
	struct node *node = &pg->primary;
	PGresult *res;
	enum rc rc;

	if ((rc = node_open(pg, node, deadline, e)) != RC_OK)
		return rc;
	doing_set(pg->doing, "pg", what);
	pg->stats.queries++;
	if (!PQsendQuery(node->conn, sql))
		return lost(pg, node, what, e);
	if ((rc = collect(pg, node, what, deadline, &res, e)) != RC_OK ||
	    (rc = judge(pg, node, what, res, e)) != RC_OK)
		return rc;
	PQclear(res);
	return RC_OK;
}

enum rc
pg_run(struct pg *pg, const char *sql, int ms, struct err *e)
{
	if (pg->in_transaction && pg->primary.conn == NULL)
		return err_set(e, RC_RETRY, "pg_down",
		    "PostgreSQL: the connection was lost in a transaction");
	return run_by(
	    pg, sql, "sql", ms == 0 ? INT64_MAX : deadline_in(ms), e);
}

/* ---- transactions */

enum rc
pg_begin(struct pg *pg, struct err *e)
{
	assert(!pg->in_transaction);
	bool kept = pg->primary.conn != NULL && pg->primary.used;
	enum rc rc =
	    run_by(pg, "BEGIN", "begin", deadline_in(pg->query_ms), e);

	if (rc == RC_RETRY && kept && pg->primary.conn == NULL)
		rc = run_by(
		    pg, "BEGIN", "begin", deadline_in(pg->query_ms), e);
	pg->in_transaction = rc == RC_OK;
	return rc;
}

static enum rc
unknown(struct err *e)
{
	return err_set(e, RC_RETRY, "pg_unknown",
	    "PostgreSQL: no answer to the commit; it may have happened");
}

enum rc
pg_commit(struct pg *pg, struct err *e)
{
	struct node *node = &pg->primary;
	int64_t deadline = deadline_in(pg->query_ms);
	PGresult *res;
	enum rc rc;

	assert(pg->in_transaction);
	pg->in_transaction = false;
	if (node->conn == NULL)
		return err_set(e, RC_RETRY, "pg_down",
		    "PostgreSQL: the connection was lost before the commit");
	doing_set(pg->doing, "pg commit", NULL);
	if (!PQsendQuery(node->conn, "COMMIT")) {
		(void)!lost(pg, node, "commit", e);
		return unknown(e);
	}
	rc = collect(pg, node, "commit", deadline, &res, e);
	if (rc != RC_OK)
		return unknown(e);
	rc = judge(pg, node, "commit", res, e);
	if (rc == RC_RETRY && node->conn == NULL)
		return unknown(e);
	if (rc != RC_OK)
		return rc;
	/* A transaction that had failed is answered "ROLLBACK". */
	if (strcmp(PQcmdStatus(res), "COMMIT") != 0)
		rc = err_set(e, RC_FAIL, "pg_error",
		    "PostgreSQL: committed a failed transaction");
	PQclear(res);
	return rc;
}

void
pg_rollback(struct pg *pg)
{
	struct node *node = &pg->primary;
	bool open = pg->in_transaction;

	pg->in_transaction = false;
	if (!open || node->conn == NULL)
		return;
	if (PQtransactionStatus(node->conn) == PQTRANS_ACTIVE ||
	    run_by(pg, "ROLLBACK", "rollback", deadline_in(pg->query_ms),
		NULL) != RC_OK)
		node_close(node); /* in the middle of a COPY, or lost */
}

/* ---- positions */

static const struct pg_stmt primary_position = { "pg_primary_position",
	"SELECT (pg_current_wal_insert_lsn() - '0/0')::int8", 0 };
static const struct pg_stmt replica_position = { "pg_replica_position",
	"SELECT (pg_last_wal_replay_lsn() - '0/0')::int8", 0 };

enum rc
pg_position(
    struct pg *pg, enum pg_node which, int64_t *lsn, struct err *e)
{
	struct node *node =
	    which == PG_REPLICA ? &pg->replica : &pg->primary;
	struct arena *arena;
	struct pg_rows rows;
	enum rc rc;

	if (which == PG_REPLICA && node->url == NULL)
		return RC_NONE;
	arena = arena_new();
	rc = exec_node(pg, node,
	    which == PG_REPLICA ? &replica_position : &primary_position,
	    NULL, deadline_in(pg->query_ms), arena, &rows, e);
	if (rc == RC_OK && pg_cell(&rows, 0, 0).p == NULL)
		rc = RC_NONE; /* no replica at all: it replays nothing */
	if (rc == RC_OK)
		*lsn = pg_int(&rows, 0, 0);
	else if (which == PG_REPLICA)
		rc = RC_NONE;
	arena_free(arena);
	return rc;
}

static const struct pg_stmt ping = { "pg_ping", "SELECT 1", 0 };

enum rc
pg_ping(struct pg *pg, enum pg_node which, struct err *e)
{
	struct node *node =
	    which == PG_REPLICA ? &pg->replica : &pg->primary;
	enum rc rc;

	if (node->url == NULL)
		return err_set(e, RC_NONE, "not_configured", "no replica");
	rc = exec_node(
	    pg, node, &ping, NULL, deadline_in(pg->query_ms), NULL, NULL, e);
	return rc;
}

/* ---- COPY */

enum rc
pg_copy_begin(struct pg *pg, const char *copy_sql, struct err *e)
{
	assert(pg->in_transaction);
	return pg_run(pg, copy_sql, pg->query_ms, e);
}

enum rc
pg_copy_data(struct pg *pg, struct span data, struct err *e)
{
	struct node *node = &pg->primary;
	int64_t deadline = deadline_in(pg->query_ms);

	assert(data.n < 1 << 30);
	while (data.n > 0) {
		/* In pieces, so that what waits in libpq stays small. */
		int piece = data.n > 65536 ? 65536 : (int)data.n;
		int n;

		if (node->conn == NULL)
			return err_set(e, RC_RETRY, "pg_down",
			    "PostgreSQL: the connection was lost");
		n = PQputCopyData(node->conn, data.p, piece);
		if (n < 0)
			return lost(pg, node, "copy", e);
		enum rc rc = flush(pg, node, "copy", deadline, e);

		if (rc != RC_OK)
			return rc;
		if (n > 0) {
			data.p += piece;
			data.n -= (size_t)piece;
		}
	}
	return RC_OK;
}

enum rc
pg_copy_end(struct pg *pg, struct err *e)
{
	struct node *node = &pg->primary;
	int64_t deadline = deadline_in(10L * pg->query_ms);
	PGresult *res;
	enum rc rc;

	if (node->conn == NULL)
		return err_set(e, RC_RETRY, "pg_down",
		    "PostgreSQL: the connection was lost");
	for (;;) {
		int n = PQputCopyEnd(node->conn, NULL);

		if (n > 0)
			break;
		if (n < 0)
			return lost(pg, node, "copy", e);
		if ((rc = flush(pg, node, "copy", deadline, e)) != RC_OK)
			return rc;
	}
	if ((rc = collect(pg, node, "copy", deadline, &res, e)) != RC_OK)
		return rc;
	if ((rc = judge(pg, node, "copy", res, e)) != RC_OK)
		return rc == RC_FAIL ? RC_INVALID : rc;
	PQclear(res);
	return RC_OK;
}

void
pg_copy_field(struct strbuf *out, struct span field)
{
	if (field.p == NULL) {
		strbuf_add(out, "\\N", 2);
		return;
	}
	for (size_t i = 0; i < field.n; i++) {
		switch (field.p[i]) {
		case '\\':
			strbuf_add(out, "\\\\", 2);
			break;
		case '\n':
			strbuf_add(out, "\\n", 2);
			break;
		case '\r':
			strbuf_add(out, "\\r", 2);
			break;
		case '\t':
			strbuf_add(out, "\\t", 2);
			break;
		default:
			strbuf_addc(out, field.p[i]);
		}
	}
}

/* ---- parameters and cells */

void
pg_arg_str(struct pg_args *args, const char *s)
{
	assert(args->n < PG_MAX_PARAMS);
	args->v[args->n++] = s;
}

void
pg_arg_int(struct pg_args *args, int64_t n)
{
	assert(args->n < PG_MAX_PARAMS);
	char *room = args->num[args->n];

	(void)snprintf(
	    room, sizeof args->num[0], "%lld", (long long)n);
	args->v[args->n++] = room;
}

void
pg_arg_bool(struct pg_args *args, bool b)
{
	pg_arg_str(args, b ? "t" : "f");
}

int64_t
pg_int(const struct pg_rows *rows, int row, int col)
{
	struct span s = pg_cell(rows, row, col);
	int64_t n = 0;

	if (s.p != NULL) {
		bool ok = text_int(s, INT64_MIN, INT64_MAX, &n);

		assert(ok);
	}
	return n;
}

bool
pg_bool(const struct pg_rows *rows, int row, int col)
{
	struct span s = pg_cell(rows, row, col);

	assert(s.p == NULL || (s.n == 1 && (*s.p == 't' || *s.p == 'f')));
	return s.p != NULL && *s.p == 't';
}

const char *
pg_str(const struct pg_rows *rows, int row, int col)
{
	struct span s = pg_cell(rows, row, col);

	return s.p == NULL ? "" : s.p;
}
