/*
 * task_envelope - a task as the body of a message, the same on every queue:
 *
 *	{"id": "32 lower-case hex digits", "type": "send_email",
 *	 "priority": "low", "createdAt": "2026-11-22T09:00:00.250Z",
 *	 "data": {...}}
 *
 * Other software may send tasks, too. Of it are wanted type and data; without
 * an id the body's hash is the id, so that one message, however often it comes,
 * has its effect once.
 */
#ifndef STORE_TASK_ENVELOPE_H
#define STORE_TASK_ENVELOPE_H

#include "base/err.h"
#include "base/span.h"

struct arena;
struct strbuf;
struct task;

enum { TASK_TYPE_MAX = 64 }; /* bytes */

/* Appends it. Of the task are taken id, type, priority, created_ms and data,
 * which is put in as it is. */
void task_envelope_write(const struct task *task, struct strbuf *out);

/*
 * Sets all of *task: queue and aggregate and receipt "", receives 0,
 * lease_until_ms 0 are for the caller. RC_INVALID "bad_task": no envelope;
 * *task is untouched. Unknown members are ignored, an unknown or missing
 * priority is that of the type.
 */
enum rc task_envelope_read(
    struct span body, struct arena *arena, struct task *task, struct err *e);

/*
 * What to bury in place of a body that is no envelope: a task of type
 * "unreadable", its id the body's hash, data {"body": "..."}: the beginning of
 * it as text.
 */
void task_envelope_unreadable(
    struct span body, struct arena *arena, struct task *task);

#endif
