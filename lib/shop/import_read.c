/*
 * What the readers of the formats share: the stream, the notes of what is
 * wrong, and the checks that every product must pass whatever it came from.
 */
#include "shop/import_int.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/csv.h"
#include "base/text.h"
#include "shop/money.h"
#include "shop/richtext.h"

/* ---- notes */

static void __attribute__((format(printf, 5, 0)))
note(struct strbuf *out, const struct import *im, int64_t line,
    const char *column, const char *fmt, va_list ap)
{
	strbuf_adds(out, im->file);
	if (line > 0)
		strbuf_addf(out, ":%lld", (long long)line);
	strbuf_adds(out, ": ");
	if (column != NULL)
		strbuf_addf(out, "%s: ", column);
	strbuf_vaddf(out, fmt, ap);
	strbuf_addc(out, '\n');
}

void
import_wrong(
    struct import *im, int64_t line, const char *column, const char *fmt, ...)
{
	va_list ap;

	if (im->report->errors >= IMPORT_MAX_ERRORS)
		return;
	im->report->errors++;
	va_start(ap, fmt);
	note(&im->report->wrong, im, line, column, fmt, ap);
	va_end(ap);
}

void
import_warn(
    struct import *im, int64_t line, const char *column, const char *fmt, ...)
{
	va_list ap;

	if (im->report->warnings++ >= IMPORT_MAX_WARNINGS)
		return;
	va_start(ap, fmt);
	note(&im->report->warned, im, line, column, fmt, ap);
	va_end(ap);
}

bool
import_enough(const struct import *im)
{
	return im->report->errors >= IMPORT_MAX_ERRORS;
}

/* ---- the stream */

static ssize_t
read_retry(int fd, char *buf, size_t n)
{
	ssize_t got;

	do {
		got = read(fd, buf, n);
	} while (got < 0 && errno == EINTR);
	return got;
}

ssize_t
import_read_bytes(void *arg, char *buf, size_t n)
{
	struct import *im = arg;
	size_t left = im->len - im->pos;

	if (left == 0)
		return read_retry(im->fd, buf, n);
	if (n > left)
		n = left;
	memcpy(buf, im->head + im->pos, n);
	im->pos += n;
	return (ssize_t)n;
}

/* Enough of the beginning to see what it is. */
static int
head_fill(struct import *im)
{
	im->pos = im->len = 0;
	while (im->len < 512) {
		ssize_t n = read_retry(
		    im->fd, im->head + im->len, sizeof im->head - im->len);

		if (n < 0)
			return -1;
		if (n == 0)
			break;
		im->len += (size_t)n;
	}
	if (im->len >= 3 && memcmp(im->head, "\xef\xbb\xbf", 3) == 0)
		im->pos = 3;
	return 0;
}

static bool
head_is_json(const struct import *im)
{
	for (size_t i = im->pos; i < im->len; i++) {
		if (strchr(" \t\r\n", im->head[i]) == NULL ||
		    im->head[i] == '\0')
			return im->head[i] == '{';
	}
	return false;
}

static enum rc
read_csv(struct import *im, struct err *e)
{
	struct csv *csv = csv_new(import_read_bytes, im, 0);
	struct csv_record header;
	struct err why = ERR_INIT;
	enum rc rc = csv_next(csv, &header, &why);

	if (rc == RC_NONE) {
		import_wrong(im, 0, NULL, "the file is empty");
		rc = RC_OK;
	} else if (rc == RC_INVALID) {
		import_wrong(im, header.line, NULL, "%s", why.msg);
		rc = RC_OK;
	} else if (rc == RC_FAIL) {
		(void)err_set(e, rc, why.code, "%s: %s", im->file, why.msg);
	} else if (import_is_shopify(&header)) {
		rc = import_read_shopify(im, csv, &header, e);
	} else if (import_is_woo(&header)) {
		rc = import_read_woo(im, csv, &header, e);
	} else {
		import_wrong(im, header.line, NULL,
		    "not a product file: the first line must be the header of"
		    " a Shopify product CSV (Handle, Title, Variant Price) or"
		    " a WooCommerce one in English (Type, Name, Regular"
		    " price), or each line a JSON object");
	}
	csv_free(csv);
	return rc;
}

enum rc
import_read_file(struct import *im, const struct import_file *file, int file_no,
    struct err *e)
{
	im->file = file->name;
	im->file_no = file_no;
	im->fd = file->fd;
	im->warned_stock = false;
	if (head_fill(im) < 0)
		return err_set(e, RC_FAIL, "unreadable",
		    "%s: cannot be read: %s", file->name, strerror(errno));
	if (head_is_json(im))
		return import_read_jsonl(im, e);
	return read_csv(im, e);
}

/* ---- cells */

void
import_columns_find(struct import_columns *cols, const char *const name[],
    const struct csv_record *header)
{
	cols->name = name;
	for (int i = 0; name[i] != NULL; i++) {
		assert(i < (int)(sizeof cols->at / sizeof *cols->at));
		cols->at[i] = -1;
		for (int k = header->n - 1; k >= 0; k--) {
			if (strcasecmp(header->field[k].p, name[i]) == 0)
				cols->at[i] = k;
		}
	}
}

const char *
import_cell(struct import *im, const struct import_columns *cols,
    const struct csv_record *r, int column)
{
	if (cols->at[column] < 0)
		return "";

	struct span s = r->field[cols->at[column]];

	while (s.n > 0 && strchr(" \t\r\n", s.p[0]) != NULL)
		s.p++, s.n--;
	while (s.n > 0 && strchr(" \t\r\n", s.p[s.n - 1]) != NULL)
		s.n--;
	return s.n == 0 ? "" : arena_strndup(im->arena, s.p, s.n);
}

enum rc
import_row_next(struct import_row *row, struct csv *csv, struct csv_record *r,
    struct err *e)
{
	struct import *im = row->im;

	while (!import_enough(im)) {
		struct err why = ERR_INIT;
		enum rc rc = csv_next(csv, r, &why);

		if (rc == RC_OK || rc == RC_NONE)
			return rc;
		if (rc == RC_FAIL)
			return err_set(
			    e, rc, why.code, "%s: %s", im->file, why.msg);
		import_wrong(im, r->line, NULL, "%s", why.msg);
	}
	return RC_NONE;
}

bool
import_price(struct import *im, int64_t line, const char *column, const char *s,
    int64_t *out)
{
	if (money_parse(span_of(s), im->currency, out))
		return true;
	import_wrong(im, line, column,
	    "\"%.40s\" is not a price in %s: write it like 12%s, without sign"
	    " or thousands separator",
	    s, im->currency,
	    money_exponent(im->currency) == 0   ? "00"
	    : money_exponent(im->currency) == 3 ? ".500"
						: ".50");
	return false;
}

bool
import_count(struct import *im, int64_t line, const char *column, const char *s,
    int64_t *out)
{
	struct span whole = span_of(s);
	const char *point = strchr(s, '.');

	/* "3.0" and "3.0000" come out of spreadsheets and WooCommerce. */
	if (point != NULL && point[1] != '\0' &&
	    point[1 + strspn(point + 1, "0")] == '\0')
		whole.n = (size_t)(point - s);
	if (!text_int(whole, INT64_MIN, INT64_MAX, out) ||
	    *out > IMPORT_MAX_STOCK) {
		import_wrong(im, line, column,
		    "\"%.40s\" is not a whole number up to %d", s,
		    IMPORT_MAX_STOCK);
		return false;
	}
	if (*out < 0) {
		import_warn(im, line, column, "%s is taken as 0", s);
		*out = 0;
	}
	return true;
}

void
import_tags(
    struct import *im, struct import_product *p, int64_t line, const char *s)
{
	while (*s != '\0') {
		size_t n = strcspn(s, ","), next = n + (s[n] == ',');
		const char *tag = s;
		bool known = false;

		while (n > 0 && *tag == ' ')
			tag++, n--;
		while (n > 0 && tag[n - 1] == ' ')
			n--;
		for (int i = 0; i < p->n_tags; i++)
			known |= strlen(p->tag[i]) == n &&
				 strncmp(p->tag[i], tag, n) == 0;
		if (n > 0 && !known && p->n_tags == IMPORT_MAX_TAGS) {
			import_wrong(im, line, im->names->tags,
			    "more than %d tags: leave some out",
			    IMPORT_MAX_TAGS);
			return;
		}
		if (n > 0 && !known)
			p->tag[p->n_tags++] = arena_strndup(im->arena, tag, n);
		s += next;
	}
}

const char *
import_url(struct import *im, const char *s)
{
	if (strncmp(s, "//", 2) == 0)
		s = arena_printf(im->arena, "https:%s", s);
	for (const char *p = s; *p != '\0'; p++) {
		if ((unsigned char)*p <= ' ' || strchr("\"<>\\^`{|}", *p))
			return NULL;
	}
	if (strncasecmp(s, "https://", 8) == 0 && strchr("/?#", s[8]) == NULL)
		return s;
	if (strncasecmp(s, "http://", 7) == 0 && strchr("/?#", s[7]) == NULL)
		return s;
	return strncmp(s, "/media/", 7) == 0 && s[7] != '\0' ? s : NULL;
}

/* ---- parts */

/* The array doubled when it is full: powers of two from 4. */
static void *
grown(struct import *im, void *old, int n, size_t size)
{
	if (n != 0 && (n < 4 || (n & (n - 1)) != 0))
		return old;

	void *more = arena_calloc(im->arena, n < 4 ? 4 : (size_t)n * 2, size);

	if (n > 0)
		memcpy(more, old, (size_t)n * size);
	return more;
}

static bool
too_many(struct import *im, int n, int64_t line, const char *what)
{
	if (n == IMPORT_MAX_PARTS)
		import_wrong(im, line, NULL, "more than %d %s of one product",
		    IMPORT_MAX_PARTS, what);
	return n >= IMPORT_MAX_PARTS;
}

struct import_variant *
import_more_variant(struct import *im, struct import_product *p, int64_t line)
{
	if (too_many(im, p->n_variants, line, "variants"))
		return NULL;
	p->variant = grown(im, p->variant, p->n_variants, sizeof *p->variant);
	p->variant[p->n_variants] = (struct import_variant){
		.line = line, .compare_at = -1, .barcode = ""
	};
	return &p->variant[p->n_variants++];
}

struct import_image *
import_more_image(struct import *im, struct import_product *p, int64_t line)
{
	if (too_many(im, p->n_images, line, "pictures"))
		return NULL;
	p->image = grown(im, p->image, p->n_images, sizeof *p->image);
	p->image[p->n_images] = (struct import_image){
		.line = line, .alt = "", .position = p->n_images + 1
	};
	return &p->image[p->n_images++];
}

struct import_review *
import_more_review(struct import *im, struct import_product *p, int64_t line)
{
	if (too_many(im, p->n_reviews, line, "reviews"))
		return NULL;
	p->review = grown(im, p->review, p->n_reviews, sizeof *p->review);
	p->review[p->n_reviews] =
	    (struct import_review){ .line = line, .title = "", .body = "" };
	return &p->review[p->n_reviews++];
}

void
import_add_image(struct import *im, struct import_product *p, int64_t line,
    const char *src, const char *alt, int64_t position)
{
	struct import_image *image;

	for (int i = 0; i < p->n_images; i++) {
		if (strcmp(p->image[i].src, src) == 0)
			return;
	}
	if ((image = import_more_image(im, p, line)) == NULL)
		return;
	image->src = src;
	image->alt = alt;
	if (position > 0)
		image->position = position;
}

/* ---- checks */

static size_t
count_chars(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void
check_text(struct import *im, int64_t line, const char *column, const char *s,
    size_t max)
{
	if (s != NULL && count_chars(s) > max)
		import_wrong(im, line, column,
		    "longer than %zu characters: shorten it", max);
	if (s != NULL && !text_plain(s))
		import_wrong(
		    im, line, column, "holds a control character: take it out");
}

static void
check_variant(struct import *im, const struct import_product *p,
    const struct import_variant *v)
{
	check_text(im, v->line, im->names->sku, v->sku, 255);
	check_text(im, v->line, im->names->barcode, v->barcode, 255);
	for (int i = 0; i < v->n_options; i++)
		check_text(im, v->line, im->names->option, v->option[i], 255);
	/* Names come with the first part of a product that is spread. */
	if (p->title != NULL && p->n_options > 0 &&
	    v->n_options != p->n_options)
		import_wrong(im, v->line, im->names->option,
		    "the variant has %d of the product's %d options: fill"
		    " in the others",
		    v->n_options, p->n_options);
	if (v->compare_at >= 0 && v->compare_at <= v->price)
		import_warn(im, v->line, im->names->price,
		    "the price compared with is not higher: left out");
}

static void
check_image(struct import *im, struct import_image *image)
{
	const char *src = import_url(im, image->src);

	if (src == NULL)
		import_wrong(im, image->line, im->names->image,
		    "\"%.80s\" is no address of a picture: begin it with"
		    " https:// (or /media/), with %%20 for a space",
		    image->src);
	else
		image->src = src;
	check_text(im, image->line, im->names->image, image->src, 2000);
	check_text(im, image->line, im->names->alt, image->alt, 1000);
}

static void
check_review(struct import *im, const struct import_review *r)
{
	if (r->author[0] == '\0')
		import_wrong(im, r->line, im->names->review,
		    "a review has no author: name one");
	if (r->rating < 1 || r->rating > 5)
		import_wrong(im, r->line, im->names->review,
		    "a rating is a number from 1 to 5");
	check_text(im, r->line, im->names->review, r->author, 255);
	check_text(im, r->line, im->names->review, r->title, 500);
	check_text(im, r->line, im->names->review, r->body, 10000);
}

static void
check_handle(struct import *im, const struct import_product *p)
{
	const char *h = p->handle;
	bool ok = h[0] != '\0' && strchr("_.-", h[0]) == NULL;

	for (; *h != '\0'; h++) {
		unsigned char c = (unsigned char)*h;

		ok &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || c >= 0x80 ||
		      strchr("_.-", c) != NULL;
	}
	if (!ok)
		import_wrong(im, p->line, im->names->handle,
		    "\"%.80s\" cannot be part of an address: use letters,"
		    " digits and hyphens, such as blue-shirt",
		    p->handle);
	check_text(im, p->line, im->names->handle, p->handle, 255);
}

static void
check_head(struct import *im, struct import_product *p)
{
	struct err why = ERR_INIT;

	check_handle(im, p);
	if (text_blank(p->title) && !p->spread)
		import_wrong(im, p->line, im->names->title,
		    "empty: every product needs a title");
	check_text(im, p->line, im->names->title, p->title, 500);
	check_text(im, p->line, im->names->vendor, p->vendor, 255);
	check_text(im, p->line, im->names->type, p->type, 255);
	check_text(im, p->line, im->names->seo_title, p->seo_title, 500);
	check_text(
	    im, p->line, im->names->seo_description, p->seo_description, 1000);
	for (int i = 0; i < p->n_tags; i++)
		check_text(im, p->line, im->names->tags, p->tag[i], 255);
	for (int i = 0; i < p->n_options; i++)
		check_text(im, p->line, im->names->option, p->option[i], 255);
	if (richtext_clean(span_of(p->description), im->arena, &p->description,
		&p->summary, &why) != RC_OK)
		import_wrong(
		    im, p->line, im->names->description, "%s", why.msg);
}

enum rc
import_give(struct import *im, struct import_product *p, struct err *e)
{
	int before = im->report->errors;

	p->file = im->file_no;
	if (p->title != NULL)
		check_head(im, p);
	for (int i = 0; i < p->n_variants; i++) {
		struct import_variant *v = &p->variant[i];
		const char *image =
		    v->image == NULL ? NULL : import_url(im, v->image);

		check_variant(im, p, v);
		if (v->compare_at <= v->price)
			v->compare_at = -1;
		if (image != NULL)
			v->image = image; /* else noted with the pictures */
	}
	for (int i = 0; i < p->n_images; i++)
		check_image(im, &p->image[i]);
	for (int i = 0; i < p->n_reviews; i++)
		check_review(im, &p->review[i]);
	im->report->variants += p->n_variants;
	im->report->images += p->n_images;
	im->report->rows++;
	if (im->progress != NULL)
		im->progress(im->progress_arg, "reading", im->report);
	if (im->report->errors > before || before > 0)
		return RC_OK; /* nothing will be written: only look on */
	return im->take(im->arg, p, e);
}
