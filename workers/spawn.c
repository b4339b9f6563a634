#include "config.h" /* _GNU_SOURCE */

#include "workers/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sig.h"
#include "base/xmalloc.h"

void
spawn_init(struct spawn *sp, const char *conf_path)
{
	ssize_t n = readlink("/proc/self/exe", sp->self, sizeof sp->self - 1);

	if (n <= 0)
		die(EXIT_AGAIN, "/proc/self/exe: %s", strerror(errno));
	sp->self[n] = '\0';
	sp->conf_path = conf_path;
}

/* In the child. */
static _Noreturn void
become(const struct spawn *sp, pid_t parent, const char *what, int out)
{
	char *argv[6];
	int n = 0;

	argv[n++] = (char *)(uintptr_t) "souk-worker";
	if (sp->conf_path != NULL) {
		argv[n++] = (char *)(uintptr_t) "-c";
		argv[n++] = (char *)(uintptr_t)sp->conf_path;
	}
	argv[n++] = (char *)(uintptr_t)what;
	argv[n] = NULL;
	sig_reset();
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(EXIT_AGAIN); /* it died before it could be watched */
	if (out >= 0 && dup2(out, STDOUT_FILENO) < 0)
		_exit(EXIT_AGAIN);
	execv(sp->self, argv);
	_exit(EXIT_AGAIN);
}

pid_t
spawn_self(const struct spawn *sp, const char *what, int out)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0)
		become(sp, parent, what, out);
	if (pid < 0)
		log_error("fork", LOG_S("msg", strerror(errno)));
	return pid;
}
