"""The small parts: Triton's configuration files, commands and requests, logs, process numbers."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.executor.workloads.keeper import calls, procs
from colocate.executor.workloads.keeper.calls import CallError, InterruptedCallError, request, run
from colocate.executor.workloads.keeper.log import Log, tail
from colocate.executor.workloads.keeper.pbtxt import PbtxtError, with_number
from colocate.executor.workloads.keeper.procs import Identity
from colocate.executor.workloads.keeper.status import Status, Wanted
from tests.executor.workloads.stage import PATIENCE, eventually

# -- config.pbtxt ----------------------------------------------------------------------------------

NAME = "max_batch_size"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_batch_size: 4", "max_batch_size: 32"),
        ("max_batch_size:4\n", "max_batch_size:32\n"),
        ("max_batch_size :  4 # 4\n", "max_batch_size :  32 # 4\n"),
        ("a: 1; max_batch_size: 4, b: 2", "a: 1; max_batch_size: 32, b: 2"),
        ("", "max_batch_size: 32\n"),
        ('name: "x"', 'name: "x"\nmax_batch_size: 32\n'),
        ("# max_batch_size: 4\n", "# max_batch_size: 4\nmax_batch_size: 32\n"),
        ('s: "max_batch_size: 4"\n', 's: "max_batch_size: 4"\nmax_batch_size: 32\n'),
        ("in { max_batch_size: 4 }\n", "in { max_batch_size: 4 }\nmax_batch_size: 32\n"),
        ("in [ { a: 1 } ]\nmax_batch_size: 4", "in [ { a: 1 } ]\nmax_batch_size: 32"),
        (
            "x < max_batch_size: 1 >\nmax_batch_size: 4",
            "x < max_batch_size: 1 >\nmax_batch_size: 32",
        ),
        ('s: "a\\"b"\nmax_batch_size: 4', 's: "a\\"b"\nmax_batch_size: 32'),
        ("s: 'it\\'s {'\nmax_batch_size: 4", "s: 'it\\'s {'\nmax_batch_size: 32"),
    ],
)
def test_one_number_changes(text: str, expected: str):
    assert with_number(text, NAME, 32) == expected
    assert with_number(expected, NAME, 32) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_batch_size: 4\nmax_batch_size: 5", "is given 2 times"),
        ("a {", "a bracket is not closed"),
        ("a }", "more brackets are closed than opened"),
        ("max_batch_size: x", "is not a whole number"),
        ('max_batch_size: "4"', "is not a whole number"),
        ("a: 1\nb: \x01", "line 2 is not in the text format"),
        ('a: "x', "line 1 is not in the text format"),
    ],
)
def test_what_is_not_in_the_format(text: str, words: str):
    with pytest.raises(PbtxtError, match=words):
        with_number(text, NAME, 32)


@given(st.text("max_btchsize:4 {}[]<>\"'#\n\\,;", max_size=80), st.integers(1, 10**6))
def test_only_that_number_ever_changes(text: str, value: int):
    try:
        made = with_number(text, NAME, value)
    except PbtxtError:
        return
    added = made.startswith(text) and made[len(text) :].strip() == f"{NAME}: {value}"
    replaced = re.sub(rf"{value}", "", made) != made and len(made) - len(str(value)) <= len(text)
    assert added or replaced
    assert with_number(made, NAME, value) == made


# -- commands --------------------------------------------------------------------------------------

ENV = {"PATH": "/usr/bin:/bin"}


def test_a_command_gives_what_it_wrote():
    assert run(["/bin/sh", "-c", "echo out; echo err >&2"], ENV, "/", PATIENCE) == "out\nerr\n"


def test_commands_that_fail(tmp_path: Path):
    for argv, words in (
        (["/bin/sh", "-c", "echo why; exit 3"], "sh ended with 3: why"),
        (["/no/such"], "cannot be started: No such file"),
        ([str(tmp_path)], "cannot be started: Permission denied"),
        (["/bin/sh", "-c", "kill -9 $$"], "sh ended with -9"),
    ):
        with pytest.raises(CallError, match=words):
            run(argv, ENV, "/", PATIENCE)


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path: Path):
    script = f"sh -c 'echo $$ > {tmp_path}/pid; trap \"\" TERM; sleep 100 & wait' & wait"
    with pytest.raises(CallError, match=r"took longer than 0.5 s"):
        run(["/bin/sh", "-c", script], ENV, "/", 0.5)
    pid = int(eventually((tmp_path / "pid").read_text))
    eventually(lambda: (p := procs.find(pid)) is None or not p.alive, "its end")


def test_a_command_that_writes_much_is_not_kept_waiting():
    text = run(["/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"], ENV, "/", PATIENCE)
    assert text == "x" * calls.MAX_REPLY


def test_a_command_that_is_interrupted():
    began = time.monotonic()
    with pytest.raises(InterruptedCallError, match="was interrupted"):
        run(["/bin/sleep", "100"], ENV, "/", 100, lambda: time.monotonic() > began + 0.1)
    assert time.monotonic() - began < PATIENCE


def test_a_command_that_leaves_its_output_open_does_not_hold_us():
    """What runs on in the background keeps the pipe; the command itself has ended."""
    run(["/bin/sh", "-c", "sleep 2 & echo done"], ENV, "/", PATIENCE)


# -- requests --------------------------------------------------------------------------------------


def serve(reply: bytes, *, pause: float = 0.0) -> tuple[int, threading.Thread]:
    """Answer one connection with these bytes, one after the other if there is a pause."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with listener, listener.accept()[0] as one:
            one.recv(65_536)
            try:
                for byte in [reply] if not pause else [bytes([b]) for b in reply]:
                    one.sendall(byte)
                    time.sleep(pause)
            except OSError:
                pass

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    return listener.getsockname()[1], thread


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", None),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "status 301"),
        (b"HTTP/1.1 500 No\r\n\r\n", "status 500"),
        (b"garbage\r\n\r\n", "garbage"),
        (b"", "closed connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhi", None),
    ],
)
def test_replies(reply: bytes, words: str | None):
    port, thread = serve(reply)
    url = f"http://127.0.0.1:{port}/"
    if words is None:
        assert request("GET", url, None, PATIENCE) in ("hi", "")
    else:
        with pytest.raises(CallError, match=words):
            request("GET", url, None, PATIENCE)
    thread.join(PATIENCE)


def test_a_reply_that_trickles_is_given_up():
    """Each read is in time, and all of them together are not."""
    port, thread = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b"x" * 900, pause=0.02)
    began = time.monotonic()
    with pytest.raises(CallError):
        request("GET", f"http://127.0.0.1:{port}/", None, 1.0)
    assert time.monotonic() - began < 12
    thread.join(PATIENCE)


def test_proxies_are_not_asked(monkeypatch: pytest.MonkeyPatch):
    port, thread = serve(b"HTTP/1.1 204 No\r\n\r\n")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    request("GET", f"http://127.0.0.1:{port}/", None, PATIENCE)
    thread.join(PATIENCE)


# -- logs ------------------------------------------------------------------------------------------


def test_a_log_is_cut_and_its_end_kept(tmp_path: Path):
    log = Log(tmp_path, 100)
    handle = log.open()
    os.write(handle, b"a" * 50 + b"b" * 60)
    log.cap()
    os.write(handle, b"after")
    assert (tmp_path / "log").read_bytes() == b"after"
    assert (tmp_path / "log.1").read_bytes() == b"a" * 40 + b"b" * 60
    log.cap()
    assert (tmp_path / "log").read_bytes() == b"after"
    os.close(handle)
    assert tail(tmp_path) == "after"
    assert tail(tmp_path / "none") == ""


def test_a_log_that_cannot_be_kept_is_cut_all_the_same(tmp_path: Path):
    log = Log(tmp_path, 10)
    (tmp_path / "log.1").mkdir()
    os.write(handle := log.open(), b"x" * 50)
    os.close(handle)
    log.cap()
    assert (tmp_path / "log").stat().st_size == 0


# -- process numbers -------------------------------------------------------------------------------


def test_signals_reach_one_process_only():
    with subprocess.Popen(["/bin/sleep", "100"]) as child:
        one = procs.identity(child.pid)
        assert one is not None
        assert procs.living(one)
        other = Identity(one.pid, one.start + 1)
        assert not procs.living(other)
        assert not procs.send(other, signal.SIGKILL)
        assert child.poll() is None
        assert procs.send(one, signal.SIGKILL)
        # dead, and not collected: it counts as gone
        eventually(lambda: not procs.living(one))
        assert not procs.send(one, signal.SIGKILL)
        child.wait()
    assert procs.find(child.pid) is None
    assert procs.wait_gone([one], 1) == []


def test_names_that_look_like_fields(tmp_path: Path):
    """The name of a process may hold spaces, brackets and numbers."""
    odd = tmp_path / "a) R 1 1 (b"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([str(odd), "100"]) as child:
        eventually(lambda: p_name(child.pid).startswith("a) R"), "its name")
        found = procs.find(child.pid)
        assert found is not None
        assert found.parent == os.getpid()
        assert found.session == os.getsid(child.pid)
        child.kill()


def p_name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_descendants_by_both_ways():
    code = "import subprocess,sys;subprocess.Popen(['sleep','100']);print(1,flush=True);input()"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        quick = procs.below([os.getpid()])
        slow = procs.below([os.getpid()], procs.table())
        assert {p.pid for p in quick} == {p.pid for p in slow} >= {child.pid}
        grand = procs.below([child.pid])
        assert len(grand) == 1
        child.kill()
        child.wait()
        procs.send(grand[0].identity, signal.SIGKILL)


def test_members_of_a_session_whose_number_was_used_again():
    main = Identity(100, 5)
    stranger = procs.Process(100, 1, 100, 9, "S")
    theirs = procs.Process(101, 100, 100, 9, "S")
    assert procs.members(main, [main], {100: stranger, 101: theirs}) == []
    left = procs.Process(102, 1, 100, 7, "S")
    assert procs.members(main, [main], {102: left}) == [left.identity]
    dead = procs.Process(103, 1, 100, 7, "Z")
    assert procs.members(main, [main], {103: dead}) == []


# -- what keeper and executor tell each other ------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
KEYS = sorted({*Status().as_json(), *Wanted().as_json()})


@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_whatever_is_in_a_file_is_read_or_refused(value: dict[str, object]):
    for kind in (Status, Wanted):
        full = {**kind().as_json(), **value}
        read = kind.of(full)
        if read is not None:
            assert kind.of(read.as_json()) == read
        kind.of(value)


def test_what_is_written_is_read():
    status = Status(
        phase="ready", serial=3, main=Identity(5, 6), known=(Identity(5, 6), Identity(7, 8))
    )
    assert Status.of(status.as_json()) == status
    wanted = Wanted(serial=4, state="paused", batch=9)
    assert Wanted.of(wanted.as_json()) == wanted
