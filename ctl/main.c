/*
 * soukctl - the operator's command. One table of commands; what they share is
 * in ctl.h.
 */
#include "config.h"

#include "ctl/ctl.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "shop/settings.h"

const struct ctl_cmd *const ctl_groups[] = {
	migrate_cmds,
	import_cmds,
	image_cmds,
	token_cmds,
	user_cmds,
	sale_cmds,
	queue_cmds,
	cache_cmds,
	doctor_cmds,
	conf_cmds,
	assets_cmds,
	help_cmds,
	debug_cmds,
	NULL,
};

enum { EXIT_REFUSED = 1, EXIT_USAGE = 2 };

/* Options of soukctl itself; taken before and after the command's name. */
static const struct ctl_opt global_opts[] = {
	{ "conf", "FILE", "the configuration, instead of the usual place" },
	{ "json", NULL, "results as JSON" },
	{ "quiet", NULL, "no words on stderr but errors" },
	{ "help", NULL, "say how the command is used" },
	{ "version", NULL, "say which version this is" },
	{ 0 },
};
enum { G_CONF, G_JSON, G_QUIET, G_HELP, G_VERSION, G_N };

static int
option_find(const struct ctl_opt *opts, const char *name, size_t len)
{
	for (int i = 0; opts != NULL && opts[i].name != NULL; i++) {
		if (strlen(opts[i].name) == len &&
		    memcmp(opts[i].name, name, len) == 0)
			return i;
	}
	return -1;
}

const char *
ctl_value(const struct ctl_args *args, const char *name)
{
	int i = option_find(args->cmd->opts, name, strlen(name));

	assert(i >= 0 && i < CTL_MAX_OPTS);
	return args->value[i];
}

bool
ctl_flag(const struct ctl_args *args, const char *name)
{
	return ctl_value(args, name) != NULL;
}

enum rc
ctl_usage(struct err *e, const char *fmt, ...)
{
	char msg[sizeof e->msg];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof msg, fmt, ap);
	va_end(ap);
	return err_set(e, RC_INVALID, "usage", "%s", msg);
}

enum rc
ctl_int(const struct ctl_args *args, const char *name, int64_t min, int64_t max,
    int64_t *out, struct err *e)
{
	const char *s = ctl_value(args, name);

	if (s == NULL || text_int(span_of(s), min, max, out))
		return RC_OK;
	return ctl_usage(e, "--%s %s: a number from %lld to %lld is wanted",
	    name, s, (long long)min, (long long)max);
}

enum rc
ctl_operand_int(const struct ctl_args *args, int i, const char *what,
    int64_t *out, struct err *e)
{
	if (i < args->n &&
	    text_int(span_of(args->operand[i]), 1, INT64_MAX, out))
		return RC_OK;
	return ctl_usage(
	    e, "%s: a number is wanted, as `list` prints it", what);
}

void
ctl_say(const struct ctl *ctl, const char *fmt, ...)
{
	va_list ap;

	if (ctl->quiet)
		return;
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

void
ctl_print_json(struct json_t *value)
{
	assert(value != NULL);
	(void)json_dumpf(value, stdout, JSON_COMPACT);
	(void)putchar('\n');
	json_decref(value);
}

/*
 * Which command the words name: the longest row whose words they begin with.
 * *used: how many words that took.
 */
static const struct ctl_cmd *
command_find(int n, char *words[], int *used)
{
	const struct ctl_cmd *best = NULL;

	*used = 0;
	for (int g = 0; ctl_groups[g] != NULL; g++) {
		for (const struct ctl_cmd *c = ctl_groups[g]; c->name != NULL;
		     c++) {
			const char *rest = c->name;
			int w = 0;

			for (; *rest != '\0' && w < n; w++) {
				size_t len = strcspn(rest, " ");

				if (strlen(words[w]) != len ||
				    memcmp(words[w], rest, len) != 0)
					break;
				rest += len + (rest[len] == ' ');
			}
			if (*rest == '\0' && w > *used) {
				best = c;
				*used = w;
			}
		}
	}
	return best;
}

static void
usage_print(FILE *to, const struct ctl_cmd *c)
{
	(void)fprintf(to, "usage: soukctl %s", c->name);
	if (c->opts != NULL)
		(void)fputs(" [OPTION...]", to);
	if (c->operands[0] != '\0')
		(void)fprintf(to, " %s", c->operands);
	(void)fprintf(to, "\n%s\n", c->help);
	for (const struct ctl_opt *o = c->opts; o != NULL && o->name != NULL;
	     o++) {
		char left[40];

		(void)snprintf(left, sizeof left, "--%s%s%s", o->name,
		    o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
		(void)fprintf(to, "  %-22s %s\n", left, o->help);
	}
}

/* The commands whose names begin so: "sale" is none, but shows what it may
 * mean. False: there is none. */
static bool
usage_like(FILE *to, const char *word)
{
	size_t n = strlen(word);
	bool any = false;

	for (int g = 0; ctl_groups[g] != NULL; g++) {
		for (const struct ctl_cmd *c = ctl_groups[g]; c->name != NULL;
		     c++) {
			char left[60];

			if (strncmp(c->name, word, n) != 0)
				continue;
			any = true;
			(void)snprintf(left, sizeof left, "%s%s%s", c->name,
			    c->operands[0] != '\0' ? " " : "", c->operands);
			(void)fprintf(to, "  %-26s %s\n", left, c->help);
		}
	}
	return any;
}

static void
usage_all(FILE *to)
{
	(void)fputs("usage: soukctl [--conf FILE] [--json] [--quiet] COMMAND "
		    "[OPTION...]\n\ncommands:\n",
	    to);
	usage_like(to, "");
	(void)fputs("\nsoukctl help COMMAND tells a command's options.\n"
		    "Exit status: 0 done, 1 refused, 2 usage, 100 a person "
		    "must act, 111 try again.\n",
	    to);
}

/*
 * A first look at the command line: its words, which tell the command (its own
 * options follow it), and the options of soukctl itself, which may stand
 * anywhere.
 */
struct line {
	int n_words;
	char **words;
	const char *global[G_N];
};

/* The option at argv[*i] if it is one of opts: its row, its value ("" for a
 * flag), and *i moved on to a value in the next word. Row -1: none of them. */
static enum rc
option_take(const struct ctl_opt *opts, int argc, char *argv[], int *i,
    int *row, const char **value, struct err *e)
{
	const char *a = argv[*i];

	if (strcmp(a, "-h") == 0)
		a = "--help";
	if (strcmp(a, "-c") == 0)
		a = "--conf";
	size_t len = strcspn(a, "=");
	bool has_value = a[len] == '=';

	*value = has_value ? a + len + 1 : "";
	*row = a[1] == '-' ? option_find(opts, a + 2, len - 2) : -1;
	if (*row < 0)
		return RC_OK;

	const struct ctl_opt *o = &opts[*row];

	if (o->arg == NULL && has_value)
		return ctl_usage(e, "--%s takes no value", o->name);
	if (o->arg != NULL && !has_value) {
		if (*i + 1 >= argc)
			return ctl_usage(e, "--%s wants %s", o->name, o->arg);
		*value = argv[++*i];
	}
	return RC_OK;
}

static enum rc
line_read(
    struct line *l, int argc, char *argv[], struct arena *arena, struct err *e)
{
	l->words = arena_calloc(arena, (size_t)argc + 1, sizeof *l->words);
	for (int i = 1; i < argc; i++) {
		const char *value;
		int row;
		enum rc rc;

		if (strcmp(argv[i], "--") == 0)
			break;
		if (argv[i][0] != '-' || argv[i][1] == '\0') {
			l->words[l->n_words++] = argv[i];
			continue;
		}
		rc = option_take(global_opts, argc, argv, &i, &row, &value, e);
		if (rc != RC_OK)
			return rc;
		if (row >= 0)
			l->global[row] = value;
	}
	return RC_OK;
}

/* Now that the command is known: its operands and options. skip: the words of
 * its name. */
static enum rc
args_bind(struct ctl_args *args, int argc, char *argv[], int skip,
    struct arena *arena, struct err *e)
{
	const struct ctl_cmd *c = args->cmd;
	bool only_words = false;

	args->operand =
	    arena_calloc(arena, (size_t)argc + 1, sizeof *args->operand);
	for (int i = 1; i < argc; i++) {
		const char *value;
		int row;
		enum rc rc;

		if (!only_words && strcmp(argv[i], "--") == 0) {
			only_words = true;
			continue;
		}
		if (only_words || argv[i][0] != '-' || argv[i][1] == '\0') {
			if (skip > 0)
				skip--;
			else
				args->operand[args->n++] = argv[i];
			continue;
		}
		rc = option_take(global_opts, argc, argv, &i, &row, &value, e);
		if (rc == RC_OK && row >= 0)
			continue;
		if (rc == RC_OK)
			rc = option_take(
			    c->opts, argc, argv, &i, &row, &value, e);
		if (rc != RC_OK)
			return rc;
		if (row < 0)
			return ctl_usage(e, "%s: no such option", argv[i]);
		args->value[row] = value;
	}
	if (args->n < c->min)
		return ctl_usage(e, "%s is missing", c->operands);
	if (c->max >= 0 && args->n > c->max)
		return ctl_usage(e, "%s: one too many", args->operand[c->max]);
	return RC_OK;
}

static int
exit_status(enum rc rc, const struct err *e)
{
	switch (rc) {
	case RC_OK:
		return 0;
	case RC_NONE:
	case RC_REFUSED:
	case RC_INVALID:
		return strcmp(e->code, "usage") == 0 ? EXIT_USAGE
						     : EXIT_REFUSED;
	case RC_RETRY:
		return EXIT_AGAIN;
	case RC_FAIL:
		break;
	}
	return EXIT_PERSON;
}

static enum rc
command_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct strbuf problems;
	enum rc rc = RC_OK;

	strbuf_init(&problems, 0);
	if (!args->cmd->no_conf)
		rc = settings_load(ctl->conf_path, &ctl->conf, &problems, e);
	if (rc == RC_INVALID)
		rc = err_set(e, RC_FAIL, e->code, "%s", e->msg);
	if (rc == RC_OK)
		rc = args->cmd->run(ctl, args, e);
	/* A full disk must not look like success. */
	errno = 0;
	if (fflush(stdout) != 0 || ferror(stdout) != 0) {
		if (rc == RC_OK && errno == EPIPE)
			rc = err_set(e, RC_REFUSED, "output", "%s", "");
		else if (rc == RC_OK)
			rc = err_set(e, RC_RETRY, "output",
			    "cannot write the result: %s",
			    errno != 0 ? strerror(errno) : "write error");
	}
	strbuf_release(&problems);
	ctl_close(ctl);
	conf_free(ctl->conf);
	return rc;
}

static int
run_line(struct ctl *ctl, int argc, char *argv[])
{
	struct err e = ERR_INIT;
	struct line line = { 0 };
	struct ctl_args args = { 0 };
	enum rc rc = line_read(&line, argc, argv, ctl->arena, &e);
	int used = 0;

	if (rc == RC_OK && line.global[G_VERSION] != NULL) {
		(void)puts("soukctl " PACKAGE_VERSION);
		return 0;
	}
	ctl->conf_path = line.global[G_CONF];
	ctl->json = line.global[G_JSON] != NULL;
	ctl->quiet = line.global[G_QUIET] != NULL;
	if (line.n_words > 0 && strcmp(line.words[0], "help") == 0) {
		line.words++;
		line.n_words--;
		line.global[G_HELP] = "";
	}
	if (rc == RC_OK && line.n_words == 0 && line.global[G_HELP] == NULL)
		rc = ctl_usage(&e, "which command? soukctl help lists them");
	if (rc == RC_OK)
		args.cmd = command_find(line.n_words, line.words, &used);
	if (rc == RC_OK && line.global[G_HELP] != NULL) {
		if (args.cmd != NULL)
			usage_print(stdout, args.cmd);
		else if (line.n_words == 0)
			usage_all(stdout);
		if (args.cmd != NULL || line.n_words == 0 ||
		    usage_like(stdout, line.words[0]))
			return 0;
	}
	if (rc == RC_OK && args.cmd == NULL)
		rc = ctl_usage(&e, "%s%s%s: no such command", line.words[0],
		    line.n_words > 1 ? " " : "",
		    line.n_words > 1 ? line.words[1] : "");
	if (rc == RC_OK)
		rc = args_bind(&args, argc, argv, used, ctl->arena, &e);
	if (rc == RC_OK)
		rc = command_run(ctl, &args, &e);
	if (rc != RC_OK && e.msg[0] != '\0')
		(void)fprintf(stderr, "soukctl: %s\n", e.msg);
	/* SQLSTATE of a table or column that is not there */
	if (rc == RC_FAIL && (strstr(e.msg, "(42P01)") != NULL ||
				 strstr(e.msg, "(42703)") != NULL))
		(void)fputs("soukctl: run `soukctl migrate` first\n", stderr);
	if (rc != RC_OK && strcmp(e.code, "usage") == 0) {
		if (args.cmd != NULL)
			usage_print(stderr, args.cmd);
		else if (line.n_words > 0 && !usage_like(stderr, line.words[0]))
			(void)fputs("soukctl help lists them\n", stderr);
	}
	return exit_status(rc, &e);
}

int
main(int argc, char *argv[])
{
	struct ctl ctl = { .arena = arena_new() };

	log_init("soukctl");
	log_setup(LL_WARN, LF_LOGFMT, LT_STDERR);
	/* A reader that went away is an error of write(2), seen at the end. */
	(void)signal(SIGPIPE, SIG_IGN);

	int status = run_line(&ctl, argc, argv);

	arena_free(ctl.arena);
	return status;
}
