#!/usr/bin/env bash
# POST /api/events through nginx: what is taken, from whom, and how much.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need curl jq initdb redis-server nginx
it_souk_install
it_start_pg
it_start_redis
it_ini
it_sample
it_start_nginx
it_start_fcgi analytics.events=20

# post BODY [CURL-ARG...]: status and code; $type, $origin as the case wants
type=application/json origin=$SOUK_URL
post() {
	local body=$1
	shift
	it_status /api/events -H "Content-Type: $type" \
		-H "Origin: $origin" --data-binary "$body" "$@"
	jq -r '.code // "none"' <"$IT/body"
}
is() { it_eq "$1" "$(paste -sd' ' <<<"$3")" "$2"; }
last() { it_psql -c 'SELECT data FROM outbox ORDER BY id DESC LIMIT 1'; }

is "an event is taken" "202 none" "$(post '{"name":"seen","data":{"a":1}}')"
it_eq "as a task, of nobody" "$(last)" '{"data": {"a": 1}, "name": "seen"}'
is "a name of another kind is not" "422 invalid_field" "$(post '{"name":"A"}')"
is "nor no JSON" "400 invalid_json" "$(post '{')"
is "nor a form" "415 unsupported_media_type" \
	"$(type=application/x-www-form-urlencoded; post name=seen)"
is "nor from another site" "403 cross_origin" \
	"$(origin=https://elsewhere.example; post '{"name":"seen"}')"
head -c 20000 /dev/zero | tr '\0' ' ' >"$IT/blanks"
is "nor one of 20,000 blanks" "413 body_too_large" "$(post "@$IT/blanks")"
it_eq "GET is not answered" "$(it_status /api/events)" 405

it_status /api/register -c "$IT/jar" -H 'Content-Type: application/json' \
	-H "Origin: $SOUK_URL" --data-binary \
	'{"email":"buyer@example.com","password":"a long enough one"}' \
	>"$IT/registered"
it_match "a customer registers" "$(cat "$IT/registered")" '^20[01]$'
who=$(it_psql -c "SELECT id FROM customer WHERE email = 'buyer@example.com'")
is "his event" "202 none" \
	"$(post '{"name":"seen","customerId":999}' -b "$IT/jar")"
it_eq "is of who the session says" "$(last | jq .customerId)" "$who"

# As many as it takes: on a slow machine the bucket fills again meanwhile.
before=$(it_psql -c "SELECT count(*) FROM outbox WHERE type = 'track_event'")
taken=0
for _ in $(seq 300); do
	post '{"name":"seen"}' >"$IT/last"
	grep -q '^202' "$IT/last" || break
	taken=$((taken + 1))
done
is "more than so many a minute are not taken" "429 too_many_tries" \
	"$(cat "$IT/last")"
it_match "and it is said when to come again" "$(it_header Retry-After)" \
	'^[1-9][0-9]*$'
n=$(it_psql -c "SELECT count(*) FROM outbox WHERE type = 'track_event'")
it_eq "nor stored" $((n - before)) $taken
it_summary
