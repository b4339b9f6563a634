/*
 * Two tables: what may follow what, and which tasks follow from it. Nothing
 * else in the shop writes orders.status but the two statements that place an
 * order.
 *
 * A cancelled order's way back into stock depends on where its units came from.
 * A cart's were taken from the variants by decrease_stock, if it got that far:
 * the task release_stock undoes it. A flash sale's unit is its row in
 * sale_unit, which ends here, in the same transaction. Who gets the unit is
 * decided by the item's state, read FOR SHARE in a statement of its own after
 * the order's row is locked: a close that is under way holds the item's row, so
 * we wait for it and see it closed; one that comes later waits for us, and then
 * finds no row of ours (DESIGN 5.1, Closing).
 */
#include "shop/order_life.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "shop/counter.h"
#include "shop/shop.h"
#include "shop/stock_change.h"
#include "store/outbox.h"
#include "store/pg.h"

static const char *const names[] = {
	[OS_PENDING] = "pending",
	[OS_RESERVED] = "reserved",
	[OS_PAID] = "paid",
	[OS_FULFILLED] = "fulfilled",
	[OS_CANCELLED] = "cancelled",
	[OS_REFUNDED] = "refunded",
};
static const unsigned STATUSES = sizeof names / sizeof names[0];

/* ---- the table of transitions */

/* What becomes of the units, and which tasks follow. */
enum {
	UNITS_BACK = 1 << 0, /* what was reserved goes back */
	UNCHARGED = 1 << 1,  /* process_payment is not wanted any more */
	MONEY_BACK = 1 << 2, /* refund_payment, where a payment was begun */
};

static const struct transition {
	enum order_status from, to;
	unsigned does;
	const char *mail;  /* send_email's kind */
	const char *event; /* track_event's name */
} transitions[] = {
	{ OS_PENDING, OS_RESERVED, 0, NULL, NULL },
	{ OS_PENDING, OS_CANCELLED, UNCHARGED | MONEY_BACK, "order_cancelled",
	    "order_cancelled" },
	{ OS_RESERVED, OS_PAID, 0, "order_paid", "order_paid" },
	{ OS_RESERVED, OS_CANCELLED, UNITS_BACK | MONEY_BACK, "order_cancelled",
	    "order_cancelled" },
	{ OS_PAID, OS_FULFILLED, 0, NULL, "order_fulfilled" },
	{ OS_PAID, OS_REFUNDED, UNITS_BACK | MONEY_BACK, NULL,
	    "order_refunded" },
	/* The goods are with the buyer. */
	{ OS_FULFILLED, OS_REFUNDED, MONEY_BACK, NULL, "order_refunded" },
};

static const struct transition *
transition(enum order_status from, enum order_status to)
{
	for (size_t i = 0; i < sizeof transitions / sizeof *transitions; i++) {
		if (transitions[i].from == from && transitions[i].to == to)
			return &transitions[i];
	}
	return NULL;
}

bool
order_may(enum order_status from, enum order_status to)
{
	return transition(from, to) != NULL;
}

const char *
order_status_name(enum order_status status)
{
	assert((unsigned)status < STATUSES);
	return names[status];
}

bool
order_status_parse(const char *name, enum order_status *out)
{
	for (unsigned i = 0; i < STATUSES; i++) {
		if (strcmp(names[i], name) == 0) {
			*out = (enum order_status)i;
			return true;
		}
	}
	return false;
}

/* ---- statements */

static const struct pg_stmt order_lock_row = { "order_lock",
	"SELECT id, status, customer_id, sale_item_id, total, currency, email,"
	" reason, coalesce(expires_at <= clock_timestamp(), false)"
	" FROM orders WHERE id = $1 FOR UPDATE",
	1 };

static const struct pg_stmt order_set_status = { "order_set_status",
	"UPDATE orders SET status = $2, reason = $3"
	" WHERE id = $1 AND status = $4"
	" RETURNING EXISTS (SELECT FROM payment WHERE order_id = $1)",
	4 };

static const struct pg_stmt order_item_state = { "order_item_state",
	"SELECT state, sale_id, variant_id, product_id FROM sale_item"
	" WHERE id = $1 FOR SHARE",
	1 };

static const struct pg_stmt order_unit_end = { "order_unit_end",
	"DELETE FROM sale_unit WHERE order_id = $1 AND item_id = $2"
	" RETURNING unit, slot, buyer",
	2 };

/* After the close the row stays, as one that the close claimed. Were it deleted,
 * a purchase whose snapshot is of before the close could still take the number
 * (tests/model/sale.pml, NO_RECLAIM). */
static const struct pg_stmt order_unit_reclaim = { "order_unit_reclaim",
	"UPDATE sale_unit SET order_id = NULL, buyer = NULL, slot = NULL"
	" WHERE order_id = $1 AND item_id = $2 RETURNING unit",
	2 };

static const struct pg_stmt order_unit_to_stock = { "order_unit_to_stock",
	"UPDATE variant SET stock = stock + 1 WHERE id = $1", 1 };

const struct pg_stmt *const order_life_statements[] = { &order_lock_row,
	&order_set_status, &order_item_state, &order_unit_end,
	&order_unit_reclaim, &order_unit_to_stock, NULL };

enum rc
order_lock(struct shop *shop, const char *id, struct arena *arena,
    struct order_row *out, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	bool known;
	enum rc rc;

	pg_arg_str(&args, id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &order_lock_row, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_NONE, "order_not_found", "No such order");
	*out = (struct order_row){
		.id = pg_str(&rows, 0, 0),
		.customer_id = pg_int(&rows, 0, 2),
		.sale_item_id = pg_int(&rows, 0, 3),
		.total = pg_int(&rows, 0, 4),
		.currency = pg_str(&rows, 0, 5),
		.email = pg_str(&rows, 0, 6),
		.reason = pg_str(&rows, 0, 7),
		.expired = pg_bool(&rows, 0, 8),
	};
	known = order_status_parse(pg_str(&rows, 0, 1), &out->status);
	assert(known); /* the schema's CHECK */
	return RC_OK;
}

/* ---- the tasks that follow */

enum { MAX_TASKS = 4 };

struct tasks {
	int n;
	struct outbox_task list[MAX_TASKS];
};

static void
add_task(struct tasks *tasks, struct order_after *after, const char *type,
    const char *key, const char *data)
{
	assert(tasks->n < MAX_TASKS);
	tasks->list[tasks->n++] =
	    (struct outbox_task){ .type = type, .key = key, .data = data };
	assert(after->n_queues < (int)(sizeof after->queues / sizeof(char *)));
	after->queues[after->n_queues++] = task_type(type)->queue;
}

const char *
order_payment_key(const char *id, int attempt, struct arena *arena)
{
	return attempt == 1 ? id : arena_printf(arena, "%s:%d", id, attempt);
}

/* ---- the end of a flash sale's unit */

static const char *
unit_data(const struct order_after *a, struct arena *arena)
{
	struct strbuf sb;
	const char *s;

	strbuf_init(&sb, 200);
	strbuf_addf(&sb,
	    "{\"orderId\":\"%s\",\"saleId\":%lld,\"variantId\":%lld,"
	    "\"unit\":%d,\"slot\":%d,\"buyer\":\"",
	    a->order_id, (long long)a->sale_id, (long long)a->variant_id,
	    a->unit, a->slot);
	strbuf_add_json(&sb, a->buyer, strlen(a->buyer));
	strbuf_adds(&sb, "\"}");
	s = arena_strdup(arena, sb.s);
	strbuf_release(&sb);
	return s;
}

/* Once more on the shelf, for good: its sale is over. */
static enum rc
unit_to_stock(struct shop *shop, struct order_after *after, struct arena *arena,
    struct err *e)
{
	struct pg_args args = { 0 };
	enum rc rc;

	after->stock = arena_alloc(arena, sizeof *after->stock);
	pg_arg_int(&args, after->variant_id);
	rc = stock_change_begin(
	    shop, 1, &after->product_id, arena, after->stock, e);
	if (rc == RC_OK)
		rc = pg_exec(shop->pg, PG_PRIMARY, &order_unit_to_stock, &args,
		    arena, NULL, e);
	if (rc == RC_OK)
		rc = stock_change_end(shop, after->stock, arena, e);
	return rc;
}

static enum rc
end_unit(struct shop *shop, const struct order_row *row, struct tasks *tasks,
    struct arena *arena, struct order_after *after, struct err *e)
{
	struct pg_args item_args = { 0 }, unit_args = { 0 };
	struct pg_rows item, unit;
	bool open;
	enum rc rc;

	pg_arg_int(&item_args, row->sale_item_id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &order_item_state, &item_args, arena,
	    &item, e);
	if (rc != RC_OK)
		return rc;
	if (item.n == 0)
		return err_set(e, RC_FAIL, "no_sale_item",
		    "order %s is of a sale item that is not there", row->id);
	open = strcmp(pg_str(&item, 0, 0), "open") == 0;
	pg_arg_str(&unit_args, row->id);
	pg_arg_int(&unit_args, row->sale_item_id);
	rc = pg_exec(shop->pg, PG_PRIMARY,
	    open ? &order_unit_end : &order_unit_reclaim, &unit_args, arena,
	    &unit, e);
	if (rc != RC_OK || unit.n == 0)
		return rc;
	after->order_id = row->id;
	after->sale_id = pg_int(&item, 0, 1);
	after->variant_id = pg_int(&item, 0, 2);
	after->product_id = pg_int(&item, 0, 3);
	if (!open)
		return unit_to_stock(shop, after, arena, e);
	after->unit = (int)pg_int(&unit, 0, 0);
	after->slot = (int)pg_int(&unit, 0, 1);
	after->buyer = pg_str(&unit, 0, 2);
	after->give_back = true;
	add_task(
	    tasks, after, "release_stock", row->id, unit_data(after, arena));
	return RC_OK;
}

/* ---- moving */

static enum rc
follow(struct shop *shop, const struct order_row *row,
    const struct transition *t, bool payment, struct arena *arena,
    struct order_after *after, struct err *e)
{
	const char *id = row->id;
	const char *data = arena_printf(arena, "{\"orderId\":\"%s\"}", id);
	struct tasks tasks = { 0 };
	enum rc rc = RC_OK;

	if ((t->does & UNITS_BACK) != 0 && row->sale_item_id == 0)
		add_task(&tasks, after, "release_stock", id, data);
	else if ((t->does & UNITS_BACK) != 0)
		rc = end_unit(shop, row, &tasks, arena, after, e);
	if (rc == RC_OK && (t->does & UNCHARGED) != 0)
		rc = outbox_drop(shop->pg, "process_payment",
		    order_payment_key(id, 1, arena), arena, e);
	if (rc != RC_OK)
		return rc;
	if ((t->does & MONEY_BACK) != 0 && payment)
		add_task(&tasks, after, "refund_payment", id, data);
	if (t->mail != NULL && row->email[0] != '\0')
		add_task(&tasks, after, "send_email",
		    arena_printf(arena, "%s:%s", id, t->mail),
		    arena_printf(arena, "{\"kind\":\"%s\",\"orderId\":\"%s\"}",
			t->mail, id));
	if (t->event != NULL)
		add_task(&tasks, after, "track_event",
		    arena_printf(arena, "%s:%s", id, t->event),
		    arena_printf(arena, "{\"name\":\"%s\",\"orderId\":\"%s\"}",
			t->event, id));
	return outbox_write(shop->pg, tasks.n, tasks.list, arena, e);
}

enum rc
order_move(struct shop *shop, struct order_row *row, enum order_status to,
    const char *reason, struct arena *arena, struct order_after *after,
    struct err *e)
{
	const struct transition *t = transition(row->status, to);
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	*after = (struct order_after){ 0 };
	if (t == NULL)
		return err_set(e, RC_REFUSED, "wrong_state", "The order is %s",
		    order_status_name(row->status));
	pg_arg_str(&args, row->id);
	pg_arg_str(&args, order_status_name(to));
	pg_arg_str(&args, reason);
	pg_arg_str(&args, order_status_name(row->status));
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &order_set_status, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	assert(rows.n == 1); /* the caller holds its lock */
	rc = follow(shop, row, t, pg_bool(&rows, 0, 0), arena, after, e);
	if (rc == RC_OK) {
		row->status = to;
		row->reason = reason;
	}
	return rc;
}

void
order_moved(
    struct shop *shop, const struct order_after *after, struct arena *arena)
{
	struct err later;

	for (int i = 0; i < after->n_queues; i++)
		outbox_note(&shop->waker, after->queues[i]);
	if (after->give_back)
		(void)!counter_give_back(shop->sale_redis,
		    (struct counter_ref){ after->sale_id, after->variant_id },
		    &(struct counter_unit){ .id = after->order_id,
			.buyer = after->buyer,
			.unit = after->unit,
			.slot = after->slot },
		    arena, &later);
	if (after->stock != NULL)
		stock_change_done(shop, after->stock, arena);
}
