/*
 * page - HTML from cached records: pure functions, no I/O, no request.
 *
 * A page_ctx holds all that is the same for every page: compiled templates,
 * texts, names of the static files, the shop's name and address. It is loaded
 * at start and at SIGHUP (before fork(): rendering never writes to it) and the
 * old one stays in use where the new one is bad. Constant tags, {{t.*}},
 * {{assets.*}} and {{shop.*}}, are filled in once, at loading, so that a text
 * that is missing stops the start and not a customer.
 *
 * The same record and the same ctx give the same bytes, for everybody: nothing
 * of the client is on a public page (DESIGN 4.2). Caching, compression, ETag
 * and headers are the caller's.
 *
 * What the pages need of the Content-Security-Policy: default-src 'none';
 * script-src 'self'; style-src 'self'; img-src 'self' https: (and http: where
 * the shop itself is http); connect-src 'self'; form-action 'self';
 * base-uri 'none'; frame-ancestors 'none'. No inline script or style.
 */
#ifndef FCGI_APP_PAGE_H
#define FCGI_APP_PAGE_H

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct json_t;
struct page_ctx;
struct strbuf;

struct page_opts { /* all copied */
	const char *templates; /* [fcgi] templates: *.mustache, text.LANG.json */
	const char *assets;    /* [fcgi] static: manifest.json, as written by
	                          `soukctl assets`; NULL or not there: the plain
	                          names are used */
	const char *name;      /* [shop] name */
	const char *base_url;  /* [shop] base_url */
	const char *currency;  /* [shop] currency */
	const char *language;  /* [shop] language */
};

/*
 * Give a context in *out. RC_INVALID: a template or text is wrong, msg
 * "product.mustache:12: no text called t.prise"; RC_FAIL: a file cannot be
 * read.
 */
enum rc page_ctx_load(const struct page_opts *opts, struct page_ctx **out,
    struct err *e);
void page_ctx_free(struct page_ctx *ctx); /* NULL is allowed */

/*
 * Each appends a whole document to *out, which is left as it was on an error.
 * RC_FAIL: the record is not what its contract says. Records: shop/catalog.h.
 */

/* GET /. list: catalog_list of the newest (12 fit well). */
enum rc page_home_render(const struct page_ctx *ctx, struct span list,
    struct strbuf *out, struct err *e);

struct page_list {
	const char *q;     /* NULL or "": all */
	const char *after; /* NULL or "": the first page */
};

/* GET /products. list: catalog_list (24 a page). */
enum rc page_list_render(const struct page_ctx *ctx,
    const struct page_list *query, struct span list, struct strbuf *out,
    struct err *e);

/* GET /products/<id>. product: catalog_get. */
enum rc page_product_render(const struct page_ctx *ctx, struct span product,
    struct strbuf *out, struct err *e);

/*
 * The same in two steps, for who keeps the first one's result: parsing and
 * preparing the record is nine tenths of the work (70 of 78 us). The view is given
 * (json_decref) and can be shown any number of times with the same ctx; it
 * takes about eight times the record's bytes (cache_attach).
 */
enum rc page_product_view(const struct page_ctx *ctx, struct span product,
    struct json_t **view, struct err *e);
enum rc page_product_show(const struct page_ctx *ctx,
    const struct json_t *view, struct strbuf *out, struct err *e);

/*
 * GET /flash-sale/<id>. sale: the record sale:<id>, see shop/sale.h.
 * now_ms: wall clock, for upcoming, running or ended. A copy of the page that
 * is some seconds old is put right by souk.js at the time.
 */
enum rc page_sale_render(const struct page_ctx *ctx, struct span sale,
    int64_t now_ms, struct strbuf *out, struct err *e);

/*
 * A private page (private.h adds what all of them have). view: taken, in any
 * case; "page" and "heading" are added, from the text NAME_title.
 */
enum rc page_private_render(const struct page_ctx *ctx, const char *name,
    struct json_t *view, struct strbuf *out, struct err *e);

/*
 * GET /account. orders: as order_list gives it. sessions: array of {"public_id",
 * "seenAt","userAgent","address","current"}: taken. Adds both to view, as they
 * are shown.
 */
enum rc page_account_view(const struct page_ctx *ctx, struct span orders,
    struct json_t *sessions, struct json_t *view, struct err *e);

/* A text of text.LANG.json, or NULL. */
const char *page_text(const struct page_ctx *ctx, const char *key);

/*
 * Any error page; needs neither database nor cache. status without words of
 * its own gets those of 500 or 400. request_id: shown for 5xx; may be NULL.
 * Cannot fail: without a usable template it writes a plain page.
 */
void page_error_render(const struct page_ctx *ctx, int status,
    const char *request_id, struct strbuf *out);

/* GET /robots.txt (text/plain). */
void page_robots_render(const struct page_ctx *ctx, struct strbuf *out);

/*
 * GET /sitemap.xml (n 0) and /sitemap-<n>.xml, n from 1 (application/xml).
 * File n has the active products with n = (id - 1) / SITEMAP_IDS + 1, so that
 * a file is one index range and never moves. data, from
 * catalog_sitemap(n): {"files":F,"products":[{"id":1,"updatedAt":""}, ...]}
 * with F the number of files; for n 0 the products of file 1 where F is 1,
 * otherwise none are needed and an index is written.
 */
enum { SITEMAP_IDS = 40000 };
enum rc page_sitemap_render(const struct page_ctx *ctx, int n,
    struct span data, struct strbuf *out, struct err *e);

#endif
