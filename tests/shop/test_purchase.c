/* purchase.c with a real Redis and PostgreSQL. Run by purchase.sh. */
#include "shop/purchase.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/conf.h"
#include "buying.h"
#include "shop/ids.h"

static int64_t customer; /* of a hundred */
static struct purchase bought;

static void
set_up(void)
{
	buying_set_up();
	customer = given_customers(100);
	shop->sold_out = sold_out_new();
}

static struct purchase_req
req_of(const struct sale *s, int id, int64_t who)
{
	static const unsigned char hash[32] = { 1, 2, 3 };

	return (struct purchase_req){ .id = id_of(id),
		.keyed = true,
		.body_hash = hash,
		.customer_id = who,
		.email = "a'b@x.test",
		.sale_id = s->sale_id,
		.product_id = s->product_id,
		.token = "tok_\"ok\"",
		.deadline = deadline_in(5000) };
}

/* The id'th purchase, by the id'th customer. */
static enum rc
buy(const struct sale *s, int id)
{
	struct purchase_req req = req_of(s, id, customer + id);

	bought = (struct purchase){ 0 };
	e = (struct err)ERR_INIT;
	return purchase(shop, &req, arena, &bought, &e);
}

#define ck_bought(sale, id)                                                    \
	ck_assert_msg(buy(sale, id) == RC_OK, "%d: %s: %s", id, e.code, e.msg)
#define ck_refused(sale, id, word)                                             \
	do {                                                                   \
		ck_assert_int_eq(buy(sale, id), RC_REFUSED);                   \
		ck_assert_str_eq(e.code, word);                                \
	} while (0)

static int64_t
units(const struct sale *s)
{
	return number("SELECT count(*) FROM sale_unit WHERE item_id = %lld",
	    (long long)s->item_id);
}

static int64_t
unit_of(int id)
{
	return number(
	    "SELECT unit FROM sale_unit WHERE order_id = '%s'", id_of(id));
}

/* Unit and order are one to one, each with its line and three tasks, and the
 * counter counts what is left. */
static void
check_whole(const struct sale *s, int sold)
{
	struct counter_state st = state_of(s);

	ck_assert_int_eq(units(s), sold);
	ck_assert_int_eq(
	    number("SELECT count(*) FROM orders o JOIN sale_unit u ON"
		   " u.order_id = o.id AND u.item_id = o.sale_item_id"
		   " JOIN order_line l ON l.order_id = o.id"
		   " WHERE o.sale_item_id = %lld AND (SELECT count(*) FROM"
		   " outbox t WHERE t.data->>'orderId' = o.id) = 3",
		(long long)s->item_id),
	    sold);
	ck_assert_int_eq(
	    number("SELECT count(*) FROM orders WHERE sale_item_id = %lld"
		   " AND status = 'reserved'",
		(long long)s->item_id),
	    sold);
	ck_assert(st.armed);
	ck_assert_int_eq(st.left + st.holds, st.allotment);
}

/* ---- what is written */

START_TEST(an_order_is_written_with_all_that_follows)
{
	struct sale s = given_armed(3, 1);

	ck_bought(&s, 1);
	ck_assert_str_eq(bought.order_id, id_of(1));
	ck_assert_int_eq(bought.stock, 2);
	ck_assert(!bought.again);
	check_whole(&s, 1);
	const char *id = id_of(1);

	ck_assert_int_eq(
	    number(
		"SELECT count(*) FROM orders o JOIN order_line l ON"
		" l.order_id = o.id WHERE o.id = '%s' AND o.customer_id ="
		" %lld AND o.total = 3000 AND o.tax = 0 AND o.currency = 'USD'"
		" AND o.email = 'a''b@x.test' AND o.language = 'en' AND"
		" o.answer = '{\"orderId\":\"%s\",\"stock\":2}' AND"
		" o.request_hash = '\\x0102030000000000000000000000000000000000"
		"000000000000000000000000'"
		" AND o.expires_at BETWEEN now() + interval '10 min' AND now()"
		" + interval '16 min' AND l.title = 'Mug' AND l.variant_title"
		" = 'red' AND l.quantity = 1 AND l.price = 3000",
		id, (long long)customer + 1, id),
	    1);
	ck_assert_int_eq(
	    number("SELECT count(*) FROM outbox WHERE visible_at <="
		   " clock_timestamp() AND ((queue, type, priority, data) IN"
		   " (('payment', 'process_payment', 'high',"
		   "  '{\"orderId\":\"%s\",\"attempt\":1,"
		   "\"token\":\"tok_\\\"ok\\\"\"}'),"
		   " ('email', 'order_confirmation', 'low',"
		   "  '{\"orderId\":\"%s\"}'),"
		   " ('analytics', 'order_placed', 'low',"
		   "  '{\"orderId\":\"%s\"}')))",
		id, id, id),
	    3);
	char task[TASK_ID_CHARS + 1];

	task_id("process_payment", id, task);
	ck_assert_int_eq(number("SELECT count(*) FROM outbox WHERE task_id ="
				" '%s' AND type = 'process_payment'",
			     task),
	    1);
	ck_assert_int_ne(shop->waker.noted, 0);
}
END_TEST

START_TEST(tax_is_added_to_the_price)
{
	ck_assert_int_eq(setenv("SOUK_SHOP_TAX", "8.255", 1), 0);
	struct shop *other = shop_another(server.url);
	struct sale s = given_armed(3, 1);
	struct purchase_req req = req_of(&s, 1, customer);

	ck_assert_int_eq(purchase(other, &req, arena, &bought, &e), RC_OK);
	/* 3000 * 8.255 % = 247.65 */
	ck_assert_int_eq(
	    number("SELECT total FROM orders WHERE id = '%s' AND tax = 248",
		id_of(1)),
	    3248);
	shop_end(other);
	(void)unsetenv("SOUK_SHOP_TAX");
}
END_TEST

START_TEST(exactly_the_allotment_is_sold)
{
	struct sale s = given_armed(_i, 1);

	for (int i = 1; i <= _i; i++) {
		ck_bought(&s, i);
		ck_assert_int_eq(bought.stock, _i - i);
	}
	ck_refused(&s, _i + 1, "sold_out");
	ck_assert_str_eq(e.msg, "Sold out");
	check_whole(&s, _i);
}
END_TEST

START_TEST(one_round_trip_to_each)
{
	struct sale s = given_armed(3, 1);

	ck_bought(&s, 1); /* prepares, looks the variant up */
	int64_t r = redis_stats(shop->redis).commands;
	int64_t p = pg_stats(shop->pg).queries;

	ck_bought(&s, 2);
	ck_assert_int_eq(redis_stats(shop->redis).commands - r, 1);
	ck_assert_int_eq(pg_stats(shop->pg).queries - p, 1);
	ck_bought(&s, 3);
	r = redis_stats(shop->redis).commands;
	p = pg_stats(shop->pg).queries;
	ck_refused(&s, 4, "sold_out");
	ck_assert_int_eq(redis_stats(shop->redis).commands - r, 1);
	ck_assert_int_eq(pg_stats(shop->pg).queries - p, 0);
}
END_TEST

/* ---- who may, and what */

START_TEST(the_limit_counts_orders_not_requests)
{
	struct sale s = given_armed(5, 2);
	struct purchase_req req;

	for (int i = 1; i <= 2; i++) {
		req = req_of(&s, i, customer);
		ck_assert_int_eq(
		    purchase(shop, &req, arena, &bought, &e), RC_OK);
		ck_assert_int_eq(
		    purchase(shop, &req, arena, &bought, &e), RC_OK);
		ck_assert(bought.again);
	}
	req = req_of(&s, 3, customer);
	ck_assert_int_eq(purchase(shop, &req, arena, &bought, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "limit_reached");
	check_whole(&s, 2);
}
END_TEST

START_TEST(the_limit_is_postgresqls_where_redis_forgot)
{
	struct sale s = given_armed(5, 1);

	/* An order of his of which the counter knows nothing. */
	given_order(&s, id_of(50), customer + 1, 3, 1);
	ck_refused(&s, 1, "limit_reached");
	ck_assert_int_eq(units(&s), 1);
	ck_assert_int_eq(state_of(&s).left, 4);
	ck_assert(state_of(&s).armed);
}
END_TEST

START_TEST(the_variant_is_found_or_asked_for)
{
	struct sale s = given_armed(5, 1);
	struct purchase_req req = req_of(&s, 1, customer);
	int64_t v = number("INSERT INTO variant (product_id, position, sku,"
			   " options, price, stock) VALUES (%lld, 2,"
			   " md5(random()::text), ARRAY['blue'], 5000, 11)"
			   " RETURNING id",
	    (long long)s.product_id);

	sql("INSERT INTO sale_item (sale_id, product_id, variant_id, price,"
	    " allotment, state) VALUES (%lld, %lld, %lld, 1, 1, 'draft')",
	    (long long)s.sale_id, (long long)s.product_id, (long long)v);
	ck_assert_int_eq(purchase(shop, &req, arena, &bought, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "variant_required");
	req.variant_id = v;
	ck_assert_int_eq(purchase(shop, &req, arena, &bought, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "sale_not_started");
	req.variant_id = s.variant_id;
	ck_assert_int_eq(purchase(shop, &req, arena, &bought, &e), RC_OK);
	req.variant_id = v + 1;
	ck_assert_int_eq(purchase(shop, &req, arena, &bought, &e), RC_NONE);
	req.variant_id = 0;
	req.product_id++;
	ck_assert_int_eq(purchase(shop, &req, arena, &bought, &e), RC_NONE);
	ck_assert_str_eq(e.code, "sale_not_found");
}
END_TEST

START_TEST(a_customer_who_is_gone_buys_nothing)
{
	struct sale s = given_armed(5, 1);
	struct purchase_req req = req_of(&s, 1, INT64_C(1) << 60);

	ck_assert_int_eq(purchase(shop, &req, arena, &bought, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "no_customer");
	ck_assert_int_eq(units(&s), 0);
}
END_TEST

/* ---- repeats */

START_TEST(a_repeat_gets_the_first_answer_whatever_came_between)
{
	struct sale s = given_armed(2, 1);
	struct purchase_req req = req_of(&s, 1, customer + 1);

	ck_bought(&s, 1);
	ck_bought(&s, 2);
	ck_bought(&s, 1); /* sold out */
	ck_assert(bought.again);
	ck_assert_int_eq(bought.stock, 1);
	sql("UPDATE sale SET starts_at = now() - interval '3 hours',"
	    " ends_at = now() - interval '1 hour' WHERE id = %lld",
	    (long long)s.sale_id);
	ck_assert_int_eq(counter_disarm(shop->sale_redis, s.ref,
			     state_of(&s).epoch, arena, &e),
	    RC_OK);
	arm(&s);
	ck_bought(&s, 1); /* over */
	ck_refused(&s, 3, "sale_ended");
	sql("UPDATE sale_item SET state = 'closed', epoch = epoch + 10"
	    " WHERE id = %lld",
	    (long long)s.item_id);
	ck_assert_int_eq(counter_close(shop->sale_redis, s.ref,
			     state_of(&s).epoch + 10, arena, &e),
	    RC_OK);
	ck_bought(&s, 1); /* closed */
	ck_assert_int_eq(bought.stock, 1);
	ck_refused(&s, 3, "sale_ended");
	/* And with Redis empty. */
	redis_server_kill(&server);
	redis_server_again(&server);
	do {
		memset(shop->arming, 0, sizeof shop->arming);
		req.deadline = deadline_in(5000);
		clock_sleep_ms(20);
	} while (purchase(shop, &req, arena, &bought, &e) == RC_RETRY);
	ck_assert_str_eq(bought.order_id, id_of(1));
	ck_assert(bought.again);
	ck_refused(&s, 3, "sale_ended");
}
END_TEST

START_TEST(a_repeat_of_a_cancelled_order_takes_no_unit)
{
	struct sale s = given_armed(2, 1);

	ck_bought(&s, 1);
	sql("DELETE FROM sale_unit WHERE order_id = '%s';"
	    "UPDATE orders SET status = 'cancelled' WHERE id = '%s'",
	    id_of(1), id_of(1));
	ck_assert_int_eq(
	    counter_give_back(shop->sale_redis, s.ref,
		&(struct counter_unit){ id_of(1), "", 1, 1 }, arena, &e),
	    RC_OK);
	ck_bought(&s, 1);
	ck_assert(bought.again);
	ck_assert_int_eq(units(&s), 0);
	ck_assert_int_eq(state_of(&s).left, 2); /* what it took went back */
	/* Also once all is sold. */
	ck_bought(&s, 2);
	ck_bought(&s, 3);
	ck_bought(&s, 1);
	ck_assert(bought.again);
	ck_assert_int_eq(units(&s), 2);
}
END_TEST

START_TEST(another_body_is_refused)
{
	static const unsigned char hash[32] = { 9 };
	struct sale s = given_armed(1, 1);
	struct purchase_req req = req_of(&s, 1, customer + 1);

	ck_bought(&s, 1);
	req.body_hash = hash;
	ck_assert_int_eq(purchase(shop, &req, arena, &bought, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "idempotency_mismatch");
	ck_assert_int_eq(units(&s), 1);
	/* Also where the counter refuses and the order was cancelled. */
	sql("DELETE FROM sale_unit WHERE order_id = '%s'", id_of(1));
	ck_assert_int_eq(
	    counter_give_back(shop->sale_redis, s.ref,
		&(struct counter_unit){ id_of(1), "", 1, 1 }, arena, &e),
	    RC_OK);
	ck_bought(&s, 2);
	ck_assert_int_eq(purchase(shop, &req, arena, &bought, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "idempotency_mismatch");
}
END_TEST

/* The same key used in two sales: one order. */
START_TEST(one_key_in_two_sales_is_one_order)
{
	static const unsigned char hash[32] = { 9 };
	struct sale a = given_armed(2, 1), b = given_armed(2, 1);
	struct purchase_req req = req_of(&b, 1, customer + 1);

	ck_bought(&a, 1);
	req.body_hash = hash;
	ck_assert_int_eq(purchase(shop, &req, arena, &bought, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "idempotency_mismatch");
	ck_assert_int_eq(units(&b), 0);
	ck_assert_int_eq(state_of(&b).left, 2);
}
END_TEST

/* ---- two at once */

enum { ROUNDS = 1000 };

/* One of two processes that buy with the same keys at the same moments.
 */
static _Noreturn void
twin(const struct sale *s, int start)
{
	struct shop *mine = shop_another(server.url);
	struct arena *local = arena_new();
	char go;

	mine->sold_out = sold_out_new();
	for (int i = 1; i <= ROUNDS; i++) {
		struct purchase_req req = req_of(s, i, customer + i % 10);
		struct purchase p;
		char id[33];

		(void)snprintf(id, sizeof id, "%08llx%024d",
		    (unsigned long long)getppid(), i);
		req.id = id;
		if (read(start, &go, 1) != 1)
			_exit(2);
		if (purchase(mine, &req, local, &p, &e) != RC_OK ||
		    strcmp(p.order_id, id) != 0) {
			fprintf(stderr, "%d: %s: %s\n", i, e.code, e.msg);
			_exit(1);
		}
		arena_reset(local);
	}
	_exit(0);
}

START_TEST(two_with_one_key_a_thousand_times)
{
	struct sale s = given_armed(ROUNDS, 1000);
	int64_t epoch = state_of(&s).epoch;
	int start[2][2];
	pid_t pid[2];

	for (int k = 0; k < 2; k++) {
		ck_assert_int_eq(pipe(start[k]), 0);
		pid[k] = fork();
		if (pid[k] == 0)
			twin(&s, start[k][0]);
	}
	for (int i = 0; i < ROUNDS; i++) {
		for (int k = 0; k < 2; k++)
			ck_assert_int_eq(write(start[k][1], "", 1), 1);
	}
	for (int k = 0; k < 2; k++) {
		int status;

		ck_assert_int_eq(waitpid(pid[k], &status, 0), pid[k]);
		ck_assert_int_eq(status, 0);
	}
	check_whole(&s, ROUNDS);
	ck_assert_int_eq(state_of(&s).epoch, epoch); /* never disarmed */
	ck_assert_int_eq(state_of(&s).left, 0);
}
END_TEST

/* ---- stopped between the two steps */

static bool
insert(const struct sale *s, int id, const struct counter_hold *h)
{
	struct sale_order o = { .id = id_of(id),
		.buyer = arena_printf(arena, "%lld", (long long)customer + id),
		.email = "",
		.token = "",
		.customer_id = customer + id,
		.sale_id = s->sale_id,
		.product_id = s->product_id,
		.variant_id = s->variant_id,
		.epoch = h->epoch,
		.unit = h->unit,
		.slot = h->slot };
	bool placed = false;

	ck_assert_msg(order_insert_sale(shop, &o, deadline_in(5000), arena,
			  &placed, &e) == RC_OK,
	    "%s: %s", e.code, e.msg);
	return placed;
}

static struct counter_hold
hold_for(const struct sale *s, int id)
{
	return hold(s, id_of(id),
	    arena_printf(arena, "%lld", (long long)customer + id));
}

static void
reconciler_gives_back(const struct sale *s, int id, int unit)
{
	ck_assert_int_eq(
	    counter_give_back(shop->sale_redis, s->ref,
		&(struct counter_unit){ id_of(id), "", unit, 1 }, arena, &e),
	    RC_OK);
}

START_TEST(stopped_before_the_insert_and_the_other_is_first)
{
	struct sale s = given_armed(2, 1);
	struct counter_hold h = hold_for(&s, 1);

	reconciler_gives_back(&s, 1, h.unit);
	ck_bought(&s, 2);
	ck_assert_int_eq(unit_of(2), h.unit);
	ck_assert(!insert(&s, 1, &h)); /* continued */
	ck_bought(&s, 1);              /* another one */
	ck_assert_int_eq(unit_of(1), 2);
	ck_refused(&s, 3, "sold_out");
	check_whole(&s, 2);
}
END_TEST

START_TEST(stopped_before_the_insert_and_is_first_after_all)
{
	struct sale s = given_armed(2, 1);
	struct counter_hold h = hold_for(&s, 1);
	int64_t epoch = state_of(&s).epoch;

	reconciler_gives_back(&s, 1, h.unit);
	ck_assert(insert(&s, 1, &h));
	/* The counter hands the number out again; PostgreSQL knows
	 * better. */
	ck_bought(&s, 2);
	ck_assert_int_eq(unit_of(1), 1);
	ck_assert_int_eq(unit_of(2), 2);
	ck_refused(&s, 3, "sold_out");
	check_whole(&s, 2);
	ck_assert_int_eq(state_of(&s).epoch, epoch);
}
END_TEST

/* ---- epochs */

START_TEST(an_old_epoch_places_nothing)
{
	struct sale s = given_armed(2, 1);
	struct counter_hold h = hold_for(&s, 1);

	ck_assert_int_eq(
	    counter_disarm(shop->sale_redis, s.ref, h.epoch, arena, &e), RC_OK);
	arm(&s);
	ck_assert(!insert(&s, 1, &h));
	ck_assert_int_eq(units(&s), 0);
	ck_bought(&s, 1);
	check_whole(&s, 1);
}
END_TEST

START_TEST(a_counter_of_an_old_epoch_is_disarmed_and_armed_anew)
{
	struct sale s = given_armed(2, 1);
	int64_t epoch = state_of(&s).epoch;

	sql("UPDATE sale_item SET epoch = epoch + 1000, armed_at = NULL"
	    " WHERE id = %lld",
	    (long long)s.item_id);
	memset(shop->arming, 0, sizeof shop->arming);
	ck_bought(&s, 1);
	ck_assert_int_gt(state_of(&s).epoch, epoch + 1000);
	check_whole(&s, 1);
}
END_TEST

START_TEST(while_another_arms_it_is_503)
{
	struct sale s = given_armed(2, 1);

	ck_assert_int_eq(counter_disarm(shop->sale_redis, s.ref,
			     state_of(&s).epoch, arena, &e),
	    RC_OK);
	memset(shop->arming, 0, sizeof shop->arming);
	ck_assert_int_eq(buy(&s, 1), RC_RETRY);
	ck_assert_str_eq(e.code, "sale_arming");
	may_arm(&s);
	ck_bought(&s, 1);
	check_whole(&s, 1);
}
END_TEST

START_TEST(a_taken_unit_is_filed_and_another_taken)
{
	struct sale s = given_armed(4, 1);
	int64_t epoch = state_of(&s).epoch;

	given_order(&s, id_of(51), customer + 51, 1, 1);
	given_order(&s, id_of(52), customer + 52, 2, 1);
	ck_bought(&s, 1);
	ck_assert_int_eq(unit_of(1), 3);
	ck_assert_int_eq(state_of(&s).left, 1);
	ck_assert_int_eq(state_of(&s).epoch, epoch); /* never disarmed */
	/* Three that are taken: no more is tried. The hold is not lost.
	 */
	struct sale t = given_armed(9, 1);

	for (int i = 1; i <= 4; i++)
		given_order(&t, id_of(60 + i), customer + 60 + i, i, 1);
	ck_assert_int_eq(buy(&t, 2), RC_RETRY);
	ck_assert_str_eq(e.code, "sale_busy");
	ck_bought(&t, 2);
	ck_assert_int_eq(unit_of(2), 5);
	ck_assert(state_of(&t).armed);
}
END_TEST

/* ---- closed */

START_TEST(an_item_closed_behind_the_counters_back_ends)
{
	struct sale s = given_armed(2, 1);

	sql("UPDATE sale_item SET state = 'closed', epoch = epoch + 10"
	    " WHERE id = %lld",
	    (long long)s.item_id);
	ck_refused(&s, 1, "sale_ended");
	ck_assert_int_eq(units(&s), 0);
	ck_assert(state_of(&s).closed);
	int64_t p = pg_stats(shop->pg).queries;

	ck_refused(&s, 2, "sale_ended");
	ck_assert_int_eq(pg_stats(shop->pg).queries - p, 0);
}
END_TEST

START_TEST(nothing_is_placed_where_the_item_is_not_open)
{
	static const char *const states[] = { "closed", "draft" };
	struct sale s = given_armed(2, 1);
	struct counter_hold h = hold_for(&s, 1);

	sql("UPDATE sale_item SET state = '%s' WHERE id = %lld", states[_i],
	    (long long)s.item_id);
	ck_assert(!insert(&s, 1, &h));
}
END_TEST

START_TEST(nothing_is_placed_beyond_allotment_and_limit)
{
	struct sale s = given_armed(2, 1);
	struct counter_hold h = hold_for(&s, 1);

	h.unit = 3;
	ck_assert(!insert(&s, 1, &h));
	h.unit = 2;
	h.slot = 2;
	ck_assert(!insert(&s, 1, &h));
	h.slot = 1;
	ck_assert(insert(&s, 1, &h));
}
END_TEST

/* ---- an unknown outcome */

START_TEST(a_missed_deadline_leaves_the_hold)
{
	struct sale s = given_armed(2, 1);
	struct shop *rival = shop_another(server.url);
	struct purchase_req req = req_of(&s, 1, customer + 1);

	ck_bought(&s, 3); /* what is prepared and known */
	/* Somebody has inserted that unit and not committed. */
	ck_assert_int_eq(pg_begin(rival->pg, &e), RC_OK);
	ck_assert_int_eq(pg_run(rival->pg,
			     arena_printf(arena,
				 "INSERT INTO sale_unit (item_id, "
				 "unit) VALUES (%lld, 2)",
				 (long long)s.item_id),
			     5000, &e),
	    RC_OK);
	req.deadline = deadline_in(300);
	ck_assert_int_eq(purchase(shop, &req, arena, &bought, &e), RC_RETRY);
	ck_assert_str_eq(e.code, "pg_timeout");
	ck_assert(hold_for(&s, 1).again);
	/* It was not cancelled: it goes on when the other one ends. */
	pg_rollback(rival->pg);
	for (int i = 0; i < 250 && units(&s) < 2; i++)
		clock_sleep_ms(20);
	ck_assert_int_eq(unit_of(1), 2);
	ck_bought(&s, 1);
	ck_assert(bought.again);
	check_whole(&s, 2);
	shop_end(rival);
}
END_TEST

START_TEST(after_the_deadline_nothing_is_sent)
{
	struct sale s = given_armed(2, 1);
	struct sale_order o = { .id = id_of(1),
		.buyer = "1",
		.email = "",
		.token = "",
		.customer_id = customer,
		.sale_id = s.sale_id,
		.product_id = s.product_id,
		.variant_id = s.variant_id,
		.epoch = state_of(&s).epoch,
		.unit = 1,
		.slot = 1 };
	int64_t p = pg_stats(shop->pg).queries;
	bool placed = true;

	ck_assert_int_eq(order_insert_sale(
			     shop, &o, clock_mono_ms() - 1, arena, &placed, &e),
	    RC_RETRY);
	ck_assert_str_eq(e.code, "sale_busy");
	ck_assert_int_eq(pg_stats(shop->pg).queries - p, 0);
}
END_TEST

START_TEST(redis_away_is_503)
{
	struct sale s = given_armed(2, 1);

	redis_server_kill(&server);
	ck_assert_int_eq(buy(&s, 1), RC_RETRY);
	ck_assert_int_eq(units(&s), 0);
}
END_TEST

/* ---- known to be sold out */

static enum rc
buy_without_key(const struct sale *s, int id)
{
	struct purchase_req req = req_of(s, id, customer + id);

	req.keyed = false;
	return purchase(shop, &req, arena, &bought, &e);
}

START_TEST(what_is_known_to_be_sold_out_asks_nobody)
{
	struct sale s = given_armed(1, 1);

	sold_out_trust(shop->sold_out, true);
	ck_bought(&s, 1);
	int64_t r = redis_stats(shop->redis).commands;
	int64_t p = pg_stats(shop->pg).queries;

	ck_assert_int_eq(buy_without_key(&s, 2), RC_REFUSED);
	ck_assert_str_eq(e.code, "sold_out");
	ck_assert_int_eq(redis_stats(shop->redis).commands - r, 0);
	ck_assert_int_eq(pg_stats(shop->pg).queries - p, 0);
	/* With a key it is not used. */
	ck_refused(&s, 2, "sold_out");
	ck_assert_int_eq(redis_stats(shop->redis).commands - r, 1);
	/* A unit came back. */
	sql("DELETE FROM sale_unit WHERE order_id = '%s'", id_of(1));
	reconciler_gives_back(&s, 1, 1);
	sold_out_message(shop->sold_out,
	    span_of(arena_printf(arena, "%lld:%lld", (long long)s.sale_id,
		(long long)s.variant_id)));
	ck_assert_int_eq(buy_without_key(&s, 2), RC_OK);
}
END_TEST

static void
forget_by_message(const struct sale *s)
{
	(void)s;
	sold_out_message(shop->sold_out, span_of("what is this"));
}

static void
forget_by_loss(const struct sale *s)
{
	(void)s;
	sold_out_forget(shop->sold_out);
}

static void
forget_by_distrust(const struct sale *s)
{
	(void)s;
	sold_out_trust(shop->sold_out, false);
}

/* Those who ask meanwhile do not keep it known. */
static void
forget_by_time(const struct sale *s)
{
	clock_sleep_ms(600);
	ck_assert_int_eq(buy_without_key(s, 2), RC_REFUSED);
	clock_sleep_ms(410);
}

static void (*const forgetting[])(const struct sale *s) = { forget_by_message, forget_by_loss,
	forget_by_distrust, forget_by_time };

START_TEST(it_is_forgotten)
{
	struct sale s = given_armed(1, 1);

	sold_out_trust(shop->sold_out, true);
	ck_bought(&s, 1);
	forgetting[_i](&s);
	int64_t r = redis_stats(shop->redis).commands;

	ck_assert_int_eq(buy_without_key(&s, 2), RC_REFUSED);
	ck_assert_int_eq(redis_stats(shop->redis).commands - r, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("purchase");
	TCase *tc = tcase_create("purchase");
	SRunner *sr;

	buying_migrate();
	tcase_add_checked_fixture(tc, set_up, buying_tear_down);
	tcase_add_test(tc, an_order_is_written_with_all_that_follows);
	tcase_add_test(tc, tax_is_added_to_the_price);
	tcase_add_loop_test(tc, exactly_the_allotment_is_sold, 1, 4);
	tcase_add_test(tc, one_round_trip_to_each);
	tcase_add_test(tc, the_limit_counts_orders_not_requests);
	tcase_add_test(tc, the_limit_is_postgresqls_where_redis_forgot);
	tcase_add_test(tc, the_variant_is_found_or_asked_for);
	tcase_add_test(tc, a_customer_who_is_gone_buys_nothing);
	tcase_add_test(
	    tc, a_repeat_gets_the_first_answer_whatever_came_between);
	tcase_add_test(tc, a_repeat_of_a_cancelled_order_takes_no_unit);
	tcase_add_test(tc, another_body_is_refused);
	tcase_add_test(tc, one_key_in_two_sales_is_one_order);
	tcase_add_test(tc, two_with_one_key_a_thousand_times);
	tcase_add_test(tc, stopped_before_the_insert_and_the_other_is_first);
	tcase_add_test(tc, stopped_before_the_insert_and_is_first_after_all);
	tcase_add_test(tc, an_old_epoch_places_nothing);
	tcase_add_test(
	    tc, a_counter_of_an_old_epoch_is_disarmed_and_armed_anew);
	tcase_add_test(tc, while_another_arms_it_is_503);
	tcase_add_test(tc, a_taken_unit_is_filed_and_another_taken);
	tcase_add_test(tc, an_item_closed_behind_the_counters_back_ends);
	tcase_add_loop_test(
	    tc, nothing_is_placed_where_the_item_is_not_open, 0, 2);
	tcase_add_test(tc, nothing_is_placed_beyond_allotment_and_limit);
	tcase_add_test(tc, a_missed_deadline_leaves_the_hold);
	tcase_add_test(tc, after_the_deadline_nothing_is_sent);
	tcase_add_test(tc, redis_away_is_503);
	tcase_add_test(tc, what_is_known_to_be_sold_out_asks_nobody);
	tcase_add_loop_test(tc, it_is_forgotten, 0, 4);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
