/*
 * One pass over the file, one over the environment, then every value is checked
 * against its row. All problems are collected, so that -t names each of them at
 * once; the first one is the error.
 *
 * The INI reader is our own: libinih cuts lines at 200 bytes, fewer than a
 * database address with its options may have, and does not tell line numbers
 * unless it was built for that.
 */
#include "base/conf.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/span.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"

struct value {
	char *text;   /* as written; never NULL */
	int64_t num;  /* of the numeric types and CONF_BOOL */
	char *source; /* "souk.ini:12", "REDIS_URL", "default" */
	int line;     /* in the file, 0: not set there */
	bool set;
};

struct conf {
	const struct conf_row *rows;
	size_t n;
	struct value *values; /* one per row */
	uint16_t *places; /* rows by hash of their names, plus one; 0: none */
	size_t n_places;  /* a power of two, twice the rows at least */
};

struct load {
	struct conf *conf;
	const char *path;
	struct strbuf *problems; /* a line each */
	struct err *e;
	enum rc rc;
};

static void problem(struct load *load, const char *where, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
problem(struct load *load, const char *where, const char *fmt, ...)
{
	va_list ap;
	struct strbuf line;

	strbuf_init(&line, 128);
	strbuf_addf(&line, "%s: ", where);
	va_start(ap, fmt);
	strbuf_vaddf(&line, fmt, ap);
	va_end(ap);
	if (load->rc == RC_OK)
		load->rc = err_set(
		    load->e, RC_INVALID, "bad_configuration", "%s", line.s);
	if (load->problems != NULL)
		strbuf_addf(load->problems, "%s\n", line.s);
	strbuf_release(&line);
}

/* ---- what a value may be */

/* A number with a unit; the units' factors in `units` by suffix. */
static bool
parse_units(const char *s, const char *const suffix[], const int64_t factor[],
    int64_t *out)
{
	size_t digits = strspn(s, "0123456789");
	int64_t n;

	if (!text_int((struct span){ s, digits }, 0, INT64_MAX, &n))
		return false;
	for (size_t i = 0; suffix[i] != NULL; i++) {
		if (strcasecmp(s + digits, suffix[i]) == 0)
			return !__builtin_mul_overflow(n, factor[i], out);
	}
	return false;
}

static bool
parse_time(const char *s, bool seconds, int64_t *out)
{
	static const char *const suffix[] = { "ms", "s", "m", "h", "d", "",
		NULL };
	const int64_t factor[] = { 1, 1000, 60000, 3600000, 86400000,
		seconds ? 1000 : 1 };

	if (!parse_units(s, suffix, factor, out))
		return false;
	if (seconds) {
		if (*out % 1000 != 0)
			return false;
		*out /= 1000;
	}
	return true;
}

bool
conf_time_ms(const char *s, int64_t *out_ms)
{
	return parse_time(s, false, out_ms);
}

static bool
parse_size(const char *s, int64_t *out)
{
	static const char *const suffix[] = { "k", "m", "g", "", NULL };
	static const int64_t factor[] = { 1 << 10, 1 << 20, 1 << 30, 1 };

	return parse_units(s, suffix, factor, out);
}

static bool
parse_bool(const char *s, int64_t *out)
{
	static const char *const words[] = { "no", "yes", "false", "true",
		"off", "on", "0", "1" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (strcasecmp(s, words[i]) == 0) {
			*out = (int64_t)(i % 2);
			return true;
		}
	}
	return false;
}

/* Is s one of the words of "a|b|c"? */
static bool
is_word(const char *words, const char *s)
{
	size_t n = strlen(s);

	for (const char *w = words; *w != '\0';) {
		size_t len = strcspn(w, "|");

		if (len == n && memcmp(w, s, n) == 0)
			return true;
		w += len + (w[len] == '|');
	}
	return false;
}

static const char *
expected(enum conf_type type)
{
	switch (type) {
	case CONF_INT:
		return "a whole number";
	case CONF_MS:
		return "a time such as 250ms, 2s, 5m or 1h";
	case CONF_S:
		return "a time of whole seconds such as 30s, 5m, 1h or 1d";
	case CONF_SIZE:
		return "a size such as 512, 64k, 16m or 1g";
	case CONF_BOOL:
		return "yes or no";
	case CONF_STR:
	case CONF_ENUM:
		break;
	}
	return "text";
}

static bool
parse_value(const struct conf_row *row, struct value *v)
{
	switch (row->type) {
	case CONF_STR:
		return true;
	case CONF_ENUM:
		return is_word(row->words, v->text);
	case CONF_INT:
		return text_int(
		    span_of(v->text), INT64_MIN, INT64_MAX, &v->num);
	case CONF_MS:
		return parse_time(v->text, false, &v->num);
	case CONF_S:
		return parse_time(v->text, true, &v->num);
	case CONF_SIZE:
		return parse_size(v->text, &v->num);
	case CONF_BOOL:
		return parse_bool(v->text, &v->num);
	}
	return false;
}

/* The unit that a number is kept in. */
static const char *
unit_of(enum conf_type type)
{
	switch (type) {
	case CONF_MS:
		return " ms";
	case CONF_S:
		return " s";
	case CONF_SIZE:
		return " bytes";
	case CONF_STR:
	case CONF_INT:
	case CONF_BOOL:
	case CONF_ENUM:
		break;
	}
	return "";
}

static void
check_value(struct load *load, const struct conf_row *row, struct value *v)
{
	const char *unit = unit_of(row->type);

	if (!parse_value(row, v)) {
		if (row->type == CONF_ENUM)
			problem(load, v->source,
			    "[%s] %s: \"%s\" is not one of %s", row->section,
			    row->key, v->text, row->words);
		else
			problem(load, v->source,
			    "[%s] %s: \"%s\" is not %s", row->section,
			    row->key, v->text, expected(row->type));
	} else if ((row->min != 0 || row->max != 0) &&
	    (v->num < row->min || v->num > row->max)) {
		problem(load, v->source,
		    "[%s] %s: %s is out of range, %lld to %lld%s",
		    row->section, row->key, v->text, (long long)row->min,
		    (long long)row->max, unit);
	}
}

/* ---- where values come from */

/* FNV-1a. */
static size_t
place_of(const struct conf *conf, const char *section, const char *key)
{
	uint32_t h = UINT32_C(2166136261);

	for (const char *p = section; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * UINT32_C(16777619);
	h *= UINT32_C(16777619);
	for (const char *p = key; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * UINT32_C(16777619);
	return h & (conf->n_places - 1);
}

/* A request asks for half a dozen values: not by walking all the rows. */
static size_t
find(const struct conf *conf, const char *section, const char *key)
{
	size_t at = place_of(conf, section, key);

	for (; conf->places[at] != 0; at = (at + 1) & (conf->n_places - 1)) {
		size_t i = conf->places[at] - 1U;

		if (strcmp(conf->rows[i].section, section) == 0 &&
		    strcmp(conf->rows[i].key, key) == 0)
			return i;
	}
	return SIZE_MAX;
}

static void
places_fill(struct conf *conf)
{
	assert(conf->n < UINT16_MAX);
	for (conf->n_places = 16; conf->n_places < 2 * conf->n;)
		conf->n_places *= 2;
	conf->places = xcalloc(conf->n_places, sizeof *conf->places);
	for (size_t i = 0; i < conf->n; i++) {
		size_t at =
		    place_of(conf, conf->rows[i].section, conf->rows[i].key);

		while (conf->places[at] != 0)
			at = (at + 1) & (conf->n_places - 1);
		conf->places[at] = (uint16_t)(i + 1);
	}
}

static void
value_set(struct value *v, const char *text, const char *source)
{
	free(v->text);
	free(v->source);
	v->text = xstrdup(text);
	v->source = xstrdup(source);
}

static bool
has_section(const struct conf *conf, const char *section)
{
	for (size_t i = 0; i < conf->n; i++) {
		if (strcmp(conf->rows[i].section, section) == 0)
			return true;
	}
	return false;
}

/* The key of any section that is most like a mistyped one, or NULL. */
static const struct conf_row *
closest(const struct conf *conf, const char *section, const char *key)
{
	for (size_t i = 0; i < conf->n; i++) {
		if (strcmp(conf->rows[i].key, key) == 0)
			return &conf->rows[i]; /* in another section */
	}
	for (size_t i = 0; i < conf->n; i++) {
		const struct conf_row *row = &conf->rows[i];

		if (strcmp(row->section, section) == 0 &&
		    strncasecmp(row->key, key, 4) == 0)
			return row;
	}
	return NULL;
}

static char *
trim(char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	for (size_t n = strlen(s); n > 0 && isspace((unsigned char)s[n - 1]);)
		s[--n] = '\0';
	return s;
}

static void
set_from_file(struct load *load, const char *section, const char *key,
    const char *text, int line, const char *where)
{
	struct conf *conf = load->conf;
	size_t i = find(conf, section, key);

	if (i == SIZE_MAX) {
		const struct conf_row *like = closest(conf, section, key);

		if (like != NULL)
			problem(load, where,
			    "unknown key \"%s\" in [%s]; did you mean "
			    "[%s] %s?",
			    key, section, like->section, like->key);
		else
			problem(load, where, "unknown key \"%s\" in [%s]",
			    key, section);
		return;
	}
	if (conf->values[i].line != 0) {
		problem(load, where, "[%s] %s was set in line %d already",
		    section, key, conf->values[i].line);
		return;
	}
	value_set(&conf->values[i], text, where);
	conf->values[i].line = line;
	conf->values[i].set = true;
}

/* One line: blank, comment (; or #), [section] or key = value. */
static void
read_line(struct load *load, char *raw, int line, char *section, size_t room)
{
	char where[PATH_MAX + 16];
	char *s = trim(raw);

	(void)snprintf(where, sizeof where, "%s:%d", load->path, line);
	if (*s == '\0' || *s == ';' || *s == '#')
		return;
	if (!utf8_valid(s, strlen(s))) {
		problem(load, where, "not UTF-8");
		return;
	}
	if (*s == '[') {
		char *end = strchr(s, ']');

		if (end == NULL || trim(end + 1)[0] != '\0') {
			problem(load, where, "expected [section]");
			return;
		}
		*end = '\0';
		(void)snprintf(section, room, "%s", trim(s + 1));
		if (!has_section(load->conf, section))
			problem(load, where, "unknown section [%s]", section);
		return;
	}
	char *eq = strchr(s, '=');

	if (eq == NULL) {
		problem(load, where,
		    "expected \"key = value\", a [section] or a ; comment");
		return;
	}
	*eq = '\0';
	char *key = trim(s);

	if (section[0] == '\0')
		problem(load, where, "\"%s\" stands before any [section]", key);
	else if (has_section(load->conf, section))
		set_from_file(load, section, key, trim(eq + 1), line, where);
}

static void
read_file(struct load *load, FILE *f)
{
	char section[64] = "";
	char *raw = NULL;
	size_t cap = 0;

	for (int line = 1; getline(&raw, &cap, f) >= 0; line++) {
		char *s = raw;

		if (line == 1 && strncmp(s, "\xef\xbb\xbf", 3) == 0)
			s += 3; /* byte order mark */
		read_line(load, s, line, section, sizeof section);
	}
	free(raw);
}

static const char *
env_get(char *const environ_[], const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; environ_ != NULL && environ_[i] != NULL; i++) {
		if (strncmp(environ_[i], name, n) == 0 &&
		    environ_[i][n] == '=')
			return environ_[i] + n + 1;
	}
	return NULL;
}

/* SOUK_<SECTION>_<KEY> beats the row's own name (DATABASE_URL). */
static void
read_environment(struct conf *conf, char *const environ_[])
{
	for (size_t i = 0; i < conf->n; i++) {
		const struct conf_row *row = &conf->rows[i];
		char name[128];

		(void)snprintf(name, sizeof name, "SOUK_%s_%s", row->section,
		    row->key);
		for (char *p = name; *p != '\0'; p++)
			*p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
		const char *text = env_get(environ_, name);
		const char *source = name;

		if (text == NULL && row->env != NULL) {
			text = env_get(environ_, row->env);
			source = row->env;
		}
		if (text != NULL) {
			value_set(&conf->values[i], text, source);
			conf->values[i].set = true;
		}
	}
}

static struct conf *
conf_new(const struct conf_row *rows)
{
	struct conf *conf = xcalloc(1, sizeof *conf);

	conf->rows = rows;
	while (rows[conf->n].section != NULL)
		conf->n++;
	places_fill(conf);
	conf->values = xcalloc(conf->n, sizeof *conf->values);
	for (size_t i = 0; i < conf->n; i++)
		value_set(&conf->values[i], rows[i].dflt, "default");
	return conf;
}

enum rc
conf_load(const struct conf_row *rows, const char *path,
    char *const environ_[], struct conf **out, struct strbuf *problems,
    struct err *e)
{
	struct load load = { .conf = conf_new(rows), .path = path,
		.problems = problems, .e = e, .rc = RC_OK };

	if (path != NULL) {
		FILE *f = fopen(path, "re");

		if (f == NULL) {
			load.rc = err_set(e, RC_FAIL, "bad_configuration",
			    "%s: %s", path, strerror(errno));
			if (problems != NULL)
				strbuf_addf(problems, "%s: %s\n", path,
				    strerror(errno));
			goto out;
		}
		read_file(&load, f);
		(void)fclose(f);
	}
	read_environment(load.conf, environ_);
	for (size_t i = 0; i < load.conf->n; i++)
		check_value(&load, &rows[i], &load.conf->values[i]);
out:
	if (load.rc != RC_OK) {
		conf_free(load.conf);
		return load.rc;
	}
	*out = load.conf;
	return RC_OK;
}

void
conf_free(struct conf *conf)
{
	if (conf == NULL)
		return;
	for (size_t i = 0; i < conf->n; i++) {
		free(conf->values[i].text);
		free(conf->values[i].source);
	}
	free(conf->values);
	free(conf->places);
	free(conf);
}

/* ---- what it says */

static const struct value *
get(const struct conf *conf, const char *section, const char *key)
{
	size_t i = find(conf, section, key);

	assert(i != SIZE_MAX);
	return &conf->values[i];
}

const char *
conf_str(const struct conf *conf, const char *section, const char *key)
{
	return get(conf, section, key)->text;
}

int64_t
conf_int(const struct conf *conf, const char *section, const char *key)
{
	return get(conf, section, key)->num;
}

bool
conf_bool(const struct conf *conf, const char *section, const char *key)
{
	return get(conf, section, key)->num != 0;
}

bool
conf_is_set(const struct conf *conf, const char *section, const char *key)
{
	return get(conf, section, key)->set;
}

const char *
conf_source(const struct conf *conf, const char *section, const char *key)
{
	return get(conf, section, key)->source;
}

void
conf_dump(const struct conf *conf, struct strbuf *out)
{
	const char *section = "";

	for (size_t i = 0; i < conf->n; i++) {
		const struct conf_row *row = &conf->rows[i];
		const struct value *v = &conf->values[i];

		if (strcmp(section, row->section) != 0) {
			strbuf_addf(out, "%s[%s]\n", i == 0 ? "" : "\n",
			    row->section);
			section = row->section;
		}
		strbuf_addf(out, "%s = %s ; %s\n", row->key,
		    row->secret && v->set && v->text[0] != '\0' ? "(set)"
								 : v->text,
		    v->source);
	}
}

/* Text as comment lines of at most 78 columns. */
static void
add_comment(struct strbuf *out, const char *s)
{
	size_t col = 0;

	while (*s != '\0') {
		size_t n = strcspn(s, " ");

		if (col == 0 || col + 1 + n > 78) {
			strbuf_adds(out, col == 0 ? ";" : "\n;");
			col = 1;
		}
		strbuf_addc(out, ' ');
		strbuf_add(out, s, n);
		col += 1 + n;
		s += n;
		s += *s == ' ';
	}
	strbuf_addc(out, '\n');
}

void
conf_sample(const struct conf_row *rows, struct strbuf *out)
{
	const char *section = "";

	for (const struct conf_row *row = rows; row->section != NULL; row++) {
		if (strcmp(section, row->section) != 0) {
			strbuf_addf(out, "\n[%s]\n", row->section);
			section = row->section;
		}
		strbuf_addc(out, '\n');
		add_comment(out, row->help);
		if (row->type == CONF_ENUM)
			strbuf_addf(out, "; One of %s.\n", row->words);
		if (row->env != NULL)
			strbuf_addf(out, "; Also set by the environment: %s.\n",
			    row->env);
		strbuf_addf(out, ";%s =%s%s\n", row->key,
		    row->dflt[0] != '\0' ? " " : "", row->dflt);
	}
}

/*
 * One word of text as mdoc; at the start of a line it must not look like a
 * macro.
 */
static void
add_mdoc_word(struct strbuf *out, const char *s, size_t n)
{
	bool first = out->len == 0 || out->s[out->len - 1] == '\n';

	if (first && (*s == '.' || *s == '\''))
		strbuf_adds(out, "\\&");
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\\')
			strbuf_adds(out, "\\e");
		else if (s[i] == '-')
			strbuf_adds(out, "\\-");
		else
			strbuf_addc(out, s[i]);
	}
}

/* Text as mdoc wants it: short lines, each sentence on one of its own. */
static void
add_mdoc(struct strbuf *out, const char *s)
{
	size_t line = 0;

	while (*s != '\0') {
		size_t n = strcspn(s, " ");
		bool ends = n > 0 && s[n - 1] == '.';
		size_t before = out->len;

		add_mdoc_word(out, s, n);
		line += out->len - before + 1;
		s += n;
		if (*s == ' ')
			s++;
		else
			break;
		if (ends || line + strcspn(s, " ") > 72) {
			strbuf_addc(out, '\n');
			line = 0;
		} else {
			strbuf_addc(out, ' ');
		}
	}
}

void
conf_mdoc(const struct conf_row *rows, struct strbuf *out)
{
	const char *section = "";

	for (const struct conf_row *row = rows; row->section != NULL; row++) {
		if (strcmp(section, row->section) != 0) {
			if (*section != '\0')
				strbuf_adds(out, ".El\n");
			strbuf_addf(out, ".Ss [%s]\\&\n.Bl -tag -width Ds\n",
			    row->section);
			section = row->section;
		}
		strbuf_addf(out, ".It Ic %s", row->key);
		if (row->type == CONF_ENUM)
			strbuf_addf(out, " = Ar %s", row->words);
		strbuf_adds(out, "\n");
		add_mdoc(out, row->help);
		strbuf_adds(out, "\n");
		if (row->dflt[0] != '\0') {
			strbuf_adds(out, "Default:\n.Ql ");
			add_mdoc(out, row->dflt);
			/* The colon of "pg:" would be taken for the end of
			 * a sentence. */
			strbuf_adds(out, "\\& .\n");
		}
		if (row->max != 0)
			strbuf_addf(out, "From %lld to %lld%s.\n",
			    (long long)row->min, (long long)row->max,
			    unit_of(row->type));
		if (row->env != NULL)
			strbuf_addf(out,
			    "Also set by the environment variable\n.Ev %s .\n",
			    row->env);
	}
	if (*section != '\0')
		strbuf_adds(out, ".El\n");
}
