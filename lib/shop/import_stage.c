/*
 * Products go into temporary tables by COPY, one table after the other, as a
 * connection can run one COPY at a time: rows are collected to about 1 MiB.
 */
#include "shop/import_int.h"

#include <stdlib.h>

#include "base/strbuf.h"
#include "base/xmalloc.h"
#include "store/pg.h"

enum { BATCH_BYTES = 1 << 20 };

enum table { T_PRODUCT, T_VARIANT, T_IMAGE, T_REVIEW, TABLES };

static const char *const copy_sql[TABLES] = {
	"COPY import_product FROM STDIN",
	"COPY import_variant FROM STDIN",
	"COPY import_image FROM STDIN",
	"COPY import_review FROM STDIN",
};

struct import_stage {
	struct pg *pg;
	int64_t ord; /* of the next row of any table */
	struct strbuf rows[TABLES];
	struct strbuf array; /* one being made */
};

struct import_stage *
import_stage_new(struct pg *pg)
{
	struct import_stage *stage = xcalloc(1, sizeof *stage);

	stage->pg = pg;
	for (int t = 0; t < TABLES; t++)
		strbuf_init(&stage->rows[t], 65536);
	strbuf_init(&stage->array, 256);
	return stage;
}

void
import_stage_free(struct import_stage *stage)
{
	if (stage == NULL)
		return;
	for (int t = 0; t < TABLES; t++)
		strbuf_release(&stage->rows[t]);
	strbuf_release(&stage->array);
	free(stage);
}

/* Fields end with a tab; row_end makes the last one a newline. */
static void
put(struct strbuf *row, const char *s)
{
	pg_copy_field(row, span_of(s));
	strbuf_addc(row, '\t');
}

static void
put_int(struct strbuf *row, int64_t n)
{
	strbuf_addf(row, "%lld\t", (long long)n);
}

/* n < 0 (or 0 where zero is no value) is NULL. */
static void
put_int_or_null(struct strbuf *row, int64_t n, int64_t least)
{
	if (n < least)
		strbuf_adds(row, "\\N\t");
	else
		put_int(row, n);
}

static void
put_array(struct import_stage *stage, struct strbuf *row, int n,
    const char *const s[])
{
	struct strbuf *a = &stage->array;

	strbuf_reset(a);
	strbuf_addc(a, '{');
	for (int i = 0; i < n; i++) {
		strbuf_adds(a, i > 0 ? ",\"" : "\"");
		for (const char *p = s[i]; *p != '\0'; p++) {
			if (*p == '"' || *p == '\\')
				strbuf_addc(a, '\\');
			strbuf_addc(a, *p);
		}
		strbuf_addc(a, '"');
	}
	strbuf_addc(a, '}');
	pg_copy_field(row, strbuf_span(a));
	strbuf_addc(row, '\t');
}

static void
row_end(struct strbuf *row)
{
	row->s[row->len - 1] = '\n';
}

static void
put_variant(struct import_stage *stage, const struct import_product *p,
    const struct import_variant *v)
{
	struct strbuf *row = &stage->rows[T_VARIANT];

	put_int(row, stage->ord++);
	put_int(row, p->file);
	put_int(row, v->line);
	put(row, p->key);
	put(row, p->parent);
	put(row, v->sku);
	put_array(stage, row, v->name[0] == NULL ? 0 : v->n_options, v->name);
	put_array(stage, row, v->n_options, v->option);
	put_int(row, v->price);
	put_int_or_null(row, v->compare_at, 0);
	put_int(row, v->stock);
	put(row, v->barcode);
	put_int(row, v->grams);
	put(row, v->image);
	row_end(row);
}

static void
put_image(struct import_stage *stage, const struct import_product *p,
    const struct import_image *i)
{
	struct strbuf *row = &stage->rows[T_IMAGE];

	put_int(row, stage->ord++);
	put_int(row, p->file);
	put(row, p->key);
	put(row, p->parent);
	/* Of a variation: behind the product's own. */
	put_int(row, i->position + (p->title == NULL ? 1000000 : 0));
	put(row, i->src);
	put(row, i->alt);
	put_int_or_null(row, i->width, 1);
	put_int_or_null(row, i->height, 1);
	row_end(row);
}

static void
put_review(struct import_stage *stage, const struct import_product *p,
    const struct import_review *r)
{
	struct strbuf *row = &stage->rows[T_REVIEW];

	put_int(row, stage->ord++);
	put(row, p->key);
	put(row, r->author);
	put_int(row, r->rating);
	put(row, r->title);
	put(row, r->body);
	put(row, r->created_at);
	row_end(row);
}

static void
put_product(struct import_stage *stage, const struct import_product *p)
{
	struct strbuf *row = &stage->rows[T_PRODUCT];

	put_int(row, stage->ord++);
	put_int(row, p->file);
	put_int(row, p->line);
	put(row, p->key);
	put(row, p->ref_id);
	put(row, p->ref_sku);
	put(row, p->spread ? "t" : "f");
	put(row, p->by_name ? "t" : "f");
	put(row, p->handle);
	put(row, p->title);
	put(row, p->description);
	put(row, p->summary);
	put(row, p->vendor);
	put(row, p->type);
	put_array(stage, row, p->n_tags, p->tag);
	put_array(stage, row, p->n_options, p->option);
	put(row, p->status);
	put(row, p->seo_title);
	put(row, p->seo_description);
	row_end(row);
}

enum rc
import_stage_take(void *arg, const struct import_product *p, struct err *e)
{
	struct import_stage *stage = arg;
	size_t bytes = 0;

	if (p->title != NULL)
		put_product(stage, p);
	for (int i = 0; i < p->n_variants; i++)
		put_variant(stage, p, &p->variant[i]);
	for (int i = 0; i < p->n_images; i++)
		put_image(stage, p, &p->image[i]);
	for (int i = 0; i < p->n_reviews; i++)
		put_review(stage, p, &p->review[i]);
	for (int t = 0; t < TABLES; t++)
		bytes += stage->rows[t].len;
	return bytes < BATCH_BYTES ? RC_OK : import_stage_flush(stage, e);
}

enum rc
import_stage_flush(struct import_stage *stage, struct err *e)
{
	enum rc rc = RC_OK;

	for (int t = 0; t < TABLES && rc == RC_OK; t++) {
		struct strbuf *rows = &stage->rows[t];

		if (rows->len == 0)
			continue;
		if ((rc = pg_copy_begin(stage->pg, copy_sql[t], e)) == RC_OK &&
		    (rc = pg_copy_data(stage->pg, strbuf_span(rows), e)) ==
			RC_OK)
			rc = pg_copy_end(stage->pg, e);
		strbuf_reset(rows);
	}
	return rc;
}
