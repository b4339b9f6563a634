/*
 * Which handler answers a request, and how an error is answered. The one place
 * where an error is logged.
 */
#include "fcgi-app/route.h"

#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/guard.h"
#include "fcgi-app/page.h"

/* {id}: a number from 1. {order}: 32 hex digits. {name}: the rest, at the end
 * of a pattern. */
static const struct route {
	const char *pattern;
	enum method method;
	handler *handle;
} routes[] = {
	/* What a crush asks for comes first. */
	{ "/api/flash-sale/purchase", M_POST, api_purchase_post },
	{ "/", M_GET, page_home },
	{ "/products", M_GET, page_products },
	{ "/products/{id}", M_GET, page_product },
	{ "/api/products/{id}", M_GET, api_product_get },
	{ "/api/products/{id}", M_PUT, api_product_put },
	{ "/api/products", M_GET, api_product_list },
	{ "/api/products/{id}/stock", M_GET, api_product_stock },
	{ "/api/products/{id}/images", M_POST, api_image_post },
	{ "/api/products/{id}/images", M_GET, api_image_list },
	{ "/api/products/{id}/images/{id}", M_GET, api_image_get },
	{ "/api/products/{id}/images/{id}", M_DELETE, api_image_delete },
	{ "/api/events", M_POST, api_event_post },
	{ "/api/orders", M_POST, api_order_post },
	{ "/api/orders/{order}", M_GET, api_order_get },
	{ "/api/orders/{order}/payment", M_POST, api_order_payment },
	{ "/api/orders/{order}/cancel", M_POST, api_order_cancel },
	{ "/flash-sale/{id}", M_GET, page_sale },
	{ "/cart", M_GET, page_cart },
	{ "/cart", M_POST, page_cart_post },
	{ "/cart/add", M_GET, page_cart_add },
	{ "/checkout", M_GET, page_checkout },
	{ "/checkout", M_POST, page_checkout_post },
	{ "/orders/{order}", M_GET, page_order },
	{ "/orders/{order}/cancel", M_POST, page_order_cancel },
	{ "/orders/{order}/payment", M_POST, page_order_payment },
	{ "/buy/{name}", M_GET, page_confirm },
	{ "/buy/{name}", M_POST, page_confirm_post },
	{ "/login", M_GET, page_login },
	{ "/login", M_POST, page_login_post },
	{ "/register", M_GET, page_register },
	{ "/register", M_POST, page_register_post },
	{ "/logout", M_POST, page_logout_post },
	{ "/password/forgot", M_GET, page_forgot },
	{ "/password/forgot", M_POST, page_forgot_post },
	{ "/password/reset", M_GET, page_reset },
	{ "/password/reset", M_POST, page_reset_post },
	{ "/account", M_GET, page_account },
	{ "/account/password", M_POST, page_password_post },
	{ "/account/sessions/end", M_POST, page_sessions_end_post },
	{ "/account/sessions/{id}/end", M_POST, page_session_end_post },
	{ "/api/register", M_POST, api_register },
	{ "/api/login", M_POST, api_login },
	{ "/api/logout", M_POST, api_logout },
	{ "/api/password/forgot", M_POST, api_password_forgot },
	{ "/api/password/reset", M_POST, api_password_reset },
	{ "/api/account", M_GET, api_account },
	{ "/api/account/sessions", M_GET, api_sessions },
	{ "/api/account/sessions", M_DELETE, api_sessions_end },
	{ "/api/account/sessions/{id}", M_DELETE, api_session_end },
	{ "/static/{name}", M_GET, file_static },
	{ "/media/{name}", M_GET, file_media },
	{ "/robots.txt", M_GET, page_robots },
	{ "/sitemap.xml", M_GET, page_sitemap },
	{ "/sitemap-{name}", M_GET, page_sitemap_part },
	{ "/api/webhooks/stripe", M_POST, api_webhook_stripe },
	{ "/healthz", M_GET, api_healthz },
	{ "/readyz", M_GET, api_readyz },
	{ "/metrics", M_GET, api_metrics },
	{ "/api/openapi.json", M_GET, api_openapi },
};

enum { ROUTES = sizeof routes / sizeof *routes };

/* An id as it is written: no sign, no leading zero, so that each page has one
 * address. */
static size_t
match_id(const char *path, int64_t *id)
{
	size_t n = strspn(path, "0123456789");

	if (n == 0 || *path == '0' ||
	    !text_int((struct span){ path, n }, 1, INT64_MAX, id))
		return 0;
	return n;
}

/* Lower case, as they are given out: one address each. */
static size_t
match_order(const char *path, char order[33])
{
	if (strspn(path, "0123456789abcdef") != 32)
		return 0;
	memcpy(order, path, 32);
	order[32] = '\0';
	return 32;
}

bool
route_match(const char *pattern, const char *path, struct match *m)
{
	int64_t *id = &m->id;

	while (*pattern != '\0') {
		if (*pattern != '{') {
			if (*pattern++ != *path++)
				return false;
		} else if (strcmp(pattern, "{name}") == 0) {
			m->name = path;
			return *path != '\0';
		} else {
			bool order = strncmp(pattern, "{order}", 7) == 0;
			size_t n = order ? match_order(path, m->order)
					 : match_id(path, id);

			if (n == 0)
				return false;
			if (!order)
				id = &m->id2;
			pattern += order ? 7 : 4; /* {id} */
			path += n;
		}
	}
	return *path == '\0';
}

/* "GET, HEAD, OPTIONS" for the pattern that a path matches. */
static const char *
allowed(const char *path, struct arena *arena)
{
	const char *list = "";
	struct match m = { 0 };

	for (int i = 0; i < ROUTES; i++) {
		if (!route_match(routes[i].pattern, path, &m))
			continue;
		list = arena_printf(arena, "%s%s%s, ", list,
		    method_name(routes[i].method),
		    routes[i].method == M_GET ? ", HEAD" : "");
	}
	return *list == '\0'
	    ? NULL
	    : arena_printf(arena, "Allow: %sOPTIONS", list);
}

static const struct route *
find(const struct request *rq, struct match *m)
{
	enum method method = rq->method == M_HEAD ? M_GET : rq->method;

	for (int i = 0; i < ROUTES; i++) {
		if (routes[i].method == method &&
		    route_match(routes[i].pattern, rq->path, m))
			return &routes[i];
	}
	return NULL;
}

/* Takes a body of upload_max_body() from admins. Where it is longer the handler
 * says so, once it knows who sent it. */
static bool
is_upload(const struct route *route)
{
	return route != NULL && route->handle == api_image_post;
}

size_t
route_max_body(struct app *app, struct request *rq, size_t max_body)
{
	struct response unused = { 0 };
	struct match m = { 0 };
	struct err e;

	if (!is_upload(find(rq, &m)) ||
	    guard_admin(app, rq, &unused, &e) != RC_OK)
		return max_body;
	return upload_max_body(app);
}

/* ---- errors */

static const struct {
	const char *code;
	int status;
} statuses[] = {
	{ "bad_configuration", 500 },
	{ "bad_credentials", 401 },
	{ "body_too_large", 413 },
	{ "cart_full", 409 },
	{ "cross_origin", 403 },
	{ "email_taken", 409 },
	{ "forbidden", 403 },
	{ "idempotency_mismatch", 422 },
	{ "invalid_field", 422 },
	{ "invalid_json", 400 },
	{ "method_not_allowed", 405 },
	{ "no_customer", 401 },
	{ "no_images", 501 },
	{ "not_an_image", 422 },
	{ "out_of_stock", 409 },
	{ "payment_in_progress", 409 },
	{ "sku_taken", 409 },
	{ "stale_form", 403 },
	{ "too_large", 413 },
	{ "too_many_attempts", 429 },
	{ "too_many_images", 409 },
	{ "too_many_tries", 429 },
	{ "type_mismatch", 422 },
	{ "unauthorized", 401 },
	{ "unsupported_media_type", 415 },
	{ "unsupported_type", 415 },
	{ "variant_required", 422 },
	{ "version_conflict", 412 },
	{ "wrong_state", 409 },
};

int
route_status(enum rc rc, const char *code)
{
	for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
		if (statuses[i].code[0] == code[0] &&
		    strcmp(statuses[i].code, code) == 0)
			return statuses[i].status;
	}
	switch (rc) {
	case RC_NONE:
		return 404;
	case RC_REFUSED:
	case RC_INVALID:
		return 400;
	case RC_RETRY:
		return 503;
	case RC_OK:
	case RC_FAIL:
		break;
	}
	return 500;
}

/* What is wrong inside is for the log; a stranger gets these words. */
static const char *
public_words(int status, const struct err *e)
{
	if (status == 503)
		return "The shop is very busy or being looked after; please "
		       "try again in a moment";
	if (status >= 500)
		return "Something went wrong on our side";
	return e->msg;
}

static bool
wants_json(const struct request *rq)
{
	return strncmp(rq->path, "/api/", 5) == 0 ||
	    strcmp(rq->path, "/healthz") == 0 ||
	    strcmp(rq->path, "/readyz") == 0 ||
	    strcmp(rq->path, "/metrics") == 0;
}

static void
error_body(struct app *app, const struct request *rq, struct response *rs,
    const char *code, const char *words)
{
	bool json = wants_json(rq);
	struct strbuf sb;

	strbuf_init(&sb, json ? 256 : 4096);
	if (json) {
		strbuf_adds(&sb, "{\"error\":\"");
		strbuf_add_json(&sb, words, strlen(words));
		strbuf_adds(&sb, "\",\"code\":\"");
		strbuf_add_json(&sb, code, strlen(code));
		strbuf_adds(&sb, "\"}");
		rs->type = TYPE_JSON;
	} else {
		page_error_render(app->pages, rs->status,
		    rs->status >= 500 ? rq->id : NULL, &sb);
		rs->type = TYPE_HTML;
	}
	rs->body =
	    (struct span){ arena_memdup(rq->arena, sb.s, sb.len), sb.len };
	strbuf_release(&sb);
}

/* Of things that everybody may see; an operator's list of pictures stands below
 * one. */
static bool
is_public(const char *path)
{
	static const char *const fronts[] = { "/products/", "/flash-sale/",
		"/api/products/", "/static/", "/media/", "/sitemap" };

	for (size_t i = 0; i < sizeof fronts / sizeof *fronts; i++) {
		if (strncmp(path, fronts[i], strlen(fronts[i])) == 0)
			return strstr(path, "/images") == NULL;
	}
	return false;
}

/* "Not found" is then the same for everybody: the edge may keep it for a
 * moment, so that a wrong link in a newsletter costs nothing. Somebody else's
 * order is not found either, and that is not the same for everybody. */
static void
answer_error(struct app *app, struct request *rq, struct response *rs,
    int status, const char *code, const char *words)
{
	rs->status = status;
	rs->etag = NULL;
	rs->encoding = NULL;
	rs->vary_encoding = false;
	rs->cache = NULL;
	if (status == 404 && is_public(rq->path) &&
	    (rq->method == M_GET || rq->method == M_HEAD))
		rs->cache = "public, max-age=0, s-maxage=10";
	if (status == 503)
		rs->extra[rs->n_extra++] = "Retry-After: 2";
	error_body(app, rq, rs, code, words);
}

static void
fail(struct app *app, struct request *rq, struct response *rs, enum rc rc,
    const struct err *e)
{
	const char *code = e->code[0] == '\0'
	    ? rc == RC_NONE ? "not_found" : "internal_error"
	    : e->code;
	int status = route_status(rc, code);
	const char *words =
	    e->msg[0] == '\0' ? "No such thing" : public_words(status, e);

	if (status >= 500)
		log_at(status == 503 ? LL_WARN : LL_ERROR, "request_failed",
		    LOG_I("status", status), LOG_S("code", code),
		    LOG_S("error", e->msg), LOG_S("path", rq->path));
	if (rc == RC_FAIL)
		code = "internal_error";
	answer_error(app, rq, rs, status, code, words);
}

/* ---- the answer to any request */

/* What browsers must not guess, and what they need to know of pages. */
static void
add_security(const struct app *app, struct response *rs)
{
	rs->extra[rs->n_extra++] = "X-Content-Type-Options: nosniff";
	if (rs->type != NULL && strcmp(rs->type, TYPE_JSON) == 0)
		return; /* nothing that could load or follow anything */
	rs->extra[rs->n_extra++] =
	    "Referrer-Policy: strict-origin-when-cross-origin";
	if (rs->type != NULL && strcmp(rs->type, TYPE_HTML) == 0)
		rs->extra[rs->n_extra++] = app->csp;
	else if (rs->type != NULL && strncmp(rs->type, "image/svg", 9) == 0)
		rs->extra[rs->n_extra++] =
		    "Content-Security-Policy: default-src 'none'; "
		    "style-src 'unsafe-inline'; sandbox";
}

static void
dispatch(struct app *app, struct request *rq, struct response *rs)
{
	struct err e = ERR_INIT;
	struct match m = { 0 };
	const struct route *route = find(rq, &m);

	if (route == NULL) {
		const char *allow = allowed(rq->path, rq->arena);

		if (allow == NULL) {
			answer_error(app, rq, rs, 404, "not_found",
			    "No such page");
			return;
		}
		rs->extra[rs->n_extra++] = allow;
		if (rq->method == M_OPTIONS)
			rs->status = 204;
		else
			answer_error(app, rq, rs, 405, "method_not_allowed",
			    "This address takes other methods; see Allow");
		return;
	}
	enum rc rc = route->handle(app, rq, &m, rs, &e);

	if (rc != RC_OK)
		fail(app, rq, rs, rc, &e);
}

void
route_handle(struct app *app, struct request *rq, struct response *rs)
{
	struct match m = { 0 };

	log_set_request(rq->id);
	if (rq->bad.status != 0 &&
	    !(rq->too_large && is_upload(find(rq, &m))))
		answer_error(app, rq, rs, rq->bad.status, rq->bad.code,
		    rq->bad.msg);
	else
		dispatch(app, rq, rs);
	add_security(app, rs);
	log_set_request(NULL);
}
