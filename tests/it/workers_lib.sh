# shellcheck shell=bash
#
# workers_lib.sh - souk-workers with the workers of stub_workers.c, for scripts
# that say how it is configured. Source it after lib.sh:
#
#	declare -A WORKERS=([inventory]=2 ...)   # of [workers]
#	ini() { printf '[aws]\n...'; }           # what else there is, or nothing
#	. "$srcdir/tests/it/workers_lib.sh"
#	wk_begin                                 # PostgreSQL, Redis, tables
#	start max_tasks=5
[ -x "$top_builddir/tests/it/stub-workers" ] || it_bail "no stub-workers"
# Where the servers' user may not come, say root's home, it could not be run.
W=$IT/stub-workers
install -m 755 "$top_builddir/tests/it/stub-workers" "$W" || it_bail "install"
ln -s stub-workers "$IT/souk-worker"
ctl=$top_builddir/ctl/soukctl
declare -F ini >/dev/null || ini() { :; }

# conf [KEY=VALUE]...: of [workers], beside $WORKERS
conf() {
	declare -A v=([payment]=0 [email]=0 [status_file]=$IT/run/status)
	local pair k
	for k in "${!WORKERS[@]}"; do v[$k]=${WORKERS[$k]}; done
	for pair; do v[${pair%%=*}]=${pair#*=}; done
	{
		printf '[postgres]\nurl = %s\n' "$DATABASE_URL"
		printf 'migrations = %s\n' "$srcdir/sql"
		printf '[redis]\nurl = %s\n' "$REDIS_URL"
		ini
		printf '[workers]\n'
		for k in "${!v[@]}"; do printf '%s = %s\n' "$k" "${v[$k]}"; done
	} >"$IT/souk.ini"
}

run() { env -u DATABASE_URL -u REDIS_URL SOUK_CONF="$IT/souk.ini" "$@"; }
logged() { grep -Eq -- "$1" "$IT/workers.log"; }

# start [KEY=VALUE]...
start() {
	conf "$@"
	: >"$IT/workers.log"
	it_spawn workers TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL \
		-u REDIS_URL SOUK_CONF="$IT/souk.ini" "$W"
	it_wait_for 15 logged 'event=ready' || it_bail "souk-workers did not start"
	it_wait_for 15 all_started || it_bail "the workers did not start"
}
all_started() {
	local n
	n=$(sed -n 's/.*event=ready workers=//p' "$IT/workers.log")
	[ "$(grep -c 'event=started' "$IT/workers.log")" -ge "$n" ]
}

# running NAME N: of the status file; pids NAME
running() { [ "$(grep -c "^${1:-[a-z]}.*state=running" "$IT/run/status")" = "$2" ]; }
pids() { sed -n "s/^$1 index.* pid=\([1-9][0-9]*\) .*/\1/p" "$IT/run/status"; }
gone() { ! kill -0 "$1" 2>/dev/null; }

sql() { it_psql -c "$1"; }
is() { [ "$("${@:2}")" = "$1" ]; }
at_least() { [ "$("${@:2}")" -ge "$1" ]; }
some() { sql "SELECT count(*) FROM t_effect"; }
left() { sql "SELECT count(*) FROM outbox"; }
# Rows, tasks: the same where each was done once.
effects() { sql "SELECT count(*) || ' ' || count(DISTINCT task_id) FROM t_effect"; }
has_effects() { [ "$(effects)" = "$1 $1" ]; }
begun() { sql "SELECT count(*) || ' ' || count(DISTINCT task_id) FROM t_begin"; }
# finished_task stays: a copy that comes late must find its effect done.
clean() { sql 'TRUNCATE outbox, dead_task, t_effect, t_begin, t_tick'; }

# tasks PREFIX N [DATA] [QUEUE TYPE]
tasks() {
	sql "INSERT INTO outbox (task_id, queue, type, data, aggregate)
		SELECT md5('$1' || i), '${4:-inventory}', '${5:-decrease_stock}',
		'${3:-{\}}', '$1' || i % 7 FROM generate_series(1, $2) i"
	it_redis PUBLISH queue:wake "${4:-inventory}" >/dev/null
}

wk_begin() {
	it_start_pg
	it_start_redis
	it_mkdir "$IT/run"
	conf
	run "$ctl" migrate --quiet >/dev/null || it_bail "migrate"
	sql "CREATE TABLE t_effect (task_id text, pid int, name text,
			at timestamptz DEFAULT clock_timestamp());
		CREATE TABLE t_begin (task_id text, pid int,
			at timestamptz DEFAULT clock_timestamp());
		CREATE TABLE t_tick (name text, pid int,
			at timestamptz DEFAULT now())"
}
