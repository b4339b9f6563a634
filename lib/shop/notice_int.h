/*
 * notice_int - templates and texts of the e-mails (notice_text.c), and the
 * e-mails made of them (notice.c).
 */
#ifndef SHOP_NOTICE_INT_H
#define SHOP_NOTICE_INT_H

#include <jansson.h>

#include "shop/notice.h"

struct mustache;

/* The texts of one language: templates/text.LANG.json, those named mail_*. */
struct notice_texts {
	char lang[36];
	json_t *texts;
};

struct notices {
	struct mustache *set; /* "mail/order_paid.html" and so on */
	int n;
	struct notice_texts *langs; /* the shop's own is the first */
	char *shop_name;
	char *base_url; /* without a slash at the end */
	char *host;     /* of base_url */
};

/* What is sent: a template pair "mail/<kind>.text", ".html" and a subject. */
extern const char *const notice_kinds[]; /* NULL ends it */

/* Of an order's language, else of the shop's. */
const struct notice_texts *notice_lang(
    const struct notices *notices, const char *lang);

/* {name} in a text stands for a value; args: an object of strings. Given. */
json_t *notice_fill(const char *text, const json_t *args);

/* All texts of a language, filled. Given. */
json_t *notice_texts_fill(const struct notice_texts *lang, const json_t *args);

#endif
