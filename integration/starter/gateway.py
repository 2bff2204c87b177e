import http.server, subprocess


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def do_POST(self):
        script = self.rfile.read(int(self.headers["Content-Length"])).decode()
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(("%d %s%s" % (done.returncode, done.stdout, done.stderr)).encode())


http.server.ThreadingHTTPServer(("127.0.0.1", 18789), Handler).serve_forever()
