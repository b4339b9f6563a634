#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "shop/catalog_patch.h"

static struct arena *arena;
static struct catalog_patch patch;
static struct err e;

static void
setup(void)
{
	arena = arena_new();
}

static void
teardown(void)
{
	catalog_patch_release(&patch);
	arena_free(arena);
}

static enum rc
read_patch(const char *body)
{
	return catalog_patch_read(span_of(body), arena, &patch, &e);
}

START_TEST(what_is_left_out_stays)
{
	ck_assert_int_eq(read_patch("{\"title\":\"Mug\",\"other\":1}"), RC_OK);
	ck_assert_str_eq(patch.title, "Mug");
	ck_assert_ptr_null(patch.vendor);
	ck_assert_ptr_null(patch.tags);
	ck_assert_ptr_null(patch.description);
	ck_assert_ptr_null(patch.variants);
	ck_assert(!patch.stock_only);
}
END_TEST

START_TEST(a_change_of_stock_alone_is_known_as_such)
{
	ck_assert_int_eq(
	    read_patch("{\"variants\":[{\"id\":1,\"stock\":3}]}"), RC_OK);
	ck_assert(patch.stock_only);
	catalog_patch_release(&patch);
	ck_assert_int_eq(read_patch("{\"variants\":[{\"id\":1,\"stock\":3},"
				    "{\"id\":2,\"price\":1}]}"),
	    RC_OK);
	ck_assert(!patch.stock_only);
}
END_TEST

START_TEST(a_description_is_made_safe_and_summed_up)
{
	ck_assert_int_eq(
	    read_patch("{\"description\":\"<p onclick=x>A <b>mug</b>"
		       "<script>y</script></p>\"}"),
	    RC_OK);
	ck_assert_ptr_nonnull(strstr(patch.description, "<b>mug</b>"));
	ck_assert_ptr_null(strstr(patch.description, "script"));
	ck_assert_ptr_null(strstr(patch.description, "onclick"));
	ck_assert_str_eq(patch.summary, "A mug");
}
END_TEST

START_TEST(tags_are_kept_as_json)
{
	ck_assert_int_eq(read_patch("{\"tags\":[\"a\",\"b c\"]}"), RC_OK);
	ck_assert_str_eq(patch.tags, "[\"a\",\"b c\"]");
}
END_TEST

static const struct {
	const char *body, *code, *names;
} bad[] = {
	{ "", "invalid_json", "object" },
	{ "[]", "invalid_json", "something else" },
	{ "{\"title\":\"a\",\"title\":\"b\"}", "invalid_json", "duplicate" },
	{ "{\"title\":\"\xff\"}", "invalid_json", "0xff" },
	{ "{\"title\":1}", "invalid_field", "title" },
	{ "{\"title\":\"\"}", "invalid_field", "title" },
	{ "{\"title\":null}", "invalid_field", "title" },
	{ "{\"title\":\"a\\u0000b\"}", "invalid_json", "" },
	{ "{\"title\":\" \\t \"}", "invalid_field", "spaces" },
	{ "{\"title\":\"a\\u0001b\"}", "invalid_field", "control" },
	{ "{\"vendor\":\"\\u001b[2J\"}", "invalid_field", "control" },
	{ "{\"status\":\"sold\"}", "invalid_field", "status" },
	{ "{\"tags\":\"a\"}", "invalid_field", "tags" },
	{ "{\"tags\":[1]}", "invalid_field", "tags" },
	{ "{\"tags\":[\"\"]}", "invalid_field", "tags" },
	{ "{\"seo\":[]}", "invalid_field", "seo" },
	{ "{\"seo\":{\"title\":1}}", "invalid_field", "title" },
	{ "{\"variants\":{}}", "invalid_field", "variants" },
	{ "{\"variants\":[1]}", "invalid_field", "variants" },
	{ "{\"variants\":[{\"price\":1}]}", "invalid_field", "variants" },
	{ "{\"variants\":[{\"id\":1,\"price\":-1}]}", "invalid_field",
	    "price" },
	{ "{\"variants\":[{\"id\":1,\"price\":1.5}]}", "invalid_field",
	    "price" },
	{ "{\"variants\":[{\"id\":1,\"price\":null}]}", "invalid_field",
	    "price" },
	{ "{\"variants\":[{\"id\":1,\"price\":100000000000001}]}",
	    "invalid_field", "price" },
	{ "{\"variants\":[{\"id\":1,\"stock\":\"3\"}]}", "invalid_field",
	    "stock" },
	{ "{\"variants\":[{\"id\":1,\"stock\":2147483648}]}", "invalid_field",
	    "stock" },
	{ "{\"variants\":[{\"id\":1,\"sku\":\"\"}]}", "invalid_field", "sku" },
};

START_TEST(a_wrong_member_is_named)
{
	ck_assert_int_eq(read_patch(bad[_i].body), RC_INVALID);
	ck_assert_str_eq(e.code, bad[_i].code);
	ck_assert_msg(strstr(e.msg, bad[_i].names) != NULL, "%s", e.msg);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("catalog_patch");
	TCase *tc = tcase_create("catalog_patch");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_left_out_stays);
	tcase_add_test(tc, a_change_of_stock_alone_is_known_as_such);
	tcase_add_test(tc, a_description_is_made_safe_and_summed_up);
	tcase_add_test(tc, tags_are_kept_as_json);
	tcase_add_loop_test(
	    tc, a_wrong_member_is_named, 0, (int)(sizeof bad / sizeof *bad));
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
