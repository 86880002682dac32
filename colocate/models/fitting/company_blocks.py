"""The columns of the ridge regression of slowdowns, and what its coefficients mean.

    y = log s = m + f(x) + a_v(p_v) + b_n(p_n) + c_{vn}

m       intercept
f       of the features of the pair (`features`): k(x, Z) weighted, |f| about sigma_f
a_v     curve over the victim's share, for each victim: at the knots a level, a smooth part and a
        part of its own at each knot, which takes up noise in the rate alone at that share
b_n     the same over the neighbour's share, for each neighbour
c_vn    a number for each unordered pair: what two workloads do to each other tends to be mutual

Every part has mean 0 and a given standard deviation, so that a workload or a pair that was never
seen simply lacks its part. The knots' covariance is

    C(p, p') = level^2 + smooth^2 exp(-(p - p')^2 / (2 * 30^2)) + rough^2 [p = p']
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from colocate.models.fitting.company_cells import Cells
from colocate.models.fitting.company_design import Design
from colocate.models.regression.features import Queries
from colocate.models.regression.hats import hat_matrix
from colocate.models.regression.kernel import gaussian, landmarks
from colocate.profile.company import AdditiveModel, EffectTerm, FeatureName, KernelTerm, PairTerm

__all__ = ["Candidate", "Columns", "KernelPlace", "additive_model", "columns", "queries"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEVEL, SMOOTH, ROUGH, REACH = 0.6, 0.6, 0.5, 30.0
MOST_KNOTS = 21
MOST_LANDMARKS = 100
JITTER = 1e-8


class Candidate(NamedTuple):
    """Standard deviations of the parts, in units of that of y; 0 leaves a part out."""

    kernel: float = 1.0
    length: float = 1.0
    """Reach of the kernel, in units of the range of each feature."""
    victim: float = 0.3
    neighbour: float = 0.0
    pair: float = 0.0

    @property
    def name(self) -> str:
        """Return a readable name."""
        return ", ".join(f"{k} {v:g}" for k, v in self._asdict().items())


class KernelPlace(NamedTuple):
    """Where the bumps stand; depends on the features only."""

    features: tuple[FeatureName, ...]
    scale: Floats
    landmarks: Floats
    bumps: Floats
    """k(x_i, z_j), whitened: [row, landmark]."""
    whiten: Floats
    """Lower factor L of k(Z, Z); bumps = k(x, Z) L^-T."""

    @classmethod
    def of(cls, names: tuple[FeatureName, ...], x: Floats, length: float) -> KernelPlace:
        """Place landmarks among the rows; features have one column each, not yet divided."""
        scale: Floats = length * np.ptp(x, axis=0)
        z = landmarks(x / scale, MOST_LANDMARKS)
        inner = gaussian(z, z)
        inner[np.diag_indices_from(inner)] += JITTER
        factor = np.asarray(np.linalg.cholesky(inner), dtype=np.float64)
        bumps = solve_triangular(factor, gaussian(x / scale, z).T, lower=True).T
        return cls(names, scale, z, bumps, factor)


class Columns(NamedTuple):
    """The columns of one candidate, in blocks."""

    x: Design
    scale: float
    """Standard deviation of y, in which the candidate's parts are given."""
    candidate: Candidate
    place: KernelPlace | None
    victims: Ints
    victim_knots: Floats
    neighbours: Ints
    neighbour_knots: Floats
    pairs: NDArray[np.int64]
    """Unordered pairs, [pair, 2]."""


def queries(cells: Cells) -> Queries:
    """Return the settings of the cells."""
    return Queries(*cells[1:7])


def columns(cells: Cells, candidate: Candidate, place: KernelPlace | None, scale: float) -> Columns:
    """Return the columns of a candidate; without a `place` for its kernel it has none."""
    n = cells.size
    full: list[Floats] = [np.ones((n, 1))]
    if place is not None:
        full.append(candidate.kernel * scale * place.bumps)
    victims = np.unique(cells.victim)
    neighbours = np.unique(cells.neighbour)
    victim_knots = _knots(cells.victim_share)
    neighbour_knots = _knots(cells.neighbour_share)
    at: list[Ints] = [np.zeros((n, 0), dtype=np.int64)]
    entries: list[Floats] = [np.zeros((n, 0))]
    width = 0
    for size, who, all_of, share, knots in (
        (candidate.victim, cells.victim, victims, cells.victim_share, victim_knots),
        (candidate.neighbour, cells.neighbour, neighbours, cells.neighbour_share, neighbour_knots),
    ):
        if size:
            first = width + np.searchsorted(all_of, who) * knots.size
            at.append(first[:, None] + np.arange(knots.size))
            entries.append(hat_matrix(share, knots) @ _factor(knots) * size * scale)
            width += all_of.size * knots.size
    ends = np.sort(np.stack([cells.victim, cells.neighbour], axis=1), axis=1)
    pairs, which = np.unique(ends, axis=0, return_inverse=True)
    if candidate.pair:
        at.append(width + which.reshape(n, 1))
        entries.append(np.full((n, 1), candidate.pair * scale))
        width += len(pairs)
    return Columns(
        Design(
            np.concatenate(full, axis=1),
            np.concatenate(at, axis=1),
            np.concatenate(entries, axis=1),
            width,
        ),
        scale,
        candidate,
        place,
        victims,
        victim_knots,
        neighbours,
        neighbour_knots,
        pairs,
    )


def additive_model(names: tuple[str, ...], c: Columns, coefficients: Floats) -> AdditiveModel:
    """Return the fitted model as data."""
    intercept, rest = float(coefficients[0]), coefficients[1:]
    kernel = victims = neighbours = pairs = None
    if c.place is not None:
        own, rest = np.split(rest, [c.place.landmarks.shape[0]])
        weights = solve_triangular(c.place.whiten.T, own * c.candidate.kernel * c.scale)
        kernel = KernelTerm(
            features=c.place.features,
            scale=_tuple(c.place.scale),
            landmarks=_tuple(c.place.landmarks),
            weights=_tuple(weights),
        )
    if c.candidate.victim:
        size = c.candidate.victim * c.scale
        victims, rest = _effect(names, c.victims, c.victim_knots, size, rest)
    if c.candidate.neighbour:
        size = c.candidate.neighbour * c.scale
        neighbours, rest = _effect(names, c.neighbours, c.neighbour_knots, size, rest)
    if c.candidate.pair:
        pairs = PairTerm(
            first=tuple(names[a] for a, _ in c.pairs),
            second=tuple(names[b] for _, b in c.pairs),
            values=_tuple(rest * c.candidate.pair * c.scale),
        )
    return AdditiveModel(
        intercept=intercept, kernel=kernel, victims=victims, neighbours=neighbours, pairs=pairs
    )


def _effect(
    names: tuple[str, ...], who: Ints, knots: Floats, size: float, rest: Floats
) -> tuple[EffectTerm, Floats]:
    own, rest = np.split(rest, [who.size * knots.size])
    values = own.reshape(who.size, knots.size) @ _factor(knots).T * size
    term = EffectTerm(
        workloads=tuple(names[w] for w in who), share_pct=_tuple(knots), values=_tuple(values)
    )
    return term, rest


def _knots(share: Floats) -> Floats:
    found = np.unique(share)
    if found.size <= MOST_KNOTS:
        return found
    return np.linspace(found[0], found[-1], MOST_KNOTS)


def _factor(knots: Floats) -> Floats:
    """Return the lower factor of C."""
    apart = (knots[:, None] - knots) / REACH
    c: Floats = LEVEL**2 + SMOOTH**2 * np.exp(-0.5 * apart**2) + ROUGH**2 * np.eye(knots.size)
    return np.asarray(np.linalg.cholesky(c), dtype=np.float64)


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(float(v) for v in np.ravel(values))
