/* The shop's e-mails, sent into a maildir. Run by notice.sh. */
#include "shop/notice.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "store/mail.h"
#include "store/queue.h"
#include "tests/shop/shop_test.h"

#define ORDER "0123456789abcdef0123456789abcdef"
#define TASK "11111111111111111111111111111111"

static char dir[64];
static struct mail *mail;
static struct notices *notices;

static const char *
at(const char *below)
{
	return arena_printf(arena, "%s%s", dir, below);
}

static void
shell(const char *command)
{
	ck_assert_msg(system(command) == 0, "%s", command);
}

static void
setup(void)
{
	(void)snprintf(dir, sizeof dir, "/tmp/test-notice.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	setenv("SOUK_FCGI_TEMPLATES", getenv("SHOP_TEMPLATES"), 1);
	setenv("SOUK_SHOP_NAME", "Süß & <Salzig>", 1);
	setenv("SOUK_SHOP_BASE_URL", "https://shop.example/", 1);
	shop_setup();
	ck_assert_int_eq(
	    mail_open(&(struct mail_opts){ .url = arena_printf(
					       arena, "maildir:%s/m", dir),
			  .from = "shop@shop.example",
			  .timeout_ms = 1000 },
		&mail, &e),
	    RC_OK);
	ck_assert_msg(notices_open(shop, &notices, &e) == RC_OK, "%s", e.msg);
	sql("TRUNCATE outbox, finished_task, orders, order_line, customer"
	    " CASCADE");
	sql("INSERT INTO orders (id, access_hash, status, currency, shipping,"
	    " tax, total, email) VALUES ('" ORDER "', sha256('x'), 'pending',"
	    " 'EUR', 490, 121, 4611, 'buyer@example.com')");
	sql("INSERT INTO order_line (order_id, line, product_id, variant_id,"
	    " title, variant_title, quantity, price) VALUES"
	    " ('" ORDER "', 1, 1, 1, 'Mug <b>“rot”</b> & co', 'L / <i>', 2,"
	    " 1000), ('" ORDER "', 2, 2, 2, 'Bowl', '', 1, 2000)");
}

static void
teardown(void)
{
	notices_close(notices);
	mail_close(mail);
	shell(arena_printf(arena, "rm -rf %s", dir));
	shop_teardown();
}

static enum rc
send_task(const char *id, const char *type, const char *data)
{
	struct task t = { .id = id,
		.type = type,
		.queue = "email",
		.priority = "low",
		.data = span_of(data),
		.receives = 1 };

	e = (struct err)ERR_INIT;
	return notice_send(shop, notices, mail, &t, arena, &e);
}

static enum rc
send_kind(const char *kind)
{
	if (strcmp(kind, "order_confirmation") == 0)
		return send_task(TASK, kind, "{\"orderId\":\"" ORDER "\"}");
	return send_task(TASK, "send_email",
	    arena_printf(
		arena, "{\"kind\":\"%s\",\"orderId\":\"%s\"}", kind, ORDER));
}

static int
mails(void)
{
	DIR *dp = opendir(at("/m/new"));
	struct dirent *d;
	int n = 0;

	ck_assert_ptr_nonnull(dp);
	while ((d = readdir(dp)) != NULL)
		n += d->d_name[0] != '.';
	closedir(dp);
	return n;
}

/* What Python's parser finds in the mail of task TASK: "to", "subject",
 * "text" or "html". */
static const char *
part(const char *name)
{
	static const char script[] =
	    "import sys, email, email.policy\n"
	    "m = email.message_from_bytes(open(sys.argv[1], 'rb').read(), "
	    "policy=email.policy.default)\n"
	    "w = sys.argv[2]\n"
	    "kind = {'text': 'plain', 'html': 'html'}.get(w)\n"
	    "print(m.get_body((kind,)).get_content() if kind else m[w], "
	    "end='')\n";
	FILE *f = fopen(at("/part.py"), "w");
	struct strbuf sb;
	char buf[4096];
	const char *s;
	size_t n;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(script, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	shell(arena_printf(arena,
	    "PYTHONIOENCODING=utf-8 python3 %s/part.py %s/m/new/" TASK
	    " %s >%s/part",
	    dir, dir, name, dir));
	f = fopen(at("/part"), "r");
	ck_assert_ptr_nonnull(f);
	strbuf_init(&sb, 4096);
	while ((n = fread(buf, 1, sizeof buf, f)) > 0)
		strbuf_add(&sb, buf, n);
	(void)fclose(f);
	s = arena_strndup(arena, sb.s, sb.len);
	strbuf_release(&sb);
	return s;
}

static void
has(const char *text, const char *words)
{
	ck_assert_msg(
	    strstr(text, words) != NULL, "no \"%s\" in:\n%s", words, text);
}

static void
has_not(const char *text, const char *words)
{
	ck_assert_msg(
	    strstr(text, words) == NULL, "\"%s\" in:\n%s", words, text);
}

/* ---- every kind */

static const struct {
	const char *kind, *status, *subject, *words;
} kinds[] = {
	{ "order_confirmation", "pending",
	    "Süß & <Salzig>: we have your order 01234567",
	    "Thank you for your order" },
	{ "order_confirmation", "cancelled",
	    "Süß & <Salzig>: we have your order 01234567",
	    "Thank you for your order" },
	{ "order_paid", "paid", "Süß & <Salzig>: your order 01234567 is paid",
	    "We have received €46.11" },
	{ "order_cancelled", "cancelled",
	    "Süß & <Salzig>: your order 01234567 was cancelled",
	    "It was not paid in time." },
	{ "order_declined", "reserved",
	    "Süß & <Salzig>: the payment for your order 01234567 did not go "
	    "through",
	    "The payment did not go through" },
};

static void
given_status(const char *status)
{
	sql(arena_printf(arena,
	    "UPDATE orders SET status = '%s', reason = 'expired'", status));
}

START_TEST(every_kind_says_what_it_is_about)
{
	const char *text, *html;

	given_status(kinds[_i].status);
	ck_assert_msg(send_kind(kinds[_i].kind) == RC_OK, "%s", e.msg);
	ck_assert_str_eq(part("to"), "buyer@example.com");
	ck_assert_str_eq(part("subject"), kinds[_i].subject);
	text = part("text");
	html = part("html");
	ck_assert_str_eq(notices_host(notices), "shop.example");
	has(text, kinds[_i].words);
	has(html, kinds[_i].words);
	has(text, "2 x Mug <b>“rot”</b> & co (L / <i>), €10.00 each: €20.00\n"
		  "1 x Bowl: €20.00\n"
		  "Shipping: €4.90\n"
		  "Tax: €1.21\n"
		  "Total: €46.11\n"
		  "\n"
		  "Order " ORDER "\n");
	has(text, "at Süß & <Salzig>.\nhttps://shop.example/\n");
	has(html, "Mug &lt;b&gt;“rot”&lt;/b&gt; &amp; co");
	has(html, "L / &lt;i&gt;");
	has(html, "Süß &amp; &lt;Salzig&gt;");
	has(html, "<html lang=\"en\">");
	has(html, "€46.11");
	has_not(html, "<b>");
	has_not(html, "<Salzig>");
	has_not(html, "{");
	has_not(text, "{");
	has_not(text, "&amp;");
}
END_TEST

static const struct {
	const char *reason, *words;
} reasons[] = {
	{ "expired", "It was not paid in time." },
	{ "out_of_stock", "sold out" },
	{ "by_buyer", "You cancelled it." },
	{ "declined", "The payment was declined." },
	{ "a meteorite", "We could not carry it out." },
	{ "", "We could not carry it out." },
};

START_TEST(a_cancelled_order_says_why)
{
	sql(arena_printf(arena,
	    "UPDATE orders SET status = 'cancelled', reason = '%s'",
	    reasons[_i].reason));
	ck_assert_int_eq(send_kind("order_cancelled"), RC_OK);
	has(part("text"), reasons[_i].words);
	has(part("html"), reasons[_i].words);
}
END_TEST

START_TEST(a_guest_is_told_of_his_link)
{
	ck_assert_int_eq(send_kind("order_confirmation"), RC_OK);
	has(part("text"), "use the link that you were given");
	has_not(part("text"), "/orders/");
	has_not(part("html"), "/orders/");
}
END_TEST

START_TEST(a_customer_gets_the_link_and_the_accounts_address)
{
	sql("INSERT INTO customer (email) VALUES ('me@account.example')");
	sql("UPDATE orders SET email = '', customer_id ="
	    " (SELECT id FROM customer)");
	ck_assert_int_eq(send_kind("order_confirmation"), RC_OK);
	ck_assert_str_eq(part("to"), "me@account.example");
	has(part("text"), "https://shop.example/orders/" ORDER "\n");
	has(part("html"), "href=\"https://shop.example/orders/" ORDER "\"");
	has_not(part("text"), "link that you were given");
}
END_TEST

START_TEST(what_costs_nothing_has_no_line)
{
	sql("UPDATE orders SET shipping = 0, tax = 0");
	ck_assert_int_eq(send_kind("order_confirmation"), RC_OK);
	has_not(part("text"), "Shipping");
	has_not(part("text"), "Tax");
	has_not(part("html"), "Shipping");
}
END_TEST

START_TEST(a_password_is_reset_by_a_link)
{
	ck_assert_int_eq(send_task(TASK, "send_email",
			     "{\"kind\":\"password_reset\",\"customerId\":1,"
			     "\"email\":\"a@x.test\",\"secret\":\"ab_-&c\"}"),
	    RC_OK);
	ck_assert_str_eq(part("to"), "a@x.test");
	has(part("text"),
	    "https://shop.example/password/reset?token=ab_-%26c\n");
	has(part("html"),
	    "href=\"https://shop.example/password/reset?token=ab_-%26c\"");
}
END_TEST

/* ---- once */

START_TEST(delivered_twice_it_is_one_mail)
{
	ck_assert_int_eq(send_kind("order_confirmation"), RC_OK);
	ck_assert_str_eq(look("SELECT task_id FROM finished_task"), TASK);
	shell(arena_printf(arena, "rm %s/m/new/" TASK, dir));
	ck_assert_int_eq(send_kind("order_confirmation"), RC_OK);
	ck_assert_int_eq(mails(), 0);
}
END_TEST

START_TEST(sent_and_not_recorded_it_is_one_mail_all_the_same)
{
	ck_assert_int_eq(send_kind("order_confirmation"), RC_OK);
	sql("TRUNCATE finished_task");
	ck_assert_int_eq(send_kind("order_confirmation"), RC_OK);
	ck_assert_int_eq(mails(), 1);
	ck_assert_str_eq(look("SELECT task_id FROM finished_task"), TASK);
}
END_TEST

START_TEST(one_that_could_not_be_sent_is_not_finished)
{
	shell(arena_printf(arena, "rmdir %s/m/new", dir));
	ck_assert_int_eq(send_kind("order_confirmation"), RC_FAIL);
	ck_assert_str_eq(look("SELECT count(*) FROM finished_task"), "0");
	shell(arena_printf(arena, "mkdir %s/m/new", dir));
	ck_assert_int_eq(send_kind("order_confirmation"), RC_OK);
	ck_assert_int_eq(mails(), 1);
}
END_TEST

/* ---- not */

START_TEST(an_order_without_an_address_gets_none)
{
	sql("UPDATE orders SET email = ''");
	ck_assert_int_eq(send_kind("order_confirmation"), RC_NONE);
	ck_assert_int_eq(mails(), 0);
}
END_TEST

START_TEST(a_decline_that_is_over_is_not_told)
{
	given_status("paid");
	ck_assert_int_eq(send_kind("order_declined"), RC_NONE);
	given_status("cancelled");
	ck_assert_int_eq(send_kind("order_declined"), RC_NONE);
	ck_assert_int_eq(mails(), 0);
}
END_TEST

START_TEST(an_address_that_is_none_can_never_be_sent_to)
{
	sql("UPDATE orders SET email = E'a@x.test\\nBcc: b@x.test'");
	ck_assert_int_eq(send_kind("order_confirmation"), RC_INVALID);
	ck_assert_int_eq(mails(), 0);
}
END_TEST

static const struct {
	const char *type, *data;
} bad_tasks[] = {
	{ "send_email", "{" },
	{ "send_email", "{}" },
	{ "send_email", "{\"kind\":\"layout\",\"orderId\":\"" ORDER "\"}" },
	{ "send_email", "{\"kind\":\"../x\",\"orderId\":\"" ORDER "\"}" },
	{ "send_email", "{\"kind\":\"order_paid\"}" },
	{ "send_email", "{\"kind\":\"order_paid\",\"orderId\":7}" },
	{ "send_email", "{\"kind\":\"password_reset\",\"email\":\"a@x.de\"}" },
	{ "order_confirmation", "{\"orderId\":\"short\"}" },
	{ "order_confirmation", "[]" },
};

START_TEST(a_bad_task_is_told_from_one_to_try_again)
{
	ck_assert_int_eq(
	    send_task(TASK, bad_tasks[_i].type, bad_tasks[_i].data),
	    RC_INVALID);
	ck_assert_str_eq(e.code, "bad_task");
	ck_assert_int_eq(mails(), 0);
}
END_TEST

START_TEST(an_order_that_is_not_there_is_nothing)
{
	sql("TRUNCATE orders CASCADE");
	ck_assert_int_eq(send_kind("order_confirmation"), RC_NONE);
}
END_TEST

/* ---- languages and templates */

/* A copy of the templates, changed; what notices_open says of it. */
static enum rc
reopened(const char *change)
{
	shell(arena_printf(arena,
	    "cp -r %s %s/t && chmod -R u+w %s/t && cd %s/t && %s",
	    getenv("SHOP_TEMPLATES"), dir, dir, dir, change));
	shop_close(shop);
	conf_free(conf);
	setenv("SOUK_FCGI_TEMPLATES", at("/t"), 1);
	ck_assert_int_eq(settings_load("", &conf, NULL, &e), RC_OK);
	ck_assert_int_eq(shop_open(conf, "test", NULL, &shop, &e), RC_OK);
	notices_close(notices);
	notices = NULL;
	return notices_open(shop, &notices, &e);
}

START_TEST(an_order_is_written_of_in_its_language)
{
	ck_assert_msg(
	    reopened("sed 's/\"mail_total\": \"Total\"/\"mail_total\": "
		     "\"Summe\"/; s/Thank you for your order/Danke/' "
		     "text.en.json >text.de.json") == RC_OK,
	    "%s", e.msg);
	sql("UPDATE orders SET language = 'de'");
	ck_assert_int_eq(send_kind("order_confirmation"), RC_OK);
	has(part("text"), "Summe: €46.11\n");
	has(part("html"), "<html lang=\"de\">");
	has(part("html"), "Danke");
}
END_TEST

START_TEST(a_language_that_there_is_not_is_the_shops)
{
	sql("UPDATE orders SET language = 'tlh'");
	ck_assert_int_eq(send_kind("order_confirmation"), RC_OK);
	has(part("text"), "Total: €46.11\n");
}
END_TEST

static const struct {
	const char *change, *words;
} changes[] = {
	{ "sed -i 's/mail_order_paid_title/mail_order_piad_title/' "
	  "mail/order_paid.html.mustache",
	    "mail/order_paid.html.mustache:3: no text called "
	    "t.mail_order_piad_title in text.en.json" },
	{ "sed -i '/\"mail_total\"/d' text.en.json",
	    "no text called t.mail_total in text.en.json" },
	{ "grep -v '\"mail_footer\"' text.en.json >text.fr.json",
	    "no text called t.mail_footer in text.fr.json" },
	{ "sed -i '/\"mail_order_paid_subject\"/d' text.en.json",
	    "text.en.json: no text called mail_order_paid_subject" },
	{ "sed -i '/\"mail_reason_other\"/d' text.en.json",
	    "text.en.json: no text called mail_reason_other" },
	{ "rm mail/password_reset.text.mustache", "mail/password_reset.text" },
	{ "rm mail/order.html.mustache", "mail/order.html" },
	{ "echo '{{#open}}' >>mail/order_paid.text.mustache",
	    "mail/order_paid.text:" },
	{ "echo x >>text.en.json", "text.en.json:" },
};

START_TEST(what_is_missing_is_named_at_the_start)
{
	ck_assert_int_eq(reopened(changes[_i].change), RC_INVALID);
	has(e.msg, changes[_i].words);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("notice");
	TCase *tc = tcase_create("notice");
	SRunner *sr;
	int failed;

	if (system("python3 -c pass >/dev/null 2>&1") != 0) {
		(void)printf("skipped: python3 is not installed\n");
		return 77;
	}
	shop_migrate();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, every_kind_says_what_it_is_about, 0,
	    sizeof kinds / sizeof *kinds);
	tcase_add_loop_test(tc, a_cancelled_order_says_why, 0,
	    sizeof reasons / sizeof *reasons);
	tcase_add_test(tc, a_guest_is_told_of_his_link);
	tcase_add_test(tc, a_customer_gets_the_link_and_the_accounts_address);
	tcase_add_test(tc, what_costs_nothing_has_no_line);
	tcase_add_test(tc, a_password_is_reset_by_a_link);
	tcase_add_test(tc, delivered_twice_it_is_one_mail);
	tcase_add_test(tc, sent_and_not_recorded_it_is_one_mail_all_the_same);
	tcase_add_test(tc, one_that_could_not_be_sent_is_not_finished);
	tcase_add_test(tc, an_order_without_an_address_gets_none);
	tcase_add_test(tc, a_decline_that_is_over_is_not_told);
	tcase_add_test(tc, an_address_that_is_none_can_never_be_sent_to);
	tcase_add_loop_test(tc, a_bad_task_is_told_from_one_to_try_again, 0,
	    sizeof bad_tasks / sizeof *bad_tasks);
	tcase_add_test(tc, an_order_that_is_not_there_is_nothing);
	tcase_add_test(tc, an_order_is_written_of_in_its_language);
	tcase_add_test(tc, a_language_that_there_is_not_is_the_shops);
	tcase_add_loop_test(tc, what_is_missing_is_named_at_the_start, 0,
	    sizeof changes / sizeof *changes);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
