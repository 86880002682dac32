"""Short ways to write the small instances: toy GPUs, straight curves, round numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colocate.instance import GpuPool, Instance, Rules
from colocate.profile import (
    BatchLines,
    BatchPoints,
    ErrorBound,
    Interference,
    Line,
    MemoryPoint,
    PairSlowdown,
    PiecewiseLinearCurve,
    Profile,
    RatePoint,
    TabulatedCurve,
)
from colocate.schema import Component, Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Points = tuple[tuple[float, float], ...]

TOY = "toy"
STRAIGHT = ((10, 100), (100, 1000))
"""Ten samples a second for each percent."""
BENT = ((10, 20), (50, 80), (100, 100))
"""Eight tenths of the full rate at half the GPU."""
EARLY = ((10, 60), (30, 90), (100, 100))
"""Nearly the full rate at a third of the GPU."""


def pool(name: str = "pool", count: int = 1, **fields: Any) -> GpuPool:  # noqa: ANN401 - fields of GpuPool
    """Return toy GPUs: ten multiprocessors, 16 GiB."""
    known = {"gpu_type": TOY, "memory_gib": 16.0, "sm_count": 10}
    return GpuPool(id=name, count=count, **(known | fields))


def bound(relative: float, confidence: float = 0.95) -> tuple[ErrorBound, ...]:
    """Return one error bound."""
    return (ErrorBound(confidence=confidence, relative=relative),)


def serving(
    workload: str,
    table: Mapping[int, Points],
    memory: Mapping[int, float],
    *,
    error: float | None = None,
    gpu_type: str = TOY,
) -> Profile:
    """Return a service's profile: points over the share for each batch."""
    return Profile(
        workload=workload,
        gpu_type=gpu_type,
        role="inference",
        curve=TabulatedCurve(
            batches=tuple(
                BatchPoints(
                    batch=batch,
                    points=tuple(RatePoint(share_pct=p, rate=r) for p, r in points),
                )
                for batch, points in table.items()
            )
        ),
        rate_error=() if error is None else bound(error),
        memory=tuple(MemoryPoint(batch=b, memory_gib=m) for b, m in memory.items()),
        evidence=Evidence.CONSTANT,
    )


def training(
    workload: str,
    points: Points,
    memory_gib: float,
    *,
    batch: int = 32,
    error: float | None = None,
    gpu_type: str = TOY,
) -> Profile:
    """Return a task's profile: points over the share at the one batch it trains with."""
    return serving(workload, {batch: points}, {batch: memory_gib}, gpu_type=gpu_type).model_copy(
        update={"role": "training", "rate_error": () if error is None else bound(error)}
    )


def lines(
    workload: str, pieces: Points, memory_gib: float, *, batch: int = 32, gpu_type: str = TOY
) -> Profile:
    """Return a task's profile as the lowest of straight lines (intercept, slope)."""
    curve = PiecewiseLinearCurve(
        batches=(
            BatchLines(
                batch=batch,
                min_share_pct=10.0,
                lines=tuple(Line(intercept=i, slope=s) for i, s in pieces),
            ),
        )
    )
    return training(workload, STRAIGHT, memory_gib, batch=batch, gpu_type=gpu_type).model_copy(
        update={"curve": curve}
    )


def slowdowns(
    *entries: tuple[str, str, float],
    default: float | None = None,
    error: float | None = None,
    gpu_type: str = TOY,
) -> Interference:
    """Return a pair table of (victim, neighbour, slowdown)."""
    bounds = () if error is None else bound(error)
    return Interference(
        default_slowdown=default,
        default_error=bounds if default is not None else (),
        pairs=tuple(
            PairSlowdown(
                gpu_type=gpu_type,
                victim=victim,
                neighbour=neighbour,
                slowdown=slowdown,
                error=bounds,
                evidence=Evidence.CONSTANT,
            )
            for victim, neighbour, slowdown in entries
        ),
    )


def instance(
    name: str,
    description: str,
    *,
    pools: Iterable[GpuPool],
    profiles: Iterable[Profile],
    **fields: Any,  # noqa: ANN401 - fields of Instance
) -> Instance:
    """Return an instance that plans with the mean, for `fill` and `throughput`, unless told."""
    known: dict[str, Any] = {
        "slo_model": Component(name="fill"),
        "confidence": 0.5,
        "objective": Component(name="throughput"),
        "interference": slowdowns(default=1.25),
        "rules": Rules(),
    }
    return Instance(
        name=name,
        description=description,
        gpu_pools=tuple(pools),
        profiles=tuple(profiles),
        **(known | fields),
    )
