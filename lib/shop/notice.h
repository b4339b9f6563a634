/*
 * notice - e-mails of the shop, text and HTML from templates/mail/, in the
 * order's language.
 */
#ifndef SHOP_NOTICE_H
#define SHOP_NOTICE_H

#include "base/err.h"

struct arena;
struct mail;
struct pg_stmt;
struct notices; /* the compiled templates */
struct shop;
struct task;

/* Gives *out. RC_INVALID: a template or text is wrong. */
enum rc notices_open(struct shop *shop, struct notices **out, struct err *e);
void notices_close(struct notices *notices); /* NULL is allowed */

/* The host of [shop] base_url: what Message-IDs end with (mail_opts.host). */
const char *notices_host(const struct notices *notices);

/*
 * Tasks order_confirmation {"orderId"} and send_email {"kind", ...} with kind
 * "order_paid" {"orderId"}, "order_cancelled" {"orderId"}, "order_declined"
 * {"orderId"}, "password_reset" {"customerId","email","secret"}. Sent once as
 * far as that can be: the message's id is the task's. An order without an
 * e-mail address: nothing.
 */
enum rc notice_send(struct shop *shop, struct notices *notices,
    struct mail *mail, const struct task *task, struct arena *arena,
    struct err *e);

/* For soukctl debug statements. */
extern const struct pg_stmt *const notice_statements[];

#endif
