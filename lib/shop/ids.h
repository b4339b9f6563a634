/*
 * ids - the id of what a request makes (DESIGN 4.2, Idempotency-Key): a hash of
 * person, method, path and key, or random where there is no key.
 */
#ifndef SHOP_IDS_H
#define SHOP_IDS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"

enum { EFFECT_ID_CHARS = 32, BODY_HASH_BYTES = 32 };

/* 128 random bits as 32 hex digits. */
void id_random(char id[EFFECT_ID_CHARS + 1]);

/* person: "customer:42" or "guest"; key as sent. Length-prefixed parts, SHA-256
 * cut to 128 bits. */
void id_of_effect(const char *person, const char *method, const char *path,
    const char *key, char id[EFFECT_ID_CHARS + 1]);

/* A key that can be used: 1..255 visible ASCII characters. A guest has nothing
 * else to be known by, so his must be at least 16 long. RC_INVALID
 * "invalid_idempotency_key". */
enum rc idempotency_key_check(const char *key, bool guest, struct err *e);

/* SHA-256 of a body; compared with what is stored: other body, same key is
 * RC_INVALID "idempotency_mismatch" (422). */
void body_hash(struct span body, unsigned char hash[BODY_HASH_BYTES]);

/* 64 hex digits and NUL, with "\\x" before it, as PostgreSQL takes a bytea. */
void hash_bytea(const unsigned char hash[32], char out[2 + 64 + 1]);

/* A secret of 256 random bits in base64url, and its SHA-256. */
enum { SECRET_CHARS = 43 };
void secret_make(char secret[SECRET_CHARS + 1]);
void secret_hash(const char *secret, unsigned char hash[32]);
/* Whether s can be one: what a stranger sends is looked up only then. */
bool secret_well_formed(const char *s);

#endif
