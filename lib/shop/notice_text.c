/*
 * Everything that could be missing when a mail is to be sent is looked for at
 * the start: templates, what they include, and each text they name, in every
 * language there is. The templates' names are those that the pages' loader
 * gives them as well, since they stand in its folder.
 */
#include "shop/notice_int.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/mustache.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "shop/shop.h"

enum { MAX_FILE = 1 << 20, MAX_LANGS = 64 };

const char *const notice_kinds[] = { "order_confirmation", "order_paid",
	"order_cancelled", "order_declined", "password_reset", NULL };

/* What notice.c asks for by name, beside mail_<kind>_subject. */
static const char *const needed[] = { "mail_each", "mail_reason_by_buyer",
	"mail_reason_declined", "mail_reason_expired", "mail_reason_other",
	"mail_reason_out_of_stock" };

/* ---- texts */

static enum rc
texts_load(const char *path, struct notice_texts *out, struct err *e)
{
	json_error_t je;
	json_t *all = json_load_file(path, JSON_REJECT_DUPLICATES, &je), *value;
	const char *key;

	if (all == NULL && json_error_code(&je) == json_error_cannot_open_file)
		return err_set(e, RC_FAIL, "unreadable", "%s", je.text);
	if (!json_is_object(all)) {
		json_decref(all);
		return err_set(e, RC_INVALID, "bad_json", "%s:%d: %s", path,
		    je.line, all == NULL ? je.text : "must be an object");
	}
	out->texts = json_object();
	json_object_foreach(all, key, value)
	{
		if (strncmp(key, "mail_", 5) == 0 && json_is_string(value))
			(void)json_object_set(out->texts, key, value);
	}
	json_decref(all);
	return RC_OK;
}

static bool
has_text(const struct notice_texts *lang, const char *key)
{
	return json_object_get(lang->texts, key) != NULL;
}

static enum rc
texts_check(const struct notice_texts *lang, struct err *e)
{
	char key[100];

	for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
		if (!has_text(lang, needed[i]))
			return err_set(e, RC_INVALID, "no_text",
			    "text.%s.json: no text called %s", lang->lang,
			    needed[i]);
	}
	for (int i = 0; notice_kinds[i] != NULL; i++) {
		(void)snprintf(
		    key, sizeof key, "mail_%s_subject", notice_kinds[i]);
		if (!has_text(lang, key))
			return err_set(e, RC_INVALID, "no_text",
			    "text.%s.json: no text called %s", lang->lang, key);
	}
	return RC_OK;
}

static enum rc
lang_add(struct notices *n, const char *dir, const char *lang, struct err *e)
{
	struct notice_texts *t = &n->langs[n->n];
	struct strbuf path;
	enum rc rc;

	strbuf_init(&path, 256);
	strbuf_addf(&path, "%s/text.%s.json", dir, lang);
	(void)snprintf(t->lang, sizeof t->lang, "%s", lang);
	rc = texts_load(path.s, t, e);
	if (rc == RC_OK) {
		n->n++;
		rc = texts_check(t, e);
	}
	strbuf_release(&path);
	return rc;
}

/* "text.en.json" -> "en"; "" where it is no such file. */
static void
lang_of(const char *name, char lang[36])
{
	size_t n = strlen(name);
	size_t part = n > 10 ? n - 10 : 0; /* "text." and ".json" */

	lang[0] = '\0';
	if (part == 0 || part > 35 || strncmp(name, "text.", 5) != 0 ||
	    strcmp(name + n - 5, ".json") != 0 ||
	    strspn(name + 5, "abcdefghijklmnopqrstuvwxyz"
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != part)
		return;
	memcpy(lang, name + 5, part);
	lang[part] = '\0';
}

static enum rc
langs_load(struct notices *n, const char *dir, const char *own, struct err *e)
{
	enum rc rc = lang_add(n, dir, own, e);
	struct dirent *d;
	char lang[36];
	DIR *dp;

	if (rc != RC_OK)
		return rc;
	if ((dp = opendir(dir)) == NULL)
		return err_set(
		    e, RC_FAIL, "unreadable", "%s: %s", dir, strerror(errno));
	while (rc == RC_OK && n->n < MAX_LANGS && (d = readdir(dp)) != NULL) {
		lang_of(d->d_name, lang);
		if (lang[0] != '\0' && strcmp(lang, own) != 0)
			rc = lang_add(n, dir, lang, e);
	}
	closedir(dp);
	return rc;
}

const struct notice_texts *
notice_lang(const struct notices *n, const char *lang)
{
	for (int i = 0; i < n->n; i++) {
		if (strcmp(n->langs[i].lang, lang) == 0)
			return &n->langs[i];
	}
	return &n->langs[0];
}

/* The value of "name}...", and where it goes on; NULL: it is none of ours. */
static const char *
placeholder(const char *name, const json_t *args, const char **next)
{
	size_t n = strcspn(name, "}");
	char key[40];

	if (name[n] == '\0' || n >= sizeof key)
		return NULL;
	memcpy(key, name, n);
	key[n] = '\0';
	*next = name + n + 1;
	return json_string_value(json_object_get(args, key));
}

json_t *
notice_fill(const char *text, const json_t *args)
{
	const char *p = text, *open;
	struct strbuf sb;
	json_t *filled;

	strbuf_init(&sb, 128);
	while ((open = strchr(p, '{')) != NULL) {
		const char *next = open + 1;
		const char *value = placeholder(open + 1, args, &next);

		strbuf_add(&sb, p, (size_t)(open - p));
		if (value == NULL)
			next = open + 1;
		strbuf_adds(&sb, value == NULL ? "{" : value);
		p = next;
	}
	strbuf_adds(&sb, p);
	filled = json_stringn(sb.s, sb.len);
	strbuf_release(&sb);
	return filled;
}

json_t *
notice_texts_fill(const struct notice_texts *lang, const json_t *args)
{
	json_t *out = json_object(), *value;
	const char *key;

	json_object_foreach(lang->texts, key, value)
	{
		(void)json_object_set_new(
		    out, key, notice_fill(json_string_value(value), args));
	}
	return out;
}

/* ---- templates */

static enum rc
file_read(const char *path, struct strbuf *out, struct err *e)
{
	FILE *f = fopen(path, "re");
	char buf[8192];
	enum rc rc = RC_OK;
	size_t n;

	if (f == NULL)
		return err_set(
		    e, RC_FAIL, "unreadable", "%s: %s", path, strerror(errno));
	while ((n = fread(buf, 1, sizeof buf, f)) > 0 && out->len <= MAX_FILE)
		strbuf_add(out, buf, n);
	if (ferror(f))
		rc = err_set(e, RC_FAIL, "unreadable", "%s: cannot read", path);
	else if (out->len > MAX_FILE || strlen(out->s) != out->len)
		rc = err_set(e, RC_INVALID, "bad_template",
		    "%s: too large, or has a NUL byte", path);
	(void)fclose(f);
	return rc;
}

/* {{t.KEY}}: is there such a text, in every language? */
static enum rc
tag_check(const struct notices *n, const char *name, int line, struct span key,
    struct err *e)
{
	char text[100];

	(void)snprintf(text, sizeof text, "%.*s", (int)key.n, key.p);
	for (int i = 0; i < n->n; i++) {
		if (!has_text(&n->langs[i], text))
			return err_set(e, RC_INVALID, "no_text",
			    "%s.mustache:%d: no text called t.%s in "
			    "text.%s.json",
			    name, line, text, n->langs[i].lang);
	}
	return RC_OK;
}

static enum rc
tags_check(
    const struct notices *n, const char *name, const char *text, struct err *e)
{
	enum rc rc = RC_OK;
	int line = 1;

	for (const char *p = text; rc == RC_OK && *p != '\0'; p++) {
		line += *p == '\n';
		if (p[0] != '{' || p[1] != '{')
			continue;
		const char *tag = p + 2 + strspn(p + 2, "{&#^ ");

		if (strncmp(tag, "t.", 2) == 0)
			rc = tag_check(n, name, line,
			    (struct span){ tag + 2, strcspn(tag + 2, " }\n") },
			    e);
	}
	return rc;
}

static enum rc
template_add(
    struct notices *n, const char *path, const char *name, struct err *e)
{
	struct strbuf text;
	enum rc rc;

	strbuf_init(&text, 4096);
	if ((rc = file_read(path, &text, e)) == RC_OK &&
	    (rc = tags_check(n, name, text.s, e)) == RC_OK)
		rc = mustache_add(n->set, name, text.s, text.len, e);
	strbuf_release(&text);
	return rc;
}

static enum rc
templates_load(struct notices *n, const char *templates, struct err *e)
{
	static const char ending[] = ".mustache";
	struct strbuf path, name;
	enum rc rc = RC_OK;
	struct dirent *d;
	DIR *dp;

	strbuf_init(&path, 256);
	strbuf_init(&name, 64);
	strbuf_addf(&path, "%s/mail", templates);
	if ((dp = opendir(path.s)) == NULL)
		rc = err_set(e, RC_FAIL, "unreadable", "%s: %s", path.s,
		    strerror(errno));
	while (rc == RC_OK && (d = readdir(dp)) != NULL) {
		size_t len = strlen(d->d_name);

		if (d->d_name[0] == '.' || len <= strlen(ending) ||
		    strcmp(d->d_name + len - strlen(ending), ending) != 0)
			continue;
		strbuf_reset(&path);
		strbuf_addf(&path, "%s/mail/%s", templates, d->d_name);
		strbuf_reset(&name);
		strbuf_addf(
		    &name, "mail/%.*s", (int)(len - strlen(ending)), d->d_name);
		rc = template_add(n, path.s, name.s, e);
	}
	if (dp != NULL)
		closedir(dp);
	strbuf_release(&name);
	strbuf_release(&path);
	return rc;
}

/* Every kind has its two. */
static enum rc
templates_check(const struct notices *n, struct err *e)
{
	static const char *const forms[] = { "text", "html" };
	enum rc rc = mustache_check(n->set, e);
	json_t *none = json_object();
	char name[100];

	for (int i = 0; rc == RC_OK && notice_kinds[i] != NULL; i++) {
		for (int f = 0; rc == RC_OK && f < 2; f++) {
			struct strbuf sb;

			strbuf_init(&sb, 4096);
			(void)snprintf(name, sizeof name, "mail/%s.%s",
			    notice_kinds[i], forms[f]);
			rc = mustache_render(n->set, name, 1,
			    (const json_t *const[]){ none }, &sb, e);
			strbuf_release(&sb);
		}
	}
	json_decref(none);
	return rc == RC_FAIL ? err_set(e, RC_INVALID, "bad_template",
				   "%s.mustache: %s", name, e->msg)
			     : rc;
}

/* ---- open, close */

/* settings.c has seen to it that there is one. */
static char *
host_of(const char *url)
{
	const char *host = strstr(url, "://");

	host = host == NULL ? url : host + 3;
	return xstrndup(host, strcspn(host, ":/"));
}

const char *
notices_host(const struct notices *n)
{
	return n->host;
}

enum rc
notices_open(struct shop *shop, struct notices **out, struct err *e)
{
	const char *dir = conf_str(shop->conf, "fcgi", "templates");
	struct notices *n = xcalloc(1, sizeof *n);
	size_t len;
	enum rc rc;

	n->set = mustache_new();
	n->langs = xcalloc(MAX_LANGS, sizeof *n->langs);
	n->shop_name = xstrdup(conf_str(shop->conf, "shop", "name"));
	n->base_url = xstrdup(conf_str(shop->conf, "shop", "base_url"));
	n->host = host_of(n->base_url);
	for (len = strlen(n->base_url); len > 0 && n->base_url[len - 1] == '/';)
		n->base_url[--len] = '\0';
	if (!utf8_valid(n->shop_name, strlen(n->shop_name)) ||
	    !utf8_valid(n->base_url, len)) {
		rc = err_set(e, RC_INVALID, "not_utf8",
		    "[shop] name and base_url must be UTF-8");
		goto out;
	}
	rc = langs_load(n, dir, conf_str(shop->conf, "shop", "language"), e);
	if (rc == RC_OK)
		rc = templates_load(n, dir, e);
	if (rc == RC_OK)
		rc = templates_check(n, e);
out:
	if (rc == RC_OK)
		*out = n;
	else
		notices_close(n);
	return rc;
}

void
notices_close(struct notices *n)
{
	if (n == NULL)
		return;
	for (int i = 0; i < MAX_LANGS; i++)
		json_decref(n->langs[i].texts);
	free(n->langs);
	mustache_free(n->set);
	free(n->shop_name);
	free(n->host);
	free(n->base_url);
	free(n);
}
