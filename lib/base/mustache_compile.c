/*
 * Text to ops, in two passes.
 *
 * scan() finds the tags and pairs each opening one with its closing one, so
 * that the second pass may look at both ends of a container at once: whether a
 * block or a parent is standalone depends on what follows its closing tag.
 *
 * emit_range() walks the tags and writes ops. Whitespace is settled here, once:
 * a standalone tag loses its line, the content of a block that is passed to a
 * parent loses the indentation of its first line ("dedent"), and an op at the
 * start of a line is marked (`bol`), so that the renderer of an indented
 * partial knows where to indent. Compiling an indented copy of each partial
 * was dropped: a partial that recurses with an indentation has no end of
 * copies, and arguments of parents are indented by where they land anyway.
 */
#define _GNU_SOURCE /* memmem */
#include "base/mustache_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"

enum { DELIM_MAX = 16 };

struct tag {
	char kind; /* '#', '^', '/', '>', '<', '$', '!', '=', '&', 'v' */
	bool arg;  /* '$' directly inside '<' */
	uint32_t start, end; /* of the whole tag in the source */
	uint32_t line;
	uint32_t match; /* of an opening tag: its closing one */
	struct span name;
};

struct compiler {
	struct mustache *set;
	const char *name; /* the template's */
	const char *src;
	size_t n;
	struct err *e;

	/* first pass */
	struct tag *tags;
	size_t ntags, captags;
	struct span open, close;     /* delimiters, in the source or constant */
	uint32_t stack[NESTING_MAX]; /* opening tags not yet closed */
	size_t depth;
	size_t line_at; /* `line` is the line of this offset */
	uint32_t line;

	/* second pass */
	struct op *ops;
	size_t nops, capops;
	struct slice *parts;
	size_t nparts, capparts;
	struct arg *args;
	size_t nargs, capargs;
	struct strbuf pool;
	struct span dedent; /* taken from the start of each line */
	size_t barrier;     /* ops before it take no more text: a jump ends */
	bool bol; /* a tag without output stood at the start of this line */
};

/* Room for one more in a growing array. */
static void *
grown(void *p, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return p;
	*cap = *cap == 0 ? 32 : *cap * 2;
	return xrealloc(p, *cap * size);
}

#define error_at(c, line, ...)                                                 \
	((void)err_set((c)->e, RC_INVALID, "template_syntax", __VA_ARGS__),    \
	    err_prefix((c)->e, "%.120s:%u: ", (c)->name, (unsigned)(line)),    \
	    RC_INVALID)

/* For messages: a name as printf takes it, cut. */
#define SHOWN(s) (int)((s).n > 60 ? 60 : (s).n), (s).p

/* ---- first pass: tags */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_space(char c)
{
	return is_blank(c) || c == '\n' || c == '\r';
}

static struct span
trim(struct span s)
{
	while (s.n > 0 && is_space(s.p[0]))
		s = (struct span){ s.p + 1, s.n - 1 };
	while (s.n > 0 && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

static const char *
find(const char *p, const char *end, struct span what)
{
	return memmem(p, (size_t)(end - p), what.p, what.n);
}

/* The line of an offset; offsets only grow. */
static uint32_t
line_of(struct compiler *c, size_t at)
{
	for (; c->line_at < at; c->line_at++) {
		if (c->src[c->line_at] == '\n')
			c->line++;
	}
	return c->line;
}

static enum rc
check_name(struct compiler *c, const struct tag *tag)
{
	struct span s = tag->name;
	bool dotted = strchr("#^&v", tag->kind) != NULL;

	if (s.n == 0)
		return error_at(c, tag->line, "the tag has no name");
	if (tag->kind == '>' && s.p[0] == '*')
		return error_at(c, tag->line,
		    "dynamic names ({{>%.*s}}) are not supported", SHOWN(s));
	for (size_t i = 0; i < s.n; i++) {
		if (is_space(s.p[i]) || s.p[i] == '\0')
			return error_at(c, tag->line,
			    "'%.*s' is no name: a name has no space in it",
			    SHOWN(s));
		if (dotted && s.n > 1 && s.p[i] == '.' &&
		    (i == 0 || i == s.n - 1 || s.p[i + 1] == '.'))
			return error_at(c, tag->line,
			    "'%.*s' is no name: a part of it is empty",
			    SHOWN(s));
	}
	return RC_OK;
}

static enum rc
set_delimiters(struct compiler *c, const struct tag *tag)
{
	struct span s = tag->name;
	size_t i = 0;

	while (i < s.n && !is_space(s.p[i]))
		i++;
	struct span open = { s.p, i };
	struct span close = trim((struct span){ s.p + i, s.n - i });
	bool ok = open.n > 0 && close.n > 0 && open.n <= DELIM_MAX &&
		  close.n <= DELIM_MAX;

	for (i = 0; ok && i < s.n; i++)
		ok = s.p[i] != '=' && s.p[i] != '\0';
	for (i = 0; ok && i < close.n; i++)
		ok = !is_space(close.p[i]);
	if (!ok)
		return error_at(c, tag->line,
		    "bad delimiters '%.*s': write two words of at most %d "
		    "bytes without '=', as in {{=<%% %%>=}}",
		    SHOWN(s), DELIM_MAX);
	c->open = open;
	c->close = close;
	return RC_OK;
}

static enum rc
push_open(struct compiler *c, struct tag *tag)
{
	if (c->depth == NESTING_MAX)
		return error_at(c, tag->line,
		    "tags nested deeper than %d: move a part of this into a "
		    "partial",
		    NESTING_MAX);
	tag->arg = tag->kind == '$' && c->depth > 0 &&
		   c->tags[c->stack[c->depth - 1]].kind == '<';
	c->stack[c->depth++] = (uint32_t)(tag - c->tags);
	return RC_OK;
}

static enum rc
pop_open(struct compiler *c, const struct tag *tag)
{
	struct span s = tag->name;

	if (c->depth == 0)
		return error_at(c, tag->line,
		    "{{/%.*s}} closes nothing: remove it, or open it before",
		    SHOWN(s));
	struct tag *open = &c->tags[c->stack[c->depth - 1]];

	if (!span_eq(open->name, s))
		return error_at(c, tag->line,
		    "{{/%.*s}} where {{%c%.*s}} of line %u is open: close "
		    "that first, with {{/%.*s}}",
		    SHOWN(s), open->kind, SHOWN(open->name),
		    (unsigned)open->line, SHOWN(open->name));
	open->match = (uint32_t)(tag - c->tags);
	c->depth--;
	return RC_OK;
}

/* Reads the tag whose opening delimiter is at `start`. */
static enum rc
scan_tag(struct compiler *c, const char *start)
{
	const char *end = c->src + c->n, *p = start + c->open.n;
	struct span close = c->close;
	char ending[DELIM_MAX + 2];
	struct tag *tag;

	c->tags = grown(c->tags, c->ntags, &c->captags, sizeof *c->tags);
	tag = &c->tags[c->ntags++];
	*tag = (struct tag){ .kind = 'v', .start = (uint32_t)(start - c->src) };
	tag->line = line_of(c, tag->start);
	while (p < end && is_space(*p))
		p++;
	if (p < end && *p != '\0' && strchr("#^/><$!=&{", *p) != NULL)
		tag->kind = *p++;
	if (tag->kind == '{' || tag->kind == '=') { /* ends with "}}}", "=}}" */
		ending[0] = tag->kind == '{' ? '}' : '=';
		memcpy(ending + 1, close.p, close.n);
		close = (struct span){ ending, close.n + 1 };
	}
	const char *stop = find(p, end, close);

	if (stop == NULL)
		return error_at(c, tag->line,
		    "the tag is not closed: '%.*s' is missing", SHOWN(close));
	tag->name = trim((struct span){ p, (size_t)(stop - p) });
	tag->end = (uint32_t)(stop + close.n - c->src);
	if (tag->kind == '{')
		tag->kind = '&';
	if (tag->kind == '!')
		return RC_OK;
	if (tag->kind == '=')
		return set_delimiters(c, tag);
	enum rc rc = check_name(c, tag);

	if (rc == RC_OK && strchr("#^<$", tag->kind) != NULL)
		rc = push_open(c, tag);
	else if (rc == RC_OK && tag->kind == '/')
		rc = pop_open(c, tag);
	return rc;
}

static enum rc
scan(struct compiler *c)
{
	const char *p = c->src, *end = c->src + c->n;

	while ((p = find(p, end, c->open)) != NULL) {
		enum rc rc = scan_tag(c, p);

		if (rc != RC_OK)
			return rc;
		p = c->src + c->tags[c->ntags - 1].end;
	}
	if (c->depth > 0) {
		const struct tag *open = &c->tags[c->stack[c->depth - 1]];

		return error_at(c, open->line,
		    "{{%c%.*s}} is never closed: add {{/%.*s}}", open->kind,
		    SHOWN(open->name), SHOWN(open->name));
	}
	return RC_OK;
}

/* ---- second pass: where lines begin and end */

static bool
begins_line(const struct compiler *c, size_t at)
{
	return at == 0 || c->src[at - 1] == '\n';
}

/* Nothing but blanks before this place: true, and where its line begins. */
static bool
clean_before(const struct compiler *c, size_t at, size_t *begin)
{
	while (at > 0 && is_blank(c->src[at - 1]))
		at--;
	*begin = at;
	return begins_line(c, at);
}

/* Nothing but blanks behind it: true, and where the next line begins. */
static bool
clean_behind(const struct compiler *c, size_t at, size_t *next)
{
	while (at < c->n && is_blank(c->src[at]))
		at++;
	if (at + 1 < c->n && c->src[at] == '\r' && c->src[at + 1] == '\n')
		at++;
	*next = at + 1;
	if (at == c->n)
		*next = at;
	return at == c->n || c->src[at] == '\n';
}

/*
 * What a tag takes from the text around it: text before it ends at `from`, text
 * behind it begins at `to`.
 */
struct edges {
	bool alone;
	size_t from, to;
};

static struct edges
edges_of(const struct compiler *c, size_t start, size_t end)
{
	struct edges at;

	at.alone =
	    clean_before(c, start, &at.from) && clean_behind(c, end, &at.to);
	if (!at.alone)
		at = (struct edges){ false, start, end };
	return at;
}

/* The blanks at the start of a line, and what is left of them after dedent. */
static struct span
blanks_at(const struct compiler *c, size_t at)
{
	size_t n = 0;

	while (at + n < c->n && is_blank(c->src[at + n]))
		n++;
	return (struct span){ c->src + at, n };
}

static struct span
dedented(const struct compiler *c, struct span s)
{
	size_t i = 0;

	while (i < s.n && i < c->dedent.n && s.p[i] == c->dedent.p[i])
		i++;
	return (struct span){ s.p + i, s.n - i };
}

/* The indentation of the first line in [from, to) that has anything else. */
static struct span
first_indent(const struct compiler *c, size_t from, size_t to)
{
	struct span s = { c->src + from, 0 };
	size_t next;

	while (from < to) {
		s = blanks_at(c, from);
		if (!clean_behind(c, from, &next))
			break;
		from = next;
	}
	return s;
}

/* ---- second pass: ops */

static struct slice
pool_add(struct compiler *c, struct span s)
{
	struct slice out = { (uint32_t)c->pool.len, (uint32_t)s.n };

	strbuf_addspan(&c->pool, s);
	return out;
}

static struct op *
op_add(struct compiler *c, enum op_kind kind, const struct tag *tag)
{
	c->ops = grown(c->ops, c->nops, &c->capops, sizeof *c->ops);
	struct op *op = &c->ops[c->nops++];

	*op = (struct op){ .kind = (uint8_t)kind };
	if (tag != NULL)
		op->line = tag->line;
	op->bol = c->bol || (tag != NULL && begins_line(c, tag->start));
	c->bol = false;
	return op;
}

/* One line, or a part of one, of [from, to); joins the literal before it. */
static void
text_add(struct compiler *c, size_t from, size_t to, bool bol)
{
	struct span s = { c->src + from, to - from };
	struct op *op = c->nops > c->barrier ? &c->ops[c->nops - 1] : NULL;

	if (begins_line(c, from))
		s = dedented(c, s);
	if (op != NULL && op->kind == OP_LITERAL &&
	    op->bytes.at + op->bytes.n == c->pool.len && op->bytes.n > 0 &&
	    (c->pool.s[c->pool.len - 1] == '\n') == bol) {
		op->bytes.n += (uint32_t)s.n;
		strbuf_addspan(&c->pool, s);
		c->bol = false;
		return;
	}
	c->bol = bol;
	op = op_add(c, OP_LITERAL, NULL);
	op->bytes = pool_add(c, s);
}

static void
emit_text(struct compiler *c, size_t from, size_t to)
{
	while (from < to) {
		const char *nl = memchr(c->src + from, '\n', to - from);
		size_t end = nl == NULL ? to : (size_t)(nl - c->src) + 1;

		text_add(c, from, end, c->bol || begins_line(c, from));
		from = end;
	}
}

/* Splits a dotted name. */
static struct slice
name_add(struct compiler *c, struct span s)
{
	struct slice out = { (uint32_t)c->nparts, 0 };

	if (span_is(s, "."))
		return out;
	for (;;) {
		const char *dot = memchr(s.p, '.', s.n);
		struct span key = { s.p, dot ? (size_t)(dot - s.p) : s.n };

		c->parts =
		    grown(c->parts, c->nparts, &c->capparts, sizeof *c->parts);
		c->parts[c->nparts++] = pool_add(c, key);
		strbuf_addc(&c->pool, '\0');
		out.n++;
		if (dot == NULL)
			return out;
		s = (struct span){ dot + 1, s.n - key.n - 1 };
	}
}

static void emit_range(
    struct compiler *c, size_t tag, size_t tag_end, size_t from, size_t to);

/*
 * The body behind op number `op`, from where the opening tag leaves the text to
 * where the closing one takes it up; fixes the op's jump.
 */
static void
emit_body(struct compiler *c, size_t op, size_t tag, size_t from,
    const struct edges *end)
{
	const struct tag *close = &c->tags[c->tags[tag].match];

	emit_range(c, tag + 1, c->tags[tag].match, from, end->from);
	if (!end->alone && (c->bol || begins_line(c, close->start))) {
		/* The line of the closing tag starts inside the body. */
		c->bol = true;
		(void)op_add(c, OP_LITERAL, close);
	}
	c->ops[op].next = (uint32_t)c->nops;
	c->barrier = c->nops;
}

/* {{#x}} and {{^x}}. Returns where the text goes on. */
static size_t
emit_section(struct compiler *c, size_t i, size_t pos)
{
	const struct tag *open = &c->tags[i], *close = &c->tags[open->match];
	struct edges at = edges_of(c, open->start, open->end);
	struct edges end = edges_of(c, close->start, close->end);

	emit_text(c, pos, at.from);
	size_t op = c->nops;
	struct op *section =
	    op_add(c, open->kind == '#' ? OP_SECTION : OP_INVERTED, open);

	if (at.alone)
		section->bol = false;
	section->name = name_add(c, open->name);
	emit_body(c, op, i, at.to, &end);
	return end.to;
}

static size_t
emit_partial(struct compiler *c, size_t i, size_t pos)
{
	const struct tag *tag = &c->tags[i];
	struct edges at = edges_of(c, tag->start, tag->end);

	emit_text(c, pos, at.from);
	struct op *op = op_add(c, OP_PARTIAL, tag);

	op->sym = mustache_sym(c->set, tag->name.p, tag->name.n);
	op->own_line = at.alone;
	if (at.alone) {
		op->bol = false;
		op->indent = pool_add(c, dedented(c, blanks_at(c, at.from)));
	}
	return at.to;
}

/* {{$x}} outside of a parent's tag: a place that may be replaced. */
static size_t
emit_block(struct compiler *c, size_t i, size_t pos)
{
	const struct tag *open = &c->tags[i], *close = &c->tags[open->match];
	struct edges at = edges_of(c, open->start, open->end);
	struct edges end = edges_of(c, close->start, close->end);
	struct edges both = edges_of(c, open->start, close->end);
	struct span indent = { "", 0 };

	emit_text(c, pos, at.from);
	size_t number = c->nops;
	struct op *op = op_add(c, OP_BLOCK, open);

	op->sym = mustache_sym(c->set, open->name.p, open->name.n);
	if (at.alone) {
		op->bol = false;
		op->site = SITE_LINES;
		indent = first_indent(c, at.to, close->start);
	} else if (both.alone) {
		op->site = SITE_INLINE;
		indent = blanks_at(c, both.from);
	}
	op->indent = pool_add(c, dedented(c, indent));
	emit_body(c, number, i, at.to, &end);
	return end.to;
}

/* {{$x}} directly inside a parent's tag: what replaces the parent's block. */
static void
emit_arg(struct compiler *c, size_t i, size_t slot)
{
	const struct tag *open = &c->tags[i], *close = &c->tags[open->match];
	struct span dedent = c->dedent;
	size_t from = open->end, to = close->start, begin, next;
	uint32_t sym = mustache_sym(c->set, open->name.p, open->name.n);
	struct arg arg = { .sym = sym, .from = (uint32_t)c->nops };

	/* Text around it inside the parent's tag counts for nothing. */
	if (clean_behind(c, from, &next) && next > from && next <= to) {
		from = next;
		arg.bol = true;
	}
	if (clean_before(c, to, &begin) && begin >= from)
		to = begin;
	c->dedent =
	    arg.bol ? first_indent(c, from, to) : (struct span){ "", 0 };
	c->bol = false;
	c->barrier = c->nops;
	emit_range(c, i + 1, open->match, from, to);
	c->bol = false;
	c->barrier = c->nops;
	c->dedent = dedent;
	arg.to = (uint32_t)c->nops;
	c->args[slot] = arg;
}

static size_t
emit_parent(struct compiler *c, size_t i, size_t pos)
{
	const struct tag *open = &c->tags[i], *close = &c->tags[open->match];
	struct edges at = edges_of(c, open->start, close->end);

	emit_text(c, pos, at.from);
	size_t number = c->nops;
	struct op *op = op_add(c, OP_PARENT, open);

	op->sym = mustache_sym(c->set, open->name.p, open->name.n);
	op->own_line = at.alone;
	if (at.alone) {
		op->bol = false;
		op->indent = pool_add(c, dedented(c, blanks_at(c, at.from)));
	}
	/* Slots first: arguments that hold parents add slots of their own. */
	uint32_t slot = (uint32_t)c->nargs, count = 0;

	for (size_t t = i + 1; t < open->match; t++) {
		if (c->tags[t].arg) {
			c->args = grown(
			    c->args, c->nargs, &c->capargs, sizeof *c->args);
			c->nargs++;
			count++;
		}
		if (c->tags[t].match > t)
			t = c->tags[t].match;
	}
	op->args = (struct slice){ slot, count };
	for (size_t t = i + 1; t < open->match; t++) {
		if (c->tags[t].arg)
			emit_arg(c, t, slot++);
		if (c->tags[t].match > t)
			t = c->tags[t].match;
	}
	c->ops[number].next = (uint32_t)c->nops;
	c->barrier = c->nops;
	return at.to;
}

static size_t
emit_tag(struct compiler *c, size_t i, size_t pos)
{
	const struct tag *tag = &c->tags[i];

	switch (tag->kind) {
	case '#':
	case '^':
		return emit_section(c, i, pos);
	case '>':
		return emit_partial(c, i, pos);
	case '$':
		return emit_block(c, i, pos);
	case '<':
		return emit_parent(c, i, pos);
	case '!':
	case '=': {
		struct edges at = edges_of(c, tag->start, tag->end);

		emit_text(c, pos, at.from);
		if (!at.alone && begins_line(c, tag->start))
			c->bol = true;
		return at.to;
	}
	default:
		emit_text(c, pos, tag->start);
		struct op *op =
		    op_add(c, tag->kind == '&' ? OP_RAW : OP_ESCAPED, tag);

		op->name = name_add(c, tag->name);
		return tag->end;
	}
}

/* The tags [i, end) and the text [from, to) around them. */
static void
emit_range(struct compiler *c, size_t i, size_t end, size_t from, size_t to)
{
	for (; i < end; i++) {
		from = emit_tag(c, i, from);
		if (c->tags[i].match > i)
			i = c->tags[i].match;
	}
	emit_text(c, from, to);
}

/* ---- */

enum rc
tpl_compile(struct mustache *set, const char *name, const char *text, size_t n,
    struct tpl **out, struct err *e)
{
	struct compiler c = { .set = set,
		.name = name,
		.src = text,
		.n = n,
		.e = e,
		.open = span_of("{{"),
		.close = span_of("}}"),
		.line = 1 };

	if (n > TEMPLATE_MAX)
		return error_at(&c, 1,
		    "the template is larger than %d bytes: split it into "
		    "partials",
		    TEMPLATE_MAX);
	if (!utf8_valid(text, n)) {
		size_t at = 0, len;

		while ((len = utf8_sequence(text + at, n - at)) > 0)
			at += len;
		return error_at(&c, line_of(&c, at),
		    "not UTF-8: save the file in that encoding");
	}
	enum rc rc = scan(&c);

	if (rc == RC_OK) {
		strbuf_init(&c.pool, n);
		emit_range(&c, 0, c.ntags, 0, n);
		struct tpl *tpl = xmalloc(sizeof *tpl);

		*tpl = (struct tpl){ .name = xstrdup(name),
			.ops = c.ops,
			.nops = c.nops,
			.parts = c.parts,
			.args = c.args,
			.pool = c.pool.s }; /* takes the buffer's memory */
		*out = tpl;
	}
	free(c.tags);
	return rc;
}

void
tpl_free(struct tpl *tpl)
{
	if (tpl == NULL)
		return;
	free(tpl->name);
	free(tpl->ops);
	free(tpl->parts);
	free(tpl->args);
	free(tpl->pool);
	free(tpl);
}
