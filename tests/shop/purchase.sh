#!/usr/bin/env bash
# A purchase against a private PostgreSQL; its Redis is its own.
exec bash "$(dirname "$0")/../it/with.sh" pg -- "$top_builddir/tests/shop/test_purchase"
