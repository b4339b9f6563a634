/*
 * An application for testing the server: answers what its path says.
 *
 *	/fixed          200 bytes
 *	/bytes/N        N bytes
 *	/echo           the body
 *	/upload         how long the body was: up to 8 MiB
 *	/sleep/MS       after that time
 *	/stuck          never: a loop that only SIGKILL ends
 *	/die            the process aborts
 *	/bad-header     a header field with a line end in it
 *	/metrics        the scoreboard
 *	/who            process id and whether this is a housekeeper
 *
 * The file named by $STUB_FAIL, where it exists: app_open fails; its first line
 * is why. $STUB_FAIL.child: it fails in children only.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/doing.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "fcgi-app/app.h"
#include "fcgi-app/request.h"
#include "fcgi-app/scoreboard.h"

struct app {
	struct app_opts opts;
	const char *name; /* [shop] name: shows which configuration serves */
	int64_t turned_ms;
	int64_t longest_ms; /* between two turns */
};

static enum rc
fail_by(const char *path, struct err *e)
{
	char line[200] = "";
	FILE *f = fopen(path, "r");

	if (f == NULL)
		return RC_OK;
	if (fgets(line, sizeof line, f) != NULL)
		line[strcspn(line, "\n")] = '\0';
	fclose(f);
	return err_set(e, RC_INVALID, "stub", "%s", line);
}

enum rc
app_open(const struct app_opts *opts, struct app **out, struct err *e)
{
	const char *fail = getenv("STUB_FAIL");
	char child[512];
	enum rc rc;

	if (fail != NULL && (rc = fail_by(fail, e)) != RC_OK)
		return rc;
	if (fail != NULL && opts->scoreboard != NULL) {
		snprintf(child, sizeof child, "%s.child", fail);
		if ((rc = fail_by(child, e)) != RC_OK)
			return rc;
	}
	*out = xcalloc(1, sizeof **out);
	(*out)->opts = *opts;
	(*out)->name = conf_str(opts->conf, "shop", "name");
	return RC_OK;
}

void
app_close(struct app *app)
{
	free(app);
}

static void
text(struct response *rs, const char *s)
{
	rs->type = "text/plain";
	rs->body = span_of(s);
}

static void
bytes(struct request *rq, struct response *rs, int64_t n)
{
	char *p = arena_alloc(rq->arena, (size_t)n + 1);

	for (int64_t i = 0; i < n; i++)
		p[i] = (char)('a' + i % 26);
	rs->type = "text/plain";
	rs->body = (struct span){ p, (size_t)n };
}

static void
metrics(struct app *app, struct request *rq, struct response *rs)
{
	struct strbuf sb;

	strbuf_init(&sb, 4096);
	scoreboard_metrics(app->opts.scoreboard, &sb);
	text(rs, arena_strndup(rq->arena, sb.s, sb.len));
	strbuf_release(&sb);
}

static void
who(struct app *app, struct request *rq, struct response *rs)
{
	text(rs,
	    arena_printf(rq->arena,
		"pid=%ld name=%s housekeeper=%d longest=%ld\n", (long)getpid(),
		app->name, app->opts.housekeeper, (long)app->longest_ms));
}

static bool
after(const char *path, const char *prefix, int64_t *n)
{
	size_t len = strlen(prefix);

	return strncmp(path, prefix, len) == 0 &&
	       text_int(span_of(path + len), 0, 64 << 20, n);
}

static void
spin(void)
{
	for (;;)
		pause();
}

size_t
app_max_body(struct app *app, struct request *rq, size_t max_body)
{
	(void)app;
	return strcmp(rq->path, "/upload") == 0 ? (size_t)8 << 20 : max_body;
}

void
app_handle(struct app *app, struct request *rq, struct response *rs)
{
	int64_t n;

	if (rq->bad.status != 0) {
		rs->status = rq->bad.status;
		text(rs, rq->bad.code);
	} else if (strcmp(rq->path, "/fixed") == 0) {
		bytes(rq, rs, 200);
	} else if (strcmp(rq->path, "/echo") == 0) {
		rs->type = "application/octet-stream";
		rs->body = rq->body;
	} else if (strcmp(rq->path, "/upload") == 0) {
		char num[TEXT_NUM];

		text(rs,
		    arena_strdup(
			rq->arena, text_num((int64_t)rq->body.n, num)));
	} else if (after(rq->path, "/bytes/", &n)) {
		bytes(rq, rs, n);
	} else if (after(rq->path, "/sleep/", &n)) {
		clock_sleep_ms(n);
		text(rs, "slept\n");
	} else if (strcmp(rq->path, "/stuck") == 0) {
		doing_set(app->opts.doing, "stub", "stuck");
		spin();
	} else if (strcmp(rq->path, "/die") == 0) {
		abort();
	} else if (strcmp(rq->path, "/bad-header") == 0) {
		response_header(rs, rq->arena, "X-Bad", "a\r\nSet-Cookie: b");
	} else if (strcmp(rq->path, "/metrics") == 0) {
		metrics(app, rq, rs);
	} else if (strcmp(rq->path, "/who") == 0) {
		who(app, rq, rs);
	} else {
		rs->status = 404;
		text(rs, "not found\n");
	}
}

int
app_pollfds(struct app *app, struct pollfd *fds, int max)
{
	(void)app;
	(void)fds;
	(void)max;
	return 0;
}

void
app_turn(struct app *app)
{
	int64_t now = clock_mono_ms();

	if (app->turned_ms != 0 && now - app->turned_ms > app->longest_ms)
		app->longest_ms = now - app->turned_ms;
	app->turned_ms = now;
}
