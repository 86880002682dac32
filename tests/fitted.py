"""Fitted models as they come out of a fit, made by hand so that every number is known."""

from __future__ import annotations

from collections.abc import Iterator

from colocate.profile import (
    BatchPoints,
    ErrorBound,
    Interference,
    MemoryPoint,
    PairSlowdown,
    Profile,
    RatePoint,
    SlowdownTable,
    TabulatedCurve,
)
from colocate.profile.fitted import (
    Calibration,
    CurveReport,
    FamilyError,
    FitReport,
    FittedModels,
    RowsLeftOut,
    SharePoint,
)
from colocate.schema import Evidence

SHARES = (10.0, 30.0, 60.0, 100.0)
BOUNDS = (
    ErrorBound(confidence=0.9, relative=0.05),
    ErrorBound(confidence=0.95, relative=0.08),
)


def rate(batch: int, share_pct: float) -> float:
    """Return what the curves of these models say."""
    return 1000.0 * batch * share_pct / (share_pct + 5.0 * batch)


def profile(workload: str, role: str, batches: tuple[int, ...], gpu_type: str = "V100") -> Profile:
    """Return a curve through the rates at the shares."""
    curve = TabulatedCurve(
        batches=tuple(
            BatchPoints(
                batch=b, points=tuple(RatePoint(share_pct=p, rate=rate(b, p)) for p in SHARES)
            )
            for b in batches
        )
    )
    return Profile(
        workload=workload,
        gpu_type=gpu_type,
        role=role,  # type: ignore[arg-type]
        curve=curve,
        rate_error=BOUNDS,
        memory=(MemoryPoint(batch=max(batches), memory_gib=2.0),),
    )


def points(batches: tuple[int, ...]) -> Iterator[SharePoint]:
    """Yield measurements that lie above and below the curve in turn, by 2 and 4 percent."""
    for b in batches:
        for i, p in enumerate(SHARES):
            fitted = rate(b, p)
            measured = fitted * (1.02 if i % 2 else 0.96)
            yield SharePoint(batch=b, share_pct=p, rate=measured, fitted=fitted)


def report(workload: str, batches: tuple[int, ...], gpu_type: str = "V100") -> CurveReport:
    """Return how a curve came about."""
    return CurveReport(
        workload=workload,
        gpu_type=gpu_type,
        method="hyperbola 0.7, power 0.3",
        error_pct=2.5,
        families=(
            FamilyError(family="hyperbola", weight=0.7, error_pct=3.25),
            FamilyError(family="power", weight=0.3, error_pct=2.75),
            FamilyError(family="monotone_table", weight=0.0, error_pct=41.5),
        ),
        points=tuple(points(batches)),
        notes=("batch 8 at 30 %: 2 measurements differ by 31 %",) if workload == "resnet" else (),
    )


TABLE = SlowdownTable(
    victim_batch=(1, 8),
    neighbour_batch=(32,),
    victim_share_pct=(20.0, 80.0),
    neighbour_share_pct=(20.0, 50.0, 80.0),
    slowdown=(1.0, 1.1, 1.2, 1.05, 1.15, 1.25, 1.3, 1.4, 1.5, 1.35, 1.45, 1.9),
)

MODELS = FittedModels(
    description="made for tests",
    profiles=(
        profile("resnet", "inference", (1, 4, 8)),
        profile("bert", "inference", (1, 8)),
        profile("train", "training", (32,)),
        profile("resnet", "inference", (1,), "A100"),
    ),
    interference=Interference(
        default_slowdown=1.2,
        pairs=(
            PairSlowdown(
                gpu_type="V100", victim="resnet", neighbour="train", table=TABLE, error=BOUNDS
            ),
            PairSlowdown(
                gpu_type="V100",
                victim="bert",
                neighbour="train",
                slowdown=1.07,
                evidence=Evidence.REGRESSED,
            ),
            PairSlowdown(gpu_type="V100", victim="train", neighbour="resnet", slowdown=1.03),
        ),
    ),
    calibration=(
        Calibration(
            what="alone",
            evidence=Evidence.MEASURED,
            low=BOUNDS,
            high=(ErrorBound(confidence=0.9, relative=0.04),),
            residuals=24,
            units=3,
            mean_error_pct=2.3,
        ),
        Calibration(what="company", evidence=Evidence.CONSTANT, residuals=0, units=0),
    ),
    report=FitReport(
        rows=90,
        left_out=(
            RowsLeftOut(reason="rate must be above 0", rows=3, example="row 7: rate (got 0)"),
            RowsLeftOut(reason="a repeat far from the others", rows=1, example="row 12"),
        ),
        curves=(
            report("resnet", (1, 4, 8)),
            report("bert", (1, 8)),
            report("train", (32,)),
        ),
        company="ridge on the neighbour's telemetry",
        notes=("1 workload was never measured in company",),
    ),
)
