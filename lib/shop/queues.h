/*
 * queues - the queues of a shop as its configuration names them.
 */
#ifndef SHOP_QUEUES_H
#define SHOP_QUEUES_H

#include <stdbool.h>

#include "base/err.h"

struct aws_cred;
struct conf;
struct pg;
struct queue;

struct queues_opts {
	const struct conf *conf;
	struct pg *pg;         /* both borrowed for the queue's life */
	struct aws_cred *cred; /* not for two threads; NULL: none is wanted */
	int stop_fd;           /* queue_remote; 0: none */
	int most_ms; /* of any call, whatever is configured; 0: that */
};

/* Open the queue of that name ("inventory"). Gives *out. */
enum rc queues_open(const struct queues_opts *opts, const char *name,
    struct queue **out, struct err *e);

/* Its address; it may hold a password. */
const char *queues_url(const struct conf *conf, const char *name);

/* Its address says that another service carries it. */
bool queues_is_remote(const struct conf *conf, const char *name);
/* ... and that it sends by itself: to look at it makes no request. */
bool queues_is_pushed(const struct conf *conf, const char *name);
bool queues_any_remote(const struct conf *conf);

/* For queues_opts: as AWS's tools find them. most_ms as there.
 * aws_cred_free(). */
struct aws_cred *queues_cred_new(const struct conf *conf, int most_ms);

#endif
