/*
 * The set of templates: names, files, checks. How a template is compiled stands
 * in mustache_compile.c, how it is rendered in mustache_render.c.
 */
#include "base/mustache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mustache_int.h"
#include "base/strbuf.h"
#include "base/xmalloc.h"

enum { DIR_DEPTH_MAX = 8 };

struct mustache *
mustache_new(void)
{
	struct mustache *set = xcalloc(1, sizeof *set);

	set->syms = json_object();
	if (set->syms == NULL)
		xmalloc_failed();
	return set;
}

void
mustache_free(struct mustache *set)
{
	if (set == NULL)
		return;
	for (size_t i = 0; i < set->ntpls; i++)
		tpl_free(set->tpls[i]);
	free(set->tpls);
	json_decref(set->syms);
	free(set);
}

/* The number of a name, which is new or known; never 2^32 of them: a template
 * has at most TEMPLATE_MAX bytes. */
uint32_t
mustache_sym(struct mustache *set, const char *name, size_t n)
{
	char *key = xstrndup(name, n);
	json_t *known = json_object_get(set->syms, key);
	size_t sym = set->ntpls;

	if (known != NULL) {
		sym = (size_t)json_integer_value(known);
	} else {
		if (set->ntpls == set->captpls) {
			set->captpls = set->captpls == 0 ? 64 : sym * 2;
			set->tpls = xrealloc(
			    set->tpls, set->captpls * sizeof(struct tpl *));
		}
		set->tpls[set->ntpls++] = NULL;
		if (json_object_set_new_nocheck(
			set->syms, key, json_integer((json_int_t)sym)) != 0)
			xmalloc_failed();
	}
	free(key);
	return (uint32_t)sym;
}

enum rc
mustache_add(struct mustache *set, const char *name, const char *text, size_t n,
    struct err *e)
{
	struct tpl *tpl;
	enum rc rc = tpl_compile(set, name, text, n, &tpl, e);

	if (rc != RC_OK)
		return rc;
	uint32_t sym = mustache_sym(set, name, strlen(name));

	tpl_free(set->tpls[sym]);
	set->tpls[sym] = tpl;
	return RC_OK;
}

/* ---- files */

static enum rc
add_file(struct mustache *set, int dirfd, const char *file, const char *path,
    const char *name, struct err *e)
{
	struct strbuf text;
	ssize_t got = -1;
	int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	enum rc rc;

	strbuf_init(&text, 8192);
	while (fd >= 0 && text.len <= TEMPLATE_MAX) {
		strbuf_grow(&text, 8192);
		got = read(fd, text.s + text.len, 8192);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		strbuf_add(&text, text.s + text.len, (size_t)got);
	}
	if (fd < 0 || got < 0)
		rc = err_set(e, RC_FAIL, "template_unreadable",
		    "%s: cannot read it: %s", path, strerror(errno));
	else
		rc = mustache_add(set, name, text.s, text.len, e);
	if (fd >= 0)
		close(fd);
	strbuf_release(&text);
	return rc;
}

/* Keeps the first error. */
static void
note(enum rc *first, struct err *e, enum rc rc, const struct err *got)
{
	if (*first == RC_OK && rc != RC_OK) {
		*first = rc;
		if (e != NULL)
			*e = *got;
	}
}

/*
 * path: of the directory, for messages; at: where the name below the top
 * begins in it. Entries are taken in the order of their names, so that the
 * same mistake gives the same message everywhere.
 */
static enum rc
add_below(struct mustache *set, struct strbuf *path, size_t at, int depth,
    struct err *e)
{
	static const char ending[] = ".mustache";
	struct dirent **entries;
	int count = scandir(path->s, &entries, NULL, alphasort);
	size_t len = path->len, tail = sizeof ending - 1;
	enum rc rc = RC_OK;

	if (count < 0)
		return err_set(e, RC_FAIL, "template_unreadable",
		    "%s: cannot read the directory: %s", path->s,
		    strerror(errno));
	for (int i = 0; i < count; i++) {
		struct err got = ERR_INIT;
		const char *name = entries[i]->d_name;
		size_t n = strlen(name);
		struct stat st;

		strbuf_addf(path, "/%s", name);
		if (name[0] == '.') {
			/* "..", editors' leftovers */
		} else if (stat(path->s, &st) != 0) {
			enum rc bad = err_set(&got, RC_FAIL,
			    "template_unreadable", "%s: cannot read it: %s",
			    path->s, strerror(errno));

			note(&rc, e, bad, &got);
		} else if (S_ISDIR(st.st_mode) && depth < DIR_DEPTH_MAX) {
			enum rc sub = add_below(set, path, at, depth + 1, &got);

			note(&rc, e, sub, &got);
		} else if (S_ISREG(st.st_mode) && n > tail &&
			   strcmp(name + n - tail, ending) == 0) {
			char *rel =
			    xstrndup(path->s + at, path->len - at - tail);
			enum rc one = add_file(
			    set, AT_FDCWD, path->s, path->s, rel, &got);

			note(&rc, e, one, &got);
			free(rel);
		}
		strbuf_trunc(path, len);
		free(entries[i]);
	}
	free(entries);
	return rc;
}

enum rc
mustache_add_dir(struct mustache *set, const char *dir, struct err *e)
{
	struct strbuf path;

	strbuf_init(&path, 256);
	strbuf_adds(&path, dir);
	enum rc rc = add_below(set, &path, path.len + 1, 0, e);

	strbuf_release(&path);
	return rc;
}

/* ---- checks */

/* The first tag, in any template, that names one which is not there. */
static enum rc
check_names(const struct mustache *set, struct err *e)
{
	const char *name;
	json_t *number;

	/* By name, in the order they were first seen. */
	json_object_foreach(set->syms, name, number)
	{
		size_t sym = (size_t)json_integer_value(number);

		for (size_t i = 0; set->tpls[sym] == NULL && i < set->ntpls;
		     i++) {
			const struct tpl *tpl = set->tpls[i];

			for (size_t k = 0; tpl != NULL && k < tpl->nops; k++) {
				const struct op *op = &tpl->ops[k];

				if (op->sym != sym ||
				    (op->kind != OP_PARTIAL &&
					op->kind != OP_PARENT))
					continue;
				return err_set(e, RC_INVALID,
				    "template_missing",
				    "%.120s:%u: there is no template '%.120s': "
				    "add %.60s.mustache, or correct the name",
				    tpl->name, (unsigned)op->line, name, name);
			}
		}
	}
	return RC_OK;
}

/*
 * What a template includes whatever the data: tags in no section and no block.
 * A chain of these that comes back to itself, or is too long, never renders.
 * ends[sym]: this one is known to end.
 */
static enum rc
check_ends(const struct mustache *set, uint32_t sym, bool *ends, int depth,
    struct err *e)
{
	const struct tpl *tpl = set->tpls[sym];

	if (tpl == NULL || ends[sym])
		return RC_OK;
	for (uint32_t pc = 0; pc < tpl->nops;) {
		const struct op *op = &tpl->ops[pc];
		bool includes = op->kind == OP_PARTIAL || op->kind == OP_PARENT;

		pc = op->next > pc ? op->next : pc + 1;
		if (!includes)
			continue;
		if (depth == NESTING_MAX)
			return err_set(e, RC_INVALID, "template_depth",
			    "%.120s:%u: templates include each other more than "
			    "%d deep: put one of the tags into a section that "
			    "ends",
			    tpl->name, (unsigned)op->line, NESTING_MAX);
		enum rc rc = check_ends(set, op->sym, ends, depth + 1, e);

		if (rc != RC_OK)
			return rc;
	}
	ends[sym] = true;
	return RC_OK;
}

enum rc
mustache_check(const struct mustache *set, struct err *e)
{
	bool *ends = xcalloc(set->ntpls, sizeof *ends);
	enum rc rc = check_names(set, e);

	for (uint32_t i = 0; rc == RC_OK && i < set->ntpls; i++)
		rc = check_ends(set, i, ends, 0, e);
	free(ends);
	return rc;
}
