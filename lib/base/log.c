/*
 * A line is built in a buffer on the stack and leaves by one write(2). It is at
 * most 4096 bytes long, what a pipe takes whole (PIPE_BUF), so that the lines
 * of many processes on one stderr never mix. A longer one is cut inside a
 * value and ends with truncated=true; room for that end is kept free from the
 * start, so that a cut line is still well-formed.
 *
 * Nothing here allocates or waits. A line that stderr does not take (a full
 * non-blocking pipe) is lost: a log must not stop a sale.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

enum { LINE_MAX_BYTES = 4096 };

/* What may follow the place where a line was cut: the value's quote and this.*/
static const char cut_logfmt[] = " truncated=true";
static const char cut_json[] = ",\"truncated\":true";

enum { TAIL_BYTES = 1 + sizeof cut_json + 2 }; /* quote, mark, "}\n" */

/* The one mutable global of the program (see log.h). */
static struct {
	char ident[32];
	char request[64];
	enum log_level min;
	enum log_format format;
	enum log_target target;
} state = { .ident = "souk", .min = LL_INFO };

struct line {
	size_t len;
	bool json;
	bool cut; /* nothing more is added */
	char buf[LINE_MAX_BYTES];
};

/* Bytes left; a value's closing quote may have used the first of the tail. */
static size_t
room(const struct line *line)
{
	size_t limit = sizeof line->buf - TAIL_BYTES;

	return line->len < limit ? limit - line->len : 0;
}

/* All or nothing. */
static void
put(struct line *line, const char *p, size_t n)
{
	if (line->cut || n > room(line)) {
		line->cut = true;
		return;
	}
	memcpy(line->buf + line->len, p, n);
	line->len += n;
}

/* For the end of a value and of the line, whose room is kept free. */
static void
put_reserved(struct line *line, const char *p, size_t n)
{
	memcpy(line->buf + line->len, p, n);
	line->len += n;
}

/*
 * The bytes at s that make one character which may stand as it is; 0: escape.
 * Beside ASCII's control bytes those of C1 (terminals act on them) and the two
 * line separators that some readers split at are escaped.
 */
static size_t
plain_bytes(const char *s, size_t n)
{
	unsigned char c = (unsigned char)s[0];

	if (c < 0x80)
		return c >= 0x20 && c != 0x7f && c != '"' && c != '\\';
	size_t len = utf8_sequence(s, n);

	if (len == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0)
		return 0;
	if (len == 3 && memcmp(s, "\xe2\x80", 2) == 0 &&
	    ((unsigned char)s[2] & 0xfe) == 0xa8)
		return 0;
	return len;
}

/* Writes the escape for the character at s; returns its bytes. */
static size_t
put_escape(struct line *line, const char *s, size_t n)
{
	unsigned char c = (unsigned char)s[0];
	unsigned code = c;
	size_t len = 1;
	char esc[8];

	if (c >= 0x80) {
		len = utf8_sequence(s, n);
		if (len == 2)
			code = (unsigned char)s[1];
		else if (len == 3)
			code = 0x2000u | ((unsigned char)s[2] & 0x3f);
		else
			code = 0xfffd;
		len = len == 0 ? 1 : len;
	}
	if (code == '"' || code == '\\') {
		esc[0] = '\\';
		esc[1] = (char)code;
		put(line, esc, 2);
	} else if (code == '\n') {
		put(line, "\\n", 2);
	} else {
		(void)snprintf(esc, sizeof esc, "\\u%04x", code);
		put(line, esc, 6);
	}
	return len;
}

static void
put_quoted(struct line *line, const char *s, size_t n)
{
	put(line, "\"", 1);
	if (line->cut)
		return;
	for (size_t i = 0; i < n && !line->cut;) {
		size_t len = plain_bytes(s + i, n - i);

		if (len > 0) {
			put(line, s + i, len);
			i += len;
		} else {
			i += put_escape(line, s + i, n - i);
		}
	}
	put_reserved(line, "\"", 1);
}

/* logfmt needs no quotes around a word. */
static bool
is_word(const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t len = plain_bytes(s + i, n - i);

		if (len == 0 || s[i] == ' ' || s[i] == '=')
			return false;
		i += len;
	}
	return n > 0;
}

/* ` key=` or `,"key":`; keys are ours, but a slip must not make two fields. */
static void
put_key(struct line *line, const char *key)
{
	char buf[64];
	size_t n = 0;

	if (line->len > 1) /* JSON's brace is there */
		buf[n++] = line->json ? ',' : ' ';
	if (line->json)
		buf[n++] = '"';
	for (; *key != '\0' && n < sizeof buf - 3; key++) {
		char c = *key;
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			  (c >= '0' && c <= '9') || c == '_' || c == '-' ||
			  c == '.';

		buf[n++] = ok ? c : '_';
	}
	if (line->json)
		buf[n++] = '"';
	buf[n++] = line->json ? ':' : '=';
	/* A key never stands without at least an empty value. */
	if (n + 2 > room(line))
		line->cut = true;
	put(line, buf, n);
}

static void
put_string(struct line *line, const char *key, const char *s)
{
	size_t n = s == NULL ? 0 : strlen(s);

	put_key(line, key);
	if (line->json || !is_word(s, n))
		put_quoted(line, s, n);
	else if (n <= room(line))
		put(line, s, n);
	else /* quotes have room by put_key, and the cut keeps characters */
		put_quoted(line, s, n);
}

static void
put_integer(struct line *line, const char *key, int64_t num)
{
	char buf[24];
	int n = snprintf(buf, sizeof buf, "%lld", (long long)num);

	if (strlen(key) + 32 > room(line))
		line->cut = true; /* a number is whole or absent */
	put_key(line, key);
	put(line, buf, (size_t)n);
}

static void
put_time(struct line *line)
{
	struct timespec ts;
	struct tm tm;
	char buf[64], all[80];

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	if (gmtime_r(&ts.tv_sec, &tm) == NULL ||
	    strftime(buf, sizeof buf, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		buf[0] = '\0';
	(void)snprintf(
	    all, sizeof all, "%s.%03dZ", buf, (int)(ts.tv_nsec / 1000000));
	put_string(line, "time", all);
}

static const char *
level_name(enum log_level level)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };

	return names[level];
}

static void
line_end(struct line *line)
{
	if (line->cut && line->json)
		put_reserved(line, cut_json, sizeof cut_json - 1);
	else if (line->cut)
		put_reserved(line, cut_logfmt, sizeof cut_logfmt - 1);
	if (line->json)
		put_reserved(line, "}", 1);
	put_reserved(line, "\n", 1);
}

static void
line_send(const struct line *line, enum log_level level)
{
	static const int priorities[] = { LOG_DEBUG, LOG_INFO, LOG_WARNING,
		LOG_ERR };

	if (state.target == LT_SYSLOG) {
		syslog(
		    priorities[level], "%.*s", (int)line->len - 1, line->buf);
		return;
	}
	while (write(STDERR_FILENO, line->buf, line->len) < 0 && errno == EINTR)
		continue;
}

void
log_fields(
    enum log_level level, const char *event, const struct log_field *fields)
{
	struct line line;
	int saved = errno;

	if (level < state.min)
		return;
	line.len = 0;
	line.cut = false;
	line.json = state.format == LF_JSON;
	if (line.json)
		put(&line, "{", 1);
	put_time(&line);
	put_string(&line, "level", level_name(level));
	put_string(&line, "ident", state.ident);
	put_integer(&line, "pid", getpid()); /* fork() changes it */
	put_string(&line, "event", event);
	if (state.request[0] != '\0')
		put_string(&line, "request", state.request);
	for (; fields != NULL && fields->key != NULL && !line.cut; fields++) {
		if (fields->type == LOG_INTEGER)
			put_integer(&line, fields->key, fields->num);
		else
			put_string(&line, fields->key, fields->str);
	}
	line_end(&line);
	line_send(&line, level);
	errno = saved; /* a log line between a call and its check harms none */
}

void
log_init(const char *ident)
{
	(void)snprintf(state.ident, sizeof state.ident, "%s", ident);
	state.request[0] = '\0';
	log_setup(LL_INFO, LF_LOGFMT, LT_STDERR);
}

void
log_setup(enum log_level min, enum log_format format, enum log_target target)
{
	state.min = min;
	state.format = format;
	state.target = target;
	if (target == LT_SYSLOG)
		openlog(state.ident, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void
log_set_request(const char *request_id)
{
	size_t n = request_id == NULL ? 0 : strlen(request_id);

	n = utf8_cut(request_id, n, sizeof state.request - 1);
	if (n > 0)
		memcpy(state.request, request_id, n);
	state.request[n] = '\0';
}

void
die(int status, const char *fmt, ...)
{
	char msg[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof msg, fmt, ap);
	va_end(ap);
	log_error("fatal", LOG_S("msg", msg));
	exit(status);
}
