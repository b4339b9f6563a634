/*
 * A place is a byte of a file in memory, taken by a record lock: those are a
 * process's own, although it inherited the descriptor, and end with it however
 * it ends. A counter or a semaphore in shared memory would have to be put right
 * after a SIGKILL.
 *
 * Who waits asks again every few ms: F_SETLKW knows no deadline, and the few
 * that may wait do so for the time of one or two hashes.
 */
#include "config.h" /* _GNU_SOURCE */

#include "base/gate.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/xmalloc.h"

enum { PAUSE_MS = 3, OUT = -1 };

struct gate {
	int fd;
	int inside, waiting; /* places 0..inside-1, and those behind them */
	int place;           /* ours, or OUT */
};

int
gate_file(void)
{
	return memfd_create("souk-gate", MFD_CLOEXEC);
}

struct gate *
gate_new(int fd, int inside, int waiting)
{
	struct gate *gate = xcalloc(1, sizeof *gate);

	assert(inside > 0 && waiting >= 0);
	*gate = (struct gate){
		.fd = fd, .inside = inside, .waiting = waiting, .place = OUT
	};
	return gate;
}

void
gate_free(struct gate *gate)
{
	if (gate != NULL)
		gate_leave(gate);
	free(gate);
}

static bool
lock(const struct gate *gate, short type, int place)
{
	struct flock l = { .l_type = type,
		.l_whence = SEEK_SET,
		.l_start = place,
		.l_len = 1 };

	return fcntl(gate->fd, F_SETLK, &l) == 0;
}

/* One of n places from `first` on, or OUT. */
static int
take(const struct gate *gate, int first, int n)
{
	for (int i = first; i < first + n; i++) {
		if (lock(gate, F_WRLCK, i))
			return i;
	}
	return OUT;
}

static void
pause_a_little(void)
{
	const struct timespec t = { .tv_nsec = PAUSE_MS * 1000000L };

	(void)nanosleep(&t, NULL);
}

enum rc
gate_enter(struct gate *gate, int64_t wait_ms, struct err *e)
{
	int64_t until;
	int seat;

	if (gate == NULL)
		return RC_OK;
	assert(gate->place == OUT);
	gate->place = take(gate, 0, gate->inside);
	if (gate->place != OUT)
		return RC_OK;
	seat = take(gate, gate->inside, gate->waiting);
	until = clock_mono_ms() + wait_ms;
	while (seat != OUT && gate->place == OUT && clock_mono_ms() < until) {
		pause_a_little();
		gate->place = take(gate, 0, gate->inside);
	}
	if (seat != OUT)
		(void)lock(gate, F_UNLCK, seat);
	return gate->place != OUT ? RC_OK
				  : err_set(e, RC_RETRY, "gate_full",
					"Too many do this at the moment");
}

void
gate_leave(struct gate *gate)
{
	if (gate == NULL || gate->place == OUT)
		return;
	(void)lock(gate, F_UNLCK, gate->place);
	gate->place = OUT;
}
