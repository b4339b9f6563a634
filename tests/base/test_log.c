#define _GNU_SOURCE /* pipe2, O_DIRECT */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

/*
 * syslog(3) is caught here: there is no daemon in a test. <syslog.h> is not
 * included, as its fortified form would define the function a second time.
 */
void syslog(int priority, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void __syslog_chk(int priority, int flag, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int sys_priority = -1;
static char sys_line[8192];

void
syslog(int priority, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(sys_line, sizeof sys_line, fmt, ap);
	va_end(ap);
	sys_priority = priority;
}

void
__syslog_chk(int priority, int flag, const char *fmt, ...)
{
	va_list ap;

	(void)flag;
	va_start(ap, fmt);
	(void)vsnprintf(sys_line, sizeof sys_line, fmt, ap);
	va_end(ap);
	sys_priority = priority;
}

/*
 * stderr is a packet pipe: each write(2) is one packet, so that a read tells
 * how many there were.
 */
static int saved_stderr, read_end;
static char got[8192];

static void
given_log(enum log_level min, enum log_format format)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_DIRECT | O_NONBLOCK), 0);
	saved_stderr = dup(STDERR_FILENO);
	ck_assert_int_ge(dup2(fds[1], STDERR_FILENO), 0);
	close(fds[1]);
	read_end = fds[0];
	log_init("test");
	log_setup(min, format, LT_STDERR);
}

static void
teardown(void)
{
	if (saved_stderr > 0) {
		dup2(saved_stderr, STDERR_FILENO);
		close(saved_stderr);
		close(read_end);
	}
	saved_stderr = 0;
}

/* One write's bytes; NULL where there was none. */
static char *
take(void)
{
	ssize_t n = read(read_end, got, sizeof got - 1);

	if (n <= 0)
		return NULL;
	got[n] = '\0';
	return got;
}

/* What stands behind the event's name, without the newline. */
static const char *
logged(const char *value)
{
	char *p;

	log_info("e", LOG_S("v", value));
	ck_assert_ptr_nonnull(take());
	p = strstr(got, " event=e v=");
	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_eq(strchr(p, '\n'), got + strlen(got) - 1);
	got[strlen(got) - 1] = '\0';
	return p + strlen(" event=e v=");
}

static const struct {
	const char *value, *want;
} quoting[] = {
	{ "mug", "mug" },
	{ "/products/1?q=", "\"/products/1?q=\"" },
	{ "a b", "\"a b\"" },
	{ "say \"hi\"", "\"say \\\"hi\\\"\"" },
	{ "back\\slash", "\"back\\\\slash\"" },
	{ "", "\"\"" },
	{ NULL, "\"\"" },
	{ "x\nlevel=error", "\"x\\nlevel=error\"" },
	{ "x\r\x1b[31m\x7f", "\"x\\u000d\\u001b[31m\\u007f\"" },
	{ "caf\xc3\xa9", "caf\xc3\xa9" },
	{ "\xf0\x9f\x9b\x92", "\xf0\x9f\x9b\x92" },
	{ "a\xff\xc3", "\"a\\ufffd\\ufffd\"" },
	{ "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },
	{ "\xc2\x9b", "\"\\u009b\"" },     /* C1: a terminal's CSI */
	{ "\xe2\x80\xa8", "\"\\u2028\"" }, /* a line separator */
	{ "\xe2\x80\xaf", "\xe2\x80\xaf" },
};

START_TEST(a_value_cannot_forge_a_field_or_a_line)
{
	given_log(LL_INFO, LF_LOGFMT);
	ck_assert_str_eq(logged(quoting[_i].value), quoting[_i].want);
}
END_TEST

START_TEST(json_holds_the_same_values)
{
	const char *v = quoting[_i].value;
	json_error_t je;

	given_log(LL_INFO, LF_JSON);
	log_info("e", LOG_S("v", v), LOG_I("n", INT64_MIN));
	ck_assert_ptr_nonnull(take());
	ck_assert_ptr_eq(strchr(got, '\n'), got + strlen(got) - 1);
	json_t *line = json_loads(got, JSON_REJECT_DUPLICATES, &je);

	ck_assert_msg(line != NULL, "%s in %s", je.text, got);
	ck_assert_int_eq(
	    json_integer_value(json_object_get(line, "n")), INT64_MIN);
	const char *back = json_string_value(json_object_get(line, "v"));

	ck_assert_ptr_nonnull(back);
	if (strstr(quoting[_i].want, "ufffd") == NULL)
		ck_assert_str_eq(back, v == NULL ? "" : v);
	json_decref(line);
}
END_TEST

START_TEST(every_line_says_when_who_and_for_which_request)
{
	char pid[32];

	given_log(LL_INFO, LF_LOGFMT);
	log_set_request("r-17");
	log_warn("pg_slow", LOG_I("ms", 250), LOG_S("what", "product get"));
	ck_assert_ptr_nonnull(take());
	(void)snprintf(pid, sizeof pid, " pid=%d ", (int)getpid());
	ck_assert_ptr_nonnull(strstr(got, pid));
	ck_assert_ptr_eq(strstr(got, "time=2"), got);
	ck_assert_int_eq(got[strlen("time=2026-11-22T09:00:00.000")], 'Z');
	ck_assert_ptr_nonnull(strstr(got, "Z level=warn ident=test pid="));
	ck_assert_ptr_nonnull(strstr(
	    got, " event=pg_slow request=r-17 ms=250 what=\"product get\"\n"));
	log_set_request(NULL);
	log_info("e");
	ck_assert_ptr_nonnull(take());
	ck_assert_ptr_null(strstr(got, "request="));
}
END_TEST

START_TEST(a_request_id_is_cut_at_63_bytes)
{
	char id[101], want[80] = "";

	memset(id, 'a', 100);
	id[100] = '\0';
	given_log(LL_INFO, LF_LOGFMT);
	log_set_request(id);
	log_info("e");
	ck_assert_ptr_nonnull(take());
	(void)snprintf(want, sizeof want, "request=%.63s\n", id);
	ck_assert_ptr_nonnull(strstr(got, want));
}
END_TEST

START_TEST(a_line_is_one_write)
{
	given_log(LL_INFO, LF_LOGFMT);
	log_info("one", LOG_S("a", "b c"), LOG_I("n", 1));
	log_info("two");
	ck_assert_ptr_nonnull(strstr(take(), "event=one a=\"b c\" n=1\n"));
	ck_assert_ptr_nonnull(strstr(take(), "event=two\n"));
	ck_assert_ptr_null(take());
}
END_TEST

START_TEST(lines_below_the_level_are_not_written)
{
	given_log(LL_WARN, LF_LOGFMT);
	log_debug("no");
	log_info("no");
	ck_assert_ptr_null(take());
	log_warn("yes");
	ck_assert_ptr_nonnull(take());
	log_error("yes");
	ck_assert_ptr_nonnull(take());
}
END_TEST

/* Every length around the limit, so that each byte of the end is met. */
START_TEST(a_long_line_is_cut_and_stays_well_formed)
{
	static char big[6000];

	given_log(LL_INFO, _i == 0 ? LF_LOGFMT : LF_JSON);
	for (size_t n = 3850; n < 4150; n++) {
		memset(big, 'x', n);
		memcpy(big + n, "\xc3\xa9\n", 4);
		log_info("e", LOG_S("v", big), LOG_S("w", "y z"), LOG_I("n", 7),
		    LOG_S("u", ""));
		ck_assert_ptr_nonnull(take());
		size_t len = strlen(got);

		ck_assert_uint_le(len, 4096);
		ck_assert_int_eq(got[len - 1], '\n');
		ck_assert_ptr_null(take());
		int cut = strstr(got, "truncated") != NULL;

		ck_assert_int_eq(
		    cut, strstr(got, "u") == NULL ||
			     (strstr(got, " u=\"\"\n") == NULL &&
				 strstr(got, ",\"u\":\"\"}\n") == NULL));
		if (_i == 0 && cut)
			ck_assert_ptr_nonnull(strstr(got, " truncated=true\n"));
		if (_i == 1) {
			json_t *line = json_loads(got, 0, NULL);

			ck_assert_msg(line != NULL, "%s", got);
			ck_assert_int_eq(cut,
			    json_is_true(json_object_get(line, "truncated")));
			json_decref(line);
		}
	}
}
END_TEST

START_TEST(a_value_of_a_megabyte_is_cut)
{
	char *big = malloc(1 << 20);

	memset(big, '\n', (1 << 20) - 1);
	big[(1 << 20) - 1] = '\0';
	given_log(LL_INFO, LF_LOGFMT);
	log_info("e", LOG_S("v", big));
	ck_assert_ptr_nonnull(take());
	ck_assert_ptr_nonnull(strstr(got, "\\n\" truncated=true\n"));
	ck_assert_uint_le(strlen(got), 4096);
	free(big);
}
END_TEST

START_TEST(syslog_gets_the_line_and_its_priority)
{
	given_log(LL_DEBUG, LF_LOGFMT);
	log_setup(LL_DEBUG, LF_LOGFMT, LT_SYSLOG);
	log_error("gone", LOG_S("v", "100%s"));
	ck_assert_int_eq(sys_priority, 3); /* LOG_ERR */
	ck_assert_ptr_nonnull(strstr(sys_line, "level=error ident=test"));
	ck_assert_str_eq(strstr(sys_line, "event=gone"), "event=gone v=100%s");
	log_debug("small");
	ck_assert_int_eq(sys_priority, 7); /* LOG_DEBUG */
	ck_assert_ptr_null(take());
}
END_TEST

START_TEST(die_says_why_and_ends_with_the_status)
{
	int status;

	given_log(LL_INFO, LF_LOGFMT);
	pid_t pid = fork();

	if (pid == 0)
		die(100, "souk.ini:%d: no such key", 7);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 100);
	ck_assert_ptr_nonnull(
	    strstr(take(), "event=fatal msg=\"souk.ini:7: no such key\"\n"));
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof *(a))

int
main(void)
{
	Suite *s = suite_create("log");
	TCase *tc = tcase_create("log");

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_loop_test(
	    tc, a_value_cannot_forge_a_field_or_a_line, 0, N(quoting));
	tcase_add_loop_test(tc, json_holds_the_same_values, 0, N(quoting));
	tcase_add_test(tc, every_line_says_when_who_and_for_which_request);
	tcase_add_test(tc, a_request_id_is_cut_at_63_bytes);
	tcase_add_test(tc, a_line_is_one_write);
	tcase_add_test(tc, lines_below_the_level_are_not_written);
	tcase_add_loop_test(tc, a_long_line_is_cut_and_stays_well_formed, 0, 2);
	tcase_add_test(tc, a_value_of_a_megabyte_is_cut);
	tcase_add_test(tc, syslog_gets_the_line_and_its_priority);
	tcase_add_test(tc, die_says_why_and_ends_with_the_status);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
