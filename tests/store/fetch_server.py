#!/usr/bin/env python3
"""fetch_server.py PORT FOLDER [CERTIFICATE]: what a stranger's web server may
do. /file/NAME is a file of FOLDER; the others are in do_GET. Says each request's
path and headers on its standard output."""
import http.server
import os
import ssl
import sys
import time
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def head(self, status, kind=None, length=None, to=None):
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if to:
            self.send_header("Location", to)
        self.end_headers()

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        name = url.path
        if name.startswith("/file/"):
            with open(os.path.join(sys.argv[2], os.path.basename(name)), "rb") as f:
                body = f.read()
            self.head(200, "image/jpeg", len(body))
            self.wfile.write(body)
        elif name == "/to":
            self.head(302, "text/html", 5, urllib.parse.unquote(url.query))
            self.wfile.write(b"there")
        elif name == "/loop":
            self.head(302, None, 0, "/loop")
        elif name.startswith("/status/"):
            self.head(int(name[8:]), "text/plain", 4)
            self.wfile.write(b"no.\n")
        elif name == "/html":
            self.head(200, "text/html", 13)
            self.wfile.write(b"<html></html>")
        elif name == "/said":
            self.head(200, "image/png", 10 ** 12)
        elif name == "/endless":
            self.head(200, "image/png")
            while True:
                self.wfile.write(b"x" * 65536)
        elif name == "/slow":
            self.head(200, "image/png", 100)
            while True:
                self.wfile.write(b"x")
                time.sleep(0.2)
        elif name == "/silent":
            time.sleep(30)
        elif name == "/cut":
            self.head(200, "image/png", 100)
            self.wfile.write(b"x" * 10)
        else:
            self.head(404, "text/plain", 0)

    def do_GET(self):
        print(self.path, dict(self.headers), flush=True)
        try:
            self.answer()
        except OSError:
            pass
        self.close_connection = True


server = http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler)
server.daemon_threads = True
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
