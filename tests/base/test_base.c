#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/strbuf.h"
#include "base/text.h"

START_TEST(arena_keeps_what_it_gave_until_reset)
{
	struct arena *arena = arena_new();
	char *small = arena_strdup(arena, "mug");
	char *large = arena_alloc(arena, 1 << 20);

	memset(large, 'x', 1 << 20);
	ck_assert_str_eq(small, "mug");
	ck_assert_uint_ge(arena_used(arena), 1 << 20);
	arena_reset(arena);
	ck_assert_uint_eq(arena_used(arena), 0);
	ck_assert_str_eq(arena_printf(arena, "%d-%s", 7, "x"), "7-x");
	arena_free(arena);
}
END_TEST

/* At every distance from the end of a block, which the text may cross. */
START_TEST(arena_prints_whole_texts_wherever_a_block_ends)
{
	for (size_t left = 0; left < 64; left += 16) {
		struct arena *arena = arena_new();

		(void)arena_alloc(arena, 16 * 1024 - left);
		for (int i = 0; i < 6; i++) {
			char *one = arena_printf(arena, "%015d", i);
			char *two = arena_printf(arena, "%016d|", i);
			char *three =
			    arena_concat(arena, "a", "", one, "|", NULL);

			ck_assert_int_eq(atoi(one), i);
			ck_assert_uint_eq(strlen(one), 15);
			ck_assert_int_eq(atoi(two), i);
			ck_assert_uint_eq(strlen(two), 17);
			ck_assert_uint_eq(strlen(three), 17);
			ck_assert_int_eq(atoi(three + 1), i);
		}
		arena_free(arena);
	}
}
END_TEST

START_TEST(numbers_are_written_as_they_are_read)
{
	static const int64_t values[] = { 0, 7, -7, 10, 1234567890123, INT64_MAX,
		INT64_MIN };
	char num[TEXT_NUM], want[32];

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		(void)snprintf(
		    want, sizeof want, "%lld", (long long)values[i]);
		ck_assert_str_eq(text_num(values[i], num), want);
	}
}
END_TEST

START_TEST(strbuf_escapes_for_the_place)
{
	static const char nasty[] = "<a href='x'>&\"\n";
	struct strbuf sb;

	strbuf_init(&sb, 0);
	strbuf_add_html(&sb, nasty, strlen(nasty));
	ck_assert_str_eq(sb.s, "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\n");
	strbuf_reset(&sb);
	strbuf_add_json(&sb, "</script>\"\\\x01", 12);
	ck_assert_str_eq(sb.s, "\\u003c/script\\u003e\\\"\\\\\\u0001");
	strbuf_reset(&sb);
	strbuf_add_urlarg(&sb, "a b/\xc3\xa9~", 7);
	ck_assert_str_eq(sb.s, "a%20b%2F%C3%A9~");
	strbuf_release(&sb);
}
END_TEST

START_TEST(html_is_escaped_wherever_it_stands)
{
	char text[40], *want;
	struct strbuf sb;

	strbuf_init(&sb, 0);
	for (int c = 1; c < 256; c++) {
		for (size_t at = 0; at < 33; at++) {
			memset(text, 'x', 33);
			text[at] = (char)c;
			strbuf_reset(&sb);
			strbuf_add_html(&sb, text, 33);
			want = strchr("&<>\"'", c);
			ck_assert_uint_eq(
			    sb.len > 33 && sb.s[at] == '&', want != NULL);
			ck_assert_int_eq(
			    sb.s[sb.len - 1] == 'x', at < 32 || c == 'x');
		}
	}
	strbuf_release(&sb);
}
END_TEST

START_TEST(strbuf_formats_past_its_first_size)
{
	struct strbuf sb;

	strbuf_init(&sb, 0);
	for (int i = 0; i < 1000; i++)
		strbuf_addf(&sb, "%d,", i);
	ck_assert_uint_eq(sb.len, strlen(sb.s));
	ck_assert_str_eq(sb.s + sb.len - 4, "999,");
	strbuf_release(&sb);
}
END_TEST

static const struct {
	const char *s;
	int ok;
} utf8_cases[] = { { "", 1 }, { "a\xc3\xa9", 1 }, { "\xea\xb0\x80", 1 },
	{ "\xf0\x9f\x9b\x92", 1 }, { "\xc0\xaf", 0 }, { "\xed\xa0\x80", 0 },
	{ "\xf4\x90\x80\x80", 0 }, { "\xe0\x80\xaf", 0 }, { "\xff", 0 },
	{ "\xc3", 0 }, { "\xf0\x9f\x9b", 0 }, { "\x80", 0 } };

START_TEST(utf8_is_checked_as_rfc_3629_says)
{
	const char *s = utf8_cases[_i].s;

	ck_assert_int_eq(utf8_valid(s, strlen(s)), utf8_cases[_i].ok);
}
END_TEST

START_TEST(text_that_may_be_shown_is_told_from_what_may_not)
{
	ck_assert(text_plain(""));
	ck_assert(text_plain("two\nlines\tand \xea\xb0\x80"));
	ck_assert(!text_plain("bell\a"));
	ck_assert(!text_plain("\x7f"));
	ck_assert(text_blank(""));
	ck_assert(text_blank(" \t\n"));
	ck_assert(!text_blank(" x "));
}
END_TEST

START_TEST(utf8_cut_never_splits_a_character)
{
	ck_assert_uint_eq(utf8_cut("a\xea\xb0\x80", 4, 3), 1);
	ck_assert_uint_eq(utf8_cut("a\xea\xb0\x80", 4, 4), 4);
	ck_assert_uint_eq(utf8_cut("abc", 3, 2), 2);
}
END_TEST

static const struct {
	const char *s;
	int rc;
	int64_t ms; /* from now = 1,000,000 */
} time_cases[] = { { "now", 0, 1000000 }, { "+1h", 0, 4600000 },
	{ "+90s", 0, 1090000 }, { "-1d", 0, 1000000 - 86400000 },
	{ "1970-01-01T00:00:01Z", 0, 1000 },
	{ "1970-01-01T09:00:01+09:00", 0, 1000 },
	{ "1970-01-01T00:00:01.250Z", 0, 1250 },
	{ "2026-02-30T00:00:00Z", -1, 0 }, { "2026-11-22", -1, 0 },
	{ "+", -1, 0 }, { "+1y", -1, 0 }, { "", -1, 0 },
	{ "+99999999999999999999h", -1, 0 }, { "2026-11-22T10:00:00", -1, 0 } };

START_TEST(time_is_parsed_or_refused)
{
	int64_t out = 0;

	ck_assert_int_eq(
	    time_parse(time_cases[_i].s, 1000000, &out), time_cases[_i].rc);
	ck_assert_int_eq(out, time_cases[_i].ms);
}
END_TEST

static const struct {
	const char *s;
	int ok;
	int64_t n;
} int_cases[] = { { "0", 1, 0 }, { "-5", 1, -5 },
	{ "9223372036854775807", 1, INT64_MAX },
	{ "-9223372036854775808", 1, INT64_MIN },
	{ "9223372036854775808", 0, 0 }, { "", 0, 0 }, { "-", 0, 0 },
	{ "1 ", 0, 0 }, { "+1", 0, 0 }, { "0x1", 0, 0 } };

START_TEST(numbers_are_whole_spans_of_digits)
{
	int64_t n = 0;

	ck_assert_int_eq(
	    text_int(span_of(int_cases[_i].s), INT64_MIN, INT64_MAX, &n),
	    int_cases[_i].ok);
	ck_assert_int_eq(n, int_cases[_i].n);
}
END_TEST

START_TEST(an_error_is_one_line_with_its_code)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(
	    err_set(&e, RC_RETRY, "pg_timeout", "no answer\nin %d ms\n", 5),
	    RC_RETRY);
	ck_assert_str_eq(e.msg, "no answer in 5 ms");
	err_prefix(&e, "order %d: ", 7);
	ck_assert_str_eq(e.msg, "order 7: no answer in 5 ms");
	ck_assert_str_eq(e.code, "pg_timeout");
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof *(a))

int
main(void)
{
	Suite *s = suite_create("base");
	TCase *tc = tcase_create("base");

	tcase_add_test(tc, arena_keeps_what_it_gave_until_reset);
	tcase_add_test(tc, arena_prints_whole_texts_wherever_a_block_ends);
	tcase_add_test(tc, numbers_are_written_as_they_are_read);
	tcase_add_test(tc, strbuf_escapes_for_the_place);
	tcase_add_test(tc, html_is_escaped_wherever_it_stands);
	tcase_add_test(tc, strbuf_formats_past_its_first_size);
	tcase_add_loop_test(
	    tc, utf8_is_checked_as_rfc_3629_says, 0, N(utf8_cases));
	tcase_add_test(
	    tc, text_that_may_be_shown_is_told_from_what_may_not);
	tcase_add_test(tc, utf8_cut_never_splits_a_character);
	tcase_add_loop_test(tc, time_is_parsed_or_refused, 0, N(time_cases));
	tcase_add_loop_test(
	    tc, numbers_are_whole_spans_of_digits, 0, N(int_cases));
	tcase_add_test(tc, an_error_is_one_line_with_its_code);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
