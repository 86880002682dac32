"""Memory of one process by batch: what was measured, and a polynomial for batches beside it.

    M(b) = c_0 + c_1 b + c_2 b^2 + c_3 b^3,   every c_i >= 0,   fitted to relative errors (NNLS)

Parameters, activations and workspace only grow with the batch, so no coefficient is negative and M
never falls. It is then raised until no measurement lies above it, because memory that is too low
ends in a crash. A measured batch keeps its own largest measurement. Up to `REACH` times the largest
measured batch is predicted, and only from two batches on; beyond, memory is unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from colocate.profile import MemoryPoint
from colocate.tables.table import ProfileTable

__all__ = ["REACH", "fit_memory", "memory_polynomial"]

Floats = NDArray[np.float64]

REACH: Final = 2.0
"""Times the largest measured batch, up to which memory is predicted."""
MOST_DEGREE: Final = 3


def fit_memory(
    table: ProfileTable, workload: str, gpu: str, batches: Iterable[int] = ()
) -> tuple[MemoryPoint, ...]:
    """Return memory by batch, never falling; empty where nothing was measured.

    Parameters
    ----------
    table
        Measurements; rows in company count as well, because memory is that of the process. A
        missing batch counts as 1.
    workload, gpu
        Whose memory, and where.
    batches
        Further batches to tell the memory of. What holds for a batch is that of the next listed
        one, so those below the smallest measured batch need no entry of their own.
    """
    with np.errstate(invalid="ignore"):
        known_memory = table["memory_gib"] > 0
    rows = (table["workload"] == workload) & (table["gpu"] == gpu) & known_memory
    if not rows.any():
        return ()
    of_row = np.where(np.isnan(table["batch"][rows]), 1.0, table["batch"][rows])
    batch = np.unique(of_row)
    most = np.array([table["memory_gib"][rows][of_row == b].max() for b in batch])
    asked = np.array(sorted(set(batches) - set(batch.tolist())), dtype=np.float64)
    if batch.size >= 2:
        asked = asked[(asked > batch[0]) & (asked <= REACH * batch[-1])]
        found = memory_polynomial(batch, most, asked)
        batch, most = np.concatenate([batch, asked]), np.concatenate([most, found])
    order = np.argsort(batch)
    return tuple(
        MemoryPoint(batch=int(b), memory_gib=float(m))
        for b, m in zip(batch[order], np.maximum.accumulate(most[order]), strict=True)
    )


def memory_polynomial(batch: Floats, memory_gib: Floats, at: Floats) -> Floats:
    """Return M at some batches, from measurements at others; never below a measurement."""
    degree = min(MOST_DEGREE, batch.size - 1)
    largest = batch.max()  # batches up to 1, so that the powers are alike in size
    powers = np.vander(batch / largest, degree + 1, increasing=True)
    coefficients, _ = nnls(powers / memory_gib[:, None], np.ones(batch.size))
    raised = max(1.0, float((memory_gib / (powers @ coefficients)).max()))
    found: Floats = raised * (np.vander(at / largest, degree + 1, increasing=True) @ coefficients)
    return found
