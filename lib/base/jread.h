/*
 * jread - reads JSON (RFC 8259) member by member, without building a tree of
 * it: for messages of which a few members are wanted, a tenth of what jansson
 * takes.
 *
 *	struct jread j = jread_new(text);
 *	struct span name;
 *
 *	if (jread_object(&j))
 *		while (jread_member(&j, &name)) {
 *			if (span_is(name, "id"))
 *				id = jread_string(&j, arena);
 *			else
 *				(void)jread_value(&j);
 *		}
 *	if (!jread_end(&j))
 *		... it was none
 *
 * Each member and item must be read by one of these before the next. The text
 * is judged as it is read: what is wrong makes every later call say no, so that
 * it is enough to ask at the end. It takes nothing that jansson or jsonb would
 * not take: no \u0000, no half surrogate, no number beyond 64 bits or a
 * double's range, nothing deeper than JREAD_DEPTH. (A name that comes twice it
 * takes.)
 */
#ifndef BASE_JREAD_H
#define BASE_JREAD_H

#include <stdbool.h>

#include "base/span.h"

struct arena;

enum { JREAD_DEPTH = 256 };

struct jread {
	const char *p, *end;
	bool bad;
	bool fresh; /* just behind a bracket that opens */
	int depth;
};

/* Borrows the text. */
struct jread jread_new(struct span text);

/* Is what comes next of that kind? '"', '{', '[', 't' for true and so on. */
bool jread_is(struct jread *j, char first);

/* Into an object; false: there is none. */
bool jread_object(struct jread *j);
/* The next member, its value next to be read; false: there is none, we are
 * behind the object. *name: as it stands in the text, escapes and all. */
bool jread_member(struct jread *j, struct span *name);

/* The same with an array. */
bool jread_array(struct jread *j);
bool jread_item(struct jread *j);

/* A string without its escapes, in the arena; ends with a NUL and has no other.
 * Where something else stands: NULL, and that was read. */
const char *jread_string(struct jread *j, struct arena *arena);

/* Any value, as it stands in the text; n 0: bad. */
struct span jread_value(struct jread *j);

/* All of it was good, and nothing but white space is left. */
bool jread_end(struct jread *j);

#endif
