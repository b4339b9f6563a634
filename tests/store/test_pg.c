#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "store/pg.h"

static struct pg *pg;
static struct arena *arena;
static struct err e;

static void
setup(void)
{
	pg = pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
	    .replica_url = getenv("DATABASE_REPLICA_URL"),
	    .connect_ms = 2000,
	    .query_ms = 1000,
	    .pooler = getenv("PG_POOLER") != NULL,
	    .app_name = "test_pg" });
	arena = arena_new();
}

static void
teardown(void)
{
	pg_free(pg);
	arena_free(arena);
}

static const struct pg_stmt add = { "add", "SELECT $1::int + $2::int, $3::text",
	3 };

START_TEST(a_prepared_statement_answers_rows)
{
	struct pg_rows rows;

	for (int i = 0; i < 3; i++) {
		struct pg_args args = { 0 };

		pg_arg_int(&args, i);
		pg_arg_int(&args, 40);
		pg_arg_str(&args, i == 2 ? NULL : "a\tb");
		ck_assert_int_eq(pg_exec(pg, PG_PRIMARY, &add, &args, arena,
				     &rows, &e),
		    RC_OK);
		ck_assert_int_eq(rows.n, 1);
		ck_assert_int_eq(pg_int(&rows, 0, 0), 40 + i);
		ck_assert_str_eq(pg_str(&rows, 0, 1), i == 2 ? "" : "a\tb");
		ck_assert(i != 2 || pg_cell(&rows, 0, 1).p == NULL);
	}
}
END_TEST

static const struct pg_stmt slow = { "slow", "SELECT pg_sleep(5)", 0 };
static const struct pg_stmt one = { "one", "SELECT 1", 0 };

START_TEST(a_deadline_is_kept_and_the_connection_not_reused)
{
	int64_t start = clock_mono_ms();
	struct pg_rows rows;

	ck_assert_int_eq(pg_exec_by(pg, PG_PRIMARY, &slow, NULL,
			     deadline_in(200), arena, &rows, &e),
	    RC_RETRY);
	ck_assert_str_eq(e.code, "pg_timeout");
	ck_assert_int_lt(clock_mono_ms() - start, 900);
	ck_assert_int_eq(
	    pg_exec(pg, PG_PRIMARY, &one, NULL, arena, &rows, &e), RC_OK);
	ck_assert_int_eq(pg_int(&rows, 0, 0), 1);
}
END_TEST

START_TEST(a_violated_constraint_is_refused_by_name)
{
	static const struct pg_stmt ins = { "ins",
		"INSERT INTO t_unique VALUES (1)", 0 };
	struct pg_rows rows;

	ck_assert_int_eq(pg_run(pg,
			     "DROP TABLE IF EXISTS t_unique; CREATE TABLE "
			     "t_unique(a int CONSTRAINT only_one PRIMARY KEY)",
			     0, &e),
	    RC_OK);
	ck_assert_int_eq(
	    pg_exec(pg, PG_PRIMARY, &ins, NULL, arena, &rows, &e), RC_OK);
	ck_assert_int_eq(rows.affected, 1);
	ck_assert_int_eq(
	    pg_exec(pg, PG_PRIMARY, &ins, NULL, arena, &rows, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "unique_violation");
	ck_assert_str_eq(e.msg, "only_one");
}
END_TEST

START_TEST(a_rolled_back_transaction_changes_nothing)
{
	struct pg_rows rows;
	static const struct pg_stmt count = { "count",
		"SELECT count(*) FROM t_roll", 0 };

	ck_assert_int_eq(pg_run(pg,
			     "DROP TABLE IF EXISTS t_roll; "
			     "CREATE TABLE t_roll(a int)",
			     0, &e),
	    RC_OK);
	ck_assert_int_eq(pg_begin(pg, &e), RC_OK);
	ck_assert_int_eq(
	    pg_run(pg, "INSERT INTO t_roll VALUES (1)", 0, &e), RC_OK);
	pg_rollback(pg);
	ck_assert_int_eq(pg_begin(pg, &e), RC_OK);
	ck_assert_int_eq(pg_copy_begin(pg, "COPY t_roll FROM STDIN", &e), RC_OK);
	ck_assert_int_eq(pg_copy_data(pg, span_of("2\n3\n"), &e), RC_OK);
	ck_assert_int_eq(pg_copy_end(pg, &e), RC_OK);
	ck_assert_int_eq(pg_commit(pg, &e), RC_OK);
	ck_assert_int_eq(
	    pg_exec(pg, PG_PRIMARY, &count, NULL, arena, &rows, &e), RC_OK);
	ck_assert_int_eq(pg_int(&rows, 0, 0), 2);
}
END_TEST

START_TEST(a_failed_transaction_is_not_taken_for_committed)
{
	ck_assert_int_eq(pg_begin(pg, &e), RC_OK);
	ck_assert_int_ne(pg_run(pg, "SELECT 1/0", 0, &e), RC_OK);
	ck_assert_int_ne(pg_commit(pg, &e), RC_OK);
	ck_assert_int_eq(pg_run(pg, "SELECT 1", 0, &e), RC_OK);
}
END_TEST

/* The server ends the connection behind our back, as in a restart. */
START_TEST(a_read_on_a_dead_connection_is_asked_again)
{
	static const struct pg_stmt backend = { "backend",
		"SELECT pg_backend_pid()", 0 };
	struct pg_rows rows;
	struct pg *other;

	if (getenv("PG_POOLER") != NULL)
		return; /* our connection is the pooler's, which stands */
	other = pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
	    .connect_ms = 2000,
	    .query_ms = 1000 });

	ck_assert_int_eq(
	    pg_exec(pg, PG_PRIMARY, &backend, NULL, arena, &rows, &e), RC_OK);
	ck_assert_int_eq(pg_run(other,
			     arena_printf(arena,
				 "SELECT pg_terminate_backend(%d)",
				 (int)pg_int(&rows, 0, 0)),
			     0, &e),
	    RC_OK);
	clock_sleep_ms(100);
	ck_assert_int_eq(
	    pg_exec(pg, PG_PRIMARY, &one, NULL, arena, &rows, &e), RC_OK);
	pg_free(other);
}
END_TEST

/* A demoted primary: what cannot write is not kept. */
START_TEST(a_primary_that_became_read_only_is_left)
{
	static const struct pg_stmt ins = { "ins_ro",
		"INSERT INTO t_ro VALUES (1)", 0 };

	if (getenv("PG_POOLER") != NULL)
		return; /* SET is the pooler's session's */
	ck_assert_int_eq(pg_run(pg,
			     "DROP TABLE IF EXISTS t_ro; CREATE TABLE t_ro(a "
			     "int); SET default_transaction_read_only = on",
			     0, &e),
	    RC_OK);
	ck_assert_int_eq(
	    pg_exec(pg, PG_PRIMARY, &ins, NULL, arena, NULL, &e), RC_RETRY);
	ck_assert_str_eq(e.code, "pg_read_only");
	ck_assert_int_eq(
	    pg_exec(pg, PG_PRIMARY, &ins, NULL, arena, NULL, &e), RC_OK);
	/* The same within a transaction, which ends with it. */
	ck_assert_int_eq(
	    pg_run(pg, "SET default_transaction_read_only = on", 0, &e), RC_OK);
	ck_assert_int_eq(pg_begin(pg, &e), RC_OK);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(
		    pg_exec(pg, PG_PRIMARY, &ins, NULL, arena, NULL, &e),
		    RC_RETRY);
	pg_rollback(pg);
	ck_assert_int_eq(
	    pg_exec(pg, PG_PRIMARY, &ins, NULL, arena, NULL, &e), RC_OK);
}
END_TEST

START_TEST(a_replica_that_is_away_is_the_primary)
{
	struct pg_rows rows;
	int64_t lsn;
	struct pg *p = pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
	    .replica_url = "postgresql://127.0.0.1:1/none",
	    .pooler = getenv("PG_POOLER") != NULL,
	    .connect_ms = 500,
	    .query_ms = 1000 });

	ck_assert_int_eq(
	    pg_exec(p, PG_REPLICA, &one, NULL, arena, &rows, &e), RC_OK);
	ck_assert_int_eq(pg_position(p, PG_REPLICA, &lsn, &e), RC_NONE);
	ck_assert_int_eq(pg_position(p, PG_PRIMARY, &lsn, &e), RC_OK);
	ck_assert_int_gt(lsn, 0);
	pg_free(p);
}
END_TEST

START_TEST(a_server_that_is_not_there_is_retry)
{
	struct pg *p = pg_new(&(struct pg_opts){
	    .url = "postgresql://127.0.0.1:1/none",
	    .connect_ms = 500,
	    .query_ms = 500 });

	ck_assert_int_eq(pg_exec(p, PG_PRIMARY, &one, NULL, arena, NULL, &e),
	    RC_RETRY);
	ck_assert_str_eq(e.code, "pg_down");
	pg_free(p);
}
END_TEST

int
main(void)
{
	if (getenv("DATABASE_URL") == NULL)
		return 77;
	Suite *s = suite_create("pg");
	TCase *tc = tcase_create("pg");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, a_prepared_statement_answers_rows);
	tcase_add_test(tc, a_deadline_is_kept_and_the_connection_not_reused);
	tcase_add_test(tc, a_violated_constraint_is_refused_by_name);
	tcase_add_test(tc, a_rolled_back_transaction_changes_nothing);
	tcase_add_test(tc, a_failed_transaction_is_not_taken_for_committed);
	tcase_add_test(tc, a_read_on_a_dead_connection_is_asked_again);
	tcase_add_test(tc, a_primary_that_became_read_only_is_left);
	tcase_add_test(tc, a_replica_that_is_away_is_the_primary);
	tcase_add_test(tc, a_server_that_is_not_there_is_retry);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
