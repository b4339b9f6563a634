/*
 * money - amounts as integers of a currency's minor unit, read and shown.
 * No floating point anywhere: what is parsed is what is shown.
 */
#ifndef SHOP_MONEY_H
#define SHOP_MONEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

struct strbuf;

/* The most a price may be (the schema's CHECK). */
#define MONEY_MAX INT64_C(100000000000000)

/* Digits after the point by ISO 4217: 0 (KRW), 2 (USD and unknown codes), 3
 * (KWD). */
int money_exponent(const char *currency);

/*
 * A plain decimal as shops' files have them: "50", "9.9", "9.99", "1234.500".
 * No sign, no space, no thousands separator, no symbol; zeros beyond the
 * currency's digits are allowed, other digits are not (nothing is rounded).
 * False: not that, or above MONEY_MAX.
 */
bool money_parse(struct span s, const char *currency, int64_t *minor);

/* As a person reads it in English: "$1,234.50", "₩12,000", "€9.99", and for
 * codes without a sign of their own the code and a no-break space. */
void money_format(struct strbuf *out, int64_t minor, const char *currency);

/* As machines read it (JSON-LD, feeds): "1234.50", "12000". */
void money_decimal(struct strbuf *out, int64_t minor, const char *currency);

#endif
