#!/usr/bin/env bash
# soukctl import and export: all or nothing, again changes nothing, what goes
# out comes in the same, and size does not matter.
# SOUK_IT_PRODUCTS: how many products the big file has (100000).
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need initdb psql awk
soukctl=$top_builddir/ctl/soukctl
[ -x "$soukctl" ] || it_bail "no $soukctl"
export SOUK_POSTGRES_MIGRATIONS=$srcdir/sql
shared=${SOUK_SHARED:-$srcdir/../shared}
data=$srcdir/tests/it/data

it_start_pg
"$soukctl" migrate >/dev/null 2>&1 || it_bail "migrate"

# Everything an import may change.
state() {
	"$soukctl" export | md5sum
	it_psql -c "SELECT md5(string_agg(concat(id, version, updated_at), ',' ORDER BY id)) FROM product" \
		-c 'SELECT count(*) FROM invalidation'
}
line() { # HANDLE [MEMBERS]: a product with one variant at least
	printf '{"handle":"%s","title":"T %s"%s}\n' "$1" "$1" \
		"${2:-,\"variants\":[{\"price\":100,\"stock\":1\}]}"
}

# ---- the sample
out=$("$soukctl" import "$srcdir/sample/catalogue.jsonl" 2>&1)
it_match "the sample is imported" "$out" '^products: 50 created, 0 updated'
it_eq "without a warning" "$(printf '%s\n' "$out" | tail -n 1)" "warnings: 0"
it_eq "its reviews are counted" "$(it_psql -c "SELECT count(*) FROM product p
	LEFT JOIN (SELECT product_id AS id, count(*), sum(rating) FROM review
	GROUP BY product_id) r USING (id) WHERE (rating_count, rating_sum) IS
	DISTINCT FROM (coalesce(count, 0), coalesce(sum, 0))")" 0
it_eq "its pictures are there" "$(it_psql -c 'SELECT DISTINCT src FROM product_image' |
	while read -r f; do [ -s "$srcdir/sample$f" ] || echo "$f"; done)" ""
it_eq "a variant has its picture" "$(it_psql -c "SELECT i.src FROM variant v
	JOIN product_image i ON i.id = v.image_id WHERE sku = 'MUG-SEA'")" \
	/media/mug-sea.svg
it_eq "lists are told" "$(it_psql -c "SELECT keys, edge_lists FROM invalidation
	ORDER BY id DESC LIMIT 1")" "{gen:catalog}|t"
it_eq "and who remembers that there was none" "$(it_psql -c "SELECT cardinality(keys),
	cardinality(edge_paths), keys[1], edge_lists FROM invalidation ORDER BY id LIMIT 1")" \
	"150|150|product:1|f"
before=$(state)
out=$("$soukctl" import "$srcdir/sample/catalogue.jsonl" 2>&1)
it_match "a second time changes nothing" "$out" '^nothing changed'
it_match "and says what was the same" "$out" '0 created, 0 updated, 50 unchanged'
it_eq "no row, no version, no cache" "$(state)" "$before"

# ---- what goes out comes in the same
"$soukctl" --quiet export --output "$IT/out.jsonl" || it_fail "export"
it_psql -c 'CREATE DATABASE other' -d postgres
other=${DATABASE_URL/souk?/other?}
DATABASE_URL=$other "$soukctl" migrate >/dev/null 2>&1
it_ok "an export is imported from stdin" bash -c \
	'DATABASE_URL=$1 "$2" import - <"$3"' - "$other" "$soukctl" "$IT/out.jsonl"
DATABASE_URL=$other "$soukctl" export >"$IT/again.jsonl"
it_ok "and exported again byte by byte" cmp "$IT/out.jsonl" "$IT/again.jsonl"
it_match "into the shop it came from it changes nothing" \
	"$("$soukctl" import "$IT/out.jsonl")" '^nothing changed'

# ---- Shopify's own files
if [ -r "$shared/data/shopify/apparel.csv" ]; then
	out=$("$soukctl" import "$shared"/data/shopify/*.csv)
	it_match "both Shopify files" "$out" '^products: 40 created'
	it_match "with variants and pictures" "$out" '^variants: 43,'
	it_eq "options and prices" "$(it_psql -c "SELECT p.options, v.options, v.price,
		v.stock FROM product p JOIN variant v ON v.product_id = p.id
		WHERE handle = 'clay-plant-pot' ORDER BY position")" \
		"{Size}|{Regular}|999|1
{Size}|{Large}|1599|3"
	it_eq "a price compared with" "$(it_psql -c "SELECT price, compare_at, v.options
		FROM variant v JOIN product p ON p.id = product_id
		WHERE handle = 'copper-light'")" "5999|7500|{}"
	it_eq "a description" "$(it_psql -c "SELECT description, summary FROM product
		WHERE handle = 'clay-plant-pot'")" \
		"<p>Classic blown clay pot for plants</p>|Classic blown clay pot for plants"
	it_match "again: nothing" "$("$soukctl" import "$shared"/data/shopify/*.csv)" \
		'^nothing changed'
else
	it_skip "Shopify's files" "no $shared/data/shopify"
fi

# ---- WooCommerce
out=$("$soukctl" import "$data/woo.csv" 2>"$IT/err")
it_match "a WooCommerce file" "$out" '^products: 5 created'
it_match "what cannot be sold is left out" "$(cat "$IT/err")" \
	'woo.csv:[0-9]+: Type: .*external'
it_eq "variations by SKU and by id, options by name" "$(it_psql -c "SELECT p.options,
	v.options, v.sku, v.price, v.stock, i.src FROM product p
	JOIN variant v ON v.product_id = p.id LEFT JOIN product_image i
	ON i.id = v.image_id WHERE handle = 'v-neck-t-shirt' ORDER BY v.position")" \
	"{Colour,Size}|{Red,Small}|woo-vneck-tee-red|2000|7|https://img.example/vneck-red.jpg
{Colour,Size}|{Green,Large}|woo-vneck-tee-green|2000|2|https://img.example/vneck-green.jpg"
it_eq "sale price, any value" "$(it_psql -c "SELECT v.options, price, compare_at, stock
	FROM variant v JOIN product p ON p.id = product_id WHERE handle = 'hoodie'
	ORDER BY position")" "{Blue}|4200|4500|0
{Any}|4500||5"
it_eq "two of one name" "$(it_psql -c "SELECT handle FROM product
	WHERE handle LIKE 'beanie%' ORDER BY id")" "beanie
beanie-woo-beanie-2"
it_eq "no script" "$(it_psql -c "SELECT description FROM product
	WHERE handle = 'v-neck-t-shirt'")" \
	"<p>A v-neck tee.</p><p>Soft cotton.</p><p><strong>Washable.</strong></p>"
it_match "again: nothing" "$("$soukctl" import "$data/woo.csv" 2>/dev/null)" \
	'^nothing changed'

# ---- broken files change nothing
header='Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Qty,Variant Price,Image Src'
before=$(state)
broken() { # NAME MESSAGE: the file on stdin, behind a good one
	local rc
	cat >"$IT/broken"
	"$soukctl" import "$srcdir/sample/catalogue.jsonl" "$IT/broken" >"$IT/o" 2>"$IT/e"
	rc=$?
	it_eq "$1: exit 1, nothing on stdout" "$rc $(cat "$IT/o")" "1 "
	it_match "$1: file, line, column, what" "$(cat "$IT/e")" "$2"
}
csv() { printf '%s\n' "$header" 'new,New,,,N1,1,5,' "$@"; }
broken "a price" 'broken:3: Variant Price: "five" is not a price' \
	< <(csv 'a,A,,,,1,five,')
broken "a column less" 'broken:3: 7 fields where .* 8' \
	< <(csv 'a,A,,,,1,5')
broken "an open quote" 'broken:3: the quote opened on line 3' \
	< <(csv 'a,"A,,,,1,5,')
broken "text behind a quote" 'broken:3: text behind' \
	< <(csv 'a,"A"x,,,,1,5,')
broken "no UTF-8" 'broken:3: field 2 is not UTF-8' \
	< <(csv $'a,\xff,,,,1,5,')
broken "no title" 'broken:3: Title: empty' \
	< <(csv 'a,,,,,1,5,')
broken "nothing to sell" 'broken:3: handle: "a" has nothing' \
	< <(csv 'a,A,,,,,,')
broken "an SKU twice" 'broken:3: SKU: "N1" is here a second' \
	< <(csv 'a,A,,,N1,1,5,')
broken "and more than one" 'broken:4: Variant Price' \
	< <(csv 'a,A,,,MUG-SEA,1,5,' 'b,B,,,,1,x,')
broken "two alike" 'broken:4: options: a variant of "a"' \
	< <(csv 'a,A,Size,S,,1,5,' 'a,,,S,,1,5,')
broken "an option missing" 'broken:4: Option1 Value: the variant has 0' \
	< <(csv 'a,A,Size,S,,1,5,' 'a,,,,X,1,5,')
broken "a picture" 'broken:3: Image Src: "ftp' \
	< <(csv 'a,A,,,,1,5,ftp://x/y.jpg')
broken "half a line" 'broken:1: not JSON' \
	< <(printf '{"handle":"a"')
broken "a product twice" 'broken:1: handle: "stoneware-mug" is here a second' \
	< <(line stoneware-mug)
broken "another table" 'broken:1: not a product file' \
	< <(printf 'Name;Preis\nx;1\n')
broken "an empty file" 'broken: the file is empty' \
	< <(:)
it_eq "none of them changed anything" "$(state)" "$before"
line x ',"variants":[{"sku":"MUG-SEA","price":1}]' >"$IT/taken"
it_match "an SKU of another product" "$("$soukctl" import "$IT/taken" 2>&1)" \
	'taken:1: SKU: "MUG-SEA" belongs to a variant of "stoneware-mug"'
it_exit "a file that is not there" 1 "$soukctl" import "$IT/none"
it_exit "a folder" 100 "$soukctl" import "$IT"
it_exit "no file at all is usage" 2 "$soukctl" import
line dry | "$soukctl" import --dry-run - >"$IT/o"
it_match "a dry run counts" "$(cat "$IT/o")" '^products: 1 created'
it_eq "and writes nothing" "$(state)" "$before"

# ---- killed in the middle
mkfifo "$IT/pipe"
"$soukctl" import "$IT/pipe" >/dev/null 2>&1 &
pid=$!
exec 7>"$IT/pipe"
awk -v n=5000 -f "$srcdir/tests/it/make_catalogue.awk" >&7
kill -KILL $pid
wait $pid 2>/dev/null
exec 7>&-
it_eq "an import that was killed left nothing" "$(state)" "$before"

# ---- changes
version() { it_psql -c "SELECT version FROM product WHERE handle = '$1'"; }
two() { # SKU OPTION PRICE STOCK, twice
	line shirt ",\"options\":[\"Size\"],\"variants\":[{\"sku\":\"$1\",\"options\":[\"$2\"],\"price\":$3,\"stock\":$4},{\"sku\":\"$5\",\"options\":[\"$6\"],\"price\":$7,\"stock\":$8}]"
}
shirt() {
	it_psql -c "SELECT v.sku, v.options, v.price, v.stock FROM variant v
		JOIN product p ON p.id = product_id WHERE handle = 'shirt'
		ORDER BY v.position, v.id"
}
two A S 100 1 B M 200 2 | "$soukctl" import - >/dev/null
ids=$(it_psql -c "SELECT id FROM variant WHERE sku IN ('A', 'B') ORDER BY sku")
it_psql -c 'TRUNCATE invalidation'
two A S 100 1 B M 250 2 | "$soukctl" import - >"$IT/o"
it_match "a price" "$(cat "$IT/o")" '0 created, 1 updated, 0 unchanged'
it_eq "makes a new version" "$(version shirt)" 2
id=$(it_psql -c "SELECT id FROM product WHERE handle = 'shirt'")
it_eq "and the caches hear which" \
	"$(it_psql -c 'SELECT keys, edge_paths, edge_lists FROM invalidation ORDER BY id')" \
	"{product:$id,page:/api/products/$id,page:/products/$id}|{/api/products/$id,/api/products/$id/stock,/products/$id}|f
{gen:catalog}|{}|t"
two A M 100 1 B S 250 2 | "$soukctl" import - >/dev/null
it_eq "options change places" "$(shirt)" "A|{M}|100|1
B|{S}|250|2"
it_eq "without new variants" "$(it_psql -c "SELECT id FROM variant
	WHERE sku IN ('A', 'B') ORDER BY sku")" "$ids"
two B M 100 1 A S 250 2 | "$soukctl" import - >/dev/null
it_eq "so do SKUs" "$(shirt)" "B|{M}|100|1
A|{S}|250|2"
two C M 100 1 A S 250 2 | "$soukctl" import - >/dev/null
it_eq "a new SKU for old options" "$(shirt)" "C|{M}|100|1
A|{S}|250|2"
it_eq "is the variant that was there" "$(it_psql -c "SELECT count(*) FROM variant
	WHERE sku = 'C' AND id IN (${ids//$'\n'/,})")" 1
it_psql -c "INSERT INTO orders (id, access_hash, status, currency, total)
	VALUES (repeat('0', 32), decode(repeat('00', 32), 'hex'), 'paid', 'USD', 100)" \
	-c "INSERT INTO order_line SELECT repeat('0', 32), 1, product_id, id, 'T', 1, 100
	FROM variant WHERE sku = 'A'"
two D L 100 5 E XL 100 5 | "$soukctl" import - >"$IT/o" 2>"$IT/e"
it_eq "what the file lacks goes, what was sold stays with no stock" "$(shirt)" \
	"D|{L}|100|5
E|{XL}|100|5
A|{S}|250|0"
it_match "with a warning" "$(cat "$IT/e")" 'shirt: the variant "S" is not in the file'
it_match "and once only" "$(two D L 100 5 E XL 100 5 | "$soukctl" import - 2>/dev/null)" \
	'^nothing changed'
line pic ',"variants":[{"price":1,"image":"/media/b"}],"images":[{"url":"/media/a"},{"url":"/media/b"}]' |
	"$soukctl" import - >/dev/null
line pic ',"variants":[{"price":1}],"images":[{"url":"/media/c"},{"url":"/media/a"}]' |
	"$soukctl" import - >"$IT/o"
it_match "a picture less" "$(cat "$IT/o")" '^images: 2, 1 removed'
it_eq "the others in the file's order" "$(it_psql -c "SELECT src, i.position FROM product_image i
	JOIN product p ON p.id = product_id WHERE handle = 'pic' ORDER BY 2")" "/media/c|1
/media/a|2"
review() {
	line pic ",\"variants\":[{\"price\":1}],\"images\":[{\"url\":\"/media/c\"},{\"url\":\"/media/a\"}],\"reviews\":[$1]" |
		"$soukctl" import - | grep reviews
}
it_eq "a review" "$(review '{"author":"A","rating":5}')" "reviews: 1 added"
it_eq "the same one" "$(review '{"author":"A","rating":5}')" "reviews: 0 added"
it_eq "none in the file removes none" "$(review '')" "reviews: 0 added"
it_eq "the product's rating" "$(it_psql -c "SELECT rating_sum, rating_count FROM product
	WHERE handle = 'pic'")" "5|1"
it_psql -c "DELETE FROM review WHERE author = 'A' AND product_id =
	(SELECT id FROM product WHERE handle = 'pic')"
it_eq "and without it" "$(it_psql -c "SELECT rating_sum, rating_count FROM product
	WHERE handle = 'pic'")" "0|0"

# ---- size: time is told, memory must not grow with the file
import_big() { # N: its peak in KiB to $peak, its milliseconds to $ms
	local t0=${EPOCHREALTIME/./} kb
	awk -v n="$1" -f "$srcdir/tests/it/make_catalogue.awk" >"$IT/big.jsonl"
	t0=${EPOCHREALTIME/./}
	"$soukctl" import "$IT/big.jsonl" >"$IT/o" 2>&1 &
	pid=$! peak=0
	while kb=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$pid/status" 2>/dev/null) &&
		[ -n "$kb" ]; do
		peak=$kb
		sleep 0.02
	done
	wait $pid || it_fail "the import of $1 products" "$(cat "$IT/o")"
	ms=$(((${EPOCHREALTIME/./} - t0) / 1000))
	it_note "$1 products: $ms ms, $peak KiB: $(head -n 1 "$IT/o")"
}
import_big 10000
small=$peak
it_psql -c 'DELETE FROM product WHERE handle ~ '"'-[0-9]+$'"
import_big "${SOUK_IT_PRODUCTS:-100000}"
it_ok "memory does not grow with the file" [ "$peak" -le $((small * 12 / 10)) ]
import_big "${SOUK_IT_PRODUCTS:-100000}"
it_match "again: nothing" "$(cat "$IT/o")" '^nothing changed'
it_summary
