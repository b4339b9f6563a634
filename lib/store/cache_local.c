/*
 * cache_local - the tier within the process: what is asked for a thousand
 * times a second costs a hash and a comparison, no system call, no allocation.
 *
 * Strangers choose the keys of pages, so the hash is keyed (SipHash). A copy
 * that is no longer trusted stays in the list until it is replaced, dropped by
 * name or the last one used: with Redis and PostgreSQL both away it is better
 * than nothing. Ending the trust in all of them is one counter.
 */
#include "store/cache_int.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/xmalloc.h"

#define FIRST_BUCKETS 256
/* What malloc and the table need for a copy beside its own bytes. */
#define OVERHEAD 48

void
local_init(struct local *local, size_t max_bytes)
{
	*local = (struct local){ .max_bytes = max_bytes };
	if (max_bytes == 0)
		return;
	local->mask = FIRST_BUCKETS - 1;
	local->bucket = xcalloc(FIRST_BUCKETS, sizeof *local->bucket);
	randombytes_buf(local->hash_key, sizeof local->hash_key);
}

void
local_release(struct local *local)
{
	while (local->oldest != NULL)
		local_drop(local, local->oldest);
	while (local->groups != NULL) {
		struct local_group *next = local->groups->next;

		free(local->groups->name);
		free(local->groups);
		local->groups = next;
	}
	free(local->bucket);
	local->bucket = NULL;
}

struct local_group *
local_group(struct local *local, struct span name)
{
	struct local_group *g;

	for (g = local->groups; g != NULL; g = g->next) {
		if (span_is(name, g->name))
			return g;
	}
	g = xcalloc(1, sizeof *g);
	g->name = xstrndup(name.p, name.n);
	g->next = local->groups;
	local->groups = g;
	return g;
}

static uint64_t
hash_of(const struct local *local, struct span key)
{
	unsigned char out[crypto_shorthash_BYTES];
	uint64_t hash;

	(void)crypto_shorthash(
	    out, (const unsigned char *)key.p, key.n, local->hash_key);
	memcpy(&hash, out, sizeof hash);
	return hash;
}

struct local_copy *
local_find(const struct local *local, struct span key)
{
	struct local_copy *copy;
	uint64_t hash;

	if (local->bucket == NULL)
		return NULL;
	hash = hash_of(local, key);
	copy = local->bucket[hash & local->mask];
	while (copy != NULL && (copy->hash != hash || copy->key_len != key.n ||
				   memcmp(copy->data, key.p, key.n) != 0))
		copy = copy->chain;
	return copy;
}

bool
local_trusted(
    const struct local *local, const struct local_copy *copy, int64_t now_ms)
{
	return copy->epoch == local->epoch && now_ms < copy->expires_ms &&
	       (copy->group == NULL || copy->group_epoch == copy->group->epoch);
}

/* ---- the list by last use */

static void
list_remove(struct local *local, struct local_copy *copy)
{
	if (copy->newer != NULL)
		copy->newer->older = copy->older;
	else
		local->newest = copy->older;
	if (copy->older != NULL)
		copy->older->newer = copy->newer;
	else
		local->oldest = copy->newer;
}

static void
list_add(struct local *local, struct local_copy *copy)
{
	copy->newer = NULL;
	copy->older = local->newest;
	if (local->newest != NULL)
		local->newest->newer = copy;
	else
		local->oldest = copy;
	local->newest = copy;
}

void
local_use(struct local *local, struct local_copy *copy)
{
	/* Half empty it will not have to choose for long, and a list of
	 * thousands is moved about at the price of four cache lines a use. */
	if (local->newest == copy || local->bytes < local->max_bytes / 2)
		return;
	list_remove(local, copy);
	list_add(local, copy);
}

/* ---- putting in and taking out */

void
local_drop(struct local *local, struct local_copy *copy)
{
	struct local_copy **at = &local->bucket[copy->hash & local->mask];

	while (*at != copy)
		at = &(*at)->chain;
	*at = copy->chain;
	list_remove(local, copy);
	local->bytes -= copy->bytes;
	local->count--;
	if (copy->obj != NULL)
		copy->obj_free(copy->obj);
	free(copy);
}

static void
table_grow(struct local *local)
{
	size_t mask = local->mask * 2 + 1;
	struct local_copy **bucket = xcalloc(mask + 1, sizeof *bucket);

	for (struct local_copy *copy = local->newest; copy != NULL;
	     copy = copy->older) {
		copy->chain = bucket[copy->hash & mask];
		bucket[copy->hash & mask] = copy;
	}
	free(local->bucket);
	local->bucket = bucket;
	local->mask = mask;
}

/* Room for that many more bytes, at the cost of whoever was not used for
 * longest, but never of keep. */
static bool
make_room(struct local *local, size_t bytes, const struct local_copy *keep)
{
	size_t kept = keep == NULL ? 0 : keep->bytes;

	if (bytes > local->max_bytes || kept > local->max_bytes - bytes)
		return false;
	while (local->bytes + bytes > local->max_bytes) {
		struct local_copy *victim = local->oldest;

		if (victim == keep)
			victim = victim->newer;
		local_drop(local, victim);
		local->evictions++;
	}
	return true;
}

struct local_copy *
local_put(struct local *local, const struct local_new_copy *from)
{
	size_t size =
	    sizeof(struct local_copy) + from->key.n + from->body.n + 2;
	struct local_copy *copy = local_find(local, from->key);

	if (copy != NULL)
		local_drop(local, copy);
	if (local->bucket == NULL || !make_room(local, size + OVERHEAD, NULL))
		return NULL;
	if (local->count > local->mask)
		table_grow(local);
	copy = xmalloc(size);
	*copy = (struct local_copy){ .hash = hash_of(local, from->key),
		.group = from->group,
		.epoch = local->epoch,
		.group_epoch = from->group == NULL ? 0 : from->group->epoch,
		.expires_ms = from->expires_ms,
		.fresh_until_ms = from->fresh_until_ms,
		.stale_until_ms = from->stale_until_ms,
		.none = from->none,
		.bytes = size + OVERHEAD,
		.key_len = from->key.n,
		.body_len = from->body.n };
	memcpy(copy->data, from->key.p, from->key.n);
	copy->data[from->key.n] = '\0';
	if (from->body.n > 0)
		memcpy(
		    copy->data + from->key.n + 1, from->body.p, from->body.n);
	copy->data[from->key.n + 1 + from->body.n] = '\0';
	copy->chain = local->bucket[copy->hash & local->mask];
	local->bucket[copy->hash & local->mask] = copy;
	list_add(local, copy);
	local->bytes += copy->bytes;
	local->count++;
	return copy;
}

bool
local_attach(struct local *local, struct local_copy *copy, void *obj,
    void (*free_fn)(void *obj), size_t bytes)
{
	if (copy->obj != NULL) {
		copy->obj_free(copy->obj);
		copy->obj = NULL;
		copy->bytes -= copy->obj_bytes;
		local->bytes -= copy->obj_bytes;
	}
	bytes += OVERHEAD;
	if (!make_room(local, bytes, copy))
		return false;
	copy->obj = obj;
	copy->obj_free = free_fn;
	copy->obj_bytes = bytes;
	copy->bytes += bytes;
	local->bytes += bytes;
	return true;
}
