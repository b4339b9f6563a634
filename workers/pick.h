/*
 * pick - whose turn it is among several queues, by their class: of ten turns of
 * three that all have work six are the high one's, three the normal one's and
 * one the low one's, well mixed. Arithmetic alone.
 *
 * A queue that has nothing takes no turn, and saves none up. One that has work
 * gets a turn within 2 * (sum of the weights), whatever the others do.
 */
#ifndef WORKERS_PICK_H
#define WORKERS_PICK_H

#include <stdbool.h>

#include "workers/scale.h"

enum { PICK_MOST = 16 };

struct pick {
	int n;
	int weight[PICK_MOST];
	int credit[PICK_MOST], before[PICK_MOST];
};

int pick_weight(enum scale_class class);

void pick_init(struct pick *p);
void pick_add(struct pick *p, enum scale_class class); /* at most PICK_MOST */

/* The next among those that are ready; -1: none is. */
int pick_next(struct pick *p, const bool ready[]);

/* The one that was picked last had nothing after all: that was no turn. */
void pick_undo(struct pick *p);

#endif
