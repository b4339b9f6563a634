#!/usr/bin/env bash
# Sessions with PostgreSQL and Redis, seen from one process.
test=${top_builddir:-.}/tests/shop/test_session
[ -x "$test" ] || { echo "built without unit tests"; exit 77; }
command -v redis-server >/dev/null || { echo "no redis-server"; exit 77; }
src=$(cd "$(dirname "$0")/../.." && pwd)
export SOUK_CONF='' SOUK_POSTGRES_MIGRATIONS="$src/sql"
exec bash "$src/tests/it/with.sh" pg redis -- bash -c '
	"$top_builddir/ctl/soukctl" --quiet migrate >/dev/null &&
	exec "$top_builddir/tests/shop/test_session"'
