/*
 * counter - a sale item's counter in Redis (DESIGN 5.1): the next fresh unit,
 * the units given back, each buyer's slots, the holds, window, epoch, state,
 * and the server it was armed on. It makes a sale fast and is never what makes
 * it right: PostgreSQL decides.
 *
 * Keys, one hash tag: stock:{S:V} (hash), and stock:{S:V}:free, :buyers, :holds,
 * :units, :open. Each carries a member with the epoch, so that one that was
 * lost is seen. No TTL. Time is Redis TIME.
 */
#ifndef SHOP_COUNTER_H
#define SHOP_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct arena;
struct redis;

struct counter_ref {
	int64_t sale_id, variant_id;
};

enum counter_answer {
	CA_HELD,        /* also where this id held it before */
	CA_UNARMED,     /* nothing here can be trusted: arm it */
	CA_NOT_STARTED,
	CA_ENDED,       /* the window is over, or closed */
	CA_SOLD_OUT,
	CA_LIMIT
};

struct counter_hold {
	enum counter_answer answer;
	int64_t epoch;   /* stored, also where unarmed; 0: none */
	int unit, slot;  /* of CA_HELD */
	bool again;      /* CA_HELD: this id held it before */
	bool known;      /* the buyer has a hold or an order here: before he is
	                    refused his id is looked up in PostgreSQL */
	int64_t left;    /* of this variant */
	int64_t stock;   /* the product's figure (DESIGN 4.3) */
};

/*
 * One script, one round trip. The id is looked up first of all: the same id
 * gets the same hold. RC_RETRY: Redis away or no answer: the unit may be held.
 */
enum rc counter_hold(struct redis *redis, struct counter_ref ref,
    const char *id, const char *buyer, struct arena *arena,
    struct counter_hold *out, struct err *e);

struct counter_unit {
	const char *id;    /* of the hold: the order's */
	const char *buyer;
	int unit, slot;
};

/*
 * Give back: removes the hold, or takes a number that is neither free nor held;
 * twice does nothing. The caller knows that no unit row has it. RC_RETRY
 * "sale_unarmed": ask again later. Closed: RC_OK, nothing.
 */
enum rc counter_give_back(struct redis *redis, struct counter_ref ref,
    const struct counter_unit *unit, struct arena *arena, struct err *e);

/* A unit or slot turned out to be taken: file it as held by the order that has
 * it; what `mine` holds of it is forgotten (its other half goes back). */
enum rc counter_file(struct redis *redis, struct counter_ref ref,
    int64_t epoch, const char *mine, const struct counter_unit *taken,
    struct arena *arena, struct err *e);

/* Only while it has that epoch; keeps the epoch. */
enum rc counter_disarm(struct redis *redis, struct counter_ref ref,
    int64_t epoch, struct arena *arena, struct err *e);

/* How it stands, for status, reconcile, pages; read in one script. */
struct counter_state {
	bool there, armed, closed;
	int64_t epoch, next, allotment, free, holds, left, stock;
};
enum rc counter_state(struct redis *redis, struct counter_ref ref,
    struct arena *arena, struct counter_state *out, struct err *e);

/* The same for several items, pipelined: out[i]. */
enum rc counter_states(struct redis *redis, int n,
    const struct counter_ref refs[], struct arena *arena,
    struct counter_state out[], struct err *e);

#endif
