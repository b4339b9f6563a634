/*
 * Confirming a purchase in a flash sale: where the sale page's button leads
 * without scripts. The same purchase as POST /api/flash-sale/purchase.
 */
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/form.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/buy.h"
#include "fcgi-app/private.h"
#include "fcgi-app/route.h"
#include "shop/ids.h"
#include "shop/purchase.h"
#include "shop/sale.h"
#include "store/cache.h"

struct wish {
	int64_t sale, product, variant; /* variant 0: the only one */
};

/* "3/42", and ?variant= */
static enum rc
wish_read(struct request *rq, const char *name, struct wish *out, struct err *e)
{
	const char *slash = strchr(name, '/');

	if (slash == NULL ||
	    !text_int((struct span){ name, (size_t)(slash - name) }, 1,
		INT64_MAX, &out->sale) ||
	    !text_int(span_of(slash + 1), 1, INT64_MAX, &out->product) ||
	    !buy_number(&rq->query, "variant", 1, INT64_MAX, &out->variant))
		return err_set(e, RC_NONE, "not_found", "No such page");
	return RC_OK;
}

static enum rc
show(struct app *app, struct request *rq, const struct who *who,
    const struct wish *wish, const struct fields *sent, struct response *rs,
    int status, const char *say, struct err *e)
{
	const struct page_form form = buy_form(app, rq, who, true, sent, say);
	struct cache_entry entry;
	struct strbuf sb;
	enum rc rc = sale_get(app->shop, wish->sale, rq->arena, &entry, e);

	if (rc != RC_OK)
		return rc;
	strbuf_init(&sb, 8 << 10);
	rc = page_confirm_render(app->pages, entry.body, wish->product,
	    wish->variant, clock_wall_ms(), &form, &sb, e);
	if (rc == RC_OK)
		rc = buy_page(rq, rs, status, &sb);
	strbuf_release(&sb);
	return rc;
}

enum rc
page_confirm(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct wish wish;
	struct who who;
	enum rc rc;

	if ((rc = wish_read(rq, m->name, &wish, e)) != RC_OK ||
	    (rc = buy_who(app, rq, rs, &who, e)) != RC_OK)
		return rc;
	return who.known ? show(app, rq, &who, &wish, NULL, rs, 200, NULL, e)
			 : buy_login(rq, rs);
}

/* What makes two forms the same purchase. */
static void
wish_hash(struct request *rq, const struct wish *wish, const char *token,
    unsigned char hash[BODY_HASH_BYTES])
{
	body_hash(span_of(arena_printf(rq->arena, "%lld %lld %lld %s",
		      (long long)wish->sale, (long long)wish->product,
		      (long long)wish->variant, token)),
	    hash);
}

static enum rc
buy(struct app *app, struct request *rq, const struct who *who,
    const struct wish *wish, const struct fields *sent, struct purchase *out,
    struct err *e)
{
	unsigned char hash[BODY_HASH_BYTES];
	/* The answer borrows it. */
	char *id = arena_alloc(rq->arena, EFFECT_ID_CHARS + 1);
	struct purchase_req req = { .keyed = true,
		.customer_id = who->session.customer_id,
		.email = who->session.email,
		.sale_id = wish->sale,
		.product_id = wish->product,
		.variant_id = wish->variant,
		.deadline =
		    deadline_in(conf_int(app->conf, "sale", "deadline")) };
	const char *key;
	enum rc rc;

	if ((rc = buy_key(sent, &key, e)) != RC_OK ||
	    (rc = buy_token(app, sent, &req.token, e)) != RC_OK)
		return rc;
	id_of_effect(buy_person(rq, who), "POST", rq->path, key, id);
	wish_hash(rq, wish, req.token, hash);
	req.id = id;
	req.body_hash = hash;
	return purchase(app->shop, &req, rq->arena, out, e);
}

enum rc
page_confirm_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct purchase bought;
	struct fields sent;
	struct wish wish;
	struct who who;
	enum rc rc;

	if ((rc = wish_read(rq, m->name, &wish, e)) != RC_OK ||
	    (rc = buy_who(app, rq, rs, &who, e)) != RC_OK)
		return rc;
	if (!who.known)
		return buy_login(rq, rs);
	rc = guard_form(app, rq, &who, &sent, e);
	if (rc != RC_OK && strcmp(e->code, "stale_form") == 0)
		return show(
		    app, rq, &who, &wish, &sent, rs, 403, "stale_form", e);
	if (rc != RC_OK)
		return rc;
	rc = buy(app, rq, &who, &wish, &sent, &bought, e);
	if (rc == RC_REFUSED || rc == RC_INVALID)
		return show(app, rq, &who, &wish, &sent, rs,
		    route_status(rc, e->code), e->code, e);
	if (rc == RC_RETRY)
		return show(
		    app, rq, &who, &wish, &sent, rs, 503, buy_busy(rq, e), e);
	if (rc != RC_OK)
		return rc;
	return private_see_other(
	    rq, rs, arena_concat(rq->arena, "/orders/", bought.order_id, NULL));
}
