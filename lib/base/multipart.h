/*
 * multipart - a form with files as browsers send it: multipart/form-data
 * (RFC 7578; RFC 2046, section 5.1).
 *
 * The body is whole in memory; nothing of it is copied but the parts' names.
 * What two readers could take for two things is refused rather than guessed at:
 * bare CR or LF in a part's head, folded lines, a parameter that comes twice, a
 * line that begins like a boundary and goes on otherwise.
 */
#ifndef BASE_MULTIPART_H
#define BASE_MULTIPART_H

#include "base/err.h"
#include "base/span.h"

struct arena;

enum {
	MULTIPART_BOUNDARY = 70,  /* characters at most (RFC 2046, 5.1.1) */
	MULTIPART_HEAD = 4 << 10, /* bytes of one part's head at most */
};

struct part {
	const char *name;     /* of the field: UTF-8, no control characters */
	const char *filename; /* the same; NULL: not a file. As sent: may hold
				 '/' and "..", is no name to store by */
	const char *type;     /* media type, lower case, without parameters; ""
				 none was sent */
	struct span body;     /* borrowed from what was parsed */
};

struct parts {
	int n;
	const struct part *p; /* in the order sent; a name may come twice */
};

/*
 * The boundary of a Content-Type header field as sent. RC_INVALID
 * "unsupported_media_type": not multipart/form-data; "bad_boundary": none, two
 * of them, or not one by RFC 2046.
 */
enum rc multipart_boundary(
    const char *content_type, char out[MULTIPART_BOUNDARY + 1], struct err *e);

/*
 * Take a body apart. What stands before the first boundary and after the last
 * is passed over. A body with no part but a right end is a form without fields.
 * *out and its strings are in the arena; it is empty unless RC_OK. RC_INVALID:
 *  "multipart_cut"         it ends before its last boundary
 *  "too_many_parts"        more than max
 *  "part_head_too_large"   more than MULTIPART_HEAD
 *  "bad_multipart"         not as RFC 2046 says, or ambiguous; msg says what
 *  "bad_part"              a part without one form-data disposition and name,
 *                          or in a transfer encoding
 *  "bad_encoding"          a name is not UTF-8, or has control characters
 */
enum rc multipart_parse(struct span body, const char *boundary, int max,
    struct arena *arena, struct parts *out, struct err *e);

/*
 * The one part of that name; *out NULL: there is none. RC_INVALID
 * "duplicate_field": there are two.
 */
enum rc parts_one(const struct parts *parts, const char *name,
    const struct part **out, struct err *e);

#endif
