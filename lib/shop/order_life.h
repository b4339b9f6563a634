/*
 * order_life - what may become of an order, as one table (DESIGN 5.5), and the
 * one function that moves it. Every transition is written with the tasks that
 * follow from it in one transaction, and drops what is cached of it.
 *
 *	pending -> reserved -> paid -> fulfilled
 *	pending|reserved -> cancelled;  paid|fulfilled -> refunded
 */
#ifndef SHOP_ORDER_LIFE_H
#define SHOP_ORDER_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct arena;
struct shop;
struct stock_change;

enum order_status {
	OS_PENDING, OS_RESERVED, OS_PAID, OS_FULFILLED, OS_CANCELLED,
	OS_REFUNDED
};
const char *order_status_name(enum order_status status);
bool order_status_parse(const char *name, enum order_status *out);

/* The table. */
bool order_may(enum order_status from, enum order_status to);

/* An order as it is locked. */
struct order_row {
	const char *id;
	enum order_status status;
	int64_t customer_id;  /* 0: a guest */
	int64_t sale_item_id; /* 0: not of a flash sale */
	int64_t total;
	const char *currency, *email, *reason;
	bool expired;         /* expires_at has passed */
};

/* SELECT ... FOR UPDATE within a transaction on the primary. RC_NONE. */
enum rc order_lock(struct shop *shop, const char *id, struct arena *arena,
    struct order_row *out, struct err *e);

/* What is to be done after the commit; filled by order_move(). */
struct order_after {
	bool give_back; /* a unit goes back to its sale's counter */
	int64_t sale_id, variant_id, product_id;
	int unit, slot;
	const char *order_id, *buyer;
	struct stock_change *stock; /* a closed sale's variant; NULL: none */
	int n_queues;               /* whose workers are to be woken */
	const char *queues[8];
};

/*
 * Within the transaction that locked it: the new state, the tasks that follow,
 * and for a flash-sale order that is cancelled (or refunded while paid) the end
 * of its unit row: the unit goes to the counter of an open item (task
 * release_stock, and `after`), or to the variant's stock where the item is
 * closed (DESIGN 5.1, Closing). A cart order that was reserved gets a
 * release_stock task, one that never was loses its hidden process_payment.
 * Where a payment was begun: a refund_payment task. *row is brought up to date.
 *
 * Locks, in this order: the order (by the caller), its sale's item FOR SHARE,
 * its product, its variant.
 *
 * RC_REFUSED "wrong_state": the table says no. reason: "declined", "expired",
 * "out_of_stock", "by_buyer", ...; at most 200 bytes.
 */
enum rc order_move(struct shop *shop, struct order_row *row,
    enum order_status to, const char *reason, struct arena *arena,
    struct order_after *after, struct err *e);

/* The key of process_payment: "<order>" for the first attempt, else
 * "<order>:<attempt>"; in the arena. */
const char *order_payment_key(
    const char *id, int attempt, struct arena *arena);

/* After the commit; what fails here a task or the housekeeper does. */
void order_moved(
    struct shop *shop, const struct order_after *after, struct arena *arena);

/* What runs per order. Ends with NULL. */
extern const struct pg_stmt *const order_life_statements[];

#endif
