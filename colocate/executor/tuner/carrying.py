"""Carrying out what the tuner decided: batches at once, shares by second processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from colocate.errors import ColocateError
from colocate.executor.apply.perform import Ports
from colocate.executor.guard.holds import Holds
from colocate.executor.ports import UnitState
from colocate.executor.tuner.change import Change
from colocate.executor.tuner.company import OneGpu, Tenant
from colocate.executor.tuner.decision import Decision
from colocate.executor.unit import Unit

__all__ = ["HOLDER", "Carrier", "Respec", "first_line", "tenant_of"]

HOLDER = "tuner"
Respec = Callable[[Unit, Tenant, float | None], Unit]
"""A unit, other knobs and the memory that it takes with them: the unit as it would be then."""


class Carrier:
    """Changes the units of one GPU."""

    def __init__(
        self,
        gpu: str,
        ports: Ports,
        model: OneGpu,
        change: Change,
        respec: Respec,
        holds: Holds,
        record: Callable[..., None],
    ) -> None:
        self.gpu = gpu
        self.ports = ports
        self.model = model
        self.change = change
        self.respec = respec
        self.holds = holds
        self.record = record
        self.changes = 0
        """How often settings were changed."""

    def halted(self, units: Sequence[Unit]) -> list[Unit]:
        """Return the units that stand still in the tuner's name."""
        mine = set(self.holds.of(HOLDER))
        return [u for u in units if u.key in mine]

    def forget(self, everything: Sequence[UnitState]) -> None:
        """Drop our markers of units that are gone: one of the same name may come back."""
        there = {s.unit.key for s in everything}
        for key in self.holds.of(HOLDER):
            if key not in there:
                self.holds.drop(HOLDER, key)

    def carry_out(
        self,
        now: float,
        units: Sequence[Unit],
        decision: Decision,
        *,
        urgent: bool,
    ) -> None:
        """Bring the GPU to what was decided.

        Where it is urgent, only what serves is changed; training that is in the way stands still
        until things have settled.
        """
        halted = self.halted(units)
        if decision.halt:
            for unit in units:
                if unit.role == "task" and unit not in halted:
                    self.halt(now, unit)
        eased = [self.as_tenant(u, t) for u, t in zip(units, decision.relief, strict=True)]
        # At once only what needs no new process.
        at_once = [
            new if new.key == old.key else old for old, new in zip(units, eased, strict=True)
        ]
        if at_once != list(units):
            self.change(self.gpu, at_once)
            self.changes += 1
        if not decision.change:
            return
        if urgent:
            self._services_first(now, at_once, decision)
            return
        wanted, resumed = self._wanted(at_once, decision)
        if wanted != at_once:
            self.change(self.gpu, wanted)
            self.changes += 1
        for unit in wanted:
            if unit.place in resumed:
                if unit.key in self.holds.of(HOLDER):
                    self.resume(now, unit, "there is room")
            elif unit.role == "task" and unit.key not in self.holds.of(HOLDER):
                self.halt(now, unit)

    def _services_first(self, now: float, units: Sequence[Unit], decision: Decision) -> None:
        """Change what serves; training that is in the way stands still until things settle."""
        changed, _ = self._wanted(units, decision)
        wanted = [
            new if new.role == "service" else old for old, new in zip(units, changed, strict=True)
        ]
        running = [u for u in wanted if u.key not in self.holds.of(HOLDER)]
        if sum(u.share_pct for u in running) > 100 or decision.target.paused:
            for unit in running:
                if unit.role == "task":
                    self.halt(now, unit)
        if wanted != list(units):
            self.change(self.gpu, wanted)
            self.changes += 1

    def _wanted(
        self, units: Sequence[Unit], decision: Decision
    ) -> tuple[list[Unit], set[tuple[str, int]]]:
        """Return every unit as it is to be, and the places of the training that is to run."""
        left = list(decision.target.tenants)
        wanted, run = [], set()
        for unit in units:
            tenant = next(
                (t for t in left if (t.role, t.entry) == (unit.role, unit.workload)), None
            )
            if tenant is None:
                wanted.append(unit)
                continue
            left.remove(tenant)
            wanted.append(self.as_tenant(unit, tenant))
            if unit.role == "task":
                run.add(unit.place)
        return wanted, run

    def as_tenant(self, unit: Unit, tenant: Tenant) -> Unit:
        """Return a unit with other knobs."""
        if (unit.batch, unit.share_pct) == (tenant.batch, tenant.share_pct):
            return unit
        return self.respec(unit, tenant, self.model.memory_gib(tenant))

    def halt(self, now: float, unit: Unit) -> None:
        """Halt training in the tuner's name."""
        with self.holds.alone():
            self.holds.put(HOLDER, unit.key)
            try:
                self.ports.processes.pause(unit.key)
            except ColocateError as failed:
                self.holds.drop(HOLDER, unit.key)
                self.record(now, "halt_failed", unit=unit.key, error=first_line(failed))
                return
        self.record(now, "halt", unit=unit.key)

    def resume(self, now: float, unit: Unit, why: str) -> None:
        """Let training go on, unless somebody else wants it to stand still."""
        with self.holds.alone():
            self.holds.drop(HOLDER, unit.key)
            if not self.holds.holders(unit.key):
                self.ports.processes.resume(unit.key)
        self.record(now, "resume", unit=unit.key, why=why)


def tenant_of(unit: Unit) -> Tenant:
    """Return a unit as the models know it."""
    return Tenant(entry=unit.workload, role=unit.role, batch=unit.batch, share_pct=unit.share_pct)


def first_line(failed: Exception) -> str:
    """Return what an error says, without its advice."""
    return str(failed).split("\n", 1)[0][:300]
