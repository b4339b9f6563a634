/*
 * ship - from the outbox to queues elsewhere (DESIGN 5.2). Many shippers may
 * work side by side: rows are claimed with SKIP LOCKED and a lease. Within an
 * aggregate the order of writing is kept: none is claimed while an older one of
 * it has not been sent. At least once: who dies between sending and noting it
 * sends again.
 *
 * A row that was sent stays, due again after resend_ms: it goes when its task
 * is done or dead (queue.h).
 */
#ifndef STORE_SHIP_H
#define STORE_SHIP_H

#include <stdint.h>

#include "base/err.h"

struct arena;
struct pg;
struct pg_stmt;
struct queue;

/* One batch of what is due for that queue: claim, send, note. *n: how many the
 * queue has now; 0: nothing was due. An error of the queue gives the rest of
 * the claim back, due at once; one that can never be sent goes to the dead
 * letters: *buried, why in e. */
enum rc ship_turn(struct pg *pg, struct queue *queue, const char *name,
    int64_t lease_ms, int64_t resend_ms, struct arena *arena, int *n,
    int *buried, struct err *e);

extern const struct pg_stmt *const ship_statements[];

#endif
