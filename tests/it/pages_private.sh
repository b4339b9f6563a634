#!/usr/bin/env bash
# What a person sees when buying, as a browser without scripts sends it: forms
# with their tokens, 303 after a success, one order whatever is sent twice,
# and nothing of it for anybody else or for any cache.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need curl jq initdb redis-server nginx
it_souk_install
it_start_pg
it_start_redis
it_ini shop.shipping=500 shop.tax=8.25
it_sample
it_mkdir "$IT/mail"
it_start_fcgi shop.shipping=500 shop.tax=8.25 "mail.url=maildir:$IT/mail" \
	workers.backoff=100ms sale.deadline=2s
it_start_nginx
it_settled

jar=$IT/jar
# say PATH [ARG...]: GET or POST as this visitor; status
say() { it_status "$@" -b "$jar" -c "$jar"; }
body() { cat "$IT/body"; }
# hidden NAME: a hidden field of the page that was just shown (the last of it)
hidden() {
	sed -n 's/.*<input type="hidden" name="'"$1"'" value="\([^"]*\)".*/\1/p' \
		"$IT/body" | tail -n 1
}
# post PATH FIELD...: with the token of the page that was just shown
post() {
	local path=$1 f args=()
	shift
	for f; do args+=(--data-urlencode "$f"); done
	say "$path" --data-urlencode "form_token=$(hidden form_token)" "${args[@]}"
}
orders() { it_psql -c 'SELECT count(*) FROM orders'; }
private='private, no-store'

read -r product variant price <<-ROW
	$(it_psql -F ' ' -c "SELECT p.id, v.id, v.price FROM product p
		JOIN variant v ON v.product_id = p.id
		WHERE p.status = 'active' AND v.stock BETWEEN 5 AND 900
		AND (SELECT count(*) FROM variant w WHERE w.product_id = p.id) = 1
		ORDER BY v.price LIMIT 1")
ROW
read -r many one <<-ROW
	$(it_psql -F ' ' -c "SELECT p.id, min(v.id) FROM product p
		JOIN variant v ON v.product_id = p.id
		WHERE p.status = 'active' AND v.stock > 0
		GROUP BY p.id HAVING count(*) > 1 ORDER BY p.id LIMIT 1")
ROW

it_note "a public page holds no token and no key, and sets no cookie"
for p in "/products/$product" / ; do
	it_status "$p" >/dev/null
	cp "$IT/body" "$IT/plain"
	it_eq "$p: no cookie" "$(it_header Set-Cookie)" ''
	it_eq "$p: nothing hidden but what the product is" \
		"$(grep -c 'form_token\|name="key"' "$IT/body")" 0
	it_status "$p" -b 'souk_cart=x; souk_session=y' >/dev/null
	it_ok "$p: the same bytes for somebody else" cmp "$IT/body" "$IT/plain"
done
it_match "it leads to the private page" \
	"$(it_get "/products/$product")" 'action="/cart/add" method="get"'

it_note "an empty cart"
it_eq "is a page" "$(say /cart)" 200
it_match "that says so" "$(body)" 'Your cart is empty'
it_eq "for nobody else" "$(it_header Cache-Control)" "$private"
it_match "its cookie is out of scripts' reach" "$(it_header Set-Cookie)" \
	'^souk_cart=[A-Za-z0-9_-]{43};.*HttpOnly; SameSite=Lax'
it_eq "there is nothing to check out" \
	"$(say /checkout) $(it_header Location)" '303 /cart'

it_note "into the cart"
it_eq "the page before it" \
	"$(say "/cart/add?product=$product&variant=$variant&quantity=2")" 200
it_eq "is private" "$(it_header Cache-Control)" "$private"
it_eq "without its token nothing is added" "$(say /cart \
	-d "product=$product&variant=$variant&quantity=2&do=add")" 403
it_match "and it says what to do" "$(body)" 'open for too long'
it_status "/cart/add?product=$product" -c "$IT/other" >/dev/null
theirs=$(hidden form_token)
it_eq "nor with another's" "${#theirs} $(say /cart -d \
	"form_token=$theirs&product=$product&variant=$variant&quantity=2")" \
	'64 403'
it_eq "nor with one that belongs to nobody" "$(it_status /cart -d \
	"form_token=$(printf 'souk guest form ' | sha256sum |
		cut -d' ' -f1)&product=$product&variant=$variant&quantity=2")" 403
say "/cart/add?product=$product&variant=$variant&quantity=2" >/dev/null
it_eq "nor from another site" "$(say /cart -H 'Origin: https://evil.example' \
	-d "form_token=$(hidden form_token)&product=$product&quantity=2")" 403
it_match "nothing of that was added" "$(say /cart >/dev/null; body)" \
	'Your cart is empty'
say "/cart/add?product=$product&variant=$variant&quantity=2" >/dev/null
it_eq "with it, on to the cart" "$(post /cart "product=$product" \
	"variant=$variant" quantity=2) $(it_header Location)" \
	'303 /cart?say=added'
it_eq "the redirect is nobody else's either" "$(it_header Cache-Control)" \
	"$private"
it_eq "the cart" "$(say '/cart?say=added')" 200
it_match "says that it is in there" "$(body)" 'role="status">It is in your cart'
it_match "two of them" "$(body)" "name=\"q_$variant\"[^>]* value=\"2\""
it_eq "an address cannot make the page say other things" \
	"$(say '/cart?say=sold_out' >/dev/null; body | grep -c 'class="say')" 0
it_eq "of several variants one is to be chosen" \
	"$(say "/cart/add?product=$many" >/dev/null; body |
		grep -c '<select id="variant"')" 1
it_eq "no variant, no place in the cart" \
	"$(post /cart "product=$many" quantity=1)" 422
it_eq "a quantity that is none" "$(say "/cart/add?product=$many" >/dev/null
	post /cart "product=$many" "variant=$one" quantity=-1)" 422
it_match "is said" "$(body)" 'A quantity must be'
it_eq "what is not sold" "$(say /cart/add?product=999999999)" 404
it_eq "is not kept by any cache" "$(it_header Cache-Control)" "$private"

it_note "the cart changes"
say /cart >/dev/null
it_eq "a quantity" "$(post /cart "q_$variant=3" do=update) $(it_header Location)" \
	'303 /cart?say=updated'
it_match "is as it was set" "$(say /cart >/dev/null; body)" \
	"name=\"q_$variant\"[^>]* value=\"3\""
it_eq "no number" "$(post /cart "q_$variant=x" do=update)" 422
it_match "changes nothing" "$(say /cart >/dev/null; body)" \
	"name=\"q_$variant\"[^>]* value=\"3\""
stock=$(it_psql -c "SELECT stock FROM variant WHERE id = $variant")
it_eq "more than there is" "$(post /cart "q_$variant=$((stock + 1))" do=checkout
	) $(it_header Location)" '303 /checkout'
it_eq "does not get to the checkout" "$(say /checkout) $(it_header Location)" \
	'303 /cart'
it_match "the cart says how many are left" "$(say /cart >/dev/null; body)" \
	"Only $stock left"
post /cart "q_$variant=2" do=update >/dev/null
it_psql -c "UPDATE variant SET price = price + 100 WHERE id = $variant"
it_match "a price that has changed is told" "$(say /cart >/dev/null; body)" \
	'The price was'
price=$((price + 100))

# $25.00 of minor units, as the pages write it
money() { printf '$%d.%02d' $(($1 / 100)) $(($1 % 100)); }
lines=$((2 * price))
tax=$((((lines + 500) * 8250 + 50000) / 100000))
total=$((lines + 500 + tax))

it_note "the checkout"
it_eq "is a page" "$(say /checkout)" 200
it_eq "for nobody else" "$(it_header Cache-Control)" "$private"
it_match "tells the price of shipping" "$(body)" '>\$5\.00<'
it_match "the tax" "$(body)" ">\\$(money $tax)<"
it_match "and what is to pay, before anything is placed" "$(body)" \
	"Place the order and pay \\$(money $total)"
address=(name=Ada 'line1=1 Souk Street' city=Fez postal_code=30000 country=ma)
it_eq "what is missing" "$(post /checkout "shown_total=$total" \
	"key=$(hidden key)" email=nobody name=Ada)" 422
it_match "is said in a list on top" "$(body)" \
	'<li><a href="#f-city">City: please fill this in'
it_match "and at the field" "$(body)" \
	'id="f-email"[^>]*aria-invalid="true" aria-describedby="e-email"'
it_match "what was filled in is kept" "$(body)" 'id="f-name"[^>]*value="Ada"'
it_eq "a country that is none" "$(post /checkout "shown_total=$total" \
	"key=$(hidden key)" email=ada@example.com "${address[@]/=ma/=9}")" 422
it_match "is told apart" "$(body)" '<li><a href="#f-country">Country'
it_eq "a total that is not the one shown" "$(post /checkout shown_total=1 \
	"key=$(hidden key)" email=ada@example.com "${address[@]}")" 409
it_match "is explained" "$(body)" 'Prices have changed'
it_eq "no order so far" "$(orders)" 0
key=$(hidden key) token=$(hidden form_token)
pairs=()
for a in "${address[@]}"; do pairs+=(--data-urlencode "$a"); done
place() {
	curl -sS --max-time 20 -o /dev/null -b "$jar" \
		-w '%{http_code} %{redirect_url}\n' "$SOUK_URL/checkout" \
		--data-urlencode "form_token=$token" \
		--data-urlencode "key=$key" -d "shown_total=$total" \
		--data-urlencode email=ada@example.com \
		-d payment_token=tok_declined "${pairs[@]}"
}
pids=()
for i in 1 2 3 4 5 6; do place >"$IT/place.$i" & pids+=($!); done
wait "${pids[@]}"
it_eq "six clicks at once: one answer" \
	"$(sort -u "$IT"/place.* | wc -l)" 1
it_match "303 to the order, with a guest's token" "$(cat "$IT/place.1")" \
	'^303 .*/orders/[0-9a-f]{32}\?t=[A-Za-z0-9_-]{43}$'
it_eq "one order" "$(orders)" 1
it_eq "the seventh, later" "$(place)" "$(cat "$IT/place.1")"
it_eq "one order" "$(orders)" 1
it_match "the cart is empty now" "$(say /cart >/dev/null; body)" 'cart is empty'
it_eq "it costs what was shown" "$(it_psql -c 'SELECT total FROM orders')" \
	"$total"
it_eq "and goes to where it was told" "$(it_psql -c \
	"SELECT address->>'country', email FROM orders")" 'MA|ada@example.com'

it_note "the order's page"
order=$(sed 's|.*\(/orders/\)|\1|' "$IT/place.1")
id=${order#/orders/} id=${id%%\?*} t=${order#*t=}
it_eq "is there for who holds the token" "$(say "$order")" 200
it_eq "and no cache" "$(it_header Cache-Control)" "$private"
it_match "says what was ordered" "$(body)" '2 × <a href="/products/'
it_match "that it has begun" "$(body)" 'aria-current="step">Received'
it_match "and where a script can ask" "$(body)" "data-watch=\"/api/orders/$id"
it_eq "without the token: log in first" \
	"$(it_status "/orders/$id") $(it_header Location)" \
	"303 /login?next=%2Forders%2F$id"
wrong=$(printf '%s' "$t" | tr 'A-Za-z' 'B-ZAb-za')
it_eq "with a wrong one: no such order" "$(it_status "/orders/$id?t=$wrong")" 404
it_eq "which no cache keeps" "$(it_header Cache-Control)" "$private"
it_eq "like one that is not there" \
	"$(it_status "/orders/00000000000000000000000000000000?t=$t")" 404
it_eq "or cannot be" "$(it_status "/orders/x%2F..?t=$t")" 404
it_eq "cancelling it with a wrong token" "$(say "$order" >/dev/null
	post "/orders/$id/cancel" "t=$wrong")" 404
it_eq "changes nothing" "$(it_psql -c 'SELECT status FROM orders')" pending
it_eq "nor without the form's" "$(say "/orders/$id/cancel" -d "t=$t")" 403
it_eq "cancelled by who may" "$(say "$order" >/dev/null
	post "/orders/$id/cancel" "t=$t") $(it_header Location)" "303 $order"
it_eq "it is" "$(it_psql -c 'SELECT status FROM orders')" cancelled
it_match "the page says so" "$(say "$order" >/dev/null; body)" \
	'This order was cancelled'
it_eq "and asks no more" "$(grep -c data-watch "$IT/body")" 0
it_eq "twice is the same" "$(say "/orders/$id/cancel" \
	-d "form_token=$token&t=$t")" 303
it_eq "paying it now is refused" "$(say "/orders/$id/payment" \
	-d "form_token=$token&t=$t&payment_token=tok_ok")" 409
it_match "in words" "$(body)" 'role="alert">That is no longer possible'
it_eq "another method" "$(it_status "/orders/$id" -X DELETE)" 405

it_note "an account"
rm "$jar"
say '/register?next=%2Fcart' >/dev/null
it_eq "made by a form" "$(post /register next=/cart name=Bo \
	email=bo@example.com 'password=correct horse') $(it_header Location)" \
	'303 /cart'
cp "$jar" "$IT/bo"
it_eq "an order of somebody else is not there" \
	"$(say "/orders/$id") $(it_header Cache-Control)" "404 $private"
it_eq "nor can it be cancelled" "$(say /cart/add?product=$product >/dev/null
	post "/orders/$id/cancel")" 404
it_spawn workers TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL \
	-u DATABASE_REPLICA_URL -u REDIS_URL souk-workers

it_note "a guest's cart comes along"
jar=$IT/jar0
say "/cart/add?product=$product&variant=$variant" >/dev/null
post /cart "product=$product" "variant=$variant" quantity=4 >/dev/null
say /login >/dev/null
it_eq "logged in" "$(post /login next=/cart email=bo@example.com \
	'password=correct horse') $(it_header Location)" '303 /cart'
it_match "with what was in it" "$(say /cart >/dev/null; body)" \
	"name=\"q_$variant\"[^>]* value=\"4\""
it_eq "removed by its button" "$(post /cart "remove=$variant"
	) $(it_header Location)" '303 /cart?say=removed'
jar=$IT/jar
it_match "it is the cart of the person, in every browser" \
	"$(say /cart >/dev/null; body)" 'cart is empty'

# in_cart N: that many of the product, in the cart of whoever $jar is
in_cart() {
	say "/cart/add?product=$product&variant=$variant" >/dev/null
	post /cart "product=$product" "variant=$variant" "quantity=$1" >/dev/null
}
# checkout TOKEN: what is in the cart; sets $order
checkout() {
	say /checkout >/dev/null
	post /checkout "key=$(hidden key)" "shown_total=$(hidden shown_total)" \
		email=bo@example.com "${address[@]}" "payment_token=$1" \
		>/dev/null
	order=$(it_header Location)
}
shows() { say "$order" >/dev/null && grep -Eq "$1" "$IT/body"; }
stock() { it_psql -c "SELECT stock FROM variant WHERE id = $variant"; }

it_note "declined, and paid again"
before=$(stock)
in_cart 2
checkout tok_declined
it_match "an order of his own, without a token" "$order" '^/orders/[0-9a-f]{32}$'
it_ok "it is declined" it_wait_for 20 shows 'not paid for yet'
it_match "the provider's words" "$(body)" 'say-bad">.*declined'
it_match "the choice is there again" "$(body)" 'value="tok_ok"'
it_eq "its units are set aside" "$(stock)" $((before - 2))
it_eq "paid with another card" "$(post "$order/payment" payment_token=tok_ok
	) $(it_header Location)" "303 $order"
it_ok "it is paid" it_wait_for 20 shows 'aria-current="step">Paid'
it_eq "and cannot be cancelled" "$(grep -c "$order/cancel" "$IT/body")" 0
it_eq "nor by who tries" "$(say /cart/add?product=$product >/dev/null
	post "$order/cancel")" 409
it_ok "the mail is there" it_wait_for 20 \
	grep -rql "${order#/orders/}" "$IT/mail/new"

it_note "declined, and cancelled"
before=$(stock)
in_cart 3
checkout tok_declined
it_ok "declined" it_wait_for 20 shows 'not paid for yet'
it_eq "set aside" "$(stock)" $((before - 3))
it_eq "cancelled" "$(post "$order/cancel") $(it_header Location)" "303 $order"
returned() { [ "$(stock)" = "$before" ]; }
it_ok "its units come back" it_wait_for 20 returned

it_note "a flash sale without scripts"
sale=$(it_souk_env soukctl sale create --product "$product" --allotment 2 \
	--price 100 --start now --end +1h)
buy="/buy/$sale/$product?variant=$variant"
it_match "the sale's page leads to the private one" \
	"$(it_get "/flash-sale/$sale")" "href=\"/buy/$sale/$product\?variant=$variant\""
it_eq "which wants to know who" "$(it_status "$buy") $(it_header Location)" \
	"303 /login?next=%2Fbuy%2F$sale%2F$product%3Fvariant%3D$variant"
it_match "before it is open" "$(say "$buy" >/dev/null; body)" \
	'role="alert">The sale has not started yet'
it_eq "there is no button" "$(grep -c 'value="buy"' "$IT/body")" 0
it_ok "open" it_souk_env soukctl sale open "$sale"
open() { say "$buy" >/dev/null && grep -q 'value="buy"' "$IT/body"; }
it_ok "now there is" it_wait_for 15 open
it_eq "for nobody else" "$(it_header Cache-Control)" "$private"
it_match "at the sale's price" "$(body)" 'Buy for \$1\.00'
it_eq "without the form's token" "$(say "$buy" -d key=0123456789abcdef)" 403
it_eq "without a key" "$(post "$buy" key=)" 400
say "$buy" >/dev/null
key=$(hidden key) token=$(hidden form_token)
before=$(orders)
buy_once() {
	curl -sS --max-time 20 -o /dev/null -b "$jar" \
		-w '%{http_code} %{redirect_url}\n' "$SOUK_URL$buy" \
		-d "form_token=$token&key=$key&payment_token=tok_ok"
}
pids=()
for i in 1 2 3 4; do buy_once >"$IT/buy.$i" & pids+=($!); done
wait "${pids[@]}"
it_eq "four clicks at once: one answer" "$(sort -u "$IT"/buy.* | wc -l)" 1
it_match "303 to the order" "$(cat "$IT/buy.1")" '^303 .*/orders/[0-9a-f]{32}$'
it_eq "one order" "$(orders)" $((before + 1))
order=$(sed 's|.*\(/orders/\)|\1|' "$IT/buy.1")
it_ok "it is paid" it_wait_for 20 shows 'aria-current="step">Paid'
it_eq "one a person" "$(say "$buy" >/dev/null
	post "$buy" "key=$(hidden key)")" 400
it_match "is said" "$(body)" 'role="alert">You have as many'
jar=$IT/jar2
say /register >/dev/null
post /register name=Cy email=cy@example.com 'password=correct horse' >/dev/null
say "$buy" >/dev/null
it_eq "somebody else has the second" "$(post "$buy" "key=$(hidden key)")" 303
jar=$IT/jar3
say /register >/dev/null
post /register name=Di email=di@example.com 'password=correct horse' >/dev/null
say "$buy" >/dev/null
it_eq "for the third there is none" "$(post "$buy" "key=$(hidden key)")" 400
it_match "is said" "$(body)" 'role="alert">Sold out'
it_eq "an order of somebody else is not there" "$(say "$order")" 404
it_ok "closed" it_souk_env soukctl sale close "$sale"
ended() { say "$buy" >/dev/null && grep -q 'The sale has ended' "$IT/body"; }
it_ok "the page says so" it_wait_for 15 ended
it_summary
