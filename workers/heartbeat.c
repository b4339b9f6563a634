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

struct beat {
	struct task task; /* its own lease_until_ms */
	int64_t received_ms;
	bool held, lost, running;
};

struct heartbeat {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool end;
	struct beat beat[QUEUE_BATCH];
	int64_t visibility_ms, max_lease_ms;
	struct pg *pg;
	struct aws_cred *cred; /* credentials are not shared with the worker */
	struct queue *queue;
	struct arena *arena;
};

static int64_t
extend_at(const struct heartbeat *hb, const struct beat *b)
{
	return b->task.lease_until_ms - hb->visibility_ms / 3;
}

/* Is any in need? Then all that may be are extended, in one statement. */
static void
extend_all(struct heartbeat *hb, int64_t now)
{
	struct beat *which[QUEUE_BATCH];
	struct task *tasks[QUEUE_BATCH];
	bool lost[QUEUE_BATCH] = { false };
	struct err e = ERR_INIT;
	bool due = false;
	int n = 0;
	enum rc rc;

	for (int i = 0; i < QUEUE_BATCH; i++) {
		struct beat *b = &hb->beat[i];

		if (!b->held || b->lost ||
		    now - b->received_ms >= hb->max_lease_ms)
			continue;
		due = due || now >= extend_at(hb, b);
		which[n] = b;
		tasks[n++] = &b->task;
	}
	if (!due)
		return;
	rc = queue_extend(hb->queue, n, tasks, lost, hb->arena, &e);
	for (int i = 0; i < n && rc == RC_NONE; i++)
		which[i]->lost = lost[i];
	arena_reset(hb->arena);
	/* Anything else: tried again until the leases have run out. */
}

static void
look_at_clock(struct heartbeat *hb, int64_t now)
{
	for (int i = 0; i < QUEUE_BATCH; i++) {
		struct beat *b = &hb->beat[i];

		if (!b->held)
			continue;
		if (now >= b->task.lease_until_ms)
			b->lost = true;
		if (b->lost && b->running &&
		    now - b->received_ms >= hb->max_lease_ms) {
			log_error("task_hangs", LOG_S("task", b->task.id),
			    LOG_S("type", b->task.type),
			    LOG_I("ms", now - b->received_ms));
			_exit(EXIT_AGAIN);
		}
	}
}

static void *
beat_thread(void *arg)
{
	struct heartbeat *hb = arg;
	struct timespec until;

	pthread_mutex_lock(&hb->lock);
	while (!hb->end) {
		extend_all(hb, clock_mono_ms());
		look_at_clock(hb, clock_mono_ms());
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += hb->visibility_ms / 12 % 1000 * 1000000;
		until.tv_sec +=
		    hb->visibility_ms / 12 / 1000 + until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&hb->ended, &hb->lock, &until);
	}
	pthread_mutex_unlock(&hb->lock);
	return NULL;
}

static int
smaller(int64_t a, int64_t b)
{
	return (int)(a < b ? a : b);
}

enum rc
heartbeat_new(const struct conf *conf, const char *name, struct heartbeat **out,
    struct err *e)
{
	struct heartbeat *hb = xcalloc(1, sizeof *hb);
	pthread_condattr_t attr;
	int64_t deadline;
	enum rc rc;

	hb->visibility_ms = conf_int(conf, "workers", "visibility");
	hb->max_lease_ms = conf_int(conf, "workers", "max_lease");
	hb->arena = arena_new();
	deadline = hb->visibility_ms / 6;
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
	rc = queues_open(&(struct queues_opts){ .conf = conf,
			     .pg = hb->pg,
			     .cred = hb->cred,
			     .most_ms = (int)deadline },
	    name, &hb->queue, e);
	pthread_mutex_init(&hb->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&hb->ended, &attr);
	pthread_condattr_destroy(&attr);
	if (rc == RC_OK &&
	    pthread_create(&hb->thread, NULL, beat_thread, hb) != 0)
		rc = err_set(e, RC_RETRY, "no_thread", "cannot make a thread");
	if (rc == RC_OK) {
		*out = hb;
		return RC_OK;
	}
	hb->end = true; /* there is no thread */
	queue_close(hb->queue);
	aws_cred_free(hb->cred);
	pg_free(hb->pg);
	arena_free(hb->arena);
	free(hb);
	return rc;
}

void
heartbeat_free(struct heartbeat *hb)
{
	if (hb == NULL)
		return;
	pthread_mutex_lock(&hb->lock);
	hb->end = true;
	pthread_cond_signal(&hb->ended);
	pthread_mutex_unlock(&hb->lock);
	pthread_join(hb->thread, NULL);
	pthread_cond_destroy(&hb->ended);
	pthread_mutex_destroy(&hb->lock);
	queue_close(hb->queue);
	aws_cred_free(hb->cred);
	pg_free(hb->pg);
	arena_free(hb->arena);
	free(hb);
}

void
heartbeat_hold(struct heartbeat *hb, int n, const struct task tasks[])
{
	int64_t now = clock_mono_ms();
	int used = 0;

	pthread_mutex_lock(&hb->lock);
	for (int i = 0; i < QUEUE_BATCH && used < n; i++) {
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
	for (int i = 0; i < QUEUE_BATCH; i++) {
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
	b->running = !lost;
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
