#!/usr/bin/env bash
# The crash test with tasks that go by SQS: one short schedule.
export CHAOS_QUEUE=sqs
exec bash "$(dirname "${BASH_SOURCE[0]}")/chaos.sh" "${CHAOS_SEED:-1}"
