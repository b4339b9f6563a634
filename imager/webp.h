/*
 * webp - a WebP file without what is no picture in it.
 */
#ifndef IMAGER_WEBP_H
#define IMAGER_WEBP_H

#include <stddef.h>

/*
 * Takes Exif, XMP and profiles out of a WebP file, in place, and the extended
 * header where nothing needs it any more. Returns its new size; n, with
 * nothing changed, where it is not built as it should be.
 */
size_t webp_strip(unsigned char *p, size_t n);

#endif
