/*
 * text - checks and small parsers for what comes from outside.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates. */
bool utf8_valid(const char *s, size_t n);

/* Bytes of the character at s (n > 0), 0 where it is not well-formed. */
size_t utf8_sequence(const char *s, size_t n);

/* Bytes of the longest prefix of at most max bytes that cuts no character. */
size_t utf8_cut(const char *s, size_t n, size_t max);

/* No control characters but tab and line ends: may be shown as it is. */
bool text_plain(const char *s);

/* Nothing but white space, if anything. */
bool text_blank(const char *s);

/* An address that secrets may be sent to: https://, or http:// with a port on
 * this host itself (127.0.0.1, localhost, [::1]). */
bool text_is_secure_url(const char *s);

/* Decimal, whole span, no sign but '-', no space; within [min, max]. */
bool text_int(struct span s, int64_t min, int64_t max, int64_t *out);

/* The other way round: value as decimal digits and a NUL. Returns out. */
enum { TEXT_NUM = 21 };
char *text_num(int64_t value, char out[TEXT_NUM]);

/* 64 lower-case hex digits at most: n bytes as 2n digits and a NUL. */
void text_hex(const unsigned char *p, size_t n, char *out);

/* 128 random bits as 32 hex digits and a NUL. */
void text_random_id(char out[33]);

#endif
