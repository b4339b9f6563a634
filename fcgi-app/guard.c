/*
 * guard - see the header.
 *
 * Where the shop is reached over TLS its cookies have the prefix __Host-, and
 * only those are read: a cookie that a neighbouring host or somebody on the
 * way planted without TLS has another name. "Over TLS" is what the web server
 * says of the request, or what [shop] base_url says of the shop, where
 * something in front of the web server ends TLS.
 */
#include "fcgi-app/guard.h"

#include <jansson.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/text.h"
#include "fcgi-app/app_int.h"
#include "shop/token.h"

enum { FORM_FIELDS = 128 }; /* a cart's has one for each of its lines */

/* ---- cookies */

bool
guard_shop_is_tls(const struct conf *conf)
{
	return strncasecmp(conf_str(conf, "shop", "base_url"), "https:", 6) ==
	       0;
}

static bool
over_tls(const struct app *app, const struct request *rq)
{
	return rq->https || app->tls;
}

static const char *
cookie_name(struct app *app, const struct request *rq, const char *name)
{
	return over_tls(app, rq)
		   ? arena_concat(rq->arena, "__Host-", name, NULL)
		   : name;
}

static const char *
cookie(struct app *app, const struct request *rq, const char *name)
{
	const char *value =
	    fields_get(&rq->cookies, cookie_name(app, rq, name));

	return value == NULL ? "" : value;
}

/* max_age_s 0: the browser drops it. */
static void
set_cookie(struct app *app, struct request *rq, struct response *rs,
    const char *name, const char *value, int64_t max_age_s)
{
	char age[TEXT_NUM];

	response_header(rs, rq->arena, "Set-Cookie",
	    arena_concat(rq->arena, cookie_name(app, rq, name), "=", value,
		"; Path=/; Max-Age=", text_num(max_age_s, age),
		"; HttpOnly; SameSite=Lax", over_tls(app, rq) ? "; Secure" : "",
		NULL));
}

void
guard_set_session(
    struct app *app, struct request *rq, struct response *rs, const char *token)
{
	set_cookie(app, rq, rs, "souk_session", token,
	    *token == '\0' ? 0 : conf_int(app->conf, "session", "absolute"));
}

void
guard_set_guest(
    struct app *app, struct request *rq, struct response *rs, const char *token)
{
	enum { YEAR_S = 365 * 86400 };

	set_cookie(
	    app, rq, rs, "souk_cart", token, *token == '\0' ? 0 : YEAR_S);
}

/* ---- who */

enum rc
guard_who(struct app *app, struct request *rq, struct who *out, struct err *e)
{
	const char *guest = cookie(app, rq, "souk_cart");
	enum rc rc;

	*out = (struct who){ .token = cookie(app, rq, "souk_session"),
		/* Somebody else's software may have set one of that name. */
		.guest = secret_well_formed(guest) ? guest : "" };
	if (*out->token == '\0')
		return RC_OK;
	rc = session_find(app->shop, out->token, rq->arena, &out->session, e);
	out->known = rc == RC_OK;
	return rc == RC_NONE ? RC_OK : rc;
}

enum rc
guard_require(
    struct app *app, struct request *rq, struct who *out, struct err *e)
{
	enum rc rc = guard_who(app, rq, out, e);

	if (rc == RC_OK && !out->known)
		return err_set(
		    e, RC_REFUSED, "unauthorized", "Please log in first");
	return rc;
}

/* ---- where it came from */

/*
 * The origin at the front of an address (RFC 6454), lower case, without the
 * scheme's own port; "" where there is none: "null", a path.
 */
static const char *
origin_of(const char *url, struct arena *arena)
{
	const char *host = strstr(url, "://");
	size_t n, scheme;
	char *out;

	if (host == NULL)
		return "";
	scheme = (size_t)(host - url);
	n = scheme + 3 + strcspn(host + 3, "/?#");
	out = arena_strndup(arena, url, n);
	for (char *p = out; *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
	if (scheme == 5 && n > 4 && strncmp(out, "https", 5) == 0 &&
	    strcmp(out + n - 4, ":443") == 0)
		out[n - 4] = '\0';
	else if (scheme == 4 && n > 3 && strncmp(out, "http", 4) == 0 &&
		 strcmp(out + n - 3, ":80") == 0)
		out[n - 3] = '\0';
	return out;
}

/* The shop's own, as configured, or as this request names it. */
static bool
is_our_origin(struct app *app, const struct request *rq, const char *url)
{
	const char *origin = origin_of(url, rq->arena);

	if (*origin == '\0')
		return false;
	if (strcmp(origin, origin_of(conf_str(app->conf, "shop", "base_url"),
			       rq->arena)) == 0)
		return true;
	return rq->host != NULL && *rq->host != '\0' &&
	       strcmp(origin, origin_of(arena_concat(rq->arena,
					    rq->https ? "https://" : "http://",
					    rq->host, NULL),
				  rq->arena)) == 0;
}

enum rc
guard_same_origin(struct app *app, const struct request *rq, struct err *e)
{
	const char *site = rq->fetch_site;
	bool reads = rq->method == M_GET || rq->method == M_HEAD;

	if (site != NULL && strcmp(site, "same-origin") != 0 &&
	    !(reads && strcmp(site, "none") == 0))
		goto refused;
	if (rq->origin != NULL && !is_our_origin(app, rq, rq->origin))
		goto refused;
	/* Browsers of before 2020 send neither with a form. */
	if (site == NULL && rq->origin == NULL && rq->referer != NULL &&
	    !is_our_origin(app, rq, rq->referer))
		goto refused;
	return RC_OK;
refused:
	return err_set(e, RC_REFUSED, "cross_origin",
	    "This request did not come from one of the shop's own pages");
}

/* ---- bodies */

enum rc
guard_json_type(struct app *app, const struct request *rq, struct err *e)
{
	enum rc rc = guard_same_origin(app, rq, e);

	if (rc == RC_OK && strcmp(rq->content_type, TYPE_JSON) != 0)
		return err_set(e, RC_INVALID, "unsupported_media_type",
		    "Content-Type must be application/json");
	return rc;
}

enum rc
guard_json(struct app *app, const struct request *rq, struct json_t **tree,
    struct err *e)
{
	json_error_t why;
	enum rc rc;

	*tree = NULL;
	if ((rc = guard_json_type(app, rq, e)) != RC_OK)
		return rc;
	*tree =
	    json_loadb(rq->body.p, rq->body.n, JSON_REJECT_DUPLICATES, &why);
	if (*tree == NULL)
		return err_set(e, RC_INVALID, "invalid_json",
		    "The body is not JSON: line %d: %s", why.line, why.text);
	if (json_is_object(*tree))
		return RC_OK;
	json_decref(*tree);
	*tree = NULL;
	return err_set(
	    e, RC_INVALID, "invalid_json", "The body must be a JSON object");
}

const char *
guard_form_token(struct request *rq, const struct who *who)
{
	unsigned char hash[32];
	char *hex;

	if (who->known)
		return session_form_token(who->token, rq->arena);
	hex = arena_alloc(rq->arena, 2 * sizeof hash + 1);
	secret_hash(
	    arena_concat(rq->arena, "souk guest form ", who->guest, NULL),
	    hash);
	text_hex(hash, sizeof hash, hex);
	return hex;
}

enum rc
guard_form(struct app *app, struct request *rq, const struct who *who,
    struct fields *out, struct err *e)
{
	const char *want = guard_form_token(rq, who), *sent;
	enum rc rc;

	*out = (struct fields){ 0 };
	if ((rc = guard_same_origin(app, rq, e)) != RC_OK)
		return rc;
	if (strcmp(rq->content_type, "application/x-www-form-urlencoded") != 0)
		return err_set(e, RC_INVALID, "unsupported_media_type",
		    "This address takes a form");
	if ((rc = form_parse(rq->body, FORM_FIELDS, rq->arena, out, e)) !=
	    RC_OK)
		return rc;
	sent = fields_get(out, "form_token");
	/* Without a cookie of ours there is nothing that a stranger's page
	 * could not know: such a form has expired. */
	if ((!who->known && *who->guest == '\0') || sent == NULL ||
	    strlen(sent) != strlen(want) ||
	    sodium_memcmp(sent, want, strlen(want)) != 0)
		return err_set(e, RC_REFUSED, "stale_form",
		    "This page was open for too long. Please send it again");
	return RC_OK;
}

/* ---- admins */

enum rc
guard_admin_person(struct app *app, struct request *rq, struct response *rs,
    const char **person, struct err *e)
{
	const char *auth = request_param(rq, "HTTP_AUTHORIZATION");
	bool reads = rq->method == M_GET || rq->method == M_HEAD;
	struct token_owner owner = { 0 };
	struct who who;
	enum rc rc = RC_NONE;

	/* "Bearer TOKEN" (RFC 6750). A page of somebody else cannot send it;
	 * a session's cookie it can. */
	if (auth != NULL) {
		if (strncasecmp(auth, "Bearer ", 7) == 0)
			rc = token_check(
			    app->shop->pg, auth + 7, rq->arena, &owner, e);
		if (rc != RC_NONE && rc != RC_OK)
			return rc;
		if (rc == RC_OK && strcmp(owner.role, "admin") == 0) {
			*person = arena_printf(
			    rq->arena, "token:%lld", (long long)owner.id);
			return RC_OK;
		}
	} else {
		if ((rc = guard_who(app, rq, &who, e)) != RC_OK)
			return rc;
		if (who.known && who.session.admin) {
			*person = arena_printf(rq->arena, "customer:%lld",
			    (long long)who.session.customer_id);
			return reads ? RC_OK : guard_same_origin(app, rq, e);
		}
		if (who.known)
			return err_set(e, RC_REFUSED, "forbidden",
			    "This is for the shop's operators");
	}
	rs->extra[rs->n_extra++] = "WWW-Authenticate: Bearer realm=\"souk\"";
	return err_set(e, RC_REFUSED, "unauthorized",
	    "Send an API token: Authorization: Bearer TOKEN "
	    "(soukctl token create --role admin)");
}

enum rc
guard_admin(
    struct app *app, struct request *rq, struct response *rs, struct err *e)
{
	const char *person;

	return guard_admin_person(app, rq, rs, &person, e);
}
