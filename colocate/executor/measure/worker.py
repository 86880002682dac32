"""The side of the process that is measured: it works, and answers between two batches.

    class MyLoad:
        def prepare(self, batch): ...   # get ready for this batch size; may raise CannotError
        def step(self): ...             # one batch, done when it returns
        def facts(self): ...            # what is worth knowing: {"sm_count": 108}
        def memory_mib(self): ...       # device memory at its highest since `prepare`, or None
        def finish(self): ...           # wait until nothing is on the GPU

    Worker(MyLoad()).run()

A load may have `take(mib)`, which takes so much more device memory, or raises `CannotError`.
Only the standard library is needed. One thread works and answers, so nothing is counted while it
changes; a second one only listens.
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from colocate.executor.measure.protocol import (
    HELLO,
    LINE_LIMIT,
    NAME_VARIABLE,
    SOCKET_VARIABLE,
    ProtocolError,
    decode,
    encode,
    thinned,
)

__all__ = ["CannotError", "Load", "Worker"]

PATIENCE_S = 20.0
"""How long it tries to connect."""
MOST_WAITING = 200_000
"""Samples that may wait; beyond, later ones are turned away, for the load is hopeless anyhow."""
_STOP: Mapping[str, Any] = {"do": "stop", "silent": True}


class CannotError(Exception):
    """The load cannot run at a setting; the message says why."""


class Load(Protocol):
    """What runs in a worker."""

    def prepare(self, batch: int) -> None:
        """Get ready for a batch size, warm included."""
        ...

    def step(self) -> None:
        """Work on one batch."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """Return what is worth knowing about where it runs."""
        ...

    def memory_mib(self) -> float | None:
        """Return the most device memory that it held since `prepare`."""
        ...

    def finish(self) -> None:
        """Wait until nothing of it is on the GPU."""
        ...


class Worker:
    """Runs a load as it is told to.

    Parameters
    ----------
    load
        What to run.
    name
        What it calls itself; from the environment when left out.
    address
        Socket to connect to; from the environment when left out. Without one it just runs.
    ready
        File to make when it works, for whoever waits for that. A worker that has one lives on
        without a link: somebody else started it, and will end it.
    """

    def __init__(
        self,
        load: Load,
        *,
        name: str | None = None,
        address: str | None = None,
        ready: Path | None = None,
    ) -> None:
        self.load = load
        self.name = name or os.environ.get(NAME_VARIABLE) or "worker"
        self.address = address or os.environ.get(SOCKET_VARIABLE)
        self.ready = ready
        self._asked: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._socket: socket.socket | None = None
        self._batch: int | None = None
        self._gap: random.Random | None = None
        self._rate = 0.0
        self._next = 0.0
        self._waiting: deque[float] = deque()
        self._latencies: list[float] = []
        self._samples = self._batches = 0
        self._busy = 0.0
        self._at = time.monotonic()
        self._stopped = False

    def run(self, batch: int | None = None, arrival_rps: float | None = None) -> None:
        """Work and answer until told to stop, by a request or by SIGTERM.

        Parameters
        ----------
        batch
            Start at once, at this batch size; otherwise wait for the first "set".
        arrival_rps
            Samples that arrive in a second then; None: work never ends.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_signal)
        if self.address is not None:
            self._connect(self.address)
        if batch is not None:
            self._set({"batch": batch, "arrival_rps": arrival_rps})
            if self.ready is not None:
                self.ready.touch()
        try:
            while not self._stopped:
                self._answer_all()
                self._work()
        finally:
            self.load.finish()
            if self._socket is not None:
                self._socket.close()

    # -- requests ------------------------------------------------------------------------------

    def _on_signal(self, _signal: int, _frame: object) -> None:
        self._asked.put(_STOP)

    def _connect(self, address: str) -> None:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                link.connect(address)
                break
            except OSError:
                if self.ready is not None:
                    link.close()
                    return
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self._socket = link
        facts = dict(self.load.facts())
        self._say({"hello": HELLO, "name": self.name, "pid": os.getpid(), "facts": facts})
        threading.Thread(target=self._listen, args=(link,), daemon=True).start()

    def _listen(self, link: socket.socket) -> None:
        try:
            with link.makefile("rb") as lines:
                while line := lines.readline(LINE_LIMIT):
                    self._asked.put(decode(line))
        except (OSError, ProtocolError, ValueError):
            pass
        if self.ready is None:
            # whoever measures has gone: nobody else would end this process
            self._asked.put(_STOP)

    def _say(self, message: Mapping[str, Any]) -> None:
        if self._socket is not None:
            # who does not listen any more has closed the link, and `_listen` will see that
            with contextlib.suppress(OSError):
                self._socket.sendall(encode(message))

    def _answer_all(self) -> None:
        """Answer what was asked; without anything to work on, wait for a request."""
        while not self._stopped:
            try:
                # with nothing to work on there is time to wait
                message = self._asked.get(block=self._batch is None)
            except queue.Empty:
                return
            self._answer(message)

    def _answer(self, message: Mapping[str, Any]) -> None:
        asked = message.get("do")
        if asked == "count":
            self._say(self._count())
            return
        if asked == "set":
            try:
                self._set(message)
            except CannotError as failed:
                self._batch = None
                self._say({"cannot": str(failed)[:400]})
                return
        elif asked == "take" and hasattr(self.load, "take"):
            try:
                self.load.take(_mib(message.get("mib")))
            except CannotError as failed:
                self._say({"cannot": str(failed)[:400]})
                return
        elif asked == "pause":
            self._batch = None
            self.load.finish()
        elif asked == "stop":
            self._stopped = True
            if message.get("silent"):
                return
        else:
            self._say({"cannot": f"no request {str(asked)[:40]!r} is known"})
            return
        self._say({"did": asked})

    def _set(self, message: Mapping[str, Any]) -> None:
        batch, rate = message.get("batch"), message.get("arrival_rps")
        if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
            msg = f"{str(batch)[:40]!r} is no batch size"
            raise CannotError(msg)
        if rate is not None and not (isinstance(rate, int | float) and rate > 0):
            msg = f"{str(rate)[:40]!r} is no rate of arrivals"
            raise CannotError(msg)
        self.load.prepare(batch)
        self._batch = batch
        self._waiting.clear()
        self._latencies = []
        self._gap = None
        self._at = time.monotonic()
        if rate is not None:
            seed = message.get("seed")
            self._gap = random.Random(seed if isinstance(seed, int) else 1)  # noqa: S311
            self._rate = float(rate)
            self._next = self._at + self._gap.expovariate(self._rate)

    def _count(self) -> dict[str, Any]:
        latencies, self._latencies = self._latencies, []
        now = time.monotonic()
        self._arrived(now)
        return {
            "did": "count",
            "samples": self._samples,
            "batches": self._batches,
            "busy_s": self._busy,
            "at": self._at,
            "now": now,
            "latencies_ms": [float(f"{1000 * v:.5g}") for v in thinned(latencies)],
            "of": len(latencies),
            "waiting": len(self._waiting),
            "memory_mib": self.load.memory_mib(),
        }

    # -- work ----------------------------------------------------------------------------------

    def _work(self) -> None:
        """Work on one batch, or wait for what comes first: an arrival or a request."""
        if self._stopped or self._batch is None:
            return
        start = time.monotonic()
        if self._gap is None:
            taken: list[float] = []
            self.load.step()
        else:
            self._arrived(start)
            if not self._waiting:
                self._wait(self._next - start)
                return
            n = min(self._batch, len(self._waiting))
            taken = [self._waiting.popleft() for _ in range(n)]
            self.load.step()
        end = self._at = time.monotonic()
        self._busy += end - start
        self._batches += 1
        if self._gap is None:
            self._samples += self._batch
            self._latencies.append(end - start)
        else:
            self._samples += len(taken)
            self._latencies += [end - arrived for arrived in taken]

    def _arrived(self, now: float) -> None:
        """Let everything arrive that is due by now; the clock of arrivals waits for nobody."""
        while self._gap is not None and self._next <= now:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append(self._next)
            self._next += self._gap.expovariate(self._rate)

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._answer(self._asked.get(timeout=max(0.0, seconds)))


def _mib(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        msg = f"{str(value)[:40]!r} is no amount of memory"
        raise CannotError(msg)
    return value
