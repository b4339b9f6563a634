/*
 * sale_run - a sale while it runs (DESIGN 5.1): opening, arming, reconciling,
 * closing, checking, mending.
 */
#ifndef SHOP_SALE_RUN_H
#define SHOP_SALE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "shop/counter.h"

struct arena;
struct shop;

/* Every draft item: the allotment out of the variant's stock, once, all or
 * none, and armed. RC_REFUSED "not_enough_stock", "variant_in_open_sale",
 * "sale_ended", "already_open"; RC_NONE. */
enum rc sale_open(
    struct shop *shop, int64_t sale_id, struct arena *arena, struct err *e);

/* Final: every unsold unit back to its variant's stock. Again: RC_OK. */
enum rc sale_close(
    struct shop *shop, int64_t sale_id, struct arena *arena, struct err *e);

/* Arm one item's counter. RC_RETRY "sale_arming": somebody else does, or did
 * within the last second. At most every 100 ms in a process. */
enum rc sale_arm(struct shop *shop, struct counter_ref ref,
    struct arena *arena, struct err *e);

/* Housekeeping, every second, whether or not anyone buys: every open item once;
 * closes those whose end has passed. */
struct reconciler; /* what was seen at the last look; one per process */
struct reconciler *reconciler_new(struct shop *shop);
void reconciler_free(struct reconciler *rec); /* NULL is allowed */
enum rc reconciler_turn(
    struct reconciler *rec, struct arena *arena, struct err *e);

/*
 * Compare orders, holds, counter, per-buyer counts, unit rows and outbox, online
 * and without stopping sales: what differs in two looks further apart than a
 * purchase may live. Calls line() with words for each. *n: how many. sale_id 0:
 * all open ones. repair: mends what it can and says so.
 */
enum rc sale_check(struct shop *shop, int64_t sale_id, bool repair,
    void (*line)(void *arg, const char *words), void *arg, int *n,
    struct arena *arena, struct err *e);

/* What runs every second, and to open and close: for the test that looks at
 * their plans. End with NULL. */
struct pg_stmt;
extern const struct pg_stmt *const reconcile_statements[];
extern const struct pg_stmt *const sale_compare_statements[];
extern const struct pg_stmt *const sale_open_statements[];

#endif
