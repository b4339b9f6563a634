/*
 * Reading ends, keeps its bounds, and does not depend on how the bytes come:
 * the first byte says in which pieces.
 */
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/text.h"
#include "tests/fuzz/fuzz.h"

#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what))                                                   \
			abort();                                               \
	} while (0)

struct source {
	const uint8_t *p;
	size_t n, step;
};

static ssize_t
source_read(void *arg, char *buf, size_t n)
{
	struct source *s = arg;
	size_t take = s->step < s->n ? s->step : s->n;

	MUST(take <= n);
	memcpy(buf, s->p, take);
	s->p += take;
	s->n -= take;
	return (ssize_t)take;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0)
		return 0;
	struct source source = { data + 1, n - 1, 3 + data[0] % 200 };
	struct source whole = { data + 1, n - 1, 65536 };
	struct csv *csv = csv_new(source_read, &source, 0);
	struct csv *other = csv_new(source_read, &whole, 0);
	struct csv_record r, s;
	int64_t line = 0;
	size_t turns = 0;
	int columns = 0;

	for (;;) {
		enum rc rc = csv_next(csv, &r, NULL);
		enum rc rs = csv_next(other, &s, NULL);

		MUST(rc == rs && turns++ <= n);
		if (rc == RC_NONE)
			break;
		MUST(rc == RC_OK || rc == RC_INVALID);
		MUST(r.line == s.line && r.line > line);
		line = r.line;
		if (rc != RC_OK)
			continue;
		MUST(r.n == s.n && r.n > 0);
		MUST(columns == 0 || r.n == columns);
		columns = r.n;
		for (int i = 0; i < r.n; i++) {
			MUST(span_eq(r.field[i], s.field[i]));
			MUST(utf8_valid(r.field[i].p, r.field[i].n));
		}
	}
	csv_free(csv);
	csv_free(other);
	return 0;
}
