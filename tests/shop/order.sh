#!/usr/bin/env bash
# Orders, stock and carts with PostgreSQL and Redis.
test=${top_builddir:-.}/tests/shop/test_order
[ -x "$test" ] || { echo "built without unit tests"; exit 77; }
SOUK_POSTGRES_MIGRATIONS=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)/sql
export SOUK_POSTGRES_MIGRATIONS
exec bash "$(dirname "$0")/../it/with.sh" pg redis -- sh -c \
	'"$top_builddir/ctl/soukctl" migrate --quiet >/dev/null && exec "$0"' "$test"
