/*
 * What the readers make of files, without a database: each product is written
 * down as a line, then the faults and the warnings.
 */
#define _GNU_SOURCE /* memfd_create */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "shop/import_int.h"

static struct strbuf out;
static struct import_report report;

static void
given_nothing(void)
{
	strbuf_init(&out, 0);
	import_report_init(&report);
}

static void
all_gone(void)
{
	strbuf_release(&out);
	import_report_release(&report);
}

static void
put_variant(const struct import_variant *v)
{
	strbuf_addf(&out, " (%s", v->sku == NULL ? "-" : v->sku);
	for (int i = 0; i < v->n_options; i++)
		strbuf_addf(&out, " %s%s%s",
		    v->name[i] == NULL ? "" : v->name[i],
		    v->name[i] == NULL ? "" : ":", v->option[i]);
	strbuf_addf(&out, " %lld", (long long)v->price);
	if (v->compare_at >= 0)
		strbuf_addf(&out, " was %lld", (long long)v->compare_at);
	strbuf_addf(&out, " x%lld", (long long)v->stock);
	if (v->grams > 0)
		strbuf_addf(&out, " %lldg", (long long)v->grams);
	if (v->image != NULL)
		strbuf_addf(&out, " @%s", v->image);
	strbuf_addc(&out, ')');
}

static enum rc
write_down(void *arg, const struct import_product *p, struct err *e)
{
	(void)arg;
	(void)e;
	if (p->title != NULL) {
		strbuf_addf(&out, "%lld %s \"%s\" %s", (long long)p->line,
		    p->handle, p->title, p->status);
		for (int i = 0; i < p->n_tags; i++)
			strbuf_addf(&out, " #%s", p->tag[i]);
		for (int i = 0; i < p->n_options; i++)
			strbuf_addf(&out, " ?%s", p->option[i]);
		if (p->description[0] != '\0')
			strbuf_addf(&out, " %s", p->description);
	} else {
		strbuf_addf(&out, "%lld of %s", (long long)p->line, p->parent);
	}
	for (int i = 0; i < p->n_variants; i++)
		put_variant(&p->variant[i]);
	for (int i = 0; i < p->n_images; i++)
		strbuf_addf(&out, " [%lld %s%s%s]",
		    (long long)p->image[i].position, p->image[i].src,
		    p->image[i].alt[0] != '\0' ? " " : "", p->image[i].alt);
	for (int i = 0; i < p->n_reviews; i++)
		strbuf_addf(&out, " *%lld %s", (long long)p->review[i].rating,
		    p->review[i].author);
	strbuf_addc(&out, '\n');
	return RC_OK;
}

/* Through a pipe's eyes: a descriptor that is read once. */
static void
when_read(const char *text, const char *currency)
{
	static struct import im;
	int fd = memfd_create("catalogue", 0);
	struct import_file file = { "f", fd };
	struct err e = ERR_INIT;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	im = (struct import){ .currency = currency,
		.report = &report,
		.take = write_down,
		.arena = arena_new() };
	ck_assert_msg(
	    import_read_file(&im, &file, 1, &e) == RC_OK, "%s", e.msg);
	arena_free(im.arena);
	(void)close(fd);
}

#define SHOPIFY                                                                \
	"Handle,Title,Body (HTML),Tags,Published,Option1 Name,Option1 Value,"  \
	"Variant SKU,Variant Inventory Qty,Variant Price,"                     \
	"Variant Compare At Price,Image Src,Image Position,Variant Image\n"
#define WOO                                                                    \
	"ID,Type,SKU,Name,Published,Short description,Description,In stock?,"  \
	"Stock,Sale price,Regular price,Categories,Tags,Images,Parent,"        \
	"Attribute 1 name,Attribute 1 value(s),Weight (kg)\n"

static const struct {
	const char *text;
	const char *products; /* NULL: not looked at */
	const char *wrong;    /* part of it, or NULL: nothing may be wrong */
	const char *warned;   /* part of it, or NULL: nothing */
} table[] = {
	/* Shopify */
	{ SHOPIFY "mug,Mug,<b>Nice</b>,\"a, b,a\",true,Title,Default Title,M,3,"
		  "9.9,12,https://e.org/1.jpg,1,\n",
	    "2 mug \"Mug\" active #a #b <p><b>Nice</b></p> (M 990 was 1200 x3)"
	    " [1 https://e.org/1.jpg]\n",
	    NULL, NULL },
	{ SHOPIFY "t,T,,,false,Size,S,,1,5,,https://e.org/1.jpg,2,\n"
		  "t,,,,,,M,,2,6,,,,//e.org/2.jpg\n"
		  "t,,,,,,,,,,,https://e.org/3.jpg,1,\n",
	    "2 t \"T\" draft ?Size (- S 500 x1) (- M 600 x2 "
	    "@https://e.org/2.jpg) [2 https://e.org/1.jpg] [2 "
	    "https://e.org/2.jpg] [1 https://e.org/3.jpg]\n",
	    NULL, NULL },
	{ SHOPIFY "a,A,,,true,Size,S,,1,5,,,,\nb,B,,,true,,,,1,5,,,,\n"
		  "a,,,,,,M,,1,5,,,,\n",
	    "2 a \"A\" active ?Size (- S 500 x1)\n3 b \"B\" active (- 500 x1)\n"
	    "4 a \"\" active (- M 500 x1)\n",
	    NULL, NULL },
	{ SHOPIFY "a,A,,,true,,,,-2,5,0,,,\n", "2 a \"A\" active (- 500 x0)\n",
	    NULL, "f:2: Variant Inventory Qty: -2 is taken as 0" },
	{ SHOPIFY "a,A,,,true,,,,1,5,4,,,\n", "2 a \"A\" active (- 500 x1)\n",
	    NULL, "not higher" },
	{ SHOPIFY "a,A,,,true,,,,1,\"1,250\",,,,\n", "",
	    "f:2: Variant Price: \"1,250\" is not a price in USD", NULL },
	{ SHOPIFY "a,A,,,true,,,,1,,,,,\n", NULL, NULL, NULL },
	{ SHOPIFY "a,A,,,true,,,X,1,,,,,\n", "", "f:2: Variant Price: empty",
	    NULL },
	{ SHOPIFY "a,A,,,true,,,X,many,5,,,,\n", "",
	    "f:2: Variant Inventory Qty: \"many\" is not a whole number",
	    NULL },
	{ SHOPIFY "a b,A,,,true,,,X,1,5,,,,\n", "",
	    "f:2: Handle: \"a b\" cannot be part of an address", NULL },
	{ SHOPIFY ",A,,,true,,,X,1,5,,,,\n", "", "f:2: Handle: empty", NULL },
	{ SHOPIFY "a,A,,,true,,,X,1,5,,javascript:x,,\n", "",
	    "f:2: Image Src: \"javascript:x\" is no address", NULL },
	{ SHOPIFY "a,A,,,true,,S,X,1,5,,,,\n", "", "f:2: Option1 Name: empty",
	    NULL },
	{ SHOPIFY "a,A,,,true\n", "", "f:2: 5 fields where the first line has",
	    NULL },
	{ SHOPIFY "a,\"A,,,true,,,X,1,5,,,,\n", "",
	    "f:2: the quote opened on line 2 is never closed", NULL },
	{ SHOPIFY "a,A\xff,,,true,,,X,1,5,,,,\n", "",
	    "f:2: field 2 is not UTF-8", NULL },
	{ "Title,URL handle,Price,SKU,Inventory quantity,Product image URL\n"
	  "Mug,mug,9.50,M,3,https://e.org/1.jpg\n",
	    "2 mug \"Mug\" active (M 950 x3) [1 https://e.org/1.jpg]\n", NULL,
	    NULL },
	{ "Title,URL handle,Price\nMug,mug,x\n", "",
	    "f:2: Price: \"x\" is not a price", "f: Inventory quantity" },
	/* WooCommerce */
	{ WOO "7,simple,S1,Blue Shirt,1,Short,Long\\nlong,1,4.0000,8,10,"
	      "\"Clothing > Shirts, Sale\",\"a, b\",\"https://e.org/1.jpg, "
	      "https://e.org/2.jpg\",,,,0.25\n",
	    "2 blue-shirt \"Blue Shirt\" active #a #b <p>Short</p><p>Long long"
	    "</p> (S1 800 was 1000 x4 250g) [1 https://e.org/1.jpg] [2 "
	    "https://e.org/2.jpg]\n",
	    NULL, NULL },
	{ WOO "1,variable,V,Tee,1,,,1,,,,,,,,Size,\"S, M\",\n"
	      "2,variation,V-S,Tee - S,1,,,1,3,,10,,,,V,Size,S,\n"
	      "3,variation,,Tee - M,1,,,0,,,11,,,https://e.org/m.jpg,id:1,"
	      "Size,M,\n",
	    "2 tee \"Tee\" active\n3 of V (V-S Size:S 1000 x3)\n4 of id:1 (- "
	    "Size:M 1100 x0 @https://e.org/m.jpg) [1 https://e.org/m.jpg]\n",
	    NULL, NULL },
	{ WOO "1,simple,,A,1,,,1,,,5,,,,,,,\n",
	    "2 a \"A\" active (- 500 "
	    "x100)\n",
	    NULL, "f:2: Stock: empty, but in stock: taken as 100" },
	{ WOO "1,simple,,A,-1,,,0,,,5,,,,,,,\n",
	    "2 a \"A\" draft (- 500 "
	    "x0)\n",
	    NULL, NULL },
	{ WOO "1,simple,K,달,1,,,0,,,5,,,,,,,\n",
	    "2 product-k \"달\" active (K 500 x0)\n", NULL, NULL },
	{ WOO "1,external,,A,1,,,1,,,5,,,,,,,\n", "", NULL,
	    "f:2: Type: a product of type external" },
	{ WOO "1,variation,,A,1,,,0,,,5,,,,,Size,S,\n", "",
	    "f:2: Parent: empty", NULL },
	{ WOO "1,simple,,A,1,,,1,,,,,,,,,,\n", "", "f:2: Regular price: empty",
	    NULL },
	{ WOO "1,simple,,,1,,,0,,,5,,,,,,,\n", "", "f:2: Name: empty", NULL },
	{ WOO "1,bundle,,A,1,,,1,,,5,,,,,,,\n", "", "f:2: Type: \"bundle\"",
	    NULL },
	/* JSON Lines */
	{ "\xef\xbb\xbf\n{\"handle\":\"a\",\"title\":\"A\",\"tags\":[\"x\"],"
	  "\"options\":[{\"name\":\"Size\"}],\"variants\":[{\"sku\":\"1\","
	  "\"options\":[\"S\"],\"price\":500,\"compareAtPrice\":null,"
	  "\"stock\":2,\"image\":\"/media/a.svg\"}],\"reviews\":[{\"author\":"
	  "\"Z\",\"rating\":4,\"createdAt\":\"2026-01-01T00:00:00Z\"}],"
	  "\"unknown\":1}",
	    "2 a \"A\" active #x ?Size (1 S 500 x2 @/media/a.svg) [1 "
	    "/media/a.svg] *4 Z\n",
	    NULL, NULL },
	{ "{\"handle\":\"a\"\n", "", "f:1: not JSON near column", NULL },
	{ "{\"handle\":\"a\",\"title\":\"A\"}\n[1]\n", NULL,
	    "f:2: not a JSON object", NULL },
	{ "{\"handle\":7,\"title\":\"A\"}\n", "",
	    "f:1: handle: must be a string", NULL },
	{ "{\"handle\":\"a\",\"title\":\"A\",\"variants\":[{\"price\":1.5}]}",
	    "", "f:1: variants.price: must be a whole number", NULL },
	{ "{\"handle\":\"a\",\"title\":\"A\",\"options\":[\"S\",\"T\"],"
	  "\"variants\":[{\"price\":1,\"options\":[\"x\"]}]}",
	    "", "f:1: variants.options: the variant has 1 of the product's 2",
	    NULL },
	{ "{\"handle\":\"a\",\"title\":\"A\",\"currency\":\"KRW\"}", "",
	    "f:1: currency: the prices are in KRW", NULL },
	{ "{\"handle\":\"a\",\"title\":\"A\",\"images\":{}}", "",
	    "f:1: images: must be an array", NULL },
	{ "{\"handle\":\"a\",\"title\":\"A\",\"reviews\":[{\"author\":\"x\","
	  "\"rating\":6}]}",
	    "", "f:1: reviews.rating: must be a whole number from 1 to 5",
	    NULL },
	{ "{\"handle\":\"a\",\"title\":\"A\",\"status\":\"gone\"}", "",
	    "f:1: status: \"gone\" is none of", NULL },
	/* none of these */
	{ "", "", "f: the file is empty", NULL },
	{ "hello\n", "", "f:1: not a product file", NULL },
	{ "Handle,Prix\nx,1\n", "", "f:1: not a product file", NULL },
};

START_TEST(files_are_read)
{
	when_read(table[_i].text, "USD");
	if (table[_i].products != NULL)
		ck_assert_str_eq(out.s, table[_i].products);
	if (table[_i].wrong == NULL)
		ck_assert_str_eq(report.wrong.s, "");
	else
		ck_assert_msg(strstr(report.wrong.s, table[_i].wrong) != NULL,
		    "%s", report.wrong.s);
	if (table[_i].warned == NULL)
		ck_assert_str_eq(report.warned.s, "");
	else
		ck_assert_msg(strstr(report.warned.s, table[_i].warned) != NULL,
		    "%s", report.warned.s);
}
END_TEST

START_TEST(prices_are_in_the_shops_currency)
{
	when_read(SHOPIFY "a,A,,,true,,,,1,12000,,,,\n", "KRW");
	ck_assert_str_eq(out.s, "2 a \"A\" active (- 12000 x1)\n");
	when_read(SHOPIFY "a,A,,,true,,,,1,9.99,,,,\n", "KRW");
	ck_assert_ptr_ne(strstr(report.wrong.s, "not a price in KRW"), NULL);
}
END_TEST

START_TEST(after_many_faults_it_gives_up)
{
	struct strbuf text;

	strbuf_init(&text, 0);
	strbuf_adds(&text, SHOPIFY);
	for (int i = 0; i < 100; i++)
		strbuf_addf(&text, "a%d,A,,,true,,,X,1,x,,,,\n", i);
	when_read(text.s, "USD");
	ck_assert_int_eq(report.errors, IMPORT_MAX_ERRORS);
	ck_assert_str_eq(out.s, "");
	strbuf_release(&text);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("import");
	TCase *tc = tcase_create("import");

	tcase_add_checked_fixture(tc, given_nothing, all_gone);
	tcase_add_loop_test(
	    tc, files_are_read, 0, sizeof table / sizeof *table);
	tcase_add_test(tc, prices_are_in_the_shops_currency);
	tcase_add_test(tc, after_many_faults_it_gives_up);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
