"""The command line of the double: starts a daemon, or takes one command to it.

What it pretends to be is read from ``double.json`` beside the program as it was called, what is to
go wrong from ``faults.json`` there, and every command is added to ``commands.txt``.

This part runs once for each command, so it imports nothing that it can do without: reading JSON
alone would take as long as starting Python does.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

PID_FILE = "nvidia-cuda-mps-control.pid"
# Text, source (an entry of colocate.executor.mps.sources), exit status.
Answer = tuple[str, str, int]
NO_DAEMON: Answer = ("Cannot find MPS control daemon process", "control.no_daemon", 1)
BUSY: Answer = ("Cannot send command to MPS control daemon process", "control.busy", 1)
RUNNING: Answer = ("An instance of this daemon is already running", "control.already_running", 1)
HELP_V2 = "usage: nvidia-cuda-mps-control [-d | -f | -v | -S | -multiuser-server]"
HELP_V3 = """usage: nvidia-cuda-mps-control [options] <module> <verb>
-h, --help  -d, --daemon  -f, --foreground  -m, --multiuser  -a, --apply <file>
-p, --protocol <2|3>  -q, --quit  -v, --version
modules: server namespace client device sm-partition feature memacct context-share"""


def main(argv: list[str], home: str) -> int:
    words = argv[1:]
    if words and words[0] in {"-d", "-f", "--daemon", "--foreground", "-S"}:
        return _start(words, home)
    if words in (["-v"], ["--version"]) or (words and words[-1] in {"-h", "--help"}):
        return _say(home, words, "", _about(home, words))
    if words[:1] == ["-p"]:
        words = words[2:]  # a running daemon's protocol wins
    if words:
        return _say(home, words, "", _send(home, words, ""))
    code = 0
    for line in sys.stdin:
        code = _say(home, [], line.strip(), _send(home, [], line.strip()))
    return code


def _about(home: str, words: list[str]) -> Answer:
    rule = take_fault(home, " ".join(words), pipe_directory())
    if rule is not None and (answer := _misbehave(rule)) is not None:
        return answer
    machine = _machine(home)
    if words[0] in {"-v", "--version"}:
        return (f"CUDA MPS Control binary version: {machine.version}", "control.version", 0)
    return (HELP_V3 if machine.knows_v3 else HELP_V2, "control.help", 0)


def _machine(home: str) -> Any:
    import json

    from tests.fakes.mps_core import Machine

    with open(f"{home}/double.json") as file:  # noqa: PTH123
        return Machine.of(json.load(file))


def _say(home: str, argv: list[str], stdin: str, answer: Answer) -> int:
    text, source, code = answer
    entry = (argv, stdin, os.environ.get("CUDA_MPS_PIPE_DIRECTORY", ""), text, source, code)
    handle = os.open(f"{home}/commands.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, (ascii(entry) + "\n").encode())
    os.close(handle)
    if text:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
        sys.stdout.buffer.flush()
    return code


def pipe_directory() -> str:
    default = "/run/nvidia-mps" if os.geteuid() == 0 else "/tmp/nvidia-mps"
    return os.environ.get("CUDA_MPS_PIPE_DIRECTORY", default)


# --- faults --------------------------------------------------------------------------------------


def take_fault(home: str, command: str, pipe: str) -> dict[str, Any] | None:
    """Return what is to go wrong with a command, and count it down."""
    try:
        handle = os.open(f"{home}/faults.json", os.O_RDWR)
    except FileNotFoundError:
        return None
    import json

    with os.fdopen(handle, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        rules: list[dict[str, Any]] = json.load(file)
        for rule in rules:
            if rule["times"] <= 0 or rule.get("pipe", "") not in pipe:
                continue
            if rule["when"] != "*" and not command.startswith(rule["when"]):
                continue
            due: bool = rule["after"] <= 0
            rule["times" if due else "after"] -= 1
            file.seek(0)
            json.dump(rules, file)
            file.truncate()
            if due:
                return rule
    return None


def _misbehave(rule: dict[str, Any]) -> Answer | None:
    """Do what a fault says before the command is sent; None when it is to be sent."""
    kind = rule["do"]
    if kind == "hang":
        while True:
            time.sleep(60)
    if kind == "endless":
        while True:
            sys.stdout.buffer.write(b"x" * 65536)
    if kind == "garbage":
        return (rule.get("value", "\udcff\x01 garbage \x1b[31m"), "fault", 0)
    if kind == "exit":
        return (rule.get("value", ""), "fault", rule.get("code", 1))
    if kind == "busy":
        return BUSY
    if kind == "ignore":  # says nothing, does nothing, and calls it a success
        return ("", "fault", 0)
    if kind == "late":
        time.sleep(rule.get("seconds", 0.3))
    return None


# --- one command ---------------------------------------------------------------------------------


def _send(home: str, argv: list[str], line: str) -> Answer:
    pipe = pipe_directory()
    rule = take_fault(home, line or " ".join(argv), pipe)
    if rule is not None and (answer := _misbehave(rule)) is not None:
        return answer
    try:
        lock = os.open(f"{pipe}/control_lock", os.O_RDWR)
    except OSError:
        return NO_DAEMON
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return BUSY
    try:
        answer = request(f"{pipe}/control", argv, line)
    except OSError:
        return NO_DAEMON
    finally:
        os.close(lock)
    if rule is not None and rule["do"] == "kill-daemon-after":
        with open(f"{pipe}/{PID_FILE}") as file:  # noqa: PTH123
            os.kill(int(file.read()), 9)
    return answer


def request(path: str, argv: list[str], line: str) -> Answer:
    """Take one command to a daemon and return its answer."""
    from _socket import AF_UNIX, SOCK_STREAM, socket  # the module above it is slow to import

    channel = socket(AF_UNIX, SOCK_STREAM)
    try:
        channel.connect(path)
        channel.sendall(b"marshal " + marshal.dumps((argv, line)).hex().encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            part = channel.recv(65536)
            if not part:
                raise ConnectionResetError
            data += part
    finally:
        channel.close()
    answer: Answer = marshal.loads(bytes.fromhex(data.decode()))
    return answer


# --- starting a daemon ---------------------------------------------------------------------------


def _start(words: list[str], home: str) -> int:
    pipe = pipe_directory()
    rule = take_fault(home, " ".join(words), pipe)
    if rule is not None:
        if rule["do"] == "no-daemon":  # says nothing, and nothing is there
            return _say(home, words, "", ("", "fault", 0))
        answer = _misbehave(rule)
        if answer is not None:
            return _say(home, words, "", answer)
    protocol = _protocol(words)
    if protocol == 3 and not _machine(home).knows_v3:
        return _say(home, words, "", ("invalid option -p", "control.help", 1))
    log = os.environ.get("CUDA_MPS_LOG_DIRECTORY", "/var/log/nvidia-mps")
    os.makedirs(pipe, exist_ok=True)  # noqa: PTH103
    os.makedirs(log, exist_ok=True)  # noqa: PTH103
    holder = os.open(f"{pipe}/daemon_lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _say(home, words, "", RUNNING)
    config = None
    for option in ("-a", "--apply"):
        if option in words:
            config = words[words.index(option) + 1]
    _say(home, words, "", ("", "control.start", 0))
    if words[0] in {"-f", "--foreground"}:
        _serve(home, pipe, log, protocol, config)
    if os.fork() == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        _serve(home, pipe, log, protocol, config)
    return 0


def _protocol(words: list[str]) -> int:
    named = os.environ.get("CUDA_MPS_PROTOCOL_VERSION")
    if named is None:
        for option in ("-p", "--protocol"):
            if option in words:
                named = words[words.index(option) + 1]
    return 3 if named == "3" else 2


def _serve(home: str, pipe: str, log: str, protocol: int, config: str | None) -> NoReturn:
    code = 1
    try:
        from pathlib import Path

        from tests.fakes.mps_daemon import Daemon

        file = None if config is None else Path(config)
        code = Daemon(_machine(home), Path(pipe), Path(log), protocol, file).run()
    finally:
        os._exit(code)
