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

/* RC_INVALID "invalid_field"; RC_REFUSED "email_taken" (409). role: "buyer" or
 * "admin" (soukctl user create). */
enum rc account_create(struct shop *shop, const char *email,
    const char *password, const char *name, const char *role,
    struct arena *arena, int64_t *id, struct err *e);

/*
 * RC_REFUSED "bad_credentials" (401), "too_many_tries" (429, *retry_after_s):
 * throttled per account *and* address together, and per address, never per
 * account alone: nobody can lock the owner out.
 */
enum rc account_login(struct shop *shop, const char *email,
    const char *password, const struct client *client, struct arena *arena,
    int64_t *id, int *retry_after_s, struct err *e);

/* Always RC_OK for a well-formed address; the mail goes to the queue. */
enum rc account_forgot(struct shop *shop, const char *email,
    const struct client *client, struct arena *arena, struct err *e);

/* Once, within the hour; ends all sessions. RC_REFUSED "bad_reset_token". */
enum rc account_reset(struct shop *shop, const char *secret,
    const char *password, struct arena *arena, int64_t *id, struct err *e);

#endif
