"""Slowdown in company: a pair table with a constant behind it; several neighbours multiply.

    s(v) = product over neighbours n of s(v, n),   s_hi(v) = product of s(v, n) * (1 + e(v, n))

A pair has one slowdown, or a table over the batches and shares of the two; see `slowdown_table`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from colocate.models.bounds import relative_error
from colocate.models.slowdown_table import read
from colocate.profile import Interference, SlowdownTable
from colocate.schema import Evidence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "EVIDENCE_ORDER",
    "Knobs",
    "PairTable",
    "Slowdown",
    "TableOfPair",
    "pair_table",
    "slowdown",
]

EVIDENCE_ORDER = (Evidence.MEASURED, Evidence.REGRESSED, Evidence.CONSTANT)


class Slowdown(NamedTuple):
    """Slowdown of one workload, its bound, and the weakest evidence behind it."""

    mean: float
    high: float
    evidence: Evidence


class Knobs(NamedTuple):
    """What a slowdown table needs to know of a workload: its batch and its share in percent."""

    batch: int
    sure_pct: float
    """The share that it is sure of, at which it is looked up as a victim."""
    most_pct: float
    """The most that it may take, at which it is looked up as a neighbour."""


def slowdown(
    model: Interference,
    gpu_type: str,
    victim: str,
    neighbours: Sequence[str],
    confidence: float,
    *,
    at: Knobs | None = None,
    beside: Sequence[Knobs] = (),
) -> Slowdown | None:
    """Return the slowdown of `victim` beside `neighbours` (workload names), or None when unknown.

    Parameters
    ----------
    model, gpu_type, victim, neighbours, confidence
        Who is slowed down by whom, where, and how sure the bound is to be.
    at, beside
        Knobs of the victim and of each neighbour; only slowdowns that are numbers need none.

    Raises
    ------
    ValueError
        When a slowdown depends on knobs that are not given.
    """
    mean = high = 1.0
    weakest = 0
    for i, neighbour in enumerate(neighbours):
        for pair in model.pairs:
            if (pair.gpu_type, pair.victim, pair.neighbour) == (gpu_type, victim, neighbour):
                value, bounds, evidence = pair.slowdown, pair.error, pair.evidence
                if pair.table is not None:
                    if at is None or i >= len(beside):
                        msg = f"the slowdown of {victim!r} beside {neighbour!r} depends on knobs"
                        raise ValueError(msg)
                    other = beside[i]
                    value = read(pair.table, at.batch, other.batch, at.sure_pct, other.most_pct)
                break
        else:
            value, bounds, evidence = model.default_slowdown, model.default_error, Evidence.CONSTANT
        if value is None:
            return None
        mean *= value
        error = relative_error(bounds, confidence)
        high = math.inf if math.isinf(error) else high * value * (1 + error)
        weakest = max(weakest, EVIDENCE_ORDER.index(evidence))
    return Slowdown(mean, high, EVIDENCE_ORDER[weakest])


class TableOfPair(NamedTuple):
    """The slowdown of one pair where it depends on the knobs."""

    table: SlowdownTable
    wider: float
    """What turns a slowdown into its bound: 1 + e."""


class PairTable(NamedTuple):
    """The pair table of one GPU type over a list of workloads; `nan` where nothing is known."""

    mean: NDArray[np.float64]
    """[victim, neighbour]; the smallest value where the slowdown depends on the knobs."""
    high: NDArray[np.float64]
    evidence: NDArray[np.int8]
    """Index into `EVIDENCE_ORDER`."""
    tables: Mapping[tuple[int, int], TableOfPair]
    """By victim and neighbour: the slowdowns that depend on the knobs."""


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
    tables: dict[tuple[int, int], TableOfPair] = {}
    for pair in model.pairs:
        v, a = index.get(pair.victim), index.get(pair.neighbour)
        if pair.gpu_type == gpu_type and v is not None and a is not None:
            wider = 1 + relative_error(pair.error, confidence)
            values = (pair.slowdown,) if pair.table is None else pair.table.slowdown
            if pair.table is not None and len(values) > 1:
                tables[v, a] = TableOfPair(pair.table, wider)
            mean[v, a] = min(value for value in values if value is not None)
            high[v, a] = mean[v, a] * wider
            evidence[v, a] = EVIDENCE_ORDER.index(pair.evidence)
    return PairTable(mean, high, evidence, tables)
