"""Instances with plans that are right: bundled, generated, and the toy."""

from __future__ import annotations

from functools import lru_cache

from colocate import solve
from colocate.datasets import generate, get, names
from colocate.errors import ColocateError
from colocate.instance import Instance
from colocate.plan import Plan
from tests.judging.toy import toy, toy_plan
from tests.judging.words import changed

FAMILIES = (
    *("few_types", "all_distinct", "tight_slo", "gangs", "tenants"),
    *("heterogeneous", "binding_memory", "two_tasks"),
)


@lru_cache(maxsize=1)
def valid_plans() -> tuple[tuple[str, Instance, Plan], ...]:
    """Return (name, instance, plan), each by the quicker solver that supports it."""
    asked = [(name, get(name)) for name in names()]
    asked += [
        (f"{family}-{seed}", generate(family, gpus=5, services=2, tasks=3, seed=seed, sm_count=20))
        for family in FAMILIES
        for seed in range(2)
    ]
    roomy = changed(lambda s: s["gpu_pools"].append({**s["gpu_pools"][1], "id": "spare"}))
    found = [("toy", toy(), toy_plan()), ("toy-roomy", roomy, toy_plan(roomy))]
    for name, instance in asked:
        for solver in ("greedy", "brute_force"):
            try:
                plan = solve(instance, solver).plan
            except ColocateError:
                continue
            if plan is not None:
                found.append((name, instance, plan))
                break
    return tuple(found)
