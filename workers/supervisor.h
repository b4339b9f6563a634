/*
 * supervisor - souk-workers: starts the workers that the configuration asks
 * for, watches them, and ends them. Stays in the foreground.
 *
 * Each worker is a program of its own (this one again, as souk-worker NAME).
 * One that ends by itself is replaced at once, one that died after a pause that
 * grows. TERM, INT, QUIT: all are told to drain, and are killed after [workers]
 * drain; a second one kills at once. HUP: the configuration is checked, then a
 * new set is started and the old one drains.
 *
 * Where [workers] NAME_max is more than NAME, the number follows the queue
 * (scale.h): no process is ended in the middle of a task for that.
 */
#ifndef WORKERS_SUPERVISOR_H
#define WORKERS_SUPERVISOR_H

/* The exit status. conf_path: NULL: the usual place; borrowed. */
int supervisor_run(const char *conf_path);

#endif
