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
struct shop;

/* The product's JSON whatever its status, in the arena. RC_NONE. */
enum rc catalog_read(struct shop *shop, int64_t id, enum pg_node node,
    struct arena *arena, struct span *json, bool *active, int64_t *version,
    struct err *e);

/* Compact JSON with a NUL behind it, in the arena; takes tree. */
struct span catalog_dump(json_t *tree, struct arena *arena);

#endif
