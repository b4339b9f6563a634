#define _GNU_SOURCE /* strcasestr */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "shop/richtext.h"

static struct arena *arena;

static void
given_arena(void)
{
	arena = arena_new();
}

static void
arena_gone(void)
{
	arena_free(arena);
}

static const char *
cleaned(const char *html)
{
	struct err e = ERR_INIT;
	const char *out = NULL, *again = NULL;

	ck_assert_msg(
	    richtext_clean(span_of(html), arena, &out, NULL, &e) == RC_OK,
	    "%s: %s", html, e.msg);
	ck_assert_int_eq(
	    richtext_clean(span_of(out), arena, &again, NULL, &e), RC_OK);
	ck_assert_str_eq(again, out); /* twice is once */
	return out;
}

#define LINK " rel=\"nofollow noopener\">"

static const struct {
	const char *html, *want;
} table[] = {
	/* plain text */
	{ "", "" },
	{ "  \n ", "" },
	{ "Just words.", "<p>Just words.</p>" },
	{ "One\n\nTwo\nThree", "<p>One</p><p>Two<br>Three</p>" },
	{ "a < b & c > d", "<p>a &lt; b &amp; c &gt; d</p>" },
	{ "Salt &amp; pepper", "<p>Salt &amp; pepper</p>" },
	{ "달항아리 “x”", "<p>달항아리 “x”</p>" },
	/* what may stay */
	{ "<p>a <strong>b</strong> <em>c</em></p>",
	    "<p>a <strong>b</strong> <em>c</em></p>" },
	{ "<h1>Big</h1><h3>Small</h3>", "<h2>Big</h2><h3>Small</h3>" },
	{ "<h4>a</h4><h6>b</h6><h5></h5><h2>c</h2><h4>d</h4>",
	    "<h2>a</h2><h3>b</h3><h2>c</h2><h3>d</h3>" },
	{ "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>",
	    "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>" },
	{ "<blockquote>q</blockquote>", "<blockquote><p>q</p></blockquote>" },
	{ "<pre>\n a\n  b</pre>", "<pre> a\n  b</pre>" },
	{ "a<hr>b", "<p>a</p><hr><p>b</p>" },
	{ "<table><caption>C</caption><thead><tr><th>H</th></tr></thead>"
	  "<tr><td>1</td><td></td></tr></table>",
	    "<table><caption>C</caption><thead><tr><th>H</th></tr></thead>"
	    "<tbody><tr><td>1</td><td></td></tr></tbody></table>" },
	{ "<a href=\"https://example.org/a?b=c&amp;d=e#f\">x</a>",
	    "<p><a href=\"https://example.org/a?b=c&amp;d=e#f\"" LINK
	    "x</a></p>" },
	{ "<a href='/pages/care' target=_blank onclick=x()>x</a>",
	    "<p><a href=\"/pages/care\"" LINK "x</a></p>" },
	{ "<a href='mailto:a@b.c'>x</a>",
	    "<p><a href=\"mailto:a@b.c\"" LINK "x</a></p>" },
	{ "<a href='//cdn.example/x y'>x</a>",
	    "<p><a href=\"https://cdn.example/x%20y\"" LINK "x</a></p>" },
	{ "<img src='https://e.org/a.jpg' alt='A \"b\"' width=10 height=20 "
	  "style='x' onerror=alert(1)>",
	    "<p><img src=\"https://e.org/a.jpg\" alt=\"A &quot;b&quot;\" "
	    "width=\"10\" height=\"20\"></p>" },
	{ "<img src=/media/mug.svg>",
	    "<p><img src=\"/media/mug.svg\" alt=\"\"></p>" },
	/* what is made right */
	{ "<p>a<p>b", "<p>a</p><p>b</p>" },
	{ "<p>a<ul><li>b</ul>c</p>", "<p>a</p><ul><li>b</li></ul><p>c</p>" },
	{ "<div>a<div>b</div>c</div>", "<p>a</p><p>b</p><p>c</p>" },
	{ "<span>a</span><font color=red>b</font>", "<p>ab</p>" },
	{ "<b>x<i>y</b>z</i>", "<p><b>x<i>y</i></b>z</p>" },
	{ "<ul>a<li>b</ul>", "<ul><li>a</li><li>b</li></ul>" },
	{ "<li>a<li>b", "<ul><li>a</li><li>b</li></ul>" },
	{ "<table><td>x</table>",
	    "<table><tbody><tr><td>x</td></tr></tbody></table>" },
	{ "<tr><td>x", "<p>x</p>" },
	{ "<p></p><p>&nbsp;</p><ul></ul><b></b>a", "<p>a</p>" },
	{ "<p>a<br></p>", "<p>a</p>" },
	{ "<b>a </b>b", "<p><b>a</b> b</p>" },
	{ "<html><head><title>t</title></head><body>x</body></html>",
	    "<p>x</p>" },
	{ "a<!-- no -->b<?php no ?>", "<p>ab</p>" },
	{ "<o:p>Word</o:p>", "<p>Word</p>" },
	/* attacks */
	{ "<script>alert(1)</script>x", "<p>x</p>" },
	{ "<SCRIPT SRC=//evil/x.js></SCRIPT>x", "<p>x</p>" },
	{ "<scr<script>ipt>alert(1)</script>x", NULL },
	{ "<img src=x onerror=alert(1)>", "" },
	{ "<img src='java&#10;script:alert(1)'>", "" },
	{ "<img src='data:image/svg+xml,<svg onload=alert(1)>'>", "" },
	{ "<a href='javascript:alert(1)'>x</a>", "<p>x</p>" },
	{ "<a href=' &#1; JaVaScRiPt:alert(1)'>x</a>", "<p>x</p>" },
	{ "<a href='java\tscript:alert(1)'>x</a>", "<p>x</p>" },
	{ "<a href='java&Tab;script&colon;alert(1)'>x</a>", NULL },
	{ "<a href='&#106;&#x61;vascript&#58;alert(1)'>x</a>", "<p>x</p>" },
	{ "<a href='vbscript:x'>x</a>", "<p>x</p>" },
	{ "<a href='https://user:pw@evil.example/'>x</a>", "<p>x</p>" },
	{ "<a href='https://.x/'>x</a><a href='https://a..b'>y</a>",
	    "<p>xy</p>" },
	{ "<a href='https://a-b.c:8080?q'>x</a>",
	    "<p><a href=\"https://a-b.c:8080?q\"" LINK "x</a></p>" },
	{ "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
	    "<p>x</p>" },
	{ "<a href='http:javascript'>x</a>", "<p>x</p>" },
	{ "<a href=\"x\" href=\"javascript:alert(1)\">x</a>", NULL },
	{ "<iframe src=x></iframe><object data=x></object><embed src=x>x",
	    "<p>x</p>" },
	{ "<form action=x><input name=a><button>b</button></form>x",
	    "<p>x</p>" },
	{ "<svg><a xlink:href='javascript:x'><text>y</text></a></svg>x",
	    "<p>x</p>" },
	{ "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>"
	  "</style></mglyph></table></mtext></math>x",
	    NULL },
	{ "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
	    NULL },
	{ "<style><!--</style><img src=x onerror=alert(1)>-->", NULL },
	{ "<!--<img src=--><img src=x onerror=alert(1)//>", NULL },
	{ "<![CDATA[<img src=x onerror=alert(1)>]]>", NULL },
	{ "<p style='background:url(javascript:x)' class=c id=i>x</p>",
	    "<p>x</p>" },
	{ "<img/src=`x`onerror=alert(1)>", "" },
	{ "<<img src=x onerror=alert(1)//<", NULL },
	{ "<a href=\"https://e.org/\"onmouseover=alert(1) x=\">x</a>", NULL },
	{ "<template><script>alert(1)</script></template>x", "<p>x</p>" },
	{ "<textarea></textarea><img src=x onerror=alert(1)>", "" },
	{ "<xmp><img src=x onerror=alert(1)></xmp>", NULL },
	{ "&lt;script&gt;alert(1)&lt;/script&gt;",
	    "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>" },
	{ "<meta http-equiv=refresh content='0;url=javascript:x'>x",
	    "<p>x</p>" },
	{ "<base href='javascript:/'><a href='/x'>x</a>",
	    "<p><a href=\"/x\"" LINK "x</a></p>" },
	{ "<a href=\"https://e.org/<script>'\">x</a>",
	    "<p><a href=\"https://e.org/%3Cscript%3E&#39;\"" LINK "x</a></p>" },
};

START_TEST(descriptions_are_cleaned)
{
	const char *got = cleaned(table[_i].html);

	if (table[_i].want != NULL)
		ck_assert_str_eq(got, table[_i].want);
	ck_assert_msg(strcasestr(got, "<script") == NULL, "%s", got);
	ck_assert_msg(strcasestr(got, "onerror=") == NULL ||
			  strchr(got, '<') == NULL ||
			  strstr(got, "<img") == NULL,
	    "%s", got);
	ck_assert_msg(strcasestr(got, "=\"javascript:") == NULL, "%s", got);
}
END_TEST

START_TEST(what_is_no_text_is_refused)
{
	struct err e = ERR_INIT;
	const char *out;
	struct strbuf deep;

	ck_assert_int_eq(
	    richtext_clean(span_of("<p>\xff</p>"), arena, &out, NULL, &e),
	    RC_INVALID);
	strbuf_init(&deep, 0);
	for (int i = 0; i < 5000; i++)
		strbuf_adds(&deep, "<blockquote>");
	strbuf_adds(&deep, "x");
	ck_assert_int_eq(
	    richtext_clean(strbuf_span(&deep), arena, &out, NULL, &e),
	    RC_INVALID);
	strbuf_reset(&deep);
	for (int i = 0; i < 1 << 20; i++)
		strbuf_addc(&deep, 'x');
	ck_assert_int_eq(
	    richtext_clean(strbuf_span(&deep), arena, &out, NULL, &e),
	    RC_INVALID); /* with its <p> it is too large */
	strbuf_addc(&deep, 'x');
	ck_assert_int_eq(
	    richtext_clean(strbuf_span(&deep), arena, &out, NULL, &e),
	    RC_INVALID);
	strbuf_release(&deep);
}
END_TEST

START_TEST(nul_and_controls_vanish)
{
	struct err e = ERR_INIT;
	const char *out = NULL;
	static const char in[] = "<p>a\0b\x01\x7f\xc2\x85"
				 "c&#0;d&#2;e</p>"
				 "<scr\0ipt>f</scr\0ipt>";

	ck_assert_int_eq(richtext_clean((struct span){ in, sizeof in - 1 },
			     arena, &out, NULL, &e),
	    RC_OK);
	ck_assert_ptr_eq(strstr(out, "script"), NULL);
	ck_assert_msg(strncmp(out, "<p>abc", 6) == 0, "%s", out);
}
END_TEST

static size_t
chars(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

START_TEST(a_summary_is_text_cut_at_a_word)
{
	struct err e = ERR_INIT;
	const char *out = NULL;
	struct strbuf sb;

	ck_assert_int_eq(
	    richtext_clean(span_of("<h2>A</h2><p>b &amp; <b>c</b>d<br>e</p>"
				   "<ul><li>f</li><li>g</li></ul>"),
		arena, NULL, &out, &e),
	    RC_OK);
	ck_assert_str_eq(out, "A b & cd e f g");
	strbuf_init(&sb, 0);
	for (int i = 0; i < 100; i++)
		strbuf_adds(&sb, "word, ");
	ck_assert_int_eq(
	    richtext_clean(strbuf_span(&sb), arena, NULL, &out, &e), RC_OK);
	ck_assert_uint_le(chars(out), 300);
	ck_assert_uint_ge(chars(out), 290);
	ck_assert_str_eq(out + strlen(out) - strlen("word…"), "word…");
	strbuf_reset(&sb);
	for (int i = 0; i < 400; i++)
		strbuf_adds(&sb, "달");
	ck_assert_int_eq(
	    richtext_clean(strbuf_span(&sb), arena, NULL, &out, &e), RC_OK);
	ck_assert_uint_eq(chars(out), 300);
	strbuf_release(&sb);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("richtext");
	TCase *tc = tcase_create("richtext");

	tcase_add_checked_fixture(tc, given_arena, arena_gone);
	tcase_add_loop_test(
	    tc, descriptions_are_cleaned, 0, sizeof table / sizeof *table);
	tcase_add_test(tc, what_is_no_text_is_refused);
	tcase_add_test(tc, nul_and_controls_vanish);
	tcase_add_test(tc, a_summary_is_text_cut_at_a_word);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
