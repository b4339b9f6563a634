/*
 * The path of almost every request that gets this far: the packed answer is in
 * this process's tier, and nothing is done but to choose an encoding. Otherwise
 * it is taken from Redis, or made under a lease.
 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/doing.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/pack.h"
#include "store/cache.h"

/* The opaque part of each tag in the list, without W/ and quotes. */
bool
not_modified(const struct request *rq, const char *etag)
{
	const char *list = request_param(rq, "HTTP_IF_NONE_MATCH");
	size_t n = strlen(etag);

	if (list == NULL || (rq->method != M_GET && rq->method != M_HEAD))
		return false;
	for (const char *p = list; *p != '\0';) {
		p += strspn(p, " \t,");
		if (*p == '*')
			return true;
		if (strncmp(p, "W/", 2) == 0)
			p += 2; /* weak comparison is what GET uses */
		if (strncmp(p, etag, n) == 0 &&
		    (p[n] == '\0' || p[n] == ',' || p[n] == ' '))
			return true;
		if (*p == '"') {
			const char *end = strchr(p + 1, '"');

			p = end == NULL ? p + strlen(p) : end + 1;
		} else {
			p += strcspn(p, ",");
		}
	}
	return false;
}

struct fill {
	struct app *app;
	const struct public *p;
};

static enum rc
fill(void *arg, enum pg_node node, struct cache_fill *out, struct err *e)
{
	const struct fill *f = arg;
	struct made made = { 0 };
	enum rc rc = f->p->make(f->app, f->p->arg, node, out->arena, &made, e);

	if (rc == RC_NONE || (rc == RC_OK && made.none)) {
		out->none = true;
		return RC_OK;
	}
	if (rc != RC_OK)
		return rc;
	doing_set(f->app->doing, "compress", f->p->key);
	out->body = pack_make(made.body, f->app->look, made.tag,
	    made.extra, out->arena);
	return RC_OK;
}

/* A negative entry remembers no words. */
static enum rc
missing(const struct public *p, struct err *e)
{
	return err_set(e, RC_NONE,
	    p->missing == NULL ? "not_found" : p->missing, "No such thing");
}

/* Made for this request, kept nowhere: [cache] pages = no, or what is kept
 * cannot be read. */
static enum rc
make_now(struct app *app, struct request *rq, const struct public *p,
    struct response *rs, struct err *e)
{
	struct made made = { 0 };
	enum rc rc = p->make(app, p->arg, PG_REPLICA, rq->arena, &made, e);

	if (rc == RC_NONE || (rc == RC_OK && made.none))
		return missing(p, e);
	if (rc != RC_OK)
		return rc;
	rs->status = 200;
	rs->type = p->type;
	rs->cache = "no-store";
	rs->body = made.body;
	return RC_OK;
}

/* How long those in front may keep it: what is stale here is being made anew,
 * so only for the moment. */
static const char *
cache_control(const struct public *p, const struct cache_entry *entry)
{
	if (!entry->storable)
		return "no-store";
	if (entry->from == CF_STALE)
		return "public, max-age=0, s-maxage=1";
	return p->cache;
}

/* Kept, or made now. A record of another look, or of another version of the
 * program, is forgotten and made anew. */
static enum rc
get_pack(struct app *app, struct request *rq, const struct public *p,
    struct cache_entry *entry, struct pack *pack, struct err *e)
{
	const struct cache_kind *kind = &app->shop->kind[p->kind];
	struct cache *cache = app->shop->cache;
	struct fill f = { app, p };
	enum rc rc = RC_OK;

	if (!cache_peek(cache, kind, p->key, entry))
		rc = cache_get(
		    cache, kind, p->key, fill, &f, rq->arena, entry, e);
	if (rc != RC_OK)
		return rc;
	rc = pack_read(entry->body, pack, e);
	if (rc == RC_OK && strcmp(pack->look, app->look) == 0)
		return RC_OK;
	if ((rc = cache_invalidate(cache, 1, &p->key, 0, rq->arena, e)) !=
		RC_OK ||
	    (rc = cache_get(cache, kind, p->key, fill, &f, rq->arena, entry,
		 e)) != RC_OK)
		return rc;
	return pack_read(entry->body, pack, e);
}

enum rc
public_answer(struct app *app, struct request *rq, const struct public *p,
    struct response *rs, struct err *e)
{
	struct cache_entry entry;
	struct pack pack;
	enum rc rc;

	if (!app->pages_cached)
		return make_now(app, rq, p, rs, e);
	rc = get_pack(app, rq, p, &entry, &pack, e);
	if (rc != RC_OK)
		return rc == RC_NONE ? missing(p, e) : rc;
	enum encoding enc =
	    pack_choose(&pack, request_param(rq, "HTTP_ACCEPT_ENCODING"));
	const char *name = encoding_name(enc);

	rs->status = 200;
	rs->type = p->type;
	rs->encoding = name;
	rs->vary_encoding = true;
	rs->cache = cache_control(p, &entry);
	rs->etag = arena_concat(rq->arena, "\"", pack.tag,
	    name == NULL ? "" : "-", name == NULL ? "" : name, "\"", NULL);
	rs->body = pack.body[enc];
	if (pack.extra[0] != '\0')
		rs->extra[rs->n_extra++] = pack.extra;
	if (app->tag_header[0] != '\0')
		response_header(rs, rq->arena, app->tag_header, p->tags);
	if (not_modified(rq, rs->etag)) {
		rs->status = 304;
		rs->type = NULL;
		rs->encoding = NULL;
		rs->body = (struct span){ NULL, 0 };
	}
	return RC_OK;
}
