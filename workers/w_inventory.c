/* inventory: the stock of orders. */
#include "shop/stock.h"
#include "workers/worker.h"

static enum rc
decrease(struct work *w, const struct task *task, struct err *e)
{
	return stock_decrease(w->shop, task, w->arena, e);
}

static enum rc
release(struct work *w, const struct task *task, struct err *e)
{
	return stock_release(w->shop, task, w->arena, e);
}

const struct task_row inventory_tasks[] = {
	{ "decrease_stock", decrease },
	{ "release_stock", release },
	{ 0 },
};
