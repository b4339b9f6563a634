/*
 * outbox - tasks that follow from a change, written in its transaction
 * (DESIGN 4.4, 5.2). Delivery is at least once; the effect of a task is exactly
 * once because its id is recorded in the transaction of its effect
 * (task_finish).
 *
 * A task's id is a hash of its type and of what it is about ("key"): written
 * twice it is one task.
 */
#ifndef STORE_OUTBOX_H
#define STORE_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct arena;
struct pg;
struct pg_stmt;
struct redis;

enum { TASK_ID_CHARS = 32 };

/* What a type is: its queue and priority. One table (outbox.c). */
struct task_type {
	const char *type;     /* "process_payment" */
	const char *queue;    /* "payment" */
	const char *priority; /* "high" */
};
const struct task_type *task_type(const char *type); /* NULL: no such type */

/* Every queue; ends with NULL. */
extern const char *const task_queues[];

/* 32 hex digits: SHA-256 of type, NUL, key; cut. */
void task_id(const char *type, const char *key, char id[TASK_ID_CHARS + 1]);

struct outbox_task {
	const char *type;
	const char *key;  /* "<order>" or "<order>:2"; with the type, its id */
	const char *data; /* JSON object */
	int64_t delay_ms; /* 0: at once; OUTBOX_HIDDEN: until outbox_show() */
};
#define OUTBOX_HIDDEN INT64_C(-1)

/* Inside the transaction of the cause; one statement for all. A task that is
 * there already, or was finished, or is dead, is left as it is. */
enum rc outbox_write(struct pg *pg, int n, const struct outbox_task tasks[],
    struct arena *arena, struct err *e);

/* Inside a transaction: a hidden task becomes due; or is not wanted any more.
 * RC_OK also where there is none, or none that is hidden. */
enum rc outbox_show(struct pg *pg, const char *type, const char *key,
    struct arena *arena, struct err *e);
enum rc outbox_drop(struct pg *pg, const char *type, const char *key,
    struct arena *arena, struct err *e);

/*
 * Inside the transaction of a task's effect, first of all: RC_OK, go on;
 * RC_NONE: its effect stands already, roll back and count it as done.
 */
enum rc task_finish(
    struct pg *pg, const char *id, struct arena *arena, struct err *e);

/*
 * Housekeeping: at most max records of finished tasks older than 14 days, which
 * is longer than any queue redelivers; *n: how many. One whose task is still in
 * the outbox or among the dead letters stays, however old: it may come again.
 */
enum rc finished_task_purge(struct pg *pg, int max, struct arena *arena,
    int64_t *n, struct err *e);

/*
 * Waking workers, coalesced: outbox_note() after a commit only sets a bit;
 * outbox_wake(), called from a process's idle turn, publishes at most once per
 * 50 ms on Redis's channel `queue:wake`, the names of the queues noted, parted
 * by spaces. Correctness rests on the workers' polling once a second.
 */
struct outbox_waker {
	unsigned noted;     /* a bit for each queue */
	int64_t not_before; /* mono ms */
};
void outbox_note(struct outbox_waker *waker, const char *queue);
void outbox_wake(
    struct outbox_waker *waker, struct redis *redis, struct arena *arena);

/* For the test that looks at their plans; ends with NULL. */
extern const struct pg_stmt *const outbox_statements[];

#endif
