/*
 * mustache - logic-less templates, compiled once, rendered many times.
 * The official specification's core modules and ~inheritance
 * (github.com/mustache/spec); no lambdas, no dynamic names. {{x}} is escaped
 * for HTML, {{{x}}} is not.
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
 * syntax error, msg "name:line: what is wrong".
 */
enum rc mustache_add(struct mustache *set, const char *name, const char *text,
    size_t n, struct err *e);

/* Every *.mustache below dir, named by its relative path without the ending
 * ("product", "parts/price"). */
enum rc mustache_add_dir(struct mustache *set, const char *dir,
    struct err *e);

/* Every partial and parent that a template names is there, or RC_INVALID with
 * which one and where. (Rendering treats a missing partial as empty, as the
 * specification says.) */
enum rc mustache_check(const struct mustache *set, struct err *e);

/*
 * Render a template onto out. ctx: the stack of contexts, the last one is
 * looked into first; borrowed. RC_FAIL: no such template, or nested deeper
 * than 64 (a partial that includes itself without end).
 */
enum rc mustache_render(const struct mustache *set, const char *name, int n,
    const json_t *const ctx[], struct strbuf *out, struct err *e);

#endif
