/*
 * csv - records of comma-separated values as they come (RFC 4180): quoted
 * fields with line ends in them, doubled quotes, CRLF, LF or CR, a byte order
 * mark. Reads a stream in constant memory.
 */
#ifndef BASE_CSV_H
#define BASE_CSV_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/span.h"

enum {
	CSV_MAX_FIELD = 1 << 20,  /* bytes */
	CSV_MAX_RECORD = 4 << 20, /* bytes */
	CSV_MAX_FIELDS = 1000
};

/* As read(2): bytes put into buf, 0 at the end, -1 with errno. */
typedef ssize_t csv_read(void *arg, char *buf, size_t n);

struct csv;

/* delim: ',', ';' or '\t'; 0: whichever of these comes first. Never NULL. */
struct csv *csv_new(csv_read *read, void *arg, char delim);
void csv_free(struct csv *csv); /* NULL is allowed */

struct csv_record {
	int64_t line; /* where it begins, from 1 */
	int n;
	const struct span *field; /* UTF-8, unquoted; each ends with a NUL;
				     borrowed until the next call */
};

/*
 * The next record; lines with nothing in them are passed over. The first one
 * says how many fields the others must have (empty ones too many at the end
 * are forgiven). RC_NONE: the end. RC_INVALID: what is wrong and what to do,
 * without the line, which is in out->line; the call after it goes on with the
 * next record where there is one. RC_FAIL: the stream could not be read.
 */
enum rc csv_next(struct csv *csv, struct csv_record *out, struct err *e);

#endif
