/*
 * account - what logging in does to a request, whether by the API
 * (api_account.c) or by a form (account_pages.c).
 */
#ifndef FCGI_APP_ACCOUNT_H
#define FCGI_APP_ACCOUNT_H

#include <stdint.h>

#include "base/err.h"
#include "shop/account.h"

struct app;
struct request;
struct response;
struct who;

/* In the arena's memory: as long as the request. */
struct client client_of(const struct request *rq);

/* A new session for that customer: the browser's old one ends, the cookie is
 * set, *who is who it is now. */
enum rc account_enter(struct app *app, struct request *rq, struct response *rs,
    struct who *who, int64_t customer_id, struct err *e);

/* The password was right, or a new customer's: both end in account_enter.
 * Errors as account_login and account_create; Retry-After is set. */
enum rc account_enter_login(struct app *app, struct request *rq,
    struct response *rs, struct who *who, const char *email,
    const char *password, struct err *e);
enum rc account_enter_new(struct app *app, struct request *rq,
    struct response *rs, struct who *who, const char *email,
    const char *password, const char *name, struct err *e);

/* Throttled: seconds as Retry-After; 0: nothing. */
void account_retry_after(
    struct request *rq, struct response *rs, int retry_after_s);

#endif
