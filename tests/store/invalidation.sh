#!/usr/bin/env bash
# Invalidation as it survives crashes, lagging replicas and lost Redis servers.
# The test starts its own Redis, since it kills it.
command -v redis-server >/dev/null || { echo "no redis-server"; exit 77; }
test=${top_builddir:-.}/tests/store/test_invalidation
[ -x "$test" ] || { echo "built without unit tests"; exit 77; }
exec bash "$(dirname "$0")/../it/with.sh" pg pg-replica=5s -- "$test"
