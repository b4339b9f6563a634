/*
 * form - names and values as browsers send them: query strings, bodies of type
 * application/x-www-form-urlencoded, Cookie headers.
 */
#ifndef BASE_FORM_H
#define BASE_FORM_H

#include "base/err.h"
#include "base/span.h"

struct arena;

struct field {
	const char *name;  /* decoded, UTF-8, no NUL inside */
	const char *value; /* the same; "" where there was no '=' */
};

struct fields {
	int n;
	const struct field *f; /* in the order sent; a name may come twice */
};

/* The first of that name, or NULL. Names are compared to the letter. */
const char *fields_get(const struct fields *fields, const char *name);

/*
 * A query string or form body: pairs between '&', '+' is a space, %XX a byte; a
 * '%' that no two hex digits follow stands for itself, as in browsers. Empty
 * pairs are left out. *out and its strings are in the arena; it is empty unless
 * RC_OK. RC_INVALID: "bad_encoding" (not UTF-8, or a NUL), "too_many_fields".
 */
enum rc form_parse(struct span s, int max, struct arena *arena,
    struct fields *out, struct err *e);

/*
 * The value of a Cookie header (RFC 6265, section 4.2; a list joined by ';').
 * Values are taken as they are, without one pair of quotes around them. What is
 * not a pair, or not UTF-8, is left out: other software on the same domain may
 * have set it. RC_INVALID: "too_many_cookies".
 */
enum rc cookie_parse(struct span s, int max, struct arena *arena,
    struct fields *out, struct err *e);

#endif
