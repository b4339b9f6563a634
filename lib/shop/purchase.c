/*
 * A purchase (DESIGN 5.1): the script gives a number, the statement makes it
 * true. Where the statement inserted nothing, one look at the primary says why
 * and what to do; at most three numbers are tried.
 *
 * What fails after the script leaves the hold: the same id finds it again, and
 * the reconciler gives it back if nobody comes.
 */
#include "shop/purchase.h"

#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "shop/counter_int.h"
#include "shop/ids.h"
#include "shop/purchase_int.h"
#include "shop/sale_run.h"
#include "shop/shop.h"
#include "store/outbox.h"

enum { TRIES = 3, ARMS = 2 };

struct buy {
	struct shop *shop;
	const struct purchase_req *req;
	struct arena *arena;
	struct counter_ref ref;
	struct counter_hold hold;
	char buyer[BUYER_CHARS + 1];
	char hash[2 + 64 + 1]; /* "": none */
};

/* ---- which variant */

static enum rc
variants_read(struct buy *b, struct variants *out, bool *draft, struct err *e)
{
	const struct purchase_req *req = b->req;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	bool any_draft = false;
	enum rc rc;

	pg_arg_int(&args, req->sale_id);
	pg_arg_int(&args, req->product_id);
	rc = pg_exec_by(b->shop->pg, PG_PRIMARY, &purchase_variants, &args,
	    req->deadline, b->arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	*out = (struct variants){ .n = rows.n };
	for (int i = 0; i < rows.n; i++) {
		int64_t id = pg_int(&rows, i, 0);
		/* Where one is named only that one counts. */
		bool meant = req->variant_id == 0 || req->variant_id == id;

		any_draft |= pg_bool(&rows, i, 1);
		*draft |= meant && pg_bool(&rows, i, 1);
		if (i < VARIANTS_MAX)
			out->id[i] = id;
		else if (meant)
			out->id[VARIANTS_MAX - 1] = id;
	}
	/* A draft may open at any moment. */
	if (rows.n > 0 && rows.n <= VARIANTS_MAX && !any_draft)
		variants_note(
		    b->shop->sold_out, req->sale_id, req->product_id, out);
	return RC_OK;
}

static enum rc
variant_pick(struct buy *b, const struct variants *v, struct err *e)
{
	int n = v->n < VARIANTS_MAX ? v->n : VARIANTS_MAX;
	int64_t wanted = b->req->variant_id;

	if (wanted == 0 && v->n > 1)
		return err_set(e, RC_INVALID, "variant_required",
		    "Say which variant: variantId");
	for (int i = 0; i < n; i++) {
		if (wanted == 0 || v->id[i] == wanted) {
			b->ref =
			    (struct counter_ref){ b->req->sale_id, v->id[i] };
			return RC_OK;
		}
	}
	return err_set(
	    e, RC_NONE, "sale_not_found", "This is not for sale here");
}

static enum rc
resolve(struct buy *b, struct err *e)
{
	const struct variants *known = variants_known(
	    b->shop->sold_out, b->req->sale_id, b->req->product_id);
	struct variants read;
	bool draft = false;
	enum rc rc;

	if (known != NULL)
		return variant_pick(b, known, e);
	rc = variants_read(b, &read, &draft, e);
	if (rc != RC_OK || (rc = variant_pick(b, &read, e)) != RC_OK)
		return rc;
	return draft ? err_set(e, RC_REFUSED, "sale_not_started",
			   "The sale has not started")
		     : RC_OK;
}

/* ---- an order that stands */

static enum rc
answer(struct buy *b, int64_t stock, bool other_body, struct purchase *out,
    struct err *e)
{
	if (other_body)
		return err_set(e, RC_INVALID, "idempotency_mismatch",
		    "This Idempotency-Key was used for another request");
	*out = (struct purchase){ b->req->id, stock, true };
	return RC_OK;
}

/* RC_NONE: there is no order with this id. */
static enum rc
stands(struct buy *b, struct purchase *out, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, b->req->id);
	pg_arg_str(&args, b->hash[0] == '\0' ? NULL : b->hash);
	rc = pg_exec_by(b->shop->pg, PG_PRIMARY, &purchase_stands, &args,
	    b->req->deadline, b->arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	return rows.n == 0 ? RC_NONE
			   : answer(b, pg_int(&rows, 0, 0),
				 pg_bool(&rows, 0, 1), out, e);
}

static enum rc
sold_out(struct err *e)
{
	return err_set(e, RC_REFUSED, "sold_out", "Sold out");
}

/* Never unseen: who may have an order is looked up by his id first. */
static enum rc
refuse(
    struct buy *b, enum counter_answer why, struct purchase *out, struct err *e)
{
	enum rc rc;

	if (why == CA_SOLD_OUT)
		sold_out_note(b->shop->sold_out, b->ref);
	if (b->req->keyed && b->hold.known &&
	    (rc = stands(b, out, e)) != RC_NONE)
		return rc;
	switch (why) {
	case CA_NOT_STARTED:
		return err_set(e, RC_REFUSED, "sale_not_started",
		    "The sale has not started");
	case CA_SOLD_OUT:
		return sold_out(e);
	case CA_LIMIT:
		return err_set(e, RC_REFUSED, "limit_reached",
		    "You have all that one person may have of this");
	case CA_ENDED:
	case CA_HELD:
	case CA_UNARMED:
		break;
	}
	return err_set(e, RC_REFUSED, "sale_ended", "The sale has ended");
}

/* ---- why nothing was placed */

static struct counter_unit
unit_at(const struct pg_rows *rows, int col)
{
	return (struct counter_unit){ .id = pg_str(rows, 0, col),
		.buyer = pg_str(rows, 0, col + 1),
		.unit = (int)pg_int(rows, 0, col + 2),
		.slot = (int)pg_int(rows, 0, col + 3) };
}

/* The row at col, if it is another order's, is filed as that order's. */
static bool
file_taken(struct buy *b, const struct pg_rows *rows, int col, struct err *e)
{
	struct counter_unit unit = unit_at(rows, col);

	if (unit.id[0] == '\0' || strcmp(unit.id, b->req->id) == 0)
		return false;
	/* What fails here the next try, or the reconciler, finds out. */
	(void)!counter_file(b->shop->sale_redis, b->ref, b->hold.epoch,
	    b->req->id, &unit, b->arena, e);
	return true;
}

/* The order stands; the number that was just taken may not be its own. */
static void
settle(struct buy *b, const struct pg_rows *rows, struct err *e)
{
	struct counter_unit mine = { b->req->id, b->buyer, b->hold.unit,
		b->hold.slot };
	int own = (int)pg_int(rows, 0, 3);

	if (own == mine.unit)
		return;
	if (file_taken(b, rows, 7, e))
		mine.unit = 0;
	if (own != 0) {
		mine.unit = own;
		mine.slot = (int)pg_int(rows, 0, 4);
		(void)!counter_file(b->shop->sale_redis, b->ref, b->hold.epoch,
		    b->req->id, &mine, b->arena, e);
	} else if (mine.unit != 0) {
		(void)!counter_give_back(
		    b->shop->sale_redis, b->ref, &mine, b->arena, e);
	}
}

static enum rc
why_read(struct buy *b, struct pg_rows *rows, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, b->req->id);
	pg_arg_str(&args, b->hash[0] == '\0' ? NULL : b->hash);
	pg_arg_int(&args, b->ref.sale_id);
	pg_arg_int(&args, b->ref.variant_id);
	pg_arg_int(&args, b->hold.unit);
	pg_arg_str(&args, b->buyer);
	pg_arg_int(&args, b->hold.slot);
	return pg_exec_by(b->shop->pg, PG_PRIMARY, &purchase_why, &args,
	    b->req->deadline, b->arena, rows, e);
}

/* The order of decisions is DESIGN 5.1's. RC_OK and *again: try another. */
static enum rc
decide(struct buy *b, bool *again, struct purchase *out, struct err *e)
{
	struct redis *redis = b->shop->sale_redis;
	struct pg_rows rows;
	struct err ignored;
	enum rc rc = why_read(b, &rows, e);

	*again = false;
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_NONE, "sale_not_found", "No such sale");
	int64_t epoch = pg_int(&rows, 0, 6);

	if (pg_cell(&rows, 0, 0).p != NULL) {
		settle(b, &rows, &ignored);
		return answer(
		    b, pg_int(&rows, 0, 1), pg_bool(&rows, 0, 2), out, e);
	}
	if (strcmp(pg_str(&rows, 0, 5), "open") != 0) {
		(void)!counter_close(redis, b->ref, epoch, b->arena, &ignored);
		return err_set(
		    e, RC_REFUSED, "sale_ended", "The sale has ended");
	}
	*again = true;
	if (epoch != b->hold.epoch)
		return counter_disarm(
		    redis, b->ref, b->hold.epoch, b->arena, e);
	(void)file_taken(b, &rows, 7, &ignored);
	(void)file_taken(b, &rows, 11, &ignored);
	return RC_OK;
}

/* ---- buying */

static void
placed(struct buy *b, struct purchase *out)
{
	static const char *const queues[] = { "payment", "email", "analytics" };

	for (int i = 0; i < 3; i++)
		outbox_note(&b->shop->waker, queues[i]);
	if (b->hold.left == 0)
		sold_out_note(b->shop->sold_out, b->ref);
	*out = (struct purchase){ b->req->id, b->hold.stock, false };
}

static enum rc
place(struct buy *b, bool *again, struct purchase *out, struct err *e)
{
	const struct purchase_req *req = b->req;
	const struct sale_order order = {
		.id = req->id,
		.buyer = b->buyer,
		.email = req->email,
		.token = req->token,
		.body_hash = req->body_hash,
		.customer_id = req->customer_id,
		.sale_id = b->ref.sale_id,
		.product_id = req->product_id,
		.variant_id = b->ref.variant_id,
		.epoch = b->hold.epoch,
		.stock = b->hold.stock,
		.unit = b->hold.unit,
		.slot = b->hold.slot,
	};
	bool done;
	enum rc rc = order_insert_sale(
	    b->shop, &order, req->deadline, b->arena, &done, e);

	*again = false;
	if (rc != RC_OK)
		return rc;
	if (!done)
		return decide(b, again, out, e);
	placed(b, out);
	return RC_OK;
}

/* RC_OK: armed, ask again. */
static enum rc
arm(struct buy *b, struct purchase *out, struct err *e)
{
	enum rc rc = sale_arm(b->shop, b->ref, b->arena, e);

	if (rc != RC_REFUSED || strcmp(e->code, "sale_ended") != 0)
		return rc;
	b->hold.known = true; /* the counter that knew is lost */
	return refuse(b, CA_ENDED, out, e);
}

static enum rc
buy(struct buy *b, struct purchase *out, struct err *e)
{
	int tries = 0, arms = 0;
	bool again = true;
	enum rc rc = RC_OK;

	while (rc == RC_OK && again && tries < TRIES) {
		if (deadline_left_ms(b->req->deadline) == 0)
			break;
		rc = counter_hold(b->shop->sale_redis, b->ref, b->req->id,
		    b->buyer, b->arena, &b->hold, e);
		if (rc != RC_OK)
			return rc;
		if (b->hold.answer == CA_UNARMED) {
			if (arms++ == ARMS)
				break;
			out->order_id = NULL;
			rc = arm(b, out, e);
			if (rc == RC_OK && out->order_id != NULL)
				return RC_OK; /* ended, but his order stands */
		} else if (b->hold.answer == CA_HELD) {
			tries++;
			rc = place(b, &again, out, e);
		} else {
			return refuse(b, b->hold.answer, out, e);
		}
	}
	if (rc == RC_OK && again)
		return err_set(e, RC_RETRY, "sale_busy",
		    "no unit could be promised in time");
	return rc;
}

bool
purchase_sold_out(const struct shop *shop, const struct purchase_req *req)
{
	const struct variants *known =
	    variants_known(shop->sold_out, req->sale_id, req->product_id);
	struct buy b = { .req = req };

	return known != NULL && variant_pick(&b, known, NULL) == RC_OK &&
	       sold_out_knows(shop->sold_out, b.ref);
}

enum rc
purchase(struct shop *shop, const struct purchase_req *req, struct arena *arena,
    struct purchase *out, struct err *e)
{
	struct buy b = { .shop = shop, .req = req, .arena = arena };
	struct purchase result = { 0 };
	enum rc rc;

	buyer_name(req->customer_id, b.buyer);
	if (req->body_hash != NULL)
		hash_bytea(req->body_hash, b.hash);
	if ((rc = resolve(&b, e)) != RC_OK)
		return rc;
	/* Not noted again: a crowd would keep it known for ever. */
	if (!req->keyed && sold_out_knows(shop->sold_out, b.ref))
		return sold_out(e);
	if ((rc = buy(&b, &result, e)) == RC_OK)
		*out = result;
	return rc;
}
