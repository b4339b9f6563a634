/*
 * order_rate - so many orders of one customer, so many of guests and so many
 * new carts from one network ([order] per_customer, per_network): each order
 * holds stock back until it is paid or expires and sends a mail to whatever
 * address it names, each cart is a row. A flash sale has limits of its own.
 */
#ifndef SHOP_ORDER_RATE_H
#define SHOP_ORDER_RATE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"

struct arena;
struct order_req;
struct shop;

/*
 * order_place(), counted for the customer, or for the guest and his network
 * (address: REMOTE_ADDR). What became no order, or was one already, is not
 * counted. Further: RC_REFUSED "too_many_tries" (429), and *retry_after_s.
 */
enum rc order_place_counted(struct shop *shop, const struct order_req *req,
    const char *address, struct arena *arena, struct span *json, bool *again,
    int *retry_after_s, struct err *e);

/* Before a cart is made for a guest. RC_REFUSED likewise. */
enum rc cart_rate_take(struct shop *shop, const char *address,
    struct arena *arena, int *retry_after_s, struct err *e);

#endif
