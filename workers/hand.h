/*
 * hand - what the queues that one process serves share: it works on one task,
 * or one batch, at a time; is told to end; knows which queues are paused; and
 * holds a slot (task_slot.h) where a type has a limit.
 */
#ifndef WORKERS_HAND_H
#define WORKERS_HAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/queue_rate.h"
#include "workers/limits.h"
#include "workers/worker.h"

struct aws_cred;
struct heartbeat;

enum { HAND_COUNTS = 32 };

struct hand {
	struct conf *conf;
	struct work w;
	struct limits limits;
	struct heartbeat *heartbeat; /* NULL: by the clock alone */
	struct aws_cred *cred;
	int sig;         /* signals are read from it */
	bool draining;   /* was told to end */
	int64_t n_tasks; /* run so far */
	/* ---- of hand.c */
	unsigned paused; /* a bit for each of task_queues */
	int64_t paused_at_ms;
	char holder[33], slot[LIMIT_TYPE]; /* of that type; "" none */
	struct queue_count count[HAND_COUNTS];
	int n_counts;
	int64_t counts_due_ms; /* mono */
};

/* conf, w, limits and sig are there. */
void hand_init(struct hand *h);

bool hand_is_told_to_end(struct hand *h);

/* As it was when last looked at, and as it is, by a second at most. */
bool hand_was_paused(const struct hand *h, const char *queue);
bool hand_is_paused(struct hand *h, const char *queue);

/* May a task of that type be begun? Takes the slot that it needs, in place of
 * the one it has, unless that is of the same type. RC_NONE: not now. */
enum rc hand_slot(struct hand *h, const char *type, struct err *e);
void hand_slot_give(struct hand *h); /* where it has one */

/* For queue_rate.h: a task of that queue, written at created_ms, is done; or
 * one try has failed. What was counted is told every ten seconds, or now. */
void hand_count_done(struct hand *h, const char *queue, int64_t created_ms);
void hand_count_failed(struct hand *h, const char *queue);
void hand_tell_counts(struct hand *h, bool now);

#endif
