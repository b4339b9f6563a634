#!/usr/bin/env bash
# Orders through nginx: placed by a guest and by a customer, repeated, read,
# cancelled; what must not be told or done by anybody else.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need curl jq initdb redis-server nginx
it_souk_install
it_start_pg
it_start_redis
it_ini shop.shipping=500 shop.tax=8.25
it_sample
it_start_nginx
it_start_fcgi shop.shipping=500 shop.tax=8.25
eq() { it_eq "$1" "$3" "$2"; } # the expectation first
code() { jq -r .code <"$IT/body"; }
of() { jq -r "$1" <"$IT/body"; }

read -r product variant price < <(it_psql -F ' ' -c "
	SELECT p.id, min(v.id), min(v.price) FROM product p JOIN variant v
	ON v.product_id = p.id WHERE p.status = 'active' GROUP BY p.id
	HAVING count(*) = 1 AND min(v.stock) > 5 ORDER BY p.id LIMIT 1")
several=$(it_psql -c "SELECT product_id FROM variant GROUP BY 1
	HAVING count(*) > 1 ORDER BY 1 LIMIT 1")
items="[{\"productId\":$product,\"quantity\":1},
	{\"productId\":$product,\"variantId\":$variant,\"quantity\":1}]"
body() { printf '{"email":"guest@shop.test","items":%s%s}' "${1:-$items}" "${2:-}"; }
# post PATH BODY [CURL-ARG...]: the status
post() {
	local path=$1 data=$2
	shift 2
	it_status "$path" -H 'Content-Type: application/json' "$@" \
		--data-binary "$data"
}
count() { it_psql -c "SELECT count(*) FROM orders"; }
key() { printf 'Idempotency-Key: %s' "$1"; }
K=a-guests-key-nobody-guesses

# ---- a guest
eq "a guest orders" 201 "$(post /api/orders "$(body)" -H "$(key $K)")"
first=$(cat "$IT/body") id=$(of .id) t=$(of .accessToken)
eq "where it is" "/api/orders/$id" "$(it_header Location)"
eq "it is pending" pending "$(of .status)"
net=$((2 * price + 500)) tax=$(((net * 825 + 5000) / 10000))
eq "lines, shipping and tax are summed" "2 500 $tax $((net + tax))" \
	"$(of '"\(.items[0].quantity) \(.shipping) \(.tax) \(.total)"')"
eq "the lines of one variant are one" 1 "$(of '.items | length')"
eq "nobody may keep the answer" "private, no-store" "$(it_header Cache-Control)"
eq "four tasks are written with it" \
	"decrease_stock,order_confirmation,order_placed,process_payment" \
	"$(it_psql -c "SELECT string_agg(type, ',' ORDER BY type) FROM outbox")"
eq "the payment waits for the stock" process_payment \
	"$(it_psql -c "SELECT type FROM outbox WHERE visible_at = 'infinity'")"
eq "only a hash of the secret is kept" 0 "$(it_psql -c "
	SELECT count(*) FROM orders WHERE position('$t' IN orders::text) > 0")"

eq "the same again" 201 "$(post /api/orders "$(body)" -H "$(key $K)")"
eq "gets the same answer" "$first" "$(cat "$IT/body")"
eq "another body under the key" 422 \
	"$(post /api/orders "$(body "$items" ',"x":1')" -H "$(key $K)")"
eq "is a mismatch" idempotency_mismatch "$(code)"
eq "a key that can be guessed" 400 "$(post /api/orders "$(body)" -H "$(key short)")"
eq "there is one order" 1 "$(count)"

for i in 1 2 3 4 5 6 7 8; do
	curl -sS --max-time 20 -o "$IT/same.$i" -H "$(key $K-2)" \
		-H 'Content-Type: application/json' --data-binary "$(body)" \
		"$SOUK_URL/api/orders" &
	wait_for[i]=$!
done
wait "${wait_for[@]}"
eq "eight at once with one key get one answer" 1 \
	"$(cat "$IT"/same.* | tr '}' '\n' | grep -o '"accessToken":".*"' | sort -u | wc -l)"
eq "and make one order" 2 "$(count)"

# ---- what is refused, and writes nothing
refused() { # STATUS CODE NAME BODY [CURL-ARG...]
	local want=$1 why=$2 name=$3 data=$4
	shift 4
	eq "$name" "$want $why" "$(post /api/orders "$data" "$@") $(code)"
}
refused 422 variant_required "several variants, none named" \
	"$(body "[{\"productId\":$several,\"quantity\":1}]")"
refused 404 product_not_found "no such product" \
	"$(body '[{"productId":999999999,"quantity":1}]')"
refused 422 invalid_field "no such variant" \
	"$(body "[{\"productId\":$product,\"variantId\":999999999,\"quantity\":1}]")"
refused 409 out_of_stock "more than there is" \
	"$(body "[{\"productId\":$product,\"quantity\":999}]")"
refused 422 invalid_field "nothing" "$(body '[]')"
refused 422 invalid_field "a quantity of text" \
	"$(body "[{\"productId\":$product,\"quantity\":\"1\"}]")"
refused 422 invalid_field "a negative quantity" \
	"$(body "[{\"productId\":$product,\"quantity\":-1}]")"
refused 422 invalid_field "no e-mail address" "{\"items\":$items}"
refused 422 invalid_field "an e-mail address with a header" \
	"{\"email\":\"a@b.cc\\nBcc: x@y.zz\",\"items\":$items}"
refused 422 invalid_field "half an address" \
	"$(body "$items" ',"address":{"name":"A"}')"
refused 400 invalid_json "not JSON" '{"items":'
eq "a form" "415 unsupported_media_type" \
	"$(it_status /api/orders -d 'items=1') $(code)"
refused 403 cross_origin "another site" "$(body)" -H 'Origin: https://evil.example'
eq "a price of the client's is ignored" 201 "$(post /api/orders "$(body \
	"[{\"productId\":$product,\"quantity\":1,\"price\":1}]" ',"total":1')")"
eq "there is that one more" 3 "$(count)"

# ---- who may see it
eq "with its token" 200 "$(it_status "/api/orders/$id?t=$t")"
eq "it is his" "guest@shop.test" "$(of .email)"
eq "without" 404 "$(it_status "/api/orders/$id")"
eq "that is not kept for others" "private, no-store" "$(it_header Cache-Control)"
eq "with it after that" 200 "$(it_status "/api/orders/$id?t=$t")"
eq "with another's" 404 "$(it_status "/api/orders/$id?t=${t}x")"
eq "as a bearer" 200 "$(it_status "/api/orders/$id" -H "Authorization: Bearer $t")"
eq "an admin" 200 "$(it_status "/api/orders/$id" \
	-H "Authorization: Bearer $(it_token)")"
eq "no admin" 401 "$(it_status "/api/orders/$id" \
	-H "Authorization: Bearer souk_nonsense")"
eq "a number is no order" 404 "$(it_status "/api/orders/1?t=$t")"

# ---- a customer
# Set-Cookie is not for jars here: the value alone.
post /api/register '{"email":"own@shop.test","password":"cloud berry 81 zz"}' >/dev/null
mine=$(it_header Set-Cookie | sed -n 's/^\(souk_session=[^;]*\).*/\1/p')
post /api/register '{"email":"two@shop.test","password":"cloud berry 82 zz"}' >/dev/null
other=$(it_header Set-Cookie | sed -n 's/^\(souk_session=[^;]*\).*/\1/p')
eq "a customer orders" 201 "$(post /api/orders "{\"items\":$items}" \
	-H "Cookie: $mine" -H "$(key $K)")"
own=$(of .id)
eq "under the guest's key it is another order" 4 "$(count)"
eq "without a secret" null "$(of .accessToken)"
eq "with his own address" own@shop.test \
	"$(it_psql -c "SELECT email FROM orders WHERE id = '$own'")"
eq "he sees it" 200 "$(it_status "/api/orders/$own" -H "Cookie: $mine")"
eq "another does not" 404 "$(it_status "/api/orders/$own" -H "Cookie: $other")"
eq "nor cancels it" 404 "$(post "/api/orders/$own/cancel" '{}' -H "Cookie: $other")"
eq "nor pays it" 404 "$(post "/api/orders/$own/payment" '{}' -H "Cookie: $other")"
eq "who the body says is nobody" 201 "$(post /api/orders \
	"$(body "$items" ',"customerId":1')")"
eq "it is a guest's" "" "$(it_psql -c "SELECT customer_id FROM orders
	ORDER BY created_at DESC LIMIT 1")"

# ---- its end
eq "its first payment is still to come" "409 payment_in_progress" \
	"$(post "/api/orders/$own/payment" '{}' -H "Cookie: $mine") $(code)"
eq "from another site it is not cancelled" 403 "$(post \
	"/api/orders/$own/cancel" '{}' -H "Cookie: $mine" -H 'Origin: https://evil.example')"
eq "he cancels it" 200 "$(post "/api/orders/$own/cancel" '{}' -H "Cookie: $mine")"
eq "it says why" "cancelled by_buyer" "$(of '"\(.status) \(.reason)"')"
eq "again" 200 "$(it_status "/api/orders/$own/cancel" -X POST -H "Cookie: $mine")"
eq "the guest too, by his token" 200 \
	"$(post "/api/orders/$id/cancel" "{\"accessToken\":\"$t\"}")"
eq "the hidden payments are gone" 3 "$(it_psql -c "SELECT count(*) FROM outbox
	WHERE type = 'process_payment'")"
it_psql -c "UPDATE orders SET status = 'paid' WHERE id = '$own'" >/dev/null
eq "a paid one stays" "409 wrong_state" \
	"$(post "/api/orders/$own/cancel" '{}' -H "Cookie: $mine") $(code)"

# ---- the stock's figure
token=$(it_token)
eq "the stock" 200 "$(it_status "/api/products/$product/stock")"
was=$(of .version)
eq "is changed" 200 "$(it_status "/api/products/$product" -X PUT \
	-H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
	-d "{\"variants\":[{\"id\":$variant,\"stock\":7}]}")"
it_wait_for 3 sh -c "curl -fsS '$SOUK_URL/api/products/$product/stock' |
	jq -e '.stock == 7 and .version > $was'"
eq "and told with a greater version" 0 $?

# ---- PostgreSQL away
it_stop pg
eq "orders wait for PostgreSQL" 503 "$(post /api/orders "$(body)" -H "$(key $K)")"
it_start_pg
eq "and go on" 201 "$(post /api/orders "$(body)" -H "$(key $K)")"
eq "with the same answer" "$first" "$(cat "$IT/body")"
it_summary
