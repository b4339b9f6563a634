/*
 * status - what souk-workers writes to its status file, for a person and for an
 * outer autoscaler.
 *
 *	souk-workers pid=7 generation=1 since=2026-11-22T09:00:00Z
 *	queue inventory depth=120 in_flight=20 ... processes=4 wanted=4 ...
 *	inventory index=1 pid=9 state=running ... last="exit 0"
 */
#ifndef WORKERS_STATUS_H
#define WORKERS_STATUS_H

#include <stdbool.h>

struct arena;
struct crew;
struct strbuf;

/* Its "queue" line. processes: that run; draining: that will be gone. */
void status_queue(const struct crew *crew, int processes, int draining,
    struct arena *arena, struct strbuf *out);

/* Print the file, also as JSON. The exit status: 0; 1: none is running; 100. */
int status_show(const char *conf_path, bool json);

#endif
