/*
 * event - analytics events: POST /api/events and what orders tell.
 */
#ifndef SHOP_EVENT_H
#define SHOP_EVENT_H

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "store/queue.h"

struct arena;
struct shop;

/* {"name","data"?}: checked and written to the outbox (track_event). Whoever
 * it is about comes from the session. RC_INVALID. */
enum rc event_accept(struct shop *shop, struct span body, int64_t customer_id,
    struct arena *arena, struct err *e);

/*
 * Tasks track_event and order_placed, a batch in one transaction: rc[i] is
 * what became of tasks[i] where the whole is RC_OK.
 */
enum rc event_store(struct shop *shop, int n, const struct task tasks[],
    enum rc rcs[], struct arena *arena, struct err *e);

#endif
