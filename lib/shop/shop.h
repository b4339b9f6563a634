/*
 * shop - what one process holds of the shop: its stores and settings.
 * Made after fork(); connections are opened when first needed.
 */
#ifndef SHOP_SHOP_H
#define SHOP_SHOP_H

#include <stdint.h>

#include "base/err.h"
#include "store/cache.h"
#include "store/outbox.h"

struct conf;
struct doing;
struct edge;
struct gate;
struct image_stores;
struct pg;
struct redis;
struct sessions;
struct sold_out;
struct throttle;

/* The TTL table: what is cached, by kind of data. */
enum shop_kind {
	SK_PRODUCT,      /* product:<id> */
	SK_SALE,         /* sale:<id> */
	SK_PRODUCT_PAGE, /* page:/products/<id>, page:/api/products/<id> */
	SK_SALE_PAGE,    /* page:/flash-sale/<id> */
	SK_LIST_PAGE,    /* page:/, page:/products?..., sitemap: gen:catalog */
	SK_SESSION,      /* session:<hash> */
	SK_KINDS
};

/* The generation that every list of products is in. */
#define GEN_CATALOG "gen:catalog"

/* When a counter may be armed again by this process (sale_arm). */
enum { SHOP_PACES = 16 };
struct shop_pace {
	int64_t sale_id, variant_id, not_before; /* mono ms */
};

struct shop {
	const struct conf *conf; /* borrowed */
	struct pg *pg;
	struct redis *redis;
	struct redis *sale_redis; /* of the counters: [redis.sale], or redis */
	struct sold_out *sold_out; /* what is known to be; NULL: who asks does
				      not listen to sale:again */
	struct shop_pace arming[SHOP_PACES];
	struct outbox_waker waker; /* whoever has a turn calls outbox_wake() */
	struct cache *cache;
	struct edge *edge;
	struct sessions *sessions; /* session.h */
	struct throttle *throttle; /* throttle.h */
	struct gate *hashing;      /* of passwords: who serves bounds how many
				      processes do it at once; NULL: nobody does */
	struct image_stores *images; /* image.h; NULL until it is used */
	const char *currency;
	struct cache_kind kind[SK_KINDS];
};

/*
 * conf is borrowed for the life of the shop, doing too (NULL: nobody
 * watches). RC_INVALID: a setting cannot be used. name: for the database's
 * list of sessions.
 */
enum rc shop_open(const struct conf *conf, const char *name,
    struct doing *doing, struct shop **out, struct err *e);
void shop_close(struct shop *shop); /* NULL is allowed */

#endif
