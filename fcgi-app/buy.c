#include "fcgi-app/buy.h"

#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/form.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/private.h"
#include "shop/ids.h"
#include "shop/payment.h"

enum rc
buy_who(struct app *app, struct request *rq, struct response *rs,
    struct who *who, struct err *e)
{
	enum rc rc = guard_who(app, rq, who, e);

	if (rc == RC_OK)
		(void)private_form_token(app, rq, who, rs);
	return rc;
}

static bool
sandbox(const struct app *app)
{
	return strncmp(conf_str(app->conf, "payment", "provider"),
		   "sandbox:", 8) == 0;
}

struct page_form
buy_form(struct app *app, struct request *rq, const struct who *who, bool keyed,
    const struct fields *sent, const char *say)
{
	struct page_form form = { .token = guard_form_token(rq, who),
		.say = say,
		.sandbox = sandbox(app),
		.sent = sent };
	char key[EFFECT_ID_CHARS + 1];
	struct err e;

	if (!keyed || (sent != NULL && buy_key(sent, &form.key, &e) == RC_OK))
		return form;
	id_random(key);
	form.key = arena_strdup(rq->arena, key);
	return form;
}

enum rc
buy_key(const struct fields *sent, const char **key, struct err *e)
{
	const char *s = fields_get(sent, "key");
	/* As long as a guest's must be, whoever sends it: it is our form's. */
	enum rc rc = idempotency_key_check(s == NULL ? "" : s, true, e);

	if (rc == RC_OK)
		*key = s;
	return rc;
}

const char *
buy_person(struct request *rq, const struct who *who)
{
	return who->known ? arena_printf(rq->arena, "customer:%lld",
				(long long)who->session.customer_id)
			  : "guest";
}

enum rc
buy_token(struct app *app, const struct fields *sent, const char **token,
    struct err *e)
{
	*token = fields_get(sent, "payment_token");
	if (*token == NULL || !sandbox(app))
		*token = "";
	return payment_token_check(*token, e);
}

const char *
buy_busy(const struct request *rq, const struct err *e)
{
	log_warn("request_failed", LOG_I("status", 503), LOG_S("code", e->code),
	    LOG_S("error", e->msg), LOG_S("path", rq->path));
	return "busy";
}

enum rc
buy_page(struct request *rq, struct response *rs, int status,
    const struct strbuf *page)
{
	rs->status = status;
	rs->type = TYPE_HTML;
	rs->cache = NULL; /* private, no-store */
	rs->body = (struct span){ arena_memdup(rq->arena, page->s, page->len),
		page->len };
	if (status == 503)
		response_header(rs, rq->arena, "Retry-After", "2");
	return RC_OK;
}

enum rc
buy_login(struct request *rq, struct response *rs)
{
	struct strbuf sb;
	enum rc rc;

	strbuf_init(&sb, 128);
	strbuf_adds(&sb, rq->path);
	if (*rq->query_raw != '\0')
		strbuf_addf(&sb, "?%s", rq->query_raw);
	const char *back = arena_strdup(rq->arena, sb.s);

	strbuf_reset(&sb);
	strbuf_adds(&sb, "/login?next=");
	strbuf_add_urlarg(&sb, back, strlen(back));
	rc = private_see_other(rq, rs, arena_strdup(rq->arena, sb.s));
	strbuf_release(&sb);
	return rc;
}

bool
buy_number(const struct fields *sent, const char *name, int64_t min,
    int64_t max, int64_t *out)
{
	const char *s = fields_get(sent, name);

	*out = 0;
	if (s == NULL || *s == '\0')
		return true;
	return text_int(span_of(s), min, max, out);
}
