/*
 * err - the one way an error travels: a code named by what the caller does
 * next, and a struct err with the detail. lib/ never prints; the edge of each
 * program (route.c, a worker's turn, main) logs an error, once.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define MUST_CHECK [[nodiscard]]

enum MUST_CHECK rc {
	RC_OK = 0,
	RC_NONE,    /* no such thing, a normal answer: 404 */
	RC_REFUSED, /* the rules say no: 4xx by code */
	RC_INVALID, /* the input can never succeed: 4xx */
	RC_RETRY,   /* a dependency is down or slow: 503; try again */
	RC_FAIL     /* our bug or configuration: 500; alarm */
};

struct err {
	enum rc rc;
	char code[40];  /* stable, snake_case, part of the API */
	char msg[400];  /* one line for a person */
};

#define ERR_INIT { RC_OK, "", "" }

/*
 * Fill *e and return rc, so that `return err_set(...)` is the whole exit. Cuts
 * a message that is too long. A NULL e is allowed: the caller wants rc only.
 */
enum rc err_set(struct err *e, enum rc rc, const char *code, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));

/* Put words before the message already in *e: "souk.ini:7: " and the like. */
void err_prefix(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* "ok", "none", "refused", "invalid", "retry", "fail". */
const char *rc_name(enum rc rc);

#endif
