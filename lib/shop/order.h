/*
 * order - orders from the cart or the API: placed as pending with the tasks
 * that follow, read, cancelled, paid again, expired. Flash-sale orders are
 * placed by purchase.h and live on here.
 *
 * An order as JSON (DESIGN 4.2): {"id","status","reason","items":[{"productId",
 * "variantId","title","quantity","price"}],"total","currency","createdAt",
 * "expiresAt"}; and "shipping", "tax", each item's "variantTitle" and
 * "payment":{"status","error"|null} with status "none", "processing",
 * "declined", "paid", "cancelled" or "refunded". Read (not placed) also
 * "email", "address"|null, "saleId"|null. expiresAt: null once it is paid or
 * over.
 */
#ifndef SHOP_ORDER_H
#define SHOP_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "shop/ids.h"

struct arena;
struct json_t;
struct shop;

enum { ORDER_MAX_LINES = 100, ORDER_MAX_QUANTITY = 1000 };

struct order_line_req {
	int64_t product_id, variant_id; /* variant 0: the only one */
	int64_t quantity;
};

struct order_req {
	const char *id;                 /* ids.h */
	const unsigned char *body_hash; /* NULL: no key */
	int64_t customer_id;            /* 0: a guest */
	const char *access_token;       /* of a guest; only its hash is kept */
	const char *email;
	const struct json_t *address;   /* NULL: none */
	int n;
	const struct order_line_req *lines;
	const char *token;              /* payment token; "" none */
};

/*
 * The accessToken of a guest's order (SECRET_CHARS): with an Idempotency-Key
 * made of that and the id, so that a repeat is answered the same token without
 * its being kept; key NULL: random.
 */
void order_access_token(
    const char *key, const char *id, char token[SECRET_CHARS + 1]);

/*
 * An address as it is sent: {"name","line1","line2"?,"city","postalCode",
 * "region"?,"country"}, country ISO 3166-1 alpha-2. *out is given: those
 * members alone, trimmed. RC_INVALID "invalid_field", msg names the member.
 */
enum rc order_address_check(
    const struct json_t *address, struct json_t **out, struct err *e);

/*
 * Quantities of one variant are summed before anything is checked; prices,
 * shipping and tax are the shop's. email may be "" for a customer: his own is
 * taken by the caller. address: as order_address_check() gave it. *again: it stood already (the same answer).
 * RC_INVALID "invalid_field", "variant_required", "idempotency_mismatch";
 * RC_NONE "product_not_found"; RC_REFUSED "out_of_stock" (409).
 */
enum rc order_place(struct shop *shop, const struct order_req *req,
    struct arena *arena, struct span *json, bool *again, struct err *e);

/* Who asks. */
struct order_who {
	int64_t customer_id;      /* 0: nobody */
	const char *access_token; /* "" none */
	bool admin;
};

/* RC_NONE also for somebody else's. */
enum rc order_get(struct shop *shop, const char *id,
    const struct order_who *who, struct arena *arena, struct span *json,
    struct err *e);
enum rc order_cancel(struct shop *shop, const char *id,
    const struct order_who *who, struct arena *arena, struct span *json,
    struct err *e);
enum rc order_pay(struct shop *shop, const char *id,
    const struct order_who *who, const char *token, struct arena *arena,
    struct span *json, struct err *e);

/* A customer's, newest first: {"orders":[...],"next"}. */
enum rc order_list(struct shop *shop, int64_t customer_id, const char *after,
    int limit, struct arena *arena, struct span *json, struct err *e);

/* Housekeeping: cancel what was not paid in time, at most max; *n how many. */
enum rc order_expire(struct shop *shop, int max, struct arena *arena, int *n,
    struct err *e);

/* What runs per request. Ends with NULL. */
extern const struct pg_stmt *const order_statements[];
extern const struct pg_stmt *const order_read_statements[];
extern const struct pg_stmt *const order_change_statements[];

#endif
