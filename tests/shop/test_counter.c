/* counter.c and sale_arm.c with a real Redis and PostgreSQL. Run by
 * counter.sh. */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buying.h"

static const struct counter_unit *
unit(const char *id, const char *buyer, int number_, int slot)
{
	struct counter_unit *u = arena_alloc(arena, sizeof *u);

	*u = (struct counter_unit){ id, buyer, number_, slot };
	return u;
}

static void
give_back(const struct sale *s, const char *id, int n)
{
	ck_assert_int_eq(counter_give_back(shop->sale_redis, s->ref,
			     unit(id, "x", n, 1), arena, &e),
	    RC_OK);
}

static const char *
key_of(const struct sale *s, const char *part)
{
	return arena_printf(arena, "stock:{%lld:%lld}%s", (long long)s->sale_id,
	    (long long)s->variant_id, part);
}

static struct redis_reply
redis_do(struct redis *redis, const char *a, const char *b, const char *c)
{
	struct redis_reply r;

	ck_assert_msg(
	    redis_callv(redis, NULL, arena, &r, &e, a, b, c, NULL) == RC_OK,
	    "%s: %s", a, e.msg);
	return r;
}

static void
disarm(const struct sale *s)
{
	ck_assert_int_eq(counter_disarm(shop->sale_redis, s->ref,
			     state_of(s).epoch, arena, &e),
	    RC_OK);
}

/* ---- holding */

START_TEST(every_unit_once_and_not_one_more)
{
	int n = _i;
	struct sale s = given_armed(n, 1);

	for (int i = 1; i <= n; i++) {
		struct counter_hold h =
		    hold(&s, id_of(i), arena_printf(arena, "%d", i));

		ck_assert_int_eq(h.answer, CA_HELD);
		ck_assert_int_eq(h.unit, i);
		ck_assert_int_eq(h.slot, 1);
		ck_assert_int_eq(h.left, n - i);
		ck_assert_int_eq(h.stock, n - i);
		ck_assert(!h.again && !h.known);
	}
	struct counter_hold h = hold(&s, id_of(n + 1), "late");

	ck_assert_int_eq(h.answer, CA_SOLD_OUT);
	ck_assert_int_eq(h.left, 0);
	ck_assert(!h.known);
	ck_assert_int_eq(state_of(&s).holds, n);
}
END_TEST

START_TEST(the_same_id_gets_the_same_hold)
{
	struct sale s = given_armed(2, 1);
	struct counter_hold a = hold(&s, id_of(1), "1");
	struct counter_hold b = hold(&s, id_of(1), "1");

	ck_assert_int_eq(b.answer, CA_HELD);
	ck_assert(b.again);
	ck_assert_int_eq(b.unit, a.unit);
	ck_assert_int_eq(b.left, 1);
	/* Also when all is gone. */
	(void)hold(&s, id_of(2), "2");
	ck_assert_int_eq(hold(&s, id_of(1), "1").unit, a.unit);
	ck_assert_int_eq(state_of(&s).left, 0);
}
END_TEST

START_TEST(a_buyer_gets_his_slots_and_no_more)
{
	struct sale s = given_armed(10, 2);

	ck_assert_int_eq(hold(&s, id_of(1), "1").slot, 1);
	ck_assert_int_eq(hold(&s, id_of(2), "1").slot, 2);
	struct counter_hold h = hold(&s, id_of(3), "1");

	ck_assert_int_eq(h.answer, CA_LIMIT);
	ck_assert(h.known);
	ck_assert_int_eq(hold(&s, id_of(4), "2").slot, 1);
	give_back(&s, id_of(1), 1);
	h = hold(&s, id_of(5), "1");
	ck_assert_int_eq(h.slot, 1);
	ck_assert_int_eq(h.unit, 1); /* the lowest that came back */
	ck_assert_int_eq(hold(&s, id_of(6), "1").answer, CA_LIMIT);
}
END_TEST

START_TEST(refusals_come_in_their_order)
{
	struct sale s = given_sale(1, 1);

	sql("UPDATE sale SET starts_at = now() + interval '1 hour',"
	    " ends_at = now() + interval '2 hours' WHERE id = %lld",
	    (long long)s.sale_id);
	arm(&s);
	ck_assert_int_eq(hold(&s, id_of(1), "1").answer, CA_NOT_STARTED);
	sql("UPDATE sale SET starts_at = now() - interval '1 hour' WHERE"
	    " id = %lld",
	    (long long)s.sale_id);
	disarm(&s);
	arm(&s);
	ck_assert_int_eq(hold(&s, id_of(1), "1").answer, CA_HELD);
	/* Sold out comes before the limit. */
	ck_assert_int_eq(hold(&s, id_of(2), "1").answer, CA_SOLD_OUT);
	sql("UPDATE sale SET ends_at = now() - interval '1 second' WHERE"
	    " id = %lld",
	    (long long)s.sale_id);
	disarm(&s);
	arm(&s);
	ck_assert_int_eq(hold(&s, id_of(2), "1").answer, CA_ENDED);
}
END_TEST

START_TEST(giving_back_twice_does_nothing)
{
	struct sale s = given_armed(3, 1);

	(void)hold(&s, id_of(1), "1");
	(void)hold(&s, id_of(2), "2");
	give_back(&s, id_of(1), 1);
	ck_assert_int_eq(state_of(&s).left, 2);
	give_back(&s, id_of(1), 1);
	ck_assert_int_eq(state_of(&s).left, 2);
	/* Held by another meanwhile: it is his. */
	struct counter_hold h = hold(&s, id_of(3), "3");

	ck_assert_int_eq(h.unit, 1);
	give_back(&s, id_of(1), 1);
	ck_assert_int_eq(state_of(&s).left, 1);
	ck_assert(hold(&s, id_of(3), "3").again);
	/* Never handed out. */
	give_back(&s, id_of(9), 3);
	ck_assert_int_eq(state_of(&s).left, 1);
	/* Who once had one is known. */
	(void)hold(&s, id_of(4), "4");
	h = hold(&s, id_of(5), "1");
	ck_assert_int_eq(h.answer, CA_SOLD_OUT);
	ck_assert(h.known);
}
END_TEST

START_TEST(a_lost_number_goes_back_once)
{
	struct sale s = given_armed(3, 1);

	(void)hold(&s, id_of(1), "1");
	(void)redis_do(shop->redis, "HDEL", key_of(&s, ":units"), "1");
	(void)redis_do(shop->redis, "HDEL", key_of(&s, ":holds"), id_of(1));
	give_back(&s, id_of(1), 1);
	give_back(&s, id_of(1), 1);
	ck_assert_int_eq(state_of(&s).left, 3);
}
END_TEST

/* ---- filing */

START_TEST(a_taken_unit_is_filed_as_its_orders)
{
	struct sale s = given_armed(5, 1);
	struct counter_hold h = hold(&s, id_of(1), "1");

	ck_assert_int_eq(
	    counter_file(shop->sale_redis, s.ref, h.epoch, id_of(1),
		unit(id_of(7), "7", h.unit, 1), arena, &e),
	    RC_OK);
	ck_assert_int_eq(state_of(&s).left, 4);
	ck_assert_int_eq(hold(&s, id_of(7), "7").unit, h.unit);
	ck_assert(hold(&s, id_of(7), "7").again);
	ck_assert_int_eq(hold(&s, id_of(8), "7").answer, CA_LIMIT);
	/* Mine gets another, and its slot is free. */
	h = hold(&s, id_of(1), "1");
	ck_assert_int_eq(h.unit, 2);
	ck_assert_int_eq(h.slot, 1);
}
END_TEST

START_TEST(a_taken_slot_is_filed_and_the_number_goes_back)
{
	struct sale s = given_armed(5, 2);
	struct counter_hold h = hold(&s, id_of(1), "1");

	/* His order of before has slot 1, and a number not yet handed out. */
	ck_assert_int_eq(counter_file(shop->sale_redis, s.ref, h.epoch,
			     id_of(1), unit(id_of(7), "1", 4, 1), arena, &e),
	    RC_OK);
	struct counter_state st = state_of(&s);

	ck_assert_int_eq(st.left, 4);
	ck_assert_int_eq(st.next, 5);
	ck_assert_int_eq(st.free, 3);
	h = hold(&s, id_of(1), "1");
	ck_assert_int_eq(h.slot, 2);
	ck_assert_int_eq(h.unit, 1);
	ck_assert_int_eq(hold(&s, id_of(2), "2").unit, 2);
	ck_assert_int_eq(hold(&s, id_of(3), "3").unit, 3);
	ck_assert_int_eq(hold(&s, id_of(4), "4").unit, 5);
	ck_assert_int_eq(hold(&s, id_of(5), "5").answer, CA_SOLD_OUT);
}
END_TEST

START_TEST(filing_at_another_epoch_does_nothing)
{
	struct sale s = given_armed(5, 1);
	struct counter_hold h = hold(&s, id_of(1), "1");

	ck_assert_int_eq(counter_file(shop->sale_redis, s.ref, h.epoch - 1,
			     id_of(1), unit(id_of(7), "7", 1, 1), arena, &e),
	    RC_RETRY);
	ck_assert_str_eq(e.code, "sale_unarmed");
	ck_assert(hold(&s, id_of(1), "1").again);
}
END_TEST

/* ---- what cannot be trusted */

static const char *const companions[] = { "", ":free", ":buyers", ":holds",
	":units", ":open" };

START_TEST(a_lost_key_is_seen)
{
	struct sale s = given_armed(5, 1);

	(void)hold(&s, id_of(1), "1");
	(void)redis_do(shop->redis, "DEL", key_of(&s, companions[_i]), NULL);
	struct counter_hold h = hold(&s, id_of(2), "2");

	ck_assert_int_eq(h.answer, CA_UNARMED);
	ck_assert_int_eq(hold(&s, id_of(1), "1").answer, CA_UNARMED);
	ck_assert(!state_of(&s).armed);
	ck_assert_int_eq(counter_give_back(shop->sale_redis, s.ref,
			     unit(id_of(1), "1", 1, 1), arena, &e),
	    RC_RETRY);
	arm(&s);
	ck_assert_int_eq(hold(&s, id_of(2), "2").answer, CA_HELD);
}
END_TEST

/* A server of today begins a new history at every start; one whose process or
 * history alone is another's is not trusted either. */
static const char *const identity[] = { "run_id", "replid" };

START_TEST(armed_on_another_server_is_unarmed)
{
	struct sale s = given_armed(5, 1);

	(void)redis_do(shop->redis, "EVAL",
	    arena_printf(arena,
		"return redis.call('HSET', '%s', '%s', '%040d')",
		key_of(&s, ""), identity[_i], 7),
	    "0");
	ck_assert_int_eq(hold(&s, id_of(1), "1").answer, CA_UNARMED);
	ck_assert(!state_of(&s).armed);
}
END_TEST

START_TEST(an_empty_redis_is_armed_from_the_unit_rows)
{
	struct sale s = given_armed(6, 2);
	int64_t c = given_customers(3);
	int64_t epoch = state_of(&s).epoch;

	given_order(&s, id_of(1), c, 2, 1);
	given_order(&s, id_of(2), c + 1, 4, 2);
	redis_server_kill(&server);
	redis_server_again(&server);
	while (counter_hold(shop->sale_redis, s.ref, id_of(9), "9", arena,
		   &(struct counter_hold){ 0 }, &e) != RC_OK)
		clock_sleep_ms(20);
	struct counter_hold h = hold(&s, id_of(9), "9");

	ck_assert_int_eq(h.answer, CA_UNARMED);
	ck_assert_int_eq(h.epoch, 0);
	arm(&s);
	struct counter_state st = state_of(&s);

	ck_assert(st.armed);
	ck_assert_int_gt(st.epoch, epoch);
	ck_assert_int_eq(
	    st.epoch, number("SELECT epoch FROM sale_item WHERE id = %lld",
			  (long long)s.item_id));
	ck_assert_int_eq(st.next, 5);
	ck_assert_int_eq(st.free, 2);
	ck_assert_int_eq(st.left, 4);
	/* Gaps first; the orders' holds are theirs, their buyers known. */
	ck_assert_int_eq(hold(&s, id_of(3), "3").unit, 1);
	ck_assert_int_eq(hold(&s, id_of(4), "4").unit, 3);
	ck_assert_int_eq(hold(&s, id_of(5), "5").unit, 5);
	ck_assert_int_eq(hold(&s, id_of(6), "6").unit, 6);
	ck_assert_int_eq(hold(&s, id_of(7), "7").answer, CA_SOLD_OUT);
	h = hold(&s, id_of(2), arena_printf(arena, "%lld", (long long)c + 1));
	ck_assert(h.again);
	ck_assert_int_eq(h.unit, 4);
	ck_assert_int_eq(h.slot, 2);
}
END_TEST

START_TEST(buyers_of_cancelled_orders_are_known_after_arming)
{
	struct sale s = given_sale(1, 1);
	int64_t c = given_customers(1);

	sql("INSERT INTO orders (id, customer_id, sale_item_id, status,"
	    " currency, total) VALUES ('%s', %lld, %lld, 'cancelled', 'USD',"
	    " 1)",
	    id_of(1), (long long)c, (long long)s.item_id);
	arm(&s);
	(void)hold(&s, id_of(2), "other");
	struct counter_hold h =
	    hold(&s, id_of(3), arena_printf(arena, "%lld", (long long)c));

	ck_assert_int_eq(h.answer, CA_SOLD_OUT);
	ck_assert(h.known);
}
END_TEST

START_TEST(many_unit_rows_are_read_in_pages)
{
	struct sale s = given_sale(13000, 1000);
	int64_t c = given_customers(20);

	sql("INSERT INTO orders (id, customer_id, sale_item_id, status,"
	    " currency, total) SELECT md5(n || '-%lld'), %lld + n %% 20, %lld,"
	    " 'reserved', 'USD', 1 FROM generate_series(1, 12000) n;"
	    "INSERT INTO sale_unit SELECT %lld, n, md5(n || '-%lld'),"
	    " (%lld + n %% 20)::text, n / 20 + 1"
	    " FROM generate_series(1, 12000) n WHERE n %% 3 <> 0",
	    (long long)s.item_id, (long long)c, (long long)s.item_id,
	    (long long)s.item_id, (long long)s.item_id, (long long)c);
	arm(&s);
	struct counter_state st = state_of(&s);

	ck_assert_int_eq(st.next, 12000); /* 12000 % 3 == 0: never sold */
	ck_assert_int_eq(st.free, 3999);
	ck_assert_int_eq(st.holds, 8000);
	ck_assert_int_eq(st.left, 5000);
	/* Nothing of the staging is left behind, and nothing has a TTL. */
	struct redis_reply r =
	    redis_do(shop->redis, "EVAL", "return redis.call('DBSIZE')", "0");

	ck_assert_int_eq(r.num, 6);
	for (int i = 0; i < 6; i++)
		ck_assert_int_eq(redis_do(shop->redis, "PTTL",
				     key_of(&s, companions[i]), NULL)
				     .num,
		    -1);
}
END_TEST

/* ---- restarts and fail-overs */

static void
wait_up(const struct sale *s)
{
	struct counter_state st;

	for (int i = 0; i < 500; i++) {
		if (counter_state(shop->sale_redis, s->ref, arena, &st, &e) ==
		    RC_OK)
			return;
		clock_sleep_ms(20);
	}
	ck_abort_msg("Redis does not answer: %s", e.msg);
}

static void
set_up_aof(void)
{
	static const char *const args[] = { "--appendonly", "yes",
		"--appendfsync", "always", "--aof-load-truncated", "yes" };

	memcpy(server.args, args, sizeof args);
	buying_set_up();
}

START_TEST(a_restart_with_its_log_is_not_trusted)
{
	struct sale s = given_armed(5, 1);
	int64_t epoch = state_of(&s).epoch;

	(void)hold(&s, id_of(1), "1");
	redis_server_kill(&server);
	redis_server_again(&server);
	wait_up(&s);
	struct counter_hold h = hold(&s, id_of(1), "1");

	ck_assert_int_eq(h.answer, CA_UNARMED);
	ck_assert_int_eq(h.epoch, epoch); /* all of it is there */
	arm(&s);
	ck_assert_int_gt(state_of(&s).epoch, epoch);
	ck_assert_int_eq(state_of(&s).left, 5); /* no order, no unit */
}
END_TEST

/* Redis 7 keeps its log in a folder, older ones in a file. */
static const char *
aof_file(void)
{
	static char path[160];
	struct stat st;

	(void)snprintf(path, sizeof path,
	    "%s/appendonlydir/appendonly.aof.1.incr.aof", server.dir);
	if (stat(path, &st) != 0)
		(void)snprintf(
		    path, sizeof path, "%s/appendonly.aof", server.dir);
	return path;
}

START_TEST(a_log_cut_short_is_not_trusted)
{
	struct sale s = given_armed(5, 1);
	int64_t c = given_customers(1);
	struct stat st;

	(void)hold(&s, id_of(1), "1");
	given_order(&s, id_of(1), c, 1, 1);
	redis_server_kill(&server);
	ck_assert_int_eq(stat(aof_file(), &st), 0);
	ck_assert_int_eq(truncate(aof_file(), st.st_size - 100), 0);
	redis_server_again(&server);
	wait_up(&s);
	ck_assert_int_eq(hold(&s, id_of(2), "2").answer, CA_UNARMED);
	arm(&s);
	ck_assert_int_eq(hold(&s, id_of(2), "2").unit, 2);
}
END_TEST

static int
free_port(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sin;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(
	    bind(fd, (const struct sockaddr *)&sin, sizeof sin), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	(void)close(fd);
	return ntohs(sin.sin_port);
}

static struct redis_server other;
static struct shop *other_shop;
static char ports[2][8];

static void
set_up_two(void)
{
	for (int i = 0; i < 2; i++)
		(void)snprintf(ports[i], sizeof ports[i], "%d", free_port());
	server.args[0] = other.args[0] = "--port";
	server.args[1] = ports[0];
	other.args[1] = ports[1];
	server.args[2] = other.args[2] = "--repl-diskless-sync-delay";
	server.args[3] = other.args[3] = "0";
	buying_set_up();
	redis_server_start(&other);
	other_shop = shop_another(other.url);
}

static void
tear_down_two(void)
{
	shop_end(other_shop);
	redis_server_remove(&other);
	buying_tear_down();
}

static void
follow(struct shop *follower, const char *port)
{
	struct redis_reply r;

	(void)redis_do(follower->redis, "REPLICAOF", "127.0.0.1", port);
	for (int i = 0; i < 1000; i++) {
		r = redis_do(follower->redis, "INFO", "replication", NULL);
		if (strstr(r.str.p, "master_link_status:up") != NULL)
			return;
		clock_sleep_ms(10);
	}
	ck_abort_msg("no replication");
}

/* B is A's replica from the start (a first replica is a new history), has seen
 * the arming, and nothing after it. */
static struct sale
given_armed_and_replicated(void)
{
	struct sale s;

	follow(other_shop, ports[0]);
	s = given_armed(5, 1);
	for (int i = 0; i < 1000; i++) {
		if (redis_do(other_shop->redis, "EXISTS", key_of(&s, ""), NULL)
			.num == 1)
			break;
		clock_sleep_ms(10);
	}
	(void)redis_do(other_shop->redis, "REPLICAOF", "NO", "ONE");
	return s;
}

static struct counter_hold
hold_at(struct shop *sh, const struct sale *s, int id)
{
	struct counter_hold out = { 0 };

	ck_assert_int_eq(counter_hold(sh->sale_redis, s->ref, id_of(id),
			     arena_printf(arena, "%d", id), arena, &out, &e),
	    RC_OK);
	return out;
}

START_TEST(a_lagging_replica_is_not_trusted_nor_the_old_one_after_it)
{
	struct sale s = given_armed_and_replicated();
	int64_t c = given_customers(3);
	int64_t first = state_of(&s).epoch;

	/* The replica never sees this one. */
	ck_assert_int_eq(hold_at(shop, &s, 1).unit, 1);
	given_order(&s, id_of(1), c, 1, 1);
	struct counter_hold h = hold_at(other_shop, &s, 2);

	ck_assert_int_eq(h.answer, CA_UNARMED);
	ck_assert_int_eq(h.epoch, first);
	may_arm(&s);
	ck_assert_int_eq(sale_arm(other_shop, s.ref, arena, &e), RC_OK);
	h = hold_at(other_shop, &s, 2);
	ck_assert_int_eq(h.unit, 2);
	ck_assert_int_gt(h.epoch, first);
	/* A still thinks that it is armed: of its epoch nothing is placed.
	 * As B's replica, and again the one: not trusted. */
	ck_assert_int_eq(hold_at(shop, &s, 3).epoch, first);
	follow(shop, ports[1]);
	(void)redis_do(shop->redis, "REPLICAOF", "NO", "ONE");
	ck_assert_int_eq(hold_at(shop, &s, 3).answer, CA_UNARMED);
	arm(&s);
	ck_assert_int_gt(hold_at(shop, &s, 3).epoch, h.epoch);
}
END_TEST

/* Nobody bought at B, so the counter names A, whose process never ended. */
START_TEST(the_history_alone_tells_a_to_b_to_a)
{
	struct sale s = given_armed_and_replicated();

	ck_assert_int_eq(hold_at(shop, &s, 1).unit, 1); /* will be lost */
	follow(shop, ports[1]);
	(void)redis_do(shop->redis, "REPLICAOF", "NO", "ONE");
	ck_assert_int_eq(hold_at(shop, &s, 2).answer, CA_UNARMED);
}
END_TEST

/* ---- arming */

START_TEST(one_arms_and_the_others_wait)
{
	struct sale s = given_armed(5, 1);
	struct shop *b = shop_another(server.url);

	ck_assert_int_eq(counter_disarm(shop->sale_redis, s.ref,
			     state_of(&s).epoch, arena, &e),
	    RC_OK);
	ck_assert_int_eq(sale_arm(b, s.ref, arena, &e), RC_RETRY);
	ck_assert_str_eq(e.code, "sale_arming");
	/* Its next try is not due. */
	sql("UPDATE sale_item SET armed_at = now() - interval '1 second'"
	    " WHERE id = %lld",
	    (long long)s.item_id);
	ck_assert_int_eq(sale_arm(b, s.ref, arena, &e), RC_RETRY);
	clock_sleep_ms(110);
	ck_assert_int_eq(sale_arm(b, s.ref, arena, &e), RC_OK);
	/* Armed: nothing to do, the epoch stays. */
	int64_t epoch = state_of(&s).epoch;

	clock_sleep_ms(110);
	ck_assert_int_eq(sale_arm(b, s.ref, arena, &e), RC_OK);
	ck_assert_int_eq(state_of(&s).epoch, epoch);
	shop_end(b);
}
END_TEST

START_TEST(a_clock_that_was_set_back_delays_nobody)
{
	struct sale s = given_sale(5, 1);

	sql("UPDATE sale_item SET armed_at = now() + interval '1 day'"
	    " WHERE id = %lld",
	    (long long)s.item_id);
	ck_assert_int_eq(sale_arm(shop, s.ref, arena, &e), RC_OK);
}
END_TEST

START_TEST(an_epoch_beyond_the_sequence_still_grows)
{
	struct sale s = given_armed(5, 1);

	(void)redis_do(shop->redis, "EVAL",
	    arena_printf(arena,
		"return redis.call('HSET', '%s', 'epoch',"
		" '9007199254740001')",
		key_of(&s, "")),
	    "0");
	arm(&s);
	ck_assert_int_eq(state_of(&s).epoch, 9007199254740002);
	ck_assert(state_of(&s).armed);
	ck_assert_int_eq(hold(&s, id_of(1), "1").answer, CA_HELD);
}
END_TEST

START_TEST(a_lower_epoch_arms_nothing)
{
	struct sale s = given_armed(5, 1);
	int64_t epoch = state_of(&s).epoch;
	struct counter_stage stage = { .epoch = epoch };
	const struct counter_page page = { .from = 1, .to = 3 };
	const struct counter_arming set = { .next = 4,
		.allotment = 5,
		.limit = 1,
		.ends_ms = INT64_C(9999999999999),
		.product_id = s.product_id,
		.others = "" };

	for (int i = 0; i < 2; i++, stage.epoch--) {
		stage.identity[0] = '\0';
		ck_assert_int_eq(counter_stage(shop->sale_redis, s.ref, &stage,
				     &page, arena, &e),
		    RC_OK);
		ck_assert_int_eq(counter_arm(shop->sale_redis, s.ref, &stage,
				     &set, arena, &e),
		    RC_RETRY);
	}
	ck_assert_int_eq(state_of(&s).next, 1);
	/* And what was staged at another server does not count. */
	stage.epoch = epoch + 1;
	stage.identity[0] = '\0';
	ck_assert_int_eq(
	    counter_stage(shop->sale_redis, s.ref, &stage, &page, arena, &e),
	    RC_OK);
	stage.identity[0] = stage.identity[0] == 'a' ? 'b' : 'a';
	ck_assert_int_eq(
	    counter_arm(shop->sale_redis, s.ref, &stage, &set, arena, &e),
	    RC_RETRY);
	ck_assert_int_eq(
	    counter_stage(shop->sale_redis, s.ref, &stage, &page, arena, &e),
	    RC_RETRY);
	ck_assert_int_eq(state_of(&s).epoch, epoch);
}
END_TEST

START_TEST(disarming_is_of_one_epoch)
{
	struct sale s = given_armed(5, 1);
	int64_t epoch = state_of(&s).epoch;

	ck_assert_int_eq(
	    counter_disarm(shop->sale_redis, s.ref, epoch - 1, arena, &e),
	    RC_OK);
	ck_assert(state_of(&s).armed);
	ck_assert_int_eq(
	    counter_disarm(shop->sale_redis, s.ref, epoch, arena, &e), RC_OK);
	ck_assert(!state_of(&s).armed);
	ck_assert_int_eq(hold(&s, id_of(1), "1").epoch, epoch);
}
END_TEST

START_TEST(closed_is_final)
{
	struct sale s = given_armed(5, 1);
	int64_t epoch = state_of(&s).epoch;

	(void)hold(&s, id_of(1), "1");
	ck_assert_int_eq(
	    counter_close(shop->sale_redis, s.ref, epoch - 1, arena, &e),
	    RC_OK);
	ck_assert(state_of(&s).armed); /* a lower epoch */
	ck_assert_int_eq(
	    counter_close(shop->sale_redis, s.ref, epoch + 1, arena, &e),
	    RC_OK);
	ck_assert_int_eq(
	    counter_close(shop->sale_redis, s.ref, epoch + 1, arena, &e),
	    RC_OK);
	struct counter_hold h = hold(&s, id_of(2), "2");

	ck_assert_int_eq(h.answer, CA_ENDED);
	ck_assert(!h.known);
	ck_assert(hold(&s, id_of(3), "1").known);
	ck_assert(state_of(&s).closed);
	give_back(&s, id_of(1), 1);
	ck_assert_int_eq(state_of(&s).left, 0);
	/* The buyers lost: everybody is looked up. */
	(void)redis_do(shop->redis, "DEL", key_of(&s, ":buyers"), NULL);
	ck_assert(hold(&s, id_of(2), "2").known);
}
END_TEST

START_TEST(a_closed_item_is_not_armed)
{
	struct sale s = given_sale(5, 1);

	sql("UPDATE sale_item SET state = 'closed', epoch = 77 WHERE"
	    " id = %lld",
	    (long long)s.item_id);
	ck_assert_int_eq(sale_arm(shop, s.ref, arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "sale_ended");
	ck_assert_int_eq(hold(&s, id_of(1), "1").answer, CA_ENDED);
	ck_assert_int_eq(state_of(&s).epoch, 77);
	s.ref.variant_id += 1000000;
	ck_assert_int_eq(sale_arm(shop, s.ref, arena, &e), RC_NONE);
	ck_assert_str_eq(e.code, "sale_not_found");
}
END_TEST

/* ---- telling */

static char told[8][512];
static int n_told;

static void
on_told(void *arg, struct span channel, struct span payload)
{
	(void)arg;
	if (n_told < 8)
		(void)snprintf(told[n_told++], sizeof told[0], "%.*s %.*s",
		    (int)channel.n, channel.p, (int)payload.n, payload.p);
}

static void
nothing(void *arg)
{
	(void)arg;
}

/* Until so many were told; at most 5 s. */
static void
listen_for(struct redis_sub *sub, int n)
{
	for (int i = 0; i < 500 && n_told < n; i++) {
		redis_sub_turn(sub);
		clock_sleep_ms(10);
	}
	ck_assert_int_eq(n_told, n);
}

START_TEST(the_world_is_told)
{
	struct sale s = given_sale(5, 1);
	const char *channel =
	    arena_printf(arena, "product:%lld:update", (long long)s.product_id);
	const char *const channels[] = { channel, "sale:again", NULL };
	const struct redis_sub_events ev = { on_told, nothing, nothing, NULL };
	int64_t v = number("INSERT INTO variant (product_id, position, sku,"
			   " options, price, stock) VALUES (%lld, 2,"
			   " md5(random()::text), ARRAY['blue'], 5000, 11)"
			   " RETURNING id",
	    (long long)s.product_id);
	struct redis_sub *sub = NULL;
	int64_t version = 0;

	ck_assert_int_eq(
	    redis_sub_new(server.url, channels, &ev, &sub, &e), RC_OK);
	for (int i = 0; i < 500 && !redis_sub_fresh(sub); i++) {
		redis_sub_turn(sub);
		clock_sleep_ms(10);
	}
	arm(&s);
	ck_assert_int_eq(hold(&s, id_of(1), "1").stock, 4 + 11);
	give_back(&s, id_of(1), 1);
	listen_for(sub, 5);
	static const int stock[] = { 5 + 11, -1, 4 + 11, 5 + 11, -1 };

	for (int i = 0; i < 5; i++) {
		const char *json = strchr(told[i], ' ') + 1;
		json_t *t;

		if (stock[i] < 0) {
			ck_assert_str_eq(told[i],
			    arena_printf(arena, "sale:again %lld:%lld",
				(long long)s.sale_id, (long long)s.variant_id));
			continue;
		}
		t = json_loads(json, 0, NULL);
		ck_assert_msg(t != NULL, "%s", json);
		json_int_t told_v =
		    json_integer_value(json_object_get(t, "version"));

		ck_assert_int_gt(told_v, version);
		version = told_v;
		json_decref(t);
		/* All but the version, as DESIGN 4.3 has it. */
		ck_assert_str_eq(told[i],
		    arena_printf(arena,
			"%s {\"productId\":%lld,\"stock\":%d,\"saleId\":%lld,"
			"\"variants\":[{\"variantId\":%lld,\"stock\":%d},"
			"{\"variantId\":%lld,\"stock\":11}],\"version\":%lld}",
			channel, (long long)s.product_id, stock[i],
			(long long)s.sale_id, (long long)s.variant_id,
			stock[i] - 11, (long long)v, (long long)version));
	}
	redis_sub_free(sub);
}
END_TEST

START_TEST(the_rest_is_made_anew)
{
	struct sale s = given_armed(5, 1);
	int64_t epoch = state_of(&s).epoch;

	sql("INSERT INTO variant (product_id, position, sku, options, price,"
	    " stock) VALUES (%lld, 2, md5(random()::text), ARRAY['blue'],"
	    " 5000, 11)",
	    (long long)s.product_id);
	ck_assert_int_eq(
	    sale_rest_refresh(shop, s.ref, s.product_id, epoch, arena, &e),
	    RC_OK);
	ck_assert_int_eq(state_of(&s).stock, 16);
	ck_assert_int_eq(state_of(&s).left, 5);
}
END_TEST

/* ---- looking after it */

START_TEST(holds_are_listed_until_their_orders_are_seen)
{
	struct sale s = given_armed(5, 1);
	const struct counter_held *list;
	const char *const seen[] = { id_of(1) };
	int64_t epoch;
	int n;

	(void)hold(&s, id_of(1), "1");
	(void)hold(&s, id_of(2), "2");
	ck_assert_int_eq(counter_unjustified(shop->sale_redis, s.ref, 60000,
			     arena, &epoch, &n, &list, &e),
	    RC_OK);
	ck_assert_int_eq(n, 0); /* too young */
	ck_assert_int_eq(counter_unjustified(shop->sale_redis, s.ref, 0, arena,
			     &epoch, &n, &list, &e),
	    RC_OK);
	ck_assert_int_eq(n, 2);
	ck_assert_int_eq(epoch, state_of(&s).epoch);
	ck_assert_int_eq(counter_justified(shop->sale_redis, s.ref, epoch, 1,
			     seen, arena, &e),
	    RC_OK);
	ck_assert_int_eq(counter_unjustified(shop->sale_redis, s.ref, 0, arena,
			     &epoch, &n, &list, &e),
	    RC_OK);
	ck_assert_int_eq(n, 1);
	ck_assert_str_eq(list[0].unit.id, id_of(2));
	ck_assert_str_eq(list[0].unit.buyer, "2");
	ck_assert_int_eq(list[0].unit.unit, 2);
	ck_assert_int_eq(list[0].unit.slot, 1);
}
END_TEST

START_TEST(every_number_can_be_looked_at)
{
	struct sale s = given_armed(5, 1);
	const struct counter_number *list;
	int64_t epoch;
	int n;

	for (int i = 1; i <= 3; i++)
		(void)hold(&s, id_of(i), arena_printf(arena, "%d", i));
	give_back(&s, id_of(2), 2);
	(void)redis_do(shop->redis, "HDEL", key_of(&s, ":units"), "3");
	ck_assert_int_eq(counter_look(shop->sale_redis, s.ref, 1, arena, &epoch,
			     &n, &list, &e),
	    RC_OK);
	ck_assert_int_eq(n, 3);
	ck_assert_int_eq(list[0].is, CI_HELD);
	ck_assert_str_eq(list[0].held.unit.id, id_of(1));
	ck_assert_int_eq(list[1].is, CI_FREE);
	ck_assert_int_eq(list[2].is, CI_LOST);
	ck_assert_int_eq(list[2].held.unit.unit, 3);
	ck_assert_int_eq(counter_look(shop->sale_redis, s.ref, 4, arena, &epoch,
			     &n, &list, &e),
	    RC_OK);
	ck_assert_int_eq(n, 0);
}
END_TEST

START_TEST(several_are_asked_at_once)
{
	struct sale a = given_armed(5, 1), b = given_sale(5, 1);
	const struct counter_ref refs[] = { a.ref, b.ref };
	struct counter_state st[2];

	(void)redis_do(shop->redis, "SCRIPT", "FLUSH", NULL);
	for (int i = 0; i < 2; i++) { /* unknown, then known */
		ck_assert_int_eq(
		    counter_states(shop->sale_redis, 2, refs, arena, st, &e),
		    RC_OK);
		ck_assert(st[0].armed && !st[1].there);
		ck_assert_int_eq(st[0].left, 5);
	}
}
END_TEST

static void
add(Suite *s, TCase *tc, int timeout)
{
	tcase_set_timeout(tc, timeout);
	suite_add_tcase(s, tc);
}

int
main(void)
{
	Suite *s = suite_create("counter");
	TCase *tc = tcase_create("counter");
	TCase *aof = tcase_create("aof");
	TCase *two = tcase_create("two");
	SRunner *sr;

	buying_migrate();
	tcase_add_checked_fixture(tc, buying_set_up, buying_tear_down);
	tcase_add_loop_test(tc, every_unit_once_and_not_one_more, 1, 4);
	tcase_add_test(tc, the_same_id_gets_the_same_hold);
	tcase_add_test(tc, a_buyer_gets_his_slots_and_no_more);
	tcase_add_test(tc, refusals_come_in_their_order);
	tcase_add_test(tc, giving_back_twice_does_nothing);
	tcase_add_test(tc, a_lost_number_goes_back_once);
	tcase_add_test(tc, a_taken_unit_is_filed_as_its_orders);
	tcase_add_test(tc, a_taken_slot_is_filed_and_the_number_goes_back);
	tcase_add_test(tc, filing_at_another_epoch_does_nothing);
	tcase_add_loop_test(tc, a_lost_key_is_seen, 0, 6);
	tcase_add_loop_test(tc, armed_on_another_server_is_unarmed, 0, 2);
	tcase_add_test(tc, an_empty_redis_is_armed_from_the_unit_rows);
	tcase_add_test(tc, buyers_of_cancelled_orders_are_known_after_arming);
	tcase_add_test(tc, many_unit_rows_are_read_in_pages);
	tcase_add_test(tc, one_arms_and_the_others_wait);
	tcase_add_test(tc, a_clock_that_was_set_back_delays_nobody);
	tcase_add_test(tc, an_epoch_beyond_the_sequence_still_grows);
	tcase_add_test(tc, a_lower_epoch_arms_nothing);
	tcase_add_test(tc, disarming_is_of_one_epoch);
	tcase_add_test(tc, closed_is_final);
	tcase_add_test(tc, a_closed_item_is_not_armed);
	tcase_add_test(tc, the_world_is_told);
	tcase_add_test(tc, the_rest_is_made_anew);
	tcase_add_test(tc, holds_are_listed_until_their_orders_are_seen);
	tcase_add_test(tc, every_number_can_be_looked_at);
	tcase_add_test(tc, several_are_asked_at_once);
	add(s, tc, 60);
	tcase_add_checked_fixture(aof, set_up_aof, buying_tear_down);
	tcase_add_test(aof, a_restart_with_its_log_is_not_trusted);
	tcase_add_test(aof, a_log_cut_short_is_not_trusted);
	add(s, aof, 60);
	tcase_add_checked_fixture(two, set_up_two, tear_down_two);
	tcase_add_test(
	    two, a_lagging_replica_is_not_trusted_nor_the_old_one_after_it);
	tcase_add_test(two, the_history_alone_tells_a_to_b_to_a);
	add(s, two, 60);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
