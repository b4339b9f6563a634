#!/usr/bin/env bash
# Degrade in steps (DESIGN 5.4): without Redis, without PostgreSQL, with either
# of them hanging. Nothing waits past its deadline.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need curl jq initdb redis-server nginx
it_souk_install
it_start_pg
it_start_redis
it_ini
it_sample
it_start_nginx
it_start_fcgi postgres.query=1s postgres.connect=1s fcgi.request_deadline=20s
it_settled
ids=($(it_psql -c "SELECT id FROM product WHERE status = 'active' ORDER BY id"))
seen="/products/${ids[0]}" api="/api/products/${ids[0]}"
edge_empty() { find "$IT/edge" -type f -delete; }

# all NAME WANT PATH...: each answers WANT, each within 5 s
all() {
	local name=$1 want=$2 p got='' exp=''
	shift 2
	for p; do
		got+=" $(curl -s -o /dev/null --max-time 5 -w '%{http_code}' \
			"$SOUK_URL$p")"
		exp+=" $want"
	done
	it_eq "$name" "$got" "$exp"
}
state() { curl -s --max-time 5 "$SOUK_URL/readyz" | jq -r .status; }

for p in "$seen" "$api" / /products; do it_get "$p" >/dev/null; done
it_eq "all is well" "$(state)" ready

# ---- a cached answer that cannot be read: of another version, or damaged
it_get "/products/${ids[11]}" >/dev/null
it_redis EVAL "local v = redis.call('GET', KEYS[1])
	local at = string.find(v, 'SPK2', 1, true)
	return redis.call('SETRANGE', KEYS[1], at + 2, '9')" \
	1 "page:/products/${ids[11]}" >/dev/null
it_redis PUBLISH cache:invalidate "{\"key\":\"page:/products/${ids[11]}\"}" \
	>/dev/null
sleep 0.6
edge_empty
it_eq "what cannot be read is made anew" "$(it_status "/products/${ids[11]}")" 200
it_match "and may be kept" "$(it_header Cache-Control)" 's-maxage=3600'
it_match "in Redis too" "$(it_redis GET "page:/products/${ids[11]}")" SPK2

# ---- Redis away
it_stop redis KILL
edge_empty
all "without Redis pages answer" 200 "$seen" "$api" / /products \
	"/products/${ids[1]}" "/api/products/${ids[2]}/stock" /sitemap.xml
it_eq "readiness says so" "$(state)" degraded
it_eq "what is shown is not stored by anybody" "no-store" \
	"$(it_get "$api" >/dev/null; it_header Cache-Control)"
it_start_redis
cached() { it_redis EXISTS "page:$api" | grep -q 1 || {
	it_get "$api?$RANDOM" >/dev/null
	false
}; }
edge_empty
it_ok "Redis is back: cached again within 3 s" it_wait_for 3 cached

# ---- Redis hangs
kill -STOP "${IT_PID[redis]}"
edge_empty
all "with Redis hanging pages answer in time" 200 "$seen" "$api" / \
	"/products/${ids[3]}"
kill -CONT "${IT_PID[redis]}"
it_ok "and after it" it_wait_for 3 sh -c "[ \"\$(curl -s --max-time 5 \
	'$SOUK_URL/readyz' | jq -r .status)\" = ready ]"

# ---- PostgreSQL away
# A Redis that was restarted is told again what it may have forgotten, up to a
# second later: what is cached before that would be dropped.
sleep 3
for p in "$seen" "$api" / /products; do it_get "$p" >/dev/null; done
it_stop pg QUIT
all "without PostgreSQL the edge still answers" 200 "$seen" "$api" / /products
edge_empty
all "and so does the cache behind it" 200 "$seen" "$api" / /products
all "what nobody has cached is 503" 503 "/products/${ids[5]}" \
	"/api/products/${ids[5]}" "/products?q=never+asked"
it_get "/products/${ids[6]}" >/dev/null
it_match "with Retry-After" "$(it_header Retry-After)" '^[0-9]+$'
it_eq "readiness says so" "$(state)" degraded
it_eq "and strangers no more than that" "$(curl -s --max-time 5 \
	"$SOUK_URL/readyz" | jq -r .dependencies.postgres.error)" pg_down
it_start_pg
it_ok "PostgreSQL is back: 200 within 3 s" it_wait_for 3 \
	curl -sf --max-time 5 "$SOUK_URL/products/${ids[7]}"

# ---- PostgreSQL hangs
kill -STOP "${IT_PID[pg]}" $(pgrep -P "${IT_PID[pg]}")
t=$SECONDS
all "with PostgreSQL hanging it is 503 in time" 503 \
	"/products/${ids[8]}" "/products/${ids[9]}"
it_ok "which was at most 8 s for both" test $((SECONDS - t)) -le 8
all "and what is cached answers" 200 "$seen"
kill -CONT "${IT_PID[pg]}" $(pgrep -P "${IT_PID[pg]}")
it_ok "and after it" it_wait_for 5 \
	curl -sf --max-time 5 "$SOUK_URL/products/${ids[8]}"

# ---- both away
it_stop redis KILL
it_stop pg QUIT
edge_empty
all "with both away it is 503, not a hang" 503 "/products/${ids[10]}"
all "and healthz answers" 200 /healthz
it_start_pg
it_start_redis
it_ok "both are back" it_wait_for 5 \
	curl -sf --max-time 5 "$SOUK_URL/products/${ids[10]}"
it_summary
