/*
 * A mail is sent first and its task recorded as finished after that: sent at
 * least once. In between a worker may die, so the mail carries the task's id,
 * by which a maildir knows it and a mail program can.
 *
 * What is said is what the order says at that moment. A mail that has become
 * untrue (a decline, and it is paid meanwhile) is not sent.
 */
#include "shop/notice.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mustache.h"
#include "base/strbuf.h"
#include "shop/ids.h"
#include "shop/money.h"
#include "shop/notice_int.h"
#include "shop/shop.h"
#include "store/mail.h"
#include "store/outbox.h"
#include "store/pg.h"
#include "store/queue.h"

/* The address of the moment of ordering; a buyer with an account that gave
 * none has that of the account. */
static const struct pg_stmt notice_order = { "notice_order",
	"SELECT o.status, o.reason, o.currency, o.shipping, o.tax, o.total,"
	" coalesce(nullif(o.email, ''), c.email, ''), o.language,"
	" o.customer_id IS NULL, l.title, l.variant_title, l.quantity, l.price"
	" FROM orders o LEFT JOIN customer c ON c.id = o.customer_id"
	" JOIN order_line l ON l.order_id = o.id"
	" WHERE o.id = $1 ORDER BY l.line",
	1 };
enum {
	C_STATUS,
	C_REASON,
	C_CURRENCY,
	C_SHIPPING,
	C_TAX,
	C_TOTAL,
	C_EMAIL,
	C_LANGUAGE,
	C_GUEST,
	C_TITLE,
	C_VARIANT,
	C_QUANTITY,
	C_PRICE
};

static const struct pg_stmt notice_sent = { "notice_sent",
	"SELECT EXISTS (SELECT FROM finished_task WHERE task_id = $1)", 1 };

const struct pg_stmt *const notice_statements[] = { &notice_order, &notice_sent,
	NULL };

/* One mail on its way. */
struct letter {
	const struct notices *notices;
	const struct notice_texts *lang;
	const char *kind;
	const char *to;
	json_t *args; /* of texts: {order}, {total} */
	json_t *ctx;  /* of templates */
};

static json_t *
money_json(int64_t minor, const char *currency)
{
	struct strbuf sb;
	json_t *s;

	strbuf_init(&sb, 32);
	money_format(&sb, minor, currency);
	s = json_stringn(sb.s, sb.len);
	strbuf_release(&sb);
	return s;
}

/* ---- an order */

static json_t *
line_json(const struct letter *l, const struct pg_rows *rows, int i)
{
	const char *currency = pg_str(rows, i, C_CURRENCY);
	int64_t quantity = pg_int(rows, i, C_QUANTITY);
	int64_t price = pg_int(rows, i, C_PRICE);
	json_t *line = json_pack("{s:s, s:s, s:I, s:o}", "title",
	    pg_str(rows, i, C_TITLE), "variant", pg_str(rows, i, C_VARIANT),
	    "quantity", (json_int_t)quantity, "sum",
	    money_json(quantity * price, currency));

	if (quantity > 1) {
		json_t *args =
		    json_pack("{s:o}", "price", money_json(price, currency));

		(void)json_object_set_new(line, "each",
		    notice_fill(json_string_value(json_object_get(
				    l->lang->texts, "mail_each")),
			args));
		json_decref(args);
	}
	return line;
}

static json_t *
order_json(const struct letter *l, const char *id, const struct pg_rows *rows)
{
	const char *currency = pg_str(rows, 0, C_CURRENCY);
	int64_t shipping = pg_int(rows, 0, C_SHIPPING);
	int64_t tax = pg_int(rows, 0, C_TAX);
	json_t *lines = json_array();

	for (int i = 0; i < rows->n; i++)
		(void)json_array_append_new(lines, line_json(l, rows, i));
	/* A price of nothing is not a line of its own. */
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:b, s:o}", "id", id, "url",
	    json_sprintf("%s/orders/%s", l->notices->base_url, id), "shipping",
	    shipping == 0 ? json_null() : money_json(shipping, currency), "tax",
	    tax == 0 ? json_null() : money_json(tax, currency), "total",
	    money_json(pg_int(rows, 0, C_TOTAL), currency), "guest",
	    (int)pg_bool(rows, 0, C_GUEST), "lines", lines);
}

/* Why it was cancelled, in words. */
static const char *
reason_text(const struct letter *l, const char *reason)
{
	char key[100];
	const char *s;

	(void)snprintf(key, sizeof key, "mail_reason_%s", reason);
	s = json_string_value(json_object_get(l->lang->texts, key));
	if (s == NULL)
		s = json_string_value(
		    json_object_get(l->lang->texts, "mail_reason_other"));
	return s;
}

static enum rc
letter_of_order(struct shop *shop, struct letter *l, const char *id,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	const char *status;
	char number[9];
	enum rc rc;

	pg_arg_str(&args, id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &notice_order, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0 || *pg_str(&rows, 0, C_EMAIL) == '\0')
		return RC_NONE;
	status = pg_str(&rows, 0, C_STATUS);
	if (strcmp(l->kind, "order_declined") == 0 &&
	    strcmp(status, "pending") != 0 && strcmp(status, "reserved") != 0)
		return RC_NONE;
	l->to = pg_str(&rows, 0, C_EMAIL);
	l->lang = notice_lang(l->notices, pg_str(&rows, 0, C_LANGUAGE));
	(void)snprintf(number, sizeof number, "%.8s", id);
	(void)json_object_set_new(l->args, "order", json_string(number));
	(void)json_object_set_new(l->args, "total",
	    money_json(
		pg_int(&rows, 0, C_TOTAL), pg_str(&rows, 0, C_CURRENCY)));
	(void)json_object_set_new(l->ctx, "order", order_json(l, id, &rows));
	(void)json_object_set_new(l->ctx, "reason",
	    notice_fill(reason_text(l, pg_str(&rows, 0, C_REASON)), l->args));
	return RC_OK;
}

/* ---- a new password */

static enum rc
letter_of_reset(
    struct letter *l, const json_t *data, struct arena *arena, struct err *e)
{
	const char *to = json_string_value(json_object_get(data, "email"));
	const char *secret = json_string_value(json_object_get(data, "secret"));
	struct strbuf link;

	if (to == NULL || secret == NULL)
		return err_set(e, RC_INVALID, "bad_task",
		    "password_reset: email and secret are wanted");
	l->to = arena_strdup(arena, to);
	strbuf_init(&link, 256);
	strbuf_addf(&link, "%s/password/reset?token=", l->notices->base_url);
	strbuf_add_urlarg(&link, secret, strlen(secret));
	(void)json_object_set_new(
	    l->ctx, "link", json_stringn(link.s, link.len));
	strbuf_release(&link);
	return RC_OK;
}

/* ---- sending */

static enum rc
render(
    const struct letter *l, const char *form, struct strbuf *out, struct err *e)
{
	char name[100];

	(void)snprintf(name, sizeof name, "mail/%s.%s", l->kind, form);
	return mustache_render(l->notices->set, name, 1,
	    (const json_t *const[]){ l->ctx }, out, e);
}

/* Texts come from files and from settings: a line end would be refused. */
static char *
subject_of(const struct letter *l, const json_t *texts, struct arena *arena)
{
	char key[100], *s;
	const char *text;

	(void)snprintf(key, sizeof key, "mail_%s_subject", l->kind);
	text = json_string_value(json_object_get(texts, key));
	s = arena_strdup(arena, text == NULL ? "" : text);
	for (char *p = s; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	}
	return s;
}

static enum rc
letter_send(const struct letter *l, struct mail *mail, const char *id,
    struct arena *arena, struct err *e)
{
	json_t *texts = notice_texts_fill(l->lang, l->args);
	struct mail_message m = { .id = id, .to = l->to };
	struct strbuf text, html;
	enum rc rc;

	m.subject = subject_of(l, texts, arena);
	(void)json_object_set_new(l->ctx, "t", texts);
	(void)json_object_set_new(l->ctx, "lang", json_string(l->lang->lang));
	(void)json_object_set_new(l->ctx, "subject", json_string(m.subject));
	(void)json_object_set_new(l->ctx, "shop",
	    json_pack("{s:s, s:s}", "name", l->notices->shop_name, "base_url",
		l->notices->base_url));
	strbuf_init(&text, 2048);
	strbuf_init(&html, 4096);
	if ((rc = render(l, "text", &text, e)) == RC_OK &&
	    (rc = render(l, "html", &html, e)) == RC_OK) {
		m.text = text.s;
		m.html = html.s;
		rc = mail_send(mail, &m, arena, e);
	}
	strbuf_release(&html);
	strbuf_release(&text);
	return rc;
}

static bool
kind_known(const char *kind)
{
	for (int i = 0; kind != NULL && notice_kinds[i] != NULL; i++) {
		if (strcmp(kind, notice_kinds[i]) == 0)
			return true;
	}
	return false;
}

static enum rc
letter_make(struct shop *shop, struct letter *l, const struct task *task,
    const json_t *data, struct arena *arena, struct err *e)
{
	const char *id = json_string_value(json_object_get(data, "orderId"));

	l->kind = strcmp(task->type, "order_confirmation") == 0
		      ? task->type
		      : json_string_value(json_object_get(data, "kind"));
	if (!kind_known(l->kind))
		return err_set(e, RC_INVALID, "bad_task",
		    "%.40s: no such kind of mail", task->type);
	if (strcmp(l->kind, "password_reset") == 0)
		return letter_of_reset(l, data, arena, e);
	if (id == NULL || strlen(id) != EFFECT_ID_CHARS)
		return err_set(
		    e, RC_INVALID, "bad_task", "%s: no orderId", l->kind);
	return letter_of_order(shop, l, id, arena, e);
}

static enum rc
already_sent(struct shop *shop, const char *id, struct arena *arena, bool *sent,
    struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, id);
	rc =
	    pg_exec(shop->pg, PG_PRIMARY, &notice_sent, &args, arena, &rows, e);
	if (rc == RC_OK)
		*sent = pg_bool(&rows, 0, 0);
	return rc;
}

enum rc
notice_send(struct shop *shop, struct notices *notices, struct mail *mail,
    const struct task *task, struct arena *arena, struct err *e)
{
	struct letter l = { .notices = notices, .lang = &notices->langs[0] };
	json_t *data = json_loadb(task->data.p, task->data.n, 0, NULL);
	bool sent = false;
	enum rc rc = already_sent(shop, task->id, arena, &sent, e);

	if (rc != RC_OK || sent)
		goto out;
	l.args = json_pack("{s:s}", "shop", notices->shop_name);
	l.ctx = json_object();
	if ((rc = letter_make(shop, &l, task, data, arena, e)) == RC_OK &&
	    (rc = letter_send(&l, mail, task->id, arena, e)) == RC_OK) {
		rc = task_finish(shop->pg, task->id, arena, e);
		if (rc == RC_NONE) /* somebody else sent it, too */
			rc = RC_OK;
	}
out:
	json_decref(l.ctx);
	json_decref(l.args);
	json_decref(data);
	return rc;
}
