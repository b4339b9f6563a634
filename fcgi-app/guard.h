/*
 * guard - who sent this request, and may it change something?
 *
 * A request that changes something must come from our own pages: Origin or
 * Sec-Fetch-Site says so (a client that sends neither is no browser and has no
 * cookie of ours by accident), and its body is JSON or carries the session's
 * form token (OWASP CSRF cheat sheet). A bearer token needs neither.
 */
#ifndef FCGI_APP_GUARD_H
#define FCGI_APP_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "shop/session.h"

struct app;
struct request;
struct response;

struct who {
	bool known;             /* a session; session is filled */
	struct session session;
	const char *token;      /* the session's cookie as sent; "" none */
	const char *guest;      /* the cart's cookie; "" none */
};

/* Whether [shop] base_url is https, for app->tls: read once, since each cookie
 * of each request asks. */
struct conf;
bool guard_shop_is_tls(const struct conf *conf);

/* By the cookies. RC_OK also for nobody; RC_RETRY: nobody can say now. */
enum rc guard_who(
    struct app *app, struct request *rq, struct who *out, struct err *e);

/* The same; RC_REFUSED "unauthorized" (401) for nobody. */
enum rc guard_require(
    struct app *app, struct request *rq, struct who *out, struct err *e);

/* RC_REFUSED "cross_origin" (403). Before anything else of a POST. */
enum rc guard_same_origin(
    struct app *app, const struct request *rq, struct err *e);

/* A JSON body: same origin, and application/json: else RC_INVALID
 * "unsupported_media_type". *tree is given (json_decref): an object, no
 * duplicate names, UTF-8. RC_INVALID "invalid_json". */
struct json_t;
enum rc guard_json(struct app *app, const struct request *rq,
    struct json_t **tree, struct err *e);
/* The first half of it: origin and type. */
enum rc guard_json_type(
    struct app *app, const struct request *rq, struct err *e);

/* A form's body on a private page: same origin, its fields, and the token that
 * the form carried as "form_token": RC_REFUSED "stale_form" (403). */
struct fields;
enum rc guard_form(struct app *app, struct request *rq, const struct who *who,
    struct fields *out, struct err *e);
/* What such a form must carry; for nobody in particular made of the guest's
 * cookie. In the arena. */
const char *guard_form_token(struct request *rq, const struct who *who);

/* Admin: a session of one, or a bearer token. RC_REFUSED. */
enum rc guard_admin(
    struct app *app, struct request *rq, struct response *rs, struct err *e);
/* The same, and who it is, for Idempotency-Key: "customer:42", "token:7"; in
 * the arena. */
enum rc guard_admin_person(struct app *app, struct request *rq,
    struct response *rs, const char **person, struct err *e);

/* Set-Cookie: `souk_session` (HttpOnly, SameSite=Lax, Path=/; over TLS Secure
 * and `__Host-souk_session`); token "" ends it. */
void guard_set_session(struct app *app, struct request *rq,
    struct response *rs, const char *token);
/* The guest's cart, `souk_cart`, in the same way. */
void guard_set_guest(struct app *app, struct request *rq, struct response *rs,
    const char *token);

#endif
