#include "workers/scale.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct scale_rules rules;
static struct scale_limits limits;
static struct scale_state state;
static struct err e;
static int64_t now_ms;

static void
given(int min, int max)
{
	limits = (struct scale_limits){ .worker = "payment",
		.min = min,
		.max = max,
		.backlog = 100,
		.age_ms = 10000,
		.quiet_ms = 5000,
		.rules = &rules };
	rules.n = 0;
	state = (struct scale_state){ 0 };
	now_ms = 1000000;
	scale_begin(&state, &limits);
	e = (struct err)ERR_INIT;
}

static void
given_rule(const char *text)
{
	ck_assert_int_eq(scale_rules_parse(text, &rules, &e), RC_OK);
}

/* A second later. */
static int
look(int64_t waiting, int64_t in_flight, int64_t oldest_ms)
{
	now_ms += 1000;
	scale_judge(&state, &limits,
	    &(struct scale_look){ now_ms, waiting, in_flight, oldest_ms });
	return state.wanted;
}

START_TEST(begins_with_the_minimum)
{
	given(2, 8);
	ck_assert_int_eq(state.wanted, 2);
	ck_assert_int_eq(look(0, 0, 0), 2);
}
END_TEST

START_TEST(goes_at_once_to_what_the_backlog_asks)
{
	static const struct {
		int64_t waiting, in_flight;
		int want;
	} rows[] = { { 200, 0, 2 }, { 201, 0, 3 }, { 190, 11, 3 },
		{ 0, 301, 4 }, { 800, 0, 8 }, { 10000, 0, 8 },
		{ INT64_C(1) << 60, 0, 8 } };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		given(2, 8);
		ck_assert_int_eq(
		    look(rows[i].waiting, rows[i].in_flight, 0), rows[i].want);
	}
}
END_TEST

START_TEST(doubles_at_each_look_where_one_waits_too_long)
{
	given(1, 6);
	ck_assert_int_eq(look(3, 1, 10000), 1);
	ck_assert_int_eq(look(3, 1, 10001), 2);
	ck_assert_int_eq(look(3, 1, 10500), 4);
	ck_assert_int_eq(look(3, 1, 11000), 6);
	/* what only lies there, taken, is not waiting */
	given(1, 6);
	ck_assert_int_eq(look(0, 1, 99000), 1);
}
END_TEST

START_TEST(age_may_be_no_matter)
{
	given(1, 6);
	limits.age_ms = 0;
	ck_assert_int_eq(look(3, 1, 3600000), 1);
}
END_TEST

START_TEST(a_rule_says_how_many)
{
	given(1, 8);
	limits.backlog = 100000;
	given_rule("email > 10: 7, payment > 1000: 5");
	ck_assert_int_eq(look(1000, 0, 0), 1);
	ck_assert_int_eq(look(1001, 0, 0), 5);
	/* and holds until half of it is done */
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(look(501, 0, 0), 5);
	for (int i = 0; i < 6; i++)
		look(500, 0, 0);
	ck_assert_int_eq(state.wanted, 4);
	/* but not beyond the limits */
	limits.max = 4;
	scale_begin(&state, &limits);
	ck_assert_int_eq(look(2000, 0, 0), 4);
	ck_assert_int_eq(state.asked, 5);
}
END_TEST

START_TEST(goes_down_one_by_one)
{
	int64_t last;

	given(2, 8);
	ck_assert_int_eq(look(10000, 0, 0), 8);
	for (int want = 7; want >= 2; want--) {
		last = now_ms;
		while (state.wanted > want)
			look(0, 0, 0);
		ck_assert_int_eq(state.wanted, want);
		ck_assert_int_ge(now_ms - last, limits.quiet_ms);
	}
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(look(0, 0, 0), 2);
}
END_TEST

START_TEST(goes_down_only_with_half_to_spare)
{
	given(2, 8);
	ck_assert_int_eq(look(800, 0, 0), 8);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(look(351, 0, 0), 8); /* 7 * 100 / 2 = 350 */
	for (int i = 0; i < 100; i++)
		look(300, 50, 0);
	ck_assert_int_eq(state.wanted, 7);
}
END_TEST

START_TEST(what_swings_keeps_what_it_has)
{
	given(2, 8);
	look(800, 0, 0);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(look(0, 0, 0), 8);
		ck_assert_int_eq(look(0, 0, 0), 8);
		ck_assert_int_eq(look(800, 0, 0), 8);
	}
}
END_TEST

START_TEST(old_ones_keep_what_there_is)
{
	given(1, 8);
	look(800, 0, 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(look(1, 0, 5001), 8);
}
END_TEST

START_TEST(a_time_without_a_look_was_not_quiet)
{
	given(1, 4);
	look(400, 0, 0);
	ck_assert_int_eq(look(0, 0, 0), 4);
	now_ms += 60000;
	ck_assert_int_eq(look(0, 0, 0), 4);
	ck_assert_int_eq(look(0, 0, 0), 4);
}
END_TEST

START_TEST(none_at_all_where_that_is_the_minimum)
{
	given(0, 4);
	ck_assert_int_eq(state.wanted, 0);
	ck_assert_int_eq(look(1, 0, 0), 1);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(look(0, 1, 0), 1);
	for (int i = 0; i < 10; i++)
		look(0, 0, 0);
	ck_assert_int_eq(state.wanted, 0);
}
END_TEST

START_TEST(new_limits_bind_at_once)
{
	given(1, 8);
	look(800, 0, 0);
	limits.max = 3;
	scale_begin(&state, &limits);
	ck_assert_int_eq(state.wanted, 3);
	limits.min = limits.max = 5;
	scale_begin(&state, &limits);
	ck_assert_int_eq(state.wanted, 5);
}
END_TEST

START_TEST(rules_are_read)
{
	given(1, 1);
	given_rule(" payment>1000:5 ,\temail > 0 : 1024");
	ck_assert_int_eq(rules.n, 2);
	ck_assert_str_eq(rules.rule[0].worker, "payment");
	ck_assert_int_eq(rules.rule[0].over, 1000);
	ck_assert_int_eq(rules.rule[0].processes, 5);
	ck_assert_str_eq(rules.rule[1].worker, "email");
	ck_assert_int_eq(rules.rule[1].over, 0);
	ck_assert_int_eq(rules.rule[1].processes, 1024);
	given_rule("  ");
	ck_assert_int_eq(rules.n, 0);
}
END_TEST

START_TEST(what_is_no_rule_is_refused)
{
	static const char *const bad[] = { "payment", "payment > 1000",
		"payment > 1000: 0", "payment > -1: 5", "payment > 1k: 5",
		"> 5: 5", "payment > 5: 5,", ",", "payment > 5: 5: 5",
		"payment < 5: 5", "payment > 5: 1025",
		"a_name_that_is_much_too_long > 5: 5",
		"a>1:1,a>1:1,a>1:1,a>1:1,a>1:1,a>1:1,a>1:1,a>1:1,a>1:1,"
		"a>1:1,a>1:1,a>1:1,a>1:1,a>1:1,a>1:1,a>1:1,a>1:1" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		given(1, 1);
		ck_assert_msg(
		    scale_rules_parse(bad[i], &rules, &e) == RC_INVALID,
		    "\"%s\" was taken", bad[i]);
	}
}
END_TEST

/* ---- sharing */

static struct scale_claim claims[4];

static void
share(int total, const char *want)
{
	char got[64];
	int n = 0;

	scale_share(total, 4, claims);
	for (int i = 0; i < 4; i++)
		n += snprintf(got + n, sizeof got - (size_t)n, "%s%d",
		    i > 0 ? " " : "", claims[i].granted);
	ck_assert_str_eq(got, want);
}

static void
given_claims(int low_min)
{
	claims[0] = (struct scale_claim){ CLASS_LOW, low_min, 8, 0 };
	claims[1] = (struct scale_claim){ CLASS_HIGH, 2, 6, 0 };
	claims[2] = (struct scale_claim){ CLASS_HIGH, 2, 6, 0 };
	claims[3] = (struct scale_claim){ CLASS_NORMAL, 1, 3, 0 };
}

START_TEST(all_get_what_they_want_where_there_is_enough)
{
	given_claims(1);
	share(0, "8 6 6 3");
	share(23, "8 6 6 3");
	share(100, "8 6 6 3");
}
END_TEST

START_TEST(high_goes_first)
{
	given_claims(1);
	share(22, "7 6 6 3");
	share(14, "1 6 6 1");
	share(15, "1 6 6 2");
	share(9, "1 4 3 1"); /* in turn within a class */
}
END_TEST

START_TEST(everybody_keeps_the_minimum)
{
	given_claims(3);
	share(9, "3 3 2 1");
	share(4, "3 2 2 1"); /* whatever the total */
}
END_TEST

START_TEST(who_has_work_gets_a_first_one)
{
	given_claims(0);
	share(14, "1 6 6 1");
	share(5, "0 2 2 1");
	claims[0].wanted = 0;
	share(14, "0 6 6 2");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("scale");
	TCase *tc = tcase_create("scale");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, begins_with_the_minimum);
	tcase_add_test(tc, goes_at_once_to_what_the_backlog_asks);
	tcase_add_test(tc, doubles_at_each_look_where_one_waits_too_long);
	tcase_add_test(tc, age_may_be_no_matter);
	tcase_add_test(tc, a_rule_says_how_many);
	tcase_add_test(tc, goes_down_one_by_one);
	tcase_add_test(tc, goes_down_only_with_half_to_spare);
	tcase_add_test(tc, what_swings_keeps_what_it_has);
	tcase_add_test(tc, old_ones_keep_what_there_is);
	tcase_add_test(tc, a_time_without_a_look_was_not_quiet);
	tcase_add_test(tc, none_at_all_where_that_is_the_minimum);
	tcase_add_test(tc, new_limits_bind_at_once);
	tcase_add_test(tc, rules_are_read);
	tcase_add_test(tc, what_is_no_rule_is_refused);
	tcase_add_test(tc, all_get_what_they_want_where_there_is_enough);
	tcase_add_test(tc, high_goes_first);
	tcase_add_test(tc, everybody_keeps_the_minimum);
	tcase_add_test(tc, who_has_work_gets_a_first_one);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
