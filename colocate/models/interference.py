"""Slowdown in company: a pair table with a constant behind it; several neighbours multiply.

    s(v) = product over neighbours n of s(v, n),   s_hi(v) = product of s(v, n) * (1 + e(v, n))

The slowdown of this model depends on who the neighbours are, not on their batches and shares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from colocate.models.bounds import relative_error
from colocate.profile import Interference
from colocate.schema import Evidence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EVIDENCE_ORDER", "PairTable", "Slowdown", "pair_table", "slowdown"]

EVIDENCE_ORDER = (Evidence.MEASURED, Evidence.REGRESSED, Evidence.CONSTANT)


class Slowdown(NamedTuple):
    """Slowdown of one workload, its bound, and the weakest evidence behind it."""

    mean: float
    high: float
    evidence: Evidence


def slowdown(
    model: Interference, gpu_type: str, victim: str, neighbours: Sequence[str], confidence: float
) -> Slowdown | None:
    """Return the slowdown of `victim` beside `neighbours` (workload names), or None when unknown."""
    mean = high = 1.0
    weakest = 0
    for neighbour in neighbours:
        for pair in model.pairs:
            if (pair.gpu_type, pair.victim, pair.neighbour) == (gpu_type, victim, neighbour):
                value, bounds, evidence = pair.slowdown, pair.error, pair.evidence
                break
        else:
            if model.default_slowdown is None:
                return None
            value, bounds, evidence = model.default_slowdown, model.default_error, Evidence.CONSTANT
        mean *= value
        error = relative_error(bounds, confidence)
        high = math.inf if math.isinf(error) else high * value * (1 + error)
        weakest = max(weakest, EVIDENCE_ORDER.index(evidence))
    return Slowdown(mean, high, EVIDENCE_ORDER[weakest])


class PairTable(NamedTuple):
    """The pair table of one GPU type over a list of workloads; `nan` where nothing is known."""

    mean: NDArray[np.float64]
    """[victim, neighbour]."""
    high: NDArray[np.float64]
    evidence: NDArray[np.int8]
    """Index into `EVIDENCE_ORDER`."""


def pair_table(
    model: Interference, gpu_type: str, workloads: Sequence[str], confidence: float
) -> PairTable:
    """Return the slowdown of every workload beside every other one, as arrays."""
    import numpy as np

    n = len(workloads)
    index = {w: i for i, w in enumerate(workloads)}
    default = np.nan if model.default_slowdown is None else model.default_slowdown
    default_error = relative_error(model.default_error, confidence)
    mean = np.full((n, n), default)
    high = np.full((n, n), default * (1 + default_error))
    evidence = np.full((n, n), EVIDENCE_ORDER.index(Evidence.CONSTANT), dtype=np.int8)
    for pair in model.pairs:
        v, a = index.get(pair.victim), index.get(pair.neighbour)
        if pair.gpu_type == gpu_type and v is not None and a is not None:
            mean[v, a] = pair.slowdown
            high[v, a] = pair.slowdown * (1 + relative_error(pair.error, confidence))
            evidence[v, a] = EVIDENCE_ORDER.index(pair.evidence)
    return PairTable(mean, high, evidence)
