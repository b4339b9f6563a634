/*
 * query - what is asked of a list: ?q=&after=&limit=
 */
#ifndef FCGI_APP_QUERY_H
#define FCGI_APP_QUERY_H

#include "base/err.h"

struct arena;
struct catalog_query;
struct request;

enum { QUERY_LIMIT = 24, QUERY_MAX_LIMIT = 100, QUERY_MAX_WORDS = 200 };

/* In the request's arena; q is trimmed, "" for none. RC_INVALID:
 * "invalid_limit", "invalid_query". */
enum rc query_parse(
    const struct request *rq, struct catalog_query *out, struct err *e);

/* "page:/products?q=...&after=...&limit=...": the cache's key; no braces. */
const char *query_key(struct arena *arena, const char *path,
    const struct catalog_query *query);

#endif
