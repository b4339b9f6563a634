/*
 * buying - a shop with a real PostgreSQL (DATABASE_URL) and a private Redis,
 * and sales in it, for tests of what buys.
 */
#ifndef TESTS_BUYING_H
#define TESTS_BUYING_H

#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "redis_server.h"
#include "shop/counter.h"
#include "shop/counter_int.h"
#include "shop/sale_run.h"
#include "shop/shop.h"
#include "store/pg.h"
#include "store/redis.h"

extern struct redis_server server;
extern struct arena *arena;
extern struct shop *shop;
extern struct err e;

/* The schema, once, before the tests. */
void buying_migrate(void);
void buying_set_up(void);
void buying_tear_down(void);

/* Another process's. */
struct shop *shop_another(const char *redis_url);
void shop_end(struct shop *sh);

void sql(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int64_t number(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

struct sale {
	int64_t sale_id, product_id, variant_id, item_id;
	struct counter_ref ref;
};

/* Open, not armed; running from an hour ago for two hours. */
struct sale given_sale(int allotment, int limit);
/* The same, armed. */
struct sale given_armed(int allotment, int limit);
/* Armed at last long ago, so that it may be armed now. */
void may_arm(const struct sale *sale);
/* It is armed, by a process that may. */
void arm(const struct sale *sale);
/* n customers; the first one's id. */
int64_t given_customers(int n);
/* An order with its unit row, as a purchase leaves it. */
void given_order(const struct sale *sale, const char *id, int64_t customer,
    int unit, int slot);
/* 32 digits that end with n. */
const char *id_of(int n);

struct counter_state state_of(const struct sale *sale);
struct counter_hold hold(
    const struct sale *sale, const char *id, const char *buyer);

#endif
