#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"

static int64_t
now_us(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_mono_us(void)
{
	return now_us(CLOCK_MONOTONIC);
}

int64_t
clock_mono_ms(void)
{
	return now_us(CLOCK_MONOTONIC) / 1000;
}

int64_t
clock_coarse_ms(void)
{
	return now_us(CLOCK_MONOTONIC_COARSE) / 1000;
}

int64_t
clock_wall_ms(void)
{
	return now_us(CLOCK_REALTIME) / 1000;
}

int64_t
clock_wall_coarse_ms(void)
{
	return now_us(CLOCK_REALTIME_COARSE) / 1000;
}

int64_t
deadline_in(int64_t ms)
{
	return clock_mono_ms() + ms;
}

int
deadline_left_ms(int64_t deadline)
{
	int64_t left = deadline - clock_mono_ms();

	if (left <= 0)
		return 0;
	return left > INT_MAX ? INT_MAX : (int)left;
}

void
clock_sleep_ms(int64_t ms)
{
	struct timespec ts = { .tv_sec = (time_t)(ms / 1000),
		.tv_nsec = (long)(ms % 1000) * 1000000 };

	while (ms > 0 && nanosleep(&ts, &ts) != 0 && errno == EINTR)
		continue;
}

char *
time_rfc3339(struct arena *arena, int64_t wall_ms)
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;
	char buf[40];

	if (gmtime_r(&t, &tm) == NULL ||
	    strftime(buf, sizeof buf, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return arena_strdup(arena, "");
	return arena_strdup(arena, buf);
}

/* The unit's milliseconds, 0 for none. */
static int64_t
unit_ms(const char *unit)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "", 1000 }, { "m", 60000 },
		{ "h", 3600000 }, { "d", 86400000 } };

	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (strcmp(unit, units[i].name) == 0)
			return units[i].ms;
	}
	return 0;
}

static int
parse_distance(const char *s, int64_t now, int64_t *out)
{
	char *end;

	if (s[1] < '0' || s[1] > '9')
		return -1;
	errno = 0;
	long long n = strtoll(s + 1, &end, 10);
	int64_t unit = unit_ms(end);

	if (errno != 0 || unit == 0 || n > INT64_C(36500) * 86400000 / unit)
		return -1;
	*out = now + (s[0] == '-' ? -n : n) * unit;
	return 0;
}

/* Digits only: sscanf's %d would take signs and spaces. */
static bool
digits(const char **s, int count, int *out)
{
	*out = 0;
	for (int i = 0; i < count; i++, (*s)++) {
		if (**s < '0' || **s > '9')
			return false;
		*out = *out * 10 + (**s - '0');
	}
	return true;
}

static bool
literal(const char **s, const char *any)
{
	if (**s == '\0' || strchr(any, **s) == NULL)
		return false;
	(*s)++;
	return true;
}

/* The zone's distance from UTC in seconds, at the end of the string. */
static bool
parse_zone(const char *s, int *out)
{
	int h, m, sign = *s == '-' ? -1 : 1;

	*out = 0;
	if ((*s == 'Z' || *s == 'z') && s[1] == '\0')
		return true;
	if (!literal(&s, "+-") || !digits(&s, 2, &h) || !literal(&s, ":") ||
	    !digits(&s, 2, &m) || *s != '\0' || h > 23 || m > 59)
		return false;
	*out = sign * (h * 3600 + m * 60);
	return true;
}

int
time_parse(const char *s, int64_t now_wall_ms, int64_t *out_ms)
{
	struct tm tm = { 0 };
	int zone, frac = 0;

	if (strcmp(s, "now") == 0) {
		*out_ms = now_wall_ms;
		return 0;
	}
	if (*s == '+' || *s == '-')
		return parse_distance(s, now_wall_ms, out_ms);
	if (!digits(&s, 4, &tm.tm_year) || !literal(&s, "-") ||
	    !digits(&s, 2, &tm.tm_mon) || !literal(&s, "-") ||
	    !digits(&s, 2, &tm.tm_mday) || !literal(&s, "Tt ") ||
	    !digits(&s, 2, &tm.tm_hour) || !literal(&s, ":") ||
	    !digits(&s, 2, &tm.tm_min) || !literal(&s, ":") ||
	    !digits(&s, 2, &tm.tm_sec))
		return -1;
	if (literal(&s, ".")) {
		int digit, scale = 100;

		if (*s < '0' || *s > '9')
			return -1;
		while (digits(&s, 1, &digit)) {
			frac += digit * scale;
			scale /= 10;
		}
	}
	if (!parse_zone(s, &zone) || tm.tm_year < 1970 || tm.tm_mon < 1 ||
	    tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
	    tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return -1;
	int mday = tm.tm_mday;

	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	time_t t = timegm(&tm);

	if (t == (time_t)-1 || tm.tm_mday != mday)
		return -1; /* 30 February */
	*out_ms = ((int64_t)t - zone) * 1000 + frac;
	return 0;
}
