/* The shop's workers. How many processes of each: [workers] NAME. */
#include "workers/worker.h"

#include "shop/image.h"
#include "shop/queues.h"

const struct worker_def worker_defs[] = {
	{ .name = "inventory", .class = CLASS_HIGH, .tasks = inventory_tasks },
	{ .name = "payment",
	    .class = CLASS_HIGH,
	    .open = payment_open,
	    .close = payment_close,
	    .tasks = payment_tasks },
	{ .name = "email",
	    .class = CLASS_LOW,
	    .open = email_open,
	    .close = email_close,
	    .tasks = email_tasks },
	{ .name = "image",
	    .class = CLASS_NORMAL,
	    .open = image_open,
	    .tasks = image_tasks,
	    .wanted = image_wanted },
	{ .name = "analytics", .class = CLASS_LOW, .batch = analytics_batch },
	{ .name = "housekeeping",
	    .class = CLASS_NORMAL,
	    .tasks = housekeeping_tasks,
	    .clocks = housekeeping_clocks },
	{ .name = "outbox",
	    .class = CLASS_HIGH,
	    .open = outbox_open,
	    .close = outbox_close,
	    .clocks = outbox_clocks,
	    .woken = true,
	    .wanted = queues_any_remote },
	{ .name = "reconcile",
	    .class = CLASS_NORMAL,
	    .open = reconcile_open,
	    .close = reconcile_close,
	    .clocks = reconcile_clocks },
	{ 0 },
};
