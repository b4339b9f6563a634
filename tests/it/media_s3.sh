#!/usr/bin/env bash
# Pictures in a bucket that has no address of its own: /media/ sends browsers on
# to it, through nginx with its line for that.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/aws_lib.sh"
it_need curl initdb redis-server nginx
put=$top_builddir/tests/store/object_do
[ -x "$put" ] || it_skip_all "no $put"
it_aws_packages
it_start_fauxqs
unset AWS_PROFILE AWS_SESSION_TOKEN
export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null \
	AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_ACCESS_KEY_ID=AKIDEXAMPLE \
	AWS_SECRET_ACCESS_KEY=hushhush AWS_REGION=eu-central-1
curl -fsS -X PUT "$AWS_ENDPOINT/souk-media" -o "$IT/bucket" || it_bail "no bucket"
key=0123456789abcdef0123456789abcdef-320.webp
printf 'a picture' >"$IT/picture"
OBJECT_URL=s3://souk-media/shop OBJECT_ENDPOINT=$AWS_ENDPOINT \
	"$put" put_fd "$key" "$IT/picture" image/webp '' >"$IT/put.out" ||
	it_bail "put: $(cat "$IT/put.out")"

it_souk_install
it_start_pg
it_start_redis
bucket=(media.store=s3://souk-media/shop "media.endpoint=$AWS_ENDPOINT")
it_ini "${bucket[@]}"
it_souk_env soukctl migrate >"$IT/migrate.out" 2>&1 || it_bail "migrate"
it_start_nginx
sed -i 's/#\(try_files $uri @souk_direct;\)/\1/' "$IT/nginx/souk.conf"
kill -HUP "${IT_PID[nginx]}"
it_start_fcgi "${bucket[@]}"
sent_on() { [ "$(it_status "/media/$key")" = 302 ]; }
it_ok "a browser is sent on" it_wait_for 10 sent_on
it_match "to the bucket, for an hour" "$(it_header Location)" \
	"^$AWS_ENDPOINT/souk-media/shop/$key\?.*X-Amz-Expires=3600&.*X-Amz-Signature="
it_eq "remembered for less" "$(it_header Cache-Control)" 'public, max-age=240'
it_eq "where it gets it" "$(it_get "/media/$key" -L) $(it_header Content-Type)" \
	"a picture image/webp"
printf '<svg xmlns="http://www.w3.org/2000/svg"/>' >"$IT/media/a.svg"
it_eq "what is in the folder comes from there" \
	"$(it_status /media/a.svg) $(it_header Content-Type)" "200 image/svg+xml"
for k in a.webp "x/$key" "${key%.webp}.jpg" "${key#0}" "../$key" "${key}x"; do
	it_eq "no address for $k" "$(it_status "/media/$k" --path-as-is)" 404
done
it_eq "no secret in the log" "$(grep -c hushhush "$IT/fcgi.log")" 0

it_note "with an address of its own"
it_stop fcgi
it_start_fcgi "${bucket[@]}" media.base_url=https://cdn.example/shop/
it_eq "nobody gets in beside it" "$(it_status "/media/$key")" 404
it_summary
