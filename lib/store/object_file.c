/*
 * file: - a folder that a web server may serve.
 *
 * An object is written into .souk-tmp/, a hidden folder beside the others and
 * so on the same file system, brought to the disk, and renamed to its name:
 * whoever reads sees the old object or the new one, whole, also after a power
 * cut. What a killed process leaves there is removed by whoever opens the store
 * a day later. (O_TMPFILE leaves nothing, but linkat(2) does not replace: a
 * name for the rename would be needed all the same.)
 *
 * Folders are walked part by part with O_NOFOLLOW, and a key holds no "..": so
 * nothing below the store leads out of it, whatever somebody has put there.
 * (openat2(2) says the same in one call, but not everywhere, and a second way
 * would be one that is seldom tested.) The store's folder itself may be a
 * symbolic link. Empty folders stay: removing them would race with a put.
 *
 * No file beside an object says what it is: the type is the extension's, as
 * the web server does it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/object_int.h"

#define TMP_FOLDER ".souk-tmp"

enum {
	CHUNK = 64 << 10,
	TMP_OLD_S = 86400,
	TMP_LOOK = 10000 /* at most so many at one opening */
};

struct folder {
	struct object_store base;
	int fd;
	char *path;
	bool give; /* we are root: all is given to the folder's owner */
	uid_t uid;
	gid_t gid;
};

/* ---- folders */

/* What root writes, by soukctl say, the folder's owner must be able to go on
 * with. */
static int
give_away(const struct folder *f, int fd)
{
	return f->give ? fchown(fd, f->uid, f->gid) : 0;
}

/* The folder of that name in dir, made where it is wanted; -1, errno. */
static int
folder_below(
    const struct folder *f, int dir, const char *name, bool make, mode_t mode)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dir, name, flags);

	if (fd >= 0 || errno != ENOENT || !make)
		return fd;
	if (mkdirat(dir, name, mode) != 0 && errno != EEXIST)
		return -1;
	fd = openat(dir, name, flags);
	/* The web server is somebody else, whatever our umask. */
	if (fd >= 0 &&
	    (fchmod(fd, mode) != 0 || give_away(f, fd) != 0 ||
		fsync(dir) != 0) &&
	    errno != EPERM && errno != EINVAL) {
		int error = errno;

		(void)close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* The folder that key's last part is in; *name: that part. -1, errno. To be
 * closed by folder_done(). */
static int
folder_of(const struct folder *f, const char *key, bool make, const char **name)
{
	int dir = f->fd;

	for (;;) {
		size_t n = strcspn(key, "/");
		char part[256];
		int below;

		if (key[n] == '\0') {
			*name = key;
			return dir;
		}
		below = -1;
		if (n < sizeof part) {
			memcpy(part, key, n);
			part[n] = '\0';
			below = folder_below(f, dir, part, make, 0755);
		} else {
			errno = ENAMETOOLONG;
		}
		if (dir != f->fd) {
			int error = errno;

			(void)close(dir);
			errno = error;
		}
		if (below < 0)
			return -1;
		dir = below;
		key += n + 1;
	}
}

static void
folder_done(const struct folder *f, int dir)
{
	if (dir != f->fd)
		(void)close(dir);
}

/* ---- opening */

/* What a killed process has left; a reader may not be allowed to, so errors
 * are nobody's. */
static void
tmp_clean(const struct folder *f)
{
	int fd = folder_below(f, f->fd, TMP_FOLDER, false, 0);
	int64_t old = clock_wall_ms() / 1000 - TMP_OLD_S;
	DIR *dp = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	struct stat st;

	if (dp == NULL) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	for (int i = 0; i < TMP_LOOK && (d = readdir(dp)) != NULL; i++) {
		if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    !S_ISDIR(st.st_mode) && st.st_mtime < old)
			(void)unlinkat(fd, d->d_name, 0);
	}
	closedir(dp);
}

static bool
file_url_ok(const char *url)
{
	return url[strlen("file:")] == '/';
}

static enum rc
file_open(
    const struct object_opts *opts, struct object_store **out, struct err *e)
{
	const char *path = opts->url + strlen("file:");
	struct folder *f;
	struct stat st;
	int fd;

	if (!file_url_ok(opts->url))
		return err_set(e, RC_INVALID, "bad_configuration",
		    "%.200s: file: wants a whole path, such as "
		    "file:/var/lib/souk/media",
		    opts->url);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, RC_INVALID, "bad_configuration",
		    "%.200s: %s; a folder is wanted", opts->url,
		    strerror(errno));
	f = xcalloc(1, sizeof *f);
	f->base.driver = &object_file;
	f->fd = fd;
	f->path = xstrdup(path);
	if (geteuid() == 0 && fstat(fd, &st) == 0) {
		f->give = true;
		f->uid = st.st_uid;
		f->gid = st.st_gid;
	}
	tmp_clean(f);
	*out = &f->base;
	return RC_OK;
}

static void
file_close(struct object_store *store)
{
	struct folder *f = (struct folder *)store;

	(void)close(f->fd);
	free(f->path);
	free(f);
}

/* ---- keys and errors */

/* Our own folder holds no objects. */
static bool
is_hidden(const char *key)
{
	size_t n = strlen(TMP_FOLDER);

	return strncmp(key, TMP_FOLDER, n) == 0 &&
	       (key[n] == '/' || key[n] == '\0');
}

static bool
is_absent(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP ||
	       error == EISDIR || error == ENAMETOOLONG || error == ENXIO;
}

static enum rc
put_errno(int error, const struct folder *f, const char *key, struct err *e)
{
	switch (error) {
	case ENAMETOOLONG:
		return err_set(e, RC_INVALID, "bad_object_key",
		    "A part of an object's key in a folder has 255 bytes at "
		    "most");
	case ENOTDIR:
	case ELOOP:
	case EISDIR:
	case ENOTEMPTY:
	case EEXIST:
		return err_set(e, RC_INVALID, "object_in_the_way",
		    "%.200s: something else lies there: a folder in place of "
		    "an object, or an object or symbolic link in place of a "
		    "folder",
		    key);
	case EXDEV:
		return err_set(e, RC_FAIL, "object_store",
		    "%.200s: a store must be one file system, with its "
		    "folders",
		    f->path);
	default:
		return object_errno(error, f->path, e);
	}
}

static const char *
type_of(const char *key)
{
	static const struct {
		const char *extension, *type;
	} types[] = {
		{ "avif", "image/avif" },
		{ "css", "text/css" },
		{ "csv", "text/csv" },
		{ "gif", "image/gif" },
		{ "html", "text/html" },
		{ "jpeg", "image/jpeg" },
		{ "jpg", "image/jpeg" },
		{ "js", "text/javascript" },
		{ "json", "application/json" },
		{ "mp4", "video/mp4" },
		{ "pdf", "application/pdf" },
		{ "png", "image/png" },
		{ "svg", "image/svg+xml" },
		{ "txt", "text/plain" },
		{ "webm", "video/webm" },
		{ "webp", "image/webp" },
		{ "zip", "application/zip" },
	};
	const char *dot = strrchr(key, '.'); /* none of them has a '/' */

	for (size_t i = 0; dot != NULL && i < sizeof types / sizeof *types;
	     i++) {
		if (strcasecmp(dot + 1, types[i].extension) == 0)
			return types[i].type;
	}
	return "application/octet-stream";
}

/* ---- writing */

/* On the disk; 0 or errno. Some file systems have no fsync(2). */
static int
sync_fd(int fd)
{
	return fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
}

static enum rc
copy_in(const struct folder *f, const struct object_source *from, int fd,
    struct err *e)
{
	char *buf = from->fd < 0 ? NULL : xmalloc(CHUNK);
	enum rc rc = RC_OK;
	int error = 0;

	for (int64_t at = 0; rc == RC_OK && error == 0 && at < from->size;) {
		int64_t left = from->size - at;
		size_t n = left < CHUNK || buf == NULL ? (size_t)left : CHUNK;
		struct span s;

		rc = object_source_read(from, at, n, buf, &s, e);
		if (rc == RC_OK)
			error = object_write_all(fd, s);
		at += (int64_t)n;
	}
	free(buf);
	if (rc == RC_OK && error == 0 && fchmod(fd, 0644) != 0)
		error = errno;
	(void)!give_away(f, fd); /* it can be read all the same */
	if (rc == RC_OK && error == 0)
		error = sync_fd(fd);
	return error == 0 ? rc : object_errno(error, f->path, e);
}

/* A new file in tmp, whole and on the disk. */
static enum rc
tmp_write(const struct folder *f, int tmp, const char *name,
    const struct object_source *from, struct err *e)
{
	int fd = openat(tmp, name,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	enum rc rc;

	if (fd < 0)
		return object_errno(errno, f->path, e);
	rc = copy_in(f, from, fd, e);
	if (close(fd) != 0 && rc == RC_OK)
		rc = object_errno(errno, f->path, e);
	if (rc != RC_OK)
		(void)unlinkat(tmp, name, 0);
	return rc;
}

static enum rc
file_put(struct object_store *store, const char *key,
    const struct object_source *from, const struct object_meta *meta,
    struct arena *arena, struct err *e)
{
	struct folder *f = (struct folder *)store;
	const char *name = NULL;
	int dir = -1, tmp = -1;
	char random[33];
	enum rc rc;

	(void)meta;
	(void)arena;
	if (is_hidden(key))
		return err_set(e, RC_INVALID, "bad_object_key",
		    "%s is the store's own folder", TMP_FOLDER);
	if ((dir = folder_of(f, key, true, &name)) < 0)
		return put_errno(errno, f, key, e);
	if ((tmp = folder_below(f, f->fd, TMP_FOLDER, true, 0700)) < 0) {
		rc = put_errno(errno, f, TMP_FOLDER, e);
		goto out;
	}
	text_random_id(random);
	if ((rc = tmp_write(f, tmp, random, from, e)) != RC_OK)
		goto out;
	if (renameat(tmp, random, dir, name) != 0) {
		rc = put_errno(errno, f, key, e);
		(void)unlinkat(tmp, random, 0);
	} else if (sync_fd(dir) != 0) {
		rc = object_errno(errno, f->path, e);
	}
out:
	if (tmp >= 0)
		(void)close(tmp);
	folder_done(f, dir);
	return rc;
}

/* ---- reading */

/* *fd: to be closed. */
static enum rc
file_find(const struct folder *f, const char *key, int *fd,
    struct object_meta *meta, struct err *e)
{
	int dir = -1, error = ENOENT;
	const char *name = NULL;
	struct stat st;

	*fd = -1;
	if (is_hidden(key))
		return object_none(key, e);
	if ((dir = folder_of(f, key, false, &name)) < 0) {
		error = errno;
	} else {
		/* O_NONBLOCK: it may be a pipe that somebody has put there. */
		*fd = openat(
		    dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		error = *fd < 0 || fstat(*fd, &st) != 0 ? errno : 0;
		folder_done(f, dir);
	}
	if (error == 0 && S_ISREG(st.st_mode)) {
		*meta = (struct object_meta){ .type = type_of(key),
			.cache_control = "",
			.size = st.st_size };
		return RC_OK;
	}
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	return error == 0 || is_absent(error) ? object_none(key, e)
					      : object_errno(error, f->path, e);
}

static enum rc
copy_out(const struct folder *f, int fd, const char *key, int64_t size,
    struct object_sink *into, struct err *e)
{
	char *buf = xmalloc(CHUNK);
	enum rc rc = RC_OK;

	while (rc == RC_OK && size > 0) {
		ssize_t n = read(fd, buf, size < CHUNK ? (size_t)size : CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = object_errno(errno, f->path, e);
		else if (n == 0)
			rc = err_set(e, RC_RETRY, "object_changed",
			    "%.200s: cut while it was read", key);
		else
			rc = object_sink_add(
			    into, (struct span){ buf, (size_t)n }, e);
		size -= n;
	}
	free(buf);
	return rc;
}

static enum rc
file_get(struct object_store *store, const char *key, int64_t max,
    struct object_sink *into, struct arena *arena, struct object_meta *meta,
    struct err *e)
{
	struct folder *f = (struct folder *)store;
	struct object_meta found;
	enum rc rc;
	int fd;

	(void)arena;
	if ((rc = file_find(f, key, &fd, &found, e)) != RC_OK)
		return rc;
	if (found.size > max) {
		rc = object_too_large(key, found.size, max, e);
	} else {
		object_sink_begin(into, found.size);
		rc = copy_out(f, fd, key, found.size, into, e);
	}
	(void)close(fd);
	if (rc == RC_OK && meta != NULL)
		*meta = found;
	return rc;
}

static enum rc
file_head(struct object_store *store, const char *key, struct arena *arena,
    struct object_meta *meta, struct err *e)
{
	int fd;
	enum rc rc = file_find((struct folder *)store, key, &fd, meta, e);

	(void)arena;
	if (rc == RC_OK)
		(void)close(fd);
	return rc;
}

static enum rc
file_delete(struct object_store *store, const char *key, struct arena *arena,
    struct err *e)
{
	struct folder *f = (struct folder *)store;
	const char *name = NULL;
	int dir, error = 0;

	(void)arena;
	if (is_hidden(key))
		return RC_OK;
	if ((dir = folder_of(f, key, false, &name)) < 0) {
		error = errno;
	} else {
		/* Until it is on the disk: it may have to be gone for good. */
		error = unlinkat(dir, name, 0) != 0 ? errno : sync_fd(dir);
		folder_done(f, dir);
	}
	return error == 0 || is_absent(error) ? RC_OK
					      : object_errno(error, f->path, e);
}

static enum rc
file_presign(struct object_store *store, const char *key, int64_t seconds,
    struct arena *arena, const char **url, struct err *e)
{
	(void)store;
	(void)seconds;
	(void)arena;
	(void)url;
	return err_set(e, RC_REFUSED, "no_presign",
	    "%.200s: in a folder; the web server serves it", key);
}

const struct object_driver object_file = { "file:", file_url_ok, file_open,
	file_close, file_put, file_get, file_head, file_delete, file_presign };
