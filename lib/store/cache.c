/*
 * cache - see the header. One get:
 *
 *	local copy, trusted? -> it
 *	look: generation and record in one round trip
 *	  fresh               -> it (or, early, refresh it if the lease is free)
 *	  the lease is ours   -> fetch, fill
 *	    stored            -> the new value
 *	    discarded         -> look again: an invalidation came in between
 *	    fetch failed      -> the stale record; the lease ends a little later
 *	  somebody else's     -> the stale record, or wait and look again
 *	  nobody's, just failed -> the stale record, or fail at once
 *	Redis does not answer -> fetch from the primary; nothing is kept
 *
 * Why the local tier is right although messages are handled by the owner's
 * loop alone, never in the middle of a get: a copy is made of what GET
 * answered. If GET came before the invalidation in Redis, then its message is
 * not handled yet when the copy is put in, and will drop it. If GET came after
 * it, the copy is new and the message drops it needlessly. Handled in the
 * middle (between GET and putting in), the message would find nothing to drop
 * and the old copy would stay.
 *
 * What is made of other records (a page of a product's) is right for a reason
 *of its own: who invalidates names the records first and the page after them. A
 * page's fill that was not revoked took its lease after that, so its records
 * are read as they are now, provided that they come from Redis: a local copy
 *may be older, its message is not handled yet. So within a fetch no local copy
 *is used; and what it makes is kept no longer than what it was made of, not at
 * all where that may not be kept.
 *
 * Which database node: a replica only where the key's (and its generation's)
 * least position is known to be replayed. No marker means that none was
 * written for marker_s, but only in a Redis that is older than that.
 */
#include "store/cache.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/cache_int.h"

/* Read on the primary: newer than any least position. Exact in Lua. */
#define LSN_PRIMARY ((INT64_C(1) << 53) - 1)
#define XFETCH_BETA 1.0
#define DISCARDS 2 /* fills thrown away before we stop trying */
/* A fetch failed: nobody asks again before, with and without a stale copy. */
#define BACK_OFF_STALE_MS 1000
#define BACK_OFF_MS 200
#define POLL_FIRST_MS 5
#define POLL_LAST_MS 50

/* Made by cache_attach where there was no copy to tie it to. */
struct orphan {
	struct orphan *next;
	void *obj;
	void (*free_fn)(void *obj);
};

struct cache {
	struct cache_opts opts;
	struct local local;
	struct local_copy *last; /* what the last get or peek gave, or NULL */
	struct get *filling;     /* whose fetch we are in, or NULL */
	struct orphan *orphans;
	bool trusted;
	char run_id[64];      /* the Redis that we knew last */
	int64_t new_redis_ms; /* monotonic, when we saw it change; 0: never */
	struct cache_stats stats;
	int64_t flushed_hits, flushed_misses;
};

enum look { LOOK_HIT, LOOK_LEASE, LOOK_BUSY, LOOK_SICK };

struct record {
	int64_t soft_ms, fill_ms;
	bool none;
	struct span gen, body;
};

/* One cache_get under way. */
struct get {
	struct cache *cache;
	const struct cache_kind *kind;
	const char *key;
	char *marker; /* {K}:m */
	cache_fetch *fetch;
	void *arg;
	struct arena *arena;
	struct cache_entry *out;
	struct err *e;
	char token[33];

	/* what the fetch was made of: other gets within it */
	bool parts_storable;
	int64_t parts_left_ms;

	/* what the last look found */
	enum look look;
	int64_t now_ms; /* Redis's clock */
	int64_t min_lsn;
	bool has; /* rec is valid, and of the present generation */
	struct record rec;
	const char *gen; /* "-": the kind has none */
};

/* ---- life */

struct cache *
cache_new(const struct cache_opts *opts)
{
	struct cache *cache = xcalloc(1, sizeof *cache);

	cache->opts = *opts;
	local_init(&cache->local,
	    opts->enabled && opts->local_s > 0 ? opts->local_bytes : 0);
	return cache;
}

static void
free_orphans(struct cache *cache)
{
	while (cache->orphans != NULL) {
		struct orphan *next = cache->orphans->next;

		cache->orphans->free_fn(cache->orphans->obj);
		free(cache->orphans);
		cache->orphans = next;
	}
}

void
cache_free(struct cache *cache)
{
	if (cache == NULL)
		return;
	free_orphans(cache);
	local_release(&cache->local);
	free(cache);
}

/* ---- the local tier */

static void
entry_from_copy(
    const struct local_copy *copy, int64_t now_ms, struct cache_entry *out)
{
	int64_t left = copy->fresh_until_ms - now_ms;

	*out = (struct cache_entry){ .body = local_body(copy),
		.from = CF_LOCAL,
		.storable = true,
		.fresh_left_s = left > 0 ? (int)(left / 1000) : 0,
		.parsed = copy->obj };
}

/* The trusted copy, or NULL. */
static struct local_copy *
copy_look(struct cache *cache, const char *key, int64_t now_ms)
{
	struct local_copy *copy;

	if (!cache->trusted || cache->filling != NULL)
		return NULL;
	copy = local_find(&cache->local, span_of(key));
	if (copy == NULL || !local_trusted(&cache->local, copy, now_ms))
		return NULL;
	return copy;
}

static void
copy_hit(struct cache *cache, struct local_copy *copy)
{
	local_use(&cache->local, copy);
	cache->last = copy;
	cache->stats.hits++;
	cache->stats.local_hits++;
}

bool
cache_peek(struct cache *cache, const struct cache_kind *kind, const char *key,
    struct cache_entry *out)
{
	int64_t now_ms = clock_coarse_ms();
	struct local_copy *copy;

	cache->last = NULL;
	if (!kind->local)
		return false;
	copy = copy_look(cache, key, now_ms);
	if (copy == NULL || copy->none)
		return false;
	copy_hit(cache, copy);
	entry_from_copy(copy, now_ms, out);
	return true;
}

bool
cache_attach(struct cache *cache, const struct cache_kind *kind,
    const char *key, void *obj, void (*free_fn)(void *obj), size_t bytes)
{
	struct local_copy *copy = cache->last;
	struct orphan *orphan;

	/* Only to the copy that obj was made of: another one under that key
	 * may be of another version. */
	if (kind->local && copy != NULL &&
	    span_is((struct span){ copy->data, copy->key_len }, key) &&
	    local_attach(&cache->local, copy, obj, free_fn, bytes))
		return true;
	orphan = xmalloc(sizeof *orphan);
	*orphan = (struct orphan){ cache->orphans, obj, free_fn };
	cache->orphans = orphan;
	return false;
}

static void
drop_key(struct cache *cache, struct span key)
{
	struct local_copy *copy;

	if (span_starts(key, "gen:")) {
		/* Only groups that we have copies of: strangers' names must
		 * not pile up. */
		for (struct local_group *g = cache->local.groups; g != NULL;
		     g = g->next) {
			if (span_is(key, g->name))
				g->epoch++;
		}
		return;
	}
	copy = local_find(&cache->local, key);
	if (copy == NULL)
		return;
	if (cache->last == copy)
		cache->last = NULL;
	local_drop(&cache->local, copy);
}

void
cache_dropped(struct cache *cache, struct span key)
{
	drop_key(cache, key);
}

bool
cache_message(struct cache *cache, struct span payload)
{
	json_t *msg = json_loadb(payload.p, payload.n, 0, NULL);
	const json_t *key = json_object_get(msg, "key");
	bool ok = json_is_string(key);

	if (ok)
		drop_key(cache, (struct span){ json_string_value(key),
				    json_string_length(key) });
	json_decref(msg);
	return ok;
}

void
cache_trust_local(struct cache *cache, bool trusted)
{
	/* What was learned while nobody told us of changes is not trusted
	 * later either. */
	if (trusted && !cache->trusted)
		cache->local.epoch++;
	cache->trusted = trusted;
}

/* Put what was read or filled into the tier. */
static void
copy_put(struct get *get, struct span body, bool none, int64_t fresh_ms)
{
	struct cache *cache = get->cache;
	struct local_new_copy from = {
		.key = span_of(get->key), .body = body, .none = none
	};
	int64_t now_ms = clock_coarse_ms(),
		local_ms = (int64_t)cache->opts.local_s * 1000;

	if (!get->kind->local || cache->local.bucket == NULL)
		return;
	if (get->kind->group != NULL)
		from.group =
		    local_group(&cache->local, span_of(get->kind->group));
	from.expires_ms = now_ms + (fresh_ms < local_ms ? fresh_ms : local_ms);
	from.fresh_until_ms = now_ms + fresh_ms;
	from.stale_until_ms =
	    from.fresh_until_ms + (int64_t)get->kind->stale_s * 1000;
	cache->last = local_put(&cache->local, &from);
}

/* ---- looking into Redis */

static bool
next_number(const char **p, const char *end, int64_t *out)
{
	const char *sp = memchr(*p, ' ', (size_t)(end - *p));

	if (sp == NULL || !text_int((struct span){ *p, (size_t)(sp - *p) }, 0,
			      INT64_MAX, out))
		return false;
	*p = sp + 1;
	return true;
}

/* The head as cache_script.c draws it. False: not one of ours. */
static bool
record_parse(struct span s, struct record *out)
{
	const char *p = s.p, *end;
	int64_t lsn, flags;

	if (!span_starts(s, "souk1 "))
		return false;
	end = memchr(p, '\n', s.n);
	if (end == NULL)
		return false;
	p += 6;
	if (!next_number(&p, end, &lsn) ||
	    !next_number(&p, end, &out->soft_ms) ||
	    !next_number(&p, end, &out->fill_ms) ||
	    !next_number(&p, end, &flags))
		return false;
	out->none = flags == 1;
	out->gen = (struct span){ p, (size_t)(end - p) };
	out->body = (struct span){ end + 1, (size_t)(s.p + s.n - end) - 1 };
	return true;
}

/* Scripts in a pipeline, each sent again alone where it is not known. */
struct call {
	const char *key;
	const struct redis_script *script; /* NULL: argv as it is */
	int nkeys, argc;
	struct span argv[16]; /* of a script: its keys, then its arguments */
};

static enum rc
call_all(struct cache *cache, int n, const struct call calls[],
    struct arena *arena, struct redis_reply out[], struct err *e)
{
	struct redis_cmd *cmds = arena_alloc(arena, (size_t)n * sizeof *cmds);
	const char **keys = arena_alloc(arena, (size_t)n * sizeof *keys);
	enum rc rc;

	for (int i = 0; i < n; i++) {
		const struct call *c = &calls[i];
		struct span *argv =
		    arena_alloc(arena, ((size_t)c->argc + 3) * sizeof *argv);
		int argc = 0;

		if (c->script != NULL) {
			argv[argc++] = span_of("EVALSHA");
			argv[argc++] = span_of(
			    redis_script_sha(cache->opts.redis, c->script));
			argv[argc++] = span_of(c->nkeys == 1 ? "1" : "2");
		}
		memcpy(argv + argc, c->argv, (size_t)c->argc * sizeof *argv);
		cmds[i] = (struct redis_cmd){ argc + c->argc, argv };
		keys[i] = c->key;
	}
	rc = redis_pipeline(cache->opts.redis, n, keys, cmds, arena, out, e);
	for (int i = 0; i < n && rc == RC_OK; i++) {
		const struct call *c = &calls[i];

		if (out[i].type != RT_ERROR)
			continue;
		if (c->script == NULL || !span_starts(out[i].str, "NOSCRIPT"))
			return redis_reply_error(&out[i], e);
		rc = redis_eval(cache->opts.redis, c->script, c->nkeys, c->argv,
		    c->argc - c->nkeys, c->argv + c->nkeys, arena, &out[i], e);
	}
	return rc;
}

static struct span
span_num(struct arena *arena, int64_t n)
{
	return span_of(arena_printf(arena, "%" PRId64, n));
}

/* Take a generation's number and least position from { n, v }. */
static enum rc
take_generation(struct get *get, const struct redis_reply *r, int64_t *min)
{
	struct span group = span_of(get->kind->group);
	struct redis_reply made;
	enum rc rc;

	if (r->type == RT_ARRAY && r->n == 2 && r->item[0].type == RT_NIL) {
		rc =
		    redis_eval(get->cache->opts.redis, &script_cache_generation,
			1, &group, 0, NULL, get->arena, &made, get->e);
		if (rc != RC_OK)
			return rc;
		r = &made;
	}
	if (r->type != RT_ARRAY || r->n != 2 || r->item[0].type != RT_STRING)
		return err_set(get->e, RC_FAIL, "redis_error",
		    "Redis: %s is not a generation", get->kind->group);
	get->gen = r->item[0].str.p;
	*min = redis_num(&r->item[1], 0);
	return RC_OK;
}

/*
 * One round trip. expect: the generation the record must have to count as a
 * hit, "" before we know. early: want the lease though the record is fresh.
 */
static enum rc
look_once(struct get *get, const char *expect, bool early)
{
	const struct cache_opts *opts = &get->cache->opts;
	const char *group = get->kind->group;
	struct call calls[2] = { 0 };
	struct redis_reply out[2], *r;
	int64_t gen_min = 0;
	int n = 0;
	enum rc rc;

	if (group != NULL)
		calls[n++] = (struct call){ group, NULL, 0, 4,
			{ span_of("HMGET"), span_of(group), span_of("n"),
			    span_of("v") } };
	calls[n++] = (struct call){ get->key, &script_cache_read, 2, 6,
		{ span_of(get->key), span_of(get->marker), span_of(get->token),
		    span_num(get->arena, opts->lease_ms), span_of(expect),
		    span_of(early ? "1" : "0") } };
	rc = call_all(get->cache, n, calls, get->arena, out, get->e);
	if (rc != RC_OK)
		return rc;
	get->gen = "-";
	if (group != NULL &&
	    (rc = take_generation(get, &out[0], &gen_min)) != RC_OK)
		return rc;
	r = &out[n - 1];
	if (r->type != RT_ARRAY || r->n < 3)
		return err_set(get->e, RC_FAIL, "redis_error",
		    "Redis: cache_read answered something else");
	get->look = (enum look)redis_num(&r->item[0], LOOK_BUSY);
	get->now_ms = redis_num(&r->item[1], 0);
	get->min_lsn = redis_num(&r->item[2], 0);
	if (gen_min > get->min_lsn)
		get->min_lsn = gen_min;
	get->has = r->n > 3 && r->item[3].type == RT_STRING &&
		   record_parse(r->item[3].str, &get->rec) &&
		   span_is(get->rec.gen, get->gen);
	return RC_OK;
}

static enum rc
look(struct get *get, bool early)
{
	enum rc rc = look_once(get, "", early);

	/* Fresh by the clock, but of a generation that has ended. */
	if (rc == RC_OK && get->look == LOOK_HIT && !get->has)
		rc = look_once(get, get->gen, false);
	/* Ended again in between, or a head that only Lua can read. */
	if (rc == RC_OK && get->look == LOOK_HIT && !get->has)
		get->look = LOOK_BUSY;
	return rc;
}

/* Is it time to refresh although the record is fresh? (XFetch) */
static bool
wants_early(const struct get *get)
{
	int64_t left = get->rec.soft_ms - get->now_ms;
	double u = ((double)randombytes_random() + 1.0) / 4294967296.0;

	return !get->rec.none &&
	       (double)get->rec.fill_ms * XFETCH_BETA * -log(u) >= (double)left;
}

/* ---- answers */

static enum rc
answer(struct get *get, struct span body, bool none, enum cache_from from,
    bool storable, int64_t fresh_ms)
{
	*get->out = (struct cache_entry){ .body = body,
		.from = from,
		.storable = storable,
		.fresh_left_s = fresh_ms > 0 ? (int)(fresh_ms / 1000) : 0 };
	if (none)
		return err_set(get->e, RC_NONE, "not_found", "No such %s",
		    get->kind->name);
	return RC_OK;
}

static enum rc
answer_record(struct get *get, enum cache_from from)
{
	const struct record *rec = &get->rec;
	int64_t left = from == CF_STALE ? 0 : rec->soft_ms - get->now_ms;

	get->cache->stats.hits++;
	if (from == CF_STALE)
		get->cache->stats.stale++;
	else
		copy_put(get, rec->body, rec->none, left);
	return answer(get, rec->body, rec->none, from, true, left);
}

/* Both away: what this process remembers, however untrusted. */
static bool
answer_remembered(struct get *get, enum rc *rc)
{
	struct cache *cache = get->cache;
	struct local_copy *copy = local_find(&cache->local, span_of(get->key));

	if (!get->kind->local || copy == NULL ||
	    clock_coarse_ms() >= copy->stale_until_ms ||
	    (copy->group != NULL && copy->group_epoch != copy->group->epoch))
		return false;
	cache->stats.hits++;
	cache->stats.stale++;
	cache->last = copy;
	*rc = answer(get, local_body(copy), copy->none, CF_STALE, false, 0);
	get->out->parsed = copy->obj;
	return true;
}

/* Redis is away or the cache is off: the truth, kept by nobody. */
static enum rc
get_direct(struct get *get)
{
	struct cache_fill fill = { .arena = get->arena };
	enum rc rc = get->fetch(get->arg, PG_PRIMARY, &fill, get->e);

	if (rc == RC_RETRY && answer_remembered(get, &rc))
		return rc;
	get->cache->stats.misses++;
	if (rc != RC_OK)
		return rc;
	return answer(get, fill.body, fill.none, CF_DIRECT, false, 0);
}

/* ---- filling */

/* May markers have been lost with the Redis that held them? */
static bool
redis_is_young(struct cache *cache)
{
	const char *id = redis_run_id(cache->opts.redis);
	int64_t marker_ms = (int64_t)cache->opts.marker_s * 1000;

	if (id == NULL ||
	    redis_uptime_s(cache->opts.redis) < cache->opts.marker_s)
		return true;
	/* A replica that took over may be old and behind. */
	if (strcmp(id, cache->run_id) != 0) {
		if (cache->run_id[0] != '\0')
			cache->new_redis_ms = clock_mono_ms();
		(void)snprintf(cache->run_id, sizeof cache->run_id, "%s", id);
	}
	return cache->new_redis_ms != 0 &&
	       clock_mono_ms() - cache->new_redis_ms < marker_ms;
}

/* Where to fetch, and the position that the record will have at the least. */
static enum pg_node
choose_node(struct get *get, int64_t *lsn)
{
	struct cache *cache = get->cache;

	*lsn = LSN_PRIMARY;
	if (cache->opts.pg == NULL || !pg_has_replica(cache->opts.pg) ||
	    redis_is_young(cache))
		return PG_PRIMARY;
	if (get->min_lsn == 0) {
		*lsn = 0; /* nothing changed for longer than replicas lag */
		return PG_REPLICA;
	}
	if (pg_position(cache->opts.pg, PG_REPLICA, lsn, NULL) == RC_OK &&
	    *lsn >= get->min_lsn)
		return PG_REPLICA;
	*lsn = LSN_PRIMARY;
	return PG_PRIMARY;
}

/* ms: nobody may try before then; 0: whoever wants to. Should this fail,
 * others wait for the lease to run out. */
static void
release(struct get *get, int64_t ms)
{
	const struct span key = span_of(get->marker);
	const struct span args[] = { span_of(get->token),
		span_num(get->arena, ms) };
	struct redis_reply r;
	struct err ignored = ERR_INIT;

	(void)!redis_eval(get->cache->opts.redis, &script_cache_release, 1,
	    &key, 2, args, get->arena, &r, &ignored);
}

/* Fetch, and watch what it is made of. */
static enum rc
fetch_parts(struct get *get, enum pg_node node, struct cache_fill *fill)
{
	struct get *outer = get->cache->filling;
	enum rc rc;

	*fill = (struct cache_fill){ .arena = get->arena };
	get->parts_storable = true;
	get->parts_left_ms = INT64_MAX;
	get->cache->filling = get;
	rc = get->fetch(get->arg, node, fill, get->e);
	get->cache->filling = outer;
	return rc;
}

/* An answer has been given within the fetch of another get. */
static void
note_part(struct get *outer, const struct cache_entry *out)
{
	int64_t left_ms = (int64_t)out->fresh_left_s * 1000;

	if (!out->storable)
		outer->parts_storable = false;
	/* Of stale parts: soon made anew, but not by every request. */
	if (left_ms < 1000)
		left_ms = 1000;
	if (left_ms < outer->parts_left_ms)
		outer->parts_left_ms = left_ms;
}

/* Lifetime in ms with jitter, so that what was filled together does not end
 * together: +-10 %, but a life that the fetch limited is never lengthened. */
static int64_t
life_ms(const struct cache_kind *kind, const struct cache_fill *fill)
{
	int64_t ms = 1000 * (int64_t)(fill->none          ? kind->negative_s
				      : fill->fresh_s > 0 ? fill->fresh_s
							  : kind->fresh_s);
	int64_t tenth = ms / 10;

	if (!fill->none && fill->fresh_s > 0)
		return ms - (int64_t)randombytes_uniform((uint32_t)tenth + 1);
	return ms - tenth +
	       (int64_t)randombytes_uniform((uint32_t)tenth * 2 + 1);
}

static int64_t
fresh_ms_of(const struct get *get, const struct cache_fill *fill)
{
	int64_t ms = life_ms(get->kind, fill);

	return ms < get->parts_left_ms ? ms : get->parts_left_ms;
}

enum filled { FILLED, FILL_LOST, FILL_OLD, FILL_UNKNOWN };

/* Store under our lease, and see that the generation has not ended. */
static enum filled
store(struct get *get, const struct cache_fill *fill, int64_t lsn,
    int64_t fresh_ms, int64_t took_ms)
{
	struct arena *arena = get->arena;
	int64_t stale_ms = fill->none ? 0 : (int64_t)get->kind->stale_s * 1000;
	struct call calls[2] = { { get->key, &script_cache_fill, 2, 10,
	    { span_of(get->key), span_of(get->marker), span_of(get->token),
		span_num(arena, lsn), span_num(arena, fresh_ms),
		span_num(arena, stale_ms), span_num(arena, took_ms),
		span_of(fill->none ? "1" : "0"), span_of(get->gen),
		fill->body } } };
	struct redis_reply out[2];
	struct err e = ERR_INIT;
	int n = 1;

	if (!get->parts_storable) {
		release(get, 0);
		return FILL_UNKNOWN;
	}
	if (get->kind->group != NULL)
		calls[n++] = (struct call){ get->kind->group, NULL, 0, 3,
			{ span_of("HGET"), span_of(get->kind->group),
			    span_of("n") } };
	if (call_all(get->cache, n, calls, arena, out, &e) != RC_OK)
		return FILL_UNKNOWN;
	if (n == 2 &&
	    (out[1].type != RT_STRING || !span_is(out[1].str, get->gen)))
		return FILL_LOST;
	switch (redis_num(&out[0], -1)) {
	case 0:
		return FILLED;
	case 1:
		return FILL_LOST;
	case 2:
		return FILL_OLD;
	default:
		return FILL_UNKNOWN;
	}
}

/* The fetch has failed while we held the lease. early: rec is fresh. */
static enum rc
fill_failed(struct get *get, enum rc rc, bool early)
{
	bool sick = rc == RC_RETRY || rc == RC_FAIL;

	if (sick && get->has) {
		release(get, BACK_OFF_STALE_MS);
		return answer_record(get, early ? CF_REDIS : CF_STALE);
	}
	release(get, sick ? BACK_OFF_MS : 0);
	get->cache->stats.misses++;
	return rc;
}

/*
 * We have the lease: fetch and store. *again: the fill was discarded, since an
 * invalidation came while we fetched; *get->out is set all the same.
 */
static enum rc
fill(struct get *get, bool early, bool *again)
{
	struct cache *cache = get->cache;
	struct cache_fill made;
	int64_t lsn, fresh_ms, began = clock_mono_ms();
	enum pg_node node = choose_node(get, &lsn);
	enum filled filled;
	enum rc rc = fetch_parts(get, node, &made);

	*again = false;
	if (rc != RC_OK)
		return fill_failed(get, rc, early);
	cache->stats.fills++;
	fresh_ms = fresh_ms_of(get, &made);
	filled = store(get, &made, lsn, fresh_ms, clock_mono_ms() - began);
	if (filled == FILL_OLD) {
		/* Below the least position though we looked: no lease was
		 * revoked, so it is still ours, for the primary's answer. */
		rc = fetch_parts(get, PG_PRIMARY, &made);
		if (rc != RC_OK)
			return fill_failed(get, rc, early);
		fresh_ms = fresh_ms_of(get, &made);
		filled = store(
		    get, &made, LSN_PRIMARY, fresh_ms, clock_mono_ms() - began);
	}
	if (filled == FILLED) {
		cache->stats.misses++;
		copy_put(get, made.body, made.none, fresh_ms);
		return answer(
		    get, made.body, made.none, CF_FILLED, true, fresh_ms);
	}
	if (filled == FILL_LOST) {
		cache->stats.discarded++;
		*again = true;
	} else {
		cache->stats.misses++;
	}
	return answer(get, made.body, made.none, CF_DIRECT, false, 0);
}

/* ---- a get */

static enum rc
get_remote(struct get *get)
{
	struct cache *cache = get->cache;
	int64_t deadline = deadline_in(cache->opts.wait_ms);
	int discards = 0, nap_ms = POLL_FIRST_MS;

	for (;;) {
		bool early = false, again;
		enum rc rc = look(get, false);

		if (rc != RC_OK)
			return get_direct(get);
		if (get->look == LOOK_HIT && wants_early(get)) {
			struct get fresh = *get;

			early = true;
			/* Not the lease: somebody else is at it. */
			if (look(get, true) != RC_OK ||
			    get->look != LOOK_LEASE || !get->has) {
				if (get->look == LOOK_LEASE)
					release(get, 0);
				*get = fresh;
			}
		}
		if (get->look == LOOK_HIT)
			return answer_record(get, CF_REDIS);
		if (get->look == LOOK_LEASE) {
			rc = fill(get, early, &again);
			if (!again)
				return rc;
			if (discards++ < DISCARDS)
				continue;
			/* True when it was read, if not now. */
			cache->stats.misses++;
			return rc;
		}
		if (get->has)
			return answer_record(get, CF_STALE);
		/* Do not line up before a sick database. */
		if (get->look == LOOK_SICK || deadline_left_ms(deadline) == 0) {
			if (discards > 0)
				return get_direct(get);
			cache->stats.misses++;
			return err_set(get->e, RC_RETRY, "cache_busy",
			    get->look == LOOK_SICK
				? "%s could not be read a moment ago"
				: "%s is being read by somebody else",
			    get->kind->name);
		}
		if (nap_ms == POLL_FIRST_MS)
			cache->stats.waits++;
		clock_sleep_ms(nap_ms);
		nap_ms = nap_ms * 3 / 2 < POLL_LAST_MS ? nap_ms * 3 / 2
						       : POLL_LAST_MS;
	}
}

enum rc
cache_get(struct cache *cache, const struct cache_kind *kind, const char *key,
    cache_fetch *fetch, void *arg, struct arena *arena, struct cache_entry *out,
    struct err *e)
{
	struct get get = { .cache = cache,
		.kind = kind,
		.key = key,
		.fetch = fetch,
		.arg = arg,
		.arena = arena,
		.out = out,
		.e = e };
	int64_t now_ms = clock_coarse_ms();
	struct local_copy *copy;
	enum rc rc;

	assert(strpbrk(key, "{}") == NULL);
	free_orphans(cache);
	cache->last = NULL;
	*out = (struct cache_entry){ 0 };
	if (!cache->opts.enabled)
		return get_direct(&get);
	copy = kind->local ? copy_look(cache, key, now_ms) : NULL;
	if (copy != NULL) {
		copy_hit(cache, copy);
		entry_from_copy(copy, now_ms, out);
		return copy->none ? err_set(e, RC_NONE, "not_found",
					"No such %s", kind->name)
				  : RC_OK;
	}
	get.marker = arena_printf(arena, "{%s}:m", key);
	text_random_id(get.token);
	rc = get_remote(&get);
	if (cache->filling != NULL && (rc == RC_OK || rc == RC_NONE))
		note_part(cache->filling, out);
	return rc;
}

/* ---- invalidation */

#define INVALIDATE_BATCH 64

enum rc
cache_invalidate(struct cache *cache, int n, const char *const keys[],
    int64_t lsn, struct arena *arena, struct err *e)
{
	struct span lsn_arg = span_num(arena, lsn);
	struct span marker_ms =
	    span_num(arena, (int64_t)cache->opts.marker_s * 1000);
	struct redis_reply out[INVALIDATE_BATCH];
	struct call *calls =
	    arena_alloc(arena, INVALIDATE_BATCH * sizeof *calls);
	enum rc rc = RC_OK;

	for (int i = 0; i < n; i++)
		drop_key(cache, span_of(keys[i]));
	for (int at = 0; at < n && rc == RC_OK; at += INVALIDATE_BATCH) {
		int batch =
		    n - at < INVALIDATE_BATCH ? n - at : INVALIDATE_BATCH;

		for (int i = 0; i < batch; i++) {
			const char *key = keys[at + i];
			struct span k = span_of(key);

			if (span_starts(k, "gen:"))
				calls[i] =
				    (struct call){ key, &script_cache_bump, 1,
					    3, { k, lsn_arg, k } };
			else
				calls[i] = (struct call){ key,
					&script_cache_invalidate, 2, 5,
					{ k,
					    span_of(arena_printf(
						arena, "{%s}:m", key)),
					    lsn_arg, marker_ms, k } };
		}
		rc = call_all(cache, batch, calls, arena, out, e);
	}
	return rc;
}

/* ---- what is counted */

struct cache_stats
cache_stats(const struct cache *cache)
{
	struct cache_stats stats = cache->stats;

	stats.local_bytes = (int64_t)cache->local.bytes;
	stats.local_entries = (int64_t)cache->local.count;
	stats.local_evictions = cache->local.evictions;
	return stats;
}

void
cache_flush_counters(struct cache *cache, struct arena *arena)
{
	int64_t hits = cache->stats.hits - cache->flushed_hits;
	int64_t misses = cache->stats.misses - cache->flushed_misses;
	struct call calls[2] = {
		{ "cache:hits", NULL, 0, 3,
		    { span_of("INCRBY"), span_of("cache:hits"),
			span_num(arena, hits) } },
		{ "cache:misses", NULL, 0, 3,
		    { span_of("INCRBY"), span_of("cache:misses"),
			span_num(arena, misses) } },
	};
	struct redis_reply out[2];
	struct err e = ERR_INIT;

	if (hits == 0 && misses == 0)
		return;
	if (call_all(cache, 2, calls, arena, out, &e) != RC_OK)
		return;
	cache->flushed_hits += hits;
	cache->flushed_misses += misses;
}
