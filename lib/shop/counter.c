/*
 * Names of keys and arguments for the scripts (counter_script.c), and what they
 * answer as structs. The rules are there, not here.
 */
#include "shop/counter.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "shop/counter_int.h"
#include "store/redis.h"

enum { KEYS = 6, STAGED = 5 };

static const char *const parts[KEYS] = { "", ":free", ":buyers", ":holds",
	":units", ":open" };

struct keys {
	char text[KEYS + STAGED][64 + 32];
	struct span span[KEYS + STAGED];
};

static void
keys_name(struct keys *keys, struct counter_ref ref)
{
	for (int i = 0; i < KEYS; i++) {
		int n = snprintf(keys->text[i], sizeof keys->text[i],
		    "stock:{%lld:%lld}%s", (long long)ref.sale_id,
		    (long long)ref.variant_id, parts[i]);

		assert(n > 0 && n < (int)sizeof keys->text[i]);
		keys->span[i] = (struct span){ keys->text[i], (size_t)n };
	}
}

/* Beside them: what an arming has put together so far. */
static void
keys_name_staged(struct keys *keys, struct counter_ref ref, int64_t epoch)
{
	for (int i = 0; i < STAGED; i++) {
		char *text = keys->text[KEYS + i];
		int n = snprintf(text, sizeof keys->text[0],
		    "stock:{%lld:%lld}:arm:%lld%s", (long long)ref.sale_id,
		    (long long)ref.variant_id, (long long)epoch, parts[i + 1]);

		assert(n > 0 && n < (int)sizeof keys->text[0]);
		keys->span[KEYS + i] = (struct span){ text, (size_t)n };
	}
}

/* The six keys, and these arguments. */
static enum rc
run(struct redis *redis, const struct redis_script *script,
    struct counter_ref ref, int n, const struct span args[],
    struct arena *arena, struct redis_reply *out, struct err *e)
{
	struct keys keys;

	keys_name(&keys, ref);
	return redis_eval(
	    redis, script, KEYS, keys.span, n, args, arena, out, e);
}

static struct span
number(struct arena *arena, int64_t n)
{
	char *s = arena_alloc(arena, TEXT_NUM);

	return span_of(text_num(n, s));
}

/* What one of our scripts answers, or a server that is not Redis. */
static bool
shaped(const struct redis_reply *r, size_t n)
{
	return r->type == RT_ARRAY && r->n >= n;
}

static enum rc
misshaped(struct err *e)
{
	return err_set(
	    e, RC_FAIL, "redis_error", "Redis: not what the script answers");
}

static enum rc
unarmed(struct err *e)
{
	return err_set(e, RC_RETRY, "sale_unarmed",
	    "the sale's counter is being made anew");
}

enum rc
counter_hold(struct redis *redis, struct counter_ref ref, const char *id,
    const char *buyer, struct arena *arena, struct counter_hold *out,
    struct err *e)
{
	const struct span args[] = { span_of(id), span_of(buyer) };
	struct redis_reply r;
	enum rc rc =
	    run(redis, &script_counter_hold, ref, 2, args, arena, &r, e);

	if (rc != RC_OK)
		return rc;
	if (!shaped(&r, 8))
		return misshaped(e);
	*out = (struct counter_hold){
		.answer = (enum counter_answer)redis_num(&r.item[0], 1),
		.epoch = redis_num(&r.item[1], 0),
		.unit = (int)redis_num(&r.item[2], 0),
		.slot = (int)redis_num(&r.item[3], 0),
		.again = redis_num(&r.item[4], 0) != 0,
		.known = redis_num(&r.item[5], 0) != 0,
		.left = redis_num(&r.item[6], 0),
		.stock = redis_num(&r.item[7], 0),
	};
	return RC_OK;
}

enum rc
counter_give_back(struct redis *redis, struct counter_ref ref,
    const struct counter_unit *unit, struct arena *arena, struct err *e)
{
	const struct span args[] = { span_of(unit->id),
		number(arena, unit->unit) };
	struct redis_reply r;
	enum rc rc =
	    run(redis, &script_counter_give_back, ref, 2, args, arena, &r, e);

	if (rc == RC_OK && redis_num(&r, 0) == 1)
		return unarmed(e);
	return rc;
}

enum rc
counter_file(struct redis *redis, struct counter_ref ref, int64_t epoch,
    const char *mine, const struct counter_unit *taken, struct arena *arena,
    struct err *e)
{
	const struct span args[] = { number(arena, epoch), span_of(mine),
		span_of(taken->id), span_of(taken->buyer),
		number(arena, taken->unit), number(arena, taken->slot) };
	struct redis_reply r;
	enum rc rc =
	    run(redis, &script_counter_file, ref, 6, args, arena, &r, e);

	if (rc == RC_OK && redis_num(&r, 0) == 1)
		return unarmed(e);
	return rc;
}

/* Of those whose answer says nothing that the caller would act upon. */
static enum rc
run_epoch(struct redis *redis, const struct redis_script *script,
    struct counter_ref ref, int64_t epoch, struct arena *arena, struct err *e)
{
	const struct span args[] = { number(arena, epoch) };
	struct redis_reply r;

	return run(redis, script, ref, 1, args, arena, &r, e);
}

enum rc
counter_disarm(struct redis *redis, struct counter_ref ref, int64_t epoch,
    struct arena *arena, struct err *e)
{
	return run_epoch(redis, &script_counter_disarm, ref, epoch, arena, e);
}

enum rc
counter_close(struct redis *redis, struct counter_ref ref, int64_t epoch,
    struct arena *arena, struct err *e)
{
	return run_epoch(redis, &script_counter_close, ref, epoch, arena, e);
}

/* ---- how it stands */

static enum rc
state_read(
    const struct redis_reply *r, struct counter_state *out, struct err *e)
{
	if (r->type == RT_ERROR)
		return redis_reply_error(r, e);
	if (!shaped(r, 10))
		return misshaped(e);
	*out = (struct counter_state){
		.there = redis_num(&r->item[0], 0) != 0,
		.armed = redis_num(&r->item[1], 0) != 0,
		.closed = redis_num(&r->item[2], 0) != 0,
		.epoch = redis_num(&r->item[3], 0),
		.next = redis_num(&r->item[4], 0),
		.allotment = redis_num(&r->item[5], 0),
		.free = redis_num(&r->item[6], 0),
		.holds = redis_num(&r->item[7], 0),
		.left = redis_num(&r->item[8], 0),
		.stock = redis_num(&r->item[9], 0),
	};
	return RC_OK;
}

enum rc
counter_state(struct redis *redis, struct counter_ref ref, struct arena *arena,
    struct counter_state *out, struct err *e)
{
	struct redis_reply r;
	enum rc rc =
	    run(redis, &script_counter_state, ref, 0, NULL, arena, &r, e);

	return rc != RC_OK ? rc : state_read(&r, out, e);
}

/* EVALSHA sha 6 and the keys; in the arena. */
static struct redis_cmd
state_command(struct redis *redis, struct counter_ref ref, struct arena *arena,
    const char **key)
{
	struct keys *keys = arena_alloc(arena, sizeof *keys);
	struct span *argv = arena_calloc(arena, 3 + KEYS, sizeof *argv);

	keys_name(keys, ref);
	argv[0] = span_of("EVALSHA");
	argv[1] = span_of(redis_script_sha(redis, &script_counter_state));
	argv[2] = span_of("6");
	memcpy(argv + 3, keys->span, KEYS * sizeof *argv);
	*key = keys->text[0];
	return (struct redis_cmd){ 3 + KEYS, argv };
}

enum rc
counter_states(struct redis *redis, int n, const struct counter_ref refs[],
    struct arena *arena, struct counter_state out[], struct err *e)
{
	struct redis_cmd *cmds = arena_calloc(arena, (size_t)n, sizeof *cmds);
	const char **keys = arena_calloc(arena, (size_t)n, sizeof *keys);
	struct redis_reply *r = arena_calloc(arena, (size_t)n, sizeof *r);
	enum rc rc;

	for (int i = 0; i < n; i++)
		cmds[i] = state_command(redis, refs[i], arena, &keys[i]);
	if ((rc = redis_pipeline(redis, n, keys, cmds, arena, r, e)) != RC_OK)
		return rc;
	for (int i = 0; i < n && rc == RC_OK; i++) {
		if (r[i].type == RT_ERROR && span_starts(r[i].str, "NOSCRIPT"))
			rc = counter_state(redis, refs[i], arena, &out[i], e);
		else
			rc = state_read(&r[i], &out[i], e);
	}
	return rc;
}

/* ---- arming */

/* A page whose arming goes on for longer than this is given up. */
enum { STAGE_MS = 60000, STAGE_HEAD = 6 };

enum rc
counter_stage(struct redis *redis, struct counter_ref ref,
    struct counter_stage *stage, const struct counter_page *page,
    struct arena *arena, struct err *e)
{
	int n = STAGE_HEAD + 4 * page->n + page->m;
	struct span *args = arena_calloc(arena, (size_t)n, sizeof *args);
	struct span *p = args + STAGE_HEAD;
	struct redis_reply r;
	struct keys keys;
	enum rc rc;

	assert(page->n <= COUNTER_PAGE && page->m <= COUNTER_PAGE &&
	       page->to - page->from < COUNTER_PAGE);
	keys_name_staged(&keys, ref, stage->epoch);
	args[0] = number(arena, stage->epoch);
	args[1] = span_of(stage->identity);
	args[2] = number(arena, STAGE_MS);
	args[3] = number(arena, page->from);
	args[4] = number(arena, page->to);
	args[5] = number(arena, page->n);
	for (int i = 0; i < page->n; i++) {
		const struct counter_unit *u = &page->units[i];

		*p++ = number(arena, u->unit);
		*p++ = span_of(u->id);
		*p++ = span_of(u->buyer);
		*p++ = number(arena, u->slot);
	}
	for (int i = 0; i < page->m; i++)
		*p++ = span_of(page->known[i]);
	rc = redis_eval(redis, &script_counter_stage, STAGED, keys.span + KEYS,
	    n, args, arena, &r, e);
	if (rc != RC_OK)
		return rc;
	if (r.type != RT_STRING || r.str.n >= sizeof stage->identity)
		return err_set(
		    e, RC_RETRY, "sale_arming", "another Redis answers now");
	memcpy(stage->identity, r.str.p, r.str.n);
	stage->identity[r.str.n] = '\0';
	return RC_OK;
}

enum rc
counter_arm(struct redis *redis, struct counter_ref ref,
    const struct counter_stage *stage, const struct counter_arming *arming,
    struct arena *arena, struct err *e)
{
	const struct span args[] = {
		number(arena, stage->epoch),
		span_of(stage->identity),
		number(arena, arming->next),
		number(arena, arming->allotment),
		number(arena, arming->limit),
		number(arena, arming->starts_ms),
		number(arena, arming->ends_ms),
		number(arena, arming->item_id),
		number(arena, arming->product_id),
		number(arena, arming->rest),
		span_of(arming->others),
	};
	struct redis_reply r;
	struct keys keys;
	enum rc rc;

	keys_name(&keys, ref);
	keys_name_staged(&keys, ref, stage->epoch);
	rc = redis_eval(redis, &script_counter_arm, KEYS + STAGED, keys.span,
	    (int)(sizeof args / sizeof *args), args, arena, &r, e);
	if (rc != RC_OK || redis_num(&r, 2) == 0)
		return rc;
	return err_set(e, RC_RETRY, "sale_arming",
	    redis_num(&r, 2) == 1 ? "somebody else has armed this sale"
				  : "what was to be armed is lost");
}

/* ---- looking after it */

enum rc
counter_rest(struct redis *redis, struct counter_ref ref, int64_t epoch,
    int64_t rest, const char *others, struct arena *arena, struct err *e)
{
	const struct span args[] = { number(arena, epoch), number(arena, rest),
		span_of(others) };
	struct redis_reply r;

	return run(redis, &script_counter_rest, ref, 3, args, arena, &r, e);
}

/* "unit slot ms buyer" */
static bool
held_parse(struct span id, struct span s, struct arena *arena,
    struct counter_held *out)
{
	int64_t v[3];

	for (int i = 0; i < 3; i++) {
		const char *space = s.n == 0 ? NULL : memchr(s.p, ' ', s.n);
		size_t n = space == NULL ? 0 : (size_t)(space - s.p);

		if (n == 0 ||
		    !text_int((struct span){ s.p, n }, 0, INT64_MAX, &v[i]))
			return false;
		s.p += n + 1;
		s.n -= n + 1;
	}
	if (v[0] > INT32_MAX || v[1] > INT32_MAX)
		return false;
	*out = (struct counter_held){
		.unit = { .id = arena_strndup(arena, id.p, id.n),
		    .buyer = arena_strndup(arena, s.p, s.n),
		    .unit = (int)v[0],
		    .slot = (int)v[1] },
		.since_ms = v[2],
	};
	return true;
}

/* The state at the front of a list: go on? */
static enum rc
list_head(const struct redis_reply *r, int64_t *epoch, struct err *e)
{
	if (!shaped(r, 2) || r->n % 2 != 0)
		return misshaped(e);
	*epoch = redis_num(&r->item[1], 0);
	return redis_num(&r->item[0], 1) == 1 ? unarmed(e) : RC_OK;
}

enum rc
counter_unjustified(struct redis *redis, struct counter_ref ref, int64_t age_ms,
    struct arena *arena, int64_t *epoch, int *n,
    const struct counter_held **out, struct err *e)
{
	const struct span args[] = { number(arena, age_ms),
		number(arena, COUNTER_PAGE) };
	struct counter_held *list;
	struct redis_reply r;
	enum rc rc =
	    run(redis, &script_counter_unjustified, ref, 2, args, arena, &r, e);

	*n = 0;
	if (rc != RC_OK || (rc = list_head(&r, epoch, e)) != RC_OK)
		return rc;
	list = arena_calloc(arena, r.n / 2, sizeof *list);
	for (size_t i = 2; i + 1 < r.n; i += 2) {
		if (r.item[i + 1].type == RT_STRING &&
		    held_parse(
			r.item[i].str, r.item[i + 1].str, arena, &list[*n]))
			(*n)++;
	}
	*out = list;
	return RC_OK;
}

enum rc
counter_justified(struct redis *redis, struct counter_ref ref, int64_t epoch,
    int n, const char *const ids[], struct arena *arena, struct err *e)
{
	struct span *args = arena_calloc(arena, (size_t)n + 1, sizeof *args);
	struct redis_reply r;

	if (n == 0)
		return RC_OK;
	args[0] = number(arena, epoch);
	for (int i = 0; i < n; i++)
		args[i + 1] = span_of(ids[i]);
	return run(
	    redis, &script_counter_justified, ref, n + 1, args, arena, &r, e);
}

enum rc
counter_look(struct redis *redis, struct counter_ref ref, int from,
    struct arena *arena, int64_t *epoch, int *n,
    const struct counter_number **out, struct err *e)
{
	const struct span args[] = { number(arena, from),
		number(arena, COUNTER_PAGE) };
	struct counter_number *list;
	struct redis_reply r;
	enum rc rc =
	    run(redis, &script_counter_look, ref, 2, args, arena, &r, e);

	*n = 0;
	if (rc != RC_OK || (rc = list_head(&r, epoch, e)) != RC_OK)
		return rc;
	list = arena_calloc(arena, r.n / 2, sizeof *list);
	for (size_t i = 2; i + 1 < r.n; i += 2) {
		struct counter_number *c = &list[*n];

		c->is = CI_LOST;
		if (r.item[i].type == RT_INT && r.item[i].num == 1)
			c->is = CI_FREE;
		else if (r.item[i].type == RT_STRING &&
			 r.item[i + 1].type == RT_STRING &&
			 held_parse(
			     r.item[i].str, r.item[i + 1].str, arena, &c->held))
			c->is = CI_HELD;
		c->held.unit.unit = from + (*n)++;
	}
	*out = list;
	return RC_OK;
}
