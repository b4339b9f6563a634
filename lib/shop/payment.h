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
struct pay;
struct shop;
struct task;

/*
 * Task process_payment {"orderId","attempt","token"}. Paid: the order is paid;
 * where it was cancelled meanwhile it stays so and is refunded. Declined: the
 * order stays reserved until it expires, payable again. RC_RETRY: the outcome
 * is not known; the same attempt is repeated.
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
 * cancelled, ...). The caller has checked whose order it is.
 */
enum rc payment_again(struct shop *shop, const char *order_id,
    const char *token, struct arena *arena, struct err *e);

/* What a token must look like: 1..255 visible ASCII characters, or "" for the
 * provider's default. RC_INVALID "invalid_field". */
enum rc payment_token_check(const char *token, struct err *e);

/* A webhook: each event counts once, in whatever order; what it says is looked
 * up at the provider, never believed. */
enum rc payment_webhook(struct shop *shop, struct pay *pay, struct span body,
    const char *signature, struct arena *arena, struct err *e);

/* Housekeeping: attempts of unknown outcome that no task will look after. */
enum rc payment_resolve(
    struct shop *shop, int max, struct arena *arena, struct err *e);

#endif
