/*
 * catalog - products: what a page or the API shows, and how one is changed.
 *
 * A product as JSON, the same bytes for API, pages and cache (prices are
 * integer minor units of "currency", times RFC 3339 UTC):
 *
 * {"id":42,"handle":"blue-shirt","title":"...","description":"<p>safe HTML</p>",
 *  "summary":"plain text, at most 300 characters","vendor":"","type":"",
 *  "tags":["men"],"status":"active","currency":"USD",
 *  "price":{"min":5000,"max":6000},"options":[{"name":"Size","values":["S"]}],
 *  "variants":[{"id":7,"sku":"A-S"|null,"title":"S","options":["S"],
 *     "price":5000,"compareAtPrice":6000|null,"stock":3,"available":true,
 *     "imageId":1|null}],
 *  "images":[{"id":1,"url":"https://..."|"/media/...","alt":"",
 *     "width":800|null,"height":800|null,"variants":[...]}],   (image.h)
 *  "rating":{"average":4.5|null,"count":2},
 *  "reviews":[{"id":1,"author":"","rating":5,"title":"","body":"",
 *     "createdAt":""}],                    newest 10
 *  "sales":[{"saleId":3,"variantId":7}],  items of sales that are open
 *  "stock":3,"available":true,"seo":{"title":"","description":""},
 *  "version":5,"createdAt":"","updatedAt":""}
 *
 * In a list an item is {"id","handle","title","vendor","currency","price",
 * "compareAtPrice"|null,"image":{"url","alt","width","height","variants"}|null,
 * "available","rating"}.
 */
#ifndef SHOP_CATALOG_H
#define SHOP_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "store/cache.h"

struct arena;
struct shop;

/* The product's JSON in *out (see cache_entry for how long it lives).
 * RC_NONE: no such product, or not for sale (draft, archived). */
enum rc catalog_get(struct shop *shop, int64_t id, struct arena *arena,
    struct cache_entry *out, struct err *e);

/* The "version" of a product's JSON, as text in the arena; "0" if it has none. */
const char *catalog_version(struct span product, struct arena *arena);

struct catalog_query {
	const char *q;     /* words; NULL or "": all products, newest first */
	const char *after; /* cursor of the page before; NULL: the first */
	int limit;         /* 1..100 */
};

/*
 * {"products":[item, ...],"next":"cursor"|null}. Uncached: pages and API keep
 * what they make of it. node as a cache_fetch is told. RC_INVALID
 * "invalid_cursor".
 */
enum rc catalog_list(struct shop *shop, const struct catalog_query *query,
    enum pg_node node, struct arena *arena, struct span *json,
    struct err *e);

/*
 * {"files":F,"products":[{"id","updatedAt"}, ...]}: the active products with
 * ids in ((n-1)*range, n*range], n from 1; F: how many such files there are, at
 * least 1. n 0 is 1 where F is 1, otherwise no products.
 */
enum rc catalog_sitemap(struct shop *shop, int n, int range,
    enum pg_node node, struct arena *arena, struct span *json,
    struct err *e);

/*
 * Partial update by a JSON object: members "title", "description" (sanitised),
 * "vendor", "type", "tags", "status", "seo", "variants":[{"id", "sku", "price",
 * "compareAtPrice", "stock"}]. Unknown members are ignored. if_version: only
 * if the product still has that version, -1: whatever it has. On RC_OK the
 * change is committed, the caches of this host are purged, the others told,
 * and *json is the product as it is now. RC_NONE; RC_INVALID "invalid_json"
 * (400) or "invalid_field" (422, msg names it); RC_REFUSED "version_conflict"
 * (412) or "sku_taken" (409).
 */
enum rc catalog_update(struct shop *shop, int64_t id, struct span body,
    int64_t if_version, struct arena *arena, struct span *json, int64_t *version,
    struct err *e);

/* Every statement that a request runs, ends with NULL: what tests explain. */
extern const struct pg_stmt *const catalog_statements[];
extern const struct pg_stmt *const catalog_update_statements[];

#endif
