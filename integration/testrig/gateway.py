# Runs what it is sent with sh, inside the agent's own sandbox.
import http.server, json, subprocess, sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def do_POST(self):
        script = self.rfile.read(int(self.headers["Content-Length"])).decode()
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"Code": done.returncode, "Stdout": done.stdout, "Stderr": done.stderr}).encode())


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
