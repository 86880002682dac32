"""How much each family counts: learnt where points were left out, on other workloads.

Choosing a family for a curve from its four points is choosing by noise. Instead one inner point of
every curve of a GPU is left out at a time, each family predicts it from the rest, and the weights w
of a workload minimise the mean error of the average

    mean over the left-out points of OTHER workloads of min(|sum_f w_f * error_f|, CLIP),

over w >= 0 with sum 1. From too few points nothing is learnt: up to `TOO_FEW` the first member, the
average of the formulas by evidence, counts alone, from `ENOUGH` on the learnt weights do, and
between them both in proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.models.fitting.device_steps import estimate_steps
from colocate.models.fitting.rate_families import predictions, unmoved
from colocate.models.fitting.rate_points import Points

__all__ = ["ROUNDS", "LeftOut", "average_weights", "leave_out", "steps_help", "weights_of"]

Floats = NDArray[np.float64]

CLIP: Final = 0.2
TOO_FEW: Final = 25
ENOUGH: Final = 75
MOST_CURVES: Final = 320
"""With more curves, evenly chosen ones speak for all."""
ROUNDS: Final = 3
"""Inner points of a curve that are left out to learn weights."""
_ITERATIONS: Final = 200
_PACE: Final = 10.0


class LeftOut(NamedTuple):
    """Errors of the families at points that had no part in the fit, a row for each."""

    curve: NDArray[np.int64]
    """Which curve."""
    share_pct: Floats
    error: Floats
    """[row, member]: logarithm of predicted over measured time."""


def leave_out(
    curves: Sequence[Points], members: Sequence[str], *, steps: bool, rounds: int = ROUNDS
) -> LeftOut:
    """Leave out up to so many inner points of every curve, one at a time, and predict them."""
    rows: list[int] = []
    shares: list[float] = []
    errors: list[Floats] = []
    for turn in range(rounds):
        index = [_inner(len(curve), turn, rounds) for curve in curves]
        chosen = [i for i, j in enumerate(index) if j is not None]
        if not chosen:
            continue
        rest = [
            c if j is None else c.take(np.arange(len(c)) != j)
            for c, j in zip(curves, index, strict=True)
        ]
        moved = estimate_steps(rest).moved if steps else unmoved
        some = [rest[i] for i in chosen]
        at = [float(curves[i].share_pct[_known(index[i])]) for i in chosen]
        grid = np.unique(at)
        column = np.searchsorted(grid, at)
        said = predictions(some, members, grid, moved)[:, np.arange(len(some)), column]
        y = np.array([curves[i].log_time[_known(index[i])] for i in chosen])
        rows += chosen
        shares += at
        errors += list((said - y).T)
    return LeftOut(
        np.array(rows, dtype=np.int64),
        np.array(shares),
        np.array(errors).reshape(len(rows), len(members)),
    )


def _inner(n: int, turn: int, rounds: int) -> int | None:
    """Return which inner point of n is left out in a turn: every one, or evenly chosen ones."""
    if n < 3:
        return None
    if n <= rounds + 2:
        return turn + 1 if turn + 1 < n - 1 else None
    return round((n - 1) * (turn + 1) / (rounds + 1))


def _known(index: int | None) -> int:
    assert index is not None
    return index


def weights_of(error: Floats) -> Floats:
    """Return the weights that minimise the mean clipped error, by exponentiated gradient.

    It starts from equal weights and returns the mean over its path, which stays near them where
    errors say little; with few errors, the first member has most of the weight.
    """
    rows, members = error.shape
    weights = np.full(members, 1 / members)
    total = weights.copy()
    for _ in range(_ITERATIONS if len(error) else 0):
        average = error @ weights
        inside = np.where(np.abs(average) < CLIP, np.sign(average), 0.0)
        weights = weights * np.exp(-_PACE * (inside @ error) / len(error))
        weights /= weights.sum()
        total += weights
    learnt = float(np.clip((rows - TOO_FEW) / (ENOUGH - TOO_FEW), 0.0, 1.0))
    blended: Floats = learnt * total / total.sum()
    blended[0] += 1 - learnt
    return blended


def average_weights(
    left_out: LeftOut, owner: Sequence[str], workloads: Sequence[str] | None = None
) -> dict[str, Floats]:
    """Return for each workload the weights that the others' left-out points speak for.

    Parameters
    ----------
    left_out
        What `leave_out` found.
    owner
        The workload of each curve that it was asked about.
    workloads
        Those whose weights are wanted; the owners when left out.
    """
    of = np.array([owner[i] for i in left_out.curve], dtype=object)
    known = sorted(set(of.tolist()))
    everyone = weights_of(left_out.error)
    found = {}
    for name in sorted(set(owner if workloads is None else workloads)):
        found[name] = weights_of(left_out.error[of != name]) if name in known else everyone
    return found


def steps_help(plain: LeftOut, stepped: LeftOut, owner: Sequence[str]) -> bool:
    """Return whether left-out points are predicted better with the steps of the device."""

    def mean_error(left_out: LeftOut) -> float:
        weights = average_weights(left_out, owner)
        said = [
            float(np.abs(e @ weights[owner[i]]))
            for i, e in zip(left_out.curve.tolist(), left_out.error, strict=True)
        ]
        return float(np.mean(np.minimum(said, CLIP))) if said else np.inf

    return mean_error(stepped) < mean_error(plain)
