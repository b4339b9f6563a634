#!/usr/bin/env bash
# Payments and their sandbox, with a private PostgreSQL that has the schema.
. "$(dirname "$0")/../it/lib.sh"
it_need initdb psql
it_start_pg -c fsync=off -c synchronous_commit=off
for f in "$srcdir"/sql/*.sql; do
	it_psql -1 -f "$f" >"$IT/schema.out" 2>&1 ||
		it_bail "$f: $(tail -n 3 "$IT/schema.out")"
done
export SOUK_PAYMENT_TIMEOUT=1s SOUK_POSTGRES_QUERY=10s SOUK_ORDER_EXPIRES=15m
export SOUK_PAYMENT_STRIPE_WEBHOOK_SECRET=whsec_test
export REDIS_URL=unix:///nonexistent/redis
for t in tests/store/test_pay tests/shop/test_payment; do
	"$top_builddir/$t"
	rc=$?
	it_eq "$t" $rc 0
done
it_summary
