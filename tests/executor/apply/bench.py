"""A node in memory with an engine on it, and plain checks of what is true there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from colocate.executor.apply.actions import Step
from colocate.executor.apply.desired import target_of_units
from colocate.executor.apply.engine import Engine, Expected, Outcome
from colocate.executor.apply.export_state import state_text
from colocate.executor.apply.observed import observe
from colocate.executor.apply.perform import Ports
from colocate.executor.apply.records import Origin
from colocate.executor.apply.situation import Situation, fingerprint, look
from colocate.executor.apply.target import Target
from colocate.executor.unit import Unit
from tests.executor.world import World

__all__ = ["Bench", "origin_of"]


def origin_of(name: str = "plan") -> Origin:
    from hashlib import sha256

    digest = sha256(name.encode()).hexdigest()
    return Origin(plan_sha256=digest, instance_name="node", instance_sha256=digest, solver="greedy")


class Bench:
    """One node in memory."""

    def __init__(self, root: Path, world: World) -> None:
        self.root, self.world = root, world
        self.slept = 0.0
        self.ports = Ports(
            daemons=world.daemons,
            processes=world.processes,
            gpus=world.gpus,
            member_timeout_s=1.0,
            clock=lambda: self.slept,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds

    def engine(
        self,
        hook: Callable[[str], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Engine:
        return Engine(self.root, self.ports, hook=hook, stop=stop)

    def look(self) -> Situation:
        return look(self.root, self.ports)

    def target(self, units: Iterable[Unit]) -> Target:
        situation = self.look()
        return target_of_units(units, situation.observed, known=situation.known)[0]

    def steps(self, units: Iterable[Unit]) -> tuple[Step, ...]:
        return self.engine().steps(self.look(), self.target(units))

    def expected(self, units: Iterable[Unit]) -> Expected:
        situation, target = self.look(), self.target(units)
        return Expected(
            fingerprint=fingerprint(situation, target),
            steps=self.engine().steps(situation, target),
        )

    def apply(
        self,
        *units: Unit,
        origin: Origin | None = None,
        expected: Expected | None = None,
        hook: Callable[[str], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Outcome:
        return self.engine(hook, stop).apply(
            lambda now: target_of_units(units, now.observed, known=now.known)[0],
            origin,
            expected,
        )

    def rollback(self, hook: Callable[[str], None] | None = None) -> Outcome:
        return self.engine(hook).rollback()

    def export(self) -> str:
        return state_text(observe(self.ports.daemons, self.ports.processes, self.ports.gpus))

    def check_holds(self, units: Iterable[Unit]) -> None:
        """Look at the world itself: every unit runs, with its share and batch, and no other."""
        world = self.world
        wanted = {unit.key: unit for unit in units if unit.gpu in world.facts}
        assert set(world.running) == set(wanted)
        for key, unit in wanted.items():
            process = world.running[key]
            assert process.state.phase in ("ready", "paused")
            assert process.state.pids
            assert process.member
            assert process.effective_share_pct == unit.share_pct
            assert process.state.unit.batch == unit.batch
        assert world.serving == {k for k, u in wanted.items() if u.role == "service"}
        ours = {gpu for gpu, daemon in world.alive.items() if daemon.ours}
        assert ours == {unit.gpu for unit in wanted.values()} - set(world.alive) | (
            ours & {unit.gpu for unit in wanted.values()}
        )
        assert world.complaints == []
