/*
 * Forgotten passwords. Whether an address has an account must not show in how
 * long the answer takes: for one that has none the same things are written,
 * and taken back in the same transaction.
 *
 * The secret of the link stands in the mail and, until that is sent, in its
 * task; the table has its hash.
 */
#include "shop/account_int.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "shop/session.h"
#include "shop/shop.h"
#include "store/mail.h"
#include "store/outbox.h"
#include "store/pg.h"

static const struct pg_stmt reset_insert = { "reset_insert",
	"WITH c AS (SELECT id, email FROM customer"
	"   WHERE lower(email) = lower($2)),"
	" i AS (INSERT INTO password_reset (token_hash, customer_id, "
	"expires_at)"
	"   SELECT $1::bytea, id, now() + interval '1 hour' FROM c"
	"   WHERE (SELECT count(*) FROM password_reset r"
	"     WHERE r.customer_id = c.id AND r.expires_at > now()"
	"     AND r.used_at IS NULL) < $3::int"
	"   RETURNING customer_id)"
	" SELECT c.id, c.email FROM c JOIN i ON i.customer_id = c.id",
	3 };

static const struct pg_stmt reset_look = { "reset_look",
	"SELECT c.id, c.email FROM password_reset r"
	" JOIN customer c ON c.id = r.customer_id"
	" WHERE r.token_hash = $1::bytea AND r.used_at IS NULL"
	" AND r.expires_at > now()",
	1 };

static const struct pg_stmt reset_use = { "reset_use",
	"UPDATE password_reset SET used_at = now() WHERE token_hash = $1::bytea"
	" AND used_at IS NULL AND expires_at > now()",
	1 };

const struct pg_stmt *const account_reset_statements[] = { &reset_insert,
	&reset_look, &reset_use, NULL };

static void
arg_secret(struct pg_args *args, const char *secret, struct arena *arena)
{
	char *hex = arena_alloc(arena, 2 + 64 + 1);
	unsigned char hash[32];

	secret_hash(secret, hash);
	hash_bytea(hash, hex);
	pg_arg_str(args, hex);
}

/* ---- asking for a link */

static enum rc
write_mail(struct shop *shop, const struct pg_rows *rows, const char *key,
    const char *secret, struct arena *arena, struct err *e)
{
	json_t *data = json_pack("{s:s, s:I, s:s, s:s}", "kind",
	    "password_reset", "customerId", (json_int_t)pg_int(rows, 0, 0),
	    "email", pg_str(rows, 0, 1), "secret", secret);
	char *text = json_dumps(data, JSON_COMPACT);
	enum rc rc = outbox_write(shop->pg, 1,
	    &(struct outbox_task){
		.type = "send_email", .key = key, .data = text },
	    arena, e);

	free(text);
	json_decref(data);
	return rc;
}

static enum rc
write_nothing(
    struct shop *shop, const char *key, struct arena *arena, struct err *e)
{
	enum rc rc = outbox_write(shop->pg, 1,
	    &(struct outbox_task){ .type = "send_email",
		.key = key,
		.data = "{}",
		.delay_ms = OUTBOX_HIDDEN },
	    arena, e);

	return rc == RC_OK ? outbox_drop(shop->pg, "send_email", key, arena, e)
			   : rc;
}

enum rc
account_forgot(struct shop *shop, const char *email,
    const struct client *client, struct arena *arena, int *retry_after_s,
    struct err *e)
{
	char secret[SECRET_CHARS + 1];
	struct pg_args args = { 0 };
	struct pg_rows rows;
	const char *key;
	enum rc rc;

	if (!mail_address_ok(email))
		return err_set(e, RC_INVALID, "invalid_field",
		    "email: this is no address such as name@example.com");
	rc = tries_take(shop, "forgot", email, client, arena, retry_after_s, e);
	if (rc != RC_OK)
		return rc;
	secret_make(secret);
	arg_secret(&args, secret, arena);
	key = arena_concat(arena, "reset:", args.v[0], NULL);
	pg_arg_str(&args, email);
	pg_arg_int(&args, RESETS_OPEN);
	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &reset_insert, &args, arena, &rows, e);
	if (rc == RC_OK && rows.n > 0)
		rc = write_mail(shop, &rows, key, secret, arena, e);
	else if (rc == RC_OK)
		rc = write_nothing(shop, key, arena, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) == RC_OK)
		outbox_note(&shop->waker, "email");
	return rc;
}

/* ---- using it */

static enum rc
bad_token(struct err *e)
{
	return err_set(e, RC_REFUSED, "bad_reset_token",
	    "This link has been used, or is too old");
}

static enum rc
use(struct shop *shop, const struct pg_args *token, int64_t id,
    const char *hash, struct arena *arena, struct session_ends *ends,
    struct err *e)
{
	struct pg_rows rows;
	enum rc rc =
	    pg_exec(shop->pg, PG_PRIMARY, &reset_use, token, arena, &rows, e);

	/* Somebody was faster. */
	if (rc == RC_OK && rows.affected == 0)
		return bad_token(e);
	return rc == RC_OK ? password_write(shop, id, hash, arena, ends, e)
			   : rc;
}

enum rc
account_reset(struct shop *shop, const char *secret, const char *password,
    struct arena *arena, int64_t *id, struct err *e)
{
	char hash[PASSWORD_HASH_BYTES];
	struct session_ends ends;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	if (strlen(secret) != SECRET_CHARS)
		return bad_token(e);
	arg_secret(&args, secret, arena);
	rc = pg_exec(shop->pg, PG_PRIMARY, &reset_look, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		return bad_token(e);
	if ((rc = password_check(password, pg_str(&rows, 0, 1), e)) != RC_OK ||
	    (rc = password_hash(shop, password, hash, e)) != RC_OK ||
	    (rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = use(shop, &args, pg_int(&rows, 0, 0), hash, arena, &ends, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) != RC_OK)
		return rc;
	session_ended(shop, &ends, arena);
	*id = pg_int(&rows, 0, 0);
	return RC_OK;
}
