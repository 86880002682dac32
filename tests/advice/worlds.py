"""Small worlds with a truth: services and tasks on one kind of GPU, slowdowns believed wrongly."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from colocate.advice.outcomes import NO_ERROR, Beliefs, Outcome
from colocate.instance import Instance
from colocate.profile import ErrorBound, Interference, PairSlowdown
from colocate.schema import Evidence

CONFIDENCE = 0.9


def hyperbola(fixed: float, work: float) -> list[dict[str, float]]:
    shares = range(10, 101, 10)
    return [{"share_pct": float(p), "rate": 1 / (fixed + work * 100 / p)} for p in shares]


def workload(name: str, role: str, batch: int, fixed: float, work: float) -> dict[str, Any]:
    points = hyperbola(fixed, work)
    return {
        "workload": name,
        "gpu_type": "V",
        "role": role,
        "curve": {"family": "tabulated", "batches": [{"batch": batch, "points": points}]},
        "memory": [{"batch": batch, "memory_gib": 2.0}],
        "rate_error": [{"confidence": CONFIDENCE, "relative": 0.0}],
    }


def world(seed: int, services: int, tasks: int) -> tuple[Instance, dict[frozenset[str], Any]]:
    """Return an instance with believed slowdowns, and the true entries of each pair."""
    rng = np.random.default_rng(seed)
    profiles, rows, jobs = [], [], []
    for i in range(services):
        fixed, work = 0.002 * rng.uniform(0.2, 1), 0.001 * rng.uniform(0.5, 2)
        profiles.append(workload(f"s{i}", "inference", 1, fixed, work))
        full = 1 / (fixed + work)
        slo = 1000 * (2 / full + 1.6 / full)
        rows.append({"id": f"S{i}", "profile": f"s{i}", "rate_rps": 0.5 * full, "slo_ms": slo})
    for j in range(tasks):
        profiles.append(
            workload(f"t{j}", "training", 8, 0.01 * rng.uniform(0.2, 1), 0.01 * rng.uniform(0.5, 2))
        )
        jobs.append({"id": f"T{j}", "profile": f"t{j}", "batch": 8})
    believed, truth = [], {}
    names = [(f"s{i}", f"t{j}") for i in range(services) for j in range(tasks)]
    for one, other in names:
        both = []
        for victim, neighbour in ((one, other), (other, one)):
            true = math.exp(abs(rng.normal(0, 0.2)))
            sigma = float(rng.choice([0.03, 0.08, 0.2, 0.4]))
            error = math.expm1(NormalDist().inv_cdf(CONFIDENCE) * sigma)
            entry = PairSlowdown(
                gpu_type="V",
                victim=victim,
                neighbour=neighbour,
                slowdown=max(0.6, true * math.exp(sigma * rng.normal())),
                error=(ErrorBound(confidence=CONFIDENCE, relative=error),),
                evidence=Evidence.REGRESSED,
            )
            believed.append(entry)
            changes = {"slowdown": true, "error": NO_ERROR, "evidence": Evidence.MEASURED}
            both.append(entry.model_copy(update=changes))
        truth[frozenset((one, other))] = both
    pool = {"id": "p", "gpu_type": "V", "count": services, "memory_gib": 32.0, "sm_count": 20}
    instance = Instance.model_validate(
        {
            "name": "world",
            "slo_model": {"name": "fill"},
            "confidence": CONFIDENCE,
            "objective": {"name": "throughput"},
            "gpu_pools": [pool],
            "services": rows,
            "tasks": jobs,
            "profiles": profiles,
        }
    )
    return instance.replace(interference=Interference(pairs=tuple(believed))), truth


def measured(instance: Instance, truth: dict[frozenset[str], Any], known: Any) -> Instance:
    """Return the instance after some pairs were measured."""
    pairs = {(p.victim, p.neighbour): p for p in instance.interference.pairs}
    pairs.update({(p.victim, p.neighbour): p for key in known for p in truth[key]})
    return instance.replace(interference=Interference(pairs=tuple(pairs.values())))


def worth(instance: Instance, truth: dict[frozenset[str], Any], plan: Any) -> float:
    """Return what a plan is worth in truth; where an SLO is missed, the task has to make way."""
    beliefs = Beliefs(instance, 0.3)
    shown = {}
    for p in (p for both in truth.values() for p in both):
        key = (p.gpu_type, p.victim, p.neighbour)
        shown[key] = math.log(p.slowdown / beliefs.entry(key).slowdown)
    return Outcome(pairs=shown).worth(instance, beliefs, plan)
