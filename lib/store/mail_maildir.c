/*
 * maildir: written to tmp/, on the disk, then linked into new/ under the
 * message's id: link(2) does not replace, so of two that deliver one message at
 * once one file comes of it. A reader moves it to cur/ and puts flags after a
 * colon; that is looked for too. (rename(2) would replace what a reader is
 * just about to move.)
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/mail_int.h"

static enum rc
broken(struct err *e, const char *path, int error)
{
	if (error == ENOSPC || error == EDQUOT)
		return err_set(e, RC_RETRY, "mail_full",
		    "maildir %s: no room left on the disk", path);
	if (error == ENOENT)
		return err_set(e, RC_FAIL, "mail_folder",
		    "maildir %s: there is no such folder; make it, owned by "
		    "the workers' user",
		    path);
	return err_set(
	    e, RC_FAIL, "mail_folder", "maildir %s: %s", path, strerror(error));
}

static enum rc
folder_make(const char *path, struct err *e)
{
	struct stat st;

	if (mkdir(path, 0700) != 0 && errno != EEXIST) {
		char above[1024];
		const char *slash = strrchr(path, '/');
		int error = errno;

		if (error != ENOENT || slash == NULL)
			return broken(e, path, error);
		(void)snprintf(
		    above, sizeof above, "%.*s", (int)(slash - path), path);
		return broken(e, above, error);
	}
	if (stat(path, &st) != 0)
		return broken(e, path, errno);
	return S_ISDIR(st.st_mode) ? RC_OK : broken(e, path, ENOTDIR);
}

static enum rc
maildir_open(const struct mail_opts *opts, void **self, struct err *e)
{
	static const char *const subs[] = { "", "/tmp", "/new", "/cur" };
	const char *dir = opts->url + strlen("maildir:");
	size_t n = strlen(dir);
	enum rc rc = RC_OK;
	char path[1024];

	if (dir[0] != '/' || n > 900)
		return err_set(e, RC_INVALID, "bad_value",
		    "[mail] url: maildir: wants a whole path, such as "
		    "maildir:/var/lib/souk/mail");
	while (n > 1 && dir[n - 1] == '/')
		n--;
	for (int i = 0; rc == RC_OK && i < 4; i++) {
		(void)snprintf(
		    path, sizeof path, "%.*s%s", (int)n, dir, subs[i]);
		rc = folder_make(path, e);
	}
	if (rc == RC_OK)
		*self = xstrndup(dir, n);
	return rc;
}

static void
maildir_close(void *self)
{
	free(self);
}

static enum rc
seen_in_new(const char *path, bool *seen, struct err *e)
{
	struct stat st;

	*seen = lstat(path, &st) == 0;
	if (!*seen && errno != ENOENT)
		return broken(e, path, errno);
	return RC_OK;
}

/* "<id>" or "<id>:2,S". */
static enum rc
seen_in_cur(const char *dir, const char *id, bool *seen, struct err *e)
{
	size_t n = strlen(id);
	struct dirent *d;
	DIR *dp = opendir(dir);

	if (dp == NULL)
		return broken(e, dir, errno);
	while (!*seen && (d = readdir(dp)) != NULL)
		*seen = strncmp(d->d_name, id, n) == 0 &&
			(d->d_name[n] == '\0' || d->d_name[n] == ':');
	closedir(dp);
	return RC_OK;
}

static int
write_all(int fd, struct span s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		s.p += n;
		s.n -= (size_t)n;
	}
	return 0;
}

static enum rc
file_write(const char *path, struct span bytes, struct err *e)
{
	int error = 0, fd;

	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return broken(e, path, errno);
	if (write_all(fd, bytes) != 0 || fsync(fd) != 0)
		error = errno;
	if (close(fd) != 0 && error == 0)
		error = errno;
	if (error == 0)
		return RC_OK;
	(void)unlink(path);
	return broken(e, path, error);
}

/* What is in new/ after a power cut, too. */
static enum rc
folder_sync(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return broken(e, path, errno);
	if (fsync(fd) != 0 && errno != EINVAL)
		error = errno;
	(void)close(fd);
	return error == 0 ? RC_OK : broken(e, path, error);
}

static enum rc
deliver(const char *tmp, const char *new, struct err *e)
{
	enum rc rc = RC_OK;

	if (link(tmp, new) == 0 || errno == EEXIST) {
		(void)unlink(tmp);
		return RC_OK;
	}
	/* A file system without links. */
	if (errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK)
		rc = broken(e, new, errno);
	else if (rename(tmp, new) != 0)
		rc = broken(e, new, errno);
	if (rc != RC_OK)
		(void)unlink(tmp);
	return rc;
}

static enum rc
maildir_send(void *self, const struct mail_draft *draft, struct arena *arena,
    struct err *e)
{
	const char *dir = self;
	const char *new = arena_concat(arena, dir, "/new/", draft->id, NULL);
	bool seen = false;
	char random[33];
	char *tmp;
	enum rc rc;

	if ((rc = seen_in_new(new, &seen, e)) != RC_OK)
		return rc;
	if (seen) /* whoever linked it may have died before this */
		return folder_sync(arena_concat(arena, dir, "/new", NULL), e);
	rc = seen_in_cur(
	    arena_concat(arena, dir, "/cur", NULL), draft->id, &seen, e);
	if (rc != RC_OK || seen)
		return rc;
	text_random_id(random);
	tmp = arena_concat(arena, dir, "/tmp/", draft->id, ".", random, NULL);
	if ((rc = file_write(tmp, draft->bytes, e)) != RC_OK)
		return rc;
	if ((rc = deliver(tmp, new, e)) != RC_OK)
		return rc;
	return folder_sync(arena_concat(arena, dir, "/new", NULL), e);
}

const struct mail_driver mail_maildir = { "maildir:", maildir_open,
	maildir_close, maildir_send };
