/*
 * queue_pause - queues that nobody is to take tasks from for a while, whichever
 * service carries them: kept in PostgreSQL, so that it outlives whoever asked
 * for it. What is in hand is finished; what is sent to a queue still goes
 * there.
 */
#ifndef STORE_QUEUE_PAUSE_H
#define STORE_QUEUE_PAUSE_H

#include <stdbool.h>

#include "base/err.h"

struct arena;
struct pg;

/* RC_NONE: it is so already. */
enum rc queue_pause(
    struct pg *pg, const char *name, struct arena *arena, struct err *e);
enum rc queue_resume(
    struct pg *pg, const char *name, struct arena *arena, struct err *e);

/* The names of those that are paused, ended by NULL, in the arena. */
enum rc queue_paused(struct pg *pg, struct arena *arena,
    const char *const **names, struct err *e);
bool queue_is_among(const char *const *names, const char *name);

#endif
