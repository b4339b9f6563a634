/*
 * fcgi-client - plays the web server: speaks FastCGI to a socket.
 *
 *	fcgi-client SOCKET get PATH [OPTION...]
 *		one request; prints status line, head and body. Exit 0 where an
 *		answer came whole.
 *	fcgi-client SOCKET kept CONNECTIONS SECONDS PATH [OPTION...]
 *		so many connections at once, each asking again as soon as it is
 *		answered. Prints "answers= errors= closed= least= most=": least
 *		and most are answers per connection, closed are those the server
 *		closed while they were idle. Exit 0 without errors.
 *	fcgi-client SOCKET raw [OPTION...]
 *		sends standard input as it is, prints what comes back until the
 *		server closes, or 5 s.
 *
 *	fcgi-client SOCKET listen FD PROGRAM [ARG...]
 *		becomes PROGRAM with a listening socket as its descriptor FD;
 *where that is 3, announced as systemd does.
 *
 * SOCKET: a path, or ADDRESS:PORT. Options: -m METHOD, -b BODY, -B BYTES (a
 *body of that length), -l LENGTH (declare that), -p NAME=VALUE, -n (do not
 *keep), -s STATUS (what counts as an answer, default 200), -w MS (wait between
 *an answer and the next question), -1 (one question a connection).
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "base/xmalloc.h"

enum { BEGIN = 1, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6, STDERR = 7 };
enum { ANSWER_MS = 20000 };

struct options {
	const char *socket, *mode, *path, *method, *body, *length;
	const char *param[16];
	int n_param, connections, status;
	double seconds;
	long body_bytes, wait_ms;
	bool keep, once;
};

struct link {
	int fd;
	bool asked;
	int64_t asked_ms, next_ms;
	struct strbuf in;  /* bytes of records */
	struct strbuf out; /* STDOUT's content */
	size_t sent;
	bool ended;
	long answers;
};

static _Noreturn void
fail(const char *what)
{
	fprintf(stderr, "fcgi-client: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int
connect_to(const char *name)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET };
	const char *colon = strrchr(name, ':');
	int fd, rc;

	if (name[0] == '/') {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (strlen(name) >= sizeof un.sun_path)
			fail("path");
		memcpy(un.sun_path, name, strlen(name));
		rc = connect(fd, (struct sockaddr *)&un, sizeof un);
	} else {
		char host[32] = "";

		if (colon == NULL || (size_t)(colon - name) >= sizeof host)
			fail("address");
		memcpy(host, name, (size_t)(colon - name));
		inet_pton(AF_INET, host, &in.sin_addr);
		in.sin_port = htons((uint16_t)atoi(colon + 1));
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		rc = connect(fd, (struct sockaddr *)&in, sizeof in);
	}
	if (rc != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- asking */

static void
record(struct strbuf *sb, int type, const void *p, size_t n)
{
	strbuf_addc(sb, 1);
	strbuf_addc(sb, (char)type);
	strbuf_addc(sb, 0);
	strbuf_addc(sb, 1);
	strbuf_addc(sb, (char)(n >> 8));
	strbuf_addc(sb, (char)n);
	strbuf_addc(sb, 0);
	strbuf_addc(sb, 0);
	strbuf_add(sb, p, n);
}

static void
stream(struct strbuf *sb, int type, const char *p, size_t n)
{
	while (n > 0) {
		size_t part = n < 32768 ? n : 32768;

		record(sb, type, p, part);
		p += part;
		n -= part;
	}
	record(sb, type, "", 0);
}

static void
length(struct strbuf *sb, size_t n)
{
	if (n > 127) {
		strbuf_addc(sb, (char)(n >> 24 | 0x80));
		strbuf_addc(sb, (char)(n >> 16));
		strbuf_addc(sb, (char)(n >> 8));
	}
	strbuf_addc(sb, (char)n);
}

static void
param(struct strbuf *sb, const char *name, size_t n, const char *value)
{
	length(sb, n);
	length(sb, strlen(value));
	strbuf_add(sb, name, n);
	strbuf_adds(sb, value);
}

static void
question(const struct options *o, struct strbuf *sb)
{
	char begin[8] = { 0, 1, o->keep ? 1 : 0 };
	size_t n = o->body == NULL ? 0 : strlen(o->body);
	char num[24];
	struct strbuf p, body;

	strbuf_init(&p, 1024);
	strbuf_init(&body, n);
	strbuf_add(&body, o->body == NULL ? "" : o->body, n);
	for (long i = 0; i < o->body_bytes; i++)
		strbuf_addc(&body, 'x');
	snprintf(num, sizeof num, "%zu", body.len);
	param(&p, "REQUEST_METHOD", 14, o->method);
	param(&p, "DOCUMENT_URI", 12, o->path);
	param(&p, "CONTENT_LENGTH", 14,
	    o->length != NULL ? o->length
	    : body.len == 0   ? ""
			      : num);
	for (int i = 0; i < o->n_param; i++) {
		const char *eq = strchr(o->param[i], '=');

		if (eq != NULL)
			param(&p, o->param[i], (size_t)(eq - o->param[i]),
			    eq + 1);
	}
	record(sb, BEGIN, begin, sizeof begin);
	stream(sb, PARAMS, p.s, p.len);
	stream(sb, STDIN, body.s, body.len);
	strbuf_release(&p);
	strbuf_release(&body);
}

/* ---- hearing */

static void
link_parse(struct link *k)
{
	size_t at = 0;

	while (k->in.len - at >= 8) {
		const unsigned char *h = (unsigned char *)k->in.s + at;
		size_t n = (size_t)h[4] << 8 | h[5];

		if (k->in.len - at < 8 + n + h[6])
			break;
		if (h[1] == STDOUT)
			strbuf_add(&k->out, h + 8, n);
		if (h[1] == END)
			k->ended = true;
		at += 8 + n + h[6];
	}
	memmove(k->in.s, k->in.s + at, k->in.len - at + 1);
	k->in.len -= at;
}

/* More bytes: 1; nothing now: 0; closed: -1. */
static int
link_read(struct link *k)
{
	char buf[65536];
	ssize_t n = recv(k->fd, buf, sizeof buf, MSG_DONTWAIT);

	if (n > 0) {
		strbuf_add(&k->in, buf, (size_t)n);
		link_parse(k);
		return 1;
	}
	return n < 0 && errno == EAGAIN ? 0 : -1;
}

static int
answer_status(const struct strbuf *out)
{
	return strncmp(out->s, "Status: ", 8) == 0 ? atoi(out->s + 8) : 0;
}

static void
link_init(struct link *k)
{
	memset(k, 0, sizeof *k);
	k->fd = -1;
	strbuf_init(&k->in, 0);
	strbuf_init(&k->out, 0);
}

/* ---- one */

static int
get(const struct options *o)
{
	struct strbuf q;
	struct link k;
	size_t sent = 0;
	int64_t end = clock_mono_ms() + ANSWER_MS;

	link_init(&k);
	strbuf_init(&q, 4096);
	question(o, &q);
	k.fd = connect_to(o->socket);
	if (k.fd < 0)
		fail("connect");
	while (!k.ended && clock_mono_ms() < end) {
		struct pollfd p = { .fd = k.fd,
			.events =
			    (short)(POLLIN | (sent < q.len ? POLLOUT : 0)) };

		if (poll(&p, 1, 1000) < 0)
			fail("poll");
		if (p.revents & POLLOUT) {
			ssize_t n = send(k.fd, q.s + sent, q.len - sent,
			    MSG_DONTWAIT | MSG_NOSIGNAL);

			if (n > 0)
				sent += (size_t)n;
			else if (errno != EAGAIN)
				sent = q.len; /* an answer may still come */
		}
		if (p.revents & (POLLIN | POLLHUP) && link_read(&k) < 0)
			break;
	}
	fwrite(k.out.s, 1, k.out.len, stdout);
	strbuf_release(&q);
	strbuf_release(&k.in);
	strbuf_release(&k.out);
	close(k.fd);
	return k.ended ? 0 : 1;
}

static int
raw(const struct options *o)
{
	char buf[65536];
	int fd = connect_to(o->socket);
	int64_t end = clock_mono_ms() + 5000;
	ssize_t n;

	if (fd < 0)
		fail("connect");
	while ((n = read(0, buf, sizeof buf)) > 0)
		send(fd, buf, (size_t)n, MSG_NOSIGNAL);
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = end - clock_mono_ms();

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return 1;
		n = recv(fd, buf, sizeof buf, 0);
		if (n <= 0)
			return 0;
		fwrite(buf, 1, (size_t)n, stdout);
	}
}

/* ---- many */

struct crowd {
	const struct options *o;
	struct strbuf q;
	struct link *link;
	long errors, closed;
};

static void
link_close(struct link *k)
{
	close(k->fd);
	k->fd = -1;
	k->asked = false;
	strbuf_reset(&k->in);
	strbuf_reset(&k->out);
	k->ended = false;
}

static void
link_ask(struct crowd *c, struct link *k)
{
	if (k->fd < 0)
		k->fd = connect_to(c->o->socket);
	if (k->fd < 0) {
		c->errors++;
		fprintf(stderr, "connect: %s\n", strerror(errno));
		k->next_ms = clock_mono_ms() + 50;
		return;
	}
	/* All of it at once: small enough for the socket's buffer, or the
	 * server reads while this blocks. */
	if (send(k->fd, c->q.s, c->q.len, MSG_NOSIGNAL) != (ssize_t)c->q.len) {
		/* Closed since it was idle: a web server tries again. */
		c->closed++;
		link_close(k);
		return;
	}
	k->asked = true;
	k->asked_ms = clock_mono_ms();
}

static void
link_answered(struct crowd *c, struct link *k)
{
	if (answer_status(&k->out) != c->o->status) {
		c->errors++;
		fprintf(stderr, "answer: %.60s\n", k->out.s);
	}
	k->answers++;
	k->asked = false;
	k->ended = false;
	strbuf_reset(&k->out);
	k->next_ms = clock_mono_ms() + c->o->wait_ms;
	if (!c->o->keep || c->o->once)
		link_close(k);
}

static void
link_hear(struct crowd *c, struct link *k)
{
	int n;

	while ((n = link_read(k)) > 0 && !k->ended)
		;
	if (k->ended) {
		link_answered(c, k);
	} else if (n < 0) {
		if (k->asked) {
			c->errors++;
			fprintf(stderr, "closed with a question open\n");
		} else {
			c->closed++;
		}
		link_close(k);
	}
}

static int
kept(const struct options *o)
{
	struct crowd c = { .o = o };
	struct pollfd *p = xcalloc((size_t)o->connections, sizeof *p);
	int64_t end = clock_mono_ms() + (int64_t)(o->seconds * 1000);
	long total = 0, least = -1, most = 0;

	c.link = xcalloc((size_t)o->connections, sizeof *c.link);
	strbuf_init(&c.q, 4096);
	question(o, &c.q);
	for (int i = 0; i < o->connections; i++)
		link_init(&c.link[i]);
	for (;;) {
		int64_t now = clock_mono_ms();
		bool open = false;

		for (int i = 0; i < o->connections; i++) {
			struct link *k = &c.link[i];

			if (!k->asked && now < end && now >= k->next_ms)
				link_ask(&c, k);
			if (k->asked && now - k->asked_ms > ANSWER_MS) {
				c.errors++;
				fprintf(stderr, "no answer\n");
				link_close(k);
			}
			open = open || k->asked;
			p[i] = (struct pollfd){ .fd = k->fd, .events = POLLIN };
		}
		if (now >= end && !open)
			break;
		if (poll(p, (nfds_t)o->connections, 5) < 0)
			fail("poll");
		for (int i = 0; i < o->connections; i++) {
			if (p[i].revents != 0 && c.link[i].fd == p[i].fd &&
			    c.link[i].fd >= 0)
				link_hear(&c, &c.link[i]);
		}
	}
	for (int i = 0; i < o->connections; i++) {
		long n = c.link[i].answers;

		total += n;
		least = least < 0 || n < least ? n : least;
		most = n > most ? n : most;
		strbuf_release(&c.link[i].in);
		strbuf_release(&c.link[i].out);
	}
	strbuf_release(&c.q);
	free(c.link);
	free(p);
	printf("answers=%ld errors=%ld closed=%ld least=%ld most=%ld\n", total,
	    c.errors, c.closed, least, most);
	return c.errors == 0 ? 0 : 1;
}

static int
become(const char *path, int fd, char **argv)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	char pid[24];

	if (strlen(path) >= sizeof un.sun_path)
		fail("path");
	memcpy(un.sun_path, path, strlen(path));
	if (bind(s, (struct sockaddr *)&un, sizeof un) != 0 ||
	    listen(s, 128) != 0)
		fail("listen");
	if (s != fd) {
		dup2(s, fd);
		close(s);
	}
	if (fd == 3) {
		snprintf(pid, sizeof pid, "%ld", (long)getpid());
		setenv("LISTEN_PID", pid, 1);
		setenv("LISTEN_FDS", "1", 1);
	}
	execv(argv[0], argv);
	fail(argv[0]);
}

static _Noreturn void
usage(void)
{
	fputs("usage: see the head of tests/it/fcgi_client.c\n", stderr);
	exit(2);
}

int
main(int argc, char **argv)
{
	struct options o = { .method = NULL, .keep = true, .status = 200 };
	int c;

	if (argc >= 5 && strcmp(argv[2], "listen") == 0)
		return become(argv[1], atoi(argv[3]), argv + 4);
	while ((c = getopt(argc, argv, "m:b:B:l:p:ns:w:1")) != -1) {
		switch (c) {
		case 'm':
			o.method = optarg;
			break;
		case 'b':
			o.body = optarg;
			break;
		case 'B':
			o.body_bytes = atol(optarg);
			break;
		case 'l':
			o.length = optarg;
			break;
		case 'p':
			if (o.n_param < 16)
				o.param[o.n_param++] = optarg;
			break;
		case 'n':
			o.keep = false;
			break;
		case 's':
			o.status = atoi(optarg);
			break;
		case 'w':
			o.wait_ms = atol(optarg);
			break;
		case '1':
			o.once = true;
			break;
		default:
			usage();
		}
	}
	argc -= optind;
	argv += optind;
	if (o.method == NULL)
		o.method = o.body != NULL || o.body_bytes > 0 ? "POST" : "GET";
	if (argc >= 2)
		o.socket = argv[0];
	if (argc == 3 && strcmp(argv[1], "get") == 0) {
		o.path = argv[2];
		return get(&o);
	}
	if (argc == 5 && strcmp(argv[1], "kept") == 0) {
		o.connections = atoi(argv[2]);
		o.seconds = atof(argv[3]);
		o.path = argv[4];
		return kept(&o);
	}
	if (argc == 2 && strcmp(argv[1], "raw") == 0)
		return raw(&o);
	usage();
}
