/*
 * A turn: what is due by the clocks, then a batch of one queue (lane.h), chosen
 * by weight where the process serves several (pick.h). Where no queue had
 * anything it waits: for a word on Redis's channel queue:wake, at most a second
 * for the queues in PostgreSQL; at a queue elsewhere, where it is the only one;
 * for the threads that wait at several (fetch.h). While tasks come it does not
 * wait. Without Redis it polls.
 *
 * Nothing is settled by a signal: TERM is read from a descriptor between tasks,
 * so that it interrupts no wait for a store.
 */
#include "workers/worker.h"

#include <assert.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
#include "store/redis.h"
#include "store/turn.h"
#include "workers/crew.h"
#include "workers/hand.h"
#include "workers/heartbeat.h"
#include "workers/lane.h"
#include "workers/memory.h"
#include "workers/pick.h"

enum {
	POLL_MS = 1000,
	SUB_TURN_MS = 200, /* redis_sub wants its turn every 250 ms */
	WAKE_TURN_MS = 50, /* while there is somebody to wake */
	MAX_CLOCKS = 16,
	YOUNG_MS = 60000
};

struct clock_state {
	int64_t due_ms;
	bool failing;
};

struct worker {
	struct hand hand;
	int n;
	struct lane lane[WORKER_MOST];
	struct clock_state clocks[WORKER_MOST][MAX_CLOCKS];
	struct pick pick;
	struct redis_sub *sub;
	int wake_fd, stop_fd; /* fetch.h; 0: none */
	bool woken;
	bool finishing; /* max_tasks, max_memory */
	int64_t max_tasks, max_memory;
	int64_t grown_up_ms; /* mono */
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

bool
worker_list_parse(const char *text, struct worker_list *out)
{
	out->n = 0;
	for (const char *p = text; *p != '\0';) {
		size_t n = strcspn(p, ", \t");
		char name[32];
		const struct worker_def *def;

		if (n == 0) {
			p++;
			continue;
		}
		if (n >= sizeof name || out->n == WORKER_MOST)
			return false;
		memcpy(name, p, n);
		name[n] = '\0';
		def = worker_def(name);
		if (def == NULL || worker_list_has(out, def))
			return false;
		out->def[out->n++] = def;
		p += n;
	}
	return true;
}

bool
worker_list_has(const struct worker_list *list, const struct worker_def *def)
{
	for (int i = 0; i < list->n; i++) {
		if (list->def[i] == def)
			return true;
	}
	return false;
}

void
worker_list_names(const struct worker_list *list, size_t room, char out[])
{
	size_t len = 0;

	out[0] = '\0';
	for (int i = 0; i < list->n && len < room; i++)
		len += (size_t)snprintf(out + len, room - len, "%s%s",
		    i == 0 ? "" : ",", list->def[i]->name);
}

/* ---- waking and waiting */

/* Something was written for that one; NULL: for all. */
static void
wake(struct worker *k, const struct span *name)
{
	for (int i = 0; i < k->n; i++) {
		struct lane *l = &k->lane[i];
		bool ours = name == NULL || span_is(*name, l->def->name);

		if (!ours && !l->def->woken)
			continue;
		k->woken = true;
		/* What waits for a slot, or for the queue, goes on waiting. */
		if (ours && l->n_held == 0 && !l->failing)
			l->due_ms = 0;
		for (int c = 0; l->def->woken && c < MAX_CLOCKS; c++)
			k->clocks[i][c].due_ms = 0;
	}
}

static void
on_message(void *arg, struct span channel, struct span payload)
{
	(void)channel;
	for (const char *p = payload.p, *end = p + payload.n; p < end;) {
		const char *stop = memchr(p, ' ', (size_t)(end - p));
		struct span word = { p,
			(size_t)((stop == NULL ? end : stop) - p) };

		wake(arg, &word);
		p += word.n + 1;
	}
}

/* What was said meanwhile was not heard. */
static void
on_restarted(void *arg)
{
	wake(arg, NULL);
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

/* Until something happens, at most ms. */
static void
worker_poll(struct worker *k, int64_t ms)
{
	struct pollfd p[3] = { { .fd = k->hand.sig, .events = POLLIN },
		{ .fd = k->wake_fd > 0 ? k->wake_fd : -1, .events = POLLIN },
		{ .fd = -1, .events = POLLIN } };
	eventfd_t times;

	if (k->sub != NULL) {
		p[2].fd = redis_sub_fd(k->sub); /* -1: left out */
		if (redis_sub_wants_write(k->sub))
			p[2].events |= POLLOUT;
	}
	(void)poll(p, 3, (int)earlier(ms, POLL_MS));
	if (p[1].revents != 0 && eventfd_read(k->wake_fd, &times) == 0)
		k->woken = true; /* a fetched batch */
}

/* Until then, or a word for us, or a signal. */
static void
worker_wait(struct worker *k, int64_t until)
{
	while (!hand_is_told_to_end(&k->hand)) {
		struct shop *shop = k->hand.w.shop;
		int64_t now = clock_mono_ms(), left = until - now;

		if (k->sub != NULL) {
			redis_sub_turn(k->sub);
			left = earlier(left, SUB_TURN_MS);
		}
		outbox_wake(&shop->waker, shop->redis, k->hand.w.arena);
		arena_reset(k->hand.w.arena);
		if (shop->waker.noted != 0)
			left = earlier(left, WAKE_TURN_MS);
		if (now >= until || k->woken)
			return;
		worker_poll(k, left);
	}
}

/* ---- the clock */

static enum rc
clock_tick(struct worker *k, const struct clock_row *row, struct err *e)
{
	struct work *w = &k->hand.w;
	enum rc rc = RC_OK;

	if (row->leader)
		rc = turn_take(
		    w->shop->pg, row->name, row->every_ms, w->arena, e);
	if (rc == RC_OK)
		rc = row->run(w, e);
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

static void
clock_run_due(
    struct worker *k, struct clock_state *c, const struct clock_row *row)
{
	struct work *w = &k->hand.w;
	struct err e = ERR_INIT;
	int64_t now = clock_mono_ms();

	if (now < c->due_ms || hand_is_told_to_end(&k->hand))
		return;
	c->due_ms = now + row->every_ms;
	w->again = false;
	for (int i = 0; i < k->n; i++)
		lane_settle(&k->lane[i]);
	log_set_request(row->name);
	clock_judge(c, row, clock_tick(k, row, &e), &e);
	log_set_request(NULL);
	arena_reset(w->arena);
	if (w->again)
		c->due_ms = now;
}

/* What is due; returns when the next one is. */
static int64_t
clocks_turn(struct worker *k)
{
	int64_t next = INT64_MAX;

	for (int i = 0; i < k->n; i++) {
		const struct clock_row *row = k->lane[i].def->clocks;

		for (int c = 0; row != NULL && row[c].name != NULL; c++) {
			assert(c < MAX_CLOCKS);
			clock_run_due(k, &k->clocks[i][c], &row[c]);
			next = earlier(next, k->clocks[i][c].due_ms);
		}
	}
	return next;
}

/* ---- turns */

/* How long the only queue there is may be waited at: not while there is
 * somebody to wake, and not beyond what is due by the clock. */
static int
may_wait(const struct worker *k, int64_t next)
{
	int64_t ms = earlier(k->lane[0].long_poll_ms, next - clock_mono_ms());

	if (k->hand.w.shop->waker.noted != 0)
		return 0;
	return ms < 0 ? 0 : (int)ms;
}

/* A batch of whose turn it is; those that prove to have nothing take none. The
 * tasks begun or seen to. */
static int
lanes_turn(struct worker *k, int64_t next)
{
	bool ready[WORKER_MOST];
	int n = 0;

	/* At most each once. */
	for (int tries = 0; n <= 0 && tries < k->n; tries++) {
		int i;

		for (i = 0; i < k->n; i++)
			ready[i] = lane_is_ready(&k->lane[i]);
		i = pick_next(&k->pick, ready);
		if (i < 0 || hand_is_told_to_end(&k->hand))
			return 0;
		n = lane_turn(&k->lane[i], may_wait(k, next));
		if (n <= 0)
			pick_undo(&k->pick);
	}
	return n < 0 ? 0 : n;
}

/* When a queue is worth looking at. */
static int64_t
lanes_due(const struct worker *k)
{
	int64_t due = INT64_MAX;

	for (int i = 0; i < k->n; i++)
		due = earlier(due, lane_due_ms(&k->lane[i]));
	return due;
}

static void
worker_turn(struct worker *k)
{
	int64_t next, until;
	int n;

	k->woken = false; /* what is written from here on wakes anew */
	if (k->sub != NULL)
		redis_sub_turn(k->sub);
	hand_tell_counts(&k->hand, false);
	next = clocks_turn(k);
	n = lanes_turn(k, next);
	until = earlier(next, lanes_due(k));
	/* With tasks: no waiting, only waking others. */
	if (n > 0)
		until = 0;
	else if (k->hand.w.shop->waker.noted != 0 &&
		 until < clock_mono_ms() + WAKE_TURN_MS)
		until = clock_mono_ms() + WAKE_TURN_MS;
	worker_wait(k, until);
}

/* It has done something first: where the limit is too low for anything the work
 * goes on all the same. */
static bool
has_outgrown(const struct worker *k)
{
	int64_t now;

	if (k->max_memory == 0 ||
	    (k->hand.n_tasks == 0 && clock_mono_ms() < k->grown_up_ms))
		return false;
	now = memory_resident();
	if (now > k->max_memory)
		log_warn("max_memory", LOG_I("resident", now),
		    LOG_I("limit", k->max_memory),
		    LOG_S("note", "another one takes its place"));
	return now > k->max_memory;
}

static bool
is_over(struct worker *k)
{
	bool finished = true;

	if ((k->max_tasks == 0 || k->hand.n_tasks < k->max_tasks) &&
	    !k->finishing && !has_outgrown(k))
		return false;
	if (!k->finishing)
		(void)!eventfd_write(k->stop_fd, 1);
	k->finishing = true;
	for (int i = 0; i < k->n; i++)
		finished = lane_finish(&k->lane[i]) && finished;
	return finished;
}

/* ---- opening and closing */

static struct lane_opts
opts_of(struct worker *k, const struct worker_list *list, int i)
{
	return (struct lane_opts){ .hand = &k->hand,
		.def = list->def[i],
		.alone = list->n == 1,
		.wake_fd = k->wake_fd,
		.stop_fd = k->stop_fd };
}

static enum rc
work_open(struct worker *k, const struct worker_list *list, struct err *e)
{
	struct hand *h = &k->hand;
	char name[60] = "souk-worker ";
	enum rc rc;

	h->w.conf = h->conf;
	h->w.arena = arena_new();
	h->cred = queues_cred_new(h->conf, 0);
	hand_init(h);
	pick_init(&k->pick);
	worker_list_names(list, sizeof name - strlen(name), strchr(name, '\0'));
	rc = shop_open(h->conf, name, NULL, &h->w.shop, e);
	if (rc != RC_OK)
		err_prefix(e, "worker %s: ", list->def[0]->name);
	for (int i = 0; i < list->n && rc == RC_OK; i++) {
		struct lane_opts opts = opts_of(k, list, i);

		pick_add(&k->pick, list->def[i]->class);
		k->n++;
		rc = lane_open(&k->lane[i], &opts, e);
	}
	return rc;
}

static void
work_close(struct worker *k)
{
	for (int i = 0; i < k->n; i++)
		lane_close(&k->lane[i]);
	aws_cred_free(k->hand.cred);
	shop_close(k->hand.w.shop);
	arena_free(k->hand.w.arena);
}

static enum rc
start_heartbeat(struct worker *k, struct err *e)
{
	struct heartbeat_opts opts = { .conf = k->hand.conf,
		.limits = &k->hand.limits };

	for (int i = 0; i < k->n; i++) {
		if (k->lane[i].queue != NULL)
			opts.name[opts.n++] = k->lane[i].def->name;
	}
	return opts.n == 0 ? RC_OK
			   : heartbeat_new(&opts, &k->hand.heartbeat, e);
}

/* Nobody needs to be woken who waits at his queue. */
static bool
wants_waking(const struct worker *k)
{
	for (int i = 0; i < k->n; i++) {
		const struct lane *l = &k->lane[i];

		if (l->def->woken || (l->queue != NULL && l->long_poll_ms == 0))
			return true;
	}
	return false;
}

static enum rc
worker_listen(struct worker *k, struct err *e)
{
	static const char *const channels[] = { "queue:wake", NULL };
	const struct redis_sub_events events = { .message = on_message,
		.restarted = on_restarted,
		.lost = on_lost,
		.arg = k };

	if (!wants_waking(k))
		return RC_OK;
	return redis_sub_new(conf_str(k->hand.conf, "redis", "url"), channels,
	    &events, &k->sub, e);
}

/* All that works beside us. */
static enum rc
work_start(struct worker *k, const struct worker_list *list, struct err *e)
{
	enum rc rc = worker_listen(k, e);

	if (rc == RC_OK)
		rc = start_heartbeat(k, e);
	for (int i = 0; i < k->n && rc == RC_OK; i++) {
		struct lane_opts opts = opts_of(k, list, i);

		rc = lane_start(&k->lane[i], &opts, e);
	}
	return rc;
}

static void
events_open(struct worker *k)
{
	k->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	k->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->wake_fd < 0 || k->stop_fd < 0)
		die(EXIT_AGAIN, "eventfd failed");
}

static void
worker_end(struct worker *k)
{
	(void)!eventfd_write(k->stop_fd, 1);
	for (int i = 0; i < k->n; i++)
		lane_drain(&k->lane[i]);
	hand_tell_counts(&k->hand, true);
	heartbeat_free(k->hand.heartbeat);
	log_info("ended", LOG_I("tasks", k->hand.n_tasks));
	redis_sub_free(k->sub);
	work_close(k);
	close(k->wake_fd);
	close(k->stop_fd);
	conf_free(k->hand.conf);
	free(k);
}

int
worker_run(const struct worker_list *list, const char *conf_path)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP };
	struct worker *k = xcalloc(1, sizeof *k);
	struct hand *h = &k->hand;
	struct err e = ERR_INIT;
	char ident[40];
	enum rc rc;

	if (list->n == 1)
		(void)snprintf(
		    ident, sizeof ident, "souk-worker:%s", list->def[0]->name);
	else
		(void)snprintf(ident, sizeof ident, "souk-worker:%s+%d",
		    list->def[0]->name, list->n - 1);
	log_init(ident);
	rc = settings_load(conf_path, &h->conf, NULL, &e);
	if (rc == RC_OK)
		rc = limits_load(h->conf, &h->limits, &e);
	if (rc != RC_OK)
		die(EXIT_PERSON, "%s", e.msg);
	settings_log(h->conf);
	sig_ignore_pipe();
	/* Before any thread: they inherit what is blocked. */
	h->sig = sig_open((int)(sizeof signals / sizeof *signals), signals);
	if (h->sig < 0)
		die(EXIT_AGAIN, "signalfd failed");
	events_open(k);
	k->max_tasks = conf_int(h->conf, "workers", "max_tasks");
	k->max_memory = conf_int(h->conf, "workers", "max_memory");
	k->grown_up_ms = deadline_in(YOUNG_MS);
	rc = work_open(k, list, &e);
	if (rc == RC_OK)
		rc = work_start(k, list, &e);
	if (rc != RC_OK)
		die(rc == RC_RETRY ? EXIT_AGAIN : EXIT_PERSON, "%s", e.msg);
	log_info("started");
	while (!hand_is_told_to_end(h) && !is_over(k))
		worker_turn(k);
	worker_end(k);
	return 0;
}

enum rc
worker_check(const char *conf_path, struct err *e)
{
	struct conf *conf;
	struct limits limits;
	enum rc rc = settings_load(conf_path, &conf, NULL, e);

	if (rc != RC_OK)
		return rc;
	rc = crews_check(conf, e);
	if (rc == RC_OK)
		rc = limits_load(conf, &limits, e);
	for (const struct worker_def *d = worker_defs;
	     d->name != NULL && rc == RC_OK; d++) {
		struct worker *k;

		if (d->wanted != NULL && !d->wanted(conf))
			continue;
		k = xcalloc(1, sizeof *k);
		k->hand.conf = conf;
		rc = work_open(
		    k, &(struct worker_list){ .n = 1, .def = { d } }, e);
		if (rc == RC_RETRY)
			rc = RC_OK; /* nobody can say now */
		work_close(k);
		free(k);
	}
	conf_free(conf);
	return rc;
}
