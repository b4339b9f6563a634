#include "fcgi-app/request.h"

#include <assert.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "base/text.h"

static const struct {
	int status;
	const char *reason;
} reasons[] = {
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 204, "No Content" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 303, "See Other" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 422, "Unprocessable Content" },
	{ 428, "Precondition Required" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
};

const char *
status_reason(int status)
{
	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Status";
}

void
response_header(struct response *rs, struct arena *arena, const char *name,
    const char *value)
{
	assert(rs->n_extra < (int)(sizeof rs->extra / sizeof *rs->extra));
	rs->extra[rs->n_extra++] = arena_concat(arena, name, ": ", value, NULL);
}

bool
response_bodyless(const struct response *rs, const struct request *rq)
{
	return rq->method == M_HEAD || rs->status == 204 || rs->status == 304;
}

/* front: "Name: ", or "" where the value is a whole line. False: the value
 * holds a line end. */
static bool
head_line(struct strbuf *out, const char *front, const char *value)
{
	size_t n, m;
	char *p;

	if (value == NULL)
		return true;
	n = strlen(front);
	m = strlen(value);
	if (memchr(value, '\r', m) != NULL || memchr(value, '\n', m) != NULL)
		return false;
	p = strbuf_room(out, n + m + 2);
	memcpy(p, front, n);
	memcpy(p + n, value, m);
	memcpy(p + n + m, "\r\n", 2);
	return true;
}

enum rc
response_head(const struct response *rs, const struct request *rq,
    struct strbuf *out, struct err *e)
{
	size_t start = out->len;
	char num[TEXT_NUM];
	bool ok;

	strbuf_add(out, "Status: ", 8);
	strbuf_adds(out, text_num(rs->status, num));
	strbuf_addc(out, ' ');
	strbuf_adds(out, status_reason(rs->status));
	strbuf_add(out, "\r\n", 2);
	ok = head_line(out, "Content-Type: ", rs->type) &&
	     head_line(out, "Cache-Control: ",
		 rs->cache == NULL ? "private, no-store" : rs->cache) &&
	     head_line(out, "ETag: ", rs->etag) &&
	     head_line(out, "Content-Encoding: ", rs->encoding) &&
	     head_line(
		 out, "Vary: ", rs->vary_encoding ? "Accept-Encoding" : NULL);
	for (int i = 0; ok && i < rs->n_extra; i++)
		ok = head_line(out, "", rs->extra[i]);
	/* Who may share an answer must not be told whose it was first. */
	if (rs->cache == NULL || strncmp(rs->cache, "public", 6) != 0)
		ok = ok && head_line(out, "X-Request-Id: ", rq->id);
	if (!ok) {
		strbuf_trunc(out, start);
		return err_set(e, RC_FAIL, "bad_header",
		    "A header field of the answer holds a line end");
	}
	if (rs->status != 204 && rs->status != 304) {
		head_line(
		    out, "Content-Length: ", text_num((int64_t)rs->body.n, num));
	}
	strbuf_add(out, "\r\n", 2);
	return RC_OK;
}
