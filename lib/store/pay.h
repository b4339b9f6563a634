/*
 * pay - a payment provider: one struct of functions a driver (`sandbox:`,
 * `stripe:`). One intent per order, created under a key of the order alone;
 * confirmed under a key of order and attempt (DESIGN 5.2). Asking twice under
 * one key has one effect at the provider and gives the same answer.
 */
#ifndef STORE_PAY_H
#define STORE_PAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;
struct pay;

struct pay_opts {
	const char *url;        /* "sandbox:" or "stripe:" */
	const char *pg_url;     /* sandbox: where its books are; a connection of
	                           its own */
	const char *secret_key; /* stripe */
	const char *webhook_secret;
	const char *api_base;   /* stripe: https://api.stripe.com */
	int timeout_ms;         /* of a call */
	bool pooler;            /* as in pg_opts, for the sandbox's books */
};

enum rc pay_open(const struct pay_opts *opts, struct pay **out, struct err *e);
void pay_close(struct pay *pay); /* NULL is allowed */
const char *pay_name(const struct pay *pay); /* "sandbox", "stripe" */

enum pay_outcome {
	PAY_OPEN,      /* not paid, may still be (declined counts as this) */
	PAY_DECLINED,  /* the answer to a confirm: definitely not this time */
	PAY_PAID,      /* captured */
	PAY_CANCELLED, /* can never be paid any more */
	PAY_PENDING    /* the provider has not decided: ask again later */
};

struct pay_intent {
	const char *id;          /* the provider's; in the arena */
	enum pay_outcome outcome;
	int64_t amount, refunded; /* minor units */
	const char *error;       /* for a person: "Your card was declined." */
};

struct pay_order {
	const char *order_id; /* 32 hex digits: keys are made of it */
	int64_t amount;       /* minor units */
	const char *currency;
	const char *email;    /* "" none */
};

/*
 * Every call: RC_OK with *out, or RC_RETRY: no answer, a cut connection, 409,
 * 429, 5xx: what became of it is unknown, ask again under the same key;
 * RC_INVALID: the provider refuses the request as such; RC_FAIL: our key is
 * wrong or the like.
 */

/* The order's intent, made where there is none. */
enum rc pay_create(struct pay *pay, const struct pay_order *order,
    struct arena *arena, struct pay_intent *out, struct err *e);

/* Confirm (authorise and capture) with a payment token; attempt from 1. */
enum rc pay_confirm(struct pay *pay, const struct pay_order *order,
    const char *intent, int attempt, const char *token, struct arena *arena,
    struct pay_intent *out, struct err *e);

/* How it stands. */
enum rc pay_look(struct pay *pay, const char *intent, struct arena *arena,
    struct pay_intent *out, struct err *e);

/* By the order (metadata), past the life of its key; RC_NONE: there is none. */
enum rc pay_find(struct pay *pay, const char *order_id, struct arena *arena,
    struct pay_intent *out, struct err *e);

/* So that it can never be paid. RC_OK with PAY_PAID: too late, refund it. */
enum rc pay_cancel(struct pay *pay, const struct pay_order *order,
    const char *intent, struct arena *arena, struct pay_intent *out,
    struct err *e);

/* All of it, once. */
enum rc pay_refund(struct pay *pay, const struct pay_order *order,
    const char *intent, struct arena *arena, struct pay_intent *out,
    struct err *e);

/* A webhook's body and its signature header (Stripe-Signature). RC_REFUSED
 * "bad_signature"; RC_NONE: an event we do not care about. */
struct pay_event {
	const char *id, *type;
	const char *intent;
	const char *order_id; /* from the metadata; "" none */
};
enum rc pay_webhook(struct pay *pay, struct span body, const char *signature,
    int64_t now_s, struct arena *arena, struct pay_event *out, struct err *e);

#endif
