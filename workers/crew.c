#include "workers/crew.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "workers/worker.h"

static int
setting(const struct conf *conf, const char *key)
{
	return (int)conf_int(conf, "workers", key);
}

/* None where the configuration has no use for it. */
static int
min_of(const struct conf *conf, const struct worker_def *def)
{
	return def->wanted == NULL || def->wanted(conf)
		   ? setting(conf, def->name)
		   : 0;
}

/* 0: as many as the minimum. */
static int
max_of(const struct conf *conf, const struct worker_def *def)
{
	int min = min_of(conf, def), max = 0;
	char key[40];

	if (worker_has_tasks(def) &&
	    (def->wanted == NULL || def->wanted(conf))) {
		(void)snprintf(key, sizeof key, "%s_max", def->name);
		max = setting(conf, key);
	}
	return max == 0 ? min : max;
}

/* ---- reading */

static enum rc
rule_check(
    const struct conf *conf, const struct scale_rule *rule, struct err *e)
{
	const struct worker_def *def = worker_def(rule->worker);
	int max;

	if (def == NULL || !worker_has_tasks(def))
		return err_set(e, RC_INVALID, "bad_rule",
		    "there is no worker %s with a queue", rule->worker);
	max = max_of(conf, def);
	if (rule->processes > max)
		return err_set(e, RC_INVALID, "bad_rule",
		    "%d processes for %s: %s_max allows %d", rule->processes,
		    rule->worker, rule->worker, max);
	return RC_OK;
}

static enum rc
rules_load(const struct conf *conf, struct scale_rules *out, struct err *e)
{
	enum rc rc =
	    scale_rules_parse(conf_str(conf, "workers", "scale_rules"), out, e);

	for (int i = 0; i < out->n && rc == RC_OK; i++)
		rc = rule_check(conf, &out->rule[i], e);
	if (rc != RC_OK)
		err_prefix(e, "%s: [workers] scale_rules: ",
		    conf_source(conf, "workers", "scale_rules"));
	return rc;
}

enum rc
crews_check(const struct conf *conf, struct err *e)
{
	const char *program = conf_str(conf, "workers", "on_scale");
	struct scale_rules rules;
	enum rc rc = rules_load(conf, &rules, e);

	if (rc != RC_OK)
		return rc;
	if (*program != '\0' && (*program != '/' || access(program, X_OK) != 0))
		return err_set(e, RC_INVALID, "bad_value",
		    "%s: [workers] on_scale: the whole path of a program that "
		    "may be run is wanted",
		    conf_source(conf, "workers", "on_scale"));
	return RC_OK;
}

static void
crew_load(struct crews *crews, struct crew *c, const struct conf *conf)
{
	const char *name = c->def->name;

	c->limits = (struct scale_limits){ .worker = name,
		.min = min_of(conf, c->def),
		.max = max_of(conf, c->def),
		.backlog = conf_int(conf, "workers", "scale_backlog"),
		.age_ms = conf_int(conf, "workers", "scale_age"),
		.quiet_ms = conf_int(conf, "workers", "scale_quiet"),
		.rules = &crews->rules };
	scale_begin(&c->state, &c->limits);
}

enum rc
crews_load(struct crews *crews, const struct conf *conf, struct err *e)
{
	enum rc rc = crews_check(conf, e);

	if (rc == RC_OK)
		rc = rules_load(conf, &crews->rules, e);
	if (rc != RC_OK)
		return rc;
	crews->total = setting(conf, "total_max");
	crews->n = 0;
	for (const struct worker_def *d = worker_defs; d->name != NULL; d++) {
		assert(crews->n < MAX_CREWS);
		crews->crew[crews->n].def = d;
		crew_load(crews, &crews->crew[crews->n++], conf);
	}
	crews_share(crews);
	return RC_OK;
}

bool
crews_watch(const struct crews *crews, const struct conf *conf)
{
	if (conf_bool(conf, "workers", "watch"))
		return true;
	for (int i = 0; i < crews->n; i++) {
		if (crews->crew[i].limits.max > crews->crew[i].limits.min)
			return true;
	}
	return false;
}

/* ---- figures */

/* A fault is told when it begins and when it is over. */
static void
note_fault(struct crew *c, const struct watch_line *line)
{
	if (!line->ok && !c->failing)
		log_warn("figures_away", LOG_S("queue", line->queue),
		    LOG_S("code", line->code),
		    LOG_S("note", "as many processes as there are stay"));
	if (line->ok && c->failing)
		log_info("figures_back", LOG_S("queue", line->queue));
	c->failing = !line->ok;
}

struct crew *
crews_note(struct crews *crews, const struct watch_line *line, int64_t now_ms)
{
	struct crew *c = NULL;

	for (int i = 0; i < crews->n; i++) {
		if (strcmp(crews->crew[i].def->name, line->queue) == 0)
			c = &crews->crew[i];
	}
	if (c == NULL)
		return NULL;
	note_fault(c, line);
	if (!line->ok)
		return c;
	c->seen = true;
	c->seen_wall_ms = clock_wall_ms();
	c->line = *line;
	scale_judge(&c->state, &c->limits,
	    &(struct scale_look){
		now_ms, line->waiting, line->in_flight, line->oldest_ms });
	return c;
}

void
crews_share(struct crews *crews)
{
	struct scale_claim claims[MAX_CREWS];

	for (int i = 0; i < crews->n; i++) {
		const struct crew *c = &crews->crew[i];

		claims[i] = (struct scale_claim){ .class = c->def->class,
			.min = c->limits.min,
			.wanted = c->state.wanted };
	}
	scale_share(crews->total, crews->n, claims);
	for (int i = 0; i < crews->n; i++)
		crews->crew[i].granted = claims[i].granted;
}
