#!/usr/bin/env bash
# The shop behind the edge: what is kept, and a change that shows within a
# second on every page, in every encoding. (conf/nginx alone: nginx_conf.sh.)
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need nginx initdb redis-server curl brotli

it_souk_install
it_start_pg
it_start_redis
it_ini
it_souk_env soukctl migrate >"$IT/migrate.log" 2>&1 || it_bail migrate
it_souk_env soukctl import "$srcdir/sample/catalogue.jsonl" \
	>"$IT/import.log" 2>&1 || it_bail import
it_start_fcgi
it_settled
it_start_nginx
token=$(it_token 2>/dev/null)
id=$(it_psql -c "SELECT id FROM product WHERE status = 'active'
	ORDER BY id DESC LIMIT 1")
cache() { it_get "$@" >/dev/null && it_header Cache-Status; }
hit='souk-edge; hit' miss='souk-edge; fwd=uri-miss'

# plain PATH ENC: the body as a client of that encoding reads it; what is very
# short comes as it is in any encoding
plain() {
	case $2 in
	identity) it_get "$1" ;;
	gzip) it_get "$1" -H 'Accept-Encoding: gzip' ;;
	br) it_get "$1" -H 'Accept-Encoding: gzip, br' ;;
	esac >/dev/null
	case $(it_header Content-Encoding) in
	gzip) gzip -dc <"$IT/body" ;;
	br) brotli -dc <"$IT/body" ;;
	*) cat "$IT/body" ;;
	esac
}
# put JSON: change the product
put() {
	it_status "/api/products/$id" -X PUT -H "Authorization: Bearer $token" \
		-H 'Content-Type: application/json' -d "$1"
}

it_note "kept at the edge"
for p in / /products "/products?q=a" "/products/$id" "/api/products/$id" \
	/api/products "/api/products/$id/stock" /sitemap.xml /robots.txt \
	/api/openapi.json; do
	it_eq "$p: asked for" "$(cache "$p") $(it_last_status)" "$miss 200"
	it_eq "$p: kept" "$(cache "$p") $(it_last_status)" "$hit 200"
done
for enc in identity gzip br; do
	want=$enc
	[ $enc != identity ] || want=
	it_match "a product in $enc" "$(plain "/products/$id" $enc)" '</html>'
	it_eq "marked so" "$(it_header Content-Encoding)" "$want"
	etag=$(it_header ETag)
	it_match "with a tag of its own" "$etag" '^(W/)?".+"$'
	ae=$enc
	[ $enc != br ] || ae='gzip, br'
	it_eq "304 for it" "$(it_status "/products/$id" \
		-H "If-None-Match: $etag" -H "Accept-Encoding: $ae")" 304
done
it_match "caches further out are told how long" \
	"$(it_get "/api/products/$id" >/dev/null; it_header Cache-Control)" \
	'^public, s-maxage=3600, stale-while-revalidate=86400'
it_match "and that encodings differ" "$(it_header Vary)" Accept-Encoding
it_eq "HEAD" "$(it_status "/products/$id" -I)" 200
it_eq "says what GET would" "$(it_header Content-Length)" \
	"$(it_get "/products/$id" | wc -c)"
it_eq "what is for one person's eyes is not kept" \
	"$(put '{}' >/dev/null; it_header Cache-Control)" 'private, no-store'
it_eq "a thing that is not there" "$(it_status /products/999999999)" 404
it_eq "is remembered so, briefly" "$(cache /products/999999999)" "$hit"

it_note "a change shows within a second"
pages="/ /products /products?q=freshly /products/$id /api/products/$id
	/api/products /api/products?q=freshly"
n=0
for enc in identity gzip br; do
	n=$((n + 1))
	title="Freshly Renamed Mug $n"
	# In the caches before the change, all of them, and asked for while it
	# happens.
	for p in $pages; do plain "$p" $enc >/dev/null; done
	for p in $pages; do plain "$p" $enc >/dev/null; done
	it_eq "PUT ($enc)" "$(put "{\"title\":\"$title\"}")" 200
	t=${EPOCHREALTIME/./}
	for p in $pages; do plain "$p" $enc >/dev/null; done
	it_note "asked again within $(((${EPOCHREALTIME/./} - t) / 1000)) ms"
	left=$((1000000 - ${EPOCHREALTIME/./} + t))
	[ $left -le 0 ] || sleep "$(printf '0.%06d' $left)"
	for p in $pages; do
		it_match "$p in $enc, a second later" "$(plain "$p" $enc)" "$title"
	done
done

it_note "a fill that races with a change never leaves the old page"
# Many readers refill while the product changes; afterwards every page tells
# the last state.
readers() {
	while [ ! -e "$IT/stop" ]; do
		curl -sS --max-time 5 -o /dev/null "$SOUK_URL/products/$id" \
			-o /dev/null "$SOUK_URL/api/products/$id" \
			-o /dev/null "$SOUK_URL/products" 2>/dev/null
	done
}
pids=()
for _ in 1 2 3 4; do readers & pids+=($!); done
for n in $(seq 1 25); do put "{\"title\":\"Race $n\"}" >/dev/null; done
sleep 1
touch "$IT/stop"
wait "${pids[@]}"
for p in "/products/$id" "/api/products/$id" /products; do
	it_match "$p" "$(it_get $p)" 'Race 25'
done

it_note "private pages"
me() { it_status "$@" -b "$IT/jar" -c "$IT/jar"; }
hidden() {
	sed -n 's/.*name="'"$1"'" value="\([^"]*\)".*/\1/p' "$IT/body" | head -n 1
}
for p in /cart "/cart/add?product=$id" /login; do
	it_eq "$p" "$(me "$p") $(it_header Cache-Control)" \
		'200 private, no-store'
	it_eq "$p is not kept: the next visitor gets his own" \
		"$(it_status "$p") $(it_header Set-Cookie | grep -c '^souk_cart=')" \
		'200 1'
	it_eq "it passes by" "$(it_header Cache-Status)" 'souk-edge; fwd=bypass'
done
me "/cart/add?product=$id" >/dev/null
variant=$(it_psql -c "SELECT min(id) FROM variant WHERE product_id = $id")
it_eq "a form gets there, its cookie too" "$(me /cart \
	-d "form_token=$(hidden form_token)&product=$id&variant=$variant&quantity=1"
	) $(it_header Location)" '303 /cart?say=added'
it_match "and it shows" "$(me /cart >/dev/null; cat "$IT/body")" "q_$variant"
it_match "to nobody else" "$(it_get /cart)" 'cart is empty'
it_eq "a public page is the same for him, from the cache" "$(
	it_get "/products/$id" >/dev/null; cp "$IT/body" "$IT/plain"
	me "/products/$id" >/dev/null; it_header Cache-Status
	cmp "$IT/body" "$IT/plain" && echo same)" "$hit
same"
it_eq "and gives no cookie" "$(it_header Set-Cookie)" ''
it_eq "nor does a form sent to one reach the cache" \
	"$(me "/products/$id" -d x=y) $(cache "/products/$id")" "405 $hit"
order=0123456789abcdef0123456789abcdef
secret=$(printf 'A%.0s' {1..43})
it_eq "an order that is not there" "$(it_status "/orders/$order?t=$secret"
	) $(it_header Cache-Control)" '404 private, no-store'
logged() { grep -q "GET /orders/$order?\.\.\. HTTP" "$IT/nginx/access.log"; }
it_ok "is in the log" it_wait_for 5 logged
it_eq "what opens it is not" "$(grep -c "$secret" "$IT/nginx/access.log")" 0

it_note "stale rather than nothing"
it_get "/products/$id" >/dev/null
it_stop fcgi
it_eq "souk-fcgi gone: what is kept is served" "$(it_status "/products/$id")" 200
it_eq "what is not says when to come again" \
	"$(it_status '/products?q=unseen') $(it_header Retry-After)" '503 5'
it_eq "as JSON to a program" \
	"$(it_get '/api/products?q=unseen' | grep -o '"code":"[a-z]*"')" \
	'"code":"unavailable"'
it_start_fcgi
it_eq "and on it goes" "$(it_status '/products?q=unseen')" 200
it_summary
