/*
 * One pass, one byte at a time, from a buffer of 64 KiB. The fields of a record
 * lie behind each other in one strbuf; their places are made into spans when
 * the record is whole, as the strbuf may move while it grows.
 */
#include "base/csv.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"

enum { BUF = 65536, END = -1, BROKEN = -2 };

struct csv {
	csv_read *read;
	void *arg;
	char delim;
	int columns;  /* of the first record; 0 before */
	int64_t line; /* of the next byte */
	bool over;    /* nothing more can be read */
	int error;    /* errno of a failed read */
	size_t pos, len;
	struct strbuf data;
	size_t start[CSV_MAX_FIELDS + 1]; /* where fields begin in data */
	struct span field[CSV_MAX_FIELDS];
	char buf[BUF];
};

struct csv *
csv_new(csv_read *read, void *arg, char delim)
{
	struct csv *csv = xcalloc(1, sizeof *csv);

	csv->read = read;
	csv->arg = arg;
	csv->delim = delim;
	csv->line = 1;
	strbuf_init(&csv->data, 4096);
	return csv;
}

void
csv_free(struct csv *csv)
{
	if (csv == NULL)
		return;
	strbuf_release(&csv->data);
	free(csv);
}

static bool
fill(struct csv *csv)
{
	ssize_t n;

	if (csv->over)
		return false;
	do {
		n = csv->read(csv->arg, csv->buf, BUF);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		csv->error = errno;
	csv->over = n <= 0;
	csv->pos = 0;
	csv->len = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static int
peek_byte(struct csv *csv)
{
	if (csv->pos == csv->len && !fill(csv))
		return csv->error != 0 ? BROKEN : END;
	return (unsigned char)csv->buf[csv->pos];
}

static int
next_byte(struct csv *csv)
{
	int c = peek_byte(csv);

	if (c < 0)
		return c;
	csv->pos++;
	if (c == '\r') { /* CRLF and CR are read as LF */
		if (peek_byte(csv) == '\n')
			csv->pos++;
		c = '\n';
	}
	if (c == '\n')
		csv->line++;
	return c;
}

/* Inside quotes line ends stay as they are, so that text is kept. */
static int
next_quoted_byte(struct csv *csv)
{
	int c = peek_byte(csv);

	if (c < 0)
		return c;
	csv->pos++;
	if (c == '\n' || (c == '\r' && peek_byte(csv) != '\n'))
		csv->line++;
	return c;
}

/* After an error: to the end of the line. */
static void
skip_line(struct csv *csv)
{
	int c;

	while ((c = next_byte(csv)) >= 0 && c != '\n')
		;
}

static void
skip_bom(struct csv *csv)
{
	if (csv->len == 0)
		(void)peek_byte(csv);
	if (csv->len - csv->pos >= 3 &&
	    memcmp(csv->buf + csv->pos, "\xef\xbb\xbf", 3) == 0)
		csv->pos += 3;
}

static bool
is_delim(struct csv *csv, int c)
{
	if (csv->delim == 0 && (c == ',' || c == ';' || c == '\t'))
		csv->delim = (char)c;
	return c >= 0 && c == (unsigned char)csv->delim;
}

static enum rc
read_failed(const struct csv *csv, struct err *e)
{
	return err_set(e, RC_FAIL, "unreadable", "cannot be read: %s",
	    strerror(csv->error));
}

/* The rest of a field behind its opening quote, with the closing one. */
static enum rc
read_quoted(struct csv *csv, struct err *e)
{
	size_t from = csv->data.len;
	int64_t line = csv->line;
	int c;

	for (;;) {
		c = next_quoted_byte(csv);
		if (c == BROKEN)
			return read_failed(csv, e);
		if (c == END)
			return err_set(e, RC_INVALID, "csv_quote",
			    "the quote opened on line %lld is never closed:"
			    " close it, or double a \" that is meant as one",
			    (long long)line);
		if (c == '"') {
			if (peek_byte(csv) != '"')
				return RC_OK;
			c = next_quoted_byte(csv);
		}
		strbuf_addc(&csv->data, (char)c);
		if (csv->data.len - from > CSV_MAX_FIELD ||
		    csv->data.len > CSV_MAX_RECORD)
			return err_set(e, RC_INVALID, "csv_too_large",
			    "the field that begins on line %lld is larger"
			    " than 1 MiB: is its quote closed?",
			    (long long)line);
	}
}

/* One field. *ended: the record ends behind it. */
static enum rc
read_field(struct csv *csv, bool *ended, struct err *e)
{
	size_t from = csv->data.len;
	enum rc rc;
	int c;

	if (peek_byte(csv) == '"') {
		(void)next_byte(csv);
		if ((rc = read_quoted(csv, e)) != RC_OK)
			return rc;
		c = next_byte(csv);
		if (c >= 0 && c != '\n' && !is_delim(csv, c))
			return err_set(e, RC_INVALID, "csv_quote",
			    "text behind the closing quote of a field: double"
			    " a \" that is meant as one");
	} else {
		while ((c = next_byte(csv)) >= 0 && c != '\n' &&
		       !is_delim(csv, c)) {
			strbuf_addc(&csv->data, (char)c);
			if (csv->data.len - from > CSV_MAX_FIELD)
				return err_set(e, RC_INVALID, "csv_too_large",
				    "a field larger than 1 MiB: is this a"
				    " text file?");
		}
	}
	if (c == BROKEN)
		return read_failed(csv, e);
	*ended = c == END || c == '\n';
	return RC_OK;
}

static enum rc
check_record(struct csv *csv, int n, struct err *e)
{
	for (int i = 0; i < n; i++) {
		struct span f = csv->field[i];

		if (memchr(f.p, '\0', f.n) != NULL)
			return err_set(e, RC_INVALID, "csv_nul",
			    "field %d holds a NUL byte: is this a text file?",
			    i + 1);
		if (!utf8_valid(f.p, f.n))
			return err_set(e, RC_INVALID, "csv_utf8",
			    "field %d is not UTF-8: save the file as UTF-8"
			    " (\"CSV UTF-8\")",
			    i + 1);
	}
	return RC_OK;
}

static enum rc
check_columns(struct csv *csv, int *n, struct err *e)
{
	if (csv->columns == 0) {
		csv->columns = *n;
		return RC_OK;
	}
	while (*n > csv->columns && csv->field[*n - 1].n == 0)
		(*n)--;
	if (*n == csv->columns)
		return RC_OK;
	return err_set(e, RC_INVALID, "csv_columns",
	    "%d fields where the first line has %d: look for %s", *n,
	    csv->columns,
	    *n < csv->columns ? "a missing comma or a quote too many"
			      : "a comma that needs quotes around its field");
}

enum rc
csv_next(struct csv *csv, struct csv_record *out, struct err *e)
{
	enum rc rc;
	bool ended;
	int n;

	if (csv->line == 1 && csv->columns == 0)
		skip_bom(csv);
	do { /* until a line is not blank */
		int c = peek_byte(csv);

		out->line = csv->line;
		if (c == BROKEN)
			return read_failed(csv, e);
		if (c == END)
			return RC_NONE;
		strbuf_reset(&csv->data);
		n = 0;
		ended = false;
		while (!ended) {
			if (n == CSV_MAX_FIELDS ||
			    csv->data.len > CSV_MAX_RECORD) {
				skip_line(csv);
				return err_set(e, RC_INVALID, "csv_too_large",
				    "more than %d fields or 4 MiB in one"
				    " record: is a quote not closed?",
				    CSV_MAX_FIELDS);
			}
			csv->start[n++] = csv->data.len;
			rc = read_field(csv, &ended, e);
			if (rc != RC_OK) {
				skip_line(csv);
				return rc;
			}
			strbuf_addc(&csv->data, '\0');
		}
		csv->start[n] = csv->data.len;
	} while (n == 1 && csv->data.len == 1 && csv->columns != 1);
	for (int i = 0; i < n; i++) {
		csv->field[i].p = csv->data.s + csv->start[i];
		csv->field[i].n = csv->start[i + 1] - csv->start[i] - 1;
	}
	if ((rc = check_columns(csv, &n, e)) != RC_OK ||
	    (rc = check_record(csv, n, e)) != RC_OK)
		return rc;
	out->n = n;
	out->field = csv->field;
	return RC_OK;
}
