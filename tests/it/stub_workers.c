/*
 * A table of workers that can be told to misbehave, by the task's data:
 *
 *	{"do":"ok"}                  has its effect, a row of t_effect
 *	{"do":"sleep","ms":N}        the same, N ms later
 *	{"do":"rc","rc":N}           says that
 *	{"do":"die"}                 kills its process
 *	{"do":"hang"}                does not return
 *	{"do":"grow","mb":N}         keeps so much memory, then has its effect
 *
 * With "begin":true its begin is a row of t_begin first, whatever comes then.
 */
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/xmalloc.h"
#include "shop/queues.h"
#include "shop/shop.h"
#include "store/outbox.h"
#include "store/pg.h"
#include "workers/worker.h"

static const struct pg_stmt effect_insert = { "t_effect",
	"INSERT INTO t_effect (task_id, pid, name) VALUES ($1, $2, $3)", 3 };
static const struct pg_stmt begin_insert = { "t_begin",
	"INSERT INTO t_begin (task_id, pid) VALUES ($1, $2)", 2 };
static const struct pg_stmt tick_insert = { "t_tick",
	"INSERT INTO t_tick (name, pid) VALUES ($1, $2)", 2 };

static enum rc
effect(struct work *w, const struct task *task, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg *pg = w->shop->pg;
	enum rc rc;

	pg_arg_str(&args, task->id);
	pg_arg_int(&args, getpid());
	pg_arg_str(&args, conf_str(w->conf, "shop", "name"));
	if ((rc = pg_begin(pg, e)) != RC_OK)
		return rc;
	rc = task_finish(pg, task->id, w->arena, e);
	if (rc == RC_OK)
		rc = pg_exec(
		    pg, PG_PRIMARY, &effect_insert, &args, w->arena, NULL, e);
	if (rc == RC_OK)
		return pg_commit(pg, e);
	pg_rollback(pg);
	return rc;
}

static enum rc
begin(struct work *w, const struct task *task, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, task->id);
	pg_arg_int(&args, getpid());
	return pg_exec(
	    w->shop->pg, PG_PRIMARY, &begin_insert, &args, w->arena, NULL, e);
}

static void
grow(int64_t mb)
{
	static void *kept; /* so that it is no leak */
	size_t size = (size_t)mb << 20;

	kept = xrealloc(kept, size);
	memset(kept, 1, size); /* else it is only promised */
}

static enum rc
stub_run(struct work *w, const struct task *task, struct err *e)
{
	json_t *data = json_loadb(task->data.p, task->data.n, 0, NULL);
	const char *what = json_string_value(json_object_get(data, "do"));
	int64_t ms = json_integer_value(json_object_get(data, "ms"));
	int64_t mb = json_integer_value(json_object_get(data, "mb"));
	bool told = json_is_true(json_object_get(data, "begin"));
	enum rc rc = (enum rc)json_integer_value(json_object_get(data, "rc"));

	what = what == NULL ? "ok" : arena_strdup(w->arena, what);
	json_decref(data);
	if (told) {
		enum rc begun = begin(w, task, e);

		if (begun != RC_OK)
			return begun;
	}
	if (strcmp(what, "grow") == 0)
		grow(mb);
	if (strcmp(what, "rc") == 0)
		return err_set(e, rc, "stub", "as the task says");
	if (strcmp(what, "die") == 0)
		(void)kill(getpid(), SIGKILL);
	for (; strcmp(what, "hang") == 0;)
		clock_sleep_ms(1000);
	if (strcmp(what, "sleep") == 0)
		clock_sleep_ms(ms);
	return effect(w, task, e);
}

static enum rc
stub_batch(struct work *w, int n, const struct task tasks[], enum rc rcs[],
    struct err *e)
{
	enum rc rc = RC_OK;

	for (int i = 0; i < n && rc == RC_OK; i++) {
		rcs[i] = effect(w, &tasks[i], e);
		if (rcs[i] == RC_RETRY)
			rc = RC_RETRY;
	}
	return rc;
}

static enum rc
tick(struct work *w, const char *name, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_str(&args, name);
	pg_arg_int(&args, getpid());
	return pg_exec(
	    w->shop->pg, PG_PRIMARY, &tick_insert, &args, w->arena, NULL, e);
}

static enum rc
tick_all(struct work *w, struct err *e)
{
	return tick(w, "all", e);
}

static enum rc
tick_one(struct work *w, struct err *e)
{
	return tick(w, "leader", e);
}

static const struct task_row stub_tasks[] = { { "decrease_stock", stub_run },
	{ 0 } };
static const struct clock_row stub_clocks[] = {
	{ "all", 200, tick_all, false },
	{ "leader", 500, tick_one, true },
	{ 0 },
};

static const struct task_row stub_payment_tasks[] = {
	{ "process_payment", stub_run },
	{ "refund_payment", stub_run },
	{ 0 },
};
static const struct task_row stub_email_tasks[] = { { "send_email", stub_run },
	{ 0 } };

const struct worker_def worker_defs[] = {
	{ .name = "inventory", .tasks = stub_tasks },
	{ .name = "payment",
	    .class = CLASS_NORMAL,
	    .tasks = stub_payment_tasks },
	{ .name = "email", .class = CLASS_LOW, .tasks = stub_email_tasks },
	{ .name = "analytics", .class = CLASS_LOW, .batch = stub_batch },
	{ .name = "housekeeping", .clocks = stub_clocks },
	{ .name = "outbox",
	    .open = outbox_open,
	    .close = outbox_close,
	    .clocks = outbox_clocks,
	    .woken = true,
	    .wanted = queues_any_remote },
	{ 0 },
};
