/*
 * Orders as they are shown: to their owner, to who holds the accessToken, to an
 * admin. To anybody else there is no such order. Always from the primary: who
 * has just ordered must find it.
 */
#include <sodium.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "shop/catalog_int.h"
#include "shop/order_int.h"
#include "shop/shop.h"

#define ITEMS                                                                  \
	"(SELECT coalesce(json_agg(json_build_object("                         \
	"  'productId', l.product_id, 'variantId', l.variant_id,"              \
	"  'title', l.title, 'variantTitle', l.variant_title,"                 \
	"  'quantity', l.quantity, 'price', l.price) ORDER BY l.line), '[]')"  \
	" FROM order_line l WHERE l.order_id = o.id)"

/* An attempt that was declined says so until the next one begins. */
#define PAYMENT                                                                \
	"json_build_object('status', CASE"                                     \
	"  WHEN p.order_id IS NULL THEN 'none'"                                \
	"  WHEN p.status = 'captured' THEN 'paid'"                             \
	"  WHEN p.status IN ('refunded', 'cancelled') THEN p.status"           \
	"  WHEN a.outcome = 'declined' THEN 'declined'"                        \
	"  ELSE 'processing' END,"                                             \
	" 'error', CASE WHEN a.outcome = 'declined' AND p.status NOT IN"       \
	"  ('captured', 'refunded') THEN nullif(a.error, '') END)"

#define ORDER_JSON                                                             \
	"json_build_object('id', o.id, 'status', o.status,"                    \
	" 'reason', o.reason, 'items', " ITEMS ","                             \
	" 'shipping', o.shipping, 'tax', o.tax, 'total', o.total,"             \
	" 'currency', o.currency,"                                             \
	" 'createdAt', " ORDER_UTC(                                            \
	    "o.created_at") ","                                                \
			    " 'expiresAt', CASE WHEN o.status IN ('pending', " \
			    "'reserved') THEN " ORDER_UTC(                     \
				"o.expires_at") " END,"                        \
						" 'payment', " PAYMENT ","     \
						" 'email', o.email, "          \
						"'address', o.address,"        \
						" 'saleId', (SELECT "          \
						"i.sale_id FROM sale_item i"   \
						"  WHERE i.id = "              \
						"o.sale_item_id))"
#define ORDER_FROM                                                             \
	" LEFT JOIN payment p ON p.order_id = o.id"                            \
	" LEFT JOIN LATERAL (SELECT t.outcome, t.error FROM payment_attempt t" \
	"  WHERE t.order_id = o.id ORDER BY t.attempt DESC LIMIT 1) a ON true"

static const struct pg_stmt order_by_id = { "order_by_id",
	"SELECT " ORDER_JSON ", o.customer_id, encode(o.access_hash, 'hex')"
	" FROM orders o" ORDER_FROM " WHERE o.id = $1",
	1 };

static const struct pg_stmt order_of_customer = { "order_of_customer",
	"SELECT " ORDER_JSON ", (extract(epoch FROM o.created_at) * 1000000)"
	"::int8, o.id FROM (SELECT * FROM orders WHERE customer_id = $1"
	"  AND created_at <= 'epoch'::timestamptz + $2::int8 * interval '1 us'"
	"  AND (created_at, id) < ('epoch'::timestamptz"
	"   + $2::int8 * interval '1 us', $3::text)"
	"  ORDER BY created_at DESC, id DESC LIMIT $4::int) o" ORDER_FROM
	" ORDER BY o.created_at DESC, o.id DESC",
	4 };

const struct pg_stmt *const order_read_statements[] = { &order_by_id,
	&order_of_customer, NULL };

/* ---- JSON */

struct span
order_dump(const json_t *order, struct arena *arena)
{
	static const char *const shown[] = { "id", "status", "reason", "items",
		"shipping", "tax", "total", "currency", "createdAt",
		"expiresAt", "payment", "email", "address", "saleId" };
	json_t *out = json_object();

	for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
		json_t *v = json_object_get(order, shown[i]);

		if (v != NULL)
			(void)json_object_set(out, shown[i], v);
	}
	return catalog_dump(out, arena);
}

static enum rc
load(struct span cell, json_t **out, struct err *e)
{
	json_error_t why;

	*out = json_loadb(cell.p, cell.n, 0, &why);
	if (*out == NULL)
		return err_set(e, RC_FAIL, "bad_record",
		    "an order is not JSON: %s", why.text);
	return RC_OK;
}

/* ---- who may see it */

/* The stored hash in hex against the token, in constant time. */
static bool
holds_token(const char *token, const char *stored)
{
	unsigned char hash[32];
	char hex[2 * sizeof hash + 1];

	if (token == NULL || *token == '\0' || strlen(stored) != sizeof hex - 1)
		return false;
	secret_hash(token, hash);
	text_hex(hash, sizeof hash, hex);
	return sodium_memcmp(hex, stored, sizeof hex - 1) == 0;
}

static bool
may_see(const struct order_who *who, int64_t customer_id, const char *access)
{
	return who->admin ||
	       (who->customer_id != 0 && who->customer_id == customer_id) ||
	       holds_token(who->access_token, access);
}

static bool
id_well_formed(const char *id)
{
	return strlen(id) == EFFECT_ID_CHARS &&
	       strspn(id, "0123456789abcdef") == EFFECT_ID_CHARS;
}

enum rc
order_get(struct shop *shop, const char *id, const struct order_who *who,
    struct arena *arena, struct span *json, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows = { 0 };
	json_t *order;
	enum rc rc = RC_OK;

	pg_arg_str(&args, id);
	if (id_well_formed(id))
		rc = pg_exec(
		    shop->pg, PG_PRIMARY, &order_by_id, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0 ||
	    !may_see(who, pg_int(&rows, 0, 1), pg_str(&rows, 0, 2)))
		return err_set(e, RC_NONE, "order_not_found", "No such order");
	if ((rc = load(pg_cell(&rows, 0, 0), &order, e)) != RC_OK)
		return rc;
	*json = order_dump(order, arena);
	json_decref(order);
	return RC_OK;
}

/* ---- a customer's */

/* "MICROSECONDS-ID", where the page before ended. */
static bool
cursor_parse(const char *s, int64_t *us, const char **id)
{
	const char *dash;

	*us = INT64_C(4102444800000000); /* the year 2100 */
	*id = "g";                       /* after any id */
	if (s == NULL || *s == '\0')
		return true;
	dash = strchr(s, '-');
	if (dash == NULL || !id_well_formed(dash + 1) ||
	    !text_int((struct span){ s, (size_t)(dash - s) }, 0, *us, us))
		return false;
	*id = dash + 1;
	return true;
}

enum rc
order_list(struct shop *shop, int64_t customer_id, const char *after, int limit,
    struct arena *arena, struct span *json, struct err *e)
{
	json_t *list, *next = json_null();
	struct pg_args args = { 0 };
	struct pg_rows rows;
	const char *id;
	int64_t us;
	enum rc rc;

	if (!cursor_parse(after, &us, &id))
		return err_set(e, RC_INVALID, "invalid_cursor",
		    "after: not a cursor of this list; take it from \"next\"");
	pg_arg_int(&args, customer_id);
	pg_arg_int(&args, us);
	pg_arg_str(&args, id);
	pg_arg_int(&args, limit + 1);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &order_of_customer, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	list = json_array();
	for (int i = 0; i < rows.n && i < limit; i++) {
		json_t *order;

		if ((rc = load(pg_cell(&rows, i, 0), &order, e)) != RC_OK) {
			json_decref(list);
			return rc;
		}
		(void)json_array_append_new(list, order);
	}
	if (rows.n > limit)
		next = json_sprintf("%s-%s", pg_str(&rows, limit - 1, 1),
		    pg_str(&rows, limit - 1, 2));
	*json = catalog_dump(
	    json_pack("{soso}", "orders", list, "next", next), arena);
	return RC_OK;
}
