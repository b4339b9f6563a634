/*
 * Heartbeats of the protocol are off: librabbitmq sends them only inside of its
 * calls, and a worker's connection is idle for as long as a task runs, so that
 * a broker that expects them would drop workers for working. TCP keepalive
 * watches the connection from here instead; the kernel answers the broker's own
 * (tcp_listen_options.keepalive, docs/queues.md), whatever the process does.
 */
#include "config.h" /* _GNU_SOURCE */

#include "store/amqp_link.h"

#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/xmalloc.h"
#include "store/amqp_url.h"

enum {
	FRAME_MAX = 131072,
	BACKOFF_MS = 50,
	BACKOFF_MAX_MS = 5000,
	KEEPALIVE_IDLE_S = 15,
	KEEPALIVE_EVERY_S = 5,
	KEEPALIVE_COUNT = 3,
	LOOK_MS = 1000 /* TLS may hold what poll(2) does not see */
};

static struct timeval
timeval_of(int ms)
{
	return (struct timeval){ ms / 1000, ms % 1000 * 1000 };
}

/* ---- errors */

static enum rc
away(struct amqp_link *link, struct err *e, const char *what)
{
	return err_set(e, RC_RETRY, "queue_away",
	    "queue %s: RabbitMQ at %s:%d: %s", link->name, link->url->host,
	    link->url->port, what);
}

static enum rc
status_failed(struct amqp_link *link, int status, struct err *e)
{
	alink_drop(link);
	switch (status) {
	case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED:
	case AMQP_STATUS_SSL_PEER_VERIFY_FAILED:
		return err_set(e, RC_FAIL, "queue_tls",
		    "queue %s: the certificate of RabbitMQ at %s:%d is not "
		    "to be trusted",
		    link->name, link->url->host, link->url->port);
	case AMQP_STATUS_BROKER_UNSUPPORTED_SASL_METHOD:
		return err_set(e, RC_FAIL, "queue_login",
		    "queue %s: RabbitMQ takes no login by password (PLAIN)",
		    link->name);
	case AMQP_STATUS_TIMEOUT:
		return away(link, e, "no answer in time");
	default:
		return away(link, e, amqp_error_string2(status));
	}
}

/* "NOT_FOUND - no queue 'x' in vhost '/'": the broker's words, of one line. */
static const char *
words(amqp_bytes_t text, char out[200])
{
	size_t n = text.len < 199 ? text.len : 199;

	for (size_t i = 0; i < n; i++) {
		char c = ((const char *)text.bytes)[i];

		out[i] = c >= ' ' && c < 0x7f ? c : '?';
	}
	out[n] = '\0';
	return out;
}

/* Codes of AMQP 0-9-1, and what RabbitMQ makes of them. */
static enum rc
refused(struct amqp_link *link, int code, amqp_bytes_t text, struct err *e)
{
	char said[200];

	(void)words(text, said);
	switch (code) {
	case AMQP_NOT_FOUND:
		return err_set(e, RC_NONE, "queue_missing", "queue %s: %s",
		    link->name, said);
	case AMQP_ACCESS_REFUSED:
		return err_set(e, RC_FAIL, "queue_refused", "queue %s: %s",
		    link->name, said);
	case AMQP_NOT_ALLOWED: /* the vhost */
		return err_set(e, RC_FAIL, "queue_refused", "queue %s: %s",
		    link->name, said);
	case AMQP_PRECONDITION_FAILED:
		/* A delivery that was held for longer than the broker's
		 * consumer_timeout ends the channel in this way. */
		if (strstr(said, "timed out") != NULL)
			return err_set(e, RC_RETRY, "queue_timeout",
			    "queue %s: a task was held longer than RabbitMQ's "
			    "consumer_timeout, which must be above [workers] "
			    "max_lease: %s",
			    link->name, said);
		return err_set(e, RC_FAIL, "queue_refused", "queue %s: %s",
		    link->name, said);
	case AMQP_FRAME_ERROR:
	case AMQP_SYNTAX_ERROR:
	case AMQP_COMMAND_INVALID:
	case AMQP_UNEXPECTED_FRAME:
		return err_set(e, RC_FAIL, "queue_protocol", "queue %s: %s",
		    link->name, said);
	default:
		return away(link, e, said);
	}
}

/* ---- connecting */

static int64_t
backoff(int fails)
{
	int64_t ms = BACKOFF_MS;

	for (int i = 1; i < fails && ms < BACKOFF_MAX_MS; i++)
		ms *= 2;
	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	/* Half to all of it: a broker that comes back meets a crowd. */
	return ms / 2 + clock_mono_us() % (ms / 2 + 1);
}

static void
socket_watch(const struct amqp_link *link)
{
	const struct {
		int level, name, value;
	} options[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, link->timeout_ms },
	};
	int fd = amqp_get_sockfd(link->conn);

	/* What is refused is not there: the deadlines of reading stay. */
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		(void)setsockopt(fd, options[i].level, options[i].name,
		    &options[i].value, sizeof options[i].value);
}

static amqp_socket_t *
socket_new(struct amqp_link *link)
{
	amqp_socket_t *sock;

	if (!link->url->tls)
		return amqp_tcp_socket_new(link->conn);
	sock = amqp_ssl_socket_new(link->conn);
	if (sock == NULL)
		return NULL;
	/* The system's; $SSL_CERT_FILE instead where it is set. */
	(void)SSL_CTX_set_default_verify_paths(
	    amqp_ssl_socket_get_context(sock));
	amqp_ssl_socket_set_verify_peer(sock, 1);
	amqp_ssl_socket_set_verify_hostname(sock, 1);
	(void)amqp_ssl_socket_set_ssl_versions(
	    sock, AMQP_TLSv1_2, AMQP_TLSvLATEST);
	return sock;
}

static amqp_table_entry_t
entry_true(const char *key)
{
	return (amqp_table_entry_t){ bytes_of(key),
		{ .kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1 } };
}

static amqp_rpc_reply_t
login(struct amqp_link *link)
{
	/* Told when the queue is deleted under us. */
	amqp_table_entry_t can[] = { entry_true("consumer_cancel_notify"),
		entry_true("connection.blocked") };
	amqp_table_entry_t entries[] = {
		{ bytes_of("capabilities"),
		    { .kind = AMQP_FIELD_KIND_TABLE,
			.value.table = { sizeof can / sizeof *can, can } } },
		{ bytes_of("connection_name"),
		    { .kind = AMQP_FIELD_KIND_UTF8,
			.value.bytes = bytes_of(link->url->queue) } },
	};
	amqp_table_t properties = { sizeof entries / sizeof *entries, entries };

	return amqp_login_with_properties(link->conn, link->url->vhost,
	    ALINK_ASK, FRAME_MAX, 0, &properties, AMQP_SASL_METHOD_PLAIN,
	    link->url->user, link->url->password);
}

static enum rc
login_reply(struct amqp_link *link, amqp_rpc_reply_t r, struct err *e)
{
	enum rc rc;

	if (r.reply_type == AMQP_RESPONSE_NORMAL)
		return RC_OK;
	if (r.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION)
		return status_failed(link,
		    r.reply_type == AMQP_RESPONSE_NONE
			? AMQP_STATUS_CONNECTION_CLOSED
			: r.library_error,
		    e);
	if (r.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
		const amqp_connection_close_t *m = r.reply.decoded;

		/* 403 before the connection is open is about the password;
		 * the broker's words name the user. */
		rc = m->reply_code == AMQP_ACCESS_REFUSED
			 ? err_set(e, RC_FAIL, "queue_login",
			       "queue %s: RabbitMQ at %s:%d does not take "
			       "user and password",
			       link->name, link->url->host, link->url->port)
			 : refused(link, m->reply_code, m->reply_text, e);
		if (rc == RC_NONE)
			rc = e->rc = RC_FAIL; /* no such vhost */
	} else {
		rc = away(link, e, "the connection was closed");
	}
	alink_drop(link);
	return rc;
}

static enum rc
connect_once(struct amqp_link *link, struct err *e)
{
	struct timeval connect_in = timeval_of(link->connect_ms);
	struct timeval answer_in = timeval_of(link->timeout_ms);
	amqp_socket_t *sock;
	int status;
	enum rc rc;

	link->conn = amqp_new_connection();
	if (link->conn == NULL)
		xmalloc_failed();
	link->ask_open = false;
	sock = socket_new(link);
	if (sock == NULL)
		xmalloc_failed();
	status = amqp_socket_open_noblock(
	    sock, link->url->host, link->url->port, &connect_in);
	if (status != AMQP_STATUS_OK)
		return status_failed(link, status, e);
	socket_watch(link);
	if (amqp_set_handshake_timeout(link->conn, &connect_in) !=
		AMQP_STATUS_OK ||
	    amqp_set_rpc_timeout(link->conn, &answer_in) != AMQP_STATUS_OK)
		return status_failed(link, AMQP_STATUS_INVALID_PARAMETER, e);
	rc = login_reply(link, login(link), e);
	if (rc != RC_OK)
		return rc;
	amqp_channel_open(link->conn, ALINK_WORK);
	return alink_reply(link, ALINK_WORK, e);
}

/* A broker that went away while nobody looked is found out here, and not at a
 * write that seems to succeed. Frames of ALINK_WORK are kept. */
static void
find_out(struct amqp_link *link)
{
	struct pollfd p = { .fd = amqp_get_sockfd(link->conn),
		.events = POLLIN };
	char byte;

	if (poll(&p, 1, 0) <= 0)
		return;
	if (recv(p.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
		alink_drop(link);
}

enum rc
alink_up(struct amqp_link *link, bool *fresh, struct err *e)
{
	enum rc rc;

	*fresh = false;
	if (link->conn != NULL)
		find_out(link);
	if (link->conn != NULL)
		return RC_OK;
	if (clock_mono_ms() < link->not_before) {
		*e = link->last;
		return link->last.rc;
	}
	rc = connect_once(link, e);
	if (rc == RC_OK) {
		link->fails = 0;
		*fresh = true;
		return RC_OK;
	}
	link->fails++;
	link->not_before = clock_mono_ms() + backoff(link->fails);
	link->last = *e;
	return rc;
}

void
alink_drop(struct amqp_link *link)
{
	if (link->conn == NULL)
		return;
	(void)amqp_destroy_connection(link->conn);
	link->conn = NULL;
	link->ask_open = false;
}

void
alink_close(struct amqp_link *link)
{
	if (link->conn != NULL)
		(void)amqp_connection_close(link->conn, AMQP_REPLY_SUCCESS);
	alink_drop(link);
}

/* ---- asking */

enum rc
alink_wrote(struct amqp_link *link, int status, struct err *e)
{
	return status == AMQP_STATUS_OK ? RC_OK
					: status_failed(link, status, e);
}

static enum rc
closed_by_broker(
    struct amqp_link *link, int channel, const amqp_method_t *m, struct err *e)
{
	enum rc rc;

	if (m->id == AMQP_CHANNEL_CLOSE_METHOD) {
		const amqp_channel_close_t *c = m->decoded;
		amqp_channel_close_ok_t ok = { 0 };

		rc = refused(link, c->reply_code, c->reply_text, e);
		if (channel == ALINK_ASK) {
			link->ask_open = false;
			if (amqp_send_method(link->conn, ALINK_ASK,
				AMQP_CHANNEL_CLOSE_OK_METHOD,
				&ok) == AMQP_STATUS_OK)
				return rc;
		}
	} else {
		const amqp_connection_close_t *c = m->decoded;

		rc = refused(link, c->reply_code, c->reply_text, e);
	}
	alink_drop(link);
	return rc;
}

enum rc
alink_reply(struct amqp_link *link, int channel, struct err *e)
{
	amqp_rpc_reply_t r = amqp_get_rpc_reply(link->conn);

	switch (r.reply_type) {
	case AMQP_RESPONSE_NORMAL:
		return RC_OK;
	case AMQP_RESPONSE_SERVER_EXCEPTION:
		if (r.reply.id == AMQP_CHANNEL_CLOSE_METHOD ||
		    r.reply.id == AMQP_CONNECTION_CLOSE_METHOD)
			return closed_by_broker(link, channel, &r.reply, e);
		return status_failed(link, AMQP_STATUS_UNEXPECTED_STATE, e);
	case AMQP_RESPONSE_LIBRARY_EXCEPTION:
		return status_failed(link, r.library_error, e);
	case AMQP_RESPONSE_NONE:
	default:
		return status_failed(link, AMQP_STATUS_CONNECTION_CLOSED, e);
	}
}

enum rc
alink_ask(struct amqp_link *link, struct err *e)
{
	enum rc rc;

	if (link->ask_open)
		return RC_OK;
	amqp_channel_open(link->conn, ALINK_ASK);
	rc = alink_reply(link, ALINK_ASK, e);
	link->ask_open = rc == RC_OK;
	return rc;
}

/* ---- frames */

bool
alink_pause(int64_t until, int stop_fd)
{
	struct pollfd p = { .fd = stop_fd == 0 ? -1 : stop_fd,
		.events = POLLIN };

	while (clock_mono_ms() < until) {
		if (poll(&p, 1, deadline_left_ms(until)) > 0)
			return true;
	}
	return false;
}

/* False: stop_fd is readable. */
static bool
wait_readable(struct amqp_link *link, int64_t deadline, int stop_fd)
{
	struct pollfd p[2] = { { .fd = amqp_get_sockfd(link->conn),
				   .events = POLLIN },
		{ .fd = stop_fd == 0 ? -1 : stop_fd, .events = POLLIN } };
	int left = deadline_left_ms(deadline);

	(void)poll(p, 2, left < LOOK_MS ? left : LOOK_MS);
	return p[1].revents == 0;
}

/* What is not for the caller. */
static enum rc
frame_aside(struct amqp_link *link, const amqp_frame_t *frame, bool *aside,
    struct err *e)
{
	const amqp_method_t *m = &frame->payload.method;

	*aside = frame->channel != ALINK_WORK;
	if (frame->frame_type != AMQP_FRAME_METHOD)
		return RC_OK;
	if (m->id == AMQP_CHANNEL_CLOSE_METHOD ||
	    m->id == AMQP_CONNECTION_CLOSE_METHOD) {
		/* The link goes, whichever channel it was. */
		enum rc rc = closed_by_broker(link, ALINK_WORK, m, e);

		return rc == RC_NONE ? (e->rc = RC_RETRY) : rc;
	}
	if (m->id == AMQP_BASIC_CANCEL_METHOD) {
		alink_drop(link);
		return away(link, e, "the queue was deleted");
	}
	return RC_OK;
}

enum alink_got
alink_frame(struct amqp_link *link, int64_t deadline, int stop_fd,
    amqp_frame_t *frame, struct err *e)
{
	struct timeval zero = { 0 };

	if (link->conn == NULL) {
		(void)!away(link, e, "the connection is lost");
		return ALINK_LOST;
	}
	for (bool stopped = false;;) {
		bool aside;
		int status;

		amqp_maybe_release_buffers_on_channel(link->conn, ALINK_WORK);
		amqp_maybe_release_buffers_on_channel(link->conn, 0);
		status =
		    amqp_simple_wait_frame_noblock(link->conn, frame, &zero);
		if (status == AMQP_STATUS_OK) {
			if (frame_aside(link, frame, &aside, e) != RC_OK)
				return ALINK_LOST;
			if (!aside)
				return ALINK_FRAME;
			continue;
		}
		if (status != AMQP_STATUS_TIMEOUT) {
			(void)!status_failed(link, status, e);
			return ALINK_LOST;
		}
		if (stopped || deadline_left_ms(deadline) == 0)
			return ALINK_NOTHING;
		stopped = !wait_readable(link, deadline, stop_fd);
	}
}
