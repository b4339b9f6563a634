#!/usr/bin/env bash
# Pictures from an upload to what everybody sees: through soukctl, souk-worker
# image and its sandbox, in folders. In S3: images_s3.sh.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need initdb psql redis-server curl jq nginx pgrep python3
make=$top_builddir/tests/imager/picture_make
if [ ! -x "$make" ]; then
	ln -s "$top_builddir/workers/souk-workers" "$IT/souk-worker"
	it_match "configured without: there is no such worker, and it says why" \
		"$("$IT/souk-worker" image 2>&1)" 'built without pictures'
	it_summary
fi
it_souk_install
it_start_pg
it_start_redis
it_start_fcgi "mail.url=maildir:$IT/mail" workers.visibility=2s \
	workers.backoff=50ms "workers.task_receives=process_image: 5"
it_sample
ctl() { it_souk_env soukctl "$@"; }
sql() { it_psql -c "$1"; }
is() { [ "$("${@:2}")" = "$1" ]; }
start_worker() {
	: >"$IT/worker.log"
	it_spawn worker TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL \
		-u REDIS_URL -u SOUK_URL "$@" souk-worker image
}
queue() { sql "SELECT count(*) FROM outbox WHERE queue = 'image'"; }
dead() { sql "SELECT count(*) FROM dead_task WHERE queue = 'image'"; }
status_of() { sql "SELECT status FROM product_image WHERE id = $1"; }
problem_of() { sql "SELECT problem FROM product_image WHERE id = $1"; }
settled() { is 0 queue; }

stop_worker() { it_stop worker "${1:-TERM}"; }
product=$(sql 'SELECT min(id) FROM product')
# add ARGUMENT...: the id; add_why: what is wrong
add() { ctl image add --quiet --product "$product" "$@" 2>"$IT/add.err"; }
add_why() { add "$@" >"$IT/add.out"; echo "$? $(sed 's/^soukctl: //' "$IT/add.err")"; }
stored() { find "$IT/media" -name '*-*.*' ! -path '*/.souk-tmp/*' | wc -l; }
api() { curl -sS --max-time 10 "$SOUK_URL/api/products/$product"; }

it_start_nginx
"$make" new 1500 1000 1 "$IT/a.jpg" && "$make" new 700 300 2 "$IT/b.png" &&
	"$make" new 200 100 3 "$IT/c.webp" &&
	"$make" new 700 300 4 "$IT/e.png" || it_bail "picture_make"
printf 'no picture' >"$IT/text.jpg"
head -c 30000 "$IT/a.jpg" >"$IT/cut.jpg"
cp "$IT/b.png" "$IT/lies.jpg"
printf 'GIF89a\377\377\377\377\0\0\0;' >"$IT/bomb.gif"
chmod -R a+rX "$IT"

# ---- what is no picture is refused at once
it_match "no picture" "$(add_why "$IT/text.jpg")" '^1 .*is no picture \(text\)'
it_match "of another type than it says" "$(add_why "$IT/lies.jpg")" \
	'^1 .*said to be jpeg and is png'
it_match "too large" "$(SOUK_IMAGE_MAX_BYTES=1k add_why "$IT/a.jpg")" '^1 .*1024 bytes'
it_match "of no product" "$(product=999999 add_why "$IT/a.jpg")" '^1 .*No such product'
it_eq "nothing was kept" "$(sql "SELECT count(*) FROM product_image
	WHERE original IS NOT NULL") $(queue) $(find "$IT/originals" -type f | wc -l)" "0 0 0"

# ---- an upload
a=$(add --alt "Clouds" "$IT/a.jpg")
it_match "an upload has an id" "$a" '^[0-9]+$'
it_eq "the same bytes again: the same" "$(add "$IT/a.jpg")" "$a"
it_eq "one task" "$(queue)" 1
was=$(api)
it_eq "it is not shown yet" "$(jq -c "[.images[].id] | index($a)" <<<"$was")" null
version=$(jq .version <<<"$was")
start_worker
it_ok "it is worked on" it_wait_for 30 settled
it_eq "and ready" "$(status_of "$a") $(problem_of "$a")" "ready "
now=$(api)
image=$(jq -c ".images[] | select(.id == $a)" <<<"$now")
it_eq "widths and formats" "$(jq -c '[.variants[] | "\(.width).\(.format)"]' <<<"$image")" \
	'["320.webp","320.avif","640.webp","640.avif","1280.webp","1280.avif"]'
it_eq "shown by the widest WebP" "$(jq -c '[.url, .width]' <<<"$image")" \
	"$(jq -c '.variants[4] | [.url, .width]' <<<"$image")"
it_eq "no more than that is told" "$(jq -c '[keys, (.variants[0] | keys)]' <<<"$image")" \
	'[["alt","height","id","url","variants","width"],["format","height","url","width"]]'
it_eq "the product has another version" "$(jq ".version > $version" <<<"$now")" true
bad=
for url in $(jq -r '.variants[].url' <<<"$image"); do
	curl -sS --max-time 10 -o "$IT/got" -w '%{http_code} %{content_type}\n' \
		"$SOUK_URL$url" >"$IT/code"
	[ "$(cat "$IT/code")" = "200 image/${url##*.}" ] || bad="$bad $url $(cat "$IT/code")"
	case $url in
	"/media/$(sha256sum <"$IT/got" | cut -c1-32)-"*) ;;
	*) bad="$bad $url is not its hash" ;;
	esac
	! grep -aq 'a camera\|Exif' "$IT/got" || bad="$bad $url has Exif"
done
it_eq "each is served, is its hash, has no Exif" "$bad" ""
it_ok "the original is what came" cmp "$IT/a.jpg" "$IT/originals/$(sha256sum <"$IT/a.jpg" |
	cut -c1-64).jpeg"
it_eq "and is not served" "$(curl -s -o "$IT/got" -w '%{http_code}' "$SOUK_URL/media/$(
	sha256sum <"$IT/a.jpg" | cut -c1-64).jpeg")" 404
it_eq "no object is loose" "$(sql 'SELECT count(*) FROM image_loose')" 0

# ---- a small one; a list shows small ones
c=$(add "$IT/c.webp")
it_ok "a small one" it_wait_for 30 settled
it_eq "keeps its width" "$(sql "SELECT DISTINCT v ->> 'width' FROM product_image,
	jsonb_array_elements(variants) v WHERE id = $c")" 200
sql "UPDATE product_image SET position = position + 1 WHERE product_id = $product AND id <> $a;
	UPDATE product_image SET position = 1 WHERE id = $a" >"$IT/sql.out"
ctl cache purge --all --quiet >"$IT/purge.out"
it_eq "a list has the small ones alone" "$(curl -sS --max-time 10 "$SOUK_URL/api/products?limit=100" |
	jq -c ".products[] | select(.id == $product).image | [.width, (.variants | map(.width) | unique)]")" \
	'[640,[320,640]]'

# ---- pictures at fault
cut=$(add "$IT/cut.jpg") bomb=$(add "$IT/bomb.gif")
it_ok "faulty ones are done" it_wait_for 30 settled
it_match "cut off" "$(status_of "$cut") $(problem_of "$cut")" '^failed truncated: '
it_match "a bomb" "$(status_of "$bomb") $(problem_of "$bomb")" \
	'^failed (too_many_pixels|truncated): '
it_eq "they are not shown" "$(api | jq -c "[.images[].id | select(. == $cut or . == $bomb)]")" '[]'
it_eq "nor dead" "$(dead)" 0
it_eq "they can be tried again" "$(ctl image retry --product "$product" --quiet)" 2
it_ok "in vain" it_wait_for 30 settled
it_eq "how they stand" "$(ctl image status --product "$product" --json |
	jq -c '[.waiting, .ready, .failed]')" '[0,2,2]'
it_eq "the same bytes uploaded: tried, too" "$(add "$IT/cut.jpg") $(status_of "$cut")" "$cut waiting"
it_ok "in vain, too" it_wait_for 30 settled

# ---- delivered twice
sql "UPDATE product_image SET problem = 'x' WHERE id = $a;
	INSERT INTO outbox (task_id, queue, type, data) SELECT task_id, 'image',
	'process_image', '{\"imageId\":$a}' FROM finished_task ORDER BY finished_at LIMIT 1" >"$IT/sql.out"
it_ok "a task that comes again" it_wait_for 30 settled
it_eq "has no effect" "$(problem_of "$a")" x

# ---- a worker that is killed
# With a souk-imager that takes longer than a lease (visibility).
stop_worker
printf '#!/bin/sh\nsleep 3\nexec %s "$@"\n' "$IT_PREFIX/libexec/souk-imager" >"$IT/slow"
chmod 755 "$IT/slow"
before=$(stored)
start_worker SOUK_IMAGE_PROGRAM="$IT/slow" SOUK_LOG_LEVEL=debug
b=$(add "$IT/b.png")
works() { pgrep -P "${IT_PID[worker]}"; }
it_ok "a slow one is at it" it_wait_for 20 works
imager=$(works)
stop_worker KILL
# It may have to wait for somebody to look after it (Z).
over() {
	local p
	for p in $imager; do
		! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$p/status" 2>/dev/null || return 1
	done
}
it_ok "souk-imager ends with it" it_wait_for 3 over
start_worker SOUK_IMAGE_PROGRAM="$IT/slow" SOUK_LOG_LEVEL=debug
it_ok "the next one does it" it_wait_for 30 settled
it_eq "and kept its lease: it was received once more, no oftener" \
	"$(sed -n 's/.*event=task_done.* receives=\([0-9]*\).*/\1/p' "$IT/worker.log")" 2
it_eq "it is ready" "$(status_of "$b")" ready
it_eq "its objects are there once" "$(($(stored) - before))" 4
it_eq "and not loose" "$(sql 'SELECT count(*) FROM image_loose')" 0

# ---- mirrored from other addresses
stop_worker
it_port PORT
it_spawn server TERM python3 "$srcdir/tests/store/fetch_server.py" "$PORT" "$IT"
it_wait_for 15 it_open_port "$PORT" || it_bail "no server"
away=http://127.0.0.1:$PORT
other=$((product + 1))
# external NAME: a picture of the other product that lies elsewhere
external() { sql "INSERT INTO product_image (product_id, position, src, width, height)
	VALUES ($other, 9, '$away$1', 5, 5) RETURNING id" | head -n 1; }
task() { sql "INSERT INTO outbox (task_id, queue, type, data)
	VALUES (md5('$1'), 'image', 'process_image', '$2')" >"$IT/sql.out"; }
shown() { curl -sS --max-time 10 "$SOUK_URL/api/products/$other" |
	jq -r ".images[] | select(.id == $1).url"; }
m=$(external /file/e.png) gone=$(external /status/404) html=$(external /html) \
	busy=$(external /status/503)
ctl cache purge --all --quiet >"$IT/purge.out"
it_eq "they are asked for, a portion first" "$(ctl image mirror --product "$other" --max 1 --quiet)" 1
it_eq "then the others" "$(ctl image mirror --product "$other" --quiet)" 3
it_eq "once" "$(ctl image mirror --all --quiet)" 0
it_eq "shown by the address meanwhile" "$(status_of "$m") $(shown "$m")" \
	"waiting $away/file/e.png"
start_worker
it_ok "private addresses: done" it_wait_for 30 settled
it_match "refused" "$(status_of "$m") $(problem_of "$m")" '^failed fetch_private: .*127.0.0.1'
it_eq "and the server was not asked" "$(wc -l <"$IT/server.log")" 0
it_eq "shown by the address as before" "$(shown "$m")" "$away/file/e.png"
stop_worker
start_worker SOUK_IMAGE_FETCH_PRIVATE=yes
it_eq "allowed, and once more" "$(ctl image retry --product "$other" --quiet)" 4
it_ok "they are fetched" it_wait_for 30 settled
it_eq "ready" "$(status_of "$m") $(problem_of "$m")" "ready "
it_match "shown by its variant" "$(shown "$m")" '^/media/[0-9a-f]{32}-640.webp$'
it_match "one is not there" "$(status_of "$gone") $(problem_of "$gone")" '^failed fetch_status: .*404'
it_match "one is none" "$(status_of "$html") $(problem_of "$html")" '^failed not_an_image: '
it_match "one was away each time" "$(status_of "$busy") $(problem_of "$busy")" '^failed fetch_away: .*503'
it_eq "which was" "$(grep -c '^/status/503' "$IT/server.log")" 5
task one "{\"productId\":$other,\"imageUrl\":\"$away/file/c.webp\"}"
task two "{\"productId\":$other,\"imageUrl\":\"$away/file/c.webp\"}"
task three "{\"productId\":999999,\"imageUrl\":\"$away/file/c.webp\"}"
task bad "{\"productId\":$other,\"imageUrl\":\"file:///etc/passwd\"}"
it_ok "by other software's tasks" it_wait_for 30 settled
it_eq "one picture" "$(sql "SELECT status || width FROM product_image WHERE product_id = $other
	AND src = '$away/file/c.webp'")" ready200
it_eq "fetched once" "$(grep -c '^/file/c.webp' "$IT/server.log")" 1
ctl image remove --product "$other" "$(sql "SELECT id FROM product_image
	WHERE product_id = $other AND src = '$away/file/c.webp'")"
task one "{\"productId\":$other,\"imageUrl\":\"$away/file/c.webp\"}"
task two "{\"productId\":$other,\"imageUrl\":\"$away/file/c.webp\"}"
it_ok "the same tasks after it was deleted" it_wait_for 30 settled
it_eq "do not bring it back" "$(sql "SELECT count(*) FROM product_image
	WHERE product_id = $other AND src = '$away/file/c.webp'")" 0
it_eq "a file is nobody's picture" "$(sql 'SELECT task_id, error FROM dead_task' | cut -c1-46)" \
	"$(printf bad | md5sum | cut -c1-32)|bad_task_data"
it_stop server

# ---- what is wrong is here
stop_worker
printf '#!/bin/sh\nexit 3\n' >"$IT/bad" && chmod 755 "$IT/bad"
"$make" new 90 90 8 "$IT/f.jpg" && chmod a+r "$IT/f.jpg"
f=$(add "$IT/f.jpg") before=$(dead)
start_worker SOUK_IMAGE_PROGRAM="$IT/bad"
it_ok "a program that cannot work: its task ends" it_wait_for 30 settled
it_match "the picture says so" "$(status_of "$f") $(problem_of "$f")" '^failed [a-z_]*: .'
it_eq "and the task is dead" "$(($(dead) - before))" 1
stop_worker
start_worker
it_eq "it can be tried again" "$(ctl image retry --product "$product" --quiet)" 3
it_ok "with one that works" it_wait_for 30 settled
it_eq "it is ready" "$(status_of "$f")" ready

# ---- the store is full
stop_worker
if [ "$(id -u)" = 0 ] && mkdir "$IT/full" &&
	mount -t tmpfs -o size=64k,mode=0777 tmpfs "$IT/full" 2>"$IT/mount.err"; then
	head -c 40000 /dev/zero >"$IT/full/filler"
	"$make" new 800 800 9 "$IT/d.jpg"
	d=$(add "$IT/d.jpg")
	start_worker SOUK_MEDIA_STORE="file:$IT/full" SOUK_WORKERS_TASK_RECEIVES="process_image: 100"
	it_ok "a full disk: the task comes again" it_wait_for 30 grep -q \
		'event=task_again.*code=object_store_full' "$IT/worker.log"
	it_eq "the picture waits" "$(status_of "$d")" waiting
	rm "$IT/full/filler"
	mount -o remount,size=8m "$IT/full"
	it_ok "with room it is done" it_wait_for 30 settled
	it_eq "and ready" "$(status_of "$d")" ready
	stop_worker
	umount "$IT/full"
else
	it_skip "a full disk" "needs root and a tmpfs"
fi

# ---- what souk-workers -t says
check() { it_souk_env "$@" souk-workers -t 2>&1; }
it_match "a good configuration" "$(check env)" 'is good$'
it_match "no souk-imager" "$(check env SOUK_IMAGE_PROGRAM=/nonexistent)" \
	'/nonexistent cannot be run'
it_match "none is missed without workers for it" \
	"$(check env SOUK_IMAGE_PROGRAM=/nonexistent SOUK_WORKERS_IMAGE=0)" 'is good$'
it_match "no folder" "$(check env SOUK_MEDIA_STORE=file:/nonexistent/x)" 'No such file'
it_match "a bad bucket" "$(check env SOUK_MEDIA_STORE=s3://B)" '\[media\] store'
it_match "originals that would be served" \
	"$(check env SOUK_MEDIA_ORIGINALS="file:$IT/media/o")" 'must not lie'
ln -s media "$IT/link"
for place in "/$IT/media/o" "$IT//media/o" "$IT/./media/o" "$IT/media/../media/o/p" "$IT/link" \
	"$IT/link/o"; do
	it_match "or written otherwise: $place" \
		"$(check env SOUK_MEDIA_ORIGINALS="file:$place")" 'must not lie'
done

# ---- what nobody refers to is collected
it_eq "one is taken away" "$(ctl image remove --product "$product" "$b"; echo $?)" 0
it_eq "it is shown no more" "$(api | jq -c "[.images[].id] | index($b)")" null
it_eq "its objects are loose, and those of the one before" "$(sql 'SELECT count(*) FROM image_loose')" 8
sql "INSERT INTO image_loose (store, key) SELECT 'media', variants -> 0 ->> 'key'
	FROM product_image WHERE id = $a;
	UPDATE image_loose SET at = now() - interval '2 days'; DELETE FROM clock_turn" >"$IT/sql.out"
before=$(stored)
sql "UPDATE product_image SET status = 'waiting', problem = '' WHERE id = $cut;
	INSERT INTO dead_task (task_id, queue, type, data, created_at, receives, error)
	VALUES (md5('poison'), 'image', 'process_image', '{\"imageId\":$cut}', now(), 5,
	'poison: x')" >"$IT/sql.out"
it_spawn house TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL \
	-u REDIS_URL -u SOUK_URL souk-worker housekeeping
none_loose() { is 0 sql 'SELECT count(*) FROM image_loose'; }
it_ok "they are collected" it_wait_for 30 none_loose
given_up() { [ "$(status_of "$cut") $(problem_of "$cut")" = "failed given_up: poison: x" ]; }
it_ok "and a picture whose task is dead waits no more" it_wait_for 10 given_up
it_eq "and what a picture refers to is not" "$((before - $(stored)))" 4
it_eq "the picture is whole" "$(curl -s -o "$IT/got" -w '%{http_code}' \
	"$SOUK_URL$(jq -r '.variants[0].url' <<<"$image")")" 200
it_stop house TERM

# ---- an import leaves it, an export knows it
ctl export --output "$IT/all.jsonl" >"$IT/export.out" 2>&1
it_eq "what failed is not exported" "$(grep -c "/media/$(sha256sum <"$IT/cut.jpg" |
	cut -c1-32)" "$IT/all.jsonl")" 0
ctl import "$IT/all.jsonl" >"$IT/import.out" 2>&1 # positions without a gap
it_eq "export and import: nothing changes" "$(ctl import --json "$IT/all.jsonl" 2>"$IT/import.err" |
	jq -c '[.updated, .imagesRemoved]')" '[0,0]'
ctl import "$srcdir/sample/catalogue.jsonl" >"$IT/import.out" 2>&1
it_eq "an import without it leaves it" "$(status_of "$a")" ready
sql "UPDATE product_image SET status = 'external', variants = '[]', original = NULL
	WHERE id = $a" >"$IT/sql.out"
ctl cache purge --all --quiet >"$IT/purge.out"
it_match "in another shop it is an address that nobody serves" \
	"$(api | jq -r ".images[] | select(.id == $a).url")" '^/media/[0-9a-f]{32}$'
it_eq "the same bytes uploaded there are worked on" "$(add "$IT/a.jpg") $(queue)" "$a 1"
it_eq "and not shown till then" "$(api | jq -c "[.images[].id] | index($a)")" null
it_summary
