/*
 * queue_sqs - making queues at Amazon SQS, for soukctl queue create.
 */
#ifndef STORE_QUEUE_SQS_H
#define STORE_QUEUE_SQS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/aws.h"

struct arena;

struct queue_sqs_new {
	const char *name; /* without ".fifo" */
	bool fifo;
	int64_t visibility_ms;
	int max_receives; /* 1..1000: then SQS itself moves it to NAME-dead */
};

/*
 * NAME-dead, and NAME with it as its dead letter queue; *url: NAME's address,
 * in the arena. Where they are there already and are alike: RC_OK, with other
 * settings: RC_INVALID.
 */
enum rc queue_sqs_create(const struct aws_opts *opts,
    const struct queue_sqs_new *q, struct arena *arena, const char **url,
    struct err *e);

#endif
