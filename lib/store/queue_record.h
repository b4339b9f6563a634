/*
 * queue_record - what the outbox remembers of a task that another queue carries:
 * how often it was received, its failures, its end. For the drivers of such
 * queues. Each works by the task's id, also for a task that has no row: somebody
 * else's software sent it, or it was finished long ago.
 */
#ifndef STORE_QUEUE_RECORD_H
#define STORE_QUEUE_RECORD_H

#include <stdint.h>

#include "base/err.h"
#include "store/queue.h"

struct arena;
struct pg;
struct pg_stmt;

/*
 * n (1..QUEUE_BATCH) tasks came: counts it and sets each task's receives to how
 * often it came and was not given back unstarted, which a queue's own count does
 * not say. Those without a row keep what the driver filled in.
 */
enum rc record_received(struct pg *pg, int n, struct task tasks[],
    struct arena *arena, struct err *e);
/* One without a row, which other software sent: from here on it has one, as if
 * it had been sent from here; its receives are the task's. */
enum rc record_adopt(struct pg *pg, const struct task *task, int64_t resend_ms,
    struct arena *arena, struct err *e);
/* It was given back unstarted: that receive does not count. */
enum rc record_unstarted(struct pg *pg, const struct task *task,
    struct arena *arena, struct err *e);

/* They are done: their rows go. */
enum rc record_done(struct pg *pg, int n, const struct task *const tasks[],
    struct arena *arena, struct err *e);

/* One failed and will come again within alive_ms: its history has why. */
enum rc record_failed(struct pg *pg, const struct task *task, int64_t alive_ms,
    const char *why, struct arena *arena, struct err *e);

/* One is dead: from the outbox, or as it was received, to the dead letters. Its
 * data must be JSON. */
enum rc record_bury(struct pg *pg, const struct task *task, const char *why,
    struct arena *arena, struct err *e);

/* Of queue_stats what the outbox knows: unsent, dead, oldest_ms. */
enum rc record_stats(struct pg *pg, const char *name, struct arena *arena,
    struct queue_stats *out, struct err *e);

extern const struct pg_stmt *const record_statements[];

#endif
