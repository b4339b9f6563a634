/*
 * The rows of a payment, and the only place that changes them. Whoever writes
 * here has locked the order's row first, so one payment has one writer.
 */
#include "shop/payment_int.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "shop/payment.h"
#include "shop/shop.h"
#include "store/outbox.h"
#include "store/pg.h"

/* A provider remembers a key for 24 hours (Stripe); one less, for clocks that
 * differ and for calls under way. */
#define KEY_LIFE "interval '23 hours'"

static const struct pg_stmt payment_get = { "payment_get",
	"SELECT p.provider, p.intent, p.status, p.amount, p.currency,"
	" p.created_at > clock_timestamp() - " KEY_LIFE ","
	" coalesce(a.attempt, 0), a.outcome = 'unknown', a.token,"
	" a.created_at > clock_timestamp() - " KEY_LIFE ","
	" a.asked_at IS NOT NULL"
	" FROM payment p LEFT JOIN LATERAL (SELECT * FROM payment_attempt"
	"  WHERE order_id = p.order_id ORDER BY attempt DESC LIMIT 1) a ON true"
	" WHERE p.order_id = $1",
	1 };

static const struct pg_stmt attempt_insert = { "payment_attempt_insert",
	"INSERT INTO payment_attempt (order_id, attempt, token)"
	" VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
	3 };

/* Up to one life more from now, as often as its cap allows. */
static const struct pg_stmt order_prolong = { "payment_order_prolong",
	"UPDATE orders SET expires_at = greatest(expires_at,"
	" least(now() + $2 * interval '1 s',"
	"  coalesce(expires_cap, created_at + 3 * $2 * interval '1 s')))"
	" WHERE id = $1 AND expires_at IS NOT NULL",
	2 };

static const struct pg_stmt attempt_end = { "payment_attempt_end",
	"UPDATE payment_attempt SET outcome = $2, error = left($3, 500),"
	" ended_at = now() WHERE order_id = $1 AND outcome = 'unknown'",
	3 };

static const struct pg_stmt payment_set = { "payment_set",
	"UPDATE payment SET status = $2, updated_at = now(),"
	" refunded = CASE WHEN $2 = 'refunded' THEN amount ELSE refunded END,"
	" intent = CASE WHEN intent = '' THEN $3 ELSE intent END"
	" WHERE order_id = $1",
	3 };

const struct pg_stmt *const payment_state_statements[] = { &payment_get,
	&attempt_insert, &order_prolong, &attempt_end, &payment_set, NULL };

/* ---- the table */

static const char *const names[] = {
	[PS_NEW] = "new",
	[PS_AUTHORISED] = "authorised",
	[PS_CAPTURED] = "captured",
	[PS_DECLINED] = "declined",
	[PS_CANCELLED] = "cancelled",
	[PS_REFUNDED] = "refunded",
};
enum { STATUSES = sizeof names / sizeof *names };

#define TO(status) (1U << (status))

static const unsigned may[STATUSES] = {
	[PS_NEW] = TO(PS_AUTHORISED) | TO(PS_CAPTURED) | TO(PS_DECLINED) |
		   TO(PS_CANCELLED),
	[PS_AUTHORISED] = TO(PS_CAPTURED) | TO(PS_CANCELLED),
	/* A declined payment is open for another attempt. */
	[PS_DECLINED] = TO(PS_AUTHORISED) | TO(PS_CAPTURED) | TO(PS_CANCELLED),
	[PS_CAPTURED] = TO(PS_REFUNDED),
	/* cancelled, refunded: over */
};

bool
payment_may(enum payment_status from, enum payment_status to)
{
	return (may[from] & TO(to)) != 0;
}

static enum payment_status
status_parse(const char *name)
{
	int i = 0;

	while (i < STATUSES && strcmp(names[i], name) != 0)
		i++;
	assert(i < STATUSES); /* the column has a CHECK */
	return (enum payment_status)i;
}

/* ---- reading */

enum rc
payment_load(struct shop *shop, const char *order_id, struct arena *arena,
    struct payment_state *out, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows r;
	enum rc rc;

	*out = (struct payment_state){ .intent = "" };
	if ((rc = order_lock(shop, order_id, arena, &out->order, e)) != RC_OK)
		return rc;
	pg_arg_str(&args, order_id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &payment_get, &args, arena, &r, e);
	if (rc != RC_OK || r.n == 0)
		return rc;
	out->there = true;
	out->provider = pg_str(&r, 0, 0);
	out->intent = pg_str(&r, 0, 1);
	out->status = status_parse(pg_str(&r, 0, 2));
	out->amount = pg_int(&r, 0, 3);
	out->currency = pg_str(&r, 0, 4);
	out->key_lives = pg_bool(&r, 0, 5);
	out->attempt = (int)pg_int(&r, 0, 6);
	out->unknown = pg_bool(&r, 0, 7);
	out->token = pg_str(&r, 0, 8);
	out->attempt_key_lives = pg_bool(&r, 0, 9);
	out->asked = pg_bool(&r, 0, 10);
	return RC_OK;
}

/* ---- writing */

enum rc
payment_begin(struct shop *shop, const char *order_id, int attempt,
    const char *token, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 }, life = { 0 };
	enum rc rc;

	pg_arg_str(&args, order_id);
	pg_arg_int(&args, attempt);
	pg_arg_str(&args, token);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &attempt_insert, &args, arena, NULL, e);
	if (rc != RC_OK)
		return rc;
	pg_arg_str(&life, order_id);
	pg_arg_int(&life, conf_int(shop->conf, "order", "expires"));
	return pg_exec(
	    shop->pg, PG_PRIMARY, &order_prolong, &life, arena, NULL, e);
}

static enum rc
move(struct shop *shop, struct payment_state *st, enum payment_status to,
    const struct pay_intent *said, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	if (st->status == to)
		return RC_OK;
	if (!payment_may(st->status, to))
		return err_set(e, RC_FAIL, "payment_state",
		    "the payment of order %s is %s, the provider says %s",
		    st->order.id, names[st->status], names[to]);
	st->status = to;
	pg_arg_str(&args, st->order.id);
	pg_arg_str(&args, names[to]);
	pg_arg_str(&args, said->id == NULL ? "" : said->id);
	return pg_exec(
	    shop->pg, PG_PRIMARY, &payment_set, &args, arena, NULL, e);
}

static enum rc
end_attempt(struct shop *shop, const struct payment_state *st,
    const char *outcome, const char *error, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	if (!st->unknown)
		return RC_OK;
	pg_arg_str(&args, st->order.id);
	pg_arg_str(&args, outcome);
	pg_arg_str(&args, error);
	return pg_exec(
	    shop->pg, PG_PRIMARY, &attempt_end, &args, arena, NULL, e);
}

static enum rc
write_task(struct shop *shop, const char *type, const char *key,
    const char *data, struct arena *arena, struct err *e)
{
	struct outbox_task task = { .type = type, .key = key, .data = data };

	return outbox_write(shop->pg, 1, &task, arena, e);
}

/* Money came, and perhaps went back. */
static enum rc
paid(struct shop *shop, struct payment_state *st, const struct pay_intent *said,
    struct arena *arena, struct order_after *after, struct err *e)
{
	bool back = said->refunded >= st->amount && st->amount > 0;
	enum order_status order = st->order.status;
	enum rc rc;

	if (said->amount != st->amount)
		return err_set(e, RC_FAIL, "payment_amount",
		    "order %s is of %lld, the provider took %lld", st->order.id,
		    (long long)st->amount, (long long)said->amount);
	if (st->status == PS_REFUNDED)
		return RC_OK;
	if ((rc = end_attempt(shop, st, "paid", "", arena, e)) != RC_OK ||
	    (rc = move(shop, st, PS_CAPTURED, said, arena, e)) != RC_OK ||
	    (back &&
		(rc = move(shop, st, PS_REFUNDED, said, arena, e)) != RC_OK))
		return rc;
	if (back && (order == OS_PAID || order == OS_FULFILLED))
		return order_move(
		    shop, &st->order, OS_REFUNDED, "refunded", arena, after, e);
	if (order == OS_RESERVED)
		return order_move(shop, &st->order,
		    back ? OS_CANCELLED : OS_PAID, back ? "refunded" : "",
		    arena, after, e);
	if (order != OS_CANCELLED || back)
		return RC_OK;
	/* Late: the order stays cancelled. Its first refund_payment may have
	 * found nothing to do, so this is another task. */
	return write_task(shop, "refund_payment",
	    arena_concat(arena, st->order.id, ":late", NULL),
	    arena_printf(arena, "{\"orderId\":\"%s\"}", st->order.id), arena,
	    e);
}

static enum rc
declined(struct shop *shop, struct payment_state *st, int attempt,
    const struct pay_intent *said, struct arena *arena, struct err *e)
{
	enum rc rc;

	if (!st->unknown || st->attempt != attempt)
		return RC_OK; /* that one is over, a new one may be open */
	if ((rc = end_attempt(shop, st, "declined", said->error, arena, e)) !=
		RC_OK ||
	    (rc = move(shop, st, PS_DECLINED, said, arena, e)) != RC_OK ||
	    st->order.status != OS_RESERVED || st->order.email[0] == '\0')
		return rc;
	return write_task(shop, "send_email",
	    arena_printf(
		arena, "order_declined:%s:%d", st->order.id, st->attempt),
	    arena_printf(arena,
		"{\"kind\":\"order_declined\",\"orderId\":\"%s\"}",
		st->order.id),
	    arena, e);
}

/* No money will come: an order that waits for it is over. */
static enum rc
cancelled(struct shop *shop, struct payment_state *st,
    const struct pay_intent *said, struct arena *arena,
    struct order_after *after, struct err *e)
{
	enum rc rc;

	if ((rc = end_attempt(shop, st, "declined",
		 "The payment was cancelled.", arena, e)) != RC_OK ||
	    (rc = move(shop, st, PS_CANCELLED, said, arena, e)) != RC_OK ||
	    st->order.status != OS_RESERVED)
		return rc;
	return order_move(
	    shop, &st->order, OS_CANCELLED, "declined", arena, after, e);
}

static enum rc
write_outcome(struct shop *shop, const struct verdict *v, struct arena *arena,
    struct order_after *after, struct err *e)
{
	struct payment_state st;
	enum rc rc;

	if ((rc = task_finish(shop->pg, v->task_id, arena, e)) != RC_OK ||
	    (rc = payment_load(shop, v->order_id, arena, &st, e)) != RC_OK)
		return rc;
	assert(st.there);
	switch (v->said.outcome) {
	case PAY_PAID:
		return paid(shop, &st, &v->said, arena, after, e);
	case PAY_DECLINED:
		return declined(shop, &st, v->attempt, &v->said, arena, e);
	case PAY_CANCELLED:
		return cancelled(shop, &st, &v->said, arena, after, e);
	case PAY_OPEN:
	case PAY_PENDING:
		break;
	}
	assert(false && "an outcome that decides nothing");
	return RC_FAIL;
}

enum rc
payment_settle(struct shop *shop, const struct verdict *v, struct arena *arena,
    struct err *e)
{
	struct order_after after = { 0 };
	enum rc rc;

	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = write_outcome(shop, v, arena, &after, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc == RC_NONE ? RC_OK : rc; /* it stands already */
	}
	if ((rc = pg_commit(shop->pg, e)) != RC_OK)
		return rc;
	outbox_note(&shop->waker, "payment");
	outbox_note(&shop->waker, "email");
	order_moved(shop, &after, arena);
	return RC_OK;
}
