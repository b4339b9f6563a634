/*
 * pack - an answer as it is kept in the cache: made once, compressed once, then
 * only copied out.
 */
#ifndef FCGI_APP_PACK_H
#define FCGI_APP_PACK_H

#include "base/err.h"
#include "base/span.h"

struct arena;

enum encoding { ENC_IDENTITY, ENC_GZIP, ENC_BR, ENC_COUNT };

/* What an answer is made of; the strings are borrowed. */
struct pack {
	const char *look;  /* what it was made with (look.h) */
	const char *tag;   /* opaque part of the ETag, without quotes or suffix */
	const char *extra; /* one more header line "Name: value", or "" */
	struct span body[ENC_COUNT]; /* n 0 where it gained nothing */
};

/*
 * Compress body and write all into the arena. tag: NULL: a hash of the body is
 * taken; else that and the hash ("17.5f3a..."). extra may be NULL.
 */
struct span pack_make(struct span body, const char *look, const char *tag,
    const char *extra, struct arena *arena);

/* The opaque tag that pack_make gives this body, in the arena. */
const char *pack_tag(struct span body, const char *tag, struct arena *arena);

/* Read one; *out borrows from packed. RC_FAIL: it is not one (a record of
 * another version of the program). */
enum rc pack_read(struct span packed, struct pack *out, struct err *e);

/* What the client takes, by Accept-Encoding (RFC 9110, 12.5.3); NULL: none
 * sent. Of br and gzip the first that is allowed and that there is. */
enum encoding pack_choose(const struct pack *pack, const char *accept);

/* "gzip", "br"; NULL for identity. */
const char *encoding_name(enum encoding encoding);

#endif
