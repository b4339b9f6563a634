#include "base/sig.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

static volatile sig_atomic_t draining;

int
sig_open(int n, const int signals[])
{
	sigset_t set;

	sigemptyset(&set);
	for (int i = 0; i < n; i++)
		sigaddset(&set, signals[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -1;
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int
sig_next(int fd, pid_t *from)
{
	struct signalfd_siginfo info;
	ssize_t n;

	do {
		n = read(fd, &info, sizeof info);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof info)
		return 0;
	if (from != NULL)
		*from = (pid_t)info.ssi_pid;
	return (int)info.ssi_signo;
}

void
sig_ignore_pipe(void)
{
	struct sigaction sa = { .sa_handler = SIG_IGN };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGPIPE, &sa, NULL);
}

void
sig_reset(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;

	sigemptyset(&sa.sa_mask);
	for (int s = 1; s < NSIG; s++)
		sigaction(s, &sa, NULL); /* refused for KILL and STOP */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
drain_handler(int signal)
{
	(void)signal;
	draining = 1;
}

void
sig_drain_on(int signal)
{
	struct sigaction sa = { .sa_handler = drain_handler };

	/* Without SA_RESTART: what waits must return. */
	sigemptyset(&sa.sa_mask);
	sigaction(signal, &sa, NULL);
}

bool
sig_draining(void)
{
	return draining != 0;
}
