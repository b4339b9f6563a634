/*
 * event - analytics events: POST /api/events and what orders tell.
 */
#ifndef SHOP_EVENT_H
#define SHOP_EVENT_H

#include <stdint.h>

#include "base/err.h"
#include "store/queue.h"

struct arena;
struct json_t;
struct pg_stmt;
struct shop;

enum { EVENT_NAME_CHARS = 100, EVENT_DATA_BYTES = 8192 };

/*
 * {"name","data"?}: name of a-z, 0-9 and _, data an object; checked and written
 * to the outbox (track_event), one statement. Whoever it is about comes from
 * the session: customer_id, 0 for nobody. RC_INVALID "invalid_field".
 */
enum rc event_accept(struct shop *shop, const struct json_t *body,
    int64_t customer_id, struct arena *arena, struct err *e);

/*
 * Tasks track_event and order_placed, a batch in one transaction, in which the
 * tasks' ids are recorded. Where the whole is RC_OK, rcs[i] is what became of
 * tasks[i]: RC_OK, stored; RC_NONE, it was before, or its order is not there;
 * RC_INVALID, it is no such task, and the others are stored all the same.
 */
enum rc event_store(struct shop *shop, int n, const struct task tasks[],
    enum rc rcs[], struct arena *arena, struct err *e);

/* For soukctl debug statements. */
extern const struct pg_stmt *const event_statements[];

#endif
