/*
 * The loop: one request at a time, many connections. A child waits with epoll
 * on all that it holds, on the listening socket, on the handover socket, on its
 * signals and on what the application wants watched. epoll and not poll: with
 * 64 connections poll copies and walks 64 entries at every turn, and the kernel
 * hands epoll's ready ones out in turn, so nobody is served twice before
 * another was served once.
 *
 * Listening and handover socket are watched with EPOLLEXCLUSIVE, so one waiting
 * child wakes up for one connection. Who cannot take one must then not be among
 * the waiting: a child with all slots taken, or with clearly more connections
 * than the others (a kept connection stays where it was accepted), leaves and
 * comes back.
 *
 * Draining: all connections a child holds are between two requests when it
 * looks at its signals, so all can go to the siblings at once. Where nobody is
 * left to take them (the whole server stops) they are served as far as a
 * request waits on them, and closed.
 */
#include "config.h" /* _GNU_SOURCE */

#include "fcgi-app/child.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sig.h"
#include "base/strbuf.h"
#include "base/xmalloc.h"
#include "fcgi-app/app.h"
#include "fcgi-app/handover.h"
#include "fcgi-app/scoreboard.h"
#include "fcgi-app/serve.h"
#include "shop/settings.h"

enum {
	TURN_MS = 200, /* app_turn at the least */
	HOUSE_MS = 100,
	EVENTS = 64,
	ACCEPTS = 4, /* in a row, before the others are looked at */
	APP_FDS = 8,
	LINGER_MS = 5000,
	LINGER_BYTES = 64 << 20,
	IO_MS = 10000, /* a peer that neither sends nor takes a byte */
	FEW = 4,       /* connections that need no balancing */
	ABOVE_MS = 10  /* how old a judgement of the balance may be */
};

/* In epoll's data beside the number of a slot. */
enum { TAG_LISTEN = 1 << 20, TAG_HANDOVER, TAG_SIGNAL, TAG_APP };

enum conn_state { CONN_FREE, CONN_OPEN, CONN_LINGER };

struct conn {
	enum conn_state state;
	int fd;
	int64_t until;    /* CONN_LINGER */
	size_t discarded; /* the same */
};

struct child {
	const struct child_opts *o;
	struct conf *conf; /* of a reload in single mode */
	struct app *app;
	struct serve *serve;
	int ep;
	bool tcp; /* else a unix socket */
	int sig;
	struct conn *conn; /* o->slots of them */
	int held;          /* of these are not free */
	int lingering;
	int next_free;       /* where to look first */
	bool waits;          /* listening and handover socket are watched */
	bool above;          /* more than its share of connections... */
	int above_held;      /* ...when it held this many... */
	int64_t above_ms;    /* ...then */
	int64_t pause_until; /* out of descriptors */
	int app_fd[APP_FDS];
	int n_app_fd;
	bool app_ready;
	int64_t turned_ms;
	int64_t left; /* requests until it is replaced; -1: no end */
	bool draining;
	int64_t drain_until;
	bool reload;
};

/* ---- connections */

static bool
watch(struct child *c, int op, int fd, uint32_t events, uint32_t tag)
{
	struct epoll_event ev = { .events = events, .data.u32 = tag };

	return epoll_ctl(c->ep, op, fd, &ev) == 0;
}

static void
held_add(struct child *c, int n)
{
	c->held += n;
	score_conns(c->o->score, c->held);
}

static int
conn_free_slot(struct child *c)
{
	for (int i = 0; i < c->o->slots; i++) {
		int at = (c->next_free + i) % c->o->slots;

		if (c->conn[at].state == CONN_FREE) {
			c->next_free = (at + 1) % c->o->slots;
			return at;
		}
	}
	return -1;
}

/* Keep fd, which must fit: the caller looked for room. */
static void
conn_add(struct child *c, int fd, enum conn_state state)
{
	int at = conn_free_slot(c);

	if (at < 0 ||
	    !watch(c, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP, (uint32_t)at)) {
		close(fd);
		return;
	}
	c->conn[at] = (struct conn){ .state = state, .fd = fd };
	if (state == CONN_LINGER) {
		c->conn[at].until = clock_mono_ms() + LINGER_MS;
		c->lingering++;
	}
	held_add(c, 1);
}

/* The slot is free; the descriptor is the caller's. */
static int
conn_release(struct child *c, struct conn *k)
{
	int fd = k->fd;

	if (k->state == CONN_LINGER)
		c->lingering--;
	*k = (struct conn){ .state = CONN_FREE, .fd = -1 };
	held_add(c, -1);
	return fd;
}

static void
conn_close(struct child *c, struct conn *k)
{
	close(conn_release(c, k)); /* epoll forgets it by itself */
}

static void
conn_linger(struct child *c, struct conn *k)
{
	shutdown(k->fd, SHUT_WR);
	k->state = CONN_LINGER;
	k->until = clock_mono_ms() + LINGER_MS;
	k->discarded = 0;
	c->lingering++;
}

/* A peer that stops in the middle of a request must not hold the child: the
 * master would kill it, and all its other connections with it. */
static void
conn_prepare(const struct child *c, int fd)
{
	int64_t ms = c->o->limits.request_deadline_ms / 4;
	struct timeval limit;
	int on = 1;

	if (ms > IO_MS)
		ms = IO_MS;
	limit.tv_sec = ms / 1000;
	limit.tv_usec = ms % 1000 * 1000;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (!c->tcp)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* ---- one request */

static bool
no_heirs(const struct child *c)
{
	return c->o->handover[HANDOVER_SEND] < 0 ||
	       scoreboard_master_const(c->o->board)->stopping != 0 ||
	       getppid() != c->o->master;
}

static void
begin_drain(struct child *c)
{
	if (c->draining)
		return;
	c->draining = true;
	c->drain_until = clock_mono_ms() + c->o->drain_ms;
	score_draining(c->o->score);
}

static enum serve_result
serve_one(struct child *c, int fd)
{
	enum serve_result result = serve_request(c->serve, c->app, fd);

	if (c->left > 0 && --c->left == 0)
		begin_drain(c);
	return result;
}

static void
conn_serve(struct child *c, struct conn *k)
{
	switch (serve_one(c, k->fd)) {
	case SERVE_KEEP:
		break;
	case SERVE_CLOSE:
		conn_close(c, k);
		break;
	case SERVE_LINGER:
		conn_linger(c, k);
		break;
	case SERVE_CLOSED:
		conn_release(c, k);
		break;
	}
}

static void
conn_discard(struct child *c, struct conn *k)
{
	char trash[16384];
	ssize_t n;

	while ((n = recv(k->fd, trash, sizeof trash, MSG_DONTWAIT)) > 0) {
		k->discarded += (size_t)n;
		if (k->discarded > LINGER_BYTES)
			break;
	}
	if (n > 0 || n == 0 || errno != EAGAIN)
		conn_close(c, k);
}

static void
conn_event(struct child *c, uint32_t at, uint32_t events)
{
	struct conn *k = &c->conn[at];

	if (k->state == CONN_FREE)
		return; /* closed since: an event of the same turn */
	if (k->state == CONN_LINGER) {
		conn_discard(c, k);
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		/* Both directions are closed: a request that may wait there
		 * is one that nobody will read the answer of. */
		if (events & EPOLLIN) {
			char byte;

			if (recv(k->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
				score_add(
				    c->o->score, &c->o->score->n.aborted, 1);
		}
		conn_close(c, k);
	} else if (events & EPOLLRDHUP) {
		char byte;

		/* TCP says so also where only that direction is closed. */
		if (recv(k->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
			conn_serve(c, k);
		else
			conn_close(c, k);
	} else if (events & EPOLLIN) {
		conn_serve(c, k);
	}
}

/* A connection that just came: mostly its request is there as well, and one
 * without keep_conn then never needs to be watched. */
static void
conn_new(struct child *c, int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) {
		close(fd);
		return;
	}
	if (n < 0) {
		conn_add(c, fd, CONN_OPEN);
		return;
	}
	switch (serve_one(c, fd)) {
	case SERVE_KEEP:
		conn_add(c, fd, CONN_OPEN);
		break;
	case SERVE_LINGER:
		shutdown(fd, SHUT_WR);
		conn_add(c, fd, CONN_LINGER);
		break;
	case SERVE_CLOSE:
		close(fd);
		break;
	case SERVE_CLOSED:
		break;
	}
}

static int
accept_one(struct child *c)
{
	int fd = accept4(c->o->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0) {
		conn_prepare(c, fd);
		score_add(c->o->score, &c->o->score->n.accepted, 1);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		   errno == ENOMEM) {
		log_warn("accept_paused", LOG_S("why", strerror(errno)));
		c->pause_until = clock_mono_ms() + 1000;
	}
	return fd;
}

static void
accept_some(struct child *c)
{
	for (int i = 0; i < ACCEPTS && !c->draining; i++) {
		int fd;

		if (c->held == c->o->slots || (fd = accept_one(c)) < 0)
			return;
		conn_new(c, fd);
	}
}

static void
take_some(struct child *c)
{
	for (int i = 0; i < ACCEPTS && !c->draining; i++) {
		int fd;

		if (c->held == c->o->slots ||
		    (fd = handover_take(c->o->handover[HANDOVER_TAKE])) < 0)
			return;
		score_add(c->o->score, &c->o->score->n.received, 1);
		conn_add(c, fd, CONN_OPEN);
	}
}

/* ---- who takes new connections */

/*
 * More than three above the mean of the serving children. Not all can be, so
 * there is always one that takes the next connection.
 */
static bool
above_mean(const struct child *c)
{
	int live = 0, total = 0;

	if (c->held <= FEW || c->o->master == 0)
		return false;
	for (int i = 0; i < scoreboard_used(c->o->board); i++) {
		const struct score_slot *s = scoreboard_slot(c->o->board, i);

		if (s->state == CS_DEAD || s->state == CS_STARTING ||
		    s->draining != 0 || s->housekeeper != 0)
			continue;
		live++;
		total += s->conns;
	}
	return c->held * live > total + 3 * live;
}

/* The same, looked up again when it may have changed: the other children write
 * to their slots at each request, so that reading them all is no small thing. */
static bool
over_share(struct child *c, int64_t now)
{
	if (c->held != c->above_held || now - c->above_ms >= ABOVE_MS) {
		c->above = above_mean(c);
		c->above_held = c->held;
		c->above_ms = now;
	}
	return c->above;
}

static void
update_waiting(struct child *c, int64_t now)
{
	bool want = !c->draining && c->held < c->o->slots &&
		    now >= c->pause_until && !over_share(c, now);
	int op = want ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;

	if (want == c->waits)
		return;
	watch(c, op, c->o->listen_fd, EPOLLIN | EPOLLEXCLUSIVE, TAG_LISTEN);
	if (c->o->handover[HANDOVER_TAKE] >= 0)
		watch(c, op, c->o->handover[HANDOVER_TAKE],
		    EPOLLIN | EPOLLEXCLUSIVE, TAG_HANDOVER);
	c->waits = want;
}

/* ---- the application's descriptors */

static void
app_turn_now(struct child *c, int64_t now)
{
	struct pollfd fds[APP_FDS];
	int n;

	app_turn(c->app);
	c->turned_ms = now;
	c->app_ready = false;
	n = app_pollfds(c->app, fds, APP_FDS);
	for (int i = 0; i < c->n_app_fd; i++) {
		bool still = false;

		for (int j = 0; j < n; j++)
			still = still || fds[j].fd == c->app_fd[i];
		if (!still)
			watch(c, EPOLL_CTL_DEL, c->app_fd[i], 0, TAG_APP);
	}
	c->n_app_fd = 0;
	for (int j = 0; j < n; j++) {
		uint32_t events = (fds[j].events & POLLIN ? EPOLLIN : 0u) |
				  (fds[j].events & POLLOUT ? EPOLLOUT : 0u);

		/* The number may be that of a new connection, which epoll
		 * does not know: so both are tried. */
		if (fds[j].fd < 0 ||
		    (!watch(c, EPOLL_CTL_MOD, fds[j].fd, events, TAG_APP) &&
			!watch(c, EPOLL_CTL_ADD, fds[j].fd, events, TAG_APP)))
			continue;
		c->app_fd[c->n_app_fd++] = fds[j].fd;
	}
}

/* ---- signals, draining */

static void
take_signals(struct child *c)
{
	int sig;

	while ((sig = sig_next(c->sig, NULL)) != 0) {
		if (sig == SIGHUP)
			c->reload = true;
		else
			begin_drain(c);
	}
}

static void
reload_app(struct child *c)
{
	struct app_opts ao = { .doing = &c->o->score->doing,
		.scoreboard = c->o->board,
		.housekeeper = c->o->housekeeper };
	struct app *app;
	struct conf *conf;
	struct err e = ERR_INIT;

	c->reload = false;
	if (settings_load(c->o->conf_path, &conf, NULL, &e) != RC_OK) {
		log_error("reload_refused", LOG_S("msg", e.msg));
		return;
	}
	ao.conf = conf;
	if (app_open(&ao, &app, &e) != RC_OK) {
		log_error("reload_refused", LOG_S("msg", e.msg));
		conf_free(conf);
		return;
	}
	app_close(c->app);
	conf_free(c->conf);
	c->app = app;
	c->conf = conf;
	app_turn_now(c, clock_mono_ms());
	log_info("reloaded");
}

/* Give all away; what the queue does not take now is tried again. */
static void
drain_to_heirs(struct child *c)
{
	for (int i = 0; i < c->o->slots; i++) {
		struct conn *k = &c->conn[i];

		if (k->state != CONN_OPEN)
			continue;
		/* A descriptor lives on in the other process, so epoll would
		 * not forget it by itself. */
		watch(c, EPOLL_CTL_DEL, k->fd, 0, 0);
		if (!handover_send(c->o->handover[HANDOVER_SEND], k->fd)) {
			watch(c, EPOLL_CTL_ADD, k->fd, EPOLLIN | EPOLLRDHUP,
			    (uint32_t)i);
			return;
		}
		conn_release(c, k);
		score_add(c->o->score, &c->o->score->n.handed, 1);
	}
}

/* Serve what waits on it; wait_ms for what may be on its way. */
static void
finish_fd(struct child *c, int fd, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;

	if (poll(&p, 1, wait_ms) > 0 &&
	    recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0 &&
	    serve_one(c, fd) == SERVE_CLOSED)
		return;
	close(fd);
}

static void
drain_to_nobody(struct child *c)
{
	int fd;

	for (int i = 0; i < c->o->slots; i++) {
		struct conn *k = &c->conn[i];

		if (k->state == CONN_FREE)
			continue;
		if (k->state == CONN_LINGER)
			conn_close(c, k);
		else
			finish_fd(c, conn_release(c, k), 0);
	}
	while (c->o->handover[HANDOVER_TAKE] >= 0 &&
	       deadline_left_ms(c->drain_until) > 0 &&
	       (fd = handover_take(c->o->handover[HANDOVER_TAKE])) >= 0)
		finish_fd(c, fd, 0);
	while (
	    deadline_left_ms(c->drain_until) > 0 && (fd = accept_one(c)) >= 0)
		finish_fd(c, fd, 50);
}

/* False: nothing is left. */
static bool
drain_turn(struct child *c)
{
	if (no_heirs(c)) {
		drain_to_nobody(c);
		return false;
	}
	drain_to_heirs(c);
	if (c->held == c->lingering)
		return false;
	if (deadline_left_ms(c->drain_until) > 0)
		return true;
	log_warn("drain_limit", LOG_I("closed", c->held));
	return false;
}

/* ---- the loop */

static void
end_lingering(struct child *c, int64_t now)
{
	for (int i = 0; c->lingering > 0 && i < c->o->slots; i++) {
		struct conn *k = &c->conn[i];

		if (k->state == CONN_LINGER && now >= k->until)
			conn_close(c, k);
	}
}

static int
wait_ms(const struct child *c, int64_t now)
{
	int64_t ms = c->turned_ms + TURN_MS - now;

	if (c->draining || !c->waits)
		ms = ms < 20 ? ms : 20;
	return ms < 0 ? 0 : (int)ms;
}

static void
child_event(struct child *c, const struct epoll_event *ev)
{
	switch (ev->data.u32) {
	case TAG_LISTEN:
		accept_some(c);
		break;
	case TAG_HANDOVER:
		take_some(c);
		break;
	case TAG_SIGNAL:
		take_signals(c);
		break;
	case TAG_APP:
		c->app_ready = true;
		break;
	default:
		conn_event(c, ev->data.u32, ev->events);
		break;
	}
}

static void
child_loop(struct child *c)
{
	struct epoll_event ev[EVENTS];
	int64_t now = clock_coarse_ms();

	for (;;) {
		int n;

		update_waiting(c, now);
		n = epoll_wait(c->ep, ev, EVENTS, wait_ms(c, now));
		now = clock_coarse_ms();
		for (int i = 0; i < n; i++) {
			child_event(c, &ev[i]);
			now = clock_coarse_ms();
			if (now - c->turned_ms >= TURN_MS)
				app_turn_now(c, now);
		}
		if (c->app_ready || now - c->turned_ms >= TURN_MS)
			app_turn_now(c, now);
		if (c->reload)
			reload_app(c);
		if (c->lingering > 0)
			end_lingering(c, now);
		if (c->draining && !drain_turn(c))
			return;
	}
}

/* ---- start */

/* The master's end is ours: it may have come before this could see it. */
static bool
orphaned(const struct child_opts *o)
{
	if (o->master == 0)
		return false;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	return getppid() != o->master;
}

static int
open_signals(const struct child_opts *o)
{
	/* In single mode Ctrl-C reaches us; else it is the master's. */
	static const int signals[] = { SIGTERM, SIGQUIT, SIGHUP, SIGINT };

	return sig_open(o->master == 0 ? 4 : 2, signals);
}

static bool
open_app(const struct child_opts *o, struct app **app)
{
	struct app_opts ao = { .conf = o->conf,
		.doing = &o->score->doing,
		.scoreboard = o->board,
		.gate = o->gate,
		.housekeeper = o->housekeeper };
	struct err e = ERR_INIT;

	if (app_open(&ao, app, &e) == RC_OK)
		return true;
	log_error("app_open", LOG_S("msg", e.msg));
	return false;
}

static bool
is_tcp(int fd)
{
	int domain = 0;
	socklen_t n = sizeof domain;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 &&
	       domain != AF_UNIX;
}

static void
say_ready(const struct child_opts *o)
{
	score_idle(o->score);
	if (o->ready_fd >= 0 && write(o->ready_fd, "", 1) != 1)
		log_warn("ready", LOG_S("msg", strerror(errno)));
}

/* Children that began together do not end together. */
static int64_t
spread(int64_t max_requests)
{
	if (max_requests <= 0)
		return -1;
	return max_requests - (int64_t)getpid() % (max_requests / 10 + 1);
}

int
child_serve(const struct child_opts *o)
{
	struct serve_opts so = { o->limits, o->score };
	struct child c = { .o = o, .left = spread(o->max_requests) };

	if (orphaned(o))
		return 0;
	c.sig = open_signals(o);
	c.ep = epoll_create1(EPOLL_CLOEXEC);
	if (c.sig < 0 || c.ep < 0) {
		log_error("child_start", LOG_S("msg", strerror(errno)));
		return EXIT_AGAIN;
	}
	c.tcp = is_tcp(o->listen_fd);
	if (!open_app(o, &c.app))
		return EXIT_PERSON;
	c.serve = serve_new(&so);
	sig_ignore_pipe(); /* libfcgi put a handler there */
	c.conn = xcalloc((size_t)o->slots, sizeof *c.conn);
	for (int i = 0; i < o->slots; i++)
		c.conn[i].fd = -1;
	watch(&c, EPOLL_CTL_ADD, c.sig, EPOLLIN, TAG_SIGNAL);
	app_turn_now(&c, clock_mono_ms());
	say_ready(o);
	child_loop(&c);
	for (int i = 0; i < o->slots; i++) {
		if (c.conn[i].state != CONN_FREE)
			conn_close(&c, &c.conn[i]);
	}
	free(c.conn);
	serve_free(c.serve);
	app_close(c.app);
	conf_free(c.conf);
	close(c.ep);
	close(c.sig);
	return 0;
}

int
child_keep_house(const struct child_opts *o)
{
	struct app *app;
	int sig;

	if (orphaned(o))
		return 0;
	sig = open_signals(o);
	if (sig < 0)
		return EXIT_AGAIN;
	sig_ignore_pipe();
	if (!open_app(o, &app))
		return EXIT_PERSON;
	say_ready(o);
	for (;;) {
		struct pollfd fds[APP_FDS + 1] = { { .fd = sig,
		    .events = POLLIN } };
		int n = app_pollfds(app, fds + 1, APP_FDS);

		/* The master takes its pulse by this. */
		score_begin(o->score, clock_mono_us());
		score_request(o->score, "-", "housekeeping");
		score_state(o->score, CS_IDLE);
		poll(fds, (nfds_t)n + 1, HOUSE_MS);
		if (sig_next(sig, NULL) != 0 || getppid() != o->master)
			break;
		score_state(o->score, CS_RUNNING);
		app_turn(app);
	}
	app_close(app);
	close(sig);
	return 0;
}
