/*
 * limits - what a task may take, by its type: how long, how many at a time, how
 * often. From [workers]: task_timeout, task_concurrency, task_receives, each a
 * list such as "process_image: 2m, send_email: 30s"; what is in none of them
 * goes by max_lease, by the number of processes and by max_receives.
 */
#ifndef WORKERS_LIMITS_H
#define WORKERS_LIMITS_H

#include <stdint.h>

#include "base/err.h"

struct conf;

enum { LIMITS_MOST = 32, LIMIT_TYPE = 32 };

struct limit_list {
	int n;
	struct limit {
		char type[LIMIT_TYPE];
		int64_t value;
	} limit[LIMITS_MOST];
};

struct limits {
	struct limit_list timeout, concurrency, receives;
	int64_t backoff_ms, max_backoff_ms;
	int max_receives;
};

/* "type: value, type: value"; a value is a number, or a time, kept in ms.
 * RC_INVALID: e says which part is wrong. */
enum limit_kind { LIMIT_NUMBER, LIMIT_TIME };
enum rc limit_list_parse(const char *text, enum limit_kind kind, int64_t min,
    int64_t max, struct limit_list *out, struct err *e);

/* RC_INVALID: e names the setting. */
enum rc limits_load(const struct conf *conf, struct limits *out, struct err *e);

int64_t limits_timeout_ms(const struct limits *l, const char *type); /* 0: no */
int limits_concurrency(const struct limits *l, const char *type); /* 0: any */
int limits_receives(const struct limits *l, const char *type);

/* How long a task waits that was received so often and failed: full jitter,
 * anything up to backoff * 2^(receives - 1), at most max_backoff. */
int64_t limits_backoff_ms(const struct limits *l, int receives);

#endif
