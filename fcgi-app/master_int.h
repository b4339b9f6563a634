/*
 * master_int - what master.c and reload.c share.
 */
#ifndef FCGI_APP_MASTER_INT_H
#define FCGI_APP_MASTER_INT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "fcgi-app/master.h"
#include "fcgi-app/scoreboard.h"

struct conf;

struct proc {
	pid_t pid; /* 0: this entry is free */
	uint32_t generation;
	struct score_slot *slot; /* NULL: on another version's scoreboard */
	bool housekeeper;
	bool ready;
	bool told; /* to drain, or killed */
	bool killed; /* a process takes a moment to die */
	int64_t born_ms;
	int64_t kill_at; /* 0: not yet to be killed */
};

struct preflight {
	pid_t pid; /* 0: none runs */
	int fd;    /* its words; -1: it has said all */
	int64_t deadline;
	bool ended;
	int status; /* of waitpid() */
	struct strbuf words;
};

struct master {
	const struct master_opts *opts;
	struct conf *conf;
	char exe[4096]; /* absolute */
	pid_t pid;
	int sig;
	int ready[2]; /* a pipe: children say that they serve */
	int listen_fd;
	bool owns_listen; /* opened by us, not handed in from outside */
	int handover[2];
	int gate; /* what children share: base/gate.h */
	struct scoreboard *board;
	uint32_t generation;
	struct proc proc[SCORE_SLOTS];
	int n_proc; /* entries that may be in use */

	bool complete;    /* this generation was ready once */
	bool failing;     /* a child of it died young */
	int64_t brake_ms; /* current delay */
	int64_t brake_until;
	int64_t sampled_ms;

	bool hup; /* to be honoured when the time has come */
	struct preflight preflight;

	bool stopping;
	int64_t stop_until;
	bool at_once;
};

/* ---- master.c */
int64_t master_drain_ms(const struct master *m);
/* A free entry, or NULL. */
struct proc *master_proc(struct master *m);

/* ---- reload.c */
/* Which program to start again; kept although the folder may change. */
void reload_find_self(struct master *m);
/* Begin the check of what is installed now. */
void reload_check(struct master *m);
/* Call often while it runs: becomes the new program where all is good. */
void reload_turn(struct master *m);
/* The child with this pid ended: was it the check? */
bool reload_reaped(struct master *m, pid_t pid, int status);
/* In a forked child: let go of what is the master's. */
void reload_forked(struct master *m);
/*
 * What the predecessor left: socket, scoreboard, handover, its children.
 * RC_NONE: there was none. RC_FAIL: there was, and it cannot be used.
 */
enum rc reload_adopt(struct master *m, struct err *e);

#endif
