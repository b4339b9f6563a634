/*
 * souk-workers, the supervisor, and souk-worker NAME, one worker: one program,
 * and the name it is called by says which.
 */
#include "config.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/xmalloc.h"
#include "workers/status.h"
#include "workers/supervisor.h"
#include "workers/watch.h"
#include "workers/worker.h"

enum { EXIT_USAGE = 2 };

struct options {
	const char *self; /* "souk-workers" */
	const char *conf_path;
	bool one; /* souk-worker */
	bool check, status, json;
	bool watch; /* souk-worker --watch */
};

static const char workers_usage[] =
    "usage: souk-workers [-c FILE] [-t]\n"
    "       souk-workers [-c FILE] --status [--json]\n"
    "       souk-workers -V | -h\n"
    "\n"
    "Runs the shop's workers, in the foreground.\n"
    "\n"
    "  -c, --config FILE  read FILE instead of the standard souk.ini\n"
    "  -t, --test         check the configuration, then end\n"
    "      --status       show the workers of the one that runs\n"
    "      --json         ... and its queues, for programs\n"
    "  -V, --version      show the version\n"
    "  -h, --help         show this\n"
    "\n"
    "Signals: TERM finishes the tasks in hand and ends, a second one ends at\n"
    "once; HUP reads the configuration again.\n"
    "Exit status: 0, 1 (none is running), 2 (usage), 100 (a person must act),\n"
    "111 (try again).\n";

static const char worker_usage[] =
    "usage: souk-worker [-c FILE] NAME...\n"
    "       souk-worker [-c FILE] -t\n"
    "       souk-worker [-c FILE] --watch\n"
    "\n"
    "Runs one worker, in the foreground; souk-workers runs all of them. With\n"
    "several names one process does the work of all of them, in turns by "
    "their\n"
    "class. With --watch writes how the queues stand, a line each, every "
    "second.\n"
    "NAME is one of:";

static _Noreturn void
usage(const struct options *o, int status)
{
	FILE *to = status == 0 ? stdout : stderr;

	(void)fputs(o->one ? worker_usage : workers_usage, to);
	for (const struct worker_def *d = worker_defs;
	     o->one && d->name != NULL; d++)
		(void)fprintf(to, " %s", d->name);
	if (o->one)
		(void)fputc('\n', to);
	exit(status);
}

static void
parse_options(int argc, char **argv, struct options *o)
{
	enum { OPT_STATUS = 256, OPT_JSON, OPT_WATCH };
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "test", no_argument, NULL, 't' },
		{ "status", no_argument, NULL, OPT_STATUS },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "watch", no_argument, NULL, OPT_WATCH },
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
			o->status = !o->one;
			break;
		case OPT_JSON:
			o->json = true;
			break;
		case OPT_WATCH:
			o->watch = true;
			break;
		case 'V':
			(void)printf("%s " PACKAGE_VERSION "\n", o->self);
			exit(0);
		case 'h':
			usage(o, 0);
		default:
			usage(o, EXIT_USAGE);
		}
	}
	if ((argc > optind) != (o->one && !o->check && !o->watch) ||
	    (o->watch && !o->one) || (o->json && !o->status))
		usage(o, EXIT_USAGE);
}

/* Apart, or as one word with commas. */
static void
parse_names(
    const struct options *o, int argc, char **argv, struct worker_list *out)
{
	struct strbuf names;

	strbuf_init(&names, 64);
	for (int i = optind; i < argc; i++)
		strbuf_addf(&names, "%s ", argv[i]);
	if (!worker_list_parse(names.s, out) || out->n == 0)
		usage(o, EXIT_USAGE);
	strbuf_release(&names);
}

static int
check(const struct options *o)
{
	struct err e = ERR_INIT;
	enum rc rc = worker_check(o->conf_path, &e);

	if (rc != RC_OK)
		(void)fprintf(stderr, "%s: %s\n", o->self, e.msg);
	(void)fprintf(stderr, "%s: %s %s\n", o->self,
	    o->conf_path != NULL ? o->conf_path : "the configuration",
	    rc == RC_OK ? "is good" : "is not good");
	return rc == RC_OK ? 0 : EXIT_PERSON;
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

int
main(int argc, char **argv)
{
	struct options o = { .self = "souk-workers" };
	const char *called = argc > 0 ? strrchr(argv[0], '/') : NULL;
	struct worker_list list;

	called = called != NULL ? called + 1 : argc > 0 ? argv[0] : "";
	if (strcmp(called, "souk-worker") == 0) {
		o.one = true;
		o.self = "souk-worker";
	}
	open_standard();
	/* Names are looked up by the C library, which knows no deadline of
	 * ours. */
	(void)setenv("RES_OPTIONS", "timeout:1 attempts:2", 0);
	log_init(o.self);
	parse_options(argc, argv, &o);
	if (o.check)
		return check(&o);
	if (o.status)
		return status_show(o.conf_path, o.json);
	if (o.watch)
		return watch_run(o.conf_path);
	if (!o.one)
		return supervisor_run(o.conf_path);
	parse_names(&o, argc, argv, &list);
	return worker_run(&list, o.conf_path);
}
