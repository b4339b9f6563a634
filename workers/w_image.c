/*
 * image: pictures become variants. One at a time, each in a process of its own
 * in a sandbox (store/imager.h), for seconds; the heartbeat keeps the task's
 * lease meanwhile.
 */
#include "config.h"

#include <signal.h>

#include "base/conf.h"
#include "shop/image.h"
#include "workers/limits.h"
#include "workers/worker.h"

enum rc
image_open(struct work *w, struct err *e)
{
#ifdef HAVE_IMAGES
	/* Whoever started us may ignore it: then nobody could wait for
	 * souk-imager. */
	(void)signal(SIGCHLD, SIG_DFL);
	return image_check(w->conf, e);
#else
	(void)w;
	return err_set(e, RC_FAIL, "no_images",
	    "souk was built without pictures (configure --without-images)");
#endif
}

static enum rc
process(struct work *w, const struct task *task, struct err *e)
{
	struct limits limits;
	enum rc rc = limits_load(w->conf, &limits, e);
	bool last;

	if (rc != RC_OK)
		return rc;
	last = task->receives >= limits_receives(&limits, task->type);
	return image_process(w->shop, task, last, w->arena, e);
}

const struct task_row image_tasks[] = {
	{ "process_image", process },
	{ 0 },
};
