#!/usr/bin/env bash
#
# queue.sh - what a worker costs beside the least that could move the same tasks
# (floor_queue.c), on SQS (npm `fauxqs`, in memory) and in PostgreSQL, in turn in
# one run. The worker's tasks do nothing (noop_workers.c); those with an effect
# are in a line of their own. docs/bench.md says how to read it.
. "$(dirname "${BASH_SOURCE[0]}")/../tests/it/lib.sh"
it_need initdb psql redis-server node npm jq
. "$srcdir/tests/it/sqs_lib.sh"
for p in floor_queue noop-workers; do
	[ -x "$top_builddir/bench/$p" ] || it_bail "bench/$p is not built"
done
ROUNDS=${BENCH_ROUNDS:-5} N=${BENCH_TASKS:-4000}
it_aws_packages
it_start_fauxqs memory
it_start_pg
it_start_redis
it_mkdir "$IT/bin"
install -m 755 "$top_builddir/bench/noop-workers" "$IT/bin/souk-worker"

conf() { # URL
	{
		printf '[postgres]\nurl = %s\n' "$DATABASE_URL"
		printf 'migrations = %s\n[redis]\nurl = %s\n' "$srcdir/sql" "$REDIS_URL"
		printf '[aws]\nendpoint = %s\n[workers]\nmax_tasks = %s\n' "$AWS_ENDPOINT" "$N"
		[ "$1" = pg: ] || printf '[queue.inventory]\nurl = %s\n[queue.payment]\nurl = %s\n' "$1" "$2"
	} >"$IT/souk.ini"
}
run() { env -u DATABASE_URL -u REDIS_URL SOUK_CONF="$IT/souk.ini" "$@"; }
fill() { # QUEUE TYPE
	fills=$((${fills:-0} + 1))
	it_psql -c "INSERT INTO outbox (task_id, queue, type, data) SELECT
		md5('$fills.' || i), '$1', '$2', '{\"orderId\": \"0123456789abcdef\"}'
		FROM generate_series(1, $N) i"
}
unsent() { [ "$(it_psql -c 'SELECT count(*) FROM outbox WHERE shipped_at IS NULL')" = 0 ]; }
ship() {
	it_spawn shipper TERM env -u DATABASE_URL -u REDIS_URL \
		SOUK_CONF="$IT/souk.ini" "$IT/bin/souk-worker" outbox
	it_wait_for 60 unsent || it_bail "not sent"
	it_stop shipper
}
# The worker's own time, from "started" to "ended".
worker() { # NAME KIND
	run "$IT/bin/souk-worker" "$1" >"$IT/worker.log" 2>&1 || it_bail "worker"
	awk -v n="$N" '/event=started|event=ended/ { split($1, a, /[T:Z]/)
		s[++k] = a[2] * 3600 + a[3] * 60 + a[4] }
		END { if (k != 2) exit 1; d = s[2] - s[1]; if (d < 0) d += 86400
		print n / d }' "$IT/worker.log" >>"$IT/m.$2" || it_bail "no times"
}
floor() { # KIND ARG...
	local kind=$1 s
	shift
	s=$("$top_builddir/bench/floor_queue" "$@" "$N") || it_bail "floor_queue"
	awk -v n="$N" -v s="$s" 'BEGIN { print n / s }' >>"$IT/m.$kind"
}

conf pg:
run "$top_builddir/ctl/soukctl" --quiet migrate >/dev/null || it_bail "migrate"
for q in inventory payment; do
	url=$(run "$top_builddir/ctl/soukctl" --quiet queue create $q) || it_bail create
	eval "Q_$q=\$AWS_ENDPOINT/\${url#http*://*/}"
done
for ((i = 0; i < ROUNDS; i++)); do
	conf "$Q_inventory" "$Q_payment"
	fill inventory decrease_stock
	ship
	worker inventory sqs
	fill inventory decrease_stock
	ship
	floor sqs-floor sqs "$AWS_ENDPOINT" "$Q_inventory"
	it_psql -c 'TRUNCATE outbox, finished_task'
	fill payment process_payment
	ship
	worker payment sqs-effect
	it_psql -c 'TRUNCATE outbox, finished_task'
	conf pg:
	fill inventory decrease_stock
	worker inventory pg
	fill inventory decrease_stock
	floor pg-floor pg "$DATABASE_URL" inventory
	fill payment process_payment
	worker payment pg-effect
	it_psql -c 'TRUNCATE outbox, finished_task'
done
median() { sort -g "$IT/m.$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
row() { # TEXT A B [TARGET]
	paste -d' ' "$IT/m.$2" "$IT/m.$3" | awk '{ print $1 / $2 }' | sort -g |
		awk -v text="$1" -v a="$(median "$2")" -v b="$(median "$3")" -v t="${4:-}" '
		{ v[NR] = $1 } END { m = v[int((NR + 1) / 2)]
		printf "%-44s %8.0f %8.0f %6.2f  (%.2f-%.2f)  %s\n", text, a, b, m,
			v[1], v[NR], t == "" ? "" : (m < t ? "LESS than " t : "ok   >= " t) }'
}
printf '%-44s %8s %8s %6s  (rounds), %s tasks each\n' "tasks/s (medians)" souk floor ratio "$N"
row "SQS, one worker : libcurl, receive and delete" sqs sqs-floor 0.8
row "  with an effect (one transaction)" sqs-effect sqs-floor
row "pg:, one worker : DELETE ... SKIP LOCKED" pg pg-floor 0.7
row "  with an effect (one transaction)" pg-effect pg-floor
