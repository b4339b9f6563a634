#!/usr/bin/env bash
# E-mail by SMTP against a real server: what is taken, refused, put off, cut and
# left hanging; TLS and passwords.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
it_need openssl
for python in /usr/bin/python3 python3; do
	"$python" -c 'import aiosmtpd' 2>/dev/null && break
	python=
done
if [ -z "$python" ]; then
	[ -z "${SOUK_IT_ALL:-}" ] || it_bail "python3-aiosmtpd is not installed"
	it_skip_all "python3-aiosmtpd is not installed"
fi
send_bin=$top_builddir/tests/store/smtp_send
[ -x "$send_bin" ] || it_skip_all "no $send_bin"
shop='Shop <shop@shop.example>'

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
	-addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
	-keyout "$IT/key.pem" -out "$IT/cert.pem" 2>"$IT/openssl.log" ||
	it_bail "openssl: $(cat "$IT/openssl.log")"

# server NAME [MODE]: its port in $port, what it took in $IT/NAME
server() {
	it_port port
	mkdir -p "$IT/$1"
	: >"$IT/$1/log"
	it_spawn "$1" TERM "$python" "$srcdir/tests/it/smtp_server.py" "$port" \
		"$IT/$1" "${2:-plain}" "$IT/cert.pem" "$IT/key.pem"
	it_wait_for 15 grep -q listening "$IT/$1.log" ||
		it_bail "the SMTP server did not start"
	: >"$IT/$1/log"
}

# send URL TO...: what came of each
send() {
	local url=$1
	shift
	SMTP_URL=$url "$send_bin" "$shop" "$@" 2>&1
}
connects() { grep -c CONNECT "$IT/$1/log"; }

# ---- no password, no TLS
server plain
url=smtp://127.0.0.1:$port
it_eq "two messages are taken" "$(send "$url" a@x.test b@x.test)" \
	"ok  
ok  "
it_eq "over one connection" "$(connects plain)" 1
it_eq "as they were sent" "$("$python" - "$IT/plain/1" <<'PY'
import email, email.policy, sys
raw = open(sys.argv[1], 'rb').read()
m = email.message_from_bytes(raw, policy=email.policy.default)
assert raw.count(b'\n') == raw.count(b'\r\n'), 'a bare line end'
print(m['Subject'], m['Message-ID'], m['From'], m['To'])
print(repr(m.get_body(('plain',)).get_content().replace('\r\n', '\n')))
PY
)" "Grüße <message1@shop.example> $shop a@x.test
'.\\n..\\n.dot\\nlast line\\n'"
it_match "451 to the recipient: later" "$(send "$url" later@x.test)" \
	'^retry mail_later .*451 4.7.1 greylisted'
it_match "550 to the recipient: never" "$(send "$url" never@x.test)" \
	'^invalid mail_refused .*550 5.1.1 no such user'
it_match "452 to the message: later" "$(send "$url" full@x.test)" \
	'^retry mail_later .*452 4.2.2'
it_match "554 to the message: never" "$(send "$url" spam@x.test)" \
	'^invalid mail_refused .*554 5.7.1'
it_match "421: later" "$(send "$url" busy@x.test)" '^retry mail_later .*421'
it_match "550 to the sender: the shop's fault, no message is lost by it" \
	"$(shop='B <banned@shop.example>'; send "$url" a@x.test)" \
	'^fail mail_refused .*550 5.7.1 we do not know'
it_match "a connection cut in the dialogue: later" \
	"$(send "$url" cut@x.test)" '^retry mail_unreachable'
it_match "cut before the answer to the message: later" \
	"$(send "$url" lost@x.test)" '^retry mail_unreachable'
it_match "a server that hangs: later, at the deadline" \
	"$(SMTP_TIMEOUT_MS=700 send "$url" hang@x.test)" \
	'^retry mail_unreachable .*[Tt]imed? ?out'
n=$(ls "$IT/plain" | wc -l)
it_eq "after each of these the next one goes out" \
	"$(send "$url" never@x.test a@x.test cut@x.test a@x.test \
		later@x.test a@x.test | cut -d' ' -f1 | paste -sd' ')" \
	"invalid ok retry ok retry ok"
it_eq "once" "$(ls "$IT/plain" | wc -l)" $((n + 3))
it_eq "a kept connection that the server closed is no error" \
	"$(send "$url" last@x.test +400 a@x.test)" \
	"ok  
ok  "
it_match "a password is not sent without TLS" \
	"$(send "smtp://shop:secret@127.0.0.1:$port" a@x.test)" \
	'^fail mail_tls'
it_stop plain
it_match "nobody listens: later" "$(send "$url" a@x.test)" \
	'^retry mail_unreachable'
it_match "no such host: later" "$(send smtp://mx.invalid a@x.test)" \
	'^retry mail_unreachable'

# ---- TLS as it is offered
server starttls starttls
url=smtp://127.0.0.1:$port
it_eq "STARTTLS is taken, whatever the certificate" "$(send "$url" a@x.test)" \
	"ok  "
it_match "and used" "$(cat "$IT/starttls/log")" 'EHLO tls=yes'

server tls tls
url=smtps://localhost:$port
it_match "smtps: a certificate of nobody's is refused" \
	"$(send "$url" a@x.test)" '^fail mail_tls'
it_eq "one of an authority named by SSL_CERT_FILE is taken" \
	"$(SSL_CERT_FILE=$IT/cert.pem send "$url" a@x.test)" "ok  "
it_match "but not for another host" \
	"$(SSL_CERT_FILE=$IT/cert.pem send "smtps://127.0.0.2:$port" a@x.test)" \
	'^(fail mail_tls|retry mail_unreachable)'

# ---- passwords
server auth auth
export SSL_CERT_FILE=$IT/cert.pem
good=shop:p%40ss%3Aw%2Frd
it_eq "user and password from the URL" \
	"$(send "smtp://$good@localhost:$port" a@x.test b@x.test)" \
	"ok  
ok  "
it_eq "sent once for two messages, over TLS" "$(grep AUTH "$IT/auth/log")" \
	"AUTH good tls=yes"
out=$(send "smtp://shop:hunter2@localhost:$port" a@x.test)
it_match "a wrong password is for a person" "$out" '^fail mail_login'
it_match "454: later" \
	"$(send "smtp://later:hunter2@localhost:$port" a@x.test)" \
	'^retry mail_later'
SSL_CERT_FILE=/dev/null
out="$out $(send "smtp://$good@localhost:$port" a@x.test)"
it_match "nor is it sent to who cannot prove who it is" "$out" ' fail mail_tls'
out="$out $(send "smtp://shop:hunter2@nowhere.invalid:$port" a@x.test)
$(send "smtp://shop:hunter2@local host" a@x.test)"
it_eq "no error shows a password" "$(printf '%s' "$out" |
	grep -cE 'hunter2|p%40|p@ss|aHVudGVyMg')" 0
it_summary
