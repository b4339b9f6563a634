#include "fcgi-app/page_int.h"

#include <stdio.h>

static const struct error_words {
	int status;
	enum page_text title, text;
} error_words[] = {
	{ 400, TX_ERROR_400_TITLE, TX_ERROR_400_TEXT },
	{ 404, TX_ERROR_404_TITLE, TX_ERROR_404_TEXT },
	{ 405, TX_ERROR_405_TITLE, TX_ERROR_405_TEXT },
	{ 500, TX_ERROR_500_TITLE, TX_ERROR_500_TEXT },
	{ 503, TX_ERROR_503_TITLE, TX_ERROR_503_TEXT },
};

static const struct error_words *
words_for(int status)
{
	const struct error_words *some = &error_words[status < 500 ? 0 : 3];

	if (status == 410)
		status = 404;
	if (status == 429 || status == 502 || status == 504)
		status = 503;
	for (size_t i = 0; i < sizeof error_words / sizeof *error_words; i++) {
		if (error_words[i].status == status)
			some = &error_words[i];
	}
	return some;
}

void
page_error_render(const struct page_ctx *ctx, int status,
    const char *request_id, struct strbuf *out)
{
	const struct error_words *words = words_for(status);
	struct page_head head = { .noindex = true, .site = true };
	json_t *view = json_object();
	struct err e;

	if (ctx != NULL) {
		head.title = span_of(ctx->text[words->title]);
		view_num(view, "status", status);
		view_span(view, "heading", head.title);
		view_span(view, "message", span_of(ctx->text[words->text]));
		view_bool(view, "request_id", false);
		if (status >= 500 && request_id != NULL)
			view_span(view, "request_id", span_of(request_id));
		view_optional(view, "request_id");
		view_head(ctx, view, &head);
		if (page_finish(ctx, "error", view, out, &e) == RC_OK)
			return;
	} else {
		json_decref(view);
	}
	strbuf_addf(out,
	    "<!DOCTYPE html>\n<html lang=\"en\"><title>%d</title>"
	    "<p>This page cannot be shown right now (%d).</p></html>\n",
	    status, status);
}
