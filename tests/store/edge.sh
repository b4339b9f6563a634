#!/usr/bin/env bash
# Purging what a real nginx has cached. The upstream is nginx as well: its
# answer is the time, so two equal answers come from the cache.
. "${srcdir:-.}/tests/it/lib.sh"
it_need nginx curl
purge=("${IT_AS[@]+"${IT_AS[@]}"}" "$top_builddir/tests/store/edge_purge" "$IT/edge")

it_port PORT
it_mkdir "$IT/edge" "$IT/ngx"
cat >"$IT/ngx/nginx.conf" <<CONF
daemon off;
pid $IT/ngx/pid;
error_log $IT/ngx/error.log info;
worker_processes 1;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path $IT/ngx/a;
	proxy_temp_path $IT/ngx/b;
	fastcgi_temp_path $IT/ngx/c;
	scgi_temp_path $IT/ngx/d;
	uwsgi_temp_path $IT/ngx/e;
	proxy_cache_path $IT/edge/item levels=2 keys_zone=item:1m inactive=1h;
	proxy_cache_path $IT/edge/list levels=2 keys_zone=list:1m inactive=1h;
	map \$uri \$zone { / list; /products list; default item; }
	server {
		listen 127.0.0.1:$PORT;
		location / {
			proxy_pass http://unix:$IT/ngx/up;
			proxy_cache \$zone;
			proxy_cache_key "\$http_x_enc q=\$arg_q&after=&limit= \$uri";
			proxy_cache_valid 1h;
			proxy_cache_use_stale updating error;
			add_header X-Cache \$upstream_cache_status;
		}
	}
	server {
		listen unix:$IT/ngx/up;
		location / { return 200 "\$uri \$msec \$request_id\n"; }
	}
}
CONF
it_spawn nginx QUIT "${IT_AS[@]+"${IT_AS[@]}"}" "$(command -v nginx || echo /usr/sbin/nginx)" \
	-e "$IT/ngx/error.log" -c "$IT/ngx/nginx.conf" -p "$IT/ngx"
it_wait_for 10 it_open_port "$PORT" || it_bail "nginx did not start"

# get PATH [ENC]: the body and whether it was a hit
get() {
	curl -sS -D "$IT/head" -H "X-Enc: ${2:-identity}" \
		"http://127.0.0.1:$PORT$1"
	sed -n 's/\r//; s/^X-Cache: //p' "$IT/head"
}
status() { get "$@" | tail -n 1; }

for enc in identity gzip br; do
	get /products/42 $enc >/dev/null
	it_eq "$enc is cached" "$(status /products/42 $enc)" HIT
done
get /products/43 >/dev/null
get "/caf%C3%A9%20x" >/dev/null
get / >/dev/null
get "/products?q=mug" gzip >/dev/null

before=$(get /products/42 | head -n 1)
it_ok "purge one item" "${purge[@]}" item /products/42
for enc in identity gzip br; do
	it_match "its $enc is rendered anew" "$(status /products/42 $enc)" 'MISS|EXPIRED'
	it_eq "and cached again" "$(status /products/42 $enc)" HIT
done
if [ "$before" = "$(get /products/42 | head -n 1)" ]; then
	it_fail "the old body is gone"
else
	it_pass "the old body is gone"
fi
it_eq "the neighbour stays" "$(status /products/43)" HIT
it_eq "lists stay" "$(status /)" HIT

it_ok "a path is taken decoded" "${purge[@]}" item "/café x"
it_match "and found" "$(status "/caf%C3%A9%20x")" 'MISS|EXPIRED'

it_ok "purge the lists" "${purge[@]}" lists
it_match "the home page goes" "$(status /)" 'MISS|EXPIRED'
it_match "so does a search" "$(status "/products?q=mug" gzip)" 'MISS|EXPIRED'
it_eq "items stay" "$(status /products/43)" HIT

it_ok "what is not there is no error" "${purge[@]}" item /nothing
it_ok "purge all" "${purge[@]}" all
it_match "items go" "$(status /products/43)" 'MISS|EXPIRED'

# A file that may not be written is unlinked; one that may not either: an error.
if [ "$(id -u)" = 0 ]; then
	get /products/43 >/dev/null
	find "$IT/edge/item" -type f -exec chown root {} +
	find "$IT/edge/item" -type f -exec chmod 0444 {} +
	it_ok "an entry of another user is unlinked" "${purge[@]}" item /products/43
	it_match "and rendered anew" "$(status /products/43)" 'MISS|EXPIRED'
	chown -R root "$IT/edge/item"
	chmod -R go-w "$IT/edge/item"
	find "$IT/edge/item" -type d -exec chmod 0755 {} +
	it_exit "one that cannot be removed is an error" 1 \
		"${purge[@]}" item /products/43
fi
it_exit "no such folder: no nginx yet, no error" 0 \
	"$top_builddir/tests/store/edge_purge" "$IT/none" all
it_eq "nginx had nothing critical to say" \
	"$(grep -c '\[crit\]' "$IT/ngx/error.log")" 0
it_summary
