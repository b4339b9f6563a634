/*
 * buy - what the handlers of the pages of buying share (buy_*.c). Forms post
 * to the pages' own addresses and call the same functions of the domain as the
 * API; a success is answered 303, so that a reload repeats nothing.
 */
#ifndef FCGI_APP_BUY_H
#define FCGI_APP_BUY_H

#include <stdint.h>

#include "base/err.h"
#include "fcgi-app/guard.h"
#include "fcgi-app/page_buy.h"

struct app;
struct fields;
struct request;
struct response;
struct strbuf;

/* Who looks. A guest gets a cookie where he has none: his forms carry a token
 * made of it. */
enum rc buy_who(struct app *app, struct request *rq, struct response *rs,
    struct who *who, struct err *e);

/*
 * The start of a form for this page: token and, where `keyed`, a new
 * idempotency key, or the one that was sent with `sent`, so that pressing the
 * button again after a failure is the same purchase.
 */
struct page_form buy_form(struct app *app, struct request *rq,
    const struct who *who, bool keyed, const struct fields *sent,
    const char *say);

/* The key that a form carried. RC_INVALID "invalid_idempotency_key". */
enum rc buy_key(const struct fields *sent, const char **key, struct err *e);

/* "customer:42" or "guest", for id_of_effect(). In the arena. */
const char *buy_person(struct request *rq, const struct who *who);

/* The payment token that was chosen; "" where there is no choice. RC_INVALID:
 * nothing that our form offers. */
enum rc buy_token(struct app *app, const struct fields *sent,
    const char **token, struct err *e);

/* The page says "we are very busy" where route.c would have answered 503: why,
 * for the log. Gives the code of what to say. */
const char *buy_busy(const struct request *rq, const struct err *e);

/* A page, by what its render function gave. */
enum rc buy_page(struct request *rq, struct response *rs, int status,
    const struct strbuf *page);

/* 303 to the login, which leads back here. RC_OK. */
enum rc buy_login(struct request *rq, struct response *rs);

/* A form's number, 0 where it is missing; false: it is none from min to max. */
bool buy_number(const struct fields *sent, const char *name, int64_t min,
    int64_t max, int64_t *out);

#endif
