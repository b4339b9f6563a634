# shellcheck shell=bash
#
# lib.sh - private servers for the integration tests, and a way to state what
# is expected of them. Source it first:
#
#	. "${srcdir:-.}/tests/it/lib.sh"
#	it_need psql redis-server
#	it_start_pg
#	it_eq "the truth" "$(psql -Atc 'SELECT 1' "$DATABASE_URL")" 1
#	it_summary
#
# Everything lives in one folder below /tmp ($IT), listens on loopback or on
# unix sockets there, and is stopped by its process id when the script ends,
# however it ends. Nothing of the system is touched, no server found by name.
# A failing script shows the end of every server's log. IT_KEEP=1 keeps $IT.
#
# PostgreSQL refuses root, so as root the servers get $IT_USER (postgres, else
# nobody). Out-of-tree builds: $srcdir is the source tree, $top_builddir (or
# the current folder) the build tree; both are made absolute here.
#
# The script is bounded in time by the caller (Makefile.am: timeout); each
# wait in here is bounded by itself.

set -u
srcdir=$(cd "${srcdir:-$(dirname "${BASH_SOURCE[0]}")/../..}" && pwd) || exit 99
top_builddir=$(cd "${top_builddir:-${builddir:-.}}" && pwd) || exit 99
export srcdir top_builddir LC_ALL=C.UTF-8 TZ=UTC
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
# What the caller's own shop says must not reach the test's.
unset DATABASE_URL DATABASE_REPLICA_URL REDIS_URL SOUK_URL SOUK_CONF PGHOST \
	PGPORT PGUSER PGDATABASE PGPORT_MAIN PGPORT_REPLICA REDIS_PORT REDIS_TCP_URL
export PGCONNECT_TIMEOUT=10

IT=$(mktemp -d "${SOUK_IT_TMP:-/tmp}/souk-it.XXXXXX") || exit 99
chmod 755 "$IT"
IT_N=0 IT_PASSED=0 IT_FAILED=0 IT_SKIPPED=0
IT_NAMES=() IT_PIDS=() IT_SIGS=() IT_PORTS=()
declare -A IT_PID=() # name -> process id, for tests that kill or stop one

if [ "$(id -u)" = 0 ]; then
	IT_USER=postgres
	getent passwd postgres >/dev/null || IT_USER=nobody
	IT_GROUP=$(id -gn "$IT_USER")
	IT_AS=(setpriv "--reuid=$IT_USER" "--regid=$IT_GROUP" --clear-groups --)
else
	IT_USER=$(id -un) IT_GROUP=$(id -gn)
	IT_AS=()
fi
IT_PGBIN=$(pg_config --bindir 2>/dev/null)
if [ ! -x "$IT_PGBIN/initdb" ]; then
	for IT_PGBIN in /usr/lib/postgresql/*/bin; do :; done
fi

# ---- what happened

it_note() { printf '# %s\n' "$*"; }

# it_pass NAME, it_fail NAME [WHY]
it_pass() {
	IT_N=$((IT_N + 1)) IT_PASSED=$((IT_PASSED + 1))
	printf 'ok %d - %s\n' "$IT_N" "$1"
}

it_fail() {
	IT_N=$((IT_N + 1)) IT_FAILED=$((IT_FAILED + 1))
	printf 'not ok %d - %s\n' "$IT_N" "$1"
	[ $# -lt 2 ] || printf '%s\n' "$2" | sed 's/^/#   /'
}

it_skip() {
	IT_N=$((IT_N + 1)) IT_SKIPPED=$((IT_SKIPPED + 1))
	printf 'ok %d - %s # SKIP %s\n' "$IT_N" "$1" "${2:-}"
}

# it_eq NAME GOT WANT
it_eq() {
	if [ "$2" = "$3" ]; then
		it_pass "$1"
	else
		it_fail "$1" "got:  $2
want: $3"
	fi
}

# it_match NAME GOT REGEX: an extended regular expression, anywhere in GOT
it_match() {
	if printf '%s\n' "$2" | grep -Eq -- "$3"; then
		it_pass "$1"
	else
		it_fail "$1" "got:        $2
want match: $3"
	fi
}

# it_ok NAME COMMAND...: exit 0; it_exit NAME STATUS COMMAND...: that status
it_ok() {
	local name=$1
	shift
	it_exit "$name" 0 "$@"
}

it_exit() {
	local name=$1 want=$2 out rc
	shift 2
	out=$("$@" 2>&1)
	rc=$?
	if [ "$rc" = "$want" ]; then
		it_pass "$name"
	else
		it_fail "$name" "exit $rc (want $want): $*
$(printf '%s\n' "$out" | tail -n 20)"
	fi
}

# it_wait_for SECONDS COMMAND...: until it succeeds; 1 when the time is over.
it_wait_for() {
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "${EPOCHREALTIME/./}" -lt "$end" ] || return 1
		sleep 0.05
	done
}

# The whole script cannot run here (automake's exit 77).
it_skip_all() {
	printf '1..0 # SKIP %s\n' "$*"
	exit 77
}

# The harness itself is broken (automake's exit 99).
it_bail() {
	printf 'Bail out! %s\n' "$*"
	IT_FAILED=$((IT_FAILED + 1))
	exit 99
}

# it_need COMMAND...: skip the script where one is not installed. In CI
# nothing may be skipped for that reason: SOUK_IT_ALL=1 makes it a failure.
it_need() {
	local c
	for c; do
		command -v "$c" >/dev/null || [ -x "/usr/sbin/$c" ] ||
			[ -x "$IT_PGBIN/$c" ] || {
			[ -z "${SOUK_IT_ALL:-}" ] || it_bail "$c is not installed"
			it_skip_all "$c is not installed"
		}
	done
}

# The plan, the count, and the exit status of the script.
it_summary() {
	printf '1..%d\n%d passed, %d failed\n' "$IT_N" "$IT_PASSED" "$IT_FAILED"
	[ "$IT_FAILED" = 0 ] && exit 0
	exit 1
}

# ---- processes

# it_spawn NAME SIGNAL COMMAND...: in the background, its output in
# $IT/NAME.log, stopped at the end by SIGNAL. The process id: ${IT_PID[NAME]}.
it_spawn() {
	local name=$1 sig=$2
	shift 2
	"$@" >>"$IT/$name.log" 2>&1 </dev/null &
	IT_PID[$name]=$!
	IT_NAMES+=("$name") IT_PIDS+=("$!") IT_SIGS+=("$sig")
}

it_alive() { kill -0 "${IT_PID[$1]}" 2>/dev/null; }

# it_stop NAME [SIGNAL]: and wait until it is gone (10 s, then SIGKILL).
it_stop() {
	local name=$1 i pid=${IT_PID[$1]:-} t=0
	[ -n "$pid" ] || return 0
	for i in "${!IT_PIDS[@]}"; do
		[ "${IT_PIDS[i]}" = "$pid" ] || continue
		kill "-${2:-${IT_SIGS[i]}}" "$pid" 2>/dev/null
		kill -CONT "$pid" 2>/dev/null
		unset "IT_NAMES[i]" "IT_PIDS[i]" "IT_SIGS[i]"
	done
	while kill -0 "$pid" 2>/dev/null; do
		t=$((t + 1))
		[ $t -lt 200 ] || kill -KILL "$pid" 2>/dev/null
		sleep 0.05
	done
	wait "$pid" 2>/dev/null
	unset "IT_PID[$name]"
}

it_end() {
	local rc=$? i p names
	trap - EXIT
	trap '' INT TERM HUP
	if [ "$IT_FAILED" != 0 ] || { [ $rc != 0 ] && [ $rc != 77 ]; }; then
		for p in "$IT"/*.log; do
			[ -s "$p" ] || continue
			echo "# ---- ${p##*/}, its last lines"
			tail -n "${IT_LOG_LINES:-25}" "$p" | sed 's/^/#   /'
		done
	fi
	# Last started, first stopped.
	names=("${IT_NAMES[@]+"${IT_NAMES[@]}"}")
	for ((i = ${#names[@]} - 1; i >= 0; i--)); do
		it_stop "${names[i]}"
	done
	for p in "${IT_PORTS[@]+"${IT_PORTS[@]}"}"; do
		rmdir "$p" 2>/dev/null
	done
	if [ -n "${IT_KEEP:-}" ]; then
		echo "# kept: $IT"
	else
		rm -rf "$IT"
	fi
	exit $rc
}
trap it_end EXIT
trap 'exit 143' INT TERM HUP

# it_port VAR: a free loopback port. Scripts run side by side, so the port is
# also claimed by a folder of its name until the script ends.
it_port() {
	local p n
	for ((n = 0; n < 200; n++)); do
		p=$((20000 + RANDOM % 12000))
		mkdir "/tmp/.souk-it-port-$p" 2>/dev/null || continue
		IT_PORTS+=("/tmp/.souk-it-port-$p")
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; then
			printf -v "$1" %s "$p"
			return 0
		fi
	done
	it_bail "no free port"
}

it_open_port() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# it_mkdir DIR...: folders that the servers' user owns
it_mkdir() {
	mkdir -p "$@" || it_bail "cannot make $*"
	[ ${#IT_AS[@]} = 0 ] || chown "$IT_USER:$IT_GROUP" "$@"
}

# SOUK_IT_QUICK=1: where the same scripts have just run from another build.
[ -z "${SOUK_IT_QUICK:-}" ] || it_skip_all "SOUK_IT_QUICK"

# it_not_twice: nothing that a sanitizer could see (tests/all.sh)
it_not_twice() {
	[ -z "${SOUK_IT_SANITIZED:-}" ] || it_skip_all "not under sanitizers"
}

# it_once: it is long, and other scripts have a sanitizer see the same code
it_once() {
	[ -z "${SOUK_IT_SANITIZED:-}" ] || it_skip_all "once is enough"
}

# ---- PostgreSQL

# it_pg_url PORT: as users of a test reach the server on that port
it_pg_url() {
	printf 'postgresql:///souk?host=%s&port=%s&user=souk' "$IT/pg" "$1"
}

# it_pg_launch NAME DATADIR PORT [ARG...]
it_pg_launch() {
	local name=$1 data=$2 port=$3
	shift 3
	it_spawn "$name" QUIT "${IT_AS[@]+"${IT_AS[@]}"}" "$IT_PGBIN/postgres" \
		-D "$data" -c port="$port" \
		-c unix_socket_directories="$IT/pg" \
		-c listen_addresses=127.0.0.1 "$@"
	it_wait_for 30 "$IT_PGBIN/pg_isready" -q -h "$IT/pg" -p "$port" ||
		it_bail "PostgreSQL ($name) did not start"
}

# it_start_pg [-c SETTING=VALUE]...: an empty database `souk`, its owner
# `souk` (superuser `postgres`); fsync is on. Sets DATABASE_URL, PGPORT_MAIN.
it_start_pg() {
	it_mkdir "$IT/pg"
	if [ -z "${IT_PID[pg]:-}" ] && [ ! -d "$IT/pg/data" ]; then
		it_port PGPORT_MAIN
		"${IT_AS[@]+"${IT_AS[@]}"}" "$IT_PGBIN/initdb" -D "$IT/pg/data" \
			-U postgres --auth=trust --encoding=UTF8 \
			--locale=C.UTF-8 --no-sync >"$IT/initdb.out" 2>&1 ||
			it_bail "initdb: $(tail -n 5 "$IT/initdb.out")"
		cat >>"$IT/pg/data/postgresql.conf" <<-CONF
			shared_buffers = 64MB
			max_connections = 60
			wal_level = replica
			max_wal_senders = 4
			max_wal_size = 512MB
			log_min_messages = warning
			log_line_prefix = '%m [%p] %q%u '
			log_checkpoints = off
		CONF
	fi
	it_pg_launch pg "$IT/pg/data" "$PGPORT_MAIN" "$@"
	if [ -z "${DATABASE_URL:-}" ]; then
		psql -Xq -h "$IT/pg" -p "$PGPORT_MAIN" -U postgres -d postgres \
			-c 'CREATE ROLE souk LOGIN CREATEDB' \
			-c 'CREATE DATABASE souk OWNER souk' ||
			it_bail "no database"
	fi
	DATABASE_URL=$(it_pg_url "$PGPORT_MAIN")
	export DATABASE_URL PGPORT_MAIN
}

# it_psql ARG...: on the primary, unaligned, tuples only, as the shop's user;
# -U postgres for the superuser
it_psql() {
	psql -XAtq -v ON_ERROR_STOP=1 -h "$IT/pg" -p "$PGPORT_MAIN" \
		-U souk -d souk "$@"
}

# it_start_pg_replica [DELAY]: streams from the primary; applies DELAY later
# ("5s"). Sets DATABASE_REPLICA_URL, PGPORT_REPLICA.
it_start_pg_replica() {
	if [ ! -d "$IT/pg/replica" ]; then
		it_port PGPORT_REPLICA
		"${IT_AS[@]+"${IT_AS[@]}"}" "$IT_PGBIN/pg_basebackup" \
			-D "$IT/pg/replica" -R -X stream -c fast --no-sync \
			-h "$IT/pg" -p "$PGPORT_MAIN" -U postgres \
			>"$IT/basebackup.out" 2>&1 ||
			it_bail "pg_basebackup: $(tail -n 5 "$IT/basebackup.out")"
	fi
	it_pg_launch pg-replica "$IT/pg/replica" "$PGPORT_REPLICA" \
		-c recovery_min_apply_delay="${1:-0}" -c hot_standby=on
	DATABASE_REPLICA_URL=$(it_pg_url "$PGPORT_REPLICA")
	export DATABASE_REPLICA_URL PGPORT_REPLICA
}

# ---- Redis

# it_start_redis [ARG...]: extra arguments as on its command line. Sets
# REDIS_URL (unix socket), REDIS_TCP_URL, REDIS_PORT.
it_start_redis() {
	[ -n "${REDIS_PORT:-}" ] || it_port REDIS_PORT
	it_mkdir "$IT/redis"
	it_spawn redis TERM "${IT_AS[@]+"${IT_AS[@]}"}" redis-server \
		--port "$REDIS_PORT" --bind 127.0.0.1 \
		--unixsocket "$IT/redis/sock" --unixsocketperm 777 \
		--dir "$IT/redis" --daemonize no --save '' \
		--appendonly yes --appendfsync everysec \
		--maxmemory 256mb --maxmemory-policy volatile-lru "$@"
	REDIS_URL=unix://$IT/redis/sock
	REDIS_TCP_URL=redis://127.0.0.1:$REDIS_PORT/0
	export REDIS_URL REDIS_TCP_URL REDIS_PORT
	it_wait_for 15 it_redis_is_up || it_bail "Redis did not start"
}

it_redis() { redis-cli -s "$IT/redis/sock" "$@"; }
it_redis_is_up() { [ "$(it_redis PING 2>/dev/null)" = PONG ]; }

# ---- the shop, installed

# it_souk_install: `make install` of the build under test, once for all scripts
# of a run. Sets IT_PREFIX; its programs come first on PATH. The paths compiled
# in are those of ./configure: what is installed here is told where its files
# are by souk.ini (it_start_fcgi).
it_souk_install() {
	local lock=$top_builddir/tests/it/prefix.lock
	IT_PREFIX=$top_builddir/tests/it/prefix
	mkdir -p "$top_builddir/tests/it"
	(
		flock -w 300 9 || exit 1
		# Newer programs or files than what is installed?
		if [ -e "$IT_PREFIX/.stamp" ] && [ -z "$(find \
			"$top_builddir/Makefile" "$top_builddir/fcgi-app" \
			"$top_builddir/ctl" "$top_builddir/workers" "$srcdir/sql" "$srcdir/conf" \
			"$srcdir/templates" "$srcdir/static" \
			-newer "$IT_PREFIX/.stamp" -type f -print -quit \
			2>/dev/null)" ]; then
			exit 0
		fi
		rm -rf "$IT_PREFIX"
		make -s -C "$top_builddir" install prefix="$IT_PREFIX" DESTDIR= \
			sysconfdir="$IT_PREFIX/etc" \
			localstatedir="$IT_PREFIX/var" \
			>"$IT/install.out" 2>&1 || exit 1
		touch "$IT_PREFIX/.stamp"
	) 9>"$lock" || it_bail "make install: $(tail -n 5 "$IT/install.out")"
	# A build below /root is out of reach for the servers' user.
	if ! "${IT_AS[@]+"${IT_AS[@]}"}" test -r "$IT_PREFIX/.stamp"; then
		cp -a "$IT_PREFIX" "$IT/prefix"
		chmod -R a+rX "$IT/prefix"
		IT_PREFIX=$IT/prefix
	fi
	PATH=$IT_PREFIX/sbin:$IT_PREFIX/bin:$PATH
	export IT_PREFIX PATH
}

# it_ini [SECTION.KEY=VALUE]...: write $IT/souk.ini for the servers that run,
# a later value of a key in place of an earlier one.
it_ini() {
	local kv k
	local -A v=()
	[ -n "${NGINX_PORT:-}" ] || it_port NGINX_PORT
	it_mkdir "$IT/run" "$IT/media" "$IT/originals" "$IT/edge"
	for kv in "fcgi.listen=unix:$IT/run/fcgi.sock" fcgi.socket_mode=0666 \
		"fcgi.status_file=$IT/run/fcgi.status" \
		"fcgi.pid_file=$IT/run/fcgi.pid" \
		"fcgi.templates=$IT_PREFIX/share/souk/templates" \
		"fcgi.static=$IT_PREFIX/share/souk/static" \
		"fcgi.media=$IT/media" "media.originals=file:$IT/originals" \
		"image.program=$IT_PREFIX/libexec/souk-imager" fcgi.children=4 fcgi.drain=10s \
		"redis.url=${REDIS_URL:-}" "postgres.url=${DATABASE_URL:-}" \
		"postgres.migrations=$IT_PREFIX/share/souk/sql" \
		"postgres.replica_url=${DATABASE_REPLICA_URL:-}" \
		"edge.nginx_cache=$IT/edge" \
		"shop.base_url=http://127.0.0.1:$NGINX_PORT" "$@"; do
		v[${kv%%=*}]=${kv#*=}
	done
	for k in $(printf '%s\n' "${!v[@]}" | sort); do
		[ -z "${v[$k]}" ] ||
			printf '[%s]\n%s = %s\n' "${k%.*}" "${k##*.}" "${v[$k]}"
	done >"$IT/souk.ini"
	SOUK_CONF=$IT/souk.ini
	export SOUK_CONF
}

# What souk.ini says wins in these tests: the harness's own variables, which
# psql and the like use, must not override it in the shop's processes.
it_souk_env() {
	env -u DATABASE_URL -u DATABASE_REPLICA_URL -u REDIS_URL -u SOUK_URL "$@"
}

it_fcgi_is_up() {
	local l
	l=$(sed -n 's/^listen = //p' "$IT/souk.ini")
	case $l in
	unix:*) [ -S "${l#unix:}" ] ;;
	*) it_open_port "${l##*:}" ;;
	esac && souk-fcgi --status >/dev/null
}

# it_start_fcgi [SECTION.KEY=VALUE]...: souk-fcgi with the servers started so
# far, as $IT_USER. Needs it_souk_install.
it_start_fcgi() {
	it_ini "$@"
	it_spawn fcgi TERM "${IT_AS[@]+"${IT_AS[@]}"}" \
		env -u DATABASE_URL -u DATABASE_REPLICA_URL -u REDIS_URL \
		-u SOUK_URL souk-fcgi
	it_wait_for 15 it_fcgi_is_up || it_bail "souk-fcgi did not start"
}

# it_sample: the schema and the sample catalogue (needs it_souk_install, it_ini)
it_sample() {
	it_souk_env soukctl migrate >"$IT/migrate.out" 2>&1 ||
		it_bail "migrate: $(tail -n 5 "$IT/migrate.out")"
	it_souk_env soukctl import "$srcdir/sample/catalogue.jsonl" \
		>"$IT/import.out" 2>&1 ||
		it_bail "import: $(tail -n 5 "$IT/import.out")"
}

# it_settled: souk-fcgi has carried out what the import left to it, and purged
# the edge for the last time, a second later.
it_told() {
	[ "$(it_psql -c 'SELECT count(*) FROM invalidation
		WHERE done_at IS NULL')" = 0 ]
}
it_settled() {
	it_wait_for 20 it_told || it_bail "invalidations are not carried out"
	sleep 1.5
}

# it_token: a fresh admin token
it_token() { it_souk_env soukctl token create --role admin; }

# ---- web servers

# it_nginx_conf FCGI: the real conf/nginx, filled for $IT
it_nginx_conf() {
	local fill=$srcdir/conf/fill f
	[ -n "${NGINX_PORT:-}" ] || it_port NGINX_PORT
	it_mkdir "$IT/nginx" "$IT/run" "$IT/edge" "$IT/media"
	for f in souk-edge souk-item souk-params; do
		cp "$srcdir/conf/nginx/$f.conf" "$IT/nginx/"
	done
	"$fill" <"$srcdir/conf/nginx/souk.conf" >"$IT/nginx/souk.conf" \
		LISTEN="127.0.0.1:$NGINX_PORT" SERVER_NAME=_ FCGI="$1" \
		EDGE="$IT/edge" MEDIA="$IT/media" SNIPPETS="$IT/nginx" \
		STATIC_ROOT="${IT_PREFIX:-$IT}/share/souk" \
		ACCESS_LOG="$IT/nginx/access.log souk buffer=64k flush=1s" || it_bail "souk.conf"
	"$fill" <"$srcdir/conf/nginx/nginx.conf" >"$IT/nginx/nginx.conf" \
		USER= WORKERS=2 RUN="$IT/nginx" ERROR_LOG=stderr \
		LOG_LEVEL=notice SOUK_CONF="$IT/nginx/souk.conf" ||
		it_bail "nginx.conf"
}

# it_start_nginx [FCGI]: the edge before souk-fcgi, or before what listens at
# FCGI. Sets SOUK_URL, NGINX_PORT.
it_start_nginx() {
	it_nginx_conf "${1:-unix:$IT/run/fcgi.sock}"
	SOUK_URL=http://127.0.0.1:$NGINX_PORT
	export SOUK_URL NGINX_PORT
	it_spawn nginx QUIT "${IT_AS[@]+"${IT_AS[@]}"}" \
		"$(command -v nginx || echo /usr/sbin/nginx)" \
		-e stderr -p "$IT/nginx" -c "$IT/nginx/nginx.conf"
	it_wait_for 10 it_open_port "$NGINX_PORT" ||
		it_bail "nginx did not start"
}

# it_start_apache SNIPPET: a private Apache (event MPM) with the modules that
# conf/apache needs and SNIPPET included. Sets SOUK_URL, APACHE_PORT.
it_start_apache() {
	local m mods=/usr/lib/apache2/modules
	[ -n "${APACHE_PORT:-}" ] || it_port APACHE_PORT
	SOUK_URL=http://127.0.0.1:$APACHE_PORT
	export SOUK_URL APACHE_PORT
	it_mkdir "$IT/apache" "$IT/apache/locks" "$IT/apache/cache" \
		"$IT/apache/empty"
	touch "$IT/apache-error.log"
	[ ${#IT_AS[@]} = 0 ] || chown "$IT_USER" "$IT/apache-error.log"
	{
		for m in mpm_event unixd authz_core authz_host mime alias \
			headers rewrite setenvif dir env proxy proxy_fcgi cache \
			cache_disk fcgid log_config; do
			# Some are built in.
			[ ! -e "$mods/mod_$m.so" ] ||
				echo "LoadModule ${m}_module $mods/mod_$m.so"
		done
		cat <<-CONF
			ServerRoot $IT/apache
			ServerName 127.0.0.1
			Listen 127.0.0.1:$APACHE_PORT
			PidFile $IT/apache/pid
			ErrorLog $IT/apache-error.log
			LogLevel warn
			DefaultRuntimeDir $IT/apache
			Mutex pthread
			TypesConfig /dev/null
			DocumentRoot $IT/apache/empty
			FcgidIPCDir $IT/apache/fcgid
			FcgidProcessTableFile $IT/apache/fcgid.shm
			StartServers 2
			ThreadsPerChild 25
			Include $1
		CONF
	} >"$IT/apache/apache.conf"
	it_spawn apache TERM "${IT_AS[@]+"${IT_AS[@]}"}" \
		"$(command -v apache2 || echo /usr/sbin/apache2)" \
		-f "$IT/apache/apache.conf" -D FOREGROUND
	it_wait_for 10 it_open_port "$APACHE_PORT" ||
		it_bail "Apache did not start"
}

# it_get PATH [CURL-ARG...]: the body; the headers go to $IT/headers
it_get() {
	local path=$1
	shift
	curl -sS --max-time 20 -D "$IT/headers" -o "$IT/body" "$@" \
		"$SOUK_URL$path" || return
	cat "$IT/body"
}

# it_status PATH [CURL-ARG...], it_header NAME (of the last it_get or
# it_status)
it_status() {
	it_get "$@" >/dev/null
	it_last_status
}

it_last_status() { awk '/^HTTP\//{s=$2} END{print s}' "$IT/headers"; }

it_header() {
	awk -v n="$1" 'BEGIN{n=tolower(n) ":"}
	{sub(/\r$/, "")}
	index(tolower($0), n) == 1 {sub(/^[^:]*: */, ""); print}' "$IT/headers"
}
