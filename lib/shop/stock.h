/*
 * stock - what can be bought now, told to the world: the figure of a product
 * (DESIGN 4.3), its channel, and the effects of decrease_stock and
 * release_stock.
 *
 * The figure: for variants in an open sale the sale's remaining units (the
 * counter's), for the others the variant's stock; summed. "version" is Redis
 * TIME in microseconds when it was told or read: it grows with every change,
 * whoever makes it.
 */
#ifndef SHOP_STOCK_H
#define SHOP_STOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;
struct shop;
struct task;

/* {"productId","stock","saleId"|null,"variants":[{"variantId","stock"}],
 * "version"}. RC_NONE: no such product. *storable: see cache_entry. */
enum rc stock_figure(struct shop *shop, int64_t product_id,
    struct arena *arena, struct span *json, bool *storable, struct err *e);

/* Publish product:<id>:update for each, as it is in the primary and the
 * counters now. After the commit; best effort, the housekeeper repeats it. */
enum rc stock_publish(struct shop *shop, int n, const int64_t product_ids[],
    struct arena *arena, struct err *e);

/*
 * Task decrease_stock {"orderId"}: all lines or none, in the order of the
 * variants' ids. Enough: the order is reserved and its process_payment becomes
 * due; not enough: cancelled, "out_of_stock". An order that is not pending any
 * more: nothing. The caches of these products alone are invalidated.
 */
enum rc stock_decrease(struct shop *shop, const struct task *task,
    struct arena *arena, struct err *e);

/*
 * Task release_stock {"orderId"} (a cart order: its lines' stock comes back) or
 * {"orderId","saleId","variantId","unit","slot","buyer"} (a unit goes back to
 * its sale's counter; RC_RETRY while that is not armed, nothing where the sale
 * item is closed: the close has seen it).
 */
enum rc stock_release(struct shop *shop, const struct task *task,
    struct arena *arena, struct err *e);

/* What runs per task and figure. Ends with NULL. */
extern const struct pg_stmt *const stock_statements[];

#endif
