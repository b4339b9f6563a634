/*
 * What is told of a picture: its variants' addresses, and which of them shows
 * it. Nothing here needs a store; the rest is tests/it/images.sh.
 */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "shop/image.h"
#include "shop/image_int.h"
#include "shop/settings.h"
#include "shop/shop.h"

static struct shop shop;
static struct conf *conf;
static json_t *image;

static void
given_base_url(const char *env)
{
	char buf[100];
	char *vars[] = { buf, NULL };
	struct err e = ERR_INIT;

	(void)snprintf(buf, sizeof buf, "SOUK_MEDIA_BASE_URL=%s", env);
	conf_free(conf);
	ck_assert_int_eq(
	    conf_load(settings_rows, NULL, vars, &conf, NULL, &e), RC_OK);
	shop.conf = conf;
}

/* As the database gives it: by width, formats side by side. */
static void
given_image(int n, const int widths[])
{
	json_t *variants = json_array();

	for (int i = 0; i < n; i++) {
		for (int k = 0; k < 2; k++) {
			const char *format = k == 0 ? "webp" : "avif";

			json_array_append_new(
			    variants, json_pack("{s:s, s:i, s:i, s:i, s:s+}",
					  "format", format, "width", widths[i],
					  "height", widths[i] / 2, "bytes", 5,
					  "key", k == 0 ? "w" : "a",
					  (const char *)(i == 0   ? "0"
							 : i == 1 ? "1"
							 : i == 2 ? "2"
								  : "3")));
		}
	}
	json_decref(image);
	image = json_pack("{s:s, s:s, s:i, s:n, s:o}", "url", "/media/hash",
	    "alt", "", "width", 9, "height", "variants", variants);
	ck_assert_ptr_nonnull(image);
}

static void
setup(void)
{
	given_base_url("/media/");
}

static void
teardown(void)
{
	json_decref(image);
	image = NULL;
	conf_free(conf);
	conf = NULL;
}

static const char *
url(void)
{
	return json_string_value(json_object_get(image, "url"));
}

static int
width(void)
{
	return (int)json_integer_value(json_object_get(image, "width"));
}

static size_t
variants(void)
{
	return json_array_size(json_object_get(image, "variants"));
}

START_TEST(a_product_shows_the_widest_webp_that_is_not_too_wide)
{
	given_image(4, (int[]){ 320, 640, 1280, 1920 });
	image_publish(&shop, image, IMAGE_IN_PRODUCT);
	ck_assert_str_eq(url(), "/media/w2");
	ck_assert_int_eq(width(), 1280);
	ck_assert_uint_eq(variants(), 8);
}
END_TEST

START_TEST(a_list_has_small_ones_alone)
{
	given_image(4, (int[]){ 320, 640, 1280, 1920 });
	image_publish(&shop, image, IMAGE_IN_LIST);
	ck_assert_str_eq(url(), "/media/w1");
	ck_assert_int_eq(width(), 640);
	ck_assert_uint_eq(variants(), 4);
}
END_TEST

START_TEST(where_all_are_too_wide_the_narrowest_shows_it)
{
	given_image(2, (int[]){ 1500, 3000 });
	image_publish(&shop, image, IMAGE_IN_PRODUCT);
	ck_assert_str_eq(url(), "/media/w0");
	ck_assert_uint_eq(variants(), 4);
	given_image(2, (int[]){ 1500, 3000 });
	image_publish(&shop, image, IMAGE_IN_LIST);
	ck_assert_str_eq(url(), "/media/w0");
	ck_assert_uint_eq(variants(), 2);
}
END_TEST

START_TEST(what_is_stored_of_a_variant_is_not_told)
{
	const json_t *v;

	given_image(1, (int[]){ 200 });
	image_publish(&shop, image, IMAGE_IN_PRODUCT);
	v = json_array_get(json_object_get(image, "variants"), 1);
	ck_assert_str_eq(
	    json_string_value(json_object_get(v, "url")), "/media/a0");
	ck_assert_ptr_null(json_object_get(v, "key"));
	ck_assert_ptr_null(json_object_get(v, "bytes"));
	ck_assert_uint_eq(json_object_size(v), 4);
}
END_TEST

START_TEST(pictures_can_lie_behind_another_address)
{
	given_base_url("https://cdn.example/shop");
	given_image(1, (int[]){ 200 });
	image_publish(&shop, image, IMAGE_IN_PRODUCT);
	ck_assert_str_eq(url(), "https://cdn.example/shop/w0");
}
END_TEST

START_TEST(one_without_variants_is_shown_by_its_address)
{
	image = json_pack("{s:s, s:n, s:n, s:n}", "url", "https://x.test/1.png",
	    "width", "height", "variants");
	image_publish(&shop, image, IMAGE_IN_LIST);
	ck_assert_str_eq(url(), "https://x.test/1.png");
	ck_assert_ptr_null(json_object_get(image, "variants"));
	json_decref(image);
	image = json_null(); /* a product without any */
	image_publish(&shop, image, IMAGE_IN_LIST);
	image_publish(&shop, NULL, IMAGE_IN_LIST);
}
END_TEST

static const struct {
	const char *text;
	int n, first, last;
} lists[] = {
	{ "320,640,1280,1920", 4, 320, 1920 },
	{ "16", 1, 16, 16 },
	{ " 100 , 200 ", 2, 100, 200 },
	{ "1000,1001,1002,1003,1004,1005,1006,16383", 8, 1000, 16383 },
	{ "", 0, 0, 0 },
	{ "15", 0, 0, 0 },
	{ "16384", 0, 0, 0 },
	{ "200,100", 0, 0, 0 },
	{ "200,200", 0, 0, 0 },
	{ "100,", 0, 0, 0 },
	{ ",100", 0, 0, 0 },
	{ "100 200", 0, 0, 0 },
	{ "100;200", 0, 0, 0 },
	{ "-100", 0, 0, 0 },
	{ "1000,1001,1002,1003,1004,1005,1006,1007,1008", 0, 0, 0 },
};

START_TEST(widths_ascend)
{
	int out[IMAGER_WIDTHS] = { 0 };
	int n = image_widths(lists[_i].text, out);

	ck_assert_int_eq(n, lists[_i].n);
	if (n > 0) {
		ck_assert_int_eq(out[0], lists[_i].first);
		ck_assert_int_eq(out[n - 1], lists[_i].last);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("image");
	TCase *tc = tcase_create("view");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(
	    tc, a_product_shows_the_widest_webp_that_is_not_too_wide);
	tcase_add_test(tc, a_list_has_small_ones_alone);
	tcase_add_test(tc, where_all_are_too_wide_the_narrowest_shows_it);
	tcase_add_test(tc, what_is_stored_of_a_variant_is_not_told);
	tcase_add_test(tc, pictures_can_lie_behind_another_address);
	tcase_add_test(tc, one_without_variants_is_shown_by_its_address);
	tcase_add_loop_test(
	    tc, widths_ascend, 0, (int)(sizeof lists / sizeof *lists));
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
