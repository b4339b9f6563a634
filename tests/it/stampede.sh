#!/usr/bin/env bash
# 10,000 clients ask for one expired key: the database is asked once.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need curl wrk initdb redis-server nginx
it_souk_install
it_start_pg -c shared_preload_libraries=pg_stat_statements
psql -Xq -h "$IT/pg" -p "$PGPORT_MAIN" -U postgres -d souk \
	-c 'CREATE EXTENSION pg_stat_statements' 2>/dev/null ||
	it_skip_all "no pg_stat_statements (apt-get install postgresql-contrib)"
it_start_redis
it_ini
it_sample
it_start_nginx
it_start_fcgi fcgi.children=8
it_settled
id=$(it_psql -c "SELECT min(id) FROM product WHERE status = 'active'")

# How often a product was read since the last reset.
reset() {
	psql -Xq -h "$IT/pg" -p "$PGPORT_MAIN" -U postgres -d souk \
		-c 'SELECT pg_stat_statements_reset()' >/dev/null
}
reads() {
	psql -XAtq -h "$IT/pg" -p "$PGPORT_MAIN" -U postgres -d souk -c "
		SELECT coalesce(sum(calls), 0) FROM pg_stat_statements
		WHERE query LIKE '%p.seo_title%p.seo_description%'"
}
reset # the import's own statements look alike
it_get "/products/$id" >/dev/null
it_eq "the count works: the first request reads" "$(reads)" 1

clients=10000
[ "$(ulimit -n)" -ge 12000 ] || clients=$(($(ulimit -n) / 2))
crowd() { # NAME PATH CLIENTS
	local clients=$3
	reset
	wrk -t2 -c"$clients" -d4s --timeout 20s "$SOUK_URL$2" >"$IT/wrk" 2>&1
	it_note "$(grep -E 'requests in|Requests/sec|Socket errors|Non-2xx' \
		"$IT/wrk" | tr -s ' \n' ' ')"
	it_ok "$1: all are answered" sh -c "! grep -q Non-2xx '$IT/wrk' &&
		test \$(sed -n 's/ *\\([0-9]*\\) requests in.*/\\1/p' '$IT/wrk') -ge $clients"
	it_eq "$1: one read of the database" "$(reads)" 1
}
# Nothing of it is left anywhere: edge, Redis, each child.
forget() {
	it_redis FLUSHALL >/dev/null
	it_redis PUBLISH cache:invalidate "{\"key\":\"page:/products/$id\"}" >/dev/null
	it_redis PUBLISH cache:invalidate "{\"key\":\"page:/api/products/$id\"}" >/dev/null
	it_redis PUBLISH cache:invalidate "{\"key\":\"product:$id\"}" >/dev/null
	find "$IT/edge" -type f -delete
	sleep 0.3
}
forget
crowd "a page, $clients clients" "/products/$id" "$clients"
forget
crowd "the API, $clients clients" "/api/products/$id" "$clients"

# In the midst of it the page changes: everybody is answered all the same, and
# asked for again it shows the change.
token=$(it_token 2>/dev/null)
wrk -t2 -c"$clients" -d5s --timeout 20s "$SOUK_URL/products/$id" >"$IT/wrk" 2>&1 &
crowd=$!
sleep 2
it_eq "a change under $clients clients" "$(it_status "/api/products/$id" -X PUT \
	-H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
	-d '{"title":"Changed in a crush"}')" 200
it_ok "shows within a second" it_wait_for 1 sh -c \
	"curl -sS '$SOUK_URL/products/$id' | grep -q 'Changed in a crush'"
wait $crowd
it_ok "and costs nobody an answer" sh -c "! grep -q Non-2xx '$IT/wrk'"

# Past the edge, so that the shop's own cache has to hold: as many as the listen
# queue takes.
sed -i 's/fastcgi_cache souk_[a-z]*;/fastcgi_cache off;/' "$IT"/nginx/*.conf
kill -HUP "${IT_PID[nginx]}"
sleep 1
forget
crowd "past the edge, 1000 clients" "/products/$id" 1000
it_ok "(it was past the edge)" sh -c "[ -z \"\$(find '$IT/edge' -type f)\" ]"
it_summary
