#!/usr/bin/env bash
# soukctl from outside: usage, configuration, tokens, sales.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need initdb psql redis-server
soukctl=$top_builddir/ctl/soukctl
[ -x "$soukctl" ] || it_bail "no $soukctl"
export SOUK_POSTGRES_MIGRATIONS=$srcdir/sql

# ---- the command line
it_match "--version" "$("$soukctl" --version)" '^soukctl [0-9]+\.[0-9]'
it_exit "no command is a usage error" 2 "$soukctl"
it_exit "an unknown one too" 2 "$soukctl" frobnicate
it_exit "and half a one" 2 "$soukctl" sale
it_match "which shows what there is" "$("$soukctl" sale 2>&1)" 'sale create'
it_exit "an unknown option" 2 "$soukctl" migrate --frob
it_exit "an option without its value" 2 "$soukctl" migrate --wait
it_exit "a number that is none" 2 "$soukctl" sale status x1
it_ok "--help is no error" "$soukctl" --help
it_match "help is a command too" "$("$soukctl" help)" 'sale create'
it_match "help of one by its name" "$("$soukctl" help sale create)" '--allotment N'
it_exit "help of what is none is usage" 2 "$soukctl" help nonsense
it_match "help of one command" "$("$soukctl" sale create --help)" '--allotment N'
it_eq "errors leave stdout alone" "$("$soukctl" sale create 2>/dev/null)" ""
it_exit "a full disk is seen" 111 bash -c '"$1" --help >/dev/full; "$1" conf dump >/dev/full' - "$soukctl"
it_ok "the completion is a script" bash -c '. <("$1" completion) &&
	COMP_WORDS=(soukctl sale "") COMP_CWORD=2 && _soukctl &&
	[[ " ${COMPREPLY[*]} " == *" create "* ]]' - "$soukctl"

# ---- the configuration
cat >"$IT/bad.ini" <<'INI'
[shop]
nmae = x
[fcgi]
children = many
INI
it_exit "a bad configuration: a person must act" 100 "$soukctl" -c "$IT/bad.ini" conf check
out=$("$soukctl" --conf "$IT/bad.ini" conf check 2>&1)
it_match "every fault is named: the key" "$out" 'bad.ini:2:.*nmae'
it_match "and the value" "$out" 'bad.ini:4:.*children'
it_exit "other commands refuse it" 100 "$soukctl" -c "$IT/bad.ini" sale list
it_match "secrets are not dumped" \
	"$(DATABASE_URL=postgresql://u:hidden@h/d "$soukctl" conf dump | grep -c hidden)" '^0$'

cat >"$IT/shapes.ini" <<'INI'
[shop]
base_url = shop.example
currency = won
tax = 8,25
[postgres]
url = mysql://me:hidden@h/d
INI
out=$("$soukctl" --conf "$IT/shapes.ini" conf check 2>&1)
it_match "an address without http" "$out" 'shapes.ini:2:.*https://'
it_match "a currency that is none" "$out" 'shapes.ini:3:.*ISO 4217'
it_match "a tax that is no percentage" "$out" 'shapes.ini:4:.*8\.25'
it_match "a database of another kind" "$out" 'shapes.ini:6:.*postgresql://'
it_match "and its password is not shown" "$(grep -c hidden <<<"$out")" '^0$'

# The sample, with every key as it stands, is the defaults.
"$soukctl" conf sample | sed 's/^;\([a-z]\)/\1/' >"$IT/sample.ini"
it_ok "the sample is a configuration" "$soukctl" -c "$IT/sample.ini" conf check
it_match "of the defaults (secrets are not shown)" "$(diff \
	<("$soukctl" -c "$IT/sample.ini" conf dump | sed 's/ ; .*//; /url = /d') \
	<("$soukctl" -c /dev/null conf dump | sed 's/ ; .*//; /url = /d') && echo same)" '^same$'

# ---- a shop
it_start_pg
it_start_redis
it_exit "before the migrations: a person must act" 100 "$soukctl" sale list
it_match "who is told what to do" "$("$soukctl" sale list 2>&1)" 'soukctl migrate'
it_ok "migrate" "$soukctl" migrate
it_psql <<'SQL' >/dev/null
INSERT INTO product (handle, title, options) VALUES
 ('mug', 'Mug', '{}'), ('shirt', 'Shirt', '{Size}');
INSERT INTO product (handle, title, status) VALUES ('old', 'Old', 'archived');
INSERT INTO product_image (product_id, src, position) VALUES
 (1, 'https://x.test/2.png', 2), (1, '/media/1.png', 1);
INSERT INTO variant (product_id, options, price, stock, position) VALUES
 (1, '{}', 1200, 50, 1), (2, '{S}', 5000, 3, 1), (2, '{M}', 6000, 0, 2);
SQL

# ---- tokens
token=$("$soukctl" token create --role admin --name "till 1" 2>/dev/null)
it_match "a token" "$token" '^souk_[A-Za-z0-9_-]{43}$'
it_eq "only its hash is stored" \
	"$(it_psql -c "SELECT encode(token_hash, 'hex') FROM api_token")" \
	"$(printf %s "$token" | sha256sum | cut -d' ' -f1)"
it_exit "another role is refused" 1 "$soukctl" token create --role king
it_match "the list does not show it" "$("$soukctl" token list)" '^1	admin	good	.*	till 1$'
it_ok "revoked" "$soukctl" token revoke 1
it_ok "twice is no error" "$soukctl" token revoke 1
it_match "the list says so" "$("$soukctl" token list --json)" '"revokedAt":"20'
it_exit "one that is not there" 1 "$soukctl" token revoke 99

# ---- sales
sale=$("$soukctl" sale create --product 1 --allotment 100 --limit 2 \
	--price 900 --start now --end +1h 2>"$IT/said")
it_eq "a sale's id is all that is printed" "$sale" 1
it_match "too little stock is said" "$(cat "$IT/said")" '50 in stock'
it_eq "status" "$("$soukctl" sale status "$sale" --json)" \
	'{"saleId":1,"state":"draft","items":[{"productId":1,"variantId":1,"allotment":100,"left":null,"held":0,"sold":0,"epoch":0,"armed":false}]}'
it_exit "of several variants one must be said" 1 "$soukctl" sale create --product 2 --allotment 1
it_match "and which there are" "$("$soukctl" sale create --product 2 --allotment 1 2>&1)" \
	'2 \(S\), 3 \(M\)'
it_exit "another product's variant" 1 "$soukctl" sale create --product 1 --variant 2 --allotment 1
it_exit "an end before the start" 1 "$soukctl" sale create --product 1 --allotment 1 --start +2h --end +1h
it_exit "a time that is none" 2 "$soukctl" sale create --product 1 --allotment 1 --start soon
it_exit "a product that is not there" 1 "$soukctl" sale create --product 77 --allotment 1
it_exit "one that is not for sale" 1 "$soukctl" sale create --product 3 --allotment 1
it_exit "no allotment" 2 "$soukctl" sale create --product 1
it_exit "an allotment of none" 2 "$soukctl" sale create --product 1 --allotment 0
it_eq "nothing of all that is left" "$(it_psql -c 'SELECT count(*) FROM sale')" 1
it_ok "one more variant" "$soukctl" sale add "$sale" --product 2 --variant 2 --allotment 3
it_exit "not twice" 1 "$soukctl" sale add "$sale" --product 2 --variant 2 --allotment 3
it_exit "not to a sale that is not there" 1 "$soukctl" sale add 9 --product 1 --allotment 3
it_eq "defaults: price, limit, place" \
	"$(it_psql -c 'SELECT price, per_buyer, position FROM sale_item WHERE variant_id = 2')" \
	'5000|1|2'
it_eq "each change grows the version once" "$(it_psql -c 'SELECT version FROM sale')" 2
it_eq "and leaves word for the caches" \
	"$(it_psql -c "SELECT count(*) FROM invalidation WHERE keys = '{sale:1,page:/flash-sale/1}' AND edge_paths = '{/flash-sale/1}'")" 2
second=$("$soukctl" sale create --product 1 --allotment 1 \
	--title "It's <b>" --end 2099-01-01T00:00:00Z)
it_eq "a title of its own" "$(it_psql -c "SELECT title FROM sale WHERE id = $second")" \
	"It's <b>"
it_match "the list, newest first" "$("$soukctl" sale list | tr '\t\n' ' /')" \
	"^$second draft .* 2099-01-01T00:00:00Z 1 It's <b>/1 draft .* 2 Mug/$"
it_psql -c "UPDATE sale SET starts_at = now() - interval '2h', ends_at = now() - interval '1h' WHERE id = 1"
it_exit "nothing is added to a sale that is over" 1 "$soukctl" sale add 1 --product 2 --variant 3 --allotment 1
it_exit "status of none" 1 "$soukctl" sale status 9 --json

it_stop redis
it_ok "a sale is planned while Redis is away" "$soukctl" sale create --product 1 --allotment 1
it_stop pg
it_exit "PostgreSQL away: try again" 111 "$soukctl" sale list
it_summary
