/*
 * cache - cache-aside on Redis with a bounded local tier in each process.
 *
 * DESIGN 5.3: the cache never keeps what was true before the write.
 *  - A miss takes a lease; an invalidation revokes it; a fill without its
 *    lease is discarded (and the caller told: it must not be cached anywhere
 *    downstream either, see cache_entry.storable).
 *  - An invalidation leaves the least acceptable version behind. Versions are
 *    WAL positions: a fill reads from the replica only when the replica has
 *    replayed at least that much, otherwise from the primary.
 *  - One filler per key; the others get the stale copy or wait briefly.
 *  - A hot key is refreshed before it expires (XFetch: Vattani, Chierichetti,
 *    Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015).
 *  - A process that lost its invalidation subscription trusts none of its
 *    local copies: it asks Redis.
 *  - Redis away: every get is a read from the database, unshared, unstored.
 *
 * Keys in Redis: `K` the record, `{K}:m` its lease and least version. A key
 * must not hold braces (page keys percent-encode them), so both share a slot.
 * Many keys at once: a generation (cache_group) is stored with an entry and
 * must still be current when it is read; bumping it ends them all.
 */
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "store/pg.h"

struct arena;
struct cache;
struct redis;

/* What the TTL table says of a kind of data. */
struct cache_kind {
	const char *name;  /* "product": for stats and souk.ini */
	int fresh_s;       /* served without asking; +-10 % jitter per fill */
	int stale_s;       /* served beyond that while one refills */
	int negative_s;    /* how long "no such thing" is kept */
	const char *group; /* "gen:catalog", or NULL: the generation it is in */
	bool local;        /* may live in the process's own tier */
};

struct cache_opts {
	struct redis *redis; /* borrowed */
	struct pg *pg;       /* borrowed: positions */
	size_t local_bytes;  /* bound of the local tier; 0: none */
	int local_s;         /* longest life in the local tier */
	int lease_ms;        /* a filler that takes longer lost it */
	int wait_ms;         /* how long the others wait for it */
	int marker_s;        /* how long the least version is kept: longer than
	                        any replica lags */
	bool enabled;        /* false: every get reads the database */
};

struct cache *cache_new(const struct cache_opts *opts);
void cache_free(struct cache *cache); /* NULL is allowed */

/* Made by a fetch: what is stored. Borrowed until cache_get returns. */
struct cache_fill {
	struct span body;    /* anything */
	bool none;           /* negative entry: no such thing */
	int fresh_s;         /* 0: the kind's; else shorter (a sale that starts) */
	struct arena *arena; /* where body may be made: the caller's */
};

/*
 * Read the truth. node: where it may be read; PG_PRIMARY must be obeyed.
 * Anything but RC_OK is given to the caller of cache_get and nothing is
 * stored. "No such thing" is RC_OK with fill->none.
 */
typedef enum rc cache_fetch(void *arg, enum pg_node node,
    struct cache_fill *fill, struct err *e);

enum cache_from { CF_LOCAL, CF_REDIS, CF_STALE, CF_FILLED, CF_DIRECT };

struct cache_entry {
	struct span body;      /* valid until the next call on this cache, or in
	                          the arena; copy what must live longer */
	enum cache_from from;
	bool storable;         /* false: must not be kept downstream (its lease was
	                          revoked, or Redis is away) */
	int fresh_left_s;      /* what a downstream cache may keep it for; 0 when
	                          stale */
	void *parsed;          /* what cache_attach() tied to the local copy */
};

/*
 * A fetch may get other entries of the cache: what it makes of them is kept no
 * longer than they are, and local copies are not used for it, so that with
 * cache_invalidate() naming the parts before what is made of them nothing is
 * made of old ones.
 *
 * key: see above. RC_NONE: no such thing (a negative entry counts).
 * RC_RETRY "cache_busy": somebody fills, there is nothing stale, and the wait
 * is over; or a fetch of it failed a moment ago. Otherwise what fetch returned.
 */
enum rc cache_get(struct cache *cache, const struct cache_kind *kind,
    const char *key, cache_fetch *fetch, void *arg, struct arena *arena,
    struct cache_entry *out, struct err *e);

/*
 * Tie something derived from the body (a parsed tree, a compressed form) to
 * the local copy just returned by cache_get: freed with free_fn when the copy
 * goes. Counted with `bytes` against the tier's bound. Takes obj in any case:
 * false: there is no local copy, obj stays valid until the next cache_get.
 */
bool cache_attach(struct cache *cache, const struct cache_kind *kind,
    const char *key, void *obj, void (*free_fn)(void *obj), size_t bytes);

/* The local copy, if it may be trusted right now; no I/O at all. False: call
 * cache_get. The hot path of pages. */
bool cache_peek(struct cache *cache, const struct cache_kind *kind,
    const char *key, struct cache_entry *out);

/*
 * End the life of a key, everywhere, at once: delete the record, revoke the
 * lease, leave lsn as the least version, tell every process
 * (`cache:invalidate` {"key": key}). Safe to repeat. The caller has committed
 * the change; lsn: pg_position(PG_PRIMARY) after that. keys: in order, what
 * others are made of first.
 * Keys that begin with "gen:" are generations: bumped instead.
 */
enum rc cache_invalidate(struct cache *cache, int n, const char *const keys[],
    int64_t lsn, struct arena *arena, struct err *e);

/* A message of `cache:invalidate` has come: drop the local copy (a generation:
 * all of its copies). Never called in the middle of a cache_get. */
void cache_dropped(struct cache *cache, struct span key);

/* The same from the message's text, {"key": ...}. False: not of that form. */
bool cache_message(struct cache *cache, struct span payload);

/*
 * The subscription: false at first; while false, local copies are not used.
 * Call it with redis_sub_fresh() after each redis_sub_turn(); on `restarted`
 * with false and then true, so that all that was learned before is forgotten.
 */
void cache_trust_local(struct cache *cache, bool trusted);

/* hits: answered from a copy, stale ones among them; misses: the database was
 * asked, or nobody could be. */
struct cache_stats {
	int64_t hits, misses, stale, fills, discarded, waits;
	int64_t local_hits, local_bytes, local_entries, local_evictions;
};
struct cache_stats cache_stats(const struct cache *cache);

/*
 * Add what was counted since the last call to `cache:hits` and `cache:misses`.
 * Called every second or so, never per request; a failure is kept for the
 * next time.
 */
void cache_flush_counters(struct cache *cache, struct arena *arena);

#endif
