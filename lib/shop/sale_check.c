/*
 * Everything that must agree, looked at twice.
 *
 * Each look makes a list of differences in words. Where the first look finds
 * any, a second one follows after longer than a purchase may live; only what
 * both lists say counts. So purchases, cancellations and arming under way need
 * not stop, and the words must hold nothing that moves (no counts, no ages).
 *
 * Big sales are read in pages; what may take long in PostgreSQL has a deadline
 * of its own.
 */
#include "shop/sale_run.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "shop/counter_int.h"
#include "shop/order_life.h"
#include "shop/sale_int.h"
#include "shop/shop.h"
#include "shop/stock_change.h"
#include "store/outbox.h"
#include "store/pg.h"

enum { MAX_DIFFERENCES = 1000, LOOK_MS = 120000 };

/* What can be done about a difference. */
enum remedy {
	R_NONE,   /* a person must look */
	R_ARM,    /* the counter is made anew */
	R_NUMBER, /* one number of it is set right */
	R_CLOSE,  /* the counter is told that it is over */
	R_TASK,   /* the task is written */
	R_UNIT,   /* a cancelled order's unit goes back */
	R_CLAIM   /* units without a row are claimed for the variant */
};

struct difference {
	const char *words;
	enum remedy remedy;
	const struct sale_item *item;
	struct sale_finding finding; /* R_NUMBER */
	const char *order;           /* R_TASK, R_UNIT */
};

struct look {
	struct shop *shop;
	struct arena *arena; /* of the call: differences live here */
	struct arena *page;  /* reset after each page */
	int n, cap;
	struct difference *list;
	bool more; /* than MAX_DIFFERENCES */
};

static struct difference *differs(struct look *look, enum remedy remedy,
    const struct sale_item *item, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* NULL: there are too many. */
static struct difference *
differs(struct look *look, enum remedy remedy, const struct sale_item *item,
    const char *fmt, ...)
{
	struct difference *d;
	va_list ap;

	if (look->n == MAX_DIFFERENCES) {
		look->more = true;
		return NULL;
	}
	if (look->list == NULL)
		look->list = arena_calloc(
		    look->arena, MAX_DIFFERENCES, sizeof *look->list);
	d = &look->list[look->n++];
	va_start(ap, fmt);
	d->words = arena_printf(look->arena, "sale %lld variant %lld: %s",
	    (long long)item->sale_id, (long long)item->variant_id,
	    arena_vprintf(look->arena, fmt, ap));
	va_end(ap);
	d->remedy = remedy;
	d->item = item;
	return d;
}

/* ---- PostgreSQL with itself */

/*
 * Each gives ids or numbers ($1: the item), and at most so many that one look
 * can hold them. LIVE: an order that must have its unit.
 */
#define LIVE "o.status IN ('reserved', 'paid', 'fulfilled')"

static const struct pg_stmt dead_units = { "check_dead_units",
	"SELECT o.id, u.unit FROM sale_unit u JOIN orders o ON o.id = "
	"u.order_id"
	" WHERE u.item_id = $1 AND o.status IN ('pending', 'cancelled')"
	" ORDER BY u.unit LIMIT 1000",
	1 };

static const struct pg_stmt strange_units = { "check_strange_units",
	"SELECT o.id, u.unit FROM sale_unit u JOIN orders o ON o.id = "
	"u.order_id"
	" WHERE u.item_id = $1 AND (o.sale_item_id IS DISTINCT FROM $1"
	"  OR u.buyer <> o.customer_id::text) ORDER BY u.unit LIMIT 1000",
	1 };

static const struct pg_stmt units_beyond = { "check_units_beyond",
	"SELECT u.unit FROM sale_unit u JOIN sale_item i ON i.id = u.item_id"
	" WHERE u.item_id = $1 AND (u.unit > i.allotment"
	"  OR u.slot > i.per_buyer) ORDER BY u.unit LIMIT 1000",
	1 };

static const struct pg_stmt claimed_units = { "check_claimed_units",
	"SELECT unit FROM sale_unit WHERE item_id = $1 AND order_id IS NULL"
	" ORDER BY unit LIMIT 1000",
	1 };

static const struct pg_stmt orders_without = { "check_orders_without",
	"SELECT o.id, o.status FROM orders o WHERE o.sale_item_id = $1"
	" AND " LIVE " AND NOT EXISTS (SELECT FROM sale_unit u"
	"  WHERE u.order_id = o.id AND u.item_id = $1)"
	" ORDER BY o.id LIMIT 1000",
	1 };

static const struct pg_stmt orders_of_others = { "check_order_lines",
	"SELECT o.id FROM orders o WHERE o.sale_item_id = $1"
	" AND (SELECT count(*) FILTER (WHERE l.variant_id = $2::int8"
	"   AND l.quantity = 1) <> 1 OR count(*) <> 1"
	"  FROM order_line l WHERE l.order_id = o.id)"
	" ORDER BY o.id LIMIT 1000",
	2 };

static const struct pg_stmt over_limit = { "check_over_limit",
	"SELECT o.customer_id FROM orders o WHERE o.sale_item_id = $1"
	" AND " LIVE " GROUP BY o.customer_id HAVING count(*) > $2::int"
	" ORDER BY o.customer_id LIMIT 1000",
	2 };

/* A task's id: outbox.h. One that is hidden for ever is none. */
static const struct pg_stmt orders_unpaid = { "check_orders_unpaid",
	"SELECT o.id FROM orders o CROSS JOIN LATERAL (SELECT left(encode("
	"  sha256('process_payment'::bytea || '\\x00'::bytea || o.id::bytea),"
	"  'hex'), 32) AS task_id) t"
	" WHERE o.sale_item_id = $1 AND o.status = 'reserved'"
	" AND NOT EXISTS (SELECT FROM payment p WHERE p.order_id = o.id)"
	" AND NOT EXISTS (SELECT FROM outbox b WHERE b.task_id = t.task_id"
	"  AND b.visible_at < 'infinity')"
	" AND NOT EXISTS (SELECT FROM finished_task f"
	"  WHERE f.task_id = t.task_id)"
	" AND NOT EXISTS (SELECT FROM dead_task d WHERE d.task_id = t.task_id)"
	" ORDER BY o.id LIMIT 1000",
	1 };

static const struct pg_stmt units_missing = { "check_units_missing",
	"SELECT u FROM generate_series(1, $2::int) u WHERE NOT EXISTS"
	" (SELECT FROM sale_unit s WHERE s.item_id = $1::int8 AND s.unit = u)"
	" ORDER BY u LIMIT 1000",
	2 };

/* second: the second parameter, -1: the statement has one only. */
static enum rc
ask(struct look *look, const struct sale_item *item, const struct pg_stmt *st,
    int64_t second, struct pg_rows *rows, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_int(&args, item->id);
	if (st->params == 2)
		pg_arg_int(&args, second);
	return pg_exec_by(look->shop->pg, PG_PRIMARY, st, &args,
	    deadline_in(LOOK_MS), look->arena, rows, e);
}

static enum rc
look_at_units(struct look *look, const struct sale_item *item, struct err *e)
{
	struct difference *d;
	struct pg_rows r;
	enum rc rc;

	if ((rc = ask(look, item, &dead_units, -1, &r, e)) != RC_OK)
		return rc;
	for (int i = 0; i < r.n; i++) {
		d = differs(look, R_UNIT, item,
		    "unit %s belongs to order %s, which is not live",
		    pg_str(&r, i, 1), pg_str(&r, i, 0));
		if (d != NULL)
			d->order = pg_str(&r, i, 0);
	}
	if ((rc = ask(look, item, &strange_units, -1, &r, e)) != RC_OK)
		return rc;
	for (int i = 0; i < r.n; i++)
		differs(look, R_NONE, item,
		    "unit %s belongs to order %s, which is of another item or "
		    "buyer",
		    pg_str(&r, i, 1), pg_str(&r, i, 0));
	if ((rc = ask(look, item, &units_beyond, -1, &r, e)) != RC_OK)
		return rc;
	for (int i = 0; i < r.n; i++)
		differs(look, R_NONE, item,
		    "unit %s is beyond the allotment or the limit",
		    pg_str(&r, i, 0));
	if (item->state == SI_OPEN) {
		rc = ask(look, item, &claimed_units, -1, &r, e);
		for (int i = 0; rc == RC_OK && i < r.n; i++)
			differs(look, R_NONE, item,
			    "unit %s is claimed, though the item is open",
			    pg_str(&r, i, 0));
	} else {
		rc = ask(look, item, &units_missing, item->allotment, &r, e);
		for (int i = 0; rc == RC_OK && i < r.n; i++)
			differs(look, R_CLAIM, item,
			    "unit %s was neither sold nor claimed by the close",
			    pg_str(&r, i, 0));
	}
	return rc;
}

static enum rc
look_at_orders(struct look *look, const struct sale_item *item, struct err *e)
{
	struct difference *d;
	struct pg_rows r;
	enum rc rc;

	if ((rc = ask(look, item, &orders_without, -1, &r, e)) != RC_OK)
		return rc;
	for (int i = 0; i < r.n; i++)
		differs(look, R_NONE, item, "order %s is %s without a unit",
		    pg_str(&r, i, 0), pg_str(&r, i, 1));
	rc = ask(look, item, &orders_of_others, item->variant_id, &r, e);
	if (rc != RC_OK)
		return rc;
	for (int i = 0; i < r.n; i++)
		differs(look, R_NONE, item,
		    "order %s is not of one unit of this variant",
		    pg_str(&r, i, 0));
	if ((rc = ask(look, item, &over_limit, item->limit, &r, e)) != RC_OK)
		return rc;
	for (int i = 0; i < r.n; i++)
		differs(look, R_NONE, item,
		    "buyer %s has more than the limit of %d", pg_str(&r, i, 0),
		    item->limit);
	if ((rc = ask(look, item, &orders_unpaid, -1, &r, e)) != RC_OK)
		return rc;
	for (int i = 0; i < r.n; i++) {
		d = differs(look, R_TASK, item,
		    "order %s is reserved, and nothing will charge it",
		    pg_str(&r, i, 0));
		if (d != NULL)
			d->order = pg_str(&r, i, 0);
	}
	return RC_OK;
}

/* ---- PostgreSQL with the counter */

static enum rc
look_at_numbers(struct look *look, const struct sale_item *item, struct err *e)
{
	struct sale_page page = { .to = 0 };
	enum rc rc = RC_OK;

	do {
		arena_reset(look->page);
		rc = sale_compare(
		    look->shop, item, page.to + 1, look->page, &page, e);
		if (rc != RC_OK)
			break;
		for (int i = 0; i < page.n; i++) {
			const struct sale_finding *f = &page.finding[i];
			struct difference *d;

			if (f->wrong == SW_LOST)
				d = differs(look, R_NUMBER, item,
				    "unit %d is neither for sale, nor held, "
				    "nor sold",
				    f->unit.unit);
			else if (f->wrong == SW_UNFILED)
				d = differs(look, R_NUMBER, item,
				    "unit %d is sold to order %s, and the "
				    "counter does not know",
				    f->unit.unit, f->unit.id);
			else
				d = differs(look, R_NUMBER, item,
				    "unit %d is held by %s, which has no live "
				    "order on it",
				    f->unit.unit, f->unit.id);
			if (d == NULL)
				continue;
			d->finding = *f;
			d->finding.unit.id =
			    arena_strdup(look->arena, f->unit.id);
			d->finding.unit.buyer =
			    arena_strdup(look->arena, f->unit.buyer);
		}
	} while (!page.last);
	return rc;
}

/* Of each buyer: the slots of his unit rows, and those that are counted. */
static const struct pg_stmt buyers_page = { "check_buyers",
	"SELECT buyer, string_agg(slot::text, ',' ORDER BY slot)"
	" FROM sale_unit WHERE item_id = $1 AND buyer > $2"
	" GROUP BY buyer ORDER BY buyer LIMIT 1000",
	2 };
static const struct pg_stmt buyers_named = { "check_buyers_named",
	"SELECT b, coalesce((SELECT string_agg(slot::text, ',' ORDER BY slot)"
	"  FROM sale_unit u WHERE u.item_id = $1 AND u.buyer = b), '')"
	" FROM jsonb_array_elements_text($2::jsonb) b",
	2 };

static bool
slot_in(const char *list, const char *slot, size_t n)
{
	while (*list != '\0') {
		size_t len = strcspn(list, ",");

		if (len == n && memcmp(list, slot, n) == 0)
			return true;
		list += len + (list[len] == ',');
	}
	return false;
}

static void
compare_slots(struct look *look, const struct sale_item *item,
    const char *buyer, const char *sold, const char *counted)
{
	for (const char *s = sold; *s != '\0'; s += *s == ',') {
		size_t len = strcspn(s, ",");

		if (!slot_in(counted, s, len))
			differs(look, R_ARM, item,
			    "buyer %s: the counter does not count his order "
			    "%.*s of %d",
			    buyer, (int)len, s, item->limit);
		s += len;
	}
	for (const char *s = counted; *s != '\0'; s += *s == ',') {
		size_t len = strcspn(s, ",");

		if (!slot_in(sold, s, len))
			differs(look, R_ARM, item,
			    "buyer %s: the counter counts an order %.*s of %d "
			    "that there is not",
			    buyer, (int)len, s, item->limit);
		s += len;
	}
}

/* What the shop knows, asked of the counter. */
static enum rc
look_at_buyers(struct look *look, const struct sale_item *item, struct err *e)
{
	const char *after = "";
	struct pg_rows r;

	do {
		struct pg_args args = { 0 };
		const char **names, **counted;
		enum rc rc;

		arena_reset(look->page);
		pg_arg_int(&args, item->id);
		pg_arg_str(&args, after);
		rc = pg_exec(look->shop->pg, PG_PRIMARY, &buyers_page, &args,
		    look->page, &r, e);
		if (rc != RC_OK || r.n == 0)
			return rc;
		names = arena_calloc(look->page, (size_t)r.n, sizeof *names);
		for (int i = 0; i < r.n; i++)
			names[i] = pg_str(&r, i, 0);
		rc = counter_slots(look->shop->sale_redis, sale_item_ref(item),
		    r.n, names, look->page, &counted, e);
		if (rc != RC_OK)
			return rc;
		for (int i = 0; i < r.n; i++)
			compare_slots(
			    look, item, names[i], pg_str(&r, i, 1), counted[i]);
		after = arena_strdup(look->arena, names[r.n - 1]);
	} while (r.n == 1000);
	return RC_OK;
}

static const char *
json_strings(int n, const char *const s[], struct arena *arena)
{
	struct strbuf sb;

	strbuf_init(&sb, 2 + (size_t)n * 12);
	strbuf_addc(&sb, '[');
	for (int i = 0; i < n; i++) {
		strbuf_adds(&sb, i == 0 ? "\"" : ",\"");
		strbuf_add_json(&sb, s[i], strlen(s[i]));
		strbuf_addc(&sb, '"');
	}
	strbuf_addc(&sb, ']');

	const char *out = arena_strdup(arena, sb.s);

	strbuf_release(&sb);
	return out;
}

/* And the other way round: buyers whom only the counter knows. */
static enum rc
look_at_counted(struct look *look, const struct sale_item *item, struct err *e)
{
	char cursor[TEXT_NUM] = "0";

	do {
		struct pg_args args = { 0 };
		const char **names, **counted;
		struct pg_rows r;
		int n;
		enum rc rc;

		arena_reset(look->page);
		rc = counter_buyers(look->shop->sale_redis, sale_item_ref(item),
		    cursor, look->page, &n, &names, &counted, e);
		if (rc != RC_OK)
			return rc;
		if (n == 0)
			continue;
		pg_arg_int(&args, item->id);
		pg_arg_str(&args, json_strings(n, names, look->page));
		rc = pg_exec(look->shop->pg, PG_PRIMARY, &buyers_named, &args,
		    look->page, &r, e);
		if (rc != RC_OK)
			return rc;
		for (int i = 0; i < n && i < r.n; i++) {
			if (*pg_str(&r, i, 1) == '\0')
				compare_slots(
				    look, item, names[i], "", counted[i]);
		}
	} while (strcmp(cursor, "0") != 0);
	return RC_OK;
}

static enum rc
look_at_counter(struct look *look, const struct sale_item *item, struct err *e)
{
	struct counter_state state;
	enum rc rc = counter_state(look->shop->sale_redis, sale_item_ref(item),
	    look->arena, &state, e);

	if (rc != RC_OK)
		return rc;
	if (item->state == SI_CLOSED) {
		if (state.there && !state.closed)
			differs(look, R_CLOSE, item,
			    "the item is closed, and its counter is not");
		return RC_OK;
	}
	if (!state.armed) {
		differs(look, R_ARM, item, "the counter is not armed");
		return RC_OK;
	}
	if (state.epoch != item->epoch) {
		differs(look, R_ARM, item,
		    "the counter was armed with epoch %lld, the item has %lld",
		    (long long)state.epoch, (long long)item->epoch);
		return RC_OK;
	}
	if (state.allotment != item->allotment)
		differs(look, R_ARM, item,
		    "the counter's allotment is %lld, the item's %d",
		    (long long)state.allotment, item->allotment);
	if ((rc = look_at_numbers(look, item, e)) != RC_OK ||
	    (rc = look_at_buyers(look, item, e)) != RC_OK)
		return rc;
	return look_at_counted(look, item, e);
}

/* ---- a look at all of it, and another one */

static const struct pg_stmt items_open = { "check_items_open",
	"SELECT " SALE_ITEM_COLUMNS
	" FROM sale_item i"
	" WHERE i.state = 'open' ORDER BY i.id",
	0 };
static const struct pg_stmt items_of = { "check_items_of",
	"SELECT " SALE_ITEM_COLUMNS
	" FROM sale_item i"
	" WHERE i.sale_id = $1 ORDER BY i.id",
	1 };
static const struct pg_stmt sale_is = { "check_sale_is",
	"SELECT 1 FROM sale WHERE id = $1", 1 };

static enum rc
look_once(struct shop *shop, int64_t sale_id, struct look *look, struct err *e)
{
	const struct pg_stmt *st = sale_id == 0 ? &items_open : &items_of;
	struct pg_args args = { 0 };
	struct sale_item *items;
	struct pg_rows rows;
	enum rc rc;

	look->shop = shop;
	if (sale_id != 0)
		pg_arg_int(&args, sale_id);
	rc = pg_exec(shop->pg, PG_PRIMARY, st, &args, look->arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	items = sale_items_read(&rows, look->arena);
	for (int i = 0; i < rows.n; i++) {
		if (items[i].state == SI_DRAFT)
			continue;
		if ((rc = look_at_units(look, &items[i], e)) != RC_OK ||
		    (rc = look_at_orders(look, &items[i], e)) != RC_OK)
			return rc;
		rc = look_at_counter(look, &items[i], e);
		/* Disarmed in the middle of it: by the second look it is
		 * armed, or that is the difference. */
		if (rc == RC_RETRY && strcmp(e->code, "sale_unarmed") == 0)
			differs(
			    look, R_ARM, &items[i], "the counter is not armed");
		else if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}

static int
by_words(const void *a, const void *b)
{
	const struct difference *x = a, *y = b;

	return strcmp(x->words, y->words);
}

/* Those of b that a has too, each once; both sorted by it. */
static void
keep_common(struct look *a, struct look *b)
{
	int kept = 0;

	if (a->n == 0 || b->n == 0) {
		b->n = 0;
		return;
	}
	qsort(a->list, (size_t)a->n, sizeof *a->list, by_words);
	qsort(b->list, (size_t)b->n, sizeof *b->list, by_words);
	for (int i = 0; i < b->n; i++) {
		if (kept > 0 &&
		    strcmp(b->list[kept - 1].words, b->list[i].words) == 0)
			continue;
		if (bsearch(&b->list[i], a->list, (size_t)a->n, sizeof *a->list,
			by_words) != NULL)
			b->list[kept++] = b->list[i];
	}
	b->n = kept;
}

/* ---- mending */

static const struct pg_stmt unit_of = { "check_unit_of",
	"SELECT u.unit, u.slot, u.buyer FROM sale_unit u"
	" WHERE u.order_id = $1 AND u.item_id = $2 FOR UPDATE",
	2 };
static const struct pg_stmt item_share = { "check_item_share",
	"SELECT state FROM sale_item WHERE id = $1 FOR SHARE", 1 };
static const struct pg_stmt unit_delete = { "check_unit_delete",
	"DELETE FROM sale_unit WHERE order_id = $1 AND item_id = $2", 2 };
static const struct pg_stmt unit_claim = { "check_unit_claim",
	"UPDATE sale_unit SET order_id = NULL, buyer = NULL, slot = NULL"
	" WHERE order_id = $1 AND item_id = $2",
	2 };
static const struct pg_stmt variant_one = { "check_variant_one",
	"UPDATE variant SET stock = stock + 1 WHERE id = $1", 1 };

/* As a cancellation does it: order, item, then the unit. */
static enum rc
unit_back_in(struct shop *shop, const struct difference *d,
    struct counter_unit *unit, bool *open, struct stock_change *stock,
    struct arena *arena, struct err *e)
{
	struct pg_args item = { 0 }, both = { 0 }, variant = { 0 };
	struct order_row order;
	struct pg_rows rows;
	enum rc rc;

	if ((rc = order_lock(shop, d->order, arena, &order, e)) != RC_OK)
		return rc;
	pg_arg_int(&item, d->item->id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &item_share, &item, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	*open = rows.n > 0 && strcmp(pg_str(&rows, 0, 0), "open") == 0;
	pg_arg_str(&both, d->order);
	pg_arg_int(&both, d->item->id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &unit_of, &both, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0 || order.status != OS_CANCELLED)
		return err_set(
		    e, RC_REFUSED, "changed", "it is not so any more");
	*unit = (struct counter_unit){ .id = d->order,
		.buyer = pg_str(&rows, 0, 2),
		.unit = (int)pg_int(&rows, 0, 0),
		.slot = (int)pg_int(&rows, 0, 1) };
	if (*open)
		return pg_exec(
		    shop->pg, PG_PRIMARY, &unit_delete, &both, arena, NULL, e);
	rc = pg_exec(shop->pg, PG_PRIMARY, &unit_claim, &both, arena, NULL, e);
	if (rc == RC_OK)
		rc = stock_change_begin(
		    shop, 1, &d->item->product_id, arena, stock, e);
	if (rc != RC_OK)
		return rc;
	pg_arg_int(&variant, d->item->variant_id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &variant_one, &variant, arena, NULL, e);
	return rc != RC_OK ? rc : stock_change_end(shop, stock, arena, e);
}

static enum rc
unit_back(struct shop *shop, const struct difference *d, struct arena *arena,
    struct err *e)
{
	struct stock_change stock = { 0 };
	struct counter_unit unit;
	struct err later;
	bool open = false;
	enum rc rc = pg_begin(shop->pg, e);

	if (rc != RC_OK)
		return rc;
	rc = unit_back_in(shop, d, &unit, &open, &stock, arena, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) != RC_OK)
		return rc;
	/* The reconciler does it where this does not come through. */
	if (open)
		(void)!counter_give_back(shop->sale_redis,
		    sale_item_ref(d->item), &unit, arena, &later);
	stock_change_done(shop, &stock, arena);
	return RC_OK;
}

/* What the order was to be paid with stood in the task alone: the provider's
 * default. A decline leaves the order payable by its page. */
static enum rc
task_write(struct shop *shop, const struct difference *d, struct arena *arena,
    struct err *e)
{
	struct outbox_task task = { .type = "process_payment",
		.key = order_payment_key(d->order, 1, arena),
		.data = arena_printf(arena,
		    "{\"orderId\":\"%s\",\"attempt\":1,\"token\":\"\"}",
		    d->order) };
	enum rc rc = pg_begin(shop->pg, e);

	if (rc != RC_OK)
		return rc;
	/* Hidden for ever? */
	rc = outbox_show(shop->pg, task.type, task.key, arena, e);
	if (rc == RC_OK)
		rc = outbox_write(shop->pg, 1, &task, arena, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) == RC_OK)
		outbox_note(&shop->waker, "payment");
	return rc;
}

/* *what: in words. */
static enum rc
mend(struct shop *shop, const struct difference *d, struct arena *arena,
    const char **what, struct err *e)
{
	struct counter_ref ref = sale_item_ref(d->item);
	int64_t n = 0;
	enum rc rc;

	switch (d->remedy) {
	case R_ARM: {
		struct counter_state state;

		*what = "the counter is armed anew";
		rc = counter_state(shop->sale_redis, ref, arena, &state, e);
		if (rc == RC_OK && state.armed)
			rc = counter_disarm(
			    shop->sale_redis, ref, state.epoch, arena, e);
		return rc != RC_OK ? rc
				   : sale_arm_wait(shop, ref, 3000, arena, e);
	}
	case R_NUMBER:
		*what = "the counter has it right now";
		return sale_mend(
		    shop, d->item, d->item->epoch, &d->finding, arena, e);
	case R_CLOSE:
		*what = "the counter is closed";
		return counter_close(
		    shop->sale_redis, ref, d->item->epoch, arena, e);
	case R_TASK:
		*what = "the task is written";
		return task_write(shop, d, arena, e);
	case R_UNIT:
		*what = "the unit went back";
		return unit_back(shop, d, arena, e);
	case R_CLAIM:
		*what = "units without an order went to the variant's stock";
		return sale_claim_again(shop, d->item, arena, &n, e);
	case R_NONE:
		break;
	}
	*what = "a person must decide";
	return err_set(e, RC_REFUSED, "not_mendable", "a person must decide");
}

/* One arming of an item, one claim, mends all differences of its kind. */
static bool
done_before(const struct difference *list, int i)
{
	for (int k = 0; k < i; k++) {
		if (list[k].item == list[i].item &&
		    list[k].remedy == list[i].remedy)
			return list[i].remedy == R_ARM ||
			       list[i].remedy == R_CLAIM;
	}
	return false;
}

enum rc
sale_check(struct shop *shop, int64_t sale_id, bool repair,
    void (*line)(void *arg, const char *words), void *arg, int *n,
    struct arena *arena, struct err *e)
{
	struct look first = { .arena = arena, .page = arena_new() };
	struct look second = { .arena = arena, .page = first.page };
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc = RC_OK;

	*n = 0;
	if (sale_id != 0) {
		pg_arg_int(&args, sale_id);
		rc = pg_exec(
		    shop->pg, PG_PRIMARY, &sale_is, &args, arena, &rows, e);
		if (rc == RC_OK && rows.n == 0)
			rc = err_set(e, RC_NONE, "sale_not_found",
			    "there is no sale %lld", (long long)sale_id);
	}
	if (rc != RC_OK)
		goto out;
	if ((rc = look_once(shop, sale_id, &first, e)) != RC_OK || first.n == 0)
		goto out;
	clock_sleep_ms(sale_grace_ms(shop) + 100);
	if ((rc = look_once(shop, sale_id, &second, e)) != RC_OK)
		goto out;
	keep_common(&first, &second);
	for (int i = 0; i < second.n; i++) {
		const struct difference *d = &second.list[i];
		const char *what;
		struct err why = ERR_INIT;

		if (!repair) {
			line(arg, d->words);
			++*n;
		} else if (done_before(second.list, i)) {
			line(arg, arena_printf(arena, "%s: mended", d->words));
		} else if (mend(shop, d, arena, &what, &why) == RC_OK) {
			line(arg, arena_printf(
				      arena, "%s: mended, %s", d->words, what));
		} else {
			line(arg, arena_printf(arena, "%s: NOT mended, %s",
				      d->words, why.msg));
			++*n;
		}
	}
	if (first.more || second.more) {
		line(arg, "there is more than fits here");
		++*n;
	}
out:
	arena_free(first.page);
	return rc;
}
