/* soukctl sale: plan flash sales, run them, and see how they stand. */
#include "ctl/ctl.h"

#include <jansson.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/span.h"
#include "shop/sale.h"
#include "shop/sale_run.h"

static enum rc
item_args(const struct ctl_args *args, struct sale_item_req *req, struct err *e)
{
	enum rc rc;

	*req = (struct sale_item_req){ .price = -1 };
	if (ctl_value(args, "product") == NULL ||
	    ctl_value(args, "allotment") == NULL)
		return ctl_usage(
		    e, "--product ID and --allotment N are needed");
	if ((rc = ctl_int(args, "product", 1, INT64_MAX, &req->product_id,
		 e)) != RC_OK ||
	    (rc = ctl_int(args, "variant", 1, INT64_MAX, &req->variant_id,
		 e)) != RC_OK ||
	    (rc = ctl_int(args, "allotment", 1, SALE_MAX_ALLOTMENT,
		 &req->allotment, e)) != RC_OK ||
	    (rc = ctl_int(args, "limit", 1, SALE_MAX_LIMIT, &req->limit, e)) !=
		RC_OK)
		return rc;
	return ctl_int(args, "price", 0, INT64_MAX, &req->price, e);
}

static void
say_made(const struct ctl *ctl, const struct sale_item_req *req,
    const struct sale_made *made)
{
	if (made->stock < req->allotment)
		ctl_say(ctl,
		    "variant %lld has %lld in stock now, less than the "
		    "allotment of %lld, which opening will take out of it",
		    (long long)made->variant_id, (long long)made->stock,
		    (long long)req->allotment);
}

static enum rc
create_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct sale_req req = { .title = ctl_value(args, "title"),
		.start = ctl_value(args, "start"),
		.end = ctl_value(args, "end") };
	struct sale_made made;
	struct sale_window window;
	struct shop *shop;
	enum rc rc;

	if ((rc = item_args(args, &req.item, e)) != RC_OK)
		return rc;
	/* How a time is written is usage; that it ends too early is not. */
	rc = sale_window(req.start, NULL, clock_wall_ms(), &window, e);
	if (rc == RC_OK)
		rc = sale_window("1970-01-01T00:00:00Z", req.end,
		    clock_wall_ms(), &window, e);
	if (rc != RC_OK)
		return ctl_usage(e, "%s", e->msg);
	if ((rc = ctl_shop(ctl, &shop, e)) != RC_OK ||
	    (rc = sale_create(shop, &req, ctl->arena, &made, e)) != RC_OK)
		return rc;
	if (ctl->json)
		ctl_print_json(
		    json_pack("{s:I}", "saleId", (json_int_t)made.sale_id));
	else
		(void)printf("%lld\n", (long long)made.sale_id);
	say_made(ctl, &req.item, &made);
	return RC_OK;
}

static enum rc
add_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct sale_item_req req;
	struct sale_made made;
	struct shop *shop;
	int64_t sale = 0;
	enum rc rc;

	if ((rc = ctl_operand_int(args, 0, "SALE", &sale, e)) != RC_OK ||
	    (rc = item_args(args, &req, e)) != RC_OK ||
	    (rc = ctl_shop(ctl, &shop, e)) != RC_OK ||
	    (rc = sale_add(shop, sale, &req, ctl->arena, &made, e)) != RC_OK)
		return rc;
	say_made(ctl, &req, &made);
	return RC_OK;
}

/* Members of an object as one tab-separated line. */
static void
line_print(const json_t *object, const char *const names[])
{
	for (int i = 0; names[i] != NULL; i++) {
		const json_t *v = json_object_get(object, names[i]);

		if (i > 0)
			(void)putchar('\t');
		if (json_is_string(v))
			(void)fputs(json_string_value(v), stdout);
		else
			(void)json_dumpf(v, stdout, JSON_ENCODE_ANY);
	}
	(void)putchar('\n');
}

static void
lines_print(const json_t *array, const char *const names[])
{
	const json_t *v;
	size_t i;

	json_array_foreach(array, i, v) line_print(v, names);
}

static enum rc
status_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	static const char *const columns[] = { "productId", "variantId",
		"allotment", "left", "held", "sold", "epoch", "armed", NULL };
	struct shop *shop;
	struct span json;
	json_t *tree;
	int64_t id;
	enum rc rc;

	if ((rc = ctl_operand_int(args, 0, "SALE", &id, e)) != RC_OK ||
	    (rc = ctl_shop(ctl, &shop, e)) != RC_OK ||
	    (rc = sale_status(shop, id, ctl->arena, &json, e)) != RC_OK)
		return rc;
	if (ctl->json) {
		(void)puts(json.p);
		return RC_OK;
	}
	tree = json_loadb(json.p, json.n, 0, NULL);
	ctl_say(ctl,
	    "sale %lld is %s\n"
	    "product\tvariant\tallotted\tleft\theld\tsold\tepoch\tarmed",
	    (long long)id, json_string_value(json_object_get(tree, "state")));
	lines_print(json_object_get(tree, "items"), columns);
	json_decref(tree);
	return RC_OK;
}

static enum rc
list_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	static const char *const columns[] = { "saleId", "state", "startsAt",
		"endsAt", "items", "title", NULL };
	struct shop *shop;
	struct span json;
	json_t *tree;
	enum rc rc;

	(void)args;
	if ((rc = ctl_shop(ctl, &shop, e)) != RC_OK ||
	    (rc = sale_list(shop, ctl->arena, &json, e)) != RC_OK)
		return rc;
	if (ctl->json) {
		(void)puts(json.p);
		return RC_OK;
	}
	tree = json_loadb(json.p, json.n, 0, NULL);
	lines_print(tree, columns);
	json_decref(tree);
	return RC_OK;
}

static enum rc
open_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct shop *shop;
	int64_t id;
	enum rc rc;

	if ((rc = ctl_operand_int(args, 0, "SALE", &id, e)) != RC_OK ||
	    (rc = ctl_shop(ctl, &shop, e)) != RC_OK ||
	    (rc = sale_open(shop, id, ctl->arena, e)) != RC_OK)
		return rc;
	ctl_say(ctl, "sale %lld is open", (long long)id);
	return RC_OK;
}

static enum rc
close_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct shop *shop;
	int64_t id;
	enum rc rc;

	if ((rc = ctl_operand_int(args, 0, "SALE", &id, e)) != RC_OK ||
	    (rc = ctl_shop(ctl, &shop, e)) != RC_OK ||
	    (rc = sale_close(shop, id, ctl->arena, e)) != RC_OK)
		return rc;
	ctl_say(ctl, "sale %lld is closed for good", (long long)id);
	return RC_OK;
}

/* A difference: a line, or a string in the list. */
static void
difference_print(void *arg, const char *words)
{
	json_t *list = arg;

	if (list != NULL)
		(void)json_array_append_new(list, json_string(words));
	else
		(void)puts(words);
	(void)fflush(stdout);
}

/*
 * What cannot be looked at is 111 whatever the reason, so that 1 always means
 * that there are differences; but no such sale is the caller's mistake.
 */
static enum rc
look_run(
    struct ctl *ctl, const struct ctl_args *args, bool repair, struct err *e)
{
	json_t *list = ctl->json ? json_array() : NULL;
	struct shop *shop;
	int64_t id = 0;
	int n = 0;
	enum rc rc = RC_OK;

	if (args->n > 0)
		rc = ctl_operand_int(args, 0, "SALE", &id, e);
	if (rc == RC_OK)
		rc = ctl_shop(ctl, &shop, e);
	if (rc == RC_OK) {
		rc = sale_check(shop, id, repair, difference_print, list, &n,
		    ctl->arena, e);
		if (rc != RC_OK && rc != RC_NONE)
			rc = err_set(e, RC_RETRY, "cannot_look",
			    "could not look: %.300s",
			    arena_strdup(ctl->arena, e->msg));
	}
	if (rc == RC_OK && list != NULL)
		ctl_print_json(json_incref(list));
	json_decref(list);
	if (rc != RC_OK)
		return rc;
	if (n == 0) {
		ctl_say(
		    ctl, repair ? "nothing is left to mend" : "no differences");
		return RC_OK;
	}
	return err_set(e, RC_REFUSED, "differences", "%d %s", n,
	    repair ? "could not be mended" : "differences");
}

static enum rc
check_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	return look_run(ctl, args, false, e);
}

static enum rc
repair_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	return look_run(ctl, args, true, e);
}

#define ITEM_OPTS                                                              \
	{ "product", "ID", "what is sold: the number in its page's address" }, \
	    { "variant", "ID",                                                 \
		    "which; left out where there is a choice: "                \
		    "says which there are" },                                  \
	    { "allotment", "N", "how many units" },                            \
	    { "limit", "N", "units a buyer may have (1)" },                    \
	{                                                                      \
		"price", "MINOR",                                              \
		    "in minor units: 1250 is 12.50 (the variant's own)"        \
	}

static const struct ctl_opt create_opts[] = {
	ITEM_OPTS,
	{ "start", "T", "RFC 3339, now or +1h (now)" },
	{ "end", "T", "likewise (one hour after the start)" },
	{ "title", "T", "of the sale's page (the product's)" },
	{ 0 },
};

static const struct ctl_opt add_opts[] = {
	ITEM_OPTS,
	{ 0 },
};

const struct ctl_cmd sale_cmds[] = {
	{ .name = "sale create",
	    .operands = "",
	    .help = "plan a flash sale of one variant and print its id",
	    .opts = create_opts,
	    .run = create_run },
	{ .name = "sale add",
	    .operands = "SALE",
	    .min = 1,
	    .max = 1,
	    .help = "put one more variant into a sale",
	    .opts = add_opts,
	    .run = add_run },
	{ .name = "sale open",
	    .operands = "SALE",
	    .min = 1,
	    .max = 1,
	    .help = "open it: takes the allotments out of the stock",
	    .run = open_run },
	{ .name = "sale close",
	    .operands = "SALE",
	    .min = 1,
	    .max = 1,
	    .help = "end it for good; what is unsold goes back to the stock",
	    .run = close_run },
	{ .name = "sale check",
	    .operands = "[SALE]",
	    .min = 0,
	    .max = 1,
	    .help = "name what orders, counter and tasks differ in; exit 1: "
		    "something",
	    .run = check_run },
	{ .name = "sale repair",
	    .operands = "[SALE]",
	    .min = 0,
	    .max = 1,
	    .help = "mend what check finds; exit 1: some needs a person",
	    .run = repair_run },
	{ .name = "sale status",
	    .operands = "SALE",
	    .min = 1,
	    .max = 1,
	    .help = "how each item of a sale stands",
	    .run = status_run },
	{ .name = "sale list",
	    .operands = "",
	    .help = "the sales there are, newest first",
	    .run = list_run },
	{ 0 },
};
