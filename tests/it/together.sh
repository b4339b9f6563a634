#!/usr/bin/env bash
# One process for several queues: turns by weight, nobody starves, in PostgreSQL
# and at SQS (npm `fauxqs`) at the same time. With the workers of
# stub_workers.c: inventory is of class high, payment normal, email low.
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
it_once
it_need initdb psql redis-server node npm jq
. "${srcdir:-.}/tests/it/sqs_lib.sh"
declare -A WORKERS=([visibility]=2s [max_receives]=5 [backoff]=50ms [drain]=10s
	[long_poll]=2s [inventory]=0 [analytics]=0 [housekeeping]=0 [watch]=yes
	[pid_file]=$IT/run/pid)
ini() {
	[ -z "${Q:-}" ] || printf '[aws]\nendpoint = %s\ntimeout = 3s\n' \
		"$AWS_ENDPOINT"
	[ -z "${Q:-}" ] || printf '[queue.inventory]\nurl = %s\n' "$Q"
	[ -z "${P:-}" ] || printf '[queue.payment]\nurl = %s\n' "$P"
}
. "${srcdir:-.}/tests/it/workers_lib.sh"
wk_begin
conf

# worker NAME...: one process
worker() {
	it_spawn worker TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL \
		-u REDIS_URL SOUK_CONF="$IT/souk.ini" "$IT/souk-worker" "$@"
}
# backlog N [DATA]: of each of the three queues
backlog() {
	tasks i "$1" "${2:-}"
	tasks p "$1" "${2:-}" payment process_payment
	tasks e "$1" "${2:-}" email send_email
}
sql "CREATE VIEW t_done AS SELECT e.*, row_number() OVER (ORDER BY at) AS n, CASE
	WHEN task_id IN (SELECT md5('i' || i) FROM generate_series(1, 2000) i) THEN 'i'
	WHEN task_id IN (SELECT md5('p' || i) FROM generate_series(1, 2000) i) THEN 'p'
	ELSE 'e' END AS q FROM t_effect e"
# of Q N: of that queue among the first N
of() { sql "SELECT count(*) FROM t_done WHERE q = '$1' AND n <= $2"; }

it_exit "a worker that is none" 2 run "$IT/souk-worker" inventory nobody
it_exit "one twice" 2 run "$IT/souk-worker" inventory,inventory

# ---- turns by weight
backlog 200
worker inventory payment email
it_ok "one process works off three queues" it_wait_for 60 has_effects 600
it_note "the first 200: $(of i 200) high, $(of p 200) normal, $(of e 200) low"
it_ok "of ten turns six are the high one's" test "$(of i 200)" -ge 100 -a "$(of i 200)" -le 140
it_ok "three the normal one's" test "$(of p 200)" -ge 40 -a "$(of p 200)" -le 80
it_ok "one the low one's" test "$(of e 200)" -ge 10 -a "$(of e 200)" -le 40
it_ok "no queue waits for more than 20 turns" test "$(sql "SELECT max(gap) FROM (SELECT
	n - lag(n, 1, 0::bigint) OVER (PARTITION BY q ORDER BY n) AS gap FROM t_done
	WHERE n <= 200) g")" -le 200
it_ok "all is gone" it_wait_for 5 is 0 left
clean
tasks z 10 '{}' email send_email
it_ok "empty ones cost a low one nothing" it_wait_for 5 has_effects 10
it_stop worker
clean

# ---- and no starvation
sql "TRUNCATE finished_task"
backlog 200
sql "DELETE FROM outbox WHERE queue = 'payment' OR queue = 'email' AND task_id
	NOT IN (SELECT md5('e' || i) FROM generate_series(1, 20) i)"
worker inventory email
it_ok "both are worked off" it_wait_for 60 has_effects 220
it_ok "a few low ones before a long high queue is empty" test \
	"$(sql "SELECT max(n) FROM t_done WHERE q = 'e'")" -lt 190
it_stop worker
clean

# ---- a stop gives back what was not begun
sql "TRUNCATE finished_task"
backlog 20 '{"do":"sleep","ms":100}'
worker inventory payment email
it_wait_for 10 at_least 5 some
it_stop worker
it_eq "nothing is leased then, nothing counted" "$(sql "SELECT count(*) FROM outbox
	WHERE lease IS NOT NULL OR receives > 0")" 0
it_ok "and something is left" test "$(left)" -gt 0
clean

# ---- souk-workers: together
sql "TRUNCATE finished_task"
start together=inventory,payment,email analytics=1 max_tasks=100
it_eq "one process for three" "$(grep -c '^inventory,payment,email index=1 .*state=running' \
	"$IT/run/status")" 1
it_ok "and one for another" running analytics 1
backlog 50
tasks a 20 '{}' analytics track_event
it_ok "all are worked off" it_wait_for 30 has_effects 170
it_ok "by more than one, each with its number of tasks" it_wait_for 5 \
	logged 'event=worker_ended worker=inventory,payment,email .*how="exit 0"'
it_wait_for 5 running inventory 1
served() { # QUEUE: how many processes work on it
	run "$W" --status --json | jq ".queues[] | select(.queue == \"$1\") | .processes"
}
it_eq "each queue has its process" "$(served inventory) $(served email)" "1 1"
pid=$(pids inventory,payment,email)
kill -KILL "$pid"
another() { running inventory 1 && [ "$(pids inventory,payment,email)" != "$pid" ]; }
it_ok "killed it is replaced" it_wait_for 10 another
clean
sql "TRUNCATE finished_task"
backlog 10
it_ok "and works" it_wait_for 15 has_effects 30
it_stop workers
clean
refused() {
	conf "${@:3}"
	run "$W" -t >"$IT/t.out" 2>&1
	it_eq "$1: refused" $? 100
	it_match "in words" "$(cat "$IT/t.out")" "$2"
}
refused "a name that is none" 'souk.ini:[0-9]+: \[workers\] together: ' together=inventory,nobody
refused "with a maximum" '\[workers\] email_max: email is one of' together=email,payment email_max=3
refused "with a rule" 'scale_rules: email is one of' together=email "scale_rules=email > 5: 2"

# ---- a queue at SQS and two in PostgreSQL
it_aws_packages
it_start_fauxqs memory
Q=$AWS_ENDPOINT
conf
Q=$(run "$ctl" --quiet queue create inventory) || it_bail "queue create"
Q=$AWS_ENDPOINT/${Q#http*://*/}
sql "TRUNCATE finished_task"
conf
worker inventory payment email outbox
backlog 100
it_ok "a mixed set is worked off" it_wait_for 60 has_effects 300
it_ok "and is gone" it_wait_for 10 is 0 left
clean
sql "TRUNCATE finished_task"
it_stop worker
conf max_tasks=20
worker inventory payment email outbox
tasks e 60 '{"do":"sleep","ms":20}' email send_email
it_ok "one that has done its number ends, and waits at SQS no more" \
	it_wait_for 10 gone "${IT_PID[worker]}"
it_eq "with nothing in hand" "$(sql "SELECT count(*) FROM outbox WHERE
	lease IS NOT NULL OR receives > 0")" 0
it_stop worker
conf
clean
sql "TRUNCATE finished_task"
worker inventory payment email outbox
# A long low queue; then a high task, which the service brings.
tasks e 400 '{"do":"sleep","ms":20}' email send_email
it_wait_for 10 at_least 20 some
tasks i 1
it_ok "a high task at SQS has its turn" it_wait_for 15 is 1 \
	sql "SELECT count(*) FROM t_done WHERE q = 'i'"
it_ok "long before a low queue in PostgreSQL is empty" test "$(left)" -gt 100
sql "DELETE FROM outbox WHERE lease IS NULL"
it_wait_for 10 is 0 left
clean
sql "TRUNCATE finished_task"
# Held by the process while it works on another: its lease is kept.
tasks p 1 '{"do":"sleep","ms":3500}' payment process_payment
it_wait_for 10 is 1 sql "SELECT receives FROM outbox WHERE queue = 'payment'"
tasks i 10
it_ok "what waits in the process keeps its lease" it_wait_for 20 has_effects 11
it_ok "and is gone" it_wait_for 5 is 0 left
it_eq "none was lost on the way" "$(grep -c 'not_started\|not_settled' "$IT/worker.log")" 0
tasks x 40 '{"do":"sleep","ms":50}'
it_wait_for 10 at_least 15 some
it_stop worker
it_eq "a stop counts nothing" \
	"$(sql "SELECT count(*) FROM outbox WHERE receives > 1")" 0
clean

stands_still() {
	sleep 1.2
	tasks j 20 '{}' payment process_payment
	tasks k 5 '{}' email send_email
	it_wait_for 10 has_effects 5 && sleep 1 && has_effects 5
}

# ---- and one at RabbitMQ, where souk is built for it
. "$srcdir/tests/it/rabbitmq_lib.sh"
if [ -x "$top_builddir/tests/store/test_queue_amqp" ] &&
	[ -x "$IT_RABBIT_BIN/rabbitmq-server" ] &&
	[ -z "${SOUK_IT_SANITIZED:-}" ]; then
	it_stop fauxqs # what is left there
	it_start_fauxqs memory
	run "$ctl" --quiet queue create inventory >/dev/null
	it_start_rabbitmq
	P=$AMQP_URL
	conf
	sql "TRUNCATE finished_task"
	worker inventory payment email outbox
	tasks i 60
	tasks p 60 '{}' payment process_payment
	tasks e 60 '{}' email send_email
	it_ok "three kinds of queues in one process" it_wait_for 60 has_effects 180
	it_ok "and all is gone" it_wait_for 10 is 0 left
	clean
	run "$ctl" --quiet queue pause payment
	it_ok "a queue at RabbitMQ stands still" stands_still
	run "$ctl" --quiet queue resume payment
	it_ok "until it is resumed" it_wait_for 10 has_effects 25
	it_ok "and all is gone then" it_wait_for 10 is 0 left
	it_stop worker
fi
it_summary
