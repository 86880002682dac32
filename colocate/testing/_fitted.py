"""Instances drawn around a plan, so that they can be satisfied: the plan first, then what fits it.

A plan says which entry has a replica or worker on which GPU, at which batch and share. The rates
follow from the curves; arrival rates, SLOs, memory, client limits, rules and quotas are then drawn
so that this plan keeps to all of them, by some margin or exactly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from colocate.instance import GpuPool, Instance
from colocate.testing._company import Company
from colocate.testing._free import draw_entries, draw_profiles
from colocate.testing._parts import (
    SM_COUNTS,
    Spec,
    chance,
    draw_confidence,
    draw_interference,
    draw_measured_sms,
    draw_objective,
    draw_slo_model,
    draw_tight,
    pick,
)
from colocate.testing._plain_model import Knob, Setting, choices_of, knobs_of, workloads_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

__all__ = ["draw_fitted"]

_MOST_ON_ONE_GPU = 3


@dataclass
class _Gpu:
    """One GPU of the plan that the instance is drawn around."""

    pool: str
    gpu_type: str
    ordinal: int
    held: list[Spec] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    knobs: list[Knob] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)

    def can_take(self, entry: Spec, profiles: Sequence[Spec]) -> bool:
        """Return whether there is a profile and room for one more."""
        known = {p["workload"] for p in profiles if p["gpu_type"] == self.gpu_type}
        return entry["profile"] in known and len(self.held) < _MOST_ON_ONE_GPU


def draw_fitted(rng: Random, *, exact: bool) -> Spec:
    """Draw an instance around a plan; `exact` leaves no margin anywhere."""
    types = ["A", "B"][: pick(rng, 1, 1, 2)]
    confidence = draw_confidence(rng)
    gpus = [
        _Gpu(f"p{i}", types[i % len(types)], ordinal)
        for i, count in enumerate(pick(rng, (1,), (2,), (3,), (1, 1), (1, 2), (2, 2)))
        for ordinal in range(count)
    ]
    tight = draw_tight(rng)
    services, tasks = draw_entries(rng, len(gpus), tight)
    profiles = draw_profiles(rng, types, [*services, *tasks], confidence, everywhere=True)
    services = [s for s in services if _place_replicas(rng, s, gpus, profiles)]
    placed_tasks = {t["id"]: _place_tasks(rng, t, gpus, profiles) for t in tasks}
    for service in services:
        service.pop("min_share_pct", None)
    pools = _draw_pools_around(rng, gpus, exact=exact)
    workloads = sorted({e["profile"] for e in [*services, *tasks]})
    spec: Spec = {
        "name": "fitted",
        "slo_model": draw_slo_model(rng),
        "confidence": confidence,
        "objective": draw_objective(rng),
        "gpu_pools": pools,
        "services": services,
        "tasks": tasks,
        "profiles": [p for p in profiles if p["workload"] in workloads],
        "interference": draw_interference(rng, types, workloads, confidence, everywhere=True),
    }
    _evaluate(rng, spec, gpus)
    for service in services:
        _fit_service(rng, spec, service, gpus, exact=exact or "slo" in tight)
    for pool in pools:
        _fit_pool(rng, pool, gpus, exact=exact or "memory" in tight)
    _draw_users(rng, gpus)
    spec["rules"] = _draw_rules_around(rng, spec, gpus, placed_tasks, exact=exact)
    return spec


# -- the plan ----------------------------------------------------------------------------------


def _place_replicas(
    rng: Random, service: Spec, gpus: Sequence[_Gpu], profiles: Sequence[Spec]
) -> bool:
    """Place every replica, or as many as there is room for; return whether there is one."""
    placed = 0
    for _ in range(service["replicas"]):
        free = [g for g in gpus if g.can_take(service, profiles)]
        if free:
            # Mostly one service on a GPU, as in real clusters; sometimes two.
            empty = [g for g in free if not g.held]
            pick(rng, *(empty if empty and chance(rng, 70) else free)).held.append(service)
            placed += 1
    service["replicas"] = placed
    return placed > 0


def _place_tasks(rng: Random, task: Spec, gpus: Sequence[_Gpu], profiles: Sequence[Spec]) -> int:
    """Place some of the tasks; return how many."""
    placed = 0
    for _ in range(task["count"]):
        free = [g for g in gpus if g.can_take(task, profiles)]
        if len(free) >= task["gang_size"] and chance(rng, 65):
            start = pick(rng, *range(len(free)))
            for i in range(task["gang_size"]):
                free[(start + i) % len(free)].held.append(task)
            placed += 1
    return placed


def _draw_pools_around(rng: Random, gpus: Sequence[_Gpu], *, exact: bool) -> list[Spec]:
    """Draw pools with enough multiprocessors, and the shares of the plan."""
    pools = []
    measured = chance(rng, 30)
    for pool_id in sorted({g.pool for g in gpus}):
        mine = [g for g in gpus if g.pool == pool_id]
        most = max(1, *(len(g.held) for g in mine))
        spec: Spec = {"id": pool_id, "gpu_type": mine[0].gpu_type, "count": len(mine)}
        # A percentage that gives one multiprocessor for sure may take two.
        spec["sm_count"] = pick(rng, *[s for s in SM_COUNTS if s >= 2 * most] or [8])
        if measured:
            spec["measured_sms"] = draw_measured_sms(rng, spec["sm_count"])
            if min(m["sms"] for m in spec["measured_sms"]) * most > spec["sm_count"]:
                spec["measured_sms"].append({"share_pct": 20, "sms": 1})
        knobs = knobs_of(GpuPool.model_validate({**spec, "memory_gib": 1.0}))
        for gpu in mine:
            _draw_shares(rng, gpu, knobs, spec["sm_count"], exact=exact)
        pools.append(spec)
    return pools


def _draw_shares(
    rng: Random, gpu: _Gpu, knobs: Sequence[Knob], sm_count: int, *, exact: bool
) -> None:
    smallest = min(k.taken for k in knobs)
    left = sm_count
    for i in range(len(gpu.held)):
        others = len(gpu.held) - i - 1
        fitting = [k for k in knobs if k.taken <= left - smallest * others]
        full = [k for k in fitting if k.taken == left]
        gpu.knobs.append(pick(rng, *(full if exact and not others and full else fitting)))
        left -= gpu.knobs[-1].taken


def _evaluate(rng: Random, spec: Spec, gpus: Sequence[_Gpu]) -> None:
    """Draw the batches and work out the rates of the plan, under limits that forbid nothing."""
    loose: dict[str, Any] = {
        **spec,
        "slo_model": {"name": "fill"},
        "gpu_pools": [{**p, "memory_gib": 1e6} for p in spec["gpu_pools"]],
        "services": [{**s, "rate_rps": 1e-6, "slo_ms": 1e15} for s in spec["services"]],
    }
    instance = Instance.model_validate(loose)
    workloads = {w.id: w for w in workloads_of(instance)}
    for gpu in gpus:
        pool = instance.pool(gpu.pool)
        members = [workloads[e["id"]] for e in gpu.held]
        choices = [
            pick(rng, *[c for c in choices_of(instance, pool, member) if c.knob == knob])
            for member, knob in zip(members, gpu.knobs, strict=True)
        ]
        settings = Company(instance, pool, members).settings(choices)
        assert settings is not None
        gpu.settings += settings
        gpu.batches += [s.batch for s in settings]


# -- what fits it ------------------------------------------------------------------------------


def _placed(gpus: Sequence[_Gpu], entry: Spec) -> list[Setting]:
    return [s for g in gpus for e, s in zip(g.held, g.settings, strict=True) if e is entry]


def _fit_service(
    rng: Random, spec: Spec, service: Spec, gpus: Sequence[_Gpu], *, exact: bool
) -> None:
    """Draw the arrival rate, the SLO, the minimum share and the pins of a service."""
    settings = _placed(gpus, service)
    model = spec["slo_model"]
    rho_max = model.get("params", {}).get("rho_max", 0.95)
    full_load = rho_max * min(s.rate_lo for s in settings)
    arrivals = full_load * pick(rng, 0.5, 0.25, 0.75, 1.0)
    if model["name"] == "mudi":
        latencies = [1000 * arrivals / s.rate_lo for s in settings]
    else:
        latencies = [1000 * (s.batch / arrivals + s.batch / s.rate_lo) for s in settings]
    service["rate_rps"] = arrivals
    service["slo_ms"] = max(latencies) * (1.0 if exact else pick(rng, 1.5, 3.0, 10.0))
    if chance(rng, 20):
        service["min_share_pct"] = min(s.knob.first for s in settings)
    if chance(rng, 20):
        service["batches"] = sorted({s.batch for s in settings})
    homes = [(g.pool, g.ordinal) for g in gpus for e in g.held if e is service]
    if len(set(homes)) == len(homes) and chance(rng, 25):
        service["pinned"] = [{"pool": pool, "gpus": str(i)} for pool, i in homes]


def _fit_pool(rng: Random, pool: Spec, gpus: Sequence[_Gpu], *, exact: bool) -> None:
    """Draw the memory and the client limit of a pool."""
    mine = [g for g in gpus if g.pool == pool["id"]]
    used = max(sum(s.memory_gib for s in g.settings) for g in mine)
    pool["memory_gib"] = (used or 8.0) * (1.0 if exact else pick(rng, 1.5, 3.0))
    if chance(rng, 25):
        pool["reserve_gib"] = pick(rng, 0.5, 0.1)
        pool["memory_gib"] += pool["reserve_gib"]
    clients = max(sum(e.get("processes", 1) for e in g.held) for g in mine)
    if exact or chance(rng, 20):
        pool["max_clients"] = max(1, clients)


def _draw_users(rng: Random, gpus: Sequence[_Gpu]) -> None:
    """Give users to the entries, equal ones to those that share a GPU."""
    if not chance(rng, 20):
        return
    groups: list[list[Spec]] = []
    for gpu in gpus:
        together = list(gpu.held)
        apart = []
        for group in groups:
            if any(e is f for e in group for f in together):
                together += group
            else:
                apart.append(group)
        groups = [*apart, together]
    for group in groups:
        user = pick(rng, 1000, 1001, None)
        for entry in group:
            entry["user_id"] = user


def _draw_rules_around(
    rng: Random,
    spec: Spec,
    gpus: Sequence[_Gpu],
    placed_tasks: dict[str, int],
    *,
    exact: bool,
) -> Spec:
    tasks = spec["tasks"]
    margin = 0 if exact else pick(rng, 0, 1)
    is_task = {t["id"] for t in tasks}
    n_tasks = [sum(e["id"] in is_task for e in g.held) for g in gpus]
    n_all = [len(g.held) for g in gpus]
    rules: Spec = {
        "services_per_gpu": max(a - b for a, b in zip(n_all, n_tasks, strict=True)) + margin,
        "tasks_per_gpu": max(1, *n_tasks) + margin,
    }
    if chance(rng, 30):
        rules["workloads_per_gpu"] = max(1, *n_all)
    if chance(rng, 30):
        rules["tenants_per_gpu"] = max(1, *(len({e["tenant"] for e in g.held}) for g in gpus))
    entries = list({e["id"]: e for g in gpus for e in g.held}.values())
    if entries and chance(rng, 30):
        left, right = pick(rng, *entries)["id"], pick(rng, *entries)["id"]
        together = {
            (a["id"], b["id"])
            for g in gpus
            for i, a in enumerate(g.held)
            for j, b in enumerate(g.held)
            if i != j
        }
        if (left, right) not in together:
            rules["anti_affinity"] = [{"left": [left], "right": [right]}]
    # Where shares count, each percentage is a knob of its own: with several tasks on a GPU there
    # would be too many to enumerate, unless few percentages were measured.
    few = rules["tasks_per_gpu"] <= 1 or all("measured_sms" in p for p in spec["gpu_pools"])
    units = ("none", "tasks", "gpu_share") if few else ("none", "tasks")
    rules["quotas"] = _draw_quotas_around(rng, units, gpus, tasks, placed_tasks, exact=exact)
    return rules


def _draw_quotas_around(
    rng: Random,
    units: Sequence[str],
    gpus: Sequence[_Gpu],
    tasks: Sequence[Spec],
    placed_tasks: dict[str, int],
    *,
    exact: bool,
) -> list[Spec]:
    n_placed: Counter[str] = Counter()
    percent: Counter[str] = Counter()
    for task in tasks:
        n_placed[task["tenant"]] += placed_tasks[task["id"]]
        percent[task["tenant"]] += sum(s.knob.first for s in _placed(gpus, task))
    quotas = []
    for tenant in sorted(n_placed):
        unit = pick(rng, *units)
        if unit == "none":
            continue
        has = n_placed[tenant] if unit == "tasks" else percent[tenant] / 100
        side = pick(rng, "maximum", "minimum", "both")
        quota: Spec = {"tenant": tenant, "unit": unit}
        if side != "minimum":
            quota["maximum"] = has + (0 if exact else pick(rng, 0, 0.5))
        if side != "maximum":
            quota["minimum"] = has if exact else has * pick(rng, 1.0, 0.5)
        quotas.append(quota)
    return quotas
