#include "fcgi-app/page_int.h"

#include <string.h>

/* /products?q=...&after=..., what is empty left out. */
static void
add_list_url(struct strbuf *out, struct span q, struct span after)
{
	strbuf_adds(out, "/products");
	if (q.n > 0) {
		strbuf_adds(out, "?q=");
		strbuf_add_urlarg(out, q.p, q.n);
	}
	if (after.n > 0) {
		strbuf_adds(out, q.n > 0 ? "&after=" : "?after=");
		strbuf_add_urlarg(out, after.p, after.n);
	}
}

static void
list_pager(json_t *view, struct span q, bool first)
{
	struct span next = page_str(view, "next");
	struct strbuf sb;

	strbuf_init(&sb, 128);
	view_bool(view, "next_url", false);
	view_bool(view, "first_url", false);
	if (next.n > 0) {
		add_list_url(&sb, q, next);
		view_sb(view, "next_url", &sb);
	}
	if (!first) {
		add_list_url(&sb, q, (struct span){ 0 });
		view_sb(view, "first_url", &sb);
	}
	view_bool(view, "pager", next.n > 0 || !first);
	strbuf_release(&sb);
}

/* A search result is for people: it is not to be found by a search engine. */
static void
list_head(
    const struct page_ctx *ctx, json_t *view, struct span q, struct span after)
{
	const struct page_arg args[] = { { "q", q } };
	struct page_head head = { .site = true, .noindex = q.n > 0 };
	struct strbuf title, description, path;

	strbuf_init(&title, 128);
	strbuf_init(&description, 128);
	strbuf_init(&path, 128);
	page_fill(&title, ctx->text[q.n > 0 ? TX_FOUND_TITLE : TX_LIST_TITLE],
	    1, args);
	page_fill(&description,
	    ctx->text[q.n > 0 ? TX_FOUND_DESCRIPTION : TX_LIST_DESCRIPTION], 1,
	    args);
	add_list_url(&path, q, after);
	head.title = strbuf_span(&title);
	head.description = strbuf_span(&description);
	head.path = strbuf_span(&path);
	view_head(ctx, view, &head);
	view_sb(view, "heading", &title);
	strbuf_release(&path);
	strbuf_release(&description);
	strbuf_release(&title);
}

enum rc
page_list_render(const struct page_ctx *ctx, const struct page_list *query,
    struct span list, struct strbuf *out, struct err *e)
{
	struct span q = span_of(query->q);
	struct span after = span_of(query->after);
	json_t *view;
	enum rc rc;
	size_t n;

	if ((rc = page_parse(list, &view, e)) != RC_OK)
		return rc;
	n = view_cards(ctx, view, 4); /* the first row of a wide window */
	view_bool(view, "none_found", false);
	if (n == 0 && q.n > 0 && after.n == 0)
		view_text(ctx, view, "none_found", TX_NONE_FOUND, "q", q);
	view_span(view, "q", q);
	view_optional(view, "q");
	list_pager(view, q, after.n == 0);
	list_head(ctx, view, q, after);
	return page_finish(ctx, "list", view, out, e);
}
