"""Ctrl-C and SIGTERM while a node is changed."""

from __future__ import annotations

import os
import signal

import pytest

from colocate.cli.node_options import putting_back
from colocate.executor.errors import RolledBackError
from tests.executor.apply.bench import Bench
from tests.executor.world import World, make_unit


def signal_at(op: str, how_often: int = 1):
    def on_call(called: str, _about: str) -> None:
        if called == op:
            for _ in range(how_often):
                os.kill(os.getpid(), signal.SIGTERM)

    return on_call


@pytest.mark.parametrize("how_often", [1, 2])
def test_a_signal_puts_everything_back(in_memory, how_often, capsys):
    """One lets the step end, two do not wait for it; nobody's handlers are lost."""
    before = signal.getsignal(signal.SIGTERM)
    world = World(1)
    bench = Bench(in_memory, world)
    world.on_call = signal_at("processes.wait_ready", how_often)
    with putting_back(quiet=False) as signals:
        engine = bench.engine(stop=signals.asked)
        signals.engine = engine
        with pytest.raises(RolledBackError, match="interrupted"):
            engine.apply(lambda _now: bench.target([make_unit()]))
    assert world.running == {}
    assert world.alive == {}
    assert "stopping after this step" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_one_more_signal_does_not_end_the_way_back(in_memory, capsys):
    world = World(1)
    bench = Bench(in_memory, world)
    world.fail("processes.wait_ready")
    world.on_call = signal_at("processes.stop")
    with putting_back(quiet=False) as signals:
        engine = bench.engine(stop=signals.asked)
        signals.engine = engine
        with pytest.raises(RolledBackError):
            engine.apply(lambda _now: bench.target([make_unit()]))
    assert world.running == {}
    assert "once more leaves the node as it is" in capsys.readouterr().err


def test_the_next_leaves_the_node_for_a_later_rollback(in_memory):
    world = World(1)
    bench = Bench(in_memory, world)
    world.fail("processes.wait_ready")
    world.on_call = signal_at("processes.stop", 2)
    with putting_back(quiet=True) as signals:
        engine = bench.engine(stop=signals.asked)
        signals.engine = engine
        with pytest.raises(KeyboardInterrupt):
            engine.apply(lambda _now: bench.target([make_unit()]))
    world.on_call = None
    change = bench.look().unfinished
    assert change is not None
    assert change.phase == "rolling_back"
    bench.rollback()
    assert world.alive == {}
    assert world.complaints == []
