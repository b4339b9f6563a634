/*
 * redis_link - addresses and the non-blocking connection under redis and
 * redis_sub. Several addresses of one name are tried in turn, each until the
 * kernel says no; the caller's deadline bounds them all.
 */
#include "store/redis_int.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "base/xmalloc.h"

/* ---- addresses */

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Percent-decoded copy; NULL where it is malformed or holds a NUL. */
static char *
url_decode(const char *s, size_t n)
{
	char *out = xmalloc(n + 1);
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		int c = (unsigned char)s[i];

		if (c == '%') {
			int hi = i + 2 < n ? hex_value(s[i + 1]) : -1;
			int lo = i + 2 < n ? hex_value(s[i + 2]) : -1;

			c = hi < 0 || lo < 0 ? 0 : hi * 16 + lo;
			i += 2;
		}
		if (c == 0) {
			free(out);
			return NULL;
		}
		out[len++] = (char)c;
	}
	out[len] = '\0';
	return out;
}

static enum rc
bad_url(struct err *e, const char *why)
{
	/* Never the URL itself: it may hold a password. */
	return err_set(e, RC_INVALID, "redis_url",
	    "Redis URL: %s (want redis://[user:pass@]host[:port][/db] or "
	    "unix:///path[?db=n])",
	    why);
}

static enum rc
parse_db(const char *s, int *db, struct err *e)
{
	int64_t n;

	if (!text_int(span_of(s), 0, 1000000, &n))
		return bad_url(e, "the database is not a number");
	*db = (int)n;
	return RC_OK;
}

static enum rc
parse_unix(const char *s, struct redis_addr *out, struct err *e)
{
	size_t n = strcspn(s, "?");

	if (s[0] != '/' || n == 1)
		return bad_url(e, "a socket's path must be absolute");
	out->path = url_decode(s, n);
	if (out->path == NULL)
		return bad_url(e, "malformed %XX in the path");
	if (strlen(out->path) >= sizeof((struct sockaddr_un *)0)->sun_path)
		return bad_url(e, "the socket's path is too long");
	if (s[n] == '\0')
		return RC_OK;
	if (strncmp(s + n, "?db=", 4) != 0)
		return bad_url(e, "only ?db=n may follow the path");
	return parse_db(s + n + 4, &out->db, e);
}

static enum rc
parse_credentials(
    const char *s, size_t n, struct redis_addr *out, struct err *e)
{
	const char *colon = memchr(s, ':', n);
	size_t user = colon == NULL ? n : (size_t)(colon - s);

	if (colon == NULL)
		return bad_url(e, "a user without a password");
	out->pass = url_decode(colon + 1, n - user - 1);
	if (user > 0)
		out->user = url_decode(s, user);
	if (out->pass == NULL || (user > 0 && out->user == NULL))
		return bad_url(e, "malformed %XX in user or password");
	return RC_OK;
}

static enum rc
parse_tcp(const char *s, struct redis_addr *out, struct err *e)
{
	size_t authority = strcspn(s, "/?#");
	const char *slash = s + authority, *at = NULL, *port = NULL;
	int64_t number;
	size_t host;

	for (const char *p = s; p < slash; p++) {
		if (*p == '@')
			at = p; /* the last one: a password may hold it */
	}
	if (at != NULL &&
	    parse_credentials(s, (size_t)(at - s), out, e) != RC_OK)
		return RC_INVALID;
	if (at != NULL)
		s = at + 1;
	authority = (size_t)(slash - s);
	if (authority > 0 && s[0] == '[') { /* an IPv6 address */
		const char *end = memchr(s, ']', authority);

		if (end == NULL)
			return bad_url(e, "no ] after the address");
		s++;
		host = (size_t)(end - s);
		port = end + 1;
	} else {
		const char *colon = memchr(s, ':', authority);

		port = colon == NULL ? slash : colon;
		host = (size_t)(port - s);
	}
	if (host == 0)
		return bad_url(e, "no host");
	out->host = url_decode(s, host);
	if (out->host == NULL)
		return bad_url(e, "malformed %XX in the host");
	if (port == slash) {
		out->port = xstrdup("6379");
	} else {
		out->port = xstrndup(port + 1, (size_t)(slash - port) - 1);
		if (*port != ':' ||
		    !text_int(span_of(out->port), 1, 65535, &number))
			return bad_url(e, "the port is not 1 to 65535");
	}
	if (slash[0] == '\0' || strcmp(slash, "/") == 0)
		return RC_OK;
	if (slash[0] != '/')
		return bad_url(e, "only /db may follow the host");
	return parse_db(slash + 1, &out->db, e);
}

enum rc
redis_addr_parse(const char *url, struct redis_addr *out, struct err *e)
{
	*out = (struct redis_addr){ 0 };
	if (strncmp(url, "redis://", 8) == 0)
		return parse_tcp(url + 8, out, e);
	if (strncmp(url, "unix://", 7) == 0)
		return parse_unix(url + 7, out, e);
	if (strncmp(url, "rediss://", 9) == 0)
		return bad_url(e, "TLS is not spoken: put stunnel between");
	return bad_url(e, "unknown scheme");
}

void
redis_addr_release(struct redis_addr *addr)
{
	free(addr->host);
	free(addr->port);
	free(addr->path);
	free(addr->user);
	free(addr->pass);
	*addr = (struct redis_addr){ 0 };
}

int
redis_back_off_ms(int retries)
{
	int ms = retries > 20 ? 1000 : retries * 50;
	unsigned r = 0;

	/* Without it no jitter: worse company, not a wrong result. */
	(void)!getrandom(&r, sizeof r, GRND_NONBLOCK);
	return ms + (int)(r % (unsigned)(ms / 4 + 1));
}

/* ---- the link */

void
link_init(struct redis_link *link)
{
	*link = (struct redis_link){ .fd = -1 };
	strbuf_init(&link->out, 512);
}

void
link_close(struct redis_link *link)
{
	if (link->fd >= 0)
		(void)close(link->fd);
	link->fd = -1;
	link->connecting = false;
	if (link->reader != NULL)
		redisReaderFree(link->reader);
	link->reader = NULL;
	strbuf_reset(&link->out);
	link->sent = 0;
}

void
link_release(struct redis_link *link)
{
	link_close(link);
	strbuf_release(&link->out);
}

static void
addresses_unix(struct redis_link *link, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	/* redis_addr_parse has checked the length. */
	memcpy(sun.sun_path, path, strlen(path) + 1);
	memcpy(&link->sa[0], &sun, sizeof sun);
	link->salen[0] = sizeof sun;
	link->naddr = 1;
}

static enum rc
addresses_tcp(
    struct redis_link *link, const struct redis_addr *addr, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV };
	struct addrinfo *res = NULL;
	int rv = getaddrinfo(addr->host, addr->port, &hints, &res);

	if (rv != 0)
		return err_set(e, RC_RETRY, "redis_down", "Redis: %s: %s",
		    addr->host, gai_strerror(rv));
	for (struct addrinfo *ai = res;
	     ai != NULL && link->naddr < LINK_MAX_ADDRS; ai = ai->ai_next) {
		if (ai->ai_addrlen > sizeof link->sa[0])
			continue;
		memcpy(&link->sa[link->naddr], ai->ai_addr, ai->ai_addrlen);
		link->salen[link->naddr++] = ai->ai_addrlen;
	}
	freeaddrinfo(res);
	return RC_OK;
}

/* Begin with the next address that is not refused at once. 0, or -1 and
 * errno. */
static int
connect_next(struct redis_link *link)
{
	int err = EADDRNOTAVAIL;

	while (link->next < link->naddr) {
		const struct sockaddr_storage *sa = &link->sa[link->next];
		socklen_t len = link->salen[link->next++];
		int on = 1;

		if (link->fd >= 0)
			(void)close(link->fd);
		link->fd = socket(sa->ss_family,
		    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (link->fd < 0) {
			err = errno;
			continue;
		}
		if (sa->ss_family != AF_UNIX)
			(void)setsockopt(
			    link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		if (connect(link->fd, (const struct sockaddr *)sa, len) == 0 ||
		    errno == EINPROGRESS) {
			link->connecting = true;
			return 0;
		}
		/* EAGAIN: a unix socket whose backlog is full. */
		err = errno;
	}
	errno = err;
	return -1;
}

enum rc
link_open(struct redis_link *link, const struct redis_addr *addr, struct err *e)
{
	enum rc rc;

	link_close(link);
	link->naddr = link->next = 0;
	if (addr->path != NULL) {
		addresses_unix(link, addr->path);
	} else if ((rc = addresses_tcp(link, addr, e)) != RC_OK) {
		return rc;
	}
	if (connect_next(link) != 0) {
		int err = errno;

		link_close(link);
		return err_set(
		    e, RC_RETRY, "redis_down", "Redis: %s", strerror(err));
	}
	link->reader = redisReaderCreate();
	if (link->reader == NULL) {
		link_close(link);
		return err_set(e, RC_RETRY, "redis_down", "Redis: no memory");
	}
	return RC_OK;
}

/* "*3\r\n" or "$12\r\n"; not by printf: this is most of what a command
 * costs us. */
static void
add_head(struct strbuf *out, char type, size_t n)
{
	char buf[24], *p = buf + sizeof buf;

	*--p = '\n';
	*--p = '\r';
	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	*--p = type;
	strbuf_add(out, p, (size_t)(buf + sizeof buf - p));
}

void
link_command(struct redis_link *link, int argc, const struct span *argv)
{
	add_head(&link->out, '*', (size_t)argc);
	for (int i = 0; i < argc; i++) {
		add_head(&link->out, '$', argv[i].n);
		if (argv[i].n > 0)
			strbuf_add(&link->out, argv[i].p, argv[i].n);
		strbuf_add(&link->out, "\r\n", 2);
	}
}

bool
link_auth(struct redis_link *link, const struct redis_addr *addr)
{
	struct span argv[3] = { span_of("AUTH") };
	int argc = 1;

	if (addr->pass == NULL)
		return false;
	if (addr->user != NULL)
		argv[argc++] = span_of(addr->user);
	argv[argc++] = span_of(addr->pass);
	link_command(link, argc, argv);
	return true;
}

short
link_events(const struct redis_link *link)
{
	if (link->connecting)
		return POLLOUT;
	return link->sent < link->out.len ? POLLIN | POLLOUT : POLLIN;
}

/* 0: connected or still at it; -1: no address is left. */
static int
finish_connecting(struct redis_link *link)
{
	struct pollfd pfd = { .fd = link->fd, .events = POLLOUT };
	int err = 0;
	socklen_t len = sizeof err;

	if (poll(&pfd, 1, 0) <= 0)
		return 0;
	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	if (err == 0) {
		link->connecting = false;
		return 0;
	}
	if (connect_next(link) == 0)
		return 0;
	errno = err;
	return -1;
}

int
link_flush(struct redis_link *link)
{
	if (link->connecting) {
		if (finish_connecting(link) != 0)
			return -1;
		if (link->connecting)
			return 0;
	}
	while (link->sent < link->out.len) {
		ssize_t n = send(link->fd, link->out.s + link->sent,
		    link->out.len - link->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		link->sent += (size_t)n;
	}
	strbuf_reset(&link->out);
	link->sent = 0;
	return 0;
}

int
link_fill(struct redis_link *link)
{
	char buf[16384];
	ssize_t n;

	if (link->connecting)
		return 0;
	do {
		n = recv(link->fd, buf, sizeof buf, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	if (n == 0) {
		errno = ECONNRESET;
		return -1;
	}
	return redisReaderFeed(link->reader, buf, (size_t)n) == REDIS_OK ? 1
									 : -1;
}

int
link_reply(struct redis_link *link, struct redisReply **out)
{
	void *reply = NULL;

	if (redisReaderGetReply(link->reader, &reply) != REDIS_OK)
		return -1;
	*out = reply;
	return reply == NULL ? 0 : 1;
}
