/*
 * heartbeat - keeps the leases of the tasks that a worker has in hand, by a
 * thread that does nothing else, on a connection of its own.
 *
 * All tasks that are not settled, also those that wait for their turn, are
 * extended when a third of the visibility is left, for at most [workers]
 * max_lease from the receive. A task that is still being worked on when its
 * lease has run out after that hangs: the process ends with 111, the task comes
 * again elsewhere, its effect fenced by its id.
 *
 * A task of a type with a timeout (limits.h) that is worked on for longer ends
 * the process too, but is returned before, or is dead, with that as its reason;
 * what waits behind it is given back uncounted. With RabbitMQ only the process
 * can settle what it holds: there its end does it, counted.
 */
#ifndef WORKERS_HEARTBEAT_H
#define WORKERS_HEARTBEAT_H

#include "base/err.h"
#include "store/queue.h"

struct conf;
struct heartbeat;
struct limits;

enum { HEARTBEAT_QUEUES = 16 };

struct heartbeat_opts {
	const struct conf *conf;
	const struct limits *limits;        /* all borrowed for its life */
	int n;                              /* 1..HEARTBEAT_QUEUES */
	const char *name[HEARTBEAT_QUEUES]; /* queues, as task->queue says */
};

/* Starts the thread. Gives *out. */
enum rc heartbeat_new(
    const struct heartbeat_opts *opts, struct heartbeat **out, struct err *e);
void heartbeat_free(struct heartbeat *hb); /* joins it; NULL is allowed */

/* A batch of 1..QUEUE_BATCH, no more than two of a queue at a time; borrowed
 * until each was let go. From any thread. */
void heartbeat_hold(struct heartbeat *hb, int n, const struct task tasks[]);

/* About to work on it. RC_NONE: the lease is lost; let it go, leave it. */
enum rc heartbeat_start(
    struct heartbeat *hb, const struct task *task, struct err *e);

/* It is done, but not deleted yet. */
void heartbeat_done(struct heartbeat *hb, const struct task *task);

/* Before it is settled: when this returns nothing more is extended. */
void heartbeat_let_go(struct heartbeat *hb, const struct task *task);

/* The slot (task_slot.h) of that holder is kept too, from now on; NULL: no
 * more. Borrowed. */
void heartbeat_slot(struct heartbeat *hb, const char *holder);

#endif
