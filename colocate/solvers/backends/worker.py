"""The process that a backend runs in: reads questions, writes answers, dies with its parent.

Started by `backends.contained`, never by hand. It has a process group of its own, so that Ctrl-C
in a terminal does not reach it and whatever it starts can be ended with it.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import threading
import traceback
from types import FrameType

from colocate.solvers.backends.ask import Ask, Backend, Found, Tell
from colocate.solvers.backends.wire import Message, Unpacker, pack

__all__ = ["BACKENDS", "backend", "main"]

BACKENDS = {
    "relax": "colocate.solvers.backends.highs:relax",
    "highs": "colocate.solvers.backends.highs:solve",
    "pulp": "colocate.solvers.backends.pulp_engines:solve",
    "ortools": "colocate.solvers.backends.ortools_cp_sat:solve",
}
IDLE_S = 300.0
"""A worker that nobody asks for so long ends by itself."""
_PR_SET_PDEATHSIG = 1
_PIECE = 1 << 20


def backend(name: str) -> Backend:
    """Return a backend; importing it is left to itself."""
    module, _, attribute = BACKENDS[name].partition(":")
    found: Backend = getattr(importlib.import_module(module), attribute)
    return found


def main(parent: int, kind: str) -> None:
    """Answer until there are no more questions."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_group)
    # PuLP starts programs, which must die too: the handler runs while it waits for them. Inside
    # the other libraries no handler would run.
    _die_with(parent, signal.SIGTERM if kind == "pulp" else signal.SIGKILL)
    # Backends print; answers have a channel of their own.
    out = os.dup(1)
    os.dup2(2, 1)
    unpacker = Unpacker()
    while select.select([0], [], [], IDLE_S)[0]:
        piece = os.read(0, _PIECE)
        if not piece:
            break
        for message in unpacker.feed(piece):
            _write(out, _answer(message, lambda found: _write(out, found.message())))


def _end_group(_signal: int, _frame: FrameType | None) -> None:
    os.killpg(0, signal.SIGKILL)


def _die_with(parent: int, sign: signal.Signals) -> None:
    """Have the kernel tell when the parent is gone; where it cannot, look."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(sign))
    watch = threading.Thread(target=_look_for, args=(parent,), daemon=True)
    watch.start()


def _look_for(parent: int) -> None:
    while os.getppid() == parent:
        threading.Event().wait(0.5)
    os.killpg(0, signal.SIGKILL)


def _answer(message: Message, tell: Tell) -> Message:
    """Answer one question; an error of the backend is an answer."""
    _limit_memory(message.fields.get("memory_gib"))
    try:
        found = backend(message.kind)(Ask.of(message), tell, lambda: False)
    except MemoryError:
        found = Found("failed", detail="out of memory")
    except BaseException as error:  # noqa: BLE001 - the parent is told
        traceback.print_exc()
        found = Found("failed", detail=f"{type(error).__name__}: {error}")
    return found.message()


def _limit_memory(memory_gib: float | None) -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = resource.RLIM_INFINITY if memory_gib is None else int(memory_gib * 2**30)
    if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard):
        soft = hard
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _write(out: int, message: Message) -> None:
    rest = memoryview(pack(message))
    while rest:
        rest = rest[os.write(out, rest) :]
