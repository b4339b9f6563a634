#!/usr/bin/env bash
# Pictures from the API to the page, through nginx: who may send what, what is
# refused and how, and that a page offers the variants once a worker made them.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need curl jq initdb redis-server nginx python3
make=$top_builddir/tests/imager/picture_make
[ -x "$make" ] || it_skip_all "built without pictures"
it_souk_install
it_start_pg
it_start_redis
settings=(fcgi.request_deadline=3s)
it_ini "${settings[@]}"
it_sample
it_start_nginx
it_start_fcgi "${settings[@]}"
token=$(it_token)
read -r id other < <(it_psql -F ' ' -c "SELECT min(id), max(id) FROM product
	WHERE status = 'active'")
path=/api/products/$id/images
mkdir "$IT/pic" || it_bail "$IT/pic"
cd "$IT/pic" || it_bail "$IT/pic"
pictures=("1500 1000 1 a.jpg" "500 800 2 b.png" "700 700 3 c.webp" "60 40 4 d.gif"
	"400 300 5 e.avif" "60 40 6 f.tif")
printf '%s\n' "${pictures[@]}" | xargs -L 1 "$make" new || it_bail "picture_make"

eq() { it_eq "$1" "$3" "$2"; }
like() { it_match "$1" "$3" "$2"; }
code() { jq -r .code <"$IT/body" 2>/dev/null; }
auth=(-H "Authorization: Bearer $token")
# up [CURL-ARG...]: a form; the status
up() { it_status "$path" "${auth[@]}" "$@"; }
up_code() { local s; s=$(up "$@"); echo "$s $(code)"; }
images() { it_psql -c "SELECT count(*) FROM product_image WHERE product_id = $id
	AND status <> 'external'"; }
# form FILE < what is between the boundaries
form=(-H 'Content-Type: multipart/form-data; boundary=b')
disposition='Content-Disposition: form-data; name="file"; filename="a.jpg"'

# ---- who
eq "nobody" "401 unauthorized" "$(auth=(); up_code -F file=@a.jpg)"
like "is told what to send" '^Bearer ' "$(it_header WWW-Authenticate)"
eq "a wrong token" "401 unauthorized" \
	"$(auth=(-H 'Authorization: Bearer souk_x'); up_code -F file=@a.jpg)"
session() { # register or login: its cookie
	it_status "/api/$1" -X POST -H 'Content-Type: application/json' \
		-d '{"email":"ann@example.com","password":"wicker basket 42 ab"}' >/dev/null
	it_header Set-Cookie | sed -n 's/^\(souk_session=[^;]*\);.*/\1/p' | tail -n 1
}
ann=$(session register)
eq "a customer" "403 forbidden" "$(auth=(-b "$ann"); up_code -F file=@a.jpg)"
it_psql -c "UPDATE customer SET role = 'admin' WHERE email = 'ann@example.com'" >/dev/null
ann=$(session login)
eq "an operator, from another site's page" "403 cross_origin" \
	"$(auth=(-b "$ann" -H 'Origin: https://evil.example'); up_code -F file=@a.jpg)"
eq "or where the browser says so" "403 cross_origin" \
	"$(auth=(-b "$ann" -H 'Sec-Fetch-Site: cross-site'); up_code -F file=@a.jpg)"
eq "a list is for operators" 401 "$(it_status "$path")"
eq "so is one picture" 401 "$(it_status "$path/1")"
eq "and removing it" 401 "$(it_status "$path/1" -X DELETE)"
eq "none of that kept anything" 0 "$(images)"

# ---- what
head -c 40000 a.jpg >cut.jpg
head -c 5000 /dev/urandom | base64 >text.jpg
eq "another product" "404 product_not_found" \
	"$(path=/api/products/999999999/images up_code -F file=@a.jpg)"
eq "text" "422 not_an_image" "$(up_code -F file=@text.jpg)"
eq "a PNG that says it is a JPEG" "422 type_mismatch" \
	"$(up_code -F 'file=@b.png;type=image/jpeg')"
eq "by its name" "422 type_mismatch" \
	"$(up_code -F 'file=@b.png;filename=b.jpg;type=application/octet-stream')"
eq "or as a bare body" "422 type_mismatch" \
	"$(up_code -H 'Content-Type: image/jpeg' --data-binary @b.png)"
eq "a TIFF" "415 unsupported_type" "$(up_code -F file=@f.tif)"
eq "nothing" "422 invalid_field" "$(up_code -F 'file=@/dev/null;filename=a.jpg')"
eq "no file" "422 invalid_field" "$(up_code -F alt=x)"
eq "two files" "400 duplicate_field" "$(up_code -F file=@a.jpg -F file=@b.png)"
eq "text that is not UTF-8" "422 invalid_field" \
	"$(up_code -F file=@a.jpg -F $'alt=\xff')"
eq "too much text" "422 invalid_field" \
	"$(up_code -F file=@a.jpg -F "alt=$(printf '%02000d' 0)")"
eq "JSON" "415 unsupported_media_type" \
	"$(up_code -H 'Content-Type: application/json' -d '{}')"
eq "a form of another kind" "415 unsupported_media_type" "$(up_code -d file=x)"
eq "no boundary" "400 bad_boundary" \
	"$(up_code -H 'Content-Type: multipart/form-data' --data-binary x)"
eq "a form that is cut" "400 multipart_cut" "$(up_code "${form[@]}" --data-binary \
	$'--b\r\n'"$disposition"$'\r\n\r\nx')"
eq "with bare line ends" "400 bad_multipart" "$(up_code "${form[@]}" --data-binary \
	$'--b\n'"$disposition"$'\n\nx\n--b--')"
eq "with a part without a name" "400 bad_part" "$(up_code "${form[@]}" --data-binary \
	$'--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--')"
raw() { # HEAD-LINE BODY: the status; the body as it is
	exec 3<>"/dev/tcp/127.0.0.1/$NGINX_PORT"
	printf 'POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n%b' \
		"$path" "$token" "$1" "$2" >&3
	timeout 3 head -n 1 <&3 | cut -d' ' -f2
	exec 3<&-
}
eq "a body that is broken" 400 "$(raw 'Transfer-Encoding: chunked' 'zz\r\n\r\n')"
eq "one that stops halfway is nobody's answer" "" "$(raw 'Content-Length: 99' x)"
eq "one in chunks" 415 "$(raw 'Transfer-Encoding: chunked' '1\r\nx\r\n0\r\n\r\n')"
eq "none of that kept anything either" 0 "$(images)"

# ---- how much: [image] max_bytes is 32 MiB
head -c $((33 << 20)) /dev/zero >33m
eq "33 MiB" "413 body_too_large" "$(up_code -F file=@33m)"
like "says how much it may be" 33554432 "$(jq -r .error <"$IT/body")"
taken() { it_get /metrics | awk '/^souk_fcgi_request_body_bytes_total/ { print int($2) }'; }
n=$(taken)
eq "from who may not" "401 unauthorized" \
	"$(auth=(-H 'Authorization: Bearer souk_x'); up_code -F file=@33m)"
n=$(($(taken) - n))
eq "is not even taken in: $n bytes" 1 "$((n < 9 << 20))"
head -c $((36 << 20)) /dev/zero >36m
eq "36 MiB, at nginx" "413 body_too_large" "$(up_code -F file=@36m)"
eq "31 MiB of nothing" "422 not_an_image" \
	"$(head -c $((31 << 20)) /dev/zero >31m; up_code -F file=@31m)"
eq "3 MiB elsewhere are too much" 413 \
	"$(head -c $((3 << 20)) /dev/zero >3m; it_status /api/orders -X POST -T 3m)"
eq "no child was lost by it" 200 "$(it_status /healthz)"

# ---- kept
eq "a JPEG in a form" 201 "$(up -F file=@a.jpg -F 'alt=A <hill> & a sun' \
	-H 'Idempotency-Key: k1')"
jq -S . <"$IT/body" >"$IT/first"
first=$(jq .id "$IT/first")
like "is told where it is" "^$path/$first\$" "$(it_header Location)"
eq "waits" "waiting null 0" "$(jq -r '"\(.status) \(.url) \(.variants)"' "$IT/first")"
eq "the same request again" "200" "$(up -F file=@a.jpg -F 'alt=A <hill> & a sun' \
	-H 'Idempotency-Key: k1')"
eq "is the same picture" "$(cat "$IT/first")" "$(jq -S . <"$IT/body")"
eq "without a key too" "200 $first" "$(up -F file=@a.jpg) $(jq .id <"$IT/body")"
eq "the key with another picture" "422 idempotency_mismatch" \
	"$(up_code -F file=@b.png -H 'Idempotency-Key: k1')"
eq "or another text" "422 idempotency_mismatch" \
	"$(up_code -F file=@a.jpg -F alt=x -H 'Idempotency-Key: k1')"
eq "an operator's own key is another one" 201 "$(auth=(-b "$ann")
	up -F file=@b.png -H 'Idempotency-Key: k1')"
eq "a key that was refused goes on" "415 201" \
	"$(up -F file=@f.tif -H 'Idempotency-Key: k2') $(up -H 'Idempotency-Key: k2' \
		-H 'Content-Type: image/webp' --data-binary @c.webp)"
eq "one that cannot be" "400 invalid_idempotency_key" \
	"$(up_code -F file=@a.jpg -H 'Idempotency-Key: a b')"
eq "a bare body with its text" 201 "$(path="$path?alt=A%20dot" up \
	-H 'Content-Type: image/gif' --data-binary @d.gif)"
eq "which is kept" "A dot" "$(jq -r .alt <"$IT/body")"
eq "an AVIF, of a type nobody named" 201 \
	"$(up -F 'file=@e.avif;filename=blob;type=application/octet-stream')"
eq "one that ends early is kept as well" 201 "$(up -F file=@cut.jpg)"
cut=$(jq .id <"$IT/body")
eq "the same for another product is another" 201 \
	"$(path=/api/products/$other/images up -F file=@a.jpg)"
race=$(for f in b.png c.webp b.png c.webp; do
	curl -s --max-time 20 "${auth[@]}" -H 'Idempotency-Key: race' -F "file=@$f" \
		"$SOUK_URL/api/products/$other/images" &
done; wait)
eq "of two at once under one key one is kept" "1 2" "$(grep -o '"id":[0-9]*' <<<"$race" |
	sort -u | wc -l) $(grep -o idempotency_mismatch <<<"$race" | wc -l)"
up_list() { it_get "$path" "${auth[@]}"; }
eq "the list has all of them" 6 \
	"$(up_list | jq '[.images[] | select(.status == "waiting")] | length')"
eq "privately" "private, no-store" "$(it_header Cache-Control)"
eq "one of them" "200 $first" "$(it_status "$path/$first" "${auth[@]}") $(jq .id <"$IT/body")"
eq "of another product is none" "404 image_not_found" \
	"$(it_status "/api/products/$other/images/$first" "${auth[@]}") $(code)"
eq "that is not for others to keep" "private, no-store" "$(it_header Cache-Control)"
eq "originals are served to nobody" "" "$(find "$IT/media" -type f)"

head -c 700000 /dev/zero >slow
curl -sS --max-time 30 --limit-rate 200k -o slow.body -w '%{http_code}' "${auth[@]}" \
	-H 'Content-Type: image/png' --data-binary @slow "$SOUK_URL$path" >slow.out &
slowly=$!

# ---- the page, before and after
page() { it_get "/products/$id"; }
it_settled
n=$(page | grep -c '<img ')
eq "no page shows one that waits" 0 "$(grep -c '<picture>' "$IT/body")"
it_spawn worker TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL \
	-u DATABASE_REPLICA_URL -u REDIS_URL -u SOUK_URL souk-worker image
made() { ! up_list | jq -e '.images[] | select(.status == "waiting")'; }
it_ok "a worker makes them" it_wait_for 60 made
eq "five are ready, one is not" "failed 1 ready 5" "$(up_list | jq -r '[.images[].status |
	select(. != "external")] | group_by(.) | map("\(.[0]) \(length)") | join(" ")')"
like "and says why" '^truncated: ' \
	"$(up_list | jq -r ".images[] | select(.id == $cut) | .problem")"
shows() { page | grep -q '<picture>'; }
it_ok "the page shows them" it_wait_for 5 shows
it_match "the first is loaded first, the others when they are seen" \
	"$(grep -c 'fetchpriority="high"' "$IT/body") \
$(grep -c '<img .*loading="lazy"' "$IT/body")" '^1 [1-9]'
alt='A &lt;hill&gt; &amp; a sun'
line=$(grep -F -B1 "alt=\"$alt\"" "$IT/body" | tr -d '\n')
like "AVIF for who can" '<source type="image/avif" srcset="[^"]* 320w, [^"]* 640w, [^"]* 1280w" sizes="' "$line"
like "WebP likewise" '<source type="image/webp" srcset="[^"]* 320w, [^"]* 640w, [^"]* 1280w" sizes="' "$line"
like "with its size, so that nothing moves" ' width="1280" height="853" ' "$line"
jsonld=$(grep -o '<script type="application/ld+json">.*</script>' "$IT/body" |
	sed 's/<[^>]*>//g')
like "search engines get the large one" "^$SOUK_URL/media/.*webp\$" \
	"$(jq -r '."@graph"[0].image[] | select(test("webp"))' <<<"$jsonld" | head -n 1)"
for url in $(grep -o '/media/[^ ",]*\.\(avif\|webp\) ' <<<"$line" | sort -u); do
	got="$(it_status "$url") $(it_header Content-Type) $(it_header Cache-Control)"
	eq "$url" "200 image/${url##*.} public, max-age=86400, s-maxage=604800" "$got"
done
it_get "/api/products?limit=100" >/dev/null
eq "a list has the small ones" true "$(jq ".products[] | select(.id == $other) |
	.image.variants == null or (.image.variants | map(.width <= 640) | all)" <"$IT/body")"

# ---- what cannot be undone by hand
eq "an operator removes one" 204 "$(it_status "$path/$first" -X DELETE "${auth[@]}")"
eq "once" "404 image_not_found" \
	"$(it_status "$path/$first" -X DELETE "${auth[@]}") $(code)"
eq "not from another product" 404 \
	"$(it_status "/api/products/$other/images/$cut" -X DELETE "${auth[@]}")"
gone() { ! page | grep -qF "alt=\"$alt\""; }
it_ok "the page is without it" it_wait_for 5 gone
for i in $(up_list | jq '.images[] | select(.status != "external") | .id'); do
	it_status "$path/$i" -X DELETE "${auth[@]}" >/dev/null
done
as_it_was() { [ "$(page | grep -c '<img ')" = "$n" ] && [ "$(page | grep -c '<picture>')" = 0 ]; }
it_ok "without all of them it is as it was" it_wait_for 5 as_it_was

wait "$slowly"
eq "a slow sender costs no child its 3 s" 422 "$(cat slow.out)"

# ---- a bucket that does not answer
it_port MUTE
it_spawn mute TERM python3 -c 'import socket, sys, time
s = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=50)
time.sleep(600)' "$MUTE"
it_wait_for 10 it_open_port "$MUTE" || it_bail "no listener"
it_stop fcgi
AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_REGION=eu-central-1 AWS_EC2_METADATA_DISABLED=true \
	it_start_fcgi "${settings[@]}" media.originals=s3://souk "media.endpoint=http://127.0.0.1:$MUTE"
eq "originals that nobody takes: told in time" 503 "$(up -F file=@c.webp)"
eq "and no child was killed" 0 "$(grep -c event=request_deadline "$IT/fcgi.log")"
it_stop fcgi
it_stop mute
it_start_fcgi "${settings[@]}"

# ---- through Apache
if command -v apache2 >/dev/null || [ -x /usr/sbin/apache2 ]; then
	"$srcdir/conf/fill" <"$srcdir/conf/apache/souk.conf" >"$IT/apache-souk.conf" \
		CACHE="$IT/apache/cache" LOCKS="$IT/apache/locks" \
		SOCKET="$IT/run/fcgi.sock" STATIC="$IT_PREFIX/share/souk/static" \
		MEDIA="$IT/media"
	it_start_apache "$IT/apache-souk.conf"
	eq "a picture" 201 "$(up -F file=@a.jpg)"
	eq "33 MiB" "413 body_too_large" "$(up_code -F file=@33m)"
	eq "36 MiB, at Apache" 413 "$(up -F file=@36m)"
	eq "3 MiB elsewhere" 413 "$(it_status /api/orders -X POST -T 3m)"
else
	it_skip "through Apache" "no apache2"
fi
it_summary
