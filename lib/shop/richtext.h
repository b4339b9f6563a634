/*
 * richtext - descriptions that shopkeepers and their old systems wrote, made
 * safe to show: an allow-list of elements and attributes, serialised anew.
 */
#ifndef SHOP_RICHTEXT_H
#define SHOP_RICHTEXT_H

#include "base/err.h"
#include "base/span.h"

struct arena;

/*
 * html: HTML, or plain text (which becomes paragraphs). *clean: HTML that is
 * safe and well-formed; *summary: its text, at most 300 characters, cut at a
 * word with "..." as one character. Both in the arena; either may be NULL.
 * Cleaning twice gives the same as cleaning once. RC_INVALID: not UTF-8, or
 * larger than 1 MiB, or nested too deep.
 */
enum rc richtext_clean(struct span html, struct arena *arena,
    const char **clean, const char **summary, struct err *e);

#endif
