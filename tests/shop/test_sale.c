/* The rules of planning a sale; no database. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "shop/sale.h"

static struct err e;

#define NOW INT64_C(1795337400000) /* 2026-11-22T08:10:00Z */
#define HOUR INT64_C(3600000)

static const struct {
	const char *start, *end;
	enum rc rc;
	const char *code;
	int64_t starts, ends;
} windows[] = {
	{ NULL, NULL, RC_OK, "", NOW, NOW + HOUR },
	{ "now", "+2h", RC_OK, "", NOW, NOW + 2 * HOUR },
	{ "+1h", NULL, RC_OK, "", NOW + HOUR, NOW + 2 * HOUR },
	{ "+1h", "+2h", RC_OK, "", NOW + HOUR, NOW + 2 * HOUR },
	{ "-2h", "-1h", RC_OK, "", NOW - 2 * HOUR, NOW - HOUR },
	{ "2026-11-22T09:00:00Z", "2026-11-22T11:00:00+01:00", RC_OK, "",
	    1795338000000, 1795341600000 },
	{ "+1h", "+1h", RC_INVALID, "invalid_window", 0, 0 },
	{ "+2h", "+1h", RC_INVALID, "invalid_window", 0, 0 },
	{ "tomorrow", NULL, RC_INVALID, "invalid_time", 0, 0 },
	{ NULL, "2026-02-30T00:00:00Z", RC_INVALID, "invalid_time", 0, 0 },
};

START_TEST(window)
{
	struct sale_window w = { -1, -1 };

	e = (struct err)ERR_INIT;
	ck_assert_int_eq(
	    sale_window(windows[_i].start, windows[_i].end, NOW, &w, &e),
	    windows[_i].rc);
	ck_assert_str_eq(e.code, windows[_i].code);
	if (windows[_i].rc == RC_OK) {
		ck_assert_int_eq(w.starts_ms, windows[_i].starts);
		ck_assert_int_eq(w.ends_ms, windows[_i].ends);
	} else {
		ck_assert_int_eq(w.starts_ms, -1); /* left alone */
	}
}
END_TEST

static const struct sale_variant two[] = { { 7, "S", 5000, 3 },
	{ 8, "M", 6000, 0 } };

START_TEST(the_only_variant_need_not_be_said)
{
	const struct sale_variant *v = NULL;

	ck_assert_int_eq(sale_variant_pick(two, 1, 0, &v, &e), RC_OK);
	ck_assert_int_eq(v->id, 7);
}
END_TEST

START_TEST(of_several_one_must_be_said)
{
	const struct sale_variant *v = NULL;

	ck_assert_int_eq(sale_variant_pick(two, 2, 0, &v, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "variant_required");
	ck_assert_ptr_nonnull(strstr(e.msg, "7 (S), 8 (M)"));
	ck_assert_ptr_null(v);
	ck_assert_int_eq(sale_variant_pick(two, 2, 8, &v, &e), RC_OK);
	ck_assert_int_eq(v->price, 6000);
}
END_TEST

START_TEST(a_variant_of_another_product_is_refused)
{
	const struct sale_variant *v = NULL;

	ck_assert_int_eq(sale_variant_pick(two, 2, 9, &v, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "invalid_variant");
	ck_assert_int_eq(sale_variant_pick(two, 1, 8, &v, &e), RC_INVALID);
	ck_assert_int_eq(sale_variant_pick(two, 0, 0, &v, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "no_variants");
}
END_TEST

static const struct {
	struct sale_item_req req;
	enum rc rc;
} items[] = {
	{ { 1, 0, 1, 0, -1 }, RC_OK },
	{ { 1, 2, 10000000, 1000, 0 }, RC_OK },
	{ { 0, 0, 1, 0, -1 }, RC_INVALID },
	{ { 1, -1, 1, 0, -1 }, RC_INVALID },
	{ { 1, 0, 0, 0, -1 }, RC_INVALID },
	{ { 1, 0, 10000001, 0, -1 }, RC_INVALID },
	{ { 1, 0, 1, 1001, -1 }, RC_INVALID },
	{ { 1, 0, 1, -1, -1 }, RC_INVALID },
	{ { 1, 0, 1, 0, -2 }, RC_INVALID },
	{ { 1, 0, 1, 0, INT64_C(100000000000001) }, RC_INVALID },
};

START_TEST(item_bounds)
{
	ck_assert_int_eq(sale_item_check(&items[_i].req, &e), items[_i].rc);
	if (items[_i].rc != RC_OK)
		ck_assert_str_eq(e.code, "invalid_item");
}
END_TEST

START_TEST(a_sale_is_what_its_items_are)
{
	ck_assert_str_eq(sale_state(0, 0, 0), "draft");
	ck_assert_str_eq(sale_state(2, 0, 0), "draft");
	ck_assert_str_eq(sale_state(1, 1, 1), "open");
	ck_assert_str_eq(sale_state(1, 0, 1), "closed");
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

int
main(void)
{
	Suite *s = suite_create("sale");
	TCase *tc = tcase_create("rules");
	SRunner *sr;

	tcase_add_loop_test(tc, window, 0, COUNT(windows));
	tcase_add_test(tc, the_only_variant_need_not_be_said);
	tcase_add_test(tc, of_several_one_must_be_said);
	tcase_add_test(tc, a_variant_of_another_product_is_refused);
	tcase_add_loop_test(tc, item_bounds, 0, COUNT(items));
	tcase_add_test(tc, a_sale_is_what_its_items_are);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
