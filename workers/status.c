#include "workers/status.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "shop/settings.h"
#include "workers/crew.h"
#include "workers/worker.h"

/* ---- writing */

static void
figure(struct strbuf *out, const char *name, bool known, int64_t value)
{
	if (known)
		strbuf_addf(out, " %s=%lld", name, (long long)value);
	else
		strbuf_addf(out, " %s=-", name);
}

void
status_queue(const struct crew *crew, int processes, int draining,
    struct arena *arena, struct strbuf *out)
{
	const struct watch_line *l = &crew->line;
	bool seen = crew->seen;

	strbuf_addf(out, "queue %s", crew->def->name);
	figure(out, "depth", seen, l->waiting);
	figure(out, "in_flight", seen, l->in_flight);
	figure(out, "oldest_age_ms", seen, l->oldest_ms);
	figure(out, "delayed", seen, l->delayed);
	figure(out, "dead", seen, l->dead);
	figure(out, "asked", seen, crew->state.asked);
	strbuf_addf(out,
	    " wanted=%d granted=%d processes=%d draining=%d min=%d max=%d "
	    "seen=%s figures=%s\n",
	    crew->state.wanted, crew->granted, processes, draining,
	    crew->limits.min, crew->limits.max,
	    seen ? time_rfc3339(arena, crew->seen_wall_ms) : "-",
	    crew->failing ? "away"
	    : l->paused   ? "paused"
	    : seen        ? "fresh"
			  : "none");
}

/* ---- as JSON */

/* oldest_age_ms -> oldestAgeMs, as the API spells names. */
static void
name_camel(struct span name, struct strbuf *out)
{
	bool up = false;

	strbuf_reset(out);
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '_') {
			up = true;
			continue;
		}
		strbuf_addc(out,
		    up ? (char)toupper((unsigned char)name.p[i]) : name.p[i]);
		up = false;
	}
}

static json_t *
value_json(struct span v)
{
	int64_t n;

	if (span_is(v, "-"))
		return json_null();
	if (text_int(v, 0, INT64_MAX, &n))
		return json_integer(n);
	return json_stringn(v.p, v.n);
}

/* NAME=VALUE or NAME="VALUE"; false at the end of the line. */
static bool
pair_next(const char **at, struct span *name, struct span *value, bool *quoted)
{
	const char *p = *at + strspn(*at, " \n");
	size_t n = strcspn(p, "= \n");

	if (p[n] != '=')
		return false;
	*name = (struct span){ p, n };
	p += n + 1;
	*quoted = *p == '"';
	p += *quoted ? 1 : 0;
	n = strcspn(p, *quoted ? "\"\n" : " \n");
	*value = (struct span){ p, n };
	p += n;
	*at = p + (*quoted && *p == '"' ? 1 : 0);
	return true;
}

static void
pairs_json(const char *at, json_t *object)
{
	struct strbuf key;
	struct span name, value;
	bool quoted;

	strbuf_init(&key, 32);
	while (pair_next(&at, &name, &value, &quoted)) {
		name_camel(name, &key);
		(void)json_object_set_new(object, key.s,
		    quoted ? json_stringn(value.p, value.n)
			   : value_json(value));
	}
	strbuf_release(&key);
}

/* The first line is about the supervisor, the others begin with a name. */
static void
line_json(const char *line, json_t *root)
{
	bool queue = strncmp(line, "queue ", 6) == 0;
	const char *name = queue ? line + 6 : line;
	size_t n = strcspn(name, " \n");
	json_t *one;

	if (n == strlen("souk-workers") &&
	    strncmp(name, "souk-workers", n) == 0) {
		pairs_json(name + n, root);
		return;
	}
	one = json_object();
	(void)json_object_set_new(
	    one, queue ? "queue" : "worker", json_stringn(name, n));
	pairs_json(name + n, one);
	(void)json_array_append_new(
	    json_object_get(root, queue ? "queues" : "workers"), one);
}

static void
print_json(FILE *f, char *line, int size)
{
	json_t *root = json_pack("{s:[], s:[]}", "queues", "workers");

	do {
		line_json(line, root);
	} while (fgets(line, size, f) != NULL);
	(void)json_dumpf(root, stdout, JSON_COMPACT);
	(void)fputc('\n', stdout);
	json_decref(root);
}

/* ---- reading */

static bool
is_running(const char *first_line)
{
	const char *at = strstr(first_line, " pid=");
	int64_t pid;

	if (at == NULL)
		return false;
	at += strlen(" pid=");
	return text_int(
		   (struct span){ at, strcspn(at, " ") }, 1, INT32_MAX, &pid) &&
	       (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

int
status_show(const char *conf_path, bool json)
{
	struct err e = ERR_INIT;
	struct conf *conf;
	const char *path;
	char line[512];
	int rc = 1;
	FILE *f;

	if (settings_load(conf_path, &conf, NULL, &e) != RC_OK) {
		(void)fprintf(stderr, "souk-workers: %s\n", e.msg);
		return EXIT_PERSON;
	}
	path = conf_str(conf, "workers", "status_file");
	if (path[0] == '\0') {
		(void)fputs(
		    "souk-workers: [workers] status_file is not set\n", stderr);
		rc = EXIT_PERSON;
	}
	f = path[0] == '\0' ? NULL : fopen(path, "re");
	if (f != NULL && fgets(line, sizeof line, f) != NULL &&
	    is_running(line)) {
		rc = 0;
		if (json)
			print_json(f, line, sizeof line);
		else
			do {
				(void)fputs(line, stdout);
			} while (fgets(line, sizeof line, f) != NULL);
	}
	if (rc == 1)
		(void)fputs("souk-workers: none is running\n", stderr);
	if (f != NULL)
		(void)fclose(f);
	conf_free(conf);
	return rc;
}
