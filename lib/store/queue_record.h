/*
 * queue_record - what the outbox remembers of a task that another queue
 * carries: its failures, its end. For the drivers of such queues. Each works by
 * the task's id, also for a task that never was in the outbox (somebody else's
 * software sent it).
 */
#ifndef STORE_QUEUE_RECORD_H
#define STORE_QUEUE_RECORD_H

#include <stdint.h>

#include "base/err.h"

struct arena;
struct pg;
struct task;

/* They are done: their rows go. */
enum rc record_done(struct pg *pg, int n, const struct task *const tasks[],
    struct arena *arena, struct err *e);

/* One failed and will come again: its history has why. */
enum rc record_failed(struct pg *pg, const struct task *task, const char *why,
    struct arena *arena, struct err *e);

/* One is dead: from the outbox, or as it was received, to the dead letters. */
enum rc record_bury(struct pg *pg, const struct task *task, const char *why,
    struct arena *arena, struct err *e);

/* Counts of the outbox and dead letters: unsent and dead of queue_stats. */
struct queue_stats;
enum rc record_stats(struct pg *pg, const char *name, struct arena *arena,
    struct queue_stats *out, struct err *e);

#endif
