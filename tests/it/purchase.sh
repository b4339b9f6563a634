#!/usr/bin/env bash
# POST /api/flash-sale/purchase through nginx: who may, what is refused in which
# order, one effect for one key, and what a 503 leaves to go on with.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need curl jq initdb redis-server nginx
it_souk_install
it_start_pg
it_start_redis
it_ini
it_sample
it_start_fcgi sale.deadline=2s postgres.connect=1s
it_start_nginx

path=/api/flash-sale/purchase
# The expectation first: it is what is short.
eq() { it_eq "$1" "$3" "$2"; }
code() { jq -r .code <"$IT/body"; }
# buyer N: its cookie. A session as a login leaves it.
buyer() {
	local token
	token=$(printf '%042dA' "$1")
	it_psql -c "WITH c AS (INSERT INTO customer (email)
		VALUES ('b$1@x.test') ON CONFLICT DO NOTHING RETURNING id)
		INSERT INTO session (token_hash, customer_id, expires_at)
		SELECT sha256('$token'), id, now() + interval '1 day' FROM c"
	cookie=souk_session=$token
}
# post BODY [CURL-ARG...]: as the buyer at hand; prints the status
post() {
	local body=$1
	shift
	it_status "$path" -H 'Content-Type: application/json' \
		-b "$cookie" --data-binary "$body" "$@"
}
# sale ALLOTMENT STATE START END: its id and product in $sale, $product
sale() {
	read -r product variant <<-ROW
		$(it_psql -F ' ' -c "SELECT product_id, v.id FROM variant v
			WHERE NOT EXISTS (SELECT FROM sale_item i
			 WHERE i.variant_id = v.id) ORDER BY v.id LIMIT 1")
	ROW
	sale=$(it_psql -c "INSERT INTO sale (title, starts_at, ends_at) VALUES
		('s', now() + interval '$3', now() + interval '$4')
		RETURNING id" | head -n 1)
	it_psql -c "INSERT INTO sale_item (sale_id, product_id, variant_id,
		price, allotment, state) VALUES ($sale, $product, $variant,
		3000, $1, '$2')"
	buy="{\"saleId\":$sale,\"productId\":$product}"
}
stock_left() {
	it_psql -c "SELECT allotment - (SELECT count(*) FROM sale_unit u WHERE
		u.item_id = i.id) FROM sale_item i WHERE sale_id = $sale"
}

sale 2 open '-1 hour' '1 hour'

it_note "who, and the form"
cookie=souk_session=nobody
eq "nobody" "401 unauthorized" "$(post '{') $(code)"
buyer 1
for c in '{|400 invalid_json' '[]|400 invalid_json' \
	'{}|422 invalid_field' "{\"saleId\":$sale}|422 invalid_field" \
	'{"saleId":"1","productId":1}|422 invalid_field' \
	'{"saleId":1.5,"productId":1}|422 invalid_field' \
	'{"saleId":0,"productId":1}|422 invalid_field' \
	"{\"saleId\":$sale,\"productId\":$product,\"variantId\":null}|422 invalid_field" \
	"{\"saleId\":$sale,\"productId\":$product,\"payment\":1}|422 invalid_field" \
	"{\"saleId\":$sale,\"productId\":$product,\"payment\":{\"token\":1}}|422 invalid_field" \
	"{\"saleId\":$sale,\"productId\":$product,\"payment\":{\"token\":\"a b\"}}|422 invalid_field" \
	"{\"saleId\":999999999,\"productId\":$product}|404 sale_not_found" \
	"{\"saleId\":$sale,\"productId\":$product,\"variantId\":1$variant}|404 sale_not_found"; do
	eq "${c%|*}" "${c##*|}" "$(post "${c%|*}") $(code)"
done
eq "not JSON" 415 "$(it_status "$path" -H 'Content-Type: text/plain' \
	-b "$cookie" --data-binary "$buy")"
eq "from another site" 403 "$(post "$buy" -H 'Origin: https://evil.example')"
eq "a key that is none" 400 "$(post "$buy" -H 'Idempotency-Key: a b')"
eq "nothing was sold by all that" 2 "$(stock_left)"

it_note "one effect for one key"
eq "bought" 200 "$(post "$buy" -H 'Idempotency-Key: one')"
eq "not for any cache" 'private, no-store' "$(it_header Cache-Control)"
order=$(jq -r .orderId <"$IT/body")
first=$(cat "$IT/body")
eq "its id is 32 digits" 32 "$(printf %s "$order" | tr -d -c 0-9a-f | wc -c)"
eq "once more" 200 "$(post "$buy" -H 'Idempotency-Key: one')"
eq "the same answer" "$first" "$(cat "$IT/body")"
eq "another body" "422 idempotency_mismatch" \
	"$(post "{\"saleId\":$sale,\"productId\":$product, \"x\":1}" \
		-H 'Idempotency-Key: one') $(code)"
eq "one over his limit" "400 limit_reached" "$(post "$buy") $(code)"
# An order's id is no key to it, and another's key is his own.
buyer 2
eq "another person's order is not had by its id" 200 \
	"$(post "$buy" -H "Idempotency-Key: one")"
it_ok "it is another order" test "$(jq -r .orderId <"$IT/body")" != "$order"
buyer 3
eq "sold out" '{"error":"Sold out","code":"sold_out"}' \
	"$(post "$buy" >/dev/null; cat "$IT/body")"
eq "and again" "400 sold_out" "$(post "$buy") $(code)"
eq "all sold" 0 "$(stock_left)"

it_note "a unit that comes back can be bought within a second"
it_psql -c "DELETE FROM sale_unit WHERE order_id = '$order';
	UPDATE orders SET status = 'cancelled' WHERE id = '$order'" >/dev/null
it_redis EVAL "redis.call('HDEL', KEYS[1], ARGV[1])
	redis.call('HDEL', KEYS[2], '1') redis.call('ZADD', KEYS[3], 1, 1)
	redis.call('PUBLISH', 'sale:again', ARGV[2])" 3 \
	"stock:{$sale:$variant}:holds" "stock:{$sale:$variant}:units" \
	"stock:{$sale:$variant}:free" "$order" "$sale:$variant" >/dev/null
bought() { [ "$(post "$buy")" = 200 ]; }
it_ok "it was" it_wait_for 2 bought

it_note "before, after, and not yet opened"
buyer 4
sale 2 open '1 hour' '2 hours'
eq "not started" "400 sale_not_started" "$(post "$buy") $(code)"
sale 2 open '-2 hours' '-1 hour'
eq "ended" "400 sale_ended" "$(post "$buy") $(code)"
sale 2 draft '-1 hour' '1 hour'
eq "a draft" "400 sale_not_started" "$(post "$buy") $(code)"
sale 2 closed '-1 hour' '1 hour'
eq "closed" "400 sale_ended" "$(post "$buy") $(code)"

it_note "PostgreSQL away after the script"
sale 5 open '-1 hour' '1 hour'
buyer 5
eq "a sale that goes on" 200 "$(post "$buy")"
buyer 6
post '{}' >/dev/null # his session is known
# A lock that the insertion meets, as one who does not commit.
it_psql -c "BEGIN; LOCK TABLE sale_unit IN EXCLUSIVE MODE;
	SELECT pg_sleep(4); ROLLBACK" >/dev/null &
locker=$!
sleep 0.5
eq "503" 503 "$(post "$buy")"
key=$(it_header Idempotency-Key)
it_match "says what to try again with" "$key" '^[0-9a-f]{32}$'
it_match "and when" "$(it_header Retry-After)" '^[0-9]+$'
wait "$locker"
eq "the next try" 200 "$(post "$buy" -H "Idempotency-Key: $key")"
eq "is the same hold: one order" 3 "$(stock_left)"
eq "one hold each" 3 "$(it_redis HLEN "stock:{$sale:$variant}:holds")"

it_note "a rush on tables that were just seen to be all but empty"
it_psql -U postgres -c "VACUUM ANALYZE"
it_stop fcgi
scans() {
	it_psql -c "SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname
		IN ('orders', 'order_line', 'sale_unit', 'outbox', 'session')"
}
sale 100 open '-1 hour' '1 hour'
for n in {40..69}; do
	buyer $n
done
before=$(scans)
it_start_fcgi fcgi.children=1 sale.deadline=2s postgres.connect=1s
for n in {40..69}; do
	cookie=souk_session=$(printf '%042dA' $n)
	post "$buy"
done >"$IT/rush"
eq "all of them buy" 30 "$(grep -o 200 "$IT/rush" | wc -l)"
it_stop fcgi
eq "no table was read from end to end" "$before" "$(scans)"
it_start_fcgi sale.deadline=2s postgres.connect=1s

it_note "Redis away"
it_stop redis
eq "503" 503 "$(post "$buy")"

it_note "the counters on a Redis of their own"
it_stop fcgi
it_start_redis
it_mkdir "$IT/redis2"
it_spawn redis2 TERM "${IT_AS[@]+"${IT_AS[@]}"}" redis-server --port 0 \
	--unixsocket "$IT/redis2/sock" --unixsocketperm 777 \
	--dir "$IT/redis2" --daemonize no --save ''
two() { redis-cli -s "$IT/redis2/sock" "$@"; }
it_ok "it runs" it_wait_for 10 two PING
export SOUK_REDIS_SALE_URL=unix://$IT/redis2/sock
it_start_fcgi fcgi.children=1
sale 1 open '-1 hour' '1 hour'
buyer 7
eq "a purchase" 200 "$(post "$buy")"
order=$(jq -r .orderId <"$IT/body")
eq "its counter is there" 1 "$(two EXISTS "stock:{$sale:$variant}")"
eq "and not in the other" 0 "$(it_redis EXISTS "stock:{$sale:$variant}")"
buyer 8
eq "sold out" "400 sold_out" "$(post "$buy") $(code)"
for _ in 1 2 3 4 5; do post "$buy" >/dev/null; done
asked=$(two INFO commandstats | sed -n 's/^cmdstat_evalsha:calls=\([0-9]*\).*/\1/p')
post "$buy" >/dev/null
eq "which this process knows by itself" "$asked" "$(two INFO commandstats |
	sed -n 's/^cmdstat_evalsha:calls=\([0-9]*\).*/\1/p')"
it_summary
