/*
 * gate - at most so many processes of one family at a time do what is dear, a
 * few more wait for it, all others are told at once that it is full. Who dies
 * inside is out.
 */
#ifndef BASE_GATE_H
#define BASE_GATE_H

#include <stdint.h>

#include "base/err.h"

struct gate;

/* What the family shares: a descriptor, made by the parent before fork().
 * -1: errno. */
int gate_file(void);

/*
 * One per process, after fork(). Borrows fd, of which the process must not
 * close a copy while it is inside (that would let it out). inside from 1,
 * waiting from 0. Never NULL.
 */
struct gate *gate_new(int fd, int inside, int waiting);
void gate_free(struct gate *gate); /* NULL is allowed */

/* RC_RETRY "gate_full": nobody may wait any more, or it took longer than
 * wait_ms. NULL gate: always open. Not to be entered twice (assert). */
enum rc gate_enter(struct gate *gate, int64_t wait_ms, struct err *e);
void gate_leave(struct gate *gate); /* NULL is allowed */

#endif
