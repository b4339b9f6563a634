/*
 * stripe: - PaymentIntents over HTTPS (https://docs.stripe.com/api), by
 * libcurl.
 *
 * One easy handle per process: its connection is kept for the next call. Every
 * call has a deadline; certificates are verified; redirects are not followed.
 *
 * Idempotency keys: "<order>" creates, "<order>:<attempt>" confirms,
 * "<order>:refund" refunds. Stripe keeps what it answered to a key for 24
 * hours, errors of its own (500) too: a repeat then gets that error again, and
 * only a look at the intent tells. A cancel has no key: it does nothing the
 * second time, and with one, an early "not now" would be its answer for a day.
 *
 * A payment is confirmed without the buyer's browser: redirects are never
 * asked for, and error_on_requires_action makes a bank that wants to see its
 * customer (3-D Secure) a decline. An intent that stands at requires_action
 * all the same is declined too: the shop has no way to let the buyer act.
 *
 * Amounts: Stripe's minor units are ours, also for currencies without decimals
 * (JPY: 500 is 500 yen). Three decimals (KWD, ...): Stripe wants the last digit
 * 0 and refuses other amounts.
 */
#include "store/pay.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/http.h"
#include "store/pay_int.h"

/* What the answers are read as; a newer one is taken up by hand. */
#define STRIPE_VERSION "2024-06-20"
#define API_STANDARD "https://api.stripe.com"

enum { MAX_ANSWER = 1 << 20 };

struct stripe {
	struct pay base;
	struct http http;
	char *api;
	char *secret_key;
	int timeout_ms;
};

/* ---- the driver */

static enum rc
stripe_open(const struct pay_opts *opts, struct pay **out, struct err *e)
{
	const char *api = opts->api_base;

	if (api == NULL || *api == '\0')
		api = API_STANDARD;
	if (opts->secret_key == NULL || *opts->secret_key == '\0')
		return err_set(e, RC_INVALID, "bad_configuration",
		    "[payment] stripe_key: stripe: needs the secret key");
	if (!text_is_secure_url(api))
		return err_set(e, RC_INVALID, "bad_configuration",
		    "[payment] stripe_api: https:// is wanted");

	struct stripe *st = xcalloc(1, sizeof *st);

	if (http_open(&st->http, e) != RC_OK) {
		free(st);
		return e->rc;
	}
	st->api = xstrdup(api);
	st->secret_key = xstrdup(opts->secret_key);
	st->timeout_ms = opts->timeout_ms;
	*out = &st->base;
	return RC_OK;
}

static void
stripe_close(struct pay *pay)
{
	struct stripe *st = (struct stripe *)pay;

	http_close(&st->http);
	free(st->api);
	free(st->secret_key);
	free(st);
}

/* ---- one call */

struct request {
	const char *method; /* "GET", "POST" */
	const char *path;   /* "/v1/payment_intents", with its query */
	const char *key;    /* Idempotency-Key; NULL: none */
	struct strbuf form;
};

static void
form_add(struct request *rq, const char *name, const char *value)
{
	if (rq->form.len > 0)
		strbuf_addc(&rq->form, '&');
	strbuf_add_urlarg(&rq->form, name, strlen(name));
	strbuf_addc(&rq->form, '=');
	strbuf_add_urlarg(&rq->form, value, strlen(value));
}

static void
request_init(
    struct request *rq, const char *method, const char *path, const char *key)
{
	*rq = (struct request){ .method = method, .path = path, .key = key };
	strbuf_init(&rq->form, 256);
}

static size_t
take_answer(char *p, size_t size, size_t n, void *arg)
{
	struct strbuf *body = arg;

	if (body->len + size * n > MAX_ANSWER)
		return 0; /* CURLE_WRITE_ERROR */
	strbuf_add(body, p, size * n);
	return size * n;
}

/* Gives *tree, NULL where the body is no JSON. RC_RETRY: no whole answer. */
static enum rc
send_request(struct stripe *st, struct request *rq, struct arena *arena,
    long *status, json_t **tree, struct err *e)
{
	struct strbuf body;
	enum rc rc = RC_OK;
	CURLcode code;

	strbuf_init(&body, 4096);
	http_begin(&st->http,
	    &(struct http_request){ .method = rq->method,
		.url = arena_concat(arena, st->api, rq->path, NULL),
		.header = { "Stripe-Version: " STRIPE_VERSION,
		    "Accept: application/json",
		    arena_concat(
			arena, "Authorization: Bearer ", st->secret_key, NULL),
		    rq->key == NULL ? NULL
				    : arena_concat(arena,
					  "Idempotency-Key: ", rq->key, NULL) },
		.body = strbuf_span(&rq->form),
		.connect_ms = st->timeout_ms,
		.timeout_ms = st->timeout_ms,
		.take = take_answer,
		.arg = &body });
	code = curl_easy_perform(st->http.curl);
	(void)curl_easy_getinfo(st->http.curl, CURLINFO_RESPONSE_CODE, status);
	if (code == CURLE_OK)
		*tree = json_loadb(body.s, body.len, 0, NULL);
	else
		rc = err_set(e, RC_RETRY, "pay_no_answer", "Stripe: %s",
		    http_why(&st->http, code));
	http_end(&st->http);
	strbuf_release(&body);
	strbuf_release(&rq->form);
	return rc;
}

/* ---- what is answered */

static const char *
str_of(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s == NULL ? "" : s;
}

/* https://docs.stripe.com/api/errors; the code is Stripe's where it has one. */
static enum rc
error_read(long status, const json_t *tree, struct err *e)
{
	const json_t *error = json_object_get(tree, "error");
	const char *type = str_of(error, "type"), *code = str_of(error, "code");
	const char *msg = str_of(error, "message");
	enum rc rc = RC_INVALID;

	if (*msg == '\0')
		msg = "an answer without a message";
	if (status == 401 || status == 403)
		return err_set(e, RC_FAIL, "pay_unauthorized",
		    "Stripe refuses our key (%ld): %s", status, msg);
	if (status == 409 || status == 429 || status >= 500 || status < 400)
		return err_set(e, RC_RETRY, "pay_unavailable",
		    "Stripe answers %ld: %s", status, msg);
	/* Another request stands under this key: what became of that one is
	 * not known, so it is no refusal. */
	if (strcmp(type, "idempotency_error") == 0)
		code = "pay_key_reused";
	if (*code == '\0')
		code = "pay_refused";
	return err_set(e, rc, code, "%s", msg);
}

static enum pay_outcome
outcome_of(const char *status)
{
	static const struct {
		const char *status;
		enum pay_outcome outcome;
	} outcomes[] = { { "requires_payment_method", PAY_OPEN },
		{ "requires_confirmation", PAY_OPEN },
		{ "requires_action", PAY_OPEN },
		{ "requires_capture", PAY_OPEN }, { "processing", PAY_PENDING },
		{ "succeeded", PAY_PAID }, { "canceled", PAY_CANCELLED } };

	for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
		if (strcmp(outcomes[i].status, status) == 0)
			return outcomes[i].outcome;
	}
	return PAY_PENDING; /* one we do not know decides nothing */
}

static enum rc
intent_read(const json_t *tree, struct arena *arena, struct pay_intent *out,
    struct err *e)
{
	const json_t *charge = json_object_get(tree, "latest_charge");

	if (*str_of(tree, "id") == '\0' || *str_of(tree, "status") == '\0')
		return err_set(e, RC_RETRY, "pay_unavailable",
		    "Stripe: an answer that is no PaymentIntent");
	*out = (struct pay_intent){
		.id = arena_strdup(arena, str_of(tree, "id")),
		.outcome = outcome_of(str_of(tree, "status")),
		.amount = json_integer_value(json_object_get(tree, "amount")),
		/* null, or an id, unless it was asked for whole */
		.refunded = json_integer_value(
		    json_object_get(charge, "amount_refunded")),
		.error = arena_strdup(
		    arena, str_of(json_object_get(tree, "last_payment_error"),
			       "message")),
	};
	return RC_OK;
}

/* A call that answers a PaymentIntent. *status 0: no answer came. */
static enum rc
call_intent(struct stripe *st, struct request *rq, struct arena *arena,
    long *status, struct pay_intent *out, struct err *e)
{
	json_t *tree = NULL;
	enum rc rc;

	*status = 0;
	rc = send_request(st, rq, arena, status, &tree, e);
	if (rc == RC_OK)
		rc = *status == 200 ? intent_read(tree, arena, out, e)
				    : error_read(*status, tree, e);
	json_decref(tree);
	return rc;
}

/* ---- operations */

static enum rc
stripe_create(struct pay *pay, const struct pay_order *order,
    struct arena *arena, struct pay_intent *out, struct err *e)
{
	char currency[8] = "";
	struct request rq;
	long status;

	for (size_t i = 0; i < sizeof currency - 1 && order->currency[i]; i++)
		currency[i] = (char)(order->currency[i] | 0x20);
	request_init(&rq, "POST", "/v1/payment_intents", order->order_id);
	form_add(&rq, "amount",
	    arena_printf(arena, "%lld", (long long)order->amount));
	form_add(&rq, "currency", currency);
	form_add(&rq, "capture_method", "automatic");
	form_add(&rq, "automatic_payment_methods[enabled]", "true");
	form_add(&rq, "automatic_payment_methods[allow_redirects]", "never");
	form_add(&rq, "metadata[order_id]", order->order_id);
	form_add(&rq, "description",
	    arena_concat(arena, "Order ", order->order_id, NULL));
	if (order->email != NULL && *order->email != '\0')
		form_add(&rq, "receipt_email", order->email);
	return call_intent((struct stripe *)pay, &rq, arena, &status, out, e);
}

/* "/v1/payment_intents/<id><what>" */
static const char *
intent_path(struct arena *arena, const char *intent, const char *what)
{
	struct strbuf sb;

	strbuf_init(&sb, 64);
	strbuf_adds(&sb, "/v1/payment_intents/");
	strbuf_add_urlarg(&sb, intent, strlen(intent));
	strbuf_adds(&sb, what);
	char *path = arena_strdup(arena, sb.s);

	strbuf_release(&sb);
	return path;
}

static enum rc
stripe_confirm(struct pay *pay, const struct pay_order *order,
    const char *intent, int attempt, const char *token, struct arena *arena,
    struct pay_intent *out, struct err *e)
{
	struct request rq;
	long status;
	enum rc rc;

	request_init(&rq, "POST", intent_path(arena, intent, "/confirm"),
	    arena_printf(arena, "%s:%d", order->order_id, attempt));
	/* A ConfirmationToken, or a PaymentMethod. */
	if (*token != '\0')
		form_add(&rq,
		    strncmp(token, "ctoken_", 7) == 0 ? "confirmation_token"
						      : "payment_method",
		    token);
	form_add(&rq, "error_on_requires_action", "true");
	rc = call_intent((struct stripe *)pay, &rq, arena, &status, out, e);
	if (status == 402) {
		*out = (struct pay_intent){ .id = arena_strdup(arena, intent),
			.outcome = PAY_DECLINED,
			.amount = order->amount,
			.error = arena_strdup(arena, e->msg) };
		return RC_OK;
	}
	if (rc != RC_OK || out->outcome != PAY_OPEN)
		return rc;
	/* Neither paid nor under way: not this time. */
	out->outcome = PAY_DECLINED;
	if (*out->error == '\0')
		out->error = "The bank wants to ask its customer, which this "
			     "shop cannot do; please use another card.";
	return RC_OK;
}

static enum rc
stripe_look(struct pay *pay, const char *intent, struct arena *arena,
    struct pay_intent *out, struct err *e)
{
	struct request rq;
	long status;

	/* What was refunded stands with the charge. */
	request_init(&rq, "GET",
	    intent_path(arena, intent, "?expand%5B%5D=latest_charge"), NULL);
	return call_intent((struct stripe *)pay, &rq, arena, &status, out, e);
}

/*
 * The search index is behind the truth, mostly by less than a minute, more in
 * an outage: not to be asked right after a write. It is asked about orders a
 * day old. (The list has no filter by metadata.)
 */
static enum rc
stripe_find(struct pay *pay, const char *order_id, struct arena *arena,
    struct pay_intent *out, struct err *e)
{
	struct request rq;
	json_t *tree = NULL, *found;
	const json_t *best = NULL;
	long status = 0;
	size_t i;

	request_init(&rq, "GET",
	    arena_concat(arena,
		"/v1/payment_intents/search?query="
		"metadata%5B%27order_id%27%5D%3A%27",
		order_id, "%27&limit=10", NULL),
	    NULL);
	enum rc rc =
	    send_request((struct stripe *)pay, &rq, arena, &status, &tree, e);

	if (rc == RC_OK && status != 200)
		rc = error_read(status, tree, e);
	if (rc != RC_OK)
		goto out;
	json_array_foreach(json_object_get(tree, "data"), i, found)
	{
		if (strcmp(
			str_of(json_object_get(found, "metadata"), "order_id"),
			order_id) == 0 &&
		    (best == NULL ||
			strcmp(str_of(found, "status"), "succeeded") == 0))
			best = found;
	}
	rc = best == NULL ? err_set(e, RC_NONE, "no_intent",
				"Stripe knows no payment of this order")
			  : intent_read(best, arena, out, e);
out:
	json_decref(tree);
	return rc;
}

static enum rc
stripe_cancel(struct pay *pay, const struct pay_order *order,
    const char *intent, struct arena *arena, struct pay_intent *out,
    struct err *e)
{
	struct request rq;
	long status;
	enum rc rc;

	(void)order;
	request_init(&rq, "POST", intent_path(arena, intent, "/cancel"), NULL);
	form_add(&rq, "cancellation_reason", "abandoned");
	rc = call_intent((struct stripe *)pay, &rq, arena, &status, out, e);
	/* It is over already: how? */
	if (rc == RC_INVALID &&
	    strcmp(e->code, "payment_intent_unexpected_state") == 0)
		return stripe_look(pay, intent, arena, out, e);
	return rc;
}

/* https://docs.stripe.com/api/refunds/object#refund_object-status */
static enum rc
refund_read(const json_t *tree, const char *intent, struct arena *arena,
    struct pay_intent *out, struct err *e)
{
	const char *status = str_of(tree, "status");

	if (strcmp(status, "succeeded") != 0 && strcmp(status, "pending") != 0)
		return err_set(e, RC_FAIL, "refund_failed",
		    "Stripe: the refund is \"%s\"; see the dashboard", status);
	*out = (struct pay_intent){ .id = arena_strdup(arena, intent),
		.outcome = PAY_PAID,
		.error = "" };
	out->amount = out->refunded =
	    json_integer_value(json_object_get(tree, "amount"));
	return RC_OK;
}

static enum rc
stripe_refund(struct pay *pay, const struct pay_order *order,
    const char *intent, struct arena *arena, struct pay_intent *out,
    struct err *e)
{
	struct request rq;
	json_t *tree = NULL;
	long status = 0;
	enum rc rc;

	request_init(&rq, "POST", "/v1/refunds",
	    arena_concat(arena, order->order_id, ":refund", NULL));
	form_add(&rq, "payment_intent", intent);
	form_add(&rq, "metadata[order_id]", order->order_id);
	rc = send_request((struct stripe *)pay, &rq, arena, &status, &tree, e);
	if (rc == RC_OK)
		rc = status == 200 ? refund_read(tree, intent, arena, out, e)
				   : error_read(status, tree, e);
	/* Past the key's life a repeat is told so. */
	if (rc == RC_INVALID && strcmp(e->code, "charge_already_refunded") == 0)
		rc = stripe_look(pay, intent, arena, out, e);
	json_decref(tree);
	return rc;
}

const struct pay_driver pay_stripe = { .name = "stripe",
	.open = stripe_open,
	.close = stripe_close,
	.create = stripe_create,
	.confirm = stripe_confirm,
	.look = stripe_look,
	.find = stripe_find,
	.cancel = stripe_cancel,
	.refund = stripe_refund };
