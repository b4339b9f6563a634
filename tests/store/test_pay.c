#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "store/pay.h"
#include "store/pg.h"

#define ORDER "00000000000000000000000000000002"

static struct pay *pay;
static struct pg *pg;
static struct arena *arena;
static struct pay_intent intent;
static struct err e;
static const struct pay_order order = {
	.order_id = ORDER, .amount = 500, .currency = "JPY", .email = ""
};

static struct pay *
given_sandbox(int timeout_ms)
{
	struct pay *p = NULL;

	ck_assert_int_eq(pay_open(&(struct pay_opts){ .url = "sandbox:",
				      .pg_url = getenv("DATABASE_URL"),
				      .webhook_secret = "whsec_test",
				      .timeout_ms = timeout_ms },
			     &p, &e),
	    RC_OK);
	return p;
}

static void
setup(void)
{
	arena = arena_new();
	pg = pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
	    .connect_ms = 2000,
	    .query_ms = 2000 });
	ck_assert_int_eq(
	    pg_run(pg, "DELETE FROM sandbox_intent; DELETE FROM sandbox_call",
		0, &e),
	    RC_OK);
	pay = given_sandbox(1000);
}

static void
teardown(void)
{
	pay_close(pay);
	pg_free(pg);
	arena_free(arena);
}

static const char *
books(void)
{
	static const struct pg_stmt st = { "books",
		"SELECT concat_ws(' ', count(*), min(status), sum(charges),"
		" sum(refunded)) FROM sandbox_intent",
		0 };
	struct pg_rows rows;

	ck_assert_int_eq(
	    pg_exec(pg, PG_PRIMARY, &st, NULL, arena, &rows, &e), RC_OK);
	return pg_str(&rows, 0, 0);
}

static void
given_intent(void)
{
	ck_assert_int_eq(pay_create(pay, &order, arena, &intent, &e), RC_OK);
	ck_assert_int_eq(intent.outcome, PAY_OPEN);
}

static enum rc
confirm(int attempt, const char *token, struct pay_intent *out)
{
	return pay_confirm(
	    pay, &order, intent.id, attempt, token, arena, out, &e);
}

START_TEST(an_order_has_one_intent)
{
	struct pay_intent again;
	struct pay_order more = order;

	given_intent();
	ck_assert_int_eq(pay_create(pay, &order, arena, &again, &e), RC_OK);
	ck_assert_str_eq(again.id, intent.id);
	ck_assert_str_eq(books(), "1 open 0 0");
	more.amount++;
	ck_assert_int_eq(pay_create(pay, &more, arena, &again, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "pay_key_reused");
}
END_TEST

START_TEST(a_key_charges_once_and_answers_the_same)
{
	struct pay_intent out;

	given_intent();
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(confirm(1, "tok_ok", &out), RC_OK);
		ck_assert_int_eq(out.outcome, PAY_PAID);
		ck_assert_int_eq(out.amount, 500);
	}
	ck_assert_str_eq(books(), "1 succeeded 1 0");
	ck_assert_int_eq(confirm(1, "tok_declined", &out), RC_INVALID);
	ck_assert_str_eq(e.code, "pay_key_reused");
	/* Another key: a paid intent cannot be paid again. */
	ck_assert_int_eq(confirm(2, "tok_ok", &out), RC_INVALID);
	ck_assert_str_eq(e.code, "pay_refused");
	ck_assert_str_eq(books(), "1 succeeded 1 0");
}
END_TEST

START_TEST(a_decline_stays_one_and_leaves_the_intent_open)
{
	struct pay_intent out;

	given_intent();
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(confirm(1, "tok_declined", &out), RC_OK);
		ck_assert_int_eq(out.outcome, PAY_DECLINED);
		ck_assert_str_eq(out.error, "Your card was declined.");
	}
	ck_assert_int_eq(pay_look(pay, intent.id, arena, &out, &e), RC_OK);
	ck_assert_int_eq(out.outcome, PAY_OPEN);
	ck_assert_int_eq(confirm(2, "", &out), RC_OK);
	ck_assert_int_eq(out.outcome, PAY_PAID);
	/* The first one's answer does not change. */
	ck_assert_int_eq(confirm(1, "tok_declined", &out), RC_OK);
	ck_assert_int_eq(out.outcome, PAY_DECLINED);
}
END_TEST

START_TEST(a_slow_answer_comes_at_the_second_call)
{
	struct pay_intent out;

	pay_close(pay);
	pay = given_sandbox(200);
	given_intent();
	int64_t start = clock_mono_ms();

	ck_assert_int_eq(confirm(1, "tok_slow", &out), RC_RETRY);
	ck_assert_int_ge(clock_mono_ms() - start, 200);
	ck_assert_str_eq(books(), "1 succeeded 1 0"); /* money taken */
	ck_assert_int_eq(confirm(1, "tok_slow", &out), RC_OK);
	ck_assert_int_eq(out.outcome, PAY_PAID);
}
END_TEST

START_TEST(a_lost_answer_never_comes)
{
	struct pay_intent out;

	pay_close(pay);
	pay = given_sandbox(200);
	given_intent();
	ck_assert_int_eq(confirm(1, "tok_lost", &out), RC_RETRY);
	ck_assert_int_eq(confirm(1, "tok_lost", &out), RC_RETRY);
	ck_assert_int_eq(pay_look(pay, intent.id, arena, &out, &e), RC_OK);
	ck_assert_int_eq(out.outcome, PAY_PAID);
	ck_assert_str_eq(books(), "1 succeeded 1 0");
}
END_TEST

START_TEST(what_is_cancelled_cannot_be_paid)
{
	struct pay_intent out;

	given_intent();
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(
		    pay_cancel(pay, &order, intent.id, arena, &out, &e), RC_OK);
		ck_assert_int_eq(out.outcome, PAY_CANCELLED);
	}
	ck_assert_int_eq(confirm(1, "tok_ok", &out), RC_INVALID);
	ck_assert_int_eq(
	    pay_refund(pay, &order, intent.id, arena, &out, &e), RC_INVALID);
	ck_assert_str_eq(books(), "1 cancelled 0 0");
}
END_TEST

START_TEST(what_is_paid_is_refunded_once)
{
	struct pay_intent out;

	given_intent();
	ck_assert_int_eq(confirm(1, "tok_ok", &out), RC_OK);
	ck_assert_int_eq(
	    pay_cancel(pay, &order, intent.id, arena, &out, &e), RC_OK);
	ck_assert_int_eq(out.outcome, PAY_PAID);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(
		    pay_refund(pay, &order, intent.id, arena, &out, &e), RC_OK);
		ck_assert_int_eq(out.refunded, 500);
	}
	ck_assert_str_eq(books(), "1 succeeded 1 500");
}
END_TEST

START_TEST(an_order_is_found_by_its_id)
{
	struct pay_intent out;

	ck_assert_int_eq(pay_find(pay, ORDER, arena, &out, &e), RC_NONE);
	given_intent();
	ck_assert_int_eq(pay_find(pay, ORDER, arena, &out, &e), RC_OK);
	ck_assert_str_eq(out.id, intent.id);
	ck_assert_int_eq(
	    pay_look(pay, "sbx_none", arena, &out, &e), RC_INVALID);
}
END_TEST

/* ---- webhooks: signed by the npm package `stripe` (tests/stripe/vectors.mjs)
 */

static json_t *vectors;

static void
setup_vectors(void)
{
	const char *src = getenv("srcdir");
	char path[512];
	json_error_t why;

	(void)snprintf(path, sizeof path, "%s/tests/stripe/vectors.json",
	    src == NULL ? "." : src);
	vectors = json_load_file(path, 0, &why);
	ck_assert_msg(vectors != NULL, "%s: %s", path, why.text);
	setup();
}

static void
teardown_vectors(void)
{
	teardown();
	json_decref(vectors);
}

static const char *
text(const json_t *v, const char *name)
{
	return json_string_value(json_object_get(v, name));
}

START_TEST(vectors_of_stripes_own_library_are_judged_as_it_judges_them)
{
	size_t i;
	json_t *v;
	int right = 0, wrong = 0;

	json_array_foreach(vectors, i, v)
	{
		struct pay_event ev = { 0 };
		struct pay *p = NULL;
		const char *want = text(v, "want");
		const char *body = text(v, "body");

		ck_assert_int_eq(
		    pay_open(&(struct pay_opts){ .url = "stripe:",
				 .secret_key = "sk_test_x",
				 .webhook_secret = text(v, "secret"),
				 .timeout_ms = 100 },
			&p, &e),
		    RC_OK);
		enum rc rc = pay_webhook(p, span_of(body), text(v, "header"),
		    json_integer_value(json_object_get(v, "now")), arena, &ev,
		    &e);

		pay_close(p);
		ck_assert_msg(strcmp(rc_name(rc), want) == 0, "%s: %s, not %s",
		    text(v, "name"), rc_name(rc), want);
		if (rc == RC_OK) {
			ck_assert_str_eq(ev.id, text(v, "id"));
			ck_assert_str_eq(ev.intent, text(v, "intent"));
			ck_assert_str_eq(ev.order_id, text(v, "order"));
			right++;
		} else if (rc == RC_REFUSED) {
			ck_assert_str_eq(e.code, "bad_signature");
			wrong++;
		}
	}
	ck_assert_int_ge(right, 5);
	ck_assert_int_ge(wrong, 8);
}
END_TEST

START_TEST(a_shop_without_a_secret_takes_no_event)
{
	const json_t *v = json_array_get(vectors, 0);
	struct pay_event ev;
	struct pay *p = NULL;

	ck_assert_int_eq(pay_open(&(struct pay_opts){ .url = "stripe:",
				      .secret_key = "sk_test_x",
				      .webhook_secret = "",
				      .timeout_ms = 100 },
			     &p, &e),
	    RC_OK);
	ck_assert_int_eq(
	    pay_webhook(p, span_of(text(v, "body")), text(v, "header"),
		json_integer_value(json_object_get(v, "now")), arena, &ev, &e),
	    RC_REFUSED);
	pay_close(p);
}
END_TEST

START_TEST(what_cannot_be_is_said_at_the_start)
{
	static const struct pay_opts wrong[] = {
		{ .url = "paypal:", .timeout_ms = 100 },
		{ .url = "stripe:", .secret_key = "", .timeout_ms = 100 },
		{ .url = "stripe:",
		    .secret_key = "sk",
		    .api_base = "http://api.example",
		    .timeout_ms = 100 },
		{ .url = "stripe:",
		    .secret_key = "sk",
		    .api_base = "http://127.0.0.1.example:80",
		    .timeout_ms = 100 },
	};
	struct pay *p = NULL;

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		ck_assert_int_eq(pay_open(&wrong[i], &p, &e), RC_INVALID);
	ck_assert_ptr_null(p);
}
END_TEST

int
main(void)
{
	if (getenv("DATABASE_URL") == NULL)
		return 77;
	Suite *s = suite_create("pay");
	TCase *tc = tcase_create("sandbox"), *wh = tcase_create("webhook");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, an_order_has_one_intent);
	tcase_add_test(tc, a_key_charges_once_and_answers_the_same);
	tcase_add_test(tc, a_decline_stays_one_and_leaves_the_intent_open);
	tcase_add_test(tc, a_slow_answer_comes_at_the_second_call);
	tcase_add_test(tc, a_lost_answer_never_comes);
	tcase_add_test(tc, what_is_cancelled_cannot_be_paid);
	tcase_add_test(tc, what_is_paid_is_refunded_once);
	tcase_add_test(tc, an_order_is_found_by_its_id);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(wh, setup_vectors, teardown_vectors);
	tcase_add_test(
	    wh, vectors_of_stripes_own_library_are_judged_as_it_judges_them);
	tcase_add_test(wh, a_shop_without_a_secret_takes_no_event);
	tcase_add_test(wh, what_cannot_be_is_said_at_the_start);
	suite_add_tcase(s, wh);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
