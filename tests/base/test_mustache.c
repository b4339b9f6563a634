#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mustache.h"
#include "base/strbuf.h"

static struct mustache *set;
static struct strbuf out;
static struct err e;

static void
setup(void)
{
	set = mustache_new();
	strbuf_init(&out, 0);
	e = (struct err)ERR_INIT;
}

static void
teardown(void)
{
	mustache_free(set);
	strbuf_release(&out);
}

static void
given(const char *name, const char *text)
{
	enum rc rc = mustache_add(set, name, text, strlen(text), &e);

	ck_assert_msg(rc == RC_OK, "%s", e.msg);
}

/* Data is JSON with ' for ". */
static json_t *
data(const char *json)
{
	char *copy = strdup(json);
	json_error_t je;

	for (char *p = copy; (p = strchr(p, '\'')) != NULL;)
		*p = '"';
	json_t *value = json_loads(copy, JSON_DECODE_ANY, &je);

	ck_assert_msg(value != NULL, "%s in %s", je.text, copy);
	free(copy);
	return value;
}

static enum rc
render(const char *name, const char *json)
{
	json_t *value = data(json);
	const json_t *ctx[] = { value };
	enum rc rc = mustache_render(set, name, 1, ctx, &out, &e);

	json_decref(value);
	return rc;
}

static const struct {
	const char *text, *json, *want;
} values[] = {
	/* escaping */
	{ "{{x}}", "{'x':'<b>&'}", "&lt;b&gt;&amp;" },
	{ "{{{x}}}{{&x}}", "{'x':'<b>&'}", "<b>&<b>&" },
	{ "{{={ }=}}{&x}{x}", "{'x':'<'}", "<&lt;" },
	/* scalars */
	{ "{{x}}", "{'x':0}", "0" },
	{ "{{x}}", "{'x':-9223372036854775808}", "-9223372036854775808" },
	{ "{{x}}", "{'x':9223372036854775807}", "9223372036854775807" },
	{ "{{x}}", "{'x':0.1}", "0.1" },
	{ "{{x}}", "{'x':3.0}", "3" },
	{ "{{x}}", "{'x':0.30000000000000004}", "0.30000000000000004" },
	{ "{{x}}", "{'x':true}", "true" },
	{ "{{x}}", "{'x':null}", "" },
	{ "{{x}}", "{'x':{'y':1}}", "" },
	{ "{{x}}", "{'x':[1]}", "" },
	/* what is false */
	{ "{{#x}}T{{/x}}{{^x}}F{{/x}}", "{}", "F" },
	{ "{{#x}}T{{/x}}{{^x}}F{{/x}}", "{'x':null}", "F" },
	{ "{{#x}}T{{/x}}{{^x}}F{{/x}}", "{'x':false}", "F" },
	{ "{{#x}}T{{/x}}{{^x}}F{{/x}}", "{'x':''}", "F" },
	{ "{{#x}}T{{/x}}{{^x}}F{{/x}}", "{'x':[]}", "F" },
	{ "{{#x}}T{{/x}}{{^x}}F{{/x}}", "{'x':0}", "T" },
	{ "{{#x}}T{{/x}}{{^x}}F{{/x}}", "{'x':{}}", "T" },
	{ "{{#x}}T{{/x}}{{^x}}F{{/x}}", "{'x':true}", "T" },
	/* sections */
	{ "{{#x}}{{a}}{{b}}{{/x}}", "{'a':1,'b':2,'x':{'a':3}}", "32" },
	{ "{{#x}}{{.}},{{/x}}", "{'x':[1,'<',2.5]}", "1,&lt;,2.5," },
	{ "{{#x}}{{#.}}{{.}}{{/.}};{{/x}}", "{'x':[[1,2],[3]]}", "12;3;" },
	{ "{{#x}}{{.}}{{/x}}", "{'x':'one'}", "one" },
	{ "{{#x}}{{a}}{{/x}}", "{'a':1,'x':true}", "1" },
	/* dotted names */
	{ "{{a.b.c}}", "{'a':{'b':{'c':7}}}", "7" },
	{ "{{a.b.c}}", "{'a':{}}", "" },
	{ "{{#a}}{{b.c}}{{/a}}", "{'a':{'b':{}},'b':{'c':1}}", "" },
	{ "{{a.b}}", "{'a':'text'}", "" },
	/* whitespace */
	{ "  {{#x}}  \r\n  a\r\n  {{/x}}\r\nb", "{'x':[1,2]}",
	    "  a\r\n  a\r\nb" },
	{ "{{! a\n comment }}\nb", "{}", "b" },
	{ "{{#x}}\n{{/x}}", "{'x':1}", "" },
};

START_TEST(a_value_is_shown)
{
	given("t", values[_i].text);
	ck_assert_int_eq(render("t", values[_i].json), RC_OK);
	ck_assert_str_eq(out.s, values[_i].want);
}
END_TEST

START_TEST(all_of_html_is_escaped)
{
	json_t *value = json_pack("{s:s}", "x", "<a href=\"'\">&");
	const json_t *ctx[] = { value };

	given("t", "{{x}}");
	ck_assert_int_eq(mustache_render(set, "t", 1, ctx, &out, &e), RC_OK);
	ck_assert_str_eq(out.s, "&lt;a href=&quot;&#39;&quot;&gt;&amp;");
	json_decref(value);
}
END_TEST

START_TEST(the_last_context_is_looked_into_first)
{
	json_t *a = data("{'x':1,'y':2}"), *b = data("{'x':3}");
	const json_t *ctx[] = { a, b };

	given("t", "{{x}}{{y}}");
	strbuf_adds(&out, "kept ");
	ck_assert_int_eq(mustache_render(set, "t", 2, ctx, &out, &e), RC_OK);
	ck_assert_str_eq(out.s, "kept 32");
	ck_assert_int_eq(mustache_render(set, "t", 0, NULL, &out, &e), RC_OK);
	json_decref(a);
	json_decref(b);
}
END_TEST

/* Templates t, p, q; what t gives for {'x':[1,2],'v':'A\nB','y':true}. */
static const struct {
	const char *t, *p, *q, *want;
} layouts[] = {
	/* an indented partial with a loop, a partial, a value of two lines */
	{ "  {{>p}}\n", "<\n{{#x}}\n- {{.}}\n{{/x}}\n>\n", "",
	    "  <\n  - 1\n  - 2\n  >\n" },
	{ "  {{>p}}\n", "a\n {{>q}}\nb\n", "c\nd\n", "  a\n   c\n   d\n  b\n" },
	{ "\t{{>p}}\n", "[{{>q}}]\n", "c\nd", "\t[c\nd]\n" },
	{ " {{>p}}\n", "{{v}}\n", "", " A\nB\n" },
	{ " {{>p}}\n", "{{#x}}{{.}}\n{{/x}}.\n", "", " 1\n 2\n .\n" },
	{ " {{>p}}\n", "a\n\nb", "", " a\n \n b" },
	{ " {{>p}}\n", "{{!c}}{{^y}}n{{/y}}z\n", "", " z\n" },
	/* parents and blocks */
	{ "{{<p}}{{$a}}1{{/a}}{{/p}}", "[{{$a}}d{{/a}}{{$b}}e{{/b}}]", "",
	    "[1e]" },
	{ "{{<p}}{{$a}}{{#x}}{{.}}{{/x}}{{/a}}{{/p}}", "[{{$a}}{{/a}}]", "",
	    "[12]" },
	{ "{{<p}}{{$a}}t{{/a}}{{/p}}", "{{<q}}{{$a}}p{{/a}}{{/q}}",
	    "{{$a}}q{{/a}}", "t" },
	{ "{{<p}}{{$a}}x{{$a}}in{{/a}}{{/a}}{{/p}}", "{{$a}}{{/a}}", "",
	    "xin" },
	{ "{{<p}}\n  {{$m}}\n    <p>\n      hi\n    </p>\n  {{/m}}\n{{/p}}\n",
	    "<main>\n  {{$m}}\n  {{/m}}\n</main>\n", "",
	    "<main>\n  <p>\n    hi\n  </p>\n</main>\n" },
	{ "  {{<p}}{{$m}}\nhi\n{{/m}}{{/p}}\n", "<\n {{$m}}\n {{/m}}\n>\n", "",
	    "  <\n   hi\n  >\n" },
	{ "{{<p}}{{$m}}\n  {{>q}}\n{{/m}}{{/p}}\n", "<\n {{$m}}{{/m}}\n>\n",
	    "1\n2", "<\n 1\n 2\n>\n" },
	{ "{{<p}}{{$m}}1\n2{{/m}}{{/p}}", "a {{$m}}{{/m}} b\n", "",
	    "a 1\n2 b\n" },
	{ "{{<p}}{{$m}}1{{/m}}{{/p}}", " {{$m}}\n d\n {{/m}}\n", "", " 1" },
	{ "{{<p}}{{/p}}", " {{$m}}\n  d\n {{/m}}\ne", "", "  d\ne" },
	{ "{{<p}}{{$a}}{{<q}}{{$b}}1{{/b}}{{/q}}{{/a}}{{$c}}2{{/c}}{{/p}}",
	    "{{$a}}{{/a}}{{$c}}{{/c}}", "({{$b}}{{/b}})", "(1)2" },
};

START_TEST(partials_and_parents_lay_out_lines)
{
	given("t", layouts[_i].t);
	given("p", layouts[_i].p);
	given("q", layouts[_i].q);
	ck_assert_int_eq(
	    render("t", "{'x':[1,2],'v':'A\\nB','y':true}"), RC_OK);
	ck_assert_str_eq(out.s, layouts[_i].want);
}
END_TEST

START_TEST(a_partial_recurses_as_deep_as_its_data)
{
	given("node", "{{v}}\n{{#sub}}\n  {{>node}}\n{{/sub}}\n");
	ck_assert_int_eq(
	    render("node", "{'v':1,'sub':[{'v':2,'sub':[{'v':3,'sub':[]}]},"
			   "{'v':4,'sub':[]}]}"),
	    RC_OK);
	ck_assert_str_eq(out.s, "1\n  2\n    3\n  4\n");
}
END_TEST

START_TEST(partial_recursion_without_end_is_refused)
{
	given("t", "a\nb{{>t}}");
	strbuf_adds(&out, "kept");
	ck_assert_int_eq(render("t", "{}"), RC_FAIL);
	ck_assert_str_eq(e.code, "template_depth");
	ck_assert_ptr_eq(strstr(e.msg, "t:2: nested deeper than 64"), e.msg);
	ck_assert_str_eq(out.s, "kept");
	given("p", "{{<p}}{{/p}}");
	ck_assert_int_eq(render("p", "{}"), RC_FAIL);
	given("s", "{{#x}}{{>s}}{{/x}}");
	ck_assert_int_eq(render("s", "{'x':[1]}"), RC_FAIL);
}
END_TEST

START_TEST(lists_in_lists_without_end_are_refused)
{
	strbuf_adds(&out, "kept");
	given("t", "{{#x}}{{#x}}{{#x}}{{#x}}{{#x}}{{#x}}{{#x}}"
		   "{{/x}}{{/x}}{{/x}}{{/x}}{{/x}}{{/x}}{{/x}}");
	ck_assert_int_eq(render("t", "{'x':[1,2,3,4,5,6,7,8,9,10]}"), RC_FAIL);
	ck_assert_str_eq(e.code, "template_runaway");
	ck_assert_str_eq(out.s, "kept");
}
END_TEST

START_TEST(an_unknown_template_is_an_error)
{
	ck_assert_int_eq(render("nowhere", "{}"), RC_FAIL);
	ck_assert_str_eq(e.code, "template_missing");
	given("t", "{{>nowhere}}."); /* is known as a name then */
	ck_assert_int_eq(render("nowhere", "{}"), RC_FAIL);
	ck_assert_int_eq(render("t", "{}"), RC_OK);
	ck_assert_str_eq(out.s, ".");
}
END_TEST

START_TEST(a_missing_partial_is_found_by_the_check)
{
	given("t", "a\n{{#x}}\n{{>parts/price}}{{/x}}");
	given("u", "{{$block}}{{/block}}");
	ck_assert_int_eq(mustache_check(set, &e), RC_INVALID);
	ck_assert_ptr_eq(
	    strstr(e.msg, "t:3: there is no template 'parts/price'"), e.msg);
	given("parts/price", "1");
	ck_assert_int_eq(mustache_check(set, &e), RC_OK);
	given("u", "{{<layout}}{{/layout}}");
	ck_assert_int_eq(mustache_check(set, &e), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(e.msg, "u:1: "));
}
END_TEST

START_TEST(recursion_whatever_the_data_is_found_by_the_check)
{
	given("ok", "{{#x}}{{>ok}}{{/x}}{{$a}}{{>ok}}{{/a}}{{>p}}{{>p}}");
	given("p", "");
	ck_assert_int_eq(mustache_check(set, &e), RC_OK);
	given("p", "\n{{>q}}");
	given("q", "{{<p}}{{/p}}");
	ck_assert_int_eq(mustache_check(set, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "template_depth");
	ck_assert_int_eq(render("p", "{}"), RC_FAIL);
	given("q", "{{#x}}{{<p}}{{/p}}{{/x}}");
	ck_assert_int_eq(mustache_check(set, &e), RC_OK);
}
END_TEST

static const struct {
	const char *text, *want;
} mistakes[] = {
	{ "a\n{{#x}}\nb\n", "t:2: {{#x}} is never closed: add {{/x}}" },
	{ "{{#x}}\n{{^y}}\n{{/x}}{{/y}}",
	    "t:3: {{/x}} where {{^y}} of line 2 is open: close that first, "
	    "with {{/y}}" },
	{ "a\n\nb{{/x}}",
	    "t:3: {{/x}} closes nothing: remove it, or open it before" },
	{ "a\n{{x", "t:2: the tag is not closed: '}}' is missing" },
	{ "{{{x}}\n}", "t:1: the tag is not closed: '}}}' is missing" },
	{ "{{! a", "t:1: the tag is not closed: '}}' is missing" },
	{ "{{=<% %>=}}\n<%x}}", "t:2: the tag is not closed: '%>' is missing" },
	{ "{{=<%=}}", "t:1: bad delimiters '<%'" },
	{ "{{=a b c=}}", "t:1: bad delimiters 'a b c'" },
	{ "{{==== ==}}", "t:1: bad delimiters" },
	{ "{{= =}}", "t:1: bad delimiters ''" },
	{ "{{=12345678901234567 |=}}", "t:1: bad delimiters" },
	{ "{{}}", "t:1: the tag has no name" },
	{ "{{# }}{{/ }}", "t:1: the tag has no name" },
	{ "{{a b}}", "t:1: 'a b' is no name: a name has no space in it" },
	{ "{{a..b}}", "t:1: 'a..b' is no name: a part of it is empty" },
	{ "{{#.a}}{{/.a}}", "t:1: '.a' is no name" },
	{ "{{a.}}", "t:1: 'a.' is no name" },
	{ "{{>*x}}", "t:1: dynamic names ({{>*x}}) are not supported" },
	{ "a\nb\xff", "t:2: not UTF-8" },
};

START_TEST(a_mistake_is_told_with_its_line)
{
	const char *text = mistakes[_i].text;

	given("t", "as before");
	ck_assert_int_eq(
	    mustache_add(set, "t", text, strlen(text), &e), RC_INVALID);
	ck_assert_str_eq(e.code, "template_syntax");
	ck_assert_msg(strstr(e.msg, mistakes[_i].want) == e.msg,
	    "\n got %s\nwant %s", e.msg, mistakes[_i].want);
	ck_assert_int_eq(render("t", "{}"), RC_OK);
	ck_assert_str_eq(out.s, "as before");
}
END_TEST

START_TEST(size_and_nesting_have_bounds)
{
	size_t n = (1 << 20) + 1;
	char *big = malloc(n);
	struct strbuf deep;

	memset(big, 'x', n);
	ck_assert_int_eq(mustache_add(set, "t", big, n, &e), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(e.msg, "larger than"));
	ck_assert_int_eq(mustache_add(set, "t", big, n - 1, &e), RC_OK);
	free(big);
	strbuf_init(&deep, 0);
	for (int i = 0; i < 64; i++)
		strbuf_adds(&deep, "{{#x}}");
	for (int i = 0; i < 64; i++)
		strbuf_adds(&deep, "{{/x}}");
	given("t", deep.s);
	ck_assert_int_eq(render("t", "{'x':{'x':1}}"), RC_OK);
	strbuf_adds(&deep, "\n");
	for (int i = 0; i < 65; i++)
		strbuf_adds(&deep, "{{#x}}");
	ck_assert_int_eq(
	    mustache_add(set, "t", deep.s, deep.len, &e), RC_INVALID);
	ck_assert_ptr_eq(strstr(e.msg, "t:2: tags nested deeper"), e.msg);
	strbuf_release(&deep);
}
END_TEST

static void
given_file(const char *dir, const char *name, const char *text)
{
	char path[512];

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(a_directory_is_read_with_what_is_below)
{
	char dir[] = "/tmp/test_mustache.XXXXXX", sub[64], cmd[64];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(sub, sizeof sub, "%s/parts", dir);
	ck_assert_int_eq(mkdir(sub, 0700), 0);
	given_file(dir, "home.mustache", "[{{>parts/price}}]");
	given_file(dir, "notes.txt", "{{#");
	given_file(dir, ".#home.mustache", "{{#");
	given_file(sub, "price.mustache", "{{x}}");
	ck_assert_msg(mustache_add_dir(set, dir, &e) == RC_OK, "%s", e.msg);
	ck_assert_int_eq(mustache_check(set, &e), RC_OK);
	ck_assert_int_eq(render("home", "{'x':5}"), RC_OK);
	ck_assert_str_eq(out.s, "[5]");

	given_file(sub, "broken.mustache", "\n{{#x}}");
	ck_assert_int_eq(mustache_add_dir(set, dir, &e), RC_INVALID);
	ck_assert_ptr_eq(strstr(e.msg, "parts/broken:2: "), e.msg);
	(void)snprintf(cmd, sizeof cmd, "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
	ck_assert_int_eq(mustache_add_dir(set, dir, &e), RC_FAIL);
	ck_assert_ptr_nonnull(strstr(e.msg, dir));
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof *(a))

int
main(void)
{
	Suite *s = suite_create("mustache");
	TCase *tc = tcase_create("mustache");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, a_value_is_shown, 0, N(values));
	tcase_add_test(tc, all_of_html_is_escaped);
	tcase_add_test(tc, the_last_context_is_looked_into_first);
	tcase_add_loop_test(
	    tc, partials_and_parents_lay_out_lines, 0, N(layouts));
	tcase_add_test(tc, a_partial_recurses_as_deep_as_its_data);
	tcase_add_test(tc, partial_recursion_without_end_is_refused);
	tcase_add_test(tc, lists_in_lists_without_end_are_refused);
	tcase_add_test(tc, an_unknown_template_is_an_error);
	tcase_add_test(tc, a_missing_partial_is_found_by_the_check);
	tcase_add_test(tc, recursion_whatever_the_data_is_found_by_the_check);
	tcase_add_loop_test(
	    tc, a_mistake_is_told_with_its_line, 0, N(mistakes));
	tcase_add_test(tc, size_and_nesting_have_bounds);
	tcase_add_test(tc, a_directory_is_read_with_what_is_below);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
