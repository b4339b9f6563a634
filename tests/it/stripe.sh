#!/usr/bin/env bash
# The Stripe adapter beside Stripe's own client, npm `stripe`
# (tests/stripe/stripe.mjs), and the webhook vectors as that client makes them.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need node npm
[ -x "$top_builddir/tests/store/stripe_calls" ] || it_skip_all "no unit tests"

# The source tree may be read-only (make distcheck).
cp -R "$srcdir/tests/stripe" "$IT/stripe" && chmod -R u+w "$IT/stripe"
cd "$IT/stripe" || it_bail "no folder"
if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
	npm ci --ignore-scripts --no-audit --no-fund >"$IT/npm.log" 2>&1 ||
		it_bail "npm ci: $(tail -n 5 "$IT/npm.log")"
fi
it_eq "the vectors are what the client makes" \
	"$(node vectors.mjs --print | sha256sum)" "$(sha256sum <vectors.json)"
timeout -k 10 120 node stripe.mjs "$top_builddir/tests/store/stripe_calls"
it_eq "the adapter and the client agree" $? 0
it_summary
