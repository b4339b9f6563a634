/*
 * mail_int - what the files of mail share: a driver is one struct of functions
 * in a file of its own.
 */
#ifndef STORE_MAIL_INT_H
#define STORE_MAIL_INT_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "store/mail.h"

struct strbuf;

/* A message as it goes out: header and body, lines end with LF. */
struct mail_draft {
	const char *id;
	const char *from, *to; /* bare addresses: the envelope */
	struct span bytes;
};

struct mail_driver {
	const char *scheme; /* "maildir:" */
	enum rc (*open)(
	    const struct mail_opts *opts, void **self, struct err *e);
	void (*close)(void *self);
	enum rc (*send)(void *self, const struct mail_draft *draft,
	    struct arena *arena, struct err *e);
};
extern const struct mail_driver mail_maildir, mail_smtp, mail_smtps;

struct mail {
	const struct mail_driver *driver;
	void *self;
	char *from_name; /* UTF-8, "" none */
	char *from;
	char *host; /* right of the Message-ID's @ */
};

/* The domain alone: one label or more, as it may stand in an address. */
bool mail_domain_ok(const char *domain, int least_labels);

/* mail_mime.c: the whole message, appended; what it says was checked. */
void mail_write(struct strbuf *out, const struct mail *mail,
    const struct mail_message *message, int64_t wall_ms);

#endif
