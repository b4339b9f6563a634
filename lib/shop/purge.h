/*
 * purge - forgetting what is cached, by name: the record, what is made of it,
 * and the page at the edge of every host.
 *
 * It goes the way of every change (store/invalidation.h): a row for the hosts
 * that are away, carried out here at once.
 */
#ifndef SHOP_PURGE_H
#define SHOP_PURGE_H

#include <stdbool.h>

#include "base/err.h"

struct arena;
struct shop;

enum { PURGE_MAX_KEYS = 512, PURGE_MAX_PATHS = 512 };

struct purge {
	int n_keys, n_paths;
	const char *keys[PURGE_MAX_KEYS];
	const char *paths[PURGE_MAX_PATHS];
	bool lists;
};

/* Room for one more key, whatever it stands for? */
bool purge_has_room(const struct purge *purge);

/*
 * Add a key and all that is made of it, in the arena: "product:42", "sale:3",
 * "page:/products/42", the same as a path "/products/42", "gen:catalog".
 * RC_INVALID "not_cached": it is none of the cache's.
 */
enum rc purge_add(
    struct purge *purge, const char *key, struct arena *arena, struct err *e);

/*
 * Carry it out and empty it. With PostgreSQL away: Redis and this host's edge
 * alone, and RC_RETRY "purge_partly".
 */
enum rc purge_run(
    struct shop *shop, struct purge *purge, struct arena *arena, struct err *e);

#endif
