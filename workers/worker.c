/*
 * A turn: what is due by the clock, then a batch of tasks: receive, run,
 * settle. Where nothing came it waits, at most a second, for a word on Redis's
 * channel queue:wake; while tasks come it does not wait. Without Redis it
 * polls.
 *
 * How much of a batch is asked for follows how long a task takes (a worker that
 * talks to a slow provider must not sit on ten tasks that others could do).
 *
 * A task that kills its process is counted by its receives, and so are those of
 * its batch that waited behind it. So one that comes for the third time is run
 * alone: the others are given back first, uncounted.
 *
 * Nothing is settled by a signal: TERM is read from a descriptor between tasks,
 * so that it interrupts no wait for a store.
 */
#include "workers/worker.h"

#include <assert.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/sig.h"
#include "base/xmalloc.h"
#include "shop/queues.h"
#include "shop/settings.h"
#include "shop/shop.h"
#include "store/aws_cred.h"
#include "store/outbox.h"
#include "store/pg.h"
#include "store/redis.h"
#include "store/turn.h"
#include "workers/crew.h"
#include "workers/heartbeat.h"
#include "workers/memory.h"

enum {
	POLL_MS = 1000,
	SUB_TURN_MS = 200, /* redis_sub wants its turn every 250 ms */
	WAKE_TURN_MS = 50, /* while there is somebody to wake */
	BATCH_MS = 500,    /* no more than this is taken at a time */
	SUSPECT = 3,       /* receives */
	MAX_CLOCKS = 16,
	YOUNG_MS = 60000
};

enum action { DONE, BURY, AGAIN };

/* What becomes of a task. */
static const enum action action_of[] = {
	[RC_OK] = DONE,
	[RC_NONE] = DONE,
	[RC_REFUSED] = DONE,
	[RC_INVALID] = BURY,
	[RC_RETRY] = AGAIN,
	[RC_FAIL] = AGAIN,
};

struct clock_state {
	int64_t due_ms;
	bool failing;
};

struct worker {
	const struct worker_def *def;
	struct work w;
	struct conf *conf;
	struct queue *queue; /* NULL: works by the clock alone */
	struct heartbeat *heartbeat;
	struct redis_sub *sub;
	struct arena *batch; /* the tasks of a receive */
	struct clock_state clocks[MAX_CLOCKS];
	int sig;
	bool draining, woken, failing;
	int64_t n_tasks, max_tasks, max_memory;
	int64_t grown_up_ms; /* mono */
	int64_t backoff_ms, max_backoff_ms;
	int max_receives;
	int64_t task_us;      /* what one takes, smoothed */
	int waited_ms;        /* at the queue, at the last receive */
	bool suspects;        /* the last batch had one */
	int64_t long_poll_ms; /* 0: its queue is pg: */
	struct aws_cred *cred;
	const struct task *done[QUEUE_BATCH]; /* of this batch */
	int n_done;
};

const struct worker_def *
worker_def(const char *name)
{
	for (const struct worker_def *d = worker_defs; d->name != NULL; d++) {
		if (strcmp(d->name, name) == 0)
			return d;
	}
	return NULL;
}

bool
worker_has_tasks(const struct worker_def *def)
{
	return def->tasks != NULL || def->batch != NULL;
}

/* ---- signals and waiting */

static bool
is_told_to_end(struct worker *k)
{
	int s;

	while ((s = sig_next(k->sig, NULL)) != 0) {
		if (s == SIGHUP || k->draining)
			continue;
		log_info("draining", LOG_I("signal", s));
		k->draining = true;
	}
	return k->draining;
}

static void
on_message(void *arg, struct span channel, struct span payload)
{
	struct worker *k = arg;
	size_t len = strlen(k->def->name);

	(void)channel;
	k->woken = k->woken || k->def->woken;
	/* Our name among the words. */
	for (const char *p = payload.p, *end = p + payload.n; p < end;) {
		const char *stop = memchr(p, ' ', (size_t)(end - p));
		size_t n = (size_t)((stop == NULL ? end : stop) - p);

		k->woken =
		    k->woken || (n == len && memcmp(p, k->def->name, n) == 0);
		p += n + 1;
	}
}

/* What was said meanwhile was not heard. */
static void
on_restarted(void *arg)
{
	struct worker *k = arg;

	k->woken = true;
}

static void
on_lost(void *arg)
{
	(void)arg; /* it polls */
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Until then, or a word for us (where that counts), or a signal. */
static void
worker_wait(struct worker *k, int64_t until, bool wakeable)
{
	while (!is_told_to_end(k)) {
		struct pollfd p[2] = { { .fd = k->sig, .events = POLLIN } };
		int64_t now = clock_mono_ms(), left = until - now;

		if (k->sub != NULL) {
			redis_sub_turn(k->sub);
			p[1].fd = redis_sub_fd(k->sub); /* -1: left out */
			p[1].events = POLLIN;
			if (redis_sub_wants_write(k->sub))
				p[1].events |= POLLOUT;
			left = earlier(left, SUB_TURN_MS);
		}
		outbox_wake(&k->w.shop->waker, k->w.shop->redis, k->w.arena);
		arena_reset(k->w.arena);
		if (k->w.shop->waker.noted != 0)
			left = earlier(left, WAKE_TURN_MS);
		if (now >= until || (wakeable && k->woken))
			return;
		(void)poll(p, k->sub == NULL ? 1 : 2, (int)left);
	}
}

/* ---- the clock */

static enum rc
clock_tick(struct worker *k, const struct clock_row *row, struct err *e)
{
	enum rc rc = RC_OK;

	if (row->leader)
		rc = turn_take(
		    k->w.shop->pg, row->name, row->every_ms, k->w.arena, e);
	if (rc == RC_OK)
		rc = row->run(&k->w, e);
	return rc == RC_NONE || rc == RC_REFUSED ? RC_OK : rc;
}

/* A fault is told when it begins and when it is over, not every second. */
static void
clock_judge(struct clock_state *c, const struct clock_row *row, enum rc rc,
    const struct err *e)
{
	if (rc == RC_OK && c->failing)
		log_info("clock_recovered", LOG_S("clock", row->name));
	if (rc != RC_OK && !c->failing)
		log_fields(rc == RC_RETRY ? LL_WARN : LL_ERROR, "clock_failed",
		    (const struct log_field[]){ LOG_S("clock", row->name),
			LOG_S("rc", rc_name(rc)), LOG_S("code", e->code),
			LOG_S("msg", e->msg), { 0 } });
	c->failing = rc != RC_OK;
}

/* What is due; returns when the next one is. */
static int64_t
clocks_turn(struct worker *k)
{
	int64_t next = INT64_MAX;
	const struct clock_row *row = k->def->clocks;

	for (int i = 0; row != NULL && row[i].name != NULL; i++) {
		struct clock_state *c = &k->clocks[i];
		struct err e = ERR_INIT;
		int64_t now = clock_mono_ms();

		assert(i < MAX_CLOCKS);
		if (k->def->woken && k->woken)
			c->due_ms = now;
		if (now >= c->due_ms && !is_told_to_end(k)) {
			c->due_ms = now + row[i].every_ms;
			k->woken = k->woken && !k->def->woken;
			k->w.again = false;
			log_set_request(row[i].name);
			clock_judge(c, &row[i], clock_tick(k, &row[i], &e), &e);
			log_set_request(NULL);
			arena_reset(k->w.arena);
			if (k->w.again)
				c->due_ms = now;
		}
		next = earlier(next, c->due_ms);
	}
	return next;
}

/* ---- settling */

/* Full jitter: anything up to backoff * 2^(receives - 1). */
static int64_t
backoff_ms(const struct worker *k, int receives)
{
	int64_t most = k->backoff_ms;
	uint32_t r = 0;

	for (int i = 1; i < receives && most < k->max_backoff_ms; i++)
		most *= 2;
	most = earlier(most, k->max_backoff_ms);
	(void)!getrandom(&r, sizeof r, GRND_NONBLOCK);
	return (int64_t)r % (most + 1);
}

static void
settle_log(const struct task *task, enum action action, enum rc rc,
    int64_t delay_ms, const struct err *e)
{
	enum log_level level = rc == RC_RETRY ? LL_WARN : LL_ERROR;

	if (action == DONE) {
		log_debug("task_done", LOG_S("type", task->type),
		    LOG_S("rc", rc_name(rc)),
		    LOG_I("receives", task->receives));
		return;
	}
	if (action == BURY)
		level = LL_ERROR;
	log_fields(level, action == BURY ? "task_dead" : "task_again",
	    (const struct log_field[]){ LOG_S("type", task->type),
		LOG_S("rc", rc_name(rc)), LOG_S("code", e->code),
		LOG_S("msg", e->msg), LOG_I("receives", task->receives),
		LOG_I("delay_ms", delay_ms), { 0 } });
}

static void
not_settled(const struct task *task, const struct err *e)
{
	/* Lost or not told: it comes again, and finds its effect done. */
	log_warn("task_not_settled", LOG_S("type", task->type),
	    LOG_S("code", e->code), LOG_S("msg", e->msg));
}

/* Those that are done are deleted together, when the batch has been run; till
 * then their leases are kept. */
static void
done_add(struct worker *k, const struct task *task)
{
	assert(k->n_done < QUEUE_BATCH);
	k->done[k->n_done++] = task;
}

static void
done_flush(struct worker *k)
{
	bool lost[QUEUE_BATCH] = { false };
	struct err e = ERR_INIT;
	enum rc rc;

	if (k->n_done == 0)
		return;
	for (int i = 0; i < k->n_done; i++)
		heartbeat_let_go(k->heartbeat, k->done[i]);
	rc = queue_done(k->queue, k->n_done, k->done, lost, k->w.arena, &e);
	for (int i = 0; i < k->n_done && rc != RC_OK; i++) {
		if (rc != RC_NONE || lost[i])
			not_settled(k->done[i], &e);
	}
	k->n_done = 0;
	arena_reset(k->w.arena);
}

/* rc and e: what the task's function said. */
static void
settle(struct worker *k, const struct task *task, enum rc rc,
    const struct err *told)
{
	enum action action = action_of[rc];
	int64_t delay = 0;
	struct err e = ERR_INIT;
	const char *why =
	    arena_concat(k->w.arena, told->code, ": ", told->msg, NULL);
	enum rc settled;

	if (action == AGAIN && task->receives >= k->max_receives)
		action = BURY;
	if (action != DONE)
		heartbeat_let_go(k->heartbeat, task);
	switch (action) {
	case DONE:
		settle_log(task, action, rc, delay, told);
		done_add(k, task);
		return;
	case BURY:
		settled = queue_bury(k->queue, task, why, k->w.arena, &e);
		break;
	case AGAIN:
	default:
		delay = backoff_ms(k, task->receives);
		settled =
		    queue_return(k->queue, task, delay, why, k->w.arena, &e);
	}
	settle_log(task, action, rc, delay, told);
	if (settled != RC_OK)
		not_settled(task, &e);
}

/* Not started: not counted, at once somebody else's. */
static void
give_back(struct worker *k, const struct task *task)
{
	struct err e = ERR_INIT;

	heartbeat_let_go(k->heartbeat, task);
	if (queue_return(k->queue, task, 0, NULL, k->w.arena, &e) != RC_OK)
		log_warn("task_not_returned", LOG_S("task", task->id),
		    LOG_S("code", e.code), LOG_S("msg", e.msg));
}

/* ---- running */

static const struct task_row *
row_of(const struct worker *k, const char *type)
{
	for (const struct task_row *row = k->def->tasks;
	     row != NULL && row->type != NULL; row++) {
		if (strcmp(row->type, type) == 0)
			return row;
	}
	return NULL;
}

/* Whatever is in the queue, the worker lives. */
static enum rc
task_check(const struct worker *k, const struct task *task, struct err *e)
{
	const struct task_type *type = task_type(task->type);
	json_t *data;
	bool object;

	if (task->receives > k->max_receives)
		return err_set(e, RC_INVALID, "poison",
		    "received %d times and never settled: it ended its worker, "
		    "or outlasted its lease",
		    task->receives - 1);
	if (k->def->batch != NULL
		? type == NULL || strcmp(type->queue, k->def->name) != 0
		: row_of(k, task->type) == NULL)
		return err_set(e, RC_INVALID, "unknown_task_type",
		    "worker %s knows no task type %.60s", k->def->name,
		    task->type);
	data = json_loadb(task->data.p, task->data.n, 0, NULL);
	object = json_is_object(data);
	json_decref(data);
	return object ? RC_OK
		      : err_set(e, RC_INVALID, "bad_task_data",
			    "the task's data is no JSON object");
}

/* Its turn: RC_OK: run it. Else it has been seen to. */
static bool
may_run(struct worker *k, const struct task *task)
{
	struct err e = ERR_INIT;
	enum rc rc = heartbeat_start(k->heartbeat, task, &e);

	if (rc != RC_OK) {
		heartbeat_let_go(k->heartbeat, task);
		log_warn("task_not_started", LOG_S("type", task->type),
		    LOG_S("code", e.code), LOG_S("msg", e.msg));
		return false;
	}
	rc = task_check(k, task, &e);
	if (rc != RC_OK)
		settle(k, task, rc, &e);
	return rc == RC_OK;
}

static void
took(struct worker *k, int n, int64_t us)
{
	k->n_tasks += n;
	k->task_us += (us / n - k->task_us) / 4;
}

static void
run_singly(struct worker *k, int n, const struct task *const tasks[])
{
	for (int i = 0; i < n; i++) {
		const struct task *t = tasks[i];
		int64_t start = clock_mono_us();
		struct err e = ERR_INIT;

		if (is_told_to_end(k)) {
			give_back(k, t);
			continue;
		}
		log_set_request(t->id);
		if (may_run(k, t)) {
			enum rc rc = row_of(k, t->type)->run(&k->w, t, &e);

			settle(k, t, rc, &e);
			took(k, 1, clock_mono_us() - start);
		}
		log_set_request(NULL);
		arena_reset(k->w.arena);
	}
}

static void
run_batch(struct worker *k, int n, const struct task *const tasks[])
{
	const struct task *in[QUEUE_BATCH];
	struct task batch[QUEUE_BATCH];
	enum rc rcs[QUEUE_BATCH], rc;
	int64_t start = clock_mono_us();
	struct err e = ERR_INIT;
	int m = 0;

	for (int i = 0; i < n; i++) {
		if (is_told_to_end(k))
			give_back(k, tasks[i]);
		else if (may_run(k, tasks[i])) {
			in[m] = tasks[i];
			batch[m++] = *tasks[i];
		}
	}
	if (m == 0)
		return;
	for (int i = 0; i < m; i++)
		rcs[i] = RC_OK;
	log_set_request(batch[0].id);
	rc = k->def->batch(&k->w, m, batch, rcs, &e);
	for (int i = 0; i < m; i++) {
		struct err none = ERR_INIT;
		enum rc one = rc == RC_OK ? rcs[i] : rc;

		if (rc == RC_OK && one != RC_OK)
			(void)!err_set(&none, one, "refused_in_batch",
			    "one of a batch: %s", rc_name(one));
		log_set_request(batch[i].id);
		settle(k, in[i], one, rc == RC_OK ? &none : &e);
	}
	log_set_request(NULL);
	took(k, m, clock_mono_us() - start);
	arena_reset(k->w.arena);
}

static void
run(struct worker *k, int n, const struct task *const tasks[])
{
	if (k->def->batch != NULL)
		run_batch(k, n, tasks);
	else
		run_singly(k, n, tasks);
	done_flush(k);
}

/* Those that came before a third time together, then one suspect alone. */
static void
run_received(struct worker *k, int n, const struct task tasks[])
{
	const struct task *calm[QUEUE_BATCH], *suspect[QUEUE_BATCH];
	int n_calm = 0, n_suspect = 0;

	for (int i = 0; i < n; i++) {
		if (tasks[i].receives < SUSPECT)
			calm[n_calm++] = &tasks[i];
		else
			suspect[n_suspect++] = &tasks[i];
	}
	if (n_calm > 0)
		run(k, n_calm, calm);
	k->suspects = n_suspect > 0;
	for (int i = 1; i < n_suspect; i++)
		give_back(k, suspect[i]);
	if (n_suspect > 0)
		run(k, 1, suspect);
}

static int
batch_size(const struct worker *k)
{
	int64_t n = k->task_us <= 0 ? QUEUE_BATCH
				    : BATCH_MS * INT64_C(1000) / k->task_us;

	/* A suspect is run alone: none comes along only to be given back. */
	if (k->suspects)
		return 1;
	return n < 1 ? 1 : n > QUEUE_BATCH ? QUEUE_BATCH : (int)n;
}

/* A queue elsewhere is asked once in a long while, and answers at once when
 * there is something: we wait there, unless a clock is due. */
static int
receive_wait(const struct worker *k)
{
	int64_t ms = k->long_poll_ms;

	if (k->w.shop->waker.noted != 0 || k->failing)
		return 0;
	for (int i = 0; k->def->clocks != NULL && k->def->clocks[i].name; i++)
		ms = earlier(ms, k->clocks[i].due_ms - clock_mono_ms());
	return ms < 0 ? 0 : (int)ms;
}

/* After a failure: what cannot be worked on is not received, since a queue
 * elsewhere counts it. */
static enum rc
look_before(struct worker *k, struct err *e)
{
	static const struct pg_stmt look = { "worker_look", "SELECT 1", 0 };
	struct pg_args args = { 0 };

	if (!k->failing || k->long_poll_ms == 0)
		return RC_OK;
	return pg_exec(
	    k->w.shop->pg, PG_PRIMARY, &look, &args, k->w.arena, NULL, e);
}

/* Tasks received; -1: the queue does not answer. */
static int
tasks_turn(struct worker *k)
{
	struct task *tasks;
	struct err e = ERR_INIT;
	enum rc rc;
	int n = 0;

	if (k->sub != NULL)
		redis_sub_turn(k->sub);
	k->woken = false; /* what is written from here on wakes anew */
	arena_reset(k->batch);
	k->waited_ms = receive_wait(k);
	rc = look_before(k, &e);
	if (rc == RC_OK)
		rc = queue_receive(k->queue, batch_size(k), k->waited_ms,
		    k->batch, &tasks, &n, &e);
	if (rc == RC_RETRY && strcmp(e.code, "aws_stopped") == 0)
		return 0;
	if (rc != RC_OK && !k->failing)
		log_warn("receive_failed", LOG_S("rc", rc_name(rc)),
		    LOG_S("code", e.code), LOG_S("msg", e.msg));
	if (rc == RC_OK && k->failing)
		log_info("receive_recovered");
	k->failing = rc != RC_OK;
	if (rc != RC_OK)
		return -1;
	if (n > 0) {
		heartbeat_hold(k->heartbeat, n, tasks);
		run_received(k, n, tasks);
	}
	return n;
}

/* It has done something first: where the limit is too low for anything the work
 * goes on all the same. */
static bool
has_outgrown(const struct worker *k)
{
	int64_t now;

	if (k->max_memory == 0 ||
	    (k->n_tasks == 0 && clock_mono_ms() < k->grown_up_ms))
		return false;
	now = memory_resident();
	if (now > k->max_memory)
		log_warn("max_memory", LOG_I("resident", now),
		    LOG_I("limit", k->max_memory),
		    LOG_S("note", "another one takes its place"));
	return now > k->max_memory;
}

static void
worker_turn(struct worker *k)
{
	int64_t next = clocks_turn(k);
	int n = k->queue == NULL || k->draining ? 0 : tasks_turn(k);
	int64_t until = clock_mono_ms();

	/* With tasks, or after a wait at the queue itself: no waiting, only
	 * waking others. */
	if (n < 0 || (n == 0 && k->waited_ms < POLL_MS))
		until += POLL_MS;
	else if (n == 0 && k->w.shop->waker.noted != 0)
		until += WAKE_TURN_MS;
	worker_wait(k, earlier(until, next), n == 0);
}

/* ---- opening and closing */

static enum rc
work_queue(struct worker *k, struct err *e)
{
	k->cred = queues_cred_new(k->conf, 0);
	if (queues_is_remote(k->conf, k->def->name))
		k->long_poll_ms = conf_int(k->conf, "workers", "long_poll");
	return queues_open(&(struct queues_opts){ .conf = k->conf,
			       .pg = k->w.shop->pg,
			       .cred = k->cred,
			       .stop_fd = k->sig },
	    k->def->name, &k->queue, e);
}

static enum rc
work_open(struct worker *k, struct err *e)
{
	char name[48];
	enum rc rc;

	k->w.conf = k->conf;
	k->w.arena = arena_new();
	k->batch = arena_new();
	(void)snprintf(name, sizeof name, "souk-worker %s", k->def->name);
	rc = shop_open(k->conf, name, NULL, &k->w.shop, e);
	if (rc == RC_OK && k->def->open != NULL)
		rc = k->def->open(&k->w, e);
	if (rc == RC_OK && worker_has_tasks(k->def))
		rc = work_queue(k, e);
	if (rc != RC_OK)
		err_prefix(e, "worker %s: ", k->def->name);
	return rc;
}

static void
work_close(struct worker *k)
{
	if (k->def->close != NULL && k->w.shop != NULL)
		k->def->close(&k->w);
	queue_close(k->queue);
	aws_cred_free(k->cred);
	shop_close(k->w.shop);
	arena_free(k->batch);
	arena_free(k->w.arena);
}

static enum rc
worker_listen(struct worker *k, struct err *e)
{
	static const char *const channels[] = { "queue:wake", NULL };
	const struct redis_sub_events events = { .message = on_message,
		.restarted = on_restarted,
		.lost = on_lost,
		.arg = k };

	return redis_sub_new(
	    conf_str(k->conf, "redis", "url"), channels, &events, &k->sub, e);
}

int
worker_run(const struct worker_def *def, const char *conf_path)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP };
	struct worker *k = xcalloc(1, sizeof *k);
	struct err e = ERR_INIT;
	char ident[32];
	enum rc rc;

	(void)snprintf(ident, sizeof ident, "souk-worker:%s", def->name);
	log_init(ident);
	rc = settings_load(conf_path, &k->conf, NULL, &e);
	if (rc != RC_OK)
		die(EXIT_PERSON, "%s", e.msg);
	settings_log(k->conf);
	sig_ignore_pipe();
	/* Before any thread: they inherit what is blocked. */
	k->sig = sig_open((int)(sizeof signals / sizeof *signals), signals);
	if (k->sig < 0)
		die(EXIT_AGAIN, "signalfd failed");
	k->def = def;
	k->max_tasks = conf_int(k->conf, "workers", "max_tasks");
	k->max_memory = conf_int(k->conf, "workers", "max_memory");
	k->grown_up_ms = deadline_in(YOUNG_MS);
	k->backoff_ms = conf_int(k->conf, "workers", "backoff");
	k->max_backoff_ms = conf_int(k->conf, "workers", "max_backoff");
	k->max_receives = (int)conf_int(k->conf, "workers", "max_receives");
	rc = work_open(k, &e);
	/* Nobody needs to be woken who waits at his queue. */
	if (rc == RC_OK &&
	    (def->woken || (worker_has_tasks(def) && k->long_poll_ms == 0)))
		rc = worker_listen(k, &e);
	if (rc == RC_OK && worker_has_tasks(def))
		rc = heartbeat_new(k->conf, def->name, &k->heartbeat, &e);
	if (rc != RC_OK)
		die(rc == RC_RETRY ? EXIT_AGAIN : EXIT_PERSON, "%s", e.msg);
	log_info("started");
	while (!is_told_to_end(k) &&
	       (k->max_tasks == 0 || k->n_tasks < k->max_tasks) &&
	       !has_outgrown(k))
		worker_turn(k);
	heartbeat_free(k->heartbeat);
	log_info("ended", LOG_I("tasks", k->n_tasks));
	redis_sub_free(k->sub);
	work_close(k);
	conf_free(k->conf);
	free(k);
	return 0;
}

enum rc
worker_check(const char *conf_path, struct err *e)
{
	struct conf *conf;
	enum rc rc = settings_load(conf_path, &conf, NULL, e);

	if (rc != RC_OK)
		return rc;
	rc = crews_check(conf, e);
	for (const struct worker_def *d = worker_defs;
	     d->name != NULL && rc == RC_OK; d++) {
		struct worker k = { .def = d, .conf = conf };

		if (d->wanted != NULL && !d->wanted(conf))
			continue;
		rc = work_open(&k, e);
		if (rc == RC_RETRY)
			rc = RC_OK; /* nobody can say now */
		work_close(&k);
	}
	conf_free(conf);
	return rc;
}
