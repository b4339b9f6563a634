/*
 * http - what our calls over HTTP have in common, whoever is called: libcurl
 * with http:// and https:// only, certificates verified, no redirects, no
 * signals, a deadline, and nothing of a call kept but its connection.
 *
 * Whoever calls runs the handle (curl_easy_perform, or in a multi handle) and
 * judges the answer. Between http_begin and http_end he may set more on it.
 */
#ifndef STORE_HTTP_H
#define STORE_HTTP_H

#include <curl/curl.h>

#include "base/err.h"
#include "base/span.h"

struct http {
	CURL *curl; /* NULL: not opened */
	struct curl_slist *headers;
	char why[CURL_ERROR_SIZE]; /* libcurl's words; "" */
};

/* RC_FAIL "curl". */
enum rc http_open(struct http *http, struct err *e);
void http_close(struct http *http); /* also of a zeroed one */

enum { HTTP_HEADERS = 16 };

/* All borrowed until http_end. */
struct http_request {
	const char *method; /* "GET", "HEAD"; others have a body */
	const char *url;
	/* "Name: value" lines; NULLs are left out. */
	const char *header[HTTP_HEADERS];
	struct span body;
	int connect_ms, timeout_ms; /* of more than 0: libcurl takes 0 for ever
				     */
	/* Gets the answer's body, as CURLOPT_WRITEFUNCTION. */
	size_t (*take)(char *p, size_t size, size_t n, void *arg);
	void *arg;
};
void http_begin(struct http *http, const struct http_request *rq);

/* Why there is no answer. */
const char *http_why(const struct http *http, CURLcode code);

/* The headers are wiped: there are secrets among them. */
void http_end(struct http *http);

#endif
