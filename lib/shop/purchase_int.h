/*
 * purchase_int - what purchase.c, purchase_place.c and sold_out.c share.
 */
#ifndef SHOP_PURCHASE_INT_H
#define SHOP_PURCHASE_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "shop/counter.h"
#include "shop/purchase.h"
#include "store/pg.h"

extern const struct pg_stmt purchase_place;
extern const struct pg_stmt purchase_stands;
extern const struct pg_stmt purchase_why;
extern const struct pg_stmt purchase_variants;

/* NULL so is allowed: nothing is known, nothing is kept. */
bool sold_out_knows(const struct sold_out *so, struct counter_ref ref);
void sold_out_note(struct sold_out *so, struct counter_ref ref);

/* The variants of a product in a sale, kept for a moment. NULL: not known. */
enum { VARIANTS_MAX = 16 };
struct variants {
	int n;
	int64_t id[VARIANTS_MAX];
};
const struct variants *variants_known(
    const struct sold_out *so, int64_t sale_id, int64_t product_id);
void variants_note(struct sold_out *so, int64_t sale_id, int64_t product_id,
    const struct variants *variants);

#endif
