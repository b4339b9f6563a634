/*
 * mail - sending one message: `maildir:PATH` (a file a message, delivered as
 * maildir(5) says), `smtp://` and `smtps://` by libcurl.
 */
#ifndef STORE_MAIL_H
#define STORE_MAIL_H

#include <stdbool.h>

#include "base/err.h"

struct arena;
struct mail;

struct mail_opts {
	const char *url;  /* maildir:/path, smtp://[user:pass@]host[:port] */
	const char *from; /* "Shop <shop@example.com>" */
	const char *host; /* of Message-IDs; NULL: the domain of from */
	int timeout_ms;   /* of one sending, all in all */
};

/*
 * RC_INVALID: url or from cannot be used; RC_FAIL: nor the maildir (its folders
 * are made with mode 0700, not what is above them). Connects nowhere. No
 * message of an error holds a password.
 */
enum rc mail_open(
    const struct mail_opts *opts, struct mail **out, struct err *e);
void mail_close(struct mail *mail); /* NULL is allowed */

struct mail_message {
	const char *id;      /* unique: Message-ID and the maildir's file name
	                        come from it, so that sending twice is seen */
	const char *to;      /* one address, checked by mail_address_ok() */
	const char *subject; /* UTF-8, one line */
	const char *text, *html; /* UTF-8; html NULL: text alone */
};

/*
 * RC_RETRY: not now (4xx, no connection, disk full); it may have been sent all
 * the same where the connection broke at the end. RC_INVALID: never (5xx to this
 * recipient or message, address). RC_FAIL: nobody's mail goes out: wrong
 * password, TLS, sender refused, folder gone. A message whose id lies in the
 * maildir already is RC_OK and not written anew.
 */
enum rc mail_send(struct mail *mail, const struct mail_message *message,
    struct arena *arena, struct err *e);

/* local@domain as people have them (RFC 5321 without quoting), at most 254
 * bytes, nothing that could begin a header line. */
bool mail_address_ok(const char *address);

/* What mail_open would take, as far as can be said without trying: for the
 * check of the configuration. */
bool mail_url_ok(const char *url);
bool mail_from_ok(const char *from);

#endif
