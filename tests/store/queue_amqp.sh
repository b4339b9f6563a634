#!/usr/bin/env bash
# RabbitMQ as the queue: the driver's own tests, then a broker that is killed.
test=${top_builddir:-.}/tests/store/test_queue_amqp
[ -x "$test" ] || { echo "built without RabbitMQ or unit tests"; exit 77; }
. "$(dirname "${BASH_SOURCE[0]}")/../it/lib.sh"
. "$srcdir/tests/it/rabbitmq_lib.sh"
test=$top_builddir/tests/store/test_queue_amqp
it_need initdb openssl
it_need_rabbitmq

# ---- a certificate for localhost, by an authority that nobody knows
it_mkdir "$IT/tls"
certificate() {
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 \
		-subj /CN=souk-test-ca -keyout ca.key -out ca.pem &&
		openssl req -newkey rsa:2048 -nodes -subj /CN=localhost \
			-keyout key.pem -out csr.pem &&
		openssl x509 -req -in csr.pem -days 2 -CA ca.pem \
			-CAkey ca.key -CAcreateserial -out cert.pem \
			-extfile <(echo subjectAltName=DNS:localhost)
}
(cd "$IT/tls" && certificate) 2>"$IT/openssl.log" || it_bail "no certificate"
[ ${#IT_AS[@]} = 0 ] || chown -R "$IT_USER" "$IT/tls"

it_start_pg
it_port AMQPS_PORT
it_start_rabbitmq "listeners.ssl.1 = 127.0.0.1:$AMQPS_PORT" \
	"ssl_options.cacertfile = $IT/tls/ca.pem" \
	"ssl_options.certfile = $IT/tls/cert.pem" \
	"ssl_options.keyfile = $IT/tls/key.pem" \
	"ssl_options.verify = verify_none"
user=${AMQP_URL#amqp://} user=${user%@*}
# No more than docs/rabbitmq.md says is needed.
"$RABBITMQCTL" set_permissions souk '^souk\.' '^(souk\.|amq\.default$)' \
	'^souk\.' >/dev/null || it_bail "set_permissions"
export QUEUE_SQL=$srcdir/sql RABBIT_PID=${IT_PID[rabbitmq]}
export AMQPS_URL=amqps://$user@localhost:$AMQPS_PORT
export AMQPS_OTHER_URL=amqps://$user@127.0.0.1:$AMQPS_PORT
export AMQPS_CA=$IT/tls/ca.pem
"$test"
rc=$?
[ $rc = 0 ] || IT_FAILED=1

# ---- nothing confirmed is lost
confirmed() { wc -l <"$IT/fill.log"; }
more_than() { [ "$(confirmed)" -gt "$1" ]; }
it_spawn fill TERM "$test" fill
sleep 3 # killed while a quorum queue is made, RabbitMQ 3.10 never opens it again
for round in first second; do
	it_wait_for 30 more_than $(($(confirmed) + 300)) ||
		it_bail "no tasks are sent"
	it_stop rabbitmq KILL 2>/dev/null
	it_start_rabbitmq
	it_ok "sends again after the $round kill" \
		it_wait_for 30 more_than "$(confirmed)"
done
it_stop fill
"$test" empty >"$IT/received" 2>"$IT/empty.log"
sort -u "$IT/fill.log" >"$IT/confirmed.sorted"
sort -u "$IT/received" >"$IT/received.sorted"
it_eq "nothing that was confirmed is lost" \
	"$(comm -23 "$IT/confirmed.sorted" "$IT/received.sorted" | wc -l)" 0
it_note "$(wc -l <"$IT/confirmed.sorted") confirmed," \
	"$(wc -l <"$IT/received.sorted") received"
it_summary
