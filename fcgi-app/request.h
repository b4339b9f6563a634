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
#include "base/form.h"
#include "base/span.h"

struct arena;
struct strbuf;

enum method { M_GET, M_HEAD, M_POST, M_PUT, M_DELETE, M_OPTIONS, M_OTHER };

/* Caps: what is beyond them is answered 400, 413, 414 or 431. */
enum {
	RQ_MAX_PARAMS = 256,           /* FastCGI parameters */
	RQ_MAX_PARAM_BYTES = 64 << 10, /* of all of them */
	RQ_MAX_PATH = 2 << 10,
	RQ_MAX_FIELDS = 64             /* of a query, form or cookie header */
};

/* Why a request must not be served; status 0: it may be. */
struct refusal {
	int status;
	const char *code;
	const char *msg;
};

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
	bool too_large;           /* the body was over the cap; body is empty;
	                             bad says 413 */
	struct refusal bad;       /* to be answered with just this; path and the
	                             rest are safe to use, but may be empty */
	int64_t content_length;   /* -1: not declared */
	int64_t waited_ms;        /* since the web server began with it
	                             (SOUK_START); 0: not known */
	char id[33];              /* X-Request-Id as given (token, at most 32) or
	                             made */
	int64_t start_us;         /* monotonic */
	int64_t deadline;         /* monotonic ms: DESIGN, "every wait" */
	/* Header fields that every request which changes something is judged
	 * by; NULL where there is none. The rest: request_param(). */
	const char *host, *origin, *referer, *fetch_site, *idempotency_key;
	const char *const *params; /* FastCGI's NAME=value, NULL at the end */
};

/* A FastCGI parameter ("HTTP_IF_NONE_MATCH"), or NULL. */
const char *request_param(const struct request *rq, const char *name);

/* "GET" ...; "OTHER". */
const char *method_name(enum method method);

struct request_limits {
	size_t max_body;
	int64_t request_deadline_ms;
	int64_t client_deadline_ms; /* 0: none */
};

/*
 * Fill *rq from FastCGI's parameters, which are borrowed for its life: all but
 * body and too_large. Never fails: what must not be served has rq->bad. The
 * path is taken from SOUK_PATH, else DOCUMENT_URI, else SCRIPT_NAME without a
 * last part that ends with .fcgi, and PATH_INFO; the web server has decoded it.
 */
void request_parse(struct request *rq, struct arena *arena,
    const char *const *params, const struct request_limits *limits);

/*
 * Judge the body that was read: got bytes in all, of which body is what was
 * kept. Sets rq->body, rq->too_large and rq->bad.
 */
void request_body(struct request *rq, struct span body, uint64_t got,
    const struct request_limits *limits);

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

/* Add "name: value". More than fit is our bug (assert). */
void response_header(struct response *rs, struct arena *arena,
    const char *name, const char *value);

/*
 * The head as FastCGI wants it ("Status: 200 OK", ..., an empty line), added to
 * out. Content-Length is always there but for 204 and 304. RC_FAIL: a field
 * holds CR, LF or NUL, nothing was added.
 */
enum rc response_head(const struct response *rs, const struct request *rq,
    struct strbuf *out, struct err *e);

/* True where the head is all there is: HEAD, 204, 304. */
bool response_bodyless(const struct response *rs, const struct request *rq);

/* "Not Found" for 404; never NULL. */
const char *status_reason(int status);

#endif
