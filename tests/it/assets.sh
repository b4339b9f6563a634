#!/usr/bin/env bash
# soukctl assets: names by content, links in style sheets, what cannot be.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need gzip
soukctl=$top_builddir/ctl/soukctl
src=$IT/src out=$IT/out
mkdir "$src"
{ printf '<svg xmlns="http://www.w3.org/2000/svg">' && printf '%0500d' 0 && printf '</svg>'; } >"$src/dot.svg"
cat >"$src/a.css" <<'CSS'
a{background:url(dot.svg)} b{background:url( "dot.svg#x" )}
c{background:url('data:image/svg+xml,(q r)')} d{src:url(/x/y.woff2)} e{fill:url(#g)}
CSS
printf 'tiny' >"$src/t.js"
printf 'left alone' >"$src/notes.md"
hash() { sha256sum "$1" | cut -c1-12; }

it_ok "made" "$soukctl" assets "$src" "$out"
dot=dot.$(hash "$src/dot.svg").svg
it_ok "a file is named by its SHA-256" cmp "$src/dot.svg" "$out/$dot"
it_eq "gzip holds the same bytes" "$(gzip -dc "$out/$dot.gz" | sha256sum)" "$(sha256sum <"$src/dot.svg")"
it_exit "what would not shrink is not compressed" 1 test -e "$out/t.$(hash "$src/t.js").js.gz"
css=$(ls "$out"/a.*.css)
it_eq "links follow the names, and nothing else changes" "$(cat "$css")" \
	"a{background:url($dot)} b{background:url( \"$dot#x\" )}
c{background:url('data:image/svg+xml,(q r)')} d{src:url(/x/y.woff2)} e{fill:url(#g)}"
it_eq "the sheet is named by what it became" "${css##*/}" "a.$(hash "$css").css"
it_eq "the manifest" "$(tr -d ' \n' <"$out/manifest.json")" \
	"{\"a.css\":\"${css##*/}\",\"dot.svg\":\"$dot\",\"t.js\":\"t.$(hash "$src/t.js").js\"}"
sum=$(cat "$out"/* | sha256sum)
it_ok "again" "$soukctl" assets "$src" "$out"
it_eq "gives the same bytes" "$(cat "$out"/* | sha256sum)" "$sum"
echo '<!-- -->' >>"$src/dot.svg"
it_ok "a picture changes" "$soukctl" assets "$src" "$out"
it_eq "and with it the sheet's name; the old one stays" \
	"$(find "$out" -name 'a.*.css' | wc -l)" 2
it_eq "nothing half-written stays" "$(find "$out" -name '*.tmp')" ""
echo 'a{background:url(gone.svg)}' >"$src/b.css"
it_exit "a link to nothing is refused" 100 "$soukctl" assets "$src" "$out"
it_match "and named" "$("$soukctl" assets "$src" "$out" 2>&1)" 'b.css: url\(gone.svg\)'
it_exit "a folder that is not there" 100 "$soukctl" assets "$src/no" "$out"
it_summary
