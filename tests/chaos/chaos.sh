#!/usr/bin/env bash
#
# chaos.sh [SEED...] - the crash test: people buy in a flash sale through nginx
# while a schedule made from the seed kills children and master of souk-fcgi,
# workers and their supervisor, Redis (restarted with its AOF, with a truncated
# one, empty; fail-over to a replica that lags, and back) and PostgreSQL. After
# the dust has settled checker.mjs reads PostgreSQL, Redis and the provider's
# books and nothing else.
#
# CHAOS_BUYERS (2000), CHAOS_UNITS (500), CHAOS_SECONDS (20): how many, how long
# faults go on. CHAOS_SQL: statements for the database before the sale opens
# (the test of the checker takes a key away). Without a seed: $CHAOS_SEED or 1.
. "${srcdir:-$(dirname "${BASH_SOURCE[0]}")/../..}/tests/it/lib.sh"
it_need curl jq node initdb redis-server nginx
here=$srcdir/tests/chaos
buyers=${CHAOS_BUYERS:-2000} units=${CHAOS_UNITS:-500} seconds=${CHAOS_SECONDS:-20}
limit=2
seeds=${*:-${CHAOS_SEED:-1}}

it_souk_install
it_start_pg -c max_connections=120
it_port RA
it_port RB
it_port RP

# ---- Redis: two servers, and an address that moves between them
redis_start() { # a|b [ARG...]
	local n=$1 p=$RA
	shift
	[ "$n" = a ] || p=$RB
	it_mkdir "$IT/redis-$n"
	it_spawn "redis-$n" TERM "${IT_AS[@]+"${IT_AS[@]}"}" redis-server \
		--port "$p" --bind 127.0.0.1 --dir "$IT/redis-$n" --daemonize no \
		--save '' --appendonly yes --appendfsync everysec \
		--repl-diskless-sync-delay 0 \
		--maxmemory 256mb --maxmemory-policy volatile-lru "$@"
	it_wait_for 15 redis_up "$n" || it_bail "Redis $n did not start"
}
rcli() { # a|b COMMAND...
	local p=$RA
	[ "$1" = a ] || p=$RB
	shift
	redis-cli -p "$p" "$@"
}
redis_up() { [ "$(rcli "$1" PING 2>/dev/null)" = PONG ]; }
redis_synced() { rcli "$1" INFO replication | grep -q 'master_link_status:up'; }
other() { if [ "$1" = a ]; then echo b; else echo a; fi; }
redis_now=a
redis_point() { # a|b
	redis_now=$1
	if [ "$1" = a ]; then kill -USR1 "${IT_PID[switch]}"; else kill -USR2 "${IT_PID[switch]}"; fi
}

redis_start a
redis_start b
rcli b REPLICAOF 127.0.0.1 "$RA" >/dev/null
it_spawn switch TERM node "$here/redis_switch.mjs" "$RP" "$RA" "$RB"
it_wait_for 10 it_open_port "$RP" || it_bail "no switch"
REDIS_URL=redis://127.0.0.1:$RP/0
export REDIS_URL

settings=("order.expires=${CHAOS_EXPIRES:-6s}" payment.timeout=700ms
	"mail.url=maildir:$IT/mail" workers.max_receives=200 workers.backoff=100ms
	workers.visibility=3s workers.drain=5s sale.deadline=1s fcgi.children=4
	"workers.pid_file=$IT/run/workers.pid"
	"workers.status_file=$IT/run/workers.status")
it_ini "${settings[@]}"
it_mkdir "$IT/mail"
it_sample
[ -z "${CHAOS_SQL:-}" ] || it_psql -U postgres -c "$CHAOS_SQL" || it_bail CHAOS_SQL
it_start_nginx
it_start_fcgi "${settings[@]}"

workers_start() {
	it_spawn workers TERM "${IT_AS[@]+"${IT_AS[@]}"}" \
		env -u DATABASE_URL -u DATABASE_REPLICA_URL -u REDIS_URL \
		-u SOUK_URL souk-workers
}
workers_start
fcgi_again() {
	it_spawn fcgi TERM "${IT_AS[@]+"${IT_AS[@]}"}" \
		env -u DATABASE_URL -u DATABASE_REPLICA_URL -u REDIS_URL \
		-u SOUK_URL souk-fcgi
}

# ---- the faults
dice() { # N: 0..N-1 into $d, from the seed
	d=$((RANDOM % $1))
}
child_of() { # PID: one of its children into $c
	local all
	mapfile -t all < <(ps -o pid= --ppid "$1" 2>/dev/null)
	c=
	[ ${#all[@]} -gt 0 ] || return 1
	dice ${#all[@]}
	c=$((all[d]))
}
wait_gone() { # NAME: after a KILL
	local i
	for i in "${!IT_PIDS[@]}"; do
		[ "${IT_PIDS[i]}" = "${IT_PID[$1]}" ] &&
			unset "IT_NAMES[i]" "IT_PIDS[i]" "IT_SIGS[i]"
	done
	wait "${IT_PID[$1]}" 2>/dev/null
}
killed() { # NAME: SIGKILL, and gone
	kill -KILL "${IT_PID[$1]}" 2>/dev/null
	wait_gone "$1"
}

fault_fcgi_child() { child_of "${IT_PID[fcgi]}" && kill -KILL "$c"; }
fault_fcgi_master() {
	killed fcgi
	fcgi_again
}
fault_worker() { child_of "${IT_PID[workers]}" && kill -KILL "$c"; }
fault_supervisor() {
	killed workers
	workers_start
}
fault_redis_aof() {
	killed "redis-$redis_now"
	redis_start "$redis_now"
}
fault_redis_truncated() {
	local f
	killed "redis-$redis_now"
	f=$(ls -S "$IT/redis-$redis_now"/appendonlydir/*.incr.aof 2>/dev/null | head -n 1)
	dice 20000
	[ -z "$f" ] || truncate -s -$((d < $(stat -c %s "$f") ? d : 0)) "$f"
	redis_start "$redis_now" --aof-load-truncated yes
}
fault_redis_empty() {
	killed "redis-$redis_now"
	rm -rf "$IT/redis-$redis_now"/appendonlydir
	redis_start "$redis_now"
}
# The replica stops listening, the sale goes on for a moment, then the replica
# is what everybody is led to. The old one lives on and becomes its replica, so
# that the next fail-over goes back to a server that was armed before.
fault_failover() {
	local to
	to=$(other "$redis_now")
	redis_up "$to" && redis_synced "$to" || return 0
	rcli "$to" REPLICAOF NO ONE >/dev/null
	sleep 0.3
	redis_point "$to"
	rcli "$(other "$to")" REPLICAOF 127.0.0.1 \
		"$(if [ "$to" = a ]; then echo "$RA"; else echo "$RB"; fi)" >/dev/null
}
fault_backend() { # one backend dies: all of PostgreSQL recovers from the crash
	child_of "${IT_PID[pg]}" && kill -KILL "$c"
}
pg_backends_gone() { ! pgrep -f "postgres: .*souk" -P 1 >/dev/null 2>&1; }
fault_postgres() {
	kill -QUIT "${IT_PID[pg]}" # immediate: as if it had crashed
	wait_gone pg
	it_pg_launch pg "$IT/pg/data" "$PGPORT_MAIN" -c max_connections=120
}
faults=(fcgi_child fcgi_child worker worker fcgi_master supervisor redis_aof
	redis_truncated redis_empty failover failover backend postgres)

# ---- one seed
settled() {
	[ "$(it_psql -c "SELECT (SELECT count(*) FROM outbox WHERE visible_at < 'infinity')
		+ (SELECT count(*) FROM payment_attempt WHERE outcome = 'unknown')
		+ (SELECT count(*) FROM orders WHERE status IN ('pending', 'reserved'))")" = 0 ]
}
at_rest() { # left + held + sold = allotment, nothing held
	souk_ctl sale status "$sale" --json | jq -e '.items | all(.armed and .held == 0
		and .left + .held + .sold == .allotment)'
}
souk_ctl() { it_souk_env soukctl --quiet "$@"; }

run_seed() {
	local seed=$1 end name list='' rc
	RANDOM=$seed
	IT_SEED=$seed
	rm -rf "$IT/mail/new" "$IT/mail/cur" "$IT/mail/tmp"
	it_psql -c "TRUNCATE orders, order_line, sale_unit, payment, payment_attempt, payment_event,
		outbox, finished_task, dead_task, sandbox_intent, sandbox_call, analytics_event CASCADE"
	read -r product variant stock < <(it_psql -F ' ' -c "SELECT p.id, v.id, v.stock FROM product p
		JOIN variant v ON v.product_id = p.id WHERE p.status = 'active' AND NOT EXISTS
		(SELECT FROM variant w WHERE w.product_id = p.id AND w.id <> v.id) ORDER BY p.id LIMIT 1")
	it_psql -c "UPDATE variant SET stock = $units + 7 WHERE id = $variant"
	sale=$(souk_ctl sale create --product "$product" --variant "$variant" \
		--allotment "$units" --limit $limit --price 1200 --start now --end +1h) ||
		it_bail "sale create"
	souk_ctl sale open "$sale" || it_bail "sale open"
	it_souk_env soukctl loadtest buyers "$buyers" >"$IT/cookies" || it_bail "buyers"
	it_eq "seed $seed: buyers" "$(wc -l <"$IT/cookies")" "$buyers"

	node "$here/buyers.mjs" "$SOUK_URL" "$IT/cookies" "$sale" "$product" "$seed" \
		"$IT/answers" $((seconds + 60)) >"$IT/buyers.out" 2>&1 &
	local crowd=$!
	end=$((SECONDS + seconds))
	while [ $SECONDS -lt $end ] && kill -0 $crowd 2>/dev/null; do
		dice 900
		sleep "0.$((d + 100))"
		dice ${#faults[@]}
		name=${faults[d]}
		list+=" $name"
		"fault_$name"
	done
	it_note "seed $seed: faults:$list"
	wait $crowd
	rc=$?
	it_note "seed $seed: buyers: $(tail -n 1 "$IT/buyers.out")"
	it_eq "seed $seed: every answer is right in itself" "$rc" 0
	[ $rc = 0 ] || sed 's/^/#   /' "$IT/buyers.out" | head -n 20

	it_ok "seed $seed: the dust settles" it_wait_for 90 settled
	it_ok "seed $seed: and the counter is at rest" it_wait_for 20 at_rest
	verdict "seed $seed: open" armed
	it_ok "seed $seed: sale check finds nothing" souk_ctl sale check "$sale"
	it_ok "seed $seed: sale close" souk_ctl sale close "$sale"
	verdict "seed $seed: closed" closed
	it_eq "seed $seed: what was not sold is in stock again" \
		"$(it_psql -c "SELECT stock FROM variant WHERE id = $variant")" \
		"$(it_psql -c "SELECT 7 + $units - count(*) FROM sale_unit WHERE order_id IS NOT NULL
			AND item_id IN (SELECT id FROM sale_item WHERE sale_id = $sale)")"
}
verdict() { # NAME armed|closed
	local out rc p=$RA
	[ "$redis_now" = a ] || p=$RB
	out=$(REDIS_PORT=$p node "$here/checker.mjs" "$sale" "$IT/cookies" "$IT/answers" \
		"$IT/mail" "$2" 2>&1)
	rc=$?
	it_note "$1: $(printf '%s\n' "$out" | tail -n 1)"
	if [ $rc = 0 ]; then
		it_pass "$1: the checker is content"
	else
		it_fail "$1: the checker is content" "$out"
	fi
}

for s in $seeds; do
	run_seed "$s"
	[ "$IT_FAILED" = 0 ] || break
done
it_summary
