/*
 * order_int - what the files about orders share.
 */
#ifndef SHOP_ORDER_INT_H
#define SHOP_ORDER_INT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "shop/order.h"
#include "store/pg.h"

struct arena;
struct shop;

/* When SQL tells a time: RFC 3339, whole seconds, UTC. */
#define ORDER_UTC(column)                                                      \
	"to_char((" column ") AT TIME ZONE 'UTC',"                             \
	" 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

/* An order's JSON with its members in the one order they are shown in; what
 * the record does not have is null. */
struct span order_dump(const json_t *order, struct arena *arena);

/* ---- the lines of a request, before the database is asked */

struct order_line {
	int64_t product_id, variant_id, quantity, price, stock;
	const char *title, *variant_title;
};

/*
 * Lines of one variant become one, in the order they first came; every
 * variant_id is known by now. *n is the new number. RC_INVALID
 * "invalid_field": more than 1,000 of one.
 */
enum rc order_lines_sum(struct order_line lines[], int *n, struct err *e);

#endif
