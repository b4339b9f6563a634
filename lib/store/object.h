/*
 * object - where pictures and other files lie: `file:PATH`, a folder that the
 * web server may serve, or `s3://BUCKET[/PREFIX]`. A driver is one struct of
 * functions in a file of its own.
 *
 * A key is UTF-8, 1..1000 bytes, parts of '/', none of them empty, "." or "..",
 * no NUL, no control characters: RC_INVALID "bad_object_key". Writing is whole
 * or not at all: a reader never sees half of an object.
 *
 * file: a part of a key has 255 bytes at most; ".souk-tmp" is the store's own.
 * An object's type is that of its key's extension, and Cache-Control is the web
 * server's. Nothing below the folder may be a symbolic link to be followed.
 * What root writes is given to the folder's owner.
 *
 * s3: a key has 1024 bytes with its prefix. What may pass (throttling, 5xx, a
 * cut connection) is tried five times before it is RC_RETRY.
 *
 * RC_RETRY: "object_store_full", or what aws.h says. RC_FAIL: "object_store" (a
 * folder that may not be written to, a broken disk), "bad_bucket" (none, or in
 * another region), "aws_denied" (also where the credentials may not list the
 * bucket and there is no such object).
 *
 * Not shared between threads; opened after fork().
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
	int timeout_ms;        /* s3; without any byte moving */
};

/* Is it an address, by its form? */
bool object_url_ok(const char *url);

/* Gives *out; asks nobody over the network yet. RC_INVALID: an address that no
 * driver knows, a folder that is none. */
enum rc object_open(
    const struct object_opts *opts, struct object_store **out, struct err *e);
void object_close(struct object_store *store); /* NULL is allowed */

/* Somebody waits for what is asked from here on: s3 ends at this point of the
 * monotonic clock, RC_RETRY, and tries each request once. 0: nobody does. */
void object_deadline(struct object_store *store, int64_t deadline);

struct object_meta {
	const char *type;          /* "image/webp" */
	const char *cache_control; /* "" none */
	int64_t size;
};

/* Replaces what is there. In parts (multipart) from 16 MiB on. meta's size is
 * not read. RC_INVALID: "bad_object_meta"; "object_in_the_way": file: a folder,
 * or a file in the place of one. */
enum rc object_put(struct object_store *store, const char *key,
    struct span body, const struct object_meta *meta, struct arena *arena,
    struct err *e);
/* The same from a file's descriptor, from its beginning, size bytes; of 16 MiB
 * and more never whole in memory. RC_INVALID "object_cut": it is shorter. */
enum rc object_put_fd(struct object_store *store, const char *key, int fd,
    const struct object_meta *meta, struct arena *arena, struct err *e);

/* In the arena, with a NUL behind it that is not counted. RC_NONE
 * "no_such_object"; RC_REFUSED "object_too_large": over max bytes. RC_RETRY
 * "object_changed": replaced while it was read. */
enum rc object_get(struct object_store *store, const char *key, int64_t max,
    struct arena *arena, struct span *out, struct object_meta *meta,
    struct err *e);
/* Into a descriptor, where it stands; never whole in memory. On an error a part
 * of it may have been written. */
enum rc object_get_fd(struct object_store *store, const char *key, int64_t max,
    int fd, struct arena *arena, struct object_meta *meta, struct err *e);

/* RC_NONE: there is none. */
enum rc object_head(struct object_store *store, const char *key,
    struct arena *arena, struct object_meta *meta, struct err *e);

/* RC_OK also where there was none. */
enum rc object_delete(struct object_store *store, const char *key,
    struct arena *arena, struct err *e);

/* An address under which anybody may read it for seconds (1..604800; ends with
 * the credentials, where those are a session's); nobody is asked whether it is
 * there. file: RC_REFUSED "no_presign": the web server serves it. */
enum rc object_presign(struct object_store *store, const char *key,
    int64_t seconds, struct arena *arena, const char **url, struct err *e);

#endif
