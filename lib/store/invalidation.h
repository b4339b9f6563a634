/*
 * invalidation - what every cache must forget because of a change, written in
 * the transaction of the change (DESIGN 5.3).
 *
 * The writer carries it out right after its commit. What a dead writer left is
 * found by the housekeeper of any host within 1 s. Each host's housekeeper also
 * reads the rows as a log and purges the page cache beside it: once at once,
 * and twice more within the next second, since a page rendered before the
 * change may be stored by nginx a moment after the purge.
 */
#ifndef STORE_INVALIDATION_H
#define STORE_INVALIDATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct arena;
struct cache;
struct edge;
struct pg;
struct pg_stmt;
struct redis;

struct invalidation {
	int n_keys;
	const char *const *keys;  /* of the cache: records first, then what is
	                             made of them, then generations */
	int n_paths;
	const char *const *paths; /* pages at the edge, purged by name */
	bool lists;               /* and all pages that show many things */
};

/* Write the row; inside the transaction of the change. *id is its id. */
enum rc invalidation_write(struct pg *pg, const struct invalidation *inv,
    struct arena *arena, int64_t *id, struct err *e);

/*
 * After the commit: caches, this host's edge, and mark the row as done. An
 * error is for the log only: the row stays and the housekeeper does the rest.
 */
enum rc invalidation_carry_out(struct pg *pg, struct cache *cache,
    struct edge *edge, const struct invalidation *inv, int64_t id,
    struct arena *arena, struct err *e);

/* The housekeeper's side; one per host. All borrowed. */
struct invalidation_log;
struct invalidation_log *invalidation_log_new(
    struct pg *pg, struct redis *redis, struct cache *cache,
    struct edge *edge);
void invalidation_log_free(struct invalidation_log *log); /* NULL is allowed */

/* Every 100 ms. RC_RETRY while PostgreSQL or Redis is away: nothing is lost. */
enum rc invalidation_log_turn(struct invalidation_log *log, struct err *e);

/* What runs with every change, and every 100 ms; for the test that looks at
 * their plans. End with NULL. */
extern const struct pg_stmt *const invalidation_statements[];
extern const struct pg_stmt *const invalidation_log_statements[];

#endif
