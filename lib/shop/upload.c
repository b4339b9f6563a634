/*
 * The key is taken before the picture is stored and given back where it is
 * refused, so that of two requests at once with one key and two pictures one
 * goes on. Where a process dies in between the key stays with its picture: the
 * same request again goes on.
 */
#include "shop/upload.h"

#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "shop/ids.h"
#include "shop/image.h"
#include "shop/shop.h"
#include "store/pg.h"

static const struct pg_stmt key_take = { "upload_key_take",
	"INSERT INTO upload_key (id, body_hash) VALUES ($1, $2::bytea)"
	" ON CONFLICT (id) DO UPDATE SET id = excluded.id" /* to see it */
	" RETURNING xmax = 0, body_hash = $2::bytea, xmin",
	2 };

static const struct pg_stmt key_give_back = { "upload_key_give_back",
	"DELETE FROM upload_key WHERE id = $1 AND xmin = $2::xid", 2 };

static const struct pg_stmt key_old = { "upload_key_old",
	"DELETE FROM upload_key WHERE id IN (SELECT id FROM upload_key"
	" WHERE created_at < now() - interval '30 days'"
	" ORDER BY created_at LIMIT $1::int)",
	1 };

/* What is sent, but for how: a form's boundary is another each time. */
static void
upload_hash(const struct image_upload *upload, struct arena *arena,
    unsigned char hash[BODY_HASH_BYTES])
{
	char hex[2 * BODY_HASH_BYTES + 1];

	body_hash(upload->bytes, hash);
	text_hex(hash, BODY_HASH_BYTES, hex);
	body_hash(span_of(arena_concat(arena, hex, " ",
		      upload->alt == NULL ? "" : upload->alt, NULL)),
	    hash);
}

/* *taken: the transaction that made it; NULL: it was there. */
static enum rc
take(struct shop *shop, const char *id, const char *hash, const char **taken,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, id);
	pg_arg_str(&args, hash);
	rc = pg_exec(shop->pg, PG_PRIMARY, &key_take, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (pg_bool(&rows, 0, 0))
		*taken = pg_str(&rows, 0, 2);
	if (pg_bool(&rows, 0, 1))
		return RC_OK;
	return err_set(e, RC_INVALID, "idempotency_mismatch",
	    "Idempotency-Key: it was used for another picture or text");
}

/* It was refused: what cannot be given back now stands for this picture. So
 * does what another request with the same picture has taken up meanwhile: that
 * one may have succeeded. */
static void
give_back(
    struct shop *shop, const char *id, const char *taken, struct arena *arena)
{
	struct pg_args args = { 0 };
	struct err ignored;

	pg_arg_str(&args, id);
	pg_arg_str(&args, taken);
	(void)!pg_exec(
	    shop->pg, PG_PRIMARY, &key_give_back, &args, arena, NULL, &ignored);
}

enum rc
upload_image(struct shop *shop, const char *person, const char *key,
    const struct image_upload *upload, struct arena *arena, struct image *out,
    struct err *e)
{
	unsigned char hash[BODY_HASH_BYTES];
	char id[EFFECT_ID_CHARS + 1], bytea[2 + 64 + 1], num[TEXT_NUM];
	const char *taken = NULL;
	enum rc rc;

	if (key == NULL)
		return image_add(shop, upload, arena, out, e);
	if ((rc = idempotency_key_check(key, false, e)) != RC_OK)
		return rc;
	id_of_effect(person, "POST",
	    arena_concat(arena, "/api/products/",
		text_num(upload->product_id, num), "/images", NULL),
	    key, id);
	upload_hash(upload, arena, hash);
	hash_bytea(hash, bytea);
	if ((rc = take(shop, id, bytea, &taken, arena, e)) != RC_OK)
		return rc;
	rc = image_add(shop, upload, arena, out, e);
	if (rc != RC_OK && taken != NULL)
		give_back(shop, id, taken, arena);
	return rc;
}

enum rc
upload_purge(struct shop *shop, int max, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	pg_arg_int(&args, max);
	return pg_exec(shop->pg, PG_PRIMARY, &key_old, &args, arena, NULL, e);
}

const struct pg_stmt *const upload_statements[] = { &key_take, &key_give_back,
	&key_old, NULL };
