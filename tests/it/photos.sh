#!/usr/bin/env bash
# make check-photos: PHOTOS (1,000) pictures, pieces of the photos that Debian's
# package mate-backgrounds has (or of those in $PHOTO_FOLDER), through soukctl,
# the queue and souk-worker image. All must be ready, nothing be left, and
# neither the worker nor souk-imager may take more memory for the last one than
# for the first ones.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need initdb psql redis-server pgrep
make=$top_builddir/tests/imager/picture_make
[ -x "$make" ] || it_skip_all "configured without images"
photos=("${PHOTO_FOLDER:-/usr/share/backgrounds/mate/nature}"/*.jpg)
[ -e "${photos[0]}" ] || it_skip_all "no photos (apt-get install mate-backgrounds)"
n=${PHOTOS:-1000} per=50
it_souk_install
it_start_pg
it_start_redis
it_ini
it_sample
ctl() { it_souk_env soukctl "$@"; }
sql() { it_psql -c "$1"; }
it_mkdir "$IT/photos"
"$make" cut 1 "$n" "$IT/photos" "${photos[@]}" || it_bail "picture_make"
it_note "$n pictures of ${#photos[@]} photos, $(du -sm "$IT/photos" | cut -f1) MB"
sql "INSERT INTO product (handle, title, status) SELECT 'photo-' || g, 'Photo ' || g, 'active'
	FROM generate_series(1, $n / $per + 1) g" >"$IT/sql.out"
first=$(sql "SELECT min(id) FROM product WHERE handle LIKE 'photo-%'")
cd "$IT/photos" || it_bail "$IT/photos"
for ((i = 1; i <= n; i += per)); do
	files=()
	for ((k = i; k < i + per && k <= n; k++)); do files+=("$k.jpg"); done
	ctl image add --quiet --product $((first + i / per)) "${files[@]}" >>"$IT/ids" ||
		it_bail "image add"
done
cd / || it_bail /
it_eq "all were taken" "$(sort -u "$IT/ids" | wc -l)" "$n"

begin=${EPOCHREALTIME/./}
it_spawn worker TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL -u REDIS_URL \
	-u SOUK_URL souk-worker image
rss() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null; }
left() { sql "SELECT count(*) FROM outbox WHERE queue = 'image'"; }
imager=0 early=0 todo=$n
until [ "$todo" = 0 ]; do
	# What it had at the most, as often as one is seen at its work.
	for ((k = 0; k < 20; k++)); do
		for p in $(pgrep -P "${IT_PID[worker]}"); do
			grep -qs souk-imager "/proc/$p/comm" || continue
			r=$(rss "$p")
			[ "${r:-0}" -le "$imager" ] || imager=$r
		done
		sleep 0.1
	done
	todo=$(left) worker=$(rss "${IT_PID[worker]}")
	[ -n "$worker" ] || it_bail "the worker ended"
	[ "$early" != 0 ] || [ "$todo" -gt $((n * 9 / 10)) ] || early=$worker
	[ "${EPOCHREALTIME/./}" -lt $((begin + ${PHOTO_SECONDS:-3000} * 1000000)) ] ||
		it_bail "not done in time: $todo left"
done
ms=$(((${EPOCHREALTIME/./} - begin) / 1000))
it_note "$n pictures in $((ms / 1000)) s: $((ms / n)) ms each"
it_note "most memory: worker $worker KiB ($early KiB after a tenth), souk-imager $imager KiB"
it_note "variants: $(sql "SELECT sum(jsonb_array_length(variants)) || ', ' ||
	pg_size_pretty(sum((SELECT sum((v ->> 'bytes')::bigint) FROM jsonb_array_elements(variants) v)))
	FROM product_image WHERE status = 'ready'")"
it_eq "all are ready" "$(ctl image status --json)" \
	"$(printf '{"external":%s,"waiting":0,"ready":%s,"failed":0}' \
		"$(sql "SELECT count(*) FROM product_image WHERE status = 'external'")" "$n")"
it_eq "nothing is left or dead" "$(left) $(sql 'SELECT count(*) FROM dead_task')" "0 0"
it_eq "no object is loose" "$(sql 'SELECT count(*) FROM image_loose')" 0
it_eq "each variant is there" "$(sql "SELECT count(DISTINCT v ->> 'key') FROM product_image,
	jsonb_array_elements(variants) v")" "$(find "$IT/media" -name '*-*.webp' -o -name '*-*.avif' | wc -l)"
# Sanitizers have their own idea of memory.
if ! grep -q 'fsanitize' "$top_builddir/config.status"; then
	it_eq "the worker stays below 64 MiB" $((worker < 65536)) 1
	it_eq "and does not grow" $((worker - early < 8192)) 1
	it_eq "souk-imager stays below 256 MiB" $((imager < 262144)) 1
fi
it_summary
