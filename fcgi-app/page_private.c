#include "fcgi-app/page_int.h"

#include <string.h>

/* Private pages: the view comes ready (private.c), the title is a text. */

const char *const page_private_names[] = { "account", "login",
	"password_forgot", "password_reset", "register", NULL };

const char *
page_text(const struct page_ctx *ctx, const char *key)
{
	return json_string_value(json_object_get(ctx->texts, key));
}

const char *
page_private_title(const struct page_ctx *ctx, const char *name)
{
	const char *text;
	struct strbuf key;

	strbuf_init(&key, 64);
	strbuf_addf(&key, "%s_title", name);
	for (char *p = key.s; *p != '\0'; p++) {
		if (*p == '-' || *p == '/')
			*p = '_';
	}
	text = page_text(ctx, key.s);
	strbuf_release(&key);
	return text;
}

enum rc
page_private_render(const struct page_ctx *ctx, const char *name, json_t *view,
    struct strbuf *out, struct err *e)
{
	struct page_head head = { .noindex = true,
		.site = true,
		.title = span_of(page_private_title(ctx, name)) };

	view_head(ctx, view, &head);
	view_span(view, "heading", head.title);
	return page_finish(ctx, name, view, out, e);
}

/* ---- the account */

/* "Firefox, Linux": enough for a person to know it again. Whoever names others
 * as well (Chrome says Safari, Edge says Chrome) stands before them. */
static void
view_agent(const struct page_ctx *ctx, json_t *session)
{
	static const char *const browsers[][2] = { { "Edg", "Edge" },
		{ "OPR/", "Opera" }, { "Firefox/", "Firefox" },
		{ "FxiOS/", "Firefox" }, { "Chrome/", "Chrome" },
		{ "CriOS/", "Chrome" }, { "Safari/", "Safari" },
		{ "curl/", "curl" } };
	static const char *const systems[][2] = { { "iPhone", "iPhone" },
		{ "iPad", "iPad" }, { "Android", "Android" },
		{ "Windows", "Windows" }, { "Mac OS X", "Mac" },
		{ "Linux", "Linux" } };
	const char *agent = page_str(session, "userAgent").p;
	const char *browser = NULL, *system = NULL;
	struct strbuf sb;

	for (size_t i = 0; i < sizeof browsers / sizeof *browsers; i++) {
		if (browser == NULL && strstr(agent, browsers[i][0]) != NULL)
			browser = browsers[i][1];
	}
	for (size_t i = 0; i < sizeof systems / sizeof *systems; i++) {
		if (system == NULL && strstr(agent, systems[i][0]) != NULL)
			system = systems[i][1];
	}
	if (browser == NULL)
		browser = page_text(ctx, "session_unknown_agent");
	strbuf_init(&sb, 64);
	strbuf_adds(&sb, browser == NULL ? "?" : browser);
	if (system != NULL)
		strbuf_addf(&sb, ", %s", system);
	view_sb(session, "agent", &sb);
	strbuf_release(&sb);
}

static void
view_account_order(const struct page_ctx *ctx, json_t *order)
{
	const json_t *items = json_object_get(order, "items");
	struct span currency = page_str(order, "currency");
	const char *status = page_str(order, "status").p, *words;
	struct strbuf sb;

	view_date(ctx, order, "created_text", page_str(order, "createdAt"),
	    TX_DATE_TIME);
	view_price(order, "total_text", page_num(order, "total", 0),
	    currency.n > 0 ? currency.p : ctx->currency);
	strbuf_init(&sb, 64);
	strbuf_addf(&sb, "status_%s", status);
	words = page_text(ctx, sb.s);
	view_span(
	    order, "status_text", span_of(words == NULL ? status : words));
	strbuf_reset(&sb);
	strbuf_addspan(&sb, page_str(json_array_get(items, 0), "title"));
	if (json_array_size(items) > 1)
		strbuf_addf(&sb, " + %zu", json_array_size(items) - 1);
	view_sb(order, "items_text", &sb);
	strbuf_release(&sb);
}

enum rc
page_account_view(const struct page_ctx *ctx, struct span orders,
    json_t *sessions, json_t *view, struct err *e)
{
	json_t *list, *all, *each;
	size_t i;
	enum rc rc;

	json_array_foreach(sessions, i, each)
	{
		view_agent(ctx, each);
		view_date(ctx, each, "seen_text", page_str(each, "seenAt"),
		    TX_DATE_TIME);
	}
	json_object_set_new_nocheck(view, "sessions", sessions);
	if ((rc = page_parse(orders, &list, e)) != RC_OK)
		return rc;
	all = json_object_get(list, "orders");
	json_array_foreach(all, i, each) view_account_order(ctx, each);
	view_bool(view, "has_orders", json_array_size(all) > 0);
	json_object_set(view, "orders", all);
	view_span(view, "next", page_str(list, "next"));
	json_decref(list);
	return RC_OK;
}
