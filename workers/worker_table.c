/* The shop's workers. How many processes of each: [workers] NAME. */
#include "workers/worker.h"

#include "shop/queues.h"

const struct worker_def worker_defs[] = {
	{ .name = "inventory", .tasks = inventory_tasks },
	{ .name = "payment",
	    .open = payment_open,
	    .close = payment_close,
	    .tasks = payment_tasks },
	{ .name = "email",
	    .open = email_open,
	    .close = email_close,
	    .tasks = email_tasks },
	{ .name = "analytics", .batch = analytics_batch },
	{ .name = "housekeeping",
	    .tasks = housekeeping_tasks,
	    .clocks = housekeeping_clocks },
	{ .name = "outbox",
	    .open = outbox_open,
	    .close = outbox_close,
	    .clocks = outbox_clocks,
	    .woken = true,
	    .wanted = queues_any_remote },
	{ .name = "reconcile",
	    .open = reconcile_open,
	    .close = reconcile_close,
	    .clocks = reconcile_clocks },
	{ 0 },
};
