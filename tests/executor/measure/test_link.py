"""What comes over the socket is checked: who is rude is hung up on, or told of."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.executor.errors import UnitError
from colocate.executor.measure.link import CannotRunError, Link, Listener
from colocate.executor.measure.protocol import (
    HELLO,
    LINE_LIMIT,
    MOST_LATENCIES,
    ProtocolError,
    decode,
    encode,
    read_count,
    read_hello,
    thinned,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
COUNT = {"did": "count", "samples": 8, "batches": 2, "busy_s": 1.5, "at": 10.0, "now": 11.0}


def hello(**changes: Any) -> dict[str, Any]:
    return {"hello": HELLO, "name": "bert.1", "pid": 7, "facts": {"sm_count": 54}, **changes}


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()
    assert not made.folder.exists()


def connected(listener: Listener, data: bytes) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(listener.address)
    client.sendall(data)
    return client


def linked(listener: Listener) -> tuple[socket.socket, Link]:
    client = connected(listener, encode(hello()))
    listener.wait(10)
    (link,) = listener.links("bert.1")
    return client, link


def hung_up(client: socket.socket, listener: Listener) -> bool:
    client.settimeout(0.05)
    for _ in range(100):
        listener.wait(0.05)
        try:
            return client.recv(1) == b""
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_only_this_user_can_enter(listener: Listener):
    assert listener.folder.stat().st_mode & 0o077 == 0


def test_a_polite_process_is_heard_whole_or_in_pieces(listener: Listener):
    client, link = linked(listener)
    assert link.hello.facts == {"sm_count": 54}
    assert link.peer_pid == os.getpid()
    assert listener.links("bert.1") == []
    pieces = connected(listener, b"")
    for byte in encode(hello(name="vgg.2")):
        pieces.sendall(bytes([byte]))
        listener.wait(0.001)
    listener.wait(1)
    (other,) = listener.links("vgg.2")
    for each in (client, link, pieces, other):
        each.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0",
        b"[]\n",
        b"{" * 20_000,
        encode(hello(hello="colocate/worker/v2")),
        encode(hello(name="")),
        encode(hello(name=7)),
        encode(hello(pid=True)),
        encode(hello(pid=0)),
        encode(hello(facts=[])),
        encode(hello(facts={"a": [1]})),
        encode(hello(facts={"a": "x" * 500})),
        encode(hello(facts={str(i): i for i in range(100)})),
        encode(hello()) + b"more",
    ],
)
def test_who_is_rude_is_hung_up_on_and_others_are_still_heard(listener: Listener, data: bytes):
    rude = connected(listener, b"")
    with contextlib.suppress(BrokenPipeError):
        rude.sendall(data)
    assert hung_up(rude, listener)
    client, link = linked(listener)
    for each in (rude, client, link):
        each.close()


def test_answers_come_in_the_order_of_the_questions(listener: Listener):
    client, link = linked(listener)
    link.ask({"do": "set", "batch": 1})
    link.ask({"do": "count"})
    asked = client.makefile("rb")
    assert json.loads(asked.readline()) == {"do": "set", "batch": 1}
    client.sendall(encode({"did": "set"}) + encode(COUNT)[:20])
    assert link.answer(time.monotonic() + 10) == {"did": "set"}
    client.sendall(encode(COUNT)[20:])
    assert link.count(time.monotonic() + 10).samples == 8
    for each in (asked, client, link):
        each.close()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b'{"cannot": "out of memory"}\n', CannotRunError, "out of memory"),
        (b"garbage\n", UnitError, "protocol"),
        (b'{"did": "set"}\n', UnitError, "protocol"),
        (b'{"did": "count"}\n', UnitError, "protocol"),
        (b"", UnitError, "in time"),
        (b"x" * 70_000, UnitError, "in time"),
        (None, UnitError, "has gone"),
    ],
)
def test_what_is_no_answer_is_told_with_the_name(
    listener: Listener, answer: bytes | None, error: type[UnitError], words: str
):
    client, link = linked(listener)
    link.ask({"do": "count"})
    if answer is None:
        client.close()
    else:
        client.sendall(answer)
    with pytest.raises(error, match=words) as caught:
        link.count(time.monotonic() + 0.2)
    assert "bert.1" in caught.value.message
    client.close()
    link.close()


def test_an_endless_answer_is_not_read_for_ever(listener: Listener):
    client, link = linked(listener)
    link.ask({"do": "count"})
    client.setblocking(False)
    left = LINE_LIMIT + (1 << 18)
    while left > 0:
        try:
            left -= client.send(b"x" * min(left, 1 << 16))
        except BlockingIOError:
            try:
                link._line(time.monotonic() + 0.05)
            except UnitError as failed:
                if "too long" in failed.message:
                    break
                continue
    else:
        with pytest.raises(UnitError, match="too long"):
            link._line(time.monotonic() + 5)
    client.close()
    link.close()


def test_an_address_that_is_too_long_is_refused(tmp_path: Path):
    long = tmp_path / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True)
    with pytest.raises(UnitError, match="too long"):
        Listener(long)
    assert list(long.iterdir()) == []


@given(JSON)
def test_whatever_is_sent_is_a_message_or_a_protocol_error(value: Any):
    line = json.dumps(value).encode()
    try:
        message = decode(line)
    except ProtocolError:
        assert not isinstance(value, dict)
        return
    for read in (read_hello, read_count):
        with pytest.raises(ProtocolError):
            read(message)


@given(st.sampled_from([*COUNT, "of", "waiting", "latencies_ms", "memory_mib"]), JSON)
def test_a_count_has_numbers_where_numbers_belong(name: str, value: Any):
    try:
        count = read_count({**COUNT, name: value})
    except ProtocolError:
        return
    numbers = [count.samples, count.batches, count.busy_s, count.at, count.now, count.of]
    numbers += [count.waiting, count.memory_mib or 0.0, *count.latencies_ms]
    assert all(0 <= n < math.inf for n in numbers)


@given(st.integers(0, 3 * MOST_LATENCIES))
def test_thinned_latencies_are_evenly_chosen(n: int):
    found = thinned([float(i) for i in range(n)])
    assert len(found) == min(n, MOST_LATENCIES)
    gaps = {b - a for a, b in pairwise(found)}
    assert len(gaps) <= 2
    assert found == sorted(found)
    if found:
        assert found[0] == 0


def test_numbers_that_are_none_are_not_sent():
    with pytest.raises(ValueError, match="JSON"):
        encode({"at": math.nan})
    with pytest.raises(ProtocolError, match="too long"):
        encode({"x": "y" * LINE_LIMIT})
