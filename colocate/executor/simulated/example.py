"""A made-up GPU to run closed loops on: a language service beside one training task.

The numbers come from formulas and are not measurements of anything.
"""

from __future__ import annotations

from colocate.instance import GpuPool, Instance, Rules, Service, Task
from colocate.profile import (
    ErrorBound,
    Interference,
    MemoryPoint,
    PairSlowdown,
    Profile,
    SlowdownTable,
)
from colocate.profile.curves import BatchPoints, MonotoneTableCurve, RatePoint
from colocate.schema import Component

__all__ = ["UUID", "example_instance"]

UUID = "GPU-00000000-0000-4000-8000-00000000c10c"
SHARES = (10.0, 20.0, 30.0, 40.0, 55.0, 70.0, 85.0, 100.0)


def _curve(batches: tuple[int, ...], fixed_ms: float, each_ms: float) -> MonotoneTableCurve:
    """Return rates of a batch time of `fixed + batch * each / share^0.9`."""
    return MonotoneTableCurve(
        batches=tuple(
            BatchPoints(
                batch=b,
                points=tuple(
                    RatePoint(
                        share_pct=p,
                        rate=1000.0 * b / (fixed_ms + b * each_ms / (p / 100.0) ** 0.9),
                    )
                    for p in SHARES
                ),
            )
            for b in batches
        )
    )


def _slowdowns(victim: str, neighbour: str, least: float, most: float) -> PairSlowdown:
    shares = (10.0, 50.0, 90.0)
    return PairSlowdown(
        gpu_type="example-gpu",
        victim=victim,
        neighbour=neighbour,
        table=SlowdownTable(
            victim_batch=(8,),
            neighbour_batch=(8,),
            victim_share_pct=(50.0,),
            neighbour_share_pct=shares,
            slowdown=tuple(least + (most - least) * (p - 10.0) / 80.0 for p in shares),
        ),
        error=(ErrorBound(confidence=0.95, relative=0.06),),
    )


def example_instance(
    *, rate_rps: float = 200.0, slo_ms: float = 120.0, memory_gib: float = 80.0
) -> Instance:
    """Return one GPU with one service and one task."""
    error = (ErrorBound(confidence=0.95, relative=0.05),)
    return Instance(
        name="closed-loop",
        description="Made up; see colocate.executor.simulated.example.",
        slo_model=Component(name="queue"),
        confidence=0.95,
        objective=Component(name="throughput"),
        gpu_pools=(
            GpuPool(
                id="node",
                gpu_type="example-gpu",
                uuids=(UUID,),
                memory_gib=memory_gib,
                sm_count=100,
            ),
        ),
        services=(Service(id="web", profile="language", rate_rps=rate_rps, slo_ms=slo_ms),),
        tasks=(Task(id="train", profile="vision", batch=64),),
        profiles=(
            Profile(
                workload="language",
                gpu_type="example-gpu",
                role="inference",
                curve=_curve((1, 2, 4, 8, 16, 32), 4.0, 0.8),
                rate_error=error,
                memory=(MemoryPoint(batch=32, memory_gib=12.0),),
            ),
            Profile(
                workload="vision",
                gpu_type="example-gpu",
                role="training",
                curve=_curve((64,), 20.0, 1.5),
                rate_error=error,
                memory=(MemoryPoint(batch=64, memory_gib=20.0),),
            ),
        ),
        interference=Interference(
            pairs=(
                _slowdowns("language", "vision", 1.05, 1.3),
                _slowdowns("vision", "language", 1.03, 1.2),
            )
        ),
        rules=Rules(services_per_gpu=1, tasks_per_gpu=1),
    )
