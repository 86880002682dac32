"""Made-up but plausible profiles from a few parameters.

These forms fill the bundled and generated instances. They are shaped like published measurements
under MPS, but nothing here was measured: everything they make is marked with the weakest evidence.

Rate of a workload at batch b and share p (percent of the GPU's multiprocessors):

    e(b)     = b / (b + batch_half)                      what batching gains
    h(b)     = half_share_pct * e(b)                     small batches saturate sooner
    mu(b, p) = full_rate * e(b) * (p / (p + h(b))) / (100 / (100 + h(b)))

a hyperbola that reaches `full_rate * e(b)` on the whole GPU. Memory is a constant plus so much per
sample. The slowdown of a workload v beside n is 1 + sensitivity(v) * pressure(n).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from colocate.profile import (
    BatchLines,
    BatchPoints,
    Curve,
    ErrorBound,
    Line,
    MemoryPoint,
    PairSlowdown,
    PiecewiseLinearCurve,
    Profile,
    RatePoint,
    TabulatedCurve,
)
from colocate.schema import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Workload",
    "bounds",
    "inference_profile",
    "pair",
    "pairs",
    "significant",
    "training_profile",
]

SHARES = (5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100)
KNOTS = (5, 10, 20, 40, 70, 100)


@dataclass(frozen=True, slots=True)
class Workload:
    """Parameters of one made-up workload on one GPU type."""

    name: str
    full_rate: float
    """Samples per second on the whole GPU at a very large batch."""
    half_share_pct: float
    """How far the rate is from saturation; small for launch-bound work."""
    batch_half: float
    """Batch at which half of the full rate is reached."""
    base_gib: float
    """Memory of weights, optimiser and context."""
    per_sample_mib: float
    """Memory of one more sample in the batch."""
    sensitivity: float
    """How much it suffers from neighbours, 0 to 1."""
    pressure: float
    """How much its neighbours suffer from it, 0 to 1."""

    def rate(self, batch: int, share_pct: float) -> float:
        """Return samples per second alone on the GPU."""
        gain = batch / (batch + self.batch_half)
        half = self.half_share_pct * gain
        return self.full_rate * gain * share_pct * (100 + half) / (100 * (share_pct + half))

    def memory_gib(self, batch: int) -> float:
        """Return device memory of one process."""
        return significant(self.base_gib + batch * self.per_sample_mib / 1024, 3)


def significant(value: float, digits: int = 4) -> float:
    """Round to so many significant digits, so that files stay short and the same everywhere."""
    return float(f"{value:.{digits}g}")


def bounds(at_90: float, at_95: float, at_99: float) -> tuple[ErrorBound, ...]:
    """Return one-sided error bounds at the three usual confidences."""
    return (
        ErrorBound(confidence=0.9, relative=at_90),
        ErrorBound(confidence=0.95, relative=at_95),
        ErrorBound(confidence=0.99, relative=at_99),
    )


RATE_ERROR = bounds(0.03, 0.05, 0.1)
SLOWDOWN_ERROR = bounds(0.02, 0.03, 0.06)


def inference_profile(
    workload: Workload,
    gpu_type: str,
    batches: Sequence[int],
    *,
    rate_error: tuple[ErrorBound, ...] = RATE_ERROR,
) -> Profile:
    """Return a profile with a rate table over shares and batches."""
    table = tuple(
        BatchPoints(
            batch=b,
            points=tuple(
                RatePoint(share_pct=float(p), rate=significant(workload.rate(b, p))) for p in SHARES
            ),
        )
        for b in batches
    )
    return _profile(workload, gpu_type, "inference", TabulatedCurve(batches=table), rate_error)


def training_profile(
    workload: Workload,
    gpu_type: str,
    batch: int,
    *,
    rate_error: tuple[ErrorBound, ...] = RATE_ERROR,
) -> Profile:
    """Return a profile with a concave piecewise-linear curve at the one batch it trains with."""
    lines = []
    for p, q in pairwise(KNOTS):
        low, high = workload.rate(batch, p), workload.rate(batch, q)
        slope = (high - low) / (q - p)
        lines.append(Line(intercept=significant(low - slope * p, 6), slope=significant(slope, 6)))
    curve = PiecewiseLinearCurve(
        batches=(BatchLines(batch=batch, min_share_pct=float(KNOTS[0]), lines=tuple(lines)),)
    )
    return _profile(workload, gpu_type, "training", curve, rate_error)


def _profile(
    workload: Workload,
    gpu_type: str,
    role: str,
    curve: Curve,
    rate_error: tuple[ErrorBound, ...],
) -> Profile:
    return Profile(
        workload=workload.name,
        gpu_type=gpu_type,
        role="inference" if role == "inference" else "training",
        curve=curve,
        rate_error=rate_error,
        memory=tuple(
            MemoryPoint(batch=b.batch, memory_gib=workload.memory_gib(b.batch))
            for b in curve.batches
        ),
        evidence=Evidence.CONSTANT,
    )


def pair(victim: Workload, neighbour: Workload, gpu_type: str) -> PairSlowdown:
    """Return the slowdown of one workload beside another."""
    slowdown = 1 + victim.sensitivity * neighbour.pressure
    return PairSlowdown(
        gpu_type=gpu_type,
        victim=victim.name,
        neighbour=neighbour.name,
        slowdown=significant(slowdown),
        error=SLOWDOWN_ERROR,
        evidence=Evidence.CONSTANT,
    )


def pairs(
    victims: Iterable[Workload], neighbours: Sequence[Workload], gpu_type: str
) -> list[PairSlowdown]:
    """Return the slowdown of every victim beside every neighbour."""
    return [pair(v, n, gpu_type) for v in victims for n in neighbours]
