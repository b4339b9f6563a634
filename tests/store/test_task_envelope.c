#include "store/task_envelope.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "store/queue.h"

#define ID "0123456789abcdef0123456789abcdef"

static struct arena *arena;
static struct err e;

static void
setup(void)
{
	arena = arena_new();
}

static void
teardown(void)
{
	arena_free(arena);
}

/* SQS takes neither, raw; other characters with the same first bytes stay. */
START_TEST(noncharacters_are_escaped)
{
	struct task task = { .id = "0123456789abcdef0123456789abcdef",
		.type = "track_event",
		.priority = "low",
		.data = span_of("{\"a\":\"x\xef\xbf\xbf\xef\xbf\xbdy\xef\xbf"
				"\xbe\xef\"}") };
	struct strbuf sb;

	strbuf_init(&sb, 256);
	task_envelope_write(&task, &sb);
	ck_assert_ptr_nonnull(strstr(
	    sb.s, "{\"a\":\"x\\uffff\xef\xbf\xbdy\\ufffe\xef\"}}"));
	strbuf_release(&sb);
}
END_TEST

START_TEST(a_task_is_written_as_the_envelope)
{
	struct task task = { .id = ID,
		.type = "send_email",
		.priority = "low",
		.created_ms = INT64_C(1763802000250),
		.data = span_of("{\"a\": [1, \"\xc3\xbc\"]}") };
	struct strbuf sb;

	strbuf_init(&sb, 0);
	task_envelope_write(&task, &sb);
	ck_assert_str_eq(sb.s,
	    "{\"id\":\"" ID "\",\"type\":\"send_email\",\"priority\":\"low\","
	    "\"createdAt\":\"2025-11-22T09:00:00.250Z\","
	    "\"data\":{\"a\": [1, \"\xc3\xbc\"]}}");
	strbuf_release(&sb);
}
END_TEST

START_TEST(what_was_written_is_read)
{
	struct task in = { .id = ID,
		.type = "process_payment",
		.priority = "high",
		.created_ms = INT64_C(1763802000007),
		.data =
		    span_of("{\"n\":9007199254740993,\"s\":\"\\u0001\\\"\"}") };
	struct task out;
	struct strbuf sb;

	strbuf_init(&sb, 0);
	task_envelope_write(&in, &sb);
	ck_assert_int_eq(
	    task_envelope_read(strbuf_span(&sb), arena, &out, &e), RC_OK);
	strbuf_release(&sb);
	ck_assert_str_eq(out.id, in.id);
	ck_assert_str_eq(out.type, in.type);
	ck_assert_str_eq(out.priority, in.priority);
	ck_assert_int_eq(out.created_ms, in.created_ms);
	ck_assert_str_eq(out.data.p, in.data.p);
	ck_assert_uint_eq(out.data.n, in.data.n);
	ck_assert_str_eq(out.aggregate, "");
	ck_assert_str_eq(out.receipt, "");
	ck_assert_int_eq(out.receives, 0);
}
END_TEST

#define E_ID "\"id\":\"" ID "\""
#define E_TYPE "\"type\":\"x\""
#define E_DATA "\"data\":{}"

/* "id|type|priority" of what is one, else "". */
static const struct {
	const char *body, *want;
} bodies[] = {
	{ "{" E_ID "," E_TYPE "," E_DATA "}", ID "|x|normal" },
	{ " {" E_DATA ",\"more\":[1]," E_TYPE "," E_ID "}\n", ID "|x|normal" },
	{ "{" E_ID ",\"type\":\"send_email\"," E_DATA "}",
	    ID "|send_email|low" },
	{ "{" E_ID "," E_TYPE "," E_DATA ",\"priority\":\"high\"}",
	    ID "|x|high" },
	{ "{" E_ID "," E_TYPE "," E_DATA ",\"priority\":\"urgent\"}",
	    ID "|x|normal" },
	{ "{" E_ID "," E_TYPE "," E_DATA
	  ",\"createdAt\":\"2025-11-22T10:00:00+01:00\"}",
	    ID "|x|normal" },
	/* SHA-256 of these bytes, by sha256sum(1) */
	{ "{\"type\":\"x\",\"data\":{}}",
	    "a21ff8bbe4d65c962e29ac8a4635b486|x|normal" },
	{ "", "" },
	{ "hello", "" },
	{ "[]", "" },
	{ "{}", "" },
	{ "{" E_ID "," E_TYPE "}", "" },
	{ "{" E_ID "," E_DATA "}", "" },
	{ "{" E_ID "," E_TYPE ",\"data\":[]}", "" },
	{ "{" E_ID "," E_TYPE ",\"data\":\"{}\"}", "" },
	{ "{" E_ID "," E_TYPE "," E_DATA "} x", "" },
	{ "{" E_ID "," E_TYPE "," E_DATA "," E_DATA "}", "" },
	{ "{\"id\":null," E_TYPE "," E_DATA "}", "" },
	{ "{\"id\":7," E_TYPE "," E_DATA "}", "" },
	{ "{\"id\":\"\"," E_TYPE "," E_DATA "}", "" },
	{ "{\"id\":\"0123456789abcdef0123456789abcde\"," E_TYPE "," E_DATA "}",
	    "" },
	{ "{\"id\":\"0123456789ABCDEF0123456789ABCDEF\"," E_TYPE "," E_DATA "}",
	    "" },
	{ "{\"id\":\"0123456789abcdef0123456789abcdefa\"," E_TYPE "," E_DATA
	  "}",
	    "" },
	{ "{" E_ID ",\"type\":\"\"," E_DATA "}", "" },
	{ "{" E_ID ",\"type\":\"a b\"," E_DATA "}", "" },
	{ "{" E_ID ",\"type\":\"a\\n\"," E_DATA "}", "" },
	{ "{" E_ID ",\"type\":7," E_DATA "}", "" },
	{ "{" E_ID ",\"type\":"
	  "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "a\"," E_DATA "}",
	    "" },
	{ "{" E_ID "," E_TYPE "," E_DATA ",\"createdAt\":\"now\"}", "" },
	{ "{" E_ID "," E_TYPE "," E_DATA ",\"createdAt\":\"+1h\"}", "" },
	{ "{" E_ID "," E_TYPE "," E_DATA ",\"createdAt\":5}", "" },
	{ "{" E_ID "," E_TYPE "," E_DATA
	  ",\"createdAt\":\"2025-02-30T10:00:00Z\"}",
	    "" },
	{ "{" E_ID "," E_TYPE ",\"data\":{\"a\":\"\\u0000\"}}", "" },
	{ "{" E_ID "," E_TYPE ",\"data\":{\"a\":\"\xff\"}}", "" },
	{ "{" E_ID "," E_TYPE ",\"data\":{\"a\":1e999}}", "" },
};

START_TEST(a_body_is_judged)
{
	struct task task = { .id = "untouched" };
	struct span body = span_of(bodies[_i].body);
	enum rc rc = task_envelope_read(body, arena, &task, &e);

	if (*bodies[_i].want == '\0') {
		ck_assert_int_eq(rc, RC_INVALID);
		ck_assert_str_eq(e.code, "bad_task");
		ck_assert_str_eq(task.id, "untouched");
		return;
	}
	ck_assert_msg(rc == RC_OK, "%s: %s", bodies[_i].body, e.msg);
	ck_assert_str_eq(arena_concat(arena, task.id, "|", task.type, "|",
			     task.priority, NULL),
	    bodies[_i].want);
	ck_assert_int_gt(task.created_ms, 0);
}
END_TEST

START_TEST(one_message_without_an_id_is_one_task)
{
	struct span one = span_of("{\"type\":\"x\",\"data\":{\"n\":1}}");
	struct span two = span_of("{\"type\":\"x\",\"data\":{\"n\":2}}");
	struct task a, b, c;

	ck_assert_int_eq(task_envelope_read(one, arena, &a, &e), RC_OK);
	ck_assert_int_eq(task_envelope_read(one, arena, &b, &e), RC_OK);
	ck_assert_int_eq(task_envelope_read(two, arena, &c, &e), RC_OK);
	ck_assert_str_eq(a.id, b.id);
	ck_assert_str_ne(a.id, c.id);
	ck_assert_int_le(llabs(a.created_ms - clock_wall_ms()), 5000);
}
END_TEST

START_TEST(what_is_no_task_can_be_buried_as_one)
{
	static const char body[] = "a\0\xff\"<\xc3\xbc\n";
	struct task task, again;
	struct strbuf sb;

	task_envelope_unreadable(
	    (struct span){ body, sizeof body - 1 }, arena, &task);
	ck_assert_str_eq(task.type, "unreadable");
	ck_assert_uint_eq(strlen(task.id), 32);
	/* Its data is the data of a task. */
	strbuf_init(&sb, 0);
	task_envelope_write(&task, &sb);
	ck_assert_int_eq(
	    task_envelope_read(strbuf_span(&sb), arena, &again, &e), RC_OK);
	strbuf_release(&sb);
	ck_assert_str_eq(again.data.p, task.data.p);
}
END_TEST

START_TEST(a_huge_body_is_shown_in_part)
{
	char *huge = arena_alloc(arena, 100000);
	struct task task;

	memset(huge, 'x', 100000);
	task_envelope_unreadable((struct span){ huge, 100000 }, arena, &task);
	ck_assert_uint_lt(task.data.n, 10000);
	ck_assert_uint_gt(task.data.n, 8000);
	task_envelope_unreadable((struct span){ NULL, 0 }, arena, &task);
	ck_assert_str_eq(task.data.p, "{\"body\":\"\"}");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("task_envelope");
	TCase *tc = tcase_create("task_envelope");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, noncharacters_are_escaped);
	tcase_add_test(tc, a_task_is_written_as_the_envelope);
	tcase_add_test(tc, what_was_written_is_read);
	tcase_add_loop_test(
	    tc, a_body_is_judged, 0, sizeof bodies / sizeof *bodies);
	tcase_add_test(tc, one_message_without_an_id_is_one_task);
	tcase_add_test(tc, what_is_no_task_can_be_buried_as_one);
	tcase_add_test(tc, a_huge_body_is_shown_in_part);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
