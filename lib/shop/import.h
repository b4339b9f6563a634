/*
 * import - a catalogue from files into the shop, all of it or nothing.
 *
 * Three formats, told apart by their beginning: Shopify's product CSV,
 * WooCommerce's product CSV, and JSON Lines of our own, which export writes:
 * one product a line, the JSON of catalog.h without ids and what is derived:
 *
 * {"handle","title","description","vendor","type","tags":[],"status",
 *  "currency","options":["Size"|{"name":"Size"}],"variants":[{"sku"|null,
 *  "options":["S"],"price":MINOR,"compareAtPrice"|null,"stock","barcode",
 *  "grams","image":URL|null}],"images":[{"url","alt","width"|null,
 *  "height"|null}],"reviews":[{"author","rating","title","body","createdAt"}],
 *  "seo":{"title","description"}}
 *
 * handle, title, and one variant with a price are needed, all else may be left
 * out; currency, where it is there, must be the shop's.
 *
 * A file is the truth about the products it names, and about no others: they
 * are found by handle, their variants by SKU, else by options; a variant or
 * picture that the file does not have is removed (a variant that an order or a
 * sale refers to stays, with no stock). Reviews are only added. What is the
 * same already is not touched, so that importing twice changes nothing.
 */
#ifndef SHOP_IMPORT_H
#define SHOP_IMPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"

struct arena;
struct pg;

enum { IMPORT_MAX_ERRORS = 20, IMPORT_MAX_WARNINGS = 20 };

struct import_report {
	int64_t rows; /* of the files so far */
	int64_t created, updated, unchanged;
	int64_t variants, images; /* in the files */
	int64_t reviews;          /* added */
	int64_t variants_removed, variants_kept, images_removed;
	int64_t warnings;     /* all of them */
	struct strbuf warned; /* the first of them, a line each */
	int errors;           /* at most IMPORT_MAX_ERRORS */
	struct strbuf wrong;  /* "FILE:LINE: COLUMN: what; what to do" lines */
};

void import_report_init(struct import_report *report);
void import_report_release(struct import_report *report);

struct import_file {
	const char *name; /* for messages; borrowed */
	int fd;           /* borrowed */
};

struct import_opts {
	struct pg *pg;        /* borrowed; its query_ms bounds each step */
	const char *currency; /* borrowed */
	bool dry_run;         /* do everything, then roll it back */
	/* Now and then; phase: "reading", "merging". NULL: nobody looks. */
	void (*progress)(
	    void *arg, const char *phase, const struct import_report *report);
	void *arg;
};

/*
 * RC_OK: committed (or, dry_run, it would be). RC_INVALID "import_errors":
 * report->wrong says what is wrong, and nothing has changed. Else RC_FAIL or
 * RC_RETRY, and nothing has changed either, but for "pg_unknown".
 */
enum rc import_run(const struct import_opts *opts, int n,
    const struct import_file *files, struct import_report *report,
    struct err *e);

/*
 * The catalogue as JSON Lines, in the order of its making, piece by piece
 * (write borrows the bytes; what it returns but RC_OK ends the export).
 */
enum rc export_run(struct pg *pg, const char *currency,
    enum rc (*write)(void *arg, struct span bytes, struct err *e), void *arg,
    int64_t *products, struct err *e);

#endif
