/*
 * Asking the provider. Each function reads how the payment stands in a
 * transaction that it ends before it calls anybody, and writes what came of it
 * in another (payment_settle). Killed in between, the same task comes again and
 * asks under the same keys: the provider gives the same answer, and the second
 * transaction is written once.
 *
 *	transaction: order locked, payment and attempt inserted
 *	    pay_create    key: order            the intent's id is stored
 *	    pay_confirm   key: order, attempt
 *	transaction: task finished, attempt, payment and order moved
 *
 * An order cancelled meanwhile has a refund_payment task of its own, which may
 * run at any of these points: it cancels the intent, or refunds what was paid.
 * The confirm then finds a cancelled intent, or the refund a paid one.
 */
#include "shop/payment.h"

#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/text.h"
#include "shop/payment_int.h"
#include "shop/shop.h"
#include "store/outbox.h"
#include "store/pay.h"
#include "store/pg.h"
#include "store/queue.h"

/* What the buyer is told when the provider did not even try. */
#define NOT_ACCEPTED "The payment was not accepted; please use another card."

static const struct pg_stmt payment_insert = { "payment_insert",
	"INSERT INTO payment (order_id, provider, amount, currency)"
	" SELECT id, $2, total, currency FROM orders WHERE id = $1"
	" ON CONFLICT DO NOTHING",
	2 };

static const struct pg_stmt attempt_asked = { "payment_attempt_asked",
	"UPDATE payment_attempt SET asked_at = clock_timestamp()"
	" WHERE order_id = $1 AND outcome = 'unknown'",
	1 };

static const struct pg_stmt intent_store = { "payment_intent_store",
	"UPDATE payment SET intent = $2, updated_at = now()"
	" WHERE order_id = $1 AND intent = ''",
	2 };

/* ---- a task's data */

struct job {
	const char *order_id, *task_id, *token;
	int attempt;
	bool look;
};

static bool
is_order_id(const char *s)
{
	return s != NULL && strlen(s) == 32 &&
	       strspn(s, "0123456789abcdef") == 32;
}

static enum rc
job_read(const struct task *task, struct arena *arena, struct job *out,
    struct err *e)
{
	json_t *tree = json_loadb(task->data.p, task->data.n, 0, NULL);
	const char *id = json_string_value(json_object_get(tree, "orderId"));
	const char *token = json_string_value(json_object_get(tree, "token"));
	const json_t *attempt = json_object_get(tree, "attempt");
	enum rc rc = RC_OK;

	*out = (struct job){ .order_id = arena_strdup(arena, id ? id : ""),
		.task_id = task->id,
		.token = arena_strdup(arena, token ? token : ""),
		.attempt =
		    attempt == NULL ? 1 : (int)json_integer_value(attempt),
		.look = json_is_true(json_object_get(tree, "look")) };
	if (!is_order_id(id) || out->attempt < 1)
		rc = err_set(e, RC_INVALID, "bad_task",
		    "task %s: no orderId or attempt", task->id);
	json_decref(tree);
	return rc;
}

/* ---- the provider */

enum rc
payment_provider(const struct conf *conf, struct pay **out, struct err *e)
{
	return pay_open(
	    &(struct pay_opts){
		.url = conf_str(conf, "payment", "provider"),
		.pg_url = conf_str(conf, "postgres", "url"),
		.secret_key = conf_str(conf, "payment", "stripe_key"),
		.webhook_secret =
		    conf_str(conf, "payment", "stripe_webhook_secret"),
		.api_base = conf_str(conf, "payment", "stripe_api"),
		.timeout_ms = (int)conf_int(conf, "payment", "timeout"),
		.pooler = strcmp(conf_str(conf, "postgres", "pooler"),
			      "transaction") == 0,
	    },
	    out, e);
}

static struct pay_order
order_of(const struct payment_state *st)
{
	return (struct pay_order){ .order_id = st->order.id,
		.amount = st->amount,
		.currency = st->currency,
		.email = st->order.email };
}

/*
 * The intent's id, where it is not stored: made, or learnt, under the order's
 * key; past the key's life only looked for. RC_NONE: there is none and will be
 * none. RC_INVALID: the provider refuses to make one.
 */
static enum rc
learn_intent(struct shop *shop, struct pay *pay, struct payment_state *st,
    struct arena *arena, struct err *e)
{
	struct pay_order order = order_of(st);
	struct pg_args args = { 0 };
	struct pay_intent found;
	enum rc rc;

	if (st->intent[0] != '\0')
		return RC_OK;
	rc = st->key_lives ? pay_create(pay, &order, arena, &found, e)
			   : pay_find(pay, order.order_id, arena, &found, e);
	/* Made by another version of the shop, in other words. */
	if (rc == RC_INVALID && strcmp(e->code, "pay_key_reused") == 0) {
		rc = pay_find(pay, order.order_id, arena, &found, e);
		if (rc == RC_NONE) /* the search is not up to date */
			rc = err_set(e, RC_RETRY, "payment_unknown",
			    "The payment is not to be found yet");
	}
	if (rc != RC_OK)
		return rc;
	st->intent = found.id;
	pg_arg_str(&args, st->order.id);
	pg_arg_str(&args, st->intent);
	return pg_exec(
	    shop->pg, PG_PRIMARY, &intent_store, &args, arena, NULL, e);
}

static enum rc
check_provider(
    const struct payment_state *st, const struct pay *pay, struct err *e)
{
	if (!st->there || strcmp(st->provider, pay_name(pay)) == 0)
		return RC_OK;
	return err_set(e, RC_FAIL, "other_provider",
	    "order %s is paid for at %s, [payment] provider is %s",
	    st->order.id, st->provider, pay_name(pay));
}

static enum rc
undecided(struct err *e)
{
	return err_set(e, RC_RETRY, "payment_unknown",
	    "What became of the payment is not known yet");
}

/* A free order asks nobody. */
static struct pay_intent
for_nothing(enum pay_outcome outcome)
{
	return (struct pay_intent){ .outcome = outcome, .error = "" };
}

/* ---- undoing: of a cancelled or refunded order */

static enum rc
take_back(struct shop *shop, struct pay *pay, struct payment_state *st,
    struct arena *arena, struct pay_intent *said, struct err *e)
{
	struct pay_order order = order_of(st);
	enum rc rc;

	if (st->amount == 0 && st->status != PS_CAPTURED) {
		*said = for_nothing(PAY_CANCELLED);
		return RC_OK;
	}
	if (st->amount > 0) {
		rc = learn_intent(shop, pay, st, arena, e);
		if (rc == RC_NONE || rc == RC_INVALID) { /* never made */
			*said = for_nothing(PAY_CANCELLED);
			return RC_OK;
		}
		if (rc != RC_OK)
			return rc;
	}
	said->outcome = PAY_PAID;
	if (st->status != PS_CAPTURED &&
	    (rc = pay_cancel(pay, &order, st->intent, arena, said, e)) != RC_OK)
		return rc;
	if (said->outcome == PAY_CANCELLED)
		return RC_OK;
	if (said->outcome != PAY_PAID)
		return undecided(e);
	if (st->amount > 0 &&
	    (rc = pay_refund(pay, &order, st->intent, arena, said, e)) != RC_OK)
		return rc;
	said->id = st->intent;
	said->amount = said->refunded = st->amount;
	return RC_OK;
}

static enum rc
undo(struct shop *shop, struct pay *pay, struct payment_state *st,
    const struct job *job, struct arena *arena, struct err *e)
{
	struct verdict v = { .order_id = job->order_id,
		.task_id = job->task_id,
		.attempt = st->attempt };
	enum rc rc;

	if (!st->there || st->status == PS_CANCELLED ||
	    st->status == PS_REFUNDED)
		return RC_OK;
	rc = take_back(shop, pay, st, arena, &v.said, e);
	return rc == RC_OK ? payment_settle(shop, &v, arena, e) : rc;
}

/* How it stands, seen for a moment. */
static enum rc
see(struct shop *shop, const struct pay *pay, const char *order_id,
    struct arena *arena, struct payment_state *st, struct err *e)
{
	enum rc rc;

	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = payment_load(shop, order_id, arena, st, e);
	pg_rollback(shop->pg);
	return rc == RC_OK ? check_provider(st, pay, e) : rc;
}

enum rc
payment_refund(struct shop *shop, struct pay *pay, const struct task *task,
    struct arena *arena, struct err *e)
{
	struct payment_state st;
	struct job job;
	enum rc rc;

	if ((rc = job_read(task, arena, &job, e)) != RC_OK ||
	    (rc = see(shop, pay, job.order_id, arena, &st, e)) != RC_OK)
		return rc;
	if (st.order.status != OS_CANCELLED && st.order.status != OS_REFUNDED)
		return err_set(e, RC_REFUSED, "wrong_state",
		    "order %s is %s: its payment is kept", st.order.id,
		    order_status_name(st.order.status));
	return undo(shop, pay, &st, &job, arena, e);
}

/* ---- paying */

enum next { NOTHING, PAY, UNDO };

/* Within the transaction: is the attempt to be made? Then it stands in the
 * database before anybody is called. */
static enum rc
begin(struct shop *shop, const struct pay *pay, const struct job *job,
    struct arena *arena, struct payment_state *st, enum next *next,
    struct err *e)
{
	struct pg_args payment = { 0 }, asked = { 0 };
	enum rc rc;

	*next = NOTHING;
	if ((rc = payment_load(shop, job->order_id, arena, st, e)) != RC_OK ||
	    (rc = check_provider(st, pay, e)) != RC_OK)
		return rc;
	if (st->order.status == OS_CANCELLED ||
	    st->order.status == OS_REFUNDED) {
		*next = UNDO;
		return RC_OK;
	}
	if (st->order.status == OS_PENDING)
		return err_set(e, RC_RETRY, "order_pending",
		    "order %s is not reserved yet", st->order.id);
	if (st->order.status != OS_RESERVED)
		return RC_OK;
	if (!st->there) {
		/* Nothing is begun that may be over before it began. */
		if (job->attempt != 1 || st->order.expired)
			return RC_OK;
		pg_arg_str(&payment, job->order_id);
		pg_arg_str(&payment, pay_name(pay));
		rc = pg_exec(shop->pg, PG_PRIMARY, &payment_insert, &payment,
		    arena, NULL, e);
		if (rc == RC_OK)
			rc = payment_begin(
			    shop, job->order_id, 1, job->token, arena, e);
		if (rc == RC_OK)
			rc = payment_load(shop, job->order_id, arena, st, e);
		if (rc != RC_OK)
			return rc;
	}
	if (!st->unknown || st->attempt != job->attempt)
		return RC_OK; /* its outcome is known */
	*next = PAY;
	pg_arg_str(&asked, job->order_id);
	return pg_exec(
	    shop->pg, PG_PRIMARY, &attempt_asked, &asked, arena, NULL, e);
}

/* The confirm was refused as such: nothing was tried, unless it was before. */
static enum rc
refused(struct pay *pay, const struct payment_state *st, struct arena *arena,
    struct pay_intent *said, bool *told, struct err *e)
{
	bool reused = strcmp(e->code, "pay_key_reused") == 0;
	struct err later = ERR_INIT;
	enum rc rc = pay_look(pay, st->intent, arena, said, &later);

	if (rc != RC_OK) {
		*e = later;
		return rc;
	}
	if (said->outcome == PAY_PENDING)
		return undecided(e);
	if (said->outcome != PAY_OPEN)
		return RC_OK;
	if (reused) {
		e->rc = RC_FAIL;
		return RC_FAIL;
	}
	said->outcome = PAY_DECLINED;
	said->error = NOT_ACCEPTED;
	*told = true;
	return RC_OK;
}

/* Confirm, or past the key's life look. *told: e says what the buyer is not
 * told. */
static enum rc
ask(struct pay *pay, const struct payment_state *st, struct arena *arena,
    struct pay_intent *said, bool *told, struct err *e)
{
	struct pay_order order = order_of(st);
	struct err later = ERR_INIT;
	struct pay_intent seen;
	enum rc rc;

	if (!st->attempt_key_lives) {
		/* A day later nothing is under way any more. */
		rc = pay_look(pay, st->intent, arena, said, e);
		if (rc == RC_OK && said->outcome == PAY_OPEN) {
			said->outcome = PAY_DECLINED;
			said->error = NOT_ACCEPTED;
		}
	} else {
		rc = pay_confirm(pay, &order, st->intent, st->attempt,
		    st->token, arena, said, e);
	}
	if (rc == RC_INVALID)
		return refused(pay, st, arena, said, told, e);
	/* No answer, a second time: perhaps there will never be one. Of an
	 * intent that is open nothing follows: the confirm may be under way. */
	if (rc == RC_RETRY && st->asked &&
	    pay_look(pay, st->intent, arena, &seen, &later) == RC_OK &&
	    (seen.outcome == PAY_PAID || seen.outcome == PAY_CANCELLED)) {
		*said = seen;
		return RC_OK;
	}
	if (rc == RC_OK && said->outcome == PAY_PENDING)
		return undecided(e);
	return rc;
}

static enum rc
make_attempt(struct shop *shop, struct pay *pay, struct payment_state *st,
    const struct job *job, struct arena *arena, struct err *e)
{
	struct verdict v = { .order_id = job->order_id,
		.task_id = job->task_id,
		.attempt = job->attempt };
	struct err why = ERR_INIT, later = ERR_INIT;
	bool told = false;
	enum rc rc;

	if (st->amount == 0) {
		v.said = for_nothing(PAY_PAID);
		return payment_settle(shop, &v, arena, e);
	}
	rc = learn_intent(shop, pay, st, arena, &why);
	if (rc == RC_NONE || rc == RC_INVALID) {
		v.said = for_nothing(PAY_DECLINED);
		v.said.error = NOT_ACCEPTED;
		told = true;
	} else if (rc == RC_OK) {
		rc = ask(pay, st, arena, &v.said, &told, &why);
		if (rc == RC_OK && v.said.id == NULL)
			v.said.id = st->intent;
	}
	if (rc != RC_OK && !told) {
		*e = why;
		return rc;
	}
	if ((rc = payment_settle(shop, &v, arena, &later)) != RC_OK) {
		*e = later;
		return rc;
	}
	return told ? err_set(e, RC_REFUSED, why.code, "%s", why.msg) : RC_OK;
}

/* ---- looking, because an event said that there is something to see */

static enum rc
look(struct shop *shop, struct pay *pay, const struct job *job,
    struct arena *arena, struct err *e)
{
	struct verdict v = { .order_id = job->order_id,
		.task_id = job->task_id };
	struct payment_state st;
	enum rc rc;

	rc = see(shop, pay, job->order_id, arena, &st, e);
	if (rc != RC_OK || !st.there || st.amount == 0 ||
	    st.status == PS_CANCELLED || st.status == PS_REFUNDED)
		return rc;
	rc = learn_intent(shop, pay, &st, arena, e);
	if (rc == RC_NONE || rc == RC_INVALID)
		return RC_OK;
	if (rc != RC_OK ||
	    (rc = pay_look(pay, st.intent, arena, &v.said, e)) != RC_OK)
		return rc;
	/* A decline is written by the attempt's own task, which knows which
	 * attempt it was. */
	if (v.said.outcome == PAY_OPEN || v.said.outcome == PAY_PENDING)
		return RC_OK;
	return payment_settle(shop, &v, arena, e);
}

enum rc
payment_process(struct shop *shop, struct pay *pay, const struct task *task,
    struct arena *arena, struct err *e)
{
	struct payment_state st;
	struct job job;
	enum next next;
	enum rc rc;

	if ((rc = job_read(task, arena, &job, e)) != RC_OK)
		return rc;
	if (job.look)
		return look(shop, pay, &job, arena, e);
	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = begin(shop, pay, &job, arena, &st, &next, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) != RC_OK)
		return rc;
	switch (next) {
	case UNDO:
		return undo(shop, pay, &st, &job, arena, e);
	case PAY:
		return make_attempt(shop, pay, &st, &job, arena, e);
	case NOTHING:
		break;
	}
	return RC_OK;
}

const struct pg_stmt *const payment_statements[] = { &payment_insert,
	&attempt_asked, &intent_store, NULL };
