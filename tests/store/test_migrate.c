/* What fits together is decided without a database. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/migrate.h"

static struct arena *arena;
static struct err e;
static char dir[] = "/tmp/souk-migrate.XXXXXX";

static struct migration three[3];
static struct migrations files;

static void
setup(void)
{
	arena = arena_new();
	e = (struct err)ERR_INIT;
	for (int i = 0; i < 3; i++) {
		three[i] = (struct migration){ .number = i + 1,
			.name = arena_printf(arena, "000%d_x.sql", i + 1),
			.checksum = arena_printf(arena, "sum%d", i + 1),
			.applied_at = "" };
	}
	files = (struct migrations){ .n = 3, .m = three, .pending = 3 };
}

static void
teardown(void)
{
	arena_free(arena);
}

static struct migration_row
row(int number)
{
	return (struct migration_row){ .number = number,
		.name = "x",
		.checksum = arena_printf(arena, "sum%d", number),
		.applied_at = "2026-11-22T09:00:00Z",
		.ms = 7 };
}

START_TEST(nothing_applied_leaves_all_pending)
{
	ck_assert_int_eq(migrate_compare(&files, 0, NULL, &e), RC_OK);
	ck_assert_int_eq(files.pending, 3);
}
END_TEST

START_TEST(rows_may_come_in_any_order)
{
	struct migration_row rows[] = { row(2), row(1) };

	ck_assert_int_eq(migrate_compare(&files, 2, rows, &e), RC_OK);
	ck_assert_int_eq(files.pending, 1);
	ck_assert(files.m[0].applied && files.m[1].applied);
	ck_assert(!files.m[2].applied);
	ck_assert_int_eq(files.m[1].ms, 7);
}
END_TEST

START_TEST(a_changed_file_is_refused)
{
	struct migration_row rows[] = { row(1) };

	rows[0].checksum = "other";
	ck_assert_int_eq(migrate_compare(&files, 1, rows, &e), RC_FAIL);
	ck_assert_str_eq(e.code, "migration_changed");
	ck_assert_ptr_nonnull(strstr(e.msg, "0001_x.sql"));
}
END_TEST

START_TEST(a_newer_database_is_refused)
{
	struct migration_row rows[] = { row(1), row(2), row(3), row(4) };

	ck_assert_int_eq(migrate_compare(&files, 4, rows, &e), RC_FAIL);
	ck_assert_str_eq(e.code, "schema_newer");
}
END_TEST

START_TEST(a_gap_is_refused)
{
	struct migration_row rows[] = { row(1), row(3) };

	ck_assert_int_eq(migrate_compare(&files, 2, rows, &e), RC_FAIL);
	ck_assert_str_eq(e.code, "migration_gap");
}
END_TEST

static void
given_file(const char *name, const char *text)
{
	FILE *f = fopen(arena_printf(arena, "%s/%s", dir, name), "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static void
no_file(const char *name)
{
	ck_assert_int_eq(unlink(arena_printf(arena, "%s/%s", dir, name)), 0);
}

START_TEST(files_are_read_by_number)
{
	struct migrations m;

	memcpy(dir, "/tmp/souk-migrate.XXXXXX", sizeof dir);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(migrate_read(dir, arena, &m, &e), RC_FAIL);
	given_file("0002_b.sql", "SELECT 2;");
	ck_assert_int_eq(migrate_read(dir, arena, &m, &e), RC_FAIL);
	given_file("0001_a.sql", "abc");
	given_file("README", "not one");
	ck_assert_int_eq(migrate_read(dir, arena, &m, &e), RC_OK);
	ck_assert_int_eq(m.n, 2);
	ck_assert_int_eq(m.pending, 2);
	ck_assert_str_eq(m.m[0].name, "0001_a.sql");
	/* FIPS 180-4's example */
	ck_assert_str_eq(m.m[0].checksum,
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	ck_assert_str_eq(m.m[1].sql, "SELECT 2;");
	given_file("0002_c.sql", "twice");
	ck_assert_int_eq(migrate_read(dir, arena, &m, &e), RC_FAIL);
	no_file("0002_c.sql");
	given_file("03_c.sql", "badly named");
	ck_assert_int_eq(migrate_read(dir, arena, &m, &e), RC_FAIL);
	ck_assert_ptr_nonnull(strstr(e.msg, "03_c.sql"));
	no_file("03_c.sql");
	no_file("0001_a.sql");
	no_file("0002_b.sql");
	no_file("README");
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("migrate");
	TCase *tc = tcase_create("compare");
	SRunner *sr;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, nothing_applied_leaves_all_pending);
	tcase_add_test(tc, rows_may_come_in_any_order);
	tcase_add_test(tc, a_changed_file_is_refused);
	tcase_add_test(tc, a_newer_database_is_refused);
	tcase_add_test(tc, a_gap_is_refused);
	tcase_add_test(tc, files_are_read_by_number);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
