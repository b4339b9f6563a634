/*
 * scale - how many processes a queue should have, from what is seen of it.
 * Arithmetic alone: the clock and the figures come from the caller.
 *
 * Up at once: to what the backlog asks for (so many tasks per process), to what
 * a rule says, and to twice as many where a task has waited for too long. Down
 * slowly: by one after a time in which one process less would have had at most
 * half of what asks for more; so it does not swing.
 */
#ifndef WORKERS_SCALE_H
#define WORKERS_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { SCALE_RULES = 16, SCALE_NAME = 24, SCALE_MOST = 1024 };

/* "payment > 1000: 5": where more wait than that, at least so many. */
struct scale_rule {
	char worker[SCALE_NAME];
	int64_t over;
	int processes;
};

struct scale_rules {
	int n;
	struct scale_rule rule[SCALE_RULES];
};

/* Rules parted by commas; none in an empty text. RC_INVALID: e says which part
 * is not one. */
enum rc scale_rules_parse(
    const char *text, struct scale_rules *out, struct err *e);

struct scale_limits {
	const char *worker; /* whose rules count; borrowed */
	int min, max;
	int64_t backlog;  /* tasks per process that are all right; from 1 */
	int64_t age_ms;   /* the oldest may wait for so long; 0: no matter */
	int64_t quiet_ms; /* before one is taken away */
	const struct scale_rules *rules; /* borrowed */
};

struct scale_look {
	int64_t now_ms; /* mono */
	int64_t waiting, in_flight;
	int64_t oldest_ms; /* age of the oldest that waits */
};

struct scale_state {
	int wanted; /* min..max */
	int asked;  /* by the look alone, whatever the limits */
	bool calm;
	int64_t calm_since_ms, seen_ms;
};

/* Within the limits, which may be new; {0} at first. */
void scale_begin(struct scale_state *state, const struct scale_limits *limits);

/* What was seen; changes state->wanted. A time in which nobody looked does not
 * count as quiet. */
void scale_judge(struct scale_state *state, const struct scale_limits *limits,
    const struct scale_look *look);

/* Who goes first where there is not enough for all. */
enum scale_class { CLASS_HIGH, CLASS_NORMAL, CLASS_LOW, CLASSES };

struct scale_claim {
	enum scale_class class;
	int min, wanted; /* wanted >= min */
	int granted;     /* set */
};

/*
 * Share out total processes (0: as many as are wanted): first everybody's
 * minimum, whatever the total; then a first process for each that wants one;
 * the rest by class, within a class one by one in turn.
 */
void scale_share(int total, int n, struct scale_claim claims[]);

#endif
