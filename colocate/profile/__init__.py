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
    MonotoneTableCurve,
    PiecewiseLinearCurve,
    RatePoint,
    TabulatedCurve,
)
from colocate.profile.file import ProfileFile
from colocate.profile.formulas import (
    BatchFrom,
    BatchHyperbola,
    BatchMudi,
    BatchPower,
    HyperbolaCurve,
    MudiCurve,
    PowerCurve,
    SoftMaximumCurve,
)
from colocate.profile.interference import Interference, PairSlowdown, SlowdownTable
from colocate.profile.workload import MemoryPoint, Profile

__all__ = [
    "Batch",
    "BatchFrom",
    "BatchHyperbola",
    "BatchLines",
    "BatchMudi",
    "BatchPoints",
    "BatchPower",
    "Curve",
    "ErrorBound",
    "HyperbolaCurve",
    "Interference",
    "Line",
    "MemoryPoint",
    "MonotoneTableCurve",
    "MudiCurve",
    "PairSlowdown",
    "PiecewiseLinearCurve",
    "PowerCurve",
    "Profile",
    "ProfileFile",
    "RatePoint",
    "SlowdownTable",
    "SoftMaximumCurve",
    "TabulatedCurve",
]
