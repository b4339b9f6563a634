/*
 * reconcile: the sales' counters, once a second. Every host may do it: each
 * look is compared with the process's own last one, and what is mended is
 * mended by statements and scripts that do nothing the second time.
 */
#include "shop/sale_run.h"
#include "workers/worker.h"

enum rc
reconcile_open(struct work *w, struct err *e)
{
	(void)e;
	w->reconciler = reconciler_new(w->shop);
	return RC_OK;
}

void
reconcile_close(struct work *w)
{
	reconciler_free(w->reconciler);
}

static enum rc
turn(struct work *w, struct err *e)
{
	return reconciler_turn(w->reconciler, w->arena, e);
}

const struct clock_row reconcile_clocks[] = {
	{ "reconcile", 1000, turn, false },
	{ 0 },
};
