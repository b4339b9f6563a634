#!/usr/bin/env bash
# The PostgreSQL layer against a private server.
exec bash "$(dirname "$0")/../it/with.sh" pg -- "$top_builddir/tests/store/test_pg"
