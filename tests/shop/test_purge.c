/* What a name stands for when it is purged. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "shop/purge.h"

static const struct {
	const char *name;
	enum rc rc;
	const char *keys, *paths;
	bool lists;
} names[] = {
	{ "product:42", RC_OK,
	    "product:42 page:/products/42 page:/api/products/42",
	    "/products/42 /api/products/42 /api/products/42/stock", false },
	{ "sale:3", RC_OK, "sale:3 page:/flash-sale/3", "/flash-sale/3",
	    false },
	{ "page:/products/42", RC_OK, "page:/products/42", "/products/42",
	    false },
	{ "/flash-sale/3", RC_OK, "page:/flash-sale/3", "/flash-sale/3",
	    false },
	{ "/", RC_OK, "page:/", "", true },
	{ "page:/products?q=a&after=&limit=", RC_OK,
	    "page:/products?q=a&after=&limit=", "", true },
	{ "/products/x", RC_OK, "page:/products/x", "", true },
	{ "gen:catalog", RC_OK, "gen:catalog", "", true },
	{ "product:x", RC_INVALID, "", "", false },
	{ "product:9:update", RC_INVALID, "", "", false },
	{ "session:abc", RC_INVALID, "", "", false },
	{ "stock:{1:2}", RC_INVALID, "", "", false },
	{ "{product:42}:m", RC_INVALID, "", "", false },
	{ "cache:hits", RC_INVALID, "", "", false },
	{ "", RC_INVALID, "", "", false },
};

static const char *
joined(struct arena *arena, int n, const char *const s[])
{
	const char *all = "";

	for (int i = 0; i < n; i++)
		all =
		    arena_printf(arena, "%s%s%s", all, i == 0 ? "" : " ", s[i]);
	return all;
}

START_TEST(a_name_stands_for_all_that_is_made_of_it)
{
	struct arena *arena = arena_new();
	struct purge *p = calloc(1, sizeof *p);
	struct err e = ERR_INIT;

	ck_assert_int_eq(purge_add(p, names[_i].name, arena, &e), names[_i].rc);
	ck_assert_str_eq(joined(arena, p->n_keys, p->keys), names[_i].keys);
	ck_assert_str_eq(joined(arena, p->n_paths, p->paths), names[_i].paths);
	ck_assert_int_eq(p->lists, names[_i].lists);
	if (names[_i].rc != RC_OK)
		ck_assert_str_eq(e.code, "not_cached");
	free(p);
	arena_free(arena);
}
END_TEST

START_TEST(it_is_full_before_it_overflows)
{
	struct arena *arena = arena_new();
	struct purge *p = calloc(1, sizeof *p);
	int n = 0;

	for (; purge_has_room(p); n++)
		ck_assert_int_eq(purge_add(p, "product:1", arena, NULL), RC_OK);
	ck_assert_int_gt(n, 100);
	ck_assert_int_le(p->n_keys, PURGE_MAX_KEYS);
	ck_assert_int_le(p->n_paths, PURGE_MAX_PATHS);
	free(p);
	arena_free(arena);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("purge");
	TCase *tc = tcase_create("names");
	SRunner *sr;

	tcase_add_loop_test(tc, a_name_stands_for_all_that_is_made_of_it, 0,
	    (int)(sizeof names / sizeof *names));
	tcase_add_test(tc, it_is_full_before_it_overflows);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
