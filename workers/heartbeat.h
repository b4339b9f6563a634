/*
 * heartbeat - keeps the leases of the tasks that a worker has in hand, by a
 * thread that does nothing else, on a connection of its own.
 *
 * All tasks of a batch that are not settled, also those that wait for their
 * turn, are extended when a third of the visibility is left, for at most
 * [workers] max_lease from the receive. A task that is still being worked on
 * when its lease has run out after that hangs: the process ends with 111, the
 * task comes again elsewhere, its effect fenced by its id.
 */
#ifndef WORKERS_HEARTBEAT_H
#define WORKERS_HEARTBEAT_H

#include <stdbool.h>

#include "base/err.h"
#include "store/queue.h"

struct conf;
struct heartbeat;

/* Starts the thread. conf and name are borrowed for its life. Gives *out. */
enum rc heartbeat_new(const struct conf *conf, const char *name,
    struct heartbeat **out, struct err *e);
void heartbeat_free(struct heartbeat *hb); /* joins it; NULL is allowed */

/* A batch of 1..QUEUE_BATCH; borrowed until each was let go. */
void heartbeat_hold(struct heartbeat *hb, int n, const struct task tasks[]);

/* About to work on it. RC_NONE: the lease is lost; let it go, leave it. */
enum rc heartbeat_start(
    struct heartbeat *hb, const struct task *task, struct err *e);

/* Before it is settled: when this returns nothing more is extended. */
void heartbeat_let_go(struct heartbeat *hb, const struct task *task);

#endif
