#!/usr/bin/env bash
# The harness keeps its promises: servers start, answer, stop, leave nothing.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need initdb redis-server psql

it_start_pg
it_start_redis
it_eq "PostgreSQL answers" "$(psql -XAtc 'SELECT 1' "$DATABASE_URL")" 1
it_eq "fsync is on" "$(it_psql -c 'SHOW fsync')" on
it_start_pg_replica 1s
it_psql -c 'CREATE TABLE t(i int); INSERT INTO t VALUES (7)'
it_eq "the replica lags" \
	"$(psql -XAtc "SELECT to_regclass('t') IS NULL" "$DATABASE_REPLICA_URL")" t
replica_has_it() {
	[ "$(psql -XAtc 'SELECT i FROM t' "$DATABASE_REPLICA_URL")" = 7 ]
}
it_ok "and catches up" it_wait_for 10 replica_has_it
it_eq "Redis evicts what may be lost only" \
	"$(it_redis CONFIG GET maxmemory-policy | tail -n 1)" volatile-lru

pid=${IT_PID[redis]}
it_stop redis
it_exit "a stopped server is gone" 1 kill -0 "$pid"
it_start_redis
it_ok "and starts again" it_redis_is_up

inner=$(IT_KEEP='' bash -c '. "$srcdir/tests/it/lib.sh"; it_start_redis
	echo "$IT ${IT_PID[redis]}"; it_fail "on purpose" >&2; it_summary' 2>/dev/null)
it_eq "a failed script exits 1" $? 1
inner=${inner%%$'\n'*}
it_exit "its servers are stopped" 1 kill -0 "${inner##* }"
it_exit "its folder is gone" 1 test -e "${inner%% *}"
it_summary
