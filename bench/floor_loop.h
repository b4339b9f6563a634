/*
 * floor_loop - the least that a FastCGI program on libfcgi can do around its
 * answers: processes that share a listening socket, each holding many kept
 * connections at once. Nothing here parses, checks, counts, logs or has a
 * deadline.
 */
#ifndef BENCH_FLOOR_LOOP_H
#define BENCH_FLOOR_LOOP_H

#include <fcgiapp.h>

struct floor_opts {
	const char *path;    /* of the socket */
	int children, slots; /* processes; kept connections in each */
	/* In each child, after fork(): what answer() is given. NULL: arg. */
	void *(*start)(void *arg);
	/* Write the whole answer, head and body, to rq->out. */
	void (*answer)(void *state, FCGX_Request *rq);
	void *arg;
};

/* Never comes back: ends with a message where something fails. */
_Noreturn void floor_run(const struct floor_opts *opts);

_Noreturn void floor_fail(const char *what); /* with errno */

/* From 1 to 1024, else exit 2. */
int floor_number(const char *s);

#endif
