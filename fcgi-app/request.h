/*
 * request - one HTTP request as it came through FastCGI, checked and bounded,
 * and the answer to it. Everything lives in the request's arena.
 */
#ifndef FCGI_APP_REQUEST_H
#define FCGI_APP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;

enum method { M_GET, M_HEAD, M_POST, M_PUT, M_DELETE, M_OPTIONS, M_OTHER };

/* Caps: what is beyond them is answered 400, 413, 414 or 431. */
enum {
	RQ_MAX_PARAMS = 256,           /* FastCGI parameters */
	RQ_MAX_PARAM_BYTES = 64 << 10, /* of all of them */
	RQ_MAX_PATH = 2 << 10,
	RQ_MAX_FIELDS = 64             /* of a query, form or cookie header */
};

struct field {
	const char *name;  /* decoded, UTF-8, no NUL inside */
	const char *value; /* the same */
};

struct fields {
	int n;
	const struct field *f;
};

/* The first of that name, or NULL. Names are compared to the letter. */
const char *fields_get(const struct fields *fields, const char *name);

struct request {
	struct arena *arena;
	enum method method;
	const char *path;  /* decoded, valid UTF-8, starts with '/', no NUL */
	const char *query_raw;
	struct fields query;
	struct fields cookies;
	struct span body;         /* read whole, at most [fcgi] max_body */
	const char *content_type; /* lower case, without parameters, or "" */
	const char *remote_addr;
	bool https;
	bool too_large;           /* the body was over the cap; body is empty */
	char id[33];              /* X-Request-Id as given (token, at most 32) or
	                             made */
	int64_t start_us;         /* monotonic */
	int64_t deadline;         /* monotonic ms: DESIGN, "every wait" */
	const char *const *params; /* FastCGI's NAME=value, NULL at the end */
};

/* A FastCGI parameter ("HTTP_IF_NONE_MATCH"), or NULL. */
const char *request_param(const struct request *rq, const char *name);

struct response {
	int status;              /* 200 */
	const char *type;        /* Content-Type; NULL: none */
	const char *cache;       /* Cache-Control; NULL: "private, no-store" */
	const char *etag;        /* with its quotes; NULL: none */
	const char *encoding;    /* Content-Encoding; NULL: identity */
	bool vary_encoding;      /* Vary: Accept-Encoding */
	const char *extra[16];   /* further "Name: value" lines, checked for CR
	                            and LF when written */
	int n_extra;
	struct span body;        /* borrowed until written */
};

void response_header(
    struct response *rs, struct arena *arena, const char *name,
    const char *value);

#endif
