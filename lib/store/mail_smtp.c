/*
 * smtp://, smtps:// by libcurl. One easy handle for the life of the process: it
 * keeps its connection, so a run of messages logs in once.
 *
 * What libcurl's result means depends on where in the dialogue the server said
 * no, which it does not tell: so the command under way and the server's last
 * line are picked up from its trace. A 5xx to RCPT or to the message is about
 * this message; before that it is about us, and every other message would meet
 * the same. Nothing of an AUTH dialogue is kept.
 *
 * TLS: smtps:// and anything with a password is encrypted and the server's
 * certificate verified ($SSL_CERT_FILE: by those authorities). smtp:// without
 * a password takes TLS where it is offered, whatever the certificate: who can
 * forge one could as well hide the offer (RFC 7435), and a mail server on the
 * same host has a self-made one as a rule.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/xmalloc.h"
#include "store/mail_int.h"

enum phase { PH_HELLO, PH_LOGIN, PH_SENDER, PH_RECIPIENT, PH_DATA };

struct smtp {
	CURL *curl;
	char *url; /* without user and password */
	char *user, *password;
	long timeout_ms;
	bool tls; /* from the first byte */
	/* of the message under way */
	enum phase phase;
	bool over;      /* QUIT was sent: its answer is of no interest */
	char said[200]; /* the server's last line */
	char error[CURL_ERROR_SIZE];
	struct span left;
};

/* ---- what the trace tells */

static void
note_command(struct smtp *s, const char *p, size_t n)
{
	static const struct {
		const char *word;
		enum phase phase;
	} commands[] = {
		{ "AUTH ", PH_LOGIN },
		{ "MAIL FROM", PH_SENDER },
		{ "RCPT TO", PH_RECIPIENT },
		{ "DATA", PH_DATA },
	};

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		size_t len = strlen(commands[i].word);

		if (n >= len && memcmp(p, commands[i].word, len) == 0)
			s->phase = commands[i].phase;
	}
	s->over = n >= 4 && memcmp(p, "QUIT", 4) == 0;
}

static void
note_answer(struct smtp *s, const char *p, size_t n)
{
	size_t i;

	if (s->phase == PH_LOGIN || s->over)
		return;
	for (i = 0; i < n && i < sizeof s->said - 1; i++) {
		if (p[i] == '\r' || p[i] == '\n')
			break;
		s->said[i] = p[i] >= ' ' && p[i] < 0x7f ? p[i] : '?';
	}
	s->said[i] = '\0';
}

static int
trace(CURL *curl, curl_infotype type, char *data, size_t n, void *arg)
{
	(void)curl;
	if (type == CURLINFO_HEADER_OUT)
		note_command(arg, data, n);
	else if (type == CURLINFO_HEADER_IN)
		note_answer(arg, data, n);
	return 0;
}

static size_t
read_some(char *buf, size_t size, size_t count, void *arg)
{
	struct smtp *s = arg;
	size_t n = size * count < s->left.n ? size * count : s->left.n;

	if (n > 0)
		memcpy(buf, s->left.p, n);
	s->left.p += n;
	s->left.n -= n;
	return n;
}

/* A server that sends a body is none of ours; keep it off stdout. */
static size_t
write_none(char *buf, size_t size, size_t count, void *arg)
{
	(void)buf;
	(void)arg;
	return size * count;
}

/* ---- opening */

/* A part of the URL, decoded; "" where there is none. Malloced. */
static char *
url_part(CURLU *u, CURLUPart part, bool decode)
{
	char *s = NULL, *copy;

	if (curl_url_get(u, part, &s, decode ? CURLU_URLDECODE : 0) !=
	    CURLUE_OK)
		return xstrdup("");
	copy = xstrdup(s);
	curl_free(s);
	return copy;
}

static enum rc
url_take(struct smtp *s, const char *url, struct err *e)
{
	CURLU *u = curl_url();
	char *host, *port;
	enum rc rc = RC_OK;

	if (u == NULL)
		xmalloc_failed();
	if (curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) !=
	    CURLUE_OK) {
		curl_url_cleanup(u);
		return err_set(e, RC_INVALID, "bad_value",
		    "[mail] url: write it as smtp://user:password@host:587; "
		    "@, : and / in a password as %%40, %%3A and %%2F");
	}
	host = url_part(u, CURLUPART_HOST, false);
	port = url_part(u, CURLUPART_PORT, false);
	s->user = url_part(u, CURLUPART_USER, true);
	s->password = url_part(u, CURLUPART_PASSWORD, true);
	if (*s->user != '\0' && *s->password == '\0')
		rc = err_set(e, RC_INVALID, "bad_value",
		    "[mail] url: a user but no password");
	if (rc == RC_OK) {
		struct strbuf sb;

		strbuf_init(&sb, 64);
		strbuf_addf(&sb, "%s://%s%s%s", s->tls ? "smtps" : "smtp", host,
		    *port == '\0' ? "" : ":", port);
		s->url = xstrdup(sb.s);
		strbuf_release(&sb);
	}
	free(port);
	free(host);
	curl_url_cleanup(u);
	return rc;
}

static void
smtp_close(void *self)
{
	struct smtp *s = self;

	if (s == NULL)
		return;
	curl_easy_cleanup(s->curl);
	curl_global_cleanup();
	free(s->url);
	free(s->user);
	free(s->password);
	free(s);
}

/* The handle keeps these between messages. */
static void
handle_set(struct smtp *s)
{
	const char *authorities = getenv("SSL_CERT_FILE");
	bool login = *s->user != '\0', verify = login || s->tls;
	CURL *c = s->curl;

	curl_easy_setopt(c, CURLOPT_URL, s->url);
	curl_easy_setopt(c, CURLOPT_PROXY, ""); /* $all_proxy is for the web */
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, s->timeout_ms);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, s->timeout_ms);
	curl_easy_setopt(c, CURLOPT_USE_SSL,
	    (long)(verify ? CURLUSESSL_ALL : CURLUSESSL_TRY));
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, verify ? 1L : 0L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, verify ? 2L : 0L);
	if (authorities != NULL && *authorities != '\0')
		curl_easy_setopt(c, CURLOPT_CAINFO, authorities);
	if (login) {
		curl_easy_setopt(c, CURLOPT_USERNAME, s->user);
		curl_easy_setopt(c, CURLOPT_PASSWORD, s->password);
	}
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, s->error);
	curl_easy_setopt(c, CURLOPT_VERBOSE, 1L);
	curl_easy_setopt(c, CURLOPT_DEBUGFUNCTION, trace);
	curl_easy_setopt(c, CURLOPT_DEBUGDATA, s);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, write_none);
	curl_easy_setopt(c, CURLOPT_READFUNCTION, read_some);
	curl_easy_setopt(c, CURLOPT_READDATA, s);
	curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
}

static enum rc
open_any(const struct mail_opts *opts, bool tls, void **self, struct err *e)
{
	struct smtp *s;
	enum rc rc;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(e, RC_FAIL, "mail_curl", "libcurl: no start");
	s = xcalloc(1, sizeof *s);
	s->tls = tls;
	s->timeout_ms = opts->timeout_ms;
	s->curl = curl_easy_init();
	if (s->curl == NULL)
		xmalloc_failed();
	if ((rc = url_take(s, opts->url, e)) != RC_OK) {
		smtp_close(s);
		return rc;
	}
	handle_set(s);
	*self = s;
	return RC_OK;
}

static enum rc
smtp_open(const struct mail_opts *opts, void **self, struct err *e)
{
	return open_any(opts, false, self, e);
}

static enum rc
smtps_open(const struct mail_opts *opts, void **self, struct err *e)
{
	return open_any(opts, true, self, e);
}

/* ---- sending */

static enum rc
refused(struct smtp *s, long code, struct err *e)
{
	if (code < 500)
		return err_set(e, RC_RETRY, "mail_later",
		    "The mail server says: %s", s->said);
	if (s->phase >= PH_RECIPIENT)
		return err_set(e, RC_INVALID, "mail_refused",
		    "The mail server refused the message: %s", s->said);
	if (s->phase == PH_LOGIN)
		return err_set(e, RC_FAIL, "mail_login",
		    "The mail server did not take user and password (%ld)",
		    code);
	return err_set(e, RC_FAIL, "mail_refused",
	    "The mail server refused the shop: %s", s->said);
}

static enum rc
failed(struct smtp *s, CURLcode rc, long code, struct err *e)
{
	const char *words =
	    s->error[0] != '\0' ? s->error : curl_easy_strerror(rc);

	switch (rc) {
	case CURLE_LOGIN_DENIED:
		if (code >= 400 && code < 500)
			return err_set(e, RC_RETRY, "mail_later",
			    "The mail server takes no login now (%ld)", code);
		return err_set(e, RC_FAIL, "mail_login",
		    "The mail server did not take user and password");
	case CURLE_USE_SSL_FAILED:
		return err_set(e, RC_FAIL, "mail_tls",
		    "The mail server offers no TLS, and a password is not "
		    "sent without");
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		return err_set(e, RC_FAIL, "mail_tls",
		    "The mail server's certificate: %s", words);
	default:
		break;
	}
	if (code >= 400 && code < 600)
		return refused(s, code, e);
	return err_set(
	    e, RC_RETRY, "mail_unreachable", "Mail server: %s", words);
}

/* Whether the connection was kept from before and has died meanwhile: nothing
 * of the message can have arrived then. */
static bool
was_stale(const struct smtp *s, CURLcode rc, long code)
{
	long made = 1;

	curl_easy_getinfo(s->curl, CURLINFO_NUM_CONNECTS, &made);
	return made == 0 && s->phase < PH_DATA && rc != CURLE_OK &&
	       rc != CURLE_OPERATION_TIMEDOUT && (code < 400 || code == 421);
}

static CURLcode
perform(struct smtp *s, struct span bytes, bool fresh, long *code)
{
	CURLcode rc;

	s->phase = PH_HELLO;
	s->over = false;
	s->said[0] = s->error[0] = '\0';
	s->left = bytes;
	curl_easy_setopt(
	    s->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)bytes.n);
	curl_easy_setopt(s->curl, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
	rc = curl_easy_perform(s->curl);
	*code = 0;
	curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, code);
	return rc;
}

static void
add_crlf(struct strbuf *out, struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n')
			strbuf_addc(out, '\r');
		strbuf_addc(out, s.p[i]);
	}
}

static enum rc
smtp_send(void *self, const struct mail_draft *draft, struct arena *arena,
    struct err *e)
{
	struct smtp *s = self;
	struct curl_slist *to = curl_slist_append(NULL, draft->to);
	struct strbuf bytes;
	CURLcode rc;
	long code;

	(void)arena;
	if (to == NULL)
		xmalloc_failed();
	strbuf_init(&bytes, draft->bytes.n + draft->bytes.n / 32);
	add_crlf(&bytes, draft->bytes);
	curl_easy_setopt(s->curl, CURLOPT_MAIL_FROM, draft->from);
	curl_easy_setopt(s->curl, CURLOPT_MAIL_RCPT, to);
	rc = perform(s, strbuf_span(&bytes), false, &code);
	if (was_stale(s, rc, code))
		rc = perform(s, strbuf_span(&bytes), true, &code);
	curl_easy_setopt(s->curl, CURLOPT_MAIL_RCPT, NULL);
	curl_slist_free_all(to);
	strbuf_release(&bytes);
	return rc == CURLE_OK ? RC_OK : failed(s, rc, code, e);
}

const struct mail_driver mail_smtp = { "smtp:", smtp_open, smtp_close,
	smtp_send };
const struct mail_driver mail_smtps = { "smtps:", smtps_open, smtp_close,
	smtp_send };
