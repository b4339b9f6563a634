/*
 * arena - memory that lives as long as one request, task or event.
 * Nothing in it is freed by hand; arena_reset() ends the lifetime of all of it
 * at once and keeps a bounded part of the memory for the next one.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct arena;

struct arena *arena_new(void); /* never NULL */
void arena_free(struct arena *arena); /* NULL is allowed */

/* Ends the life of all that was allocated. Keeps at most 256 KiB. */
void arena_reset(struct arena *arena);

/* Bytes handed out since the last reset: what a cap is checked against. */
size_t arena_used(const struct arena *arena);

/*
 * All of these return memory in the arena, aligned for any type, never NULL.
 * arena_alloc leaves it uninitialised, arena_calloc zeroes it. The string
 * functions copy and end with a NUL.
 */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_calloc(struct arena *arena, size_t count, size_t size);
void *arena_memdup(struct arena *arena, const void *p, size_t size);
char *arena_strdup(struct arena *arena, const char *s);
char *arena_strndup(struct arena *arena, const char *s, size_t n);
char *arena_concat(struct arena *arena, ...)
    __attribute__((sentinel)); /* of const char *, NULL at the end */
char *arena_concat(struct arena *arena, ...)
    __attribute__((sentinel)); /* strings, NULL at the end */
char *arena_printf(struct arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

#endif
