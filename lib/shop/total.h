/*
 * total - what an order costs: lines, shipping, tax. Integers of the
 * currency's minor unit; nothing overflows unseen.
 */
#ifndef SHOP_TOTAL_H
#define SHOP_TOTAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct conf;

/* Tax in thousandths of a percent: 8.25 % is 8250. At most 1000 %. */
bool tax_rate_parse(const char *percent, int64_t *rate);

struct total_rules {
	int64_t shipping;
	int64_t tax_rate;
};

/* [shop] shipping and tax. RC_INVALID "bad_configuration". */
enum rc total_rules(
    const struct conf *conf, struct total_rules *out, struct err *e);

struct total {
	int64_t lines, shipping, tax, total;
};

/* One more line, 0 <= price, 0 <= quantity. False: more than MONEY_MAX. */
bool total_add(struct total *total, int64_t price, int64_t quantity);

/* After the last line: shipping, then tax on both, rounded half up. False: more
 * than MONEY_MAX. */
bool total_end(struct total *total, const struct total_rules *rules);

#endif
