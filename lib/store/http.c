#include "store/http.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/xmalloc.h"

enum rc
http_open(struct http *http, struct err *e)
{
	*http = (struct http){ 0 };
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		http->curl = curl_easy_init();
	return http->curl != NULL
		   ? RC_OK
		   : err_set(e, RC_FAIL, "curl", "libcurl does not start");
}

void
http_close(struct http *http)
{
	if (http->curl != NULL)
		curl_easy_cleanup(http->curl);
	http->curl = NULL;
}

static void
add_header(struct http *http, const char *line)
{
	struct curl_slist *more = curl_slist_append(http->headers, line);

	if (more == NULL)
		xmalloc_failed();
	http->headers = more;
}

static void
set_body(CURL *c, const struct http_request *rq)
{
	if (strcmp(rq->method, "HEAD") == 0) {
		(void)curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	} else if (strcmp(rq->method, "GET") != 0) {
		(void)curl_easy_setopt(
		    c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body.n);
		(void)curl_easy_setopt(
		    c, CURLOPT_POSTFIELDS, rq->body.n == 0 ? "" : rq->body.p);
		(void)curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, rq->method);
	}
}

static void
set_protocols(CURL *c)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	(void)curl_easy_setopt(
	    c, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
}

void
http_begin(struct http *http, const struct http_request *rq)
{
	CURL *c = http->curl;

	assert(rq->timeout_ms > 0 && rq->connect_ms > 0);
	curl_easy_reset(c); /* keeps the connection */
	http->why[0] = '\0';
	add_header(http, "Expect:"); /* nobody is asked first */
	for (int i = 0; i < HTTP_HEADERS; i++) {
		if (rq->header[i] != NULL)
			add_header(http, rq->header[i]);
	}
	(void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, http->headers);
	(void)curl_easy_setopt(c, CURLOPT_URL, rq->url);
	set_body(c, rq);
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)rq->timeout_ms);
	(void)curl_easy_setopt(
	    c, CURLOPT_CONNECTTIMEOUT_MS, (long)rq->connect_ms);
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
	(void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
	(void)curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(c, CURLOPT_USERAGENT, "souk");
	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, http->why);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, rq->take);
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, rq->arg);
	set_protocols(c);
}

const char *
http_why(const struct http *http, CURLcode code)
{
	return http->why[0] != '\0' ? http->why : curl_easy_strerror(code);
}

void
http_end(struct http *http)
{
	curl_easy_reset(http->curl);
	for (struct curl_slist *l = http->headers; l != NULL; l = l->next)
		sodium_memzero(l->data, strlen(l->data));
	curl_slist_free_all(http->headers);
	http->headers = NULL;
}
