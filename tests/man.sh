#!/usr/bin/env bash
# The manual pages are right in form (mandoc's lint), name every command and
# every key, and every program has one.
. "${srcdir:-$(dirname "$0")/..}/tests/it/lib.sh"
it_need mandoc
it_not_twice
cd "$top_builddir" || exit 99
plain() { sed $'s/.\b//g'; } # without what is struck over
for page in man/soukctl.8 man/souk.ini.5 man/souk-fcgi.8 \
	man/souk-workers.8 man/souk.7; do
	# mandoc knows the pages of this system, not those being installed.
	out=$(mandoc -T lint -W style "$page" |
		grep -v 'referenced manual not found\|Mdocdate\|outdated mandoc.db')
	it_eq "$page" "$out" ""
done
text=$(mandoc -T utf8 man/soukctl.8 | plain)
while read -r name _; do
	it_match "soukctl(8) has: $name" "$text" "^ *${name//_/ }"
done < <(./ctl/soukctl manual | sed -n 's/^\.It Ic \([a-z ]*\).*/\1/p' | sed 's/ *$//; s/ /_/g')
text=$(mandoc -T utf8 man/souk.ini.5 | plain)
for key in $(./ctl/soukctl conf dump | sed -n 's/^\([a-z_]*\) = .*/\1/p' | sort -u); do
	it_match "souk.ini(5) has: $key" "$text" "^ *$key"
done
it_exit "no path is left unfilled" 1 grep -n '@[A-Z]*@' man/*.[578]
it_summary
