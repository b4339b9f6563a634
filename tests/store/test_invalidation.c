/* invalidation.c and the cache's choice of a node, with PostgreSQL, a replica
 * that is 5 s behind, and Redis. Run by invalidation.sh. */
#include "store/invalidation.h"

#include <check.h>
#include <md5.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "redis_server.h"
#include "store/cache.h"
#include "store/edge.h"
#include "store/pg.h"
#include "store/redis.h"

static struct redis_server server;
static struct arena *arena;
static struct err e;
static struct pg *pg, *other_pg;
static struct redis *redis;
static struct cache *cache;
static struct edge *edge;
static struct invalidation_log *housekeeper;
static char edge_folder[64];
static int marker_s = 60;

static struct pg *
new_pg(void)
{
	return pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
	    .replica_url = getenv("DATABASE_REPLICA_URL"),
	    .connect_ms = 3000,
	    .query_ms = 3000,
	    .app_name = "test" });
}

static struct redis *
new_redis(void)
{
	struct redis_opts opts = { server.url, 2000, 2000, NULL };
	struct redis *r = NULL;

	ck_assert_int_eq(redis_new(&opts, &r, &e), RC_OK);
	return r;
}

static struct cache *
new_cache(struct redis *r, struct pg *p)
{
	return cache_new(&(struct cache_opts){ .redis = r,
	    .pg = p,
	    .lease_ms = 3000,
	    .wait_ms = 1000,
	    .marker_s = marker_s,
	    .enabled = true });
}

static void
sql(const char *text)
{
	ck_assert_msg(
	    pg_run(pg, text, 10000, &e) == RC_OK, "%s: %s", text, e.msg);
}

static int64_t
number(const char *text)
{
	struct pg_stmt st = { arena_printf(arena, "t%s", text), text, 0 };
	struct pg_rows rows;
	struct pg *once = new_pg(); /* st does not live on */
	int64_t n;

	ck_assert_msg(
	    pg_exec(once, PG_PRIMARY, &st, NULL, arena, &rows, &e) == RC_OK,
	    "%s: %s", text, e.msg);
	n = pg_int(&rows, 0, 0);
	pg_free(once);
	return n;
}

static void
set_up(void)
{
	arena = arena_new();
	redis_server_start(&server);
	strcpy(edge_folder, "/tmp/souk-edge.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(edge_folder));
	pg = new_pg();
	other_pg = new_pg();
	redis = new_redis();
	cache = new_cache(redis, pg);
	edge = edge_new(edge_folder);
	sql("TRUNCATE invalidation; DELETE FROM thing;"
	    "INSERT INTO thing VALUES (1, 1)");
	housekeeper = invalidation_log_new(pg, redis, cache, edge);
	ck_assert_msg(
	    invalidation_log_turn(housekeeper, &e) == RC_OK, "%s", e.msg);
}

static void
tear_down(void)
{
	char cmd[128];

	invalidation_log_free(housekeeper);
	edge_free(edge);
	cache_free(cache);
	redis_free(redis);
	pg_free(other_pg);
	pg_free(pg);
	redis_server_remove(&server);
	(void)snprintf(cmd, sizeof cmd, "rm -rf '%s'", edge_folder);
	(void)!system(cmd);
	arena_free(arena);
}

/* ---- a page at the edge */

static const char *
edge_file(const char *path)
{
	char *key = arena_printf(arena, "gzip q=&after=&limit= %s", path);
	unsigned char digest[MD5_DIGEST_LENGTH];
	char hex[33];
	MD5_CTX ctx;

	MD5Init(&ctx);
	MD5Update(&ctx, (const uint8_t *)key, strlen(key));
	MD5Final(digest, &ctx);
	text_hex(digest, sizeof digest, hex);
	(void)mkdir(arena_printf(arena, "%s/item", edge_folder), 0755);
	(void)mkdir(
	    arena_printf(arena, "%s/item/%s", edge_folder, hex + 30), 0755);
	return arena_printf(arena, "%s/item/%s/%s", edge_folder, hex + 30, hex);
}

static void
given_page(const char *path)
{
	FILE *f = fopen(edge_file(path), "w");

	ck_assert_ptr_nonnull(f);
	(void)fputs("\005\001\001\001\001\001\001\001 a page", f);
	(void)fclose(f);
}

static bool
page_stands(const char *path)
{
	FILE *f = fopen(edge_file(path), "r");
	int c = f == NULL ? 0 : fgetc(f);

	if (f != NULL)
		(void)fclose(f);
	return c == 5;
}

/* ---- a record in the cache */

static const struct cache_kind kind = { "thing", 3600, 60, 5, NULL, false };
static enum pg_node read_from;

static enum rc
fetch(void *arg, enum pg_node node, struct cache_fill *fill, struct err *err)
{
	static const struct pg_stmt get = { "thing_get",
		"SELECT v FROM thing WHERE id = 1", 0 };
	struct pg_rows rows;
	enum rc rc = pg_exec(pg, node, &get, NULL, fill->arena, &rows, err);

	(void)arg;
	read_from = node;
	if (rc != RC_OK)
		return rc;
	fill->none = rows.n == 0;
	if (!fill->none)
		fill->body = pg_cell(&rows, 0, 0);
	return RC_OK;
}

static int
value(void)
{
	struct cache_entry out;

	ck_assert_msg(cache_get(cache, &kind, "thing:1", fetch, NULL, arena,
			  &out, &e) == RC_OK,
	    "%s", e.msg);
	return atoi(arena_strndup(arena, out.body.p, out.body.n));
}

static bool
cached(void)
{
	struct redis_reply r;

	ck_assert_int_eq(redis_callv(redis, "thing:1", arena, &r, &e, "EXISTS",
			     "thing:1", NULL),
	    RC_OK);
	return redis_num(&r, 0) == 1;
}

/* ---- a writer */

static const char *const keys[] = { "thing:1", "page:/things/\"1\"",
	"gen:things" };
static const char *const paths[] = { "/things/1", "/caf\xc3\xa9 \"x\"\\" };
static const struct invalidation inv = { 3, keys, 2, paths, true };

static int64_t
write_row(struct pg *p)
{
	int64_t id = 0;

	ck_assert_msg(
	    invalidation_write(p, &inv, arena, &id, &e) == RC_OK, "%s", e.msg);
	return id;
}

static void
change_without_telling(struct pg *p)
{
	static const struct pg_stmt change = { "thing_change",
		"UPDATE thing SET v = v + 1", 0 };

	ck_assert_int_eq(pg_begin(p, &e), RC_OK);
	ck_assert_int_eq(
	    pg_exec(p, PG_PRIMARY, &change, NULL, arena, NULL, &e), RC_OK);
	(void)write_row(p);
	ck_assert_int_eq(pg_commit(p, &e), RC_OK);
}

static void
turn_for(int64_t ms)
{
	int64_t deadline = deadline_in(ms);

	do {
		(void)!invalidation_log_turn(housekeeper, &e);
		clock_sleep_ms(100);
	} while (deadline_left_ms(deadline) > 0);
}

static int64_t
undone(void)
{
	return number(
	    "SELECT count(*) FROM invalidation WHERE done_at IS NULL");
}

/* ---- */

START_TEST(the_writer_carries_it_out)
{
	int64_t id;

	ck_assert_int_eq(value(), 1);
	given_page(paths[0]);
	given_page(paths[1]);
	given_page("/things/2");
	ck_assert_int_eq(pg_begin(pg, &e), RC_OK);
	id = write_row(pg);
	ck_assert_int_eq(pg_commit(pg, &e), RC_OK);
	ck_assert_int_eq(
	    invalidation_carry_out(pg, cache, edge, &inv, id, arena, &e),
	    RC_OK);
	ck_assert(!cached());
	ck_assert(!page_stands(paths[0]));
	ck_assert(!page_stands(paths[1]));
	ck_assert(page_stands("/things/2"));
	ck_assert_int_eq(undone(), 0);
	/* And nobody does it again. */
	ck_assert_int_eq(value(), 1);
	turn_for(400);
	ck_assert(cached());
}
END_TEST

START_TEST(what_a_killed_writer_left_is_done_within_a_second)
{
	struct redis_reply r;
	int64_t committed, end;
	pid_t pid;

	ck_assert_int_eq(value(), 1);
	given_page(paths[0]);
	pid = fork();
	if (pid == 0) {
		struct pg *p = new_pg();

		change_without_telling(p);
		(void)kill(getpid(), SIGKILL);
	}
	(void)waitpid(pid, NULL, 0);
	committed = clock_mono_ms();
	ck_assert(cached());
	for (end = committed + 1000; cached() && clock_mono_ms() < end;)
		turn_for(1);
	ck_assert(!cached());
	ck_assert(!page_stands(paths[0]));
	ck_assert_int_eq(value(), 2);
	ck_assert_int_eq(undone(), 0);
	ck_assert_int_eq(redis_callv(redis, "thing:1", arena, &r, &e, "HGET",
			     "{thing:1}:m", "v", NULL),
	    RC_OK);
	ck_assert_int_gt(redis_num(&r, 0), 0);
}
END_TEST

START_TEST(rows_that_commit_out_of_order_are_all_seen)
{
	given_page(paths[0]);
	ck_assert_int_eq(pg_begin(other_pg, &e), RC_OK);
	(void)write_row(other_pg); /* the lower id and txid */
	change_without_telling(pg);
	turn_for(1500); /* all purges of the second are over */
	ck_assert(!page_stands(paths[0]));
	given_page(paths[0]);
	turn_for(300);
	ck_assert(page_stands(paths[0]));
	ck_assert_int_eq(pg_commit(other_pg, &e), RC_OK);
	turn_for(200);
	ck_assert(!page_stands(paths[0]));
	ck_assert_int_eq(undone(), 0);
}
END_TEST

START_TEST(a_page_stored_a_moment_later_is_purged_too)
{
	change_without_telling(pg);
	turn_for(150);
	given_page(paths[0]); /* nginx had it under way */
	turn_for(350);
	ck_assert(!page_stands(paths[0]));
	given_page(paths[0]);
	turn_for(1000);
	ck_assert(!page_stands(paths[0]));
	turn_for(900);
	given_page(paths[0]); /* and this is the new one */
	turn_for(1200);
	ck_assert(page_stands(paths[0]));
}
END_TEST

START_TEST(purging_goes_on_until_redis_was_told)
{
	redis_server_kill(&server);
	change_without_telling(pg);
	turn_for(2500);
	given_page(paths[0]); /* rendered of a record that nobody revoked */
	turn_for(1200);
	ck_assert(!page_stands(paths[0]));
	ck_assert_int_eq(undone(), 1);
	ck_assert_int_eq(invalidation_log_turn(housekeeper, &e), RC_RETRY);
	redis_server_again(&server);
	clock_sleep_ms(1300); /* the back-off */
	turn_for(100);
	ck_assert_int_eq(undone(), 0);
	given_page(paths[0]);
	turn_for(1600);
	ck_assert(!page_stands(paths[0]));
}
END_TEST

START_TEST(a_redis_that_lost_its_last_second_is_told_again)
{
	struct redis_reply r;

	change_without_telling(pg);
	turn_for(1600);
	ck_assert_int_eq(undone(), 0);
	redis_server_kill(&server);
	turn_for(100);
	redis_server_again(&server);
	clock_sleep_ms(1300);
	/* It comes back with what was true before. */
	ck_assert_int_eq(
	    redis_callv(redis, "thing:1", arena, &r, &e, "SET", "thing:1",
		"souk1 0 99999999999999 1 0 -\n1", NULL),
	    RC_OK);
	given_page(paths[0]);
	ck_assert_int_eq(value(), 1);
	turn_for(100);
	ck_assert_int_eq(value(), 2);
	ck_assert(!page_stands(paths[0]));
}
END_TEST

START_TEST(a_new_housekeeper_goes_on_where_the_old_one_was)
{
	struct redis_reply r;

	change_without_telling(pg);
	turn_for(4500); /* purged for good, and saved */
	ck_assert_int_eq(value(), 2);
	given_page(paths[0]);
	invalidation_log_free(housekeeper);
	housekeeper = invalidation_log_new(pg, redis, cache, edge);
	turn_for(300);
	ck_assert(cached());
	ck_assert(page_stands(paths[0]));
	/* What came while there was none. */
	invalidation_log_free(housekeeper);
	change_without_telling(pg);
	housekeeper = invalidation_log_new(pg, redis, cache, edge);
	turn_for(300);
	ck_assert(!page_stands(paths[0]));
	ck_assert_int_eq(value(), 3);
	/* Not known how far: the last hour again. */
	given_page(paths[0]);
	ck_assert_int_eq(redis_callv(redis, NULL, arena, &r, &e, "EVAL",
			     "for _, k in ipairs(redis.call('SCAN', 0, "
			     "'MATCH', 'invalidation:seen:*', 'COUNT', 1000)"
			     "[2]) do redis.call('DEL', k) end return 1",
			     "0", NULL),
	    RC_OK);
	invalidation_log_free(housekeeper);
	housekeeper = invalidation_log_new(pg, redis, cache, edge);
	turn_for(100);
	ck_assert(!cached());
	ck_assert(!page_stands(paths[0]));
}
END_TEST

START_TEST(many_rows_are_done_in_batches)
{
	sql("INSERT INTO invalidation (keys, edge_paths, edge_lists, "
	    "created_at) SELECT ARRAY['thing:1'], ARRAY['/things/' || n], "
	    "false, now() - interval '1 s' FROM generate_series(1, 1300) n");
	given_page("/things/1");
	given_page("/things/1300");
	turn_for(2500);
	ck_assert_int_eq(undone(), 0);
	ck_assert(!page_stands("/things/1"));
	ck_assert(!page_stands("/things/1300"));
}
END_TEST

START_TEST(old_rows_go_when_they_are_done)
{
	sql("INSERT INTO invalidation (keys, edge_paths, edge_lists, "
	    "created_at, done_at) SELECT '{}', '{}', false, "
	    "now() - interval '25 h', now() - interval '25 h' "
	    "FROM generate_series(1, 2500);"
	    "INSERT INTO invalidation (keys, edge_paths, edge_lists, "
	    "created_at, done_at) VALUES ('{}', '{}', false, "
	    "now() - interval '23 h', now()), "
	    "('{}', '{}', false, now() - interval '25 h', NULL)");
	invalidation_log_free(housekeeper);
	housekeeper = invalidation_log_new(pg, redis, cache, edge);
	turn_for(500);
	ck_assert_int_eq(number("SELECT count(*) FROM invalidation"), 2);
	ck_assert_int_eq(undone(), 0);
}
END_TEST

START_TEST(without_postgresql_it_says_so)
{
	struct pg *none = pg_new(
	    &(struct pg_opts){ .url = "postgresql:///x?host=/nonexistent",
		.connect_ms = 200,
		.query_ms = 200,
		.app_name = "test" });
	struct invalidation_log *log =
	    invalidation_log_new(none, redis, cache, edge);

	ck_assert_int_eq(invalidation_log_turn(log, &e), RC_RETRY);
	ck_assert_str_ne(e.msg, "");
	invalidation_log_free(log);
	pg_free(none);
}
END_TEST

/* ---- a replica that is 5 s behind */

static void
expire(void)
{
	struct redis_reply r;

	ck_assert_int_eq(redis_callv(redis, "thing:1", arena, &r, &e, "DEL",
			     "thing:1", NULL),
	    RC_OK);
}

START_TEST(a_lagging_replica_never_brings_the_old_value_back)
{
	int64_t end, id;
	bool primary = false, replica = false;

	marker_s = 9; /* longer than the lag */
	cache_free(cache);
	cache = new_cache(redis, pg);
	/* Redis is young: its markers may be lost. */
	ck_assert_int_eq(value(), 1);
	ck_assert_int_eq(read_from, PG_PRIMARY);
	clock_sleep_ms(9500); /* and the replica has caught up */
	expire();
	ck_assert_int_eq(value(), 1);
	ck_assert_int_eq(read_from, PG_REPLICA);

	ck_assert_int_eq(pg_begin(pg, &e), RC_OK);
	id = write_row(pg);
	static const struct pg_stmt change = { "thing_change",
		"UPDATE thing SET v = v + 1", 0 };
	ck_assert_int_eq(
	    pg_exec(pg, PG_PRIMARY, &change, NULL, arena, NULL, &e), RC_OK);
	ck_assert_int_eq(pg_commit(pg, &e), RC_OK);
	ck_assert_int_eq(
	    invalidation_carry_out(pg, cache, edge, &inv, id, arena, &e),
	    RC_OK);
	for (end = clock_mono_ms() + 12000; clock_mono_ms() < end;) {
		expire();
		ck_assert_int_eq(value(), 2);
		primary = primary || read_from == PG_PRIMARY;
		replica = replica || read_from == PG_REPLICA;
		clock_sleep_ms(50);
		/* Something to replay, so that the replica's position grows. */
		sql("UPDATE other SET v = v + 1");
	}
	ck_assert(primary);
	ck_assert(replica); /* once it has replayed that much */
}
END_TEST

static void
schema(void)
{
	const char *dir = getenv("srcdir");
	char path[512], buf[4096];
	struct strbuf sb;
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/sql/0001_catalog.sql",
	    dir == NULL ? "." : dir);
	f = fopen(path, "r");
	if (f == NULL) {
		perror(path);
		exit(99);
	}
	strbuf_init(&sb, 65536);
	while ((n = fread(buf, 1, sizeof buf, f)) > 0)
		strbuf_add(&sb, buf, n);
	(void)fclose(f);
	strbuf_adds(&sb,
	    ";CREATE TABLE thing (id int PRIMARY KEY, v int);"
	    "CREATE TABLE other (v int); INSERT INTO other VALUES (1)");
	pg = new_pg();
	if (pg_run(pg, sb.s, 10000, &e) != RC_OK) {
		fprintf(stderr, "%s: %s\n", path, e.msg);
		exit(99);
	}
	pg_free(pg);
	strbuf_release(&sb);
}

int
main(void)
{
	if (getenv("DATABASE_URL") == NULL || !redis_server_installed()) {
		printf("skipped: run by invalidation.sh\n");
		return 77;
	}
	schema();

	Suite *s = suite_create("invalidation");
	TCase *tc = tcase_create("invalidation");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, the_writer_carries_it_out);
	tcase_add_test(tc, what_a_killed_writer_left_is_done_within_a_second);
	tcase_add_test(tc, rows_that_commit_out_of_order_are_all_seen);
	tcase_add_test(tc, a_page_stored_a_moment_later_is_purged_too);
	tcase_add_test(tc, purging_goes_on_until_redis_was_told);
	tcase_add_test(tc, a_redis_that_lost_its_last_second_is_told_again);
	tcase_add_test(tc, a_new_housekeeper_goes_on_where_the_old_one_was);
	tcase_add_test(tc, many_rows_are_done_in_batches);
	tcase_add_test(tc, old_rows_go_when_they_are_done);
	tcase_add_test(tc, without_postgresql_it_says_so);
	tcase_add_test(tc, a_lagging_replica_never_brings_the_old_value_back);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
