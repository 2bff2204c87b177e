# Stands for OpenClaw in the tests: it writes down what happens to it in
# /state/events, and does over HTTP what a test tells it to.
import hashlib, http.server, os, signal, subprocess, sys, threading, time


def note(event):
    with open("/state/events", "a") as f:
        f.write(event + "\n")


def told(name):
    return os.path.exists("/state/" + name)


def stop(*_):
    note("term")
    if told("ask"):  # what it has begun, it may finish
        done = subprocess.run(["sh", "/state/ask"], capture_output=True, text=True)
        note("asked %d %s" % (done.returncode, done.stdout.strip()))
    if not told("stubborn"):
        os._exit(0)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if told("sick") else 200)
        self.end_headers()

    def do_POST(self):
        script = self.rfile.read(int(self.headers["Content-Length"])).decode()
        done = subprocess.run(["sh", "-c", script], capture_output=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"%d\n" % done.returncode + done.stdout + done.stderr)

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGHUP, lambda *_: note("hup"))
note("started " + hashlib.sha256(os.environ.get("TOKEN", "").encode()).hexdigest()[:16])
print("hello, the token is", os.environ.get("TOKEN"), flush=True)
while told("wait"):
    time.sleep(0.01)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
threading.Thread(target=server.serve_forever).start()
hoard = []
while not told("eat"):
    time.sleep(0.01)
os.remove("/state/eat")
while True:
    hoard.append(bytearray(1 << 20))
