# shellcheck shell=bash
#
# fcgi_lib.sh - what the tests of souk-fcgi's server share: the server around an
# application that can be told to misbehave (stub_app.c), and a web server's
# part played by fcgi-client. Source it after lib.sh.

STUB=$top_builddir/tests/it/stub-fcgi
CLIENT=$top_builddir/tests/it/fcgi-client
SOCK=$IT/fcgi.sock
CONF=$IT/souk.ini
export STUB_FAIL=$IT/fail

# What "at once" may take, in ms: with sanitizers a process looks for leaks
# before it ends, which takes seconds on a busy machine.
AT_ONCE=1000
! grep -q __asan_init "$STUB" || AT_ONCE=20000

# conf [KEY=VALUE]...: writes $CONF; later ones win
conf() {
	declare -A v=([listen]="unix:$SOCK" [status_file]="$IT/status"
		[children]=2 [slots]=64 [drain]=5s)
	local pair k
	for pair; do v[${pair%%=*}]=${pair#*=}; done
	{
		printf '[shop]\nname = %s\n[fcgi]\n' "${NAME:-one}"
		for k in "${!v[@]}"; do printf '%s = %s\n' "$k" "${v[$k]}"; done
	} >"$CONF"
}

# start [KEY=VALUE]...: a server of that configuration, ready
start() {
	conf "$@"
	: >"$IT/fcgi.log"
	it_spawn fcgi TERM "$STUB" -c "$CONF"
	it_wait_for 10 is_ready 1 || it_bail "souk-fcgi did not start"
}

# is_ready GENERATION
is_ready() { grep -q "event=ready generation=$1 " "$IT/fcgi.log"; }

# status NAME: one figure of --status --json
status() {
	"$STUB" -c "$CONF" --status --json | sed 's/,"processes".*//' |
		sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p"
}

# children: process ids of those that serve
children() {
	"$STUB" -c "$CONF" --status | awk '/^ *pid/ { on = 1; next }
		on && $3 != "housekeep" { print $1 }'
}

get() { "$CLIENT" "$@" | tail -n 1; }
code() { "$CLIENT" "$@" | sed -n '1s/^Status: \([0-9]*\).*/\1/p'; }
logged() { grep -Eq -- "$1" "$IT/fcgi.log"; }
gone() { ! kill -0 "$1" 2>/dev/null; }
# figure NAME TEXT: of fcgi-client's last line
figure() { printf '%s\n' "$2" | sed -n "s/.*$1=\([0-9]*\).*/\1/p"; }
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
