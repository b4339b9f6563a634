/*
 * object_int - what the files of object share: a driver is one struct of
 * functions in a file of its own. Keys and metas that reach it were checked.
 */
#ifndef STORE_OBJECT_INT_H
#define STORE_OBJECT_INT_H

#include <stdint.h>

#include "base/span.h"
#include "store/object.h"

/* What is put: bytes, or a file. */
struct object_source {
	struct span body; /* where fd is -1 */
	int fd;
	int64_t size;
};

struct object_sink {
	int fd; /* -1: into the arena */
	struct arena *arena;
	char *p;
	size_t n, size;
};

struct object_driver {
	const char *scheme; /* "file:" */
	bool (*url_ok)(const char *url);
	enum rc (*open)(const struct object_opts *opts,
	    struct object_store **out, struct err *e);
	void (*close)(struct object_store *store);
	enum rc (*put)(struct object_store *store, const char *key,
	    const struct object_source *from, const struct object_meta *meta,
	    struct arena *arena, struct err *e);
	enum rc (*get)(struct object_store *store, const char *key, int64_t max,
	    struct object_sink *into, struct arena *arena,
	    struct object_meta *meta, struct err *e);
	enum rc (*head)(struct object_store *store, const char *key,
	    struct arena *arena, struct object_meta *meta, struct err *e);
	enum rc (*delete)(struct object_store *store, const char *key,
	    struct arena *arena, struct err *e);
	enum rc (*presign)(struct object_store *store, const char *key,
	    int64_t seconds, struct arena *arena, const char **url,
	    struct err *e);
};
extern const struct object_driver object_file, object_s3;

/* The first member of each driver's own. */
struct object_store {
	const struct object_driver *driver;
	int64_t deadline; /* 0: none */
};

/* As object.h says of a key. */
bool object_key_ok(const char *key);

/* n bytes of the source from offset. *out borrows the source's memory, or buf,
 * which has room for them. RC_INVALID "object_cut": the file is shorter. */
enum rc object_source_read(const struct object_source *from, int64_t offset,
    size_t n, char *buf, struct span *out, struct err *e);

/* size: of all that will be added. */
void object_sink_begin(struct object_sink *into, int64_t size);
enum rc object_sink_add(
    struct object_sink *into, struct span bytes, struct err *e);

/* What errno means where an object is written: RC_RETRY "object_store_full",
 * RC_FAIL "object_store". */
enum rc object_errno(int error, const char *what, struct err *e);

/* 0 or errno. */
int object_write_all(int fd, struct span s);

enum rc object_none(const char *key, struct err *e);
enum rc object_too_large(
    const char *key, int64_t size, int64_t max, struct err *e);

#endif
