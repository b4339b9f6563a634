#include "workers/hook.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sig.h"
#include "base/text.h"
#include "base/xmalloc.h"

enum { LIMIT_MS = 10000, MAX_EVENTS = 32, CANNOT_RUN = 127 };

struct hook {
	char *program; /* NULL: none */
	int n;
	struct hook_event event[MAX_EVENTS]; /* to be told, oldest first */
	const char *about;                   /* the worker it is told of */
	pid_t pid;                           /* 0: none runs */
	int64_t kill_at;                     /* 0: was killed */
};

struct hook *
hook_new(void)
{
	return xcalloc(1, sizeof(struct hook));
}

void
hook_free(struct hook *h)
{
	if (h == NULL)
		return;
	if (h->pid != 0)
		kill(-h->pid, SIGKILL);
	free(h->program);
	free(h);
}

void
hook_program(struct hook *h, const char *program)
{
	free(h->program);
	h->program =
	    program == NULL || *program == '\0' ? NULL : xstrdup(program);
	if (h->program == NULL)
		h->n = 0;
}

void
hook_note(struct hook *h, const struct hook_event *event)
{
	if (h->program == NULL)
		return;
	for (int i = 0; i < h->n; i++) {
		struct hook_event *old = &h->event[i];

		if (strcmp(old->worker, event->worker) == 0) {
			old->to = event->to;
			old->depth = event->depth;
			old->age_ms = event->age_ms;
			return;
		}
	}
	assert(h->n < MAX_EVENTS); /* one of a worker */
	h->event[h->n++] = *event;
}

/* ---- running it */

static void
say(const char *name, int64_t value)
{
	char text[TEXT_NUM];

	(void)setenv(name, text_num(value, text), 1);
}

/* In the child; a group of its own, so that its children go with it. */
static _Noreturn void
become(const struct hook *h, const struct hook_event *event)
{
	(void)setpgid(0, 0);
	(void)setenv("SCALE_WORKER", event->worker, 1);
	say("SCALE_FROM", event->from);
	say("SCALE_TO", event->to);
	say("SCALE_DEPTH", event->depth);
	say("SCALE_AGE_MS", event->age_ms);
	sig_reset();
	execl(h->program, h->program, (char *)NULL);
	_exit(CANNOT_RUN);
}

static void
start(struct hook *h)
{
	struct hook_event event = h->event[0];
	pid_t pid;

	h->n--;
	memmove(&h->event[0], &h->event[1], (size_t)h->n * sizeof event);
	if (event.from == event.to)
		return; /* it was undone meanwhile */
	pid = fork();
	if (pid == 0)
		become(h, &event);
	if (pid < 0) {
		log_error("fork", LOG_S("msg", strerror(errno)));
		return;
	}
	(void)setpgid(pid, pid); /* whoever comes first */
	h->pid = pid;
	h->about = event.worker;
	h->kill_at = deadline_in(LIMIT_MS);
}

int64_t
hook_turn(struct hook *h)
{
	while (h->pid == 0 && h->n > 0 && h->program != NULL)
		start(h);
	if (h->pid == 0 || h->kill_at == 0)
		return INT64_MAX;
	if (clock_mono_ms() < h->kill_at)
		return h->kill_at;
	log_warn("on_scale_killed", LOG_S("worker", h->about),
	    LOG_S("note", "it took more than 10 s"));
	h->kill_at = 0;
	kill(-h->pid, SIGKILL);
	return INT64_MAX;
}

bool
hook_ended(struct hook *h, pid_t pid, int status)
{
	char how[32];

	if (h->pid == 0 || pid != h->pid)
		return false;
	h->pid = 0;
	if (status == 0)
		return true;
	if (WIFEXITED(status))
		(void)snprintf(how, sizeof how, "exit %d", WEXITSTATUS(status));
	else
		(void)snprintf(how, sizeof how, "signal %d", WTERMSIG(status));
	log_warn("on_scale_failed", LOG_S("worker", h->about),
	    LOG_S("how", how),
	    LOG_S("note", WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_RUN
			      ? "it could not be run"
			      : ""));
	return true;
}
