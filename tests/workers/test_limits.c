/* limits.c: how limits by type are written, and what they say. */
#include "workers/limits.h"

#include <check.h>
#include <stdlib.h>

#include "workers/worker.h"

const struct worker_def worker_defs[] = { { 0 } };

static struct limits limits;
static struct err e;

static void
given(const char *timeout, const char *concurrency, const char *receives)
{
	limits = (struct limits){
		.max_receives = 16, .backoff_ms = 1000, .max_backoff_ms = 5000
	};
	ck_assert_int_eq(limit_list_parse(timeout, LIMIT_TIME, 100, 600000,
			     &limits.timeout, &e),
	    RC_OK);
	ck_assert_int_eq(limit_list_parse(concurrency, LIMIT_NUMBER, 1, 1000,
			     &limits.concurrency, &e),
	    RC_OK);
	ck_assert_int_eq(limit_list_parse(receives, LIMIT_NUMBER, 1, 1000,
			     &limits.receives, &e),
	    RC_OK);
}

START_TEST(a_type_has_what_is_written)
{
	given("process_payment: 90s , send_email:1500ms", "process_payment: 4",
	    "  send_email : 3  ");
	ck_assert_int_eq(limits_timeout_ms(&limits, "process_payment"), 90000);
	ck_assert_int_eq(limits_timeout_ms(&limits, "send_email"), 1500);
	ck_assert_int_eq(limits_concurrency(&limits, "process_payment"), 4);
	ck_assert_int_eq(limits_receives(&limits, "send_email"), 3);
}
END_TEST

START_TEST(others_have_none)
{
	given("", "", "");
	ck_assert_int_eq(limits_timeout_ms(&limits, "send_email"), 0);
	ck_assert_int_eq(limits_concurrency(&limits, "send_email"), 0);
	ck_assert_int_eq(limits_receives(&limits, "send_email"), 16);
	given("send_email: 1s", "", "");
	ck_assert_int_eq(limits_timeout_ms(&limits, "send_emai"), 0);
	ck_assert_int_eq(limits_timeout_ms(&limits, "send_email2"), 0);
}
END_TEST

START_TEST(what_is_no_limit_is_refused)
{
	static const char *const wrong[] = { "send_email", "send_email:", ": 5",
		"send_email: 0", "send_email: 1001", "send_email: -1",
		"send_email: 5x", "send_email: 5,", ",send_email: 5",
		"send_email: 5,,x: 5", "send_email: 5, send_email: 6",
		"a_type_with_a_name_that_is_too_long_for_one: 5",
		"send_email: 5 6", NULL };

	for (int i = 0; wrong[i] != NULL; i++) {
		ck_assert_msg(limit_list_parse(wrong[i], LIMIT_NUMBER, 1, 1000,
				  &limits.receives, &e) == RC_INVALID,
		    "%s", wrong[i]);
	}
	ck_assert_int_eq(limit_list_parse("send_email: 99ms", LIMIT_TIME, 100,
			     600000, &limits.timeout, &e),
	    RC_INVALID);
}
END_TEST

START_TEST(a_pause_grows_and_is_random)
{
	int64_t most = 0;

	given("", "", "");
	for (int i = 0; i < 300; i++)
		ck_assert_int_le(limits_backoff_ms(&limits, 1), 1000);
	for (int i = 0; i < 300; i++) {
		int64_t ms = limits_backoff_ms(&limits, 3);

		ck_assert_int_le(ms, 4000);
		most = ms > most ? ms : most;
	}
	ck_assert_int_gt(most, 1000);
	for (int i = 0; i < 300; i++)
		ck_assert_int_le(limits_backoff_ms(&limits, 1000), 5000);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("limits");
	TCase *tc = tcase_create("limits");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, a_type_has_what_is_written);
	tcase_add_test(tc, others_have_none);
	tcase_add_test(tc, what_is_no_limit_is_refused);
	tcase_add_test(tc, a_pause_grows_and_is_random);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
