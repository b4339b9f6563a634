#!/usr/bin/env bash
# conf/apache does what it says: mod_proxy_fcgi with a page cache of a second,
# and the recipe for shared hosting by mod_fcgid, both without root. The
# application (fcgi_stub) answers as it is told.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need apache2 curl
it_not_twice
[ -e /usr/lib/apache2/modules/mod_fcgid.so ] || it_skip_all "no mod_fcgid"

stub=$IT/stub
it_mkdir "$stub" "$IT/static" "$IT/media" "$IT/run"
cp "$top_builddir/tests/it/fcgi_stub" "$IT/fcgi_stub"
chmod 755 "$IT/fcgi_stub"
say() { printf '%s\n' "$2" >"$stub/$1"; }
asked() { [ -e "$stub/log" ] && wc -l <"$stub/log" || echo 0; }
last() { tail -n 1 "$stub/log"; }
stub_start() {
	it_spawn stub TERM "${IT_AS[@]+"${IT_AS[@]}"}" "$IT/fcgi_stub" \
		"$IT/run/stub.sock" "$stub"
	it_wait_for 5 test -S "$IT/run/stub.sock" || it_bail "no stub"
}
page='public, max-age=0, s-maxage=3600, stale-while-revalidate=86400'
say cache "$page"
printf 'plain\n' >"$IT/static/a.0123.css"
printf 'gzip\n' >"$IT/static/a.0123.css.gz"
printf 'brotli\n' >"$IT/static/a.0123.css.br"
printf '<svg/>' >"$IT/media/a.svg"

files_are_right() {
	it_eq "brotli from disk" "$(it_get /static/a.0123.css \
		-H 'Accept-Encoding: gzip, br')" brotli
	it_eq "marked so" \
		"$(it_header Content-Encoding) $(it_header Content-Type)" \
		"br text/css$1"
	it_eq "gzip from disk" "$(it_get /static/a.0123.css \
		-H 'Accept-Encoding: gzip')" gzip
	it_eq "marked so" \
		"$(it_header Content-Encoding) $(it_header Content-Type)" \
		"gzip text/css$1"
	it_eq "plain" "$(it_get /static/a.0123.css)" plain
	it_eq "for a year" "$(it_header Cache-Control)" \
		'public, max-age=31536000, immutable'
	it_eq "pictures" "$(it_status /media/a.svg) $(it_header Content-Type)" \
		'200 image/svg+xml'
	it_match "that run nothing" "$(it_header Content-Security-Policy)" sandbox
	it_match "no lists of files" "$(it_status /media/)" "40[34]"
}

it_note "mod_proxy_fcgi and mod_cache"
"$srcdir/conf/fill" <"$srcdir/conf/apache/souk.conf" >"$IT/souk.conf" \
	CACHE="$IT/apache/cache" LOCKS="$IT/apache/locks" \
	SOCKET="$IT/run/stub.sock" STATIC="$IT/static" MEDIA="$IT/media"
stub_start
it_start_apache "$IT/souk.conf"

it_match "the path arrives decoded" "$(it_get /products/%31%20a)" \
	'^GET path=/products/1 a query='
# Early in a second, so that the entry does not turn stale meanwhile.
fresh_second() { it_wait_for 2 sh -c 'case $(date +%N) in 0*) ;; *) exit 1 ;; esac'; }
fresh_second
n=$(asked)
for _ in 1 2 3 4 5; do it_get "/products/2" >/dev/null; done
it_eq "five requests: one question" "$(($(asked) - n))" 1
it_match "from the cache" "$(it_header X-Cache)" HIT
it_eq "for a second" "$(it_header Cache-Control)" \
	'public, max-age=1'
fresh_second
it_get '/products?q=mug' >/dev/null
n=$(asked)
it_get '/products?q=mug&utm_source=x' >/dev/null
it_eq "tracking parameters do not split it" "$(($(asked) - n))" 0
it_get '/products?q=cup' >/dev/null
it_eq "another search does" "$(($(asked) - n))" 1
say body second
sleep 1.1
it_match "after a second a change shows" "$(it_get /products/2)" second
for want in identity gzip br; do
	case $want in
	identity) set -- identity 'br;q=0, gzip;q=0.0' deflate ;;
	gzip) set -- gzip 'gzip, deflate' 'br;q=0, gzip' ;;
	br) set -- 'gzip, deflate, br' br 'gzip;q=1.0, br;q=0.5' ;;
	esac
	for ae; do
		it_eq "\"$ae\" is answered in $want" \
			"$(it_get /products/4 -H "Accept-Encoding: $ae" |
				grep -o 'enc=[a-z]*')" "enc=$want"
	done
done
etag=$(it_get /products/4 >/dev/null; it_header ETag)
it_eq "304" "$(it_status /products/4 -H "If-None-Match: $etag")" 304
say cache 'private, no-store'
n=$(asked)
it_get /cart -b a=b >/dev/null
it_match "a private page gets its cookie" "$(it_get /cart -b a=c)" cookie=a=c
it_eq "and is not kept" "$(($(asked) - n))" 2
it_match "a write goes through, with its token" "$(it_get /api/products/1 \
	-X PUT -d x -H 'Authorization: Bearer t')" \
	'^PUT path=/api/products/1 .*auth=Bearer t'
say cache "$page"
it_get /products/7 >/dev/null
say status '503 Service Unavailable'
sleep 1.1
it_match "an application that fails: the last page is shown" \
	"$(it_get /products/7)" second
rm "$stub/status"
it_stop stub
it_match "that is gone: the same" "$(it_get /products/7)" second
files_are_right "; charset=utf-8"
it_stop apache
rm -f "$stub/log" "$stub/body"

it_note "shared hosting: mod_fcgid and .htaccess"
web=$IT/public_html
it_mkdir "$web"
cp "$srcdir/conf/apache/shared-hosting/htaccess" "$web/.htaccess"
ln -s "$IT/static" "$web/static"
ln -s "$IT/media" "$web/media"
printf '#!/bin/sh\nexec %s - %s\n' "$IT/fcgi_stub" "$stub" >"$web/souk.fcgi"
chmod 755 "$web/souk.fcgi"
cat >"$IT/host.conf" <<CONF
DocumentRoot $web
<Directory $web>
    AllowOverride All
    Options FollowSymLinks
    Require all granted
</Directory>
<Directory $IT/static>
    Require all granted
    AllowOverride None
</Directory>
<Directory $IT/media>
    Require all granted
    AllowOverride None
</Directory>
CONF
it_start_apache "$IT/host.conf"
it_match "the path arrives decoded" "$(it_get '/products/%31%20a?q=x')" \
	'^GET path=/products/1 a query=q=x '
it_match "home" "$(it_get /)" '^GET path=/ '
it_match "a write, with its token" "$(it_get /api/products/1 \
	-X PUT -d x -H 'Authorization: Bearer t')" \
	'^PUT path=/api/products/1 .*auth=Bearer t'
it_match "nobody gets at the files of the recipe" \
	"$(it_get /.htaccess; it_get /souk.fcgi)" '^(GET path=|.*40[34])'
files_are_right ""
it_summary
