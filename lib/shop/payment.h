/*
 * payment - an order's one payment and its attempts (DESIGN 5.2): committed
 * before the provider is called, repeated under the same key until the outcome
 * is known, and for a cancelled order cancelled or refunded.
 */
#ifndef SHOP_PAYMENT_H
#define SHOP_PAYMENT_H

#include "base/err.h"
#include "base/span.h"

struct arena;
struct conf;
struct pay;
struct pg_stmt;
struct shop;
struct task;

/* Gives *out: the provider that [payment] names. RC_INVALID: it cannot be. */
enum rc payment_provider(
    const struct conf *conf, struct pay **out, struct err *e);

/*
 * Task process_payment {"orderId","attempt","token"}. Paid: the order is paid;
 * where it was cancelled meanwhile it stays so and is refunded. Declined: the
 * order stays reserved until it expires, payable again. RC_RETRY: the outcome
 * is not known; the same attempt is repeated. RC_REFUSED: declined, since the
 * provider did not take the request; e says why (the buyer is told less).
 * With {"orderId","look":true}: how the payment stands is asked of the
 * provider, and what it says is written; nothing is begun.
 */
enum rc payment_process(struct shop *shop, struct pay *pay,
    const struct task *task, struct arena *arena, struct err *e);

/* Task refund_payment {"orderId"}: of a cancelled or refunded order: cancel the
 * intent, and if it has paid, refund it. Nothing where none was ever made. */
enum rc payment_refund(struct shop *shop, struct pay *pay,
    const struct task *task, struct arena *arena, struct err *e);

/*
 * POST .../payment: a new attempt, only after the last one was definitely
 * declined. RC_REFUSED "payment_in_progress" (409), "wrong_state" (409: paid,
 * cancelled, ...), "too_many_attempts" (429). The caller has checked whose order
 * it is.
 */
enum rc payment_again(struct shop *shop, const char *order_id,
    const char *token, struct arena *arena, struct err *e);

/* What a token must look like: 1..255 visible ASCII characters, or "" for the
 * provider's default. RC_INVALID "invalid_field". */
enum rc payment_token_check(const char *token, struct err *e);

/* A webhook: each event counts once, in whatever order; what it says is looked
 * up at the provider, never believed: a task does so, the request is over
 * before. pay is used for its secret alone. */
enum rc payment_webhook(struct shop *shop, struct pay *pay, struct span body,
    const char *signature, struct arena *arena, struct err *e);

/* Housekeeping: attempts of unknown outcome that no task looks after (it died),
 * and refunds that died: a new task for each, at most max of both. Once a
 * minute is enough. */
enum rc payment_resolve(
    struct shop *shop, int max, struct arena *arena, struct err *e);

/* Forget events older than 60 days: Stripe repeats one for 3 days at most. */
enum rc payment_forget(struct shop *shop, struct arena *arena, struct err *e);

extern const struct pg_stmt *const payment_statements[];

#endif
