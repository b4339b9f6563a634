/*
 * The product API (DESIGN 4.2).
 */
#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/form.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/guard.h"
#include "fcgi-app/pack.h"
#include "fcgi-app/query.h"
#include "shop/catalog.h"
#include "shop/stock.h"

static enum rc
make_product(struct app *app, const void *arg, enum pg_node node,
    struct arena *arena, struct made *out, struct err *e)
{
	struct cache_entry entry;
	const int64_t *id = arg;
	enum rc rc = catalog_get(app->shop, *id, arena, &entry, e);

	(void)node; /* the record's own fill knows where to read */
	if (rc != RC_OK)
		return rc;
	out->body = entry.body;
	out->tag = catalog_version(entry.body, arena);
	return RC_OK;
}

enum rc
api_product_get(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	char id[TEXT_NUM];

	text_num(m->id, id);
	struct public p = { .kind = SK_PRODUCT_PAGE,
		.key = arena_concat(
		    rq->arena, "page:/api/products/", id, NULL),
		.type = TYPE_JSON,
		.cache = app->product_cache,
		.tags = arena_concat(rq->arena, "product-", id, NULL),
		.missing = "product_not_found",
		.make = make_product,
		.arg = &m->id };

	return public_answer(app, rq, &p, rs, e);
}

enum rc
api_product_stock(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	bool storable;
	enum rc rc = stock_figure(
	    app->shop, m->id, rq->arena, &rs->body, &storable, e);

	if (rc != RC_OK)
		return rc;
	rs->status = 200;
	rs->type = TYPE_JSON;
	rs->cache = storable ? "public, max-age=1, s-maxage=1" : "no-store";
	return RC_OK;
}

/* ---- lists */

static enum rc
make_list(struct app *app, const void *arg, enum pg_node node,
    struct arena *arena, struct made *out, struct err *e)
{
	const struct catalog_query *q = arg;
	json_error_t why;
	enum rc rc =
	    catalog_list(app->shop, q, node, arena, &out->body, e);

	if (rc != RC_OK)
		return rc;
	json_t *tree = json_loadb(out->body.p, out->body.n, 0, &why);
	const char *next = json_string_value(json_object_get(tree, "next"));

	if (next != NULL) {
		struct strbuf sb;

		strbuf_init(&sb, 128);
		strbuf_adds(&sb, "Link: </api/products?");
		if (q->q != NULL && q->q[0] != '\0') {
			strbuf_adds(&sb, "q=");
			strbuf_add_urlarg(&sb, q->q, strlen(q->q));
			strbuf_addc(&sb, '&');
		}
		strbuf_addf(&sb, "after=%s&limit=%d>; rel=\"next\"", next,
		    q->limit);
		out->extra = arena_strdup(arena, sb.s);
		strbuf_release(&sb);
	}
	json_decref(tree);
	return RC_OK;
}

enum rc
api_product_list(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct catalog_query q;
	enum rc rc = query_parse(rq, &q, e);

	(void)m;
	if (rc != RC_OK)
		return rc;
	struct public p = { .kind = SK_LIST_PAGE,
		.key = query_key(rq->arena, "page:/api/products", &q),
		.type = TYPE_JSON,
		.cache = app->list_api_cache,
		.tags = "catalog",
		.make = make_list,
		.arg = &q };

	return public_answer(app, rq, &p, rs, e);
}

/* ---- PUT */

/*
 * If-Match (RFC 9110, 13.1.1): one of our entity tags, or "*". A product's
 * version stands at the front of its tag. What is no tag of ours matches
 * nothing: version 0.
 */
static enum rc
if_match(const struct request *rq, int64_t *version, struct err *e)
{
	const char *tag = request_param(rq, "HTTP_IF_MATCH");

	*version = -1;
	if (tag == NULL || strcmp(tag, "*") == 0)
		return RC_OK;
	if (strchr(tag, ',') != NULL)
		return err_set(e, RC_INVALID, "invalid_if_match",
		    "If-Match: send one entity tag");
	*version = 0;
	if (*tag == '"')
		(void)text_int(
		    (struct span){ tag + 1, strcspn(tag + 1, ".\"") }, 1,
		    INT64_MAX, version);
	return RC_OK;
}

enum rc
api_product_put(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	int64_t if_version, version;
	enum rc rc;

	if ((rc = guard_admin(app, rq, rs, e)) != RC_OK)
		return rc;
	if (strcmp(rq->content_type, TYPE_JSON) != 0)
		return err_set(e, RC_INVALID, "unsupported_media_type",
		    "Content-Type must be application/json");
	if ((rc = if_match(rq, &if_version, e)) != RC_OK ||
	    (rc = catalog_update(app->shop, m->id, rq->body, if_version,
		 rq->arena, &rs->body, &version, e)) != RC_OK)
		return rc;
	rs->status = 200;
	rs->type = TYPE_JSON;
	rs->etag = arena_printf(rq->arena, "\"%s\"",
	    pack_tag(rs->body,
		arena_printf(rq->arena, "%lld", (long long)version),
		rq->arena));
	return RC_OK;
}
