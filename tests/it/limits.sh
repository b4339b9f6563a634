#!/usr/bin/env bash
# What an operator may say of a type of task (how long, how many at a time, how
# often), and pausing a queue: in PostgreSQL and at SQS (npm `fauxqs`). With the
# workers of stub_workers.c.
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
it_need initdb psql redis-server node npm jq
it_not_twice
. "${srcdir:-.}/tests/it/sqs_lib.sh"
declare -A WORKERS=([visibility]=2s [max_receives]=5 [backoff]=50ms [drain]=5s
	[long_poll]=2s [inventory]=1 [analytics]=0 [housekeeping]=0 [outbox]=1)
ini() {
	[ -z "${Q:-}" ] || printf '[aws]\nendpoint = %s\ntimeout = 3s\n' \
		"$AWS_ENDPOINT"
	[ -z "${Q:-}" ] || printf '[queue.inventory]\nurl = %s\n' "$Q"
}
. "${srcdir:-.}/tests/it/workers_lib.sh"
wk_begin
refused() {
	conf "${@:2}"
	run "$W" -t >"$IT/t.out" 2>&1
	it_eq "refused" $? 100
	it_match "in words" "$(cat "$IT/t.out")" "$1"
}
refused 'souk.ini:[0-9]+: \[workers\] task_timeout: "send_email" is no limit' \
	task_timeout=send_email
refused 'task_receives: there is no task type nonsense' "task_receives=nonsense: 3"
refused 'task_concurrency: track_event is worked off in batches' \
	"task_concurrency=track_event: 1"
refused 'task_timeout: "send_email: 2h" is no limit' "task_timeout=send_email: 2h"

# ---- how long, how often
# A lease is long: whoever waits for its end is too late here.
start "task_timeout=decrease_stock: 700ms" "task_receives=decrease_stock: 2" visibility=60s
sql "INSERT INTO outbox (task_id, queue, type, data) SELECT md5('o' || i), 'inventory',
	'decrease_stock', CASE WHEN i = 3 THEN '{\"do\":\"hang\"}' ELSE '{}' END::jsonb
	FROM generate_series(1, 20) i"
it_ok "what takes too long is dead" it_wait_for 20 is 1 \
	sql 'SELECT count(*) FROM dead_task'
it_eq "after its own number of times, with the reason for each" \
	"$(sql "SELECT receives || ' ' || (SELECT count(*) FROM
	jsonb_array_elements(history) h WHERE h ->> 'error' LIKE 'task_timeout:%')
	FROM dead_task")" "2 2"
it_ok "the others have their effect once" it_wait_for 10 has_effects 19
it_ok "and are gone" it_wait_for 5 is 0 left
it_ok "the log names it" logged 'event=task_timeout .*type=decrease_stock'
it_stop workers
clean

# ---- how many at a time
# most: of that type at the same moment
most() {
	sql "SELECT max(c) FROM (SELECT (SELECT count(*) FROM t_begin b2 JOIN t_effect e2
		USING (task_id) WHERE b2.at <= b.at AND e2.at > b.at) AS c
		FROM t_begin b) x"
}
start inventory=4 payment=1 "task_concurrency=decrease_stock: 1, refund_payment: 3"
tasks c 40 '{"do":"sleep","ms":30,"begin":true}'
tasks d 5 '{}' payment process_payment
it_ok "all of a limited type are done" it_wait_for 60 has_effects 45
it_eq "never two at a time" "$(most)" 1
it_ok "and are gone" it_wait_for 5 is 0 left
it_ok "no slot is kept" it_wait_for 5 is 0 sql "SELECT count(*) FROM task_slot"
clean
# Somebody else has the slot for long; the others may not ask all the time.
sql "INSERT INTO task_slot VALUES ('decrease_stock', 1, 'x', now() + interval '1 h')"
tasks m 60 '{"begin":true}'
it_wait_for 5 at_least 1 sql "SELECT max(receives) FROM outbox"
commits() { sql "SELECT xact_commit FROM pg_stat_database WHERE datname = 'souk'"; }
n=$(commits)
sleep 2
n=$(($(commits) - n))
it_ok "who waits for a slot does not storm ($n in 2 s)" test "$n" -lt 120
it_eq "nor begins" "$(begun)" "0 0"
sql "DELETE FROM task_slot WHERE holder = 'x'"
it_ok "its turn comes" it_wait_for 30 has_effects 60
it_eq "which was not counted against it" "$(sql "SELECT count(*) FROM dead_task")" 0
it_stop workers
clean
start inventory=2 "task_concurrency=decrease_stock: 1"
tasks k 1 '{"do":"sleep","ms":60000}'
it_wait_for 5 is 1 sql "SELECT count(*) FROM task_slot"
kill -KILL "$(pgrep -P "${IT_PID[workers]}" -f 'souk-worker' | head -n 1)" \
	"$(pgrep -P "${IT_PID[workers]}" -f 'souk-worker' | tail -n 1)"
sql "DELETE FROM outbox"
tasks n 3
it_ok "a slot whose holder was killed comes free" it_wait_for 20 has_effects 3
it_stop workers
clean

# ---- pausing
pause() { run "$ctl" --quiet queue pause "$1"; }
last_is_paused() { grep event=queue_ "$IT/workers.log" | tail -n 1 | grep -q queue_paused; }
resume() { run "$ctl" --quiet queue resume "$1"; }
state_of() { run "$ctl" queue stats --json | jq -c \
	".queues[] | select(.queue == \"$1\") | [.depth + .unsent + .inFlight, .paused]"; }
start payment=1
it_exit "pause" 0 pause inventory
it_exit "twice" 1 pause inventory
it_exit "an unknown queue" 2 pause nonsense
sleep 1.2
tasks a 20
tasks b 20 '{}' payment process_payment
it_ok "other queues go on" it_wait_for 5 has_effects 20
sleep 1
it_eq "the paused one stands still" "$(effects) $(state_of inventory)" "20 20 [20,true]"
it_stop workers
start payment=1
sleep 1
it_eq "also for new workers" "$(effects) $(state_of inventory)" "20 20 [20,true]"
it_eq "nothing was counted" "$(sql "SELECT max(receives) FROM outbox")" 0
it_exit "resume" 0 resume inventory
it_ok "it goes on" it_wait_for 5 has_effects 40
it_exit "resumed twice" 1 resume inventory
clean
tasks e 100 '{"do":"sleep","ms":40}'
it_wait_for 5 at_least 5 some
pause inventory
it_ok "amid work: it is seen" it_wait_for 5 \
	last_is_paused
it_ok "what was not begun goes back" it_wait_for 5 is 0 \
	sql "SELECT count(*) FROM outbox WHERE lease IS NOT NULL"
n=$(some)
sleep 0.5
it_ok "and waits ($n done)" test "$(some)" = "$n" -a "$n" -lt 100
resume inventory
it_ok "all are done in the end" it_wait_for 20 has_effects 100
it_stop workers
clean

# ---- at SQS
it_aws_packages
it_start_fauxqs memory
Q=$AWS_ENDPOINT
conf
Q=$(run "$ctl" --quiet queue create inventory --fifo) || it_bail "queue create"
Q=$AWS_ENDPOINT/${Q#http*://*/}
start "task_timeout=decrease_stock: 700ms" "task_receives=decrease_stock: 2" visibility=30s
pause inventory
tasks q 10
unsent() { run "$ctl" queue stats --json | jq -c \
	'.queues[] | select(.queue == "inventory") | .unsent'; }
it_ok "a paused queue is still sent to" it_wait_for 10 is 0 unsent
sleep 1
it_eq "but not worked off" "$(effects)" "0 0"
resume inventory
it_ok "until it is resumed" it_wait_for 10 has_effects 10
it_ok "and all is gone" it_wait_for 5 is 0 left
clean
tasks t 1 '{"do":"hang"}'
it_ok "what takes too long is dead, there too" it_wait_for 20 is task_timeout \
	sql "SELECT split_part(error, ':', 1) FROM dead_task"
it_eq "a look tells what a redrive would do" \
	"$(run "$ctl" --quiet queue redrive inventory --error task_timeout --since -1h --dry-run |
	cut -f 1,2)" "1	decrease_stock"
it_eq "and changes nothing" "$(sql 'SELECT count(*) FROM dead_task')" 1
sql "UPDATE dead_task SET data = '{}'"
it_eq "redriven" "$(run "$ctl" --quiet queue redrive inventory --error task_timeout \
	--rate 10/s --id "$(printf t1 | md5sum | cut -c1-32)")" 1
it_ok "a FIFO queue takes it at once" it_wait_for 10 has_effects 1
it_exit "a time that is none" 2 run "$ctl" queue redrive inventory --since yesterday
it_exit "a rate that is none" 2 run "$ctl" queue redrive inventory --rate 5/m
it_stop workers
it_summary
