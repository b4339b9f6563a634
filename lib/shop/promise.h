/*
 * promise - settings of PostgreSQL and Redis under which an answer of 200 is
 * not a promise (DESIGN 5.1: committed, with fsync and synchronous_commit on),
 * or a sale's counter is not kept: as this connection sees them, so also where
 * the role or the database says otherwise.
 */
#ifndef SHOP_PROMISE_H
#define SHOP_PROMISE_H

#include "base/err.h"

struct arena;
struct shop;

/*
 * Calls line() for each: what ("postgres.fsync") and why, for a person. *n: how
 * many. RC_RETRY, RC_FAIL: one of the servers could not be asked; what the
 * other one says is told all the same.
 */
enum rc promise_check(struct shop *shop,
    void (*line)(void *arg, const char *what, const char *why), void *arg,
    int *n, struct arena *arena, struct err *e);

#endif
