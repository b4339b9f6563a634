/*
 * Opening and closing a sale (DESIGN 5.1).
 *
 * Opening moves the allotment from the variant's stock to the sale; closing
 * moves back what has no unit row. What makes closing exact is the order of its
 * statements, each with a snapshot of its own:
 *
 *	1 lock the items      who cancels (FOR SHARE) is before or after us
 *	2 closed, new epoch   a purchase that begins after our commit inserts
 *	                      nothing
 *	3 claim every unit    ON CONFLICT waits for purchases that are not
 *	                      committed yet, and they wait for us: a unit is
 *	                      either theirs or ours
 *	4 the variant gets    exactly as many as were claimed
 *
 * A purchase whose snapshot is from before our commit and whose insert comes
 * after it finds the unit claimed. That is why claimed units keep their rows
 * for ever, and why a unit that is cancelled after the close is turned into a
 * claimed one, not deleted: it must never be there for the taking again.
 *
 * Locks are taken in one order: sale, items, products, variants.
 */
#include "shop/sale_run.h"

#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/strbuf.h"
#include "shop/counter_int.h"
#include "shop/sale_int.h"
#include "shop/shop.h"
#include "shop/stock_change.h"
#include "store/invalidation.h"
#include "store/pg.h"

enum {
	MAX_ITEMS = 1000, /* stock_change's */
	ARM_WAIT_MS = 3000,
	/* Claiming may take longer than a statement: so long, and a
	 * millisecond more for so many units. */
	CLAIM_MS = 20000,
	CLAIM_UNITS_PER_MS = 10
};

static const struct pg_stmt run_touch = { "sale_run_touch",
	"UPDATE sale SET version = version + 1 WHERE id = $1"
	" RETURNING ends_at <= clock_timestamp()",
	1 };

static const struct pg_stmt run_lock_items = { "sale_run_lock_items",
	"SELECT " SALE_ITEM_COLUMNS " FROM sale_item i"
	" WHERE i.sale_id = $1 ORDER BY i.variant_id FOR UPDATE OF i",
	1 };

static const struct pg_stmt run_lock_variants = { "sale_run_lock_variants",
	"SELECT id, stock FROM variant WHERE id = ANY($1::int8[])"
	" ORDER BY id FOR NO KEY UPDATE",
	1 };

static const struct pg_stmt open_take = { "sale_open_take",
	"UPDATE variant v SET stock = v.stock - i.allotment FROM sale_item i"
	" WHERE i.id = ANY($1::int8[]) AND i.state = 'draft'"
	" AND v.id = i.variant_id AND v.stock >= i.allotment",
	1 };

static const struct pg_stmt open_items = { "sale_open_items",
	"UPDATE sale_item SET state = 'open', armed_at = NULL"
	" WHERE id = ANY($1::int8[]) AND state = 'draft'",
	1 };

static const struct pg_stmt close_items = { "sale_close_items",
	"UPDATE sale_item SET state = 'closed', armed_at = NULL,"
	" epoch = greatest(nextval('sale_epoch'), epoch + 1)"
	" WHERE id = $1 RETURNING epoch, allotment - (SELECT count(*)"
	"  FROM sale_unit u WHERE u.item_id = $1)",
	1 };

static const struct pg_stmt close_claim = { "sale_close_claim",
	"INSERT INTO sale_unit (item_id, unit)"
	" SELECT $1::int8, u FROM generate_series(1, $2::int) u ORDER BY u"
	" ON CONFLICT DO NOTHING",
	2 };

static const struct pg_stmt close_give = { "sale_close_give",
	"UPDATE variant SET stock = stock + $2::int WHERE id = $1", 2 };

const struct pg_stmt *const sale_open_statements[] = { &run_touch,
	&run_lock_items, &run_lock_variants, &open_take, &open_items,
	&close_items, &close_give, NULL };

/* ---- what both share */

const char *
sale_id_array(int n, const int64_t ids[], struct arena *arena)
{
	struct strbuf sb;

	strbuf_init(&sb, 16 + (size_t)n * 8);
	strbuf_addc(&sb, '{');
	for (int i = 0; i < n; i++)
		strbuf_addf(
		    &sb, "%s%lld", i == 0 ? "" : ",", (long long)ids[i]);
	strbuf_addc(&sb, '}');

	const char *out = arena_strdup(arena, sb.s);

	strbuf_release(&sb);
	return out;
}

static enum sale_item_state
state_parse(const char *name)
{
	if (strcmp(name, "open") == 0)
		return SI_OPEN;
	return strcmp(name, "closed") == 0 ? SI_CLOSED : SI_DRAFT;
}

struct sale_item *
sale_items_read(const struct pg_rows *rows, struct arena *arena)
{
	struct sale_item *list =
	    arena_calloc(arena, (size_t)rows->n + 1, sizeof *list);

	for (int r = 0; r < rows->n; r++)
		list[r] = (struct sale_item){
			.id = pg_int(rows, r, 0),
			.sale_id = pg_int(rows, r, 1),
			.product_id = pg_int(rows, r, 2),
			.variant_id = pg_int(rows, r, 3),
			.epoch = pg_int(rows, r, 4),
			.allotment = (int)pg_int(rows, r, 5),
			.limit = (int)pg_int(rows, r, 6),
			.state = state_parse(pg_str(rows, r, 7)),
			.over = pg_bool(rows, r, 8),
		};
	return list;
}

int64_t
sale_grace_ms(const struct shop *shop)
{
	return 3 * conf_int(shop->conf, "sale", "deadline");
}

/* A change of several items of one sale. */
struct change {
	int64_t sale_id;
	int n_all; /* items of the sale, locked */
	const struct sale_item *all;
	int n; /* of them those that change */
	struct sale_item *item;
	struct stock_change stock; /* of their products */
	struct invalidation inv;   /* of the sale: record and page */
	int64_t inv_id;
	const char *keys[2], *paths[1];
};

static enum rc
exec_ids(struct shop *shop, const struct pg_stmt *st, int n,
    const int64_t ids[], struct arena *arena, struct pg_rows *rows,
    struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, sale_id_array(n, ids, arena));
	return pg_exec(shop->pg, PG_PRIMARY, st, &args, arena, rows, e);
}

/* Lock the sale and its items; pick those in that state. */
static enum rc
change_begin(struct shop *shop, struct change *c, enum sale_item_state state,
    struct arena *arena, bool *over, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, c->sale_id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &run_touch, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_NONE, "sale_not_found",
		    "there is no sale %lld", (long long)c->sale_id);
	*over = pg_bool(&rows, 0, 0);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &run_lock_items, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	c->n_all = rows.n;
	c->all = sale_items_read(&rows, arena);
	c->item = arena_calloc(arena, (size_t)rows.n + 1, sizeof *c->item);
	for (int i = 0; i < c->n_all; i++) {
		if (c->all[i].state == state)
			c->item[c->n++] = c->all[i];
	}
	return RC_OK;
}

static int
count_state(const struct change *c, enum sale_item_state state)
{
	int n = 0;

	for (int i = 0; i < c->n_all; i++)
		n += c->all[i].state == state;
	return n;
}

/* The products are locked before their variants, as by all who write stock. */
static enum rc
change_products(
    struct shop *shop, struct change *c, struct arena *arena, struct err *e)
{
	int64_t *ids = arena_calloc(arena, (size_t)c->n + 1, sizeof *ids);

	if (c->n > MAX_ITEMS)
		return err_set(e, RC_REFUSED, "sale_too_large",
		    "a sale of more than %d variants cannot be opened",
		    MAX_ITEMS);
	for (int i = 0; i < c->n; i++)
		ids[i] = c->item[i].product_id;
	return stock_change_begin(shop, c->n, ids, arena, &c->stock, e);
}

/* What is cached of the products and of the sale. */
static enum rc
change_forget(
    struct shop *shop, struct change *c, struct arena *arena, struct err *e)
{
	enum rc rc = stock_change_end(shop, &c->stock, arena, e);

	if (rc != RC_OK)
		return rc;
	c->paths[0] =
	    arena_printf(arena, "/flash-sale/%lld", (long long)c->sale_id);
	c->keys[0] = arena_printf(arena, "sale:%lld", (long long)c->sale_id);
	c->keys[1] = arena_printf(arena, "page:%s", c->paths[0]);
	c->inv = (struct invalidation){
		.n_keys = 2, .keys = c->keys, .n_paths = 1, .paths = c->paths
	};
	return invalidation_write(shop->pg, &c->inv, arena, &c->inv_id, e);
}

/* Commit, or not. What fails after the commit the housekeeper does. */
static enum rc
change_end(struct shop *shop, struct change *c, enum rc rc, struct arena *arena,
    struct err *e)
{
	struct err later;

	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) != RC_OK)
		return rc;
	(void)!invalidation_carry_out(shop->pg, shop->cache, shop->edge,
	    &c->inv, c->inv_id, arena, &later);
	return RC_OK;
}

/* ---- opening */

enum rc
sale_arm_wait(struct shop *shop, struct counter_ref ref, int ms,
    struct arena *arena, struct err *e)
{
	int64_t deadline = deadline_in(ms);

	for (;;) {
		enum rc rc = sale_arm(shop, ref, arena, e);

		/* Somebody else does, or it was just done. */
		if (rc != RC_RETRY || strcmp(e->code, "sale_arming") != 0 ||
		    deadline_left_ms(deadline) == 0)
			return rc;
		clock_sleep_ms(100);
	}
}

static enum rc
not_enough(const struct change *c, const struct pg_rows *stock, struct err *e)
{
	for (int i = 0; i < c->n; i++) {
		const struct sale_item *it = &c->item[i];

		for (int r = 0; r < stock->n; r++) {
			if (pg_int(stock, r, 0) == it->variant_id &&
			    pg_int(stock, r, 1) < it->allotment)
				return err_set(e, RC_REFUSED,
				    "not_enough_stock",
				    "variant %lld has %s in stock, the "
				    "allotment is %d",
				    (long long)it->variant_id,
				    pg_str(stock, r, 1), it->allotment);
		}
	}
	return err_set(e, RC_REFUSED, "not_enough_stock",
	    "a variant has less in stock than its allotment");
}

static enum rc
take_allotments(
    struct shop *shop, struct change *c, struct arena *arena, struct err *e)
{
	int64_t *items = arena_calloc(arena, (size_t)c->n, sizeof *items);
	int64_t *variants = arena_calloc(arena, (size_t)c->n, sizeof *variants);
	struct pg_rows stock, rows;
	enum rc rc;

	for (int i = 0; i < c->n; i++) {
		items[i] = c->item[i].id;
		variants[i] = c->item[i].variant_id;
	}
	rc = exec_ids(
	    shop, &run_lock_variants, c->n, variants, arena, &stock, e);
	if (rc != RC_OK)
		return rc;
	rc = exec_ids(shop, &open_take, c->n, items, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.affected != c->n)
		return not_enough(c, &stock, e);
	rc = exec_ids(shop, &open_items, c->n, items, arena, &rows, e);
	if (rc == RC_REFUSED && strcmp(e->code, "unique_violation") == 0)
		return err_set(e, RC_REFUSED, "variant_in_open_sale",
		    "a variant of this sale is in another sale that is open");
	return rc;
}

static enum rc
open_in(struct shop *shop, struct change *c, struct arena *arena, struct err *e)
{
	bool over;
	enum rc rc = change_begin(shop, c, SI_DRAFT, arena, &over, e);

	if (rc != RC_OK)
		return rc;
	if (over || count_state(c, SI_CLOSED) > 0)
		return err_set(e, RC_REFUSED, "sale_ended", "sale %lld is over",
		    (long long)c->sale_id);
	if (c->n == 0)
		return RC_OK; /* open, or nothing in it */
	if ((rc = change_products(shop, c, arena, e)) != RC_OK ||
	    (rc = take_allotments(shop, c, arena, e)) != RC_OK)
		return rc;
	return change_forget(shop, c, arena, e);
}

/* All that is open in it; *fresh: one was not armed before. */
static enum rc
arm_all(struct shop *shop, const struct change *c, bool *fresh,
    struct arena *arena, struct err *e)
{
	for (int i = 0; i < c->n_all; i++) {
		struct counter_ref ref = sale_item_ref(&c->all[i]);
		struct counter_state state = { .armed = false };
		struct err why;
		enum rc rc =
		    counter_state(shop->sale_redis, ref, arena, &state, &why);

		/* Of one that was a draft there may be a counter of another
		 * database's sale of that number. */
		if (rc == RC_OK && state.armed && c->all[i].state == SI_OPEN &&
		    state.epoch == c->all[i].epoch)
			continue;
		*fresh = true;
		if (rc == RC_OK)
			rc = sale_arm_wait(shop, ref, ARM_WAIT_MS, arena, &why);
		if (rc != RC_OK)
			return err_set(e, RC_RETRY, "sale_not_armed",
			    "sale %lld is open; its counter is not armed yet, "
			    "the housekeeper goes on trying: %.200s",
			    (long long)c->sale_id, why.msg);
	}
	return RC_OK;
}

enum rc
sale_open(
    struct shop *shop, int64_t sale_id, struct arena *arena, struct err *e)
{
	struct change c = { .sale_id = sale_id };
	bool fresh = false;
	enum rc rc;

	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = open_in(shop, &c, arena, e);
	if (rc == RC_OK && c.n == 0)
		pg_rollback(shop->pg);
	else if ((rc = change_end(shop, &c, rc, arena, e)) != RC_OK)
		return rc;
	if (c.n_all == 0)
		return err_set(e, RC_REFUSED, "sale_empty",
		    "sale %lld has nothing in it", (long long)sale_id);
	rc = arm_all(shop, &c, &fresh, arena, e);
	if (rc == RC_OK && c.n == 0 && !fresh)
		return err_set(e, RC_REFUSED, "already_open",
		    "sale %lld is open already", (long long)sale_id);
	if (c.n > 0)
		stock_change_done(shop, &c.stock, arena);
	return rc;
}

/* ---- closing */

/* Every unit that nobody has; waits for purchases that are not committed yet.
 * *claimed: how many. */
static enum rc
claim(struct shop *shop, const struct sale_item *it, struct arena *arena,
    int64_t *claimed, struct err *e)
{
	int64_t ms = CLAIM_MS + it->allotment / CLAIM_UNITS_PER_MS;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, it->id);
	pg_arg_int(&args, it->allotment);
	rc = pg_exec_by(shop->pg, PG_PRIMARY, &close_claim, &args,
	    deadline_in(ms), arena, &rows, e);
	if (rc == RC_OK)
		*claimed = rows.affected;
	return rc;
}

/* Closed under a new epoch; *units: what there is to claim, as it looks. */
static enum rc
close_item(struct shop *shop, struct sale_item *it, struct arena *arena,
    int64_t *units, struct err *e)
{
	long long ms = CLAIM_MS + it->allotment / CLAIM_UNITS_PER_MS;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	/* Also where it waits for purchases. Ends with the transaction. */
	rc = pg_run(shop->pg,
	    arena_printf(arena,
		"SET LOCAL statement_timeout = %lld;"
		" SET LOCAL lock_timeout = %lld",
		ms, ms),
	    CLAIM_MS, e);
	if (rc != RC_OK)
		return rc;
	pg_arg_int(&args, it->id);
	rc = pg_exec_by(shop->pg, PG_PRIMARY, &close_items, &args,
	    deadline_in(ms), arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	it->epoch = pg_int(&rows, 0, 0);
	*units = pg_int(&rows, 0, 1);
	return RC_OK;
}

static enum rc
close_in(
    struct shop *shop, struct change *c, struct arena *arena, struct err *e)
{
	int64_t *units;
	bool over;
	/* The items are locked in there, in a statement of its own. */
	enum rc rc = change_begin(shop, c, SI_OPEN, arena, &over, e);

	if (rc != RC_OK || c->n == 0)
		return rc;
	units = arena_calloc(arena, (size_t)c->n, sizeof *units);
	for (int i = 0; rc == RC_OK && i < c->n; i++) {
		struct sale_item *it = &c->item[i];

		if ((rc = close_item(shop, it, arena, &units[i], e)) != RC_OK)
			return rc;
		rc = claim(shop, it, arena, &units[i], e); /* MUTANT claim */
	}
	if (rc != RC_OK || (rc = change_products(shop, c, arena, e)) != RC_OK)
		return rc;
	for (int i = 0; i < c->n; i++) { /* by variant: the order of locks */
		struct pg_args args = { 0 };

		pg_arg_int(&args, c->item[i].variant_id);
		pg_arg_int(&args, units[i]);
		rc = pg_exec(
		    shop->pg, PG_PRIMARY, &close_give, &args, arena, NULL, e);
		if (rc != RC_OK)
			return rc;
	}
	return change_forget(shop, c, arena, e);
}

enum rc
sale_close(
    struct shop *shop, int64_t sale_id, struct arena *arena, struct err *e)
{
	struct change c = { .sale_id = sale_id };
	struct err later;
	enum rc rc;

	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = close_in(shop, &c, arena, e);
	if (rc == RC_OK && c.n == 0)
		pg_rollback(shop->pg);
	else if ((rc = change_end(shop, &c, rc, arena, e)) != RC_OK)
		return rc;
	if (c.n == 0 && count_state(&c, SI_CLOSED) == 0)
		return err_set(e, RC_REFUSED, "not_open",
		    "sale %lld was never opened", (long long)sale_id);
	/* Where this does not come through, purchases are told by PostgreSQL
	 * that it is over, and the housekeeper tells the counter. Those that
	 * were closed before are told again: once more does nothing. */
	for (int i = 0; i < c.n_all; i++) {
		if (c.all[i].state == SI_CLOSED)
			(void)!counter_close(shop->sale_redis,
			    sale_item_ref(&c.all[i]), c.all[i].epoch, arena,
			    &later);
	}
	for (int i = 0; i < c.n; i++)
		(void)!counter_close(shop->sale_redis,
		    sale_item_ref(&c.item[i]), c.item[i].epoch, arena, &later);
	if (c.n > 0)
		stock_change_done(shop, &c.stock, arena);
	return RC_OK;
}

/* For sale_check(), where units of a closed item have no row. */
static enum rc
claim_again_in(struct shop *shop, struct sale_item *it, struct change *c,
    struct arena *arena, int64_t *units, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	bool over;
	enum rc rc = change_begin(shop, c, SI_CLOSED, arena, &over, e);

	if (rc != RC_OK)
		return rc;
	rc = claim(shop, it, arena, units, e);
	if (rc != RC_OK || *units == 0)
		return rc;
	c->n = 1;
	c->item[0] = *it;
	if ((rc = change_products(shop, c, arena, e)) != RC_OK)
		return rc;
	pg_arg_int(&args, it->variant_id);
	pg_arg_int(&args, *units);
	rc = pg_exec(shop->pg, PG_PRIMARY, &close_give, &args, arena, &rows, e);
	return rc != RC_OK ? rc : change_forget(shop, c, arena, e);
}

enum rc
sale_claim_again(struct shop *shop, const struct sale_item *item,
    struct arena *arena, int64_t *n, struct err *e)
{
	struct change c = { .sale_id = item->sale_id };
	struct sale_item it = *item;
	enum rc rc;

	*n = 0;
	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = claim_again_in(shop, &it, &c, arena, n, e);
	if (rc == RC_OK && *n == 0) {
		pg_rollback(shop->pg);
		return RC_OK;
	}
	rc = change_end(shop, &c, rc, arena, e);
	if (rc == RC_OK)
		stock_change_done(shop, &c.stock, arena);
	return rc;
}
