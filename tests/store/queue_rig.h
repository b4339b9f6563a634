/*
 * What the tests of the queue's drivers share: PostgreSQL by $DATABASE_URL with
 * the schema of $QUEUE_SQL, two receivers, tasks that have an effect once. What
 * goes wrong here fails the test that runs.
 */
#ifndef TESTS_STORE_QUEUE_RIG_H
#define TESTS_STORE_QUEUE_RIG_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "store/queue.h"

struct arena;
struct pg;

/* Of the test that runs; made and freed by its own set_up() and tear_down(). */
extern struct arena *arena;
extern struct err e;
extern struct pg *pg;
extern struct queue *queue, *other;

struct pg *new_pg(void);
void sql(const char *text);
/* The first column of the first row. */
const char *look(const char *text);

/* Settings that any of them takes. */
struct queue *new_queue_at(const char *url, struct pg *p, int visibility_ms,
    const struct queue_remote *remote);
int receive(struct queue *q, int max, int wait_ms, struct task **out);
struct task *receive_one(struct queue *q); /* the only one there is */
enum rc done_one(struct queue *q, const struct task *task);

/* A table for effects. In a child process: the task's, unless it had it. */
void effects_begin(void);
void effect_give(struct pg *mine, const struct task *task, struct arena *a);
void effects_are_once(int n);
void child_ends_well(int pid);

/* The schema; said on stderr where not. */
bool migrated(void);
/* A case each: CK_RUN_CASE=name runs one. The exit status. */
int run_tests(const char *suite, size_t n, const TTest *const tests[],
    void (*set_up)(void), void (*tear_down)(void));

#endif
