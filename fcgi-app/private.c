#include "fcgi-app/private.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/guard.h"
#include "fcgi-app/page.h"
#include "fcgi-app/route.h"

enum { NEXT_MAX = 500 };

bool
private_is_problem(enum rc rc)
{
	return rc == RC_REFUSED || rc == RC_INVALID;
}

enum rc
private_see_other(struct request *rq, struct response *rs, const char *path)
{
	rs->status = 303;
	rs->type = NULL;
	response_header(rs, rq->arena, "Location", path);
	return RC_OK;
}

const char *
private_next(const char *next, const char *dflt)
{
	if (next == NULL || next[0] != '/' || strlen(next) > NEXT_MAX ||
	    next[1] == '/')
		return dflt;
	/* Browsers take '\' for '/' and drop tabs and line ends; what is not
	 * ASCII is percent-encoded where it is an address. */
	for (const char *p = next; *p != '\0'; p++) {
		if (*p <= ' ' || *p > '~' || *p == '\\')
			return dflt;
	}
	return next;
}

enum rc
private_who(struct app *app, struct request *rq, struct who *who,
    struct response *rs, struct err *e)
{
	enum rc rc = guard_who(app, rq, who, e);
	const char *to = "/login";
	struct strbuf sb;

	if (rc != RC_OK || who->known)
		return rc;
	/* A form that was sent cannot be sent again by a redirect. */
	if (rq->method == M_GET || rq->method == M_HEAD) {
		strbuf_init(&sb, 128);
		strbuf_adds(&sb, "/login?next=");
		strbuf_add_urlarg(&sb, rq->path, strlen(rq->path));
		if (*rq->query_raw != '\0') {
			strbuf_adds(&sb, "%3F");
			strbuf_add_urlarg(
			    &sb, rq->query_raw, strlen(rq->query_raw));
		}
		to = arena_strdup(rq->arena, sb.s);
		strbuf_release(&sb);
	}
	return private_see_other(rq, rs, to);
}

/* ---- a page */

static void
add_who(json_t *view, const struct who *who)
{
	if (!who->known) {
		json_object_set_new(view, "who", json_false());
		return;
	}
	json_object_set_new(view, "who",
	    json_pack("{s:s, s:s, s:b}", "email", who->session.email, "name",
		who->session.name, "admin", (int)who->session.admin));
}

static void
add_problem(struct app *app, json_t *view, const struct err *problem)
{
	const char *words = "";
	char key[sizeof problem->code + 16];

	if (problem != NULL) {
		(void)snprintf(key, sizeof key, "problem_%s", problem->code);
		words = page_text(app->pages, key);
		if (words == NULL)
			words = problem->msg;
	}
	json_object_set_new(view, "problem", json_string(words));
}

static void
add_sent(json_t *view, const struct fields *sent)
{
	json_t *values = json_object();

	for (int i = 0; sent != NULL && i < sent->n; i++) {
		const struct field *f = &sent->f[i];

		if (strncmp(f->name, "password", 8) != 0)
			json_object_set_new(
			    values, f->name, json_string(f->value));
	}
	json_object_set_new(view, "sent", values);
}

const char *
private_form_token(
    struct app *app, struct request *rq, struct who *who, struct response *rs)
{
	char secret[SECRET_CHARS + 1];

	if (!who->known && *who->guest == '\0') {
		secret_make(secret);
		who->guest = arena_strdup(rq->arena, secret);
		guard_set_guest(app, rq, rs, who->guest);
	}
	return guard_form_token(rq, who);
}

enum rc
private_html(
    struct request *rq, struct response *rs, int status, struct strbuf *sb)
{
	rs->status = status;
	rs->type = TYPE_HTML;
	rs->body =
	    (struct span){ arena_memdup(rq->arena, sb->s, sb->len), sb->len };
	strbuf_release(sb);
	return RC_OK;
}

enum rc
private_page(struct app *app, struct request *rq, struct who *who,
    const struct private_page *page, struct response *rs, struct err *e)
{
	json_t *view = page->view == NULL ? json_object() : page->view;
	int status = 200;
	struct strbuf sb;
	enum rc rc;

	add_who(view, who);
	add_problem(app, view, page->problem);
	add_sent(view, page->sent);
	json_object_set_new(view, "form_token",
	    json_string(private_form_token(app, rq, who, rs)));
	if (page->problem != NULL)
		status = route_status(page->problem->rc, page->problem->code);
	strbuf_init(&sb, 16 << 10);
	rc = page_private_render(app->pages, page->name, view, &sb, e);
	if (rc == RC_OK)
		return private_html(rq, rs, status, &sb);
	strbuf_release(&sb);
	return rc;
}
