/*
 * imager_run() against the real program with pictures made here, and against
 * programs that misbehave in its place.
 */
#define _GNU_SOURCE /* memfd_create, memmem */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vips/vips.h>

#include "base/arena.h"
#include "base/span.h"
#include "store/imager.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { MB = 1024 }; /* in KiB */

static struct arena *arena;
static struct err e;
static struct imager_opts opts;
static struct imager_result result;

static void
setup(void)
{
	const char *dir = getenv("top_builddir");

	ck_assert_int_eq(VIPS_INIT("test_imager"), 0);
	arena = arena_new();
	e = (struct err)ERR_INIT;
	result = (struct imager_result){ 0 };
	opts = (struct imager_opts){ .program = arena_printf(arena,
					 "%s/imager/souk-imager",
					 dir == NULL ? "." : dir) };
}

static void
teardown(void)
{
	imager_result_free(&result);
	arena_free(arena);
	vips_shutdown();
}

/* ---- pictures */

#define VIPS(call) ck_assert_msg((call) == 0, "%s", vips_error_buffer())

/* The upper left quarter is red, the rest white; with bands 4 the lower right
 * quarter is transparent. */
static VipsImage *
given_flag(int w, int h, int bands)
{
	double white[] = { 255, 255, 255, 255 }, red[] = { 255, 0, 0, 255 },
	       none[] = { 0, 0, 0, 0 };
	VipsImage *black, *all, *out;

	VIPS(vips_black(&black, w, h, "bands", bands, NULL));
	VIPS(
	    vips_linear(black, &all, white, white, bands, "uchar", TRUE, NULL));
	VIPS(vips_copy(
	    all, &out, "interpretation", VIPS_INTERPRETATION_sRGB, NULL));
	g_object_unref(black);
	g_object_unref(all);
	all = vips_image_copy_memory(out);
	g_object_unref(out);
	VIPS(vips_draw_rect(
	    all, red, bands, 0, 0, w / 2, h / 2, "fill", TRUE, NULL));
	if (bands == 4)
		VIPS(vips_draw_rect(all, none, bands, w / 2, h / 2, w - w / 2,
		    h - h / 2, "fill", TRUE, NULL));
	return all;
}

/* Noise, which compresses badly. Takes nothing. */
static VipsImage *
given_noise(int w, int h)
{
	VipsImage *small, *large, *band[3], *three, *bytes, *out;

	VIPS(vips_gaussnoise(
	    &small, w / 4 + 1, h / 4 + 1, "mean", 128.0, "sigma", 40.0, NULL));
	VIPS(vips_resize(small, &large, 4.0, NULL));
	VIPS(vips_crop(large, &band[0], 0, 0, w, h, NULL));
	band[1] = band[2] = band[0];
	VIPS(vips_bandjoin(band, &three, 3, NULL));
	VIPS(vips_cast_uchar(three, &bytes, NULL));
	VIPS(vips_copy(
	    bytes, &out, "interpretation", VIPS_INTERPRETATION_sRGB, NULL));
	g_object_unref(small);
	g_object_unref(large);
	g_object_unref(band[0]);
	g_object_unref(three);
	g_object_unref(bytes);
	return out;
}

/* As the suffix says (".jpg[Q=90]"). Takes im; the bytes are in the arena. */
static struct span
saved(VipsImage *im, const char *suffix)
{
	void *p = NULL;
	size_t n = 0;
	struct span out;

	VIPS(vips_image_write_to_buffer(im, suffix, &p, &n, NULL));
	g_object_unref(im);
	out = (struct span){ arena_memdup(arena, p, n), n };
	g_free(p);
	return out;
}

static int
given_file(struct span bytes)
{
	int fd = memfd_create("original", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes.p, bytes.n), (ssize_t)bytes.n);
	return fd;
}

static enum rc
run(struct span bytes)
{
	int fd = given_file(bytes);
	enum rc rc = imager_run(&opts, fd, arena, &result, &e);

	(void)close(fd);
	return rc;
}

static void
runs(struct span bytes)
{
	ck_assert_msg(run(bytes) == RC_OK, "%s: %s", e.code, e.msg);
}

static void
fails(struct span bytes, enum rc rc, const char *code)
{
	ck_assert_int_eq(run(bytes), rc);
	ck_assert_msg(strcmp(e.code, code) == 0, "%s: %s", e.code, e.msg);
	ck_assert_int_eq(result.n, 0);
}

/* The i-th variant, read by another program than its maker's. */
static VipsImage *
seen(int i)
{
	struct imager_variant *v = &result.variants[i];
	char *p = arena_alloc(arena, (size_t)v->bytes);
	VipsImage *im;

	ck_assert_int_lt(i, result.n);
	ck_assert_int_eq(pread(v->fd, p, (size_t)v->bytes, 0), v->bytes);
	im = vips_image_new_from_buffer(p, (size_t)v->bytes, "", NULL);
	ck_assert_msg(im != NULL, "%s", vips_error_buffer());
	ck_assert_int_eq(im->Xsize, v->width);
	ck_assert_int_eq(im->Ysize, v->height);
	ck_assert_int_eq(im->BandFmt, VIPS_FORMAT_UCHAR);
	return im;
}

/* 'R'ed, 'W'hite, transparent '.', or something else '?'. */
static char
colour_at(VipsImage *im, int x, int y)
{
	double *p = NULL;
	int n = 0;
	char c = '?';

	VIPS(vips_getpoint(im, &p, &n, x, y, NULL));
	if (n == 4 && p[3] < 40)
		c = '.';
	else if (n >= 3 && p[0] > 200 && p[1] < 60 && p[2] < 60)
		c = 'R';
	else if (n >= 3 && p[0] > 200 && p[1] > 200 && p[2] > 200)
		c = 'W';
	g_free(p);
	return c;
}

/* The four quarters of all variants, in the order of reading. */
static void
shows(const char *quarters)
{
	for (int i = 0; i < result.n; i++) {
		VipsImage *im = seen(i);
		int x = im->Xsize / 4, y = im->Ysize / 4;
		char q[] = { colour_at(im, x, y), colour_at(im, 3 * x, y),
			colour_at(im, x, 3 * y), colour_at(im, 3 * x, 3 * y),
			'\0' };

		ck_assert_str_eq(q, quarters);
		ck_assert(vips_image_get_typeof(im, "exif-data") == 0);
		ck_assert(vips_image_get_typeof(im, VIPS_META_ICC_NAME) == 0);
		ck_assert(vips_image_get_typeof(im, "xmp-data") == 0);
		ck_assert_int_eq(vips_image_get_orientation(im), 1);
		g_object_unref(im);
	}
}

/* ---- what comes out */

START_TEST(variants_are_by_width_and_format)
{
	runs(saved(given_flag(1000, 500, 3), ".jpg"));
	ck_assert_str_eq(result.type, "jpeg");
	ck_assert_int_eq(result.width, 1000);
	ck_assert_int_eq(result.height, 500);
	ck_assert_int_eq(result.frames, 1);
	ck_assert_int_eq(result.n, 4); /* never larger than the original */
	for (int i = 0; i < 4; i++) {
		struct imager_variant *v = &result.variants[i];

		ck_assert_str_eq(v->format, i % 2 == 0 ? "webp" : "avif");
		ck_assert_int_eq(v->width, i < 2 ? 320 : 640);
		ck_assert_int_eq(v->height, i < 2 ? 160 : 320);
	}
	shows("RWWW");
}
END_TEST

START_TEST(a_narrow_picture_keeps_its_width)
{
	runs(saved(given_flag(100, 400, 3), ".png"));
	ck_assert_int_eq(result.n, 2);
	ck_assert_int_eq(result.variants[0].width, 100);
	ck_assert_int_eq(result.variants[0].height, 400);
	shows("RWWW");
}
END_TEST

START_TEST(a_very_tall_picture_has_few_variants)
{
	/* 1280 x 16000 would be more than an encoder should be asked for. */
	runs(saved(given_flag(1300, 16000, 3), ".png"));
	ck_assert_int_eq(result.n, 4);
	ck_assert_int_eq(result.variants[3].width, 640);
}
END_TEST

START_TEST(widths_and_formats_are_asked_for)
{
	static const int widths[] = { 50, 70, 90 };

	opts.widths = widths;
	opts.n_widths = 3;
	opts.formats = IMAGER_AVIF;
	runs(saved(given_flag(80, 80, 3), ".png"));
	ck_assert_int_eq(result.n, 2);
	ck_assert_int_eq(result.variants[1].width, 70);
	ck_assert_str_eq(result.variants[1].format, "avif");
	opts.n_widths = IMAGER_WIDTHS + 1;
	imager_result_free(&result);
	fails(saved(given_flag(80, 80, 3), ".png"), RC_FAIL, "imager_opts");
}
END_TEST

/* Stored so that a viewer who obeys the tag sees the flag upright. */
static struct span
given_orientation(int orientation)
{
	/* by how much it is turned, then how it is flipped: -1 not */
	static const struct {
		VipsAngle turn;
		int flip;
	} how[] = { { VIPS_ANGLE_D0, -1 },
		{ VIPS_ANGLE_D0, VIPS_DIRECTION_HORIZONTAL },
		{ VIPS_ANGLE_D180, -1 },
		{ VIPS_ANGLE_D0, VIPS_DIRECTION_VERTICAL },
		{ VIPS_ANGLE_D90, VIPS_DIRECTION_HORIZONTAL },
		{ VIPS_ANGLE_D270, -1 },
		{ VIPS_ANGLE_D90, VIPS_DIRECTION_VERTICAL },
		{ VIPS_ANGLE_D90, -1 } };
	VipsImage *im = given_flag(400, 200, 3), *turned, *out;
	int flip = how[orientation - 1].flip;

	VIPS(vips_rot(im, &turned, how[orientation - 1].turn, NULL));
	if (flip >= 0)
		VIPS(vips_flip(turned, &out, (VipsDirection)flip, NULL));
	else
		VIPS(vips_copy(turned, &out, NULL));
	g_object_unref(im);
	g_object_unref(turned);
	vips_image_set_int(out, VIPS_META_ORIENTATION, orientation);
	return saved(out, ".jpg[Q=95]");
}

START_TEST(orientation_is_applied)
{
	runs(given_orientation(_i));
	ck_assert_int_eq(result.width, 400);
	ck_assert_int_eq(result.height, 200);
	ck_assert_int_eq(result.variants[0].width, 320);
	ck_assert_int_eq(result.variants[0].height, 160);
	shows("RWWW");
}
END_TEST

START_TEST(alpha_is_kept)
{
	static const char *const suffixes[] = { ".png", ".webp[lossless]",
		".gif" };

	runs(saved(given_flag(400, 400, 4), suffixes[_i]));
	ck_assert_int_eq(result.n, 2);
	shows("RWW.");
}
END_TEST

START_TEST(only_the_first_frame_is_taken)
{
	VipsImage *first = given_flag(100, 100, 3), *next, *frames[3], *all;

	VIPS(vips_invert(first, &next, NULL));
	frames[0] = frames[2] = first;
	frames[1] = next;
	VIPS(vips_arrayjoin(frames, &all, 3, "across", 1, NULL));
	g_object_unref(first);
	g_object_unref(next);
	vips_image_set_int(all, VIPS_META_PAGE_HEIGHT, 100);
	runs(saved(all, _i == 0 ? ".gif" : ".webp[lossless]"));
	ck_assert_str_eq(result.type, _i == 0 ? "gif" : "webp");
	ck_assert_int_eq(result.frames, 3);
	ck_assert_int_eq(result.height, 100);
	ck_assert_int_eq(result.variants[0].height, 100);
	shows("RWWW");
}
END_TEST

START_TEST(avif_is_read)
{
	runs(saved(given_flag(400, 400, 3), ".avif"));
	ck_assert_str_eq(result.type, "avif");
	shows("RWWW");
}
END_TEST

START_TEST(deep_colours_become_8_bit)
{
	VipsImage *im = given_flag(400, 400, 3), *deep;

	VIPS(vips_colourspace(im, &deep, VIPS_INTERPRETATION_RGB16, NULL));
	g_object_unref(im);
	runs(saved(deep, ".png[bitdepth=16]"));
	shows("RWWW");
}
END_TEST

START_TEST(cmyk_becomes_srgb)
{
	VipsImage *im = given_flag(400, 400, 3), *cmyk;

	VIPS(vips_icc_transform(
	    im, &cmyk, "cmyk", "input_profile", "srgb", NULL));
	g_object_unref(im);
	if (_i == 1) /* without its profile */
		vips_image_remove(cmyk, VIPS_META_ICC_NAME);
	runs(saved(cmyk, ".jpg"));
	for (int i = 0; i < result.n; i++) {
		VipsImage *v = seen(i);
		double *p;
		int n;

		ck_assert_int_eq(v->Bands, 3);
		VIPS(vips_getpoint(v, &p, &n, 10, 10, NULL));
		/* ink's red */
		ck_assert(p[0] > 180 && p[1] < 90 && p[2] < 90);
		g_free(p);
		g_object_unref(v);
	}
}
END_TEST

START_TEST(a_profile_is_applied)
{
	VipsImage *im = given_flag(400, 400, 3), *wide;

	VIPS(
	    vips_icc_transform(im, &wide, "p3", "input_profile", "srgb", NULL));
	g_object_unref(im);
	/* In that space sRGB's red is 234, 51, 35: not taken for red. */
	ck_assert_int_eq(colour_at(wide, 10, 10), 'R');
	runs(saved(wide, ".png"));
	for (int i = 0; i < result.n; i++) {
		VipsImage *v = seen(i);
		double *p;
		int n;

		VIPS(vips_getpoint(v, &p, &n, 10, 10, NULL));
		ck_assert(p[0] > 248 && p[1] < 16 && p[2] < 16);
		g_free(p);
		g_object_unref(v);
	}
	shows("RWWW");
}
END_TEST

START_TEST(grey_is_taken)
{
	VipsImage *im = given_flag(400, 400, 3), *grey;

	VIPS(vips_colourspace(im, &grey, VIPS_INTERPRETATION_B_W, NULL));
	g_object_unref(im);
	runs(saved(grey, _i == 0 ? ".jpg" : ".png"));
	shows("?WWW");
}
END_TEST

START_TEST(a_variant_is_sealed_and_hashed)
{
	VipsImage *im;
	char *sum, *bytes;

	runs(saved(given_flag(400, 400, 3), ".png"));
	for (int i = 0; i < result.n; i++) {
		struct imager_variant *v = &result.variants[i];

		bytes = arena_alloc(arena, (size_t)v->bytes);
		ck_assert_int_eq(
		    read(v->fd, bytes, (size_t)v->bytes), v->bytes);
		sum = g_compute_checksum_for_data(
		    G_CHECKSUM_SHA256, (const guchar *)bytes, (gsize)v->bytes);
		ck_assert_str_eq(sum, v->sha256);
		g_free(sum);
		ck_assert_int_eq(pwrite(v->fd, "x", 1, 0), -1);
		ck_assert_int_eq(ftruncate(v->fd, 0), -1);
	}
	im = seen(0);
	g_object_unref(im);
}
END_TEST

START_TEST(the_kernel_s_part_is_said)
{
	struct span png = saved(given_flag(40, 40, 3), ".png");
	uint32_t kill = SECCOMP_RET_KILL_PROCESS;
	/* Asked of the kernel, not of the program. */
	bool seccomp =
	    syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill) == 0;
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);

	runs(png);
	ck_assert_int_eq(result.seccomp, seccomp);
	ck_assert_int_eq(result.landlock, abi < 0 ? 0 : abi);
	ck_assert_int_eq(result.memory, !SANITIZED);
	ck_assert(result.cpu_ms > 0 && result.peak_kb > 1024);
	imager_result_free(&result);
	opts.strict = true;
	if (seccomp && abi > 0)
		runs(png);
	else
		fails(png, RC_FAIL, "sandbox");
}
END_TEST

/* ---- what is refused */

START_TEST(text_is_no_picture)
{
	opts.claimed = "holiday.jpg";
	fails(span_of("Dear shop, this is a letter.\n"), RC_INVALID,
	    "not_an_image");
	ck_assert_ptr_nonnull(strstr(e.msg, "text"));
	ck_assert_ptr_nonnull(strstr(e.msg, "called jpeg"));
	fails(span_of(""), RC_INVALID, "not_an_image");
	fails((struct span){ "\0\1\2\3\4", 5 }, RC_INVALID, "not_an_image");
	fails(span_of("<html><script>alert(1)</script>"), RC_INVALID,
	    "not_an_image");
}
END_TEST

START_TEST(other_types_are_named)
{
	static const struct {
		const char *bytes, *name;
	} others[] = { { "<?xml version=\"1.0\"?><svg xmlns=\"x\"/>", "SVG" },
		{ "%PDF-1.7\n", "PDF" }, { "BMxxxxxxxxxx", "BMP" },
		{ "%!PS-Adobe", "PostScript" },
		{ "abcdftypheicxxxxmif1heic", "HEIC" },
		{ "abcdftypisomxxxxisommp41", "video" } };

	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		fails(span_of(others[i].bytes), RC_INVALID, "unsupported_type");
		ck_assert_ptr_nonnull(strstr(e.msg, others[i].name));
	}
	/* libvips would read it, but it is on no list of ours. */
	fails(saved(given_flag(40, 40, 3), ".tif"), RC_INVALID,
	    "unsupported_type");
	ck_assert_ptr_nonnull(strstr(e.msg, "TIFF"));
}
END_TEST

START_TEST(a_type_that_lies_is_named)
{
	struct span png = saved(given_flag(40, 40, 3), ".png");
	static const char *const lies[] = { "image/jpeg", "IMAGE/JPEG; q=1",
		"a.b.jpg", "x.JPEG", "image/webp" };
	static const char *const truths[] = { "image/png", "x.PNG", "",
		"application/octet-stream", "image/x-unheard-of", "png" };

	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
		opts.claimed = lies[i];
		fails(png, RC_INVALID, "type_mismatch");
		ck_assert_ptr_nonnull(strstr(e.msg, "it is png"));
	}
	for (size_t i = 0; i < sizeof truths / sizeof *truths; i++) {
		opts.claimed = truths[i];
		runs(png);
		imager_result_free(&result);
	}
}
END_TEST

START_TEST(a_cut_file_is_truncated)
{
	static const char *const suffixes[] = { ".jpg", ".jpg[interlace]",
		".png", ".png[interlace]", ".webp", ".gif", ".avif" };
	struct span all = saved(given_noise(200, 200), suffixes[_i]);

	runs(all);
	imager_result_free(&result);
	for (size_t part = 1; part < 10; part++)
		fails((struct span){ all.p, all.n * part / 10 }, RC_INVALID,
		    "truncated");
	fails((struct span){ all.p, 20 }, RC_INVALID, "truncated");
}
END_TEST

/* Patches two big-endian (or little) sizes into a copy. */
static struct span
with_size(struct span s, size_t at, unsigned a, unsigned b, bool little)
{
	char *p = arena_memdup(arena, s.p, s.n);

	ck_assert(at + 4 <= s.n);
	p[at + little] = (char)(a >> 8);
	p[at + !little] = (char)a;
	p[at + 2 + little] = (char)(b >> 8);
	p[at + 2 + !little] = (char)b;
	return (struct span){ p, s.n };
}

START_TEST(declared_dimensions_are_judged_first)
{
	struct span jpeg = saved(given_flag(40, 40, 3), ".jpg");
	struct span gif = saved(given_flag(40, 40, 3), ".gif");
	const char *sof = memmem(jpeg.p, jpeg.n, "\xff\xc0", 2), *frame;
	struct rusage ru;

	ck_assert_ptr_nonnull(sof);
	/* Within the sides, beyond the pixels; then beyond the sides. */
	fails(with_size(jpeg, (size_t)(sof - jpeg.p) + 5, 16000, 16000, false),
	    RC_INVALID, "too_many_pixels");
	fails(with_size(jpeg, (size_t)(sof - jpeg.p) + 5, 65500, 1, false),
	    RC_INVALID, "too_many_pixels");
	/* Where canvas and frame agree. */
	frame = memmem(gif.p, gif.n, "\x2c\0\0\0\0", 5);
	ck_assert_ptr_nonnull(frame);
	fails(with_size(with_size(gif, 6, 16000, 16000, true),
		  (size_t)(frame - gif.p) + 5, 16000, 16000, true),
	    RC_INVALID, "too_many_pixels");
	ck_assert_int_eq(getrusage(RUSAGE_CHILDREN, &ru), 0);
	if (!SANITIZED)
		ck_assert_int_lt(ru.ru_maxrss, 80 * MB);
}
END_TEST

START_TEST(a_bomb_is_not_decoded)
{
	/* 12,000 x 12,000 in a few KB; and as many as allowed pass. */
	VipsImage *im;
	struct span bomb;

	VIPS(vips_black(&im, 12000, 12000, NULL));
	bomb = saved(im, ".png[bitdepth=1]");
	ck_assert(bomb.n < 100000);
	fails(bomb, RC_INVALID, "too_many_pixels");
	ck_assert_ptr_nonnull(strstr(e.msg, "12000 x 12000"));
	opts.max_pixels = 100 * 100;
	fails(saved(given_flag(101, 100, 3), ".png"), RC_INVALID,
	    "too_many_pixels");
	runs(saved(given_flag(100, 100, 3), ".png"));
}
END_TEST

START_TEST(a_large_file_is_not_read)
{
	struct span png = saved(given_flag(100, 100, 3), ".png");

	opts.max_bytes = (int64_t)png.n - 1;
	opts.program = "/nonexistent"; /* not even started */
	fails(png, RC_INVALID, "too_large");
}
END_TEST

START_TEST(a_large_picture_takes_bounded_memory)
{
	VipsImage *im = given_noise(8660, 5772); /* 50 million pixels */
	struct span jpeg;

	if (SANITIZED) {
		g_object_unref(im);
		return;
	}
	jpeg =
	    saved(im, _i == 0 ? ".jpg" : ".jpg[interlace,subsample_mode=off]");
	opts.formats = IMAGER_WEBP;
	runs(jpeg);
	ck_assert_int_lt(result.peak_kb, (_i == 0 ? 160 : 450) * MB);
	imager_result_free(&result);
	if (_i == 0)
		return;
	/* This one needs all coefficients at once. */
	opts.memory_mb = 350;
	fails(jpeg, RC_INVALID, "out_of_memory");
}
END_TEST

/* ---- programs that misbehave */

/* A shell script in the program's place. */
static void
given_program(const char *script)
{
	char path[] = "/tmp/souk-imager-test.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(dprintf(fd, "#!/bin/sh\n%s\n", script), 0);
	ck_assert_int_eq(fchmod(fd, 0700), 0);
	ck_assert_int_eq(close(fd), 0);
	opts.program = arena_strdup(arena, path);
}

static void
ends(const char *script, enum rc rc, const char *code)
{
	given_program(script);
	fails(span_of("x"), rc, code);
	ck_assert_int_eq(unlink(opts.program), 0);
	/* Nobody is left, not even as a zombie. */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}

START_TEST(every_death_has_a_name)
{
	static const struct {
		const char *script;
		enum rc rc;
		const char *code;
	} deaths[] = {
		{ "kill -SEGV $$", RC_INVALID, "imager_crashed" },
		{ "kill -ABRT $$", RC_INVALID, "imager_crashed" },
		{ "kill -SYS $$", RC_FAIL, "sandbox" },
		{ "kill -KILL $$", RC_RETRY, "out_of_memory" },
		{ "ulimit -St 1; while :; do :; done", RC_INVALID,
		    "timed_out" },
		{ "exit 111", RC_INVALID, "out_of_memory" },
		{ "echo oh dear >&2; exit 3", RC_FAIL, "imager_answer" },
		{ "exit 0", RC_FAIL, "imager_answer" },
		{ "echo '{'", RC_FAIL, "imager_answer" },
		{ "echo '{\"error\":\"truncated\",\"message\":\"m\"}'; exit 1",
		    RC_INVALID, "truncated" },
		{ "echo '{\"error\":\"sandbox\",\"message\":\"m\"}'; exit 1",
		    RC_FAIL, "sandbox" },
		{ "echo '{\"error\":\"you_are_paid\",\"message\":\"m\"}'; "
		  "exit 1",
		    RC_FAIL, "imager_answer" },
		{ "echo '{\"error\":\"truncated\",\"message\":7}'; exit 1",
		    RC_FAIL, "imager_answer" },
		{ "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done",
		    RC_FAIL, "imager_answer" },
		/* An answer does not excuse a crash. */
		{ "echo '{\"error\":\"truncated\",\"message\":\"m\"}'; "
		  "kill -SEGV $$",
		    RC_INVALID, "imager_crashed" },
	};

	for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
		ends(deaths[i].script, deaths[i].rc, deaths[i].code);
		if (strstr(deaths[i].script, "oh dear") != NULL)
			ck_assert_ptr_nonnull(strstr(e.msg, "oh dear"));
	}
}
END_TEST

/* What a program that is in somebody else's hands might say. */
START_TEST(no_lie_is_believed)
{
#define HEAD                                                                   \
	"printf RIFFxxxxWEBPxxxx >&4; printf xxxxftypavif >&5; echo "          \
	"'{\"type\":\"png\",\"width\":100,\"height\":50,\"frames\":1,"         \
	"\"sandbox\":{\"seccomp\":true,\"landlock\":3,\"memory\":true},"       \
	"\"variants\":["
#define VARIANT(file, format, w, h, bytes)                                     \
	"{\"file\":" file ",\"format\":\"" format "\",\"width\":" w            \
	",\"height\":" h ",\"bytes\":" bytes "}"
	static const char *const lies[] = {
		HEAD "]}'",
		HEAD VARIANT("5", "webp", "100", "50", "16") "]}'",
		HEAD VARIANT("0", "webp", "100", "50", "16") "]}'",
		HEAD VARIANT("4", "html", "100", "50", "16") "]}'",
		HEAD VARIANT("4", "avif", "100", "50", "16") "]}'",
		HEAD VARIANT("4", "webp", "101", "50", "16") "]}'",
		HEAD VARIANT("4", "webp", "100", "-1", "16") "]}'",
		HEAD VARIANT("4", "webp", "100", "50", "17") "]}'",
		HEAD VARIANT("4", "webp", "100", "50", "1.6e1") "]}'",
		HEAD VARIANT(
		    "4", "webp", "100", "50", "99999999999999999999") "]}'",
		HEAD VARIANT("4", "webp", "100", "50", "16") "," VARIANT(
		    "4", "webp", "100", "50", "16") "]}'",
		("printf '<html>xxxxxxxxxx' >&4; "
		 "echo '{\"type\":\"png\",\"width\":100,\"height\":50,"
		 "\"frames\":1,\"sandbox\":{\"landlock\":3},"
		 "\"variants\":[" VARIANT(
		     "4", "webp", "100", "50", "16") "]}'"),
		("echo '{\"type\":\"png\",\"width\":100000,\"height\":50,"
		 "\"frames\":1,\"sandbox\":{\"landlock\":3},"
		 "\"variants\":[]}'"),
		"echo '[]'",
	};

	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
		ends(lies[i], RC_FAIL, "imager_answer");
	/* The same words, true this time. */
	given_program(HEAD VARIANT("4", "webp", "100", "50", "16") "," VARIANT(
	    "5", "avif", "100", "50", "12") "]}'");
	runs(span_of("x"));
	ck_assert_int_eq(result.n, 2);
	ck_assert_int_eq(unlink(opts.program), 0);
}
END_TEST

START_TEST(a_stopped_program_is_ended)
{
	opts.timeout_ms = 200;
	ends("kill -STOP $$", RC_RETRY, "timed_out");
	ends("exec sleep 100", RC_RETRY, "timed_out");
	ends("exec >&- 2>&-; exec sleep 100", RC_RETRY, "timed_out");
}
END_TEST

START_TEST(a_missing_program_is_named)
{
	opts.program = "/nonexistent/souk-imager";
	fails(span_of("x"), RC_FAIL, "imager_missing");
	ck_assert_ptr_nonnull(strstr(e.msg, "/nonexistent/souk-imager"));
	ck_assert_ptr_nonnull(strstr(e.msg, "No such file"));
}
END_TEST

START_TEST(the_program_inherits_nothing)
{
	static const int one = 320;
	int spy = given_file(span_of("")), keep = open("/dev/null", O_RDONLY);
	char said[4096];
	ssize_t n;

	/* Inheritable descriptors, and variables. */
	ck_assert_int_ge(keep, 0);
	ck_assert_int_eq(dup2(keep, 99), 99);
	ck_assert_int_eq(setenv("SOUK_SECRET", "1", 1), 0);
	opts.widths = &one;
	opts.n_widths = 1;
	given_program(arena_printf(arena,
	    "exec 9>/proc/%d/fd/%d; env >&9; ls /proc/self/fd >&9; "
	    "cat <&3 >&9; printf x 2>/dev/null >&3 || echo refused >&9",
	    (int)getpid(), spy));
	fails(span_of("the original"), RC_FAIL, "imager_answer");
	ck_assert_int_eq(unlink(opts.program), 0);
	n = pread(spy, said, sizeof said - 1, 0);
	ck_assert_int_gt(n, 0);
	said[n] = '\0';
	ck_assert_msg(strstr(said, "SOUK_SECRET") == NULL, "%s", said);
	/* 6 is ls reading the folder, 9 the spy. */
	ck_assert_msg(strstr(said, "\n99\n") == NULL, "%s", said);
	ck_assert_msg(strstr(said, "\n7\n") == NULL, "%s", said);
	ck_assert_msg(strstr(said, "\n5\n") != NULL, "%s", said);
	ck_assert_msg(strstr(said, "the original") != NULL, "%s", said);
	ck_assert_msg(strstr(said, "refused") != NULL, "%s", said);
	(void)close(spy);
	(void)close(keep);
	(void)close(99);
}
END_TEST

static int
descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		n++;
	(void)closedir(d);
	return n;
}

START_TEST(nothing_stays_open)
{
	struct span png = saved(given_flag(40, 40, 3), ".png");
	int fd = given_file(png), before = descriptors();
	off_t at = lseek(fd, 7, SEEK_SET);

	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(
		    imager_run(&opts, fd, arena, &result, &e), RC_OK);
		ck_assert_int_eq(descriptors(), before + result.n);
		imager_result_free(&result);
		ck_assert_int_eq(descriptors(), before);
	}
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), at);
	opts.claimed = "x.jpg";
	ck_assert_int_eq(imager_run(&opts, fd, arena, &result, &e), RC_INVALID);
	opts.program = "/nonexistent";
	ck_assert_int_eq(imager_run(&opts, fd, arena, &result, &e), RC_FAIL);
	opts.max_bytes = 1;
	ck_assert_int_eq(imager_run(&opts, fd, arena, &result, &e), RC_INVALID);
	ck_assert_int_eq(imager_run(&opts, -1, arena, &result, &e), RC_FAIL);
	ck_assert_int_eq(descriptors(), before);
	(void)close(fd);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("imager");
	TCase *good = tcase_create("good"), *bad = tcase_create("bad");
	TCase *liar = tcase_create("liar");
	SRunner *sr;

	tcase_add_checked_fixture(good, setup, teardown);
	tcase_set_timeout(good, 120);
	tcase_add_test(good, variants_are_by_width_and_format);
	tcase_add_test(good, a_narrow_picture_keeps_its_width);
	tcase_add_test(good, a_very_tall_picture_has_few_variants);
	tcase_add_test(good, widths_and_formats_are_asked_for);
	tcase_add_loop_test(good, orientation_is_applied, 1, 9);
	tcase_add_loop_test(good, alpha_is_kept, 0, 3);
	tcase_add_loop_test(good, only_the_first_frame_is_taken, 0, 2);
	tcase_add_test(good, avif_is_read);
	tcase_add_test(good, deep_colours_become_8_bit);
	tcase_add_loop_test(good, cmyk_becomes_srgb, 0, 2);
	tcase_add_test(good, a_profile_is_applied);
	tcase_add_loop_test(good, grey_is_taken, 0, 2);
	tcase_add_test(good, a_variant_is_sealed_and_hashed);
	tcase_add_test(good, the_kernel_s_part_is_said);
	suite_add_tcase(s, good);
	tcase_add_checked_fixture(bad, setup, teardown);
	tcase_set_timeout(bad, 120);
	tcase_add_test(bad, text_is_no_picture);
	tcase_add_test(bad, other_types_are_named);
	tcase_add_test(bad, a_type_that_lies_is_named);
	tcase_add_loop_test(bad, a_cut_file_is_truncated, 0, 7);
	tcase_add_test(bad, declared_dimensions_are_judged_first);
	tcase_add_test(bad, a_bomb_is_not_decoded);
	tcase_add_test(bad, a_large_file_is_not_read);
	tcase_add_loop_test(bad, a_large_picture_takes_bounded_memory, 0, 2);
	suite_add_tcase(s, bad);
	tcase_add_checked_fixture(liar, setup, teardown);
	tcase_set_timeout(liar, 120);
	tcase_add_test(liar, every_death_has_a_name);
	tcase_add_test(liar, no_lie_is_believed);
	tcase_add_test(liar, a_stopped_program_is_ended);
	tcase_add_test(liar, a_missing_program_is_named);
	tcase_add_test(liar, the_program_inherits_nothing);
	tcase_add_test(liar, nothing_stays_open);
	suite_add_tcase(s, liar);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
