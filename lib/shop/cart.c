/*
 * A cart is its lines: who it is of stands in one row, made when the first
 * piece is put in. What is shown is read with the products of now in one
 * statement; the price it had when it was put in is kept only to say that it
 * has changed.
 */
#include "shop/cart.h"

#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "shop/catalog_int.h"
#include "shop/image_int.h"
#include "shop/order_rate.h"
#include "shop/shop.h"
#include "shop/total.h"
#include "store/pg.h"

static const struct pg_stmt cart_of_customer = { "cart_of_customer",
	"SELECT id FROM cart WHERE customer_id = $1", 1 };
static const struct pg_stmt cart_of_guest = { "cart_of_guest",
	"SELECT id FROM cart WHERE token_hash = $1::bytea", 1 };

static const struct pg_stmt cart_make_customer = { "cart_make_customer",
	"INSERT INTO cart (customer_id) VALUES ($1)"
	" ON CONFLICT (customer_id) DO UPDATE SET updated_at = now()"
	" RETURNING id",
	1 };
static const struct pg_stmt cart_make_guest = { "cart_make_guest",
	"INSERT INTO cart (token_hash) VALUES ($1::bytea) RETURNING id", 1 };

#define LINE_COLUMNS                                                           \
	"p.id, v.id, p.handle, p.title, array_to_string(v.options, ' / '),"    \
	" coalesce((SELECT json_build_object('url', m.src, 'alt', m.alt,"      \
	"   'width', m.width, 'height', m.height, " IMAGE_VARIANTS("m") ")"    \
	"  FROM product_image m WHERE m.product_id = p.id"                     \
	"  AND " IMAGE_SHOWN("m") " ORDER BY m.id = v.image_id DESC NULLS "   \
	"LAST,"                                                                \
	"   m.position, m.id LIMIT 1), 'null'::json),"                         \
	" l.quantity, v.price, l.price, v.stock, p.status = 'active'"
static const struct pg_stmt cart_lines = { "cart_lines",
	"SELECT " LINE_COLUMNS
	" FROM cart_line l JOIN variant v ON v.id = l.variant_id"
	" JOIN product p ON p.id = v.product_id"
	" WHERE l.cart_id = $1 ORDER BY l.added_at, v.id LIMIT 100",
	1 };

/* Which variants a product for sale has; two rows are enough to know that one
 * must be named. */
static const struct pg_stmt cart_variant = { "cart_variant",
	"SELECT v.id, v.price FROM variant v JOIN product p"
	" ON p.id = v.product_id WHERE p.id = $1 AND p.status = 'active'"
	" AND ($2::int8 = 0 OR v.id = $2::int8) ORDER BY v.id LIMIT 2",
	2 };
static const struct pg_stmt cart_product = { "cart_product",
	"SELECT status = 'active' FROM product WHERE id = $1", 1 };

/* The cart's row is locked, so that two requests cannot both be the last line
 * that fits. */
static const struct pg_stmt cart_lock = { "cart_lock",
	"UPDATE cart SET updated_at = now() WHERE id = $1", 1 };
static const struct pg_stmt cart_put = { "cart_put",
	"INSERT INTO cart_line (cart_id, variant_id, quantity, price)"
	" SELECT $1, $2, $3::int, $4 WHERE (SELECT count(*) FROM cart_line"
	"  WHERE cart_id = $1) < 100 OR EXISTS (SELECT FROM cart_line"
	"  WHERE cart_id = $1 AND variant_id = $2)"
	" ON CONFLICT (cart_id, variant_id) DO UPDATE SET price = $4,"
	"  quantity = least(1000, cart_line.quantity + excluded.quantity)",
	4 };

static const struct pg_stmt cart_change = { "cart_change",
	"WITH c AS (UPDATE cart SET updated_at = now() WHERE id = $1),"
	" v AS (SELECT price FROM variant WHERE id = $2)"
	" UPDATE cart_line SET quantity = $3::int,"
	"  price = coalesce((SELECT price FROM v), price)"
	" WHERE cart_id = $1 AND variant_id = $2",
	3 };
static const struct pg_stmt cart_remove = { "cart_remove",
	"WITH c AS (UPDATE cart SET updated_at = now() WHERE id = $1)"
	" DELETE FROM cart_line WHERE cart_id = $1 AND variant_id = $2",
	2 };

/* $1: the customer's, $2: the guest's. */
static const struct pg_stmt cart_merge_lines = { "cart_merge_lines",
	"INSERT INTO cart_line (cart_id, variant_id, quantity, price, added_at)"
	" SELECT $1, l.variant_id, l.quantity, l.price, l.added_at"
	" FROM (SELECT *, count(*) FILTER (WHERE NOT mine)"
	"   OVER (ORDER BY added_at, variant_id) AS nth FROM (SELECT g.*, EXISTS ("
	"    SELECT FROM cart_line m WHERE m.cart_id = $1"
	"    AND m.variant_id = g.variant_id) AS mine"
	"   FROM cart_line g WHERE g.cart_id = $2) x) l"
	" WHERE l.mine OR l.nth <= 100 - (SELECT count(*) FROM cart_line"
	"  WHERE cart_id = $1)"
	" ON CONFLICT (cart_id, variant_id) DO UPDATE SET"
	"  quantity = greatest(cart_line.quantity, excluded.quantity),"
	"  price = excluded.price",
	2 };
static const struct pg_stmt cart_end = { "cart_end",
	"DELETE FROM cart WHERE id = $1", 1 };

static const struct pg_stmt cart_take_ordered = { "cart_take_ordered",
	"DELETE FROM cart_line c USING order_line o WHERE o.order_id = $2"
	" AND c.cart_id = $1 AND c.variant_id = o.variant_id",
	2 };

static const struct pg_stmt cart_old = { "cart_old",
	"DELETE FROM cart WHERE id IN (SELECT id FROM cart"
	" WHERE updated_at < now() - interval '30 days'"
	" AND customer_id IS NULL ORDER BY updated_at LIMIT $1::int"
	" FOR UPDATE SKIP LOCKED)",
	1 };

const struct pg_stmt *const cart_statements[] = { &cart_of_customer,
	&cart_of_guest, &cart_make_customer, &cart_make_guest, &cart_lines,
	&cart_variant, &cart_product, &cart_lock, &cart_put, &cart_change,
	&cart_remove, &cart_merge_lines, &cart_end, &cart_take_ordered, NULL };

/* ---- whose */

static const char *
token_bytea(const char *token, struct arena *arena)
{
	unsigned char hash[32];
	char *text = arena_alloc(arena, 2 + 64 + 1);

	secret_hash(token, hash);
	hash_bytea(hash, text);
	return text;
}

/* *id 0: there is none. Always the primary: what somebody has just put in must
 * be there. */
static enum rc
find(struct shop *shop, const struct cart_who *who, struct arena *arena,
    int64_t *id, struct err *e)
{
	const struct pg_stmt *st = &cart_of_customer;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	*id = 0;
	if (who->customer_id > 0) {
		pg_arg_int(&args, who->customer_id);
	} else if (who->token != NULL && strlen(who->token) == SECRET_CHARS) {
		pg_arg_str(&args, token_bytea(who->token, arena));
		st = &cart_of_guest;
	} else {
		return RC_OK;
	}
	rc = pg_exec(shop->pg, PG_PRIMARY, st, &args, arena, &rows, e);
	if (rc == RC_OK && rows.n > 0)
		*id = pg_int(&rows, 0, 0);
	return rc;
}

/* token: set where a guest gets a new one. */
static enum rc
find_or_make(struct shop *shop, const struct cart_who *who, struct arena *arena,
    int64_t *id, char token[SECRET_CHARS + 1], struct err *e)
{
	const struct pg_stmt *st = &cart_make_customer;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc = find(shop, who, arena, id, e);

	token[0] = '\0';
	if (rc != RC_OK || *id != 0)
		return rc;
	if (who->customer_id > 0) {
		pg_arg_int(&args, who->customer_id);
	} else {
		int wait_s = 0;

		if (who->address != NULL &&
		    (rc = cart_rate_take(
			 shop, who->address, arena, &wait_s, e)) != RC_OK)
			return rc;
		secret_make(token);
		pg_arg_str(&args, token_bytea(token, arena));
		st = &cart_make_guest;
	}
	rc = pg_exec(shop->pg, PG_PRIMARY, st, &args, arena, &rows, e);
	if (rc == RC_OK)
		*id = pg_int(&rows, 0, 0);
	return rc;
}

/* ---- showing */

static const char *
problem_of(bool active, int64_t stock, int64_t quantity)
{
	if (!active)
		return "unavailable";
	if (stock == 0)
		return "sold_out";
	return stock < quantity ? "not_enough" : NULL;
}

/* One row of cart_lines. */
static json_t *
line_json(struct shop *shop, const struct pg_rows *rows, int i,
    struct total *total,
    int64_t *count, bool *ready)
{
	int64_t quantity = pg_int(rows, i, 6), price = pg_int(rows, i, 7),
		was = pg_int(rows, i, 8), stock = pg_int(rows, i, 9);
	bool active = pg_bool(rows, i, 10);
	const char *problem = problem_of(active, stock, quantity);
	struct span cell = pg_cell(rows, i, 5);
	json_t *image = json_loadb(cell.p, cell.n, JSON_DECODE_ANY, NULL);

	image_publish(shop, image, IMAGE_IN_LIST);
	*ready = *ready && problem == NULL;
	*count += quantity;
	if (active && !total_add(total, price, quantity))
		*ready = false; /* no order can be that large */
	return json_pack("{sI sI ss ss ss so sI sI so sI sI ss?}", "productId",
	    (json_int_t)pg_int(rows, i, 0), "variantId",
	    (json_int_t)pg_int(rows, i, 1), "handle", pg_str(rows, i, 2),
	    "title", pg_str(rows, i, 3), "variantTitle", pg_str(rows, i, 4),
	    "image", image,
	    "quantity", (json_int_t)quantity, "price", (json_int_t)price,
	    "priceWas",
	    was == price ? json_null() : json_integer((json_int_t)was), "total",
	    (json_int_t)(price * quantity), "stock", (json_int_t)stock,
	    "problem", problem);
}

enum rc
cart_get(struct shop *shop, const struct cart_who *who, struct arena *arena,
    struct span *json, struct err *e)
{
	struct total_rules rules;
	struct total total = { 0 };
	struct pg_args args = { 0 };
	struct pg_rows rows = { 0 };
	int64_t id, count = 0;
	bool ready = true;
	json_t *lines;
	enum rc rc;

	if ((rc = total_rules(shop->conf, &rules, e)) != RC_OK ||
	    (rc = find(shop, who, arena, &id, e)) != RC_OK)
		return rc;
	pg_arg_int(&args, id);
	if (id != 0)
		rc = pg_exec(
		    shop->pg, PG_PRIMARY, &cart_lines, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	lines = json_array();
	for (int i = 0; i < rows.n; i++)
		(void)json_array_append_new(
		    lines, line_json(shop, &rows, i, &total, &count, &ready));
	if (rows.n == 0)
		rules = (struct total_rules){ 0 };
	ready = total_end(&total, &rules) && ready && rows.n > 0;
	*json = catalog_dump(
	    json_pack("{so sI sI sI sI sI ss sb}", "lines", lines, "count",
		(json_int_t)count, "subtotal", (json_int_t)total.lines,
		"shipping", (json_int_t)total.shipping, "tax",
		(json_int_t)total.tax, "total", (json_int_t)total.total,
		"currency", shop->currency, "ready", (int)ready),
	    arena);
	return RC_OK;
}

/* ---- changing */

static enum rc
quantity_check(int64_t quantity, int64_t least, struct err *e)
{
	if (quantity >= least && quantity <= CART_MAX_QUANTITY)
		return RC_OK;
	return err_set(e, RC_INVALID, "invalid_field",
	    "quantity: %lld to %d pieces", (long long)least, CART_MAX_QUANTITY);
}

/* Which variant is meant, and what it costs. */
static enum rc
pick_variant(struct shop *shop, int64_t product_id, int64_t *variant_id,
    int64_t *price, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 }, p_args = { 0 };
	struct pg_rows rows, product;
	enum rc rc;

	pg_arg_int(&args, product_id);
	pg_arg_int(&args, *variant_id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &cart_variant, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 1) {
		*variant_id = pg_int(&rows, 0, 0);
		*price = pg_int(&rows, 0, 1);
		return RC_OK;
	}
	if (rows.n > 1)
		return err_set(e, RC_INVALID, "variant_required",
		    "This product comes in several variants: choose one");
	pg_arg_int(&p_args, product_id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &cart_product, &p_args, arena, &product, e);
	if (rc != RC_OK)
		return rc;
	if (product.n == 0 || !pg_bool(&product, 0, 0))
		return err_set(
		    e, RC_NONE, "product_not_found", "No such product");
	return err_set(e, RC_INVALID, "invalid_field",
	    "variantId: this product has no such variant");
}

static enum rc
put(struct shop *shop, int64_t cart, int64_t variant_id, int64_t quantity,
    int64_t price, struct arena *arena, struct err *e)
{
	struct pg_args lock = { 0 }, args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&lock, cart);
	rc = pg_exec(shop->pg, PG_PRIMARY, &cart_lock, &lock, arena, NULL, e);
	if (rc != RC_OK)
		return rc;
	pg_arg_int(&args, cart);
	pg_arg_int(&args, variant_id);
	pg_arg_int(&args, quantity);
	pg_arg_int(&args, price);
	rc = pg_exec(shop->pg, PG_PRIMARY, &cart_put, &args, arena, &rows, e);
	if (rc == RC_OK && rows.affected == 0)
		return err_set(e, RC_REFUSED, "cart_full",
		    "A cart holds at most %d different things", CART_MAX_LINES);
	return rc;
}

enum rc
cart_add(struct shop *shop, const struct cart_who *who, int64_t product_id,
    int64_t variant_id, int64_t quantity, struct arena *arena,
    char token[SECRET_CHARS + 1], struct err *e)
{
	int64_t cart, price;
	enum rc rc;

	token[0] = '\0';
	if ((rc = quantity_check(quantity, 1, e)) != RC_OK ||
	    (rc = pick_variant(
		 shop, product_id, &variant_id, &price, arena, e)) != RC_OK ||
	    (rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = find_or_make(shop, who, arena, &cart, token, e);
	if (rc == RC_OK)
		rc = put(shop, cart, variant_id, quantity, price, arena, e);
	if (rc == RC_OK)
		rc = pg_commit(shop->pg, e);
	else
		pg_rollback(shop->pg);
	if (rc != RC_OK)
		token[0] = '\0';
	return rc;
}

enum rc
cart_set(struct shop *shop, const struct cart_who *who, int64_t variant_id,
    int64_t quantity, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows = { 0 };
	int64_t cart;
	enum rc rc;

	if ((rc = quantity_check(quantity, 0, e)) != RC_OK ||
	    (rc = find(shop, who, arena, &cart, e)) != RC_OK)
		return rc;
	pg_arg_int(&args, cart);
	pg_arg_int(&args, variant_id);
	if (quantity > 0)
		pg_arg_int(&args, quantity);
	if (cart != 0)
		rc = pg_exec(shop->pg, PG_PRIMARY,
		    quantity > 0 ? &cart_change : &cart_remove, &args, arena,
		    &rows, e);
	if (rc == RC_OK && rows.affected == 0)
		return err_set(
		    e, RC_NONE, "not_in_cart", "That is not in the cart");
	return rc;
}

/* Inside the transaction. */
static enum rc
merge(struct shop *shop, const struct cart_who *guest, int64_t customer_id,
    struct arena *arena, struct err *e)
{
	const struct cart_who customer = { .customer_id = customer_id };
	struct pg_args lock = { 0 }, args = { 0 }, end = { 0 };
	char unused[SECRET_CHARS + 1];
	int64_t from, to;
	enum rc rc;

	if ((rc = find(shop, guest, arena, &from, e)) != RC_OK || from == 0 ||
	    (rc = find_or_make(shop, &customer, arena, &to, unused, e)) !=
		RC_OK)
		return rc;
	pg_arg_int(&lock, to);
	pg_arg_int(&args, to);
	pg_arg_int(&args, from);
	pg_arg_int(&end, from);
	rc = pg_exec(shop->pg, PG_PRIMARY, &cart_lock, &lock, arena, NULL, e);
	if (rc == RC_OK)
		rc = pg_exec(shop->pg, PG_PRIMARY, &cart_merge_lines, &args,
		    arena, NULL, e);
	if (rc == RC_OK)
		rc = pg_exec(
		    shop->pg, PG_PRIMARY, &cart_end, &end, arena, NULL, e);
	return rc;
}

enum rc
cart_merge(struct shop *shop, const char *token, int64_t customer_id,
    struct arena *arena, struct err *e)
{
	const struct cart_who guest = { .token = token };
	enum rc rc;

	if (token == NULL || strlen(token) != SECRET_CHARS)
		return RC_OK;
	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = merge(shop, &guest, customer_id, arena, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	return pg_commit(shop->pg, e);
}

enum rc
cart_ordered(struct shop *shop, const struct cart_who *who,
    const char *order_id, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	int64_t cart;
	enum rc rc = find(shop, who, arena, &cart, e);

	if (rc != RC_OK || cart == 0)
		return rc;
	pg_arg_int(&args, cart);
	pg_arg_str(&args, order_id);
	return pg_exec(
	    shop->pg, PG_PRIMARY, &cart_take_ordered, &args, arena, NULL, e);
}

enum rc
cart_purge(struct shop *shop, int max, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_int(&args, max);
	return pg_exec(shop->pg, PG_PRIMARY, &cart_old, &args, arena, NULL, e);
}
