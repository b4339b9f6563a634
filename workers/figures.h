/*
 * figures - what the supervisor hears of the queues: keeps a process that asks
 * them (watch.h), reads its lines, replaces it when it dies or hangs.
 */
#ifndef WORKERS_FIGURES_H
#define WORKERS_FIGURES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "workers/watch.h"

struct figures;
struct spawn;

/* Borrows spawn; on_line is called from figures_turn(). Starts nothing yet. */
struct figures *figures_new(const struct spawn *spawn,
    void (*on_line)(void *arg, const struct watch_line *line), void *arg);
void figures_free(struct figures *f); /* ends the process; NULL is allowed */

/* Whether there should be one. A new one is started all the same: the
 * configuration may be new. */
void figures_restart(struct figures *f, bool wanted);

/* Start, read, kill: what is due. When it wants its next turn (mono). */
int64_t figures_turn(struct figures *f);

int figures_fd(const struct figures *f); /* to poll for reading; -1: none */

/* A child ended: was it this one? */
bool figures_ended(struct figures *f, pid_t pid);
pid_t figures_pid(const struct figures *f); /* 0: none */

#endif
