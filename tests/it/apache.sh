#!/usr/bin/env bash
# The shop behind Apache: mod_proxy_fcgi with a page cache of a second, and in
# a home directory by mod_fcgid, without root. (conf/apache alone:
# apache_conf.sh.)
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need apache2 brotli curl initdb pgrep redis-server
[ -e /usr/lib/apache2/modules/mod_fcgid.so ] || it_skip_all "no mod_fcgid"

it_souk_install
it_start_pg
it_start_redis
it_port APACHE_PORT
it_ini "shop.base_url=http://127.0.0.1:$APACHE_PORT"
it_souk_env soukctl migrate >"$IT/migrate.log" 2>&1 || it_bail migrate
it_souk_env soukctl import "$srcdir/sample/catalogue.jsonl" \
	>"$IT/import.log" 2>&1 || it_bail import
cp -R "$srcdir/sample/media/." "$IT/media/"
token=$(it_token 2>/dev/null)
id=$(it_psql -c "SELECT id FROM product WHERE status = 'active'
	ORDER BY id DESC LIMIT 1")
picture=$(it_psql -c "SELECT src FROM product_image WHERE src LIKE '/media/%'
	LIMIT 1")

# What is one person's stays his; forms and cookies get through.
private_pages() {
	local token variant
	variant=$(it_psql -c "SELECT min(id) FROM variant
		WHERE product_id = $id")
	rm -f "$IT/jar"
	it_eq "a private page" "$(it_status "/cart/add?product=$id" \
		-c "$IT/jar") $(it_header Cache-Control)" '200 private, no-store'
	token=$(sed -n 's/.*name="form_token" value="\([^"]*\)".*/\1/p' \
		"$IT/body")
	it_eq "its form" "$(it_status /cart -b "$IT/jar" -c "$IT/jar" -d \
		"form_token=$token&product=$id&variant=$variant&quantity=1"
		) $(it_header Location)" '303 /cart?say=added'
	it_match "the cart is his" "$(it_get /cart -b "$IT/jar")" "q_$variant"
	it_match "and nobody else's" "$(it_get /cart)" 'cart is empty'
	it_eq "an order that is not there is not kept" "$(it_status \
		/orders/0123456789abcdef0123456789abcdef?t="$(printf 'A%.0s' \
		{1..43})") $(it_header Cache-Control)" '404 private, no-store'
}

# The same for both ways.
shop_is_open() {
	private_pages
	local p css
	for p in / /products '/products?q=a' "/products/$id" "/api/products/$id" \
		/api/products /sitemap.xml /robots.txt; do
		it_eq "$p" "$(it_status "$p")" 200
	done
	it_eq "what is not there" "$(it_status /products/999999999)" 404
	it_eq "HEAD" "$(it_status "/products/$id" -I)" 200
	css=$(it_get / | grep -Eo '/static/[^"]*\.css' | head -n 1)
	it_eq "its style" "$(it_status "$css")" 200
	it_match "kept for a year" "$(it_header Cache-Control)" immutable
	it_eq "compressed" "$(it_get "$css" -H 'Accept-Encoding: br' |
		brotli -dc | cksum)" "$(it_get "$css" | cksum)"
	it_eq "its pictures" "$(it_status "$picture")" 200
	it_eq "a page in brotli" "$(it_status "/products/$id" \
		-H 'Accept-Encoding: gzip, br') $(it_header Content-Encoding)" \
		'200 br'
	it_match "it can be read" "$(brotli -dc <"$IT/body")" '</html>'
	it_eq "a stranger may not change a product" "$(it_status \
		"/api/products/$id" -X PUT -H 'Content-Type: application/json' \
		-d '{"title":"x"}')" 401
	it_eq "the admin may" "$(it_status "/api/products/$id" -X PUT \
		-H "Authorization: Bearer $token" \
		-H 'Content-Type: application/json' \
		-d "{\"title\":\"$1\"}")" 200
	sleep 1
	for p in / "/products/$id" "/api/products/$id" "/products?q=$1"; do
		it_match "$p shows it a second later" "$(it_get "$p")" "$1"
	done
}

it_note "mod_proxy_fcgi"
"$srcdir/conf/fill" <"$srcdir/conf/apache/souk.conf" >"$IT/souk.conf" \
	CACHE="$IT/apache/cache" LOCKS="$IT/apache/locks" \
	SOCKET="$IT/run/fcgi.sock" STATIC="$IT_PREFIX/share/souk/static" \
	MEDIA="$IT/media"
it_start_fcgi "shop.base_url=http://127.0.0.1:$APACHE_PORT"
it_start_apache "$IT/souk.conf"
shop_is_open Proxied
# More clients than processes: nobody is left without an answer.
curl -sS --no-progress-meter --parallel --parallel-max 40 \
	--parallel-immediate --max-time 20 -o /dev/null -w '%{http_code}\n' \
	"$SOUK_URL/products?q=[1-200]" >"$IT/codes" 2>/dev/null
it_eq "200 searches by 40 clients at once" "$(sort "$IT/codes" | uniq -c |
	awk '{print $2 "x" $1}')" 200x200
it_stop apache
it_stop fcgi

it_note "shared hosting: mod_fcgid in a home directory"
# As ./configure --prefix=$HOME/souk && make install would leave it.
home=$IT/home
it_mkdir "$home" "$home/public_html"
make -s -C "$top_builddir" install prefix="$home/souk" DESTDIR= \
	sysconfdir="$home/souk/etc" localstatedir="$home/souk/var" \
	>"$IT/install.out" 2>&1 || it_bail "make install"
mkdir -p "$home/souk/etc/souk" "$home/souk/var/lib/souk"
grep -v nginx_cache "$SOUK_CONF" | sed "s|$IT_PREFIX|$home/souk|" \
	>"$home/souk/etc/souk/souk.ini"
ln -s "$IT/media" "$home/souk/var/lib/souk/media"
recipe=$home/souk/share/souk/conf/apache/shared-hosting
cp "$recipe/htaccess" "$home/public_html/.htaccess"
cp "$recipe/souk.fcgi" "$home/public_html/"
chmod 755 "$home/public_html/souk.fcgi"
ln -s "$home/souk/share/souk/static" "$home/public_html/static"
ln -s "$home/souk/var/lib/souk/media" "$home/public_html/media"
cat >"$IT/host.conf" <<CONF
DocumentRoot $home/public_html
<Directory $IT>
    AllowOverride All
    Options FollowSymLinks
    Require all granted
</Directory>
FcgidMaxProcesses 6
CONF
unset SOUK_CONF
it_start_apache "$IT/host.conf"
SOUK_CONF=$home/souk/etc/souk/souk.ini
shop_is_open Hosted
it_eq "nothing of it is root's" "$(ps -o user= --ppid "${IT_PID[apache]}" |
	grep -c '^root')" 0
pids=$(pgrep -f "$home/souk/sbin/souk-fcgi" | tr '\n' ' ')
it_match "Apache has started the shop's processes" "$pids" '[0-9]'
it_stop apache
gone() { ! pgrep -f "$home/souk/sbin/souk-fcgi"; }
it_ok "and they go with it" it_wait_for 10 gone
it_summary
