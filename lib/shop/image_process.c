/*
 * A picture's task: the original comes from where it was stored, or from the
 * address its row names; souk-imager makes the variants; they are stored under
 * names that are hashes of what is in them; then one transaction records the
 * task, the row, what it refers to and what the caches must forget. Whatever
 * is killed before that leaves objects that nobody refers to (image_store.c),
 * and the next try puts the same ones there.
 *
 * What is wrong with the picture is told on its row and ends the task: trying
 * again would not help. What may pass (its host is away, this one is busy) is
 * tried again by the worker, and the last time it counts as the picture's. What
 * is our own fault (a full disk, a sandbox that fails) is told on the row then,
 * too, so that nobody waits for it, and the task goes to the dead letters.
 */
#define _GNU_SOURCE /* memfd_create */
#include "config.h"

#include "shop/image.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/sniff.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "shop/catalog_int.h"
#include "shop/image_int.h"
#include "shop/shop.h"
#include "store/fetch.h"
#include "store/imager.h"
#include "store/invalidation.h"
#include "store/object.h"
#include "store/outbox.h"
#include "store/pg.h"
#include "store/queue.h"

static const struct pg_stmt image_to_do = { "image_to_do",
	"SELECT i.product_id, i.src, i.original, i.status,"
	"  EXISTS (SELECT FROM finished_task WHERE task_id = $2)"
	" FROM product_image i WHERE i.id = $1",
	2 };

static const struct pg_stmt image_task_finished = { "image_task_finished",
	"SELECT FROM finished_task WHERE task_id = $1", 1 };
static const struct pg_stmt image_by_src = { "image_by_src",
	"SELECT id, status FROM product_image WHERE product_id = $1"
	" AND src = $2",
	2 };
static const struct pg_stmt image_insert_src = { "image_insert_src",
	"INSERT INTO product_image (product_id, position, src, status)"
	" SELECT $1::int8, coalesce(max(position), 0) + 1, $2, 'waiting'"
	" FROM product_image WHERE product_id = $1::int8"
	" HAVING count(*) < $3::int8 RETURNING id",
	3 };

/* Was it hidden, and is it now what a list shows of its product? */
static const struct pg_stmt image_ready = { "image_ready",
	"WITH was AS (SELECT id, product_id, position, status, src"
	"  FROM product_image WHERE id = $1 FOR NO KEY UPDATE),"
	" up AS (UPDATE product_image i SET status = 'ready', problem = '',"
	"   original = $2, width = $3::int, height = $4::int,"
	"   variants = $5::jsonb FROM was WHERE i.id = was.id"
	"  RETURNING i.id)"
	" SELECT NOT " IMAGE_SHOWN(
	    "was") " AND NOT EXISTS (SELECT"
		   "   FROM product_image o WHERE o.product_id = was.product_id"
		   "   AND (o.position, o.id) < (was.position, was.id)"
		   "   AND " IMAGE_SHOWN("o") ") FROM was JOIN up USING (id)",
	5 };

/* One that is shown by its variants goes on being shown by them. */
static const struct pg_stmt image_failed = { "image_failed",
	"UPDATE product_image SET problem = left($2, 500), status = CASE"
	"  status WHEN 'ready' THEN 'ready' ELSE 'failed' END WHERE id = $1",
	2 };

/* By housekeeping, of the pictures whose tasks died last. One that was asked
 * for once more has another task. */
#define DIGITS " ~ '^[0-9]{1,18}$'"
#define IMAGE_ID                                                               \
	"CASE WHEN data ->> 'imageId'" DIGITS                                  \
	" THEN (data ->> 'imageId')::int8 END"
#define PRODUCT_ID                                                             \
	"CASE WHEN data ->> 'productId'" DIGITS                                \
	" THEN (data ->> 'productId')::int8 END"
static const struct pg_stmt image_give_up = { "image_give_up",
	"WITH dead AS MATERIALIZED (SELECT " IMAGE_ID " AS id, " PRODUCT_ID
	"  AS product_id, data ->> 'imageUrl' AS src, error FROM dead_task"
	"  WHERE queue = 'image' AND type = 'process_image'"
	"  ORDER BY died_at DESC LIMIT $1::int),"
	" its AS (SELECT i.id, d.error FROM dead d JOIN product_image i"
	"   ON i.id = d.id WHERE i.status = 'waiting'"
	"  UNION ALL SELECT i.id, d.error FROM dead d JOIN product_image i"
	"   ON i.product_id = d.product_id AND i.src = d.src"
	"   WHERE i.status = 'waiting'),"
	" pick AS (SELECT id FROM product_image i"
	"  WHERE id IN (SELECT id FROM its) AND status = 'waiting'"
	"  AND NOT EXISTS (SELECT FROM outbox o WHERE o.queue = 'image'"
	"   AND o.data ->> 'imageId' = i.id::text)"
	"  FOR NO KEY UPDATE SKIP LOCKED)"
	" UPDATE product_image i SET status = 'failed',"
	"  problem = left('given_up: ' || its.error, 500)"
	" FROM pick JOIN its USING (id) WHERE i.id = pick.id",
	1 };

const struct pg_stmt *const image_process_statements[] = { &image_to_do,
	&image_task_finished, &image_by_src, &image_insert_src, &image_ready,
	&image_failed, NULL };

/* A task under way. */
struct work_on {
	struct shop *shop;
	const struct task *task;
	bool last;
	struct arena *arena;
	int64_t id, product_id;
	const char *src;
	const char *original; /* its key; NULL: to be fetched */
	int fd;               /* the original; -1 */
	bool fetched;
	bool ours; /* what goes wrong now is not the picture's */
	struct imager_result result;
	int n;
	const char *keys[IMAGER_VARIANTS]; /* of the variants */
};

/* ---- the task */

static enum rc
bad_task(struct err *e, const char *what)
{
	return err_set(
	    e, RC_INVALID, "bad_task_data", "process_image: %s", what);
}

static enum rc
task_finished(struct err *e)
{
	return err_set(
	    e, RC_NONE, "task_finished", "the task has had its effect");
}

/* Before a row is made for it: a picture that was deleted since must not come
 * back. */
static enum rc
unfinished(struct work_on *w, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, w->task->id);
	rc = pg_exec(w->shop->pg, PG_PRIMARY, &image_task_finished, &args,
	    w->arena, &rows, e);
	return rc == RC_OK && rows.n > 0 ? task_finished(e) : rc;
}

static enum rc
row_by_src(struct work_on *w, int64_t product_id, const char *src, bool *found,
    struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, product_id);
	pg_arg_str(&args, src);
	rc = pg_exec(
	    w->shop->pg, PG_PRIMARY, &image_by_src, &args, w->arena, &rows, e);
	*found = rc == RC_OK && rows.n > 0;
	if (!*found)
		return rc;
	w->id = pg_int(&rows, 0, 0);
	if (strcmp(pg_str(&rows, 0, 1), "ready") == 0)
		return err_set(
		    e, RC_NONE, "image_ready", "the picture is there already");
	return RC_OK;
}

/* It is shown by its address from here on, as if it had been imported. */
static enum rc
row_make_within(struct work_on *w, int64_t product_id, const char *src,
    struct invalidation *inv, int64_t *inv_id, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	bool found;
	enum rc rc;

	rc = image_product_lock(w->shop, product_id, w->arena, e);
	if (rc == RC_OK)
		rc = unfinished(w, e);
	if (rc == RC_OK)
		rc = row_by_src(w, product_id, src, &found, e);
	if (rc != RC_OK || found)
		return rc;
	pg_arg_int(&args, product_id);
	pg_arg_str(&args, src);
	pg_arg_int(&args, IMAGE_PER_PRODUCT);
	rc = pg_exec(w->shop->pg, PG_PRIMARY, &image_insert_src, &args,
	    w->arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_INVALID, "too_many_images",
		    "The product has %d pictures, which is the most",
		    IMAGE_PER_PRODUCT);
	w->id = pg_int(&rows, 0, 0);
	return catalog_touch(
	    w->shop, product_id, true, w->arena, inv, inv_id, e);
}

static enum rc
row_make(struct work_on *w, int64_t product_id, const char *src, struct err *e)
{
	struct invalidation inv = { 0 };
	int64_t inv_id = 0;
	bool found;
	enum rc rc;

	if ((rc = unfinished(w, e)) != RC_OK ||
	    (rc = row_by_src(w, product_id, src, &found, e)) != RC_OK || found)
		return rc;
	if ((rc = pg_begin(w->shop->pg, e)) != RC_OK)
		return rc;
	rc = row_make_within(w, product_id, src, &inv, &inv_id, e);
	if (rc != RC_OK) {
		pg_rollback(w->shop->pg);
		return rc;
	}
	if ((rc = pg_commit(w->shop->pg, e)) == RC_OK && inv_id != 0)
		image_told(w->shop, &inv, inv_id, w->arena);
	return rc;
}

/* Sets w->id. */
static enum rc
task_read(struct work_on *w, struct err *e)
{
	json_t *data = json_loadb(w->task->data.p, w->task->data.n, 0, NULL);
	const json_t *id = json_object_get(data, "imageId");
	const json_t *product = json_object_get(data, "productId");
	const char *url = json_string_value(json_object_get(data, "imageUrl"));
	enum rc rc = RC_OK;

	if (id != NULL)
		w->id = json_integer_value(id);
	else if (json_integer_value(product) < 1 || url == NULL)
		rc = bad_task(e, "imageId, or productId and imageUrl");
	else if (!fetch_url_ok(url))
		rc = bad_task(e, "imageUrl is no address of http or https");
	else
		rc = row_make(w, json_integer_value(product),
		    arena_strdup(w->arena, url), e);
	if (rc == RC_OK && w->id < 1)
		rc = bad_task(e, "imageId is none");
	json_decref(data);
	return rc;
}

/* RC_NONE: there is nothing to be done any more. */
static enum rc
row_read(struct work_on *w, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, w->id);
	pg_arg_str(&args, w->task->id);
	rc = pg_exec(
	    w->shop->pg, PG_PRIMARY, &image_to_do, &args, w->arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_NONE, "image_gone",
		    "the picture was deleted meanwhile");
	if (pg_bool(&rows, 0, 4))
		return task_finished(e);
	w->product_id = pg_int(&rows, 0, 0);
	w->src = pg_str(&rows, 0, 1);
	if (pg_cell(&rows, 0, 2).p != NULL)
		w->original = pg_str(&rows, 0, 2);
	return RC_OK;
}

/* ---- the original */

static enum rc
original_get(struct work_on *w, struct err *e)
{
	int64_t max = conf_int(w->shop->conf, "image", "max_bytes");
	struct object_store *store;
	enum rc rc = image_store(w->shop, IMAGE_ORIGINALS, &store, e);

	if (rc == RC_OK)
		rc = object_get_fd(
		    store, w->original, max, w->fd, w->arena, NULL, e);
	if (rc == RC_REFUSED) /* the bound is lower than it was */
		return err_set(e, RC_INVALID, "too_large",
		    "The original has more than %lld bytes", (long long)max);
	return rc;
}

/* Anything but RC_RETRY is the picture's fault. */
static enum rc
original_fetch(struct work_on *w, struct err *e)
{
	const struct conf *conf = w->shop->conf;
	struct fetch_answer answer;
	enum rc rc;

	if (!fetch_url_ok(w->src))
		return err_set(e, RC_INVALID, "original_gone",
		    "The original is not there any more");
	w->original = NULL;
	w->fetched = true;
	rc = fetch_fd(
	    &(struct fetch_opts){
		.max_bytes = conf_int(conf, "image", "max_bytes"),
		.timeout_ms = (int)conf_int(conf, "image", "fetch_timeout"),
		.may_reach = conf_bool(conf, "image", "fetch_private")
				 ? fetch_address_any
				 : fetch_address_public,
		.any_port = conf_bool(conf, "image", "fetch_private"),
	    },
	    w->src, w->fd, w->arena, &answer, e);
	return rc == RC_NONE || rc == RC_REFUSED
		   ? err_set(e, RC_INVALID, e->code, "%s",
			 arena_strdup(w->arena, e->msg))
		   : rc;
}

static enum rc
original_bring(struct work_on *w, struct err *e)
{
	enum rc rc = RC_NONE;

	w->fd = memfd_create("souk-original", MFD_CLOEXEC);
	if (w->fd < 0)
		return err_set(e, RC_RETRY, "imager_busy", "an original: %s",
		    strerror(errno));
	if (w->original != NULL)
		rc = original_get(w, e);
	return rc == RC_NONE ? original_fetch(w, e) : rc;
}

/* ---- the variants */

static enum rc
variants_make(struct work_on *w, struct err *e)
{
	const struct conf *conf = w->shop->conf;
	int widths[IMAGER_WIDTHS];
	int n = image_widths(conf_str(conf, "image", "widths"), widths);

	return imager_run(
	    &(struct imager_opts){
		.program = conf_str(conf, "image", "program"),
		.widths = widths,
		.n_widths = n,
		.max_bytes = conf_int(conf, "image", "max_bytes"),
		.max_pixels = conf_int(conf, "image", "max_pixels"),
		.memory_mb = (int)(conf_int(conf, "image", "memory") >> 20),
		.cpu_s = (int)conf_int(conf, "image", "cpu"),
		.timeout_ms = (int)conf_int(conf, "image", "timeout"),
		.strict = conf_bool(conf, "image", "strict"),
	    },
	    w->fd, w->arena, &w->result, e);
}

static enum rc
variants_put(struct work_on *w, struct err *e)
{
	struct object_store *store;
	enum rc rc = image_store(w->shop, IMAGE_MEDIA, &store, e);

	for (w->n = 0; w->n < w->result.n; w->n++) {
		const struct imager_variant *v = &w->result.variants[w->n];

		w->keys[w->n] = arena_printf(w->arena, "%.*s-%d.%s",
		    IMAGE_NAME_CHARS, v->sha256, v->width, v->format);
	}
	if (rc == RC_OK)
		rc = image_note(
		    w->shop, IMAGE_MEDIA, w->n, w->keys, w->arena, e);
	for (int i = 0; i < w->n && rc == RC_OK; i++) {
		const struct imager_variant *v = &w->result.variants[i];
		struct object_meta meta = {
			.type =
			    arena_concat(w->arena, "image/", v->format, NULL),
			.cache_control = IMAGE_CACHE_CONTROL,
			.size = v->bytes,
		};

		rc =
		    object_put_fd(store, w->keys[i], v->fd, &meta, w->arena, e);
	}
	return rc;
}

/* One that was fetched, and is a picture: now it is kept. */
static enum rc
original_put(struct work_on *w, struct err *e)
{
	struct object_meta meta = { .cache_control = "" };
	char hash[IMAGE_HASH_CHARS + 1];
	struct object_store *store;
	struct span bytes;
	enum rc rc;

	meta.size = lseek(w->fd, 0, SEEK_END);
	bytes.n = (size_t)meta.size;
	bytes.p = mmap(NULL, bytes.n, PROT_READ, MAP_SHARED, w->fd, 0);
	if (bytes.p == MAP_FAILED)
		return err_set(e, RC_RETRY, "imager_busy", "an original: %s",
		    strerror(errno));
	image_hash(bytes, hash);
	(void)munmap((void *)(uintptr_t)bytes.p, bytes.n);
	w->original = image_original_key(hash, w->result.type, w->arena);
	meta.type = arena_concat(w->arena, "image/", w->result.type, NULL);
	if ((rc = image_store(w->shop, IMAGE_ORIGINALS, &store, e)) == RC_OK)
		rc = image_note(
		    w->shop, IMAGE_ORIGINALS, 1, &w->original, w->arena, e);
	if (rc == RC_OK)
		rc = object_put_fd(
		    store, w->original, w->fd, &meta, w->arena, e);
	return rc;
}

/* ---- the end */

/* An import holds many rows and goes on for long; it must not be the one that
 * gives way. */
static const char lock_briefly[] = "SET LOCAL lock_timeout = '500ms'";

static const char *
variants_json(const struct work_on *w)
{
	struct strbuf sb;
	const char *s;

	strbuf_init(&sb, 1024);
	for (int i = 0; i < w->n; i++) {
		const struct imager_variant *v = &w->result.variants[i];

		strbuf_addf(&sb,
		    "%c{\"format\":\"%s\",\"width\":%d,\"height\":%d,"
		    "\"bytes\":%lld,\"key\":\"%s\"}",
		    i == 0 ? '[' : ',', v->format, v->width, v->height,
		    (long long)v->bytes, w->keys[i]);
	}
	strbuf_addc(&sb, ']');
	s = arena_strdup(w->arena, sb.s);
	strbuf_release(&sb);
	return s;
}

static enum rc
end_ready(
    struct work_on *w, struct invalidation *inv, int64_t *inv_id, struct err *e)
{
	struct pg *pg = w->shop->pg;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, w->id);
	pg_arg_str(&args, w->original);
	pg_arg_int(&args, w->result.width);
	pg_arg_int(&args, w->result.height);
	pg_arg_str(&args, variants_json(w));
	rc = pg_exec(pg, PG_PRIMARY, &image_ready, &args, w->arena, &rows, e);
	/* Deleted meanwhile: its objects stay noted. */
	if (rc != RC_OK || rows.n == 0)
		return rc;
	rc = image_strike(w->shop, IMAGE_MEDIA, w->n, w->keys, w->arena, e);
	if (rc == RC_OK)
		rc = image_strike(
		    w->shop, IMAGE_ORIGINALS, 1, &w->original, w->arena, e);
	if (rc == RC_OK)
		rc = catalog_touch(w->shop, w->product_id, pg_bool(&rows, 0, 0),
		    w->arena, inv, inv_id, e);
	return rc;
}

static enum rc
end_failed(struct work_on *w, const struct err *why, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_int(&args, w->id);
	pg_arg_str(
	    &args, arena_concat(w->arena, why->code, ": ", why->msg, NULL));
	return pg_exec(
	    w->shop->pg, PG_PRIMARY, &image_failed, &args, w->arena, NULL, e);
}

/* why: what is wrong with the picture; NULL: nothing. */
static enum rc
end(struct work_on *w, const struct err *why, struct err *e)
{
	struct pg *pg = w->shop->pg;
	struct invalidation inv = { 0 };
	int64_t inv_id = 0;
	enum rc rc;

	if ((rc = pg_begin(pg, e)) != RC_OK)
		return rc;
	if ((rc = pg_run(pg, lock_briefly, 0, e)) == RC_OK)
		rc = task_finish(pg, w->task->id, w->arena, e);
	if (rc == RC_OK)
		rc = why == NULL ? end_ready(w, &inv, &inv_id, e)
				 : end_failed(w, why, e);
	if (rc != RC_OK) {
		pg_rollback(pg);
		return rc;
	}
	if ((rc = pg_commit(pg, e)) == RC_OK && inv_id != 0)
		image_told(w->shop, &inv, inv_id, w->arena);
	return rc;
}

static enum rc
variants_keep(struct work_on *w, struct err *e)
{
	enum rc rc;

	rc = original_bring(w, e);
	w->ours = !w->fetched;
	if (rc != RC_OK)
		return rc;
	w->ours = false;
	if ((rc = variants_make(w, e)) != RC_OK)
		return rc;
	w->ours = true;
	rc = variants_put(w, e);
	return rc == RC_OK && w->fetched ? original_put(w, e) : rc;
}

/* The task goes on, or becomes a dead letter that says what is wrong here. */
static bool
is_to_come_again(const struct work_on *w, enum rc rc)
{
	return rc == RC_FAIL || (rc == RC_RETRY && (w->ours || !w->last));
}

static enum rc
work_on(struct work_on *w, struct err *e)
{
	struct err why, later;
	enum rc rc;

	rc = task_read(w, e);
	if (rc == RC_NONE && strcmp(e->code, "image_ready") == 0)
		return task_finish(w->shop->pg, w->task->id, w->arena, e);
	if (rc != RC_OK || (rc = row_read(w, e)) != RC_OK)
		return rc;
	rc = variants_keep(w, e);
	if (rc == RC_OK)
		return end(w, NULL, e);
	why = *e;
	if (!is_to_come_again(w, rc))
		return end(w, &why, e);
	if (w->last)
		(void)!end_failed(w, &why, &later);
	return rc;
}

enum rc
image_give_up_dead(
    struct shop *shop, int max, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_int(&args, max);
	return pg_exec(
	    shop->pg, PG_PRIMARY, &image_give_up, &args, arena, NULL, e);
}

enum rc
image_process(struct shop *shop, const struct task *task, bool last,
    struct arena *arena, struct err *e)
{
	struct work_on w = { .shop = shop,
		.task = task,
		.last = last,
		.arena = arena,
		.fd = -1 };
	enum rc rc = work_on(&w, e);

	imager_result_free(&w.result);
	if (w.fd >= 0)
		(void)close(w.fd);
	return rc;
}
