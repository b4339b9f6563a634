#!/usr/bin/env bash
# Workers, their supervisor and soukctl with tasks carried by RabbitMQ. The
# workers are stub_workers.c's.
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
it_once
it_need initdb psql redis-server jq
. "${srcdir:-.}/tests/it/rabbitmq_lib.sh"
it_need_rabbitmq
declare -A WORKERS=([visibility]=5s [max_lease]=20s [max_receives]=3
	[backoff]=50ms [drain]=10s [long_poll]=2s [resend]=1h
	[pid_file]=$IT/run/pid [inventory]=1 [inventory_max]=4
	[scale_quiet]=300ms [analytics]=1 [housekeeping]=0 [outbox]=1)
ini() {
	printf '[aws]\nconnect = 1s\ntimeout = 2s\n'
	printf '[queue.inventory]\nurl = %s\n' "$AMQP_URL"
}
. "${srcdir:-.}/tests/it/workers_lib.sh"
souk() { run "$ctl" --quiet "$@"; }
# figure NAME: of the queue, as soukctl says; status NAME: as the supervisor does
figure() {
	souk queue stats --json |
		jq -r ".queues[] | select(.queue == \"inventory\") | .$1"
}
status() {
	run "$W" --status --json |
		jq -r ".queues[] | select(.queue == \"inventory\") | .$1"
}
alone() { running inventory 1 && ! grep -q '^inventory .*state=draining' "$IT/run/status"; }
died() { grep -c 'event=worker_died\|event=worker_killed' "$IT/workers.log"; }
dead() { sql 'SELECT count(*) FROM dead_task'; }

it_spawn_rabbitmq # takes seconds
wk_begin
it_wait_for 60 it_rabbitmq_is_up || it_bail "RabbitMQ did not start"

# ---- making the queue
it_eq "queue create prints its name" "$(souk queue create inventory)" souk.inventory
it_eq "made twice it is the same" "$(souk queue create inventory)" souk.inventory
it_exit "it cannot be FIFO" 2 souk queue create inventory --fifo

# ---- looking, and trying again
start inventory=0 inventory_max=0
tasks a 3 '{"do":"rc","rc":4}'
tasks b 200
it_ok "all are sent" it_wait_for 15 is 0 figure unsent
it_ok "the depth is RabbitMQ's" it_wait_for 5 is 203 figure depth
it_eq "peek knows where they are" \
	"$(souk queue peek inventory --max 1000 --json | jq -r '.tasks[].state' | sort | uniq -c |
		xargs)" "203 sent"
it_stop workers
start inventory=2 inventory_max=0
it_ok "200 tasks have their effect once" it_wait_for 30 has_effects 200
it_ok "three never will" it_wait_for 15 is 3 dead
it_eq "nothing is left" "$(left) $(figure depth) $(figure unsent) $(figure dead)" "0 0 0 3"
it_eq "the dead have their history" "$(souk queue peek inventory --dead --json |
	jq -r '.tasks[] | "\(.state) \(.receives) \(.history | length) \(.error)"' | sort -u)" \
	"dead 3 3 stub: as the task says"
sql "UPDATE dead_task SET data = '{}'"
id=$(sql "SELECT md5('a1')")
it_ok "retry sends one" souk queue retry "$id"
it_ok "which is done" it_wait_for 10 has_effects 201
it_eq "redrive sends two" "$(souk queue redrive inventory --type decrease_stock)" 2
it_ok "which are done" it_wait_for 10 has_effects 203
it_exit "what is done is not retried" 1 souk queue retry "$id"
it_stop workers
clean

# ---- what waits after a failure
start inventory=1 inventory_max=0 max_receives=50 backoff=60s max_backoff=60s
tasks w 1 '{"do":"rc","rc":4}'
failed() { [ "$(sql "SELECT last_error FROM outbox")" = "stub: as the task says" ]; }
it_ok "a task fails" it_wait_for 10 failed
sql "UPDATE outbox SET data = '{}'"
it_ok "retry does not wait for its back-off" souk queue retry "$(sql "SELECT md5('w1')")"
it_ok "nor does the worker" it_wait_for 10 has_effects 1
it_stop workers
clean

# ---- as many processes as are needed
start
tasks c 2000 '{"do":"sleep","ms":4}'
it_ok "2,000 tasks: as many processes as there may be" it_wait_for 10 running inventory 4
it_match "by RabbitMQ's depth" "$(status asked) $(status max)" '^([4-9]|1[0-9]|2[01]) 4$'
it_ok "each is done once" it_wait_for 60 has_effects 2000
it_ok "as few as there should be" it_wait_for 30 alone
it_eq "no process was killed, none died" "$(died)" 0
clean

# ---- RabbitMQ goes away
tasks d 300 '{"do":"sleep","ms":20}'
it_ok "some are done" it_wait_for 15 at_least 20 some
it_stop rabbitmq KILL
it_ok "killed: it is seen" it_wait_for 15 logged 'event=figures_away queue=inventory'
it_exit "stats say that it does not answer" 111 souk queue stats
it_exit "it cannot be made" 111 souk queue create inventory
tasks e 100
tasks f 30 '{}' analytics track_event
other_effects() { [ "$(sql "SELECT count(*) FROM t_effect e WHERE task_id IN
	(SELECT md5('f' || i) FROM generate_series(1, 30) i)")" = 30 ]; }
it_ok "that delays no other queue" it_wait_for 10 other_effects
it_start_rabbitmq
it_ok "it is back: all are done, once" it_wait_for 40 has_effects 430
it_ok "and nothing is left" it_wait_for 20 is 0 left
it_ok "the figures are back" it_wait_for 15 logged 'event=figures_back queue=inventory'
it_ok "as few as there should be" it_wait_for 30 alone
it_stop workers
clean

# ---- a queue that forgets
start inventory=0 inventory_max=0 resend=1s
tasks g 20
it_ok "sent" it_wait_for 10 is 0 figure unsent
"$RABBITMQCTL" -q purge_queue souk.inventory >/dev/null || it_bail "purge_queue"
it_stop workers
start resend=1s
it_ok "what it has lost is sent again" it_wait_for 20 has_effects 20
it_ok "no password is in a log" eval '! grep -q "p@ss\|p%40ss" "$IT"/workers.log'
it_summary
