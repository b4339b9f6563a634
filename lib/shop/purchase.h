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
	const char *id; /* of the hold and of the order (ids.h) */
	bool keyed;     /* an Idempotency-Key came with it */
	const unsigned char *body_hash; /* 32 bytes; with a key */
	int64_t customer_id;            /* the session's, never the body's */
	const char *email;              /* the session's */
	int64_t sale_id, product_id;
	int64_t variant_id; /* 0: the sale's only variant of that product */
	const char *token;  /* payment token; "" none */
	int64_t deadline;   /* mono ms: of the whole */
};

struct purchase {
	const char *order_id; /* the id of the request, borrowed, or in the arena */
	int64_t stock; /* as answered, also to a repeat */
	bool again;    /* it stood already */
};

/*
 * RC_REFUSED "sale_not_started", "sale_ended", "sold_out", "limit_reached";
 * RC_NONE "sale_not_found"; RC_INVALID "variant_required",
 * "idempotency_mismatch"; RC_RETRY: it cannot be promised now; the id stays
 * good for another try.
 */
enum rc purchase(struct shop *shop, const struct purchase_req *req,
    struct arena *arena, struct purchase *out, struct err *e);

/* Does this process know that it is sold out? Asks nobody. For a request without
 * a key, before an id is made for it. */
bool purchase_sold_out(const struct shop *shop, const struct purchase_req *req);

/*
 * ---- its second step alone: one autocommit statement. Placed where the item
 * is open, the unit within the allotment, the epoch still that one, and unit,
 * slot and id are nobody's.
 *
 * PostgreSQL is what a purchase costs most; one statement that carries many
 * orders costs a sixth for each. Whoever wants that gives this function several
 * orders, and the statement rows of them instead of parameters.
 */
struct sale_order {
	const char *id, *buyer, *email, *token;
	const unsigned char *body_hash; /* NULL: none */
	int64_t customer_id;
	int64_t sale_id, product_id, variant_id;
	int64_t epoch, stock; /* stock: for the stored answer */
	int unit, slot;
};

/*
 * *placed false: not, and nothing of it; see why with a look at the primary.
 * RC_RETRY: nobody knows whether it is placed (the connection is closed, the
 * statement not cancelled), but "sale_busy": the deadline had passed before,
 * and nothing was sent. RC_REFUSED "no_customer".
 */
enum rc order_insert_sale(struct shop *shop, const struct sale_order *order,
    int64_t deadline, struct arena *arena, bool *placed, struct err *e);

/* A customer as the counter and the unit rows name him. */
enum { BUYER_CHARS = 20 };
void buyer_name(int64_t customer_id, char buyer[BUYER_CHARS + 1]);

/* What runs per purchase. Ends with NULL. */
struct pg_stmt;
extern const struct pg_stmt *const purchase_statements[];

/*
 * What this process knows to be sold out (DESIGN 5.3): used for requests
 * without a key, for at most 1 s, only while the subscription is fresh, and
 * forgotten when a unit came back.
 */
struct sold_out;
struct sold_out *sold_out_new(void);
void sold_out_free(struct sold_out *so);   /* NULL is allowed */
void sold_out_forget(struct sold_out *so); /* all */
/* Is the subscription to sale:again fresh? While not, nothing is known. */
void sold_out_trust(struct sold_out *so, bool fresh);
/* A message of the channel `sale:again` ("<saleId>:<variantId>"). */
void sold_out_message(struct sold_out *so, struct span payload);

#endif
