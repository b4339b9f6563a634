/*
 * What may be a key, and which driver an address means. Everything that ends
 * in a path or a header is checked here, once for all drivers.
 */
#include "store/object.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/object_int.h"

enum { KEY_BYTES = 1000, META_BYTES = 500, PRESIGN_SECONDS = 7 * 86400 };

static const struct object_driver *const drivers[] = { &object_file,
	&object_s3 };

static const struct object_driver *
driver_of(const char *url)
{
	for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
		const char *scheme = drivers[i]->scheme;

		if (strncmp(url, scheme, strlen(scheme)) == 0)
			return drivers[i];
	}
	return NULL;
}

bool
object_url_ok(const char *url)
{
	const struct object_driver *driver = driver_of(url);

	return driver != NULL && driver->url_ok(url);
}

enum rc
object_open(
    const struct object_opts *opts, struct object_store **out, struct err *e)
{
	const struct object_driver *driver = driver_of(opts->url);

	if (driver != NULL)
		return driver->open(opts, out, e);
	return err_set(e, RC_INVALID, "bad_configuration",
	    "%.100s: objects lie in file:/PATH or s3://BUCKET[/PREFIX]",
	    opts->url);
}

void
object_close(struct object_store *store)
{
	if (store != NULL)
		store->driver->close(store);
}

void
object_deadline(struct object_store *store, int64_t deadline)
{
	store->deadline = deadline;
}

/* ---- checks */

/* U+0000..U+001F, U+007F..U+009F; of what is UTF-8. */
static bool
has_control(const char *s)
{
	for (const unsigned char *p = (const unsigned char *)s; *p != '\0';
	     p++) {
		if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0))
			return true;
	}
	return false;
}

bool
object_key_ok(const char *key)
{
	size_t n = strnlen(key, KEY_BYTES + 1);

	if (n < 1 || n > KEY_BYTES || !utf8_valid(key, n) || has_control(key))
		return false;
	for (const char *p = key;; p++) {
		size_t part = strcspn(p, "/");

		if (part == 0 || (part == 1 && p[0] == '.') ||
		    (part == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += part;
		if (*p == '\0')
			return true;
	}
}

static enum rc
key_check(const char *key, struct err *e)
{
	if (object_key_ok(key))
		return RC_OK;
	return err_set(e, RC_INVALID, "bad_object_key",
	    "An object's key is UTF-8, 1..%d bytes, its parts not empty, "
	    "\".\" or \"..\"",
	    KEY_BYTES);
}

/* It goes into a header. */
static bool
header_ok(const char *s)
{
	size_t n = strnlen(s, META_BYTES + 1);

	for (size_t i = 0; i < n; i++) {
		if (s[i] < ' ' || s[i] > '~')
			return false;
	}
	return n <= META_BYTES;
}

static enum rc
put_check(const char *key, struct object_meta *meta, struct err *e)
{
	enum rc rc = key_check(key, e);

	if (rc != RC_OK)
		return rc;
	if (meta->type == NULL || *meta->type == '\0')
		meta->type = "application/octet-stream";
	if (meta->cache_control == NULL)
		meta->cache_control = "";
	if (meta->size < 0 || !header_ok(meta->type) ||
	    !header_ok(meta->cache_control))
		return err_set(e, RC_INVALID, "bad_object_meta",
		    "An object's type and Cache-Control are printable ASCII, "
		    "at most %d bytes",
		    META_BYTES);
	return RC_OK;
}

/* ---- what callers ask for */

enum rc
object_put(struct object_store *store, const char *key, struct span body,
    const struct object_meta *meta, struct arena *arena, struct err *e)
{
	struct object_source from = {
		.body = body, .fd = -1, .size = (int64_t)body.n
	};
	struct object_meta checked = *meta;
	enum rc rc;

	checked.size = from.size;
	if ((rc = put_check(key, &checked, e)) != RC_OK)
		return rc;
	return store->driver->put(store, key, &from, &checked, arena, e);
}

enum rc
object_put_fd(struct object_store *store, const char *key, int fd,
    const struct object_meta *meta, struct arena *arena, struct err *e)
{
	struct object_source from = { .fd = fd, .size = meta->size };
	struct object_meta checked = *meta;
	enum rc rc = put_check(key, &checked, e);

	if (rc != RC_OK)
		return rc;
	return store->driver->put(store, key, &from, &checked, arena, e);
}

enum rc
object_get(struct object_store *store, const char *key, int64_t max,
    struct arena *arena, struct span *out, struct object_meta *meta,
    struct err *e)
{
	struct object_sink into = { .fd = -1, .arena = arena };
	enum rc rc = key_check(key, e);

	if (rc == RC_OK)
		rc = store->driver->get(store, key, max, &into, arena, meta, e);
	if (rc == RC_OK)
		*out = (struct span){ into.p, into.n };
	return rc;
}

enum rc
object_get_fd(struct object_store *store, const char *key, int64_t max, int fd,
    struct arena *arena, struct object_meta *meta, struct err *e)
{
	struct object_sink into = { .fd = fd };
	enum rc rc = key_check(key, e);

	if (rc != RC_OK)
		return rc;
	return store->driver->get(store, key, max, &into, arena, meta, e);
}

enum rc
object_head(struct object_store *store, const char *key, struct arena *arena,
    struct object_meta *meta, struct err *e)
{
	enum rc rc = key_check(key, e);

	if (rc != RC_OK)
		return rc;
	return store->driver->head(store, key, arena, meta, e);
}

enum rc
object_delete(struct object_store *store, const char *key, struct arena *arena,
    struct err *e)
{
	enum rc rc = key_check(key, e);

	if (rc != RC_OK)
		return rc;
	return store->driver->delete (store, key, arena, e);
}

enum rc
object_presign(struct object_store *store, const char *key, int64_t seconds,
    struct arena *arena, const char **url, struct err *e)
{
	enum rc rc = key_check(key, e);

	if (rc != RC_OK)
		return rc;
	if (seconds < 1 || seconds > PRESIGN_SECONDS)
		return err_set(e, RC_INVALID, "bad_seconds",
		    "An address is signed for 1..%d seconds", PRESIGN_SECONDS);
	return store->driver->presign(store, key, seconds, arena, url, e);
}

/* ---- for the drivers */

enum rc
object_source_read(const struct object_source *from, int64_t offset, size_t n,
    char *buf, struct span *out, struct err *e)
{
	size_t got = 0;

	assert(offset >= 0 && offset + (int64_t)n <= from->size);
	if (from->fd < 0 || n == 0) {
		/* An empty body may have no address. */
		*out = (struct span){ n == 0 ? "" : from->body.p + offset, n };
		return RC_OK;
	}
	while (got < n) {
		ssize_t r =
		    pread(from->fd, buf + got, n - got, offset + (int64_t)got);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_set(e, RC_FAIL, "object_source",
			    "the file to be put cannot be read: %s",
			    strerror(errno));
		if (r == 0)
			return err_set(e, RC_INVALID, "object_cut",
			    "the file to be put ends at byte %lld of %lld",
			    (long long)offset + (long long)got,
			    (long long)from->size);
		got += (size_t)r;
	}
	*out = (struct span){ buf, n };
	return RC_OK;
}

void
object_sink_begin(struct object_sink *into, int64_t size)
{
	if (into->fd >= 0)
		return;
	into->size = (size_t)size;
	into->p = arena_alloc(into->arena, into->size + 1);
	into->p[0] = '\0';
}

enum rc
object_sink_add(struct object_sink *into, struct span bytes, struct err *e)
{
	int error;

	if (into->fd >= 0) {
		error = object_write_all(into->fd, bytes);
		return error == 0 ? RC_OK : object_errno(error, "the copy", e);
	}
	assert(bytes.n <= into->size - into->n);
	if (bytes.n > 0)
		memcpy(into->p + into->n, bytes.p, bytes.n);
	into->n += bytes.n;
	into->p[into->n] = '\0';
	return RC_OK;
}

int
object_write_all(int fd, struct span s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		s.p += n;
		s.n -= (size_t)n;
	}
	return 0;
}

enum rc
object_errno(int error, const char *what, struct err *e)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return err_set(e, RC_RETRY, "object_store_full",
		    "%.200s: no room left: %s", what, strerror(error));
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return err_set(e, RC_RETRY, "object_store", "%.200s: %s", what,
		    strerror(error));
	default:
		return err_set(e, RC_FAIL, "object_store", "%.200s: %s", what,
		    strerror(error));
	}
}

enum rc
object_none(const char *key, struct err *e)
{
	return err_set(
	    e, RC_NONE, "no_such_object", "There is no object %.200s", key);
}

enum rc
object_too_large(const char *key, int64_t size, int64_t max, struct err *e)
{
	return err_set(e, RC_REFUSED, "object_too_large",
	    "%.200s: %lld bytes, at most %lld are wanted", key, (long long)size,
	    (long long)max);
}
