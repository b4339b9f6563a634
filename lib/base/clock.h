/*
 * clock - time, and deadlines.
 * Waiting is measured on the monotonic clock, in milliseconds; what is stored
 * or shown is wall-clock time. A deadline is a point on the monotonic clock, so
 * that it can be handed down through any number of calls.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct arena;

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* The monotonic clock as of the kernel's last tick, 1 to 10 ms late: a fifth of
 * the price, for what is asked several times a request. */
int64_t clock_coarse_ms(void);
int64_t clock_wall_ms(void); /* since 1970-01-01T00:00:00Z */
int64_t clock_wall_coarse_ms(void);

/* A deadline that many milliseconds from now. */
int64_t deadline_in(int64_t ms);

/* Milliseconds left, 0 when it has passed; as poll(2) wants it. */
int deadline_left_ms(int64_t deadline);

void clock_sleep_ms(int64_t ms); /* goes on after a signal */

/* RFC 3339 in UTC with seconds ("2026-11-22T09:00:00Z"), in the arena. */
char *time_rfc3339(struct arena *arena, int64_t wall_ms);

/*
 * RFC 3339 (with zone), "now", or a distance such as "+90s", "+15m", "+1h",
 * "-2d". 0 and *out_ms, or -1.
 */
int time_parse(const char *s, int64_t now_wall_ms, int64_t *out_ms);

#endif
