/*
 * Each turn of migrate_run() is one transaction: take the lock, look at what is
 * applied, apply the first file that is not. A lock held by the session around
 * all files was dropped: pg reconnects by itself, and the new session would go
 * on without it.
 *
 * A file may wait for a table that is in use, and what comes after it then
 * waits behind it; so it waits a little (lock_timeout), gives up, lets the
 * others through and tries again until its time is over.
 */
#include "store/migrate.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sha256.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "store/pg.h"

enum { MAX_MIGRATIONS = 9999, MAX_FILE = 16 << 20, POLL_MS = 100 };

/* "souk" and "sche" in ASCII: what pg_locks shows as classid and objid. */
#define LOCK_CLASS "1936684395"
#define LOCK_OBJECT "1935894629"

/* ---- files */

static enum rc
files_err(struct err *e, const char *path, const char *what)
{
	return err_set(e, RC_FAIL, "migration_files", "%s: %s", path, what);
}

/* The number of NNNN_words.sql, 0 when the name is not like that. */
static int
name_number(const char *name)
{
	size_t n = strlen(name);
	int64_t number;

	if (n < strlen("0001_a.sql") || name[4] != '_' ||
	    strspn(name + 5, "abcdefghijklmnopqrstuvwxyz0123456789_") !=
		n - 5 - strlen(".sql") ||
	    !text_int((struct span){ name, 4 }, 1, MAX_MIGRATIONS, &number))
		return 0;
	return (int)number;
}

static enum rc
file_read(
    const char *path, struct arena *arena, struct migration *m, struct err *e)
{
	FILE *f = fopen(path, "re");
	struct strbuf text;
	char buf[8192], digest[SHA256_DIGEST_STRING_LENGTH];
	enum rc rc = RC_OK;
	size_t n;

	if (f == NULL)
		return files_err(e, path, strerror(errno));
	strbuf_init(&text, 0);
	while (text.len <= MAX_FILE && (n = fread(buf, 1, sizeof buf, f)) > 0)
		strbuf_add(&text, buf, n);
	if (ferror(f) != 0)
		rc = files_err(e, path, "cannot be read");
	else if (text.len > MAX_FILE || memchr(text.s, '\0', text.len) != NULL)
		rc = files_err(e, path, "is not an SQL file");
	m->sql = arena_strndup(arena, text.s, text.len);
	m->checksum = arena_strdup(
	    arena, SHA256Data((const uint8_t *)text.s, text.len, digest));
	strbuf_release(&text);
	(void)fclose(f);
	return rc;
}

static int
is_sql(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 4 && strcmp(entry->d_name + n - 4, ".sql") == 0 &&
	       entry->d_name[0] != '.';
}

enum rc
migrate_read(
    const char *dir, struct arena *arena, struct migrations *out, struct err *e)
{
	struct dirent **names = NULL;
	enum rc rc = RC_OK;
	int n = scandir(dir, &names, is_sql, alphasort);

	*out = (struct migrations){ 0 };
	if (n < 0)
		return files_err(e, dir, strerror(errno));
	if (n == 0)
		rc = files_err(e, dir, "holds no migrations (NNNN_name.sql)");
	out->m = arena_calloc(arena, (size_t)n + 1, sizeof *out->m);
	for (int i = 0; i < n && rc == RC_OK; i++) {
		const char *name = names[i]->d_name;
		const char *path = arena_printf(arena, "%s/%s", dir, name);
		struct migration *m = &out->m[out->n];

		m->number = name_number(name);
		m->name = arena_strdup(arena, name);
		m->applied_at = "";
		if (m->number == 0)
			rc = files_err(e, path, "is not named NNNN_name.sql");
		else if (m->number != out->n + 1)
			rc = files_err(e, path,
			    "number used twice, or one before it is missing");
		else
			rc = file_read(path, arena, m, e);
		out->n++;
	}
	out->pending = out->n;
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	return rc;
}

/* ---- what is applied */

enum rc
migrate_compare(struct migrations *files, int n_rows,
    const struct migration_row rows[], struct err *e)
{
	for (int i = 0; i < n_rows; i++) {
		const struct migration_row *r = &rows[i];

		if (r->number < 1 || r->number > files->n)
			return err_set(e, RC_FAIL, "schema_newer",
			    "the database has migration %s, this program knows "
			    "%d only: install the newer souk, or restore the "
			    "backup made before the upgrade",
			    r->name, files->n);

		struct migration *m = &files->m[r->number - 1];

		if (strcmp(m->checksum, r->checksum) != 0)
			return err_set(e, RC_FAIL, "migration_changed",
			    "%s is not the file that was applied at %s: put "
			    "the original back, and what it should do besides "
			    "into a file of its own",
			    m->name, r->applied_at);
		m->applied = true;
		m->applied_at = r->applied_at;
		m->ms = r->ms;
	}
	files->pending = 0;
	for (int i = 0; i < files->n; i++) {
		if (!files->m[i].applied) {
			files->pending++;
		} else if (files->pending > 0) {
			return err_set(e, RC_FAIL, "migration_gap",
			    "%s was applied before %s: the table "
			    "schema_migration was changed by hand",
			    files->m[i].name, files->m[i - 1].name);
		}
	}
	return RC_OK;
}

static const struct pg_stmt table_there = { "migrate_table",
	"SELECT to_regclass('schema_migration') IS NOT NULL", 0 };

static const struct pg_stmt rows_select = { "migrate_rows",
	"SELECT number, name, checksum,"
	" to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS"
	"\"Z\"'), ms"
	" FROM schema_migration ORDER BY number",
	0 };

/* The words of libpq for a database that is not there. */
static enum rc
explain_connect(enum rc rc, struct err *e)
{
	if (rc == RC_RETRY && strstr(e->msg, "database \"") != NULL &&
	    strstr(e->msg, "does not exist") != NULL)
		return err_set(e, RC_FAIL, "no_database",
		    "the database of [postgres] url does not exist: create it "
		    "(createdb -O OWNER NAME), or correct the url");
	if (rc == RC_RETRY && strstr(e->msg, "role \"") != NULL &&
	    strstr(e->msg, "does not exist") != NULL)
		return err_set(e, RC_FAIL, "no_database",
		    "the user of [postgres] url (where it names none: yours) "
		    "does not exist: create it (createuser NAME), run this "
		    "as the shop's user, or correct the url");
	return rc;
}

static enum rc
rows_read(struct pg *pg, struct arena *arena, int *n,
    struct migration_row **out, struct err *e)
{
	struct pg_rows rows;
	enum rc rc;

	*n = 0;
	*out = NULL;
	rc = pg_exec(pg, PG_PRIMARY, &table_there, NULL, arena, &rows, e);
	if (rc != RC_OK)
		return explain_connect(rc, e);
	if (!pg_bool(&rows, 0, 0))
		return RC_OK;
	rc = pg_exec(pg, PG_PRIMARY, &rows_select, NULL, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	*n = rows.n;
	*out = arena_calloc(arena, (size_t)rows.n + 1, sizeof **out);
	for (int i = 0; i < rows.n; i++) {
		(*out)[i] = (struct migration_row){
			.number = (int)pg_int(&rows, i, 0),
			.name = pg_str(&rows, i, 1),
			.checksum = pg_str(&rows, i, 2),
			.applied_at = pg_str(&rows, i, 3),
			.ms = pg_int(&rows, i, 4),
		};
	}
	return RC_OK;
}

static enum rc
compare_now(
    struct pg *pg, struct migrations *files, struct arena *arena, struct err *e)
{
	struct migration_row *rows;
	enum rc rc;
	int n;

	if ((rc = rows_read(pg, arena, &n, &rows, e)) != RC_OK)
		return rc;
	for (int i = 0; i < files->n; i++)
		files->m[i].applied = false;
	return migrate_compare(files, n, rows, e);
}

enum rc
migrate_status(struct pg *pg, const char *dir, struct arena *arena,
    struct migrations *out, struct err *e)
{
	enum rc rc = migrate_read(dir, arena, out, e);

	return rc == RC_OK ? compare_now(pg, out, arena, e) : rc;
}

/* ---- applying */

static const struct pg_stmt lock_try = { "migrate_lock",
	"SELECT pg_try_advisory_xact_lock(" LOCK_CLASS ", " LOCK_OBJECT ")",
	0 };

static const struct pg_stmt lock_holder = { "migrate_holder",
	"SELECT 'process ' || a.pid || ' (' || a.application_name || ' of ' ||"
	" a.usename || coalesce(' at ' || host(a.client_addr), '') ||"
	" ', since ' || to_char(a.xact_start AT TIME ZONE 'UTC', 'HH24:MI:SS')"
	" || ' UTC)'"
	" FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
	" WHERE l.locktype = 'advisory' AND l.granted"
	" AND l.classid = " LOCK_CLASS " AND l.objid = " LOCK_OBJECT
	" AND l.database = (SELECT oid FROM pg_database"
	" WHERE datname = current_database())"
	" LIMIT 1",
	0 };

static const struct pg_stmt row_insert = { "migrate_insert",
	"INSERT INTO schema_migration (number, name, checksum, ms)"
	" VALUES ($1, $2, $3, $4)",
	4 };

static const struct pg_stmt xact_id = { "migrate_xact",
	"SELECT pg_current_xact_id()::text", 0 };

static const char table_create[] =
    "CREATE TABLE IF NOT EXISTS schema_migration ("
    " number integer PRIMARY KEY CHECK (number > 0),"
    " name text NOT NULL,"
    " checksum text NOT NULL CHECK (checksum ~ '^[0-9a-f]{64}$'),"
    " applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),"
    " ms bigint NOT NULL)";

/* In this transaction a file may take its time, but not wait long for a table
 * that is in use. */
static const char transaction_limits[] =
    "SET LOCAL statement_timeout = 0;"
    "SET LOCAL idle_in_transaction_session_timeout = 0;"
    "SET LOCAL lock_timeout = '3s'";

static const char *
holder_name(struct pg *pg, struct arena *arena)
{
	struct pg_rows rows;

	if (pg_exec(pg, PG_PRIMARY, &lock_holder, NULL, arena, &rows, NULL) !=
		RC_OK ||
	    rows.n == 0)
		return "another process";
	return pg_str(&rows, 0, 0);
}

static enum rc
apply(struct pg *pg, const struct migration *m, struct arena *arena,
    int64_t *ms, struct err *e)
{
	struct pg_rows before, after;
	struct pg_args args = { 0 };
	int64_t start = clock_mono_ms();
	enum rc rc;

	rc = pg_exec(pg, PG_PRIMARY, &xact_id, NULL, arena, &before, e);
	if (rc == RC_OK)
		rc = pg_run(pg, m->sql, 0, e);
	if (rc == RC_OK)
		rc = pg_exec(pg, PG_PRIMARY, &xact_id, NULL, arena, &after, e);
	if (rc == RC_OK &&
	    strcmp(pg_str(&before, 0, 0), pg_str(&after, 0, 0)) != 0)
		rc = err_set(e, RC_FAIL, "migration_files",
		    "it ends its transaction by itself");
	*ms = clock_mono_ms() - start;
	pg_arg_int(&args, m->number);
	pg_arg_str(&args, m->name);
	pg_arg_str(&args, m->checksum);
	pg_arg_int(&args, *ms);
	if (rc == RC_OK)
		rc =
		    pg_exec(pg, PG_PRIMARY, &row_insert, &args, arena, NULL, e);
	if (rc == RC_REFUSED || rc == RC_INVALID) /* a check in the file */
		rc = err_set(e, RC_FAIL, e->code, "%s", e->msg);
	if (rc != RC_OK)
		err_prefix(e, "%s: ", m->name);
	return rc;
}

/*
 * One transaction: the next file that is not applied. RC_NONE: there is none;
 * RC_REFUSED: somebody else holds the lock.
 */
static enum rc
turn(struct pg *pg, struct migrations *files, const struct migrate_opts *opts,
    struct arena *arena, struct err *e)
{
	const struct migration *m = NULL;
	struct pg_rows rows;
	int64_t ms = 0;
	enum rc rc;

	if ((rc = pg_begin(pg, e)) != RC_OK)
		return explain_connect(rc, e);
	rc = pg_exec(pg, PG_PRIMARY, &lock_try, NULL, arena, &rows, e);
	if (rc == RC_OK && !pg_bool(&rows, 0, 0))
		rc = RC_REFUSED;
	if (rc == RC_OK)
		rc = pg_run(pg, transaction_limits, 0, e);
	if (rc == RC_OK)
		rc = compare_now(pg, files, arena, e);
	if (rc == RC_OK && files->pending == 0)
		rc = RC_NONE;
	if (rc == RC_OK && files->pending == files->n)
		rc = pg_run(pg, table_create, 0, e);
	if (rc == RC_OK) {
		m = &files->m[files->n - files->pending];
		if (opts->progress != NULL)
			opts->progress(opts->arg, m, -1);
		rc = apply(pg, m, arena, &ms, e);
	}
	if (rc != RC_OK) {
		pg_rollback(pg);
		return rc;
	}
	if ((rc = pg_commit(pg, e)) != RC_OK)
		return rc;
	if (opts->progress != NULL)
		opts->progress(opts->arg, m, ms);
	return RC_OK;
}

enum rc
migrate_run(struct pg *pg, const char *dir, const struct migrate_opts *opts,
    struct arena *arena, int *applied, struct err *e)
{
	struct migrations files;
	int64_t deadline = deadline_in(opts->wait_ms);
	const char *who = NULL;
	enum rc rc;

	*applied = 0;
	if ((rc = migrate_read(dir, arena, &files, e)) != RC_OK)
		return rc;
	for (;;) {
		rc = turn(pg, &files, opts, arena, e);
		if (rc == RC_NONE)
			return RC_OK;
		if (rc == RC_OK) {
			(*applied)++;
			deadline = deadline_in(opts->wait_ms);
			continue;
		}
		bool locked =
		    rc == RC_RETRY && strcmp(e->code, "pg_locked") == 0;

		if (rc != RC_REFUSED && !locked)
			return rc;
		if (rc == RC_REFUSED && who == NULL) {
			who = holder_name(pg, arena);
			if (opts->waiting != NULL)
				opts->waiting(opts->arg, who);
		}
		if (deadline_left_ms(deadline) == 0)
			return locked ? rc
				      : err_set(e, RC_RETRY, "migrate_busy",
					    "%s is migrating this database; "
					    "waited for it in vain",
					    who);
		clock_sleep_ms(POLL_MS);
	}
}
