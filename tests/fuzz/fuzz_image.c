/*
 * The path of an uploaded picture within souk-imager, without its sandbox:
 * whatever goes in, variants come out that are no larger, or one of the errors
 * that are documented. libvips and what it uses are as they are installed; with
 * sanitizers of their own this would see more.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"
#include "imager/picture.h"
#include "base/sniff.h"
#include "tests/fuzz/fuzz.h"

#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what)) {                                                 \
			(void)fprintf(stderr, "not so: %s\n", #what);          \
			abort();                                               \
		}                                                              \
	} while (0)

/* Small, so that a second sees hundreds. */
enum { MAX_PIXELS = 256 * 1024 };
static const int widths[] = { 16, 48 };

struct seen {
	int n, width, height; /* of the last */
};

/* Decoders leak a little on some damaged files (libdav1d does), which is nothing
 * to a process that ends after one picture. */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}

static void
out_of_memory(void)
{
	abort(); /* not with these limits */
}

static enum rc
look(void *ctx, const struct picture_variant *v, struct err *e)
{
	struct seen *seen = ctx;

	(void)e;
	seen->n++;
	MUST(v->width >= 1 && v->height >= 1 && v->width <= widths[1]);
	MUST(v->width >= seen->width);
	seen->width = v->width;
	seen->height = v->height;
	if (strcmp(v->format, "webp") == 0) {
		MUST(v->bytes.n > 12);
		MUST(memcmp(v->bytes.p, "RIFF", 4) == 0);
		MUST(memcmp(v->bytes.p + 8, "WEBP", 4) == 0);
	} else {
		MUST(strcmp(v->format, "avif") == 0 && v->bytes.n > 12);
		MUST(memcmp(v->bytes.p + 4, "ftypavif", 8) == 0);
	}
	return RC_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	/* The slow encoder for one in sixteen. */
	const struct picture_want want = { widths, 2,
		n % 16 == 0 ? PICTURE_WEBP | PICTURE_AVIF : PICTURE_WEBP,
		MAX_PIXELS };
	static bool ready;
	struct span bytes = { (const char *)data, n };
	struct seen seen = { 0 };
	struct picture pic = { 0 };
	struct err e = { 0 };
	enum sniff_type type;
	const char *name = NULL;
	enum rc rc;

	if (!ready) {
		MUST(picture_init("fuzz_image", out_of_memory, &e) == RC_OK);
		ready = true;
	}
	type = sniff(bytes, &name);
	MUST(name != NULL);
	if (type == SNIFF_UNKNOWN || type == SNIFF_OTHER)
		return 0;
	rc = picture_make(bytes, type, &want, &pic, look, &seen, &e);
	if (rc == RC_OK) {
		MUST(seen.n >= 1 && pic.frames >= 1);
		MUST(pic.width >= seen.width && pic.height >= seen.height);
		MUST((int64_t)pic.width * pic.height <= MAX_PIXELS);
		return 0;
	}
	MUST(rc == RC_INVALID);
	MUST(strcmp(e.code, "truncated") == 0 ||
	     strcmp(e.code, "too_many_pixels") == 0 ||
	     strcmp(e.code, "out_of_memory") == 0 ||
	     strcmp(e.code, "unsupported_type") == 0);
	return 0;
}
