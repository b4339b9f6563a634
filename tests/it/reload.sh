#!/usr/bin/env bash
# SIGHUP every second under load, through nginx, with the whole shop: no request
# fails. RELOAD_SECONDS: how long (60 in `make soak`).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need curl jq wrk initdb redis-server nginx
seconds=${RELOAD_SECONDS:-15}
it_souk_install
it_start_pg
it_start_redis
it_ini
it_sample
it_start_nginx
it_start_fcgi fcgi.children=4
id=$(it_psql -c "SELECT min(id) FROM product WHERE status = 'active'")
token=$(it_token 2>/dev/null)

# Past the edge: /readyz is never cached; and changes by PUT at the same time.
cat >"$IT/mix.lua" <<LUA
local n = 0
request = function()
  n = n + 1
  if n % 20 == 0 then
    return wrk.format("PUT", "/api/products/$id",
      { ["Authorization"] = "Bearer $token",
        ["Content-Type"] = "application/json" }, '{"nonsense":1}')
  elseif n % 3 == 0 then
    return wrk.format("GET", "/products?q=lamp&after=&limit=" .. (n % 7 + 1))
  end
  return wrk.format("GET", "/api/products/$id?x=" .. n)
end
LUA
wrk -t2 -c32 -d"${seconds}s" --timeout 15s -s "$IT/mix.lua" "$SOUK_URL" \
	>"$IT/wrk" 2>&1 &
load=$!
hups=0
while kill -0 $load 2>/dev/null; do
	sleep 1
	kill -HUP "${IT_PID[fcgi]}" && hups=$((hups + 1))
done
wait $load
it_note "$hups reloads: $(tr -s ' \n' ' ' <"$IT/wrk" | tail -c 300)"
it_ok "no answer but 2xx" sh -c "! grep -q Non-2xx '$IT/wrk'"
it_ok "no connection cut" sh -c "! grep -q 'Socket errors' '$IT/wrk'"
it_ok "the load was one" sh -c \
	"test \$(sed -n 's/ *\\([0-9]*\\) requests in.*/\\1/p' '$IT/wrk') -gt 1000"
it_ok "in the end one generation is left" it_wait_for 15 sh -c \
	"[ \"\$(souk-fcgi --status --json | jq '[.processes[].generation] | unique | length')\" = 1 ]"

# ---- a bad configuration
cp "$IT/souk.ini" "$IT/good.ini"
printf '[fcgi]\nchildern = 4\n' >>"$IT/souk.ini"
kill -HUP "${IT_PID[fcgi]}"
said() { grep -q 'childern' "$IT/fcgi.log"; }
it_ok "a bad configuration is named" it_wait_for 5 said
it_match "with file and line" "$(grep childern "$IT/fcgi.log" | tail -1)" \
	'souk\.ini:[0-9]+'
it_eq "and the old one goes on" "$(it_status "/readyz")" 200
cp "$IT/good.ini" "$IT/souk.ini"

# ---- edited templates
it_get "/products/$id" >/dev/null # cached by everybody
it_get /products --compressed >/dev/null
t=$IT_PREFIX/share/souk/templates
cp -r "$t" "$IT/templates"
chmod -R a+rX "$IT/templates"
sed -i "s|^templates = .*|templates = $IT/templates|" "$IT/souk.ini"
sed -i 's|</body>|<!-- edited --></body>|' "$IT/templates/layout.mustache"
kill -HUP "${IT_PID[fcgi]}"
edited() { it_get "/nowhere-$RANDOM" | grep -q '<!-- edited -->'; }
cached_is_edited() {
	it_get "/products/$id" | grep -q '<!-- edited -->' &&
		it_get /products --compressed | grep -q '<!-- edited -->'
}
it_ok "edited templates apply at SIGHUP" it_wait_for 5 edited
it_ok "also to what every cache holds" it_wait_for 5 cached_is_edited
sleep 3
it_ok "and it stays so" cached_is_edited
printf '{{#open}}' >>"$IT/templates/layout.mustache"
kill -HUP "${IT_PID[fcgi]}"
it_ok "a broken one is named" it_wait_for 5 \
	grep -q 'layout.*:[0-9]*:' "$IT/fcgi.log"
it_ok "and the old ones go on" edited
cp "$IT/good.ini" "$IT/souk.ini"

# ---- a child killed under load
wrk -t1 -c8 -d4s --timeout 10s "$SOUK_URL/readyz" >"$IT/wrk2" 2>&1 &
load=$!
sleep 1
kill -KILL "$(souk-fcgi --status --json | jq -r '.processes[0].pid')"
wait $load
bad=$(sed -n 's/.*Non-2xx or 3xx responses: *//p' "$IT/wrk2")
it_ok "kill -9 of a child costs one request at most (${bad:-0})" \
	test "${bad:-0}" -le 1
it_ok "and it is replaced" it_wait_for 5 sh -c \
	"[ \"\$(souk-fcgi --status --json | jq '[.processes[] | select(.state != \"dead\")] | length')\" -ge 4 ]"
it_summary
