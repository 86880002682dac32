"""What each family says about curves: predictions at any share, from the measured points.

Besides the families of formulas there is the table of the points themselves, joined as a
`monotone_table` curve is. Points that no formula can explain are found here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from colocate.models.fitting.rate_points import Points
from colocate.models.fitting.rate_posterior import Posterior, posterior
from colocate.models.fitting.rate_shapes import FAMILIES, bank_of, elasticities, log_times

__all__ = ["MEMBERS", "explained", "predictions", "unexplained"]

Floats = NDArray[np.float64]
Map = Callable[[Floats], Floats]

MEMBERS: Final = ("formulas", *FAMILIES, "monotone_table")
"""What is averaged; `formulas` is itself the average of the formulas, each believed as far as it
explains the curve at hand and those of other workloads."""
FAR_OFF: Final = 0.5
"""A point this far (in the logarithm of the time) from what the formulas say may be wrong."""
IMPOSSIBLE: Final = 0.3
"""It is, if it is this far beyond what physics allows beside a neighbouring point."""
AT_ONCE: Final = 64
"""Curves that are fitted together: more take more memory and save no time."""


def unmoved(share_pct: Floats) -> Floats:
    """Return the shares: a device without steps."""
    return share_pct


def _groups(curves: Sequence[Points]) -> list[NDArray[np.int64]]:
    """Return curves with equally many points, some at a time: they are fitted at once."""
    by_size: dict[int, list[int]] = {}
    for i, curve in enumerate(curves):
        by_size.setdefault(len(curve), []).append(i)
    return [
        np.array(rows[i : i + AT_ONCE])
        for rows in by_size.values()
        for i in range(0, len(rows), AT_ONCE)
    ]


def _shares(curves: Sequence[Points]) -> tuple[Floats, NDArray[np.int64]]:
    """Return all shares of a group, and [curve, point]: which of them each point has."""
    shares, where = np.unique(np.stack([c.share_pct for c in curves]), return_inverse=True)
    return shares, where.reshape(len(curves), -1)


def _posterior(curves: Sequence[Points], family: str, moved: Map) -> Posterior:
    """Return the posterior of a group of curves."""
    shares, where = _shares(curves)
    at = log_times(bank_of(family), moved(shares))
    y, noise = np.stack([c.log_time for c in curves]), np.stack([c.noise for c in curves])
    return posterior(y, noise, np.moveaxis(at[:, where], 0, 1))


def predictions(
    curves: Sequence[Points], members: Sequence[str], share_pct: Floats, moved: Map = unmoved
) -> Floats:
    """Return [member, curve, share]: the logarithm of the time, as each member sees it."""
    needed = FAMILIES if "formulas" in members else [f for f in FAMILIES if f in members]
    said: dict[str, Floats] = {f: np.empty((len(curves), share_pct.size)) for f in needed}
    evidence = np.empty((len(needed), len(curves)))
    for row, family in enumerate(needed):
        at = log_times(bank_of(family), moved(share_pct))
        for group in _groups(curves):
            of = _posterior([curves[i] for i in group], family, moved)
            said[family][group] = of.weights @ at + of.level[:, None]
            evidence[row, group] = of.evidence
    if "formulas" in members:
        part = _believed(evidence, [c.key.workload for c in curves])
        said["formulas"] = np.einsum("fc,fcg->cg", part, np.stack([said[f] for f in FAMILIES]))
    if "monotone_table" in members:
        said["monotone_table"] = np.stack([_table(c, share_pct) for c in curves])
    return np.stack([said[member] for member in members])


def _believed(evidence: Floats, workload: Sequence[str]) -> Floats:
    """Return [family, curve]: how much each family is believed, given the points of the curve.

    What is believed of a family beforehand is how often it was right for the other workloads, with
    each family counted once more, so that none is ruled out.
    """
    likelihood = np.exp(evidence - evidence.max(axis=0))
    names = sorted(set(workload))
    owner = np.array([names.index(w) for w in workload])
    count = np.bincount(owner)
    part: Floats = likelihood / likelihood.sum(axis=0)
    for _ in range(20):
        each = np.stack([np.bincount(owner, row) / count for row in part])
        before = each.sum(axis=1, keepdims=True) - each + 1
        part = likelihood * before[:, owner]
        part /= part.sum(axis=0)
    return part


def _table(curve: Points, share_pct: Floats) -> Floats:
    """Return the points joined by straight lines of the time over 1/share.

    Below the first point the first line goes on, at most as steep as 1/share.
    """
    fitted = isotonic_regression(curve.log_time, weights=curve.noise**-2.0, increasing=False).x
    x, time = 1 / curve.share_pct[::-1], np.exp(fitted[::-1])
    slowest, at = time[-1], 1 / share_pct
    slope = (time[-1] - time[-2]) / (x[-1] - x[-2]) if x.size > 1 else 0.0
    slope = min(slope, slowest / x[-1])
    beyond = slowest + slope * (at - x[-1])
    return np.log(np.where(at > x[-1], beyond, np.interp(at, x, time)))


def explained(curves: Sequence[Points], moved: Map = unmoved) -> tuple[list[Floats], list[Floats]]:
    """Return, at the points of each curve, what the formulas say and the elasticity there.

    The families are weighed by how well each explains the curve.
    """
    said: list[Floats] = [np.empty(0)] * len(curves)
    elastic: list[Floats] = [np.empty(0)] * len(curves)
    for group in _groups(curves):
        some = [curves[i] for i in group]
        shares, where = _shares(some)
        at = moved(shares)
        posteriors = [_posterior(some, family, moved) for family in FAMILIES]
        evidence = np.stack([p.evidence for p in posteriors])
        share = np.exp(evidence - evidence.max(axis=0))
        share /= share.sum(axis=0)
        mean, slope = np.zeros((len(some), at.size)), np.zeros((len(some), at.size))
        for family, part, of in zip(FAMILIES, share, posteriors, strict=True):
            bank = bank_of(family)
            mean += part[:, None] * (of.weights @ log_times(bank, at) + of.level[:, None])
            slope += part[:, None] * elasticities(bank, of.weights, at)
        for i, m, s, points in zip(group, mean, slope, where, strict=True):
            said[i], elastic[i] = m[points], s[points]
    return said, elastic


def unexplained(curves: Sequence[Points]) -> list[NDArray[np.bool_]]:
    """Return where points are left out: far from the formulas, and impossible beside a neighbour.

    More share never makes a batch slower, nor faster by more than the share. The formulas say which
    of two such points is wrong; without the second condition a lone point at a small share would
    be outvoted by many on the flat part. At most a third of a curve is left out, and at least two
    points stay. A wrong end point that stays within physics cannot be told from a right one.
    """
    few = [curve.thinned() for curve in curves]
    said, _ = explained(few)
    found = []
    for curve, thin, at_thin in zip(curves, few, said, strict=True):
        mean = np.interp(np.log(curve.share_pct), np.log(thin.share_pct), at_thin)
        off = np.where(_impossible(curve), np.abs(curve.log_time - mean), 0.0)
        most = min(len(curve) // 3, len(curve) - 2)
        worst = np.argsort(-off, kind="stable")[: max(0, most)]
        bad = np.zeros(len(curve), dtype=bool)
        bad[worst] = off[worst] > FAR_OFF
        found.append(bad)
    return found


def _impossible(curve: Points) -> NDArray[np.bool_]:
    """Return which points cannot be right together with the one before or after."""
    saved, most = -np.diff(curve.log_time), np.diff(np.log(curve.share_pct))
    bad = (saved < -IMPOSSIBLE) | (saved > most + IMPOSSIBLE)
    found = np.zeros(len(curve), dtype=bool)
    found[1:] |= bad
    found[:-1] |= bad
    return found
