/*
 * sandbox - the walls a process builds around itself before it reads what a
 * stranger sent. In three layers, so that what one kernel lacks another layer
 * still refuses:
 *
 *	limits    address space, CPU time, size of a file, open descriptors,
 *	          processes, no core (setrlimit(2))
 *	landlock  no file by its name, no TCP, no signal to others (landlock(7))
 *	seccomp   no system call but a list (seccomp(2))
 *
 * All of it lasts until the process ends and cannot be undone.
 */
#ifndef IMAGER_SANDBOX_H
#define IMAGER_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum {
	SANDBOX_LIMITS = 1,
	SANDBOX_LANDLOCK = 2,
	SANDBOX_SECCOMP = 4,
	SANDBOX_ALL = 7,
};

/* The descriptors that stay open: 0-2, the file that is read, then the files
 * that are written. */
enum { SANDBOX_IN = 3, SANDBOX_OUT = 4 };

struct sandbox_limits {
	int64_t memory_bytes; /* of address space */
	int64_t file_bytes;   /* no file grows beyond */
	int cpu_s;
	int n_out; /* descriptors from SANDBOX_OUT on */
};

/* What the kernel enforces from here on. */
struct sandbox_state {
	bool seccomp;
	int landlock; /* its ABI, 0: none */
	bool memory;  /* not with AddressSanitizer, which needs terabytes */
};

/*
 * Close all other descriptors and put up the given layers. The process must
 * have one thread. A layer that this kernel has not is left out of *out; with
 * strict that is an error. RC_FAIL "sandbox": the process must end.
 */
enum rc sandbox_enter(const struct sandbox_limits *limits, unsigned layers,
    bool strict, struct sandbox_state *out, struct err *e);

#endif
