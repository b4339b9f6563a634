/*
 * turn - what runs by the clock on one host of many: whoever moves the row's
 * time on has the turn. Nothing is locked while the work is done (a lock held
 * for long is lost with a connection, and a pooler keeps none), so two may
 * still work at the same time where the work takes longer than its period; it
 * must be safe to be done twice. It is a saving, no promise.
 */
#ifndef STORE_TURN_H
#define STORE_TURN_H

#include <stdint.h>

#include "base/err.h"

struct arena;
struct pg;

/* RC_OK: ours, the next one is in every_ms; RC_NONE: not yet, or another's. */
enum rc turn_take(struct pg *pg, const char *name, int64_t every_ms,
    struct arena *arena, struct err *e);

#endif
