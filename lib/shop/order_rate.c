#include "shop/order_rate.h"

#include "base/arena.h"
#include "base/conf.h"
#include "base/text.h"
#include "shop/order.h"
#include "shop/shop.h"
#include "shop/throttle.h"

enum { WINDOW_S = 15 * 60 };

/* False: any number. */
static bool
rule_of(struct shop *shop, const char *what, const char *key,
    struct throttle_rule *out)
{
	int64_t n = conf_int(shop->conf, "order", key);

	*out = (struct throttle_rule){
		.what = what, .tries = (int)n, .window_s = WINDOW_S
	};
	return n > 0;
}

/* A guest is whom his order writes to, from where he is: the address alone
 * would let others keep its owner from ordering. */
static const char *
person(const struct order_req *req, const char *address, struct arena *arena)
{
	char *name;

	if (req->customer_id != 0)
		return arena_printf(
		    arena, "customer:%lld", (long long)req->customer_id);
	name = arena_concat(
	    arena, throttle_network(address, arena), " ", req->email, NULL);
	for (char *p = name; *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
	return name;
}

static enum rc
order_take(struct shop *shop, const struct order_req *req, const char *address,
    struct arena *arena, int *retry_after_s, struct err *e)
{
	struct throttle_rule rule;
	enum rc rc = RC_OK;

	if (rule_of(shop, "order", "per_customer", &rule))
		rc = throttle_take(shop->throttle, shop->redis, &rule,
		    person(req, address, arena), arena, retry_after_s, e);
	if (rc == RC_OK && req->customer_id == 0 &&
	    rule_of(shop, "order-guests", "per_network", &rule))
		rc = throttle_take(shop->throttle, shop->redis, &rule,
		    throttle_network(address, arena), arena, retry_after_s, e);
	return rc;
}

static void
order_give(struct shop *shop, const struct order_req *req, const char *address,
    struct arena *arena)
{
	struct throttle_rule rule;

	if (rule_of(shop, "order", "per_customer", &rule))
		throttle_give(shop->throttle, shop->redis, &rule, 100,
		    person(req, address, arena), arena);
	if (req->customer_id == 0 &&
	    rule_of(shop, "order-guests", "per_network", &rule))
		throttle_give(shop->throttle, shop->redis, &rule, 100,
		    throttle_network(address, arena), arena);
}

enum rc
order_place_counted(struct shop *shop, const struct order_req *req,
    const char *address, struct arena *arena, struct span *json, bool *again,
    int *retry_after_s, struct err *e)
{
	enum rc rc = order_take(shop, req, address, arena, retry_after_s, e);

	*again = false;
	if (rc != RC_OK)
		return rc;
	rc = order_place(shop, req, arena, json, again, e);
	if (rc != RC_OK || *again)
		order_give(shop, req, address, arena);
	return rc;
}

enum rc
cart_rate_take(struct shop *shop, const char *address, struct arena *arena,
    int *retry_after_s, struct err *e)
{
	struct throttle_rule rule;

	if (!rule_of(shop, "cart-guests", "per_network", &rule))
		return RC_OK;
	return throttle_take(shop->throttle, shop->redis, &rule,
	    throttle_network(address, arena), arena, retry_after_s, e);
}
