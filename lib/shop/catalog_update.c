/*
 * Changing a product. The body is checked whole before anything is written;
 * product, variants and the invalidation are one transaction, so that no cache
 * can miss a change that is there.
 */
#include "shop/catalog.h"

#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "shop/catalog_int.h"
#include "shop/catalog_patch.h"
#include "shop/shop.h"
#include "shop/stock.h"
#include "store/invalidation.h"
#include "store/pg.h"

enum { MAX_SALES = 100 };

static const struct pg_stmt product_lock = { "product_lock",
	"SELECT version, status = 'active',"
	"  EXISTS (SELECT FROM variant WHERE product_id = $1 AND stock > 0)"
	" FROM product WHERE id = $1 FOR UPDATE",
	1 };

/* NULL: leave it as it is. tags as a JSON array. */
static const struct pg_stmt product_update = { "product_update",
	"UPDATE product SET title = coalesce($2, title),"
	" description = coalesce($3, description),"
	" summary = coalesce($4, summary), vendor = coalesce($5, vendor),"
	" type = coalesce($6, type), status = coalesce($7, status),"
	" tags = CASE WHEN $8::jsonb IS NULL THEN tags ELSE"
	"   ARRAY(SELECT jsonb_array_elements_text($8::jsonb)) END,"
	" seo_title = coalesce($9, seo_title),"
	" seo_description = coalesce($10, seo_description),"
	" version = version + 1, updated_at = now() WHERE id = $1"
	" RETURNING version",
	10 };

static const struct pg_stmt variant_update = { "variant_update",
	"UPDATE variant SET sku = CASE WHEN $3::bool THEN $4 ELSE sku END,"
	" price = coalesce($5::int8, price),"
	" compare_at = CASE WHEN $6::bool THEN $7::int8 ELSE compare_at END,"
	" stock = coalesce($8::int, stock)"
	" WHERE id = $1 AND product_id = $2",
	8 };

static const struct pg_stmt product_has_stock = { "product_has_stock",
	"SELECT EXISTS (SELECT FROM variant WHERE product_id = $1"
	" AND stock > 0)",
	1 };

static const struct pg_stmt product_touch = { "product_touch",
	"UPDATE product SET version = version + 1, updated_at = now()"
	" WHERE id = $1",
	1 };

static const struct pg_stmt product_sales = { "product_sales",
	"SELECT DISTINCT s.id FROM sale_item i JOIN sale s ON s.id = i.sale_id"
	" WHERE i.product_id = $1 AND s.ends_at > now() - interval '1 day'"
	" ORDER BY s.id DESC LIMIT 100",
	1 };

/* ---- writing */

static enum rc
write_product(struct shop *shop, int64_t id, const struct catalog_patch *p,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_int(&args, id);
	pg_arg_str(&args, p->title);
	pg_arg_str(&args, p->description);
	pg_arg_str(&args, p->summary);
	pg_arg_str(&args, p->vendor);
	pg_arg_str(&args, p->type);
	pg_arg_str(&args, p->status);
	pg_arg_str(&args, p->tags);
	pg_arg_str(&args, p->seo_title);
	pg_arg_str(&args, p->seo_description);
	return pg_exec(
	    shop->pg, PG_PRIMARY, &product_update, &args, arena, NULL, e);
}

static void
arg_number(struct pg_args *args, const json_t *v)
{
	if (json_is_integer(v))
		pg_arg_int(args, json_integer_value(v));
	else
		pg_arg_str(args, NULL);
}

static enum rc
write_variant(struct shop *shop, int64_t product, const json_t *v,
    struct arena *arena, struct err *e)
{
	const json_t *sku = json_object_get(v, "sku");
	const json_t *compare_at = json_object_get(v, "compareAtPrice");
	int64_t id = json_integer_value(json_object_get(v, "id"));
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, id);
	pg_arg_int(&args, product);
	pg_arg_bool(&args, sku != NULL);
	pg_arg_str(&args, json_string_value(sku));
	arg_number(&args, json_object_get(v, "price"));
	pg_arg_bool(&args, compare_at != NULL);
	arg_number(&args, compare_at);
	arg_number(&args, json_object_get(v, "stock"));
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &variant_update, &args, arena, &rows, e);
	if (rc == RC_REFUSED && strcmp(e->code, "unique_violation") == 0)
		return err_set(e, RC_REFUSED, "sku_taken",
		    "variants.sku: another variant has the SKU \"%s\"",
		    json_string_value(sku));
	if (rc == RC_OK && rows.affected == 0)
		return err_set(e, RC_INVALID, "invalid_field",
		    "variants.id: this product has no variant %lld",
		    (long long)id);
	return rc;
}

/* Lists show prices, titles and whether there is any stock at all. */
static enum rc
lists_change(struct shop *shop, int64_t id, const struct catalog_patch *p,
    bool had_stock, struct arena *arena, bool *out, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	*out = true;
	if (!p->stock_only)
		return RC_OK;
	pg_arg_int(&args, id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &product_has_stock, &args, arena, &rows, e);
	if (rc == RC_OK)
		*out = pg_bool(&rows, 0, 0) != had_stock;
	return rc;
}

/* What must be forgotten: in the arena. */
static enum rc
what_to_forget(struct shop *shop, int64_t id, bool lists, struct arena *arena,
    struct invalidation *inv, struct err *e)
{
	const char **keys =
	    arena_calloc(arena, 4 + 2 * MAX_SALES, sizeof *keys);
	const char **paths = arena_calloc(arena, 3 + MAX_SALES, sizeof *paths);
	struct pg_args args = { 0 };
	struct pg_rows sales;
	enum rc rc;

	pg_arg_int(&args, id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &product_sales, &args, arena, &sales, e);
	if (rc != RC_OK)
		return rc;
	*inv = (struct invalidation){
		.keys = keys, .paths = paths, .lists = lists
	};
	paths[inv->n_paths++] =
	    arena_printf(arena, "/products/%lld", (long long)id);
	paths[inv->n_paths++] =
	    arena_printf(arena, "/api/products/%lld", (long long)id);
	paths[inv->n_paths++] =
	    arena_printf(arena, "/api/products/%lld/stock", (long long)id);
	keys[inv->n_keys++] =
	    arena_printf(arena, "product:%lld", (long long)id);
	for (int i = 0; i < sales.n; i++) {
		const char *sale = pg_str(&sales, i, 0);

		keys[inv->n_keys++] = arena_printf(arena, "sale:%s", sale);
		keys[inv->n_keys++] =
		    arena_printf(arena, "page:/flash-sale/%s", sale);
		paths[inv->n_paths++] =
		    arena_printf(arena, "/flash-sale/%s", sale);
	}
	keys[inv->n_keys++] = arena_printf(arena, "page:%s", paths[0]);
	keys[inv->n_keys++] = arena_printf(arena, "page:%s", paths[1]);
	if (lists)
		keys[inv->n_keys++] = GEN_CATALOG;
	return RC_OK;
}

enum rc
catalog_touch(struct shop *shop, int64_t id, bool lists, struct arena *arena,
    struct invalidation *inv, int64_t *inv_id, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &product_touch, &args, arena, &rows, e);
	if (rc == RC_OK && rows.affected == 0)
		return err_set(
		    e, RC_NONE, "product_not_found", "No such product");
	if (rc == RC_OK)
		rc = what_to_forget(shop, id, lists, arena, inv, e);
	if (rc == RC_OK)
		rc = invalidation_write(shop->pg, inv, arena, inv_id, e);
	return rc;
}

static enum rc
write_all(struct shop *shop, int64_t id, const struct catalog_patch *p,
    int64_t if_version, struct arena *arena, struct invalidation *inv,
    int64_t *inv_id, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	bool lists;
	const json_t *v;
	size_t i;
	enum rc rc;

	pg_arg_int(&args, id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &product_lock, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(
		    e, RC_NONE, "product_not_found", "No such product");
	if (if_version >= 0 && pg_int(&rows, 0, 0) != if_version)
		return err_set(e, RC_REFUSED, "version_conflict",
		    "The product has changed: it has version %lld now",
		    (long long)pg_int(&rows, 0, 0));
	if ((rc = write_product(shop, id, p, arena, e)) != RC_OK)
		return rc;
	json_array_foreach(p->variants, i, v)
	{
		if ((rc = write_variant(shop, id, v, arena, e)) != RC_OK)
			return rc;
	}
	rc = lists_change(shop, id, p, pg_bool(&rows, 0, 2), arena, &lists, e);
	if (rc != RC_OK ||
	    (rc = what_to_forget(shop, id, lists, arena, inv, e)) != RC_OK)
		return rc;
	return invalidation_write(shop->pg, inv, arena, inv_id, e);
}

static enum rc
update(struct shop *shop, int64_t id, const struct catalog_patch *p,
    int64_t if_version, struct arena *arena, struct err *e)
{
	struct invalidation inv;
	struct err later;
	int64_t inv_id;
	enum rc rc;

	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = write_all(shop, id, p, if_version, arena, &inv, &inv_id, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) != RC_OK)
		return rc;
	/* It is committed: what fails from here on is done by the
	 * housekeeper. */
	(void)!invalidation_carry_out(
	    shop->pg, shop->cache, shop->edge, &inv, inv_id, arena, &later);
	return RC_OK;
}

enum rc
catalog_update(struct shop *shop, int64_t id, struct span body,
    int64_t if_version, struct arena *arena, struct span *json,
    int64_t *version, struct err *e)
{
	struct catalog_patch p;
	struct err later;
	bool active;
	enum rc rc;

	if ((rc = catalog_patch_read(body, arena, &p, e)) != RC_OK ||
	    (rc = update(shop, id, &p, if_version, arena, e)) != RC_OK ||
	    (rc = catalog_read(shop, id, PG_PRIMARY, arena, json, &active,
		 version, e)) != RC_OK)
		goto out;
	/* Nobody waits for it. */
	(void)!stock_publish(shop, 1, &id, arena, &later);
out:
	catalog_patch_release(&p);
	return rc;
}

const struct pg_stmt *const catalog_update_statements[] = { &product_lock,
	&product_update, &variant_update, &product_has_stock, &product_touch,
	&product_sales,
	NULL };
