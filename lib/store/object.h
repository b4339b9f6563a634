/*
 * object - where pictures and other files lie: `file:PATH`, a folder that the
 * web server may serve, or `s3://BUCKET[/PREFIX]`. A driver is one struct of
 * functions in a file of its own.
 *
 * A key is UTF-8, 1..1000 bytes, parts of '/', none of them empty, "." or "..",
 * no NUL, no control characters: RC_INVALID "bad_object_key". Writing is whole
 * or not at all: a reader never sees half of an object.
 */
#ifndef STORE_OBJECT_H
#define STORE_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;
struct aws_cred;
struct object_store;

struct object_opts {
	const char *url;       /* "file:/var/lib/souk/media", "s3://bucket" */
	const char *region;    /* s3; "" the credentials' */
	const char *endpoint;  /* s3; "" AWS's; else path-style addressing */
	struct aws_cred *cred; /* s3; borrowed */
	int timeout_ms;        /* without any byte moving */
};

/* Gives *out. RC_INVALID: an address that no driver knows, a folder that is
 * none. */
enum rc object_open(
    const struct object_opts *opts, struct object_store **out, struct err *e);
void object_close(struct object_store *store); /* NULL is allowed */

struct object_meta {
	const char *type;          /* "image/webp" */
	const char *cache_control; /* "" none */
	int64_t size;
};

/* Replaces what is there. In parts (multipart) from 16 MiB on. */
enum rc object_put(struct object_store *store, const char *key,
    struct span body, const struct object_meta *meta, struct arena *arena,
    struct err *e);
/* The same from a file's descriptor, from its beginning, size bytes; never
 * whole in memory. */
enum rc object_put_fd(struct object_store *store, const char *key, int fd,
    const struct object_meta *meta, struct arena *arena, struct err *e);

/* In the arena. RC_NONE "no_such_object"; RC_REFUSED "object_too_large": over
 * max bytes. */
enum rc object_get(struct object_store *store, const char *key, int64_t max,
    struct arena *arena, struct span *out, struct object_meta *meta,
    struct err *e);
/* Into a descriptor; never whole in memory. */
enum rc object_get_fd(struct object_store *store, const char *key, int64_t max,
    int fd, struct arena *arena, struct object_meta *meta, struct err *e);

/* RC_NONE: there is none. */
enum rc object_head(struct object_store *store, const char *key,
    struct arena *arena, struct object_meta *meta, struct err *e);

/* RC_OK also where there was none. */
enum rc object_delete(struct object_store *store, const char *key,
    struct arena *arena, struct err *e);

/* An address under which anybody may read it for seconds; file: RC_REFUSED
 * "no_presign": the web server serves it. */
enum rc object_presign(struct object_store *store, const char *key,
    int64_t seconds, struct arena *arena, const char **url, struct err *e);

#endif
