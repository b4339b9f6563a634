#!/usr/bin/env bash
#
# run.sh - what the shop costs beside the least that could do the same work.
# docs/bench.md says how to read the table. `make bench` runs it; by hand:
#
#	top_builddir=BUILD srcdir=SOURCE bench/run.sh [SECTIONS]
#
# SECTIONS: some of edge api page even size buy (default: all). Everything runs in
# this one run, the two sides of a ratio in turn, for BENCH_ROUNDS (5) rounds of
# BENCH_SECONDS (2) each; a row is the median of its rounds' ratios. All servers
# are private (tests/it/lib.sh), on loopback.
#
# The servers before which the shop is measured without the page cache are
# copies of the real server block of conf/nginx/souk.conf, with the lines that
# name the cache taken out and another upstream put in: same settings, same
# addresses, same parameters handed on.
. "$(dirname "${BASH_SOURCE[0]}")/../tests/it/lib.sh"

SECTIONS=${*:-edge api page even size buy}
ROUNDS=${BENCH_ROUNDS:-5}
SECONDS_EACH=${BENCH_SECONDS:-2}
CHILDREN=8 CONNS=64
# Connections that a child of the floor takes: half as many again as its part, so
# that all of them serve (floor_loop.c).
SLOTS=$((CONNS / CHILDREN * 3 / 2))
RUN=$IT/bench
T=$RUN/table
declare -A PORT=() # server -> port
MISSED=0

it_need curl jq initdb redis-server nginx wrk
for p in floor floor_purchase evenly; do
	[ -x "$top_builddir/bench/$p" ] ||
		it_bail "bench/$p is not built: make bench, or --enable-bench"
done

wanted() { case " $SECTIONS " in *" $1 "*) ;; *) return 1 ;; esac }

# ---- servers

# Without the directives that name the page cache, which may go on over lines.
no_cache() { awk '/fastcgi_cache/ { skip = 1 } !skip { print } /;/ { skip = 0 }'; }

# bench_server NAME UPSTREAM-ADDRESS: a copy of the shop's server block without
# the page cache, before that address.
bench_server() {
	local name=$1 port
	it_port port
	PORT[$name]=$port
	{
		# as in souk.conf
		sed -n '/^upstream souk_fcgi/,/^}/p' "$IT/nginx/souk.conf" |
			sed -e "s/souk_fcgi/bench_$name/" -e "s|server .*|server $2;|"
		sed -n '/^server {/,/^}/p' "$IT/nginx/souk.conf" | no_cache |
			sed -e "s/127.0.0.1:$NGINX_PORT/127.0.0.1:$port/" \
				-e "s|$IT/nginx/souk-|$IT/nginx/bench-|" \
				-e "s/fastcgi_pass souk_fcgi/fastcgi_pass bench_$name/"
	} >>"$IT/nginx/bench.conf"
}

bench_snippets() {
	local f
	for f in edge item params; do
		no_cache <"$IT/nginx/souk-$f.conf" \
			>"$IT/nginx/bench-$f.conf"
	done
}

# The bytes of a page as files, in the shop's own server: same settings but
# those of the page cache. Every answer of that server but a hit gets a request
# id, for header and log, which costs more than the file; "lean" has none.
bench_static() {
	cat <<-CONF
		location = /bench/identity {
		    alias $RUN/page.identity;
		    default_type "text/html; charset=utf-8";
		}
		location = /bench/br {
		    alias $RUN/page.br;
		    default_type "text/html; charset=utf-8";
		    add_header Content-Encoding br;
		    add_header Cache-Status \$souk_cache_status always;
		    add_header X-Request-Id \$souk_request_id always;
		}
		location = /bench/lean {
		    access_log $IT/nginx/lean.log lean buffer=64k flush=5s;
		    alias $RUN/page.identity;
		    default_type "text/html; charset=utf-8";
		    add_header Cache-Status "souk-edge; hit" always;
		}
	CONF
}

# As the shop installs it, with the buffered log that it is installed with; and
# the bench's own servers.
bench_nginx() {
	it_nginx_conf "unix:$IT/run/fcgi.sock"
	sed -i "s|access.log souk;|access.log souk buffer=64k flush=5s;|" \
		"$IT/nginx/souk.conf"
	bench_snippets
	sed -n '/^log_format souk/,/;$/p' "$IT/nginx/souk.conf" |
		sed -e 's/log_format souk/log_format lean/' \
			-e 's/[$]souk_request_id/-/' >"$IT/nginx/bench-log.conf"
	: >"$IT/nginx/bench.conf"
	bench_server app "unix:$IT/run/fcgi.sock"
	bench_server bare "unix:$RUN/bare/fcgi.sock"
	bench_server fixed "unix:$RUN/fixed.sock"
	bench_server page "unix:$RUN/page.sock"
	bench_server few "unix:$RUN/few/fcgi.sock"
	bench_server purchase "unix:$RUN/purchase.sock"
	bench_server many "unix:$RUN/many/fcgi.sock"
	bench_static >"$IT/nginx/bench-static.conf"
	sed -i "0,/# ---- all else/s||include $IT/nginx/bench-static.conf;\n    &|" \
		"$IT/nginx/souk.conf"
	sed -i -e "s|include $IT/nginx/souk.conf;|&\n    include $IT/nginx/bench.conf;|" \
		-e "s|include $IT/nginx/souk.conf;|include $IT/nginx/bench-log.conf;\n    &|" \
		"$IT/nginx/nginx.conf"
	it_spawn nginx QUIT "${IT_AS[@]+"${IT_AS[@]}"}" \
		"$(command -v nginx || echo /usr/sbin/nginx)" \
		-e stderr -p "$IT/nginx" -c "$IT/nginx/nginx.conf"
	it_wait_for 10 it_open_port "$NGINX_PORT" || it_bail "nginx did not start"
	PORT[edge]=$NGINX_PORT
	SOUK_URL=http://127.0.0.1:$NGINX_PORT
}

# bench_fcgi NAME DATABASE [SECTION.KEY=VALUE]...: one more souk-fcgi
bench_fcgi() {
	local name=$1 db=$2 d=$RUN/$1
	shift 2
	it_mkdir "$d"
	[ ! -e "$IT/souk.ini" ] || cp "$IT/souk.ini" "$RUN/first.ini"
	it_ini "fcgi.listen=unix:$d/fcgi.sock" "fcgi.status_file=$d/status" \
		"fcgi.pid_file=$d/pid" "fcgi.children=$CHILDREN" \
		order.per_customer=1000000 \
		"postgres.url=$(it_pg_url "$PGPORT_MAIN" | sed "s|/souk?|/$db?|")" \
		"$@"
	mv "$IT/souk.ini" "$d/souk.ini"
	cp "$RUN/first.ini" "$IT/souk.ini"
	it_spawn "$name" TERM "${IT_AS[@]+"${IT_AS[@]}"}" \
		env -u DATABASE_URL -u DATABASE_REPLICA_URL -u REDIS_URL \
		-u SOUK_URL souk-fcgi -c "$d/souk.ini"
	it_wait_for 15 [ -S "$d/fcgi.sock" ] || it_bail "souk-fcgi did not start"
}

bench_floor() {
	local name=$1
	shift
	it_spawn "floor-$name" TERM "${IT_AS[@]+"${IT_AS[@]}"}" \
		"$top_builddir/bench/floor" -l "$RUN/$name.sock" -c $CHILDREN -s $SLOTS "$@"
	it_wait_for 5 [ -S "$RUN/$name.sock" ] || it_bail "floor did not start"
}

# ---- measuring

# Ticks of CPU that a tree of processes has used, the dead ones among them: those
# are in their parent's cutime and cstime (proc(5), fields 14-17).
cpu_of() {
	local pid sum=0 line
	local -a f
	for pid in $1 $(pgrep -P "$1"); do
		line=$(cat "/proc/$pid/stat" 2>/dev/null) || continue
		read -ra f <<<"${line##*) }"
		sum=$((sum + f[11] + f[12] + f[13] + f[14]))
	done
	echo $sum
}

cpu_all() {
	echo "$(cpu_of "${IT_PID[nginx]}") $(cpu_of "$1")" \
		"$(cpu_of "${IT_PID[redis]}") $(cpu_of "${IT_PID[pg]}")"
}

# load NAME URL APP-PID [WRK-ARG...]: one round; adds a line
# "req/s requests nginx app redis postgres p99" (CPU in ticks, p99 in ms) to
# $RUN/m.NAME. REFUSED=yes: answers other than 2xx are what is asked for.
load() {
	local name=$1 url=$2 pid=$3 before after out rate n bad p99
	local -a b a
	shift 3
	before=$(cpu_all "$pid")
	out=$(wrk -t2 -c$CONNS -d"${SECONDS_EACH}s" --latency "$@" "$url" 2>&1) ||
		it_bail "wrk: $out"
	after=$(cpu_all "$pid")
	rate=$(awk '/^Requests\/sec/ { print $2 }' <<<"$out")
	n=$(awk '/requests in/ { print $1 }' <<<"$out")
	bad=$(grep -E "${REFUSED:+no }Non-2xx|Socket errors" <<<"$out")
	[ -z "$bad" ] || it_bail "$name: $url: $bad"
	p99=$(awk '$1 == "99%" { v = $2 + 0
		if ($2 ~ /us$/) v /= 1000; else if ($2 !~ /ms$/) v *= 1000
		print v }' <<<"$out")
	read -ra b <<<"$before"
	read -ra a <<<"$after"
	echo "$rate $n $((a[0] - b[0])) $((a[1] - b[1])) $((a[2] - b[2]))" \
		"$((a[3] - b[3])) $p99" >>"$RUN/m.$name"
}

# median of one column of $RUN/m.NAME
median() {
	awk -v c="$2" '{ print $c }' "$RUN/m.$1" | sort -g |
		awk '{ v[NR] = $1 } END { m = int(NR / 2) + 1
			print NR % 2 ? v[m] : (v[m - 1] + v[m]) / 2 }'
}

# Ratios of two measurements, round by round: "median least most"
ratios() { # A B [COLUMN]
	paste -d' ' <(awk -v c="${3:-1}" '{ print $c }' "$RUN/m.$1") \
		<(awk -v c="${3:-1}" '{ print $c }' "$RUN/m.$2") |
		awk '$2 > 0 { print $1 / $2 }' | sort -g |
		awk '{ v[NR] = $1 } END { m = int(NR / 2) + 1
			print (NR % 2 ? v[m] : (v[m - 1] + v[m]) / 2),
				v[1], v[NR] }'
}

# CPU time that a request of A costs the servers, B's as a part of it: as the
# ratio of req/s would be on a machine that does nothing else
by_cpu() {
	cat "$RUN/m.$1" - "$RUN/m.$2" <<<"-" | awk '
		BEGIN { i = 0 }
		/^-/ { i = 1; next }
		{ n[i] += $2; c[i] += $3 + $4 + $5 + $6 }
		END { printf "%.2f", c[1] / n[1] / (c[0] / n[0]) }'
}

# row TEXT A B [TARGET]: A is the shop; the ratio should be TARGET or more
row() {
	local r low high verdict=''
	read -r r low high < <(ratios "$2" "$3")
	if [ -n "${4:-}" ]; then
		verdict="ok   >= $4"
		awk -v r="$r" -v t="$4" 'BEGIN { exit !(r < t) }' &&
			verdict="LESS than $4" MISSED=$((MISSED + 1))
	fi
	printf '%-46s %8.0f %8.0f %6.2f  (%.2f-%.2f) %6s  %s\n' "$1" \
		"$(median "$2" 1)" "$(median "$3" 1)" "$r" "$low" "$high" \
		"$(by_cpu "$2" "$3")" "$verdict" >>"$T"
}

# p99_row TEXT A B [MOST]: the times under which 99 of 100 were answered, in ms
p99_row() {
	local r low high verdict=''
	read -r r low high < <(ratios "$2" "$3" 7)
	if [ -n "${4:-}" ]; then
		verdict="ok   <= $4"
		awk -v r="$r" -v t="$4" 'BEGIN { exit !(r > t) }' &&
			verdict="MORE than $4" MISSED=$((MISSED + 1))
	fi
	printf '%-46s %8.1f %8.1f %6.2f  (%.2f-%.2f) %6s  %s\n' "$1" \
		"$(median "$2" 7)" "$(median "$3" 7)" "$r" "$low" "$high" "" \
		"$verdict" >>"$T"
}

# cost TEXT NAME: CPU time per request, in microseconds, all rounds together
cost() {
	awk -v text="$1" -v hz="$(getconf CLK_TCK)" '
		{ n += $2; for (i = 3; i <= 6; i++) c[i] += $i }
		END {
			us = 1e6 / hz / n
			printf "%-46s %8.1f %8.1f %8.1f %8.1f %8.1f\n", text, \
				c[3] * us, c[4] * us, c[5] * us, c[6] * us, \
				(c[3] + c[4] + c[5] + c[6]) * us
		}' "$RUN/m.$2" >>"$T"
}

say() { printf '%s\n' "$*" >>"$T"; }
url() { echo "http://127.0.0.1:${PORT[$1]}$2"; }

# ---- what is measured

# The richest product of the catalogue, its page and its API answer
subject() {
	ID=$(it_psql -Atc "SELECT id FROM product WHERE status = 'active'
		ORDER BY length(description) DESC, id LIMIT 1")
	PAGE=/products/$ID API=/api/products/$ID
	curl -fsS "$(url edge "$PAGE")" >"$RUN/page.identity" ||
		it_bail "no page"
	curl -fsS -H 'Accept-Encoding: br' "$(url edge "$PAGE")" >"$RUN/page.br"
	curl -fsS "$(url bare "$PAGE")" >"$RUN/page.bare" || it_bail "no bare page"
	cmp -s "$RUN/page.identity" "$RUN/page.bare" || it_bail "the page differs"
	curl -fsS "$(url edge "$API")" >"$RUN/api" || it_bail "no API"
}

# Every child has the record and the page in its own memory; nginx holds
# connections.
warm() {
	local s
	for s; do
		wrk -t2 -c$CONNS -d1s "$s" >/dev/null 2>&1
	done
}

measure_edge() {
	local i
	warm "$(url edge "$PAGE")" "$(url edge /bench/identity)"
	it_match "the edge hits" "$(curl -sI "$(url edge "$PAGE")")" \
		'Cache-Status: souk-edge; hit' >/dev/null
	for ((i = 0; i < ROUNDS; i++)); do
		load edge "$(url edge "$PAGE")" "${IT_PID[fcgi]}"
		load static "$(url edge /bench/identity)" "${IT_PID[fcgi]}"
		load lean "$(url edge /bench/lean)" "${IT_PID[fcgi]}"
		load edge-br "$(url edge "$PAGE")" "${IT_PID[fcgi]}" \
			-H 'Accept-Encoding: gzip, deflate, br'
		load static-br "$(url edge /bench/br)" "${IT_PID[fcgi]}" \
			-H 'Accept-Encoding: gzip, deflate, br'
	done
}

measure_api() {
	local i
	warm "$(url app "$API")" "$(url fixed "$API")"
	for ((i = 0; i < ROUNDS; i++)); do
		load api "$(url app "$API")" "${IT_PID[fcgi]}"
		load fixed "$(url fixed "$API")" "${IT_PID[floor-fixed]}"
	done
}

measure_page() {
	local i
	warm "$(url app "$PAGE")" "$(url bare "$PAGE")" "$(url page "$PAGE")"
	for ((i = 0; i < ROUNDS; i++)); do
		load kept "$(url app "$PAGE")" "${IT_PID[fcgi]}"
		load page "$(url page "$PAGE")" "${IT_PID[floor-page]}"
		load anew "$(url bare "$PAGE")" "${IT_PID[bare]}"
	done
}

# Two databases that differ in the number of products alone; nothing cached.
MANY=${BENCH_PRODUCTS:-100000}
size_start() {
	local db
	it_psql -d postgres -c 'CREATE DATABASE few' -c 'CREATE DATABASE many' ||
		it_bail "no database"
	for db in few many; do
		bench_fcgi $db $db cache.enabled=no cache.pages=no fcgi.children=4
		it_souk_env soukctl -c "$RUN/$db/souk.ini" migrate \
			>"$RUN/migrate" 2>&1 || it_bail "migrate"
	done
	it_psql -d few -v n=100 -f "$srcdir/bench/catalogue.sql" >/dev/null &&
		it_psql -d many -v n="$MANY" \
			-f "$srcdir/bench/catalogue.sql" >/dev/null ||
		it_bail "catalogue.sql"
	it_psql -U postgres -c CHECKPOINT >/dev/null
}

# Products all over the catalogue, in an order that no index has.
size_lua() {
	cat >"$RUN/$1.lua" <<-LUA
		local i, n = 0, $2
		request = function()
		    i = (i * 7919 + 4243) % n
		    return wrk.format("GET", "/products/" .. i + 1)
		end
	LUA
}

measure_size() {
	local i s SECONDS_EACH=${BENCH_SIZE_SECONDS:-1}
	size_start
	size_lua few 100
	size_lua many "$MANY"
	for ((i = 0; i < ROUNDS; i++)); do
		for s in few many; do
			load product-$s "$(url $s /)" "${IT_PID[$s]}" \
				-s "$RUN/$s.lua"
		done
		for s in few many; do
			load list-$s "$(url $s /products)" "${IT_PID[$s]}"
		done
		load next-few "$(url few '/products?after=60')" "${IT_PID[few]}"
		load next-many "$(url many "/products?after=$((MANY / 2))")" \
			"${IT_PID[many]}"
		load search-few "$(url few '/products?q=lot2')" "${IT_PID[few]}"
		load search-many "$(url many '/products?q=lot2000')" \
			"${IT_PID[many]}"
	done
}

measure_even() {
	"$top_builddir/bench/evenly" "${PORT[app]}" "$API" $CONNS 3 \
		>"$RUN/even.app" || it_bail "evenly"
	"$top_builddir/bench/evenly" "${PORT[fixed]}" "$API" $CONNS 3 \
		>"$RUN/even.fixed" || it_bail "evenly"
}

# ---- buying

# buy_lua NAME PATH BODY: POSTs of many people, each with a session
buy_lua() {
	cat >"$RUN/$1.lua" <<-LUA
		local cookies, n, threads = {}, 0, 0
		for line in io.lines("$RUN/cookies") do
		    cookies[#cookies + 1] = "souk_session=" .. line
		end
		function setup(thread)
		    thread:set("first", threads * 997)
		    threads = threads + 1
		end
		function init() n = first end
		request = function()
		    n = n % #cookies + 1
		    return wrk.format("POST", "$2", { Cookie = cookies[n],
			["Content-Type"] = "application/json" }, [[$3]])
		end
	LUA
}

# A sale with more than all of a run, one with a single unit, and an item whose
# rows the floor writes; orders of the cart take from a fourth variant.
buy_start() {
	local v=() sale line
	mapfile -t v < <(it_psql -F ' ' -c "SELECT p.id, min(v.id) FROM product p
		JOIN variant v ON v.product_id = p.id WHERE p.status = 'active'
		GROUP BY p.id HAVING count(*) = 1 ORDER BY p.id LIMIT 4")
	it_psql -c "UPDATE variant SET stock = 3000000" >/dev/null
	it_souk_env soukctl loadtest buyers 2000 >"$RUN/cookies" ||
		it_bail "loadtest buyers"
	for line in "0 2000000 1000" "1 1 1" "2 9000000 1"; do
		set -- $line
		read -r PRODUCT VARIANT <<<"${v[$1]}"
		it_psql -c "UPDATE variant SET stock = 9500000 WHERE id = $VARIANT"
		sale=$(it_souk_env soukctl sale create --product "$PRODUCT" \
			--variant "$VARIANT" --allotment "$2" --limit "$3" \
			--price 1000 --start now --end +1h) || it_bail "sale create"
		BUY_BODY[$1]="{\"saleId\":$sale,\"productId\":$PRODUCT}"
		[ "$1" = 2 ] || it_souk_env soukctl --quiet sale open "$sale" ||
			it_bail "sale open"
	done
	FLOOR_ITEM=$(it_psql -c "SELECT id FROM sale_item WHERE sale_id = $sale")
	read -r PRODUCT VARIANT <<<"${v[3]}"
	# Not what orders fill: of a table that was vacuumed while it was empty
	# PostgreSQL believes that it stays so, and scans it.
	it_psql -U postgres -c "VACUUM ANALYZE product, variant, customer, session"
	buy_lua buy /api/flash-sale/purchase "${BUY_BODY[0]}"
	buy_lua sold /api/flash-sale/purchase "${BUY_BODY[1]}"
	buy_lua orders /api/orders "{\"items\":[{\"productId\":$PRODUCT,\"variantId\":$VARIANT,\"quantity\":1}]}"
	curl -fsS -o /dev/null -H "Content-Type: application/json" \
		-b "souk_session=$(head -n 1 "$RUN/cookies")" \
		-d "${BUY_BODY[1]}" "$(url app /api/flash-sale/purchase)" ||
		it_bail "the last unit"
	it_spawn floor-purchase TERM "${IT_AS[@]+"${IT_AS[@]}"}" \
		"$top_builddir/bench/floor_purchase" -l "$RUN/purchase.sock" \
		-c $CHILDREN -s $SLOTS -r "$IT/redis/sock" -d "$DATABASE_URL" -i "$FLOOR_ITEM"
	it_wait_for 5 [ -S "$RUN/purchase.sock" ] || it_bail "no floor_purchase"
	# Every child knows every session.
	wrk -t2 -c$CONNS -d5s -s "$RUN/sold.lua" "$(url app /)" >/dev/null 2>&1
}

measure_buy() {
	local i
	declare -A BUY_BODY=()
	buy_start
	# First what writes nothing: a purchase leaves the disk and PostgreSQL
	# busy for seconds, at the expense of whoever is measured next.
	for ((i = 0; i < ROUNDS; i++)); do
		REFUSED=yes load sold "$(url app /)" "${IT_PID[fcgi]}" \
			-s "$RUN/sold.lua"
		load floor-sold "$(url fixed /)" "${IT_PID[floor-fixed]}" \
			-s "$RUN/sold.lua"
	done
	for ((i = 0; i < ROUNDS; i++)); do
		load buy "$(url app /)" "${IT_PID[fcgi]}" -s "$RUN/buy.lua"
		load floor-buy "$(url purchase /)" "${IT_PID[floor-purchase]}" \
			-s "$RUN/buy.lua"
		load orders "$(url app /)" "${IT_PID[fcgi]}" -s "$RUN/orders.lua"
	done
}

# ---- the table

even_row() {
	local least most sum longest bad
	read -r least most sum longest bad <"$RUN/even.$2"
	printf '%-46s %8d %8d %8d %8d ms\n' "$1" "$least" "$most" \
		"$((sum / CONNS))" "$longest" >>"$T"
	[ "$least" -gt 0 ] && [ "$bad" = 0 ] || MISSED=$((MISSED + 1))
}

table() {
	say "page $(stat -c %s "$RUN/page.identity") bytes (br" \
		"$(stat -c %s "$RUN/page.br")), API $(stat -c %s "$RUN/api")" \
		"bytes; $CONNS connections, $CHILDREN processes, $ROUNDS rounds" \
		"of $SECONDS_EACH s, $(nproc) cores shared with wrk"
	say ""
	printf '%-46s %8s %8s %6s  %-11s %6s\n' "req/s (medians)" shop floor \
		ratio "(rounds)" "by CPU" >>"$T"
	if wanted edge; then
		row "edge HIT : nginx static" edge static 0.9
		row "edge HIT br : nginx static br" edge-br static-br 0.9
		row "edge HIT : nginx static without request id" edge lean
	fi
	if wanted api; then
		row "product API, warm : libfcgi, 200 bytes" api fixed 0.75
	fi
	if wanted page; then
		row "page, kept in the process : libfcgi, same bytes" kept page
		row "page, rendered anew : libfcgi, same bytes" anew page 0.5
	fi
	if wanted size; then
		say ""
		printf '%-46s %8s %8s %6s  %-11s %6s\n' \
			"req/s, nothing cached; products:" "$MANY" 100 ratio \
			"(rounds)" "by CPU" >>"$T"
		# 1.3 times the time
		row "product page" product-many product-few 0.77
		row "first list page" list-many list-few 0.77
		row "list page in the middle" next-many next-few 0.77
		row "search for a word of 20 products" search-many search-few
	fi
	if wanted buy; then
		say ""
		printf '%-46s %8s %8s %6s  %-11s %6s\n' "buying, req/s" shop \
			floor ratio "(rounds)" "by CPU" >>"$T"
		row "purchase : EVALSHA and INSERT" buy floor-buy 0.8
		p99_row "  its p99, ms" buy floor-buy 1.5
		row "sold out : libfcgi, 200 bytes" sold floor-sold 0.85
		row "POST /api/orders : EVALSHA and INSERT" orders floor-buy
		p99_row "  its p99, ms" orders floor-buy
	fi
	say ""
	printf '%-46s %8s %8s %8s %8s %8s\n' "CPU, microseconds a request" \
		nginx app redis postgres sum >>"$T"
	if wanted edge; then
		cost "edge HIT" edge
		cost "nginx static" static
		cost "nginx static without request id" lean
	fi
	if wanted api; then
		cost "product API, warm" api
		cost "libfcgi, 200 bytes" fixed
	fi
	if wanted page; then
		cost "page, kept in the process" kept
		cost "page, rendered anew" anew
		cost "libfcgi, same bytes" page
	fi
	if wanted size; then
		cost "product page, nothing cached, $MANY" product-many
		cost "list page, nothing cached, $MANY" list-many
	fi
	if wanted buy; then
		cost "purchase" buy
		cost "EVALSHA and INSERT" floor-buy
		cost "sold out" sold
		cost "libfcgi, 200 bytes, POST" floor-sold
		cost "POST /api/orders" orders
	fi
	if wanted even; then
		say ""
		printf '%-46s %8s %8s %8s %8s\n' \
			"answers per connection, of $CONNS" least most mean \
			longest >>"$T"
		even_row "product API, warm" app
		even_row "libfcgi, 200 bytes" fixed
	fi
}

it_mkdir "$RUN"
it_souk_install
it_start_pg
it_start_redis
it_ini
it_souk_env soukctl migrate >"$RUN/migrate" 2>&1 || it_bail "migrate"
it_souk_env soukctl import "$srcdir/sample/catalogue.jsonl" \
	>"$RUN/import" 2>&1 ||
	it_bail "import"
bench_nginx
# More orders of each customer than any shop would take.
it_start_fcgi fcgi.children=$CHILDREN order.per_customer=1000000
bench_fcgi bare souk cache.pages=no
subject
bench_floor fixed -t application/json
bench_floor page -t "text/html; charset=utf-8" -f "$RUN/page.identity"
for s in edge api page even size buy; do
	! wanted $s || measure_$s
done
table
cat "$T"
[ "$MISSED" = 0 ] || echo "# $MISSED below the target"
