#include "shop/token.h"

#include <sodium.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/pg.h"

#define PREFIX "souk_"
enum { SECRET = 32, HEX = 2 * crypto_hash_sha256_BYTES + 1 };

static const struct pg_stmt token_insert = { "token_insert",
	"INSERT INTO api_token (token_hash, role, name)"
	" VALUES (decode($1, 'hex'), $2, $3) RETURNING id",
	3 };

static const struct pg_stmt token_by_hash = { "token_by_hash",
	"SELECT id, role FROM api_token"
	" WHERE token_hash = decode($1, 'hex') AND revoked_at IS NULL",
	1 };

static const struct pg_stmt token_end = { "token_end",
	"UPDATE api_token SET revoked_at = coalesce(revoked_at, now())"
	" WHERE id = $1",
	1 };

#define UTC(column)                                                            \
	"to_char(" column " AT TIME ZONE 'UTC',"                               \
	" 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

static const struct pg_stmt token_all = { "token_all",
	"SELECT id, role, name, " UTC("created_at") ", " UTC(
	    "revoked_at") " FROM api_token ORDER BY id",
	0 };

const struct pg_stmt *const token_statements[] = { &token_by_hash, NULL };

static void
token_hash(const char *token, char hex[HEX])
{
	unsigned char digest[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256(
	    digest, (const unsigned char *)token, strlen(token));
	text_hex(digest, sizeof digest, hex);
}

enum rc
token_create(struct pg *pg, const char *role, const char *name,
    struct arena *arena, char token[TOKEN_CHARS + 1], int64_t *id,
    struct err *e)
{
	unsigned char secret[SECRET];
	char hex[HEX];
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	if (strcmp(role, "admin") != 0)
		return err_set(e, RC_INVALID, "invalid_role",
		    "role \"%s\": admin is the one there is", role);
	if (name != NULL &&
	    (!utf8_valid(name, strlen(name)) || strlen(name) > 255))
		return err_set(e, RC_INVALID, "invalid_name",
		    "the name must be UTF-8 of at most 255 bytes");
	if (sodium_init() < 0)
		return err_set(
		    e, RC_FAIL, "no_random", "libsodium: no random numbers");
	randombytes_buf(secret, sizeof secret);
	memcpy(token, PREFIX, strlen(PREFIX));
	(void)sodium_bin2base64(token + strlen(PREFIX),
	    TOKEN_CHARS + 1 - strlen(PREFIX), secret, sizeof secret,
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(secret, sizeof secret);
	token_hash(token, hex);

	pg_arg_str(&args, hex);
	pg_arg_str(&args, role);
	pg_arg_str(&args, name == NULL ? "" : name);
	rc = pg_exec(pg, PG_PRIMARY, &token_insert, &args, arena, &rows, e);
	if (rc == RC_OK)
		*id = pg_int(&rows, 0, 0);
	return rc;
}

static bool
token_well_formed(const char *s)
{
	return strlen(s) == TOKEN_CHARS &&
	       strncmp(s, PREFIX, strlen(PREFIX)) == 0 &&
	       strspn(s + strlen(PREFIX),
		   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		   "0123456789-_") == TOKEN_CHARS - strlen(PREFIX);
}

enum rc
token_check(struct pg *pg, const char *presented, struct arena *arena,
    struct token_owner *out, struct err *e)
{
	char hex[HEX];
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	if (!token_well_formed(presented))
		goto none;
	token_hash(presented, hex);
	pg_arg_str(&args, hex);
	rc = pg_exec(pg, PG_PRIMARY, &token_by_hash, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	if (rows.n == 0)
		goto none;
	out->id = pg_int(&rows, 0, 0);
	out->role = pg_str(&rows, 0, 1);
	return RC_OK;
none:
	return err_set(e, RC_NONE, "invalid_token",
	    "The API token is not known, or was revoked");
}

enum rc
token_revoke(struct pg *pg, int64_t id, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, id);
	rc = pg_exec(pg, PG_PRIMARY, &token_end, &args, arena, &rows, e);
	if (rc == RC_OK && rows.affected == 0)
		return err_set(e, RC_NONE, "no_token", "there is no token %lld",
		    (long long)id);
	return rc;
}

enum rc
token_list(struct pg *pg, struct arena *arena, const struct token_row **out,
    int *n, struct err *e)
{
	struct pg_rows rows;
	struct token_row *list;
	enum rc rc = pg_exec(pg, PG_PRIMARY, &token_all, NULL, arena, &rows, e);

	if (rc != RC_OK)
		return rc;
	list = arena_calloc(arena, (size_t)rows.n + 1, sizeof *list);
	for (int i = 0; i < rows.n; i++) {
		list[i] = (struct token_row){
			.id = pg_int(&rows, i, 0),
			.role = pg_str(&rows, i, 1),
			.name = pg_str(&rows, i, 2),
			.created_at = pg_str(&rows, i, 3),
			.revoked_at = pg_cell(&rows, i, 4).p,
		};
	}
	*out = list;
	*n = rows.n;
	return RC_OK;
}
