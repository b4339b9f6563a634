#!/usr/bin/env bash
# Every call of the stores fails once, and every allocation (torture.c): a
# sample of them, TORTURE_SAMPLE=1 for all (make torture).
. "$(dirname "$0")/../it/lib.sh"
test=$top_builddir/tests/torture/torture
[ -x "$test" ] || it_skip_all "built without unit tests"
it_need initdb redis-server
it_start_pg -c fsync=off -c synchronous_commit=off
export SOUK_CONF='' SOUK_FCGI_TEMPLATES=$srcdir/templates
export TORTURE_SAMPLE=${TORTURE_SAMPLE:-20} TORTURE_SEED=${TORTURE_SEED:-1}
"$test"
it_eq "whatever fails, the shop's books are right" $? 0
it_summary
