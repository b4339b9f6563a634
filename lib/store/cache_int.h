/*
 * cache_int - what cache.c, cache_local.c and cache_script.c share.
 */
#ifndef STORE_CACHE_INT_H
#define STORE_CACHE_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "store/redis.h"

/* ---- the scripts; what they take and answer stands above each */
extern const struct redis_script script_cache_read;
extern const struct redis_script script_cache_fill;
extern const struct redis_script script_cache_release;
extern const struct redis_script script_cache_invalidate;
extern const struct redis_script script_cache_bump;
extern const struct redis_script script_cache_generation;

/*
 * ---- The local tier: a hash table and a list by last use, bounded in bytes.
 * A copy is trusted while the tier's epoch and its group's epoch are those it
 * was made in, and until expires_ms. Times are coarse monotonic milliseconds.
 */
struct local_group {
	struct local_group *next;
	char *name; /* "gen:catalog" */
	uint32_t epoch;
};

struct local_copy {
	struct local_copy *chain;         /* in its bucket */
	struct local_copy *newer, *older; /* by last use */
	uint64_t hash;
	const struct local_group *group; /* NULL: none */
	uint32_t epoch, group_epoch;
	int64_t expires_ms;     /* trusted until then */
	int64_t fresh_until_ms; /* the record's own end */
	int64_t stale_until_ms; /* better than nothing until then */
	bool none;
	void *obj; /* cache_attach */
	void (*obj_free)(void *obj);
	size_t obj_bytes;
	size_t bytes; /* counted against the bound, obj's among them */
	size_t key_len, body_len;
	char data[]; /* key, NUL, body, NUL */
};

struct local {
	struct local_copy **bucket; /* NULL: no tier */
	size_t mask;                /* buckets - 1 */
	size_t count, bytes, max_bytes;
	struct local_copy *newest, *oldest;
	struct local_group *groups;
	uint32_t epoch;
	int64_t evictions;
	unsigned char hash_key[16];
};

struct local_new_copy {
	struct span key, body;
	const struct local_group *group;
	bool none;
	int64_t expires_ms, fresh_until_ms, stale_until_ms;
};

void local_init(struct local *local, size_t max_bytes); /* 0: no tier */
void local_release(struct local *local);


/* NULL: there is none. Does not count as use. */
struct local_copy *local_find(const struct local *local, struct span key);

/* Neither dropped nor of a past epoch nor expired. */
bool local_trusted(
    const struct local *local, const struct local_copy *copy, int64_t now_ms);

void local_use(struct local *local, struct local_copy *copy);

/* Replaces what was there. NULL: it does not fit. Copies. */
struct local_copy *local_put(
    struct local *local, const struct local_new_copy *from);
void local_drop(struct local *local, struct local_copy *copy);

/* Takes obj when true: false: it does not fit. */
bool local_attach(struct local *local, struct local_copy *copy, void *obj,
    void (*free_fn)(void *obj), size_t bytes);

/* The group of that name, made when needed; lives as long as the tier. */
struct local_group *local_group(struct local *local, struct span name);

static inline struct span
local_body(const struct local_copy *copy)
{
	return (struct span){ copy->data + copy->key_len + 1, copy->body_len };
}

#endif
