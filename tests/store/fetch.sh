#!/usr/bin/env bash
# Fetching from a stranger's server, which does what it likes.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need python3 openssl
do_bin=$top_builddir/tests/store/fetch_do
[ -x "$do_bin" ] || it_bail "no $do_bin"
it_mkdir "$IT/files"
head -c 200000 /dev/urandom >"$IT/files/a"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
	-subj /CN=localhost -days 2 -keyout "$IT/key" -out "$IT/cert" 2>"$IT/openssl.log" ||
	it_bail "openssl: $(tail -n 3 "$IT/openssl.log")"
cat "$IT/key" "$IT/cert" >"$IT/pem"
it_port PORT
it_port TLS_PORT
it_spawn server TERM python3 "$srcdir/tests/store/fetch_server.py" "$PORT" "$IT/files"
it_spawn tls TERM python3 "$srcdir/tests/store/fetch_server.py" "$TLS_PORT" "$IT/files" "$IT/pem"
it_wait_for 15 it_open_port "$PORT" || it_bail "no server"
it_wait_for 15 it_open_port "$TLS_PORT" || it_bail "no server with TLS"
one=http://127.0.0.1:$PORT two=http://127.0.0.2:$PORT

# get URL [MODE [MAX [MS]]]: rc and code
get() {
	"$do_bin" "$1" "$IT/got" "${3:-1000000}" "${4:-5000}" ${2:+"$2"} >"$IT/said"
	cut -f1,2 "$IT/said" | tr '\t' ' '
}
asked() { grep -c "^$1 " "$IT/server.log"; }

# ---- what is there comes
it_eq "a file" "$(get "$one/file/a" any)" "ok "
it_ok "whole" cmp "$IT/files/a" "$IT/got"
it_eq "its type and size" "$(cut -f3,4 "$IT/said" | tr '\t' ' ')" "200000 image/jpeg"
it_eq "by name" "$(get "http://localhost:$PORT/file/a" any)" "ok "
it_eq "by a redirect" "$(get "$one/to?/file/a" any)" "ok "
it_ok "without the redirect's body" cmp "$IT/files/a" "$IT/got"
it_eq "no proxy is asked" "$(export http_proxy=http://127.0.0.1:1 all_proxy=http://127.0.0.1:1 \
	HTTP_PROXY=http://127.0.0.1:1; get "$one/file/a" any)" "ok "
printf 'machine 127.0.0.1 login joe password hush\n' >"$IT/.netrc"
it_eq "no credentials are looked for" "$(HOME=$IT get "$one/file/a" any)" "ok "
it_eq "none were sent" "$(grep -ci "authorization\|cookie" "$IT/server.log")" 0

# ---- what only this host can reach is not reached
n=$(wc -l <"$IT/server.log")
for url in "$one/file/a" "http://localhost:$PORT/file/a" "http://127.1:$PORT/file/a" \
	"http://2130706433:$PORT/file/a" "http://0x7f.1:$PORT/file/a" "http://0:$PORT/file/a" \
	"http://[::1]:$PORT/file/a" "http://[::ffff:127.0.0.1]:$PORT/file/a" \
	"http://[64:ff9b::7f00:1]:$PORT/file/a" http://169.254.169.254/latest/meta-data/ \
	"http://[fd00:ec2::254]/latest" http://10.0.0.1/; do
	it_eq "refused: $url" "$(get "$url")" "refused fetch_private"
done
it_eq "nobody was asked" "$(wc -l <"$IT/server.log")" "$n"
it_eq "from a public one it comes" "$(get "$two/file/a" two)" "ok "
it_eq "a redirect from there to here" "$(get "$two/to?$one/status/200" two)" \
	"refused fetch_private"
it_eq "to a name of here" "$(get "$two/to?http://localhost:$PORT/status/200" two)" \
	"refused fetch_private"
it_eq "by way of two" "$(get "$two/to?$two/to?$one/status/200" two)" "refused fetch_private"
it_eq "was not followed" "$(asked /status/200)" 0

n=$(wc -l <"$IT/server.log")
it_eq "another port than the web's" "$(get "$one/file/a" port)" "refused fetch_port"
it_eq "nobody was asked there" "$(wc -l <"$IT/server.log")" "$n"
it_eq "port 80 may be asked" "$(get "http://127.0.0.3/" port | cut -d' ' -f2)" fetch_away

# ---- what is no address of the web
for url in "file:///etc/passwd" "gopher://127.0.0.1:$PORT/" "ftp://127.0.0.1/" "dict://127.0.0.1:1/" \
	"/file/a" "http://" "http:///file/a" "http://joe:hush@127.0.0.1:$PORT/file/a" ""; do
	it_eq "no address: $url" "$(get "$url" any)" "invalid fetch_address"
done
for url in "file:///etc/passwd" "gopher://127.0.0.1:$PORT/" "ftp://127.0.0.1/" \
	"http://joe:hush@127.0.0.1:$PORT/file/a"; do
	it_eq "a redirect to $url" "$(get "$one/to?$url" any)" "invalid fetch_address"
done

# ---- bounds
it_eq "redirects without end" "$(get "$one/loop" any)" "invalid fetch_redirects"
it_eq "are six requests" "$(asked /loop)" 6
it_eq "a body without end" "$(get "$one/endless" any 300000)" "invalid fetch_too_large"
it_eq "is cut" "$([ "$(stat -c %s "$IT/got")" -le 300000 ] && echo yes)" yes
it_eq "one that says so is not begun" "$(get "$one/said" any) $(stat -c %s "$IT/got")" \
	"invalid fetch_too_large 0"
it_eq "as large as allowed" "$(get "$one/file/a" any 200000)" "ok "
it_eq "a byte less is too few" "$(get "$one/file/a" any 199999)" "invalid fetch_too_large"
it_eq "drop by drop" "$(get "$one/slow" any 1000 700)" "retry fetch_away"
it_eq "not a word" "$(get "$one/silent" any 1000 300)" "retry fetch_away"
it_eq "cut off" "$(get "$one/cut" any)" "retry fetch_away"

# ---- answers
it_eq "there is none" "$(get "$one/status/404" any)" "none fetch_status"
it_eq "any more" "$(get "$one/status/410" any)" "none fetch_status"
it_eq "not for us" "$(get "$one/status/403" any)" "refused fetch_status"
it_eq "later" "$(get "$one/status/503" any)" "retry fetch_away"
it_eq "too often" "$(get "$one/status/429" any)" "retry fetch_away"
it_eq "nothing in it" "$(get "$one/status/206" any)" "retry fetch_away"
it_eq "another type comes, and says so" "$(get "$one/html" any) $(cut -f4 "$IT/said")" "ok  text/html"
it_eq "nobody there" "$(get "http://127.0.0.1:1/" any)" "retry fetch_away"
it_eq "no such host" "$(get "http://nowhere.invalid/" any)" "retry fetch_away"
it_eq "a certificate that nobody vouches for" \
	"$(get "https://localhost:$TLS_PORT/file/a" any)" "retry fetch_away"
it_summary
