#!/usr/bin/env bash
# Through PgBouncer in transaction mode ([postgres] pooler = transaction): the
# PostgreSQL layer, and the shop's pages.
. "$(dirname "${BASH_SOURCE[0]}")/../it/lib.sh"
it_need pgbouncer curl initdb redis-server nginx
it_souk_install
it_start_pg
it_start_redis
it_port bouncer
it_mkdir "$IT/bouncer"
printf '"souk" ""\n' >"$IT/bouncer/users"
cat >"$IT/bouncer/ini" <<INI
[databases]
souk = host=$IT/pg port=$PGPORT_MAIN dbname=souk
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $bouncer
auth_type = trust
auth_file = $IT/bouncer/users
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
unix_socket_dir =
INI
it_spawn pgbouncer INT "${IT_AS[@]+"${IT_AS[@]}"}" \
	"$(command -v pgbouncer || echo /usr/sbin/pgbouncer)" "$IT/bouncer/ini"
it_wait_for 10 it_open_port "$bouncer" || it_bail "pgbouncer did not start"
direct=$DATABASE_URL
pooled="postgresql://souk@127.0.0.1:$bouncer/souk"

it_ok "the layer's own tests pass through it" \
	env DATABASE_URL="$pooled" PG_POOLER=1 "$top_builddir/tests/store/test_pg"
it_ini
it_sample
DATABASE_URL=$pooled
it_start_nginx
it_start_fcgi postgres.pooler=transaction fcgi.children=8
id=$(psql -XAtq "$direct" -c "SELECT min(id) FROM product WHERE status='active'")
token=$(it_token 2>/dev/null)
it_eq "a product" "$(it_status "/api/products/$id")" 200
it_eq "a list" "$(it_status /products)" 200
it_eq "a search" "$(it_status '/products?q=lamp')" 200
it_eq "a change, which is a transaction" "$(it_status "/api/products/$id" \
	-X PUT -H "Authorization: Bearer $token" \
	-H 'Content-Type: application/json' -d '{"title":"Pooled"}')" 200
it_match "shows" "$(it_get "/products/$id")" Pooled
# More processes than the pool has connections: they take turns.
bad=0
for n in $(seq 40); do
	curl -s -o /dev/null -w '%{http_code}\n' --max-time 10 \
		"$SOUK_URL/products?q=word$n" &
done >"$IT/many"
wait $(jobs -p | grep -v -x -F "$(printf '%s\n' "${IT_PIDS[@]}")")
it_eq "40 at once through 3 connections" "$(sort "$IT/many" | uniq -c | tr -s ' ')" " 40 200"
it_summary
