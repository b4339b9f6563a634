/*
 * Smooth weighted round robin: at each turn everybody who is ready is given his
 * weight, and who has most pays for the turn with the sum of what was given.
 */
#include "workers/pick.h"

#include <assert.h>
#include <string.h>

int pick_weight(enum scale_class class)
{
	static const int weights[CLASSES] = {
		[CLASS_HIGH] = 6, [CLASS_NORMAL] = 3, [CLASS_LOW] = 1
	};

	return weights[class];
}

void
pick_init(struct pick *p)
{
	*p = (struct pick){ 0 };
}

void
pick_add(struct pick *p, enum scale_class class)
{
	assert(p->n < PICK_MOST);
	p->weight[p->n++] = pick_weight(class);
}

int
pick_next(struct pick *p, const bool ready[])
{
	int sum = 0, best = -1;

	memcpy(p->before, p->credit, sizeof p->before);
	for (int i = 0; i < p->n; i++) {
		if (!ready[i]) {
			p->credit[i] = 0;
			continue;
		}
		sum += p->weight[i];
		p->credit[i] += p->weight[i];
		if (best < 0 || p->credit[i] > p->credit[best])
			best = i;
	}
	if (best >= 0)
		p->credit[best] -= sum;
	return best;
}

void
pick_undo(struct pick *p)
{
	memcpy(p->credit, p->before, sizeof p->credit);
}
