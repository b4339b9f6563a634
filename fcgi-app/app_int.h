/*
 * app_int - what the files of the application share: its state, and the one
 * shape of a handler.
 */
#ifndef FCGI_APP_APP_INT_H
#define FCGI_APP_APP_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "fcgi-app/look.h"
#include "fcgi-app/request.h"
#include "shop/shop.h"

struct app_opts;
struct doing;
struct invalidation_log;
struct page_ctx;
struct pay;
struct redis_sub;
struct scoreboard;
struct strbuf;

/* The last body of a purchase that had no token, and what it says: a crowd sends
 * the same bytes. n 0: none. */
struct purchase_body {
	size_t n;
	char bytes[256];
	int64_t sale_id, product_id, variant_id;
};

struct app {
	const struct conf *conf;
	struct doing *doing;
	struct scoreboard *scoreboard; /* NULL: none */
	struct shop *shop;
	struct page_ctx *pages;
	struct redis_sub *sub;
	struct redis_sub *sale_sub; /* of [redis.sale]; NULL: sub */
	struct invalidation_log *log; /* NULL: somebody else's */
	struct arena *arena;          /* of app_turn */
	struct pay *pay;              /* for its webhooks; NULL: none yet */
	int64_t flush_at;             /* mono ms: counters, next time */
	int64_t log_at;               /* mono ms: the log, next time */
	int64_t complain_at;          /* mono ms: no complaint before */
	int64_t promise_at;           /* mono ms: when settings are looked at */
	bool pages_cached;
	bool tls;                     /* [shop] base_url says https */
	const char *tag_header;       /* "Cache-Tag"; "": none */
	char look[LOOK_CHARS + 1];    /* what pages are made with */
	int look_purges;              /* of the edge, still to be done */
	int64_t look_at;              /* mono ms: the next of them */
	const char *product_cache;    /* Cache-Control of each kind of answer */
	const char *product_page_cache;
	const char *list_cache;
	const char *list_api_cache;
	const char *sale_cache;
	char text[4][160];
	char csp[320]; /* a whole header line */
	struct purchase_body purchase_body;
};

/* What a route found in the path. */
struct match {
	int64_t id, id2;  /* {id}, and a second one */
	char order[33];   /* {order}: 32 hex digits */
	const char *name; /* {name}: the rest of the path */
};

/* Parse, rule, render. On RC_OK rs is filled; an error is answered (and
 * logged) by route.c. */
typedef enum rc handler(struct app *app, struct request *rq,
    const struct match *m, struct response *rs, struct err *e);

/* api_product.c */
handler api_product_get, api_product_put, api_product_list, api_product_stock;
/* api_image.c */
handler api_image_post, api_image_list, api_image_get, api_image_delete;
/* Bytes of a body that brings a picture: for route.c. */
size_t upload_max_body(const struct app *app);
/* api_event.c */
handler api_event_post;
/* api_order.c */
handler api_order_post, api_order_get, api_order_payment, api_order_cancel;
/* api_account.c */
handler api_register, api_login, api_logout, api_password_forgot,
    api_password_reset, api_account, api_sessions, api_session_end,
    api_sessions_end;
/* account_pages.c */
handler page_login, page_login_post, page_register, page_register_post,
    page_logout_post, page_forgot, page_forgot_post, page_reset,
    page_reset_post, page_account, page_session_end_post,
    page_sessions_end_post, page_password_post;
/* api_meta.c */
handler api_healthz, api_readyz, api_metrics, api_openapi;
/* api_webhook.c */
handler api_webhook_stripe;
/* pages.c */
handler page_home, page_products, page_product, page_sale, page_robots,
    page_sitemap, page_sitemap_part;
/* api_purchase.c */
handler api_purchase_post;
/* buy_cart.c, buy_checkout.c, buy_order.c, buy_sale.c */
handler page_cart, page_cart_add, page_cart_post, page_checkout,
    page_checkout_post, page_order, page_order_cancel, page_order_payment,
    page_confirm, page_confirm_post;
/* files.c */
handler file_static, file_media;

/*
 * ---- public answers: the same bytes for everybody, kept packed (pack.h)
 */

/* Make the body, in the arena. node as a cache_fetch is told. RC_NONE: no such
 * thing. *tag (version for the ETag) and *extra (a header line) may be set. */
struct made {
	struct span body;
	const char *tag;
	const char *extra;
	bool none; /* answered like RC_NONE, and remembered */
};
typedef enum rc make(struct app *app, const void *arg, enum pg_node node,
    struct arena *arena, struct made *out, struct err *e);

struct public {
	enum shop_kind kind;
	const char *key;   /* "page:/products/42" */
	const char *type;  /* Content-Type */
	const char *cache; /* Cache-Control when it may be stored */
	const char *tags;  /* of outer caches: "product-42", "catalog" */
	const char *missing; /* the code of RC_NONE; NULL: "not_found" */
	make *make;
	const void *arg;
};

/* RC_OK, also for 304; else what make returned. */
enum rc public_answer(struct app *app, struct request *rq,
    const struct public *p, struct response *rs, struct err *e);

/* If-None-Match against an entity tag (RFC 9110, 13.1.2): 304? */
bool not_modified(const struct request *rq, const char *etag);

/* Answer JSON in the arena with status; private, no-store. */
enum rc answer_json(struct response *rs, int status, struct span json);

#define TYPE_HTML "text/html; charset=utf-8"
#define TYPE_JSON "application/json"

#endif
