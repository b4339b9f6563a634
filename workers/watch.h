/*
 * watch - souk-worker --watch: asks the queues how they stand, and writes a
 * line for each to stdout, for the supervisor, which must not wait for a store
 * itself:
 *
 *	inventory 120 10 2500 0 3 0	waiting, in flight, age of the oldest in
 *					ms, delayed, dead, whether it is paused
 *	inventory - pg_away		the code of what is wrong
 *
 * and an empty line after each round, a sign of life. Every [workers]
 * scale_every, or more slowly: it takes at most a tenth of its time for asking,
 * and queues for which each question is paid are asked every 5 s.
 */
#ifndef WORKERS_WATCH_H
#define WORKERS_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

enum {
	WATCH_DEADLINE_MS = 20000, /* no line for so long: it hangs */
	WATCH_NAME = 32
};

/* Until it is killed, or nobody reads. The exit status. */
int watch_run(const char *conf_path);

struct watch_line {
	char queue[WATCH_NAME];
	bool ok;
	char code[40]; /* not ok */
	int64_t waiting, in_flight, oldest_ms, delayed, dead;
	int64_t paused; /* 1: it is */
};

/* Without its line end. False: it is none (the sign of life). */
bool watch_parse(struct span line, struct watch_line *out);

#endif
