/*
 * spawn - this program again, as a process that ends when we end.
 */
#ifndef WORKERS_SPAWN_H
#define WORKERS_SPAWN_H

#include <sys/types.h>

struct spawn {
	char self[4096];       /* this program's path */
	const char *conf_path; /* borrowed; NULL: the usual place */
};

/* Finds self; ends the process where it cannot. */
void spawn_init(struct spawn *sp, const char *conf_path);

/*
 * souk-worker [-c conf_path] WHAT, told TERM by the kernel when we die. out:
 * its stdout; -1: ours. The process id, or -1, which was logged.
 */
pid_t spawn_self(const struct spawn *sp, const char *what, int out);

#endif
