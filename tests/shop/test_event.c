/* Events: taken in, and stored once each. Run by event.sh. */
#include "shop/event.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/shop/shop_test.h"

#define ORDER "0123456789abcdef0123456789abcdef"

static void
setup(void)
{
	shop_setup();
	sql("TRUNCATE outbox, finished_task, analytics_event, orders,"
	    " order_line, customer CASCADE");
}

static enum rc
accept(const char *body, int64_t customer)
{
	json_t *tree = json_loads(body, 0, NULL);
	enum rc rc;

	ck_assert_ptr_nonnull(tree);
	rc = event_accept(shop, tree, customer, arena, &e);
	json_decref(tree);
	return rc;
}

/* ---- taking in */

START_TEST(an_event_is_a_task_of_the_queue)
{
	ck_assert_int_eq(
	    accept("{\"name\":\"page_seen\",\"data\":{\"p\":\"/ü\"},"
		   "\"customerId\":9,\"more\":1}",
		42),
	    RC_OK);
	ck_assert_str_eq(
	    look("SELECT queue || ' ' || type || ' ' || data FROM outbox"),
	    "analytics track_event {\"data\": {\"p\": \"/ü\"}, \"name\": "
	    "\"page_seen\", \"customerId\": 42}");
	ck_assert_uint_ne(shop->waker.noted, 0);
}
END_TEST

START_TEST(nobody_stays_nobody_whatever_the_body_says)
{
	ck_assert_int_eq(accept("{\"name\":\"x\",\"customerId\":9}", 0), RC_OK);
	ck_assert_str_eq(
	    look("SELECT data FROM outbox"), "{\"data\": {}, \"name\": \"x\"}");
}
END_TEST

START_TEST(the_same_event_twice_is_two)
{
	ck_assert_int_eq(accept("{\"name\":\"x\"}", 0), RC_OK);
	ck_assert_int_eq(accept("{\"name\":\"x\"}", 0), RC_OK);
	ck_assert_str_eq(look("SELECT count(*) FROM outbox"), "2");
}
END_TEST

static const char *const bad_bodies[] = {
	"{}",
	"{\"name\":\"\"}",
	"{\"name\":1}",
	"{\"name\":\"Page\"}",
	"{\"name\":\"a b\"}",
	"{\"name\":\"a\\\"b\"}",
	"{\"name\":\"order_placed\"}",
	"{\"name\":\"x\",\"data\":[]}",
	"{\"name\":\"x\",\"data\":\"y\"}",
	"{\"name\":\"x\",\"data\":null}",
	"[]",
};

START_TEST(what_is_no_event_is_refused)
{
	ck_assert_int_eq(accept(bad_bodies[_i], 1), RC_INVALID);
	ck_assert_str_eq(e.code, "invalid_field");
	ck_assert_str_eq(look("SELECT count(*) FROM outbox"), "0");
}
END_TEST

START_TEST(an_event_has_bounds)
{
	char body[9000], name[102];
	int n;

	memset(name, 'a', 100);
	name[100] = '\0';
	(void)snprintf(body, sizeof body, "{\"name\":\"%s\"}", name);
	ck_assert_int_eq(accept(body, 0), RC_OK);
	name[100] = 'a';
	name[101] = '\0';
	(void)snprintf(body, sizeof body, "{\"name\":\"%s\"}", name);
	ck_assert_int_eq(accept(body, 0), RC_INVALID);
	for (int more = 0; more < 2; more++) {
		/* {"k":"..."}: 8 and what is between the quotes */
		n = snprintf(
		    body, sizeof body, "{\"name\":\"x\",\"data\":{\"k\":\"");
		memset(body + n, 'v', (size_t)(8192 - 8 + more));
		memcpy(body + n + 8192 - 8 + more, "\"}}", 4);
		ck_assert_int_eq(
		    accept(body, 0), more == 0 ? RC_OK : RC_INVALID);
	}
}
END_TEST

/* ---- storing */

static const char *const ids[] = { "11111111111111111111111111111111",
	"22222222222222222222222222222222", "33333333333333333333333333333333",
	"44444444444444444444444444444444", "55555555555555555555555555555555",
	"66666666666666666666666666666666" };

static struct task
task(int i, const char *type, const char *data)
{
	return (struct task){ .id = ids[i],
		.type = type,
		.queue = "analytics",
		.priority = "low",
		.created_ms = INT64_C(1795337400000) + i * 1000,
		.data = span_of(data),
		.receives = 1 };
}

static void
given_order(void)
{
	sql("INSERT INTO orders (id, access_hash, status, currency, total)"
	    " VALUES ('" ORDER "', sha256('x'), 'paid', 'EUR', 4200)");
	sql("INSERT INTO order_line (order_id, line, product_id, variant_id,"
	    " title, quantity, price) VALUES ('" ORDER
	    "', 1, 1, 1, 'a', 2, 1000),"
	    " ('" ORDER "', 2, 2, 2, 'b', 1, 2200)");
}

static const char *
stored(void)
{
	return look("SELECT coalesce(string_agg(concat_ws(' ', name,"
		    " customer_id, order_id, data, at AT TIME ZONE 'UTC'),"
		    " '; ' ORDER BY id), '') FROM analytics_event");
}

START_TEST(a_batch_is_stored_in_the_order_of_time)
{
	struct task tasks[] = {
		task(1, "track_event",
		    "{\"name\":\"seen\",\"data\":{\"p\":1},\"customerId\":7}"),
		task(2, "order_placed", "{\"orderId\":\"" ORDER "\"}"),
		task(0, "track_event", "{\"name\":\"came\",\"data\":{}}"),
	};
	enum rc rcs[3];

	given_order();
	ck_assert_int_eq(event_store(shop, 3, tasks, rcs, arena, &e), RC_OK);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(rcs[i], RC_OK);
	ck_assert_str_eq(stored(),
	    "came {} 2026-11-22 08:50:00; "
	    "seen 7 {\"p\": 1} 2026-11-22 08:50:01; "
	    "order_placed " ORDER
	    " {\"lines\": 2, \"total\": 4200, \"currency\": \"EUR\"}"
	    " 2026-11-22 08:50:02");
}
END_TEST

START_TEST(the_customer_of_an_order_is_the_orders)
{
	struct task t = task(0, "order_placed", "{\"orderId\":\"" ORDER "\"}");
	enum rc rc;

	given_order();
	sql("INSERT INTO customer (email) VALUES ('a@x.test');"
	    "UPDATE orders SET customer_id = (SELECT id FROM customer)");
	ck_assert_int_eq(event_store(shop, 1, &t, &rc, arena, &e), RC_OK);
	ck_assert_int_eq(rc, RC_OK);
	ck_assert_str_eq(look("SELECT count(*) FROM analytics_event a JOIN"
			      " customer c ON c.id = a.customer_id"),
	    "1");
}
END_TEST

START_TEST(delivered_twice_and_out_of_order_it_is_one)
{
	struct task tasks[] = {
		task(0, "track_event", "{\"name\":\"a\"}"),
		task(1, "track_event", "{\"name\":\"b\"}"),
		task(2, "order_placed", "{\"orderId\":\"" ORDER "\"}"),
	};
	struct task again[] = { tasks[2], tasks[0], tasks[0], tasks[1],
		task(3, "track_event", "{\"name\":\"d\"}") };
	enum rc rcs[5];

	given_order();
	ck_assert_int_eq(event_store(shop, 1, tasks, rcs, arena, &e), RC_OK);
	ck_assert_int_eq(event_store(shop, 5, again, rcs, arena, &e), RC_OK);
	ck_assert_int_eq(rcs[0], RC_OK);
	ck_assert_int_eq(rcs[1], RC_NONE);
	ck_assert_int_eq(rcs[2], RC_NONE);
	ck_assert_int_eq(rcs[3], RC_OK);
	ck_assert_int_eq(rcs[4], RC_OK);
	ck_assert_int_eq(event_store(shop, 3, tasks, rcs, arena, &e), RC_OK);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(rcs[i], RC_NONE);
	ck_assert_str_eq(look("SELECT string_agg(name, ' ' ORDER BY name) FROM"
			      " analytics_event"),
	    "a b d order_placed");
	ck_assert_str_eq(look("SELECT count(*) FROM finished_task"), "4");
}
END_TEST

START_TEST(one_task_twice_in_a_batch_is_one_event)
{
	struct task tasks[] = { task(0, "track_event", "{\"name\":\"a\"}"),
		task(0, "track_event", "{\"name\":\"a\"}") };
	enum rc rcs[2];

	ck_assert_int_eq(event_store(shop, 2, tasks, rcs, arena, &e), RC_OK);
	ck_assert_int_eq(rcs[0], RC_OK);
	ck_assert_int_eq(rcs[1], RC_OK);
	ck_assert_str_eq(look("SELECT count(*) FROM analytics_event"), "1");
}
END_TEST

static const struct {
	const char *type, *data;
} bad_tasks[] = {
	{ "track_event", "{" },
	{ "track_event", "[]" },
	{ "track_event", "{}" },
	{ "track_event", "{\"name\":\"A\"}" },
	{ "track_event", "{\"name\":\"a\",\"data\":1}" },
	{ "track_event", "{\"name\":\"a\",\"customerId\":\"7\"}" },
	{ "track_event", "{\"name\":\"a\",\"data\":{\"k\":\"\\u0000\"}}" },
	{ "order_placed", "{}" },
	{ "order_placed", "{\"orderId\":\"x\"}" },
	{ "order_paid", "{\"orderId\":\"" ORDER "\"}" },
};

START_TEST(a_bad_task_does_not_spoil_the_others)
{
	struct task tasks[] = {
		task(0, "track_event", "{\"name\":\"a\"}"),
		task(1, bad_tasks[_i].type, bad_tasks[_i].data),
		task(2, "track_event", "{\"name\":\"c\"}"),
	};
	enum rc rcs[3];

	ck_assert_int_eq(event_store(shop, 3, tasks, rcs, arena, &e), RC_OK);
	ck_assert_int_eq(rcs[0], RC_OK);
	ck_assert_int_eq(rcs[1], RC_INVALID);
	ck_assert_int_eq(rcs[2], RC_OK);
	ck_assert_str_eq(look("SELECT string_agg(name, ' ' ORDER BY id) FROM"
			      " analytics_event"),
	    "a c");
	ck_assert_int_eq(
	    event_store(shop, 1, tasks + 1, rcs, arena, &e), RC_OK);
	ck_assert_int_eq(rcs[0], RC_INVALID);
}
END_TEST

START_TEST(an_order_that_is_not_there_is_nothing)
{
	struct task t = task(0, "order_placed", "{\"orderId\":\"" ORDER "\"}");
	enum rc rc;

	ck_assert_int_eq(event_store(shop, 1, &t, &rc, arena, &e), RC_OK);
	ck_assert_int_eq(rc, RC_NONE);
	ck_assert_str_eq(look("SELECT count(*) FROM analytics_event"), "0");
}
END_TEST

enum { ROUNDS = 60, SHARED = 10 };

/* The tasks of a round, forwards or backwards. */
static void
share(int worker, int round)
{
	struct task mine[SHARED];
	char id[SHARED][33];
	enum rc rcs[SHARED];

	for (int i = 0; i < SHARED; i++) {
		int k = worker % 2 == 0 ? i : SHARED - 1 - i;

		(void)snprintf(
		    id[i], sizeof id[i], "%032x", round * SHARED + k);
		mine[i] = task(0, "track_event", "{\"name\":\"a\"}");
		mine[i].id = id[i];
	}
	if (event_store(shop, SHARED, mine, rcs, arena, &e) != RC_OK)
		_exit(1);
}

/* Several workers with the same tasks in other orders: each is stored once,
 * and no two wait for each other. */
START_TEST(workers_that_share_tasks_store_each_once)
{
	int status, bad = 0;

	shop_close(shop); /* connections are not shared */
	shop = NULL;
	for (int w = 0; w < 4; w++) {
		if (fork() != 0)
			continue;
		shop_setup();
		for (int r = 0; r < ROUNDS; r++)
			share(w, r);
		_exit(0);
	}
	while (wait(&status) > 0)
		bad += status != 0;
	ck_assert_int_eq(bad, 0);
	ck_assert_str_eq(look("SELECT count(*) FROM analytics_event"), "600");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("event");
	TCase *tc = tcase_create("event");
	SRunner *sr;
	int failed;

	shop_migrate();
	tcase_add_checked_fixture(tc, setup, shop_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, an_event_is_a_task_of_the_queue);
	tcase_add_test(tc, nobody_stays_nobody_whatever_the_body_says);
	tcase_add_test(tc, the_same_event_twice_is_two);
	tcase_add_loop_test(tc, what_is_no_event_is_refused, 0,
	    sizeof bad_bodies / sizeof *bad_bodies);
	tcase_add_test(tc, an_event_has_bounds);
	tcase_add_test(tc, a_batch_is_stored_in_the_order_of_time);
	tcase_add_test(tc, the_customer_of_an_order_is_the_orders);
	tcase_add_test(tc, delivered_twice_and_out_of_order_it_is_one);
	tcase_add_test(tc, one_task_twice_in_a_batch_is_one_event);
	tcase_add_loop_test(tc, a_bad_task_does_not_spoil_the_others, 0,
	    sizeof bad_tasks / sizeof *bad_tasks);
	tcase_add_test(tc, an_order_that_is_not_there_is_nothing);
	tcase_add_test(tc, workers_that_share_tasks_store_each_once);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
