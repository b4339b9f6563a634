#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/multipart.h"
#include "base/strbuf.h"

static struct arena *arena;
static struct err e;

static void
setup(void)
{
	arena = arena_new();
	e = (struct err)ERR_INIT;
}

static void
teardown(void)
{
	arena_free(arena);
}

/* ---- Content-Type */

#define B70                                                                    \
	"01234567890123456789012345678901234567890123456789012345678901234567" \
	"89"

static const struct {
	const char *in, *out; /* the boundary, or the error's code */
} types[] = {
	{ "multipart/form-data; boundary=b", "b" },
	{ "Multipart/Form-Data;BOUNDARY=b", "b" },
	{ "multipart/form-data ; charset=utf-8 ; boundary=b;", "b" },
	{ "multipart/form-data; boundary=\"a b:c\"", "a b:c" },
	{ "multipart/form-data; boundary=\"a\\\"b\"", "bad_boundary" },
	{ "multipart/form-data; boundary=" B70, B70 },
	{ "multipart/form-data; boundary=" B70 "x", "bad_boundary" },
	{ "multipart/form-data", "bad_boundary" },
	{ "multipart/form-data; boundary=", "bad_boundary" },
	{ "multipart/form-data; boundary=\"\"", "bad_boundary" },
	{ "multipart/form-data; boundary=\"b", "bad_boundary" },
	{ "multipart/form-data; boundary=\"b \"", "bad_boundary" },
	{ "multipart/form-data; boundary=a; boundary=b", "bad_boundary" },
	{ "multipart/form-data; boundary=a b", "bad_boundary" },
	{ "multipart/form-data; boundary=\xc3\xa9", "bad_boundary" },
	{ "multipart/form-data; boundary=a{b", "bad_boundary" },
	{ "multipart/form-datax; boundary=b", "unsupported_media_type" },
	{ "multipart/mixed; boundary=b", "unsupported_media_type" },
	{ "image/jpeg", "unsupported_media_type" },
	{ "", "unsupported_media_type" },
};

START_TEST(a_boundary_is_one_by_the_rules)
{
	char out[MULTIPART_BOUNDARY + 1];
	enum rc rc = multipart_boundary(types[_i].in, out, &e);

	ck_assert_str_eq(rc == RC_OK ? out : e.code, types[_i].out);
	if (rc != RC_OK)
		ck_assert_int_eq(rc, RC_INVALID);
}
END_TEST

/* ---- bodies, with the boundary b */

#define CD "Content-Disposition: form-data; name=\"f\""
#define FILE_CD CD "; filename=\"a.jpg\""
#define L "\r\n"
#define END L "--b--" L

static const struct {
	const char *in, *out; /* name/filename/type=body; each, or a code */
} bodies[] = {
	{ "--b" L CD L L "x" END, "f/-/=x;" },
	{ "--b" L FILE_CD L "Content-Type: image/jpeg" L L "x" END,
	    "f/a.jpg/image/jpeg=x;" },
	{ "--b" L CD L L "x" L "--b" L CD L L "y" END, "f/-/=x;f/-/=y;" },
	/* names */
	{ "--b" L "content-disposition:form-data;NAME=f;FileName=a" L L "x" END,
	    "f/a/=x;" },
	{ "--b" L CD "; filename=\"C:\\dir\\a \\\"b\\\".jpg\"" L L "x" END,
	    "f/C:\\dir\\a \"b\".jpg/=x;" },
	{ "--b" L CD "; filename=\"\xc3\xa9;=.jpg\"" L L "x" END,
	    "f/\xc3\xa9;=.jpg/=x;" },
	{ "--b" L CD "; filename=\"\"" L L "" END, "f//=;" },
	{ "--b" L CD "; filename*=UTF-8''b.jpg" L L "x" END, "f/-/=x;" },
	{ "--b" L CD "; filename=a; filename=b" L L "x" END, "bad_part" },
	{ "--b" L CD "; name=g" L L "x" END, "bad_part" },
	{ "--b" L CD "; filename=\"a" L L "x" END, "bad_part" },
	{ "--b" L CD "; filename=\"a\"b" L L "x" END, "bad_part" },
	{ "--b" L CD " filename=a" L L "x" END, "bad_part" },
	{ "--b" L CD "; filename=\"\xff\"" L L "x" END, "bad_encoding" },
	{ "--b" L CD "; filename=\"a\x01\"" L L "x" END, "bad_encoding" },
	{ "--b" L "Content-Disposition: form-data" L L "x" END, "bad_part" },
	{ "--b" L "Content-Disposition: attachment; name=f" L L "x" END,
	    "bad_part" },
	{ "--b" L CD L CD L L "x" END, "bad_part" },
	{ "--b" L L "x" END, "bad_part" },
	{ "--b" L "Content-Type: image/png" L L "x" END, "bad_part" },
	/* other fields of a head */
	{ "--b" L "X-Other: y" L CD L L "x" END, "f/-/=x;" },
	{ "--b" L CD L "Content-Type: Text/Plain; charset=utf-8" L L "x" END,
	    "f/-/text/plain=x;" },
	{ "--b" L CD L "Content-Type: a\x01/b" L L "x" END, "bad_part" },
	{ "--b" L CD L "Content-Transfer-Encoding: binary" L L "x" END,
	    "f/-/=x;" },
	{ "--b" L CD L "Content-Transfer-Encoding: base64" L L "eA==" END,
	    "bad_part" },
	{ "--b" L CD L "nonsense" L L "x" END, "bad_multipart" },
	{ "--b" L CD L " folded" L L "x" END, "bad_multipart" },
	{ "--b" L CD L "Bad Name: x" L L "x" END, "bad_multipart" },
	/* CR LF, exactly */
	{ "--b\n" CD L L "x" END, "bad_multipart" },
	{ "--b" L CD "\n" L "x" END, "bad_multipart" },
	{ "--b" L CD "\r\r\n" L "x" END, "bad_multipart" },
	{ "--b" L CD L "A: b\rc" L L "x" END, "bad_multipart" },
	{ "--b" L CD L L "x\n--b--" L, "multipart_cut" },
	{ "--b" L CD L L "x\n--b" L "y\r--b" L "z" END,
	    "f/-/=x\n--b" L "y\r--b" L "z;" },
	{ "--b" L CD L L L "x" L END, "f/-/=" L "x" L ";" },
	/* an empty body: its boundary's CR LF may be the head's last */
	{ "--b" L CD L END, "f/-/=;" },
	{ "--b" L CD L L END, "f/-/=;" },
	{ "--b" L CD L L "--b--" L, "f/-/=;" },
	/* boundaries */
	{ "--b \t" L CD L L "x" L "--b--\t ", "f/-/=x;" },
	{ "--b" L CD L L "x" L "--bc" L "y" END, "bad_multipart" },
	{ "--b" L CD L L "x" L "--b-" L "y" END, "bad_multipart" },
	{ "--b" L CD L L "x" L "--b--more" L, "bad_multipart" },
	{ "--b" L CD L L "--b-x" L "-- b" L "--" L "b" END, "bad_multipart" },
	{ "--b" L CD L L "-- b" L "--" L "b" END, "f/-/=-- b" L "--" L "b;" },
	/* before and after */
	{ "preamble --b" L L "--b" L CD L L "x" END "--b" L "epilogue",
	    "f/-/=x;" },
	{ L "--b" L CD L L "x" L "--b--", "f/-/=x;" },
	{ "\n--b" L CD L L "x" END, "" }, /* all of it before the first */
	{ "--b--", "" },
	{ "--b--" L "epilogue", "" },
	/* cut */
	{ "", "multipart_cut" },
	{ "x", "multipart_cut" },
	{ "--", "multipart_cut" },
	{ "--b", "multipart_cut" },
	{ "--b\r", "multipart_cut" },
	{ "--b-", "bad_multipart" },
	{ "--b" L, "multipart_cut" },
	{ "--b" L CD, "multipart_cut" },
	{ "--b" L CD L, "multipart_cut" },
	{ "--b" L CD L L, "multipart_cut" },
	{ "--b" L CD L L "x", "multipart_cut" },
	{ "--b" L CD L L "x" L "--b", "multipart_cut" },
	{ "--b" L CD L L "x" L "--b" L, "multipart_cut" },
	/* too many: four are allowed */
	{ "--b" L CD L L "1" L "--b" L CD L L "2" L "--b" L CD L L "3" L
	  "--b" L CD L L "4" END,
	    "f/-/=1;f/-/=2;f/-/=3;f/-/=4;" },
	{ "--b" L CD L L "1" L "--b" L CD L L "2" L "--b" L CD L L "3" L
	  "--b" L CD L L "4" L "--b" L CD L L "5" END,
	    "too_many_parts" },
};

static const char *
show(const struct parts *parts)
{
	const char *out = "";

	for (int i = 0; i < parts->n; i++) {
		const struct part *p = &parts->p[i];

		out = arena_printf(arena, "%s%s/%s/%s=%.*s;", out, p->name,
		    p->filename == NULL ? "-" : p->filename, p->type,
		    (int)p->body.n, p->body.p);
	}
	return out;
}

/* In a block of its exact size, for the sanitizers. */
static enum rc
parse(struct span body, struct parts *out)
{
	char *copy = malloc(body.n == 0 ? 1 : body.n);
	const char *shown;
	enum rc rc;

	ck_assert_ptr_nonnull(copy);
	if (body.n > 0)
		memcpy(copy, body.p, body.n);
	rc = multipart_parse(
	    (struct span){ copy, body.n }, "b", 4, arena, out, &e);
	shown = show(out);
	free(copy);
	if (rc == RC_OK)
		(void)snprintf(e.msg, sizeof e.msg, "%s", shown);
	return rc;
}

START_TEST(bodies_are_taken_apart)
{
	struct parts parts;
	enum rc rc = parse(span_of(bodies[_i].in), &parts);

	ck_assert_str_eq(rc == RC_OK ? e.msg : e.code, bodies[_i].out);
	if (rc != RC_OK) {
		ck_assert_int_eq(rc, RC_INVALID);
		ck_assert_int_eq(parts.n, 0);
	}
}
END_TEST

START_TEST(a_body_may_hold_any_bytes)
{
	static const char in[] = "--b" L FILE_CD L L "\0\xff\r\n--\0b" END;
	struct parts parts;

	ck_assert_int_eq(multipart_parse((struct span){ in, sizeof in - 1 },
			     "b", 4, arena, &parts, &e),
	    RC_OK);
	ck_assert_int_eq(parts.n, 1);
	ck_assert(parts.p[0].body.p == strstr(in, L L) + 4);
	ck_assert_uint_eq(parts.p[0].body.n, 8);
}
END_TEST

START_TEST(a_nul_in_a_head_is_refused)
{
	static const char in[] =
	    "--b" L "Content-Disposition: form-data; name=\"f\0g\"" L L "x" END;
	struct parts parts;

	ck_assert_int_eq(
	    parse((struct span){ in, sizeof in - 1 }, &parts), RC_INVALID);
	ck_assert_str_eq(e.code, "bad_multipart");
}
END_TEST

/* n bytes in a head: allowed are MULTIPART_HEAD. */
static enum rc
parse_head_of(int n, bool one_line)
{
	const int before = (int)strlen(CD L "X: " L);
	struct parts parts;
	struct strbuf sb;
	enum rc rc;

	strbuf_init(&sb, 64);
	strbuf_addf(&sb, "--b" L CD L "X: %0*d" L L "x" END, n - before, 0);
	if (!one_line) {
		for (size_t i = 0; i + 4 < sb.len - 20; i++) {
			if (i % 100 == 99 && sb.s[i] == '0')
				memcpy(sb.s + i - 3, L "X:", 4);
		}
	}
	rc = parse(strbuf_span(&sb), &parts);
	strbuf_release(&sb);
	return rc;
}

START_TEST(a_head_has_its_cap)
{
	for (int one = 0; one < 2; one++) {
		ck_assert_int_eq(
		    parse_head_of(MULTIPART_HEAD, one == 1), RC_OK);
		ck_assert_int_eq(
		    parse_head_of(MULTIPART_HEAD + 1, one == 1), RC_INVALID);
		ck_assert_str_eq(e.code, "part_head_too_large");
	}
}
END_TEST

START_TEST(one_part_is_wanted_of_a_name)
{
	const struct part p[] = { { .name = "a" }, { .name = "b" },
		{ .name = "b" } };
	const struct parts parts = { 3, p };
	const struct part *out;

	ck_assert_int_eq(parts_one(&parts, "a", &out, &e), RC_OK);
	ck_assert_ptr_eq(out, p);
	ck_assert_int_eq(parts_one(&parts, "c", &out, &e), RC_OK);
	ck_assert_ptr_null(out);
	ck_assert_int_eq(parts_one(&parts, "b", &out, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "duplicate_field");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("multipart");
	TCase *tc = tcase_create("multipart");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, a_boundary_is_one_by_the_rules, 0,
	    sizeof types / sizeof *types);
	tcase_add_loop_test(
	    tc, bodies_are_taken_apart, 0, sizeof bodies / sizeof *bodies);
	tcase_add_test(tc, a_body_may_hold_any_bytes);
	tcase_add_test(tc, a_nul_in_a_head_is_refused);
	tcase_add_test(tc, a_head_has_its_cap);
	tcase_add_test(tc, one_part_is_wanted_of_a_name);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
