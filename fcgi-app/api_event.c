/*
 * POST /api/events (DESIGN 4.2). One lookup of the session that the process
 * knows as a rule, one INSERT; what comes of it is the analytics worker's.
 */
#include <jansson.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/text.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/guard.h"
#include "shop/event.h"
#include "shop/throttle.h"

/* So many a minute from one network: each is a row of the database. */
static enum rc
rate_check(
    struct app *app, struct request *rq, struct response *rs, struct err *e)
{
	int64_t per_minute = conf_int(app->conf, "analytics", "events");
	struct throttle_rule rule = { "events", (int)per_minute, 60 };
	char wait[TEXT_NUM];
	int retry_after_s = 0;
	enum rc rc;

	if (per_minute == 0)
		return RC_OK;
	rc = throttle_take(app->shop->throttle, app->shop->redis, &rule,
	    throttle_network(rq->remote_addr, rq->arena), rq->arena,
	    &retry_after_s, e);
	if (rc == RC_REFUSED)
		response_header(rs, rq->arena, "Retry-After",
		    arena_strdup(rq->arena, text_num(retry_after_s, wait)));
	return rc;
}

enum rc
api_event_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct who who = { 0 };
	json_t *body = NULL;
	enum rc rc;

	(void)m;
	/* Before it is parsed: white space and members that nobody asked for
	 * may make up the difference. */
	if (rq->body.n > 2 * EVENT_DATA_BYTES)
		return err_set(e, RC_INVALID, "body_too_large",
		    "An event is at most %d bytes", 2 * EVENT_DATA_BYTES);
	if ((rc = guard_json(app, rq, &body, e)) != RC_OK)
		return rc;
	if ((rc = rate_check(app, rq, rs, e)) == RC_OK)
		rc = guard_who(app, rq, &who, e);
	if (rc == RC_OK)
		rc = event_accept(app->shop, body,
		    who.known ? who.session.customer_id : 0, rq->arena, e);
	json_decref(body);
	return rc == RC_OK ? answer_json(rs, 202, span_of("{}")) : rc;
}
