/*
 * For those who run the shop: health, readiness, metrics; and the description
 * of the API.
 */
#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/strbuf.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/openapi.h"
#include "fcgi-app/scoreboard.h"
#include "store/pg.h"
#include "store/redis.h"

enum rc
answer_json(struct response *rs, int status, struct span json)
{
	rs->status = status;
	rs->type = TYPE_JSON;
	rs->body = json;
	return RC_OK;
}

/* This process answers; that is all. */
enum rc
api_healthz(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	(void)app;
	(void)rq;
	(void)m;
	(void)e;
	return answer_json(rs, 200, span_of("{\"status\":\"ok\"}"));
}

/* The stable code alone: strangers may ask, and what a store says of a failed
 * connection names hosts, users and databases. The log has that. */
static json_t *
dependency(enum rc rc, const struct err *e)
{
	if (rc == RC_OK)
		return json_pack("{ss}", "state", "up");
	return json_pack("{ssss}", "state", "down", "error", e->code);
}

/*
 * Ready while pages can be answered: with either store away they still are,
 * from the other (DESIGN 5.4), and a load balancer that took every host out
 * for a store they share would make it worse. "degraded" says so.
 */
enum rc
api_readyz(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct err pe = ERR_INIT, re = ERR_INIT, rep = ERR_INIT;
	enum rc pg = pg_ping(app->shop->pg, PG_PRIMARY, &pe);
	enum rc redis = redis_ping(app->shop->redis, &re);
	const char *status = pg == RC_OK && redis == RC_OK   ? "ready"
			     : pg == RC_OK || redis == RC_OK ? "degraded"
							     : "down";
	json_t *deps = json_pack("{soso}", "postgres", dependency(pg, &pe),
	    "redis", dependency(redis, &re));

	(void)m;
	(void)e;
	if (pg_has_replica(app->shop->pg)) {
		enum rc replica = pg_ping(app->shop->pg, PG_REPLICA, &rep);

		(void)json_object_set_new(
		    deps, "postgresReplica", dependency(replica, &rep));
		if (replica != RC_OK && *status == 'r')
			status = "degraded";
	}
	json_t *tree =
	    json_pack("{ssso}", "status", status, "dependencies", deps);
	char *text = json_dumps(tree, JSON_COMPACT);
	char *body = arena_strdup(rq->arena, text);

	free(text);
	json_decref(tree);
	return answer_json(
	    rs, strcmp(status, "down") == 0 ? 503 : 200, span_of(body));
}

/* What all processes of all hosts have counted (cache_flush_counters). */
static void
add_cache_metrics(struct app *app, struct arena *arena, struct strbuf *out)
{
	static const char *const names[] = { "cache:hits", "cache:misses" };
	struct redis_reply reply;
	struct err e;

	for (int i = 0; i < 2; i++) {
		if (redis_callv(app->shop->redis, names[i], arena, &reply, &e,
			"GET", names[i], NULL) != RC_OK)
			return;
		strbuf_addf(out,
		    "# HELP souk_%s_total Reads of the cache, all hosts.\n"
		    "# TYPE souk_%s_total counter\n"
		    "souk_%s_total %lld\n",
		    i == 0 ? "cache_hits" : "cache_misses",
		    i == 0 ? "cache_hits" : "cache_misses",
		    i == 0 ? "cache_hits" : "cache_misses",
		    (long long)redis_num(&reply, 0));
	}
}

enum rc
api_metrics(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct strbuf sb;

	(void)m;
	(void)e;
	strbuf_init(&sb, 8 << 10);
	if (app->scoreboard != NULL)
		scoreboard_metrics(app->scoreboard, &sb);
	add_cache_metrics(app, rq->arena, &sb);
	rs->status = 200;
	rs->type = "text/plain; version=0.0.4; charset=utf-8";
	rs->body =
	    (struct span){ arena_memdup(rq->arena, sb.s, sb.len), sb.len };
	strbuf_release(&sb);
	return RC_OK;
}

enum rc
api_openapi(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	(void)app;
	(void)rq;
	(void)m;
	(void)e;
	rs->cache = "public, max-age=300, s-maxage=3600";
	return answer_json(rs, 200, span_of(openapi_json));
}
