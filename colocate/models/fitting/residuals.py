"""Predictions beside measurements that had no part in them, for error bounds.

    ratio_i = measured_i / predicted_i

Rows of one workload share that workload's error, so calibration has to split them by workload, by
aggressor or by cell, never by row: `victim`, `neighbour` and `unit` say which rows belong together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Residuals"]


class Residuals(NamedTuple):
    """Arrays of equal length, a row for each held-out measurement."""

    predicted: NDArray[np.float64]
    """What a model said that had not seen the row's group."""
    measured: NDArray[np.float64]
    """What was measured, in the same unit."""
    victim: NDArray[Any]
    """The workload that was measured, as `str`."""
    neighbour: NDArray[Any]
    """Who ran beside it, as `str`; "" where it was alone, "a+b" for several."""
    unit: NDArray[Any]
    """The group that was held out together, as `str`, such as a workload or a pair."""

    @property
    def errors(self) -> NDArray[np.float64]:
        """|predicted - measured| / measured."""
        error: NDArray[np.float64] = np.abs(self.predicted - self.measured) / self.measured
        return error

    def take(self, rows: NDArray[Any]) -> Residuals:
        """Return some rows: by number, or where an array of truth values says so."""
        return Residuals(*(column[rows] for column in self))

    @staticmethod
    def join(parts: Iterable[Residuals]) -> Residuals:
        """Return the rows of several, one after the other."""
        chosen = list(parts)
        if not chosen:
            text = np.empty(0, dtype=object)
            return Residuals(np.empty(0), np.empty(0), text, text, text)
        return Residuals(*(np.concatenate(columns) for columns in zip(*chosen, strict=True)))
