"""The tuner's changes through the engine of apply: journalled, and taken back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colocate.errors import ColocateError
from colocate.executor.errors import RolledBackError, UnitError
from colocate.executor.tuner.change import SingleChanges
from colocate.executor.tuner.engine_change import EngineChange
from tests.executor.apply.bench import Bench
from tests.executor.world import World, make_unit, uuid_of

GPU = uuid_of(0)


@pytest.fixture(params=["v2", "v3"])
def bench(request, tmp_path) -> Bench:
    bench = Bench(tmp_path, World(gpus=2, dialect=request.param))
    units = [
        make_unit("web", share_pct=30),
        make_unit("train", role="task", share_pct=70),
        make_unit("far", gpu=1, share_pct=50),
    ]
    bench.engine().apply(lambda _s: bench.target(units))
    bench.world.changes.clear()
    return bench


def units_of(bench: Bench) -> dict[str, object]:
    return {s.unit.workload: s.unit for s in bench.world.processes.observe()}


def wanted(share: int = 80, batch: int = 16):
    return [
        replace(make_unit("web", share_pct=share), batch=batch),
        make_unit("train", role="task", share_pct=20),
    ]


@pytest.mark.parametrize("kind", ["engine", "single"])
def test_shares_and_batches_change_and_nobody_else_is_touched(bench, kind):
    change = EngineChange(bench.engine()) if kind == "engine" else SingleChanges(bench.ports)
    change(GPU, wanted())
    found = units_of(bench)
    assert found["web"] == wanted()[0]
    assert found["train"] == wanted()[1]
    assert bench.world.serving == {wanted()[0].key, found["far"].key}  # type: ignore[attr-defined]
    assert bench.world.members(GPU) == {wanted()[0].key: 80, wanted()[1].key: 20}
    assert not [c for c in bench.world.changes if "far" in c[1] or uuid_of(1) in c[1]]
    assert not bench.world.complaints
    bench.world.changes.clear()
    change(GPU, wanted())
    assert bench.world.changes == []


@pytest.mark.parametrize("kind", ["engine", "single"])
def test_only_a_batch_needs_no_new_process(bench, kind):
    change = EngineChange(bench.engine()) if kind == "engine" else SingleChanges(bench.ports)
    now = units_of(bench)
    change(GPU, [replace(now["web"], batch=32), now["train"]])  # type: ignore[type-var, list-item]
    assert [op for op, _ in bench.world.changes] == ["processes.set_batch"]


@pytest.mark.parametrize("kind", ["engine", "single"])
def test_a_new_process_that_fails_leaves_all_as_it_was(bench, kind):
    change = EngineChange(bench.engine()) if kind == "engine" else SingleChanges(bench.ports)
    before = units_of(bench)
    bench.world.fail("processes.wait_ready", wanted()[0].key, error=UnitError("no"), times=5)
    with pytest.raises(ColocateError) as caught:
        change(GPU, wanted())
    if kind == "engine":
        assert isinstance(caught.value, RolledBackError)
    found = units_of(bench)
    assert {k: v.key for k, v in found.items()} == {k: v.key for k, v in before.items()}  # type: ignore[attr-defined]
    assert before["web"].key in bench.world.serving  # type: ignore[attr-defined]
    assert not bench.world.complaints


def test_what_the_guard_has_evicted_elsewhere_stays_away(bench):
    far = units_of(bench)["far"]
    bench.world.processes.switch(far.key, None)  # type: ignore[attr-defined]
    bench.world.processes.stop(far.key)  # type: ignore[attr-defined]
    EngineChange(bench.engine())(GPU, wanted())
    assert "far" not in units_of(bench)


def test_a_rollback_goes_back_by_one_change(bench):
    before = units_of(bench)
    EngineChange(bench.engine())(GPU, wanted())
    bench.engine().rollback()
    assert {k: v.key for k, v in units_of(bench).items()} == {k: v.key for k, v in before.items()}  # type: ignore[attr-defined]


def test_no_service_is_stopped_for_want_of_memory(bench):
    facts = bench.world.facts[GPU]
    bench.world.facts[GPU] = replace(facts, memory_mib=9 * 1024)
    with pytest.raises(UnitError, match="no memory for a second process"):
        EngineChange(bench.engine())(GPU, [wanted()[0], units_of(bench)["train"]])  # type: ignore[list-item]
    assert bench.world.changes == []
