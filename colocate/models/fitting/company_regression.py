"""Choosing and fitting the regression of slowdowns.

Candidates differ in how large each part of `company_blocks` is expected to be. Each is judged
inside the data at hand by what it says of cells that had no part in the fit: once with a pair of
workloads left out, once with a workload left out in both roles; the two mean errors count alike.
The smallest sum wins over the first candidate only if it is smaller by more than a standard error:
with e_g the error of group g less that of the first candidate, and G groups,

    mean_g e_g < -std_g e_g / sqrt(G)

because among a handful of pairs the smallest is chance. Noise is estimated for each victim, for a
rate that the host limits scatters far more than one that the GPU limits:

    n_v^2 = (sum of e^2 over the cells of v + nu n_0^2) / (cells + nu),   e capped at 3 medians

Features whose range is 0 are left out, and so is an activity that over half of the workloads lack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from colocate.models.fitting.company_blocks import (
    Candidate,
    Columns,
    KernelPlace,
    additive_model,
    columns,
    queries,
)
from colocate.models.fitting.company_cells import Cells
from colocate.models.fitting.company_ridge import Ridge, fit_ridge, left_out
from colocate.models.regression.features import Traits
from colocate.profile.company import AdditiveModel, CandidateError, FeatureName

__all__ = ["CANDIDATES", "SEPARABLE", "Fitted", "Group", "fit_additive", "groups_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Group = Literal["pair", "victim", "neighbour", "workload"]
"""What is left out together."""
CANDIDATES = tuple(
    Candidate(kernel, 2.0, victim, neighbour, pair)
    for victim, neighbour, pair in (
        (0.1, 0.0, 0.4),
        (0.1, 0.1, 0.1),
        (0.3, 0.0, 0.0),
        (0.3, 0.3, 0.0),
    )
    for kernel in (1.0, 3.0)
)
"""The first expects pairs to have much of their own, which is prudent where few were measured."""
SEPARABLE = (Candidate(0, 1, 0.6, 0.6, 0.0), Candidate(0, 1, 0.6, 0.6, 0.4))
FEATURES: tuple[FeatureName, ...] = get_args(FeatureName)
FIRST_NOISE = 0.3
LEAST_NOISE = 0.1
"""In units of the standard deviation of y."""
LEAST_SCALE = 0.01
ROUNDING = 1e-9
"""Relative differences below this are what arithmetic leaves, and no feature."""
NU = 5.0


class Fitted(NamedTuple):
    """A fitted regression, with what its errors on left-out groups need."""

    model: AdditiveModel
    ridge: Ridge
    columns: Columns
    """What the coefficients belong to."""
    errors: tuple[CandidateError, ...]


def fit_additive(cells: Cells, traits: Traits | None, candidates: Sequence[Candidate]) -> Fitted:
    """Choose among candidates and fit; with `traits` every workload must have telemetry."""
    y = cells.log_slowdown
    scale = max(float(np.std(y)), LEAST_SCALE)
    place_at = _places(cells, traits)
    noise = np.full(cells.size, FIRST_NOISE * scale)
    by_pair = list(groups_of(cells, "pair").values())
    by_workload = list(groups_of(cells, "workload").values())
    tried: list[tuple[Floats, Candidate, Columns, Ridge]] = []
    for k, candidate in enumerate(candidates):
        chosen = columns(cells, candidate, place_at(candidate.length), scale)
        if k == 0:
            first = fit_ridge(chosen.x, y, noise)
            noise = _noise(cells, y - chosen.x @ first.coefficients, scale)
        fit = fit_ridge(chosen.x, y, noise)
        parts = [_errors(fit, by_pair), _errors(fit, by_workload)]
        tried.append((np.concatenate(parts), candidate, chosen, fit))
    best = min(range(len(tried)), key=lambda i: _total(tried[i][0], len(by_pair)))
    if not _surely_smaller(tried[best][0], tried[0][0]):
        best = 0
    _, _, chosen, fit = tried[best]
    errors = tuple(
        CandidateError(name=c.name, error_pct=100 * _total(e, len(by_pair)), chosen=i == best)
        for i, (e, c, _, _) in enumerate(tried)
    )
    return Fitted(additive_model(cells.names, chosen, fit.coefficients), fit, chosen, errors)


def groups_of(cells: Cells, kind: Group) -> dict[str, Ints]:
    """Return the rows of each group by its name.

    A pair's group are its cells in both directions, a workload's those in which it has any role.
    """
    victim, neighbour = cells.victim, cells.neighbour
    if kind == "workload":
        members = [(victim == w) | (neighbour == w) for w in range(len(cells.names))]
        named = zip(cells.names, map(np.flatnonzero, members), strict=True)
        return {name: rows for name, rows in named if rows.size}
    if kind == "pair" and cells.size:
        ends = np.sort(np.stack([victim, neighbour], axis=1), axis=1)
        pairs, which = np.unique(ends, axis=0, return_inverse=True)
        order = np.argsort(which.ravel(), kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(which.ravel()))[:-1])
        return {
            f"{cells.names[a]}+{cells.names[b]}": rows
            for (a, b), rows in zip(pairs, parts, strict=True)
        }
    who = neighbour if kind == "neighbour" else victim
    return {cells.names[w]: np.flatnonzero(who == w) for w in np.unique(who)}


def _errors(fit: Ridge, groups: list[Ints]) -> Floats:
    """Return each left-out group's mean error of the rates, |exp(y - predicted) - 1|."""
    return np.array([np.mean(np.abs(np.expm1(e))) for e in left_out(fit, groups)])


def _total(errors: Floats, pairs: int) -> float:
    """Return the mean over pairs and the mean over workloads, counted alike."""
    return float(errors[:pairs].mean() + errors[pairs:].mean()) / 2


def _surely_smaller(errors: Floats, others: Floats) -> bool:
    apart = errors - others
    return bool(apart.mean() < -apart.std() / np.sqrt(apart.size))


def _varies(feature: Floats) -> bool:
    """Return whether a feature differs by more than what its arithmetic rounds away."""
    return bool(np.ptp(feature) > ROUNDING * np.abs(feature).max(initial=0.0))


def _places(cells: Cells, traits: Traits | None) -> Callable[[float], KernelPlace | None]:
    if traits is None:
        return _nowhere
    features = traits.features(queries(cells))
    names = tuple(
        name for name in FEATURES if np.isfinite(features[name]).all() and _varies(features[name])
    )
    if not names:
        return _nowhere
    x = np.stack([features[name] for name in names], axis=1)
    made: dict[float, KernelPlace] = {}

    def place(length: float) -> KernelPlace:
        if length not in made:
            made[length] = KernelPlace.of(names, x, length)
        return made[length]

    return place


def _nowhere(_: float) -> None:
    """Return no place: the model has no kernel."""


def _noise(cells: Cells, errors: Floats, scale: float) -> Floats:
    overall = max(float(np.median(np.abs(errors))) * 1.4826, LEAST_NOISE * scale)
    noise = np.empty(cells.size)
    for victim in np.unique(cells.victim):
        of = cells.victim == victim
        cap = 3 * np.median(np.abs(errors[of]))
        total = (np.minimum(np.abs(errors[of]), cap) ** 2).sum() + NU * overall**2
        noise[of] = np.sqrt(total / (of.sum() + NU))
    found: Floats = np.hypot(np.maximum(noise, LEAST_NOISE * scale), cells.spread)
    return found
