#include "base/doing.h"

#include <string.h>

/*
 * Not snprintf: this runs several times a request. The last byte is never
 * written after the memory was zeroed, so a reader always finds an end.
 */
void
doing_set(struct doing *doing, const char *what, const char *detail)
{
	size_t i = 0;

	if (doing == NULL)
		return;
	while (i < sizeof doing->what - 1 && *what != '\0')
		doing->what[i++] = *what++;
	if (detail != NULL && i < sizeof doing->what - 1) {
		doing->what[i++] = ' ';
		while (i < sizeof doing->what - 1 && *detail != '\0')
			doing->what[i++] = *detail++;
	}
	doing->what[i] = '\0';
}
