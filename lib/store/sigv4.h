/*
 * sigv4 - AWS Signature Version 4 of a request, in its header or (presigned) in
 * its address.
 *
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html; our own
 * and not libcurl's, which signs some queries, keys and headers wrongly and
 * presigns nothing. Pure: no clock, no I/O.
 */
#ifndef STORE_SIGV4_H
#define STORE_SIGV4_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

struct arena;

/* Whose request it is. Secret and token never reach a log or an error. */
struct sigv4_key {
	const char *id;
	const char *secret;
	const char *token; /* of a session; "" none */
};

struct sigv4_pair {
	const char *name, *value; /* value NULL: empty */
};

enum { SIGV4_HEADERS = 16 }; /* at most, those added here included */

struct sigv4_request {
	const char *method; /* "POST" */
	const char *host;   /* as the Host header says it, with a port */
	const char *path;   /* not encoded, UTF-8: "/a b/ö"; encoded here */
	const struct sigv4_pair *query; /* not encoded; any order */
	int n_query;
	/* To be signed beside Host and X-Amz-*; any case, any order, each
	 * name once. */
	const struct sigv4_pair *headers;
	int n_headers;
	struct span body;
	bool unsigned_body; /* "UNSIGNED-PAYLOAD": a body that is streamed */
	const char *region, *service; /* "eu-central-1", "sqs" */
	int64_t wall_ms;
};

struct sigv4_signed {
	const char *target; /* "/a%20b/%C3%B6?x=1": path and query, encoded */
	const char *header[SIGV4_HEADERS]; /* "Name: value" lines to be sent,
					      all but Host; "Name;" where the
					      value is empty, as libcurl wants
					      it */
	int n_headers;
};

/*
 * Sign it in an Authorization header. Adds X-Amz-Date, X-Amz-Security-Token
 * (where there is a token) and, for s3 or an unsigned body,
 * X-Amz-Content-Sha256: none of them may be among the headers given. All in the
 * arena. For s3 the path is encoded once and not normalised, for others twice
 * in what is signed, as the document says. The target must be sent as it is: a
 * client that resolves "/../" by itself (libcurl without
 * CURLOPT_PATH_AS_IS) sends another.
 */
void sigv4_sign(const struct sigv4_request *rq, const struct sigv4_key *key,
    struct arena *arena, struct sigv4_signed *out);

/* The target with X-Amz-Signature in its query, good for seconds
 * (1..604800); headers are not signed but for Host, nor is a body of s3. */
const char *sigv4_presign(const struct sigv4_request *rq,
    const struct sigv4_key *key, int64_t seconds, struct arena *arena);

#endif
