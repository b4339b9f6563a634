/*
 * counter_int - what those who look after a counter share (sale_arm.c,
 * purchase.c, and what reconciles, closes and checks): arming, closing, and
 * looking at it number by number.
 */
#ifndef SHOP_COUNTER_INT_H
#define SHOP_COUNTER_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "shop/counter.h"
#include "store/redis.h"

struct arena;
struct shop;

/* ---- the scripts (counter_script.c); what they take stands above each */
extern const struct redis_script script_counter_hold;
extern const struct redis_script script_counter_give_back;
extern const struct redis_script script_counter_file;
extern const struct redis_script script_counter_disarm;
extern const struct redis_script script_counter_state;
extern const struct redis_script script_counter_stage;
extern const struct redis_script script_counter_arm;
extern const struct redis_script script_counter_close;
extern const struct redis_script script_counter_rest;
extern const struct redis_script script_counter_unjustified;
extern const struct redis_script script_counter_justified;
extern const struct redis_script script_counter_look;

/* The numbers that one call stages or looks at, at most: it holds Redis up
 * meanwhile. */
enum { COUNTER_PAGE = 5000 };

/* ---- arming: the pages first, then all at once (sale_arm.c) */

/* The server that the pages went to; the last step must find it again. */
struct counter_stage {
	int64_t epoch;
	char identity[128]; /* "": none yet */
};

/*
 * The numbers from..to: those of units[0..n) are held by their orders, the
 * others are free. known[0..m): buyers who had an order here. RC_RETRY
 * "sale_arming": another server answers now; begin again.
 */
struct counter_page {
	int from, to; /* to < from: none */
	int n, m;
	const struct counter_unit *units;
	const char *const *known;
};
enum rc counter_stage(struct redis *redis, struct counter_ref ref,
    struct counter_stage *stage, const struct counter_page *page,
    struct arena *arena, struct err *e);

struct counter_arming {
	int64_t product_id, item_id;
	int next, allotment, limit;
	int64_t starts_ms, ends_ms;
	int64_t rest;       /* what the product's other variants add */
	const char *others; /* their part of "variants": {...},{...} or "" */
};

/* RC_RETRY "sale_arming": the stored epoch is as high already, or what was
 * staged is lost. */
enum rc counter_arm(struct redis *redis, struct counter_ref ref,
    const struct counter_stage *stage, const struct counter_arming *arming,
    struct arena *arena, struct err *e);

/* ---- and ending */

/* Final: closed with that epoch. Nothing where the stored epoch is higher;
 * doing it again does nothing. */
enum rc counter_close(struct redis *redis, struct counter_ref ref,
    int64_t epoch, struct arena *arena, struct err *e);

/* ---- looking after it */

/* What the product's other variants add, anew; tells the world where it
 * differs. Only while armed with that epoch. */
enum rc counter_rest(struct redis *redis, struct counter_ref ref, int64_t epoch,
    int64_t rest, const char *others, struct arena *arena, struct err *e);

/* The same, found out (sale_arm.c): for the reconciler, as the other variants'
 * stock changes without this counter. */
enum rc sale_rest_refresh(struct shop *shop, struct counter_ref ref,
    int64_t product_id, int64_t epoch, struct arena *arena, struct err *e);

struct counter_held {
	struct counter_unit unit;
	int64_t since_ms; /* by Redis's clock */
};

/*
 * Holds that are older than age_ms and were not yet seen to have their order,
 * oldest first, at most COUNTER_PAGE: *n. Also what was filed by arming or by
 * counter_file(). *epoch: armed with. RC_RETRY "sale_unarmed"; closed: none.
 */
enum rc counter_unjustified(struct redis *redis, struct counter_ref ref,
    int64_t age_ms, struct arena *arena, int64_t *epoch, int *n,
    const struct counter_held **out, struct err *e);

/* Their orders stand: not listed again. */
enum rc counter_justified(struct redis *redis, struct counter_ref ref,
    int64_t epoch, int n, const char *const ids[], struct arena *arena,
    struct err *e);

enum counter_is { CI_LOST, CI_FREE, CI_HELD };

struct counter_number {
	enum counter_is is;
	struct counter_held held; /* of CI_HELD; unit.unit is always set */
};

/* The numbers from, from + 1, ... below the next fresh one, at most
 * COUNTER_PAGE, in one look: *n. RC_RETRY "sale_unarmed"; closed: none. */
enum rc counter_look(struct redis *redis, struct counter_ref ref, int from,
    struct arena *arena, int64_t *epoch, int *n,
    const struct counter_number **out, struct err *e);

/* ---- slots, for sale_check() (counter_look.c) */

/* Of n buyers: (*out)[i] is "1,3", the slots that are counted; "" none. In the
 * arena. */
enum rc counter_slots(struct redis *redis, struct counter_ref ref, int n,
    const char *const buyers[], struct arena *arena, const char ***out,
    struct err *e);

/*
 * Buyers and their slots, a page at a time, as HSCAN goes: cursor is "0" at
 * first, and again when that was all. A buyer may come twice, and a page may be
 * empty.
 */
enum rc counter_buyers(struct redis *redis, struct counter_ref ref,
    char cursor[21], struct arena *arena, int *n, const char ***buyers,
    const char ***slots, struct err *e);

#endif
