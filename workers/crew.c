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
rule_check(const struct conf *conf, const struct worker_list *together,
    const struct scale_rule *rule, struct err *e)
{
	const struct worker_def *def = worker_def(rule->worker);
	int max;

	if (def == NULL || !worker_has_tasks(def))
		return err_set(e, RC_INVALID, "bad_rule",
		    "there is no worker %s with a queue", rule->worker);
	if (worker_list_has(together, def))
		return err_set(e, RC_INVALID, "bad_rule",
		    "%s is one of `together`, which have one process",
		    rule->worker);
	max = max_of(conf, def);
	if (rule->processes > max)
		return err_set(e, RC_INVALID, "bad_rule",
		    "%d processes for %s: %s_max allows %d", rule->processes,
		    rule->worker, rule->worker, max);
	return RC_OK;
}

/* [workers] together, without those that nobody has use for. */
static enum rc
together_load(const struct conf *conf, struct worker_list *out, struct err *e)
{
	struct worker_list all;
	const char *source = conf_source(conf, "workers", "together");
	char key[40];

	if (!worker_list_parse(conf_str(conf, "workers", "together"), &all))
		return err_set(e, RC_INVALID, "bad_value",
		    "%s: [workers] together: write names of workers, each "
		    "once, with commas between them",
		    source);
	out->n = 0;
	for (int i = 0; i < all.n; i++) {
		const struct worker_def *def = all.def[i];

		(void)snprintf(key, sizeof key, "%s_max", def->name);
		if (worker_has_tasks(def) && setting(conf, key) > 0)
			return err_set(e, RC_INVALID, "bad_value",
			    "%s: [workers] %s: %s is one of `together`, which "
			    "have one process",
			    conf_source(conf, "workers", key), key, def->name);
		if (def->wanted == NULL || def->wanted(conf))
			out->def[out->n++] = def;
	}
	return RC_OK;
}

static enum rc
rules_load(const struct conf *conf, struct scale_rules *out, struct err *e)
{
	struct worker_list together;
	enum rc rc = together_load(conf, &together, e);

	if (rc != RC_OK)
		return rc;
	rc =
	    scale_rules_parse(conf_str(conf, "workers", "scale_rules"), out, e);
	for (int i = 0; i < out->n && rc == RC_OK; i++)
		rc = rule_check(conf, &together, &out->rule[i], e);
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

static struct crew *
crew_of(struct crews *crews, const struct worker_def *def)
{
	for (int i = 0; i < crews->n; i++) {
		if (crews->crew[i].def == def)
			return &crews->crew[i];
	}
	return NULL;
}

/* One process, of the first, for all of them. */
static void
crews_join(struct crews *crews, const struct worker_list *together)
{
	for (int i = 0; i < crews->n; i++) {
		struct crew *c = &crews->crew[i];

		c->leader = NULL;
		(void)snprintf(c->names, sizeof c->names, "%s", c->def->name);
	}
	for (int i = 0; i < together->n; i++) {
		struct crew *c = crew_of(crews, together->def[i]);

		c->leader = i == 0 ? NULL : crew_of(crews, together->def[0]);
		c->limits.min = c->limits.max = i == 0 ? 1 : 0;
		scale_begin(&c->state, &c->limits);
		if (i == 0)
			worker_list_names(together, sizeof c->names, c->names);
	}
}

const struct crew *
crew_serving(const struct crew *crew)
{
	return crew->leader == NULL ? crew : crew->leader;
}

enum rc
crews_load(struct crews *crews, const struct conf *conf, struct err *e)
{
	struct worker_list together;
	enum rc rc = crews_check(conf, e);

	if (rc == RC_OK)
		rc = rules_load(conf, &crews->rules, e);
	if (rc == RC_OK)
		rc = together_load(conf, &together, e);
	if (rc != RC_OK)
		return rc;
	crews->total = setting(conf, "total_max");
	crews->n = 0;
	for (const struct worker_def *d = worker_defs; d->name != NULL; d++) {
		assert(crews->n < MAX_CREWS);
		crews->crew[crews->n].def = d;
		crew_load(crews, &crews->crew[crews->n++], conf);
	}
	crews_join(crews, &together);
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
	/* More processes would do nothing more. */
	if (line->paused)
		return c;
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
