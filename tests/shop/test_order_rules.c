/* The rules of orders that need no store. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "shop/money.h"
#include "shop/order.h"
#include "shop/order_int.h"
#include "shop/order_life.h"
#include "shop/total.h"

static struct err e;

/* ---- what may follow what */

START_TEST(only_the_transitions_of_the_design_exist)
{
	static const char *const may[] = { "pending>reserved",
		"pending>cancelled", "reserved>paid", "reserved>cancelled",
		"paid>fulfilled", "paid>refunded", "fulfilled>refunded" };
	size_t found = 0;

	for (int from = OS_PENDING; from <= OS_REFUNDED; from++) {
		for (int to = OS_PENDING; to <= OS_REFUNDED; to++) {
			char name[40];
			bool want = false;

			(void)snprintf(name, sizeof name, "%s>%s",
			    order_status_name((enum order_status)from),
			    order_status_name((enum order_status)to));
			for (size_t i = 0; i < sizeof may / sizeof *may; i++)
				want = want || strcmp(may[i], name) == 0;
			ck_assert_msg(order_may((enum order_status)from,
					  (enum order_status)to) == want,
			    "%s", name);
			found += want;
		}
	}
	ck_assert_uint_eq(found, sizeof may / sizeof *may);
}
END_TEST

START_TEST(a_status_is_known_by_its_name)
{
	enum order_status s = OS_PENDING;

	ck_assert(order_status_parse("refunded", &s));
	ck_assert_int_eq(s, OS_REFUNDED);
	ck_assert(!order_status_parse("gone", &s));
	ck_assert(!order_status_parse("", &s));
}
END_TEST

/* ---- totals */

static const struct {
	const char *percent;
	int64_t rate; /* -1: refused */
} rates[] = {
	{ "0", 0 },
	{ "8.25", 8250 },
	{ "19", 19000 },
	{ "7.5", 7500 },
	{ "0.001", 1 },
	{ "1000", 1000000 },
	{ "1000.001", -1 },
	{ "-1", -1 },
	{ "8,25", -1 },
	{ "8.2505", -1 },
	{ "8.", -1 },
	{ ".5", -1 },
	{ "8.-2", -1 },
	{ "", -1 },
	{ "99999999999999999999", -1 },
};

START_TEST(a_tax_rate_is_percent_with_three_decimals)
{
	int64_t rate = -1;
	bool ok = tax_rate_parse(rates[_i].percent, &rate);

	ck_assert_msg(ok == (rates[_i].rate >= 0), "%s", rates[_i].percent);
	if (ok)
		ck_assert_int_eq(rate, rates[_i].rate);
}
END_TEST

static const struct {
	int64_t price, quantity, shipping, rate, tax, total;
} sums[] = {
	{ 1000, 2, 500, 0, 0, 2500 },
	{ 1000, 2, 500, 8250, 206, 2706 }, /* 206.25 */
	{ 1, 2, 0, 25000, 1, 3 },          /* 0.5: up */
	{ 1, 1, 0, 49999, 0, 1 },          /* 0.49999: down */
	{ 1, 1, 0, 50000, 1, 2 },
	{ 0, 5, 0, 19000, 0, 0 },
	{ 0, 1, 300, 10000, 30, 330 }, /* shipping is taxed too */
	{ INT64_C(50000000000000), 1, 0, 100000, INT64_C(50000000000000),
	    MONEY_MAX },
	{ INT64_C(12345678901234), 1, 0, 123456, INT64_C(15241481344307),
	    INT64_C(27587160245541) },
};

START_TEST(tax_is_rounded_half_up_on_lines_and_shipping)
{
	struct total t = { 0 };
	struct total_rules rules = { .shipping = sums[_i].shipping,
		.tax_rate = sums[_i].rate };

	ck_assert(total_add(&t, sums[_i].price, sums[_i].quantity));
	ck_assert(total_end(&t, &rules));
	ck_assert_int_eq(t.tax, sums[_i].tax);
	ck_assert_int_eq(t.total, sums[_i].total);
}
END_TEST

START_TEST(what_is_too_much_is_refused_not_wrapped)
{
	struct total t = { 0 };
	struct total_rules none = { 0 }, tax = { .tax_rate = 1 };

	ck_assert(!total_add(&t, INT64_MAX, 2));
	t = (struct total){ 0 };
	ck_assert(!total_add(&t, MONEY_MAX, 2));
	t = (struct total){ 0 };
	ck_assert(total_add(&t, MONEY_MAX, 1));
	ck_assert(!total_add(&t, 1, 1));
	t = (struct total){ 0 };
	ck_assert(total_add(&t, MONEY_MAX, 1));
	ck_assert(total_end(&t, &none));
	t = (struct total){ 0 };
	ck_assert(total_add(&t, MONEY_MAX, 1));
	ck_assert(!total_end(&t, &tax));
}
END_TEST

/* ---- lines of one variant */

START_TEST(quantities_of_one_variant_are_summed_in_place)
{
	struct order_line l[] = {
		{ .variant_id = 7, .quantity = 600, .title = "first" },
		{ .variant_id = 3, .quantity = 1 },
		{ .variant_id = 7, .quantity = 400, .title = "second" },
	};
	int n = 3;

	ck_assert_int_eq(order_lines_sum(l, &n, &e), RC_OK);
	ck_assert_int_eq(n, 2);
	ck_assert_int_eq(l[0].variant_id, 7);
	ck_assert_int_eq(l[0].quantity, 1000);
	ck_assert_str_eq(l[0].title, "first");
	ck_assert_int_eq(l[1].variant_id, 3);
}
END_TEST

START_TEST(the_sum_is_what_is_bounded)
{
	struct order_line l[] = {
		{ .variant_id = 7, .quantity = 600 },
		{ .variant_id = 7, .quantity = 401 },
	};
	int n = 2;

	ck_assert_int_eq(order_lines_sum(l, &n, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "invalid_field");
}
END_TEST

/* ---- addresses */

#define GOOD                                                                   \
	"\"name\":\"A B\",\"line1\":\"Way 1\",\"city\":\"Ulm\","               \
	"\"postalCode\":\"89073\",\"country\":\"DE\""

static const struct {
	const char *json, *wrong; /* NULL: it is right */
} addresses[] = {
	{ "{" GOOD "}", NULL },
	{ "{" GOOD ",\"line2\":null,\"region\":\"\"}", NULL },
	{ "{" GOOD ",\"line2\":\"Flat 2\",\"other\":7}", NULL },
	{ "[]", "address:" },
	{ "{}", "address.name" },
	{ "{\"name\":\" \",\"line1\":\"x\"}", "address.name" },
	{ "{\"name\":7}", "address.name" },
	{ "{" GOOD ",\"region\":7}", "address.region" },
	{ "{" GOOD ",\"line2\":\"a\\nb\"}", "address.line2" },
	{ "{" GOOD ",\"line2\":\"a\\u0000b\"}", "address.line2" },
	{ "{\"name\":\"A\",\"line1\":\"x\",\"city\":\"y\",\"postalCode\":"
	  "\"z\"}",
	    "address.country" },
	{ "{\"name\":\"A\",\"line1\":\"x\",\"city\":\"y\",\"postalCode\":\"z\","
	  "\"country\":\"de\"}",
	    "address.country" },
	{ "{\"name\":\"A\",\"line1\":\"x\",\"city\":\"y\",\"postalCode\":\"z\","
	  "\"country\":\"EA\"}",
	    "address.country" },
	{ "{\"name\":\"A\",\"line1\":\"x\",\"city\":\"y\",\"postalCode\":"
	  "\"123456789012345678901\",\"country\":\"DE\"}",
	    "address.postalCode" },
};

START_TEST(an_address_is_checked_member_by_member)
{
	json_t *in = json_loads(addresses[_i].json, JSON_ALLOW_NUL, NULL),
	       *out = NULL;
	enum rc rc = order_address_check(in, &out, &e);

	ck_assert_ptr_nonnull(in);
	if (addresses[_i].wrong == NULL) {
		ck_assert_msg(rc == RC_OK, "%s", e.msg);
		ck_assert_str_eq(
		    json_string_value(json_object_get(out, "city")), "Ulm");
		ck_assert_ptr_null(json_object_get(out, "other"));
		ck_assert_ptr_null(json_object_get(out, "region"));
	} else {
		ck_assert_int_eq(rc, RC_INVALID);
		ck_assert_ptr_nonnull(strstr(e.msg, addresses[_i].wrong));
		ck_assert_ptr_null(out);
	}
	json_decref(in);
	json_decref(out);
}
END_TEST

/* ---- the guest's secret */

START_TEST(a_key_gives_one_token_and_no_other)
{
	char a[SECRET_CHARS + 1], b[SECRET_CHARS + 1];

	order_access_token("key", "id", a);
	order_access_token("key", "id", b);
	ck_assert_str_eq(a, b);
	ck_assert_uint_eq(strlen(a), SECRET_CHARS);
	order_access_token("keyi", "d", b);
	ck_assert_str_ne(a, b);
	order_access_token(NULL, "id", a);
	order_access_token(NULL, "id", b);
	ck_assert_str_ne(a, b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("order_rules");
	TCase *tc = tcase_create("order_rules");

	tcase_add_test(tc, only_the_transitions_of_the_design_exist);
	tcase_add_test(tc, a_status_is_known_by_its_name);
	tcase_add_loop_test(tc, a_tax_rate_is_percent_with_three_decimals, 0,
	    (int)(sizeof rates / sizeof *rates));
	tcase_add_loop_test(tc, tax_is_rounded_half_up_on_lines_and_shipping, 0,
	    (int)(sizeof sums / sizeof *sums));
	tcase_add_test(tc, what_is_too_much_is_refused_not_wrapped);
	tcase_add_test(tc, quantities_of_one_variant_are_summed_in_place);
	tcase_add_test(tc, the_sum_is_what_is_bounded);
	tcase_add_loop_test(tc, an_address_is_checked_member_by_member, 0,
	    (int)(sizeof addresses / sizeof *addresses));
	tcase_add_test(tc, a_key_gives_one_token_and_no_other);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
