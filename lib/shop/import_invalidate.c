/*
 * The caches hear of an import through rows of `invalidation`, written in its
 * transaction: whoever looks after the caches carries them out within a second
 * of the commit. What was there before is named, a thousand products to a row;
 * of new ones a thousand at most: for these there can only be a remembered "no
 * such thing", which is short-lived. Lists are in one generation.
 */
#include "shop/import_int.h"

#include "shop/shop.h"
#include "store/pg.h"

/* As catalog_update() names them, for sales too. */
static const char products_sql[] =
    "WITH c AS (SELECT id, (row_number() OVER (ORDER BY id) - 1) / 1000 AS nth"
    "  FROM import_changed WHERE how <> 'c'"
    "   OR (SELECT count(*) FROM import_changed WHERE how = 'c') <= 1000),"
    " s AS (SELECT DISTINCT c.nth, s.id FROM c JOIN sale_item i"
    "  ON i.product_id = c.id JOIN sale s ON s.id = i.sale_id"
    "  WHERE s.ends_at > now() - interval '1 day'),"
    " x(nth, rank, key, path) AS ("
    "  SELECT nth, 1, 'product:' || id, '/products/' || id FROM c"
    "  UNION ALL SELECT nth, 2, 'page:/products/' || id,"
    "   '/api/products/' || id FROM c"
    "  UNION ALL SELECT nth, 2, 'page:/api/products/' || id,"
    "   '/api/products/' || id || '/stock' FROM c"
    "  UNION ALL SELECT nth, 1, 'sale:' || id, '/flash-sale/' || id FROM s"
    "  UNION ALL SELECT nth, 2, 'page:/flash-sale/' || id, NULL FROM s)"
    " INSERT INTO invalidation (keys, edge_paths, edge_lists)"
    " SELECT array_agg(key ORDER BY rank, key),"
    "  array_agg(path ORDER BY path) FILTER (WHERE path IS NOT NULL), false"
    " FROM x GROUP BY nth ORDER BY nth";

static const char lists_sql[] =
    "INSERT INTO invalidation (keys, edge_paths, edge_lists)"
    " SELECT ARRAY['" GEN_CATALOG "'], '{}', true"
    " WHERE EXISTS (SELECT FROM import_changed)";

enum rc
import_invalidate(struct pg *pg, struct err *e)
{
	enum rc rc = pg_run(pg, products_sql, 0, e);

	return rc == RC_OK ? pg_run(pg, lists_sql, 0, e) : rc;
}
