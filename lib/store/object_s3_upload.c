/*
 * s3: in parts (multipart): begun, put part by part, completed; then it is the
 * object. Until then nobody sees it.
 *
 * Where the answer to completing is lost and it is asked again, the upload may
 * be unknown: whether it became the object cannot be said. RC_RETRY: the caller
 * puts it again. (Comparing sizes and ETags would take another's object of the
 * same size for ours.)
 *
 * An upload that fails is aborted; one whose process is killed, or that had no
 * time left for that, stays, unseen and paid for, until the bucket's rule
 * AbortIncompleteMultipartUpload ends it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/object_s3_int.h"

enum {
	MAX_PARTS = 10000,
	ABORT_TRIES = 2,
	COMPLETE_MS = 120000 /* S3 puts the parts together */
};

struct upload {
	const struct s3 *s3;
	const char *path, *id;
	struct strbuf done; /* the body of CompleteMultipartUpload */
	struct arena *arena;
};

static enum rc
upload_begin(struct upload *up, const struct object_meta *meta, struct err *e)
{
	static const struct sigv4_pair query[] = { { "uploads", "" } };
	struct sigv4_pair headers[S3_PUT_HEADERS];
	struct aws_request rq = { .method = "POST",
		.path = up->path,
		.query = query,
		.n_query = 1,
		.headers = headers,
		.n_headers = s3_put_headers(meta, headers) };
	struct aws_answer answer;
	enum rc rc = s3_ask(up->s3, &rq, S3_TRIES, up->arena, &answer, e);

	if (rc != RC_OK)
		return rc;
	up->id = s3_xml_text(answer.body, "UploadId", up->arena);
	if (up->id == NULL || *up->id == '\0')
		return err_set(e, RC_RETRY, "aws_no_answer",
		    "s3: the answer names no UploadId");
	return RC_OK;
}

static enum rc
upload_part(struct upload *up, int number, struct span body, struct err *e)
{
	static const struct sigv4_pair headers[] = { { "Content-Type",
	    "application/octet-stream" } };
	char digits[TEXT_NUM];
	struct sigv4_pair query[] = { { "partNumber",
					  text_num(number, digits) },
		{ "uploadId", up->id } };
	struct aws_request rq = { .method = "PUT",
		.path = up->path,
		.query = query,
		.n_query = 2,
		.headers = headers,
		.n_headers = 1,
		.body = body };
	struct arena *arena = arena_new();
	struct aws_answer answer;
	enum rc rc = s3_ask(up->s3, &rq, S3_TRIES, arena, &answer, e);

	if (rc == RC_OK && *answer.etag == '\0')
		rc = err_set(e, RC_RETRY, "aws_no_answer",
		    "s3: the answer to a part has no ETag");
	if (rc == RC_OK) {
		strbuf_addf(&up->done,
		    "<Part><PartNumber>%d</PartNumber><ETag>", number);
		strbuf_add_html(&up->done, answer.etag, strlen(answer.etag));
		strbuf_adds(&up->done, "</ETag></Part>");
	}
	arena_free(arena);
	return rc;
}

static enum rc
upload_parts(struct upload *up, const struct object_source *from, struct err *e)
{
	char *buf = from->fd < 0 ? NULL : xmalloc(S3_PART);
	enum rc rc = RC_OK;
	int number = 1;

	strbuf_adds(&up->done,
	    "<CompleteMultipartUpload "
	    "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (int64_t at = 0; rc == RC_OK && at < from->size; at += S3_PART) {
		int64_t left = from->size - at;
		struct span body;

		rc = object_source_read(from, at,
		    left < S3_PART ? (size_t)left : S3_PART, buf, &body, e);
		if (rc == RC_OK)
			rc = upload_part(up, number++, body, e);
	}
	strbuf_adds(&up->done, "</CompleteMultipartUpload>");
	free(buf);
	return rc;
}

static enum rc
upload_complete(struct upload *up, struct err *e)
{
	static const struct sigv4_pair headers[] = { { "Content-Type",
	    "application/xml" } };
	struct sigv4_pair query[] = { { "uploadId", up->id } };
	struct aws_request rq = { .method = "POST",
		.path = up->path,
		.query = query,
		.n_query = 1,
		.headers = headers,
		.n_headers = 1,
		.body = strbuf_span(&up->done),
		.timeout_ms = up->s3->timeout_ms + COMPLETE_MS };
	struct aws_answer answer;

	return s3_ask(up->s3, &rq, S3_TRIES, up->arena, &answer, e);
}

/* What was uploaded is thrown away. That this fails too is told to nobody. */
static void
upload_abort(struct upload *up)
{
	struct sigv4_pair query[] = { { "uploadId", up->id } };
	struct aws_request rq = { .method = "DELETE",
		.path = up->path,
		.query = query,
		.n_query = 1 };
	struct aws_answer answer;

	(void)!s3_ask(up->s3, &rq, ABORT_TRIES, up->arena, &answer, NULL);
}

enum rc
s3_upload(const struct s3 *s3, const char *path,
    const struct object_source *from, const struct object_meta *meta,
    struct arena *arena, struct err *e)
{
	struct upload up = { .s3 = s3, .path = path, .arena = arena };
	enum rc rc;

	if (from->size > (int64_t)S3_PART * MAX_PARTS)
		return err_set(e, RC_INVALID, "object_too_large",
		    "s3: %d parts of %d bytes are the most", MAX_PARTS,
		    S3_PART);
	strbuf_init(&up.done, 4096);
	if ((rc = upload_begin(&up, meta, e)) == RC_OK &&
	    ((rc = upload_parts(&up, from, e)) != RC_OK ||
		(rc = upload_complete(&up, e)) != RC_OK))
		upload_abort(&up);
	if (rc == RC_NONE) /* lost, or complete without our knowing */
		rc = err_set(e, RC_RETRY, "object_upload_lost",
		    "s3: the upload is not known any more");
	strbuf_release(&up.done);
	return rc;
}
