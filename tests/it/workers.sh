#!/bin/bash
# souk-workers and its workers, with a table of workers that can be told to
# misbehave (stub_workers.c), PostgreSQL and Redis.
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
it_need initdb psql redis-server
declare -A WORKERS=([visibility]=3s [max_lease]=20s [max_receives]=3
	[backoff]=50ms [drain]=5s [pid_file]=$IT/run/pid [inventory]=2
	[analytics]=1 [housekeeping]=1)
ini() { printf '[shop]\nname = %s\n' "${NAME:-one}"; }
. "${srcdir:-.}/tests/it/workers_lib.sh"
# task KEY DATA [QUEUE] [TYPE]
task() {
	it_psql -c "INSERT INTO outbox (task_id, queue, type, data) VALUES
		(md5('$1'), '${3:-inventory}', '${4:-decrease_stock}', '$2')"
}
clean() {
	sql 'TRUNCATE outbox, dead_task, finished_task, t_effect, t_tick'
}
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
wk_begin

# ---- work
start
task a '{"do":"ok"}'
it_ok "a task has its effect" it_wait_for 5 has_effects 1
it_ok "and is gone" it_wait_for 5 is 0 left
clean
for i in 1 2 3 4 5; do task "b$i" '{"do":"ok"}' analytics track_event; done
it_ok "a batch too" it_wait_for 5 has_effects 5
clean
task r1 '{"do":"rc","rc":1}'
task r2 '{"do":"rc","rc":2}'
task r3 '{"do":"rc","rc":3}'
task r4 '{"do":"rc","rc":4}'
task r5 '{"do":"rc","rc":5}'
it_ok "each outcome is settled" it_wait_for 15 is 0 left
it_eq "none and refused are done; invalid dies at once; the others after 3" \
	"$(sql "SELECT string_agg(data ->> 'rc' || ':' || receives, ' '
	ORDER BY data ->> 'rc') FROM dead_task")" "3:1 4:3 5:3"
it_eq "with the reason and all of their errors" "$(sql "SELECT error || ' ' ||
	jsonb_array_length(history) FROM dead_task WHERE receives = 3 LIMIT 1")" \
	"stub: as the task says 3"
it_ok "lines carry the task" logged "event=task_dead .*$(printf r3 | md5sum | cut -c1-32)|$(printf r3 | md5sum | cut -c1-32).* event=task_dead"
clean
task j '[1]'
task t '{}' inventory nonsense
task u '{}' analytics decrease_stock
it_ok "what nobody understands dies" it_wait_for 5 is 0 left
it_eq "with words for it" "$(sql "SELECT string_agg(split_part(error, ':', 1), ' '
	ORDER BY error) FROM dead_task")" \
	"bad_task_data unknown_task_type unknown_task_type"
task k '{"do":"ok"}'
it_ok "and the worker lives" it_wait_for 5 has_effects 1
it_eq "it is the same one" "$(grep -c 'event=worker_died' "$IT/workers.log")" 0

# ---- soukctl queue
it_eq "stats say how many are dead" "$(run "$ctl" queue stats --json |
	jq -c '[.queues[] | select(.dead > 0) | [.queue, .dead]]' 2>/dev/null ||
	echo no jq)" '[["inventory",2],["analytics",1]]'
it_match "peek shows them" "$(run "$ctl" queue peek inventory --dead --quiet)" \
	'nonsense.dead.1.*unknown_task_type'
it_eq "redrive sends back" "$(run "$ctl" queue redrive inventory --type nonsense --quiet)" 1
dead_again() {
	[ "$(sql "SELECT jsonb_array_length(history) FROM dead_task WHERE type = 'nonsense'")" = 2 ]
}
it_ok "where it dies again, with its history" it_wait_for 5 dead_again
it_exit "an unknown task" 1 run "$ctl" queue retry 0123
it_exit "an unknown queue" 2 run "$ctl" queue peek nonsense
clean

# ---- waking
sleep 0.3
t=$(now_ms)
task w '{"do":"ok"}'
it_redis PUBLISH queue:wake "payment inventory" >/dev/null
it_ok "a word on queue:wake" it_wait_for 3 has_effects 1
ms=$(sql "SELECT round(extract(epoch FROM e.at - f.finished_at) * 1000) FROM
	t_effect e, finished_task f LIMIT 1")
it_note "effect after $(($(now_ms) - t)) ms"
clean
# Several times, since a poll may come by chance.
slow=0
for i in 1 2 3 4 5; do
	task "w$i" '{"do":"ok"}'
	it_redis PUBLISH queue:wake inventory >/dev/null
	it_wait_for 0.3 has_effects "$i" || slow=$((slow + 1))
	it_wait_for 3 has_effects "$i"
done 2>/dev/null
it_ok "wakes without waiting for the poll" test "$slow" -le 1

# ---- the clock
clean
sleep 2.2
all=$(sql "SELECT count(*) FROM t_tick WHERE name = 'all'")
leader=$(sql "SELECT count(*) FROM t_tick WHERE name = 'leader'")
it_ok "what runs by the clock runs ($all, $leader)" test "$all" -ge 5 -a "$leader" -ge 2
it_ok "not faster than it says" test "$all" -le 14 -a "$leader" -le 6
it_stop workers
start housekeeping=4
clean
sleep 2.2
all=$(sql "SELECT count(*) FROM t_tick WHERE name = 'all'")
leader=$(sql "SELECT count(*) FROM t_tick WHERE name = 'leader'")
it_ok "of four one at a time has the leader's turn ($all, $leader)" \
	test "$all" -ge 16 -a "$leader" -ge 2 -a "$leader" -le 6

# ---- long tasks
clean
task s1 '{"do":"sleep","ms":7000}'
sleep 6
it_eq "a lease is kept for as long as it takes" "$(sql "SELECT receives FROM outbox")" 1
it_ok "and the effect is one" it_wait_for 5 has_effects 1
it_wait_for 5 is 0 left
clean
# Ten in a batch behind each other: those that wait keep their leases too.
it_stop workers
start inventory=1 visibility=1s
for i in 1 2 3 4 5 6 7 8; do
	printf "(md5('l%s'), 'inventory', 'decrease_stock', '{\"do\":\"sleep\",\"ms\":400}')," $i
done | sed 's/,$//; s/^/INSERT INTO outbox (task_id, queue, type, data) VALUES /' | it_psql
sleep 2
it_eq "those that wait their turn keep theirs" "$(sql 'SELECT max(receives) FROM outbox')" 1
it_ok "each has its effect once" it_wait_for 10 has_effects 8
it_wait_for 5 is 0 left
it_ok "none was lost on the way" test "$(grep -c 'not_settled\|not_started' "$IT/workers.log")" = 0
it_stop workers

# ---- a hanging task
start inventory=1 visibility=1s max_lease=2s max_receives=2
clean
task h '{"do":"hang"}'
it_ok "a task that hangs ends its process" it_wait_for 8 logged 'event=task_hangs'
it_ok "and dies itself" it_wait_for 20 is 1 sql 'SELECT count(*) FROM dead_task'
it_match "as poison" "$(sql 'SELECT error FROM dead_task')" '^poison'
it_stop workers

# ---- a task that kills its process, among others
start inventory=1 visibility=1s max_receives=5
clean
sql "INSERT INTO outbox (task_id, queue, type, data) SELECT md5(n::text),
	'inventory', 'decrease_stock', CASE WHEN n = 3 THEN '{\"do\":\"die\"}'::jsonb
	ELSE '{}' END FROM generate_series(1, 10) n"
it_ok "a task that kills its process dies" it_wait_for 40 is 0 left
it_eq "it alone" "$(sql "SELECT string_agg(data ->> 'do', ' ') FROM dead_task")" die
it_eq "the others had their effect, once" "$(effects)" "9 9"
it_ok "a worker that dies is started again" logged 'event=worker_died .*how="signal 9"'

# ---- kill -9
it_stop workers
start inventory=3 visibility=1s max_receives=50
clean
sql "INSERT INTO outbox (task_id, queue, type, data) SELECT md5(n::text),
	'inventory', 'decrease_stock', '{\"do\":\"sleep\",\"ms\":5}'
	FROM generate_series(1, 600) n"
for i in 1 2 3 4; do
	sleep 0.3
	for pid in $(pids inventory | head -n 2); do kill -KILL "$pid"; done
done
it_ok "workers killed: every task has its effect" it_wait_for 40 has_effects 600
it_ok "and none is left" it_wait_for 20 is 0 left
clean
old=$(pids '[a-z]*')
task z '{"do":"sleep","ms":1500}'
it_wait_for 5 is 1 sql "SELECT receives FROM outbox"
it_stop workers KILL
for pid in $old; do
	it_wait_for 8 gone "$pid" || it_fail "worker $pid outlives its supervisor"
done
it_eq "the supervisor killed: its workers finish and end" "$(effects) $(left)" "1 1 0"
start
it_pass "the pid file of a dead one is no hindrance"
run "${IT_AS[@]+"${IT_AS[@]}"}" "$W" >"$IT/second.out" 2>&1
it_eq "a second one is refused" $? 100
it_match "and says why" "$(cat "$IT/second.out")" 'another souk-workers'
it_eq "the pid file is the first one's" "$(cat "$IT/run/pid")" "$(sed -n \
	's/^souk-workers pid=\([0-9]*\).*/\1/p' "$IT/run/status")"
it_exit "--status" 0 run "$W" --status

# ---- TERM
it_stop workers
start inventory=1
clean
sql "INSERT INTO outbox (task_id, queue, type, data) SELECT md5(n::text),
	'inventory', 'decrease_stock', '{\"do\":\"sleep\",\"ms\":900}'
	FROM generate_series(1, 6) n"
it_wait_for 5 has_effects 1
it_stop workers
n=$(sql 'SELECT count(*) FROM t_effect')
it_ok "TERM finishes the task in hand" test "$n" -ge 1 -a "$n" -le 3
it_eq "and returns those not started, uncounted and due" "$(sql "SELECT count(*)
	FROM outbox WHERE lease IS NULL AND receives = 0 AND visible_at <= now()")" \
	$((6 - n))
it_exit "nothing runs then" 1 run "$W" --status
clean
start inventory=1 drain=500ms
task q '{"do":"sleep","ms":9000}'
it_wait_for 5 is 1 sql "SELECT receives FROM outbox"
t=$(now_ms)
it_stop workers
it_ok "no longer than drain" test $(($(now_ms) - t)) -lt 6000
it_eq "what was in hand is as it was" "$(effects)" "0 0"
clean

# ---- HUP
start
first=$(pids inventory)
NAME=two conf inventory=3
task x1 '{"do":"sleep","ms":1500}'
it_wait_for 5 is 1 sql "SELECT receives FROM outbox"
kill -HUP "$(cat "$IT/run/pid")"
it_ok "HUP starts a new set" it_wait_for 15 logged 'event=reloaded generation=2'
it_ok "as the new configuration says" it_wait_for 10 running inventory 3
it_ok "a task in hand is finished" it_wait_for 5 has_effects 1
for pid in $first; do it_wait_for 8 gone "$pid" || it_fail "old worker $pid goes on"; done
it_eq "by the old one" "$(sql 'SELECT name FROM t_effect')" one
task x2 '{}'
it_ok "the next one" it_wait_for 5 has_effects 2
it_eq "by a new one" "$(sql 'SELECT name FROM t_effect ORDER BY at DESC LIMIT 1')" two
echo 'nonsense = 1' >>"$IT/souk.ini"
kill -HUP "$(cat "$IT/run/pid")"
it_ok "a bad configuration is refused" it_wait_for 10 logged 'event=reload_refused'
it_ok "and all goes on" running inventory 3
it_stop workers

# ---- done with its number of tasks
start inventory=1 max_tasks=5
clean
first=$(pids inventory)
sql "INSERT INTO outbox (task_id, queue, type, data) SELECT md5(n::text),
	'inventory', 'decrease_stock', '{}' FROM generate_series(1, 12) n"
it_ok "max_tasks: replaced, at once" it_wait_for 5 has_effects 12
it_eq "which is no death" "$(grep -c 'event=worker_died' "$IT/workers.log")" 0
it_ok "by another" test "$(pids inventory)" != "$first"
it_stop workers

# ---- stores away
start
it_stop redis
clean
task p1 '{}'
it_ok "Redis away: they poll" it_wait_for 5 has_effects 1
it_start_redis
it_psql -U postgres -d postgres -c 'CHECKPOINT' >/dev/null
it_stop pg
sleep 1
it_start_pg
clean
task p2 '{}'
it_ok "PostgreSQL restarted: they go on" it_wait_for 10 has_effects 1
it_eq "nobody died of it" "$(grep -c 'event=worker_died' "$IT/workers.log")" 0
it_stop workers
it_summary
