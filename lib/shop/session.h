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
};

/* What a form of a session carries: a hash of its token; in the arena. */
const char *session_form_token(const char *token, struct arena *arena);

/* A new one (soukctl, tests): 256 random bits. Inside or outside of a
 * transaction. user_agent and address: cut to fit. */
enum rc session_start(struct shop *shop, int64_t customer_id,
    const char *user_agent, const char *address, struct arena *arena,
    char token[SECRET_CHARS + 1], struct err *e);

enum { SESSION_MAX = 50 }; /* of one customer: a further one ends the oldest */

/*
 * The same at a login, outside of a transaction: the session that this browser
 * had (old, "" for none; whosever it was) ends with it, so that nobody goes on
 * with a token that was known before. A client's token is never adopted.
 */
enum rc session_rotate(struct shop *shop, int64_t customer_id, const char *old,
    const char *user_agent, const char *address, struct arena *arena,
    char token[SECRET_CHARS + 1], struct err *e);

/*
 * Whose is this token? RC_NONE: nobody's (malformed, unknown, ended, idle or
 * absolute timeout). Known to this process: no I/O. RC_RETRY: nobody can say
 * now. That it was used is only noted here: see session_turn().
 */
enum rc session_find(struct shop *shop, const char *token, struct arena *arena,
    struct session *out, struct err *e);

/* RC_OK also where it has ended. */
enum rc session_end(struct shop *shop, const char *token, struct arena *arena,
    struct err *e);
/* One of this customer's, by its public id; RC_NONE. */
enum rc session_end_one(struct shop *shop, int64_t customer_id,
    int64_t public_id, struct arena *arena, struct err *e);
/* All of a customer's but, if not 0, that one. Outside of a transaction. */
enum rc session_end_all(struct shop *shop, int64_t customer_id,
    int64_t but_public_id, struct arena *arena, struct err *e);

/*
 * The same inside of the caller's transaction: the invalidation is written
 * there. After the commit the caller hands *ends to session_ended(); should he
 * die before, the housekeeper does it.
 */
struct session_ends {
	int n;
	const char *const *keys; /* in the arena */
	int64_t invalidation;
};
enum rc session_end_all_in(struct shop *shop, int64_t customer_id,
    int64_t but_public_id, struct arena *arena, struct session_ends *ends,
    struct err *e);
void session_ended(
    struct shop *shop, const struct session_ends *ends, struct arena *arena);

struct session_row { /* all in the arena; times RFC 3339 */
	int64_t public_id;
	const char *created_at, *seen_at, *user_agent, *address;
};
/* A customer's, last used first, at most SESSION_MAX. */
enum rc session_list(struct shop *shop, int64_t customer_id,
    struct arena *arena, const struct session_row **out, int *n,
    struct err *e);

/*
 * Write down which sessions were used, of those that session_find() noted: a
 * session at most once per twentieth of [session] idle. From a process's idle
 * turn; does nothing most of the time. Failing costs nothing but a log line:
 * it is noted again.
 */
enum rc session_turn(struct shop *shop, struct arena *arena, struct err *e);

/* Housekeeping: those that are over, at most `max` of them. */
enum rc session_purge(
    struct shop *shop, int max, struct arena *arena, struct err *e);

/* What shop_open() keeps for the above: settings, and who was seen. */
struct sessions;
struct conf;
struct sessions *sessions_new(const struct conf *conf); /* never NULL */
void sessions_free(struct sessions *sessions);          /* NULL is allowed */

/* What runs per request. Ends with NULL. */
struct pg_stmt;
extern const struct pg_stmt *const session_statements[];

#endif
