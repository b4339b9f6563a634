/*
 * sniff - what a file is, by its first bytes alone.
 * Only what this says is of a type ever reaches that type's decoder.
 */
#ifndef IMAGER_SNIFF_H
#define IMAGER_SNIFF_H

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

#endif
