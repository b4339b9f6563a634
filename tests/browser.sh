#!/usr/bin/env bash
# The quick start's shop in a real browser (headless Chromium), its pages held
# to the Nu HTML checker and to axe-core: tests/browser/run.mjs. Screenshots go
# to tests/screenshots/ (or $SOUK_SCREENSHOTS).
. "$(dirname "${BASH_SOURCE[0]}")/it/lib.sh"
it_need node npm chromium java curl

browser=$srcdir/tests/browser
[ -e "$browser/run.mjs" ] || it_skip_all "no tests/browser/run.mjs"
if ! (cd "$browser" && [ node_modules/.package-lock.json -nt package-lock.json ]); then
	# Scripts of packages are not run: none is needed, and vnu-jar's would
	# fetch a Java of its own.
	(cd "$browser" && npm ci --ignore-scripts --no-audit --no-fund) \
		>"$IT/npm.log" 2>&1 || it_bail "npm ci: $(tail -n 5 "$IT/npm.log")"
fi

it_port PORT
down() {
	"$srcdir/quickstart" down --dir "$IT/shop" >/dev/null 2>&1
	it_end
}
trap down EXIT
"$srcdir/quickstart" --dir "$IT/shop" --port "$PORT" --detach \
	>"$IT/quickstart.log" 2>&1 </dev/null || it_bail "$(cat "$IT/quickstart.log")"
# shellcheck disable=SC1091
. "$IT/shop/env"
export SOUK_SCREENSHOTS=${SOUK_SCREENSHOTS:-$srcdir/tests/screenshots}
export CHROMIUM=${CHROMIUM:-$(command -v chromium)}
SOUK_MAILDIR=${SOUK_MAILDIR:-$(sed -n 's/^url *= *maildir://p' "$SOUK_CONF")}
[ -z "$SOUK_MAILDIR" ] || export SOUK_MAILDIR
mkdir -p "$SOUK_SCREENSHOTS"
cd "$browser" || it_bail "no $browser"
timeout -k 10 900 node run.mjs
rc=$?
[ $rc = 0 ] || { tail -n 20 "$IT/shop/log/fcgi.log" | sed 's/^/# /'; exit 1; }
