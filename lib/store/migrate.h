/*
 * migrate - the numbered files of sql/ and what of them a database has.
 *
 * A file is NNNN_name.sql, numbers 0001, 0002, ... without a gap. Each is
 * applied in one transaction together with its row in schema_migration, under
 * an advisory lock taken in that same transaction: it cannot be lost unseen
 * when a connection breaks, it works through PgBouncer in transaction mode, and
 * of two that run at once the second finds the work done.
 */
#ifndef STORE_MIGRATE_H
#define STORE_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct arena;
struct pg;

struct migration {
	int number;
	const char *name;     /* "0001_catalog.sql" */
	const char *checksum; /* SHA-256 of the file, hex */
	const char *sql;      /* the file */
	bool applied;
	const char *applied_at; /* RFC 3339, "" when not applied */
	int64_t ms;             /* that it took */
};

/* A row of schema_migration. */
struct migration_row {
	int number;
	const char *name;
	const char *checksum;
	const char *applied_at;
	int64_t ms;
};

struct migrations {
	int n;
	struct migration *m; /* by number */
	int pending;         /* not applied: the last ones */
};

/*
 * Read the files of a folder; all in the arena. RC_FAIL "migration_files": no
 * folder, none in it, a name ending in .sql that is no migration's, a gap.
 */
enum rc migrate_read(const char *dir, struct arena *arena,
    struct migrations *out, struct err *e);

/*
 * Compare files and rows (in any order), and fill in applied, applied_at, ms
 * and pending. RC_FAIL, code and words for a person: "schema_newer" (the
 * database has more than the program knows), "migration_changed" (a file is
 * not what was applied), "migration_gap" (a later file was applied and an
 * earlier one not).
 */
enum rc migrate_compare(struct migrations *files, int n_rows,
    const struct migration_row rows[], struct err *e);

/* Read and compare: what the folder has and the database does. Changes
 * nothing. RC_FAIL also "no_database". */
enum rc migrate_status(struct pg *pg, const char *dir, struct arena *arena,
    struct migrations *out, struct err *e);

struct migrate_opts {
	int wait_ms; /* how long to wait for somebody else who migrates, and
			for locks on tables in use */
	/* Told of each file before it runs (ms -1) and when it is applied;
	 * may be NULL. */
	void (*progress)(void *arg, const struct migration *m, int64_t ms);
	/* Told once that somebody else is at it and who; may be NULL. */
	void (*waiting)(void *arg, const char *who);
	void *arg;
};

/*
 * Apply what is pending; *applied: how many this call applied, also on an
 * error. A file that fails leaves nothing of itself behind. RC_RETRY
 * "migrate_busy": another one was still at it when the wait was over.
 */
enum rc migrate_run(struct pg *pg, const char *dir,
    const struct migrate_opts *opts, struct arena *arena, int *applied,
    struct err *e);

#endif
