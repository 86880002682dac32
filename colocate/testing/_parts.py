"""The parts that drawn instances are made of, as JSON-like dictionaries.

Everything is small, so that the oracle is quick: at most four GPUs of two types with two to eight
multiprocessors, three replicas and five workers.
"""

from __future__ import annotations

import itertools
import math
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Spec",
    "Tight",
    "chance",
    "draw_confidence",
    "draw_interference",
    "draw_objective",
    "draw_pools",
    "draw_profile",
    "draw_service",
    "draw_slo_model",
    "draw_table",
    "draw_task",
    "draw_tight",
    "pick",
]

Spec = dict[str, Any]
Choice = TypeVar("Choice")

Tight = Literal["memory", "slo", "gang", "quota"]
_TIGHT: tuple[tuple[Tight, ...], ...] = (
    ("memory", "gang"),
    ("slo", "quota"),
    ("memory", "quota"),
    ("slo", "gang"),
    ("memory",),
    ("slo",),
    ("gang",),
    ("quota",),
    ("gang", "quota"),
    ("memory", "slo"),
    ("memory", "slo", "gang", "quota"),
)
SM_COUNTS = (8, 7, 8, 5, 7, 8, 4, 6, 3, 2)
SHARES = (10, 20, 30, 40, 50, 60, 75, 90, 100)
TENANTS = ("red", "blue")


def pick(rng: Random, *choices: Choice) -> Choice:
    """Draw one of the choices; one that is listed twice is twice as likely."""
    return rng.choice(choices)


def chance(rng: Random, percent: int) -> bool:
    """Draw True in so many of a hundred cases."""
    return rng.random() * 100 < percent


def draw_confidence(rng: Random) -> float:
    """Draw a confidence; 0.5 plans with the mean."""
    return pick(rng, 0.5, 0.5, 0.9, 0.95)


def draw_objective(rng: Random) -> Spec:
    """Draw one of the built-in objectives."""
    if chance(rng, 40):
        params = {"unplaced_s": pick(rng, 10.0, 4.0, 1.5)}
        # Drawn from what is drawn anyway, so that all other draws stay as they are.
        if params["unplaced_s"] == 4.0:
            return {"name": "degradation", "params": {"unplaced": 4.0}}
        if params["unplaced_s"] == 1.5 and chance(rng, 50):
            least = pick(rng, 0.5, 0.0, 0.25, 0.8)
            return {"name": "active_gpus", "params": {"unserved_gpus": 1.5, "least_rate": least}}
        return {"name": "iteration_time", "params": params}
    return {"name": "throughput"}


def draw_slo_model(rng: Random) -> Spec:
    """Draw one of the built-in SLO models."""
    if chance(rng, 30):
        return {"name": "mudi"}
    if chance(rng, 30):
        return {"name": "fill", "params": {"rho_max": pick(rng, 1.0, 0.5)}}
    return {"name": "fill"}


def draw_tight(rng: Random) -> frozenset[Tight]:
    """Draw which rules are to bite; where all did, none would be what decides."""
    chosen: tuple[Tight, ...] = pick(rng, *_TIGHT)
    return frozenset(chosen)


def draw_pools(rng: Random, types: Sequence[str], tight: frozenset[Tight]) -> list[Spec]:
    """Draw one or two pools with at most four GPUs in all."""
    counts = pick(rng, (2,), (1,), (1, 1), (2,), (3,), (1, 2), (2, 1), (2, 2))
    sizes = (6.0, 5.0, 7.0, 8.0) if "memory" in tight else (24.0, 16.0, 12.0)
    pools = []
    for i, count in enumerate(counts):
        pool: Spec = {
            "id": f"p{i}",
            "gpu_type": types[i % len(types)] if i else pick(rng, *types),
            "count": count,
            "memory_gib": pick(rng, *sizes),
            "sm_count": pick(rng, *SM_COUNTS),
        }
        if chance(rng, 15):
            pool["reserve_gib"] = pick(rng, 1.0, 0.5)
        if chance(rng, 15):
            pool["max_clients"] = pick(rng, 2, 1, 3)
        if chance(rng, 15):
            pool["first"] = pick(rng, 1, 10)
        if chance(rng, 10):
            del pool["count"]
            pool["uuids"] = [f"GPU-0000000{i}-0000-0000-0000-00000000000{j}" for j in range(count)]
        if chance(rng, 15):
            pool["measured_sms"] = draw_measured_sms(rng, pool["sm_count"])
        if i and chance(rng, 10):
            pool["schedulable"] = False
        pools.append(pool)
    return pools


def draw_measured_sms(rng: Random, sm_count: int) -> list[Spec]:
    """Draw what capped clients saw: near the percentage, sometimes twice the same."""
    shares = [q for q in (100, 50, 25, 75, 30) if q == 100 or chance(rng, 60)]
    return [
        {"share_pct": q, "sms": min(sm_count, max(1, q * sm_count // 100 + pick(rng, 0, 0, 1)))}
        for q in shares
    ]


def draw_curve(rng: Random, batches: Sequence[int], top: int, *, everywhere: bool) -> Spec:
    """Draw a rate curve; `everywhere` makes it positive at every share of 10 % and more."""
    if chance(rng, 40):
        rows = []
        for batch in batches:
            scale = top * batch**0.5
            lines = [{"intercept": scale, "slope": 0.0}]
            if chance(rng, 70):
                lines.append({"intercept": pick(rng, 1.0, 0.1 * top), "slope": scale / 60})
            if chance(rng, 40):
                offset = 1.0 if everywhere else pick(rng, 1.0, -0.2 * top)
                lines.append({"intercept": offset, "slope": scale / pick(rng, 90, 30)})
            first = 10 if everywhere else pick(rng, 1, 10, 10, 20, 50)
            rows.append({"batch": batch, "min_share_pct": first, "lines": lines})
        return {"family": "piecewise_linear", "batches": rows}
    tables = []
    for batch in batches:
        shares = sorted(rng.sample(SHARES, rng.randint(1, 4)))
        if everywhere or chance(rng, 70):
            shares = sorted({10, *shares})
        tables.append({"batch": batch, "points": _points(rng, shares, top, everywhere=everywhere)})
    return {"family": "tabulated", "batches": tables}


def _points(rng: Random, shares: Sequence[int], top: int, *, everywhere: bool) -> list[Spec]:
    shape = pick(rng, "rising", "rising", "flat", "jagged", "sparse")
    points = []
    for i, share in enumerate(shares):
        if shape == "rising":
            rate = float(top) * (i + 1) / len(shares)
        elif shape == "flat":
            rate = float(top)
        elif shape == "jagged" or everywhere or i == len(shares) - 1:
            rate = float(rng.randint(max(1, top // 4), top))
        else:
            rate = float(pick(rng, 0, top))
        points.append({"share_pct": share, "rate": rate})
    return points


def draw_bounds(rng: Random, confidence: float, *, always: bool) -> list[Spec]:
    """Draw one-sided error bounds, sometimes none that reach the confidence."""
    if confidence == 0.5 and chance(rng, 70):
        return []
    low = pick(rng, 0.0, 0.1, 0.25)
    bounds = [{"confidence": 0.8, "relative": low}]
    if always or not chance(rng, 3):
        bounds.append({"confidence": pick(rng, 0.95, 0.99), "relative": low + 0.1})
    return bounds


def draw_profile(
    rng: Random,
    workload: str,
    gpu_type: str,
    role: str,
    *,
    batches: Sequence[int],
    confidence: float,
    everywhere: bool,
) -> Spec:
    """Draw how a workload runs alone on one GPU type."""
    top = pick(rng, 40, 60, 100) if role == "inference" else pick(rng, 8, 12, 20)
    memory = pick(rng, 3.0, 4.0, 2.0, 5.0)
    step = pick(rng, 0.0, 1.0)
    known = batches if chance(rng, 70) else batches[-1:]
    return {
        "workload": workload,
        "gpu_type": gpu_type,
        "role": role,
        "curve": draw_curve(rng, batches, top, everywhere=everywhere),
        "rate_error": draw_bounds(rng, confidence, always=everywhere),
        "memory": [{"batch": b, "memory_gib": memory + step * i} for i, b in enumerate(known)],
        "evidence": pick(rng, "measured", "regressed", "constant"),
    }


def draw_interference(
    rng: Random,
    types: Sequence[str],
    workloads: Sequence[str],
    confidence: float,
    *,
    everywhere: bool,
) -> Spec:
    """Draw a pair table and, mostly, a constant behind it."""
    found: Spec = {"pairs": []}
    if everywhere or not chance(rng, 10):
        found["default_slowdown"] = pick(rng, 1.25, 1.0, 1.1, 2.0)
        found["default_error"] = draw_bounds(rng, confidence, always=everywhere)
    for gpu_type in types:
        for victim in workloads:
            for neighbour in workloads:
                if chance(rng, 30):
                    found["pairs"].append(
                        {
                            "gpu_type": gpu_type,
                            "victim": victim,
                            "neighbour": neighbour,
                            "slowdown": pick(rng, 1.5, 1.0, 1.05, 1.2, 3.0, 0.8),
                            "error": draw_bounds(rng, confidence, always=everywhere),
                            "evidence": pick(rng, "measured", "regressed"),
                        }
                    )
    return _with_tables(found, types, workloads)


def _with_tables(interference: Spec, types: Sequence[str], workloads: Sequence[str]) -> Spec:
    """Let slowdowns be tables over the knobs, in some instances.

    The dice are the drawn pairs themselves, so that what is drawn next does not depend on it.
    """
    rng = Random(repr((interference, types, workloads)))  # noqa: S311 - nothing secret
    if chance(rng, 70):
        return interference
    most = pick(rng, 90, 50)
    listed = {(p["gpu_type"], p["victim"], p["neighbour"]): p for p in interference["pairs"]}
    bounds = interference.get("default_error", [])
    for key in itertools.product(types, workloads, workloads):
        pair = listed.get(key)
        if not chance(rng, most) or (pair is None and "default_slowdown" not in interference):
            continue
        if pair is None:
            named = dict(zip(("gpu_type", "victim", "neighbour"), key, strict=True))
            slowdown = interference["default_slowdown"]
            pair = {**named, "slowdown": slowdown, "error": bounds}
            interference["pairs"].append(pair)
        pair["table"] = draw_table(rng, pair.pop("slowdown"))
    return interference


def draw_table(rng: Random, around: float) -> Spec:
    """Draw a slowdown table over some of the knobs, rising, falling or in no order."""
    table: Spec = {
        "victim_batch": sorted(rng.sample((1, 2, 4, 8, 32), pick(rng, 1, 2))),
        "neighbour_batch": sorted(rng.sample((1, 2, 4, 8, 32), pick(rng, 1, 1, 2))),
        "victim_share_pct": sorted(rng.sample(SHARES, pick(rng, 1, 2, 3))),
        "neighbour_share_pct": sorted(rng.sample(SHARES, pick(rng, 1, 2, 3, 4))),
    }
    n = math.prod(len(axis) for axis in table.values())
    shape = pick(rng, "rising", "falling", "jagged", "jagged", "flat")
    if shape == "jagged":
        values = [around * pick(rng, 0.6, 0.8, 1.0, 1.1, 1.5) for _ in range(n)]
    else:
        slope = 0.0 if shape == "flat" else pick(rng, 0.2, 0.6, 1.2)
        values = [around * (1 + slope * (i / n - 0.5)) for i in range(n)]
    if shape == "falling":
        values.reverse()
    return {**table, "slowdown": [max(0.5, value) for value in values]}


def draw_service(rng: Random, service_id: str, profile: str, replicas: int) -> Spec:
    """Draw a service without its arrival rate and SLO."""
    service: Spec = {"id": service_id, "profile": profile, "replicas": replicas}
    service["tenant"] = pick(rng, *TENANTS)
    if chance(rng, 55):
        service["required"] = False
        service["missing_price"] = pick(rng, 0.3, 0.0, 2.0, 10.0)
    if chance(rng, 8):
        service["min_share_pct"] = pick(rng, 30, 55, 100)
    if chance(rng, 15):
        service["processes"] = 2
    return service


def draw_task(
    rng: Random, task_id: str, profile: str, *, batch: int, workers: int, gangs: bool
) -> Spec:
    """Draw a task entry with at most this many workers."""
    gang_size = pick(rng, *[k for k in (2, 2, 3) if k <= workers] or [1]) if gangs else 1
    task: Spec = {
        "id": task_id,
        "profile": profile,
        "batch": batch,
        "weight": pick(rng, 1.0, 2.0, 0.5, 3.7),
        "gang_size": gang_size,
        "count": pick(rng, *range(1, max(1, min(3, workers // gang_size)) + 1)),
        "tenant": pick(rng, *TENANTS),
    }
    if chance(rng, 15):
        task["memory_gib"] = pick(rng, 2.0, 5.0)
    if chance(rng, 10):
        task["processes"] = 2
    return task
