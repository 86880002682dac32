"""Running a backend where it cannot do harm: in a process that can be ended at any moment.

Backends ignore Ctrl-C, miss their time limit, crash, leave processes behind, and cannot all be
loaded together. So each kind runs in a worker process of its own: a process group that is killed as
a whole, with an answer or without. Workers are kept for the next question, since loading a backend
takes longer than most solves.

A worker dies with the *thread* that started it, which is how Linux signals the death of a parent.
Therefore all are started by one thread that lives as long as this process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import IO

from colocate.errors import SolverError, clean_text
from colocate.solvers.backends.ask import Ask, Found
from colocate.solvers.backends.wire import Message, Unpacker, pack
from colocate.solvers.backends.worker import backend

__all__ = ["answers", "answers_here"]

ASK_EVERY_S = 0.02
MOST_IDLE = 2
"""Workers of one kind that are kept."""
_PIECE = 1 << 20
_SHOWN = 400
_CODE = """import sys
sys.path[:] = {path!r}
from colocate.solvers.backends.worker import main
main({pid}, {kind!r})
"""


class _Worker:
    """A process, the pipe to it and the pipe from it."""

    def __init__(self, kind: str) -> None:
        if not sys.executable:
            raise SolverError(
                "there is no Python executable to run a backend with",
                advice="run it in this process: isolation='none'.",
            )
        self.kind = kind
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        code = _CODE.format(path=[p or os.getcwd() for p in sys.path], pid=os.getpid(), kind=kind)  # noqa: PTH109
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            process_group=0,
            bufsize=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.into, self.out = self.process.stdin, self.process.stdout
        os.set_blocking(self.into.fileno(), False)
        os.set_blocking(self.out.fileno(), False)

    def ask(self, question: Message, until: Callable[[], bool]) -> Iterator[Found]:
        """Yield what the worker finds; the last one is its answer, unless `until` came true."""
        rest, unpacker = memoryview(pack(question)), Unpacker()
        with selectors.DefaultSelector() as ready:
            ready.register(self.out, selectors.EVENT_READ)
            ready.register(self.into, selectors.EVENT_WRITE)
            while not until():
                for key, _ in ready.select(ASK_EVERY_S):
                    if key.fileobj is self.into:
                        rest = self._write(rest)
                        if not rest:
                            ready.unregister(self.into)
                        continue
                    piece = self.out.read(_PIECE)
                    if not piece:
                        yield self._died()
                        return
                    for message in unpacker.feed(piece):
                        found = Found.of(message)
                        yield found
                        if found.outcome != "progress":
                            return

    def _write(self, rest: memoryview) -> memoryview:
        try:
            return rest[self.into.write(rest) or 0 :]
        except BrokenPipeError:
            return rest[:0]  # what it died of is read from its other end

    def _died(self) -> Found:
        code = self.process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, size - _SHOWN))
        tail = clean_text(self.errors.read().decode(errors="replace").strip(), _SHOWN)
        return Found("failed", detail=f"the backend's process ended with {how}: {tail}")

    def forget_errors(self) -> None:
        """Start its error output anew."""
        self.errors.seek(0)
        self.errors.truncate()

    def end(self) -> None:
        """Kill it with everything that it started, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for pipe in (self.into, self.out, self.errors):
            with contextlib.suppress(OSError):
                pipe.close()
        self.process.wait()


class _Pool:
    """Idle workers by kind, and the thread that starts them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: dict[str, list[_Worker]] = {}
        self.starter = ThreadPoolExecutor(1, thread_name_prefix="colocate-workers")

    def take(self, kind: str) -> _Worker:
        """Return an idle worker of this kind, or a new one."""
        with self.lock:
            waiting = self.idle.get(kind, [])
            while waiting:
                worker = waiting.pop()
                if worker.process.poll() is None:
                    return worker
                worker.end()
        started: Future[_Worker] = self.starter.submit(_Worker, kind)
        try:
            return started.result()
        except BaseException:
            # Interrupted: the worker may come to be after all.
            started.add_done_callback(_end_started)
            raise

    def give_back(self, worker: _Worker) -> None:
        """Keep a worker that has answered for the next question."""
        with self.lock:
            waiting = self.idle.setdefault(worker.kind, [])
            if len(waiting) < MOST_IDLE:
                worker.forget_errors()
                waiting.append(worker)
                return
        worker.end()

    def close(self) -> None:
        """End all that are idle."""
        with self.lock:
            for waiting in self.idle.values():
                while waiting:
                    waiting.pop().end()


def _end_started(started: Future[_Worker]) -> None:
    if not started.cancelled() and started.exception() is None:
        started.result().end()


_pool = _Pool()


def _after_fork() -> None:
    """Start anew: a forked child has neither the thread nor the workers of its parent."""
    global _pool
    _pool = _Pool()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _pool.close())


def answers(
    kind: str, ask: Ask, until: Callable[[], bool], memory_gib: float | None = None
) -> Generator[Found, None, None]:
    """Yield what a backend finds in a worker; ends without an answer when `until` comes true.

    Whatever happens, KeyboardInterrupt included, no process is left behind that still works.
    """
    worker = _pool.take("scipy" if kind in ("relax", "highs") else kind)
    question = ask.message()
    question = replace(question, kind=kind, fields={**question.fields, "memory_gib": memory_gib})
    answered = False
    try:
        for found in worker.ask(question, until):
            # A library that ran out of memory may be half loaded.
            answered = found.outcome not in ("progress", *(["failed"] if memory_gib else []))
            yield found
    finally:
        if answered and worker.process.poll() is None:
            _pool.give_back(worker)
        else:
            worker.end()


def answers_here(kind: str, ask: Ask, until: Callable[[], bool]) -> Iterator[Found]:
    """Yield what a backend finds in this process, all at the end."""
    told: list[Found] = []
    try:
        last = backend(kind)(ask, told.append, until)
    except ImportError as error:
        last = Found("failed", detail=f"{error}; isolation='auto' keeps libraries apart")
    yield from told
    yield last
