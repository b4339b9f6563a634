#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "fcgi-app/page.h"
#include "fcgi-app/page_buy.h"

/*
 * render_page TEMPLATES ASSETS KIND [FILE|-] [N]: one page on stdout from a
 * record, without a server; for working on templates. With N it is rendered N
 * times and what one took, in CPU time, is told on stderr. KIND: home, list,
 * search, product, view (a product that is prepared once), sale, error, robots,
 * sitemap; cart, add (a product), checkout (a cart), confirm (a sale), order,
 * with RENDER_SAY.
 */

static void
file_read(const char *path, struct strbuf *out)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char buf[8192];
	size_t n;

	if (f == NULL) {
		perror(path);
		exit(1);
	}
	while ((n = fread(buf, 1, sizeof buf, f)) > 0)
		strbuf_add(out, buf, n);
	if (f != stdin)
		fclose(f);
}

static enum rc
render_buy(const struct page_ctx *ctx, const char *kind, struct span record,
    struct strbuf *out, struct err *e)
{
	static const struct page_check wrong[] = { { "email", "invalid" },
		{ "city", "missing" } };
	const struct page_form form = { .token = "token",
		.key = "0123456789abcdef0123456789abcdef",
		.say = getenv("RENDER_SAY"),
		.sandbox = true };

	if (strcmp(kind, "cart") == 0)
		return page_cart_render(ctx, record, &form, out, e);
	if (strcmp(kind, "add") == 0)
		return page_cart_add_render(ctx, record, 0, 1, &form, out, e);
	if (strcmp(kind, "checkout") == 0)
		return page_checkout_render(ctx, record, NULL,
		    form.say != NULL ? 2 : 0, wrong, &form, out, e);
	if (strcmp(kind, "confirm") == 0)
		return page_confirm_render(
		    ctx, record, 42, 0, clock_wall_ms(), &form, out, e);
	if (strcmp(kind, "order") == 0)
		return page_order_render(ctx, record, "", &form, out, e);
	return RC_NONE;
}

static enum rc
render(const struct page_ctx *ctx, const char *kind, struct span record,
    struct strbuf *out, struct err *e)
{
	const struct page_list all = { getenv("RENDER_Q"),
		getenv("RENDER_AFTER") };
	static const struct page_list some = { "blue mug", "c1" };

	enum rc rc = render_buy(ctx, kind, record, out, e);

	if (rc != RC_NONE)
		return rc;
	if (strcmp(kind, "home") == 0)
		return page_home_render(ctx, record, out, e);
	if (strcmp(kind, "list") == 0)
		return page_list_render(ctx, &all, record, out, e);
	if (strcmp(kind, "search") == 0)
		return page_list_render(ctx, &some, record, out, e);
	if (strcmp(kind, "product") == 0)
		return page_product_render(ctx, record, out, e);
	if (strcmp(kind, "view") == 0) {
		static struct json_t *view; /* only what comes after is timed */

		if (view == NULL &&
		    page_product_view(ctx, record, &view, e) != RC_OK)
			return RC_FAIL;
		return page_product_show(ctx, view, out, e);
	}
	if (strcmp(kind, "sale") == 0)
		return page_sale_render(ctx, record, clock_wall_ms(), out, e);
	if (strcmp(kind, "sitemap") == 0)
		return page_sitemap_render(ctx, 0, record, out, e);
	if (strcmp(kind, "robots") == 0)
		page_robots_render(ctx, out);
	else
		page_error_render(ctx, atoi(kind), "0123456789abcdef", out);
	return RC_OK;
}

int
main(int argc, char **argv)
{
	struct page_opts opts = { .name = "Souk",
		.base_url = "https://souk.example",
		.currency = "USD",
		.language = "en" };
	struct err e = ERR_INIT;
	struct strbuf record, out;
	struct page_ctx *ctx = NULL;
	clock_t start;
	int n, status = 1;

	if (argc < 4) {
		fprintf(stderr,
		    "usage: render_page TEMPLATES ASSETS KIND [FILE] [N]\n");
		return 2;
	}
	opts.templates = argv[1];
	opts.assets = argv[2];
	n = argc > 5 ? atoi(argv[5]) : 1;
	strbuf_init(&record, 0);
	strbuf_init(&out, 0);
	if (argc > 4)
		file_read(argv[4], &record);
	if (page_ctx_load(&opts, &ctx, &e) != RC_OK) {
		fprintf(stderr, "%s\n", e.msg);
		goto out;
	}
	start = clock();
	for (int i = 0; i < n; i++) {
		strbuf_reset(&out);
		if (render(ctx, argv[3], strbuf_span(&record), &out, &e) !=
		    RC_OK) {
			fprintf(stderr, "%s\n", e.msg);
			goto out;
		}
	}
	if (n > 1) {
		fprintf(stderr, "%s: %zu bytes from %zu, %.1f us\n", argv[3],
		    out.len, record.len,
		    1e6 * (double)(clock() - start) / CLOCKS_PER_SEC / n);
	} else {
		fwrite(out.s, 1, out.len, stdout);
	}
	status = 0;
out:
	page_ctx_free(ctx);
	strbuf_release(&out);
	strbuf_release(&record);
	return status;
}
