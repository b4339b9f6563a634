/*
 * How much of a batch is asked for follows how long a task takes (a worker that
 * talks to a slow provider must not sit on ten tasks that others could do).
 *
 * A task that kills its process is counted by its receives, and so are those of
 * its batch that waited behind it. So one that comes for the third time is run
 * alone: the others are given back first, uncounted.
 *
 * A task whose type has no free slot waits here, its lease kept, while others
 * of its batch and of other queues are run; the slots are looked at once a
 * second. Thrown back at once it would come again at once, and a long queue of
 * them would go round in circles; so it goes back only after a while, so that
 * what is behind it in its queue gets its turn.
 */
#include "workers/lane.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "shop/queues.h"
#include "shop/shop.h"
#include "store/outbox.h"
#include "store/pg.h"
#include "workers/fetch.h"
#include "workers/heartbeat.h"

enum {
	POLL_MS = 1000,
	PUSHED_MS = 100, /* to look at what the service sends by itself */
	PAUSED_MS = 1000,
	BATCH_MS = 500, /* no more than this is taken at a time */
	SUSPECT = 3,    /* receives */
	SLOT_LOOK_MS = 1000,
	SLOT_WAIT_MS = 10000,
	SLOT_AWAY_MS = 2000
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

static struct arena *
arena_of(const struct lane *l)
{
	return l->hand->w.arena;
}

/* ---- settling */

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

/* Those that are done are deleted together: where the lane is alone while the
 * next ones are received, and before anything that may take long; till then
 * their leases are kept. */
static void
done_add(struct lane *l, const struct task *task)
{
	assert(l->n_done < QUEUE_BATCH);
	heartbeat_done(l->hand->heartbeat, task);
	l->done[l->n_done++] = task;
}

static void
done_flush(struct lane *l)
{
	bool lost[QUEUE_BATCH] = { false };
	struct err e = ERR_INIT;
	enum rc rc;

	if (l->n_done == 0)
		return;
	for (int i = 0; i < l->n_done; i++)
		heartbeat_let_go(l->hand->heartbeat, l->done[i]);
	rc = queue_done(l->queue, l->n_done, l->done, lost, arena_of(l), &e);
	for (int i = 0; i < l->n_done && rc != RC_OK; i++) {
		if (rc != RC_NONE || lost[i])
			not_settled(l->done[i], &e);
	}
	l->n_done = 0;
	arena_reset(arena_of(l));
}

/* rc and e: what the task's function said. */
static void
settle(
    struct lane *l, const struct task *task, enum rc rc, const struct err *told)
{
	struct arena *arena = arena_of(l);
	const struct limits *limits = &l->hand->limits;
	enum action action = action_of[rc];
	int64_t delay = 0;
	struct err e = ERR_INIT;
	const char *why =
	    arena_concat(arena, told->code, ": ", told->msg, NULL);
	enum rc settled;

	if (action == AGAIN &&
	    task->receives >= limits_receives(limits, task->type))
		action = BURY;
	if (action != DONE)
		heartbeat_let_go(l->hand->heartbeat, task);
	switch (action) {
	case DONE:
		settle_log(task, action, rc, delay, told);
		hand_count_done(l->hand, l->def->name, task->created_ms);
		done_add(l, task);
		return;
	case BURY:
		settled = queue_bury(l->queue, task, why, arena, &e);
		break;
	case AGAIN:
	default:
		delay = limits_backoff_ms(limits, task->receives);
		settled = queue_return(l->queue, task, delay, why, arena, &e);
	}
	hand_count_failed(l->hand, l->def->name);
	settle_log(task, action, rc, delay, told);
	if (settled != RC_OK)
		not_settled(task, &e);
}

/* Not started: not counted, somebody else's. */
static void
give_back(struct lane *l, const struct task *task, int64_t delay_ms)
{
	struct err e = ERR_INIT;

	heartbeat_let_go(l->hand->heartbeat, task);
	if (queue_return(l->queue, task, delay_ms, NULL, arena_of(l), &e) !=
	    RC_OK)
		log_warn("task_not_returned", LOG_S("task", task->id),
		    LOG_S("code", e.code), LOG_S("msg", e.msg));
}

static void
give_back_held(struct lane *l, int64_t delay_ms)
{
	for (int i = 0; i < l->n_held; i++)
		give_back(l, l->held[i], delay_ms);
	l->n_held = 0;
	arena_reset(arena_of(l));
}

/* ---- running */

static const struct task_row *
row_of(const struct lane *l, const char *type)
{
	for (const struct task_row *row = l->def->tasks;
	     row != NULL && row->type != NULL; row++) {
		if (strcmp(row->type, type) == 0)
			return row;
	}
	return NULL;
}

/* Whatever is in the queue, the worker lives. */
static enum rc
task_check(const struct lane *l, const struct task *task, struct err *e)
{
	const struct task_type *type = task_type(task->type);

	if (task->receives > limits_receives(&l->hand->limits, task->type))
		return err_set(e, RC_INVALID, "poison",
		    "received %d times and never settled: it ended its worker, "
		    "or outlasted its lease",
		    task->receives - 1);
	if (l->def->batch != NULL
		? type == NULL || strcmp(type->queue, l->def->name) != 0
		: row_of(l, task->type) == NULL)
		return err_set(e, RC_INVALID, "unknown_task_type",
		    "worker %s knows no task type %.60s", l->def->name,
		    task->type);
	/* It is JSON (queue.h), so that one byte tells. What is in it is for
	 * the function. */
	return task->data.n > 0 && *task->data.p == '{'
		   ? RC_OK
		   : err_set(e, RC_INVALID, "bad_task_data",
			 "the task's data is no JSON object");
}

/* Its turn: RC_OK: run it. Else it has been seen to. */
static bool
may_run(struct lane *l, const struct task *task)
{
	struct heartbeat *hb = l->hand->heartbeat;
	struct err e = ERR_INIT;
	enum rc rc = heartbeat_start(hb, task, &e);

	if (rc != RC_OK) {
		heartbeat_let_go(hb, task);
		log_warn("task_not_started", LOG_S("type", task->type),
		    LOG_S("code", e.code), LOG_S("msg", e.msg));
		return false;
	}
	rc = task_check(l, task, &e);
	if (rc != RC_OK)
		settle(l, task, rc, &e);
	return rc == RC_OK;
}

static void
took(struct lane *l, int n, int64_t us)
{
	l->hand->n_tasks += n;
	l->task_us += (us / n - l->task_us) / 4;
}

/* No more is begun. */
static bool
must_stop(struct lane *l)
{
	return hand_is_told_to_end(l->hand) ||
	       hand_is_paused(l->hand, l->def->name);
}

static void
run_one(struct lane *l, const struct task *t)
{
	int64_t start = clock_mono_us();
	struct err e = ERR_INIT;
	enum rc rc;

	log_set_request(t->id);
	if (may_run(l, t)) {
		rc = row_of(l, t->type)->run(&l->hand->w, t, &e);
		settle(l, t, rc, &e);
		took(l, 1, clock_mono_us() - start);
	}
	log_set_request(NULL);
	arena_reset(arena_of(l));
}

/* How many were begun or seen to; the others are held. */
static int
run_singly(struct lane *l, int n, const struct task *const tasks[])
{
	const char *full = ""; /* a type that has no slot */
	int begun = 0;

	for (int i = 0; i < n; i++) {
		const struct task *t = tasks[i];
		struct err e = ERR_INIT;

		if (must_stop(l)) {
			give_back(l, t, 0);
			begun++;
		} else if (strcmp(full, t->type) == 0 ||
			   hand_slot(l->hand, t->type, &e) != RC_OK) {
			full = t->type;
			l->held[l->n_held++] = t;
		} else {
			run_one(l, t);
			begun++;
		}
	}
	return begun;
}

static int
run_batch(struct lane *l, int n, const struct task *const tasks[])
{
	const struct task *in[QUEUE_BATCH];
	struct task batch[QUEUE_BATCH];
	enum rc rcs[QUEUE_BATCH], rc;
	int64_t start = clock_mono_us();
	struct err e = ERR_INIT;
	int m = 0;

	for (int i = 0; i < n; i++) {
		if (must_stop(l))
			give_back(l, tasks[i], 0);
		else if (may_run(l, tasks[i])) {
			in[m] = tasks[i];
			batch[m++] = *tasks[i];
		}
	}
	if (m == 0)
		return n;
	for (int i = 0; i < m; i++)
		rcs[i] = RC_OK;
	log_set_request(batch[0].id);
	rc = l->def->batch(&l->hand->w, m, batch, rcs, &e);
	for (int i = 0; i < m; i++) {
		struct err none = ERR_INIT;
		enum rc one = rc == RC_OK ? rcs[i] : rc;

		if (rc == RC_OK && one != RC_OK)
			(void)!err_set(&none, one, "refused_in_batch",
			    "one of a batch: %s", rc_name(one));
		log_set_request(batch[i].id);
		settle(l, in[i], one, rc == RC_OK ? &none : &e);
	}
	log_set_request(NULL);
	took(l, m, clock_mono_us() - start);
	arena_reset(arena_of(l));
	return n;
}

static int
run(struct lane *l, int n, const struct task *const tasks[])
{
	return l->def->batch != NULL ? run_batch(l, n, tasks)
				     : run_singly(l, n, tasks);
}

/* What is held: those that came before a third time together, then one suspect
 * alone. What has no slot is held again. */
static int
run_held(struct lane *l)
{
	const struct task *calm[QUEUE_BATCH], *suspect[QUEUE_BATCH];
	int n_calm = 0, n_suspect = 0, begun = 0;

	for (int i = 0; i < l->n_held; i++) {
		if (l->held[i]->receives < SUSPECT)
			calm[n_calm++] = l->held[i];
		else
			suspect[n_suspect++] = l->held[i];
	}
	l->n_held = 0;
	if (n_calm > 0)
		begun += run(l, n_calm, calm);
	l->suspects = n_suspect > 0;
	for (int i = 1; i < n_suspect; i++)
		give_back(l, suspect[i], 0);
	if (n_suspect > 0) {
		done_flush(l); /* whatever it does to us */
		begun += run(l, 1, suspect);
	}
	if (!l->alone || l->n_held > 0)
		done_flush(l);
	hand_slot_give(l->hand);
	return begun;
}

/* ---- receiving */

static int
batch_size(const struct lane *l)
{
	int64_t n = l->task_us <= 0 ? QUEUE_BATCH
				    : BATCH_MS * INT64_C(1000) / l->task_us;

	/* A suspect is run alone: none comes along only to be given back. */
	if (l->suspects)
		return 1;
	return n < 1 ? 1 : n > QUEUE_BATCH ? QUEUE_BATCH : (int)n;
}

/* After a failure: what cannot be worked on is not received, since a queue
 * elsewhere counts it. */
static enum rc
look_before(struct lane *l, struct err *e)
{
	static const struct pg_stmt look = { "worker_look", "SELECT 1", 0 };
	struct pg_args args = { 0 };

	if (!l->failing || l->long_poll_ms == 0)
		return RC_OK;
	return pg_exec(l->hand->w.shop->pg, PG_PRIMARY, &look, &args,
	    arena_of(l), NULL, e);
}

static enum rc
receive_itself(
    struct lane *l, int wait_ms, struct task **tasks, int *n, struct err *e)
{
	int max = batch_size(l);
	int64_t start;
	enum rc rc;

	if (!l->alone || l->failing)
		wait_ms = 0;
	rc = look_before(l, e);
	if (rc == RC_OK)
		queue_ask(l->queue, max, wait_ms);
	done_flush(l);
	arena_reset(l->batch);
	start = clock_mono_ms();
	if (rc == RC_OK)
		rc = queue_receive(
		    l->queue, max, wait_ms, l->batch, tasks, n, e);
	l->waited_ms = (int)(clock_mono_ms() - start);
	if (rc == RC_OK && *n > 0)
		heartbeat_hold(l->hand->heartbeat, *n, *tasks);
	return rc;
}

/* RC_NONE: it is waited for. */
static enum rc
receive_fetched(struct lane *l, struct task **tasks, int *n, struct err *e)
{
	enum rc rc;

	if (fetch_state(l->fetch) == FETCH_CAME)
		return fetch_take(l->fetch, tasks, n, &l->waited_ms, e);
	rc = look_before(l, e);
	if (rc != RC_OK)
		return rc;
	if (l->asks_no_more)
		l->due_ms = INT64_MAX;
	else
		fetch_ask(l->fetch, batch_size(l));
	return err_set(e, RC_NONE, "waits", "it is waited for");
}

static void
hold(struct lane *l, int n, struct task tasks[])
{
	for (int i = 0; i < n; i++)
		l->held[i] = &tasks[i];
	l->n_held = n;
	l->held_since_ms = clock_mono_ms();
}

/* Nothing came: when is it worth looking again? */
static int64_t
look_again(const struct lane *l)
{
	int64_t now = clock_mono_ms();

	if (l->failing)
		return now + POLL_MS;
	/* By what it did, not by what it was asked to do. */
	if (l->waited_ms >= POLL_MS)
		return now;
	if (l->fetch == NULL && l->long_poll_ms > 0 && !l->alone)
		return now + PUSHED_MS;
	return now + POLL_MS - l->waited_ms;
}

/* 1: some are held; 0: none; -1: the queue does not answer. */
static int
receive(struct lane *l, int wait_ms)
{
	struct task *tasks;
	struct err e = ERR_INIT;
	int n = 0;
	enum rc rc = l->fetch != NULL
			 ? receive_fetched(l, &tasks, &n, &e)
			 : receive_itself(l, wait_ms, &tasks, &n, &e);

	if (rc == RC_NONE) /* until it has come */
		return 0;
	if (rc == RC_RETRY && strcmp(e.code, "aws_stopped") == 0)
		return 0;
	if (rc != RC_OK && !l->failing)
		log_warn("receive_failed", LOG_S("queue", l->def->name),
		    LOG_S("rc", rc_name(rc)), LOG_S("code", e.code),
		    LOG_S("msg", e.msg));
	if (rc == RC_OK && l->failing)
		log_info("receive_recovered", LOG_S("queue", l->def->name));
	l->failing = rc != RC_OK;
	if (rc == RC_OK && n > 0) {
		hold(l, n, tasks);
		return 1;
	}
	l->due_ms = look_again(l);
	return rc == RC_OK ? 0 : -1;
}

/* ---- turns */

int64_t
lane_due_ms(const struct lane *l)
{
	if (l->queue == NULL)
		return INT64_MAX;
	if (l->fetch == NULL || l->n_held > 0)
		return l->due_ms;
	switch (fetch_state(l->fetch)) {
	case FETCH_CAME:
		return 0;
	case FETCH_WAITS:
		return INT64_MAX;
	case FETCH_IDLE:
	default:
		return l->due_ms;
	}
}

bool
lane_is_ready(const struct lane *l)
{
	return clock_mono_ms() >= lane_due_ms(l);
}

/* Nothing is received, and what was goes back. */
static bool
stands_still(struct lane *l)
{
	if (!hand_was_paused(l->hand, l->def->name) ||
	    !hand_is_paused(l->hand, l->def->name))
		return false;
	done_flush(l);
	if (l->fetch != NULL && l->n_held == 0 &&
	    fetch_state(l->fetch) == FETCH_CAME)
		(void)receive(l, 0);
	give_back_held(l, 0);
	l->due_ms = clock_mono_ms() + PAUSED_MS;
	return true;
}

/* Some have no slot. */
static void
wait_for_slots(struct lane *l)
{
	int64_t now = clock_mono_ms();
	uint32_t r = 0;

	(void)!getrandom(&r, sizeof r, GRND_NONBLOCK);
	if (now - l->held_since_ms < SLOT_WAIT_MS) {
		l->due_ms = now + SLOT_LOOK_MS * 3 / 4 + r % (SLOT_LOOK_MS / 2);
		return;
	}
	give_back_held(l, SLOT_AWAY_MS / 2 + r % SLOT_AWAY_MS);
	l->due_ms = now;
}

void
lane_settle(struct lane *l)
{
	if (l->queue != NULL)
		done_flush(l);
}

int
lane_turn(struct lane *l, int wait_ms)
{
	int n;

	if (stands_still(l))
		return 0;
	if (l->n_held == 0 && (n = receive(l, wait_ms)) <= 0)
		return n;
	l->due_ms = 0;
	n = run_held(l);
	if (l->n_held > 0)
		wait_for_slots(l);
	return n;
}

bool
lane_finish(struct lane *l)
{
	l->asks_no_more = true;
	return l->fetch == NULL ||
	       (l->n_held == 0 && fetch_state(l->fetch) == FETCH_IDLE);
}

void
lane_drain(struct lane *l)
{
	if (l->queue == NULL)
		return;
	done_flush(l);
	give_back_held(l, 0);
	fetch_join(l->fetch);
	if (l->fetch == NULL || fetch_state(l->fetch) != FETCH_CAME)
		return;
	(void)receive(l, 0);
	give_back_held(l, 0);
}

/* ---- opening and closing */

enum rc
lane_open(struct lane *l, const struct lane_opts *opts, struct err *e)
{
	struct hand *h = opts->hand;
	const char *name = opts->def->name;
	enum rc rc = RC_OK;

	*l = (struct lane){ .def = opts->def, .hand = h, .alone = opts->alone };
	l->batch = arena_new();
	if (l->def->open != NULL)
		rc = l->def->open(&h->w, e);
	if (rc == RC_OK && worker_has_tasks(l->def)) {
		if (queues_is_remote(h->conf, name))
			l->long_poll_ms =
			    conf_int(h->conf, "workers", "long_poll");
		rc = queues_open(&(struct queues_opts){ .conf = h->conf,
				     .pg = h->w.shop->pg,
				     .cred = h->cred,
				     .stop_fd = h->sig },
		    name, &l->queue, e);
	}
	if (rc != RC_OK)
		err_prefix(e, "worker %s: ", name);
	return rc;
}

enum rc
lane_start(struct lane *l, const struct lane_opts *opts, struct err *e)
{
	struct hand *h = opts->hand;

	/* What is pushed to us costs nothing to look at. */
	if (l->queue == NULL || l->alone || l->long_poll_ms == 0 ||
	    queues_is_pushed(h->conf, l->def->name))
		return RC_OK;
	return fetch_new(&(struct fetch_opts){ .conf = h->conf,
			     .name = l->def->name,
			     .heartbeat = h->heartbeat,
			     .wake_fd = opts->wake_fd,
			     .stop_fd = opts->stop_fd,
			     .wait_ms = (int)l->long_poll_ms },
	    &l->fetch, e);
}

void
lane_close(struct lane *l)
{
	if (l->def == NULL)
		return;
	fetch_free(l->fetch);
	if (l->def->close != NULL && l->hand->w.shop != NULL)
		l->def->close(&l->hand->w);
	queue_close(l->queue);
	arena_free(l->batch);
}
