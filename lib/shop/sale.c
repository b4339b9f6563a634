/*
 * The rules stand first and know no database. PostgreSQL makes the record's
 * JSON in one statement.
 */
#include "shop/sale.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "shop/catalog_int.h"
#include "shop/counter.h"
#include "shop/image_int.h"
#include "shop/sale_int.h"
#include "shop/shop.h"
#include "store/invalidation.h"
#include "store/pg.h"

#define MAX_PRICE INT64_C(100000000000000)
#define HOUR_MS INT64_C(3600000)

/* ---- the rules */

static enum rc
time_read(const char *name, const char *s, int64_t now_ms, int64_t *out,
    struct err *e)
{
	if (s == NULL || time_parse(s, now_ms, out) == 0)
		return RC_OK;
	return err_set(e, RC_INVALID, "invalid_time",
	    "%s %s: write a time as 2026-11-22T09:00:00Z, now or +1h", name, s);
}

enum rc
sale_window(const char *start, const char *end, int64_t now_ms,
    struct sale_window *out, struct err *e)
{
	struct sale_window w = { .starts_ms = now_ms };
	enum rc rc;

	if ((rc = time_read("start", start, now_ms, &w.starts_ms, e)) != RC_OK)
		return rc;
	w.ends_ms = w.starts_ms + HOUR_MS;
	if ((rc = time_read("end", end, now_ms, &w.ends_ms, e)) != RC_OK)
		return rc;
	if (w.ends_ms <= w.starts_ms)
		return err_set(e, RC_INVALID, "invalid_window",
		    "a sale must end after it starts");
	*out = w;
	return RC_OK;
}

enum rc
sale_variant_pick(const struct sale_variant list[], int n, int64_t wanted,
    const struct sale_variant **out, struct err *e)
{
	struct strbuf names;
	enum rc rc;

	if (n == 0)
		return err_set(e, RC_INVALID, "no_variants",
		    "the product has nothing to sell: it has no variants");
	for (int i = 0; i < n; i++) {
		if (list[i].id == wanted || (wanted == 0 && n == 1)) {
			*out = &list[i];
			return RC_OK;
		}
	}
	strbuf_init(&names, 256);
	for (int i = 0; i < n; i++) {
		if (names.len >= 200) {
			strbuf_addf(
			    &names, ", ... (the others: /api/products/ID)");
			break;
		}
		strbuf_addf(&names, "%s%lld (%s)", i == 0 ? "" : ", ",
		    (long long)list[i].id, list[i].title);
	}
	if (wanted == 0)
		rc = err_set(e, RC_INVALID, "variant_required",
		    "say which variant; the product has %d: %s", n, names.s);
	else
		rc = err_set(e, RC_INVALID, "invalid_variant",
		    "variant %lld is not of this product, which has %s",
		    (long long)wanted, names.s);
	strbuf_release(&names);
	return rc;
}

static enum rc
bounded(const char *name, int64_t n, int64_t min, int64_t max, struct err *e)
{
	if (n >= min && n <= max)
		return RC_OK;
	return err_set(e, RC_INVALID, "invalid_item",
	    "%s %lld: must be from %lld to %lld", name, (long long)n,
	    (long long)min, (long long)max);
}

enum rc
sale_item_check(const struct sale_item_req *req, struct err *e)
{
	enum rc rc;

	if ((rc = bounded("product", req->product_id, 1, INT64_MAX, e)) !=
		RC_OK ||
	    (rc = bounded("variant", req->variant_id, 0, INT64_MAX, e)) !=
		RC_OK ||
	    (rc = bounded("allotment", req->allotment, 1, SALE_MAX_ALLOTMENT,
		 e)) != RC_OK ||
	    (rc = bounded("limit", req->limit, 0, SALE_MAX_LIMIT, e)) != RC_OK)
		return rc;
	return bounded("price", req->price, -1, MAX_PRICE, e);
}

const char *
sale_state(int draft, int open, int closed)
{
	(void)draft;
	if (open > 0)
		return "open";
	return closed > 0 ? "closed" : "draft";
}

/* ---- writing */

static const struct pg_stmt sale_product = { "sale_product",
	"SELECT p.title, p.status, v.id, array_to_string(v.options, ' / '),"
	" v.price, v.stock FROM product p"
	" LEFT JOIN variant v ON v.product_id = p.id"
	" WHERE p.id = $1 ORDER BY v.position, v.id",
	1 };

static const struct pg_stmt sale_insert = { "sale_insert",
	"INSERT INTO sale (title, starts_at, ends_at) VALUES ($1,"
	" 'epoch'::timestamptz + $2::int8 * interval '1 millisecond',"
	" 'epoch'::timestamptz + $3::int8 * interval '1 millisecond')"
	" RETURNING id",
	3 };

/* Locked, so that two who add at once take different places. */
static const struct pg_stmt sale_touch = { "sale_touch",
	"UPDATE sale SET version = version + 1 WHERE id = $1"
	" RETURNING ends_at <= now()",
	1 };

static const struct pg_stmt sale_item_insert = { "sale_item_insert",
	"INSERT INTO sale_item (sale_id, product_id, variant_id, position,"
	" price, allotment, per_buyer)"
	" SELECT $1::int8, $2::int8, $3::int8, coalesce(max(position), 0) + 1,"
	" $4::int8, $5::int, $6::int FROM sale_item WHERE sale_id = $1::int8",
	6 };

static enum rc
variant_find(struct shop *shop, const struct sale_item_req *req,
    struct arena *arena, const char **title, const struct sale_variant **out,
    struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	struct sale_variant *list;
	int n = 0;
	enum rc rc;

	pg_arg_int(&args, req->product_id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &sale_product, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_NONE, "product_not_found",
		    "there is no product %lld", (long long)req->product_id);
	*title = pg_str(&rows, 0, 0);
	if (strcmp(pg_str(&rows, 0, 1), "active") != 0)
		return err_set(e, RC_REFUSED, "product_not_active",
		    "product %lld is not for sale: it is %s",
		    (long long)req->product_id, pg_str(&rows, 0, 1));
	list = arena_calloc(arena, (size_t)rows.n, sizeof *list);
	for (int i = 0; i < rows.n; i++) {
		if (pg_cell(&rows, i, 2).p == NULL)
			continue; /* the product alone: no variant */
		list[n++] = (struct sale_variant){
			.id = pg_int(&rows, i, 2),
			.title = pg_str(&rows, i, 3),
			.price = pg_int(&rows, i, 4),
			.stock = pg_int(&rows, i, 5),
		};
	}
	return sale_variant_pick(list, n, req->variant_id, out, e);
}

static enum rc
item_insert(struct shop *shop, int64_t sale_id, const struct sale_item_req *req,
    const struct sale_variant *variant, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	enum rc rc;

	pg_arg_int(&args, sale_id);
	pg_arg_int(&args, req->product_id);
	pg_arg_int(&args, variant->id);
	pg_arg_int(&args, req->price < 0 ? variant->price : req->price);
	pg_arg_int(&args, req->allotment);
	pg_arg_int(&args, req->limit == 0 ? 1 : req->limit);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &sale_item_insert, &args, arena, NULL, e);
	if (rc == RC_REFUSED && strcmp(e->code, "unique_violation") == 0)
		return err_set(e, RC_REFUSED, "variant_in_sale",
		    "variant %lld is in this sale already",
		    (long long)variant->id);
	return rc;
}

/* What was cached of a sale: its record, its page, the page at the edge. */
struct forget {
	const char *keys[2], *paths[1];
	struct invalidation inv;
	int64_t id;
};

static enum rc
forget_write(struct shop *shop, int64_t sale_id, struct arena *arena,
    struct forget *f, struct err *e)
{
	f->paths[0] =
	    arena_printf(arena, "/flash-sale/%lld", (long long)sale_id);
	f->keys[0] = arena_printf(arena, "sale:%lld", (long long)sale_id);
	f->keys[1] = arena_printf(arena, "page:%s", f->paths[0]);
	f->inv = (struct invalidation){
		.n_keys = 2, .keys = f->keys, .n_paths = 1, .paths = f->paths
	};
	return invalidation_write(shop->pg, &f->inv, arena, &f->id, e);
}

/* Commit, or not; and after the commit drop what is cached. What fails there
 * the housekeeper does. */
static enum rc
finish(struct shop *shop, enum rc rc, const struct forget *f,
    struct arena *arena, struct err *e)
{
	struct err later;

	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) == RC_OK)
		(void)!invalidation_carry_out(shop->pg, shop->cache, shop->edge,
		    &f->inv, f->id, arena, &later);
	return rc;
}

static enum rc
create_in(struct shop *shop, const struct sale_req *req,
    const struct sale_window *window, struct arena *arena,
    struct sale_made *out, struct forget *f, struct err *e)
{
	const struct sale_variant *variant = NULL;
	const char *title;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	rc = variant_find(shop, &req->item, arena, &title, &variant, e);
	if (rc != RC_OK)
		return rc;
	pg_arg_str(&args, req->title != NULL ? req->title : title);
	pg_arg_int(&args, window->starts_ms);
	pg_arg_int(&args, window->ends_ms);
	rc =
	    pg_exec(shop->pg, PG_PRIMARY, &sale_insert, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	*out = (struct sale_made){ .sale_id = pg_int(&rows, 0, 0),
		.stock = variant->stock,
		.variant_id = variant->id };
	rc = item_insert(shop, out->sale_id, &req->item, variant, arena, e);
	return rc != RC_OK ? rc : forget_write(shop, out->sale_id, arena, f, e);
}

enum rc
sale_create(struct shop *shop, const struct sale_req *req, struct arena *arena,
    struct sale_made *out, struct err *e)
{
	struct sale_window window;
	struct forget f = { 0 };
	size_t n = req->title == NULL ? 1 : strlen(req->title);
	enum rc rc;

	if (n < 1 || n > 500 ||
	    (req->title != NULL && !utf8_valid(req->title, n)))
		return err_set(e, RC_INVALID, "invalid_title",
		    "the title must be UTF-8 of 1 to 500 bytes");
	if ((rc = sale_item_check(&req->item, e)) != RC_OK ||
	    (rc = sale_window(
		 req->start, req->end, clock_wall_ms(), &window, e)) != RC_OK ||
	    (rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = create_in(shop, req, &window, arena, out, &f, e);
	return finish(shop, rc, &f, arena, e);
}

static enum rc
add_in(struct shop *shop, int64_t sale_id, const struct sale_item_req *req,
    struct arena *arena, struct sale_made *out, struct forget *f, struct err *e)
{
	const struct sale_variant *variant = NULL;
	const char *title;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, sale_id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &sale_touch, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_NONE, "sale_not_found",
		    "there is no sale %lld", (long long)sale_id);
	if (pg_bool(&rows, 0, 0))
		return err_set(e, RC_REFUSED, "sale_ended", "sale %lld is over",
		    (long long)sale_id);
	rc = variant_find(shop, req, arena, &title, &variant, e);
	if (rc != RC_OK)
		return rc;
	*out = (struct sale_made){ .sale_id = sale_id,
		.stock = variant->stock,
		.variant_id = variant->id };
	rc = item_insert(shop, sale_id, req, variant, arena, e);
	return rc != RC_OK ? rc : forget_write(shop, sale_id, arena, f, e);
}

enum rc
sale_add(struct shop *shop, int64_t sale_id, const struct sale_item_req *req,
    struct arena *arena, struct sale_made *out, struct err *e)
{
	struct forget f = { 0 };
	enum rc rc;

	if ((rc = sale_item_check(req, e)) != RC_OK ||
	    (rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = add_in(shop, sale_id, req, arena, out, &f, e);
	return finish(shop, rc, &f, arena, e);
}

/* ---- reading */

#define UTC(column)                                                            \
	"to_char(" column " AT TIME ZONE 'UTC',"                               \
	" 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

/* The variant's own picture, else the product's first. */
/* clang-format off */
static const struct pg_stmt sale_record = { "sale_record",
	"SELECT json_build_object('id', s.id, 'title', s.title,"
	"  'startsAt', " UTC("s.starts_at") ",'endsAt', " UTC("s.ends_at") ","
	"  'currency', $2::text, 'items', (SELECT"
	"  coalesce(json_agg(json_build_object('productId',"
	"  i.product_id, 'variantId', i.variant_id, 'handle',"
	"  p.handle, 'title', p.title, 'variantTitle',"
	"  array_to_string(v.options, ' / '), 'image', m.image,"
	"  'price', i.price, 'regularPrice', v.price, 'allotment',"
	"  i.allotment, 'limit', i.per_buyer, 'stock', CASE i.state"
	"  WHEN 'draft' THEN i.allotment WHEN 'closed' THEN 0 ELSE"
	"  greatest(0, i.allotment - (SELECT count(*)"
	"     FROM sale_unit u"
	"     WHERE u.item_id = i.id)) END, 'state', i.state)"
	"     ORDER BY i.position, i.id), '[]')"
	"   FROM sale_item i"
	"   JOIN product p ON p.id = i.product_id"
	"   JOIN variant v ON v.id = i.variant_id"
	"   LEFT JOIN LATERAL (SELECT json_build_object('url', g.src,"
	"    'alt', g.alt, 'width', g.width, 'height', g.height,"
	"    " IMAGE_VARIANTS("g") ") AS image"
	"    FROM product_image g"
	"    WHERE g.product_id = i.product_id AND " IMAGE_SHOWN("g")
	"    ORDER BY (g.id = v.image_id) DESC NULLS LAST,"
	"     g.position, g.id"
	"    LIMIT 1) m ON true"
	"   WHERE i.sale_id = s.id), 'version', s.version)"
	" FROM sale s"
	" WHERE s.id = $1",
	2 };
/* clang-format on */

static const struct pg_stmt sale_items = { "sale_items",
	"SELECT i.product_id, i.variant_id, i.allotment, i.state, i.epoch,"
	" (SELECT count(*) FROM sale_unit u"
	"  WHERE u.item_id = i.id AND u.order_id IS NOT NULL), i.id"
	" FROM sale s LEFT JOIN sale_item i ON i.sale_id = s.id"
	" WHERE s.id = $1 ORDER BY i.position, i.id",
	1 };

/* clang-format off */
static const struct pg_stmt sale_all = { "sale_all",
	"SELECT s.id, s.title, " UTC("s.starts_at") "," UTC("s.ends_at") ","
	"  count(i.id), count(i.id) FILTER (WHERE i.state = 'open'),"
	"  count(i.id) FILTER (WHERE i.state = 'closed')"
	" FROM (SELECT *"
	"  FROM sale"
	"  ORDER BY id DESC"
	"  LIMIT 1000) s"
	" LEFT JOIN sale_item i ON i.sale_id = s.id"
	" GROUP BY s.id, s.title, s.starts_at, s.ends_at"
	" ORDER BY s.id DESC",
	0 };
/* clang-format on */

const struct pg_stmt *const sale_statements[] = { &sale_record, NULL };

static enum rc
no_sale(struct err *e)
{
	return err_set(e, RC_NONE, "sale_not_found", "No such sale");
}

struct sale_fetch {
	struct shop *shop;
	int64_t id;
};

static enum rc
sale_fetch(void *arg, enum pg_node node, struct cache_fill *fill, struct err *e)
{
	const struct sale_fetch *f = arg;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	struct span cell;
	json_t *tree, *item;
	size_t i;
	enum rc rc;

	pg_arg_int(&args, f->id);
	pg_arg_str(&args, f->shop->currency);
	rc = pg_exec(
	    f->shop->pg, node, &sale_record, &args, fill->arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	fill->none = rows.n == 0;
	if (fill->none)
		return RC_OK;
	cell = pg_cell(&rows, 0, 0);
	tree = json_loadb(cell.p, cell.n, 0, NULL);
	if (tree == NULL)
		return err_set(e, RC_FAIL, "bad_record",
		    "the record of sale %lld is not JSON", (long long)f->id);
	json_array_foreach(json_object_get(tree, "items"), i, item)
	{
		image_publish(
		    f->shop, json_object_get(item, "image"), IMAGE_IN_LIST);
	}
	fill->body = catalog_dump(tree, fill->arena);
	return RC_OK;
}

enum rc
sale_get(struct shop *shop, int64_t id, struct arena *arena,
    struct cache_entry *out, struct err *e)
{
	struct sale_fetch f = { shop, id };
	enum rc rc = cache_get(shop->cache, &shop->kind[SK_SALE],
	    arena_printf(arena, "sale:%lld", (long long)id), sale_fetch, &f,
	    arena, out, e);

	return rc == RC_NONE ? no_sale(e) : rc;
}

/* Holds without a live order on their unit: number by number. */
static enum rc
held_count(struct shop *shop, const struct sale_item *item, int64_t *held,
    struct err *e)
{
	struct arena *arena = arena_new();
	struct sale_page page = { .to = 0 };
	enum rc rc;

	*held = 0;
	do {
		arena_reset(arena);
		rc = sale_compare(shop, item, page.to + 1, arena, &page, e);
		for (int i = 0; rc == RC_OK && i < page.n; i++)
			*held += page.finding[i].wrong == SW_NO_ORDER;
	} while (rc == RC_OK && !page.last);
	arena_free(arena);
	return rc;
}

/* Without Redis, or while it is not armed, there is no counter to show. */
static json_t *
status_item(struct shop *shop, const struct sale_item *it, int64_t sold,
    struct arena *arena)
{
	struct counter_state state = { .armed = false };
	int64_t held = 0;
	struct err later;
	bool armed;

	if (it->state == SI_OPEN)
		(void)!counter_state(
		    shop->sale_redis, sale_item_ref(it), arena, &state, &later);
	armed = state.armed && state.epoch == it->epoch;
	if (armed && held_count(shop, it, &held, &later) != RC_OK)
		armed = false;
	return json_pack("{s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:b}",
	    "productId", (json_int_t)it->product_id, "variantId",
	    (json_int_t)it->variant_id, "allotment", (json_int_t)it->allotment,
	    "left", armed ? json_integer(state.left) : json_null(), "held",
	    (json_int_t)held, "sold", (json_int_t)sold, "epoch",
	    (json_int_t)it->epoch, "armed", (int)armed);
}

enum rc
sale_status(struct shop *shop, int64_t id, struct arena *arena,
    struct span *json, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	int draft = 0, open = 0, closed = 0;
	json_t *items;
	enum rc rc;

	pg_arg_int(&args, id);
	rc = pg_exec(shop->pg, PG_PRIMARY, &sale_items, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return no_sale(e);
	items = json_array();
	for (int i = 0; i < rows.n; i++) {
		const char *state = pg_str(&rows, i, 3);
		struct sale_item it = {
			.id = pg_int(&rows, i, 6),
			.sale_id = id,
			.product_id = pg_int(&rows, i, 0),
			.variant_id = pg_int(&rows, i, 1),
			.allotment = (int)pg_int(&rows, i, 2),
			.epoch = pg_int(&rows, i, 4),
		};

		if (pg_cell(&rows, i, 0).p == NULL)
			continue; /* a sale without items */
		it.state = strcmp(state, "open") == 0     ? SI_OPEN
			   : strcmp(state, "closed") == 0 ? SI_CLOSED
							  : SI_DRAFT;
		draft += it.state == SI_DRAFT;
		open += it.state == SI_OPEN;
		closed += it.state == SI_CLOSED;
		(void)json_array_append_new(
		    items, status_item(shop, &it, pg_int(&rows, i, 5), arena));
	}
	*json = catalog_dump(
	    json_pack("{s:I, s:s, s:o}", "saleId", (json_int_t)id, "state",
		sale_state(draft, open, closed), "items", items),
	    arena);
	return RC_OK;
}

enum rc
sale_list(
    struct shop *shop, struct arena *arena, struct span *json, struct err *e)
{
	struct pg_rows rows;
	json_t *list;
	enum rc rc =
	    pg_exec(shop->pg, PG_PRIMARY, &sale_all, NULL, arena, &rows, e);

	if (rc != RC_OK)
		return rc;
	list = json_array();
	for (int i = 0; i < rows.n; i++) {
		int items = (int)pg_int(&rows, i, 4);
		int open = (int)pg_int(&rows, i, 5);
		int closed = (int)pg_int(&rows, i, 6);

		(void)json_array_append_new(
		    list, json_pack("{s:I, s:s, s:s, s:s, s:s, s:i}", "saleId",
			      (json_int_t)pg_int(&rows, i, 0), "state",
			      sale_state(items - open - closed, open, closed),
			      "title", pg_str(&rows, i, 1), "startsAt",
			      pg_str(&rows, i, 2), "endsAt",
			      pg_str(&rows, i, 3), "items", items));
	}
	*json = catalog_dump(list, arena);
	return RC_OK;
}
