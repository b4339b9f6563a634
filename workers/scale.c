#include "workers/scale.h"

#include <stddef.h>
#include <string.h>

#include "base/span.h"
#include "base/text.h"

/* A longer time without a look is not known to have been quiet. Well over the
 * longest [workers] scale_every. */
enum { GAP_MS = 10000 };

/* ---- rules */

static struct span
trim(struct span s)
{
	while (s.n > 0 && (*s.p == ' ' || *s.p == '\t'))
		s = (struct span){ s.p + 1, s.n - 1 };
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* The text before c, which *rest is behind; all of it where there is no c. */
static bool
cut(struct span s, char c, struct span *before, struct span *rest)
{
	const char *at = s.n == 0 ? NULL : memchr(s.p, c, s.n);

	if (at == NULL) {
		*before = trim(s);
		*rest = (struct span){ s.p + s.n, 0 };
		return false;
	}
	*before = trim((struct span){ s.p, (size_t)(at - s.p) });
	*rest = (struct span){ at + 1, s.n - (size_t)(at + 1 - s.p) };
	return true;
}

static bool
rule_parse(struct span s, struct scale_rule *out)
{
	struct span worker, over, processes, nothing;
	int64_t n;

	if (!cut(s, '>', &worker, &s) || !cut(s, ':', &over, &s) ||
	    cut(s, ':', &processes, &nothing))
		return false;
	if (worker.n == 0 || worker.n >= sizeof out->worker ||
	    !text_int(over, 0, INT64_C(1000000000000), &out->over) ||
	    !text_int(processes, 1, SCALE_MOST, &n))
		return false;
	memcpy(out->worker, worker.p, worker.n);
	out->worker[worker.n] = '\0';
	out->processes = (int)n;
	return true;
}

enum rc
scale_rules_parse(const char *text, struct scale_rules *out, struct err *e)
{
	struct span rest = trim(span_of(text)), one;
	bool more = rest.n > 0;

	out->n = 0;
	while (more) {
		more = cut(rest, ',', &one, &rest);
		if (out->n == SCALE_RULES)
			return err_set(e, RC_INVALID, "bad_rule",
			    "more than %d rules", SCALE_RULES);
		if (!rule_parse(one, &out->rule[out->n]))
			return err_set(e, RC_INVALID, "bad_rule",
			    "\"%.*s\" is no rule; write payment > 1000: 5",
			    (int)(one.n < 60 ? one.n : 60), one.p);
		out->n++;
	}
	return RC_OK;
}

/* ---- one queue */

static int
within(int n, const struct scale_limits *l)
{
	return n < l->min ? l->min : n > l->max ? l->max : n;
}

static bool
is_old(const struct scale_limits *l, const struct scale_look *look)
{
	return l->age_ms > 0 && look->waiting > 0 &&
	       look->oldest_ms > l->age_ms;
}

static int64_t
tasks(const struct scale_look *look)
{
	return look->waiting + look->in_flight;
}

static int
asked(const struct scale_state *state, const struct scale_limits *l,
    const struct scale_look *look)
{
	int64_t n = (tasks(look) + l->backlog - 1) / l->backlog;

	for (int i = 0; i < l->rules->n; i++) {
		const struct scale_rule *r = &l->rules->rule[i];

		if (strcmp(r->worker, l->worker) == 0 &&
		    look->waiting > r->over && n < r->processes)
			n = r->processes;
	}
	if (is_old(l, look) && n < 2 * (int64_t)state->wanted)
		n = 2 * (int64_t)state->wanted;
	return n > SCALE_MOST ? SCALE_MOST : (int)n;
}

/* One less would do with half to spare. The last one goes only when there is
 * nothing at all. */
static bool
is_calm(const struct scale_state *state, const struct scale_limits *l,
    const struct scale_look *look)
{
	int64_t left = state->wanted - 1;

	if (tasks(look) > left * l->backlog / 2)
		return false;
	if (l->age_ms > 0 && look->waiting > 0 &&
	    look->oldest_ms > l->age_ms / 2)
		return false;
	for (int i = 0; i < l->rules->n; i++) {
		const struct scale_rule *r = &l->rules->rule[i];

		if (strcmp(r->worker, l->worker) == 0 && left < r->processes &&
		    look->waiting > r->over / 2)
			return false;
	}
	return true;
}

void
scale_begin(struct scale_state *state, const struct scale_limits *limits)
{
	state->wanted = within(state->wanted, limits);
	state->calm = false;
}

void
scale_judge(struct scale_state *state, const struct scale_limits *limits,
    const struct scale_look *look)
{
	bool gap = look->now_ms - state->seen_ms > GAP_MS;

	state->seen_ms = look->now_ms;
	state->asked = asked(state, limits, look);
	if (within(state->asked, limits) > state->wanted) {
		state->wanted = within(state->asked, limits);
		state->calm = false;
		return;
	}
	if (state->wanted <= limits->min || !is_calm(state, limits, look)) {
		state->calm = false;
		return;
	}
	if (!state->calm || gap) {
		state->calm = true;
		state->calm_since_ms = look->now_ms;
	}
	if (look->now_ms - state->calm_since_ms >= limits->quiet_ms) {
		state->wanted--;
		state->calm_since_ms = look->now_ms;
	}
}

/* ---- all of them */

/* One for each of the class that wants more than it has and less than most;
 * false: nobody did. */
static bool
share_round(int *left, int n, struct scale_claim claims[],
    enum scale_class class, int most)
{
	bool any = false;

	for (int i = 0; i<n && * left> 0; i++) {
		struct scale_claim *c = &claims[i];

		if (c->class != class || c->granted >= c->wanted ||
		    c->granted >= most)
			continue;
		c->granted++;
		(*left)--;
		any = true;
	}
	return any;
}

void
scale_share(int total, int n, struct scale_claim claims[])
{
	int left = total == 0 ? SCALE_MOST * n : total;

	for (int i = 0; i < n; i++) {
		claims[i].granted = claims[i].min;
		left -= claims[i].min;
	}
	for (int class = CLASS_HIGH; class < CLASSES; class ++)
		(void)share_round(
		    &left, n, claims, (enum scale_class) class, 1);
	for (int class = CLASS_HIGH; class < CLASSES; class ++) {
		while (share_round(
		    &left, n, claims, (enum scale_class) class, SCALE_MOST))
			;
	}
}
