/*
 * invalidation_log - what the housekeeper of each host does every 100 ms:
 *
 *	tail      rows that are new to this host: purge its edge
 *	left      rows that nobody carried out within 150 ms: their writer died,
 *	          or Redis was away
 *	replay    Redis is another one than before (restarted, or failed over:
 *	          it may have lost its last second): the last hour again
 *	purges    a purged page may be stored once more: nginx had it under
 *	          way, or it was made of a record that was not invalidated yet.
 *	          So each is purged again after 300 ms and 1 s, and until it is
 *	          known for some time that the row was carried out
 *	clean     rows done more than a day ago go
 *
 * The tail goes by transaction id, not by id or time: those are given when the
 * row is written and become visible in another order. All rows with a txid
 * below the xmin of a snapshot are visible in it or never will be, so each
 * query begins at the xmin of the last one and leaves out what it has seen
 * from there on.
 *
 * How far this host is stands in Redis, with that Redis's run_id, a few seconds
 * late: a housekeeper that is replaced (a reload) goes on from there. Where it
 * is not there the last hour is done again.
 *
 * No row is locked while it is carried out: a Redis that hangs would let the
 * writer hang with us. Two hosts may do the same row; that changes nothing.
 */
#include "store/invalidation.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/cache.h"
#include "store/edge.h"
#include "store/pg.h"
#include "store/redis.h"

#define TAIL_ROWS 500
#define LEFT_ROWS 100
#define REPLAY_ROWS 200
#define PURGES_A_TURN 1000
#define SAVE_MS 2000
#define CLEAN_MS 60000
#define CLEAN_ROWS 1000
#define STR2(n) #n
#define STR(n) STR2(n)

/* $1: from that txid on; $2: without these */
static const struct pg_stmt log_tail = { "invalidation_tail",
	"SELECT s.xmin, i.* FROM"
	" (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8) s(xmin)"
	" LEFT JOIN LATERAL (SELECT id, txid::text::int8,"
	"  array_to_json(edge_paths), edge_lists, done_at IS NOT NULL"
	"  FROM invalidation WHERE txid >= $1::xid8 AND id <> ALL($2::int8[])"
	"  ORDER BY txid, id LIMIT " STR(TAIL_ROWS) ") i ON true",
	2 };
static const struct pg_stmt log_xmin = { "invalidation_xmin",
	"SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8", 0 };
static const struct pg_stmt log_left = { "invalidation_left",
	"SELECT id, array_to_json(keys) FROM invalidation"
	" WHERE done_at IS NULL"
	" AND created_at < clock_timestamp() - interval '150 ms'"
	" ORDER BY id LIMIT " STR(LEFT_ROWS),
	0 };
static const struct pg_stmt log_done = { "invalidation_all_done",
	"UPDATE invalidation SET done_at = clock_timestamp()"
	" WHERE id = ANY($1::int8[]) AND done_at IS NULL",
	1 };
static const struct pg_stmt log_undone = { "invalidation_undone",
	"SELECT id FROM invalidation"
	" WHERE id = ANY($1::int8[]) AND done_at IS NULL",
	1 };
static const struct pg_stmt log_replay = { "invalidation_replay",
	"SELECT id, array_to_json(keys), array_to_json(edge_paths), edge_lists"
	" FROM invalidation WHERE id > $1"
	" AND created_at > clock_timestamp() - interval '1 hour'"
	" ORDER BY id LIMIT " STR(REPLAY_ROWS),
	1 };
/* now(), not clock_timestamp(): only what is stable can be looked up in an
 * index. An array, since a join would read the whole table. */
static const struct pg_stmt log_clean = { "invalidation_clean",
	"DELETE FROM invalidation WHERE id = ANY(ARRAY("
	"SELECT id FROM invalidation"
	" WHERE created_at < now() - interval '1 day'"
	" AND done_at < now() - interval '1 hour'"
	" ORDER BY created_at LIMIT " STR(CLEAN_ROWS) "))",
	0 };

/* Pages of one row, to be purged (again). */
struct purge {
	struct purge *next;
	int64_t id;
	int64_t txid; /* 0: of a replay */
	int64_t due_ms;
	int times; /* purged already */
	bool done; /* the row was carried out when last looked at */
	bool lists;
	json_t *paths;
};

struct seen {
	int64_t id, txid;
};

struct invalidation_log {
	struct pg *pg;
	struct redis *redis;
	struct cache *cache;
	struct edge *edge;
	struct arena *arena;

	int64_t from;      /* txid: all below are seen; 0: not begun */
	struct seen *seen; /* from `from` on */
	size_t nseen, seen_cap;

	char run_id[64]; /* "": not known */
	bool replaying;
	int64_t replayed; /* id */

	struct purge *purges, **purges_end;
	int64_t save_at, clean_at;
	char *saved_key;
};

struct invalidation_log *
invalidation_log_new(
    struct pg *pg, struct redis *redis, struct cache *cache, struct edge *edge)
{
	struct invalidation_log *log = xcalloc(1, sizeof *log);
	char host[256] = "";
	struct strbuf key;

	log->pg = pg;
	log->redis = redis;
	log->cache = cache;
	log->edge = edge;
	log->arena = arena_new();
	log->purges_end = &log->purges;
	(void)gethostname(host, sizeof host - 1);
	strbuf_init(&key, 128);
	strbuf_addf(&key, "invalidation:seen:%s:%s", host, edge_dir(edge));
	log->saved_key = xstrdup(key.s);
	strbuf_release(&key);
	return log;
}

static void
purge_free(struct purge *p)
{
	json_decref(p->paths);
	free(p);
}

void
invalidation_log_free(struct invalidation_log *log)
{
	if (log == NULL)
		return;
	while (log->purges != NULL) {
		struct purge *next = log->purges->next;

		purge_free(log->purges);
		log->purges = next;
	}
	arena_free(log->arena);
	free(log->seen);
	free(log->saved_key);
	free(log);
}

/* "{1,2,3}" */
struct ids {
	struct strbuf sb;
	int n;
};

static void
ids_init(struct ids *ids)
{
	strbuf_init(&ids->sb, 64);
	strbuf_addc(&ids->sb, '{');
	ids->n = 0;
}

static void
ids_add(struct ids *ids, int64_t id)
{
	strbuf_addf(&ids->sb, "%s%" PRId64, ids->n++ > 0 ? "," : "", id);
}

static const char *
ids_take(struct ids *ids, struct arena *arena)
{
	const char *s;

	strbuf_addc(&ids->sb, '}');
	s = arena_strdup(arena, ids->sb.s);
	strbuf_release(&ids->sb);
	return s;
}

/* ---- purging this host's edge */

static void
purge_add(struct invalidation_log *log, int64_t id, int64_t txid,
    const char *paths, bool lists, bool done)
{
	json_t *list;
	struct purge *p;

	if (edge_dir(log->edge)[0] == '\0')
		return;
	list = json_loads(paths, 0, NULL);
	if (!lists && json_array_size(list) == 0) {
		json_decref(list);
		return;
	}
	p = xcalloc(1, sizeof *p);
	p->id = id;
	p->txid = txid;
	p->paths = list;
	p->lists = lists;
	p->done = done;
	*log->purges_end = p;
	log->purges_end = &p->next;
}

static enum rc
purge_paths(struct invalidation_log *log, const struct purge *p, struct err *e)
{
	enum rc rc = RC_OK, one;
	const json_t *path;
	size_t i;

	json_array_foreach(p->paths, i, path)
	{
		if (!json_is_string(path))
			continue;
		one = edge_purge_item(log->edge, json_string_value(path), e);
		if (one != RC_OK)
			rc = one;
	}
	return rc;
}

/* Which of those that are due has nobody carried out yet? */
static enum rc
purges_undone(struct invalidation_log *log, int64_t now, struct pg_rows *rows,
    struct err *e)
{
	struct pg_args args = { 0 };
	struct ids ids;
	int n = 0;

	ids_init(&ids);
	for (struct purge *p = log->purges; p != NULL && n < PURGES_A_TURN;
	     p = p->next) {
		if (p->due_ms > now)
			continue;
		n++;
		if (!p->done && p->times > 0)
			ids_add(&ids, p->id);
	}
	*rows = (struct pg_rows){ 0 };
	if (ids.n == 0) {
		strbuf_release(&ids.sb);
		return RC_OK;
	}
	pg_arg_str(&args, ids_take(&ids, log->arena));
	return pg_exec(
	    log->pg, PG_PRIMARY, &log_undone, &args, log->arena, rows, e);
}

static bool
is_among(const struct pg_rows *rows, int64_t id)
{
	for (int i = 0; i < rows->n; i++) {
		if (pg_int(rows, i, 0) == id)
			return true;
	}
	return false;
}

/* It was purged: when again? False: never. */
static bool
purge_again(struct purge *p, bool done, int64_t now)
{
	bool was_done = p->done;

	p->done = p->done || (p->times > 0 && done);
	p->times++;
	if (p->times >= 3 && was_done)
		return false;
	p->due_ms = now + (p->times == 1 ? 300 : 700);
	return true;
}

static enum rc
purge_due(struct invalidation_log *log, struct err *e)
{
	int64_t now = clock_mono_ms();
	struct purge **at = &log->purges, *p;
	enum rc rc = RC_OK, one;
	struct pg_rows undone;
	bool lists = false, known;
	int n = 0;

	if (log->purges == NULL)
		return RC_OK;
	known = purges_undone(log, now, &undone, e) == RC_OK;
	while ((p = *at) != NULL) {
		if (p->due_ms > now || n++ >= PURGES_A_TURN) {
			at = &p->next;
			continue;
		}
		lists = lists || p->lists;
		one = purge_paths(log, p, e);
		if (one != RC_OK)
			rc = one;
		if (purge_again(p, known && !is_among(&undone, p->id), now)) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		purge_free(p);
	}
	log->purges_end = at;
	if (lists && (one = edge_purge_lists(log->edge, e)) != RC_OK)
		rc = one;
	return rc;
}

/* ---- the tail */

static void
seen_add(struct invalidation_log *log, int64_t id, int64_t txid)
{
	if (log->nseen == log->seen_cap) {
		log->seen_cap = log->seen_cap == 0 ? 64 : log->seen_cap * 2;
		log->seen =
		    xrealloc(log->seen, log->seen_cap * sizeof *log->seen);
	}
	log->seen[log->nseen++] = (struct seen){ id, txid };
}

/* All below that txid is seen. */
static void
seen_from(struct invalidation_log *log, int64_t from)
{
	size_t kept = 0;

	for (size_t i = 0; i < log->nseen; i++) {
		if (log->seen[i].txid >= from)
			log->seen[kept++] = log->seen[i];
	}
	log->nseen = kept;
	log->from = from;
}

static enum rc
tail(struct invalidation_log *log, struct err *e)
{
	struct pg_args args = { 0 };
	int64_t xmin, last = 0;
	struct pg_rows rows;
	struct ids ids;
	enum rc rc;

	ids_init(&ids);
	for (size_t i = 0; i < log->nseen; i++)
		ids_add(&ids, log->seen[i].id);
	pg_arg_int(&args, log->from);
	pg_arg_str(&args, ids_take(&ids, log->arena));
	rc = pg_exec(
	    log->pg, PG_PRIMARY, &log_tail, &args, log->arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	xmin = pg_int(&rows, 0, 0);
	for (int i = 0; i < rows.n && pg_cell(&rows, i, 1).p != NULL; i++) {
		last = pg_int(&rows, i, 2);
		seen_add(log, pg_int(&rows, i, 1), last);
		purge_add(log, pg_int(&rows, i, 1), last, pg_str(&rows, i, 3),
		    pg_bool(&rows, i, 4), pg_bool(&rows, i, 5));
	}
	/* Not all of them came: what lies behind the last one is to be seen. */
	if (rows.n == TAIL_ROWS && last < xmin)
		xmin = last;
	seen_from(log, xmin);
	return RC_OK;
}

/* ---- carrying out */

/* The keys of a row, in the arena. */
static int
row_keys(
    struct invalidation_log *log, const char *json, const char *const **out)
{
	json_t *list = json_loads(json, 0, NULL);
	size_t n = json_array_size(list);
	const char **keys = arena_calloc(log->arena, n + 1, sizeof *keys);
	int count = 0;

	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(list, i));

		/* Braces would be another key's slot (cache.h). */
		if (s != NULL && strpbrk(s, "{}") == NULL)
			keys[count++] = arena_strdup(log->arena, s);
	}
	json_decref(list);
	*out = keys;
	return count;
}

static enum rc
carry_out_row(
    struct invalidation_log *log, const char *json, int64_t lsn, struct err *e)
{
	const char *const *keys;
	int n = row_keys(log, json, &keys);

	return cache_invalidate(log->cache, n, keys, lsn, log->arena, e);
}

static enum rc
carry_out_left(struct invalidation_log *log, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	struct ids ids;
	int64_t lsn;
	enum rc rc, one;

	rc =
	    pg_exec(log->pg, PG_PRIMARY, &log_left, NULL, log->arena, &rows, e);
	if (rc != RC_OK || rows.n == 0)
		return rc;
	/* After the rows were seen: at or after their commits. */
	if ((rc = pg_position(log->pg, PG_PRIMARY, &lsn, e)) != RC_OK)
		return rc;
	ids_init(&ids);
	for (int i = 0; i < rows.n; i++) {
		one = carry_out_row(log, pg_str(&rows, i, 1), lsn, e);
		if (one == RC_OK)
			ids_add(&ids, pg_int(&rows, i, 0));
		else
			rc = one; /* one bad row does not stop the others */
		if (one == RC_RETRY)
			break;
	}
	if (ids.n == 0) {
		strbuf_release(&ids.sb);
		return rc;
	}
	pg_arg_str(&args, ids_take(&ids, log->arena));
	one =
	    pg_exec(log->pg, PG_PRIMARY, &log_done, &args, log->arena, NULL, e);
	return one != RC_OK ? one : rc;
}

static enum rc
replay(struct invalidation_log *log, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	int64_t lsn;
	enum rc rc;

	pg_arg_int(&args, log->replayed);
	rc = pg_exec(
	    log->pg, PG_PRIMARY, &log_replay, &args, log->arena, &rows, e);
	if (rc != RC_OK ||
	    (rc = pg_position(log->pg, PG_PRIMARY, &lsn, e)) != RC_OK)
		return rc;
	for (int i = 0; i < rows.n; i++) {
		rc = carry_out_row(log, pg_str(&rows, i, 1), lsn, e);
		if (rc == RC_RETRY)
			return rc; /* goes on from here */
		log->replayed = pg_int(&rows, i, 0);
		purge_add(log, log->replayed, 0, pg_str(&rows, i, 2),
		    pg_bool(&rows, i, 3), true);
	}
	log->replaying = rows.n == REPLAY_ROWS;
	return rc;
}

/* ---- how far this host is */

static void
start_replay(struct invalidation_log *log)
{
	log->replaying = true;
	log->replayed = 0;
}

/* The saved position, if it is of this very Redis. 0: none. */
static int64_t
saved_position(struct invalidation_log *log)
{
	struct redis_reply r;
	size_t n = strlen(log->run_id);
	struct span from;
	int64_t txid;

	if (redis_callv(log->redis, log->saved_key, log->arena, &r, NULL, "GET",
		log->saved_key, NULL) != RC_OK ||
	    r.type != RT_STRING || !span_starts(r.str, log->run_id) ||
	    r.str.n <= n || r.str.p[n] != ' ')
		return 0;
	from = (struct span){ r.str.p + n + 1, r.str.n - n - 1 };
	return text_int(from, 1, INT64_MAX, &txid) ? txid : 0;
}

static enum rc
now_xmin(struct invalidation_log *log, int64_t *xmin, struct err *e)
{
	struct pg_rows rows;
	enum rc rc =
	    pg_exec(log->pg, PG_PRIMARY, &log_xmin, NULL, log->arena, &rows, e);

	if (rc == RC_OK)
		*xmin = pg_int(&rows, 0, 0);
	return rc;
}

/* All below that is seen, and purged for good. */
static void
save_position(struct invalidation_log *log, int64_t now)
{
	int64_t from = log->from;
	struct redis_reply r;

	if (log->run_id[0] == '\0' || log->replaying || now < log->save_at)
		return;
	log->save_at = now + SAVE_MS;
	for (const struct purge *p = log->purges; p != NULL; p = p->next) {
		if (p->txid < from)
			from = p->txid;
	}
	if (from == 0)
		return;
	(void)!redis_callv(log->redis, log->saved_key, log->arena, &r, NULL,
	    "SET", log->saved_key,
	    arena_printf(log->arena, "%s %" PRId64, log->run_id, from), "EX",
	    "86400", NULL);
}

/* Begin: after who was housekeeper before us, or with the last hour. */
static enum rc
begin(struct invalidation_log *log, bool redis_ok, struct err *e)
{
	int64_t from = redis_ok ? saved_position(log) : 0, xmin;
	enum rc rc = now_xmin(log, &xmin, e);

	if (rc != RC_OK)
		return rc;
	/* Ahead of it: another database than the one it was saved for. */
	if (from == 0 || from > xmin) {
		from = xmin;
		start_replay(log);
	}
	log->from = from;
	return RC_OK;
}

/* Is Redis there, and the one we know? */
static enum rc
watch_redis(struct invalidation_log *log, struct err *e)
{
	enum rc rc = redis_ping(log->redis, e);
	const char *id;

	if (rc != RC_OK)
		return rc;
	id = redis_run_id(log->redis);
	if (id == NULL)
		id = "unknown"; /* INFO is not permitted */
	if (strcmp(id, log->run_id) == 0)
		return RC_OK;
	if (log->from != 0)
		start_replay(log);
	(void)snprintf(log->run_id, sizeof log->run_id, "%s", id);
	return RC_OK;
}

static enum rc
clean(struct invalidation_log *log, int64_t now, struct err *e)
{
	struct pg_rows rows;
	enum rc rc;

	if (now < log->clean_at)
		return RC_OK;
	rc = pg_exec(
	    log->pg, PG_PRIMARY, &log_clean, NULL, log->arena, &rows, e);
	if (rc == RC_OK && rows.affected < CLEAN_ROWS)
		log->clean_at = now + CLEAN_MS;
	return rc;
}

/* Each part goes on although another cannot; the last error is told. */
enum rc
invalidation_log_turn(struct invalidation_log *log, struct err *e)
{
	int64_t now = clock_mono_ms();
	enum rc rc, redis_rc, one;

	arena_reset(log->arena);
	rc = redis_rc = watch_redis(log, e);
	if (log->from == 0 && (one = begin(log, redis_rc == RC_OK, e)) != RC_OK)
		return one; /* PostgreSQL is away */
	if (redis_rc == RC_OK) {
		if ((one = carry_out_left(log, e)) != RC_OK)
			rc = one;
		if (log->replaying && (one = replay(log, e)) != RC_OK)
			rc = one;
	}
	if (edge_dir(log->edge)[0] != '\0') {
		if ((one = tail(log, e)) != RC_OK)
			rc = one;
		if ((one = purge_due(log, e)) != RC_OK)
			rc = one;
	} else if (now >= log->save_at &&
		   (one = now_xmin(log, &log->from, e)) != RC_OK) {
		rc = one;
	}
	if (redis_rc == RC_OK)
		save_position(log, now);
	if ((one = clean(log, now, e)) != RC_OK)
		rc = one;
	return rc;
}

const struct pg_stmt *const invalidation_log_statements[] = { &log_tail,
	&log_xmin, &log_left, &log_done, &log_undone, &log_replay, &log_clean,
	NULL };
