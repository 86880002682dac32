"""The tuner of one GPU on a node in memory."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colocate.executor.apply.desired import target_of_units
from colocate.executor.apply.engine import Engine
from colocate.executor.apply.perform import Ports
from colocate.executor.errors import UnitError
from colocate.executor.guard.hands import start_unit, stop_unit
from colocate.executor.guard.holds import Holds
from colocate.executor.guard.records import MemoryLines
from colocate.executor.simulated.example import example_instance
from colocate.executor.tuner.change import SingleChanges
from colocate.executor.tuner.company import Load, OneGpu, Tenant
from colocate.executor.tuner.engine_change import EngineChange
from colocate.executor.tuner.fetch import SourceError
from colocate.executor.tuner.loop import Tuner
from colocate.executor.tuner.settings import TunerSettings
from colocate.executor.tuner.sources import CallbackSource, Signal
from colocate.executor.unit import Unit
from tests.executor.world import World, make_unit, uuid_of

GPU = uuid_of(0)
INSTANCE = example_instance()


def respec(unit: Unit, tenant: Tenant, memory_gib: float | None) -> Unit:
    return replace(
        unit,
        key=f"{unit.workload}.{unit.ordinal}.{tenant.share_pct:08x}",
        batch=tenant.batch,
        share_pct=tenant.share_pct,
        memory_gib=unit.memory_gib if memory_gib is None else memory_gib,
    )


class Node:
    """A GPU with the example's service and task; the load is what the test says."""

    def __init__(self, dialect="v2", *, settings: TunerSettings | None = None, **more):
        self.world = World(gpus=1, dialect=dialect, memory_mib=81920)
        self.ports = Ports(
            daemons=self.world.daemons,
            processes=self.world.processes,
            gpus=self.world.gpus,
            member_timeout_s=1.0,
            sleep=lambda _: None,
        )
        web = Tenant(entry="web", role="service", batch=16, share_pct=36)
        train = Tenant(entry="train", role="task", batch=64, share_pct=64)
        self.web = respec(make_unit("web", memory_gib=12.0), web, None)
        self.train = respec(make_unit("train", role="task", memory_gib=20.0), train, None)
        for unit in (self.web, self.train):
            start_unit(self.ports, unit)
        self.world.changes.clear()
        self.rate: float | None = 200.0
        self.p99: float | None = 60.0
        self.lines = MemoryLines()
        self.now = 0.0
        self.model = OneGpu(INSTANCE, "node")
        arguments: dict[str, Any] = {
            "change": SingleChanges(self.ports),
            "respec": respec,
            "settings": settings or TunerSettings(),
            "planned_rps": {"web": 200.0},
            "recorder": self.lines,
            **more,
        }
        self.tuner = Tuner(
            GPU,
            self.ports,
            self.model,
            {"web": CallbackSource(self.signal)},
            **arguments,
        )

    def signal(self, now: float) -> Signal:
        return Signal(seconds=now, rate_rps=self.rate, p99_ms=self.p99)

    def go(self, seconds: int, rate: float | None = None, p99: float | None = None) -> Node:
        self.rate = self.rate if rate is None else rate
        self.p99 = self.p99 if p99 is None else p99
        for _ in range(seconds):
            self.tuner.tick(self.now)
            self.now += 1.0
        return self

    def find(self, workload: str) -> Unit:
        (found,) = [s.unit for s in self.world.processes.observe() if s.unit.workload == workload]
        return found

    def phase(self, workload: str) -> str:
        (found,) = [s.phase for s in self.world.processes.observe() if s.unit.workload == workload]
        return found

    def events(self, event: str) -> list[dict[str, Any]]:
        return [r for r in self.lines.records if r["event"] == event]

    @property
    def ops(self) -> list[str]:
        return [op for op, _ in self.world.changes]


def test_a_steady_load_changes_nothing():
    node = Node().go(120)
    assert node.world.changes == []
    assert node.events("retune") == []


@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_a_burst_gets_a_batch_at_once_and_a_share_by_a_second_process(dialect):
    node = Node(dialect).go(5).go(3, rate=400.0)
    assert node.find("web").share_pct > 60
    ops = [op for op in node.ops if op.startswith("processes.")]
    first = [op for op in ops if op != "processes.resume"]
    assert first.index("processes.set_batch") < first.index("processes.start")
    assert first.index("processes.pause") < first.index("processes.start")
    # the old one is stopped once the new one serves
    assert first.index("processes.start") < first.index("processes.switch")
    assert first.index("processes.switch") < first.index("processes.stop")
    assert node.find("web").key in node.world.serving
    assert not node.world.complaints


def test_training_is_away_for_a_while_and_comes_back_with_what_is_left():
    node = Node().go(5).go(3, rate=400.0)
    assert node.phase("train") == "paused"
    node.go(60)
    assert node.phase("train") == "ready"
    web, train = node.find("web"), node.find("train")
    assert web.share_pct + train.share_pct <= 100
    assert node.model.all_in_time(
        [
            Tenant(entry=u.workload, role=u.role, batch=u.batch, share_pct=u.share_pct)
            for u in (web, train)
        ],
        {"web": Load(rate_rps=400.0)},
    )
    assert not node.world.complaints


def test_when_the_burst_is_over_training_gets_its_share_back():
    node = Node().go(5).go(60, rate=400.0)
    low = node.find("train").share_pct
    node.go(120, rate=200.0)
    assert node.find("train").share_pct > low + 15
    assert node.phase("train") == "ready"
    retunes = node.events("retune")
    assert any(r["reasons"] == ["rate_down of web"] for r in retunes)
    assert len(retunes) <= 8


def test_more_than_the_gpu_can_do_pauses_training_until_it_can_again():
    node = Node().go(5).go(60, rate=3000.0)
    assert node.phase("train") == "paused"
    assert node.find("web").share_pct == 100
    assert not node.events("retune")[0]["in_time"]
    node.go(120, rate=200.0)
    assert node.phase("train") == "ready"
    assert not node.world.complaints


def test_a_load_that_swings_does_not_make_settings_swing():
    node = Node().go(5)
    for _ in range(20):
        node.go(6, rate=150.0).go(6, rate=225.0)
    assert node.tuner.changes == 0
    node = Node().go(5)
    for _ in range(15):
        node.go(20, rate=400.0).go(20, rate=200.0)
    # up once; never down for so short a time
    starts = [about for op, about in node.world.changes if op == "processes.start"]
    assert len([s for s in starts if s.startswith("web")]) <= 2


def test_a_service_that_has_become_slower_is_learnt_from_its_latency():
    node = Node().go(5)
    for _ in range(90):
        tenants = [
            Tenant(entry=u.workload, role=u.role, batch=u.batch, share_pct=u.share_pct)
            for u in (node.find("web"), node.find("train"))
        ]
        others = tenants[1:] if node.phase("train") == "ready" else []
        check = node.model.check(tenants[0], others, Load(rate_rps=200.0, slower=1.5))
        assert check is not None
        node.go(1, p99=check.latency_ms)
    learnt = node.events("drift")
    assert learnt
    assert learnt[-1]["slower"] == pytest.approx(1.5, rel=0.1)
    assert node.find("web").share_pct > 45
    assert node.p99 is not None
    assert node.p99 < 120
    assert node.phase("train") == "ready"


def test_a_source_that_fails_is_recorded_once_and_nothing_is_changed():
    def fail(_now: float) -> Signal:
        raise SourceError("no answer")

    node = Node()
    node.tuner.sources["web"] = CallbackSource(fail)
    node.go(30)
    assert len(node.events("source_failed")) == 1
    assert node.world.changes == []


def test_a_new_process_that_does_not_get_ready_leaves_the_old_one_serving():
    node = Node().go(5)
    node.world.fail("processes.wait_ready", "web", error=UnitError("not ready"), times=1)
    node.go(5, rate=400.0)
    assert node.find("web").share_pct == 36
    assert node.web.key in node.world.serving
    assert node.events("retune_failed")
    node.go(40)
    assert node.find("web").share_pct > 36
    assert node.phase("train") in ("ready", "paused")
    assert not node.world.complaints


def test_a_dry_run_decides_and_does_nothing():
    node = Node(dry_run=True).go(5).go(10, rate=400.0)
    assert node.world.changes == []
    assert node.events("retune")
    assert all(r["dry_run"] for r in node.lines.records)


def test_training_that_the_guard_holds_is_not_let_go():
    holds = Holds()
    node = Node(holds=holds).go(5).go(3, rate=3000.0)
    holds.put("guard", node.train.key)
    node.go(120, rate=200.0)
    same = [s for s in node.world.processes.observe() if s.unit.key == node.train.key]
    # with its old process it stands still; with a new one the guard would halt it again
    assert not same or same[0].phase == "paused"


def test_at_its_end_the_tuner_lets_training_go():
    node = Node().go(5).go(3, rate=3000.0)
    assert node.phase("train") == "paused"
    node.tuner.release(node.now)
    assert node.phase("train") == "ready"
    assert node.tuner.holds.of("tuner") == ()


def test_a_neighbour_that_comes_is_seen_to():
    node = Node()
    node.world.processes.stop(node.train.key)
    node.go(5)
    assert node.tuner.changes == 0
    big = replace(node.train, key="train.0.00000050", share_pct=80)
    start_unit(node.ports, big)
    node.go(5)
    assert node.find("web").share_pct + node.find("train").share_pct <= 100
    assert any(r["reasons"] == ["company"] for r in node.events("retune"))


def test_drift_is_told_on_request():
    node = Node().go(10, rate=210.0)
    (found,) = node.tuner.drift()
    assert found.seen_rps == 210.0
    assert found.planned_rps == 200.0


def test_quiet_stretches_become_rows_of_a_profile_table(tmp_path):
    from colocate.executor.tuner.observe import append_rows
    from colocate.tables.read import read_table

    node = Node(settings=TunerSettings(observe_s=20.0)).go(65)
    rows = node.tuner.observer.take()
    assert len(rows) == 3
    path = tmp_path / "seen.csv"
    append_rows(path, rows[:1])
    append_rows(path, rows[1:])
    append_rows(path, [])
    read = read_table(path)
    assert read.n_dropped == 0
    table = read.table
    assert len(table) == 3
    assert set(table["workload"]) == {"language"}
    assert set(table["neighbour"]) == {"vision"}
    assert table["arrival_rps"][0] == 200.0
    assert table["latency_p99_ms"][0] == 60.0
    assert table["share_pct"][0] == 36.0


def test_a_change_of_load_is_no_steady_stretch():
    node = Node(settings=TunerSettings(observe_s=20.0, headroom=1.0))
    for i in range(60):
        node.go(1, rate=100.0 if i % 2 else 190.0)
    assert node.tuner.observer.take() == []


def test_batches_are_tried_where_the_models_are_unsure():
    """The instance's pairs are made constants: nobody measured them."""
    from colocate.profile import Interference, PairSlowdown
    from colocate.schema import Evidence

    pairs = tuple(
        PairSlowdown(**{**p.model_dump(), "table": p.table, "evidence": Evidence.CONSTANT})
        for p in INSTANCE.interference.pairs
    )
    unsure = INSTANCE.replace(interference=Interference(pairs=pairs))
    node = Node(settings=TunerSettings(search=True, search_dwell_s=5.0))
    node.model = node.tuner.model = OneGpu(unsure, "node")
    cost = {4: 40.0, 8: 30.0, 16: 35.0, 32: 60.0}
    for _ in range(80):
        node.p99 = cost[node.find("web").batch]
        node.go(1)
    assert node.find("web").batch == 8
    tried = [r["batch"] for r in node.events("trial")]
    assert len(set(tried)) >= 2
    assert set(node.ops) == {"processes.set_batch"}


def test_what_was_measured_is_not_tried_out():
    node = Node(settings=TunerSettings(search=True, search_dwell_s=2.0)).go(60)
    assert node.world.changes == []


LOADS = st.lists(
    st.tuples(
        st.sampled_from([20.0, 100.0, 200.0, 300.0, 450.0, 700.0, 3000.0]),
        st.sampled_from([30.0, 60.0, 115.0, 400.0]),
        st.integers(1, 25),
        st.sampled_from(["", "", "", "no ready", "no batch", "no pause", "no stop", "no answer"]),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.deep
@settings(max_examples=60)
@given(LOADS, st.sampled_from(["v2", "v3"]))
def test_whatever_the_load_the_service_is_never_away_and_training_comes_back(loads, dialect):
    """Through the engine of apply, as on the command line: what fails is put back."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        node = Node(dialect)
        engine = Engine(Path(folder), node.ports)
        # it has to know what is served, as it does after an apply
        for unit in (node.web, node.train):
            if unit is node.web:
                node.ports.processes.switch(unit.key, None)
            stop_unit(node.ports, unit)
        units = [node.web, node.train]
        engine.apply(lambda seen: target_of_units(units, seen.observed)[0])
        node.tuner.carrier.change = EngineChange(engine)
        go_through(node, loads)


def go_through(node: Node, loads: list[tuple[float, float, int, str]]) -> None:
    for rate, p99, seconds, event in loads:
        match event:
            case "no ready":
                node.world.fail("processes.wait_ready", error=UnitError("no"), times=1)
            case "no batch":
                node.world.fail("processes.set_batch", error=UnitError("no"), times=1)
            case "no pause":
                node.world.fail("processes.pause", error=UnitError("no"), times=1)
            case "no stop":
                node.world.fail("processes.stop", "train", error=UnitError("no"), times=1)
            case "no answer":
                node.world.fail("daemons.observe", times=1)
        for _ in range(seconds):
            node.go(1, rate=rate, p99=p99)
            there = [s for s in node.world.processes.observe() if s.unit.workload == "web"]
            assert any(s.phase == "ready" and s.unit.key in node.world.serving for s in there)
    node.world.calm()
    node.go(200, rate=200.0, p99=60.0)
    assert node.phase("web") == "ready"
    assert node.phase("train") == "ready"
    assert node.find("web").share_pct + node.find("train").share_pct <= 100
    assert node.tuner.holds.of("tuner") == ()
    assert not [c for c in node.world.complaints if "out of memory" not in c]
