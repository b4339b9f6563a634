/*
 * One loop that wakes up for a signal, for a child that got ready, and ten
 * times a second to look at the clock: request deadlines, drains, the brake.
 * Everything it knows of its children's work it reads from the scoreboard.
 *
 * A generation is the set of children of one configuration. The old one is told
 * to drain when every child of the new one was ready; if they never are, the
 * old ones stay. reload.c has how one master follows another.
 */
#include "config.h" /* _GNU_SOURCE */

#include "fcgi-app/master_int.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/sig.h"
#include "base/xmalloc.h"
#include "fcgi-app/app.h"
#include "fcgi-app/child.h"
#include "base/gate.h"
#include "fcgi-app/handover.h"
#include "fcgi-app/listen.h"
#include "fcgi-app/setup.h"
#include "shop/settings.h"

enum {
	TICK_MS = 100,
	START_MS = 30000, /* to be ready */
	HOUSE_LIMIT = 10, /* request deadlines that its turn may take */
	YOUNG_MS = 2000,  /* who dies before this brakes the next start */
	BRAKE_MIN_MS = 100,
	BRAKE_MAX_MS = 5000,
	SAMPLE_MS = 500,
	GRACE_MS = 1000 /* after a drain limit, before SIGKILL */
};

static const int master_signals[] = { SIGTERM, SIGQUIT, SIGINT, SIGHUP,
	SIGCHLD };

static int64_t
conf_fcgi(const struct master *m, const char *key)
{
	return conf_int(m->conf, "fcgi", key);
}

int64_t
master_drain_ms(const struct master *m)
{
	return m->conf == NULL ? 30000 : conf_fcgi(m, "drain");
}

/* To systemd, where it wants to know (sd_notify(3)). */
static void
notify(const char *words)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (path == NULL || strlen(path) >= sizeof sa.sun_path ||
	    (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(sa.sun_path, path, strlen(path));
	if (path[0] == '@')
		sa.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, words, strlen(words), MSG_NOSIGNAL,
		(const struct sockaddr *)&sa,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			    strlen(path))) < 0)
		log_warn("sd_notify", LOG_S("msg", strerror(errno)));
	close(fd);
}

/* ---- the table of processes */

struct proc *
master_proc(struct master *m)
{
	for (int i = 0; i < SCORE_SLOTS; i++) {
		if (m->proc[i].pid != 0)
			continue;
		if (i >= m->n_proc)
			m->n_proc = i + 1;
		return &m->proc[i];
	}
	return NULL;
}

static int
count_alive(const struct master *m)
{
	int n = 0;

	for (int i = 0; i < m->n_proc; i++)
		n += m->proc[i].pid != 0;
	return n;
}

static bool
is_current(const struct master *m, const struct proc *p)
{
	return p->pid != 0 && !p->told && p->generation == m->generation;
}

/* Generations that are not ours and still have somebody. */
static int
count_old_generations(const struct master *m)
{
	uint32_t last = 0;
	int n = 0;

	for (int i = 0; i < m->n_proc; i++) {
		const struct proc *p = &m->proc[i];

		if (p->pid == 0 || p->generation == m->generation ||
		    p->generation == last)
			continue;
		last = p->generation;
		n++;
	}
	return n;
}

static void
tell(struct master *m, struct proc *p)
{
	p->told = true;
	p->kill_at = clock_mono_ms() + master_drain_ms(m) + GRACE_MS;
	kill(p->pid, SIGTERM);
}

/* ---- starting */

static void
child_opts_fill(struct master *m, struct score_slot *slot, bool housekeeper,
    struct child_opts *o)
{
	*o = (struct child_opts){ .conf = m->conf,
		.board = m->board,
		.score = slot,
		.limits = setup_limits(m->conf),
		.listen_fd = m->listen_fd,
		.handover = { m->handover[0], m->handover[1] },
		.slots = (int)conf_fcgi(m, "slots"),
		.max_requests = conf_fcgi(m, "max_requests"),
		.drain_ms = conf_fcgi(m, "drain"),
		.ready_fd = m->ready[1],
		.gate = m->gate,
		.master = m->pid,
		.housekeeper = housekeeper };
}

static _Noreturn void
child_main(struct master *m, struct score_slot *slot, bool housekeeper)
{
	struct child_opts o;
	struct err e = ERR_INIT;
	int status;

	close(m->sig);
	close(m->ready[0]);
	reload_forked(m);
	scoreboard_child(m->board);
	unsetenv("NOTIFY_SOCKET");
	child_opts_fill(m, slot, housekeeper, &o);
	if (setup_user(m->conf, &e) != RC_OK) {
		log_error("child_user", LOG_S("msg", e.msg));
		exit(EXIT_PERSON);
	}
	status = housekeeper ? child_keep_house(&o) : child_serve(&o);
	exit(status);
}

static bool
spawn(struct master *m, bool housekeeper)
{
	struct score_slot *slot =
	    scoreboard_take(m->board, m->generation, housekeeper);
	struct proc *p = master_proc(m);
	pid_t pid;

	if (slot == NULL || p == NULL) {
		if (slot != NULL)
			scoreboard_retire(m->board, slot);
		return false;
	}
	pid = fork();
	if (pid == 0) {
		slot->pid = (int32_t)getpid();
		child_main(m, slot, housekeeper);
	}
	if (pid < 0) {
		log_error("fork", LOG_S("msg", strerror(errno)));
		scoreboard_retire(m->board, slot);
		return false;
	}
	slot->pid = (int32_t)pid;
	*p = (struct proc){ .pid = pid,
		.generation = m->generation,
		.slot = slot,
		.housekeeper = housekeeper,
		.born_ms = clock_mono_ms() };
	scoreboard_master(m->board)->spawned++;
	return true;
}

static void
brake(struct master *m, int64_t now)
{
	if (now < m->brake_until)
		return; /* one of several that died together */
	if (m->brake_ms == 0 || now - m->brake_until > 2 * BRAKE_MAX_MS)
		m->brake_ms = BRAKE_MIN_MS;
	else if (m->brake_ms * 2 <= BRAKE_MAX_MS)
		m->brake_ms *= 2;
	else
		m->brake_ms = BRAKE_MAX_MS;
	m->brake_until = now + m->brake_ms;
	log_warn("respawn_braked", LOG_I("ms", m->brake_ms));
}

/* As many as are missing. One that drains for max_requests has its successor at
 * once. */
static void
spawn_missing(struct master *m, int64_t now)
{
	int serving = 0, houses = 0;

	if (m->stopping || now < m->brake_until)
		return;
	for (int i = 0; i < m->n_proc; i++) {
		const struct proc *p = &m->proc[i];

		if (!is_current(m, p) ||
		    (p->slot != NULL && p->slot->draining != 0))
			continue;
		if (p->housekeeper)
			houses++;
		else
			serving++;
	}
	while (serving < conf_fcgi(m, "children") && spawn(m, false))
		serving++;
	if (houses == 0)
		spawn(m, true);
}

/* ---- ends */

static void
log_death(const struct proc *p, int status)
{
	const char *method = "", *path = "", *doing = "";

	if (p->slot != NULL) {
		method = p->slot->method;
		path = p->slot->start_ms != 0 ? p->slot->path : "";
		doing = p->slot->doing.what;
	}
	log_error("child_died", LOG_I("pid", p->pid),
	    LOG_I("generation", p->generation),
	    LOG_I("status", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
	    LOG_I("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
	    LOG_S("method", method), LOG_S("path", path),
	    LOG_S("doing", doing));
}

static void
reaped(struct master *m, pid_t pid, int status, int64_t now)
{
	for (int i = 0; i < m->n_proc; i++) {
		struct proc *p = &m->proc[i];
		bool expected;

		if (p->pid != pid)
			continue;
		expected =
		    p->told || (WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
				   p->slot != NULL && p->slot->draining != 0);
		if (!expected) {
			scoreboard_master(m->board)->died++;
			log_death(p, status);
			if (p->generation == m->generation &&
			    (!p->ready || now - p->born_ms < YOUNG_MS)) {
				m->failing = true;
				brake(m, now);
			}
		}
		if (p->slot != NULL)
			scoreboard_retire(m->board, p->slot);
		p->pid = 0;
		return;
	}
}

static void
reap(struct master *m, int64_t now)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (!reload_reaped(m, pid, status))
			reaped(m, pid, status, now);
	}
}

static void
kill_slow(struct master *m, struct proc *p, int64_t ms)
{
	struct score_slot s = *p->slot;

	s.doing.what[sizeof s.doing.what - 1] = '\0';
	log_error("request_deadline", LOG_I("pid", p->pid),
	    LOG_S("state", child_state_name(s.state, false)),
	    LOG_S("method", s.method), LOG_S("path", s.path), LOG_I("ms", ms),
	    LOG_S("doing", s.doing.what));
	scoreboard_master(m->board)->killed_deadline++;
	p->told = true;
	p->killed = true;
	kill(p->pid, SIGKILL);
}

static void
check_clocks(struct master *m, int64_t now)
{
	int64_t request_limit = conf_fcgi(m, "request_deadline");

	for (int i = 0; i < m->n_proc; i++) {
		struct proc *p = &m->proc[i];
		int64_t start, limit = request_limit;

		if (p->pid == 0 || p->killed)
			continue;
		if (p->kill_at != 0 && now >= p->kill_at) {
			log_warn("drain_limit", LOG_I("pid", p->pid));
			kill(p->pid, SIGKILL);
			p->killed = true;
			continue;
		}
		if (p->slot == NULL)
			continue;
		if (!p->ready && !p->told && now - p->born_ms > START_MS) {
			log_error("start_deadline", LOG_I("pid", p->pid));
			kill(p->pid, SIGKILL);
			p->killed = true;
			continue;
		}
		start = p->slot->start_ms;
		/* One turn of it may tell of many changes; one that hangs must
		 * not go unseen, or changes would not be told at all. */
		if (p->housekeeper)
			limit *= HOUSE_LIMIT;
		if (start != 0 && now - start > limit &&
		    now - start < 365 * INT64_C(86400000))
			kill_slow(m, p, now - start);
	}
}

/* ---- a generation gets ready */

static void
drain_old(struct master *m)
{
	int told = 0;

	for (int i = 0; i < m->n_proc; i++) {
		struct proc *p = &m->proc[i];

		if (p->pid != 0 && !p->told && p->generation != m->generation) {
			tell(m, p);
			told++;
		}
	}
	log_info("ready", LOG_I("generation", m->generation),
	    LOG_I("children", conf_fcgi(m, "children")),
	    LOG_I("drained", told));
}

static void
check_ready(struct master *m)
{
	char trash[256];
	int ready = 0;
	bool house = false;

	while (read(m->ready[0], trash, sizeof trash) > 0)
		;
	for (int i = 0; i < m->n_proc; i++) {
		struct proc *p = &m->proc[i];

		if (!is_current(m, p) || p->slot == NULL)
			continue;
		p->ready = p->ready || p->slot->state != CS_STARTING;
		if (p->housekeeper)
			house = house || p->ready;
		else
			ready += p->ready;
	}
	if (m->complete || !house || ready < conf_fcgi(m, "children"))
		return;
	m->complete = true;
	m->failing = false;
	drain_old(m);
	notify("READY=1");
}

/* ---- signals */

static void
kill_all(struct master *m, int sig)
{
	for (int i = 0; i < m->n_proc; i++) {
		if (m->proc[i].pid == 0)
			continue;
		m->proc[i].told = true;
		kill(m->proc[i].pid, sig);
	}
}

static void
unlink_own_socket(const struct master *m)
{
	char name[128];

	if (!m->owns_listen)
		return;
	listen_name(m->listen_fd, name, sizeof name);
	if (strncmp(name, "unix:/", 6) == 0)
		unlink(name + 5);
}

/* The name goes first, so that nobody new comes; then the children take what is
 * queued. A socket that was handed in keeps its queue for who comes next. */
static void
begin_stop(struct master *m, int sig)
{
	if (m->stopping) {
		log_warn("stop_at_once", LOG_I("signal", sig));
		m->at_once = true;
		kill_all(m, SIGKILL);
		return;
	}
	log_info("stopping", LOG_I("signal", sig));
	notify("STOPPING=1");
	m->stopping = true;
	m->stop_until = clock_mono_ms() + master_drain_ms(m) + GRACE_MS;
	unlink_own_socket(m);
	scoreboard_master(m->board)->stopping = 1;
	kill_all(m, SIGTERM);
}

static void
take_signals(struct master *m)
{
	int sig;

	while ((sig = sig_next(m->sig, NULL)) != 0) {
		if (sig == SIGHUP)
			m->hup = true;
		else if (sig != SIGCHLD)
			begin_stop(m, sig);
	}
}

/* A HUP that came during a reload waits until that is through, however many
 * they were; at most two generations drain while a third one starts. */
static void
maybe_reload(struct master *m)
{
	if (!m->hup || m->stopping || m->preflight.pid != 0 ||
	    (!m->complete && !m->failing) || count_old_generations(m) > 1)
		return;
	log_info("reload");
	reload_check(m);
}

/* ---- figures */

static void
sample(struct master *m, int64_t now)
{
	struct score_master *s = scoreboard_master(m->board);
	struct score_total t;
	int size;

	scoreboard_total(m->board, &t);
	if (t.active > s->max_active)
		s->max_active = t.active;
	if (now - m->sampled_ms < SAMPLE_MS)
		return;
	m->sampled_ms = now;
	s->listen_queue = listen_queue(m->listen_fd, &size);
	s->listen_queue_size = size;
	if (s->listen_queue > s->max_listen_queue)
		s->max_listen_queue = s->listen_queue;
}

/* ---- the loop */

static void
master_wait(const struct master *m)
{
	struct pollfd p[3] = { { .fd = m->sig, .events = POLLIN },
		{ .fd = m->ready[0], .events = POLLIN },
		{ .fd = m->preflight.pid != 0 ? m->preflight.fd : -1,
		    .events = POLLIN } };

	poll(p, 3, m->preflight.pid != 0 && m->preflight.ended ? 0 : TICK_MS);
}

static void
master_loop(struct master *m)
{
	while (!m->stopping || count_alive(m) > 0) {
		int64_t now;

		master_wait(m);
		now = clock_mono_ms();
		take_signals(m);
		reap(m, now);
		reload_turn(m);
		if (m->conf != NULL) {
			check_ready(m);
			check_clocks(m, now);
			spawn_missing(m, now);
			maybe_reload(m);
		}
		sample(m, now);
		if (m->stopping && now > m->stop_until)
			kill_all(m, SIGKILL);
	}
}

/* ---- beginning and end */

static enum rc
open_listen(struct master *m, struct err *e)
{
	struct listen_opts lo = setup_listen(m->conf);
	struct listen_addr addr;
	enum rc rc = listen_open(&lo, &m->listen_fd, e);

	if (rc != RC_OK)
		return rc;
	m->owns_listen = true;
	if (listen_parse(lo.address, &addr, e) == RC_OK && !addr.loopback)
		log_warn("listen_public", LOG_S("address", lo.address),
		    LOG_S("msg",
			"FastCGI has no authentication: whoever reaches this "
			"port can pretend to be the web server"));
	return RC_OK;
}

/* After a reload: the same socket with what may have changed about it, or a new
 * one where the address did. The old one stays where that cannot be had. */
static void
refresh_listen(struct master *m)
{
	struct listen_opts lo = setup_listen(m->conf);
	struct err e = ERR_INIT;
	int old = m->listen_fd;

	if (!m->owns_listen)
		return;
	if (listen_same(old, lo.address)) {
		listen(old, lo.backlog);
		if (listen_permit(&lo, &e) != RC_OK)
			log_error("listen", LOG_S("msg", e.msg));
		return;
	}
	if (open_listen(m, &e) != RC_OK) {
		log_error("listen", LOG_S("msg", e.msg),
		    LOG_S("note", "going on with the old socket"));
		m->listen_fd = old;
		return;
	}
	{
		struct master gone = { .listen_fd = old, .owns_listen = true };

		unlink_own_socket(&gone);
	}
	close(old);
}

static enum rc
open_board(struct master *m, struct err *e)
{
	const char *path = conf_str(m->conf, "fcgi", "status_file");
	bool named;
	enum rc rc = RC_OK;

	if (m->board == NULL)
		rc = scoreboard_create(path, &m->board, &named, e);
	else
		named = true;
	if (rc == RC_OK && !named)
		log_warn("status_file", LOG_S("path", path),
		    LOG_S("msg", "cannot be written, or is another server's; "
				 "--status will not find this one"));
	return rc;
}

static void
describe(struct master *m)
{
	struct score_master *s = scoreboard_master(m->board);

	s->pid = (int32_t)m->pid;
	s->generation = m->generation;
	s->stopping = 0;
	s->children = (int32_t)conf_fcgi(m, "children");
	s->slots = (int32_t)conf_fcgi(m, "slots");
	s->loaded_wall_ms = clock_wall_ms();
	if (s->started_wall_ms == 0)
		s->started_wall_ms = s->loaded_wall_ms;
	else
		s->reloads++;
	listen_name(m->listen_fd, s->listen, sizeof s->listen);
	snprintf(s->version, sizeof s->version, "%s", m->opts->version);
}

static enum rc
load_conf(struct master *m, struct err *e)
{
	enum rc rc = settings_load(m->opts->conf_path, &m->conf, NULL, e);
	struct app_opts ao = { 0 };
	struct app *app;

	if (rc != RC_OK)
		return rc;
	ao.conf = m->conf;
	rc = app_open(&ao, &app, e);
	if (rc == RC_OK) {
		app_close(app);
		rc = setup_check(m->conf, e);
	}
	if (rc != RC_OK) {
		conf_free(m->conf);
		m->conf = NULL;
	}
	return rc;
}

/*
 * A successor whose configuration broke between the check and now: the old
 * children serve, and somebody must look after them until it can be read.
 */
static void
wait_for_conf(struct master *m, struct err *e)
{
	struct pollfd p = { .fd = m->sig, .events = POLLIN };

	log_error("conf", LOG_S("msg", e->msg),
	    LOG_S("note", "the old children go on; trying again"));
	poll(&p, 1, 1000);
	reap(m, clock_mono_ms());
	take_signals(m);
}

static enum rc
master_open(struct master *m, struct err *e)
{
	enum rc rc = reload_adopt(m, e);
	bool successor = rc == RC_OK, makeshift = false, named;

	if (rc == RC_FAIL)
		return rc;
	if (successor && m->board == NULL) {
		makeshift = true; /* until the configuration says where */
		rc = scoreboard_create(NULL, &m->board, &named, e);
		if (rc != RC_OK)
			return rc;
	}
	while ((rc = load_conf(m, e)) != RC_OK) {
		if (!successor || m->stopping)
			return m->stopping ? RC_OK : rc;
		wait_for_conf(m, e);
	}
	settings_log(m->conf);
	if (geteuid() == 0 && conf_str(m->conf, "fcgi", "user")[0] == '\0')
		log_warn("running_as_root",
		    LOG_S("msg", "[fcgi] user says which user the children "
				 "should be"));
	m->generation++;
	if (makeshift) {
		scoreboard_close(m->board);
		m->board = NULL;
	}
	if (successor) {
		refresh_listen(m);
	} else {
		m->listen_fd = listen_systemd();
		if (m->listen_fd >= 0)
			rc = listen_prepare(m->listen_fd, e);
		else
			rc = open_listen(m, e);
		if (rc == RC_OK && handover_open(m->handover) != 0)
			rc = err_set(e, RC_FAIL, "handover", "socketpair: %s",
			    strerror(errno));
	}
	if (rc == RC_OK)
		rc = open_board(m, e);
	if (rc == RC_OK)
		describe(m);
	return rc;
}

static void
write_pid(const struct master *m)
{
	const char *path = conf_str(m->conf, "fcgi", "pid_file");
	FILE *f;

	if (path[0] == '\0')
		return;
	f = fopen(path, "we");
	if (f == NULL || fprintf(f, "%ld\n", (long)m->pid) < 0)
		log_warn("pid_file", LOG_S("path", path),
		    LOG_S("msg", strerror(errno)));
	if (f != NULL && fclose(f) != 0)
		log_warn("pid_file", LOG_S("path", path),
		    LOG_S("msg", strerror(errno)));
}

static void
remove_files(const struct master *m)
{
	const char *pid = conf_str(m->conf, "fcgi", "pid_file");
	const char *status = conf_str(m->conf, "fcgi", "status_file");

	if (pid[0] != '\0')
		unlink(pid);
	if (status[0] != '\0' && scoreboard_is_at(m->board, status))
		unlink(status);
}

int
master_run(const struct master_opts *opts)
{
	struct master *m = xcalloc(1, sizeof *m);
	struct err e = ERR_INIT;
	enum rc rc;

	m->opts = opts;
	m->pid = getpid();
	m->listen_fd = m->handover[0] = m->handover[1] = -1;
	strbuf_init(&m->preflight.words, 256);
	reload_find_self(m);
	sig_ignore_pipe();
	m->sig = sig_open(
	    sizeof master_signals / sizeof *master_signals, master_signals);
	m->gate = gate_file();
	if (m->sig < 0 || m->gate < 0 ||
	    pipe2(m->ready, O_CLOEXEC | O_NONBLOCK) != 0)
		die(EXIT_AGAIN, "cannot start: %s", strerror(errno));
	rc = master_open(m, &e);
	if (rc != RC_OK)
		die(EXIT_PERSON, "%s", e.msg);
	if (m->conf != NULL) {
		write_pid(m);
		for (int i = 0; i < m->n_proc; i++) {
			if (m->proc[i].told)
				m->proc[i].kill_at = clock_mono_ms() +
						     master_drain_ms(m) +
						     GRACE_MS;
		}
		spawn_missing(m, clock_mono_ms());
	}
	master_loop(m);
	if (m->conf != NULL)
		remove_files(m);
	log_info("stopped", LOG_I("at_once", m->at_once));
	scoreboard_close(m->board);
	conf_free(m->conf);
	strbuf_release(&m->preflight.words);
	free(m);
	return 0;
}
