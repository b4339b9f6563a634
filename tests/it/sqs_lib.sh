# shellcheck shell=bash
#
# sqs_lib.sh - aws_lib.sh with somebody's credentials. Source it after lib.sh.
. "$srcdir/tests/it/aws_lib.sh"
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=not-a-secret-of-anybody \
	AWS_REGION=eu-central-1 AWS_EC2_METADATA_DISABLED=true
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL AWS_CONFIG_FILE
