#!/usr/bin/env bash
# soukctl cache and doctor, with real servers.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need initdb psql redis-server
soukctl=$top_builddir/ctl/soukctl
[ -x "$soukctl" ] || it_bail "no $soukctl"
it_mkdir "$IT/media"
export SOUK_POSTGRES_MIGRATIONS=$srcdir/sql SOUK_URL=http://shop.test \
	SOUK_FCGI_TEMPLATES=$srcdir/templates SOUK_FCGI_MEDIA=$IT/media \
	SOUK_FCGI_STATIC=$IT/static
"$soukctl" assets "$srcdir/static" "$IT/static" || it_bail "assets"

it_start_pg
it_start_redis
it_exit "doctor: the schema is not there" 100 "$soukctl" doctor
it_match "which it says, and what to do" "$("$soukctl" doctor)" \
	'^fail postgres.migrations: .*soukctl migrate'
"$soukctl" migrate --quiet >/dev/null || it_bail "migrate"
it_psql <<'SQL' >/dev/null
INSERT INTO product (handle, title) SELECT 'p' || n, 'P' || n FROM generate_series(1, 30) n;
INSERT INTO product (handle, title, status) VALUES ('d', 'D', 'draft');
INSERT INTO variant (product_id, price, stock) SELECT n, 100, 5 FROM generate_series(1, 31) n;
SQL

# ---- doctor
out=$("$soukctl" doctor)
rc=$?
it_eq "doctor: no fault" "$(grep ^fail <<<"$out")" ""
it_eq "its exit follows its warnings" "$rc" "$(grep -qc ^warn <<<"$out" && echo 1 || echo 0)"
it_match "as JSON" "$("$soukctl" doctor --json)" '"level":"ok","what":"postgres.fsync","why":"on"'
it_redis CONFIG SET maxmemory-policy allkeys-lru >/dev/null
it_match "a policy that evicts sales is a fault" "$("$soukctl" doctor)" \
	'^fail redis.maxmemory-policy: allkeys-lru'
export SOUK_REDIS_SALE_URL=$REDIS_TCP_URL
it_match "also where the counters have a Redis of their own" "$("$soukctl" doctor)" \
	'^fail redis.sale.maxmemory-policy: allkeys-lru'
it_match "the cache alone may evict as it likes" "$("$soukctl" doctor)" \
	'^warn redis.maxmemory-policy: allkeys-lru'
SOUK_REDIS_SALE_URL=redis://127.0.0.1:1/0
it_match "one that is not there is a fault" "$("$soukctl" doctor)" '^fail redis.sale:'
unset SOUK_REDIS_SALE_URL
it_redis CONFIG SET maxmemory-policy noeviction >/dev/null
it_match "and one that stops when it is full" "$("$soukctl" doctor)" \
	'^warn redis.maxmemory-policy: noeviction'
it_redis CONFIG SET maxmemory-policy volatile-lru >/dev/null
it_psql -U postgres -c "ALTER ROLE souk SET synchronous_commit = off"
it_match "so is a role that does not wait for the disk" "$("$soukctl" doctor)" \
	'^fail postgres.synchronous_commit: off'
it_psql -U postgres -c "ALTER ROLE souk RESET synchronous_commit"
it_match "templates that are not there" \
	"$(SOUK_FCGI_TEMPLATES=$IT/no "$soukctl" doctor)" '^fail folder.templates'
echo '[shop' >"$IT/bad.ini"
it_exit "a configuration that cannot be read" 100 "$soukctl" -c "$IT/bad.ini" doctor

# ---- warm
sale=$("$soukctl" sale create --product 1 --allotment 5 --end 2099-01-01T00:00:00Z)
it_eq "warm: what may be sold, the next sale, no draft" \
	"$("$soukctl" cache warm --json)" '{"filled":31,"present":0}'
it_eq "again: all is there" "$("$soukctl" cache warm --limit 5 --json)" '{"filled":0,"present":6}'
it_exit "a cache that is switched off is not warmed" 1 env SOUK_CACHE_ENABLED=no \
	"$soukctl" cache warm
it_eq "a record is under its key" "$(it_redis EXISTS product:30 "sale:$sale")" 2
it_ok "a sale gets one more item" "$soukctl" sale add "$sale" --product 2 --allotment 1
it_eq "and its record is gone" "$(it_redis EXISTS "sale:$sale")" 0
"$soukctl" cache warm --quiet >/dev/null
it_match "the record made anew has it" "$(it_redis GET "sale:$sale")" '"productId":2,'
start=$(date +%s%N)
"$soukctl" cache warm --rate 30 --quiet >/dev/null
it_ok "no faster than asked for" [ $((($(date +%s%N) - start) / 1000000)) -ge 900 ]

# ---- purge
it_redis SET session:x 1 >/dev/null
it_redis SET 'stock:{1:2}' 1 >/dev/null
it_eq "purge a product" "$("$soukctl" cache purge product:30 2>/dev/null)" 1
it_eq "its record is gone" "$(it_redis EXISTS product:30)" 0
it_eq "every host is told of the pages too" \
	"$(it_psql -c "SELECT keys, edge_paths, done_at IS NOT NULL FROM invalidation ORDER BY id DESC LIMIT 1")" \
	'{product:30,page:/products/30,page:/api/products/30}|{/products/30,/api/products/30,/api/products/30/stock}|t'
it_eq "by pattern" "$("$soukctl" cache purge --pattern 'product:1?')" 10
it_eq "those, no others" "$(it_redis EXISTS product:1 product:11 product:20)" 2
it_exit "what is not the cache's is refused" 1 "$soukctl" cache purge session:x
it_exit "saying nothing is no way to say all" 2 "$soukctl" cache purge
it_exit "nor are two ways at once" 2 "$soukctl" cache purge --all product:1
gen=$(it_redis GET gen:catalog)
it_ok "purge all" "$soukctl" cache purge --all
it_eq "no record is left" "$(it_redis --raw KEYS 'product:*')$(it_redis --raw KEYS 'sale:*')" ""
it_eq "a pattern never takes sessions or stock" "$(it_redis EXISTS session:x 'stock:{1:2}')" 2
it_ok "lists end by their generation" [ "$(it_redis GET gen:catalog)" != "$gen" ]

# ---- stats
it_redis MSET cache:hits 90 cache:misses 10 >/dev/null
it_match "stats" "$("$soukctl" cache stats --json)" \
	'^\{"hits":90,"misses":10,"rate":0\.9,"keys":[0-9]+,"memory":[0-9]+,"maxMemory":268435456,'
it_redis SET cache:misses 90 >/dev/null
it_match "fewer hits than should be: said" "$("$soukctl" cache stats 2>&1)" '80 %'
it_redis DEL cache:hits cache:misses >/dev/null
it_match "nothing counted yet is not zero" "$("$soukctl" cache stats --json)" '"rate":null'

# ---- with a store away
"$soukctl" cache warm --quiet >/dev/null
it_stop pg
it_exit "PostgreSQL away: purged here, others not told" 111 "$soukctl" cache purge product:1
it_eq "but purged" "$(it_redis EXISTS product:1)" 0
it_exit "doctor says it" 100 "$soukctl" doctor
it_start_pg
it_stop redis
it_exit "Redis away: try again" 111 "$soukctl" cache purge product:2
it_exit "nothing can be warmed" 111 "$soukctl" cache warm
it_match "and doctor says so" "$("$soukctl" doctor)" '^fail redis:'
it_summary
