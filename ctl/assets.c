/*
 * soukctl assets: name static files by what is in them, so that a browser may
 * keep each for ever.
 *
 * SRC/souk.css becomes DEST/souk.<12 hex digits of its SHA-256>.css, with .gz
 * and .br beside it where that is smaller; DEST/manifest.json tells which name
 * stands for which. Style sheets come last: their url(name) is rewritten, so
 * that a changed picture changes the name of the sheet. Nothing is removed: the
 * pages in somebody's cache still name the files of the release before.
 *
 * Runs while the tree is built; it reads no configuration.
 */
#include "config.h"

#include "ctl/ctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#ifdef HAVE_BROTLI
#include <brotli/encode.h>
#endif

#include "base/arena.h"
#include "base/strbuf.h"

enum { MAX_ASSET = 32 << 20, HASH_CHARS = 12 };

static const struct {
	const char *ext;
	bool compress; /* the others are compressed by their nature */
	bool css;
} kinds[] = {
	{ "css", true, true },
	{ "js", true, false },
	{ "svg", true, false },
	{ "ico", true, false },
	{ "txt", true, false },
	{ "json", true, false },
	{ "webmanifest", true, false },
	{ "png", false, false },
	{ "jpg", false, false },
	{ "webp", false, false },
	{ "avif", false, false },
	{ "woff2", false, false },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

struct job {
	const char *src, *dest;
	struct arena *arena;
	json_t *manifest; /* name -> hashed name */
};

static enum rc
fail(struct err *e, const char *path, const char *what)
{
	return err_set(e, RC_FAIL, "assets", "%s: %s", path, what);
}

static int
kind_of(const char *name)
{
	const char *dot = strrchr(name, '.');

	for (int i = 0; dot != NULL && dot != name && i < KINDS; i++) {
		if (strcmp(dot + 1, kinds[i].ext) == 0)
			return i;
	}
	return -1;
}

static enum rc
file_read(const char *path, struct strbuf *out, struct err *e)
{
	FILE *f = fopen(path, "re");
	char buf[16384];
	size_t n;

	if (f == NULL)
		return fail(e, path, strerror(errno));
	while (out->len <= MAX_ASSET && (n = fread(buf, 1, sizeof buf, f)) > 0)
		strbuf_add(out, buf, n);
	bool bad = ferror(f) != 0;

	(void)fclose(f);
	if (bad)
		return fail(e, path, "cannot be read");
	if (out->len > MAX_ASSET)
		return fail(e, path, "is larger than 32 MB");
	return RC_OK;
}

/* Whole or not at all: a web server may be reading the old one. */
static enum rc
file_write(
    const struct job *job, const char *name, struct span data, struct err *e)
{
	const char *path = arena_printf(job->arena, "%s/%s", job->dest, name);
	const char *tmp =
	    arena_printf(job->arena, "%s.%ld.tmp", path, (long)getpid());
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	bool ok = fd >= 0;

	while (ok && data.n > 0) {
		ssize_t n = write(fd, data.p, data.n);

		ok = n >= 0 || errno == EINTR;
		if (n > 0) {
			data.p += n;
			data.n -= (size_t)n;
		}
	}
	if (fd >= 0 && close(fd) != 0)
		ok = false;
	if (ok && rename(tmp, path) == 0)
		return RC_OK;
	int why = errno;

	(void)unlink(tmp);
	return fail(e, path, strerror(why));
}

/* The same bytes for the same input: no name and no time in the header. */
static bool
gzip(struct span data, struct strbuf *out)
{
	z_stream z = { 0 };

	if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) !=
	    Z_OK)
		return false;
	size_t bound = deflateBound(&z, data.n);

	strbuf_reset(out);
	strbuf_grow(out, bound);
	z.next_in = (Bytef *)(uintptr_t)data.p; /* zlib only reads it */
	z.avail_in = (uInt)data.n;
	z.next_out = (Bytef *)out->s;
	z.avail_out = (uInt)bound;
	bool done = deflate(&z, Z_FINISH) == Z_STREAM_END;

	out->len = done ? bound - z.avail_out : 0;
	(void)deflateEnd(&z);
	return done && out->len < data.n;
}

static bool
brotli(struct span data, struct strbuf *out)
{
#ifdef HAVE_BROTLI
	size_t n = BrotliEncoderMaxCompressedSize(data.n);

	strbuf_reset(out);
	strbuf_grow(out, n);
	if (n == 0 || !BrotliEncoderCompress(BROTLI_MAX_QUALITY,
			  BROTLI_MAX_WINDOW_BITS, BROTLI_MODE_TEXT, data.n,
			  (const uint8_t *)data.p, &n, (uint8_t *)out->s))
		return false;
	out->len = n;
	return n < data.n;
#else
	(void)data;
	(void)out;
	return false;
#endif
}

static enum rc
compressed_write(
    const struct job *job, const char *name, struct span data, struct err *e)
{
	struct strbuf z;
	enum rc rc = RC_OK;

	strbuf_init(&z, 0);
	if (gzip(data, &z))
		rc = file_write(job, arena_printf(job->arena, "%s.gz", name),
		    strbuf_span(&z), e);
	if (rc == RC_OK && brotli(data, &z))
		rc = file_write(job, arena_printf(job->arena, "%s.br", name),
		    strbuf_span(&z), e);
	strbuf_release(&z);
	return rc;
}

/* ---- url(...) in style sheets */

/* Ours to rewrite: a plain file name of the same folder. */
static bool
is_local(struct span url)
{
	for (size_t i = 0; i < url.n; i++) {
		if (strchr("/:#?%\\", url.p[i]) != NULL)
			return false;
	}
	return url.n > 0;
}

/*
 * What is inside of url( ... ), from p on: the same bytes, but for a local
 * name. *end: behind it, at the latest at the parenthesis.
 */
static enum rc
url_rewrite(const struct job *job, const char *sheet, const char *p,
    const char **end, struct strbuf *out, struct err *e)
{
	const char *from = p + strspn(p, " \t\n");
	char quote = *from == '"' || *from == '\'' ? *from++ : '\0';
	const char *to = quote != '\0' ? strchr(from, quote)
				       : from + strcspn(from, " \t\n)");
	size_t n;

	if (to == NULL || *to == '\0')
		return fail(e, sheet, "url( without an end");
	strbuf_add(out, p, (size_t)(from - p));
	*end = to;
	n = strcspn(from, "#?"); /* "sprite.svg#cart" */
	if (n > (size_t)(to - from))
		n = (size_t)(to - from);
	if (is_local((struct span){ from, n })) {
		const char *name = arena_strndup(job->arena, from, n);
		const char *hashed =
		    json_string_value(json_object_get(job->manifest, name));

		if (hashed == NULL)
			return err_set(e, RC_FAIL, "assets",
			    "%s: url(%s): no such file beside it", sheet, name);
		strbuf_adds(out, hashed);
		from += n;
	}
	strbuf_add(out, from, (size_t)(to - from));
	return RC_OK;
}

static enum rc
css_rewrite(const struct job *job, const char *sheet, struct strbuf *text,
    struct err *e)
{
	struct strbuf out;
	const char *p = text->s, *url;
	enum rc rc = RC_OK;

	if (memchr(text->s, '\0', text->len) != NULL)
		return fail(e, sheet, "is not text");
	strbuf_init(&out, text->len);
	while (rc == RC_OK && (url = strstr(p, "url(")) != NULL) {
		url += strlen("url(");
		strbuf_add(&out, p, (size_t)(url - p));
		rc = url_rewrite(job, sheet, url, &p, &out, e);
	}
	if (rc == RC_OK) {
		strbuf_adds(&out, p);
		strbuf_reset(text);
		strbuf_add(text, out.s, out.len);
	}
	strbuf_release(&out);
	return rc;
}

/* ---- files */

static enum rc
asset_make(const struct job *job, const char *name, struct err *e)
{
	int kind = kind_of(name);
	const char *path = arena_printf(job->arena, "%s/%s", job->src, name);
	char digest[SHA256_DIGEST_STRING_LENGTH];
	const char *hashed;
	struct strbuf data;
	enum rc rc;

	strbuf_init(&data, 0);
	rc = file_read(path, &data, e);
	if (rc == RC_OK && kinds[kind].css)
		rc = css_rewrite(job, path, &data, e);
	if (rc == RC_OK) {
		(void)SHA256Data((const uint8_t *)data.s, data.len, digest);
		hashed = arena_printf(job->arena, "%.*s.%.*s.%s",
		    (int)(strrchr(name, '.') - name), name, HASH_CHARS, digest,
		    kinds[kind].ext);
		(void)json_object_set_new(
		    job->manifest, name, json_string(hashed));
		rc = file_write(job, hashed, strbuf_span(&data), e);
	}
	if (rc == RC_OK && kinds[kind].compress)
		rc = compressed_write(job, hashed, strbuf_span(&data), e);
	strbuf_release(&data);
	return rc;
}

static int
is_asset(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && kind_of(entry->d_name) >= 0 &&
	       strcmp(entry->d_name, "manifest.json") != 0;
}

static enum rc
folder_make(const struct job *job, int n, struct dirent **names, struct err *e)
{
	enum rc rc = RC_OK;

	if (mkdir(job->dest, 0777) != 0 && errno != EEXIST)
		return fail(e, job->dest, strerror(errno));
	for (int css = 0; css < 2; css++) {
		for (int i = 0; rc == RC_OK && i < n; i++) {
			if (kinds[kind_of(names[i]->d_name)].css == (css == 1))
				rc = asset_make(job, names[i]->d_name, e);
		}
	}
	return rc;
}

static enum rc
manifest_write(const struct job *job, struct err *e)
{
	char *text = json_dumps(job->manifest, JSON_INDENT(1) | JSON_SORT_KEYS);
	enum rc rc;

	if (text == NULL)
		return fail(e, job->src, "a file name is not UTF-8");
	rc = file_write(job, "manifest.json",
	    span_of(arena_printf(job->arena, "%s\n", text)), e);
	free(text);
	return rc;
}

static enum rc
assets_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct job job = { .src = args->operand[0],
		.dest = args->operand[1],
		.arena = ctl->arena,
		.manifest = json_object() };
	struct dirent **names = NULL;
	int n = scandir(job.src, &names, is_asset, alphasort);
	enum rc rc;

	if (n < 0)
		rc = fail(e, job.src, strerror(errno));
	else
		rc = folder_make(&job, n, names, e);
	if (rc == RC_OK) /* last: it names only what is there */
		rc = manifest_write(&job, e);
	if (rc == RC_OK && ctl->json)
		ctl_print_json(json_incref(job.manifest));
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	json_decref(job.manifest);
	return rc;
}

const struct ctl_cmd assets_cmds[] = {
	{ .name = "assets",
	    .operands = "SRC DEST",
	    .min = 2,
	    .max = 2,
	    .help = "name static files by their content, and compress them",
	    .no_conf = true,
	    .run = assets_run },
	{ 0 },
};
