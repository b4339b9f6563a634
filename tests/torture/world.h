/*
 * world - a small shop with real stores, made anew for each fault, and what
 * must be true of it when the dust has settled.
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/shop/buying.h"
#include "workers/worker.h"

enum { ALLOTMENT = 3, STOCK = 7, PRICE = 5000 };

/* One product with one variant, in a sale or not. */
struct world {
	int64_t product, variant, sale_id, item, customer, other;
	struct counter_ref ref;
	int64_t total; /* units there ever were */
	int id;        /* of the order that is about to be made */
	int n_mails;   /* password resets and the like, beyond the orders' */
};
extern struct world world;
extern struct work work; /* of this process */

const char *world_maildir(void); /* its folder */
void world_open(void);           /* servers, shop */
void world_close(void);
void world_reopen(void); /* new connections, nothing prepared */
/* After a fork: the parent's connections are left alone. */
void world_forked(void);
void world_wipe(void); /* everything is new but the connections */

/* SQL beside the shop, on a connection of its own that faults do not reach. */
void look_run(const char *sql);
const char *look(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int64_t look_int(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The item is "draft" or "open"; an open one is not armed. */
void given_item(const char *state);
void given_counter(void); /* it is armed */
void counter_lost(void);  /* Redis forgets it */

/* A turn of that worker: what is due is received, run and settled. The first
 * thing that went wrong, or RC_OK. */
enum rc world_work(const char *name, struct err *e);
/* Whatever waits for its time is due. */
void world_hurry(void);
bool world_has_work(const char *queue);

/* The workers and the reconciler have their say. */
void world_settle(void);
/* NULL, or what is wrong, in the arena. */
const char *world_check(void);

#endif
