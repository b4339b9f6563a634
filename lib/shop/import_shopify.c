/*
 * Shopify's product CSV: one row a variant or a further picture; the rows of a
 * product share its Handle, and the first one has what belongs to the product.
 * The rows of one handle are given together; where others come later in the
 * file, as files put together by hand have it, the merge joins them.
 */
#include "shop/import_int.h"

#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/csv.h"
#include "base/text.h"

enum column {
	C_HANDLE,
	C_TITLE,
	C_BODY,
	C_VENDOR,
	C_TYPE,
	C_TAGS,
	C_PUBLISHED,
	C_STATUS,
	C_NAME1,
	C_NAME2,
	C_NAME3,
	C_VALUE1,
	C_VALUE2,
	C_VALUE3,
	C_SKU,
	C_GRAMS,
	C_QTY,
	C_PRICE,
	C_COMPARE,
	C_BARCODE,
	C_IMAGE,
	C_IMAGE_POSITION,
	C_IMAGE_ALT,
	C_SEO_TITLE,
	C_SEO_DESCRIPTION,
	C_VARIANT_IMAGE
};

static const char *const columns[] = { "Handle", "Title", "Body (HTML)",
	"Vendor", "Type", "Tags", "Published", "Status", "Option1 Name",
	"Option2 Name", "Option3 Name", "Option1 Value", "Option2 Value",
	"Option3 Value", "Variant SKU", "Variant Grams",
	"Variant Inventory Qty", "Variant Price", "Variant Compare At Price",
	"Variant Barcode", "Image Src", "Image Position", "Image Alt Text",
	"SEO Title", "SEO Description", "Variant Image", NULL };

/* The same by the names that Shopify gives them since 2025. */
static const char *const new_columns[] = { "URL handle", "Title", "Description",
	"Vendor", "Type", "Tags", "Published on online store", "Status",
	"Option1 name", "Option2 name", "Option3 name", "Option1 value",
	"Option2 value", "Option3 value", "SKU", "Weight value (grams)",
	"Inventory quantity", "Price", "Compare-at price", "Barcode",
	"Product image URL", "Image position", "Image alt text", "SEO title",
	"SEO description", "Variant image URL", NULL };

static const struct import_names names = {
	.handle = "Handle",
	.title = "Title",
	.description = "Body (HTML)",
	.vendor = "Vendor",
	.type = "Type",
	.tags = "Tags",
	.option = "Option1 Value",
	.sku = "Variant SKU",
	.price = "Variant Price",
	.barcode = "Variant Barcode",
	.image = "Image Src",
	.alt = "Image Alt Text",
	.seo_title = "SEO Title",
	.seo_description = "SEO Description",
	.review = "",
};

static const struct import_names new_names = {
	.handle = "URL handle",
	.title = "Title",
	.description = "Description",
	.vendor = "Vendor",
	.type = "Type",
	.tags = "Tags",
	.option = "Option1 value",
	.sku = "SKU",
	.price = "Price",
	.barcode = "Barcode",
	.image = "Product image URL",
	.alt = "Image alt text",
	.seo_title = "SEO title",
	.seo_description = "SEO description",
	.review = "",
};

/* By either set of names; true: the new one. */
static bool
find_columns(struct import_columns *cols, const struct csv_record *header)
{
	import_columns_find(cols, columns, header);
	if (cols->at[C_HANDLE] >= 0)
		return false;
	import_columns_find(cols, new_columns, header);
	return true;
}

bool
import_is_shopify(const struct csv_record *header)
{
	struct import_columns cols;

	(void)find_columns(&cols, header);
	return cols.at[C_HANDLE] >= 0 && cols.at[C_TITLE] >= 0 &&
	       (cols.at[C_PRICE] >= 0 || cols.at[C_BODY] >= 0);
}

static const char *
status_of(struct import_row *rd)
{
	static const char *const known[] = { "active", "draft", "archived" };
	const char *status = row_cell(rd, C_STATUS);
	const char *published = row_cell(rd, C_PUBLISHED);
	const char *found = NULL;

	for (int i = 0; i < 3; i++) {
		if (strcasecmp(status, known[i]) == 0)
			found = known[i];
	}
	if (found == NULL && status[0] != '\0')
		import_wrong(rd->im, rd->r->line, "Status",
		    "\"%.40s\" is none of active, draft, archived", status);
	if (found != NULL && strcmp(found, "active") != 0)
		return found;
	return strcasecmp(published, "false") == 0 ? "draft" : "active";
}

static void
read_head(struct import_row *rd, struct import_product *p)
{
	p->line = rd->r->line;
	p->spread = true;
	p->key = p->handle = row_cell(rd, C_HANDLE);
	p->title = row_cell(rd, C_TITLE);
	p->description = row_cell(rd, C_BODY);
	p->vendor = row_cell(rd, C_VENDOR);
	p->type = row_cell(rd, C_TYPE);
	p->seo_title = row_cell(rd, C_SEO_TITLE);
	p->seo_description = row_cell(rd, C_SEO_DESCRIPTION);
	p->status = status_of(rd);
	import_tags(rd->im, p, rd->r->line, row_cell(rd, C_TAGS));
	for (int i = 0; i < 3; i++) {
		const char *name = row_cell(rd, (int)C_NAME1 + i);

		if (name[0] == '\0')
			break;
		p->option[p->n_options++] = name;
	}
	/* "Title: Default Title" is Shopify's way to say: no options. */
	if (p->n_options == 1 && strcasecmp(p->option[0], "Title") == 0 &&
	    strcasecmp(row_cell(rd, C_VALUE1), "Default Title") == 0)
		p->n_options = 0;
}

static void
read_stock(struct import_row *rd, struct import_variant *v)
{
	const char *s = row_cell(rd, C_QTY);

	if (rd->cols.at[C_QTY] < 0 && !rd->im->warned_stock) {
		rd->im->warned_stock = true;
		import_warn(rd->im, 0, rd->cols.name[C_QTY],
		    "the file has no such column: all stock is 0; add it, or"
		    " set the stock after the import");
	}
	if (s[0] != '\0')
		(void)import_count(
		    rd->im, rd->r->line, rd->cols.name[C_QTY], s, &v->stock);
}

/* "2.5" grams are 2. */
static void
read_grams(struct import_row *rd, struct import_variant *v)
{
	const char *s = row_cell(rd, C_GRAMS);
	size_t digits = strspn(s, "0123456789");

	if (s[0] == '\0')
		return;
	if (!text_int((struct span){ s, digits }, 0, 1000000000, &v->grams) ||
	    (s[digits] != '\0' && s[digits] != '.'))
		import_wrong(rd->im, rd->r->line, rd->cols.name[C_GRAMS],
		    "\"%.40s\" is not a weight in grams", s);
}

static void
read_options(struct import_row *rd, const struct import_product *p,
    struct import_variant *v)
{
	for (int i = 0; i < 3; i++) {
		const char *value = row_cell(rd, (int)C_VALUE1 + i);

		if (value[0] == '\0')
			break;
		v->option[v->n_options++] = value;
	}
	if (v->n_options == 1 && p->n_options == 0 &&
	    strcasecmp(v->option[0], "Default Title") == 0)
		v->n_options = 0;
	else if (p->title[0] != '\0' && v->n_options > 0 && p->n_options == 0)
		import_wrong(rd->im, rd->r->line, rd->cols.name[C_NAME1],
		    "empty, but there is an Option1 Value: name the option");
}

static void
read_variant(struct import_row *rd, struct import_product *p)
{
	struct import *im = rd->im;
	int64_t line = rd->r->line;
	struct import_variant *v = import_more_variant(im, p, line);
	const char *sku = row_cell(rd, C_SKU), *price = row_cell(rd, C_PRICE);
	const char *compare = row_cell(rd, C_COMPARE);
	const char *barcode = row_cell(rd, C_BARCODE);
	const char *image = row_cell(rd, C_VARIANT_IMAGE);

	if (v == NULL)
		return;
	v->sku = sku[0] == '\0' ? NULL : sku;
	v->barcode = barcode[0] == '\'' ? barcode + 1 : barcode;
	if (price[0] == '\0')
		import_wrong(im, line, rd->cols.name[C_PRICE],
		    "empty: every variant needs a price");
	else
		(void)import_price(
		    im, line, rd->cols.name[C_PRICE], price, &v->price);
	if (compare[0] != '\0' &&
	    import_price(
		im, line, rd->cols.name[C_COMPARE], compare, &v->compare_at) &&
	    v->compare_at == 0)
		v->compare_at = -1; /* Shopify's way to say: none */
	read_stock(rd, v);
	read_grams(rd, v);
	read_options(rd, p, v);
	if (image[0] != '\0') {
		v->image = image;
		import_add_image(im, p, line, image, "", 0);
	}
}

static void
read_image(struct import_row *rd, struct import_product *p)
{
	const char *src = row_cell(rd, C_IMAGE);
	const char *position = row_cell(rd, C_IMAGE_POSITION);
	int64_t at = 0;

	if (src[0] == '\0')
		return;
	if (position[0] != '\0' &&
	    !text_int(span_of(position), 1, 1000000, &at))
		import_wrong(rd->im, rd->r->line,
		    rd->cols.name[C_IMAGE_POSITION],
		    "\"%.40s\" is not a number from 1", position);
	import_add_image(
	    rd->im, p, rd->r->line, src, row_cell(rd, C_IMAGE_ALT), at);
}

static bool
has_variant(struct import_row *rd)
{
	return row_cell(rd, C_PRICE)[0] != '\0' ||
	       row_cell(rd, C_SKU)[0] != '\0' ||
	       row_cell(rd, C_VALUE1)[0] != '\0';
}

static struct import_product *
product_new(struct import *im)
{
	return arena_calloc(im->arena, 1, sizeof(struct import_product));
}

enum rc
import_read_shopify(struct import *im, struct csv *csv,
    const struct csv_record *header, struct err *e)
{
	struct csv_record r;
	struct import_row rd = { .im = im, .r = &r };
	struct import_product *p = NULL;
	enum rc rc = RC_OK;

	im->names = find_columns(&rd.cols, header) ? &new_names : &names;
	while (
	    rc == RC_OK && (rc = import_row_next(&rd, csv, &r, e)) == RC_OK) {
		const char *handle = row_cell(&rd, C_HANDLE);

		if (handle[0] == '\0') {
			import_wrong(im, r.line, im->names->handle,
			    "empty: every row needs its product's handle");
			continue;
		}
		if (p != NULL && strcmp(p->handle, handle) != 0) {
			rc = import_give(im, p, e);
			arena_reset(im->arena);
			p = NULL;
		}
		if (p == NULL) {
			p = product_new(im);
			read_head(&rd, p);
		}
		/* Pictures first: a variant's own may be among them. */
		read_image(&rd, p);
		if (has_variant(&rd))
			read_variant(&rd, p);
	}
	if (rc == RC_NONE)
		rc = p == NULL || import_enough(im) ? RC_OK
						    : import_give(im, p, e);
	arena_reset(im->arena);
	return rc;
}
