/*
 * The cart's page, and the page before something is put into it. That one is
 * what a product's form leads to: the product's page is the same for everybody
 * and holds no token. With scripts on, souk.js fetches it and sends its form.
 */
#include <string.h>

#include "base/arena.h"
#include "base/form.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/buy.h"
#include "fcgi-app/private.h"
#include "shop/cart.h"
#include "shop/catalog.h"
#include "store/cache.h"

static struct cart_who
whose(const struct who *who)
{
	return (struct cart_who){ .customer_id =
				      who->known ? who->session.customer_id : 0,
		.token = who->guest };
}

static enum rc
show_cart(struct app *app, struct request *rq, const struct who *who,
    struct response *rs, int status, const char *say, struct err *e)
{
	const struct cart_who cart_who = whose(who);
	const struct page_form form = buy_form(app, rq, who, false, NULL, say);
	struct strbuf sb;
	struct span cart;
	enum rc rc = cart_get(app->shop, &cart_who, rq->arena, &cart, e);

	if (rc != RC_OK)
		return rc;
	strbuf_init(&sb, 16 << 10);
	rc = page_cart_render(app->pages, cart, &form, &sb, e);
	if (rc == RC_OK)
		rc = buy_page(rq, rs, status, &sb);
	strbuf_release(&sb);
	return rc;
}

enum rc
page_cart(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	/* What an address may make the page say: nothing but these. */
	static const char *const known[] = { "added", "updated", "removed" };
	const char *say = fields_get(&rq->query, "say"), *said = NULL;
	struct who who;
	enum rc rc = buy_who(app, rq, rs, &who, e);

	(void)m;
	for (size_t i = 0; say != NULL && i < sizeof known / sizeof *known;
	     i++) {
		if (strcmp(say, known[i]) == 0)
			said = known[i];
	}
	return rc != RC_OK ? rc : show_cart(app, rq, &who, rs, 200, said, e);
}

static enum rc
show_add(struct app *app, struct request *rq, const struct who *who,
    const struct fields *asked, struct response *rs, int status,
    const char *say, struct err *e)
{
	const struct page_form form = buy_form(app, rq, who, false, asked, say);
	int64_t product, variant, quantity;
	struct cache_entry entry;
	struct strbuf sb;
	enum rc rc;

	if (!buy_number(asked, "product", 1, INT64_MAX, &product) ||
	    !buy_number(asked, "variant", 1, INT64_MAX, &variant) ||
	    product == 0)
		return err_set(e, RC_NONE, "product_not_found", "No product");
	if (!buy_number(asked, "quantity", 1, CART_MAX_QUANTITY, &quantity) ||
	    quantity == 0)
		quantity = 1;
	rc = catalog_get(app->shop, product, rq->arena, &entry, e);
	if (rc != RC_OK)
		return rc;
	strbuf_init(&sb, 8 << 10);
	rc = page_cart_add_render(
	    app->pages, entry.body, variant, quantity, &form, &sb, e);
	if (rc == RC_OK)
		rc = buy_page(rq, rs, status, &sb);
	strbuf_release(&sb);
	return rc;
}

enum rc
page_cart_add(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct who who;
	enum rc rc = buy_who(app, rq, rs, &who, e);

	(void)m;
	return rc != RC_OK
		   ? rc
		   : show_add(app, rq, &who, &rq->query, rs, 200, NULL, e);
}

/* ---- changing it */

static enum rc
add(struct app *app, struct request *rq, const struct who *who,
    const struct fields *sent, struct response *rs, struct err *e)
{
	struct cart_who cart_who = whose(who);
	int64_t product, variant, quantity;
	char token[SECRET_CHARS + 1] = "";
	enum rc rc;

	if (!buy_number(sent, "product", 1, INT64_MAX, &product) ||
	    !buy_number(sent, "variant", 1, INT64_MAX, &variant))
		return err_set(e, RC_NONE, "product_not_found", "No product");
	if (!buy_number(sent, "quantity", 1, CART_MAX_QUANTITY, &quantity) ||
	    quantity == 0)
		return show_add(app, rq, who, sent, rs, 422, "bad_quantity", e);
	cart_who.address = rq->remote_addr;
	rc = cart_add(app->shop, &cart_who, product, variant, quantity,
	    rq->arena, token, e);
	if (rc == RC_REFUSED && strcmp(e->code, "cart_full") == 0)
		return show_add(app, rq, who, sent, rs, 409, "cart_full", e);
	if (rc == RC_REFUSED && strcmp(e->code, "too_many_tries") == 0)
		return show_add(
		    app, rq, who, sent, rs, 429, "too_many_tries", e);
	if (rc == RC_INVALID) /* variant_required */
		return show_add(app, rq, who, sent, rs, 422, "other", e);
	if (rc != RC_OK)
		return rc;
	if (*token != '\0')
		guard_set_guest(app, rq, rs, arena_strdup(rq->arena, token));
	return private_see_other(rq, rs, "/cart?say=added");
}

static enum rc
set(struct app *app, struct request *rq, const struct who *who, int64_t variant,
    int64_t quantity, struct err *e)
{
	const struct cart_who cart_who = whose(who);
	enum rc rc =
	    cart_set(app->shop, &cart_who, variant, quantity, rq->arena, e);

	return rc == RC_NONE ? RC_OK : rc; /* gone in another window */
}

/* Fields q_<variant>: all are read before one is written. */
static enum rc
update(struct app *app, struct request *rq, const struct who *who,
    const struct fields *sent, struct response *rs, struct err *e)
{
	const char *todo = fields_get(sent, "do");

	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < sent->n; i++) {
			const struct field *f = &sent->f[i];
			int64_t variant, quantity;
			enum rc rc;

			if (strncmp(f->name, "q_", 2) != 0)
				continue;
			if (!text_int(
				span_of(f->name + 2), 1, INT64_MAX, &variant) ||
			    !text_int(span_of(f->value), 0, CART_MAX_QUANTITY,
				&quantity))
				return show_cart(
				    app, rq, who, rs, 422, "bad_quantity", e);
			if (pass == 1 && (rc = set(app, rq, who, variant,
					      quantity, e)) != RC_OK)
				return rc;
		}
	}
	return private_see_other(rq, rs,
	    todo != NULL && strcmp(todo, "checkout") == 0
		? "/checkout"
		: "/cart?say=updated");
}

enum rc
page_cart_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct fields sent;
	struct who who;
	int64_t variant;
	enum rc rc = buy_who(app, rq, rs, &who, e);

	(void)m;
	if (rc != RC_OK)
		return rc;
	if ((rc = guard_form(app, rq, &who, &sent, e)) != RC_OK) {
		if (strcmp(e->code, "stale_form") != 0)
			return rc;
		return fields_get(&sent, "product") != NULL
			   ? show_add(
				 app, rq, &who, &sent, rs, 403, "stale_form", e)
			   : show_cart(app, rq, &who, rs, 403, "stale_form", e);
	}
	if (fields_get(&sent, "product") != NULL)
		return add(app, rq, &who, &sent, rs, e);
	if (!buy_number(&sent, "remove", 1, INT64_MAX, &variant) ||
	    variant == 0)
		return update(app, rq, &who, &sent, rs, e);
	if ((rc = set(app, rq, &who, variant, 0, e)) != RC_OK)
		return rc;
	return private_see_other(rq, rs, "/cart?say=removed");
}
