"""The formulation of one GPU in plain Python: curves, slowdown, SLO, memory, percentages.

Written from `docs/formulation.md` for the oracle and the strategies. It shares no code with
`models`, `configure`, `problem`, the solvers or `verify`, so that a mistake there cannot hide here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from colocate.errors import UnsupportedError
from colocate.instance import GpuPool, Instance, Service, Task
from colocate.profile import ErrorBound, Profile, SlowdownTable
from colocate.testing._plain_curves import rate_alone
from colocate.testing._plain_queue import queue_latency_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "Choice",
    "Knob",
    "Setting",
    "Workload",
    "at_least",
    "at_most",
    "choices_of",
    "is_coupled",
    "knobs_of",
    "may_share",
    "memory_of",
    "pair_of",
    "progress",
    "rate_alone",
    "reference_rate",
    "settings_of",
    "slowdown_of",
    "stands",
    "workloads_of",
]

_SLACK = 1e-9


def at_most(value: float, limit: float) -> bool:
    """Return whether a limit holds, with the one tolerance of the formulation."""
    return value <= limit + _SLACK * max(1.0, abs(limit))


def at_least(value: float, limit: float) -> bool:
    """Return whether a floor holds, with the same tolerance."""
    return value >= limit - _SLACK * max(1.0, abs(limit))


@dataclass(frozen=True, slots=True)
class Knob:
    """Percentages `first` ... `last` that give and take the same multiprocessors."""

    first: int
    last: int
    sure: int
    """Multiprocessors that the percentage is sure to give, lo(q)."""
    taken: int
    """Multiprocessors that it takes at most, hi(q)."""


def knobs_of(pool: GpuPool) -> list[Knob]:
    """Return the percentages that may be used on a pool's GPUs, gathered by what they give."""
    if pool.measured_sms is not None:
        return [Knob(m.share_pct, m.share_pct, m.sms, m.sms) for m in pool.measured_sms]
    return _unmeasured(pool.sm_count)


@lru_cache(maxsize=128)
def _unmeasured(sm_count: int) -> list[Knob]:
    found: list[Knob] = []
    for q in range(1, 101):
        sure = q * sm_count // 100
        taken = (q * sm_count + 99) // 100
        if sure < 1:
            continue
        if found and (found[-1].sure, found[-1].taken) == (sure, taken):
            found[-1] = Knob(found[-1].first, q, sure, taken)
        else:
            found.append(Knob(q, q, sure, taken))
    return found


@dataclass(frozen=True, slots=True)
class Workload:
    """What one service or task entry puts on a GPU: one replica, or one worker."""

    entry: Service | Task
    kind: Literal["service", "task"]

    @property
    def id(self) -> str:
        """Id of the entry."""
        return self.entry.id


def workloads_of(instance: Instance) -> list[Workload]:
    """Return all entries, services first."""
    services = [Workload(s, "service") for s in instance.iter_services()]
    return services + [Workload(t, "task") for t in instance.iter_tasks()]


def reference_rate(instance: Instance, task: Task) -> float:
    """Return the rate of a task alone on a whole GPU of its fastest profiled type."""
    known = [
        rate_alone(p, task.batch, 100.0) for p in instance.profiles if p.workload == task.profile
    ]
    return max((rate for rate in known if rate is not None), default=0.0)


def progress(task: Task, batch: int, rate: float) -> float:
    """Return a rate at a batch in samples of the task's own batch, by their worth."""
    if task.noise_scale is None:
        return rate
    own, here = task.gang_size * task.batch, task.gang_size * batch
    return rate * (task.noise_scale + own) / (task.noise_scale + here)


def _error(bounds: Sequence[ErrorBound], confidence: float) -> float:
    if confidence == 0.5:
        return 0.0
    known = [b for b in bounds if b.confidence >= confidence - _SLACK]
    return min(known, key=lambda b: b.confidence).relative if known else math.inf


def pair_of(
    instance: Instance, gpu_type: str, victim: str, neighbour: str
) -> tuple[float | SlowdownTable, float] | None:
    """Return slowdown (a number or a table) and relative error of a pair, None when unknown."""
    model = instance.interference
    for pair in model.pairs:
        if (pair.gpu_type, pair.victim, pair.neighbour) == (gpu_type, victim, neighbour):
            factor = pair.slowdown if pair.table is None else pair.table
            assert factor is not None
            return factor, _error(pair.error, instance.confidence)
    if model.default_slowdown is None:
        return None
    return model.default_slowdown, _error(model.default_error, instance.confidence)


def is_coupled(instance: Instance, gpu_type: str, company: Sequence[Workload]) -> bool:
    """Return whether some slowdown among these workloads depends on their knobs."""
    known = [
        pair_of(instance, gpu_type, a.entry.profile, b.entry.profile)
        for i, a in enumerate(company)
        for j, b in enumerate(company)
        if i != j
    ]
    return any(pair is not None and not isinstance(pair[0], float | int) for pair in known)


def slowdown_of(
    instance: Instance, gpu_type: str, victim: str, neighbours: Sequence[str]
) -> tuple[float, float] | None:
    """Return (mean, bound) of the slowdown of one profile beside others, None when unknown.

    For slowdowns that do not depend on knobs; see `_company` for the others.
    """
    mean = high = 1.0
    for neighbour in neighbours:
        pair = pair_of(instance, gpu_type, victim, neighbour)
        if pair is None:
            return None
        factor, error = pair
        assert isinstance(factor, float | int), "it depends on knobs"
        mean *= factor
        high *= factor * (1 + error)
    return mean, high


def memory_of(entry: Service | Task, profile: Profile, batch: int) -> float | None:
    """Return GiB that one replica or worker takes, None when unknown."""
    own = entry.memory_gib if isinstance(entry, Task) else None
    if own is None:
        fitting = [m for m in profile.memory if m.batch >= batch]
        if not fitting:
            return None
        own = min(fitting, key=lambda m: m.batch).memory_gib
    return entry.processes * own


def stands(instance: Instance, service: Service, batch: int, rate_lo: float) -> bool:
    """Return whether a replica that serves at `rate_lo` meets its SLO."""
    if rate_lo <= 0:
        return False
    tau = batch / rate_lo
    arrivals = service.rate_rps
    params = instance.slo_model.params
    if instance.slo_model.name == "fill":
        rho_max = params.get("rho_max", 0.95)
        if not isinstance(rho_max, float | int) or set(params) - {"rho_max"}:
            raise _unknown_slo_model(instance)
        latency = 1000 * (batch / arrivals + tau)
        return at_most(latency, service.slo_ms) and at_most(arrivals * tau / batch, rho_max)
    if instance.slo_model.name == "mudi" and not params:
        return at_most(1000 * arrivals * tau / batch, service.slo_ms)
    if instance.slo_model.name == "queue":
        return _queue_stands(instance, service, batch, tau)
    raise _unknown_slo_model(instance)


def _queue_stands(instance: Instance, service: Service, batch: int, tau: float) -> bool:
    numbers = {"burstiness": 1.0, "timeout_ms": 0.0, "rho_max": 0.95}
    for name, value in instance.slo_model.params.items():
        if name not in numbers or not isinstance(value, float | int):
            raise _unknown_slo_model(instance)
        numbers[name] = value
    rho_max = numbers.pop("rho_max")
    latency = queue_latency_ms(batch, tau, service.rate_rps, service.slo_percentile, **numbers)
    return at_most(latency, service.slo_ms) and at_most(service.rate_rps * tau / batch, rho_max)


def _unknown_slo_model(instance: Instance) -> UnsupportedError:
    spec = instance.slo_model
    return UnsupportedError(
        f"the oracle knows no slo_model {spec.name!r} with parameters {spec.params}",
        path="$.slo_model",
        advice="compare this instance with verify alone.",
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """One workload alone at one batch and share; what it does in company is left open."""

    batch: int
    knob: Knob
    memory_gib: float
    rate: float
    rate_lo: float
    """The same at the instance's confidence."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One workload on one GPU at one batch and share, in given company."""

    batch: int
    knob: Knob
    memory_gib: float
    rate: float
    rate_lo: float
    """The same at the instance's confidence."""


def settings_of(
    instance: Instance, pool: GpuPool, workload: Workload, neighbours: Sequence[Workload]
) -> Iterator[Setting]:
    """Yield every batch and share at which a workload may run beside these neighbours.

    For company in which no slowdown depends on knobs; see `_company`. What the workloads of a GPU
    have to share (multiprocessors, memory) is not checked here.
    """
    entry = workload.entry
    profile = instance.profile(entry.profile, pool.gpu_type)
    if profile is None:
        return
    slowdown = slowdown_of(
        instance, pool.gpu_type, entry.profile, [n.entry.profile for n in neighbours]
    )
    if slowdown is None:
        return
    for choice in choices_of(instance, pool, workload):
        rate_lo = choice.rate_lo / slowdown[1]
        if isinstance(entry, Task) or stands(instance, entry, choice.batch, rate_lo):
            rate = choice.rate / slowdown[0]
            yield Setting(choice.batch, choice.knob, choice.memory_gib, rate, rate_lo)


def choices_of(instance: Instance, pool: GpuPool, workload: Workload) -> Iterator[Choice]:
    """Yield every batch and share at which a workload runs at all."""
    entry = workload.entry
    profile = instance.profile(entry.profile, pool.gpu_type)
    if profile is None:
        return
    certain = max(0.0, 1 - _error(profile.rate_error, instance.confidence))
    for batch in _batches(entry, profile):
        memory = memory_of(entry, profile, batch)
        if memory is None:
            continue
        for knob in knobs_of(pool):
            alone = rate_alone(profile, batch, 100 * knob.sure / pool.sm_count)
            if not alone:
                continue
            allowed: Knob | None = knob
            if isinstance(entry, Service):
                allowed = _from(knob, entry.min_share_pct)
            if allowed is not None:
                yield Choice(batch, allowed, memory, alone, alone * certain)


def _batches(entry: Service | Task, profile: Profile) -> list[int]:
    known = [b.batch for b in profile.curve.batches]
    if isinstance(entry, Task):
        return [b for b in known if b in (entry.batches or (entry.batch,))]
    return [b for b in known if entry.batches is None or b in entry.batches]


def _from(knob: Knob, minimum: int) -> Knob | None:
    first = max(knob.first, minimum)
    return Knob(first, knob.last, knob.sure, knob.taken) if first <= knob.last else None


def may_share(instance: Instance, pool: GpuPool, company: Sequence[Workload]) -> bool:
    """Return whether the rules allow these workloads on one GPU, whatever their knobs."""
    rules = instance.rules
    services = [w for w in company if w.kind == "service"]
    if len(services) > rules.services_per_gpu or len(company) - len(services) > rules.tasks_per_gpu:
        return False
    if rules.workloads_per_gpu is not None and len(company) > rules.workloads_per_gpu:
        return False
    owners = {w.entry.tenant for w in company}
    if rules.tenants_per_gpu is not None and len(owners) > rules.tenants_per_gpu:
        return False
    if len({w.entry.user_id for w in company}) > 1:
        return False
    if sum(w.entry.processes for w in company) > pool.max_clients:
        return False
    return not any(
        a.id in rule.left and b.id in rule.right
        for rule in rules.anti_affinity
        for i, a in enumerate(company)
        for j, b in enumerate(company)
        if i != j
    )
