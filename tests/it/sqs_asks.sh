#!/usr/bin/env bash
# What workers ask of SQS (npm `fauxqs` behind aws/proxy.mjs): an idle one hardly
# anything, one whose service ails no more than bearable; what the answers do to
# tasks; and that no secret is ever written down, whatever happens. Nearly all of
# it runs with everything secret that there is, at log level debug.
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
it_once
it_need initdb psql redis-server node npm jq curl
[ -x "$top_builddir/tests/it/stub-workers" ] || it_bail "no stub-workers"
. "${srcdir:-.}/tests/it/sqs_lib.sh"
W=$IT/stub-workers
install -m 755 "$top_builddir/tests/it/stub-workers" "$W" || it_bail "install"
ctl=$top_builddir/ctl/soukctl
S=Geheim$RANDOM # in all that is secret

it_aws_packages
it_start_fauxqs memory
it_port PROXY_PORT
it_spawn proxy TERM "$AWS_NODE" "$IT/aws/proxy.mjs" "$PROXY_PORT" "$FAUXQS_PORT" \
	"$IT/rules" "$IT/asked"
it_start_pg
it_start_redis
it_redis CONFIG SET requirepass "${S}Redis" >/dev/null
export REDISCLI_AUTH=${S}Redis
export AWS_SECRET_ACCESS_KEY=${S}Aws AWS_SESSION_TOKEN=${S}Token
it_mkdir "$IT/run"
DB=$(it_pg_url "$PGPORT_MAIN")\&password=${S}Pg
E=http://127.0.0.1:$PROXY_PORT
# conf [SECTION.KEY=VALUE]...
conf() {
	declare -A v=([log.level]=debug [postgres.url]=$DB
		[postgres.migrations]=$srcdir/sql
		[redis.url]=redis://:${S}Redis@127.0.0.1:$REDIS_PORT/0
		[aws.endpoint]=$E [aws.timeout]=3s
		[payment.stripe_key]=sk_test_${S}Stripe
		[payment.stripe_webhook_secret]=whsec_${S}Hook
		[mail.url]=smtp://shop:${S}Mail@127.0.0.1:$FAUXQS_PORT
		[workers.status_file]=$IT/run/status [workers.watch]=true
		[workers.visibility]=2s [workers.max_receives]=3
		[workers.backoff]=50ms [workers.drain]=25s [workers.long_poll]=1s
		[workers.housekeeping]=0 [workers.analytics]=0
		[workers.inventory]=1
		[fcgi.templates]=$srcdir/templates)
	local pair k
	[ -z "${Q:-}" ] || v[queue.inventory.url]=$Q
	for pair; do v[${pair%%=*}]=${pair#*=}; done
	for k in "${!v[@]}"; do
		printf '[%s]\n%s = %s\n' "${k%.*}" "${k##*.}" "${v[$k]}"
	done >"$IT/souk.ini"
}
run() { env -u DATABASE_URL -u REDIS_URL SOUK_CONF="$IT/souk.ini" "$@"; }
logged() { grep -Eq -- "$1" "$IT/workers.log"; }
asks() { grep -c "^${1:-}" "$IT/asked"; }
# start [SECTION.KEY=VALUE]...: the suite; nothing is counted from before
start() {
	it_stop workers
	conf "$@"
	rm -f "$IT/rules"
	: >"$IT/asked"
	it_spawn workers TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL \
		-u REDIS_URL SOUK_CONF="$IT/souk.ini" "$W"
	it_wait_for 15 has_asked Receive || it_bail "no worker asks"
	ps -eo args= >>"$IT/cmdlines"
}
has_asked() { [ "$(asks "$1")" -gt 0 ]; }
sql() { it_psql -c "$1"; }
is() { [ "$("${@:2}")" = "$1" ]; }
tasks() { # PREFIX N [DATA]
	sql "INSERT INTO outbox (task_id, queue, type, data) SELECT md5('$1' || i),
		'inventory', 'decrease_stock', '${3:-{\}}' FROM generate_series(1, $2) i"
	it_redis PUBLISH queue:wake inventory >/dev/null
}
effects() { sql "SELECT count(*) || ' ' || count(DISTINCT task_id) FROM t_effect"; }
left() { sql "SELECT count(*) FROM outbox"; }
dead() { sql "SELECT count(*) FROM dead_task"; }
clean() { sql 'TRUNCATE outbox, dead_task, t_effect, finished_task'; }
client() { (cd "$IT/aws" && "$AWS_NODE" sqs.mjs "$AWS_ENDPOINT" "$@"); }
at_most() { [ "$(asks "$2")" -le "$1" ] || { echo "$2: $(asks "$2")"; return 1; }; }

conf
run "$ctl" migrate --quiet >/dev/null || it_bail "migrate"
sql "CREATE TABLE t_effect (task_id text, pid int, name text, at timestamptz
	DEFAULT clock_timestamp())"
Q=$(run "$ctl" --quiet queue create inventory) || it_bail "queue create"
Q=$AWS_ENDPOINT/${Q#http*://*/}

# ---- a worker with nothing to do
start
it_wait_for 10 has_asked GetQueue || it_bail "nobody watches"
: >"$IT/asked"
sleep 6
it_ok "an idle worker asks once in a long_poll, which is 20 s by itself" \
	at_most 7 Receive
it_ok "and the supervisor asks for its depth less than every 5 s" at_most 0 GetQueue
it_eq "and there is nothing else that they ask for" \
	"$(grep -cv '^Receive\|^GetQueue' "$IT/asked")" 0
printf '{"ReceiveMessage": "empty"}' >"$IT/rules"
sleep 1.1 # what is under way ends
: >"$IT/asked"
sleep 2
it_ok "a service that does not wait is not asked without end" at_most 3 Receive
start workers.long_poll=400ms
sleep 2
it_ok "nor is one that is not to wait for a whole second" at_most 4 Receive
tasks a 25
it_ok "where work is done all the same" it_wait_for 10 is "25 25" effects
clean

# ---- a service that refuses
start
printf '{"SendMessageBatch": "refused", "GetQueueAttributes": "refused"}' >"$IT/rules"
tasks b 20
it_wait_for 10 has_asked Send
sleep 1
it_eq "what it does not take as a whole waits in the outbox" "$(left) $(dead)" "20 0"
it_ok "and its depth is not known, which is said once" \
	it_wait_for 10 logged 'event=figures_away queue=inventory'
printf '{"DeleteMessageBatch": "refused"}' >"$IT/rules"
it_ok "it is done when it is taken again" it_wait_for 20 is "20 20" effects
it_ok "a message that cannot be deleted is no failure of its task" \
	it_wait_for 5 logged 'event=task_not_settled.*KmsDisabled'
printf '{"ReceiveMessage": "refused"}' >"$IT/rules"
it_ok "a receive that is refused is told of" it_wait_for 10 logged 'event=receive_failed'
rm "$IT/rules"
# The messages that stayed come again once their visibility is over.
it_ok "what comes again finds its effect done" it_wait_for 15 is 0 \
	eval 'run "$ctl" queue stats --json --quiet |
		jq ".queues[] | select(.queue == \"inventory\") | .depth + .inFlight"'
it_eq "none of them died, each had its effect once" "$(dead) $(effects)" "0 20 20"
clean

# ---- what others send
it_stop workers
client raw "$Q" 'hello' '[1]' '{"type":"decrease_stock"}' '{"data":{},"type":"theirs"}' \
	'{"type":"decrease_stock","data":{"n":1}}' '{"type":"decrease_stock","data":{"n":1}}'
start
it_ok "what is no task of ours is buried, and kept" it_wait_for 10 is 4 dead
it_eq "as it came, with the reason" "$(sql "SELECT string_agg(concat(data ->> 'body',
	' ', type, ' ', split_part(error, ':', 1)), ', ' ORDER BY data ->> 'body')
	FROM dead_task")" \
	"[1] unreadable unknown_task_type, hello unreadable unknown_task_type, \
{\"type\":\"decrease_stock\"} unreadable unknown_task_type,  theirs unknown_task_type"
it_eq "and told of" "$(grep -c 'event=task_dead' "$IT/workers.log")" 4
it_ok "two copies in one batch are one effect" it_wait_for 5 is "1 1" effects
clean

# ---- a task that hangs
start workers.visibility=1s workers.max_lease=1s workers.max_receives=1
tasks h 1 '{"do":"hang"}'
it_ok "a lease is not kept for ever" it_wait_for 10 logged 'event=task_hangs'
it_ok "(it was extended $(asks ChangeMessageVisibility) times)" \
	at_most 4 ChangeMessageVisibility
it_stop workers

# ---- no secret anywhere
say() { "$@" >>"$IT/said.log" 2>&1; }
conf workers.payment=1 workers.email=1 payment.provider=stripe: \
	payment.stripe_api="http://127.0.0.1:$PROXY_PORT"
sql "INSERT INTO outbox (task_id, queue, type, data) SELECT md5(t), q, t,
	'{\"orderId\": \"0123456789abcdef0123456789abcdef\"}' FROM (VALUES
	('payment', 'process_payment'), ('email', 'order_confirmation')) v (q, t)"
it_spawn suite TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL -u REDIS_URL \
	SOUK_CONF="$IT/souk.ini" "$top_builddir/workers/souk-workers"
for c in 'conf dump' 'conf dump --json' 'conf check' 'doctor --json' doctor \
	'queue stats --json' 'queue peek inventory --dead --json'; do
	# shellcheck disable=SC2086
	say run "$ctl" $c
done
sleep 1
ps -eo args= >>"$IT/cmdlines"
it_stop suite
# Addresses with a mistake in them.
for kv in "postgres.url=postgresql://u:${S}Pg@[::1/x" \
	"postgres.url=postgresql://u:${S}Pg@127.0.0.1:1/x" \
	"postgres.replica_url=postgresql://u:${S}Pg@h:port/x" \
	"redis.url=redis://:${S}Redis@127.0.0.1:none/0" \
	"redis.url=http://:${S}Redis@127.0.0.1/0" \
	"redis.url=redis://:${S}Wrong@127.0.0.1:$REDIS_PORT/0" \
	"mail.url=smtp://shop:${S}Mail@host:none" \
	"mail.url=post://shop:${S}Mail@host" \
	"queue.inventory.url=amqp://u:${S}Amqp@127.0.0.1:none/x" \
	"queue.inventory.url=kafka://u:${S}Amqp@127.0.0.1/x" \
	"queue.inventory.url=https://u:${S}Sqs@127.0.0.1/x?" \
	"payment.provider=stripes:${S}Stripe"; do
	conf "$kv"
	say run "$ctl" doctor --json
	say run "$ctl" queue stats --json
	say run "$top_builddir/workers/souk-workers" -t
done
it_ok "there is something to be looked through" test "$(wc -l <"$IT/said.log")" -gt 100
it_eq "no secret is in what is logged or said" \
	"$(grep -h "$S" "$IT"/*.log | grep -v '^$' | head -n 5)" ""
it_eq "nor among the arguments of a process" "$(grep "$S" "$IT/cmdlines" | head -n 3)" ""
it_summary
