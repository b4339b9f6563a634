/*
 * souk-fcgi: the shop behind a web server. main() finds out what is wanted:
 * a check, a look at the scoreboard, to be the one child of somebody else's
 * process manager, or to be a master.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/xmalloc.h"
#include "fcgi-app/app.h"
#include "fcgi-app/child.h"
#include "fcgi-app/listen.h"
#include "fcgi-app/master.h"
#include "fcgi-app/scoreboard.h"
#include "fcgi-app/setup.h"
#include "shop/settings.h"

enum { EXIT_USAGE = 2 };

struct options {
	const char *conf_path;
	bool check, status, json;
};

static const char usage_text[] =
    "usage: souk-fcgi [-c FILE] [-t]\n"
    "       souk-fcgi [-c FILE] --status [--json]\n"
    "       souk-fcgi -V | -h\n"
    "\n"
    "Serves the shop by FastCGI, in the foreground. Where descriptor 0 is a\n"
    "listening socket (spawn-fcgi, mod_fcgid) it serves there, as one "
    "process;\n"
    "else it listens as souk.ini says and keeps a set of children.\n"
    "\n"
    "  -c, --config FILE  read FILE instead of the standard souk.ini\n"
    "  -t, --test         check configuration and templates, then end\n"
    "      --status       show what the running server is doing\n"
    "      --json         the same as JSON\n"
    "  -V, --version      show the version\n"
    "  -h, --help         show this\n"
    "\n"
    "Signals: TERM and QUIT finish requests and end, HUP reloads.\n"
    "Exit status: 0, 1 (no server is running), 2 (usage), 100 (a person must\n"
    "act), 111 (try again).\n";

static _Noreturn void
usage(int status)
{
	fputs(usage_text, status == 0 ? stdout : stderr);
	exit(status);
}

static void
parse_options(int argc, char **argv, struct options *o)
{
	enum { OPT_STATUS = 256, OPT_JSON };
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "test", no_argument, NULL, 't' },
		{ "status", no_argument, NULL, OPT_STATUS },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:tVh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 't':
			o->check = true;
			break;
		case OPT_STATUS:
			o->status = true;
			break;
		case OPT_JSON:
			o->json = true;
			break;
		case 'V':
			puts("souk-fcgi " PACKAGE_VERSION);
			exit(0);
		case 'h':
			usage(0);
		default:
			usage(EXIT_USAGE);
		}
	}
	if (optind != argc || (o->json && !o->status))
		usage(EXIT_USAGE);
}

/* ---- -t */

/* Pages work without static files, but nobody wants them so. */
static void
static_check(const struct conf *conf)
{
	const char *folder = conf_str(conf, "fcgi", "static");
	struct strbuf path;

	strbuf_init(&path, 256);
	strbuf_addf(&path, "%s/manifest.json", folder);
	if (access(path.s, R_OK) != 0)
		fprintf(stderr,
		    "%s: [fcgi] static: warning: %s: %s; pages will have no "
		    "style\n",
		    conf_source(conf, "fcgi", "static"), path.s,
		    strerror(errno));
	strbuf_release(&path);
}

static int
check(const struct options *o)
{
	const char *file =
	    o->conf_path != NULL ? o->conf_path : "the configuration";
	struct app_opts ao = { 0 };
	struct strbuf problems;
	struct conf *conf;
	struct app *app;
	struct err e = ERR_INIT;
	enum rc rc;

	strbuf_init(&problems, 256);
	rc = settings_load(o->conf_path, &conf, &problems, &e);
	if (rc != RC_OK) {
		if (problems.len > 0)
			fputs(problems.s, stderr);
		else
			fprintf(stderr, "%s\n", e.msg);
		goto out;
	}
	rc = setup_check(conf, &e);
	if (rc == RC_OK) {
		ao.conf = conf;
		rc = app_open(&ao, &app, &e);
		if (rc == RC_OK)
			app_close(app);
	}
	if (rc != RC_OK)
		fprintf(stderr, "%s\n", e.msg);
	else
		static_check(conf);
	conf_free(conf);
out:
	fprintf(stderr, "souk-fcgi: %s %s\n", file,
	    rc == RC_OK ? "is good" : "is not good");
	strbuf_release(&problems);
	return rc == RC_OK ? 0 : EXIT_PERSON;
}

/* ---- --status */

static int
status(const struct options *o)
{
	struct scoreboard *board;
	struct strbuf out;
	struct conf *conf;
	struct err e = ERR_INIT;
	enum rc rc;

	if (settings_load(o->conf_path, &conf, NULL, &e) != RC_OK) {
		fprintf(stderr, "souk-fcgi: %s\n", e.msg);
		return EXIT_PERSON;
	}
	rc = scoreboard_open(conf_str(conf, "fcgi", "status_file"), &board, &e);
	conf_free(conf);
	if (rc != RC_OK) {
		fprintf(stderr, "souk-fcgi: %s\n", e.msg);
		return rc == RC_NONE ? 1 : EXIT_PERSON;
	}
	strbuf_init(&out, 4096);
	if (o->json)
		scoreboard_json(board, &out);
	else
		scoreboard_text(board, &out);
	fputs(out.s, stdout);
	strbuf_release(&out);
	scoreboard_close(board);
	return fflush(stdout) == 0 ? 0 : EXIT_AGAIN;
}

/* ---- one child of somebody else's */

static void
describe_single(struct scoreboard *board)
{
	struct score_master *m = scoreboard_master(board);

	m->pid = (int32_t)getpid();
	m->generation = 1;
	m->children = 1;
	m->started_wall_ms = m->loaded_wall_ms = clock_wall_ms();
	listen_name(0, m->listen, sizeof m->listen);
	snprintf(m->version, sizeof m->version, "%s", PACKAGE_VERSION);
}

/*
 * Ends only when told to: Apache's mod_fcgid answers 500 to whoever is in line
 * for a process that ends by itself, so max_requests does not count here.
 */
static int
serve_single(const struct options *o)
{
	struct child_opts co = { .listen_fd = 0,
		.handover = { -1, -1 },
		.ready_fd = -1,
		.conf_path = o->conf_path,
		.housekeeper = true };
	struct scoreboard *board;
	struct conf *conf;
	struct err e = ERR_INIT;
	bool named;
	int rc;

	if (settings_load(o->conf_path, &conf, NULL, &e) != RC_OK ||
	    setup_check(conf, &e) != RC_OK)
		die(EXIT_PERSON, "%s", e.msg);
	settings_log(conf);
	if (listen_prepare(0, &e) != RC_OK ||
	    scoreboard_create(conf_str(conf, "fcgi", "status_file"), &board,
		&named, &e) != RC_OK)
		die(EXIT_AGAIN, "%s", e.msg);
	describe_single(board);
	co.conf = conf;
	co.board = board;
	co.score = scoreboard_take(board, 1, false);
	co.score->pid = (int32_t)getpid();
	co.limits = setup_limits(conf);
	co.slots = (int)conf_int(conf, "fcgi", "slots");
	co.drain_ms = conf_int(conf, "fcgi", "drain");
	scoreboard_master(board)->slots = co.slots;
	rc = child_serve(&co);
	scoreboard_close(board);
	conf_free(conf);
	return rc;
}

/* A connection must never get the number of stdin, stdout or stderr. */
static void
open_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd < 3);
	if (fd > 2)
		close(fd);
}

/* Names are looked up by the C library, which knows no deadline of ours: by
 * default a name server that is away costs 10 s a name. Who set it meant it. */
static void
bound_lookups(void)
{
	(void)setenv("RES_OPTIONS", "timeout:1 attempts:2", 0);
}

int
main(int argc, char **argv)
{
	struct options o = { 0 };
	struct master_opts mo = {
		.argc = argc, .argv = argv, .version = PACKAGE_VERSION
	};

	open_standard();
	bound_lookups();
	log_init("souk-fcgi");
	parse_options(argc, argv, &o);
	if (o.status)
		return status(&o);
	if (o.check)
		return check(&o);
	if (!master_is_successor() && listen_is_socket(0))
		return serve_single(&o);
	mo.conf_path = o.conf_path;
	return master_run(&mo);
}
