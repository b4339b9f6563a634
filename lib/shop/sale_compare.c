/*
 * The counter beside the unit rows: what reconcile.c does every second and
 * sale_check.c on demand.
 *
 * The counter is read first. A unit that is sold in between is held in it then
 * already, and one that is cancelled in between has lost its row and gets its
 * hold removed a moment later: either is right again at a second look.
 */
#include "shop/sale_run.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "shop/counter_int.h"
#include "shop/sale_int.h"
#include "shop/shop.h"
#include "store/pg.h"

static const struct pg_stmt item_get = { "sale_item_get",
	"SELECT " SALE_ITEM_COLUMNS
	" FROM sale_item i WHERE i.id = $1",
	1 };

static const struct pg_stmt units_of = { "sale_units_of",
	"SELECT order_id, unit, slot, buyer FROM sale_unit"
	" WHERE order_id = ANY($1::text[]) AND order_id IS NOT NULL"
	" AND item_id = $2 ORDER BY order_id COLLATE \"C\"",
	2 };

static const struct pg_stmt units_page = { "sale_units_page",
	"SELECT order_id, unit, slot, buyer FROM sale_unit"
	" WHERE item_id = $1 AND unit BETWEEN $2::int AND $3::int"
	" ORDER BY unit LIMIT 5000",
	3 };

const struct pg_stmt *const sale_compare_statements[] = { &item_get, &units_of,
	&units_page, NULL };

enum rc
sale_item_get(struct shop *shop, int64_t item_id, struct arena *arena,
    struct sale_item *out, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, item_id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &item_get, &args, arena, &rows, e);
	if (rc == RC_OK && rows.n == 0)
		rc = err_set(e, RC_NONE, "sale_not_found", "no such item");
	if (rc == RC_OK)
		*out = *sale_items_read(&rows, arena);
	return rc;
}

static struct counter_unit
unit_of_row(const struct pg_rows *rows, int r)
{
	return (struct counter_unit){ .id = pg_str(rows, r, 0),
		.buyer = pg_str(rows, r, 3),
		.unit = (int)pg_int(rows, r, 1),
		.slot = (int)pg_int(rows, r, 2) };
}

/* ---- old holds */

static bool
id_is_one(const char *id)
{
	return strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32;
}

static const char *
id_array(int n, const struct counter_held held[], struct arena *arena)
{
	struct strbuf sb;
	bool any = false;

	strbuf_init(&sb, 2 + (size_t)n * 33);
	strbuf_addc(&sb, '{');
	for (int i = 0; i < n; i++) {
		if (!id_is_one(held[i].unit.id))
			continue; /* no order is called that */
		if (any)
			strbuf_addc(&sb, ',');
		strbuf_adds(&sb, held[i].unit.id);
		any = true;
	}
	strbuf_addc(&sb, '}');

	const char *out = arena_strdup(arena, sb.s);

	strbuf_release(&sb);
	return out;
}

/* The row of that order, -1: none. They are in the order of strcmp(3). */
static int
row_find(const struct pg_rows *rows, const char *id)
{
	int low = 0, high = rows->n;

	while (low < high) {
		int mid = (low + high) / 2;
		int cmp = strcmp(pg_str(rows, mid, 0), id);

		if (cmp == 0)
			return mid;
		if (cmp < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return -1;
}

enum rc
sale_settle_holds(struct shop *shop, const struct sale_item *item,
    struct arena *arena, int *given, struct err *e)
{
	struct counter_ref ref = sale_item_ref(item);
	const struct counter_held *held;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	const char **justified;
	int64_t epoch;
	int n, m = 0;
	enum rc rc = counter_unjustified(shop->sale_redis, ref,
	    sale_grace_ms(shop), arena, &epoch, &n, &held, e);

	if (given != NULL)
		*given = 0;
	if (rc != RC_OK || n == 0)
		return rc;
	pg_arg_str(&args, id_array(n, held, arena));
	pg_arg_int(&args, item->id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &units_of, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	justified = arena_calloc(arena, (size_t)n, sizeof *justified);
	for (int i = 0; i < n; i++) {
		int r = row_find(&rows, held[i].unit.id);
		struct counter_unit has;

		if (r < 0) {
			rc = counter_give_back(
			    shop->sale_redis, ref, &held[i].unit, arena, e);
			if (given != NULL && rc == RC_OK)
				++*given;
		} else if ((has = unit_of_row(&rows, r)).unit ==
			   held[i].unit.unit) {
			justified[m++] = held[i].unit.id;
		} else {
			/* Its order has another unit. */
			rc = counter_file(shop->sale_redis, ref, epoch,
			    held[i].unit.id, &has, arena, e);
			if (given != NULL && rc == RC_OK)
				++*given;
		}
		if (rc != RC_OK)
			return rc;
	}
	return m == 0 ? RC_OK
		      : counter_justified(shop->sale_redis, ref, epoch, m,
			    justified, arena, e);
}

/* ---- number by number */

/* What is wrong with one number, if anything. row: NULL, no unit row. */
static bool
judge(const struct counter_number *number, const struct counter_unit *row,
    struct sale_finding *out)
{
	if (row != NULL) {
		*out = (struct sale_finding){ SW_UNFILED, *row };
		return number == NULL || number->is != CI_HELD ||
		       strcmp(number->held.unit.id, row->id) != 0;
	}
	if (number == NULL || number->is == CI_FREE)
		return false;
	*out = (struct sale_finding){
		number->is == CI_LOST ? SW_LOST : SW_NO_ORDER, number->held.unit
	};
	if (number->is == CI_LOST) {
		out->unit.id = "";
		out->unit.buyer = "";
	}
	return true;
}

enum rc
sale_compare(struct shop *shop, const struct sale_item *item, int from,
    struct arena *arena, struct sale_page *out, struct err *e)
{
	const struct counter_number *number;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	int n, r = 0;
	enum rc rc;

	*out = (struct sale_page){ .from = from };
	rc = counter_look(shop->sale_redis, sale_item_ref(item), from, arena,
	    &out->epoch, &n, &number, e);
	if (rc != RC_OK)
		return rc;
	out->last = n < COUNTER_PAGE;
	/* Behind the last number that was handed out nothing may be sold. */
	out->to = out->last ? item->allotment : from + n - 1;
	if (out->to < from + n - 1)
		out->to = from + n - 1;
	pg_arg_int(&args, item->id);
	pg_arg_int(&args, from);
	pg_arg_int(&args, out->to);
	rc = pg_exec(shop->pg, PG_PRIMARY, &units_page, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	out->finding = arena_calloc(
	    arena, (size_t)n + (size_t)rows.n + 1, sizeof *out->finding);
	for (int i = 0; i < n || r < rows.n;) {
		const struct counter_number *num = i < n ? &number[i] : NULL;
		struct counter_unit row, *has = NULL;
		bool claimed = false;

		if (r < rows.n) {
			row = unit_of_row(&rows, r);
			if (num == NULL || row.unit <= num->held.unit.unit) {
				has = &row;
				claimed = pg_cell(&rows, r, 0).p == NULL;
				r++;
			}
		}
		if (num != NULL && has != NULL &&
		    has->unit < num->held.unit.unit)
			num = NULL;
		if (num != NULL)
			i++;
		if (!claimed && judge(num, has, &out->finding[out->n]))
			out->n++;
	}
	return RC_OK;
}

enum rc
sale_mend(struct shop *shop, const struct sale_item *item, int64_t epoch,
    const struct sale_finding *finding, struct arena *arena, struct err *e)
{
	struct counter_ref ref = sale_item_ref(item);

	if (finding->wrong == SW_UNFILED)
		return counter_file(
		    shop->sale_redis, ref, epoch, "", &finding->unit, arena, e);
	return counter_give_back(
	    shop->sale_redis, ref, &finding->unit, arena, e);
}
