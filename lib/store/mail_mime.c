/*
 * A message as RFC 5322 and MIME want it: nothing but ASCII and no line over
 * 76 bytes, so that it passes any server (RFC 5321 allows 998) without being
 * written anew. Text goes as quoted-printable, which a person can still read in
 * a file of the maildir.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/strbuf.h"
#include "base/text.h"
#include "store/mail_int.h"

enum {
	LINE_MAX_BYTES = 76, /* of quoted-printable (RFC 2045, 6.7) */
	WORD_BYTES = 42      /* in one encoded word: 56 of base64, 68 in all,
				and 77 with "Subject: " */
};

static bool
is_ascii(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s >= 0x7f || (unsigned char)*s < ' ')
			return false;
	}
	return true;
}

/* Encoded words (RFC 2047), none cutting a character, one a line. */
static void
add_words(struct strbuf *out, const char *s)
{
	size_t left = strlen(s);

	while (left > 0) {
		char b64[sodium_base64_ENCODED_LEN(
		    WORD_BYTES, sodium_base64_VARIANT_ORIGINAL)];
		size_t n = utf8_cut(s, left, WORD_BYTES);

		sodium_bin2base64(b64, sizeof b64, (const unsigned char *)s, n,
		    sodium_base64_VARIANT_ORIGINAL);
		strbuf_addf(
		    out, "=?UTF-8?B?%s?=%s", b64, left > n ? "\n " : "");
		s += n;
		left -= n;
	}
}

static void
add_subject(struct strbuf *out, const char *s)
{
	strbuf_adds(out, "Subject: ");
	if (is_ascii(s) && strlen(s) <= 66 && strstr(s, "=?") == NULL)
		strbuf_adds(out, s);
	else
		add_words(out, s);
	strbuf_addc(out, '\n');
}

static void
add_from(struct strbuf *out, const struct mail *mail)
{
	const char *s = mail->from_name;

	strbuf_adds(out, "From: ");
	if (*s != '\0' && is_ascii(s) && strlen(s) <= 60) {
		strbuf_addc(out, '"');
		for (; *s != '\0'; s++) {
			if (*s == '"' || *s == '\\')
				strbuf_addc(out, '\\');
			strbuf_addc(out, *s);
		}
		strbuf_addc(out, '"');
	} else {
		add_words(out, s);
	}
	strbuf_addf(
	    out, *mail->from_name == '\0' ? "%s\n" : "\n <%s>\n", mail->from);
}

/* Not by strftime(): days and months are English here in any locale. */
static void
add_date(struct strbuf *out, int64_t wall_ms)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	gmtime_r(&t, &tm);
	strbuf_addf(out, "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d +0000\n",
	    days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon,
	    tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* ---- quoted-printable */

/* One byte as it is? Not '=', not a blank at a line's end, and not what a
 * server or a mailbox takes for its own: "." or "From " at a line's start. */
static bool
goes_plain(const char *line, const char *p, const char *end)
{
	unsigned char c = (unsigned char)*p;

	if (c == ' ' || c == '\t')
		return p + 1 < end;
	if (p == line && (c == '.' || c == 'F'))
		return false;
	return c > ' ' && c < 0x7f && c != '=';
}

static void
add_qp_line(struct strbuf *out, const char *line, const char *end)
{
	size_t column = 0;

	for (const char *p = line; p < end; p++) {
		bool plain = goes_plain(line, p, end);
		size_t n = plain ? 1 : 3;

		/* Room for the '=' of a soft break. A line that begins anew
		 * there may begin with a dot: it is encoded. */
		if (column + n > LINE_MAX_BYTES - 1) {
			strbuf_adds(out, "=\n");
			column = 0;
			plain = plain && goes_plain(p, p, end);
			n = plain ? 1 : 3;
		}
		if (plain)
			strbuf_addc(out, *p);
		else
			strbuf_addf(out, "=%02X", (unsigned char)*p);
		column += n;
	}
	strbuf_addc(out, '\n');
}

static void
add_qp(struct strbuf *out, const char *s)
{
	while (*s != '\0') {
		size_t n = strcspn(s, "\n");
		size_t shown = n > 0 && s[n - 1] == '\r' ? n - 1 : n;

		add_qp_line(out, s, s + shown);
		s += n + (s[n] == '\n');
	}
}

static void
add_part(struct strbuf *out, const char *type, const char *body)
{
	strbuf_addf(out,
	    "Content-Type: %s; charset=utf-8\n"
	    "Content-Transfer-Encoding: quoted-printable\n\n",
	    type);
	add_qp(out, body);
}

void
mail_write(struct strbuf *out, const struct mail *mail,
    const struct mail_message *m, int64_t wall_ms)
{
	add_date(out, wall_ms);
	add_from(out, mail);
	strbuf_addf(out, "To: %s\n", m->to);
	add_subject(out, m->subject);
	strbuf_addf(out,
	    "Message-ID: <%s@%s>\n"
	    "MIME-Version: 1.0\n"
	    "Auto-Submitted: auto-generated\n",
	    m->id, mail->host);
	if (m->html == NULL) {
		add_part(out, "text/plain", m->text);
		return;
	}
	/* "=_" is never in quoted-printable: no part can hold the boundary. */
	strbuf_addf(out,
	    "Content-Type: multipart/alternative;\n boundary=\"=_%s\"\n\n"
	    "--=_%s\n",
	    m->id, m->id);
	add_part(out, "text/plain", m->text);
	strbuf_addf(out, "\n--=_%s\n", m->id);
	add_part(out, "text/html", m->html);
	strbuf_addf(out, "\n--=_%s--\n", m->id);
}
