/*
 * sale - flash sales as they are planned and shown: which variants, how many,
 * at what price, from when to when. Opening one and buying in it come on top.
 *
 * A sale as JSON, the same bytes for pages, API and cache (what the clock makes
 * of it - upcoming, running, ended - whoever shows it computes):
 *
 * {"id":3,"title":"...","startsAt":"...","endsAt":"...","currency":"USD",
 *  "items":[{"productId":42,"variantId":7,"handle":"","title":"",
 *     "variantTitle":"S","image":{"url","alt","width","height"}|null,
 *     "price":3000,"regularPrice":5000,"allotment":100,"limit":1,
 *     "stock":100,"state":"draft"|"open"|"closed"}],
 *  "version":1}
 *
 * stock is what is left: the allotment until the item is opened, 0 when it is
 * closed.
 */
#ifndef SHOP_SALE_H
#define SHOP_SALE_H

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;
struct cache_entry;
struct shop;

enum { SALE_MAX_ALLOTMENT = 10000000, SALE_MAX_LIMIT = 1000 };

/* ---- the rules; no database */

struct sale_window {
	int64_t starts_ms, ends_ms; /* wall clock */
};

/*
 * Times as a person writes them (time_parse: RFC 3339, "now", "+1h"), NULL for
 * the default: starts now, ends one hour after its start. RC_INVALID
 * "invalid_time" or "invalid_window" (it must end after it starts).
 */
enum rc sale_window(const char *start, const char *end, int64_t now_ms,
    struct sale_window *out, struct err *e);

struct sale_variant {
	int64_t id;
	const char *title; /* "S / blue"; "" where it has no options */
	int64_t price, stock;
};

/*
 * Which variant is meant. wanted 0: not said, which is allowed where there is
 * one only; RC_INVALID "variant_required" names the others. "invalid_variant":
 * not one of these; "no_variants".
 */
enum rc sale_variant_pick(const struct sale_variant list[], int n,
    int64_t wanted, const struct sale_variant **out, struct err *e);

struct sale_item_req {
	int64_t product_id;
	int64_t variant_id; /* 0: the product's only one */
	int64_t allotment;
	int64_t limit; /* units a buyer may have; 0: 1 */
	int64_t price; /* minor units; -1: the variant's own */
};

/* RC_INVALID "invalid_item": a number is out of bounds. */
enum rc sale_item_check(const struct sale_item_req *req, struct err *e);

/* The state of a sale by those of its items: "open" if one is, else "closed" if
 * one is, else "draft". */
const char *sale_state(int draft, int open, int closed);

/* ---- writing; each is one transaction and drops what is cached */

struct sale_req {
	const char *title;       /* NULL: the product's */
	const char *start, *end; /* see sale_window() */
	struct sale_item_req item;
};

struct sale_made {
	int64_t sale_id;
	int64_t stock; /* of the variant, for a warning: opening the item
			  will take its allotment out of it */
	int64_t variant_id;
};

/* RC_NONE "product_not_found"; RC_REFUSED "product_not_active"; RC_INVALID. */
enum rc sale_create(struct shop *shop, const struct sale_req *req,
    struct arena *arena, struct sale_made *out, struct err *e);

/* Also RC_NONE "sale_not_found"; RC_REFUSED "sale_ended", "variant_in_sale". */
enum rc sale_add(struct shop *shop, int64_t sale_id,
    const struct sale_item_req *req, struct arena *arena, struct sale_made *out,
    struct err *e);

/* ---- reading */

/* The record above, through the cache: key sale:<id>. RC_NONE. */
enum rc sale_get(struct shop *shop, int64_t id, struct arena *arena,
    struct cache_entry *out, struct err *e);

/*
 * For the operator, from the primary: DESIGN 4.6,
 * {"saleId","state","items":[{"productId","variantId","allotment","left",
 * "held","sold","epoch","armed"}]}. RC_NONE.
 */
enum rc sale_status(struct shop *shop, int64_t id, struct arena *arena,
    struct span *json, struct err *e);

/* [{"saleId","state","title","startsAt","endsAt","items"}], newest first, at
 * most 1,000. */
enum rc sale_list(
    struct shop *shop, struct arena *arena, struct span *json, struct err *e);

/* What runs per request. Ends with NULL. */
extern const struct pg_stmt *const sale_statements[];

#endif
