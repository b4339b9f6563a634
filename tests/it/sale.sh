#!/usr/bin/env bash
# soukctl sale: a sale from its plan to its end, as an operator runs it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need initdb psql redis-server jq
soukctl=$top_builddir/ctl/soukctl
[ -x "$soukctl" ] || it_bail "no $soukctl"
export SOUK_POSTGRES_MIGRATIONS=$srcdir/sql SOUK_CONF='' SOUK_SALE_DEADLINE=100ms

it_start_pg
it_start_redis
"$soukctl" migrate --quiet >/dev/null || it_bail "migrate"
it_psql <<'SQL'
INSERT INTO product (handle, title) SELECT 'p' || n, 'P' || n FROM generate_series(1, 3) n;
INSERT INTO variant (product_id, price, stock) SELECT n, 100, 10 FROM generate_series(1, 3) n;
SQL
stock() { it_psql -c "SELECT stock FROM variant WHERE id = $1"; }
status() { "$soukctl" sale status "$sale" --json; }
item() { status | jq -c ".items[$1] | [.left, .held, .sold, .armed]"; }
key() { printf 'stock:{%s:1}%s' "$sale" "${1:-}"; }

# ---- opening
sale=$("$soukctl" sale create --product 1 --allotment 6 --end +1h)
it_eq "a draft has no counter" "$(status | jq -c '[.state, .items[0].left, .items[0].armed]')" \
	'["draft",null,false]'
it_exit "one that was never opened is not closed" 1 "$soukctl" sale close "$sale"
it_ok "open" "$soukctl" sale open "$sale"
it_eq "the allotment is out of the stock" "$(stock 1)" 4
it_eq "and for sale" "$(status | jq -c '[.state, .items[0].left, .items[0].held, .items[0].sold, .items[0].armed]')" \
	'["open",6,0,0,true]'
it_exit "a second time is refused" 1 "$soukctl" sale open "$sale"
it_eq "and takes nothing" "$(stock 1)" 4
it_exit "more than there is: refused" 1 "$soukctl" sale open \
	"$("$soukctl" sale create --product 2 --allotment 11 2>/dev/null)"
it_eq "and takes nothing" "$(stock 2)" 10
it_exit "a variant of an open sale: refused" 1 "$soukctl" sale open \
	"$("$soukctl" sale create --product 1 --allotment 1)"
it_ok "a further item" "$soukctl" sale add "$sale" --product 3 --allotment 2
it_ok "is opened beside the first" "$soukctl" sale open "$sale"
it_eq "with its own allotment" "$(item 1)" '[2,0,0,true]'
it_eq "while the first stays" "$(item 0)" '[6,0,0,true]'
it_exit "no such sale" 1 "$soukctl" sale open 999
it_exit "no number" 2 "$soukctl" sale open x

# ---- checking and mending
it_ok "nothing differs" "$soukctl" sale check "$sale"
it_eq "no line then" "$("$soukctl" sale check 2>/dev/null)" ""
it_eq "nor an element" "$("$soukctl" sale check --json 2>/dev/null)" "[]"
it_redis HSET "$(key)" next 3 >/dev/null
it_eq "numbers that are lost are not for sale" "$(item 0)" '[4,0,0,true]'
out=$("$soukctl" sale check "$sale" 2>/dev/null)
rc=$?
it_eq "the check says so" "$rc" 1
it_eq "a line for each" "$out" \
	"sale $sale variant 1: unit 1 is neither for sale, nor held, nor sold
sale $sale variant 1: unit 2 is neither for sale, nor held, nor sold"
it_eq "also of all open sales" "$("$soukctl" sale check --json 2>/dev/null | jq length)" 2
it_ok "repair mends it" "$soukctl" sale repair "$sale"
it_eq "all are for sale again" "$(item 0)" '[6,0,0,true]'
it_ok "and nothing differs" "$soukctl" sale check
it_psql -c "INSERT INTO sale_unit (item_id, unit) SELECT id, 1 FROM sale_item
	WHERE sale_id = $sale AND variant_id = 1"
it_exit "what a person must decide is not repaired" 1 "$soukctl" sale repair "$sale"
it_psql -c "DELETE FROM sale_unit"
it_exit "no such sale to check" 1 "$soukctl" sale check 999
it_stop redis
it_exit "without Redis it could not look" 111 "$soukctl" sale check "$sale"
it_eq "and there is no counter to show" "$(item 0)" '[null,0,0,false]'
it_start_redis
it_redis FLUSHALL >/dev/null
it_exit "a counter that is lost is a difference" 1 "$soukctl" sale check "$sale"
it_ok "which opening mends too" "$soukctl" sale open "$sale"
it_eq "armed again" "$(item 0)" '[6,0,0,true]'

# ---- closing
it_ok "close" "$soukctl" sale close "$sale"
it_eq "what is unsold is in the stock" "$(stock 1) $(stock 3)" "10 10"
it_eq "closed" "$(status | jq -c '[.state, .items[0].left, .items[0].armed]')" \
	'["closed",null,false]'
it_ok "a second time" "$soukctl" sale close "$sale"
it_eq "changes nothing" "$(stock 1)" 10
it_exit "it is not opened again" 1 "$soukctl" sale open "$sale"
it_ok "nothing differs" "$soukctl" sale check "$sale"
it_psql -c "DELETE FROM sale_unit WHERE unit = 2"
it_match "a unit without a row is a difference" \
	"$("$soukctl" sale check "$sale" 2>/dev/null)" 'unit 2 was neither sold nor claimed'

# ---- settings under which a 200 is not a promise
it_psql -U postgres -c "ALTER ROLE souk SET synchronous_commit = off"
it_redis CONFIG SET maxmemory-policy allkeys-lru >/dev/null
it_souk_install
it_start_fcgi
said() { grep -q "promise_broken.*$1" "$IT/fcgi.log"; }
it_ok "souk-fcgi warns of a role that does not wait for the disk" \
	it_wait_for 10 said postgres.synchronous_commit
it_ok "and of a Redis that evicts counters" \
	it_wait_for 10 said redis.maxmemory-policy
it_summary
