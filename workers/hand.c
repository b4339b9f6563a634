#include "workers/hand.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/sig.h"
#include "base/text.h"
#include "shop/shop.h"
#include "store/outbox.h"
#include "store/queue_pause.h"
#include "store/task_slot.h"
#include "workers/heartbeat.h"

enum { PAUSE_LOOK_MS = 1000, COUNTS_MS = 10000, MINUTE_MS = 60000 };

void
hand_init(struct hand *h)
{
	text_random_id(h->holder);
	h->paused_at_ms = INT64_MIN / 2;
}

bool
hand_is_told_to_end(struct hand *h)
{
	int s;

	while ((s = sig_next(h->sig, NULL)) != 0) {
		if (s == SIGHUP || h->draining)
			continue;
		log_info("draining", LOG_I("signal", s));
		h->draining = true;
	}
	return h->draining;
}

/* ---- paused queues */

static unsigned
bit_of(const char *queue)
{
	for (unsigned i = 0; task_queues[i] != NULL; i++) {
		if (strcmp(task_queues[i], queue) == 0)
			return 1U << i;
	}
	return 0;
}

/* What cannot be seen now is as it was. */
static void
pauses_look(struct hand *h)
{
	const char *const *names;
	struct err e;

	h->paused_at_ms = clock_mono_ms();
	if (queue_paused(h->w.shop->pg, h->w.arena, &names, &e) != RC_OK)
		return;
	for (h->paused = 0; *names != NULL; names++)
		h->paused |= bit_of(*names);
}

bool
hand_was_paused(const struct hand *h, const char *queue)
{
	return (h->paused & bit_of(queue)) != 0;
}

bool
hand_is_paused(struct hand *h, const char *queue)
{
	bool before = hand_was_paused(h, queue);

	if (clock_mono_ms() - h->paused_at_ms >= PAUSE_LOOK_MS)
		pauses_look(h);
	if (hand_was_paused(h, queue) != before)
		log_info(before ? "queue_resumed" : "queue_paused",
		    LOG_S("queue", queue));
	return hand_was_paused(h, queue);
}

/* ---- slots */

void
hand_slot_give(struct hand *h)
{
	struct err e;

	if (h->slot[0] == '\0')
		return;
	heartbeat_slot(h->heartbeat, NULL);
	/* Not told: it comes free when its lease ends. */
	(void)!slot_give(h->w.shop->pg, h->holder, h->w.arena, &e);
	h->slot[0] = '\0';
}

enum rc
hand_slot(struct hand *h, const char *type, struct err *e)
{
	int limit = limits_concurrency(&h->limits, type);
	enum rc rc;

	if (limit > 0 && strcmp(h->slot, type) == 0)
		return RC_OK;
	hand_slot_give(h);
	if (limit == 0)
		return RC_OK;
	rc = slot_take(h->w.shop->pg, type, limit, h->holder,
	    conf_int(h->conf, "workers", "visibility"), h->w.arena, e);
	if (rc != RC_OK)
		return RC_NONE;
	(void)snprintf(h->slot, sizeof h->slot, "%s", type);
	heartbeat_slot(h->heartbeat, h->holder);
	return RC_OK;
}

/* ---- counts */

void
hand_tell_counts(struct hand *h, bool now)
{
	struct err e;

	if (h->n_counts == 0 || (!now && clock_mono_ms() < h->counts_due_ms))
		return;
	/* Figures: what cannot be told now is not worth a second try. */
	for (int i = 0; i < h->n_counts; i++)
		(void)!queue_rate_add(
		    h->w.shop->pg, &h->count[i], h->w.arena, &e);
	h->n_counts = 0;
}

static struct queue_count *
count_of(struct hand *h, const char *queue, int64_t wall_ms)
{
	int64_t minute = wall_ms / MINUTE_MS;
	struct queue_count *c;

	for (int i = 0; i < h->n_counts; i++) {
		c = &h->count[i];
		if (c->minute == minute && strcmp(c->queue, queue) == 0)
			return c;
	}
	if (h->n_counts == HAND_COUNTS)
		hand_tell_counts(h, true);
	if (h->n_counts == 0)
		h->counts_due_ms = deadline_in(COUNTS_MS);
	c = &h->count[h->n_counts++];
	*c = (struct queue_count){ .queue = queue, .minute = minute };
	return c;
}

void
hand_count_done(struct hand *h, const char *queue, int64_t created_ms)
{
	int64_t now = clock_wall_coarse_ms();

	count_of(h, queue, now)->done++;
	/* Others' clocks may say anything; long ago is of no interest. */
	if (created_ms <= now && created_ms > now - 60 * MINUTE_MS)
		count_of(h, queue, created_ms)->came++;
}

void
hand_count_failed(struct hand *h, const char *queue)
{
	count_of(h, queue, clock_wall_coarse_ms())->failed++;
}
