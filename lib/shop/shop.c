#include "shop/shop.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/gate.h"
#include "base/xmalloc.h"
#include "shop/image.h"
#include "shop/purchase.h"
#include "shop/session.h"
#include "shop/throttle.h"
#include "store/edge.h"
#include "store/pg.h"
#include "store/redis.h"

/* What a kind lives, from [cache]. Pages live as long as their record: each is
 * dropped with it. */
static void
kinds_init(struct shop *shop)
{
	static const struct {
		enum shop_kind kind;
		const char *name, *ttl, *group;
	} rows[] = {
		{ SK_PRODUCT, "product", "product_ttl", NULL },
		{ SK_SALE, "sale", "sale_ttl", NULL },
		{ SK_PRODUCT_PAGE, "product_page", "product_ttl", NULL },
		{ SK_SALE_PAGE, "sale_page", "sale_ttl", NULL },
		{ SK_LIST_PAGE, "list_page", "list_ttl", GEN_CATALOG },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		shop->kind[rows[i].kind] = (struct cache_kind){
			.name = rows[i].name,
			.fresh_s =
			    (int)conf_int(shop->conf, "cache", rows[i].ttl),
			.stale_s = (int)conf_int(shop->conf, "cache", "stale"),
			.negative_s =
			    (int)conf_int(shop->conf, "cache", "negative_ttl"),
			.group = rows[i].group,
			.local = true,
		};
	}
	/* Never served stale. "No such session" is kept for a moment only: it
	 * saves the database from a client that repeats itself, and one that
	 * makes tokens up leaves nothing behind for long. */
	shop->kind[SK_SESSION] = (struct cache_kind){ .name = "session",
		.fresh_s = 3600,
		.negative_s = 5,
		.local = true };
}

/* The counters' own Redis, or the one there is. */
static enum rc
sale_redis_open(struct shop *shop, struct doing *doing, struct err *e)
{
	const struct conf *conf = shop->conf;
	const char *url = conf_str(conf, "redis.sale", "url");
	enum rc rc;

	shop->sale_redis = shop->redis;
	if (*url == '\0')
		return RC_OK;
	rc = redis_new(
	    &(struct redis_opts){
		.url = url,
		.connect_ms = (int)conf_int(conf, "redis", "connect"),
		.command_ms = (int)conf_int(conf, "redis", "command"),
		.doing = doing,
	    },
	    &shop->sale_redis, e);
	if (rc != RC_OK)
		err_prefix(e, "%s: [redis.sale] url: ",
		    conf_source(conf, "redis.sale", "url"));
	return rc;
}

static enum rc
check_currency(const char *s, struct err *e)
{
	if (strlen(s) == 3 && strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3)
		return RC_OK;
	return err_set(e, RC_INVALID, "bad_configuration",
	    "[shop] currency: \"%s\" is not an ISO 4217 code such as USD", s);
}

enum rc
shop_open(const struct conf *conf, const char *name, struct doing *doing,
    struct shop **out, struct err *e)
{
	struct shop *shop = xcalloc(1, sizeof *shop);
	enum rc rc;

	/* Its NULL for no memory would have to be looked for at every call, and
	 * some of them are silent: json_object_set_new() of a NULL leaves the
	 * member out. What it allocated before is free()d all the same. */
	json_set_alloc_funcs(xmalloc, free);
	shop->conf = conf;
	shop->currency = conf_str(conf, "shop", "currency");
	if ((rc = check_currency(shop->currency, e)) != RC_OK)
		goto fail;
	rc = redis_new(
	    &(struct redis_opts){
		.url = conf_str(conf, "redis", "url"),
		.connect_ms = (int)conf_int(conf, "redis", "connect"),
		.command_ms = (int)conf_int(conf, "redis", "command"),
		.doing = doing,
	    },
	    &shop->redis, e);
	if (rc != RC_OK) {
		err_prefix(e, "%s: [redis] url: ",
		    conf_source(conf, "redis", "url"));
		goto fail;
	}
	if ((rc = sale_redis_open(shop, doing, e)) != RC_OK)
		goto fail;
	shop->pg = pg_new(&(struct pg_opts){
	    .url = conf_str(conf, "postgres", "url"),
	    .replica_url = conf_str(conf, "postgres", "replica_url"),
	    .connect_ms = (int)conf_int(conf, "postgres", "connect"),
	    .query_ms = (int)conf_int(conf, "postgres", "query"),
	    .pooler = strcmp(conf_str(conf, "postgres", "pooler"),
			  "transaction") == 0,
	    /* A plan lives as long as its connection. One that was made when
	     * `orders` was known to have two rows would read the thousands of
	     * a rush, at each purchase, until autovacuum looks again. */
	    .by_index = true,
	    .app_name = name,
	    .doing = doing,
	});
	shop->cache = cache_new(&(struct cache_opts){
	    .redis = shop->redis,
	    .pg = shop->pg,
	    .local_bytes = (size_t)conf_int(conf, "cache", "local_size"),
	    .local_s = (int)conf_int(conf, "cache", "local_ttl"),
	    .lease_ms = (int)conf_int(conf, "cache", "lease"),
	    .wait_ms = (int)conf_int(conf, "cache", "wait"),
	    .marker_s = (int)conf_int(conf, "cache", "marker"),
	    .enabled = conf_bool(conf, "cache", "enabled"),
	});
	shop->edge = edge_new(conf_str(conf, "edge", "nginx_cache"));
	shop->sessions = sessions_new(conf);
	shop->throttle = throttle_new();
	kinds_init(shop);
	*out = shop;
	return RC_OK;
fail:
	shop_close(shop);
	return rc;
}

void
shop_close(struct shop *shop)
{
	if (shop == NULL)
		return;
	gate_free(shop->hashing);
	image_stores_free(shop->images);
	throttle_free(shop->throttle);
	sessions_free(shop->sessions);
	sold_out_free(shop->sold_out);
	edge_free(shop->edge);
	cache_free(shop->cache);
	pg_free(shop->pg);
	if (shop->sale_redis != shop->redis)
		redis_free(shop->sale_redis);
	redis_free(shop->redis);
	free(shop);
}
