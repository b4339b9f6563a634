#!/usr/bin/env bash
# The counter of a sale against a private PostgreSQL; its Redis servers are its
# own.
exec bash "$(dirname "$0")/../it/with.sh" pg -- "$top_builddir/tests/shop/test_counter"
