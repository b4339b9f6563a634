#include "config.h"

#include "fcgi-app/pack.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#ifdef HAVE_BROTLI
#include <brotli/encode.h>
#endif

#include "base/arena.h"
#include "base/strbuf.h"
#include "base/text.h"

/* Below this a header costs more than compression wins. */
enum {
	MIN_COMPRESS = 256,
	MAX_PART = 1 << 28,
	GZIP_LEVEL = 6,
	BROTLI_QUALITY = 5
};

static struct span
gzip(struct span body, struct arena *arena)
{
	z_stream z = { 0 };
	struct span out = { NULL, 0 };

	/* 15 + 16: the largest window, with a gzip header (zlib.h). */
	if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 9,
		Z_DEFAULT_STRATEGY) != Z_OK)
		return out;
	uLong room = deflateBound(&z, (uLong)body.n);
	unsigned char *p = arena_alloc(arena, room);

	z.next_in = (unsigned char *)(uintptr_t)body.p;
	z.avail_in = (uInt)body.n;
	z.next_out = p;
	z.avail_out = (uInt)room;
	if (deflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out < body.n)
		out = (struct span){ (char *)p, z.total_out };
	(void)deflateEnd(&z);
	return out;
}

static struct span
brotli(struct span body, struct arena *arena)
{
#ifdef HAVE_BROTLI
	size_t n = BrotliEncoderMaxCompressedSize(body.n);
	unsigned char *p = arena_alloc(arena, n);

	if (n > 0 &&
	    BrotliEncoderCompress(BROTLI_QUALITY, BROTLI_DEFAULT_WINDOW,
		BROTLI_MODE_TEXT, body.n, (const unsigned char *)body.p, &n,
		p) == BROTLI_TRUE &&
	    n < body.n)
		return (struct span){ (char *)p, n };
#else
	(void)arena;
	(void)body;
#endif
	return (struct span){ NULL, 0 };
}

/* "TAG.HASH" or "HASH": 64 bits of BLAKE2b. */
const char *
pack_tag(struct span body, const char *tag, struct arena *arena)
{
	unsigned char hash[16];
	char hex[17];

	(void)crypto_generichash(
	    hash, sizeof hash, (const unsigned char *)body.p, body.n, NULL, 0);
	text_hex(hash, 8, hex);
	return arena_printf(arena, "%s%s%s", tag == NULL ? "" : tag,
	    tag == NULL ? "" : ".", hex);
}

struct span
pack_make(struct span body, const char *look, const char *tag,
    const char *extra, struct arena *arena)
{
	struct span gz = { NULL, 0 }, br = { NULL, 0 };
	struct strbuf sb;

	if (extra == NULL)
		extra = "";
	if (body.n >= MIN_COMPRESS && body.n < 1u << 30) {
		gz = gzip(body, arena);
		br = brotli(body, arena);
	}
	tag = pack_tag(body, tag, arena);
	strbuf_init(&sb, body.n + gz.n + br.n + 256);
	strbuf_addf(&sb, "SPK2 %zu %zu %zu %zu %zu %zu\n", strlen(look),
	    strlen(tag), strlen(extra), body.n, gz.n, br.n);
	strbuf_add(&sb, look, strlen(look) + 1); /* each with its NUL */
	strbuf_add(&sb, tag, strlen(tag) + 1);
	strbuf_add(&sb, extra, strlen(extra) + 1);
	strbuf_addspan(&sb, body);
	strbuf_addspan(&sb, gz);
	strbuf_addspan(&sb, br);
	struct span out = { arena_memdup(arena, sb.s, sb.len), sb.len };

	strbuf_release(&sb);
	return out;
}

/* A number and the one byte behind it. */
static bool
number(const char **p, const char *end, char stop, size_t *out)
{
	*out = 0;
	/* No part is longer than the whole, so their sum cannot overflow. */
	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
		*out = *out * 10 + (size_t)(**p - '0');
		if (*out > MAX_PART)
			return false;
	}
	if (*p >= end || **p != stop)
		return false;
	(*p)++;
	return true;
}

enum rc
pack_read(struct span packed, struct pack *out, struct err *e)
{
	const char *p = packed.p, *end = packed.p + packed.n;
	size_t look, tag, extra;

	*out = (struct pack){ 0 };
	if (!span_starts(packed, "SPK2 "))
		goto bad;
	p += 5;
	if (!number(&p, end, ' ', &look) || !number(&p, end, ' ', &tag) ||
	    !number(&p, end, ' ', &extra) ||
	    !number(&p, end, ' ', &out->body[ENC_IDENTITY].n) ||
	    !number(&p, end, ' ', &out->body[ENC_GZIP].n) ||
	    !number(&p, end, '\n', &out->body[ENC_BR].n))
		goto bad;
	size_t left = (size_t)(end - p), need = look + tag + extra + 3;

	for (int i = 0; i < ENC_COUNT; i++)
		need += out->body[i].n;
	if (need != left || p[look] != '\0' || p[look + 1 + tag] != '\0' ||
	    p[look + 1 + tag + 1 + extra] != '\0')
		goto bad;
	out->look = p;
	out->tag = p + look + 1;
	out->extra = out->tag + tag + 1;
	p = out->extra + extra + 1;
	for (int i = 0; i < ENC_COUNT; i++) {
		out->body[i].p = p;
		p += out->body[i].n;
	}
	return RC_OK;
bad:
	return err_set(e, RC_FAIL, "bad_record", "a cached answer is damaged");
}

const char *
encoding_name(enum encoding encoding)
{
	static const char *const names[] = { NULL, "gzip", "br" };

	return names[encoding];
}

/* Is coding in the list with a weight above 0? RFC 9110, 12.4.2. */
static bool
accepts(const char *list, const char *coding)
{
	size_t n = strlen(coding);

	for (const char *p = list; *p != '\0';) {
		p += strspn(p, " \t,");
		size_t len = strcspn(p, " \t;,");
		size_t item = strcspn(p, ",");

		if (len == n && strncasecmp(p, coding, n) == 0) {
			const char *q = memchr(p, '=', item);

			if (q == NULL)
				return true;
			/* "0", "0.", "0.000" refuse it */
			for (q++; q < p + item; q++) {
				if (*q >= '1' && *q <= '9')
					return true;
			}
			return false;
		}
		p += item;
	}
	return false;
}

enum encoding
pack_choose(const struct pack *pack, const char *accept)
{
	if (accept == NULL)
		return ENC_IDENTITY;
	if (pack->body[ENC_BR].n > 0 && accepts(accept, "br"))
		return ENC_BR;
	if (pack->body[ENC_GZIP].n > 0 && accepts(accept, "gzip"))
		return ENC_GZIP;
	return ENC_IDENTITY;
}
