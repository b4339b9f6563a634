/*
 * account - customers: registering, logging in, forgotten passwords.
 *
 * Passwords are argon2id by libsodium (crypto_pwhash_str, RFC 9106); the
 * parameters stand in the hash, and one made with others is made anew at the
 * next login. An unknown address costs the same time and gets the same answer
 * as a wrong password.
 */
#ifndef SHOP_ACCOUNT_H
#define SHOP_ACCOUNT_H

#include <stdint.h>

#include "base/err.h"
#include "shop/ids.h"

struct arena;
struct shop;

enum { PASSWORD_MIN = 8, PASSWORD_MAX = 128 }; /* characters, bytes; ASVS 6.2 */

struct client { /* of the request: for throttling and the list of sessions */
	const char *address, *user_agent;
};

/*
 * RC_INVALID "invalid_field"; RC_REFUSED "email_taken" (409), after the same
 * work as a success. role: "buyer" or "admin" (soukctl user create). Who
 * registers over HTTP is throttled first: account_throttle().
 */
enum rc account_create(struct shop *shop, const char *email,
    const char *password, const char *name, const char *role,
    struct arena *arena, int64_t *id, struct err *e);

/* Per network. what: "register". RC_REFUSED "too_many_tries". */
enum rc account_throttle(struct shop *shop, const char *what,
    const struct client *client, struct arena *arena, int *retry_after_s,
    struct err *e);

/*
 * RC_REFUSED "bad_credentials" (401), "too_many_tries" (429, *retry_after_s):
 * throttled per account *and* network together, and per network, never per
 * account alone: nobody can lock the owner out. What was right counts for a
 * tenth. RC_RETRY "logins_busy" (503): as many as may log in at once do, here
 * and wherever a password is set.
 */
enum rc account_login(struct shop *shop, const char *email,
    const char *password, const struct client *client, struct arena *arena,
    int64_t *id, int *retry_after_s, struct err *e);

/* RC_OK whether or not there is such an account, in the same time; the mail
 * goes to the queue. RC_INVALID "invalid_field"; RC_REFUSED "too_many_tries".
 * At most RESETS_OPEN links of an account are good at a time. */
enum { RESETS_OPEN = 5 };
enum rc account_forgot(struct shop *shop, const char *email,
    const struct client *client, struct arena *arena, int *retry_after_s,
    struct err *e);

/* Once, within the hour; ends all sessions and all other links. RC_REFUSED
 * "bad_reset_token"; RC_INVALID "invalid_field". */
enum rc account_reset(struct shop *shop, const char *secret,
    const char *password, struct arena *arena, int64_t *id, struct err *e);

/* By its owner, who knows the present one (throttled like account_login); ends
 * all sessions. */
enum rc account_change_password(struct shop *shop, const char *email,
    const char *present, const char *password, const struct client *client,
    struct arena *arena, int *retry_after_s, struct err *e);

/* By the operator; ends all sessions. RC_NONE "no_user". */
enum rc account_set_password(struct shop *shop, const char *email,
    const char *password, struct arena *arena, struct err *e);

struct account_row { /* in the arena */
	int64_t id;
	const char *email, *role, *name, *created_at;
};
/* With ids above `after`, at most `max`, by id. role NULL: any. */
enum rc account_list(struct shop *shop, int64_t after, int max,
    const char *role, struct arena *arena, const struct account_row **out,
    int *n, struct err *e);

/* For measuring: n (at most BUYERS_MAX) customers without passwords, each with
 * a session, in one statement. tokens: n of SECRET_CHARS and a NUL. */
enum { BUYERS_MAX = 1000 };
enum rc account_make_buyers(struct shop *shop, int n,
    char (*tokens)[SECRET_CHARS + 1], struct arena *arena, struct err *e);

/* What runs per request. Ends with NULL. */
struct pg_stmt;
extern const struct pg_stmt *const account_statements[];
extern const struct pg_stmt *const account_reset_statements[];

#endif
