"""What a regression of slowdowns sees of two workloads that run side by side.

From each one's telemetry, alone at its batch and share: the activity of the multiprocessors and of
the memory (fractions), the elasticity of its rate to the share, whether it trains (training and
inference differ in what they ask of CPU and PCIe), log2 of its batch; and the shares. Activity at
the share that a workload has, not at the whole GPU, is what its neighbour feels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.models.regression.grids import GridStack
from colocate.profile.company import FeatureName, Telemetry

__all__ = ["Queries", "Traits", "feature_columns"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Queries(NamedTuple):
    """Who runs beside whom, as arrays of equal length; workloads by their place in a list."""

    victim: Ints
    neighbour: Ints
    victim_batch: Floats
    neighbour_batch: Floats
    victim_share: Floats
    neighbour_share: Floats

    def take(self, rows: NDArray[np.bool_] | Ints) -> Queries:
        """Return some queries."""
        return Queries(
            self.victim[rows],
            self.neighbour[rows],
            self.victim_batch[rows],
            self.neighbour_batch[rows],
            self.victim_share[rows],
            self.neighbour_share[rows],
        )


class Traits:
    """The telemetry of a list of workloads, ready for looking up."""

    def __init__(self, telemetry: Sequence[Telemetry], names: Sequence[str]) -> None:
        place = {t.workload: i for i, t in enumerate(telemetry)}
        self.table = np.array([place.get(name, -1) for name in names], dtype=np.int64)
        """Place of each workload's telemetry, -1 where it has none."""
        self.training = np.array([t.role == "training" for t in telemetry], dtype=float)
        self.stack = GridStack.of([_grid(t) for t in telemetry]) if telemetry else None

    def known(self, workload: Ints) -> NDArray[np.bool_]:
        """Return which workloads have telemetry."""
        has: NDArray[np.bool_] = self.table[workload] >= 0
        return has

    def side(self, name: str, workload: Ints, batch: Floats, share: Floats) -> dict[str, Floats]:
        """Return the features of one side; all workloads must be known."""
        assert self.stack is not None
        table = self.table[workload]
        found, _ = self.stack.lookup(table, np.log2(batch), share)
        return {
            f"{name}_sm": found[:, 0],
            f"{name}_dram": found[:, 1],
            f"{name}_elasticity": found[:, 2],
            f"{name}_training": self.training[table],
            f"{name}_log_batch": np.log2(batch),
            f"{name}_share": share / 100,
        }

    def features(self, q: Queries) -> Mapping[str, Floats]:
        """Return all features by name; all workloads must be known."""
        return {
            **self.side("victim", q.victim, q.victim_batch, q.victim_share),
            **self.side("neighbour", q.neighbour, q.neighbour_batch, q.neighbour_share),
            "unused_share": 1 - (q.victim_share + q.neighbour_share) / 100,
        }


def feature_columns(
    features: Mapping[str, Floats], names: Sequence[FeatureName], scale: Floats
) -> Floats:
    """Return the features as columns, divided by their scales."""
    return np.stack([features[name] for name in names], axis=1) / scale


def _grid(t: Telemetry) -> tuple[tuple[Floats, Floats], Floats]:
    shape = (len(t.batch), len(t.share_pct))
    unknown = np.full(shape, np.nan)
    fields = [
        np.reshape(t.sm_activity_pct, shape) / 100 if t.sm_activity_pct else unknown,
        np.reshape(t.dram_activity_pct, shape) / 100 if t.dram_activity_pct else unknown,
        np.reshape(t.elasticity, shape),
    ]
    axes = (np.log2(np.array(t.batch, dtype=float)), np.array(t.share_pct, dtype=float))
    return axes, np.stack(fields, axis=-1)
