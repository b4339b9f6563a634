/*
 * Logging in, registering, a new password, the account: private pages whose
 * forms work without scripts (private.h).
 */
#include "fcgi-app/account.h"

#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/guard.h"
#include "fcgi-app/page.h"
#include "fcgi-app/private.h"
#include "shop/order.h"

enum { ACCOUNT_ORDERS = 20, BUSY_S = 2 };

static const char *
field(const struct fields *form, const char *name)
{
	const char *value = fields_get(form, name);

	return value == NULL ? "" : value;
}

/* ---- login and registering: two forms of one shape */

static json_t *
enter_view(struct request *rq, const char *next)
{
	struct strbuf arg;
	json_t *view;

	(void)rq;
	strbuf_init(&arg, 64);
	strbuf_add_urlarg(&arg, next, strlen(next));
	view = json_pack("{s:s, s:s}", "next", next, "next_arg", arg.s);
	strbuf_release(&arg);
	return view;
}

static enum rc
enter_get(struct app *app, struct request *rq, const char *name,
    struct response *rs, struct err *e)
{
	const char *next =
	    private_next(fields_get(&rq->query, "next"), "/account");
	struct who who;
	enum rc rc = guard_who(app, rq, &who, e);

	if (rc != RC_OK)
		return rc;
	if (who.known)
		return private_see_other(rq, rs, next);
	return private_page(app, rq, &who,
	    &(struct private_page){
		.name = name, .view = enter_view(rq, next) },
	    rs, e);
}

/* In the form, what was typed kept. */
static bool
can_be_said(enum rc rc, const struct err *e)
{
	return private_is_problem(rc) ||
	       (rc == RC_RETRY && strcmp(e->code, "logins_busy") == 0);
}

/* Where `rc` can be said in the form; else it is route.c's. */
static enum rc
enter_done(struct app *app, struct request *rq, struct who *who,
    const char *name, const struct fields *form, enum rc rc,
    struct response *rs, struct err *e)
{
	const char *next = private_next(fields_get(form, "next"), "/account");
	struct err problem = *e;

	if (rc == RC_OK)
		return private_see_other(rq, rs, next);
	if (!can_be_said(rc, e))
		return rc;
	if (rc == RC_RETRY)
		account_retry_after(rq, rs, BUSY_S);
	return private_page(app, rq, who,
	    &(struct private_page){ .name = name,
		.view = enter_view(rq, next),
		.problem = &problem,
		.sent = form },
	    rs, e);
}

enum rc
page_login(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	(void)m;
	return enter_get(app, rq, "login", rs, e);
}

enum rc
page_login_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct fields form;
	struct who who;
	enum rc rc = guard_who(app, rq, &who, e);

	(void)m;
	if (rc != RC_OK)
		return rc;
	rc = guard_form(app, rq, &who, &form, e);
	if (rc == RC_OK)
		rc = account_enter_login(app, rq, rs, &who,
		    field(&form, "email"), field(&form, "password"), e);
	return enter_done(app, rq, &who, "login", &form, rc, rs, e);
}

enum rc
page_register(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	(void)m;
	return enter_get(app, rq, "register", rs, e);
}

enum rc
page_register_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct fields form;
	struct who who;
	enum rc rc = guard_who(app, rq, &who, e);

	(void)m;
	if (rc != RC_OK)
		return rc;
	rc = guard_form(app, rq, &who, &form, e);
	if (rc == RC_OK)
		rc = account_enter_new(app, rq, rs, &who, field(&form, "email"),
		    field(&form, "password"), field(&form, "name"), e);
	return enter_done(app, rq, &who, "register", &form, rc, rs, e);
}

enum rc
page_logout_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct fields form;
	struct who who;
	enum rc rc = guard_who(app, rq, &who, e);

	(void)m;
	if (rc != RC_OK)
		return rc;
	/* A session that is over has no form's token any more. */
	rc = who.known ? guard_form(app, rq, &who, &form, e)
		       : guard_same_origin(app, rq, e);
	if (rc == RC_OK)
		rc = session_end(app->shop, who.token, rq->arena, e);
	if (rc != RC_OK)
		return rc;
	guard_set_session(app, rq, rs, "");
	return private_see_other(rq, rs, "/");
}

/* ---- a new password */

static enum rc
reset_page(struct app *app, struct request *rq, struct who *who,
    const char *name, const char *token, bool done, const struct err *problem,
    const struct fields *form, struct response *rs, struct err *e)
{
	return private_page(app, rq, who,
	    &(struct private_page){ .name = name,
		.view =
		    json_pack("{s:s, s:b}", "token", token, "done", (int)done),
		.problem = problem,
		.sent = form },
	    rs, e);
}

enum rc
page_forgot(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct who who;
	enum rc rc = guard_who(app, rq, &who, e);

	(void)m;
	return rc == RC_OK ? reset_page(app, rq, &who, "password_forgot", "",
				 fields_get(&rq->query, "done") != NULL, NULL,
				 NULL, rs, e)
			   : rc;
}

enum rc
page_forgot_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct client client = client_of(rq);
	struct fields form;
	struct err problem;
	int retry_after_s = 0;
	struct who who;
	enum rc rc = guard_who(app, rq, &who, e);

	(void)m;
	if (rc != RC_OK)
		return rc;
	rc = guard_form(app, rq, &who, &form, e);
	if (rc == RC_OK)
		rc = account_forgot(app->shop, field(&form, "email"), &client,
		    rq->arena, &retry_after_s, e);
	account_retry_after(rq, rs, retry_after_s);
	if (rc == RC_OK)
		return private_see_other(rq, rs, "/password/forgot?done=1");
	problem = *e;
	return private_is_problem(rc)
		   ? reset_page(app, rq, &who, "password_forgot", "", false,
			 &problem, &form, rs, e)
		   : rc;
}

enum rc
page_reset(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	const char *token = field(&rq->query, "token");
	struct who who;
	enum rc rc = guard_who(app, rq, &who, e);

	(void)m;
	return rc == RC_OK ? reset_page(app, rq, &who, "password_reset", token,
				 fields_get(&rq->query, "done") != NULL, NULL,
				 NULL, rs, e)
			   : rc;
}

enum rc
page_reset_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct fields form;
	struct err problem;
	struct who who;
	int64_t id;
	enum rc rc = guard_who(app, rq, &who, e);

	(void)m;
	if (rc != RC_OK)
		return rc;
	rc = guard_form(app, rq, &who, &form, e);
	if (rc == RC_OK)
		rc = account_reset(app->shop, field(&form, "token"),
		    field(&form, "password"), rq->arena, &id, e);
	if (rc == RC_OK) {
		guard_set_session(app, rq, rs, "");
		return private_see_other(rq, rs, "/password/reset?done=1");
	}
	problem = *e;
	return private_is_problem(rc)
		   ? reset_page(app, rq, &who, "password_reset",
			 field(&form, "token"), false, &problem, &form, rs, e)
		   : rc;
}

/* ---- the account */

static json_t *
sessions_json(const struct session_row *list, int n, int64_t current)
{
	json_t *all = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(
		    all, json_pack("{s:I, s:s, s:s, s:s, s:b}", "public_id",
			     (json_int_t)list[i].public_id, "seenAt",
			     list[i].seen_at, "userAgent", list[i].user_agent,
			     "address", list[i].address, "current",
			     (int)(list[i].public_id == current)));
	return all;
}

/* ?said=...: one of our own texts, or nothing. */
static const char *
said(struct app *app, struct request *rq)
{
	const char *name = field(&rq->query, "said"), *words;

	words =
	    page_text(app->pages, arena_concat(rq->arena, "said_", name, NULL));
	return words == NULL ? "" : words;
}

static enum rc
account_page(struct app *app, struct request *rq, struct who *who,
    const struct err *problem, struct response *rs, struct err *e)
{
	const struct session_row *list;
	struct span orders;
	json_t *view;
	int n;
	enum rc rc = session_list(
	    app->shop, who->session.customer_id, rq->arena, &list, &n, e);

	if (rc != RC_OK || (rc = order_list(app->shop, who->session.customer_id,
				field(&rq->query, "after"), ACCOUNT_ORDERS,
				rq->arena, &orders, e)) != RC_OK)
		return rc;
	view = json_pack("{s:s}", "said", said(app, rq));
	rc = page_account_view(app->pages, orders,
	    sessions_json(list, n, who->session.public_id), view, e);
	if (rc != RC_OK) {
		json_decref(view);
		return rc;
	}
	return private_page(app, rq, who,
	    &(struct private_page){
		.name = "account", .view = view, .problem = problem },
	    rs, e);
}

enum rc
page_account(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct who who;
	enum rc rc = private_who(app, rq, &who, rs, e);

	(void)m;
	return rc == RC_OK && who.known
		   ? account_page(app, rq, &who, NULL, rs, e)
		   : rc;
}

/* What all forms of the account begin with. RC_OK and !who->known: answered. */
static enum rc
account_form(struct app *app, struct request *rq, struct who *who,
    struct fields *form, struct response *rs, struct err *e)
{
	enum rc rc = private_who(app, rq, who, rs, e);

	return rc == RC_OK && who->known ? guard_form(app, rq, who, form, e)
					 : rc;
}

/* The same page again with what is wrong, or elsewhere. */
static enum rc
account_done(struct app *app, struct request *rq, struct who *who,
    const char *to, enum rc rc, struct response *rs, struct err *e)
{
	struct err problem = *e;

	if (rc == RC_OK)
		return private_see_other(rq, rs, to);
	return private_is_problem(rc) && who->known
		   ? account_page(app, rq, who, &problem, rs, e)
		   : rc;
}

enum rc
page_session_end_post(struct app *app, struct request *rq,
    const struct match *m, struct response *rs, struct err *e)
{
	struct fields form;
	struct who who;
	enum rc rc = account_form(app, rq, &who, &form, rs, e);

	if (rc == RC_OK && !who.known)
		return RC_OK;
	if (rc == RC_OK)
		rc = session_end_one(
		    app->shop, who.session.customer_id, m->id, rq->arena, e);
	/* Ended already is what was wanted. */
	if (rc == RC_NONE)
		rc = RC_OK;
	return account_done(
	    app, rq, &who, "/account?said=session_ended", rc, rs, e);
}

enum rc
page_sessions_end_post(struct app *app, struct request *rq,
    const struct match *m, struct response *rs, struct err *e)
{
	struct fields form;
	struct who who;
	enum rc rc = account_form(app, rq, &who, &form, rs, e);

	(void)m;
	if (rc == RC_OK && !who.known)
		return RC_OK;
	if (rc == RC_OK)
		rc = session_end_all(app->shop, who.session.customer_id,
		    who.session.public_id, rq->arena, e);
	return account_done(
	    app, rq, &who, "/account?said=sessions_ended", rc, rs, e);
}

enum rc
page_password_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct client client = client_of(rq);
	struct fields form;
	struct who who;
	int retry_after_s = 0;
	enum rc rc = account_form(app, rq, &who, &form, rs, e);

	(void)m;
	if (rc == RC_OK && !who.known)
		return RC_OK;
	if (rc == RC_OK)
		rc = account_change_password(app->shop, who.session.email,
		    field(&form, "password_current"), field(&form, "password"),
		    &client, rq->arena, &retry_after_s, e);
	account_retry_after(rq, rs, retry_after_s);
	/* All sessions ended; this browser gets a new one. */
	if (rc == RC_OK)
		rc = account_enter(
		    app, rq, rs, &who, who.session.customer_id, e);
	return account_done(
	    app, rq, &who, "/account?said=password_changed", rc, rs, e);
}
