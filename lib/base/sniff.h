/*
 * sniff - what a file is, by its first bytes alone.
 * Only what this says is of a type ever reaches that type's decoder.
 */
#ifndef BASE_SNIFF_H
#define BASE_SNIFF_H

#include <stdbool.h>

#include "base/span.h"

enum sniff_type {
	SNIFF_UNKNOWN, /* no picture that anybody would know */
	SNIFF_OTHER,   /* a picture or document of a type that is not taken */
	SNIFF_JPEG,
	SNIFF_PNG,
	SNIFF_WEBP,
	SNIFF_GIF,
	SNIFF_AVIF,
};

/* *name (never NULL): "jpeg"; of SNIFF_OTHER and SNIFF_UNKNOWN for a person:
 * "TIFF", "text". */
enum sniff_type sniff(struct span bytes, const char **name);

/* Is it one that is taken? */
static inline bool
sniff_is_picture(enum sniff_type type)
{
	return type != SNIFF_UNKNOWN && type != SNIFF_OTHER;
}

/* The type that a sender's words name, a media type ("image/jpeg") or a file's
 * name; NULL: none of those that are taken. As sniff() names it. */
const char *sniff_claimed(const char *claimed);

#endif
