/*
 * Placing an order: two round trips. The first reads what the lines mean now
 * (variant, title, price, stock); the second is one autocommit statement that
 * writes the order, its lines and its four tasks, where the prices are still
 * those: so what is charged is the database's in the transaction that charges
 * it, without a lock and without a transaction held open between round trips.
 * Prices that change in between are read again, three times at most.
 *
 * The stock is looked at, not taken: decrease_stock decides, a moment later,
 * and nobody waits for a row that everybody buys.
 *
 * One id is one order (its primary key). A second insert of it waits for the
 * first, is refused, and gives the first one's answer. What is refused for
 * another reason is looked up too where there is a key: stock that the first
 * one took must not refuse its repeat.
 */
#include "shop/order.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "shop/catalog_int.h"
#include "shop/order_int.h"
#include "shop/order_life.h"
#include "shop/payment.h"
#include "shop/shop.h"
#include "shop/total.h"
#include "store/mail.h"
#include "store/outbox.h"
#include "store/pg.h"

/* A second row of a line says that its variant must be named. */
static const struct pg_stmt order_variants = { "order_variants",
	"SELECT r.n, p.id, p.title, v.id, v.price, v.stock, v.title"
	" FROM jsonb_to_recordset($1::jsonb) AS r(n int, p int8, v int8)"
	" LEFT JOIN product p ON p.id = r.p AND p.status = 'active'"
	" LEFT JOIN LATERAL (SELECT w.id, w.price, w.stock,"
	"   left(array_to_string(w.options, ' / '), 500) AS title"
	"  FROM variant w WHERE w.product_id = p.id"
	"  AND (r.v = 0 OR w.id = r.v) ORDER BY w.id LIMIT 2) v ON true"
	" ORDER BY r.n, v.id",
	1 };

/* clang-format off */
static const struct pg_stmt order_insert = { "order_insert",
	"WITH"
	" line AS MATERIALIZED (SELECT *"
	"  FROM jsonb_to_recordset($12::jsonb) AS x(line int,"
	"   product_id int8, variant_id int8, title text,"
	"   variant_title text, quantity int, price int8)),"
	" same AS (SELECT count(*) AS n"
	"  FROM line l"
	"  JOIN variant v ON v.id = l.variant_id AND v.product_id ="
	"   l.product_id AND v.price = l.price"
	"  JOIN product p ON p.id = v.product_id AND p.status ="
	"   'active'),"
	" told AS (SELECT $11::jsonb || jsonb_build_object("
	"  'createdAt', " ORDER_UTC("now()") ",'expiresAt',"
	"  " ORDER_UTC("now() + $14::int8 * interval '1 s'") ") AS"
	"  answer),"
	" placed AS (INSERT INTO orders (id, customer_id,"
	"  access_hash, status, currency, shipping, tax, total,"
	"  email, address, request_hash, answer, created_at,"
	"  expires_at, expires_cap)"
	"  SELECT $1::text, $2::int8, $3::bytea, 'pending',"
	"   $4::text, $5::int8, $6::int8, $7::int8, $8::text,"
	"   $9::jsonb, $10::bytea, CASE WHEN $10::bytea IS NOT NULL"
	"   THEN told.answer END, now(), now() + $14::int8 *"
	"   interval '1 s', now() + 3 * $14::int8 * interval '1 s'"
	"  FROM same, told"
	"  WHERE same.n = $15::int8"
	"  RETURNING id),"
	" lines AS (INSERT INTO order_line (order_id, line,"
	"  product_id, variant_id, title, variant_title, quantity,"
	"  price)"
	"  SELECT placed.id, l.line, l.product_id, l.variant_id,"
	"   l.title, l.variant_title, l.quantity, l.price"
	"  FROM placed, line l),"
	" tasks AS (INSERT INTO outbox (task_id, queue, type,"
	"  priority, data, visible_at)"
	"  SELECT t.id, t.queue, t.type, t.priority, t.data, CASE"
	"   WHEN t.hidden THEN 'infinity' ELSE clock_timestamp() END"
	"  FROM placed, jsonb_to_recordset($13::jsonb) AS t(id"
	"   text, queue text, type text, priority text, data jsonb,"
	"   hidden bool))"
	" SELECT told.answer"
	" FROM placed, told",
	15 };
/* clang-format on */

static const struct pg_stmt order_standing = { "order_standing",
	"SELECT answer, request_hash = $2::bytea FROM orders WHERE id = $1",
	2 };

const struct pg_stmt *const order_statements[] = { &order_variants,
	&order_insert, &order_standing, NULL };

void
order_access_token(
    const char *key, const char *id, char token[SECRET_CHARS + 1])
{
	static const char label[] = "souk access token 1";
	unsigned char digest[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state st;

	if (key == NULL) {
		secret_make(token);
		return;
	}
	/* Each part with its NUL: none of them holds one. */
	(void)crypto_hash_sha256_init(&st);
	(void)crypto_hash_sha256_update(
	    &st, (const unsigned char *)label, sizeof label);
	(void)crypto_hash_sha256_update(
	    &st, (const unsigned char *)key, strlen(key) + 1);
	(void)crypto_hash_sha256_update(
	    &st, (const unsigned char *)id, strlen(id) + 1);
	(void)crypto_hash_sha256_final(&st, digest);
	(void)sodium_bin2base64(token, SECRET_CHARS + 1, digest, sizeof digest,
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(digest, sizeof digest);
}

/* ---- what the lines mean */

enum rc
order_lines_sum(struct order_line lines[], int *n, struct err *e)
{
	int out = 0;

	for (int i = 0; i < *n; i++) {
		int at = 0;

		while (at < out && lines[at].variant_id != lines[i].variant_id)
			at++;
		if (at == out)
			lines[out++] = lines[i];
		else
			lines[at].quantity += lines[i].quantity;
	}
	*n = out;
	for (int i = 0; i < out; i++) {
		if (lines[i].quantity > ORDER_MAX_QUANTITY)
			return err_set(e, RC_INVALID, "invalid_field",
			    "items: at most %d pieces of one variant",
			    ORDER_MAX_QUANTITY);
	}
	return RC_OK;
}

static enum rc
check_lines(const struct order_req *req, struct err *e)
{
	if (req->n < 1 || req->n > ORDER_MAX_LINES)
		return err_set(e, RC_INVALID, "invalid_field",
		    "items: 1 to %d lines", ORDER_MAX_LINES);
	for (int i = 0; i < req->n; i++) {
		const struct order_line_req *l = &req->lines[i];

		if (l->product_id < 1 || l->variant_id < 0)
			return err_set(e, RC_INVALID, "invalid_field",
			    "items: productId and variantId are numbers from "
			    "1");
		if (l->quantity < 1 || l->quantity > ORDER_MAX_QUANTITY)
			return err_set(e, RC_INVALID, "invalid_field",
			    "items.quantity: 1 to %d", ORDER_MAX_QUANTITY);
	}
	return RC_OK;
}

/* Line n's rows begin at *at, which is moved behind them. */
static enum rc
line_of(const struct pg_rows *rows, int n, int *at,
    const struct order_line_req *req, struct order_line *out, struct err *e)
{
	int i = *at;

	assert(i < rows->n && pg_int(rows, i, 0) == n); /* LEFT JOINs */
	while (*at < rows->n && pg_int(rows, *at, 0) == n)
		(*at)++;
	if (pg_cell(rows, i, 1).p == NULL)
		return err_set(e, RC_NONE, "product_not_found",
		    "There is no product %lld", (long long)req->product_id);
	if (pg_cell(rows, i, 3).p == NULL)
		return err_set(e, RC_INVALID, "invalid_field",
		    "items.variantId: product %lld has no variant %lld",
		    (long long)req->product_id, (long long)req->variant_id);
	if (*at - i > 1)
		return err_set(e, RC_INVALID, "variant_required",
		    "Product %lld comes in several variants: send variantId",
		    (long long)req->product_id);
	*out = (struct order_line){
		.product_id = pg_int(rows, i, 1),
		.title = pg_str(rows, i, 2),
		.variant_id = pg_int(rows, i, 3),
		.price = pg_int(rows, i, 4),
		.stock = pg_int(rows, i, 5),
		.variant_title = pg_str(rows, i, 6),
		.quantity = req->quantity,
	};
	return RC_OK;
}

/* An order as it is about to be. */
struct draft {
	int n;
	struct order_line lines[ORDER_MAX_LINES];
	struct total total;
};

static enum rc
read_lines(struct shop *shop, const struct order_req *req, struct arena *arena,
    struct draft *d, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	struct strbuf sb;
	int at = 0;
	enum rc rc;

	strbuf_init(&sb, 1024);
	for (int i = 0; i < req->n; i++)
		strbuf_addf(&sb, "%c{\"n\":%d,\"p\":%lld,\"v\":%lld}",
		    i == 0 ? '[' : ',', i, (long long)req->lines[i].product_id,
		    (long long)req->lines[i].variant_id);
	strbuf_addc(&sb, ']');
	pg_arg_str(&args, sb.s);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &order_variants, &args, arena, &rows, e);
	strbuf_release(&sb);
	for (int i = 0; rc == RC_OK && i < req->n; i++)
		rc = line_of(&rows, i, &at, &req->lines[i], &d->lines[i], e);
	d->n = req->n;
	return rc != RC_OK ? rc : order_lines_sum(d->lines, &d->n, e);
}

/* Enough of each, and what it comes to. */
static enum rc
count_up(struct shop *shop, struct draft *d, struct err *e)
{
	struct total_rules rules;
	enum rc rc;

	d->total = (struct total){ 0 };
	for (int i = 0; i < d->n; i++) {
		const struct order_line *l = &d->lines[i];

		if (l->stock < l->quantity)
			return err_set(e, RC_REFUSED, "out_of_stock",
			    l->stock == 0 ? "\"%.300s\" is sold out"
					  : "Not enough left of \"%.300s\"",
			    l->title);
		if (!total_add(&d->total, l->price, l->quantity))
			goto too_much;
	}
	if ((rc = total_rules(shop->conf, &rules, e)) != RC_OK)
		return rc;
	if (total_end(&d->total, &rules))
		return RC_OK;
too_much:
	return err_set(e, RC_INVALID, "invalid_field",
	    "items: an order cannot be that large");
}

/* ---- what is written */

static const char *
lines_param(const struct draft *d, struct arena *arena)
{
	json_t *list = json_array();

	for (int i = 0; i < d->n; i++) {
		const struct order_line *l = &d->lines[i];

		(void)json_array_append_new(
		    list, json_pack("{si sI sI ss ss sI sI}", "line", i + 1,
			      "product_id", (json_int_t)l->product_id,
			      "variant_id", (json_int_t)l->variant_id, "title",
			      l->title, "variant_title", l->variant_title,
			      "quantity", (json_int_t)l->quantity, "price",
			      (json_int_t)l->price));
	}
	return catalog_dump(list, arena).p;
}

/* The four that follow. The payment waits for the stock. */
static const char *
tasks_param(const struct order_req *req, struct arena *arena)
{
	static const char *const types[] = { "decrease_stock",
		"process_payment", "order_confirmation", "order_placed" };
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		const struct task_type *t = task_type(types[i]);
		bool pay = strcmp(types[i], "process_payment") == 0;
		json_t *data = json_pack("{ss}", "orderId", req->id);
		char id[TASK_ID_CHARS + 1];

		if (pay)
			(void)json_object_update_new(
			    data, json_pack("{si ss}", "attempt", 1, "token",
				      req->token));
		task_id(types[i],
		    pay ? order_payment_key(req->id, 1, arena) : req->id, id);
		(void)json_array_append_new(
		    list, json_pack("{ss ss ss ss so sb}", "id", id, "queue",
			      t->queue, "type", t->type, "priority",
			      t->priority, "data", data, "hidden", (int)pay));
	}
	return catalog_dump(list, arena).p;
}

/* What is answered, but for the times, which are the database's. */
static const char *
answer_param(const struct shop *shop, const struct order_req *req,
    const struct draft *d, struct arena *arena)
{
	json_t *items = json_array();

	for (int i = 0; i < d->n; i++) {
		const struct order_line *l = &d->lines[i];

		(void)json_array_append_new(
		    items, json_pack("{sI sI ss ss sI sI}", "productId",
			       (json_int_t)l->product_id, "variantId",
			       (json_int_t)l->variant_id, "title", l->title,
			       "variantTitle", l->variant_title, "quantity",
			       (json_int_t)l->quantity, "price",
			       (json_int_t)l->price));
	}
	return catalog_dump(
	    json_pack("{ss ss ss so sI sI sI ss s{ss sn}}", "id", req->id,
		"status", "pending", "reason", "", "items", items, "shipping",
		(json_int_t)d->total.shipping, "tax", (json_int_t)d->total.tax,
		"total", (json_int_t)d->total.total, "currency", shop->currency,
		"payment", "status", "none", "error"),
	    arena)
	    .p;
}

static const char *
bytea(const unsigned char *hash, struct arena *arena)
{
	char *out;

	if (hash == NULL)
		return NULL;
	out = arena_alloc(arena, 2 + 64 + 1);
	hash_bytea(hash, out);
	return out;
}

static enum rc
answer_json(
    struct span stored, struct arena *arena, struct span *json, struct err *e)
{
	json_error_t why;
	json_t *tree = json_loadb(stored.p, stored.n, 0, &why);

	if (tree == NULL)
		return err_set(e, RC_FAIL, "bad_record",
		    "an order's answer is not JSON: %s", why.text);
	*json = order_dump(tree, arena);
	json_decref(tree);
	return RC_OK;
}

/* *placed false: a price has changed since the lines were read. */
static enum rc
insert(struct shop *shop, const struct order_req *req, const struct draft *d,
    struct arena *arena, bool *placed, struct span *json, struct err *e)
{
	unsigned char access[32];
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	if (req->customer_id == 0)
		secret_hash(req->access_token, access);
	pg_arg_str(&args, req->id);
	if (req->customer_id != 0)
		pg_arg_int(&args, req->customer_id);
	else
		pg_arg_str(&args, NULL);
	pg_arg_str(&args, bytea(req->customer_id == 0 ? access : NULL, arena));
	pg_arg_str(&args, shop->currency);
	pg_arg_int(&args, d->total.shipping);
	pg_arg_int(&args, d->total.tax);
	pg_arg_int(&args, d->total.total);
	pg_arg_str(&args, req->email);
	pg_arg_str(
	    &args, req->address == NULL
		       ? NULL
		       : catalog_dump(json_deep_copy(req->address), arena).p);
	pg_arg_str(&args, bytea(req->body_hash, arena));
	pg_arg_str(&args, answer_param(shop, req, d, arena));
	pg_arg_str(&args, lines_param(d, arena));
	pg_arg_str(&args, tasks_param(req, arena));
	pg_arg_int(&args, conf_int(shop->conf, "order", "expires"));
	pg_arg_int(&args, d->n);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &order_insert, &args, arena, &rows, e);
	*placed = rc == RC_OK && rows.n > 0;
	return *placed ? answer_json(pg_cell(&rows, 0, 0), arena, json, e) : rc;
}

/* ---- the same id again */

/* RC_NONE: no order has that id. */
static enum rc
standing(struct shop *shop, const struct order_req *req, struct arena *arena,
    struct span *json, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, req->id);
	pg_arg_str(&args, bytea(req->body_hash, arena));
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &order_standing, &args, arena, &rows, e);
	if (rc != RC_OK || rows.n == 0)
		return rc != RC_OK ? rc : RC_NONE;
	if (!pg_bool(&rows, 0, 1))
		return err_set(e, RC_INVALID, "idempotency_mismatch",
		    "This Idempotency-Key was used with another body");
	return answer_json(pg_cell(&rows, 0, 0), arena, json, e);
}

static enum rc
check_rest(const struct order_req *req, struct err *e)
{
	enum rc rc = payment_token_check(req->token, e);

	if (rc == RC_OK && !mail_address_ok(req->email))
		return err_set(e, RC_INVALID, "invalid_field",
		    "email: an e-mail address is wanted");
	return rc;
}

/* Once; *placed as insert(). */
static enum rc
place(struct shop *shop, const struct order_req *req, struct arena *arena,
    bool *placed, struct span *json, struct err *e)
{
	struct draft *d = arena_alloc(arena, sizeof *d);
	enum rc rc;

	*placed = false;
	if ((rc = read_lines(shop, req, arena, d, e)) != RC_OK ||
	    (rc = count_up(shop, d, e)) != RC_OK)
		return rc;
	return insert(shop, req, d, arena, placed, json, e);
}

enum rc
order_place(struct shop *shop, const struct order_req *req, struct arena *arena,
    struct span *json, bool *again, struct err *e)
{
	enum { TRIES = 3 };
	struct err looked = ERR_INIT;
	bool placed = false;
	enum rc rc;

	*again = false;
	if ((rc = check_lines(req, e)) != RC_OK ||
	    (rc = check_rest(req, e)) != RC_OK)
		return rc;
	for (int i = 0; i < TRIES && rc == RC_OK && !placed; i++)
		rc = place(shop, req, arena, &placed, json, e);
	if (placed) {
		outbox_note(&shop->waker, "inventory");
		outbox_note(&shop->waker, "email");
		outbox_note(&shop->waker, "analytics");
		return rc;
	}
	if (rc == RC_OK)
		rc = err_set(e, RC_RETRY, "prices_change",
		    "prices changed while the order was placed");
	if (req->body_hash == NULL || rc == RC_RETRY || rc == RC_FAIL)
		return rc;
	/* Refused: is it there already? */
	enum rc found = standing(shop, req, arena, json, &looked);

	if (found == RC_NONE)
		return rc;
	*again = found == RC_OK;
	if (found != RC_OK && e != NULL)
		*e = looked;
	return found;
}
