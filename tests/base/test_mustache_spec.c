/*
 * The cases of the official specification (github.com/mustache/spec), as JSON
 * files in shared/data/mustache-spec. They are not ours to ship: without them
 * the test is skipped.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mustache.h"
#include "base/strbuf.h"

enum { SKIPPED = 77 };

static const char *
text(const json_t *test, const char *key)
{
	const char *s = json_string_value(json_object_get(test, key));

	return s == NULL ? "" : s;
}

static bool
run_case(const char *module, const json_t *test)
{
	json_t *partials = json_object_get(test, "partials"), *partial;
	const json_t *ctx[] = { json_object_get(test, "data") };
	struct mustache *set = mustache_new();
	struct err e = ERR_INIT;
	const char *name;
	struct strbuf out;
	enum rc rc;

	strbuf_init(&out, 0);
	rc = mustache_add(set, "main", text(test, "template"),
	    strlen(text(test, "template")), &e);
	json_object_foreach(partials, name, partial)
	{
		if (rc == RC_OK)
			rc = mustache_add(set, name, json_string_value(partial),
			    json_string_length(partial), &e);
	}
	if (rc == RC_OK)
		rc = mustache_render(set, "main", 1, ctx, &out, &e);
	bool ok = rc == RC_OK && strcmp(out.s, text(test, "expected")) == 0;

	if (!ok)
		printf("FAIL %s: %s: %s\n  template: %s\n  want: %s|\n"
		       "  got:  %s|\n  error: %s\n",
		    module, text(test, "name"), text(test, "desc"),
		    text(test, "template"), text(test, "expected"), out.s,
		    e.msg);
	strbuf_release(&out);
	mustache_free(set);
	return ok;
}

static bool
run_module(const char *dir, const char *module)
{
	char path[4096];
	json_error_t je;
	json_t *test;
	size_t i, failed = 0;

	(void)snprintf(path, sizeof path, "%s/%s.json", dir, module);
	json_t *file = json_load_file(path, 0, &je);
	json_t *tests = json_object_get(file, "tests");

	if (json_array_size(tests) == 0) {
		printf("FAIL %s: no cases: %s\n", path, je.text);
		json_decref(file);
		return false;
	}
	json_array_foreach(tests, i, test) failed += !run_case(module, test);
	printf("%s: %zu cases, %zu failed\n", module, json_array_size(tests),
	    failed);
	json_decref(file);
	return failed == 0;
}

int
main(void)
{
	static const char *const modules[] = { "comments", "delimiters",
		"interpolation", "inverted", "partials", "sections",
		"~inheritance" };
	const char *shared = getenv("SOUK_SHARED");
	const char *srcdir = getenv("srcdir");
	char dir[2048];
	bool ok = true;

	if (shared != NULL)
		(void)snprintf(
		    dir, sizeof dir, "%s/data/mustache-spec", shared);
	else
		(void)snprintf(dir, sizeof dir,
		    "%s/../shared/data/mustache-spec",
		    srcdir == NULL ? "." : srcdir);
	if (access(dir, R_OK) != 0) {
		printf("skipped: no %s (set SOUK_SHARED)\n", dir);
		return SKIPPED;
	}
	for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
		ok = run_module(dir, modules[i]) && ok;
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
