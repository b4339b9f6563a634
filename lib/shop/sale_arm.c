/*
 * Arming (DESIGN 5.1): (1) a new epoch in PostgreSQL, committed; (2) the unit
 * rows are read, page by page, and staged in Redis beside the live keys;
 * (3) one script puts all in place. From (1) on no purchase with an older epoch
 * can commit, but for those whose statement has begun: their units are found
 * out by the unit key when the new counter hands them out.
 *
 * No lock is held across a call to Redis. Who arms for longer than a second
 * (hundreds of thousands of unit rows) says so in armed_at, or another would
 * begin with a higher epoch, and so on without end.
 *
 * The epoch is greater than the row's too, not only than the counter's and the
 * sequence: two who arm one after the other while Redis keeps an epoch beyond
 * the sequence's (a restored database) would else get the same one.
 */
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "shop/counter_int.h"
#include "shop/sale_run.h"
#include "shop/shop.h"
#include "store/pg.h"

enum { PACE_MS = 100, RENEW_MS = 300, TOTAL_MS = 60000 };

/* $1 sale, $2 variant */
static const struct pg_stmt arm_item = { "arm_item",
	"SELECT id, state, epoch FROM sale_item"
	" WHERE sale_id = $1 AND variant_id = $2",
	2 };

/* $1 item, $2 its epoch as seen, $3 the counter's. A clock that was set back
 * delays nobody. */
static const struct pg_stmt arm_epoch = { "arm_epoch",
	"UPDATE sale_item i SET armed_at = clock_timestamp(),"
	" epoch = greatest(nextval('sale_epoch'), $3::int8 + 1, i.epoch + 1)"
	" FROM sale s WHERE s.id = i.sale_id AND i.id = $1"
	" AND i.state = 'open' AND i.epoch = $2"
	" AND (i.armed_at IS NULL OR i.armed_at > clock_timestamp()"
	"  OR i.armed_at <= clock_timestamp() - interval '1 second')"
	" RETURNING i.epoch, i.allotment, i.per_buyer, i.product_id,"
	" floor(extract(epoch FROM s.starts_at) * 1000)::int8,"
	" floor(extract(epoch FROM s.ends_at) * 1000)::int8",
	3 };

static const struct pg_stmt arm_renew = { "arm_renew",
	"UPDATE sale_item SET armed_at = clock_timestamp()"
	" WHERE id = $1 AND epoch = $2 AND state = 'open' RETURNING id",
	2 };

static const struct pg_stmt arm_top = { "arm_top",
	"SELECT coalesce(max(unit), 0) FROM sale_unit WHERE item_id = $1", 1 };

static const struct pg_stmt arm_units = { "arm_units",
	"SELECT unit, order_id, buyer, slot FROM sale_unit"
	" WHERE item_id = $1 AND unit BETWEEN $2::int AND $3::int"
	" ORDER BY unit",
	3 };

/* Buyers whose orders were cancelled: known, and without a slot. */
static const struct pg_stmt arm_known = { "arm_known",
	"SELECT customer_id FROM orders WHERE sale_item_id = $1"
	" AND customer_id > $2 AND status IN ('cancelled', 'refunded')"
	" GROUP BY customer_id ORDER BY customer_id LIMIT $3",
	3 };

/* The product's other variants, and in which open sale each is. */
static const struct pg_stmt arm_others = { "arm_others",
	"SELECT v.id, v.stock, i.sale_id FROM variant v"
	" LEFT JOIN sale_item i ON i.variant_id = v.id AND i.state = 'open'"
	" WHERE v.product_id = $1 AND v.id <> $2 ORDER BY v.position, v.id",
	2 };

static enum rc
arming(struct err *e, const char *why)
{
	return err_set(e, RC_RETRY, "sale_arming", "%s", why);
}

/* At most every 100 ms for one counter; two that share a place share it. */
static bool
pace_allows(struct shop *shop, struct counter_ref ref)
{
	int64_t now = clock_mono_ms();
	uint64_t h = (uint64_t)ref.sale_id * 31 + (uint64_t)ref.variant_id;
	struct shop_pace *p = &shop->arming[h % SHOP_PACES];

	if (p->sale_id == ref.sale_id && p->variant_id == ref.variant_id &&
	    now < p->not_before)
		return false;
	*p = (struct shop_pace){ ref.sale_id, ref.variant_id, now + PACE_MS };
	return true;
}

/* ---- what the other variants add */

static enum rc
others_left(struct shop *shop, const struct pg_rows *rows, struct arena *arena,
    int64_t left[], struct err *e)
{
	struct counter_ref *refs =
	    arena_calloc(arena, (size_t)rows->n + 1, sizeof *refs);
	struct counter_state *states =
	    arena_calloc(arena, (size_t)rows->n + 1, sizeof *states);
	int n = 0;
	enum rc rc;

	for (int i = 0; i < rows->n; i++) {
		if (pg_cell(rows, i, 2).p != NULL)
			refs[n++] = (struct counter_ref){ pg_int(rows, i, 2),
				pg_int(rows, i, 0) };
	}
	rc = counter_states(shop->sale_redis, n, refs, arena, states, e);
	if (rc != RC_OK)
		return rc;
	n = 0;
	for (int i = 0; i < rows->n; i++)
		left[i] = pg_cell(rows, i, 2).p == NULL ? pg_int(rows, i, 1)
							: states[n++].left;
	return RC_OK;
}

/* *others: {"variantId","stock"},... in the arena. */
static enum rc
rest_read(struct shop *shop, struct counter_ref ref, int64_t product_id,
    struct arena *arena, int64_t *rest, const char **others, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	struct strbuf sb;
	int64_t *left;
	enum rc rc;

	pg_arg_int(&args, product_id);
	pg_arg_int(&args, ref.variant_id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &arm_others, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	left = arena_calloc(arena, (size_t)rows.n + 1, sizeof *left);
	if ((rc = others_left(shop, &rows, arena, left, e)) != RC_OK)
		return rc;
	*rest = 0;
	strbuf_init(&sb, 256);
	for (int i = 0; i < rows.n; i++) {
		*rest += left[i];
		strbuf_addf(&sb, "%s{\"variantId\":%s,\"stock\":%lld}",
		    i == 0 ? "" : ",", pg_str(&rows, i, 0), (long long)left[i]);
	}
	*others = arena_strdup(arena, sb.s);
	strbuf_release(&sb);
	return RC_OK;
}

enum rc
sale_rest_refresh(struct shop *shop, struct counter_ref ref, int64_t product_id,
    int64_t epoch, struct arena *arena, struct err *e)
{
	const char *others;
	int64_t rest;
	enum rc rc = rest_read(shop, ref, product_id, arena, &rest, &others, e);

	return rc != RC_OK ? rc
			   : counter_rest(shop->sale_redis, ref, epoch, rest,
				 others, arena, e);
}

/* ---- reading the unit rows */

struct arm {
	struct shop *shop;
	struct counter_ref ref;
	struct counter_stage stage;
	struct counter_arming set;
	int64_t renew_at, deadline; /* mono ms */
};

/* Still ours? Says so to the others. */
static enum rc
renew(struct arm *arm, struct arena *arena, struct err *e)
{
	int64_t now = clock_mono_ms();
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	if (now < arm->renew_at)
		return RC_OK;
	if (now >= arm->deadline)
		return arming(e, "arming this sale takes too long");
	arm->renew_at = now + RENEW_MS;
	pg_arg_int(&args, arm->set.item_id);
	pg_arg_int(&args, arm->stage.epoch);
	rc = pg_exec(
	    arm->shop->pg, PG_PRIMARY, &arm_renew, &args, arena, &rows, e);
	if (rc == RC_OK && rows.n == 0)
		return arming(e, "somebody else arms this sale");
	return rc;
}

static enum rc
stage(struct arm *arm, const struct counter_page *page, struct arena *arena,
    struct err *e)
{
	enum rc rc = counter_stage(
	    arm->shop->sale_redis, arm->ref, &arm->stage, page, arena, e);

	return rc != RC_OK ? rc : renew(arm, arena, e);
}

static enum rc
stage_units(
    struct arm *arm, int from, int to, struct arena *arena, struct err *e)
{
	struct counter_page page = { .from = from, .to = to };
	struct counter_unit *units;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, arm->set.item_id);
	pg_arg_int(&args, from);
	pg_arg_int(&args, to);
	rc = pg_exec(
	    arm->shop->pg, PG_PRIMARY, &arm_units, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	units = arena_calloc(arena, (size_t)rows.n + 1, sizeof *units);
	for (int i = 0; i < rows.n; i++) {
		if (pg_cell(&rows, i, 1).p == NULL) /* claimed by the close */
			return arming(e, "this sale is being closed");
		units[i] = (struct counter_unit){
			.unit = (int)pg_int(&rows, i, 0),
			.id = pg_str(&rows, i, 1),
			.buyer = pg_str(&rows, i, 2),
			.slot = (int)pg_int(&rows, i, 3),
		};
	}
	page.n = rows.n;
	page.units = units;
	return stage(arm, &page, arena, e);
}

/* One page of buyers after `last`; *n how many. */
static enum rc
stage_known(
    struct arm *arm, int64_t *last, int *n, struct arena *arena, struct err *e)
{
	struct counter_page page = { .from = 1, .to = 0 };
	const char **known;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, arm->set.item_id);
	pg_arg_int(&args, *last);
	pg_arg_int(&args, COUNTER_PAGE);
	rc = pg_exec(
	    arm->shop->pg, PG_PRIMARY, &arm_known, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	known = arena_calloc(arena, (size_t)rows.n + 1, sizeof *known);
	for (int i = 0; i < rows.n; i++)
		known[i] = pg_str(&rows, i, 0);
	if (rows.n > 0)
		*last = pg_int(&rows, rows.n - 1, 0);
	page.m = *n = rows.n;
	page.known = known;
	return stage(arm, &page, arena, e);
}

static enum rc
stage_all(struct arm *arm, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	int64_t last = 0;
	int top, n;
	enum rc rc;

	pg_arg_int(&args, arm->set.item_id);
	rc = pg_exec(
	    arm->shop->pg, PG_PRIMARY, &arm_top, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	top = (int)pg_int(&rows, 0, 0);
	arm->set.next = top + 1;
	for (int from = 1; from <= top; from += COUNTER_PAGE) {
		int to = from + COUNTER_PAGE - 1;

		arena_reset(arena);
		rc = stage_units(arm, from, to < top ? to : top, arena, e);
		if (rc != RC_OK)
			return rc;
	}
	do {
		arena_reset(arena);
		rc = stage_known(arm, &last, &n, arena, e);
	} while (rc == RC_OK && n == COUNTER_PAGE);
	return rc;
}

/* ---- arming */

/* The item as it stands, if it is to be armed; RC_OK and id 0: it is. */
static enum rc
item_look(struct shop *shop, struct counter_ref ref,
    const struct counter_state *state, struct arena *arena, int64_t *id,
    int64_t *epoch, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, ref.sale_id);
	pg_arg_int(&args, ref.variant_id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &arm_item, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_NONE, "sale_not_found", "No such sale");
	*id = pg_int(&rows, 0, 0);
	*epoch = pg_int(&rows, 0, 2);
	if (strcmp(pg_str(&rows, 0, 1), "draft") == 0)
		return err_set(e, RC_REFUSED, "sale_not_started",
		    "The sale has not started");
	if (strcmp(pg_str(&rows, 0, 1), "closed") == 0) {
		/* So that the next one need not ask. */
		(void)!counter_close(shop->sale_redis, ref, *epoch, arena, e);
		return err_set(
		    e, RC_REFUSED, "sale_ended", "The sale has ended");
	}
	if (state->armed && state->epoch == *epoch)
		*id = 0;
	return RC_OK;
}

/* The new epoch; from here on we are the one who arms. */
static enum rc
epoch_take(struct arm *arm, int64_t seen, int64_t redis_epoch,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, arm->set.item_id);
	pg_arg_int(&args, seen);
	pg_arg_int(&args, redis_epoch);
	rc = pg_exec(
	    arm->shop->pg, PG_PRIMARY, &arm_epoch, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return arming(e, "somebody else arms this sale");
	arm->stage.epoch = pg_int(&rows, 0, 0);
	arm->set.allotment = (int)pg_int(&rows, 0, 1);
	arm->set.limit = (int)pg_int(&rows, 0, 2);
	arm->set.product_id = pg_int(&rows, 0, 3);
	arm->set.starts_ms = pg_int(&rows, 0, 4);
	arm->set.ends_ms = pg_int(&rows, 0, 5);
	arm->renew_at = clock_mono_ms() + RENEW_MS;
	arm->deadline = clock_mono_ms() + TOTAL_MS;
	return RC_OK;
}

static enum rc
put_in_place(struct arm *arm, struct arena *arena, struct err *e)
{
	enum rc rc;

	arena_reset(arena);
	rc = rest_read(arm->shop, arm->ref, arm->set.product_id, arena,
	    &arm->set.rest, &arm->set.others, e);
	return rc != RC_OK ? rc
			   : counter_arm(arm->shop->sale_redis, arm->ref,
				 &arm->stage, &arm->set, arena, e);
}

enum rc
sale_arm(struct shop *shop, struct counter_ref ref, struct arena *arena,
    struct err *e)
{
	struct arm arm = { .shop = shop, .ref = ref };
	struct counter_state state;
	struct arena *pages;
	int64_t seen = 0;
	enum rc rc;

	if (!pace_allows(shop, ref))
		return arming(e, "this sale is being armed");
	rc = counter_state(shop->sale_redis, ref, arena, &state, e);
	if (rc != RC_OK)
		return rc;
	rc = item_look(shop, ref, &state, arena, &arm.set.item_id, &seen, e);
	if (rc != RC_OK || arm.set.item_id == 0)
		return rc;
	rc = epoch_take(&arm, seen, state.epoch, arena, e);
	if (rc != RC_OK)
		return rc;
	pages = arena_new();
	if ((rc = stage_all(&arm, pages, e)) == RC_OK)
		rc = put_in_place(&arm, pages, e);
	arena_free(pages);
	return rc;
}
