/*
 * strbuf - bytes that grow.
 * Always ends with a NUL that is not counted; may hold NUL bytes.
 */
#ifndef BASE_STRBUF_H
#define BASE_STRBUF_H

#include <stdarg.h>
#include <stddef.h>

#include "base/span.h"

struct strbuf {
	char *s;    /* never NULL between init and release */
	size_t len; /* without the NUL */
	size_t cap;
};

void strbuf_init(struct strbuf *sb, size_t hint); /* hint: expected bytes */
void strbuf_release(struct strbuf *sb);
void strbuf_reset(struct strbuf *sb); /* empty, memory kept */
void strbuf_grow(struct strbuf *sb, size_t extra);
void strbuf_trunc(struct strbuf *sb, size_t len); /* len <= sb->len */

void strbuf_add(struct strbuf *sb, const void *p, size_t n);
/* Makes it n bytes longer and returns where they are to be written, at once. */
char *strbuf_room(struct strbuf *sb, size_t n);
void strbuf_adds(struct strbuf *sb, const char *s);
void strbuf_addspan(struct strbuf *sb, struct span s);
void strbuf_addc(struct strbuf *sb, char c);
void strbuf_addf(struct strbuf *sb, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void strbuf_vaddf(struct strbuf *sb, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

/* Escaped for the place the name says. */
void strbuf_add_html(struct strbuf *sb, const char *s, size_t n); /* text and
    quoted attributes: & < > " ' */
void strbuf_add_urlarg(struct strbuf *sb, const char *s, size_t n); /* RFC 3986:
    all but unreserved is %XX, upper case */
void strbuf_add_json(struct strbuf *sb, const char *s, size_t n); /* inside the
    quotes of a JSON string (RFC 8259), and safe within <script> */

struct span strbuf_span(const struct strbuf *sb); /* borrows */

#endif
