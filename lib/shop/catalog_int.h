/*
 * catalog_int - what the files of the catalogue share.
 */
#ifndef SHOP_CATALOG_INT_H
#define SHOP_CATALOG_INT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "store/pg.h"

struct arena;
struct invalidation;
struct shop;

/* The product's JSON whatever its status, in the arena. RC_NONE. */
enum rc catalog_read(struct shop *shop, int64_t id, enum pg_node node,
    struct arena *arena, struct span *json, bool *active, int64_t *version,
    struct err *e);

/*
 * What a product shows has changed otherwise than by an update of itself,
 * within a transaction: its version rises, and what is to be forgotten is
 * written. lists: also what shows many products. To be carried out after the
 * commit (store/invalidation.h); *inv is in the arena. RC_NONE.
 */
enum rc catalog_touch(struct shop *shop, int64_t id, bool lists,
    struct arena *arena, struct invalidation *inv, int64_t *inv_id,
    struct err *e);

/* Compact JSON with a NUL behind it, in the arena; takes tree. */
struct span catalog_dump(json_t *tree, struct arena *arena);

#endif
