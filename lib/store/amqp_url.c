/* librabbitmq's own parser knows no query and cuts the caller's string. */
#include "store/amqp_url.h"

#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"

enum { QUEUE_NAME_MAX = 200 }; /* 255 in AMQP; ours get endings */

static enum rc
bad(const char *name, const char *what, struct err *e)
{
	return err_set(e, RC_INVALID, "bad_queue_url",
	    "queue %s: %s; write amqp://user:password@host:5672/vhost, with "
	    "@, :, / and ? in a password as %%40, %%3A, %%2F and %%3F",
	    name, what);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Malloced; NULL: a wrong escape, or a control character. */
static char *
decoded(struct span s)
{
	struct strbuf sb;
	char *out = NULL;
	size_t i;

	strbuf_init(&sb, s.n);
	for (i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '%') {
			int hi = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
			int lo = hi < 0 ? -1 : hex_digit(s.p[i + 2]);

			if (lo < 0)
				break;
			c = (char)(hi * 16 + lo);
			i += 2;
		}
		if ((unsigned char)c < ' ' || c == 0x7f)
			break;
		strbuf_addc(&sb, c);
	}
	if (i == s.n && utf8_valid(sb.s, sb.len))
		out = xstrdup(sb.s);
	strbuf_release(&sb);
	return out;
}

/* What is before the first (or last) c goes to *head, what is behind stays in
 * *s; false, and nothing changed: there is none. */
static bool
cut(struct span *s, char c, bool last, struct span *head)
{
	size_t at = s->n;

	for (size_t i = 0; i < s->n; i++) {
		if (s->p[i] == c && (last || at == s->n))
			at = i;
	}
	if (at == s->n)
		return false;
	*head = (struct span){ s->p, at };
	s->p += at + 1;
	s->n -= at + 1;
	return true;
}

static enum rc
take_user(
    struct span info, const char *name, struct amqp_url *out, struct err *e)
{
	struct span user = info;

	if (!cut(&info, ':', false, &user))
		return bad(name, "a user but no password", e);
	out->user = decoded(user);
	out->password = decoded(info);
	if (out->user == NULL || out->password == NULL || *out->user == '\0')
		return bad(name, "user or password is not well written", e);
	return RC_OK;
}

static enum rc
take_host(struct span s, const char *name, struct amqp_url *out, struct err *e)
{
	struct span host = s, port = { NULL, 0 };
	int64_t n;

	if (s.n > 0 && s.p[0] == '[') {
		if (!cut(&s, ']', false, &host))
			return bad(name, "[ without ]", e);
		host.p++;
		host.n--;
		if (s.n > 0 && s.p[0] != ':')
			return bad(name, "host and port are wanted", e);
		port = s.n > 0 ? (struct span){ s.p + 1, s.n - 1 } : port;
		if (s.n == 1)
			return bad(name, "a port is wanted", e);
	} else if (cut(&s, ':', false, &host)) {
		port = s;
		if (s.n == 0)
			return bad(name, "a port is wanted", e);
	}
	if (port.n > 0) {
		if (!text_int(port, 1, 65535, &n))
			return bad(name, "the port is no number", e);
		out->port = (int)n;
	}
	out->host = decoded(host);
	if (out->host == NULL || *out->host == '\0' ||
	    strpbrk(out->host, " /@\\") != NULL)
		return bad(name, "a host is wanted", e);
	return RC_OK;
}

static enum rc
take_query(
    struct span query, const char *name, struct amqp_url *out, struct err *e)
{
	if (!span_starts(query, "queue=") ||
	    memchr(query.p, '&', query.n) != NULL)
		return bad(name, "?queue=name is all it may end with", e);
	query.p += strlen("queue=");
	query.n -= strlen("queue=");
	out->queue = decoded(query);
	/* amq. is RabbitMQ's own. */
	if (out->queue == NULL || *out->queue == '\0' ||
	    strlen(out->queue) > QUEUE_NAME_MAX ||
	    strncmp(out->queue, "amq.", 4) == 0)
		return bad(name, "?queue= wants the name of a queue", e);
	return RC_OK;
}

static void
take_defaults(const char *name, struct amqp_url *out)
{
	if (out->user == NULL) {
		out->user = xstrdup("guest");
		out->password = xstrdup("guest");
	}
	if (out->vhost == NULL || *out->vhost == '\0') {
		free(out->vhost);
		out->vhost = xstrdup("/");
	}
	if (out->queue == NULL) {
		struct strbuf sb;

		strbuf_init(&sb, 32);
		strbuf_addf(&sb, "souk.%s", name);
		out->queue = xstrdup(sb.s);
		strbuf_release(&sb);
	}
}

static enum rc
take_all(struct span s, const char *name, struct amqp_url *out, struct err *e)
{
	struct span rest = s, authority = s, info;
	struct span query = { NULL, 0 }, path = { NULL, 0 };
	enum rc rc = RC_OK;

	if (cut(&rest, '?', false, &authority))
		query = rest;
	else
		rest.n = 0;
	if (memchr(s.p, '#', s.n) != NULL)
		return bad(name, "no # may be in it", e);
	path = authority;
	if (!cut(&path, '/', false, &authority))
		path.n = 0;
	if (cut(&authority, '@', true, &info))
		rc = take_user(info, name, out, e);
	if (rc == RC_OK)
		rc = take_host(authority, name, out, e);
	if (rc == RC_OK && path.n > 0) {
		out->vhost = decoded(path);
		if (out->vhost == NULL || strlen(out->vhost) > 255)
			rc = bad(name, "the vhost is not well written", e);
	}
	if (rc == RC_OK && query.n > 0)
		rc = take_query(query, name, out, e);
	return rc;
}

enum rc
amqp_url_parse(
    const char *url, const char *name, struct amqp_url *out, struct err *e)
{
	struct span s = span_of(url);
	enum rc rc;

	*out = (struct amqp_url){ .port = 5672 };
	if (span_starts(s, "amqps://")) {
		out->tls = true;
		out->port = 5671;
	} else if (!span_starts(s, "amqp://")) {
		return bad(name, "not an address of RabbitMQ", e);
	}
	s.p += strlen(out->tls ? "amqps://" : "amqp://");
	s.n -= strlen(out->tls ? "amqps://" : "amqp://");
	rc = take_all(s, name, out, e);
	if (rc == RC_OK)
		take_defaults(name, out);
	else
		amqp_url_release(out);
	return rc;
}

void
amqp_url_release(struct amqp_url *url)
{
	free(url->host);
	free(url->user);
	free(url->password);
	free(url->vhost);
	free(url->queue);
	*url = (struct amqp_url){ 0 };
}
