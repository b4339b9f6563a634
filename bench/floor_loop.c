/*
 * A child has an array of FCGX_Request, one per kept connection, and waits with
 * epoll on all of them and the listening socket. A kept connection that is
 * readable is looked at first: nothing there means that the web server closed
 * it, else FCGX_Accept_r reads the request.
 *
 * A child whose slots are all taken leaves new connections to the others. With
 * a slot for every connection the first child or two take all of them, and the
 * rest of the processes sleep: cheaper, since nobody is ever switched to, but
 * then it is not that many processes that serve.
 */
#include "bench/floor_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BACKLOG = 1024, EVENTS = 64 };

struct loop {
	const struct floor_opts *opts;
	void *state;
	int listen_fd, ep;
	FCGX_Request *req;
	char *used; /* by slot */
	int n_used;
	bool full; /* the listening socket is not watched */
};

void
floor_fail(const char *what)
{
	perror(what);
	exit(1);
}

int
floor_number(const char *s)
{
	char *end;
	long n = strtol(s, &end, 10);

	if (*end != '\0' || n < 1 || n > 1024) {
		fprintf(stderr, "floor: not a number from 1 to 1024: %s\n", s);
		exit(2);
	}
	return (int)n;
}

static void
watch(const struct loop *f, int fd, uint32_t events, int slot)
{
	struct epoll_event ev = { .events = events,
		.data.u32 = (uint32_t)slot };

	if (epoll_ctl(f->ep, EPOLL_CTL_ADD, fd, &ev) != 0)
		floor_fail("epoll_ctl");
}

/* False: the connection is gone. */
static int
answer(struct loop *f, int slot)
{
	FCGX_Request *r = &f->req[slot];

	if (FCGX_Accept_r(r) != 0)
		return 0;
	f->opts->answer(f->state, r);
	FCGX_Finish_r(r);
	return r->ipcFd >= 0;
}

static void
set_used(struct loop *f, int slot, bool used)
{
	bool full;

	f->n_used += used - f->used[slot];
	f->used[slot] = used;
	full = f->n_used == f->opts->slots;
	if (full == f->full)
		return;
	f->full = full;
	if (full)
		epoll_ctl(f->ep, EPOLL_CTL_DEL, f->listen_fd, NULL);
	else
		watch(f, f->listen_fd, EPOLLIN | EPOLLEXCLUSIVE,
		    f->opts->slots);
}

static void
take_new(struct loop *f)
{
	for (int slot = 0; slot < f->opts->slots; slot++) {
		if (f->used[slot])
			continue;
		if (answer(f, slot)) {
			set_used(f, slot, true);
			watch(f, f->req[slot].ipcFd, EPOLLIN, slot);
		}
		return;
	}
}

static void
take_kept(struct loop *f, int slot)
{
	FCGX_Request *r = &f->req[slot];
	char byte;

	if (recv(r->ipcFd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
		if (!answer(f, slot))
			set_used(f, slot, false);
	} else {
		FCGX_Free(r, 1);
		r->ipcFd = -1;
		set_used(f, slot, false);
	}
}

static void
serve(struct loop *f)
{
	struct epoll_event ev[EVENTS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	f->state = f->opts->start == NULL ? f->opts->arg
					  : f->opts->start(f->opts->arg);
	FCGX_Init();
	f->req = calloc((size_t)f->opts->slots, sizeof *f->req);
	f->used = calloc((size_t)f->opts->slots, 1);
	f->ep = epoll_create1(EPOLL_CLOEXEC);
	if (f->req == NULL || f->used == NULL || f->ep < 0)
		floor_fail("start");
	for (int i = 0; i < f->opts->slots; i++)
		FCGX_InitRequest(&f->req[i], f->listen_fd, 0);
	watch(f, f->listen_fd, EPOLLIN | EPOLLEXCLUSIVE, f->opts->slots);
	for (;;) {
		int n = epoll_wait(f->ep, ev, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (ev[i].data.u32 == (uint32_t)f->opts->slots)
				take_new(f);
			else
				take_kept(f, (int)ev[i].data.u32);
		}
	}
}

void
floor_run(const struct floor_opts *opts)
{
	struct loop f = { .opts = opts };

	FCGX_Init();
	signal(SIGTERM, SIG_DFL); /* libfcgi put a handler there */
	f.listen_fd = FCGX_OpenSocket(opts->path, BACKLOG);
	if (f.listen_fd < 0 || chmod(opts->path, 0666) != 0 ||
	    fcntl(f.listen_fd, F_SETFL, O_NONBLOCK) != 0)
		floor_fail(opts->path);
	for (int i = 0; i < opts->children; i++) {
		pid_t pid = fork();

		if (pid < 0)
			floor_fail("fork");
		if (pid == 0)
			serve(&f);
	}
	/* Children end with us. */
	while (wait(NULL) > 0 || errno == EINTR)
		;
	exit(1);
}
