/*
 * fetch - receives for one of several queues that a process serves, where a
 * receive waits at a service for long and each is paid for: a thread waits
 * there, so that all queues are waited for at once and each task is there at
 * once.
 *
 * It holds one batch at most, whose leases the heartbeat keeps until its turn
 * comes. A queue object, credentials and connection of its own: what was
 * received is settled with those of the process.
 */
#ifndef WORKERS_FETCH_H
#define WORKERS_FETCH_H

#include <stdbool.h>

#include "base/err.h"
#include "store/queue.h"

struct conf;
struct fetch;
struct heartbeat;

struct fetch_opts {
	const struct conf *conf;
	const char *name; /* the queue's */
	struct heartbeat *heartbeat;
	int wake_fd; /* an eventfd: written to when something has come */
	int stop_fd; /* readable: no more waiting */
	int wait_ms;
};

/* Starts the thread, which receives nothing before it is asked. All in opts is
 * borrowed for its life. Gives *out. */
enum rc fetch_new(
    const struct fetch_opts *opts, struct fetch **out, struct err *e);
/* Joins it: by then stop_fd must be readable. What it has received and nobody
 * has taken is given to the caller of fetch_take before. NULL is allowed. */
void fetch_join(struct fetch *f);
void fetch_free(struct fetch *f); /* joins it; NULL is allowed */

/* Receive at most max; what was taken before is no more. Not while one is under
 * way or has come. */
void fetch_ask(struct fetch *f, int max);

enum fetch_state { FETCH_IDLE, FETCH_WAITS, FETCH_CAME };
enum fetch_state fetch_state(struct fetch *f);

/* In FETCH_CAME: what the receive said, and how long it took; then it is idle.
 * The tasks live until it is asked again. */
enum rc fetch_take(
    struct fetch *f, struct task **out, int *n, int *waited_ms, struct err *e);

#endif
