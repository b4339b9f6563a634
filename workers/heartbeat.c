/*
 * The lock is held while an extension is sent: who lets a task go then knows
 * that no extension of it is under way, which would undo its back-off. The
 * connection's deadlines are a part of the visibility, so that one slow answer
 * loses no lease and holds up the worker for no longer than that.
 *
 * The thread is not told of a new batch. It looks at least four times in a
 * visibility, which is in time for whatever came since.
 */
#include "workers/heartbeat.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/xmalloc.h"
#include "shop/queues.h"
#include "store/aws_cred.h"
#include "store/pg.h"
#include "store/task_slot.h"
#include "workers/limits.h"

enum { BATCHES = 2 }; /* of a queue */

struct beat {
	struct task task; /* its own lease_until_ms */
	int64_t received_ms, started_ms;
	bool held, lost;
	enum { WAITS, RUNS, IS_DONE } state;
};

struct heartbeat {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool end;
	const struct limits *limits;
	int n, n_beats;
	struct beat beat[HEARTBEAT_QUEUES * BATCHES * QUEUE_BATCH];
	int64_t visibility_ms, max_lease_ms;
	struct pg *pg;
	struct aws_cred *cred; /* credentials are not shared with the worker */
	const char *name[HEARTBEAT_QUEUES];
	struct queue *queue[HEARTBEAT_QUEUES];
	struct arena *arena;
	const char *slot; /* its holder; NULL: none */
	int64_t slot_until_ms;
};

static struct queue *
queue_of(const struct heartbeat *hb, const struct task *task)
{
	for (int i = 0; i < hb->n; i++) {
		if (strcmp(hb->name[i], task->queue) == 0)
			return hb->queue[i];
	}
	assert(false && "a task of a queue that is not ours");
	return NULL;
}

static int64_t
extend_at(const struct heartbeat *hb, const struct beat *b)
{
	return b->task.lease_until_ms - hb->visibility_ms / 3;
}

/* A batch of one queue's, in one statement. */
static void
extend_some(struct heartbeat *hb, int n, struct beat *const which[])
{
	struct task *tasks[QUEUE_BATCH];
	bool lost[QUEUE_BATCH] = { false };
	struct err e = ERR_INIT;
	enum rc rc;

	for (int i = 0; i < n; i++)
		tasks[i] = &which[i]->task;
	rc =
	    queue_extend(queue_of(hb, tasks[0]), n, tasks, lost, hb->arena, &e);
	for (int i = 0; i < n && rc == RC_NONE; i++)
		which[i]->lost = lost[i];
	arena_reset(hb->arena);
	/* Anything else: tried again until the leases have run out. */
}

/* Is any of that queue's in need? Then all of them that may be are extended. */
static void
extend_queue(struct heartbeat *hb, const struct queue *queue, int64_t now)
{
	struct beat *which[BATCHES * QUEUE_BATCH];
	bool due = false;
	int n = 0;

	for (int i = 0; i < hb->n_beats; i++) {
		struct beat *b = &hb->beat[i];

		if (!b->held || b->lost ||
		    now - b->received_ms >= hb->max_lease_ms ||
		    queue_of(hb, &b->task) != queue)
			continue;
		due = due || now >= extend_at(hb, b);
		assert(n < BATCHES * QUEUE_BATCH);
		which[n++] = b;
	}
	for (int i = 0; due && i < n; i += QUEUE_BATCH)
		extend_some(
		    hb, n - i < QUEUE_BATCH ? n - i : QUEUE_BATCH, which + i);
}

static void
extend_slot(struct heartbeat *hb, int64_t now)
{
	struct err e = ERR_INIT;

	if (hb->slot == NULL || now < hb->slot_until_ms - hb->visibility_ms / 3)
		return;
	/* Lost or not told: the task in hand is finished all the same. */
	if (slot_extend(hb->pg, hb->slot, hb->visibility_ms, hb->arena, &e) ==
	    RC_OK)
		hb->slot_until_ms = now + hb->visibility_ms;
	arena_reset(hb->arena);
}

/* ---- what takes too long */

static bool
is_over_time(const struct heartbeat *hb, const struct beat *b, int64_t now)
{
	int64_t most;

	if (!b->held || b->state != RUNS)
		return false;
	most = limits_timeout_ms(hb->limits, b->task.type);
	return most > 0 && now - b->started_ms >= most;
}

/* As the worker would settle it, had its function come back with an error. */
static enum rc
settle_over_time(struct heartbeat *hb, const struct task *task, struct err *e)
{
	struct queue *queue = queue_of(hb, task);
	const char *why = arena_printf(hb->arena,
	    "task_timeout: it was worked on for more than %lld ms",
	    (long long)limits_timeout_ms(hb->limits, task->type));

	if (task->receives >= limits_receives(hb->limits, task->type))
		return queue_bury(queue, task, why, hb->arena, e);
	return queue_return(queue, task,
	    limits_backoff_ms(hb->limits, task->receives), why, hb->arena, e);
}

/* Nobody can stop what it does, but by ending the process; which may have the
 * effect on its way: it is fenced. */
static _Noreturn void
end_over_time(struct heartbeat *hb)
{
	for (int i = 0; i < hb->n_beats; i++) {
		const struct task *task = &hb->beat[i].task;
		struct err e = ERR_INIT;
		enum rc rc = RC_OK;

		if (!hb->beat[i].held)
			continue;
		if (hb->beat[i].state == RUNS)
			rc = settle_over_time(hb, task, &e);
		else if (hb->beat[i].state == IS_DONE)
			rc = queue_done(
			    queue_of(hb, task), 1, &task, NULL, hb->arena, &e);
		else
			rc = queue_return(
			    queue_of(hb, task), task, 0, NULL, hb->arena, &e);
		if (rc != RC_OK)
			log_warn("task_not_settled", LOG_S("task", task->id),
			    LOG_S("code", e.code), LOG_S("msg", e.msg));
	}
	_exit(EXIT_AGAIN);
}

static void
look_at_clock(struct heartbeat *hb, int64_t now)
{
	for (int i = 0; i < hb->n_beats; i++) {
		struct beat *b = &hb->beat[i];

		if (!b->held)
			continue;
		if (now >= b->task.lease_until_ms)
			b->lost = true;
		if (is_over_time(hb, b, now)) {
			log_error("task_timeout", LOG_S("task", b->task.id),
			    LOG_S("type", b->task.type),
			    LOG_I("ms", now - b->started_ms));
			end_over_time(hb);
		}
		if (b->lost && b->state == RUNS &&
		    now - b->received_ms >= hb->max_lease_ms) {
			log_error("task_hangs", LOG_S("task", b->task.id),
			    LOG_S("type", b->task.type),
			    LOG_I("ms", now - b->received_ms));
			_exit(EXIT_AGAIN);
		}
	}
}

/* When to look again: a task may be over its time before. */
static int64_t
next_look(const struct heartbeat *hb, int64_t now)
{
	int64_t next = now + hb->visibility_ms / 12;

	for (int i = 0; i < hb->n_beats; i++) {
		const struct beat *b = &hb->beat[i];
		int64_t most;

		if (!b->held || b->state != RUNS)
			continue;
		most = limits_timeout_ms(hb->limits, b->task.type);
		if (most > 0 && b->started_ms + most < next)
			next = b->started_ms + most;
	}
	return next;
}

static void *
beat_thread(void *arg)
{
	struct heartbeat *hb = arg;
	struct timespec until;

	pthread_mutex_lock(&hb->lock);
	while (!hb->end) {
		int64_t next;

		for (int i = 0; i < hb->n; i++)
			extend_queue(hb, hb->queue[i], clock_mono_ms());
		extend_slot(hb, clock_mono_ms());
		look_at_clock(hb, clock_mono_ms());
		next = next_look(hb, clock_mono_ms());
		until = (struct timespec){ .tv_sec = next / 1000,
			.tv_nsec = next % 1000 * 1000000 };
		pthread_cond_timedwait(&hb->changed, &hb->lock, &until);
	}
	pthread_mutex_unlock(&hb->lock);
	return NULL;
}

static int
smaller(int64_t a, int64_t b)
{
	return (int)(a < b ? a : b);
}

static void
hb_release(struct heartbeat *hb)
{
	for (int i = 0; i < hb->n; i++)
		queue_close(hb->queue[i]);
	aws_cred_free(hb->cred);
	pg_free(hb->pg);
	arena_free(hb->arena);
	free(hb);
}

static enum rc
hb_open(struct heartbeat *hb, const struct heartbeat_opts *opts, struct err *e)
{
	const struct conf *conf = opts->conf;
	int64_t deadline = hb->visibility_ms / 6;
	enum rc rc = RC_OK;

	hb->pg = pg_new(&(struct pg_opts){
	    .url = conf_str(conf, "postgres", "url"),
	    .connect_ms =
		smaller(conf_int(conf, "postgres", "connect"), deadline),
	    .query_ms = smaller(conf_int(conf, "postgres", "query"), deadline),
	    .pooler = strcmp(conf_str(conf, "postgres", "pooler"),
			  "transaction") == 0,
	    .app_name = "souk-worker heartbeat",
	});
	hb->cred = queues_cred_new(conf, (int)deadline);
	for (int i = 0; i < opts->n && rc == RC_OK; i++) {
		hb->name[i] = opts->name[i];
		rc = queues_open(&(struct queues_opts){ .conf = conf,
				     .pg = hb->pg,
				     .cred = hb->cred,
				     .most_ms = (int)deadline },
		    hb->name[i], &hb->queue[i], e);
		hb->n += rc == RC_OK;
	}
	hb->n_beats = hb->n * BATCHES * QUEUE_BATCH;
	return rc;
}

enum rc
heartbeat_new(
    const struct heartbeat_opts *opts, struct heartbeat **out, struct err *e)
{
	struct heartbeat *hb = xcalloc(1, sizeof *hb);
	pthread_condattr_t attr;
	enum rc rc;

	assert(opts->n > 0 && opts->n <= HEARTBEAT_QUEUES);
	hb->limits = opts->limits;
	hb->visibility_ms = conf_int(opts->conf, "workers", "visibility");
	hb->max_lease_ms = conf_int(opts->conf, "workers", "max_lease");
	hb->arena = arena_new();
	rc = hb_open(hb, opts, e);
	pthread_mutex_init(&hb->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&hb->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (rc == RC_OK &&
	    pthread_create(&hb->thread, NULL, beat_thread, hb) != 0)
		rc = err_set(e, RC_RETRY, "no_thread", "cannot make a thread");
	if (rc == RC_OK)
		*out = hb;
	else
		hb_release(hb); /* there is no thread */
	return rc;
}

void
heartbeat_free(struct heartbeat *hb)
{
	if (hb == NULL)
		return;
	pthread_mutex_lock(&hb->lock);
	hb->end = true;
	pthread_cond_signal(&hb->changed);
	pthread_mutex_unlock(&hb->lock);
	pthread_join(hb->thread, NULL);
	pthread_cond_destroy(&hb->changed);
	pthread_mutex_destroy(&hb->lock);
	hb_release(hb);
}

void
heartbeat_hold(struct heartbeat *hb, int n, const struct task tasks[])
{
	int64_t now = clock_mono_ms();
	int used = 0;

	pthread_mutex_lock(&hb->lock);
	for (int i = 0; i < hb->n_beats && used < n; i++) {
		if (!hb->beat[i].held)
			hb->beat[i] = (struct beat){ .task = tasks[used++],
				.received_ms = now,
				.held = true };
	}
	pthread_mutex_unlock(&hb->lock);
	assert(used == n);
}

static struct beat *
beat_find(struct heartbeat *hb, const struct task *task)
{
	for (int i = 0; i < hb->n_beats; i++) {
		/* By the lease too: a queue may bring one task twice. */
		if (hb->beat[i].held &&
		    strcmp(hb->beat[i].task.id, task->id) == 0 &&
		    strcmp(hb->beat[i].task.receipt, task->receipt) == 0)
			return &hb->beat[i];
	}
	return NULL;
}

enum rc
heartbeat_start(struct heartbeat *hb, const struct task *task, struct err *e)
{
	struct beat *b;
	bool lost;

	pthread_mutex_lock(&hb->lock);
	b = beat_find(hb, task);
	assert(b != NULL);
	lost = b->lost || clock_mono_ms() >= b->task.lease_until_ms;
	if (!lost) {
		b->state = RUNS;
		b->started_ms = clock_mono_ms();
		if (limits_timeout_ms(hb->limits, task->type) > 0)
			pthread_cond_signal(&hb->changed);
	}
	pthread_mutex_unlock(&hb->lock);
	return lost ? err_set(e, RC_NONE, "lease_lost",
			  "the lease was lost before the task's turn")
		    : RC_OK;
}

void
heartbeat_let_go(struct heartbeat *hb, const struct task *task)
{
	struct beat *b;

	pthread_mutex_lock(&hb->lock);
	b = beat_find(hb, task);
	if (b != NULL)
		b->held = false;
	pthread_mutex_unlock(&hb->lock);
}

void
heartbeat_done(struct heartbeat *hb, const struct task *task)
{
	struct beat *b;

	pthread_mutex_lock(&hb->lock);
	b = beat_find(hb, task);
	if (b != NULL)
		b->state = IS_DONE;
	pthread_mutex_unlock(&hb->lock);
}

void
heartbeat_slot(struct heartbeat *hb, const char *holder)
{
	pthread_mutex_lock(&hb->lock);
	hb->slot = holder;
	hb->slot_until_ms = clock_mono_ms() + hb->visibility_ms;
	pthread_mutex_unlock(&hb->lock);
}
