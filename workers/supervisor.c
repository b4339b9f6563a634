/*
 * A slot is one process that should be there:
 *
 *	WAITING --start_at--> RUNNING --died--> WAITING (later)
 *	   |                     |  `--ended by itself--> WAITING (now)
 *	   `--told to end--> gone<--- DRAINING <--told to end
 *
 * How many of a kind there should be says its crew (crew.h), from what a
 *process of its own tells of the queues (figures.h): we wait for no store. One
 *that is too many is told to drain as at a stop, but may take as long as its
 *task may; one that has died and waits for its next start goes first.
 *
 * The pid file is locked for as long as we live: the lock goes with us, however
 * we die, and is no guess about a number that somebody else may have by now.
 * A worker is told by the kernel when we die (PR_SET_PDEATHSIG) and drains.
 */
#include "config.h" /* _GNU_SOURCE */

#include "workers/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/sig.h"
#include "base/strbuf.h"
#include "base/xmalloc.h"
#include "shop/settings.h"
#include "workers/crew.h"
#include "workers/figures.h"
#include "workers/hook.h"
#include "workers/spawn.h"
#include "workers/status.h"
#include "workers/worker.h"

enum {
	MAX_SLOTS = 1024,
	YOUNG_MS = 10000, /* who dies before this brakes the next start */
	BRAKE_MIN_MS = 250,
	BRAKE_MAX_MS = 30000,
	CHECK_MS = 60000, /* that -t may take at a reload */
	GRACE_MS = 1000,  /* after drain, before SIGKILL */
	TICK_MS = 1000
};

enum state { WAITING, RUNNING, DRAINING };

struct slot {
	const struct worker_def *def;
	char names[128]; /* what it serves: the def's, or of several */
	int index;       /* from 1, of its kind */
	int generation;
	enum state state;
	pid_t pid;
	int64_t since_ms; /* mono: started */
	int64_t since_wall_ms;
	int64_t start_at; /* WAITING */
	int64_t kill_at;  /* DRAINING; 0: was killed */
	int64_t brake_ms;
	int starts;
	char last[32]; /* how it ended last: "exit 111", "signal 9", "" */
};

struct supervisor {
	struct spawn spawn;
	struct conf *conf;
	struct crews crews;
	struct figures *figures;
	struct hook *hook;
	int sig, pid_fd;
	char *pid_file;
	int generation;
	int n;
	struct slot slot[MAX_SLOTS];
	bool stopping, dirty;
	pid_t checking; /* -t, before a reload; 0: none */
	int64_t check_until;
	int64_t started_wall_ms;
};

static int64_t
setting(const struct supervisor *s, const char *key)
{
	return conf_int(s->conf, "workers", key);
}

/* ---- processes */

static void
slot_wait(struct slot *slot, int64_t ms)
{
	slot->state = WAITING;
	slot->pid = 0;
	slot->start_at = clock_mono_ms() + ms;
}

static void
slot_start(struct supervisor *s, struct slot *slot)
{
	pid_t pid = spawn_self(&s->spawn, slot->names, -1);

	s->dirty = true;
	if (pid < 0) {
		slot_wait(slot, BRAKE_MIN_MS);
		return;
	}
	slot->pid = pid;
	slot->state = RUNNING;
	slot->since_ms = clock_mono_ms();
	slot->since_wall_ms = clock_wall_ms();
	slot->starts++;
	log_info("worker_started", LOG_S("worker", slot->names),
	    LOG_I("index", slot->index), LOG_I("pid", pid));
}

static void
slot_remove(struct supervisor *s, struct slot *slot)
{
	*slot = s->slot[--s->n];
	s->dirty = true;
}

static void
slot_drain(struct supervisor *s, struct slot *slot, int64_t drain_ms)
{
	slot->state = DRAINING;
	slot->kill_at = clock_mono_ms() + drain_ms + GRACE_MS;
	s->dirty = true;
	kill(slot->pid, SIGTERM);
}

/* All there are. Those that do not run are forgotten. Those that are going may
 * take the time they were given, but not at a stop. */
static void
drain_all(struct supervisor *s)
{
	int64_t drain = setting(s, "drain");
	int64_t until = clock_mono_ms() + drain + GRACE_MS;

	for (int i = s->n - 1; i >= 0; i--) {
		struct slot *slot = &s->slot[i];

		if (slot->state == WAITING)
			slot_remove(s, slot);
		else if (slot->state == RUNNING)
			slot_drain(s, slot, drain);
		else if (s->stopping && slot->kill_at > until)
			slot->kill_at = until;
	}
}

/* ---- as many as there should be */

/* Of this generation, those that are going included. */
static int
slots_count(const struct supervisor *s)
{
	int n = 0;

	for (int i = 0; i < s->n; i++)
		n += s->slot[i].generation == s->generation;
	return n;
}

static bool
is_of(const struct supervisor *s, const struct slot *slot,
    const struct worker_def *def)
{
	return slot->generation == s->generation && slot->def == def;
}

/* That stay. */
static int
crew_count(const struct supervisor *s, const struct worker_def *def)
{
	int n = 0;

	for (int i = 0; i < s->n; i++)
		n += is_of(s, &s->slot[i], def) && s->slot[i].state != DRAINING;
	return n;
}

/* The first number that nobody has. */
static int
index_free(const struct supervisor *s, const struct worker_def *def)
{
	int index = 1;

	for (int i = 0; i < s->n; i++) {
		if (is_of(s, &s->slot[i], def) && s->slot[i].index == index) {
			index++;
			i = -1; /* from the start: they are in no order */
		}
	}
	return index;
}

static void
slot_add(struct supervisor *s, const struct crew *c)
{
	struct slot *slot = &s->slot[s->n];

	*slot = (struct slot){ .def = c->def,
		.index = index_free(s, c->def),
		.generation = s->generation };
	(void)snprintf(slot->names, sizeof slot->names, "%s", c->names);
	s->n++;
	s->dirty = true;
}

/* One that does not run, else the youngest. */
static struct slot *
slot_to_go(struct supervisor *s, const struct worker_def *def)
{
	struct slot *last = NULL;

	for (int i = 0; i < s->n; i++) {
		struct slot *slot = &s->slot[i];

		if (!is_of(s, slot, def) || slot->state == DRAINING)
			continue;
		if (slot->state == WAITING)
			return slot;
		if (last == NULL || slot->index > last->index)
			last = slot;
	}
	return last;
}

/* By then its leases have run out, and it has ended itself (heartbeat.h). */
static int64_t
task_ms(const struct supervisor *s)
{
	return setting(s, "max_lease") + setting(s, "visibility") +
	       setting(s, "drain");
}

static void
crew_shrink(struct supervisor *s, const struct crew *c)
{
	for (int n = crew_count(s, c->def); n > c->granted; n--) {
		struct slot *slot = slot_to_go(s, c->def);

		if (slot->state == WAITING)
			slot_remove(s, slot);
		else
			slot_drain(s, slot, task_ms(s));
	}
}

/* Where a total is set, only into places that are free by now. */
static void
crew_grow(struct supervisor *s, const struct crew *c)
{
	for (int n = crew_count(s, c->def); n < c->granted; n++) {
		int total = s->crews.total;

		if (total > 0 && n >= c->limits.min && slots_count(s) >= total)
			return;
		if (s->n == MAX_SLOTS) {
			log_error("too_many_workers", LOG_I("most", MAX_SLOTS));
			return;
		}
		slot_add(s, c);
	}
}

static void
crews_fit(struct supervisor *s)
{
	for (int i = 0; i < s->crews.n; i++)
		crew_shrink(s, &s->crews.crew[i]);
	for (int i = 0; i < s->crews.n; i++)
		crew_grow(s, &s->crews.crew[i]);
}

static void
scaled(struct supervisor *s, const struct crew *c, int from)
{
	log_info("scaled", LOG_S("worker", c->def->name), LOG_I("from", from),
	    LOG_I("to", c->granted), LOG_I("waiting", c->line.waiting),
	    LOG_I("in_flight", c->line.in_flight),
	    LOG_I("oldest_ms", c->line.oldest_ms));
	hook_note(s->hook, &(struct hook_event){ .worker = c->def->name,
			       .from = from,
			       .to = c->granted,
			       .depth = c->line.waiting,
			       .age_ms = c->line.oldest_ms });
}

/* Something was seen of a queue. */
static void
on_figures(void *arg, const struct watch_line *line)
{
	struct supervisor *s = arg;
	int before[MAX_CREWS];

	if (s->stopping || crews_note(&s->crews, line, clock_mono_ms()) == NULL)
		return;
	for (int i = 0; i < s->crews.n; i++)
		before[i] = s->crews.crew[i].granted;
	crews_share(&s->crews);
	for (int i = 0; i < s->crews.n; i++) {
		if (s->crews.crew[i].granted != before[i])
			scaled(s, &s->crews.crew[i], before[i]);
	}
	crews_fit(s);
	s->dirty = true;
}

/* A new set, and what watches its queues. */
static void
slots_make(struct supervisor *s)
{
	s->generation++;
	hook_program(s->hook, conf_str(s->conf, "workers", "on_scale"));
	figures_restart(s->figures, crews_watch(&s->crews, s->conf));
	crews_fit(s);
	s->dirty = true;
}

/* ---- an end */

static void
how(int status, char out[32])
{
	if (WIFEXITED(status))
		(void)snprintf(out, 32, "exit %d", WEXITSTATUS(status));
	else
		(void)snprintf(out, 32, "signal %d", WTERMSIG(status));
}

static int64_t
brake(struct slot *slot, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		slot->brake_ms = 0;
		return 0; /* had done its number of tasks */
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_PERSON)
		slot->brake_ms = BRAKE_MAX_MS;
	else if (clock_mono_ms() - slot->since_ms >= YOUNG_MS ||
		 slot->brake_ms == 0)
		slot->brake_ms = BRAKE_MIN_MS;
	else if ((slot->brake_ms *= 2) > BRAKE_MAX_MS)
		slot->brake_ms = BRAKE_MAX_MS;
	return slot->brake_ms;
}

static void
slot_ended(struct supervisor *s, struct slot *slot, int status)
{
	int64_t pause;

	how(status, slot->last);
	s->dirty = true;
	if (slot->state == DRAINING || s->stopping) {
		log_info("worker_ended", LOG_S("worker", slot->names),
		    LOG_I("pid", slot->pid), LOG_S("how", slot->last));
		slot_remove(s, slot);
		return;
	}
	pause = brake(slot, status);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		log_info("worker_ended", LOG_S("worker", slot->names),
		    LOG_I("pid", slot->pid), LOG_S("how", slot->last));
	else
		log_error("worker_died", LOG_S("worker", slot->names),
		    LOG_I("pid", slot->pid), LOG_S("how", slot->last),
		    LOG_I("again_in_ms", pause));
	slot_wait(slot, pause);
}

/* ---- reloading */

/* In a process of its own: what is wrong must not end us. */
static void
reload_check(struct supervisor *s)
{
	pid_t pid;

	if (s->checking != 0 || s->stopping)
		return;
	pid = spawn_self(&s->spawn, "-t", -1);
	if (pid < 0)
		return;
	s->checking = pid;
	s->check_until = clock_mono_ms() + CHECK_MS;
}

static void
reload(struct supervisor *s, int status)
{
	struct err e = ERR_INIT;
	struct conf *conf = NULL;
	char text[32];

	s->checking = 0;
	how(status, text);
	if (s->stopping)
		return;
	if (status != 0) {
		log_error("reload_refused", LOG_S("how", text),
		    LOG_S("note", "the old workers go on"));
		return;
	}
	if (settings_load(s->spawn.conf_path, &conf, NULL, &e) != RC_OK ||
	    crews_load(&s->crews, conf, &e) != RC_OK) {
		log_error("reload_refused", LOG_S("msg", e.msg));
		conf_free(conf);
		return;
	}
	drain_all(s); /* as long as they were promised */
	conf_free(s->conf);
	s->conf = conf;
	settings_log(conf);
	slots_make(s);
	log_info("reloaded", LOG_I("generation", s->generation));
}

/* ---- the loop */

static void
reap(struct supervisor *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == s->checking) {
			reload(s, status);
			continue;
		}
		if (figures_ended(s->figures, pid) ||
		    hook_ended(s->hook, pid, status))
			continue;
		for (int i = 0; i < s->n; i++) {
			if (s->slot[i].pid == pid) {
				slot_ended(s, &s->slot[i], status);
				break;
			}
		}
	}
}

static void
stop(struct supervisor *s)
{
	if (s->stopping) { /* told twice: at once */
		for (int i = 0; i < s->n; i++)
			s->slot[i].kill_at = clock_mono_ms();
		return;
	}
	log_info("stopping");
	s->stopping = true;
	if (s->checking != 0)
		kill(s->checking, SIGKILL);
	figures_restart(s->figures, false);
	hook_program(s->hook, NULL);
	drain_all(s);
}

static void
take_signals(struct supervisor *s)
{
	int signal;

	while ((signal = sig_next(s->sig, NULL)) != 0) {
		if (signal == SIGCHLD)
			reap(s);
		else if (signal == SIGHUP)
			reload_check(s);
		else
			stop(s);
	}
	reap(s); /* signals of one kind become one */
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* What is due; returns when the next thing is. */
static int64_t
look_at_clock(struct supervisor *s)
{
	int64_t now = clock_mono_ms(), next = now + TICK_MS;

	if (s->checking != 0 && now >= s->check_until)
		kill(s->checking, SIGKILL);
	next = earlier(next, figures_turn(s->figures));
	next = earlier(next, hook_turn(s->hook));
	for (int i = 0; i < s->n; i++) {
		struct slot *slot = &s->slot[i];

		if (slot->state == WAITING && now >= slot->start_at)
			slot_start(s, slot);
		if (slot->state == WAITING)
			next = earlier(next, slot->start_at);
		if (slot->state != DRAINING || slot->kill_at == 0)
			continue;
		if (now < slot->kill_at) {
			next = earlier(next, slot->kill_at);
			continue;
		}
		log_warn("worker_killed", LOG_S("worker", slot->names),
		    LOG_I("pid", slot->pid),
		    LOG_S("note", "did not drain in time"));
		slot->kill_at = 0;
		kill(slot->pid, SIGKILL);
	}
	return next;
}

/* ---- files */

static int
state_count(
    const struct supervisor *s, const struct worker_def *def, enum state state)
{
	int n = 0;

	for (int i = 0; i < s->n; i++)
		n += s->slot[i].def == def && s->slot[i].state == state;
	return n;
}

static void
status_text(struct supervisor *s, struct strbuf *out)
{
	static const char *const states[] = { "waiting", "running",
		"draining" };
	struct arena *arena = arena_new();

	strbuf_addf(out, "souk-workers pid=%ld generation=%d since=%s\n",
	    (long)getpid(), s->generation,
	    time_rfc3339(arena, s->started_wall_ms));
	for (int i = 0; i < s->crews.n; i++) {
		const struct crew *c = &s->crews.crew[i];
		const struct worker_def *by = crew_serving(c)->def;

		if (worker_has_tasks(c->def))
			status_queue(c, state_count(s, by, RUNNING),
			    state_count(s, by, DRAINING), arena, out);
	}
	for (int i = 0; i < s->n; i++) {
		const struct slot *k = &s->slot[i];

		strbuf_addf(out,
		    "%s index=%d pid=%ld state=%s generation=%d since=%s "
		    "starts=%d last=\"%s\"\n",
		    k->names, k->index, (long)k->pid, states[k->state],
		    k->generation,
		    k->starts > 0 ? time_rfc3339(arena, k->since_wall_ms) : "-",
		    k->starts, k->last);
	}
	arena_free(arena);
}

/* Beside it and renamed: a reader sees all of it. */
static void
status_write(struct supervisor *s)
{
	const char *path = conf_str(s->conf, "workers", "status_file");
	struct strbuf out, tmp;
	FILE *f;
	bool ok;

	s->dirty = false;
	if (path[0] == '\0')
		return;
	strbuf_init(&out, 1024);
	strbuf_init(&tmp, 128);
	strbuf_addf(&tmp, "%s.new", path);
	status_text(s, &out);
	f = fopen(tmp.s, "we");
	ok = f != NULL && fwrite(out.s, 1, out.len, f) == out.len;
	if (f != NULL && fclose(f) != 0)
		ok = false;
	if (!ok || rename(tmp.s, path) != 0)
		log_warn("status_file", LOG_S("path", path),
		    LOG_S("msg", strerror(errno)));
	strbuf_release(&tmp);
	strbuf_release(&out);
}

static bool
is_same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* One on a pid file: the lock decides, not the number. */
static void
pid_file_lock(struct supervisor *s)
{
	const char *path = conf_str(s->conf, "workers", "pid_file");
	char text[24];
	int n;

	s->pid_fd = -1;
	if (path[0] == '\0')
		return;
	for (;;) {
		s->pid_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (s->pid_fd < 0)
			die(EXIT_PERSON, "[workers] pid_file: %s: %s", path,
			    strerror(errno));
		if (flock(s->pid_fd, LOCK_EX | LOCK_NB) != 0)
			die(EXIT_PERSON,
			    "%s: another souk-workers runs with this pid file",
			    path);
		/* Its last owner may have removed it in between. */
		if (is_same_file(s->pid_fd, path))
			break;
		close(s->pid_fd);
	}
	s->pid_file = xstrdup(path);
	n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
	if (ftruncate(s->pid_fd, 0) != 0 ||
	    pwrite(s->pid_fd, text, (size_t)n, 0) != n)
		log_warn("pid_file", LOG_S("path", path),
		    LOG_S("msg", strerror(errno)));
}

static void
files_remove(struct supervisor *s)
{
	const char *status = conf_str(s->conf, "workers", "status_file");

	if (status[0] != '\0')
		unlink(status);
	if (s->pid_file != NULL)
		unlink(s->pid_file);
	if (s->pid_fd >= 0)
		close(s->pid_fd);
}

/* ---- open, run, close */

int
supervisor_run(const char *conf_path)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP,
		SIGCHLD };
	struct supervisor *s = xcalloc(1, sizeof *s);
	struct err e = ERR_INIT;

	s->started_wall_ms = clock_wall_ms();
	if (settings_load(conf_path, &s->conf, NULL, &e) != RC_OK)
		die(EXIT_PERSON, "%s", e.msg);
	settings_log(s->conf);
	if (crews_load(&s->crews, s->conf, &e) != RC_OK)
		die(EXIT_PERSON, "%s", e.msg);
	spawn_init(&s->spawn, conf_path);
	s->figures = figures_new(&s->spawn, on_figures, s);
	s->hook = hook_new();
	sig_ignore_pipe();
	s->sig = sig_open((int)(sizeof signals / sizeof *signals), signals);
	if (s->sig < 0)
		die(EXIT_AGAIN, "signalfd: %s", strerror(errno));
	pid_file_lock(s);
	if (worker_check(conf_path, &e) != RC_OK)
		die(EXIT_PERSON, "%s", e.msg);
	if (geteuid() == 0)
		log_warn("running_as_root",
		    LOG_S("msg", "start it as the shop's own user"));
	slots_make(s);
	log_info("ready", LOG_I("workers", s->n));
	while (!s->stopping || s->n > 0) {
		struct pollfd p[2] = { { .fd = s->sig, .events = POLLIN },
			{ .events = POLLIN } };
		int64_t next = look_at_clock(s);

		if (s->dirty)
			status_write(s);
		p[1].fd = figures_fd(s->figures); /* -1: left out */
		(void)poll(p, 2, deadline_left_ms(next));
		take_signals(s);
	}
	files_remove(s);
	log_info("stopped");
	hook_free(s->hook);
	figures_free(s->figures);
	free(s->pid_file);
	conf_free(s->conf);
	free(s);
	return 0;
}
