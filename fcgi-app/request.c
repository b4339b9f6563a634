#include "fcgi-app/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/text.h"

/* The parameters that every request needs, found in one pass; shorter names
 * first, so that a name is compared with those of its length alone. */
enum known {
	K_HTTPS,
	K_HOST,
	K_PATH_INFO,
	K_PATH,
	K_START,
	K_COOKIE,
	K_ORIGIN,
	K_REMOTE_ADDR,
	K_SCRIPT_NAME,
	K_CONTENT_TYPE,
	K_REFERER,
	K_DOCUMENT_URI,
	K_QUERY,
	K_CONTENT_LENGTH,
	K_METHOD,
	K_SCHEME,
	K_REQUEST_ID,
	K_FETCH_SITE,
	K_IDEMPOTENCY_KEY,
	N_KNOWN
};

#define KNOWN(k, s) [k] = { s, sizeof(s) - 1 }
static const struct {
	const char *name;
	size_t n;
} known_names[N_KNOWN] = {
	KNOWN(K_HTTPS, "HTTPS"),
	KNOWN(K_HOST, "HTTP_HOST"),
	KNOWN(K_PATH_INFO, "PATH_INFO"),
	KNOWN(K_PATH, "SOUK_PATH"),
	KNOWN(K_START, "SOUK_START"),
	KNOWN(K_COOKIE, "HTTP_COOKIE"),
	KNOWN(K_ORIGIN, "HTTP_ORIGIN"),
	KNOWN(K_REMOTE_ADDR, "REMOTE_ADDR"),
	KNOWN(K_SCRIPT_NAME, "SCRIPT_NAME"),
	KNOWN(K_CONTENT_TYPE, "CONTENT_TYPE"),
	KNOWN(K_REFERER, "HTTP_REFERER"),
	KNOWN(K_DOCUMENT_URI, "DOCUMENT_URI"),
	KNOWN(K_QUERY, "QUERY_STRING"),
	KNOWN(K_CONTENT_LENGTH, "CONTENT_LENGTH"),
	KNOWN(K_METHOD, "REQUEST_METHOD"),
	KNOWN(K_SCHEME, "REQUEST_SCHEME"),
	KNOWN(K_REQUEST_ID, "HTTP_X_REQUEST_ID"),
	KNOWN(K_FETCH_SITE, "HTTP_SEC_FETCH_SITE"),
	KNOWN(K_IDEMPOTENCY_KEY, "HTTP_IDEMPOTENCY_KEY"),
};

/* Where names of a length begin in known_names, plus one; 0: there are none. */
enum { KNOWN_LEN_MAX = sizeof "HTTP_IDEMPOTENCY_KEY" - 1 };
static const unsigned char known_of_len[KNOWN_LEN_MAX + 1] = {
	[5] = K_HTTPS + 1,
	[9] = K_HOST + 1,
	[10] = K_START + 1,
	[11] = K_COOKIE + 1,
	[12] = K_CONTENT_TYPE + 1,
	[14] = K_CONTENT_LENGTH + 1,
	[17] = K_REQUEST_ID + 1,
	[19] = K_FETCH_SITE + 1,
	[20] = K_IDEMPOTENCY_KEY + 1,
};

static const struct {
	const char *name;
	enum method method;
} methods[] = {
	{ "GET", M_GET },
	{ "HEAD", M_HEAD },
	{ "POST", M_POST },
	{ "PUT", M_PUT },
	{ "DELETE", M_DELETE },
	{ "OPTIONS", M_OPTIONS },
};

/* A body this small reached the web server with the head: how long it waited
 * says nothing about how slowly the client sends. */
#define PROMPT_BODY (16 << 10)

const char *
method_name(enum method method)
{
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
		if (methods[i].method == method)
			return methods[i].name;
	}
	return "OTHER";
}

const char *
request_param(const struct request *rq, const char *name)
{
	size_t n = strlen(name);

	for (const char *const *p = rq->params; *p != NULL; p++) {
		if (**p == *name && strncmp(*p, name, n) == 0 && (*p)[n] == '=')
			return *p + n + 1;
	}
	return NULL;
}

/* The first reason stands. */
static void
refuse(struct request *rq, int status, const char *code, const char *msg)
{
	if (rq->bad.status == 0)
		rq->bad = (struct refusal){ status, code, msg };
}

static void
refuse_err(struct request *rq, int status, const struct err *e)
{
	refuse(rq, status, arena_strdup(rq->arena, e->code),
	    arena_strdup(rq->arena, e->msg));
}

/* One pass over the parameters: the known ones, and the caps. A parameter that
 * comes twice counts the first time. */
static void
parse_params(struct request *rq, const char *value[N_KNOWN])
{
	size_t bytes = 0;
	int n = 0;

	for (const char *const *p = rq->params; *p != NULL; p++) {
		const char *eq = strchr(*p, '=');
		size_t name, len;

		if (eq == NULL)
			eq = *p + strlen(*p);
		name = (size_t)(eq - *p);
		len = name + strlen(eq);
		bytes += len;
		if (++n > RQ_MAX_PARAMS || bytes > RQ_MAX_PARAM_BYTES) {
			refuse(rq, 431, "headers_too_large",
			    "The request's header fields are too large");
			return;
		}
		if (*eq == '\0' || name > KNOWN_LEN_MAX ||
		    known_of_len[name] == 0)
			continue;
		for (int k = known_of_len[name] - 1;
		     k < N_KNOWN && known_names[k].n == name; k++) {
			/* The last letter tells most of them apart. */
			if (eq[-1] != known_names[k].name[name - 1] ||
			    memcmp(*p, known_names[k].name, name) != 0)
				continue;
			if (value[k] == NULL)
				value[k] = eq + 1;
			break;
		}
	}
}

static enum method
parse_method(const char *s)
{
	for (size_t i = 0; s != NULL && i < sizeof methods / sizeof *methods;
	     i++) {
		if (strcmp(s, methods[i].name) == 0)
			return methods[i].method;
	}
	return M_OTHER;
}

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* Under mod_fcgid, where .htaccess sends everything to souk.fcgi/PATH, the
 * program's own name is no part of the shop's path. */
static const char *
join_path(struct arena *arena, const char *script, const char *info)
{
	const char *last;

	if (script == NULL)
		script = "";
	if (info == NULL)
		info = "";
	last = strrchr(script, '/');
	if (last != NULL && ends_with(script, ".fcgi"))
		return info[0] == '\0' ? "/" : info;
	if (info[0] == '\0')
		return script;
	return arena_concat(arena, script, info, NULL);
}

static const char *
checked_path(struct request *rq, const char *path)
{
	size_t n = strlen(path);

	if (n > RQ_MAX_PATH) {
		refuse(rq, 414, "uri_too_long", "The address is too long");
		return "/";
	}
	if (path[0] != '/' || !utf8_valid(path, n)) {
		refuse(rq, 400, "bad_path", "The address is not valid");
		return "/";
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)path[i];

		if (c < 0x20 || c == 0x7f) {
			refuse(rq, 400, "bad_path", "The address is not valid");
			return "/";
		}
	}
	return path;
}

/* "Application/JSON; charset=utf-8" -> "application/json" */
static const char *
media_type(struct arena *arena, const char *s)
{
	size_t n = s == NULL ? 0 : strcspn(s, "; \t,");
	char *out;

	if (n == 0)
		return "";
	out = arena_strndup(arena, s, n);
	for (char *p = out; *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
	return out;
}

/* RFC 9110, section 5.6.2; one bit for each of the characters from 0. */
static bool
is_token(const char *s, size_t max)
{
	static const uint64_t set[4] = {
		UINT64_C(0x03ff6cfa00000000), /* !#$%&'*+-. and digits */
		UINT64_C(0x57ffffffc7fffffe), /* letters ^_`|~ */
	};
	size_t n = 0;

	for (; s[n] != '\0'; n++) {
		unsigned char c = (unsigned char)s[n];

		if (n == max || (set[c / 64] >> c % 64 & 1) == 0)
			return false;
	}
	return n > 0;
}

/* nginx's $msec: "1700000000.123". -1 where it is not that. */
static int64_t
parse_msec(const char *s)
{
	struct span whole = { s, strcspn(s, ".") };
	int64_t sec, ms = 0;

	if (!text_int(whole, 1, INT64_C(1) << 40, &sec))
		return -1;
	s += whole.n;
	if (*s == '.' && (strlen(s) != 4 ||
			     !text_int((struct span){ s + 1, 3 }, 0, 999, &ms)))
		return -1;
	return sec * 1000 + ms;
}

static void
parse_length(struct request *rq, const char *s)
{
	rq->content_length = -1;
	if (s == NULL || s[0] == '\0')
		return;
	if (!text_int(span_of(s), 0, INT64_MAX, &rq->content_length)) {
		rq->content_length = -1;
		refuse(rq, 400, "bad_content_length",
		    "Content-Length is not a number");
	}
}

static void
parse_waited(
    struct request *rq, const char *start, const struct request_limits *limits)
{
	int64_t began, now;

	if (start == NULL || (began = parse_msec(start)) < 0)
		return;
	now = clock_wall_coarse_ms();
	rq->waited_ms = now > began ? now - began : 0;
	if (limits->client_deadline_ms > 0 &&
	    rq->waited_ms > limits->client_deadline_ms &&
	    rq->content_length <= PROMPT_BODY)
		refuse(rq, 503, "too_late",
		    "The shop is busy. Please try again in a moment");
}

static void
parse_fields(struct request *rq, const char *query, const char *cookies)
{
	struct err e = ERR_INIT;

	rq->query_raw = query == NULL ? "" : query;
	if (form_parse(span_of(query), RQ_MAX_FIELDS, rq->arena, &rq->query,
		&e) != RC_OK)
		refuse_err(rq, 400, &e);
	if (cookie_parse(span_of(cookies), RQ_MAX_FIELDS, rq->arena,
		&rq->cookies, &e) != RC_OK)
		refuse_err(rq, 431, &e);
}

void
request_parse(struct request *rq, struct arena *arena,
    const char *const *params, const struct request_limits *limits)
{
	const char *v[N_KNOWN] = { NULL };
	const char *path;

	*rq = (struct request){
		.arena = arena, .params = params, .start_us = clock_mono_us()
	};
	/* Room for what comes after the last call that has a deadline. */
	rq->deadline = rq->start_us / 1000 + limits->request_deadline_ms -
		       (limits->request_deadline_ms < 10000
			       ? limits->request_deadline_ms / 10
			       : 1000);
	parse_params(rq, v);
	rq->method = parse_method(v[K_METHOD]);
	path = v[K_PATH] != NULL && v[K_PATH][0] != '\0' ? v[K_PATH]
	       : v[K_DOCUMENT_URI] != NULL && v[K_DOCUMENT_URI][0] != '\0'
		   ? v[K_DOCUMENT_URI]
		   : join_path(arena, v[K_SCRIPT_NAME], v[K_PATH_INFO]);
	rq->path = checked_path(rq, path);
	rq->content_type = media_type(arena, v[K_CONTENT_TYPE]);
	rq->remote_addr = v[K_REMOTE_ADDR] == NULL ? "" : v[K_REMOTE_ADDR];
	rq->https = (v[K_HTTPS] != NULL && strcmp(v[K_HTTPS], "on") == 0) ||
		    (v[K_SCHEME] != NULL && strcmp(v[K_SCHEME], "https") == 0);
	rq->host = v[K_HOST];
	rq->origin = v[K_ORIGIN];
	rq->referer = v[K_REFERER];
	rq->fetch_site = v[K_FETCH_SITE];
	rq->idempotency_key = v[K_IDEMPOTENCY_KEY];
	if (v[K_REQUEST_ID] != NULL &&
	    is_token(v[K_REQUEST_ID], sizeof rq->id - 1))
		memcpy(rq->id, v[K_REQUEST_ID], strlen(v[K_REQUEST_ID]) + 1);
	else
		text_random_id(rq->id);
	parse_length(rq, v[K_CONTENT_LENGTH]);
	parse_waited(rq, v[K_START], limits);
	parse_fields(rq, v[K_QUERY], v[K_COOKIE]);
}

void
request_body(struct request *rq, struct span body, uint64_t got,
    const struct request_limits *limits)
{
	if (got > limits->max_body ||
	    (rq->content_length > 0 &&
		(uint64_t)rq->content_length > limits->max_body)) {
		rq->too_large = true;
		refuse(rq, 413, "body_too_large", "The body is too large");
	} else if (got > 0 && rq->content_length < 0) {
		refuse(rq, 411, "length_required",
		    "A body needs a Content-Length");
	} else if (rq->content_length >= 0 &&
		   got != (uint64_t)rq->content_length) {
		refuse(rq, 400, "bad_content_length",
		    "The body is not as long as Content-Length says");
	} else {
		rq->body = body;
	}
}
