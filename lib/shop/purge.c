#include "shop/purge.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "shop/shop.h"
#include "store/edge.h"
#include "store/invalidation.h"
#include "store/pg.h"

/* What one key may add, at the most. */
enum { ROOM = 4 };

bool
purge_has_room(const struct purge *purge)
{
	return purge->n_keys + ROOM <= PURGE_MAX_KEYS &&
	       purge->n_paths + ROOM <= PURGE_MAX_PATHS;
}

static void
add_page(struct purge *purge, const char *path, struct arena *arena)
{
	purge->keys[purge->n_keys++] = arena_printf(arena, "page:%s", path);
	purge->paths[purge->n_paths++] = path;
}

static bool
id_after(const char *key, const char *prefix, const char **id)
{
	size_t n = strlen(prefix);
	int64_t number;

	*id = key + n;
	return strncmp(key, prefix, n) == 0 &&
	       text_int(span_of(*id), 1, INT64_MAX, &number);
}

/* A page of one thing is purged by its name; all others show many things. */
static void
add_by_path(struct purge *purge, const char *path, struct arena *arena)
{
	const char *id;

	if (id_after(path, "/products/", &id) ||
	    id_after(path, "/api/products/", &id) ||
	    id_after(path, "/flash-sale/", &id)) {
		add_page(purge, arena_strdup(arena, path), arena);
		return;
	}
	purge->keys[purge->n_keys++] = arena_printf(arena, "page:%s", path);
	purge->lists = true;
}

enum rc
purge_add(
    struct purge *purge, const char *key, struct arena *arena, struct err *e)
{
	const char *id;

	assert(purge_has_room(purge));
	if (strpbrk(key, "{}\r\n") != NULL || strlen(key) > 2048)
		return err_set(e, RC_INVALID, "not_cached",
		    "%s: no key of the cache", key);
	if (id_after(key, "product:", &id)) {
		purge->keys[purge->n_keys++] = arena_strdup(arena, key);
		add_page(purge, arena_printf(arena, "/products/%s", id), arena);
		add_page(
		    purge, arena_printf(arena, "/api/products/%s", id), arena);
		purge->paths[purge->n_paths++] =
		    arena_printf(arena, "/api/products/%s/stock", id);
	} else if (id_after(key, "sale:", &id)) {
		purge->keys[purge->n_keys++] = arena_strdup(arena, key);
		add_page(
		    purge, arena_printf(arena, "/flash-sale/%s", id), arena);
	} else if (strncmp(key, "page:/", 6) == 0) {
		add_by_path(purge, key + 5, arena);
	} else if (key[0] == '/') {
		add_by_path(purge, key, arena);
	} else if (strcmp(key, GEN_CATALOG) == 0) {
		purge->keys[purge->n_keys++] = GEN_CATALOG;
		purge->lists = true;
	} else {
		return err_set(e, RC_INVALID, "not_cached",
		    "%s: no key of the cache; they are product:ID, sale:ID, "
		    "page:/PATH, /PATH and " GEN_CATALOG,
		    key);
	}
	return RC_OK;
}

/* Without PostgreSQL nobody else hears of it. */
static enum rc
run_alone(struct shop *shop, const struct purge *purge, struct arena *arena,
    struct err *e)
{
	struct err why = *e;
	enum rc rc = cache_invalidate(
	    shop->cache, purge->n_keys, purge->keys, 0, arena, e);

	for (int i = 0; rc == RC_OK && i < purge->n_paths; i++)
		rc = edge_purge_item(shop->edge, purge->paths[i], e);
	if (rc == RC_OK && purge->lists)
		rc = edge_purge_lists(shop->edge, e);
	if (rc != RC_OK)
		return rc;
	return err_set(e, RC_RETRY, "purge_partly",
	    "purged in Redis and at this host's edge only: %s", why.msg);
}

enum rc
purge_run(
    struct shop *shop, struct purge *purge, struct arena *arena, struct err *e)
{
	struct invalidation inv = { .n_keys = purge->n_keys,
		.keys = purge->keys,
		.n_paths = purge->n_paths,
		.paths = purge->paths,
		.lists = purge->lists };
	int64_t id = 0;
	enum rc rc;

	if (purge->n_keys == 0)
		return RC_OK;
	if ((rc = pg_begin(shop->pg, e)) == RC_OK) {
		rc = invalidation_write(shop->pg, &inv, arena, &id, e);
		if (rc == RC_OK)
			rc = pg_commit(shop->pg, e);
		else
			pg_rollback(shop->pg);
	}
	if (rc == RC_OK)
		rc = invalidation_carry_out(
		    shop->pg, shop->cache, shop->edge, &inv, id, arena, e);
	else if (rc == RC_RETRY)
		rc = run_alone(shop, purge, arena, e);
	purge->n_keys = purge->n_paths = 0;
	purge->lists = false;
	return rc;
}
