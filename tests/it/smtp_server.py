"""smtp_server.py PORT DIR [tls|starttls|auth] [CERT KEY]: a real SMTP server
(aiosmtpd) that files what it takes as DIR/1, DIR/2, ..., writes a line for each
command to DIR/log, and by recipient answers as servers do on bad days."""
import asyncio
import logging
import os
import signal
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

port, where, mode = int(sys.argv[1]), sys.argv[2], (sys.argv[3:] or [''])[0]
logging.disable(logging.CRITICAL)
taken = 0


def log(line):
    with open(os.path.join(where, 'log'), 'a') as f:
        f.write(line + '\n')


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        log(f'EHLO tls={"yes" if session.ssl else "no"}')
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        if address.startswith('banned@'):
            return '550 5.7.1 we do not know this shop'
        envelope.mail_from = address
        return '250 OK'

    async def handle_RCPT(self, server, session, envelope, address, options):
        log(f'RCPT {address}')
        who = address.split('@')[0]
        if who == 'later':
            return '451 4.7.1 greylisted, come back'
        if who == 'never':
            return '550 5.1.1 no such user here'
        if who == 'busy':
            return '421 4.3.2 going down'
        if who == 'hang':
            await asyncio.sleep(60)
        if who == 'cut':
            server.transport.abort()
        envelope.rcpt_tos.append(address)
        return '250 OK'

    async def handle_DATA(self, server, session, envelope):
        global taken
        who = envelope.rcpt_tos[0].split('@')[0]
        if who == 'full':
            return '452 4.2.2 mailbox full'
        if who == 'spam':
            return '554 5.7.1 not wanted'
        taken += 1
        with open(os.path.join(where, str(taken)), 'wb') as f:
            f.write(envelope.content)
        if who == 'lost':  # taken, and the answer never comes
            server.transport.abort()
        if who == 'last':  # and an idle connection is closed
            asyncio.get_running_loop().call_later(0.05, server.transport.abort)
        return '250 OK'


def check(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b'shop', b'p@ss:w/rd')
    log(f'AUTH {"good" if good else "bad"} tls={"yes" if session.ssl else "no"}')
    if data.login == b'later':
        return AuthResult(success=False, handled=False,
                          message='454 4.7.0 try again')
    return AuthResult(success=good, handled=False)


tls = None
if mode in ('tls', 'starttls', 'auth'):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[4], sys.argv[5])


def session():
    log('CONNECT')
    more = {}
    if mode in ('starttls', 'auth'):
        more = {'tls_context': tls}
    if mode in ('auth', 'open-auth'):
        more |= {'authenticator': check, 'auth_required': True,
                 'auth_require_tls': mode == 'auth'}
    return SMTP(Handler(), hostname='mx.test', **more)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        session, '127.0.0.1', port, ssl=tls if mode == 'tls' else None)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print('listening', flush=True)
    await stop.wait()
    server.close()

asyncio.run(main())
