#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/form.h"

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

/* Fields as "name=value;" each, or the error's code. */
static const struct {
	const char *in, *out;
} forms[] = {
	{ "", "" },
	{ "q=mug", "q=mug;" },
	{ "q=a+b%20c", "q=a b c;" },
	{ "a=1&b=2&a=3", "a=1;b=2;a=3;" },
	{ "flag", "flag=;" },
	{ "flag=", "flag=;" },
	{ "=x", "=x;" },
	{ "&&a=1&&", "a=1;" },
	{ "a=1=2", "a=1=2;" },
	{ "%6eame=%C3%A9", "name=\xc3\xa9;" },
	{ "a=%", "a=%;" },
	{ "a=%4", "a=%4;" },
	{ "a=%4g%zz", "a=%4g%zz;" },
	{ "a=100%25", "a=100%;" },
	{ "a=%00", "bad_encoding" },
	{ "a=%ff", "bad_encoding" },
	{ "%c3=1", "bad_encoding" },
	{ "a=1&b=2&c=3&d=4&e=5", "too_many_fields" },
}, cookies[] = {
	{ "", "" },
	{ "a=1; b=2", "a=1;b=2;" },
	{ "a=1;b=2 ; c = 3 ", "a=1;b=2;c=3;" },
	{ "a=\"quoted\"", "a=quoted;" },
	{ "a=\"", "a=\";" },
	{ "a=%41+b", "a=%41+b;" },
	{ "a=b=c", "a=b=c;" },
	{ "a=", "a=;" },
	{ "nonsense; a=1; =x", "a=1;" },
	{ "bad=\xff; a=1", "a=1;" },
	{ ";;;;;;;a=1", "a=1;" },
	{ "a=1;b=2;c=3;d=4;e=5", "too_many_cookies" },
};

static const char *
show(enum rc rc, const struct fields *f)
{
	static char out[256];
	size_t n = 0;

	if (rc != RC_OK) {
		ck_assert_int_eq(f->n, 0);
		return e.code;
	}
	out[0] = '\0';
	for (int i = 0; i < f->n; i++)
		n += (size_t)snprintf(out + n, sizeof out - n, "%s=%s;",
		    f->f[i].name, f->f[i].value);
	return out;
}

START_TEST(form_gives_fields_in_order)
{
	struct fields f;
	enum rc rc = form_parse(span_of(forms[_i].in), 4, arena, &f, &e);

	ck_assert_str_eq(show(rc, &f), forms[_i].out);
}
END_TEST

START_TEST(cookies_are_taken_as_they_are)
{
	struct fields f;
	enum rc rc = cookie_parse(span_of(cookies[_i].in), 4, arena, &f, &e);

	ck_assert_str_eq(show(rc, &f), cookies[_i].out);
}
END_TEST

START_TEST(the_first_of_a_name_is_found)
{
	struct fields f;

	ck_assert_int_eq(
	    form_parse(span_of("a=1&A=2&a=3"), 4, arena, &f, &e), RC_OK);
	ck_assert_str_eq(fields_get(&f, "a"), "1");
	ck_assert_str_eq(fields_get(&f, "A"), "2");
	ck_assert_ptr_null(fields_get(&f, "b"));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("form");
	TCase *tc = tcase_create("form");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(
	    tc, form_gives_fields_in_order, 0, sizeof forms / sizeof *forms);
	tcase_add_loop_test(tc, cookies_are_taken_as_they_are, 0,
	    sizeof cookies / sizeof *cookies);
	tcase_add_test(tc, the_first_of_a_name_is_found);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
