#include "fcgi-app/page_int.h"

enum rc
page_home_render(const struct page_ctx *ctx, struct span list,
    struct strbuf *out, struct err *e)
{
	const struct page_head head = {
		.title = span_of(ctx->text[TX_HOME_TITLE]),
		.description = span_of(ctx->text[TX_HOME_DESCRIPTION]),
		.path = span_of("/"),
	};
	struct strbuf sb;
	json_t *view;
	enum rc rc;

	if ((rc = page_parse(list, &view, e)) != RC_OK)
		return rc;
	view_cards(ctx, view, 0); /* below the hero: none in sight at first */
	view_head(ctx, view, &head);
	strbuf_init(&sb, 512);
	jsonld_site(ctx, &sb);
	view_sb(view, "jsonld", &sb);
	strbuf_release(&sb);
	return page_finish(ctx, "home", view, out, e);
}
