/*
 * serve - one request on one FastCGI connection: read it whole, let the
 * application answer, write that.
 */
#ifndef FCGI_APP_SERVE_H
#define FCGI_APP_SERVE_H

#include "fcgi-app/request.h"

struct app;
struct score_slot;
struct serve;

struct serve_opts {
	struct request_limits limits;
	struct score_slot *score; /* of this process; outlives the result */
};

/* One per process. Never NULL. */
struct serve *serve_new(const struct serve_opts *opts);
void serve_free(struct serve *serve); /* NULL is allowed */

enum serve_result {
	SERVE_KEEP,   /* answered; the web server keeps the connection */
	SERVE_CLOSE,  /* answered, or the web server is gone: close it */
	SERVE_LINGER, /* answered, but not all was read: closing at once would
			 take the answer back; discard for a while */
	SERVE_CLOSED  /* nothing to answer, and it has been closed here */
};

/*
 * fd: a connection on which something can be read, in blocking mode and with
 * time limits of its own (SO_RCVTIMEO, SO_SNDTIMEO).
 */
enum serve_result serve_request(struct serve *serve, struct app *app, int fd);

#endif
