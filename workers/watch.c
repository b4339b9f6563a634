#include "workers/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "shop/queues.h"
#include "shop/settings.h"
#include "store/pg.h"
#include "store/queue.h"
#include "workers/worker.h"

enum {
	MAX_QUEUES = 32,
	CALL_MS = 2000,    /* an answer that takes longer is none */
	METERED_MS = 5000, /* paid by the question */
	SHARE = 10,        /* of the time, one part is for asking */
	PAUSE_MAX_MS = 5000
};

struct watch {
	struct conf *conf;
	struct pg *pg;
	struct aws_cred *cred;
	struct arena *arena;
	int n;
	struct watched {
		const char *name;
		struct queue *queue;
		int64_t every_ms, due_ms;
	} queue[MAX_QUEUES];
};

static int
at_most(int64_t n, int most)
{
	return n < most ? (int)n : most;
}

static struct pg *
watch_pg(const struct conf *conf)
{
	return pg_new(&(struct pg_opts){
	    .url = conf_str(conf, "postgres", "url"),
	    .connect_ms =
		at_most(conf_int(conf, "postgres", "connect"), CALL_MS),
	    .query_ms = at_most(conf_int(conf, "postgres", "query"), CALL_MS),
	    .pooler = strcmp(conf_str(conf, "postgres", "pooler"),
			  "transaction") == 0,
	    .app_name = "souk-worker watch",
	});
}

static enum rc
watch_add(struct watch *w, const char *name, struct err *e)
{
	struct watched *q = &w->queue[w->n];
	int64_t every = conf_int(w->conf, "workers", "scale_every");
	enum rc rc;

	if (w->n == MAX_QUEUES)
		return err_set(
		    e, RC_FAIL, "too_many_queues", "too many queues");
	rc = queues_open(
	    &(struct queues_opts){
		.conf = w->conf, .pg = w->pg, .cred = w->cred },
	    name, &q->queue, e);
	if (rc != RC_OK)
		return rc;
	q->name = name;
	q->every_ms = every;
	if (queues_is_remote(w->conf, name) &&
	    !queues_is_pushed(w->conf, name) && every < METERED_MS)
		q->every_ms = METERED_MS;
	w->n++;
	return RC_OK;
}

static void
look(struct watch *w, struct watched *q)
{
	struct queue_stats s = { 0 };
	struct err e = ERR_INIT;

	/* What lies in the outbox until the queue takes it waits too. */
	if (queue_stats(q->queue, w->arena, &s, &e) == RC_OK)
		(void)printf("%s %lld %lld %lld %lld %lld %d\n", q->name,
		    (long long)(s.depth + s.unsent), (long long)s.in_flight,
		    (long long)s.oldest_ms, (long long)s.delayed,
		    (long long)s.dead, s.paused ? 1 : 0);
	else
		(void)printf("%s - %s\n", q->name, e.code);
	arena_reset(w->arena);
}

/* All that are due; how long until the next one is. */
static int64_t
watch_round(struct watch *w)
{
	int64_t start = clock_mono_ms(), next = start + PAUSE_MAX_MS, took;

	for (int i = 0; i < w->n; i++) {
		struct watched *q = &w->queue[i];

		if (start >= q->due_ms) {
			q->due_ms = start + q->every_ms;
			look(w, q);
			if (fflush(stdout) != 0)
				exit(0); /* nobody reads */
		}
		if (q->due_ms < next)
			next = q->due_ms;
	}
	took = clock_mono_ms() - start;
	if (next < start + SHARE * took)
		next = start + at_most(SHARE * took, PAUSE_MAX_MS);
	return next;
}

int
watch_run(const char *conf_path)
{
	struct watch *w = xcalloc(1, sizeof *w);
	struct err e = ERR_INIT;
	enum rc rc;

	log_init("souk-worker:watch");
	rc = settings_load(conf_path, &w->conf, NULL, &e);
	if (rc != RC_OK)
		die(EXIT_PERSON, "%s", e.msg);
	settings_log(w->conf);
	w->arena = arena_new();
	w->pg = watch_pg(w->conf);
	w->cred = queues_cred_new(w->conf, 0);
	for (const struct worker_def *d = worker_defs;
	     d->name != NULL && rc == RC_OK; d++) {
		if (worker_has_tasks(d))
			rc = watch_add(w, d->name, &e);
	}
	if (rc != RC_OK)
		die(rc == RC_RETRY ? EXIT_AGAIN : EXIT_PERSON, "%s", e.msg);
	for (;;) {
		int64_t next = watch_round(w);

		if (putchar('\n') == EOF || fflush(stdout) != 0)
			exit(0);
		clock_sleep_ms(deadline_left_ms(next));
	}
}

/* ---- the other end */

static struct span
word(struct span *rest)
{
	size_t n = 0;
	struct span w;

	while (n < rest->n && rest->p[n] != ' ')
		n++;
	w = (struct span){ rest->p, n };
	n += n < rest->n ? 1 : 0;
	*rest = (struct span){ rest->p + n, rest->n - n };
	return w;
}

static bool
word_copy(struct span w, size_t room, char *out)
{
	if (w.n == 0 || w.n >= room)
		return false;
	memcpy(out, w.p, w.n);
	out[w.n] = '\0';
	return true;
}

bool
watch_parse(struct span line, struct watch_line *out)
{
	int64_t *const numbers[] = { &out->waiting, &out->in_flight,
		&out->oldest_ms, &out->delayed, &out->dead, &out->paused };
	struct span w;

	if (!word_copy(word(&line), sizeof out->queue, out->queue))
		return false;
	out->ok = !span_starts(line, "- ");
	if (!out->ok) {
		(void)word(&line);
		return word_copy(line, sizeof out->code, out->code);
	}
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		w = word(&line);
		if (!text_int(w, 0, INT64_C(1) << 60, numbers[i]))
			return false;
	}
	return line.n == 0;
}
