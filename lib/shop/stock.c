/*
 * The version of a figure is Redis's time *before* its parts were read: of two
 * who tell the same product, the one whose change was committed later read the
 * time later too, so that it wins with whoever drops what is older, in whatever
 * order the two messages come. (A sale's counter tells with its own script's
 * time: what it tells is read in that moment.)
 *
 * For who asks, the record in the cache says the variants' stock and which
 * sales are open: a product without one costs no query. A counter that is not
 * armed, or away, is stood in for by the truth: the allotment less the rows of
 * sale_unit.
 */
#include "shop/stock.h"

#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "shop/catalog.h"
#include "shop/catalog_int.h"
#include "shop/counter.h"
#include "shop/order_life.h"
#include "shop/shop.h"
#include "shop/stock_change.h"
#include "store/outbox.h"
#include "store/pg.h"
#include "store/queue.h"
#include "store/redis.h"

enum { MAX_ITEMS = 100 }; /* open sale items of one product */

/* What a figure is made of, named as in a product's record. */
static const struct pg_stmt stock_now = { "stock_now",
	"SELECT json_build_object('id', p.id, 'variants',"
	"  (SELECT coalesce(json_agg(json_build_object('id', v.id,"
	"    'stock', v.stock) ORDER BY v.position, v.id), '[]')"
	"   FROM variant v WHERE v.product_id = p.id),"
	" 'sales', (SELECT coalesce(json_agg(json_build_object("
	"    'saleId', i.sale_id, 'variantId', i.variant_id)"
	"    ORDER BY i.id), '[]') FROM sale_item i"
	"   WHERE i.product_id = p.id AND i.state = 'open'))"
	" FROM product p WHERE p.id = ANY($1::int8[]) ORDER BY p.id",
	1 };

static const struct pg_stmt stock_left = { "stock_left",
	"SELECT i.sale_id, i.variant_id, i.allotment -"
	"  (SELECT count(*) FROM sale_unit u WHERE u.item_id = i.id)"
	" FROM sale_item i WHERE i.product_id = $1 AND i.state = 'open'",
	1 };

/* ---- a figure */

struct items {
	int n;
	struct counter_ref ref[MAX_ITEMS];
	int64_t left[MAX_ITEMS]; /* -1: not known; -2: closed meanwhile */
};

static int64_t
member_int(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

/* Microseconds. Without Redis: this host's. */
static int64_t
version_now(struct shop *shop, struct arena *arena)
{
	struct redis_reply r;
	struct err e;

	if (redis_callv(shop->redis, NULL, arena, &r, &e, "TIME", NULL) !=
		RC_OK ||
	    r.type != RT_ARRAY || r.n < 2)
		return clock_wall_ms() * 1000;
	return redis_num(&r.item[0], 0) * 1000000 + redis_num(&r.item[1], 0);
}

/* By the counters; whether all of them answered. */
static bool
count_by_redis(struct shop *shop, struct items *items, struct arena *arena)
{
	struct counter_state states[MAX_ITEMS];
	bool all = true;
	struct err e;

	if (counter_states(shop->sale_redis, items->n, items->ref, arena,
		states, &e) != RC_OK)
		return false;
	for (int i = 0; i < items->n; i++) {
		if (states[i].there && states[i].closed)
			items->left[i] = -2;
		else if (states[i].there && states[i].armed)
			items->left[i] = states[i].left;
		else
			all = false;
	}
	return all;
}

static enum rc
count_by_pg(struct shop *shop, int64_t product_id, struct items *items,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, product_id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &stock_left, &args, arena, &rows, e);
	for (int i = 0; rc == RC_OK && i < items->n; i++) {
		if (items->left[i] != -1)
			continue;
		items->left[i] = -2; /* not open any more */
		for (int k = 0; k < rows.n; k++) {
			if (pg_int(&rows, k, 0) == items->ref[i].sale_id &&
			    pg_int(&rows, k, 1) == items->ref[i].variant_id)
				items->left[i] = pg_int(&rows, k, 2);
		}
	}
	return rc;
}

static enum rc
count_items(struct shop *shop, const json_t *product, struct items *items,
    struct arena *arena, struct err *e)
{
	const json_t *sale;
	size_t i;

	items->n = 0;
	json_array_foreach(json_object_get(product, "sales"), i, sale)
	{
		if (items->n == MAX_ITEMS)
			break;
		items->left[items->n] = -1;
		items->ref[items->n++] = (struct counter_ref){
			.sale_id = member_int(sale, "saleId"),
			.variant_id = member_int(sale, "variantId"),
		};
	}
	if (items->n == 0 || count_by_redis(shop, items, arena))
		return RC_OK;
	return count_by_pg(shop, member_int(product, "id"), items, arena, e);
}

/* DESIGN 4.3, from a record. */
static struct span
figure_json(const json_t *product, const struct items *items, int64_t version,
    struct arena *arena)
{
	json_t *list = json_array(), *sale = json_null();
	json_int_t sum = 0;
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(product, "variants"), i, v)
	{
		json_int_t id = member_int(v, "id");
		json_int_t stock = member_int(v, "stock");

		for (int k = 0; k < items->n; k++) {
			if (items->ref[k].variant_id != id ||
			    items->left[k] < 0)
				continue;
			stock = items->left[k];
			if (json_is_null(sale))
				sale = json_integer(items->ref[k].sale_id);
		}
		sum += stock;
		(void)json_array_append_new(list,
		    json_pack("{sI sI}", "variantId", id, "stock", stock));
	}
	return catalog_dump(
	    json_pack("{sI sI so so sI}", "productId",
		(json_int_t)member_int(product, "id"), "stock", sum, "saleId",
		sale, "variants", list, "version", (json_int_t)version),
	    arena);
}

static enum rc
figure(struct shop *shop, struct span record, int64_t version,
    struct arena *arena, struct span *json, struct err *e)
{
	struct items items;
	json_error_t why;
	json_t *product = json_loadb(record.p, record.n, 0, &why);
	enum rc rc;

	if (product == NULL)
		return err_set(e, RC_FAIL, "bad_record",
		    "a product's record is not JSON: %s", why.text);
	rc = count_items(shop, product, &items, arena, e);
	if (rc == RC_OK)
		*json = figure_json(product, &items, version, arena);
	json_decref(product);
	return rc;
}

enum rc
stock_figure(struct shop *shop, int64_t product_id, struct arena *arena,
    struct span *json, bool *storable, struct err *e)
{
	int64_t version = version_now(shop, arena);
	struct cache_entry entry;
	enum rc rc = catalog_get(shop, product_id, arena, &entry, e);

	if (rc != RC_OK)
		return rc;
	*storable = entry.storable;
	return figure(shop, entry.body, version, arena, json, e);
}

/* ---- telling it */

static const char *
ids_param(int n, const int64_t ids[], struct arena *arena)
{
	struct strbuf sb;
	const char *s;

	strbuf_init(&sb, 64);
	for (int i = 0; i < n; i++)
		strbuf_addf(
		    &sb, "%c%lld", i == 0 ? '{' : ',', (long long)ids[i]);
	strbuf_adds(&sb, n == 0 ? "{}" : "}");
	s = arena_strdup(arena, sb.s);
	strbuf_release(&sb);
	return s;
}

enum rc
stock_publish(struct shop *shop, int n, const int64_t product_ids[],
    struct arena *arena, struct err *e)
{
	int64_t version = version_now(shop, arena);
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, ids_param(n, product_ids, arena));
	rc = pg_exec(shop->pg, PG_PRIMARY, &stock_now, &args, arena, &rows, e);
	for (int i = 0; rc == RC_OK && i < rows.n; i++) {
		struct redis_reply reply;
		struct span json;
		const char *id;

		rc = figure(
		    shop, pg_cell(&rows, i, 0), version, arena, &json, e);
		if (rc != RC_OK)
			break;
		id = strpbrk(json.p, "0123456789"); /* productId is first */
		rc = redis_callv(shop->redis, NULL, arena, &reply, e, "PUBLISH",
		    arena_printf(arena, "product:%.*s:update",
			(int)strspn(id, "0123456789"), id),
		    json.p, NULL);
	}
	return rc;
}

/* ---- decrease_stock, release_stock */

/* Each line's variant, locked in the order of ids; lines whose variant is gone
 * are missing. */
static const struct pg_stmt stock_lock_lines = { "stock_lock_lines",
	"SELECT v.id, v.stock, l.quantity FROM order_line l"
	" JOIN variant v ON v.id = l.variant_id WHERE l.order_id = $1"
	" ORDER BY v.id FOR NO KEY UPDATE OF v",
	1 };

static const struct pg_stmt stock_line_products = { "stock_line_products",
	"SELECT product_id FROM order_line WHERE order_id = $1", 1 };

static const struct pg_stmt stock_take = { "stock_take",
	"UPDATE variant v SET stock = v.stock - l.quantity FROM order_line l"
	" WHERE l.order_id = $1 AND v.id = l.variant_id"
	" AND v.stock >= l.quantity",
	1 };

static const struct pg_stmt stock_put_back = { "stock_put_back",
	"UPDATE variant v SET stock = v.stock + l.quantity FROM order_line l"
	" WHERE l.order_id = $1 AND v.id = l.variant_id",
	1 };

static const struct pg_stmt stock_order_status = { "stock_order_status",
	"SELECT status FROM orders WHERE id = $1", 1 };

/* The item, and whether somebody has the unit again. */
static const struct pg_stmt stock_unit_free = { "stock_unit_free",
	"SELECT i.state = 'open' AND NOT EXISTS (SELECT FROM sale_unit u"
	"  WHERE u.item_id = i.id AND u.unit = $3::int)"
	" FROM sale_item i WHERE i.sale_id = $1 AND i.variant_id = $2",
	3 };

const struct pg_stmt *const stock_statements[] = { &stock_now, &stock_left,
	&stock_lock_lines, &stock_line_products, &stock_take, &stock_put_back,
	&stock_order_status, &stock_unit_free, NULL };

static enum rc
by_order(struct shop *shop, const struct pg_stmt *st, const char *order_id,
    struct arena *arena, struct pg_rows *rows, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, order_id);
	return pg_exec(shop->pg, PG_PRIMARY, st, &args, arena, rows, e);
}

/* What a task says; strings live in the arena. */
struct said {
	const char *order_id, *buyer;
	int64_t sale_id, variant_id;
	int unit, slot;
};

static enum rc
read_task(const struct task *task, struct arena *arena, struct said *out,
    struct err *e)
{
	json_t *data = json_loadb(task->data.p, task->data.n, 0, NULL);
	const char *order_id =
	    json_string_value(json_object_get(data, "orderId"));
	const char *buyer = json_string_value(json_object_get(data, "buyer"));
	enum rc rc = RC_OK;

	if (order_id == NULL)
		rc = err_set(e, RC_INVALID, "bad_task", "%s: no orderId in it",
		    task->type);
	else
		*out = (struct said){
			.order_id = arena_strdup(arena, order_id),
			.buyer =
			    arena_strdup(arena, buyer == NULL ? "" : buyer),
			.sale_id = member_int(data, "saleId"),
			.variant_id = member_int(data, "variantId"),
			.unit = (int)member_int(data, "unit"),
			.slot = (int)member_int(data, "slot"),
		};
	json_decref(data);
	return rc;
}

/* Locks the products of the order's lines; *lines is how many there are. */
static enum rc
change_begin(struct shop *shop, const char *order_id, struct arena *arena,
    struct stock_change *ch, int *lines, struct err *e)
{
	struct pg_rows rows;
	int64_t *ids;
	enum rc rc =
	    by_order(shop, &stock_line_products, order_id, arena, &rows, e);

	if (rc != RC_OK)
		return rc;
	ids = arena_calloc(arena, (size_t)rows.n + 1, sizeof *ids);
	for (int i = 0; i < rows.n; i++)
		ids[i] = pg_int(&rows, i, 0);
	*lines = rows.n;
	return stock_change_begin(shop, rows.n, ids, arena, ch, e);
}

/* All lines or none; *enough says which. */
static enum rc
take_lines(struct shop *shop, const char *order_id, struct arena *arena,
    struct stock_change *ch, bool *enough, struct err *e)
{
	struct pg_rows rows;
	int lines;
	enum rc rc;

	if ((rc = change_begin(shop, order_id, arena, ch, &lines, e)) !=
		RC_OK ||
	    (rc = by_order(
		 shop, &stock_lock_lines, order_id, arena, &rows, e)) != RC_OK)
		return rc;
	*enough = rows.n == lines;
	for (int i = 0; i < rows.n; i++)
		*enough = *enough && pg_int(&rows, i, 1) >= pg_int(&rows, i, 2);
	if (!*enough) {
		ch->n = 0; /* nothing changes */
		return RC_OK;
	}
	rc = by_order(shop, &stock_take, order_id, arena, &rows, e);
	if (rc == RC_OK && rows.affected != lines)
		return err_set(e, RC_FAIL, "stock_moved",
		    "order %s: the stock changed under its locks", order_id);
	return rc != RC_OK ? rc : stock_change_end(shop, ch, arena, e);
}

static enum rc
settle(struct shop *shop, struct order_row *row, bool enough,
    struct arena *arena, struct order_after *after, struct err *e)
{
	enum rc rc;

	if (!enough)
		return order_move(
		    shop, row, OS_CANCELLED, "out_of_stock", arena, after, e);
	rc = order_move(shop, row, OS_RESERVED, "", arena, after, e);
	if (rc != RC_OK)
		return rc;
	after->queues[after->n_queues++] = "payment";
	return outbox_show(shop->pg, "process_payment",
	    order_payment_key(row->id, 1, arena), arena, e);
}

static enum rc
decrease(struct shop *shop, const struct task *task, const char *order_id,
    struct arena *arena, struct stock_change *ch, struct order_after *after,
    struct err *e)
{
	struct order_row row;
	bool enough;
	enum rc rc;

	if ((rc = task_finish(shop->pg, task->id, arena, e)) != RC_OK ||
	    (rc = order_lock(shop, order_id, arena, &row, e)) != RC_OK)
		return rc;
	if (row.status != OS_PENDING)
		return RC_OK; /* cancelled before it came to this */
	rc = take_lines(shop, order_id, arena, ch, &enough, e);
	return rc != RC_OK ? rc : settle(shop, &row, enough, arena, after, e);
}

/* An effect that stands already is done. */
static enum rc
end_transaction(struct shop *shop, enum rc rc, struct err *e)
{
	if (rc == RC_OK)
		return pg_commit(shop->pg, e);
	pg_rollback(shop->pg);
	return rc;
}

enum rc
stock_decrease(struct shop *shop, const struct task *task, struct arena *arena,
    struct err *e)
{
	struct stock_change ch = { 0 };
	struct order_after after = { 0 };
	struct said said;
	enum rc rc;

	if ((rc = read_task(task, arena, &said, e)) != RC_OK ||
	    (rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = decrease(shop, task, said.order_id, arena, &ch, &after, e);
	rc = end_transaction(shop, rc, e);
	if (rc != RC_OK)
		return rc;
	order_moved(shop, &after, arena);
	stock_change_done(shop, &ch, arena);
	return RC_OK;
}

/* ---- giving back */

/* The task is written where lines had been taken: its id alone says that they
 * were not put back yet. The status is looked at for our own mistakes. */
static enum rc
put_back(struct shop *shop, const struct task *task, const char *order_id,
    struct arena *arena, struct stock_change *ch, struct err *e)
{
	enum order_status status;
	struct pg_rows rows;
	int lines;
	enum rc rc;

	if ((rc = task_finish(shop->pg, task->id, arena, e)) != RC_OK ||
	    (rc = by_order(shop, &stock_order_status, order_id, arena, &rows,
		 e)) != RC_OK)
		return rc;
	if (rows.n == 0 || !order_status_parse(pg_str(&rows, 0, 0), &status) ||
	    (status != OS_CANCELLED && status != OS_REFUNDED))
		return err_set(e, RC_INVALID, "wrong_state",
		    "order %s is not over: its stock stays with it", order_id);
	if ((rc = change_begin(shop, order_id, arena, ch, &lines, e)) !=
		RC_OK ||
	    (rc = by_order(
		 shop, &stock_lock_lines, order_id, arena, NULL, e)) != RC_OK ||
	    (rc = by_order(shop, &stock_put_back, order_id, arena, NULL, e)) !=
		RC_OK)
		return rc;
	return stock_change_end(shop, ch, arena, e);
}

static enum rc
release_lines(struct shop *shop, const struct task *task, const char *order_id,
    struct arena *arena, struct err *e)
{
	struct stock_change ch = { 0 };
	enum rc rc = pg_begin(shop->pg, e);

	if (rc != RC_OK)
		return rc;
	rc = put_back(shop, task, order_id, arena, &ch, e);
	if ((rc = end_transaction(shop, rc, e)) == RC_OK)
		stock_change_done(shop, &ch, arena);
	return rc;
}

/*
 * Redis is no part of a transaction, so this one's id is recorded nowhere: the
 * counter does it once by itself. A task that comes late finds the unit held by
 * its next buyer there, or his row here.
 */
static enum rc
release_unit(struct shop *shop, const struct said *said, struct arena *arena,
    struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, said->sale_id);
	pg_arg_int(&args, said->variant_id);
	pg_arg_int(&args, said->unit);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &stock_unit_free, &args, arena, &rows, e);
	if (rc != RC_OK || rows.n == 0 || !pg_bool(&rows, 0, 0))
		return rc;
	return counter_give_back(shop->sale_redis,
	    (struct counter_ref){ said->sale_id, said->variant_id },
	    &(struct counter_unit){ .id = said->order_id,
		.buyer = said->buyer,
		.unit = said->unit,
		.slot = said->slot },
	    arena, e);
}

enum rc
stock_release(struct shop *shop, const struct task *task, struct arena *arena,
    struct err *e)
{
	struct said said;
	enum rc rc = read_task(task, arena, &said, e);

	if (rc != RC_OK)
		return rc;
	return said.sale_id == 0
		   ? release_lines(shop, task, said.order_id, arena, e)
		   : release_unit(shop, &said, arena, e);
}
