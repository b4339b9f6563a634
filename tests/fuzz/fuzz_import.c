/*
 * Any file: the readers end, keep their bounds, and what they give on is what
 * the schema takes. The first byte picks the currency.
 */
#define _GNU_SOURCE /* memfd_create */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/text.h"
#include "shop/import_int.h"
#include "shop/money.h"
#include "tests/fuzz/fuzz.h"

#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what))                                                   \
			abort();                                               \
	} while (0)

static void
text(const char *s, size_t max)
{
	size_t chars = 0;

	MUST(s != NULL && utf8_valid(s, strlen(s)));
	for (; *s != '\0'; s++)
		chars += ((unsigned char)*s & 0xc0) != 0x80;
	MUST(chars <= max);
}

static enum rc
take(void *arg, const struct import_product *p, struct err *e)
{
	(void)arg;
	(void)e;
	MUST((p->key == NULL) == (p->title == NULL));
	MUST(p->key != NULL || p->parent != NULL);
	if (p->title != NULL) {
		text(p->handle, 255);
		text(p->title, 500);
		text(p->description, 1 << 20);
		text(p->summary, 300);
		text(p->vendor, 255);
		text(p->type, 255);
		text(p->seo_title, 500);
		text(p->seo_description, 1000);
		MUST(p->spread || p->title[0] != '\0');
	}
	MUST(p->n_tags <= IMPORT_MAX_TAGS);
	for (int i = 0; i < p->n_tags; i++)
		text(p->tag[i], 255);
	MUST(p->n_options <= IMPORT_MAX_OPTIONS);
	for (int i = 0; i < p->n_variants; i++) {
		const struct import_variant *v = &p->variant[i];

		MUST(v->price >= 0 && v->price <= MONEY_MAX);
		MUST(v->compare_at == -1 || v->compare_at > v->price);
		MUST(v->stock >= 0 && v->stock <= IMPORT_MAX_STOCK);
		MUST(v->grams >= 0 && v->grams <= 1000000000);
		MUST(v->sku == NULL || v->sku[0] != '\0');
		text(v->barcode, 255);
		for (int k = 0; k < v->n_options; k++)
			text(v->option[k], 255);
	}
	for (int i = 0; i < p->n_images; i++) {
		text(p->image[i].src, 2000);
		text(p->image[i].alt, 1000);
		MUST(p->image[i].position > 0);
		MUST(strncmp(p->image[i].src, "/media/", 7) == 0 ||
		     strncasecmp(p->image[i].src, "http", 4) == 0);
	}
	for (int i = 0; i < p->n_reviews; i++) {
		MUST(p->review[i].rating >= 1 && p->review[i].rating <= 5);
		text(p->review[i].author, 255);
	}
	return RC_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct import im;
	struct import_report report;
	struct import_file file = { "f", memfd_create("fuzz", 0) };

	if (n == 0 || file.fd < 0)
		return 0;
	MUST(write(file.fd, data + 1, n - 1) == (ssize_t)(n - 1));
	MUST(lseek(file.fd, 0, SEEK_SET) == 0);
	import_report_init(&report);
	im = (struct import){ .currency = data[0] % 2 ? "USD" : "KRW",
		.report = &report,
		.take = take,
		.arena = arena_new() };
	MUST(import_read_file(&im, &file, 1, NULL) == RC_OK);
	MUST(report.errors <= IMPORT_MAX_ERRORS);
	arena_free(im.arena);
	import_report_release(&report);
	(void)close(file.fd);
	return 0;
}
