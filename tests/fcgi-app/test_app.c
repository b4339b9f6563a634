#include "config.h"

#include <check.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/form.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/pack.h"
#include "fcgi-app/query.h"
#include "fcgi-app/route.h"
#include "shop/catalog.h"
#include "shop/settings.h"

static struct arena *arena;

static void
setup(void)
{
	ck_assert_int_ge(sodium_init(), 0);
	arena = arena_new();
}

static void
teardown(void)
{
	arena_free(arena);
}

static const struct {
	const char *pattern, *path;
	int ok;
	int64_t id;
} matches[] = {
	{ "/", "/", 1, 0 },
	{ "/", "/x", 0, 0 },
	{ "/products", "/products/", 0, 0 },
	{ "/products/{id}", "/products/42", 1, 42 },
	{ "/products/{id}", "/products/042", 0, 0 },
	{ "/products/{id}", "/products/0", 0, 0 },
	{ "/products/{id}", "/products/-1", 0, 0 },
	{ "/products/{id}", "/products/42x", 0, 0 },
	{ "/products/{id}", "/products/", 0, 0 },
	{ "/products/{id}", "/products/99999999999999999999", 0, 0 },
	{ "/api/products/{id}/stock", "/api/products/7/stock", 1, 7 },
	{ "/api/products/{id}/stock", "/api/products/7", 0, 7 },
	{ "/api/products/{id}/images/{id}", "/api/products/7/images/08", 0, 0 },
	{ "/api/products/{id}/images/{id}", "/api/products/7/images/", 0, 0 },
	{ "/static/{name}", "/static/a.b.css", 1, 0 },
	{ "/static/{name}", "/static/", 0, 0 },
};

START_TEST(a_path_has_one_route)
{
	struct match m = { 0 };

	ck_assert_int_eq(route_match(matches[_i].pattern, matches[_i].path, &m),
	    matches[_i].ok);
	if (matches[_i].ok)
		ck_assert_int_eq(m.id, matches[_i].id);
}
END_TEST

START_TEST(a_path_may_name_two_things)
{
	struct match m = { 0 };

	ck_assert(route_match("/api/products/{id}/images/{id}",
	    "/api/products/7/images/8", &m));
	ck_assert_int_eq(m.id, 7);
	ck_assert_int_eq(m.id2, 8);
}
END_TEST

START_TEST(an_error_has_the_status_of_its_code)
{
	ck_assert_int_eq(route_status(RC_INVALID, "invalid_field"), 422);
	ck_assert_int_eq(route_status(RC_INVALID, "invalid_limit"), 400);
	ck_assert_int_eq(route_status(RC_REFUSED, "version_conflict"), 412);
	ck_assert_int_eq(route_status(RC_REFUSED, "sold_out"), 400);
	ck_assert_int_eq(route_status(RC_NONE, ""), 404);
	ck_assert_int_eq(route_status(RC_RETRY, "pg_down"), 503);
	ck_assert_int_eq(route_status(RC_FAIL, "x"), 500);
}
END_TEST

START_TEST(a_packed_answer_reads_back_in_every_encoding)
{
	char text[4000];
	struct pack pack;
	struct err e;

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)('a' + i % 7);
	struct span body = { text, sizeof text };
	struct span packed = pack_make(body, "l00k", "17", "Link: <x>", arena);

	ck_assert_int_eq(pack_read(packed, &pack, &e), RC_OK);
	ck_assert(span_eq(pack.body[ENC_IDENTITY], body));
	ck_assert_str_eq(pack.look, "l00k");
	ck_assert_str_eq(pack.extra, "Link: <x>");
	ck_assert_int_eq(strncmp(pack.tag, "17.", 3), 0);
	ck_assert_str_eq(pack.tag, pack_tag(body, "17", arena));
	ck_assert_uint_gt(pack.body[ENC_GZIP].n, 0);
	ck_assert_int_eq((unsigned char)pack.body[ENC_GZIP].p[0], 0x1f);
	for (size_t cut = 0; cut < packed.n; cut += 7) {
		struct span part = { packed.p, cut };

		ck_assert_int_eq(pack_read(part, &pack, &e), RC_FAIL);
	}
}
END_TEST

static const struct {
	const char *name;
	enum rc media, files;
} files[] = {
	{ "a.svg", RC_OK, RC_OK },
	{ "a.js", RC_NONE, RC_OK }, /* uploaded: it would run as ours */
	{ "a.html", RC_NONE, RC_NONE },
	{ "fifo.svg", RC_NONE, RC_NONE }, /* and must not be waited for */
	{ "link.svg", RC_NONE, RC_NONE },
	{ ".a.svg", RC_NONE, RC_NONE },
	{ "sub/../a.svg", RC_NONE, RC_NONE },
	{ "/a.svg", RC_NONE, RC_NONE },
	{ "a.svg/", RC_NONE, RC_NONE },
};

START_TEST(only_what_is_meant_to_be_is_served)
{
	char dir[] = "/tmp/test_app.XXXXXX";
	struct app app = { 0 };
	struct conf *conf;
	struct err e;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	for (int i = 0; i < 3; i++) {
		FILE *f = fopen(i == 0   ? "a.svg"
				: i == 1 ? "a.js"
					 : "a.html",
		    "w");

		ck_assert_ptr_nonnull(f);
		ck_assert_int_eq(fclose(f), 0);
	}
	ck_assert_int_eq(mkfifo("fifo.svg", 0600), 0);
	ck_assert_int_eq(symlink("a.svg", "link.svg"), 0);
	ck_assert_int_eq(setenv("SOUK_FCGI_MEDIA", dir, 1), 0);
	ck_assert_int_eq(setenv("SOUK_FCGI_STATIC", dir, 1), 0);
	ck_assert_int_eq(settings_load("/dev/null", &conf, NULL, &e), RC_OK);
	app.conf = conf;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		const char *const none[] = { NULL };
		struct request rq = { .arena = arena, .params = none };
		struct response rs = { 0 };
		struct match m = { .name = files[i].name };

		ck_assert_msg(
		    file_media(&app, &rq, &m, &rs, &e) == files[i].media, "%s",
		    files[i].name);
		ck_assert_msg(
		    file_static(&app, &rq, &m, &rs, &e) == files[i].files, "%s",
		    files[i].name);
	}
	conf_free(conf);
	for (int i = 0; i < 5; i++)
		(void)unlink((const char *[]){
		    "a.svg", "a.js", "a.html", "fifo.svg", "link.svg" }[i]);
	(void)rmdir(dir);
}
END_TEST

/* Or one child that is killed while it fills costs others their answers. */
START_TEST(who_waits_for_a_filler_outlives_its_lease)
{
	struct conf *conf;
	struct err e;

	ck_assert_int_eq(settings_load("/dev/null", &conf, NULL, &e), RC_OK);
	ck_assert_int_lt(conf_int(conf, "cache", "lease") + 100,
	    conf_int(conf, "cache", "wait"));
	/* And a fill within its query's deadline is not thrown away. */
	ck_assert_int_gt(conf_int(conf, "cache", "lease") * 2,
	    conf_int(conf, "postgres", "query") + 500);
	conf_free(conf);
}
END_TEST

static const char *const bad_packs[] = {
	"",
	"SPK1 ",
	"SPK2 1 0 1 0 0\na",
	"SPK1 4 18446744073709551612 1 0 0\na", /* the sum is small */
	"SPK1 -1 0 1 0 0\na",
};

/* Followed by any number of NULs. */
START_TEST(a_damaged_answer_is_refused)
{
	char text[64] = "";
	struct pack pack;
	struct err e;

	memcpy(text, bad_packs[_i], strlen(bad_packs[_i]));
	for (size_t n = 0; n < sizeof text; n++)
		ck_assert_int_eq(
		    pack_read((struct span){ text, n }, &pack, &e), RC_FAIL);
}
END_TEST

static const struct {
	const char *accept;
	enum encoding want;
} accepts[] = {
	{ NULL, ENC_IDENTITY },
	{ "", ENC_IDENTITY },
	{ "gzip", ENC_GZIP },
	{ "GZIP", ENC_GZIP },
	{ "gzip;q=0", ENC_IDENTITY },
	{ "gzip; q=0.000, identity", ENC_IDENTITY },
	{ "gzip;q=0.1", ENC_GZIP },
	{ "deflate, gzip", ENC_GZIP },
	{ "xgzip", ENC_IDENTITY },
#ifdef HAVE_BROTLI
	{ "br", ENC_BR },
	{ "gzip, deflate, br", ENC_BR },
	{ "br;q=0, gzip", ENC_GZIP },
#endif
};

START_TEST(the_client_gets_what_it_takes)
{
	struct pack pack = { .body = { { "x", 1 }, { "y", 1 }, { "z", 1 } } };

	ck_assert_int_eq(
	    pack_choose(&pack, accepts[_i].accept), accepts[_i].want);
}
END_TEST

static const struct {
	const char *header;
	int same;
} conditions[] = {
	{ "HTTP_IF_NONE_MATCH=\"a.1\"", 1 },
	{ "HTTP_IF_NONE_MATCH=W/\"a.1\"", 1 },
	{ "HTTP_IF_NONE_MATCH=\"b\", \"a.1\"", 1 },
	{ "HTTP_IF_NONE_MATCH=\"b\",\"a.1\",\"c\"", 1 },
	{ "HTTP_IF_NONE_MATCH=*", 1 },
	{ "HTTP_IF_NONE_MATCH=\"a.12\"", 0 },
	{ "HTTP_IF_NONE_MATCH=a.1", 0 },
	{ "HTTP_IF_NONE_MATCH=\"x, \"a.1\"", 0 },
	{ "HTTP_IF_NONE_MATCH=", 0 },
	{ "HTTP_OTHER=1", 0 },
};

START_TEST(an_entity_tag_is_compared_weakly)
{
	const char *params[] = { conditions[_i].header, NULL };
	struct request rq = {
		.arena = arena, .method = M_GET, .params = params
	};

	ck_assert_int_eq(not_modified(&rq, "\"a.1\""), conditions[_i].same);
}
END_TEST

static struct catalog_query query;

static enum rc
parse(const char *q, const char *limit)
{
	struct field f[] = { { "q", q }, { "limit", limit } };
	struct request rq = { .arena = arena,
		.query = { .n = limit == NULL ? 1 : 2, .f = f } };
	struct err e;

	return query_parse(&rq, &query, &e);
}

START_TEST(a_query_is_bounded_and_has_one_key)
{
	ck_assert_int_eq(parse("  red \t mug ", NULL), RC_OK);
	ck_assert_str_eq(query.q, "red mug");
	ck_assert_int_eq(query.limit, QUERY_LIMIT);
	ck_assert_str_eq(query_key(arena, "page:/products", &query),
	    "page:/products?q=red%20mug&after=&limit=24");
	ck_assert_int_eq(parse("{a}", "100"), RC_OK);
	ck_assert_ptr_null(
	    strpbrk(query_key(arena, "page:/products", &query), "{}"));
	ck_assert_int_eq(parse("x", "101"), RC_INVALID);
	ck_assert_int_eq(parse("x", "0"), RC_INVALID);
	ck_assert_int_eq(parse("x", "1e3"), RC_INVALID);
	char *large = arena_alloc(arena, QUERY_MAX_WORDS + 2);

	memset(large, 'x', QUERY_MAX_WORDS + 1);
	large[QUERY_MAX_WORDS + 1] = '\0';
	ck_assert_int_eq(parse(large, NULL), RC_INVALID);
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof *(a))

int
main(void)
{
	Suite *s = suite_create("app");
	TCase *tc = tcase_create("app");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, a_path_has_one_route, 0, N(matches));
	tcase_add_test(tc, a_path_may_name_two_things);
	tcase_add_test(tc, an_error_has_the_status_of_its_code);
	tcase_add_test(tc, a_packed_answer_reads_back_in_every_encoding);
	tcase_add_test(tc, only_what_is_meant_to_be_is_served);
	tcase_add_test(tc, who_waits_for_a_filler_outlives_its_lease);
	tcase_add_loop_test(tc, a_damaged_answer_is_refused, 0,
	    sizeof bad_packs / sizeof *bad_packs);
	tcase_add_loop_test(tc, the_client_gets_what_it_takes, 0, N(accepts));
	tcase_add_loop_test(
	    tc, an_entity_tag_is_compared_weakly, 0, N(conditions));
	tcase_add_test(tc, a_query_is_bounded_and_has_one_key);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
