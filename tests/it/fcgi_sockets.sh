#!/bin/bash
# souk-fcgi's listening socket, from wherever it comes.
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
. "$srcdir/tests/it/fcgi_lib.sh" || exit 99

alive() { [ "$(code "$SOCK" get /fixed)" = 200 ]; }

# ---- descriptor 0 (spawn-fcgi, mod_fcgid)
conf max_requests=20
it_spawn fcgi TERM "$CLIENT" "$SOCK" listen 0 "$STUB" -c "$CONF"
# it_spawn redirects stdin; the program's own socket replaces it.
it_ok "descriptor 0 is served" it_wait_for 5 alive
it_match "by the process itself" "$(get "$SOCK" get /who)" "pid=${IT_PID[fcgi]} .*housekeeper=1"
out=$("$CLIENT" "$SOCK" kept 32 0.5 /fixed)
it_match "which does not end at max_requests" "$out" 'errors=0 closed=0'
it_ok "(it had many)" test "$(figure answers "$out")" -gt 200
it_eq "status knows it" "$(status children)" 1
NAME=two conf max_requests=20
kill -HUP "${IT_PID[fcgi]}"
sleep 0.5
it_match "HUP reads the configuration again" "$(get "$SOCK" get /who)" "name=two"
echo "nonsense" >>"$CONF"
kill -HUP "${IT_PID[fcgi]}"
it_ok "a bad one is refused" it_wait_for 3 logged 'event=reload_refused'
it_ok "and it serves" alive
conf
t=$(now_ms)
it_stop fcgi TERM
it_ok "TERM ends it at once" test $(($(now_ms) - t)) -lt $AT_ONCE
it_ok "the socket is not its to remove" test -S "$SOCK"
rm -f "$SOCK"

if command -v spawn-fcgi >/dev/null; then
	it_spawn fcgi TERM spawn-fcgi -n -s "$SOCK" -- "$STUB" -c "$CONF"
	it_ok "spawn-fcgi" it_wait_for 5 alive
	it_stop fcgi
	rm -f "$SOCK"
else
	it_skip "spawn-fcgi" "not installed"
fi

# ---- systemd
: >"$IT/fcgi.log"
conf children=3 listen=unix:/nowhere/at/all
it_spawn fcgi TERM "$CLIENT" "$SOCK" listen 3 "$STUB" -c "$CONF"
it_ok "LISTEN_FDS is served" it_wait_for 5 alive
it_eq "by a master and children" "$(children | wc -l)" 3
kill -HUP "${IT_PID[fcgi]}"
it_ok "through a reload" it_wait_for 5 is_ready 2
it_ok "as before" alive
it_stop fcgi
it_ok "the socket stays" test -S "$SOCK"
rm -f "$SOCK"

# ---- TCP
: >"$IT/fcgi.log"
it_port port
start listen=127.0.0.1:$port
SOCK=127.0.0.1:$port
it_match "TCP" "$("$CLIENT" "$SOCK" kept 32 0.5 /fixed)" 'errors=0 closed=0'
it_match "a connection a request" "$("$CLIENT" -n "$SOCK" kept 8 0.5 /bytes/100000)" 'errors=0'
it_eq "the queue's length is known" "$(status 'listen queue len')" 1024
it_eq "a body far over the cap gets its answer" "$(code -B 20000000 "$SOCK" get /echo)" 413
it_stop fcgi
start listen=0.0.0.0:$port
it_ok "a public address is warned about" logged event=listen_public
it_stop fcgi
SOCK=$IT/fcgi.sock

# ---- the unix socket's permissions, and what is in its way
start socket_mode=0640
it_eq "socket_mode" "$(stat -c %a "$SOCK")" 640
it_eq "the queue's length is known" "$(status 'listen queue len')" 1024
it_stop fcgi
echo precious >"$SOCK"
"$STUB" -c "$CONF" >"$IT/file.log" 2>&1
it_eq "a file in its place is not removed" "$? $(cat "$SOCK")" "100 precious"
rm -f "$SOCK"
if [ "$(id -u)" = 0 ]; then
	: >"$IT/fcgi.log"
	start user=nobody socket_mode=0600
	uid=$(id -u nobody)
	it_eq "children are the user" "$(stat -c %u "/proc/$(children | head -n 1)")" "$uid"
	it_eq "so is the socket" "$(stat -c %u "$SOCK")" "$uid"
	kill -HUP "${IT_PID[fcgi]}"
	it_ok "and they reload" it_wait_for 5 is_ready 2
	it_ok "and serve" alive
	it_stop fcgi
else
	it_skip "user" "not root"
fi
it_summary
