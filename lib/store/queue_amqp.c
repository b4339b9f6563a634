/*
 * amqp://, amqps:// - RabbitMQ (3.10 or later), by librabbitmq.
 *
 * Queues, made where they are not there already, all durable and of type
 * quorum:
 *
 *	souk.email                 the work queue, or ?queue= of the address
 *	souk.email.retry.4096      waits for up to that many ms, then back;
 *	                           goes when it was not used for an hour
 *	souk.email.dead            what the broker gave up on
 *
 * A lease is the life of the connection: RabbitMQ has no visibility timeout, a
 * message is ours until its channel closes. So a task's lease_until_ms is now +
 * visibility, and extending asks whether the consuming connection lives: who
 * holds it knows; the heartbeat, which has a queue object of its own, looks for
 * the exchange that lives as long as that connection does (lease_make). Where
 * it has died the broker has given the task to somebody else, at once and
 * without asking: so what fences an effect is never the lease but the task's
 * id, recorded in the transaction of the effect (task_finish), here even more
 * than with other queues. The broker's consumer_timeout (30 minutes as it
 * comes) must be above [workers] max_lease: it closes the channel of who holds
 * a message for longer.
 *
 * receives: the outbox counts (record_received). For tasks that have no row
 * there, since other software sent them, it is what the message carries in its
 * header SoukReceives, plus what the broker counts (x-delivery-count of a
 *quorum queue): a connection that dies with its worker counts against the
 *message. A classic queue does not count: there a message that came before is
 *sent anew with its count and only then received. Returning unstarted tasks
 *must not count, and no way of putting them back is free of that: so each
 *return is a new message with the right count, confirmed before the old one is
 *acknowledged. Dying between the two makes it two messages of one id, of which
 *one has an effect.
 *
 * The broker's own limit of deliveries is above any max_receives; what meets it
 * has been thrown back by workers that never came to settle anything, and goes
 * to the dead letter queue, whence nobody takes it but a person. The outbox
 * still has the task.
 *
 * No priorities in a queue: quorum queues have none. Classes are queues.
 */
#include "store/queue_amqp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/queue_record.h"

enum {
	CONNECT_MS = 3000,
	TIMEOUT_MS = 5000,
	BURY_AGAIN_MS = 8000, /* where it could not be recorded */
	RESEND_SOON_MS = 10000
};

static enum rc
amq_open(struct queue *queue, struct err *e)
{
	const struct queue_remote *remote = &queue->opts.remote;
	struct amq *s = xcalloc(1, sizeof *s);
	struct strbuf sb;
	enum rc rc;

	queue->state = s;
	rc = amqp_url_parse(queue->url, queue->name, &s->url, e);
	if (rc != RC_OK)
		return rc;
	strbuf_init(&sb, 64);
	strbuf_addf(&sb, "%s.dead", s->url.queue);
	s->dead = xstrdup(sb.s);
	strbuf_release(&sb);
	s->in = s->out = (struct amqp_link){
		.url = &s->url,
		.name = queue->name,
		.connect_ms =
		    remote->connect_ms > 0 ? remote->connect_ms : CONNECT_MS,
		.timeout_ms =
		    remote->timeout_ms > 0 ? remote->timeout_ms : TIMEOUT_MS,
	};
	return RC_OK;
}

static void
amq_close(struct queue *queue)
{
	struct amq *s = amq_of(queue);

	if (s == NULL)
		return;
	amq_give_up_waiting(queue);
	alink_close(&s->in);
	alink_close(&s->out);
	amq_forget(s);
	amqp_url_release(&s->url);
	free(s->dead);
	free(s);
}

/* ---- leases */

static enum rc
lease_lost(const struct task *task, struct err *e)
{
	return err_set(e, RC_NONE, "lease_lost",
	    "task %s: the connection it came by is gone", task->id);
}

/* A receipt is "<lease>/<delivery tag>". */
static size_t
lease_length(const struct task *task)
{
	const char *slash = strchr(task->receipt, '/');

	return slash == NULL ? 0 : (size_t)(slash - task->receipt);
}

/* Its delivery tag; 0: not ours any more. */
static uint64_t
tag_of(struct queue *queue, const struct task *task)
{
	const struct amq *s = amq_of(queue);
	size_t n = lease_length(task);
	int64_t tag;

	if (n == 0 || s->in.conn == NULL ||
	    !span_is((struct span){ task->receipt, n }, s->lease) ||
	    !text_int(span_of(task->receipt + n + 1), 1, INT64_MAX, &tag))
		return 0;
	for (int i = 0; i < s->n_held; i++) {
		if (s->held[i] == (uint64_t)tag)
			return s->held[i];
	}
	return 0;
}

/* Does the connection of that lease live? RC_NONE: no. */
static enum rc
lease_look(struct queue *queue, const struct task *task, struct arena *arena,
    struct err *e)
{
	struct amq *s = amq_of(queue);
	size_t n = lease_length(task);
	char *name = arena_strndup(arena, task->receipt, n);
	enum rc rc;

	if (n == 0)
		return RC_NONE;
	if (amq_holds(queue, task->receipt, n))
		return tag_of(queue, task) == 0 ? RC_NONE : RC_OK;
	rc = amq_out(queue, e);
	if (rc == RC_OK)
		rc = alink_ask(&s->out, e);
	if (rc != RC_OK)
		return rc == RC_NONE ? RC_RETRY : rc;
	(void)amqp_exchange_declare(s->out.conn, ALINK_ASK, bytes_of(name),
	    bytes_of("fanout"), 1, 0, 1, 0, amqp_empty_table);
	return alink_reply(&s->out, ALINK_ASK, e);
}

static bool
same_lease(const struct task *a, const struct task *b)
{
	size_t n = lease_length(a);

	return n > 0 && n == lease_length(b) &&
	       memcmp(a->receipt, b->receipt, n) == 0;
}

static enum rc
amq_extend(struct queue *queue, int n, struct task *tasks[], bool lost[],
    struct arena *arena, struct err *e)
{
	int64_t start = clock_mono_ms();
	enum rc rc = RC_OK, one = RC_OK;

	for (int i = 0; i < n; i++) {
		/* As a rule they are of one batch. */
		if (i == 0 || !same_lease(tasks[i - 1], tasks[i]) ||
		    amq_of(queue)->n_held > 0)
			one = lease_look(queue, tasks[i], arena, e);
		if (one != RC_OK && one != RC_NONE)
			return one;
		if (one == RC_OK)
			tasks[i]->lease_until_ms =
			    start + queue->opts.visibility_ms;
		else
			rc = lease_lost(tasks[i], e);
		if (lost != NULL)
			lost[i] = one == RC_NONE;
	}
	return rc;
}

/* ---- settling */

/*
 * The effect stands: so the record goes first, and the broker is told even
 * where that failed (the row is sent again then, finds its effect done, and
 * goes).
 */
static enum rc
amq_done(struct queue *queue, int n, const struct task *const tasks[],
    bool lost[], struct arena *arena, struct err *e)
{
	enum rc rc = record_done(queue->opts.pg, n, tasks, arena, e);
	uint64_t tags[QUEUE_BATCH];
	struct err told;
	int k = 0;
	enum rc acked;

	for (int i = 0; i < n; i++) {
		uint64_t tag = tag_of(queue, tasks[i]);

		if (tag != 0)
			tags[k++] = tag;
		else if (rc == RC_OK)
			rc = lease_lost(tasks[i], e);
		if (lost != NULL)
			lost[i] = tag == 0;
	}
	acked = k == 0 ? RC_OK : amq_ack(queue, k, tags, &told);
	if (acked != RC_OK && (rc == RC_OK || rc == RC_NONE)) {
		*e = told;
		rc = acked;
	}
	return rc;
}

/* A copy with the right count, then the end of the original. */
static enum rc
replace(struct queue *queue, const struct task *task, uint64_t tag,
    int64_t counted, int64_t delay_ms, bool *young, struct err *e)
{
	struct message m = { task, counted, -1 };
	bool sent;
	enum rc rc =
	    delay_ms > 0
		? amq_publish_later(queue, task, counted, delay_ms, young, e)
		: amq_publish(queue, amq_of(queue)->url.queue, 1, &m, &sent, e);

	return rc == RC_OK ? amq_ack(queue, 1, &tag, e) : rc;
}

/* What other software sent has a row from its first failure on. It may come
 * after up to twice the delay. Where it waits may be lost (young): then it is
 * sent again, soon after. */
static void
note_failure(struct queue *queue, const struct task *task, int64_t delay_ms,
    bool young, const char *why, struct arena *arena)
{
	int64_t resend = queue->opts.remote.resend_ms;
	int64_t alive =
	    2 * delay_ms +
	    (young && resend > RESEND_SOON_MS ? RESEND_SOON_MS : resend);
	struct pg *pg = queue->opts.pg;
	struct err e;

	if (record_adopt(pg, task, alive, arena, &e) == RC_OK)
		(void)!record_failed(pg, task, alive, why, arena, &e);
}

static enum rc
amq_return(struct queue *queue, const struct task *task, int64_t delay_ms,
    const char *why, struct arena *arena, struct err *e)
{
	uint64_t tag = tag_of(queue, task);
	bool young = false;
	struct err later;
	enum rc rc;

	if (tag == 0)
		return lease_lost(task, e);
	rc = replace(queue, task, tag,
	    why == NULL ? task->receives - 1 : task->receives, delay_ms, &young,
	    e);
	/* A history that is not written is no reason to hold on to it. */
	if (rc == RC_OK && why != NULL)
		note_failure(queue, task, delay_ms, young, why, arena);
	else if (rc == RC_OK)
		(void)!record_unstarted(queue->opts.pg, task, arena, &later);
	return rc;
}

static enum rc
amq_bury(struct queue *queue, const struct task *task, const char *why,
    struct arena *arena, struct err *e)
{
	uint64_t tag = tag_of(queue, task);
	struct err none;
	bool young;
	enum rc rc;

	if (tag == 0)
		return lease_lost(task, e);
	rc = record_bury(queue->opts.pg, task, why, arena, e);
	if (rc == RC_OK)
		return amq_ack(queue, 1, &tag, e);
	/* It comes again to be buried, but not in a circle. */
	(void)!replace(
	    queue, task, tag, task->receives - 1, BURY_AGAIN_MS, &young, &none);
	return rc;
}

/* ---- sending, looking */

static enum rc
amq_send(struct queue *queue, int n, const struct task tasks[], bool sent[],
    struct arena *arena, struct err *e)
{
	struct message messages[QUEUE_BATCH];

	(void)arena;
	for (int i = 0; i < n; i++)
		messages[i] = (struct message){ &tasks[i], 0, -1 };
	return amq_publish(
	    queue, amq_of(queue)->url.queue, n, messages, sent, e);
}

/* What is in flight and delayed is not to be had by AMQP: 0. */
static enum rc
amq_stats(struct queue *queue, struct arena *arena, struct queue_stats *out,
    struct err *e)
{
	struct amq *s = amq_of(queue);
	const amqp_queue_declare_ok_t *ok;
	enum rc rc;

	*out = (struct queue_stats){ 0 };
	rc = record_stats(queue->opts.pg, queue->name, arena, out, e);
	if (rc != RC_OK)
		return rc;
	rc = amq_out(queue, e);
	if (rc == RC_OK)
		rc = alink_ask(&s->out, e);
	if (rc != RC_OK)
		return rc == RC_NONE ? RC_RETRY : rc;
	ok = amqp_queue_declare(s->out.conn, ALINK_ASK, bytes_of(s->url.queue),
	    1, 0, 0, 0, amqp_empty_table);
	rc = alink_reply(&s->out, ALINK_ASK, e);
	if (rc == RC_OK && ok != NULL)
		out->depth = ok->message_count;
	if (rc == RC_NONE)
		s->declared = false; /* deleted: empty, and made anew */
	return rc == RC_NONE ? RC_OK : rc;
}

static enum rc
amq_make(
    struct queue *queue, struct arena *arena, const char **as, struct err *e)
{
	enum rc rc = amq_out(queue, e);

	*as = arena_strdup(arena, amq_of(queue)->url.queue);
	return rc == RC_NONE ? RC_RETRY : rc;
}

const struct queue_driver queue_amqp_driver = {
	.scheme = "amqp",
	.pushed = true,
	.open = amq_open,
	.close = amq_close,
	.receive = amq_receive,
	.extend = amq_extend,
	.done = amq_done,
	.give_back = amq_return,
	.bury = amq_bury,
	.send = amq_send,
	.stats = amq_stats,
	.make = amq_make,
};
