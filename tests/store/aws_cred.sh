#!/usr/bin/env bash
# Credentials for AWS over HTTPS, from a host whose certificate nobody signed:
# what it hands out is not taken, and no token sent to it.
. "$(dirname "${BASH_SOURCE[0]}")/../it/lib.sh"
it_need openssl
tell=$top_builddir/tests/store/test_aws_cred
[ -x "$tell" ] || it_skip_all "no unit tests"
unset "${!AWS_@}"
export HOME=$IT AWS_EC2_METADATA_DISABLED=true no_proxy='*'

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
	-addext "subjectAltName=DNS:localhost,IP:127.0.0.1" \
	-keyout "$IT/key.pem" -out "$IT/cert.pem" 2>"$IT/openssl.log" ||
	it_bail "openssl: $(cat "$IT/openssl.log")"
echo '{"AccessKeyId":"AKIDX","SecretAccessKey":"x"}' >"$IT/creds"
it_port port
cd "$IT" || it_bail "no folder"
it_spawn server TERM openssl s_server -accept "127.0.0.1:$port" -WWW \
	-cert "$IT/cert.pem" -key "$IT/key.pem"
it_wait_for 10 it_open_port "$port" || it_bail "no server"

url=https://localhost:$port/creds
it_match "the server hands some out" "$(curl -sk "$url")" AKIDX
said=$(AWS_CONTAINER_CREDENTIALS_FULL_URI=$url \
	AWS_CONTAINER_AUTHORIZATION_TOKEN=hush "$tell" --tell)
it_match "they are not taken" "$said" "^retry aws_credentials_away: "
it_match "and it says why" "$said" "certificate"

said=$(AWS_ACCESS_KEY_ID=AKIDENV AWS_SECRET_ACCESS_KEY=x "$tell" --tell)
it_eq "the environment is the process's own" "$said" AKIDENV
it_summary
