/* What queue.c and its drivers share. */
#ifndef STORE_QUEUE_INT_H
#define STORE_QUEUE_INT_H

#include "store/queue.h"

/* In SQL: a time of ours, to be closed by it. */
#define QUEUE_RFC3339 " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

/*
 * What a crash of the server may undo, since it then happens once more: a
 * lease, a count, a deletion whose effect stands. Such a statement names
 * QUEUE_LAZY among its WITH queries and `lazy` among its tables; its commit
 * does not wait for the disk (a fifth of the time). Not inside a transaction of
 * others.
 */
#define QUEUE_LAZY                                                             \
	"lazy AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off'," \
	" true))"

/* history with $3 added: the first error and the nine last ones. */
#define QUEUE_HISTORY                                                          \
	"CASE WHEN jsonb_array_length(history) >= 10 THEN history - 1"         \
	" ELSE history END || jsonb_build_object('at', "                       \
	"to_char(now()" QUEUE_RFC3339 ", 'error', $3::text)"

/* As in queue.h; `why` is clean UTF-8, or NULL. */
struct queue_driver {
	const char *scheme; /* "pg:": how its addresses begin */
	bool pushed; /* the service sends by itself: asking costs nothing */
	enum rc (*open)(struct queue *queue, struct err *e);    /* or NULL */
	void (*close)(struct queue *queue);                     /* or NULL */
	void (*ask)(struct queue *queue, int max, int wait_ms); /* or NULL */
	enum rc (*receive)(struct queue *queue, int max, int wait_ms,
	    struct arena *arena, struct task **out, int *n, struct err *e);
	enum rc (*extend)(struct queue *queue, int n, struct task *tasks[],
	    bool lost[], struct arena *arena, struct err *e);
	enum rc (*done)(struct queue *queue, int n,
	    const struct task *const tasks[], bool lost[], struct arena *arena,
	    struct err *e);
	enum rc (*give_back)(struct queue *queue, const struct task *task,
	    int64_t delay_ms, const char *why, struct arena *arena,
	    struct err *e);
	enum rc (*bury)(struct queue *queue, const struct task *task,
	    const char *why, struct arena *arena, struct err *e);
	/* NULL: the outbox itself is the queue. */
	enum rc (*send)(struct queue *queue, int n, const struct task tasks[],
	    bool sent[], struct arena *arena, struct err *e);
	enum rc (*stats)(struct queue *queue, struct arena *arena,
	    struct queue_stats *out, struct err *e);
	enum rc (*make)(struct queue *queue, struct arena *arena,
	    const char **as, struct err *e); /* or NULL */
};

struct queue {
	const struct queue_driver *driver;
	struct queue_opts opts; /* its strings are copies */
	char *url, *name;
	void *state; /* the driver's */
};

extern const struct queue_driver queue_pg_driver, queue_sqs_driver;
extern const struct queue_driver queue_amqp_driver; /* HAVE_RABBITMQ */

#endif
