/*
 * payment_int - what the files of payments share: how an order's payment
 * stands, and the one function that writes what the provider said.
 */
#ifndef SHOP_PAYMENT_INT_H
#define SHOP_PAYMENT_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "shop/order_life.h"
#include "store/pay.h"

struct arena;
struct err;
struct pg_stmt;
struct shop;

/* payment.status. The sandbox and Stripe capture at once: `authorised` is for
 * a provider that does it in two steps. */
enum payment_status {
	PS_NEW, PS_AUTHORISED, PS_CAPTURED, PS_DECLINED, PS_CANCELLED,
	PS_REFUNDED
};
/* The table: may a payment go from here to there? */
bool payment_may(enum payment_status from, enum payment_status to);

struct payment_state {
	struct order_row order;
	bool there;           /* a payment; else nothing below counts */
	const char *provider, *intent;
	enum payment_status status;
	int64_t amount;
	const char *currency;
	bool key_lives;       /* of the create */
	int attempt;          /* the last one; 0: none */
	bool unknown;         /* its outcome */
	const char *token;
	bool attempt_key_lives;
	bool asked;           /* the provider was asked before */
};

/* Within a transaction: the order, locked, and its payment. RC_NONE. */
enum rc payment_load(struct shop *shop, const char *order_id,
    struct arena *arena, struct payment_state *out, struct err *e);

/* Within a transaction: attempt n begins; the order lives a little longer. */
enum rc payment_begin(struct shop *shop, const char *order_id, int attempt,
    const char *token, struct arena *arena, struct err *e);

/*
 * In a transaction of its own, with the task's id: what the provider said, told
 * to all that it concerns. attempt: which one PAY_DECLINED is of (a later one
 * may have begun). RC_OK also where it was written before.
 */
struct verdict {
	const char *order_id, *task_id;
	int attempt;
	struct pay_intent said; /* not PAY_OPEN, PAY_PENDING */
};
enum rc payment_settle(struct shop *shop, const struct verdict *v,
    struct arena *arena, struct err *e);

/* For the test that looks at plans. */
extern const struct pg_stmt *const payment_state_statements[],
    *const payment_ask_statements[];

#endif
