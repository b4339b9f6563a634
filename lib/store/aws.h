/*
 * aws - one signed HTTPS conversation with an AWS service, or with what speaks
 * like one: libcurl, one kept connection, certificates verified, no redirects.
 * Not shared between threads.
 */
#ifndef STORE_AWS_H
#define STORE_AWS_H

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "store/sigv4.h"

struct arena;
struct aws;
struct aws_cred;

struct aws_opts {
	const char *service; /* "sqs", "s3" */
	const char *region;
	const char *endpoint;  /* "https://sqs.eu-central-1.amazonaws.com", no
				  slash at the end; http:// is RC_INVALID but for
				  this host's own addresses */
	struct aws_cred *cred; /* borrowed */
	int connect_ms, timeout_ms; /* of a call that says nothing else */
	int64_t max_answer;         /* bytes; 0: 8 MiB */
};

/* Strings are copied. RC_INVALID "bad_configuration". */
enum rc aws_new(const struct aws_opts *opts, struct aws **out, struct err *e);
void aws_free(struct aws *aws); /* NULL is allowed */

struct aws_request {
	const char *method; /* "POST" */
	const char *path;   /* not encoded; "/" */
	const struct sigv4_pair *query, *headers;
	int n_query, n_headers;
	struct span body;
	int timeout_ms;   /* 0: the usual */
	int64_t deadline; /* 0: none; else it ends then at the latest */
	int stall_ms;     /* 0: none; else the call ends where hardly a byte has
			     moved for so long (whole seconds): RC_RETRY */
	int stop_fd;      /* 0: none; else a descriptor: while nothing of the
			     answer has come, and it is readable for stop_ms, the
			     call ends: RC_RETRY "aws_stopped" */
	int stop_ms;
};

struct aws_answer {
	long status;
	struct span body;          /* in the arena, with a NUL behind it */
	const char *type;          /* Content-Type; "" */
	const char *error_type;    /* x-amzn-errortype or, for JSON, __type,
				      without what is before '#' and behind ':';
				      for XML <Code>; "" none */
	const char *etag;          /* as sent; "" */
	const char *cache_control; /* "" */
	const char *range;         /* Content-Range; "" */
	int64_t length;            /* Content-Length; -1 */
	const char *request_id;    /* x-amzn-requestid, x-amz-request-id; "" */
};

/*
 * One request, one answer, whatever its status: RC_OK. RC_RETRY
 * "aws_no_answer": none came whole; "aws_stopped". Where the service says that
 * the credentials are over (ExpiredToken...) they are fetched anew and it is
 * sent once more. Nothing else is repeated here.
 */
enum rc aws_call(struct aws *aws, const struct aws_request *rq,
    struct arena *arena, struct aws_answer *out, struct err *e);

/*
 * aws_call in two halves, so that the caller can do other things while the
 * answer comes. What rq points to is borrowed, and the arena must not be reset,
 * until aws_end, which is due on RC_OK before anything else is asked; aws_free
 * gives up what is under way.
 */
enum rc aws_begin(struct aws *aws, const struct aws_request *rq,
    struct arena *arena, struct err *e);
enum rc aws_end(struct aws *aws, struct aws_answer *out, struct err *e);

/*
 * What an answer that is not 2xx means: RC_RETRY: throttled, 5xx, 408, 429 and
 * codes such as OverLimit, SlowDown, RequestThrottled; RC_NONE: 404 and
 * NoSuch...; RC_FAIL: 401, 403 (code "aws_denied"); RC_INVALID: the rest. e
 * names service, status, the service's code and request id; its message, cut.
 */
enum rc aws_judge(
    const struct aws *aws, const struct aws_answer *answer, struct err *e);

/* A presigned GET of path, good for seconds: a whole address, in the arena. */
enum rc aws_presign(struct aws *aws, const char *path, int64_t seconds,
    struct arena *arena, const char **out, struct err *e);

#endif
