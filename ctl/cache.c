/*
 * soukctl cache: fill it before a crowd comes, empty it, look how it does.
 */
#include "ctl/ctl.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/text.h"
#include "shop/catalog.h"
#include "shop/purge.h"
#include "shop/sale.h"
#include "shop/shop.h"
#include "store/cache.h"
#include "store/edge.h"
#include "store/pg.h"
#include "store/redis.h"

enum { WARM_LIMIT = 1000, WARM_RATE = 200 };
#define GOAL 0.8 /* below it the monitoring alerts */

/* ---- warm */

static const struct pg_stmt popular = { "warm_products",
	"SELECT id FROM product WHERE status = 'active'"
	" ORDER BY rating_count DESC, id DESC LIMIT $1::int8",
	1 };

static const struct pg_stmt soon = { "warm_sales",
	"SELECT id FROM sale WHERE ends_at > now()"
	" AND starts_at < now() + interval '1 day'"
	" ORDER BY starts_at, id LIMIT $1::int8",
	1 };

struct warming {
	struct shop *shop;
	struct arena *arena; /* of one record */
	int64_t rate;        /* records a second */
	int64_t start_ms;
	int64_t looked, filled, gone;
};

/* Not faster than asked for: the shop is open meanwhile. */
static void
pace(const struct warming *w)
{
	int64_t due = w->start_ms + w->looked * 1000 / w->rate;
	int64_t now = clock_mono_ms();

	if (due > now)
		clock_sleep_ms(due - now);
}

typedef enum rc record_get(struct shop *shop, int64_t id, struct arena *arena,
    struct cache_entry *out, struct err *e);

static enum rc
warm_all(struct warming *w, record_get *get, const struct pg_rows *ids,
    struct err *e)
{
	for (int i = 0; i < ids->n; i++) {
		struct cache_entry entry;
		enum rc rc;

		pace(w);
		arena_reset(w->arena);
		rc = get(w->shop, pg_int(ids, i, 0), w->arena, &entry, e);
		w->looked++;
		if (rc == RC_NONE)
			w->gone++; /* taken down since we asked */
		else if (rc != RC_OK)
			return rc;
		else if (entry.from == CF_DIRECT)
			return err_set(e, RC_RETRY, "redis_down",
			    "Redis does not answer: nothing can be kept");
		else
			w->filled += entry.from == CF_FILLED;
	}
	return RC_OK;
}

static enum rc
ids_of(struct shop *shop, const struct pg_stmt *st, int64_t limit,
    struct arena *arena, struct pg_rows *out, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_int(&args, limit);
	return pg_exec(shop->pg, PG_REPLICA, st, &args, arena, out, e);
}

static enum rc
warm_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct warming w = { .rate = WARM_RATE, .start_ms = clock_mono_ms() };
	struct pg_rows products, sales;
	int64_t limit = WARM_LIMIT;
	enum rc rc;

	if (!conf_bool(ctl->conf, "cache", "enabled"))
		return err_set(e, RC_REFUSED, "cache_off",
		    "[cache] enabled is no: nothing is kept");
	if ((rc = ctl_int(args, "limit", 1, 1000000, &limit, e)) != RC_OK ||
	    (rc = ctl_int(args, "rate", 1, 100000, &w.rate, e)) != RC_OK ||
	    (rc = ctl_shop(ctl, &w.shop, e)) != RC_OK ||
	    (rc = ids_of(w.shop, &soon, limit, ctl->arena, &sales, e)) !=
		RC_OK ||
	    (rc = ids_of(w.shop, &popular, limit, ctl->arena, &products, e)) !=
		RC_OK)
		return rc;
	w.arena = arena_new();
	rc = warm_all(&w, sale_get, &sales, e);
	if (rc == RC_OK)
		rc = warm_all(&w, catalog_get, &products, e);
	arena_free(w.arena);
	if (rc != RC_OK)
		return rc;
	if (ctl->json)
		ctl_print_json(
		    json_pack("{s:I, s:I}", "filled", (json_int_t)w.filled,
			"present", (json_int_t)(w.looked - w.filled - w.gone)));
	else
		(void)printf("%lld\n", (long long)w.filled);
	ctl_say(ctl, "%lld records filled, %lld were there",
	    (long long)w.filled, (long long)(w.looked - w.filled - w.gone));
	return RC_OK;
}

/* ---- purge */

struct purging {
	struct shop *shop;
	struct arena *arena; /* of one round */
	struct purge purge;
	int64_t n;
	bool partly; /* without PostgreSQL: see purge_run() */
	struct err why;
};

static enum rc
purge_flush(struct purging *p, struct err *e)
{
	enum rc rc = purge_run(p->shop, &p->purge, p->arena, e);

	if (rc == RC_RETRY && strcmp(e->code, "purge_partly") == 0) {
		p->partly = true;
		p->why = *e;
		return RC_OK;
	}
	return rc;
}

/* A record, or a page: what a scan found that is the cache's. Sessions, stock
 * and counters are not. */
static bool
is_cached(struct span key)
{
	return (span_starts(key, "product:") || span_starts(key, "sale:") ||
		   span_starts(key, "page:/")) &&
	       memchr(key.p, '{', key.n) == NULL;
}

static enum rc
purge_found(struct purging *p, const struct redis_reply *keys, struct err *e)
{
	for (size_t i = 0; i < keys->n; i++) {
		struct span key = keys->item[i].str;
		enum rc rc = RC_OK;

		if (!is_cached(key))
			continue;
		if (!purge_has_room(&p->purge))
			rc = purge_flush(p, e);
		if (rc == RC_OK)
			rc = purge_add(&p->purge,
			    arena_strndup(p->arena, key.p, key.n), p->arena, e);
		if (rc == RC_INVALID)
			continue; /* "product:9:update" and the like */
		if (rc != RC_OK)
			return rc;
		p->n++;
	}
	return RC_OK;
}

/* By SCAN, never KEYS: other clients are served in between. */
static enum rc
purge_matching(struct purging *p, const char *pattern, struct err *e)
{
	char cursor[32] = "0";

	do {
		struct redis_reply r;
		enum rc rc;

		arena_reset(p->arena);
		rc = redis_callv(p->shop->redis, NULL, p->arena, &r, e, "SCAN",
		    cursor, "MATCH", pattern, "COUNT", "1000", NULL);
		if (rc != RC_OK)
			return rc;
		if (r.type != RT_ARRAY || r.n != 2 ||
		    r.item[0].str.n >= sizeof cursor)
			return err_set(e, RC_FAIL, "redis_reply",
			    "Redis: SCAN answered something else");
		(void)snprintf(cursor, sizeof cursor, "%s", r.item[0].str.p);
		if ((rc = purge_found(p, &r.item[1], e)) != RC_OK ||
		    (rc = purge_flush(p, e)) != RC_OK)
			return rc;
	} while (strcmp(cursor, "0") != 0);
	return RC_OK;
}

static enum rc
purge_named(struct purging *p, int n, char *keys[], struct err *e)
{
	for (int i = 0; i < n; i++) {
		enum rc rc = RC_OK;

		if (!purge_has_room(&p->purge))
			rc = purge_flush(p, e);
		if (rc == RC_OK)
			rc = purge_add(&p->purge, keys[i], p->arena, e);
		if (rc != RC_OK)
			return rc;
		p->n++;
	}
	return purge_flush(p, e);
}

/* Lists at once by their generation, the rest by SCAN, and all of the edge
 * here: it may hold what Redis has forgotten. */
static enum rc
purge_every(struct purging *p, const char *pattern, struct err *e)
{
	char gen[] = GEN_CATALOG;
	enum rc rc;

	if ((rc = purge_named(p, 1, (char *[]){ gen }, e)) != RC_OK ||
	    (rc = purge_matching(p, pattern, e)) != RC_OK)
		return rc;
	p->n--; /* the generation is none of the keys */
	return edge_purge_all(p->shop->edge, e);
}

static enum rc
purge_cmd_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *pattern = ctl_value(args, "pattern");
	bool all = ctl_flag(args, "all"), pages = ctl_flag(args, "pages");
	struct purging p = { 0 };
	enum rc rc;

	if ((args->n > 0) + (pattern != NULL) + all + pages != 1)
		return ctl_usage(
		    e, "say one of: keys, --pattern GLOB, --pages, --all");
	if ((rc = ctl_shop(ctl, &p.shop, e)) != RC_OK)
		return rc;
	p.arena = arena_new();
	if (all)
		rc = purge_every(&p, "*", e);
	else if (pages)
		rc = purge_every(&p, "page:*", e);
	else if (pattern != NULL)
		rc = purge_matching(&p, pattern, e);
	else
		rc = purge_named(&p, args->n, args->operand, e);
	arena_free(p.arena);
	if (rc != RC_OK)
		return rc;
	if (ctl->json)
		ctl_print_json(json_pack("{s:I}", "purged", (json_int_t)p.n));
	else
		(void)printf("%lld\n", (long long)p.n);
	if (p.partly)
		return err_set(e, RC_RETRY, p.why.code, "%s", p.why.msg);
	return RC_OK;
}

/* ---- stats */

static int64_t
info_number(struct span info, const char *name)
{
	size_t n = strlen(name);
	int64_t value = 0;

	for (const char *p = info.p; p != NULL && *p != '\0';) {
		if (strncmp(p, name, n) == 0 && p[n] == ':') {
			p += n + 1;
			(void)text_int((struct span){ p, strcspn(p, "\r\n") },
			    0, INT64_MAX, &value);
			return value;
		}
		p = strchr(p, '\n');
		p = p == NULL ? NULL : p + 1;
	}
	return 0;
}

static enum rc
stats_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct redis_reply hit, miss, info, size;
	struct redis *redis;
	int64_t hits, misses;
	json_t *rate;
	enum rc rc;

	(void)args;
	if ((rc = ctl_redis(ctl, &redis, e)) != RC_OK ||
	    (rc = redis_callv(redis, "cache:hits", ctl->arena, &hit, e, "GET",
		 "cache:hits", NULL)) != RC_OK ||
	    (rc = redis_callv(redis, "cache:misses", ctl->arena, &miss, e,
		 "GET", "cache:misses", NULL)) != RC_OK ||
	    (rc = redis_callv(
		 redis, NULL, ctl->arena, &info, e, "INFO", NULL)) != RC_OK ||
	    (rc = redis_callv(
		 redis, NULL, ctl->arena, &size, e, "DBSIZE", NULL)) != RC_OK)
		return rc;
	hits = redis_num(&hit, 0);
	misses = redis_num(&miss, 0);
	rate = hits + misses == 0
		   ? json_null()
		   : json_real((double)hits / (double)(hits + misses));

	json_t *all = json_pack("{s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I}",
	    "hits", (json_int_t)hits, "misses", (json_int_t)misses, "rate",
	    rate, "keys", (json_int_t)redis_num(&size, 0), "memory",
	    (json_int_t)info_number(info.str, "used_memory"), "maxMemory",
	    (json_int_t)info_number(info.str, "maxmemory"), "evicted",
	    (json_int_t)info_number(info.str, "evicted_keys"), "expired",
	    (json_int_t)info_number(info.str, "expired_keys"));

	if (json_is_real(rate) && json_real_value(rate) < GOAL)
		ctl_say(ctl, "fewer than %.0f %% of the reads are hits",
		    GOAL * 100);
	if (ctl->json) {
		(void)json_dumpf(
		    all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(4));
		(void)putchar('\n');
	} else {
		const char *key;
		json_t *v;

		json_object_foreach(all, key, v)
		{
			(void)printf("%s\t", key);
			(void)json_dumpf(v, stdout,
			    JSON_ENCODE_ANY | JSON_REAL_PRECISION(4));
			(void)putchar('\n');
		}
	}
	json_decref(all);
	return RC_OK;
}

static const struct ctl_opt warm_opts[] = {
	{ "limit", "N", "products, the most reviewed and the newest (1000)" },
	{ "rate", "N", "records a second (200)" },
	{ 0 },
};

static const struct ctl_opt purge_opts[] = {
	{ "pattern", "GLOB", "the keys like it, such as 'page:/products*'" },
	{ "pages", NULL, "all pages; records stay" },
	{ "all", NULL, "all that is cached, and the edge of this host" },
	{ 0 },
};

const struct ctl_cmd cache_cmds[] = {
	{ .name = "cache warm",
	    .operands = "",
	    .help = "fill the records of popular products and of sales to come",
	    .opts = warm_opts,
	    .run = warm_run },
	{ .name = "cache purge",
	    .operands = "[KEY...]",
	    .max = -1,
	    .help = "forget product:ID, sale:ID, page:/PATH, on every host",
	    .opts = purge_opts,
	    .run = purge_cmd_run },
	{ .name = "cache stats",
	    .operands = "",
	    .help = "hits, misses, their rate, keys and memory",
	    .run = stats_run },
	{ 0 },
};
