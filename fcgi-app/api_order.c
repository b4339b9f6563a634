/*
 * Orders (DESIGN 4.2). Who orders is the session; without one a guest, known
 * by the order's accessToken alone, which he shows as ?t=, as "accessToken" in
 * a body or as a bearer token.
 */
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "fcgi-app/account.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/guard.h"
#include "shop/ids.h"
#include "shop/order.h"
#include "shop/order_rate.h"

/* ---- who asks */

/* "Bearer TOKEN" that is an order's, not an admin's ("souk_..."). */
static const char *
bearer_access(const struct request *rq)
{
	const char *auth = request_param(rq, "HTTP_AUTHORIZATION");

	if (auth == NULL || strncasecmp(auth, "Bearer ", 7) != 0 ||
	    strncmp(auth + 7, "souk_", 5) == 0)
		return NULL;
	return auth + 7;
}

/* body: NULL or the request's. */
static enum rc
find_who(struct app *app, struct request *rq, const json_t *body,
    struct response *rs, struct order_who *out, struct err *e)
{
	const char *auth = request_param(rq, "HTTP_AUTHORIZATION");
	const char *access =
	    json_string_value(json_object_get(body, "accessToken"));
	struct who who;
	enum rc rc;

	*out = (struct order_who){ .access_token = "" };
	if (access == NULL)
		access = fields_get(&rq->query, "t");
	if (access == NULL)
		access = bearer_access(rq);
	if (access != NULL)
		out->access_token = arena_strdup(rq->arena, access);
	/* "Basic ..." is of whoever stands before the shop, not for us. */
	if (auth != NULL && strncasecmp(auth, "Bearer ", 7) == 0 &&
	    bearer_access(rq) == NULL) {
		out->admin = true;
		return guard_admin(app, rq, rs, e);
	}
	if ((rc = guard_who(app, rq, &who, e)) != RC_OK || !who.known)
		return rc;
	out->customer_id = who.session.customer_id;
	out->admin = who.session.admin;
	return RC_OK;
}

/* ---- placing */

static enum rc
wrong(struct err *e, const char *what)
{
	return err_set(e, RC_INVALID, "invalid_field", "%s", what);
}

/* A whole number or, where it may be left out, dflt. */
static bool
number(const json_t *object, const char *name, int64_t dflt, int64_t *out)
{
	const json_t *v = json_object_get(object, name);

	*out = dflt;
	if (v == NULL || json_is_null(v))
		return dflt >= 0;
	*out = json_integer_value(v);
	return json_is_integer(v) && *out >= 1;
}

static enum rc
read_items(const json_t *body, struct arena *arena, struct order_req *req,
    struct err *e)
{
	const json_t *items = json_object_get(body, "items"), *item;
	struct order_line_req *lines;
	size_t i;

	if (!json_is_array(items) || json_array_size(items) == 0)
		return wrong(e, "items: a list of what is ordered is wanted");
	if (json_array_size(items) > ORDER_MAX_LINES)
		return wrong(e, "items: at most 100 lines");
	lines = arena_calloc(arena, ORDER_MAX_LINES, sizeof *lines);
	json_array_foreach(items, i, item)
	{
		if (!json_is_object(item) ||
		    !number(item, "productId", -1, &lines[i].product_id))
			return wrong(e, "items.productId: a number is wanted");
		if (!number(item, "variantId", 0, &lines[i].variant_id))
			return wrong(e, "items.variantId: a number is wanted");
		if (!number(item, "quantity", -1, &lines[i].quantity))
			return wrong(
			    e, "items.quantity: a number from 1 is wanted");
	}
	req->n = (int)json_array_size(items);
	req->lines = lines;
	return RC_OK;
}

/* Text without NUL, dflt where there is none. */
static bool
text(const json_t *object, const char *name, const char *dflt, const char **out)
{
	const json_t *v = json_object_get(object, name);

	*out = dflt;
	if (v == NULL || json_is_null(v))
		return true;
	*out = json_string_value(v);
	return *out != NULL && strlen(*out) == json_string_length(v);
}

/* {"payment":{"token"}} */
static enum rc
read_token(const json_t *body, const char **out, struct err *e)
{
	const json_t *payment = json_object_get(body, "payment");

	*out = "";
	if (payment == NULL || json_is_null(payment))
		return RC_OK;
	if (!json_is_object(payment) || !text(payment, "token", "", out))
		return wrong(e, "payment.token: text is wanted");
	return RC_OK;
}

/* *address is given (json_decref); NULL: none was sent. */
static enum rc
read_body(const json_t *body, const struct who *who, struct arena *arena,
    struct order_req *req, json_t **address, struct err *e)
{
	const json_t *sent = json_object_get(body, "address");
	enum rc rc;

	*address = NULL;
	if ((rc = read_items(body, arena, req, e)) != RC_OK ||
	    (rc = read_token(body, &req->token, e)) != RC_OK)
		return rc;
	if (!text(body, "email", who->known ? who->session.email : "",
		&req->email))
		return wrong(e, "email: text is wanted");
	if (sent != NULL && !json_is_null(sent))
		rc = order_address_check(sent, address, e);
	req->address = *address;
	return rc;
}

/* The ids that the key stands for. */
static enum rc
read_key(const struct request *rq, const struct who *who, struct order_req *req,
    char id[EFFECT_ID_CHARS + 1], char access[SECRET_CHARS + 1],
    unsigned char hash[BODY_HASH_BYTES], struct err *e)
{
	const char *key = rq->idempotency_key;
	enum rc rc;

	req->id = id;
	if (key == NULL) {
		id_random(id);
	} else {
		if ((rc = idempotency_key_check(key, !who->known, e)) != RC_OK)
			return rc;
		id_of_effect(who->known
				 ? arena_printf(rq->arena, "customer:%lld",
				       (long long)who->session.customer_id)
				 : "guest",
		    "POST", "/api/orders", key, id);
		body_hash(rq->body, hash);
		req->body_hash = hash;
	}
	if (who->known) {
		req->customer_id = who->session.customer_id;
	} else {
		order_access_token(key, id, access);
		req->access_token = access;
	}
	return RC_OK;
}

/* The order, and behind its last member what a guest gets in with. */
static struct span
with_access(struct span order, const char *access, struct arena *arena)
{
	if (access == NULL)
		return order;
	return span_of(arena_printf(arena, "%.*s,\"accessToken\":\"%s\"}",
	    (int)(order.n - 1), order.p, access));
}

static enum rc
place_counted(struct app *app, struct request *rq, struct response *rs,
    const struct order_req *req, struct span *json, struct err *e)
{
	bool again = false;
	int wait_s = 0;
	enum rc rc = order_place_counted(app->shop, req, rq->remote_addr,
	    rq->arena, json, &again, &wait_s, e);

	account_retry_after(rq, rs, wait_s);
	return rc;
}

static enum rc
place(struct app *app, struct request *rq, const json_t *body,
    struct response *rs, struct err *e)
{
	char id[EFFECT_ID_CHARS + 1], access[SECRET_CHARS + 1];
	unsigned char hash[BODY_HASH_BYTES];
	struct order_req req = { 0 };
	json_t *address = NULL;
	struct span json;
	struct who who;
	enum rc rc;

	if ((rc = guard_who(app, rq, &who, e)) != RC_OK ||
	    (rc = read_key(rq, &who, &req, id, access, hash, e)) != RC_OK)
		return rc;
	rc = read_body(body, &who, rq->arena, &req, &address, e);
	if (rc == RC_OK)
		rc = place_counted(app, rq, rs, &req, &json, e);
	json_decref(address);
	if (rc != RC_OK)
		return rc;
	response_header(rs, rq->arena, "Location",
	    arena_printf(rq->arena, "/api/orders/%s", id));
	return answer_json(
	    rs, 201, with_access(json, req.access_token, rq->arena));
}

enum rc
api_order_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	json_t *body;
	enum rc rc = guard_json(app, rq, &body, e);

	(void)m;
	if (rc != RC_OK)
		return rc;
	rc = place(app, rq, body, rs, e);
	json_decref(body);
	return rc;
}

/* ---- one that stands */

enum rc
api_order_get(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct order_who who;
	struct span json;
	enum rc rc = find_who(app, rq, NULL, rs, &who, e);

	if (rc == RC_OK)
		rc = order_get(app->shop, m->order, &who, rq->arena, &json, e);
	return rc == RC_OK ? answer_json(rs, 200, json) : rc;
}

/* Nothing needs to be said to change one: a body may be left out. *body is
 * given, or NULL. */
static enum rc
optional_json(
    struct app *app, const struct request *rq, json_t **body, struct err *e)
{
	*body = NULL;
	if (rq->body.n == 0 && *rq->content_type == '\0')
		return guard_same_origin(app, rq, e);
	return guard_json(app, rq, body, e);
}

enum rc
api_order_payment(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	const char *token;
	struct order_who who;
	struct span json;
	json_t *body;
	enum rc rc = optional_json(app, rq, &body, e);

	if (rc != RC_OK)
		return rc;
	rc = find_who(app, rq, body, rs, &who, e);
	if (rc == RC_OK)
		rc = read_token(body, &token, e);
	if (rc == RC_OK)
		rc = order_pay(
		    app->shop, m->order, &who, token, rq->arena, &json, e);
	json_decref(body);
	return rc == RC_OK ? answer_json(rs, 200, json) : rc;
}

enum rc
api_order_cancel(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct order_who who;
	struct span json;
	json_t *body;
	enum rc rc = optional_json(app, rq, &body, e);

	if (rc != RC_OK)
		return rc;
	rc = find_who(app, rq, body, rs, &who, e);
	json_decref(body);
	if (rc == RC_OK)
		rc = order_cancel(
		    app->shop, m->order, &who, rq->arena, &json, e);
	return rc == RC_OK ? answer_json(rs, 200, json) : rc;
}
