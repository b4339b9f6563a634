/*
 * POST /api/webhooks/stripe: what the payment provider has to tell. The
 * signature is over the body as it came, byte by byte. Answered as soon as the
 * event is written down: a task looks at the provider, not this request, which
 * Stripe gives a few seconds.
 *
 * 200 for what concerns us and what does not; 400 where the signature is not
 * right; 503 where it could not be written down: Stripe sends it again, for
 * three days.
 */
#include "base/arena.h"
#include "fcgi-app/app_int.h"
#include "shop/payment.h"
#include "store/pay.h"

/* For its secret: opening it connects nowhere. */
static enum rc
provider(struct app *app, struct err *e)
{
	return app->pay != NULL ? RC_OK
				: payment_provider(app->conf, &app->pay, e);
}

enum rc
api_webhook_stripe(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	enum rc rc;

	(void)m;
	if ((rc = provider(app, e)) != RC_OK ||
	    (rc = payment_webhook(app->shop, app->pay, rq->body,
		 request_param(rq, "HTTP_STRIPE_SIGNATURE"), rq->arena, e)) !=
		RC_OK)
		return rc;
	return answer_json(rs, 200, span_of("{\"received\":true}"));
}
