/*
 * The picture is decoded once, shrunk on the way (JPEG and WebP can decode at a
 * fraction of their size), to the widest variant in memory; the others are made
 * from that one. Decoding anew for each width was four times the work on a
 * stranger's bytes and looked the same.
 */
#include "imager/picture.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include <vips/vips.h>
#include <vips/vector.h> /* after the other: it stands not alone */

#include "base/text.h"
#include "imager/webp.h"

/* WebP ends there; more is no picture for a shop. */
enum { MAX_SIDE = 16383 };
/* A variant that would be larger (a very tall picture) is left out, unless it
 * is the smallest: encoders want up to 40 bytes for each. */
enum { MAX_VARIANT_PIXELS = 8 * 1000 * 1000 };

enum { WEBP_Q = 80, AVIF_Q = 55, AVIF_EFFORT = 2 };

/* Savers make up an Exif block of their own unless told not to; webpsave of
 * 8.14 makes it all the same, hence webp_strip(). */
#if VIPS_MAJOR_VERSION > 8 || VIPS_MINOR_VERSION >= 15
#define NO_METADATA "keep", VIPS_FOREIGN_KEEP_NONE
#else
#define NO_METADATA "strip", TRUE
#endif

struct loader {
	const char *class; /* of libvips */
	const char *operation;
	int (*load)(void *bytes, size_t n, VipsImage **out, ...);
};

static const struct loader loaders[] = {
	[SNIFF_JPEG] = { "VipsForeignLoadJpeg", "jpegload_buffer",
	    vips_jpegload_buffer },
	[SNIFF_PNG] = { "VipsForeignLoadPng", "pngload_buffer",
	    vips_pngload_buffer },
	[SNIFF_WEBP] = { "VipsForeignLoadWebp", "webpload_buffer",
	    vips_webpload_buffer },
	[SNIFF_GIF] = { "VipsForeignLoadNsgif", "gifload_buffer",
	    vips_gifload_buffer },
	[SNIFF_AVIF] = { "VipsForeignLoadHeif", "heifload_buffer",
	    vips_heifload_buffer },
};

static void (*when_out_of_memory)(void);

/* GLib's last words before it aborts. */
static void
on_log(
    const char *domain, GLogLevelFlags level, const char *message, void *data)
{
	(void)domain;
	(void)data;
	if ((level & G_LOG_LEVEL_ERROR) == 0)
		return; /* warnings about a picture's oddities: of no use */
	if (strstr(message, "allocate") != NULL ||
	    strstr(message, "creating thread") != NULL)
		when_out_of_memory();
	(void)!write(STDERR_FILENO, message, strlen(message));
}

enum rc
picture_init(const char *argv0, void (*out_of_memory)(void), struct err *e)
{
	when_out_of_memory = out_of_memory;
	g_log_set_default_handler(on_log, NULL);
	if (VIPS_INIT(argv0) != 0)
		return err_set(e, RC_FAIL, "sandbox",
		    "libvips cannot be used: %s", vips_error_buffer());
	vips_concurrency_set(1);
	vips_cache_set_max(0);
	vips_vector_set_enabled(FALSE);
#if VIPS_MAJOR_VERSION > 8 || VIPS_MINOR_VERSION >= 13
	vips_block_untrusted_set(TRUE);
	/* And of the rest, what no picture here needs; picture_make() opens the
	 * one door that it goes through. */
	vips_operation_block_set("VipsForeignLoad", TRUE);
#endif
	return RC_OK;
}

/* What libvips has to say, as a code. Takes its words away. */
static enum rc
vips_failed(enum rc rc, const char *code, const char *what, struct err *e)
{
	static const char *const memory[] = { "out of memory",
		"unable to allocate", "emory allocation", "nsufficient memory",
		"unable to create thread", "bad_alloc", "OUT_OF_MEMORY",
		"too little memory" };
	char words[200];
	size_t n;

	(void)g_strlcpy(words, vips_error_buffer(), sizeof words);
	vips_error_clear();
	/* It may quote the picture. */
	words[utf8_cut(words, strlen(words), sizeof words)] = '\0';
	for (char *p = words; *p != '\0'; p++)
		if (*p == '\n')
			*p = ';';
		else if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	for (n = strlen(words); n > 0 && strchr("; ", words[n - 1]) != NULL;)
		words[--n] = '\0';
	/* libheif, of the header of an AVIF file */
	if (strstr(words, "xceeds the maximum image size") != NULL)
		return err_set(e, RC_INVALID, "too_many_pixels",
		    "The picture has too many pixels (%s)", words);
	for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
		if (strstr(words, memory[i]) != NULL)
			return err_set(e, RC_INVALID, "out_of_memory",
			    "The picture takes more memory than is allowed");
	return err_set(e, rc, code, "%s (%s)", what, words);
}

static enum rc
damaged(struct err *e)
{
	return vips_failed(
	    RC_INVALID, "truncated", "The picture is cut off or damaged", e);
}

/* libvips's functions take bytes that they never write without a const. */
static void *
borrowed(struct span bytes)
{
	return (void *)(uintptr_t)bytes.p;
}

/* The header alone. */
static enum rc
picture_look(struct span bytes, const struct loader *l,
    const struct picture_want *want, struct picture *out, struct err *e)
{
	VipsImage *im = NULL;
	int64_t w, h;

	if (l->load(borrowed(bytes), bytes.n, &im, "fail_on",
		VIPS_FAIL_ON_TRUNCATED, NULL) != 0)
		return damaged(e);
	w = vips_image_get_width(im);
	h = vips_image_get_page_height(im);
	out->frames = vips_image_get_n_pages(im);
	out->width = (int)w;
	out->height = (int)h;
	if (vips_image_get_orientation_swap(im)) {
		out->width = (int)h;
		out->height = (int)w;
	}
	g_object_unref(im);
	if (w < 1 || h < 1)
		return damaged(e);
	if (w > MAX_SIDE || h > MAX_SIDE)
		return err_set(e, RC_INVALID, "too_many_pixels",
		    "The picture is %d x %d; no side may have more than %d",
		    out->width, out->height, MAX_SIDE);
	if (w * h > want->max_pixels)
		return err_set(e, RC_INVALID, "too_many_pixels",
		    "The picture is %d x %d; %.1f million pixels are allowed",
		    out->width, out->height, (double)want->max_pixels / 1e6);
	return RC_OK;
}

/* Does a variant of that width belong to the picture? */
static bool
width_fits(const struct picture *pic, int width, bool first)
{
	int64_t height = (int64_t)pic->height * width / pic->width;

	return width <= pic->width &&
	       (first || height * width <= MAX_VARIANT_PIXELS);
}

/* To 8-bit sRGB in memory, with or without alpha, and nothing else of im: what
 * it carries (Exif with where it was taken, profiles, XMP) stays behind. */
static VipsImage *
to_srgb(VipsImage *im)
{
	VipsImage *rgb = NULL, *bytes = NULL, *bare = NULL, *out = NULL;
	void *pixels = NULL;
	size_t n = 0;

	if (vips_colourspace(im, &rgb, VIPS_INTERPRETATION_sRGB, NULL) == 0 &&
	    vips_cast_uchar(rgb, &bytes, NULL) == 0 &&
	    (pixels = vips_image_write_to_memory(bytes, &n)) != NULL &&
	    (bare = vips_image_new_from_memory_copy(pixels, n, bytes->Xsize,
		 bytes->Ysize, bytes->Bands, VIPS_FORMAT_UCHAR)) != NULL &&
	    vips_copy(bare, &out, "interpretation", VIPS_INTERPRETATION_sRGB,
		NULL) != 0)
		out = NULL;
	g_free(pixels);
	if (bare != NULL)
		g_object_unref(bare);
	if (bytes != NULL)
		g_object_unref(bytes);
	if (rgb != NULL)
		g_object_unref(rgb);
	return out;
}

/* Decodes: from here on the stranger's bytes are no longer needed. */
static VipsImage *
picture_decode(struct span bytes, int width)
{
	VipsImage *thumb = NULL, *out;

	/* Lines are read in order, once: no temporary files. Embedded profiles
	 * are applied, CMYK without one by a built-in. The option string says
	 * what the function's own fail_on does not pass on to the loader. */
	if (vips_thumbnail_buffer(borrowed(bytes), bytes.n, &thumb, width,
		"height", VIPS_MAX_COORD, "size", VIPS_SIZE_DOWN,
		"export_profile", "srgb", "option_string",
		"[fail_on=truncated]", NULL) != 0)
		return NULL;
	out = to_srgb(thumb);
	g_object_unref(thumb);
	return out;
}

static enum rc
variant_put(
    VipsImage *im, unsigned format, picture_put *put, void *ctx, struct err *e)
{
	struct picture_variant v = {
		.format = format == PICTURE_WEBP ? "webp" : "avif",
		.width = vips_image_get_width(im),
		.height = vips_image_get_height(im),
	};
	void *bytes = NULL;
	size_t n = 0;
	enum rc rc;
	int bad;

	if (format == PICTURE_WEBP)
		bad = vips_webpsave_buffer(
		    im, &bytes, &n, "Q", WEBP_Q, NO_METADATA, NULL);
	else
		bad = vips_heifsave_buffer(im, &bytes, &n, "Q", AVIF_Q,
		    "effort", AVIF_EFFORT, "bitdepth", 8, "compression",
		    VIPS_FOREIGN_HEIF_COMPRESSION_AV1, NO_METADATA, NULL);
	if (bad != 0)
		return vips_failed(RC_FAIL, "no_encoder",
		    "The picture could not be written", e);
	if (format == PICTURE_WEBP)
		n = webp_strip(bytes, n);
	v.bytes = (struct span){ bytes, n };
	rc = put(ctx, &v, e);
	g_free(bytes);
	return rc;
}

/* All formats of one width. */
static enum rc
width_put(VipsImage *base, int width, unsigned formats, picture_put *put,
    void *ctx, struct err *e)
{
	VipsImage *im = NULL, *small = NULL;
	enum rc rc = RC_OK;

	if (width == vips_image_get_width(base)) {
		im = base;
		g_object_ref(im);
	} else if (vips_thumbnail_image(base, &small, width, "height",
		       VIPS_MAX_COORD, "size", VIPS_SIZE_DOWN, NULL) != 0 ||
		   (im = to_srgb(small)) == NULL) {
		rc = vips_failed(RC_FAIL, "no_encoder",
		    "The picture could not be made smaller", e);
		goto out;
	}
	for (unsigned f = PICTURE_WEBP; f <= PICTURE_AVIF && rc == RC_OK;
	     f <<= 1)
		if (formats & f)
			rc = variant_put(im, f, put, ctx, e);
out:
	if (im != NULL)
		g_object_unref(im);
	if (small != NULL)
		g_object_unref(small);
	return rc;
}

enum rc
picture_make(struct span bytes, enum sniff_type type,
    const struct picture_want *want, struct picture *out, picture_put *put,
    void *ctx, struct err *e)
{
	const struct loader *l = &loaders[type];
	unsigned formats = want->formats;
	int widths[64], n = 0;
	VipsImage *base;
	enum rc rc;

	if (vips_type_find("VipsForeign", l->operation) == 0)
		return err_set(e, RC_INVALID, "unsupported_type",
		    "This server's libvips reads no such pictures");
	if (vips_type_find("VipsForeign", "heifsave_buffer") == 0)
		formats &= ~(unsigned)PICTURE_AVIF;
#if VIPS_MAJOR_VERSION > 8 || VIPS_MINOR_VERSION >= 13
	vips_operation_block_set(l->class, FALSE);
#endif
	rc = picture_look(bytes, l, want, out, e);
	if (rc != RC_OK)
		return rc;
	for (int i = 0; i < want->n && n < 64; i++)
		if (width_fits(out, want->widths[i], n == 0))
			widths[n++] = want->widths[i];
	if (n == 0)
		widths[n++] = out->width;
	base = picture_decode(bytes, widths[n - 1]);
	if (base == NULL)
		return damaged(e);
	for (int i = 0; i < n && rc == RC_OK; i++)
		rc = width_put(base, widths[i], formats, put, ctx, e);
	g_object_unref(base);
	return rc;
}
