/* ids, throttle (without Redis), passwords: what needs no server. */
#include "config.h"

#include <check.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "shop/account_int.h"
#include "shop/ids.h"
#include "shop/shop.h"
#include "shop/throttle.h"
#include "store/redis.h"

static struct arena *arena;
static struct throttle *throttle;
static struct redis *nowhere;
static struct err e;

static void
setup(void)
{
	ck_assert_int_ge(sodium_init(), 0);
	arena = arena_new();
	throttle = throttle_new();
	ck_assert(
	    redis_new(&(struct redis_opts){ .url = "unix:///nonexistent/redis",
			  .connect_ms = 100,
			  .command_ms = 100 },
		&nowhere, &e) == RC_OK);
}

static void
teardown(void)
{
	redis_free(nowhere);
	throttle_free(throttle);
	arena_free(arena);
}

/* ---- ids */

START_TEST(an_effect_has_one_id)
{
	char a[EFFECT_ID_CHARS + 1], b[EFFECT_ID_CHARS + 1];

	id_of_effect("customer:1", "POST", "/api/orders", "k", a);
	id_of_effect("customer:1", "POST", "/api/orders", "k", b);
	ck_assert_str_eq(a, b);
	ck_assert_uint_eq(strlen(a), EFFECT_ID_CHARS);
	ck_assert_uint_eq(strspn(a, "0123456789abcdef"), EFFECT_ID_CHARS);
}
END_TEST

/* Each differs from the first in one part, or in where a part ends. */
static const char *const others[][4] = {
	{ "customer:2", "POST", "/api/orders", "k" },
	{ "customer:1", "PUT", "/api/orders", "k" },
	{ "customer:1", "POST", "/api/order", "k" },
	{ "customer:1", "POST", "/api/orders", "K" },
	{ "customer:1", "POST", "/api/orders", "" },
	{ "customer:1P", "OST", "/api/orders", "k" },
	{ "customer:1", "POST/api", "/orders", "k" },
	{ "customer:1", "POST", "/api/ordersk", "" },
};

START_TEST(another_effect_has_another)
{
	char a[EFFECT_ID_CHARS + 1], b[EFFECT_ID_CHARS + 1];
	const char *const *o = others[_i];

	id_of_effect("customer:1", "POST", "/api/orders", "k", a);
	id_of_effect(o[0], o[1], o[2], o[3], b);
	ck_assert_str_ne(a, b);
}
END_TEST

static const struct {
	const char *key;
	bool guest, good;
} keys[] = {
	{ "1", false, true },
	{ "", false, false },
	{ "with space", false, false },
	{ "new\nline", false, false },
	{ "\xc3\xa4", false, false },
	{ "\x7f", false, false },
	{ "123456789012345", true, false },
	{ "1234567890123456", true, true },
};

START_TEST(a_key_is_visible_ascii)
{
	enum rc rc = idempotency_key_check(keys[_i].key, keys[_i].guest, &e);

	ck_assert(rc == (keys[_i].good ? RC_OK : RC_INVALID));
	if (!keys[_i].good)
		ck_assert_str_eq(e.code, "invalid_idempotency_key");
}
END_TEST

START_TEST(a_key_has_at_most_255)
{
	char key[257];

	memset(key, 'x', sizeof key);
	key[255] = '\0';
	ck_assert(idempotency_key_check(key, false, &e) == RC_OK);
	key[255] = 'x';
	key[256] = '\0';
	ck_assert(idempotency_key_check(key, false, &e) == RC_INVALID);
}
END_TEST

/* FIPS 180-2: SHA-256 of "abc" */
START_TEST(hashes_are_sha256)
{
	static const char abc[] = "\\xba7816bf8f01cfea414140de5dae2223"
				  "b00361a396177a9cb410ff61f20015ad";
	unsigned char hash[32];
	char hex[2 + 64 + 1];

	body_hash((struct span){ "abcd", 3 }, hash);
	hash_bytea(hash, hex);
	ck_assert_str_eq(hex, abc);
	secret_hash("abc", hash);
	hash_bytea(hash, hex);
	ck_assert_str_eq(hex, abc);
	body_hash((struct span){ NULL, 0 }, hash);
	hash_bytea(hash, hex);
	ck_assert_int_eq(strncmp(hex, "\\xe3b0c442", 10), 0);
}
END_TEST

START_TEST(secrets_are_base64url_and_differ)
{
	char a[SECRET_CHARS + 1], b[SECRET_CHARS + 1];

	secret_make(a);
	secret_make(b);
	ck_assert_uint_eq(strlen(a), SECRET_CHARS);
	ck_assert_uint_eq(strspn(a, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop"
				    "qrstuvwxyz0123456789-_"),
	    SECRET_CHARS);
	ck_assert_str_ne(a, b);
}
END_TEST

/* ---- throttle */

static const struct throttle_rule three = { "t", 3, 600 };

static bool
take(const char *who, int *wait)
{
	*wait = 0;
	return throttle_take(throttle, nowhere, &three, who, arena, wait, &e) ==
	       RC_OK;
}

START_TEST(so_many_tries_without_redis)
{
	int wait;

	for (int i = 0; i < 3; i++)
		ck_assert(take("a", &wait));
	ck_assert(!take("a", &wait));
	ck_assert_str_eq(e.code, "too_many_tries");
	/* One comes back after a third of the window. */
	ck_assert_int_gt(wait, 190);
	ck_assert_int_le(wait, 200);
	ck_assert(take("b", &wait));
}
END_TEST

START_TEST(a_try_given_back_is_none)
{
	int wait;

	for (int i = 0; i < 20; i++) {
		ck_assert(take("a", &wait));
		throttle_give(throttle, nowhere, &three, 100, "a", arena);
	}
	/* Giving back more than was taken makes no more of them. */
	throttle_give(throttle, nowhere, &three, 100, "a", arena);
	for (int i = 0; i < 3; i++)
		ck_assert(take("a", &wait));
	ck_assert(!take("a", &wait));
}
END_TEST

static const struct {
	const char *address, *network;
} networks[] = {
	{ "192.0.2.7", "192.0.2.7" },
	{ "::ffff:192.0.2.7", "192.0.2.7" },
	{ "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64" },
	{ "2001:DB8:1:2::", "2001:db8:1:2::/64" },
	{ "2001:db8:1:3::1", "2001:db8:1:3::/64" },
	{ "unix:", "?" },
	{ "", "?" },
	{ "192.0.2.7:80", "?" },
};

START_TEST(a_network_is_an_address_or_a_64)
{
	ck_assert_str_eq(throttle_network(networks[_i].address, arena),
	    networks[_i].network);
}
END_TEST

/* ---- passwords */

static const struct {
	const char *password;
	bool good;
} passwords[] = {
	{ "wicker basket", true },
	{ "       x", true },
	{ "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4 \xec\x95\x94\xed\x98\xb8 "
	  "\xec\x9e\x85\xeb\x8b\x88",
	    true },
	{ "1234567", false },
	{ "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4", false }, /* 3 characters */
	{ "12345678", false },
	{ "1234567890", false },
	{ "87654321", false },
	{ "aaaaaaaaaaaa", false },
	{ "Password1", false },
	{ "iloveyou!!", false },
	{ "Ann@Example.com", false },
	{ "longlongname", true },
	{ "bad\xff utf8 here", false },
};

START_TEST(a_password_is_long_and_not_common)
{
	enum rc rc =
	    password_check(passwords[_i].password, "ann@example.com", &e);

	ck_assert(rc == (passwords[_i].good ? RC_OK : RC_INVALID));
}
END_TEST

START_TEST(a_password_has_a_bound)
{
	char s[PASSWORD_MAX + 2];

	for (size_t i = 0; i < sizeof s; i++)
		s[i] = (char)('a' + i * 7 % 26);
	s[PASSWORD_MAX] = '\0';
	ck_assert(password_check(s, "a@b.cc", &e) == RC_OK);
	s[PASSWORD_MAX] = 'x';
	s[PASSWORD_MAX + 1] = '\0';
	ck_assert(password_check(s, "a@b.cc", &e) == RC_INVALID);
}
END_TEST

START_TEST(a_hash_says_how_it_was_made)
{
	char a[PASSWORD_HASH_BYTES], b[PASSWORD_HASH_BYTES];
	struct shop any = { 0 };

	ck_assert(password_hash(&any, "wicker basket", a, &e) == RC_OK);
	ck_assert(password_hash(&any, "wicker basket", b, &e) == RC_OK);
	ck_assert_int_eq(strncmp(a, "$argon2id$v=19$m=19456,t=2,p=1$", 31), 0);
	ck_assert_str_ne(a, b); /* salted */
	ck_assert_int_eq(crypto_pwhash_str_verify(a, "wicker basket", 13), 0);
	ck_assert_int_ne(crypto_pwhash_str_verify(a, "wicker baskeT", 13), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("account");
	TCase *tc = tcase_create("account");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_effect_has_one_id);
	tcase_add_loop_test(tc, another_effect_has_another, 0,
	    (int)(sizeof others / sizeof *others));
	tcase_add_loop_test(
	    tc, a_key_is_visible_ascii, 0, (int)(sizeof keys / sizeof *keys));
	tcase_add_test(tc, a_key_has_at_most_255);
	tcase_add_test(tc, hashes_are_sha256);
	tcase_add_test(tc, secrets_are_base64url_and_differ);
	tcase_add_test(tc, so_many_tries_without_redis);
	tcase_add_test(tc, a_try_given_back_is_none);
	tcase_add_loop_test(tc, a_network_is_an_address_or_a_64, 0,
	    (int)(sizeof networks / sizeof *networks));
	tcase_add_loop_test(tc, a_password_is_long_and_not_common, 0,
	    (int)(sizeof passwords / sizeof *passwords));
	tcase_add_test(tc, a_password_has_a_bound);
	tcase_add_test(tc, a_hash_says_how_it_was_made);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
