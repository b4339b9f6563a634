/*
 * Runs ops onto a buffer. Nothing is allocated here but the output: contexts
 * lie in an array, and what a partial or a parent brings (an indentation, its
 * arguments) in chains of structs on the C stack, at most NESTING_MAX deep.
 *
 * Indentation is written at ops marked `bol` and after each newline inside a
 * literal; a value's own newlines are left alone, as the specification wants.
 * Without an indentation, the usual case, a literal is one memcpy.
 */
#include "base/mustache.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mustache_int.h"
#include "base/strbuf.h"

enum {
	TURNS_MAX = 1000000,   /* of sections, partials and blocks */
	OUTPUT_MAX = 16 << 20, /* looked at once a turn */
	CALLER_MAX = 64,       /* contexts that the caller gives */
	/* The last one is of a section that is then refused for its depth. */
	CONTEXTS_MAX = CALLER_MAX + NESTING_MAX + 1
};

/* NULL: none. The outer one comes first on a line. */
struct indent {
	const struct indent *up;
	const char *p;
	size_t n, total;
};

/* One parent's tag under way: what it passes. */
struct frame {
	const struct frame *up;
	const struct tpl *tpl;
	struct slice args;
};

/* Where we are: changes with each partial, parent and block. */
struct scope {
	const struct tpl *tpl;
	const struct indent *indent;
	const struct frame *frame;
};

struct run {
	const struct mustache *set;
	struct strbuf *out;
	struct err *e;
	size_t start; /* out->len before */
	int turns, depth;
	/* No indentation while out->len is this: the line has begun already. */
	size_t begun;
	int nctx;
	const json_t *ctx[CONTEXTS_MAX];
};

static enum rc run_ops(
    struct run *run, const struct scope *at, uint32_t from, uint32_t to);

/* ---- values */

static const json_t *
get(const json_t *object, const char *key, size_t n)
{
#if JANSSON_VERSION_HEX >= 0x020e00
	return json_object_getn(object, key, n);
#else
	(void)n;
	return json_object_get(object, key);
#endif
}

/*
 * The first key is looked for in all contexts, the others only in what it
 * gave: {{a.b}} never takes its b from elsewhere. NULL: there is none.
 */
static const json_t *
lookup(const struct run *run, const struct tpl *tpl, struct slice name)
{
	const json_t *value = NULL;

	if (name.n == 0)
		return run->nctx > 0 ? run->ctx[run->nctx - 1] : NULL;
	const struct slice *part = &tpl->parts[name.at];

	for (int i = run->nctx - 1; i >= 0 && value == NULL; i--)
		value = get(run->ctx[i], tpl->pool + part->at, part->n);
	for (uint32_t k = 1; k < name.n && value != NULL; k++)
		value = get(value, tpl->pool + part[k].at, part[k].n);
	return value;
}

static bool
is_true(const json_t *value)
{
	switch (value == NULL ? JSON_NULL : json_typeof(value)) {
	case JSON_NULL:
	case JSON_FALSE:
		return false;
	case JSON_STRING:
		return json_string_length(value) > 0;
	case JSON_ARRAY:
		return json_array_size(value) > 0;
	default:
		return true;
	}
}

static void
add_integer(struct strbuf *out, json_int_t value)
{
	char buf[24], *p = buf + sizeof buf;
	unsigned long long left = value < 0 ? 0ULL - (unsigned long long)value
					    : (unsigned long long)value;

	do {
		*--p = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	if (value < 0)
		*--p = '-';
	strbuf_add(out, p, (size_t)(buf + sizeof buf - p));
}

/* The fewest digits that read back as the same number. */
static void
add_real(struct strbuf *out, double value)
{
	char buf[40];

	for (int digits = 15; digits <= 17; digits++) {
		(void)snprintf(buf, sizeof buf, "%.*g", digits, value);
		if (strtod(buf, NULL) == value)
			break;
	}
	strbuf_adds(out, buf);
}

static void
add_value(struct strbuf *out, const json_t *value, bool escaped)
{
	if (value == NULL)
		return;
	switch (json_typeof(value)) {
	case JSON_STRING:
		if (escaped)
			strbuf_add_html(out, json_string_value(value),
			    json_string_length(value));
		else
			strbuf_add(out, json_string_value(value),
			    json_string_length(value));
		break;
	case JSON_INTEGER:
		add_integer(out, json_integer_value(value));
		break;
	case JSON_REAL:
		add_real(out, json_real_value(value));
		break;
	case JSON_TRUE:
		strbuf_add(out, "true", 4);
		break;
	case JSON_FALSE:
		strbuf_add(out, "false", 5);
		break;
	default:
		break;
	}
}

/* ---- indentation */

/* Written from its end, as the chain begins with the innermost. */
static void
add_indent(struct run *run, const struct indent *indent)
{
	struct strbuf *out = run->out;

	if (indent == NULL || out->len == run->begun)
		return;
	strbuf_grow(out, indent->total);
	out->len += indent->total;
	out->s[out->len] = '\0';
	for (char *p = out->s + out->len; indent != NULL; indent = indent->up) {
		p -= indent->n;
		memcpy(p, indent->p, indent->n);
	}
}

static void
add_literal(struct run *run, const struct scope *at, struct slice bytes)
{
	const char *p = at->tpl->pool + bytes.at, *end = p + bytes.n;
	const char *nl;

	if (at->indent == NULL) {
		strbuf_add(run->out, p, bytes.n);
		return;
	}
	while ((nl = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		strbuf_add(run->out, p, (size_t)(nl + 1 - p));
		p = nl + 1;
		if (p < end)
			add_indent(run, at->indent);
	}
	strbuf_add(run->out, p, (size_t)(end - p));
}

/* One more level: *level lives in the caller. */
static const struct indent *
indent_push(const struct scope *at, struct slice bytes, struct indent *level)
{
	if (bytes.n == 0)
		return at->indent;
	*level = (struct indent){ at->indent, at->tpl->pool + bytes.at, bytes.n,
		bytes.n + (at->indent == NULL ? 0 : at->indent->total) };
	return level;
}

/* ---- containers */

/* Checks the bounds and runs ops one level deeper. */
static enum rc
run_deeper(struct run *run, const struct scope *at, uint32_t from, uint32_t to,
    uint32_t line)
{
	const char *name = at->tpl->name;
	enum rc rc;

	if (run->depth == NESTING_MAX)
		return err_set(run->e, RC_FAIL, "template_depth",
		    "%.120s:%u: nested deeper than %d: does a partial include "
		    "itself without end?",
		    name, (unsigned)line, NESTING_MAX);
	if (++run->turns > TURNS_MAX || run->out->len - run->start > OUTPUT_MAX)
		return err_set(run->e, RC_FAIL, "template_runaway",
		    "%.120s:%u: the page grows without end: are lists nested "
		    "in lists?",
		    name, (unsigned)line);
	run->depth++;
	rc = run_ops(run, at, from, to);
	run->depth--;
	return rc;
}

static enum rc
run_section(
    struct run *run, const struct scope *at, const struct op *op, uint32_t pc)
{
	const json_t *value = lookup(run, at->tpl, op->name);
	enum rc rc = RC_OK;

	if (!is_true(value))
		return RC_OK;
	if (json_is_true(value))
		return run_deeper(run, at, pc + 1, op->next, op->line);
	bool list = json_is_array(value);
	size_t count = list ? json_array_size(value) : 1;

	assert(run->nctx < CONTEXTS_MAX);
	for (size_t i = 0; i < count && rc == RC_OK; i++) {
		run->ctx[run->nctx++] = list ? json_array_get(value, i) : value;
		rc = run_deeper(run, at, pc + 1, op->next, op->line);
		run->nctx--;
	}
	return rc;
}

/* {{>x}} and {{<x}}: a template that is not there is empty. */
static enum rc
run_template(struct run *run, const struct scope *at, const struct op *op)
{
	const struct tpl *tpl = run->set->tpls[op->sym];
	struct frame frame = { at->frame, at->tpl, op->args };
	struct indent level;
	struct scope below = { tpl, NULL, at->frame };

	if (tpl == NULL)
		return RC_OK;
	if (op->own_line)
		below.indent = indent_push(at, op->indent, &level);
	if (op->kind == OP_PARENT && op->args.n > 0)
		below.frame = &frame;
	return run_deeper(run, &below, 0, (uint32_t)tpl->nops, op->line);
}

/* The argument for a block: the outermost template's word is the last one. */
static const struct arg *
find_arg(const struct scope *at, uint32_t sym, const struct frame **found)
{
	const struct arg *arg = NULL;

	for (const struct frame *f = at->frame; f != NULL; f = f->up) {
		const struct arg *args = f->tpl->args + f->args.at;

		for (uint32_t i = 0; i < f->args.n; i++) {
			if (args[i].sym == sym) {
				arg = &args[i];
				*found = f;
			}
		}
	}
	return arg;
}

/*
 * An argument stands for a block. Blocks inside it belong to the template that
 * wrote it, so they see what that one was given, not what it gives itself.
 */
static enum rc
run_arg(struct run *run, const struct scope *at, const struct op *op,
    const struct arg *arg, const struct frame *frame)
{
	struct indent level;
	struct scope within = { frame->tpl, NULL, frame->up };
	enum rc rc;

	if (op->site != SITE_MIDLINE)
		within.indent = indent_push(at, op->indent, &level);
	if (op->site == SITE_INLINE)
		run->begun = run->out->len;
	else if (op->site == SITE_LINES && !arg->bol && arg->from < arg->to)
		add_indent(run, within.indent);
	rc = run_deeper(run, &within, arg->from, arg->to, op->line);
	run->begun = SIZE_MAX;
	return rc;
}

static enum rc
run_ops(struct run *run, const struct scope *at, uint32_t from, uint32_t to)
{
	const struct tpl *tpl = at->tpl;
	enum rc rc = RC_OK;

	for (uint32_t pc = from, next; pc < to && rc == RC_OK; pc = next) {
		const struct op *op = &tpl->ops[pc];
		const struct frame *frame;
		const struct arg *arg;

		next = pc + 1;
		if (op->bol)
			add_indent(run, at->indent);
		switch ((enum op_kind)op->kind) {
		case OP_LITERAL:
			add_literal(run, at, op->bytes);
			break;
		case OP_ESCAPED:
		case OP_RAW:
			add_value(run->out, lookup(run, tpl, op->name),
			    op->kind == OP_ESCAPED);
			break;
		case OP_SECTION:
			rc = run_section(run, at, op, pc);
			next = op->next;
			break;
		case OP_INVERTED:
			if (is_true(lookup(run, tpl, op->name)))
				next = op->next;
			break;
		case OP_PARTIAL:
			rc = run_template(run, at, op);
			break;
		case OP_PARENT:
			rc = run_template(run, at, op);
			next = op->next;
			break;
		case OP_BLOCK:
			arg = find_arg(at, op->sym, &frame);
			if (arg == NULL)
				break; /* the default follows */
			rc = run_arg(run, at, op, arg, frame);
			next = op->next;
			break;
		}
	}
	return rc;
}

enum rc
mustache_render(const struct mustache *set, const char *name, int n,
    const json_t *const ctx[], struct strbuf *out, struct err *e)
{
	json_t *number = json_object_get(set->syms, name);
	struct run run = { .set = set,
		.out = out,
		.e = e,
		.start = out->len,
		.begun = SIZE_MAX };
	struct scope at = { 0 };

	assert(n >= 0 && n <= CALLER_MAX);
	if (number != NULL)
		at.tpl = set->tpls[json_integer_value(number)];
	if (at.tpl == NULL)
		return err_set(e, RC_FAIL, "template_missing",
		    "there is no template '%.120s'", name);
	for (; run.nctx < n; run.nctx++)
		run.ctx[run.nctx] = ctx[run.nctx];
	enum rc rc = run_ops(&run, &at, 0, (uint32_t)at.tpl->nops);

	if (rc != RC_OK)
		strbuf_trunc(out, run.start);
	return rc;
}
