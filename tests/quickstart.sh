#!/usr/bin/env bash
# The quick start as a stranger uses it: up, twice, two side by side, and down;
# and what it says where it cannot.
. "$(dirname "${BASH_SOURCE[0]}")/it/lib.sh"
it_need curl jq nginx redis-server initdb wrk

qs=$srcdir/quickstart a=$IT/a b=$IT/b
it_port PORT_A
it_port PORT_B
ours() { # processes that were started for DIR, whatever their parent
	local p
	for p in /proc/[0-9]*; do
		{ tr '\0' ' ' <"$p/cmdline"; } 2>/dev/null | grep -q -- "$1/" &&
			[ "${p#/proc/}" != $$ ] && echo "${p#/proc/}"
		readlink "$p/cwd" 2>/dev/null | grep -q -- "^$1" &&
			echo "${p#/proc/}"
	done | sort -u
}
stop_both() {
	"$qs" down --dir "$a" >/dev/null 2>&1
	"$qs" down --dir "$b" >/dev/null 2>&1
	it_end
}
trap stop_both EXIT

it_note "wrong ways to call it"
refused() { # NAME PATTERN ARG...
	local name=$1 pattern=$2 got
	shift 2
	got=$("$qs" "$@" 2>&1 </dev/null)
	it_eq "$name: refused" $? 1
	it_match "$name: says why" "$got" "$pattern"
}
refused "a port that is none" 'from 1 to 65535' --port 80000
refused "a queue that is to come" 'no workers yet' --queue sqs
refused "an unknown option" 'not known' --frobnicate
refused "a folder of a strange name" 'letters, digits' --dir "$IT/a b"
refused "status of nothing" 'nothing was started' status --dir "$IT/none"
it_ok "down of nothing is done at once" "$qs" down --dir "$IT/none"

it_note "up"
out=$("$qs" up --dir "$a" --port "$PORT_A" --detach 2>&1 </dev/null) ||
	it_bail "$out"
it_match "it says where the shop is" "$out" "http://127.0.0.1:$PORT_A/"
# shellcheck disable=SC1091
. "$a/env"
SOUK_URL=http://127.0.0.1:$PORT_A
it_eq "DIR/env has the address" \
	"$(sh -c '. "$1" && echo "$SOUK_URL"' - "$a/env")" "$SOUK_URL"
it_eq "and is nobody else's" "$(stat -c %a "$a/env")" 600
for v in SOUK_CONF DATABASE_URL REDIS_URL SOUK_SALE_ID SOUK_SALE_PRODUCT_ID \
	SOUK_ADMIN_TOKEN SOUK_ADMIN_EMAIL SOUK_ADMIN_PASSWORD SOUK_BUYER_EMAIL \
	SOUK_BUYER_PASSWORD; do
	it_match "$v is set" "${!v:-}" .
done
it_eq "soukctl is on PATH" "$(command -v soukctl)" "$a/prefix/sbin/soukctl"
it_match "home shows products" "$(it_get /)" '/products/[0-9]+'
it_match "the API too" "$(it_get '/api/products?limit=1')" '"title"'
it_eq "the sale's page opens" "$(it_status "/flash-sale/$SOUK_SALE_ID")" 200
it_eq "its product too" "$(it_status "/products/$SOUK_SALE_PRODUCT_ID")" 200
it_eq "the admin's token works" "$(it_status \
	"/api/products/$SOUK_SALE_PRODUCT_ID" -X PUT \
	-H "Authorization: Bearer $SOUK_ADMIN_TOKEN" \
	-H 'Content-Type: application/json' -d '{}')" 200
it_ok "status: all runs" "$qs" status --dir "$a"
it_match "logs are shown" "$("$qs" logs --dir "$a" 2>&1)" postgres.log
it_match "its processes are found" "$(ours "$a" | wc -l)" '^[1-9][0-9]'
n=$(psql -XAtc 'SELECT count(*) FROM product' "$DATABASE_URL")
if [ "$(id -u)" = 0 ]; then
	it_eq "nothing of it runs as root" "$(for p in $(ours "$a"); do
		stat -c %U "/proc/$p" 2>/dev/null
	done | grep -c root)" 0
fi

it_note "buying"
curl -sS -c "$IT/jar" -o "$IT/login" -H 'Content-Type: application/json' \
	-d "{\"email\":\"$SOUK_BUYER_EMAIL\",\"password\":\"$SOUK_BUYER_PASSWORD\"}" \
	"$SOUK_URL/api/login"
order=$(curl -sS -b "$IT/jar" -H 'Content-Type: application/json' \
	-H 'Idempotency-Key: the-first-one' \
	-d "{\"saleId\":$SOUK_SALE_ID,\"productId\":$SOUK_SALE_PRODUCT_ID}" \
	"$SOUK_URL/api/flash-sale/purchase" | jq -r .orderId)
paid() {
	[ "$(psql -XAtc "SELECT status FROM orders WHERE id = '$order'" \
		"$DATABASE_URL")" = paid ]
}
mailed() { [ "$(find "$a/mail/new" -type f | wc -l)" -ge 2 ]; }
it_ok "the buyer buys in the sample sale, and has paid" it_wait_for 20 paid
it_ok "and gets his mail" it_wait_for 20 mailed

# 10,000 people, 500 pieces.
product=$(psql -XAtc "SELECT min(p.id) FROM product p WHERE status = 'active' AND
	(SELECT count(*) FROM variant v WHERE v.product_id = p.id) = 1" "$DATABASE_URL")
psql -XAtqc "UPDATE variant SET stock = 507 WHERE product_id = $product" "$DATABASE_URL"
rush=$(soukctl --quiet sale create --product "$product" --allotment 500 \
	--limit 1 --start now --end +1h)
it_ok "a sale of 500 opens" soukctl --quiet sale open "$rush"
soukctl --quiet loadtest buyers 10000 >"$IT/cookies"
cat >"$IT/rush.lua" <<LUA
local cookies, threads, n = {}, 0, 0
for line in io.lines("$IT/cookies") do
  cookies[#cookies + 1] = "souk_session=" .. line
end
function setup(thread)
  thread:set("first", threads * #cookies / 2)
  threads = threads + 1
end
function init() n = first end
request = function()
  n = n % #cookies + 1
  return wrk.format("POST", "/api/flash-sale/purchase", { Cookie = cookies[n],
    ["Content-Type"] = "application/json" },
    '{"saleId":$rush,"productId":$product}')
end
LUA
asked() { # everybody at least once
	wrk -t2 -c64 -d8s --latency -s "$IT/rush.lua" "$SOUK_URL" >"$IT/rush" 2>&1
	[ "$(awk '/requests in/ {print $1}' "$IT/rush")" -ge 10000 ]
}
it_ok "10,000 people ask" it_wait_for 60 asked
it_note "$(grep -E 'Latency  |99%|requests in' "$IT/rush" | tr -s ' \n' ' ')"
it_eq "exactly 500 have an order" "$(psql -XAtc "SELECT count(*), count(DISTINCT
	customer_id) FROM orders WHERE sale_item_id IN (SELECT id FROM sale_item
	WHERE sale_id = $rush)" "$DATABASE_URL")" "500|500"
all_paid() {
	[ "$(psql -XAtc "SELECT count(*) FROM orders WHERE status <> 'paid'" \
		"$DATABASE_URL")" = 0 ]
}
it_ok "which are all paid" it_wait_for 60 all_paid
it_ok "and the books agree" soukctl --quiet sale check "$rush"
it_eq "nobody waits for stock that is not there" "$(curl -sS \
	"$SOUK_URL/api/products/$product/stock" | jq .stock)" 0

it_note "a second one beside it"
refused "a port that is taken" "port $PORT_A is taken" \
	--dir "$b" --port "$PORT_A" --detach
it_eq "which leaves nothing running" "$(ours "$b")" ""
it_ok "another port" "$qs" --dir "$b" --port "$PORT_B" --no-sample --detach
it_eq "both answer" "$(it_status /)$(SOUK_URL=http://127.0.0.1:$PORT_B it_status /)" 200200
it_ok "the second is stopped" "$qs" down --dir "$b"
it_eq "whole" "$(ours "$b")" ""
it_eq "the first is not" "$(it_status /)" 200

it_note "twice"
token=$SOUK_ADMIN_TOKEN sale=$SOUK_SALE_ID
it_ok "up while it is up" "$qs" --dir "$a" --port "$PORT_A" --detach
printf '[shop]\nname = Mine\ncurrency = KRW\n' >"$a/own.ini"
it_ok "with settings of one's own" "$qs" --dir "$a" --port "$PORT_A" --detach
it_match "which show at once" "$(curl -sS "$SOUK_URL/")" '<title>.*Mine'
printf '[shop]\nnmae = x\n' >"$a/own.ini"
it_exit "wrong ones are refused" 1 "$qs" --dir "$a" --port "$PORT_A" --detach
it_ok "and what runs goes on" "$qs" status --dir "$a"
rm "$a/own.ini"
it_ok "down" "$qs" down --dir "$a"
it_eq "no process is left" "$(ours "$a")" ""
it_exit "status says so" 3 "$qs" status --dir "$a"
t=${EPOCHREALTIME/./}
it_ok "up again" "$qs" --dir "$a" --port "$PORT_A" --detach
ms=$(((${EPOCHREALTIME/./} - t) / 1000))
it_note "second start: $ms ms"
it_ok "in under 5 s" test $ms -lt 5000
# shellcheck disable=SC1091
. "$a/env"
it_eq "with the same token, sale and products" \
	"$SOUK_ADMIN_TOKEN $SOUK_SALE_ID $(psql -XAtc \
		'SELECT count(*) FROM product' "$DATABASE_URL")" "$token $sale $n"
kill -KILL "$(cut -d' ' -f1 "$a/run/redis.pid")"
it_exit "a server that died is seen" 3 "$qs" status --dir "$a"
it_ok "and started again" "$qs" --dir "$a" --port "$PORT_A" --detach
# A number in a pid file that is another process's by now.
sleep 60 &
other=$!
"$qs" down --dir "$a" >/dev/null
echo "$other 1" >"$a/run/nginx.pid"
it_ok "down" "$qs" down --dir "$a"
it_ok "kills nobody else's process" kill -0 $other
kill $other

it_note "in the foreground"
setsid "$qs" --dir "$a" --port "$PORT_A" >"$IT/fg.log" 2>&1 &
fg=$!
it_ok "it opens" it_wait_for 30 grep -q Ctrl-C "$IT/fg.log"
kill -TERM $fg
wait $fg
it_eq "and ends when told" $? 0
it_eq "with all of it" "$(ours "$a")" ""
it_summary
