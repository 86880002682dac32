"""One scenario on one simulated GPU, with the plan as it is or with guard and tuner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from colocate.errors import InputError
from colocate.executor.apply.perform import Ports
from colocate.executor.guard.evidence import ServiceReading
from colocate.executor.guard.hands import start_unit
from colocate.executor.guard.holds import Holds
from colocate.executor.guard.loop import Guard
from colocate.executor.guard.records import MemoryLines
from colocate.executor.guard.thresholds import GuardSettings, most_changes
from colocate.executor.simulated.example import UUID
from colocate.executor.simulated.metrics import MetricsPage
from colocate.executor.simulated.node import (
    SimulatedDaemons,
    SimulatedGpus,
    SimulatedNode,
    SimulatedProcesses,
    Truth,
)
from colocate.executor.simulated.queue import ServiceQueue
from colocate.executor.simulated.scenario import Scenario, arrivals_of
from colocate.executor.tuner.change import SingleChanges
from colocate.executor.tuner.company import OneGpu, Tenant
from colocate.executor.tuner.loop import Tuner
from colocate.executor.tuner.settings import TunerSettings
from colocate.executor.tuner.sources import Names, PrometheusSource, Source
from colocate.executor.unit import Unit
from colocate.instance import Instance
from colocate.plan import Plan
from colocate.solve import solve

__all__ = ["Figures", "planned_for", "run"]

NAMES = Names(requests="requests_total", buckets="latency_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of a run."""

    scenario: str
    guarded: bool
    requests: int
    over: int
    """Requests that took longer than their SLO, or were never answered."""
    trained: float
    """Training samples over those that the plan alone would have trained undisturbed."""
    longest_idle_s: float
    """Longest time in which nothing trained."""
    calm_most_s: float
    """What that must not exceed."""
    state_changes: int
    """Of the guard."""
    most_state_changes: int
    """What that must not exceed."""
    setting_changes: int
    """Of the tuner."""
    records: tuple[dict[str, Any], ...] = field(repr=False, default=())
    course: tuple[tuple[float, float, float, float], ...] = field(repr=False, default=())
    """Each second: time, arrivals, part of them over the SLO, training rate."""

    @property
    def over_pct(self) -> float:
        """Share of requests over their SLO, in percent."""
        return 100.0 * self.over / max(1, self.requests)


def planned_for(instance: Instance, headroom: float) -> Plan:
    """Return the best plan for an instance whose services are planned with some headroom.

    Raises
    ------
    InputError
        When there is none.
    """
    wider = instance.replace(
        services=tuple(
            s.model_copy(update={"rate_rps": s.rate_rps * (1 + headroom)})
            for s in instance.services
        )
    )
    found = solve(wider, isolation="none")
    if found.plan is None:
        raise InputError(
            f"no plan for the closed loop: {found.termination.detail}",
            advice="choose a lower rate or a longer SLO.",
        )
    return found.plan


def run(
    instance: Instance,
    scenario: Scenario,
    *,
    guarded: bool,
    seed: int = 0,
    guard: GuardSettings | None = None,
    tuner: TunerSettings | None = None,
    company: float = 1.03,
    start_s: float = 5.0,
) -> Figures:
    """Run a scenario on the first GPU of an instance.

    Parameters
    ----------
    instance
        One pool, services and tasks without gangs.
    scenario
        What happens.
    guarded
        Whether guard and tuner are at work; else the plan stays as it is.
    seed
        Of the arrivals.
    guard, tuner
        Their settings.
    company
        By how much slowdowns in company are larger than modelled.
    start_s
        How long processes take to get ready.
    """
    tuner = tuner or TunerSettings()
    guard = guard or GuardSettings()
    plan = planned_for(instance, tuner.headroom)
    pool = instance.gpu_pools[0]
    model = OneGpu(instance, pool.id)
    usual = {s.id: s.rate_rps for s in instance.services}
    queues = {
        name: ServiceQueue(arrivals_of(scenario, rate, seed + i))
        for i, (name, rate) in enumerate(usual.items())
    }
    truth = Truth(
        slower=lambda name, at: scenario.slower(at) if name in usual else 1.0,
        company=company,
        start_s=start_s,
    )
    node = SimulatedNode(UUID, model, queues, truth)
    node.crashes = scenario.crash_times()
    ports = Ports(
        daemons=SimulatedDaemons(node),
        processes=SimulatedProcesses(node),
        gpus=SimulatedGpus(node),
        clock=lambda: node.now,
        sleep=lambda s: node.advance(node.now + s),
    )
    _put(node, ports, plan, model)
    lines = MemoryLines()
    agents: list[Callable[[float], object]] = []
    keeper: Guard | None = None
    follower: Tuner | None = None
    if guarded:
        pages = {
            name: {who: MetricsPage(queue, model.service(name).slo_ms) for who in ("g", "t")}
            for name, queue in queues.items()
        }
        holds = Holds()
        keeper = Guard(
            UUID,
            ports,
            settings=guard,
            services=_readings(node, model, {n: p["g"] for n, p in pages.items()}),
            holds=holds,
            recorder=lines,
            respec=lambda unit, share: _keyed(replace(unit, share_pct=share)),
            exclusive=node.exclusive,
        )
        follower = Tuner(
            UUID,
            ports,
            model,
            {n: _source(node, p["t"]) for n, p in pages.items()},
            change=SingleChanges(ports, node.exclusive),
            respec=_respec,
            settings=tuner,
            planned_rps=usual,
            holds=holds,
            recorder=lines,
            clock=lambda: node.now,
        )
        agents = [_once_at_a_time(keeper.tick), _once_at_a_time(follower.tick)]
    course = _live(node, scenario.seconds, agents, model)
    return _figures(node, scenario, guard, lines, keeper, follower, course, model, plan)


def _put(node: SimulatedNode, ports: Ports, plan: Plan, model: OneGpu) -> None:
    """Start what a plan puts on its first GPU; it is ready when time begins."""
    placement = next(plan.iter_placements())
    start, node.truth = node.truth, replace(node.truth, start_s=0.0)
    for i, service in placement.services:
        tenant = Tenant(
            entry=service.service, role="service", batch=service.batch, share_pct=service.share_pct
        )
        start_unit(ports, _unit(tenant, i, model))
    for i, task in placement.tasks:
        tenant = Tenant(entry=task.task, role="task", batch=task.batch, share_pct=task.share_pct)
        start_unit(ports, _unit(tenant, i, model))
    node.truth = start
    node.now = 0.0


def _unit(tenant: Tenant, ordinal: int, model: OneGpu) -> Unit:
    return _keyed(
        Unit(
            key="",
            role="service" if tenant.role == "service" else "task",
            workload=tenant.entry,
            ordinal=ordinal,
            gpu=UUID,
            share_pct=tenant.share_pct,
            batch=tenant.batch,
            memory_gib=model.memory_gib(tenant) or 0.0,
            memory_limit_mib=None,
            launch=tenant.entry,
        )
    )


def _keyed(unit: Unit) -> Unit:
    """Return a unit with its key: here only the share needs a new process."""
    return replace(unit, key=f"{unit.workload}.{unit.ordinal}.{unit.share_pct:08x}")


def _respec(unit: Unit, tenant: Tenant, memory_gib: float | None) -> Unit:
    memory = unit.memory_gib if memory_gib is None else memory_gib
    return _keyed(replace(unit, batch=tenant.batch, share_pct=tenant.share_pct, memory_gib=memory))


def _source(node: SimulatedNode, page: MetricsPage) -> Source:
    return PrometheusSource(lambda: page.text(node.now), NAMES, window_s=3.0)


def _readings(
    node: SimulatedNode, model: OneGpu, pages: dict[str, MetricsPage]
) -> Callable[[], Sequence[ServiceReading]]:
    sources = {name: _source(node, page) for name, page in pages.items()}

    def read() -> list[ServiceReading]:
        found = []
        for name, source in sources.items():
            signal = source.read(node.now)
            slo = model.service(name).slo_ms
            found.append(
                ServiceReading(
                    service=name, slo_ms=slo, p99_ms=signal.p99_ms, rate_rps=signal.rate_rps
                )
            )
        return found

    return read


def _once_at_a_time(tick: Callable[[float], object]) -> Callable[[float], object]:
    """Keep somebody who waits from being called again meanwhile."""
    busy = False

    def call(now: float) -> None:
        nonlocal busy
        if busy:
            return
        busy = True
        try:
            tick(now)
        finally:
            busy = False

    return call


def _live(
    node: SimulatedNode,
    seconds: float,
    agents: Sequence[Callable[[float], object]],
    model: OneGpu,
) -> list[float]:
    """Let time pass with everybody at work; return how much had been trained each second."""
    del model
    course: list[float] = []

    def everybody(now: float) -> None:
        course.append(sum(node.trained.values()))
        for agent in agents:
            agent(now)

    node.on_second = everybody
    while node.now < seconds:
        node.advance(min(seconds, np.floor(node.now) + 1.0))
        if node.now == np.floor(node.now):
            everybody(node.now)
    return course


def _figures(
    node: SimulatedNode,
    scenario: Scenario,
    guard: GuardSettings,
    lines: MemoryLines,
    keeper: Guard | None,
    follower: Tuner | None,
    course: list[float],
    model: OneGpu,
    plan: Plan,
) -> Figures:
    requests = over = 0
    seconds = int(scenario.seconds)
    arrived, late = np.zeros(seconds), np.zeros(seconds)
    for name, queue in node.queues.items():
        counted = queue.arrivals_s < scenario.seconds
        slow = queue.latency_s > model.service(name).slo_ms / 1000.0
        # Those that are still at work when time ends are judged by how long they have waited.
        open_end = np.isnan(queue.end_s) | (queue.end_s > scenario.seconds)
        waited = scenario.seconds - queue.arrivals_s
        slow = np.where(open_end, waited > model.service(name).slo_ms / 1000.0, slow) & counted
        requests += int(counted.sum())
        over += int(slow.sum())
        second = np.minimum(queue.arrivals_s.astype(int), seconds - 1)
        arrived += np.bincount(second[counted], minlength=seconds)
        late += np.bincount(second[slow], minlength=seconds)
    planned = sum(
        t.predicted.rate for _, t in next(plan.iter_placements()).tasks if t.predicted is not None
    )
    total = sum(node.trained.values())
    rates = np.diff(np.array([0.0, *course, *([total] * seconds)])[: seconds + 1])
    changes = [r for r in lines.records if r["event"] == "state"]
    del keeper
    return Figures(
        scenario=scenario.name,
        guarded=follower is not None,
        requests=requests,
        over=over,
        trained=total / (planned * scenario.seconds) if planned else 0.0,
        longest_idle_s=node.longest_idle_s(),
        calm_most_s=guard.patience.calm_most_s,
        state_changes=len(changes),
        most_state_changes=most_changes(guard.patience, scenario.seconds),
        setting_changes=0 if follower is None else follower.changes,
        records=tuple(lines.records),
        course=tuple(
            (float(t), float(arrived[t]), float(late[t] / max(1.0, arrived[t])), float(rates[t]))
            for t in range(seconds)
        ),
    )
