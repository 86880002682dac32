"""A fitted additive model of slowdowns, evaluated over arrays.

    log s = m + f(x) + a_v(p_v) + b_n(p_n) + c_{vn}

Parts that are missing, or that do not know a workload, are 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from colocate.models.regression.features import Queries, Traits, feature_columns
from colocate.models.regression.hats import bracket
from colocate.models.regression.kernel import landmark_sum
from colocate.profile.company import AdditiveModel, EffectTerm

__all__ = ["Additive"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Effect:
    """Curves over the share, the last row for workloads that have none."""

    def __init__(self, term: EffectTerm, names: Sequence[str]) -> None:
        place = {name: i for i, name in enumerate(term.workloads)}
        self.row = np.array([place.get(name, -1) for name in names], dtype=np.int64)
        self.knots = np.array(term.share_pct)
        values = np.reshape(term.values, (len(place), self.knots.size))
        self.values = np.concatenate([values, np.zeros((1, self.knots.size))])

    def at(self, workload: Ints, share: Floats) -> Floats:
        """Return the curves' values."""
        row = self.row[workload]
        below, way = bracket(share, self.knots)
        above = np.minimum(below + 1, self.knots.size - 1)
        found: Floats = self.values[row, below] * (1 - way) + self.values[row, above] * way
        return found


class Additive:
    """An additive model over a list of workloads."""

    def __init__(self, model: AdditiveModel, names: Sequence[str]) -> None:
        self.intercept = model.intercept
        self.kernel = model.kernel
        if self.kernel is not None:
            self.scale = np.array(self.kernel.scale)
            self.weights = np.array(self.kernel.weights)
            self.landmarks = np.reshape(self.kernel.landmarks, (self.weights.size, -1))
        self.victims = None if model.victims is None else Effect(model.victims, names)
        self.neighbours = None if model.neighbours is None else Effect(model.neighbours, names)
        self.names = len(names)
        place = {name: i for i, name in enumerate(names)}
        found = {}
        if model.pairs is not None:
            for a, b, value in zip(
                model.pairs.first, model.pairs.second, model.pairs.values, strict=True
            ):
                if a in place and b in place:
                    found[_key(place[a], place[b], self.names)] = value
        self.pair_keys = np.array(sorted(found), dtype=np.int64)
        self.pair_values = np.array([found[k] for k in sorted(found)])

    def knows(self, q: Queries) -> NDArray[np.bool_]:
        """Return where at least one of the two has been measured in company."""
        known = np.zeros(q.victim.size, dtype=bool)
        if self.victims is not None:
            known |= self.victims.row[q.victim] >= 0
        if self.neighbours is not None:
            known |= self.neighbours.row[q.neighbour] >= 0
        return known

    def log_slowdown(self, q: Queries, traits: Traits | None) -> Floats:
        """Return log s; a model with a kernel needs traits, and telemetry for every workload."""
        total = np.full(q.victim.size, self.intercept)
        if self.kernel is not None:
            assert traits is not None
            x = feature_columns(traits.features(q), self.kernel.features, self.scale)
            total += landmark_sum(x, self.landmarks, self.weights)
        if self.victims is not None:
            total += self.victims.at(q.victim, q.victim_share)
        if self.neighbours is not None:
            total += self.neighbours.at(q.neighbour, q.neighbour_share)
        if self.pair_keys.size:
            low, high = np.minimum(q.victim, q.neighbour), np.maximum(q.victim, q.neighbour)
            key = low * self.names + high
            at = np.minimum(np.searchsorted(self.pair_keys, key), self.pair_keys.size - 1)
            total += np.where(self.pair_keys[at] == key, self.pair_values[at], 0.0)
        return total


def _key(a: int, b: int, n: int) -> int:
    return min(a, b) * n + max(a, b)
