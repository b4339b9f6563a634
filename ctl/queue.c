/* soukctl queue: how the queues stand; trying dead tasks again. */
#include "ctl/ctl.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "store/outbox.h"
#include "store/queue.h"
#include "store/queue_pg.h"

enum { PEEK = 20, AT_A_TIME = 100 };

static const char *
queue_url(const struct ctl *ctl, const char *name)
{
	return conf_str(
	    ctl->conf, arena_printf(ctl->arena, "queue.%s", name), "url");
}

static enum rc
stats_of(
    struct ctl *ctl, const char *name, struct queue_stats *out, struct err *e)
{
	struct queue_opts opts = { .url = queue_url(ctl, name),
		.name = name,
		.visibility_ms =
		    (int)conf_int(ctl->conf, "workers", "visibility"),
		.max_receives =
		    (int)conf_int(ctl->conf, "workers", "max_receives"),
		.pg = ctl_pg(ctl) };
	struct queue *queue;
	enum rc rc = queue_open(&opts, &queue, e);

	if (rc != RC_OK)
		return rc;
	rc = queue_stats(queue, ctl->arena, out, e);
	queue_close(queue);
	return rc;
}

static void
stats_print(const char *name, const struct queue_stats *s)
{
	(void)printf("%s\t%lld\t%lld\t%lld\t%lld\t%lld\n", name,
	    (long long)s->depth, (long long)s->in_flight, (long long)s->delayed,
	    (long long)s->oldest_ms, (long long)s->dead);
}

static enum rc
stats_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	json_t *all = json_array();
	struct queue_stats s;
	enum rc rc = RC_OK;

	(void)args;
	if (!ctl->json)
		ctl_say(
		    ctl, "queue\tdepth\tin flight\tdelayed\toldest ms\tdead");
	for (int i = 0; task_queues[i] != NULL && rc == RC_OK; i++) {
		rc = stats_of(ctl, task_queues[i], &s, e);
		if (rc != RC_OK)
			break;
		if (!ctl->json)
			stats_print(task_queues[i], &s);
		(void)json_array_append_new(all,
		    json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "queue",
			task_queues[i], "depth", (json_int_t)s.depth,
			"inFlight", (json_int_t)s.in_flight, "delayed",
			(json_int_t)s.delayed, "oldestAgeMs",
			(json_int_t)s.oldest_ms, "dead", (json_int_t)s.dead));
	}
	if (rc == RC_OK && ctl->json)
		ctl_print_json(json_pack("{s:O}", "queues", all));
	json_decref(all);
	return rc;
}

/* A queue's name, and one that lies in PostgreSQL. */
static enum rc
check_queue(struct ctl *ctl, const char *name, struct err *e)
{
	for (int i = 0; task_queues[i] != NULL; i++) {
		if (strcmp(task_queues[i], name) != 0)
			continue;
		return strncmp(queue_url(ctl, name), "pg:", 3) == 0
			   ? RC_OK
			   : err_set(e, RC_REFUSED, "not_embedded",
				 "queue %s is not in PostgreSQL: use its own "
				 "tools",
				 name);
	}
	return ctl_usage(
	    e, "%s: no such queue; `queue stats` names them", name);
}

static json_t *
json_of(struct span text)
{
	json_t *v = json_loadb(text.p, text.n, JSON_DECODE_ANY, NULL);

	return v == NULL ? json_null() : v;
}

static enum rc
peek_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *name = args->operand[0];
	int64_t max = PEEK;
	struct queue_peek *list;
	json_t *all;
	int n;
	enum rc rc;

	if ((rc = ctl_int(args, "max", 1, 1000, &max, e)) != RC_OK ||
	    (rc = check_queue(ctl, name, e)) != RC_OK ||
	    (rc = queue_pg_peek(ctl_pg(ctl), name, ctl_flag(args, "dead"),
		 (int)max, ctl->arena, &list, &n, e)) != RC_OK)
		return rc;
	if (!ctl->json)
		ctl_say(ctl, "id\ttype\tstate\treceives\tat\terror");
	all = json_array();
	for (int i = 0; i < n; i++) {
		const struct queue_peek *t = &list[i];

		if (!ctl->json)
			(void)printf("%s\t%s\t%s\t%lld\t%s\t%s\n", t->id,
			    t->type, t->state, (long long)t->receives, t->at,
			    t->error);
		else
			(void)json_array_append_new(all,
			    json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:s, "
				      "s:o, s:o}",
				"id", t->id, "type", t->type, "state", t->state,
				"receives", (json_int_t)t->receives,
				"createdAt", t->created, "at", t->at, "error",
				t->error, "history", json_of(t->history),
				"data", json_of(t->data)));
	}
	if (ctl->json)
		ctl_print_json(json_pack("{s:O}", "tasks", all));
	json_decref(all);
	return RC_OK;
}

/* The workers poll; with Redis they know at once. */
static void
wake(struct ctl *ctl, const char *name)
{
	struct outbox_waker waker = { 0 };
	struct redis *redis;

	outbox_note(&waker, name);
	if (ctl_redis(ctl, &redis, NULL) == RC_OK)
		outbox_wake(&waker, redis, ctl->arena);
}

static enum rc
retry_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *name;
	enum rc rc =
	    queue_pg_retry(ctl_pg(ctl), args->operand[0], ctl->arena, &name, e);

	if (rc != RC_OK)
		return rc;
	wake(ctl, name);
	ctl_say(ctl, "due now in queue %s", name);
	return RC_OK;
}

static enum rc
redrive_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct queue_redrive what = { .name = args->operand[0],
		.type = ctl_value(args, "type"),
		.died_before_ms = clock_wall_ms() };
	int64_t max = INT32_MAX, rate = 0, total = 0, moved = 1;
	enum rc rc;

	if ((rc = ctl_int(args, "max", 1, INT32_MAX, &max, e)) != RC_OK ||
	    (rc = ctl_int(args, "rate", 1, 10000, &rate, e)) != RC_OK ||
	    (rc = check_queue(ctl, what.name, e)) != RC_OK)
		return rc;
	while (moved > 0 && total < max) {
		int64_t most = rate > 0 ? rate : AT_A_TIME;

		what.max = (int)(most < max - total ? most : max - total);
		rc =
		    queue_pg_redrive(ctl_pg(ctl), &what, ctl->arena, &moved, e);
		if (rc != RC_OK)
			break;
		total += moved;
		if (moved > 0)
			wake(ctl, what.name);
		/* So many a second. */
		if (rate > 0 && moved == what.max && total < max)
			clock_sleep_ms(1000);
	}
	/* What was sent back is said also where the rest could not be. */
	if (ctl->json)
		ctl_print_json(json_pack("{s:I}", "moved", (json_int_t)total));
	else
		(void)printf("%lld\n", (long long)total);
	return rc;
}

static const struct ctl_opt peek_opts[] = {
	{ "dead", NULL, "the dead letters" },
	{ "max", "N", "how many at most (20)" },
	{ 0 },
};

static const struct ctl_opt redrive_opts[] = {
	{ "type", "T", "only tasks of that type" },
	{ "max", "N", "at most that many" },
	{ "rate", "N", "that many a second" },
	{ 0 },
};

const struct ctl_cmd queue_cmds[] = {
	{ .name = "queue stats",
	    .operands = "",
	    .help = "for each queue: depth, in flight, delayed, age of the "
		    "oldest, dead",
	    .run = stats_run },
	{ .name = "queue peek",
	    .operands = "QUEUE",
	    .min = 1,
	    .max = 1,
	    .help = "the next tasks of a queue, or its dead letters",
	    .opts = peek_opts,
	    .run = peek_run },
	{ .name = "queue retry",
	    .operands = "TASK",
	    .min = 1,
	    .max = 1,
	    .help = "try a task now that is dead or waits after a failure",
	    .run = retry_run },
	{ .name = "queue redrive",
	    .operands = "QUEUE",
	    .min = 1,
	    .max = 1,
	    .help = "send dead letters back to their queue; prints how many",
	    .opts = redrive_opts,
	    .run = redrive_run },
	{ 0 },
};
