/*
 * A multi handle with one easy handle in it: only so can a long poll be looked
 * after while a signal may come. The multi handle keeps the connection.
 *
 * The address is written by sigv4.c and given to libcurl as it is
 * (PATH_AS_IS): what is sent is what was signed.
 */
#include "store/aws.h"

#include <assert.h>
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/aws_cred.h"
#include "store/http.h"

enum {
	MAX_ANSWER = 8 << 20,
	MAX_HEADER = 2048, /* of one that we read */
	MAX_WORDS = 300,   /* of a service's message */
	POLL_MS = 1000
};

/* The call that is under way, and its answer as it comes. */
struct flight {
	bool under_way;
	struct aws_request rq; /* as it was given: to be sent once more */
	struct arena *arena;
	struct strbuf body;
	bool too_large, begun;
	struct aws_answer answer;
	const char *error_type;
};

struct aws {
	CURLM *multi;
	struct http http;
	char *service, *region, *endpoint, *host;
	struct aws_cred *cred;
	int connect_ms, timeout_ms;
	int64_t max_answer;
	struct flight flight;
};

/* Host as libcurl will send it: without the scheme's own port (RFC 9110, 7.2).
 */
static char *
host_of(const char *endpoint)
{
	const char *host = strstr(endpoint, "://") + 3;
	const char *port = strncmp(endpoint, "https:", 6) == 0 ? ":443" : ":80";
	size_t n = strlen(host), m = strlen(port);

	if (n > m && strcmp(host + n - m, port) == 0)
		n -= m;
	return xstrndup(host, n);
}

enum rc
aws_new(const struct aws_opts *opts, struct aws **out, struct err *e)
{
	const char *host = strstr(opts->endpoint, "://");
	struct aws *aws;

	if (host == NULL || !text_is_secure_url(opts->endpoint) ||
	    strpbrk(host + 3, "/?#@ ") != NULL || host[3] == '\0')
		return err_set(e, RC_INVALID, "bad_configuration",
		    "%s: the endpoint must be https://HOST, or http:// to this "
		    "host itself",
		    opts->service);
	if (*opts->region == '\0')
		return err_set(e, RC_INVALID, "bad_configuration",
		    "%s: no region: set [aws] region or AWS_REGION",
		    opts->service);
	aws = xcalloc(1, sizeof *aws);
	if (http_open(&aws->http, e) != RC_OK) {
		free(aws);
		return e->rc;
	}
	aws->multi = curl_multi_init();
	aws->service = xstrdup(opts->service);
	aws->region = xstrdup(opts->region);
	aws->endpoint = xstrdup(opts->endpoint);
	aws->host = host_of(opts->endpoint);
	aws->cred = opts->cred;
	aws->connect_ms = opts->connect_ms;
	aws->timeout_ms = opts->timeout_ms;
	aws->max_answer = opts->max_answer > 0 ? opts->max_answer : MAX_ANSWER;
	if (aws->multi == NULL) {
		aws_free(aws);
		return err_set(e, RC_FAIL, "curl", "libcurl does not start");
	}
	*out = aws;
	return RC_OK;
}

/* It is over, or given up. */
static void
land(struct aws *aws)
{
	(void)curl_multi_remove_handle(aws->multi, aws->http.curl);
	http_end(&aws->http);
	strbuf_release(&aws->flight.body);
	aws->flight.under_way = false;
}

void
aws_free(struct aws *aws)
{
	if (aws == NULL)
		return;
	if (aws->flight.under_way)
		land(aws);
	http_close(&aws->http);
	curl_multi_cleanup(aws->multi);
	free(aws->service);
	free(aws->region);
	free(aws->endpoint);
	free(aws->host);
	free(aws);
}

/* ---- an answer as it comes */

static size_t
take_body(char *p, size_t size, size_t n, void *arg)
{
	struct aws *aws = arg;
	struct flight *f = &aws->flight;

	f->begun = true;
	if ((int64_t)(f->body.len + size * n) > aws->max_answer) {
		f->too_large = true;
		return 0; /* CURLE_WRITE_ERROR */
	}
	strbuf_add(&f->body, p, size * n);
	return size * n;
}

static bool
header_is(struct span line, const char *name, struct span *value)
{
	size_t n = strlen(name);

	if (line.n <= n || line.p[n] != ':' ||
	    strncasecmp(line.p, name, n) != 0)
		return false;
	*value = (struct span){ line.p + n + 1, line.n - n - 1 };
	while (value->n > 0 && (*value->p == ' ' || *value->p == '\t')) {
		value->p++;
		value->n--;
	}
	while (value->n > 0 && value->p[value->n - 1] <= ' ')
		value->n--;
	return true;
}

static size_t
take_header(char *p, size_t size, size_t n, void *arg)
{
	struct aws *aws = arg;
	struct flight *f = &aws->flight;
	struct span line = { p, size * n }, v;

	f->begun = true;
	if (line.n > MAX_HEADER)
		return line.n; /* none of ours */
	if (header_is(line, "Content-Type", &v))
		f->answer.type = arena_strndup(f->arena, v.p, v.n);
	else if (header_is(line, "ETag", &v))
		f->answer.etag = arena_strndup(f->arena, v.p, v.n);
	else if (header_is(line, "Cache-Control", &v))
		f->answer.cache_control = arena_strndup(f->arena, v.p, v.n);
	else if (header_is(line, "Content-Range", &v))
		f->answer.range = arena_strndup(f->arena, v.p, v.n);
	else if (header_is(line, "Content-Length", &v))
		(void)!text_int(v, 0, INT64_MAX, &f->answer.length);
	else if (header_is(line, "x-amzn-errortype", &v))
		f->error_type = arena_strndup(f->arena, v.p, v.n);
	else if (header_is(line, "x-amzn-requestid", &v) ||
		 header_is(line, "x-amz-request-id", &v))
		f->answer.request_id = arena_strndup(f->arena, v.p, v.n);
	return line.n;
}

/* "com.amazonaws.sqs#OverLimit:http://..." is OverLimit. */
static const char *
bare_type(const char *s, struct arena *arena)
{
	const char *hash = strrchr(s, '#');

	if (hash != NULL)
		s = hash + 1;
	return arena_strndup(arena, s, strcspn(s, ": ,"));
}

/* What lies between <name> and </name>; NULL. */
static const char *
xml_text(const char *xml, const char *name, struct arena *arena)
{
	const char *from =
	    strstr(xml, arena_concat(arena, "<", name, ">", NULL));
	const char *to;

	if (from == NULL)
		return NULL;
	from += strlen(name) + 2;
	to = strchr(from, '<');
	return to == NULL ? NULL
			  : arena_strndup(arena, from, (size_t)(to - from));
}

/* *words: what the service says of it; "". */
static const char *
error_of(const struct aws_answer *a, struct arena *arena, const char **words)
{
	const char *code = NULL, *text = NULL;
	json_t *tree = json_loadb(a->body.p, a->body.n, 0, NULL);

	if (tree != NULL) {
		code = json_string_value(json_object_get(tree, "__type"));
		text = json_string_value(json_object_get(tree, "message"));
		if (text == NULL)
			text =
			    json_string_value(json_object_get(tree, "Message"));
		if (code != NULL)
			code = bare_type(code, arena);
		if (text != NULL)
			text = arena_strdup(arena, text);
		json_decref(tree);
	} else {
		code = xml_text(a->body.p, "Code", arena);
		text = xml_text(a->body.p, "Message", arena);
	}
	*words = text == NULL ? "" : text;
	return code == NULL ? "" : code;
}

/* ---- one exchange */

/* libcurl takes 0 for ever. */
static int
time_of(const struct aws *aws, const struct aws_request *rq)
{
	int ms = rq->timeout_ms > 0 ? rq->timeout_ms : aws->timeout_ms;
	int left = rq->deadline == 0 ? ms : deadline_left_ms(rq->deadline);

	return left < 1 ? 1 : left < ms ? left : ms;
}

static void
set_up(struct aws *aws, const struct sigv4_signed *s)
{
	const struct aws_request *rq = &aws->flight.rq;
	struct http_request hr = { .method = rq->method,
		.url = arena_concat(
		    aws->flight.arena, aws->endpoint, s->target, NULL),
		.body = rq->body,
		.connect_ms = aws->connect_ms,
		.timeout_ms = time_of(aws, rq),
		.take = take_body,
		.arg = aws };
	CURL *c = aws->http.curl;

	static_assert((int)HTTP_HEADERS >= (int)SIGV4_HEADERS);
	for (int i = 0; i < s->n_headers; i++)
		hr.header[i] = s->header[i];
	http_begin(&aws->http, &hr);
	(void)curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	if (rq->stall_ms > 0) {
		(void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
		(void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME,
		    (long)(rq->stall_ms + 999) / 1000);
	}
	(void)curl_easy_setopt(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
	(void)curl_easy_setopt(c, CURLOPT_HEADERDATA, aws);
}

static bool
is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* Until it is over, or stopped. *code: libcurl's; true: stopped. */
static bool
carry_out(struct aws *aws, CURLcode *code)
{
	const struct aws_request *rq = &aws->flight.rq;
	int64_t stop_at = INT64_MAX;
	int running = 1, left;

	*code = CURLE_FAILED_INIT;
	while (curl_multi_perform(aws->multi, &running) == CURLM_OK &&
	       running > 0) {
		struct curl_waitfd w = { .fd = rq->stop_fd,
			.events = CURL_WAIT_POLLIN };
		int64_t now = clock_mono_ms();
		bool watch = rq->stop_fd > 0 && stop_at == INT64_MAX;
		int ms = POLL_MS;

		if (stop_at != INT64_MAX) {
			if (now >= stop_at && !aws->flight.begun)
				return true;
			if (stop_at > now && stop_at - now < ms)
				ms = (int)(stop_at - now);
		}
		if (curl_multi_poll(aws->multi, &w, watch ? 1 : 0, ms, NULL) !=
		    CURLM_OK)
			break;
		if (watch && is_readable(rq->stop_fd))
			stop_at = clock_mono_ms() + rq->stop_ms;
	}
	for (const CURLMsg *m;
	     (m = curl_multi_info_read(aws->multi, &left)) != NULL;) {
		if (m->msg == CURLMSG_DONE)
			*code = m->data.result;
	}
	return false;
}

enum rc
aws_begin(struct aws *aws, const struct aws_request *rq, struct arena *arena,
    struct err *e)
{
	struct sigv4_request sr = { .method = rq->method,
		.host = aws->host,
		.path = rq->path,
		.query = rq->query,
		.n_query = rq->n_query,
		.headers = rq->headers,
		.n_headers = rq->n_headers,
		.body = rq->body,
		.region = aws->region,
		.service = aws->service,
		.wall_ms = clock_wall_ms() };
	struct sigv4_signed s;
	struct sigv4_key key;
	int running;
	enum rc rc;

	assert(!aws->flight.under_way);
	if ((rc = aws_cred_get(aws->cred, arena, &key, e)) != RC_OK)
		return rc;
	sigv4_sign(&sr, &key, arena, &s);
	aws->flight = (struct flight){ .under_way = true,
		.rq = *rq,
		.arena = arena,
		.answer = { .type = "",
		    .error_type = "",
		    .etag = "",
		    .cache_control = "",
		    .range = "",
		    .request_id = "",
		    .length = -1 } };
	strbuf_init(&aws->flight.body, 4096);
	set_up(aws, &s);
	(void)curl_multi_add_handle(aws->multi, aws->http.curl);
	/* On a kept connection it is sent by that. */
	(void)curl_multi_perform(aws->multi, &running);
	return RC_OK;
}

static void
answer_end(struct aws *aws)
{
	struct flight *f = &aws->flight;
	struct aws_answer *a = &f->answer;
	const char *words;

	a->body =
	    (struct span){ arena_memdup(f->arena, f->body.s, f->body.len + 1),
		    f->body.len };
	if (a->status >= 300)
		a->error_type = f->error_type != NULL
				    ? bare_type(f->error_type, f->arena)
				    : error_of(a, f->arena, &words);
}

static enum rc
exchange_end(struct aws *aws, struct aws_answer *out, struct err *e)
{
	struct flight *f = &aws->flight;
	CURLcode code;
	bool stopped = carry_out(aws, &code);
	enum rc rc = RC_OK;

	(void)curl_easy_getinfo(
	    aws->http.curl, CURLINFO_RESPONSE_CODE, &f->answer.status);
	if (stopped)
		rc = err_set(e, RC_RETRY, "aws_stopped", "%s: a wait was ended",
		    aws->service);
	else if (f->too_large)
		rc = err_set(e, RC_RETRY, "aws_no_answer",
		    "%s: an answer of more than %lld bytes", aws->service,
		    (long long)aws->max_answer);
	else if (code != CURLE_OK)
		rc = err_set(e, RC_RETRY, "aws_no_answer", "%s: %s: %s",
		    aws->service, aws->host, http_why(&aws->http, code));
	else
		answer_end(aws);
	*out = f->answer;
	land(aws);
	return rc;
}

enum rc
aws_end(struct aws *aws, struct aws_answer *out, struct err *e)
{
	struct flight *f = &aws->flight;
	enum rc rc;

	assert(f->under_way);
	rc = exchange_end(aws, out, e);
	if (rc != RC_OK || strncmp(out->error_type, "Expired", 7) != 0)
		return rc;
	aws_cred_forget(aws->cred);
	rc = aws_begin(aws, &f->rq, f->arena, e);
	return rc == RC_OK ? exchange_end(aws, out, e) : rc;
}

enum rc
aws_call(struct aws *aws, const struct aws_request *rq, struct arena *arena,
    struct aws_answer *out, struct err *e)
{
	enum rc rc = aws_begin(aws, rq, arena, e);

	return rc == RC_OK ? aws_end(aws, out, e) : rc;
}

/* ---- what an answer means */

static bool
is_one_of(const char *s, const char *const list[])
{
	for (; *list != NULL; list++) {
		if (strcmp(s, *list) == 0)
			return true;
	}
	return false;
}

/* Throttling has many names, and not all come with 429 or 503. */
static bool
is_for_later(const struct aws_answer *a)
{
	static const char *const codes[] = { "OverLimit", "SlowDown",
		"RequestThrottled", "Throttling", "ThrottlingException",
		"ThrottledException", "RequestThrottledException",
		"TooManyRequestsException", "RequestLimitExceeded",
		"BandwidthLimitExceeded", "KmsThrottled",
		"AWS.SimpleQueueService.OverLimit", "RequestTimeout",
		"RequestTimeoutException", "InternalError", "InternalFailure",
		"ServiceUnavailable", NULL };

	return a->status == 408 || a->status == 429 || a->status >= 500 ||
	       a->status < 400 || is_one_of(a->error_type, codes);
}

enum rc
aws_judge(const struct aws *aws, const struct aws_answer *answer, struct err *e)
{
	static const char *const none[] = { "QueueDoesNotExist",
		"AWS.SimpleQueueService.NonExistentQueue", "NoSuchKey",
		"NoSuchUpload", NULL };
	const char *code = answer->error_type, *words = "";
	struct arena *arena = arena_new();
	enum rc rc = RC_INVALID;

	(void)error_of(answer, arena, &words);
	if (is_for_later(answer))
		rc = RC_RETRY;
	else if (answer->status == 404 || is_one_of(code, none))
		rc = RC_NONE;
	else if (answer->status == 401 || answer->status == 403)
		rc = RC_FAIL;
	(void)!err_set(e, rc, rc == RC_FAIL ? "aws_denied" : "aws_refused",
	    "%s answers %ld %s: %.*s (request %.64s)", aws->service,
	    answer->status, code, MAX_WORDS, words, answer->request_id);
	arena_free(arena);
	return rc;
}

enum rc
aws_presign(struct aws *aws, const char *path, int64_t seconds,
    struct arena *arena, const char **out, struct err *e)
{
	struct sigv4_request sr = { .method = "GET",
		.host = aws->host,
		.path = path,
		.region = aws->region,
		.service = aws->service,
		.wall_ms = clock_wall_ms() };
	struct sigv4_key key;
	enum rc rc = aws_cred_get(aws->cred, arena, &key, e);

	if (rc == RC_OK)
		*out = arena_concat(arena, aws->endpoint,
		    sigv4_presign(&sr, &key, seconds, arena), NULL);
	return rc;
}
