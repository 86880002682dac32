"""kill -9 at every record of the journal and at every action, then on from there, and back.

A process of its own works on a node in memory whose state it puts into a file after each change,
as the node itself would keep it; it kills itself at the n-th moment. What it leaves behind is
taken up here.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from colocate.executor.apply.situation import look
from colocate.executor.apply.status import standing_of
from colocate.executor.errors import RolledBackError
from colocate.executor.unit import Unit
from tests.executor.apply.bench import Bench
from tests.executor.world import World, make_unit, uuid_of

Work = Callable[[Bench, Callable[[str], None]], None]
OTHER = 2
"""A GPU whose daemon is somebody else's, with a client of theirs."""


def before_units() -> tuple[Unit, ...]:
    return (
        make_unit("web", 0, gpu=0, memory_gib=10, share_pct=40),
        make_unit("search", 0, gpu=1, memory_gib=30, share_pct=40),
        make_unit("train", 0, gpu=0, role="task", memory_gib=10, share_pct=40),
    )


def after_units() -> tuple[Unit, ...]:
    """Shadow start, stop before start, a live batch, a task that moves, one that goes and comes."""
    return (
        make_unit("web", 0, gpu=0, memory_gib=10, share_pct=60),
        make_unit("search", 0, gpu=1, memory_gib=30, share_pct=50),
        make_unit("chat", 0, gpu=0, memory_gib=5, share_pct=20, batch=4),
        make_unit("train", 0, gpu=1, role="task", memory_gib=10, share_pct=30),
    )


class Kept:
    """A world that a process leaves behind when it is killed."""

    def __init__(self, folder: Path, dialect: str) -> None:
        self.folder = folder
        self.root = folder / "state"
        self.root.mkdir(mode=0o700)
        self.world = World(3, dialect="v3" if dialect == "v3" else "v2")
        self.bench = Bench(self.root, self.world)
        self.world.add_foreign_daemon(uuid_of(OTHER))
        self.stranger = self.world.add_foreign_client(uuid_of(OTHER))
        self.bench.apply(*before_units())
        self.first = self.bench.export()

    def save(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(self.root, self.folder / name)
        (self.folder / f"{name}.json").write_text(self.world.kept())

    def load(self, name: str) -> None:
        shutil.rmtree(self.root)
        shutil.copytree(self.folder / name, self.root)
        self.world.calm()
        self.world.take_back((self.folder / f"{name}.json").read_text())

    def killed_at(self, n: int, work: Work, points: str = "") -> bool:
        """Work in a process that kills itself at the n-th moment; say whether it came to that."""
        left = [n]
        path = self.folder / "world"

        def moment(point: str) -> None:
            left[0] -= point.startswith(points)
            if left[0] < 0:
                path.write_text(self.world.kept())
                os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(self.bench, moment)
                path.write_text(self.world.kept())
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        killed = os.WIFSIGNALED(status)
        assert killed or os.WEXITSTATUS(status) == 0
        self.world.calm()
        self.world.take_back(path.read_text())
        return killed

    def check_rest(self) -> None:
        """The way back is still there, to the very beginning, and strangers were left alone."""
        while self.bench.rollback().steps:
            pass
        assert not self.world.running
        other = self.world.alive[uuid_of(OTHER)]
        assert other.foreign == [self.stranger]
        assert not other.ours
        assert self.world.complaints == []


@pytest.fixture(params=["v2", "v3"])
def kept(request: pytest.FixtureRequest, in_memory: Path) -> Kept:
    return Kept(in_memory, request.param)


def apply(bench: Bench, hook: Callable[[str], None]) -> None:
    bench.apply(*after_units(), hook=hook)


def roll_back(bench: Bench, hook: Callable[[str], None]) -> None:
    bench.rollback(hook=hook)


def fail(bench: Bench, hook: Callable[[str], None]) -> None:
    """The last unit does not get ready: everything is put back."""
    bench.world.fail("processes.wait_ready", "train.0")
    with pytest.raises(RolledBackError):
        bench.apply(*after_units(), hook=hook)


def each_moment(kept: Kept, work: Work, *, points: str = "", stride: int = 1) -> int:
    """Crash at every moment, look, and go on from there both ways; return how many there are."""
    kept.save("start")
    moments = 0
    while kept.killed_at(moments, work, points):
        standing = standing_of(kept.root, look(kept.root, kept.bench.ports))
        change = standing.situation.unfinished
        if change is not None:
            assert standing.word == "cut_off"
            assert change.words() in standing.sentence
        kept.save("crashed")
        kept.bench.apply(*after_units())
        kept.bench.check_holds(after_units())
        assert kept.bench.look().unfinished is None
        kept.check_rest()
        kept.load("crashed")
        if change is not None:
            kept.bench.rollback()
            assert kept.bench.export() == kept.first
            kept.bench.check_holds(before_units())
        kept.check_rest()
        kept.load("start")
        moments += stride
    return moments


def test_killed_at_every_record_of_an_apply(kept):
    assert each_moment(kept, apply, points="after") > 30


def test_killed_at_some_moments_of_a_rollback(kept):
    kept.bench.apply(*after_units())
    assert each_moment(kept, roll_back, stride=17) > 60


def test_killed_at_some_moments_of_putting_back(kept):
    assert each_moment(kept, fail, stride=23) > 100


@pytest.mark.deep
@pytest.mark.parametrize("work", [apply, roll_back, fail])
@pytest.mark.parametrize("time", range(20))
def test_killed_at_every_moment(kept, work, time):
    if work is roll_back:
        kept.bench.apply(*after_units())
    assert each_moment(kept, work) > 60
