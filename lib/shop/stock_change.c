#include "shop/stock_change.h"

#include "base/arena.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "shop/shop.h"
#include "shop/stock.h"
#include "store/pg.h"

/* FOR NO KEY UPDATE: rows that refer to a product do not wait. */
static const struct pg_stmt stock_lock_products = { "stock_lock_products",
	"SELECT id FROM product WHERE id = ANY($1::int8[])"
	" ORDER BY id FOR NO KEY UPDATE",
	1 };

/* A statement of its own: its snapshot is younger than the locks. */
static const struct pg_stmt stock_had = { "stock_had",
	"SELECT p.id, EXISTS (SELECT FROM variant v WHERE v.product_id = p.id"
	"  AND v.stock > 0)"
	" FROM product p WHERE p.id = ANY($1::int8[]) ORDER BY p.id",
	1 };

static const struct pg_stmt stock_bump = { "stock_bump",
	"WITH up AS (UPDATE product SET version = version + 1,"
	"   updated_at = now() WHERE id = ANY($1::int8[]) RETURNING id)"
	" SELECT up.id, EXISTS (SELECT FROM variant v"
	"  WHERE v.product_id = up.id AND v.stock > 0)"
	" FROM up ORDER BY up.id",
	1 };

const struct pg_stmt *const stock_change_statements[] = { &stock_lock_products,
	&stock_had, &stock_bump, NULL };

/* "{1,2,3}" */
static const char *
int_array(int n, const int64_t ids[], struct arena *arena)
{
	struct strbuf sb;
	const char *s;

	strbuf_init(&sb, (size_t)n * 8 + 3);
	strbuf_addc(&sb, '{');
	for (int i = 0; i < n; i++)
		strbuf_addf(
		    &sb, "%s%lld", i == 0 ? "" : ",", (long long)ids[i]);
	strbuf_addc(&sb, '}');
	s = arena_strdup(arena, sb.s);
	strbuf_release(&sb);
	return s;
}

static enum rc
run(struct shop *shop, const struct pg_stmt *st, int n, const int64_t ids[],
    struct arena *arena, struct pg_rows *rows, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, int_array(n, ids, arena));
	return pg_exec(shop->pg, PG_PRIMARY, st, &args, arena, rows, e);
}

enum rc
stock_change_begin(struct shop *shop, int n, const int64_t ids[],
    struct arena *arena, struct stock_change *out, struct err *e)
{
	struct pg_rows rows;
	enum rc rc;

	*out = (struct stock_change){ 0 };
	rc = run(shop, &stock_lock_products, n, ids, arena, NULL, e);
	if (rc == RC_OK)
		rc = run(shop, &stock_had, n, ids, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	out->products =
	    arena_calloc(arena, (size_t)rows.n + 1, sizeof *out->products);
	out->had = arena_calloc(arena, (size_t)rows.n + 1, sizeof *out->had);
	for (; out->n < rows.n; out->n++) {
		out->products[out->n] = pg_int(&rows, out->n, 0);
		out->had[out->n] = pg_bool(&rows, out->n, 1);
	}
	return RC_OK;
}

/* The record, what is made of it, and the pages: of these products alone. */
static void
forget(struct stock_change *ch, bool lists, struct arena *arena)
{
	size_t n = (size_t)ch->n;
	const char **keys = arena_calloc(arena, 3 * n + 1, sizeof *keys);
	const char **paths = arena_calloc(arena, 3 * n, sizeof *paths);

	ch->inv = (struct invalidation){
		.keys = keys, .paths = paths, .lists = lists
	};
	for (size_t i = 0; i < n; i++) {
		char id[TEXT_NUM];

		text_num(ch->products[i], id);
		keys[i] = arena_concat(arena, "product:", id, NULL);
		paths[3 * i] = arena_concat(arena, "/products/", id, NULL);
		paths[3 * i + 1] =
		    arena_concat(arena, "/api/products/", id, NULL);
		paths[3 * i + 2] =
		    arena_concat(arena, "/api/products/", id, "/stock", NULL);
		keys[n + 2 * i] =
		    arena_concat(arena, "page:", paths[3 * i], NULL);
		keys[n + 2 * i + 1] =
		    arena_concat(arena, "page:", paths[3 * i + 1], NULL);
	}
	if (lists)
		keys[3 * n] = GEN_CATALOG;
	ch->inv.n_keys = (int)(3 * n) + (lists ? 1 : 0);
	ch->inv.n_paths = (int)(3 * n);
}

enum rc
stock_change_end(struct shop *shop, struct stock_change *ch,
    struct arena *arena, struct err *e)
{
	struct pg_rows rows;
	bool lists = false;
	enum rc rc;

	if (ch->n == 0)
		return RC_OK;
	rc = run(shop, &stock_bump, ch->n, ch->products, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	for (int i = 0; i < rows.n && i < ch->n; i++)
		lists = lists || pg_bool(&rows, i, 1) != ch->had[i];
	forget(ch, lists, arena);
	return invalidation_write(shop->pg, &ch->inv, arena, &ch->inv_id, e);
}

void
stock_change_done(
    struct shop *shop, const struct stock_change *ch, struct arena *arena)
{
	struct err later;

	if (ch->n == 0)
		return;
	(void)!invalidation_carry_out(shop->pg, shop->cache, shop->edge,
	    &ch->inv, ch->inv_id, arena, &later);
	(void)!stock_publish(shop, ch->n, ch->products, arena, &later);
}
