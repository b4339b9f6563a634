/*
 * The way of an uploaded picture, from a request's body to its variants: the
 * form is taken apart, what its part "file" says it is is compared with what it
 * is, and what passes is opened as in the sandbox. The first line is the
 * Content-Type, as in fuzz_multipart; without a form there it is all the
 * picture. libvips is as it is installed: fuzz_image.c says more of that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/multipart.h"
#include "base/sniff.h"
#include "base/text.h"
#include "imager/picture.h"
#include "tests/fuzz/fuzz.h"

#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what)) {                                                 \
			(void)fprintf(stderr, "not so: %s\n", #what);          \
			abort();                                               \
		}                                                              \
	} while (0)

enum { MAX_PARTS = 16, MAX_PIXELS = 64 * 1024 };
static const int widths[] = { 16, 48 };

/* Decoders leak a little on some damaged files. */
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
	int *n = ctx;

	(void)e;
	++*n;
	MUST(v->width >= 1 && v->height >= 1 && v->width <= widths[1]);
	MUST(v->bytes.n > 12);
	return RC_OK;
}

static void
open_picture(struct span bytes, const char *claimed)
{
	const struct picture_want want = { widths, 2, PICTURE_WEBP,
		MAX_PIXELS };
	const char *name = NULL, *said = sniff_claimed(claimed);
	enum sniff_type type = sniff(bytes, &name);
	struct picture pic = { 0 };
	struct err e = ERR_INIT;
	int n = 0;
	enum rc rc;

	MUST(name != NULL);
	if (!sniff_is_picture(type) ||
	    (said != NULL && strcmp(said, name) != 0))
		return;
	rc = picture_make(bytes, type, &want, &pic, look, &n, &e);
	MUST(rc == RC_OK ? n >= 1 : rc == RC_INVALID);
}

static void
take_form(struct span body, const char *boundary, struct arena *arena)
{
	const struct part *file, *alt;
	struct parts parts;

	if (multipart_parse(body, boundary, MAX_PARTS, arena, &parts, NULL) !=
		RC_OK ||
	    parts_one(&parts, "file", &file, NULL) != RC_OK ||
	    parts_one(&parts, "alt", &alt, NULL) != RC_OK || file == NULL)
		return;
	if (alt != NULL)
		(void)utf8_valid(alt->body.p, alt->body.n);
	open_picture(file->body, strncmp(file->type, "image/", 6) == 0
				     ? file->type
				     : file->filename);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *s = (const char *)data;
	const char *lf = n == 0 ? NULL : memchr(s, '\n', n);
	char boundary[MULTIPART_BOUNDARY + 1];
	struct err e = ERR_INIT;
	struct arena *arena;
	static bool ready;

	if (!ready) {
		MUST(picture_init("fuzz_upload", out_of_memory, &e) == RC_OK);
		ready = true;
	}
	arena = arena_new();
	if (lf != NULL &&
	    multipart_boundary(arena_strndup(arena, s, (size_t)(lf - s)),
		boundary, NULL) == RC_OK)
		take_form((struct span){ lf + 1, n - (size_t)(lf + 1 - s) },
		    boundary, arena);
	else
		open_picture((struct span){ s, n }, NULL);
	arena_free(arena);
	return 0;
}
