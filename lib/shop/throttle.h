/*
 * throttle - so many tries at once, then one every while: token buckets in
 * Redis, shared by all processes; while Redis is away a small bucket of this
 * process's own.
 *
 * A bucket's name says what is counted and for whom. Never an account alone:
 * whoever knows an address could lock its owner out. It is account and network
 * together, and the network.
 */
#ifndef SHOP_THROTTLE_H
#define SHOP_THROTTLE_H

#include <stdint.h>

#include "base/err.h"

struct arena;
struct redis;
struct throttle; /* one per process */

struct throttle *throttle_new(void);           /* never NULL */
void throttle_free(struct throttle *throttle); /* NULL is allowed */

struct throttle_rule {
	const char *what; /* "login" */
	int tries;        /* at once, from 1 */
	int64_t window_s; /* in which that many come back, one after another */
};

/*
 * Take one try. RC_REFUSED "too_many_tries": *retry_after_s is when there will
 * be one, from 1. who: anything; only its hash leaves the process. Redis away
 * is no error.
 */
enum rc throttle_take(struct throttle *throttle, struct redis *redis,
    const struct throttle_rule *rule, const char *who, struct arena *arena,
    int *retry_after_s, struct err *e);

/* Give so many percent of one back: 100 where it was no try after all, less
 * where it was (the password was right) but should not be free. */
void throttle_give(struct throttle *throttle, struct redis *redis,
    const struct throttle_rule *rule, int percent, const char *who,
    struct arena *arena);

/*
 * Whose network an address is, in the arena: an IPv4 address as it is, IPv6 cut
 * to its /64 (what one customer of a provider has), IPv4 within IPv6 as IPv4;
 * "?" for what is no address.
 */
const char *throttle_network(const char *address, struct arena *arena);

#endif
