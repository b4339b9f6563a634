/*
 * child - a process that serves, and the one that keeps house.
 */
#ifndef FCGI_APP_CHILD_H
#define FCGI_APP_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-app/request.h"

struct conf;
struct score_slot;
struct scoreboard;

struct child_opts {
	const struct conf *conf;
	struct scoreboard *board;
	struct score_slot *score;
	struct request_limits limits;
	int listen_fd;
	int handover[2];      /* see handover.h; -1: none */
	int slots;            /* connections to hold */
	int64_t max_requests; /* 0: no end */
	int64_t drain_ms;
	int ready_fd; /* gets a byte when the child serves; -1: none */
	int gate;     /* base/gate.h; 0: none */
	pid_t master; /* 0: single mode, no master; then SIGHUP reads
			 conf_path again, templates as well */
	const char *conf_path;
	bool housekeeper;
};

/*
 * Serve until told to stop (SIGTERM, SIGQUIT), until max_requests, or until the
 * master is gone. What it holds is handed over or finished first. Returns the
 * exit status: 0, or 100 where the application cannot start.
 */
int child_serve(const struct child_opts *opts);

/* Serve nothing: app_turn() every 100 ms, until told to stop. */
int child_keep_house(const struct child_opts *opts);

#endif
