/*
 * The staged files become the catalogue, a set at a time. Each step first
 * leaves out what is the same already: an import of an unchanged file writes
 * nothing but its temporary tables.
 */
#include "shop/import_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "store/pg.h"

/* A big import takes as long as it takes; one import at a time (the number is
 * an arbitrary one of ours). */
static const char begin_sql[] =
    "SET LOCAL statement_timeout = 0;"
    "SET LOCAL lock_timeout = '60s';"
    "SET LOCAL idle_in_transaction_session_timeout = 0;"
    "SET LOCAL work_mem = '64MB';"
    "SET LOCAL jit = off;"
    "SELECT pg_advisory_xact_lock(7079820311);"
    "CREATE TEMP TABLE import_product (ord bigint, file int, line bigint,"
    " key text, ref_id text, ref_sku text, spread bool, by_name bool,"
    " handle text, title text, description text, summary text, vendor text,"
    " type text, tags text[], options text[], status text, seo_title text,"
    " seo_description text) ON COMMIT DROP;"
    "CREATE TEMP TABLE import_variant (ord bigint, file int, line bigint,"
    " key text, parent text, sku text, names text[], options text[],"
    " price bigint, compare_at bigint, stock int, barcode text, grams int,"
    " image text) ON COMMIT DROP;"
    "CREATE TEMP TABLE import_image (ord bigint, file int, key text,"
    " parent text, position int, src text, alt text, width int, height int)"
    " ON COMMIT DROP;"
    "CREATE TEMP TABLE import_review (ord bigint, key text, author text,"
    " rating int, title text, body text, created_at timestamptz)"
    " ON COMMIT DROP;"
    "CREATE TEMP TABLE import_touched (id bigint, how \"char\")"
    " ON COMMIT DROP"; /* how: c created, u updated, p by its parts */

enum rc
import_merge_begin(struct pg *pg, struct err *e)
{
	return pg_run(pg, begin_sql, 0, e);
}

/* Parts find their products; what is spread over the file is joined. */
static const char *const resolve_steps[] = {
	"ANALYZE import_product; ANALYZE import_variant; ANALYZE import_image",
	/* WooCommerce: a variation by its parent's id or SKU */
	"UPDATE import_variant v SET key = p.key FROM import_product p"
	" WHERE v.key IS NULL AND p.file = v.file"
	" AND (v.parent = 'id:' || p.ref_id OR v.parent = p.ref_sku)",
	"UPDATE import_image i SET key = p.key FROM import_product p"
	" WHERE i.key IS NULL AND p.file = i.file"
	" AND (i.parent = 'id:' || p.ref_id OR i.parent = p.ref_sku)",
	"DELETE FROM import_image WHERE key IS NULL",
	/* its options are what its variations are told apart by */
	"UPDATE import_product p SET options = v.names FROM"
	" (SELECT DISTINCT ON (key) key, names FROM import_variant"
	"  WHERE parent IS NOT NULL ORDER BY key, ord) v"
	" WHERE p.key = v.key AND p.by_name",
	"UPDATE import_variant v SET options = ARRAY("
	"  SELECT coalesce(v.options[array_position(v.names, n)], 'Any')"
	"  FROM unnest(p.options) WITH ORDINALITY o(n, i) ORDER BY i)"
	" FROM import_product p WHERE p.key = v.key"
	" AND v.parent IS NOT NULL AND v.names <> p.options",
	/* two of one name: the later one's handle gets its SKU or id */
	"UPDATE import_product p SET handle = p.handle || '-' ||"
	"  trim('-' FROM regexp_replace(lower(coalesce(p.ref_sku, p.ref_id,"
	"   p.line::text)), '[^a-z0-9]+', '-', 'g'))"
	" FROM (SELECT ord, row_number() OVER (PARTITION BY handle"
	"   ORDER BY ord) AS nth FROM import_product WHERE by_name) d"
	" WHERE p.ord = d.ord AND d.nth > 1",
	/* Shopify: the rows of one handle in several places */
	"DELETE FROM import_product p USING"
	" (SELECT ord, row_number() OVER (PARTITION BY file, key"
	"   ORDER BY title = '', ord) AS nth FROM import_product"
	"   WHERE spread) d WHERE p.ord = d.ord AND d.nth > 1",
	NULL
};

/* What is wrong with the whole: file, line, column, message. */
static const struct pg_stmt checks[] = {
	{ "import_check_parent",
	    "SELECT file, line, 'Parent', '\"' || left(parent, 60) || '\" is"
	    " neither the id nor the SKU of a product in this file'"
	    " FROM import_variant WHERE key IS NULL ORDER BY ord LIMIT 20",
	    0 },
	{ "import_check_title",
	    "SELECT file, line, 'Title', 'empty: every product needs a title'"
	    " FROM import_product WHERE title = '' ORDER BY ord LIMIT 20",
	    0 },
	{ "import_check_twice",
	    "SELECT file, line, CASE WHEN by_name THEN 'Name' ELSE 'handle'"
	    " END, '\"' || left(handle, 80) || '\" is here a second time:"
	    " leave one out or give it another handle' FROM"
	    " (SELECT *, row_number() OVER (PARTITION BY handle ORDER BY ord)"
	    " AS nth FROM import_product) d WHERE nth > 1"
	    " ORDER BY ord LIMIT 20",
	    0 },
	{ "import_check_handle",
	    "SELECT file, line, 'handle', '\"' || left(handle, 80) || '\""
	    " cannot be part of an address: use letters, digits and hyphens'"
	    " FROM import_product WHERE NOT handle ~"
	    " '^[[:alnum:]][[:alnum:]_.-]*$' OR length(handle) > 255"
	    " ORDER BY ord LIMIT 20",
	    0 },
	{ "import_check_sold",
	    "SELECT file, line, 'handle', '\"' || left(handle, 80) || '\" has"
	    " nothing to sell: add a variant with a price'"
	    " FROM import_product p WHERE NOT EXISTS"
	    " (SELECT FROM import_variant v WHERE v.key = p.key)"
	    " ORDER BY ord LIMIT 20",
	    0 },
	{ "import_check_options",
	    "SELECT v.file, v.line, 'options', 'the variant has ' ||"
	    " cardinality(v.options) || ' of the ' || cardinality(p.options)"
	    " || ' options of \"' || left(p.handle, 80) || '\"'"
	    " FROM import_variant v JOIN import_product p ON p.key = v.key"
	    " WHERE cardinality(v.options) <> cardinality(p.options)"
	    " ORDER BY v.ord LIMIT 20",
	    0 },
	{ "import_check_same",
	    "SELECT d.file, d.line, 'options', 'a variant of \"' ||"
	    " left(p.handle, 80) || '\" with the same options (' ||"
	    " array_to_string(d.options, ' / ') || ') is there already:"
	    " change or remove one' FROM"
	    " (SELECT *, row_number() OVER (PARTITION BY key, options"
	    " ORDER BY ord) AS nth FROM import_variant) d"
	    " JOIN import_product p ON p.key = d.key"
	    " WHERE nth > 1 ORDER BY d.ord LIMIT 20",
	    0 },
	{ "import_check_sku",
	    "SELECT file, line, 'SKU', '\"' || left(sku, 80) || '\" is here a"
	    " second time: every variant needs its own, or none' FROM"
	    " (SELECT *, row_number() OVER (PARTITION BY sku ORDER BY ord)"
	    " AS nth FROM import_variant WHERE sku IS NOT NULL) d"
	    " WHERE nth > 1 ORDER BY ord LIMIT 20",
	    0 },
};

/* Products: new ones in the order of the file. */
static const char *const product_steps[] = {
	"WITH w AS (INSERT INTO product (handle, title, description, summary,"
	"  vendor, type, tags, options, status, seo_title, seo_description)"
	" SELECT p.handle, p.title, p.description, p.summary, p.vendor,"
	"  p.type, p.tags, p.options, p.status, p.seo_title,"
	"  p.seo_description"
	" FROM import_product p LEFT JOIN product t ON t.handle = p.handle"
	" WHERE t.id IS NULL OR (t.title, t.description, t.summary, t.vendor,"
	"  t.type, t.tags, t.options, t.status, t.seo_title,"
	"  t.seo_description) IS DISTINCT FROM (p.title, p.description,"
	"  p.summary, p.vendor, p.type, p.tags, p.options, p.status,"
	"  p.seo_title, p.seo_description)"
	" ORDER BY p.ord"
	" ON CONFLICT (handle) DO UPDATE SET title = excluded.title,"
	"  description = excluded.description, summary = excluded.summary,"
	"  vendor = excluded.vendor, type = excluded.type,"
	"  tags = excluded.tags, options = excluded.options,"
	"  status = excluded.status, seo_title = excluded.seo_title,"
	"  seo_description = excluded.seo_description,"
	"  version = product.version + 1, updated_at = now()"
	" RETURNING id, xmax = 0 AS made)"
	" INSERT INTO import_touched SELECT id, CASE WHEN made THEN 'c'"
	"  ELSE 'u' END::\"char\" FROM w",
	"CREATE TEMP TABLE import_map ON COMMIT DROP AS"
	" SELECT p.key, t.id, p.ord FROM import_product p"
	" JOIN product t ON t.handle = p.handle",
	"ANALYZE import_map; ANALYZE import_touched", NULL
};

/* A width and a height that were found out since are kept. */
static const char *const image_steps[] = {
	"CREATE TEMP TABLE import_picture ON COMMIT DROP AS"
	" SELECT product_id, src, alt, width, height, ord, row_number() OVER"
	"  (PARTITION BY product_id ORDER BY position, ord)::int AS position"
	" FROM (SELECT DISTINCT ON (m.id, i.src) m.id AS product_id, i.src,"
	"   i.alt, i.width, i.height, i.position, i.ord FROM import_image i"
	"   JOIN import_map m USING (key)"
	"   ORDER BY m.id, i.src, i.position, i.ord) d",
	"ANALYZE import_picture",
	"WITH w AS (INSERT INTO product_image (product_id, position, src, alt,"
	"  width, height)"
	" SELECT s.product_id, s.position, s.src, s.alt, s.width, s.height"
	" FROM import_picture s LEFT JOIN product_image t"
	"  ON t.product_id = s.product_id AND t.src = s.src"
	" WHERE t.id IS NULL OR t.position <> s.position OR t.alt <> s.alt"
	"  OR (s.width IS NOT NULL AND t.status <> 'ready' AND"
	"   (t.width, t.height) IS DISTINCT FROM (s.width, s.height))"
	" ORDER BY s.product_id, s.position"
	" ON CONFLICT (product_id, src) DO UPDATE SET"
	"  position = excluded.position, alt = excluded.alt,"
	/* Of one that is ready we know better. */
	"  width = CASE product_image.status WHEN 'ready'"
	"   THEN product_image.width"
	"   ELSE coalesce(excluded.width, product_image.width) END,"
	"  height = CASE product_image.status WHEN 'ready'"
	"   THEN product_image.height"
	"   ELSE coalesce(excluded.height, product_image.height) END"
	" RETURNING product_id)"
	" INSERT INTO import_touched SELECT DISTINCT product_id, 'p'::\"char\""
	" FROM w",
	NULL
};

/* Variants of the files, with the id of the one that is there. */
static const char *const match_steps[] = {
	"CREATE TEMP TABLE import_item ON COMMIT DROP AS"
	" SELECT v.ord, v.file, v.line, m.id AS product_id, t.id, v.sku,"
	"  v.options, v.price, v.compare_at, v.stock, v.barcode, v.grams,"
	"  i.id AS image_id, row_number() OVER (PARTITION BY m.id"
	"   ORDER BY v.ord)::int AS position"
	" FROM import_variant v JOIN import_map m USING (key)"
	" LEFT JOIN variant t ON t.sku = v.sku AND t.product_id = m.id"
	" LEFT JOIN product_image i ON i.product_id = m.id"
	"  AND i.src = v.image",
	"ANALYZE import_item",
	"UPDATE import_item s SET id = t.id FROM variant t"
	" WHERE s.id IS NULL AND t.product_id = s.product_id"
	" AND t.options = s.options AND NOT EXISTS"
	"  (SELECT FROM import_item o WHERE o.id = t.id)",
	/* The stock of what stays for an order's sake is nobody's to sell. */
	"CREATE TEMP TABLE import_gone ON COMMIT DROP AS"
	" SELECT t.id, t.product_id, m.ord, t.stock, t.options,"
	"  EXISTS (SELECT FROM order_line l WHERE l.variant_id = t.id)"
	"  OR EXISTS (SELECT FROM sale_item i WHERE i.variant_id = t.id)"
	"  AS kept FROM variant t JOIN import_map m ON m.id = t.product_id"
	" WHERE NOT EXISTS (SELECT FROM import_item s WHERE s.id = t.id)",
	NULL
};

static const struct pg_stmt check_taken = { "import_check_taken",
	"SELECT s.file, s.line, 'SKU', '\"' || left(s.sku, 80) || '\" belongs "
	"to"
	" a variant of \"' || p.handle || '\": give it another SKU, or import"
	" that product without it as well'"
	" FROM import_item s JOIN variant t ON t.sku = s.sku"
	"  AND t.id IS DISTINCT FROM s.id JOIN product p ON p.id = t.product_id"
	" WHERE NOT EXISTS (SELECT FROM import_item o WHERE o.id = t.id)"
	"  AND NOT EXISTS (SELECT FROM import_gone g WHERE g.id = t.id"
	"   AND NOT g.kept)"
	" ORDER BY s.ord LIMIT 20",
	0 };

static const char *const variant_steps[] = {
	"WITH w AS (DELETE FROM variant t USING import_gone g"
	"  WHERE t.id = g.id AND NOT g.kept RETURNING t.product_id)"
	" INSERT INTO import_touched SELECT DISTINCT product_id, 'p'::\"char\""
	" FROM w",
	"WITH w AS (UPDATE variant t SET stock = 0, position = 10000"
	"  FROM import_gone g WHERE t.id = g.id AND g.kept"
	"  AND (t.stock > 0 OR t.position <> 10000)"
	"  RETURNING t.product_id)"
	" INSERT INTO import_touched SELECT DISTINCT product_id, 'p'::\"char\""
	" FROM w",
	/* First out of each other's way: two may swap SKUs or options. */
	"UPDATE variant t SET sku = NULL,"
	"  options = ARRAY[E'\\x01' || t.id] FROM import_item s"
	" WHERE s.id = t.id AND ((t.sku IS NOT NULL"
	"  AND t.sku IS DISTINCT FROM s.sku) OR t.options <> s.options)",
	"WITH w AS (UPDATE variant t SET position = s.position, sku = s.sku,"
	"  options = s.options, price = s.price, compare_at = s.compare_at,"
	"  stock = s.stock, image_id = s.image_id, barcode = s.barcode,"
	"  grams = s.grams FROM import_item s WHERE s.id = t.id"
	"  AND (t.position, t.sku, t.options, t.price, t.compare_at, t.stock,"
	"   t.image_id, t.barcode, t.grams) IS DISTINCT FROM (s.position,"
	"   s.sku, s.options, s.price, s.compare_at, s.stock, s.image_id,"
	"   s.barcode, s.grams) RETURNING t.product_id)"
	" INSERT INTO import_touched SELECT DISTINCT product_id, 'p'::\"char\""
	" FROM w",
	"WITH w AS (INSERT INTO variant (product_id, position, sku, options,"
	"  price, compare_at, stock, image_id, barcode, grams)"
	" SELECT product_id, position, sku, options, price, compare_at, stock,"
	"  image_id, barcode, grams FROM import_item WHERE id IS NULL"
	" ORDER BY ord RETURNING product_id)"
	" INSERT INTO import_touched SELECT DISTINCT product_id, 'p'::\"char\""
	" FROM w",
	NULL
};

/* Without a time of its own, a review is known by what it says. */
static const struct pg_stmt review_step = { "import_reviews",
	"WITH w AS (INSERT INTO review (product_id, author, rating, title, "
	"body,"
	"  created_at)"
	" SELECT m.id, r.author, r.rating, r.title, r.body,"
	"  coalesce(r.created_at, now()) FROM import_review r"
	" JOIN import_map m USING (key)"
	" WHERE r.created_at IS NOT NULL OR NOT EXISTS"
	"  (SELECT FROM review o WHERE o.product_id = m.id"
	"   AND (o.author, o.title, o.body) = (r.author, r.title, r.body))"
	" ORDER BY r.ord ON CONFLICT DO NOTHING RETURNING product_id),"
	" t AS (INSERT INTO import_touched SELECT DISTINCT product_id,"
	"  'p'::\"char\" FROM w)"
	" SELECT count(*) FROM w",
	0 };

/* What was uploaded here no file knows: it stays. */
static const struct pg_stmt image_gone_step = { "import_images_gone",
	"WITH w AS (DELETE FROM product_image i USING import_map m"
	"  WHERE i.product_id = m.id"
	"   AND (i.status = 'external' OR i.src LIKE 'http%')"
	"   AND NOT EXISTS (SELECT FROM"
	"   import_picture s WHERE s.product_id = i.product_id"
	"   AND s.src = i.src) RETURNING i.product_id),"
	" t AS (INSERT INTO import_touched SELECT DISTINCT product_id,"
	"  'p'::\"char\" FROM w)"
	" SELECT count(*) FROM w",
	0 };

/* One row a product, by the strongest of what happened; then its version. */
static const char *const bump_steps[] = {
	"CREATE TEMP TABLE import_changed ON COMMIT DROP AS"
	" SELECT id, CASE WHEN bool_or(how = 'c') THEN 'c'"
	"  WHEN bool_or(how = 'u') THEN 'u' ELSE 'p' END::\"char\" AS how"
	" FROM import_touched GROUP BY id",
	"ANALYZE import_changed",
	"UPDATE product p SET version = version + 1, updated_at = now()"
	" FROM import_changed c WHERE c.id = p.id AND c.how = 'p'",
	NULL
};

static const struct pg_stmt counts = { "import_counts",
	"SELECT (SELECT count(*) FROM import_product),"
	" (SELECT count(*) FROM import_changed WHERE how = 'c'),"
	" (SELECT count(*) FROM import_changed WHERE how <> 'c'),"
	" (SELECT count(*) FROM import_gone WHERE NOT kept),"
	" (SELECT count(*) FROM import_gone WHERE kept)",
	0 };

static const struct pg_stmt kept_variants = { "import_kept",
	"SELECT p.handle, array_to_string(g.options, ' / ')"
	" FROM import_gone g JOIN product p ON p.id = g.product_id"
	" WHERE g.kept ORDER BY g.ord, g.id LIMIT 20",
	0 };

/* Fresh statistics where much is new: the pages' queries are planned by them,
 * and autovacuum comes a minute late. */
static const char analyze_sql[] =
    "ANALYZE product; ANALYZE variant; ANALYZE product_image; ANALYZE review";

static enum rc
run_steps(
    struct pg *pg, const char *const steps[], struct import *im, struct err *e)
{
	enum rc rc = RC_OK;

	for (int i = 0; steps[i] != NULL && rc == RC_OK; i++) {
		if (im->progress != NULL)
			im->progress(im->progress_arg, "merging", im->report);
		rc = pg_run(pg, steps[i], 0, e);
	}
	return rc;
}

static enum rc
query(struct pg *pg, const struct pg_stmt *st, struct arena *arena,
    struct pg_rows *rows, struct err *e)
{
	return pg_exec_by(pg, PG_PRIMARY, st, NULL, INT64_MAX, arena, rows, e);
}

static enum rc
check(struct pg *pg, struct import *im, const struct import_file *files,
    const struct pg_stmt *st, struct arena *arena, struct err *e)
{
	struct pg_rows rows;
	enum rc rc = query(pg, st, arena, &rows, e);

	if (rc != RC_OK)
		return rc;
	for (int i = 0; i < rows.n; i++) {
		im->file = files[pg_int(&rows, i, 0) - 1].name;
		import_wrong(im, pg_int(&rows, i, 1), pg_str(&rows, i, 2), "%s",
		    pg_str(&rows, i, 3));
	}
	return RC_OK;
}

static enum rc
warn_kept(struct pg *pg, struct import *im, struct arena *arena, struct err *e)
{
	struct pg_rows rows;
	enum rc rc = query(pg, &kept_variants, arena, &rows, e);

	if (rc != RC_OK)
		return rc;
	im->file = "catalogue";
	for (int i = 0; i < rows.n; i++)
		import_warn(im, 0, NULL,
		    "%s: the variant \"%s\" is not in the file, but orders or"
		    " sales refer to it: kept, with no stock",
		    pg_str(&rows, i, 0), pg_str(&rows, i, 1));
	if (im->report->variants_kept > rows.n)
		im->report->warnings += im->report->variants_kept - rows.n;
	return RC_OK;
}

static enum rc
count_all(struct pg *pg, struct import_report *report, struct arena *arena,
    struct err *e)
{
	struct pg_rows rows;
	enum rc rc = query(pg, &counts, arena, &rows, e);

	if (rc != RC_OK)
		return rc;
	report->created = pg_int(&rows, 0, 1);
	report->updated = pg_int(&rows, 0, 2);
	report->unchanged =
	    pg_int(&rows, 0, 0) - report->created - report->updated;
	report->variants_removed = pg_int(&rows, 0, 3);
	report->variants_kept = pg_int(&rows, 0, 4);
	return RC_OK;
}

static enum rc
merge_all(struct pg *pg, struct import *im, const struct import_file *files,
    struct arena *arena, struct err *e)
{
	struct import_report *report = im->report;
	struct pg_rows rows;
	enum rc rc;

	if ((rc = run_steps(pg, resolve_steps, im, e)) != RC_OK)
		return rc;
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
		rc = check(pg, im, files, &checks[i], arena, e);
		if (rc != RC_OK)
			return rc;
	}
	if (report->errors > 0)
		return RC_OK;
	if ((rc = run_steps(pg, product_steps, im, e)) != RC_OK ||
	    (rc = run_steps(pg, image_steps, im, e)) != RC_OK ||
	    (rc = run_steps(pg, match_steps, im, e)) != RC_OK ||
	    (rc = check(pg, im, files, &check_taken, arena, e)) != RC_OK ||
	    report->errors > 0)
		return rc;
	if ((rc = run_steps(pg, variant_steps, im, e)) != RC_OK ||
	    (rc = query(pg, &image_gone_step, arena, &rows, e)) != RC_OK)
		return rc;
	report->images_removed = pg_int(&rows, 0, 0);
	rc = query(pg, &review_step, arena, &rows, e);
	if (rc != RC_OK)
		return rc;
	report->reviews = pg_int(&rows, 0, 0);
	if ((rc = run_steps(pg, bump_steps, im, e)) != RC_OK ||
	    (rc = count_all(pg, report, arena, e)) != RC_OK ||
	    (rc = warn_kept(pg, im, arena, e)) != RC_OK)
		return rc;
	if (report->created + report->updated >= 1000)
		rc = pg_run(pg, analyze_sql, 0, e);
	return rc;
}

enum rc
import_merge(struct pg *pg, struct import *im, const struct import_file *files,
    struct err *e)
{
	struct arena *arena = arena_new();
	enum rc rc = merge_all(pg, im, files, arena, e);

	arena_free(arena);
	return rc;
}
