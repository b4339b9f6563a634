#!/usr/bin/env bash
# The crash test with tasks that go by RabbitMQ: one short schedule.
[ -z "${SOUK_IT_SANITIZED:-}" ] || {
	echo "1..0 # SKIP not under sanitizers" # tests/store/queue_amqp.sh is
	exit 77
}
export CHAOS_QUEUE=rabbitmq CHAOS_SECONDS=${CHAOS_SECONDS:-7}
exec bash "$(dirname "${BASH_SOURCE[0]}")/chaos.sh" "${CHAOS_SEED:-1}"
