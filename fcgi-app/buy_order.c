/*
 * An order's page: for its owner, for who holds its access token (?t=), for an
 * admin; for anybody else there is no such page.
 */
#include <string.h>

#include "base/arena.h"
#include "base/form.h"
#include "base/strbuf.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/buy.h"
#include "fcgi-app/private.h"
#include "fcgi-app/route.h"
#include "shop/ids.h"
#include "shop/order.h"

struct view {
	const char *id;
	struct who who;
	const char *access; /* a guest's token as sent; "" none */
	struct order_who order_who;
};

static void
hold(struct view *v, const char *access)
{
	if (access != NULL && secret_well_formed(access))
		v->access = access;
	v->order_who = (struct order_who){
		.customer_id = v->who.known ? v->who.session.customer_id : 0,
		.access_token = v->access,
		.admin = v->who.known && v->who.session.admin
	};
}

static enum rc
show(struct app *app, struct request *rq, const struct view *v,
    const struct fields *sent, struct response *rs, int status, const char *say,
    struct err *e)
{
	const struct page_form form =
	    buy_form(app, rq, &v->who, false, sent, say);
	struct strbuf sb;
	struct span order;
	enum rc rc =
	    order_get(app->shop, v->id, &v->order_who, rq->arena, &order, e);

	if (rc != RC_OK)
		return rc;
	strbuf_init(&sb, 8 << 10);
	rc = page_order_render(app->pages, order, v->access, &form, &sb, e);
	if (rc == RC_OK)
		rc = buy_page(rq, rs, status, &sb);
	strbuf_release(&sb);
	return rc;
}

enum rc
page_order(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct view v = { .id = m->order, .access = "" };
	enum rc rc = buy_who(app, rq, rs, &v.who, e);

	if (rc != RC_OK)
		return rc;
	hold(&v, fields_get(&rq->query, "t"));
	/* Says nothing about the order: it is the same for any id. */
	if (!v.who.known && *v.access == '\0')
		return buy_login(rq, rs);
	return show(app, rq, &v, NULL, rs, 200, NULL, e);
}

/* A change and what became of it: on to the page, or the page with a word. */
typedef enum rc change(struct app *app, struct request *rq,
    const struct view *v, const struct fields *sent, struct err *e);

static enum rc
answer(struct app *app, struct request *rq, const struct match *m, change *todo,
    struct response *rs, struct err *e)
{
	struct view v = { .id = m->order, .access = "" };
	struct fields sent;
	enum rc rc = buy_who(app, rq, rs, &v.who, e);

	if (rc != RC_OK)
		return rc;
	rc = guard_form(app, rq, &v.who, &sent, e);
	hold(&v, fields_get(&sent, "t"));
	if (rc == RC_OK)
		rc = todo(app, rq, &v, &sent, e);
	if (strcmp(e->code, "cross_origin") == 0)
		return rc;
	if (private_is_problem(rc))
		return show(app, rq, &v, &sent, rs, route_status(rc, e->code),
		    e->code, e);
	if (rc == RC_RETRY)
		return show(app, rq, &v, &sent, rs, 503, buy_busy(rq, e), e);
	if (rc != RC_OK)
		return rc;
	return private_see_other(rq, rs,
	    arena_concat(rq->arena, "/orders/", v.id,
		*v.access != '\0' ? "?t=" : "", v.access, NULL));
}

static enum rc
cancel(struct app *app, struct request *rq, const struct view *v,
    const struct fields *sent, struct err *e)
{
	struct span json;

	(void)sent;
	return order_cancel(
	    app->shop, v->id, &v->order_who, rq->arena, &json, e);
}

static enum rc
pay(struct app *app, struct request *rq, const struct view *v,
    const struct fields *sent, struct err *e)
{
	struct span json;
	const char *token;
	enum rc rc = buy_token(app, sent, &token, e);

	if (rc != RC_OK)
		return rc;
	return order_pay(
	    app->shop, v->id, &v->order_who, token, rq->arena, &json, e);
}

enum rc
page_order_cancel(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	return answer(app, rq, m, cancel, rs, e);
}

enum rc
page_order_payment(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	return answer(app, rq, m, pay, rs, e);
}
