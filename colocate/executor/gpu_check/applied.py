"""The plan on the GPU, with real processes: apply, compare, roll back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from colocate.errors import ColocateError
from colocate.executor.errors import UnitError
from colocate.executor.gpu_check.stages import NotPossibleError, Said
from colocate.executor.gpu_check.state import State
from colocate.executor.gpu_check.world import passed_environment
from colocate.executor.measure.intervals import quantile
from colocate.executor.measure.link import Link, Listener
from colocate.executor.measure.protocol import Count

if TYPE_CHECKING:
    from colocate.executor.apply.engine import Engine
    from colocate.executor.ports import Daemons
    from colocate.executor.unit import Unit
    from colocate.executor.workloads.kept import KeptProcesses

__all__ = ["Applied", "apply", "compare", "roll_back", "running"]

RATE_WITHIN = 0.15
"""By how much a rate of the applied plan may differ from what the plan states."""
P99_WITHIN = 0.5
"""The same for a latency, upwards: what comes out below the prediction is no harm."""
ANSWER_S = 20.0
FEWEST = 100
"""Latencies below which no percentile is stated."""


@dataclass(kw_only=True)
class Applied:
    """A plan that runs."""

    engine: Engine
    processes: KeptProcesses
    daemons: Daemons
    listener: Listener
    units: tuple[Unit, ...]
    state_before: str
    links: dict[str, Link] = field(default_factory=dict)
    """By workload."""
    counts: dict[str, Count] = field(default_factory=dict)

    def unit(self, role: str) -> Unit | None:
        """Return the first unit of a role."""
        return next((u for u in self.units if u.role == role), None)

    def listen(self, seconds: float) -> None:
        """Wait until every unit has reported, and take those that have come back."""
        deadline = time.monotonic() + seconds
        while True:
            self.listener.wait(0.01)
            for unit in self.units:
                for link in self.listener.links(unit.workload):
                    if unit.workload in self.links:
                        self.links[unit.workload].close()
                    self.links[unit.workload] = link
                    self.counts.pop(unit.workload, None)
            left = deadline - time.monotonic()
            if len(self.links) == len(self.units) or left <= 0:
                return
            self.listener.wait(min(0.2, left))

    def window(self, workload: str) -> dict[str, Any] | None:
        """Return what a unit did since it was last asked, or None when it does not answer."""
        link = self.links.get(workload)
        if link is None:
            return None
        try:
            link.ask({"do": "count"})
            now = link.count(time.monotonic() + ANSWER_S)
        except UnitError:
            link.close()
            del self.links[workload]
            self.counts.pop(workload, None)
            return None
        before = self.counts.get(workload)
        self.counts[workload] = now
        if before is None:
            return {"rate": None, "latencies_ms": (), "waiting": now.waiting}
        passed = now.now - before.now
        return {
            "rate": (now.samples - before.samples) / passed if passed > 0 else 0.0,
            "latencies_ms": now.latencies_ms,
            "waiting": now.waiting,
        }

    def close(self) -> None:
        """Close all links."""
        for link in self.links.values():
            link.close()
        self.links = {}
        self.listener.close()


def apply(state: State) -> Said:
    """Apply the plan with a real engine and real processes; then again, which changes nothing."""
    from colocate.executor.apply.desired import target_of_units
    from colocate.executor.apply.engine import Engine
    from colocate.executor.apply.export_state import state_text
    from colocate.executor.apply.observed import observe
    from colocate.executor.apply.perform import Ports
    from colocate.executor.workloads.kept import KeptProcesses
    from colocate.executor.workloads.units import gpu_uuids, units_of
    from colocate.launch import LaunchFile

    if state.plan is None or state.instance is None:
        raise NotPossibleError("there is no plan")
    if not state.course.passed("daemon"):
        raise NotPossibleError("MPS does not run here")
    root = state.world.root
    listener = Listener()
    launches = LaunchFile.model_validate(_launch_file(state, listener.address))
    processes = KeptProcesses(root, launches)

    def unit_pids() -> Mapping[str, Sequence[int]]:
        return {s.unit.key: s.pids for s in processes.observe()}

    daemons = state.world.daemons(root, unit_pids, None)
    ports = Ports(daemons=daemons, processes=processes, gpus=state.world.gpus)
    units = units_of(state.instance, state.plan, launches, gpu_uuids(state.instance))
    before = state_text(observe(daemons, processes, state.world.gpus))
    applied = Applied(
        engine=Engine(root, ports),
        processes=processes,
        daemons=daemons,
        listener=listener,
        units=units,
        state_before=before,
    )
    state.applied = applied
    began = time.monotonic()
    try:
        outcome = applied.engine.apply(lambda now: target_of_units(units, now.observed)[0])
    except ColocateError as failed:
        logs = {u.key: _log(processes, u.key) for u in units}
        return Said(False, f"apply failed: {failed.message}", {"logs": logs})
    took = time.monotonic() - began
    again = applied.engine.apply(lambda now: target_of_units(units, now.observed)[0])
    applied.listen(30.0)
    seen = daemons.observe(state.need_gpu().uuid)
    members = {c.unit for c in seen.clients}
    outside = [u.key for u in units if u.key not in members]
    facts = {
        "units": [u.key for u in units],
        "steps": len(outcome.steps),
        "steps_of_a_second_apply": len(again.steps),
        "seconds": took,
        "server": seen.server,
        "clients": [{"pid": c.pid, "unit": c.unit} for c in seen.clients],
        "reported": sorted(applied.links),
        "facts": {name: dict(link.hello.facts) for name, link in applied.links.items()},
    }
    good = not again.steps and not outside and len(applied.links) == len(units)
    words = f"{len(units)} processes in {len(outcome.steps)} steps and {took:.1f} s; a second "
    words += f"apply had {len(again.steps)} steps"
    if outside:
        words += f"; no clients of MPS: {', '.join(outside)}"
    return Said(good, words, facts)


def compare(state: State) -> Said:
    """Hold what the plan states against what its processes do, under its load and in company."""
    applied = running(state)
    predicted = _predictions(state)
    seconds = min(state.sizes.watch_s, max(2.0, (state.course.left_s - 5) / 2))
    loaded = _watch(applied, seconds)
    closed = {}
    service = applied.unit("service")
    if service is not None and service.workload in applied.links:
        # without arrivals, as rates in company are predicted
        _set(applied, service, None)
        closed = _watch(applied, seconds)
        _set(applied, service, _load(state, service.workload))
    rows = []
    for unit in applied.units:
        expected = predicted[unit.workload]["rate"]
        measured = closed.get(unit.workload, loaded.get(unit.workload))
        if measured is None or not measured["rate"]:
            continue
        rows.append(
            {
                "workload": unit.workload,
                "role": unit.role,
                "predicted": expected,
                "measured": measured["rate"],
                "error": expected / measured["rate"] - 1,
            }
        )
    if not rows:
        raise NotPossibleError("no process of the plan answers")
    facts: dict[str, Any] = {"rows": rows, "loaded": loaded, "closed": closed}
    wrong = [r for r in rows if abs(r["error"]) > RATE_WITHIN]
    mean = fmean(abs(r["error"]) for r in rows)
    words = f"rates of the applied plan: mean error {mean:.1%}"
    p99_good = True
    if service is not None and loaded.get(service.workload, {}).get("p99_ms") is not None:
        stated, found = predicted[service.workload]["latency_ms"], loaded[service.workload]
        facts["p99"] = {
            "predicted_ms": stated,
            "measured_ms": found["p99_ms"],
            "p50_ms": found["p50_ms"],
            "slo_ms": predicted[service.workload]["slo_ms"],
            "requests": found["latencies"],
            "offered_rps": _load(state, service.workload),
            "served_rps": found["rate"],
        }
        p99_good = found["p99_ms"] <= stated * (1 + P99_WITHIN)
        words += (
            f"; p99 {found['p99_ms']:.1f} ms where {stated:.1f} ms were predicted and "
            f"{facts['p99']['slo_ms']:.0f} ms are allowed"
        )
    return Said(not wrong and p99_good, words, facts)


def roll_back(state: State) -> Said:
    """Undo the apply, and compare the state with what it was before."""
    from colocate.executor.apply.export_state import state_text
    from colocate.executor.apply.observed import observe

    applied: Applied | None = state.applied
    if applied is None:
        raise NotPossibleError("nothing was applied")
    began = time.monotonic()
    try:
        outcome = applied.engine.rollback()
    except ColocateError:
        _stop_by_hand(applied, state.need_gpu().uuid)
        raise
    finally:
        applied.close()
    now = state_text(observe(applied.daemons, applied.processes, state.world.gpus))
    same = now == applied.state_before
    facts = {"steps": len(outcome.steps), "seconds": time.monotonic() - began, "same": same}
    words = "byte for byte what it was" if same else "not what it was"
    return Said(same, f"after {len(outcome.steps)} steps the state is {words}", facts)


def running(state: State) -> Applied:
    """Return the plan that runs, with a link to each process that answers."""
    applied: Applied | None = state.applied
    if applied is None or not state.course.passed("apply"):
        raise NotPossibleError("the plan is not applied")
    applied.listen(5.0)
    return applied


def _launch_file(state: State, address: str) -> dict[str, Any]:
    """Return how the processes of the plan are started: as they were when they were measured."""
    assert state.instance is not None
    programs = []
    ready = state.out / "ready"
    ready.mkdir(exist_ok=True)
    for kind in state.sizes.kinds:
        argv = [*state.world.command(kind.name), "--batch", "{batch}", "--connect", address]
        argv += ["--name", "{workload}", "--ready", str(ready.resolve() / "{key}")]
        if kind.role == "inference":
            load = _load(state, kind.name)
            if load is None:
                continue
            argv += ["--arrival-rps", repr(load)]
        programs.append(
            {
                "id": kind.name,
                "argv": argv,
                "env": {**passed_environment(), **state.world.environment},
                "pass_env": ["PATH"],
                "ready": {"kind": "file", "path": str(ready.resolve() / "{key}")},
                "batch": {"kind": "argv"},
                "restart": {"when": "always", "first_wait_s": 0.5},
                "stop": {"grace_s": 20.0},
            }
        )
    return {"schema": "colocate/launch/v1", "programs": programs}


def _load(state: State, workload: str) -> float | None:
    assert state.instance is not None
    services = {s.id: s.rate_rps for s in state.instance.services}
    return services.get(workload)


def _predictions(state: State) -> dict[str, dict[str, float]]:
    assert state.plan is not None
    assert state.instance is not None
    slos = {s.id: s.slo_ms for s in state.instance.services}
    found: dict[str, dict[str, float]] = {}
    for group in state.plan.placements:
        for s in group.services:
            if s.predicted is not None:
                found[s.service] = {
                    "rate": s.predicted.rate_rps,
                    "latency_ms": s.predicted.latency_ms,
                    "slo_ms": slos[s.service],
                }
        for t in group.tasks:
            if t.predicted is not None:
                found[t.task] = {"rate": t.predicted.rate}
    return found


def _set(applied: Applied, unit: Unit, arrival_rps: float | None) -> None:
    link = applied.links[unit.workload]
    link.ask({"do": "set", "batch": unit.batch, "arrival_rps": arrival_rps, "seed": 2})
    link.answer(time.monotonic() + ANSWER_S)


def _watch(applied: Applied, seconds: float) -> dict[str, dict[str, Any]]:
    """Return rates and latencies of all units over some seconds, after one to settle."""
    time.sleep(min(1.0, seconds / 4))
    names = [u.workload for u in applied.units]
    for name in names:
        applied.window(name)
    time.sleep(seconds)
    found = {}
    for name in names:
        window = applied.window(name)
        if window is None or window["rate"] is None:
            continue
        latencies = window["latencies_ms"]
        many = len(latencies) >= FEWEST
        found[name] = {
            "rate": window["rate"],
            "latencies": len(latencies),
            "p50_ms": median(latencies) if latencies else None,
            "p99_ms": quantile(latencies, 0.99) if many else None,
            "waiting": window["waiting"],
        }
    return found


def _stop_by_hand(applied: Applied, gpu: str) -> None:
    """End what an undo has left behind, as far as possible."""
    for unit in applied.units:
        with contextlib.suppress(ColocateError):
            applied.processes.stop(unit.key)
    with contextlib.suppress(ColocateError):
        applied.daemons.stop(gpu)


def _log(processes: KeptProcesses, key: str) -> str:
    try:
        return processes.log(key, 1000)
    except ColocateError:
        return ""
