/*
 * Credentials that somebody hands out: STS for a token of the cluster, the
 * container's agent, the instance's metadata. All of them by one libcurl handle
 * with a deadline over all requests of one fetch, no redirects, and answers of
 * 64 KiB at most, which are wiped.
 *
 * An error says who and what happened, never what was sent or answered: but for
 * a code of letters, what another host writes is not repeated.
 */
#include "store/aws_cred_int.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/xmalloc.h"

#define CONTAINER "http://169.254.170.2"
#define INSTANCE "http://169.254.169.254"
#define INSTANCE_6 "http://[fd00:ec2::254]"
#define ROLES "/latest/meta-data/iam/security-credentials/"

enum {
	MAX_ANSWER = 64 * 1024,
	MAX_TOKEN_FILE = 20 * 1024, /* STS takes no more */
	/* As AWS's tools: it is on this host, or not at all. */
	NEAR_CONNECT_MS = 1000
};

/* ---- one request */

struct call {
	const char *who;    /* for errors: "the instance's metadata" */
	const char *method; /* "GET", "POST", "PUT" */
	const char *url;
	const char *header[3]; /* lines; NULL: none */
	const char *form;      /* of a POST; NULL: nothing */
	bool near;             /* never by a proxy */
	int64_t deadline;
};

struct answer {
	long status;
	CURLcode code; /* of a call without an answer */
	size_t n;
	char body[MAX_ANSWER + 1];
};

static struct answer *
answer_new(void)
{
	return xcalloc(1, sizeof(struct answer));
}

static void
answer_free(struct answer *answer)
{
	cred_wipe((char *)answer, sizeof *answer);
}

static size_t
take_answer(char *p, size_t size, size_t n, void *arg)
{
	struct answer *answer = arg;

	if (size * n > MAX_ANSWER - answer->n)
		return 0; /* CURLE_WRITE_ERROR */
	memcpy(answer->body + answer->n, p, size * n);
	answer->n += size * n;
	return size * n;
}

/* A header of ours that holds a secret. line_free() wipes it. */
static char *
line_new(const char *name, const char *value)
{
	const size_t n = strlen(name), room = n + strlen(value) + 1;
	char *line = xmalloc(room);

	memcpy(line, name, n);
	memcpy(line + n, value, room - n);
	return line;
}

static void
line_free(char *line)
{
	if (line != NULL)
		cred_wipe(line, strlen(line));
}

/* RC_RETRY: no whole answer. */
static enum rc
call_run(struct aws_cred *cred, const struct call *call, struct answer *answer,
    struct err *e)
{
	const int left = deadline_left_ms(call->deadline);
	struct http *http = &cred->http;
	enum rc rc = RC_OK;

	answer->status = 0;
	answer->n = 0;
	answer->code = CURLE_OPERATION_TIMEDOUT;
	if (http->curl == NULL && (rc = http_open(http, e)) != RC_OK)
		return rc;
	if (left == 0)
		return err_set(e, RC_RETRY, "aws_credentials_away",
		    "%s: no time left", call->who);
	http_begin(http,
	    &(struct http_request){ .method = call->method,
		.url = call->url,
		.header = { call->header[0], call->header[1], call->header[2] },
		.body = span_of(call->form),
		.connect_ms = call->near && left > NEAR_CONNECT_MS
				  ? NEAR_CONNECT_MS
				  : left,
		.timeout_ms = left,
		.take = take_answer,
		.arg = answer });
	if (call->near)
		(void)curl_easy_setopt(http->curl, CURLOPT_NOPROXY, "*");
	answer->code = curl_easy_perform(http->curl);
	(void)curl_easy_getinfo(
	    http->curl, CURLINFO_RESPONSE_CODE, &answer->status);
	answer->body[answer->n] = '\0';
	if (answer->code == CURLE_WRITE_ERROR)
		rc = err_set(e, RC_RETRY, "aws_credentials_away",
		    "%s: an answer that is too large", call->who);
	else if (answer->code != CURLE_OK)
		rc = err_set(e, RC_RETRY, "aws_credentials_away", "%s: %.150s",
		    call->who, http_why(http, answer->code));
	http_end(http);
	return rc;
}

/* Of an answer that is not 200. */
static enum rc
status_judge(
    const struct call *call, long status, const char *code, struct err *e)
{
	const bool later = status >= 500 || status == 429 || status == 408;

	return err_set(e, later ? RC_RETRY : RC_FAIL,
	    later ? "aws_credentials_away" : "aws_no_credentials",
	    "%s: answers %ld%s%s", call->who, status, *code == '\0' ? "" : " ",
	    code);
}

static bool
is_control_free(const char *s)
{
	for (; *s != '\0'; s++) {
		if (iscntrl((unsigned char)*s))
			return false;
	}
	return true;
}

/* ---- addresses: what is secret goes in the clear within this host only */

static bool
is_host_near(const char *host)
{
	static const char *const also[] = { "169.254.170.2", "169.254.170.23" };
	static const unsigned char eks[16] = { 0xfd, 0, 0x0e,
		0xc2, [15] = 0x23 }; /* fd00:ec2::23 */
	unsigned char a[16];
	char v6[64] = "";
	size_t n = strlen(host);

	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, a) == 1) {
		for (size_t i = 0; i < sizeof also / sizeof *also; i++) {
			if (strcmp(host, also[i]) == 0)
				return true;
		}
		return a[0] == 127;
	}
	if (n < 3 || n >= sizeof v6 || *host != '[' || host[n - 1] != ']')
		return false;
	memcpy(v6, host + 1, n - 2);
	return inet_pton(AF_INET6, v6, a) == 1 &&
	       (memcmp(a, eks, 16) == 0 ||
		   memcmp(a, &in6addr_loopback, 16) == 0);
}

bool
cred_url_is_safe(const char *url, bool *near)
{
	char *scheme = NULL, *host = NULL;
	CURLU *u = curl_url();
	bool safe = false;

	*near = false;
	if (u == NULL)
		xmalloc_failed();
	if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
		*near = strcmp(scheme, "http") == 0 && is_host_near(host);
		safe = *near || strcmp(scheme, "https") == 0;
	}
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	return safe;
}

/* ---- JSON of the container's agent and of the instance */

static const char *
str_of(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s == NULL ? "" : s;
}

/* -1: it is no time. */
static int64_t
time_of(const char *s)
{
	int64_t ms;

	/* Not "now" or "+1h", which time_parse knows too. */
	return *s >= '0' && *s <= '9' && time_parse(s, 0, &ms) == 0 ? ms : -1;
}

static void
json_wipe(json_t *tree)
{
	const char *name;
	json_t *value;

	json_object_foreach(tree, name, value)
	{
		if (json_is_string(value))
			sodium_memzero(
			    /* it is ours, and goes */
			    (void *)(uintptr_t)json_string_value(value),
			    json_string_length(value));
	}
	json_decref(tree);
}

/* What is wrong with it is theirs to mend, and may be soon. */
static enum rc
held_take(const struct call *call, struct cred_held *held, const char *id,
    const char *secret, const char *token, int64_t expires_ms, struct err *e)
{
	struct err why = ERR_INIT;

	if (cred_held_set(
		held, call->who, id, secret, token, expires_ms, &why) == RC_OK)
		return RC_OK;
	return err_set(e, RC_RETRY, "aws_credentials_away", "%s", why.msg);
}

static enum rc
json_read(const struct call *call, const struct answer *answer,
    struct cred_held *held, struct err *e)
{
	json_t *tree = json_loadb(answer->body, answer->n, 0, NULL);
	const char *until = str_of(tree, "Expiration");
	int64_t expires = *until == '\0' ? 0 : time_of(until);
	enum rc rc;

	if (*str_of(tree, "AccessKeyId") == '\0' || expires == -1)
		rc = err_set(e, RC_RETRY, "aws_credentials_away",
		    "%s: an answer without credentials", call->who);
	else
		rc = held_take(call, held, str_of(tree, "AccessKeyId"),
		    str_of(tree, "SecretAccessKey"), str_of(tree, "Token"),
		    expires, e);
	json_wipe(tree);
	return rc;
}

/* ---- the container's agent */

/* Gives the header that it wants to see; NULL none. */
static enum rc
container_header(const struct aws_cred *cred, char **out, struct err *e)
{
	const char *path =
	    cred_env(cred, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = cred_env(cred, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
	char *text = NULL;
	size_t n = 0;
	enum rc rc = RC_OK;

	*out = NULL;
	if (*path != '\0') {
		rc = cred_file_read(path, MAX_TOKEN_FILE, &text, &n, e);
		if (rc != RC_OK) {
			err_prefix(
			    e, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: ");
			return RC_FAIL;
		}
		while (n > 0 && isspace((unsigned char)text[n - 1]))
			text[--n] = '\0';
		token = text;
	}
	if (!is_control_free(token))
		rc = err_set(e, RC_FAIL, "aws_no_credentials",
		    "AWS_CONTAINER_AUTHORIZATION_TOKEN: a line break, or "
		    "another control character in it");
	else if (*token != '\0')
		*out = line_new("Authorization: ", token);
	cred_wipe(text, n);
	return rc;
}

enum rc
cred_container_url(const struct aws_cred *cred, struct arena *arena,
    const char **out, bool *near, struct err *e)
{
	const char *path =
	    cred_env(cred, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *url = cred_env(cred, "AWS_CONTAINER_CREDENTIALS_FULL_URI");

	if (*path == '\0' && *url == '\0')
		return err_set(e, RC_NONE, "aws_no_credentials",
		    "AWS_CONTAINER_CREDENTIALS_*_URI: not set");
	if (*path != '\0') {
		if (*path != '/')
			return err_set(e, RC_FAIL, "aws_no_credentials",
			    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: must "
			    "begin with '/'");
		url = arena_concat(arena, CONTAINER, path, NULL);
	}
	if (!cred_url_is_safe(url, near))
		return err_set(e, RC_FAIL, "aws_no_credentials",
		    "AWS_CONTAINER_CREDENTIALS_FULL_URI: https is wanted, or "
		    "this host or the agent of ECS or EKS");
	*out = arena_strdup(arena, url);
	return RC_OK;
}

enum rc
cred_from_container(
    struct aws_cred *cred, struct cred_held *held, struct err *e)
{
	struct call call = { .who = "the container's credentials",
		.method = "GET",
		.deadline = deadline_in(cred->opts.timeout_ms) };
	struct arena *arena = arena_new();
	struct answer *answer = answer_new();
	char *line = NULL;
	enum rc rc = cred_container_url(cred, arena, &call.url, &call.near, e);

	if (rc != RC_OK)
		goto out;
	if ((rc = container_header(cred, &line, e)) != RC_OK)
		goto out;
	call.header[0] = line;
	call.header[1] = "Accept: application/json";
	rc = call_run(cred, &call, answer, e);
	if (rc == RC_OK && answer->status != 200)
		rc = status_judge(&call, answer->status, "", e);
	else if (rc == RC_OK)
		rc = json_read(&call, answer, held, e);
out:
	line_free(line);
	answer_free(answer);
	arena_free(arena);
	return rc;
}

/* ---- the instance's metadata, IMDSv2 */

static const char *
instance_base(const struct aws_cred *cred, struct arena *arena)
{
	const char *base = cred_env(cred, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
	size_t n = strlen(base);

	if (n > 0)
		return arena_strndup(
		    arena, base, base[n - 1] == '/' ? n - 1 : n);
	if (strcasecmp(cred_env(cred, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"),
		"IPv6") == 0)
		return INSTANCE_6;
	return INSTANCE;
}

/* The first line of the list, as a path; NULL: none. */
static const char *
role_path(struct arena *arena, const struct answer *answer)
{
	size_t n = strcspn(answer->body, "\r\n");
	struct strbuf sb;

	if (n == 0 || n > 128)
		return NULL;
	strbuf_init(&sb, 128);
	strbuf_adds(&sb, ROLES);
	strbuf_add_urlarg(&sb, answer->body, n);
	const char *path = arena_strdup(arena, sb.s);

	strbuf_release(&sb);
	return path;
}

/* Gives the header with a token. RC_NONE: no such service, as far as is
 * known: nobody answered, ever, at an address that nobody gave us. */
static enum rc
instance_header(struct aws_cred *cred, struct call *call, const char *base,
    struct arena *arena, struct answer *answer, char **out, struct err *e)
{
	const bool expected =
	    cred->from_instance ||
	    *cred_env(cred, "AWS_EC2_METADATA_SERVICE_ENDPOINT") != '\0';
	enum rc rc;

	call->method = "PUT";
	call->url = arena_concat(arena, base, "/latest/api/token", NULL);
	call->header[0] = "X-aws-ec2-metadata-token-ttl-seconds: 21600";
	call->header[1] = "Content-Type:";
	rc = call_run(cred, call, answer, e);
	if (rc == RC_RETRY && !expected &&
	    (answer->code == CURLE_COULDNT_CONNECT ||
		answer->code == CURLE_OPERATION_TIMEDOUT))
		return RC_NONE;
	if (rc != RC_OK)
		return rc;
	if (answer->status != 200)
		return status_judge(call, answer->status, "", e);
	if (answer->n == 0 || !is_control_free(answer->body))
		return err_set(e, RC_RETRY, "aws_credentials_away",
		    "%s: a token that is none", call->who);
	*out = line_new("X-aws-ec2-metadata-token: ", answer->body);
	return RC_OK;
}

/* A token, the role's name, its credentials. */
static enum rc
instance_ask(struct aws_cred *cred, struct arena *arena, struct answer *answer,
    struct cred_held *held, struct err *e)
{
	const char *base = instance_base(cred, arena), *path = NULL;
	struct call call = { .who = "the instance's metadata",
		.near = true,
		.deadline = deadline_in(cred->opts.timeout_ms) };
	char *line = NULL;
	enum rc rc =
	    instance_header(cred, &call, base, arena, answer, &line, e);

	if (rc != RC_OK)
		return rc;
	call.method = "GET";
	call.header[0] = line;
	call.header[1] = NULL;
	call.url = arena_concat(arena, base, ROLES, NULL);
	if ((rc = call_run(cred, &call, answer, e)) != RC_OK)
		goto out;
	if (answer->status == 200)
		path = role_path(arena, answer);
	if (answer->status == 404 || (answer->status == 200 && path == NULL))
		rc = err_set(e, RC_NONE, "aws_no_credentials",
		    "%s: the instance has no role", call.who);
	else if (answer->status != 200)
		rc = status_judge(&call, answer->status, "", e);
	if (rc != RC_OK)
		goto out;

	call.url = arena_concat(arena, base, path, NULL);
	if ((rc = call_run(cred, &call, answer, e)) != RC_OK)
		goto out;
	if (answer->status != 200)
		rc = status_judge(&call, answer->status, "", e);
	else
		rc = json_read(&call, answer, held, e);
	cred->from_instance = cred->from_instance || rc == RC_OK;
out:
	line_free(line);
	return rc;
}

enum rc
cred_from_instance(struct aws_cred *cred, struct cred_held *held, struct err *e)
{
	struct arena *arena;
	struct answer *answer;

	if (strcasecmp(cred_env(cred, "AWS_EC2_METADATA_DISABLED"), "true") ==
	    0)
		return err_set(e, RC_NONE, "aws_no_credentials",
		    "the instance's metadata: AWS_EC2_METADATA_DISABLED");
	arena = arena_new();
	answer = answer_new();
	enum rc rc = instance_ask(cred, arena, answer, held, e);

	answer_free(answer);
	arena_free(arena);
	return rc;
}

/* ---- STS: a role for a token of the cluster */

/*
 * What lies between <name> and </name>, looked for from p to end; NULL: not
 * there, or not as it should be. *n: its length. The values are of letters,
 * digits and /+=:.-, so nothing in them is ever written in another way.
 */
static char *
element(char *p, const char *end, const char *name, size_t *n)
{
	char open[32], close[33];

	(void)snprintf(open, sizeof open, "<%s>", name);
	(void)snprintf(close, sizeof close, "</%s>", name);
	p = strstr(p, open);
	if (p == NULL)
		return NULL;
	p += strlen(open);
	*n = strcspn(p, "<&");
	if (*n == 0 || strncmp(p + *n, close, strlen(close)) != 0 ||
	    p + *n >= end)
		return NULL;
	return p;
}

/* Writes NULs into the answer. */
static enum rc
sts_read(const struct call *call, struct answer *answer, struct cred_held *held,
    struct err *e)
{
	static const char *const names[] = { "AccessKeyId", "SecretAccessKey",
		"SessionToken", "Expiration" };
	char *text[4] = { NULL }, *p = strstr(answer->body, "<Credentials>");
	const char *end = p == NULL ? NULL : strstr(p, "</Credentials>");
	int64_t expires = -1;
	size_t n[4];
	int found = 0;

	if (end != NULL) {
		for (size_t i = 0; i < 4; i++) {
			text[i] = element(p, end, names[i], &n[i]);
			found += text[i] != NULL;
		}
	}
	if (found == 4) {
		for (size_t i = 0; i < 4; i++)
			text[i][n[i]] = '\0';
		expires = time_of(text[3]);
	}
	if (expires == -1)
		return err_set(e, RC_RETRY, "aws_credentials_away",
		    "%s: an answer without credentials", call->who);
	return held_take(call, held, text[0], text[1], text[2], expires, e);
}

/* https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
 * An expired token is one that the cluster has not yet replaced. */
static enum rc
sts_refused(const struct call *call, struct answer *answer, struct err *e)
{
	static const char *const later[] = { "ExpiredTokenException",
		"IDPCommunicationError", "Throttling", "ThrottlingException",
		"RequestThrottled", "ServiceUnavailable" };
	size_t n = 0;
	char *found =
	    element(answer->body, answer->body + answer->n, "Code", &n);
	const char *code = "";

	if (found != NULL && n <= 60) {
		found[n] = '\0';
		code = found;
	}
	for (const char *p = code; *p != '\0'; p++) {
		if (!isalnum((unsigned char)*p)) {
			code = "";
			break;
		}
	}
	for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
		if (strcmp(code, later[i]) == 0)
			return err_set(e, RC_RETRY, "aws_credentials_away",
			    "%s: %s", call->who, code);
	}
	return status_judge(call, answer->status, code, e);
}

static enum rc
sts_url(struct aws_cred *cred, struct arena *arena, struct call *call,
    struct err *e)
{
	const char *region = aws_region(cred, arena);

	call->url = cred->sts;
	if (*call->url == '\0') {
		for (const char *p = region; *p != '\0'; p++) {
			if (!isalnum((unsigned char)*p) && *p != '-')
				return err_set(e, RC_FAIL, "aws_no_credentials",
				    "AWS_REGION: is no region");
		}
		call->url = arena_concat(arena, "https://sts",
		    *region == '\0' ? "" : ".", region, ".amazonaws.com",
		    strncmp(region, "cn-", 3) == 0 ? ".cn" : "", NULL);
	}
	if (!cred_url_is_safe(call->url, &call->near))
		return err_set(e, RC_FAIL, "aws_no_credentials",
		    "%s: https:// is wanted", call->who);
	return RC_OK;
}

static void
form_add(struct strbuf *form, const char *name, const char *value)
{
	if (form->len > 0)
		strbuf_addc(form, '&');
	strbuf_addf(form, "%s=", name);
	strbuf_add_urlarg(form, value, strlen(value));
}

static enum rc
sts_ask(struct aws_cred *cred, struct call *call, const char *role,
    const char *token, struct cred_held *held, struct err *e)
{
	struct answer *answer = answer_new();
	const char *session = cred_env(cred, "AWS_ROLE_SESSION_NAME");
	struct strbuf form;
	enum rc rc;

	/* Room for all, so that no copy is left behind by growing. */
	strbuf_init(&form,
	    1024 + 3 * (strlen(role) + strlen(token)) + 3 * strlen(session));
	form_add(&form, "Action", "AssumeRoleWithWebIdentity");
	form_add(&form, "Version", "2011-06-15");
	form_add(&form, "RoleArn", role);
	form_add(&form, "RoleSessionName", *session == '\0' ? "souk" : session);
	form_add(&form, "WebIdentityToken", token);
	call->form = form.s;
	rc = call_run(cred, call, answer, e);
	if (rc == RC_OK)
		rc = answer->status == 200 ? sts_read(call, answer, held, e)
					   : sts_refused(call, answer, e);
	sodium_memzero(form.s, form.len);
	strbuf_release(&form);
	answer_free(answer);
	return rc;
}

enum rc
cred_from_web_identity(
    struct aws_cred *cred, struct cred_held *held, struct err *e)
{
	const char *path = cred_env(cred, "AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role = cred_env(cred, "AWS_ROLE_ARN");
	struct call call = { .who = "STS",
		.method = "POST",
		.header = { "Accept: text/xml" },
		.deadline = deadline_in(cred->opts.timeout_ms) };
	char *token = NULL;
	size_t n = 0;
	enum rc rc;

	if (*path == '\0')
		return err_set(e, RC_NONE, "aws_no_credentials",
		    "AWS_WEB_IDENTITY_TOKEN_FILE: not set");
	if (*role == '\0')
		return err_set(e, RC_FAIL, "aws_no_credentials",
		    "AWS_ROLE_ARN: not set, but AWS_WEB_IDENTITY_TOKEN_FILE");
	rc = cred_file_read(path, MAX_TOKEN_FILE, &token, &n, e);
	if (rc != RC_OK) {
		err_prefix(e, "AWS_WEB_IDENTITY_TOKEN_FILE: ");
		return RC_FAIL;
	}

	struct arena *arena = arena_new();

	token[strcspn(token, "\r\n")] = '\0';
	rc = sts_url(cred, arena, &call, e);
	if (rc == RC_OK)
		rc = sts_ask(cred, &call, role, token, held, e);
	cred_wipe(token, n);
	arena_free(arena);
	return rc;
}
