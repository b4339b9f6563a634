/*
 * sandbox: - a provider for trying out, with books of its own: the tables
 * sandbox_intent and sandbox_call, on a connection of its own, committed before
 * it answers, as a real provider's books are written whatever becomes of the
 * shop. Nothing in it is random:
 *
 *	tok_ok, ""     pays
 *	tok_declined   declines
 *	tok_slow       takes the money, and answers later than the timeout;
 *asked again under the same key it answers at once tok_lost       takes the
 *money, and never answers a confirm; only pay_look() tells any other      pays,
 *as a real provider's test cards do
 *
 * sandbox_intent.charges counts how often money was taken: more than once is a
 * double charge, whoever is to blame. The window between its commit and the
 * shop's own is to be seen from outside: sandbox_call has the key
 * "<order>:<attempt>" while that payment_attempt is still 'unknown'; tok_slow
 * holds it open for [payment] timeout.
 */
#include "store/pay.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/xmalloc.h"
#include "store/pay_int.h"
#include "store/pg.h"

struct sandbox {
	struct pay base;
	struct pg *pg;
	int timeout_ms;
};

static const struct pg_stmt intent_make = { "sandbox_intent_make",
	"INSERT INTO sandbox_intent (id, order_key, amount, currency)"
	" VALUES ('sbx_' || $1, $1, $2, $3) ON CONFLICT (order_key) DO NOTHING",
	3 };

static const struct pg_stmt intent_lock = { "sandbox_intent_lock",
	"SELECT id, amount, status, refunded FROM sandbox_intent"
	" WHERE id = $1 FOR UPDATE",
	1 };

static const struct pg_stmt intent_get = { "sandbox_intent_get",
	"SELECT id, amount, status, refunded FROM sandbox_intent"
	" WHERE id = $1",
	1 };

static const struct pg_stmt intent_find = { "sandbox_intent_find",
	"SELECT id, amount, status, refunded FROM sandbox_intent"
	" WHERE order_key = $1",
	1 };

/* No WHERE on the state: whoever is to blame, the books tell. */
static const struct pg_stmt intent_charge = { "sandbox_intent_charge",
	"UPDATE sandbox_intent SET status = 'succeeded', charges = charges + 1"
	" WHERE id = $1",
	1 };

static const struct pg_stmt intent_cancel = { "sandbox_intent_cancel",
	"UPDATE sandbox_intent SET status = 'cancelled'"
	" WHERE id = $1 AND status = 'open'",
	1 };

static const struct pg_stmt intent_refund = { "sandbox_intent_refund",
	"UPDATE sandbox_intent SET refunded = amount"
	" WHERE id = $1 AND status = 'succeeded'",
	1 };

static const struct pg_stmt call_get = { "sandbox_call_get",
	"SELECT request, answer ->> 'outcome', answer ->> 'error',"
	" (answer ->> 'lost')::bool FROM sandbox_call WHERE key = $1",
	1 };

static const struct pg_stmt call_keep = { "sandbox_call_keep",
	"INSERT INTO sandbox_call (key, request, answer) VALUES ($1, $2,"
	" jsonb_build_object('outcome', $3::text, 'error', $4::text,"
	" 'lost', $5::bool))",
	5 };

/* ---- the driver */

static enum rc
sandbox_open(const struct pay_opts *opts, struct pay **out, struct err *e)
{
	if (opts->pg_url == NULL)
		return err_set(e, RC_INVALID, "bad_configuration",
		    "sandbox: has no database for its books");
	struct sandbox *sb = xcalloc(1, sizeof *sb);

	sb->timeout_ms = opts->timeout_ms;
	sb->pg = pg_new(&(struct pg_opts){ .url = opts->pg_url,
	    .connect_ms = opts->timeout_ms,
	    .query_ms = opts->timeout_ms,
	    .pooler = opts->pooler,
	    .app_name = "souk-sandbox" });
	*out = &sb->base;
	return RC_OK;
}

static void
sandbox_close(struct pay *pay)
{
	struct sandbox *sb = (struct sandbox *)pay;

	pg_free(sb->pg);
	free(sb);
}

static enum rc
call(struct sandbox *sb, const struct pg_stmt *st, const char *arg,
    struct arena *arena, struct pg_rows *rows, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, arg);
	return pg_exec(sb->pg, PG_PRIMARY, st, &args, arena, rows, e);
}

/* id, amount, status, refunded */
static enum rc
intent_read(const struct pg_rows *rows, struct pay_intent *out, struct err *e)
{
	static const struct {
		const char *status;
		enum pay_outcome outcome;
	} outcomes[] = { { "open", PAY_OPEN }, { "succeeded", PAY_PAID },
		{ "cancelled", PAY_CANCELLED } };

	if (rows->n == 0)
		return err_set(e, RC_NONE, "no_intent",
		    "the sandbox knows no such payment");
	*out = (struct pay_intent){ .id = pg_str(rows, 0, 0),
		.amount = pg_int(rows, 0, 1),
		.refunded = pg_int(rows, 0, 3),
		.error = "" };
	for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
		if (strcmp(outcomes[i].status, pg_str(rows, 0, 2)) == 0)
			out->outcome = outcomes[i].outcome;
	}
	return RC_OK;
}

static enum rc
sandbox_create(struct pay *pay, const struct pay_order *order,
    struct arena *arena, struct pay_intent *out, struct err *e)
{
	struct sandbox *sb = (struct sandbox *)pay;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, order->order_id);
	pg_arg_int(&args, order->amount);
	pg_arg_str(&args, order->currency);
	rc = pg_exec(sb->pg, PG_PRIMARY, &intent_make, &args, arena, NULL, e);
	if (rc != RC_OK ||
	    (rc = call(sb, &intent_find, order->order_id, arena, &rows, e)) !=
		RC_OK ||
	    (rc = intent_read(&rows, out, e)) != RC_OK)
		return rc;
	if (out->amount != order->amount)
		return err_set(e, RC_INVALID, "pay_key_reused",
		    "the key of this order was used for another amount");
	/* The answer to the first call, as a real provider gives it to all. */
	out->outcome = PAY_OPEN;
	out->refunded = 0;
	return RC_OK;
}

/* What a confirm does and says. */
struct verdict {
	const char *outcome; /* "paid", "declined", "refused" */
	const char *error;
	bool charge, late, lost;
};

static struct verdict
judge(const struct pay_intent *in, const char *token)
{
	if (in->outcome != PAY_OPEN)
		return (struct verdict){ .outcome = "refused",
			.error = "The payment is over already." };
	if (strcmp(token, "tok_declined") == 0)
		return (struct verdict){ .outcome = "declined",
			.error = "Your card was declined." };
	return (struct verdict){ .outcome = "paid",
		.error = "",
		.charge = true,
		.late = strcmp(token, "tok_slow") == 0,
		.lost = strcmp(token, "tok_lost") == 0 };
}

static enum rc
no_answer(struct sandbox *sb, struct err *e)
{
	clock_sleep_ms(sb->timeout_ms);
	return err_set(e, RC_RETRY, "pay_timeout",
	    "sandbox: no answer within %d ms", sb->timeout_ms);
}

/* Within the transaction: what was answered to this key, or the deed. */
static enum rc
confirm(struct sandbox *sb, const char *key, const char *request,
    const char *intent, const char *token, struct arena *arena,
    struct verdict *v, struct pay_intent *out, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows, kept;
	enum rc rc;

	if ((rc = call(sb, &intent_lock, intent, arena, &rows, e)) != RC_OK ||
	    (rc = intent_read(&rows, out, e)) != RC_OK ||
	    (rc = call(sb, &call_get, key, arena, &kept, e)) != RC_OK)
		return rc == RC_NONE ? RC_INVALID : rc;
	if (kept.n > 0) {
		*v = (struct verdict){ .outcome = pg_str(&kept, 0, 1),
			.error = pg_str(&kept, 0, 2),
			.lost = pg_bool(&kept, 0, 3) };
		if (strcmp(pg_str(&kept, 0, 0), request) != 0)
			return err_set(e, RC_INVALID, "pay_key_reused",
			    "the key %s was used for another request", key);
		return RC_OK;
	}
	*v = judge(out, token);
	if (v->charge &&
	    (rc = call(sb, &intent_charge, intent, arena, NULL, e)) != RC_OK)
		return rc;
	pg_arg_str(&args, key);
	pg_arg_str(&args, request);
	pg_arg_str(&args, v->outcome);
	pg_arg_str(&args, v->error);
	pg_arg_bool(&args, v->lost);
	return pg_exec(sb->pg, PG_PRIMARY, &call_keep, &args, arena, NULL, e);
}

static enum rc
sandbox_confirm(struct pay *pay, const struct pay_order *order,
    const char *intent, int attempt, const char *token, struct arena *arena,
    struct pay_intent *out, struct err *e)
{
	struct sandbox *sb = (struct sandbox *)pay;
	const char *key =
	    arena_printf(arena, "%s:%d", order->order_id, attempt);
	const char *request =
	    arena_printf(arena, "confirm %s %s", intent, token);
	struct verdict v = { 0 };
	enum rc rc;

	if ((rc = pg_begin(sb->pg, e)) != RC_OK)
		return rc;
	rc = confirm(sb, key, request, intent, token, arena, &v, out, e);
	if (rc != RC_OK) {
		pg_rollback(sb->pg);
		return rc;
	}
	if ((rc = pg_commit(sb->pg, e)) != RC_OK)
		return rc;
	if (v.late || v.lost)
		return no_answer(sb, e);
	if (strcmp(v.outcome, "refused") == 0)
		return err_set(e, RC_INVALID, "pay_refused", "%s", v.error);
	out->outcome = strcmp(v.outcome, "paid") == 0 ? PAY_PAID : PAY_DECLINED;
	out->error = v.error;
	return RC_OK;
}

static enum rc
sandbox_look(struct pay *pay, const char *intent, struct arena *arena,
    struct pay_intent *out, struct err *e)
{
	struct pg_rows rows;
	enum rc rc =
	    call((struct sandbox *)pay, &intent_get, intent, arena, &rows, e);

	if (rc != RC_OK)
		return rc;
	rc = intent_read(&rows, out, e);
	return rc == RC_NONE ? RC_INVALID : rc;
}

static enum rc
sandbox_find(struct pay *pay, const char *order_id, struct arena *arena,
    struct pay_intent *out, struct err *e)
{
	struct pg_rows rows;
	enum rc rc = call(
	    (struct sandbox *)pay, &intent_find, order_id, arena, &rows, e);

	return rc == RC_OK ? intent_read(&rows, out, e) : rc;
}

static enum rc
sandbox_cancel(struct pay *pay, const struct pay_order *order,
    const char *intent, struct arena *arena, struct pay_intent *out,
    struct err *e)
{
	enum rc rc =
	    call((struct sandbox *)pay, &intent_cancel, intent, arena, NULL, e);

	(void)order;
	return rc == RC_OK ? sandbox_look(pay, intent, arena, out, e) : rc;
}

static enum rc
sandbox_refund(struct pay *pay, const struct pay_order *order,
    const char *intent, struct arena *arena, struct pay_intent *out,
    struct err *e)
{
	enum rc rc =
	    call((struct sandbox *)pay, &intent_refund, intent, arena, NULL, e);

	(void)order;
	if (rc != RC_OK ||
	    (rc = sandbox_look(pay, intent, arena, out, e)) != RC_OK)
		return rc;
	return out->outcome == PAY_PAID
		   ? RC_OK
		   : err_set(e, RC_INVALID, "pay_refused",
			 "what was not paid cannot be refunded");
}

const struct pay_driver pay_sandbox = { .name = "sandbox",
	.open = sandbox_open,
	.close = sandbox_close,
	.create = sandbox_create,
	.confirm = sandbox_confirm,
	.look = sandbox_look,
	.find = sandbox_find,
	.cancel = sandbox_cancel,
	.refund = sandbox_refund };
