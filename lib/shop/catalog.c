/*
 * PostgreSQL makes the JSON in one statement (no N+1 queries); here it is only
 * written compactly once, when the cache is filled. Lists read two index rows
 * per product by LATERAL, never a count over all.
 *
 * Paging is by key: the cursor says where the page before ended ("123", or
 * "RANK-123" in a search), so that page 1,000 costs what page 1 costs. A search
 * ranks the newest 1,000 matches: a word that everything has in it must not
 * make the database rank everything.
 */
#include "shop/catalog.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "shop/catalog_int.h"
#include "shop/image_int.h"
#include "shop/shop.h"
#include "store/pg.h"

/* ---- statements */

static const struct pg_stmt product_get = { "product_get",
	"SELECT json_build_object("
	"'id', p.id, 'handle', p.handle, 'title', p.title,"
	"'description', p.description, 'summary', p.summary,"
	"'vendor', p.vendor, 'type', p.type, 'tags', p.tags,"
	"'status', p.status, 'currency', $2::text,"
	"'price', json_build_object('min', v.low, 'max', v.high),"
	"'options', (SELECT coalesce(json_agg(json_build_object("
	"   'name', o.name, 'values', (SELECT coalesce("
	"     json_agg(x.value ORDER BY x.at, x.id), '[]')"
	"     FROM (SELECT w.options[o.n] AS value,"
	"       min(w.position) AS at, min(w.id) AS id FROM variant w"
	"       WHERE w.product_id = p.id AND w.options[o.n] IS NOT NULL"
	"       GROUP BY 1) x)) ORDER BY o.n), '[]')"
	"   FROM unnest(p.options) WITH ORDINALITY o(name, n)),"
	"'variants', coalesce(v.list, '[]'),"
	"'images', (SELECT coalesce(json_agg(json_build_object("
	"   'id', i.id, 'url', i.src, 'alt', i.alt, 'width', i.width,"
	"   'height', i.height, " IMAGE_VARIANTS("i") ")"
	"   ORDER BY i.position, i.id), '[]')"
	"   FROM product_image i WHERE i.product_id = p.id"
	"    AND " IMAGE_SHOWN("i") "),"
	"'rating', json_build_object('average', CASE WHEN p.rating_count > 0"
	"   THEN round(p.rating_sum::numeric / p.rating_count, 2) END,"
	"   'count', p.rating_count),"
	"'reviews', (SELECT coalesce(json_agg(json_build_object("
	"   'id', r.id, 'author', r.author, 'rating', r.rating,"
	"   'title', r.title, 'body', r.body,"
	"   'createdAt', to_char(r.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))"
	"   ORDER BY r.created_at DESC, r.id DESC), '[]')"
	"   FROM (SELECT * FROM review WHERE product_id = p.id"
	"     ORDER BY created_at DESC, id DESC LIMIT 10) r),"
	"'sales', (SELECT coalesce(json_agg(json_build_object("
	"   'saleId', s.sale_id, 'variantId', s.variant_id) ORDER BY s.id), '[]')"
	"   FROM sale_item s WHERE s.product_id = p.id AND s.state = 'open'),"
	"'stock', coalesce(v.stock, 0), 'available', coalesce(v.stock, 0) > 0,"
	"'seo', json_build_object('title', p.seo_title,"
	"   'description', p.seo_description),"
	"'version', p.version,"
	"'createdAt', to_char(p.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
	"'updatedAt', to_char(p.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
	"), p.status = 'active', p.version "
	"FROM product p, LATERAL (SELECT min(w.price) AS low,"
	"  max(w.price) AS high, sum(w.stock) AS stock,"
	"  json_agg(json_build_object('id', w.id, 'sku', w.sku,"
	"   'title', array_to_string(w.options, ' / '), 'options', w.options,"
	"   'price', w.price, 'compareAtPrice', w.compare_at,"
	"   'stock', w.stock, 'available', w.stock > 0, 'imageId', w.image_id)"
	"   ORDER BY w.position, w.id) AS list"
	"  FROM variant w WHERE w.product_id = p.id) v "
	"WHERE p.id = $1",
	2 };

/* One product of a list, from `p`. */
#define ITEM_JSON                                                              \
	"json_build_object('id', p.id, 'handle', p.handle, 'title', p.title,"  \
	"'vendor', p.vendor, 'currency', $1::text,"                            \
	"'price', json_build_object('min', v.low, 'max', v.high),"             \
	"'compareAtPrice', v.compare_at, 'image', i.image,"                    \
	"'available', coalesce(v.available, false),"                           \
	"'rating', json_build_object('average', CASE WHEN p.rating_count > 0"  \
	"  THEN round(p.rating_sum::numeric / p.rating_count, 2) END,"         \
	"  'count', p.rating_count))"
#define ITEM_FROM                                                              \
	" LEFT JOIN LATERAL (SELECT min(w.price) AS low, max(w.price) AS high,"\
	"  min(w.compare_at) FILTER (WHERE w.compare_at > w.price)"            \
	"    AS compare_at, bool_or(w.stock > 0) AS available"                 \
	"  FROM variant w WHERE w.product_id = p.id) v ON true"                \
	" LEFT JOIN LATERAL (SELECT json_build_object('url', m.src,"           \
	"  'alt', m.alt, 'width', m.width, 'height', m.height, "               \
	IMAGE_VARIANTS("m") ") AS image"                                       \
	"  FROM product_image m WHERE m.product_id = p.id AND "                \
	IMAGE_SHOWN("m")                                                       \
	"  ORDER BY m.position, m.id LIMIT 1) i ON true "

static const struct pg_stmt product_list = { "product_list",
	"SELECT " ITEM_JSON ", p.id, 0 "
	"FROM (SELECT * FROM product WHERE status = 'active' AND id < $2::int8"
	"  ORDER BY id DESC LIMIT $3::int) p" ITEM_FROM "ORDER BY p.id DESC",
	3 };

static const struct pg_stmt product_search = { "product_search",
	"WITH found AS (SELECT id, search FROM product"
	"  WHERE status = 'active' AND search @@ (websearch_to_tsquery('simple',"
	"    $2) || websearch_to_tsquery('english', $2))"
	"  ORDER BY id DESC LIMIT 1000),"
	" ranked AS (SELECT id, (1000000 * ts_rank(search,"
	"   websearch_to_tsquery('simple', $2) ||"
	"   websearch_to_tsquery('english', $2)))::int8 AS rank FROM found),"
	" page AS (SELECT id, rank FROM ranked"
	"   WHERE (rank, id) < ($3::int8, $4::int8)"
	"   ORDER BY rank DESC, id DESC LIMIT $5::int) "
	"SELECT " ITEM_JSON ", p.id, page.rank "
	"FROM page JOIN product p ON p.id = page.id" ITEM_FROM
	"ORDER BY page.rank DESC, page.id DESC",
	5 };

static const struct pg_stmt product_sitemap = { "product_sitemap",
	"SELECT json_build_object('id', id, 'updatedAt',"
	"  to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')) "
	"FROM product WHERE status = 'active' AND id > $1::int8"
	"  AND id <= $2::int8 ORDER BY id",
	2 };

static const struct pg_stmt product_last = { "product_last",
	"SELECT coalesce(max(id), 0) FROM product WHERE status = 'active'", 0 };

/* ---- JSON */

/* An average of 4.67 is written as that, not with what binary makes of it. */
#define DUMP_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(10))

/* What json_build_object wrote, without its spaces, in the arena. */
static enum rc
compact(struct shop *shop, struct span json, struct arena *arena,
    struct span *out, struct err *e)
{
	json_error_t why;
	json_t *tree = json_loadb(json.p, json.n, 0, &why), *image;
	size_t i;

	if (tree == NULL)
		return err_set(e, RC_FAIL, "bad_record",
		    "a record of the database is not JSON: %s", why.text);
	json_array_foreach(json_object_get(tree, "images"), i, image)
	{
		image_publish(shop, image, IMAGE_IN_PRODUCT);
	}
	*out = catalog_dump(tree, arena);
	return RC_OK;
}

struct span
catalog_dump(json_t *tree, struct arena *arena)
{
	size_t n = json_dumpb(tree, NULL, 0, DUMP_FLAGS);
	char *p = arena_alloc(arena, n + 1);

	(void)json_dumpb(tree, p, n, DUMP_FLAGS);
	p[n] = '\0';
	json_decref(tree);
	return (struct span){ p, n };
}

/* ---- one product */

enum rc
catalog_read(struct shop *shop, int64_t id, enum pg_node node,
    struct arena *arena, struct span *json, bool *active, int64_t *version,
    struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, id);
	pg_arg_str(&args, shop->currency);
	rc = pg_exec(shop->pg, node, &product_get, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return RC_NONE;
	*active = pg_bool(&rows, 0, 1);
	*version = pg_int(&rows, 0, 2);
	return compact(shop, pg_cell(&rows, 0, 0), arena, json, e);
}

struct product_fetch {
	struct shop *shop;
	int64_t id;
};

static enum rc
product_fetch(void *arg, enum pg_node node, struct cache_fill *fill,
    struct err *e)
{
	const struct product_fetch *f = arg;
	int64_t version;
	bool active = false;
	enum rc rc = catalog_read(f->shop, f->id, node, fill->arena,
	    &fill->body, &active, &version, e);

	if (rc != RC_OK && rc != RC_NONE)
		return rc;
	fill->none = rc == RC_NONE || !active;
	return RC_OK;
}

static enum rc
no_product(struct err *e)
{
	return err_set(e, RC_NONE, "product_not_found", "No such product");
}

static const char *
product_key(int64_t id, struct arena *arena)
{
	char num[TEXT_NUM];

	return arena_concat(arena, "product:", text_num(id, num), NULL);
}

enum rc
catalog_get(struct shop *shop, int64_t id, struct arena *arena,
    struct cache_entry *out, struct err *e)
{
	struct product_fetch f = { shop, id };
	enum rc rc = cache_get(shop->cache, &shop->kind[SK_PRODUCT],
	    product_key(id, arena), product_fetch, &f, arena, out, e);

	return rc == RC_NONE ? no_product(e) : rc;
}

const char *
catalog_version(struct span product, struct arena *arena)
{
	json_t *tree = json_loadb(product.p, product.n, 0, NULL);
	json_int_t n = json_integer_value(json_object_get(tree, "version"));

	json_decref(tree);
	return arena_printf(arena, "%lld", (long long)n);
}

/* ---- lists */

struct cursor {
	int64_t rank, id;
};

static const struct cursor first_page = { INT64_MAX, INT64_MAX };

/* "123" or "RANK-123". */
static bool
cursor_parse(const char *s, bool ranked, struct cursor *out)
{
	const char *dash = strchr(s, '-');

	*out = first_page;
	if (!ranked)
		return text_int(span_of(s), 1, INT64_MAX, &out->id);
	return dash != NULL &&
	    text_int((struct span){ s, (size_t)(dash - s) }, 0, INT64_MAX,
		&out->rank) &&
	    text_int(span_of(dash + 1), 1, INT64_MAX, &out->id);
}

/* One more row than asked for tells whether there is a next page. */
static enum rc
list_json(struct shop *shop, const struct pg_rows *rows, int limit,
    bool ranked, struct arena *arena, struct span *json, struct err *e)
{
	json_t *products = json_array(), *next = json_null();
	json_error_t why;
	int n = rows->n < limit ? rows->n : limit;

	for (int i = 0; i < n; i++) {
		struct span cell = pg_cell(rows, i, 0);
		json_t *item = json_loadb(cell.p, cell.n, 0, &why);

		if (item == NULL) {
			json_decref(products);
			return err_set(e, RC_FAIL, "bad_record",
			    "a record of the database is not JSON: %s",
			    why.text);
		}
		image_publish(
		    shop, json_object_get(item, "image"), IMAGE_IN_LIST);
		(void)json_array_append_new(products, item);
	}
	if (rows->n > limit) {
		const char *id = pg_str(rows, n - 1, 1);

		next = ranked
		    ? json_sprintf("%s-%s", pg_str(rows, n - 1, 2), id)
		    : json_string(id);
	}
	*json = catalog_dump(
	    json_pack("{soso}", "products", products, "next", next), arena);
	return RC_OK;
}

enum rc
catalog_list(struct shop *shop, const struct catalog_query *query,
    enum pg_node node, struct arena *arena, struct span *json, struct err *e)
{
	bool ranked = query->q != NULL && query->q[0] != '\0';
	struct cursor from = first_page;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	if (query->after != NULL && query->after[0] != '\0' &&
	    !cursor_parse(query->after, ranked, &from))
		return err_set(e, RC_INVALID, "invalid_cursor",
		    "after: not a cursor of this list; take it from \"next\"");
	pg_arg_str(&args, shop->currency);
	if (ranked) {
		pg_arg_str(&args, query->q);
		pg_arg_int(&args, from.rank);
	}
	pg_arg_int(&args, from.id);
	pg_arg_int(&args, query->limit + 1);
	rc = pg_exec(shop->pg, node, ranked ? &product_search : &product_list,
	    &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	return list_json(shop, &rows, query->limit, ranked, arena, json, e);
}

enum rc
catalog_sitemap(struct shop *shop, int n, int range, enum pg_node node,
    struct arena *arena, struct span *json, struct err *e)
{
	json_t *products;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	int64_t files;
	enum rc rc;

	rc = pg_exec(shop->pg, node, &product_last, NULL, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	files = pg_int(&rows, 0, 0) / range + 1;
	if (pg_int(&rows, 0, 0) % range == 0 && files > 1)
		files--;
	rows.n = 0;
	if (n > 0 || files == 1) {
		int64_t from = n == 0 ? 0 : (int64_t)(n - 1) * range;

		pg_arg_int(&args, from);
		pg_arg_int(&args, from + range);
		rc = pg_exec(shop->pg, node, &product_sitemap, &args, arena,
		    &rows, e);
		if (rc != RC_OK)
			return rc;
	}
	products = json_array();
	for (int i = 0; i < rows.n; i++) {
		struct span cell = pg_cell(&rows, i, 0);

		(void)json_array_append_new(
		    products, json_loadb(cell.p, cell.n, 0, NULL));
	}
	*json = catalog_dump(json_pack("{sIso}", "files", (json_int_t)files,
			 "products", products),
	    arena);
	return RC_OK;
}

const struct pg_stmt *const catalog_statements[] = { &product_get,
	&product_list, &product_search, &product_sitemap, &product_last,
	NULL };
