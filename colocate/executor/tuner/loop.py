"""The tuner of one GPU: follows the load of its services.

    read the sources -> has the load moved, is an SLO at risk, is there room again?
        -> a batch at once, or training halted -> the library's best settings for this load
        -> shares by a second process -> training goes on

Everything that it decides is recorded with its grounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from colocate.errors import ColocateError
from colocate.executor.apply.perform import Ports
from colocate.executor.guard.holds import Holds
from colocate.executor.guard.records import MemoryLines, Recorder
from colocate.executor.tuner.carrying import HOLDER, Carrier, Respec, first_line, tenant_of
from colocate.executor.tuner.change import Change
from colocate.executor.tuner.company import Load, OneGpu, Tenant
from colocate.executor.tuner.decision import Decision, decide
from colocate.executor.tuner.drift import Drift, drift
from colocate.executor.tuner.memory import ServiceMemory
from colocate.executor.tuner.observe import Observer
from colocate.executor.tuner.settings import TunerSettings
from colocate.executor.tuner.sources import Signal, Source
from colocate.executor.tuner.trial import Trial
from colocate.executor.tuner.trigger import Watch, look
from colocate.executor.unit import Unit

__all__ = ["Look", "Tuner"]

URGENT = frozenset({"rate_up", "overload", "slo_risk"})
"""Reasons for which training waits: services are seen to first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look saw and did."""

    signals: Mapping[str, Signal]
    reasons: tuple[str, ...]
    decision: Decision | None
    error: str = ""


class Tuner:
    """Follows the load of one GPU."""

    def __init__(
        self,
        gpu: str,
        ports: Ports,
        model: OneGpu,
        sources: Mapping[str, Source],
        *,
        change: Change,
        respec: Respec,
        settings: TunerSettings | None = None,
        planned_rps: Mapping[str, float] | None = None,
        holds: Holds | None = None,
        recorder: Recorder | None = None,
        dry_run: bool = False,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Follow one GPU.

        Parameters
        ----------
        gpu
            Its UUID.
        ports
            The node.
        model
            The models of this GPU.
        sources
            By service or task id, for this GPU's replica.
        change
            Brings the units of the GPU to others.
        respec
            Makes a unit with other knobs.
        settings
            Bounds, times and choices.
        planned_rps
            The rates that the present settings were made for, where they are known.
        holds
            Who wants which unit to stand still; shared with the guard.
        recorder
            Where records go.
        dry_run
            Decide and record, and do nothing.
        clock
            Tells the time after a change, which may take long; the clock of `tick` by default.
        """
        self.gpu = gpu
        self.ports = ports
        self.model = model
        self.sources = dict(sources)
        self.settings = settings or TunerSettings()
        self.holds = holds or Holds()
        self.recorder: Recorder = recorder or MemoryLines()
        self.dry_run = dry_run
        self.clock = clock
        self.carrier = Carrier(gpu, ports, model, change, respec, self.holds, self._record)
        self.services: dict[str, ServiceMemory] = {}
        self.observer = Observer(model, self.settings.observe_s)
        self.trial: Trial | None = None
        self._company: frozenset[tuple[str, int, bool]] | None = None
        self._at_work: frozenset[str] = frozenset()
        """Keys of the units that were ready at the last look."""
        self._not_before = self._next_check = self._next_room = float("-inf")
        self._pending = False
        """Whether somebody came whom the settings were not made for."""
        for name, rate in (planned_rps or {}).items():
            self.services[name] = ServiceMemory(watch=Watch(made_for_rps=rate))

    @property
    def changes(self) -> int:
        """How often settings were changed."""
        return self.carrier.changes

    # -- one look ------------------------------------------------------------------------------

    def tick(self, now: float) -> Look:
        """Look once, and do what follows."""
        try:
            units = self._units()
            signals = self._signals(now, units)
            reasons = self._reasons(now, units, signals)
        except ColocateError as failed:
            error = first_line(failed)
            self._record(now, "error", error=error)
            return Look(signals={}, reasons=(), decision=None, error=error)
        if not reasons or now < self._not_before:
            self._quiet(now, units, signals)
            return Look(signals=signals, reasons=(), decision=None)
        try:
            decision = self._retune(now, units, reasons)
        except ColocateError as failed:
            error = first_line(failed)
            self._not_before = self._now(now) + self.settings.trigger.settle_s
            self._record(now, "retune_failed", reasons=list(reasons), error=error)
            return Look(signals=signals, reasons=reasons, decision=None, error=error)
        return Look(signals=signals, reasons=reasons, decision=decision)

    def release(self, now: float) -> None:
        """Let all training go that the tuner halted: for its own end, so that nothing starves."""
        for unit in self._units():
            if unit.key in self.holds.of(HOLDER):
                self.carrier.resume(now, unit, "the tuner ends")

    def drift(self) -> tuple[Drift, ...]:
        """Return how the services do against what the models say of them now."""
        seen = {n: m.signals[-1] for n, m in self.services.items() if m.signals}
        planned = {
            n: m.watch.made_for_rps
            for n, m in self.services.items()
            if m.watch.made_for_rps is not None
        }
        return drift(self.model, [tenant_of(u) for u in self._units()], seen, planned)

    # -- reading -------------------------------------------------------------------------------

    def _units(self) -> tuple[Unit, ...]:
        everything = self.ports.processes.observe()
        if not self.dry_run:
            self.carrier.forget(everything)
        found = [
            s
            for s in everything
            if s.unit.gpu == self.gpu and s.phase not in ("draining", "stopped")
        ]
        self._at_work = frozenset(s.unit.key for s in found if s.phase == "ready")
        return tuple(sorted((s.unit for s in found), key=lambda u: u.key))

    def _signals(self, now: float, units: Sequence[Unit]) -> dict[str, Signal]:
        found: dict[str, Signal] = {}
        for name in dict.fromkeys(u.workload for u in units):
            source = self.sources.get(name)
            if source is None:
                continue
            memory = self.services.setdefault(name, ServiceMemory())
            try:
                signal = source.read(now)
            except ColocateError as failed:
                complaint = first_line(failed)
                if complaint != memory.complaint:
                    self._record(now, "source_failed", service=name, error=complaint)
                memory.complaint = complaint
                continue
            memory.complaint = ""
            memory.add(signal)
            found[name] = signal
        return found

    def _reasons(
        self, now: float, units: Sequence[Unit], signals: Mapping[str, Signal]
    ) -> tuple[str, ...]:
        found = []
        for unit in units:
            signal = signals.get(unit.workload)
            if unit.role != "service" or signal is None:
                continue
            memory = self.services[unit.workload]
            slo = self.model.service(unit.workload).slo_ms
            memory.watch, reason = look(memory.watch, signal, slo, now, self.settings.trigger)
            if reason is not None:
                found.append(f"{reason} of {unit.workload}")
        company = frozenset((u.workload, u.ordinal, u.key in self._at_work) for u in units)
        if self._company is not None and company != self._company:
            # What was seen in other company says nothing about now.
            for memory in self.services.values():
                memory.steady_from = now + self.settings.trigger.settle_s
            if {c[:2] for c in company} - {c[:2] for c in self._company}:
                self._pending = True
        self._company = company
        if self._pending:
            found.append("company")
        if not found and now >= self._next_check and self._settled(now):
            self._next_check = now + self.settings.drift_window_s / 6
            self._learn(now, units)
            if not self._holds_up(now, units):
                found.append("overload")
        if (
            not found
            and self.carrier.halted(units)
            and now >= self._next_room
            and self._settled(now)
        ):
            self._next_room = now + max(1.0, self.settings.resume_s / 2)
            found.append("room")
        return tuple(found)

    def _settled(self, now: float) -> bool:
        changed = [m.watch.changed_at for m in self.services.values()]
        return all(t is None or now - t >= max(self.settings.resume_s, 1.0) for t in changed)

    # -- deciding and acting -------------------------------------------------------------------

    def _loads(self, now: float, units: Sequence[Unit], more: float = 0.0) -> dict[str, Load]:
        """Return what each service has to bear: the highest rate of late, and some more."""
        found = {}
        for unit in units:
            if unit.role != "service":
                continue
            memory = self.services.setdefault(unit.workload, ServiceMemory())
            rate = memory.highest_rps(now, self.settings.resume_s)
            if memory.watch.down_from is not None:
                rate = max(rate or 0.0, memory.watch.highest_rps) or None
            if rate is None:
                rate = memory.watch.made_for_rps or self.model.service(unit.workload).rate_rps
            bearable = max(rate, 1e-6) * (1 + more) * (1 + self.settings.headroom)
            found[unit.workload] = Load(rate_rps=bearable, slower=memory.slower)
        return found

    def _holds_up(self, now: float, units: Sequence[Unit]) -> bool:
        """Tell whether the present settings bear the present load, without any headroom."""
        loads = {}
        for name, load in self._loads(now, units).items():
            rate = self.services[name].mean_rps(now, self.settings.resume_s)
            loads[name] = replace(load, rate_rps=load.rate_rps if rate is None else max(rate, 1e-6))
        running = [tenant_of(u) for u in units if u.key in self._at_work]
        return self.model.all_in_time(running, loads)

    def _learn(self, now: float, units: Sequence[Unit]) -> None:
        """Take note of services that are slower or faster than modelled."""
        running = [u for u in units if u.key in self._at_work]
        tenants = [tenant_of(u) for u in running]
        for i, unit in enumerate(running):
            memory = self.services.get(unit.workload)
            if unit.role != "service" or memory is None:
                continue
            others = [*tenants[:i], *tenants[i + 1 :]]
            window = self.settings.drift_window_s
            found = memory.estimate(self.model, tenants[i], others, now, window)
            if found is None:
                continue
            if abs(found / memory.slower - 1) > self.settings.drift_from:
                self._record(
                    now,
                    "drift",
                    service=unit.workload,
                    slower=round(found, 4),
                    before=round(memory.slower, 4),
                )
                memory.slower = found

    def _retune(self, now: float, units: Sequence[Unit], reasons: tuple[str, ...]) -> Decision:
        if not any(r.startswith("rate_up") for r in reasons):
            # While the load rises a queue builds up, which is no sign of a slower service.
            self._learn(now, units)
        urgent = any(r.split()[0] in URGENT for r in reasons)
        rising = any(r.startswith("rate_up") for r in reasons)
        loads = self._loads(now, units, self.settings.rising if rising else 0.0)
        halted = self.carrier.halted(units)
        tenants = [tenant_of(u) for u in units]
        begin = time.perf_counter()
        decision = decide(
            self.model,
            tenants,
            [u in halted for u in units],
            loads,
            bare={
                n: replace(load, rate_rps=load.rate_rps / (1 + self.settings.headroom))
                for n, load in loads.items()
            },
            least_gain=self.settings.least_gain,
        )
        waits = reasons == ("room",) and not decision.change
        if not waits:
            self._record(
                now,
                "retune",
                reasons=list(reasons),
                loads={n: _rounded(load) for n, load in loads.items()},
                before=[_shown(t) for t in tenants],
                at_once=[_shown(t) for t in decision.relief],
                halt=decision.halt,
                after=[_shown(t) for t in decision.target.tenants],
                paused=[t.entry for t in decision.target.paused],
                in_time=decision.target.in_time,
                changed=decision.change,
                decided_s=round(time.perf_counter() - begin, 4),
            )
        if not self.dry_run:
            self.carrier.carry_out(now, units, decision, urgent=urgent)
        after = self._now(now)
        for name, load in loads.items():
            memory = self.services[name]
            rate = load.rate_rps / (1 + self.settings.headroom)
            if waits:
                continue
            memory.watch = memory.watch.changed(after, rate)
            memory.steady_from = after + self.settings.trigger.settle_s / 3
        self._pending = False
        self.trial = None
        return decision

    # -- in quiet times ------------------------------------------------------------------------

    def _quiet(self, now: float, units: Sequence[Unit], signals: Mapping[str, Signal]) -> None:
        tenants = [tenant_of(u) for u in units if u not in self.carrier.halted(units)]
        self.observer.look(now, tenants, signals)
        if not self.settings.search or self.dry_run:
            return
        if self.trial is None:
            self.trial = Trial.of(self.model, tenants, self.settings.search_dwell_s, now)
        wish = self.trial.look(now, signals)
        if wish is None:
            return
        name, batch = wish
        wanted = [
            self.carrier.as_tenant(u, replace(tenant_of(u), batch=batch))
            if u.workload == name
            else u
            for u in units
        ]
        if all(a.key == b.key for a, b in zip(units, wanted, strict=True)):
            try:
                self.carrier.change(self.gpu, wanted)
            except ColocateError as failed:
                self._record(now, "trial_failed", error=first_line(failed))
                return
            self._record(now, "trial", service=name, batch=batch)
            self.services[name].steady_from = now

    # -- records -------------------------------------------------------------------------------

    def _now(self, now: float) -> float:
        return now if self.clock is None else max(now, self.clock())

    def _record(self, now: float, event: str, **values: Any) -> None:  # noqa: ANN401
        record = {"event": event, "seconds": round(now, 3), "gpu": self.gpu, **values}
        self.recorder.write({**record, "dry_run": True} if self.dry_run else record)


def _shown(tenant: Tenant) -> str:
    return f"{tenant.entry} batch {tenant.batch} share {tenant.share_pct} %"


def _rounded(load: Load) -> dict[str, float]:
    return {"rate_rps": round(load.rate_rps, 3), "slower": round(load.slower, 4)}
