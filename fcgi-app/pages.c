/*
 * The public pages: each is rendered from cached records (page.h), packed and
 * cached (public.c).
 */
#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/doing.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/page.h"
#include "fcgi-app/query.h"
#include "shop/catalog.h"
#include "shop/sale.h"
#include "store/cache.h"

enum { HOME_PRODUCTS = 12 };

/* Run a render function into the arena. */
#define RENDER(out, arena, call)                                               \
	do {                                                                   \
		struct strbuf sb;                                              \
                                                                               \
		strbuf_init(&sb, 16 << 10);                                    \
		rc = (call);                                                   \
		if (rc == RC_OK)                                               \
			(out)->body = (struct span){                           \
				arena_memdup((arena), sb.s, sb.len), sb.len    \
			};                                                     \
		strbuf_release(&sb);                                           \
	} while (0)

static enum rc
make_home(struct app *app, const void *arg, enum pg_node node,
    struct arena *arena, struct made *out, struct err *e)
{
	struct catalog_query q = { .q = "", .after = "",
		.limit = HOME_PRODUCTS };
	struct span list;
	enum rc rc = catalog_list(app->shop, &q, node, arena, &list, e);

	(void)arg;
	doing_set(app->doing, "render home", NULL);
	if (rc == RC_OK)
		RENDER(out, arena, page_home_render(app->pages, list, &sb, e));
	return rc;
}

enum rc
page_home(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	(void)m;
	return public_answer(app, rq,
	    &(struct public){ .kind = SK_LIST_PAGE,
		.key = "page:/",
		.type = TYPE_HTML,
		.cache = app->list_cache,
		.tags = "catalog",
		.make = make_home },
	    rs, e);
}

static enum rc
make_products(struct app *app, const void *arg, enum pg_node node,
    struct arena *arena, struct made *out, struct err *e)
{
	const struct catalog_query *q = arg;
	struct page_list shown = { .q = q->q, .after = q->after };
	struct span list;
	enum rc rc = catalog_list(app->shop, q, node, arena, &list, e);

	doing_set(app->doing, "render list", NULL);
	if (rc == RC_OK)
		RENDER(out, arena,
		    page_list_render(app->pages, &shown, list, &sb, e));
	return rc;
}

enum rc
page_products(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct catalog_query q;
	enum rc rc = query_parse(rq, &q, e);

	(void)m;
	if (rc != RC_OK)
		return rc;
	q.limit = QUERY_LIMIT; /* of the API only */
	return public_answer(app, rq,
	    &(struct public){ .kind = SK_LIST_PAGE,
		.key = query_key(rq->arena, "page:/products", &q),
		.type = TYPE_HTML,
		.cache = app->list_cache,
		.tags = "catalog",
		.make = make_products,
		.arg = &q },
	    rs, e);
}

static void
view_free(void *view)
{
	json_decref(view);
}

/*
 * Without a page cache every request renders: then what was prepared from the
 * record (nine tenths of the work) stays with this process's copy of it, and
 * goes with it. With one a page is made once and nobody asks for it again.
 */
static enum rc
product_show(struct app *app, int64_t id, const struct cache_entry *entry,
    struct arena *arena, struct strbuf *sb, struct err *e)
{
	json_t *view = entry->parsed;
	enum rc rc;

	if (app->pages_cached)
		return page_product_render(app->pages, entry->body, sb, e);
	if (view == NULL) {
		if ((rc = page_product_view(
			 app->pages, entry->body, &view, e)) != RC_OK)
			return rc;
		cache_attach(app->shop->cache, &app->shop->kind[SK_PRODUCT],
		    arena_printf(arena, "product:%lld", (long long)id), view,
		    view_free, 8 * entry->body.n);
	}
	return page_product_show(app->pages, view, sb, e);
}

static enum rc
make_product(struct app *app, const void *arg, enum pg_node node,
    struct arena *arena, struct made *out, struct err *e)
{
	const int64_t *id = arg;
	struct cache_entry entry;
	enum rc rc = catalog_get(app->shop, *id, arena, &entry, e);

	(void)node; /* the record's own fill knows where to read */
	doing_set(app->doing, "render product", NULL);
	if (rc == RC_OK)
		RENDER(out, arena,
		    product_show(app, *id, &entry, arena, &sb, e));
	return rc;
}

enum rc
page_product(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	char id[TEXT_NUM];

	text_num(m->id, id);
	return public_answer(app, rq,
	    &(struct public){ .kind = SK_PRODUCT_PAGE,
		.key = arena_concat(rq->arena, "page:/products/", id, NULL),
		.type = TYPE_HTML,
		.cache = app->product_page_cache,
		.tags = arena_concat(rq->arena, "product-", id, NULL),
		.missing = "product_not_found",
		.make = make_product,
		.arg = &m->id },
	    rs, e);
}

static enum rc
make_sale(struct app *app, const void *arg, enum pg_node node,
    struct arena *arena, struct made *out, struct err *e)
{
	const int64_t *id = arg;
	struct cache_entry entry;
	enum rc rc = sale_get(app->shop, *id, arena, &entry, e);

	(void)node;
	doing_set(app->doing, "render sale", NULL);
	if (rc == RC_OK)
		RENDER(out, arena,
		    page_sale_render(app->pages, entry.body, clock_wall_ms(),
			&sb, e));
	return rc;
}

enum rc
page_sale(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	return public_answer(app, rq,
	    &(struct public){ .kind = SK_SALE_PAGE,
		.key = arena_printf(
		    rq->arena, "page:/flash-sale/%lld", (long long)m->id),
		.type = TYPE_HTML,
		.cache = app->sale_cache,
		.tags =
		    arena_printf(rq->arena, "sale-%lld", (long long)m->id),
		.missing = "sale_not_found",
		.make = make_sale,
		.arg = &m->id },
	    rs, e);
}

/* ---- for machines */

enum rc
page_robots(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct strbuf sb;

	(void)m;
	(void)e;
	strbuf_init(&sb, 256);
	page_robots_render(app->pages, &sb);
	rs->status = 200;
	rs->type = "text/plain; charset=utf-8";
	rs->cache = "public, max-age=3600, s-maxage=3600";
	rs->body =
	    (struct span){ arena_memdup(rq->arena, sb.s, sb.len), sb.len };
	strbuf_release(&sb);
	return RC_OK;
}

static enum rc
make_sitemap(struct app *app, const void *arg, enum pg_node node,
    struct arena *arena, struct made *out, struct err *e)
{
	const int *n = arg;
	struct span data;
	enum rc rc = catalog_sitemap(
	    app->shop, *n, SITEMAP_IDS, node, arena, &data, e);

	doing_set(app->doing, "render sitemap", NULL);
	if (rc == RC_OK)
		RENDER(out, arena,
		    page_sitemap_render(app->pages, *n, data, &sb, e));
	return rc;
}

static enum rc
sitemap(struct app *app, struct request *rq, int n, struct response *rs,
    struct err *e)
{
	return public_answer(app, rq,
	    &(struct public){ .kind = SK_LIST_PAGE,
		.key = arena_printf(rq->arena, "page:/sitemap-%d.xml", n),
		.type = "application/xml; charset=utf-8",
		.cache = app->list_cache,
		.tags = "catalog",
		.make = make_sitemap,
		.arg = &n },
	    rs, e);
}

enum rc
page_sitemap(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	(void)m;
	return sitemap(app, rq, 0, rs, e);
}

/* "/sitemap-3.xml" */
enum rc
page_sitemap_part(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	size_t len = strlen(m->name);
	int64_t n;

	if (len < 5 || strcmp(m->name + len - 4, ".xml") != 0 ||
	    !text_int((struct span){ m->name, len - 4 }, 1, 100000, &n))
		return err_set(e, RC_NONE, "not_found", "No such page");
	return sitemap(app, rq, (int)n, rs, e);
}
