#include "fcgi-app/page_int.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mustache.h"
#include "base/text.h"
#include "base/xmalloc.h"

/*
 * Loading. Templates are plain Mustache; before one is compiled, its tags
 * {{t.KEY}}, {{shop.KEY}} and {{assets.FILE}} are replaced by what they stand
 * for, as it would be escaped by the renderer. A page has some forty of them,
 * the same for every request, and header and footer thereby become one piece
 * of literal text each.
 */

enum { MAX_FILE = 1 << 20, MAX_DEPTH = 8 };

static const char *const text_keys[TX_COUNT] = {
#define X(id, key) [TX_##id] = key,
	PAGE_TEXTS(X)
#undef X
};

static enum rc
file_read(const char *path, struct strbuf *out, struct err *e)
{
	FILE *f = fopen(path, "re");
	char buf[16384];
	enum rc rc = RC_OK;
	size_t n;

	if (f == NULL) {
		return err_set(
		    e, RC_FAIL, "unreadable", "%s: %s", path, strerror(errno));
	}
	while ((n = fread(buf, 1, sizeof buf, f)) > 0) {
		strbuf_add(out, buf, n);
		if (out->len > MAX_FILE)
			break;
	}
	if (ferror(f))
		rc = err_set(e, RC_FAIL, "unreadable", "%s: cannot read", path);
	else if (out->len > MAX_FILE)
		rc = err_set(e, RC_INVALID, "too_large",
		    "%s: larger than a page's part should be", path);
	else if (!utf8_valid(out->s, out->len))
		rc = err_set(e, RC_INVALID, "not_utf8", "%s: not UTF-8", path);
	(void)fclose(f);
	return rc;
}

/* A JSON object from a file. none_ok: *out is an empty one where it is not
 * there. */
static enum rc
json_read(const char *path, bool none_ok, json_t **out, struct err *e)
{
	json_error_t je;

	if (none_ok) {
		FILE *f = fopen(path, "re");

		if (f == NULL && (errno == ENOENT || errno == ENOTDIR)) {
			*out = json_object();
			return RC_OK;
		}
		if (f != NULL)
			(void)fclose(f);
	}
	*out = json_load_file(path, JSON_REJECT_DUPLICATES, &je);
	if (*out == NULL && json_error_code(&je) == json_error_cannot_open_file)
		return err_set(e, RC_FAIL, "unreadable", "%s", je.text);
	if (*out == NULL) {
		return err_set(e, RC_INVALID, "bad_json", "%s:%d: %s", path,
		    je.line, je.text);
	}
	if (json_is_object(*out))
		return RC_OK;
	json_decref(*out);
	*out = NULL;
	return err_set(
	    e, RC_INVALID, "bad_json", "%s: must be one JSON object", path);
}

/* Every text may name the shop and its currency. */
static json_t *
text_filled(const struct page_ctx *ctx, const json_t *text)
{
	const struct page_arg args[] = {
		{ "shop", span_of(ctx->name) },
		{ "currency", span_of(ctx->currency) },
	};
	struct strbuf sb;
	json_t *filled;

	strbuf_init(&sb, 64);
	page_fill(&sb, json_string_value(text), 2, args);
	filled = json_stringn_nocheck(sb.s, sb.len);
	strbuf_release(&sb);
	return filled;
}

static enum rc
texts_load(struct page_ctx *ctx, const char *path, struct err *e)
{
	const json_t *months;
	const char *key;
	json_t *value;
	enum rc rc;
	void *next;

	if ((rc = json_read(path, false, &ctx->texts, e)) != RC_OK)
		return rc;
	json_object_foreach_safe(ctx->texts, next, key, value)
	{
		if (json_is_string(value))
			json_object_set_new(
			    ctx->texts, key, text_filled(ctx, value));
	}
	for (int i = 0; i < TX_COUNT; i++) {
		ctx->text[i] = json_string_value(
		    json_object_get(ctx->texts, text_keys[i]));
		if (ctx->text[i] == NULL) {
			return err_set(e, RC_INVALID, "no_text",
			    "%s: no text called %s", path, text_keys[i]);
		}
	}
	months = json_object_get(ctx->texts, "months");
	for (size_t i = 0; i < 12; i++) {
		ctx->month[i] = json_string_value(json_array_get(months, i));
		if (ctx->month[i] == NULL) {
			return err_set(e, RC_INVALID, "no_text",
			    "%s: months must be a list of 12 texts", path);
		}
	}
	return RC_OK;
}

/* ---- constant tags */

/* What {{name}} stands for, or false: not ours, leave it to the renderer. */
static bool
constant(const struct page_ctx *ctx, struct span name, struct strbuf *value,
    bool *missing)
{
	char key[200];
	const char *s;

	*missing = false;
	if (name.n >= sizeof key)
		return false;
	memcpy(key, name.p, name.n);
	key[name.n] = '\0';
	if (strncmp(key, "assets.", 7) == 0) {
		s = json_string_value(json_object_get(ctx->manifest, key + 7));
		strbuf_adds(value, "/static/");
		strbuf_adds(value, s != NULL ? s : key + 7);
		return true;
	}
	if (strncmp(key, "t.", 2) == 0)
		s = json_string_value(json_object_get(ctx->texts, key + 2));
	else if (strncmp(key, "shop.", 5) == 0)
		s = json_string_value(json_object_get(ctx->shop, key + 5));
	else
		return false;
	*missing = s == NULL;
	strbuf_adds(value, s != NULL ? s : "");
	return true;
}

/* As the renderer would have written it; and no brace may make a tag. */
static void
add_literal(struct strbuf *out, const struct strbuf *value, bool raw)
{
	struct strbuf html;

	strbuf_init(&html, value->len);
	if (raw)
		strbuf_add(&html, value->s, value->len);
	else
		strbuf_add_html(&html, value->s, value->len);
	for (size_t i = 0; i < html.len; i++) {
		if (html.s[i] == '{')
			strbuf_adds(out, "&#123;");
		else
			strbuf_addc(out, html.s[i]);
	}
	strbuf_release(&html);
}

static int
line_of(const char *text, const char *at)
{
	int line = 1;

	for (; text < at; text++)
		line += *text == '\n';
	return line;
}

static enum rc
constants_fill(const struct page_ctx *ctx, const char *name,
    const struct strbuf *text, struct strbuf *out, struct err *e)
{
	const char *p = text->s, *open, *close, *from, *to;
	struct strbuf value;
	enum rc rc = RC_OK;

	strbuf_init(&value, 64);
	while (rc == RC_OK && (open = strstr(p, "{{")) != NULL) {
		bool triple = open[2] == '{', missing;
		bool raw = triple || open[2] == '&';

		close = strstr(open + 2, triple ? "}}}" : "}}");
		if (close == NULL)
			break; /* the compiler will say where */
		from = open + (raw ? 3 : 2);
		for (to = close; to > from && to[-1] == ' '; to--)
			;
		for (; from < to && *from == ' '; from++)
			;
		strbuf_reset(&value);
		strbuf_add(out, p, (size_t)(open - p));
		p = close + (triple ? 3 : 2);
		if (!constant(ctx, (struct span){ from, (size_t)(to - from) },
			&value, &missing))
			strbuf_add(out, open, (size_t)(p - open));
		else if (!missing)
			add_literal(out, &value, raw);
		else
			rc = err_set(e, RC_INVALID, "no_text",
			    "%s.mustache:%d: no text called %.*s", name,
			    line_of(text->s, open), (int)(to - from), from);
	}
	strbuf_adds(out, p);
	strbuf_release(&value);
	return rc;
}

/* ---- the folder */

static enum rc
template_load(
    struct page_ctx *ctx, const char *path, const char *name, struct err *e)
{
	struct strbuf text, filled;
	enum rc rc;

	strbuf_init(&text, 4096);
	strbuf_init(&filled, 4096);
	if ((rc = file_read(path, &text, e)) != RC_OK)
		goto out;
	if (strlen(text.s) != text.len) {
		rc = err_set(
		    e, RC_INVALID, "bad_template", "%s: has a NUL byte", path);
		goto out;
	}
	if ((rc = constants_fill(ctx, name, &text, &filled, e)) != RC_OK)
		goto out;
	rc = mustache_add(ctx->set, name, filled.s, filled.len, e);
out:
	strbuf_release(&filled);
	strbuf_release(&text);
	return rc;
}

/* name: of the folder below the root, "" or "parts/". */
static enum rc
folder_load(struct page_ctx *ctx, const char *dir, const char *name, int depth,
    struct err *e)
{
	static const char ending[] = ".mustache";
	struct strbuf path, sub;
	enum rc rc = RC_OK;
	struct dirent *d;
	struct stat st;
	DIR *dp;

	if (depth > MAX_DEPTH)
		return err_set(e, RC_INVALID, "bad_template",
		    "%s: folders nested too deep", dir);
	if ((dp = opendir(dir)) == NULL) {
		return err_set(
		    e, RC_FAIL, "unreadable", "%s: %s", dir, strerror(errno));
	}
	strbuf_init(&path, 256);
	strbuf_init(&sub, 64);
	while (rc == RC_OK && (d = readdir(dp)) != NULL) {
		size_t n = strlen(d->d_name);

		if (d->d_name[0] == '.')
			continue;
		strbuf_reset(&path);
		strbuf_addf(&path, "%s/%s", dir, d->d_name);
		strbuf_reset(&sub);
		strbuf_addf(&sub, "%s%s", name, d->d_name);
		if (stat(path.s, &st) != 0)
			continue; /* an editor's file that came and went */
		if (S_ISDIR(st.st_mode)) {
			strbuf_addc(&sub, '/');
			rc = folder_load(ctx, path.s, sub.s, depth + 1, e);
		} else if (n > strlen(ending) &&
			   strcmp(d->d_name + n - strlen(ending), ending) ==
			       0) {
			strbuf_trunc(&sub, sub.len - strlen(ending));
			rc = template_load(ctx, path.s, sub.s, e);
		}
	}
	strbuf_release(&sub);
	strbuf_release(&path);
	closedir(dp);
	return rc;
}

static enum rc
template_check(const struct page_ctx *ctx, const char *name, struct err *e)
{
	const json_t *none[] = { ctx->globals };
	struct strbuf sb;
	enum rc rc;

	strbuf_init(&sb, 4096);
	rc = mustache_render(ctx->set, name, 1, none, &sb, e);
	strbuf_release(&sb);
	return rc;
}

static enum rc
templates_check(const struct page_ctx *ctx, struct err *e)
{
	static const char *const names[] = { "home", "list", "product", "sale",
		"error", "cart", "cart_add", "checkout", "confirm", "order" };
	enum rc rc = mustache_check(ctx->set, e);

	for (size_t i = 0; rc == RC_OK && i < sizeof names / sizeof *names; i++)
		rc = template_check(ctx, names[i], e);
	for (const char *const *name = page_private_names;
	     rc == RC_OK && *name != NULL; name++) {
		if (page_private_title(ctx, *name) == NULL)
			rc = err_set(e, RC_INVALID, "no_text",
			    "%s.mustache: its title is not in the texts",
			    *name);
		else
			rc = template_check(ctx, *name, e);
	}
	return rc;
}

static struct page_ctx *
ctx_new(const struct page_opts *opts)
{
	struct page_ctx *ctx = xcalloc(1, sizeof *ctx);
	size_t n;

	ctx->name = xstrdup(opts->name);
	ctx->base_url = xstrdup(opts->base_url);
	for (n = strlen(ctx->base_url); n > 0 && ctx->base_url[n - 1] == '/';)
		ctx->base_url[--n] = '\0';
	ctx->currency = xstrdup(opts->currency);
	ctx->language = xstrdup(opts->language);
	ctx->set = mustache_new();
	ctx->shop = json_pack("{s:s, s:s, s:s, s:s}", "name", ctx->name,
	    "base_url", ctx->base_url, "currency", ctx->currency, "language",
	    ctx->language);
	return ctx;
}

enum rc
page_ctx_load(
    const struct page_opts *opts, struct page_ctx **out, struct err *e)
{
	struct page_ctx *ctx;
	struct strbuf path;
	enum rc rc;

	if (!utf8_valid(opts->name, strlen(opts->name)) ||
	    !utf8_valid(opts->base_url, strlen(opts->base_url)))
		return err_set(e, RC_INVALID, "not_utf8",
		    "[shop] name and base_url must be UTF-8");
	if (opts->language[0] == '\0' ||
	    strspn(opts->language, "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
		strlen(opts->language))
		return err_set(e, RC_INVALID, "bad_language",
		    "[shop] language: \"%s\" is not a language tag such as en",
		    opts->language);
	ctx = ctx_new(opts);
	strbuf_init(&path, 256);
	strbuf_addf(&path, "%s/text.%s.json", opts->templates, opts->language);
	if ((rc = texts_load(ctx, path.s, e)) != RC_OK)
		goto out;
	strbuf_reset(&path);
	strbuf_addf(&path, "%s/manifest.json",
	    opts->assets == NULL ? "/nonexistent" : opts->assets);
	if ((rc = json_read(path.s, true, &ctx->manifest, e)) != RC_OK)
		goto out;
	ctx->globals = json_pack("{s:O, s:O, s:O}", "t", ctx->texts, "shop",
	    ctx->shop, "assets", ctx->manifest);
	if ((rc = folder_load(ctx, opts->templates, "", 0, e)) != RC_OK)
		goto out;
	rc = templates_check(ctx, e);
out:
	strbuf_release(&path);
	if (rc != RC_OK) {
		page_ctx_free(ctx);
		ctx = NULL;
	}
	*out = ctx;
	return rc;
}

void
page_ctx_free(struct page_ctx *ctx)
{
	if (ctx == NULL)
		return;
	json_decref(ctx->globals);
	json_decref(ctx->manifest);
	json_decref(ctx->texts);
	json_decref(ctx->shop);
	mustache_free(ctx->set);
	free(ctx->language);
	free(ctx->currency);
	free(ctx->base_url);
	free(ctx->name);
	free(ctx);
}
