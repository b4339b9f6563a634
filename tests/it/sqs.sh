#!/usr/bin/env bash
# Tasks carried by SQS (npm `fauxqs`): the outbox sends them, workers work them
# off, others' clients read and write them, the service is killed and comes back.
# The workers are stub_workers.c's.
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
it_need initdb psql redis-server node npm jq
. "${srcdir:-.}/tests/it/sqs_lib.sh"
declare -A WORKERS=([visibility]=5s [max_lease]=20s [max_receives]=3
	[backoff]=50ms [drain]=25s [long_poll]=2s [resend]=1h [inventory]=2
	[analytics]=1 [housekeeping]=0 [outbox]=1)
ini() {
	printf '[aws]\nendpoint = %s\ntimeout = 3s\n' "$AWS_ENDPOINT"
	[ -z "${Q:-}" ] || printf '[queue.inventory]\nurl = %s\n' "$Q"
}
. "${srcdir:-.}/tests/it/workers_lib.sh"

it_aws_packages
it_start_fauxqs
wk_begin
# Where a wait was in vain: what is where.
state() {
	it_note "effects $(effects); queue $(stat depth) $(stat inFlight); outbox:
$(sql "SELECT task_id, receives, lease, shipped_at, visible_at, last_error FROM outbox LIMIT 10")
dead: $(sql "SELECT task_id, error FROM dead_task LIMIT 10")
$(grep -v event=started "$IT/workers.log" | tail -n 20)"
}
settled() { # NAME SECONDS COMMAND...
	local name=$1 before=$IT_FAILED
	shift
	it_ok "$name" it_wait_for "$@"
	[ "$IT_FAILED" = "$before" ] || state
}
client() { (cd "$IT/aws" && "$AWS_NODE" sqs.mjs "$AWS_ENDPOINT" "$@"); }
stat() { run "$ctl" queue stats --json --quiet |
	jq -r ".queues[] | select(.queue == \"inventory\") | .$1"; }

# ---- making queues
Q=$(run "$ctl" --quiet queue create inventory)
it_match "queue create prints its address" "$Q" '^http://.*/souk-inventory$'
# The emulator names a host of its own.
Q=$AWS_ENDPOINT/${Q#http*://*/}
it_eq "made twice it is the same" \
	"$(run "$ctl" --quiet queue create inventory | sed 's|.*/||')" souk-inventory
F=$(run "$ctl" --quiet queue create inventory --name ordered --fifo)
it_match "a FIFO queue" "$F" '/ordered\.fifo$'
F=$AWS_ENDPOINT/${F#http*://*/}

# ---- working
start
tasks a 200
settled "200 tasks have their effect once" 30 has_effects 200
it_ok "and are gone from the outbox" it_wait_for 10 is 0 left
it_ok "and from the queue" it_wait_for 10 is "0 0" \
	eval 'echo "$(stat depth) $(stat inFlight)"'
clean
client send "$Q" 15
settled "what the AWS SDK sends is worked off" 20 has_effects 15
clean
tasks r 1 '{"do":"rc","rc":1}'
tasks s 1 '{"do":"rc","rc":3}'
tasks t 1 '{"do":"rc","rc":4}'
tasks u 1 '{}' inventory nonsense
it_ok "each outcome is settled" it_wait_for 60 is 0 left
it_eq "what failed is dead, counted as with pg:" "$(sql "SELECT string_agg(
	coalesce(data ->> 'rc', type) || ':' || receives || ':' ||
	jsonb_array_length(history), ' ' ORDER BY data ->> 'rc') FROM dead_task")" \
	"3:1:1 4:3:3 nonsense:1:1"
it_eq "redrive sends them again" \
	"$(run "$ctl" --quiet queue redrive inventory --type nonsense)" 1
dead_again() {
	[ "$(sql "SELECT jsonb_array_length(history) FROM dead_task
		WHERE type = 'nonsense'")" = 2 ]
}
it_ok "where it dies again, with its history" it_wait_for 20 dead_again
clean
tasks d 1 '{"do":"die"}'
it_ok "a task that kills its worker ends among the dead" \
	it_wait_for 60 is 1 sql 'SELECT count(*) FROM dead_task'
tasks e 20
settled "and the others are worked off" 30 has_effects 20
clean

# ---- the service goes away
it_stop fauxqs KILL
tasks k 50
tasks l 30 '{"do":"ok"}' analytics track_event
settled "a queue that is away delays no other" 15 has_effects 30
it_eq "and loses nothing" "$(left)" 50
it_exit "stats say that it does not answer" 111 run "$ctl" queue stats
it_start_fauxqs
settled "when it is back all of it is done" 60 has_effects 80
it_ok "and gone" it_wait_for 10 is 0 left
clean
tasks m 300 '{"do":"sleep","ms":5}'
sleep 0.5
it_stop fauxqs KILL
sleep 1
it_start_fauxqs
settled "killed amid work: each effect once" 90 has_effects 300
it_ok "and nothing is left" it_wait_for 30 is 0 left
clean

it_stop workers

# ---- stopping
it_stop fauxqs KILL
it_start_fauxqs memory
run "$ctl" --quiet queue create inventory >/dev/null || it_bail "queue create"
start
tasks p 40 '{"do":"sleep","ms":300}'
it_ok "some are done" it_wait_for 20 eval '[ "$(sql "SELECT count(*) FROM t_effect")" -gt 2 ]'
it_stop workers
some=$(sql "SELECT count(*) FROM t_effect")
it_note "stopped after $some of 40"
it_ok "what was not started is given back, visible at once" \
	it_wait_for 5 is 0 stat inFlight
it_eq "and not counted against it" \
	"$(sql "SELECT max(receives) FROM outbox")" 0
start
settled "and done by the next" 60 has_effects 40
it_stop workers
it_stop fauxqs
it_start_fauxqs
client purge "$Q" # what was killed amid work left copies there
clean

# ---- what others read of ours
start inventory=0
tasks v 12 '{"n":1}'
client read "$Q" 12 >"$IT/read" || it_note "$(cat "$IT/read")"
it_eq "the AWS SDK reads envelope and attributes" "$(jq -c '[(.id | test("^[0-9a-f]{32}$")),
	.type, .priority, (.createdAt | test("^20..-..-..T..:..:..\\.\\d{3}Z$")), .data, .attributes]' \
	"$IT/read" | sort -u)" \
	'[true,"decrease_stock","normal",true,{"n":1},{"TaskType":"decrease_stock","Priority":"normal"}]'
it_eq "each task once" "$(jq -r .id "$IT/read" | sort -u | wc -l)" 12
clean
tasks w 12
it_eq "sqs-consumer works them off" "$(client consume "$Q" 12)" 12
clean
it_stop workers

# ---- order
Q=$F
start inventory=0
sql "INSERT INTO outbox (task_id, queue, type, data, aggregate) SELECT md5('f' || i),
	'inventory', 'decrease_stock', jsonb_build_object('i', i), 'g' || i % 3
	FROM generate_series(1, 60) i"
client read "$Q" 60 >"$IT/read" || it_note "$(cat "$IT/read")"
it_eq "a FIFO queue has each aggregate in its order" "$(jq -c '[.data.i % 3, .data.i]' \
	"$IT/read" | jq -sc 'group_by(.[0]) | map(map(.[1])) | all(. == sort)')" true
it_stop workers
clean
Q=$AWS_ENDPOINT/000000000000/souk-inventory

# ---- a queue that forgets
start inventory=0 resend=2s
tasks z 5
it_ok "sent" it_wait_for 10 is 0 stat unsent
client purge "$Q"
it_stop workers
start resend=2s
settled "what the queue has lost is sent again" 30 has_effects 5
it_ok "no secret is in the log" eval '! grep -q not-a-secret "$IT"/*.log'
it_summary
