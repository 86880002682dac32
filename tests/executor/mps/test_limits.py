"""Limits through both dialects, in process: read back, said once, mended after a crash."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.executor.errors import MpsError
from colocate.executor.ports import Dialect, Limits, Space
from tests.executor.mps.test_double import GPU, unit
from tests.fakes import mps_core_v2, mps_core_v3
from tests.fakes.core_daemons import CoreDaemons
from tests.fakes.double import uuid
from tests.fakes.mps_core import Gpu, Reply

LIMITS = st.builds(
    Limits,
    share_pct=st.integers(1, 100),
    memory_limit_mib=st.none() | st.integers(1, 100_000),
)
SPACES = st.lists(
    st.builds(
        Space,
        name=st.sampled_from(["a", "b", "c", "d"]),
        share_pct=st.integers(1, 100),
        memory_limit_mib=st.none() | st.integers(1, 100_000),
        low_priority=st.booleans(),
    ),
    unique_by=lambda space: space.name,
)


def shown(limits: Limits, memory: int) -> Limits:
    """Return limits as they read back: one that limits nothing is none."""

    def real(value: int | None) -> int | None:
        return None if value is None or value >= memory else value

    spaces = tuple(
        replace(space, memory_limit_mib=real(space.memory_limit_mib)) for space in limits.spaces
    )
    return Limits(
        share_pct=limits.share_pct,
        memory_limit_mib=real(limits.memory_limit_mib),
        spaces=tuple(sorted(spaces, key=lambda space: space.name)),
    )


@pytest.mark.parametrize("dialect", ["v2", "v3"])
@given(data=st.data())
def test_limits_read_back_as_they_were_set_and_are_said_once(
    dialect: Dialect, data: st.DataObject
) -> None:
    daemons = CoreDaemons([GPU], dialect)
    daemons.start(GPU)
    if data.draw(st.booleans()):
        daemons.connect(daemons.environment(unit()), 5)
    for wanted in data.draw(st.lists(LIMITS, min_size=1, max_size=4)):
        spaces = tuple(data.draw(SPACES)) if dialect == "v3" else ()
        limits = replace(wanted, spaces=spaces)
        daemons.set_limits(GPU, limits)
        state = daemons.observe(GPU)
        assert state.settled
        assert state.limits == shown(limits, daemons.machine.gpus[0].memory_mib)
        said = len(daemons.changes())
        daemons.set_limits(GPU, limits)
        assert len(daemons.changes()) == said


@pytest.mark.parametrize("dialect", ["v2", "v3"])
@given(
    wanted=LIMITS, spaces=SPACES, after=LIMITS, crash_at=st.integers(0, 12), client=st.booleans()
)
def test_limits_converge_after_a_crash_at_any_command(
    dialect: Dialect,
    wanted: Limits,
    spaces: list[Space],
    after: Limits,
    crash_at: int,
    client: bool,
) -> None:
    class CrashError(Exception):
        pass

    daemons = CoreDaemons([GPU], dialect)
    daemons.start(GPU)
    if client:
        daemons.connect(daemons.environment(unit()), 5)
    left = [crash_at]

    def crash(said: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise CrashError(said)

    daemons.before = crash
    if dialect == "v3":
        wanted = replace(wanted, spaces=tuple(spaces))
    try:
        daemons.set_limits(GPU, wanted)
    except CrashError:
        daemons.before = lambda said: None
        for target in (after, wanted):  # back, or on
            daemons.set_limits(GPU, target)
            assert daemons.observe(GPU).limits == shown(target, 81559)
            assert daemons.observe(GPU).settled


def test_unsettled_limits_are_seen_and_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure between the default and the running server's own limit."""
    daemons = CoreDaemons([GPU], "v2")
    daemons.start(GPU)
    daemons.connect(daemons.environment(unit()), 5)
    with monkeypatch.context() as broken:
        refuse = Reply("no", "fault", 1)
        broken.setitem(mps_core_v2.COMMANDS, "set_active_thread_percentage", lambda *_: refuse)
        with pytest.raises(MpsError):
            daemons.set_limits(GPU, Limits(share_pct=30))
    assert not daemons.observe(GPU).settled
    daemons.set_limits(GPU, Limits(share_pct=30))
    state = daemons.observe(GPU)
    assert (state.settled, state.limits) == (True, Limits(share_pct=30))


@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_what_is_ignored_is_noticed(dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that takes a setting with a straight face and does nothing."""
    for name in ("set_default_active_thread_percentage", "server set"):
        table = mps_core_v2.COMMANDS if dialect == "v2" else mps_core_v3.COMMANDS
        if name in table:
            monkeypatch.setitem(table, name, lambda *words: Reply("", "fault"))
    daemons = CoreDaemons([GPU], dialect)
    daemons.start(GPU)
    with pytest.raises(MpsError, match="set to"):
        daemons.set_limits(GPU, Limits(share_pct=30))


def test_a_server_on_the_wrong_gpu_is_refused() -> None:
    daemons = CoreDaemons([GPU, uuid(2)], "v3")
    daemons.start(GPU)
    daemons.cores[GPU].servers["gpu"].devices = (uuid(2),)
    with pytest.raises(MpsError, match="serves"):
        daemons.set_limits(GPU, Limits(share_pct=30))


def test_a_server_that_disappears_is_noticed() -> None:
    daemons = CoreDaemons([GPU], "v3")
    daemons.machine = replace(daemons.machine, gpus=(Gpu(GPU),))
    daemons.start(GPU)
    core_of = daemons.cores[GPU]
    core_of.end_server(core_of.servers["gpu"])
    core_of.gpus = ()
    with pytest.raises(MpsError, match="is not there"):
        daemons.set_limits(GPU, Limits(share_pct=30))
