/*
 * ctl - what the commands of soukctl share.
 *
 * A command is a row: name, operands, options, one line of help, a function.
 * Parsing, --help, usage errors and the shell completion come from the row. A
 * command's .c file exports its rows as an array that ends with a NULL name
 * and is named in main.c's table.
 *
 * Results go to stdout (one value a line, or JSON with --json), words for a
 * person to stderr. Exit: 0 done, 1 refused, 2 usage, 100 a person must act,
 * 111 try again.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct arena;
struct conf;
struct pg;
struct redis;
struct shop;

struct ctl {
	const char *conf_path; /* --conf; NULL: as settings_load() finds it */
	struct conf *conf;     /* NULL for a command with no_conf */
	struct arena *arena;   /* for the life of the command */
	bool json;             /* --json */
	bool quiet;            /* --quiet: no words on stderr but errors */
	struct pg *pg;         /* use ctl_pg() */
	struct redis *redis;   /* use ctl_redis() */
	struct shop *shop;     /* use ctl_shop() */
};

/* Opened when first asked for, closed by main(). Neither connects yet. */
struct pg *ctl_pg(struct ctl *ctl); /* never NULL */
enum rc ctl_redis(struct ctl *ctl, struct redis **out, struct err *e);
enum rc ctl_shop(struct ctl *ctl, struct shop **out, struct err *e);

void ctl_close(struct ctl *ctl);

enum { CTL_MAX_OPTS = 16 };

struct ctl_opt {
	const char *name; /* without its dashes; NULL ends a list */
	const char *arg;  /* what it takes ("ID"), or NULL: a flag */
	const char *help;
};

struct ctl_args {
	const struct ctl_cmd *cmd;
	int n; /* operands */
	char **operand;
	const char *value[CTL_MAX_OPTS]; /* by row; flags: "" */
};

struct ctl_cmd {
	const char *name;           /* "sale create" */
	const char *operands;       /* "SALE", "FILE...", or "" */
	int min, max;               /* operands; max -1: any number */
	const char *help;           /* one line */
	const struct ctl_opt *opts; /* NULL: none; at most CTL_MAX_OPTS */
	bool no_conf;               /* runs without a configuration */
	/*
	 * RC_OK: exit 0. Else e is printed and the exit status is 1 (RC_NONE,
	 * RC_REFUSED, RC_INVALID), 100 (RC_FAIL) or 111 (RC_RETRY); 2 for the
	 * code "usage" (see ctl_usage). An empty e->msg prints nothing.
	 */
	enum rc (*run)(
	    struct ctl *ctl, const struct ctl_args *args, struct err *e);
};

/* The option's value; "" for a flag that was given; NULL: not given. The name
 * must be in the command's rows (assert). Given twice: the last one. */
const char *ctl_value(const struct ctl_args *args, const char *name);
bool ctl_flag(const struct ctl_args *args, const char *name);

/*
 * A number from an option. Not given: *out is left alone. RC_INVALID with code
 * "usage" where it is none or out of [min, max].
 */
enum rc ctl_int(const struct ctl_args *args, const char *name, int64_t min,
    int64_t max, int64_t *out, struct err *e);

/* The same for an operand: `what` names it in the error. */
enum rc ctl_operand_int(const struct ctl_args *args, int i, const char *what,
    int64_t *out, struct err *e); /* 1 and up */

/* A usage error: exit 2, with the command's usage after the message. */
enum rc ctl_usage(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Words for a person: a line on stderr, unless --quiet. */
void ctl_say(const struct ctl *ctl, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Print a JSON value with a newline; takes the reference. */
struct json_t;
void ctl_print_json(struct json_t *value);

/* Every command, in the order of the help; ends with NULL. For `help` and
 * `completion`. */
extern const struct ctl_cmd *const ctl_groups[];

extern const struct ctl_cmd assets_cmds[];
extern const struct ctl_cmd cache_cmds[];
extern const struct ctl_cmd conf_cmds[];
extern const struct ctl_cmd debug_cmds[];
extern const struct ctl_cmd doctor_cmds[];
extern const struct ctl_cmd help_cmds[];
extern const struct ctl_cmd image_cmds[];
extern const struct ctl_cmd import_cmds[];
extern const struct ctl_cmd migrate_cmds[];
extern const struct ctl_cmd queue_cmds[];
extern const struct ctl_cmd sale_cmds[];
extern const struct ctl_cmd token_cmds[];
extern const struct ctl_cmd user_cmds[];

#endif
