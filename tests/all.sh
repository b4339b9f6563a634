#!/usr/bin/env bash
#
# all.sh [SUITE...] - every suite, as ./quickstart test and CI run it: build
# (warnings are errors), sanitizers, fuzz, distcheck, quickstart, browser.
# Builds go to .quickstart-test/ (or $SOUK_TEST_DIR). The last line is the sum:
# "N passed, N failed"; the exit status is 0 only where nothing failed.
set -u
umask 022
export LC_ALL=C.UTF-8
src=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
out=${SOUK_TEST_DIR:-$src/.quickstart-test}
suites=${*:-build sanitizers fuzz distcheck quickstart browser}
jobs=$(nproc)
passed=0 failed=0
unset MAKEFLAGS MFLAGS MAKELEVEL
mkdir -p "$out" || exit 1

note() { printf '\n==== %s (%d s)\n' "$*" $SECONDS; }

# count NAME LOG: add what a log says to the sum. libcheck's and our scripts'
# lines are understood; a log with neither is one test, by `ok`.
count() { # LOG RESULT
	local n
	n=$(awk '
	/^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/ { p += $1; f += $3; seen = 1 }
	/^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+/ {
		gsub(/[%:,]/, ""); p += $3 - $5 - $7; f += $5 + $7; seen = 1 }
	END { if (seen) print p + 0, f + 0 }' "$1" 2>/dev/null)
	case "$n:$2" in
	:PASS) n="1 0" ;;
	:SKIP) n="0 0" ;;
	:*) n="0 1" ;;
	*" 0:PASS" | *" 0:SKIP") ;;
	*" 0:"*) n="${n% 0} 1" ;; # its log looks good, but it died
	esac
	passed=$((passed + ${n% *})) failed=$((failed + ${n#* }))
}
# one NAME STATUS [LOG]: a step that is a test of its own
one() {
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
		printf 'ok   %s\n' "$1"
	else
		failed=$((failed + 1))
		printf 'FAIL %s\n' "$1"
		[ -z "${3:-}" ] || tail -n 40 "$3" | sed 's/^/  | /'
	fi
}
# check_count BUILDDIR: the results of a `make check`
check_count() {
	local trs result name
	while read -r trs; do
		name=${trs#"$1"/} name=${name%.trs}
		result=$(sed -n 's/^:global-test-result: //p' "$trs")
		count "${trs%.trs}.log" "$result"
		printf '%-5s %s\n' "$result" "$name"
		case $result in
		PASS) ;;
		SKIP)
			tail -n 3 "${trs%.trs}.log" | sed 's/^/  | /'
			;;
		*) tail -n 80 "${trs%.trs}.log" | sed 's/^/  | /' ;;
		esac
	done < <(find "$1/tests" -name '*.trs' | sort)
}

# configured NAME ARG...: a build folder of that name
configured() {
	local d=$out/$1
	shift
	rm -rf "$d" && mkdir -p "$d" && cd "$d" || return 1
	"$src/configure" --disable-dependency-tracking "$@" >"$d/configure.out" 2>&1
}
# built_and_checked NAME ARG...
built_and_checked() {
	local name=$1 d=$out/$1 rc
	configured "$@"
	rc=$?
	one "$name: configure" $rc "$d/configure.out"
	[ $rc = 0 ] || return 0
	make -j"$jobs" >"$d/make.out" 2>&1
	rc=$?
	one "$name: make" $rc "$d/make.out"
	[ $rc = 0 ] || return 0
	# -k: a test program that does not build must not hide the others. More
	# scripts than cores: most of what they do is wait for a server.
	make -k -j$((jobs * 5 / 2)) check >"$d/check.out" 2>&1
	rc=$?
	check_count "$d"
	[ $rc = 0 ] || ! grep -q 'Error 1$' "$d/check.out" ||
		find "$d/tests" -name '*.trs' | grep -q . ||
		one "$name: make check" 1 "$d/check.out"
}

suite_build() { built_and_checked build --enable-werror --with-rabbitmq; }

suite_sanitizers() {
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
	# What runs no code of ours, or asks PostgreSQL about its plans, has just
	# been done.
	export SOUK_IT_SANITIZED=1
	built_and_checked sanitizers --enable-werror --enable-sanitizers \
		--with-rabbitmq
	unset ASAN_OPTIONS UBSAN_OPTIONS SOUK_IT_SANITIZED
}

suite_fuzz() {
	local d=$out/fuzz rc
	configured fuzz CC=clang --enable-werror --enable-fuzzers
	rc=$?
	one "fuzz: configure with clang" $rc "$d/configure.out"
	[ $rc = 0 ] || return 0
	make -j"$jobs" >"$d/make.out" 2>&1
	rc=$?
	one "fuzz: make with clang" $rc "$d/make.out"
	[ $rc = 0 ] || return 0
	FUZZ_SECONDS=${FUZZ_SECONDS:-6} make -j"$jobs" fuzz-check \
		>"$d/fuzz.out" 2>&1
	rc=$?
	tail -n 20 "$d/fuzz.out"
	one "fuzz: a short run of every target" $rc "$d/fuzz.out"
}

suite_distcheck() {
	local d=$out/dist rc
	configured dist
	rc=$?
	# The tests ran above; here the tarball's own are those that need nothing
	# of a machine but the compiler.
	[ $rc = 0 ] && SOUK_IT_QUICK=1 make -j"$jobs" distcheck \
		>"$d/distcheck.out" 2>&1
	rc=$?
	one "distcheck" $rc "$d/distcheck.out"
}

suite_quickstart() {
	local rc
	bash "$src/tests/quickstart.sh" >"$out/quickstart.out" 2>&1
	rc=$?
	grep -E '^(not ok|#|Bail)' "$out/quickstart.out"
	count "$out/quickstart.out" "$([ $rc = 0 ] && echo PASS || echo FAIL)"
	tail -n 1 "$out/quickstart.out"
}

suite_browser() {
	local rc
	bash "$src/tests/browser.sh" >"$out/browser.out" 2>&1
	rc=$?
	case $rc in
	77) tail -n 1 "$out/browser.out" ;;
	0) tail -n 3 "$out/browser.out" ;;
	*) tail -n 60 "$out/browser.out" ;;
	esac
	count "$out/browser.out" "$(case $rc in 0) echo PASS ;; 77) echo SKIP ;; *) echo FAIL ;; esac)"
}

note "autogen"
if [ ! "$src/configure" -nt "$src/configure.ac" ] ||
	[ ! "$src/Makefile.in" -nt "$src/Makefile.am" ]; then
	(cd "$src" && ./autogen.sh) >"$out/autogen.out" 2>&1 || {
		one autogen 1 "$out/autogen.out"
		printf '%d passed, %d failed\n' $passed $failed
		exit 1
	}
fi
for s in $suites; do
	note "$s"
	case $(type -t "suite_$s") in
	function) "suite_$s" ;;
	*) one "no suite called $s" 1 ;;
	esac
done
note "all done"
printf '%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
