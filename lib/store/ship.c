/*
 * A claim is that of queue_pg.c: one statement, SKIP LOCKED, a lease by which
 * the row comes due again where the shipper dies. What is claimed is not due,
 * but not sent either: so it still holds back the younger ones of its
 * aggregate.
 *
 * A sending is named by its row, so that one that was not noted is dropped by a
 * FIFO queue when it is made again; one redriven has a new row; one sent again
 * on purpose has the claim's own name.
 */
#include "store/ship.h"

#include <string.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "store/pg.h"
#include "store/queue_int.h"
#include "store/queue_record.h"

static const struct pg_stmt claim = { "ship_claim",
	"WITH " QUEUE_LAZY ", due(ids) AS MATERIALIZED (SELECT ARRAY("
	"  SELECT id FROM outbox o"
	"  WHERE queue = $1 AND visible_at <= now() AND (aggregate = ''"
	"   OR NOT EXISTS (SELECT FROM outbox b WHERE b.aggregate = o.aggregate"
	"    AND b.aggregate <> '' AND b.id < o.id AND b.queue = o.queue"
	"    AND b.shipped_at IS NULL AND b.visible_at < 'infinity'))"
	"  ORDER BY visible_at, id LIMIT $2 FOR UPDATE SKIP LOCKED)),"
	" taken AS (UPDATE outbox o SET lease = $3,"
	"   visible_at = now() + $4::bigint * interval '1 ms',"
	"   lease_until = now() + $4::bigint * interval '1 ms'"
	"  FROM due, lazy WHERE o.id = ANY(due.ids)"
	"  RETURNING array_position(due.ids, o.id) AS place, o.task_id, o.type,"
	"   o.priority, o.aggregate,"
	"   floor(extract(epoch FROM o.created_at) * 1000)::bigint AS created,"
	"   o.data::text AS data, CASE WHEN o.shipped_at IS NULL"
	"    THEN o.task_id || '-' || o.id ELSE $3 END AS sending)"
	" SELECT task_id, type, priority, aggregate, created, data, sending"
	" FROM taken"
	" ORDER BY place",
	4 };

/* $1: ids; $2: the lease */
static const struct pg_stmt sent = { "ship_sent",
	"WITH " QUEUE_LAZY " UPDATE outbox SET lease = NULL,"
	" lease_until = NULL, shipped_at = coalesce(shipped_at, now()),"
	" visible_at = now() + $3::bigint * interval '1 ms' FROM lazy"
	" WHERE task_id = ANY($1::text[]) AND lease = $2",
	3 };
static const struct pg_stmt unsent = { "ship_unsent",
	"UPDATE outbox SET lease = NULL, lease_until = NULL,"
	" visible_at = now() WHERE task_id = ANY($1::text[]) AND lease = $2",
	2 };

const struct pg_stmt *const ship_statements[] = { &claim, &sent, &unsent,
	NULL };

struct batch {
	struct task task[QUEUE_BATCH];
	bool sent[QUEUE_BATCH];
	int n;
	char lease[33];
};

static enum rc
batch_claim(struct pg *pg, const char *name, int64_t lease_ms,
    struct arena *arena, struct batch *b, struct err *e)
{
	struct pg_args args = { 0 };
	struct pg_rows rows;
	enum rc rc;

	*b = (struct batch){ 0 };
	text_random_id(b->lease);
	pg_arg_str(&args, name);
	pg_arg_int(&args, QUEUE_BATCH);
	pg_arg_str(&args, b->lease);
	pg_arg_int(&args, lease_ms);
	rc = pg_exec(pg, PG_PRIMARY, &claim, &args, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	b->n = rows.n;
	for (int i = 0; i < rows.n; i++)
		b->task[i] = (struct task){
			.id = pg_str(&rows, i, 0),
			.type = pg_str(&rows, i, 1),
			.queue = arena_strdup(arena, name),
			.priority = pg_str(&rows, i, 2),
			.aggregate = pg_str(&rows, i, 3),
			.created_ms = pg_int(&rows, i, 4),
			.data = pg_cell(&rows, i, 5),
			.sending = pg_str(&rows, i, 6),
			.receipt = b->lease,
		};
	return RC_OK;
}

/* Those that went, or those that did not; NULL: none. */
static const char *
list_of(const struct batch *b, bool which, struct arena *arena)
{
	char *s = arena_strdup(arena, "{");
	int n = 0;

	for (int i = 0; i < b->n; i++) {
		if (b->sent[i] == which)
			s = arena_concat(
			    arena, s, n++ == 0 ? "" : ",", b->task[i].id, NULL);
	}
	return n == 0 ? NULL : arena_concat(arena, s, "}", NULL);
}

static enum rc
note(struct pg *pg, const struct pg_stmt *st, const struct batch *b,
    const char *ids, int64_t resend_ms, struct arena *arena, struct err *e)
{
	struct pg_args args = { 0 };

	if (ids == NULL)
		return RC_OK;
	pg_arg_str(&args, ids);
	pg_arg_str(&args, b->lease);
	if (st->params == 3)
		pg_arg_int(&args, resend_ms);
	return pg_exec(pg, PG_PRIMARY, st, &args, arena, NULL, e);
}

/* The first that was not sent never can be: out of the way. */
static enum rc
bury_first(struct pg *pg, struct batch *b, const struct err *why,
    struct arena *arena, struct err *e)
{
	for (int i = 0; i < b->n; i++) {
		if (b->sent[i])
			continue;
		return record_bury(pg, &b->task[i],
		    arena_concat(arena, why->code, ": ", why->msg, NULL), arena,
		    e);
	}
	return RC_OK;
}

enum rc
ship_turn(struct pg *pg, struct queue *queue, const char *name,
    int64_t lease_ms, int64_t resend_ms, struct arena *arena, int *n,
    int *buried, struct err *e)
{
	struct err later = ERR_INIT;
	struct batch b;
	enum rc rc, noted;

	*n = *buried = 0;
	rc = batch_claim(pg, name, lease_ms, arena, &b, e);
	if (rc != RC_OK || b.n == 0)
		return rc;
	rc = queue_send(queue, b.n, b.task, b.sent, arena, e);
	for (int i = 0; i < b.n; i++)
		*n += b.sent[i];
	if (rc == RC_INVALID) {
		noted = bury_first(pg, &b, e, arena, &later);
		rc = RC_OK; /* the others go with the next turn */
		*buried = noted == RC_OK;
		if (noted != RC_OK) {
			*e = later;
			rc = noted;
		}
	}
	/* Not noted: sent again when the lease is over. */
	noted = note(
	    pg, &sent, &b, list_of(&b, true, arena), resend_ms, arena, &later);
	if (noted == RC_OK)
		noted = note(pg, &unsent, &b, list_of(&b, false, arena), 0,
		    arena, &later);
	if (rc == RC_OK && noted != RC_OK) {
		*e = later;
		rc = noted;
	}
	return rc;
}
