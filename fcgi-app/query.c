#include "fcgi-app/query.h"

#include <string.h>

#include "base/arena.h"
#include "base/form.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "fcgi-app/request.h"
#include "shop/catalog.h"

/* Without the spaces around, and one for many: so that the same words have one
 * key. */
static const char *
squeeze(struct arena *arena, const char *s)
{
	char *out = arena_alloc(arena, strlen(s) + 1), *p = out;

	for (; *s != '\0'; s++) {
		if (*s != ' ' && *s != '\t' && *s != '\n' && *s != '\r')
			*p++ = *s;
		else if (p > out && p[-1] != ' ')
			*p++ = ' ';
	}
	if (p > out && p[-1] == ' ')
		p--;
	*p = '\0';
	return out;
}

enum rc
query_parse(
    const struct request *rq, struct catalog_query *out, struct err *e)
{
	const char *q = fields_get(&rq->query, "q");
	const char *after = fields_get(&rq->query, "after");
	const char *limit = fields_get(&rq->query, "limit");
	int64_t n = QUERY_LIMIT;

	if (limit != NULL && *limit != '\0' &&
	    !text_int(span_of(limit), 1, QUERY_MAX_LIMIT, &n))
		return err_set(e, RC_INVALID, "invalid_limit",
		    "limit: must be a whole number from 1 to %d",
		    QUERY_MAX_LIMIT);
	if (q != NULL && strlen(q) > QUERY_MAX_WORDS)
		return err_set(e, RC_INVALID, "invalid_query",
		    "q: must have at most %d bytes", QUERY_MAX_WORDS);
	*out = (struct catalog_query){
		.q = q == NULL ? "" : squeeze(rq->arena, q),
		.after = after == NULL ? "" : after,
		.limit = (int)n,
	};
	return RC_OK;
}

const char *
query_key(struct arena *arena, const char *path,
    const struct catalog_query *query)
{
	struct strbuf sb;

	strbuf_init(&sb, 128);
	strbuf_addf(&sb, "%s?q=", path);
	strbuf_add_urlarg(&sb, query->q, strlen(query->q));
	strbuf_adds(&sb, "&after=");
	strbuf_add_urlarg(&sb, query->after, strlen(query->after));
	strbuf_addf(&sb, "&limit=%d", query->limit);
	const char *key = arena_strdup(arena, sb.s);

	strbuf_release(&sb);
	return key;
}
