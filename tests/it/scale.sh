#!/bin/bash
# souk-workers keeps as many processes as a queue needs: up at once, down without
# ending one in the middle of a task. With the table of workers of
# stub_workers.c, PostgreSQL and Redis.
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
it_once
it_need initdb psql redis-server jq
# drain is short: it must not be what a process that is too many gets.
declare -A WORKERS=([visibility]=3s [max_lease]=60s [drain]=200ms [backoff]=50ms
	[pid_file]=$IT/run/pid [inventory]=1 [inventory_max]=6 [analytics]=1
	[housekeeping]=0 [reconcile]=0 [scale_quiet]=300ms [on_scale]=$IT/hook)
. "${srcdir:-.}/tests/it/workers_lib.sh"
# start_seen [KEY=VALUE]...
start_seen() {
	start "$@"
	it_wait_for 15 seen || it_bail "nobody looks at the queues"
}
# A look at the queue within this run.
seen() { [ "$(q inventory figures)" = fresh ]; }
# q QUEUE FIELD: of the status, as an outer autoscaler reads it
q() {
	run "$W" --status --json | jq -r --arg q "$1" --arg f "$2" \
		'.queues[] | select(.queue == $q) | .[$f]'
}
alone() { running "$1" "$2" && ! grep -q "^$1 .*state=draining" "$IT/run/status"; }
watcher() { pgrep -P "$(cat "$IT/run/pid")" -f -- --watch; }
ends_missing() {
	sql "SELECT count(*) FROM t_begin b WHERE NOT EXISTS (SELECT FROM t_effect e
		WHERE e.task_id = b.task_id AND e.pid = b.pid)"
}
clean() {
	sql 'TRUNCATE outbox, dead_task, finished_task, t_effect, t_begin'
	: >"$IT/run/hook"
}
# tasks FROM TO DATA [QUEUE TYPE]
tasks() {
	sql "INSERT INTO outbox (task_id, queue, type, data) SELECT md5(n::text),
		'${4:-inventory}', '${5:-decrease_stock}', '$3'
		FROM generate_series($1, $2) n"
}
died() { grep -c 'event=worker_died\|event=worker_killed' "$IT/workers.log"; }

wk_begin
cat >"$IT/hook" <<-END
	#!/bin/sh
	echo "begin \$SCALE_WORKER \$SCALE_FROM \$SCALE_TO \$SCALE_DEPTH \$SCALE_AGE_MS" >>$IT/run/hook
	sleep 0.2
	[ ! -e $IT/run/hook.hang ] || sleep 60
	echo end >>$IT/run/hook
	[ ! -e $IT/run/hook.fail ]
END
chmod 755 "$IT/hook"
clean
chmod 666 "$IT/run/hook"

# ---- what is wrong is refused
refused() {
	conf "${@:3}"
	run "$W" -t >"$IT/t.out" 2>&1
	it_eq "$1: refused" $? 100
	it_match "in words" "$(cat "$IT/t.out")" "$2"
}
refused "max < min" 'souk.ini:[0-9]+: \[workers\] inventory_max: 2 is less than inventory = 3' \
	inventory=3 inventory_max=2
refused "total < minimums" '\[workers\] total_max: 3 is less than the workers' \
	inventory=3 inventory_max=0 total_max=3
refused "no rule" '\[workers\] scale_rules: "inventory" is no rule' scale_rules=inventory
refused "a rule for nobody" 'scale_rules: there is no worker nobody' \
	"scale_rules=nobody > 5: 2"
refused "a rule beyond max" 'scale_rules: 7 processes for inventory: inventory_max allows 6' \
	"scale_rules=inventory > 5: 7"
refused "a hook that cannot run" '\[workers\] on_scale: ' "on_scale=$IT/souk.ini"

# ---- nobody asks: nobody looks
start inventory_max=0
it_wait_for 15 running inventory 1
it_eq "without a maximum there is no process that looks" "$(watcher)" ""
it_stop workers

# ---- 10,000 tasks
# The last ones are long, so that processes are too many while they work.
start_seen
tasks 1 10000 '{"do":"ok","begin":true}'
sql "UPDATE outbox SET data = '{\"do\":\"sleep\",\"ms\":1500,\"begin\":true}',
	visible_at = now() + interval '1 ms' WHERE task_id IN
	(SELECT md5(n::text) FROM generate_series(9991, 10000) n)"
it_ok "10,000 tasks: as many processes as there may be, within 10 s" \
	it_wait_for 10 running inventory 6
it_match "the status says why" "$(q inventory asked) $(q inventory wanted) $(q inventory max)" \
	'^([7-9]|[1-9][0-9]+) 6 6$'
it_ok "others keep what they have" running analytics 1
it_ok "all are done" it_wait_for 120 is 0 left
it_ok "as few as there should be" it_wait_for 60 alone inventory 1
it_eq "each task was begun once" "$(begun)" "10000 10000"
it_eq "and done once" "$(effects)" "10000 10000"
it_eq "each begin has its end" "$(ends_missing)" 0
n=$(sql "SELECT count(DISTINCT pid) FROM t_begin")
it_ok "by several ($n)" test "$n" -ge 3
it_eq "no process was killed, none died" "$(died)" 0
it_ok "it went down one by one" logged 'event=scaled worker=inventory from=6 to=5'
it_ok "to the minimum" logged 'event=scaled worker=inventory from=2 to=1'
it_match "on_scale was told" "$(head -n 1 "$IT/run/hook")" \
	'^begin inventory 1 6 [1-9][0-9]* [0-9]+$'
told_all() {
	[ "$(tail -n 1 "$IT/run/hook")" = end ] &&
		grep -q 'begin inventory [2-6] 1 ' "$IT/run/hook"
}
it_ok "until the end" it_wait_for 10 told_all
it_eq "one at a time" "$(awk '$1 == (NR % 2 ? "begin" : "end") { n++ }
	END { print NR - n }' "$IT/run/hook")" 0

# ---- a process that is too many has a long task
# all_busy MS: each of the six has one that takes so long, and none is needed
# but one. (After ten tasks of 300 ms a worker takes them singly.)
all_busy() {
	tasks 1 60 '{"do":"sleep","ms":300,"begin":true}'
	it_wait_for 15 running inventory 6 || it_bail "six workers"
	tasks 61 66 "{\"do\":\"sleep\",\"ms\":$1,\"begin\":true}"
	it_wait_for 30 is 6 sql "SELECT count(*) FROM t_begin b JOIN outbox o
		USING (task_id) WHERE o.data ->> 'ms' = '$1'"
}
going() { [ "$(grep -c '^inventory .*state=draining' "$IT/run/status")" -ge "$1" ]; }
it_stop workers
start_seen "scale_rules=inventory > 3: 6"
clean
all_busy 8000
it_ok "those that work are told to go" it_wait_for 20 going 2
it_ok "they finish" it_wait_for 60 is 0 left
it_eq "what they have begun" "$(ends_missing) $(begun) $(effects)" "0 66 66 66 66"
it_ok "and are gone then" it_wait_for 30 alone inventory 1
it_eq "nobody was killed for it" "$(died)" 0

# ---- at a stop the drain limit binds them again
clean
all_busy 30000
it_wait_for 20 going 1
it_stop workers
it_eq "at a stop all six no longer than drain" \
	"$(grep -c 'event=worker_killed worker=inventory' "$IT/workers.log")" 6
it_eq "their tasks are there" "$(left)" 6
clean

# ---- the hook misbehaves, and who looks
touch "$IT/run/hook.fail"
start_seen
tasks 1 600 '{"do":"sleep","ms":5}'
it_ok "on_scale fails: it is logged" it_wait_for 15 logged \
	'event=on_scale_failed worker=inventory how="exit 1"'
it_wait_for 30 alone inventory 1
it_wait_for 10 told_all
rm "$IT/run/hook.fail"
touch "$IT/run/hook.hang"
clean
scaled() { grep -c 'event=scaled' "$IT/workers.log"; }
more() { [ "$(scaled)" -ge $((n + $1)) ]; }
n=$(scaled)
tasks 1 600 '{"do":"sleep","ms":5}'
it_wait_for 20 more 2
sleep 0.3
it_eq "another one is not begun while it hangs" "$(grep -c begin "$IT/run/hook")" 1
it_ok "it hangs: the processes go meanwhile" it_wait_for 30 alone inventory 1
w=$(watcher)
kill -KILL "$w"
another() { [ -n "$(watcher)" ] && [ "$(watcher)" != "$w" ]; }
it_ok "who looks is replaced when it dies" it_wait_for 10 another
w=$(watcher)
kill -STOP "$w"
it_ok "on_scale is killed" it_wait_for 20 logged 'event=on_scale_killed'
it_ok "and so is who looks when it says nothing" it_wait_for 60 another
rm "$IT/run/hook.hang"
clean
n=$(scaled)
tasks 1 600 '{"do":"sleep","ms":5}'
it_ok "another one sees as well" it_wait_for 15 more 1
it_wait_for 30 alone inventory 1

# ---- PostgreSQL is away
clean
tasks 1 1500 '{"do":"sleep","ms":20}'
it_ok "scaled up" it_wait_for 10 running inventory 6
before=$(pids inventory | sort)
it_psql -U postgres -d postgres -c 'CHECKPOINT' >/dev/null
it_stop pg KILL
it_ok "PostgreSQL killed: it is seen" it_wait_for 20 logged 'event=figures_away queue=inventory'
sleep 2
it_eq "the figures are marked as old" "$(q inventory figures)" away
it_eq "the processes are the same" "$(pids inventory | sort)" "$before"
it_ok "and nobody is told to go" running inventory 6
it_start_pg
it_ok "it is back" it_wait_for 20 logged 'event=figures_back queue=inventory'
it_ok "all are done" it_wait_for 60 is 0 left
it_eq "once" "$(effects)" "1500 1500"
it_ok "as few as there should be" it_wait_for 60 alone inventory 1
it_eq "nobody died of it" "$(died)" 0

# ---- HUP
clean
tasks 1 40 '{"do":"sleep","ms":300,"begin":true}'
conf inventory_max=8 "scale_rules=inventory > 10: 4" scale_quiet=60s
kill -HUP "$(cat "$IT/run/pid")"
it_ok "HUP: new rules" it_wait_for 15 logged 'event=reloaded generation=2'
it_ok "count" it_wait_for 10 running inventory 4
conf inventory_max=8 scale_quiet=60s inventory=2
kill -HUP "$(cat "$IT/run/pid")"
it_ok "HUP again: as many as there were" it_wait_for 15 logged 'event=reloaded generation=3'
it_ok "go on" it_wait_for 15 alone inventory 4
it_ok "all are done" it_wait_for 60 is 0 left
it_eq "once" "$(effects)" "40 40"
it_eq "of the process that looks there is one" "$(watcher | wc -l)" 1
w=$(watcher)
it_stop workers
it_ok "at a stop it goes too" it_wait_for 5 gone "$w"
clean

# ---- a total for all: analytics is of a lower class
start_seen inventory_max=4 analytics_max=4 total_max=5 scale_backlog=10 scale_quiet=60s
tasks 1 400 '{"do":"ok"}' analytics track_event
it_ok "what is there is for who asks" it_wait_for 60 running analytics 4
it_wait_for 20 is 0 left
tasks 501 700 '{"do":"sleep","ms":100}'
handed_over() {
	grep -c '^[a-z]* index=' "$IT/run/status" >>"$IT/counts"
	running inventory 4 && running analytics 1
}
it_ok "one of a higher class goes first" it_wait_for 20 handed_over
it_ok "who has to give way keeps his minimum" grep -q \
	'^queue analytics .* wanted=4 granted=1 processes=1 ' "$IT/run/status"
it_eq "they are never more than the total" "$(sort -n "$IT/counts" | tail -n 1)" 5
it_ok "all are done" it_wait_for 30 is 0 left
it_eq "once" "$(effects) $(died)" "600 600 0"
it_stop workers
clean

# ---- a worker that has grown
start_seen inventory_max=0 watch=yes max_memory=300m
first=$(pids inventory)
tasks 1 5 '{"do":"ok","begin":true}'
it_wait_for 10 is "5 5" effects
it_eq "a worker of the usual size stays" "$(pids inventory)" "$first"
tasks 6 6 '{"do":"grow","mb":400,"begin":true}'
tasks 7 30 '{"do":"sleep","ms":20,"begin":true}'
it_ok "one that has grown is replaced" it_wait_for 15 logged 'event=max_memory'
it_ok "and all is done" it_wait_for 20 is 0 left
it_eq "once" "$(begun) $(effects) $(ends_missing)" "30 30 30 30 0"
it_eq "which is no death" "$(died)" 0
it_ok "by another" test "$(pids inventory)" != "$first"
it_eq "figures also without a maximum" "$(q inventory figures) $(q inventory max)" "fresh 1"
it_stop workers
it_summary
