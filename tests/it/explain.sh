#!/usr/bin/env bash
# Every statement that runs per request uses an index: the SQL comes from the
# programs (soukctl debug statements), the plan is the generic one, which is
# what a prepared statement gets, on 100,000 products.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need initdb psql
it_not_twice
soukctl=$top_builddir/ctl/soukctl
[ -x "$soukctl" ] || it_bail "no $soukctl"
export SOUK_POSTGRES_MIGRATIONS=$srcdir/sql

it_start_pg
"$soukctl" migrate --quiet >/dev/null || it_bail "migrate"

# The triggers would make the filling slow; what they keep is written here.
if ! it_psql -U postgres >"$IT/fill.out" 2>&1 <<'SQL'; then
SET session_replication_role = replica;
SET synchronous_commit = off;
SET work_mem = '64MB';
INSERT INTO product (handle, title, summary, vendor, tags, search, rating_sum,
  rating_count, status)
SELECT 'p-' || n, 'Product ' || n, 'A thing of sort ' || n % 500,
  'Vendor ' || n % 300, ARRAY['tag' || n % 50],
  to_tsvector('simple', 'product ' || n || ' sort' || n % 500 || ' vendor' || n % 300),
  8, 2, CASE WHEN n % 20 = 0 THEN 'draft' ELSE 'active' END
FROM generate_series(1, 100000) n;
INSERT INTO product_image (product_id, position, src)
SELECT p, k, '/media/' || p || '-' || k FROM generate_series(1, 100000) p, generate_series(1, 2) k;
UPDATE product_image SET status = 'ready', original = 'o' || id,
  variants = jsonb_build_array(jsonb_build_object('format', 'webp', 'key', 'k' || id))
  WHERE id % 10 = 0;
INSERT INTO upload_key (id, body_hash, created_at)
SELECT md5(n::text), sha256(n::text::bytea), now() - n * interval '1 min' FROM generate_series(1, 20000) n;
INSERT INTO image_loose (store, key) SELECT 'media', 'l' || n FROM generate_series(1, 20000) n;
INSERT INTO variant (product_id, position, sku, options, price, stock, image_id)
SELECT p, k, 'S-' || p || '-' || k, ARRAY['v' || k], 100 + p % 9000, p % 7, p * 2
FROM generate_series(1, 100000) p, generate_series(1, 2) k;
INSERT INTO review (product_id, author, rating, created_at)
SELECT p, 'a' || k, 4, now() - k * interval '1 day'
FROM generate_series(1, 100000) p, generate_series(1, 2) k;
INSERT INTO invalidation (txid, keys, edge_paths, edge_lists, created_at, done_at)
SELECT (n::text)::xid8, ARRAY['product:' || n], ARRAY['/products/' || n], false,
  now() - n * interval '1 second', now() FROM generate_series(1, 50000) n;
INSERT INTO customer (email) SELECT 'c' || n || '@x.test' FROM generate_series(1, 20000) n;
INSERT INTO session (token_hash, customer_id, expires_at)
SELECT sha256(n::text::bytea), n, now() + interval '1 day' FROM generate_series(1, 20000) n;
INSERT INTO password_reset (token_hash, customer_id, expires_at)
SELECT sha256(n::text::bytea), n, now() + interval '1 hour' FROM generate_series(1, 5000) n;
INSERT INTO api_token (token_hash, role) SELECT sha256(n::text::bytea), 'admin' FROM generate_series(1, 2000) n;
INSERT INTO sale (title, starts_at, ends_at) SELECT 's' || n, now() - n * interval '1 hour',
  now() - (n - 1) * interval '1 hour' FROM generate_series(1, 5000) n;
INSERT INTO sale_item (sale_id, product_id, variant_id, price, allotment, state)
SELECT s, s * 10 + k, (s * 10 + k) * 2, 10, 100,
  CASE WHEN s % 25 = 0 THEN 'open' ELSE 'closed' END FROM generate_series(1, 5000) s, generate_series(1, 3) k;
INSERT INTO sale_unit (item_id, unit) SELECT i, u FROM generate_series(1, 2000) i, generate_series(1, 50) u;
INSERT INTO sale_unit (item_id, unit, order_id, buyer, slot)
SELECT 2001 + n % 3000, 1 + n / 3000, md5(n::text), n % 20000 + 1, 1 FROM generate_series(1, 50000) n;
INSERT INTO orders (id, customer_id, status, currency, total, sale_item_id)
SELECT md5(n::text), n % 20000 + 1, 'paid', 'USD', 10, 2001 + n % 3000 FROM generate_series(1, 50000) n;
INSERT INTO orders (id, customer_id, status, currency, total, expires_at)
SELECT md5('u' || n), n % 20000 + 1, 'pending', 'USD', 10, now() + n * interval '1 s'
FROM generate_series(1, 5000) n;
INSERT INTO payment (order_id, provider, intent, amount, currency, status)
SELECT md5(n::text), 'sandbox', 'sbx_' || n, 10, 'USD', 'captured' FROM generate_series(1, 50000) n;
INSERT INTO payment_attempt (order_id, attempt, outcome, ended_at)
SELECT md5(n::text), 1, 'paid', now() FROM generate_series(1, 50000) n;
INSERT INTO payment_attempt (order_id, attempt, created_at)
SELECT md5(n::text), 2, now() - n * interval '1 s' FROM generate_series(1, 2000) n;
INSERT INTO cart (customer_id) SELECT n FROM generate_series(1, 20000) n;
INSERT INTO cart (token_hash, updated_at) SELECT sha256(n::text::bytea), now() - n * interval '1 min'
FROM generate_series(1, 20000) n;
INSERT INTO cart_line (cart_id, variant_id, quantity, price)
SELECT c, c + k, 1, 10 FROM generate_series(1, 40000) c, generate_series(1, 2) k;
INSERT INTO order_line (order_id, line, product_id, variant_id, title, quantity, price)
SELECT md5(n::text), 1, n, n * 2, 't', 1, 10 FROM generate_series(1, 50000) n;
INSERT INTO outbox (task_id, queue, type, data)
SELECT md5(n::text), 'email', 't', '{}' FROM generate_series(1, 50000) n;
INSERT INTO finished_task (task_id) SELECT md5(n::text) FROM generate_series(1, 50000) n;
ANALYZE;
SQL
	it_bail "cannot fill the shop: $(tail -n 3 "$IT/fill.out")"
fi
it_psql -U postgres -c 'VACUUM ANALYZE' || it_bail "vacuum"

# Tables that grow with the shop; a look at all of one is a fault.
grows='product|product_image|variant|review|invalidation|customer|session'
grows="$grows|password_reset|api_token|sale|sale_item|orders|order_line"
grows="$grows|sale_unit|payment|payment_attempt|outbox|finished_task"
grows="$grows|dead_task|analytics_event|clock_turn"
grows="$grows|queue_pause|task_slot|queue_minute"
grows="$grows|image_loose|upload_key|cart|cart_line|payment_event|sandbox_intent|sandbox_call"
[ "$(it_psql -c "SELECT string_agg(relname, '|' ORDER BY relname) FROM pg_class
	WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
	AND relname <> 'schema_migration'")" = \
	"$(tr '|' '\n' <<<"$grows" | sort | paste -sd '|')" ] ||
	it_fail "the list of tables is not the schema's"

# plan NAME PARAMS SQL: the generic plan
plan() {
	local args=
	[ "$2" = 0 ] || args="($(yes NULL | head -n "$2" | paste -sd ,))"
	it_psql <<-SQL
		SET plan_cache_mode = force_generic_plan;
		SET jit = off;
		PREPARE q AS $3;
		EXPLAIN EXECUTE q$args;
	SQL
}

# walks PLAN: where a whole table, or a whole index of one, is gone through.
# An index that holds only what is to be done (invalidation_todo) is short.
walks() {
	awk -v grows="($grows)" '
	function judge() {
		if (node ~ /Seq Scan/ || (node ~ /Index/ && filter && !cond &&
		    node !~ /using invalidation_todo/))
			print node
		node = ""
	}
	/->|^ *(Seq|Index|Bitmap)/ { judge() }
	$0 ~ "(Seq|Index|Index Only) Scan .*on " grows "( |$)" {
		node = $0; filter = cond = 0
	}
	/^ *Filter: / { filter = 1 }
	/^ *Index Cond: / { cond = 1 }
	END { judge() }' <<<"$1"
}

"$soukctl" debug statements >"$IT/statements" || it_bail "no statements"
while IFS=$'\t' read -r name params sql; do
	if ! out=$(plan "$name" "$params" "$sql" 2>&1); then
		it_fail "$name" "$out"
	elif [ -n "$(walks "$out")" ]; then
		it_fail "$name walks through a table" "$out"
	else
		it_pass "$name"
	fi
done <"$IT/statements"
it_match "there were some" "$(wc -l <"$IT/statements")" '^ *[1-9][0-9]'

# What is planned while a table is empty stays as long as its connection: ten
# tasks are found by their ids, and not among all that wait in a queue.
it_psql -c 'CREATE TABLE fresh (LIKE outbox INCLUDING ALL)'
for name in record_done record_received; do
	IFS=$'\t' read -r _ params sql < <(grep -P "^$name\t" "$IT/statements")
	out=$(PGOPTIONS='-c enable_seqscan=off' plan "$name" "$params" "${sql//outbox/fresh}" 2>&1)
	it_eq "$name goes by the ids alone" "$(grep -o 'Index Cond: .*' <<<"$out")" \
		'Index Cond: (task_id = ANY ($1))'
done

# The check can fail.
out=$(plan bad 1 'SELECT * FROM product WHERE title = $1')
it_match "one without an index is seen" "$(walks "$out")" "Seq Scan on product"
out=$(plan bad 1 "SELECT id FROM product WHERE status = 'active' AND id + 0 < \$1
	ORDER BY id DESC LIMIT 20")
it_match "one that walks through an index too" "$(walks "$out")" \
	"using product_active on product"
it_summary
