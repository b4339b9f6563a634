#!/usr/bin/env bash
# The embedded queue against a private server.
test=${top_builddir:-.}/tests/store/test_queue
[ -x "$test" ] || { echo "built without unit tests"; exit 77; }
export QUEUE_SQL="${srcdir:-.}/sql"
exec bash "$(dirname "$0")/../it/with.sh" pg -- "$test"
