/*
 * Accounts. argon2id with OWASP's smaller parameters (19 MiB, two passes): many
 * processes do this at once on one machine, and a login must not push its page
 * cache out. The parameters stand in each hash; a login makes one of others
 * anew.
 *
 * Of an address that is not known a hash of nothing is verified, so that it
 * takes as long. Registering with a known one tells (409), after the same
 * work: a shop's form cannot hide it without mail, and is throttled.
 */
#include "shop/account.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/gate.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "shop/account_int.h"
#include "shop/session.h"
#include "shop/shop.h"
#include "shop/throttle.h"
#include "store/mail.h"
#include "store/pg.h"

/* A right password gives that much of its try back: a hash is dear, and whoever
 * has an account could have us make one after another. */
enum { NAME_MAX_BYTES = 255, RIGHT_PERCENT = 90 };

#define OPS 2
#define MEMORY ((size_t)19456 << 10)

_Static_assert(
    PASSWORD_HASH_BYTES >= crypto_pwhash_STRBYTES, "room for a hash");

/* Of 128 random bits that nobody kept; of the same parameters. */
static const char nobodys_hash[PASSWORD_HASH_BYTES] =
    "$argon2id$v=19$m=19456,t=2,p=1$NmSiHG6YBb2bpEGyiGrEwg"
    "$3GISJQUETBfVKfk0GJbC87pIZ+RhiP8Kn+tweUPPWCk";

static const struct pg_stmt account_insert = { "account_insert",
	"INSERT INTO customer (email, password_hash, name, role)"
	" VALUES ($1, $2, $3, $4) RETURNING id",
	4 };

const struct pg_stmt account_by_email = { "account_by_email",
	"SELECT id, password_hash FROM customer"
	" WHERE lower(email) = lower($1)",
	1 };

/* Unless it was changed meanwhile. */
static const struct pg_stmt account_rehash = { "account_rehash",
	"UPDATE customer SET password_hash = $3"
	" WHERE id = $1 AND password_hash = $2",
	3 };

static const struct pg_stmt account_password = { "account_password",
	"UPDATE customer SET password_hash = $2 WHERE id = $1", 2 };

static const struct pg_stmt account_resets_end = { "account_resets_end",
	"UPDATE password_reset SET used_at = now()"
	" WHERE customer_id = $1 AND used_at IS NULL",
	1 };

static const struct pg_stmt account_page = { "account_page",
	"SELECT id, email, role, name, to_char(created_at AT TIME ZONE 'UTC',"
	" 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM customer"
	" WHERE id > $1 AND ($2::text IS NULL OR role = $2)"
	" ORDER BY id LIMIT $3::int",
	3 };

/* $1: hashes of tokens as an array. */
static const struct pg_stmt account_buyers = { "account_buyers",
	"WITH t AS (SELECT h, 'buyer-' || encode(substr(h, 1, 12), 'hex')"
	"   || '@loadtest.invalid' AS email FROM unnest($1::bytea[]) AS h),"
	" c AS (INSERT INTO customer (email, name)"
	"   SELECT email, 'Load test' FROM t RETURNING id, email)"
	" INSERT INTO session (token_hash, customer_id, expires_at, user_agent)"
	" SELECT t.h, c.id, now() + $2::int8 * interval '1 s', 'loadtest'"
	" FROM t JOIN c USING (email)",
	2 };

const struct pg_stmt *const account_statements[] = { &account_insert,
	&account_by_email, &account_rehash, &account_password,
	&account_resets_end, NULL };

/* ---- what may be one */

/* The commonest that are long enough for us, from memory of many leaks. Lower
 * case; digits behind one of them make it no better. */
static const char *const common[] = { "password", "passwort", "passw0rd",
	"p@ssword", "p@ssw0rd", "iloveyou", "sunshine", "princess", "football",
	"baseball", "superman", "starwars", "trustno1", "whatever", "computer",
	"internet", "michelle", "jennifer", "corvette", "mercedes", "victoria",
	"liverpool", "basketball", "letmein", "welcome", "qwerty", "qwertz",
	"azerty", "asdfghjk", "asdfghjkl", "zxcvbnm", "qwertyuiop", "1q2w3e4r",
	"1q2w3e4r5t", "q1w2e3r4", "1qaz2wsx", "qazwsxedc", "abcdefgh", "abcd",
	"abc", "admin", "administrator", "changeme", "secret", "monkey",
	"dragon", "master", "shadow", "charlie", "donald", "jordan", "hello",
	"test", "guest", "default", "samsung", "google", "pokemon" };

static bool
is_run(const char *s)
{
	bool same = true, up = true, down = true;

	for (; s[1] != '\0'; s++) {
		same = same && s[1] == s[0];
		up = up && (s[1] == s[0] + 1 || (s[0] == '9' && s[1] == '0'));
		down = down && s[1] == s[0] - 1;
	}
	return same || up || down;
}

static bool
is_common(const char *password)
{
	size_t n = strlen(password);

	while (n > 0 && strchr("0123456789!.?*#", password[n - 1]) != NULL)
		n--;
	if (n == 0)
		return is_run(password);
	for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
		if ((strlen(common[i]) == n &&
			strncasecmp(common[i], password, n) == 0) ||
		    strcasecmp(common[i], password) == 0)
			return true;
	}
	return is_run(password);
}

static size_t
characters(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

enum rc
password_check(const char *password, const char *email, struct err *e)
{
	size_t n = strlen(password), local = strcspn(email, "@");

	if (!utf8_valid(password, n) || characters(password) < PASSWORD_MIN)
		return err_set(e, RC_INVALID, "invalid_field",
		    "password: at least %d characters", PASSWORD_MIN);
	if (n > PASSWORD_MAX)
		return err_set(e, RC_INVALID, "invalid_field",
		    "password: at most %d bytes", PASSWORD_MAX);
	if (is_common(password))
		return err_set(e, RC_INVALID, "invalid_field",
		    "password: this one is among the first that anybody would "
		    "try; choose another");
	if (strcasecmp(password, email) == 0 ||
	    (local == n && strncasecmp(password, email, n) == 0))
		return err_set(e, RC_INVALID, "invalid_field",
		    "password: not your own address");
	return RC_OK;
}

static enum rc
email_check(const char *email, struct err *e)
{
	if (mail_address_ok(email))
		return RC_OK;
	return err_set(e, RC_INVALID, "invalid_field",
	    "email: this is no address such as name@example.com");
}

static enum rc
name_check(const char *name, struct err *e)
{
	size_t n = strlen(name);

	if (utf8_valid(name, n) && n <= NAME_MAX_BYTES && text_plain(name) &&
	    strpbrk(name, "\t\r\n") == NULL)
		return RC_OK;
	return err_set(e, RC_INVALID, "invalid_field",
	    "name: one line of at most %d bytes", NAME_MAX_BYTES);
}

/* ---- hashes */

/* Each is tens of ms of a core. */
static enum rc
hashing_begin(struct shop *shop, struct err *e)
{
	enum { WAIT_MS = 1000 };

	if (gate_enter(shop->hashing, WAIT_MS, e) == RC_OK)
		return RC_OK;
	return err_set(e, RC_RETRY, "logins_busy",
	    "Very many people are logging in. Please try again in a moment");
}

enum rc
password_hash(struct shop *shop, const char *password,
    char hash[PASSWORD_HASH_BYTES], struct err *e)
{
	enum rc rc = hashing_begin(shop, e);
	int bad;

	if (rc != RC_OK)
		return rc;
	bad = crypto_pwhash_str_alg(hash, password, strlen(password), OPS,
	    MEMORY, crypto_pwhash_ALG_ARGON2ID13);
	gate_leave(shop->hashing);
	if (bad == 0)
		return RC_OK;
	return err_set(e, RC_FAIL, "no_memory",
	    "no memory to hash a password (%zu bytes)", MEMORY);
}

/* As libsodium wants it: with room behind it. False: no hash of ours. */
static bool
hash_copy(const char *hash, char out[PASSWORD_HASH_BYTES])
{
	size_t n = hash == NULL ? 0 : strlen(hash);

	if (n == 0 || n >= PASSWORD_HASH_BYTES)
		return false;
	memset(out, 0, PASSWORD_HASH_BYTES);
	memcpy(out, hash, n);
	return true;
}

/* hash NULL or "": takes as long, and is wrong. */
static enum rc
password_right(struct shop *shop, const char *password, const char *hash,
    bool *right, struct err *e)
{
	char copy[PASSWORD_HASH_BYTES];
	bool some = hash_copy(hash, copy);
	enum rc rc = hashing_begin(shop, e);

	if (rc != RC_OK)
		return rc;
	*right = crypto_pwhash_str_verify(some ? copy : nobodys_hash, password,
		     strlen(password)) == 0 &&
		 some;
	gate_leave(shop->hashing);
	return RC_OK;
}

/* Made with other parameters than ours of today? It can wait for the next
 * login where it fails. */
static void
rehash(struct shop *shop, int64_t id, const char *hash, const char *password,
    struct arena *arena)
{
	struct pg_args args = { 0 };
	char copy[PASSWORD_HASH_BYTES], made[PASSWORD_HASH_BYTES];

	if (!hash_copy(hash, copy) ||
	    crypto_pwhash_str_needs_rehash(copy, OPS, MEMORY) == 0 ||
	    password_hash(shop, password, made, NULL) != RC_OK)
		return;
	pg_arg_int(&args, id);
	pg_arg_str(&args, hash);
	pg_arg_str(&args, made);
	(void)!pg_exec(
	    shop->pg, PG_PRIMARY, &account_rehash, &args, arena, NULL, NULL);
}

/* ---- tries */

static struct throttle_rule
rule_of(struct shop *shop, const char *what, const char *tries)
{
	return (struct throttle_rule){ .what = what,
		.tries = (int)conf_int(shop->conf, "account", tries),
		.window_s = conf_int(shop->conf, "account", "window") };
}

/* "login" and "login-account"; of the latter the name is account and
 * network. */
static const char *
pair_what(const char *what, struct arena *arena)
{
	return arena_concat(arena, what, "-account", NULL);
}

static const char *
pair_who(const char *email, const char *network, struct arena *arena)
{
	char *both = arena_concat(arena, network, " ", email, NULL);

	for (char *p = both; *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
	return both;
}

enum rc
account_throttle(struct shop *shop, const char *what,
    const struct client *client, struct arena *arena, int *retry_after_s,
    struct err *e)
{
	struct throttle_rule rule = rule_of(shop, what, "network_tries");

	return throttle_take(shop->throttle, shop->redis, &rule,
	    throttle_network(client->address, arena), arena, retry_after_s, e);
}

enum rc
tries_take(struct shop *shop, const char *what, const char *email,
    const struct client *client, struct arena *arena, int *retry_after_s,
    struct err *e)
{
	const char *network = throttle_network(client->address, arena);
	struct throttle_rule rule =
	    rule_of(shop, pair_what(what, arena), "tries");
	enum rc rc =
	    account_throttle(shop, what, client, arena, retry_after_s, e);

	/* Where the web server does not say who asks, the pair would be the
	 * account alone. */
	if (rc != RC_OK || strcmp(network, "?") == 0)
		return rc;
	return throttle_take(shop->throttle, shop->redis, &rule,
	    pair_who(email, network, arena), arena, retry_after_s, e);
}

void
tries_give(struct shop *shop, const char *what, const char *email,
    const struct client *client, int percent, struct arena *arena)
{
	const char *network = throttle_network(client->address, arena);
	struct throttle_rule all = rule_of(shop, what, "network_tries");
	struct throttle_rule pair =
	    rule_of(shop, pair_what(what, arena), "tries");

	throttle_give(
	    shop->throttle, shop->redis, &all, percent, network, arena);
	throttle_give(shop->throttle, shop->redis, &pair, percent,
	    pair_who(email, network, arena), arena);
}

/* ---- the rules */

enum rc
account_create(struct shop *shop, const char *email, const char *password,
    const char *name, const char *role, struct arena *arena, int64_t *id,
    struct err *e)
{
	char hash[PASSWORD_HASH_BYTES];
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	if (strcmp(role, "buyer") != 0 && strcmp(role, "admin") != 0)
		return err_set(e, RC_INVALID, "invalid_field",
		    "role \"%s\": buyer or admin", role);
	if ((rc = email_check(email, e)) != RC_OK ||
	    (rc = name_check(name, e)) != RC_OK ||
	    (rc = password_check(password, email, e)) != RC_OK ||
	    (rc = password_hash(shop, password, hash, e)) != RC_OK)
		return rc;
	pg_arg_str(&args, email);
	pg_arg_str(&args, hash);
	pg_arg_str(&args, name);
	pg_arg_str(&args, role);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &account_insert, &args, arena, &rows, e);
	if (rc == RC_REFUSED && strcmp(e->code, "unique_violation") == 0)
		return err_set(e, RC_REFUSED, "email_taken",
		    "There is an account with this address already");
	if (rc == RC_OK)
		*id = pg_int(&rows, 0, 0);
	return rc;
}

enum rc
account_login(struct shop *shop, const char *email, const char *password,
    const struct client *client, struct arena *arena, int64_t *id,
    int *retry_after_s, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	const char *hash = NULL;
	bool right = false;
	enum rc rc =
	    tries_take(shop, "login", email, client, arena, retry_after_s, e);

	if (rc != RC_OK)
		return rc;
	/* Our addresses are ASCII. The database knows more capitals than the
	 * tries do (U+212A is a k to it): each would have tries of its own. */
	pg_arg_str(&args, mail_address_ok(email) ? email : "");
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &account_by_email, &args, arena, &rows, e);
	if (rc == RC_OK) {
		hash = rows.n == 0 ? NULL : pg_str(&rows, 0, 1);
		rc = password_right(shop, password, hash, &right, e);
	}
	if (rc != RC_OK) {
		tries_give(shop, "login", email, client, 100, arena);
		return rc;
	}
	if (!right)
		return err_set(e, RC_REFUSED, "bad_credentials",
		    "The address or the password is not right");
	tries_give(shop, "login", email, client, RIGHT_PERCENT, arena);
	*id = pg_int(&rows, 0, 0);
	rehash(shop, *id, hash, password, arena);
	return RC_OK;
}

enum rc
password_write(struct shop *shop, int64_t customer_id, const char *hash,
    struct arena *arena, struct session_ends *ends, struct err *e)
{
	struct pg_args set = { 0 }, end = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&set, customer_id);
	pg_arg_str(&set, hash);
	pg_arg_int(&end, customer_id);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &account_password, &set, arena, &rows, e);
	if (rc == RC_OK && rows.affected == 0)
		return err_set(e, RC_NONE, "no_user", "There is no such user");
	if (rc == RC_OK)
		rc = pg_exec(shop->pg, PG_PRIMARY, &account_resets_end, &end,
		    arena, NULL, e);
	if (rc == RC_OK)
		rc = session_end_all_in(shop, customer_id, 0, arena, ends, e);
	return rc;
}

static enum rc
password_write_now(struct shop *shop, int64_t id, const char *hash,
    struct arena *arena, struct err *e)
{
	struct session_ends ends;
	enum rc rc;

	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	if ((rc = password_write(shop, id, hash, arena, &ends, e)) != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) == RC_OK)
		session_ended(shop, &ends, arena);
	return rc;
}

enum rc
account_change_password(struct shop *shop, const char *email,
    const char *present, const char *password, const struct client *client,
    struct arena *arena, int *retry_after_s, struct err *e)
{
	char hash[PASSWORD_HASH_BYTES];
	int64_t id;
	enum rc rc;

	if ((rc = password_check(password, email, e)) != RC_OK ||
	    (rc = account_login(shop, email, present, client, arena, &id,
		 retry_after_s, e)) != RC_OK ||
	    (rc = password_hash(shop, password, hash, e)) != RC_OK)
		return rc;
	return password_write_now(shop, id, hash, arena, e);
}

enum rc
account_set_password(struct shop *shop, const char *email, const char *password,
    struct arena *arena, struct err *e)
{
	char hash[PASSWORD_HASH_BYTES];
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_str(&args, email);
	if ((rc = password_check(password, email, e)) != RC_OK ||
	    (rc = password_hash(shop, password, hash, e)) != RC_OK ||
	    (rc = pg_exec(shop->pg, PG_PRIMARY, &account_by_email, &args, arena,
		 &rows, e)) != RC_OK)
		return rc;
	if (rows.n == 0)
		return err_set(e, RC_NONE, "no_user",
		    "There is no account with the address %s", email);
	return password_write_now(shop, pg_int(&rows, 0, 0), hash, arena, e);
}

/* ---- for the operator */

enum rc
account_list(struct shop *shop, int64_t after, int max, const char *role,
    struct arena *arena, const struct account_row **out, int *n, struct err *e)
{
	struct account_row *list;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, after);
	pg_arg_str(&args, role);
	pg_arg_int(&args, max);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &account_page, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	list = arena_calloc(arena, (size_t)rows.n + 1, sizeof *list);
	for (int i = 0; i < rows.n; i++) {
		list[i] = (struct account_row){
			.id = pg_int(&rows, i, 0),
			.email = pg_str(&rows, i, 1),
			.role = pg_str(&rows, i, 2),
			.name = pg_str(&rows, i, 3),
			.created_at = pg_str(&rows, i, 4),
		};
	}
	*out = list;
	*n = rows.n;
	return RC_OK;
}

enum rc
account_make_buyers(struct shop *shop, int n, char (*tokens)[SECRET_CHARS + 1],
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	unsigned char hash[32];
	char hex[2 + 64 + 1];
	struct strbuf list;
	enum rc rc;

	strbuf_init(&list, (size_t)n * 72);
	for (int i = 0; i < n; i++) {
		secret_make(tokens[i]);
		secret_hash(tokens[i], hash);
		hash_bytea(hash, hex);
		strbuf_addf(&list, "%s\"\\%s\"", i == 0 ? "{" : ",", hex);
	}
	strbuf_addc(&list, '}');
	pg_arg_str(&args, list.s);
	pg_arg_int(&args, conf_int(shop->conf, "session", "absolute"));
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &account_buyers, &args, arena, NULL, e);
	strbuf_release(&list);
	return rc;
}
