/*
 * purchase - one unit of a sale for one buyer (DESIGN 5.1, "A purchase"): a
 * script holds it in Redis, one autocommit statement makes it true in
 * PostgreSQL.
 */
#ifndef SHOP_PURCHASE_H
#define SHOP_PURCHASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;
struct shop;

struct purchase_req {
	const char *id;      /* of the hold and of the order (ids.h) */
	bool keyed;          /* an Idempotency-Key came with it */
	const unsigned char *body_hash; /* 32 bytes; with a key */
	int64_t customer_id; /* the session's, never the body's */
	const char *email;   /* the session's */
	int64_t sale_id, product_id;
	int64_t variant_id;  /* 0: the sale's only variant of that product */
	const char *token;   /* payment token; "" none */
	int64_t deadline;    /* mono ms: of the whole */
};

struct purchase {
	const char *order_id;
	int64_t stock;  /* as answered, also to a repeat */
	bool again;     /* it stood already */
};

/*
 * RC_REFUSED "sale_not_started", "sale_ended", "sold_out", "limit_reached";
 * RC_NONE "sale_not_found"; RC_INVALID "variant_required",
 * "idempotency_mismatch"; RC_RETRY: it cannot be promised now; the id stays good
 * for another try.
 */
enum rc purchase(struct shop *shop, const struct purchase_req *req,
    struct arena *arena, struct purchase *out, struct err *e);

/*
 * What this process knows to be sold out (DESIGN 5.3): used for requests
 * without a key, for at most 1 s, only while the subscription is fresh, and
 * forgotten when a unit came back.
 */
struct sold_out;
struct sold_out *sold_out_new(void);
void sold_out_free(struct sold_out *so); /* NULL is allowed */
void sold_out_forget(struct sold_out *so); /* all */
/* A message of the channel `sale:again` ("<saleId>:<variantId>"). */
void sold_out_message(struct sold_out *so, struct span payload);

#endif
