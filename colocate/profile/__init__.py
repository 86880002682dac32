"""What was measured and fitted, as pure data: rate curves, memory, slowdowns, error bounds.

A profile says how fast one workload runs alone on one GPU type; `Interference` says by how much
neighbours slow it down. How these data are evaluated is the business of `colocate.models`.
"""

from colocate.profile.bounds import ErrorBound
from colocate.profile.curves import (
    Batch,
    BatchLines,
    BatchPoints,
    Curve,
    Line,
    PiecewiseLinearCurve,
    RatePoint,
    TabulatedCurve,
)
from colocate.profile.file import ProfileFile
from colocate.profile.interference import Interference, PairSlowdown
from colocate.profile.workload import MemoryPoint, Profile

__all__ = [
    "Batch",
    "BatchLines",
    "BatchPoints",
    "Curve",
    "ErrorBound",
    "Interference",
    "Line",
    "MemoryPoint",
    "PairSlowdown",
    "PiecewiseLinearCurve",
    "Profile",
    "ProfileFile",
    "RatePoint",
    "TabulatedCurve",
]
