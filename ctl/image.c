/* soukctl image: the shop's own pictures. */
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/xmalloc.h"
#include "shop/image.h"
#include "shop/shop.h"
#include "store/outbox.h"

enum { AT_A_TIME = 100, LIMIT = 1000 };

/* Workers hear of it now, not within a second. */
static void
wake(struct ctl *ctl, struct shop *shop)
{
	outbox_wake(&shop->waker, shop->redis, ctl->arena);
}

/* --product, which may be needed. */
static enum rc
product_of(const struct ctl_args *args, bool needed, int64_t *id, struct err *e)
{
	*id = 0;
	if (needed && ctl_value(args, "product") == NULL)
		return ctl_usage(e, "--product ID is needed");
	return ctl_int(args, "product", 1, INT64_MAX, id, e);
}

/* ---- add */

/* What is too long is not read whole. *p: to be freed. */
static enum rc
file_read(const char *name, int64_t max, char **p, size_t *n, struct err *e)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t got;

	*p = NULL;
	*n = 0;
	if (fd < 0 || fstat(fd, &st) != 0) {
		enum rc rc = err_set(
		    e, RC_REFUSED, "file", "%s: %s", name, strerror(errno));

		if (fd >= 0)
			(void)close(fd);
		return rc;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > max) {
		(void)close(fd);
		return err_set(e, RC_INVALID, "too_large",
		    "%s: not a file of at most %lld bytes", name,
		    (long long)max);
	}
	*p = xmalloc((size_t)st.st_size + 1);
	while (*n < (size_t)st.st_size &&
	       (got = read(fd, *p + *n, (size_t)st.st_size - *n)) > 0)
		*n += (size_t)got;
	(void)close(fd);
	return RC_OK;
}

static enum rc
add_file(struct ctl *ctl, struct shop *shop, int64_t product, const char *name,
    const char *alt, struct image *out, struct err *e)
{
	struct image_upload up = {
		.product_id = product, .claimed = name, .alt = alt
	};
	char *bytes;
	enum rc rc;

	rc = file_read(name, conf_int(ctl->conf, "image", "max_bytes"), &bytes,
	    &up.bytes.n, e);
	if (rc != RC_OK)
		return rc;
	up.bytes.p = bytes;
	rc = image_add(shop, &up, ctl->arena, out, e);
	free(bytes);
	if (rc != RC_OK)
		err_prefix(e, "%s: ", name);
	return rc;
}

static enum rc
add_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	json_t *all = json_array();
	struct shop *shop;
	int64_t product;
	enum rc rc;

	rc = product_of(args, true, &product, e);
	if (rc == RC_OK)
		rc = ctl_shop(ctl, &shop, e);
	for (int i = 0; i < args->n && rc == RC_OK; i++) {
		struct image image;

		rc = add_file(ctl, shop, product, args->operand[i],
		    ctl_value(args, "alt"), &image, e);
		if (rc != RC_OK)
			break;
		(void)json_array_append_new(all, image_json(&image));
		if (!ctl->json)
			(void)printf("%lld\n", (long long)image.id);
		if (image.found)
			ctl_say(ctl, "%s: was there", args->operand[i]);
	}
	if (json_array_size(all) > 0)
		wake(ctl, shop);
	if (ctl->json)
		ctl_print_json(json_pack("{s:O}", "images", all));
	json_decref(all);
	return rc;
}

/* ---- mirror, retry */

static enum rc
ask_all(struct ctl *ctl, enum image_which which, int64_t product, int64_t max,
    struct err *e)
{
	struct arena *arena = arena_new();
	int64_t last = 0, total = 0;
	struct shop *shop;
	enum rc rc = ctl_shop(ctl, &shop, e);
	int n = 1;

	while (rc == RC_OK && n > 0 && total < max) {
		int portion =
		    max - total < AT_A_TIME ? (int)(max - total) : AT_A_TIME;

		rc = image_ask(
		    shop, which, product, last, portion, arena, &last, &n, e);
		total += n;
		arena_reset(arena);
	}
	arena_free(arena);
	if (total > 0)
		wake(ctl, shop);
	if (ctl->json)
		ctl_print_json(json_pack("{s:I}", "asked", (json_int_t)total));
	else
		(void)printf("%lld\n", (long long)total);
	return rc;
}

static enum rc
mirror_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	int64_t product, max = INT64_MAX;
	enum rc rc;

	if ((ctl_value(args, "product") != NULL) == ctl_flag(args, "all"))
		return ctl_usage(e, "say one of: --product ID, --all");
	if ((rc = product_of(args, false, &product, e)) != RC_OK ||
	    (rc = ctl_int(args, "max", 1, INT32_MAX, &max, e)) != RC_OK)
		return rc;
	return ask_all(ctl, IMAGE_MIRROR, product, max, e);
}

static enum rc
retry_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	bool waiting = ctl_flag(args, "waiting"),
	     ready = ctl_flag(args, "ready");
	int64_t product;
	enum rc rc;

	if (waiting && ready)
		return ctl_usage(e, "say one of: --waiting, --ready");
	rc = product_of(args, false, &product, e);
	if (rc != RC_OK)
		return rc;
	return ask_all(ctl,
	    ready     ? IMAGE_READY
	    : waiting ? IMAGE_WAITING
		      : IMAGE_FAILED,
	    product, INT64_MAX, e);
}

/* ---- list, status */

static void
image_print(const struct image *i)
{
	(void)printf("%lld\t%lld\t%s\t%d\t%s\t%s\n", (long long)i->id,
	    (long long)i->product_id, i->status, i->variants,
	    *i->url != '\0' ? i->url : i->src, i->problem);
}

static enum rc
check_status(const char *status, struct err *e)
{
	static const char *const all[] = { "external", "waiting", "ready",
		"failed" };

	for (size_t i = 0; status != NULL && i < 4; i++) {
		if (strcmp(status, all[i]) == 0)
			return RC_OK;
	}
	return status == NULL
		   ? RC_OK
		   : ctl_usage(e, "--status: one of external, waiting, "
				  "ready, failed");
}

static enum rc
list_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct image_query query = { .limit = LIMIT,
		.status = ctl_value(args, "status") };
	struct image *list;
	struct shop *shop;
	json_t *all;
	enum rc rc;
	int n;

	if ((rc = product_of(args, false, &query.product_id, e)) != RC_OK ||
	    (rc = check_status(query.status, e)) != RC_OK ||
	    (rc = ctl_int(args, "after", 0, INT64_MAX, &query.after, e)) !=
		RC_OK ||
	    (rc = ctl_shop(ctl, &shop, e)) != RC_OK ||
	    (rc = image_list(shop, &query, ctl->arena, &list, &n, e)) != RC_OK)
		return rc;
	if (!ctl->json)
		ctl_say(ctl, "id\tproduct\tstatus\tvariants\taddress\tproblem");
	all = json_array();
	for (int i = 0; i < n; i++) {
		if (ctl->json)
			(void)json_array_append_new(all, image_json(&list[i]));
		else
			image_print(&list[i]);
	}
	if (ctl->json)
		ctl_print_json(json_pack("{s:O}", "images", all));
	json_decref(all);
	if (query.product_id == 0 && n == LIMIT)
		ctl_say(ctl, "there are more: --after %lld",
		    (long long)list[n - 1].id);
	return RC_OK;
}

static enum rc
status_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct image_counts c;
	struct shop *shop;
	int64_t product;
	enum rc rc;

	if ((rc = product_of(args, false, &product, e)) != RC_OK ||
	    (rc = ctl_shop(ctl, &shop, e)) != RC_OK ||
	    (rc = image_count(shop, product, ctl->arena, &c, e)) != RC_OK)
		return rc;
	if (ctl->json)
		ctl_print_json(json_pack("{s:I, s:I, s:I, s:I}", "external",
		    (json_int_t)c.external, "waiting", (json_int_t)c.waiting,
		    "ready", (json_int_t)c.ready, "failed",
		    (json_int_t)c.failed));
	else
		(void)printf("external\t%lld\nwaiting\t%lld\nready\t%"
			     "lld\nfailed\t%lld\n",
		    (long long)c.external, (long long)c.waiting,
		    (long long)c.ready, (long long)c.failed);
	return RC_OK;
}

/* ---- remove */

static enum rc
remove_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct shop *shop;
	int64_t product, id;
	enum rc rc;

	if ((rc = product_of(args, true, &product, e)) != RC_OK ||
	    (rc = ctl_operand_int(args, 0, "IMAGE", &id, e)) != RC_OK ||
	    (rc = ctl_shop(ctl, &shop, e)) != RC_OK)
		return rc;
	return image_delete(shop, product, id, ctl->arena, e);
}

static const struct ctl_opt add_opts[] = {
	{ "product", "ID", "the product that it shows" },
	{ "alt", "TEXT", "what is to be seen, for those who cannot see it" },
	{ 0 },
};
static const struct ctl_opt mirror_opts[] = {
	{ "product", "ID", "those of one product" },
	{ "all", NULL, "those of all products" },
	{ "max", "N", "at most that many" },
	{ 0 },
};
static const struct ctl_opt retry_opts[] = {
	{ "product", "ID", "those of one product" },
	{ "waiting", NULL, "instead those that wait (their tasks are lost)" },
	{ "ready", NULL, "instead those that are ready (settings changed)" },
	{ 0 },
};
static const struct ctl_opt list_opts[] = {
	{ "product", "ID", "those of one product" },
	{ "status", "STATUS", "external, waiting, ready or failed" },
	{ "after", "ID", "pictures behind that one (1000 at a time)" },
	{ 0 },
};
static const struct ctl_opt product_opts[] = {
	{ "product", "ID", "those of one product" },
	{ 0 },
};
static const struct ctl_opt remove_opts[] = {
	{ "product", "ID", "the product that it shows" },
	{ 0 },
};

const struct ctl_cmd image_cmds[] = {
	{ .name = "image add",
	    .operands = "FILE...",
	    .min = 1,
	    .max = -1,
	    .help = "give pictures to a product; prints their ids",
	    .opts = add_opts,
	    .run = add_run },
	{ .name = "image mirror",
	    .operands = "",
	    .help = "fetch the pictures that lie at other addresses",
	    .opts = mirror_opts,
	    .run = mirror_run },
	{ .name = "image list",
	    .operands = "",
	    .help = "pictures, how they stand and what is wrong with them",
	    .opts = list_opts,
	    .run = list_run },
	{ .name = "image status",
	    .operands = "",
	    .help = "how many pictures are external, waiting, ready, failed",
	    .opts = product_opts,
	    .run = status_run },
	{ .name = "image retry",
	    .operands = "",
	    .help = "have the variants of failed pictures made once more",
	    .opts = retry_opts,
	    .run = retry_run },
	{ .name = "image remove",
	    .operands = "IMAGE",
	    .min = 1,
	    .max = 1,
	    .help = "take a picture from a product",
	    .opts = remove_opts,
	    .run = remove_run },
	{ 0 },
};
