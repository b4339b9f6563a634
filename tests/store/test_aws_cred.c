/*
 * Credentials for AWS: found in the order that the header gives, kept, renewed,
 * never told.
 */
#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "store/aws_cred.h"
#include "store/aws_cred_int.h"
#include "tests/store/aws_server.h"

#define ID "AKIDEXAMPLE"
#define SECRET "wJalrSECRETxUtn/+="
#define TOKEN "IQoJTOKENb3Jp/+=="
#define MINUTE_MS ((int64_t)60 * 1000)

static struct arena *arena;
static struct aws_cred *cred;
static struct aws_server *server;
static struct sigv4_key key;
static struct err e;
static char dir[64];
static int64_t now_ms;
static struct {
	const char *name;
	char value[512];
} env[16];

/* ---- given */

static const char *
env_get(void *arg, const char *name)
{
	(void)arg;
	for (size_t i = 0; i < 16 && env[i].name != NULL; i++) {
		if (strcmp(env[i].name, name) == 0)
			return env[i].value;
	}
	return NULL;
}

static int64_t
wall_get(void *arg)
{
	(void)arg;
	return now_ms;
}

static void
given_env(const char *name, const char *value)
{
	size_t i = 0;

	while (env[i].name != NULL && strcmp(env[i].name, name) != 0)
		i++;
	ck_assert_uint_lt(i, 15);
	env[i].name = name;
	(void)snprintf(env[i].value, sizeof env[i].value, "%s", value);
}

/* "http://127.0.0.1:<port><path>" */
static const char *
url_of(const char *path)
{
	return arena_printf(
	    arena, "http://127.0.0.1:%d%s", aws_server_port(server), path);
}

static const char *
path_of(const char *name)
{
	return arena_concat(arena, dir, "/", name, NULL);
}

static void
given_file(const char *name, const char *text)
{
	FILE *f = fopen(path_of(name), "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

/* As an agent and the metadata say it; minutes from now. */
static const char *
json_of(const char *id, int64_t minutes)
{
	return arena_concat(arena, "{\"Code\":\"Success\",\"AccessKeyId\":\"",
	    id,
	    "\",\"SecretAccessKey\":\"" SECRET "\",\"Token\":\"" TOKEN
	    "\",\"Expiration\":\"",
	    time_rfc3339(arena, now_ms + minutes * MINUTE_MS), "\"}", NULL);
}

static const char *
xml_of(const char *id, int64_t minutes)
{
	return arena_concat(arena,
	    "<AssumeRoleWithWebIdentityResponse xmlns=\"https://"
	    "sts.amazonaws.com/doc/2011-06-15/\">\n <AssumeRoleWithWebIdentity"
	    "Result>\n  <AssumedRoleUser><Arn>arn:aws:sts::1:x</Arn>"
	    "</AssumedRoleUser>\n  <Credentials>\n    <SessionToken>" TOKEN
	    "</SessionToken>\n    <SecretAccessKey>" SECRET
	    "</SecretAccessKey>\n    <Expiration>",
	    time_rfc3339(arena, now_ms + minutes * MINUTE_MS),
	    "</Expiration>\n    <AccessKeyId>", id,
	    "</AccessKeyId>\n  </Credentials>\n </AssumeRoleWithWebIdentity"
	    "Result>\n</AssumeRoleWithWebIdentityResponse>\n",
	    NULL);
}

static void
given_container(enum aws_way way, int status, const char *body)
{
	given_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", url_of("/creds?a=b"));
	aws_server_says(server, "GET /creds?a=b ", way, status, body);
}

#define ROLES "/latest/meta-data/iam/security-credentials/"

static void
given_instance(const char *id, int64_t minutes)
{
	given_env("AWS_EC2_METADATA_DISABLED", "false");
	given_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", url_of("/"));
	aws_server_says(
	    server, "PUT /latest/api/token ", SAYS, 200, "imds-token==");
	aws_server_says(server, "GET " ROLES " ", SAYS, 200, "shop role\nb\n");
	aws_server_says(server, "GET " ROLES "shop%20role ", SAYS, 200,
	    json_of(id, minutes));
}

static void
given_web_identity(enum aws_way way, int status, const char *body)
{
	given_file("jwt", "eyJ.JWTSECRET+/=.x\n");
	given_env("AWS_WEB_IDENTITY_TOKEN_FILE", path_of("jwt"));
	given_env("AWS_ROLE_ARN", "arn:aws:iam::1:role/shop");
	aws_server_says(server, "POST /", way, status, body);
}

static void
setup(void)
{
	arena = arena_new();
	server = aws_server_new();
	now_ms = clock_wall_ms() / 1000 * 1000;
	(void)snprintf(dir, sizeof dir, "/tmp/souk-aws.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	given_env("HOME", dir);
	given_env("AWS_EC2_METADATA_DISABLED", "true");
	/* Nothing that is near may be asked for by a proxy. */
	ck_assert_int_eq(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	cred = aws_cred_new(&(struct aws_cred_opts){ .env = env_get,
	    .wall_ms = wall_get,
	    .timeout_ms = 400,
	    .sts = arena_concat(arena, url_of(""), "/", NULL) });
}

static void
teardown(void)
{
	static const char *const names[] = { "jwt", "token", ".aws/credentials",
		".aws/config", ".aws", "" };

	aws_cred_free(cred);
	aws_server_free(server);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		(void)remove(path_of(names[i]));
	arena_free(arena);
}

/* ---- when, then */

static enum rc
get(void)
{
	enum rc rc;

	e = (struct err)ERR_INIT;
	key = (struct sigv4_key){ "", "", "" };
	rc = aws_cred_get(cred, arena, &key, &e);
	if (rc != RC_OK) {
		ck_assert_str_eq(e.code, rc == RC_RETRY ? "aws_credentials_away"
							: "aws_no_credentials");
		ck_assert_msg(strstr(e.msg, "SECRET") == NULL &&
				  strstr(e.msg, "TOKENb") == NULL,
		    "told: %s", e.msg);
	}
	return rc;
}

static void
then_key(const char *id, const char *token)
{
	ck_assert_msg(get() == RC_OK, "%s", e.msg);
	ck_assert_str_eq(key.id, id);
	ck_assert_str_eq(key.secret, SECRET);
	ck_assert_str_eq(key.token, token);
}

static void
then_error(enum rc rc, const char *says)
{
	ck_assert_int_eq(get(), rc);
	ck_assert_msg(
	    strstr(e.msg, says) != NULL, "%s: without %s", e.msg, says);
}

/* Header lines and bodies, in any case of the name. */
static void
then_heard(const char *what)
{
	const char *heard = aws_server_heard(server);

	ck_assert_msg(strstr(heard, what) != NULL, "%s in:\n%s", what, heard);
}

/* ---- the environment */

START_TEST(keys_of_the_environment_come_first)
{
	given_env("AWS_ACCESS_KEY_ID", ID);
	given_env("AWS_SECRET_ACCESS_KEY", SECRET);
	given_container(SAYS, 200, json_of("AKIDOTHER", 60));
	then_key(ID, "");
	ck_assert_int_eq(aws_server_requests(server), 0);
}
END_TEST

START_TEST(a_session_token_goes_with_them)
{
	given_env("AWS_ACCESS_KEY_ID", ID);
	given_env("AWS_SECRET_ACCESS_KEY", SECRET);
	given_env("AWS_SESSION_TOKEN", TOKEN);
	then_key(ID, TOKEN);
}
END_TEST

START_TEST(half_of_them_is_an_error_and_no_other_identity)
{
	given_env("AWS_ACCESS_KEY_ID", ID);
	given_container(SAYS, 200, json_of("AKIDOTHER", 60));
	then_error(RC_FAIL, "the environment: no secret access key");
	ck_assert_int_eq(aws_server_requests(server), 0);
}
END_TEST

START_TEST(a_secret_with_a_line_break_is_an_error_that_does_not_show_it)
{
	given_env("AWS_ACCESS_KEY_ID", ID);
	given_env("AWS_SECRET_ACCESS_KEY", SECRET "\n");
	then_error(RC_FAIL, "the environment: the secret access key");
}
END_TEST

START_TEST(nowhere_says_where_it_looked)
{
	static const char *const places[] = { "AWS_ACCESS_KEY_ID",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "profile \"default\"",
		"/.aws/credentials", "/.aws/config",
		"AWS_CONTAINER_CREDENTIALS_*_URI",
		"AWS_EC2_METADATA_DISABLED" };

	for (size_t i = 0; i < sizeof places / sizeof *places; i++)
		then_error(RC_FAIL, places[i]);
}
END_TEST

/* ---- shared files */

static void
given_shared(const char *credentials, const char *config)
{
	ck_assert_int_eq(mkdir(path_of(".aws"), 0700), 0);
	if (credentials != NULL)
		given_file(".aws/credentials", credentials);
	if (config != NULL)
		given_file(".aws/config", config);
}

#define KEYS(id)                                                               \
	"aws_access_key_id=" id "\naws_secret_access_key = " SECRET "\n"

static const struct {
	const char *profile, *credentials, *config, *id, *token;
} profiles[] = {
	{ "", "[default]\n" KEYS("A"), NULL, "A", "" },
	{ "", NULL, "[default]\n" KEYS("A"), "A", "" },
	{ "", NULL, "[profile default]\n" KEYS("A"), "A", "" },
	/* the credentials win, over half a key as well */
	{ "", "[default]\n" KEYS("A"), "[default]\n" KEYS("B"), "A", "" },
	{ "", "[default]\n" KEYS("A"),
	    "[default]\naws_session_token = " TOKEN "\n", "A", "" },
	{ "shop",
	    "[default]\n" KEYS("B") "[shop]\n" KEYS(
		"A") "aws_session_token = " TOKEN "\n[other]\n" KEYS("C"),
	    NULL, "A", TOKEN },
	{ "shop", NULL, "[shop]\n" KEYS("B") "[profile shop]\n" KEYS("A"), "A",
	    "" },
	{ "shop", "[shop]\n" KEYS("A") "[profile shop]\n" KEYS("B"), NULL, "A",
	    "" },
	{ "my shop", NULL, "[ profile  \"my shop\" ]  # x\n" KEYS("A"), "A",
	    "" },
	/* white space, comments, capitals, the last one of two, DOS, a mark of
	 * the byte order */
	{ "",
	    "# [x]\r\n ; x\r\n[default] ; mine\r\n"
	    "aws_access_key_id =  B\r\nnot a setting\r\n\r\n"
	    "aws_access_key_id\t=\tA   # new\r\n"
	    "AWS_Secret_Access_Key=" SECRET " ;old\r\naws_session_token=\r\n",
	    NULL, "A", "" },
	{ "", "\xef\xbb\xbf[default]\n" KEYS("A"), NULL, "A", "" },
	/* what lies below another setting is not the profile's */
	{ "", NULL,
	    "[default]\n" KEYS("A") "s3 =\n  aws_access_key_id = B\n"
				    "  region = nowhere\noutput = json\n",
	    "A", "" },
	/* but a space before a setting is none of these */
	{ "", NULL,
	    "[default]\n  aws_access_key_id = A\n"
	    "  aws_secret_access_key = " SECRET,
	    "A", "" },
	/* begun twice */
	{ "",
	    "[default]\naws_access_key_id = A\n[x]\n" KEYS(
		"B") "[default]\naws_secret_access_key = " SECRET,
	    NULL, "A", "" },
};

START_TEST(a_profile_of_the_shared_files_has_keys)
{
	given_shared(profiles[_i].credentials, profiles[_i].config);
	given_env("AWS_PROFILE", profiles[_i].profile);
	then_key(profiles[_i].id, profiles[_i].token);
}
END_TEST

static const struct {
	const char *profile, *config, *says;
	enum rc rc;
} no_profiles[] = {
	{ "shop", "[default]\n" KEYS("B"), "profile \"shop\": not there",
	    RC_FAIL },
	{ "shop", "[shop]\n" KEYS("B"), "profile \"shop\": not there",
	    RC_FAIL },
	{ "", "[default]\nrole_arn = arn:aws:iam::1:role/x\n" KEYS("B"),
	    "role_arn is not supported", RC_FAIL },
	{ "", "[default]\nsource_profile = b\n[profile b]\n" KEYS("B"),
	    "source_profile is not supported", RC_FAIL },
	{ "", "[default]\nsso_session = b\n", "sso_session is not supported",
	    RC_FAIL },
	{ "", "[default]\ncredential_process = /bin/false\n",
	    "credential_process is not supported", RC_FAIL },
	{ "", "[default]\naws_access_key_id = A\n", "no secret access key",
	    RC_FAIL },
	{ "", "[default]\naws_secret_access_key = " SECRET "\n",
	    "no access key id", RC_FAIL },
	{ "", "[default]\naws_access_key_id = A B\naws_secret_access_key=x",
	    "the access key id is too long", RC_FAIL },
	/* no keys: the next may have some */
	{ "", "[default]\nregion = eu-west-1\n", "", RC_OK },
	{ "shop", "[profile shop]\nregion = eu-west-1\n", "", RC_OK },
	{ "", "[default\n" KEYS("B"), "", RC_OK },
	{ "", "[other]\n" KEYS("B"), "", RC_OK },
};

START_TEST(a_profile_without_keys_says_what_is_wrong_or_is_passed_over)
{
	given_shared(NULL, no_profiles[_i].config);
	given_env("AWS_PROFILE", no_profiles[_i].profile);
	given_container(SAYS, 200, json_of("NEXT", 60));
	if (no_profiles[_i].rc == RC_OK)
		then_key("NEXT", TOKEN);
	else
		then_error(no_profiles[_i].rc, no_profiles[_i].says);
}
END_TEST

START_TEST(a_program_for_keys_is_not_asked_where_there_are_keys)
{
	given_shared("[default]\n" KEYS("A"),
	    "[default]\ncredential_process = /bin/false\n");
	then_key("A", "");
}
END_TEST

START_TEST(a_file_that_was_named_must_be_one)
{
	given_env("AWS_SHARED_CREDENTIALS_FILE", dir);
	given_container(SAYS, 200, json_of("NEXT", 60));
	then_error(RC_FAIL, "no file");
	ck_assert_ptr_nonnull(strstr(e.msg, dir));
}
END_TEST

START_TEST(what_lies_where_a_file_should_be_is_told_and_passed_over)
{
	given_shared(NULL, NULL);
	ck_assert_int_eq(mkdir(path_of(".aws/config"), 0700), 0);
	then_error(RC_FAIL, ".aws/config: no file");
	ck_assert_ptr_nonnull(strstr(e.msg, "AWS_EC2_METADATA_DISABLED"));
}
END_TEST

START_TEST(a_named_file_may_lie_in_the_home)
{
	given_file("token", "[default]\n" KEYS("A"));
	given_env("AWS_SHARED_CREDENTIALS_FILE", "~/token");
	then_key("A", "");
}
END_TEST

START_TEST(the_region_is_the_environments_else_the_profiles)
{
	ck_assert_str_eq(aws_region(cred, arena), "");
	given_shared("[shop]\n" KEYS("A"), "[profile shop]\nregion = r-3\n");
	ck_assert_str_eq(aws_region(cred, arena), "");
	given_env("AWS_PROFILE", "shop");
	ck_assert_str_eq(aws_region(cred, arena), "r-3");
	given_env("AWS_DEFAULT_REGION", "r-2");
	ck_assert_str_eq(aws_region(cred, arena), "r-2");
	given_env("AWS_REGION", "r-1");
	ck_assert_str_eq(aws_region(cred, arena), "r-1");
}
END_TEST

/* ---- STS */

START_TEST(a_token_of_the_cluster_becomes_a_role)
{
	given_web_identity(SAYS, 200, xml_of(ID, 60));
	given_env("AWS_ROLE_SESSION_NAME", "a b");
	given_container(SAYS, 200, json_of("AKIDOTHER", 60));
	then_key(ID, TOKEN);
	then_heard("POST / HTTP/1.1\r\n");
	then_heard("Content-Type: application/x-www-form-urlencoded\r\n");
	then_heard("\r\n\r\nAction=AssumeRoleWithWebIdentity&Version=2011-06-15"
		   "&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fshop"
		   "&RoleSessionName=a%20b"
		   "&WebIdentityToken=eyJ.JWTSECRET%2B%2F%3D.x\n");
	ck_assert_int_eq(aws_server_requests(server), 1);
}
END_TEST

static const struct {
	int status;
	const char *body, *says;
	enum rc rc;
} sts_answers[] = {
	{ 400,
	    "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentity"
	    "Token</Code><Message>JWTSECRET</Message></Error></ErrorResponse>",
	    "STS: answers 400 InvalidIdentityToken", RC_FAIL },
	{ 403, "<Error><Code>AccessDenied</Code></Error>",
	    "answers 403 AccessDenied", RC_FAIL },
	{ 400, "<Error><Code>ExpiredTokenException</Code></Error>",
	    "ExpiredTokenException", RC_RETRY },
	{ 400, "<Error><Code>IDPCommunicationError</Code></Error>",
	    "IDPCommunicationError", RC_RETRY },
	{ 400, "<Code>a secret: JWTSECRET</Code>", "answers 400", RC_FAIL },
	{ 400, "JWTSECRET", "answers 400", RC_FAIL },
	{ 400, "<Error><Code>ExpiredTokenException", "answers 400", RC_FAIL },
	{ 400, "<Code>Throttling&amp;</Code>", "answers 400", RC_FAIL },
	{ 400, "<Code></Code>", "answers 400", RC_FAIL },
	{ 302, "", "answers 302", RC_FAIL },
	{ 429, "", "answers 429", RC_RETRY },
	{ 503, "<Code>X</Code>", "answers 503", RC_RETRY },
	{ 200, "", "without credentials", RC_RETRY },
	{ 200, "<Credentials>", "without credentials", RC_RETRY },
	{ 200, "<Credentials></Credentials>", "without credentials", RC_RETRY },
	{ 200,
	    "<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>" SECRET
	    "</SecretAccessKey><SessionToken>T</SessionToken></Credentials>"
	    "<Expiration>2099-01-01T00:00:00Z</Expiration>",
	    "without credentials", RC_RETRY },
	{ 200,
	    "<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>" SECRET
	    "</SecretAccessKey><SessionToken></SessionToken>"
	    "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>",
	    "without credentials", RC_RETRY },
	{ 200,
	    "<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>" SECRET
	    "</SecretAccessKey><SessionToken>a&amp;b</SessionToken>"
	    "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>",
	    "without credentials", RC_RETRY },
	{ 200,
	    "<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>" SECRET
	    "</SecretAccessKey><SessionToken>T</SessionToken>"
	    "<Expiration>+1h</Expiration></Credentials>",
	    "without credentials", RC_RETRY },
	{ 200,
	    "<Credentials><AccessKeyId>A\nB</AccessKeyId><SecretAccessKey>"
	    "SECRET</SecretAccessKey><SessionToken>T</SessionToken>"
	    "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>",
	    "STS: the access key id", RC_RETRY },
	{ 200,
	    "<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>" SECRET
	    "</SecretAccessKey><SessionToken>T</SessionToken>"
	    "<Expiration>2001-01-01T00:00:00Z</Expiration></Credentials>",
	    "has expired", RC_RETRY },
};

START_TEST(what_sts_answers_is_judged)
{
	given_web_identity(SAYS, sts_answers[_i].status, sts_answers[_i].body);
	given_container(SAYS, 200, json_of("AKIDOTHER", 60));
	then_error(sts_answers[_i].rc, sts_answers[_i].says);
	ck_assert_int_eq(aws_server_requests(server), 1);
}
END_TEST

START_TEST(a_role_without_a_token_is_an_error_and_no_other_identity)
{
	given_env("AWS_WEB_IDENTITY_TOKEN_FILE", path_of("none"));
	given_container(SAYS, 200, json_of("AKIDOTHER", 60));
	then_error(RC_FAIL, "AWS_ROLE_ARN");
	now_ms += MINUTE_MS;
	given_env("AWS_ROLE_ARN", "arn:aws:iam::1:role/shop");
	then_error(RC_FAIL, "AWS_WEB_IDENTITY_TOKEN_FILE: ");
	ck_assert_ptr_nonnull(strstr(e.msg, "No such file"));
}
END_TEST

START_TEST(sts_is_asked_over_https_only)
{
	aws_cred_free(cred);
	cred = aws_cred_new(&(struct aws_cred_opts){
	    .env = env_get, .timeout_ms = 400, .sts = "http://sts.example" });
	given_web_identity(SAYS, 200, xml_of(ID, 60));
	then_error(RC_FAIL, "STS: https:// is wanted");
}
END_TEST

START_TEST(a_region_that_is_none_makes_no_host)
{
	aws_cred_free(cred);
	cred = aws_cred_new(
	    &(struct aws_cred_opts){ .env = env_get, .timeout_ms = 400 });
	given_web_identity(SAYS, 200, xml_of(ID, 60));
	given_env("AWS_REGION", "evil.example/");
	then_error(RC_FAIL, "AWS_REGION");
}
END_TEST

/* ---- the container's agent */

START_TEST(the_agent_is_shown_the_token)
{
	given_container(SAYS, 200, json_of(ID, 60));
	given_env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic SECRET=");
	then_key(ID, TOKEN);
	then_heard("\r\nAuthorization: Basic SECRET=\r\n");
}
END_TEST

START_TEST(the_tokens_file_comes_before_the_token)
{
	given_container(SAYS, 200, json_of(ID, 60));
	given_env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "other");
	given_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path_of("token"));
	given_file("token", "Bearer x/y\r\n");
	then_key(ID, TOKEN);
	then_heard("\r\nAuthorization: Bearer x/y\r\n");
}
END_TEST

START_TEST(a_tokens_file_is_read_anew_each_time)
{
	given_container(SAYS, 200, json_of(ID, 10));
	given_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path_of("token"));
	given_file("token", "one");
	then_key(ID, TOKEN);
	given_file("token", "two");
	now_ms += 6 * MINUTE_MS;
	then_key(ID, TOKEN);
	then_heard("Authorization: two\r\n");
}
END_TEST

START_TEST(a_token_with_a_line_break_is_not_sent)
{
	given_container(SAYS, 200, json_of(ID, 60));
	given_env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "SECRET\r\nX: y");
	then_error(RC_FAIL, "AWS_CONTAINER_AUTHORIZATION_TOKEN: ");
	ck_assert_int_eq(aws_server_requests(server), 0);
}
END_TEST

START_TEST(no_token_is_no_header)
{
	given_container(SAYS, 200, json_of(ID, 60));
	then_key(ID, TOKEN);
	ck_assert_ptr_null(strstr(aws_server_heard(server), "Authorization"));
}
END_TEST

START_TEST(what_never_expires_is_asked_for_once)
{
	given_container(SAYS, 200,
	    "{\"AccessKeyId\":\"" ID "\",\"SecretAccessKey\":\"" SECRET "\"}");
	then_key(ID, "");
	now_ms += 10000 * MINUTE_MS;
	then_key(ID, "");
	ck_assert_int_eq(aws_server_requests(server), 1);
}
END_TEST

static const char *const unsafe_urls[] = { "http://example.com/",
	"http://10.0.0.1/", "http://169.254.169.254/", "http://169.254.170.24/",
	"http://128.0.0.1/", "http://127.0.0.1.example/",
	"http://127.0.0.1@example.com/", "http://127.0.0.1%2eexample/",
	"http://localhost.example/", "http://[fd00:ec2::24]/", "http://[::2]/",
	"ftp://127.0.0.1/", "file:///etc/passwd", "127.0.0.1/", "/x", "http://",
	"HTTP://example.com/" };

START_TEST(no_host_but_the_agents_is_asked_in_the_clear)
{
	given_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", unsafe_urls[_i]);
	then_error(RC_FAIL, "https is wanted");
}
END_TEST

static const struct {
	const char *url;
	bool near;
} safe_urls[] = { { "http://127.0.0.1/", true },
	{ "http://127.9.9.9:80/a?b", true }, { "http://localhost:1/", true },
	{ "http://[::1]:1/", true }, { "HTTP://169.254.170.2/", true },
	{ "http://169.254.170.23/v1/credentials", true },
	{ "http://[fd00:ec2::23]/v1/credentials", true },
	{ "https://127.0.0.1/", false }, { "https://example.com/", false } };

/* Not asked here: they might be there. */
START_TEST(the_agents_may_be_asked_in_the_clear)
{
	bool near = !safe_urls[_i].near;
	const char *url = "";

	given_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", safe_urls[_i].url);
	ck_assert_int_eq(
	    cred_container_url(cred, arena, &url, &near, &e), RC_OK);
	ck_assert_str_eq(url, safe_urls[_i].url);
	ck_assert_int_eq(near, safe_urls[_i].near);
}
END_TEST

START_TEST(a_relative_address_is_the_agents_of_ecs)
{
	const char *url = "";
	bool near = false;

	given_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x?y");
	given_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/");
	ck_assert_int_eq(
	    cred_container_url(cred, arena, &url, &near, &e), RC_OK);
	ck_assert_str_eq(url, "http://169.254.170.2/v2/x?y");
	ck_assert(near);
	given_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ".evil.example/");
	then_error(RC_FAIL, "must begin with '/'");
}
END_TEST

START_TEST(over_https_the_agents_certificate_is_verified)
{
	given_env("AWS_CONTAINER_CREDENTIALS_FULL_URI",
	    arena_printf(
		arena, "https://127.0.0.1:%d/", aws_server_port(server)));
	aws_server_says(server, "GET /", SAYS, 200, json_of(ID, 60));
	then_error(RC_RETRY, "the container's credentials: ");
}
END_TEST

static const struct {
	enum aws_way way;
	int status;
	const char *body, *says;
	enum rc rc;
} agent_answers[] = {
	{ SAYS, 404, "no SECRET here", "answers 404", RC_FAIL },
	{ SAYS, 401, "", "answers 401", RC_FAIL },
	{ SAYS, 500, "SECRET", "answers 500", RC_RETRY },
	{ SAYS, 503, "", "answers 503", RC_RETRY },
	{ SAYS, 429, "", "answers 429", RC_RETRY },
	{ SAYS, 302, "", "answers 302", RC_FAIL },
	{ SAYS, 200, "", "without credentials", RC_RETRY },
	{ SAYS, 200, "SECRET", "without credentials", RC_RETRY },
	{ SAYS, 200, "[]", "without credentials", RC_RETRY },
	{ SAYS, 200, "{\"Code\":\"Failed\"}", "without credentials", RC_RETRY },
	{ SAYS, 200, "{\"AccessKeyId\":\"A\"}", "no secret access key",
	    RC_RETRY },
	{ SAYS, 200, "{\"AccessKeyId\":7,\"SecretAccessKey\":\"SECRET\"}",
	    "without credentials", RC_RETRY },
	{ SAYS, 200,
	    "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"SECRET\","
	    "\"Expiration\":\"soon\"}",
	    "without credentials", RC_RETRY },
	{ SAYS, 200,
	    "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"SECRET\\r\\nX: y\"}",
	    "the secret access key", RC_RETRY },
	{ SAYS, 200,
	    "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"" SECRET "\","
	    "\"Expiration\":\"2001-01-01T00:00:00Z\"}",
	    "has expired", RC_RETRY },
	{ HANGS, 0, "", "the container's credentials: ", RC_RETRY },
	{ CUTS, 200, "{\"AccessKeyId\":\"SECRET\"",
	    "the container's credentials: ", RC_RETRY },
	{ FLOODS, 200, "{", "too large", RC_RETRY },
	{ BABBLES, 0, "", "the container's credentials: ", RC_RETRY },
};

START_TEST(what_the_agent_answers_is_judged)
{
	given_container(agent_answers[_i].way, agent_answers[_i].status,
	    agent_answers[_i].body);
	given_env("AWS_EC2_METADATA_DISABLED", "false");
	then_error(agent_answers[_i].rc, agent_answers[_i].says);
	ck_assert_int_eq(aws_server_requests(server), 1);
}
END_TEST

/* ---- the instance's metadata */

START_TEST(the_instance_is_asked_with_a_token)
{
	given_instance(ID, 60);
	then_key(ID, TOKEN);
	then_heard("PUT /latest/api/token HTTP/1.1\r\n");
	then_heard("\r\nContent-Length: 0\r\n");
	then_heard("\r\nX-aws-ec2-metadata-token-ttl-seconds: 21600\r\n");
	const char *asked = strstr(aws_server_heard(server), "GET " ROLES " ");

	ck_assert_ptr_nonnull(asked);
	asked = strstr(asked, "\r\nX-aws-ec2-metadata-token: imds-token==\r\n");
	ck_assert_ptr_nonnull(asked);
	asked = strstr(asked, "GET " ROLES "shop%20role ");
	ck_assert_ptr_nonnull(asked);
	ck_assert_ptr_nonnull(
	    strstr(asked, "\r\nX-aws-ec2-metadata-token: imds-token==\r\n"));
	ck_assert_int_eq(aws_server_requests(server), 3);
}
END_TEST

START_TEST(metadata_without_tokens_is_not_used)
{
	given_instance(ID, 60);
	aws_server_says(server, "PUT /latest/api/token ", SAYS, 403, "");
	then_error(RC_FAIL, "the instance's metadata: answers 403");
	ck_assert_int_eq(aws_server_requests(server), 1);
}
END_TEST

START_TEST(an_instance_without_a_role_has_none)
{
	given_instance(ID, 60);
	aws_server_says(server, "GET " ROLES " ", SAYS, 404, "<html>");
	then_error(RC_FAIL, "the instance has no role");
	now_ms += MINUTE_MS;
	aws_server_says(server, "GET " ROLES " ", SAYS, 200, "");
	then_error(RC_FAIL, "the instance has no role");
}
END_TEST

static const struct {
	const char *start;
	enum aws_way way;
	int status;
	const char *body;
} instance_answers[] = {
	{ "PUT /latest/api/token ", HANGS, 0, "" },
	{ "PUT /latest/api/token ", SAYS, 500, "" },
	{ "PUT /latest/api/token ", SAYS, 200, "" },
	{ "PUT /latest/api/token ", SAYS, 200, "a\r\nX: y" },
	{ "PUT /latest/api/token ", FLOODS, 200, "" },
	{ "GET " ROLES " ", SAYS, 503, "" },
	{ "GET " ROLES " ", HANGS, 0, "" },
	{ "GET " ROLES "shop%20role ", HANGS, 0, "" },
	{ "GET " ROLES "shop%20role ", SAYS, 200, "{}" },
	{ "GET " ROLES "shop%20role ", SAYS, 500, "" },
	{ "GET " ROLES "shop%20role ", CUTS, 200, "{" },
};

START_TEST(an_instance_that_answers_badly_is_away)
{
	given_instance(ID, 60);
	aws_server_says(server, instance_answers[_i].start,
	    instance_answers[_i].way, instance_answers[_i].status,
	    instance_answers[_i].body);
	then_error(RC_RETRY, "the instance's metadata: ");
}
END_TEST

/* ---- kept and renewed */

START_TEST(what_is_good_is_asked_for_once)
{
	given_container(SAYS, 200, json_of(ID, 60));
	for (int i = 0; i < 10; i++)
		then_key(ID, TOKEN);
	ck_assert_int_eq(aws_server_requests(server), 1);
}
END_TEST

START_TEST(it_is_renewed_five_minutes_before_it_expires)
{
	given_container(SAYS, 200, json_of("ONE", 60));
	then_key("ONE", TOKEN);
	given_container(SAYS, 200, json_of("TWO", 120));
	now_ms += 55 * MINUTE_MS - 1;
	then_key("ONE", TOKEN);
	now_ms += 1;
	then_key("TWO", TOKEN);
	ck_assert_int_eq(aws_server_requests(server), 2);
}
END_TEST

START_TEST(while_that_fails_the_old_one_is_used_while_it_is_good)
{
	given_container(SAYS, 200, json_of("ONE", 60));
	then_key("ONE", TOKEN);
	given_container(SAYS, 500, "");
	now_ms += 60 * MINUTE_MS - 1;
	then_key("ONE", TOKEN);
	then_key("ONE", TOKEN);
	ck_assert_int_eq(aws_server_requests(server), 2);
	now_ms += 1;
	then_error(RC_RETRY, "answers 500");
	given_container(SAYS, 200, json_of("TWO", 60));
	now_ms += 1000;
	then_key("TWO", TOKEN);
}
END_TEST

START_TEST(what_expires_soon_is_not_asked_for_at_each_call)
{
	given_container(SAYS, 200, json_of(ID, 2));
	then_key(ID, TOKEN);
	now_ms += MINUTE_MS - 1;
	then_key(ID, TOKEN);
	ck_assert_int_eq(aws_server_requests(server), 1);
	now_ms += 1;
	then_key(ID, TOKEN);
	ck_assert_int_eq(aws_server_requests(server), 2);
}
END_TEST

/* Waits of 1, 2, 4 ... 60 s: asked at 0, 1, 3, 7, 15, 31, 63, 123, 183 s. */
START_TEST(what_is_away_is_asked_for_ever_less_often)
{
	given_container(SAYS, 500, "");
	for (int s = 0; s <= 183; s++) {
		then_error(RC_RETRY, "answers 500");
		then_error(RC_RETRY, "answers 500");
		now_ms += 1000;
	}
	ck_assert_int_eq(aws_server_requests(server), 9);
	given_container(SAYS, 200, json_of(ID, 60));
	now_ms += 60 * 1000;
	then_key(ID, TOKEN);
	/* and from a second on, the next time */
	given_container(SAYS, 500, "");
	now_ms += 60 * MINUTE_MS;
	then_error(RC_RETRY, "answers 500");
	now_ms += 1000;
	then_error(RC_RETRY, "answers 500");
	ck_assert_int_eq(aws_server_requests(server), 12);
}
END_TEST

START_TEST(a_clock_set_back_ends_the_wait)
{
	given_container(SAYS, 500, "");
	then_error(RC_RETRY, "answers 500");
	given_container(SAYS, 200, json_of(ID, 60));
	now_ms -= 1000 * MINUTE_MS;
	then_key(ID, TOKEN);
}
END_TEST

START_TEST(an_instance_that_was_there_is_away_and_not_absent)
{
	given_instance(ID, 60);
	then_key(ID, TOKEN);
	ck_assert(cred->from_instance);
	given_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
	now_ms += 61 * MINUTE_MS;
	then_error(RC_RETRY, "the instance's metadata: ");
}
END_TEST

START_TEST(what_was_refused_is_not_used_again)
{
	given_container(SAYS, 200, json_of("ONE", 60));
	then_key("ONE", TOKEN);
	given_container(SAYS, 200, json_of("TWO", 60));
	aws_cred_forget(cred);
	then_key("TWO", TOKEN);
	ck_assert_int_eq(aws_server_requests(server), 2);
}
END_TEST

START_TEST(the_same_again_are_believed_after_a_minute)
{
	given_env("AWS_ACCESS_KEY_ID", ID);
	given_env("AWS_SECRET_ACCESS_KEY", SECRET);
	then_key(ID, "");
	aws_cred_forget(cred);
	aws_cred_forget(cred);
	then_error(RC_RETRY, "refused as expired");
	now_ms += MINUTE_MS - 1;
	then_error(RC_RETRY, "refused as expired");
	now_ms += 2000;
	then_key(ID, "");
}
END_TEST

START_TEST(a_service_that_refuses_all_is_not_fed_at_each_call)
{
	given_container(SAYS, 200, json_of("ONE", 60));
	then_key("ONE", TOKEN);
	given_container(SAYS, 200, json_of("TWO", 60));
	aws_cred_forget(cred);
	then_key("TWO", TOKEN);
	given_container(SAYS, 200, json_of("THREE", 60));
	aws_cred_forget(cred);
	then_error(RC_RETRY, "as soon as they came");
	ck_assert_int_eq(aws_server_requests(server), 2);
	now_ms += 1000;
	then_key("THREE", TOKEN);
}
END_TEST

/* ---- wiped */

static void
heap_find(const char **from, const char **to)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[PATH_MAX + 100];
	unsigned long a = 0, b = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f) != NULL) {
		if (strstr(line, "[heap]") != NULL)
			ck_assert_int_eq(sscanf(line, "%lx-%lx", &a, &b), 2);
	}
	(void)fclose(f);
	*from = (const char *)a;
	*to = (const char *)b;
}

static bool
is_in_heap(const void *p)
{
	const char *from, *to;

	heap_find(&from, &to);
	return (const char *)p >= from && (const char *)p < to;
}

/* How often the word lies there; it is written here in another way. */
static int
found_in_heap(const char *hidden)
{
	const char *p, *to;
	size_t n = strlen(hidden);
	int found = 0;

	heap_find(&p, &to);
	for (; p + n <= to; p++) {
		size_t i = 0;

		while (i < n && (p[i] ^ 1) == hidden[i])
			i++;
		found += i == n;
	}
	return found;
}

/* Of a long one: free() itself writes over the first bytes. */
START_TEST(nothing_of_a_secret_stays_in_memory)
{
	static const char hidden[] = "RDBSDUVIHBIHRONUIDSD";
	char text[256] = "[default]\naws_access_key_id=A\n"
			 "aws_secret_access_key=0123456789012345678901234567";
	size_t n = strlen(text);
	FILE *f = fopen(path_of("token"), "w");

	ck_assert_ptr_nonnull(f);
	(void)setvbuf(f, NULL, _IONBF, 0);
	for (size_t i = 0; i < sizeof hidden - 1; i++)
		text[n++] = (char)(hidden[i] ^ 1);
	ck_assert_uint_eq(fwrite(text, 1, n, f), n);
	ck_assert_int_eq(fclose(f), 0);
	given_env("AWS_SHARED_CREDENTIALS_FILE", path_of("token"));

	ck_assert_msg(get() == RC_OK, "%s", e.msg);
	if (!is_in_heap(cred))
		return; /* a sanitizer's memory lies elsewhere */
	ck_assert_int_ge(found_in_heap(hidden), 1);
	for (char *p = (char *)(uintptr_t)key.secret; *p != '\0'; p++)
		*p = 'x';      /* the caller's own copy */
	aws_cred_forget(cred); /* which keeps it, to know it again */
	aws_cred_free(cred);
	cred = NULL;
	ck_assert_int_eq(found_in_heap(hidden), 0);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

static TCase *
case_new(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	suite_add_tcase(s, tc);
	return tc;
}

/* What a program finds in this environment, for scripts: the key's id, or the
 * error. */
static int
tell(void)
{
	arena = arena_new();
	cred = aws_cred_new(&(struct aws_cred_opts){ .timeout_ms = 5000 });

	enum rc rc = aws_cred_get(cred, arena, &key, &e);

	if (rc == RC_OK)
		printf("%s\n", key.id);
	else
		printf("%s %s: %s\n", rc_name(rc), e.code, e.msg);
	aws_cred_free(cred);
	arena_free(arena);
	return rc == RC_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--tell") == 0)
		return tell();

	Suite *s = suite_create("aws_cred");
	TCase *tc = case_new(s, "environment");

	tcase_add_test(tc, keys_of_the_environment_come_first);
	tcase_add_test(tc, a_session_token_goes_with_them);
	tcase_add_test(tc, half_of_them_is_an_error_and_no_other_identity);
	tcase_add_test(
	    tc, a_secret_with_a_line_break_is_an_error_that_does_not_show_it);
	tcase_add_test(tc, nowhere_says_where_it_looked);

	tc = case_new(s, "profile");
	tcase_add_loop_test(
	    tc, a_profile_of_the_shared_files_has_keys, 0, COUNT(profiles));
	tcase_add_loop_test(tc,
	    a_profile_without_keys_says_what_is_wrong_or_is_passed_over, 0,
	    COUNT(no_profiles));
	tcase_add_test(
	    tc, a_program_for_keys_is_not_asked_where_there_are_keys);
	tcase_add_test(tc, a_file_that_was_named_must_be_one);
	tcase_add_test(
	    tc, what_lies_where_a_file_should_be_is_told_and_passed_over);
	tcase_add_test(tc, a_named_file_may_lie_in_the_home);
	tcase_add_test(tc, the_region_is_the_environments_else_the_profiles);

	tc = case_new(s, "sts");
	tcase_add_test(tc, a_token_of_the_cluster_becomes_a_role);
	tcase_add_loop_test(
	    tc, what_sts_answers_is_judged, 0, COUNT(sts_answers));
	tcase_add_test(
	    tc, a_role_without_a_token_is_an_error_and_no_other_identity);
	tcase_add_test(tc, sts_is_asked_over_https_only);
	tcase_add_test(tc, a_region_that_is_none_makes_no_host);

	tc = case_new(s, "container");
	tcase_add_test(tc, the_agent_is_shown_the_token);
	tcase_add_test(tc, the_tokens_file_comes_before_the_token);
	tcase_add_test(tc, a_tokens_file_is_read_anew_each_time);
	tcase_add_test(tc, a_token_with_a_line_break_is_not_sent);
	tcase_add_test(tc, no_token_is_no_header);
	tcase_add_test(tc, what_never_expires_is_asked_for_once);
	tcase_add_loop_test(tc, no_host_but_the_agents_is_asked_in_the_clear, 0,
	    COUNT(unsafe_urls));
	tcase_add_loop_test(
	    tc, the_agents_may_be_asked_in_the_clear, 0, COUNT(safe_urls));
	tcase_add_test(tc, a_relative_address_is_the_agents_of_ecs);
	tcase_add_test(tc, over_https_the_agents_certificate_is_verified);
	tcase_add_loop_test(
	    tc, what_the_agent_answers_is_judged, 0, COUNT(agent_answers));

	tc = case_new(s, "instance");
	tcase_add_test(tc, the_instance_is_asked_with_a_token);
	tcase_add_test(tc, metadata_without_tokens_is_not_used);
	tcase_add_test(tc, an_instance_without_a_role_has_none);
	tcase_add_loop_test(tc, an_instance_that_answers_badly_is_away, 0,
	    COUNT(instance_answers));

	tc = case_new(s, "kept");
	tcase_add_test(tc, what_is_good_is_asked_for_once);
	tcase_add_test(tc, it_is_renewed_five_minutes_before_it_expires);
	tcase_add_test(
	    tc, while_that_fails_the_old_one_is_used_while_it_is_good);
	tcase_add_test(tc, what_expires_soon_is_not_asked_for_at_each_call);
	tcase_add_test(tc, what_is_away_is_asked_for_ever_less_often);
	tcase_add_test(tc, a_clock_set_back_ends_the_wait);
	tcase_add_test(tc, an_instance_that_was_there_is_away_and_not_absent);
	tcase_add_test(tc, what_was_refused_is_not_used_again);
	tcase_add_test(tc, the_same_again_are_believed_after_a_minute);
	tcase_add_test(tc, a_service_that_refuses_all_is_not_fed_at_each_call);
	tcase_add_test(tc, nothing_of_a_secret_stays_in_memory);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
