/* soukctl queue: how the queues stand; trying dead tasks again. */
#include "ctl/ctl.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/span.h"
#include "base/text.h"
#include "shop/queues.h"
#include "store/aws.h"
#include "store/aws_cred.h"
#include "store/outbox.h"
#include "store/queue.h"
#include "store/queue_pause.h"
#include "store/queue_pg.h"
#include "store/queue_rate.h"
#include "store/queue_sqs.h"

enum { PEEK = 20, AT_A_TIME = 100 };

/* *out: its figures; out NULL: it is made, *as is its name there. */
static enum rc
ask(struct ctl *ctl, const char *name, struct queue_stats *out, const char **as,
    struct err *e)
{
	struct aws_cred *cred = queues_cred_new(ctl->conf, 0);
	struct queues_opts opts = {
		.conf = ctl->conf, .pg = ctl_pg(ctl), .cred = cred
	};
	struct queue *queue;
	enum rc rc = queues_open(&opts, name, &queue, e);

	if (rc == RC_OK) {
		rc = out != NULL ? queue_stats(queue, ctl->arena, out, e)
				 : queue_make(queue, ctl->arena, as, e);
		queue_close(queue);
	}
	aws_cred_free(cred);
	return rc;
}

/* Of a number in so many minutes. */
static double
per_minute(int64_t n)
{
	return (double)n / QUEUE_RATE_MINUTES;
}

static void
stats_print(
    const char *name, const struct queue_stats *s, const struct queue_rate *r)
{
	(void)printf("%s\t%lld\t%lld\t%lld\t%lld\t%lld\t%lld"
		     "\t%.1f\t%.1f\t%.1f\t%s\n",
	    name, (long long)s->depth, (long long)s->in_flight,
	    (long long)s->delayed, (long long)s->oldest_ms, (long long)s->dead,
	    (long long)s->unsent, per_minute(r->in), per_minute(r->out),
	    per_minute(r->failed), s->paused ? "paused" : "");
}

static json_t *
stats_json(
    const char *name, const struct queue_stats *s, const struct queue_rate *r)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f,"
			 " s:b}",
	    "queue", name, "depth", (json_int_t)s->depth, "inFlight",
	    (json_int_t)s->in_flight, "delayed", (json_int_t)s->delayed,
	    "oldestAgeMs", (json_int_t)s->oldest_ms, "dead",
	    (json_int_t)s->dead, "unsent", (json_int_t)s->unsent, "inPerMinute",
	    per_minute(r->in), "outPerMinute", per_minute(r->out),
	    "failedPerMinute", per_minute(r->failed), "paused", s->paused);
}

static enum rc
stats_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	json_t *all = json_array();
	struct queue_stats s;
	struct queue_rate r;
	enum rc rc = RC_OK, one;

	(void)args;
	if (!ctl->json)
		ctl_say(ctl, "queue\tdepth\tin flight\tdelayed\toldest ms\t"
			     "dead\tunsent\tin/min\tout/min\tfailed/min\t"
			     "state");
	for (int i = 0; task_queues[i] != NULL; i++) {
		const char *name = task_queues[i];

		one = ask(ctl, name, &s, NULL, e);
		if (one == RC_OK)
			one = queue_rate_read(
			    ctl_pg(ctl), name, ctl->arena, &r, e);
		if (one != RC_OK) { /* one that is away hides no other */
			ctl_say(ctl, "%s: %s", name, e->msg);
			rc = one;
			continue;
		}
		if (!ctl->json)
			stats_print(name, &s, &r);
		(void)json_array_append_new(all, stats_json(name, &s, &r));
	}
	if (ctl->json)
		ctl_print_json(json_pack("{s:O}", "queues", all));
	json_decref(all);
	return rc;
}

/* Whichever queue carries a task, it is the outbox that knows it. */
static enum rc
check_queue(const char *name, struct err *e)
{
	for (int i = 0; task_queues[i] != NULL; i++) {
		if (strcmp(task_queues[i], name) == 0)
			return RC_OK;
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
	    (rc = check_queue(name, e)) != RC_OK ||
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
pause_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *name = args->operand[0];
	enum rc rc = check_queue(name, e);

	if (rc != RC_OK)
		return rc;
	rc = queue_pause(ctl_pg(ctl), name, ctl->arena, e);
	if (rc == RC_OK)
		ctl_say(ctl,
		    "%s: no task is begun from within a second or two on; "
		    "those in hand are finished",
		    name);
	return rc;
}

static enum rc
resume_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *name = args->operand[0];
	enum rc rc = check_queue(name, e);

	if (rc == RC_OK)
		rc = queue_resume(ctl_pg(ctl), name, ctl->arena, e);
	if (rc == RC_OK)
		wake(ctl, name);
	return rc;
}

/* "50" or "50/s" */
static enum rc
rate_arg(const struct ctl_args *args, int64_t *out, struct err *e)
{
	const char *s = ctl_value(args, "rate");
	size_t n = s == NULL ? 0 : strlen(s);

	if (s == NULL)
		return RC_OK;
	if (n > 2 && strcmp(s + n - 2, "/s") == 0)
		n -= 2;
	if (!text_int((struct span){ s, n }, 1, 10000, out))
		return ctl_usage(
		    e, "--rate: how many a second, 1 to 10000; not %s", s);
	return RC_OK;
}

static enum rc
time_arg(const struct ctl_args *args, const char *name, int64_t now_ms,
    int64_t *out, struct err *e)
{
	const char *s = ctl_value(args, name);

	if (s == NULL || time_parse(s, now_ms, out) == 0)
		return RC_OK;
	return ctl_usage(e,
	    "--%s: write a time as 2026-11-22T09:00:00Z, or as long ago: -2h",
	    name);
}

static enum rc
redrive_args(
    const struct ctl_args *args, struct queue_redrive *what, struct err *e)
{
	int64_t now = clock_wall_ms();
	enum rc rc;

	*what = (struct queue_redrive){ .name = args->operand[0],
		.type = ctl_value(args, "type"),
		.error = ctl_value(args, "error"),
		.id = ctl_value(args, "id"),
		.died_before_ms = now };
	if ((rc = check_queue(what->name, e)) != RC_OK ||
	    (rc = time_arg(args, "since", now, &what->died_since_ms, e)) !=
		RC_OK ||
	    (rc = time_arg(args, "before", now, &what->died_before_ms, e)) !=
		RC_OK)
		return rc;
	/* Those that die again meanwhile are not taken once more. */
	if (what->died_before_ms > now)
		what->died_before_ms = now;
	return RC_OK;
}

static enum rc
redrive_look(struct ctl *ctl, const struct queue_redrive *what, struct err *e)
{
	struct queue_redrive_group *list;
	json_t *all;
	int64_t total = 0;
	int n;
	enum rc rc =
	    queue_pg_redrive_look(ctl_pg(ctl), what, ctl->arena, &list, &n, e);

	if (rc != RC_OK)
		return rc;
	all = json_array();
	for (int i = 0; i < n; i++) {
		total += list[i].n;
		if (!ctl->json)
			(void)printf("%lld\t%s\t%s\n", (long long)list[i].n,
			    list[i].type, list[i].error);
		(void)json_array_append_new(all,
		    json_pack("{s:I, s:s, s:s}", "tasks", (json_int_t)list[i].n,
			"type", list[i].type, "error", list[i].error));
	}
	if (ctl->json)
		ctl_print_json(json_pack("{s:I, s:O}", "wouldMove",
		    (json_int_t)total, "groups", all));
	json_decref(all);
	ctl_say(ctl, "%lld would be sent back; nothing was changed",
	    (long long)total);
	return RC_OK;
}

static enum rc
redrive_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct queue_redrive what;
	int64_t max = INT32_MAX, rate = 0, total = 0, moved = 1;
	enum rc rc;

	if ((rc = ctl_int(args, "max", 1, INT32_MAX, &max, e)) != RC_OK ||
	    (rc = rate_arg(args, &rate, e)) != RC_OK ||
	    (rc = redrive_args(args, &what, e)) != RC_OK)
		return rc;
	if (ctl_flag(args, "dry-run"))
		return redrive_look(ctl, &what, e);
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

/* As the configuration says; "" where Amazon's own is meant. */
static const char *
sqs_endpoint(struct ctl *ctl, const char *region)
{
	const char *s = conf_str(ctl->conf, "aws", "endpoint");

	return *s != '\0' ? s
			  : arena_concat(ctl->arena, "https://sqs.", region,
				".amazonaws.com", NULL);
}

static enum rc
create_sqs(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *name = args->operand[0], *as = ctl_value(args, "name");
	const char *region = conf_str(ctl->conf, "aws", "region"), *url;
	struct aws_cred *cred = queues_cred_new(ctl->conf, 0);
	enum rc rc;

	if (*region == '\0')
		region = aws_region(cred, ctl->arena);
	rc = queue_sqs_create(
	    &(struct aws_opts){ .service = "sqs",
		.region = region,
		.endpoint = sqs_endpoint(ctl, region),
		.cred = cred,
		.connect_ms = (int)conf_int(ctl->conf, "aws", "connect"),
		.timeout_ms = (int)conf_int(ctl->conf, "aws", "timeout") },
	    &(struct queue_sqs_new){
		.name = as != NULL
			    ? as
			    : arena_concat(ctl->arena, "souk-", name, NULL),
		.fifo = ctl_flag(args, "fifo"),
		.visibility_ms = conf_int(ctl->conf, "workers", "visibility"),
		/* Our workers bury a task long before. SQS also counts what
		 * came while PostgreSQL was away: this is the most it takes. */
		.max_receives = 1000 },
	    ctl->arena, &url, e);
	aws_cred_free(cred);
	if (rc != RC_OK)
		return rc;
	ctl_say(ctl, "set it in souk.ini as [queue.%s] url", name);
	(void)printf("%s\n", url);
	return RC_OK;
}

static enum rc
create_rabbitmq(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *name = args->operand[0], *as;
	enum rc rc;

	if (ctl_value(args, "name") != NULL || ctl_flag(args, "fifo"))
		return ctl_usage(e, "--name and --fifo are of Amazon SQS; "
				    "?queue= of its address names a queue at "
				    "RabbitMQ");
	rc = ask(ctl, name, NULL, &as, e);
	if (rc == RC_OK)
		(void)printf("%s\n", as);
	return rc;
}

/* At SQS there is no address yet that could say so. */
static enum rc
create_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *name = args->operand[0];
	enum rc rc = check_queue(name, e);

	if (rc != RC_OK)
		return rc;
	return span_starts(span_of(queues_url(ctl->conf, name)), "amqp")
		   ? create_rabbitmq(ctl, args, e)
		   : create_sqs(ctl, args, e);
}

static const struct ctl_opt create_opts[] = {
	{ "name", "NAME", "what it is called at SQS (souk-QUEUE)" },
	{ "fifo", NULL, "a FIFO queue, at SQS" },
	{ 0 },
};

static const struct ctl_opt peek_opts[] = {
	{ "dead", NULL, "the dead letters" },
	{ "max", "N", "how many at most (20)" },
	{ 0 },
};

static const struct ctl_opt redrive_opts[] = {
	{ "type", "T", "only tasks of that type" },
	{ "error", "TEXT", "only with that in one of their errors" },
	{ "since", "TIME", "only dead since then (RFC 3339, or -2h)" },
	{ "before", "TIME", "only dead before then" },
	{ "id", "TASK", "only that one" },
	{ "max", "N", "at most that many" },
	{ "rate", "N", "that many a second (also: N/s)" },
	{ "dry-run", NULL, "only say which: how many, type, first error" },
	{ 0 },
};

const struct ctl_cmd queue_cmds[] = {
	{ .name = "queue create",
	    .operands = "QUEUE",
	    .min = 1,
	    .max = 1,
	    .help = "make it and its dead letter queue, at SQS or RabbitMQ; "
		    "prints where",
	    .opts = create_opts,
	    .run = create_run },
	{ .name = "queue stats",
	    .operands = "",
	    .help = "of each queue: depth, age, dead, rates, pause; --json "
		    "names them",
	    .run = stats_run },
	{ .name = "queue pause",
	    .operands = "QUEUE",
	    .min = 1,
	    .max = 1,
	    .help = "begin none of its tasks until it is resumed",
	    .run = pause_run },
	{ .name = "queue resume",
	    .operands = "QUEUE",
	    .min = 1,
	    .max = 1,
	    .help = "go on with a paused queue",
	    .run = resume_run },
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
