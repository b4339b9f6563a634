/*
 * An upload is known by what is in it: its row's src is "/media/" and the hash
 * of its bytes, which nobody serves; so UNIQUE (product_id, src) makes the same
 * bytes one picture. Positions and the bound on how many there are are decided
 * under the lock of the product's row.
 *
 * A task's key is random: one is written with the status that asks for it, in
 * one transaction, so that it needs no other guard against being written twice.
 */
#include "config.h"

#include "shop/image.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/sniff.h"
#include "base/text.h"
#include "shop/catalog_int.h"
#include "shop/ids.h"
#include "shop/image_int.h"
#include "shop/shop.h"
#include "store/invalidation.h"
#include "store/object.h"
#include "store/outbox.h"
#include "store/pg.h"

enum { AT_A_TIME = 100 };

/* In the order of row_take(). */
#define COLUMNS                                                                \
	"i.id, i.product_id, i.position, i.status, i.problem, i.src, i.alt,"   \
	" json_build_object('url', i.src, 'width', i.width, 'height',"         \
	"  i.height, " IMAGE_VARIANTS("i") "), " IMAGE_SHOWN(                  \
	    "i") ","                                                           \
		 " jsonb_array_length(i.variants)"

/* A row at least: the product, with the picture or without. */
static const struct pg_stmt image_there = { "image_there",
	"SELECT " COLUMNS " FROM product p LEFT JOIN product_image i"
	" ON i.product_id = p.id AND i.src = $2 WHERE p.id = $1",
	2 };

static const struct pg_stmt image_lock_product = { "image_lock_product",
	"SELECT id FROM product WHERE id = $1 FOR NO KEY UPDATE", 1 };

static const struct pg_stmt image_insert = { "image_insert",
	"INSERT INTO product_image (product_id, position, src, alt, status,"
	"  original)"
	" SELECT $1::int8, coalesce(max(position), 0) + 1, $2, $3, 'waiting',"
	"  $4 FROM product_image WHERE product_id = $1::int8"
	" HAVING count(*) < $5::int8 RETURNING id",
	5 };

static const struct pg_stmt image_again = { "image_again",
	"UPDATE product_image SET status = 'waiting', problem = '',"
	" original = $2 WHERE id = $1",
	2 };

static const struct pg_stmt image_of_product = { "image_of_product",
	"SELECT " COLUMNS " FROM product_image i WHERE i.product_id = $1"
	" AND ($2::text IS NULL OR i.status = $2)"
	" ORDER BY i.position, i.id LIMIT 1000",
	2 };

static const struct pg_stmt image_remove = { "image_remove",
	"DELETE FROM product_image i WHERE product_id = $1 AND id = $2"
	" RETURNING " IMAGE_SHOWN("i"),
	2 };

const struct pg_stmt *const image_statements[] = { &image_there,
	&image_lock_product, &image_insert, &image_again, &image_of_product,
	&image_remove, NULL };

/* The operator's, now and then: the whole table may be looked at. */
static const struct pg_stmt image_of_all = { "image_of_all",
	"SELECT " COLUMNS " FROM product_image i WHERE i.id > $1"
	" AND ($2::text IS NULL OR i.status = $2) ORDER BY i.id LIMIT $3::int",
	3 };
static const struct pg_stmt image_counts = { "image_counts",
	"SELECT status, count(*) FROM product_image"
	" WHERE $1::int8 = 0 OR product_id = $1 GROUP BY status",
	1 };

/* By enum image_which. */
#define ASK(name, condition, status)                                           \
	{                                                                      \
		name,                                                          \
		    "WITH pick AS (SELECT id FROM product_image"               \
		    " WHERE " condition " AND id > $2 AND ($1::int8 = 0"       \
		    "  OR product_id = $1) ORDER BY id LIMIT $3::int"          \
		    " FOR NO KEY UPDATE)"                                      \
		    " UPDATE product_image i SET status = " status             \
		    " FROM pick WHERE i.id = pick.id RETURNING i.id",          \
		    3                                                          \
	}
static const struct pg_stmt image_asks[] = {
	[IMAGE_MIRROR] = ASK("image_ask_mirror",
	    "status = 'external' AND src LIKE 'http%'", "'waiting'"),
	[IMAGE_FAILED] =
	    ASK("image_ask_failed", "status = 'failed'", "'waiting'"),
	[IMAGE_WAITING] =
	    ASK("image_ask_waiting", "status = 'waiting'", "'waiting'"),
	[IMAGE_READY] = ASK("image_ask_ready", "status = 'ready'", "'ready'"),
};

/* ---- rows */

static void
row_take(struct shop *shop, const struct pg_rows *rows, int row,
    struct arena *arena, struct image *out)
{
	struct span cell = pg_cell(rows, row, 7);
	json_t *view = json_loadb(cell.p, cell.n, 0, NULL);

	*out = (struct image){ .id = pg_int(rows, row, 0),
		.product_id = pg_int(rows, row, 1),
		.position = (int)pg_int(rows, row, 2),
		.status = pg_str(rows, row, 3),
		.problem = pg_str(rows, row, 4),
		.src = pg_str(rows, row, 5),
		.url = "",
		.alt = pg_str(rows, row, 6),
		.variants = (int)pg_int(rows, row, 9) };
	if (view != NULL && pg_bool(rows, row, 8)) {
		image_publish(shop, view, IMAGE_IN_PRODUCT);
		out->url = arena_strdup(
		    arena, json_string_value(json_object_get(view, "url")));
		out->width =
		    (int)json_integer_value(json_object_get(view, "width"));
		out->height =
		    (int)json_integer_value(json_object_get(view, "height"));
	}
	json_decref(view);
}

static json_t *
text_or_null(const char *s)
{
	return *s == '\0' ? json_null() : json_string(s);
}

static json_t *
number_or_null(int n)
{
	return n == 0 ? json_null() : json_integer(n);
}

struct json_t *
image_json(const struct image *i)
{
	return json_pack("{s:I, s:I, s:i, s:s, s:o, s:o, s:s, s:o, s:o, s:i}",
	    "id", (json_int_t)i->id, "productId", (json_int_t)i->product_id,
	    "position", i->position, "status", i->status, "problem",
	    text_or_null(i->problem), "url", text_or_null(i->url), "alt",
	    i->alt, "width", number_or_null(i->width), "height",
	    number_or_null(i->height), "variants", i->variants);
}

/* ---- adding one */

void
image_hash(struct span bytes, char out[IMAGE_HASH_CHARS + 1])
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256(hash, (const unsigned char *)bytes.p, bytes.n);
	text_hex(hash, sizeof hash, out);
}

const char *
image_original_key(const char *hash, const char *type, struct arena *arena)
{
	return arena_concat(arena, hash, ".", type, NULL);
}

static enum rc
no_product(struct err *e)
{
	return err_set(e, RC_NONE, "product_not_found", "No such product");
}

static size_t
characters(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* *type: "jpeg". */
static enum rc
upload_check(const struct conf *conf, const struct image_upload *up,
    const char **type, struct err *e)
{
	int64_t max = conf_int(conf, "image", "max_bytes");
	const char *claimed = sniff_claimed(up->claimed);
	enum sniff_type kind = sniff(up->bytes, type);
	const char *alt = up->alt == NULL ? "" : up->alt;
	size_t n = strlen(alt);

	if ((int64_t)up->bytes.n > max)
		return err_set(e, RC_INVALID, "too_large",
		    "The file has %lld bytes, %lld are allowed",
		    (long long)up->bytes.n, (long long)max);
	if (kind == SNIFF_UNKNOWN)
		return err_set(e, RC_INVALID, "not_an_image",
		    "The file is no picture (%s)", *type);
	if (kind == SNIFF_OTHER)
		return err_set(e, RC_INVALID, "unsupported_type",
		    "%s is not taken; send JPEG, PNG, WebP, GIF or AVIF",
		    *type);
	if (claimed != NULL && strcmp(claimed, *type) != 0)
		return err_set(e, RC_INVALID, "type_mismatch",
		    "The file is said to be %s and is %s", claimed, *type);
	if (!utf8_valid(alt, n) || !text_plain(alt) ||
	    characters(alt) > IMAGE_ALT_CHARS)
		return err_set(e, RC_INVALID, "invalid_field",
		    "alt: text of at most %d characters is wanted",
		    IMAGE_ALT_CHARS);
	return RC_OK;
}

/* One upload under way. */
struct adding {
	const struct image_upload *up;
	const char *src, *key;
};

/* RC_OK with out->found: it is there and needs nothing. */
static enum rc
look(struct shop *shop, const struct adding *a, struct arena *arena,
    struct image *out, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, a->up->product_id);
	pg_arg_str(&args, a->src);
	rc =
	    pg_exec(shop->pg, PG_PRIMARY, &image_there, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return no_product(e);
	*out = (struct image){ .id = 0 };
	if (pg_cell(&rows, 0, 0).p == NULL)
		return RC_OK;
	row_take(shop, &rows, 0, arena, out);
	out->found = true;
	return RC_OK;
}

/* One that another shop has exported comes as "external", with an address that
 * nobody serves here. */
static bool
is_foreign(const struct image *i)
{
	return i->found && strcmp(i->status, "external") == 0;
}

static bool
needs_nothing(const struct image *i)
{
	return i->found && strcmp(i->status, "failed") != 0 && !is_foreign(i);
}

enum rc
image_product_lock(
    struct shop *shop, int64_t product_id, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, product_id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &image_lock_product, &args, arena, &rows, e);
	return rc == RC_OK && rows.n == 0 ? no_product(e) : rc;
}

enum rc
image_enqueue(struct shop *shop, int n, const int64_t ids[],
    struct arena *arena, struct err *e)
{
	struct outbox_task *tasks =
	    arena_calloc(arena, (size_t)n, sizeof *tasks);

	for (int i = 0; i < n; i++) {
		char key[EFFECT_ID_CHARS + 1];

		id_random(key);
		tasks[i].type = "process_image";
		tasks[i].key = arena_strdup(arena, key);
		tasks[i].data = arena_printf(
		    arena, "{\"imageId\":%lld}", (long long)ids[i]);
	}
	return outbox_write(shop->pg, n, tasks, arena, e);
}

static enum rc
row_insert(struct shop *shop, const struct adding *a, struct arena *arena,
    int64_t *id, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, a->up->product_id);
	pg_arg_str(&args, a->src);
	pg_arg_str(&args, a->up->alt == NULL ? "" : a->up->alt);
	pg_arg_str(&args, a->key);
	pg_arg_int(&args, IMAGE_PER_PRODUCT);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &image_insert, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_REFUSED, "too_many_images",
		    "The product has %d pictures, which is the most",
		    IMAGE_PER_PRODUCT);
	*id = pg_int(&rows, 0, 0);
	return RC_OK;
}

static enum rc
row_again(struct shop *shop, const struct adding *a, int64_t id,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_int(&args, id);
	pg_arg_str(&args, a->key);
	return pg_exec(
	    shop->pg, PG_PRIMARY, &image_again, &args, arena, NULL, e);
}

/* What the caches are to forget. */
struct told {
	struct invalidation inv;
	int64_t id;
};

static enum rc
add_within(struct shop *shop, const struct adding *a, struct arena *arena,
    struct image *out, struct told *told, struct err *e)
{
	bool found, foreign;
	int64_t id;
	enum rc rc;

	if ((rc = image_product_lock(shop, a->up->product_id, arena, e)) !=
		RC_OK ||
	    (rc = look(shop, a, arena, out, e)) != RC_OK ||
	    (rc = image_strike(shop, IMAGE_ORIGINALS, 1, &a->key, arena, e)) !=
		RC_OK ||
	    needs_nothing(out))
		return rc;
	found = out->found;
	foreign = is_foreign(out);
	id = out->id;
	rc = found ? row_again(shop, a, id, arena, e)
		   : row_insert(shop, a, arena, &id, e);
	if (rc == RC_OK)
		rc = image_enqueue(shop, 1, &id, arena, e);
	if (rc == RC_OK && foreign) /* it was shown */
		rc = catalog_touch(shop, a->up->product_id, true, arena,
		    &told->inv, &told->id, e);
	if (rc == RC_OK)
		rc = look(shop, a, arena, out, e);
	out->found = found;
	return rc;
}

static enum rc
original_put(struct object_store *store, const struct adding *a,
    const struct object_meta *meta, struct arena *arena, struct err *e)
{
	enum rc rc;

	object_deadline(store, a->up->deadline);
	rc = object_put(store, a->key, a->up->bytes, meta, arena, e);
	object_deadline(store, 0);
	return rc;
}

static enum rc
add(struct shop *shop, const struct adding *a, const char *type,
    struct arena *arena, struct image *out, struct err *e)
{
	struct object_meta meta = { .type = arena_concat(
					arena, "image/", type, NULL),
		.cache_control = "" };
	struct told told = { .id = 0 };
	struct object_store *store;
	enum rc rc;

	if ((rc = look(shop, a, arena, out, e)) != RC_OK || needs_nothing(out))
		return rc;
	if ((rc = image_store(shop, IMAGE_ORIGINALS, &store, e)) != RC_OK ||
	    (rc = image_note(shop, IMAGE_ORIGINALS, 1, &a->key, arena, e)) !=
		RC_OK ||
	    (rc = original_put(store, a, &meta, arena, e)) != RC_OK ||
	    (rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = add_within(shop, a, arena, out, &told, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) != RC_OK)
		return rc;
	outbox_note(&shop->waker, "image");
	if (told.id != 0)
		image_told(shop, &told.inv, told.id, arena);
	return RC_OK;
}

enum rc
image_add(struct shop *shop, const struct image_upload *upload,
    struct arena *arena, struct image *out, struct err *e)
{
#ifdef HAVE_IMAGES
	struct adding a = { .up = upload };
	char hash[IMAGE_HASH_CHARS + 1];
	const char *type;
	enum rc rc;

	rc = upload_check(shop->conf, upload, &type, e);
	if (rc != RC_OK)
		return rc;
	image_hash(upload->bytes, hash);
	a.src = arena_printf(arena, "/media/%.*s", IMAGE_NAME_CHARS, hash);
	a.key = image_original_key(hash, type, arena);
	return add(shop, &a, type, arena, out, e);
#else
	(void)shop;
	(void)upload;
	(void)arena;
	(void)out;
	(void)upload_check;
	(void)add;
	return err_set(e, RC_REFUSED, "no_images",
	    "This shop was built without pictures (configure "
	    "--without-images)");
#endif
}

/* ---- looking */

enum rc
image_list(struct shop *shop, const struct image_query *query,
    struct arena *arena, struct image **out, int *n, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	if (query->product_id > 0) {
		pg_arg_int(&args, query->product_id);
		pg_arg_str(&args, query->status);
	} else {
		pg_arg_int(&args, query->after);
		pg_arg_str(&args, query->status);
		pg_arg_int(&args, query->limit);
	}
	rc = pg_exec(shop->pg, PG_PRIMARY,
	    query->product_id > 0 ? &image_of_product : &image_of_all, &args,
	    arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	*out = arena_calloc(arena, (size_t)rows.n + 1, sizeof **out);
	for (*n = 0; *n < rows.n; ++*n)
		row_take(shop, &rows, *n, arena, &(*out)[*n]);
	return RC_OK;
}

enum rc
image_count(struct shop *shop, int64_t product_id, struct arena *arena,
    struct image_counts *out, struct err *e)
{
	struct {
		const char *status;
		int64_t *n;
	} const all[] = { { "external", &out->external },
		{ "waiting", &out->waiting }, { "ready", &out->ready },
		{ "failed", &out->failed } };
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	*out = (struct image_counts){ 0 };
	pg_arg_int(&args, product_id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &image_counts, &args, arena, &rows, e);
	for (int i = 0; rc == RC_OK && i < rows.n; i++) {
		for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
			if (strcmp(pg_str(&rows, i, 0), all[k].status) == 0)
				*all[k].n = pg_int(&rows, i, 1);
		}
	}
	return rc;
}

/* ---- changing */

void
image_told(struct shop *shop, const struct invalidation *inv, int64_t inv_id,
    struct arena *arena)
{
	struct err later;

	/* It is committed: what fails is done by the housekeeper. */
	(void)!invalidation_carry_out(
	    shop->pg, shop->cache, shop->edge, inv, inv_id, arena, &later);
}

static enum rc
delete_within(struct shop *shop, int64_t product_id, int64_t id,
    struct arena *arena, struct invalidation *inv, int64_t *inv_id,
    struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	rc = image_product_lock(shop, product_id, arena, e);
	if (rc != RC_OK)
		return rc;
	pg_arg_int(&args, product_id);
	pg_arg_int(&args, id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &image_remove, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_NONE, "image_not_found",
		    "This product has no such picture");
	if (!pg_bool(&rows, 0, 0))
		return RC_OK;
	return catalog_touch(shop, product_id, true, arena, inv, inv_id, e);
}

enum rc
image_delete(struct shop *shop, int64_t product_id, int64_t id,
    struct arena *arena, struct err *e)
{
	struct invalidation inv = { 0 };
	int64_t inv_id = 0;
	enum rc rc;

	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = delete_within(shop, product_id, id, arena, &inv, &inv_id, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) == RC_OK && inv_id != 0)
		image_told(shop, &inv, inv_id, arena);
	return rc;
}

static enum rc
ask_within(struct shop *shop, enum image_which which,
    const struct pg_args *args, struct arena *arena, int64_t *last, int *n,
    struct err *e)
{
	struct pg_rows rows;
	int64_t *ids;
	enum rc rc;

	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &image_asks[which], args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	ids = arena_calloc(arena, (size_t)rows.n + 1, sizeof *ids);
	for (*n = 0; *n < rows.n; ++*n) {
		ids[*n] = pg_int(&rows, *n, 0);
		if (ids[*n] > *last)
			*last = ids[*n];
	}
	return *n == 0 ? RC_OK : image_enqueue(shop, *n, ids, arena, e);
}

enum rc
image_ask(struct shop *shop, enum image_which which, int64_t product_id,
    int64_t after, int max, struct arena *arena, int64_t *last, int *n,
    struct err *e)
{
	struct pg_args args = { 0 };
	enum rc rc;

	*n = 0;
	*last = after;
	pg_arg_int(&args, product_id);
	pg_arg_int(&args, after);
	pg_arg_int(&args, max < AT_A_TIME ? max : AT_A_TIME);
	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = ask_within(shop, which, &args, arena, last, n, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) == RC_OK && *n > 0)
		outbox_note(&shop->waker, "image");
	return rc;
}
