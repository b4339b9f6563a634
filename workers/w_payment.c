/* payment: charging and refunding orders. */
#include "shop/payment.h"
#include "store/pay.h"
#include "workers/worker.h"

enum rc
payment_open(struct work *w, struct err *e)
{
	return payment_provider(w->conf, &w->pay, e);
}

void
payment_close(struct work *w)
{
	pay_close(w->pay);
}

static enum rc
process(struct work *w, const struct task *task, struct err *e)
{
	return payment_process(w->shop, w->pay, task, w->arena, e);
}

static enum rc
refund(struct work *w, const struct task *task, struct err *e)
{
	return payment_refund(w->shop, w->pay, task, w->arena, e);
}

const struct task_row payment_tasks[] = {
	{ "process_payment", process },
	{ "refund_payment", refund },
	{ 0 },
};
