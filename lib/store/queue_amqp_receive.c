/*
 * Receiving: one consumer, to which the broker pushes as many as a batch ahead
 * (prefetch), and what was pushed is put together frame by frame, so that no
 * wait is without a deadline and a huge message is passed over without being
 * kept.
 *
 * The size of a batch follows how long tasks take, and so the prefetch must,
 * or tasks would wait here that others could do. It belongs to a consumer: to
 * change it the old one is cancelled and a new one made. What the old one has
 * been given stays ours.
 */
#include "store/queue_amqp.h"

#include <amqp_framing.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/queue_record.h"
#include "store/task_envelope.h"

enum {
	WAITING_MAX = 2 * QUEUE_BATCH,
	HELD_MAX = 2 * QUEUE_BATCH,
	LOOK_MS = 30000 /* two questions a minute of an idle worker */
};

void
amq_forget(struct amq *s)
{
	for (int i = 0; i < s->n_waiting; i++)
		free(s->waiting[i].body);
	if (s->has_part)
		free(s->part.body);
	s->has_part = false;
	s->n_waiting = s->n_held = s->prefetch = 0;
	s->lease[0] = '\0';
}

/* ---- the connection and its sign of life */

/*
 * An exchange that lives as long as this connection: it is deleted with the
 * last queue bound to it (auto-delete), and that one with the connection
 * (exclusive). Whoever wants to know whether the connection lives, the
 * heartbeat on its own, looks for the exchange.
 */
static enum rc
lease_make(struct amq *s, struct err *e)
{
	amqp_table_t none = amqp_empty_table;
	char id[33];
	enum rc rc = alink_ask(&s->in, e);

	if (rc != RC_OK)
		return rc;
	text_random_id(id);
	(void)snprintf(s->lease, sizeof s->lease, "souk.lease.%s", id);
	(void)amqp_exchange_declare(s->in.conn, ALINK_ASK, bytes_of(s->lease),
	    bytes_of("fanout"), 0, 0, 1, 0, none);
	rc = alink_reply(&s->in, ALINK_ASK, e);
	if (rc != RC_OK)
		return rc;
	(void)amqp_queue_declare(
	    s->in.conn, ALINK_ASK, bytes_of(s->lease), 0, 0, 1, 1, none);
	rc = alink_reply(&s->in, ALINK_ASK, e);
	if (rc != RC_OK)
		return rc;
	(void)amqp_queue_bind(s->in.conn, ALINK_ASK, bytes_of(s->lease),
	    bytes_of(s->lease), amqp_empty_bytes, none);
	return alink_reply(&s->in, ALINK_ASK, e);
}

static enum rc
in_once(struct queue *queue, struct err *e)
{
	struct amq *s = amq_of(queue);
	bool fresh;
	enum rc rc = alink_up(&s->in, &fresh, e);

	if (rc != RC_OK || fresh)
		amq_forget(s);
	if (rc == RC_OK && fresh) {
		rc = amq_topology(queue, &s->in, e);
		if (rc == RC_OK)
			rc = lease_make(s, e);
		if (rc != RC_OK)
			alink_drop(&s->in);
	}
	return rc == RC_NONE ? (e->rc = RC_RETRY) : rc;
}

/* Up, tried until the deadline. */
static enum rc
in_up(struct queue *queue, int64_t deadline, struct err *e)
{
	struct amq *s = amq_of(queue);
	enum rc rc;

	while ((rc = in_once(queue, e)) == RC_RETRY) {
		int64_t again = s->in.not_before;

		if (again <= clock_mono_ms())
			again = clock_mono_ms() + 50;
		if (again >= deadline ||
		    alink_pause(again, queue->opts.remote.stop_fd))
			break;
	}
	return rc;
}

static void
consumer_tag(const struct amq *s, char tag[32])
{
	(void)snprintf(tag, 32, "souk-%d", s->consumers);
}

static enum rc
consume(struct amq *s, int prefetch, struct err *e)
{
	char tag[32];
	enum rc rc = RC_OK;

	if (s->prefetch > 0) {
		consumer_tag(s, tag);
		(void)amqp_basic_cancel(s->in.conn, ALINK_WORK, bytes_of(tag));
		rc = alink_reply(&s->in, ALINK_WORK, e);
	}
	if (rc == RC_OK) {
		s->prefetch = 0;
		(void)amqp_basic_qos(
		    s->in.conn, ALINK_WORK, 0, (uint16_t)prefetch, 0);
		rc = alink_reply(&s->in, ALINK_WORK, e);
	}
	if (rc == RC_OK) {
		s->consumers++;
		consumer_tag(s, tag);
		(void)amqp_basic_consume(s->in.conn, ALINK_WORK,
		    bytes_of(s->url.queue), bytes_of(tag), 0, 0, 0,
		    amqp_empty_table);
		rc = alink_reply(&s->in, ALINK_WORK, e);
	}
	if (rc == RC_OK) {
		s->prefetch = prefetch;
		s->heard_ms = clock_mono_ms();
	}
	return rc == RC_NONE ? (e->rc = RC_RETRY) : rc;
}

/*
 * Where nothing comes for long, is that so? A queue that is deleted and made
 * anew within milliseconds (by a shipper) may leave a consumer that RabbitMQ
 * has forgotten without a word.
 */
static enum rc
consumer_look(struct queue *queue, struct err *e)
{
	struct amq *s = amq_of(queue);
	const amqp_queue_declare_ok_t *ok;
	enum rc rc = alink_ask(&s->in, e);

	if (rc == RC_OK) {
		ok = amqp_queue_declare(s->in.conn, ALINK_ASK,
		    bytes_of(s->url.queue), 1, 0, 0, 0, amqp_empty_table);
		rc = alink_reply(&s->in, ALINK_ASK, e);
		if (rc == RC_OK && ok != NULL && ok->consumer_count == 0)
			rc = RC_NONE;
	}
	s->heard_ms = clock_mono_ms();
	if (rc != RC_NONE)
		return rc;
	alink_drop(&s->in);
	return err_set(e, RC_RETRY, "queue_away",
	    "queue %s: RabbitMQ has forgotten its consumer", queue->name);
}

/* Not for every change: it takes three questions. */
static bool
prefetch_fits(const struct amq *s, int max)
{
	return s->prefetch >= max && s->prefetch / 2 < max;
}

/* ---- messages from frames */

static int64_t
header_int(const amqp_basic_properties_t *p, const char *name)
{
	if ((p->_flags & AMQP_BASIC_HEADERS_FLAG) == 0)
		return 0;
	for (int i = 0; i < p->headers.num_entries; i++) {
		const amqp_table_entry_t *h = &p->headers.entries[i];
		const amqp_field_value_t *v = &h->value;
		int64_t n = 0;

		if (!span_is((struct span){ h->key.bytes, h->key.len }, name))
			continue;
		switch (v->kind) {
		case AMQP_FIELD_KIND_I8:
			n = v->value.i8;
			break;
		case AMQP_FIELD_KIND_I16:
			n = v->value.i16;
			break;
		case AMQP_FIELD_KIND_I32:
			n = v->value.i32;
			break;
		case AMQP_FIELD_KIND_I64:
			n = v->value.i64;
			break;
		default:
			break;
		}
		/* A stranger's may be anything. */
		return n < 0 ? 0 : n > INT32_MAX / 4 ? INT32_MAX / 4 : n;
	}
	return 0;
}

static void
part_begin(struct amq *s, const amqp_basic_deliver_t *m)
{
	if (s->has_part)
		free(s->part.body);
	s->has_part = true;
	s->part = (struct delivery){ .tag = m->delivery_tag,
		.redelivered = m->redelivered };
}

static void
part_done(struct amq *s)
{
	s->waiting[s->n_waiting++] = s->part;
	s->has_part = false;
}

static void
part_header(struct amq *s, const amqp_frame_t *frame)
{
	const amqp_basic_properties_t *p = frame->payload.properties.decoded;
	int64_t delivered = header_int(p, "x-delivery-count");
	int64_t acquired = header_int(p, "x-acquired-count"); /* since 4.0 */
	struct delivery *d = &s->part;

	d->before = delivered > acquired ? delivered : acquired;
	d->counted = header_int(p, "SoukReceives");
	d->size = frame->payload.properties.body_size;
	d->body = xmalloc(d->size < AMQP_BODY_MAX ? (size_t)d->size + 1
						  : (size_t)AMQP_BODY_MAX + 1);
	if (d->size == 0)
		part_done(s);
}

static void
part_body(struct amq *s, amqp_bytes_t bytes)
{
	struct delivery *d = &s->part;
	size_t room = AMQP_BODY_MAX - d->n;
	size_t n = bytes.len < room ? bytes.len : room;

	memcpy(d->body + d->n, bytes.bytes, n);
	d->n += n;
	d->passed += bytes.len;
	if (d->passed >= d->size)
		part_done(s);
}

static void
take_frame(struct amq *s, const amqp_frame_t *frame)
{
	switch (frame->frame_type) {
	case AMQP_FRAME_METHOD:
		if (frame->payload.method.id == AMQP_BASIC_DELIVER_METHOD)
			part_begin(s, frame->payload.method.decoded);
		break;
	case AMQP_FRAME_HEADER:
		if (s->has_part)
			part_header(s, frame);
		break;
	case AMQP_FRAME_BODY:
		if (s->has_part && s->part.body != NULL)
			part_body(s, frame->payload.body_fragment);
		break;
	default:
		break;
	}
}

/* One more frame. No more wait than an old and a new consumer's prefetch, and a
 * broker that sends more is not listened to. */
static enum alink_got
in_turn(struct queue *queue, int64_t deadline, struct err *e)
{
	struct amq *s = amq_of(queue);
	amqp_frame_t frame;
	enum alink_got got;

	if (s->n_waiting == WAITING_MAX)
		return ALINK_NOTHING;
	got = alink_frame(
	    &s->in, deadline, queue->opts.remote.stop_fd, &frame, e);
	if (got == ALINK_FRAME)
		take_frame(s, &frame);
	else if (got == ALINK_LOST)
		amq_forget(s);
	return got;
}

/* All that is there. */
static enum rc
in_drain(struct queue *queue, struct err *e)
{
	enum alink_got got;

	do
		got = in_turn(queue, 0, e);
	while (got == ALINK_FRAME);
	return got == ALINK_LOST ? e->rc : RC_OK;
}

bool
amq_holds(struct queue *queue, const char *lease, size_t n)
{
	struct amq *s = amq_of(queue);
	struct err e;

	if (s->in.conn == NULL || !span_is((struct span){ lease, n }, s->lease))
		return false;
	return in_drain(queue, &e) == RC_OK;
}

/* ---- settling */

static void
unhold(struct amq *s, uint64_t tag)
{
	int k = 0;

	for (int i = 0; i < s->n_held; i++) {
		if (s->held[i] != tag)
			s->held[k++] = s->held[i];
	}
	s->n_held = k;
}

static bool
is_among(uint64_t tag, int n, const uint64_t tags[])
{
	for (int i = 0; i < n; i++) {
		if (tags[i] == tag)
			return true;
	}
	return false;
}

enum rc
amq_ack(struct queue *queue, int n, const uint64_t tags[], struct err *e)
{
	struct amq *s = amq_of(queue);
	uint64_t upto = 0;
	enum rc rc = RC_OK;

	/* One word for all that are the oldest we have. */
	for (int i = 0; i < s->n_held && is_among(s->held[i], n, tags); i++)
		upto = s->held[i];
	if (upto != 0)
		rc = alink_wrote(
		    &s->in, amqp_basic_ack(s->in.conn, ALINK_WORK, upto, 1), e);
	for (int i = 0; i < n && rc == RC_OK; i++) {
		if (tags[i] > upto)
			rc = alink_wrote(&s->in,
			    amqp_basic_ack(s->in.conn, ALINK_WORK, tags[i], 0),
			    e);
	}
	for (int i = 0; i < n && rc == RC_OK; i++)
		unhold(s, tags[i]);
	if (rc != RC_OK)
		amq_forget(s);
	return rc;
}

/* Comes again, counted: reject, since RabbitMQ 4.3 does not count a nack. */
static enum rc
requeue(struct amq *s, uint64_t tag, struct err *e)
{
	enum rc rc = alink_wrote(
	    &s->in, amqp_basic_reject(s->in.conn, ALINK_WORK, tag, 1), e);

	if (rc == RC_OK)
		unhold(s, tag);
	else
		amq_forget(s);
	return rc;
}

/* The receiver asks again: what he has not settled he has let go of. */
static enum rc
requeue_held(struct amq *s, struct err *e)
{
	enum rc rc = RC_OK;

	while (rc == RC_OK && s->n_held > 0)
		rc = requeue(s, s->held[s->n_held - 1], e);
	return rc;
}

static void
hold(struct amq *s, uint64_t tag)
{
	assert(s->n_held < HELD_MAX);
	s->held[s->n_held++] = tag;
}

/* ---- handing out */

/* A task of what was delivered, to be counted and put back. RC_INVALID: it is
 * none; *task is what to bury. */
static enum rc
task_of(const struct queue *queue, const struct delivery *d,
    struct arena *arena, struct task *task, struct err *e)
{
	const struct amq *s = amq_of(queue);
	struct span body = { d->body, d->n };
	enum rc rc =
	    d->size > AMQP_BODY_MAX
		? err_set(e, RC_INVALID, "bad_task", "no task: too large")
		: task_envelope_read(body, arena, task, e);

	if (rc != RC_OK)
		task_envelope_unreadable(body, arena, task);
	task->queue = arena_strdup(arena, queue->name);
	task->receives = (int)(d->counted + d->before) + 1;
	task->receipt = arena_printf(
	    arena, "%s/%llu", s->lease, (unsigned long long)d->tag);
	return rc;
}

static enum rc
bury_unreadable(struct queue *queue, const struct delivery *d,
    const struct task *task, struct arena *arena, struct err *e)
{
	const char *why = arena_concat(arena, e->code, ": ", e->msg, NULL);
	enum rc rc = record_bury(queue->opts.pg, task, why, arena, e);

	return rc == RC_OK ? amq_ack(queue, 1, &d->tag, e) : rc;
}

/*
 * It came before, and the broker does not say how often: a classic queue. To
 * count it, it is sent anew with the count. What cannot be sent now is taken
 * with a count that is at least right this time.
 */
static bool
sent_anew(struct queue *queue, const struct delivery *d, struct task *task)
{
	struct message m = { task, task->receives, -1 };
	struct err e;
	bool sent = false;

	if (!d->redelivered || d->before > 0)
		return false;
	if (amq_publish(queue, amq_of(queue)->url.queue, 1, &m, &sent, &e) !=
	    RC_OK) {
		task->receives++;
		return false;
	}
	/* Not acknowledged it comes twice, which is once too often only. */
	(void)!amq_ack(queue, 1, &d->tag, &e);
	return true;
}

static void
waiting_drop(struct amq *s, int at)
{
	free(s->waiting[at].body);
	s->n_waiting--;
	memmove(s->waiting + at, s->waiting + at + 1,
	    (size_t)(s->n_waiting - at) * sizeof *s->waiting);
}

/* Of the oldest that wait *n are tasks to hand out; those between them that are
 * none are seen to. */
static enum rc
sift(struct queue *queue, int max, struct arena *arena, struct task *tasks,
    int *n, struct err *e)
{
	struct amq *s = amq_of(queue);

	while (*n < max && *n < s->n_waiting) {
		const struct delivery *d = &s->waiting[*n];
		enum rc rc = task_of(queue, d, arena, &tasks[*n], e);

		if (rc == RC_INVALID)
			rc = bury_unreadable(queue, d, &tasks[*n], arena, e);
		else if (!sent_anew(queue, d, &tasks[*n]) && ++*n > 0)
			continue;
		if (rc != RC_OK)
			return rc;
		if (s->in.conn != NULL)
			waiting_drop(s, *n);
	}
	return RC_OK;
}

/* What cannot be counted now waits on, with us: thrown back it would be
 * delivered in a circle for as long as PostgreSQL is away. */
static enum rc
hand_out(struct queue *queue, int n, struct task *tasks, struct arena *arena,
    struct err *e)
{
	struct amq *s = amq_of(queue);
	int64_t start = clock_mono_ms();
	enum rc rc = record_received(queue->opts.pg, n, tasks, arena, e);

	if (rc != RC_OK)
		return rc;
	for (int i = 0; i < n; i++) {
		tasks[i].lease_until_ms = start + queue->opts.visibility_ms;
		hold(s, s->waiting[0].tag);
		waiting_drop(s, 0);
	}
	return RC_OK;
}

/* What there is, waiting for the first. */
static enum rc
gather(struct queue *queue, int max, int64_t deadline, struct arena *arena,
    struct task *tasks, int *n, struct err *e)
{
	struct amq *s = amq_of(queue);

	for (;;) {
		int64_t look = s->heard_ms + LOOK_MS;
		int64_t until = look < deadline ? look : deadline;
		enum rc rc = sift(queue, max, arena, tasks, n, e);

		if (rc != RC_OK || *n == max)
			return rc;
		switch (in_turn(queue, *n > 0 ? 0 : until, e)) {
		case ALINK_LOST:
			return e->rc;
		case ALINK_FRAME:
			s->heard_ms = clock_mono_ms();
			continue;
		case ALINK_NOTHING:
		default:
			break;
		}
		if (*n > 0 || clock_mono_ms() < look)
			return RC_OK;
		rc = consumer_look(queue, e);
		if (rc != RC_OK || deadline_left_ms(deadline) == 0)
			return rc;
	}
}

enum rc
amq_receive(struct queue *queue, int max, int wait_ms, struct arena *arena,
    struct task **out, int *n, struct err *e)
{
	struct amq *s = amq_of(queue);
	int64_t deadline = deadline_in(wait_ms);
	int tries = 0, k;
	enum rc rc;

	*n = 0;
	*out = arena_calloc(arena, (size_t)max, sizeof **out);
	do {
		tries++;
		k = 0;
		rc = in_up(queue, deadline, e);
		if (rc == RC_OK)
			rc = requeue_held(s, e);
		if (rc == RC_OK)
			rc = in_drain(queue, e);
		if (rc == RC_OK && s->n_waiting == 0 && !prefetch_fits(s, max))
			rc = consume(s, max, e);
		if (rc == RC_OK)
			rc = gather(queue, max, deadline, arena, *out, &k, e);
		if (rc == RC_OK && k > 0)
			rc = hand_out(queue, k, *out, arena, e);
		/* One that has died since the last call costs no error, but
		 * for a reason that somebody must hear of. */
	} while (rc == RC_RETRY && s->in.conn == NULL &&
		 strcmp(e->code, "queue_timeout") != 0 &&
		 (tries == 1 || deadline_left_ms(deadline) > 0));
	*n = rc == RC_OK ? k : 0;
	return rc;
}

/* ---- giving back */

static enum rc
give_up_some(struct queue *queue, struct arena *arena, struct err *e)
{
	struct amq *s = amq_of(queue);
	struct message messages[QUEUE_BATCH];
	struct task tasks[QUEUE_BATCH];
	uint64_t tags[QUEUE_BATCH];
	bool sent[QUEUE_BATCH] = { false };
	int n = 0, k = 0;
	enum rc rc = RC_OK;

	while (n < QUEUE_BATCH && s->n_waiting > 0) {
		struct delivery *d = &s->waiting[--s->n_waiting];

		/* What is no task is the broker's again when we are gone. */
		if (task_of(queue, d, arena, &tasks[n], e) == RC_OK) {
			messages[n] = (struct message){ &tasks[n],
				tasks[n].receives - 1, -1 };
			tags[n++] = d->tag;
		}
		free(d->body);
	}
	if (n > 0)
		rc = amq_publish(queue, s->url.queue, n, messages, sent, e);
	for (int i = 0; i < n; i++) {
		if (sent[i])
			tags[k++] = tags[i];
	}
	if (k > 0 && s->in.conn != NULL) {
		enum rc acked = amq_ack(queue, k, tags, e);

		rc = rc == RC_OK ? acked : rc;
	}
	return rc;
}

void
amq_give_up_waiting(struct queue *queue)
{
	struct amq *s = amq_of(queue);
	struct arena *arena;
	char tag[32];
	struct err e;
	enum rc rc;

	if (s->in.conn == NULL || s->prefetch == 0)
		return;
	consumer_tag(s, tag);
	(void)amqp_basic_cancel(s->in.conn, ALINK_WORK, bytes_of(tag));
	rc = alink_reply(&s->in, ALINK_WORK, &e);
	if (rc == RC_OK)
		rc = in_drain(queue, &e);
	arena = arena_new();
	while (rc == RC_OK && s->n_waiting > 0)
		rc = give_up_some(queue, arena, &e);
	arena_free(arena);
}
