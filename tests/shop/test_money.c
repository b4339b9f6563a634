#include <check.h>
#include <stdlib.h>

#include "base/strbuf.h"
#include "shop/money.h"

static const struct {
	const char *text, *currency;
	int64_t minor; /* -1: refused */
} parsed[] = {
	{ "50", "USD", 5000 },
	{ "0", "USD", 0 },
	{ "9.9", "USD", 990 },
	{ "9.99", "USD", 999 },
	{ "9.9900", "USD", 999 },
	{ "9.999", "USD", -1 },
	{ "12000", "KRW", 12000 },
	{ "12000.00", "KRW", 12000 },
	{ "12000.50", "KRW", -1 },
	{ "1.234", "KWD", 1234 },
	{ "1.2", "KWD", 1200 },
	{ "12.00", "CHF", 1200 },
	{ "1,234.50", "USD", -1 },
	{ "$5", "USD", -1 },
	{ "-5", "USD", -1 },
	{ "+5", "USD", -1 },
	{ " 5", "USD", -1 },
	{ "", "USD", -1 },
	{ ".", "USD", -1 },
	{ ".5", "USD", -1 },
	{ "5.", "USD", -1 },
	{ "1.2.3", "USD", -1 },
	{ "1e3", "USD", -1 },
	{ "1000000000000", "USD", INT64_C(100000000000000) },
	{ "1000000000000.01", "USD", -1 },
	{ "100000000000000", "USD", -1 },
	{ "99999999999999999999999999", "USD", -1 },
};

START_TEST(prices_are_parsed_to_the_unit)
{
	int64_t minor = -1;
	bool ok =
	    money_parse(span_of(parsed[_i].text), parsed[_i].currency, &minor);

	ck_assert_msg(ok == (parsed[_i].minor >= 0), "%s", parsed[_i].text);
	ck_assert_int_eq(minor, parsed[_i].minor);
}
END_TEST

static const struct {
	int64_t minor;
	const char *currency, *shown, *decimal;
} formatted[] = {
	{ 123450, "USD", "$1,234.50", "1234.50" },
	{ 5, "USD", "$0.05", "0.05" },
	{ 0, "USD", "$0.00", "0.00" },
	{ 100, "USD", "$1.00", "1.00" },
	{ 99999, "USD", "$999.99", "999.99" },
	{ 100000, "USD", "$1,000.00", "1000.00" },
	{ 123456789012, "USD", "$1,234,567,890.12", "1234567890.12" },
	{ 999, "EUR", "€9.99", "9.99" },
	{ 12000, "KRW", "₩12,000", "12000" },
	{ 0, "KRW", "₩0", "0" },
	{ 999, "JPY", "¥999", "999" },
	{ 1234567, "KWD", "KWD\u00a01,234.567", "1234.567" },
	{ 1200, "CHF", "CHF\u00a012.00", "12.00" },
	{ -250, "GBP", "-£2.50", "-2.50" },
};

START_TEST(prices_are_shown_by_currency)
{
	struct strbuf sb;

	strbuf_init(&sb, 0);
	money_format(&sb, formatted[_i].minor, formatted[_i].currency);
	ck_assert_str_eq(sb.s, formatted[_i].shown);
	strbuf_reset(&sb);
	money_decimal(&sb, formatted[_i].minor, formatted[_i].currency);
	ck_assert_str_eq(sb.s, formatted[_i].decimal);
	strbuf_release(&sb);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("money");
	TCase *tc = tcase_create("money");

	tcase_add_loop_test(tc, prices_are_parsed_to_the_unit, 0,
	    sizeof parsed / sizeof *parsed);
	tcase_add_loop_test(tc, prices_are_shown_by_currency, 0,
	    sizeof formatted / sizeof *formatted);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
