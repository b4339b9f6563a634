#!/bin/sh
# fuzz-check.sh SRCDIR TARGET...: run each libFuzzer target on its corpus for
# FUZZ_SECONDS (default 20), in bounded memory, as many side by side as there
# are processors. What it finds stays in tests/fuzz/found/ of the build. Exit 1
# where there is a finding.
set -u
found=tests/fuzz/found
mkdir -p "$found" || exit 1

if [ "$1" != --one ]; then
  srcdir=$1
  shift
  printf '%s\n' "$@" |
    xargs -n 1 -P "$(nproc)" sh "$0" --one "$srcdir" || exit 1
  exit 0
fi

srcdir=$2 target=$3
name=${target##*/fuzz_}
work=tests/fuzz/work/$name # new inputs; kept from run to run
corpus=$srcdir/tests/fuzz/corpus/$name
log=tests/fuzz/fuzz_$name.fuzzlog
mkdir -p "$work" || exit 1
if ! [ -d "$corpus" ]; then
  echo "fuzz-check: $name: no corpus in $corpus" >&2
  exit 1
fi
set --
[ -f "$srcdir/tests/fuzz/$name.dict" ] &&
  set -- "-dict=$srcdir/tests/fuzz/$name.dict"
if "./$target" "-max_total_time=${FUZZ_SECONDS:-20}" \
  "-max_len=${FUZZ_MAX_LEN:-16384}" -rss_limit_mb=768 -malloc_limit_mb=256 \
  -timeout=10 -print_final_stats=1 -artifact_prefix="$found/$name-" \
  "$@" "$work" "$corpus" >"$log" 2>&1; then
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  echo "fuzz-check: $name: ok, $runs runs"
else
  echo "fuzz-check: $name: FINDING (see $log)" >&2
  tail -n 40 "$log" >&2
  exit 1
fi
