#include "base/sniff.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

struct magic {
	enum sniff_type type;
	const char *name;
	size_t at, n;
	const char *bytes;
};

#define MAGIC(type, name, at, bytes)                                           \
	{                                                                      \
		type, name, at, sizeof bytes - 1, bytes                        \
	}
static const struct magic magics[] = {
	MAGIC(SNIFF_JPEG, "jpeg", 0, "\xff\xd8\xff"),
	MAGIC(SNIFF_PNG, "png", 0, "\x89PNG\r\n\x1a\n"),
	MAGIC(SNIFF_GIF, "gif", 0, "GIF87a"),
	MAGIC(SNIFF_GIF, "gif", 0, "GIF89a"),
	MAGIC(SNIFF_OTHER, "TIFF", 0, "II*\0"),
	MAGIC(SNIFF_OTHER, "TIFF", 0, "MM\0*"),
	MAGIC(SNIFF_OTHER, "BMP", 0, "BM"),
	MAGIC(SNIFF_OTHER, "Photoshop", 0, "8BPS"),
	MAGIC(SNIFF_OTHER, "PDF", 0, "%PDF-"),
	MAGIC(SNIFF_OTHER, "PostScript", 0, "%!PS"),
	MAGIC(SNIFF_OTHER, "icon", 0, "\0\0\1\0"),
	MAGIC(SNIFF_OTHER, "JPEG XL", 0, "\xff\x0a"),
	MAGIC(SNIFF_OTHER, "JPEG XL", 0, "\0\0\0\x0cJXL "),
	MAGIC(SNIFF_OTHER, "JPEG 2000", 0, "\0\0\0\x0cjP  "),
	MAGIC(SNIFF_OTHER, "Matroska or WebM", 0, "\x1a\x45\xdf\xa3"),
	MAGIC(SNIFF_UNKNOWN, "a ZIP archive", 0, "PK\3\4"),
	MAGIC(SNIFF_UNKNOWN, "gzip", 0, "\x1f\x8b"),
	MAGIC(SNIFF_UNKNOWN, "a program", 0,
	    "\x7f"
	    "ELF"),
	MAGIC(SNIFF_UNKNOWN, "a program", 0, "MZ"),
};

static bool
has(struct span s, size_t at, const char *bytes, size_t n)
{
	return s.n >= at && s.n - at >= n && memcmp(s.p + at, bytes, n) == 0;
}

/* ISO base media (ISO 14496-12): size, "ftyp", the brand, a version, more
 * brands. AVIF is one of many formats in there, HEIC another. */
static enum sniff_type
sniff_ftyp(struct span s, const char **name)
{
	const unsigned char *u = (const unsigned char *)s.p;
	size_t box = (size_t)u[0] << 24 | (size_t)u[1] << 16 |
		     (size_t)u[2] << 8 | (size_t)u[3];

	if (box > s.n)
		box = s.n;
	for (size_t at = 8; at + 4 <= box && at < 256; at += 4) {
		if (at == 12) /* the version */
			continue;
		if (has(s, at, "avif", 4) || has(s, at, "avis", 4)) {
			*name = "avif";
			return SNIFF_AVIF;
		}
	}
	*name = has(s, 8, "hei", 3) || has(s, 8, "mif1", 4) ? "HEIC" : "video";
	return SNIFF_OTHER;
}

static bool
sniff_text(struct span s)
{
	size_t n = s.n < 512 ? s.n : 512;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < ' ' && c != '\t' && c != '\n' && c != '\r')
			return false;
	}
	/* The last character may be cut. */
	return utf8_valid(s.p, utf8_cut(s.p, s.n, n));
}

enum sniff_type
sniff(struct span s, const char **name)
{
	for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
		const struct magic *m = &magics[i];

		if (has(s, m->at, m->bytes, m->n)) {
			*name = m->name;
			return m->type;
		}
	}
	if (has(s, 0, "RIFF", 4) && has(s, 8, "WEBP", 4)) {
		*name = "webp";
		return SNIFF_WEBP;
	}
	if (has(s, 4, "ftyp", 4) && s.n >= 12)
		return sniff_ftyp(s, name);
	if (s.n == 0) {
		*name = "empty";
		return SNIFF_UNKNOWN;
	}
	if (!sniff_text(s)) {
		*name = "unknown";
		return SNIFF_UNKNOWN;
	}
	for (size_t i = 0; i < s.n && i < 512; i++)
		if (has(s, i, "<svg", 4)) {
			*name = "SVG";
			return SNIFF_OTHER;
		}
	*name = "text";
	return SNIFF_UNKNOWN;
}

const char *
sniff_claimed(const char *claimed)
{
	static const char *const names[][2] = { { "jpeg", "jpeg" },
		{ "jpg", "jpeg" }, { "pjpeg", "jpeg" }, { "jfif", "jpeg" },
		{ "png", "png" }, { "x-png", "png" }, { "webp", "webp" },
		{ "gif", "gif" }, { "avif", "avif" } };
	const char *name;
	size_t n;

	if (claimed == NULL)
		return NULL;
	if (strncasecmp(claimed, "image/", 6) == 0)
		name = claimed + 6;
	else if ((name = strrchr(claimed, '.')) != NULL)
		name++;
	else
		return NULL;
	n = strcspn(name, "; \t");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strlen(names[i][0]) == n &&
		    strncasecmp(name, names[i][0], n) == 0)
			return names[i][1];
	return NULL;
}
