#include "fcgi-app/page_int.h"

/* robots.txt (RFC 9309) and the sitemap (sitemaps.org, protocol 0.9). */

void
page_robots_render(const struct page_ctx *ctx, struct strbuf *out)
{
	strbuf_adds(out, "User-agent: *\n"
			 "Disallow: /api/\n"
			 "Disallow: /admin/\n"
			 "Disallow: /account\n"
			 "Disallow: /buy/\n"
			 "Disallow: /cart\n"
			 "Disallow: /checkout\n"
			 "Disallow: /login\n"
			 "Disallow: /orders/\n"
			 "Disallow: /register\n"
			 "Disallow: /products?q=\n"
			 "\nSitemap: ");
	strbuf_adds(out, ctx->base_url);
	strbuf_adds(out, "/sitemap.xml\n");
}

static void
sitemap_address(
    const struct page_ctx *ctx, struct strbuf *out, const char *path)
{
	strbuf_adds(out, "<loc>");
	strbuf_add_html(out, ctx->base_url, strlen(ctx->base_url));
	strbuf_adds(out, path);
	strbuf_adds(out, "</loc>");
}

static void
sitemap_index(const struct page_ctx *ctx, int64_t files, struct strbuf *out)
{
	strbuf_adds(out, "<sitemapindex xmlns=\"http://www.sitemaps.org/"
			 "schemas/sitemap/0.9\">\n");
	for (int64_t i = 1; i <= files; i++) {
		strbuf_adds(out, "<sitemap>");
		sitemap_address(ctx, out, "/sitemap-");
		strbuf_trunc(out, out->len - strlen("</loc>"));
		strbuf_addf(out, "%lld.xml</loc></sitemap>\n", (long long)i);
	}
	strbuf_adds(out, "</sitemapindex>\n");
}

static void
sitemap_urls(const struct page_ctx *ctx, bool first, const json_t *products,
    struct strbuf *out)
{
	strbuf_adds(out, "<urlset xmlns=\"http://www.sitemaps.org/schemas/"
			 "sitemap/0.9\">\n");
	if (first) {
		strbuf_adds(out, "<url>");
		sitemap_address(ctx, out, "/");
		strbuf_adds(out, "</url>\n<url>");
		sitemap_address(ctx, out, "/products");
		strbuf_adds(out, "</url>\n");
	}
	for (size_t i = 0; i < json_array_size(products); i++) {
		const json_t *product = json_array_get(products, i);
		struct span at = page_str(product, "updatedAt");

		strbuf_adds(out, "<url>");
		sitemap_address(ctx, out, "/products/");
		strbuf_trunc(out, out->len - strlen("</loc>"));
		strbuf_addf(
		    out, "%lld</loc>", (long long)page_num(product, "id", 0));
		if (at.n > 0) {
			strbuf_adds(out, "<lastmod>");
			strbuf_add_html(out, at.p, at.n);
			strbuf_adds(out, "</lastmod>");
		}
		strbuf_adds(out, "</url>\n");
	}
	strbuf_adds(out, "</urlset>\n");
}

enum rc
page_sitemap_render(const struct page_ctx *ctx, int n, struct span data,
    struct strbuf *out, struct err *e)
{
	json_t *view;
	int64_t files;
	enum rc rc;

	if ((rc = page_parse(data, &view, e)) != RC_OK)
		return rc;
	files = page_num(view, "files", 1);
	strbuf_adds(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	if (n == 0 && files > 1)
		sitemap_index(ctx, files, out);
	else
		sitemap_urls(
		    ctx, n <= 1, json_object_get(view, "products"), out);
	json_decref(view);
	return RC_OK;
}
