/*
 * libfcgi reads the request; the answer is framed here. Its output stream would
 * copy the answer through a buffer of 8 KiB and write that each time it is
 * full; a page is three to six of those. One writev() sends head, body and the
 * closing records at once, and the web server wakes up once.
 *
 * The connection is attached to the one FCGX_Request of this process for as
 * long as a request takes: between two requests it has no state. listen_sock is
 * -1, so that libfcgi never accepts by itself: where a request is broken it
 * tries to, fails, and says so. `detached` keeps it from waiting up to 2 s for
 * the other side to close (fcgi2 os_unix.c, OS_Close).
 */
#include "fcgi-app/serve.h"

#include <errno.h>
#include <fcgiapp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/xmalloc.h"
#include "fcgi-app/app.h"
#include "fcgi-app/scoreboard.h"

/* FastCGI 1.0, section 8 */
enum {
	FCGI_VERSION = 1,
	FCGI_END_REQUEST = 3,
	FCGI_STDOUT = 6,
	FCGI_ROLE_RESPONDER = 1
};

enum {
	RECORD_MAX = 65528, /* a multiple of 8: no padding but in the last */
	BATCH = 8,          /* records a writev() */
	DISCARD = 4 << 20   /* of a body beyond max_body, before we answer */
};

struct serve {
	struct serve_opts opts;
	FCGX_Request fcgx;
	struct arena *arena;
	struct strbuf head;
};

struct serve *
serve_new(const struct serve_opts *opts)
{
	struct serve *s = xcalloc(1, sizeof *s);

	s->opts = *opts;
	s->arena = arena_new();
	strbuf_init(&s->head, 1024);
	FCGX_Init();
	FCGX_InitRequest(&s->fcgx, -1, FCGI_FAIL_ACCEPT_ON_INTR);
	return s;
}

void
serve_free(struct serve *serve)
{
	if (serve == NULL)
		return;
	FCGX_Free(&serve->fcgx, 0);
	strbuf_release(&serve->head);
	arena_free(serve->arena);
	free(serve);
}

/* ---- reading */

/*
 * The body, to the end of the stream even where it is not wanted: the next
 * request on this connection comes behind it. False: cut short. *rest: more
 * than we were willing to throw away.
 */
static bool
read_body(struct serve *s, struct request *rq,
    const struct request_limits *limits, uint64_t *got, bool *rest)
{
	FCGX_Stream *in = s->fcgx.in;
	struct span body = { "", 0 };
	char trash[8192];
	int n;

	*got = 0;
	/* So much that we would not throw it all away: not a byte of it, since
	 * somebody may take his time to send it. */
	if (rq->content_length > 0 &&
	    (uint64_t)rq->content_length > limits->max_body + DISCARD) {
		*rest = true;
		request_body(rq, body, 0, limits);
		return true;
	}
	if (rq->bad.status == 0 && rq->content_length > 0 &&
	    (uint64_t)rq->content_length <= limits->max_body) {
		char *p = arena_alloc(s->arena, (size_t)rq->content_length + 1);

		n = FCGX_GetStr(p, (int)rq->content_length, in);
		p[n] = '\0';
		body = (struct span){ p, (size_t)n };
		*got = (uint64_t)n;
	}
	while ((n = FCGX_GetStr(trash, sizeof trash, in)) > 0) {
		*got += (uint64_t)n;
		if (*got > limits->max_body + DISCARD) {
			*rest = true;
			break;
		}
	}
	if (FCGX_GetError(in) != 0)
		return false;
	request_body(rq, body, *got, limits);
	return true;
}

/* The limits of this request: some may send more than others. */
static struct request_limits
limits_of(struct serve *s, struct app *app, struct request *rq)
{
	struct request_limits limits = s->opts.limits;

	if (rq->bad.status == 0 && rq->content_length > 0 &&
	    (uint64_t)rq->content_length > limits.max_body) {
		log_set_request(rq->id);
		limits.max_body = app_max_body(app, rq, limits.max_body);
		log_set_request(NULL);
	}
	return limits;
}

/* ---- writing */

static void
record_head(unsigned char h[8], int type, int id, size_t n)
{
	h[0] = FCGI_VERSION;
	h[1] = (unsigned char)type;
	h[2] = (unsigned char)(id >> 8);
	h[3] = (unsigned char)id;
	h[4] = (unsigned char)(n >> 8);
	h[5] = (unsigned char)n;
	h[6] = 0;
	h[7] = 0;
}

static bool
write_all(int fd, struct iovec *iov, int n)
{
	while (n > 0) {
		ssize_t w = writev(fd, iov, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return false;
		for (; n > 0 && (size_t)w >= iov->iov_len; iov++, n--)
			w -= (ssize_t)iov->iov_len;
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + w;
			iov->iov_len -= (size_t)w;
		}
	}
	return true;
}

static void
iov_add(struct iovec *iov, int *n, const void *p, size_t len)
{
	union {
		const void *from;
		void *to;
	} u = { p }; /* writev() does not write there */

	if (len > 0)
		iov[(*n)++] = (struct iovec){ u.to, len };
}

/*
 *	| STDOUT | head, body ... | STDOUT | ... body | STDOUT, 0 | END_REQUEST
 *|
 */
static bool
write_answer(int fd, int id, struct span head, struct span body)
{
	unsigned char records[BATCH][8], end[24] = { 0 };
	struct iovec iov[BATCH * 3 + 1];
	size_t left = head.n + body.n;
	int n = 0, r = 0;

	while (left > 0) {
		size_t len = left < RECORD_MAX ? left : RECORD_MAX;
		size_t h = head.n < len ? head.n : len;

		record_head(records[r], FCGI_STDOUT, id, len);
		iov_add(iov, &n, records[r], 8);
		iov_add(iov, &n, head.p, h);
		iov_add(iov, &n, body.p, len - h);
		head.p += h;
		head.n -= h;
		if (len > h) {
			body.p += len - h;
			body.n -= len - h;
		}
		left -= len;
		if (++r == BATCH && left > 0) {
			if (!write_all(fd, iov, n))
				return false;
			n = r = 0;
		}
	}
	record_head(end, FCGI_STDOUT, id, 0);
	record_head(end + 8, FCGI_END_REQUEST, id, 8);
	iov_add(iov, &n, end, sizeof end);
	return write_all(fd, iov, n);
}

/* ---- one request */

static void
answer_plainly(const struct request *rq, struct response *rs, int status,
    const char *code, const char *msg)
{
	char *body = arena_printf(
	    rq->arena, "{\"error\":\"%s\",\"code\":\"%s\"}\n", msg, code);

	*rs = (struct response){ .status = status,
		.type = "application/json",
		.body = span_of(body) };
}

/* The answer in s->head and rs->body. */
static void
answer(
    struct serve *s, struct app *app, struct request *rq, struct response *rs)
{
	struct err e = ERR_INIT;

	if (rq->bad.status == 503) {
		/* Nobody waits for it any more: no page, no work. */
		answer_plainly(rq, rs, 503, rq->bad.code, rq->bad.msg);
		response_header(rs, rq->arena, "Retry-After", "1");
	} else {
		*rs = (struct response){ .status = 200 };
		app_handle(app, rq, rs);
	}
	strbuf_reset(&s->head);
	if (response_head(rs, rq, &s->head, &e) == RC_OK)
		return;
	log_error("response_refused", LOG_S("path", rq->path),
	    LOG_S("code", e.code), LOG_S("msg", e.msg));
	answer_plainly(rq, rs, 500, "internal", "Something went wrong");
	if (response_head(rs, rq, &s->head, &e) != RC_OK)
		abort(); /* its fields are ours */
}

static enum serve_result
serve_accepted(struct serve *s, struct app *app, int fd)
{
	struct score_slot *score = s->opts.score;
	struct score_end end = { 0 };
	struct request rq;
	struct request_limits limits;
	struct response rs;
	bool keep = s->fcgx.keepConnection != 0, rest = false, sent;

	request_parse(
	    &rq, s->arena, (const char *const *)s->fcgx.envp, &s->opts.limits);
	score_request(score, method_name(rq.method), rq.path);
	limits = limits_of(s, app, &rq);
	if (s->fcgx.role != FCGI_ROLE_RESPONDER ||
	    !read_body(s, &rq, &limits, &end.bytes_in, &rest)) {
		score_add(score, &score->n.broken, 1);
		return SERVE_CLOSE;
	}
	log_set_request(rq.id);
	score_state(score, CS_RUNNING);
	answer(s, app, &rq, &rs);
	score_state(score, CS_WRITING);
	if (response_bodyless(&rs, &rq))
		rs.body.n = 0;
	sent =
	    write_answer(fd, s->fcgx.requestId, strbuf_span(&s->head), rs.body);
	end.status = rs.status;
	end.bytes_out = sent ? s->head.len + rs.body.n : 0;
	end.us = clock_mono_us() - rq.start_us;
	end.late = rq.bad.status == 503;
	end.aborted = !sent;
	score_end(score, &end);
	log_set_request(NULL);
	if (!sent)
		return SERVE_CLOSE;
	return rest ? SERVE_LINGER : keep ? SERVE_KEEP : SERVE_CLOSE;
}

enum serve_result
serve_request(struct serve *serve, struct app *app, int fd)
{
	FCGX_Request *r = &serve->fcgx;
	struct score_slot *score = serve->opts.score;
	enum serve_result result;

	score_begin(score, clock_coarse_ms() * 1000);
	r->ipcFd = fd;
	r->keepConnection = 1; /* or what comes next would close it */
	FCGX_Detach(r);
	if (FCGX_Accept_r(r) != 0) {
		score_add(score, &score->n.broken, 1);
		result = SERVE_CLOSED;
	} else if (FCGX_GetError(r->in) != 0) {
		/* Parameters cut short between two of them: to libfcgi that is
		 * their end (ReadParams), and it would go on to the body. */
		score_add(score, &score->n.broken, 1);
		result = SERVE_CLOSE;
		FCGX_Free(r, 0);
		r->ipcFd = -1;
	} else {
		result = serve_accepted(serve, app, fd);
		FCGX_Free(r, 0);
		r->ipcFd = -1;
	}
	score_idle(score);
	arena_reset(serve->arena);
	return result;
}
