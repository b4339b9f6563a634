#include "queue_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/migrate.h"
#include "store/outbox.h"
#include "store/pg.h"

enum { WAIT_MS = 10000, TIMEOUT_S = 240 };

struct arena *arena;
struct err e;
struct pg *pg;
struct queue *queue, *other;

struct pg *
new_pg(void)
{
	return pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
	    .connect_ms = 5000,
	    .query_ms = 10000,
	    .app_name = "test_queue" });
}

void
sql(const char *text)
{
	ck_assert_msg(
	    pg_run(pg, text, 120000, &e) == RC_OK, "%s: %s", text, e.msg);
}

const char *
look(const char *text)
{
	struct pg_stmt st = { "look", text, 0 };
	struct pg *once = new_pg(); /* st does not live on */
	struct pg_rows rows;
	const char *s;

	ck_assert_msg(
	    pg_exec(once, PG_PRIMARY, &st, NULL, arena, &rows, &e) == RC_OK,
	    "%s: %s", text, e.msg);
	s = rows.n == 0 ? "nothing" : pg_str(&rows, 0, 0);
	pg_free(once);
	return s;
}

struct queue *
new_queue_at(const char *url, struct pg *p, int visibility_ms,
    const struct queue_remote *remote)
{
	struct queue_opts opts = { .url = url,
		.name = "email",
		.visibility_ms = visibility_ms,
		.max_receives = 3,
		.pg = p };
	struct queue *q = NULL;

	if (remote != NULL)
		opts.remote = *remote;
	ck_assert_msg(queue_open(&opts, &q, &e) == RC_OK, "%s", e.msg);
	return q;
}

int
receive(struct queue *q, int max, int wait_ms, struct task **out)
{
	int n = -1;
	enum rc rc = queue_receive(q, max, wait_ms, arena, out, &n, &e);

	ck_assert_msg(rc == RC_OK, "%s", e.msg);
	return n;
}

struct task *
receive_one(struct queue *q)
{
	struct task *tasks;
	int n = receive(q, QUEUE_BATCH, WAIT_MS, &tasks);

	ck_assert_int_eq(n, 1);
	return tasks;
}

enum rc
done_one(struct queue *q, const struct task *task)
{
	return queue_done(q, 1, &task, NULL, arena, &e);
}

/* ---- effects */

static const struct pg_stmt effect = { "t_effect",
	"INSERT INTO t_effect (task_id) VALUES ($1)", 1 };

void
effects_begin(void)
{
	sql("DROP TABLE IF EXISTS t_effect;"
	    "CREATE TABLE t_effect (task_id text)");
	sql("ALTER DATABASE souk SET synchronous_commit = off");
}

void
effect_give(struct pg *mine, const struct task *task, struct arena *a)
{
	struct pg_args args = { 0 };
	enum rc rc;

	pg_arg_str(&args, task->id);
	if (pg_begin(mine, &e) != RC_OK)
		_exit(2);
	rc = task_finish(mine, task->id, a, &e);
	if (rc == RC_NONE)
		pg_rollback(mine);
	else if (rc != RC_OK ||
		 pg_exec(mine, PG_PRIMARY, &effect, &args, a, NULL, &e) !=
		     RC_OK ||
		 pg_commit(mine, &e) != RC_OK)
		_exit(3);
}

void
effects_are_once(int n)
{
	sql("ALTER DATABASE souk RESET synchronous_commit");
	ck_assert_str_eq(look("SELECT count(*) || ' ' || count(DISTINCT "
			      "task_id) FROM t_effect"),
	    arena_printf(arena, "%d %d", n, n));
}

void
child_ends_well(int pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

/* ---- running */

bool
migrated(void)
{
	struct arena *a = arena_new();
	struct migrations files;
	struct pg *once = new_pg();
	bool ok = migrate_read(getenv("QUEUE_SQL"), a, &files, &e) == RC_OK;

	for (int i = 0; ok && i < files.n; i++)
		ok = pg_run(once, files.m[i].sql, 30000, &e) == RC_OK;
	if (!ok)
		(void)fprintf(stderr, "%s\n", e.msg);
	pg_free(once);
	arena_free(a);
	return ok;
}

int
run_tests(const char *suite, size_t n, const TTest *const tests[],
    void (*set_up)(void), void (*tear_down)(void))
{
	Suite *s = suite_create(suite);
	SRunner *runner;
	int failed;

	for (size_t i = 0; i < n; i++) {
		TCase *tc = tcase_create(tests[i]->name);

		tcase_set_timeout(tc, TIMEOUT_S);
		tcase_add_checked_fixture(tc, set_up, tear_down);
		tcase_add_test(tc, tests[i]);
		suite_add_tcase(s, tc);
	}
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
