/*
 * xmalloc - allocation that cannot fail.
 * Out of memory is not handled: the process says so on stderr and ends with
 * 111 (try again); its supervisor starts another. So everything a stranger can
 * make grow has a cap elsewhere.
 */
#ifndef BASE_XMALLOC_H
#define BASE_XMALLOC_H

#include <stddef.h>

/* What a process ends with when a person must act, or when trying again may
 * help (the convention of s6 and daemontools). */
enum { EXIT_PERSON = 100, EXIT_AGAIN = 111 };

/* Never NULL; size 0 gives a valid pointer. Free with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size); /* takes p, gives the new block */
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);

/* Where a library reports that it got no memory (jansson's NULL). */
_Noreturn void xmalloc_failed(void);

#endif
