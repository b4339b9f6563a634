#!/usr/bin/env bash
# What a stranger or a customer may send to get what is not theirs, to make
# others send it, or to be in everybody's way; through nginx and through Apache.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need curl jq initdb redis-server nginx
it_souk_install
it_start_pg
it_start_redis
it_ini
it_sample
it_start_nginx
it_start_fcgi fcgi.children=4 account.network_tries=1000

eq() { it_eq "$1" "$3" "$2"; }
like() { it_match "$1" "$3" "$2"; }
code() { jq -r .code <"$IT/body" 2>/dev/null; }
api() { # METHOD PATH BODY [CURL-ARG...]
	local method=$1 path=$2 body=$3
	shift 3
	it_status "$path" -X "$method" -H 'Content-Type: application/json' \
		--data-binary "$body" "$@"
}
cred() { jq -nc --arg e "$1" --arg p "$2" '{email:$e,password:$p}'; }
session() { it_header Set-Cookie | sed -n 's/^\(souk_session=[^;]*\);.*/\1/p' | tail -n 1; }
token() { sed -n 's/.*name="form_token" value="\([^"]*\)".*/\1/p' "$IT/body" | head -n 1; }
key() { printf 'Idempotency-Key: %s' "$1"; }
forgive() { it_redis --scan --pattern 'throttle:*' | xargs -r redis-cli -s "$IT/redis/sock" DEL >/dev/null; }
# raw TEXT: as it is; the status lines
raw() {
	{
		exec 3<>"/dev/tcp/127.0.0.1/${SOUK_URL##*:}"
		printf '%b' "$1" >&3
		timeout 5 cat <&3 >"$IT/raw"
		exec 3<&-
	} 2>/dev/null
	grep -a -o '^HTTP/1.1 [0-9]*' "$IT/raw" | cut -d' ' -f2 | tr '\n' ' '
}

pw='wicker basket 42 ab'
api POST /api/register "$(jq -nc --arg p "$pw" '{email:"ann@example.com",password:$p,
	name:"<script>alert(1)</script>\"onx=1"}')" >/dev/null
ann=$(session)
api POST /api/register "$(cred bob@example.com "$pw")" >/dev/null
bob=$(session)
annid=$(it_psql -c "SELECT id FROM customer WHERE email = 'ann@example.com'")
read -r product variant price < <(it_psql -F ' ' -c "SELECT p.id, min(v.id), min(v.price)
	FROM product p JOIN variant v ON v.product_id = p.id WHERE p.status = 'active'
	GROUP BY p.id HAVING count(*) = 1 AND min(v.stock) > 20 ORDER BY p.id LIMIT 1")
line="{\"productId\":$product,\"quantity\":1}"
# order [MEMBERS]: a guest's body
order() { printf '{"items":[%s],"email":"guest@example.com"%s}' "$line" "${1:-}"; }

# ---- cookies
other=souk_session=$(printf 'A%.0s' {1..43})
who() { it_status /api/account -b "$1"; }
eq "Ann's cookie" 200 "$(who "$ann")"
eq "two of one name: the first counts" 401 "$(who "$other; $ann")"
eq "and no second one replaces it" "200 ann@example.com" \
	"$(who "$ann; $bob") $(jq -r .email <"$IT/body")"
for c in "SOUK_$ann" "__Host-$ann" "x=$ann" "=$ann" "a=b,$ann" "${ann}A" "${ann%?}" \
	"souk_session=" "souk_session=%20${ann#*=}"; do
	eq "no session: ${c:0:24}" 401 "$(who "$c")"
done
eq "65 cookies" 431 "$(who "$(printf 'a%d=b; ' {1..64})$ann")"

# ---- orders: whose, for how much
eq "a guest's order" 201 "$(api POST /api/orders "$(order)" -H "$(key guest-key-0123456789)")"
id=$(jq -r .id <"$IT/body") t=$(jq -r .accessToken <"$IT/body")
eq "another guest's" 201 "$(api POST /api/orders "$(order)")"
t2=$(jq -r .accessToken <"$IT/body")
eq "Ann's" 201 "$(api POST /api/orders "{\"items\":[$line]}" -b "$ann" -H "$(key ann)")"
anns=$(jq -r .id <"$IT/body")
eq "hers has no token" null "$(jq -r .accessToken <"$IT/body")"
for act in "" /cancel /payment; do
	for o in "$id" "$anns"; do
		m=POST
		[ -n "$act" ] || m=GET
		eq "$m ${act:-/} by nobody" "404 order_not_found" "$(it_status "/api/orders/$o$act" -X $m) $(code)"
		eq "$m ${act:-/} by Bob" 404 "$(it_status "/api/orders/$o$act" -X $m -b "$bob")"
		eq "$m ${act:-/} with another order's token" 404 "$(it_status "/api/orders/$o$act?t=$t2" -X $m)"
		eq "$m ${act:-/} with it as a bearer" 404 "$(it_status "/api/orders/$o$act" -X $m \
			-H "Authorization: Bearer $t2")"
	done
	eq "${act:-/}: one that is not there is the same" "404 order_not_found" \
		"$(it_status "/api/orders/$(printf %032d 0)$act" -X $m) $(code)"
done
eq "the page: no such" 404 "$(it_status "/orders/$anns" -b "$bob")"
eq "the page: Ann's" 200 "$(it_status "/orders/$anns" -b "$ann")"
eq "all stand as they did" 3 "$(it_psql -c "SELECT count(*) FROM orders WHERE status IN ('pending', 'reserved')")"
eq "Basic, which is not for us, is in nobody's way" 200 "$(it_status "/api/orders/$id?t=$t" \
	-H 'Authorization: Basic Zm9vOmJhcg==')"
eq "Bob with Ann's key gets one of his own" 201 "$(api POST /api/orders "{\"items\":[$line]}" -b "$bob" -H "$(key ann)")"
bobs=$(jq -r .id <"$IT/body")
it_match "of another id" "$([ "$bobs" != "$anns" ] && echo another)" another
eq "which is his" "200 404" "$(it_status "/api/orders/$bobs" -b "$bob") $(it_status "/api/orders/$bobs" -b "$ann")"
eq "a guest with a customer's key" "400 invalid_idempotency_key" \
	"$(api POST /api/orders "$(order)" -H "$(key ann)") $(code)"
eq "a guest's key, another body" "422 idempotency_mismatch" \
	"$(api POST /api/orders "$(order ',"x":1')" -H "$(key guest-key-0123456789)") $(code)"
eq "and nothing of it is told" "" "$(grep -o "$t\|$id" "$IT/body")"
eq "what is not the client's to say" 201 "$(api POST /api/orders "$(order \
	",\"total\":1,\"price\":1,\"currency\":\"JPY\",\"customerId\":$annid,\"customer_id\":$annid,\"status\":\"paid\",
	\"id\":\"$anns\",\"__proto__\":{\"admin\":true},\"accessToken\":\"$t2\"")" -H "X-Customer-Id: $annid")"
eq "does not count" "pending $price USD false" \
	"$(jq -r --arg a "$anns" '"\(.status) \(.total) \(.currency) \(.id == $a)"' <"$IT/body")"
eq "nor makes it hers" 1 "$(it_psql -c "SELECT count(*) FROM orders WHERE customer_id = $annid")"
for q in -1 0 1.5 1.0 '"1"' 1001 4611686018427387904 1e3 true null '[]'; do
	l="{\"productId\":$product,\"quantity\":$q}"
	eq "quantity $q" "422 invalid_field" "$(api POST /api/orders "{\"items\":[$l],\"email\":\"g@example.com\"}") $(code)"
	eq "quantity $q beside a good one" 422 "$(api POST /api/orders "{\"items\":[$line,$l],\"email\":\"g@example.com\"}")"
done
many() { printf "%s,%.0s" "$1" $(seq "$2") | sed 's/,$//'; }
for b in "{\"items\":[$(many "$line" 101)],\"email\":\"g@example.com\"}" \
	"{\"items\":[$(many "{\"productId\":$product,\"quantity\":999}" 100)],\"email\":\"g@example.com\"}" \
	"{\"items\":{\"0\":$line},\"email\":\"g@example.com\"}" \
	"{\"items\":[$line],\"email\":\"a@b.cc, x@y.zz\"}" \
	"{\"items\":[$line],\"email\":\"a@b.cc\\r\\nBcc: x@y.zz\"}" \
	"$(order ',"payment":{"token":{"a":1}}')" \
	"$(order ',"address":{"name":"a\nb","line1":"x","city":"y","postalCode":"1","country":"DE"}')"; do
	eq "refused: ${b:0:20}...${b: -40}" "422 invalid_field" "$(api POST /api/orders "$b") $(code)"
done
for b in '{"items":[],"items":[]}' "$(many '[' 3000 | tr -d ,)" '{"email":"a\u0000b"}' '{"a":"\ud800"}' \
	'{}x' '{"items":NaN}' '{"a":1e999}' '{"a":99999999999999999999}' '{/*x*/}' '[]' '"a"' '' \
	$'{"a":"\xff"}'; do
	eq "no JSON: ${b:0:30}" "400 invalid_json" "$(api POST /api/orders "$b") $(code)"
done
eq "a purchase by nobody" 401 "$(api POST /api/flash-sale/purchase "{\"saleId\":1,\"productId\":1,\"customerId\":$annid}")"

# ---- what people typed, on pages
eq "an order with a hostile address" 201 "$(api POST /api/orders "$(order ',"address":{"name":"<script>alert(1)</script>",
	"line1":"\"><img src=x onerror=alert(1)>","city":"{{email}}","postalCode":"</title>","country":"DE"}')")"
page="/orders/$(jq -r .id <"$IT/body")?t=$(jq -r .accessToken <"$IT/body")"
for p in "$page" /account '/cart?say=%3Cscript%3Ealert(1)' '/account?said=%3Cscript%3Ealert(1)' \
	'/password/reset?token=%22%3E%3Cscript%3Ealert(1)' '/cart/add?product='"$product"'&variant=%3Cscript%3Ealert(1)'; do
	it_get "$p" -b "$ann" >/dev/null
	eq "nothing runs on ${p:0:30}" 0 "$(grep -c '<script>alert\|<img src=x\|"onx' "$IT/body")"
	like "and nothing frames or stores it" "frame-ancestors 'none'.*private, no-store" \
		"$(it_header Content-Security-Policy) $(it_header Cache-Control)"
done

# ---- from other pages: every change refuses, whatever it is sent as
for path in /api/orders /api/orders/$anns/cancel /api/orders/$anns/payment /api/flash-sale/purchase \
	/api/login /api/logout /api/register /api/events /api/password/forgot /api/password/reset; do
	for h in 'Origin: https://evil.example' 'Origin: null' 'Origin;' 'Sec-Fetch-Site: cross-site' \
		'Sec-Fetch-Site: same-site' "Origin: $SOUK_URL.evil.example" "Origin: http://evil@${SOUK_URL#*//}"; do
		eq "$path, $h" "403 cross_origin" "$(api POST "$path" '{}' -b "$ann" -H "$h") $(code)"
	done
	case $path in */cancel | */payment | */logout) continue ;; esac
	for type in text/plain 'text/plain; application/json' application/x-www-form-urlencoded multipart/form-data; do
		eq "$path as $type" 415 "$(it_status "$path" -b "$ann" -H "Content-Type: $type" --data-binary '{}')"
	done
done
sale=$(it_souk_env soukctl sale create --product "$product" --allotment 5 --start now --end +1h)
it_souk_env soukctl --quiet sale open "$sale" || it_bail "sale open"
for path in /cart "/buy/$sale/$product" /login /register /logout /password/forgot /password/reset /account/password \
	/account/sessions/end /account/sessions/1/end /orders/$anns/cancel /orders/$anns/payment; do
	eq "$path without the form's token" 403 "$(it_status "$path" -b "$ann" -d 'product=1&x=y')"
	eq "$path with a token from elsewhere" 403 "$(it_status "$path" -b "$ann" -d "form_token=$(printf %064d 0)")"
	eq "$path from another site" 403 "$(it_status "$path" -b "$ann" -d x=y -H 'Sec-Fetch-Site: cross-site')"
done
it_get /account -b "$bob" >/dev/null
eq "Bob's token in Ann's form" 403 "$(it_status /account/sessions/end -b "$ann" -d "form_token=$(token)")"
eq "no method in a header" 405 "$(it_status "/api/orders/$id?t=$t" -X POST -H 'X-HTTP-Method-Override: GET')"
eq "no other site may read" "" "$(it_status /api/account -b "$ann" -H 'Origin: https://evil.example' >/dev/null
	it_header Access-Control-Allow-Origin)"
eq "Ann is still logged in, her order stands" "200 pending" \
	"$(who "$ann") $(it_get "/api/orders/$anns" -b "$ann" | jq -r .status)"

# ---- where it leads after logging in
for to in //evil.example '/\evil.example' https://evil.example javascript:alert\(1\) '/%0d%0aX:y' '%09//evil.example' ''; do
	eq "next=$to" "303 /account" "$(it_status /login -G -d "next=$to" -b "$ann") $(it_header Location)"
done

# ---- names that would make a private page look public
deceive() {
	local p
	for p in /account/x.css '/account;x.css' /account%2fx.css /account/ /api/account/x.js /metrics/; do
		eq "$1: $p is no page" 404 "$(it_status "$p" --path-as-is -b "$ann")"
		# Apache answers %2f itself, and says nothing.
		like "$1: $p is not stored" '^(private, no-store)?$' "$(it_header Cache-Control)"
	done
	for p in /account?x.css /%61ccount //account /static/../account /products/../account \
		/products/%2e%2e/account; do
		it_get "$p" --path-as-is -b "$ann" >/dev/null
		case $(it_last_status) in
		200) like "$1: $p is not stored" no-store "$(it_header Cache-Control)" ;;
		*) it_pass "$1: $p: $(it_last_status)" ;;
		esac
		it_get "$p" --path-as-is >/dev/null
		eq "$1: $p is not Ann's for the next one" 0 "$(grep -c ann@example.com "$IT/body")"
	done
	# A public page asked for with a session, then without.
	it_get "/products/$product" -b "$ann; souk_cart=$(printf 'B%.0s' {1..43})" >/dev/null
	eq "$1: a public page sets no cookie" "" "$(it_header Set-Cookie)"
	eq "$1: and names nobody" 0 "$(grep -c 'ann@' "$IT/body")"
	it_get /cart >/dev/null
	a=$(it_header Set-Cookie)
	it_get /cart >/dev/null
	it_match "$1: each visitor gets a cookie of his own" "$([ -n "$a" ] && [ "$a" != "$(it_header Set-Cookie)" ] && echo yes)" yes
	eq "$1: headers that say who one is" 401 "$(it_status /api/account -H 'SOUK_PATH: /metrics' \
		-H 'Remote-User: ann@example.com' -H "X-Souk-Session: ${ann#*=}" -H 'X-Original-URL: /metrics')"
}
deceive nginx

# ---- bodies whose length is in doubt
b=$(cred ann@example.com nope-nope)
h='POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
c='Connection: close\r\n\r\n'
# bodies SERVER CHUNKED: Apache hands a chunked body on without its length where
# it has not got all of it yet; then it is refused
bodies() {
	like "$1: chunked" "^$2 \$" "$(raw "${h}Transfer-Encoding: chunked\r\n$c$(printf %x ${#b})\r\n$b\r\n0\r\n\r\n")"
	for l in "Content-Length: ${#b}\r\nContent-Length: 5" 'Content-Length: -5' 'Content-Length: 0x10' 'Content-Length: 5, 6'; do
		# What it did not read may cost us its answer.
		like "$1: $l" '^(400 )?$' "$(raw "$h$l\r\n$c$b")"
	done
	# Either the one length or the other, never a second request in it.
	like "$1: two ways of saying it" '^((400|401|411) )?$' "$(raw \
		"${h}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n$c$(printf %x ${#b})\r\n$b\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")"
	eq "$1: a GET's body is no request" "200 404 " "$(raw "GET /products/$product HTTP/1.1\r\nHost: x\r\nContent-Length: 31\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n$c")"
}
bodies nginx 401
eq "TRACE" 405 "$(it_status / -X TRACE)"

# ---- links in mails are the shop's own
forgive
eq "a new password, asked for with another host's name" 202 "$(api POST /api/password/forgot \
	'{"email":"ann@example.com"}' -H 'Host: evil.example' -H 'X-Forwarded-Host: evil.example')"
eq "the task names no host" 0 "$(it_psql -c "SELECT count(*) FROM outbox WHERE data::text LIKE '%evil%'")"
secret=$(it_psql -c "SELECT data->>'secret' FROM outbox WHERE type = 'send_email' ORDER BY id DESC LIMIT 1")
it_get "/password/reset?token=$secret" >/dev/null
it_get "$page" >/dev/null
it_get "//orders/$anns?t=$secret" >/dev/null
sleep 1.2
eq "neither it, nor a guest's token, nor a session is in a log" 0 \
	"$(cat "$IT"/*.log "$IT/nginx/access.log" | grep -cF -e "$secret" -e "${page#*t=}" -e "${ann#*=}")"

# ---- events that only the shop may say
for name in order_placed order_paid order_cancelled; do
	eq "$name from outside" "422 invalid_field" "$(api POST /api/events "{\"name\":\"$name\"}") $(code)"
done

# ---- how often
it_stop fcgi
it_start_fcgi fcgi.children=4 account.hashing=1 account.tries=4 account.network_tries=1000 \
	order.per_customer=3 order.per_network=6
forgive
n=0
for i in $(seq 60); do
	s=$(api POST /api/login "$(cred bob@example.com "$pw")")
	[ "$s" = 200 ] || break
	n=$i
done
like "somebody with an account cannot log in for ever" '^429 3[0-9]$' "$s $n"
eq "the alias that only the database takes for the address" "401 bad_credentials" \
	"$(api POST /api/login "$(cred $'bo\u212a@example.com' "$pw")") $(code)"
it_psql -c "INSERT INTO customer (email, password_hash, name) SELECT 'kim@example.com', password_hash, '' FROM customer
	WHERE email = 'bob@example.com'"
eq "Kim" 200 "$(api POST /api/login "$(cred kim@example.com "$pw")")"
eq "is no Kelvin" "401 bad_credentials" "$(api POST /api/login "$(cred $'\u212aim@example.com' "$pw")") $(code)"

# A crowd that logs in: one hashes, one waits, two children are for others.
it_stop fcgi
it_start_fcgi fcgi.children=4 account.hashing=1 account.tries=1000 account.network_tries=10000 \
	order.per_customer=3 order.per_network=6
forgive
seq 80 | xargs -P 24 -I{} curl -s -o /dev/null -w '%{http_code}\n' --max-time 20 \
	-H 'Content-Type: application/json' -d "$(cred bob@example.com "$pw")" "$SOUK_URL/api/login" >"$IT/crowd"
like "of a crowd that logs in some are told to come again" '^[1-9][0-9]*$' "$(grep -c 503 "$IT/crowd")"
like "some get in" '^[1-9][0-9]*$' "$(grep -c 200 "$IT/crowd")"
eq "and nothing else happens" 80 "$(grep -c '200\|503' "$IT/crowd")"
eq "after it, all is as before" 200 "$(api POST /api/login "$(cred bob@example.com "$pw")")"

forgive
eq "a repeat" "201 201 201 201 201" "$(for i in 1 2 3 4 5; do
	api POST /api/orders "$(order)" -H "$(key repeat-0123456789)"
	echo
done | xargs)"
for i in 1 2; do eq "is one order, of three ($i)" 201 "$(api POST /api/orders "$(order)")"; done
eq "a fourth" "429 too_many_tries" "$(api POST /api/orders "$(order)") $(code)"
like "when to come back" '^[1-9][0-9]*$' "$(it_header Retry-After)"
eq "however it is spelt, and whatever says where from" 429 "$(api POST /api/orders \
	"{\"items\":[$line],\"email\":\"GUEST@Example.com\"}" -H 'X-Forwarded-For: 9.9.9.9')"
eq "refused ones are not counted" "422 422 422 422" "$(for i in 1 2 3 4; do
	api POST /api/orders "{\"items\":[{\"productId\":$product,\"quantity\":1000,\"variantId\":999999999}],\"email\":\"n@example.com\"}"
	echo
done | xargs)"
eq "its owner elsewhere may order" 201 "$(api POST /api/orders "$(order)" --interface 127.0.0.2)"
for i in 1 2 3; do
	eq "another guest of that network" 201 "$(api POST /api/orders "{\"items\":[$line],\"email\":\"g$i@example.com\"}")"
done
eq "a network's seventh" 429 "$(api POST /api/orders "{\"items\":[$line],\"email\":\"g7@example.com\"}")"
eq "a customer is counted for himself" "201 201 201 429" "$(for i in 1 2 3 4; do
	api POST /api/orders "{\"items\":[$line]}" -b "$ann"
	echo
done | xargs)"
# Carts: the token of a guest's form is made of a cookie that anybody can make.
put() { # JAR
	it_get "/cart/add?product=$product" -b "$1" -c "$1" >/dev/null
	it_status /cart -b "$1" -c "$1" -d "form_token=$(token)" -d "product=$product" -d "variant=$variant" -d quantity=1
}
for i in 1 2 3 4 5 6; do eq "a guest's cart ($i)" 303 "$(put "$IT/jar$i")"; done
eq "a network's seventh new cart" 429 "$(put "$IT/jar7")"
eq "more into one that is there" 303 "$(put "$IT/jar6")"
eq "six carts" 6 "$(it_psql -c 'SELECT count(*) FROM cart')"

# ---- the same through Apache
if command -v apache2 >/dev/null || [ -x /usr/sbin/apache2 ]; then
	it_stop fcgi
	it_port APACHE_PORT
	it_mkdir "$IT/apache" "$IT/apache/cache" "$IT/apache/locks"
	"$srcdir/conf/fill" <"$srcdir/conf/apache/souk.conf" >"$IT/apache/souk.conf" \
		CACHE="$IT/apache/cache" LOCKS="$IT/apache/locks" SOCKET="$IT/run/fcgi.sock" \
		STATIC="$IT_PREFIX/share/souk/static" MEDIA="$IT/media" || it_bail souk.conf
	echo "CustomLog $IT/apache/access.log souk" >>"$IT/apache/souk.conf"
	it_start_fcgi fcgi.children=4 account.network_tries=1000 "shop.base_url=http://127.0.0.1:$APACHE_PORT"
	it_start_apache "$IT/apache/souk.conf"
	forgive
	deceive Apache
	bodies Apache '(401|411)'
	eq "Apache: the order's page" 200 "$(it_status "$page")"
	eq "Apache: from another site" 403 "$(it_status /api/logout -X POST -b "$ann" -H 'Origin: https://evil.example')"
	eq "Apache: no token in its log" 0 "$(grep -cF -e "${page#*t=}" "$IT/apache/access.log")"
fi
grep -q 'AddressSanitizer\|runtime error' "$IT"/fcgi*.log 2>/dev/null && it_fail "a sanitizer spoke"
it_summary
