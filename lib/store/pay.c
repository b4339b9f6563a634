/*
 * Which driver, and what all of them share: the check of a webhook. The sandbox
 * takes events signed in Stripe's way too, so that a shop's path for them can
 * be tried out without an account.
 */
#include "store/pay.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/pay_int.h"

/* Older or newer than that, an event may be a recording played again. */
enum { TOLERANCE_S = 300 };

enum rc
pay_open(const struct pay_opts *opts, struct pay **out, struct err *e)
{
	static const struct {
		const char *url;
		const struct pay_driver *driver;
	} drivers[] = { { "sandbox:", &pay_sandbox },
		{ "stripe:", &pay_stripe } };

	if (sodium_init() < 0)
		return err_set(
		    e, RC_FAIL, "sodium", "libsodium does not start");
	for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
		if (strcmp(opts->url, drivers[i].url) != 0)
			continue;
		enum rc rc = drivers[i].driver->open(opts, out, e);

		if (rc != RC_OK)
			return rc;
		(*out)->driver = drivers[i].driver;
		(*out)->webhook_secret = xstrdup(
		    opts->webhook_secret == NULL ? "" : opts->webhook_secret);
		return RC_OK;
	}
	return err_set(e, RC_INVALID, "bad_configuration",
	    "[payment] provider: write sandbox: or stripe:");
}

void
pay_close(struct pay *pay)
{
	if (pay == NULL)
		return;
	free(pay->webhook_secret);
	pay->driver->close(pay);
}

const char *
pay_name(const struct pay *pay)
{
	return pay->driver->name;
}

enum rc
pay_create(struct pay *pay, const struct pay_order *order, struct arena *arena,
    struct pay_intent *out, struct err *e)
{
	return pay->driver->create(pay, order, arena, out, e);
}

enum rc
pay_confirm(struct pay *pay, const struct pay_order *order, const char *intent,
    int attempt, const char *token, struct arena *arena, struct pay_intent *out,
    struct err *e)
{
	return pay->driver->confirm(
	    pay, order, intent, attempt, token, arena, out, e);
}

enum rc
pay_look(struct pay *pay, const char *intent, struct arena *arena,
    struct pay_intent *out, struct err *e)
{
	return pay->driver->look(pay, intent, arena, out, e);
}

enum rc
pay_find(struct pay *pay, const char *order_id, struct arena *arena,
    struct pay_intent *out, struct err *e)
{
	return pay->driver->find(pay, order_id, arena, out, e);
}

enum rc
pay_cancel(struct pay *pay, const struct pay_order *order, const char *intent,
    struct arena *arena, struct pay_intent *out, struct err *e)
{
	return pay->driver->cancel(pay, order, intent, arena, out, e);
}

enum rc
pay_refund(struct pay *pay, const struct pay_order *order, const char *intent,
    struct arena *arena, struct pay_intent *out, struct err *e)
{
	return pay->driver->refund(pay, order, intent, arena, out, e);
}

/* ---- webhooks: https://docs.stripe.com/webhooks#verify-manually */

static enum rc
bad_signature(struct err *e, const char *why)
{
	return err_set(e, RC_REFUSED, "bad_signature",
	    "The event's signature is not right: %s", why);
}

/* HMAC-SHA256 of "<t>.<body>" under the secret, as it is written. */
static void
signature_make(const char *secret, struct span t, struct span body,
    unsigned char mac[crypto_auth_hmacsha256_BYTES])
{
	crypto_auth_hmacsha256_state st;

	(void)crypto_auth_hmacsha256_init(
	    &st, (const unsigned char *)secret, strlen(secret));
	(void)crypto_auth_hmacsha256_update(
	    &st, (const unsigned char *)t.p, t.n);
	(void)crypto_auth_hmacsha256_update(&st, (const unsigned char *)".", 1);
	if (body.n > 0)
		(void)crypto_auth_hmacsha256_update(
		    &st, (const unsigned char *)body.p, body.n);
	(void)crypto_auth_hmacsha256_final(&st, mac);
}

static bool
signature_eq(struct span hex, const unsigned char *mac)
{
	unsigned char got[crypto_auth_hmacsha256_BYTES];
	size_t n = 0;

	if (hex.n != 2 * sizeof got ||
	    sodium_hex2bin(got, sizeof got, hex.p, hex.n, NULL, &n, NULL) !=
		0 ||
	    n != sizeof got)
		return false;
	return sodium_memcmp(got, mac, sizeof got) == 0;
}

/* The next "name=value" of the header, parted by ','. */
static bool
next_pair(const char **p, struct span *name, struct span *value)
{
	if (**p == '\0')
		return false;
	size_t n = strcspn(*p, ",");
	const char *eq = memchr(*p, '=', n);

	*name = (struct span){ *p, eq == NULL ? n : (size_t)(eq - *p) };
	*value = eq == NULL
		     ? (struct span){ *p + n, 0 }
		     : (struct span){ eq + 1, (size_t)(*p + n - eq - 1) };
	*p += n;
	if (**p == ',')
		(*p)++;
	return true;
}

/*
 * "t=1492774577,v1=5257a8...,v1=...,v0=...": one v1 for each secret that is
 * valid while it is being changed. v0 is of test events and never counts.
 */
static enum rc
signature_check(const char *secret, struct span body, const char *header,
    int64_t now_s, struct err *e)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	struct span name, value, t = { 0 };
	const char *p = header;
	int64_t at = 0;
	bool right = false;

	if (*secret == '\0')
		return bad_signature(e, "no secret is set");
	if (header == NULL)
		return bad_signature(e, "there is none");
	while (next_pair(&p, &name, &value)) {
		if (span_is(name, "t"))
			t = value;
	}
	if (!text_int(t, 0, INT64_MAX / 2, &at))
		return bad_signature(e, "it has no time");
	signature_make(secret, t, body, mac);
	p = header;
	while (next_pair(&p, &name, &value)) {
		if (span_is(name, "v1") && signature_eq(value, mac))
			right = true;
	}
	sodium_memzero(mac, sizeof mac);
	if (!right)
		return bad_signature(e, "no v1 is of this body and secret");
	if (at < now_s - TOLERANCE_S || at > now_s + TOLERANCE_S)
		return bad_signature(e, "its time is too far from ours");
	return RC_OK;
}

/* The events that may tell something about an order. All others are theirs who
 * use the same account for more than the shop. */
static bool
event_matters(const char *type)
{
	static const char *const types[] = { "payment_intent.succeeded",
		"payment_intent.payment_failed", "payment_intent.canceled",
		"charge.refunded" };

	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (strcmp(types[i], type) == 0)
			return true;
	}
	return false;
}

static const char *
text_of(const json_t *object, const char *name, struct arena *arena)
{
	const char *s = json_string_value(json_object_get(object, name));

	return arena_strdup(arena, s == NULL ? "" : s);
}

static enum rc
event_read(const json_t *tree, struct arena *arena, struct pay_event *out,
    struct err *e)
{
	const json_t *object =
	    json_object_get(json_object_get(tree, "data"), "object");
	struct pay_event ev = { .id = text_of(tree, "id", arena),
		.type = text_of(tree, "type", arena),
		.order_id = text_of(
		    json_object_get(object, "metadata"), "order_id", arena) };

	if (!event_matters(ev.type))
		return err_set(e, RC_NONE, "", "%s", ev.type);
	/* A charge names its intent, an intent itself. */
	ev.intent = text_of(object,
	    strncmp(ev.type, "charge.", 7) == 0 ? "payment_intent" : "id",
	    arena);
	if (*ev.id == '\0' || strlen(ev.id) > 255 || !text_plain(ev.id))
		return err_set(
		    e, RC_INVALID, "invalid_field", "the event has no id");
	*out = ev;
	return RC_OK;
}

enum rc
pay_webhook(struct pay *pay, struct span body, const char *signature,
    int64_t now_s, struct arena *arena, struct pay_event *out, struct err *e)
{
	enum rc rc =
	    signature_check(pay->webhook_secret, body, signature, now_s, e);

	if (rc != RC_OK)
		return rc;
	json_t *tree = json_loadb(body.p, body.n, 0, NULL);

	rc = json_is_object(tree) ? event_read(tree, arena, out, e)
				  : err_set(e, RC_INVALID, "invalid_json",
					"the event is no JSON object");
	json_decref(tree);
	return rc;
}
