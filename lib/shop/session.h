/*
 * session - who somebody is (DESIGN 5.4). PostgreSQL keeps the sessions (a hash
 * of the token, person, expiry), Redis serves them (`session:<hash>`), and a
 * process keeps a bounded local copy, which the channel cache:invalidate drops:
 * an empty Redis logs nobody out, an ended session is dead everywhere within
 * 1 s. All of that is the cache of store/cache.h, with the session's end
 * written as an invalidation in the transaction that ends it.
 */
#ifndef SHOP_SESSION_H
#define SHOP_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "shop/ids.h"

struct arena;
struct shop;

struct session {
	int64_t customer_id; /* from 1 */
	bool admin;
	const char *email;   /* in the arena */
	const char *name;
	int64_t public_id;   /* of the session: for the account's list */
	const char *form_token; /* what a form of this session carries: a hash
	                           of the token; in the arena */
};

/* A new one (at login, registering, after a password change): 256 random bits.
 * Inside or outside of a transaction. user_agent and address: cut to fit. */
enum rc session_start(struct shop *shop, int64_t customer_id,
    const char *user_agent, const char *address, struct arena *arena,
    char token[SECRET_CHARS + 1], struct err *e);

/*
 * Whose is this token? RC_NONE: nobody's (unknown, ended, idle or absolute
 * timeout). Known to this process: no I/O. RC_RETRY: nobody can say now.
 */
enum rc session_find(struct shop *shop, const char *token, struct arena *arena,
    struct session *out, struct err *e);

/* RC_OK also where it has ended. */
enum rc session_end(struct shop *shop, const char *token, struct arena *arena,
    struct err *e);
/* One of this customer's, by its public id; RC_NONE. */
enum rc session_end_one(struct shop *shop, int64_t customer_id,
    int64_t public_id, struct arena *arena, struct err *e);
/* All of a customer's but, if not 0, that one. Inside or outside of a
 * transaction: *invalidation is written there; with 0 to be carried out by the
 * caller after the commit, see session_ended(). */
enum rc session_end_all(struct shop *shop, int64_t customer_id,
    int64_t but_public_id, struct arena *arena, struct err *e);

/* Housekeeping: those that are over, at most `max` of them. */
enum rc session_purge(
    struct shop *shop, int max, struct arena *arena, struct err *e);

#endif
