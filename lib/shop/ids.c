#include "shop/ids.h"

#include <sodium.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

enum { KEY_MAX = 255, GUEST_KEY_MIN = 16, ID_BYTES = EFFECT_ID_CHARS / 2 };

_Static_assert(crypto_hash_sha256_BYTES == BODY_HASH_BYTES, "SHA-256");

void
id_random(char id[EFFECT_ID_CHARS + 1])
{
	unsigned char bytes[ID_BYTES];

	randombytes_buf(bytes, sizeof bytes);
	text_hex(bytes, sizeof bytes, id);
}

/* With its length before it, so that no two lists of parts are the same
 * bytes. */
static void
hash_part(crypto_hash_sha256_state *state, const char *s)
{
	uint64_t n = strlen(s);
	unsigned char len[8];

	for (int i = 0; i < 8; i++)
		len[i] = (unsigned char)(n >> (8 * i));
	(void)crypto_hash_sha256_update(state, len, sizeof len);
	(void)crypto_hash_sha256_update(state, (const unsigned char *)s, n);
}

void
id_of_effect(const char *person, const char *method, const char *path,
    const char *key, char id[EFFECT_ID_CHARS + 1])
{
	unsigned char digest[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;

	(void)crypto_hash_sha256_init(&state);
	hash_part(&state, "souk effect 1");
	hash_part(&state, person);
	hash_part(&state, method);
	hash_part(&state, path);
	hash_part(&state, key);
	(void)crypto_hash_sha256_final(&state, digest);
	text_hex(digest, ID_BYTES, id);
}

enum rc
idempotency_key_check(const char *key, bool guest, struct err *e)
{
	size_t n = strlen(key);

	if (n == 0 || n > KEY_MAX)
		return err_set(e, RC_INVALID, "invalid_idempotency_key",
		    "Idempotency-Key: 1 to %d characters", KEY_MAX);
	for (size_t i = 0; i < n; i++) {
		if (key[i] < '!' || key[i] > '~')
			return err_set(e, RC_INVALID, "invalid_idempotency_key",
			    "Idempotency-Key: visible ASCII characters only");
	}
	if (guest && n < GUEST_KEY_MIN)
		return err_set(e, RC_INVALID, "invalid_idempotency_key",
		    "Idempotency-Key: without a session at least %d "
		    "characters, hard to guess",
		    GUEST_KEY_MIN);
	return RC_OK;
}

void
body_hash(struct span body, unsigned char hash[BODY_HASH_BYTES])
{
	(void)crypto_hash_sha256(
	    hash, (const unsigned char *)(body.n == 0 ? "" : body.p), body.n);
}

void
hash_bytea(const unsigned char hash[32], char out[2 + 64 + 1])
{
	memcpy(out, "\\x", 2);
	text_hex(hash, 32, out + 2);
}

void
secret_make(char secret[SECRET_CHARS + 1])
{
	unsigned char bytes[32];

	randombytes_buf(bytes, sizeof bytes);
	(void)sodium_bin2base64(secret, SECRET_CHARS + 1, bytes, sizeof bytes,
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(bytes, sizeof bytes);
}

/* Every request of a buyer comes here: no strspn(), which makes a table of its
 * set first. */
bool
secret_well_formed(const char *s)
{
	size_t n = 0;

	for (; s[n] != '\0'; n++) {
		char c = s[n];

		if (n == SECRET_CHARS ||
		    !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
	}
	return n == SECRET_CHARS;
}

void
secret_hash(const char *secret, unsigned char hash[32])
{
	(void)crypto_hash_sha256(
	    hash, (const unsigned char *)secret, strlen(secret));
}
