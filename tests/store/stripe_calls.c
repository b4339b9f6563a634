/*
 * stripe_calls API_BASE TIMEOUT_MS: drives the shop's Stripe adapter for
 * tests/stripe/stripe.mjs. Reads a call a line from stdin, answers a JSON line:
 *
 *	create ORDER AMOUNT CURRENCY EMAIL|-
 *	confirm ORDER INTENT ATTEMPT TOKEN|-
 *	look INTENT, find ORDER, cancel ORDER INTENT, refund ORDER INTENT
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "store/pay.h"

enum { WORDS = 5 };

static const char *const outcomes[] = { [PAY_OPEN] = "open",
	[PAY_DECLINED] = "declined",
	[PAY_PAID] = "paid",
	[PAY_CANCELLED] = "cancelled",
	[PAY_PENDING] = "pending" };

static const char *
word(const char *s)
{
	return strcmp(s, "-") == 0 ? "" : s;
}

static enum rc
call(struct pay *pay, char *w[], struct arena *arena, struct pay_intent *out,
    struct err *e)
{
	struct pay_order order = { .order_id = w[1],
		.amount = atoll(w[2]),
		.currency = w[3],
		.email = word(w[4]) };

	if (strcmp(w[0], "create") == 0)
		return pay_create(pay, &order, arena, out, e);
	if (strcmp(w[0], "confirm") == 0)
		return pay_confirm(
		    pay, &order, w[2], atoi(w[3]), word(w[4]), arena, out, e);
	if (strcmp(w[0], "look") == 0)
		return pay_look(pay, w[1], arena, out, e);
	if (strcmp(w[0], "find") == 0)
		return pay_find(pay, w[1], arena, out, e);
	if (strcmp(w[0], "cancel") == 0)
		return pay_cancel(pay, &order, w[2], arena, out, e);
	return pay_refund(pay, &order, w[2], arena, out, e);
}

int
main(int argc, char **argv)
{
	struct arena *arena = arena_new();
	struct pay *pay = NULL;
	struct err e = ERR_INIT;
	char line[1024];

	if (argc != 3 || pay_open(&(struct pay_opts){ .url = "stripe:",
				      .secret_key = "sk_test_x",
				      .api_base = argv[1],
				      .timeout_ms = atoi(argv[2]) },
			     &pay, &e) != RC_OK) {
		(void)fprintf(stderr, "stripe_calls: %s\n", e.msg);
		return 2;
	}
	while (fgets(line, sizeof line, stdin) != NULL) {
		char *w[WORDS], *p = line;
		struct pay_intent out = { .id = "", .error = "" };

		line[strcspn(line, "\n")] = '\0';
		for (int i = 0; i < WORDS; i++) {
			w[i] = p;
			p += strcspn(p, " ");
			if (*p != '\0')
				*p++ = '\0';
		}
		e = (struct err)ERR_INIT;
		enum rc rc = call(pay, w, arena, &out, &e);
		json_t *answer =
		    rc == RC_OK
			? json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "rc",
			      rc_name(rc), "id", out.id, "outcome",
			      outcomes[out.outcome], "amount",
			      (json_int_t)out.amount, "refunded",
			      (json_int_t)out.refunded, "error", out.error)
			: json_pack("{s:s, s:s, s:s}", "rc", rc_name(rc),
			      "code", e.code, "msg", e.msg);

		(void)json_dumpf(answer, stdout, JSON_COMPACT);
		(void)putchar('\n');
		(void)fflush(stdout);
		json_decref(answer);
		arena_reset(arena);
	}
	pay_close(pay);
	arena_free(arena);
	return 0;
}
