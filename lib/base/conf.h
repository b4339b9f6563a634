/*
 * conf - configuration from a table of rows.
 * Each key is one row: the parser, the -t check, souk.ini(5) and the
 * environment names come from it. Order of strength: default < souk.ini <
 * environment. An unknown section or key is an error with file and line.
 */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum conf_type {
	CONF_STR,
	CONF_INT,  /* plain number */
	CONF_MS,   /* "250ms", "2s", "5m", "1h", "1d"; a bare number: ms */
	CONF_S,    /* the same, kept in seconds; a bare number: seconds */
	CONF_SIZE, /* "64k", "16m", "1g"; bytes */
	CONF_BOOL, /* yes/no, true/false, on/off, 1/0 */
	CONF_ENUM  /* one of the words in `words`, kept as a string */
};

struct conf_row {
	const char *section; /* [redis] */
	const char *key;
	enum conf_type type;
	const char *dflt;    /* as it would be written */
	int64_t min, max;    /* of numbers, in the unit kept; both 0: no bound */
	const char *words;   /* CONF_ENUM: "a|b|c" */
	const char *env;     /* a name beside SOUK_<SECTION>_<KEY>, or NULL */
	bool secret;         /* never shown by dumps */
	const char *help;    /* one or two sentences for souk.ini(5) */
};

struct conf;

/*
 * rows: a table that ends with section NULL; borrowed for the life of the
 * configuration. path: the file, or NULL for none. environ_: as in environ(7),
 * or NULL. On success *out is given (conf_free). RC_INVALID: e says
 * "file:line: what is wrong and what would be right"; RC_FAIL: unreadable.
 * Also returns every further problem, a line each, in *problems (may be NULL)
 * so that -t names them all.
 */
struct strbuf;
enum rc conf_load(const struct conf_row *rows, const char *path,
    char *const environ_[], struct conf **out, struct strbuf *problems,
    struct err *e);
void conf_free(struct conf *conf); /* NULL is allowed */

/* The section and key must be in the table (assert). Borrowed strings live as
 * long as the configuration. conf_str gives "" for an empty value. */
const char *conf_str(const struct conf *conf, const char *section,
    const char *key);
int64_t conf_int(const struct conf *conf, const char *section,
    const char *key); /* CONF_INT, CONF_MS, CONF_S, CONF_SIZE */
bool conf_bool(const struct conf *conf, const char *section, const char *key);

/* A text as CONF_MS takes it. False: it is none. */
bool conf_time_ms(const char *s, int64_t *out_ms);

/* True where the file or the environment set it. */
bool conf_is_set(const struct conf *conf, const char *section,
    const char *key);

/* Where a value came from: "souk.ini:12", "REDIS_URL", "default". */
const char *conf_source(const struct conf *conf, const char *section,
    const char *key);

/* Effective configuration as an INI file; secrets as "(set)". */
void conf_dump(const struct conf *conf, struct strbuf *out);

/* The table as an INI file to start from: every key in a comment, with what it
 * means and its default. */
void conf_sample(const struct conf_row *rows, struct strbuf *out);

/* The table as the body of souk.ini(5), in mdoc. */
void conf_mdoc(const struct conf_row *rows, struct strbuf *out);

#endif
