/*
 * lane - one queue as a process serves it: its tasks are received, run and
 * settled. What becomes of a task by what its function says is one table
 * (lane.c; worker.h tells it).
 *
 * Alone in its process a lane waits at its queue; with others it never does:
 * where waiting at the service is needed a thread does it (fetch.h).
 */
#ifndef WORKERS_LANE_H
#define WORKERS_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/queue.h"
#include "workers/hand.h"

struct arena;
struct fetch;
struct worker_def;

struct lane {
	const struct worker_def *def;
	struct hand *hand;
	struct queue *queue;  /* NULL: works by the clock alone */
	struct fetch *fetch;  /* NULL: receives itself */
	struct arena *batch;  /* the tasks of a receive */
	bool alone;           /* in its process */
	int64_t long_poll_ms; /* 0: its queue does not wait */
	int64_t due_ms;       /* mono: not to be looked at before */
	/* received, and not begun yet */
	const struct task *held[QUEUE_BATCH];
	int n_held;
	int64_t held_since_ms;
	/* done, and not deleted yet */
	const struct task *done[QUEUE_BATCH];
	int n_done;
	int64_t task_us; /* what one takes, smoothed */
	int waited_ms;   /* how long the last receive took */
	bool suspects;   /* the last batch had one */
	bool failing;    /* the queue, when it was last asked */
	bool asks_no_more;
};

/* Where the heartbeat is not there yet it is only tried. wake_fd, stop_fd: as
 * in fetch.h. */
struct lane_opts {
	struct hand *hand;
	const struct worker_def *def;
	bool alone;
	int wake_fd, stop_fd;
};

/* What must be there for the heartbeat to begin, and what comes after it. */
enum rc lane_open(struct lane *l, const struct lane_opts *opts, struct err *e);
enum rc lane_start(struct lane *l, const struct lane_opts *opts, struct err *e);

/* Worth a turn? And when it is (mono): INT64_MAX: nobody knows; a fetch will
 * tell. */
bool lane_is_ready(const struct lane *l);
int64_t lane_due_ms(const struct lane *l);

/*
 * A turn: what is held, else what is received, is run. wait_ms: how long it may
 * wait at its queue, where it is alone. The tasks begun or seen to; 0: none;
 * -1: the queue does not answer.
 */
int lane_turn(struct lane *l, int wait_ms);

/*
 * The process is about to end of itself: nothing more is waited for elsewhere,
 * which may take as long as a wait does; the others are served meanwhile. True:
 * nothing is under way any more.
 */
bool lane_finish(struct lane *l);

/* What is done need not wait for the next turn: something else comes first. */
void lane_settle(struct lane *l);

/* Told to end: what was not begun goes back. stop_fd must be readable. */
void lane_drain(struct lane *l);
void lane_close(struct lane *l); /* {0} is allowed */

#endif
