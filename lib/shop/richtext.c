/*
 * How it works: libxml2's HTML parser makes a tree of whatever it is given;
 * the tree is walked once and written anew by an emitter that only knows the
 * allow-list, so nothing of the source's own markup ever reaches the output.
 *
 * The emitter has three layers: open boxes (lists, tables, quotes), at most
 * one open block (p, h2-h6, pre) inside the innermost box, and inline elements
 * inside that. Each is written only when text or a picture comes: what is
 * empty never appears. Where a block begins, what is open inside it is closed,
 * and inline elements are opened again in the next block, so `<b><p>x</b>`
 * becomes `<p><b>x</b></p>`. Text where none may stand gets what it needs (a
 * p, an li, a row with a cell). Tried and dropped: deleting what is not allowed
 * from the tree and dumping it; the dump of libxml2 keeps invalid nesting, and
 * its escaping is HTML 4's.
 */
#include "shop/richtext.h"

#include <assert.h>
#include <libxml/HTMLparser.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "base/text.h"

enum {
	MAX_BYTES = 1 << 20, /* in and out */
	MAX_TREE = 200,      /* libxml2 itself stops at 256 */
	MAX_BOXES = 60,
	MAX_INLINE = 8, /* each of the seven at most once */
	MAX_URL = 2000,
	MAX_SUMMARY = 300 /* characters */
};

enum act {
	A_UNWRAP, /* the element goes, what is in it stays */
	A_DROP,   /* with all that is in it */
	A_BREAK,  /* unwrapped, but a block begins and ends here */
	A_BLOCK,
	A_INLINE,
	A_LINK,
	A_BR,
	A_HR,
	A_IMG,
	A_QUOTE,
	A_LIST,
	A_ITEM,
	A_TABLE,
	A_CAPTION,
	A_GROUP, /* thead, tbody, tfoot */
	A_ROW,
	A_CELL
};

static const struct rule {
	const char *name;
	enum act act;
	const char *as; /* NULL: by its own name */
} rules[] = {
	{ "p", A_BLOCK, NULL },
	{ "br", A_BR, NULL },
	{ "ul", A_LIST, NULL },
	{ "li", A_ITEM, NULL },
	{ "strong", A_INLINE, NULL },
	{ "em", A_INLINE, NULL },
	{ "a", A_LINK, NULL },
	{ "b", A_INLINE, NULL },
	{ "i", A_INLINE, NULL },
	{ "u", A_INLINE, NULL },
	{ "code", A_INLINE, NULL },
	{ "ol", A_LIST, NULL },
	{ "img", A_IMG, NULL },
	{ "h1", A_BLOCK, "h2" }, /* the page's own is the title */
	{ "h2", A_BLOCK, NULL },
	{ "h3", A_BLOCK, NULL },
	{ "h4", A_BLOCK, NULL },
	{ "h5", A_BLOCK, NULL },
	{ "h6", A_BLOCK, NULL },
	{ "pre", A_BLOCK, NULL },
	{ "hr", A_HR, NULL },
	{ "blockquote", A_QUOTE, NULL },
	{ "table", A_TABLE, NULL },
	{ "caption", A_CAPTION, NULL },
	{ "thead", A_GROUP, NULL },
	{ "tbody", A_GROUP, NULL },
	{ "tfoot", A_GROUP, "tbody" },
	{ "tr", A_ROW, NULL },
	{ "td", A_CELL, NULL },
	{ "th", A_CELL, NULL },
	{ "div", A_BREAK, NULL },
	{ "section", A_BREAK, NULL },
	{ "article", A_BREAK, NULL },
	{ "aside", A_BREAK, NULL },
	{ "header", A_BREAK, NULL },
	{ "footer", A_BREAK, NULL },
	{ "main", A_BREAK, NULL },
	{ "nav", A_BREAK, NULL },
	{ "address", A_BREAK, NULL },
	{ "center", A_BREAK, NULL },
	{ "figure", A_BREAK, NULL },
	{ "figcaption", A_BREAK, NULL },
	{ "details", A_BREAK, NULL },
	{ "summary", A_BREAK, NULL },
	{ "fieldset", A_BREAK, NULL },
	{ "dl", A_BREAK, NULL },
	{ "dt", A_BREAK, NULL },
	{ "dd", A_BREAK, NULL },
	{ "script", A_DROP, NULL },
	{ "style", A_DROP, NULL },
	{ "iframe", A_DROP, NULL },
	{ "object", A_DROP, NULL },
	{ "applet", A_DROP, NULL },
	{ "svg", A_DROP, NULL },
	{ "math", A_DROP, NULL },
	{ "form", A_DROP, NULL },
	{ "input", A_DROP, NULL },
	{ "button", A_DROP, NULL },
	{ "select", A_DROP, NULL },
	{ "textarea", A_DROP, NULL },
	{ "template", A_DROP, NULL },
	{ "noscript", A_DROP, NULL },
	{ "noembed", A_DROP, NULL },
	{ "noframes", A_DROP, NULL },
	{ "frame", A_DROP, NULL },
	{ "frameset", A_DROP, NULL },
	{ "video", A_DROP, NULL },
	{ "audio", A_DROP, NULL },
	{ "canvas", A_DROP, NULL },
	{ "map", A_DROP, NULL },
	{ "xmp", A_DROP, NULL },
	{ "plaintext", A_DROP, NULL },
	{ "listing", A_DROP, NULL },
	{ "title", A_DROP, NULL },
	{ "meta", A_DROP, NULL },
	{ "link", A_DROP, NULL },
	{ "base", A_DROP, NULL },
	{ "basefont", A_DROP, NULL },
	{ "col", A_DROP, NULL },
	{ "colgroup", A_DROP, NULL },
};

struct box {
	const char *name;
	enum act act;
	bool written;
	bool implied; /* not in the source: goes as soon as it is in the way */
	bool rows;    /* a table that has rows already */
};

struct inl {
	const char *name;
	char *href; /* libxml2's; of a link */
	bool written;
};

struct emit {
	struct strbuf out;
	struct strbuf text; /* for the summary */
	size_t text_chars;
	struct box box[MAX_BOXES];
	int boxes;
	struct inl inl[MAX_INLINE];
	int inls;
	const char *block; /* NULL: none */
	bool block_written, block_implied;
	int heading; /* the level of the last one; 1: the page's own */
	bool start;  /* nothing has been written since the block began */
	bool space;  /* one is due before the next text */
	int breaks;  /* br elements that are due */
	bool failed; /* too deep or too large */
};

static const struct rule *
rule_find(const char *name)
{
	static const struct rule unknown = { "", A_UNWRAP, NULL };

	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		if (strcmp(rules[i].name, name) == 0)
			return &rules[i];
	}
	return &unknown;
}

/* ---- characters */

/*
 * What may not stand in an HTML document: control characters and
 * noncharacters (HTML, "text" and parse errors). p: well-formed, len bytes.
 */
static bool
is_forbidden(const char *p, size_t len)
{
	const unsigned char *u = (const unsigned char *)p;

	if (len == 1)
		return (u[0] < 0x20 && u[0] != '\t' && u[0] != '\n') ||
		       u[0] == 0x7f;
	if (len == 2)
		return u[0] == 0xc2 && u[1] < 0xa0; /* U+0080..9F */
	if (len == 3)
		return u[0] == 0xef &&
		       ((u[1] == 0xbf && u[2] >= 0xbe) || /* U+FFFE, FFFF */
			   (u[1] == 0xb7 && u[2] >= 0x90 && u[2] <= 0xaf));
	return (u[1] & 0x0f) == 0x0f && u[2] == 0xbf && u[3] >= 0xbe;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static void
add_text(struct strbuf *out, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '&')
			strbuf_adds(out, "&amp;");
		else if (p[i] == '<')
			strbuf_adds(out, "&lt;");
		else if (p[i] == '>')
			strbuf_adds(out, "&gt;");
		else
			strbuf_addc(out, p[i]);
	}
}

/* ---- addresses */

/* As browsers read it: no space around, no tab or newline within. False: holds
 * what no address may hold, or is too long. */
static bool
url_tidy(const char *raw, struct strbuf *out)
{
	size_t n = strlen(raw);

	while (n > 0 && (unsigned char)*raw <= ' ')
		raw++, n--;
	while (n > 0 && (unsigned char)raw[n - 1] <= ' ')
		n--;
	if (n > MAX_URL || !utf8_valid(raw, n))
		return false;
	for (size_t i = 0, len; i < n; i += len) {
		len = utf8_sequence(raw + i, n - i);
		if (raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r')
			continue;
		if (is_forbidden(raw + i, len))
			return false;
		strbuf_add(out, raw + i, len);
	}
	return true;
}

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
	       (c >= 'A' && c <= 'F');
}

/* Percent-encode what RFC 3986 does not allow as it is. */
static void
url_encode(const char *s, struct strbuf *out)
{
	bool fragment = false;

	for (; *s != '\0'; s++) {
		bool bare_percent =
		    *s == '%' && !(is_hex(s[1]) && is_hex(s[2]));

		if (strchr(" \"<>\\^`{|}[]", *s) != NULL || bare_percent ||
		    (*s == '#' && fragment))
			strbuf_addf(out, "%%%02X", (unsigned char)*s);
		else
			strbuf_addc(out, *s);
		fragment |= *s == '#';
	}
}

static bool
has_scheme(const char *url, const char *scheme, size_t len)
{
	return strlen(scheme) == len && strncasecmp(url, scheme, len) == 0;
}

/*
 * What comes after "http:" must name a host: labels with dots between them and
 * perhaps a port. No user and password: they are there to mislead.
 */
static bool
has_host(const char *rest)
{
	const char *p = rest + 2;
	int label = 0; /* its bytes so far */
	int port = 0;

	if (rest[0] != '/' || rest[1] != '/')
		return false;
	for (; *p != '\0' && strchr("/?#:", *p) == NULL; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '.' || c == '-') {
			if (label == 0 ||
			    (c == '-' && strchr("./?#:", p[1]) != NULL))
				return false;
		} else if (c < 0x80 && !(c >= 'a' && c <= 'z') &&
			   !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9')) {
			return false;
		}
		label = c == '.' ? 0 : label + 1;
		if (label > 63) /* RFC 1035, 2.3.4 */
			return false;
	}
	if (p == rest + 2)
		return false;
	if (*p == ':') {
		for (p++; *p >= '0' && *p <= '9' && port <= 65535; p++)
			port = port * 10 + (*p - '0');
		if (port < 1 || port > 65535)
			return false;
	}
	return *p == '\0' || strchr("/?#", *p) != NULL;
}

/* An address for a link, or for a picture, encoded into *out. */
static bool
url_clean(const char *raw, bool picture, struct strbuf *out)
{
	struct strbuf tidy;
	bool ok;

	strbuf_init(&tidy, 128);
	ok = url_tidy(raw, &tidy) && tidy.len > 0;
	const char *s = tidy.s;
	size_t scheme = strcspn(s, ":/?#");

	if (!ok) {
	} else if (s[scheme] == ':') {
		ok = ((has_scheme(s, "http", scheme) ||
			  has_scheme(s, "https", scheme)) &&
			 has_host(s + scheme + 1)) ||
		     (!picture && has_scheme(s, "mailto", scheme) &&
			 s[scheme + 1] != '\0');
	} else if (s[0] == '/' && s[1] == '/') {
		ok = has_host(s);
		strbuf_adds(out, ok ? "https:" : "");
	} else if (picture) {
		ok = strncmp(s, "/media/", 7) == 0 && s[7] != '\0';
	}
	if (ok)
		url_encode(s, out);
	strbuf_release(&tidy);
	return ok;
}

/* ---- the emitter */

static void
close_tag(struct strbuf *out, const char *name)
{
	strbuf_addf(out, "</%s>", name);
}

static void
inline_close_all(struct emit *em)
{
	for (int i = em->inls - 1; i >= 0; i--) {
		if (em->inl[i].written)
			close_tag(&em->out, em->inl[i].name);
		em->inl[i].written = false;
	}
}

/* The block, or the text that stands in a box without one, is over. */
static void
block_close(struct emit *em)
{
	inline_close_all(em);
	if (em->block != NULL && em->block_written)
		close_tag(&em->out, em->block);
	em->block = NULL;
	em->block_written = em->block_implied = em->space = false;
	em->breaks = 0;
	em->start = true;
	if (em->text.len > 0 && em->text.s[em->text.len - 1] != ' ')
		strbuf_addc(&em->text, ' ');
}

static void
box_push(struct emit *em, const char *name, enum act act, bool implied)
{
	if (em->boxes == MAX_BOXES) {
		em->failed = true;
		return;
	}
	em->box[em->boxes++] =
	    (struct box){ .name = name, .act = act, .implied = implied };
}

static void
box_pop_to(struct emit *em, int depth)
{
	assert(depth <= em->boxes);
	block_close(em);
	while (em->boxes > depth) {
		struct box *b = &em->box[--em->boxes];

		if (!b->written)
			continue;
		close_tag(&em->out, b->name);
		if (b->act == A_GROUP && em->boxes > 0)
			em->box[em->boxes - 1].rows = true;
	}
}

static enum act
box_top(const struct emit *em)
{
	return em->boxes == 0 ? A_UNWRAP : em->box[em->boxes - 1].act;
}

static bool
box_top_implied(const struct emit *em, enum act act)
{
	return box_top(em) == act && em->box[em->boxes - 1].implied;
}

static void
box_write_all(struct emit *em)
{
	for (int i = 0; i < em->boxes; i++) {
		if (!em->box[i].written)
			strbuf_addf(&em->out, "<%s>", em->box[i].name);
		em->box[i].written = true;
	}
}

/* Rows stand in a group, cells in a row: make what is missing. */
static void
table_need_row(struct emit *em)
{
	if (box_top(em) == A_TABLE)
		box_push(em, "tbody", A_GROUP, true);
	if (box_top(em) == A_GROUP)
		box_push(em, "tr", A_ROW, true);
}

/* Text or a block is about to come: a box that may hold it must be on top. */
static void
box_need_flow(struct emit *em)
{
	if (box_top_implied(em, A_LIST))
		box_pop_to(em, em->boxes - 1);
	if (box_top(em) == A_LIST)
		box_push(em, "li", A_ITEM, true);
	table_need_row(em);
	if (box_top(em) == A_ROW)
		box_push(em, "td", A_CELL, true);
}

/* A heading is at most one level below the one before it. */
static const char *
heading_fit(struct emit *em, const char *name)
{
	static const char *const names[] = { "h2", "h3", "h4", "h5", "h6" };
	int level = name[0] == 'h' ? name[1] - '0' : 0;

	if (level == 0)
		return name;
	if (level > em->heading + 1)
		level = em->heading + 1;
	em->heading = level;
	return names[level - 2];
}

/* Before text or a picture: everything around it is written. */
static void
open_for_inline(struct emit *em)
{
	box_need_flow(em);
	if (em->block == NULL && (em->boxes == 0 || box_top(em) == A_QUOTE)) {
		em->block = "p";
		em->block_implied = true;
	}
	box_write_all(em);
	if (em->block != NULL && !em->block_written) {
		em->block = heading_fit(em, em->block);
		strbuf_addf(&em->out, "<%s>", em->block);
		em->block_written = true;
	}
	for (; em->breaks > 0; em->breaks--)
		strbuf_adds(&em->out, "<br>");
	if (em->space)
		strbuf_addc(&em->out, ' ');
	em->space = em->start = false;
	for (int i = 0; i < em->inls; i++) {
		struct inl *in = &em->inl[i];

		if (in->written)
			continue;
		strbuf_addf(&em->out, "<%s", in->name);
		if (in->href != NULL) {
			strbuf_adds(&em->out, " href=\"");
			strbuf_add_html(&em->out, in->href, strlen(in->href));
			strbuf_adds(&em->out, "\" rel=\"nofollow noopener\"");
		}
		strbuf_addc(&em->out, '>');
		in->written = true;
	}
	if (em->out.len > MAX_BYTES)
		em->failed = true;
}

static void
summary_add(struct emit *em, const char *p, size_t n)
{
	if (em->text_chars > MAX_SUMMARY)
		return;
	if (n == 1 && *p == ' ' &&
	    (em->text.len == 0 || em->text.s[em->text.len - 1] == ' '))
		return;
	em->text_chars++;
	strbuf_add(&em->text, p, n);
}

static void
emit_break(struct emit *em)
{
	em->space = false;
	summary_add(em, " ", 1);
	if (!em->start && em->breaks < 2)
		em->breaks++;
}

static void
emit_text(struct emit *em, const char *p)
{
	size_t n = strlen(p);
	bool pre = em->block != NULL && strcmp(em->block, "pre") == 0;

	for (size_t i = 0, len; i < n && !em->failed; i += len) {
		bool nbsp = strncmp(p + i, "\u00a0", 2) == 0;

		len = utf8_sequence(p + i, n - i);
		if (len == 0) { /* libxml2 gives none of these */
			len = 1;
			continue;
		}
		if (is_forbidden(p + i, len) && p[i] != '\r' && p[i] != '\f')
			continue;
		if (pre ? em->start && (p[i] == '\n' || p[i] == '\r')
			: em->start && (is_space(p[i]) || nbsp))
			continue;
		if (!pre && is_space(p[i])) {
			em->space = em->breaks == 0;
			summary_add(em, " ", 1);
			continue;
		}
		open_for_inline(em);
		if (is_space(p[i])) { /* in pre */
			strbuf_addc(&em->out, p[i] == '\t'  ? '\t'
					      : p[i] == ' ' ? ' '
							    : '\n');
			summary_add(em, " ", 1);
			continue;
		}
		add_text(&em->out, p + i, len);
		summary_add(em, nbsp ? " " : p + i, nbsp ? 1 : len);
	}
}

/* ---- attributes */

/* The value, to be freed by xmlFree; NULL: not there. */
static char *
attr_get(const xmlNode *node, const char *name)
{
	for (const xmlAttr *a = node->properties; a != NULL; a = a->next) {
		if (strcmp((const char *)a->name, name) == 0)
			return (char *)xmlNodeListGetString(
			    node->doc, a->children, 1);
	}
	return NULL;
}

static void
emit_size(struct emit *em, const xmlNode *node, const char *name)
{
	char *value = attr_get(node, name);
	int64_t n;

	if (value != NULL && text_int(span_of(value), 1, 10000, &n))
		strbuf_addf(&em->out, " %s=\"%d\"", name, (int)n);
	xmlFree(value);
}

static void
emit_img(struct emit *em, const xmlNode *node)
{
	char *src = attr_get(node, "src"), *alt = attr_get(node, "alt");
	struct strbuf url, text;

	strbuf_init(&url, 128);
	strbuf_init(&text, 64);
	if (src != NULL && url_clean(src, true, &url)) {
		size_t n = alt == NULL ? 0 : strlen(alt);

		if (n > 1000 || !utf8_valid(alt == NULL ? "" : alt, n))
			n = 0;
		for (size_t i = 0, len; i < n; i += len) {
			len = utf8_sequence(alt + i, n - i);
			if (alt[i] == '\n' || alt[i] == '\t')
				strbuf_addc(&text, ' ');
			else if (!is_forbidden(alt + i, len))
				strbuf_add(&text, alt + i, len);
		}
		open_for_inline(em);
		strbuf_adds(&em->out, "<img src=\"");
		strbuf_add_html(&em->out, url.s, url.len);
		strbuf_adds(&em->out, "\" alt=\"");
		strbuf_add_html(&em->out, text.s, text.len);
		strbuf_addc(&em->out, '"');
		emit_size(em, node, "width");
		emit_size(em, node, "height");
		strbuf_addc(&em->out, '>');
	}
	strbuf_release(&url);
	strbuf_release(&text);
	xmlFree(src);
	xmlFree(alt);
}

/* ---- the walk */

static void walk_children(struct emit *em, const xmlNode *node, int depth);

static void
walk_inline(struct emit *em, const xmlNode *node, const char *name, int depth)
{
	struct strbuf url;
	bool keep = em->inls < MAX_INLINE;

	for (int i = 0; i < em->inls; i++) {
		if (strcmp(em->inl[i].name, name) == 0)
			keep = false; /* b in b, a in a */
	}
	strbuf_init(&url, 0);
	if (keep && strcmp(name, "a") == 0) {
		char *href = attr_get(node, "href");

		keep = href != NULL && url_clean(href, false, &url);
		xmlFree(href);
	}
	if (keep) {
		int at = em->inls++;

		em->inl[at] = (struct inl){ .name = name,
			.href = url.len > 0 ? url.s : NULL };
		walk_children(em, node, depth);
		assert(em->inls == at + 1);
		if (em->inl[at].written)
			close_tag(&em->out, name);
		em->inls = at;
	} else {
		walk_children(em, node, depth);
	}
	strbuf_release(&url);
}

static bool
within(const struct emit *em, const char *name)
{
	return em->boxes > 0 && strcmp(em->box[em->boxes - 1].name, name) == 0;
}

static bool
within_any(const struct emit *em, const char *name)
{
	for (int i = 0; i < em->boxes; i++) {
		if (strcmp(em->box[i].name, name) == 0)
			return true;
	}
	return false;
}

static void
walk_block(struct emit *em, const xmlNode *node, const char *name, int depth)
{
	block_close(em);
	box_need_flow(em);
	/* A heading cannot stand in th, nor deeper in one. */
	if (name[0] == 'h' && within_any(em, "th"))
		name = "p";
	em->block = name;
	walk_children(em, node, depth);
	block_close(em);
}

/* A box of its own: pushed where it may stand, popped behind its children. */
static void
walk_box(struct emit *em, const xmlNode *node, const char *name, enum act act,
    int depth)
{
	int before = em->boxes;

	box_push(em, name, act, false);
	if (!em->failed && act == A_CELL)
		box_write_all(em); /* an empty cell holds its column */
	walk_children(em, node, depth);
	if (!em->failed)
		box_pop_to(em, before);
}

static void
walk_item(struct emit *em, const xmlNode *node, const char *name, int depth)
{
	if (box_top_implied(em, A_ITEM))
		box_pop_to(em, em->boxes - 1);
	if (box_top(em) != A_LIST) {
		box_need_flow(em);
		box_push(
		    em, "ul", A_LIST, true); /* until something else comes */
	}
	walk_box(em, node, name, A_ITEM, depth);
}

/* Cells and rows of ours are in the way of the next real one. */
static void
table_pop_implied(struct emit *em, bool row_too)
{
	if (box_top_implied(em, A_CELL))
		box_pop_to(em, em->boxes - 1);
	if (row_too && box_top_implied(em, A_ROW))
		box_pop_to(em, em->boxes - 1);
}

static void
walk_table_part(struct emit *em, const xmlNode *node, const char *name,
    enum act act, int depth)
{
	table_pop_implied(em, act != A_CELL);
	if (act == A_GROUP) {
		if (box_top_implied(em, A_GROUP))
			box_pop_to(em, em->boxes - 1);
		if (box_top(em) == A_TABLE) {
			/* Only the first one of a table may be a head. */
			if (em->box[em->boxes - 1].rows)
				name = "tbody";
			walk_box(em, node, name, act, depth);
			return;
		}
	} else if (act == A_ROW) {
		if (box_top(em) == A_TABLE)
			box_push(em, "tbody", A_GROUP, true);
		if (box_top(em) == A_GROUP) {
			walk_box(em, node, name, act, depth);
			return;
		}
	} else {
		table_need_row(em);
		if (box_top(em) == A_ROW) {
			walk_box(em, node, name, act, depth);
			return;
		}
	}
	walk_children(em, node, depth); /* astray */
	block_close(em);
}

static void
walk_element(struct emit *em, const xmlNode *node, int depth)
{
	const struct rule *rule = rule_find((const char *)node->name);
	const char *name = rule->as == NULL ? rule->name : rule->as;

	switch (rule->act) {
	case A_DROP:
		return;
	case A_UNWRAP:
		walk_children(em, node, depth);
		return;
	case A_INLINE:
	case A_LINK:
		walk_inline(em, node, name, depth);
		return;
	case A_IMG:
		emit_img(em, node);
		return;
	case A_BR:
		if (em->block != NULL && strcmp(em->block, "pre") == 0)
			emit_text(em, "\n");
		else
			emit_break(em);
		return;
	case A_BLOCK:
		walk_block(em, node, name, depth);
		return;
	default:
		break;
	}
	block_close(em);
	switch (rule->act) {
	case A_HR:
		box_need_flow(em);
		box_write_all(em);
		strbuf_adds(&em->out, "<hr>");
		return;
	case A_QUOTE:
	case A_LIST:
		box_need_flow(em);
		walk_box(em, node, name, rule->act, depth);
		return;
	case A_TABLE:
		if (within_any(em, "caption"))
			break;
		box_need_flow(em);
		walk_box(em, node, name, rule->act, depth);
		return;
	case A_CAPTION:
		if (!within(em, "table") || em->box[em->boxes - 1].written)
			break;
		walk_box(em, node, name, rule->act, depth);
		return;
	case A_ITEM:
		walk_item(em, node, name, depth);
		return;
	case A_GROUP:
	case A_ROW:
	case A_CELL:
		walk_table_part(em, node, name, rule->act, depth);
		return;
	default:
		break;
	}
	walk_children(em, node, depth);
	if (!em->failed)
		block_close(em);
}

static void
walk_children(struct emit *em, const xmlNode *node, int depth)
{
	if (depth > MAX_TREE)
		em->failed = true;
	for (const xmlNode *c = node->children; c != NULL && !em->failed;
	     c = c->next) {
		if (c->type == XML_TEXT_NODE)
			emit_text(em, (const char *)c->content);
		else if (c->type == XML_ELEMENT_NODE)
			walk_element(em, c, depth + 1);
	}
}

/* ---- in and out */

/*
 * What the parser is given: without characters that would end its work (NUL)
 * or that no document may hold; plain text gets its paragraphs and breaks.
 */
static void
prepare(struct span in, struct strbuf *out)
{
	bool plain = true;

	for (size_t i = 0; i + 1 < in.n; i++) {
		char c = in.p[i + 1];

		if (in.p[i] == '<' &&
		    ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			c == '/' || c == '!' || c == '?'))
			plain = false;
	}
	strbuf_adds(out, plain ? "<p>" : "");
	for (size_t i = 0, len; i < in.n; i += len) {
		len = utf8_sequence(in.p + i, in.n - i);
		if (in.p[i] == '\r' && i + 1 < in.n && in.p[i + 1] == '\n')
			continue;
		if (plain && (in.p[i] == '\n' || in.p[i] == '\r')) {
			size_t end = i + 1, lines = 1;

			for (; end < in.n && is_space(in.p[end]); end++)
				lines += in.p[end] == '\n';
			strbuf_adds(out, lines > 1 ? "</p><p>" : "<br>");
			len = end - i;
		} else if (in.p[i] == '\r' || in.p[i] == '\f') {
			strbuf_addc(out, '\n');
		} else if (plain && in.p[i] == '<') {
			strbuf_adds(out, "&lt;");
		} else if (!is_forbidden(in.p + i, len)) {
			strbuf_add(out, in.p + i, len);
		}
	}
}

static size_t
count_chars(const char *s, size_t n)
{
	size_t chars = 0;

	for (size_t i = 0; i < n; i++)
		chars += ((unsigned char)s[i] & 0xc0) != 0x80;
	return chars;
}

/* At most MAX_SUMMARY characters, cut between words where there are any. */
static const char *
summary_cut(struct strbuf *text, struct arena *arena)
{
	while (text->len > 0 && text->s[text->len - 1] == ' ')
		strbuf_trunc(text, text->len - 1);
	if (count_chars(text->s, text->len) <= MAX_SUMMARY)
		return arena_strndup(arena, text->s, text->len);

	size_t chars = 0, end = 0, word = 0;

	while (end < text->len && chars < MAX_SUMMARY - 1) {
		end += utf8_sequence(text->s + end, text->len - end);
		chars++;
		if (text->s[end] == ' ')
			word = end;
	}
	if (word > end / 2)
		end = word;
	while (end > 0 && strchr(" ,;:-", text->s[end - 1]) != NULL)
		end--;
	strbuf_trunc(text, end);
	strbuf_adds(text, "…");
	return arena_strndup(arena, text->s, text->len);
}

enum rc
richtext_clean(struct span html, struct arena *arena, const char **clean,
    const char **summary, struct err *e)
{
	struct emit *em;
	struct strbuf in;
	htmlDocPtr doc;
	bool failed;

	if (html.n > MAX_BYTES)
		return err_set(e, RC_INVALID, "invalid_html",
		    "the description is larger than 1 MiB: shorten it");
	if (!utf8_valid(html.p, html.n))
		return err_set(e, RC_INVALID, "invalid_html",
		    "the description is not UTF-8: save it as UTF-8");
	strbuf_init(&in, html.n + 64);
	prepare(html, &in);
	doc = htmlReadMemory(in.s, (int)in.len, NULL, "UTF-8",
	    HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
		HTML_PARSE_NONET | HTML_PARSE_IGNORE_ENC);
	strbuf_release(&in);
	em = arena_calloc(arena, 1, sizeof *em);
	strbuf_init(&em->out, html.n + 64);
	strbuf_init(&em->text, 512);
	em->start = true;
	em->heading = 1;
	/* No tree at all: there was nothing in it. */
	for (const xmlNode *n = doc == NULL ? NULL : doc->children;
	     n != NULL && !em->failed; n = n->next) {
		if (n->type == XML_ELEMENT_NODE)
			walk_element(em, n, 1);
	}
	if (!em->failed)
		box_pop_to(em, 0);
	failed = em->failed || em->out.len > MAX_BYTES;
	if (!failed && clean != NULL)
		*clean = arena_strndup(arena, em->out.s, em->out.len);
	if (!failed && summary != NULL)
		*summary = summary_cut(&em->text, arena);
	strbuf_release(&em->out);
	strbuf_release(&em->text);
	xmlFreeDoc(doc);
	if (failed)
		return err_set(e, RC_INVALID, "invalid_html",
		    "the description is nested too deep or grows too large:"
		    " simplify its HTML");
	return RC_OK;
}
