/*
 * log - one line per event: logfmt or JSON, to stderr or syslog.
 * Fields are typed, so that no value can forge a field or a line. Never a
 * password, token, key, e-mail address or card number.
 *
 * The log is the one service that is global to a process: passing it to every
 * function would say nothing. Programs set it up first; lib/ does not log
 * (see err.h) but for what nobody waits for: a reconnect, a slow call.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

enum log_level { LL_DEBUG, LL_INFO, LL_WARN, LL_ERROR };
enum log_format { LF_LOGFMT, LF_JSON };
enum log_target { LT_STDERR, LT_SYSLOG };

struct log_field {
	const char *key; /* NULL ends a list */
	enum { LOG_STRING, LOG_INTEGER } type;
	const char *str; /* NULL is shown as empty */
	int64_t num;
};

void log_init(const char *ident); /* logfmt, stderr, info; ident: program */
void log_setup(enum log_level min, enum log_format format,
    enum log_target target);

/* Goes with every line until changed; copied, cut at 63 bytes; NULL: none. */
void log_set_request(const char *request_id);

/* event: snake_case. Use through log_debug ... log_error. */
void log_fields(enum log_level level, const char *event,
    const struct log_field *fields);

#define LOG_S(k, v) { .key = (k), .type = LOG_STRING, .str = (v) }
#define LOG_I(k, v) { .key = (k), .type = LOG_INTEGER, .num = (int64_t)(v) }

#define log_at(level, event, ...)                                              \
	log_fields((level), (event),                                           \
	    (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ) { 0 } })
#define log_debug(event, ...) log_at(LL_DEBUG, event __VA_OPT__(, ) __VA_ARGS__)
#define log_info(event, ...) log_at(LL_INFO, event __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(event, ...) log_at(LL_WARN, event __VA_OPT__(, ) __VA_ARGS__)
#define log_error(event, ...) log_at(LL_ERROR, event __VA_OPT__(, ) __VA_ARGS__)

/* Log at error level as event "fatal" with msg=, and end the process. */
_Noreturn void die(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
