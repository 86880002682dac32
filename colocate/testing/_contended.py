"""Instances in which rules decide: each limit is set just below what the best plan used of it.

A drawn instance is solved, one of its limits is tightened so that this plan breaks it, and so on
with the next rule. A step that would leave no plan, or takes long to solve, is taken back.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import TYPE_CHECKING

from colocate.errors import TooLargeError
from colocate.instance import Instance
from colocate.testing._company import Company
from colocate.testing._free import draw_free
from colocate.testing._parts import Spec, pick
from colocate.testing._plain_model import Setting, choices_of, workloads_of
from colocate.testing.oracle import Assignment, OracleAnswer, solve_by_enumeration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

__all__ = ["draw_contended"]

_STEPS = 20_000
_TRIES = 5


def draw_contended(rng: Random) -> Spec:
    """Draw an instance and tighten its limits one after another."""
    for _ in range(_TRIES):
        spec = draw_free(rng, tight=frozenset(pick(rng, (), ("gang",))))
        instance = Instance.model_validate(spec)
        answer = _best(instance)
        if answer is not None and _with_service(answer.assignments):
            break
    for tighten in _TIGHTEN:
        if answer is None:
            break
        tried = copy.deepcopy(spec)
        tighten(rng, tried, instance, answer.assignments)
        changed = Instance.model_validate(tried)
        changed_answer = _best(changed)
        if changed_answer is not None:
            spec, instance, answer = tried, changed, changed_answer
    return spec


def _best(instance: Instance) -> OracleAnswer | None:
    try:
        answer = solve_by_enumeration(instance, max_steps=_STEPS)
    except TooLargeError:
        return None
    return answer if answer.status == "optimal" else None


def _by_gpu(assignments: Sequence[Assignment]) -> list[list[Assignment]]:
    """Return what is together on each GPU that holds more than one workload."""
    held: dict[tuple[str, int], list[Assignment]] = defaultdict(list)
    for a in assignments:
        held[a.pool, a.gpu].append(a)
    return [together for together in held.values() if len(together) > 1]


def _with_service(assignments: Sequence[Assignment]) -> list[list[Assignment]]:
    """Return the same where one of the workloads is a service."""
    return [held for held in _by_gpu(assignments) if any(a.kind == "service" for a in held)]


def _settings(instance: Instance, together: Sequence[Assignment]) -> Sequence[Setting]:
    known = {w.id: w for w in workloads_of(instance)}
    pool = instance.pool(together[0].pool)
    members = [known[a.id] for a in together]
    choices = [
        next(
            c
            for c in choices_of(instance, pool, member)
            if c.batch == a.batch and c.knob.first <= a.share_pct <= c.knob.last
        )
        for a, member in zip(together, members, strict=True)
    ]
    found = Company(instance, pool, members).settings(choices)
    assert found is not None
    return found


def _less_memory(
    rng: Random, spec: Spec, instance: Instance, assignments: Sequence[Assignment]
) -> None:
    for pool in spec["gpu_pools"]:
        used = [
            sum(s.memory_gib for s in _settings(instance, together))
            for together in _by_gpu(assignments)
            if together[0].pool == pool["id"]
        ]
        if used:
            pool["memory_gib"] = pick(rng, max(used), min(used)) - 0.25
            pool["memory_gib"] += pool.get("reserve_gib", 0.0)


def _a_tighter_slo(
    rng: Random, spec: Spec, instance: Instance, assignments: Sequence[Assignment]
) -> None:
    for together in _with_service(assignments):
        for a, setting in zip(together, _settings(instance, together), strict=True):
            for service in spec["services"]:
                if service["id"] == a.id:
                    latency = _latency_ms(spec, service, setting)
                    service["slo_ms"] = min(service["slo_ms"], pick(rng, 0.99, 0.9) * latency)


def _latency_ms(spec: Spec, service: Spec, setting: Setting) -> float:
    """Return what is held against the SLO."""
    tau_s = setting.batch / setting.rate_lo
    if spec["slo_model"]["name"] == "mudi":
        return float(1000 * service["rate_rps"] * tau_s / setting.batch)
    return float(1000 * (setting.batch / service["rate_rps"] + tau_s))


def _a_lower_quota(
    rng: Random, spec: Spec, instance: Instance, assignments: Sequence[Assignment]
) -> None:
    workers = [a for a in assignments if a.kind == "task"]
    limited = {q["tenant"] for q in spec["rules"].get("quotas", ())}
    tenants = sorted({instance.task(a.id).tenant for a in workers} - limited)
    if not tenants:
        return
    tenant = pick(rng, *tenants)
    mine = [a for a in workers if instance.task(a.id).tenant == tenant]
    placed = len({(a.id, a.ordinal // instance.task(a.id).gang_size) for a in mine})
    if placed > 1:
        quota: Spec = {"tenant": tenant, "unit": "tasks", "maximum": placed - 1}
    elif instance.rules.tasks_per_gpu == 1:
        used = sum(a.share_pct for a in mine) / 100
        quota = {"tenant": tenant, "unit": "gpu_share", "maximum": 0.8 * used}
    else:
        return
    spec["rules"].setdefault("quotas", []).append(quota)


def _a_gang(rng: Random, spec: Spec, instance: Instance, assignments: Sequence[Assignment]) -> None:
    """Make a gang of tasks that were placed one by one."""
    placed = {a.id for a in assignments}
    loose = [t for t in spec["tasks"] if t["gang_size"] == 1 and t["id"] in placed]
    if loose and instance.gpu_count > 1:
        task = pick(rng, *loose)
        task["gang_size"] = 2
        task["count"] = max(1, task["count"] // 2)


_TIGHTEN = (_a_tighter_slo, _a_lower_quota, _a_gang, _less_memory, _a_tighter_slo)
