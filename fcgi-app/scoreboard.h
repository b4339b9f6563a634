/*
 * scoreboard - what every child is doing and has done, in memory shared by
 * master and children, and readable by others through a file.
 *
 * A slot is written by its child alone while that lives, and by the master
 * before and after. Writers never wait; readers copy a slot until they have got
 * it unbroken (a seqlock). Totals are never stored: they are the sum of the
 * living slots and of what the dead left (`retired`), derived when asked for,
 * so they cannot drift. Times are on the monotonic clock, which all processes
 * of a machine share.
 */
#ifndef FCGI_APP_SCOREBOARD_H
#define FCGI_APP_SCOREBOARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/doing.h"
#include "base/err.h"

struct strbuf;

enum child_state {
	CS_DEAD, /* the slot is free */
	CS_STARTING,
	CS_IDLE,
	CS_READING, /* a request comes in */
	CS_RUNNING, /* the application has it */
	CS_WRITING
};

enum { SCORE_SLOTS = 4096, SCORE_BUCKETS = 14 };

/* What is counted; only ever grows. */
struct score_counts {
	uint64_t requests;
	uint64_t accepted; /* connections from the listening socket */
	uint64_t received; /* connections handed over by another child */
	uint64_t handed;   /* connections handed to another child */
	uint64_t aborted;  /* clients gone before they were answered */
	uint64_t late;     /* refused unread: client_deadline */
	uint64_t broken;   /* not FastCGI, or cut short */
	uint64_t bytes_in; /* bodies */
	uint64_t bytes_out;
	uint64_t busy_us;   /* sum of durations */
	uint64_t status[6]; /* [2]: 2xx ...; [0]: anything else */
	uint64_t
	    bucket[SCORE_BUCKETS]; /* not cumulative; the last: above all */
};

struct score_slot {
	uint32_t seq; /* odd while it is being written */
	int32_t pid;
	uint32_t generation;
	uint32_t state; /* enum child_state */
	uint32_t draining;
	uint32_t housekeeper;
	int32_t conns; /* kept or open connections */
	int32_t last_status;
	int64_t born_ms;
	int64_t start_ms; /* of the request; 0: none */
	int64_t last_us;
	char method[8];
	char path[104]; /* cut; without the query */
	struct score_counts n;
	struct doing doing; /* outside the seqlock: torn, but it ends */
} __attribute__((aligned(64)));

/* What the master alone writes. */
struct score_master {
	int32_t pid;
	uint32_t generation;
	uint32_t stopping; /* drain by closing: nobody will take connections */
	int32_t children;  /* configured */
	int32_t slots;
	int32_t listen_queue; /* -1: not known */
	int32_t listen_queue_size;
	int32_t max_listen_queue;
	int32_t max_active;
	int64_t started_wall_ms; /* of the first generation */
	int64_t loaded_wall_ms;  /* of this one */
	uint64_t reloads;
	uint64_t reloads_refused;
	uint64_t spawned;
	uint64_t died; /* neither told to nor at max_requests */
	uint64_t killed_deadline;
	char listen[108];
	char version[16];
};

struct scoreboard;

/*
 * A new one. path: the file to publish, replaced at once when all is ready;
 * NULL, "" or not writable: memory without a name, and *named is false. It is
 * locked (flock) as long as its maker lives, by which a reader sees that; a
 * file locked by somebody else counts as not writable. Keep the handle for
 * the life of the process.
 */
enum rc scoreboard_create(
    const char *path, struct scoreboard **out, bool *named, struct err *e);

/* The one behind a descriptor that was inherited. RC_NONE: its layout is
 * another version's. Takes fd on RC_OK only. */
enum rc scoreboard_adopt(int fd, struct scoreboard **out, struct err *e);

/* Read-only, of a running server. RC_NONE: none runs there. */
enum rc scoreboard_open(
    const char *path, struct scoreboard **out, struct err *e);
void scoreboard_close(struct scoreboard *board); /* NULL is allowed */

/* For handing it to a successor; -1 in a child after scoreboard_child(). */
int scoreboard_fd(const struct scoreboard *board);
/* Is this the file at path, or has another taken its place? */
bool scoreboard_is_at(const struct scoreboard *board, const char *path);
/* In a child: let go of the descriptor, which holds the lock. */
void scoreboard_child(struct scoreboard *board);

/* ---- for the master */
struct score_master *scoreboard_master(struct scoreboard *board);
/* A free slot, marked as starting; NULL: all are taken. Set its pid. */
struct score_slot *scoreboard_take(
    struct scoreboard *board, uint32_t generation, bool housekeeper);
/* Its child is dead: add what it counted to the retired ones, free it. */
void scoreboard_retire(struct scoreboard *board, struct score_slot *slot);
/* Slots 0 to n-1 may be in use. */
int scoreboard_used(const struct scoreboard *board);
struct score_slot *scoreboard_slot(struct scoreboard *board, int i);

/* ---- for a child, about itself */
void score_state(struct score_slot *slot, enum child_state state);
void score_idle(struct score_slot *slot); /* and no request */
void score_draining(struct score_slot *slot);
void score_conns(struct score_slot *slot, int conns);
void score_begin(struct score_slot *slot, int64_t now_us);
void score_request(
    struct score_slot *slot, const char *method, const char *path);
struct score_end {
	int status;
	uint64_t bytes_in, bytes_out;
	int64_t us;
	bool late, aborted;
};
void score_end(struct score_slot *slot, const struct score_end *end);
/* Add to one of the counters: score_add(slot, &slot->n.accepted, 1). */
void score_add(struct score_slot *slot, uint64_t *counter, uint64_t n);

/* ---- for readers */
/* A copy that is whole. */
void scoreboard_read(
    const struct scoreboard *board, int i, struct score_slot *out);
struct score_total {
	struct score_counts n;
	int idle, active, starting, draining; /* serving children */
	int64_t conns;
};
void scoreboard_total(const struct scoreboard *board, struct score_total *out);

/* Upper bound of bucket i, in microseconds; NULL for the last one. */
const int64_t *score_bucket_us(int i);
const struct score_master *scoreboard_master_const(
    const struct scoreboard *board);

/* Prometheus text, prefix souk_fcgi_. (These three: scoreboard_print.c) */
void scoreboard_metrics(const struct scoreboard *board, struct strbuf *out);
/* For --status: names as in php-fpm's status page. */
void scoreboard_text(const struct scoreboard *board, struct strbuf *out);
void scoreboard_json(const struct scoreboard *board, struct strbuf *out);

const char *child_state_name(enum child_state state, bool draining);

#endif
