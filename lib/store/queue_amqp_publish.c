/*
 * Sending: publisher confirms on a channel of its own. Messages are mandatory,
 * so that one for a queue that is gone is returned and not swallowed; the
 * return comes before its confirm and names the task (message id).
 */
#include "store/queue_amqp.h"

#include <amqp_framing.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "store/task_envelope.h"

enum {
	DELIVERY_LIMIT = 2000, /* above any max_receives (1000) */
	DEAD_MAX = 100000,
	DEAD_TTL_DAYS = 14,
	DAY_MS = 86400000,
	NAME_MAX_ = 256,
	/* A retry queue goes when it was not used for that long on top of its
	 * delay; what lies in it does not count as use. It is declared anew
	 * well before. */
	RETRY_IDLE_MS = 3600000,
	RETRY_AGAIN_MS = 60000,
	RETRY_BAD_MS = 600000,
	RETRY_YOUNG_MS = 3000
};

/* ---- queues */

static amqp_table_entry_t
entry_text(const char *key, const char *value)
{
	return (amqp_table_entry_t){ bytes_of(key),
		{ .kind = AMQP_FIELD_KIND_UTF8,
		    .value.bytes = bytes_of(value) } };
}

static amqp_table_entry_t
entry_int(const char *key, int64_t value)
{
	return (amqp_table_entry_t){ bytes_of(key),
		{ .kind = AMQP_FIELD_KIND_I64, .value.i64 = value } };
}

static enum rc
declare(struct amqp_link *link, const char *name, bool passive,
    amqp_table_t args, struct err *e)
{
	enum rc rc = alink_ask(link, e);

	if (rc != RC_OK)
		return rc;
	(void)amqp_queue_declare(link->conn, ALINK_ASK, bytes_of(name), passive,
	    !passive, 0, 0, args);
	return alink_reply(link, ALINK_ASK, e);
}

static enum rc
declare_dead(const struct amq *s, struct amqp_link *link, struct err *e)
{
	amqp_table_entry_t entries[] = {
		entry_text("x-queue-type", "quorum"),
		entry_int("x-max-length", DEAD_MAX),
		entry_int("x-message-ttl", (int64_t)DEAD_TTL_DAYS * DAY_MS),
	};

	return declare(link, s->dead, false,
	    (amqp_table_t){ sizeof entries / sizeof *entries, entries }, e);
}

static enum rc
declare_work(const struct amq *s, struct amqp_link *link, struct err *e)
{
	amqp_table_entry_t entries[] = {
		entry_text("x-queue-type", "quorum"),
		entry_int("x-delivery-limit", DELIVERY_LIMIT),
		entry_text("x-dead-letter-exchange", ""),
		entry_text("x-dead-letter-routing-key", s->dead),
	};

	return declare(link, s->url.queue, false,
	    (amqp_table_t){ sizeof entries / sizeof *entries, entries }, e);
}

enum rc
amq_topology(struct queue *queue, struct amqp_link *link, struct err *e)
{
	const struct amq *s = amq_of(queue);
	/* One that is there is taken as it is: somebody wanted it so. */
	enum rc rc = declare(link, s->url.queue, true, amqp_empty_table, e);

	if (rc == RC_NONE)
		rc = declare_dead(s, link, e);
	else
		return rc;
	return rc == RC_OK ? declare_work(s, link, e) : rc;
}

static enum rc
declare_retry(struct queue *queue, int power, const char *name, struct err *e)
{
	struct amq *s = amq_of(queue);
	int64_t ttl = INT64_C(1) << power, now = clock_mono_ms();
	int64_t *made = &s->retry_made[power - RETRY_FIRST];
	amqp_table_entry_t entries[] = {
		entry_text("x-queue-type", "quorum"),
		entry_int("x-message-ttl", ttl),
		entry_int("x-expires", ttl + RETRY_IDLE_MS),
		entry_text("x-dead-letter-exchange", ""),
		entry_text("x-dead-letter-routing-key", s->url.queue),
		/* A crash between the two queues loses nothing. */
		entry_text("x-dead-letter-strategy", "at-least-once"),
		entry_text("x-overflow", "reject-publish"),
	};
	enum rc rc;

	if (*made != 0 && now - *made < RETRY_AGAIN_MS)
		return RC_OK;
	rc = declare(&s->out, name, false,
	    (amqp_table_t){ sizeof entries / sizeof *entries, entries }, e);
	if (rc == RC_OK)
		*made = now;
	return rc;
}

/* ---- the connection */

static enum rc
out_fresh(struct queue *queue, struct err *e)
{
	struct amq *s = amq_of(queue);

	s->declared = false;
	s->published = 0;
	memset(s->retry_made, 0, sizeof s->retry_made);
	(void)amqp_confirm_select(s->out.conn, ALINK_WORK);
	return alink_reply(&s->out, ALINK_WORK, e);
}

/* A good-bye of the broker that lies unread is found here. */
static bool
out_is_quiet(struct amq *s)
{
	enum alink_got got;
	amqp_frame_t frame;
	struct err e;

	do
		got = alink_frame(&s->out, 0, 0, &frame, &e);
	while (got == ALINK_FRAME);
	return got != ALINK_LOST;
}

enum rc
amq_out(struct queue *queue, struct err *e)
{
	struct amq *s = amq_of(queue);
	bool fresh;
	enum rc rc = alink_up(&s->out, &fresh, e);

	if (rc == RC_OK && !fresh && !out_is_quiet(s))
		rc = alink_up(&s->out, &fresh, e);
	if (rc == RC_OK && fresh)
		rc = out_fresh(queue, e);
	if (rc == RC_OK && !s->declared) {
		rc = amq_topology(queue, &s->out, e);
		s->declared = rc == RC_OK;
	}
	return rc;
}

/* ---- publishing */

static int
put(struct amq *s, const char *to, const struct message *m,
    const struct strbuf *body)
{
	amqp_table_entry_t headers[] = {
		entry_text("TaskType", m->task->type),
		entry_text("Priority", m->task->priority),
		entry_int("SoukReceives", m->counted),
	};
	amqp_basic_properties_t p = {
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG |
			  AMQP_BASIC_DELIVERY_MODE_FLAG |
			  AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TYPE_FLAG |
			  AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_HEADERS_FLAG,
		.content_type = bytes_of("application/json"),
		.delivery_mode = 2, /* kept on disk */
		.message_id = bytes_of(m->task->id),
		.type = bytes_of(m->task->type),
		.timestamp = (uint64_t)(m->task->created_ms / 1000),
		.headers = { sizeof headers / sizeof *headers, headers },
	};
	char expire[24];

	if (m->expire_ms >= 0) {
		(void)snprintf(expire, sizeof expire, "%" PRId64, m->expire_ms);
		p._flags |= AMQP_BASIC_EXPIRATION_FLAG;
		p.expiration = bytes_of(expire);
	}
	return amqp_basic_publish(s->out.conn, ALINK_WORK, amqp_empty_bytes,
	    bytes_of(to), 1, 0, &p, (amqp_bytes_t){ body->len, body->s });
}

/* What became of a batch. */
struct confirms {
	int n;
	const struct message *messages;
	uint64_t number[QUEUE_BATCH]; /* 0: was not put */
	bool settled[QUEUE_BATCH], refused[QUEUE_BATCH], returned[QUEUE_BATCH];
	int open; /* put, not settled */
};

static void
settle(struct confirms *c, uint64_t number, bool multiple, bool refused)
{
	for (int i = 0; i < c->n; i++) {
		if (c->number[i] == 0 || c->settled[i] ||
		    (multiple ? c->number[i] > number : c->number[i] != number))
			continue;
		c->settled[i] = true;
		c->refused[i] = refused;
		c->open--;
	}
}

static void
note_return(struct confirms *c, const amqp_frame_t *header)
{
	const amqp_basic_properties_t *p = header->payload.properties.decoded;
	struct span id = { p->message_id.bytes, p->message_id.len };

	if ((p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) == 0)
		return;
	for (int i = 0; i < c->n; i++) {
		if (span_is(id, c->messages[i].task->id))
			c->returned[i] = true;
	}
}

/* The bodies of what was returned are passed over. */
static void
note_frame(struct confirms *c, const amqp_frame_t *frame)
{
	const amqp_method_t *m = &frame->payload.method;

	if (frame->frame_type == AMQP_FRAME_HEADER) {
		note_return(c, frame);
	} else if (frame->frame_type != AMQP_FRAME_METHOD) {
		return;
	} else if (m->id == AMQP_BASIC_ACK_METHOD) {
		const amqp_basic_ack_t *a = m->decoded;

		settle(c, a->delivery_tag, a->multiple, false);
	} else if (m->id == AMQP_BASIC_NACK_METHOD) {
		const amqp_basic_nack_t *a = m->decoded;

		settle(c, a->delivery_tag, a->multiple, true);
	}
}

static enum rc
confirms_await(struct queue *queue, struct confirms *c, struct err *e)
{
	struct amq *s = amq_of(queue);
	int64_t deadline = deadline_in(s->out.timeout_ms);

	while (c->open > 0) {
		amqp_frame_t frame;

		switch (alink_frame(&s->out, deadline, 0, &frame, e)) {
		case ALINK_FRAME:
			note_frame(c, &frame);
			break;
		case ALINK_LOST:
			return e->rc;
		case ALINK_NOTHING:
		default:
			/* Which they were could not be told any more. */
			alink_drop(&s->out);
			return err_set(e, RC_RETRY, "queue_silent",
			    "queue %s: RabbitMQ did not confirm in time",
			    queue->name);
		}
	}
	return RC_OK;
}

/* Those too large are left out: *rc[i]. */
static enum rc
put_all(struct queue *queue, const char *to, struct confirms *c,
    bool too_large[], struct err *e)
{
	struct amq *s = amq_of(queue);
	struct strbuf body;
	enum rc rc = RC_OK;

	strbuf_init(&body, 1024);
	for (int i = 0; i < c->n && rc == RC_OK; i++) {
		strbuf_reset(&body);
		task_envelope_write(c->messages[i].task, &body);
		too_large[i] = body.len > AMQP_BODY_MAX;
		if (too_large[i])
			continue;
		rc =
		    alink_wrote(&s->out, put(s, to, &c->messages[i], &body), e);
		if (rc != RC_OK)
			break;
		c->number[i] = ++s->published;
		c->open++;
	}
	strbuf_release(&body);
	return rc;
}

/* What is the matter with the first that was not sent? */
static enum rc
first_unsent(struct queue *queue, const struct confirms *c,
    const bool too_large[], enum rc rc, struct err *e)
{
	for (int i = 0; i < c->n; i++) {
		if (too_large[i])
			return err_set(e, RC_INVALID, "task_too_large",
			    "task %s: more than %d bytes",
			    c->messages[i].task->id, AMQP_BODY_MAX);
		if (c->returned[i])
			return err_set(e, RC_RETRY, "queue_missing",
			    "queue %s: RabbitMQ has no such queue any more",
			    queue->name);
		if (c->refused[i])
			return err_set(e, RC_RETRY, "queue_full",
			    "queue %s: RabbitMQ did not take the task",
			    queue->name);
		if (!c->settled[i])
			return rc; /* e is set */
	}
	return RC_OK;
}

enum rc
amq_publish(struct queue *queue, const char *to, int n,
    const struct message messages[], bool sent[], struct err *e)
{
	struct amq *s = amq_of(queue);
	struct confirms c = { .n = n, .messages = messages };
	bool too_large[QUEUE_BATCH] = { false };
	enum rc rc = amq_out(queue, e);

	for (int i = 0; i < n; i++)
		sent[i] = false;
	if (rc != RC_OK)
		return rc == RC_NONE ? RC_RETRY : rc;
	rc = put_all(queue, to, &c, too_large, e);
	if (rc == RC_OK)
		rc = confirms_await(queue, &c, e);
	for (int i = 0; i < n; i++) {
		sent[i] = c.settled[i] && !c.refused[i] && !c.returned[i];
		if (c.returned[i]) {
			/* Made anew by the next call. */
			s->declared = false;
			memset(s->retry_made, 0, sizeof s->retry_made);
		}
	}
	return first_unsent(queue, &c, too_large, rc, e);
}

/* In the queue of that power of two. */
static enum rc
put_off(struct queue *queue, int power, const struct message *m, struct err *e)
{
	char name[NAME_MAX_];
	bool sent;
	enum rc rc = amq_out(queue, e);

	(void)snprintf(name, sizeof name, "%s.retry.%" PRId64,
	    amq_of(queue)->url.queue, INT64_C(1) << power);
	if (rc == RC_OK)
		rc = declare_retry(queue, power, name, e);
	if (rc == RC_OK)
		rc = amq_publish(queue, name, 1, m, &sent, e);
	return rc == RC_NONE ? RC_RETRY : rc;
}

/* It is that queue, and not the connection. */
static bool
is_its_fault(const struct err *e)
{
	return strcmp(e->code, "queue_silent") == 0 ||
	       strcmp(e->code, "queue_full") == 0 ||
	       strcmp(e->code, "queue_refused") == 0;
}

/*
 * Each waits in the queue of the next power of two, so that there are few of
 * them, for its own time: an expiry of its own. One behind a later one waits
 * for that, too (messages expire at the head): never for less than was asked,
 * never for twice as long.
 *
 * What RabbitMQ 3.10 knows of a quorum queue it writes down half a second after
 * it was made. Killed before, it loses what the queue had confirmed, and the
 * queue has no leader afterwards: it takes nothing, without a word. So one that
 * does not take it is passed over for a while; and a young one is not trusted.
 * Each of us counts its age from when he last declared it, which it is at
 * least.
 */
enum rc
amq_publish_later(struct queue *queue, const struct task *task, int64_t counted,
    int64_t delay_ms, bool *young, struct err *e)
{
	struct amq *s = amq_of(queue);
	int64_t most = INT64_C(1) << RETRY_LAST, *bad = s->retry_bad;
	struct message m = { task, counted, delay_ms < most ? delay_ms : most };
	int power = RETRY_FIRST, tries = 0;
	enum rc rc;

	while (INT64_C(1) << power < m.expire_ms)
		power++;
	do {
		while (power < RETRY_LAST &&
		       clock_mono_ms() < bad[power - RETRY_FIRST])
			power++;
		rc = put_off(queue, power, &m, e);
		if (rc != RC_OK && !is_its_fault(e))
			return rc;
		if (rc != RC_OK)
			bad[power - RETRY_FIRST] = deadline_in(RETRY_BAD_MS);
	} while (rc != RC_OK && ++tries < 2);
	*young = clock_mono_ms() - s->retry_made[power - RETRY_FIRST] <
		 RETRY_YOUNG_MS;
	return rc;
}
