# mypy: ignore-errors
"""A workload for the tests, run by path: does what its arguments say, then waits for its end."""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

STARTED = time.monotonic()


class Handler(http.server.BaseHTTPRequestHandler):
    batch = None
    status = 200

    def do_GET(self):
        self.answer({"max_batch_size": Handler.batch})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/batch"):
            Handler.batch = json.loads(body)["size"]
        if self.path.endswith("/load"):
            config = Path(os.environ["TRITON_CONFIG"]).read_text()
            Handler.batch = int(config.split("max_batch_size:")[1].split()[0])
        self.answer({})

    def answer(self, value):
        data = json.dumps(value).encode()
        self.send_response(Handler.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def main():
    listener = server = None
    ends_at = None
    code = 0
    for word in sys.argv[1:]:
        name, _, value = word.partition("=")
        if name == "say":
            tell(value)
        elif name == "shout":
            for _ in range(int(value)):
                tell("x" * 1023)
        elif name == "exit":
            sys.exit(int(value))
        elif name == "ignore":
            signal.signal(getattr(signal, value), signal.SIG_IGN)
        elif name == "listen":
            listener = socket.create_server(("127.0.0.1", int(value)))
        elif name == "serve":
            server = http.server.HTTPServer(("127.0.0.1", int(value)), Handler)
        elif name == "status":
            Handler.status = int(value)
        elif name == "touch":
            Path(value).write_text(json.dumps({"argv": sys.argv, "env": dict(os.environ)}))
        elif name == "count":
            path = Path(value)
            path.write_text(str(int(path.read_text() or 0) + 1 if path.exists() else 1))
        elif name == "child":
            start(["ignore=SIGTERM"] if value == "stubborn" else [], session=value == "session")
        elif name == "orphan":
            # its parent ends at once
            start(["child=session", "exit=0"], session=True).wait()
        elif name == "for":
            ends_at = STARTED + float(value)
        elif name == "code":
            code = int(value)
        elif name == "until":
            while not Path(value).exists():
                time.sleep(0.01)
        else:
            sys.exit(f"what is {word!r}?")
    if server is not None:
        server.serve_forever(poll_interval=0.02)
    while ends_at is None or time.monotonic() < ends_at:
        time.sleep(0.01)
    del listener
    sys.exit(code)


def tell(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def start(words, *, session):
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, *words], start_new_session=session
    )


main()
