"""The compiled master problem as one MILP for SciPy's HiGHS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array

if TYPE_CHECKING:
    from colocate.problem import Problem


MAX_SPREAD = 1e8
"""Largest ratio of two worths at which HiGHS, with its tolerances, still tells them apart."""


def is_tame(problem: Problem) -> bool:
    """Return whether the worths are near enough to each other for a MILP in float64."""
    worth = np.abs(np.concatenate([problem.columns.value, problem.levels.value]))
    worth = worth[worth > 0]
    return worth.size == 0 or bool(worth.max() <= MAX_SPREAD * worth.min())


def milp_optimum(problem: Problem) -> float | None:
    """Return the optimal objective, or None when no plan exists."""
    rows, distinct = problem.rows, problem.distinct
    n, k = problem.n_variables, distinct.column.size
    if n == 0:
        kept = (rows.lower <= 1e-9) & (rows.upper >= -1e-9)
        return problem.objective_of(0.0) if kept.all() else None
    # One more variable u for each `distinct` condition: x_c <= n_g u, and z_l >= gangs u.
    i = np.arange(k)
    parts = [
        (rows.row, rows.variable, rows.coefficient),
        (rows.size + i, distinct.column, np.ones(k)),
        (
            rows.size + i,
            n + i,
            -problem.gpu_count[problem.columns.gpu[distinct.column]].astype(float),
        ),
        (rows.size + k + i, problem.columns.size + distinct.level, -np.ones(k)),
        (rows.size + k + i, n + i, distinct.gangs.astype(float)),
    ]
    row, variable, value = (np.concatenate(p) for p in zip(*parts, strict=True))
    matrix = csr_array(coo_array((value, (row, variable)), shape=(rows.size + 2 * k, n + k)))
    worth = np.concatenate([problem.columns.value, problem.levels.value, np.zeros(k)])
    found = milp(
        -worth / max(1.0, float(np.abs(worth).max())),
        integrality=np.ones(n + k),
        bounds=Bounds(np.zeros(n + k), np.concatenate([np.full(n, np.inf), np.ones(k)])),
        constraints=LinearConstraint(
            matrix,
            np.concatenate([rows.lower, np.full(2 * k, -np.inf)]),
            np.concatenate([rows.upper, np.zeros(2 * k)]),
        ),
        options={"mip_rel_gap": 0.0},
    )
    if found.status == 2:
        return None
    if found.status != 0:
        msg = f"HiGHS: {found.message}"
        raise RuntimeError(msg)
    x = np.rint(found.x).astype(np.int64)
    return problem.objective_of(
        problem.value_of(x[: problem.columns.size], x[problem.columns.size : n])
    )
