#include "config.h" /* _GNU_SOURCE: pipe2 */

#include "workers/figures.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/xmalloc.h"
#include "workers/spawn.h"

enum { BRAKE_MIN_MS = 250, BRAKE_MAX_MS = 30000, LINE = 256 };

struct figures {
	const struct spawn *spawn;
	void (*on_line)(void *arg, const struct watch_line *line);
	void *arg;
	bool wanted;
	pid_t pid; /* 0: none */
	int fd;    /* -1: none */
	char buf[LINE];
	size_t len;
	int64_t deadline; /* of the next line */
	int64_t start_at, brake_ms;
};

struct figures *
figures_new(const struct spawn *spawn,
    void (*on_line)(void *arg, const struct watch_line *line), void *arg)
{
	struct figures *f = xcalloc(1, sizeof *f);

	f->spawn = spawn;
	f->on_line = on_line;
	f->arg = arg;
	f->fd = -1;
	return f;
}

static void
let_go(struct figures *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	f->len = 0;
}

void
figures_restart(struct figures *f, bool wanted)
{
	/* It has nothing that could be lost. Its end is nobody's then. */
	if (f->pid != 0)
		kill(f->pid, SIGKILL);
	f->pid = 0;
	let_go(f);
	f->wanted = wanted;
	f->start_at = 0;
	f->brake_ms = 0;
}

void
figures_free(struct figures *f)
{
	if (f == NULL)
		return;
	figures_restart(f, false);
	free(f);
}

static void
start_later(struct figures *f)
{
	f->brake_ms = f->brake_ms == 0 ? BRAKE_MIN_MS : 2 * f->brake_ms;
	if (f->brake_ms > BRAKE_MAX_MS)
		f->brake_ms = BRAKE_MAX_MS;
	f->start_at = clock_mono_ms() + f->brake_ms;
}

static void
start(struct figures *f)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0) {
		log_error("pipe", LOG_S("msg", strerror(errno)));
		start_later(f);
		return;
	}
	pid = spawn_self(f->spawn, "--watch", fds[1]);
	close(fds[1]);
	if (pid < 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) {
		close(fds[0]);
		if (pid > 0)
			kill(pid, SIGKILL);
		start_later(f);
		return;
	}
	f->pid = pid;
	f->fd = fds[0];
	f->deadline = deadline_in(WATCH_DEADLINE_MS);
}

static void
line(struct figures *f, struct span text)
{
	struct watch_line l = { 0 };

	f->deadline = deadline_in(WATCH_DEADLINE_MS);
	f->brake_ms = 0;
	if (watch_parse(text, &l))
		f->on_line(f->arg, &l);
}

static void
lines(struct figures *f)
{
	char *from = f->buf, *end = f->buf + f->len, *stop;

	while ((stop = memchr(from, '\n', (size_t)(end - from))) != NULL) {
		line(f, (struct span){ from, (size_t)(stop - from) });
		from = stop + 1;
	}
	f->len = (size_t)(end - from);
	memmove(f->buf, from, f->len);
	if (f->len == sizeof f->buf)
		f->len = 0; /* no line of ours */
}

/* What is there. At its end the process is awaited, or the deadline. */
static void
take(struct figures *f)
{
	for (;;) {
		ssize_t n =
		    read(f->fd, f->buf + f->len, sizeof f->buf - f->len);

		if (n < 0)
			return; /* EAGAIN */
		if (n == 0) {
			let_go(f);
			return;
		}
		f->len += (size_t)n;
		lines(f);
	}
}

int64_t
figures_turn(struct figures *f)
{
	int64_t now = clock_mono_ms();

	if (f->wanted && f->pid == 0 && now >= f->start_at)
		start(f);
	if (f->fd >= 0)
		take(f);
	if (f->pid != 0 && clock_mono_ms() >= f->deadline) {
		log_warn("watch_killed", LOG_I("pid", f->pid),
		    LOG_S("note", "it said nothing for too long"));
		kill(f->pid, SIGKILL);
		f->pid = 0;
		let_go(f);
		start_later(f);
	}
	if (f->pid != 0)
		return f->deadline;
	return f->wanted ? f->start_at : INT64_MAX;
}

int
figures_fd(const struct figures *f)
{
	return f->fd;
}

bool
figures_ended(struct figures *f, pid_t pid)
{
	if (f->pid == 0 || pid != f->pid)
		return false;
	f->pid = 0;
	let_go(f);
	start_later(f);
	log_warn("watch_ended", LOG_I("pid", pid),
	    LOG_I("again_in_ms", f->brake_ms));
	return true;
}

pid_t
figures_pid(const struct figures *f)
{
	return f->pid;
}
