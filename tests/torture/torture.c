/*
 * Whatever the shop asks of PostgreSQL, Redis, the provider or a file system
 * fails once: the first call of an operation, then the second, and so on, each
 * before it was done and after (fault.h). The operation is then tried again as
 * its client or worker would, and what must be true of a shop is looked at
 * (world.h). The same for every allocation, in a child that dies of it.
 *
 * The idea is that of curl's torture tests.
 *
 * TORTURE_SAMPLE=n: every nth call and allocation, from a place that
 * TORTURE_SEED says; 1: all. TORTURE_ONLY=name: that operation alone;
 * TORTURE_NTH: that call alone.
 */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/xmalloc.h"
#include "fault.h"
#include "shop/event.h"
#include "shop/ids.h"
#include "shop/order.h"
#include "shop/payment.h"
#include "shop/purchase.h"
#include "shop/sale.h"
#include "store/mail.h"
#include "store/outbox.h"
#include "store/turn.h"
#include "world.h"

static int sample = 1, seed = 1, only_nth;

/* ---- operations */

/* The same in every process. */
static const char *
order_id(int n)
{
	return arena_printf(arena, "%032d", n);
}

static enum rc
buy_as(int id, int64_t customer, const char *token, struct err *err)
{
	static const unsigned char hash[32] = { 1, 2, 3 };
	struct purchase_req req = { .id = order_id(id),
		.keyed = true,
		.body_hash = hash,
		.customer_id = customer,
		.email =
		    customer == world.customer ? "one@x.test" : "two@x.test",
		.sale_id = world.sale_id,
		.product_id = world.product,
		.token = token,
		.deadline = deadline_in(8000) };
	struct purchase bought = { 0 };

	return purchase(shop, &req, arena, &bought, err);
}

static enum rc
buy(struct err *err)
{
	return buy_as(world.id, world.customer, "tok_ok", err);
}

static enum rc
place_as(const char *token, struct err *err)
{
	static const unsigned char hash[32] = { 4, 5, 6 };
	struct order_line_req line = { world.product, world.variant, 2 };
	struct order_req req = { .id = order_id(world.id),
		.body_hash = hash,
		.customer_id = world.customer,
		.email = "one@x.test",
		.n = 1,
		.lines = &line,
		.token = token };
	struct span json;
	bool again;

	return order_place(shop, &req, arena, &json, &again, err);
}

static enum rc
place(struct err *err)
{
	return place_as("tok_ok", err);
}

static enum rc
cancel(struct err *err)
{
	struct order_who who = { .customer_id = world.customer };
	struct span json;

	return order_cancel(shop, order_id(world.id), &who, arena, &json, err);
}

static enum rc
pay_again(struct err *err)
{
	struct order_who who = { .customer_id = world.customer };
	struct span json;

	return order_pay(
	    shop, order_id(world.id), &who, "tok_ok", arena, &json, err);
}

static enum rc
expire(struct err *err)
{
	int n;

	return order_expire(shop, 100, arena, &n, err);
}

static enum rc
open_sale(struct err *err)
{
	return sale_open(shop, world.sale_id, arena, err);
}

static enum rc
close_sale(struct err *err)
{
	return sale_close(shop, world.sale_id, arena, err);
}

static enum rc
arm_sale(struct err *err)
{
	return sale_arm(shop, world.ref, arena, err);
}

static enum rc
reconcile(struct err *err)
{
	return reconcile_clocks[0].run(&work, err);
}

static enum rc
inventory(struct err *err)
{
	return world_work("inventory", err);
}

static enum rc
payment(struct err *err)
{
	return world_work("payment", err);
}

static enum rc
email(struct err *err)
{
	return world_work("email", err);
}

static enum rc
analytics(struct err *err)
{
	return world_work("analytics", err);
}

static enum rc
housekeeping(struct err *err)
{
	enum rc rc = world_work("housekeeping", err), worst = rc;

	for (const struct clock_row *r = housekeeping_clocks; r->name != NULL;
	     r++) {
		struct err one = ERR_INIT;

		rc = r->leader ? turn_take(shop->pg, r->name, r->every_ms,
				     arena, &one)
			       : RC_OK;
		if (rc == RC_OK)
			rc = r->run(&work, &one);
		if (rc == RC_NONE)
			rc = RC_OK;
		if (rc != RC_OK && worst == RC_OK) {
			worst = rc;
			*err = one;
		}
	}
	return worst;
}

static enum rc
tell_event(struct err *err)
{
	json_t *body =
	    json_pack("{s:s, s:{s:i}}", "name", "looked", "data", "product", 1);
	enum rc rc = event_accept(shop, body, world.customer, arena, err);

	json_decref(body);
	return rc;
}

static enum rc
mail_again(struct err *err)
{
	struct mail *mail = NULL;
	char url[128];

	(void)snprintf(url, sizeof url, "maildir:%s", world_maildir());
	enum rc rc = mail_open(
	    &(struct mail_opts){
		.url = url, .from = "Shop <shop@x.test>", .timeout_ms = 1000 },
	    &mail, err);

	mail_close(mail);
	return rc;
}

/* ---- given; these must work */

static void
must(enum rc (*op)(struct err *), const char *what)
{
	struct err err = ERR_INIT;
	enum rc rc = op(&err);

	ck_assert_msg(rc == RC_OK, "%s: %s: %s", what, err.code, err.msg);
}

static void
nothing(void)
{
}

static void
unarmed(void)
{
	given_item("open");
}

static void
armed(void)
{
	given_item("open");
	given_counter();
}

static void
bought(void)
{
	armed();
	must(buy, "buy");
}

/* The first three are somebody else's. */
static void
sold_out(void)
{
	struct err err = ERR_INIT;

	armed();
	look_run("UPDATE sale_item SET per_buyer = 10");
	given_counter();
	for (int i = 0; i < ALLOTMENT; i++) {
		int64_t who = look_int("INSERT INTO customer (email) VALUES"
				       " ('x%d@x.test') RETURNING id",
		    i);

		ck_assert_int_eq(buy_as(10 + i, who, "tok_ok", &err), RC_OK);
	}
}

/* He has one under another id. */
static void
had_one(void)
{
	bought();
	world.id = 2;
}

/* Redis says that what was sold is free. */
static void
unit_taken(void)
{
	struct err err = ERR_INIT;

	unarmed();
	given_counter();
	ck_assert_int_eq(buy_as(5, world.other, "tok_ok", &err), RC_OK);
	look_run("DELETE FROM sale_unit");
	counter_lost();
	given_counter();
	look_run(arena_printf(arena,
	    "INSERT INTO sale_unit VALUES (%lld, 1, '%s', '%lld', 1)",
	    (long long)world.item, order_id(5), (long long)world.other));
}

static void
other_epoch(void)
{
	armed();
	look_run("UPDATE sale_item SET epoch = nextval('sale_epoch')");
}

static void
lost(void)
{
	bought();
	world.id = 2;
	world.customer = world.other;
	counter_lost();
}

static void
placed(void)
{
	must(place, "place");
}

static void
placed_too_many(void)
{
	must(place, "place");
	look_run("UPDATE variant SET stock = 1");
	world.total = 1;
}

static void
reserved(void)
{
	placed();
	must(inventory, "inventory");
}

static void
cancelled(void)
{
	reserved();
	must(cancel, "cancel");
}

static void
unit_cancelled(void)
{
	bought();
	must(cancel, "cancel");
}

static void
unit_cancelled_unarmed(void)
{
	unit_cancelled();
	counter_lost();
}

static void
bought_declined(void)
{
	struct err err = ERR_INIT;

	armed();
	ck_assert_int_eq(
	    buy_as(world.id, world.customer, "tok_declined", &err), RC_OK);
	world.n_mails = 1; /* that it was */
}

static void
declined(void)
{
	bought_declined();
	must(payment, "payment");
	must(email, "email");
}

static void
bought_lost(void)
{
	struct err err = ERR_INIT;

	armed();
	ck_assert_int_eq(
	    buy_as(world.id, world.customer, "tok_lost", &err), RC_OK);
}

/* The money is gone, nobody was told, and the buyer cancels. */
static void
cancelled_unknown(void)
{
	struct err err = ERR_INIT;

	bought_lost();
	ck_assert_int_eq(payment(&err), RC_RETRY);
	must(cancel, "cancel");
}

static void
paid(void)
{
	bought();
	must(payment, "payment");
}

static void
expired(void)
{
	bought();
	look_run("UPDATE orders SET expires_at = now() - interval '1 s'");
}

static void
cart_expired(void)
{
	reserved();
	look_run("UPDATE orders SET expires_at = now() - interval '1 s'");
}

static void
drafted(void)
{
	given_item("draft");
}

static void
closed(void)
{
	bought();
	must(close_sale, "close");
}

static void
over(void)
{
	bought();
	look_run("UPDATE sale SET ends_at = now() - interval '1 s'");
}

static void
event_told(void)
{
	must(tell_event, "event");
}

/* ---- the table */

struct scenario {
	const char *name;
	void (*given)(void);
	enum rc (*op)(struct err *);
	enum rc says;      /* without a fault */
	const char *code;  /* of RC_REFUSED: or this one, when repeated */
	const char *queue; /* a worker's: until that is empty */
	const char *end;   /* the orders' states, in the end */
};

static const struct scenario scenarios[] = {
	{ "buy", armed, buy, RC_OK, NULL, NULL, "paid" },
	{ "buy_unarmed", unarmed, buy, RC_OK, NULL, NULL, "paid" },
	{ "buy_sold_out", sold_out, buy, RC_REFUSED, "sold_out", NULL,
	    "paid,paid,paid" },
	{ "buy_limit", had_one, buy, RC_REFUSED, "limit_reached", NULL,
	    "paid" },
	{ "buy_again", bought, buy, RC_OK, NULL, NULL, "paid" },
	{ "buy_unit_taken", unit_taken, buy, RC_OK, NULL, NULL, "paid,paid" },
	{ "buy_other_epoch", other_epoch, buy, RC_OK, NULL, NULL, "paid" },
	{ "buy_lost", lost, buy, RC_OK, NULL, NULL, "paid,paid" },
	{ "buy_over", closed, buy, RC_OK, NULL, NULL, "paid" },
	{ "place", nothing, place, RC_OK, NULL, NULL, "paid" },
	{ "place_again", placed, place, RC_OK, NULL, NULL, "paid" },
	{ "decrease", placed, inventory, RC_OK, NULL, "inventory", "paid" },
	{ "decrease_too_many", placed_too_many, inventory, RC_OK, NULL,
	    "inventory", "cancelled" },
	{ "release", cancelled, inventory, RC_OK, NULL, "inventory",
	    "cancelled" },
	{ "release_unit", unit_cancelled, inventory, RC_OK, NULL, "inventory",
	    "cancelled" },
	{ "release_unarmed", unit_cancelled_unarmed, inventory, RC_RETRY, NULL,
	    NULL, "cancelled" },
	{ "pay", bought, payment, RC_OK, NULL, "payment", "paid" },
	{ "pay_cart", reserved, payment, RC_OK, NULL, "payment", "paid" },
	{ "pay_declined", bought_declined, payment, RC_OK, NULL, "payment",
	    "reserved" },
	{ "pay_lost", bought_lost, payment, RC_RETRY, NULL, "payment", "paid" },
	{ "pay_again", declined, pay_again, RC_OK, "payment_in_progress", NULL,
	    "paid" },
	{ "refund", cancelled_unknown, payment, RC_OK, NULL, "payment",
	    "cancelled" },
	{ "email", bought, email, RC_OK, NULL, "email", "paid" },
	{ "email_paid", paid, email, RC_OK, NULL, "email", "paid" },
	{ "analytics", bought, analytics, RC_OK, NULL, "analytics", "paid" },
	{ "analytics_event", event_told, analytics, RC_OK, NULL, "analytics",
	    "" },
	{ "cancel_unit", bought, cancel, RC_OK, NULL, NULL, "cancelled" },
	{ "cancel_closed", closed, cancel, RC_OK, NULL, NULL, "cancelled" },
	{ "cancel_pending", placed, cancel, RC_OK, NULL, NULL, "cancelled" },
	{ "cancel_reserved", reserved, cancel, RC_OK, NULL, NULL, "cancelled" },
	{ "expire_unit", expired, expire, RC_OK, NULL, NULL, "cancelled" },
	{ "expire_cart", cart_expired, expire, RC_OK, NULL, NULL, "cancelled" },
	{ "housekeeping", expired, housekeeping, RC_OK, NULL, NULL,
	    "cancelled" },
	{ "open", drafted, open_sale, RC_OK, "already_open", NULL, "" },
	{ "close", bought, close_sale, RC_OK, NULL, NULL, "paid" },
	{ "arm", unarmed, arm_sale, RC_OK, NULL, NULL, "" },
	{ "arm_lost", lost, arm_sale, RC_OK, NULL, NULL, "paid" },
	{ "reconcile_armed", bought, reconcile, RC_OK, NULL, NULL, "paid" },
	{ "reconcile_lost", lost, reconcile, RC_OK, NULL, NULL, "paid" },
	{ "reconcile_over", over, reconcile, RC_OK, NULL, NULL, "paid" },
	{ "reconcile_taken", unit_taken, reconcile, RC_OK, NULL, NULL, "paid" },
	{ "mail_open", nothing, mail_again, RC_OK, NULL, NULL, "" },
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

/* ---- one fault */

static int n_faults, n_bad;

static void bad(const struct scenario *sc, const char *fault, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

static void
bad(const struct scenario *sc, const char *fault, const char *fmt, ...)
{
	va_list ap;

	n_bad++;
	printf("# %s, %s: ", sc->name, fault);
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static bool
is_final(const struct scenario *sc, enum rc rc, const struct err *err)
{
	return rc == sc->says || rc == RC_OK ||
	       (rc == RC_REFUSED && sc->code != NULL &&
		   strcmp(err->code, sc->code) == 0);
}

/* As its client or worker does, until it has its answer. */
static void
try_again(const struct scenario *sc, const char *fault)
{
	struct err err = ERR_INIT;
	enum rc rc = RC_RETRY;

	for (int i = 0; i < 10; i++) {
		fault_clock_jump(3000);
		look_run("UPDATE sale_item SET armed_at = NULL");
		if (sc->queue != NULL) {
			world_hurry();
			if (!world_has_work(sc->queue))
				return;
		}
		err = (struct err)ERR_INIT;
		rc = sc->op(&err);
		if (sc->queue == NULL && is_final(sc, rc, &err))
			return;
	}
	bad(sc, fault, "it never succeeds: %s %s: %s", rc_name(rc), err.code,
	    err.msg);
}

static void
look_at_the_end(const struct scenario *sc, const char *fault)
{
	const char *wrong, *states;

	world_settle();
	wrong = world_check();
	if (wrong != NULL)
		bad(sc, fault, "%s", wrong);
	states = look("SELECT string_agg(status, ',' ORDER BY id) FROM orders");
	if (strcmp(states, sc->end) != 0)
		bad(sc, fault, "orders are %s, not %s", states, sc->end);
}

/* What a fault may be answered with: never that the input is wrong, or that the
 * rules say no. */
static void
judge(const struct scenario *sc, const char *fault, enum rc rc,
    const struct err *err)
{
	if (is_final(sc, rc, err) || rc == RC_RETRY ||
	    (rc == RC_FAIL && fault_is_file()))
		return;
	bad(sc, fault, "answered %s %s: %s", rc_name(rc), err->code, err->msg);
}

/* false: there are not so many calls. */
static bool
one_fault(const struct scenario *sc, int nth, enum fault_kind kind, bool cold)
{
	static const char *const kinds[] = { "before", "after", "vanished" };
	struct err err = ERR_INIT;
	const char *fault;
	enum rc rc;

	world_wipe();
	sc->given();
	if (cold)
		world_reopen();
	fault_arm(nth, kind);
	rc = sc->op(&err);
	(void)fault_disarm();
	fault = arena_printf(arena, "%s call %d, %s %s", cold ? "cold" : "warm",
	    nth, kinds[kind], fault_what() == NULL ? "none" : fault_what());
	judge(sc, fault, rc, &err);
	if (fault_what() == NULL)
		return false;
	n_faults++;
	try_again(sc, fault);
	look_at_the_end(sc, fault);
	return true;
}

/* Without any: the same end, and how many calls there are. */
static int
no_fault(const struct scenario *sc)
{
	struct err err = ERR_INIT;
	enum rc rc;
	int n;

	world_wipe();
	sc->given();
	fault_arm(0, FAULT_BEFORE);
	rc = sc->op(&err);
	n = fault_disarm();
	if (!is_final(sc, rc, &err) || (rc == RC_OK && sc->says != RC_OK))
		bad(sc, "no fault", "answered %s %s: %s", rc_name(rc), err.code,
		    err.msg);
	try_again(sc, "no fault");
	look_at_the_end(sc, "no fault");
	return n;
}

/* What a sample begins with: another one for each operation. */
static int
first_of(int i, int every)
{
	return 1 +
	       (int)((unsigned)(seed * 7919 + i * 104729) % (unsigned)every);
}

/* Every call, or a sample of them. */
static void
calls_fail(int which, bool cold)
{
	const struct scenario *sc = &scenarios[which];

	for (int kind = 0; kind < FAULT_KINDS; kind++) {
		/* Fewer calls count for the last one. */
		int every = (cold ? sample * 6 : sample) /
				(kind == FAULT_VANISH ? 4 : 1) +
			    (kind == FAULT_VANISH);
		int nth = first_of(which * 6 + kind * 2 + cold, every);

		if (only_nth != 0)
			(void)one_fault(
			    sc, only_nth, (enum fault_kind)kind, cold);
		else
			while (one_fault(sc, nth, (enum fault_kind)kind, cold))
				nth += every;
	}
}

/* ---- memory */

struct shared {
	int count;
	bool hit;
};

/* A process of its own, in whose nth allocation there is no memory left. */
static int
child_run(const struct scenario *sc, int nth, struct shared *shared)
{
	struct err err = ERR_INIT;
	pid_t pid = fork();
	int status = 0;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)!freopen("/dev/null", "w", stderr);
		world_forked();
		fault_memory_arm(nth);
		(void)!sc->op(&err);
		shared->count = fault_memory_disarm();
		shared->hit = fault_memory_hit();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void
allocations_fail(int which, struct shared *shared, int *dead)
{
	const struct scenario *sc = &scenarios[which];
	int every, status;

	world_wipe();
	sc->given();
	status = child_run(sc, 0, shared);
	ck_assert_msg(status == 0, "%s: status %x", sc->name, status);
	every = sample == 1 ? 16 : shared->count / 4 + 1;
	if (every > sample * 16)
		every = sample * 16;
	for (int nth = only_nth ? only_nth : first_of(which, every);;) {
		const char *fault;

		world_wipe();
		sc->given();
		shared->hit = false;
		status = child_run(sc, nth, shared);
		fault = arena_printf(arena, "allocation %d", nth);
		if (status == 0 && !shared->hit)
			break;
		n_faults++;
		*dead += status != 0;
		if (status != 0 &&
		    (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_AGAIN))
			bad(sc, fault, "ended with %s %d",
			    WIFEXITED(status) ? "status" : "signal",
			    WIFEXITED(status) ? WEXITSTATUS(status)
					      : WTERMSIG(status));
		try_again(sc, fault);
		look_at_the_end(sc, fault);
		if (only_nth != 0)
			break;
		/* All of the first ones of a whole run. */
		nth += sample == 1 && nth < 200 ? 1 : every;
	}
}

START_TEST(whatever_fails_the_books_are_right)
{
	const struct scenario *sc = &scenarios[_i];
	const char *only = getenv("TORTURE_ONLY");
	struct shared *shared;
	int calls, dead = 0, warm, cold;
	int64_t start = clock_wall_ms();

	if (only != NULL && strcmp(only, sc->name) != 0)
		return;
	world_open();
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	calls = no_fault(sc);
	calls_fail(_i, false);
	warm = n_faults;
	calls_fail(_i, true);
	cold = n_faults - warm;
	allocations_fail(_i, shared, &dead);
	printf("# %s: %d calls; failed: %d, at first use %d, allocations %d of"
	       " %d, which ended %d; %d ms\n",
	    sc->name, calls, warm, cold, n_faults - warm - cold, shared->count,
	    dead, (int)(clock_wall_ms() - start));
	(void)munmap(shared, sizeof *shared);
	world_close();
	fault_clock_reset(); /* libcheck measures, too */
	ck_assert_msg(n_bad == 0, "%s: %d", sc->name, n_bad);
}
END_TEST

static int
number_of(const char *name, int dflt)
{
	const char *s = getenv(name);

	return s == NULL || *s == '\0' ? dflt : atoi(s);
}

int
main(void)
{
	Suite *s = suite_create("torture");
	TCase *tc = tcase_create("torture");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sample = number_of("TORTURE_SAMPLE", 1);
	seed = number_of("TORTURE_SEED", 1);
	only_nth = number_of("TORTURE_NTH", 0);
	printf("# sample %d, seed %d\n", sample, seed);
	if (!redis_server_installed()) {
		printf("no redis-server\n");
		return 77;
	}
	buying_migrate();
	tcase_set_timeout(tc, 900);
	tcase_add_loop_test(
	    tc, whatever_fails_the_books_are_right, 0, SCENARIOS);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
