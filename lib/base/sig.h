/*
 * sig - signals, in the two ways a program may want them.
 *
 * A program with an event loop reads them from a descriptor: they stay blocked
 * all the time, so that none of them ever cuts a read short, and none is
 * overlooked while there is always something else to do (the mask of
 * epoll_pwait(2) lets a signal in only when nothing is ready).
 * A program that works through one thing after the other asks for a flag.
 */
#ifndef BASE_SIG_H
#define BASE_SIG_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Block n signals and give a descriptor (non-blocking, close-on-exec) from
 * which they are read. -1: errno says why.
 */
int sig_open(int n, const int signals[]);

/* The next signal, or 0. *from (may be NULL): the process that sent it. */
int sig_next(int fd, pid_t *from);

/* SIGPIPE is ignored: a write then says EPIPE. */
void sig_ignore_pipe(void);

/* Nothing blocked, nothing caught or ignored: before exec of another program,
 * which would inherit it. Safe after fork(). */
void sig_reset(void);

/* From now on this signal only sets the flag; system calls that wait end with
 * EINTR. */
void sig_drain_on(int signal);
bool sig_draining(void);

#endif
