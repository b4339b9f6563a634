#!/usr/bin/env bash
#
# mutants.sh [NAME...] - is the crash test worth anything? What keeps a sale right
# is taken out of a copy of the tree, one thing at a time, and the crash test is
# run with seed after seed until its checker complains (CHAOS_SEEDS, 12 at most).
# One mutant must not be caught: with the unit key in place nothing is oversold
# though the epoch is not looked at (6 seeds). Needs what the build needs.
set -u
srcdir=$(cd "${srcdir:-$(dirname "${BASH_SOURCE[0]}")/../..}" && pwd) || exit 99
build=$(cd "${top_builddir:-.}" && pwd) || exit 99
names=${*:-key id claim outbox epoch}
here=$(mktemp -d "${SOUK_IT_TMP:-/tmp}/souk-mutants.XXXXXX") || exit 99
trap 'rm -rf "$here"' EXIT
trap 'exit 143' INT TERM HUP
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
jobs=$(nproc)
passed=0 failed=0

bail() {
	printf 'Bail out! %s\n' "$*"
	exit 99
}

# ---- the copy
mkdir "$here/src" "$here/build"
(cd "$srcdir" && tar -cf - --exclude=./.git --exclude='./.quickstart*' .) |
	tar -xf - -C "$here/src" || bail "copy"
[ ! -e "$here/src/config.status" ] || make -s -C "$here/src" distclean >/dev/null 2>&1
cd "$here/build" || bail "$here"
eval "set -- $("$build/config.status" --config)"
"$here/src/configure" "$@" --quiet --disable-werror >"$here/log" 2>&1 || bail "$(tail "$here/log")"

# mutate FILE SCRIPT: by sed; it must change something
mutate() {
	sed -i -e "$2" "$here/src/$1" || bail "$1"
	! cmp -s "$srcdir/$1" "$here/src/$1" || bail "$1: nothing was changed"
}
restore() {
	local f
	for f in lib/shop/purchase_place.c lib/shop/counter_script.c lib/shop/sale_open.c; do
		cmp -s "$srcdir/$f" "$here/src/$f" || cp "$srcdir/$f" "$here/src/$f"
	done
}

# The parameter stays, or it would have no type.
no_epoch='/MUTANT epoch/s/i\.epoch = \(\$5::int8\)/\1 IS NOT NULL/'
want=caught sql='' fault='' kind='' open=''
mutant() { # NAME: fault: what it must be caught by
	restore
	want=caught sql='' fault='' kind='' open=''
	case $1 in
	none) want=content ;;
	key) # never closed: the close claims each unit, whoever has it
		kind=crush open=1 fault='OVERSOLD|^unit .* there twice'
		mutate lib/shop/purchase_place.c "$no_epoch"
		sql='ALTER TABLE sale_unit DROP CONSTRAINT sale_unit_pkey,
			DROP CONSTRAINT sale_unit_item_id_buyer_slot_key'
		;;
	epoch)
		want=content
		mutate lib/shop/purchase_place.c "$no_epoch"
		;;
	id)
		kind=few
		mutate lib/shop/counter_script.c '/MUTANT id/s/held\[2\]/false/'
		;;
	claim)
		kind=closing fault=' in stock '
		mutate lib/shop/sale_open.c '/MUTANT claim/d'
		;;
	outbox)
		fault='by e-mail 0 times'
		# The tasks are answered instead of written.
		mutate lib/shop/purchase_place.c '/" INSERT INTO outbox/d'
		;;
	*) bail "no mutant $1" ;;
	esac
	make -s -j"$jobs" >"$here/log" 2>&1 || bail "$1: $(tail -n 20 "$here/log")"
}

try() { # NAME
	local s n found=''
	mutant "$1"
	n=${CHAOS_SEEDS:-12}
	[ $want = caught ] || n=$(((n + 1) / 2))
	for ((s = 1; s <= n; s++)); do
		CHAOS_SQL=$sql CHAOS_KIND=$kind CHAOS_OPEN=$open srcdir=$here/src top_builddir=$here/build \
			timeout -k 30 300 bash "$here/src/tests/chaos/chaos.sh" $s >"$here/log" 2>&1
		rc=$?
		case $rc in
		0) continue ;;
		1 | 124) ;;
		*) bail "$1, seed $s: exit $rc: $(tail -n 3 "$here/log")" ;;
		esac
		found=$(sed -n 's/^#   fault: //p' "$here/log" | grep -E -m 3 "${fault:-.}" |
			sed 's/^/#   /')
		[ -z "$found" ] || break
		printf '# %s, seed %d: failed by something else\n' "$1" "$s"
		grep -E '^not ok|^#   fault:' "$here/log" | head -n 5
	done
	if [ $want = caught ] && [ -n "$found" ]; then
		printf 'ok - %s: caught by seed %d\n%s\n' "$1" "$s" "$found"
	elif [ $want = content ] && [ -z "$found" ]; then
		printf 'ok - %s: the checker is content with %d seeds\n' "$1" "$n"
	else
		failed=$((failed + 1))
		printf 'not ok - %s: %s\n' "$1" "${found:-not caught by $n seeds}"
		return
	fi
	passed=$((passed + 1))
}

for m in $names; do try "$m"; done
printf '%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
