#include "base/xmalloc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
xmalloc_failed(void)
{
	static const char msg[] = "out of memory\n";

	/* Nothing here may allocate. */
	(void)!write(STDERR_FILENO, msg, sizeof msg - 1);
	_exit(EXIT_AGAIN);
}

void *
xmalloc(size_t size)
{
	void *p = malloc(size == 0 ? 1 : size);

	if (p == NULL)
		xmalloc_failed();
	return p;
}

void *
xcalloc(size_t count, size_t size)
{
	void *p = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);

	if (p == NULL)
		xmalloc_failed();
	return p;
}

void *
xrealloc(void *p, size_t size)
{
	void *q = realloc(p, size == 0 ? 1 : size);

	if (q == NULL)
		xmalloc_failed();
	return q;
}

char *
xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *
xstrndup(const char *s, size_t n)
{
	char *p = xmalloc(n + 1);

	if (n > 0)
		memcpy(p, s, n);
	p[n] = '\0';
	return p;
}
