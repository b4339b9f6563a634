#!/usr/bin/env bash
# lib/shop/notice.c against a private server.
test=${top_builddir:-.}/tests/shop/test_notice
[ -x "$test" ] || { echo "built without unit tests"; exit 77; }
export SHOP_SQL="${srcdir:-.}/sql" SHOP_TEMPLATES="${srcdir:-.}/templates"
exec bash "$(dirname "$0")/../it/with.sh" pg -- "$test"
