/* What a session costs and when it is over, with PostgreSQL and Redis. Run by
 * session.sh, which makes the schema. */
#include "shop/session.h"

#include <check.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "shop/account.h"
#include "shop/settings.h"
#include "shop/shop.h"
#include "shop/throttle.h"
#include "store/pg.h"
#include "store/redis.h"

extern char **environ;

static struct arena *arena;
static struct conf *conf;
static struct shop *shop, *other; /* two processes */
static struct err e;
static char token[BUYERS_MAX][SECRET_CHARS + 1];
static struct session session;

static struct shop *
new_shop(void)
{
	struct shop *s = NULL;

	ck_assert_msg(
	    shop_open(conf, "test", NULL, &s, &e) == RC_OK, "%s", e.msg);
	cache_trust_local(s->cache, true);
	return s;
}

static void
setup(void)
{
	ck_assert_int_ge(sodium_init(), 0);
	arena = arena_new();
	ck_assert_msg(
	    conf_load(settings_rows, NULL, environ, &conf, NULL, &e) == RC_OK,
	    "%s", e.msg);
	shop = new_shop();
	other = new_shop();
	ck_assert_msg(account_make_buyers(shop, 2, token, arena, &e) == RC_OK,
	    "%s", e.msg);
}

static void
teardown(void)
{
	shop_close(other);
	shop_close(shop);
	conf_free(conf);
	arena_free(arena);
}

/* Requests to both stores so far. */
static int64_t
asked(const struct shop *s)
{
	return pg_stats(s->pg).queries + redis_stats(s->redis).commands;
}

static enum rc
find(struct shop *s, const char *t)
{
	return session_find(s, t, arena, &session, &e);
}

static void
sql(const char *text)
{
	ck_assert_msg(pg_run(shop->pg, text, 10000, &e) == RC_OK, "%s", e.msg);
}

static int64_t
number(const char *text)
{
	const struct pg_stmt st = { "number", text, 0 };
	struct pg_rows rows;

	ck_assert_msg(pg_exec(other->pg, PG_PRIMARY, &st, NULL, arena, &rows,
			  &e) == RC_OK,
	    "%s", e.msg);
	return pg_int(&rows, 0, 0);
}

START_TEST(a_known_session_costs_no_io)
{
	int64_t before;

	ck_assert(find(shop, token[0]) == RC_OK);
	before = asked(shop);
	ck_assert_int_gt(before, 0);
	for (int i = 0; i < 100; i++)
		ck_assert(find(shop, token[0]) == RC_OK);
	ck_assert_int_eq(asked(shop), before);
	ck_assert_int_gt(session.customer_id, 0);
	ck_assert_uint_eq(strlen(session_form_token(token[0], arena)), 64);
}
END_TEST

START_TEST(two_sessions_are_two_people)
{
	struct session first;

	ck_assert(find(shop, token[0]) == RC_OK);
	first = session;
	ck_assert(find(shop, token[1]) == RC_OK);
	ck_assert_int_ne(first.customer_id, session.customer_id);
	ck_assert_str_ne(session_form_token(token[0], arena),
	    session_form_token(token[1], arena));
	ck_assert_str_ne(first.email, session.email);
}
END_TEST

START_TEST(a_malformed_token_costs_no_io)
{
	static const char *const bad[] = { "", "x",
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO-",
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO-_x",
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO-{",
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO- " };
	int64_t before = asked(shop);

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert(find(shop, bad[i]) == RC_NONE);
	ck_assert_int_eq(asked(shop), before);
}
END_TEST

START_TEST(a_made_up_token_is_looked_up_once)
{
	char made_up[SECRET_CHARS + 1];
	int64_t queries;

	secret_make(made_up);
	ck_assert(find(shop, made_up) == RC_NONE);
	queries = pg_stats(shop->pg).queries + pg_stats(other->pg).queries;
	for (int i = 0; i < 50; i++) {
		ck_assert(find(shop, made_up) == RC_NONE);
		ck_assert(find(other, made_up) == RC_NONE);
	}
	ck_assert_int_eq(
	    pg_stats(shop->pg).queries + pg_stats(other->pg).queries, queries);
}
END_TEST

START_TEST(what_one_process_ends_another_finds_ended)
{
	ck_assert(find(other, token[0]) == RC_OK);
	ck_assert(session_end(shop, token[0], arena, &e) == RC_OK);
	ck_assert(find(shop, token[0]) == RC_NONE);
	/* The message is not read here: it does not trust its copy. */
	cache_trust_local(other->cache, false);
	ck_assert(find(other, token[0]) == RC_NONE);
	ck_assert(find(other, token[1]) == RC_OK);
	ck_assert_int_eq(
	    number("SELECT count(*) FROM invalidation WHERE done_at IS NULL"),
	    0);
}
END_TEST

START_TEST(the_end_is_written_in_its_transaction)
{
	int64_t rows = number("SELECT count(*) FROM invalidation");
	struct session_ends ends;

	ck_assert(find(shop, token[0]) == RC_OK);
	ck_assert(pg_begin(shop->pg, &e) == RC_OK);
	ck_assert(session_end_all_in(
		      shop, session.customer_id, 0, arena, &ends, &e) == RC_OK);
	ck_assert_int_eq(ends.n, 1);
	pg_rollback(shop->pg);
	ck_assert_int_eq(number("SELECT count(*) FROM invalidation"), rows);
	ck_assert(find(shop, token[0]) == RC_OK);
	ck_assert(pg_begin(shop->pg, &e) == RC_OK);
	ck_assert(session_end_all_in(
		      shop, session.customer_id, 0, arena, &ends, &e) == RC_OK);
	ck_assert(pg_commit(shop->pg, &e) == RC_OK);
	ck_assert_int_eq(number("SELECT count(*) FROM invalidation"), rows + 1);
	session_ended(shop, &ends, arena);
	ck_assert(find(shop, token[0]) == RC_NONE);
}
END_TEST

/* ---- time */

START_TEST(being_used_is_written_once_and_later)
{
	int64_t before;

	sql("UPDATE session SET seen_at = now() - interval '2 days'");
	ck_assert(find(shop, token[0]) == RC_OK);
	before = pg_stats(shop->pg).queries;
	ck_assert(find(shop, token[0]) == RC_OK);
	ck_assert_int_eq(pg_stats(shop->pg).queries, before);
	ck_assert(session_turn(shop, arena, &e) == RC_OK);
	ck_assert_int_eq(number("SELECT count(*) FROM session"
				" WHERE seen_at > now() - interval '1 min'"),
	    1);
	/* And then no more: the record says so. */
	ck_assert(find(shop, token[0]) == RC_OK);
	before = asked(shop);
	ck_assert(session_turn(shop, arena, &e) == RC_OK);
	ck_assert_int_eq(asked(shop), before);
}
END_TEST

START_TEST(unused_too_long_it_is_over)
{
	sql("UPDATE session SET seen_at = now() - interval '14 days 1 s'");
	ck_assert(find(shop, token[0]) == RC_NONE);
}
END_TEST

START_TEST(a_copy_is_judged_at_each_use)
{
	/* It has seconds left when it is read. */
	sql("UPDATE session SET seen_at = now() - interval '14 days'"
	    " + interval '4 s'");
	ck_assert(find(shop, token[0]) == RC_OK);
	clock_sleep_ms(4100);
	ck_assert(find(shop, token[0]) == RC_NONE);
}
END_TEST

/* ---- at most so many; nothing of before */

START_TEST(logging_in_ends_what_was_there)
{
	char made[SECRET_CHARS + 1];

	ck_assert(find(shop, token[0]) == RC_OK);
	ck_assert(session_rotate(shop, session.customer_id, token[0], "agent",
		      "192.0.2.1", arena, made, &e) == RC_OK);
	ck_assert(find(shop, token[0]) == RC_NONE);
	ck_assert(find(shop, made) == RC_OK);
	ck_assert_str_ne(made, token[0]);
	ck_assert(find(shop, token[1]) == RC_OK);
}
END_TEST

/* ---- tries, in Redis: all processes count together */

START_TEST(tries_are_counted_together)
{
	const struct throttle_rule rule = { "test", 4, 600 };
	int wait = 0;

	for (int i = 0; i < 2; i++) {
		ck_assert(throttle_take(shop->throttle, shop->redis, &rule,
			      "me", arena, &wait, &e) == RC_OK);
		ck_assert(throttle_take(other->throttle, other->redis, &rule,
			      "me", arena, &wait, &e) == RC_OK);
	}
	ck_assert(throttle_take(shop->throttle, shop->redis, &rule, "me", arena,
		      &wait, &e) == RC_REFUSED);
	ck_assert_int_gt(wait, 100);
	ck_assert_int_le(wait, 150);
	throttle_give(other->throttle, other->redis, &rule, 100, "me", arena);
	ck_assert(throttle_take(shop->throttle, shop->redis, &rule, "me", arena,
		      &wait, &e) == RC_OK);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("session");
	TCase *tc = tcase_create("session");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_known_session_costs_no_io);
	tcase_add_test(tc, two_sessions_are_two_people);
	tcase_add_test(tc, a_malformed_token_costs_no_io);
	tcase_add_test(tc, a_made_up_token_is_looked_up_once);
	tcase_add_test(tc, what_one_process_ends_another_finds_ended);
	tcase_add_test(tc, the_end_is_written_in_its_transaction);
	tcase_add_test(tc, being_used_is_written_once_and_later);
	tcase_add_test(tc, unused_too_long_it_is_over);
	tcase_add_test(tc, a_copy_is_judged_at_each_use);
	tcase_add_test(tc, logging_in_ends_what_was_there);
	tcase_add_test(tc, tries_are_counted_together);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
