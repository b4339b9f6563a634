/*
 * Signature Version 4: the examples that AWS publishes.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "store/sigv4.h"

#define NO_PAIRS                                                               \
	{                                                                      \
		{                                                              \
			NULL, NULL                                             \
		}                                                              \
	}

static struct arena *arena;

static void
setup(void)
{
	arena = arena_new();
}

static void
teardown(void)
{
	arena_free(arena);
}

/* The line that begins so, "" none. */
static const char *
header(const struct sigv4_signed *out, const char *start)
{
	for (int i = 0; i < out->n_headers; i++) {
		if (strncmp(out->header[i], start, strlen(start)) == 0)
			return out->header[i];
	}
	return "";
}

static const char *
signature(const struct sigv4_signed *out)
{
	const char *s = strstr(header(out, "Authorization: "), ", Signature=");

	return s == NULL ? "" : s + strlen(", Signature=");
}

/* ---- what AWS publishes */

/* "Create a canonical request", IAM User Guide. */
START_TEST(test_iam_example)
{
	struct sigv4_signed out;

	sigv4_sign(
	    &(struct sigv4_request){ .method = "GET",
		.host = "iam.amazonaws.com",
		.path = "/",
		.query =
		    (const struct sigv4_pair[]){ { "Version", "2010-05-08" },
			{ "Action", "ListUsers" } },
		.n_query = 2,
		.headers = (const struct sigv4_pair[]){ { "Content-Type",
		    "application/x-www-form-urlencoded; charset=utf-8" } },
		.n_headers = 1,
		.region = "us-east-1",
		.service = "iam",
		.wall_ms = 1440938160000 },
	    &(struct sigv4_key){
		"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "" },
	    arena, &out);
	ck_assert_str_eq(out.target, "/?Action=ListUsers&Version=2010-05-08");
	ck_assert_str_eq(
	    header(&out, "X-Amz-Date"), "X-Amz-Date: 20150830T123600Z");
	ck_assert_str_eq(header(&out, "Authorization"),
	    "Authorization: AWS4-HMAC-SHA256 "
	    "Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
	    "SignedHeaders=content-type;host;x-amz-date, "
	    "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924"
	    "a6f2b5d7");
	ck_assert_int_eq(out.n_headers, 3);
}
END_TEST

/* "Signature Calculations for the Authorization Header", S3 API Reference. */
static const struct {
	const char *method, *path, *body;
	struct sigv4_pair query[2], headers[2];
	const char *signature;
} s3_examples[] = {
	{ "GET", "/test.txt", "", NO_PAIRS, { { "Range", "bytes=0-9" } },
	    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb4"
	    "1" },
	{ "PUT", "/test$file.text", "Welcome to Amazon S3.", NO_PAIRS,
	    { { "Date", "Fri, 24 May 2013 00:00:00 GMT" },
		{ "x-amz-storage-class", "REDUCED_REDUNDANCY" } },
	    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108b"
	    "d" },
	{ "GET", "/", "", { { "lifecycle", "" } }, NO_PAIRS,
	    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a013678354"
	    "3" },
	{ "GET", "/", "", { { "prefix", "J" }, { "max-keys", "2" } }, NO_PAIRS,
	    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f"
	    "7" },
};

static const struct sigv4_key s3_key = { "AKIAIOSFODNN7EXAMPLE",
	"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "" };

static int
pairs(const struct sigv4_pair *pair, int max)
{
	int n = 0;

	while (n < max && pair[n].name != NULL)
		n++;
	return n;
}

START_TEST(test_s3_examples)
{
	struct sigv4_signed out;

	sigv4_sign(&(struct sigv4_request){ .method = s3_examples[_i].method,
		       .host = "examplebucket.s3.amazonaws.com",
		       .path = s3_examples[_i].path,
		       .query = s3_examples[_i].query,
		       .n_query = pairs(s3_examples[_i].query, 2),
		       .headers = s3_examples[_i].headers,
		       .n_headers = pairs(s3_examples[_i].headers, 2),
		       .body = span_of(s3_examples[_i].body),
		       .region = "us-east-1",
		       .service = "s3",
		       .wall_ms = 1369353600000 },
	    &s3_key, arena, &out);
	ck_assert_str_eq(signature(&out), s3_examples[_i].signature);
}
END_TEST

/* "Authenticating Requests: Using Query Parameters", S3 API Reference. */
START_TEST(test_s3_presigned_example)
{
	ck_assert_str_eq(
	    sigv4_presign(&(struct sigv4_request){ .method = "GET",
			      .host = "examplebucket.s3.amazonaws.com",
			      .path = "/test.txt",
			      .region = "us-east-1",
			      .service = "s3",
			      .wall_ms = 1369353600000 },
		&s3_key, 86400, arena),
	    "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
	    "AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&"
	    "X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&"
	    "X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b8"
	    "6d86835f995330da4c265957d157751f604d404");
}
END_TEST

/* From the Signature Version 4 Test Suite (get-vanilla and its like). */
static const struct {
	const char *method, *path;
	struct sigv4_pair query[2];
	const char *signature;
} suite[] = {
	{ "GET", "/", NO_PAIRS,
	    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf3"
	    "1" },
	{ "POST", "/", NO_PAIRS,
	    "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6"
	    "b" },
	{ "GET", "/", { { "Param2", "value2" }, { "Param1", "value1" } },
	    "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf250"
	    "0" },
	/* These are the same as get-vanilla, by normalising. */
	{ "GET", "/example/..", NO_PAIRS,
	    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf3"
	    "1" },
	{ "GET", "/./", NO_PAIRS,
	    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf3"
	    "1" },
	{ "GET", "//", NO_PAIRS,
	    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf3"
	    "1" },
};

START_TEST(test_suite)
{
	struct sigv4_signed out;

	sigv4_sign(&(struct sigv4_request){ .method = suite[_i].method,
		       .host = "example.amazonaws.com",
		       .path = suite[_i].path,
		       .query = suite[_i].query,
		       .n_query = pairs(suite[_i].query, 2),
		       .region = "us-east-1",
		       .service = "service",
		       .wall_ms = 1440938160000 },
	    &(struct sigv4_key){
		"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "" },
	    arena, &out);
	ck_assert_str_eq(signature(&out), suite[_i].signature);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sigv4");
	TCase *tc = tcase_create("aws");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_iam_example);
	tcase_add_loop_test(
	    tc, test_s3_examples, 0, sizeof s3_examples / sizeof *s3_examples);
	tcase_add_test(tc, test_s3_presigned_example);
	tcase_add_loop_test(tc, test_suite, 0, sizeof suite / sizeof *suite);
	suite_add_tcase(s, tc);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
