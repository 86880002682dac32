"""One change at a time, from whichever process."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from colocate.errors import InputError
from colocate.executor.apply.lock import Lock, force_unlock, holder_of
from colocate.executor.apply.state_error import StateError
from colocate.executor.errors import HeldError
from tests.executor.apply.bench import Bench
from tests.executor.world import World, make_unit

PATIENCE_S = 60.0


def until(path: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.001)


def racer(folder: Path, me: int, other: int) -> int:
    """Apply in a process of its own; the winner works on until the loser has given up."""

    def hook(point: str) -> None:
        if point == "after prepared":
            until(folder / f"ended{other}")

    child = os.fork()
    if child:
        return child
    code = 99
    try:
        until(folder / "go")
        bench = Bench(folder / "state", World(1))
        bench.apply(make_unit(), hook=hook)
        code = 0
    except HeldError as held:
        code = held.exit_code
    finally:
        (folder / f"ended{me}").touch()
        os._exit(code)


def race(folder: Path) -> None:
    (folder / "state").mkdir(parents=True, mode=0o700)
    children = [racer(folder, 0, 1), racer(folder, 1, 0)]
    (folder / "go").touch()
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert sorted(codes) == [0, 8]
    # One journal, of one change, whole.
    situation = Bench(folder / "state", World(1)).look()
    assert situation.unfinished is None
    assert situation.applied is not None
    assert situation.applied.change == 1


def test_of_two_applies_one_wins(in_memory):
    for n in range(20):
        race(in_memory / str(n))


@pytest.mark.deep
def test_of_very_often_two_applies_one_wins(in_memory):
    for n in range(10_000):
        race(in_memory / str(n))


def _pid(root: Path) -> int | None:
    holder = holder_of(root)
    return None if holder is None else holder.pid


def test_a_lock_says_who_holds_it(tmp_path):
    assert holder_of(tmp_path) is None
    with Lock(tmp_path, "apply", "ab" * 32):
        holder = holder_of(tmp_path)
        assert holder is not None
        assert (holder.pid, holder.verb, holder.plan_sha256) == (os.getpid(), "apply", "ab" * 32)
        with pytest.raises(HeldError, match=rf"pid {os.getpid()}") as held, Lock(tmp_path, "x"):
            pass
        assert held.value.exit_code == 8
    assert holder_of(tmp_path) is None
    with Lock(tmp_path, "apply"):
        pass


def test_waiting_for_a_lock(tmp_path):
    child = os.fork()
    if not child:
        with Lock(tmp_path, "apply"):
            (tmp_path / "held").touch()
            until(tmp_path / "asked")
            time.sleep(0.2)
        os._exit(0)
    until(tmp_path / "held")
    with pytest.raises(HeldError, match=r"after 0\.01 s"), Lock(tmp_path, "apply", None, 0.01):
        pass
    (tmp_path / "asked").touch()
    with Lock(tmp_path, "apply", None, PATIENCE_S):
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_crash_leaves_no_lock_behind(tmp_path):
    child = os.fork()
    if not child:
        Lock(tmp_path, "apply").__enter__()
        (tmp_path / "held").touch()
        time.sleep(PATIENCE_S)
        os._exit(0)
    until(tmp_path / "held")
    assert _pid(tmp_path) == child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert json.loads((tmp_path / "lock").read_text())["pid"] == child  # stale, and no matter
    assert holder_of(tmp_path) is None
    with Lock(tmp_path, "apply"):
        assert _pid(tmp_path) == os.getpid()


def test_a_pid_that_was_used_again_is_no_holder(tmp_path):
    with Lock(tmp_path, "apply"):
        path = tmp_path / "lock"
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "process_start": told["process_start"] - 1}))
        assert holder_of(tmp_path) is None


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"\xff" * 100, b'{"pid": "x"}', b"null"])
def test_what_a_lock_file_says_is_not_trusted(tmp_path, junk):
    (tmp_path / "lock").write_bytes(junk)
    assert holder_of(tmp_path) is None
    with Lock(tmp_path, "apply"):
        (tmp_path / "lock").write_bytes(junk)
        with pytest.raises(HeldError, match="another process"), Lock(tmp_path, "apply"):
            pass


def test_a_lock_is_a_regular_file(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError), Lock(tmp_path, "apply"):
        pass
    (tmp_path / "lock").unlink()
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(StateError), Lock(tmp_path, "apply"):
        pass


def test_a_lock_that_was_taken_away_stops_the_change_at_once(in_memory):
    """Nothing is done any more, not even put back: somebody else may be at work."""
    world = World(1)
    bench = Bench(in_memory, world)
    seen = []

    def hook(point: str) -> None:
        seen.append(point)
        if point == "acted start_daemon":
            force_unlock(in_memory, os.getpid())
            seen.clear()

    with pytest.raises(HeldError, match="taken away"):
        bench.apply(make_unit(), hook=hook)
    assert [op for op, _ in world.changes] == ["daemons.start"]
    assert seen == ["before done", "after done"]
    assert bench.look().unfinished is not None
    bench.apply(make_unit())
    bench.check_holds([make_unit()])


def test_only_the_named_holder_loses_its_lock(tmp_path):
    with pytest.raises(InputError, match="nobody holds it"):
        force_unlock(tmp_path, 1)
    with Lock(tmp_path, "apply") as lock:
        with pytest.raises(InputError, match=rf"pid {os.getpid()}"):
            force_unlock(tmp_path, os.getpid() + 1)
        lock.check()
        force_unlock(tmp_path, os.getpid())
        with pytest.raises(HeldError):
            lock.check()
        with Lock(tmp_path, "rollback") as other:
            other.check()
