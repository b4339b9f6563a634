/* email: what the shop writes to people. */
#include "base/conf.h"
#include "shop/notice.h"
#include "store/mail.h"
#include "workers/worker.h"

enum rc
email_open(struct work *w, struct err *e)
{
	enum rc rc = notices_open(w->shop, &w->notices, e);

	if (rc != RC_OK)
		return rc;
	return mail_open(
	    &(struct mail_opts){
		.url = conf_str(w->conf, "mail", "url"),
		.from = conf_str(w->conf, "mail", "from"),
		.host = notices_host(w->notices),
		.timeout_ms = (int)conf_int(w->conf, "mail", "timeout"),
	    },
	    &w->mail, e);
}

void
email_close(struct work *w)
{
	mail_close(w->mail);
	notices_close(w->notices);
}

static enum rc
send_notice(struct work *w, const struct task *task, struct err *e)
{
	return notice_send(w->shop, w->notices, w->mail, task, w->arena, e);
}

const struct task_row email_tasks[] = {
	{ "order_confirmation", send_notice },
	{ "send_email", send_notice },
	{ 0 },
};
