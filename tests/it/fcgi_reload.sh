#!/bin/bash
# souk-fcgi's reload: no request refused or dropped, and no way to break it.
# SOUK_STORM=SECONDS makes the storm longer (default 8).
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
. "$srcdir/tests/it/fcgi_lib.sh" || exit 99

storm=${SOUK_STORM:-8}
start children=4
master=${IT_PID[fcgi]}

# hup GENERATION: reload, wait until that generation serves
hup() {
	kill -HUP "$master"
	it_wait_for 10 is_ready "$1"
}
generations() {
	"$STUB" -c "$CONF" --status | awk '/^ *pid/ { on = 1; next }
		on { g[$2] = 1 } END { n = 0; for (i in g) n++; print n }'
}

# ---- what a reload does
NAME=two conf children=4
it_ok "a new generation comes up" hup 2
it_match "with the new configuration" "$(get "$SOCK" get /who)" 'name=two'
it_ok "the process is the same" it_alive fcgi
it_eq "the old one is gone" "$(it_wait_for 3 test "$(generations)" = 1; generations)" 1
NAME=two conf children=6
hup 3
it_eq "the number of children follows" "$(children | wc -l)" 6

# ---- the storm
NAME=two conf children=4
hup 4
"$CLIENT" "$SOCK" kept 48 "$storm" /fixed >"$IT/a.out" 2>&1 &
a=$!
"$CLIENT" -b hello=world "$SOCK" kept 16 "$storm" /echo >"$IT/b.out" 2>&1 &
b=$!
"$CLIENT" -n -b hello=world "$SOCK" kept 8 "$storm" /echo >"$IT/c.out" 2>&1 &
c=$!
"$CLIENT" -w 150 "$SOCK" kept 16 "$storm" /sleep/20 >"$IT/d.out" 2>&1 &
d=$!
most=0
for ((i = 1; i < storm; i++)); do
	kill -HUP "$master"
	sleep 0.9
	n=$(generations)
	[ "$n" -le $most ] || most=$n
	sleep 0.1
done
wait $a $b $c $d
it_match "a HUP every second: no GET fails, no connection is closed" "$(cat "$IT/a.out")" 'errors=0 closed=0'
it_match "no POST" "$(cat "$IT/b.out")" 'errors=0 closed=0'
it_match "none without keeping" "$(cat "$IT/c.out")" 'errors=0'
it_match "no slow one" "$(cat "$IT/d.out")" 'errors=0 closed=0'
it_ok "every reload took place" test "$(status reloads)" -ge $((storm + 1))
it_ok "at most three generations at once (saw $most)" test $most -le 3
it_eq "nobody died" "$(status 'children died')" 0

# Many at once are one or two.
n=$(status reloads)
for i in 1 2 3 4 5 6 7 8 9 10; do kill -HUP "$master"; done
sleep 2
it_ok "ten at once are not ten" test $(($(status reloads) - n)) -le 3

# ---- a long request is finished by the old generation
"$CLIENT" "$SOCK" get /sleep/1500 >"$IT/slow.out" &
slow=$!
sleep 0.3
g=$(status generation)
hup $((g + 1))
it_eq "the new one serves meanwhile" "$(code "$SOCK" get /fixed)" 200
wait $slow
it_match "a long request is finished" "$(cat "$IT/slow.out")" slept

# ---- what cannot be loaded
g=$(status generation)
pids=$(children)
echo "nonsense = 1" >>"$CONF"
kill -HUP "$master"
it_ok "a bad configuration is refused, with file and line" it_wait_for 5 \
	logged "event=reload_refused .*souk.ini:[0-9]+"
sleep 0.3
NAME=two conf children=4
it_eq "the old children go on" "$(children)" "$pids"
it_eq "and serve" "$(code "$SOCK" get /fixed)" 200
it_eq "it is counted" "$(status 'reloads refused')" 1

echo "home.mustache:7: unclosed section" >"$STUB_FAIL"
kill -HUP "$master"
it_ok "bad templates are refused" it_wait_for 5 logged 'home.mustache:7: unclosed section'
rm -f "$STUB_FAIL"
it_eq "the old children go on" "$(children)" "$pids"

echo "only children fail" >"$STUB_FAIL.child"
kill -HUP "$master"
it_ok "children that cannot start" it_wait_for 5 logged 'event=respawn_braked'
it_match "leave the old ones in place" "$("$CLIENT" "$SOCK" kept 16 1 /fixed)" 'errors=0'
rm -f "$STUB_FAIL.child"
it_ok "until they can" it_wait_for 15 is_ready $((g + 1))

# A set that never got up is replaced by the next reload.
echo "only children fail" >"$STUB_FAIL.child"
kill -HUP "$master"
sleep 1
rm -f "$STUB_FAIL.child"
kill -HUP "$master"
it_ok "a reload ends a failed one" it_wait_for 10 is_ready $((g + 3))
it_eq "which serves" "$(code "$SOCK" get /fixed)" 200

# ---- another address
"$CLIENT" "$SOCK" kept 4 1 /fixed >"$IT/e.out" 2>&1 &
e=$!
sleep 0.2
old=$SOCK
SOCK=$IT/other.sock
NAME=two conf children=4
g=$(status generation)
kill -HUP "$master"
it_ok "another address" it_wait_for 10 is_ready $((g + 1))
it_eq "is served" "$(code "$SOCK" get /fixed)" 200
wait $e
it_match "connections of the old one live on" "$(cat "$IT/e.out")" 'errors=0 closed=0'
it_ok "its name is gone" test ! -e "$old"

# ---- another program under the same name
it_stop fcgi
: >"$IT/fcgi.log"
STUB=$IT/souk-fcgi
cp "$top_builddir/tests/it/stub-fcgi" "$STUB"
start
master=${IT_PID[fcgi]}
mv "$STUB" "$STUB.old"
printf '#!/bin/sh\necho "not a program" >&2\nexit 1\n' >"$STUB"
chmod 755 "$STUB"
kill -HUP "$master"
it_ok "a broken program is refused" it_wait_for 5 logged 'msg="not a program"'
it_eq "the old one serves" "$(code "$SOCK" get /fixed)" 200
rm "$STUB"
kill -HUP "$master"
it_ok "so is a missing one" it_wait_for 5 logged 'No such file'
cp "$top_builddir/tests/it/stub-fcgi" "$STUB"
it_ok "a good one takes over" hup 2
it_eq "it is the new file" "$(readlink "/proc/$master/exe")" "$STUB"

# The check was good, and then the configuration breaks: too late to go back.
printf '#!/bin/sh\ncase $1 in -t) exit 0;; esac\nexec "%s" "$@"\n' \
	"$top_builddir/tests/it/stub-fcgi" >"$STUB.sh"
chmod 755 "$STUB.sh"
mv "$STUB.sh" "$STUB"
pids=$(children)
echo "nonsense = 1" >>"$CONF"
kill -HUP "$master"
it_ok "a successor that cannot read its configuration" it_wait_for 5 logged event=conf
it_match "leaves the old children to serve" "$("$CLIENT" "$SOCK" kept 8 0.5 /fixed)" 'errors=0 closed=0'
conf
it_ok "and goes on when it can" it_wait_for 5 is_ready 3
none_left() { ! children | grep -qFx "$pids"; }
it_ok "with children of its own" it_wait_for 5 none_left
it_stop fcgi
it_summary
