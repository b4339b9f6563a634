#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/form.h"
#include "base/strbuf.h"
#include "fcgi-app/page.h"
#include "fcgi-app/page_buy.h"

/* The pages of buying, rendered from records without a server. */

static struct page_ctx *ctx;
static struct strbuf out;
static struct err e;
static struct page_form form;

static void
setup(void)
{
	const char *src = getenv("srcdir");
	char dir[4096];
	const struct page_opts opts = { .templates = dir,
		.name = "Souk",
		.base_url = "https://souk.example/",
		.currency = "USD",
		.language = "en" };

	(void)snprintf(
	    dir, sizeof dir, "%s/templates", src != NULL ? src : ".");
	ck_assert_msg(page_ctx_load(&opts, &ctx, &e) == RC_OK, "%s", e.msg);
	strbuf_init(&out, 0);
	form = (struct page_form){ .token = "tok<en", .sandbox = true };
}

static void
teardown(void)
{
	page_ctx_free(ctx);
	strbuf_release(&out);
}

#define ck_has(what)                                                           \
	ck_assert_msg(strstr(out.s, (what)) != NULL, "no %s", (what))
#define ck_has_not(what)                                                       \
	ck_assert_msg(strstr(out.s, (what)) == NULL, "has %s", (what))

static const char hostile[] = "\"><script>alert(1)</script>{{t.home}}";

/* Takes record: its text, until the next call. */
static struct span
dumped(json_t *record)
{
	static char text[8192];
	char *s = json_dumps(record, JSON_COMPACT);

	(void)snprintf(text, sizeof text, "%s", s);
	free(s);
	json_decref(record);
	return span_of(text);
}

/* One line; problem "" is none, was -1 is as it was. */
static json_t *
a_cart(int quantity, int stock, const char *problem, int was)
{
	json_t *line = json_pack("{s:i,s:i,s:s,s:s,s:n,s:i,s:i,s:i,s:i}",
	    "productId", 42, "variantId", 7, "title", "Blue mug",
	    "variantTitle", "Large", "image", "quantity", quantity, "price",
	    2550, "total", 2550 * quantity, "stock", stock);

	json_object_set_new(line, "problem",
	    *problem == '\0' ? json_null() : json_string(problem));
	json_object_set_new(
	    line, "priceWas", was < 0 ? json_null() : json_integer(was));
	return json_pack("{s:[o],s:i,s:i,s:i,s:i,s:i,s:s,s:b}", "lines", line,
	    "count", quantity, "subtotal", 2550 * quantity, "shipping", 500,
	    "tax", 250, "total", 2550 * quantity + 750, "currency", "USD",
	    "ready", *problem == '\0');
}

static void
show_cart(json_t *cart)
{
	ck_assert_msg(
	    page_cart_render(ctx, dumped(cart), &form, &out, &e) == RC_OK, "%s",
	    e.msg);
}

START_TEST(cart_shows_lines_and_what_they_cost_together)
{
	show_cart(a_cart(2, 9, "", -1));
	ck_has(">Blue mug</a>");
	ck_has("name=\"q_7\"");
	ck_has("$25.50 each");
	ck_has("</span>$51.00</p>");
	ck_has("<dd>$5.00</dd>");
	ck_has("<dd>$2.50</dd>");
	ck_has("<dd>$58.50</dd>");
	ck_has("value=\"checkout\"");
	ck_has("value=\"tok&lt;en\"");
	ck_has_not("class=\"line-note\"");
	ck_has("noindex");
}
END_TEST

static const struct {
	const char *problem;
	int stock;
	const char *words;
} problems[] = {
	{ "unavailable", 0, "no longer sold" },
	{ "sold_out", 0, "Sold out for now" },
	{ "not_enough", 1, "Only 1 left" },
};

START_TEST(cart_says_why_a_line_cannot_be_bought)
{
	show_cart(a_cart(2, problems[_i].stock, problems[_i].problem, -1));
	ck_has(problems[_i].words);
	ck_has("aria-describedby=\"n-7-1\"");
	ck_has("id=\"n-7-1\"");
	ck_has_not("value=\"checkout\"");
}
END_TEST

START_TEST(cart_says_what_a_price_was)
{
	show_cart(a_cart(1, 9, "", 2000));
	ck_has("The price was $20.00");
	ck_has("value=\"checkout\"");
}
END_TEST

START_TEST(hostile_words_are_words)
{
	json_t *cart = a_cart(1, 9, "", -1);
	json_t *line = json_array_get(json_object_get(cart, "lines"), 0);

	json_object_set_new(line, "title", json_string(hostile));
	json_object_set_new(line, "variantTitle", json_string(hostile));
	show_cart(cart);
	ck_has_not("<script>alert");
	ck_has("&lt;script&gt;alert(1)&lt;/script&gt;{{t.home}}");
}
END_TEST

START_TEST(what_is_said_is_read_out)
{
	form.say = "sold_out";
	show_cart(a_cart(1, 9, "", -1));
	ck_has("<p class=\"say say-bad\" role=\"alert\">Sold out");
	strbuf_reset(&out);
	form.say = "added";
	show_cart(a_cart(1, 9, "", -1));
	ck_has("<p class=\"say say-good\" role=\"status\">It is in");
	strbuf_reset(&out);
	form.say = "some_new_code";
	show_cart(a_cart(1, 9, "", -1));
	ck_has("role=\"alert\">That did not work");
}
END_TEST

static void
show_checkout(const char *email, int n, const struct page_check checks[])
{
	ck_assert_msg(page_checkout_render(ctx, dumped(a_cart(2, 9, "", -1)),
			  email, n, checks, &form, &out, &e) == RC_OK,
	    "%s", e.msg);
}

START_TEST(checkout_shows_the_total_and_sends_it_back)
{
	form.key = "0123456789abcdef";
	show_checkout(NULL, 0, NULL);
	ck_has("name=\"key\" value=\"0123456789abcdef\"");
	ck_has("name=\"shown_total\" value=\"5850\"");
	ck_has("Place the order and pay $58.50");
	ck_has("autocomplete=\"shipping address-line1\"");
	ck_has("No account needed");
	ck_has("value=\"tok_declined\"");
	ck_has_not("id=\"errors\"");
}
END_TEST

START_TEST(checkout_knows_the_customer)
{
	show_checkout("bo@example.com", 0, NULL);
	ck_has("value=\"bo@example.com\"");
	ck_has_not("No account needed");
}
END_TEST

START_TEST(mistakes_are_tied_to_their_fields_and_what_was_typed_stays)
{
	static const struct field typed[] = { { "email", hostile },
		{ "payment_token", "tok_slow" } };
	static const struct fields sent = { 2, typed };
	static const struct page_check checks[] = { { "email", "invalid" },
		{ "city", "missing" } };

	form.sent = &sent;
	show_checkout("bo@example.com", 2, checks);
	ck_has("<a href=\"#f-email\">E-mail: this does not");
	ck_has("<a href=\"#f-city\">City: please");
	ck_has("required aria-invalid=\"true\" aria-describedby=\"e-city\"");
	ck_has("id=\"e-city\"");
	ck_has("value=\"&quot;&gt;&lt;script");
	ck_has("value=\"tok_slow\" checked");
	ck_has_not("value=\"tok_ok\" checked");
	ck_has_not("<script>alert");
}
END_TEST

START_TEST(without_the_sandbox_no_test_card_is_offered)
{
	form.sandbox = false;
	show_checkout(NULL, 0, NULL);
	ck_has_not("tok_ok");
	ck_has("not set up on this page");
}
END_TEST

/* ---- an order */

static const char order_id[] = "0123456789abcdef0123456789abcdef";

static void
show_order(const char *status, const char *payment, const char *reason,
    const char *access)
{
	json_t *order = json_pack("{s:s,s:s,s:s,s:[{s:i,s:i,s:s,s:s,s:i,s:i}],"
				  "s:i,s:i,s:i,s:s,s:s,s:s,"
				  "s:{s:s,s:s}}",
	    "id", order_id, "status", status, "reason", reason, "items",
	    "productId", 42, "variantId", 7, "title", "Blue mug",
	    "variantTitle", "Large", "quantity", 2, "price", 2550, "shipping",
	    500, "tax", 0, "total", 5600, "currency", "USD", "createdAt",
	    "2026-11-22T18:00:00Z", "expiresAt", "2026-11-22T18:15:00Z",
	    "payment", "status", payment, "error", "Your <card> was declined.");

	ck_assert_msg(page_order_render(
			  ctx, dumped(order), access, &form, &out, &e) == RC_OK,
	    "%s", e.msg);
}

static const struct {
	const char *status, *payment, *words;
	bool steps, watch, cancel, pay;
} orders[] = {
	{ "pending", "", "setting your things aside", true, true, true, false },
	{ "reserved", "new", "payment is under way", true, true, true, false },
	{ "reserved", "declined", "not paid for yet", true, true, true, true },
	{ "paid", "captured", "Paid. Thank you", true, false, false, false },
	{ "fulfilled", "captured", "on its way", true, false, false, false },
	{ "cancelled", "cancelled", "was cancelled", false, false, false,
	    false },
	{ "refunded", "refunded", "was refunded", false, false, false, false },
};

static void
ck_there(const char *what, bool want)
{
	ck_assert_msg((strstr(out.s, what) != NULL) == want, "%s: %s", what,
	    want ? "missing" : "there");
}

START_TEST(order_offers_what_its_state_allows)
{
	show_order(orders[_i].status, orders[_i].payment, "", "");
	ck_has(orders[_i].words);
	ck_there("class=\"steps\"", orders[_i].steps);
	ck_there("data-watch=\"/api/orders/0123456789abcdef"
		 "0123456789abcdef\"",
	    orders[_i].watch);
	ck_there("/cancel\"", orders[_i].cancel);
	ck_there("/payment\"", orders[_i].pay);
	ck_there("Your &lt;card&gt; was declined.", orders[_i].pay);
	ck_there("Held for you until 22 November 2026, 18:15 UTC",
	    orders[_i].cancel);
	ck_has("2 × <a href=\"/products/42\">Blue mug</a>, Large</span>");
	ck_has("<dd>$56.00</dd>");
	ck_has_not("name=\"t\"");
}
END_TEST

START_TEST(order_says_why_it_was_cancelled)
{
	show_order("cancelled", "cancelled", "expired", "");
	ck_has("It was not paid in time.");
}
END_TEST

START_TEST(guests_order_keeps_its_token_in_its_forms)
{
	show_order("reserved", "declined", "", "AbC-_x");
	ck_has("?t=AbC-_x\"");
	ck_has("name=\"t\" value=\"AbC-_x\"");
	ck_has("Keep the address");
}
END_TEST

START_TEST(order_of_an_unknown_state_is_our_fault)
{
	struct span order = span_of("{\"status\":\"lost\",\"items\":[]}");

	ck_assert_int_eq(
	    page_order_render(ctx, order, "", &form, &out, &e), RC_FAIL);
	ck_assert_uint_eq(out.len, 0);
}
END_TEST

/* ---- confirming a purchase */

static enum rc
show_confirm(const char *state, int64_t variant, const char *now)
{
	json_t *sale = json_pack(
	    "{s:i,s:s,s:s,s:s,s:s,s:[{s:i,s:i,s:s,s:s,s:n,s:i,s:i,s:i,s:s},"
	    "{s:i,s:i,s:s,s:s,s:n,s:i,s:i,s:i,s:s}]}",
	    "id", 3, "title", "Sale", "startsAt", "2026-11-22T18:00:00Z",
	    "endsAt", "2026-11-22T19:00:00Z", "currency", "USD", "items",
	    "productId", 42, "variantId", 7, "title", "Blue mug",
	    "variantTitle", "S", "image", "price", 900, "regularPrice", 2550,
	    "limit", 1, "state", state, "productId", 42, "variantId", 8,
	    "title", "Blue mug", "variantTitle", "L", "image", "price", 1000,
	    "regularPrice", 2550, "limit", 2, "state", state);
	int64_t now_ms;

	ck_assert_int_eq(time_parse(now, 0, &now_ms), 0);
	strbuf_reset(&out);
	return page_confirm_render(
	    ctx, dumped(sale), 42, variant, now_ms, &form, &out, &e);
}

START_TEST(confirm_page_offers_the_sale_price_while_it_runs)
{
	ck_assert_int_eq(
	    show_confirm("open", 8, "2026-11-22T18:00:00Z"), RC_OK);
	ck_has("action=\"/buy/3/42?variant=8\"");
	ck_has("Buy for $10.00");
	ck_has("<s>");
	ck_has("Up to 2 per person");
	ck_has_not("role=\"alert\"");
}
END_TEST

static const struct {
	const char *state, *now, *words;
} closed[] = {
	{ "open", "2026-11-22T17:59:59Z", "has not started" },
	{ "draft", "2026-11-22T18:30:00Z", "has not started" },
	{ "open", "2026-11-22T19:00:00Z", "has ended" },
	{ "closed", "2026-11-22T18:30:00Z", "has ended" },
};

START_TEST(confirm_page_has_no_button_outside_of_the_sale)
{
	ck_assert_int_eq(
	    show_confirm(closed[_i].state, 7, closed[_i].now), RC_OK);
	ck_has(closed[_i].words);
	ck_has_not("value=\"buy\"");
}
END_TEST

START_TEST(confirm_page_wants_to_know_which)
{
	ck_assert_int_eq(
	    show_confirm("open", 0, "2026-11-22T18:30:00Z"), RC_NONE);
	ck_assert_int_eq(
	    show_confirm("open", 9, "2026-11-22T18:30:00Z"), RC_NONE);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("pages of buying");
	TCase *tc = tcase_create("render");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, cart_shows_lines_and_what_they_cost_together);
	tcase_add_loop_test(tc, cart_says_why_a_line_cannot_be_bought, 0,
	    (int)(sizeof problems / sizeof *problems));
	tcase_add_test(tc, cart_says_what_a_price_was);
	tcase_add_test(tc, hostile_words_are_words);
	tcase_add_test(tc, what_is_said_is_read_out);
	tcase_add_test(tc, checkout_shows_the_total_and_sends_it_back);
	tcase_add_test(tc, checkout_knows_the_customer);
	tcase_add_test(
	    tc, mistakes_are_tied_to_their_fields_and_what_was_typed_stays);
	tcase_add_test(tc, without_the_sandbox_no_test_card_is_offered);
	tcase_add_loop_test(tc, order_offers_what_its_state_allows, 0,
	    (int)(sizeof orders / sizeof *orders));
	tcase_add_test(tc, order_says_why_it_was_cancelled);
	tcase_add_test(tc, guests_order_keeps_its_token_in_its_forms);
	tcase_add_test(tc, order_of_an_unknown_state_is_our_fault);
	tcase_add_test(tc, confirm_page_offers_the_sale_price_while_it_runs);
	tcase_add_loop_test(tc, confirm_page_has_no_button_outside_of_the_sale,
	    0, (int)(sizeof closed / sizeof *closed));
	tcase_add_test(tc, confirm_page_wants_to_know_which);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
