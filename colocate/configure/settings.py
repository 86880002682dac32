"""Chosen knobs, and how much work may be spent on choosing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from colocate.errors import TooLargeError
from colocate.schema import TOLERANCE

__all__ = ["BLOCK", "MAX_WORK", "Settings", "joined", "limit_of", "none_of", "too_much_work"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BLOCK = 1_500_000
"""Numbers in one intermediate array; keeps the working set in cache and memory small."""
MAX_WORK = 2_000_000_000
"""Settings that are looked at on one GPU class before giving up."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Chosen knobs: row i configures the set `set_index[i]`."""

    set_index: Ints
    batch: Ints
    """[setting, workload], services first."""
    grid: Ints
    """[setting, workload]: index into the GPU class's share grid."""
    rate: Floats
    """[setting, workload] in company."""

    @property
    def size(self) -> int:
        """Number of settings."""
        return int(self.set_index.size)


def none_of(width: int) -> Settings:
    """Return no setting, for sets of this many workloads."""
    none = np.zeros((0, width), dtype=np.int64)
    return Settings(none.sum(axis=1), none, none, none.astype(float))


def joined(parts: Sequence[Settings]) -> Settings:
    """Return the settings of several, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Settings(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Settings))
    )


def too_much_work(n: int, width: int, gpu_type: str, per_set: int) -> TooLargeError:
    """Return the refusal of a task too large to finish."""
    return TooLargeError(
        f"{n} sets of {width} co-tenants on {gpu_type!r}, with {per_set} settings each",
        path="$.rules",
        advice="lower tasks_per_gpu or services_per_gpu, or split the instance.",
    )


def limit_of(limit: float) -> float:
    """Return the largest number that still keeps within a limit."""
    return limit + TOLERANCE * max(1.0, abs(limit))
