/*
 * The checkout: from the cart to an order. The form's key names the order, so
 * a second click, a reload or a second try after a failure finds the first
 * one's; it is looked up before the cart, which is empty by then.
 */
#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/form.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "fcgi-app/account.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/buy.h"
#include "fcgi-app/private.h"
#include "fcgi-app/route.h"
#include "shop/cart.h"
#include "shop/ids.h"
#include "shop/order.h"
#include "shop/order_rate.h"
#include "store/mail.h"

enum { CHECKS = 8 };

struct checkout {
	struct app *app;
	struct request *rq;
	struct response *rs;
	struct who who;
	struct cart_who cart_who;
	struct span cart; /* shop/cart.h */
	struct fields sent;
	int n; /* mistakes */
	struct page_check wrong[CHECKS];
	const char *key;
	char id[EFFECT_ID_CHARS + 1];
	char access[SECRET_CHARS + 1]; /* of a guest; "" none */
};

static enum rc
begin(struct checkout *c, struct app *app, struct request *rq,
    struct response *rs, struct err *e)
{
	enum rc rc;

	*c = (struct checkout){ .app = app, .rq = rq, .rs = rs };
	if ((rc = buy_who(app, rq, rs, &c->who, e)) != RC_OK)
		return rc;
	c->cart_who = (struct cart_who){
		.customer_id = c->who.known ? c->who.session.customer_id : 0,
		.token = c->who.guest
	};
	return RC_OK;
}

static enum rc
show(struct checkout *c, const struct fields *sent, int status, const char *say,
    struct err *e)
{
	const struct page_form form =
	    buy_form(c->app, c->rq, &c->who, true, sent, say);
	struct strbuf sb;
	enum rc rc;

	strbuf_init(&sb, 16 << 10);
	rc = page_checkout_render(c->app->pages, c->cart,
	    c->who.known ? c->who.session.email : NULL, c->n, c->wrong, &form,
	    &sb, e);
	if (rc == RC_OK)
		rc = buy_page(c->rq, c->rs, status, &sb);
	strbuf_release(&sb);
	return rc;
}

/* Parse the cart: gives *tree. */
static enum rc
cart_read(struct checkout *c, json_t **tree, struct err *e)
{
	enum rc rc =
	    cart_get(c->app->shop, &c->cart_who, c->rq->arena, &c->cart, e);

	if (rc != RC_OK)
		return rc;
	*tree = json_loadb(c->cart.p, c->cart.n, 0, NULL);
	return *tree != NULL ? RC_OK
			     : err_set(e, RC_FAIL, "bad_record", "cart");
}

enum rc
page_checkout(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct checkout c;
	json_t *cart;
	bool ready;
	enum rc rc = begin(&c, app, rq, rs, e);

	(void)m;
	if (rc != RC_OK || (rc = cart_read(&c, &cart, e)) != RC_OK)
		return rc;
	ready = json_is_true(json_object_get(cart, "ready"));
	json_decref(cart);
	return ready ? show(&c, NULL, 200, NULL, e)
		     : private_see_other(
			   rq, rs, "/cart"); /* it says what is wrong */
}

/* ---- what was filled in */

static const struct {
	const char *field, *member; /* NULL: not of the address */
	bool required;
} parts[] = {
	{ "email", NULL, true },
	{ "name", "name", true },
	{ "line1", "line1", true },
	{ "line2", "line2", false },
	{ "postal_code", "postalCode", true },
	{ "city", "city", true },
	{ "region", "region", false },
	{ "country", "country", true },
};

_Static_assert(sizeof parts / sizeof parts[0] <= CHECKS, "a place each");

static void
mistake(struct checkout *c, const char *field, const char *wrong)
{
	c->wrong[c->n++] = (struct page_check){ field, wrong };
}

/* Two letters, however they were typed. In the arena. */
static const char *
country_code(struct request *rq, const char *s)
{
	char *code = arena_strdup(rq->arena, s + strspn(s, " "));

	code[strcspn(code, " ")] = '\0';
	for (char *p = code; *p != '\0'; p++) {
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
	}
	return code;
}

/* Members that were left empty are left out. Gives the address. */
static json_t *
address_read(struct checkout *c)
{
	json_t *address = json_object();

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		const char *s = fields_get(&c->sent, parts[i].field);

		if (s == NULL || text_blank(s)) {
			if (parts[i].required)
				mistake(c, parts[i].field, "missing");
			continue;
		}
		if (parts[i].member == NULL) {
			if (!mail_address_ok(s))
				mistake(c, parts[i].field, "invalid");
			continue;
		}
		if (strcmp(parts[i].member, "country") == 0)
			s = country_code(c->rq, s);
		json_object_set_new(address, parts[i].member, json_string(s));
	}
	return address;
}

/*
 * The domain's own check of the address; the member that it names is the
 * field that is wrong: each is tried alone against an address that is right.
 */
static enum rc
address_check(struct checkout *c, json_t **out, struct err *e)
{
	json_t *address = address_read(c), *one;
	enum rc rc = RC_OK;

	*out = NULL;
	if (c->n == 0)
		rc = order_address_check(address, out, e);
	for (size_t i = 1;
	     rc == RC_INVALID && i < sizeof parts / sizeof parts[0]; i++) {
		const char *member = parts[i].member;
		json_t *trial =
		    json_pack("{s:s,s:s,s:s,s:s,s:s}", "name", "A", "line1",
			"B", "city", "C", "postalCode", "1", "country", "US");
		struct err why;

		one = json_object_get(address, member);
		if (one != NULL) {
			json_t *checked = NULL;

			json_object_set(trial, member, one);
			if (order_address_check(trial, &checked, &why) != RC_OK)
				mistake(c, parts[i].field, "invalid");
			json_decref(checked);
		}
		json_decref(trial);
	}
	json_decref(address);
	return rc == RC_INVALID ? RC_OK : rc;
}

/* ---- placing it */

static enum rc
see_order(struct checkout *c)
{
	return private_see_other(c->rq, c->rs,
	    arena_concat(c->rq->arena, "/orders/", c->id,
		*c->access != '\0' ? "?t=" : "", c->access, NULL));
}

/* RC_OK: the order of this form stands. */
static enum rc
look_up(struct checkout *c, struct err *e)
{
	const struct order_who who = { .customer_id = c->cart_who.customer_id,
		.access_token = c->access };
	struct span json;

	return order_get(c->app->shop, c->id, &who, c->rq->arena, &json, e);
}

static enum rc
place(struct checkout *c, const json_t *cart, const json_t *address,
    struct err *e)
{
	const json_t *lines = json_object_get(cart, "lines");
	size_t n = json_array_size(lines);
	struct order_line_req *reqs =
	    arena_calloc(c->rq->arena, n + 1, sizeof *reqs);
	unsigned char hash[BODY_HASH_BYTES];
	struct order_req req = { .id = c->id,
		.body_hash = hash,
		.customer_id = c->cart_who.customer_id,
		.access_token = c->access,
		.email = fields_get(&c->sent, "email"),
		.address = address,
		.n = (int)n,
		.lines = reqs };
	struct span json;
	bool again;
	int wait_s = 0;
	enum rc rc = buy_token(c->app, &c->sent, &req.token, e);

	if (rc != RC_OK)
		return rc;
	for (size_t i = 0; i < n; i++) {
		const json_t *line = json_array_get(lines, i);

		reqs[i].product_id =
		    json_integer_value(json_object_get(line, "productId"));
		reqs[i].variant_id =
		    json_integer_value(json_object_get(line, "variantId"));
		reqs[i].quantity =
		    json_integer_value(json_object_get(line, "quantity"));
	}
	body_hash(c->rq->body, hash);
	rc = order_place_counted(c->app->shop, &req, c->rq->remote_addr,
	    c->rq->arena, &json, &again, &wait_s, e);
	account_retry_after(c->rq, c->rs, wait_s);
	return rc;
}

/* The order stands: what was ordered leaves the cart. Where that fails it is
 * still in there, which the person sees and we log. */
static enum rc
placed(struct checkout *c)
{
	struct err e = ERR_INIT;

	if (cart_ordered(c->app->shop, &c->cart_who, c->id, c->rq->arena, &e) !=
	    RC_OK)
		log_warn(
		    "cart_kept", LOG_S("order", c->id), LOG_S("error", e.msg));
	return see_order(c);
}

/* What the person saw is what he pays, or he is told first. */
static bool
total_is_as_shown(const struct checkout *c, const json_t *cart)
{
	int64_t shown;

	return buy_number(&c->sent, "shown_total", 0, INT64_MAX, &shown) &&
	       shown == json_integer_value(json_object_get(cart, "total"));
}

static enum rc
try_to_place(struct checkout *c, const json_t *cart, struct err *e)
{
	json_t *address;
	enum rc rc;

	if (json_array_size(json_object_get(cart, "lines")) == 0 ||
	    !json_is_true(json_object_get(cart, "ready")))
		/* Another click may have emptied it since the first look. */
		return look_up(c, e) == RC_OK
			   ? see_order(c)
			   : private_see_other(c->rq, c->rs, "/cart");
	if ((rc = address_check(c, &address, e)) != RC_OK)
		return rc;
	if (c->n > 0 || address == NULL)
		return show(c, &c->sent, 422, NULL, e);
	if (!total_is_as_shown(c, cart)) {
		json_decref(address);
		return show(c, &c->sent, 409, "total_changed", e);
	}
	rc = place(c, cart, address, e);
	json_decref(address);
	if (rc == RC_OK)
		return placed(c);
	if (strcmp(e->code, "idempotency_mismatch") == 0 &&
	    look_up(c, e) == RC_OK)
		return see_order(c); /* two windows at once */
	if (rc == RC_RETRY)
		return show(c, &c->sent, 503, buy_busy(c->rq, e), e);
	if (rc == RC_REFUSED || rc == RC_INVALID || rc == RC_NONE)
		return show(c, &c->sent, route_status(rc, e->code),
		    rc == RC_NONE ? "out_of_stock" : e->code, e);
	return rc;
}

enum rc
page_checkout_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct checkout c;
	json_t *cart;
	enum rc rc = begin(&c, app, rq, rs, e);

	(void)m;
	if (rc != RC_OK)
		return rc;
	rc = guard_form(app, rq, &c.who, &c.sent, e);
	if (rc != RC_OK && strcmp(e->code, "stale_form") != 0)
		return rc;
	bool stale = rc != RC_OK;

	if (!stale) {
		if ((rc = buy_key(&c.sent, &c.key, e)) != RC_OK)
			return rc;
		id_of_effect(
		    buy_person(rq, &c.who), "POST", "/checkout", c.key, c.id);
		if (!c.who.known)
			order_access_token(c.key, c.id, c.access);
		rc = look_up(&c, e);
		if (rc == RC_OK)
			return see_order(&c);
		if (rc != RC_NONE)
			return rc;
	}
	if ((rc = cart_read(&c, &cart, e)) != RC_OK)
		return rc;
	if (stale)
		rc = json_is_true(json_object_get(cart, "ready"))
			 ? show(&c, &c.sent, 403, "stale_form", e)
			 : private_see_other(rq, rs, "/cart");
	else
		rc = try_to_place(&c, cart, e);
	json_decref(cart);
	return rc;
}
