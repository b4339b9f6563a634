/*
 * POST /api/flash-sale/purchase (DESIGN 4.2).
 *
 * The order's id is a hash of person, method, path and Idempotency-Key. Without
 * a key one is made here, and an answer 503 carries it: sent with the next try
 * it leads to the same id, because the id is of the key and not the key itself.
 * So nobody can name an id, only repeat his own.
 */
#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/guard.h"
#include "shop/ids.h"
#include "shop/payment.h"
#include "shop/purchase.h"

static enum rc
wrong_field(const char *name, const char *want, struct err *e)
{
	return err_set(
	    e, RC_INVALID, "invalid_field", "%s must be %s", name, want);
}

static enum rc
id_field(const json_t *tree, const char *name, bool wanted, int64_t *out,
    struct err *e)
{
	const json_t *v = json_object_get(tree, name);

	*out = 0;
	if (v == NULL && !wanted)
		return RC_OK;
	if (!json_is_integer(v) || json_integer_value(v) < 1)
		return wrong_field(name, "a number from 1", e);
	*out = json_integer_value(v);
	return RC_OK;
}

/* payment.token; "" where there is none. */
static enum rc
token_field(
    const json_t *tree, struct arena *arena, const char **out, struct err *e)
{
	const json_t *payment = json_object_get(tree, "payment");
	const json_t *token = json_object_get(payment, "token");

	*out = "";
	if (payment != NULL && !json_is_object(payment))
		return wrong_field("payment", "an object", e);
	if (token == NULL)
		return RC_OK;
	if (!json_is_string(token) ||
	    strlen(json_string_value(token)) != json_string_length(token))
		return wrong_field("payment.token", "a string", e);
	*out = arena_strdup(arena, json_string_value(token));
	return payment_token_check(*out, e);
}

static enum rc
parse_tree(struct app *app, const struct request *rq, struct purchase_req *req,
    struct err *e)
{
	json_t *tree = NULL;
	enum rc rc = guard_json(app, rq, &tree, e);

	if (rc != RC_OK)
		return rc;
	if ((rc = id_field(tree, "saleId", true, &req->sale_id, e)) == RC_OK &&
	    (rc = id_field(tree, "productId", true, &req->product_id, e)) ==
		RC_OK &&
	    (rc = id_field(tree, "variantId", false, &req->variant_id, e)) ==
		RC_OK)
		rc = token_field(tree, rq->arena, &req->token, e);
	json_decref(tree);
	return rc;
}

static bool
parsed_before(const struct purchase_body *last, const struct request *rq,
    struct purchase_req *req)
{
	if (last->n == 0 || last->n != rq->body.n ||
	    memcmp(last->bytes, rq->body.p, last->n) != 0)
		return false;
	req->sale_id = last->sale_id;
	req->product_id = last->product_id;
	req->variant_id = last->variant_id;
	req->token = "";
	return true;
}

static void
remember(struct purchase_body *last, const struct request *rq,
    const struct purchase_req *req)
{
	if (rq->body.n > sizeof last->bytes || *req->token != '\0')
		return;
	last->n = rq->body.n;
	memcpy(last->bytes, rq->body.p, last->n);
	last->sale_id = req->sale_id;
	last->product_id = req->product_id;
	last->variant_id = req->variant_id;
}

static enum rc
parse(struct app *app, const struct request *rq, struct purchase_req *req,
    struct err *e)
{
	enum rc rc = guard_json_type(app, rq, e);

	if (rc != RC_OK || parsed_before(&app->purchase_body, rq, req))
		return rc;
	if ((rc = parse_tree(app, rq, req, e)) == RC_OK)
		remember(&app->purchase_body, rq, req);
	return rc;
}

/* The key as sent, else (NULL) one of ours; and the id that it leads to. */
static enum rc
name_effect(const struct request *rq, const struct who *who,
    struct purchase_req *req, const char **key, struct err *e)
{
	char *id = arena_alloc(rq->arena, EFFECT_ID_CHARS + 1);
	unsigned char *hash = arena_alloc(rq->arena, BODY_HASH_BYTES);
	enum rc rc;

	if (req->keyed && (rc = idempotency_key_check(*key, false, e)) != RC_OK)
		return rc;
	if (!req->keyed) {
		char *made = arena_alloc(rq->arena, EFFECT_ID_CHARS + 1);

		id_random(made);
		*key = made;
	}
	id_of_effect(arena_printf(rq->arena, "customer:%lld",
			 (long long)who->session.customer_id),
	    "POST", rq->path, *key, id);
	body_hash(rq->body, hash);
	req->id = id;
	req->body_hash = hash;
	return RC_OK;
}

enum rc
api_purchase_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct purchase_req req = { 0 };
	struct purchase done;
	struct who who = { 0 };
	const char *key;
	enum rc rc;

	(void)m;
	if ((rc = guard_require(app, rq, &who, e)) != RC_OK ||
	    (rc = parse(app, rq, &req, e)) != RC_OK)
		return rc;
	key = rq->idempotency_key;
	req.keyed = key != NULL;
	/* The crowd: no id is made for what nobody can have. */
	if (!req.keyed && purchase_sold_out(app->shop, &req))
		return err_set(e, RC_REFUSED, "sold_out", "Sold out");
	if ((rc = name_effect(rq, &who, &req, &key, e)) != RC_OK)
		return rc;
	req.customer_id = who.session.customer_id;
	req.email = who.session.email;
	req.deadline = deadline_in(conf_int(app->conf, "sale", "deadline"));
	rc = purchase(app->shop, &req, rq->arena, &done, e);
	if (rc == RC_RETRY)
		response_header(rs, rq->arena, "Idempotency-Key", key);
	if (rc != RC_OK)
		return rc;
	return answer_json(rs, 200,
	    span_of(
		arena_printf(rq->arena, "{\"orderId\":\"%s\",\"stock\":%lld}",
		    done.order_id, (long long)done.stock)));
}
