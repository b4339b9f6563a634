#!/bin/bash
# souk-fcgi's server: what it answers, to whom, and to what it does not listen.
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
. "$srcdir/tests/it/fcgi_lib.sh" || exit 99

start children=4 slots=64 max_body=100k client_deadline=2s

# ---- answers
it_eq "a small answer" "$(get "$SOCK" get /fixed | wc -c)" 200
it_eq "an answer of many records" \
	"$("$CLIENT" "$SOCK" get /bytes/3000000 | wc -c)" \
	"$(("$("$CLIENT" "$SOCK" get /bytes/3000000 | sed '/^\r$/q' | wc -c)" + 3000000))"
it_eq "a body comes and goes" "$(get -b hello "$SOCK" get /echo)" hello
it_eq "a body at the cap" "$(get -B 102400 "$SOCK" get /echo | wc -c)" 102400
head=$("$CLIENT" -m HEAD "$SOCK" get /fixed)
it_match "HEAD says how long it would be" "$head" 'Content-Length: 200'
it_eq "HEAD has no body" "$(printf '%s' "$head" | tr -d '\r' | tail -c 20)" \
	"Content-Length: 200"
it_eq "a line end in a header field is refused" "$(code "$SOCK" get /bad-header)" 500
it_match "the request id comes back" \
	"$("$CLIENT" -p HTTP_X_REQUEST_ID=abc-1 "$SOCK" get /fixed)" 'X-Request-Id: abc-1'
it_match "an id that is no token does not" \
	"$("$CLIENT" -p 'HTTP_X_REQUEST_ID=a b' "$SOCK" get /fixed)" \
	'X-Request-Id: [0-9a-f]{32}'

# ---- refusals
it_eq "a body over the cap" "$(code -B 102401 "$SOCK" get /echo)" 413
it_eq "a body far over it" "$(code -B 9000000 "$SOCK" get /echo)" 413
it_eq "a body over it where the application takes files" \
	"$("$CLIENT" -B 8388608 "$SOCK" get /upload | tail -n 1)" 8388608
it_eq "but not over what it takes" "$(code -B 8388609 "$SOCK" get /upload)" 413
it_eq "fewer bytes than declared" "$(code -b hello -l 6 "$SOCK" get /echo)" 400
it_eq "more bytes than declared" "$(code -b hello -l 4 "$SOCK" get /echo)" 400
it_eq "a length that is no number" "$(code -b hello -l 5x "$SOCK" get /echo)" 400
it_eq "a body of no declared length" "$(code -b hello -l '' "$SOCK" get /echo)" 411
it_eq "a path that is not UTF-8" "$(code "$SOCK" get $'/\xff')" 400
it_eq "a path too long" "$(code "$SOCK" get "/$(printf '%03000d' 0)")" 414
it_eq "parameters too large" "$(code -p "X=$(printf '%070000d' 0)" "$SOCK" get /fixed)" 431
it_eq "a query that is not UTF-8" "$(code -p 'QUERY_STRING=q=%ff' "$SOCK" get /fixed)" 400

# ---- a client that has given up
late=$(($(date +%s) - 3)).000
it_eq "a request over its client's deadline" \
	"$(code -p "SOUK_START=$late" "$SOCK" get /fixed)" 503
it_match "says when to come back" \
	"$("$CLIENT" -p "SOUK_START=$late" "$SOCK" get /fixed)" 'Retry-After: 1'
it_eq "one in time" "$(code -p "SOUK_START=$(date +%s.%3N)" "$SOCK" get /fixed)" 200
it_eq "they are counted" "$(status 'late requests')" 2

# ---- the connection after a refusal
out=$("$CLIENT" -b hello -l 6 -s 400 "$SOCK" kept 2 0.3 /echo)
it_match "a refused request leaves nothing on the connection" "$out" \
	'errors=0 closed=0'
out=$("$CLIENT" -B 150000 -s 413 "$SOCK" kept 2 0.3 /echo)
it_match "nor does one that was too large" "$out" 'errors=0 closed=0'

# ---- not FastCGI
printf 'GET / HTTP/1.0\r\n\r\n' | "$CLIENT" "$SOCK" raw >"$IT/raw.out"
it_eq "HTTP on the socket is closed" "$? $(wc -c <"$IT/raw.out")" "0 0"
it_eq "and the server goes on" "$(code "$SOCK" get /fixed)" 200

# ---- more connections than children
out=$("$CLIENT" "$SOCK" kept 64 2 /fixed)
it_match "64 kept connections, 4 children: no error" "$out" 'errors=0 closed=0'
it_ok "every one of them is served" test "$(figure least "$out")" -gt 100
out=$("$CLIENT" -w 5 "$SOCK" kept 200 1 /fixed)
it_match "200 of them" "$out" 'errors=0 closed=0'
it_ok "each served" test "$(figure least "$out")" -gt 10
out=$("$CLIENT" "$SOCK" kept 16 1 /sleep/5)
it_match "with handlers that wait" "$out" 'errors=0 closed=0'
it_ok "all children work" test "$(figure answers "$out")" -gt 220
it_ok "in turn" test "$(figure least "$out")" -gt 8
out=$("$CLIENT" -n "$SOCK" kept 32 1 /fixed)
it_match "a connection a request" "$out" 'errors=0'

# A connection that idles must not cost another one its place.
out=$("$CLIENT" -w 3000 "$SOCK" kept 250 0.5 /fixed & sleep 0.3
	"$CLIENT" "$SOCK" kept 4 0.5 /fixed; wait)
it_eq "idle connections hold nobody up" "$(printf '%s\n' "$out" | grep -c 'errors=0')" 2

# The application's turn comes under load as well.
"$CLIENT" "$SOCK" kept 64 1 /fixed >/dev/null &
sleep 0.5
it_match "app_turn is called under load" "$(get "$SOCK" get /who)" 'longest=1?[0-9]{1,3}$'
wait $!

# ---- what it tells about itself
it_match "status, for a person" "$("$STUB" -c "$CONF" --status)" '^accepted conn: +[0-9]+'
n=$(status requests)
get "$SOCK" get /fixed >/dev/null
it_eq "a request is counted once" "$(status requests)" $((n + 1))
it_ok "JSON that a parser takes" sh -c "'$STUB' -c '$CONF' --status --json | jq -e '.processes | length == 5'"
it_match "metrics" "$("$CLIENT" "$SOCK" get /metrics)" \
	'^souk_fcgi_responses_total\{class="2xx"\} [1-9]'
it_eq "no child died" "$(status 'children died')" 0
it_summary
