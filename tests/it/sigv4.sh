#!/usr/bin/env bash
# Our signatures beside those of the AWS SDK's own signer, npm
# `@smithy/signature-v4` (tests/aws/vectors.mjs): the recorded requests are what
# it makes, and others are drawn anew each time.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need node npm
[ -x "$top_builddir/tests/store/test_sigv4" ] || it_skip_all "no unit tests"

# The source tree may be read-only (make distcheck).
cp -R "$srcdir/tests/aws" "$IT/aws" && chmod -R u+w "$IT/aws"
cd "$IT/aws" || it_bail "no folder"
if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
	npm ci --ignore-scripts --no-audit --no-fund >"$IT/npm.log" 2>&1 ||
		it_bail "npm ci: $(tail -n 5 "$IT/npm.log")"
fi
it_eq "the recorded requests are what the signer makes" \
	"$(node vectors.mjs --print | sha256sum)" "$(sha256sum <vectors.json)"
seed=${SOUK_SEED:-$RANDOM}
node vectors.mjs --random 500 "$seed" >drawn.json ||
	it_bail "vectors.mjs: no requests"
"$top_builddir/tests/store/test_sigv4" "$PWD/drawn.json" >drawn.log 2>&1
code=$?
[ $code = 0 ] || sed 's/^/# /' drawn.log
it_eq "500 drawn requests are signed the same (SOUK_SEED=$seed)" $code 0
it_summary
