/* redis.c and redis_sub.c against a real server. */
#include "store/redis.h"

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "redis_server.h"

static struct redis_server server;
static struct arena *arena;
static struct redis *redis;
static struct err e;

static struct redis *
new_redis(const char *url, int command_ms)
{
	struct redis_opts opts = { url, 2000, command_ms, NULL };
	struct redis *r = NULL;

	ck_assert_int_eq(redis_new(&opts, &r, &e), RC_OK);
	return r;
}

static void
set_up(void)
{
	arena = arena_new();
	redis_server_start(&server);
	redis = new_redis(server.url, 3000);
}

static void
tear_down(void)
{
	redis_free(redis);
	redis_server_remove(&server);
	arena_free(arena);
}

#define CALL(out, ...)                                                         \
	redis_callv(redis, NULL, arena, out, &e, __VA_ARGS__, NULL)

START_TEST(replies_come_back_as_they_are)
{
	struct redis_reply r;
	const struct span set[] = { span_of("SET"), span_of("k"),
		{ "a\0b\r\n", 5 } };

	ck_assert_int_eq(redis_call(redis, "k", 3, set, arena, &r, &e), RC_OK);
	ck_assert_int_eq(r.type, RT_STATUS);
	ck_assert_int_eq(CALL(&r, "GET", "k"), RC_OK);
	ck_assert(span_eq(r.str, set[2]));
	ck_assert_int_eq(CALL(&r, "GET", "nothing"), RC_OK);
	ck_assert_int_eq(r.type, RT_NIL);
	ck_assert_int_eq(redis_num(&r, 7), 7);
	ck_assert_int_eq(CALL(&r, "INCRBY", "n", "42"), RC_OK);
	ck_assert_int_eq(redis_num(&r, 0), 42);
	ck_assert_int_eq(CALL(&r, "MGET", "n", "k", "nothing"), RC_OK);
	ck_assert_int_eq(r.type, RT_ARRAY);
	ck_assert_uint_eq(r.n, 3);
	ck_assert_int_eq(redis_num(&r.item[0], 0), 42);
	ck_assert_int_eq(r.item[2].type, RT_NIL);
}
END_TEST

START_TEST(an_error_reply_is_told_apart)
{
	struct redis_reply r;

	ck_assert_int_eq(CALL(&r, "LPUSH", "l", "x"), RC_OK);
	ck_assert_int_eq(CALL(&r, "GET", "l"), RC_FAIL);
	ck_assert_str_eq(e.code, "redis_error");
	ck_assert_ptr_nonnull(strstr(e.msg, "WRONGTYPE"));
	/* A passing state of the server is worth another try. */
	ck_assert_int_eq(CALL(&r, "CONFIG", "SET", "maxmemory", "1"), RC_OK);
	ck_assert_int_eq(CALL(&r, "SET", "k", "v"), RC_RETRY);
	ck_assert_str_eq(e.code, "redis_unready");
}
END_TEST

START_TEST(a_pipeline_answers_in_order)
{
	const struct span set[] = { span_of("SET"), span_of("a"),
		span_of("1") };
	const struct span bad[] = { span_of("NOSUCH") };
	const struct span get[] = { span_of("GET"), span_of("a") };
	const struct redis_cmd cmds[] = { { 3, set }, { 1, bad }, { 2, get } };
	const char *const keys[] = { "a", NULL, "a" };
	struct redis_reply out[3];

	ck_assert_int_eq(
	    redis_pipeline(redis, 3, keys, cmds, arena, out, &e), RC_OK);
	ck_assert_int_eq(out[0].type, RT_STATUS);
	ck_assert_int_eq(out[1].type, RT_ERROR);
	ck_assert_int_eq(redis_num(&out[2], 0), 1);
}
END_TEST

/* A primary that was demoted answers PING for ever; what writes must look for
 * its successor, by whatever way it was sent. */
START_TEST(a_demoted_primary_is_left)
{
	static const struct redis_script write = { "write",
		"return redis.call('SET', KEYS[1], 'v')" };
	const struct span set[] = { span_of("SET"), span_of("a"),
		span_of("1") };
	const struct span eval[] = { span_of("EVAL"), span_of(write.body),
		span_of("1"), span_of("a") };
	const struct redis_cmd cmds[] = { { 3, set }, { 4, eval } };
	const char *const keys[] = { "a", "a" };
	struct redis_reply out[2];

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(
		    CALL(out, "REPLICAOF", "127.0.0.1", "1"), RC_OK);
		ck_assert_int_eq(redis_pipeline(redis, 1, keys, &cmds[i], arena,
				     out, &e),
		    RC_OK);
		ck_assert_int_eq(out[0].type, RT_ERROR);
		ck_assert_int_eq(redis_reply_error(out, &e), RC_RETRY);
		clock_sleep_ms(200); /* the back-off */
		ck_assert_int_eq(CALL(out, "REPLICAOF", "NO", "ONE"), RC_OK);
		ck_assert_int_eq(redis_stats(redis).reconnects, i + 1);
	}
}
END_TEST

START_TEST(a_pipeline_larger_than_the_socket_buffers_does_not_lock_up)
{
	enum { N = 64 };
	static char big[200000];
	struct redis_cmd cmds[N];
	const char *keys[N];
	struct redis_reply out[N];
	struct span echo[] = { span_of("ECHO"), { big, sizeof big } };

	memset(big, 'x', sizeof big);
	for (int i = 0; i < N; i++) {
		cmds[i] = (struct redis_cmd){ 2, echo };
		keys[i] = NULL;
	}
	ck_assert_int_eq(
	    redis_pipeline(redis, N, keys, cmds, arena, out, &e), RC_OK);
	ck_assert_uint_eq(out[N - 1].str.n, sizeof big);
}
END_TEST

static const struct redis_script add = { "add",
	"return redis.call('INCRBY', KEYS[1], ARGV[1])" };

START_TEST(a_script_is_sent_again_where_it_is_not_known)
{
	const struct span key = span_of("n"), two = span_of("2");
	struct redis_reply r;

	ck_assert_int_eq(
	    redis_eval(redis, &add, 1, &key, 1, &two, arena, &r, &e), RC_OK);
	ck_assert_int_eq(CALL(&r, "SCRIPT", "FLUSH"), RC_OK);
	ck_assert_int_eq(
	    redis_eval(redis, &add, 1, &key, 1, &two, arena, &r, &e), RC_OK);
	ck_assert_int_eq(redis_num(&r, 0), 4);
	/* And by its SHA-1 alone from now on. */
	ck_assert_int_eq(
	    CALL(&r, "EVALSHA", redis_script_sha(redis, &add), "1", "n", "1"),
	    RC_OK);
	ck_assert_int_eq(redis_num(&r, 0), 5);
}
END_TEST

START_TEST(a_stopped_server_costs_the_deadline_and_then_nothing)
{
	struct redis_reply r;
	int64_t began;

	redis_free(redis);
	redis = new_redis(server.url, 300);
	ck_assert_int_eq(CALL(&r, "SET", "k", "old"), RC_OK);
	redis_server_pause(&server);
	began = clock_mono_ms();
	ck_assert_int_eq(CALL(&r, "GET", "k"), RC_RETRY);
	ck_assert_str_eq(e.code, "redis_timeout");
	ck_assert_int_ge(clock_mono_ms() - began, 290);
	ck_assert_int_lt(clock_mono_ms() - began, 900);
	began = clock_mono_ms();
	ck_assert_int_eq(CALL(&r, "GET", "k"), RC_RETRY);
	ck_assert_str_eq(e.code, "redis_down");
	ck_assert_int_lt(clock_mono_ms() - began, 150);
	redis_server_resume(&server);
	clock_sleep_ms(150);
	/* The late answer is nobody's: a new connection. */
	ck_assert_int_eq(CALL(&r, "GET", "k"), RC_OK);
	ck_assert(span_is(r.str, "old"));
	ck_assert_int_eq(redis_stats(redis).timeouts, 1);
	ck_assert_int_eq(redis_stats(redis).reconnects, 1);
}
END_TEST

START_TEST(back_off_grows_to_a_second_and_ends_at_a_success)
{
	struct redis_reply r;
	char *id;

	ck_assert_int_eq(CALL(&r, "PING"), RC_OK);
	id = arena_strdup(arena, redis_run_id(redis));
	redis_server_kill(&server);
	int64_t last = 0, limit = deadline_in(20000);
	int tries = 0;

	/* At least 50, 100, 150, 200 ms lie between two tries; how much more
	 * is the machine's affair. */
	while (tries < 5) {
		int64_t errors = redis_stats(redis).errors;

		ck_assert_int_eq(CALL(&r, "PING"), RC_RETRY);
		if (redis_stats(redis).errors > errors) {
			int64_t now = clock_mono_ms();

			if (tries++ > 0)
				ck_assert_int_ge(
				    now - last, (tries - 1) * 50 - 1);
			last = now;
		}
		ck_assert_int_gt(deadline_left_ms(limit), 0);
		clock_sleep_ms(1);
	}
	redis_server_again(&server);
	clock_sleep_ms(450);
	ck_assert_int_eq(CALL(&r, "PING"), RC_OK);
	ck_assert_str_ne(redis_run_id(redis), id);
	ck_assert_int_le(redis_uptime_s(redis), 2);
}
END_TEST

START_TEST(a_user_who_may_not_ask_for_info_is_served)
{
	struct redis_reply r;
	struct redis *other;
	char url[128];

	ck_assert_int_eq(CALL(&r, "ACL", "SETUSER", "default", "-info"), RC_OK);
	(void)snprintf(url, sizeof url, "unix://%s/s?db=1", server.dir);
	other = new_redis(url, 3000);
	ck_assert_int_eq(redis_ping(other, &e), RC_OK);
	ck_assert_ptr_null(redis_run_id(other));
	ck_assert_int_eq(redis_uptime_s(other), 0);
	redis_free(other);
	/* A server that is full says so, and closes. */
	ck_assert_int_eq(CALL(&r, "CONFIG", "SET", "maxclients", "1"), RC_OK);
	other = new_redis(server.url, 3000);
	ck_assert_int_eq(redis_ping(other, &e), RC_RETRY);
	ck_assert_ptr_nonnull(strstr(e.msg, "max number of clients"));
	redis_free(other);
}
END_TEST

START_TEST(a_restart_while_idle_costs_no_call)
{
	struct redis_reply r;

	ck_assert_int_eq(CALL(&r, "PING"), RC_OK);
	redis_server_kill(&server);
	redis_server_again(&server);
	clock_sleep_ms(600);
	ck_assert_int_eq(CALL(&r, "PING"), RC_OK);
}
END_TEST

static const struct {
	const char *url;
	enum rc rc;
} urls[] = { { "redis://127.0.0.1:1/2", RC_OK },
	{ "redis://u:p%40ss@[::1]:6379/0", RC_OK },
	{ "redis://:secret@h", RC_OK }, { "unix:///run/r.sock?db=3", RC_OK },
	{ "redis://", RC_INVALID }, { "redis://h:0", RC_INVALID },
	{ "redis://h:99999", RC_INVALID }, { "redis://h/x", RC_INVALID },
	{ "redis://u@h", RC_INVALID }, { "redis://[::1", RC_INVALID },
	{ "redis://h%2", RC_INVALID }, { "unix://rel", RC_INVALID },
	{ "unix:///p?x=1", RC_INVALID }, { "rediss://h", RC_INVALID },
	{ "http://h", RC_INVALID }, { "", RC_INVALID } };

START_TEST(a_url_is_understood_or_refused)
{
	struct redis_opts opts = { urls[_i].url, 100, 100, NULL };
	struct redis *r = NULL;

	e = (struct err)ERR_INIT;
	ck_assert_int_eq(redis_new(&opts, &r, &e), urls[_i].rc);
	if (urls[_i].rc != RC_OK) {
		ck_assert_str_eq(e.code, "redis_url");
		ck_assert_ptr_null(strstr(e.msg, "secret"));
	}
	redis_free(r);
}
END_TEST

START_TEST(password_and_database_are_used)
{
	struct redis_reply r;
	char url[128];
	struct redis *other;

	ck_assert_int_eq(
	    CALL(&r, "CONFIG", "SET", "requirepass", "p@ss"), RC_OK);
	(void)snprintf(url, sizeof url, "unix://%s/s?db=3", server.dir);
	other = new_redis(url, 3000);
	ck_assert_int_ne(redis_ping(other, &e), RC_OK);
	redis_free(other);
	other = new_redis(server.url, 3000);
	ck_assert_int_eq(redis_ping(other, &e), RC_RETRY);
	ck_assert_ptr_nonnull(strstr(e.msg, "NOAUTH"));
	ck_assert_ptr_nonnull(strstr(e.msg, "redis://user:pass@host"));
	redis_free(other);
	ck_assert_int_eq(CALL(&r, "CONFIG", "SET", "requirepass", ""), RC_OK);
	other = new_redis(url, 3000);
	ck_assert_int_eq(
	    redis_callv(other, "k", arena, &r, &e, "SET", "k", "3", NULL),
	    RC_OK);
	redis_free(other);
	ck_assert_int_eq(CALL(&r, "GET", "k"), RC_OK);
	ck_assert_int_eq(r.type, RT_NIL);
}
END_TEST

/* ---- the subscription */

struct seen {
	int messages, restarted, lost;
	char last[64];
};

static void
on_message(void *arg, struct span channel, struct span payload)
{
	struct seen *seen = arg;

	ck_assert(span_is(channel, "ch"));
	seen->messages++;
	(void)snprintf(
	    seen->last, sizeof seen->last, "%.*s", (int)payload.n, payload.p);
}

static void
on_restarted(void *arg)
{
	((struct seen *)arg)->restarted++;
}

static void
on_lost(void *arg)
{
	((struct seen *)arg)->lost++;
}

static void
turn_for(struct redis_sub *sub, int64_t ms)
{
	int64_t deadline = deadline_in(ms);

	redis_sub_turn(sub);
	do {
		struct pollfd pfd = { redis_sub_fd(sub), POLLIN, 0 };
		int left = deadline_left_ms(deadline);

		if (redis_sub_wants_write(sub))
			pfd.events |= POLLOUT;
		(void)poll(&pfd, 1, left < 50 ? left : 50);
		int64_t began = clock_mono_us();

		redis_sub_turn(sub);
		ck_assert_int_lt(clock_mono_us() - began, 250000);
	} while (deadline_left_ms(deadline) > 0);
}

static struct redis_sub *
new_sub(struct seen *seen)
{
	static const char *const channels[] = { "ch", "other", NULL };
	const struct redis_sub_events ev = { on_message, on_restarted, on_lost,
		seen };
	struct redis_sub *sub = NULL;

	ck_assert_int_eq(
	    redis_sub_new(server.url, channels, &ev, &sub, &e), RC_OK);
	return sub;
}

START_TEST(a_message_reaches_the_subscriber)
{
	struct seen seen = { 0 };
	struct redis_sub *sub = new_sub(&seen);
	struct redis_reply r;

	ck_assert(!redis_sub_fresh(sub));
	turn_for(sub, 200);
	ck_assert(redis_sub_fresh(sub));
	ck_assert_int_eq(seen.restarted, 1);
	ck_assert_int_eq(CALL(&r, "PUBLISH", "ch", "hello"), RC_OK);
	turn_for(sub, 60);
	ck_assert_int_eq(seen.messages, 1);
	ck_assert_str_eq(seen.last, "hello");
	turn_for(sub, 1500); /* the heartbeat keeps it fresh all the time */
	ck_assert(redis_sub_fresh(sub));
	ck_assert_int_eq(seen.lost, 0);
	redis_sub_free(sub);
}
END_TEST

START_TEST(silence_ends_trust_and_a_word_brings_it_back)
{
	struct seen seen = { 0 };
	struct redis_sub *sub = new_sub(&seen);

	turn_for(sub, 400);
	redis_server_pause(&server);
	turn_for(sub, 760);
	ck_assert(!redis_sub_fresh(sub));
	ck_assert_int_eq(seen.lost, 0);
	redis_server_resume(&server);
	turn_for(sub, 400);
	ck_assert(redis_sub_fresh(sub));
	ck_assert_int_eq(seen.restarted, 1);
	redis_server_pause(&server);
	turn_for(sub, 3400);
	ck_assert_int_eq(seen.lost, 1);
	redis_server_resume(&server);
	redis_sub_free(sub);
}
END_TEST

START_TEST(what_lay_in_the_socket_is_not_fresh)
{
	struct seen seen = { 0 };
	struct redis_sub *sub = new_sub(&seen);
	struct redis_reply r;

	turn_for(sub, 300);
	clock_sleep_ms(250);
	redis_sub_turn(sub); /* sends a PING */
	clock_sleep_ms(50);
	ck_assert_int_eq(CALL(&r, "PUBLISH", "ch", "x"), RC_OK);
	clock_sleep_ms(20);
	redis_server_pause(&server);
	clock_sleep_ms(900); /* busy with something else */
	redis_sub_turn(sub); /* reads an old PONG and an old message */
	ck_assert_int_eq(seen.messages, 1);
	ck_assert(!redis_sub_fresh(sub));
	redis_server_resume(&server);
	redis_sub_free(sub);
}
END_TEST

START_TEST(a_lost_subscription_comes_back)
{
	struct seen seen = { 0 };
	struct redis_sub *sub = new_sub(&seen);
	struct redis_reply r;

	turn_for(sub, 200);
	redis_server_kill(&server);
	turn_for(sub, 60);
	ck_assert(!redis_sub_fresh(sub));
	ck_assert_int_eq(seen.lost, 1);
	turn_for(sub, 200);
	redis_server_again(&server);
	turn_for(sub, 700);
	ck_assert(redis_sub_fresh(sub));
	ck_assert_int_eq(seen.restarted, 2);
	clock_sleep_ms(300);
	ck_assert_int_eq(CALL(&r, "PUBLISH", "ch", "again"), RC_OK);
	turn_for(sub, 60);
	ck_assert_str_eq(seen.last, "again");
	redis_sub_free(sub);
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof *(a))

int
main(void)
{
	Suite *s = suite_create("redis");
	TCase *tc = tcase_create("redis");

	if (!redis_server_installed()) {
		printf("skipped: redis-server is not installed\n");
		return 77;
	}
	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, replies_come_back_as_they_are);
	tcase_add_test(tc, an_error_reply_is_told_apart);
	tcase_add_test(tc, a_pipeline_answers_in_order);
	tcase_add_test(tc, a_demoted_primary_is_left);
	tcase_add_test(
	    tc, a_pipeline_larger_than_the_socket_buffers_does_not_lock_up);
	tcase_add_test(tc, a_script_is_sent_again_where_it_is_not_known);
	tcase_add_test(
	    tc, a_stopped_server_costs_the_deadline_and_then_nothing);
	tcase_add_test(tc, back_off_grows_to_a_second_and_ends_at_a_success);
	tcase_add_test(tc, a_user_who_may_not_ask_for_info_is_served);
	tcase_add_test(tc, a_restart_while_idle_costs_no_call);
	tcase_add_loop_test(tc, a_url_is_understood_or_refused, 0, N(urls));
	tcase_add_test(tc, password_and_database_are_used);
	tcase_add_test(tc, a_message_reaches_the_subscriber);
	tcase_add_test(tc, silence_ends_trust_and_a_word_brings_it_back);
	tcase_add_test(tc, what_lay_in_the_socket_is_not_fresh);
	tcase_add_test(tc, a_lost_subscription_comes_back);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
