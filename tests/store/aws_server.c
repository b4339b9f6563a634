#include "config.h" /* _GNU_SOURCE: strcasestr */

#include "tests/store/aws_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/strbuf.h"

enum { RULES = 8, MAX_REQUEST = 1 << 16 };

struct rule {
	char start[128];
	enum aws_way way;
	int status;
	char *body;
};

struct aws_server {
	int fd;
	pthread_t thread;
	pthread_mutex_t lock; /* of all below */
	struct rule rules[RULES];
	int n_rules, requests;
	struct strbuf heard, told;
};

static void
put(int fd, const char *s, size_t n)
{
	ssize_t put;

	for (; n > 0; s += put, n -= (size_t)put) {
		put = send(fd, s, n, MSG_NOSIGNAL);
		if (put <= 0)
			return;
	}
}

/* The whole request, by its Content-Length. */
static size_t
take(int fd, char *buf)
{
	size_t n = 0, whole = MAX_REQUEST;
	ssize_t got;

	while (n < whole && (got = read(fd, buf + n, whole - n)) > 0) {
		n += (size_t)got;
		buf[n] = '\0';
		const char *end = strstr(buf, "\r\n\r\n");

		if (end != NULL && whole == MAX_REQUEST) {
			const char *length =
			    strcasestr(buf, "\r\nContent-Length:");

			whole = (size_t)(end - buf) + 4;
			if (length != NULL && length < end)
				whole += strtoul(length + 17, NULL, 10);
		}
	}
	return n;
}

static void
answer(int fd, const struct rule *rule)
{
	char head[256];
	char c;
	const size_t n = strlen(rule->body);

	if (rule->way == BABBLES) {
		put(fd, "hello\n", 6);
		return;
	}
	if (rule->way == HANGS) {
		while (read(fd, &c, 1) > 0)
			;
		return;
	}
	(void)snprintf(head, sizeof head,
	    "HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %zu\r\n"
	    "Location: /elsewhere\r\n\r\n",
	    rule->status,
	    rule->way == CUTS     ? n + 100
	    : rule->way == FLOODS ? (size_t)1 << 30
				  : n);
	put(fd, head, strlen(head));
	put(fd, rule->body, n);
	if (rule->way == FLOODS) {
		static const char junk[4096];

		while (send(fd, junk, sizeof junk, MSG_NOSIGNAL) > 0)
			;
	}
}

static void *
serve(void *arg)
{
	struct aws_server *server = arg;
	char *buf = malloc(MAX_REQUEST + 1);
	int fd;

	assert(buf != NULL);
	while ((fd = accept(server->fd, NULL, NULL)) != -1) {
		struct rule rule = { .status = 404, .body = strdup("") };
		size_t n = take(fd, buf);

		(void)pthread_mutex_lock(&server->lock);
		if (n > 0) {
			strbuf_add(&server->heard, buf, n);
			strbuf_addc(&server->heard, '\n');
			server->requests++;
		}
		for (int i = 0; i < server->n_rules; i++) {
			const struct rule *r = &server->rules[i];

			if (strncmp(buf, r->start, strlen(r->start)) != 0)
				continue;
			free(rule.body);
			rule = *r;
			rule.body = strdup(r->body);
			break;
		}
		(void)pthread_mutex_unlock(&server->lock);
		if (n > 0)
			answer(fd, &rule);
		free(rule.body);
		(void)close(fd);
	}
	free(buf);
	return NULL;
}

struct aws_server *
aws_server_new(void)
{
	struct aws_server *server = calloc(1, sizeof *server);
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	assert(server != NULL);
	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(server->fd, (struct sockaddr *)&at, sizeof at) != 0 ||
	    listen(server->fd, 16) != 0)
		abort();
	strbuf_init(&server->heard, 1024);
	strbuf_init(&server->told, 1024);
	(void)pthread_mutex_init(&server->lock, NULL);
	if (pthread_create(&server->thread, NULL, serve, server) != 0)
		abort();
	return server;
}

void
aws_server_free(struct aws_server *server)
{
	(void)shutdown(server->fd, SHUT_RDWR);
	(void)pthread_join(server->thread, NULL);
	(void)close(server->fd);
	(void)pthread_mutex_destroy(&server->lock);
	for (int i = 0; i < server->n_rules; i++)
		free(server->rules[i].body);
	strbuf_release(&server->heard);
	strbuf_release(&server->told);
	free(server);
}

int
aws_server_port(const struct aws_server *server)
{
	struct sockaddr_in at = { 0 };
	socklen_t n = sizeof at;

	(void)getsockname(server->fd, (struct sockaddr *)&at, &n);
	return ntohs(at.sin_port);
}

void
aws_server_says(struct aws_server *server, const char *start, enum aws_way way,
    int status, const char *body)
{
	int i = 0;

	(void)pthread_mutex_lock(&server->lock);
	while (
	    i < server->n_rules && strcmp(server->rules[i].start, start) != 0)
		i++;
	assert(i < RULES);
	if (i == server->n_rules)
		server->n_rules++;
	free(server->rules[i].body);
	server->rules[i] =
	    (struct rule){ .way = way, .status = status, .body = strdup(body) };
	(void)snprintf(
	    server->rules[i].start, sizeof server->rules[i].start, "%s", start);
	(void)pthread_mutex_unlock(&server->lock);
}

const char *
aws_server_heard(struct aws_server *server)
{
	(void)pthread_mutex_lock(&server->lock);
	strbuf_reset(&server->told);
	strbuf_adds(&server->told, server->heard.s);
	(void)pthread_mutex_unlock(&server->lock);
	return server->told.s;
}

int
aws_server_requests(struct aws_server *server)
{
	(void)pthread_mutex_lock(&server->lock);
	int n = server->requests;

	(void)pthread_mutex_unlock(&server->lock);
	return n;
}
