/*
 * Whatever goes in, what comes out is nothing but the allow-list, well nested,
 * and stays as it is when cleaned again.
 */
#define _GNU_SOURCE /* memmem, strcasestr */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "shop/richtext.h"
#include "tests/fuzz/fuzz.h"

#define MUST(what)                                                             \
	do {                                                                   \
		if (!(what))                                                   \
			abort();                                               \
	} while (0)

static const char *const allowed[] = { "p", "ul", "ol", "li", "strong", "em",
	"b", "i", "u", "code", "h2", "h3", "h4", "h5", "h6", "pre",
	"blockquote", "table", "caption", "thead", "tbody", "tr", "td", "th",
	"a", "img", "br", "hr" };

/* One attribute, as written by us: ` name="value"`. Where it ends. */
static const char *
attribute(const char *p, const char *tag)
{
	bool link = strcmp(tag, "a") == 0;
	const char *value, *end;

	MUST(*p++ == ' ');
	value = strchr(p, '=');
	MUST(value != NULL && value[1] == '"');
	end = strchr(value + 2, '"');
	MUST(end != NULL);
	MUST(link ? strncmp(p, "href=", 5) == 0 || strncmp(p, "rel=", 4) == 0
		  : strncmp(p, "src=", 4) == 0 || strncmp(p, "alt=", 4) == 0 ||
			strncmp(p, "width=", 6) == 0 ||
			strncmp(p, "height=", 7) == 0);
	MUST(memchr(value, '<', (size_t)(end - value)) == NULL);
	value += 2;
	if (*p == 'h' && p[1] == 'r') {
		size_t n = strcspn(value, ":/?#\"");

		MUST(value[n] != ':' || strncasecmp(value, "http", 4) == 0 ||
		     strncasecmp(value, "mailto", 6) == 0);
	} else if (*p == 's') {
		MUST(strncasecmp(value, "http://", 7) == 0 ||
		     strncasecmp(value, "https://", 8) == 0 ||
		     strncmp(value, "/media/", 7) == 0);
	}
	return end + 1;
}

static void
check_markup(const char *s)
{
	char open[256][12], name[12];
	int depth = 0;

	for (const char *p = s; (p = strchr(p, '<')) != NULL;) {
		bool end = *++p == '/', known = false;
		size_t n;

		p += end;
		n = strcspn(p, " >");
		MUST(n > 0 && n < sizeof name);
		memcpy(name, p, n);
		name[n] = '\0';
		for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
			known |= strcmp(allowed[i], name) == 0;
		MUST(known);
		p += n;
		if (end) {
			MUST(depth > 0 && strcmp(open[--depth], name) == 0);
			MUST(*p == '>');
			continue;
		}
		while (*p != '>')
			p = attribute(p, name);
		if (strcmp(name, "br") == 0 || strcmp(name, "hr") == 0 ||
		    strcmp(name, "img") == 0)
			continue;
		for (int i = 0; i < depth; i++)
			MUST(strcmp(open[i], "p") != 0 ||
			     strcmp(name, "p") != 0);
		MUST(depth < 256);
		memcpy(open[depth++], name, n + 1);
	}
	MUST(depth == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new();
	struct span in = { (const char *)data, n };
	const char *once, *twice, *summary;
	size_t chars = 0;

	if (richtext_clean(in, arena, &once, &summary, NULL) == RC_OK) {
		MUST(utf8_valid(once, strlen(once)));
		check_markup(once);
		MUST(richtext_clean(span_of(once), arena, &twice, NULL, NULL) ==
		     RC_OK);
		MUST(strcmp(once, twice) == 0);
		MUST(utf8_valid(summary, strlen(summary)));
		for (const char *p = summary; *p != '\0'; p++)
			chars += ((unsigned char)*p & 0xc0) != 0x80;
		MUST(chars <= 300);
	}
	arena_free(arena);
	return 0;
}
