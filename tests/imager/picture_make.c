/*
 * picture_make - pictures for tests.
 *
 *	picture_make new WIDTH HEIGHT SEED OUT      clouds with a grain, Exif in
 *	picture_make cut FIRST N FOLDER PHOTO...    N pieces of photos, each
 *	                                            another one:
 *FOLDER/FIRST.jpg,
 *	                                            ...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

static _Noreturn void
give_up(const char *what)
{
	(void)fprintf(
	    stderr, "picture_make: %s: %s\n", what, vips_error_buffer());
	exit(1);
}

static void
save(VipsImage *image, const char *out)
{
	if (vips_image_write_to_file(image, out, NULL) != 0)
		give_up(out);
	g_object_unref(image);
}

static void
make_new(int width, int height, int seed, const char *out)
{
	VipsImage *t[5];

	if (vips_perlin(&t[0], width, height, "cell_size", 64, "seed", seed,
		NULL) != 0 ||
	    vips_gaussnoise(&t[1], width, height, "mean", 100.0, "sigma", 12.0,
		"seed", seed, NULL) != 0 ||
	    vips_linear1(t[0], &t[2], 80, 0, NULL) != 0 ||
	    vips_add(t[1], t[2], &t[3], NULL) != 0 ||
	    vips_cast(t[3], &t[4], VIPS_FORMAT_UCHAR, NULL) != 0)
		give_up("new");
	vips_image_set_string(t[4], "exif-ifd0-Make", "a camera");
	vips_image_set_string(t[4], "exif-ifd3-GPSLatitude", "52/1 31/1 0/1");
	for (int i = 0; i < 4; i++)
		g_object_unref(t[i]);
	save(t[4], out);
}

/* Where and how large, by the number alone. The number is in its Exif: no two
 * files are the same. */
static void
cut_one(VipsImage *photo, unsigned n, const char *out)
{
	int w = vips_image_get_width(photo), h = vips_image_get_height(photo);
	int size = 400 + (int)(n * 7919 % 1200);
	int cut_w = size < w ? size : w - (int)(n % (unsigned)(w / 3));
	int cut_h = h * cut_w / w;
	VipsImage *piece, *own;
	char name[20];

	(void)snprintf(name, sizeof name, "%u", n);
	cut_h = cut_h < 1 ? 1 : cut_h > h ? h : cut_h;
	if (vips_extract_area(photo, &piece,
		(int)(n * 104729 % (unsigned)(w - cut_w + 1)),
		(int)(n * 15485863 % (unsigned)(h - cut_h + 1)), cut_w, cut_h,
		NULL) != 0 ||
	    vips_copy(piece, &own, NULL) != 0)
		give_up(out);
	vips_image_set_string(own, "exif-ifd0-ImageDescription", name);
	g_object_unref(piece);
	save(own, out);
}

int
main(int argc, char **argv)
{
	if (VIPS_INIT(argv[0]) != 0)
		give_up("libvips");
	vips_cache_set_max(0);
	if (argc == 6 && strcmp(argv[1], "new") == 0) {
		make_new(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), argv[5]);
		return 0;
	}
	if (argc < 6 || strcmp(argv[1], "cut") != 0)
		return 2;
	for (int p = 0, n_photos = argc - 5; p < n_photos; p++) {
		VipsImage *photo = vips_image_new_from_file(argv[5 + p], NULL);
		VipsImage *memory =
		    photo == NULL ? NULL : vips_image_copy_memory(photo);

		if (memory == NULL)
			give_up(argv[5 + p]);
		for (int i = p; i < atoi(argv[3]); i += n_photos) {
			int n = atoi(argv[2]) + i;
			char *out = g_strdup_printf("%s/%d.jpg", argv[4], n);

			cut_one(memory, (unsigned)n, out);
			g_free(out);
		}
		g_object_unref(memory);
		g_object_unref(photo);
	}
	return 0;
}
