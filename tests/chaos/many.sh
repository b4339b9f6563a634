#!/usr/bin/env bash
#
# many.sh - the crash test with CHAOS_SEEDS (50) seeds in a row from CHAOS_FIRST
# (1) on, 2,000 buyers for 500 units each, every one with servers of its own and
# not longer than CHAOS_LIMIT (240) seconds. A line for each; what failed is shown
# whole and goes on; at the end the sum. Exit 1 where one failed.
set -u
srcdir=${srcdir:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
first=${CHAOS_FIRST:-1} last=$((${CHAOS_FIRST:-1} + ${CHAOS_SEEDS:-50} - 1))
export CHAOS_BUYERS=${CHAOS_BUYERS:-2000} CHAOS_UNITS=${CHAOS_UNITS:-500}
export CHAOS_SECONDS=${CHAOS_SECONDS:-12}
all=$(mktemp) log=$(mktemp) || exit 99
trap 'rm -f "$all" "$log"' EXIT
trap 'exit 143' INT TERM HUP

passed=0 failed=0
for ((s = first; s <= last; s++)); do
	start=$SECONDS
	timeout -k 30 "${CHAOS_LIMIT:-240}" bash "$srcdir/tests/chaos/chaos.sh" "$s" >"$log" 2>&1
	rc=$?
	[ $rc != 77 ] || {
		tail -n 1 "$log"
		exit 77
	}
	counts=$(sed -n 's/^# counts //p' "$log")
	[ -z "$counts" ] || printf '%s\n' "$counts" >>"$all"
	if [ $rc = 0 ]; then
		passed=$((passed + 1))
		printf 'ok   seed %d, %d s: %s\n' "$s" $((SECONDS - start)) "$counts"
	else
		failed=$((failed + 1))
		printf 'FAIL seed %d, exit %d, %d s: %s\n' "$s" $rc $((SECONDS - start)) "$counts"
		sed 's/^/  | /' "$log"
	fi
done
printf 'sum: %s\n' "$(jq -cs 'map(del(.seed, .kind)) | map(to_entries) | flatten
	| group_by(.key) | map({key: .[0].key, value: (map(.value) | add)}) | from_entries' "$all")"
printf '%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
