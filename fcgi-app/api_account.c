/*
 * The account's API (DESIGN 4.2): who somebody is comes from the session's
 * cookie alone, never from a body.
 */
#include "fcgi-app/account.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/text.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/guard.h"
#include "shop/cart.h"

struct client
client_of(const struct request *rq)
{
	const char *agent = request_param(rq, "HTTP_USER_AGENT");

	return (struct client){ .address = rq->remote_addr,
		.user_agent = agent == NULL ? "" : agent };
}

void
account_retry_after(struct request *rq, struct response *rs, int retry_after_s)
{
	char num[TEXT_NUM];

	if (retry_after_s > 0)
		response_header(
		    rs, rq->arena, "Retry-After", text_num(retry_after_s, num));
}

/* What was put into the cart before logging in stays in it. Where that fails
 * the person is logged in all the same, and the guest's cart is still there. */
static void
take_cart(struct app *app, struct request *rq, const struct who *who,
    int64_t customer_id)
{
	struct err e = ERR_INIT;

	if (*who->guest != '\0' &&
	    cart_merge(app->shop, who->guest, customer_id, rq->arena, &e) !=
		RC_OK)
		log_warn("cart_not_merged", LOG_S("code", e.code),
		    LOG_S("error", e.msg));
}

enum rc
account_enter(struct app *app, struct request *rq, struct response *rs,
    struct who *who, int64_t customer_id, struct err *e)
{
	struct client client = client_of(rq);
	char token[SECRET_CHARS + 1];
	enum rc rc = session_rotate(app->shop, customer_id, who->token,
	    client.user_agent, client.address, rq->arena, token, e);

	if (rc != RC_OK)
		return rc;
	take_cart(app, rq, who, customer_id);
	guard_set_session(app, rq, rs, token);
	who->token = arena_strdup(rq->arena, token);
	/* The record is in the cache when the browser comes back. */
	rc = session_find(app->shop, who->token, rq->arena, &who->session, e);
	who->known = rc == RC_OK;
	return rc == RC_NONE ? err_set(e, RC_FAIL, "no_session",
				   "a new session is not there")
			     : rc;
}

enum rc
account_enter_login(struct app *app, struct request *rq, struct response *rs,
    struct who *who, const char *email, const char *password, struct err *e)
{
	struct client client = client_of(rq);
	int retry_after_s = 0;
	int64_t id = 0;
	enum rc rc = account_login(app->shop, email, password, &client,
	    rq->arena, &id, &retry_after_s, e);

	account_retry_after(rq, rs, retry_after_s);
	return rc == RC_OK ? account_enter(app, rq, rs, who, id, e) : rc;
}

enum rc
account_enter_new(struct app *app, struct request *rq, struct response *rs,
    struct who *who, const char *email, const char *password, const char *name,
    struct err *e)
{
	struct client client = client_of(rq);
	int retry_after_s = 0;
	int64_t id = 0;
	enum rc rc = account_throttle(
	    app->shop, "register", &client, rq->arena, &retry_after_s, e);

	account_retry_after(rq, rs, retry_after_s);
	/* role: a stranger is a buyer, whatever the body says. */
	if (rc == RC_OK)
		rc = account_create(app->shop, email, password, name, "buyer",
		    rq->arena, &id, e);
	return rc == RC_OK ? account_enter(app, rq, rs, who, id, e) : rc;
}

/* ---- JSON */

/* In the arena: the tree goes before it is used up. */
static enum rc
member(const json_t *body, const char *name, bool optional, struct arena *arena,
    const char **out, struct err *e)
{
	const json_t *v = json_object_get(body, name);

	*out = "";
	if (v == NULL && optional)
		return RC_OK;
	if (!json_is_string(v))
		return err_set(e, RC_INVALID, "invalid_field",
		    "%s: a string is wanted", name);
	*out = arena_strdup(arena, json_string_value(v));
	return RC_OK;
}

/* Takes value. */
static enum rc
answer_value(struct request *rq, struct response *rs, int status, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);
	const char *copy = arena_strdup(rq->arena, text);

	free(text);
	json_decref(value);
	return answer_json(rs, status, span_of(copy));
}

static json_t *
who_json(const struct who *who)
{
	return json_pack("{s:I, s:s, s:s, s:s}", "id",
	    (json_int_t)who->session.customer_id, "email", who->session.email,
	    "name", who->session.name, "role",
	    who->session.admin ? "admin" : "buyer");
}

static enum rc
nothing(struct response *rs)
{
	rs->status = 204;
	return RC_OK;
}

enum rc
api_register(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	const char *email, *password, *name;
	json_t *body;
	struct who who;
	enum rc rc;

	(void)m;
	if ((rc = guard_json(app, rq, &body, e)) != RC_OK ||
	    (rc = member(body, "email", false, rq->arena, &email, e)) !=
		RC_OK ||
	    (rc = member(body, "password", false, rq->arena, &password, e)) !=
		RC_OK ||
	    (rc = member(body, "name", true, rq->arena, &name, e)) != RC_OK ||
	    (rc = guard_who(app, rq, &who, e)) != RC_OK ||
	    (rc = account_enter_new(
		 app, rq, rs, &who, email, password, name, e)) != RC_OK)
		goto out;
	rc = answer_value(rq, rs, 201, who_json(&who));
out:
	json_decref(body);
	return rc;
}

enum rc
api_login(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	const char *email, *password;
	json_t *body;
	struct who who;
	enum rc rc;

	(void)m;
	if ((rc = guard_json(app, rq, &body, e)) != RC_OK ||
	    (rc = member(body, "email", false, rq->arena, &email, e)) !=
		RC_OK ||
	    (rc = member(body, "password", false, rq->arena, &password, e)) !=
		RC_OK ||
	    (rc = guard_who(app, rq, &who, e)) != RC_OK ||
	    (rc = account_enter_login(app, rq, rs, &who, email, password, e)) !=
		RC_OK)
		goto out;
	rc = answer_value(rq, rs, 200, who_json(&who));
out:
	json_decref(body);
	return rc;
}

/* Needs no body: that it comes from our pages is enough. */
enum rc
api_logout(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct who who;
	enum rc rc;

	(void)m;
	if ((rc = guard_same_origin(app, rq, e)) != RC_OK ||
	    (rc = guard_who(app, rq, &who, e)) != RC_OK ||
	    (rc = session_end(app->shop, who.token, rq->arena, e)) != RC_OK)
		return rc;
	guard_set_session(app, rq, rs, "");
	return nothing(rs);
}

enum rc
api_password_forgot(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct client client = client_of(rq);
	int retry_after_s = 0;
	const char *email;
	json_t *body;
	enum rc rc;

	(void)m;
	if ((rc = guard_json(app, rq, &body, e)) != RC_OK ||
	    (rc = member(body, "email", false, rq->arena, &email, e)) != RC_OK)
		goto out;
	rc = account_forgot(
	    app->shop, email, &client, rq->arena, &retry_after_s, e);
	account_retry_after(rq, rs, retry_after_s);
	if (rc == RC_OK)
		rc = answer_json(rs, 202, span_of("{}"));
out:
	json_decref(body);
	return rc;
}

enum rc
api_password_reset(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	const char *token, *password;
	json_t *body;
	int64_t id;
	enum rc rc;

	(void)m;
	if ((rc = guard_json(app, rq, &body, e)) == RC_OK &&
	    (rc = member(body, "token", false, rq->arena, &token, e)) ==
		RC_OK &&
	    (rc = member(body, "password", false, rq->arena, &password, e)) ==
		RC_OK &&
	    (rc = account_reset(
		 app->shop, token, password, rq->arena, &id, e)) == RC_OK) {
		guard_set_session(app, rq, rs, "");
		rc = nothing(rs);
	}
	json_decref(body);
	return rc;
}

enum rc
api_account(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct who who;
	enum rc rc = guard_require(app, rq, &who, e);

	(void)m;
	return rc == RC_OK ? answer_value(rq, rs, 200, who_json(&who)) : rc;
}

/* ---- sessions */

enum rc
api_sessions(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	const struct session_row *list;
	json_t *all;
	struct who who;
	int n;
	enum rc rc;

	(void)m;
	if ((rc = guard_require(app, rq, &who, e)) != RC_OK ||
	    (rc = session_list(app->shop, who.session.customer_id, rq->arena,
		 &list, &n, e)) != RC_OK)
		return rc;
	all = json_array();
	for (int i = 0; i < n; i++)
		json_array_append_new(all,
		    json_pack("{s:I, s:s, s:s, s:s, s:s, s:b}", "id",
			(json_int_t)list[i].public_id, "createdAt",
			list[i].created_at, "seenAt", list[i].seen_at,
			"userAgent", list[i].user_agent, "address",
			list[i].address, "current",
			(int)(list[i].public_id == who.session.public_id)));
	return answer_value(rq, rs, 200, json_pack("{s:o}", "sessions", all));
}

enum rc
api_session_end(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct who who;
	enum rc rc;

	if ((rc = guard_same_origin(app, rq, e)) != RC_OK ||
	    (rc = guard_require(app, rq, &who, e)) != RC_OK ||
	    (rc = session_end_one(app->shop, who.session.customer_id, m->id,
		 rq->arena, e)) != RC_OK)
		return rc;
	if (m->id == who.session.public_id)
		guard_set_session(app, rq, rs, "");
	return nothing(rs);
}

/* All but the one that asks. */
enum rc
api_sessions_end(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct who who;
	enum rc rc;

	(void)m;
	if ((rc = guard_same_origin(app, rq, e)) != RC_OK ||
	    (rc = guard_require(app, rq, &who, e)) != RC_OK ||
	    (rc = session_end_all(app->shop, who.session.customer_id,
		 who.session.public_id, rq->arena, e)) != RC_OK)
		return rc;
	return nothing(rs);
}
