#!/usr/bin/env bash
# Pictures in buckets: originals in one, variants in another, a CDN's address
# before their names; a service that is killed.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/aws_lib.sh"
it_need initdb psql redis-server curl jq
make=$top_builddir/tests/imager/picture_make
[ -x "$make" ] || it_skip_all "configured without images"
it_aws_packages
it_start_fauxqs
unset AWS_PROFILE AWS_SESSION_TOKEN
export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null \
	AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_ACCESS_KEY_ID=AKIDEXAMPLE \
	AWS_SECRET_ACCESS_KEY=hushhush AWS_REGION=eu-central-1
export AWS_ENDPOINT_URL_S3=$AWS_ENDPOINT
for bucket in souk-public souk-private; do
	curl -fsS --max-time 10 -X PUT "$AWS_ENDPOINT/$bucket" >"$IT/bucket.out" || it_bail "$bucket"
done
it_souk_install
it_start_pg
it_start_redis
it_ini media.store=s3://souk-public/shop media.originals=s3://souk-private \
	media.base_url=https://cdn.example/shop workers.visibility=2s workers.backoff=100ms
it_sample
ctl() { it_souk_env soukctl "$@"; }
sql() { it_psql -c "$1"; }
is() { [ "$("${@:2}")" = "$1" ]; }
settled() { is 0 sql "SELECT count(*) FROM outbox WHERE queue = 'image'"; }
it_spawn worker TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL -u REDIS_URL \
	-u SOUK_URL souk-worker image
"$make" new 1000 600 1 "$IT/a.jpg" && "$make" new 600 600 2 "$IT/b.jpg"

a=$(ctl image add --quiet --product 1 "$IT/a.jpg")
it_ok "it is worked on" it_wait_for 30 settled
it_eq "ready" "$(sql "SELECT status, problem FROM product_image WHERE id = $a")" "ready|"
list=$(ctl image list --product 1 --json | jq -r ".images[] | select(.id == $a).url")
it_match "its address is the CDN's" "$list" '^https://cdn.example/shop/[0-9a-f]{32}-640.webp$'
curl -sS --max-time 10 -D "$IT/head" -o "$IT/got" "$AWS_ENDPOINT/souk-public/shop/${list##*/}"
it_eq "it lies in the bucket" "${list##*/}" "$(sha256sum <"$IT/got" | cut -c1-32)-640.webp"
it_match "says what it is" "$(tr -d '\r' <"$IT/head")" '^[Cc]ontent-[Tt]ype: image/webp$'
it_match "and that it may be kept" "$(tr -d '\r' <"$IT/head")" \
	'^[Cc]ache-[Cc]ontrol: public, max-age=31536000, immutable$'
curl -sS --max-time 10 -o "$IT/got" "$AWS_ENDPOINT/souk-private/$(sha256sum <"$IT/a.jpg" |
	cut -c1-64).jpeg"
it_ok "the original is in the other one" cmp "$IT/a.jpg" "$IT/got"

# ---- the service is away
b=$(ctl image add --quiet --product 1 "$IT/b.jpg") && it_stop fauxqs KILL
again() { grep -q 'event=task_again' "$IT/worker.log"; }
it_ok "while S3 is away the task comes again" it_wait_for 60 again
it_start_fauxqs
it_ok "back: done" it_wait_for 60 settled
it_eq "ready, too" "$(sql "SELECT status FROM product_image WHERE id = $b")" ready
it_eq "a bad bucket is said" "$(SOUK_MEDIA_STORE=s3://souk_public it_souk_env souk-workers -t 2>&1 |
	grep -c '\[media\] store')" 1

# ---- what nobody refers to goes
ctl image remove --product 1 "$a"
sql "UPDATE image_loose SET at = now() - interval '2 days'" >"$IT/sql.out"
it_spawn house TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL -u REDIS_URL \
	-u SOUK_URL souk-worker housekeeping
it_ok "it is collected" it_wait_for 30 is 0 sql 'SELECT count(*) FROM image_loose'
it_eq "and gone" "$(curl -s -o "$IT/got" -w '%{http_code}' --max-time 10 \
	"$AWS_ENDPOINT/souk-public/shop/${list##*/}")" 404
it_summary
