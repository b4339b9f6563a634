/*
 * cart - what somebody is about to buy, by customer or by a guest's token. In
 * PostgreSQL alone: an empty Redis loses no cart.
 *
 * A cart as JSON; titles, prices and stock are those of now:
 *
 * {"lines":[{"productId":42,"variantId":7,"handle":"","title":"",
 *    "variantTitle":"S","image":{"url","alt","width","height"}|null,
 *    "quantity":2,"price":5000,"priceWas":4500|null,"total":10000,
 *    "stock":1,"problem":null|"unavailable"|"sold_out"|"not_enough"}],
 *  "count":2,"subtotal":10000,"shipping":500,"tax":0,"total":10500,
 *  "currency":"USD","ready":true}
 *
 * priceWas: what it cost when it was put in, where that has changed. problem:
 * why this line cannot be ordered as it is. ready: there are lines and none has
 * a problem. count: pieces. Of an empty cart shipping and total are 0; a line
 * with the problem "unavailable" is not in the sums.
 */
#ifndef SHOP_CART_H
#define SHOP_CART_H

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "shop/ids.h"

struct arena;
struct shop;

enum { CART_MAX_LINES = 100, CART_MAX_QUANTITY = 1000 };

struct cart_who {
	int64_t customer_id; /* 0: a guest */
	const char *token;   /* of a guest: his cookie; "" none; not looked at
	                        where there is a customer */
	const char *address; /* REMOTE_ADDR: new carts of guests are counted
	                        by network; NULL: not counted */
};

/* Nobody's: an empty one. */
enum rc cart_get(struct shop *shop, const struct cart_who *who,
    struct arena *arena, struct span *json, struct err *e);

/*
 * Add pieces of a variant, at the price of now. variant_id 0: the product's
 * only one. A guest without a cart (no token, or one that is not known) gets a
 * new one: *token is its secret for the cookie; "" where nothing is to be set.
 * RC_NONE "product_not_found"; RC_INVALID "variant_required", "invalid_field"
 * (a quantity out of 1..1000); RC_REFUSED "cart_full", "too_many_tries" (429). More than 1,000 pieces
 * of one variant are 1,000.
 */
enum rc cart_add(struct shop *shop, const struct cart_who *who,
    int64_t product_id, int64_t variant_id, int64_t quantity,
    struct arena *arena, char token[SECRET_CHARS + 1], struct err *e);

/* 0 removes the line. RC_NONE "not_in_cart"; RC_INVALID. */
enum rc cart_set(struct shop *shop, const struct cart_who *who,
    int64_t variant_id, int64_t quantity, struct arena *arena, struct err *e);

/* At login: the guest's lines are added to the customer's, and his cart ends.
 * Quantities of one variant: the greater one stands. At most 100 lines: the
 * newest of the guest's are left out. RC_OK also where there is none. */
enum rc cart_merge(struct shop *shop, const char *token, int64_t customer_id,
    struct arena *arena, struct err *e);

/* After an order: what was ordered is taken out, other lines stay. */
enum rc cart_ordered(struct shop *shop, const struct cart_who *who,
    const char *order_id, struct arena *arena, struct err *e);

/* Housekeeping: guests' carts that nobody has touched for 30 days, at most max
 * of them. */
enum rc cart_purge(
    struct shop *shop, int max, struct arena *arena, struct err *e);

/* What runs per request. Ends with NULL. */
extern const struct pg_stmt *const cart_statements[];

#endif
