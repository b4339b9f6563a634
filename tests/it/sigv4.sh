#!/usr/bin/env bash
# Our signatures beside those of the AWS SDK's own signer, npm
# `@smithy/signature-v4` (tests/aws/vectors.mjs): the recorded requests are what
# it makes, and others are drawn anew each time.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/aws_lib.sh"
[ -x "$top_builddir/tests/store/test_sigv4" ] || it_skip_all "no unit tests"

it_aws_packages
cd "$IT/aws" || it_bail "no folder"
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
