/*
 * One snapshot, read through a cursor a few hundred products at a time. The
 * database makes the JSON; it is written again compactly, so that the bytes
 * depend on the catalogue alone.
 */
#include "shop/import.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "shop/image_int.h"
#include "store/pg.h"

/* Members in the order of import.h; %s: the currency, checked [A-Z]{3}. */
static const char cursor_sql[] =
    "SET LOCAL statement_timeout = 0;"
    "SET LOCAL idle_in_transaction_session_timeout = 0;"
    "DECLARE export_cursor NO SCROLL CURSOR FOR SELECT json_build_object("
    " 'handle', p.handle, 'title', p.title, 'description', p.description,"
    " 'vendor', p.vendor, 'type', p.type, 'tags', p.tags,"
    " 'status', p.status, 'currency', '%s', 'options', p.options,"
    " 'variants', (SELECT coalesce(json_agg(json_build_object("
    "   'sku', v.sku, 'options', v.options, 'price', v.price,"
    "   'compareAtPrice', v.compare_at, 'stock', v.stock,"
    "   'barcode', v.barcode, 'grams', v.grams, 'image', i.src)"
    "   ORDER BY v.position, v.id), '[]')"
    "  FROM variant v LEFT JOIN product_image i ON i.id = v.image_id"
    "  WHERE v.product_id = p.id),"
    " 'images', (SELECT coalesce(json_agg(json_build_object("
    "   'url', i.src, 'alt', i.alt, 'width', i.width, 'height', i.height)"
    "   ORDER BY i.position, i.id), '[]')"
    "  FROM product_image i WHERE i.product_id = p.id"
    "   AND " IMAGE_SHOWN("i") "),"
    " 'reviews', (SELECT coalesce(json_agg(json_build_object("
    "   'author', r.author, 'rating', r.rating, 'title', r.title,"
    "   'body', r.body, 'createdAt', to_char(r.created_at AT TIME ZONE"
    "    'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') || CASE WHEN"
    "    date_trunc('second', r.created_at) = r.created_at THEN 'Z'"
    "    ELSE to_char(r.created_at AT TIME ZONE 'UTC', '.US\"Z\"') END)"
    "   ORDER BY r.created_at, r.id), '[]')"
    "  FROM review r WHERE r.product_id = p.id),"
    " 'seo', json_build_object('title', p.seo_title, 'description',"
    "  p.seo_description))"
    " FROM product p ORDER BY p.id";

static const struct pg_stmt fetch = { "export_fetch",
	"FETCH 200 FROM export_cursor", 0 };

static enum rc
write_rows(const struct pg_rows *rows,
    enum rc (*write)(void *arg, struct span bytes, struct err *e), void *arg,
    struct err *e)
{
	enum rc rc = RC_OK;

	for (int i = 0; i < rows->n && rc == RC_OK; i++) {
		struct span cell = pg_cell(rows, i, 0);
		json_t *o = json_loadb(cell.p, cell.n, 0, NULL);
		char *line = o == NULL ? NULL : json_dumps(o, JSON_COMPACT);

		if (line == NULL)
			rc = err_set(e, RC_FAIL, "bad_record",
			    "a record of the database is not JSON");
		else if ((rc = write(arg, span_of(line), e)) == RC_OK)
			rc = write(arg, span_of("\n"), e);
		free(line);
		json_decref(o);
	}
	return rc;
}

enum rc
export_run(struct pg *pg, const char *currency,
    enum rc (*write)(void *arg, struct span bytes, struct err *e), void *arg,
    int64_t *products, struct err *e)
{
	struct arena *arena = arena_new();
	struct strbuf sql;
	struct pg_rows rows = { .n = 1 };
	enum rc rc;

	*products = 0;
	strbuf_init(&sql, sizeof cursor_sql + 64);
	strbuf_adds(&sql,
	    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;");
	strbuf_addf(&sql, cursor_sql, currency);
	if ((rc = pg_begin(pg, e)) == RC_OK)
		rc = pg_run(pg, sql.s, 0, e);
	while (rc == RC_OK && rows.n > 0) {
		arena_reset(arena);
		rc = pg_exec_by(
		    pg, PG_PRIMARY, &fetch, NULL, INT64_MAX, arena, &rows, e);
		if (rc == RC_OK)
			rc = write_rows(&rows, write, arg, e);
		if (rc == RC_OK)
			*products += rows.n;
	}
	pg_rollback(pg); /* nothing was written */
	strbuf_release(&sql);
	arena_free(arena);
	return rc;
}
