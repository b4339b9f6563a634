#!/usr/bin/env bash
# Accounts and sessions through nginx: logging in and out, ended sessions, lost
# caches, forgotten passwords, tries, and who may act as whom.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need curl jq initdb redis-server nginx
it_souk_install
it_start_pg
it_start_redis
it_ini
it_sample
it_start_nginx
it_start_fcgi fcgi.children=6 account.tries=4 account.network_tries=30 \
	account.window=10m "fcgi.drain=2s"

# The expectation first: it is what is short.
eq() { it_eq "$1" "$3" "$2"; }
like() { it_match "$1" "$3" "$2"; }
code() { jq -r .code <"$IT/body"; }

# api METHOD PATH BODY [CURL-ARG...]: the status
api() {
	local method=$1 path=$2 body=$3
	shift 3
	it_status "$path" -X "$method" -H 'Content-Type: application/json' \
		--data-binary "$body" "$@"
}
cred() { jq -nc --arg e "$1" --arg p "$2" '{email:$e,password:$p}'; }
cookie_of() { it_header Set-Cookie | sed -n "s/^\($1=[^;]*\);.*/\1/p" | tail -n 1; }
# enter EMAIL PASSWORD: log in; the cookie
enter() {
	api POST /api/login "$(cred "$1" "$2")" >/dev/null
	cookie_of souk_session
}
# known COOKIE: status of asking who one is
known() { it_status /api/account -b "$1"; }
# The tries of earlier parts must not be in the way of later ones.
forgive() { it_redis --scan --pattern 'throttle:*' | xargs -r redis-cli -s "$IT/redis/sock" DEL >/dev/null; }

pw='wicker basket 42 ab' pw2='lantern moss 17 cd'

# ---- register
eq "register" 201 "$(api POST /api/register \
	"$(jq -nc --arg p "$pw" '{email:"Ann@Example.com",password:$p,name:"Ann",role:"admin",id:1}')" \
	-A 'Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0')"
ann=$(cookie_of souk_session)
flags=$(it_header Set-Cookie)
like "the cookie is HttpOnly, Lax, for all paths" \
	'^souk_session=[A-Za-z0-9_-]{43}; Path=/; Max-Age=[0-9]+; HttpOnly; SameSite=Lax$' "$flags"
eq "nobody becomes an admin by asking" buyer "$(jq -r .role <"$IT/body")"
eq "who is it" 200 "$(known "$ann")"
eq "it is Ann" Ann@Example.com "$(jq -r .email <"$IT/body")"
like "private, not stored" 'private, no-store' "$(it_header Cache-Control)"
eq "a taken address" 409 "$(api POST /api/register "$(cred ann@example.COM "$pw2")")"
eq "says so" email_taken "$(code)"
for bad in '{"email":"bob@example.com","password":"short"}' \
	'{"email":"bob@example.com","password":"password123"}' \
	'{"email":"bob@example.com","password":"bob@example.com"}' \
	'{"email":"bob@example.com\r\nBcc: x@y.zz","password":"wicker basket 42"}' \
	'{"email":"bob","password":"wicker basket 42"}' \
	'{"email":7,"password":"wicker basket 42"}' \
	'{"password":"wicker basket 42"}'; do
	eq "refused: ${bad:0:60}" "422 invalid_field" \
		"$(api POST /api/register "$bad") $(code)"
done
eq "no JSON" "400 invalid_json" "$(api POST /api/register '{"email":') $(code)"
eq "a name twice" 400 "$(api POST /api/login '{"email":"a","email":"b","password":"c"}')"
eq "no JSON type" 415 "$(it_status /api/login -d "$(cred a b)")"
eq "only one account was made" 1 "$(it_psql -c 'SELECT count(*) FROM customer')"
like "the hash is argon2id with its parameters" '^\$argon2id\$v=19\$m=19456,t=2,p=1\$' \
	"$(it_psql -c 'SELECT password_hash FROM customer')"

# ---- log in
forgive
eq "a wrong password" 401 "$(api POST /api/login "$(cred ann@example.com nope-nope)")"
sed 's/[0-9a-f]\{32\}/ID/' "$IT/body" >"$IT/wrong"
eq "an unknown address" 401 "$(api POST /api/login "$(cred nobody@example.com nope-nope)")"
eq "the very same answer" "$(cat "$IT/wrong")" "$(sed 's/[0-9a-f]\{32\}/ID/' "$IT/body")"
eq "no cookie with it" "" "$(it_header Set-Cookie)"
old=$ann
eq "the right one" 200 "$(api POST /api/login "$(cred ann@example.com "$pw")" -b "$old")"
ann=$(cookie_of souk_session)
it_match "a new token" "$([ "$ann" != "$old" ] && echo new)" new
eq "the old one has ended" 401 "$(known "$old")"
eq "the new one is good" 200 "$(known "$ann")"
fixed=souk_session=$(printf 'A%.0s' {1..43})
eq "log in with a token that somebody else chose" 200 \
	"$(api POST /api/login "$(cred ann@example.com "$pw")" -b "$fixed")"
it_match "it is not adopted" "$(cookie_of souk_session)" 'souk_session=[^A]|souk_session=A[^A]'
eq "and good for nothing" 401 "$(known "$fixed")"
eq "in the table stand hashes only" 0 "$(it_psql -c "SELECT count(*) FROM session
	WHERE encode(token_hash, 'hex') LIKE '%${ann#*=}%'")"
eq "its hash is the token's" 1 "$(it_psql -c "SELECT count(*) FROM session
	WHERE token_hash = sha256('${ann#*=}')")"

# A hash of other parameters is made anew. (argon2id of $pw, 8 KiB, one pass)
it_psql -c 'UPDATE customer SET password_hash = $w$$argon2id$v=19$m=8,t=1,p=1$sLp93DQnLC1Qo+3crFRHFA$ennNOGIEeHJ7Ut6NduJnmibsN1Mav/XovWwKpkrZn+o$w$
	WHERE lower(email) = $w$ann@example.com$w$'
like "a weak hash is there" 'm=8,t=1' "$(it_psql -c 'SELECT password_hash FROM customer')"
eq "log in with it" 200 "$(api POST /api/login "$(cred ann@example.com "$pw")")"
like "it is of today's parameters now" 'm=19456,t=2' \
	"$(it_psql -c 'SELECT password_hash FROM customer')"

# ---- log out
out=$(enter ann@example.com "$pw")
eq "log out" 204 "$(it_status /api/logout -X POST -b "$out")"
like "the cookie goes" '^souk_session=; Path=/; Max-Age=0;' "$(it_header Set-Cookie)"
eq "the session has ended" 401 "$(known "$out")"
eq "log out again" 204 "$(it_status /api/logout -X POST -b "$out")"

# ---- ended everywhere within a second: all children know it first
# warm COOKIE: many requests at once, so that every child has seen it
warm() {
	seq 60 | xargs -P 12 -I{} curl -s -o /dev/null -w '%{http_code}\n' \
		-b "$1" "$SOUK_URL/api/account"
}
gone=$(enter ann@example.com "$pw")
eq "all children know the session" 60 "$(warm "$gone" | grep -c 200)"
id=$(it_get /api/account/sessions -b "$gone" |
	jq '.sessions[] | select(.current) | .id')
eq "ended by another session" 204 "$(it_status "/api/account/sessions/$id" -X DELETE -b "$ann")"
sleep 1
eq "no child serves it a second later" 0 "$(warm "$gone" | grep -c 200)"
gone=$(enter ann@example.com "$pw")
warm "$gone" >/dev/null
eq "end all others" 204 "$(it_status /api/account/sessions -X DELETE -b "$ann")"
sleep 1
eq "none but this one" "0 60" "$(warm "$gone" | grep -c 200) $(warm "$ann" | grep -c 200)"
eq "one in the table" 1 "$(it_psql -c 'SELECT count(*) FROM session')"
# By a writer that died after its commit: the housekeeper carries it out.
gone=$(enter ann@example.com "$pw")
warm "$gone" >/dev/null
it_psql -c "WITH d AS (DELETE FROM session WHERE token_hash = sha256('${gone#*=}')
	RETURNING encode(token_hash, 'hex') AS h)
	INSERT INTO invalidation (keys, edge_paths, edge_lists)
	SELECT ARRAY['session:' || h], '{}', false FROM d" >/dev/null
sleep 1.2
eq "what a dead writer left is carried out" 0 "$(warm "$gone" | grep -c 200)"

# ---- idle and absolute timeout, judged at each use
gone=$(enter ann@example.com "$pw")
warm "$gone" >/dev/null
it_psql -c "UPDATE session SET created_at = now() - interval '1 day', expires_at = now() - interval '1 s'
	WHERE token_hash = sha256('${gone#*=}')" >/dev/null
it_redis FLUSHALL >/dev/null
it_stop fcgi
it_start_fcgi fcgi.children=6 account.tries=4 account.network_tries=30 account.window=10m
eq "over: absolute" 401 "$(known "$gone")"
gone=$(enter ann@example.com "$pw")
it_psql -c "UPDATE session SET seen_at = now() - interval '15 days'
	WHERE token_hash = sha256('${gone#*=}')" >/dev/null
it_redis DEL "session:$(printf %s "${gone#*=}" | sha256sum | cut -d' ' -f1)" >/dev/null
it_stop fcgi
it_start_fcgi fcgi.children=6 account.tries=4 account.network_tries=30 account.window=10m
eq "over: idle" 401 "$(known "$gone")"
it_psql -c "UPDATE session SET seen_at = now() - interval '2 days'
	WHERE token_hash = sha256('${ann#*=}')" >/dev/null
it_redis DEL "session:$(printf %s "${ann#*=}" | sha256sum | cut -d' ' -f1)" >/dev/null
eq "used after two days" 200 "$(known "$ann")"
was_seen() {
	[ "$(it_psql -c "SELECT count(*) FROM session WHERE token_hash = sha256('${ann#*=}')
		AND seen_at > now() - interval '1 minute'")" = 1 ]
}
it_ok "that it was used is written, a little later" it_wait_for 3 was_seen

# ---- Redis emptied, away, back
it_redis FLUSHALL >/dev/null
eq "an empty Redis logs nobody out" 60 "$(warm "$ann" | grep -c 200)"
gone=$(enter ann@example.com "$pw")
warm "$gone" >/dev/null
it_stop redis KILL
eq "Redis away: still logged in" 60 "$(warm "$ann" | grep -c 200)"
eq "logging in works" 200 "$(api POST /api/login "$(cred ann@example.com "$pw")")"
eq "an end holds, though nobody can be told" 204 \
	"$(it_status /api/logout -X POST -b "$gone")"
sleep 1
eq "in every child" 0 "$(warm "$gone" | grep -c 200)"
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
	last=$(api POST /api/login "$(cred ann@example.com nope-nope)")
	[ "$last" != 429 ] || break
done
eq "tries are counted without Redis too" 429 "$last"
it_start_redis
sleep 2
eq "Redis back: still logged in" 60 "$(warm "$ann" | grep -c 200)"
eq "what ended meanwhile stays so" 0 "$(warm "$gone" | grep -c 200)"

# ---- tries: per account and network, never per account alone
it_stop fcgi
it_start_fcgi fcgi.children=6 account.tries=4 account.network_tries=30 account.window=10m
forgive
for i in 1 2 3 4; do
	eq "wrong once more ($i)" 401 "$(api POST /api/login "$(cred ann@example.com nope-nope)")"
done
eq "too many" 429 "$(api POST /api/login "$(cred ann@example.com nope-nope)")"
like "when to come back" '^[1-9][0-9]*$' "$(it_header Retry-After)"
eq "the right one from there too" "429 too_many_tries" \
	"$(api POST /api/login "$(cred ann@example.com "$pw")") $(code)"
eq "capitals are no other account" 429 "$(api POST /api/login "$(cred ANN@EXAMPLE.COM "$pw")")"
eq "a session goes on" 200 "$(known "$ann")"
eq "the owner elsewhere is not locked out" 200 "$(api POST /api/login \
	"$(cred ann@example.com "$pw")" --interface 127.0.0.2)"
eq "no header makes it elsewhere" 429 "$(api POST /api/login \
	"$(cred ann@example.com "$pw")" -H 'X-Forwarded-For: 9.9.9.9' \
	-H 'X-Real-IP: 9.9.9.9' -H 'Forwarded: for=9.9.9.9')"
n=0
for i in $(seq 40); do
	[ "$(api POST /api/login "$(cred "u$i@example.com" nope-nope)")" != 429 ] || break
	n=$i
done
it_match "one network cannot try all accounts" "$n" '^(1[0-9]|2[0-9])$'
forgive

# ---- a forgotten password
eq "ask for a link" 202 "$(api POST /api/password/forgot '{"email":"ann@example.com"}')"
cp "$IT/body" "$IT/forgot"
eq "for nobody: the same" "202 $(cat "$IT/forgot")" \
	"$(api POST /api/password/forgot '{"email":"nobody@example.com"}') $(cat "$IT/body")"
eq "one task to send" "password_reset Ann@Example.com" \
	"$(it_psql -F ' ' -c "SELECT data->>'kind', data->>'email' FROM outbox WHERE type = 'send_email'")"
secret=$(it_psql -c "SELECT data->>'secret' FROM outbox WHERE type = 'send_email'")
eq "its hash alone is kept" 1 "$(it_psql -c "SELECT count(*) FROM password_reset WHERE token_hash = sha256('$secret')")"
reset() { api POST /api/password/reset "$(jq -nc --arg t "$1" --arg p "$2" '{token:$t,password:$p}')"; }
eq "a made-up link" "400 bad_reset_token" "$(reset "$(printf 'A%.0s' {1..43})" "$pw2") $(code)"
eq "a bad new password" 422 "$(reset "$secret" short)"
gone=$(enter ann@example.com "$pw")
warm "$gone" >/dev/null
for i in 1 2 3 4 5 6; do
	curl -s -o /dev/null -w '%{http_code}\n' "$SOUK_URL/api/password/reset" \
		-H 'Content-Type: application/json' -d "$(jq -nc --arg t "$secret" --arg p "$pw2" '{token:$t,password:$p}')" &
done >"$IT/resets"
wait $(jobs -p | tail -n 6)
eq "six at once: it works once" 1 "$(grep -c 204 "$IT/resets")"
eq "and not again" 400 "$(reset "$secret" "$pw")"
sleep 1
eq "all sessions have ended" "0 0" "$(warm "$gone" | grep -c 200) $(warm "$ann" | grep -c 200)"
eq "the old password is none" 401 "$(api POST /api/login "$(cred ann@example.com "$pw")")"
eq "the new one is" 200 "$(api POST /api/login "$(cred ann@example.com "$pw2")")"
ann=$(cookie_of souk_session)
api POST /api/password/forgot '{"email":"ann@example.com"}' >/dev/null
secret=$(it_psql -c "SELECT data->>'secret' FROM outbox ORDER BY id DESC LIMIT 1")
it_psql -c "UPDATE password_reset SET expires_at = now() WHERE used_at IS NULL" >/dev/null
eq "too late" 400 "$(reset "$secret" "$pw")"

# ---- from other sites
forgive
eq "Origin of another site" "403 cross_origin" \
	"$(api POST /api/login "$(cred ann@example.com "$pw2")" -H 'Origin: https://evil.example') $(code)"
for h in 'Origin: null' 'Sec-Fetch-Site: cross-site' 'Sec-Fetch-Site: same-site' \
	'Sec-Fetch-Site: none' 'Referer: https://evil.example/x' \
	"Origin: $SOUK_URL.evil.example" "Origin: https://127.0.0.1:$NGINX_PORT"; do
	eq "refused: $h" 403 "$(it_status /api/logout -X POST -b "$ann" -H "$h")"
done
eq "Origin of ours, site of another" 403 "$(it_status /api/logout -X POST -b "$ann" \
	-H "Origin: $SOUK_URL" -H 'Sec-Fetch-Site: cross-site')"
eq "the session is as it was" 200 "$(known "$ann")"
eq "our own page may" 200 "$(api POST /api/login "$(cred ann@example.com "$pw2")" \
	-H "Origin: $SOUK_URL" -H 'Sec-Fetch-Site: same-origin')"
eq "a form is no JSON" 415 "$(it_status /api/login -b "$ann" \
	-H 'Content-Type: text/plain' -d "$(cred ann@example.com "$pw2")")"

# ---- the forms, without scripts
# token: the form's, of the last page
token() { sed -n 's/.*name="form_token" value="\([^"]*\)".*/\1/p' "$IT/body" | head -n 1; }
jar=$IT/jar
rm -f "$jar"
form() {
	local path=$1
	shift
	it_status "$path" -b "$jar" -c "$jar" "$@"
}
eq "the account sends one to log in" 303 "$(form /account)"
eq "and back" "/login?next=%2Faccount" "$(it_header Location)"
eq "the form" 200 "$(form '/login?next=/cart')"
like "not stored" 'private, no-store' "$(it_header Cache-Control)"
t=$(token)
like "it has a token" '^[0-9a-f]{64}$' "$t"
eq "without the token" 403 "$(form /login --data-urlencode email=ann@example.com --data-urlencode "password=$pw2")"
eq "with another's token" 403 "$(form /login -d "form_token=$(printf %064d 0)" \
	--data-urlencode email=ann@example.com --data-urlencode "password=$pw2")"
eq "from another site" 403 "$(form /login -d "form_token=$t" -H 'Origin: https://evil.example' \
	--data-urlencode email=ann@example.com --data-urlencode "password=$pw2")"
eq "a wrong password shows the form again" 401 "$(form /login -d "form_token=$t" \
	--data-urlencode 'email=ann@example.com"><b>' -d password=nope-nope)"
like "with what was typed, escaped" 'value="ann@example.com&quot;&gt;&lt;b&gt;"' "$(cat "$IT/body")"
it_match "and no password" "$(grep -c nope-nope "$IT/body")" '^0$'
eq "the right one leads on" "303 /cart" "$(form /login -d "form_token=$t" -d next=/cart \
	--data-urlencode email=ann@example.com --data-urlencode "password=$pw2") $(it_header Location)"
for to in //evil.example https://evil.example '/\evil.example' "/%09/evil.example"; do
	rm -f "$IT/jar2"
	it_get /login -b "$IT/jar2" -c "$IT/jar2" >/dev/null
	eq "never elsewhere: $to" "303 /account" "$(it_status /login -b "$IT/jar2" -c "$IT/jar2" \
		-d "form_token=$(token)" -d "next=$to" --data-urlencode email=ann@example.com \
		--data-urlencode "password=$pw2") $(it_header Location)"
done
eq "the account" 200 "$(form /account)"
like "who it is" 'Ann@Example.com' "$(cat "$IT/body")"
t=$(token)
other=$(sed -n 's/.*action="\(\/account\/sessions\/[0-9]*\/end\)".*/\1/p' "$IT/body" | head -n 1)
like "other sessions are listed" '^/account/sessions/[0-9]+/end$' "$other"
n=$(it_psql -c 'SELECT count(*) FROM session')
eq "end one without the token" 403 "$(form "$other" -d x=y)"
eq "nothing ended" "$n" "$(it_psql -c 'SELECT count(*) FROM session')"
eq "end one" 303 "$(form "$other" -d "form_token=$t")"
eq "it has ended" $((n - 1)) "$(it_psql -c 'SELECT count(*) FROM session')"
eq "end all others" 303 "$(form /account/sessions/end -d "form_token=$t")"
eq "one is left" 1 "$(it_psql -c 'SELECT count(*) FROM session')"
eq "a new password, the present one wrong" 401 "$(form /account/password -d "form_token=$t" \
	-d password_current=nope-nope --data-urlencode "password=$pw")"
eq "a new password" 303 "$(form /account/password -d "form_token=$t" \
	--data-urlencode "password_current=$pw2" --data-urlencode "password=$pw")"
eq "one goes on with a new session" 200 "$(form /account)"
t=$(token)
eq "log out" "303 /" "$(form /logout -d "form_token=$t") $(it_header Location)"
eq "logged out" 303 "$(form /account)"
eq "register by the form" 200 "$(form /register)"
eq "done" "303 /account" "$(form /register -d "form_token=$(token)" -d name=Bob \
	--data-urlencode email=bob@example.com --data-urlencode "password=$pw") $(it_header Location)"
bob=souk_session=$(awk '$6 == "souk_session" {print $7}' "$jar")
for p in /login /register /password/forgot /password/reset?token=x; do
	eq "$p is a page" 200 "$(it_status "$p")"
	like "$p is not stored" 'private, no-store' "$(it_header Cache-Control)"
done

# ---- nobody acts as another
forgive
ann=$(enter ann@example.com "$pw")
annid=$(it_psql -c "SELECT id FROM customer WHERE name = 'Ann'")
annsession=$(it_psql -c "SELECT public_id FROM session WHERE customer_id = $annid")
eq "Bob cannot end Ann's session" "404 session_not_found" \
	"$(it_status "/api/account/sessions/$annsession" -X DELETE -b "$bob") $(code)"
eq "Ann goes on" 200 "$(known "$ann")"
it_get "/api/account?customerId=$annid&customer_id=$annid" -b "$bob" \
	-H "X-Customer-Id: $annid" -H "X-User: ann@example.com" \
	-b "customer_id=$annid" -H "Authorization: Bearer $annid" >/dev/null
eq "what else is sent does not count" bob@example.com "$(jq -r .email <"$IT/body")"
it_get /api/account/sessions -b "$bob" >/dev/null
eq "Bob sees his own sessions only" 1 "$(jq '.sessions | length' <"$IT/body")"
eq "a cookie of another name is none" 401 "$(known "__Host-$bob")"
eq "a buyer is no admin" "403 forbidden" "$(api PUT /api/products/1 '{}' -b "$bob") $(code)"
eq "nobody is no admin" 401 "$(api PUT /api/products/1 '{}')"

# ---- the operator
pwa='quarry pebble 93 xy'
admin=$(it_souk_env soukctl user create --email ops@example.com --role admin <<<"$pwa")
like "user create prints the id" '^[0-9]+$' "$admin"
eq "the same again is refused" 1 "$(it_souk_env soukctl user create --email ops@example.com <<<"$pwa" >/dev/null 2>&1; echo $?)"
it_match "user list" "$(it_souk_env soukctl user list --role admin)" "^$admin	admin	.*	ops@example.com	"
ops=$(enter ops@example.com "$pwa")
id=$(it_psql -c "SELECT min(id) FROM product WHERE status = 'active'")
eq "an admin's session may" 200 "$(api PUT "/api/products/$id" '{"vendor":"V"}' -b "$ops")"
eq "but not from another site" 403 "$(api PUT "/api/products/$id" '{"vendor":"W"}' -b "$ops" -H 'Origin: https://evil.example')"
it_ok "user password" it_souk_env soukctl user password --email ops@example.com <<<"$pw2"
eq "ends the sessions" 401 "$(known "$ops")"
it_souk_env soukctl loadtest buyers 2500 >"$IT/buyers"
eq "buyers" 2500 "$(sort -u "$IT/buyers" | grep -cE '^[A-Za-z0-9_-]{43}$')"
eq "each with a session" 200 "$(known "souk_session=$(tail -n 1 "$IT/buyers")")"
eq "of a person of its own" 2500 "$(it_psql -c "SELECT count(DISTINCT customer_id) FROM session s
	JOIN customer c ON c.id = s.customer_id WHERE c.email LIKE '%@loadtest.invalid'")"
eq "none can log in" 401 "$(api POST /api/login "$(cred "$(it_psql -c "SELECT email FROM customer
	WHERE email LIKE '%loadtest%' LIMIT 1")" "")")"

# ---- over TLS
it_stop fcgi
it_start_fcgi shop.base_url=https://shop.example account.network_tries=100
eq "TLS: log in" 200 "$(api POST /api/login "$(cred ann@example.com "$pw")")"
like "Secure, with the prefix" \
	'^__Host-souk_session=[A-Za-z0-9_-]{43}; Path=/; Max-Age=[0-9]+; HttpOnly; SameSite=Lax; Secure$' \
	"$(it_header Set-Cookie)"
c=$(cookie_of __Host-souk_session)
eq "it is read" 200 "$(known "$c")"
eq "a plain one, which a neighbour could plant, is not" 401 "$(known "${c#__Host-}")"
eq "its own origin" 204 "$(it_status /api/logout -X POST -b "$c" -H 'Origin: https://shop.example')"

# ---- bounds
for i in $(seq 55); do enter bob@example.com "$pw" >/dev/null; done
eq "at most 50 sessions of one person" 50 "$(it_psql -c "SELECT count(*) FROM session s
	JOIN customer c ON c.id = s.customer_id WHERE c.email = 'bob@example.com'")"
grep -q 'AddressSanitizer\|runtime error' "$IT"/fcgi*.log 2>/dev/null && it_fail "a sanitizer spoke"
it_summary
