"""A node in memory with one GPU under guard: a service beside a training task."""

from __future__ import annotations

import tempfile
from pathlib import Path

from colocate.executor.apply.perform import Ports
from colocate.executor.guard.evidence import ServiceReading
from colocate.executor.guard.keeping import keep, recall
from colocate.executor.guard.loop import Guard
from colocate.executor.guard.machine import GuardState
from colocate.executor.guard.records import MemoryLines
from colocate.executor.guard.thresholds import GuardSettings, Patience, Policy
from colocate.executor.unit import Unit
from tests.executor.world import World, make_unit, uuid_of

GPU = uuid_of(0)
PATIENCE = Patience(
    init_readings=1,
    sustain_s=0,
    over_sustain_s=0,
    recover_s=2,
    calm_first_s=5,
    calm_most_s=40,
)

POLICY = Policy()
ETERNAL = PATIENCE.model_copy(update={"most_resets": 100})


class Node:
    """A GPU with a service and a training task, under guard."""

    def __init__(
        self,
        dialect="v2",
        *,
        policy: Policy = POLICY,
        patience: Patience = PATIENCE,
        launch: str = "live",
        **more,
    ):
        self.world = World(gpus=2, dialect=dialect)
        self.web = make_unit("web", share_pct=40)
        self.train = make_unit("train", role="task", share_pct=60, batch=32, launch=launch)
        self.far = make_unit("far", role="task", gpu=1, share_pct=60)
        self.ports = Ports(
            daemons=self.world.daemons,
            processes=self.world.processes,
            gpus=self.world.gpus,
            member_timeout_s=1.0,
            sleep=lambda _: None,
        )
        from colocate.executor.guard.hands import start_unit

        for unit in (self.web, self.train, self.far):
            start_unit(self.ports, unit)
        self.p99: float | None = 50.0
        self.lines = MemoryLines()
        self.settings = GuardSettings(patience=patience, policy=policy)
        self.more = more
        self.guard = self.new_guard()
        self.now = 0.0
        self.world.changes.clear()

    def new_guard(self, state: GuardState | None = None) -> Guard:
        return Guard(
            GPU,
            self.ports,
            settings=self.settings,
            services=lambda: [ServiceReading(service="web", slo_ms=100.0, p99_ms=self.p99)],
            recorder=self.lines,
            state=state,
            **self.more,
        )

    def restart(self) -> None:
        """End the guard as a crash would; the next one finds what it kept."""
        with tempfile.TemporaryDirectory() as folder:
            keep(Path(folder), GPU, self.guard.state, self.guard.owed)
            state, owed = recall(Path(folder), GPU, self.now)
        holds = self.guard.holds
        self.guard = self.new_guard(state)
        self.guard.owed = self.guard._doer.owed = owed
        self.guard.holds = self.guard._doer.holds = holds

    def go(self, ticks: int = 1, p99: float | None = 50.0) -> Node:
        self.p99 = p99
        for _ in range(ticks):
            self.guard.tick(self.now)
            self.now += 1.0
        return self

    def phase(self, unit: Unit) -> str | None:
        found = [s for s in self.world.processes.observe() if s.unit.place == unit.place]
        return found[0].phase if found else None

    def find(self, workload: str) -> Unit | None:
        found = [s.unit for s in self.world.processes.observe() if s.unit.workload == workload]
        return found[0] if found else None

    @property
    def touched(self) -> set[str]:
        """What was done, to whom."""
        return {f"{op} {about}" for op, about in self.world.changes}
