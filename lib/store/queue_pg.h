/*
 * queue_pg - what a person does with the embedded queue beyond queue.h: look at
 * tasks, try one again, send the dead letters back.
 */
#ifndef STORE_QUEUE_PG_H
#define STORE_QUEUE_PG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;
struct pg;
struct pg_stmt;

struct queue_peek {
	const char *id, *type;
	const char *state; /* "due", "in_flight", "delayed", "hidden", "sent"
			      (to a queue elsewhere), "dead" */
	int64_t receives;
	const char *created; /* RFC 3339 */
	const char *at;    /* due since or from, leased until, died; "hidden" */
	const char *error; /* the last one; of a dead one the first */
	struct span history; /* JSON: [{"at","error"}], the first one first */
	struct span data;    /* JSON */
};

/* At most max, the oldest due first; of the dead the newest first. */
enum rc queue_pg_peek(struct pg *pg, const char *name, bool dead, int max,
    struct arena *arena, struct queue_peek **out, int *n, struct err *e);

/* A dead task, or one that backs off, is due now. *name: its queue. RC_NONE
 * "no_such_task"; RC_REFUSED "in_flight", "hidden". What went wrong with it
 * stays in its history. */
enum rc queue_pg_retry(struct pg *pg, const char *id, struct arena *arena,
    const char **name, struct err *e);

struct queue_redrive {
	const char *name;
	const char *type;       /* NULL: all */
	const char *error;      /* part of any of its errors; NULL: all */
	const char *id;         /* that one; NULL: all */
	int64_t died_since_ms;  /* wall clock */
	int max;                /* in this call */
	int64_t died_before_ms; /* wall clock: those that die again meanwhile
				   are not taken once more */
};
/* Dead ones back to their queue, the oldest first. *moved: how many. */
enum rc queue_pg_redrive(struct pg *pg, const struct queue_redrive *what,
    struct arena *arena, int64_t *moved, struct err *e);

struct queue_redrive_group {
	const char *type, *error; /* the first one */
	int64_t n;
};
/* What a redrive would move, max or not; the most first. */
enum rc queue_pg_redrive_look(struct pg *pg, const struct queue_redrive *what,
    struct arena *arena, struct queue_redrive_group **out, int *n,
    struct err *e);

/* What the workers run all the time; for the test that looks at their plans.
 * Ends with NULL. */
extern const struct pg_stmt *const queue_statements[];

#endif
