#include "workers/fetch.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/xmalloc.h"
#include "shop/queues.h"
#include "store/aws_cred.h"
#include "store/pg.h"
#include "workers/heartbeat.h"

struct fetch {
	struct fetch_opts opts;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t asked;
	bool joined, end;
	enum fetch_state state;
	int max;
	/* the thread's own: */
	struct pg *pg;
	struct aws_cred *cred;
	struct queue *queue;
	/* in FETCH_CAME and after it the caller's: */
	struct arena *arena;
	struct task *tasks;
	int n, waited_ms;
	enum rc rc;
	struct err e;
};

static void *
fetch_thread(void *arg)
{
	struct fetch *f = arg;

	pthread_mutex_lock(&f->lock);
	while (!f->end) {
		int max = f->max;
		int64_t start;

		if (f->state != FETCH_WAITS) {
			pthread_cond_wait(&f->asked, &f->lock);
			continue;
		}
		pthread_mutex_unlock(&f->lock);
		arena_reset(f->arena);
		f->e = (struct err)ERR_INIT;
		f->n = 0;
		start = clock_mono_ms();
		f->rc = queue_receive(f->queue, max, f->opts.wait_ms, f->arena,
		    &f->tasks, &f->n, &f->e);
		f->waited_ms = (int)(clock_mono_ms() - start);
		if (f->rc == RC_OK && f->n > 0)
			heartbeat_hold(f->opts.heartbeat, f->n, f->tasks);
		pthread_mutex_lock(&f->lock);
		f->state = FETCH_CAME;
		(void)!eventfd_write(f->opts.wake_fd, 1);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

enum rc
fetch_new(const struct fetch_opts *opts, struct fetch **out, struct err *e)
{
	struct fetch *f = xcalloc(1, sizeof *f);
	enum rc rc;

	f->opts = *opts;
	f->arena = arena_new();
	f->pg = pg_new(&(struct pg_opts){
	    .url = conf_str(opts->conf, "postgres", "url"),
	    .connect_ms = (int)conf_int(opts->conf, "postgres", "connect"),
	    .query_ms = (int)conf_int(opts->conf, "postgres", "query"),
	    .pooler = strcmp(conf_str(opts->conf, "postgres", "pooler"),
			  "transaction") == 0,
	    .app_name = "souk-worker fetch",
	});
	f->cred = queues_cred_new(opts->conf, 0);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->asked, NULL);
	rc = queues_open(&(struct queues_opts){ .conf = opts->conf,
			     .pg = f->pg,
			     .cred = f->cred,
			     .stop_fd = opts->stop_fd },
	    opts->name, &f->queue, e);
	if (rc == RC_OK &&
	    pthread_create(&f->thread, NULL, fetch_thread, f) != 0)
		rc = err_set(e, RC_RETRY, "no_thread", "cannot make a thread");
	if (rc == RC_OK) {
		*out = f;
		return RC_OK;
	}
	f->joined = true; /* there is none */
	fetch_free(f);
	return rc;
}

void
fetch_join(struct fetch *f)
{
	if (f == NULL || f->joined)
		return;
	pthread_mutex_lock(&f->lock);
	f->end = true;
	pthread_cond_signal(&f->asked);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
	f->joined = true;
}

void
fetch_free(struct fetch *f)
{
	if (f == NULL)
		return;
	fetch_join(f);
	pthread_cond_destroy(&f->asked);
	pthread_mutex_destroy(&f->lock);
	queue_close(f->queue);
	aws_cred_free(f->cred);
	pg_free(f->pg);
	arena_free(f->arena);
	free(f);
}

void
fetch_ask(struct fetch *f, int max)
{
	pthread_mutex_lock(&f->lock);
	assert(f->state == FETCH_IDLE);
	f->state = FETCH_WAITS;
	f->max = max;
	pthread_cond_signal(&f->asked);
	pthread_mutex_unlock(&f->lock);
}

enum fetch_state
fetch_state(struct fetch *f)
{
	enum fetch_state state;

	pthread_mutex_lock(&f->lock);
	state = f->state;
	pthread_mutex_unlock(&f->lock);
	return state;
}

enum rc
fetch_take(
    struct fetch *f, struct task **out, int *n, int *waited_ms, struct err *e)
{
	pthread_mutex_lock(&f->lock);
	assert(f->state == FETCH_CAME);
	f->state = FETCH_IDLE;
	pthread_mutex_unlock(&f->lock);
	*out = f->tasks;
	*n = f->n;
	*waited_ms = f->waited_ms;
	if (f->rc != RC_OK)
		*e = f->e;
	return f->rc;
}
