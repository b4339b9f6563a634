#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/strbuf.h"

/* Gives its text in pieces of `step` bytes. */
struct source {
	const char *p;
	size_t n, step;
	int fail; /* errno at the end, or 0 */
};

static ssize_t
source_read(void *arg, char *buf, size_t n)
{
	struct source *s = arg;
	size_t take = s->step < n ? s->step : n;

	if (take > s->n)
		take = s->n;
	if (take == 0 && s->fail != 0) {
		errno = s->fail;
		return -1;
	}
	memcpy(buf, s->p, take);
	s->p += take;
	s->n -= take;
	return (ssize_t)take;
}

/* Every record as "LINE[a|b]", an error as "LINE!code". */
static void
read_all(struct span text, size_t step, struct strbuf *out)
{
	struct source source = { text.p, text.n, step, 0 };
	struct csv *csv = csv_new(source_read, &source, 0);
	struct csv_record r;
	struct err e = ERR_INIT;
	enum rc rc;

	while ((rc = csv_next(csv, &r, &e)) != RC_NONE) {
		if (rc != RC_OK) {
			strbuf_addf(out, "%d!%s", (int)r.line, e.code);
			continue;
		}
		strbuf_addf(out, "%d[", (int)r.line);
		for (int i = 0; i < r.n; i++) {
			ck_assert_int_eq(r.field[i].p[r.field[i].n], '\0');
			strbuf_addf(
			    out, "%s%s", i > 0 ? "|" : "", r.field[i].p);
		}
		strbuf_addc(out, ']');
	}
	csv_free(csv);
}

static const struct {
	const char *text, *want;
} table[] = {
	{ "", "" },
	{ "\n\r\n\n", "" },
	{ "a,b", "1[a|b]" },
	{ "a,b\n1,2\n", "1[a|b]2[1|2]" },
	{ "a,b\r\n1,2\r\n", "1[a|b]2[1|2]" },
	{ "a,b\r1,2\r", "1[a|b]2[1|2]" },
	{ "\xef\xbb\xbf\"a\",b\n1,2", "1[a|b]2[1|2]" },
	{ "a;b\n1,5;2", "1[a|b]2[1,5|2]" },
	{ "a\tb\n1;5\t2", "1[a|b]2[1;5|2]" },
	{ "a,b\n\"x,y\",\"say \"\"hi\"\"\"\n", "1[a|b]2[x,y|say \"hi\"]" },
	{ "a,b\n\"1\n2\r\n3\",x\n4,5", "1[a|b]2[1\n2\r\n3|x]5[4|5]" },
	{ "a,b\n\n,\n1,\n", "1[a|b]3[|]4[1|]" },
	{ "a,b\n5\" tall,x\n", "1[a|b]2[5\" tall|x]" },
	{ "a,b\n\"\",\"\"\n", "1[a|b]2[|]" },
	{ "a\nb\n\nc\n", "1[a]2[b]3[]4[c]" },
	{ "a,b\n1,2,,\n", "1[a|b]2[1|2]" },
	{ "a,b\n1\n3,4\n", "1[a|b]2!csv_columns3[3|4]" },
	{ "a,b\n1,2,3\n3,4\n", "1[a|b]2!csv_columns3[3|4]" },
	{ "a,b\n\"1\"x,2\n3,4\n", "1[a|b]2!csv_quote3[3|4]" },
	{ "a,b\n1,\"2\n3,4\n", "1[a|b]2!csv_quote" },
	{ "a,b\n\xff,2\n3,4\n", "1[a|b]2!csv_utf8"
				"3[3|4]" },
	{ "가,나\n달,항아리\n", "1[가|나]2[달|항아리]" },
};

START_TEST(records_are_read_in_any_pieces)
{
	static const size_t steps[] = { 1, 2, 3, 7, 65536 };
	struct strbuf out;

	strbuf_init(&out, 0);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		if (steps[i] < 3 && table[_i].text[0] == '\xef')
			continue; /* the mark comes in one piece */
		strbuf_reset(&out);
		read_all(span_of(table[_i].text), steps[i], &out);
		ck_assert_str_eq(out.s, table[_i].want);
	}
	strbuf_release(&out);
}
END_TEST

START_TEST(sizes_are_bounded)
{
	struct strbuf text, out;

	strbuf_init(&text, 0);
	strbuf_init(&out, 0);
	strbuf_adds(&text, "a,b\n\"");
	for (int i = 0; i <= CSV_MAX_FIELD; i++)
		strbuf_addc(&text, 'x');
	strbuf_adds(&text, "\",2\n3,4\n");
	read_all(strbuf_span(&text), 65536, &out);
	ck_assert_str_eq(out.s, "1[a|b]2!csv_too_large3[3|4]");
	strbuf_reset(&text);
	strbuf_reset(&out);
	for (int i = 0; i < 3000; i++)
		strbuf_adds(&text, "a,");
	read_all(strbuf_span(&text), 65536, &out);
	ck_assert_str_eq(out.s, "1!csv_too_large");
	strbuf_reset(&out);
	read_all((struct span){ "a,b\n1,\0\n", 8 }, 65536, &out);
	ck_assert_str_eq(out.s, "1[a|b]2!csv_nul");
	strbuf_release(&text);
	strbuf_release(&out);
}
END_TEST

START_TEST(a_failed_read_is_no_end)
{
	struct source source = { "a,b\n1,2\n3", 9, 65536, EIO };
	struct csv *csv = csv_new(source_read, &source, ',');
	struct csv_record r;
	struct err e = ERR_INIT;

	ck_assert_int_eq(csv_next(csv, &r, &e), RC_OK);
	ck_assert_int_eq(csv_next(csv, &r, &e), RC_OK);
	ck_assert_int_eq(csv_next(csv, &r, &e), RC_FAIL);
	ck_assert_str_eq(e.code, "unreadable");
	csv_free(csv);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("csv");
	TCase *tc = tcase_create("csv");

	tcase_add_loop_test(tc, records_are_read_in_any_pieces, 0,
	    sizeof table / sizeof *table);
	tcase_add_test(tc, sizes_are_bounded);
	tcase_add_test(tc, a_failed_read_is_no_end);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
