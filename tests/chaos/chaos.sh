#!/usr/bin/env bash
#
# chaos.sh [SEED...] - the crash test: people buy in a flash sale through nginx
# while a schedule made from the seed kills children and master of souk-fcgi,
# workers and their supervisor, Redis (restarted with its AOF, with a truncated
# one, empty; fail-over to a replica that lags, and back) and PostgreSQL. After
# the dust has settled checker.mjs reads PostgreSQL, Redis and the provider's
# books and nothing else.
#
# There are three kinds of seeds, one after another: a crush for the units;
# a crush in the middle of which the sale closes; few people, so that units are
# left to the end and one that is lost is missed.
#
# By environment: CHAOS_BUYERS, CHAOS_UNITS, CHAOS_SECONDS (how long people
# come and faults go on). CHAOS_SQL: statements for the database before the sale
# opens (the test of the checker takes keys away). CHAOS_KIND:
# crush, closing or few. CHAOS_QUEUE=sqs or rabbitmq: tasks go by SQS or RabbitMQ,
# which is killed, too. CHAOS_RESEND: [workers] resend then (5s); where it is
# given RabbitMQ's queues are not purged: with 1h what is settled is so without it.
# CHAOS_OPEN=1: not closed. IT_KEEP=1 keeps all files. Without a seed: $CHAOS_SEED or 1.
. "${srcdir:-$(dirname "${BASH_SOURCE[0]}")/../..}/tests/it/lib.sh"
it_need curl jq node initdb redis-server nginx
[ -z "${CHAOS_QUEUE:-}" ] || . "$srcdir/tests/it/${CHAOS_QUEUE}_lib.sh"
[ "${CHAOS_QUEUE:-}" != rabbitmq ] || it_need_rabbitmq
here=$srcdir/tests/chaos
buyers=${CHAOS_BUYERS:-300} units=${CHAOS_UNITS:-80} seconds=${CHAOS_SECONDS:-10}
limit=2
seeds=${*:-${CHAOS_SEED:-1}}

it_souk_install
[ "${CHAOS_QUEUE:-}" != rabbitmq ] || it_spawn_rabbitmq # takes seconds
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

# Times are short, so that what a schedule begins is over soon.
settings=("order.expires=${CHAOS_EXPIRES:-6s}" payment.timeout=500ms
	"mail.url=maildir:$IT/mail" workers.max_receives=200 workers.backoff=100ms
	workers.max_backoff=2s workers.visibility=3s workers.drain=5s
	workers.payment=4 sale.deadline=1s fcgi.children=4
	"workers.pid_file=$IT/run/workers.pid"
	"workers.status_file=$IT/run/workers.status")
it_ini "${settings[@]}"
it_mkdir "$IT/mail"
it_sample
queues=(inventory payment email analytics)
elsewhere=(aws.timeout=3s aws.connect=1s workers.long_poll=1s
	"workers.resend=${CHAOS_RESEND:-5s}")
# What the emulator forgets (a visibility of 0 that it cannot write down) is sent
# again soon.
queue_sqs() {
	local q url
	it_aws_packages
	it_start_fauxqs
	settings+=("aws.endpoint=$AWS_ENDPOINT" "${elsewhere[@]}")
	it_ini "${settings[@]}"
	for q in "${queues[@]}"; do
		url=$(it_souk_env soukctl --quiet queue create $q) ||
			it_bail "queue create"
		settings+=("queue.$q.url=$AWS_ENDPOINT/${url#http*://*/}")
	done
	it_ini "${settings[@]}"
	faults+=(sqs sqs)
}
fault_sqs() {
	killed fauxqs
	it_start_fauxqs
}
queue_rabbitmq() {
	local q
	it_wait_for 60 it_rabbitmq_is_up || it_bail "RabbitMQ did not start"
	# A start takes seconds, in which nobody can pay.
	settings+=("${elsewhere[@]}" "order.expires=${CHAOS_EXPIRES:-20s}")
	for q in "${queues[@]}"; do
		settings+=("queue.$q.url=$AMQP_URL")
	done
	it_ini "${settings[@]}"
	for q in "${queues[@]}"; do
		it_souk_env soukctl --quiet queue create "$q" >/dev/null ||
			it_bail "queue create"
	done
	faults+=(rabbitmq rabbitmq)
	[ -n "${CHAOS_RESEND:-}" ] || faults+=(rabbitmq_purged)
}
# The others go on while it starts.
fault_rabbitmq() {
	it_rabbitmq_is_up || return
	killed rabbitmq
	it_spawn_rabbitmq
}
# As if it had lost a queue with all that was in it.
fault_rabbitmq_purged() {
	dice ${#queues[@]}
	"$RABBITMQCTL" -q --timeout 5 purge_queue "souk.${queues[d]}" >/dev/null 2>&1
}
[ -z "${CHAOS_SQL:-}" ] || it_psql -U postgres -c "$CHAOS_SQL" || it_bail CHAOS_SQL
faults=(fcgi_child fcgi_child worker worker fcgi_master fcgi_stopped supervisor
	redis_aof redis_truncated redis_empty failover there_and_back
	there_and_back backend postgres)
[ -z "${CHAOS_QUEUE:-}" ] || "queue_$CHAOS_QUEUE"
it_start_nginx
it_start_fcgi "${settings[@]}"
program() { # NAME PROGRAM
	it_spawn "$1" TERM "${IT_AS[@]+"${IT_AS[@]}"}" \
		env -u DATABASE_URL -u DATABASE_REPLICA_URL -u REDIS_URL \
		-u SOUK_URL "$2"
}
program workers souk-workers

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
# As an init system does: until it stays. Children that live on without their
# master (one may be stopped just now) have the socket until they have ended.
fcgi_stays() {
	it_alive fcgi || {
		wait_gone fcgi
		program fcgi souk-fcgi
	}
	grep -q "pid=${IT_PID[fcgi]} event=ready" "$IT/fcgi.log"
}
fault_fcgi_master() {
	killed fcgi
	program fcgi souk-fcgi
	it_wait_for 20 fcgi_stays || it_bail "souk-fcgi did not come back"
}
# Longer than the reconciler waits (three deadlines of a purchase).
fault_fcgi_stopped() {
	child_of "${IT_PID[fcgi]}" || return
	kill -STOP "$c"
	(
		sleep 4
		kill -CONT "$c" 2>/dev/null
	) &
	asleep+=($!)
}
asleep=()
fault_worker() { child_of "${IT_PID[workers]}" && kill -KILL "$c"; }
fault_supervisor() {
	killed workers
	program workers souk-workers
}
fault_redis_aof() {
	killed "redis-$redis_now"
	redis_start "$redis_now"
}
fault_redis_truncated() {
	local f
	killed "redis-$redis_now"
	f=$(find "$IT/redis-$redis_now" -name '*.incr.aof' -o -name appendonly.aof |
		tail -n 1)
	dice 20000
	[ -z "$f" ] || truncate -s -$((d < $(stat -c %s "$f") ? d : 0)) "$f"
	redis_start "$redis_now" --aof-load-truncated yes
}
fault_redis_empty() {
	killed "redis-$redis_now"
	rm -rf "$IT/redis-$redis_now"/*
	redis_start "$redis_now"
}
# The replica stops listening, the sale goes on for a moment, then the replica
# is what everybody is led to. The old one lives on and becomes its replica, so
# that the next fail-over goes back to a server that was armed before.
replica_stands_up() { # into $to
	to=$(other "$redis_now")
	it_wait_for 2 redis_synced "$to" || return 1
	rcli "$to" REPLICAOF NO ONE >/dev/null
}
replica_of_now() {
	rcli "$(other "$redis_now")" REPLICAOF 127.0.0.1 \
		"$(if [ "$redis_now" = a ]; then echo "$RA"; else echo "$RB"; fi)" >/dev/null
}
fault_failover() {
	local to
	replica_stands_up || return
	sleep 0.3
	redis_point "$to"
	replica_of_now
}
# There and back: the first one knows nothing of what was sold meanwhile, and
# still is what it was armed on.
fault_there_and_back() {
	local to from=$redis_now
	replica_stands_up || return
	redis_point "$to"
	dice 900
	sleep "1.$((d + 100))"
	redis_point "$from"
	replica_of_now
}
# One backend dies: all of PostgreSQL recovers from the crash. Dies what recovers,
# PostgreSQL gives up, and is started again as an init system would.
fault_backend() {
	child_of "${IT_PID[pg]}" && kill -KILL "$c"
}
pg_again() {
	wait_gone pg
	it_pg_launch pg "$IT/pg/data" "$PGPORT_MAIN" -c max_connections=120
}
pg_stays() {
	it_alive pg || pg_again
	"$IT_PGBIN/pg_isready" -q -h "$IT/pg" -p "$PGPORT_MAIN"
}
fault_postgres() {
	kill -QUIT "${IT_PID[pg]}" # immediate: as if it had crashed
	pg_again
}

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
both_alive() { it_alive fcgi && it_alive workers; }
souk_ctl() { it_souk_env soukctl --quiet "$@"; }
clean() {
	it_psql -c "TRUNCATE orders, order_line, sale_unit, payment, payment_attempt, payment_event,
		outbox, finished_task, dead_task, sandbox_intent, sandbox_call, analytics_event CASCADE"
}
verdict() { # NAME armed|closed
	local out rc p=$RA
	[ "$redis_now" = a ] || p=$RB
	counts='{}'
	out=$(REDIS_PORT=$p STOCK=$((units + 7)) node "$here/checker.mjs" "$sale" \
		"$IT/cookies" "$IT/answers" "$IT/mail" "$2" 2>&1)
	rc=$?
	counts=$(printf '%s\n' "$out" | tail -n 1)
	it_note "$1: $counts"
	if [ $rc = 0 ]; then
		it_pass "$1: the checker is content"
	else
		it_fail "$1: the checker is content" "$out"
	fi
}
check_says() { # 111: it could not look, try again
	souk_ctl sale check "$sale" >"$IT/check.out" 2>&1
	check_rc=$?
	[ $check_rc != 111 ]
}
check_finds_nothing() {
	it_wait_for 30 check_says
	cat "$IT/check.out"
	return $check_rc
}
close_in() { # MS: whatever is away meanwhile
	sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"
	it_wait_for 60 souk_ctl sale close "$sale"
}

run_faults() { # CROWD: until it has gone, or the time is over
	local crowd=$1 end=$((${EPOCHREALTIME/./} + seconds * 1000000)) name list=''
	n_faults=0
	while [ "${EPOCHREALTIME/./}" -lt $end ] && kill -0 "$crowd" 2>/dev/null; do
		dice 600
		sleep "0.$((d + 100))"
		dice ${#faults[@]}
		name=${faults[d]}
		list+=" $name"
		n_faults=$((n_faults + 1))
		"fault_$name"
		it_alive pg || pg_again
	done
	it_wait_for 30 pg_stays || it_bail "PostgreSQL did not come back"
	[ "${CHAOS_QUEUE:-}" != rabbitmq ] || it_wait_for 60 it_rabbitmq_is_up ||
		it_bail "RabbitMQ did not come back"
	it_note "faults:$list"
}

run_seed() {
	local seed=$1 rc crowd closer start=$SECONDS kind kinds crowd_size
	RANDOM=$((seed * 7919 % 32768))
	find "$IT/mail" -type f -delete
	it_wait_for 10 clean || it_bail "TRUNCATE"
	read -r product variant < <(it_psql -F ' ' -c "SELECT p.id, v.id FROM product p
		JOIN variant v ON v.product_id = p.id WHERE p.status = 'active' AND NOT EXISTS
		(SELECT FROM variant w WHERE w.product_id = p.id AND w.id <> v.id) ORDER BY p.id LIMIT 1")
	it_psql -c "UPDATE variant SET stock = $units + 7 WHERE id = $variant"
	sale=$(souk_ctl sale create --product "$product" --variant "$variant" \
		--allotment "$units" --limit $limit --price 1200 --start now --end +1h) ||
		it_bail "sale create"
	souk_ctl sale open "$sale" || it_bail "sale open"
	kinds=(few crush closing)
	kind=${CHAOS_KIND:-${kinds[seed % 3]}}
	crowd_size=$buyers
	[ "$kind" != few ] || crowd_size=$((units * 2 / 5))
	head -n $crowd_size "$IT/all_cookies" >"$IT/cookies"

	node "$here/buyers.mjs" "$SOUK_URL" "$IT/cookies" "$sale" "$product" "$seed" \
		"$IT/answers" $((seconds + 40)) "$seconds" >"$IT/buyers.out" 2>&1 &
	crowd=$!
	if [ "$kind" = closing ]; then
		dice $((seconds * 250))
		close_in $((seconds * 450 + d)) &
		closer=$!
	fi
	run_faults $crowd
	wait $crowd
	rc=$?
	it_note "seed $seed: all have left after $((SECONDS - start)) s: $(tail -n 1 "$IT/buyers.out")"
	it_eq "seed $seed: every answer is right in itself" "$rc" 0
	[ $rc = 0 ] || sed 's/^/#   /' "$IT/buyers.out" | head -n 20
	[ ${#asleep[@]} = 0 ] || wait "${asleep[@]}"
	asleep=()

	if [ "$kind" = closing ]; then
		wait "$closer"
		it_eq "seed $seed: closed in the middle" "$?" 0
	else
		it_eq "seed $seed: nobody was told that it has ended" \
			"$(tail -n 1 "$IT/buyers.out" | jq .ended)" 0
	fi
	it_ok "seed $seed: souk-fcgi and the workers' supervisor are there" both_alive
	it_ok "seed $seed: the dust settles" it_wait_for 120 settled
	it_note "seed $seed: after $((SECONDS - start)) s"
	if [ "$kind" != closing ]; then
		it_ok "seed $seed: and the counter is at rest" it_wait_for 30 at_rest
		verdict "seed $seed: open" armed
		it_ok "seed $seed: sale check finds nothing" check_finds_nothing
	fi
	if [ -z "${CHAOS_OPEN:-}" ]; then
		[ "$kind" = closing ] || it_ok "seed $seed: sale close" \
			it_wait_for 30 souk_ctl sale close "$sale"
		verdict "seed $seed: closed" closed
		it_ok "seed $seed: nor of the closed sale" check_finds_nothing
	fi
	it_note "counts $(jq -cn --argjson b "$(tail -n 1 "$IT/buyers.out")" --argjson c "$counts" \
		"{seed: $seed, kind: \"$kind\", hit: $n_faults} + \$b + \$c")"
}

it_souk_env soukctl loadtest buyers "$buyers" >"$IT/all_cookies" || it_bail "buyers"
it_eq "buyers" "$(wc -l <"$IT/all_cookies")" "$buyers"
for s in $seeds; do
	run_seed "$s"
	[ "$IT_FAILED" = 0 ] || break
done
it_summary
