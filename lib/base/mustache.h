/*
 * mustache - logic-less templates, compiled once, rendered many times.
 * The official specification's core modules and ~inheritance
 * (github.com/mustache/spec); no lambdas, no dynamic names. {{x}} is escaped
 * for HTML, {{{x}}} is not.
 *
 * False are: a missing name, null, false, "" and an empty list. Numbers, 0 too,
 * and objects are true. A string or number as a section is the context of its
 * body, as {{.}}. Objects and lists as {{x}} show nothing.
 */
#ifndef BASE_MUSTACHE_H
#define BASE_MUSTACHE_H

#include <jansson.h>

#include "base/err.h"

struct strbuf;
struct mustache; /* a set of templates that may include each other */

struct mustache *mustache_new(void);
void mustache_free(struct mustache *set); /* NULL is allowed */

/*
 * Compile one template under a name; replaces one of that name. RC_INVALID: a
 * syntax error, msg "name:line: what is wrong and what to do"; the set is as
 * before. At most 1 MiB of UTF-8, tags nested 64 deep.
 */
enum rc mustache_add(struct mustache *set, const char *name, const char *text,
    size_t n, struct err *e);

/*
 * Every *.mustache below dir, named by its relative path without the ending
 * ("product", "parts/price"). Names that begin with '.' are passed over.
 * RC_FAIL: a directory or file cannot be read. It goes on after an error and
 * tells the first.
 */
enum rc mustache_add_dir(struct mustache *set, const char *dir, struct err *e);

/*
 * Every partial and parent that a template names is there, and none includes
 * itself whatever the data; else RC_INVALID with which one and where.
 * (Rendering treats a missing partial as empty, as the specification says.)
 */
enum rc mustache_check(const struct mustache *set, struct err *e);

/*
 * Render a template onto out. ctx: the stack of contexts, at most 64, the last
 * one is looked into first; borrowed. RC_FAIL, and out as it was: no such
 * template; partials and sections nested deeper than 64 (a partial that
 * includes itself without end); more than a million turns of sections, or
 * 16 MiB of output (lists within lists).
 */
enum rc mustache_render(const struct mustache *set, const char *name, int n,
    const json_t *const ctx[], struct strbuf *out, struct err *e);

#endif
