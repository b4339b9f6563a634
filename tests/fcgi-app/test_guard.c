/* guard: where a request came from, its cookies, its form. No server needed:
 * who has no session asks nobody. */
#include "config.h"

#include <check.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/guard.h"
#include "fcgi-app/private.h"
#include "shop/settings.h"

static struct arena *arena;
static struct conf *conf;
static struct app app;
static struct request rq;
static struct err e;

static const struct request_limits limits = { 1 << 16, 1000, 0 };

static void
given_shop(const char *base_url)
{
	char env[200];
	char *environ_[] = { env, NULL };

	snprintf(env, sizeof env, "SOUK_SHOP_BASE_URL=%s", base_url);
	conf_free(conf);
	ck_assert(
	    conf_load(settings_rows, NULL, environ_, &conf, NULL, &e) == RC_OK);
	app.conf = conf;
	app.tls = guard_shop_is_tls(conf);
}

static void
setup(void)
{
	ck_assert_int_ge(sodium_init(), 0);
	arena = arena_new();
	given_shop("http://shop.test:8080");
}

static void
teardown(void)
{
	conf_free(conf);
	conf = NULL;
	arena_free(arena);
}

/* At most 8 parameters, NULL for none. */
static void
given(const char *const params[])
{
	request_parse(&rq, arena, params, &limits);
}

static const struct {
	const char *params[5];
	bool good;
} origins[] = {
	/* no browser */
	{ { "REQUEST_METHOD=POST", "HTTP_HOST=x.test" }, true },
	{ { "REQUEST_METHOD=POST", "HTTP_ORIGIN=http://shop.test:8080" },
	    true },
	{ { "REQUEST_METHOD=POST", "HTTP_ORIGIN=HTTP://SHOP.test:8080" },
	    true },
	{ { "REQUEST_METHOD=POST", "HTTP_ORIGIN=http://shop.test" }, false },
	{ { "REQUEST_METHOD=POST", "HTTP_ORIGIN=https://shop.test:8080" },
	    false },
	{ { "REQUEST_METHOD=POST", "HTTP_ORIGIN=http://shop.test:80801" },
	    false },
	{ { "REQUEST_METHOD=POST", "HTTP_ORIGIN=null" }, false },
	{ { "REQUEST_METHOD=POST", "HTTP_ORIGIN=" }, false },
	/* as this request names the host */
	{ { "REQUEST_METHOD=POST", "HTTP_HOST=other.test",
	      "HTTP_ORIGIN=http://other.test" },
	    true },
	{ { "REQUEST_METHOD=POST", "HTTP_HOST=other.test:80",
	      "HTTP_ORIGIN=http://other.test" },
	    true },
	{ { "REQUEST_METHOD=POST", "HTTP_HOST=other.test",
	      "HTTP_ORIGIN=https://other.test" },
	    false },
	{ { "REQUEST_METHOD=POST", "HTTP_HOST=other.test", "HTTPS=on",
	      "HTTP_ORIGIN=https://other.test:443" },
	    true },
	{ { "REQUEST_METHOD=POST", "HTTP_HOST=other.test",
	      "HTTP_ORIGIN=http://other.test.evil.test" },
	    false },
	{ { "REQUEST_METHOD=POST", "HTTP_HOST=", "HTTP_ORIGIN=http://" },
	    false },
	{ { "REQUEST_METHOD=POST", "HTTP_SEC_FETCH_SITE=same-origin" }, true },
	{ { "REQUEST_METHOD=POST", "HTTP_SEC_FETCH_SITE=same-site" }, false },
	{ { "REQUEST_METHOD=POST", "HTTP_SEC_FETCH_SITE=cross-site" }, false },
	{ { "REQUEST_METHOD=POST", "HTTP_SEC_FETCH_SITE=none" }, false },
	{ { "REQUEST_METHOD=GET", "HTTP_SEC_FETCH_SITE=none" }, true },
	/* both must be right */
	{ { "REQUEST_METHOD=POST", "HTTP_SEC_FETCH_SITE=same-origin",
	      "HTTP_ORIGIN=http://evil.test" },
	    false },
	{ { "REQUEST_METHOD=POST", "HTTP_SEC_FETCH_SITE=cross-site",
	      "HTTP_ORIGIN=http://shop.test:8080" },
	    false },
	{ { "REQUEST_METHOD=POST", "HTTP_REFERER=http://evil.test/a" }, false },
	{ { "REQUEST_METHOD=POST", "HTTP_REFERER=http://shop.test:8080/login" },
	    true },
	{ { "REQUEST_METHOD=POST",
	      "HTTP_REFERER=http://shop.test:8080@evil.test/" },
	    false },
};

START_TEST(a_change_comes_from_our_pages)
{
	enum rc rc;

	given(origins[_i].params);
	rc = guard_same_origin(&app, &rq, &e);
	ck_assert(rc == (origins[_i].good ? RC_OK : RC_REFUSED));
	if (!origins[_i].good)
		ck_assert_str_eq(e.code, "cross_origin");
}
END_TEST

#define SECRET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO-_"

static const struct {
	const char *base, *https, *want;
} cookies[] = {
	{ "http://shop.test", "HTTPS=",
	    "Set-Cookie: souk_session=" SECRET
	    "; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax" },
	{ "http://shop.test", "HTTPS=on",
	    "Set-Cookie: __Host-souk_session=" SECRET
	    "; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax; Secure" },
	{ "https://shop.test", "HTTPS=",
	    "Set-Cookie: __Host-souk_session=" SECRET
	    "; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax; Secure" },
};

START_TEST(the_cookie_is_for_this_host_alone)
{
	const char *params[] = { "REQUEST_METHOD=GET", cookies[_i].https,
		NULL };
	struct response rs = { 0 };

	given_shop(cookies[_i].base);
	given(params);
	guard_set_session(&app, &rq, &rs, SECRET);
	ck_assert_int_eq(rs.n_extra, 1);
	ck_assert_str_eq(rs.extra[0], cookies[_i].want);
	guard_set_session(&app, &rq, &rs, "");
	ck_assert_ptr_nonnull(strstr(rs.extra[1], "souk_session=; "));
	ck_assert_ptr_nonnull(strstr(rs.extra[1], "; Max-Age=0;"));
}
END_TEST

static const struct {
	const char *https, *cookie, *guest;
} guests[] = {
	{ "HTTPS=", "HTTP_COOKIE=souk_cart=" SECRET, SECRET },
	{ "HTTPS=on", "HTTP_COOKIE=souk_cart=" SECRET, "" },
	{ "HTTPS=on", "HTTP_COOKIE=a=b; __Host-souk_cart=" SECRET, SECRET },
	{ "HTTPS=", "HTTP_COOKIE=__Host-souk_cart=" SECRET, "" },
	{ "HTTPS=", "HTTP_COOKIE=souk_cart=short", "" },
	{ "HTTPS=", "HTTP_COOKIE=souk_cart=" SECRET "x", "" },
};

START_TEST(over_tls_only_the_prefixed_cookie_counts)
{
	const char *params[] = { "REQUEST_METHOD=GET", guests[_i].https,
		guests[_i].cookie, NULL };
	struct who who;

	given(params);
	ck_assert(guard_who(&app, &rq, &who, &e) == RC_OK);
	ck_assert(!who.known);
	ck_assert_str_eq(who.guest, guests[_i].guest);
}
END_TEST

/* A guest's form with that body and type. */
static enum rc
form(const char *cookie, const char *type, const char *body, struct fields *out)
{
	const char *params[] = { "REQUEST_METHOD=POST", cookie, type, NULL };
	struct who who;

	given(params);
	rq.body = (struct span){ body, strlen(body) };
	ck_assert(guard_who(&app, &rq, &who, &e) == RC_OK);
	return guard_form(&app, &rq, &who, out, &e);
}

#define FORM "CONTENT_TYPE=application/x-www-form-urlencoded"
#define GUEST "HTTP_COOKIE=souk_cart=" SECRET

START_TEST(a_form_carries_its_token)
{
	struct fields f;
	struct who who = { .guest = SECRET };
	const char *token, *body;

	given((const char *[]){ "REQUEST_METHOD=GET", NULL });
	token = guard_form_token(&rq, &who);
	ck_assert_ptr_null(strstr(token, SECRET));
	body = arena_concat(arena, "a=b&form_token=", token, NULL);
	ck_assert(form(GUEST, FORM, body, &f) == RC_OK);
	ck_assert_str_eq(fields_get(&f, "a"), "b");
	ck_assert(form(GUEST, FORM, "a=b", &f) == RC_REFUSED);
	ck_assert_str_eq(e.code, "stale_form");
	ck_assert(form(GUEST, FORM, "form_token=", &f) == RC_REFUSED);
	/* another's cookie, or none at all */
	ck_assert(form("HTTP_COOKIE=souk_cart=" SECRET "x", FORM, body, &f) ==
		  RC_REFUSED);
	who.guest = "";
	body = arena_concat(
	    arena, "form_token=", guard_form_token(&rq, &who), NULL);
	ck_assert(form("HTTP_COOKIE=", FORM, body, &f) == RC_REFUSED);
	ck_assert(
	    form(GUEST, "CONTENT_TYPE=text/plain", body, &f) == RC_INVALID);
}
END_TEST

static const struct {
	const char *next;
	bool good;
} nexts[] = {
	{ "/cart", true },
	{ "/products?q=a%20b&after=1", true },
	{ "/", true },
	{ NULL, false },
	{ "", false },
	{ "cart", false },
	{ "//evil.test", false },
	{ "/\\evil.test", false },
	{ "/\t/evil.test", false },
	{ "/a\r\nX: y", false },
	{ "/a b", false },
	{ "https://evil.test/", false },
	{ "/\xc3\xa4", false },
};

START_TEST(after_logging_in_it_goes_on_here)
{
	ck_assert_str_eq(private_next(nexts[_i].next, "/account"),
	    nexts[_i].good ? nexts[_i].next : "/account");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("guard");
	TCase *tc = tcase_create("guard");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, a_change_comes_from_our_pages, 0,
	    (int)(sizeof origins / sizeof *origins));
	tcase_add_loop_test(tc, the_cookie_is_for_this_host_alone, 0,
	    (int)(sizeof cookies / sizeof *cookies));
	tcase_add_loop_test(tc, over_tls_only_the_prefixed_cookie_counts, 0,
	    (int)(sizeof guests / sizeof *guests));
	tcase_add_test(tc, a_form_carries_its_token);
	tcase_add_loop_test(tc, after_logging_in_it_goes_on_here, 0,
	    (int)(sizeof nexts / sizeof *nexts));
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
