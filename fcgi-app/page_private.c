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
