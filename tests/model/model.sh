#!/usr/bin/env bash
# The model of a sale (sale.pml), checked exhaustively by Spin, and mutants in
# which it must find the error. In `make check` each buyer has one try and Redis
# restarts; `make model` (SOUK_MODEL=all) is all of it: two tries, restarts and
# fail-overs, which takes minutes and some gigabytes.
. "$(dirname "${BASH_SOURCE[0]}")/../it/lib.sh"
it_need spin gcc
it_not_twice

# verdict NAME FLAG...: "errors: N, S states" of a whole search; else why not
verdict() {
	local d=$IT/$1
	shift
	mkdir -p "$d" && cd "$d" || return
	cp "$srcdir/tests/model/sale.pml" .
	spin "$@" -a sale.pml >spin.out 2>&1 &&
		gcc -w -O2 -DSAFETY -DCOLLAPSE -DMEMLIM=16000 -o pan pan.c &&
		timeout "${SOUK_MODEL_SECONDS:-3000}" ./pan -m100000 >out 2>&1
	if grep -q 'Search not completed' out && ! grep -q 'errors: [1-9]' out; then
		echo "not searched to the end"
	fi
	sed -n 's/.*\(errors: [0-9]*\)$/\1/p' out
	it_note "$*: $(sed -n 's/^ *\([0-9]* states, stored\)/\1/p' out)" >&2
}

whole="-DRESTART -DTRIES=1"
if [ "${SOUK_MODEL:-}" = all ]; then whole='-DRESTART|-DFAILOVER'; fi
IFS='|'
for flags in $whole; do
	IFS=' '
	# shellcheck disable=SC2086
	it_eq "nothing oversold, nothing lost:$flags" \
		"$(verdict whole $flags 2>>"$IT/states")" "errors: 0"
done
unset IFS
for flags in "-DNO_KEY -DNO_EPOCH" -DNO_CLAIM -DNO_RECLAIM; do
	# shellcheck disable=SC2086
	it_match "found:$flags" "$(verdict mutant $flags 2>>"$IT/states")" \
		'errors: 1'
done
cat "$IT/states"
# The unit key stands behind the epoch's check: without it nothing is oversold.
it_eq "nor without the epoch's check" \
	"$(verdict epoch -DNO_EPOCH -DRESTART -DTRIES=1 2>/dev/null)" "errors: 0"
it_summary
