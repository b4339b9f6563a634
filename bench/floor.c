/*
 * floor - the least that a FastCGI program on libfcgi can do, to measure
 * souk-fcgi against: the same number of processes, each holding many kept
 * connections at once, answering fixed bytes.
 *
 *	floor -l SOCKET [-c CHILDREN] [-s SLOTS] [-t TYPE] [-f FILE]
 *
 * Without -f the body is 200 bytes. A child has an array of FCGX_Request, one
 * per kept connection, and waits with epoll on all of them and the listening
 * socket. A kept connection that is readable is looked at first: nothing there
 * means that the web server closed it, else FCGX_Accept_r reads the request.
 * Nothing here parses, checks, counts, logs or has a deadline.
 */
#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BACKLOG = 1024, EVENTS = 64, FIXED = 200, HEAD = 200 };

struct floor {
	const char *path;
	const char *type;
	const char *file;
	int children, slots;
	char *answer; /* head and body */
	int answer_len;
	int listen_fd, ep;
	FCGX_Request *req;
	char *used; /* by slot */
};

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static void
load(struct floor *f)
{
	FILE *in = f->file == NULL ? NULL : fopen(f->file, "rb");
	long n = FIXED;
	char *body;
	int head;

	if (f->file != NULL &&
	    (in == NULL || fseek(in, 0, SEEK_END) != 0 || (n = ftell(in)) < 0))
		fail(f->file);
	f->answer = malloc(HEAD + (size_t)n);
	if (f->answer == NULL)
		fail("malloc");
	head = snprintf(f->answer, HEAD,
	    "Status: 200 OK\r\nContent-Type: %s\r\nContent-Length: %ld\r\n\r\n",
	    f->type, n);
	body = f->answer + head;
	memset(body, 'x', (size_t)n);
	if (in != NULL) {
		rewind(in);
		if (fread(body, 1, (size_t)n, in) != (size_t)n)
			fail(f->file);
		(void)fclose(in);
	}
	f->answer_len = head + (int)n;
}

static void
watch(const struct floor *f, int fd, uint32_t events, int slot)
{
	struct epoll_event ev = { .events = events,
		.data.u32 = (uint32_t)slot };

	if (epoll_ctl(f->ep, EPOLL_CTL_ADD, fd, &ev) != 0)
		fail("epoll_ctl");
}

/* False: the connection is gone. */
static int
answer(struct floor *f, int slot)
{
	FCGX_Request *r = &f->req[slot];

	if (FCGX_Accept_r(r) != 0)
		return 0;
	FCGX_PutStr(f->answer, f->answer_len, r->out);
	FCGX_Finish_r(r);
	return r->ipcFd >= 0;
}

static void
take_new(struct floor *f)
{
	for (int slot = 0; slot < f->slots; slot++) {
		if (f->used[slot])
			continue;
		if (answer(f, slot)) {
			f->used[slot] = 1;
			watch(f, f->req[slot].ipcFd, EPOLLIN, slot);
		}
		return;
	}
}

static void
take_kept(struct floor *f, int slot)
{
	FCGX_Request *r = &f->req[slot];
	char byte;

	if (recv(r->ipcFd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
		f->used[slot] = (char)answer(f, slot);
	} else {
		FCGX_Free(r, 1);
		r->ipcFd = -1;
		f->used[slot] = 0;
	}
}

static void
serve(struct floor *f)
{
	struct epoll_event ev[EVENTS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	FCGX_Init();
	f->req = calloc((size_t)f->slots, sizeof *f->req);
	f->used = calloc((size_t)f->slots, 1);
	f->ep = epoll_create1(EPOLL_CLOEXEC);
	if (f->req == NULL || f->used == NULL || f->ep < 0)
		fail("start");
	for (int i = 0; i < f->slots; i++)
		FCGX_InitRequest(&f->req[i], f->listen_fd, 0);
	watch(f, f->listen_fd, EPOLLIN | EPOLLEXCLUSIVE, f->slots);
	for (;;) {
		int n = epoll_wait(f->ep, ev, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (ev[i].data.u32 == (uint32_t)f->slots)
				take_new(f);
			else
				take_kept(f, (int)ev[i].data.u32);
		}
	}
}

static int
number(const char *s)
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
options(struct floor *f, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "l:c:s:t:f:")) != -1) {
		switch (c) {
		case 'l':
			f->path = optarg;
			break;
		case 'c':
			f->children = number(optarg);
			break;
		case 's':
			f->slots = number(optarg);
			break;
		case 't':
			f->type = optarg;
			break;
		case 'f':
			f->file = optarg;
			break;
		default:
			exit(2);
		}
	}
	if (f->path == NULL) {
		fprintf(stderr, "floor: -l SOCKET is needed\n");
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	struct floor f = { .type = "text/plain", .children = 8, .slots = 64 };

	options(&f, argc, argv);
	load(&f);
	FCGX_Init();
	signal(SIGTERM, SIG_DFL); /* libfcgi put a handler there */
	f.listen_fd = FCGX_OpenSocket(f.path, BACKLOG);
	if (f.listen_fd < 0 || chmod(f.path, 0666) != 0 ||
	    fcntl(f.listen_fd, F_SETFL, O_NONBLOCK) != 0)
		fail(f.path);
	for (int i = 0; i < f.children; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (pid == 0)
			serve(&f);
	}
	/* Children end with us. */
	while (wait(NULL) > 0 || errno == EINTR)
		;
	return 1;
}
