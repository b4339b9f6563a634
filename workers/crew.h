/*
 * crew - for each worker of the table: how many processes it may have, what was
 * last seen of its queue, and how many it is to have now. No processes here:
 * the supervisor starts and ends them.
 */
#ifndef WORKERS_CREW_H
#define WORKERS_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "workers/scale.h"
#include "workers/watch.h"

struct arena;
struct conf;
struct strbuf;
struct worker_def;

enum { MAX_CREWS = 32 };

struct crew {
	const struct worker_def *def;
	const struct crew *leader; /* whose process does its work; NULL: it has
				      processes of its own */
	char names[128]; /* what a process of it serves, as souk-worker takes
			    it */
	struct scale_limits limits;
	struct scale_state state;
	int granted;          /* is to have */
	bool seen, failing;   /* ever; the last time */
	int64_t seen_wall_ms; /* what line says */
	struct watch_line line;
};

struct crews {
	struct scale_rules rules;
	int total; /* 0: no matter */
	int n;
	struct crew crew[MAX_CREWS];
};

/* The crew that has the processes that serve this one: itself, or its
 * leader. */
const struct crew *crew_serving(const struct crew *crew);

/* Could it be loaded? RC_INVALID: e says where it is wrong. */
enum rc crews_check(const struct conf *conf, struct err *e);

/* From [workers]; {0} at first. Again with another configuration: what is known
 * of the queues stays. */
enum rc crews_load(struct crews *crews, const struct conf *conf, struct err *e);

/* Whether anybody wants to know how the queues stand. */
bool crews_watch(const struct crews *crews, const struct conf *conf);

/* A line at now_ms (mono). The crew it is about, or NULL. */
struct crew *crews_note(
    struct crews *crews, const struct watch_line *line, int64_t now_ms);

/* Sets granted of all. */
void crews_share(struct crews *crews);

#endif
