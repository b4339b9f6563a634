/*
 * The statements of a purchase (DESIGN 5.1, step 2).
 *
 * The unit row first, ON CONFLICT DO NOTHING over all its three keys (unit,
 * slot, order): a second inserter waits for the first and then inserts nothing,
 * and so does all that hangs on it. The order itself without it: an id that
 * stands (an order that was cancelled has no unit row any more) must fail the
 * whole statement, or a unit would be given to it.
 *
 * No lock on the item's row: its state and epoch are read by the statement's
 * snapshot. Whoever changes them counts on the unit keys for what had begun.
 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "shop/ids.h"
#include "shop/purchase_int.h"
#include "shop/shop.h"
#include "shop/total.h"
#include "store/outbox.h"

/* Tax as in total.c, which has to take the same care not to overflow. An
 * attempt to pay may prolong the order to three times its life in all. */
const struct pg_stmt purchase_place = { "purchase_place",
	"WITH req AS (SELECT $1::text AS id, $2::int8 AS sale_id,"
	"  $3::int8 AS product_id, $4::int8 AS variant_id, $5::int8 AS epoch,"
	"  $6::int AS unit, $7::int AS slot, $8::text AS buyer,"
	"  $9::int8 AS customer_id, $10::text AS email, $11::bytea AS hash,"
	"  $12::int8 AS stock, $13::text AS token, $14::text AS pay_task,"
	"  $15::text AS mail_task, $16::text AS event_task),"
	" item AS (SELECT r.*, i.id AS item_id, i.price, p.title,"
	"   array_to_string(v.options, ' / ') AS variant_title,"
	"   i.price / 100000 * $17::int8"
	"    + (i.price % 100000 * $17::int8 + 50000) / 100000 AS tax"
	"  FROM req r JOIN sale_item i ON i.sale_id = r.sale_id"
	"    AND i.variant_id = r.variant_id AND i.product_id = r.product_id"
	"   JOIN product p ON p.id = i.product_id"
	"   JOIN variant v ON v.id = i.variant_id"
	"  WHERE i.state = 'open'"
	"   AND i.epoch = r.epoch" /* MUTANT epoch */
	"   AND r.unit <= i.allotment AND r.slot <= i.per_buyer),"
	" unit AS (INSERT INTO sale_unit (item_id, unit, order_id, buyer, slot)"
	"  SELECT item_id, unit, id, buyer, slot FROM item"
	"  ON CONFLICT DO NOTHING RETURNING order_id),"
	" ord AS (INSERT INTO orders (id, customer_id, sale_item_id, status,"
	"   currency, tax, total, email, request_hash, answer, language,"
	"   expires_at, expires_cap)"
	"  SELECT t.id, t.customer_id, t.item_id, 'reserved', $18::text, t.tax,"
	"   t.price + t.tax, t.email, t.hash,"
	"   jsonb_build_object('orderId', t.id, 'stock', t.stock), $19::text,"
	"   now() + $20::int8 * interval '1 second',"
	"   now() + 3 * $20::int8 * interval '1 second'"
	"  FROM unit u JOIN item t ON t.id = u.order_id RETURNING id),"
	" line AS (INSERT INTO order_line (order_id, line, product_id,"
	"   variant_id, title, variant_title, quantity, price)"
	"  SELECT o.id, 1, t.product_id, t.variant_id, t.title,"
	"   t.variant_title, 1, t.price FROM ord o JOIN item t ON t.id = o.id),"
	" task AS (INSERT INTO outbox (task_id, queue, type, priority, data)"
	"  SELECT k.* FROM ord o JOIN item t ON t.id = o.id"
	"   CROSS JOIN LATERAL (VALUES"
	"   (t.pay_task, 'payment', 'process_payment', 'high',"
	"    jsonb_build_object('orderId', t.id, 'attempt', 1,"
	"     'token', t.token)),"
	"   (t.mail_task, 'email', 'order_confirmation', 'low',"
	"    jsonb_build_object('orderId', t.id)),"
	"   (t.event_task, 'analytics', 'order_placed', 'low',"
	"    jsonb_build_object('orderId', t.id))) k)"
	" SELECT id FROM ord",
	20 };

/* $1 id, $2 hash -> stock as answered, another body? */
const struct pg_stmt purchase_stands = { "purchase_stands",
	"SELECT coalesce((o.answer->>'stock')::int8, 0),"
	" coalesce(o.request_hash <> $2::bytea, false)"
	" FROM orders o WHERE o.id = $1",
	2 };

/* Why nothing was placed. $1 id, $2 hash, $3 sale, $4 variant, $5 unit,
 * $6 buyer, $7 slot */
const struct pg_stmt purchase_why = { "purchase_why",
	"SELECT o.id, coalesce((o.answer->>'stock')::int8, 0),"
	" coalesce(o.request_hash <> $2::bytea, false), own.unit, own.slot,"
	" i.state, i.epoch, u.order_id, u.buyer, u.unit, u.slot,"
	" s.order_id, s.buyer, s.unit, s.slot"
	" FROM sale_item i LEFT JOIN orders o ON o.id = $1"
	" LEFT JOIN sale_unit own ON own.order_id = $1 AND own.item_id = i.id"
	" LEFT JOIN sale_unit u ON u.item_id = i.id AND u.unit = $5::int"
	" LEFT JOIN sale_unit s ON s.item_id = i.id AND s.buyer = $6"
	"  AND s.slot = $7::int"
	" WHERE i.sale_id = $3 AND i.variant_id = $4",
	7 };

/* $1 sale, $2 product */
const struct pg_stmt purchase_variants = { "purchase_variants",
	"SELECT variant_id, state = 'draft' FROM sale_item"
	" WHERE sale_id = $1 AND product_id = $2 ORDER BY position, id"
	" LIMIT 1000",
	2 };

const struct pg_stmt *const purchase_statements[] = { &purchase_place,
	&purchase_stands, &purchase_why, &purchase_variants, NULL };

void
buyer_name(int64_t customer_id, char buyer[BUYER_CHARS + 1])
{
	(void)snprintf(buyer, BUYER_CHARS + 1, "%lld", (long long)customer_id);
}

enum { BYTEA = 2 + 64 + 1 };

static enum rc
args_fill(struct shop *shop, const struct sale_order *o, struct arena *arena,
    struct pg_args *args, struct err *e)
{
	static const char *const types[] = { "process_payment",
		"order_confirmation", "order_placed" };
	struct total_rules rules;
	char *hash = NULL;
	enum rc rc = total_rules(shop->conf, &rules, e);

	if (rc != RC_OK)
		return rc;
	if (o->body_hash != NULL) {
		hash = arena_alloc(arena, BYTEA);
		hash_bytea(o->body_hash, hash);
	}
	pg_arg_str(args, o->id);
	pg_arg_int(args, o->sale_id);
	pg_arg_int(args, o->product_id);
	pg_arg_int(args, o->variant_id);
	pg_arg_int(args, o->epoch);
	pg_arg_int(args, o->unit);
	pg_arg_int(args, o->slot);
	pg_arg_str(args, o->buyer);
	pg_arg_int(args, o->customer_id);
	pg_arg_str(args, o->email);
	pg_arg_str(args, hash);
	pg_arg_int(args, o->stock);
	pg_arg_str(args, o->token);
	for (int i = 0; i < 3; i++) {
		char *id = arena_alloc(arena, TASK_ID_CHARS + 1);

		task_id(types[i], o->id, id);
		pg_arg_str(args, id);
	}
	pg_arg_int(args, rules.tax_rate);
	pg_arg_str(args, shop->currency);
	pg_arg_str(args, conf_str(shop->conf, "shop", "language"));
	pg_arg_int(args, conf_int(shop->conf, "order", "expires"));
	return RC_OK;
}

enum rc
order_insert_sale(struct shop *shop, const struct sale_order *order,
    int64_t deadline, struct arena *arena, bool *placed, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc = args_fill(shop, order, arena, &args, e);

	if (rc != RC_OK)
		return rc;
	*placed = false;
	/* Stopped for so long that nobody waits for the answer any more: an
	 * order that is sent now would be one that its buyer is not told of. */
	if (deadline_left_ms(deadline) == 0)
		return err_set(e, RC_RETRY, "sale_busy",
		    "the deadline has passed; nothing was sent");
	rc = pg_exec_by(shop->pg, PG_PRIMARY, &purchase_place, &args, deadline,
	    arena, &rows, e);
	if (rc == RC_OK)
		*placed = rows.n > 0;
	else if (rc == RC_REFUSED && strcmp(e->code, "unique_violation") == 0)
		return RC_OK;
	else if (rc == RC_REFUSED &&
		 strcmp(e->code, "foreign_key_violation") == 0)
		return err_set(e, RC_REFUSED, "no_customer",
		    "This account does not exist any more");
	else if (rc == RC_REFUSED) /* a check: our bug */
		return RC_FAIL;
	return rc;
}
