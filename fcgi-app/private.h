/*
 * private - pages for one person: log in, account, cart, checkout, orders.
 * Never stored by anybody (Cache-Control: private, no-store, which is what an
 * answer has unless it says otherwise). They work without scripts: a form is
 * sent by POST and answered with 303 to a page, or with the same page again,
 * the problem said and what was typed kept.
 *
 *	GET:	guard_who or private_who, then private_page
 *	POST:	guard_who or private_who, guard_form, the rule; on
 *		private_is_problem(rc) private_page with .problem, else
 *		private_see_other
 */
#ifndef FCGI_APP_PRIVATE_H
#define FCGI_APP_PRIVATE_H

#include <stdbool.h>

#include "base/err.h"

struct app;
struct fields;
struct json_t;
struct request;
struct response;
struct who;

/*
 * For pages that need somebody: RC_OK and who->known, or RC_OK, !who->known
 * and *rs already sends the visitor to /login and back here afterwards: return
 * then. RC_RETRY as guard_who.
 */
enum rc private_who(struct app *app, struct request *rq, struct who *who,
    struct response *rs, struct err *e);

struct private_page {
	const char *name;           /* template NAME.mustache, listed in
	                               page_private.c; its title is the text
	                               NAME_title ('-' and '/' as '_') */
	struct json_t *view;        /* what the template shows: taken; NULL:
	                               nothing */
	const struct err *problem;  /* why the form was refused, or NULL */
	const struct fields *sent;  /* the form, to be filled in again; NULL */
};

/*
 * Answer with a page. Status 200, or that of the problem. Added to the view:
 *	who          {"email","name","admin"} or false
 *	form_token   every form carries it: {{>parts/form_hidden}}
 *	problem      words, or "": {{>parts/problem}}; the text problem_CODE,
 *	             where there is none the error's own words
 *	sent         {"NAME":"value"} of the form; never a field whose name
 *	             begins with "password"
 * A visitor without a session and without a guest's cookie gets one, for the
 * form's token (then who->guest is set).
 */
enum rc private_page(struct app *app, struct request *rq, struct who *who,
    const struct private_page *page, struct response *rs, struct err *e);

/*
 * The parts of it, for pages that have a render function of their own: what
 * their forms carry (sets the guest's cookie where there is none), and a
 * document as the answer; sb is released.
 */
struct strbuf;
const char *private_form_token(struct app *app, struct request *rq,
    struct who *who, struct response *rs);
enum rc private_html(
    struct request *rq, struct response *rs, int status, struct strbuf *sb);

/* May this be said in the form? Everything else is route.c's. */
bool private_is_problem(enum rc rc);

/* 303 to a path of ours ("/account"). RC_OK. */
enum rc private_see_other(
    struct request *rq, struct response *rs, const char *path);

/*
 * Where to go after logging in: a path of ours with its query as it came from
 * outside (`next=`), or dflt where it is missing or could lead elsewhere.
 */
const char *private_next(const char *next, const char *dflt);

#endif
