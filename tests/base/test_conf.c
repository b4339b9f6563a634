#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/strbuf.h"

static const struct conf_row rows[] = {
	{ "shop", "name", CONF_STR, "Souk", 0, 0, NULL, NULL, false, "Name." },
	{ "redis", "url", CONF_STR, "redis://h", 0, 0, NULL, "REDIS_URL", true,
	    "Where." },
	{ "redis", "command", CONF_MS, "500ms", 10, 60000, NULL, NULL, false,
	    "Deadline." },
	{ "cache", "ttl", CONF_S, "1h", 1, 86400, NULL, NULL, false, "Life." },
	{ "cache", "size", CONF_SIZE, "16m", 0, 0, NULL, NULL, false, "Room." },
	{ "cache", "on", CONF_BOOL, "yes", 0, 0, NULL, NULL, false, "Use it." },
	{ "log", "level", CONF_ENUM, "info", 0, 0, "debug|info", NULL, false,
	    "Level." },
	{ 0 }
};

static char path[] = "/tmp/souk-conf-XXXXXX";
static struct strbuf problems;
static struct err e;
static struct conf *conf;

static enum rc
load(const char *text, char *const env[])
{
	int fd;

	strcpy(path + strlen(path) - 6, "XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	strbuf_init(&problems, 0);
	conf = NULL;
	enum rc rc = conf_load(rows, path, env, &conf, &problems, &e);

	unlink(path);
	return rc;
}

static void
done(void)
{
	strbuf_release(&problems);
	conf_free(conf);
}

START_TEST(the_environment_beats_the_file_beats_the_default)
{
	char *env[] = { (char[]){ "SOUK_SHOP_NAME=Env" },
		(char[]){ "REDIS_URL=redis://env" }, NULL };

	ck_assert_int_eq(load("\xef\xbb\xbf; words\n[shop]\nname = File\n"
			      "[cache]\nttl=5m\nsize = 64k\non = off\n",
			     env),
	    RC_OK);
	ck_assert_str_eq(conf_str(conf, "shop", "name"), "Env");
	ck_assert_str_eq(conf_str(conf, "redis", "url"), "redis://env");
	ck_assert_int_eq(conf_int(conf, "redis", "command"), 500);
	ck_assert_int_eq(conf_int(conf, "cache", "ttl"), 300);
	ck_assert_int_eq(conf_int(conf, "cache", "size"), 65536);
	ck_assert(!conf_bool(conf, "cache", "on"));
	ck_assert(!conf_is_set(conf, "log", "level"));
	ck_assert_str_eq(conf_source(conf, "shop", "name"), "SOUK_SHOP_NAME");
	struct strbuf dump;

	strbuf_init(&dump, 0);
	conf_dump(conf, &dump);
	ck_assert_ptr_null(strstr(dump.s, "redis://env"));
	ck_assert_ptr_nonnull(strstr(dump.s, "url = (set)"));
	strbuf_release(&dump);
	done();
}
END_TEST

static const struct {
	const char *text, *line, *words;
} bad[] = {
	{ "[shop]\nnmae = x\n", ":2: ", "unknown key \"nmae\" in [shop]" },
	{ "[shop]\n\nurl = x\n", ":3: ", "did you mean [redis] url?" },
	{ "[nope]\nname = x\n", ":1: ", "unknown section [nope]" },
	{ "name = x\n", ":1: ", "before any [section]" },
	{ "[shop]\nname\n", ":2: ", "expected \"key = value\"" },
	{ "[shop\n", ":1: ", "expected [section]" },
	{ "[redis]\ncommand = 5y\n", ":2: ", "is not a time such as" },
	{ "[redis]\ncommand = 5ms\n", ":2: ", "out of range, 10 to 60000 ms" },
	{ "[cache]\nttl = 1500ms\n", ":2: ", "whole seconds" },
	{ "[cache]\nsize = -1\n", ":2: ", "is not a size" },
	{ "[cache]\non = maybe\n", ":2: ", "is not yes or no" },
	{ "[log]\nlevel = warn\n", ":2: ", "not one of debug|info" },
	{ "[shop]\nname=a\nname=b\n", ":3: ", "set in line 2 already" },
	{ "[shop]\nname=\xff\n", ":2: ", "not UTF-8" },
};

START_TEST(a_mistake_is_named_with_file_and_line)
{
	ck_assert_int_eq(load(bad[_i].text, NULL), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(e.msg, path));
	ck_assert_msg(strstr(e.msg, bad[_i].line) != NULL, "%s", e.msg);
	ck_assert_msg(strstr(e.msg, bad[_i].words) != NULL, "%s", e.msg);
	done();
}
END_TEST

START_TEST(every_mistake_is_listed)
{
	ck_assert_int_eq(
	    load("[shop]\na=1\n[cache]\nttl=x\nsize=y\n", NULL), RC_INVALID);
	int lines = 0;

	for (const char *p = problems.s; *p != '\0'; p++)
		lines += *p == '\n';
	ck_assert_int_eq(lines, 3);
	done();
}
END_TEST

START_TEST(a_file_that_is_not_there_is_an_error)
{
	strbuf_init(&problems, 0);
	ck_assert_int_eq(
	    conf_load(rows, "/nonexistent/souk.ini", NULL, &conf, NULL, &e),
	    RC_FAIL);
	ck_assert_ptr_nonnull(strstr(e.msg, "/nonexistent/souk.ini: No such"));
	strbuf_release(&problems);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf");
	TCase *tc = tcase_create("conf");

	tcase_add_test(
	    tc, the_environment_beats_the_file_beats_the_default);
	tcase_add_loop_test(tc, a_mistake_is_named_with_file_and_line, 0,
	    (int)(sizeof bad / sizeof *bad));
	tcase_add_test(tc, every_mistake_is_listed);
	tcase_add_test(tc, a_file_that_is_not_there_is_an_error);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
