/*
 * Sessions. The record that the cache keeps is a line of numbers and two
 * strings, read without a parser, since every request of a buyer reads one:
 *
 *	CUSTOMER PUBLIC-ID ADMIN SEEN-MS EXPIRES-MS EMAIL-BYTES\n EMAIL NAME
 *
 * Whether it is over is judged at each use by these times, and a record is
 * kept no longer than the session would live unused; using it writes seen_at
 * and invalidates the record, so that others learn of it.
 *
 * A replica may not have a session that began a moment ago: none there is
 * asked of the primary. That an ended one does not come back from a replica is
 * the cache's doing (cache.h, versions).
 *
 * SHA-256 of the token is a third of what an answer "sold out" costs beyond the
 * protocol, so a process remembers the hashes of the tokens that it saw, found
 * by SipHash under a key of its own: who does not know that key cannot make a
 * token that is taken for another's, and the tokens themselves are not kept.
 */
#include "shop/session.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "shop/shop.h"
#include "store/invalidation.h"
#include "store/pg.h"

enum {
	HEX = 64,
	AGENT_MAX = 500, /* as the schema says */
	ADDRESS_MAX = 100,
	SEEN_MAX = 64,        /* noted at a time; more are noted again */
	SEEN_PART = 20,       /* of idle */
	SEEN_PAUSE_MS = 5000, /* after a failure */
	HASHES = 4096,        /* remembered; a power of two */
};

#define KEY "session:"

/* A token's SipHash-2-4 of 128 bits, and its SHA-256 in hex; all zero: free. */
struct known_hash {
	unsigned char token[crypto_shorthash_siphashx24_BYTES];
	char hex[HEX];
};

struct sessions {
	int64_t idle_ms, absolute_s;
	unsigned char hash_key[crypto_shorthash_siphashx24_KEYBYTES];
	struct known_hash *hashes; /* HASHES of them */
	int n_seen;
	char seen[SEEN_MAX][HEX + 1];
	int64_t seen_not_before; /* mono ms */
};

struct sessions *
sessions_new(const struct conf *conf)
{
	struct sessions *s = xcalloc(1, sizeof *s);

	s->idle_ms = conf_int(conf, "session", "idle") * 1000;
	s->absolute_s = conf_int(conf, "session", "absolute");
	randombytes_buf(s->hash_key, sizeof s->hash_key);
	s->hashes = xcalloc(HASHES, sizeof *s->hashes);
	return s;
}

void
sessions_free(struct sessions *sessions)
{
	if (sessions == NULL)
		return;
	free(sessions->hashes);
	free(sessions);
}

static const struct pg_stmt session_by_hash = { "session_by_hash",
	"SELECT s.customer_id, s.public_id, c.role = 'admin',"
	" (extract(epoch FROM s.seen_at) * 1000)::int8,"
	" (extract(epoch FROM s.expires_at) * 1000)::int8, c.email, c.name"
	" FROM session s JOIN customer c ON c.id = s.customer_id"
	" WHERE s.token_hash = $1::bytea AND s.expires_at > now()"
	" AND s.seen_at > now() - $2::int8 * interval '1 ms'",
	2 };

static const struct pg_stmt session_insert = { "session_insert",
	"INSERT INTO session (token_hash, customer_id, expires_at, user_agent,"
	" address) VALUES ($1::bytea, $2, now() + $3::int8 * interval '1 s',"
	" $4, $5)",
	5 };

static const struct pg_stmt session_delete = { "session_delete",
	"DELETE FROM session WHERE token_hash = $1::bytea"
	" RETURNING encode(token_hash, 'hex')",
	1 };

static const struct pg_stmt session_delete_one = { "session_delete_one",
	"DELETE FROM session WHERE public_id = $2 AND customer_id = $1"
	" RETURNING encode(token_hash, 'hex')",
	2 };

static const struct pg_stmt session_delete_all = { "session_delete_all",
	"DELETE FROM session WHERE customer_id = $1 AND public_id <> $2"
	" RETURNING encode(token_hash, 'hex')",
	2 };

/* That one, and the customer's oldest, so that $3 are left. */
static const struct pg_stmt session_make_room = { "session_make_room",
	"DELETE FROM session WHERE token_hash = ANY (ARRAY("
	" SELECT $1::bytea UNION ALL"
	" (SELECT token_hash FROM session WHERE customer_id = $2"
	"  ORDER BY created_at DESC, token_hash OFFSET $3::int)))"
	" RETURNING encode(token_hash, 'hex')",
	3 };

#define UTC "AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

static const struct pg_stmt session_of_customer = { "session_of_customer",
	"SELECT public_id, to_char(created_at " UTC ", to_char(seen_at " UTC
	", user_agent, address FROM session WHERE customer_id = $1"
	" AND expires_at > now()"
	" AND seen_at > now() - $2::int8 * interval '1 ms'"
	" ORDER BY seen_at DESC, public_id DESC LIMIT $3::int",
	3 };

/* $1: hashes in hex, parted by commas. */
static const struct pg_stmt session_seen = { "session_seen",
	"UPDATE session SET seen_at = now() WHERE token_hash = ANY (ARRAY("
	" SELECT decode(h, 'hex') FROM unnest(string_to_array($1, ',')) h))"
	" AND seen_at < now() - $2::int8 * interval '1 ms'",
	2 };

static const struct pg_stmt session_delete_over = { "session_delete_over",
	"DELETE FROM session WHERE token_hash IN ("
	" SELECT token_hash FROM session WHERE expires_at < now() OR"
	" seen_at < now() - $1::int8 * interval '1 ms' LIMIT $2::int)",
	2 };

static const struct pg_stmt reset_delete_over = { "reset_delete_over",
	"DELETE FROM password_reset WHERE expires_at < now()", 0 };

const struct pg_stmt *const session_statements[] = { &session_by_hash,
	&session_insert, &session_delete, &session_delete_one,
	&session_delete_all, &session_make_room, &session_of_customer,
	&session_seen, NULL };

/* ---- beginning */

/* At most max bytes, whole characters, UTF-8 without control characters:
 * headers are what a stranger sends. */
static const char *
clean(const char *s, size_t max, struct arena *arena)
{
	size_t n = s == NULL ? 0 : strlen(s);
	char *out;

	if (n == 0 || !utf8_valid(s, n))
		return "";
	out = arena_strndup(arena, s, utf8_cut(s, n, max));
	for (char *p = out; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	}
	return out;
}

static const char *
token_hex(const char *token, struct arena *arena)
{
	unsigned char hash[32];
	char *hex = arena_alloc(arena, HEX + 1);

	secret_hash(token, hash);
	text_hex(hash, sizeof hash, hex);
	return hex;
}

static void
arg_hash(struct pg_args *args, const char *hex, struct arena *arena)
{
	pg_arg_str(args, arena_concat(arena, "\\x", hex, NULL));
}

enum rc
session_start(struct shop *shop, int64_t customer_id, const char *user_agent,
    const char *address, struct arena *arena, char token[SECRET_CHARS + 1],
    struct err *e)
{
	struct pg_args args = { 0 };
	char made[SECRET_CHARS + 1];
	enum rc rc;

	secret_make(made);
	arg_hash(&args, token_hex(made, arena), arena);
	pg_arg_int(&args, customer_id);
	pg_arg_int(&args, shop->sessions->absolute_s);
	pg_arg_str(&args, clean(user_agent, AGENT_MAX, arena));
	pg_arg_str(&args, clean(address, ADDRESS_MAX, arena));
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &session_insert, &args, arena, NULL, e);
	if (rc == RC_OK)
		memcpy(token, made, sizeof made);
	return rc;
}

/* ---- who somebody is */

static enum rc
nobody(struct err *e)
{
	return err_set(e, RC_NONE, "no_session", "This session has ended");
}

struct record {
	int64_t customer_id, public_id, admin, seen_ms, expires_ms;
	struct span email, name;
};

static void
record_write(const struct pg_rows *rows, struct strbuf *out)
{
	struct span email = pg_cell(rows, 0, 5), name = pg_cell(rows, 0, 6);

	strbuf_addf(out, "%lld %lld %d %lld %lld %zu\n",
	    (long long)pg_int(rows, 0, 0), (long long)pg_int(rows, 0, 1),
	    (int)pg_bool(rows, 0, 2), (long long)pg_int(rows, 0, 3),
	    (long long)pg_int(rows, 0, 4), email.n);
	strbuf_addspan(out, email);
	strbuf_addspan(out, name);
}

/* One number and the character behind it. */
static bool
next_number(struct span *s, char end, int64_t *out)
{
	size_t n = 0;

	while (n < s->n && s->p[n] != end)
		n++;
	if (n == s->n ||
	    !text_int((struct span){ s->p, n }, 0, INT64_MAX, out))
		return false;
	*s = (struct span){ s->p + n + 1, s->n - n - 1 };
	return true;
}

static bool
record_read(struct span s, struct record *out)
{
	int64_t n;

	if (!next_number(&s, ' ', &out->customer_id) ||
	    !next_number(&s, ' ', &out->public_id) ||
	    !next_number(&s, ' ', &out->admin) ||
	    !next_number(&s, ' ', &out->seen_ms) ||
	    !next_number(&s, ' ', &out->expires_ms) ||
	    !next_number(&s, '\n', &n) || (uint64_t)n > s.n ||
	    out->customer_id == 0)
		return false;
	out->email = (struct span){ s.p, (size_t)n };
	out->name = (struct span){ s.p + n, s.n - (size_t)n };
	return true;
}

/* Until when it lives if nobody uses it. */
static int64_t
over_ms(const struct shop *shop, const struct record *r)
{
	int64_t idle = r->seen_ms + shop->sessions->idle_ms;

	return idle < r->expires_ms ? idle : r->expires_ms;
}

struct fetch {
	struct shop *shop;
	const char *hex;
};

static enum rc
fetch(void *arg, enum pg_node node, struct cache_fill *fill, struct err *e)
{
	const struct fetch *f = arg;
	struct shop *shop = f->shop;
	struct pg_args args = { 0 };
	struct pg_rows rows;
	struct record r;
	struct strbuf sb;
	int64_t left_ms;
	enum rc rc;

	arg_hash(&args, f->hex, fill->arena);
	pg_arg_int(&args, shop->sessions->idle_ms);
	rc = pg_exec(
	    shop->pg, node, &session_by_hash, &args, fill->arena, &rows, e);
	if (rc == RC_OK && rows.n == 0 && node == PG_REPLICA)
		rc = pg_exec(shop->pg, PG_PRIMARY, &session_by_hash, &args,
		    fill->arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	fill->none = rows.n == 0;
	if (fill->none)
		return RC_OK;
	strbuf_init(&sb, 256);
	record_write(&rows, &sb);
	fill->body =
	    (struct span){ arena_memdup(fill->arena, sb.s, sb.len), sb.len };
	strbuf_release(&sb);
	if (!record_read(fill->body, &r))
		return err_set(e, RC_FAIL, "bad_record", "session record");
	/* By then it is read anew: used elsewhere meanwhile, or over. */
	left_ms = over_ms(shop, &r) - clock_wall_ms();
	if (left_ms < (int64_t)shop->kind[SK_SESSION].fresh_s * 1000)
		fill->fresh_s = left_ms > 1000 ? (int)(left_ms / 1000) : 1;
	return RC_OK;
}

/* To be written by session_turn(). */
static void
note_seen(struct sessions *s, const char *hex)
{
	for (int i = 0; i < s->n_seen; i++) {
		if (memcmp(s->seen[i], hex, HEX) == 0)
			return;
	}
	if (s->n_seen < SEEN_MAX)
		memcpy(s->seen[s->n_seen++], hex, HEX + 1);
}

/* What a form carries instead of the token: who reads a page's source has not
 * got the cookie. */
const char *
session_form_token(const char *token, struct arena *arena)
{
	return token_hex(arena_concat(arena, "souk form ", token, NULL), arena);
}

/* SHA-256 of a token in hex, with a NUL. False: it cannot be a token. */
static bool
find_hash(struct sessions *s, const char *token, char hex[HEX + 1])
{
	unsigned char id[crypto_shorthash_siphashx24_BYTES], hash[32];
	size_t n = strnlen(token, SECRET_CHARS + 1);
	struct known_hash *known;

	if (n != SECRET_CHARS)
		return false;
	(void)crypto_shorthash_siphashx24(
	    id, (const unsigned char *)token, n, s->hash_key);
	known = &s->hashes[(id[0] | id[1] << 8) % HASHES];
	if (memcmp(known->token, id, sizeof id) != 0) {
		if (!secret_well_formed(token))
			return false;
		secret_hash(token, hash);
		text_hex(hash, sizeof hash, hex);
		memcpy(known->token, id, sizeof id);
		memcpy(known->hex, hex, HEX);
		return true;
	}
	memcpy(hex, known->hex, HEX);
	hex[HEX] = '\0';
	return true;
}

enum rc
session_find(struct shop *shop, const char *token, struct arena *arena,
    struct session *out, struct err *e)
{
	char key[sizeof KEY + HEX] = KEY;
	struct fetch f = { .shop = shop, .hex = key + sizeof KEY - 1 };
	struct cache_entry entry;
	struct record r;
	int64_t now_ms;
	enum rc rc;

	if (!find_hash(shop->sessions, token, key + sizeof KEY - 1))
		return nobody(e);
	rc = cache_get(shop->cache, &shop->kind[SK_SESSION], key, fetch, &f,
	    arena, &entry, e);
	if (rc == RC_NONE)
		return nobody(e);
	if (rc != RC_OK)
		return rc;
	/* Remembered while both Redis and PostgreSQL are away: it may have
	 * ended since. */
	if (entry.from == CF_STALE)
		return err_set(e, RC_RETRY, "session_unknown",
		    "Nobody can say now whose session it is");
	if (!record_read(entry.body, &r))
		return err_set(e, RC_FAIL, "bad_record",
		    "session:%s is not a session", f.hex);
	now_ms = clock_wall_coarse_ms();
	if (now_ms >= over_ms(shop, &r))
		return nobody(e);
	if (now_ms - r.seen_ms > shop->sessions->idle_ms / SEEN_PART)
		note_seen(shop->sessions, f.hex);
	*out = (struct session){ .customer_id = r.customer_id,
		.admin = r.admin != 0,
		.email = arena_strndup(arena, r.email.p, r.email.n),
		.name = arena_strndup(arena, r.name.p, r.name.n),
		.public_id = r.public_id };
	return RC_OK;
}

/* ---- ending */

/* The keys of the sessions that a statement named, and their invalidation in
 * its transaction. */
static enum rc
write_ends(struct shop *shop, const struct pg_rows *rows, struct arena *arena,
    struct session_ends *ends, struct err *e)
{
	const char **keys =
	    arena_calloc(arena, (size_t)rows->n + 1, sizeof *keys);

	*ends = (struct session_ends){ .n = rows->n, .keys = keys };
	for (int i = 0; i < rows->n; i++)
		keys[i] = arena_concat(arena, KEY, pg_str(rows, i, 0), NULL);
	if (rows->n == 0)
		return RC_OK;
	return invalidation_write(shop->pg,
	    &(struct invalidation){ .n_keys = rows->n, .keys = keys }, arena,
	    &ends->invalidation, e);
}

static enum rc
delete_in(struct shop *shop, const struct pg_stmt *st,
    const struct pg_args *args, struct arena *arena, struct session_ends *ends,
    struct err *e)
{
	struct pg_rows rows;
	enum rc rc = pg_exec(shop->pg, PG_PRIMARY, st, args, arena, &rows, e);

	return rc == RC_OK ? write_ends(shop, &rows, arena, ends, e) : rc;
}

void
session_ended(
    struct shop *shop, const struct session_ends *ends, struct arena *arena)
{
	struct err later;

	/* What fails here is the housekeeper's. */
	if (ends->n > 0)
		(void)!invalidation_carry_out(shop->pg, shop->cache, shop->edge,
		    &(struct invalidation){
			.n_keys = ends->n, .keys = ends->keys },
		    ends->invalidation, arena, &later);
}

/* A transaction of its own; *n how many ended. */
static enum rc
delete_now(struct shop *shop, const struct pg_stmt *st,
    const struct pg_args *args, struct arena *arena, int *n, struct err *e)
{
	struct session_ends ends;
	enum rc rc;

	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	if ((rc = delete_in(shop, st, args, arena, &ends, e)) != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) != RC_OK)
		return rc;
	session_ended(shop, &ends, arena);
	*n = ends.n;
	return RC_OK;
}

enum rc
session_end(
    struct shop *shop, const char *token, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	int n;

	if (!secret_well_formed(token))
		return RC_OK;
	arg_hash(&args, token_hex(token, arena), arena);
	return delete_now(shop, &session_delete, &args, arena, &n, e);
}

enum rc
session_end_one(struct shop *shop, int64_t customer_id, int64_t public_id,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	int n = 0;
	enum rc rc;

	pg_arg_int(&args, customer_id);
	pg_arg_int(&args, public_id);
	rc = delete_now(shop, &session_delete_one, &args, arena, &n, e);
	if (rc == RC_OK && n == 0)
		return err_set(
		    e, RC_NONE, "session_not_found", "No such session");
	return rc;
}

static void
args_all(struct pg_args *args, int64_t customer_id, int64_t but)
{
	pg_arg_int(args, customer_id);
	pg_arg_int(args, but);
}

enum rc
session_end_all(struct shop *shop, int64_t customer_id, int64_t but_public_id,
    struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	int n;

	args_all(&args, customer_id, but_public_id);
	return delete_now(shop, &session_delete_all, &args, arena, &n, e);
}

enum rc
session_end_all_in(struct shop *shop, int64_t customer_id,
    int64_t but_public_id, struct arena *arena, struct session_ends *ends,
    struct err *e)
{
	struct pg_args args = { 0 };

	args_all(&args, customer_id, but_public_id);
	return delete_in(shop, &session_delete_all, &args, arena, ends, e);
}

enum rc
session_rotate(struct shop *shop, int64_t customer_id, const char *old,
    const char *user_agent, const char *address, struct arena *arena,
    char token[SECRET_CHARS + 1], struct err *e)
{
	struct pg_args args = { 0 };
	struct session_ends ends;
	enum rc rc;

	arg_hash(&args, token_hex(old, arena), arena);
	pg_arg_int(&args, customer_id);
	pg_arg_int(&args, SESSION_MAX - 1);
	if ((rc = pg_begin(shop->pg, e)) != RC_OK)
		return rc;
	rc = delete_in(shop, &session_make_room, &args, arena, &ends, e);
	if (rc == RC_OK)
		rc = session_start(
		    shop, customer_id, user_agent, address, arena, token, e);
	if (rc != RC_OK) {
		pg_rollback(shop->pg);
		return rc;
	}
	if ((rc = pg_commit(shop->pg, e)) == RC_OK)
		session_ended(shop, &ends, arena);
	return rc;
}

/* ---- the list, and housekeeping */

enum rc
session_list(struct shop *shop, int64_t customer_id, struct arena *arena,
    const struct session_row **out, int *n, struct err *e)
{
	struct pg_args args = { 0 };
	struct session_row *list;
	struct pg_rows rows;
	enum rc rc;

	pg_arg_int(&args, customer_id);
	pg_arg_int(&args, shop->sessions->idle_ms);
	pg_arg_int(&args, SESSION_MAX);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &session_of_customer, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	list = arena_calloc(arena, (size_t)rows.n + 1, sizeof *list);
	for (int i = 0; i < rows.n; i++) {
		list[i] = (struct session_row){
			.public_id = pg_int(&rows, i, 0),
			.created_at = pg_str(&rows, i, 1),
			.seen_at = pg_str(&rows, i, 2),
			.user_agent = pg_str(&rows, i, 3),
			.address = pg_str(&rows, i, 4),
		};
	}
	*out = list;
	*n = rows.n;
	return RC_OK;
}

/* Whoever keeps a record of before would note it again, and again. Also
 * where another process was first: what it told Redis may have been lost. */
static enum rc
forget_records(struct shop *shop, struct arena *arena, struct err *e)
{
	const struct sessions *s = shop->sessions;
	const char *keys[SEEN_MAX];
	int64_t lsn = 0;
	enum rc rc = pg_position(shop->pg, PG_PRIMARY, &lsn, e);

	for (int i = 0; i < s->n_seen; i++)
		keys[i] = arena_concat(arena, "session:", s->seen[i], NULL);
	return rc == RC_OK ? cache_invalidate(
				 shop->cache, s->n_seen, keys, lsn, arena, e)
			   : rc;
}

enum rc
session_turn(struct shop *shop, struct arena *arena, struct err *e)
{
	struct sessions *s = shop->sessions;
	struct pg_args args = { 0 };
	struct strbuf sb;
	int64_t now_ms;
	enum rc rc;

	if (s->n_seen == 0 || (now_ms = clock_mono_ms()) < s->seen_not_before)
		return RC_OK;
	strbuf_init(&sb, (HEX + 1) * SEEN_MAX);
	for (int i = 0; i < s->n_seen; i++)
		strbuf_addf(&sb, "%s%s", i == 0 ? "" : ",", s->seen[i]);
	pg_arg_str(&args, sb.s);
	pg_arg_int(&args, s->idle_ms / SEEN_PART);
	rc =
	    pg_exec(shop->pg, PG_PRIMARY, &session_seen, &args, arena, NULL, e);
	strbuf_release(&sb);
	if (rc == RC_OK)
		rc = forget_records(shop, arena, e);
	if (rc != RC_OK)
		s->seen_not_before = now_ms + SEEN_PAUSE_MS;
	s->n_seen = 0;
	return rc;
}

enum rc
session_purge(struct shop *shop, int max, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };
	enum rc rc;

	pg_arg_int(&args, shop->sessions->idle_ms);
	pg_arg_int(&args, max);
	rc = pg_exec(
	    shop->pg, PG_PRIMARY, &session_delete_over, &args, arena, NULL, e);
	if (rc == RC_OK)
		rc = pg_exec(shop->pg, PG_PRIMARY, &reset_delete_over, NULL,
		    arena, NULL, e);
	return rc;
}
