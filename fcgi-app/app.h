/*
 * app - what a child does with a request: routes, handlers, the connections to
 * the stores. The server (child.c) knows the application by this alone.
 */
#ifndef FCGI_APP_APP_H
#define FCGI_APP_APP_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct app; /* one per child, made after fork() */
struct conf;
struct doing;
struct request;
struct response;
struct scoreboard;

struct app_opts {
	const struct conf *conf;       /* outlives the app */
	struct doing *doing;           /* NULL: nobody watches */
	struct scoreboard *scoreboard; /* for /metrics; NULL under -t */
	int gate; /* gate_file() of all children; 0: there is one only */
	bool housekeeper;              /* also (in master mode: only) tends
					  what is to be tended, in app_turn */
};

/*
 * Compile the templates, read the settings; connects to nothing yet.
 * RC_INVALID: e names file, line and fault (this is also what -t runs).
 */
enum rc app_open(const struct app_opts *opts, struct app **out, struct err *e);
void app_close(struct app *app); /* NULL is allowed */

/*
 * How long a request's body may be; asked, before any of it is read, where it
 * says to be longer than max_body ([fcgi] max_body). More than that only at an
 * address that takes files, for who may send some.
 */
size_t app_max_body(struct app *app, struct request *rq, size_t max_body);

/* Answer a request. Never fails: it always fills the response. */
void app_handle(struct app *app, struct request *rq, struct response *rs);

/* The descriptors that the app wants polled (its Redis subscription); how many
 * were written. Asked again after each app_turn. */
int app_pollfds(struct app *app, struct pollfd *fds, int max);

/* Called when one of those is ready, and at least every 200 ms, while idle as
 * well as between requests. */
void app_turn(struct app *app);

#endif
