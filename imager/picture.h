/*
 * picture - from the bytes of a picture to its variants, by libvips.
 * The only file that knows libvips.
 */
#ifndef IMAGER_PICTURE_H
#define IMAGER_PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "base/sniff.h"

/*
 * Load libvips and set it up: one worker thread, no caches, no code generated
 * at run time, no loader that its authors call untrusted. Starts no thread.
 * out_of_memory is called where a library cannot go on for want of memory; it
 * must end the process. RC_FAIL "sandbox".
 */
enum rc picture_init(
    const char *argv0, void (*out_of_memory)(void), struct err *e);

enum { PICTURE_WEBP = 1, PICTURE_AVIF = 2 };

struct picture_want {
	const int *widths; /* ascending */
	int n;
	unsigned formats;
	int64_t max_pixels;
};

struct picture {
	int width, height; /* as it is to be seen */
	int frames;
};

struct picture_variant {
	const char *format; /* "webp", "avif" */
	int width, height;
	struct span bytes; /* until the call returns */
};

typedef enum rc picture_put(
    void *ctx, const struct picture_variant *variant, struct err *e);

/*
 * Decodes bytes once, which are of that type by sniff(), and hands each
 * variant to put; an error of put ends it. The header is judged before
 * anything is decoded.
 * RC_INVALID "truncated", "too_many_pixels", "unsupported_type" (this libvips
 * cannot), "out_of_memory"; RC_FAIL "no_encoder".
 */
enum rc picture_make(struct span bytes, enum sniff_type type,
    const struct picture_want *want, struct picture *out, picture_put *put,
    void *ctx, struct err *e);

#endif
