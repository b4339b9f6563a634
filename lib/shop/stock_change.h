/*
 * stock_change - changing the stock of variants within a transaction, by
 * whatever causes it: the one order of locks, the products' versions, and what
 * is to be forgotten of these products alone.
 *
 *	pg_begin, ...
 *	stock_change_begin   locks the products, in the order of their ids
 *	UPDATE variant ...   the caller's
 *	stock_change_end     versions + 1, the invalidation's row
 *	pg_commit
 *	stock_change_done    carries it out, tells the new stock
 *
 * Products before variants, and each in the order of ids, is what every writer
 * of stock does (catalog_update() too): two of them cannot deadlock.
 */
#ifndef SHOP_STOCK_CHANGE_H
#define SHOP_STOCK_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/invalidation.h"

struct arena;
struct shop;

struct stock_change {
	int n;
	int64_t *products;       /* in the arena, ascending */
	bool *had;               /* any stock before? */
	struct invalidation inv;
	int64_t inv_id;
};

/* Within a transaction. ids: at most 1,000, in any order, also repeated; those
 * that are gone are left out. *out lives as long as the arena. */
enum rc stock_change_begin(struct shop *shop, int n, const int64_t ids[],
    struct arena *arena, struct stock_change *out, struct err *e);

/* Lists of products are forgotten only where a product's availability changed,
 * from none to some or back. */
enum rc stock_change_end(struct shop *shop, struct stock_change *ch,
    struct arena *arena, struct err *e);

/* After the commit. What fails here the housekeeper does. */
void stock_change_done(
    struct shop *shop, const struct stock_change *ch, struct arena *arena);

/* What runs with every order. Ends with NULL. */
extern const struct pg_stmt *const stock_change_statements[];

#endif
