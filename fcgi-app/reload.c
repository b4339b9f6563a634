/*
 * A reload replaces the program in place, by execve(2) of the master: the
 * process id stays (systemd, pid files), the children stay its children, and
 * nothing is ever without a supervisor. What must survive goes along as open
 * descriptors, named in one environment variable:
 *
 *	SOUK_FCGI_STATE=1 PID LISTEN OWNS BOARD SEND TAKE GENERATION CHILD,...
 *
 * Once exec has happened there is no way back, so everything that can go wrong
 * is tried before, by a process that runs the installed program with -t.
 */
#include "config.h" /* _GNU_SOURCE */

#include "fcgi-app/master_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
#include "fcgi-app/handover.h"

static const char state_name[] = "SOUK_FCGI_STATE";

enum { CHECK_MS = 15000, WORDS_MAX = 16 << 10 };

int
master_is_successor(void)
{
	return getenv(state_name) != NULL;
}

/*
 * The name as it was called, made absolute, and not what it is a link to: a
 * link that is moved to a new version is how many install one.
 */
void
reload_find_self(struct master *m)
{
	const char *name = m->opts->argv[0];
	char cwd[PATH_MAX];
	ssize_t n;

	if (name != NULL && name[0] == '/') {
		snprintf(m->exe, sizeof m->exe, "%s", name);
		return;
	}
	if (name != NULL && strchr(name, '/') != NULL &&
	    getcwd(cwd, sizeof cwd) != NULL &&
	    snprintf(m->exe, sizeof m->exe, "%s/%s", cwd, name) <
		(int)sizeof m->exe &&
	    access(m->exe, X_OK) == 0)
		return;
	n = readlink("/proc/self/exe", m->exe, sizeof m->exe - 1);
	m->exe[n > 0 ? n : 0] = '\0';
}

/* ---- the check */

static _Noreturn void
run_check(struct master *m, int out)
{
	int n = 0;
	char **argv = xcalloc((size_t)m->opts->argc + 3, sizeof *argv);
	char check[] = "-t";

	sig_reset();
	dup2(out, 1);
	dup2(out, 2);
	argv[n++] = m->exe;
	argv[n++] = check;
	for (int i = 1; i < m->opts->argc; i++)
		argv[n++] = m->opts->argv[i];
	execv(m->exe, argv);
	dprintf(2, "%s: %s\n", m->exe, strerror(errno));
	_exit(EXIT_PERSON);
}

void
reload_check(struct master *m)
{
	struct preflight *p = &m->preflight;
	int pair[2];

	m->hup = false;
	if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) != 0) {
		log_error("reload_refused", LOG_S("msg", strerror(errno)));
		return;
	}
	p->pid = fork();
	if (p->pid == 0)
		run_check(m, pair[1]);
	close(pair[1]);
	if (p->pid < 0) {
		log_error("reload_refused", LOG_S("msg", strerror(errno)));
		close(pair[0]);
		p->pid = 0;
		return;
	}
	p->fd = pair[0];
	p->ended = false;
	p->deadline = deadline_in(CHECK_MS);
	strbuf_reset(&p->words);
}

bool
reload_reaped(struct master *m, pid_t pid, int status)
{
	if (m->preflight.pid == 0 || pid != m->preflight.pid)
		return false;
	m->preflight.ended = true;
	m->preflight.status = status;
	return true;
}

void
reload_forked(struct master *m)
{
	if (m->preflight.pid != 0 && m->preflight.fd >= 0)
		close(m->preflight.fd);
}

static void
read_words(struct preflight *p)
{
	char buf[2048];
	ssize_t n;

	while ((n = read(p->fd, buf, sizeof buf)) > 0) {
		if (p->words.len < WORDS_MAX)
			strbuf_add(&p->words, buf, (size_t)n);
	}
}

static void
log_words(struct strbuf *words)
{
	char *line = words->s;

	while (*line != '\0') {
		char *end = line + strcspn(line, "\n");
		char *next = end + (*end != '\0');

		*end = '\0';
		log_error("reload_refused", LOG_S("msg", line));
		line = next;
	}
}

static void
refuse(struct master *m)
{
	struct preflight *p = &m->preflight;

	scoreboard_master(m->board)->reloads_refused++;
	if (p->words.len == 0)
		log_error("reload_refused",
		    LOG_S("msg", "the check failed and said nothing"),
		    LOG_I("status", p->status));
	else
		log_words(&p->words);
	log_warn("reload_refused",
	    LOG_S("msg", "going on with the old configuration"));
}

/* ---- becoming the new program */

static void
keep_over_exec(const struct master *m, bool keep)
{
	const int fds[] = { m->listen_fd, scoreboard_fd(m->board),
		m->handover[HANDOVER_SEND], m->handover[HANDOVER_TAKE] };

	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
		fcntl(fds[i], F_SETFD, keep ? 0 : FD_CLOEXEC);
}

static void
become_new(struct master *m)
{
	struct strbuf state;
	int n = 0;
	char **argv = xcalloc((size_t)m->opts->argc + 2, sizeof *argv);

	strbuf_init(&state, 256);
	strbuf_addf(&state, "1 %ld %d %d %d %d %d %u ", (long)m->pid,
	    m->listen_fd, m->owns_listen, scoreboard_fd(m->board),
	    m->handover[HANDOVER_SEND], m->handover[HANDOVER_TAKE],
	    m->generation);
	for (int i = 0; i < m->n_proc; i++) {
		if (m->proc[i].pid != 0)
			strbuf_addf(&state, "%ld,", (long)m->proc[i].pid);
	}
	argv[n++] = m->exe;
	for (int i = 1; i < m->opts->argc; i++)
		argv[n++] = m->opts->argv[i];
	setenv(state_name, state.s, 1);
	keep_over_exec(m, true);
	execv(m->exe, argv);
	log_error("reload_refused", LOG_S("exec", m->exe),
	    LOG_S("msg", strerror(errno)));
	keep_over_exec(m, false);
	unsetenv(state_name);
	scoreboard_master(m->board)->reloads_refused++;
	strbuf_release(&state);
	free(argv);
}

void
reload_turn(struct master *m)
{
	struct preflight *p = &m->preflight;
	bool good;

	if (p->pid == 0)
		return;
	read_words(p);
	if (!p->ended) {
		if (deadline_left_ms(p->deadline) > 0)
			return;
		kill(p->pid, SIGKILL);
		waitpid(p->pid, &p->status, 0);
		strbuf_adds(&p->words, "the check took too long\n");
	}
	close(p->fd);
	p->fd = -1;
	p->pid = 0;
	good = p->ended && WIFEXITED(p->status) && WEXITSTATUS(p->status) == 0;
	if (!good)
		refuse(m);
	else
		become_new(m);
}

/* ---- the new program */

static void
adopt_child(struct master *m, pid_t pid)
{
	struct proc *p = master_proc(m);

	if (p == NULL)
		return;
	*p = (struct proc){ .pid = pid,
		.generation = m->generation,
		.ready = true,
		.born_ms = clock_mono_ms() };
	for (int i = 0; m->board != NULL && i < scoreboard_used(m->board);
	     i++) {
		struct score_slot *s = scoreboard_slot(m->board, i);

		if (s->state == CS_DEAD || s->pid != pid)
			continue;
		p->slot = s;
		p->generation = s->generation;
		p->housekeeper = s->housekeeper != 0;
		p->ready = s->state != CS_STARTING;
		p->born_ms = s->born_ms;
		p->told = s->draining != 0;
	}
	if (!p->ready) {
		/* A set that never got up: ours takes its place. */
		kill(pid, SIGKILL);
		p->told = true;
	}
}

static void
adopt_children(struct master *m, const char *list)
{
	while (*list != '\0') {
		struct span s = { list, strcspn(list, ",") };
		int64_t pid;

		if (text_int(s, 2, INT_MAX, &pid))
			adopt_child(m, (pid_t)pid);
		list += s.n;
		list += *list == ',';
	}
}

enum rc
reload_adopt(struct master *m, struct err *e)
{
	const char *state = getenv(state_name);
	long version, pid;
	int owns, board, list = 0;
	enum rc rc;

	if (state == NULL)
		return RC_NONE;
	if (sscanf(state, "%ld %ld %d %d %d %d %d %u %n", &version, &pid,
		&m->listen_fd, &owns, &board, &m->handover[HANDOVER_SEND],
		&m->handover[HANDOVER_TAKE], &m->generation, &list) < 8 ||
	    version != 1)
		return err_set(e, RC_FAIL, "bad_state",
		    "%s is not what this version can take over", state_name);
	if (pid != (long)getpid()) {
		unsetenv(state_name); /* inherited by somebody else */
		m->listen_fd = m->handover[0] = m->handover[1] = -1;
		m->generation = 0;
		return RC_NONE;
	}
	m->owns_listen = owns != 0;
	rc = scoreboard_adopt(board, &m->board, e);
	if (rc != RC_OK) {
		/* Another layout: the counts of the old children end here. */
		log_warn("scoreboard_new", LOG_S("msg", e->msg));
		close(board);
		m->board = NULL;
	} else {
		fcntl(board, F_SETFD, FD_CLOEXEC);
	}
	fcntl(m->listen_fd, F_SETFD, FD_CLOEXEC);
	fcntl(m->handover[HANDOVER_SEND], F_SETFD, FD_CLOEXEC);
	fcntl(m->handover[HANDOVER_TAKE], F_SETFD, FD_CLOEXEC);
	adopt_children(m, state + list);
	unsetenv(state_name);
	return RC_OK;
}
