/* Which driver an address is for, and what all of them may rely on. */
#include "config.h" /* HAVE_RABBITMQ */

#include "store/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/queue_int.h"
#include "store/queue_pause.h"

static const struct queue_driver *const drivers[] = {
	&queue_pg_driver,
	&queue_sqs_driver,
#ifdef HAVE_RABBITMQ
	&queue_amqp_driver,
#endif
};

enum { WHY_MAX = 500 };

static const struct queue_driver *
driver_of(const char *url)
{
	for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
		if (strncmp(url, drivers[i]->scheme,
			strlen(drivers[i]->scheme)) == 0)
			return drivers[i];
	}
	return NULL;
}

/* Why there is none for it. The address may hold a password: it is not shown.
 */
static enum rc
no_driver(const struct queue_opts *opts, struct err *e)
{
#ifndef HAVE_RABBITMQ
	if (strncmp(opts->url, "amqp", strlen("amqp")) == 0)
		return err_set(e, RC_INVALID, "bad_queue_url",
		    "queue %s: built without RabbitMQ; configure "
		    "--with-rabbitmq",
		    opts->name);
#endif
	return err_set(e, RC_INVALID, "bad_queue_url",
	    "queue %s: no driver knows its address; write pg:, "
	    "https://sqs... or amqp://...",
	    opts->name);
}

bool
queue_is_remote(const char *url)
{
	const struct queue_driver *driver = driver_of(url);

	return driver != NULL && driver->send != NULL;
}

bool
queue_is_pushed(const char *url)
{
	const struct queue_driver *driver = driver_of(url);

	return driver != NULL && driver->pushed;
}

enum rc
queue_open(const struct queue_opts *opts, struct queue **out, struct err *e)
{
	const struct queue_driver *driver = driver_of(opts->url);
	struct queue *queue;
	enum rc rc = RC_OK;

	if (driver == NULL)
		return no_driver(opts, e);
	queue = xcalloc(1, sizeof *queue);
	queue->driver = driver;
	queue->opts = *opts;
	queue->opts.url = queue->url = xstrdup(opts->url);
	queue->opts.name = queue->name = xstrdup(opts->name);
	if (driver->open != NULL)
		rc = driver->open(queue, e);
	if (rc != RC_OK) {
		queue_close(queue);
		return rc;
	}
	*out = queue;
	return RC_OK;
}

void
queue_close(struct queue *queue)
{
	if (queue == NULL)
		return;
	if (queue->driver->close != NULL)
		queue->driver->close(queue);
	free(queue->url);
	free(queue->name);
	free(queue);
}

void
queue_ask(struct queue *queue, int max, int wait_ms)
{
	assert(max >= 1 && max <= QUEUE_BATCH);
	if (queue->driver->ask != NULL)
		queue->driver->ask(queue, max, wait_ms);
}

enum rc
queue_receive(struct queue *queue, int max, int wait_ms, struct arena *arena,
    struct task **out, int *n, struct err *e)
{
	assert(max >= 1 && max <= QUEUE_BATCH);
	return queue->driver->receive(queue, max, wait_ms, arena, out, n, e);
}

enum rc
queue_extend(struct queue *queue, int n, struct task *tasks[], bool lost[],
    struct arena *arena, struct err *e)
{
	return n == 0 ? RC_OK
		      : queue->driver->extend(queue, n, tasks, lost, arena, e);
}

enum rc
queue_done(struct queue *queue, int n, const struct task *const tasks[],
    bool lost[], struct arena *arena, struct err *e)
{
	assert(n >= 1 && n <= QUEUE_BATCH);
	return queue->driver->done(queue, n, tasks, lost, arena, e);
}

enum rc
queue_send(struct queue *queue, int n, const struct task tasks[], bool sent[],
    struct arena *arena, struct err *e)
{
	assert(n >= 1 && n <= QUEUE_BATCH && queue->driver->send != NULL);
	return queue->driver->send(queue, n, tasks, sent, arena, e);
}

/*
 * An error's text is cut at a length and may hold what a stranger sent: bytes
 * that no store takes must not keep a task from being settled.
 */
static const char *
why_clean(const char *why, struct arena *arena)
{
	size_t n = strnlen(why, WHY_MAX), at = 0;
	char *s = arena_strndup(arena, why, n);

	while (at < n) {
		size_t len = utf8_sequence(s + at, n - at);

		if (len == 0)
			s[at++] = '?';
		else
			at += len;
	}
	return s;
}

enum rc
queue_return(struct queue *queue, const struct task *task, int64_t delay_ms,
    const char *why, struct arena *arena, struct err *e)
{
	return queue->driver->give_back(queue, task, delay_ms,
	    why == NULL ? NULL : why_clean(why, arena), arena, e);
}

enum rc
queue_bury(struct queue *queue, const struct task *task, const char *why,
    struct arena *arena, struct err *e)
{
	return queue->driver->bury(
	    queue, task, why_clean(why, arena), arena, e);
}

enum rc
queue_make(
    struct queue *queue, struct arena *arena, const char **as, struct err *e)
{
	if (queue->driver->make == NULL)
		return err_set(e, RC_REFUSED, "not_made",
		    "queue %s is not made by its address", queue->name);
	return queue->driver->make(queue, arena, as, e);
}

enum rc
queue_stats(struct queue *queue, struct arena *arena, struct queue_stats *out,
    struct err *e)
{
	const char *const *paused;
	enum rc rc = queue->driver->stats(queue, arena, out, e);

	if (rc == RC_OK)
		rc = queue_paused(queue->opts.pg, arena, &paused, e);
	if (rc == RC_OK)
		out->paused = queue_is_among(paused, queue->name);
	return rc;
}
