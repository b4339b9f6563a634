#!/bin/bash
# souk-fcgi's processes: how they start, die, are replaced, and end.
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
. "$srcdir/tests/it/fcgi_lib.sh" || exit 99
it_need jq

# ---- stopping
start
t=$(now_ms)
it_stop fcgi TERM
it_ok "TERM while idle ends at once" test $(($(now_ms) - t)) -lt $AT_ONCE
it_eq "and takes the socket along" "$(ls "$SOCK" 2>&1 | grep -c 'No such')" 1
it_exit "status says that nothing runs" 1 "$STUB" -c "$CONF" --status

start
"$CLIENT" "$SOCK" get /sleep/1000 >"$IT/slow.out" &
slow=$!
sleep 0.3
it_stop fcgi QUIT
wait $slow
it_match "a request under way is finished" "$(cat "$IT/slow.out")" 'slept'

start drain=500ms request_deadline=30s
"$CLIENT" "$SOCK" get /stuck >/dev/null &
slow=$!
sleep 0.3
t=$(now_ms)
it_stop fcgi TERM
it_ok "but no longer than drain allows" test $(($(now_ms) - t)) -lt $((AT_ONCE + 2000))
wait $slow

start drain=30s
"$CLIENT" "$SOCK" get /stuck >/dev/null &
slow=$!
sleep 0.3
kill -TERM "${IT_PID[fcgi]}"
sleep 0.3
it_ok "a first TERM waits" it_alive fcgi
t=$(now_ms)
it_stop fcgi TERM
it_ok "a second TERM does not" test $(($(now_ms) - t)) -lt $AT_ONCE
wait $slow

# ---- dying
start children=2
victim=$(children | head -n 1)
kill -KILL "$victim"
it_ok "a killed child is replaced" it_wait_for 3 logged "event=child_died pid=$victim"
it_wait_for 3 test "$(children | wc -l)" = 2
it_eq "and all serve" "$("$CLIENT" "$SOCK" kept 8 0.3 /fixed | grep -c errors=0)" 1
n=$(status requests)
for victim in $(children); do kill -KILL "$victim"; done
it_wait_for 3 test "$(status 'children died')" = 3
it_eq "counts outlive the children" "$(status requests)" "$n"
it_ok "it serves again" it_wait_for 5 "$CLIENT" "$SOCK" get /fixed

"$CLIENT" "$SOCK" get /die >/dev/null
it_ok "a crash is told with what it was about" it_wait_for 3 \
	logged 'event=child_died .*signal=6 .*path=/die'

master=${IT_PID[fcgi]}
pids=$(children)
kill -KILL "$master"
for pid in $pids; do it_wait_for 3 gone "$pid" || it_fail "child $pid outlives its master"; done
it_pass "children end with their master"
it_stop fcgi
start
it_pass "a socket that a dead server left is replaced"

# Those of a killed master answer what they have begun; who starts the server
# again at once need not wait for them himself.
"$CLIENT" "$SOCK" get /sleep/900 >"$IT/begun" &
begun=$!
sleep 0.3
kill -KILL "${IT_PID[fcgi]}"
it_stop fcgi
start
it_pass "nor do orphans that still answer keep a new one out"
wait $begun
it_eq "and they end what they have begun" "$(sed -n '1s/^Status: \([0-9]*\).*/\1/p' \
	"$IT/begun")" 200

conf
"$STUB" -c "$CONF" >"$IT/second.log" 2>&1
it_eq "a second server on the same socket is refused" "$?" 100
it_match "with the reason" "$(cat "$IT/second.log")" 'another process answers'
it_eq "and the first one goes on" "$(code "$SOCK" get /fixed)" 200
it_stop fcgi

# ---- deadlines
start request_deadline=600ms children=2
it_eq "a stuck request gets no answer" "$("$CLIENT" "$SOCK" get /stuck | wc -c)" 0
it_ok "its child is killed, and the log says why" logged \
	'event=request_deadline .*state=running method=GET path=/stuck ms=[0-9]+ doing="?stub stuck'
it_eq "it is counted" "$(status 'slow requests')" 1
# A web server that stops in the middle of a request holds nobody for long.
{ printf '\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0\1\4'; sleep 2; } |
	"$CLIENT" "$SOCK" raw >/dev/null &
half=$!
sleep 0.1
out=$("$CLIENT" "$SOCK" kept 8 1.5 /fixed)
it_match "half a request holds nobody up" "$out" 'errors=0'
wait $half
it_eq "nor kills anybody" "$(status 'slow requests')" 1
it_stop fcgi

# A housekeeper that hangs is seen too.
start request_deadline=100ms
keeper() {
	"$STUB" -c "$CONF" --status --json | jq -r \
		'.processes[] | select(.role == "housekeeper") | .pid'
}
old=$(keeper)
kill -STOP "$old"
it_ok "a housekeeper that hangs is killed" it_wait_for 10 logged \
	'event=request_deadline .*path=housekeeping'
replaced() { [ -n "$(keeper)" ] && [ "$(keeper)" != "$old" ]; }
it_ok "and replaced" it_wait_for 10 replaced
it_stop fcgi

# ---- recycling
start max_requests=200 children=3
out=$("$CLIENT" "$SOCK" kept 32 2 /fixed)
it_match "max_requests: no request is lost, no connection closed" "$out" 'errors=0 closed=0'
it_ok "connections were handed over" test "$(status 'handed over')" -gt 30
it_ok "the children are new ones" test "$(status requests)" -gt 2000
it_eq "none died" "$(status 'children died')" 0
it_stop fcgi

# ---- children that cannot start
: >"$IT/fcgi.log"
rm -f "${STUB_FAIL:?}"*
conf
echo "no such template" >"$STUB_FAIL.child"
it_spawn fcgi TERM "$STUB" -c "$CONF"
sleep 2
it_ok "a crash loop is braked" test "$(grep -c event=app_open "$IT/fcgi.log")" -lt 30
it_ok "more and more" logged 'event=respawn_braked ms=400'
rm -f "$STUB_FAIL.child"
it_ok "and it recovers" it_wait_for 10 is_ready 1
it_stop fcgi
echo "page.mustache:3: no end" >"$STUB_FAIL"
"$STUB" -c "$CONF" >"$IT/bad.log" 2>&1
it_eq "an application that cannot start: 100" "$?" 100
it_match "and why" "$(cat "$IT/bad.log")" 'page.mustache:3: no end'
"$STUB" -c "$CONF" -t >"$IT/bad.log" 2>&1
it_eq "-t says the same" "$? $(head -n 1 "$IT/bad.log")" "100 page.mustache:3: no end"
rm -f "$STUB_FAIL"
conf children=0
"$STUB" -c "$CONF" -t >"$IT/bad.log" 2>&1
it_eq "-t refuses a wrong value" "$?" 100
it_match "with file and line" "$(cat "$IT/bad.log")" 'souk.ini:[0-9]+:'
it_exit "wrong usage: 2" 2 "$STUB" --no-such
it_exit "-V" 0 "$STUB" -V
it_summary
