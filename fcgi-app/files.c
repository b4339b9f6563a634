/*
 * Static files and pictures where no web server in front serves them (and for
 * trying out): whole files of bounded size, from one folder each.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/form.h"
#include "fcgi-app/app_int.h"
#include "shop/image.h"

enum { MAX_FILE = 16 << 20 };

/* Pictures first: among what was uploaded nothing else is served, a script
 * from there would be one of our own to the browser. */
static const struct {
	const char *ending, *type;
} types[] = { { ".svg", "image/svg+xml" }, { ".png", "image/png" },
	{ ".jpg", "image/jpeg" }, { ".jpeg", "image/jpeg" },
	{ ".gif", "image/gif" }, { ".webp", "image/webp" },
	{ ".avif", "image/avif" }, { ".ico", "image/x-icon" },
	{ ".css", "text/css; charset=utf-8" },
	{ ".js", "text/javascript; charset=utf-8" }, { ".woff2", "font/woff2" },
	{ ".txt", "text/plain; charset=utf-8" } };

enum { PICTURES = 8, ALL_TYPES = sizeof types / sizeof *types };

static const char *
type_of(const char *name, size_t among)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < among; i++) {
		size_t m = strlen(types[i].ending);

		if (n > m && strcmp(name + n - m, types[i].ending) == 0)
			return types[i].type;
	}
	return NULL;
}

/* Parts of letters, digits, '-', '_' and '.', none that begins with '.'; so
 * never "..", never hidden. */
static bool
name_ok(const char *name)
{
	if (strlen(name) > 255)
		return false;
	for (const char *p = name; *p != '\0';) {
		size_t n = strcspn(p, "/");

		if (n == 0 || *p == '.' ||
		    strspn(p, "abcdefghijklmnopqrstuvwxyz"
			      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") < n)
			return false;
		p += n;
		if (*p == '/' && *++p == '\0')
			return false;
	}
	return *name != '\0';
}

static enum rc
read_whole(int fd, size_t size, struct arena *arena, struct span *out)
{
	char *p = arena_alloc(arena, size);
	size_t got = 0;

	while (got < size) {
		ssize_t n = read(fd, p + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	*out = (struct span){ p, got };
	return got == size ? RC_OK : RC_RETRY;
}

static enum rc
serve(const char *dir, const char *name, size_t among, const char *cache,
    struct request *rq, struct response *rs, struct err *e)
{
	const char *type = type_of(name, among);
	const char *path = arena_printf(rq->arena, "%s/%s", dir, name);
	struct stat st;
	enum rc rc = RC_NONE;
	int fd = -1;

	if (!name_ok(name) || type == NULL ||
	    (fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) <
		0 ||
	    fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    st.st_size > MAX_FILE) {
		(void)err_set(e, RC_NONE, "not_found", "No such file");
		goto out;
	}
	rs->etag = arena_printf(rq->arena, "\"%llx-%llx\"",
	    (unsigned long long)st.st_mtim.tv_sec,
	    (unsigned long long)st.st_size);
	rs->type = type;
	rs->cache = cache;
	rs->status = 200;
	rc = RC_OK;
	if (not_modified(rq, rs->etag)) {
		rs->status = 304;
		rs->type = NULL;
	} else {
		rc = read_whole(fd, (size_t)st.st_size, rq->arena, &rs->body);
	}
out:
	if (fd >= 0)
		(void)close(fd);
	return rc;
}

enum rc
file_static(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	return serve(conf_str(app->conf, "fcgi", "static"), m->name, ALL_TYPES,
	    "public, max-age=31536000, immutable", rq, rs, e);
}

/* Kept for less than it is good: an hour, or as long as a session's
 * credentials, which are fetched anew five minutes before their end. */
static enum rc
redirect(struct app *app, struct request *rq, const char *key,
    struct response *rs, struct err *e)
{
	enum { LINK_S = 3600 };
	const char *url;
	enum rc rc = image_link(app->shop, key, LINK_S, rq->arena, &url, e);

	if (rc != RC_OK)
		return rc;
	rs->status = 302;
	rs->cache = "public, max-age=240";
	response_header(rs, rq->arena, "Location", url);
	return RC_OK;
}

enum rc
file_media(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	enum rc rc = serve(conf_str(app->conf, "fcgi", "media"), m->name,
	    PICTURES, "public, max-age=86400, s-maxage=604800", rq, rs, e);

	return rc == RC_NONE ? redirect(app, rq, m->name, rs, e) : rc;
}
