/*
 * queue - one contract for the embedded queue (`pg:`), SQS and RabbitMQ: a
 * driver is one struct of functions in a file of its own.
 *
 * At least once: a task that was received is leased to the receiver until its
 * visibility timeout; deleting it (queue_done) is the only acknowledgement. One
 * that is not deleted, given back or extended in time is received again.
 *
 * The outbox is the record of every task, whichever queue carries it: with pg:
 * it is the queue, with the others its rows are sent (queue_send, ship.h) and
 * stay until the task is done or dead. So a queue that is away, emptied or
 * deleted loses nothing: what was sent and not done is sent again. Dead letters
 * with their errors lie in PostgreSQL for all of them; a queue's own dead
 * letter queue catches only what no worker could settle.
 */
#ifndef STORE_QUEUE_H
#define STORE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;
struct pg;
struct queue;

/* A task as it was received; all in the arena of the receive. */
struct task {
	const char *id;    /* 32 hex digits */
	const char *type;  /* "decrease_stock" */
	const char *queue; /* "inventory" */
	const char *priority;
	const char *aggregate;  /* order is kept within one; "" none */
	int64_t created_ms;     /* wall clock */
	struct span data;       /* JSON object */
	int receives;           /* this one included */
	const char *receipt;    /* names the lease, for the driver */
	int64_t lease_until_ms; /* mono clock: not ours any more after that */
	const char *sending; /* to be sent only: names this sending, for queues
				that drop what comes twice; NULL: the id does */
};

/* What drivers need that reach their queue over the net. */
struct queue_remote {
	struct aws_cred *cred; /* sqs; borrowed; not for two threads */
	const char *region;   /* sqs; "" the address's, else the credentials' */
	const char *endpoint; /* sqs; "" the address's own host */
	int connect_ms, timeout_ms; /* of a call */
	int64_t resend_ms; /* what was sent and has not ended by then goes
			      again */
	int stop_fd;       /* 0: none; readable: a long wait should end soon */
};

struct queue_opts {
	const char *url;   /* "pg:", "https://sqs...", "amqp://..." */
	const char *name;  /* "inventory" */
	int visibility_ms; /* how long a receive leases a task */
	int max_receives;  /* then it is dead */
	struct pg *pg;     /* borrowed; the outbox */
	struct queue_remote remote;
};

/* Whether tasks for that address are sent from the outbox (ship.h). */
bool queue_is_remote(const char *url);
/* Whether they are sent to who receives, so that asking costs nothing. */
bool queue_is_pushed(const char *url);

/* Gives *out. RC_INVALID: an address that no driver knows. */
enum rc queue_open(
    const struct queue_opts *opts, struct queue **out, struct err *e);
void queue_close(struct queue *queue); /* NULL is allowed */

enum { QUEUE_BATCH = 10 };

/*
 * Begin a receive, so that its answer comes while the caller settles what he
 * has: nothing but queue_done may stand between it and queue_receive, which is
 * then due with the same max and wait_ms. Where a queue has nothing to gain by
 * that it does nothing; what goes wrong is told by queue_receive.
 */
void queue_ask(struct queue *queue, int max, int wait_ms);

/*
 * At most max (1..QUEUE_BATCH) tasks, leased; waits up to wait_ms for the
 * first. RC_OK with *n 0: none came. Oldest due first. A receiver has one batch
 * at a time: who asks again has let go of what he has not settled, and it may
 * come again at once.
 */
enum rc queue_receive(struct queue *queue, int max, int wait_ms,
    struct arena *arena, struct task **out, int *n, struct err *e);

/* Hold on to n tasks for visibility_ms from now. RC_NONE: a lease was lost
 * (somebody else may have the task); lost[i], if given, says which. */
enum rc queue_extend(struct queue *queue, int n, struct task *tasks[],
    bool lost[], struct arena *arena, struct err *e);

/* Delete n (1..QUEUE_BATCH) of them. RC_NONE: one was gone or leased to
 * somebody else; lost[i], if given, says which. */
enum rc queue_done(struct queue *queue, int n, const struct task *const tasks[],
    bool lost[], struct arena *arena, struct err *e);

/* Due again after delay_ms. why: kept as the last error; NULL: it was not
 * started, this receive does not count. */
enum rc queue_return(struct queue *queue, const struct task *task,
    int64_t delay_ms, const char *why, struct arena *arena, struct err *e);

/*
 * Not pg:. Put n (1..QUEUE_BATCH) tasks in; of each id, type, priority,
 * aggregate, created_ms, data and sending are taken. sent[i] says which the
 * queue has; RC_OK: all; else e is of the first that it has not: RC_RETRY: try
 * those again; RC_INVALID: this one never can be sent (too large).
 */
enum rc queue_send(struct queue *queue, int n, const struct task tasks[],
    bool sent[], struct arena *arena, struct err *e);

/* To the dead letters, with what went wrong; the first error is kept. */
enum rc queue_bury(struct queue *queue, const struct task *task,
    const char *why, struct arena *arena, struct err *e);

/*
 * RabbitMQ. Makes it where it is not there; who sends or receives first does so
 * too. *as: what it is called there, in the arena. RC_REFUSED: others are not
 * made by their address (SQS: queue_sqs.h).
 */
enum rc queue_make(
    struct queue *queue, struct arena *arena, const char **as, struct err *e);

struct queue_stats {
	int64_t depth;     /* due now and not leased */
	int64_t in_flight; /* leased */
	int64_t delayed;   /* due later; hidden ones do not count */
	int64_t oldest_ms; /* age of the oldest due one; 0: none */
	int64_t dead;
	int64_t unsent; /* not pg:: due in the outbox and not sent yet */
	bool paused;    /* queue_pause.h */
};
enum rc queue_stats(struct queue *queue, struct arena *arena,
    struct queue_stats *out, struct err *e);

#endif
