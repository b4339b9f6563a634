/*
 * outbox: sends tasks to queues that lie elsewhere. It looks every second, and
 * at once when somebody is told that there is work; each queue has a batch at a
 * time, so that none waits for another's backlog, and one that does not answer
 * is left alone for a while.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/xmalloc.h"
#include "base/arena.h"
#include "shop/queues.h"
#include "shop/shop.h"
#include "store/aws_cred.h"
#include "store/outbox.h"
#include "store/queue.h"
#include "store/ship.h"
#include "workers/worker.h"

enum {
	MAX_QUEUES = 16,
	ROUNDS = 20, /* then signals and clocks are looked at */
	PAUSE_MIN_MS = 500,
	PAUSE_MAX_MS = 30000,
	LEASE_MS = 60000
};

struct lane {
	const char *name;
	struct queue *queue;
	int64_t pause_ms, not_before; /* while it does not answer */
};

struct shipper {
	struct aws_cred *cred;
	int64_t resend_ms;
	struct lane lane[MAX_QUEUES];
	int n;
};

enum rc
outbox_open(struct work *w, struct err *e)
{
	struct shipper *s = w->shipper = xcalloc(1, sizeof *s);
	enum rc rc = RC_OK;

	s->resend_ms = conf_int(w->conf, "workers", "resend");
	s->cred = queues_cred_new(w->conf, 0);
	for (int i = 0; task_queues[i] != NULL && rc == RC_OK; i++) {
		struct queues_opts opts = {
			.conf = w->conf, .pg = w->shop->pg, .cred = s->cred
		};

		if (!queues_is_remote(w->conf, task_queues[i]))
			continue;
		s->lane[s->n].name = task_queues[i];
		rc =
		    queues_open(&opts, task_queues[i], &s->lane[s->n].queue, e);
		s->n += rc == RC_OK;
	}
	return rc;
}

void
outbox_close(struct work *w)
{
	struct shipper *s = w->shipper;

	if (s == NULL)
		return;
	for (int i = 0; i < s->n; i++)
		queue_close(s->lane[i].queue);
	aws_cred_free(s->cred);
	free(s);
}

/* Told when it begins and when it is over, not at every try. */
static void
lane_failed(struct lane *l, enum rc rc, const struct err *e)
{
	if (l->pause_ms == 0)
		log_fields(rc == RC_RETRY ? LL_WARN : LL_ERROR, "queue_away",
		    (const struct log_field[]){ LOG_S("queue", l->name),
			LOG_S("code", e->code), LOG_S("msg", e->msg), { 0 } });
	l->pause_ms = l->pause_ms == 0 ? PAUSE_MIN_MS : l->pause_ms * 2;
	if (l->pause_ms > PAUSE_MAX_MS)
		l->pause_ms = PAUSE_MAX_MS;
	l->not_before = clock_mono_ms() + l->pause_ms;
}

/* A batch. True: there may be more. */
static bool
lane_turn(struct work *w, struct lane *l)
{
	struct err e = ERR_INIT;
	int n = 0, buried = 0;
	enum rc rc;

	if (clock_mono_ms() < l->not_before)
		return false;
	rc = ship_turn(w->shop->pg, l->queue, l->name, LEASE_MS,
	    w->shipper->resend_ms, w->arena, &n, &buried, &e);
	arena_reset(w->arena);
	if (buried > 0)
		log_error("task_dead", LOG_S("queue", l->name),
		    LOG_S("code", e.code), LOG_S("msg", e.msg));
	/* Some went: the queue is there. */
	if (rc != RC_OK && (rc != RC_RETRY || n == 0)) {
		lane_failed(l, rc, &e);
		return false;
	}
	if (n > 0 && l->pause_ms > 0) {
		log_info("queue_back", LOG_S("queue", l->name));
		l->pause_ms = 0;
	}
	return n + buried > 0;
}

static enum rc
ship(struct work *w, struct err *e)
{
	bool more = true;

	(void)e;
	for (int i = 0; i < ROUNDS && more; i++) {
		more = false;
		for (int k = 0; k < w->shipper->n; k++)
			more = lane_turn(w, &w->shipper->lane[k]) || more;
	}
	w->again = more;
	return RC_OK;
}

const struct clock_row outbox_clocks[] = {
	{ "ship", 1000, ship, false },
	{ 0 },
};
