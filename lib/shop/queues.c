#include "shop/queues.h"

#include <stdio.h>

#include "base/conf.h"
#include "store/aws_cred.h"
#include "store/outbox.h"
#include "store/queue.h"

const char *
queues_url(const struct conf *conf, const char *name)
{
	char section[32];

	(void)snprintf(section, sizeof section, "queue.%s", name);
	return conf_str(conf, section, "url");
}

static int
at_most(int64_t ms, int most_ms)
{
	return most_ms > 0 && ms > most_ms ? most_ms : (int)ms;
}

enum rc
queues_open(const struct queues_opts *opts, const char *name,
    struct queue **out, struct err *e)
{
	const struct conf *conf = opts->conf;

	return queue_open(
	    &(struct queue_opts){
		.url = queues_url(conf, name),
		.name = name,
		.visibility_ms = (int)conf_int(conf, "workers", "visibility"),
		.max_receives = (int)conf_int(conf, "workers", "max_receives"),
		.pg = opts->pg,
		.remote = { .cred = opts->cred,
		    .region = conf_str(conf, "aws", "region"),
		    .endpoint = conf_str(conf, "aws", "endpoint"),
		    .connect_ms = at_most(
			conf_int(conf, "aws", "connect"), opts->most_ms),
		    .timeout_ms = at_most(
			conf_int(conf, "aws", "timeout"), opts->most_ms),
		    .resend_ms = conf_int(conf, "workers", "resend"),
		    .stop_fd = opts->stop_fd },
	    },
	    out, e);
}

bool
queues_is_remote(const struct conf *conf, const char *name)
{
	return queue_is_remote(queues_url(conf, name));
}

bool
queues_is_pushed(const struct conf *conf, const char *name)
{
	return queue_is_pushed(queues_url(conf, name));
}

bool
queues_any_remote(const struct conf *conf)
{
	for (int i = 0; task_queues[i] != NULL; i++) {
		if (queues_is_remote(conf, task_queues[i]))
			return true;
	}
	return false;
}

struct aws_cred *
queues_cred_new(const struct conf *conf, int most_ms)
{
	return aws_cred_new(&(struct aws_cred_opts){
	    .timeout_ms = at_most(conf_int(conf, "aws", "timeout"), most_ms),
	    .sts = "" });
}
