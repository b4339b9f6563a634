/*
 * WooCommerce's product CSV (its English column names): one row a product, or
 * a variation, whose Parent names its product as "id:NN" or by SKU, anywhere in
 * the file. So rows are given as they come, and the merge finds the parents.
 * The file has no handles: they are made from the names.
 */
#include "shop/import_int.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/csv.h"
#include "base/strbuf.h"
#include "base/text.h"

enum { MAX_ATTRIBUTES = IMPORT_MAX_OPTIONS };

enum column {
	C_ID,
	C_TYPE,
	C_SKU,
	C_NAME,
	C_PUBLISHED,
	C_SHORT,
	C_DESCRIPTION,
	C_IN_STOCK,
	C_STOCK,
	C_SALE,
	C_REGULAR,
	C_CATEGORIES,
	C_TAGS,
	C_IMAGES,
	C_PARENT,
	C_BRANDS,
	C_GTIN,
	C_KG,
	C_G,
	C_LBS,
	C_OZ,
	C_ATTRIBUTE /* name and value by turns */
};

static const char *const columns[] = { "ID", "Type", "SKU", "Name", "Published",
	"Short description", "Description", "In stock?", "Stock", "Sale price",
	"Regular price", "Categories", "Tags", "Images", "Parent", "Brands",
	"GTIN, UPC, EAN, or ISBN", "Weight (kg)", "Weight (g)", "Weight (lbs)",
	"Weight (oz)", "Attribute 1 name", "Attribute 1 value(s)",
	"Attribute 2 name", "Attribute 2 value(s)", "Attribute 3 name",
	"Attribute 3 value(s)", "Attribute 4 name", "Attribute 4 value(s)",
	"Attribute 5 name", "Attribute 5 value(s)", NULL };

static const struct import_names names = {
	.handle = "Name",
	.title = "Name",
	.description = "Description",
	.vendor = "Brands",
	.type = "Categories",
	.tags = "Tags",
	.option = "Attribute 1 value(s)",
	.sku = "SKU",
	.price = "Regular price",
	.barcode = "GTIN, UPC, EAN, or ISBN",
	.image = "Images",
	.alt = "Images",
	.seo_title = "",
	.seo_description = "",
	.review = "",
};

bool
import_is_woo(const struct csv_record *header)
{
	struct import_columns cols;

	import_columns_find(&cols, columns, header);
	return cols.at[C_TYPE] >= 0 && cols.at[C_NAME] >= 0 &&
	       cols.at[C_REGULAR] >= 0;
}

/* One of the words of a cell such as "simple, virtual". */
static bool
has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	while (*list != '\0') {
		list += strspn(list, ", ");
		size_t len = strcspn(list, ", ");

		if (len == n && strncasecmp(list, word, n) == 0)
			return true;
		list += len;
	}
	return false;
}

/* "Blue Shirt, XL" -> "blue-shirt-xl"; "" where nothing of it is ASCII. */
static const char *
slug(struct import *im, const char *s)
{
	char *out = arena_alloc(im->arena, strlen(s) + 1), *p = out;

	for (; *s != '\0' && p - out < 200; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x80 && isalnum(c))
			*p++ = (char)tolower(c);
		else if (c != '\'' && p > out && p[-1] != '-')
			*p++ = '-';
	}
	while (p > out && p[-1] == '-')
		p--;
	*p = '\0';
	return out;
}

/*
 * Descriptions have their line ends as "\n", and WordPress takes an empty line
 * as the end of a paragraph, between elements too: here an empty block says so.
 */
static const char *
unescape(struct import *im, const char *s)
{
	struct strbuf out;

	strbuf_init(&out, strlen(s) + 64);
	while (*s != '\0') {
		size_t lines = 0;

		while (strncmp(s, "\\n", 2) == 0 || *s == '\n' || *s == '\r') {
			lines += *s != '\r';
			s += *s == '\\' ? 2 : 1;
		}
		if (lines > 0)
			strbuf_adds(&out, lines > 1 ? "<div></div>" : "\n");
		else if (s[0] == '\\' && s[1] == ',')
			s++;
		else if (*s != '\0')
			strbuf_addc(&out, *s++);
	}

	const char *text = arena_strndup(im->arena, out.s, out.len);

	strbuf_release(&out);
	return text;
}

/* The last part of the first of "Clothing > Shirts, Sale". */
static const char *
category(struct import *im, const char *s)
{
	size_t n = strcspn(s, ",");

	for (size_t i = n; i > 0; i--) {
		if (s[i - 1] == '>') {
			s += i;
			n -= i;
			break;
		}
	}
	while (n > 0 && *s == ' ')
		s++, n--;
	while (n > 0 && s[n - 1] == ' ')
		n--;
	return arena_strndup(im->arena, s, n);
}

static void
read_images(struct import_row *rd, struct import_product *p, const char **first)
{
	const char *s = row_cell(rd, C_IMAGES);

	while (*s != '\0') {
		size_t n;

		s += strspn(s, ", ");
		n = strcspn(s, ",");
		if (n == 0)
			break;
		char *src = arena_strndup(rd->im->arena, s, n);

		while (n > 0 && src[n - 1] == ' ')
			src[--n] = '\0';
		if (first != NULL && *first == NULL)
			*first = src;
		import_add_image(rd->im, p, rd->r->line, src, "", 0);
		s += strcspn(s, ",");
	}
}

/* "0.25" in a unit of so many milligrams. */
static void
read_weight(struct import_row *rd, struct import_variant *v)
{
	static const struct {
		enum column column;
		int64_t milligrams;
	} units[] = { { C_KG, 1000000 }, { C_G, 1000 }, { C_LBS, 453592 },
		{ C_OZ, 28350 } };

	for (int i = 0; i < 4; i++) {
		const char *s = row_cell(rd, (int)units[i].column);
		int64_t n = 0, scale = 1;
		bool point = false;

		for (const char *p = s; *p != '\0'; p++) {
			if (*p == '.' && !point) {
				point = true;
				continue;
			}
			if (!isdigit((unsigned char)*p) || n > 100000000) {
				import_wrong(rd->im, rd->r->line,
				    columns[units[i].column],
				    "\"%.40s\" is not a weight", s);
				return;
			}
			if (point && scale == 1000)
				continue; /* finer than we keep */
			n = n * 10 + (*p - '0');
			scale *= point ? 10 : 1;
		}
		if (n > 0)
			v->grams = n * units[i].milligrams / scale / 1000;
	}
	if (v->grams > 1000000000)
		v->grams = 1000000000;
}

static void
read_stock(struct import_row *rd, struct import_variant *v)
{
	const char *stock = row_cell(rd, C_STOCK),
		   *in = row_cell(rd, C_IN_STOCK);

	if (stock[0] != '\0' && strcasecmp(stock, "parent") != 0) {
		(void)import_count(
		    rd->im, rd->r->line, columns[C_STOCK], stock, &v->stock);
		return;
	}
	if (strcmp(in, "1") != 0)
		return;
	/* Sold there without counting; here everything is counted. */
	v->stock = 100;
	if (!rd->im->warned_stock)
		import_warn(rd->im, rd->r->line, columns[C_STOCK],
		    "empty, but in stock: taken as 100, here and in further"
		    " rows");
	rd->im->warned_stock = true;
}

/* False: no price at all. */
static bool
read_price(struct import_row *rd, struct import_variant *v)
{
	const char *sale = row_cell(rd, C_SALE),
		   *regular = row_cell(rd, C_REGULAR);
	int64_t line = rd->r->line;

	if (regular[0] == '\0') {
		import_wrong(rd->im, line, columns[C_REGULAR],
		    "empty: everything sold needs a price; set one or leave"
		    " the row out");
		return false;
	}
	if (!import_price(
		rd->im, line, columns[C_REGULAR], regular, &v->price) ||
	    sale[0] == '\0')
		return true;
	v->compare_at = v->price;
	(void)import_price(rd->im, line, columns[C_SALE], sale, &v->price);
	return true;
}

static void
read_variant(struct import_row *rd, struct import_product *p, bool variation)
{
	struct import_variant *v = import_more_variant(rd->im, p, rd->r->line);
	const char *sku = row_cell(rd, C_SKU);

	if (v == NULL || !read_price(rd, v))
		return;
	v->sku = sku[0] == '\0' ? NULL : sku;
	v->barcode = row_cell(rd, C_GTIN);
	read_stock(rd, v);
	read_weight(rd, v);
	if (!variation)
		return;
	for (int i = 0; i < MAX_ATTRIBUTES; i++) {
		const char *name = row_cell(rd, C_ATTRIBUTE + 2 * i);
		const char *value = row_cell(rd, C_ATTRIBUTE + 2 * i + 1);

		if (name[0] == '\0')
			continue;
		v->name[v->n_options] = name;
		v->option[v->n_options++] = value[0] == '\0' ? "Any" : value;
	}
	if (v->n_options == 0)
		import_wrong(rd->im, rd->r->line, "Attribute 1 name",
		    "empty: a variation needs what sets it apart");
	read_images(rd, p, &v->image);
}

static void
read_head(struct import_row *rd, struct import_product *p)
{
	struct import *im = rd->im;
	const char *sku = row_cell(rd, C_SKU), *id = row_cell(rd, C_ID);
	const char *description = unescape(im, row_cell(rd, C_DESCRIPTION));
	const char *summary = unescape(im, row_cell(rd, C_SHORT));

	p->key = arena_printf(
	    im->arena, "%d:%lld", im->file_no, (long long)rd->r->line);
	p->ref_id = id[0] == '\0' ? NULL : id;
	p->ref_sku = sku[0] == '\0' ? NULL : sku;
	p->title = row_cell(rd, C_NAME);
	p->by_name = true;
	p->handle = slug(im, p->title);
	if (p->handle[0] == '\0')
		p->handle = arena_printf(im->arena, "product-%s",
		    slug(im, sku[0] != '\0' ? sku : id));
	p->description = summary[0] == '\0' ? description
			 : description[0] == '\0'
			     ? summary
			     : arena_printf(im->arena, "<div>%s</div>\n%s",
				   summary, description);
	p->vendor = row_cell(rd, C_BRANDS);
	p->type = category(im, row_cell(rd, C_CATEGORIES));
	p->status =
	    strcmp(row_cell(rd, C_PUBLISHED), "1") == 0 ? "active" : "draft";
	p->seo_title = p->seo_description = "";
	import_tags(im, p, rd->r->line, row_cell(rd, C_TAGS));
	read_images(rd, p, NULL);
}

static void
read_row(struct import_row *rd, struct import_product **out)
{
	struct import *im = rd->im;
	const char *type = row_cell(rd, C_TYPE);
	struct import_product *p = arena_calloc(im->arena, 1, sizeof *p);

	p->line = rd->r->line;
	*out = p;
	if (has_word(type, "variation")) {
		p->parent = row_cell(rd, C_PARENT);
		if (p->parent[0] == '\0')
			import_wrong(im, p->line, "Parent",
			    "empty: a variation names its product, as id:12"
			    " or by SKU");
		if (strcmp(row_cell(rd, C_PUBLISHED), "0") == 0)
			*out = NULL; /* switched off */
		else
			read_variant(rd, p, true);
	} else if (has_word(type, "variable")) {
		read_head(rd, p);
	} else if (has_word(type, "simple")) {
		read_head(rd, p);
		read_variant(rd, p, false);
	} else if (has_word(type, "grouped") || has_word(type, "external")) {
		import_warn(im, p->line, "Type",
		    "a product of type %s cannot be sold here: left out", type);
		*out = NULL;
	} else {
		import_wrong(im, p->line, "Type",
		    "\"%.40s\" is none of simple, variable, variation", type);
	}
}

enum rc
import_read_woo(struct import *im, struct csv *csv,
    const struct csv_record *header, struct err *e)
{
	struct csv_record r;
	struct import_row rd = { .im = im, .r = &r };
	struct import_product *p;
	enum rc rc = RC_OK;

	im->names = &names;
	import_columns_find(&rd.cols, columns, header);
	while (
	    rc == RC_OK && (rc = import_row_next(&rd, csv, &r, e)) == RC_OK) {
		read_row(&rd, &p);
		if (p != NULL)
			rc = import_give(im, p, e);
		arena_reset(im->arena);
	}
	return rc == RC_NONE ? RC_OK : rc;
}
