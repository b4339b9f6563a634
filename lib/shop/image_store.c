/*
 * Where pictures lie, and what becomes of those that nobody refers to.
 *
 * An object is noted in image_loose before it is stored, in a statement of its
 * own, and struck out in the transaction that refers to it. So whatever a crash
 * leaves stands there, and so does what a deleted row referred to (a trigger
 * notes it). Whoever collects locks a note, looks whether a picture refers to
 * the object after all, deletes it, and the note with it; a worker that is
 * about to store the same bytes waits for that lock, renews the note, and
 * stores them after that. So no object is deleted behind the back of who has
 * stored it, as long as storing takes less than the grace.
 */
#define _GNU_SOURCE /* O_PATH */
#include "config.h"

#include "shop/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/strbuf.h"
#include "base/xmalloc.h"
#include "shop/image_int.h"
#include "shop/queues.h"
#include "shop/shop.h"
#include "store/aws_cred.h"
#include "store/object.h"
#include "store/pg.h"

static const struct pg_stmt image_loose_note = { "image_loose_note",
	"INSERT INTO image_loose (store, key)"
	" SELECT $1, k FROM jsonb_array_elements_text($2::jsonb) k ORDER BY k"
	" ON CONFLICT (store, key) DO UPDATE SET at = excluded.at",
	2 };
static const struct pg_stmt image_loose_strike = { "image_loose_strike",
	"DELETE FROM image_loose WHERE store = $1 AND key = ANY(ARRAY("
	"SELECT jsonb_array_elements_text($2::jsonb)))",
	2 };

static const struct pg_stmt image_loose_take = { "image_loose_take",
	"SELECT store, key FROM image_loose"
	" WHERE at < now() - $1::int8 * interval '1 s'"
	" ORDER BY at LIMIT 1 FOR UPDATE SKIP LOCKED",
	1 };
static const struct pg_stmt image_media_used = { "image_media_used",
	"SELECT EXISTS (SELECT FROM product_image WHERE status = 'ready'"
	" AND variants @> jsonb_build_array(jsonb_build_object('key',"
	"  $1::text)))",
	1 };
static const struct pg_stmt image_original_used = { "image_original_used",
	"SELECT EXISTS (SELECT FROM product_image WHERE original = $1)", 1 };

const struct pg_stmt *const image_store_statements[] = { &image_loose_note,
	&image_loose_strike, &image_loose_take, &image_media_used,
	&image_original_used, NULL };

struct image_stores {
	struct aws_cred *cred;
	struct object_store *store[2]; /* by enum image_store */
};

static const char *const names[] = { "media", "originals" };

/* ---- opening */

static const char *
url_of(const struct conf *conf, enum image_store which, struct arena *arena)
{
	const char *url;

	if (which == IMAGE_ORIGINALS)
		return conf_str(conf, "media", "originals");
	url = conf_str(conf, "media", "store");
	if (*url != '\0')
		return url;
	return arena_concat(
	    arena, "file:", conf_str(conf, "fcgi", "media"), NULL);
}

static const char *
or_else(const struct conf *conf, const char *key)
{
	const char *s = conf_str(conf, "media", key);

	return *s != '\0' ? s : conf_str(conf, "aws", key);
}

enum { DEEPEST = 128 };

/* The folder, or the first above it that is there; -1. */
static int
folder_open(const char *path)
{
	size_t n = strlen(path);
	char *p = xstrdup(path);
	int fd = -1;

	while (n > 0 && (fd = open(p, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) {
		while (n > 0 && p[n - 1] == '/')
			n--;
		while (n > 0 && p[n - 1] != '/')
			n--;
		p[n] = '\0';
	}
	free(p);
	return fd;
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is path the folder outer, or below it? By device and inode all the way up, as
 * one folder has many names. */
static bool
folder_within(const char *path, const char *outer)
{
	struct stat want, here, below = { 0 };
	bool within = false;
	int fd;

	if (stat(outer, &want) != 0 || (fd = folder_open(path)) < 0)
		return false;
	for (int i = 0; i < DEEPEST && fstat(fd, &here) == 0; i++) {
		int up;

		within = is_same(&here, &want);
		if (within || (i > 0 && is_same(&here, &below)))
			break;
		below = here;
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (up < 0)
			break;
		(void)close(fd);
		fd = up;
	}
	(void)close(fd);
	return within;
}

bool
image_originals_public(const struct conf *conf)
{
	const char *originals = conf_str(conf, "media", "originals");
	const char *store = conf_str(conf, "media", "store");

	if (strncmp(originals, "file:", 5) != 0)
		return false;
	return folder_within(originals + 5, conf_str(conf, "fcgi", "media")) ||
	       (strncmp(store, "file:", 5) == 0 &&
		   folder_within(originals + 5, store + 5));
}

/* The last folder is made where it is not there; by root for whose the one
 * above it is. */
static void
folder_make(const char *url, enum image_store which, struct arena *arena)
{
	mode_t mode = which == IMAGE_ORIGINALS ? 0700 : 0755;
	const char *path = url + strlen("file:");
	struct stat above;

	if (strncmp(url, "file:/", 6) != 0 || mkdir(path, mode) != 0)
		return;
	(void)chmod(path, mode); /* whatever the umask */
	if (geteuid() == 0 &&
	    stat(arena_concat(arena, path, "/..", NULL), &above) == 0)
		(void)!chown(path, above.st_uid, above.st_gid);
}

static enum rc
store_open(const struct conf *conf, enum image_store which,
    struct aws_cred *cred, struct object_store **out, struct err *e)
{
	struct arena *arena = arena_new();
	const char *url = url_of(conf, which, arena);
	enum rc rc;

	if (which == IMAGE_ORIGINALS && image_originals_public(conf)) {
		arena_free(arena);
		return err_set(e, RC_INVALID, "bad_configuration",
		    "%s: [media] originals: it lies where everybody's pictures "
		    "lie",
		    conf_source(conf, "media", "originals"));
	}
	folder_make(url, which, arena);
	rc = object_open(
	    &(struct object_opts){
		.url = url,
		.region = or_else(conf, "region"),
		.endpoint = or_else(conf, "endpoint"),
		.cred = cred,
		.timeout_ms = (int)conf_int(conf, "aws", "timeout"),
	    },
	    out, e);
	if (rc != RC_OK)
		err_prefix(e, "%s: [media] %s: ",
		    conf_source(conf, "media",
			which == IMAGE_MEDIA ? "store" : "originals"),
		    which == IMAGE_MEDIA ? "store" : "originals");
	arena_free(arena);
	return rc;
}

enum rc
image_store(struct shop *shop, enum image_store which,
    struct object_store **out, struct err *e)
{
	struct image_stores *s = shop->images;
	enum rc rc = RC_OK;

	if (s == NULL) {
		s = shop->images = xcalloc(1, sizeof *s);
		s->cred = queues_cred_new(shop->conf, 0);
	}
	if (s->store[which] == NULL)
		rc =
		    store_open(shop->conf, which, s->cred, &s->store[which], e);
	*out = s->store[which];
	return rc;
}

void
image_stores_free(struct image_stores *stores)
{
	if (stores == NULL)
		return;
	object_close(stores->store[IMAGE_MEDIA]);
	object_close(stores->store[IMAGE_ORIGINALS]);
	aws_cred_free(stores->cred);
	free(stores);
}

/* ---- where they are read */

/* "HASH-640.webp", as image_process.c writes it. */
static bool
is_variant_key(const char *key)
{
	size_t digits;

	if (strspn(key, "0123456789abcdef") != IMAGE_NAME_CHARS ||
	    key[IMAGE_NAME_CHARS] != '-')
		return false;
	key += IMAGE_NAME_CHARS + 1;
	digits = strspn(key, "0123456789");
	return digits >= 1 && digits <= 5 &&
	       (strcmp(key + digits, ".webp") == 0 ||
		   strcmp(key + digits, ".avif") == 0);
}

enum rc
image_link(struct shop *shop, const char *key, int64_t seconds,
    struct arena *arena, const char **url, struct err *e)
{
	struct object_store *store;
	enum rc rc;

	if (!is_variant_key(key) ||
	    *conf_str(shop->conf, "media", "base_url") != '/' ||
	    strncmp(conf_str(shop->conf, "media", "store"), "s3:", 3) != 0)
		return err_set(e, RC_NONE, "not_found", "No such file");
	rc = image_store(shop, IMAGE_MEDIA, &store, e);
	return rc != RC_OK ? rc
			   : object_presign(store, key, seconds, arena, url, e);
}

/* ---- -t */

bool
image_wanted(const struct conf *conf)
{
#ifdef HAVE_IMAGES
	return conf_int(conf, "workers", "image") > 0 ||
	       conf_int(conf, "workers", "image_max") > 0;
#else
	(void)conf;
	return false;
#endif
}

static enum rc
store_check(const struct conf *conf, enum image_store which, struct err *e)
{
	struct aws_cred *cred = queues_cred_new(conf, 0);
	struct object_store *store = NULL;
	struct arena *arena = arena_new();
	const char *url = url_of(conf, which, arena);
	enum rc rc = store_open(conf, which, cred, &store, e);

	if (rc == RC_OK && strncmp(url, "file:", 5) == 0 &&
	    access(url + 5, W_OK | X_OK) != 0)
		rc = err_set(e, RC_INVALID, "bad_configuration",
		    "[media] %s: %.200s cannot be written to: %s",
		    which == IMAGE_MEDIA ? "store" : "originals", url,
		    strerror(errno));
	object_close(store);
	aws_cred_free(cred);
	arena_free(arena);
	return rc;
}

enum rc
image_check(const struct conf *conf, struct err *e)
{
	const char *program = conf_str(conf, "image", "program");
	enum rc rc;

	if (access(program, X_OK) != 0)
		return err_set(e, RC_INVALID, "imager_missing",
		    "%s: [image] program: %.200s cannot be run: %s",
		    conf_source(conf, "image", "program"), program,
		    strerror(errno));
	rc = store_check(conf, IMAGE_MEDIA, e);
	return rc == RC_OK ? store_check(conf, IMAGE_ORIGINALS, e) : rc;
}

/* ---- notes */

static enum rc
by_keys(struct shop *shop, const struct pg_stmt *st, enum image_store which,
    int n, const char *const keys[], struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct strbuf sb;
	enum rc rc;

	strbuf_init(&sb, (size_t)n * 64 + 3);
	strbuf_addc(&sb, '[');
	for (int i = 0; i < n; i++) {
		strbuf_adds(&sb, i == 0 ? "\"" : ",\"");
		strbuf_add_json(&sb, keys[i], strlen(keys[i]));
		strbuf_addc(&sb, '"');
	}
	strbuf_addc(&sb, ']');
	pg_arg_str(&args, names[which]);
	pg_arg_str(&args, sb.s);
	rc = pg_exec(shop->pg, PG_PRIMARY, st, &args, arena, NULL, e);
	strbuf_release(&sb);
	return rc;
}

enum rc
image_note(struct shop *shop, enum image_store which, int n,
    const char *const keys[], struct arena *arena, struct err *e)
{
	return by_keys(shop, &image_loose_note, which, n, keys, arena, e);
}

enum rc
image_strike(struct shop *shop, enum image_store which, int n,
    const char *const keys[], struct arena *arena, struct err *e)
{
	return by_keys(shop, &image_loose_strike, which, n, keys, arena, e);
}

/* ---- collecting */

struct loose {
	enum image_store which;
	const char *key; /* NULL: none was taken */
};

/* One, within a transaction. RC_NONE: there is none. */
static enum rc
collect_one(struct shop *shop, int64_t grace_s, struct loose *l,
    struct arena *arena, struct err *e)
{
	struct pg_args age = { 0 }, of = { 0 };
	struct object_store *store;
	struct pg_rows rows, used;
	enum rc rc;

	pg_arg_int(&age, grace_s);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &image_loose_take, &age, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return RC_NONE;
	if (strcmp(pg_str(&rows, 0, 0), names[IMAGE_ORIGINALS]) == 0)
		l->which = IMAGE_ORIGINALS;
	l->key = pg_str(&rows, 0, 1);
	pg_arg_str(&of, l->key);
	rc = pg_exec(shop->pg, PG_PRIMARY,
	    l->which == IMAGE_MEDIA ? &image_media_used : &image_original_used,
	    &of, arena, &used, e);
	if (rc != RC_OK)
		return rc;
	if (!pg_bool(&used, 0, 0) &&
	    ((rc = image_store(shop, l->which, &store, e)) != RC_OK ||
		(rc = object_delete(store, l->key, arena, e)) != RC_OK))
		return rc;
	return image_strike(shop, l->which, 1, &l->key, arena, e);
}

enum rc
image_collect(struct shop *shop, int64_t grace_s, int max, struct arena *arena,
    int *n, struct err *e)
{
	for (*n = 0; *n < max; ++*n) {
		struct loose l = { .which = IMAGE_MEDIA };
		struct err later;
		enum rc rc;

		if ((rc = pg_begin(shop->pg, e)) != RC_OK)
			return rc;
		rc = collect_one(shop, grace_s, &l, arena, e);
		if (rc == RC_OK)
			rc = pg_commit(shop->pg, e);
		else
			pg_rollback(shop->pg);
		if (rc == RC_NONE)
			return RC_OK;
		/* It waits again, so that it keeps no other from going. */
		if (rc != RC_OK && l.key != NULL)
			(void)!image_note(
			    shop, l.which, 1, &l.key, arena, &later);
		if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}
