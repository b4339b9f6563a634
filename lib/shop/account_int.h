/*
 * account_int - what account.c and account_reset.c share.
 */
#ifndef SHOP_ACCOUNT_INT_H
#define SHOP_ACCOUNT_INT_H

#include "shop/account.h"

enum { PASSWORD_HASH_BYTES = 128 }; /* libsodium's crypto_pwhash_STRBYTES */

/* May this be somebody's password? RC_INVALID "invalid_field". */
enum rc password_check(const char *password, const char *email, struct err *e);

/* RC_RETRY "logins_busy": as many as may hash at once do; RC_FAIL: no memory
 * for it (19 MiB). */
enum rc password_hash(struct shop *shop, const char *password,
    char hash[PASSWORD_HASH_BYTES], struct err *e);

/* In the caller's transaction: the password, and an end to all sessions and
 * reset links. */
struct session_ends;
enum rc password_write(struct shop *shop, int64_t customer_id, const char *hash,
    struct arena *arena, struct session_ends *ends, struct err *e);

/* One try for account and network together, one for the network. */
enum rc tries_take(struct shop *shop, const char *what, const char *email,
    const struct client *client, struct arena *arena, int *retry_after_s,
    struct err *e);
/* So many percent of it (throttle.h). */
void tries_give(struct shop *shop, const char *what, const char *email,
    const struct client *client, int percent, struct arena *arena);

extern const struct pg_stmt account_by_email;

#endif
