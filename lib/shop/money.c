#include "shop/money.h"

#include <string.h>

#include "base/strbuf.h"

/*
 * ISO 4217, list one: the currencies that do not have two digits, and the
 * signs of the English locale (Unicode CLDR, en.xml, "symbol").
 */
static const struct money_row {
	char code[4];
	int exponent;
	const char *sign; /* NULL: the code is shown */
} money_rows[] = {
	{ "AUD", 2, "A$" },
	{ "BHD", 3, NULL },
	{ "BIF", 0, NULL },
	{ "BRL", 2, "R$" },
	{ "CAD", 2, "CA$" },
	{ "CLP", 0, NULL },
	{ "CNY", 2, "CN¥" },
	{ "DJF", 0, NULL },
	{ "EUR", 2, "€" },
	{ "GBP", 2, "£" },
	{ "GNF", 0, NULL },
	{ "HKD", 2, "HK$" },
	{ "ILS", 2, "₪" },
	{ "INR", 2, "₹" },
	{ "IQD", 3, NULL },
	{ "ISK", 0, NULL },
	{ "JOD", 3, NULL },
	{ "JPY", 0, "¥" },
	{ "KMF", 0, NULL },
	{ "KRW", 0, "₩" },
	{ "KWD", 3, NULL },
	{ "LYD", 3, NULL },
	{ "MXN", 2, "MX$" },
	{ "NZD", 2, "NZ$" },
	{ "OMR", 3, NULL },
	{ "PHP", 2, "₱" },
	{ "PYG", 0, NULL },
	{ "RWF", 0, NULL },
	{ "TND", 3, NULL },
	{ "TWD", 2, "NT$" },
	{ "UGX", 0, NULL },
	{ "USD", 2, "$" },
	{ "VND", 0, "₫" },
	{ "VUV", 0, NULL },
	{ "XAF", 0, "FCFA\u00a0" },
	{ "XOF", 0, "F\u202fCFA\u00a0" },
	{ "XPF", 0, "CFPF\u00a0" },
};

static const struct money_row *
money_find(const char *currency)
{
	for (size_t i = 0; i < sizeof money_rows / sizeof *money_rows; i++) {
		if (strcmp(money_rows[i].code, currency) == 0)
			return &money_rows[i];
	}
	return NULL;
}

int
money_exponent(const char *currency)
{
	const struct money_row *row = money_find(currency);

	return row == NULL ? 2 : row->exponent;
}

bool
money_parse(struct span s, const char *currency, int64_t *minor)
{
	int left = money_exponent(currency);
	bool point = false;
	int64_t value = 0;
	size_t i = 0;

	/* A digit first and a digit last: no ".5", no "5.". */
	if (s.n == 0 || s.p[0] == '.' || s.p[s.n - 1] == '.')
		return false;
	for (; i < s.n; i++) {
		if (s.p[i] == '.' && !point) {
			point = true;
			continue;
		}
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		if (point && left == 0) {
			if (s.p[i] != '0')
				return false; /* would have to be rounded */
			continue;
		}
		if (point)
			left--;
		value = value * 10 + (s.p[i] - '0');
		if (value > MONEY_MAX)
			return false;
	}
	for (; left > 0; left--)
		value *= 10; /* at most 1e17 */
	if (value > MONEY_MAX)
		return false;
	*minor = value;
	return true;
}

/* sep: between groups of three, or 0. */
static void
money_digits(struct strbuf *out, int64_t minor, int exponent, char sep)
{
	uint64_t rest = minor < 0 ? -(uint64_t)minor : (uint64_t)minor;
	char buf[40], *p = buf + sizeof buf;
	int written = 0;

	do {
		int place = written - exponent;

		if (exponent > 0 && place == 0)
			*--p = '.';
		else if (sep != 0 && place > 0 && place % 3 == 0)
			*--p = sep;
		*--p = (char)('0' + rest % 10);
		rest /= 10;
		written++;
	} while (rest > 0 || written <= exponent);
	strbuf_add(out, p, (size_t)(buf + sizeof buf - p));
}

void
money_format(struct strbuf *out, int64_t minor, const char *currency)
{
	const struct money_row *row = money_find(currency);

	if (minor < 0)
		strbuf_addc(out, '-');
	if (row != NULL && row->sign != NULL) {
		strbuf_adds(out, row->sign);
	} else {
		strbuf_adds(out, currency);
		strbuf_adds(out, "\u00a0");
	}
	money_digits(out, minor, row == NULL ? 2 : row->exponent, ',');
}

void
money_decimal(struct strbuf *out, int64_t minor, const char *currency)
{
	if (minor < 0)
		strbuf_addc(out, '-');
	money_digits(out, minor, money_exponent(currency), 0);
}
