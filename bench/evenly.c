/*
 * evenly - does every client get its answers? A load generator that adds all
 * up does not see the client that gets none.
 *
 *	evenly PORT PATH CONNECTIONS SECONDS
 *
 * Keeps that many connections to 127.0.0.1, each with one request under way,
 * and prints: the fewest and the most answers a connection got, the sum, the
 * longest wait for one in ms (an answer still missing at the end counts), and
 * how many were not 200.
 */
#include "config.h" /* _GNU_SOURCE */

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNS = 1024, HEAD_MAX = 8192, EVENTS = 64 };

struct client {
	int fd;
	long answers;
	int64_t asked_us;
	char head[HEAD_MAX + 1];
	size_t have;  /* of head */
	long missing; /* of the body; -1: the head is not whole yet */
	int last;     /* the server closes after this answer */
};

struct run {
	int ep;
	struct sockaddr_in to;
	char ask[1024];
	size_t ask_len;
	int64_t longest_us;
	long bad;
};

static int64_t
now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static void
ask(struct run *run, struct client *c)
{
	c->have = 0;
	c->missing = -1;
	c->asked_us = now_us();
	if (send(c->fd, run->ask, run->ask_len, MSG_NOSIGNAL) !=
	    (ssize_t)run->ask_len)
		fail("send");
}

/* nginx closes a connection after keepalive_requests; the client goes on. */
static void
open_client(struct run *run, struct client *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	c->last = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 ||
	    connect(c->fd, (const struct sockaddr *)&run->to, sizeof run->to) !=
		0 ||
	    epoll_ctl(run->ep, EPOLL_CTL_ADD, c->fd, &ev) != 0)
		fail("connect");
	ask(run, c);
}

/* Content-Length, which both floor and shop send. */
static void
head_done(struct run *run, struct client *c, size_t head_len)
{
	const char *p = strcasestr(c->head, "\r\nContent-Length:");

	if (strncmp(c->head, "HTTP/1.1 200 ", 13) != 0)
		run->bad++;
	if (p == NULL) {
		fprintf(stderr, "evenly: no Content-Length:\n%s\n", c->head);
		exit(1);
	}
	c->missing = strtol(p + 17, NULL, 10) - (long)(c->have - head_len);
	c->last = strcasestr(c->head, "\r\nConnection: close") != NULL;
}

static void
readable(struct run *run, struct client *c)
{
	char body[65536];
	ssize_t n;

	if (c->missing < 0) {
		const char *end;

		n = recv(c->fd, c->head + c->have, HEAD_MAX - c->have, 0);
		if (n <= 0)
			fail("the server closed a connection");
		c->have += (size_t)n;
		c->head[c->have] = '\0';
		end = strstr(c->head, "\r\n\r\n");
		if (end == NULL && c->have < HEAD_MAX)
			return;
		if (end == NULL)
			fail("a head is too long");
		head_done(run, c, (size_t)(end + 4 - c->head));
	} else {
		n = recv(c->fd, body, sizeof body, 0);
		if (n <= 0)
			fail("the server closed a connection");
		c->missing -= n;
	}
	if (c->missing > 0)
		return;
	int64_t took = now_us() - c->asked_us;

	if (took > run->longest_us)
		run->longest_us = took;
	c->answers++;
	if (c->last) {
		close(c->fd);
		open_client(run, c);
	} else {
		ask(run, c);
	}
}

static void
report(struct run *run, struct client *c, int n)
{
	long min = c[0].answers, max = 0, sum = 0;
	int64_t now = now_us();

	for (int i = 0; i < n; i++) {
		if (c[i].answers < min)
			min = c[i].answers;
		if (c[i].answers > max)
			max = c[i].answers;
		sum += c[i].answers;
		if (now - c[i].asked_us > run->longest_us)
			run->longest_us = now - c[i].asked_us;
	}
	printf("%ld %ld %ld %lld %ld\n", min, max, sum,
	    (long long)(run->longest_us / 1000), run->bad);
}

int
main(int argc, char **argv)
{
	struct run run = { 0 };
	struct epoll_event ev[EVENTS];
	struct client *c;
	int conns;
	int64_t end;

	if (argc != 5 || (conns = atoi(argv[3])) < 1 || conns > MAX_CONNS) {
		fprintf(
		    stderr, "usage: evenly PORT PATH CONNECTIONS SECONDS\n");
		return 2;
	}
	run.to.sin_family = AF_INET;
	run.to.sin_port = htons((uint16_t)atoi(argv[1]));
	run.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	run.ask_len = (size_t)snprintf(run.ask, sizeof run.ask,
	    "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", argv[2]);
	run.ep = epoll_create1(EPOLL_CLOEXEC);
	c = calloc((size_t)conns, sizeof *c);
	if (run.ep < 0 || c == NULL || run.ask_len >= sizeof run.ask)
		fail("start");
	for (int i = 0; i < conns; i++)
		open_client(&run, &c[i]);
	end = now_us() + atoi(argv[4]) * INT64_C(1000000);
	while (now_us() < end) {
		int n = epoll_wait(run.ep, ev, EVENTS, 100);

		for (int i = 0; i < n; i++)
			readable(&run, ev[i].data.ptr);
	}
	report(&run, c, conns);
	return 0;
}
