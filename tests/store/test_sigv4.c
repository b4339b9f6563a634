/*
 * Signature Version 4: the examples that AWS publishes, and the requests of
 * tests/aws/vectors.json as the AWS SDK's own signer signs them; with the name
 * of a file, those of that file instead (tests/it/sigv4.sh).
 */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
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

/* ---- as the AWS SDK's signer does (tests/aws/vectors.mjs) */

static const char *vectors_path; /* NULL: the recorded ones */

static const char *
text(const json_t *v, const char *name)
{
	const char *s = json_string_value(json_object_get(v, name));

	ck_assert_msg(s != NULL, "a vector without %s", name);
	return s;
}

static struct sigv4_pair *
pairs_read(const json_t *list, int *n)
{
	struct sigv4_pair *out =
	    arena_calloc(arena, json_array_size(list) + 1, sizeof *out);
	const json_t *pair;
	size_t i;

	*n = (int)json_array_size(list);
	json_array_foreach(list, i, pair)
	{
		out[i].name = json_string_value(json_array_get(pair, 0));
		out[i].value = json_string_value(json_array_get(pair, 1));
	}
	return out;
}

/* The line with its name in small letters. */
static const char *
line_lower(const char *line)
{
	char *out = arena_strdup(arena, line);

	for (char *p = out; *p != '\0' && *p != ':'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p | 0x20);
	}
	return out;
}

static int
line_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
judge_signed(const json_t *v, const struct sigv4_signed *out, int given)
{
	const json_t *want = json_object_get(v, "want");
	const json_t *added = json_object_get(want, "added");
	const char *lines[SIGV4_HEADERS];
	const json_t *line;
	size_t i, n = 0;

	ck_assert_msg(strcmp(out->target, text(want, "target")) == 0,
	    "%s: %s, not %s", text(v, "name"), out->target,
	    text(want, "target"));
	for (int k = given; k < out->n_headers; k++)
		lines[n++] = line_lower(out->header[k]);
	qsort(lines, n, sizeof *lines, line_order);
	ck_assert_uint_eq(n, json_array_size(added));
	json_array_foreach(added, i, line)
	{
		ck_assert_msg(strcmp(lines[i], json_string_value(line)) == 0,
		    "%s: %s, not %s", text(v, "name"), lines[i],
		    json_string_value(line));
	}
}

START_TEST(what_the_sdk_signs_is_signed_the_same)
{
	const char *src = getenv("srcdir");
	const char *path = vectors_path != NULL
			       ? vectors_path
			       : arena_concat(arena, src == NULL ? "." : src,
				     "/tests/aws/vectors.json", NULL);
	int in_header = 0, in_address = 0;
	json_error_t why;
	json_t *vectors = json_load_file(path, 0, &why);
	const json_t *v;
	size_t i;

	ck_assert_msg(vectors != NULL, "%s: %s", path, why.text);
	json_array_foreach(vectors, i, v)
	{
		const struct sigv4_key key = { text(v, "id"), text(v, "secret"),
			text(v, "token") };
		const int64_t seconds =
		    json_integer_value(json_object_get(v, "seconds"));
		struct sigv4_request rq = { .method = text(v, "method"),
			.host = text(v, "host"),
			.path = text(v, "path"),
			.body = span_of(text(v, "body")),
			.unsigned_body =
			    json_is_true(json_object_get(v, "unsigned")),
			.region = text(v, "region"),
			.service = text(v, "service"),
			.wall_ms =
			    json_integer_value(json_object_get(v, "wall_ms")) };
		struct sigv4_signed out;

		rq.query = pairs_read(json_object_get(v, "query"), &rq.n_query);
		rq.headers =
		    pairs_read(json_object_get(v, "headers"), &rq.n_headers);
		if (seconds > 0) {
			const char *got =
			    sigv4_presign(&rq, &key, seconds, arena);
			const char *want =
			    text(json_object_get(v, "want"), "target");

			ck_assert_msg(strcmp(got, want) == 0, "%s: %s, not %s",
			    text(v, "name"), got, want);
			in_address++;
		} else {
			sigv4_sign(&rq, &key, arena, &out);
			judge_signed(v, &out, rq.n_headers);
			in_header++;
		}
	}
	printf("%d signed in a header, %d in the address\n", in_header,
	    in_address);
	ck_assert_int_ge(in_header, 50);
	ck_assert_int_ge(in_address, 10);
	json_decref(vectors);
}
END_TEST

/* ---- what is sent */

START_TEST(nothing_in_a_value_ends_the_line)
{
	struct sigv4_signed out;

	sigv4_sign(
	    &(struct sigv4_request){ .method = "PUT",
		.host = "h",
		.path = "/",
		.headers =
		    (const struct sigv4_pair[]){
			{ "Content-Type", " a/b\r\nX-Evil: 1\x01 " },
			{ "x-amz-meta-a", " \n" }, { "x-amz-meta-b", NULL } },
		.n_headers = 3,
		.region = "r",
		.service = "s3",
		.wall_ms = 0 },
	    &(struct sigv4_key){ "id", "secret", "to\r\nken" }, arena, &out);
	ck_assert_str_eq(out.header[0], "Content-Type: a/b  X-Evil: 1");
	ck_assert_str_eq(out.header[1], "x-amz-meta-a;");
	ck_assert_str_eq(out.header[2], "x-amz-meta-b;");
	ck_assert_str_eq(header(&out, "X-Amz-Security-Token"),
	    "X-Amz-Security-Token: to  ken");
	for (int i = 0; i < out.n_headers; i++)
		ck_assert_ptr_null(strpbrk(out.header[i], "\r\n"));
}
END_TEST

START_TEST(a_query_value_that_is_none_is_empty)
{
	struct sigv4_signed out;

	sigv4_sign(&(struct sigv4_request){ .method = "GET",
		       .host = "h",
		       .path = "",
		       .query = (const struct sigv4_pair[]){ { "a", NULL } },
		       .n_query = 1,
		       .region = "r",
		       .service = "s3" },
	    &(struct sigv4_key){ "id", "secret", "" }, arena, &out);
	ck_assert_str_eq(out.target, "/?a=");
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *s = suite_create("sigv4");
	TCase *tc = tcase_create("aws");

	vectors_path = argc > 1 ? argv[1] : NULL;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_iam_example);
	tcase_add_loop_test(
	    tc, test_s3_examples, 0, sizeof s3_examples / sizeof *s3_examples);
	tcase_add_test(tc, test_s3_presigned_example);
	tcase_add_loop_test(tc, test_suite, 0, sizeof suite / sizeof *suite);
	tcase_add_test(tc, what_the_sdk_signs_is_signed_the_same);
	tcase_add_test(tc, nothing_in_a_value_ends_the_line);
	tcase_add_test(tc, a_query_value_that_is_none_is_empty);
	suite_add_tcase(s, tc);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
