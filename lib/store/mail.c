/*
 * What may be sent, and to whom. Everything that ends in a header is checked
 * here, so that no driver can be made to write a header of somebody else's.
 */
#include "store/mail.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/mail_int.h"

enum { SUBJECT_BYTES = 500, ID_BYTES = 100, BODY_BYTES = 4 << 20 };

static const struct mail_driver *const drivers[] = { &mail_maildir, &mail_smtp,
	&mail_smtps };

/* RFC 5322's atext: what may stand in a local part without quoting. */
static bool
is_atext(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!#$%&'*+/=?^_`{|}~-", c) != NULL);
}

static bool
is_alnum(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

/* Atoms parted by single dots, 1 to 64 bytes (RFC 5321, 4.5.3.1.1). */
static bool
local_ok(const char *p, size_t n)
{
	if (n < 1 || n > 64 || p[0] == '.' || p[n - 1] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '.' ? p[i + 1] == '.'
				: !is_atext((unsigned char)p[i]))
			return false;
	}
	return true;
}

/*
 * Labels of letters, digits and inner hyphens, the last not all digits: no
 * address literal. A domain in another script comes as xn--.
 */
bool
mail_domain_ok(const char *p, int least_labels)
{
	int labels = 0;
	bool letter = false;

	for (;;) {
		size_t n = strcspn(p, ".");

		if (n < 1 || n > 63 || p[0] == '-' || p[n - 1] == '-')
			return false;
		letter = false;
		for (size_t i = 0; i < n; i++) {
			unsigned char c = (unsigned char)p[i];

			if (!is_alnum(c) && c != '-')
				return false;
			letter |= c < '0' || c > '9';
		}
		labels++;
		if (p[n] == '\0')
			return labels >= least_labels && letter;
		p += n + 1;
	}
}

static bool
address_ok(const char *address, int least_labels)
{
	const char *at = strchr(address, '@');

	if (at == NULL || strnlen(address, 255) > 254)
		return false;
	return local_ok(address, (size_t)(at - address)) &&
	       mail_domain_ok(at + 1, least_labels);
}

/* A stranger's has two labels at least: "bob@gmail" is a slip. */
bool
mail_address_ok(const char *address)
{
	return address_ok(address, 2);
}

/* ---- opening */

static bool
one_line(const char *s)
{
	for (const char *p = s; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	}
	return utf8_valid(s, strlen(s));
}

/* "Shop <shop@example.com>", or the address alone. The shop's own may be on
 * a host without a domain (shop@localhost). */
static enum rc
from_parse(struct mail *mail, const char *from, struct err *e)
{
	size_t n = strlen(from);
	const char *open = strrchr(from, '<'), *end = open;

	if (open != NULL && from[n - 1] == '>') {
		while (end > from && end[-1] == ' ')
			end--;
		mail->from = xstrndup(open + 1, n - (size_t)(open - from) - 2);
		mail->from_name = xstrndup(from, (size_t)(end - from));
	} else {
		mail->from = xstrdup(from);
		mail->from_name = xstrdup("");
	}
	if (!one_line(from) || strlen(mail->from_name) > 200 ||
	    !address_ok(mail->from, 1))
		return err_set(e, RC_INVALID, "bad_value",
		    "[mail] from: write it as Shop <shop@example.com>");
	return RC_OK;
}

bool
mail_from_ok(const char *from)
{
	struct mail mail = { 0 };
	bool ok = from_parse(&mail, from, NULL) == RC_OK;

	free(mail.from_name);
	free(mail.from);
	return ok;
}

/* A scheme that there is, and something after it that it can be about. */
bool
mail_url_ok(const char *url)
{
	size_t n = strcspn(url, ":") + 1;
	const char *rest = url + n;

	for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
		if (strncmp(url, drivers[i]->scheme, n) != 0 ||
		    strlen(drivers[i]->scheme) != n)
			continue;
		if (drivers[i] == &mail_maildir)
			return rest[0] == '/';
		return strncmp(rest, "//", 2) == 0 && rest[2] != '\0' &&
		       strpbrk(rest, " \t") == NULL;
	}
	return false;
}

enum rc
mail_open(const struct mail_opts *opts, struct mail **out, struct err *e)
{
	struct mail *mail = xcalloc(1, sizeof *mail);
	enum rc rc = from_parse(mail, opts->from, e);

	if (rc != RC_OK)
		goto out;
	mail->host = xstrdup(
	    opts->host != NULL && strlen(opts->host) < 254 &&
		    opts->host[strspn(opts->host,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			"0123456789.-")] == '\0' &&
		    opts->host[0] != '\0'
		? opts->host
		: strchr(mail->from, '@') + 1);
	for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
		if (strncmp(opts->url, drivers[i]->scheme,
			strlen(drivers[i]->scheme)) == 0)
			mail->driver = drivers[i];
	}
	if (mail->driver == NULL)
		rc = err_set(e, RC_INVALID, "bad_value",
		    "[mail] url: maildir:/PATH, smtp://host or smtps://host is "
		    "wanted");
	else
		rc = mail->driver->open(opts, &mail->self, e);
out:
	if (rc == RC_OK)
		*out = mail;
	else
		mail_close(mail);
	return rc;
}

void
mail_close(struct mail *mail)
{
	if (mail == NULL)
		return;
	if (mail->driver != NULL)
		mail->driver->close(mail->self);
	free(mail->host);
	free(mail->from_name);
	free(mail->from);
	free(mail);
}

/* ---- sending */

/* It names a file and stands in a header. */
static bool
id_ok(const char *id)
{
	size_t n = strnlen(id, ID_BYTES + 1);

	if (n < 1 || n > ID_BYTES)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!is_alnum((unsigned char)id[i]) && id[i] != '-' &&
		    id[i] != '_')
			return false;
	}
	return true;
}

static bool
body_ok(const char *s)
{
	size_t n = strlen(s);

	return n <= BODY_BYTES && utf8_valid(s, n);
}

static enum rc
message_check(const struct mail_message *m, struct err *e)
{
	if (!id_ok(m->id))
		return err_set(e, RC_INVALID, "invalid_id",
		    "A message's id is letters, digits, - and _");
	if (!address_ok(m->to, 2))
		return err_set(e, RC_INVALID, "invalid_address",
		    "Not an e-mail address that can be written to");
	if (!one_line(m->subject) || strlen(m->subject) > SUBJECT_BYTES)
		return err_set(e, RC_INVALID, "invalid_subject",
		    "A subject is one line of UTF-8, at most %d bytes",
		    SUBJECT_BYTES);
	if (!body_ok(m->text) || (m->html != NULL && !body_ok(m->html)))
		return err_set(e, RC_INVALID, "invalid_body",
		    "A message is UTF-8, at most %d bytes", BODY_BYTES);
	return RC_OK;
}

enum rc
mail_send(struct mail *mail, const struct mail_message *message,
    struct arena *arena, struct err *e)
{
	enum rc rc = message_check(message, e);
	struct strbuf bytes;

	if (rc != RC_OK)
		return rc;
	strbuf_init(&bytes, 8192);
	mail_write(&bytes, mail, message, clock_wall_ms());
	rc = mail->driver->send(mail->self,
	    &(struct mail_draft){ .id = message->id,
		.from = mail->from,
		.to = message->to,
		.bytes = strbuf_span(&bytes) },
	    arena, e);
	strbuf_release(&bytes);
	return rc;
}
