/*
 * Every second, over every open item, whether or not anyone buys (DESIGN 5.1).
 * All of it may be done by several processes at once: each step does nothing
 * when it was done already.
 *
 *	over          its sale is closed
 *	other epoch   the counter is disarmed
 *	not armed     it is armed
 *	old holds     justified by their order, or given back
 *	numbers       a page of them is compared with the unit rows. What is
 *	              wrong becomes a suspect, and is mended when it is seen
 *	              again at the same epoch after longer than a purchase may
 *	              live. A suspect whose time has come is looked at before
 *the next page is, so that a big sale waits no longer for it than a small one.
 *	the rest      what the product's other variants add to its figure
 *
 * A turn's work is bounded: ITEMS items, NUMBERS numbers; where there is more
 * the next turn goes on there.
 *
 * Counters of items that are closed in PostgreSQL are told every so often: the
 * process that closed them may have died before it could.
 */
#include "shop/sale_run.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/xmalloc.h"
#include "shop/counter_int.h"
#include "shop/sale_int.h"
#include "shop/shop.h"
#include "store/pg.h"

enum {
	ITEMS = 200,
	NUMBERS = 20000,
	SUSPECTS = 500,   /* of one item; more wait for the next pass */
	CLOSED_EVERY = 10 /* turns */
};

static const struct pg_stmt open_items = { "reconcile_open_items",
	"SELECT " SALE_ITEM_COLUMNS
	" FROM sale_item i"
	" WHERE i.state = 'open' AND i.id > $1 ORDER BY i.id LIMIT 200",
	1 };

/* A sale is closed at its end, or before by hand. */
static const struct pg_stmt closed_items = { "reconcile_closed_items",
	"SELECT " SALE_ITEM_COLUMNS
	" FROM sale s JOIN sale_item i ON i.sale_id = s.id"
	" WHERE s.ends_at > now() - interval '1 hour' AND i.state = 'closed'"
	" AND i.id > $1 ORDER BY i.id LIMIT 200",
	1 };

const struct pg_stmt *const reconcile_statements[] = { &open_items,
	&closed_items, NULL };

struct suspect {
	enum sale_wrong wrong;
	int unit;
	char id[40];
	int64_t since; /* mono ms */
	bool seen;     /* at this look */
};

/* What is remembered of an item. */
struct watch {
	int64_t item_id, epoch;
	int from; /* where the next page begins */
	int n;
	struct suspect suspect[SUSPECTS];
	bool alive; /* seen in this round */
};

struct reconciler {
	struct shop *shop;
	int64_t after, closed_after; /* item ids: where to go on */
	int n, cap;
	struct watch **watch;
	unsigned turn;
	int numbers; /* left of this turn's */
	int first;   /* the item whose numbers come first */
};

struct reconciler *
reconciler_new(struct shop *shop)
{
	struct reconciler *rec = xcalloc(1, sizeof *rec);

	rec->shop = shop;
	return rec;
}

void
reconciler_free(struct reconciler *rec)
{
	if (rec == NULL)
		return;
	for (int i = 0; i < rec->n; i++)
		free(rec->watch[i]);
	free(rec->watch);
	free(rec);
}

/* ---- what is remembered */

static struct watch *
watch_of(struct reconciler *rec, int64_t item_id)
{
	for (int i = 0; i < rec->n; i++) {
		if (rec->watch[i]->item_id == item_id)
			return rec->watch[i];
	}
	if (rec->n == rec->cap) {
		rec->cap = rec->cap == 0 ? 16 : rec->cap * 2;
		rec->watch =
		    xrealloc(rec->watch, (size_t)rec->cap * sizeof *rec->watch);
	}

	struct watch *w = xcalloc(1, sizeof *w);

	w->item_id = item_id;
	w->from = 1;
	rec->watch[rec->n++] = w;
	return w;
}

/* At the end of a round over all items. */
static void
watches_sweep(struct reconciler *rec)
{
	int kept = 0;

	for (int i = 0; i < rec->n; i++) {
		if (!rec->watch[i]->alive) {
			free(rec->watch[i]);
			continue;
		}
		rec->watch[i]->alive = false;
		rec->watch[kept++] = rec->watch[i];
	}
	rec->n = kept;
}

static bool
same(const struct suspect *s, const struct sale_finding *f)
{
	return s->wrong == f->wrong && s->unit == f->unit.unit &&
	       strcmp(s->id, f->unit.id) == 0;
}

static struct suspect *
suspect_of(struct watch *w, const struct sale_finding *f)
{
	struct suspect *s;

	for (int i = 0; i < w->n; i++) {
		if (same(&w->suspect[i], f))
			return &w->suspect[i];
	}
	if (w->n == SUSPECTS || strlen(f->unit.id) >= sizeof s->id)
		return NULL;
	s = &w->suspect[w->n++];
	*s = (struct suspect){ .wrong = f->wrong,
		.unit = f->unit.unit,
		.since = clock_mono_ms() };
	memcpy(s->id, f->unit.id, strlen(f->unit.id) + 1);
	return s;
}

/* Those of that page that were not seen again are none. */
static void
suspects_sweep(struct watch *w, const struct sale_page *page)
{
	int kept = 0;

	for (int i = 0; i < w->n; i++) {
		struct suspect *s = &w->suspect[i];

		if (!s->seen && s->unit >= page->from && s->unit <= page->to)
			continue;
		s->seen = false;
		w->suspect[kept++] = *s;
	}
	w->n = kept;
}

static const struct suspect *
suspect_due(const struct watch *w, int64_t grace_ms)
{
	int64_t now = clock_mono_ms();

	for (int i = 0; i < w->n; i++) {
		if (now - w->suspect[i].since > grace_ms)
			return &w->suspect[i];
	}
	return NULL;
}

/* ---- one item */

static enum rc
numbers_turn(struct reconciler *rec, const struct sale_item *item,
    struct arena *arena, struct err *e)
{
	struct watch *w = watch_of(rec, item->id);
	int64_t grace_ms = sale_grace_ms(rec->shop);
	const struct suspect *due = suspect_due(w, grace_ms);
	struct sale_page page;
	enum rc rc = RC_OK;

	w->alive = true;
	if (rec->numbers <= 0)
		return RC_OK;
	if (w->epoch != item->epoch) { /* armed anew: nothing is known */
		w->epoch = item->epoch;
		w->n = 0;
		w->from = 1;
		due = NULL;
	}
	rc = sale_compare(rec->shop, item, due != NULL ? due->unit : w->from,
	    arena, &page, e);
	if (rc != RC_OK || page.epoch != item->epoch)
		return rc;
	rec->numbers -= 100 + (page.to - page.from);
	for (int i = 0; i < page.n; i++) {
		struct suspect *s = suspect_of(w, &page.finding[i]);

		if (s == NULL)
			continue;
		/* Mended: not seen again. If it was not, it begins anew. */
		s->seen = clock_mono_ms() - s->since <= grace_ms;
		if (!s->seen && (rc = sale_mend(rec->shop, item, page.epoch,
				     &page.finding[i], arena, e)) != RC_OK)
			break;
	}
	suspects_sweep(w, &page);
	if (due == NULL)
		w->from = page.last ? 1 : page.to + 1;
	return rc;
}

/* "sale_arming": somebody else does. */
static enum rc
arm(struct reconciler *rec, const struct sale_item *item, struct arena *arena,
    struct err *e)
{
	enum rc rc = sale_arm(rec->shop, sale_item_ref(item), arena, e);

	return rc == RC_RETRY && strcmp(e->code, "sale_arming") == 0 ? RC_OK
								     : rc;
}

static enum rc
item_turn(struct reconciler *rec, struct sale_item *item,
    const struct counter_state *state, struct arena *arena, struct err *e)
{
	struct shop *shop = rec->shop;
	struct counter_ref ref = sale_item_ref(item);
	bool armed = state->armed;
	enum rc rc;

	watch_of(rec, item->id)->alive = true;
	if (armed && state->epoch != item->epoch) {
		/* It may have been armed since the item was read. */
		if ((rc = sale_item_get(shop, item->id, arena, item, e)) !=
		    RC_OK)
			return rc;
		if (item->state != SI_OPEN)
			return RC_OK;
		armed = state->epoch == item->epoch;
		if (!armed && (rc = counter_disarm(shop->sale_redis, ref,
				   state->epoch, arena, e)) != RC_OK)
			return rc;
	}
	if (!armed)
		return arm(rec, item, arena, e);
	if ((rc = sale_settle_holds(shop, item, arena, NULL, e)) != RC_OK ||
	    (rc = numbers_turn(rec, item, arena, e)) != RC_OK)
		return rc;
	return sale_rest_refresh(
	    shop, ref, item->product_id, item->epoch, arena, e);
}

/* A counter that was disarmed between two steps is the next turn's. */
static void
note(enum rc rc, const struct err *one, enum rc *all, struct err *e)
{
	if (rc == RC_OK || *all != RC_OK ||
	    (rc == RC_RETRY && strcmp(one->code, "sale_unarmed") == 0))
		return;
	*all = rc;
	*e = *one;
}

/* ---- all of them */

static enum rc
items_read(struct reconciler *rec, const struct pg_stmt *st, int64_t *after,
    struct arena *arena, int *n, struct sale_item **out, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, *after);
	rc = pg_exec(rec->shop->pg, PG_PRIMARY, st, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	*n = rows.n;
	*out = sale_items_read(&rows, arena);
	*after = rows.n < ITEMS ? 0 : (*out)[rows.n - 1].id;
	return RC_OK;
}

static enum rc
states_read(struct reconciler *rec, int n, const struct sale_item items[],
    struct arena *arena, struct counter_state **out, struct err *e)
{
	struct counter_ref *refs =
	    arena_calloc(arena, (size_t)n + 1, sizeof *refs);

	*out = arena_calloc(arena, (size_t)n + 1, sizeof **out);
	for (int i = 0; i < n; i++)
		refs[i] = sale_item_ref(&items[i]);
	return n == 0 ? RC_OK
		      : counter_states(
			    rec->shop->sale_redis, n, refs, arena, *out, e);
}

static enum rc
open_turn(struct reconciler *rec, struct arena *arena, struct err *e)
{
	struct counter_state *states;
	struct sale_item *items;
	struct err one = ERR_INIT;
	int64_t closed_sale = 0;
	int n, first;
	enum rc all = RC_OK, rc;

	rc = items_read(rec, &open_items, &rec->after, arena, &n, &items, e);
	if (rc != RC_OK)
		return rc;
	/* Needs no Redis. */
	for (int i = 0; i < n; i++) {
		if (!items[i].over || items[i].sale_id == closed_sale)
			continue;
		closed_sale = items[i].sale_id;
		rc = sale_close(rec->shop, closed_sale, arena, &one);
		note(rc, &one, &all, e);
	}
	rc = states_read(rec, n, items, arena, &states, &one);
	note(rc, &one, &all, e);
	first = rec->first < n ? rec->first : 0;
	rec->first = 0;
	for (int k = 0; rc == RC_OK && k < n; k++) {
		int i = (k + first) % n;
		bool some = rec->numbers > 0;

		if (items[i].over)
			continue;
		note(item_turn(rec, &items[i], &states[i], arena, &one), &one,
		    &all, e);
		if (some && rec->numbers <= 0)
			rec->first = i + 1; /* the others next time */
	}
	if (rec->after == 0)
		watches_sweep(rec);
	return all;
}

static enum rc
closed_turn(struct reconciler *rec, struct arena *arena, struct err *e)
{
	struct counter_state *states;
	struct sale_item *items;
	struct err one = ERR_INIT;
	int n;
	enum rc all = RC_OK, rc;

	rc = items_read(
	    rec, &closed_items, &rec->closed_after, arena, &n, &items, e);
	if (rc == RC_OK)
		rc = states_read(rec, n, items, arena, &states, e);
	for (int i = 0; rc == RC_OK && i < n; i++) {
		if (states[i].there && !states[i].closed)
			note(counter_close(rec->shop->sale_redis,
				 sale_item_ref(&items[i]), items[i].epoch,
				 arena, &one),
			    &one, &all, e);
	}
	return rc != RC_OK ? rc : all;
}

enum rc
reconciler_turn(struct reconciler *rec, struct arena *arena, struct err *e)
{
	struct err one = ERR_INIT;
	enum rc all = RC_OK;

	rec->numbers = NUMBERS;
	note(open_turn(rec, arena, &one), &one, &all, e);
	if (rec->turn++ % CLOSED_EVERY == 0)
		note(closed_turn(rec, arena, &one), &one, &all, e);
	return all;
}
