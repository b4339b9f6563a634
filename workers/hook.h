/*
 * hook - [workers] on_scale: a program that is told when the number of a
 * queue's processes changes. One at a time; what happens meanwhile is told
 * together, for each worker from the first number to the last. It is killed
 * after 10 s. That it fails is logged and changes nothing.
 */
#ifndef WORKERS_HOOK_H
#define WORKERS_HOOK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct hook;

struct hook_event {
	const char *worker; /* borrowed for the hook's life */
	int from, to;
	int64_t depth, age_ms; /* when it changed last */
};

struct hook *hook_new(void);
void hook_free(struct hook *h); /* kills what runs; NULL is allowed */

/* Copies; "" or NULL: nobody is told any more. */
void hook_program(struct hook *h, const char *program);

void hook_note(struct hook *h, const struct hook_event *event);

/* Start or kill what is due. When it wants its next turn (mono). */
int64_t hook_turn(struct hook *h);

/* A child ended: was it this one? */
bool hook_ended(struct hook *h, pid_t pid, int status);

#endif
