/* What the parts of the driver for RabbitMQ share; queue_amqp.c tells how it
 * works. */
#ifndef STORE_QUEUE_AMQP_H
#define STORE_QUEUE_AMQP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "store/amqp_link.h"
#include "store/amqp_url.h"
#include "store/queue_int.h"

struct strbuf;

enum {
	AMQP_BODY_MAX = 1 << 20, /* bytes of a message */
	LEASE_MAX = 48,
	/* Delays by powers of two: 256 ms .. 37 hours, a queue for each that
	 * is in use. */
	RETRY_FIRST = 8,
	RETRY_LAST = 27
};

/* A message that the broker has given to us. */
struct delivery {
	uint64_t tag;
	bool redelivered;
	int64_t before;  /* times it was delivered before, as the broker says */
	int64_t counted; /* receives before it was published */
	char *body;      /* malloced; the beginning of one that is too large */
	size_t n;
	uint64_t size;   /* as announced */
	uint64_t passed; /* of it, so far */
};

struct amq {
	struct amqp_url url;
	char *dead; /* name of the dead letter queue */
	/* Two connections, each opened when it is needed: a broker short of
	 * memory does not read from those that publish, and acknowledgements
	 * are what it needs then. */
	struct amqp_link in, out;
	/* ---- of the connection in, gone with it */
	char lease[LEASE_MAX]; /* names it while it lives */
	int prefetch;          /* 0: does not consume */
	int consumers;         /* numbers their tags */
	int64_t heard_ms;      /* mono: when the consumer last was one */
	bool has_part;         /* a delivery is under way: */
	struct delivery part;
	struct delivery waiting[2 * QUEUE_BATCH]; /* not handed out yet */
	int n_waiting;
	uint64_t held[2 * QUEUE_BATCH]; /* handed out, not settled; ascending */
	int n_held;
	/* ---- of the connection out */
	bool declared;
	uint64_t published;                               /* numbers confirms */
	int64_t retry_made[RETRY_LAST - RETRY_FIRST + 1]; /* mono; 0: not */
	/* ---- of neither */
	int64_t retry_bad[RETRY_LAST - RETRY_FIRST + 1]; /* until then; mono */
};

static inline struct amq *
amq_of(const struct queue *queue)
{
	return queue->state;
}

/* ---- queue_amqp_publish.c */

struct message {
	const struct task *task;
	int64_t counted;   /* receives before this one */
	int64_t expire_ms; /* -1: never */
};

/*
 * To the queue of that name, confirmed. sent[i]: the broker has it. An error is
 * of the first that it has not.
 */
enum rc amq_publish(struct queue *queue, const char *to, int n,
    const struct message messages[], bool sent[], struct err *e);

/* For later; RC_OK: the broker has it. *young: in a queue that may have been
 * made just now: see there. */
enum rc amq_publish_later(struct queue *queue, const struct task *task,
    int64_t counted, int64_t delay_ms, bool *young, struct err *e);

/* The queues are there (made where they are not). */
enum rc amq_topology(
    struct queue *queue, struct amqp_link *link, struct err *e);

/* The connection out is up, with all it needs. */
enum rc amq_out(struct queue *queue, struct err *e);

/* ---- queue_amqp_receive.c */

enum rc amq_receive(struct queue *queue, int max, int wait_ms,
    struct arena *arena, struct task **out, int *n, struct err *e);

/* Is the connection with that lease the one we have, and alive? */
bool amq_holds(struct queue *queue, const char *lease, size_t n);

/* Tells the broker to keep n held ones no longer. Each is no more held. */
enum rc amq_ack(
    struct queue *queue, int n, const uint64_t tags[], struct err *e);

/* What waits and was never handed out goes back, uncounted. */
void amq_give_up_waiting(struct queue *queue);

void amq_forget(struct amq *s); /* what is gone with the connection in */

#endif
