# What a hostile agent does with its socket, and what a command of its does with
# what it is handed: run with the name of a part.
import array, base64, json, os, socket, struct, sys, time

SOCKET = "/run/creel/exec.sock"


def ask(path, request, fds=()):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    frame = json.dumps(request).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        s.sendmsg([struct.pack(">I", len(frame)) + frame], rights)
    except BrokenPipeError:
        pass  # refused before it has asked; the answer is there to be read
    return s


def answer(s):
    size = struct.unpack(">I", s.recv(4, socket.MSG_WAITALL))[0]
    return json.loads(s.recv(size, socket.MSG_WAITALL))


def command(*argv):
    pipes = [os.pipe(), os.pipe(), os.pipe()]
    body = {"policy": "exec-default", "argv": [base64.b64encode(a.encode()).decode() for a in argv]}
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
    s = ask(SOCKET, {"route": "exec", "body": body}, theirs)
    for fd in theirs:
        os.close(fd)
    if answer(s)["type"] != "started":
        sys.exit("the command was not started")
    return s


def hand(name, fd):  # to a command that waits for it
    with socket.socket(socket.AF_UNIX) as s:
        while True:
            try:
                s.connect("/workspace/" + name)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.01)
        socket.send_fds(s, [b"x"], [fd])


def handed(name):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("/workspace/" + name)
        s.listen()
        return socket.recv_fds(s.accept()[0], 1, 1)[1][0]


def hold(name):
    handed(name)
    open("/workspace/%s.held" % name, "w").close()
    time.sleep(1000)


def crossed():  # each command holds what the other is to end with
    for name in "one", "two":
        globals()[name] = command("python3", "/workspace/hand.py", "hold", name)
    hand("one", two.fileno())
    hand("two", one.fileno())
    while not (os.path.exists("/workspace/one.held") and os.path.exists("/workspace/two.held")):
        time.sleep(0.01)


def use(name):  # a socket's file, which is in no directory here
    fd = handed(name)
    try:
        said = answer(ask("/proc/self/fd/%d" % fd, {"route": "version"}))
    except (OSError, struct.error) as e:
        said = repr(e)
    with open("/workspace/%s.said" % name, "w") as f:
        f.write(json.dumps(said))


def lent():
    s = command("python3", "/workspace/hand.py", "use", "file")
    hand("file", os.open(SOCKET, os.O_PATH))
    answer(s)


globals()[sys.argv[1]](*sys.argv[2:])
