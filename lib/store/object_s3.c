/*
 * s3: - a bucket, by store/aws.h.
 *
 * The bucket stands in the path where an endpoint is given, or where its name
 * has dots (no certificate covers two labels); else in the host's name.
 *
 * Nothing large is in memory whole: 16 MiB and more go up in parts of 8 MiB
 * (multipart), and everything comes down in ranges of 8 MiB, all of one version
 * (If-Match). So a cut connection costs one part, which is asked for again. The
 * price is one thing to know: an empty object has no ranges (416).
 *
 * What may pass is tried S3_TRIES times, each after a random wait of up to
 * twice the last bound ("full jitter"). Each of these requests may come twice
 * without harm, but for the end of an upload: see object_s3_upload.c.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/aws.h"
#include "store/aws_cred.h"
#include "store/object_s3_int.h"

enum {
	PREFIX_BYTES = 200,
	KEY_BYTES = 1024, /* S3's, prefix and all */
	WAIT_MS = 100,    /* the first bound, doubled before it is used */
	CONNECT_MS = 5000,
	SLOWEST = 64 /* bytes a millisecond, at least */
};

/* ---- opening */

static bool
is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* As a bucket's name may be: it becomes part of a host's name. */
static bool
bucket_ok(const char *s)
{
	size_t n = strlen(s);

	if (n < 3 || n > 63 || !is_lower_or_digit(s[0]) ||
	    !is_lower_or_digit(s[n - 1]) || strstr(s, "..") != NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!is_lower_or_digit(s[i]) && s[i] != '-' && s[i] != '.')
			return false;
	}
	return true;
}

/* s3://BUCKET[/PREFIX]; prefix "" or with '/' at its end. */
static enum rc
url_parse(const char *url, struct arena *arena, const char **bucket,
    const char **prefix, struct err *e)
{
	const char *rest = url + strlen("s3://");
	size_t n = strcspn(rest, "/"), end = strlen(rest);

	*bucket = arena_strndup(arena, rest, n);
	*prefix = "";
	while (end > n && rest[end - 1] == '/')
		end--;
	if (end > n) {
		*prefix = arena_strndup(arena, rest + n + 1, end - n - 1);
		if (!object_key_ok(*prefix) || strlen(*prefix) > PREFIX_BYTES)
			return err_set(e, RC_INVALID, "bad_configuration",
			    "%.300s: not a prefix of keys", url);
		*prefix = arena_concat(arena, *prefix, "/", NULL);
	}
	if (!bucket_ok(*bucket))
		return err_set(e, RC_INVALID, "bad_configuration",
		    "%.300s: not a bucket's name", url);
	return RC_OK;
}

static bool
s3_url_ok(const char *url)
{
	struct arena *arena = arena_new();
	const char *bucket, *prefix;
	bool ok = url_parse(url, arena, &bucket, &prefix, NULL) == RC_OK;

	arena_free(arena);
	return ok;
}

static bool
region_ok(const char *s)
{
	for (size_t i = 0; s[i] != '\0'; i++) {
		if (i > 40 || (!is_lower_or_digit(s[i]) && s[i] != '-'))
			return false;
	}
	return *s != '\0';
}

/* *endpoint, *before: where the bucket's keys are. */
static void
place_of(const struct object_opts *opts, const char *region, const char *bucket,
    const char *prefix, struct arena *arena, const char **endpoint,
    const char **before)
{
	const char *domain = strncmp(region, "cn-", 3) == 0
				 ? ".amazonaws.com.cn"
				 : ".amazonaws.com";
	bool given = opts->endpoint != NULL && *opts->endpoint != '\0';

	if (given || strchr(bucket, '.') != NULL) {
		*endpoint = given ? opts->endpoint
				  : arena_concat(arena, "https://s3.", region,
					domain, NULL);
		*before = arena_concat(arena, "/", bucket, "/", prefix, NULL);
		return;
	}
	*endpoint = arena_concat(
	    arena, "https://", bucket, ".s3.", region, domain, NULL);
	*before = arena_concat(arena, "/", prefix, NULL);
}

static enum rc
s3_open(
    const struct object_opts *opts, struct object_store **out, struct err *e)
{
	const char *bucket, *prefix, *endpoint, *before;
	struct arena *arena = arena_new();
	const char *region = opts->region;
	struct s3 *s3 = NULL;
	enum rc rc;

	if ((rc = url_parse(opts->url, arena, &bucket, &prefix, e)) != RC_OK)
		goto out;
	if (region == NULL || *region == '\0')
		region = aws_region(opts->cred, arena);
	if (!region_ok(region)) {
		rc = err_set(e, RC_INVALID, "bad_configuration",
		    "%.200s: no region, or not one's name: \"%.60s\"",
		    opts->url, region);
		goto out;
	}
	place_of(opts, region, bucket, prefix, arena, &endpoint, &before);
	s3 = xcalloc(1, sizeof *s3);
	s3->base.driver = &object_s3;
	s3->timeout_ms = opts->timeout_ms;
	s3->prefix_n = strlen(prefix);
	s3->before = xstrdup(before);
	rc = aws_new(
	    &(struct aws_opts){ .service = "s3",
		.region = region,
		.endpoint = endpoint,
		.cred = opts->cred,
		.connect_ms = opts->timeout_ms < CONNECT_MS ? opts->timeout_ms
							    : CONNECT_MS,
		.timeout_ms = opts->timeout_ms,
		.max_answer = S3_PART },
	    &s3->aws, e);
out:
	if (rc == RC_OK)
		*out = &s3->base;
	else if (s3 != NULL)
		s3->base.driver->close(&s3->base);
	arena_free(arena);
	return rc;
}

static void
s3_close(struct object_store *store)
{
	struct s3 *s3 = (struct s3 *)store;

	aws_free(s3->aws);
	free(s3->before);
	free(s3);
}

static enum rc
path_of(const struct s3 *s3, const char *key, struct arena *arena,
    const char **path, struct err *e)
{
	if (s3->prefix_n + strlen(key) > KEY_BYTES)
		return err_set(e, RC_INVALID, "bad_object_key",
		    "An object's key in S3 has %d bytes at most, with its "
		    "prefix",
		    KEY_BYTES);
	*path = arena_concat(arena, s3->before, key, NULL);
	return RC_OK;
}

/* ---- asking, and asking again */

/* The little XML that S3 answers needs no more than this. */
const char *
s3_xml_text(struct span xml, const char *name, struct arena *arena)
{
	static const struct {
		const char *name;
		char c;
	} entities[] = { { "&amp;", '&' }, { "&lt;", '<' }, { "&gt;", '>' },
		{ "&quot;", '"' }, { "&apos;", '\'' } };
	const char *from, *to;
	char *out;

	/* The body ends with a NUL that is not counted. */
	from = xml.n == 0
		   ? NULL
		   : strstr(xml.p, arena_concat(arena, "<", name, ">", NULL));
	if (from == NULL)
		return NULL;
	from += strlen(name) + 2;
	if ((to = strchr(from, '<')) == NULL)
		return NULL;
	char *text = arena_strndup(arena, from, (size_t)(to - from));

	out = text;
	for (const char *p = text; *p != '\0'; p++) {
		char c = *p;

		for (size_t i = 0; i < sizeof entities / sizeof *entities;
		     i++) {
			size_t n = strlen(entities[i].name);

			if (strncmp(p, entities[i].name, n) == 0) {
				c = entities[i].c;
				p += n - 1;
				break;
			}
		}
		*out++ = c;
	}
	*out = '\0';
	return text;
}

/* Errors that say how the shop was set up, and that waiting does not cure. */
static bool
is_wrong_bucket(const struct aws_answer *a)
{
	return strcmp(a->error_type, "NoSuchBucket") == 0 ||
	       strcmp(a->error_type, "AuthorizationHeaderMalformed") == 0 ||
	       (a->status >= 300 && a->status < 400);
}

/* S3 may begin an answer with 200 and find out later that it failed. */
static void
late_error(struct aws_answer *a, struct arena *arena)
{
	const char *code;

	if (a->status != 200 || a->body.n == 0 ||
	    strstr(a->body.p, "<Error>") == NULL)
		return;
	code = s3_xml_text(a->body, "Code", arena);
	a->error_type = code == NULL ? "" : code;
	a->status = 400;
	if (*a->error_type == '\0')
		a->status = 500;
	else if (strcmp(a->error_type, "AccessDenied") == 0)
		a->status = 403;
}

static enum rc
judge(const struct s3 *s3, const struct aws_answer *a, struct err *e)
{
	if (is_wrong_bucket(a))
		return err_set(e, RC_FAIL, "bad_bucket",
		    "s3: %ld %s: no such bucket, or in another region "
		    "(request %.64s)",
		    a->status, a->error_type, a->request_id);
	return aws_judge(s3->aws, a, e);
}

enum rc
s3_ask(const struct s3 *s3, struct aws_request *rq, int tries,
    struct arena *arena, struct aws_answer *out, struct err *e)
{
	if (rq->timeout_ms == 0)
		rq->timeout_ms =
		    s3->timeout_ms +
		    (int)((rq->body.n > S3_PART ? rq->body.n : S3_PART) /
			  SLOWEST);
	rq->stall_ms = s3->timeout_ms;
	rq->deadline = s3->base.deadline;
	if (rq->deadline != 0)
		tries = 1;
	for (int i = 1;; i++) {
		enum rc rc = aws_call(s3->aws, rq, arena, out, e);

		if (rc != RC_OK) {
			out->status = 0;
		} else {
			if (strcmp(rq->method, "POST") == 0)
				late_error(out, arena);
			if (out->status >= 200 && out->status < 300)
				return RC_OK;
			rc = judge(s3, out, e);
		}
		if (rc != RC_RETRY || i >= tries)
			return rc;
		clock_sleep_ms(
		    (int64_t)randombytes_uniform((uint32_t)(WAIT_MS << i)));
	}
}

/* ---- putting */

int
s3_put_headers(const struct object_meta *meta, struct sigv4_pair *out)
{
	int n = 0;

	out[n++] = (struct sigv4_pair){ "Content-Type", meta->type };
	if (*meta->cache_control != '\0')
		out[n++] =
		    (struct sigv4_pair){ "Cache-Control", meta->cache_control };
	return n;
}

static enum rc
put_whole(const struct s3 *s3, const char *path,
    const struct object_source *from, const struct object_meta *meta,
    struct arena *arena, struct err *e)
{
	struct sigv4_pair headers[S3_PUT_HEADERS];
	struct aws_request rq = { .method = "PUT", .path = path };
	char *buf = from->fd < 0 ? NULL : xmalloc((size_t)from->size);
	struct aws_answer answer;
	enum rc rc;

	rq.headers = headers;
	rq.n_headers = s3_put_headers(meta, headers);
	rc = object_source_read(from, 0, (size_t)from->size, buf, &rq.body, e);
	if (rc == RC_OK)
		rc = s3_ask(s3, &rq, S3_TRIES, arena, &answer, e);
	free(buf);
	return rc;
}

static enum rc
s3_put(struct object_store *store, const char *key,
    const struct object_source *from, const struct object_meta *meta,
    struct arena *arena, struct err *e)
{
	const struct s3 *s3 = (const struct s3 *)store;
	const char *path = NULL;
	enum rc rc = path_of(s3, key, arena, &path, e);

	if (rc != RC_OK)
		return rc;
	if (from->size >= S3_MULTIPART_FROM)
		return s3_upload(s3, path, from, meta, arena, e);
	return put_whole(s3, path, from, meta, arena, e);
}

/* ---- getting */

/* "bytes 0-8388607/20000000": the last number; -1. */
static int64_t
total_of(const char *range)
{
	const char *slash = strrchr(range, '/');
	int64_t n;

	if (slash == NULL || !text_int(span_of(slash + 1), 0, INT64_MAX, &n))
		return -1;
	return n;
}

static void
meta_of(const struct aws_answer *a, int64_t size, struct arena *arena,
    struct object_meta *meta)
{
	meta->type = arena_strdup(arena, a->type);
	meta->cache_control = arena_strdup(arena, a->cache_control);
	meta->size = size;
}

/* One range, from byte at; etag: of the version wanted, NULL any. */
static enum rc
get_range(const struct s3 *s3, const char *path, int64_t at, int64_t n,
    const char *etag, struct arena *arena, struct aws_answer *answer,
    struct err *e)
{
	struct sigv4_pair headers[2] = { { "Range",
	    arena_printf(arena, "bytes=%lld-%lld", (long long)at,
		(long long)(at + n - 1)) } };
	struct aws_request rq = { .method = "GET",
		.path = path,
		.headers = headers,
		.n_headers = 1 };

	if (etag != NULL)
		headers[rq.n_headers++] =
		    (struct sigv4_pair){ "If-Match", etag };
	return s3_ask(s3, &rq, S3_TRIES, arena, answer, e);
}

static enum rc
changed(const char *key, struct err *e)
{
	return err_set(e, RC_RETRY, "object_changed",
	    "%.200s: replaced while it was read", key);
}

static enum rc
head(const struct s3 *s3, const char *path, const char *key,
    struct arena *arena, struct object_meta *meta, struct err *e)
{
	struct aws_request rq = { .method = "HEAD", .path = path };
	struct aws_answer answer;
	enum rc rc = s3_ask(s3, &rq, S3_TRIES, arena, &answer, e);

	if (rc == RC_NONE)
		return object_none(key, e);
	if (rc == RC_OK && answer.length < 0)
		return err_set(e, RC_RETRY, "aws_no_answer",
		    "s3: the answer has no Content-Length");
	if (rc == RC_OK)
		meta_of(&answer, answer.length, arena, meta);
	return rc;
}

struct download {
	const struct s3 *s3;
	const char *path, *key;
	struct object_sink *into;
	struct arena *part; /* ends with each part */
	const char *etag;
};

/* The first range, which tells how large all of it is. */
static enum rc
get_first(struct download *d, int64_t max, struct arena *arena,
    struct object_meta *meta, struct err *e)
{
	/* One byte at least: there is no empty range. */
	int64_t n = max >= S3_PART ? S3_PART : max < 1 ? 1 : max;
	struct aws_answer a;
	enum rc rc = get_range(d->s3, d->path, 0, n, NULL, d->part, &a, e);
	int64_t size;

	if (a.status == 416) { /* empty */
		rc = head(d->s3, d->path, d->key, arena, meta, e);
		if (rc == RC_OK && meta->size != 0)
			return changed(d->key, e);
		if (rc == RC_OK)
			object_sink_begin(d->into, 0);
		return rc;
	}
	if (rc == RC_NONE)
		return object_none(d->key, e);
	if (rc != RC_OK)
		return rc;
	size = a.status == 206 ? total_of(a.range) : (int64_t)a.body.n;
	if (size > max)
		return object_too_large(d->key, size, max, e);
	if ((int64_t)a.body.n != (size < S3_PART ? size : S3_PART))
		return err_set(e, RC_RETRY, "aws_no_answer",
		    "s3: not the range that was asked for");
	meta_of(&a, size, arena, meta);
	d->etag = arena_strdup(arena, a.etag);
	object_sink_begin(d->into, size);
	return object_sink_add(d->into, a.body, e);
}

static enum rc
get_rest(struct download *d, int64_t at, int64_t size, struct err *e)
{
	while (at < size) {
		int64_t n = size - at < S3_PART ? size - at : S3_PART;
		struct aws_answer a;
		enum rc rc;

		arena_reset(d->part);
		rc = get_range(d->s3, d->path, at, n, d->etag, d->part, &a, e);
		if (a.status == 412 || a.status == 416 || rc == RC_NONE)
			return changed(d->key, e);
		if (rc == RC_OK && (a.status != 206 || (int64_t)a.body.n != n))
			rc = err_set(e, RC_RETRY, "aws_no_answer",
			    "s3: not the range that was asked for");
		if (rc == RC_OK)
			rc = object_sink_add(d->into, a.body, e);
		if (rc != RC_OK)
			return rc;
		at += n;
	}
	return RC_OK;
}

static enum rc
s3_get(struct object_store *store, const char *key, int64_t max,
    struct object_sink *into, struct arena *arena, struct object_meta *meta,
    struct err *e)
{
	struct download d = {
		.s3 = (const struct s3 *)store, .key = key, .into = into
	};
	struct object_meta found = { 0 };
	enum rc rc = path_of(d.s3, key, arena, &d.path, e);

	if (rc != RC_OK)
		return rc;
	d.part = arena_new();
	rc = get_first(&d, max, arena, &found, e);
	if (rc == RC_OK)
		rc = get_rest(&d, found.size < S3_PART ? found.size : S3_PART,
		    found.size, e);
	arena_free(d.part);
	if (rc == RC_OK && meta != NULL)
		*meta = found;
	return rc;
}

static enum rc
s3_head(struct object_store *store, const char *key, struct arena *arena,
    struct object_meta *meta, struct err *e)
{
	const struct s3 *s3 = (const struct s3 *)store;
	const char *path = NULL;
	enum rc rc = path_of(s3, key, arena, &path, e);

	return rc != RC_OK ? rc : head(s3, path, key, arena, meta, e);
}

/* ---- the rest */

static enum rc
s3_delete(struct object_store *store, const char *key, struct arena *arena,
    struct err *e)
{
	const struct s3 *s3 = (const struct s3 *)store;
	struct aws_request rq = { .method = "DELETE" };
	struct aws_answer answer;
	enum rc rc = path_of(s3, key, arena, &rq.path, e);

	if (rc != RC_OK)
		return rc;
	rc = s3_ask(s3, &rq, S3_TRIES, arena, &answer, e);
	return rc == RC_NONE ? RC_OK : rc;
}

static enum rc
s3_presign(struct object_store *store, const char *key, int64_t seconds,
    struct arena *arena, const char **url, struct err *e)
{
	const struct s3 *s3 = (const struct s3 *)store;
	const char *path = NULL;
	enum rc rc = path_of(s3, key, arena, &path, e);

	return rc != RC_OK ? rc
			   : aws_presign(s3->aws, path, seconds, arena, url, e);
}

const struct object_driver object_s3 = { "s3://", s3_url_ok, s3_open, s3_close,
	s3_put, s3_get, s3_head, s3_delete, s3_presign };
