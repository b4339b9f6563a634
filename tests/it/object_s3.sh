#!/usr/bin/env bash
# Objects in S3 beside AWS's own client (tests/aws/s3.mjs), and a server that is
# killed.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/aws_lib.sh"
it_need curl
do_bin=$top_builddir/tests/store/object_do
[ -x "$do_bin" ] || it_skip_all "no $do_bin"
it_aws_packages
it_start_fauxqs
unset AWS_PROFILE AWS_SESSION_TOKEN
export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null \
	AWS_SHARED_CREDENTIALS_FILE=/dev/null
mkdir "$IT/work"
(cd "$IT/aws" && timeout -k 10 400 "$AWS_NODE" s3.mjs "$do_bin" "$IT/work")
it_eq "the shop and the SDK agree" $? 0

# ---- a server that is killed
export AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=hushhush \
	AWS_REGION=eu-central-1 OBJECT_ENDPOINT=$AWS_ENDPOINT \
	OBJECT_URL=s3://souk-media
object() { "$do_bin" "$@" | cut -f1,2 | tr '\t' ' '; }
sum() { sha256sum <"$1" | cut -c1-64; }
head -c 30000000 /dev/urandom >"$IT/work/a"
head -c 50000000 /dev/urandom >"$IT/work/b"
it_eq "put" "$(object put_fd kept "$IT/work/a" image/png '')" "ok "
it_stop fauxqs KILL
it_match "away: for later" "$(object head kept)" '^retry aws_no_answer'
it_start_fauxqs
it_eq "back: it is there" "$(object get_fd kept 99000000 "$IT/work/got")" "ok "
it_eq "whole" "$(sum "$IT/work/got")" "$(sum "$IT/work/a")"

# Killed while parts are put, and back.
object put_fd kept "$IT/work/b" image/png '' >"$IT/work/said" &
putting=$!
sleep 0.3
it_stop fauxqs KILL
it_start_fauxqs
wait $putting
said=$(cat "$IT/work/said")
it_note "the put says: $said"
it_match "killed while it is put: done, or for later" "$said" '^(ok|retry) '
it_eq "it can be read" "$(object get_fd kept 99000000 "$IT/work/got")" "ok "
case $said in
ok*) it_eq "it is the new one" "$(sum "$IT/work/got")" "$(sum "$IT/work/b")" ;;
*) it_match "it is one of the two, whole" \
	"$(sum "$IT/work/a") $(sum "$IT/work/b")" "$(sum "$IT/work/got")" ;;
esac
it_eq "put once more" "$(object put_fd kept "$IT/work/b" image/png '')" "ok "
it_eq "read" "$(object get_fd kept 99000000 "$IT/work/got")" "ok "
it_eq "the new one" "$(sum "$IT/work/got")" "$(sum "$IT/work/b")"
it_summary
