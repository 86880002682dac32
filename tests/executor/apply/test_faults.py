"""Faults of every kind: the right exit code, the right state, nothing lost, and all well after."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from colocate.errors import ColocateError, InputError
from colocate.executor.apply.state_error import StateError
from colocate.executor.errors import (
    AttentionError,
    ForeignError,
    MpsError,
    RolledBackError,
    UnitError,
)
from colocate.executor.ports import Limits
from colocate.executor.unit import Unit
from tests.executor.apply.bench import Bench
from tests.executor.world import World, make_unit, uuid_of

FIRST = (
    make_unit("web", 0, gpu=0, share_pct=40, memory_gib=10),
    make_unit("train", 0, gpu=0, role="task", share_pct=40, memory_gib=10),
)
SECOND = (
    make_unit("web", 0, gpu=0, share_pct=60, memory_gib=10),
    make_unit("train", 0, gpu=1, role="task", share_pct=40, memory_gib=10),
    make_unit("chat", 0, gpu=1, share_pct=20, memory_gib=5),
)
Arrange = Callable[[Bench], None]


@dataclass
class Kind:
    """One kind of fault: how it comes about, and what must come of it."""

    name: str
    arrange: Arrange
    code: int
    words: str
    units: tuple[Unit, ...] = SECOND


def fails(op: str, error: BaseException, *, about: str = "", times: int = 1, after: bool = False):
    return lambda b: b.world.fail(op, about, error=error, times=times, after=after)


def vanish(bench: Bench) -> None:
    """A GPU falls off the bus while the units on it are started."""

    def on_call(op: str, about: str) -> None:
        if op == "daemons.start":
            bench.world.on_call = None
            bench.world.fail("daemons.environment", error=MpsError(f"GPU {uuid_of(1)} is gone"))

    bench.world.on_call = on_call


def never_a_client(bench: Bench) -> None:
    """The new process does not find its daemon, and runs without MPS."""

    def on_call(op: str, about: str) -> None:
        if op == "processes.wait_ready" and about.startswith("web"):
            bench.world.running[about].member = False

    bench.world.on_call = on_call


def ends_once_it_serves(bench: Bench) -> None:
    """The new process ends when the old one is let go."""

    def on_call(op: str, about: str) -> None:
        if op == "processes.stop" and about.startswith("web"):
            bench.world.on_call = None
            new = next(k for k in bench.world.running if k.startswith("web") and k != about)
            bench.world.end_unit(new)

    bench.world.on_call = on_call


def server_fault(bench: Bench) -> None:
    """The server goes to FAULT when the first new client joins: all on the GPU are lost."""

    def on_call(op: str, about: str) -> None:
        if op == "processes.wait_ready":
            bench.world.on_call = None
            bench.world.break_server(uuid_of(0))

    bench.world.on_call = on_call


def daemon_dies(bench: Bench) -> None:
    def on_call(op: str, about: str) -> None:
        if op == "processes.stop":
            bench.world.on_call = None
            bench.world.lose_daemon(uuid_of(0))

    bench.world.on_call = on_call


def lies(bench: Bench) -> None:
    """A daemon says yes and keeps its own limits."""
    real = bench.world.daemons.set_limits
    left = [1]

    def set_limits(gpu: str, limits: Limits) -> None:
        left[0] -= 1
        real(gpu, replace(limits, share_pct=limits.share_pct - 1) if left[0] == 0 else limits)

    vars(bench.world.daemons)["set_limits"] = set_limits


def full(bench: Bench) -> None:
    bench.world.max_clients = 2


def stuck(bench: Bench) -> None:
    bench.world.lets_go = False


def stranger(bench: Bench) -> None:
    bench.world.add_foreign_client(uuid_of(0))


def foreign_daemon(bench: Bench) -> None:
    bench.world.add_foreign_daemon(uuid_of(1))


def gone(bench: Bench) -> None:
    bench.world.facts.pop(uuid_of(0))


def unsettled(bench: Bench) -> None:
    bench.world.alive[uuid_of(0)].settled = False


KINDS = (
    Kind(
        "binary missing",
        fails("daemons.start", MpsError("nvidia-cuda-mps-control is not there")),
        6,
        "is not there",
    ),
    Kind("hang", fails("daemons.set_limits", MpsError("no answer within 10 s")), 6, "no answer"),
    Kind(
        "garbage reply",
        fails("daemons.set_limits", MpsError("'?!' is no percentage"), after=True),
        6,
        "no percentage",
    ),
    Kind("non-zero exit", fails("daemons.start", MpsError("exit code 1"), after=True), 6, "code 1"),
    Kind(
        "hang while looking",
        fails("daemons.observe", MpsError("no answer within 10 s")),
        5,
        "no answer",
    ),
    Kind("server FAULT", server_fault, 6, "server fault"),
    Kind("daemon dies", daemon_dies, 6, ""),
    Kind("daemon lies", lies, 6, "read back 59 %"),
    Kind(
        "wrong user",
        fails("processes.start", UnitError("CUDA_ERROR_MPS_SERVER_NOT_READY")),
        6,
        "NOT_READY",
    ),
    Kind(
        "permission denied",
        fails("processes.start", PermissionError(errno.EACCES, "denied")),
        6,
        "denied",
    ),
    Kind(
        "a bug",
        fails("processes.start", ZeroDivisionError("division by zero")),
        6,
        "ZeroDivisionError",
    ),
    Kind("UUID gone in the middle", vanish, 6, "is gone"),
    Kind("client limit", full, 6, "client limit"),
    Kind("long path", fails("daemons.environment", MpsError("108 bytes")), 6, "108 bytes"),
    Kind(
        "never ready",
        fails("processes.wait_ready", UnitError("not ready in time"), about="chat"),
        6,
        "not ready in time",
    ),
    Kind("dies at once", ends_once_it_serves, 6, ""),
    Kind("beside MPS", never_a_client, 6, "it runs without any limit"),
    Kind("switch fails", fails("processes.switch", UnitError("hook: exit code 7")), 6, "code 7"),
    Kind(
        "one stop fails",
        fails("processes.stop", UnitError("not stopped in time"), times=2),
        6,
        "not stopped in time",
    ),
    Kind("strangers on the GPU", stranger, 1, "are not ours"),
    Kind("a stranger's daemon", foreign_daemon, 1, "somebody else"),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_a_fault_is_put_back(in_memory, kind, dialect):
    bench = Bench(in_memory, World(2, dialect=dialect))
    bench.apply(*FIRST)
    kind.arrange(bench)
    bench_before = bench.world.on_call
    bench.world.on_call = None
    faults, bench.world.faults = bench.world.faults, []
    before = bench.export()
    bench.world.faults, bench.world.on_call = faults, bench_before
    with pytest.raises(ColocateError) as shown:
        bench.apply(*kind.units)
    assert shown.value.exit_code == kind.code
    assert kind.words in str(shown.value)
    bench.world.calm()
    bench.world.on_call = None
    assert bench.export() == before
    assert bench.look().unfinished is None
    assert bench.world.complaints == []
    if kind.code == 6:
        bench.check_holds(FIRST)
    else:
        bench.world.alive.pop(uuid_of(1), None)
        bench.world.drop_foreign(uuid_of(0))
    bench.world.max_clients = 48
    bench = Bench(bench.root, bench.world)
    vars(bench.world.daemons).pop("set_limits", None)
    bench.apply(*kind.units)
    bench.check_holds(kind.units)


def test_a_unit_that_never_ends_needs_attention(in_memory):
    """It ignores SIGTERM and the server's word: nothing harder is done, and it is said so."""
    bench = Bench(in_memory, World(2))
    bench.apply(*FIRST)
    bench.world.fail("processes.stop", times=100, error=UnitError("ignores SIGTERM"))
    with pytest.raises(AttentionError, match="could not be put back") as shown:
        bench.apply(*SECOND)
    assert shown.value.exit_code == 7
    assert "ignores SIGTERM" in str(shown.value)
    change = bench.look().unfinished
    assert change is not None
    assert change.phase == "needs_attention"
    assert "ignores SIGTERM" in change.words()
    bench.world.calm()
    bench.apply(*SECOND)
    bench.check_holds(SECOND)
    bench.rollback()
    bench.check_holds(FIRST)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("line", range(0, 30, 3))
def test_a_journal_that_cannot_be_written(in_memory, monkeypatch, code, line):
    """Before anything was done it is an error; later, everything is put back."""
    bench = Bench(in_memory, World(2))
    bench.apply(*FIRST)
    before = bench.export()
    real, left = os.write, [line]

    def write(handle: int, data: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code))
        return real(handle, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises((StateError, RolledBackError)) as shown:
        bench.apply(*SECOND)
    assert shown.value.exit_code == (5 if line == 0 else 6)
    assert os.strerror(code) in str(shown.value)
    monkeypatch.setattr(os, "write", real)
    assert bench.export() == before
    bench.check_holds(FIRST)
    bench.apply(*SECOND)
    bench.check_holds(SECOND)


def test_a_gpu_that_is_gone(in_memory):
    bench = Bench(in_memory, World(2))
    bench.apply(*FIRST)
    gone(bench)
    with pytest.raises(InputError, match="is not on this node any more"):
        bench.rollback()
    assert {c[0] for c in bench.world.changes[-1:]} == {"processes.start"} or bench.world.changes
    bench.apply(make_unit("chat", 0, gpu=1))


def test_a_clock_that_jumps(in_memory, monkeypatch):
    """Times in the journal are for people: nothing is decided by them."""
    bench = Bench(in_memory, World(2))
    bench.apply(*FIRST)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    bench.apply(*SECOND)
    bench.check_holds(SECOND)
    bench.rollback()
    bench.check_holds(FIRST)


def test_limits_that_a_server_does_not_enforce_are_set_again(in_memory):
    bench = Bench(in_memory, World(2))
    bench.apply(*FIRST)
    unsettled(bench)
    assert [step.action.do for step in bench.steps(FIRST)] == ["set_limits"]
    bench.apply(*FIRST)
    assert bench.steps(FIRST) == ()
    assert bench.world.alive[uuid_of(0)].settled


def test_a_stranger_who_comes_in_the_middle_is_not_ended(in_memory):
    """A daemon that we started cannot be stopped any more: it is said, and nobody is harmed."""
    bench = Bench(in_memory, World(2))

    def on_call(op: str, _about: str) -> None:
        if op == "processes.wait_ready":
            bench.world.on_call = None
            bench.world.add_foreign_client(uuid_of(0))
            bench.world.fail("processes.wait_ready", error=UnitError("no"))

    bench.world.on_call = on_call
    with pytest.raises(AttentionError, match="clients that are not ours"):
        bench.apply(*FIRST)
    assert len(bench.world.alive[uuid_of(0)].foreign) == 1
    with pytest.raises((AttentionError, ForeignError)):
        bench.rollback()
    assert len(bench.world.alive[uuid_of(0)].foreign) == 1
    bench.world.drop_foreign(uuid_of(0))
    bench.rollback()
    assert bench.world.alive == {}
    assert bench.world.complaints == []


def test_asked_to_stop(in_memory):
    bench = Bench(in_memory, World(2))
    bench.apply(*FIRST)
    asked = [6]

    def stop() -> bool:
        asked[0] -= 1
        return asked[0] < 0

    with pytest.raises(RolledBackError, match="interrupted"):
        bench.apply(*SECOND, stop=stop)
    bench.check_holds(FIRST)


@pytest.mark.parametrize("how", ["truncated", "other", "link", "folder"])
def test_a_file_of_what_was_applied_that_cannot_be_believed(in_memory, how):
    bench = Bench(in_memory, World(1))
    bench.apply(make_unit())
    path: Path = in_memory / "applied.json"
    text = path.read_text()
    path.unlink()
    if how == "truncated":
        path.write_text(text[:-20])
    elif how == "other":
        path.write_text(text.replace(make_unit().key, "a\\nquit"))
    elif how == "link":
        (in_memory / "x").write_text(text)
        path.symlink_to(in_memory / "x")
    else:
        path.mkdir()
    with pytest.raises((AttentionError, StateError)):
        bench.rollback()
    assert bench.world.running
    if how == "folder":
        path.rmdir()
    else:
        path.unlink()
    bench.apply(make_unit())  # as the advice says
    assert bench.steps([make_unit()]) == ()
