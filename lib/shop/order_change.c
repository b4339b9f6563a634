/*
 * What is done with an order that stands: cancelled by who made it, paid for
 * again, given up when its time is over. Each is a transaction that begins
 * with the order's lock and asks order_life what may be.
 */
#include <string.h>

#include "base/arena.h"
#include "shop/order.h"
#include "shop/order_life.h"
#include "shop/payment.h"
#include "shop/shop.h"
#include "store/pg.h"

static const struct pg_stmt order_due = { "order_due",
	"SELECT id FROM orders WHERE status IN ('pending', 'reserved')"
	" AND expires_at <= now() ORDER BY expires_at LIMIT "
	"$1::int",
	1 };

/* One that somebody has in hand is left for the next time. */
static const struct pg_stmt order_due_lock = { "order_due_lock",
	"SELECT id FROM orders WHERE id = $1"
	" AND status IN ('pending', 'reserved')"
	" AND expires_at <= now() FOR UPDATE SKIP LOCKED",
	1 };

const struct pg_stmt *const order_change_statements[] = { &order_due,
	&order_due_lock, NULL };

/* Inside a transaction that has locked it, or will. */
static enum rc
cancel(struct shop *shop, const char *id, const char *reason,
    struct arena *arena, struct order_after *after, struct err *e)
{
	struct order_row row;
	enum rc rc = order_lock(shop, id, arena, &row, e);

	*after = (struct order_after){ 0 };
	if (rc != RC_OK || row.status == OS_CANCELLED)
		return rc; /* twice is once */
	return order_move(shop, &row, OS_CANCELLED, reason, arena, after, e);
}

enum rc
order_cancel(struct shop *shop, const char *id, const struct order_who *who,
    struct arena *arena, struct span *json, struct err *e)
{
	struct order_after after;
	enum rc rc = order_get(shop, id, who, arena, json, e);

	if (rc != RC_OK || (rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = cancel(
	    shop, id, who->admin ? "by_shop" : "by_buyer", arena, &after, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) != RC_OK)
		return rc;
	order_moved(shop, &after, arena);
	return order_get(shop, id, who, arena, json, e);
}

enum rc
order_pay(struct shop *shop, const char *id, const struct order_who *who,
    const char *token, struct arena *arena, struct span *json, struct err *e)
{
	enum rc rc;

	if ((rc = payment_token_check(token, e)) != RC_OK ||
	    (rc = order_get(shop, id, who, arena, json, e)) != RC_OK ||
	    (rc = payment_again(shop, id, token, arena, e)) != RC_OK)
		return rc;
	return order_get(shop, id, who, arena, json, e);
}

/* *done false: somebody was faster. */
static enum rc
expire(struct shop *shop, const char *id, struct arena *arena, bool *done,
    struct err *e)
{
	struct order_after after;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	*done = false;
	pg_arg_str(&args, id);
	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &order_due_lock, &args, arena, &rows, e);
	if (rc == RC_OK && rows.n > 0)
		rc = cancel(shop, id, "expired", arena, &after, e);
	if (rc != RC_OK || rows.n == 0) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) != RC_OK)
		return rc;
	order_moved(shop, &after, arena);
	*done = true;
	return RC_OK;
}

/* One that cannot be cancelled does not stand in the way of the others. */
enum rc
order_expire(
    struct shop *shop, int max, struct arena *arena, int *n, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows due;
	enum rc rc, worst = RC_OK;

	*n = 0;
	pg_arg_int(&args, max);
	rc = pg_exec(shop->pg, PG_PRIMARY, &order_due, &args, arena, &due, e);
	if (rc != RC_OK)
		return rc;
	for (int i = 0; i < due.n; i++) {
		struct err one = ERR_INIT;
		bool done;

		rc = expire(shop, pg_str(&due, i, 0), arena, &done, &one);
		*n += done ? 1 : 0;
		if (rc != RC_OK) {
			worst = rc;
			if (e != NULL)
				*e = one;
		}
	}
	return worst;
}
