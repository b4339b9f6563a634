/*
 * What asks for a payment to be made or looked at: the buyer, once more; the
 * provider's events; the housekeeper. None of them calls the provider: each
 * writes a task.
 */
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "shop/order_life.h"
#include "shop/payment.h"
#include "shop/payment_int.h"
#include "shop/shop.h"
#include "store/outbox.h"
#include "store/pg.h"

/* Of one order; more is somebody trying out other people's cards. */
enum { MAX_ATTEMPTS = 10 };

static const struct pg_stmt event_insert = { "payment_event_insert",
	"INSERT INTO payment_event (provider, event_id, type)"
	" VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
	3 };

static const struct pg_stmt event_order = { "payment_event_order",
	"SELECT order_id FROM payment WHERE order_id = $1"
	" UNION SELECT order_id FROM payment"
	" WHERE provider = $2 AND intent = $3 AND intent <> '' LIMIT 1",
	3 };

static const struct pg_stmt event_forget = { "payment_event_forget",
	"DELETE FROM payment_event"
	" WHERE received_at < now() - interval '60 days'",
	0 };

/* A task that lives asks at least every 15 minutes (the longest back-off). */
static const struct pg_stmt attempts_left = { "payment_attempts_left",
	"UPDATE payment_attempt a SET asked_at = clock_timestamp()"
	" FROM (SELECT order_id, attempt FROM payment_attempt"
	"  WHERE outcome = 'unknown'"
	"   AND created_at < now() - interval '30 minutes'"
	"   AND coalesce(asked_at, created_at) < now() - interval '30 minutes'"
	"  ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED) d"
	" WHERE a.order_id = d.order_id AND a.attempt = d.attempt"
	" RETURNING a.order_id, a.attempt, a.token,"
	" extract(epoch FROM now())::bigint",
	1 };

/* They live on as new tasks. */
static const struct pg_stmt refunds_left = { "payment_refunds_left",
	"DELETE FROM dead_task WHERE task_id IN ("
	" SELECT d.task_id FROM dead_task d JOIN payment p"
	"  ON p.order_id = d.data ->> 'orderId'"
	" WHERE d.queue = 'payment' AND d.type = 'refund_payment'"
	"  AND d.died_at < now() - interval '1 hour'"
	"  AND p.status NOT IN ('cancelled', 'refunded')"
	" ORDER BY d.died_at LIMIT $1 FOR UPDATE OF d SKIP LOCKED)"
	" RETURNING data ->> 'orderId', extract(epoch FROM now())::bigint",
	1 };

const struct pg_stmt *const payment_ask_statements[] = { &event_insert,
	&event_order, NULL };

enum rc
payment_token_check(const char *token, struct err *e)
{
	size_t n = strlen(token);

	for (size_t i = 0; i < n; i++) {
		if (n > 255 || token[i] < '!' || token[i] > '~')
			return err_set(e, RC_INVALID, "invalid_field",
			    "payment.token: 1 to 255 visible ASCII characters "
			    "are wanted");
	}
	return RC_OK;
}

/* ---- tasks */

static enum rc
write_attempt(struct shop *shop, const char *key, const char *order_id,
    int attempt, const char *token, struct arena *arena, struct err *e)
{
	struct strbuf sb;

	strbuf_init(&sb, 128);
	strbuf_addf(&sb, "{\"orderId\":\"%s\",\"attempt\":%d,\"token\":\"",
	    order_id, attempt);
	strbuf_add_json(&sb, token, strlen(token));
	strbuf_adds(&sb, "\"}");

	struct outbox_task task = {
		.type = "process_payment", .key = key, .data = sb.s
	};
	enum rc rc = outbox_write(shop->pg, 1, &task, arena, e);

	strbuf_release(&sb);
	return rc;
}

/* Ends the transaction by what came of it. */
static enum rc
end(struct shop *shop, enum rc rc, struct err *e)
{
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) == RC_OK)
		outbox_note(&shop->waker, "payment");
	return rc;
}

/* ---- once more */

static enum rc
again(struct shop *shop, const char *order_id, const char *token,
    struct arena *arena, struct err *e)
{
	struct payment_state st;
	enum rc rc;

	if ((rc = payment_load(shop, order_id, arena, &st, e)) != RC_OK)
		return rc;
	if ((st.order.status != OS_RESERVED && st.order.status != OS_PENDING) ||
	    (st.order.expired && !st.unknown))
		return err_set(e, RC_REFUSED, "wrong_state",
		    "The order cannot be paid any more: it is %s",
		    st.order.expired ? "expired"
				     : order_status_name(st.order.status));
	if (!st.there || st.unknown)
		return err_set(e, RC_REFUSED, "payment_in_progress",
		    "A payment is under way; please wait for its outcome");
	if (st.attempt >= MAX_ATTEMPTS)
		return err_set(e, RC_REFUSED, "too_many_attempts",
		    "The order was tried to be paid too often");
	rc = payment_begin(shop, order_id, st.attempt + 1, token, arena, e);
	if (rc != RC_OK)
		return rc;
	return write_attempt(shop,
	    order_payment_key(order_id, st.attempt + 1, arena), order_id,
	    st.attempt + 1, token, arena, e);
}

enum rc
payment_again(struct shop *shop, const char *order_id, const char *token,
    struct arena *arena, struct err *e)
{
	enum rc rc;

	if ((rc = payment_token_check(token, e)) != RC_OK ||
	    (rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	return end(shop, again(shop, order_id, token, arena, e), e);
}

/* ---- events */

static enum rc
take_event(struct shop *shop, const struct pay *pay, const struct pay_event *ev,
    struct arena *arena, struct err *e)
{
	struct pg_args event = { 0 }, order = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&event, pay_name(pay));
	pg_arg_str(&event, ev->id);
	pg_arg_str(&event, ev->type);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &event_insert, &event, arena, &rows, e);
	if (rc != RC_OK || rows.affected == 0)
		return rc; /* it was here before */
	pg_arg_str(&order, ev->order_id);
	pg_arg_str(&order, pay_name(pay));
	pg_arg_str(&order, ev->intent);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &event_order, &order, arena, &rows, e);
	if (rc != RC_OK || rows.n == 0)
		return rc; /* not of this shop */

	struct outbox_task task = { .type = "process_payment",
		.key = arena_concat(arena, "event:", ev->id, NULL),
		.data =
		    arena_printf(arena, "{\"orderId\":\"%s\",\"look\":true}",
			pg_str(&rows, 0, 0)) };

	return outbox_write(shop->pg, 1, &task, arena, e);
}

enum rc
payment_webhook(struct shop *shop, struct pay *pay, struct span body,
    const char *signature, struct arena *arena, struct err *e)
{
	struct pay_event ev;
	enum rc rc;

	rc = pay_webhook(
	    pay, body, signature, clock_wall_ms() / 1000, arena, &ev, e);
	if (rc == RC_NONE)
		return RC_OK; /* nothing that concerns an order */
	if (rc != RC_OK || (rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	return end(shop, take_event(shop, pay, &ev, arena, e), e);
}

/* ---- the housekeeper */

static enum rc
wake_attempts(
    struct shop *shop, int max, int *n, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows r;
	enum rc rc;

	pg_arg_int(&args, max);
	rc = pg_exec(shop->pg, PG_PRIMARY, &attempts_left, &args, arena, &r, e);
	if (rc != RC_OK)
		return rc;
	*n = r.n;
	for (int i = 0; i < r.n && rc == RC_OK; i++) {
		const char *id = pg_str(&r, i, 0);
		int attempt = (int)pg_int(&r, i, 1);
		const char *key = arena_printf(arena, "%s:%d:%lld", id, attempt,
		    (long long)pg_int(&r, i, 3));

		rc = write_attempt(
		    shop, key, id, attempt, pg_str(&r, i, 2), arena, e);
	}
	return rc;
}

static enum rc
wake_refunds(struct shop *shop, int max, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows r;
	enum rc rc;

	pg_arg_int(&args, max);
	rc = pg_exec(shop->pg, PG_PRIMARY, &refunds_left, &args, arena, &r, e);
	for (int i = 0; rc == RC_OK && i < r.n; i++) {
		const char *id = pg_str(&r, i, 0);
		struct outbox_task task = { .type = "refund_payment",
			.key = arena_printf(arena, "%s:again:%lld", id,
			    (long long)pg_int(&r, i, 1)),
			.data =
			    arena_printf(arena, "{\"orderId\":\"%s\"}", id) };

		rc = outbox_write(shop->pg, 1, &task, arena, e);
	}
	return rc;
}

enum rc
payment_resolve(struct shop *shop, int max, struct arena *arena, struct err *e)
{
	int n = 0;
	enum rc rc;

	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = wake_attempts(shop, max, &n, arena, e);
	if (rc == RC_OK && n < max)
		rc = wake_refunds(shop, max - n, arena, e);
	return end(shop, rc, e);
}

enum rc
payment_forget(struct shop *shop, struct arena *arena, struct err *e)
{
	return pg_exec(
	    shop->pg, PG_PRIMARY, &event_forget, NULL, arena, NULL, e);
}
