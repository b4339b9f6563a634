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
#include "base/strbuf.h"
#include "shop/ids.h"
#include "shop/purchase_int.h"
#include "shop/shop.h"
#include "shop/total.h"
#include "store/outbox.h"

/*
 * Tax as in total.c, which has to take the same care not to overflow. An
 * attempt to pay may prolong the order to three times its life in all.
 *
 * `item` and `unit` have one row or none, so nothing is joined by a condition,
 * and what is known before comes as a parameter, JSON too: each node of a plan
 * and each function call is set up anew for every purchase. The tasks are the
 * statement's own INSERT, so that their number says whether it was placed.
 */
const struct pg_stmt purchase_place = { "purchase_place",
	"WITH item AS MATERIALIZED (SELECT i.id, i.price, p.title,"
	"   array_to_string(v.options, ' / ') AS variant_title,"
	"   i.price / 100000 * $17::int8"
	"    + (i.price % 100000 * $17::int8 + 50000) / 100000 AS tax"
	"  FROM sale_item i JOIN product p ON p.id = i.product_id"
	"   JOIN variant v ON v.id = i.variant_id"
	"  WHERE i.sale_id = $2::int8 AND i.variant_id = $4::int8"
	"   AND i.product_id = $3::int8 AND i.state = 'open'"
	"   AND i.epoch = $5::int8" /* MUTANT epoch */
	"   AND $6::int <= i.allotment AND $7::int <= i.per_buyer),"
	" unit AS (INSERT INTO sale_unit (item_id, unit, order_id, buyer, slot)"
	"  SELECT id, $6::int, $1::text, $8::text, $7::int FROM item"
	"  ON CONFLICT DO NOTHING RETURNING 1),"
	" ord AS (INSERT INTO orders (id, customer_id, sale_item_id, status,"
	"   currency, tax, total, email, request_hash, answer, language,"
	"   expires_at, expires_cap)"
	"  SELECT $1::text, $9::int8, t.id, 'reserved', $18::text, t.tax,"
	"   t.price + t.tax, $10::text, $11::bytea, $12::jsonb, $19::text,"
	"   now() + $20::int8 * interval '1 second',"
	"   now() + 3 * $20::int8 * interval '1 second'"
	"  FROM unit, item t RETURNING 1),"
	" line AS (INSERT INTO order_line (order_id, line, product_id,"
	"   variant_id, title, variant_title, quantity, price)"
	"  SELECT $1::text, 1, $3::int8, $4::int8, t.title,"
	"   t.variant_title, 1, t.price FROM ord, item t)"
	" INSERT INTO outbox (task_id, queue, type, priority, data)"
	" SELECT k.* FROM ord, (VALUES"
	"  ($14::text, 'payment', 'process_payment', 'high', $13::jsonb),"
	"  ($15::text, 'email', 'order_confirmation', 'low', $21::jsonb),"
	"  ($16::text, 'analytics', 'order_placed', 'low', $21::jsonb)) k",
	21 };

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

/* What is told to whoever pays; the token is the buyer's own text. */
static const char *
payment_data(const struct sale_order *o, struct arena *arena)
{
	struct strbuf sb;
	const char *out;

	strbuf_init(&sb, 256);
	strbuf_addf(
	    &sb, "{\"orderId\":\"%s\",\"attempt\":1,\"token\":\"", o->id);
	strbuf_add_json(&sb, o->token, strlen(o->token));
	strbuf_adds(&sb, "\"}");
	out = arena_strndup(arena, sb.s, sb.len);
	strbuf_release(&sb);
	return out;
}

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
	pg_arg_str(
	    args, arena_printf(arena, "{\"orderId\":\"%s\",\"stock\":%lld}",
		      o->id, (long long)o->stock));
	pg_arg_str(args, payment_data(o, arena));
	for (int i = 0; i < 3; i++) {
		char *id = arena_alloc(arena, TASK_ID_CHARS + 1);

		task_id(types[i], o->id, id);
		pg_arg_str(args, id);
	}
	pg_arg_int(args, rules.tax_rate);
	pg_arg_str(args, shop->currency);
	pg_arg_str(args, conf_str(shop->conf, "shop", "language"));
	pg_arg_int(args, conf_int(shop->conf, "order", "expires"));
	pg_arg_str(args, arena_printf(arena, "{\"orderId\":\"%s\"}", o->id));
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
		*placed = rows.affected > 0;
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
