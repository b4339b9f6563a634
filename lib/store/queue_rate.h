/*
 * queue_rate - how much goes through a queue, whichever service carries it:
 * workers count by the minute, and add what they have counted to a table now
 * and then.
 */
#ifndef STORE_QUEUE_RATE_H
#define STORE_QUEUE_RATE_H

#include <stdint.h>

#include "base/err.h"

struct arena;
struct pg;

struct queue_count {
	const char *queue;
	int64_t minute; /* since 1970 */
	int64_t came;   /* of those that are done: written in that minute */
	int64_t done, failed; /* in that minute; failed: each try */
};
enum rc queue_rate_add(struct pg *pg, const struct queue_count *count,
    struct arena *arena, struct err *e);

/* Tasks in the five full minutes before this one. What workers have counted
 * less than ten seconds ago may be missing. */
enum { QUEUE_RATE_MINUTES = 5 };
struct queue_rate {
	int64_t in, out, failed;
};
enum rc queue_rate_read(struct pg *pg, const char *queue, struct arena *arena,
    struct queue_rate *out, struct err *e);

/* Housekeeping: what is older than a day goes. */
enum rc queue_rate_purge(struct pg *pg, struct arena *arena, struct err *e);

#endif
