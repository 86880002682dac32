"""The parts that drawn instances are made of, as JSON-like dictionaries.

Everything is small, so that the oracle is quick: at most four GPUs of two types with two to eight
multiprocessors, three replicas and five workers. The first choice of every draw is the plainest,
because hypothesis shrinks towards it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

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
SM_COUNTS = (8, 7, 8, 5, 4, 7, 6, 3, 2)
SHARES = (10, 20, 30, 40, 50, 60, 75, 90, 100)
TENANTS = ("red", "blue")


def pick(draw: DrawFn, *choices: Choice) -> Choice:
    """Draw one of the choices; repeat one to make it more likely."""
    return draw(st.sampled_from(choices))


def chance(draw: DrawFn, percent: int) -> bool:
    """Draw True about so often; shrinks to False."""
    return draw(st.integers(0, 99)) >= 100 - percent


def draw_confidence(draw: DrawFn) -> float:
    """Draw a confidence; 0.5 plans with the mean."""
    return pick(draw, 0.5, 0.5, 0.9, 0.95)


def draw_objective(draw: DrawFn) -> Spec:
    """Draw one of the built-in objectives."""
    if chance(draw, 40):
        params = {"unplaced_s": pick(draw, 10.0, 4.0, 1.5)}
        return {"name": "iteration_time", "params": params}
    return {"name": "throughput"}


def draw_slo_model(draw: DrawFn) -> Spec:
    """Draw one of the built-in SLO models."""
    if chance(draw, 30):
        return {"name": "mudi"}
    if chance(draw, 30):
        return {"name": "fill", "params": {"rho_max": pick(draw, 1.0, 0.5)}}
    return {"name": "fill"}


def draw_tight(draw: DrawFn) -> frozenset[Tight]:
    """Draw which rules are to bite; where all did, none would be what decides."""
    chosen: tuple[Tight, ...] = pick(draw, *_TIGHT)
    return frozenset(chosen)


def draw_pools(draw: DrawFn, types: Sequence[str], tight: frozenset[Tight]) -> list[Spec]:
    """Draw one or two pools with at most four GPUs in all."""
    counts = pick(draw, (2,), (1,), (1, 1), (2,), (3,), (1, 2), (2, 1), (2, 2))
    sizes = (6.0, 5.0, 7.0) if "memory" in tight else (16.0, 10.0, 8.0)
    pools = []
    for i, count in enumerate(counts):
        pool: Spec = {
            "id": f"p{i}",
            "gpu_type": types[i % len(types)] if i else pick(draw, *types),
            "count": count,
            "memory_gib": pick(draw, *sizes),
            "sm_count": pick(draw, *SM_COUNTS),
        }
        if chance(draw, 15):
            pool["reserve_gib"] = pick(draw, 1.0, 0.5)
        if chance(draw, 15):
            pool["max_clients"] = pick(draw, 2, 1, 3)
        if chance(draw, 15):
            pool["first"] = pick(draw, 1, 10)
        if chance(draw, 10):
            del pool["count"]
            pool["uuids"] = [f"GPU-0000000{i}-0000-0000-0000-00000000000{j}" for j in range(count)]
        if chance(draw, 15):
            pool["measured_sms"] = draw_measured_sms(draw, pool["sm_count"])
        if i and chance(draw, 10):
            pool["schedulable"] = False
        pools.append(pool)
    return pools


def draw_measured_sms(draw: DrawFn, sm_count: int) -> list[Spec]:
    """Draw what capped clients saw: near the percentage, sometimes twice the same."""
    shares = [q for q in (100, 50, 25, 75, 30) if q == 100 or chance(draw, 60)]
    return [
        {"share_pct": q, "sms": min(sm_count, max(1, q * sm_count // 100 + pick(draw, 0, 0, 1)))}
        for q in shares
    ]


def draw_curve(draw: DrawFn, batches: Sequence[int], top: int, *, everywhere: bool) -> Spec:
    """Draw a rate curve; `everywhere` makes it positive at every share of 10 % and more."""
    if chance(draw, 40):
        rows = []
        for batch in batches:
            scale = top * batch**0.5
            lines = [{"intercept": scale, "slope": 0.0}]
            if chance(draw, 70):
                lines.append({"intercept": pick(draw, 1.0, 0.1 * top), "slope": scale / 60})
            if chance(draw, 40):
                offset = 1.0 if everywhere else pick(draw, 1.0, -0.2 * top)
                lines.append({"intercept": offset, "slope": scale / pick(draw, 90, 30)})
            first = 10 if everywhere else pick(draw, 1, 10, 10, 20, 50)
            rows.append({"batch": batch, "min_share_pct": first, "lines": lines})
        return {"family": "piecewise_linear", "batches": rows}
    tables = []
    for batch in batches:
        shares = sorted(draw(st.sets(st.sampled_from(SHARES), min_size=1, max_size=4)))
        if everywhere or chance(draw, 70):
            shares = sorted({10, *shares})
        tables.append({"batch": batch, "points": _points(draw, shares, top, everywhere=everywhere)})
    return {"family": "tabulated", "batches": tables}


def _points(draw: DrawFn, shares: Sequence[int], top: int, *, everywhere: bool) -> list[Spec]:
    shape = pick(draw, "rising", "rising", "flat", "jagged", "sparse")
    points = []
    for i, share in enumerate(shares):
        if shape == "rising":
            rate = float(top) * (i + 1) / len(shares)
        elif shape == "flat":
            rate = float(top)
        elif shape == "jagged" or everywhere or i == len(shares) - 1:
            rate = float(draw(st.integers(max(1, top // 4), top)))
        else:
            rate = float(pick(draw, 0, top))
        points.append({"share_pct": share, "rate": rate})
    return points


def draw_bounds(draw: DrawFn, confidence: float, *, always: bool) -> list[Spec]:
    """Draw one-sided error bounds, sometimes none that reach the confidence."""
    if confidence == 0.5 and chance(draw, 70):
        return []
    low = pick(draw, 0.0, 0.1, 0.25)
    bounds = [{"confidence": 0.8, "relative": low}]
    if always or not chance(draw, 3):
        bounds.append({"confidence": pick(draw, 0.95, 0.99), "relative": low + 0.1})
    return bounds


def draw_profile(
    draw: DrawFn,
    workload: str,
    gpu_type: str,
    role: str,
    *,
    batches: Sequence[int],
    confidence: float,
    everywhere: bool,
) -> Spec:
    """Draw how a workload runs alone on one GPU type."""
    top = pick(draw, 40, 60, 100) if role == "inference" else pick(draw, 8, 12, 20)
    memory = pick(draw, 3.0, 4.0, 2.0, 5.0)
    step = pick(draw, 0.0, 1.0)
    known = batches if chance(draw, 70) else batches[-1:]
    return {
        "workload": workload,
        "gpu_type": gpu_type,
        "role": role,
        "curve": draw_curve(draw, batches, top, everywhere=everywhere),
        "rate_error": draw_bounds(draw, confidence, always=everywhere),
        "memory": [{"batch": b, "memory_gib": memory + step * i} for i, b in enumerate(known)],
        "evidence": pick(draw, "measured", "regressed", "constant"),
    }


def draw_interference(
    draw: DrawFn,
    types: Sequence[str],
    workloads: Sequence[str],
    confidence: float,
    *,
    everywhere: bool,
) -> Spec:
    """Draw a pair table and, mostly, a constant behind it."""
    found: Spec = {"pairs": []}
    if everywhere or not chance(draw, 10):
        found["default_slowdown"] = pick(draw, 1.25, 1.0, 1.1, 2.0)
        found["default_error"] = draw_bounds(draw, confidence, always=everywhere)
    for gpu_type in types:
        for victim in workloads:
            for neighbour in workloads:
                if chance(draw, 30):
                    found["pairs"].append(
                        {
                            "gpu_type": gpu_type,
                            "victim": victim,
                            "neighbour": neighbour,
                            "slowdown": pick(draw, 1.5, 1.0, 1.05, 3.0, 0.8),
                            "error": draw_bounds(draw, confidence, always=everywhere),
                            "evidence": pick(draw, "measured", "regressed"),
                        }
                    )
    return found


def draw_service(draw: DrawFn, service_id: str, profile: str, replicas: int) -> Spec:
    """Draw a service without its arrival rate and SLO."""
    service: Spec = {"id": service_id, "profile": profile, "replicas": replicas}
    service["tenant"] = pick(draw, *TENANTS)
    if chance(draw, 40):
        service["required"] = False
        service["missing_price"] = pick(draw, 0.0, 0.3, 2.0, 10.0)
    if chance(draw, 15):
        service["min_share_pct"] = pick(draw, 30, 55, 100)
    if chance(draw, 15):
        service["processes"] = 2
    return service


def draw_task(
    draw: DrawFn, task_id: str, profile: str, *, batch: int, workers: int, gangs: bool
) -> Spec:
    """Draw a task entry with at most this many workers."""
    gang_size = pick(draw, *[k for k in (2, 2, 3) if k <= workers] or [1]) if gangs else 1
    task: Spec = {
        "id": task_id,
        "profile": profile,
        "batch": batch,
        "weight": pick(draw, 1.0, 2.0, 0.5, 3.7),
        "gang_size": gang_size,
        "count": pick(draw, *range(1, max(1, min(3, workers // gang_size)) + 1)),
        "tenant": pick(draw, *TENANTS),
    }
    if chance(draw, 15):
        task["memory_gib"] = pick(draw, 2.0, 5.0)
    if chance(draw, 10):
        task["processes"] = 2
    return task
