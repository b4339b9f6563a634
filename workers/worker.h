/*
 * worker - one process of the suite: receives tasks of a queue, or of several,
 * runs them, settles them. `souk-worker NAME...`; souk-workers starts and
 * watches them.
 *
 * What becomes of a task by what its function returns (one table, worker.c):
 * RC_OK, RC_NONE, RC_REFUSED: deleted; RC_INVALID: dead; RC_RETRY, RC_FAIL:
 * returned with back-off and full jitter, dead after max_receives. The lease of
 * every task received is extended while it is worked on or waits for it, at
 * most for [workers] max_lease; types may have limits of their own (limits.h).
 */
#ifndef WORKERS_WORKER_H
#define WORKERS_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "store/queue.h"
#include "workers/scale.h"

struct arena;
struct conf;
struct mail;
struct notices;
struct pay;
struct reconciler;
struct shipper;
struct shop;

/* What one process holds; made after fork() or exec. */
struct work {
	const struct conf *conf;
	struct shop *shop;
	struct arena *arena;           /* reset after each task */
	struct pay *pay;               /* payment; else NULL */
	struct mail *mail;             /* email; else NULL */
	struct notices *notices;       /* email; else NULL */
	struct reconciler *reconciler; /* reconcile; else NULL */
	struct shipper *shipper;       /* outbox; else NULL */
	bool again; /* set by a clock's function: there is more to do */
};

/* A task's function; its effect is one transaction with task_finish(). */
typedef enum rc task_run(
    struct work *w, const struct task *task, struct err *e);
/* The same for a batch (analytics). */
typedef enum rc batch_run(struct work *w, int n, const struct task tasks[],
    enum rc rcs[], struct err *e);
/* What runs by the clock (housekeeping), not faster than every_ms. */
typedef enum rc clock_run(struct work *w, struct err *e);

struct task_row {
	const char *type; /* NULL ends a table */
	task_run *run;
};

struct clock_row {
	const char *name; /* "expire_orders"; NULL ends a table */
	int every_ms;
	clock_run *run;
	bool leader; /* one process of all hosts has the turn (store/turn.h);
			nothing is held while it works, so that what it does
			must be safe to be done twice */
};

/* A worker: one row of workers[] (worker_table.c). How many processes it has is
 * [workers] NAME, and NAME_max where it has tasks. */
struct worker_def {
	const char *name;       /* "inventory": also its queue's */
	enum scale_class class; /* who goes first when all are busy */
	enum rc (*open)(struct work *w, struct err *e); /* pay, mail; or NULL */
	void (*close)(struct work *w);  /* also after a failed open; or NULL */
	const struct task_row *tasks;   /* NULL: none */
	batch_run *batch;               /* instead of tasks */
	const struct clock_row *clocks; /* NULL: none */
	bool woken; /* its clocks are due when any queue has work */
	/* NULL: always. Else whether the configuration has use for it. */
	bool (*wanted)(const struct conf *conf);
};
extern const struct worker_def worker_defs[]; /* ends with name NULL */

const struct worker_def *worker_def(const char *name); /* NULL: none */
bool worker_has_tasks(const struct worker_def *def);   /* and so a queue */

enum { WORKER_MOST = 16 };

struct worker_list {
	int n;
	const struct worker_def *def[WORKER_MOST];
};

/* Names parted by commas or spaces, none twice; none in an empty text. False:
 * one is no worker's, or there twice. */
bool worker_list_parse(const char *text, struct worker_list *out);
bool worker_list_has(
    const struct worker_list *list, const struct worker_def *def);
/* "inventory,payment", cut where there is no more room. */
void worker_list_names(const struct worker_list *list, size_t room, char out[]);

/* souk-worker NAME..., 1 or more, until it is told to end, or has done
 * [workers] max_tasks, or has grown beyond max_memory. The exit status. */
int worker_run(const struct worker_list *list, const char *conf_path);

/* souk-worker -t: can all of them be opened? */
enum rc worker_check(const char *conf_path, struct err *e);

/* w_inventory.c, w_payment.c, w_email.c, w_image.c, w_analytics.c,
 * w_housekeeping.c */
extern const struct task_row inventory_tasks[], payment_tasks[], email_tasks[],
    image_tasks[], housekeeping_tasks[];
extern const struct clock_row housekeeping_clocks[], outbox_clocks[],
    reconcile_clocks[];
enum rc outbox_open(struct work *w, struct err *e);
void outbox_close(struct work *w);
enum rc payment_open(struct work *w, struct err *e);
void payment_close(struct work *w);
enum rc email_open(struct work *w, struct err *e);
void email_close(struct work *w);
enum rc image_open(struct work *w, struct err *e);
enum rc reconcile_open(struct work *w, struct err *e);
void reconcile_close(struct work *w);
batch_run analytics_batch;

#endif
