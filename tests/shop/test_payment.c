/*
 * Payments with the sandbox's books in a real PostgreSQL. The provider is
 * wrapped in one that lets something else happen right before or after a call:
 * the connection dies, the buyer cancels, the task comes a second time.
 */
#include <check.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/text.h"
#include "shop/order_life.h"
#include "shop/payment.h"
#include "shop/payment_int.h"
#include "shop/settings.h"
#include "shop/shop.h"
#include "store/outbox.h"
#include "store/pay.h"
#include "store/pay_int.h"
#include "store/pg.h"
#include "store/queue.h"

#define ORDER "00000000000000000000000000000001"
#define NAME "test_payment"

static struct conf *conf;
static struct shop *shop, *other;
static struct pay *sandbox;
static struct arena *arena;
static struct err e;

/* ---- the wrapped provider */

enum where {
	BEFORE_CREATE,
	AFTER_CREATE,
	BEFORE_CONFIRM,
	AFTER_CONFIRM,
	BEFORE_CANCEL,
	AFTER_CANCEL,
	BEFORE_REFUND,
	AFTER_REFUND,
	PLACES
};

static struct pay wrapped;
static void (*happens)(void); /* once */
static enum where happens_at;
static int confirms, creates;

static void
at(enum where where)
{
	void (*f)(void) = happens;

	if (f == NULL || where != happens_at)
		return;
	happens = NULL;
	f();
}

static enum rc
w_create(struct pay *p, const struct pay_order *o, struct arena *a,
    struct pay_intent *out, struct err *err)
{
	(void)p;
	creates++;
	at(BEFORE_CREATE);
	enum rc rc = pay_create(sandbox, o, a, out, err);

	at(AFTER_CREATE);
	return rc;
}

static enum rc
w_confirm(struct pay *p, const struct pay_order *o, const char *intent,
    int attempt, const char *token, struct arena *a, struct pay_intent *out,
    struct err *err)
{
	(void)p;
	confirms++;
	at(BEFORE_CONFIRM);
	enum rc rc =
	    pay_confirm(sandbox, o, intent, attempt, token, a, out, err);

	at(AFTER_CONFIRM);
	return rc;
}

static enum rc
w_look(struct pay *p, const char *intent, struct arena *a,
    struct pay_intent *out, struct err *err)
{
	(void)p;
	return pay_look(sandbox, intent, a, out, err);
}

static enum rc
w_find(struct pay *p, const char *order, struct arena *a,
    struct pay_intent *out, struct err *err)
{
	(void)p;
	return pay_find(sandbox, order, a, out, err);
}

static enum rc
w_cancel(struct pay *p, const struct pay_order *o, const char *intent,
    struct arena *a, struct pay_intent *out, struct err *err)
{
	(void)p;
	at(BEFORE_CANCEL);
	enum rc rc = pay_cancel(sandbox, o, intent, a, out, err);

	at(AFTER_CANCEL);
	return rc;
}

static enum rc
w_refund(struct pay *p, const struct pay_order *o, const char *intent,
    struct arena *a, struct pay_intent *out, struct err *err)
{
	(void)p;
	at(BEFORE_REFUND);
	enum rc rc = pay_refund(sandbox, o, intent, a, out, err);

	at(AFTER_REFUND);
	return rc;
}

static const struct pay_driver wrapper = { .name = "sandbox",
	.create = w_create,
	.confirm = w_confirm,
	.look = w_look,
	.find = w_find,
	.cancel = w_cancel,
	.refund = w_refund };

/* ---- given */

static void
sql(const char *text)
{
	enum rc rc = pg_run(other->pg, text, 20000, &e);

	ck_assert_msg(rc == RC_OK, "%s: %s", text, e.msg);
}

static const char *
value(const char *text)
{
	struct pg_stmt st = { .name = "value", .sql = text };
	struct pg *pg = pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
	    .connect_ms = 2000,
	    .query_ms = 2000 });
	struct pg_rows rows;
	enum rc rc = pg_exec(pg, PG_PRIMARY, &st, NULL, arena, &rows, &e);

	ck_assert_msg(rc == RC_OK, "%s: %s", text, e.msg);
	pg_free(pg);
	return rows.n == 0 ? "(none)" : pg_str(&rows, 0, 0);
}

static void
setup(void)
{
	ck_assert_int_eq(settings_load("/dev/null", &conf, NULL, &e), RC_OK);
	ck_assert_int_eq(shop_open(conf, NAME, NULL, &shop, &e), RC_OK);
	ck_assert_int_eq(shop_open(conf, "other", NULL, &other, &e), RC_OK);
	ck_assert_int_eq(payment_provider(conf, &sandbox, &e), RC_OK);
	wrapped = (struct pay){ .driver = &wrapper,
		.webhook_secret = sandbox->webhook_secret };
	arena = arena_new();
	happens = NULL;
	confirms = creates = 0;
	sql("DELETE FROM payment_attempt; DELETE FROM payment;"
	    " DELETE FROM payment_event; DELETE FROM orders;"
	    " DELETE FROM outbox; DELETE FROM finished_task;"
	    " DELETE FROM dead_task; DELETE FROM sandbox_intent;"
	    " DELETE FROM sandbox_call");
}

/* A provider that is given up on sooner: a task more is all that it costs. */
static void
setup_hasty(void)
{
	(void)setenv("SOUK_PAYMENT_TIMEOUT", "150ms", 1);
	setup();
}

static void
teardown(void)
{
	pay_close(sandbox);
	shop_close(other);
	shop_close(shop);
	conf_free(conf);
	arena_free(arena);
}

/* An order of 1250, reserved, with its process_payment task. */
static void
given_order(const char *token)
{
	sql("INSERT INTO orders (id, access_hash, status, currency, total,"
	    " email, expires_at) VALUES ('" ORDER "', sha256('x'), 'reserved',"
	    " 'USD', 1250, 'a@b.example', now() + interval '1 minute')");
	struct outbox_task task = { .type = "process_payment",
		.key = ORDER,
		.data = arena_printf(arena,
		    "{\"orderId\":\"" ORDER "\",\"attempt\":1,"
		    "\"token\":\"%s\"}",
		    token) };

	ck_assert_int_eq(outbox_write(other->pg, 1, &task, arena, &e), RC_OK);
}

/* ---- when: the work of a worker */

static enum rc
run(struct shop *s, const char *type, const char *id, const char *data)
{
	struct task task = { .id = id, .type = type, .data = span_of(data) };

	e = (struct err)ERR_INIT;
	return strcmp(type, "process_payment") == 0
		   ? payment_process(s, &wrapped, &task, arena, &e)
		   : payment_refund(s, &wrapped, &task, arena, &e);
}

static const char *
first_id(const char *type)
{
	char *id = arena_alloc(arena, TASK_ID_CHARS + 1);

	task_id(type, ORDER, id);
	return id;
}

static enum rc
process(const char *token)
{
	return run(shop, "process_payment", first_id("process_payment"),
	    arena_printf(arena,
		"{\"orderId\":\"" ORDER "\",\"attempt\":1,\"token\":\"%s\"}",
		token));
}

static enum rc
refund(void)
{
	return run(shop, "refund_payment", first_id("refund_payment"),
	    "{\"orderId\":\"" ORDER "\"}");
}

static const struct pg_stmt due = { "due",
	"SELECT task_id, type, data::text FROM outbox WHERE queue = 'payment'"
	" AND visible_at <= clock_timestamp() ORDER BY id * $1",
	1 };
static const struct pg_stmt done = { "done",
	"DELETE FROM outbox WHERE task_id = $1", 1 };

/* All that is due, until nothing is, each task twice; way -1: last first. */
static void
work(int way)
{
	for (int round = 0; round < 20; round++) {
		struct pg_args args = { 0 };
		struct pg_rows rows;

		pg_arg_int(&args, way);
		ck_assert_int_eq(pg_exec(other->pg, PG_PRIMARY, &due, &args,
				     arena, &rows, &e),
		    RC_OK);
		if (rows.n == 0)
			return;
		for (int i = 0; i < rows.n; i++) {
			const char *id = pg_str(&rows, i, 0);
			const char *type = pg_str(&rows, i, 1);
			const char *data = pg_str(&rows, i, 2);
			struct pg_args one = { 0 };
			enum rc rc = run(shop, type, id, data);

			(void)!run(shop, type, id, data);
			ck_assert_msg(rc != RC_FAIL, "%s: %s", type, e.msg);
			pg_arg_str(&one, id);
			if (rc != RC_RETRY)
				ck_assert_int_eq(
				    pg_exec(other->pg, PG_PRIMARY, &done, &one,
					arena, NULL, &e),
				    RC_OK);
		}
	}
	ck_abort_msg("work without end: %s", e.msg);
}

static void
cancel_order(void)
{
	struct order_after after;
	struct order_row row;

	ck_assert_int_eq(pg_begin(other->pg, &e), RC_OK);
	ck_assert_int_eq(order_lock(other, ORDER, arena, &row, &e), RC_OK);
	enum rc rc = order_move(
	    other, &row, OS_CANCELLED, "by_buyer", arena, &after, &e);

	if (rc == RC_OK) {
		ck_assert_int_eq(pg_commit(other->pg, &e), RC_OK);
	} else {
		ck_assert_int_eq(rc, RC_REFUSED);
		pg_rollback(other->pg);
	}
}

/* ---- then */

static const char *
state(void)
{
	return value("SELECT concat_ws(' ', o.status, coalesce(p.status, '-'),"
		     " (SELECT string_agg(outcome, ',' ORDER BY attempt)"
		     "  FROM payment_attempt a WHERE a.order_id = o.id),"
		     " coalesce(s.charges, 0), coalesce(s.refunded, 0))"
		     " FROM orders o LEFT JOIN payment p ON p.order_id = o.id"
		     " LEFT JOIN sandbox_intent s ON s.order_key = o.id");
}

#define IS(want) ck_assert_str_eq(state(), want)

static const char *
count(const char *type, const char *like)
{
	return value(arena_printf(arena,
	    "SELECT count(*) FROM outbox WHERE type = '%s'"
	    " AND data::text LIKE '%%%s%%'",
	    type, like));
}

/* ---- tokens */

START_TEST(a_good_token_pays)
{
	given_order("tok_ok");
	ck_assert_int_eq(process("tok_ok"), RC_OK);
	IS("paid captured paid 1 0");
	ck_assert_str_eq(value("SELECT intent FROM payment"), "sbx_" ORDER);
	ck_assert_str_eq(count("send_email", "order_paid"), "1");
	ck_assert_int_eq(process("tok_ok"), RC_OK);
	IS("paid captured paid 1 0");
	ck_assert_int_eq(confirms, 1);
	ck_assert_str_eq(value("SELECT count(*) FROM finished_task"), "1");
}
END_TEST

START_TEST(no_token_pays)
{
	given_order("");
	ck_assert_int_eq(process(""), RC_OK);
	IS("paid captured paid 1 0");
}
END_TEST

START_TEST(a_decline_leaves_the_order_payable)
{
	given_order("tok_declined");
	ck_assert_int_eq(process("tok_declined"), RC_OK);
	IS("reserved declined declined 0 0");
	ck_assert_str_eq(value("SELECT error FROM payment_attempt"),
	    "Your card was declined.");
	ck_assert_str_eq(count("send_email", "order_declined"), "1");
	work(1);
	IS("reserved declined declined 0 0");

	ck_assert_int_eq(
	    payment_again(shop, ORDER, "tok_ok", arena, &e), RC_OK);
	ck_assert_int_eq(
	    payment_again(shop, ORDER, "tok_ok", arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "payment_in_progress");
	work(1);
	IS("paid captured declined,paid 1 0");
	ck_assert_int_eq(
	    payment_again(shop, ORDER, "tok_ok", arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "wrong_state");
}
END_TEST

START_TEST(a_late_answer_is_asked_for_again)
{
	given_order("tok_slow");
	ck_assert_int_eq(process("tok_slow"), RC_RETRY);
	IS("reserved new unknown 1 0");
	ck_assert_int_eq(process("tok_slow"), RC_OK);
	IS("paid captured paid 1 0");
}
END_TEST

START_TEST(an_answer_that_never_comes_is_looked_up)
{
	given_order("tok_lost");
	ck_assert_int_eq(process("tok_lost"), RC_RETRY);
	IS("reserved new unknown 1 0");
	ck_assert_int_eq(process("tok_lost"), RC_OK);
	IS("paid captured paid 1 0");
}
END_TEST

START_TEST(while_the_outcome_is_unknown_nothing_new_begins)
{
	given_order("tok_slow");
	ck_assert_int_eq(
	    payment_again(shop, ORDER, "tok_ok", arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "payment_in_progress");
	ck_assert_int_eq(process("tok_slow"), RC_RETRY);
	ck_assert_int_eq(
	    payment_again(shop, ORDER, "tok_ok", arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "payment_in_progress");
	IS("reserved new unknown 1 0");
}
END_TEST

START_TEST(attempts_are_bounded)
{
	given_order("tok_declined");
	work(1);
	for (int i = 2; i <= 10; i++) {
		ck_assert_int_eq(
		    payment_again(shop, ORDER, "tok_declined", arena, &e),
		    RC_OK);
		work(1);
	}
	ck_assert_int_eq(
	    payment_again(shop, ORDER, "tok_ok", arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "too_many_attempts");
}
END_TEST

START_TEST(an_attempt_keeps_the_order_a_little_longer_and_not_for_ever)
{
	static const char left[] =
	    "SELECT round(extract(epoch FROM expires_at - created_at) / 60)"
	    " FROM orders";

	given_order("tok_declined");
	work(1);
	ck_assert_str_eq(value(left), "15");
	sql("UPDATE orders SET created_at = created_at - interval '59 "
	    "minutes'");
	ck_assert_int_eq(
	    payment_again(shop, ORDER, "tok_ok", arena, &e), RC_OK);
	ck_assert_str_eq(value(left), "74"); /* not cut: it had them */
	work(1);
	sql("UPDATE orders SET status = 'reserved', expires_at = now()");
	ck_assert_int_eq(
	    payment_again(shop, ORDER, "tok_ok", arena, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "wrong_state"); /* expired */
}
END_TEST

START_TEST(a_free_order_asks_nobody)
{
	given_order("tok_declined");
	sql("UPDATE orders SET total = 0");
	ck_assert_int_eq(process("tok_declined"), RC_OK);
	IS("paid captured paid 0 0");
	ck_assert_int_eq(creates + confirms, 0);
}
END_TEST

START_TEST(an_order_that_was_not_reserved_is_not_paid)
{
	given_order("tok_ok");
	sql("UPDATE orders SET status = 'pending'");
	ck_assert_int_eq(process("tok_ok"), RC_RETRY);
	IS("pending - 0 0");
	sql("UPDATE orders SET status = 'cancelled'");
	ck_assert_int_eq(process("tok_ok"), RC_OK);
	IS("cancelled - 0 0");
}
END_TEST

/* ---- refunds */

START_TEST(nothing_is_refunded_where_nothing_was_begun)
{
	given_order("tok_ok");
	cancel_order();
	ck_assert_int_eq(refund(), RC_OK); /* before process */
	work(-1);
	IS("cancelled - 0 0");
	ck_assert_int_eq(creates, 0);
}
END_TEST

START_TEST(a_live_orders_payment_is_kept)
{
	given_order("tok_ok");
	work(1);
	ck_assert_int_eq(refund(), RC_REFUSED);
	IS("paid captured paid 1 0");
}
END_TEST

START_TEST(a_payment_that_comes_late_is_refunded)
{
	given_order("tok_slow");
	ck_assert_int_eq(process("tok_slow"), RC_RETRY);
	cancel_order();
	/* process first: the order stays cancelled, the money goes back */
	work(1);
	IS("cancelled refunded paid 1 1250");
	ck_assert_str_eq(
	    value("SELECT status || refunded FROM payment"), "refunded1250");
	ck_assert_int_eq(refund(), RC_OK);
	IS("cancelled refunded paid 1 1250");
}
END_TEST

START_TEST(a_lost_answer_of_a_cancelled_order_is_refunded)
{
	given_order("tok_lost");
	ck_assert_int_eq(process("tok_lost"), RC_RETRY);
	cancel_order();
	work(-1);
	IS("cancelled refunded paid 1 1250");
}
END_TEST

START_TEST(an_intent_that_was_not_stored_is_learnt_by_its_key)
{
	given_order("tok_slow");
	ck_assert_int_eq(process("tok_slow"), RC_RETRY);
	sql("UPDATE payment SET intent = ''"); /* died before it was stored */
	cancel_order();
	ck_assert_int_eq(refund(), RC_OK);
	IS("cancelled refunded paid 1 1250");
}
END_TEST

START_TEST(past_the_keys_life_nothing_is_created)
{
	given_order("tok_slow");
	ck_assert_int_eq(process("tok_slow"), RC_RETRY);
	sql("UPDATE payment SET intent = '',"
	    " created_at = created_at - interval '1 day'");
	sql("UPDATE payment_attempt SET"
	    " created_at = created_at - interval '1 day'");
	creates = confirms = 0;
	ck_assert_int_eq(process("tok_slow"), RC_OK);
	IS("paid captured paid 1 0");
	ck_assert_int_eq(creates + confirms, 0);
}
END_TEST

START_TEST(past_the_keys_life_what_is_not_there_is_declined)
{
	given_order("tok_ok");
	sql("INSERT INTO payment (order_id, provider, amount, currency,"
	    " created_at) VALUES ('" ORDER "', 'sandbox', 1250, 'USD',"
	    " now() - interval '1 day')");
	sql("INSERT INTO payment_attempt (order_id, attempt, token, created_at)"
	    " VALUES ('" ORDER "', 1, '', now() - interval '1 day')");
	ck_assert_int_eq(process("tok_ok"), RC_REFUSED);
	IS("reserved declined declined 0 0");
	ck_assert_int_eq(creates + confirms, 0);
}
END_TEST

START_TEST(a_paid_order_is_refunded_once)
{
	struct order_after after;
	struct order_row row;

	given_order("tok_ok");
	work(1);
	ck_assert_int_eq(pg_begin(other->pg, &e), RC_OK);
	ck_assert_int_eq(order_lock(other, ORDER, arena, &row, &e), RC_OK);
	ck_assert_int_eq(
	    order_move(other, &row, OS_REFUNDED, "returned", arena, &after, &e),
	    RC_OK);
	ck_assert_int_eq(pg_commit(other->pg, &e), RC_OK);
	work(1);
	IS("refunded refunded paid 1 1250");
}
END_TEST

START_TEST(another_providers_payment_is_left_alone)
{
	given_order("tok_slow");
	ck_assert_int_eq(process("tok_slow"), RC_RETRY);
	sql("UPDATE payment SET provider = 'stripe'");
	ck_assert_int_eq(process("tok_slow"), RC_FAIL);
	ck_assert_str_eq(e.code, "other_provider");
}
END_TEST

START_TEST(another_amount_is_no_payment)
{
	given_order("tok_slow");
	ck_assert_int_eq(process("tok_slow"), RC_RETRY);
	sql("UPDATE sandbox_intent SET amount = 1");
	ck_assert_int_eq(process("tok_slow"), RC_FAIL);
	ck_assert_str_eq(e.code, "payment_amount");
	IS("reserved new unknown 1 0");
}
END_TEST

/* ---- events */

static const char *
signature(const char *body)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	char hex[2 * sizeof mac + 1];
	crypto_auth_hmacsha256_state st;
	const char *text = arena_printf(
	    arena, "%lld.%s", (long long)(clock_wall_ms() / 1000), body);

	(void)crypto_auth_hmacsha256_init(
	    &st, (const unsigned char *)"whsec_test", 10);
	(void)crypto_auth_hmacsha256_update(
	    &st, (const unsigned char *)text, strlen(text));
	(void)crypto_auth_hmacsha256_final(&st, mac);
	text_hex(mac, sizeof mac, hex);
	return arena_printf(
	    arena, "t=%lld,v1=%s", (long long)(clock_wall_ms() / 1000), hex);
}

static const char *
event(const char *id, const char *type)
{
	return arena_printf(arena,
	    "{\"id\":\"%s\",\"type\":\"%s\",\"data\":{\"object\":{"
	    "\"id\":\"sbx_" ORDER "\",\"status\":\"succeeded\","
	    "\"metadata\":{\"order_id\":\"" ORDER "\"}}}}",
	    id, type);
}

static enum rc
webhook(const char *id, const char *type)
{
	const char *body = event(id, type);

	return payment_webhook(
	    shop, &wrapped, span_of(body), signature(body), arena, &e);
}

static void
event_now(void)
{
	const char *body = event("evt_now", "payment_intent.succeeded");

	ck_assert_int_eq(payment_webhook(other, &wrapped, span_of(body),
			     signature(body), arena, &e),
	    RC_OK);
}

START_TEST(an_event_counts_once_and_is_not_believed)
{
	given_order("tok_ok");
	sql("DELETE FROM outbox");
	/* Nothing was paid, whatever it says. */
	ck_assert_int_eq(webhook("evt_1", "payment_intent.succeeded"), RC_OK);
	IS("reserved - 0 0");
	/* No payment was begun: it is nobody's. */
	ck_assert_str_eq(count("process_payment", "look"), "0");
	sql("INSERT INTO payment (order_id, provider, amount, currency)"
	    " VALUES ('" ORDER "', 'sandbox', 1250, 'USD')");
	ck_assert_int_eq(webhook("evt_2", "payment_intent.succeeded"), RC_OK);
	ck_assert_int_eq(webhook("evt_2", "payment_intent.succeeded"), RC_OK);
	ck_assert_str_eq(count("process_payment", "look"), "1");
	work(1);
	IS("reserved new 0 0");
	ck_assert_int_eq(webhook("evt_2", "payment_intent.succeeded"), RC_OK);
	ck_assert_str_eq(count("process_payment", "look"), "0");
}
END_TEST

START_TEST(an_event_before_the_answer_settles_the_attempt)
{
	given_order("tok_slow");
	ck_assert_int_eq(process("tok_slow"), RC_RETRY);
	ck_assert_int_eq(webhook("evt_1", "payment_intent.succeeded"), RC_OK);
	work(-1);
	IS("paid captured paid 1 0");
	ck_assert_int_eq(
	    webhook("evt_0", "payment_intent.payment_failed"), RC_OK);
	work(1);
	IS("paid captured paid 1 0");
}
END_TEST

START_TEST(a_refund_by_hand_is_taken_over)
{
	given_order("tok_ok");
	work(1);
	sql("UPDATE sandbox_intent SET refunded = amount");
	ck_assert_int_eq(webhook("evt_1", "charge.refunded"), RC_OK);
	work(1);
	IS("refunded refunded paid 1 1250");
}
END_TEST

START_TEST(an_intent_cancelled_by_hand_ends_the_order)
{
	given_order("tok_declined");
	work(1);
	sql("UPDATE sandbox_intent SET status = 'cancelled'");
	ck_assert_int_eq(webhook("evt_1", "payment_intent.canceled"), RC_OK);
	work(1);
	IS("cancelled cancelled declined 0 0");
}
END_TEST

START_TEST(an_unsigned_event_changes_nothing)
{
	const char *body = event("evt_1", "payment_intent.succeeded");

	given_order("tok_slow");
	ck_assert_int_eq(process("tok_slow"), RC_RETRY);
	ck_assert_int_eq(
	    payment_webhook(shop, &wrapped, span_of(body), NULL, arena, &e),
	    RC_REFUSED);
	ck_assert_str_eq(e.code, "bad_signature");
	ck_assert_str_eq(value("SELECT count(*) FROM payment_event"), "0");
}
END_TEST

/* ---- attempts that nobody looks after */

START_TEST(a_dead_attempt_is_found_and_resolved)
{
	given_order("tok_slow");
	ck_assert_int_eq(process("tok_slow"), RC_RETRY);
	sql("DELETE FROM outbox");
	ck_assert_int_eq(payment_resolve(shop, 10, arena, &e), RC_OK);
	ck_assert_str_eq(count("process_payment", ""), "0"); /* too young */
	sql("UPDATE payment_attempt SET created_at = now() - interval '1 hour',"
	    " asked_at = now() - interval '31 minutes'");
	ck_assert_int_eq(payment_resolve(shop, 10, arena, &e), RC_OK);
	ck_assert_int_eq(payment_resolve(shop, 10, arena, &e), RC_OK);
	ck_assert_str_eq(count("process_payment", ""), "1");
	work(1);
	IS("paid captured paid 1 0");
}
END_TEST

START_TEST(a_dead_refund_is_found_and_made)
{
	given_order("tok_slow");
	ck_assert_int_eq(process("tok_slow"), RC_RETRY);
	cancel_order();
	sql("INSERT INTO dead_task (task_id, queue, type, data, created_at,"
	    " died_at, receives, error) SELECT task_id, queue, type, data,"
	    " created_at, now() - interval '2 hours', 8, 'no answer'"
	    " FROM outbox WHERE type = 'refund_payment'");
	sql("DELETE FROM outbox");
	ck_assert_int_eq(payment_resolve(shop, 10, arena, &e), RC_OK);
	work(1);
	IS("cancelled refunded paid 1 1250");
	ck_assert_str_eq(value("SELECT count(*) FROM dead_task"), "0");
}
END_TEST

/* ---- what happens in between */

static void
connection_dies(void)
{
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
	    " WHERE application_name = '" NAME "'");
}

static void
books_die(void)
{
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
	    " WHERE application_name = 'souk-sandbox'");
}

static void
buyer_cancels(void)
{
	cancel_order();
}

static void
buyer_cancels_and_is_refunded(void)
{
	cancel_order();
	(void)!run(other, "refund_payment", first_id("refund_payment"),
	    "{\"orderId\":\"" ORDER "\"}");
}

static const char *its_token;

static void
the_task_comes_twice(void)
{
	(void)!run(other, "process_payment", first_id("process_payment"),
	    arena_printf(arena,
		"{\"orderId\":\"" ORDER "\",\"attempt\":1,\"token\":\"%s\"}",
		its_token));
}

static const struct {
	const char *name;
	void (*f)(void);
} events[] = { { "the connection dies", connection_dies },
	{ "the books' connection dies", books_die },
	{ "the buyer cancels", buyer_cancels },
	{ "the buyer cancels, refund first", buyer_cancels_and_is_refunded },
	{ "the task comes twice", the_task_comes_twice },
	{ "an event comes", event_now } };
static const char *const tokens[] = { "tok_ok", "tok_declined", "tok_slow",
	"tok_lost" };
enum {
	EVENTS = sizeof events / sizeof *events,
	TOKENS = sizeof tokens / sizeof *tokens
};

/* Whatever happened: nobody pays for nothing, or twice, and all is known. */
static void
all_is_settled(const char *what)
{
	static const char *const fine[] = { "paid captured paid 1 0",
		"reserved declined declined 0 0", "cancelled - 0 0",
		"cancelled cancelled declined 0 0",
		"cancelled refunded paid 1 1250" };
	const char *now = state();

	for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
		if (strcmp(fine[i], now) == 0)
			return;
	}
	ck_abort_msg("%s: %s", what, now);
}

START_TEST(whatever_happens_in_between_ends_well)
{
	int way = _i % 2 == 0 ? 1 : -1, i = _i / 2;
	const char *token = tokens[i % TOKENS];
	int ev = i / TOKENS % EVENTS;
	enum where where = (enum where)(i / TOKENS / EVENTS);
	bool cancel_first = where == BEFORE_CANCEL || where == AFTER_CANCEL ||
			    where == BEFORE_REFUND || where == AFTER_REFUND;

	its_token = token;
	given_order(token);
	if (cancel_first) {
		(void)!process(token);
		cancel_order();
	}
	happens_at = where;
	happens = events[ev].f;
	work(way);
	/* These are passed by every token. */
	ck_assert(where > AFTER_CONFIRM || happens == NULL);
	all_is_settled(arena_printf(arena, "%s, %s, at %d, way %d", token,
	    events[ev].name, (int)where, way));
}
END_TEST

static void
buyer_cancels_and_the_refund_is_lost(void)
{
	cancel_order();
	sql("DELETE FROM outbox WHERE type = 'refund_payment'");
}

START_TEST(a_late_payment_writes_its_own_refund)
{
	given_order("tok_ok");
	happens_at = AFTER_CONFIRM;
	happens = buyer_cancels_and_the_refund_is_lost;
	ck_assert_int_eq(process("tok_ok"), RC_OK);
	IS("cancelled captured paid 1 0");
	work(1);
	IS("cancelled refunded paid 1 1250");
}
END_TEST

/* Somebody else, with the housekeeper's task, was faster. */
static void
it_is_settled_and_paid_again(void)
{
	ck_assert_int_eq(
	    run(other, "process_payment", "00000000000000000000000000000abc",
		"{\"orderId\":\"" ORDER "\",\"attempt\":1,"
		"\"token\":\"tok_declined\"}"),
	    RC_OK);
	IS("reserved declined declined 0 0");
	ck_assert_int_eq(
	    payment_again(other, ORDER, "tok_slow", arena, &e), RC_OK);
}

START_TEST(an_old_decline_does_not_end_a_new_attempt)
{
	given_order("tok_declined");
	happens_at = AFTER_CONFIRM;
	happens = it_is_settled_and_paid_again;
	ck_assert_int_eq(process("tok_declined"), RC_OK);
	ck_assert(happens == NULL);
	IS("reserved declined declined,unknown 0 0");
	work(1);
	IS("paid captured declined,paid 1 0");
}
END_TEST

START_TEST(a_process_killed_while_it_waits_for_the_answer)
{
	given_order("tok_slow");
	pid_t pid = fork();

	if (pid == 0) {
		struct shop *mine;

		/* Its own connections; it dies with the money taken. */
		if (shop_open(conf, "mine", NULL, &mine, &e) != RC_OK ||
		    payment_provider(conf, &sandbox, &e) != RC_OK)
			_exit(1);
		happens = NULL;
		(void)!run(mine, "process_payment", first_id("process_payment"),
		    "{\"orderId\":\"" ORDER "\",\"attempt\":1,"
		    "\"token\":\"tok_slow\"}");
		_exit(2);
	}
	for (int i = 0; i < 200; i++) {
		if (strcmp(value("SELECT count(*) FROM sandbox_call"), "1") ==
		    0)
			break;
		clock_sleep_ms(5);
	}
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	IS("reserved new unknown 1 0");
	work(1);
	IS("paid captured paid 1 0");
}
END_TEST

/* ---- small things */

START_TEST(the_table_has_an_end)
{
	for (int to = PS_NEW; to <= PS_REFUNDED; to++) {
		ck_assert(!payment_may(PS_REFUNDED, (enum payment_status)to));
		ck_assert(!payment_may(PS_CANCELLED, (enum payment_status)to));
		ck_assert(payment_may(PS_CAPTURED, (enum payment_status)to) ==
			  (to == PS_REFUNDED));
	}
	ck_assert(payment_may(PS_DECLINED, PS_CAPTURED));
	ck_assert(!payment_may(PS_NEW, PS_REFUNDED));
}
END_TEST

START_TEST(tokens_are_visible_ascii)
{
	char big[300];

	memset(big, 'a', sizeof big);
	big[255] = '\0';
	ck_assert_int_eq(payment_token_check("", &e), RC_OK);
	ck_assert_int_eq(payment_token_check("pm_1AZaz-_.~", &e), RC_OK);
	ck_assert_int_eq(payment_token_check(big, &e), RC_OK);
	big[255] = 'a';
	big[256] = '\0';
	ck_assert_int_eq(payment_token_check(big, &e), RC_INVALID);
	ck_assert_int_eq(payment_token_check("a b", &e), RC_INVALID);
	ck_assert_int_eq(payment_token_check("a\n", &e), RC_INVALID);
	ck_assert_int_eq(payment_token_check("\xc3\xa9", &e), RC_INVALID);
}
END_TEST

int
main(void)
{
	if (getenv("DATABASE_URL") == NULL)
		return 77;
	Suite *s = suite_create("payment");
	TCase *tc = tcase_create("payment");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_good_token_pays);
	tcase_add_test(tc, no_token_pays);
	tcase_add_test(tc, a_decline_leaves_the_order_payable);
	tcase_add_test(tc, a_late_answer_is_asked_for_again);
	tcase_add_test(tc, an_answer_that_never_comes_is_looked_up);
	tcase_add_test(tc, while_the_outcome_is_unknown_nothing_new_begins);
	tcase_add_test(tc, attempts_are_bounded);
	tcase_add_test(
	    tc, an_attempt_keeps_the_order_a_little_longer_and_not_for_ever);
	tcase_add_test(tc, a_free_order_asks_nobody);
	tcase_add_test(tc, an_order_that_was_not_reserved_is_not_paid);
	tcase_add_test(tc, nothing_is_refunded_where_nothing_was_begun);
	tcase_add_test(tc, a_live_orders_payment_is_kept);
	tcase_add_test(tc, a_payment_that_comes_late_is_refunded);
	tcase_add_test(tc, a_lost_answer_of_a_cancelled_order_is_refunded);
	tcase_add_test(tc, an_intent_that_was_not_stored_is_learnt_by_its_key);
	tcase_add_test(tc, past_the_keys_life_nothing_is_created);
	tcase_add_test(tc, past_the_keys_life_what_is_not_there_is_declined);
	tcase_add_test(tc, a_paid_order_is_refunded_once);
	tcase_add_test(tc, another_providers_payment_is_left_alone);
	tcase_add_test(tc, another_amount_is_no_payment);
	tcase_add_test(tc, an_event_counts_once_and_is_not_believed);
	tcase_add_test(tc, an_event_before_the_answer_settles_the_attempt);
	tcase_add_test(tc, a_refund_by_hand_is_taken_over);
	tcase_add_test(tc, an_intent_cancelled_by_hand_ends_the_order);
	tcase_add_test(tc, an_unsigned_event_changes_nothing);
	tcase_add_test(tc, a_dead_attempt_is_found_and_resolved);
	tcase_add_test(tc, a_dead_refund_is_found_and_made);
	tcase_add_test(tc, a_late_payment_writes_its_own_refund);
	tcase_add_test(tc, an_old_decline_does_not_end_a_new_attempt);
	tcase_add_test(tc, a_process_killed_while_it_waits_for_the_answer);
	tcase_add_test(tc, the_table_has_an_end);
	tcase_add_test(tc, tokens_are_visible_ascii);
	suite_add_tcase(s, tc);
	tc = tcase_create("between");
	tcase_add_checked_fixture(tc, setup_hasty, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, whatever_happens_in_between_ends_well, 0,
	    2 * TOKENS * EVENTS * PLACES);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
