/*
 * task_slot - how many tasks of a type are worked on at a time, over all
 * processes of all hosts: who works on one holds one of the type's slots, by a
 * lease in PostgreSQL.
 */
#ifndef STORE_TASK_SLOT_H
#define STORE_TASK_SLOT_H

#include <stdint.h>

#include "base/err.h"

struct arena;
struct pg;

/* One of slots 1..limit until lease_ms from now. holder: a random name of the
 * caller's, which holds one at a time. RC_NONE: all are taken. */
enum rc slot_take(struct pg *pg, const char *type, int limit,
    const char *holder, int64_t lease_ms, struct arena *arena, struct err *e);

/* RC_NONE: it was lost; somebody else may have it. */
enum rc slot_extend(struct pg *pg, const char *holder, int64_t lease_ms,
    struct arena *arena, struct err *e);

/* RC_OK also where it was lost. */
enum rc slot_give(
    struct pg *pg, const char *holder, struct arena *arena, struct err *e);

#endif
