#!/usr/bin/env bash
# The product API through nginx: what it answers, refuses and changes.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need curl jq initdb redis-server nginx
it_souk_install
it_start_pg
it_start_redis
it_ini
it_sample
it_start_nginx
it_start_fcgi
token=$(it_token)
id=$(it_psql -Atc "SELECT id FROM product WHERE status='active' AND
	cardinality(options) > 0 ORDER BY id LIMIT 1")
path=/api/products/$id

# put STATUS NAME BODY [CURL-ARG...]; $auth and $type as the case wants them
auth="Bearer $token" type=application/json
put() {
	local want=$1 name=$2 body=$3
	shift 3
	eq "PUT: $name" "$want" "$(it_status "$path" -X PUT \
		-H "Authorization: $auth" -H "Content-Type: $type" "$@" \
		--data-binary "$body")"
}
# The expectation first: it is what is short.
eq() { it_eq "$1" "$3" "$2"; }
like() { it_match "$1" "$3" "$2"; }
code() { jq -r .code <"$IT/body"; }

# ---- reading
eq "GET a product" 200 "$(it_status "$path")"
eq "its Cache-Control" \
	"public, s-maxage=3600, stale-while-revalidate=86400" \
	"$(it_header Cache-Control)"
etag=$(it_header ETag)
eq "its id" "$id" "$(jq .id <"$IT/body")"
eq "every variant has a price in minor units" true \
	"$(jq '[.variants[].price | type == "number" and . == floor] | all' <"$IT/body")"
eq "the same again is 304" 304 \
	"$(it_status "$path" -H "If-None-Match: $etag")"
eq "HEAD has no body" "200 0" "$(curl -sI -o /dev/null \
	-w '%{http_code} %{size_download}' "$SOUK_URL$path")"
eq "what is not there" 404 "$(it_status /api/products/999999999)"
eq "says so in JSON" product_not_found "$(code)"
eq "an id is a plain number" 404 "$(it_status "/api/products/0$id")"
eq "the stock" 200 "$(it_status "$path/stock")"
eq "of this product" "$id" "$(jq .productId <"$IT/body")"
eq "summed over its variants" true \
	"$(jq '.stock == ([.variants[].stock] | add)' <"$IT/body")"
eq "DELETE is not allowed" 405 "$(it_status "$path" -X DELETE)"
eq "Allow says what is" "GET, HEAD, PUT, OPTIONS" "$(it_header Allow)"
eq "nosniff is on every answer" nosniff \
	"$(it_header X-Content-Type-Options)"

# ---- lists
pages() {
	local next='' seen=0
	while :; do
		it_get "/api/products?limit=7&after=$next" >/dev/null
		seen=$((seen + $(jq '.products | length' <"$IT/body")))
		next=$(jq -r '.next // empty' <"$IT/body")
		[ -n "$next" ] || break
	done
	echo $seen
}
eq "paging reaches every product once" \
	"$(it_psql -Atc "SELECT count(*) FROM product WHERE status='active'")" \
	"$(pages)"
it_get "/api/products?limit=2" >/dev/null
like "the next page is linked" \
	'^</api/products\?after=[0-9]+&limit=2>; rel="next"$' "$(it_header Link)"
eq "a limit out of range" 400 "$(it_status '/api/products?limit=1000')"
eq "a cursor that is none" 400 "$(it_status '/api/products?after=x')"
title=$(it_psql -Atc "SELECT title FROM product WHERE id = $id")
it_get /api/products --get --data-urlencode "q=$title" >/dev/null
eq "a product is found by its title" "$id" \
	"$(jq '.products[0].id' <"$IT/body")"

# ---- changing
eq "PUT: without a token" 401 "$(it_status "$path" -X PUT -d '{}' \
	-H 'Content-Type: application/json')"
auth='Bearer souk_nonsense' put 401 "with a wrong token" '{}'
auth="Basic $token" put 401 "with another scheme" '{}'
type=text/plain put 415 "with another type" '{}'
put 400 "not JSON" '{"title":'
put 400 "an array" '[]'
put 400 "bad UTF-8" $'{"title":"\xff"}'
put 422 "a wrong type" '{"title":7}'
like "the member is named" 'title' "$(jq -r .error <"$IT/body")"
put 422 "an empty title" '{"title":""}'
put 422 "an unknown status" '{"status":"gone"}'
put 422 "a fraction of a cent" '{"variants":[{"id":1,"price":1.5}]}'
put 422 "a variant of another product" '{"variants":[{"id":999999,"price":1}]}'
head -c 1200000 /dev/zero | tr '\0' 'x' >"$IT/large"
eq "PUT: too large" 413 "$(it_status "$path" -X PUT -T "$IT/large" \
	-H "Authorization: Bearer $token" -H 'Content-Type: application/json')"
it_get "$path" >/dev/null
eq "after all that nothing has changed" "$etag" "$(it_header ETag)"

put 412 "another version" '{"title":"X"}' -H 'If-Match: "999.0"'
put 412 "a tag that is not ours" '{"title":"X"}' -H 'If-Match: "abc"'
put 200 "the version that was read" '{"title":"New <b>title</b>"}' \
	-H "If-Match: $etag"
new=$(it_header ETag)
put 412 "the old version again" '{"title":"X"}' -H "If-Match: $etag"
it_get "$path" >/dev/null
eq "GET answers the new ETag" "$new" "$(it_header ETag)"
eq "and the new title" "New <b>title</b>" "$(jq -r .title <"$IT/body")"
put 200 "unknown members are ignored" '{"nonsense":1}' -H 'If-Match: *'
put 200 "a description is sanitised" \
	'{"description":"<p onclick=x>Fine<script>alert(1)</script></p>"}'
it_get "$path" >/dev/null
eq "nothing of it runs" 0 \
	"$(jq -r .description <"$IT/body" | grep -c -e script -e onclick)"
v=$(jq '.variants[0].id' <"$IT/body")
put 200 "price and stock of a variant" \
	"{\"variants\":[{\"id\":$v,\"price\":12345,\"stock\":3}]}"
eq "are answered" 12345/3 \
	"$(jq -r '.variants[0] | "\(.price)/\(.stock)"' <"$IT/body")"
put 200 "a draft" '{"status":"draft"}'

eq "is not shown" 404 "$(it_status "$path")"
put 200 "active again" '{"status":"active"}'
eq "is shown at once" 200 "$(it_status "$path")"

# ---- the document
it_get /api/openapi.json >/dev/null
eq "OpenAPI 3.1 is served" 3.1.0 "$(jq -r .openapi <"$IT/body")"
if command -v node >/dev/null && [ "$(node -p 'typeof fetch')" = function ]; then
	it_ok "and what it says is true" \
		node "$srcdir/tests/it/openapi.mjs" "$SOUK_URL" "$token" "$id"
else
	it_skip "and what it says is true" "no node with fetch"
fi
# ---- [cache] pages = no: a page is shown anew each time
it_stop fcgi
it_start_fcgi cache.pages=no fcgi.children=1
page() { curl -fsS "$SOUK_URL/products/$((id + 1))" >"$IT/page.$1"; }
page 1 && page 2 && page 3
it_ok "the same page each time, prepared or not" cmp "$IT/page.1" "$IT/page.3"
it_match "of the right product" "$(cat "$IT/page.3")" \
	"href=\"[^\"]*/products/$((id + 1))\""
path=/api/products/$((id + 1))
put 200 "a change" '{"title":"Quite another mug"}'
it_wait_for 2 sh -c "curl -fsS '$SOUK_URL/products/$((id + 1))' |
	grep -q 'Quite another mug'"
eq "is on the page" 0 $?
it_summary
