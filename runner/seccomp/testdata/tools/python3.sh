#!/bin/bash
# Threads, processes, asyncio, SQLite, TLS contexts, HTTP.
set -euo pipefail
cat >main.py <<'PY'
import asyncio, multiprocessing, os, socket, sqlite3, ssl, subprocess, sys, tempfile, threading, urllib.request

def square(n):
    return n * n

async def child():
    return await (await asyncio.create_subprocess_exec("true")).wait()

if __name__ == "__main__":
    assert subprocess.run(["echo", "hi"], capture_output=True, check=True).stdout == b"hi\n"
    thread = threading.Thread(target=square, args=(2,))
    thread.start()
    thread.join()
    with multiprocessing.Pool(2) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
    db = sqlite3.connect(tempfile.mkstemp()[1])
    db.execute("create table t (x)")
    db.commit()
    assert asyncio.run(child()) == 0
    assert urllib.request.urlopen(sys.argv[1]).read() == b"gateway"
    socket.getaddrinfo("localhost", 80)
    a, b = socket.socketpair()
    a.send(b"x")
    assert b.recv(1) == b"x"
    os.sync()
    os.sched_getaffinity(0)
    os.getrandom(8)
    ssl.create_default_context()
    print("python")
PY
python3 main.py "$URL"
