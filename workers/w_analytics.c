/* analytics: events, a batch in one transaction. */
#include "shop/event.h"
#include "workers/worker.h"

enum rc
analytics_batch(struct work *w, int n, const struct task tasks[], enum rc rcs[],
    struct err *e)
{
	return event_store(w->shop, n, tasks, rcs, w->arena, e);
}
