#include "base/jread.h"

#include <check.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/arena.h"

static struct arena *arena;

static void
set_up(void)
{
	arena = arena_new();
}

static void
tear_down(void)
{
	arena_free(arena);
}

/* A value and nothing else? The text stands alone in memory, so that a byte
 * read behind it is seen by a sanitizer. */
static bool
takes(struct span text)
{
	char *alone = malloc(text.n + 1);
	struct jread j;
	bool good;

	memcpy(alone + 1, text.p, text.n);
	j = jread_new((struct span){ alone + 1, text.n });
	good = jread_value(&j).n > 0;
	good = jread_end(&j) && good;
	free(alone);
	return good;
}

static const char *const good[] = { "{}", "[]", " { } ", "\t[\n]\r",
	"{\"a\":1}", "{\"a\":{\"b\":[1,2,{}]},\"c\":[]}", "[1,2,3]", "0", "-0",
	"-1.5e+3", "1E5", "10", "9223372036854775807", "-9223372036854775808",
	"1.7976931348623157e308", "1e-999", "true", "false", "null", "\"\"",
	"\"a\\\"b\\\\c\\/\\b\\f\\n\\r\\t\"", "\"\\u00e4\\uD83D\\uDE00\"",
	"\"\xc3\xa4\xf0\x9f\x98\x80\x7f\"", "[\"\",\"\"]" };

static const char *const wrong[] = { "", " ", "{", "[", "}", "]", "{]", "[}",
	"{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{a:1}",
	"{\"a\":1 \"b\":2}", "{1:2}", "[1,]", "[,1]", "[1 2]", "[1]]", "{}{}",
	"{} x", "01", "-01", "00", "-", "+1", ".5", "1.", "1e", "1e+", "1.e5",
	"0x1", "9223372036854775808", "-9223372036854775809", "1e999", "-1e999",
	"1e5.5", "NaN", "Infinity", "tru", "trux", "True", "nul", "\"", "\"a",
	"\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\u0000\"",
	"\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\ud800x\"", "\"\\udc00\"",
	"\"\n\"", "\"\x1f\"", "\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"",
	"\"\xc0\x80\"", "'a'", "\xef\xbb\xbf{}", "{\"a\xff\":1}", "/**/{}" };

START_TEST(what_is_json_is_taken)
{
	ck_assert_msg(takes(span_of(good[_i])), "%s", good[_i]);
}
END_TEST

START_TEST(what_is_none_is_not)
{
	ck_assert_msg(!takes(span_of(wrong[_i])), "%s", wrong[_i]);
}
END_TEST

START_TEST(a_nul_is_not_the_end)
{
	ck_assert(!takes((struct span){ "{}\0", 3 }));
	ck_assert(!takes((struct span){ "\"a\0b\"", 5 }));
	ck_assert(!takes((struct span){ "[1\0]", 4 }));
}
END_TEST

START_TEST(depth_has_an_end)
{
	char text[2 * JREAD_DEPTH + 2];

	memset(text, '[', JREAD_DEPTH + 1);
	memset(text + JREAD_DEPTH + 1, ']', JREAD_DEPTH + 1);
	ck_assert(takes((struct span){ text + 1, 2 * JREAD_DEPTH }));
	ck_assert(!takes((struct span){ text, 2 * JREAD_DEPTH + 2 }));
}
END_TEST

/* Whatever it takes jansson takes, and reads strings as it does. */
START_TEST(jansson_takes_what_it_takes)
{
	static const char letters[] =
	    "{}[]\",:\\/bfnrtu0123456789aAeE+-. \n\x80\xc3\xa4\xed\xf0\x9f";
	unsigned seed = 1;
	int taken = 0;

	for (int round = 0; round < 40000; round++) {
		char text[80];
		const char *from =
		    good[round % (int)(sizeof good / sizeof *good)];
		size_t n = strlen(from);

		memcpy(text, from, n);
		for (int k = 0; k <= round % 3; k++) {
			seed = seed * 1103515245 + 12345;
			text[(seed >> 16) % n] =
			    letters[(seed >> 8) % (sizeof letters - 1)];
		}
		if (!takes((struct span){ text, n }))
			continue;
		taken++;

		json_t *tree = json_loadb(text, n, JSON_DECODE_ANY, NULL);

		ck_assert_msg(tree != NULL, "%.*s", (int)n, text);
		if (json_is_string(tree)) {
			struct jread j = jread_new((struct span){ text, n });

			ck_assert_str_eq(
			    jread_string(&j, arena), json_string_value(tree));
		}
		json_decref(tree);
	}
	ck_assert_int_gt(taken, 2000);
}
END_TEST

START_TEST(members_are_read_one_by_one)
{
	struct jread j = jread_new(span_of(
	    " {\"a\":\"x\\u00e4\\ud83d\\ude00\\n\", \"b\" : [1, {\"c\":2}],"
	    "\"d\":7,\"\\u0065\":true , \"f\":{\"g\":\"h\"}} "));
	struct span name;

	ck_assert(jread_object(&j));
	ck_assert(jread_member(&j, &name) && span_is(name, "a"));
	ck_assert_str_eq(
	    jread_string(&j, arena), "x\xc3\xa4\xf0\x9f\x98\x80\n");
	ck_assert(jread_member(&j, &name) && span_is(name, "b"));
	ck_assert(span_is(jread_value(&j), "[1, {\"c\":2}]"));
	ck_assert(jread_member(&j, &name) && span_is(name, "d"));
	ck_assert_ptr_null(jread_string(&j, arena)); /* no string: passed by */
	ck_assert(jread_member(&j, &name) && span_is(name, "\\u0065"));
	ck_assert(jread_is(&j, 't') && span_is(jread_value(&j), "true"));
	ck_assert(jread_member(&j, &name) && span_is(name, "f"));
	ck_assert(jread_object(&j));
	ck_assert(jread_member(&j, &name) && span_is(name, "g"));
	ck_assert_str_eq(jread_string(&j, arena), "h");
	ck_assert(!jread_end(&j)); /* not yet */
	ck_assert(!jread_member(&j, &name));
	ck_assert(!jread_member(&j, &name));
	ck_assert(jread_end(&j));
}
END_TEST

START_TEST(items_are_read_one_by_one)
{
	struct jread j = jread_new(span_of("[[],[\"a\",\"b\"],{}]"));

	ck_assert(jread_array(&j));
	ck_assert(jread_item(&j) && jread_array(&j) && !jread_item(&j));
	ck_assert(jread_item(&j) && jread_array(&j));
	ck_assert(jread_item(&j));
	ck_assert_str_eq(jread_string(&j, arena), "a");
	ck_assert(jread_item(&j));
	ck_assert_str_eq(jread_string(&j, arena), "b");
	ck_assert(!jread_item(&j) && jread_item(&j));
	ck_assert(span_is(jread_value(&j), "{}"));
	ck_assert(!jread_item(&j) && jread_end(&j));
}
END_TEST

START_TEST(what_was_wrong_stays_wrong)
{
	struct jread j = jread_new(span_of("{\"a\":tru,\"b\":1}"));
	struct span name;

	ck_assert(jread_object(&j) && jread_member(&j, &name));
	ck_assert_uint_eq(jread_value(&j).n, 0);
	ck_assert(!jread_member(&j, &name) && !jread_item(&j));
	ck_assert(!jread_object(&j) && jread_string(&j, arena) == NULL);
	ck_assert(!jread_end(&j));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("jread");
	TCase *t = tcase_create("jread");
	SRunner *runner = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_loop_test(
	    t, what_is_json_is_taken, 0, (int)(sizeof good / sizeof *good));
	tcase_add_loop_test(
	    t, what_is_none_is_not, 0, (int)(sizeof wrong / sizeof *wrong));
	tcase_add_test(t, a_nul_is_not_the_end);
	tcase_add_test(t, depth_has_an_end);
	tcase_add_test(t, jansson_takes_what_it_takes);
	tcase_add_test(t, members_are_read_one_by_one);
	tcase_add_test(t, items_are_read_one_by_one);
	tcase_add_test(t, what_was_wrong_stays_wrong);
	suite_add_tcase(s, t);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
