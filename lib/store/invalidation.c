#include "store/invalidation.h"

#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "store/cache.h"
#include "store/edge.h"
#include "store/pg.h"

static const struct pg_stmt invalidation_insert = { "invalidation_insert",
	"INSERT INTO invalidation (keys, edge_paths, edge_lists) "
	"SELECT ARRAY(SELECT jsonb_array_elements_text($1::jsonb)),"
	" ARRAY(SELECT jsonb_array_elements_text($2::jsonb)), $3::bool "
	"RETURNING id",
	3 };
static const struct pg_stmt invalidation_done = { "invalidation_done",
	"UPDATE invalidation SET done_at = clock_timestamp() WHERE id = $1",
	1 };

static const char *
json_list(int n, const char *const s[], struct arena *arena)
{
	struct strbuf sb;

	strbuf_init(&sb, 256);
	strbuf_addc(&sb, '[');
	for (int i = 0; i < n; i++) {
		strbuf_adds(&sb, i == 0 ? "\"" : ",\"");
		strbuf_add_json(&sb, s[i], strlen(s[i]));
		strbuf_addc(&sb, '"');
	}
	strbuf_addc(&sb, ']');
	const char *out = arena_strdup(arena, sb.s);

	strbuf_release(&sb);
	return out;
}

enum rc
invalidation_write(struct pg *pg, const struct invalidation *inv,
    struct arena *arena, int64_t *id, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, json_list(inv->n_keys, inv->keys, arena));
	pg_arg_str(&args, json_list(inv->n_paths, inv->paths, arena));
	pg_arg_bool(&args, inv->lists);
	rc = pg_exec(
	    pg, PG_PRIMARY, &invalidation_insert, &args, arena, &rows, e);
	if (rc == RC_OK)
		*id = pg_int(&rows, 0, 0);
	return rc;
}

/* All of them, also where one cannot be purged. */
static enum rc
purge_edge(struct edge *edge, const struct invalidation *inv, struct err *e)
{
	enum rc rc = RC_OK, one;

	for (int i = 0; i < inv->n_paths; i++) {
		if ((one = edge_purge_item(edge, inv->paths[i], e)) != RC_OK)
			rc = one;
	}
	if (inv->lists && (one = edge_purge_lists(edge, e)) != RC_OK)
		rc = one;
	return rc;
}

enum rc
invalidation_carry_out(struct pg *pg, struct cache *cache, struct edge *edge,
    const struct invalidation *inv, int64_t id, struct arena *arena,
    struct err *e)
{
	struct pg_args args = { 0 };
	int64_t lsn = 0;
	enum rc rc = pg_position(pg, PG_PRIMARY, &lsn, e), cache_rc, edge_rc;

	/* Without a position the leases are revoked all the same; the row is
	 * not done then, and the housekeeper leaves the least version. */
	cache_rc = cache_invalidate(
	    cache, inv->n_keys, inv->keys, lsn, arena, rc == RC_OK ? e : NULL);
	if (rc == RC_OK)
		rc = cache_rc;
	/* The edge after the cache: what it fetches next comes from there. */
	edge_rc = purge_edge(edge, inv, rc == RC_OK ? e : NULL);
	/* Done is what Redis was told; the edge has the log. */
	if (rc == RC_OK) {
		pg_arg_int(&args, id);
		rc = pg_exec(
		    pg, PG_PRIMARY, &invalidation_done, &args, arena, NULL, e);
	}
	return rc != RC_OK ? rc : edge_rc;
}

const struct pg_stmt *const invalidation_statements[] = { &invalidation_insert,
	&invalidation_done, NULL };
