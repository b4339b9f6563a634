/*
 * FastCGI parameters, as lines of NAME=value, through all that a request goes
 * through before the application sees it; then an answer to it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "fcgi-app/request.h"
#include "tests/fuzz/fuzz.h"

#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what))                                                   \
			abort();                                               \
	} while (0)

static void
check_request(const struct request *rq)
{
	size_t path = strlen(rq->path), id = strlen(rq->id);

	MUST(rq->path[0] == '/' && path <= RQ_MAX_PATH);
	MUST(utf8_valid(rq->path, path));
	MUST(id > 0 && id <= 32);
	MUST(strpbrk(rq->id, " \t\r\n\"") == NULL);
	MUST(rq->query.n <= RQ_MAX_FIELDS && rq->cookies.n <= RQ_MAX_FIELDS);
	MUST(rq->content_type != NULL && rq->remote_addr != NULL);
	MUST(rq->query_raw != NULL && rq->content_length >= -1);
	MUST(rq->bad.status == 0 ||
	     (rq->bad.status >= 400 && rq->bad.code != NULL &&
		 rq->bad.msg != NULL));
}

/* Whatever came in, the head that goes out is lines of "name: value". */
static void
check_answer(struct request *rq)
{
	struct response rs = { .status = 200, .etag = rq->path };
	struct strbuf out;

	response_header(&rs, rq->arena, "Location", rq->path);
	strbuf_init(&out, 0);
	if (response_head(&rs, rq, &out, NULL) == RC_OK) {
		MUST(out.len > 4 &&
		     memcmp(out.s + out.len - 4, "\r\n\r\n", 4) == 0);
		MUST(strstr(out.s, "\r\n\r\n") == out.s + out.len - 4);
	}
	strbuf_release(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct request_limits limits = { 4096, 1000, 1000 };
	struct arena *arena = arena_new();
	char *text = arena_strndup(arena, (const char *)data, n);
	const char **params = arena_alloc(arena, (n + 2) * sizeof *params);
	struct request rq;
	size_t k = 0;

	for (char *line = text; *line != '\0';) {
		size_t len = strcspn(line, "\n");
		bool last = line[len] == '\0';

		line[len] = '\0';
		params[k++] = line;
		line += last ? len : len + 1;
	}
	params[k] = NULL;
	request_parse(&rq, arena, params, &limits);
	check_request(&rq);
	request_body(&rq, (struct span){ "", 0 }, n, &limits);
	check_request(&rq);
	check_answer(&rq);
	arena_free(arena);
	return 0;
}
