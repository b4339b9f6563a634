#!/usr/bin/env bash
# conf/nginx does what it says, with an application (fcgi_stub) that answers as
# it is told: what is kept, under which key, for how long, and what it is not.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need nginx curl
it_not_twice

stub=$IT/stub
it_mkdir "$stub" "$IT/share/souk/static" "$IT/run"
say() { printf '%s\n' "$2" >"$stub/$1"; }
asked() { [ -e "$stub/log" ] && wc -l <"$stub/log" || echo 0; }
last() { tail -n 1 "$stub/log"; }
cache() { it_get "$@" >/dev/null && it_header Cache-Status; }
hit='souk-edge; hit' miss='souk-edge; fwd=uri-miss'
page='public, max-age=0, s-maxage=3600, stale-while-revalidate=86400'

stub_start() {
	it_spawn stub TERM "${IT_AS[@]+"${IT_AS[@]}"}" \
		"$top_builddir/tests/it/fcgi_stub" "$IT/run/stub.sock" "$stub"
	it_wait_for 5 test -S "$IT/run/stub.sock" || it_bail "no stub"
}
# A build below /root: the servers' user cannot run it from there.
if ! "${IT_AS[@]+"${IT_AS[@]}"}" test -x "$top_builddir/tests/it/fcgi_stub"; then
	cp "$top_builddir/tests/it/fcgi_stub" "$IT/fcgi_stub"
	chmod 755 "$IT/fcgi_stub"
	stub_start() {
		it_spawn stub TERM "${IT_AS[@]}" "$IT/fcgi_stub" \
			"$IT/run/stub.sock" "$stub"
		it_wait_for 5 test -S "$IT/run/stub.sock" || it_bail "no stub"
	}
fi
stub_start
say cache "$page"

# ---- files, one plain, compressed beforehand
printf 'body { color: red }\n' >"$IT/share/souk/static/a.0123.css"
printf 'not really gzip\n' >"$IT/share/souk/static/a.0123.css.gz"
printf 'not really brotli\n' >"$IT/share/souk/static/a.0123.css.br"
printf 'plain only\n' >"$IT/share/souk/static/b.0123.js"
it_start_nginx "unix:$IT/run/stub.sock"
printf '<svg xmlns="http://www.w3.org/2000/svg"/>' >"$IT/media/a.svg"

it_note "kept, and under which key"
it_eq "a page is asked for once" "$(cache /products/1)" "$miss"
it_eq "and then comes from the edge" "$(cache /products/1)" "$hit"
it_eq "one question to the application" "$(asked)" 1
say extra 'Date: Sun, 06 Nov 1994 08:49:37 GMT'
it_get /products/aged >/dev/null
rm "$stub/extra"
it_eq "its age shows to caches behind" \
	"$(it_get /products/aged >/dev/null; it_header Date)" \
	'Sun, 06 Nov 1994 08:49:37 GMT'
n=$(asked)
it_eq "tracking parameters do not split the cache" \
	"$(cache '/products/1?utm_source=x&fbclid=y')" "$hit"
it_eq "nor does another spelling of the path" \
	"$(cache --path-as-is '/products/%31' 2>/dev/null ||
		cache /products/%31)" "$hit"
it_eq "a request for HEAD is served by the same entry" \
	"$(cache /products/1 -I)" "$hit"
it_eq "HEAD fills it too" "$(cache /products/2 -I)" "$miss"
it_match "as GET" "$(last)" '^GET path=/products/2 '
it_eq "so that GET has it" "$(cache /products/2)" "$hit"
it_match "whole" "$(it_get /products/2)" first

it_eq "a search is one entry" "$(cache '/products?q=mug')" "$miss"
it_eq "without its tracking" "$(cache '/products?utm_id=1&q=mug')" "$hit"
it_eq "in any order" "$(cache '/products?limit=&q=mug&after=')" "$hit"
it_eq "in either case" "$(cache '/products?Q=mug')" "$hit"
it_eq "the first of a name counts" "$(cache '/products?q=mug&q=cup')" "$hit"
it_eq "another search is another" "$(cache '/products?q=cup')" "$miss"
it_match "which the application saw as the key has it" "$(last)" \
	'query=q=cup&after=&limit= '
it_eq "the first also reaches the application" \
	"$(it_get '/products?q=one&q=two&Q=three' >/dev/null; last |
		grep -o 'query=[^ ]*')" 'query=q=one&after=&limit='
it_eq "a separator in a value stays one" \
	"$(it_get '/products?q=a%26after%3Db' >/dev/null; last |
		grep -o 'query=[^ ]*')" 'query=q=a%26after%3Db&after=&limit='
it_eq "home takes no arguments" "$(cache /?x=1; cache /?y=2)" "$miss
$hit"
n=$(asked)
it_get '/products/3' -H 'X-Forwarded-Host: evil' -b 'a=b' >/dev/null
it_match "no other header reaches a cached page" "$(last)" 'cookie=- host=-'
it_match "when it was handed on does" "$(last)" 'start=[0-9]+\.[0-9]{3}$'

it_note "encodings"
for want in identity gzip br; do
	case $want in
	identity) set -- '' identity 'br;q=0, gzip;q=0.0' 'deflate' 'brx, xgzip' '*' ;;
	gzip) set -- gzip 'gzip, deflate' 'br;q=0, gzip' 'br;q=0.000,gzip;q=1.0' \
		'deflate , GZIP;q=0.001' ;;
	br) set -- 'gzip, deflate, br' 'gzip, deflate, br, zstd' br \
		'gzip;q=1.0, br;q=0.5' 'br;q=1' 'zstd,br ; q=0.01 , gzip' ;;
	esac
	for ae; do
		it_eq "\"$ae\" is answered in $want" \
			"$(it_get /products/4 -H "Accept-Encoding: $ae" |
				grep -o 'enc=[a-z]*')" "enc=$want"
	done
done
it_eq "three entries for all of them" \
	"$(grep -c 'path=/products/4 ' "$stub/log")" 3

it_note "conditional requests"
etag=$(it_get /products/4 -H 'Accept-Encoding: gzip' >/dev/null; it_header ETag)
n=$(asked)
it_eq "304 from the edge" "$(it_status /products/4 \
	-H 'Accept-Encoding: gzip' -H "If-None-Match: $etag")" 304
it_eq "200 for another tag" "$(it_status /products/4 \
	-H 'Accept-Encoding: gzip' -H 'If-None-Match: "other"')" 200
it_eq "the application is not asked" "$(asked)" "$n"

it_note "what is never kept"
it_eq "a private page" "$(cache /cart; cache /cart)" \
	"souk-edge; fwd=bypass
souk-edge; fwd=bypass"
it_match "its arguments and cookies arrive" \
	"$(it_get '/orders/1?t=a&T=b' -b s=1)" 'query=t=a&T=b .*cookie=s=1'
say cache 'private, no-store'
it_eq "a private answer at a public address" \
	"$(cache /products/5; cache /products/5)" "$miss
$miss"
say cache "$page"
say extra 'Set-Cookie: a=b'
it_eq "an answer that sets a cookie" \
	"$(cache /products/6; cache /products/6)" "$miss
$miss"
rm "$stub/extra"
printf '' >"$stub/cache"
it_match "a write goes through" "$(it_get /products/1 -X PUT -d x -b s=1)" \
	'^PUT path=/products/1 .*cookie=s=1'
it_eq "and says so" "$(it_header Cache-Status)" 'souk-edge; fwd=bypass'
it_eq "no trace of it in the cache" "$(grep -rl '^PUT' "$IT/edge")" ""

it_note "stale"
say cache 'public, s-maxage=1, stale-while-revalidate=60, stale-if-error=60'
it_get /flash-sale/1 >/dev/null
say body second
sleep 2.1
it_match "an expired page is served stale at once" "$(it_get /flash-sale/1)" first
it_eq "and says so" "$(it_header Cache-Status)" "$hit; detail=stale"
fresh() { it_get /flash-sale/1 | grep -q second; }
it_ok "while it is made anew" it_wait_for 3 fresh
it_stop stub
sleep 2.1
it_match "the application gone: the page stays up" \
	"$(it_get /flash-sale/1)" second
it_eq "what is not cached says when to try again" \
	"$(it_status /cart) $(it_header Retry-After)" "503 5"
it_match "and nothing else may come with it" \
	"$(it_header Content-Security-Policy)" "^default-src 'none'"
it_eq "a program is told so in JSON" "$(it_get /api/products/99 |
	grep -o '"code":"unavailable"')" '"code":"unavailable"'
it_eq "as JSON" "$(it_header Content-Type)" application/json
stub_start
say status '503 Service Unavailable'
it_match "an application that fails: the same" \
	"$(it_get /flash-sale/1)" second
say status '404 Not Found'
say cache 'public, s-maxage=10'
gone() { [ "$(it_status /flash-sale/1)" = 404 ]; }
it_ok "a page that is gone is not kept alive by it" it_wait_for 5 gone
rm "$stub/status" "$stub/body"

say cache 'public, s-maxage=1'
it_get /flash-sale/2 >/dev/null
sleep 2.1
it_eq "without stale-while-revalidate nothing is served stale" \
	"$(cache /flash-sale/2)" 'souk-edge; fwd=stale'

it_note "a crowd at a cold page"
say cache "$page"
say delay 300
n=$(asked)
curl -sS --no-progress-meter --parallel --parallel-max 30 --parallel-immediate -o /dev/null \
	"$SOUK_URL/products/crowd?n=[1-30]"
it_eq "30 at once: one question" "$(($(asked) - n))" 1
rm "$stub/delay"

it_note "purging by file name"
f=$(printf '%s' 'identity q=&after=&limit= /products/1' | md5sum)
f=${f%% *}
f=$IT/edge/item/${f:30:2}/$f
it_ok "an item's file has the name the application computes" test -f "$f"
it_eq "it is held" "$(cache /products/1)" "$hit"
rm "$f"
it_eq "removed, it is asked for anew" "$(cache /products/1)" "$miss"
it_eq "once" "$(cache /products/1)" "$hit"
rm "$f"
say delay 300
n=$(asked)
curl -sS --no-progress-meter --parallel --parallel-max 30 --parallel-immediate -o /dev/null \
	"$SOUK_URL/products/1?n=[1-30]"
it_eq "once, too, by 30 at the same time" "$(($(asked) - n))" 1
rm "$stub/delay"
rm -f "$IT"/edge/list/*/*
it_eq "lists are purged whole" "$(cache '/products?q=mug')" "$miss"

it_note "files"
it_eq "brotli from disk" "$(it_get /static/a.0123.css \
	-H 'Accept-Encoding: gzip, br')" 'not really brotli'
it_eq "marked so" "$(it_header Content-Encoding) $(it_header Content-Type)" \
	'br text/css; charset=utf-8'
it_eq "gzip from disk" "$(it_get /static/a.0123.css \
	-H 'Accept-Encoding: gzip')" 'not really gzip'
it_eq "marked so" "$(it_header Content-Encoding) $(it_header Content-Type)" \
	'gzip text/css; charset=utf-8'
it_eq "for a year" "$(it_header Cache-Control)" \
	'public, max-age=31536000, immutable'
it_eq "plain" "$(it_get /static/a.0123.css)" 'body { color: red }'
it_eq "plain where no other is there" "$(it_get /static/b.0123.js \
	-H 'Accept-Encoding: gzip, br') $(it_header Content-Type)" \
	'plain only text/javascript; charset=utf-8'
it_eq "once each" "$(it_header Content-Type | wc -l) $(it_header Vary | wc -l)" "1 1"
it_eq "unknown: 404" "$(it_status /static/c.css -H 'Accept-Encoding: br')" 404
it_eq "nothing outside" "$(for p in '/static/../nginx/souk.conf' \
	'/static/%2e%2e/nginx/souk.conf' '/static/..%2fnginx/souk.conf' \
	'/media../nginx/souk.conf' '/media/../nginx/souk.conf'; do
	it_get "$p" --path-as-is
done | grep -c fastcgi_cache_path)" 0
it_eq "pictures" "$(it_status /media/a.svg) $(it_header Content-Type)" \
	'200 image/svg+xml'
it_eq "for a day, a week at the edge" "$(it_header Cache-Control)" \
	'public, max-age=86400, s-maxage=604800'
it_match "that run nothing" "$(it_header Content-Security-Policy)" sandbox
it_match "what the application answered can be found in its log" \
	"$(it_get /cart >/dev/null; it_header X-Request-Id)" '^[0-9a-f]{32}$'
it_eq "what the cache answered is in no log" \
	"$(it_get /products/1 >/dev/null; it_header X-Request-Id)" ""

it_note "an operator's pictures"
say cache 'private, no-store'
head -c 3000000 /dev/zero >"$IT/3m"
head -c 36000000 /dev/zero >"$IT/36m"
it_match "a large body" "$(it_get /api/products/1/images -T "$IT/3m" -X POST -b souk_session=1)" \
	'^POST path=/api/products/1/images .*cookie=souk_session=1'
it_eq "there alone" "$(for p in /api/products/1/imagesx /api/products/x/images \
	/api/products/1 /api/orders; do
	it_status "$p" -T "$IT/3m" -X POST
done | sort | uniq -c | sed 's/^ *//')" '4 413'
it_eq "and not any" "$(it_status /api/products/1/images -T "$IT/36m" -X POST) \
$(grep -o '"code":"[a-z_]*"' "$IT/body")" '413 "code":"body_too_large"'
it_match "their list is for one person" \
	"$(it_get /api/products/1/images -b __Host-souk_session=1)" 'cookie=__Host-souk_session=1'
it_eq "and not kept" "$(cache /api/products/1/images/2 -b souk_session=1)" \
	'souk-edge; fwd=bypass'
it_match "a token will do" "$(it_get /api/products/1/images -H 'Authorization: Bearer x')" \
	'^GET path=/api/products/1/images'
it_eq "nobody's is not taken in" "$(it_status /api/products/1/images -T "$IT/3m" -X POST -b s=1) \
$(grep -o '"code":"[a-z_]*"' "$IT/body")" '401 "code":"unauthorized"'
# Four that have not sent their bodies yet.
slow=()
for _ in 1 2 3 4; do
	exec {fd}<>"/dev/tcp/127.0.0.1/$NGINX_PORT"
	printf 'POST /api/products/1/images HTTP/1.1\r\nHost: x\r\nCookie: souk_session=1\r\nContent-Length: 3000000\r\n\r\nx' >&"$fd"
	slow+=("$fd")
done
refused() { [ "$(it_status /api/products/1/images -b souk_session=1)" = 429 ]; }
it_ok "four at once from one address are enough" it_wait_for 5 refused
it_eq "other pages have nothing to do with it" "$(it_status /cart)" 200
for fd in "${slow[@]}"; do
	exec {fd}>&-
done
taken() { [ "$(it_status /api/products/1/images -b souk_session=1)" = 200 ]; }
it_ok "and the next may come when they are gone" it_wait_for 5 taken
say cache "$page"

it_note "pictures in a bucket"
n=$(asked)
it_eq "as it is: no such file" "$(it_status /media/b.webp) $(asked)" "404 $n"
sed -i 's/#\(try_files $uri @souk_direct;\)/\1/' "$IT/nginx/souk.conf"
kill -HUP "${IT_PID[nginx]}"
handed_on() { it_get /media/b.webp | grep -q '^GET path=/media/b.webp '; }
it_ok "with the line for it: the application is asked" it_wait_for 5 handed_on
it_eq "but for what is in the folder" \
	"$(it_status /media/a.svg) $(it_header Content-Type)" '200 image/svg+xml'

it_note "two users"
if [ "$(id -u)" = 0 ]; then
	sh "$srcdir/conf/nginx/souk-edge-dirs" "$IT/two" www-data "$IT_GROUP"
	it_eq "the folder itself is the group's too" \
		"$(stat -c '%a %G' "$IT/two")" "2775 $IT_GROUP"
	setpriv --reuid=www-data --regid=www-data --clear-groups -- \
		sh -c "umask 077; echo x >$IT/two/item/0a/f"
	it_ok "the application's group may remove what nginx wrote" \
		"${IT_AS[@]}" rm "$IT/two/item/0a/f"
else
	it_skip "the application's group may remove what nginx wrote" "not root"
fi
it_match "nginx complained of nothing" \
	"$(grep -E '\[(alert|crit|emerg|warn)\]' "$IT/nginx.log" |
		grep -v -e 'stub.sock failed' -e 'body is buffered' || echo none)" none
it_summary
