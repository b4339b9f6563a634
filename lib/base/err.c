#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void
copy_cut(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

enum rc
err_set(struct err *e, enum rc rc, const char *code, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return rc;
	e->rc = rc;
	copy_cut(e->code, sizeof e->code, code);
	if (strchr(fmt, '%') == NULL) {
		/* Refusals are what a crowd gets. */
		copy_cut(e->msg, sizeof e->msg, fmt);
		return rc;
	}
	va_start(ap, fmt);
	(void)vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	for (char *p = e->msg; *p != '\0'; p++) {
		if (*p == '\n' || *p == '\r')
			*p = ' '; /* libpq ends its messages with a newline */
	}
	for (size_t n = strlen(e->msg); n > 0 && e->msg[n - 1] == ' '; n--)
		e->msg[n - 1] = '\0';
	return rc;
}

void
err_prefix(struct err *e, const char *fmt, ...)
{
	char old[sizeof e->msg];
	va_list ap;

	if (e == NULL)
		return;
	memcpy(old, e->msg, sizeof old);
	va_start(ap, fmt);
	int n = vsnprintf(e->msg, sizeof e->msg, fmt, ap);

	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof e->msg)
		(void)snprintf(
		    e->msg + n, sizeof e->msg - (size_t)n, "%s", old);
}

const char *
rc_name(enum rc rc)
{
	static const char *const names[] = { "ok", "none", "refused", "invalid",
		"retry", "fail" };

	return names[rc];
}
