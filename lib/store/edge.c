/*
 * edge - see the header.
 *
 *	DIR/item/2c/b7f54b2df7773722d382f4809d65022c
 *	         |  MD5 of the key, in hex
 *	         its last two digits (levels=2)
 *
 * A purged file is removed. nginx finds it gone, takes that for a miss, and its
 * cache_lock lets one request through to write it anew while the others wait.
 * (Tried and dropped: to overwrite the version word at the start of the file,
 * which nginx takes for a miss too, but without that lock: of 10,000 clients of
 * a hot page each one then reached the application.) What a purge leaves is
 * that nginx still counts the file: one that nobody asks for again is logged,
 * `unlink() ... failed`, when its time (`inactive`) is over.
 *
 * A response that nginx receives at this moment is renamed into place after
 * we were here: whoever purges does it again a moment later (invalidation.c).
 */
#include "store/edge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <md5.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"

#define NAME_LEN 32 /* an MD5 in hex */

struct edge {
	char *dir; /* NULL: none */
};

struct edge *
edge_new(const char *dir)
{
	struct edge *edge = xcalloc(1, sizeof *edge);

	if (dir != NULL && dir[0] != '\0')
		edge->dir = xstrdup(dir);
	return edge;
}

void
edge_free(struct edge *edge)
{
	if (edge == NULL)
		return;
	free(edge->dir);
	free(edge);
}

const char *
edge_dir(const struct edge *edge)
{
	return edge->dir == NULL ? "" : edge->dir;
}

static enum rc
edge_error(struct err *e, const char *path, int err)
{
	return err_set(e, RC_FAIL, "edge_purge",
	    "%s: %s (the shop's user must be nginx's, or may write there)",
	    path, strerror(err));
}

/* One file, named relative to dirfd. No such file: done. */
static enum rc
edge_remove(int dirfd, const char *path, struct err *e)
{
	if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT ||
	    errno == ENOTDIR)
		return RC_OK;
	return edge_error(e, path, errno);
}

enum rc
edge_purge_item(struct edge *edge, const char *path, struct err *e)
{
	static const char *const encodings[] = { "identity", "gzip", "br" };
	struct strbuf key, file;
	enum rc rc = RC_OK;

	if (edge->dir == NULL)
		return RC_OK;
	strbuf_init(&key, 256);
	strbuf_init(&file, 256);
	for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
		unsigned char digest[MD5_DIGEST_LENGTH];
		char hex[NAME_LEN + 1];
		MD5_CTX ctx;
		enum rc one;

		strbuf_reset(&key);
		strbuf_addf(&key, "%s q=&after=&limit= %s", encodings[i], path);
		MD5Init(&ctx);
		MD5Update(&ctx, (const uint8_t *)key.s, key.len);
		MD5Final(digest, &ctx);
		text_hex(digest, sizeof digest, hex);
		strbuf_reset(&file);
		strbuf_addf(
		    &file, "%s/item/%s/%s", edge->dir, hex + NAME_LEN - 2, hex);
		/* The others are purged even where one cannot be. */
		one = edge_remove(AT_FDCWD, file.s, e);
		if (one != RC_OK)
			rc = one;
	}
	strbuf_release(&file);
	strbuf_release(&key);
	return rc;
}

static bool
is_hex(const char *s, size_t n)
{
	return strspn(s, "0123456789abcdef") == n && s[n] == '\0';
}

/* Every entry in one folder: those of a level, or the levels in a zone.
 * Takes fd. What is being written has a longer name and is left alone. */
static enum rc
edge_empty_folder(int fd, size_t name_len, struct err *e)
{
	DIR *dir = fdopendir(fd);
	enum rc rc = RC_OK, one;
	struct dirent *entry;

	if (dir == NULL) {
		(void)close(fd);
		return edge_error(e, "opendir", errno);
	}
	while ((entry = readdir(dir)) != NULL) {
		int sub;

		if (!is_hex(entry->d_name, name_len))
			continue;
		if (name_len == NAME_LEN) {
			one = edge_remove(fd, entry->d_name, e);
		} else {
			sub = openat(fd, entry->d_name,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
			one = sub >= 0 ? edge_empty_folder(sub, NAME_LEN, e)
			      : errno == ENOENT
				  ? RC_OK
				  : edge_error(e, entry->d_name, errno);
		}
		if (one != RC_OK)
			rc = one;
	}
	(void)closedir(dir);
	return rc;
}

static enum rc
edge_purge_zone(struct edge *edge, const char *zone, struct err *e)
{
	struct strbuf path;
	enum rc rc = RC_OK;
	int fd;

	if (edge->dir == NULL)
		return RC_OK;
	strbuf_init(&path, 256);
	strbuf_addf(&path, "%s/%s", edge->dir, zone);
	fd = open(path.s, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		rc = edge_empty_folder(fd, 2, e);
	else if (errno != ENOENT)
		rc = edge_error(e, path.s, errno);
	strbuf_release(&path);
	return rc;
}

enum rc
edge_purge_lists(struct edge *edge, struct err *e)
{
	return edge_purge_zone(edge, "list", e);
}

enum rc
edge_purge_all(struct edge *edge, struct err *e)
{
	enum rc item = edge_purge_zone(edge, "item", e);
	enum rc list = edge_purge_zone(edge, "list", e);

	return item != RC_OK ? item : list;
}

/* ---- what the entries were made with */

enum edge_look
edge_look(struct edge *edge, const char *look)
{
	struct strbuf path;
	char have[128];
	ssize_t n = -1;
	int fd;

	if (edge->dir == NULL)
		return EDGE_LOOK_SAME;
	strbuf_init(&path, 256);
	strbuf_addf(&path, "%s/look", edge->dir);
	fd = open(path.s, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	strbuf_release(&path);
	if (fd >= 0) {
		n = read(fd, have, sizeof have);
		(void)close(fd);
	}
	if (n < 0)
		return EDGE_LOOK_UNKNOWN;
	return (size_t)n == strlen(look) && memcmp(have, look, (size_t)n) == 0
		   ? EDGE_LOOK_SAME
		   : EDGE_LOOK_OTHER;
}

enum rc
edge_set_look(struct edge *edge, const char *look, struct err *e)
{
	size_t n = strlen(look);
	struct strbuf path;
	enum rc rc = RC_OK;
	int fd;

	if (edge->dir == NULL)
		return RC_OK;
	strbuf_init(&path, 256);
	strbuf_addf(&path, "%s/look", edge->dir);
	fd = open(path.s, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	    0664);
	if (fd < 0 || write(fd, look, n) != (ssize_t)n)
		rc = edge_error(e, path.s, errno);
	if (fd >= 0)
		(void)close(fd);
	strbuf_release(&path);
	return rc;
}
