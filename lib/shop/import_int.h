/*
 * import_int - between the readers of the formats and the writer.
 *
 * A reader makes products, or parts of products, and gives each to
 * import_give(), which checks it and hands it on.
 */
#ifndef SHOP_IMPORT_INT_H
#define SHOP_IMPORT_INT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/span.h"
#include "shop/import.h"

struct csv;
struct csv_record;

enum { IMPORT_MAX_OPTIONS = 5, IMPORT_MAX_TAGS = 250 };
enum { IMPORT_MAX_PARTS = 2000 }; /* variants, images, reviews of a record */
#define IMPORT_MAX_STOCK 1000000000

/* Strings are never NULL unless said so, and live in the arena. */
struct import_variant {
	int64_t line;
	const char *sku; /* NULL: none */
	int n_options;
	const char *name[IMPORT_MAX_OPTIONS]; /* of the option; WooCommerce */
	const char *option[IMPORT_MAX_OPTIONS];
	int64_t price;
	int64_t compare_at; /* -1: none */
	int64_t stock;
	const char *barcode;
	int64_t grams;
	const char *image; /* its address; NULL: none */
};

struct import_image {
	int64_t line;
	int64_t position;
	const char *src, *alt;
	int64_t width, height; /* 0: not known */
};

struct import_review {
	int64_t line;
	const char *author, *title, *body;
	int64_t rating;
	const char *created_at; /* NULL: not said */
};

struct import_product {
	int file; /* its number; set by import_give() */
	int64_t line;
	const char *key;    /* what its parts go by; NULL: parent says it */
	const char *parent; /* of a variation: "id:NN" or a SKU */
	const char *ref_id, *ref_sku; /* what parent may say; NULL: none */
	bool spread;  /* other parts of it may come later in the file */
	bool by_name; /* the handle was made from the name */
	const char *handle, *title, *description, *summary, *vendor, *type;
	const char *status, *seo_title, *seo_description;
	int n_tags, n_options, n_variants, n_images, n_reviews;
	const char *tag[IMPORT_MAX_TAGS];
	const char *option[IMPORT_MAX_OPTIONS];
	/* arrays of IMPORT_MAX_PARTS or less, grown by import_more() */
	struct import_variant *variant;
	struct import_image *image;
	struct import_review *review;
};

/* How the columns are called in the file, for messages. */
struct import_names {
	const char *handle, *title, *description, *vendor, *type, *tags;
	const char *option, *sku, *price, *barcode, *image, *alt, *seo_title;
	const char *seo_description, *review;
};

struct import {
	const char *currency;
	struct import_report *report;
	enum rc (*take)(
	    void *arg, const struct import_product *product, struct err *e);
	void *arg;
	void (*progress)(
	    void *arg, const char *phase, const struct import_report *report);
	void *progress_arg;
	/* the file being read */
	const char *file;
	int file_no; /* from 1 */
	const struct import_names *names;
	struct arena *arena; /* of the product being made */
	bool warned_stock;   /* once per file */
	/* the stream, with what was read of it to tell its format */
	int fd;
	size_t pos, len;
	int read_errno;
	char head[65536];
};

/* Read all of a file by its format. Faults are noted in the report; RC_FAIL and
 * RC_RETRY end the import. */
enum rc import_read_file(struct import *im, const struct import_file *file,
    int file_no, struct err *e);

/* As csv_read; arg is the struct import. */
ssize_t import_read_bytes(void *arg, char *buf, size_t n);

void import_wrong(struct import *im, int64_t line, const char *column,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void import_warn(struct import *im, int64_t line, const char *column,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
bool import_enough(const struct import *im); /* errors: give up */

/*
 * Check a product (its description is cleaned here) and hand it on, unless
 * anything is wrong with it. The arena is reset by the reader.
 */
enum rc import_give(
    struct import *im, struct import_product *product, struct err *e);

/* Room for one more behind n: zeroed, in the arena. NULL: too many, noted. */
struct import_variant *import_more_variant(
    struct import *im, struct import_product *p, int64_t line);
struct import_image *import_more_image(
    struct import *im, struct import_product *p, int64_t line);
struct import_review *import_more_review(
    struct import *im, struct import_product *p, int64_t line);

/* A picture, unless the product has it already. */
void import_add_image(struct import *im, struct import_product *p, int64_t line,
    const char *src, const char *alt, int64_t position);

/* Columns of a CSV, found by name without regard to case. */
struct import_columns {
	const char *const *name; /* ends with NULL; borrowed */
	int at[64];              /* -1: the file has no such column */
};
void import_columns_find(struct import_columns *cols, const char *const name[],
    const struct csv_record *header);
/* Trimmed, in the arena; "" where there is no such column. */
const char *import_cell(struct import *im, const struct import_columns *cols,
    const struct csv_record *r, int column);

/* The row of a CSV that is being read. */
struct import_row {
	struct import *im;
	struct import_columns cols;
	const struct csv_record *r;
};

static inline const char *
row_cell(struct import_row *row, int column)
{
	return import_cell(row->im, &row->cols, row->r, column);
}

/* The next one that can be read, into *r; the faults of others are noted.
 * RC_NONE: the end, or faults enough; RC_FAIL: cannot read the file. */
enum rc import_row_next(struct import_row *row, struct csv *csv,
    struct csv_record *r, struct err *e);

/* Values of cells; a fault is noted and gives false. */
bool import_price(struct import *im, int64_t line, const char *column,
    const char *s, int64_t *out);
bool import_count(struct import *im, int64_t line, const char *column,
    const char *s, int64_t *out); /* "-3" is 0 with a warning */
void import_tags(struct import *im, struct import_product *p, int64_t line,
    const char *s); /* comma separated */
/* An address with its scheme, in the arena; NULL: none that may be used. */
const char *import_url(struct import *im, const char *s);

/* The readers. The first record of a CSV has been read already. */
bool import_is_shopify(const struct csv_record *header);
bool import_is_woo(const struct csv_record *header);
enum rc import_read_shopify(struct import *im, struct csv *csv,
    const struct csv_record *header, struct err *e);
enum rc import_read_woo(struct import *im, struct csv *csv,
    const struct csv_record *header, struct err *e);
enum rc import_read_jsonl(struct import *im, struct err *e);

/* ---- the database's side */

struct import_stage;
struct import_stage *import_stage_new(struct pg *pg);
void import_stage_free(struct import_stage *stage); /* NULL is allowed */
/* As struct import's take; arg is the stage. */
enum rc import_stage_take(
    void *arg, const struct import_product *product, struct err *e);
enum rc import_stage_flush(struct import_stage *stage, struct err *e);

/* Temporary tables; then, when all is staged, the catalogue made the same.
 * Faults that only the whole shows are noted in im->report. */
enum rc import_merge_begin(struct pg *pg, struct err *e);
enum rc import_merge(struct pg *pg, struct import *im,
    const struct import_file *files, struct err *e);

/* What the caches must forget, written in the transaction of the import. */
enum rc import_invalidate(struct pg *pg, struct err *e);

#endif
