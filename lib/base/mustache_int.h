/*
 * mustache_int - what the three files of mustache share: a compiled template.
 *
 * A template is an array of ops. A container's body follows its op, and `next`
 * is the op behind it. Bytes (literals, keys, indentations) lie in one pool and
 * are named by offset.
 */
#ifndef BASE_MUSTACHE_INT_H
#define BASE_MUSTACHE_INT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	TEMPLATE_MAX = 1 << 20, /* bytes of one template */
	NESTING_MAX = 64        /* of tags in a template; of all at rendering */
};

enum op_kind {
	OP_LITERAL,  /* bytes at .bytes */
	OP_ESCAPED,  /* {{x}}: .name */
	OP_RAW,      /* {{{x}}} or {{&x}}: .name */
	OP_SECTION,  /* {{#x}}: .name, body */
	OP_INVERTED, /* {{^x}}: .name, body */
	OP_PARTIAL,  /* {{>x}}: .sym, .indent */
	OP_PARENT,   /* {{<x}}: .sym, .indent, .args; their ops follow it */
	OP_BLOCK     /* {{$x}}: .sym, .indent, .site; the default is the body */
};

/* How an argument is laid out where it replaces a block's default. */
enum site {
	SITE_MIDLINE, /* other text on its line: no line is indented */
	SITE_INLINE,  /* alone on its line(s): all lines but the first are */
	SITE_LINES    /* the opening tag has a line of its own: all lines are */
};

struct slice {
	uint32_t at, n;
};

struct op {
	uint8_t kind;
	uint8_t site;
	bool bol;      /* at the start of a line of the template: indent here */
	bool own_line; /* OP_PARTIAL, OP_PARENT: standalone */
	uint32_t line; /* in the source, for messages */
	uint32_t next;
	uint32_t sym;
	union {
		struct slice bytes; /* of the pool */
		struct slice name;  /* of the parts; n == 0: "." */
		struct slice args;  /* of the args */
	};
	struct slice indent; /* of the pool */
};

/* {{$x}} inside {{<parent}}: ops [from, to). */
struct arg {
	uint32_t sym, from, to;
	bool bol; /* its first line begins a line */
};

struct tpl {
	char *name;
	struct op *ops;
	size_t nops;
	struct slice *parts; /* keys of dotted names; each ends with a NUL */
	struct arg *args;
	char *pool;
};

struct mustache {
	json_t *syms;      /* names of templates and blocks -> index */
	struct tpl **tpls; /* by symbol; NULL: no such template */
	size_t ntpls, captpls;
};

uint32_t mustache_sym(struct mustache *set, const char *name, size_t n);

/* Gives *out (tpl_free) on RC_OK. */
enum rc tpl_compile(struct mustache *set, const char *name, const char *text,
    size_t n, struct tpl **out, struct err *e);
void tpl_free(struct tpl *tpl); /* NULL is allowed */

#endif
