#!/usr/bin/env bash
# The cache never keeps what was true before the write (DESIGN 5.3): with a
# replica that is 5 s behind, with writers killed at random moments, with an
# invalidation that its writer never carried out.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need curl jq node initdb redis-server nginx
it_souk_install
it_start_pg
it_start_redis
it_ini
it_sample
it_start_pg_replica 5s
it_start_nginx
it_start_fcgi
token=$(it_token 2>/dev/null)
# The newest one stands on the first page of every list.
id=$(it_psql -c "SELECT max(id) FROM product WHERE status = 'active'")

replica_has() {
	[ "$(psql -XAtq -h "$IT/pg" -p "$PGPORT_REPLICA" -U souk -d souk \
		-c "SELECT count(*) FROM product WHERE id = $id" 2>/dev/null)" = 1 ]
}
it_wait_for 20 replica_has || it_bail "the replica has nothing"

run() { # NAME SECONDS
	local out rc
	out=$(node "$srcdir/tests/it/coherence.mjs" "$SOUK_URL" "$token" "$id" "$2")
	rc=$?
	it_note "$out"
	it_eq "$1" "$rc" 0
}
run "nothing old is shown 1 s after a change, replica 5 s behind" 9

# Every page cached, so that there is something to forget.
warm() {
	local p
	for p in "/products/$id" "/api/products/$id" / /products; do
		it_get "$p" >/dev/null
		it_get "$p" --compressed >/dev/null
	done
}
shows() { # TEXT: every page shows it
	local p
	for p in "/products/$id" "/api/products/$id" / /products; do
		it_get "$p" | grep -q "$1" || return 1
		it_get "$p" --compressed | grep -q "$1" || return 1
	done
}

# A writer that died between its commit and the invalidation leaves just this.
warm
it_psql -c "BEGIN; UPDATE product SET title = 'Left behind',
	version = version + 1 WHERE id = $id;
	INSERT INTO invalidation (keys, edge_paths, edge_lists) VALUES
	(ARRAY['product:$id', 'page:/products/$id', 'page:/api/products/$id',
	'gen:catalog'], ARRAY['/products/$id', '/api/products/$id'], true);
	COMMIT" || it_bail "psql"
it_ok "what a dead writer left is carried out within 1 s" \
	it_wait_for 1 shows 'Left behind'
sleep 1.2
it_ok "and stays" shows 'Left behind'

# Children killed while they change the product, at random moments.
children() { souk-fcgi --status --json | jq -r '.processes[].pid'; }
(
	RANDOM=7
	end=$((SECONDS + 8))
	while [ $SECONDS -lt $end ]; do
		sleep 0.$((RANDOM % 5 + 1))
		set -- $(children)
		[ $# -eq 0 ] || kill -KILL "${@:RANDOM % $# + 1:1}" 2>/dev/null
	done
) &
killer=$!
KILLS=1 run "nor while children are killed at random" 9
wait $killer
sleep 1.2
now=$(it_psql -c "SELECT title FROM product WHERE id = $id")
it_ok "at the end every page shows what the database has" shows "$now"

# Redis forgets its last second: what it was told is told again.
warm
it_status "/api/products/$id" -X PUT -H "Authorization: Bearer $token" \
	-H 'Content-Type: application/json' -d '{"title":"Told twice"}' >/dev/null
it_stop redis KILL
it_start_redis
it_ok "after a crash of Redis the last change shows" \
	it_wait_for 3 shows 'Told twice'
it_summary
