/* A table with one worker whose tasks do nothing: what the runtime itself
 * costs. "payment" does what is the least of an effect: it records the task's
 * id. */
#include "shop/queues.h"
#include "shop/shop.h"
#include "store/outbox.h"
#include "store/pg.h"
#include "workers/worker.h"

static enum rc
nothing(struct work *w, const struct task *task, struct err *e)
{
	(void)w;
	(void)task;
	(void)e;
	return RC_OK;
}

static enum rc
record(struct work *w, const struct task *task, struct err *e)
{
	struct pg *pg = w->shop->pg;
	enum rc rc = pg_begin(pg, e);

	if (rc != RC_OK)
		return rc;
	rc = task_finish(pg, task->id, w->arena, e);
	if (rc == RC_OK)
		return pg_commit(pg, e);
	pg_rollback(pg);
	return rc;
}

static const struct task_row nothing_tasks[] = { { "decrease_stock", nothing },
	{ 0 } };
static const struct task_row record_tasks[] = { { "process_payment", record },
	{ 0 } };

const struct worker_def worker_defs[] = {
	{ .name = "inventory", .tasks = nothing_tasks },
	{ .name = "payment", .tasks = record_tasks },
	{ .name = "outbox",
	    .open = outbox_open,
	    .close = outbox_close,
	    .clocks = outbox_clocks,
	    .woken = true,
	    .wanted = queues_any_remote },
	{ 0 },
};
