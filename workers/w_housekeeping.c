/*
 * housekeeping: what runs by the clock, and purges of the cache.
 *
 * What people wait for (orders that expire, payments of unknown outcome) every
 * host looks at: where there is nothing to do that is one look into an index,
 * and what is done is decided under the order's row lock. What only saves room
 * one host does at a time; deleting an old row twice is nothing.
 *
 * Not here: rows of the invalidation log go by store/invalidation_log.c, and a
 * lease that ran out needs nobody (store/queue_pg.c).
 */
#include <jansson.h>

#include "base/arena.h"
#include "shop/cart.h"
#include "shop/image.h"
#include "shop/order.h"
#include "shop/payment.h"
#include "shop/purge.h"
#include "shop/session.h"
#include "shop/shop.h"
#include "shop/upload.h"
#include "store/outbox.h"
#include "store/queue_rate.h"
#include "workers/worker.h"

enum {
	AT_A_TIME = 100,
	ROWS = 1000,
	ROUNDS = 20,
	MINUTE_MS = 60000,
	OBJECTS = 50,
	DAY_S = 86400
};

static enum rc
expire_orders(struct work *w, struct err *e)
{
	enum rc rc = RC_OK;
	int n = AT_A_TIME;

	for (int i = 0; i < ROUNDS && n == AT_A_TIME && rc == RC_OK; i++)
		rc = order_expire(w->shop, AT_A_TIME, w->arena, &n, e);
	return rc;
}

static enum rc
resolve_payments(struct work *w, struct err *e)
{
	return payment_resolve(w->shop, AT_A_TIME, w->arena, e);
}

static enum rc
purge_sessions(struct work *w, struct err *e)
{
	return session_purge(w->shop, ROWS, w->arena, e);
}

/* Rounds of so many rows each: no statement runs for long. */
static enum rc
purge_finished(struct work *w, struct err *e)
{
	enum rc rc = RC_OK;
	int64_t n = ROWS;

	for (int i = 0; i < ROUNDS && n == ROWS && rc == RC_OK; i++)
		rc = finished_task_purge(w->shop->pg, ROWS, w->arena, &n, e);
	return rc;
}

static enum rc
forget_payments(struct work *w, struct err *e)
{
	return payment_forget(w->shop, w->arena, e);
}

static enum rc
purge_rates(struct work *w, struct err *e)
{
	return queue_rate_purge(w->shop->pg, w->arena, e);
}

static enum rc
purge_carts(struct work *w, struct err *e)
{
	return cart_purge(w->shop, ROWS, w->arena, e);
}

static enum rc
purge_uploads(struct work *w, struct err *e)
{
	return upload_purge(w->shop, ROWS, w->arena, e);
}

/* What a crash or a deleted picture has left. A day, so that nobody who has it
 * on a page in front of him misses it. */
static enum rc
collect_images(struct work *w, struct err *e)
{
	int n;

	return image_collect(w->shop, DAY_S, OBJECTS, w->arena, &n, e);
}

static enum rc
give_up_images(struct work *w, struct err *e)
{
	return image_give_up_dead(w->shop, ROWS, w->arena, e);
}

/* Task purge {"keys":["product:42","/products",...]}: forgetting is safe to be
 * done twice, so that nothing is recorded. */
static enum rc
purge_cache(struct work *w, const struct task *task, struct err *e)
{
	struct purge *purge = arena_calloc(w->arena, 1, sizeof *purge);
	json_t *data = json_loadb(task->data.p, task->data.n, 0, NULL);
	const json_t *keys = json_object_get(data, "keys"), *key;
	enum rc rc = RC_OK;
	size_t i;

	if (json_array_size(keys) == 0)
		rc = err_set(e, RC_INVALID, "bad_task_data", "purge: no keys");
	json_array_foreach(keys, i, key)
	{
		if (rc == RC_OK && !json_is_string(key))
			rc = err_set(e, RC_INVALID, "bad_task_data",
			    "purge: a key is no string");
		if (rc == RC_OK && !purge_has_room(purge))
			rc = purge_run(w->shop, purge, w->arena, e);
		if (rc == RC_OK)
			rc = purge_add(purge,
			    arena_strdup(w->arena, json_string_value(key)),
			    w->arena, e);
	}
	json_decref(data);
	return rc == RC_OK ? purge_run(w->shop, purge, w->arena, e) : rc;
}

const struct task_row housekeeping_tasks[] = {
	{ "purge", purge_cache },
	{ 0 },
};

const struct clock_row housekeeping_clocks[] = {
	{ "expire_orders", 1000, expire_orders, false },
	{ "resolve_payments", 5000, resolve_payments, false },
	{ "purge_sessions", MINUTE_MS, purge_sessions, true },
	{ "purge_finished_tasks", MINUTE_MS, purge_finished, true },
	{ "forget_payments", 10 * MINUTE_MS, forget_payments, true },
	{ "purge_carts", MINUTE_MS, purge_carts, true },
	{ "purge_uploads", 10 * MINUTE_MS, purge_uploads, true },
	{ "purge_rates", 60 * MINUTE_MS, purge_rates, true },
	{ "give_up_images", MINUTE_MS, give_up_images, true },
	{ "collect_images", MINUTE_MS / 6, collect_images, true },
	{ 0 },
};
