#!/usr/bin/env bash
# Dependence runs one way (docs/architecture.md): base <- store <- shop <- the
# programs, and programs never know each other. An include names its room, so
# that grep can prove it.
cd "${srcdir:-$(dirname "$0")/..}" || exit 1
bad=0
wrong() {
	printf '%s\n' "$1"
	bad=$((bad + 1))
}

# rooms FOLDER ROOM...: what its files may include by "..."
rooms() {
	local dir=$1 allow
	shift
	allow=$(IFS='|'; echo "$*")
	while IFS= read -r line; do
		wrong "$line: may include only $*"
	done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include "' "$dir" \
		--include='*.[ch]' | grep -vE "include \"(($allow)/|config\.h\")")
}
rooms lib/base base
rooms lib/store base store
rooms lib/shop base store shop
rooms fcgi-app base store shop fcgi-app
rooms workers base store shop workers
rooms ctl base store shop ctl
rooms imager base imager

# foreign HEADER FOLDER...: a library that only these folders may name
foreign() {
	local header=$1 f ok d
	shift
	while IFS= read -r f; do
		ok=
		for d; do
			case $f in "$d"/*) ok=1 ;; esac
		done
		[ -n "$ok" ] || wrong "$f: only $* may name $header"
	done < <(grep -rlE "#[[:space:]]*include <$header" lib fcgi-app workers ctl \
		imager --include='*.[ch]')
}
foreign libpq-fe.h lib/store
foreign hiredis/ lib/store
foreign curl/ lib/store
foreign amqp lib/store
foreign fcgi fcgi-app
foreign event2/ relay lib/store
foreign libxml/ lib/shop
foreign vips/ imager
foreign seccomp.h imager

# A .c includes its own header first, which proves that it stands alone.
for c in lib/*/*.c; do
	h=${c%.c}.h
	[ -e "$h" ] || continue
	first=$(grep -m1 '^#include "' "$c" | grep -v config.h)
	[ -n "$first" ] || first=$(grep '^#include "' "$c" | sed -n 2p)
	[ "$first" = "#include \"${h#lib/}\"" ] ||
		wrong "$c: its own header comes first"
done

# Out of memory ends the process; strings know their length.
while IFS= read -r line; do
	wrong "$line"
done < <(grep -rnE '[^a-z_](strcpy|strcat|sprintf|strtok|gets|alloca)\(' \
	lib fcgi-app workers ctl imager --include='*.[ch]')
while IFS= read -r line; do
	wrong "$line: use xmalloc"
done < <(grep -rnE '[^a-z_](malloc|calloc|realloc|strdup|strndup)\(' lib \
	fcgi-app workers ctl imager --include='*.c' |
	grep -v '^lib/base/xmalloc\.c')

[ $bad = 0 ] || exit 1
echo "every include points downward"
