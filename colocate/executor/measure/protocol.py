"""The words between whoever measures and the processes that are measured.

One JSON object a line, in UTF-8, over a Unix socket that the process finds in the variable
`COLOCATE_MEASURE_SOCKET`. The process connects and says who it is; then it answers, one answer for
each request, in their order. Requests and their answers:

    {"hello": "colocate/worker/v1", "name": "bert", "pid": 71, "facts": {"sm_count": 108}}
                                            comes first, from the process, without being asked
    {"do": "set", "batch": 8, "arrival_rps": null, "seed": 1}
    {"did": "set"}                          it runs at this batch from now on, and is warm
    {"cannot": "out of memory"}             or it cannot, and stays as it was, or is idle
    {"do": "count"}
    {"did": "count", "samples": 800, ...}   everything since it started; see `Count`
    {"do": "pause"}        {"did": "pause"} nothing of it is on the GPU until the next "set"
    {"do": "stop"}         {"did": "stop"}  it ends by itself, cleanly
    {"do": "take", "mib": 512}              it takes so much more device memory and keeps it, or
    {"did": "take"}                         cannot; only some workloads know this

`arrival_rps` null means that work never ends: the next batch starts when the last one ends. A
number means that so many samples arrive in a second, at times of a Poisson process that do not wait
for answers; a latency then counts from the arrival. A process that does not know a request answers
`{"cannot": "..."}`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "HELLO",
    "LINE_LIMIT",
    "MOST_LATENCIES",
    "NAME_VARIABLE",
    "SHARE_VARIABLE",
    "SOCKET_VARIABLE",
    "Count",
    "Hello",
    "ProtocolError",
    "decode",
    "encode",
    "read_count",
    "read_hello",
    "thinned",
]

HELLO: Final = "colocate/worker/v1"
SOCKET_VARIABLE: Final = "COLOCATE_MEASURE_SOCKET"
NAME_VARIABLE: Final = "COLOCATE_MEASURE_NAME"
SHARE_VARIABLE: Final = "COLOCATE_MEASURE_SHARE_PCT"
"""The share that a process was given, to know; what keeps it there is MPS."""
LINE_LIMIT: Final = 4 << 20
MOST_LATENCIES: Final = 20_000
"""In one answer; where there were more, evenly chosen ones stand for all, and `of` tells."""
MOST_FACTS = 40


class ProtocolError(Exception):
    """What came over the socket is not what was agreed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who a process is."""

    name: str
    pid: int
    facts: Mapping[str, str | float | int | bool | None]
    """What it found: `sm_count` (multiprocessors that it sees), `device`, versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a process has done since it started, and the latencies since it was last asked."""

    samples: int
    batches: int
    busy_s: float
    """Time during which a batch was being worked on."""
    at: float
    """When the last batch ended, on the process's own clock."""
    now: float
    """The same clock at the answer."""
    latencies_ms: Sequence[float] = ()
    """With arrivals: from each sample's arrival to its answer. Without: the time of each batch."""
    of: int = 0
    """How many latencies there were."""
    waiting: int = 0
    """Samples that have arrived and not been started."""
    memory_mib: float | None = None
    """Most device memory that it held since the last "set", as far as it knows."""


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as a line."""
    line = json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    if len(line) > LINE_LIMIT:
        msg = f"a message of {len(line)} bytes is too long"
        raise ProtocolError(msg)
    return line


def decode(line: bytes) -> dict[str, Any]:
    """Return the message of a line."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        msg = f"{line[:60]!r} is not a line of JSON"
        raise ProtocolError(msg) from None
    if not isinstance(found, dict):
        msg = f"{line[:60]!r} is not an object"
        raise ProtocolError(msg)
    return found


def read_hello(message: Mapping[str, Any]) -> Hello:
    """Return the first message of a process."""
    if message.get("hello") != HELLO:
        msg = f"it greets with {str(message.get('hello'))[:60]!r}, not {HELLO!r}"
        raise ProtocolError(msg)
    name, pid, facts = message.get("name"), message.get("pid"), message.get("facts", {})
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        msg = "it does not say its name"
        raise ProtocolError(msg)
    if not isinstance(pid, int) or isinstance(pid, bool) or pid < 1:
        msg = "it does not say its process id"
        raise ProtocolError(msg)
    if not isinstance(facts, dict) or len(facts) > MOST_FACTS:
        msg = "its facts are no small object"
        raise ProtocolError(msg)
    for value in facts.values():
        if not isinstance(value, str | int | float | bool | None) or len(str(value)) > 400:
            msg = "its facts are not plain values"
            raise ProtocolError(msg)
    return Hello(name=name, pid=pid, facts=facts)


def read_count(message: Mapping[str, Any]) -> Count:
    """Return an answer to "count"."""
    if message.get("did") != "count":
        msg = f"asked to count it answers {str(dict(message))[:100]}"
        raise ProtocolError(msg)
    wholes = {name: _number(message, name, 0) for name in ("samples", "batches", "of", "waiting")}
    times = {name: _number(message, name) for name in ("busy_s", "at", "now")}
    latencies = message.get("latencies_ms", [])
    if not isinstance(latencies, list) or len(latencies) > MOST_LATENCIES:
        msg = f"latencies_ms is no list of at most {MOST_LATENCIES}"
        raise ProtocolError(msg)
    if not all(type(v) in (int, float) and 0 <= v < math.inf for v in latencies):
        msg = "latencies_ms holds what is no time"
        raise ProtocolError(msg)
    memory = None if message.get("memory_mib") is None else _number(message, "memory_mib")
    return Count(
        samples=int(wholes["samples"]),
        batches=int(wholes["batches"]),
        busy_s=times["busy_s"],
        at=times["at"],
        now=times["now"],
        latencies_ms=tuple(float(v) for v in latencies),
        of=max(int(wholes["of"]), len(latencies)),
        waiting=int(wholes["waiting"]),
        memory_mib=memory,
    )


def thinned(values: Sequence[float]) -> list[float]:
    """Return evenly chosen values, at most as many as an answer may hold, in their order."""
    n = len(values)
    if n <= MOST_LATENCIES:
        return list(values)
    return [values[i * n // MOST_LATENCIES] for i in range(MOST_LATENCIES)]


def _number(message: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = message.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e18:
        msg = f"{name} is {str(value)[:40]}, not a number of at least 0"
        raise ProtocolError(msg)
    return float(value)
