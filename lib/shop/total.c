#include "shop/total.h"

#include <string.h>

#include "base/conf.h"
#include "base/text.h"
#include "shop/money.h"

enum { PER_PERCENT = 1000, RATE_MAX = 1000 * PER_PERCENT };
static const int64_t WHOLE = 100 * PER_PERCENT;

bool
tax_rate_parse(const char *percent, int64_t *rate)
{
	const char *point = strchr(percent, '.');
	size_t n = point == NULL ? strlen(percent) : (size_t)(point - percent);
	int64_t whole, part = 0;

	if (*percent == '-' ||
	    !text_int((struct span){ percent, n }, 0, RATE_MAX, &whole))
		return false;
	if (point != NULL) {
		struct span digits = span_of(point + 1);

		if (digits.n > 3 || point[1] == '-' ||
		    !text_int(digits, 0, PER_PERCENT - 1, &part))
			return false;
		for (size_t i = digits.n; i < 3; i++)
			part *= 10;
	}
	*rate = whole * PER_PERCENT + part;
	return *rate <= RATE_MAX;
}

enum rc
total_rules(const struct conf *conf, struct total_rules *out, struct err *e)
{
	const char *tax = conf_str(conf, "shop", "tax");

	out->shipping = conf_int(conf, "shop", "shipping");
	if (tax_rate_parse(tax, &out->tax_rate))
		return RC_OK;
	return err_set(e, RC_INVALID, "bad_configuration",
	    "%s: [shop] tax: write percent such as 8.25",
	    conf_source(conf, "shop", "tax"));
}

bool
total_add(struct total *total, int64_t price, int64_t quantity)
{
	int64_t line;

	return !__builtin_mul_overflow(price, quantity, &line) &&
	       !__builtin_add_overflow(total->lines, line, &total->lines) &&
	       total->lines <= MONEY_MAX;
}

/*
 * amount <= 2 * MONEY_MAX = 2e14 and rate <= 1e6: the product may pass 2^63, so
 * whole multiples of 100 % are taken out first; what is left is below 1e5 *
 * 1e6.
 */
static int64_t
tax_of(int64_t amount, int64_t rate)
{
	int64_t whole = amount / WHOLE, rest = amount % WHOLE;

	return whole * rate + (rest * rate + WHOLE / 2) / WHOLE;
}

bool
total_end(struct total *total, const struct total_rules *rules)
{
	int64_t net;

	total->shipping = rules->shipping;
	if (__builtin_add_overflow(total->lines, total->shipping, &net) ||
	    net > MONEY_MAX)
		return false;
	total->tax = tax_of(net, rules->tax_rate);
	total->total = net + total->tax;
	return total->total <= MONEY_MAX;
}
