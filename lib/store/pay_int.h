/*
 * pay_int - what a payment provider's driver is made of.
 */
#ifndef STORE_PAY_INT_H
#define STORE_PAY_INT_H

#include "store/pay.h"

struct pay_driver {
	const char *name;
	enum rc (*open)(
	    const struct pay_opts *opts, struct pay **out, struct err *e);
	void (*close)(struct pay *pay);
	enum rc (*create)(struct pay *pay, const struct pay_order *order,
	    struct arena *arena, struct pay_intent *out, struct err *e);
	enum rc (*confirm)(struct pay *pay, const struct pay_order *order,
	    const char *intent, int attempt, const char *token,
	    struct arena *arena, struct pay_intent *out, struct err *e);
	enum rc (*look)(struct pay *pay, const char *intent,
	    struct arena *arena, struct pay_intent *out, struct err *e);
	enum rc (*find)(struct pay *pay, const char *order_id,
	    struct arena *arena, struct pay_intent *out, struct err *e);
	enum rc (*cancel)(struct pay *pay, const struct pay_order *order,
	    const char *intent, struct arena *arena, struct pay_intent *out,
	    struct err *e);
	enum rc (*refund)(struct pay *pay, const struct pay_order *order,
	    const char *intent, struct arena *arena, struct pay_intent *out,
	    struct err *e);
};
extern const struct pay_driver pay_sandbox, pay_stripe;

/* The first member of each driver's own. */
struct pay {
	const struct pay_driver *driver;
	char *webhook_secret; /* "" none: every event is refused */
};

#endif
