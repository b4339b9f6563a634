/* A running sale with PostgreSQL and Redis: sale_open.c, reconcile.c,
 * sale_check.c. Run by sale_run.sh, which makes the schema. */
#include "shop/sale_run.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/strbuf.h"
#include "shop/counter_int.h"
#include "shop/ids.h"
#include "shop/order_life.h"
#include "shop/purchase.h"
#include "shop/sale.h"
#include "shop/settings.h"
#include "shop/shop.h"
#include "store/pg.h"
#include "store/redis.h"

extern char **environ;

static struct arena *arena;
static struct conf *conf;
static struct shop *shop, *other;
static struct err e;
static int64_t product, variant, sale_id;

enum { GRACE_MS = 300 };

/* ---- what is given */

static struct shop *
new_shop(void)
{
	struct shop *s = NULL;

	ck_assert_msg(
	    shop_open(conf, "test", NULL, &s, &e) == RC_OK, "%s", e.msg);
	return s;
}

static void sql(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int64_t number(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

static void
sql(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const char *text = arena_vprintf(arena, fmt, ap);

	va_end(ap);
	ck_assert_msg(
	    pg_run(shop->pg, text, 10000, &e) == RC_OK, "%s: %s", text, e.msg);
}

static int64_t
number(const char *fmt, ...)
{
	struct pg *once =
	    pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
		.connect_ms = 3000,
		.query_ms = 3000 });
	struct pg_rows rows;
	va_list ap;

	va_start(ap, fmt);
	const char *text = arena_vprintf(arena, fmt, ap);

	va_end(ap);

	struct pg_stmt st = { "number", text, 0 };

	ck_assert_msg(
	    pg_exec(once, PG_PRIMARY, &st, NULL, arena, &rows, &e) == RC_OK,
	    "%s: %s", text, e.msg);
	pg_free(once);
	return rows.n == 0 ? -1 : pg_int(&rows, 0, 0);
}

static int64_t
stock(int64_t id)
{
	return number(
	    "SELECT stock FROM variant WHERE id = %lld", (long long)id);
}

/* A word to Redis about a key of the counter: part ":free" and the like. */
#define REDIS(part, command, ...)                                              \
	do {                                                                   \
		struct redis_reply reply_;                                     \
		const char *key_ = arena_printf(arena, "stock:{%lld:%lld}%s",  \
		    (long long)sale_id, (long long)variant, part);             \
		ck_assert_msg(                                                 \
		    redis_callv(shop->sale_redis, key_, arena, &reply_, &e,    \
			command, key_ __VA_OPT__(, ) __VA_ARGS__,              \
			NULL) == RC_OK,                                        \
		    "%s", e.msg);                                              \
	} while (0)

static void
redis_empty(void)
{
	struct redis_reply r;

	ck_assert_int_eq(redis_callv(shop->sale_redis, NULL, arena, &r, &e,
			     "FLUSHALL", NULL),
	    RC_OK);
}

/* A product with one variant of that stock. */
static int64_t
given_variant(int64_t in_stock)
{
	static int n;

	product = number("INSERT INTO product (handle, title) VALUES"
			 " ('p-%d-%d', 'Mug') RETURNING id",
	    (int)getpid(), ++n);
	variant = number("INSERT INTO variant (product_id, options, price,"
			 " stock) VALUES (%lld, '{}', 500, %lld) RETURNING id",
	    (long long)product, (long long)in_stock);
	return variant;
}

static int64_t
given_sale(int64_t allotment, int64_t limit)
{
	struct sale_made made;
	struct sale_req req = { .end = "+1h",
		.item = { .product_id = product,
		    .allotment = allotment,
		    .limit = limit,
		    .price = -1 } };

	ck_assert_msg(
	    sale_create(shop, &req, arena, &made, &e) == RC_OK, "%s", e.msg);
	return sale_id = made.sale_id;
}

static void
given_open(int64_t in_stock, int64_t allotment, int64_t limit)
{
	given_variant(in_stock);
	given_sale(allotment, limit);
	ck_assert_msg(
	    sale_open(shop, sale_id, arena, &e) == RC_OK, "%s", e.msg);
}

static struct counter_ref
ref(void)
{
	return (struct counter_ref){ sale_id, variant };
}

static struct counter_state
state(void)
{
	struct counter_state s;

	ck_assert_msg(
	    counter_state(shop->sale_redis, ref(), arena, &s, &e) == RC_OK,
	    "%s", e.msg);
	return s;
}

static int64_t
customer(int n)
{
	return number("INSERT INTO customer (email) VALUES ('c%d@x.test')"
		      " ON CONFLICT (lower(email)) DO UPDATE SET name = ''"
		      " RETURNING id",
	    n);
}

/* The order's id, or NULL and the reason in e. */
static const char *
buy(int who)
{
	char *id = arena_alloc(arena, EFFECT_ID_CHARS + 1);
	struct purchase done;

	id_random(id);

	struct purchase_req req = { .id = id,
		.customer_id = customer(who),
		.email = "c@x.test",
		.sale_id = sale_id,
		.product_id = product,
		.token = "tok_ok",
		.deadline = deadline_in(3000) };

	return purchase(shop, &req, arena, &done, &e) == RC_OK ? id : NULL;
}

static const char *
bought(int who)
{
	const char *id = buy(who);

	ck_assert_msg(id != NULL, "%s", e.msg);
	return id;
}

/* A hold, as one whose purchase goes no further. */
static struct sale_order
held(int who)
{
	char *id = arena_alloc(arena, EFFECT_ID_CHARS + 1);
	char *buyer = arena_alloc(arena, BUYER_CHARS + 1);
	int64_t c = customer(who);
	struct counter_hold h;

	id_random(id);
	buyer_name(c, buyer);
	ck_assert_msg(counter_hold(shop->sale_redis, ref(), id, buyer, arena,
			  &h, &e) == RC_OK,
	    "%s", e.msg);
	ck_assert_int_eq(h.answer, CA_HELD);
	return (struct sale_order){ .id = id,
		.buyer = buyer,
		.email = "c@x.test",
		.token = "",
		.customer_id = c,
		.sale_id = sale_id,
		.product_id = product,
		.variant_id = variant,
		.epoch = h.epoch,
		.stock = h.stock,
		.unit = h.unit,
		.slot = h.slot };
}

static bool
place(struct shop *s, const struct sale_order *o)
{
	bool placed = false;

	ck_assert_msg(order_insert_sale(
			  s, o, deadline_in(5000), arena, &placed, &e) == RC_OK,
	    "%s", e.msg);
	return placed;
}

static void
cancel_begin(struct shop *s, const char *id, struct order_after *after)
{
	struct order_row row;

	ck_assert_msg(pg_begin(s->pg, &e) == RC_OK, "%s", e.msg);
	ck_assert_msg(order_lock(s, id, arena, &row, &e) == RC_OK, "%s", e.msg);
	ck_assert_msg(order_move(s, &row, OS_CANCELLED, "by_buyer", arena,
			  after, &e) == RC_OK,
	    "%s", e.msg);
}

static void
cancel(struct shop *s, const char *id)
{
	struct order_after after;

	cancel_begin(s, id, &after);
	ck_assert_msg(pg_commit(s->pg, &e) == RC_OK, "%s", e.msg);
	order_moved(s, &after, arena);
}

/* In a process of its own, with a shop of its own. */
static pid_t
meanwhile(int (*what)(struct shop *s, const void *arg), const void *arg)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		shop = new_shop();
		_exit(what(shop, arg));
	}
	return pid;
}

static int
ended(pid_t pid)
{
	int status = -1;
	pid_t got = 0;

	for (int i = 0; i < 600 && got == 0; i++) {
		got = waitpid(pid, &status, WNOHANG);
		if (got == 0)
			clock_sleep_ms(50);
	}
	if (got == 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
		ck_abort_msg("it does not end");
	}
	ck_assert_msg(WIFEXITED(status), "it crashed");
	return WEXITSTATUS(status);
}

/* n connections wait for a lock. */
static void
until_waiting(int n)
{
	for (int i = 0; i < 200; i++) {
		if (number("SELECT count(*) FROM pg_stat_activity WHERE"
			   " wait_event_type = 'Lock' AND datname ="
			   " current_database()") == n)
			return;
		clock_sleep_ms(25);
	}
	ck_abort_msg("nobody waits");
}

static int
do_close(struct shop *s, const void *arg)
{
	(void)arg;
	return (int)sale_close(s, sale_id, arena, &e);
}

static int
do_cancel(struct shop *s, const void *arg)
{
	cancel(s, arg);
	return 0;
}

static int
do_place(struct shop *s, const void *arg)
{
	return place(s, arg) ? 1 : 0;
}

static int64_t
live(void)
{
	return number("SELECT count(*) FROM sale_unit u JOIN sale_item i"
		      " ON i.id = u.item_id WHERE i.sale_id = %lld"
		      " AND u.order_id IS NOT NULL",
	    (long long)sale_id);
}

static int64_t
claimed(void)
{
	return number("SELECT count(*) FROM sale_unit u JOIN sale_item i"
		      " ON i.id = u.item_id WHERE i.sale_id = %lld"
		      " AND u.order_id IS NULL",
	    (long long)sale_id);
}

static const char *
item_state(void)
{
	switch (number("SELECT position(left(state, 1) IN 'doc') FROM"
		       " sale_item WHERE sale_id = %lld AND variant_id = %lld",
	    (long long)sale_id, (long long)variant)) {
	case 1:
		return "draft";
	case 2:
		return "open";
	default:
		return "closed";
	}
}

static void
set_up(void)
{
	arena = arena_new();
	ck_assert_msg(
	    conf_load(settings_rows, NULL, environ, &conf, NULL, &e) == RC_OK,
	    "%s", e.msg);
	shop = new_shop();
	other = new_shop();
	redis_empty();
	/* Sales of other tests are out of the way. */
	sql("UPDATE sale_item SET state = 'draft' WHERE state <> 'draft'");
}

static void
tear_down(void)
{
	shop_close(other);
	shop_close(shop);
	conf_free(conf);
	arena_free(arena);
}

/* ---- opening */

START_TEST(opening_takes_the_allotment_once_and_arms)
{
	given_open(10, 6, 1);
	ck_assert_int_eq(stock(variant), 4);
	ck_assert(state().armed);
	ck_assert_int_eq(state().left, 6);
	ck_assert_int_eq(sale_open(shop, sale_id, arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "already_open");
	ck_assert_int_eq(stock(variant), 4);
}
END_TEST

START_TEST(opening_again_arms_what_is_not_armed)
{
	given_open(10, 6, 1);
	redis_empty();
	clock_sleep_ms(1100); /* it was armed within the last second */
	ck_assert_int_eq(sale_open(shop, sale_id, arena, &e), RC_OK);
	ck_assert(state().armed);
	ck_assert_int_eq(stock(variant), 4);
}
END_TEST

/* The shop's database was made anew, its Redis was not. */
START_TEST(a_counter_of_another_shop_is_not_taken_for_ours)
{
	struct redis_reply r;

	given_open(10, 6, 1);
	sql("UPDATE sale_item SET state = 'draft', epoch = 0, armed_at = NULL"
	    " WHERE sale_id = %lld",
	    (long long)sale_id);
	ck_assert_int_eq(
	    redis_callv(shop->sale_redis, NULL, arena, &r, &e, "HSET",
		arena_printf(arena, "stock:{%lld:%lld}", (long long)sale_id,
		    (long long)variant),
		"allotment", "99", NULL),
	    RC_OK);
	sql("UPDATE variant SET stock = 10 WHERE id = %lld",
	    (long long)variant);
	clock_sleep_ms(150); /* one arming in 100 ms */
	ck_assert_msg(
	    sale_open(shop, sale_id, arena, &e) == RC_OK, "%s", e.msg);
	ck_assert_int_eq(state().left, 6);
	ck_assert_int_eq(state().epoch,
	    number("SELECT epoch FROM sale_item WHERE sale_id = %lld",
		(long long)sale_id));
}
END_TEST

START_TEST(all_items_open_or_none)
{
	int64_t rich = given_variant(10);
	int64_t poor;
	struct sale_made made;
	struct sale_item_req req = { .allotment = 5, .price = -1 };

	given_sale(6, 1);
	poor = given_variant(4);
	req.product_id = product;
	ck_assert_int_eq(
	    sale_add(shop, sale_id, &req, arena, &made, &e), RC_OK);
	ck_assert_int_eq(sale_open(shop, sale_id, arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "not_enough_stock");
	ck_assert_ptr_nonnull(strstr(e.msg, "has 4 in stock"));
	ck_assert_int_eq(stock(rich), 10);
	ck_assert_int_eq(stock(poor), 4);
	ck_assert_str_eq(item_state(), "draft");
	sql("UPDATE variant SET stock = 5 WHERE id = %lld", (long long)poor);
	ck_assert_int_eq(sale_open(shop, sale_id, arena, &e), RC_OK);
	ck_assert_int_eq(stock(rich), 4);
	ck_assert_int_eq(stock(poor), 0);
	ck_assert_int_eq(state().left, 5);
	variant = rich;
	ck_assert_int_eq(state().left, 6);
}
END_TEST

START_TEST(an_open_sale_takes_a_further_item)
{
	struct sale_made made;
	struct sale_item_req req = { .allotment = 2, .price = -1 };

	given_open(10, 6, 1);

	int64_t epoch = state().epoch, first = variant;

	given_variant(3);
	req.product_id = product;
	ck_assert_int_eq(
	    sale_add(shop, sale_id, &req, arena, &made, &e), RC_OK);
	ck_assert_int_eq(sale_open(shop, sale_id, arena, &e), RC_OK);
	ck_assert_int_eq(stock(variant), 1);
	ck_assert_int_eq(state().left, 2);
	ck_assert_int_eq(stock(first), 4);
	variant = first;
	ck_assert_int_eq(state().epoch, epoch); /* left alone */
}
END_TEST

START_TEST(a_variant_is_in_one_open_sale)
{
	given_open(10, 3, 1);

	int64_t first = sale_id;

	given_sale(3, 1);
	ck_assert_int_eq(sale_open(shop, sale_id, arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "variant_in_open_sale");
	ck_assert_int_eq(stock(variant), 7);
	ck_assert_int_eq(sale_close(shop, first, arena, &e), RC_OK);
	ck_assert_int_eq(sale_open(shop, sale_id, arena, &e), RC_OK);
}
END_TEST

START_TEST(what_cannot_be_opened)
{
	ck_assert_int_eq(
	    sale_open(shop, INT64_C(999999999), arena, &e), RC_NONE);
	given_variant(10);
	given_sale(3, 1);
	sql("UPDATE sale SET starts_at = now() - interval '2 h',"
	    " ends_at = now() - interval '1 s' WHERE id = %lld",
	    (long long)sale_id);
	ck_assert_int_eq(sale_open(shop, sale_id, arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "sale_ended");
	ck_assert_int_eq(sale_close(shop, sale_id, arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "not_open");
	ck_assert_int_eq(stock(variant), 10);
}
END_TEST

START_TEST(opening_and_closing_write_what_is_to_be_forgotten)
{
	given_variant(10);
	given_sale(3, 1);

	for (int i = 0; i < 2; i++) {
		int64_t before = number("SELECT coalesce(max(id), 0) FROM"
					" invalidation");
		int64_t version =
		    number("SELECT version FROM product WHERE id = %lld",
			(long long)product);

		ck_assert_int_eq(i == 0 ? sale_open(shop, sale_id, arena, &e)
					: sale_close(shop, sale_id, arena, &e),
		    RC_OK);
		ck_assert_int_eq(
		    number("SELECT count(DISTINCT k) FROM invalidation,"
			   " unnest(keys || edge_paths) k WHERE id > %lld"
			   " AND k IN ('product:%lld', 'sale:%lld',"
			   " 'page:/products/%lld', 'page:/flash-sale/%lld',"
			   " '/api/products/%lld/stock', '/flash-sale/%lld')",
			(long long)before, (long long)product,
			(long long)sale_id, (long long)product,
			(long long)sale_id, (long long)product,
			(long long)sale_id),
		    6);
		ck_assert_int_gt(
		    number("SELECT version FROM product WHERE id = %lld",
			(long long)product),
		    version);
	}
}
END_TEST

/* ---- closing */

START_TEST(closing_gives_back_what_is_unsold_once)
{
	given_open(10, 6, 1);
	bought(1);
	bought(2);
	ck_assert_int_eq(sale_close(shop, sale_id, arena, &e), RC_OK);
	ck_assert_int_eq(stock(variant), 8);
	ck_assert_int_eq(live(), 2);
	ck_assert_int_eq(claimed(), 4);
	ck_assert(state().closed);
	ck_assert_int_eq(sale_close(shop, sale_id, arena, &e), RC_OK);
	ck_assert_int_eq(stock(variant), 8);
	ck_assert_ptr_null(buy(3));
	ck_assert_str_eq(e.code, "sale_ended");
	ck_assert_int_eq(sale_open(shop, sale_id, arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "sale_ended");
}
END_TEST

START_TEST(closing_waits_for_a_purchase_that_is_not_committed)
{
	struct sale_order mine, lost;
	pid_t closer;

	given_open(10, 6, 1);
	mine = held(1);
	lost = held(2);
	ck_assert_int_eq(pg_begin(other->pg, &e), RC_OK);
	ck_assert(place(other, &mine));
	closer = meanwhile(do_close, NULL);
	until_waiting(1);
	ck_assert_str_eq(item_state(), "open");
	ck_assert_int_eq(pg_commit(other->pg, &e), RC_OK);
	ck_assert_int_eq(ended(closer), RC_OK);
	ck_assert_int_eq(live(), 1);
	ck_assert_int_eq(claimed(), 5);
	ck_assert_int_eq(stock(variant), 9);
	ck_assert(!place(shop, &lost)); /* it is closed now */
}
END_TEST

START_TEST(closing_takes_the_unit_of_a_purchase_that_is_undone)
{
	struct sale_order mine;
	pid_t closer;

	given_open(10, 6, 1);
	mine = held(1);
	ck_assert_int_eq(pg_begin(other->pg, &e), RC_OK);
	ck_assert(place(other, &mine));
	closer = meanwhile(do_close, NULL);
	until_waiting(1);
	pg_rollback(other->pg);
	ck_assert_int_eq(ended(closer), RC_OK);
	ck_assert_int_eq(claimed(), 6);
	ck_assert_int_eq(stock(variant), 10);
}
END_TEST

/*
 * Its snapshot is from before the close and sees the item open; its insert
 * comes after it. A trigger holds it in between.
 */
START_TEST(a_purchase_stopped_in_its_statement_gets_nothing_after_the_close)
{
	struct sale_order mine;
	pid_t buyer;

	given_open(10, 6, 1);
	mine = held(1);
	sql("CREATE OR REPLACE FUNCTION gate() RETURNS trigger LANGUAGE"
	    " plpgsql AS $$ BEGIN IF NEW.order_id IS NOT NULL THEN"
	    " PERFORM pg_advisory_xact_lock_shared(42); END IF;"
	    " RETURN NEW; END $$;"
	    "CREATE TRIGGER gate BEFORE INSERT ON sale_unit FOR EACH ROW"
	    " EXECUTE FUNCTION gate()");
	ck_assert_int_eq(
	    pg_run(other->pg, "SELECT pg_advisory_lock(42)", 3000, &e), RC_OK);
	buyer = meanwhile(do_place, &mine);
	until_waiting(1);
	ck_assert_int_eq(sale_close(shop, sale_id, arena, &e), RC_OK);
	ck_assert_int_eq(stock(variant), 10);
	ck_assert_int_eq(
	    pg_run(other->pg, "SELECT pg_advisory_unlock(42)", 3000, &e),
	    RC_OK);
	ck_assert_int_eq(ended(buyer), 0); /* not placed */
	sql("DROP TRIGGER gate ON sale_unit");
	ck_assert_int_eq(live(), 0);
	ck_assert_int_eq(claimed(), 6);
	ck_assert_int_eq(stock(variant), 10);
}
END_TEST

START_TEST(a_purchase_with_an_old_epoch_inserts_nothing)
{
	struct sale_order mine;

	given_open(10, 6, 1);
	mine = held(1);
	mine.epoch--;
	ck_assert(!place(shop, &mine));
	ck_assert_int_eq(live(), 0);
}
END_TEST

/* Before, during (on either side of it) and after: every unit counts once. */
START_TEST(orders_cancelled_around_the_close_count_once)
{
	const char *before, *first, *second, *after;
	struct order_after todo;
	struct sale_order mine;
	pid_t closer, canceller;

	given_open(10, 6, 1);
	before = bought(1);
	first = bought(2);
	second = bought(3);
	after = bought(4);
	cancel(shop, before);
	mine = held(5);
	/* One whose cancellation has seen the item open; */
	cancel_begin(other, first, &todo);
	closer = meanwhile(do_close, NULL);
	until_waiting(1); /* the close waits for it */
	ck_assert_int_eq(pg_commit(other->pg, &e), RC_OK);
	order_moved(other, &todo, arena);
	ck_assert_int_eq(ended(closer), RC_OK);
	ck_assert_int_eq(live(), 2);
	ck_assert_int_eq(claimed(), 4);
	ck_assert_int_eq(stock(variant), 8);
	ck_assert(!place(shop, &mine));
	cancel(shop, second);
	ck_assert_int_eq(stock(variant), 9);
	/* and one that comes while a close holds the item */
	ck_assert_int_eq(pg_begin(other->pg, &e), RC_OK);
	ck_assert_int_eq(pg_run(other->pg,
			     "SELECT 1 FROM sale_item WHERE state = 'closed'"
			     " FOR UPDATE",
			     3000, &e),
	    RC_OK);
	canceller = meanwhile(do_cancel, after);
	until_waiting(1);
	ck_assert_int_eq(pg_commit(other->pg, &e), RC_OK);
	ck_assert_int_eq(ended(canceller), 0);
	ck_assert_int_eq(stock(variant), 10);
	ck_assert_int_eq(live(), 0);
	ck_assert_int_eq(claimed(), 6);
}
END_TEST

START_TEST(a_cancellation_under_a_close_waits_and_goes_to_the_stock)
{
	struct sale_order mine;
	const char *order;
	pid_t closer, canceller;

	given_open(10, 6, 1);
	order = bought(1);
	mine = held(2);
	/* The close holds the item and waits for this one. */
	ck_assert_int_eq(pg_begin(other->pg, &e), RC_OK);
	ck_assert(place(other, &mine));
	closer = meanwhile(do_close, NULL);
	until_waiting(1);
	canceller = meanwhile(do_cancel, order);
	until_waiting(2);
	ck_assert_int_eq(pg_commit(other->pg, &e), RC_OK);
	ck_assert_int_eq(ended(closer), RC_OK);
	ck_assert_int_eq(ended(canceller), 0);
	ck_assert_int_eq(live(), 1);
	ck_assert_int_eq(stock(variant), 9);
}
END_TEST

/* ---- reconciling */

static void
turn(struct reconciler *rec)
{
	ck_assert_msg(
	    reconciler_turn(rec, arena, &e) == RC_OK, "%s: %s", e.code, e.msg);
}

START_TEST(an_abandoned_hold_goes_back_and_an_order_keeps_its_own)
{
	struct reconciler *rec = reconciler_new(shop);
	struct sale_order late;

	given_open(10, 6, 1);
	bought(1);
	late = held(2);
	turn(rec);
	ck_assert_int_eq(state().left, 4); /* too young */
	clock_sleep_ms(GRACE_MS + 50);
	turn(rec);
	ck_assert_int_eq(state().left, 5);
	ck_assert_int_eq(state().holds, 1);
	turn(rec);
	ck_assert_int_eq(state().left, 5);
	/* It comes all the same, first: it is right, and stays right. */
	ck_assert(place(shop, &late));
	turn(rec);
	clock_sleep_ms(GRACE_MS + 50);
	turn(rec);
	ck_assert_int_eq(live(), 2);
	ck_assert_int_eq(state().left, 4);
	reconciler_free(rec);
}
END_TEST

START_TEST(a_lost_number_goes_back_at_the_second_look)
{
	struct reconciler *rec = reconciler_new(shop);
	struct sale_order lost;

	given_open(10, 6, 1);
	lost = held(1);
	REDIS(":holds", "HDEL", lost.id);
	REDIS(":units", "HDEL", "1");
	REDIS(":open", "ZREM", lost.id);
	turn(rec);
	ck_assert_int_eq(state().left, 5);
	clock_sleep_ms(GRACE_MS / 2);
	turn(rec);
	ck_assert_int_eq(state().left, 5); /* too early */
	clock_sleep_ms(GRACE_MS);
	turn(rec);
	ck_assert_int_eq(state().left, 6);
	turn(rec);
	ck_assert_int_eq(state().left, 6);
	reconciler_free(rec);
}
END_TEST

START_TEST(a_unit_that_was_sold_meanwhile_is_not_for_sale)
{
	struct reconciler *rec = reconciler_new(shop);
	const char *id;

	given_open(10, 6, 1);
	id = bought(1);
	/* The counter takes it for free: a hold given back too early. */
	REDIS(":holds", "HDEL", id);
	REDIS(":units", "HDEL", "1");
	REDIS(":open", "ZREM", id);
	REDIS(":free", "ZADD", "1", "1");
	ck_assert_int_eq(state().left, 6);
	turn(rec);
	clock_sleep_ms(GRACE_MS + 50);
	turn(rec);
	ck_assert_int_eq(state().left, 5);
	reconciler_free(rec);
}
END_TEST

START_TEST(a_counter_with_another_epoch_is_disarmed_and_armed)
{
	struct reconciler *rec = reconciler_new(shop);
	int64_t old;

	given_open(10, 6, 1);
	old = state().epoch;
	sql("UPDATE sale_item SET epoch = epoch + 1000,"
	    " armed_at = clock_timestamp() WHERE sale_id = %lld",
	    (long long)sale_id);
	turn(rec); /* somebody arms, or so it looks: only disarmed */
	ck_assert(!state().armed);
	clock_sleep_ms(1100);
	turn(rec);
	ck_assert(state().armed);
	ck_assert_int_gt(state().epoch, old + 1000);
	ck_assert_int_eq(state().left, 6);
	reconciler_free(rec);
}
END_TEST

START_TEST(an_emptied_redis_is_armed_again)
{
	struct reconciler *rec = reconciler_new(shop);

	given_open(10, 6, 2);
	bought(1);
	redis_empty();
	clock_sleep_ms(1100);
	turn(rec);
	ck_assert(state().armed);
	ck_assert_int_eq(state().left, 5);
	reconciler_free(rec);
}
END_TEST

START_TEST(a_sale_closes_by_itself_after_its_end)
{
	struct reconciler *rec = reconciler_new(shop);

	given_open(10, 6, 1);
	bought(1);
	turn(rec);
	ck_assert_str_eq(item_state(), "open");
	sql("UPDATE sale SET starts_at = now() - interval '1 h',"
	    " ends_at = now() - interval '1 ms' WHERE id = %lld",
	    (long long)sale_id);
	turn(rec);
	ck_assert_str_eq(item_state(), "closed");
	ck_assert_int_eq(stock(variant), 9);
	ck_assert(state().closed);
	turn(rec);
	ck_assert_int_eq(stock(variant), 9);
	reconciler_free(rec);
}
END_TEST

START_TEST(a_counter_that_was_not_told_of_the_close_is_told)
{
	struct reconciler *rec = reconciler_new(shop);

	given_open(10, 6, 1);
	ck_assert_int_eq(sale_close(shop, sale_id, arena, &e), RC_OK);
	REDIS("", "HSET", "state", "disarmed", "epoch", "1");
	ck_assert(!state().closed);
	turn(rec);
	ck_assert(state().closed);
	reconciler_free(rec);
}
END_TEST

START_TEST(the_rest_of_the_product_is_kept_up_to_date)
{
	struct reconciler *rec = reconciler_new(shop);

	given_open(10, 6, 1);
	sql("INSERT INTO variant (product_id, options, price, stock)"
	    " VALUES (%lld, '{XL}', 500, 7)",
	    (long long)product);
	ck_assert_int_eq(state().stock, 6);
	turn(rec);
	ck_assert_int_eq(state().stock, 13);
	sql("UPDATE variant SET stock = 2 WHERE product_id = %lld"
	    " AND options = '{XL}'",
	    (long long)product);
	turn(rec);
	ck_assert_int_eq(state().stock, 8);
	reconciler_free(rec);
}
END_TEST

/* ---- checking */

static struct strbuf lines;

static void
line(void *arg, const char *words)
{
	(void)arg;
	strbuf_adds(&lines, words);
	strbuf_addc(&lines, '\n');
}

static int
check(bool repair)
{
	int n = -1;

	strbuf_reset(&lines);
	ck_assert_msg(sale_check(shop, sale_id, repair, line, NULL, &n, arena,
			  &e) == RC_OK,
	    "%s", e.msg);
	return n;
}

static const char *first_order;

static void
lose_redis(void)
{
	redis_empty();
	clock_sleep_ms(1000);
}

static void
other_epoch(void)
{
	sql("UPDATE sale_item SET epoch = epoch + 1, armed_at = NULL"
	    " WHERE sale_id = %lld",
	    (long long)sale_id);
}

static void
lose_number(void)
{
	struct sale_order lost = held(8);

	REDIS(":holds", "HDEL", lost.id);
	REDIS(":units", "HDEL", arena_printf(arena, "%d", lost.unit));
	REDIS(":open", "ZREM", lost.id);
	REDIS(":buyers", "HDEL", lost.buyer);
}

static void
abandon(void)
{
	(void)held(8);
}

static void
unfile(void)
{
	REDIS(":holds", "HDEL", first_order);
	REDIS(":units", "HDEL", "1");
	REDIS(":open", "ZREM", first_order);
	REDIS(":free", "ZADD", "1", "1");
}

static const char *
buyer_of(int who)
{
	return arena_printf(arena, "%lld", (long long)customer(who));
}

static void
count_too_much(void)
{
	REDIS(":buyers", "HSET", buyer_of(1), "1,2");
}

static void
count_a_stranger(void)
{
	REDIS(":buyers", "HSET", buyer_of(9), "1");
}

static void
count_too_little(void)
{
	REDIS(":buyers", "HDEL", buyer_of(1));
}

static void
other_allotment(void)
{
	REDIS("", "HSET", "allotment", "7");
}

static void
die_without_giving_back(void)
{
	sql("UPDATE orders SET status = 'cancelled' WHERE id = '%s'",
	    first_order);
}

static void
lose_unit(void)
{
	sql("DELETE FROM sale_unit WHERE order_id = '%s'", first_order);
}

static void
lose_task(void)
{
	sql("DELETE FROM outbox WHERE type = 'process_payment'"
	    " AND data->>'orderId' = '%s'",
	    first_order);
}

static void
hide_task(void)
{
	sql("UPDATE outbox SET visible_at = 'infinity'"
	    " WHERE type = 'process_payment' AND data->>'orderId' = '%s'",
	    first_order);
}

static void
exceed(void)
{
	sql("UPDATE sale_unit SET slot = 5 WHERE order_id = '%s'", first_order);
}

static void
swap_buyer(void)
{
	sql("UPDATE sale_unit SET buyer = '%s' WHERE order_id = '%s'",
	    buyer_of(7), first_order);
}

static void
over_the_limit(void)
{
	sql("UPDATE orders SET customer_id = (SELECT customer_id FROM orders"
	    " WHERE id = '%s') WHERE sale_item_id = (SELECT sale_item_id FROM"
	    " orders WHERE id = '%s')",
	    first_order, first_order);
}

static void
other_line(void)
{
	sql("UPDATE order_line SET quantity = 2 WHERE order_id = '%s'",
	    first_order);
}

static void
claim_while_open(void)
{
	sql("INSERT INTO sale_unit (item_id, unit) SELECT id, 6 FROM"
	    " sale_item WHERE sale_id = %lld",
	    (long long)sale_id);
}

static void
close_it(void)
{
	ck_assert_int_eq(sale_close(shop, sale_id, arena, &e), RC_OK);
}

static void
forget_a_claim(void)
{
	close_it();
	sql("DELETE FROM sale_unit WHERE unit = 4 AND order_id IS NULL AND"
	    " item_id IN (SELECT id FROM sale_item WHERE sale_id = %lld)",
	    (long long)sale_id);
	sql("UPDATE variant SET stock = stock - 1 WHERE id = %lld",
	    (long long)variant);
}

static void
die_after_the_close(void)
{
	close_it();
	die_without_giving_back();
}

static void
close_without_telling(void)
{
	close_it();
	REDIS("", "HSET", "state", "disarmed", "epoch", "1");
}

/* What is made wrong, how it is named, whether it can be mended, and what the
 * counter and the variant have then (-1: no matter). */
static const struct fault {
	void (*make)(void);
	const char *words;
	bool mends;
	int left, stock;
} faults[] = {
	{ lose_redis, "the counter is not armed", true, 4, 4 },
	{ other_epoch, "was armed with epoch", true, 4, 4 },
	{ lose_number, "neither for sale, nor held, nor sold", true, 4, 4 },
	{ abandon, "which has no live order on it", true, 4, 4 },
	{ unfile, "and the counter does not know", true, 4, 4 },
	{ count_too_much, "counts an order 2 of 1 that there is not", true, 4,
	    4 },
	{ count_a_stranger, "counts an order 1 of 1 that there is not", true, 4,
	    4 },
	{ count_too_little, "does not count his order 1 of 1", true, 4, 4 },
	{ other_allotment, "the counter's allotment is 7", true, 4, 4 },
	{ die_without_giving_back, "which is not live", true, 5, 4 },
	{ lose_unit, "is reserved without a unit", false, -1, -1 },
	{ lose_task, "nothing will charge it", true, 4, 4 },
	{ hide_task, "nothing will charge it", true, 4, 4 },
	{ exceed, "beyond the allotment or the limit", false, -1, -1 },
	{ swap_buyer, "which is of another item or buyer", false, -1, -1 },
	{ over_the_limit, "has more than the limit of 1", false, -1, -1 },
	{ other_line, "is not of one unit of this variant", false, -1, -1 },
	{ claim_while_open, "is claimed, though the item is open", false, -1,
	    -1 },
	{ forget_a_claim, "neither sold nor claimed by the close", true, 0, 8 },
	{ die_after_the_close, "which is not live", true, 0, 9 },
	{ close_without_telling, "its counter is not", true, 0, 8 },
};

START_TEST(a_difference_is_named_and_mended)
{
	const struct fault *f = &faults[_i];

	strbuf_init(&lines, 0);
	given_open(10, 6, 1);
	first_order = bought(1);
	bought(2);
	ck_assert_msg(check(false) == 0, "before: %s", lines.s);
	f->make();
	ck_assert_int_gt(check(false), 0);
	ck_assert_msg(strstr(lines.s, f->words) != NULL, "want \"%s\", got %s",
	    f->words, lines.s);
	clock_sleep_ms(1000); /* arming is not faster */

	int left = check(true);

	ck_assert_msg(strstr(lines.s, f->words) != NULL, "%s", lines.s);
	if (f->mends) {
		ck_assert_msg(left == 0, "%s", lines.s);
		ck_assert_msg(check(false) == 0, "after: %s", lines.s);
		ck_assert_int_eq(state().left, f->left);
		ck_assert_int_eq(stock(variant), f->stock);
	} else {
		ck_assert_msg(left > 0, "%s", lines.s);
		ck_assert_ptr_nonnull(strstr(lines.s, "NOT mended"));
	}
	strbuf_release(&lines);
}
END_TEST

static int
do_buy(struct shop *s, const void *arg)
{
	(void)s;
	(void)arg;
	for (int i = 0; i < 60; i++) {
		const char *id = bought(100 + i);

		if (i % 3 == 0)
			cancel(shop, id);
		clock_sleep_ms(10);
	}
	return 0;
}

START_TEST(a_sale_that_sells_has_no_differences)
{
	pid_t buyer;

	strbuf_init(&lines, 0);
	given_open(100, 90, 1);
	buyer = meanwhile(do_buy, NULL);
	for (int i = 0; i < 3; i++)
		ck_assert_msg(check(false) == 0, "%s", lines.s);
	ck_assert_int_eq(ended(buyer), 0);
	ck_assert_int_eq(live(), 40);
	ck_assert_int_eq(state().left, 50);
	strbuf_release(&lines);
}
END_TEST

static bool
status_has(const char *words)
{
	struct span json;

	ck_assert_int_eq(sale_status(shop, sale_id, arena, &json, &e), RC_OK);
	return strstr(json.p, words) != NULL;
}

/* 12,000 of 15,000 are sold: three pages. */
START_TEST(a_big_sale_is_compared_page_by_page)
{
	struct reconciler *rec = reconciler_new(shop);

	strbuf_init(&lines, 0);
	given_open(15000, 15000, 1);
	sql("INSERT INTO customer (email) SELECT 'big' || n || '@x.test' FROM"
	    " generate_series(1, 12000) n ON CONFLICT DO NOTHING;"
	    "INSERT INTO orders (id, customer_id, sale_item_id, status,"
	    " currency, total) SELECT md5('%lld:' || c.n), c.id, i.id, 'paid',"
	    " 'USD', 500 FROM sale_item i, (SELECT id, row_number() OVER"
	    "  (ORDER BY id) AS n FROM customer WHERE email LIKE 'big%%') c"
	    " WHERE i.sale_id = %lld;"
	    "INSERT INTO order_line (order_id, line, product_id, variant_id,"
	    " title, quantity, price) SELECT o.id, 1, %lld, %lld, 't', 1, 500"
	    " FROM orders o JOIN sale_item i ON i.id = o.sale_item_id"
	    " WHERE i.sale_id = %lld;"
	    "INSERT INTO sale_unit (item_id, unit, order_id, buyer, slot)"
	    " SELECT i.id, row_number() OVER (ORDER BY o.customer_id), o.id,"
	    " o.customer_id::text, 1 FROM orders o JOIN sale_item i"
	    " ON i.id = o.sale_item_id WHERE i.sale_id = %lld",
	    (long long)sale_id, (long long)sale_id, (long long)product,
	    (long long)variant, (long long)sale_id, (long long)sale_id);
	redis_empty();
	clock_sleep_ms(1100);
	turn(rec);
	ck_assert_int_eq(state().left, 3000);
	ck_assert_msg(check(false) == 0, "%s", lines.s);
	ck_assert(status_has("\"left\":3000,\"held\":0,\"sold\":12000,"));
	/* One of the last page is cancelled and not given back, one of the
	 * second is for sale though it is sold. */
	sql("DELETE FROM sale_unit WHERE unit = 11000 AND item_id ="
	    " (SELECT id FROM sale_item WHERE sale_id = %lld)",
	    (long long)sale_id);
	sql("UPDATE orders SET status = 'cancelled' WHERE sale_item_id ="
	    " (SELECT id FROM sale_item WHERE sale_id = %lld)"
	    " AND NOT EXISTS (SELECT FROM sale_unit u"
	    "  WHERE u.order_id = orders.id)",
	    (long long)sale_id);
	REDIS(":units", "HDEL", "7000");
	REDIS(":free", "ZADD", "7000", "7000");
	ck_assert_int_eq(state().left, 3001);
	for (int i = 0; i < 8; i++) {
		turn(rec);
		clock_sleep_ms(GRACE_MS / 2);
	}
	/* 11000 came back, 7000 is nobody else's any more. */
	ck_assert_msg(check(false) == 0, "%s", lines.s);
	ck_assert_int_eq(state().left, 3001);
	ck_assert_int_eq(sale_close(shop, sale_id, arena, &e), RC_OK);
	ck_assert_int_eq(claimed(), 3001);
	ck_assert_int_eq(stock(variant), 3001);
	reconciler_free(rec);
	strbuf_release(&lines);
}
END_TEST

/* ---- how it stands */

START_TEST(the_status_adds_up)
{
	given_open(10, 6, 1);
	bought(1);
	(void)held(2);
	(void)held(3);
	ck_assert(status_has("\"allotment\":6,\"left\":3,\"held\":2,"
			     "\"sold\":1,"));
	ck_assert(status_has("\"armed\":true"));
	redis_empty();
	ck_assert(status_has("\"left\":null,\"held\":0,\"sold\":1,"));
	ck_assert(status_has("\"armed\":false"));
	ck_assert_int_eq(sale_close(shop, sale_id, arena, &e), RC_OK);
	ck_assert(status_has("\"state\":\"closed\""));
	ck_assert(status_has("\"left\":null,\"held\":0,\"sold\":1,"));
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_test(tc, opening_takes_the_allotment_once_and_arms);
	tcase_add_test(tc, opening_again_arms_what_is_not_armed);
	tcase_add_test(tc, a_counter_of_another_shop_is_not_taken_for_ours);
	tcase_add_test(tc, all_items_open_or_none);
	tcase_add_test(tc, an_open_sale_takes_a_further_item);
	tcase_add_test(tc, a_variant_is_in_one_open_sale);
	tcase_add_test(tc, what_cannot_be_opened);
	tcase_add_test(tc, opening_and_closing_write_what_is_to_be_forgotten);
	tcase_add_test(tc, closing_gives_back_what_is_unsold_once);
	tcase_add_test(tc, closing_waits_for_a_purchase_that_is_not_committed);
	tcase_add_test(tc, closing_takes_the_unit_of_a_purchase_that_is_undone);
	tcase_add_test(tc,
	    a_purchase_stopped_in_its_statement_gets_nothing_after_the_close);
	tcase_add_test(tc, a_purchase_with_an_old_epoch_inserts_nothing);
	tcase_add_test(tc, orders_cancelled_around_the_close_count_once);
	tcase_add_test(
	    tc, a_cancellation_under_a_close_waits_and_goes_to_the_stock);
	tcase_add_test(
	    tc, an_abandoned_hold_goes_back_and_an_order_keeps_its_own);
	tcase_add_test(tc, a_lost_number_goes_back_at_the_second_look);
	tcase_add_test(tc, a_unit_that_was_sold_meanwhile_is_not_for_sale);
	tcase_add_test(tc, a_counter_with_another_epoch_is_disarmed_and_armed);
	tcase_add_test(tc, an_emptied_redis_is_armed_again);
	tcase_add_test(tc, a_sale_closes_by_itself_after_its_end);
	tcase_add_test(tc, a_counter_that_was_not_told_of_the_close_is_told);
	tcase_add_test(tc, the_rest_of_the_product_is_kept_up_to_date);
	tcase_add_loop_test(tc, a_difference_is_named_and_mended, 0,
	    (int)(sizeof faults / sizeof faults[0]));
	tcase_add_test(tc, a_sale_that_sells_has_no_differences);
	tcase_add_test(tc, a_big_sale_is_compared_page_by_page);
	tcase_add_test(tc, the_status_adds_up);
}

int
main(void)
{
	Suite *s = suite_create("sale_run");
	TCase *tc = tcase_create("sale_run");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 120);
	add(tc);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
