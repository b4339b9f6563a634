/*
 * An event costs a visitor's request one INSERT, into the outbox; a worker
 * carries them over in batches, with one statement each: the ids of the tasks
 * and their events are one transaction, so that a task delivered twice, or in
 * two batches at once, is one event.
 */
#include "shop/event.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/xmalloc.h"
#include "shop/ids.h"
#include "shop/shop.h"
#include "store/outbox.h"
#include "store/pg.h"

/* The order of the insert into finished_task keeps two batches that share
 * tasks from waiting for each other in a circle. */
static const struct pg_stmt event_insert = { "event_insert",
	"WITH t AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS t(i int,"
	"  task text, name text, customer bigint, about text, data jsonb,"
	"  at bigint)),"
	" fresh AS (INSERT INTO finished_task (task_id)"
	"  SELECT task FROM t ORDER BY task ON CONFLICT DO NOTHING"
	"  RETURNING task_id),"
	" kept AS (INSERT INTO analytics_event"
	"   (name, customer_id, order_id, data, at)"
	"  SELECT u.name, coalesce(u.customer, o.customer_id), o.id,"
	"   CASE WHEN o.id IS NULL THEN u.data ELSE jsonb_build_object("
	"    'total', o.total, 'currency', o.currency, 'lines',"
	"    (SELECT count(*) FROM order_line l WHERE l.order_id = o.id)) END,"
	"   to_timestamp(u.at / 1000.0)"
	"  FROM (SELECT DISTINCT ON (task) * FROM t ORDER BY task, i) u"
	"  JOIN fresh ON fresh.task_id = u.task"
	"  LEFT JOIN orders o ON o.id = u.about"
	"  WHERE u.about IS NULL OR o.id IS NOT NULL"
	"  ORDER BY u.at, u.i)"
	" SELECT t.i, EXISTS (SELECT FROM fresh WHERE fresh.task_id = t.task)"
	"  AND (t.about IS NULL"
	"   OR EXISTS (SELECT FROM orders o WHERE o.id = t.about))"
	" FROM t",
	1 };

const struct pg_stmt *const event_statements[] = { &event_insert, NULL };

#define ORDER_PLACED "order_placed"

static bool
name_ok(const char *s)
{
	size_t n = s == NULL ? 0 : strlen(s);

	return n >= 1 && n <= EVENT_NAME_CHARS &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

/* As it will be stored; NULL: it is not an object, or too large. */
static char *
data_text(const json_t *data, struct arena *arena)
{
	char *s, *copy = NULL;

	if (data == NULL)
		return arena_strdup(arena, "{}");
	if (!json_is_object(data))
		return NULL;
	if ((s = json_dumps(data, JSON_COMPACT)) == NULL)
		return NULL; /* nested too deep */
	if (strlen(s) <= EVENT_DATA_BYTES)
		copy = arena_strdup(arena, s);
	free(s);
	return copy;
}

enum rc
event_accept(struct shop *shop, const struct json_t *body, int64_t customer_id,
    struct arena *arena, struct err *e)
{
	const char *name = json_string_value(json_object_get(body, "name"));
	char *data = data_text(json_object_get(body, "data"), arena);
	char key[EFFECT_ID_CHARS + 1];
	struct outbox_task task = { .type = "track_event", .key = key };
	enum rc rc;

	/* What the shop itself says must not come from outside. */
	if (!name_ok(name) || strncmp(name, "order_", 6) == 0)
		return err_set(e, RC_INVALID, "invalid_field",
		    "name: 1 to %d of a-z, 0-9 and _, and not order_...",
		    EVENT_NAME_CHARS);
	if (data == NULL)
		return err_set(e, RC_INVALID, "invalid_field",
		    "data: an object of at most %d bytes", EVENT_DATA_BYTES);
	task.data =
	    customer_id == 0
		? arena_printf(
		      arena, "{\"name\":\"%s\",\"data\":%s}", name, data)
		: arena_printf(arena,
		      "{\"name\":\"%s\",\"data\":%s,\"customerId\":%lld}", name,
		      data, (long long)customer_id);
	id_random(key);
	rc = outbox_write(shop->pg, 1, &task, arena, e);
	if (rc == RC_OK)
		outbox_note(&shop->waker, "analytics");
	return rc;
}

/* ---- the worker's part */

static bool
order_id_ok(const char *s)
{
	return s != NULL && strlen(s) == EFFECT_ID_CHARS &&
	       strspn(s, "0123456789abcdef") == EFFECT_ID_CHARS;
}

/* A row for jsonb_to_recordset, or NULL: no such task. */
static json_t *
row_of(const struct task *task, int i, struct arena *arena)
{
	json_t *data = json_loadb(
	    task->data.p, task->data.n, JSON_REJECT_DUPLICATES, NULL);
	json_t *row = NULL;

	if (strcmp(task->type, ORDER_PLACED) == 0) {
		const char *id =
		    json_string_value(json_object_get(data, "orderId"));

		if (order_id_ok(id))
			row = json_pack("{s:s, s:s, s:{}}", "name",
			    ORDER_PLACED, "about", id, "data");
	} else if (strcmp(task->type, "track_event") == 0) {
		const char *name =
		    json_string_value(json_object_get(data, "name"));
		json_t *inner = json_object_get(data, "data");
		const json_t *who = json_object_get(data, "customerId");
		bool who_ok = who == NULL || json_integer_value(who) > 0;

		if (name_ok(name) && who_ok && data_text(inner, arena) != NULL)
			row = json_pack("{s:s, s:O*, s:o}", "name", name,
			    "customer", who, "data",
			    inner == NULL ? json_object() : json_incref(inner));
	}
	json_decref(data);
	if (row != NULL &&
	    (json_object_set_new(row, "i", json_integer(i)) != 0 ||
		json_object_set_new(row, "task", json_string(task->id)) != 0 ||
		json_object_set_new(
		    row, "at", json_integer(task->created_ms)) != 0))
		xmalloc_failed();
	return row;
}

enum rc
event_store(struct shop *shop, int n, const struct task tasks[], enum rc rcs[],
    struct arena *arena, struct err *e)
{
	json_t *rows = json_array();
	struct pg_args args = { 0 };
	struct pg_rows out;
	char *text = NULL;
	enum rc rc = RC_OK;

	for (int i = 0; i < n; i++) {
		json_t *row = row_of(&tasks[i], i, arena);

		rcs[i] = row == NULL ? RC_INVALID : RC_NONE;
		if (row != NULL)
			(void)json_array_append_new(rows, row);
	}
	if (json_array_size(rows) == 0)
		goto out;
	if ((text = json_dumps(rows, JSON_COMPACT)) == NULL)
		xmalloc_failed();
	pg_arg_str(&args, text);
	rc =
	    pg_exec(shop->pg, PG_PRIMARY, &event_insert, &args, arena, &out, e);
	for (int r = 0; rc == RC_OK && r < out.n; r++) {
		if (pg_bool(&out, r, 1))
			rcs[pg_int(&out, r, 0)] = RC_OK;
	}
out:
	free(text);
	json_decref(rows);
	return rc;
}
