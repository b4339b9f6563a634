/*
 * One per child. Opening reads templates and settings and connects nowhere;
 * stores are connected to by the first call that needs them.
 */
#include "fcgi-app/app.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/gate.h"
#include "base/log.h"
#include "base/xmalloc.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/guard.h"
#include "fcgi-app/page.h"
#include "fcgi-app/route.h"
#include "shop/promise.h"
#include "shop/purchase.h"
#include "shop/session.h"
#include "store/cache.h"
#include "store/edge.h"
#include "store/invalidation.h"
#include "store/pay.h"
#include "store/redis.h"

enum { FLUSH_MS = 1000, LOG_MS = 100, COMPLAIN_MS = 10000, LOOK_MS = 1000,
	PROMISE_MS = 3600000,
	LOOK_PURGES = 3 };

/* ---- the subscriptions to cache:invalidate and sale:again */

/* What is not of the form that we send drops every local copy. */
static void
on_message(void *arg, struct span channel, struct span payload)
{
	struct app *app = arg;

	if (span_is(channel, "sale:again")) {
		sold_out_message(app->shop->sold_out, payload);
		return;
	}
	if (cache_message(app->shop->cache, payload))
		return;
	cache_trust_local(app->shop->cache, false);
	cache_trust_local(app->shop->cache, redis_sub_fresh(app->sub));
}

static void
on_change(void *arg)
{
	const struct app *app = arg;

	cache_trust_local(app->shop->cache, false);
	sold_out_forget(app->shop->sold_out);
}

static void
on_sale_change(void *arg)
{
	const struct app *app = arg;

	sold_out_forget(app->shop->sold_out);
}

/* Where the counters have a Redis of their own it tells of them there. */
static enum rc
subscribe_sale(struct app *app, struct err *e)
{
	static const char *const channels[] = { "sale:again", NULL };
	const struct redis_sub_events events = { .message = on_message,
		.restarted = on_sale_change,
		.lost = on_sale_change,
		.arg = app };
	const char *url = conf_str(app->conf, "redis.sale", "url");

	return *url == '\0'
	    ? RC_OK
	    : redis_sub_new(url, channels, &events, &app->sale_sub, e);
}

static void
trust(struct app *app)
{
	const struct redis_sub *sale =
	    app->sale_sub != NULL ? app->sale_sub : app->sub;

	cache_trust_local(app->shop->cache, redis_sub_fresh(app->sub));
	sold_out_trust(app->shop->sold_out, redis_sub_fresh(sale));
}

static enum rc
subscribe(struct app *app, struct err *e)
{
	static const char *const channels[] = { "cache:invalidate", "sale:again",
		NULL };
	const struct redis_sub_events events = { .message = on_message,
		.restarted = on_change,
		.lost = on_change,
		.arg = app };

	return redis_sub_new(conf_str(app->conf, "redis", "url"), channels,
	    &events, &app->sub, e);
}

/* ---- opening */

/* Cache-Control by kind of page, once. */
static void
cache_headers(struct app *app)
{
	const struct cache_kind *kind = app->shop->kind;
	int stale = kind[SK_PRODUCT].stale_s;

	/* DESIGN 4.2 */
	(void)snprintf(app->text[0], sizeof app->text[0],
	    "public, s-maxage=%d, stale-while-revalidate=%d",
	    kind[SK_PRODUCT].fresh_s, stale);
	(void)snprintf(app->text[1], sizeof app->text[1],
	    "public, max-age=0, s-maxage=%d, stale-while-revalidate=%d, "
	    "stale-if-error=%d",
	    kind[SK_PRODUCT_PAGE].fresh_s, stale, stale);
	(void)snprintf(app->text[2], sizeof app->text[2],
	    "public, max-age=0, s-maxage=%d, stale-while-revalidate=%d, "
	    "stale-if-error=%d",
	    kind[SK_LIST_PAGE].fresh_s, stale, stale);
	/* A sale's page must not be an hour old for whoever comes first. */
	(void)snprintf(app->text[3], sizeof app->text[3],
	    "public, max-age=0, s-maxage=%d, stale-while-revalidate=%d, "
	    "stale-if-error=%d",
	    kind[SK_SALE_PAGE].fresh_s, kind[SK_SALE_PAGE].fresh_s, stale);
	app->product_cache = app->text[0];
	app->product_page_cache = app->text[1];
	app->list_cache = app->text[2];
	app->sale_cache = app->text[3];
	app->list_api_cache = app->list_cache;
}

/* Pictures may come from any https host (imported catalogues), and from http
 * where the shop itself is. */
static void
security_headers(struct app *app)
{
	(void)snprintf(app->csp, sizeof app->csp,
	    "Content-Security-Policy: default-src 'none'; script-src 'self'; "
	    "style-src 'self'; img-src 'self' https:%s; connect-src 'self'; "
	    "manifest-src 'self'; form-action 'self'; base-uri 'none'; "
	    "frame-ancestors 'none'",
	    app->tls ? "" : " http:");
}

/*
 * A password's hash takes 19 MiB and tens of ms of a core: a crowd that logs in
 * must not take the children and cores from those who buy. Half of the cores
 * may hash, and with those who wait at most half of the children are at it.
 */
static void
gate_hashing(struct app *app, int fd)
{
	int children = (int)conf_int(app->conf, "fcgi", "children");
	int inside = (int)conf_int(app->conf, "account", "hashing");
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (inside == 0) {
		inside = (int)(cores < 2 ? 1 : cores / 2);
		if (inside > children / 4)
			inside = children < 4 ? 1 : children / 4;
	}
	app->shop->hashing = gate_new(fd, inside, children / 4);
}

/* Of an edge that is new only what may lie there is purged: no child of before
 * a reload can write to it. */
static int
look_purges(struct app *app)
{
	switch (edge_look(app->shop->edge, app->look)) {
	case EDGE_LOOK_SAME:
		break;
	case EDGE_LOOK_UNKNOWN:
		return 1;
	case EDGE_LOOK_OTHER:
		return LOOK_PURGES;
	}
	return 0;
}

enum rc
app_open(const struct app_opts *opts, struct app **out, struct err *e)
{
	const struct conf *conf = opts->conf;
	struct app *app = xcalloc(1, sizeof *app);
	enum rc rc;

	if (sodium_init() < 0) {
		rc = err_set(e, RC_FAIL, "sodium", "libsodium cannot start");
		goto fail;
	}
	app->conf = conf;
	app->doing = opts->doing;
	app->scoreboard = opts->scoreboard;
	app->arena = arena_new();
	app->tag_header = conf_str(conf, "edge", "tag_header");
	app->pages_cached = conf_bool(conf, "cache", "pages");
	app->tls = guard_shop_is_tls(conf);
	if ((rc = look_name(conf, app->look, e)) != RC_OK)
		goto fail;
	rc = page_ctx_load(
	    &(struct page_opts){
		.templates = conf_str(conf, "fcgi", "templates"),
		.assets = conf_str(conf, "fcgi", "static"),
		.name = conf_str(conf, "shop", "name"),
		.base_url = conf_str(conf, "shop", "base_url"),
		.currency = conf_str(conf, "shop", "currency"),
		.language = conf_str(conf, "shop", "language"),
	    },
	    &app->pages, e);
	if (rc != RC_OK ||
	    (rc = shop_open(conf, "souk-fcgi", opts->doing, &app->shop, e)) !=
		RC_OK ||
	    (rc = subscribe(app, e)) != RC_OK ||
	    (rc = subscribe_sale(app, e)) != RC_OK)
		goto fail;
	app->shop->sold_out = sold_out_new();
	if (opts->gate > 0)
		gate_hashing(app, opts->gate);
	cache_headers(app);
	security_headers(app);
	if (opts->housekeeper)
		app->look_purges = look_purges(app);
	if (opts->housekeeper)
		app->log = invalidation_log_new(app->shop->pg,
		    app->shop->redis, app->shop->cache, app->shop->edge);
	*out = app;
	return RC_OK;
fail:
	app_close(app);
	return rc;
}

void
app_close(struct app *app)
{
	if (app == NULL)
		return;
	if (app->shop != NULL && app->shop->cache != NULL)
		cache_flush_counters(app->shop->cache, app->arena);
	invalidation_log_free(app->log);
	redis_sub_free(app->sub);
	pay_close(app->pay);
	redis_sub_free(app->sale_sub);
	shop_close(app->shop);
	page_ctx_free(app->pages);
	arena_free(app->arena);
	free(app);
}

/* ---- working */

size_t
app_max_body(struct app *app, struct request *rq, size_t max_body)
{
	trust(app);
	return route_max_body(app, rq, max_body);
}

void
app_handle(struct app *app, struct request *rq, struct response *rs)
{
	trust(app);
	route_handle(app, rq, rs);
}

int
app_pollfds(struct app *app, struct pollfd *fds, int max)
{
	const struct redis_sub *const subs[] = { app->sub, app->sale_sub };
	int n = 0;

	for (int i = 0; i < 2 && n < max; i++) {
		int fd = subs[i] == NULL ? -1 : redis_sub_fd(subs[i]);

		if (fd >= 0)
			fds[n++] = (struct pollfd){ .fd = fd,
				.events = (short)(POLLIN |
				    (redis_sub_wants_write(subs[i]) ? POLLOUT
								    : 0)) };
	}
	return n;
}

/*
 * Pages at this host's edge were made with another look: purge them, and again
 * after a while, since a child of before the reload may have just answered.
 * Remembered only at the end: who dies in between begins again.
 */
static void
tend_look(struct app *app, int64_t now)
{
	struct err e;

	if (app->look_purges == 0 || now < app->look_at)
		return;
	app->look_at = now + LOOK_MS;
	if (edge_purge_all(app->shop->edge, &e) != RC_OK ||
	    (--app->look_purges == 0 &&
		edge_set_look(app->shop->edge, app->look, &e) != RC_OK)) {
		app->look_purges = 0;
		log_warn("edge_not_purged", LOG_S("code", e.code),
		    LOG_S("error", e.msg));
	}
}

static void
tend_log(struct app *app, int64_t now)
{
	struct err e;
	enum rc rc;

	if (app->log == NULL || now < app->log_at)
		return;
	app->log_at = now + LOG_MS;
	rc = invalidation_log_turn(app->log, &e);
	if (rc != RC_OK && now >= app->complain_at) {
		app->complain_at = now + COMPLAIN_MS;
		log_warn("housekeeping_waits", LOG_S("code", e.code),
		    LOG_S("error", e.msg));
	}
}

static void
promise_line(void *arg, const char *what, const char *why)
{
	(void)arg;
	log_error(
	    "promise_broken", LOG_S("what", what), LOG_S("error", why));
}

/*
 * Loud, at the first look that succeeds and every hour: it goes on to serve,
 * since a shop that is being tried out may be set up so. soukctl doctor refuses
 * it; -t connects nowhere.
 */
static void
tend_promise(struct app *app, int64_t now)
{
	struct err e;
	int n;

	if (app->log == NULL || now < app->promise_at)
		return;
	app->promise_at = now + (promise_check(app->shop, promise_line, NULL,
				     &n, app->arena, &e) == RC_OK
				? PROMISE_MS
				: COMPLAIN_MS);
}

/* Which sessions were used: written here, not in a buyer's way. */
static void
tend_sessions(struct app *app)
{
	struct err e;

	if (session_turn(app->shop, app->arena, &e) != RC_OK)
		log_warn("sessions_not_written", LOG_S("code", e.code),
		    LOG_S("error", e.msg));
}

void
app_turn(struct app *app)
{
	int64_t now = clock_mono_ms();

	redis_sub_turn(app->sub);
	if (app->sale_sub != NULL)
		redis_sub_turn(app->sale_sub);
	trust(app);
	outbox_wake(&app->shop->waker, app->shop->redis, app->arena);
	if (now >= app->flush_at) {
		app->flush_at = now + FLUSH_MS;
		cache_flush_counters(app->shop->cache, app->arena);
	}
	tend_look(app, now);
	tend_log(app, now);
	tend_promise(app, now);
	tend_sessions(app);
	arena_reset(app->arena);
}
