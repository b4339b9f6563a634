/*
 * Orders, their stock and their end, with PostgreSQL and Redis. Run by
 * order.sh. What happens at the same moment happens in processes of their own,
 * held at a lock until all of them wait for it.
 */
#include "shop/order.h"

#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "shop/cart.h"
#include "shop/counter.h"
#include "shop/order_life.h"
#include "shop/purchase.h"
#include "shop/sale.h"
#include "shop/sale_run.h"
#include "shop/settings.h"
#include "shop/shop.h"
#include "shop/stock.h"
#include "store/outbox.h"
#include "store/pg.h"
#include "store/queue.h"
#include "store/redis.h"

extern char **environ;

static struct conf *conf;
static struct shop *shop;
static struct arena *arena;
static struct err e;
static int64_t shirt, shirt_s, shirt_m, mug, mug_v, draft, customer;

/* ---- the database, looked at from beside */

static void
sql(const char *text)
{
	ck_assert_msg(
	    pg_run(shop->pg, text, 10000, &e) == RC_OK, "%s: %s", text, e.msg);
}

static const char *
word(const char *text)
{
	struct pg_stmt st = { "look", text, 0 };
	struct pg_rows rows;
	struct pg *once =
	    pg_new(&(struct pg_opts){ .url = conf_str(conf, "postgres", "url"),
		.connect_ms = 3000,
		.query_ms = 5000 });

	ck_assert_msg(
	    pg_exec(once, PG_PRIMARY, &st, NULL, arena, &rows, &e) == RC_OK,
	    "%s: %s", text, e.msg);
	pg_free(once);
	return rows.n == 0 ? "" : pg_str(&rows, 0, 0);
}

static int64_t
number(const char *text)
{
	return strtoll(word(text), NULL, 10);
}

static int64_t
stock_of(int64_t variant)
{
	return number(arena_printf(arena,
	    "SELECT stock FROM variant WHERE id = %lld", (long long)variant));
}

static const char *
of_order(const char *id, const char *what)
{
	return word(arena_printf(
	    arena, "SELECT %s FROM orders WHERE id = '%s'", what, id));
}

/* How a task stands: "due", "hidden" or "". */
static const char *
task_state(const char *type, const char *key)
{
	char id[TASK_ID_CHARS + 1];

	task_id(type, key, id);
	return word(arena_printf(arena,
	    "SELECT CASE WHEN visible_at = 'infinity' THEN 'hidden'"
	    " ELSE 'due' END FROM outbox WHERE task_id = '%s'",
	    id));
}

/* ---- given */

static void
set_up(void)
{
	struct redis_reply r;

	arena = arena_new();
	ck_assert_msg(
	    settings_load(NULL, &conf, NULL, &e) == RC_OK, "%s", e.msg);
	ck_assert_msg(shop_open(conf, "test_order", NULL, &shop, &e) == RC_OK,
	    "%s", e.msg);
	ck_assert_int_eq(
	    redis_callv(shop->redis, NULL, arena, &r, &e, "FLUSHALL", NULL),
	    RC_OK);
	/* DELETE: TRUNCATE makes every file anew. */
	sql("DELETE FROM cart; DELETE FROM sale_unit; DELETE FROM"
	    " payment_attempt; DELETE FROM payment; DELETE FROM orders;"
	    "DELETE FROM sale; DELETE FROM product; DELETE FROM customer;"
	    "DELETE FROM outbox; DELETE FROM finished_task;"
	    "DELETE FROM invalidation;"
	    "INSERT INTO product (id, handle, title, options, status)"
	    " OVERRIDING SYSTEM VALUE VALUES"
	    " (1, 'shirt', 'Shirt', '{Size}', 'active'),"
	    " (2, 'mug', 'Mug', '{}', 'active'),"
	    " (3, 'draft', 'Draft', '{}', 'draft');"
	    "INSERT INTO variant (id, product_id, position, options, price,"
	    " stock) OVERRIDING SYSTEM VALUE VALUES"
	    " (1, 1, 1, '{S}', 1000, 10), (2, 1, 2, '{M}', 1100, 10),"
	    " (3, 2, 1, '{}', 500, 5), (4, 3, 1, '{}', 500, 5);"
	    "INSERT INTO customer (id, email) OVERRIDING SYSTEM VALUE"
	    " VALUES (1, 'buyer@shop.test')");
	shirt = 1;
	mug = 2;
	draft = 3;
	shirt_s = 1;
	shirt_m = 2;
	mug_v = 3;
	customer = 1;
}

static void
tear_down(void)
{
	shop_close(shop);
	conf_free(conf);
	arena_free(arena);
}

static const unsigned char body[32] = "a body's hash";
static const char token[] = "guests-own-token-guests-own-token-guests-ow";

static struct order_req
request(const char *id, int n, const struct order_line_req *lines)
{
	return (struct order_req){ .id = id,
		.body_hash = body,
		.access_token = token,
		.email = "guest@shop.test",
		.n = n,
		.lines = lines,
		.token = "" };
}

/* 32 hex digits of one. */
static const char *
id_of(char digit)
{
	char *id = arena_calloc(arena, 33, 1);

	memset(id, digit, 32);
	return id;
}

static const char *
given_order(char digit, int n, const struct order_line_req *lines)
{
	struct order_req req = request(id_of(digit), n, lines);
	struct span json;
	bool again;

	ck_assert_msg(
	    order_place(shop, &req, arena, &json, &again, &e) == RC_OK, "%s",
	    e.msg);
	return req.id;
}

static enum rc
run_task(enum rc (*run)(
	     struct shop *, const struct task *, struct arena *, struct err *),
    const char *type, const char *id)
{
	char tid[TASK_ID_CHARS + 1];
	const char *data;

	task_id(type, id, tid);
	data = word(arena_printf(
	    arena, "SELECT data::text FROM outbox WHERE task_id = '%s'", tid));
	if (*data == '\0')
		data = arena_printf(arena, "{\"orderId\":\"%s\"}", id);
	return run(shop,
	    &(struct task){ .id = tid, .type = type, .data = span_of(data) },
	    arena, &e);
}

#define decrease(id) run_task(stock_decrease, "decrease_stock", id)
#define release(id) run_task(stock_release, "release_stock", id)

static enum rc
cancel(const char *id)
{
	struct order_who who = { .admin = true };
	struct span json;

	return order_cancel(shop, id, &who, arena, &json, &e);
}

/* ---- processes of their own */

typedef int child_fn(struct shop *own, const void *arg);

/* Its own connections; ends with what fn returns. */
static pid_t
in_child(child_fn *fn, const void *arg)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct shop *own;

		_exit(shop_open(conf, "child", NULL, &own, &e) == RC_OK
			  ? fn(own, arg)
			  : 99);
	}
	return pid;
}

static int
exit_of(pid_t pid)
{
	int status = -1;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static void
wait_for_waiters(int n)
{
	for (int i = 0; i < 200; i++) {
		if (number("SELECT count(*) FROM pg_stat_activity WHERE"
			   " application_name = 'child'"
			   " AND wait_event_type = 'Lock'") >= n)
			return;
		clock_sleep_ms(25);
	}
	ck_abort_msg("nobody waits for the lock");
}

static int
child_decrease(struct shop *own, const void *arg)
{
	shop = own;
	return (int)decrease((const char *)arg);
}

static int
child_cancel(struct shop *own, const void *arg)
{
	shop = own;
	return (int)cancel((const char *)arg);
}

static int
child_close(struct shop *own, const void *arg)
{
	return (int)sale_close(own, *(const int64_t *)arg, arena, &e);
}

/* Exit 40: placed; 41: it stood already. */
static int
child_place(struct shop *own, const void *arg)
{
	struct span json;
	bool again;
	enum rc rc = order_place(own, arg, arena, &json, &again, &e);

	if (rc != RC_OK)
		return (int)rc;
	return again ? 41 : 40;
}

/* ---- placing */

static json_t *
placed(const struct order_req *req)
{
	struct span json;
	bool again;
	json_t *tree;

	ck_assert_msg(order_place(shop, req, arena, &json, &again, &e) == RC_OK,
	    "%s", e.msg);
	tree = json_loadb(json.p, json.n, 0, NULL);
	ck_assert_ptr_nonnull(tree);
	return tree;
}

START_TEST(an_order_is_written_with_its_lines_and_four_tasks)
{
	const struct order_line_req lines[] = { { shirt, shirt_s, 1 },
		{ mug, 0, 2 }, { shirt, shirt_s, 2 } };
	struct order_req req = request(id_of('a'), 3, lines);
	json_t *order = placed(&req);

	ck_assert_str_eq(
	    json_string_value(json_object_get(order, "status")), "pending");
	ck_assert_int_eq(
	    json_integer_value(json_object_get(order, "total")), 4000);
	ck_assert_int_eq(
	    (int)json_array_size(json_object_get(order, "items")), 2);
	ck_assert_str_eq(of_order(req.id, "status || total"), "pending4000");
	ck_assert_str_eq(
	    word("SELECT string_agg(variant_id || 'x' || quantity || '@' ||"
		 " price || variant_title, ' ' ORDER BY line) FROM order_line"),
	    "1x3@1000S 3x2@500");
	ck_assert_str_eq(task_state("decrease_stock", req.id), "due");
	ck_assert_str_eq(task_state("process_payment", req.id), "hidden");
	ck_assert_str_eq(task_state("order_confirmation", req.id), "due");
	ck_assert_str_eq(task_state("order_placed", req.id), "due");
	ck_assert_int_eq(number("SELECT count(*) FROM outbox"), 4);
	ck_assert_int_eq(stock_of(shirt_s), 10);
	ck_assert_str_eq(
	    word("SELECT octet_length(access_hash) || ' ' ||"
		 " (expires_cap - created_at = 3 * (expires_at - created_at))"
		 " FROM orders"),
	    "32 true");
	ck_assert_ptr_null(strstr(of_order(req.id, "answer::text"), token));
	json_decref(order);
}
END_TEST

START_TEST(what_cannot_be_ordered_is_refused_and_writes_nothing)
{
	static const struct {
		int n;
		struct order_line_req lines[2];
		enum rc rc;
		const char *code;
	} cases[] = {
		{ 1, { { 1, 0, 1 } }, RC_INVALID, "variant_required" },
		{ 1, { { 9, 0, 1 } }, RC_NONE, "product_not_found" },
		{ 1, { { 3, 0, 1 } }, RC_NONE, "product_not_found" },
		{ 1, { { 1, 3, 1 } }, RC_INVALID, "invalid_field" },
		{ 1, { { 2, 0, 6 } }, RC_REFUSED, "out_of_stock" },
		{ 2, { { 2, 0, 3 }, { 2, 3, 3 } }, RC_REFUSED, "out_of_stock" },
		{ 1, { { 2, 0, 0 } }, RC_INVALID, "invalid_field" },
		{ 1, { { 2, 0, 1001 } }, RC_INVALID, "invalid_field" },
		{ 0, { { 0 } }, RC_INVALID, "invalid_field" },
	};
	struct order_req req =
	    request(id_of('a'), cases[_i].n, cases[_i].lines);
	struct span json;
	bool again;

	ck_assert_int_eq(
	    order_place(shop, &req, arena, &json, &again, &e), cases[_i].rc);
	ck_assert_str_eq(e.code, cases[_i].code);
	ck_assert_int_eq(number("SELECT count(*) FROM orders"), 0);
	ck_assert_int_eq(number("SELECT count(*) FROM outbox"), 0);
}
END_TEST
enum { REFUSALS = 9 };

START_TEST(a_repeat_gets_the_first_answer_even_when_nothing_is_left)
{
	const struct order_line_req line = { mug, 0, 5 };
	struct order_req req = request(id_of('a'), 1, &line);
	struct span first, second;
	bool again;

	ck_assert_int_eq(
	    order_place(shop, &req, arena, &first, &again, &e), RC_OK);
	ck_assert(!again);
	sql("UPDATE variant SET stock = 0, price = 1");
	ck_assert_msg(
	    order_place(shop, &req, arena, &second, &again, &e) == RC_OK, "%s",
	    e.msg);
	ck_assert(again);
	ck_assert(span_eq(first, second));
	sql("UPDATE product SET status = 'archived'");
	ck_assert_int_eq(
	    order_place(shop, &req, arena, &second, &again, &e), RC_OK);
	ck_assert_int_eq(number("SELECT count(*) FROM orders"), 1);
	ck_assert_int_eq(number("SELECT count(*) FROM outbox"), 4);
}
END_TEST

START_TEST(a_repeat_with_another_body_is_refused)
{
	const struct order_line_req line = { mug, 0, 1 };
	struct order_req req = request(id_of('a'), 1, &line);
	struct span json;
	bool again;

	ck_assert_int_eq(
	    order_place(shop, &req, arena, &json, &again, &e), RC_OK);
	req.body_hash =
	    (const unsigned char *)"another body's hash, of 32 bytes";
	ck_assert_int_eq(
	    order_place(shop, &req, arena, &json, &again, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "idempotency_mismatch");
}
END_TEST

/* The first is not committed when the second comes. */
START_TEST(a_repeat_while_the_first_is_under_way_waits_for_it)
{
	const struct order_line_req line = { mug, 0, 1 };
	struct order_req req = request(id_of('a'), 1, &line);
	struct span json;
	bool again;
	pid_t child;

	ck_assert_int_eq(pg_begin(shop->pg, &e), RC_OK);
	ck_assert_int_eq(
	    order_place(shop, &req, arena, &json, &again, &e), RC_OK);
	child = in_child(child_place, &req);
	wait_for_waiters(1);
	ck_assert_int_eq(pg_commit(shop->pg, &e), RC_OK);
	ck_assert_int_eq(exit_of(child), 41);
	ck_assert_int_eq(number("SELECT count(*) FROM orders"), 1);
}
END_TEST

START_TEST(a_first_that_did_not_happen_leaves_the_place_to_the_second)
{
	const struct order_line_req line = { mug, 0, 1 };
	struct order_req req = request(id_of('a'), 1, &line);
	struct span json;
	bool again;
	pid_t child;

	ck_assert_int_eq(pg_begin(shop->pg, &e), RC_OK);
	ck_assert_int_eq(
	    order_place(shop, &req, arena, &json, &again, &e), RC_OK);
	child = in_child(child_place, &req);
	wait_for_waiters(1);
	pg_rollback(shop->pg);
	ck_assert_int_eq(exit_of(child), 40);
	ck_assert_int_eq(number("SELECT count(*) FROM orders"), 1);
}
END_TEST

/* Between the reading of the prices and the writing of the order. */
START_TEST(a_price_that_changes_meanwhile_is_read_again)
{
	const struct order_line_req line = { mug, 0, 2 };
	struct order_req req = request(id_of('a'), 1, &line);
	pid_t child;

	sql("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE");
	child = in_child(child_place, &req);
	wait_for_waiters(1);
	sql("UPDATE variant SET price = 700 WHERE id = 3; COMMIT");
	ck_assert_int_eq(exit_of(child), 40);
	ck_assert_str_eq(of_order(req.id, "total"), "1400");
	ck_assert_str_eq(word("SELECT price FROM order_line"), "700");
}
END_TEST

/* ---- decrease_stock */

START_TEST(enough_stock_reserves_the_order_and_shows_its_payment)
{
	const struct order_line_req lines[] = { { shirt, shirt_s, 3 },
		{ mug, 0, 5 } };
	const char *id = given_order('a', 2, lines);

	ck_assert_msg(decrease(id) == RC_OK, "%s", e.msg);
	ck_assert_str_eq(of_order(id, "status"), "reserved");
	ck_assert_str_eq(task_state("process_payment", id), "due");
	ck_assert_int_eq(stock_of(shirt_s), 7);
	ck_assert_int_eq(stock_of(shirt_m), 10);
	ck_assert_int_eq(stock_of(mug_v), 0);
	ck_assert_str_eq(word("SELECT array_to_string(keys, ' ') || ' ' ||"
			      " edge_lists || ' ' || (done_at IS NOT NULL)"
			      " FROM invalidation"),
	    "product:1 product:2 page:/products/1 page:/api/products/1"
	    " page:/products/2 page:/api/products/2 gen:catalog true true");
	ck_assert_str_eq(word("SELECT string_agg(version::text, ' ' ORDER BY"
			      " id) FROM product"),
	    "2 2 1");
	/* Delivered again. */
	ck_assert_int_eq(decrease(id), RC_NONE);
	ck_assert_int_eq(stock_of(shirt_s), 7);
}
END_TEST

START_TEST(lists_are_forgotten_only_where_availability_changed)
{
	const struct order_line_req line = { mug, 0, 1 };

	ck_assert_int_eq(decrease(given_order('a', 1, &line)), RC_OK);
	ck_assert_str_eq(word("SELECT array_to_string(keys, ' ') || ' ' ||"
			      " edge_lists FROM invalidation"),
	    "product:2 page:/products/2 page:/api/products/2 false");
}
END_TEST

START_TEST(one_line_short_takes_none_and_cancels)
{
	const struct order_line_req lines[] = { { shirt, shirt_s, 3 },
		{ mug, 0, 5 } };
	const char *id = given_order('a', 2, lines);

	sql(_i == 0 ? "UPDATE variant SET stock = 2 WHERE id = 1"
		    : "UPDATE variant SET stock = 4 WHERE id = 3");
	ck_assert_int_eq(decrease(id), RC_OK);
	ck_assert_str_eq(
	    of_order(id, "status || reason"), "cancelledout_of_stock");
	ck_assert_int_eq(stock_of(shirt_s), _i == 0 ? 2 : 10);
	ck_assert_int_eq(stock_of(mug_v), _i == 0 ? 5 : 4);
	ck_assert_str_eq(task_state("process_payment", id), "");
	ck_assert_str_eq(task_state("release_stock", id), "");
	ck_assert_str_eq(task_state("send_email",
			     arena_printf(arena, "%s:order_cancelled", id)),
	    "due");
	ck_assert_int_eq(number("SELECT count(*) FROM invalidation"), 0);
}
END_TEST

START_TEST(a_variant_that_is_gone_cancels)
{
	const struct order_line_req line = { shirt, shirt_s, 1 };
	const char *id = given_order('a', 1, &line);

	sql("DELETE FROM variant WHERE id = 1");
	ck_assert_msg(decrease(id) == RC_OK, "%s", e.msg);
	ck_assert_str_eq(of_order(id, "status"), "cancelled");
}
END_TEST

START_TEST(a_decrease_after_a_cancel_takes_nothing)
{
	const struct order_line_req line = { mug, 0, 2 };
	const char *id = given_order('a', 1, &line);

	ck_assert_msg(cancel(id) == RC_OK, "%s", e.msg);
	ck_assert_str_eq(of_order(id, "status || reason"), "cancelledby_shop");
	ck_assert_str_eq(task_state("process_payment", id), "");
	ck_assert_str_eq(task_state("release_stock", id), "");
	ck_assert_int_eq(decrease(id), RC_OK);
	ck_assert_int_eq(stock_of(mug_v), 5);
	ck_assert_str_eq(of_order(id, "status"), "cancelled");
}
END_TEST

START_TEST(a_cancelled_reservation_comes_back_once)
{
	const struct order_line_req line = { mug, 0, 5 };
	const char *id = given_order('a', 1, &line);

	ck_assert_int_eq(decrease(id), RC_OK);
	ck_assert_int_eq(stock_of(mug_v), 0);
	/* Before it is cancelled nothing may come back. */
	ck_assert_int_eq(release(id), RC_INVALID);
	ck_assert_int_eq(cancel(id), RC_OK);
	ck_assert_str_eq(task_state("release_stock", id), "due");
	ck_assert_str_eq(task_state("refund_payment", id), "");
	ck_assert_msg(release(id) == RC_OK, "%s", e.msg);
	ck_assert_int_eq(stock_of(mug_v), 5);
	ck_assert_int_eq(release(id), RC_NONE);
	ck_assert_int_eq(stock_of(mug_v), 5);
	/* And cancelled twice is once. */
	ck_assert_int_eq(cancel(id), RC_OK);
	ck_assert_int_eq(stock_of(mug_v), 5);
}
END_TEST

START_TEST(two_orders_for_the_last_piece_share_it_not)
{
	const struct order_line_req line = { mug, 0, 1 };
	const char *a, *b;
	pid_t pa, pb;

	sql("UPDATE variant SET stock = 1 WHERE id = 3");
	a = given_order('a', 1, &line);
	b = given_order('b', 1, &line);
	sql("BEGIN; SELECT FROM variant WHERE id = 3 FOR UPDATE;"
	    "SELECT FROM product WHERE id = 2 FOR UPDATE");
	pa = in_child(child_decrease, a);
	pb = in_child(child_decrease, b);
	wait_for_waiters(2);
	sql("COMMIT");
	ck_assert_int_eq(exit_of(pa), RC_OK);
	ck_assert_int_eq(exit_of(pb), RC_OK);
	ck_assert_int_eq(stock_of(mug_v), 0);
	ck_assert_str_eq(word("SELECT string_agg(status, ' ' ORDER BY status)"
			      " FROM orders"),
	    "cancelled reserved");
}
END_TEST

/* Each holds what the other wants if they lock as the lines stand. */
START_TEST(opposite_orders_of_lines_do_not_deadlock)
{
	const struct order_line_req one[] = { { shirt, shirt_s, 1 },
		{ shirt, shirt_m, 1 }, { mug, 0, 1 } };
	const struct order_line_req two[] = { { mug, 0, 1 },
		{ shirt, shirt_m, 1 }, { shirt, shirt_s, 1 } };

	sql("UPDATE variant SET stock = 100");
	for (int i = 0; i < 8; i++) {
		const char *a = given_order((char)('0' + i), 3, one);
		const char *b = given_order(
		    i < 6 ? (char)('a' + i) : (char)('2' + i), 3, two);
		pid_t pa, pb;

		/* Free whoever waits at both ends at once. */
		sql("BEGIN; SELECT FROM product WHERE id = 1 FOR UPDATE;"
		    "SELECT FROM product WHERE id = 2 FOR UPDATE");
		pa = in_child(child_decrease, a);
		pb = in_child(child_decrease, b);
		wait_for_waiters(2);
		sql("COMMIT");
		ck_assert_int_eq(exit_of(pa), RC_OK);
		ck_assert_int_eq(exit_of(pb), RC_OK);
	}
	ck_assert_int_eq(stock_of(shirt_s), 84);
	ck_assert_int_eq(stock_of(mug_v), 84);
}
END_TEST

/* Who waits for the first of them holds none of the others. */
START_TEST(rows_are_locked_in_the_order_of_their_ids)
{
	static const struct {
		const char *first, *others;
	} rows[] = {
		{ "SELECT FROM product WHERE id = 1 FOR UPDATE",
		    "SELECT FROM product WHERE id = 2 FOR UPDATE NOWAIT;"
		    "SELECT FROM variant FOR UPDATE NOWAIT" },
		{ "SELECT FROM variant WHERE id = 1 FOR UPDATE",
		    "SELECT FROM variant WHERE id > 1 FOR UPDATE NOWAIT" },
	};
	const struct order_line_req lines[] = { { mug, 0, 1 },
		{ shirt, shirt_m, 1 }, { shirt, shirt_s, 1 } };
	const char *id = given_order('a', 3, lines);
	pid_t child;

	sql(arena_printf(arena, "BEGIN; %s", rows[_i].first));
	child = in_child(child_decrease, id);
	wait_for_waiters(1);
	sql(rows[_i].others);
	sql("COMMIT");
	ck_assert_int_eq(exit_of(child), RC_OK);
}
END_TEST

/* ---- who may see and cancel */

START_TEST(an_order_is_there_for_its_owner_and_its_tokens_holder)
{
	const struct order_line_req line = { mug, 0, 1 };
	struct order_req req = request(id_of('b'), 1, &line);
	const char *guest = given_order('a', 1, &line);
	const struct {
		const char *id;
		struct order_who who;
		enum rc rc;
	} cases[] = {
		{ guest, { .access_token = token }, RC_OK },
		{ guest, { .access_token = "x" }, RC_NONE },
		{ guest, { .access_token = "" }, RC_NONE },
		{ guest, { .customer_id = customer }, RC_NONE },
		{ guest, { .admin = true }, RC_OK },
		{ req.id, { .customer_id = customer }, RC_OK },
		{ req.id, { .customer_id = customer + 1 }, RC_NONE },
		{ req.id, { .access_token = token }, RC_NONE },
		{ req.id, { .access_token = "" }, RC_NONE },
		{ id_of('c'), { .admin = true }, RC_NONE },
		{ "no id", { .admin = true }, RC_NONE },
	};
	struct span json;

	req.customer_id = customer;
	req.access_token = NULL;
	json_decref(placed(&req));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ck_assert_msg(order_get(shop, cases[i].id, &cases[i].who, arena,
				  &json, &e) == cases[i].rc,
		    "case %zu", i);
		if (cases[i].rc == RC_NONE)
			ck_assert_int_eq(order_cancel(shop, cases[i].id,
					     &cases[i].who, arena, &json, &e),
			    RC_NONE);
	}
	ck_assert_int_eq(number("SELECT count(*) FROM orders"
				" WHERE status = 'cancelled'"),
	    0);
}
END_TEST

START_TEST(a_customers_orders_are_listed_newest_first_by_pages)
{
	const struct order_line_req line = { mug, 0, 1 };
	const char *after = NULL;
	struct strbuf_ {
		char s[8];
		size_t n;
	} seen = { "", 0 };

	for (char c = 'a'; c <= 'e'; c++) {
		struct order_req req = request(id_of(c), 1, &line);

		req.customer_id = customer;
		json_decref(placed(&req));
	}
	/* Two of the same moment. */
	sql("UPDATE orders SET created_at = (SELECT created_at FROM orders"
	    " WHERE id LIKE 'c%') WHERE id LIKE 'd%'");
	for (int page = 0; page < 3; page++) {
		struct span json;
		json_t *tree;
		const json_t *o;
		size_t i;

		ck_assert_int_eq(
		    order_list(shop, customer, after, 2, arena, &json, &e),
		    RC_OK);
		tree = json_loadb(json.p, json.n, 0, NULL);
		json_array_foreach(json_object_get(tree, "orders"), i, o)
		    seen.s[seen.n++] =
		    *json_string_value(json_object_get(o, "id"));
		after = json_string_value(json_object_get(tree, "next"));
		after = after == NULL ? NULL : arena_strdup(arena, after);
		json_decref(tree);
	}
	ck_assert_ptr_null(after);
	ck_assert_str_eq(seen.s, "edcba");
}
END_TEST

/* ---- time */

START_TEST(what_is_not_paid_in_time_is_cancelled)
{
	const struct order_line_req line = { mug, 0, 1 };
	const char *a = given_order('a', 1, &line);
	const char *b = given_order('b', 1, &line);
	const char *c = given_order('c', 1, &line);
	int n = -1;

	ck_assert_int_eq(decrease(a), RC_OK);
	ck_assert_int_eq(order_expire(shop, 10, arena, &n, &e), RC_OK);
	ck_assert_int_eq(n, 0);
	sql("UPDATE orders SET expires_at = now() - interval '1 s'"
	    " WHERE id !~ 'c'");
	ck_assert_msg(
	    order_expire(shop, 10, arena, &n, &e) == RC_OK, "%s", e.msg);
	ck_assert_int_eq(n, 2);
	ck_assert_str_eq(of_order(a, "status || reason"), "cancelledexpired");
	ck_assert_str_eq(task_state("release_stock", a), "due");
	ck_assert_str_eq(of_order(b, "status || reason"), "cancelledexpired");
	ck_assert_str_eq(task_state("release_stock", b), "");
	ck_assert_str_eq(of_order(c, "status"), "pending");
	ck_assert_int_eq(order_expire(shop, 10, arena, &n, &e), RC_OK);
	ck_assert_int_eq(n, 0);
}
END_TEST

START_TEST(an_order_in_somebodys_hands_does_not_hold_the_others_up)
{
	const struct order_line_req line = { mug, 0, 1 };
	struct pg *other =
	    pg_new(&(struct pg_opts){ .url = conf_str(conf, "postgres", "url"),
		.connect_ms = 3000,
		.query_ms = 5000 });
	int n = -1;

	(void)given_order('a', 1, &line);
	(void)given_order('b', 1, &line);
	sql("UPDATE orders SET expires_at = now() - interval '1 s'");
	ck_assert_int_eq(pg_run(other,
			     "BEGIN; SELECT FROM orders WHERE id LIKE 'a%'"
			     " FOR UPDATE",
			     5000, &e),
	    RC_OK);
	ck_assert_int_eq(order_expire(shop, 10, arena, &n, &e), RC_OK);
	ck_assert_int_eq(n, 1);
	pg_free(other);
}
END_TEST

START_TEST(a_begun_payment_is_refunded_with_the_cancel)
{
	const struct order_line_req line = { mug, 0, 1 };
	const char *id = given_order('a', 1, &line);

	ck_assert_int_eq(decrease(id), RC_OK);
	sql("INSERT INTO payment (order_id, provider, amount, currency)"
	    " SELECT id, 'sandbox', total, currency FROM orders;"
	    "INSERT INTO payment_attempt (order_id, attempt)"
	    " SELECT id, 1 FROM orders");
	ck_assert_int_eq(cancel(id), RC_OK);
	ck_assert_str_eq(task_state("refund_payment", id), "due");
}
END_TEST

START_TEST(a_paid_order_is_not_cancelled)
{
	const struct order_line_req line = { mug, 0, 1 };
	const char *id = given_order('a', 1, &line);

	sql("UPDATE orders SET status = 'paid'");
	ck_assert_int_eq(cancel(id), RC_REFUSED);
	ck_assert_str_eq(e.code, "wrong_state");
	ck_assert_str_eq(of_order(id, "status"), "paid");
}
END_TEST

/* ---- flash sales */

static int64_t sale;

static void
given_open_sale(int64_t allotment)
{
	struct sale_req req = { .start = "now",
		.end = "+1h",
		.item = { .product_id = mug,
		    .allotment = allotment,
		    .limit = 2,
		    .price = 300 } };
	struct sale_made made;

	ck_assert_msg(
	    sale_create(shop, &req, arena, &made, &e) == RC_OK, "%s", e.msg);
	sale = made.sale_id;
	ck_assert_msg(sale_open(shop, sale, arena, &e) == RC_OK, "%s", e.msg);
}

static const char *
given_purchase(char digit)
{
	struct purchase_req req = { .id = id_of(digit),
		.customer_id = customer,
		.email = "buyer@shop.test",
		.sale_id = sale,
		.product_id = mug,
		.token = "",
		.deadline = deadline_in(5000) };
	struct purchase out;

	ck_assert_msg(
	    purchase(shop, &req, arena, &out, &e) == RC_OK, "%s", e.msg);
	return req.id;
}

static int64_t
left_in_sale(void)
{
	struct counter_state state;

	ck_assert_int_eq(
	    counter_state(shop->sale_redis, (struct counter_ref){ sale, mug_v },
		arena, &state, &e),
	    RC_OK);
	ck_assert(state.armed);
	return state.left;
}

START_TEST(a_unit_of_an_open_sale_goes_back_to_its_counter)
{
	const char *id;

	given_open_sale(3);
	id = given_purchase('a');
	ck_assert_int_eq(left_in_sale(), 2);
	ck_assert_msg(cancel(id) == RC_OK, "%s", e.msg);
	ck_assert_int_eq(left_in_sale(), 3);
	ck_assert_int_eq(number("SELECT count(*) FROM sale_unit"), 0);
	ck_assert_int_eq(stock_of(mug_v), 2);
	ck_assert_str_eq(task_state("release_stock", id), "due");
	/* The task comes after that, twice; then late, when another has it. */
	ck_assert_msg(release(id) == RC_OK, "%s", e.msg);
	ck_assert_int_eq(release(id), RC_OK);
	ck_assert_int_eq(left_in_sale(), 3);
	(void)given_purchase('b');
	ck_assert_int_eq(release(id), RC_OK);
	ck_assert_int_eq(left_in_sale(), 2);
	ck_assert_int_eq(number("SELECT count(*) FROM sale_unit"), 1);
}
END_TEST

START_TEST(a_unit_waits_for_a_counter_that_is_not_armed)
{
	struct redis_reply r;
	const char *id;

	given_open_sale(3);
	id = given_purchase('a');
	ck_assert_int_eq(redis_callv(shop->sale_redis, NULL, arena, &r, &e,
			     "FLUSHALL", NULL),
	    RC_OK);
	ck_assert_int_eq(cancel(id), RC_OK);
	ck_assert_int_eq(release(id), RC_RETRY);
	ck_assert_str_eq(e.code, "sale_unarmed");
}
END_TEST

START_TEST(a_unit_of_a_closed_sale_goes_to_the_variants_stock)
{
	const char *id;

	given_open_sale(3);
	id = given_purchase('a');
	ck_assert_int_eq(stock_of(mug_v), 2);
	ck_assert_msg(sale_close(shop, sale, arena, &e) == RC_OK, "%s", e.msg);
	ck_assert_int_eq(stock_of(mug_v), 4);
	ck_assert_msg(cancel(id) == RC_OK, "%s", e.msg);
	ck_assert_int_eq(stock_of(mug_v), 5);
	ck_assert_str_eq(task_state("release_stock", id), "");
	ck_assert_int_eq(number("SELECT count(*) FROM sale_unit"
				" WHERE order_id IS NOT NULL"),
	    0);
	/* A task of before the close must not add one more. */
	ck_assert_int_eq(cancel(id), RC_OK);
	ck_assert_int_eq(stock_of(mug_v), 5);
}
END_TEST

/* The close holds the item; the cancel comes then. */
START_TEST(a_cancel_waits_for_a_close_that_is_under_way)
{
	const char *id;
	pid_t child;

	given_open_sale(3);
	id = given_purchase('a');
	sql("BEGIN; SELECT FROM sale_item FOR UPDATE");
	child = in_child(child_cancel, id);
	wait_for_waiters(1);
	sql("UPDATE sale_item SET state = 'closed',"
	    "  epoch = nextval('sale_epoch');"
	    "WITH c AS (INSERT INTO sale_unit (item_id, unit)"
	    "  SELECT i.id, u FROM sale_item i, generate_series(1, 3) u"
	    "  ON CONFLICT DO NOTHING RETURNING 1)"
	    " UPDATE variant SET stock = stock + (SELECT count(*) FROM c)"
	    " WHERE id = 3;"
	    "COMMIT");
	ck_assert_int_eq(exit_of(child), RC_OK);
	ck_assert_str_eq(of_order(id, "status"), "cancelled");
	ck_assert_int_eq(stock_of(mug_v), 5);
	ck_assert_int_eq(number("SELECT count(*) FROM sale_unit"
				" WHERE order_id IS NOT NULL"),
	    0);
}
END_TEST

/* The cancel has the item's share and has not committed; the close comes. */
START_TEST(a_close_waits_for_a_cancel_that_is_under_way)
{
	struct order_after after;
	struct order_row row;
	const char *id;
	pid_t child;

	given_open_sale(3);
	id = given_purchase('a');
	ck_assert_int_eq(pg_begin(shop->pg, &e), RC_OK);
	ck_assert_int_eq(order_lock(shop, id, arena, &row, &e), RC_OK);
	ck_assert_msg(order_move(shop, &row, OS_CANCELLED, "by_buyer", arena,
			  &after, &e) == RC_OK,
	    "%s", e.msg);
	child = in_child(child_close, &sale);
	wait_for_waiters(1);
	ck_assert_int_eq(pg_commit(shop->pg, &e), RC_OK);
	ck_assert_int_eq(exit_of(child), RC_OK);
	order_moved(shop, &after, arena);
	ck_assert_int_eq(stock_of(mug_v), 5);
	ck_assert_int_eq(release(id), RC_OK);
	ck_assert_int_eq(stock_of(mug_v), 5);
	ck_assert_int_eq(number("SELECT count(*) FROM sale_unit"), 3);
}
END_TEST

static void
move(const char *id, enum order_status to)
{
	struct order_after after;
	struct order_row row;

	ck_assert_int_eq(pg_begin(shop->pg, &e), RC_OK);
	ck_assert_int_eq(order_lock(shop, id, arena, &row, &e), RC_OK);
	ck_assert_msg(
	    order_move(shop, &row, to, "", arena, &after, &e) == RC_OK, "%s",
	    e.msg);
	ck_assert_int_eq(pg_commit(shop->pg, &e), RC_OK);
	order_moved(shop, &after, arena);
}

START_TEST(a_refund_frees_the_unit_unless_the_goods_are_gone)
{
	const char *a, *b;

	given_open_sale(3);
	a = given_purchase('a');
	b = given_purchase('b');
	move(a, OS_PAID);
	move(b, OS_PAID);
	move(b, OS_FULFILLED);
	move(a, OS_REFUNDED);
	move(b, OS_REFUNDED);
	ck_assert_str_eq(word("SELECT string_agg(left(order_id, 1), '')"
			      " FROM sale_unit"),
	    "b");
	ck_assert_int_eq(left_in_sale(), 2);
}
END_TEST

/* ---- the figure */

static json_t *
figure(int64_t product)
{
	struct span json;
	bool storable;
	json_t *tree;

	ck_assert_msg(
	    stock_figure(shop, product, arena, &json, &storable, &e) == RC_OK,
	    "%s", e.msg);
	tree = json_loadb(json.p, json.n, 0, NULL);
	ck_assert_ptr_nonnull(tree);
	return tree;
}

START_TEST(the_figure_counts_open_sales_by_what_is_left_in_them)
{
	struct redis_reply r;
	json_t *f = figure(shirt);
	json_int_t version = json_integer_value(json_object_get(f, "version"));

	ck_assert_int_eq(json_integer_value(json_object_get(f, "stock")), 20);
	ck_assert(json_is_null(json_object_get(f, "saleId")));
	ck_assert_int_gt(version, INT64_C(1500000000000000));
	json_decref(f);

	given_open_sale(3);
	(void)given_purchase('a');
	f = figure(mug);
	ck_assert_int_eq(json_integer_value(json_object_get(f, "stock")), 2);
	ck_assert_int_eq(
	    json_integer_value(json_object_get(f, "saleId")), sale);
	ck_assert_int_gt(
	    json_integer_value(json_object_get(f, "version")), version);
	json_decref(f);
	/* The counter is lost: the truth stands in. */
	ck_assert_int_eq(redis_callv(shop->sale_redis, NULL, arena, &r, &e,
			     "FLUSHALL", NULL),
	    RC_OK);
	f = figure(mug);
	ck_assert_int_eq(json_integer_value(json_object_get(f, "stock")), 2);
	json_decref(f);
	ck_assert_int_eq(sale_close(shop, sale, arena, &e), RC_OK);
	f = figure(mug);
	ck_assert_int_eq(json_integer_value(json_object_get(f, "stock")), 4);
	ck_assert(json_is_null(json_object_get(f, "saleId")));
	json_decref(f);
}
END_TEST

static struct {
	char channel[80], payload[400];
} heard;

static void
on_message(void *arg, struct span channel, struct span payload)
{
	(void)arg;
	(void)snprintf(heard.channel, sizeof heard.channel, "%.*s",
	    (int)channel.n, channel.p);
	(void)snprintf(heard.payload, sizeof heard.payload, "%.*s",
	    (int)payload.n, payload.p);
}

static void
on_nothing(void *arg)
{
	(void)arg;
}

START_TEST(a_decrease_tells_the_world)
{
	static const char *const channels[] = { "product:2:update", NULL };
	const struct redis_sub_events events = { .message = on_message,
		.restarted = on_nothing,
		.lost = on_nothing };
	const struct order_line_req line = { mug, 0, 2 };
	struct redis_sub *sub;

	ck_assert_int_eq(redis_sub_new(conf_str(conf, "redis", "url"), channels,
			     &events, &sub, &e),
	    RC_OK);
	for (int i = 0; i < 200 && !redis_sub_fresh(sub); i++) {
		redis_sub_turn(sub);
		clock_sleep_ms(10);
	}
	ck_assert_int_eq(decrease(given_order('a', 1, &line)), RC_OK);
	for (int i = 0; i < 200 && heard.channel[0] == '\0'; i++) {
		redis_sub_turn(sub);
		clock_sleep_ms(10);
	}
	redis_sub_free(sub);
	ck_assert_str_eq(heard.channel, "product:2:update");
	ck_assert_ptr_nonnull(strstr(heard.payload,
	    "{\"productId\":2,\"stock\":3,\"saleId\":null,"
	    "\"variants\":[{\"variantId\":3,\"stock\":3}],\"version\":1"));
}
END_TEST

/* ---- carts */

static json_t *
cart(const struct cart_who *who)
{
	struct span json;
	json_t *tree;

	ck_assert_msg(
	    cart_get(shop, who, arena, &json, &e) == RC_OK, "%s", e.msg);
	tree = json_loadb(json.p, json.n, 0, NULL);
	ck_assert_ptr_nonnull(tree);
	return tree;
}

static const json_t *
cart_line(const json_t *tree, size_t i)
{
	return json_array_get(json_object_get(tree, "lines"), i);
}

START_TEST(a_guests_cart_shows_what_has_changed)
{
	char secret[SECRET_CHARS + 1], none[SECRET_CHARS + 1];
	struct cart_who who = { 0 };
	json_t *c;

	ck_assert_int_eq(
	    cart_add(shop, &who, mug, 0, 2, arena, secret, &e), RC_OK);
	ck_assert_uint_eq(strlen(secret), SECRET_CHARS);
	who.token = secret;
	ck_assert_int_eq(
	    cart_add(shop, &who, shirt, shirt_m, 1, arena, none, &e), RC_OK);
	ck_assert_str_eq(none, "");
	ck_assert_int_eq(
	    cart_add(shop, &who, mug, mug_v, 1, arena, none, &e), RC_OK);
	sql("UPDATE variant SET stock = 2, price = 600 WHERE id = 3");
	c = cart(&who);
	ck_assert_int_eq(json_integer_value(json_object_get(c, "count")), 4);
	ck_assert_int_eq(
	    json_integer_value(json_object_get(c, "subtotal")), 2900);
	ck_assert(json_is_false(json_object_get(c, "ready")));
	ck_assert_int_eq(
	    json_integer_value(json_object_get(cart_line(c, 0), "priceWas")),
	    500);
	ck_assert_str_eq(
	    json_string_value(json_object_get(cart_line(c, 0), "problem")),
	    "not_enough");
	json_decref(c);
	ck_assert_int_eq(cart_set(shop, &who, mug_v, 2, arena, &e), RC_OK);
	c = cart(&who);
	ck_assert(json_is_true(json_object_get(c, "ready")));
	ck_assert(json_is_null(json_object_get(cart_line(c, 0), "priceWas")));
	json_decref(c);
	sql("UPDATE product SET status = 'archived' WHERE id = 2");
	c = cart(&who);
	ck_assert_str_eq(
	    json_string_value(json_object_get(cart_line(c, 0), "problem")),
	    "unavailable");
	ck_assert_int_eq(
	    json_integer_value(json_object_get(c, "subtotal")), 1100);
	json_decref(c);
	ck_assert_int_eq(cart_set(shop, &who, mug_v, 0, arena, &e), RC_OK);
	ck_assert_int_eq(cart_set(shop, &who, mug_v, 0, arena, &e), RC_NONE);
	/* Somebody else's token opens another's cart not. */
	none[0] = '\0';
	c = cart(&(struct cart_who){ .token = token });
	ck_assert_int_eq(json_integer_value(json_object_get(c, "count")), 0);
	json_decref(c);
}
END_TEST

START_TEST(what_cannot_be_put_into_a_cart_is_refused)
{
	char secret[SECRET_CHARS + 1];
	struct cart_who who = { 0 };

	ck_assert_int_eq(
	    cart_add(shop, &who, shirt, 0, 1, arena, secret, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "variant_required");
	ck_assert_int_eq(
	    cart_add(shop, &who, draft, 0, 1, arena, secret, &e), RC_NONE);
	ck_assert_int_eq(
	    cart_add(shop, &who, mug, shirt_s, 1, arena, secret, &e),
	    RC_INVALID);
	ck_assert_int_eq(
	    cart_add(shop, &who, mug, 0, 0, arena, secret, &e), RC_INVALID);
	ck_assert_int_eq(
	    cart_add(shop, &who, mug, 0, 1001, arena, secret, &e), RC_INVALID);
	ck_assert_str_eq(secret, "");
	ck_assert_int_eq(number("SELECT count(*) FROM cart"), 0);
	sql("INSERT INTO variant (id, product_id, options, price)"
	    " OVERRIDING SYSTEM VALUE"
	    " SELECT 100 + n, 1, ARRAY['v' || n], 1"
	    " FROM generate_series(1, 100) n;"
	    "INSERT INTO cart (customer_id) VALUES (1);"
	    "INSERT INTO cart_line (cart_id, variant_id, quantity, price)"
	    " SELECT c.id, v.id, 1000, 1 FROM cart c, variant v"
	    " WHERE v.product_id = 1 AND v.price = 1");
	who.customer_id = customer;
	ck_assert_int_eq(
	    cart_add(shop, &who, mug, 0, 1, arena, secret, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "cart_full");
	/* One that is in it already is no new line, and 1,000 is the end. */
	ck_assert_int_eq(
	    cart_add(shop, &who, shirt, number("SELECT max(id) FROM variant"),
		5, arena, secret, &e),
	    RC_OK);
	ck_assert_int_eq(number("SELECT max(quantity) FROM cart_line"), 1000);
}
END_TEST

START_TEST(at_login_the_guests_cart_becomes_the_customers)
{
	char secret[SECRET_CHARS + 1], none[SECRET_CHARS + 1];
	struct cart_who guest = { 0 }, own = { .customer_id = customer };
	const struct order_line_req line = { mug, 0, 1 };
	json_t *c;

	ck_assert_int_eq(
	    cart_add(shop, &own, mug, 0, 3, arena, none, &e), RC_OK);
	ck_assert_int_eq(
	    cart_add(shop, &guest, mug, 0, 2, arena, secret, &e), RC_OK);
	guest.token = secret;
	ck_assert_int_eq(
	    cart_add(shop, &guest, shirt, shirt_s, 1, arena, none, &e), RC_OK);
	ck_assert_msg(cart_merge(shop, secret, customer, arena, &e) == RC_OK,
	    "%s", e.msg);
	c = cart(&own);
	ck_assert_int_eq(json_integer_value(json_object_get(c, "count")), 4);
	json_decref(c);
	c = cart(&guest);
	ck_assert_int_eq(json_integer_value(json_object_get(c, "count")), 0);
	json_decref(c);
	ck_assert_int_eq(cart_merge(shop, secret, customer, arena, &e), RC_OK);
	/* What was ordered leaves it. */
	ck_assert_int_eq(
	    cart_ordered(shop, &own, given_order('a', 1, &line), arena, &e),
	    RC_OK);
	ck_assert_str_eq(word("SELECT string_agg(variant_id::text, ' ')"
			      " FROM cart_line"),
	    "1");
}
END_TEST

START_TEST(old_carts_of_guests_are_swept_away)
{
	char secret[SECRET_CHARS + 1];
	struct cart_who guest = { 0 }, own = { .customer_id = customer };

	ck_assert_int_eq(
	    cart_add(shop, &own, mug, 0, 1, arena, secret, &e), RC_OK);
	ck_assert_int_eq(
	    cart_add(shop, &guest, mug, 0, 1, arena, secret, &e), RC_OK);
	ck_assert_int_eq(
	    cart_add(shop, &guest, mug, 0, 1, arena, secret, &e), RC_OK);
	sql("UPDATE cart SET updated_at = now() - interval '31 days'"
	    " WHERE id < (SELECT max(id) FROM cart)");
	ck_assert_int_eq(cart_purge(shop, 10, arena, &e), RC_OK);
	ck_assert_int_eq(number("SELECT count(*) FROM cart"), 2);
	ck_assert_int_eq(
	    number("SELECT count(*) FROM cart WHERE customer_id > 0"), 1);
}
END_TEST

int
main(void)
{
	if (getenv("DATABASE_URL") == NULL || getenv("REDIS_URL") == NULL)
		return 77;
	Suite *s = suite_create("order");
	TCase *tc = tcase_create("order");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, an_order_is_written_with_its_lines_and_four_tasks);
	tcase_add_loop_test(tc,
	    what_cannot_be_ordered_is_refused_and_writes_nothing, 0, REFUSALS);
	tcase_add_test(
	    tc, a_repeat_gets_the_first_answer_even_when_nothing_is_left);
	tcase_add_test(tc, a_repeat_with_another_body_is_refused);
	tcase_add_test(tc, a_repeat_while_the_first_is_under_way_waits_for_it);
	tcase_add_test(
	    tc, a_first_that_did_not_happen_leaves_the_place_to_the_second);
	tcase_add_test(tc, a_price_that_changes_meanwhile_is_read_again);
	tcase_add_test(
	    tc, enough_stock_reserves_the_order_and_shows_its_payment);
	tcase_add_test(tc, lists_are_forgotten_only_where_availability_changed);
	tcase_add_loop_test(tc, one_line_short_takes_none_and_cancels, 0, 2);
	tcase_add_test(tc, a_variant_that_is_gone_cancels);
	tcase_add_test(tc, a_decrease_after_a_cancel_takes_nothing);
	tcase_add_test(tc, a_cancelled_reservation_comes_back_once);
	tcase_add_test(tc, two_orders_for_the_last_piece_share_it_not);
	tcase_add_test(tc, opposite_orders_of_lines_do_not_deadlock);
	tcase_add_loop_test(
	    tc, rows_are_locked_in_the_order_of_their_ids, 0, 2);
	tcase_add_test(
	    tc, an_order_is_there_for_its_owner_and_its_tokens_holder);
	tcase_add_test(tc, a_customers_orders_are_listed_newest_first_by_pages);
	tcase_add_test(tc, what_is_not_paid_in_time_is_cancelled);
	tcase_add_test(
	    tc, an_order_in_somebodys_hands_does_not_hold_the_others_up);
	tcase_add_test(tc, a_begun_payment_is_refunded_with_the_cancel);
	tcase_add_test(tc, a_paid_order_is_not_cancelled);
	tcase_add_test(tc, a_unit_of_an_open_sale_goes_back_to_its_counter);
	tcase_add_test(tc, a_unit_waits_for_a_counter_that_is_not_armed);
	tcase_add_test(tc, a_unit_of_a_closed_sale_goes_to_the_variants_stock);
	tcase_add_test(tc, a_cancel_waits_for_a_close_that_is_under_way);
	tcase_add_test(tc, a_close_waits_for_a_cancel_that_is_under_way);
	tcase_add_test(tc, a_refund_frees_the_unit_unless_the_goods_are_gone);
	tcase_add_test(
	    tc, the_figure_counts_open_sales_by_what_is_left_in_them);
	tcase_add_test(tc, a_decrease_tells_the_world);
	tcase_add_test(tc, a_guests_cart_shows_what_has_changed);
	tcase_add_test(tc, what_cannot_be_put_into_a_cart_is_refused);
	tcase_add_test(tc, at_login_the_guests_cart_becomes_the_customers);
	tcase_add_test(tc, old_carts_of_guests_are_swept_away);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
